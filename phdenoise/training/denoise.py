"""`denoise`: a noisy movie in, its posterior mean and variance out, without clean labels."""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from importlib.metadata import version
from typing import Literal

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from phdenoise.denoisers import (
    Denoiser,
    Region,
    blind_nll,
    build,
    posterior,
    predict_blind,
    prepare,
    weights_of,
)
from phdenoise.movie import Estimate, Movie
from phdenoise.noise import Gaussian, NoiseKind, estimate_noise
from phdenoise.training.train import train
from phdenoise.types import InputError, Moments, NoiseModel

Preset = Literal["quick", "default", "best"]
Progress = Callable[[int, int, float], None]

# steps, width (centre-blind), width (UDVD), crops per step, symmetries averaged
_PRESETS: dict[str, tuple[int, int, int, int, int]] = {
    "quick": (350, 24, 12, 4, 8),
    "default": (1500, 32, 24, 4, 16),
    "best": (6000, 48, 48, 4, 16),
}
# UDVD costs some twenty times more per step.
_UDVD_SHARE = 0.15
# Share of pixels kept from the loss, to calibrate the variance on.
_HELD_OUT = 0.05
# Belief in the variance as trained: standard deviation of the log of its error.
_SCALE_PRIOR = 0.3


@dataclass(frozen=True)
class DenoiseConfig:
    """How to denoise."""

    preset: Preset = "default"
    """Effort: quick (tens of seconds on two cores), default (about two minutes), best (ten and more)."""
    noise: NoiseKind = "auto"
    """Noise family; auto reads it off the movie's photon-transfer line."""
    sigma: float | None = None
    """Known standard deviation of Gaussian noise [intensity unit]; estimated when not given."""
    blind: Literal["auto", "pixel", "frame", "udvd"] = "auto"
    """Hidden region: pixel (of the centre frame), frame (all of it), udvd (pixel in five frames); auto asks the noise."""
    seed: int = 0
    """Seed of weights, crops and held-out pixels; the same seed gives the same result."""
    steps: int | None = None
    """Training steps; by default the preset's, fewer for tiny movies."""
    width: int | None = None
    """Channels of the network's first scale; by default the preset's."""
    learning_rate: float = 3e-3
    """Peak learning rate of Adam."""
    crop: int = 64
    """Side of training crops [px], a multiple of 4."""


def denoise(
    movie: Movie, config: DenoiseConfig | None = None, *, progress: Progress | None = None
) -> Estimate:
    """Denoise a movie from itself.

    Args:
        movie: frames [t, y, x] in any unit and scale; NaN and masked pixels allowed.
        config: see `DenoiseConfig`.
        progress: called with (step, steps, loss).

    Returns:
        Estimate of the same shape and unit: posterior mean and variance, blind prediction, noise, log.

    Raises:
        InputError: no valid pixel, a constant movie, or an impossible setting.
    """
    config = DenoiseConfig() if config is None else config
    frames, valid = movie.frames, movie.valid()
    _check(movie, valid, config)
    noise, blind, log = _noise(movie, valid, config)
    region: Region = blind if config.blind == "auto" else config.blind
    if region != "udvd" and valid.any((1, 2)).sum() < 2:
        raise InputError(
            f"--blind {region} needs at least 2 frames with valid pixels, {movie.name} has fewer: "
            "use --blind udvd."
        )
    if config.blind != "auto":
        log.append(f"Blind region '{region}', as asked.")
        if region != blind and blind == "frame":
            log.append(
                f"Warning: the noise is correlated in space and '{region}' shows the network its "
                "neighbours: some noise will stay, and the variance is too small."
            )
    # Float32 from here on, whatever the caller's default precision is.
    with jax.enable_x64(False):
        denoiser, history = _train(frames, valid, noise, region, config, progress)
        symmetries = _PRESETS[config.preset][4]
        blind_moments = predict_blind(denoiser, frames, valid, symmetries=symmetries)
        denoiser, blind_moments, sentence = _calibrate(
            denoiser, blind_moments, frames, valid, noise, config
        )
        noisy = jnp.asarray(np.where(valid, frames, np.nan), jnp.float32)
        result = posterior(blind_moments, noisy, noise)
    log.append(sentence)
    mean, variance = np.asarray(result.mean), np.asarray(result.var)
    if not (np.isfinite(mean).all() and np.isfinite(variance).all()):
        raise InputError(
            f"Denoising {movie.name} diverged: lower --learning-rate (now {config.learning_rate:g})."
        )
    return Estimate(
        movie=movie,
        mean=mean,
        variance=variance,
        noise=noise,
        blind_mean=np.asarray(blind_moments.mean),
        blind_variance=np.asarray(blind_moments.var),
        log=tuple(log),
        history={"loss": history},
        settings={
            **asdict(config),
            "region": region,
            "width": _width(config, region),
            "phdenoise": version("phdenoise"),
            "jax": jax.__version__,
        },
        weights=weights_of(denoiser),
    )


def _check(movie: Movie, valid: np.ndarray, config: DenoiseConfig) -> None:
    if config.preset not in _PRESETS:
        raise InputError(f"Unknown preset '{config.preset}': use quick, default or best.")
    if not valid.any():
        raise InputError(f"{movie.name} has no valid pixel: every value is NaN or masked.")
    values = movie.frames[valid]
    if np.ptp(values) == 0:
        raise InputError(
            f"{movie.name} is constant ({values[0]:g} everywhere): there is nothing to denoise."
        )
    if config.sigma is not None and not config.sigma > 0:
        raise InputError(f"--sigma must be positive, got {config.sigma}.")
    if config.crop < 16 or config.crop % 4:
        raise InputError(f"--crop must be a multiple of 4, at least 16, got {config.crop}.")
    if config.steps is not None and config.steps < 1:
        raise InputError(f"--steps must be at least 1, got {config.steps}.")


def _noise(
    movie: Movie, valid: np.ndarray, config: DenoiseConfig
) -> tuple[NoiseModel, Region, list[str]]:
    estimate = estimate_noise(movie.frames, valid, config.noise)
    log = list(estimate.sentences)
    if config.sigma is not None:
        log.append(f"Gaussian noise of sigma = {config.sigma:g}, as given.")
        return Gaussian(jnp.float32(config.sigma)), estimate.blind, log
    if movie.noise is not None and config.noise == "auto":
        log.append("Noise model of the file used.")
        return movie.noise, estimate.blind, log
    return estimate.model, estimate.blind, log


def _width(config: DenoiseConfig, region: Region) -> int:
    return config.width or _PRESETS[config.preset][2 if region == "udvd" else 1]


def _train(
    frames: np.ndarray,
    valid: np.ndarray,
    noise: NoiseModel,
    region: Region,
    config: DenoiseConfig,
    progress: Progress | None,
) -> tuple[Denoiser, list[float]]:
    values = frames[valid].astype(np.float64)
    # The middle of the intensities and their spread; a movie of mostly background has a tiny inner range.
    spread = max(float(np.std(values)), float(np.finfo(np.float32).tiny))
    denoiser = build(
        region,
        width=_width(config, region),
        centre=float(np.mean(values)),
        spread=spread,
        seed=config.seed,
    )
    arrays = prepare(denoiser, frames, valid)
    weight = np.pad(
        (valid & ~held_out(frames.shape, config.seed)).astype(np.float32),
        [(0, a - b) for a, b in zip(arrays["seen"].shape, frames.shape, strict=True)],
    )
    arrays["weight"] = jnp.asarray(weight)
    side = tuple(min(config.crop, n // 4 * 4) for n in arrays["seen"].shape[1:])
    if region == "udvd":
        side = (min(side),) * 2
    steps, _, _, batch, _ = _PRESETS[config.preset]
    if region == "udvd":
        steps = round(_UDVD_SHARE * steps)
    if config.steps:
        steps = config.steps
    else:
        # A tiny movie is learned by heart in fewer steps.
        steps = int(np.clip(300 * valid.sum() / (batch * side[0] * side[1]), min(60, steps), steps))
    return train(
        denoiser,
        arrays,
        noise,
        jax.random.key(config.seed),
        steps=steps,
        learning_rate=config.learning_rate,
        batch=batch,
        side=(side[0], side[1]),
        progress=progress,
    )


def held_out(shape: tuple[int, ...], seed: int) -> np.ndarray:
    """The pixels that training does not see as targets [t, y, x]."""
    return np.random.default_rng([seed, 5]).random(shape) < _HELD_OUT


def _calibrate(
    denoiser: Denoiser,
    blind: Moments,
    frames: np.ndarray,
    valid: np.ndarray,
    noise: NoiseModel,
    config: DenoiseConfig,
) -> tuple[Denoiser, Moments, str]:
    """Scale the predicted variance so that held-out residuals have the variance it promises."""
    test = held_out(frames.shape, config.seed) & valid
    mean, var = np.asarray(blind.mean, float), np.asarray(blind.var, float)
    if test.sum() < 64:
        return denoiser, blind, "Too few pixels to calibrate the predicted variance on."
    noisy = jnp.asarray(frames[test], jnp.float32)
    predicted = jnp.asarray(var[test], jnp.float32)
    centre = jnp.asarray(mean[test], jnp.float32)
    scales = np.geomspace(0.1, 10.0, 61)
    # A log-normal prior about one: where noise hides the error, a few held-out pixels must not rule.
    scores = [
        float(jnp.sum(blind_nll(Moments(centre, predicted * s), noisy, noise)))
        + 0.5 * float(np.log(s) / _SCALE_PRIOR) ** 2
        for s in scales
    ]
    scale = float(scales[int(np.argmin(scores))])
    denoiser = eqx.tree_at(
        lambda d: d.variance_scale, denoiser, denoiser.variance_scale * jnp.float32(scale)
    )
    scaled = Moments(blind.mean, jnp.float32(scale) * blind.var)
    return denoiser, scaled, f"Predicted variance scaled by {scale:.2f} on held-out pixels."

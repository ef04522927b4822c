"""`denoise_channels`: several channels of one scene denoised together, each with its own noise.

The channels are mixed into components of white noise (`phdenoise.denoisers.mixing`), `denoise` predicts each
component blindly, and the predictions of all meet the measurements of all at each pixel. Where channels share the
scene, this sees each with the light of all; where they share nothing, the components are the channels.
"""

from dataclasses import asdict, replace
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from phdenoise.channels import Channels, ChannelsEstimate
from phdenoise.denoisers import at_least, fill, parse_region
from phdenoise.denoisers.core import noise_variance
from phdenoise.denoisers.mixing import (
    Mixing,
    component_noise,
    error_correlation,
    joint_posterior,
    predictability,
    principal,
    separate,
    signal_power,
    smooth,
)
from phdenoise.movie import Estimate, Movie
from phdenoise.noise import Gaussian, NoiseEstimate, PoissonGaussian, estimate_noise
from phdenoise.noise.cross import noise_correlation
from phdenoise.noise.repeats import sentences
from phdenoise.training.config import PRESETS, DenoiseConfig, check_config
from phdenoise.training.denoise import denoise
from phdenoise.training.held_out import JUDGEABLE, held_out
from phdenoise.training.measure import check_movie, find_defects, noise_model
from phdenoise.trust import judged
from phdenoise.types import InputError, Moments, NoiseModel, Progress, within

# Log-likelihood of the whole movie that mixing must win.
EVIDENCE = 10.0
# Channels whose noise correlates more than this are copies of each other.
COPIES = 0.95
# Noise, blind region and defects of a component are those of its channels.
_AS_IT_IS: dict[str, Any] = {"noise": "auto", "sigma": None, "defects": "keep"}
_STRENGTH = {"pixel": 0, "frame": 1, "udvd": 2}


class _Measured(NamedTuple):
    """A channel with what is known of its noise and defects."""

    movie: Movie
    noise: NoiseModel
    found: NoiseEstimate
    good: np.ndarray
    full: np.ndarray
    log: list[str]


def denoise_channels(
    channels: Channels,
    config: DenoiseConfig | None = None,
    *,
    checkpoint: str | Path | None = None,
    progress: Progress | None = None,
) -> ChannelsEstimate:
    """Denoise channels of one scene together, from themselves.

    Args:
        channels: any units and scales, each with its own noise; NaN and masked pixels allowed. A pixel that one
            channel lacks is predicted there, and keeps the measurements of the others.
        config: see `DenoiseConfig`; its time is shared by the components, `sigma` holds for every channel.
        checkpoint: folder that keeps the trainings; interrupted ones go on from there.
        progress: called with (stage, step, steps, score on held-out pixels).

    Returns:
        Mean and variance of each channel, with its trust report, and the correlation of their errors.

    Raises:
        InputError: a channel that cannot be denoised, or copies of one channel.
    """
    config = DenoiseConfig() if config is None else config
    check_config(config)
    if config.tune != "full":
        raise InputError("Several channels are always trained anew: leave --tune out.")
    if config.network not in ("auto", "blind") or config.objective not in ("nll", "mse"):
        raise InputError(
            "Several channels are denoised by blind networks: leave --network and --objective out."
        )
    if config.distill:
        raise InputError("Several channels have no teachers: leave --distill out.")
    config = replace(config, distill=0)
    if len(channels) == 1:
        raise InputError(f"{channels.name} has one channel: use `denoise`.")
    measured = [_measure(m, config) for m in channels.movies]
    noise = [m.noise for m in measured]
    # A saturated value is a lower bound, and the best guess that the others' prediction can see.
    valid = np.all([m.good | m.full for m in measured], axis=0)
    if not valid.any():
        raise InputError(f"{channels.name} has no pixel that every channel measured.")
    filled = _filled(channels, valid)
    even = smooth(filled, valid)
    variance = np.stack([_variance(n, e) for n, e in zip(noise, even, strict=True)])
    level = variance[:, valid].mean(axis=1)
    rho = noise_correlation(filled, valid, level)
    _refuse_copies(rho, channels.names)
    covariance = np.sqrt(np.outer(level, level)) * rho
    mixing, log = _mixing(filled, valid, covariance, channels.names, rho)
    asked = {m.found.blind for m in measured}
    region = max(asked, key=_STRENGTH.__getitem__) if config.blind == "auto" else config.blind
    if len(asked) > 1 or config.blind != "auto":
        log.append(f"Blind region of all channels: '{region}'.")
    u = mixing.components(filled)
    lines = component_noise(mixing, even, valid, variance, rho)
    predicted, doubt, parts, said = _predict(
        u, lines, valid, mixing.power, channels, replace(config, blind=region), checkpoint, progress
    )
    log += said
    weights = {
        f"component {k}/{name}": array
        for k, part in parts.items()
        for name, array in part.weights.items()
    }
    errors = error_correlation(
        (u - predicted)[:, valid],
        doubt[:, valid].mean(axis=1),
        mixing.into @ covariance @ mixing.into.T,
    )
    estimates, correlation = _combine(measured, mixing, predicted, doubt, errors, rho)
    settings = {
        **asdict(config),
        "region": str(parse_region(config.blind_predict or region)),
        "trained_region": str(parse_region(region)),
        "steps": [int(p.settings["steps"]) for p in parts.values()],
        "width": next((p.settings["width"] for p in parts.values()), config.width),
        "phdenoise": version("phdenoise"),
        "jax": jax.__version__,
        "mixing": mixing.into.tolist(),
        "power": mixing.power.tolist(),
        "noise_correlation": rho.tolist(),
    }
    test = held_out(valid.shape, config.seed, parse_region(str(settings["trained_region"])))
    finished = []
    for estimate, m in zip(estimates, measured, strict=True):
        known = m.good & test
        report = judged(
            replace(estimate, settings=settings),
            m.found,
            known if known.sum() >= JUDGEABLE else None,
        )
        finished.append(report)
    return ChannelsEstimate(
        tuple(finished),
        channels.names,
        channels.name,
        correlation,
        tuple(log),
        settings,
        weights,
    )


def _measure(movie: Movie, config: DenoiseConfig) -> _Measured:
    movie, copied = check_movie(movie, config)
    valid = movie.valid()
    found = estimate_noise(movie.frames, valid, config.noise)
    good, full, said = find_defects(movie.frames, valid, found, config)
    if said:
        found = estimate_noise(movie.frames, good, config.noise)
        movie = replace(movie, mask=good)
    noise, log = noise_model(movie, found, config)
    return _Measured(movie, noise, found, good, full, [*log, *sentences(copied), *said])


def _filled(channels: Channels, valid: np.ndarray) -> np.ndarray:
    """Channels [c, t, y, x] without gaps."""
    return np.stack(
        [
            fill(m.frames, valid, float(m.frames[valid].mean(dtype=np.float64)))
            for m in channels.movies
        ]
    )


def _variance(noise: NoiseModel, mean: np.ndarray, doubt: np.ndarray | None = None) -> np.ndarray:
    """Noise variance [t, y, x] where the clean intensity is `mean` ± √doubt."""
    doubt = np.zeros_like(mean) if doubt is None else doubt
    moments = Moments(jnp.asarray(mean, jnp.float32), jnp.asarray(doubt, jnp.float32))
    return np.asarray(noise_variance(noise, moments), np.float64)


def _refuse_copies(rho: np.ndarray, names: tuple[str, ...]) -> None:
    shared = np.tril(rho, -1)
    a, b = np.unravel_index(np.argmax(shared), rho.shape)
    if shared[a, b] > COPIES:
        raise InputError(
            f"Channels {names[b]} and {names[a]} have the same noise ({100 * rho[a, b]:.0f} %): they are copies of "
            f"one measurement; denoise one of them with --channel {b}."
        )


def _mixing(
    filled: np.ndarray,
    valid: np.ndarray,
    noise: np.ndarray,
    names: tuple[str, ...],
    rho: np.ndarray,
) -> tuple[Mixing, list[str]]:
    """The better of mixed and separate channels, and what to say about it."""
    mixed, single = (make(filled, valid, noise) for make in (principal, separate))
    log = []
    shared = np.abs(np.tril(rho, -1))
    if shared.any():
        a, b = np.unravel_index(np.argmax(shared), rho.shape)
        log.append(
            f"The noise of channels {names[b]} and {names[a]} correlates ({rho[a, b]:+.2f}): taken into account."
        )
    if valid.any(axis=(1, 2)).sum() < 2:
        return mixed, log
    gain = predictability(single, filled, valid) - predictability(mixed, filled, valid)
    if gain * valid.sum() <= EVIDENCE:
        log.append("Mixed channels are no easier to predict than single ones: no mixing.")
        return single, log
    powers = ", ".join(f"{p:.3g}" for p in mixed.power)
    log.append(f"Channels are mixed into components of signal to noise (variances) {powers}.")
    return mixed, log


def _predict(
    u: np.ndarray,
    lines: list[tuple[float, float, float]],
    valid: np.ndarray,
    power: np.ndarray,
    channels: Channels,
    config: DenoiseConfig,
    checkpoint: str | Path | None,
    progress: Progress | None,
) -> tuple[np.ndarray, np.ndarray, dict[int, Estimate], list[str]]:
    """Blind mean and variance of the components [k, t, y, x], the estimates of those with signal, and what to say."""
    hidden, found = zip(*(signal_power(a, valid) for a in u), strict=True)
    shares = _shares(power, np.array(found))
    predicted, doubt = np.zeros(u.shape), np.empty(u.shape, np.float32)
    parts: dict[int, Estimate] = {}
    log = []
    for k, line in enumerate(lines):
        snr = f"Component {k} (signal to noise {power[k]:.3g})"
        if not found[k]:
            # What is not there is best predicted by nothing: any filter would only let noise through.
            doubt[k] = hidden[k]
            log.append(
                f"{snr}: no signal in its noise, none is predicted (may hide {hidden[k]:.2g})."
            )
            continue
        settings = replace(config, seconds=_seconds(config, shares[k]), **_AS_IT_IS)
        folder = None if checkpoint is None else Path(checkpoint) / f"component_{k}"
        part = _denoise_component(
            u[k], line, valid, channels, settings, folder, within(progress, f"component {k}")
        )
        assert part.blind_mean is not None
        assert part.blind_variance is not None
        predicted[k], doubt[k] = _sign(line) * part.blind_mean, part.blind_variance
        parts[k] = part
        log += [f"{snr}: {s}" for s in part.log if s.startswith(("Training", "Predicted variance"))]
    return predicted, doubt, parts, log


def _shares(power: np.ndarray, found: np.ndarray) -> np.ndarray:
    """Share of the training that each component deserves: its information, none where there is no signal."""
    bits = np.where(found, np.log1p(power) + 0.05, 0.0)
    return bits / max(bits.sum(), np.finfo(float).tiny)


def _seconds(config: DenoiseConfig, share: float) -> float | None:
    seconds = PRESETS[config.preset].seconds if config.seconds is None else config.seconds
    return None if seconds is None else share * seconds


def _sign(line: tuple[float, float, float]) -> float:
    """The direction in which a component's noise grows."""
    return -1.0 if line[0] < 0 else 1.0


def _denoise_component(
    u: np.ndarray,
    line: tuple[float, float, float],
    valid: np.ndarray,
    channels: Channels,
    config: DenoiseConfig,
    checkpoint: Path | None,
    progress: Progress | None,
) -> Estimate:
    """Blind prediction of one component, in the direction in which its noise grows."""
    slope, level, variance = line
    sign = _sign(line)
    noise: NoiseModel = Gaussian(jnp.float32(np.sqrt(variance)))
    if slope:
        scalars = (jnp.float32(v) for v in (abs(slope), sign * level, np.sqrt(variance)))
        noise = PoissonGaussian(*scalars)
    first = channels.movies[0]
    movie = Movie(
        frames=(sign * u).astype(np.float32),
        times=first.times,
        mask=valid,
        noise=noise,
        name=f"a component of {channels.name}",
    )
    return denoise(movie, config, checkpoint=checkpoint, progress=progress)


def _combine(
    measured: list[_Measured],
    mixing: Mixing,
    predicted: np.ndarray,
    doubt: np.ndarray,
    errors: np.ndarray,
    rho: np.ndarray,
) -> tuple[list[Estimate], np.ndarray]:
    """Channels' estimates from the components' blind predictions, and the mean correlation of their errors."""
    count, frames = len(measured), predicted.shape[1]
    blind = mixing.channels(predicted)
    shape = (count, *predicted.shape[1:])
    blind_variance, mean, variance = np.empty((3, *shape), np.float32)
    total = np.zeros((count, count))
    turn = partial(np.einsum, "ck,kn,kl,ln,dl->ncd", optimize=True)
    for t in range(frames):
        sd = np.sqrt(doubt[:, t].reshape(count, -1).astype(np.float64))
        sigma = turn(mixing.back, sd, errors, sd, mixing.back)
        own = np.diagonal(sigma, axis1=1, axis2=2).T
        centre = blind[:, t].reshape(count, -1)
        noisy = np.stack([np.where(m.good[t], m.movie.frames[t], np.nan).ravel() for m in measured])
        level = np.stack(
            [_variance(m.noise, c, v) for m, c, v in zip(measured, centre, own, strict=True)]
        )
        found, left = joint_posterior(centre, sigma, noisy, level, rho)
        blind_variance[:, t] = own.reshape(shape[0], *shape[2:])
        mean[:, t] = found.reshape(shape[0], *shape[2:])
        variance[:, t] = np.diagonal(left, axis1=1, axis2=2).T.reshape(shape[0], *shape[2:])
        total += left.sum(axis=0)
    estimates = []
    for c, m in enumerate(measured):
        bound = jnp.where(m.full, jnp.asarray(m.movie.frames, jnp.float32), -jnp.inf)
        result = at_least(Moments(jnp.asarray(mean[c]), jnp.asarray(variance[c])), bound)
        estimates.append(
            Estimate(
                movie=m.movie,
                mean=np.asarray(result.mean),
                variance=np.asarray(result.var),
                noise=m.noise,
                blind_mean=blind[c].astype(np.float32),
                blind_variance=blind_variance[c],
                log=tuple(m.log),
            )
        )
    scale = np.sqrt(np.diag(total))
    return estimates, total / np.outer(scale, scale)

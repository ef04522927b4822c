"""`denoise_channels`: several channels of one scene denoised together, each with its own noise.

    channels -> survey and noise of each -> components -> blind prediction of each -> channels -> combine -> judge

The channels are mixed into components of white noise (`phdenoise.denoising.noise_adjusted_pca`). `denoise` predicts each
component blindly, and at each pixel the predictions of all are combined with the measurements of all. Where channels share
the scene, each gains from the measurements of all; where they share nothing, the components are the channels.
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
from phdenoise.denoising.channel_survey import (
    Scene,
    choose_mixing,
    expected_variance,
    survey_channels,
)
from phdenoise.denoising.combine import judge, with_structure_error
from phdenoise.denoising.config import DenoiseConfig, check_config
from phdenoise.denoising.denoise import denoise
from phdenoise.denoising.noise_adjusted_pca import (
    Mixing,
    component_noise,
    error_correlation,
    joint_posterior,
    signal_power,
)
from phdenoise.denoising.source import HeldOut, whole_window
from phdenoise.movie import Estimate, Movie
from phdenoise.networks import table
from phdenoise.networks.base import at_least
from phdenoise.networks.centre_blind import CentreBlind
from phdenoise.networks.context import parse_region
from phdenoise.noise.models import Gaussian, PoissonGaussian
from phdenoise.types import InputError, Moments, NoiseModel, Progress, within

# Noise, blind region and defects of a component are those of its channels.
_AS_IT_IS: dict[str, Any] = {"noise": "auto", "sigma": None, "defects": "keep"}
_STRENGTH = {"pixel": 0, "frame": 1, "udvd": 2}


class _Components(NamedTuple):
    """Blind predictions of the components.

    Attributes:
        residual: measured less predicted [k, t, y, x].
        mean, variance: of the predictions [k, t, y, x].
        estimates: of those components that have a signal.
        log: what was found.
    """

    residual: np.ndarray
    mean: np.ndarray
    variance: np.ndarray
    estimates: dict[int, Estimate]
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
            channel lacks is predicted there, and keeps the measurements of the others. One channel is denoised by `denoise`.
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
    if len(channels) == 1:
        return _single(channels, config, checkpoint, progress)
    config = _for_several(config)
    scene = survey_channels(channels, config)
    mixing, log = choose_mixing(scene)
    asked = {n.estimate.blind for n in scene.noises}
    region: str = max(asked, key=_STRENGTH.__getitem__) if config.blind == "auto" else config.blind
    if len(asked) > 1 or config.blind != "auto":
        log.append(f"Blind region of all channels: '{region}'.")
    predicted = _predict(scene, mixing, replace(config, blind=region), checkpoint, progress)
    estimates, correlation = _combine(scene, mixing, predicted)
    trained = parse_region(region)
    settings = {
        **asdict(config),
        "region": str(parse_region(config.blind_predict or region)),
        "trained_region": str(trained),
        "steps": [int(p.settings["steps"]) for p in predicted.estimates.values()],
        "width": next((p.settings["width"] for p in predicted.estimates.values()), config.width),
        "phdenoise": version("phdenoise"),
        "jax": jax.__version__,
        "mixing": mixing.into.tolist(),
        "power": mixing.power.tolist(),
        "noise_correlation": scene.correlation.tolist(),
    }
    shape = channels.movies[0].shape
    held_out = HeldOut(shape, config.seed, trained, CentreBlind())
    errors = _error_autocorrelation(predicted)
    finished = tuple(
        judge(
            replace(e, settings=settings, error_autocorrelation=errors),
            noise.estimate,
            held_out,
            whole_window(shape),
        )
        for e, noise in zip(estimates, scene.noises, strict=True)
    )
    weights = {
        f"component {k}/{name}": array
        for k, part in predicted.estimates.items()
        for name, array in part.weights.items()
    }
    log += predicted.log
    return ChannelsEstimate(
        finished, channels.names, channels.name, correlation, tuple(log), settings, weights
    )


def _error_autocorrelation(predicted: _Components) -> np.ndarray | None:
    """Autocorrelation of the channels' errors: the mean of the components', each by its variance."""
    known = {
        k: e.error_autocorrelation
        for k, e in predicted.estimates.items()
        if e.error_autocorrelation is not None
    }
    if not known:
        return None
    weights = [float(predicted.variance[k].mean()) for k in known]
    return np.average(list(known.values()), axis=0, weights=weights)


def _single(
    channels: Channels,
    config: DenoiseConfig,
    checkpoint: str | Path | None,
    progress: Progress | None,
) -> ChannelsEstimate:
    """The case of one channel: a movie."""
    estimate = denoise(channels.movies[0], config, checkpoint=checkpoint, progress=progress)
    weights = {f"component 0/{name}": array for name, array in estimate.weights.items()}
    return ChannelsEstimate(
        (estimate,), channels.names, channels.name, np.ones((1, 1)), (), estimate.settings, weights
    )


def _for_several(config: DenoiseConfig) -> DenoiseConfig:
    """The configuration for components, or an error that says what they cannot have."""
    if config.tune != "full":
        raise InputError("Several channels are always trained anew: leave --tune out.")
    network = table.named(config.network, config.window) or table.trained_by(config.objective)
    if not network.in_parts or config.objective not in ("nll", "mse"):
        raise InputError(
            "Several channels are denoised by blind networks: leave --network and --objective out."
        )
    if config.distill:
        raise InputError("Several channels have no teachers: leave --distill out.")
    return replace(config, distill=0)


def _predict(
    scene: Scene,
    mixing: Mixing,
    config: DenoiseConfig,
    checkpoint: str | Path | None,
    progress: Progress | None,
) -> _Components:
    """Blind predictions of all components."""
    valid, power = scene.valid, mixing.power
    u = mixing.components(scene.filled)
    lines = component_noise(mixing, scene.smooth, valid, scene.variance, scene.correlation)
    hidden, found = zip(*(signal_power(a, valid) for a in u), strict=True)
    shares = _shares(power, np.array(found))
    mean, variance = np.zeros(u.shape), np.empty(u.shape, np.float32)
    estimates: dict[int, Estimate] = {}
    log = []
    for k, line in enumerate(lines):
        snr = f"Component {k} (signal to noise {power[k]:.3g})"
        if not found[k]:
            # Zero predicts best what is not there: any filter would only let noise pass.
            variance[k] = hidden[k]
            log.append(
                f"{snr}: no signal in its noise, none is predicted (may hide {hidden[k]:.2g})."
            )
            continue
        seconds = None if config.seconds is None else shares[k] * config.seconds
        settings = replace(config, effort=shares[k] * config.effort, seconds=seconds, **_AS_IT_IS)
        folder = None if checkpoint is None else Path(checkpoint) / f"component_{k}"
        movie = _component(u[k], line, valid, scene.channels)
        part = denoise(
            movie, settings, checkpoint=folder, progress=within(progress, f"component {k}")
        )
        assert part.blind_mean is not None
        assert part.blind_variance is not None
        mean[k], variance[k] = _sign(line) * part.blind_mean, part.blind_variance
        estimates[k] = part
        log += [f"{snr}: {s}" for s in part.log if s.startswith(("Training", "Predicted variance"))]
    return _Components(u - mean, mean, variance, estimates, log)


def _shares(power: np.ndarray, found: np.ndarray) -> np.ndarray:
    """Share of the training that each component deserves: its information, none where there is no signal."""
    bits = np.where(found, np.log1p(power) + 0.05, 0.0)
    return bits / max(bits.sum(), np.finfo(float).tiny)


def _sign(line: tuple[float, float, float]) -> float:
    """The direction in which a component's noise grows."""
    return -1.0 if line[0] < 0 else 1.0


def _component(
    u: np.ndarray, line: tuple[float, float, float], valid: np.ndarray, channels: Channels
) -> Movie:
    """One component as a movie with noise, in the direction in which its noise grows."""
    slope, level, variance = line
    sign = _sign(line)
    noise: NoiseModel = Gaussian(jnp.float32(np.sqrt(variance)))
    if slope:
        scalars = (jnp.float32(v) for v in (abs(slope), sign * level, np.sqrt(variance)))
        noise = PoissonGaussian(*scalars)
    return Movie(
        frames=(sign * u).astype(np.float32),
        times=channels.movies[0].times,
        mask=valid,
        noise=noise,
        name=f"a component of {channels.name}",
    )


def _combine(
    scene: Scene, mixing: Mixing, predicted: _Components
) -> tuple[list[Estimate], np.ndarray]:
    """Channels' estimates from the components' blind predictions, and the mean correlation of their errors."""
    parts, noises, rho = [s.part for s in scene.samples], scene.noises, scene.correlation
    errors = error_correlation(
        predicted.residual[:, scene.valid],
        predicted.variance[:, scene.valid].mean(axis=1),
        mixing.into @ scene.covariance @ mixing.into.T,
    )
    count, frames = predicted.mean.shape[:2]
    blind = mixing.channels(predicted.mean)
    blind_variance, mean, variance = np.empty((3, *blind.shape), np.float32)
    total = np.zeros((count, count))
    turn = partial(np.einsum, "ck,kn,kl,ln,dl->ncd", optimize=True)
    for t in range(frames):
        sd = np.sqrt(predicted.variance[:, t].reshape(count, -1).astype(np.float64))
        sigma = turn(mixing.back, sd, errors, sd, mixing.back)
        own = np.diagonal(sigma, axis1=1, axis2=2).T
        centre = blind[:, t].reshape(count, -1)
        noisy = np.stack([np.where(p.good[t], p.values[t], np.nan).ravel() for p in parts])
        level = np.stack(
            [expected_variance(n.model, c, v) for n, c, v in zip(noises, centre, own, strict=True)]
        )
        found, left = joint_posterior(centre, sigma, noisy, level, rho)
        side = blind.shape[2:]
        blind_variance[:, t] = own.reshape(count, *side)
        mean[:, t] = found.reshape(count, *side)
        variance[:, t] = np.diagonal(left, axis1=1, axis2=2).T.reshape(count, *side)
        total += left.sum(axis=0)
    estimates = []
    for c, (sample, noise, part) in enumerate(zip(scene.samples, noises, parts, strict=True)):
        bound = jnp.where(part.saturated, jnp.asarray(part.values, jnp.float32), -jnp.inf)
        result = at_least(Moments(jnp.asarray(mean[c]), jnp.asarray(variance[c])), bound)
        result = with_structure_error(result, sample, sample.windows[0])
        estimates.append(
            Estimate(
                movie=sample.movie,
                mean=np.asarray(result.mean),
                variance=np.asarray(result.var),
                noise=noise.model,
                blind_mean=blind[c].astype(np.float32),
                blind_variance=blind_variance[c],
                log=sample.log,
            )
        )
    scale = np.sqrt(np.diag(total))
    return estimates, total / np.outer(scale, scale)

"""What is known of the channels of one scene before they are denoised: noise of each, what they share, and how to mix them."""

from dataclasses import replace
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np

from phdenoise.channels import Channels
from phdenoise.denoising.config import DenoiseConfig
from phdenoise.denoising.noise_adjusted_pca import (
    Mixing,
    predictability,
    principal,
    separate,
    smooth,
)
from phdenoise.denoising.preprocessing import Sample, measure_noise, survey_movie
from phdenoise.denoising.source import MovieSource
from phdenoise.networks.predict import fill
from phdenoise.noise.channel_correlation import noise_correlation
from phdenoise.types import InputError, Moments, NoiseModel
from phdenoise.uncertainty.evidence import Noise

# Gain of the whole movie's log-likelihood from which on channels are mixed: strong evidence by any convention.
MIXING_LOG_LIKELIHOOD = 10.0
# Noise correlation above which two channels are copies of each other: detectors share less.
COPY_CORRELATION = 0.95


class Scene(NamedTuple):
    """What is known of all channels before one is predicted.

    Attributes:
        channels: measured, without structured noise.
        samples, noises: of each channel.
        valid: pixels that every channel measured [t, y, x].
        filled, smooth: intensities without gaps, and their averages over a few pixels and frames [c, t, y, x].
        variance: of the noise, at the smooth intensities [c, t, y, x].
        level: mean variance of the noise of each channel [c].
        correlation: of the noise of two channels [c, c].
    """

    channels: Channels
    samples: tuple[Sample, ...]
    noises: tuple[Noise, ...]
    valid: np.ndarray
    filled: np.ndarray
    smooth: np.ndarray
    variance: np.ndarray
    level: np.ndarray
    correlation: np.ndarray

    @property
    def covariance(self) -> np.ndarray:
        """Mean covariance of the noise of two channels [c, c]."""
        return np.sqrt(np.outer(self.level, self.level)) * self.correlation


def survey_channels(channels: Channels, config: DenoiseConfig) -> Scene:
    """Survey and noise of each channel, which are always in memory, and what channels share.

    Args:
        channels: measured.
        config: noise family, known sigma, whether defects are masked.

    Returns:
        The scene.

    Raises:
        InputError: a channel that cannot be denoised, copies of one channel, or no pixel that all measured.
    """
    samples, noises = zip(
        *(
            measure_noise(survey_movie(MovieSource(movie), config, np.inf), config)
            for movie in channels.movies
        ),
        strict=True,
    )
    corrected = (s.movie.frames for s in samples)
    without = (replace(m, frames=f) for m, f in zip(channels.movies, corrected, strict=True))
    channels = replace(channels, movies=tuple(without))
    # A saturated value is a lower bound, and the best guess of an input for the other channels' prediction.
    valid = np.all([sample.seen for sample in samples], axis=0)
    if not valid.any():
        raise InputError(f"{channels.name} has no pixel that every channel measured.")
    filled = _filled(channels, valid)
    even = smooth(filled, valid)
    variance = np.stack([expected_variance(n.model, e) for n, e in zip(noises, even, strict=True)])
    level = variance[:, valid].mean(axis=1)
    rho = noise_correlation(filled, valid, level)
    _refuse_copies(rho, channels.names)
    return Scene(channels, samples, noises, valid, filled, even, variance, level, rho)


def _filled(channels: Channels, valid: np.ndarray) -> np.ndarray:
    """Channels [c, t, y, x] without gaps."""
    return np.stack(
        [
            fill(m.frames, valid, float(m.frames[valid].mean(dtype=np.float64)))
            for m in channels.movies
        ]
    )


def expected_variance(
    noise: NoiseModel, mean: np.ndarray, variance: np.ndarray | None = None
) -> np.ndarray:
    """Noise variance expected for a clean intensity that is known up to a variance.

    Args:
        noise: pointwise noise model.
        mean, variance: of the clean intensity, in its unit and the square of that; None: no variance.

    Returns:
        The variance, of the shape of `mean` [intensity²].
    """
    variance = np.zeros_like(mean) if variance is None else variance
    moments = Moments(jnp.asarray(mean, jnp.float32), jnp.asarray(variance, jnp.float32))
    return np.asarray(noise.expected_variance(moments), np.float64)


def _refuse_copies(rho: np.ndarray, names: tuple[str, ...]) -> None:
    shared = np.tril(rho, -1)
    a, b = np.unravel_index(np.argmax(shared), rho.shape)
    if shared[a, b] > COPY_CORRELATION:
        raise InputError(
            f"Channels {names[b]} and {names[a]} have the same noise ({100 * rho[a, b]:.0f} %): they are copies of "
            f"one measurement; denoise one of them with --channel {b}."
        )


def choose_mixing(scene: Scene) -> tuple[Mixing, list[str]]:
    """The better of mixed and separate channels, and the sentences on it."""
    filled, valid, noise, rho = scene.filled, scene.valid, scene.covariance, scene.correlation
    names = scene.channels.names
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
    if gain * valid.sum() <= MIXING_LOG_LIKELIHOOD:
        log.append("Mixed channels are no easier to predict than single ones: no mixing.")
        return single, log
    powers = ", ".join(f"{p:.3g}" for p in mixed.power)
    log.append(f"Channels are mixed into components of signal to noise (variances) {powers}.")
    return mixed, log

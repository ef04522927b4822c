"""What is found out about a movie before a network learns it: its noise, and where it may be learned."""

from dataclasses import replace

import jax.numpy as jnp
import numpy as np

from phdenoise.movie import Movie
from phdenoise.noise import (
    Gaussian,
    NoiseEstimate,
    defects,
    repeated_frames,
)
from phdenoise.training.config import DenoiseConfig
from phdenoise.types import InputError, NoiseModel

# Share of the values that may be dead, hot or hit; where more seem to be, the scene is made of such.
MOST_DEFECTS = 0.1


def check_movie(movie: Movie, config: DenoiseConfig) -> tuple[Movie, np.ndarray]:
    """The movie without frames that repeat the one before, and which those are [t]; raises where nothing is left."""
    valid = movie.valid()
    if not valid.any():
        raise InputError(f"{movie.name} has no valid pixel: every value is NaN or masked.")
    values = movie.frames[valid]
    if np.ptp(values) == 0:
        raise InputError(
            f"{movie.name} is constant ({values[0]:g} everywhere): there is nothing to denoise."
        )
    again = repeated_frames(movie.frames, valid)
    if config.defects == "keep" or not again.any():
        return movie, np.zeros_like(again)
    return replace(movie, mask=valid & ~again[:, None, None]), again


def find_defects(
    frames: np.ndarray, valid: np.ndarray, found: NoiseEstimate, config: DenoiseConfig
) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Where to learn [t, y, x], which of the others are saturated, and what to say about it."""
    none = np.zeros_like(valid)
    if config.defects == "keep":
        return valid, none, []
    bad = defects(frames, valid, found.model)
    mask, full = bad.mask & valid, bad.saturated & valid
    if not mask.any():
        return valid, none, []
    if (mask & ~full).sum() > MOST_DEFECTS * valid.sum() or mask.sum() == valid.sum():
        share = 100 * mask.sum() / valid.sum()
        return valid, none, [f"{share:.0f} % of the values look defective: too many, all are kept."]
    return valid & ~mask, full, [f"Masked: {s}" for s in bad.sentences]


def noise_model(
    movie: Movie, found: NoiseEstimate, config: DenoiseConfig
) -> tuple[NoiseModel, list[str]]:
    """The noise model to use, and what to say about it."""
    log = list(found.sentences)
    if config.sigma is not None:
        log.append(f"Gaussian noise of sigma = {config.sigma:g}, as given.")
        return Gaussian(jnp.float32(config.sigma)), log
    if movie.noise is not None and config.noise == "auto":
        log.append("Noise model of the file used.")
        return movie.noise, log
    return found.model, log

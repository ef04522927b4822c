"""From a movie to what a fit sees: concentration, its variance, a grid, times, and the frames used."""

from dataclasses import dataclass

import jax.numpy as jnp
import numpy as np
from scipy import ndimage

from phdenoise.grid import Grid
from phdenoise.learn.config import FitConfig
from phdenoise.learn.laws import MODELS, LawSpace, Units
from phdenoise.modalities.concentration import choose_concentration
from phdenoise.movie import Estimate, Movie
from phdenoise.noise import estimate_noise, repeated_frames
from phdenoise.noise.repeats import sentences
from phdenoise.physics import substeps_for
from phdenoise.types import InputError

# Longest gap between frames, in median intervals.
LONGEST = 20
# Units of stacks that are no movies.
NOT_TIME = dict.fromkeys(("ev", "kev", "mev", "j"), "energy") | {
    **dict.fromkeys(("nm", "um", "µm", "mm", "angstrom", "å"), "length"),
    **dict.fromkeys(("deg", "degree", "degrees", "rad"), "angle"),
}
# Covariance across opposite edges, as a share of that of neighbours, from which on they continue each other; shortest edge.
WRAPS, EDGE = 0.9, 12
# Contrast, relative to the movie's largest, from which on frames are used.
DEVELOPED = 0.1
# No movie is believed to be nearer to a law's solution than 0.3 % of its range: steps, storage and binning are not [variance].
LEAST = 1e-5


def check_movie(movie: Movie, model: str) -> None:
    """Refuse what cannot be fitted.

    Raises:
        InputError: fewer than 3 frames, an axis that is not time, a long gap, or an unknown model.
    """
    if model not in MODELS:
        raise InputError(f"Unknown model '{model}': use one of {', '.join(MODELS)}.")
    frames = movie.shape[0]
    if frames < 3:
        raise InputError(
            f"{movie.name} has {frames} frame(s): a law of motion needs at least 3 frames of a movie."
        )
    if movie.time_unit.lower() in NOT_TIME:
        raise InputError(
            f"{movie.name}: its frames are steps of {NOT_TIME[movie.time_unit.lower()]} "
            f"[{movie.time_unit}], not of time, and a law of motion needs times (if they are times after "
            "all, give --frame-interval)."
        )
    interval = np.diff(movie.times)
    if interval.max() > LONGEST * np.median(interval):
        raise InputError(
            f"{movie.name}: frame intervals run from {interval.min():.3g} to {interval.max():.3g} "
            f"{movie.time_unit}; a fit does not bridge a gap of more than {LONGEST} median intervals "
            "(cut the movie there)."
        )


@dataclass(frozen=True)
class Setting:
    """The movie as concentration on the grid of the fit, cut to the frames used.

    Attributes:
        observed, variance: measured concentration and its noise variance [t, y, x].
        believed, believed_variance: the denoised movie, or the measured one where there is none.
        valid: False where nothing was measured [t, y, x].
        times: [t] in median frame intervals, from 0.
        grid: spacing in cells.
        first: index of the first frame used.
        units: from cells and intervals to the movie's units.
        slope, offset: c = slope (intensity − offset).
        binning: pixels per cell along each axis.
        power: mean square of the noise of a cell over `variance`, which counts that it correlates with its neighbours'.
        sentences: what was chosen, for the report.
    """

    observed: np.ndarray
    believed: np.ndarray
    variance: np.ndarray
    believed_variance: np.ndarray
    valid: np.ndarray
    times: np.ndarray
    grid: Grid
    first: int
    units: Units
    slope: float
    offset: float
    binning: int
    power: float
    sentences: tuple[str, ...]

    def expected(self, frames: slice | None = None) -> float:
        """Sum of squares of the noise of all or some frames, in units of `variance`."""
        return self.power * float(self.valid[frames or slice(None)].sum())


def prepare_setting(movie: Movie, config: FitConfig, estimate: Estimate | None) -> Setting:
    """Quantify, choose the frames and the boundary, and collect variances (all in concentration)."""
    valid = movie.valid()
    again = repeated_frames(movie.frames, valid)
    valid &= ~again[:, None, None]
    measured = np.where(valid, movie.frames, np.nan).astype(float)
    found = estimate_noise(movie.frames, valid)
    if estimate is not None:
        mean, mean_variance, noise = estimate.mean, estimate.variance, estimate.noise
    else:
        noise = movie.noise or found.model
        mean, mean_variance = _filled(measured), None
    smooth = ndimage.gaussian_filter(np.asarray(mean, float), 1.0)
    scale = choose_concentration(
        smooth, valid, how=config.concentration, limits=config.concentration_range
    )
    slope = 1.0 / (scale.high - scale.low)
    variance = np.asarray(noise.variance(jnp.asarray(smooth, jnp.float32)), float) * slope**2
    # Correlated noise: the mean of n pixels has a variance larger than 1/n of one by the sum of the
    # correlations, and a likelihood that took them for independent would be that much too sure.
    along = [_clear(found.correlation[k]) for k in "yx"]
    inflation = float(np.prod([_shared(rho) for rho in along]))
    variance = np.maximum(variance * inflation, LEAST)
    observed = (_filled(measured) - scale.low) * slope
    believed = (np.asarray(mean, float) - scale.low) * slope
    first = _first_frame((smooth - scale.low) * slope, config.first_frame)
    use = slice(first, first + config.max_frames)
    believed_variance = variance if mean_variance is None else mean_variance * slope**2
    binning = max(1, -(-max(movie.shape[1:]) // config.max_side))
    count = binning**2
    weighted = _bin(np.where(valid, observed, 0.0)[use], binning)
    share = _bin(valid[use].astype(float), binning)
    observed = np.where(
        share > 0.5, weighted / np.maximum(share, 1e-9), _bin(believed[use], binning)
    )
    said = movie.provenance.get("boundary")
    boundary, how = _boundary(config.boundary, said, np.asarray(mean, float)[use])
    dy, dx = movie.pixel_size
    length = float(np.sqrt(dy * dx)) * binning
    grid = Grid(observed.shape[1:], (dy * binning / length, dx * binning / length), boundary)
    interval = float(np.median(np.diff(movie.times[use])))
    units = Units(length, interval, movie.length_unit, movie.time_unit)
    edges = f"Frame edges are {boundary}{how}."
    binned = (f"Frames were binned {binning} x {binning}.",) * (binning > 1)
    last = first + observed.shape[0] - 1
    return Setting(
        observed,
        _bin(believed[use], binning),
        _bin(variance[use], binning) / count,
        # Errors of a denoised movie do not average out over neighbouring pixels.
        _bin(np.asarray(believed_variance, float)[use], binning),
        share > 0.5,
        (movie.times[use] - movie.times[first]) / interval,
        grid,
        first,
        units,
        slope,
        scale.low,
        binning,
        float(np.prod([_shared(rho, binning) for rho in along])) / inflation,
        (scale.sentence, edges, f"Frames {first} to {last} are used.", *binned, *sentences(again)),
    )


def needed_substeps(
    space: LawSpace, theta: np.ndarray, setting: Setting, config: FitConfig, most: int
) -> int:
    """Solver steps per frame interval, at most so many, that hold `solver_tolerance` with a law [p]; those asked for, if any."""
    if config.substeps:
        return config.substeps
    dtype = np.dtype(config.precision)
    law = space.build(jnp.asarray(theta, dtype))
    field = jnp.clip(jnp.asarray(setting.believed[0], dtype), 0.01, 0.99)
    # A step fit for the longest gap is fit for all.
    longest = float(np.diff(setting.times).max())
    try:
        return substeps_for(law, setting.grid, field, longest, config.solver_tolerance, most=most)
    except InputError:
        # The law is only a guess; the descent judges laws by the movie, at the finest step allowed.
        return most


def inverse_variance(variance: np.ndarray, valid: np.ndarray) -> np.ndarray:
    """Weights of the misfit [t, y, x]."""
    # Not exactly zero where masked: the posterior there is still predicted, by dividing the weight out.
    weights = 1.0 / variance
    return np.where(valid, weights, 1e-9 * weights.mean())


def _boundary(asked: str, said: str | None, frames: np.ndarray) -> tuple[str, str]:
    """Edges of the frame, and how that is known: asked for, said by the file, seen or assumed."""
    if asked != "auto":
        return asked, ""
    if said:
        return said, ""
    if wraps(frames):
        return "periodic", " (opposite ones continue each other)"
    return "no-flux", " (assumed)"


def wraps(frames: np.ndarray) -> bool:
    """Whether opposite edges of frames [t, y, x] continue each other, as those of a periodic simulation do.

    Their covariance along the edge is then that of neighbours. White noise has no part in it, but in its error.
    """
    if min(frames.shape[1:]) < EDGE:
        return False
    for axis in (1, 2):
        first, second, before, last = (
            np.take(frames, i, axis) - np.take(frames, i, axis).mean(1, keepdims=True)
            for i in (0, 1, -2, -1)
        )
        beside = 0.5 * float(np.mean(first * second) + np.mean(before * last))
        across = float(np.mean(first * last))
        doubt = float(np.std(first * last)) / np.sqrt(first.size)
        if not (beside > 5 * doubt and across > WRAPS * beside):
            return False
    return True


def _clear(correlation: np.ndarray) -> np.ndarray:
    """ρ at lags 0, 1, ... as far as it is clear of its own noise."""
    return correlation[: 1 + int(np.cumprod(correlation[1:] > 0.05).sum())]


def _shared(rho: np.ndarray, cells: int | None = None) -> float:
    """1 + 2 Σ ρ: so many times more than of independent ones is the variance of a mean of many cells, or of some."""
    lags = np.arange(1, rho.size)
    within = np.ones(lags.size) if cells is None else np.maximum(1 - lags / cells, 0)
    return float(1 + 2 * np.sum(within * rho[1:]))


def _bin(frames: np.ndarray, factor: int) -> np.ndarray:
    """Means of factor × factor pixels; rows and columns that do not fill a bin are left out."""
    if factor == 1:
        return frames
    t, ny, nx = frames.shape
    cut = frames[:, : ny // factor * factor, : nx // factor * factor]
    return cut.reshape(t, ny // factor, factor, nx // factor, factor).mean((2, 4))


def _filled(frames: np.ndarray) -> np.ndarray:
    """NaN replaced by the pixel's mean over time, or the movie's; such pixels carry no weight."""
    missing = ~np.isfinite(frames)
    if not missing.any():
        return frames
    count = np.maximum((~missing).sum(0), 1)
    pixel = np.nansum(frames, axis=0) / count
    pixel = np.where(missing.all(0), np.nanmean(frames), pixel)
    return np.where(missing, pixel, frames)


def _first_frame(smooth: np.ndarray, asked: int) -> int:
    """First frame whose contrast has developed (leaving three frames)."""
    last = smooth.shape[0] - 3
    if asked >= 0:
        return min(asked, last)
    contrast = smooth.std(axis=(1, 2))
    return min(int(np.argmax(contrast >= DEVELOPED * np.max(contrast))), last)

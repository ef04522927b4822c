"""From a movie to what a fit sees: concentration, its variance, a grid, times, and the frames used."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, Protocol, runtime_checkable

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from phdenoise.grid import Grid
from phdenoise.learn.blocks import binned
from phdenoise.learn.config import FitConfig
from phdenoise.learn.domain import find_domain
from phdenoise.learn.edges import (
    EdgeData,
    Face,
    Faces,
    conditions,
    described,
    parse_faces,
    reached,
    rim,
)
from phdenoise.learn.laws import Given, Units
from phdenoise.movie import Estimate, Movie
from phdenoise.noise.defects import isolated
from phdenoise.noise.duplicates import find_duplicate_frames, sentences
from phdenoise.noise.estimate import estimate_noise
from phdenoise.observation.base import Observation
from phdenoise.observation.concentration_scale import (
    RANGE_CONCENTRATIONS,
    choose_concentration,
    intensity_range,
)
from phdenoise.physics.domain import smooth_inside
from phdenoise.physics.equations.base import Law
from phdenoise.physics.law_parameters import Parameters, free_parameters, rescaled
from phdenoise.physics.simulate import as_dtype, substeps_for
from phdenoise.types import InputError, Moments, NoiseModel

# Solver steps a frame interval at most: a law that needs more is far stiffer than any that a movie of whole frames shows.
MOST_SUBSTEPS = 16
# Longest gap between frames that a fit bridges [median intervals]: one solve's step must serve the shortest and the longest.
LONGEST_GAP = 20
# Units of stacks that are no movies.
NOT_TIME = dict.fromkeys(("ev", "kev", "mev", "j"), "energy") | {
    **dict.fromkeys(("nm", "um", "µm", "mm", "angstrom", "å"), "length"),
    **dict.fromkeys(("deg", "degree", "degrees", "rad"), "angle"),
    "polarisation": "polarisation",
}
# Covariance across opposite edges [share of that of neighbours] from which on edges continue each other, and the shortest edge
# [px] that tells. Neighbours of a smooth field differ by about a tenth in covariance.
EDGE_COVARIANCE, SHORTEST_EDGE = 0.75, 12
# Covariance across opposite edges [share of that of neighbours] below which they do not, whatever the noise: edges of a closed box
# are independent, and few structures along both pairs of edges reach this by chance.
LEAST_EDGE_COVARIANCE = 0.6
# Contrast [share of the movie's largest] from which on frames are used: before, noise is larger than what moves.
DEVELOPED_CONTRAST = 0.1
# Standard deviation of the kernel that fills pixels that were never measured from their neighbours [px].
FILL_REACH = 1.0
# Least variance of a measured concentration [share of the square of the movie's range]: the square of 0.3 %. Steps of the solver, storage and binning are no better.
LEAST_VARIANCE = 1e-5


def check_movie(movie: Movie) -> None:
    """Refuse what cannot be fitted.

    Raises:
        InputError: fewer than 3 frames, an axis that is not time, or a long gap.
    """
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
    if interval.max() > LONGEST_GAP * np.median(interval):
        raise InputError(
            f"{movie.name}: frame intervals run from {interval.min():.3g} to {interval.max():.3g} "
            f"{movie.time_unit}; a fit does not bridge a gap of more than {LONGEST_GAP} median intervals "
            "(cut the movie there)."
        )


@runtime_checkable
class Observes(Protocol):
    """What a fit asks of an observation (`phdenoise.observation`)."""

    def quantify(self, counts: Array, variance: Array) -> Moments:
        """Mean and variance of the concentration that counts stand for.

        Args:
            counts: measured or denoised values [t, y, x].
            variance: of the counts [t, y, x].

        Returns:
            Moments of the concentration [t, y, x].
        """
        ...


class LinearScale(eqx.Module):
    """c = slope (I − offset): the observation of a movie without one.

    Attributes:
        slope: concentration by intensity [1/intensity unit].
        offset: intensity of c = 0 [intensity unit].
    """

    slope: Float[Array, ""] | float = eqx.field(converter=jnp.asarray)
    offset: Float[Array, ""] | float = eqx.field(converter=jnp.asarray)

    def observe(self, field: Array) -> Array:
        """Intensity of a concentration."""
        return field / jnp.asarray(self.slope, field.dtype) + jnp.asarray(self.offset, field.dtype)

    def quantify(self, counts: Array, variance: Array) -> Moments:
        """Concentration of an intensity, with its variance.

        Args:
            counts: intensity [...].
            variance: of the intensity [...].

        Returns:
            Mean and variance of the concentration [...].
        """
        slope, offset = (jnp.asarray(a, counts.dtype) for a in (self.slope, self.offset))
        return Moments(slope * (counts - offset), slope**2 * variance)


@dataclass(frozen=True)
class FitProblem:
    """The movie as concentration on the grid of the fit, cut to the frames used.

    Attributes:
        observed, variance: measured concentration and its noise variance [t, y, x].
        believed, believed_variance: the denoised movie, or the measured one where there is none.
        valid: False where nothing was measured [t, y, x].
        times: [t] in median frame intervals, from 0.
        grid: spacing in cells.
        first: index of the first frame used.
        units: from cells and intervals to the movie's units.
        observation: what the instrument does to the concentration.
        binning: pixels per cell along each axis.
        lowest: concentration of any frame, but for outliers.
        span: range of the movie; 1 where it fills 0..1 [concentration].
        power: mean square of the noise of a cell over `variance`, which counts that it correlates with its neighbours'.
        faces: what holds at the faces of the frame, known inflows in cells and frame intervals.
        evidence: by face, how decisively it was chosen.
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
    observation: Observes
    binning: int
    lowest: float
    span: float
    power: float
    faces: Faces
    evidence: Mapping[str, Mapping[str, Any]]
    sentences: tuple[str, ...]

    @property
    def inside(self) -> np.ndarray | None:
        """Cells that the law moves [y, x]; None for all of them."""
        return None if self.grid.mask is None else np.asarray(self.grid.mask)

    @property
    def weights(self) -> np.ndarray:
        """Weights of the measured movie [t, y, x] [1/concentration²]."""
        return inverse_variance(self.variance, self.valid, self.inside)

    @property
    def believed_weights(self) -> np.ndarray:
        """Weights of the believed movie [t, y, x] [1/concentration²]."""
        return inverse_variance(self.believed_variance, self.valid, self.inside)

    @property
    def resolving(self) -> Observation | None:
        """The instrument, where it resolves only a part of the field; None where it resolves all of it."""
        whole = getattr(self.observation, "invertible", True)
        return None if whole else self.observation  # type: ignore[return-value]

    def saying(self, *sentences: str) -> "FitProblem":
        """The same with more sentences for the report."""
        return replace(self, sentences=(*self.sentences, *sentences))

    @property
    def edges(self) -> EdgeData:
        """What a law with these faces takes from the movie."""
        # A denoised movie's rim is taken as it is.
        measured = np.array_equal(self.believed_variance, self.variance)
        noise = float(np.sqrt(np.mean(self.variance[self.valid]))) / self.span if measured else 0.0
        return EdgeData(self.faces, self.times, self.believed, noise, self.inside)

    def with_faces(self, faces: Faces, width: int) -> "FitProblem":
        """The same with other faces.

        Args:
            faces: what holds; the rim of open ones has no weight.
            width: cells across a rim.

        Returns:
            The problem.
        """
        given = rim(self.grid.shape, faces, width)
        grid = self.grid.with_faces(conditions(faces))
        return replace(self, faces=faces, grid=grid, valid=self.valid & ~given)

    def expected(self, frames: slice | None = None) -> float:
        """Sum of squares of the noise of all or some frames, in units of `variance`."""
        return self.power * float(self.valid[frames or slice(None)].sum())


def prepare_fit_problem(
    movie: Movie,
    config: FitConfig,
    estimate: Estimate | None,
    observation: Observes | None = None,
) -> FitProblem:
    """Quantify, choose the frames and the boundary, and collect variances (all in concentration).

    Args:
        movie: as measured.
        config: settings.
        estimate: the denoised movie, if there is one.
        observation: what the instrument does to the concentration; by default an affine scale that `config` chooses.

    Returns:
        What a fit sees.
    """
    valid, said = _usable(movie)
    domain = find_domain(movie, valid)
    measured = np.where(valid, movie.frames, np.nan).astype(float)
    found = estimate_noise(movie.frames, valid)
    filled = _filled(measured, domain.pixels)
    mean, mean_variance, noise = _believed(movie, estimate, filled, found.model)
    smooth = smooth_inside(np.asarray(mean, float), domain.pixels, (1.0, 1.0, 1.0))
    observation, how_scaled = _observation(observation, smooth, valid, config)
    noise_variance = np.asarray(noise.variance(jnp.asarray(smooth, jnp.float32)), float)
    contrast, variance = _quantified(observation, smooth, noise_variance)
    # Correlated noise: the mean of n pixels has a variance larger than 1/n of one by the sum of the
    # correlations, and a likelihood that took them for independent would be that much too sure.
    along = [_clear(found.correlation[k]) for k in "yx"]
    inflation = _inflation(along)
    lowest, span = _range(contrast, valid)
    variance = np.maximum(variance * inflation, LEAST_VARIANCE * span**2)
    observed, _ = _quantified(observation, filled, noise_variance)
    believed, believed_variance = _quantified(
        observation, np.asarray(mean, float), 0.0 if mean_variance is None else mean_variance
    )
    use = _used(contrast, config, domain.pixels)
    first = use.start
    believed_variance = variance if mean_variance is None else believed_variance
    binning = max(1, -(-max(movie.shape[1:]) // config.max_side))
    cells = _Cells(domain.pixels, domain.binned(binning), binning)
    believed = cells.mean(believed[use])
    observed, valid = cells.measured(observed[use], valid[use], believed)
    units = _units(movie, use, binning)
    versions = (filled[use], np.asarray(mean, float)[use])
    asked, how = _faces(config, movie, versions, domain.pixels)
    faces = _in_cells(reached(cells.inside, asked), units)
    spacing = [h * binning / units.length for h in movie.pixel_size]
    grid = Grid(observed.shape[1:], spacing, conditions(faces), cells.inside)
    said = (
        how_scaled,
        domain.sentence,
        how,
        f"Frames {first} to {first + observed.shape[0] - 1} are used.",
        f"Frames were binned {binning} x {binning}." if binning > 1 else "",
        *said,
    )
    return FitProblem(
        observed,
        believed,
        cells.mean(variance[use]) / binning**2,
        # Errors of a denoised movie do not average out over neighbouring pixels.
        cells.mean(np.asarray(believed_variance, float)[use]),
        valid,
        (movie.times[use] - movie.times[first]) / units.time,
        grid,
        first,
        units,
        observation,
        binning,
        lowest,
        span,
        _inflation(along, binning) / inflation,
        faces,
        {},
        tuple(filter(None, said)),
    )


class Starts(NamedTuple):
    """Where a fit begins.

    Attributes:
        guess: θ that the movie suggests [p]; it tells how fine the solver's steps must be.
        around: θ of the laws of which the fit begins at the best [k, p].
    """

    guess: np.ndarray
    around: np.ndarray


def family_of(given: Given, fit_problem: FitProblem, dtype: np.dtype) -> Parameters:
    """The free numbers of a law in cells and frame intervals.

    Args:
        given: law in the movie's units.
        fit_problem: with these units.
        dtype: of its arrays.

    Returns:
        What θ is.
    """
    law = rescaled(as_dtype(given.law, dtype), fit_problem.units.length, fit_problem.units.time)
    if not given.numbers:
        # As large a part of the range below and above as a movie that is scaled has.
        low = fit_problem.lowest - RANGE_CONCENTRATIONS[0] * fit_problem.span
        law = as_dtype(law.over(low, low + fit_problem.span), dtype)
    return free_parameters(fit_problem.edges.around(law, dtype))


def starts_of(given: Given, family: Parameters, fit_problem: FitProblem) -> Starts:
    """Where a fit begins: at numbers that the law finds in the movie, or those that it was given.

    Args:
        given: the law.
        family: its free numbers.
        fit_problem: the movie.

    Returns:
        Points θ.
    """
    found = family.law.starts(fit_problem.believed, fit_problem.times, fit_problem.grid)

    def point(law: Law) -> np.ndarray:
        return np.asarray(Parameters(law, family.fixed).start, float)

    around = [point(law) for law in found.around]
    own = point(family.law)
    if given.numbers and not any(np.array_equal(own, other) for other in around):
        around = [own, *around]
    return Starts(point(found.guess), np.stack(around))


def _units(movie: Movie, use: slice, binning: int) -> Units:
    """Side of a cell as the geometric mean of its sides, and the median frame interval."""
    interval = float(np.median(np.diff(movie.times[use])))
    length = float(np.sqrt(np.prod(movie.pixel_size))) * binning
    return Units(length, interval, movie.length_unit, movie.time_unit)


def _believed(
    movie: Movie, estimate: Estimate | None, filled: np.ndarray, found: NoiseModel
) -> tuple[np.ndarray, np.ndarray | None, NoiseModel]:
    """The denoised movie with its variance and noise, or the measured one."""
    if estimate is not None:
        return estimate.mean, estimate.variance, estimate.noise
    return filled, None, movie.noise or found


def _usable(movie: Movie) -> tuple[np.ndarray, tuple[str, ...]]:
    """Measured values that a law is compared with: no repeated frames and no outliers; and sentences on what was left out."""
    valid = movie.valid()
    repeats = find_duplicate_frames(movie.frames, valid)
    valid &= ~repeats[:, None, None]
    odd = isolated(movie.frames.astype(float), valid)
    share = 100 * odd.sum() / max(valid.sum(), 1)
    left = (f"{int(odd.sum())} values ({share:.2g} %) are outliers and were left out.",) * bool(
        odd.any()
    )
    return valid & ~odd, (*sentences(repeats), *left)


def _range(contrast: np.ndarray, valid: np.ndarray) -> tuple[float, float]:
    """Lowest concentration, and the span that a movie between 0 and 1 would have with as much room beside its range."""
    bottom, top = intensity_range(contrast, valid)
    first, last = RANGE_CONCENTRATIONS
    return bottom, (top - bottom) / (last - first)


def _observation(
    given: Observes | None, smooth: np.ndarray, valid: np.ndarray, config: FitConfig
) -> tuple[Observes, str]:
    """The observation that is given, or the affine scale of a movie, and how it was found."""
    if given is not None:
        return given, f"The concentration is that of {type(given).__name__}."
    scale = choose_concentration(
        smooth, valid, how=config.concentration, limits=config.concentration_range
    )
    with jax.enable_x64(True):
        return LinearScale(1.0 / (scale.high - scale.low), scale.low), scale.sentence


def _quantified(
    observation: Observes, counts: np.ndarray, variance: np.ndarray | float
) -> tuple[np.ndarray, np.ndarray]:
    """Concentration and its variance in double precision."""
    with jax.enable_x64(True):
        many = jnp.asarray(np.broadcast_to(np.asarray(variance, float), counts.shape))
        found = observation.quantify(jnp.asarray(counts, float), many)
        return np.asarray(found[0], float), np.asarray(found[1], float)


def needed_substeps(
    family: Parameters, theta: np.ndarray, fit_problem: FitProblem, config: FitConfig, most: int
) -> int:
    """Solver steps per frame interval, at most so many, that hold `solver_tolerance` with a law [p]; those asked for, if any.

    Args:
        family: what the components of θ are.
        theta: a law [p].
        fit_problem: the movie as concentration.
        config: settings.
        most: largest answer.

    Returns:
        Solver steps a frame interval.
    """
    if config.substeps:
        return config.substeps
    dtype = np.dtype(config.precision)
    law = family.build(jnp.asarray(theta, dtype))
    field = jnp.asarray(fit_problem.believed[0], dtype)
    if law.bounded:
        field = jnp.clip(field, 0.01, 0.99)
    # A step fit for the longest gap is fit for all.
    longest = float(np.diff(fit_problem.times).max())
    try:
        return substeps_for(
            law, fit_problem.grid, field, longest, config.solver_tolerance, most=most
        )
    except InputError:
        # The law is only a guess; the descent judges laws by the movie, at the finest step allowed.
        return most


def inverse_variance(
    variance: np.ndarray, valid: np.ndarray, inside: np.ndarray | None = None
) -> np.ndarray:
    """Weights of the misfit [t, y, x].

    Args:
        variance: of the concentration [t, y, x].
        valid: True where measured [t, y, x].
        inside: True in the domain of the law [y, x]; None for everywhere.

    Returns:
        Weights [1/concentration²], tiny where nothing was measured, zero outside the domain.
    """
    # Not exactly zero where masked: the posterior there is still predicted, by dividing the weight out.
    weights = 1.0 / variance
    weights = np.where(valid, weights, 1e-9 * weights.mean())
    return weights if inside is None else np.where(inside, weights, 0.0)


def _faces(
    config: FitConfig, movie: Movie, versions: tuple[np.ndarray, ...], inside: np.ndarray | None
) -> tuple[dict[str, Face], str]:
    """What holds at the faces as far as it is asked for, said by the file or seen; auto where the fit must find it.

    The frames [t, y, x] come in versions, as measured and denoised: a denoiser does not know that edges continue each other.
    """
    faces = parse_faces(config.boundary)
    if "auto" not in {face.kind for face in faces.values()}:
        return faces, f"Frame edges are {described(faces)}."
    stated = movie.provenance.get("boundary")
    if stated in ("periodic", "no-flux"):
        known = parse_faces(stated)
        faces = {s: known[s] if f.kind == "auto" else f for s, f in faces.items()}
        return faces, f"Frame edges are {described(faces)}, as the file says."
    if {face.kind for face in faces.values()} == {"auto"}:
        whole = inside is None or _framed(inside)
        if whole and any(wraps(frames) for frames in versions):
            return parse_faces("periodic"), (
                "Frame edges are periodic (opposite ones continue each other)."
            )
    return faces, ""


def _in_cells(faces: Faces, units: Units) -> dict[str, Face]:
    """Faces whose known inflows are in cells and frame intervals."""
    factor = units.time / units.length
    return {
        s: f._replace(value=f.value * factor) if f.kind == "fed" and f.value is not None else f
        for s, f in faces.items()
    }


def wraps(frames: np.ndarray) -> bool:
    """Whether opposite edges of frames [t, y, x] continue each other, as those of a periodic simulation do.

    Their covariance along the edge is then that of neighbours. White noise has no part in it, but in its error, of which one standard
    deviation is allowed for.
    """
    if min(frames.shape[1:]) < SHORTEST_EDGE:
        return False
    for axis in (1, 2):
        first, second, before, last = (
            np.take(frames, i, axis) - np.take(frames, i, axis).mean(1, keepdims=True)
            for i in (0, 1, -2, -1)
        )
        along = 0.5 * (first * second + before * last)
        beside, across = float(np.mean(along)), float(np.mean(first * last))
        gap = first * last - EDGE_COVARIANCE * along
        # What the edges share counts as noise, too, where it is most of the products.
        error, doubt = (float(np.std(a)) / np.sqrt(first.size) for a in (gap, first * last))
        seen = beside > 5 * doubt and across > LEAST_EDGE_COVARIANCE * beside
        if not (seen and float(np.mean(gap)) > -error):
            return False
    return True


def _framed(inside: np.ndarray) -> bool:
    """Whether the domain has all pixels along the edges of the frame."""
    return bool(inside[[0, -1]].all() and inside[:, [0, -1]].all())


def _clear(correlation: np.ndarray) -> np.ndarray:
    """ρ at lags 0, 1, ... as far as it is clear of its own noise."""
    return correlation[: 1 + int(np.cumprod(correlation[1:] > 0.05).sum())]


def _shared(rho: np.ndarray, cells: int | None = None) -> float:
    """1 + 2 Σ ρ: so many times more than of independent ones is the variance of a mean of many cells, or of some."""
    lags = np.arange(1, rho.size)
    within = np.ones(lags.size) if cells is None else np.maximum(1 - lags / cells, 0)
    return float(1 + 2 * np.sum(within * rho[1:]))


def _inflation(along: list[np.ndarray], cells: int | None = None) -> float:
    """The same for a mean over both axes."""
    return float(np.prod([_shared(rho, cells) for rho in along]))


class _Cells(NamedTuple):
    """Cells of a binned grid.

    Attributes:
        pixels: True inside the domain [y, x]; None for everywhere.
        inside: cells that belong to it; None for all.
        factor: pixels along the side of a cell.
    """

    pixels: np.ndarray | None
    inside: np.ndarray | None
    factor: int

    def measured(
        self, frames: np.ndarray, valid: np.ndarray, believed: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Mean over the measured pixels of each cell, believed where few were, and which cells count as measured [t, y, x].

        A cell counts where most of the pixels that the domain has in it were measured.
        """
        share = binned(valid, self.factor)
        known = share > 0.5
        if self.pixels is not None and self.inside is not None:
            known = (share > 0.5 * binned(self.pixels, self.factor)) & self.inside
        total = binned(np.where(valid, frames, 0.0), self.factor)
        return np.where(known, total / np.maximum(share, 1e-9), believed), known

    def mean(self, frames: np.ndarray) -> np.ndarray:
        """Mean over the pixels inside of each cell [t, y, x]; outside the domain the mean of all cells inside."""
        if self.pixels is None or self.inside is None:
            return binned(frames, self.factor)
        total = binned(np.where(self.pixels, frames, 0.0), self.factor)
        share = binned(self.pixels, self.factor)
        means = total / np.maximum(share, 1e-9)
        # One value at all times: what stands outside does not move.
        return np.where(self.inside, means, means[:, self.inside].mean())


def _filled(frames: np.ndarray, inside: np.ndarray | None) -> np.ndarray:
    """NaN replaced by the pixel's mean over time, or by what surrounds it; such pixels carry no weight."""
    missing = ~np.isfinite(frames)
    if not missing.any():
        return frames
    count = (~missing).sum(0)
    pixel = np.nansum(frames, axis=0) / np.maximum(count, 1)
    filled = np.where(missing, pixel, frames)
    never = count == 0
    if never.any():
        around = smooth_inside(filled, ~never, (0.0, FILL_REACH, FILL_REACH))
        filled = np.where(never, around, filled)
    return filled


def _used(smooth: np.ndarray, config: FitConfig, inside: np.ndarray | None) -> slice:
    """Frames used: from the first whose contrast has developed, or that is asked for (leaving three frames)."""
    first, last = config.first_frame, smooth.shape[0] - 3
    if first < 0:
        within = slice(None) if inside is None else inside
        contrast = smooth[:, within].reshape(smooth.shape[0], -1).std(axis=1)
        first = int(np.argmax(contrast >= DEVELOPED_CONTRAST * np.max(contrast)))
    first = min(first, last)
    return slice(first, first + config.max_frames)

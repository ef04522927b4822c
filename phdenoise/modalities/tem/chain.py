"""Images of a nanoparticle -> denoised image, columns with errors, surface, strain, and which atoms to believe. No files here.

    counts -> drift -> sum of frames -> denoised -> columns -> surface, lattice and strain
      -> surface sites with and without their column: likelihood ratio, verdict, power -> of a movie: tracks and occupancy

Positions, intensities and claims come from counts. The denoised image only says where to look.
"""

from dataclasses import replace
from functools import partial
from typing import Literal

import jax.numpy as jnp
import numpy as np

from phdenoise.modalities.plausibility import Limits, impossible
from phdenoise.modalities.tem.binning import measure_vacuum
from phdenoise.modalities.tem.columns import WIDER, Columns, binned, find_columns
from phdenoise.modalities.tem.config import TemConfig, angstroms, check_config, electrons
from phdenoise.modalities.tem.denoiser import DenoisedCounts, denoise_counts
from phdenoise.modalities.tem.fringes import find_fringes
from phdenoise.modalities.tem.likelihood import SiteTest, judge_sites, verdicts
from phdenoise.modalities.tem.occupancy import fit_rates
from phdenoise.modalities.tem.result import TemResult
from phdenoise.modalities.tem.sentences import sentences
from phdenoise.modalities.tem.sites import SurfaceSites, surface_sites
from phdenoise.modalities.tem.surface import spacing, surface_columns
from phdenoise.modalities.tem.tracking import (
    Lattice,
    aligned_sum,
    find_scene_drift,
    fit_lattice,
    track_columns,
)
from phdenoise.movie import Estimate, Movie
from phdenoise.noise.models import Poisson
from phdenoise.types import InputError, Progress, stage

# Columns of atoms along a zone axis lie no nearer than atoms do, and no further than unit cells are large [Å].
_SPACING = Limits(
    "The distance of neighbouring columns", 1.0, 6.0, 0.1, "Å", "is --pixel-size in Å?"
)
# Variance of counts over their mean; cameras that spread an electron over pixels, or 8-bit files, have another.
_COUNTS = Limits("The variance of the counts over their mean, in vacuum,", 1.0, 1.0, 0.3, why="are --gain and --offset right?")  # fmt: skip
# Frames from which on occupancy and tracks are fitted.
_MOVIE = 3
# Side of the window of a pixel's registration [Å]: finer detail is noise at low dose.
_REGISTERED = 0.4


def analyse_particle(
    movie: Movie, config: TemConfig | None = None, *, progress: Progress | None = None
) -> TemResult:
    """The chain.

    Args:
        movie: images.
        config: see `TemConfig`.
        progress: called with (stage, step, steps, value).

    Returns:
        Columns, surface, claims; of a movie also tracks and occupancy.

    Raises:
        InputError: settings that do not fit, or images that are no counts.
    """
    config = TemConfig() if config is None else config
    check_config(config)
    size = angstroms(movie, config.pixel_size)
    counts = electrons(movie, config)
    warnings: list[str] = []
    vacuum = config.vacuum or measure_vacuum(counts, size)
    dispersion = _dispersion(counts, vacuum, size)
    drift = find_scene_drift(counts, max(round(_REGISTERED / size), 1))
    total, seen = aligned_sum(counts, drift)
    denoised = _denoised(total, size, vacuum * len(counts), config, warnings)
    guide = None if denoised is None else denoised.mean
    columns = find_columns(total, pixel_size=size, config=config.columns, guide=guide, seen=seen)
    border = partial(surface_columns, shape=total.shape)
    weak = find_fringes(columns, border)
    fringes, columns = columns.position[weak], columns.chosen(~weak)
    surface = border(columns.position)
    lattice = _lattice(columns, warnings)
    sites = surface_sites(columns, surface, lattice, total.shape, len(counts))
    aligned = np.stack(
        [aligned_sum(f[None], d[None])[0] for f, d in zip(counts, drift, strict=True)]
    )
    test, single, ratio = _tested(aligned, sites, columns.binning, config.level)
    tracks = rates = None
    if len(counts) >= _MOVIE and len(columns.position):
        tracks = track_columns(counts, columns, drift, progress=stage(progress, "track"))
        if len(sites.position):
            rates = fit_rates(ratio, float(np.median(np.diff(movie.times))))
    hidden = _hidden(total.shape, vacuum * len(counts), size, config, columns)
    estimate = _estimate(movie, total, denoised)
    result = TemResult(
        movie, counts, size, vacuum, dispersion, total, seen, estimate, columns, surface, lattice, sites,
        test, tuple(verdicts(test)), single, ratio, tracks, rates, hidden, tuple(warnings), (),
        _impossible(columns, size, dispersion), fringes,
    )  # fmt: skip
    return replace(result, sentences=sentences(result))


def _denoised(
    total: np.ndarray, size: float, vacuum: float, config: TemConfig, warnings: list[str]
) -> DenoisedCounts | None:
    if not config.network:
        return None
    try:
        return denoise_counts(total, pixel_size=size, vacuum=vacuum)
    except InputError as error:
        warnings.append(f"The network cannot denoise this image: {error}")
        return None


def _dispersion(counts: np.ndarray, vacuum: float, size: float) -> tuple[float, float]:
    """Variance over mean of the counts in the flattest tenth of the image, and its standard deviation."""
    side = max(round(6.0 / size), 4)
    ny, nx = (n // side for n in counts.shape[1:])
    if ny * nx < 2:
        return float("nan"), float("nan")
    cut = counts[:, : ny * side, : nx * side].reshape(-1, ny, side, nx, side)
    blocks = cut.transpose(1, 3, 0, 2, 4).reshape(ny * nx, -1)
    mean = blocks.mean(axis=1)
    # The blocks nearest to the vacuum's level; chosen by their mean, not by their variance.
    near = np.argsort(np.abs(mean - vacuum))[: max(ny * nx // 10, 2)]
    inside = cut.transpose(1, 3, 0, 2, 4).reshape(ny * nx, len(counts), -1)[near]
    # Differences of neighbours do not see structure.
    step = np.diff(inside, axis=2)
    ratio = float(np.mean(step**2) / 2 / np.mean(inside))
    kurtosis = 3 + 1 / max(float(np.mean(inside)), 1e-9)
    return ratio, float(np.sqrt(kurtosis / step.size)) * 2


def _lattice(columns: Columns, warnings: list[str]) -> Lattice | None:
    try:
        return fit_lattice(columns.position, columns.position_sd)
    except InputError as error:
        warnings.append(f"No strain is given: {error}")
        return None


def _tested(
    aligned: np.ndarray, sites: SurfaceSites, binning: int, level: float
) -> tuple[SiteTest, SiteTest, np.ndarray]:
    """The test in the sum, in one frame, and the ratio in every frame."""
    frames = np.stack([binned(f, binning) for f in aligned])
    test = judge_sites(frames, sites.windows, level=level)
    each = [judge_sites(f, sites.windows, level=level) for f in frames]
    return test, each[0], np.stack([t.ratio for t in each], axis=1)


def _hidden(
    shape: tuple[int, ...], vacuum: float, size: float, config: TemConfig, columns: Columns
) -> int:
    """False columns in vacuum of this size and dose, searched as the image was."""
    counts = np.random.default_rng(0).poisson(vacuum, shape).astype(float)
    guide = denoise_counts(counts, pixel_size=size, vacuum=vacuum).mean if config.network else None
    contrast: Literal["bright", "dark"] = "bright" if columns.sign > 0 else "dark"
    own = replace(config.columns, width=columns.filter_width * size / WIDER, contrast=contrast)
    return len(find_columns(counts, pixel_size=size, config=own, guide=guide).position)


def _estimate(movie: Movie, total: np.ndarray, denoised: DenoisedCounts | None) -> Estimate:
    """The sum of the frames as a movie of one frame, denoised."""
    noise = Poisson(jnp.float32(1.0))
    one = Movie.from_array(
        total.astype(np.float32)[None], pixel_size=movie.pixel_size, length_unit=movie.length_unit,
        intensity_unit="electrons", noise=noise, name=f"{movie.name} summed", provenance=movie.provenance,
    )  # fmt: skip
    mean = total if denoised is None else denoised.mean
    variance = total if denoised is None else denoised.sd**2
    log = ("The image was not denoised.",) if denoised is None else (
        "The sum of the frames was denoised by the shipped network, which multislice simulations have trained.",
    )  # fmt: skip
    return Estimate(
        one,
        np.asarray(mean, np.float32)[None],
        np.asarray(variance, np.float32)[None],
        noise,
        log=log,
    )


def _impossible(columns: Columns, size: float, dispersion: tuple[float, float]) -> tuple[str, ...]:
    found = impossible(np.array([dispersion[0]]), np.array([dispersion[1]]), _COUNTS)
    if len(columns.position) > 1:
        apart = np.array([spacing(columns.position) * size])
        found += impossible(apart, np.zeros(1), _SPACING)
    return found

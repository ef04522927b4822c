"""Atomic columns of an image: which are there, where, how strong and how wide, each with its error.

    counts -> width and sign of the filter -> maxima that noise does not make -> joint fit -> columns that the fit
    left over are added, columns that it cannot tell from nothing are taken away -> joint fit

What is looked for after a fit is a single column on a smooth background, so that the filter may be √3 wider than the
column: s³/(s² + s_0²)² of its response over its noise is largest there. Columns nearer than two widths are one maximum
(Sparrow's limit) and are fitted as one.
"""

from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
from jaxtyping import Bool, Float
from scipy.special import ndtr

from phdenoise.modalities.tem.column_fit import Fit, fit_columns
from phdenoise.modalities.tem.detection import (
    Maxima,
    height_p_value,
    kept_by_false_share,
    maxima,
    response,
)
from phdenoise.types import InputError

# Widths of columns that are tried [Å], and their ratio: the response changes by 2 % over half a step.
_NARROWEST, _WIDEST, _RATIO = 0.25, 1.0, 1.2
# A filter is at least so wide [px of the binned counts]: two pixels a width lose 0.1 % of the information on a position.
_FINEST = 2.0
# Maxima nearer than this are one [widths]: the sum of two Gaussians so near has a single top (Sparrow).
_SPARROW = 2.0
# Distance of the background's knots [widths of a column]: about that of two columns, so that it cannot be one.
_KNOTS = 5.0
# Width of the first filter over that of columns: 1 in a close-packed lattice, √3 for columns that stand alone.
WIDER = 1.2
# Share of false ones among the first candidates. A column that is missing bends the background, one too many costs little.
_CANDIDATES = 0.5
# Response of the denoised image from which on it shows a column [sd of the counts' response]: below, counts say nothing.
_VISIBLE = 1.0
# Replicas that say how large the errors are, and their seed: with fifty columns, two tell a standard deviation to 5 %.
_REPLICAS, _SEED = 2, 0
# Median of the square of a Gaussian of variance 1.
_MEDIAN_SQUARE = 0.4549
# κ of white noise behind a Gaussian, whose power is exp(−k²s²): <k²> = 1/s², <k⁴> = 2/s⁴; heights of the fit are such.
_GAUSSIAN_KAPPA = 1.0
# Rounds of adding and taking away.
_ROUNDS = 2
# Steps of the fits between the rounds, which only need to say which columns there are.
_ROUGH_STEPS = 5
# Most columns that are fitted together: 4 parameters each make a dense matrix, of 1.2 GB at this number.
MOST_COLUMNS = 3000


@dataclass(frozen=True)
class ColumnsConfig:
    """How to find atomic columns."""

    width: float | None = None
    """Width of a column, one standard deviation of its Gaussian [Å]; found from the image if not given."""
    contrast: Literal["bright", "dark"] | None = None
    """Whether columns are brighter or darker than their surroundings; found from the image if not given."""
    false_share: float = 0.05
    """Expected share of false columns among those found; the probability of any column where there is none."""


class Columns(NamedTuple):
    """Atomic columns, the surest first.

    Attributes:
        position: y, x of each [column, 2] [px of the image].
        position_covariance: of it [column, 2, 2] [px²].
        intensity, intensity_sd: counts that a column adds to its surroundings, negative for dark ones [electrons].
        width, width_sd: of its Gaussian [px].
        height: of its Gaussian [electrons/px].
        score: height over its standard deviation, as if there were no column.
        p_value: that noise makes such a maximum.
        background: smooth part of the image [y1, x1] [electrons/px], binned.
        binning: pixels of the image along one of the background's.
        filter_width: of the detection [px].
        sign: 1 bright, −1 dark.
        tests: maxima that were judged.
        converged: whether the fit arrived.
    """

    position: np.ndarray
    position_covariance: np.ndarray
    intensity: np.ndarray
    intensity_sd: np.ndarray
    width: np.ndarray
    width_sd: np.ndarray
    height: np.ndarray
    score: np.ndarray
    p_value: np.ndarray
    background: np.ndarray
    binning: int
    filter_width: float
    sign: int
    tests: int
    converged: bool

    @property
    def position_sd(self) -> np.ndarray:
        """Standard deviation along y and x [column, 2] [px]."""
        return np.sqrt(np.diagonal(self.position_covariance, axis1=1, axis2=2))

    def chosen(self, which: np.ndarray) -> "Columns":
        """Some of the columns."""
        each = ("position", "position_covariance", "intensity", "intensity_sd", "width", "width_sd",
                "height", "score", "p_value")  # fmt: skip
        return self._replace(**{name: getattr(self, name)[which] for name in each})


class Filter(NamedTuple):
    """Width [px of the image] and sign of the Laplacian of Gaussian that fits the image."""

    width: float
    sign: int


def find_columns(
    counts: Float[np.ndarray, "*s"],
    *,
    pixel_size: float,
    config: ColumnsConfig | None = None,
    guide: Float[np.ndarray, "y1 x1"] | None = None,
    seen: Bool[np.ndarray, "y x"] | None = None,
) -> Columns:
    """Find and fit the columns of an image.

    Args:
        counts: electrons per pixel, sums of frames included [electrons].
        pixel_size: [Å].
        config: see `ColumnsConfig`.
        guide: denoised image, in which candidates are looked for too; the counts decide on them [electrons].
        seen: False where a pixel is not measured.

    Returns:
        The columns.

    Raises:
        InputError: an image that is too small, or too many columns.
    """
    config = ColumnsConfig() if config is None else config
    counts = _checked(counts, pixel_size)
    seen = np.isfinite(counts) if seen is None else seen & np.isfinite(counts)
    counts = np.where(seen, counts, 0.0)
    chosen = matched_filter(counts, pixel_size=pixel_size, config=config, seen=seen)
    binning = max(int(chosen.width / _FINEST), 1)
    small, whole = binned(counts, binning), binned(seen.astype(float), binning) > binning**2 - 0.5
    width = chosen.width / binning
    first = maxima(
        response(small, width, sign=chosen.sign, seen=whole), apart=_SPARROW * width, seen=whole
    )
    found = first.position[kept_by_false_share(first.p_value, _CANDIDATES)]
    if not kept_by_false_share(first.p_value, config.false_share).any():
        # Nothing stands out of the noise: in vacuum, that is so in all images but the share of false ones.
        found = found[:0]
        guide = None if guide is None else np.full(counts.shape, counts.mean())
    task = _Task(small, whole, width, chosen.sign, config)
    if guide is None:
        fit, score, tests = _refined(task, found, add=len(found) > 0)
        p_value = height_p_value(score, _GAUSSIAN_KAPPA)
        kept = kept_by_false_share(p_value, config.false_share, max(tests, len(first.height)))
    else:
        seeds = _of_guide(task, binned(np.asarray(guide, float), binning))
        fit, score, tests = _refined(task, seeds, add=False)
        # The places are given, so that each is one test of a Gaussian, not the highest of many.
        p_value = ndtr(-score)
        kept = kept_by_false_share(p_value, config.false_share, tests)
    fit = _widened(task, fit, np.random.default_rng(_SEED))
    found_all = _columns(fit, score, p_value, chosen, binning, tests)
    return found_all.chosen(kept[np.argsort(-score, kind="stable")])


def matched_filter(
    counts: Float[np.ndarray, "y x"],
    *,
    pixel_size: float,
    config: ColumnsConfig | None = None,
    seen: Bool[np.ndarray, "y x"] | None = None,
) -> Filter:
    """Width and sign of the filter whose response stands most above the noise.

    Args:
        counts: electrons per pixel.
        pixel_size: [Å].
        config: fixes either or both.
        seen: False where a pixel is not measured.

    Returns:
        The filter.
    """
    config = ColumnsConfig() if config is None else config
    seen = np.ones(counts.shape, bool) if seen is None else seen
    if config.width is not None:
        widths = np.asarray([config.width * WIDER])
    else:
        number = int(np.log(_WIDEST / _NARROWEST) / np.log(_RATIO)) + 1
        widths = _NARROWEST * _RATIO ** np.arange(number)
    best = (-np.inf, 1.0, 1)
    for width in widths / pixel_size:
        binning = max(int(width / _FINEST), 1)
        if min(counts.shape) < 4 * width:
            continue
        whole = binned(seen.astype(float), binning) > binning**2 - 0.5
        if not whole.any():
            continue
        z = response(binned(counts, binning), width / binning, seen=whole)[whole]
        best = max(best, (float(np.mean(z**2)), width, 1 if np.mean(z**3) >= 0 else -1))
    if not np.isfinite(best[0]):
        raise InputError(
            f"An image of {counts.shape[0]} x {counts.shape[1]} px of {pixel_size:g} Å is too small to find columns in."
        )
    signs = {"bright": 1, "dark": -1, None: best[2]}
    return Filter(float(best[1]), signs[config.contrast])


def binned(image: Float[np.ndarray, "y x"], binning: int) -> Float[np.ndarray, "y1 x1"]:
    """Sums over squares of pixels; rows and columns that fill no square are left out.

    Args:
        image: [y, x].
        binning: side of a square [px].

    Returns:
        Sums.
    """
    ny, nx = (n // binning for n in image.shape)
    cut = np.asarray(image)[: ny * binning, : nx * binning]
    return cut.reshape(ny, binning, nx, binning).sum(axis=(1, 3))


def _checked(counts: np.ndarray, pixel_size: float) -> np.ndarray:
    counts = np.asarray(counts, float)
    if counts.ndim != 2:
        raise InputError(
            f"Columns are found in one image [y, x], got an array of shape {counts.shape}."
        )
    if not (np.isfinite(pixel_size) and pixel_size > 0):
        raise InputError(f"The pixel size must be positive, in Å, got {pixel_size}.")
    if not np.isfinite(counts).any() or np.nanmax(counts) <= 0:
        raise InputError("The image has no counts.")
    if np.nanmin(counts) < 0:
        raise InputError(
            "The image has negative counts: give electrons per pixel, without background subtracted."
        )
    return counts


class _Task(NamedTuple):
    """Binned counts, where they are measured, and the filter."""

    counts: np.ndarray
    seen: np.ndarray
    width: float
    sign: int
    config: ColumnsConfig

    def fit(self, start: np.ndarray, rough: bool, counts: np.ndarray | None = None) -> Fit:
        """Joint fit of these or other counts; a rough one takes few steps."""
        if len(start) > MOST_COLUMNS:
            raise InputError(
                f"The image has {len(start)} columns, and {MOST_COLUMNS} can be fitted together: crop it."
            )
        steps = {"steps": _ROUGH_STEPS} if rough else {}
        return fit_columns(
            self.counts if counts is None else counts,
            start,
            knots=_KNOTS * self.width,
            seen=self.seen,
            **steps,
        )


def _of_guide(task: _Task, guide: np.ndarray) -> np.ndarray:
    """Maxima of the denoised image that would stand out of the noise of the counts by one standard deviation."""
    # The response of an image without noise, over the noise that counts of its level have.
    z = response(np.maximum(guide, 1e-9), task.width / WIDER, sign=task.sign, seen=task.seen)
    tops = maxima(z, apart=_SPARROW * task.width / WIDER, seen=task.seen)
    return tops.position[tops.height > _VISIBLE]


def _refined(task: _Task, position: np.ndarray, add: bool) -> tuple[Fit, np.ndarray, int]:
    """Joint fit of all candidates: the fit, the score of each, and the number of maxima that were judged.

    Candidates that may be columns stay in the fit, claimed or not: the background would bend into their places, and take
    from their neighbours.
    """
    sign, counts = task.sign, task.counts
    start, tests = _start(counts, position, task.width, sign), len(position)
    for _ in range(_ROUNDS):
        fit = task.fit(start, rough=True)
        score = sign * fit.values[:, 2] / np.sqrt(fit.covariance[:, 2, 2])
        stays = score > _VISIBLE
        start, own = fit.values[stays], task.width / WIDER
        comes = np.zeros((0, 2))
        if add:
            left = _left_over(task, fit, own * np.sqrt(3))
            tests = max(tests, len(left.height) + len(start))
            fresh = _away(left.position, fit.values[:, :2], _SPARROW * own)
            comes = left.position[fresh[left.p_value[fresh] < _CANDIDATES * len(start) / tests]]
        if stays.all() and not len(comes):
            break
        start = np.concatenate([start, _start(counts, comes, task.width, sign)])
        start[:, 3] = np.log(own)
    start[:, 3] = np.log(task.width / WIDER)
    fit = task.fit(start, rough=False)
    return fit, sign * fit.values[:, 2] / np.sqrt(fit.covariance[:, 2, 2]), tests


def _start(counts: np.ndarray, position: np.ndarray, width: float, sign: int) -> np.ndarray:
    """Values to begin a fit with: a fifth of the mean is a common contrast, and one step corrects it."""
    start = np.empty((len(position), 4))
    start[:, :2] = position
    start[:, 2] = 0.2 * sign * counts.mean()
    start[:, 3] = np.log(width / WIDER)
    return start


def _widened(task: _Task, fit: Fit, random: np.random.Generator) -> Fit:
    """The fit with the errors that it makes on counts drawn from its own result.

    A fit lands on maxima of the noise: columns come out too high, so that the information on their positions does too.
    """
    if not len(fit.values):
        return fit
    mean = np.maximum(fit.background + _image(fit, task.counts.shape), 0)
    ratios = []
    for _ in range(_REPLICAS):
        again = task.fit(fit.values, rough=True, counts=random.poisson(mean).astype(float))
        sd = np.sqrt(np.diagonal(again.covariance, axis1=1, axis2=2))
        ratios.append(((again.values - fit.values) / sd) ** 2)
    # The median ignores columns that jumped to another maximum.
    factor = np.maximum(np.median(np.concatenate(ratios), axis=0) / _MEDIAN_SQUARE, 1.0)
    factor[:2] = factor[:2].mean()
    root = np.sqrt(factor)
    return fit._replace(covariance=fit.covariance * np.outer(root, root))


def _left_over(task: _Task, fit: Fit, width: float) -> Maxima:
    """Maxima of what the columns do not explain, over the noise of the counts."""
    columns = _image(fit, task.counts.shape)
    level = np.maximum(fit.background, 1e-12)
    # The response takes the noise of what it is given; that of the counts is larger by the columns taken away.
    noisier = np.sqrt(np.maximum(level + columns, 0.02 * level) / level)
    z = response(task.counts - columns, width, sign=task.sign, seen=task.seen)
    return maxima(z / np.maximum(noisier, 0.2), apart=_SPARROW * width / np.sqrt(3), seen=task.seen)


def _image(fit: Fit, shape: tuple[int, ...]) -> np.ndarray:
    """Counts of the columns without the background."""
    y, x = np.arange(shape[0])[:, None], np.arange(shape[1])
    out = np.zeros(shape)
    for cy, cx, height, log_width in fit.values:
        s = np.sqrt(np.exp(2 * log_width) + 1 / 12)
        share = np.exp(2 * log_width) / s**2
        out += (
            height
            * share
            * np.exp(-((y - cy) ** 2) / (2 * s**2))
            * np.exp(-((x - cx) ** 2) / (2 * s**2))
        )
    return out


def _away(points: np.ndarray, others: np.ndarray, apart: float) -> np.ndarray:
    """Indices of the points that are far from all others."""
    if not (len(points) and len(others)):
        return np.arange(len(points))
    near = np.hypot(*(points[:, None] - others[None]).transpose(2, 0, 1)).min(axis=1)
    return np.nonzero(near >= apart)[0]


def _columns(
    fit: Fit, score: np.ndarray, p_value: np.ndarray, chosen: Filter, binning: int, tests: int
) -> Columns:
    """In pixels of the image, the surest first."""
    order = np.argsort(-score, kind="stable")
    values, covariance, score = fit.values[order], fit.covariance[order], score[order]
    sd = np.sqrt(np.diagonal(covariance, axis1=1, axis2=2)).reshape(-1, 4)
    width = binning * np.exp(values[:, 3])
    area = 2 * np.pi * np.exp(2 * values[:, 3])
    # d ln(intensity) = d height / height + 2 d ln s.
    slope = np.stack([area, 2 * area * values[:, 2]], axis=1)
    spread = np.einsum("ni,nij,nj->n", slope, covariance[:, 2:, 2:], slope)
    return Columns(
        binning * (values[:, :2] + 0.5) - 0.5,
        binning**2 * covariance[:, :2, :2],
        area * values[:, 2],
        np.sqrt(spread),
        width,
        width * sd[:, 3],
        values[:, 2] / binning**2,
        score,
        p_value[order],
        fit.background / binning**2,
        binning,
        chosen.width,
        chosen.sign,
        tests,
        fit.converged,
    )

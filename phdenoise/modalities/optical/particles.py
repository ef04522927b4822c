"""Particles of a movie: found in each frame by a watershed, followed through the movie by overlap.

    brightness -> running mean -> threshold -> distance from the pores -> watershed from its peaks -> tracks

The threshold separates pores from particles on the logarithm of the brightness averaged over time, which no change of
phase crosses (Otsu, IEEE Trans. SMC 9, 62 (1979), doi:10.1109/TSMC.1979.4310076). Touching particles are parted where
the distance from the pores has a saddle deeper than a share of its peak. Tracks are the assignment of largest overlap
from frame to frame (Hungarian method); each frame's outline is then the majority over its neighbours in time.
"""

from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy import ndimage
from scipy.optimize import linear_sum_assignment

from phdenoise.types import InputError, Steps

# Share of the frames in which a particle must be found: one that half of the frames do not show is noise.
_LEAST_SEEN = 0.5
# Overlap (intersection over union) from which on two outlines are the same particle: two discs of one size, half a radius
# apart, overlap by 0.5, and touching ones by 0.
_SAME_PARTICLE = 0.3
# Brightness that counts as the darkest, as a share of the highest: it bounds the logarithm of dark pixels.
_DARKEST = 1e-3


class Particles(NamedTuple):
    """Particles followed through a movie.

    Attributes:
        labels: number of the particle of each pixel from 1, 0 in the pores [t, y, x]; the same number all along.
        seen: share of the frames in which each was found by itself [particle].
        threshold: brightness that parts particles from pores.
    """

    labels: np.ndarray
    seen: np.ndarray
    threshold: float


def find_particles(
    brightness: Float[np.ndarray, "t y x"],
    *,
    valid: Bool[np.ndarray, "y x"] | None = None,
    smallest: float = 30.0,
    window: int = 5,
    hold: int = 9,
    split: float = 0.15,
    threshold: float | None = None,
    progress: Steps | None = None,
) -> Particles:
    """Find and follow particles, brighter than what lies between them.

    Args:
        brightness: sum of channels above their dark level, without drift.
        valid: where particles may lie.
        smallest: area [px].
        window: frames that are averaged before a frame is cut up.
        hold: frames over which the majority decides on an outline; a particle may move little in that time.
        split: depth of a saddle, as a share of the particle's half width, that parts two particles.
        threshold: brightness of the edge; found if not given.
        progress: called with (frame, frames, particles).

    Returns:
        Outlines of the particles seen in half of the frames or more.

    Raises:
        InputError: nothing stands out, or scikit-image is not installed.
    """
    count = len(brightness)
    where = np.ones(brightness.shape[1:], bool) if valid is None else valid
    level = _threshold(brightness.mean(axis=0)[where]) if threshold is None else threshold
    smooth = ndimage.uniform_filter1d(brightness, min(window, count), axis=0, mode="nearest")
    tracks = np.zeros(brightness.shape, np.int32)
    last: dict[int, np.ndarray] = {}
    for t in range(count):
        found = _cut(smooth[t] > level, where, smallest, split)
        tracks[t] = _follow(found, last)
        if progress is not None:
            progress(t + 1, count, float(len(np.unique(found)) - 1))
    names = np.asarray(sorted(last))
    areas = (
        np.stack([(tracks == n).sum(axis=(1, 2)) for n in names])
        if names.size
        else np.zeros((0, count))
    )
    seen = (areas > 0).mean(axis=1) if names.size else np.zeros(0)
    kept = names[seen >= _LEAST_SEEN]
    if not kept.size:
        raise InputError(
            f"No particle of {smallest:g} px or more is seen in half of the frames: give --threshold (found: "
            f"{level:.4g}) or --smallest."
        )
    return Particles(_held(tracks, kept, hold), seen[seen >= _LEAST_SEEN], float(level))


def _cut(
    foreground: np.ndarray, where: np.ndarray, smallest: float, split: float
) -> Int[np.ndarray, "y x"]:
    """Labels of one frame."""
    morphology, segmentation = _require()
    solid = ndimage.binary_fill_holes(foreground & where)
    solid = ndimage.binary_opening(solid, iterations=1)
    # The frame's edge is no pore: a particle that it cuts has its middle there.
    depth = ndimage.distance_transform_edt(np.pad(solid, 1, mode="edge"))[1:-1, 1:-1]
    smooth = ndimage.gaussian_filter(depth, 1.0)
    # Plateaus of what the reconstruction leaves: peaks whose saddle is deeper than the share.
    tops = morphology.local_maxima(morphology.reconstruction((1 - split) * smooth, smooth))
    peaks, number = ndimage.label(tops & solid, np.ones((3, 3)))
    if number == 0:
        return np.zeros(foreground.shape, np.int32)
    labels = segmentation.watershed(-smooth, peaks, mask=solid)
    sizes = np.bincount(labels.ravel())
    small = sizes < smallest
    small[0] = False
    return np.where(small[labels], 0, labels).astype(np.int32)


def _follow(found: np.ndarray, last: dict[int, np.ndarray]) -> np.ndarray:
    """Names for the particles of a frame: those of the last known outlines that they overlap most; `last` is updated."""
    numbers = [int(n) for n in np.unique(found) if n]
    outlines = [found == n for n in numbers]
    named = np.zeros_like(found)
    names = list(last)
    taken: dict[int, int] = {}
    if names and outlines:
        table = np.array(
            [[(o & last[n]).sum() / (o | last[n]).sum() for n in names] for o in outlines]
        )
        for i, j in zip(*linear_sum_assignment(-table), strict=True):
            if table[i, j] > _SAME_PARTICLE:
                taken[i] = names[j]
    for i, outline in enumerate(outlines):
        name = taken.get(i, max(last, default=0) + 1)
        last[name] = outline
        named[outline] = name
    return named


def _held(tracks: np.ndarray, kept: np.ndarray, hold: int) -> np.ndarray:
    """Each kept track by the majority over neighbouring frames, numbered from 1."""
    best = np.full(tracks.shape, 0.5, np.float32)
    out = np.zeros(tracks.shape, np.int32)
    size = min(hold, len(tracks))
    for number, name in enumerate(kept, start=1):
        votes = ndimage.uniform_filter1d(
            (tracks == name).astype(np.float32), size, axis=0, mode="nearest"
        )
        better = votes > best
        best[better] = votes[better]
        out[better] = number
    return out


def _threshold(values: np.ndarray) -> float:
    """Otsu's threshold of the logarithm; brightness below a thousandth of the highest counts as that."""
    top = float(np.quantile(values, 0.999))
    if not top > 0:
        raise InputError(
            "The movie is not brighter than its dark level: give --dark, the counts of a dark pixel."
        )
    logs = np.log(np.maximum(values, _DARKEST * top))
    counts, edges = np.histogram(logs, 256)
    centre = 0.5 * (edges[1:] + edges[:-1])
    below = np.cumsum(counts)
    above = below[-1] - below
    sums = np.cumsum(counts * centre)
    with np.errstate(invalid="ignore", divide="ignore"):
        gap = (sums / below - (sums[-1] - sums) / above) ** 2 * below * above
    best = np.nanmax(gap[:-1])
    # A valley without counts has one value throughout: its middle is the threshold.
    return float(np.exp(edges[1:][:-1][gap[:-1] >= best * (1 - 1e-9)].mean()))


def _require() -> tuple[Any, Any]:
    try:
        from skimage import morphology, segmentation
    except ImportError as error:
        raise InputError(
            "Finding particles needs scikit-image: pip install 'phdenoise[seg]'."
        ) from error
    return morphology, segmentation

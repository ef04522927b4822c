"""Columns followed through a movie, its drift taken out, and strain against a lattice.

    r_k(t) = r_k + d(t) + u_k(t)         d the drift, common to all columns
    r_k ≈ r_0 + i_k a + j_k b            lattice;   F = [a b]_local [a b]⁻¹,   ε = (F + Fᵀ)/2 − 1

Columns are found in the sum of the frames at their places without drift, and fitted again in every frame from there. The
errors of strain are those of the positions, through the local fit of the lattice.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.spatial import cKDTree

from phdenoise.modalities.registration import register, shift
from phdenoise.modalities.tem.column_fit import fit_columns
from phdenoise.modalities.tem.columns import Columns, binned
from phdenoise.types import InputError, Steps

# A column is seen in a frame from this score on [sd]: at its place, one in 160 is noise.
SEEN = 2.5
# Rounds of aligning frames to their mean: each takes most of what is left of the drift.
_ALIGNMENTS = 5
# A neighbour continues the lattice if it lies so near to where it should be [share of the shorter vector].
_FITS = 0.25
# Columns around one whose positions make its strain, itself included, at least: six numbers are fitted.
_AROUND = 5
# Knots of the background in a frame [widths of a column].
_KNOTS = 6.0


class Tracks(NamedTuple):
    """Columns in every frame.

    Attributes:
        position: y, x without drift [t, column, 2] [px]; NaN where the column is not seen.
        position_sd: [t, column, 2] [px].
        intensity, intensity_sd: [t, column] [electrons].
        seen: whether the column stands out of the noise in a frame [t, column].
        drift: of each frame [t, 2] [px].
        drift_sd: its standard deviation [t, 2] [px].
    """

    position: np.ndarray
    position_sd: np.ndarray
    intensity: np.ndarray
    intensity_sd: np.ndarray
    seen: np.ndarray
    drift: np.ndarray
    drift_sd: np.ndarray


class Lattice(NamedTuple):
    """A lattice through the columns that fit it.

    Attributes:
        origin: [2] [px].
        vectors: rows are a and b [2, 2] [px].
        number: i, j of each column [column, 2]; meaningless where it is not a member.
        member: True for columns of the lattice [column].
        strain: ε_yy, ε_xx, ε_xy against the lattice [column, 3]; NaN where too few neighbours are members.
        strain_sd: its standard deviation from the errors of the positions [column, 3].
        displacement: from the lattice [column, 2] [px]; NaN outside.
    """

    origin: np.ndarray
    vectors: np.ndarray
    number: Int[np.ndarray, "column 2"]
    member: Bool[np.ndarray, " column"]
    strain: np.ndarray
    strain_sd: np.ndarray
    displacement: np.ndarray


def find_scene_drift(frames: Float[np.ndarray, "t y x"], binning: int) -> Float[np.ndarray, "t 2"]:
    """Drift of each frame against the mean of the aligned frames.

    Args:
        frames: counts.
        binning: pixels along one of those in which the scene is registered: noise of finer ones only disturbs.

    Returns:
        Displacement (dy, dx) of each frame [px].
    """
    if len(frames) == 1:
        return np.zeros((1, 2))
    small = np.stack([binned(f, binning) for f in frames])
    drift = np.zeros((len(frames), 2))
    for _ in range(_ALIGNMENTS):
        # The mean of frames that are not yet aligned is smeared along the drift, and pulls towards its middle.
        mean = np.asarray(shift(small, -drift)).mean(axis=0)
        drift = np.asarray(register(small, reference=mean), float)
        drift -= drift.mean(axis=0)
    return binning * drift


def aligned_sum(
    frames: Float[np.ndarray, "t y x"], drift: Float[np.ndarray, "t 2"]
) -> tuple[Float[np.ndarray, "y x"], Bool[np.ndarray, "y x"]]:
    """Sum of frames moved back by whole pixels, so that counts stay counts, and where all frames have been seen.

    Args:
        frames: counts.
        drift: of each frame [px].

    Returns:
        Counts, and True where every frame shows the pixel.
    """
    total, seen = np.zeros(frames.shape[1:]), np.ones(frames.shape[1:], bool)
    for frame, d in zip(frames, np.round(drift).astype(int), strict=True):
        total += np.roll(frame, -d, (0, 1))
        for axis, step in enumerate(d):
            if step:
                lost = np.arange(-step, 0) if step > 0 else np.arange(-step)
                seen[(slice(None),) * axis + (lost,)] = False
    return total, seen


def track_columns(
    frames: Float[np.ndarray, "t y x"],
    columns: Columns,
    drift: Float[np.ndarray, "t 2"],
    *,
    progress: Steps | None = None,
) -> Tracks:
    """Fit known columns in every frame.

    Args:
        frames: counts [electrons/px].
        columns: found in the sum of the frames.
        drift: of each frame, that the sum was made with [px].
        progress: called with (frame, frames, NaN).

    Returns:
        Positions without drift, with errors; the drift as the columns say it.
    """
    b, number = columns.binning, len(columns.position)
    shape = (len(frames), number)
    position, sd = np.full((*shape, 2), np.nan), np.full((*shape, 2), np.nan)
    intensity, intensity_sd = np.full(shape, np.nan), np.full(shape, np.nan)
    seen, moved, moved_sd = (
        np.zeros(shape, bool),
        np.array(drift, float),
        np.zeros((len(frames), 2)),
    )
    start = np.empty((number, 4))
    for t, frame in enumerate(frames):
        start[:, :2] = (columns.position + drift[t] + 0.5) / b - 0.5
        start[:, 2] = columns.height * b**2 / len(frames)
        start[:, 3] = np.log(columns.width / b)
        small = binned(frame, b)
        inside = ((start[:, :2] > 0) & (start[:, :2] < np.asarray(small.shape) - 1)).all(axis=1)
        if not inside.any():
            continue
        fit = fit_columns(small, start[inside], knots=_KNOTS * float(np.median(columns.width)) / b, steps=8)  # fmt: skip
        spread = np.sqrt(np.diagonal(fit.covariance, axis1=1, axis2=2))
        score = columns.sign * fit.values[:, 2] / spread[:, 2]
        at, at_sd = b * (fit.values[:, :2] + 0.5) - 0.5, b * spread[:, :2]
        area = 2 * np.pi * np.exp(2 * fit.values[:, 3])
        intensity[t, inside], intensity_sd[t, inside] = area * fit.values[:, 2], area * spread[:, 2]
        seen[t, inside] = score > SEEN
        good = seen[t][inside]
        off = at - columns.position[inside]
        if good.any():
            weight = 1 / at_sd[good] ** 2
            moved[t] = np.sum(weight * off[good], axis=0) / weight.sum(axis=0)
            moved_sd[t] = 1 / np.sqrt(weight.sum(axis=0))
        at = at - moved[t]
        position[t, inside] = np.where(good[:, None], at, np.nan)
        sd[t, inside] = np.where(good[:, None], at_sd, np.nan)
        if progress is not None:
            progress(t + 1, len(frames), float("nan"))
    return Tracks(position, sd, intensity, intensity_sd, seen, moved, moved_sd)


def fit_lattice(
    position: Float[np.ndarray, "column 2"],
    position_sd: Float[np.ndarray, "column 2"],
    *,
    within: Bool[np.ndarray, " column"] | None = None,
) -> Lattice:
    """The lattice of most columns, and the strain of each against it.

    Args:
        position: [px].
        position_sd: [px].
        within: columns that may belong to it, e.g. those of the particle; by default all.

    Returns:
        The lattice, its columns and their strain.

    Raises:
        InputError: fewer than six columns, or none that repeat.
    """
    position = np.asarray(position, float)
    use = np.ones(len(position), bool) if within is None else within.copy()
    if use.sum() < 6:
        raise InputError(f"A lattice needs six columns or more, got {int(use.sum())}.")
    vectors = _vectors(position[use])
    best = max((_grown(position, use, vectors, int(seed)) for seed in _seeds(position, use)), key=lambda g: g[1].sum())  # fmt: skip
    index, member = best
    if member.sum() < 6:
        raise InputError("The columns do not repeat: no lattice fits six of them.")
    for _ in range(3):
        origin, vectors = _affine(position[member], index[member], position_sd[member])
        index = np.round((position - origin) @ np.linalg.inv(vectors)).astype(int)
        off = position - origin - index @ vectors
        near = np.hypot(*off.T) < _FITS * np.hypot(*vectors.T).min()
        member = member & near
    strain, strain_sd = _strain(position, position_sd, index, member, vectors)
    displacement = np.where(member[:, None], position - origin - index @ vectors, np.nan)
    return Lattice(origin, vectors, index, member, strain, strain_sd, displacement)


def _vectors(position: np.ndarray) -> np.ndarray:
    """Two shortest independent vectors between neighbours, as medians of the clusters of their differences."""
    _, near = cKDTree(position).query(position, k=min(9, len(position)))
    steps = (position[near[:, 1:]] - position[:, None]).reshape(-1, 2)
    length = np.hypot(*steps.T)
    short = np.median(length[np.argsort(length)[: max(len(position), 4)]])
    # A step and its opposite are one.
    steps = np.where((steps[:, :1] < 0) | ((steps[:, :1] == 0) & (steps[:, 1:] < 0)), -steps, steps)
    tree = cKDTree(steps)
    count = np.array([len(k) for k in tree.query_ball_point(steps, _FITS * short)])
    first = _centre(steps, tree, steps[np.argmax(count * (length < 1.3 * short))], _FITS * short)
    area = np.abs(first[0] * steps[:, 1] - first[1] * steps[:, 0]) / np.hypot(*first) / length
    able = (area > 0.5) & (length < 2.2 * short)
    if not able.any():
        raise InputError("The columns lie in one row: a lattice has two directions.")
    second = _centre(steps, tree, steps[np.argmax(count * able / length)], _FITS * short)
    return np.stack([first, second])


def _centre(steps: np.ndarray, tree: cKDTree, start: np.ndarray, radius: float) -> np.ndarray:
    for _ in range(3):
        start = np.median(steps[tree.query_ball_point(start, radius)], axis=0)
    return start


def _seeds(position: np.ndarray, use: np.ndarray) -> np.ndarray:
    """Columns to grow from: those nearest to the middle of several parts."""
    at = np.nonzero(use)[0]
    order = np.argsort(np.hypot(*(position[at] - np.median(position[at], axis=0)).T))
    return at[order[np.unique(np.linspace(0, len(at) - 1, 5).astype(int))]]


def _grown(
    position: np.ndarray, use: np.ndarray, vectors: np.ndarray, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Indices of the columns that a lattice reaches step by step from one of them."""
    tree, reach = cKDTree(position), _FITS * np.hypot(*vectors.T).min()
    index, member = np.zeros((len(position), 2), int), np.zeros(len(position), bool)
    member[seed] = True
    edge = [seed]
    steps = np.array([[1, 0], [-1, 0], [0, 1], [0, -1]])
    while edge:
        k = edge.pop(0)
        for step in steps:
            distance, j = tree.query(position[k] + step @ vectors)
            if distance < reach and use[j] and not member[j]:
                member[j], index[j] = True, index[k] + step
                edge.append(j)
    return index, member


def _affine(
    position: np.ndarray, index: np.ndarray, sd: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Origin and vectors by weighted least squares."""
    design = np.concatenate([np.ones((len(index), 1)), index], axis=1)
    weight = 1 / np.mean(sd, axis=1)[:, None]
    solution = np.linalg.lstsq(design * weight, position * weight, rcond=None)[0]
    return solution[0], solution[1:]


def _strain(
    position: np.ndarray, sd: np.ndarray, index: np.ndarray, member: np.ndarray, vectors: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Strain of each column from its neighbours in the lattice, and its standard deviation."""
    out, out_sd = np.full((2, len(position), 3), np.nan)
    inverse = np.linalg.inv(vectors)
    for k in np.nonzero(member)[0]:
        near = np.nonzero(member & (np.abs(index - index[k]).max(axis=1) <= 1))[0]
        step = index[near] - index[k]
        design = np.concatenate([np.ones((len(near), 1)), step], axis=1)
        if len(near) < _AROUND or np.linalg.matrix_rank(design) < 3:
            continue
        solver = np.linalg.pinv(design)[1:]
        # Rows of the gradient map lattice vectors to those measured here.
        gradient = inverse @ (solver @ position[near])
        spread = ((inverse @ solver) ** 2) @ sd[near] ** 2
        out[k] = gradient[0, 0] - 1, gradient[1, 1] - 1, (gradient[0, 1] + gradient[1, 0]) / 2
        shear = np.sqrt(spread[0, 1] + spread[1, 0]) / 2
        out_sd[k] = np.sqrt(spread[0, 0]), np.sqrt(spread[1, 1]), shear
    return out, out_sd

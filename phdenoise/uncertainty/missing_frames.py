"""The error of frames that were not measured, found by hiding measured frames and predicting them.

In a measured frame a pixel is predicted from its frame's other pixels as well. Calibration there says nothing of a frame that
is missing as a whole, and less the longer the gap and the faster the scene. So gaps as long as the movie's own are made, at
an end and inside. The prediction h there is compared with the prediction f from all measured frames:

    E[(h − c)²] = E[(h − f)²] + E[(f − c)²]

for a best prediction f of the scene c, whose error is uncorrelated with its inputs, and an h from a part of these inputs. The
noise of measured values does not enter; in a short movie it would hide the difference.
"""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float

from phdenoise.networks.base import Denoiser
from phdenoise.networks.predict import predict_arrays, prepare
from phdenoise.noise.duplicates import shown_times
from phdenoise.types import Moments, Steps
from phdenoise.uncertainty.evidence import Evidence

# Measured frames between the gaps that are made: as many as the context sees singly, two each way.
_FRAMES_BETWEEN = 4
# Share of a movie's frames that one gap may take: the others must still predict it.
_LONGEST_GAP = 0.25


class MissingFrames(NamedTuple):
    """Factors of the predicted variance in frames without a measurement.

    Attributes:
        ends, inside: before or after all measured frames, and between them; by the distance to the nearest measured frame
            from 1 [frames].
    """

    ends: tuple[float, ...]
    inside: tuple[float, ...]

    def factors(self, present: Bool[np.ndarray, " t"]) -> Float[np.ndarray, " t"]:
        """One factor a frame; 1 where it was measured."""
        out = np.ones(present.size, np.float32)
        distance, outside = _distances(present)
        for known, here in ((self.ends, outside), (self.inside, ~outside)):
            for t in np.flatnonzero(here & ~present):
                beyond = max(distance[t] / len(known), 1.0)
                # A scene that drifts is off by a distance that grows with time.
                out[t] = known[min(distance[t], len(known)) - 1] * beyond**2
        return out

    def sentence(self, present: Bool[np.ndarray, " t"]) -> str:
        """The log's sentence on the frames that were not measured; `present` as in `factors`."""
        factors = self.factors(present)[~present]
        found = f"{factors.min():.2g} to {factors.max():.2g}"
        return (
            f"{factors.size} frame(s) were not measured: their variance is {found} times that of other frames, "
            "as found by hiding measured frames."
        )


def calibrate_missing(
    denoiser: Denoiser,
    blind: Moments,
    movie: Evidence,
    present: Bool[np.ndarray, " n"],
    *,
    stretches: int,
    symmetries: int,
    progress: Steps | None = None,
) -> MissingFrames | None:
    """Calibrate the variance of frames that were not measured.

    Args:
        denoiser: trained.
        blind: its prediction of the frames, the variance calibrated.
        movie: measured.
        present: frames of the whole movie that were measured, of which `movie` may be stretches.
        stretches: number of equally long movies, one after the other, of which `movie` consists.
        symmetries: averaged by the prediction.
        progress: called with (step, steps, nan).

    Returns:
        The factors; None where no frame is missing, or too few were measured.
    """
    if present.all():
        return None
    frames, valid, seen = movie.frames, movie.valid, movie.seen
    here = np.split(seen.any(axis=(1, 2)), stretches)
    longest = max(int(_LONGEST_GAP * here[0].size), 1)
    ends, inside = (min(n, longest) for n in _longest(present))
    shown = np.concatenate([_opened(p, ends, inside) for p in here])
    made = np.concatenate(here) & ~shown
    kept = np.split(shown, stretches)
    if not made.any() or min(p.sum() for p in kept) < 2:
        return None
    weights = np.concatenate([denoiser.context_weights(p) for p in kept])
    visible, target = seen & shown[:, None, None], valid & shown[:, None, None]
    arrays = prepare(denoiser, frames, visible, target, weights=weights)
    mean = predict_arrays(
        denoiser, arrays, frames.shape, symmetries=symmetries, progress=progress
    ).mean
    lost = np.asarray(mean - blind.mean, np.float64) ** 2
    var = np.asarray(blind.var, np.float64)
    distance, outside = (np.concatenate(a) for a in zip(*map(_distances, kept), strict=True))

    def factor(here: np.ndarray) -> float | None:
        test = valid & (made & here)[:, None, None]
        if not test.any():
            return None
        return float(1 + lost[test].mean() / var[test].mean())

    def table(count: int, here: np.ndarray) -> list[float]:
        # Where every other frame is missing, a hidden frame has no neighbour at distance one: the next distance stands in.
        made_at = np.unique(distance[made & here])
        nearest = (made_at[made_at >= d] for d in range(1, count + 1))
        each = (factor(here & (distance == at[0])) for at in nearest if at.size)
        return [float(f) for f in np.maximum.accumulate([f for f in each if f is not None])]

    found = table(ends, outside), table((inside + 1) // 2, ~outside)
    if not any(found):
        return None
    # Where a kind could not be made, the other stands in for it.
    return MissingFrames(*(tuple(mine or other) for mine, other in (found, found[::-1])))


def _distances(present: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Frames to the nearest measured one, and whether measured ones lie on one side only."""
    at, known = np.arange(present.size), np.flatnonzero(present)
    if not known.size:
        return np.full(present.size, present.size), np.ones(present.size, bool)
    distance = np.abs(at[:, None] - known).min(axis=1)
    return distance, (at < known[0]) | (at > known[-1])


def _longest(present: np.ndarray) -> tuple[int, int]:
    """Most missing frames at an end, and in a run inside."""
    known = np.flatnonzero(present)
    inner = int(np.diff(known).max(initial=1)) - 1
    return max(int(known[0]), int(present.size - 1 - known[-1])), inner


def _opened(present: np.ndarray, ends: int, inside: int) -> np.ndarray:
    """The measured frames that stay when gaps are made: one at each end if asked, others with frames between."""
    shown, known = present.copy(), np.flatnonzero(present)
    if known.size < 2 * ends + 2 * _FRAMES_BETWEEN:
        # A short movie is opened at one end, or once inside.
        shown[
            known[: min(ends, known.size - 2)]
            if ends
            else known[1 : 1 + min(inside, known.size - 3)]
        ] = False
        return shown
    shown[known[:ends]] = shown[known[known.size - ends :]] = False
    if inside:
        first, last = ends + _FRAMES_BETWEEN, known.size - ends - _FRAMES_BETWEEN
        for start in range(first, last - inside + 1, inside + _FRAMES_BETWEEN):
            shown[known[start : start + inside]] = False
    return shown


def keep_repeated_frames(result: Moments, repeated: Bool[np.ndarray, " t"]) -> tuple[Moments, int]:
    """Give repeated frames the values of the frame before, where these err less than the prediction.

    A movie that shows every exposure equally often was written at a multiple of its frame rate: a copy is the exposure itself. Where
    the noise is small and the scene fast, the frame before is nearer than any prediction from other frames. Its error is the change
    from frame to frame, which measured pairs show.

    Args:
        result: mean and variance [t, y, x].
        repeated: frames that repeat the frame before.

    Returns:
        Mean and variance, and the number of frames that keep the values of the frame before.
    """
    mean, var = (np.array(a) for a in result)
    if shown_times(repeated) > 1:
        for t in np.flatnonzero(repeated):
            mean[t], var[t] = mean[t - 1], var[t - 1]
        return Moments(jnp.asarray(mean), jnp.asarray(var)), int(repeated.sum())
    pairs = ~repeated[1:] & ~repeated[:-1]
    if not repeated.any() or not pairs.any():
        return result, 0
    change = float(np.mean((np.diff(mean, axis=0)[pairs]) ** 2))
    count = 0
    for t in np.flatnonzero(repeated):
        if var[t - 1].mean() + change < var[t].mean():
            mean[t], var[t] = mean[t - 1], var[t - 1] + change
            count += 1
    return Moments(jnp.asarray(mean), jnp.asarray(var)), count

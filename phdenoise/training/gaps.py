"""How wrong the prediction of a frame is that was not measured: frames that were measured are hidden and predicted.

Elsewhere a pixel is predicted from its own frame's other pixels as well, and what calibrates the variance there says
nothing of a frame that is missing as a whole, the less the longer the gap and the faster the scene. So gaps as long
as the movie's own are made, at an end and inside, and what is predicted there is compared with what is predicted
from all measured frames:

    E[(h − c)²] = E[(h − f)²] + E[(f − c)²]

for a best prediction f of the scene c, whose error is uncorrelated with all that it is made from, and an h made from
part of it. The noise of measured values, which would drown the difference in a short movie, does not come in.
"""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float

from phdenoise.denoisers import Denoiser, predict_arrays, prepare
from phdenoise.types import Moments, Steps

# Measured frames between the gaps that are made; share of a movie's frames that one of them may take.
SPACING, LONGEST = 4, 0.25


class Gaps(NamedTuple):
    """Factors of the predicted variance in frames without a measurement.

    Attributes:
        ends, inside: by the distance to the nearest measured frame, from 1.
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
        """What to say of them."""
        factors = self.factors(present)[~present]
        found = f"{factors.min():.2g} to {factors.max():.2g}"
        return (
            f"{factors.size} frame(s) were not measured: their variance is {found} times that of other frames by what "
            "was found in measured ones that were hidden."
        )


def by_hiding(
    denoiser: Denoiser,
    blind: Moments,
    frames: np.ndarray,
    valid: np.ndarray,
    seen: np.ndarray,
    present: Bool[np.ndarray, " n"],
    *,
    stretches: int,
    symmetries: int,
    progress: Steps | None = None,
) -> Gaps | None:
    """Factors for the gaps of a movie; None where it has no missing frames, or too few others to tell.

    Args:
        denoiser: trained.
        blind: its prediction of the frames, the variance calibrated.
        frames, valid, seen: measured [t, y, x], where it was learned, and where it is an input.
        present: frames of the whole movie that were measured, of which `frames` may be stretches.
        stretches: equally long movies, one after the other, of which `frames` consists.
        symmetries: averaged by the prediction.
        progress: called with (step, steps, nan).
    """
    if present.all():
        return None
    here = np.split(seen.any(axis=(1, 2)), stretches)
    longest = max(int(LONGEST * here[0].size), 1)
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
        each = (factor(here & (distance == d)) for d in range(1, count + 1))
        return [float(f) for f in np.maximum.accumulate([f for f in each if f is not None])]

    found = table(ends, outside), table((inside + 1) // 2, ~outside)
    # Where a kind could not be made, the other stands in for it.
    return Gaps(*(tuple(mine or other) for mine, other in (found, found[::-1])))


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
    if known.size < 2 * ends + 2 * SPACING:
        # A short movie is opened at one end, or once inside.
        shown[
            known[: min(ends, known.size - 2)]
            if ends
            else known[1 : 1 + min(inside, known.size - 3)]
        ] = False
        return shown
    shown[known[:ends]] = shown[known[known.size - ends :]] = False
    if inside:
        first, last = ends + SPACING, known.size - ends - SPACING
        for start in range(first, last - inside + 1, inside + SPACING):
            shown[known[start : start + inside]] = False
    return shown


def held(result: Moments, copied: Bool[np.ndarray, " t"]) -> tuple[Moments, int]:
    """Copied frames as the frame before them, where that is the better guess; and how many of them are.

    Where the noise is small and the scene fast, what a copy shows is nearer than any prediction from other frames: off
    by the change from frame to frame, which is that of the measured pairs.

    Args:
        result: mean and variance [t, y, x].
        copied: frames that repeat the one before.
    """
    mean, var = (np.array(a) for a in result)
    pairs = ~copied[1:] & ~copied[:-1]
    if not copied.any() or not pairs.any():
        return result, 0
    change = float(np.mean((np.diff(mean, axis=0)[pairs]) ** 2))
    count = 0
    for t in np.flatnonzero(copied):
        if var[t - 1].mean() + change < var[t].mean():
            mean[t], var[t] = mean[t - 1], var[t - 1] + change
            count += 1
    return Moments(jnp.asarray(mean), jnp.asarray(var)), count

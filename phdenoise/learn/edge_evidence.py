"""Which condition holds at a face of the frame: the data near that face say.

A cheap test comes first. Where a face is closed the field continues as its mirror image, and the gradient extrapolated
to the face is zero:

    G = −2 c₀ + 3 c₁ − c₂      of the cells next to the face, exact to third order for an even field

G is projected on its slowest waves in time and along the face, whose noise is known: χ² says whether G is zero. At the faces where it is not,
laws with each condition are compared: the law comes from a fit whose doubtful faces are all open, which is right whatever
lies beyond them, and is then held while the value of the face is fitted. Residuals within a few cells of the face judge.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import NamedTuple

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float
from scipy import stats

from phdenoise.learn.config import FitConfig
from phdenoise.learn.criteria import independent
from phdenoise.learn.edges import (
    FEWEST_AT_FACE,
    Face,
    at_face,
    described,
    rim,
    rim_width,
)
from phdenoise.learn.fit_problem import FitProblem, family_of, starts_of
from phdenoise.learn.laws import Given, weak_prior
from phdenoise.learn.shooting import (
    Descent,
    Windows,
    begin_at,
    descend_windows,
    weighted_misfit,
    windows_of,
)
from phdenoise.physics.equations.edged import SIDES
from phdenoise.physics.law_parameters import Parameters

# Waves in time and along a face on which the gradient is tested, each way: the slowest, which average most noise out.
TESTED_WAVES = 4
# Probability below which a closed face is doubted: of 80 closed movies one has a face that is looked at again.
DOUBT = 0.003
# Size of the gradient at a face, as a share of that inside, below which it may be the truncation of the extrapolation; and of the third
# difference across a seam, as a share of those inside, below which it may be the field's own (`tests/learn/test_edges.py`).
LEAST_GRADIENT, LEAST_SEAM = 0.2, 3.0
# Share of the frames, as one over it, that come before those that are tested.
MIXED = 4
# Cells next to a face in which laws are compared: what enters reaches farther only late.
STRIP = 8
# Difference of log evidence below which two conditions are not told apart (20 : 1), Kass & Raftery, J. Am. Stat. Assoc. 90, 773 (1995),
# doi:10.1080/01621459.1995.10476572; and Jacobians of a comparison at most, from a law that is near.
DECISIVE, JACOBIANS = 3.0, 8
# Steps in which the value of a face is found, and its change for a difference [share of the movie's range, as an inflow in
# cells/frame interval].
VALUE_STEPS, VALUE_DIFFERENCE = 2, 1e-3
# What is compared; fed faces need a law that conserves.
_CANDIDATES = ("no-flux", "held", "fed", "open")


class Verdict(NamedTuple):
    """What was found at a face.

    Attributes:
        kind: the condition that is taken.
        runner_up: the next best, "" where none was tried.
        difference: of their log evidence.
        decisive: whether the evidence tells them apart.
    """

    kind: str
    runner_up: str
    difference: float
    decisive: bool


def settle_faces(fit_problem: FitProblem, given: Sequence[Given], config: FitConfig) -> FitProblem:
    """The problem with a condition on every face.

    Args:
        fit_problem: with faces that may be auto.
        given: laws that will be fitted. One law is asked which condition holds; for several the doubtful faces are open, so that all
            are compared on the same data.
        config: settings.

    Returns:
        The problem, with sentences that say what was found.
    """
    width = max(rim_width(one.law) for one in given)
    asked = [side for side, face in fit_problem.faces.items() if face.kind == "auto"]
    doubtful = [side for side in asked if gradient_at(fit_problem, side).doubtful]
    wrapped = _wrapped(fit_problem, asked, doubtful)
    faces = dict(fit_problem.faces) | dict.fromkeys(asked, Face("no-flux"))
    faces |= dict.fromkeys(wrapped, Face("periodic"))
    doubtful = [side for side in doubtful if side not in wrapped]
    opened = fit_problem.with_faces(faces | dict.fromkeys(doubtful, Face("open")), width)
    if not doubtful:
        settled = fit_problem.with_faces(faces, width)
        if not asked:
            return settled
        return settled.saying(f"Frame edges are {described(faces)}, as the data near them say.")
    if len(given) > 1:
        return opened.saying(
            f"Frame edges are {described(opened.faces)}: a gradient is seen at the face(s) {', '.join(doubtful)}."
        )
    verdicts = _compared(fit_problem, opened, given[0], config, doubtful)
    faces |= {side: Face(found.kind) for side, found in verdicts.items()}
    settled = fit_problem.with_faces(faces, width)
    said = [_sentence(side, found) for side, found in verdicts.items()]
    settled = settled.saying(f"Frame edges are {described(faces)}.", *said)
    return replace(settled, evidence={s: v._asdict() for s, v in verdicts.items()})


class FaceTest(NamedTuple):
    """A difference at a face that is zero where the face is closed, or where it continues the one opposite.

    Attributes:
        probability: of a χ² as large as that of its slow waves if it were zero.
        share: its size over that of such differences inside.
        least: share below which it may be the field's own.
    """

    probability: float
    share: float
    least: float

    @property
    def doubtful(self) -> bool:
        """Whether it is not seen to be zero."""
        return self.probability < DOUBT and self.share > self.least


def _tested(
    at_edge: tuple[float, float, int], inside: list[tuple[float, float, int]], least: float
) -> FaceTest:
    """The test of a difference by its slow part at the edge and those inside, of `_slow_part`."""
    size, chi2, waves = at_edge
    usual = max(float(np.mean([part[0] for part in inside])), 1e-30)
    return FaceTest(float(stats.chi2.sf(chi2, waves)), float(np.sqrt(size / usual)), least)


def gradient_at(fit_problem: FitProblem, side: str) -> FaceTest:
    """The normal gradient extrapolated to a face.

    Args:
        fit_problem: the movie.
        side: name of the face.

    Returns:
        How large it is, and whether noise explains it.
    """
    # A first field may have a gradient at a closed face, which is gone once the cells there have mixed.
    late = slice(fit_problem.observed.shape[0] // MIXED, None)
    frames, valid, noise = (
        a[late] for a in (fit_problem.observed, fit_problem.valid, fit_problem.variance)
    )
    weights = (-2.0, 3.0, -1.0)
    known = np.logical_and.reduce([at_face(valid, side, d) for d in range(3)])
    if known.any(axis=0).sum() < FEWEST_AT_FACE:
        return FaceTest(1.0, 0.0, LEAST_GRADIENT)
    gradient = sum(w * at_face(frames, side, d) for d, w in enumerate(weights))
    variance = sum(w**2 * at_face(noise, side, d) for d, w in enumerate(weights))
    found = _slow_part(np.asarray(gradient), np.asarray(variance), known)
    size = fit_problem.grid.shape[SIDES[side][0]]
    inside = []
    for depth in range(2, max(3, min(STRIP, size - 2))):
        both = at_face(valid, side, depth) & at_face(valid, side, depth + 1)
        step = at_face(frames, side, depth + 1) - at_face(frames, side, depth)
        inside.append(_slow_part(step, 2 * at_face(noise, side, depth), both))
    return _tested(found, inside, LEAST_GRADIENT)


def _wrapped(fit_problem: FitProblem, asked: list[str], doubtful: list[str]) -> list[str]:
    """Faces that are not closed and continue those opposite; where some do, also others that may."""
    if not fit_problem.valid.any(0).all():
        # Particles end where they end: only a frame that is full continues at its other side.
        return []
    pairs = [pair for pair in (("top", "bottom"), ("left", "right")) if set(pair) <= set(asked)]
    able = [pair for pair in pairs if not seam_at(fit_problem, SIDES[pair[0]][0]).doubtful]
    if not any(set(pair) & set(doubtful) for pair in able):
        return []
    return [side for pair in able for side in pair]


def seam_at(fit_problem: FitProblem, axis: int) -> FaceTest:
    """The third difference across the faces of an axis, as if it were periodic.

    Args:
        fit_problem: the movie.
        axis: 0 or 1, of the grid.

    Returns:
        How large it is, and whether noise explains it.
    """
    weights = (-1.0, 3.0, -3.0, 1.0)
    size = fit_problem.grid.shape[axis]
    parts = (fit_problem.observed, fit_problem.variance, fit_problem.valid)

    def across(first: int) -> tuple[float, float, int]:
        places = np.arange(first, first + 4) % size
        c, v, known = (np.moveaxis(np.take(a, places, axis + 1), axis + 1, 0) for a in parts)
        value = np.tensordot(weights, c, axes=1)
        return _slow_part(
            value, np.tensordot(np.square(weights), v, axes=1), np.asarray(known.all(axis=0))
        )

    crossing = np.take(fit_problem.valid, np.arange(size - 2, size + 2) % size, axis + 1)
    if crossing.all(axis=axis + 1).any(axis=0).sum() < FEWEST_AT_FACE:
        # Nothing, or too little, lies on both sides to continue.
        return FaceTest(0.0, np.inf, LEAST_SEAM)
    return _tested(across(size - 2), [across(first) for first in range(size - 3)], LEAST_SEAM)


def _slow_part(
    values: Float[np.ndarray, "t s"],
    variance: Float[np.ndarray, "t s"],
    known: Bool[np.ndarray, "t s"],
) -> tuple[float, float, int]:
    """Mean square of the slow waves of values beyond noise, their χ² if they are zero, and how many there are."""
    waves = [_cosines(n, min(TESTED_WAVES, n)) for n in values.shape]
    basis = np.einsum("tm,sn->mnts", *waves).reshape(-1, values.size) * known.ravel()
    coefficient = basis @ values.ravel()
    covariance = (basis * variance.ravel()) @ basis.T
    covariance += 1e-9 * np.trace(covariance) / len(covariance) * np.eye(len(covariance))
    chi2 = float(coefficient @ np.linalg.pinv(covariance, hermitian=True) @ coefficient)
    signal = max(float(coefficient @ coefficient - np.trace(covariance)), 0.0)
    return signal / known.sum(), chi2, len(coefficient)


def _cosines(size: int, count: int) -> np.ndarray:
    """Orthonormal cosines [size, count]."""
    x = (np.arange(size) + 0.5) / size
    waves = np.cos(np.pi * x[:, None] * np.arange(count))
    return waves / np.linalg.norm(waves, axis=0)


def _compared(
    fit_problem: FitProblem, opened: FitProblem, given: Given, config: FitConfig, sides: list[str]
) -> dict[str, Verdict]:
    """A verdict for each doubtful face, by the law of the fit in which all of them are open."""
    family, theta, substeps = _law_inside(opened, given, config)
    count = len([c for c in family.components if not c.name.startswith("edge_")])
    verdicts = {}
    kinds = [k for k in _CANDIDATES if k != "fed" or given.law.conserved]
    width = rim_width(given.law)
    for side in sides:
        found: dict[str, _Near] = {}
        for kind in kinds:
            # Valid cells at open faces are lost, so that the problem is made anew from the whole one.
            faces = dict(opened.faces) | {side: Face(kind)}
            problem = fit_problem.with_faces(faces, width)
            found[kind] = _residual(problem, given, config, theta[:count], substeps, side)
        verdicts[side] = _judged(found)
    return verdicts


def _law_inside(
    opened: FitProblem, given: Given, config: FitConfig
) -> tuple[Parameters, np.ndarray, int]:
    """θ of the law fitted at face value with all doubtful faces open, and the solver steps that it needs."""
    family = family_of(given, opened, np.dtype(config.precision))
    windows = windows_of(opened, config, opened.believed, opened.believed_weights)
    start, substeps = begin_at(family, starts_of(given, family, opened), opened, windows, config)
    descent = Descent(substeps, JACOBIANS, config.tolerance)
    found = descend_windows(family, weak_prior(family, start), windows, descent)
    return family, found.point, substeps


class _Near(NamedTuple):
    """Residuals near a face [w, t, y, x], and how many numbers the face was given."""

    residual: np.ndarray
    fitted: int


def _residual(
    problem: FitProblem,
    given: Given,
    config: FitConfig,
    law: np.ndarray,
    substeps: int,
    side: str,
) -> _Near:
    """Residuals in the strip at a face, at the best value of the face for a law that is known."""
    family = family_of(given, problem, np.dtype(config.precision))
    own = np.asarray(family.start, float)
    theta = np.concatenate([law, own[law.size :]])
    axis, end = SIDES[side]
    deep = slice(-STRIP, None) if end else slice(STRIP)
    strip = rim(problem.grid.shape, {side: Face("open")}, STRIP)
    # All candidates start from the same rim, and none is judged there: an open face takes the rim as it is.
    edge = rim(problem.grid.shape, {side: Face("open")}, rim_width(given.law))
    believed = np.where(edge, problem.edges.rim_of({side: Face("open")}), problem.believed)
    # Against the measured frames: errors of denoised ones are not independent.
    windows = windows_of(problem, config, problem.observed, problem.weights)
    starts = windows_of(problem, config, believed, problem.weights).frames[:, 0]
    windows = eqx.tree_at(lambda w: w.frames, windows, windows.frames.at[:, 0].set(starts))
    weights = windows.weights * jnp.asarray((strip & ~edge)[None, None], windows.weights.dtype)
    windows = eqx.tree_at(lambda w: w.weights, windows, weights)
    misfit = partial(_misfit, family, windows, substeps)
    theta = _best_value(misfit, theta, law.size, VALUE_DIFFERENCE * problem.span)
    part = (..., slice(None), deep) if axis else (..., deep, slice(None))
    return _Near(misfit(theta)[part], theta.size - law.size)


def _misfit(
    family: Parameters, windows: Windows, substeps: int, theta: np.ndarray
) -> Float[np.ndarray, "w m y x"]:
    point = jnp.asarray(theta, windows.frames.dtype)
    return np.asarray(weighted_misfit(family, point, windows, substeps), float)


def _best_value(
    misfit: Callable[[np.ndarray], np.ndarray], theta: np.ndarray, first: int, change: float
) -> np.ndarray:
    """θ at the least squares of its numbers from `first` on, by Gauss-Newton steps of finite differences.

    A movie is nearly linear in the value of a face: that compiles no Jacobian.
    """
    for _ in range(VALUE_STEPS if theta.size > first else 0):
        here = misfit(theta).ravel()
        columns = []
        for i in range(first, theta.size):
            moved = theta.copy()
            moved[i] += change
            columns.append((misfit(moved).ravel() - here) / change)
        step = np.linalg.lstsq(np.stack(columns, axis=1), here, rcond=None)[0]
        if not np.isfinite(step).all():
            break
        theta = np.concatenate([theta[:first], theta[first:] - step])
    return theta


def _judged(found: dict[str, _Near]) -> Verdict:
    """The condition that the residuals near a face speak for.

    −2 ln Z = χ² + k ln n in units of the residuals of the open face, which is right whatever holds, and whose own measure
    of what it took from the rim is that a simpler condition must not be worse by more than `DECISIVE`.
    """
    free = found["open"].residual
    size = int(np.sum(free != 0))
    effective = independent(free) * size / free.size
    unit = float(np.sum(free**2)) / max(effective, 1.0)
    score = {"open": -0.5 * effective - DECISIVE}
    for kind, near in found.items():
        if kind != "open":
            square = float(np.sum(near.residual**2))
            value = -0.5 * square / unit - 0.5 * near.fitted * np.log(max(effective, 2.0))
            score[kind] = value if np.isfinite(value) else -np.inf
    order = sorted(score, key=lambda kind: -score[kind])
    best, following = order[0], order[1]
    closed = score["no-flux"]
    if closed > score[best] - DECISIVE:
        best, following = "no-flux", next(kind for kind in order if kind != "no-flux")
    difference = score[best] - score[following]
    decisive = bool(abs(difference) >= DECISIVE)
    if not decisive and "open" not in (best, following) and best != "no-flux":
        # The more general one, which both are cases of.
        best, following, difference = "open", best, score["open"] - score[best]
    return Verdict(best, following, float(difference), decisive)


def _sentence(side: str, found: Verdict) -> str:
    how = f"the log evidence of {found.kind} is {abs(found.difference):.3g} "
    how += "above" if found.difference >= 0 else "below"
    if found.decisive:
        return f"The {side} face is {found.kind}: {how} that of {found.runner_up}."
    return (
        f"Whether the {side} face is {found.kind} or {found.runner_up} is undecided ({how} the other); "
        f"it is taken as {found.kind}."
    )

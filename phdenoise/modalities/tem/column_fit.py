"""Joint fit of atomic columns to counts: overlapping Gaussians on a smooth background, by Poisson likelihood.

    λ(r) = b(r) + Σ_k A_k ∫_pixel exp(−|r' − r_k|² / 2 s_k²) dr'        n(r) ~ Poisson(λ(r))
    b = Σ c_pq B_p(y) B_q(x)   cubic splines;    c^T S c / 2v   their roughness;    ln s_k ~ N(start, τ²)

All columns and the background are fitted together, so that neighbours that overlap do not pull at each other and the
covariance holds what the background leaves unknown. The steps are those of Fisher scoring: F = Jᵀ diag(1/λ) J. The
roughness v and the spread of the widths τ come from the counts (Fellner-Schall; Wood and Fasiolo, Biometrics 73, 1071
(2017), doi:10.1111/biom.12666), so that nothing is left to choose but the spacing of the spline's knots.
"""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from scipy import sparse
from scipy.interpolate import BSpline
from scipy.sparse.linalg import splu

from phdenoise.types import InputError

# Half the window in which a column is counted [widths]: exp(-4²/2) = 0.03 % of its height lies beyond.
_REACH = 4.0
# Columns further apart share no information [widths]: their product is exp(-7²/4) = 5e-6 of that of one with itself.
_APART = 7.0
# Most steps of the fit, and the step in standard deviations below which it has arrived: a fifth of that is the error.
_STEPS, _ARRIVED = 20, 0.05
# A position moves by no more than this in a step [widths]: beyond it the quadratic model says nothing.
_STRIDE = 0.5
# Standard deviation of a position about its start [widths]: a column further away would be another maximum.
_TETHER = 2.0
# Least expected counts of a pixel, as a share of the mean: 1/λ stays finite.
_FLOOR = 0.02
# Standard deviation of ln s about its start: columns of one crystal differ by percents. In a lattice, whose columns overlap,
# counts hardly tell a wider column from a brighter background: widths that are left free follow the noise, and positions
# with them (3.6 px became 4.2 px on sums of Gaussians).
_SPREAD = 0.05
# The spline's roughness over the squared mean stays within these: beyond them the fit does not change.
_ROUGHNESS = (1e-8, 1e2)
# A step is halved at most so often: to 2 % of its length.
_HALVINGS = 6
# Added to the scaled matrix: rounding of single precision, and more where columns nearly coincide.
_ROUNDING = (1e-6, 1e-4, 1e-2, 0.1, 1.0)
# Size of a scaled element below which it is nothing, and from which on parameters are next to each other; probes of the trace.
_NOTHING, _TIED, _PROBES = 1e-7, 0.01, 16
# Columns are fitted in lots of so many, so that a new number seldom compiles again.
_LOT = 32


class Fit(NamedTuple):
    """Columns in pixels of the counts that were fitted.

    Attributes:
        values: y, x [px], height [counts/px], ln of the width in px, of each column [column, 4].
        covariance: of the values of each column [column, 4, 4].
        background: [y, x] [counts/px].
        roughness: v.
        converged: whether the last step was small against the errors.
    """

    values: np.ndarray
    covariance: np.ndarray
    background: np.ndarray
    roughness: float
    converged: bool


# Solves equations for right-hand sides [parameter, ...].
_Solve = Callable[[np.ndarray], np.ndarray]


class _Basis(NamedTuple):
    """Splines along both axes [y, p], [x, q], and the penalty of their coefficients."""

    y: np.ndarray
    x: np.ndarray
    penalty: np.ndarray
    rank: int


def fit_columns(
    counts: Float[np.ndarray, "y x"],
    start: Float[np.ndarray, "column 4"],
    *,
    knots: float,
    seen: np.ndarray | None = None,
    steps: int = _STEPS,
) -> Fit:
    """Fit columns and background to counts.

    Args:
        counts: [electrons/px], integers or sums of them.
        start: y, x [px], height [counts/px], ln of the width in px; no columns fit the background alone.
        knots: distance of the spline's knots [px].
        seen: False where a pixel is not measured [y, x].
        steps: most steps.

    Returns:
        Positions, heights and widths with their covariance.
    """
    counts = np.asarray(counts, float)
    seen = np.ones(counts.shape, bool) if seen is None else seen
    basis = _splines(counts.shape, knots)
    level = float(counts[seen].mean()) if seen.any() else 1.0
    number = len(start)
    home = np.asarray(start, float).reshape(-1, 4)
    state = _State(home, np.full(basis.penalty.shape[0], level), 1e-3 * level**2)
    problem = _Problem(np.where(seen, counts, 0.0), seen, basis, home, level)
    local = problem.at(state)
    converged = False
    for _ in range(steps):
        matrix, slope = problem.penalised(state, local)
        for k, bend in enumerate(local.bend):
            matrix[4 * k : 4 * k + 4, 4 * k : 4 * k + 4] += bend
        solve = _solver(matrix)
        trial, local, move = _step(problem, state, local, solve(slope))
        relative = np.abs(move[: 4 * number]) * np.sqrt(np.diag(matrix)[: 4 * number])
        before = state.roughness
        state = problem.learned(trial, solve)
        # The background alone has arrived when its roughness has.
        still = abs(np.log(state.roughness / before)) < 0.1
        if still and (relative < _ARRIVED).all():
            converged = True
            break
    background = basis.y @ state.grid(basis) @ basis.x.T
    covariance = _blocks(problem.penalised(state, local)[0], number)
    return Fit(state.columns, covariance, background, state.roughness, converged)


class _State(NamedTuple):
    """Columns [column, 4], coefficients of the background, roughness."""

    columns: np.ndarray
    coefficients: np.ndarray
    roughness: float

    def grid(self, basis: _Basis) -> np.ndarray:
        """Coefficients [p, q]."""
        return self.coefficients.reshape(basis.y.shape[1], basis.x.shape[1])

    def moved(self, step: np.ndarray) -> "_State":
        """The state after a step of columns and coefficients."""
        n = self.columns.size
        return self._replace(
            columns=self.columns + step[:n].reshape(-1, 4),
            coefficients=self.coefficients + step[n:],
        )


class _Local(NamedTuple):
    """Gradient, Fisher matrix, supplement of each column [column, 4, 4] and value of the log likelihood."""

    gradient: np.ndarray
    fisher: np.ndarray
    bend: np.ndarray
    value: float


class _Problem:
    """Counts and priors; what does not change during a fit."""

    def __init__(
        self, counts: np.ndarray, seen: np.ndarray, basis: _Basis, home: np.ndarray, level: float
    ) -> None:
        self.counts, self.seen, self.basis, self.home, self.level = counts, seen, basis, home, level
        self.tether = 1 / (_TETHER * np.exp(home[:, 3:])) ** 2
        width = float(np.exp(home[:, 3]).max()) if len(home) else 1.0
        # Steps of two, so that other widths seldom compile again.
        self.reach = 2 * int(np.ceil(_REACH * width / 2)) + 1
        self.size = -(-max(len(home), 1) // _LOT) * _LOT
        far = np.hypot(*(home[:, None, :2] - home[None, :, :2]).transpose(2, 0, 1))
        i, j = (
            np.nonzero(np.triu(far < _APART * width, 1)) if len(home) else (np.zeros(0, int),) * 2
        )
        pad = -(-max(len(i), 1) // (4 * _LOT)) * 4 * _LOT
        # Pairs that do not exist point beyond the last column, where scattering drops them.
        self.pairs = np.full((2, pad), self.size)
        self.pairs[:, : len(i)] = i, j
        margin = self.reach + 1
        self.padded = [
            jnp.asarray(np.pad(a, [(margin, margin), (0, 0) if a is basis.y or a is basis.x else (margin, margin)]), jnp.float32)
            for a in (counts, seen.astype(float), basis.y, basis.x)
        ]  # fmt: skip

    def at(self, state: _State) -> _Local:
        """The log likelihood around a state."""
        columns = np.zeros((self.size, 4))
        columns[:, :2] = np.asarray(self.counts.shape) / 2
        columns[: len(state.columns)] = state.columns
        real = np.arange(self.size) < len(state.columns)
        parts = _normal_equations(
            jnp.asarray(columns, jnp.float32), jnp.asarray(real), jnp.asarray(state.grid(self.basis), jnp.float32),
            self.padded, jnp.asarray(self.pairs), jnp.float32(_FLOOR * self.level), self.reach,
        )  # fmt: skip
        gradient, fisher, bend, likelihood = (np.asarray(p, float) for p in parts)
        own = 4 * len(state.columns)
        keep = np.r_[0:own, 4 * self.size : len(gradient)]
        # As far as it adds to the information: steps then do not overshoot, and the matrix stays positive definite.
        size, axes = np.linalg.eigh(bend[: len(state.columns)])
        bend = np.einsum("nik,nk,njk->nij", axes, np.maximum(size, 0), axes)
        return _Local(gradient[keep], fisher[np.ix_(keep, keep)], bend, float(likelihood))

    def value(self, state: _State, likelihood: float) -> float:
        """Penalised log likelihood."""
        c = state.coefficients
        rough = c @ self.basis.penalty @ c / (2 * state.roughness)
        away = (state.columns[:, :2] - self.home[:, :2]) ** 2 * self.tether
        widths = (state.columns[:, 3] - self.home[:, 3]) ** 2 / _SPREAD**2
        return likelihood - rough - 0.5 * float(np.sum(away) + np.sum(widths))

    def penalised(self, state: _State, local: _Local) -> tuple[np.ndarray, np.ndarray]:
        """Precision matrix and gradient with the priors."""
        own = 4 * len(state.columns)
        hessian, slope = local.fisher.copy(), local.gradient.copy()
        for axis in (0, 1):
            at = np.arange(axis, own, 4)
            hessian[at, at] += self.tether[:, 0]
            slope[at] -= self.tether[:, 0] * (state.columns[:, axis] - self.home[:, axis])
        at = np.arange(3, own, 4)
        hessian[at, at] += _SPREAD**-2
        slope[at] -= (state.columns[:, 3] - self.home[:, 3]) / _SPREAD**2
        hessian[own:, own:] += self.basis.penalty / state.roughness
        slope[own:] -= self.basis.penalty @ state.coefficients / state.roughness
        return hessian, slope

    def limited(self, step: np.ndarray, state: _State) -> np.ndarray:
        """The step with each column's part shortened to what the quadratic model covers."""
        own = step[: state.columns.size].reshape(-1, 4).copy()
        width = np.exp(state.columns[:, 3])
        size = np.maximum(
            np.hypot(own[:, 0], own[:, 1]) / (_STRIDE * width), np.abs(own[:, 3]) / 0.3
        )
        own /= np.maximum(size, 1)[:, None]
        return np.concatenate([own.ravel(), step[state.columns.size :]])

    def learned(self, state: _State, solve: _Solve) -> _State:
        """The state with the roughness of the background from the counts."""
        own, c, penalty = state.columns.size, state.coefficients, self.basis.penalty
        probes = np.zeros((own + len(c), _PROBES))
        signs = np.random.default_rng(0).choice([-1.0, 1.0], (len(c), _PROBES))
        probes[own:] = penalty @ signs
        # Hutchinson's estimate of the trace of covariance times penalty.
        trace = float(np.mean(np.sum(signs * solve(probes)[own:], axis=0)))
        used = self.basis.rank - trace / state.roughness
        rough = float(c @ penalty @ c) / max(used, 1.0)
        low, high = (k * self.level**2 for k in _ROUGHNESS)
        return state._replace(roughness=float(np.clip(rough, low, high)))


def _step(
    problem: _Problem, state: _State, local: _Local, step: np.ndarray
) -> tuple[_State, _Local, np.ndarray]:
    """A step, halved until the penalised likelihood does not fall: state, likelihood around it, and step."""
    step, value = problem.limited(step, state), problem.value(state, local.value)
    for _ in range(_HALVINGS):
        trial = state.moved(step)
        trial.columns[:, :2] = np.clip(trial.columns[:, :2], -0.5, np.asarray(problem.counts.shape) - 0.5)  # fmt: skip
        there = problem.at(trial)
        # Single precision of a sum over all pixels leaves some 1e-7 of it.
        if problem.value(trial, there.value) >= value - 1e-7 * abs(value) - 1e-2:
            break
        step = step / 2
    return trial, there, step


def _solver(matrix: np.ndarray) -> _Solve:
    """Solver of equations with a positive definite matrix, most of which is zero: columns know their neighbours only."""
    scale = 1 / np.sqrt(np.maximum(np.diag(matrix), 1e-30))
    scaled, size = matrix * np.outer(scale, scale), len(matrix)
    scaled[np.abs(scaled) < _NOTHING] = 0
    thin = sparse.csc_matrix(scaled)
    for rounding in _ROUNDING:
        whole = sparse.csc_matrix(thin + rounding * sparse.identity(size, format="csc"))
        try:
            factor = splu(whole, permc_spec="MMD_AT_PLUS_A", diag_pivot_thresh=0.0, options={"SymmetricMode": True})  # fmt: skip
        except RuntimeError:  # exactly singular
            continue
        # Pivots of a positive definite matrix are positive.
        if (factor.U.diagonal() > 0).all():
            return lambda right: (factor.solve((right.T * scale).T).T * scale).T
    raise InputError("The columns cannot be told apart: fewer or wider ones are needed.")


def _blocks(matrix: np.ndarray, number: int) -> np.ndarray:
    """Covariance of the values of each column [column, 4, 4], with the parameters next to it unknown too."""
    scale = 1 / np.sqrt(np.maximum(np.diag(matrix), 1e-30))
    scaled = matrix * np.outer(scale, scale)
    tied = np.abs(scaled) > _TIED
    out = np.empty((number, 4, 4))
    for k in range(number):
        own = slice(4 * k, 4 * k + 4)
        near = np.asarray(tied[own].any(axis=0))
        near[own] = False
        rest = np.nonzero(near)[0]
        cross = scaled[own][:, rest]
        inner = scaled[np.ix_(rest, rest)] + _ROUNDING[0] * np.eye(len(rest))
        # Schur complement: what is left of the information when the others are unknown.
        left = scaled[own, own] - cross @ np.linalg.solve(inner, cross.T)
        size, axes = np.linalg.eigh(left)
        out[k] = (axes / np.maximum(size, 1e-4)) @ axes.T * np.outer(scale[own], scale[own])
    return out


def _splines(shape: tuple[int, ...], knots: float) -> _Basis:
    """Cubic splines whose knots are some pixels apart, and the squares of their second differences."""
    sides = []
    for n in shape:
        pieces = max(round(n / knots), 1)
        edge = np.linspace(-0.5, n - 0.5, pieces + 1)
        step = edge[1] - edge[0]
        t = np.concatenate([edge[0] - step * np.arange(3, 0, -1), edge, edge[-1] + step * np.arange(1, 4)])  # fmt: skip
        sides.append(BSpline.design_matrix(np.arange(n, dtype=float), t, 3).toarray())
    second = [np.diff(np.eye(b.shape[1]), 2, axis=0) for b in sides]
    one = [d.T @ d for d in second]
    eye = [np.eye(b.shape[1]) for b in sides]
    penalty = np.kron(one[0], eye[1]) + np.kron(eye[0], one[1])
    return _Basis(sides[0], sides[1], penalty, penalty.shape[0] - 4)


class _Side(NamedTuple):
    """exp(−(t − c)²/2 s²) averaged over each pixel, and its derivatives by the centre c and by u = ln s."""

    value: Array
    c: Array
    u: Array
    cc: Array
    cu: Array
    uu: Array


def _side(centre: Array, log_width: Array, at: Array) -> _Side:
    width = jnp.exp(log_width)
    a, b = at - centre - 0.5, at - centre + 0.5
    left, right = (jnp.exp(-(t**2) / (2 * width**2)) for t in (a, b))
    scale = 1 / (jnp.sqrt(2.0) * width)
    value = jnp.sqrt(jnp.pi / 2) * width * (jax.lax.erf(scale * b) - jax.lax.erf(scale * a))
    by_width = value - (b * right - a * left)
    return _Side(
        value,
        left - right,
        by_width,
        (a * left - b * right) / width**2,
        (a**2 * left - b**2 * right) / width**2,
        by_width - (b**3 * right - a**3 * left) / width**2,
    )


def _slopes(height: Array, y: _Side, x: _Side) -> Array:
    """Derivatives of a column by y, x, height and ln width [y, x, 4]."""
    outer = jnp.multiply.outer
    by_width = outer(y.u, x.value) + outer(y.value, x.u)
    return jnp.stack(
        [height * outer(y.c, x.value), height * outer(y.value, x.c), outer(y.value, x.value), height * by_width], -1
    )  # fmt: skip


def _curvature(height: Array, y: _Side, x: _Side, left: Array) -> Array:
    """−Σ (n/λ − 1) ∂²λ of a column [4, 4]."""

    def total(row: Array, column: Array) -> Array:
        return row @ left @ column

    yh, xh, uh = total(y.c, x.value), total(y.value, x.c), total(y.u, x.value) + total(y.value, x.u)
    yu = height * (total(y.cu, x.value) + total(y.c, x.u))
    xu = height * (total(y.u, x.c) + total(y.value, x.cu))
    yx, yy, xx = (height * total(p, q) for p, q in ((y.c, x.c), (y.cc, x.value), (y.value, x.cc)))
    uu = height * (total(y.uu, x.value) + 2 * total(y.u, x.u) + total(y.value, x.uu))
    rows = [[yy, yx, yh, yu], [yx, xx, xh, xu], [yh, xh, jnp.zeros_like(yh), uh], [yu, xu, uh, uu]]
    return -jnp.asarray(rows)


@partial(jax.jit, static_argnames="reach")
def _normal_equations(
    columns: Array, real: Array, coefficients: Array, padded: list[Array], pairs: Array, floor: Array, reach: int
) -> tuple[Array, Array, Array, Array]:  # fmt: skip
    """Gradient, Fisher matrix, its supplement for steps, and log likelihood for columns and coefficients."""
    counts, seen, by, bx = padded
    margin, window = reach + 1, jnp.arange(2 * reach + 1)
    n = columns.shape[0]
    corner = jnp.round(columns[:, :2]).astype(int) - reach
    rows = (corner[:, :1] + window[None]).astype(columns.dtype)
    cols = (corner[:, 1:] + window[None]).astype(columns.dtype)
    height = jnp.where(real, columns[:, 2], 0)
    side = jax.vmap(_side)
    y, x = side(columns[:, 0], columns[:, 3], rows), side(columns[:, 1], columns[:, 3], cols)
    values = height[:, None, None] * y.value[:, :, None] * x.value[:, None, :]
    at = (corner[:, 0, None, None] + margin + window[None, :, None], corner[:, 1, None, None] + margin + window[None, None])  # fmt: skip
    mean = jnp.maximum((by @ coefficients @ bx.T).at[at].add(values), floor)
    weight = seen / mean
    left = seen * (counts / mean - 1)
    likelihood = jnp.sum(seen * (counts * jnp.log(mean) - mean))
    jac = jnp.where(real[:, None, None, None], jax.vmap(_slopes)(height, y, x), 0)
    weighted = jac * weight[at][..., None]
    own = jnp.einsum("nyxk,nyxl->nkl", weighted, jac)
    # Columns that do not exist have a unit diagonal, so that indices of the others stay.
    own = jnp.where(real[:, None, None], own, jnp.eye(4, dtype=own.dtype)[None])
    i, j = jnp.minimum(pairs, n - 1)
    other = jax.vmap(_slopes)(
        height[j], side(columns[j, 0], columns[j, 3], rows[i]), side(columns[j, 1], columns[j, 3], cols[i])
    )  # fmt: skip
    cross = jnp.einsum("nyxk,nyxl->nkl", weighted[i], other)
    block = jnp.zeros((n, 4, n, 4), jac.dtype).at[jnp.arange(n), :, jnp.arange(n)].add(own)
    block = block.at[pairs[0], :, pairs[1]].add(cross, mode="drop")
    block = block.at[pairs[1], :, pairs[0]].add(jnp.swapaxes(cross, 1, 2), mode="drop")
    wy, wx = by[at[0][:, :, 0]], bx[at[1][:, 0]]
    mixed = jnp.einsum("nyxk,nyp,nxq->nkpq", weighted, wy, wx).reshape(4 * n, -1)
    half = jnp.einsum("yx,xq,xs->yqs", weight, bx, bx)
    smooth = jnp.einsum("yp,yr,yqs->pqrs", by, by, half).reshape(2 * (mixed.shape[1],))
    fisher = jnp.block([[block.reshape(4 * n, 4 * n), mixed], [mixed.T, smooth]])
    slope = jnp.einsum("nyxk,nyx->nk", jac, left[at]).ravel()
    gradient = jnp.concatenate([slope, (by.T @ left @ bx).ravel()])
    return gradient, fisher, jax.vmap(_curvature)(height, y, x, left[at]), likelihood

"""Damped Gauss-Newton for laws: dense in the few law parameters, matrix-free in the initial field.

Least squares ½|r(θ, z)|² + ½|z|² + ½|(θ − θ₀)/s|² is minimised with the step (H + λ D) δ = −g,
H = JᵀJ + prior. θ alone (a dozen numbers) needs the dense JᵀJ only; with the field z (a number per
pixel) δ comes from preconditioned conjugate gradients whose products are one linearised solve forwards
and one backwards in time. Marginal covariance of θ: the inverse of the Schur complement of H that
eliminates z (Laplace approximation; Rasmussen & Williams 2006, section 3.4; Nocedal & Wright 2006, ch. 10).

Written here rather than taken from a library because a diverged solve must be an ordinary rejected step,
the normal equations are accumulated without storing J, and both problems share one loop.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from phdenoise.grid import Grid
from phdenoise.physics.transforms import laplacian_symbol, transforms

Residual = Callable[..., Array]
# Vectors of (θ, z): [k, p] and [k, y, x].
Directions = tuple[Array, Array]
# Shells of wavenumber over which the spectrum of H is averaged.
SHELLS = 24


class Normal(NamedTuple):
    """Cost ½|r|², gradient [p] and Gauss-Newton matrix [p, p] with respect to θ."""

    cost: Array
    gradient: Array
    hessian: Array


class Minimum(NamedTuple):
    """Where an optimisation ended: the point, its cost, whether it converged, and costs on the way."""

    point: Any
    cost: float
    converged: bool
    message: str
    history: tuple[float, ...]


class JointStep(NamedTuple):
    """A Gauss-Newton step in (θ, z), the cost where it starts and the decrease the model promises."""

    theta: Array
    z: Array
    cost: Array
    promised: Array


def normal_equations(residual: Callable[[Array], Array], theta: Float[Array, " p"]) -> Normal:
    """Cost, gradient and JᵀJ of `residual(theta)` by forward mode; the tangents share one primal."""
    value, columns = jax.vmap(lambda v: jax.jvp(residual, (theta,), (v,)), out_axes=(None, 0))(
        jnp.eye(theta.shape[0], dtype=theta.dtype)
    )
    flat = columns.reshape(theta.shape[0], -1)
    return Normal(0.5 * jnp.sum(value**2), flat @ value.reshape(-1), flat @ flat.T)


def with_prior(normal: Normal, theta: np.ndarray, start: np.ndarray, sd: np.ndarray) -> Normal:
    """The same with the Gaussian prior of θ added."""
    pull = (theta - start) / sd
    return Normal(
        normal.cost + 0.5 * np.sum(pull**2),
        normal.gradient + pull / sd,
        normal.hessian + np.diag(1.0 / sd**2),
    )


def descend(
    solve: Callable[[Any, float], tuple[Any, float, float]],
    cost: Callable[[Any], float],
    point: Any,
    *,
    iterations: int,
    tolerance: float = 1e-4,
    resolution: float = 0.0,
    damping: float = 1e-3,
    progress: Callable[[int, int, float], None] | None = None,
) -> Minimum:
    """Levenberg-Marquardt's outer loop, for any way of solving the damped equations.

    Args:
        solve: (point, damping) -> (trial point, cost at point, promised decrease of the quadratic model).
        cost: point -> cost, inf or nan where the solve diverged.
        point: where to start.
        iterations: at most so many accepted or rejected steps.
        tolerance: stop when the relative decrease of an accepted step falls below it.
        resolution: stop when the quadratic model promises less than this; for a likelihood, 0.05 is a
            tenth of what one standard deviation of one parameter changes.
        progress: called with (iteration, iterations, cost).
    """
    current = cost(point)
    history = [current]
    idle = 0
    if not np.isfinite(current):
        return Minimum(point, current, False, "the starting law diverges", tuple(history))
    for iteration in range(1, iterations + 1):
        trial, _, promised = solve(point, damping)
        if promised < resolution and damping < 1.0:
            return Minimum(point, current, True, "converged", tuple(history))
        value = cost(trial)
        gain = (current - value) / promised if promised > 0 else -1.0
        if np.isfinite(value) and value < current:
            small = (current - value) <= tolerance * abs(current)
            point, current = trial, value
            damping = damping * (0.2 if gain > 0.5 else 1.0 if gain > 0.1 else 4.0)
            history.append(current)
            if progress:
                progress(iteration, iterations, current)
            # One tiny decrease under heavy damping may be a small step; several are a minimum.
            idle = idle + 1 if small else 0
            if small and (damping < 1.0 or idle >= 3):
                return Minimum(point, current, True, "converged", tuple(history))
        else:
            # A promise below round-off of the cost cannot be kept: this is the minimum.
            if promised <= 1e-6 * abs(current) or damping > 1e8:
                return Minimum(point, current, True, "converged", tuple(history))
            damping = max(damping, 1e-4) * 8.0
            if progress:
                progress(iteration, iterations, current)
    return Minimum(point, current, False, f"stopped after {iterations} iterations", tuple(history))


def dense_step(normal: Normal, damping: float) -> tuple[np.ndarray, float]:
    """Step of θ from the damped normal equations, and the decrease they promise."""
    hessian = np.asarray(normal.hessian, float)
    gradient = np.asarray(normal.gradient, float)
    damped = hessian + damping * np.diag(np.diag(hessian) + 1e-12)
    step = -np.linalg.solve(damped, gradient)
    return step, float(-gradient @ step - 0.5 * step @ hessian @ step)


class Linearised(NamedTuple):
    """A least-squares problem at a point: residual, Jacobian products, and preconditioning of H.

    Attributes:
        residual: r [t, y, x].
        push: (dθ, dz) -> J (dθ, dz).
        pull: dr -> Jᵀ dr as (dθ, dz).
        columns: J for each component of θ [p, t, y, x].
        law_block: JᵀJ + prior of θ [p, p].
        spectrum: diagonal of the field's H in the grid's transform, averaged over shells, [ky, kx].
        precision: prior precision of θ [p].
    """

    residual: Array
    push: Residual
    pull: Residual
    columns: Array
    law_block: Array
    spectrum: Array
    precision: Array

    def hessian(self, v: tuple[Array, Array]) -> tuple[Array, Array]:
        """H v with H = JᵀJ + prior."""
        d_theta, d_z = self.pull(self.push(*v))
        return d_theta + self.precision * v[0], d_z + v[1]


def linearise(
    residual: Residual,
    theta: Float[Array, " p"],
    z: Float[Array, "y x"],
    theta_sd: Float[Array, " p"],
    probe: Float[Array, "y x"],
    grid: Grid,
) -> Linearised:
    """Linearise `residual(theta, z)`; `probe` is white noise that measures the spectrum of H once.

    The solve damps short waves, so the field's H is nearly diagonal in the transform of the grid:
    dividing by its shell averages leaves conjugate gradients a few iterations.
    """
    value, push = jax.linearize(residual, theta, z)
    pull = jax.linear_transpose(push, theta, z)
    columns = jax.vmap(lambda e: push(e, jnp.zeros_like(z)))(jnp.eye(theta.size, dtype=theta.dtype))
    flat = columns.reshape(theta.size, -1)
    precision = 1.0 / theta_sd**2
    forward, _ = transforms(grid)
    image = pull(push(jnp.zeros_like(theta), probe))[1]
    symbol = laplacian_symbol(grid, z.dtype)
    shell = jnp.floor(SHELLS * jnp.sqrt(symbol / jnp.max(symbol))).astype(int).ravel()
    along = jnp.real(forward(image) * jnp.conj(forward(probe))).ravel()
    power = (jnp.abs(forward(probe)) ** 2).ravel()
    sums = [jax.ops.segment_sum(a, shell, num_segments=SHELLS + 1) for a in (along, power)]
    mean = jnp.maximum(sums[0], 0.0) / jnp.maximum(sums[1], jnp.finfo(z.dtype).tiny)
    spectrum = 1.0 + mean[shell].reshape(symbol.shape)
    return Linearised(
        value, push, pull, columns, flat @ flat.T + jnp.diag(precision), spectrum, precision
    )


def joint_step(
    at: Linearised,
    theta: Float[Array, " p"],
    z: Float[Array, "y x"],
    theta_start: Float[Array, " p"],
    damping: Float[Array, ""],
    coarse: Directions,
    grid: Grid,
    *,
    cg_steps: int,
) -> JointStep:
    """One damped Gauss-Newton step in the law and the field together, by conjugate gradients.

    Damping is in the metric of the prior. Marquardt's own, the diagonal of JᵀJ, would freeze what matters
    here: combinations of law and field that the movie hardly feels, though it feels each part strongly.
    """

    def damped(v: tuple[Array, Array]) -> tuple[Array, Array]:
        d_theta, d_z = at.hessian(v)
        return d_theta + damping * at.precision * v[0], d_z + damping * v[1]

    g_theta, g_z = at.pull(at.residual)
    gradient = (g_theta + at.precision * (theta - theta_start), g_z + z)
    step, _ = jax.scipy.sparse.linalg.cg(
        damped,
        jax.tree.map(jnp.negative, gradient),
        M=_preconditioner(at, grid, damping, coarse),
        tol=1e-3,
        maxiter=cg_steps,
    )
    curved = at.hessian(step)
    promised = -(
        jnp.vdot(gradient[0], step[0])
        + jnp.vdot(gradient[1], step[1])
        + 0.5 * (jnp.vdot(step[0], curved[0]) + jnp.vdot(step[1], curved[1]))
    )
    cost = _cost(at.residual, theta, z, theta_start, at.precision)
    return JointStep(step[0], step[1], cost, promised)


def joint_cost(
    residual: Residual,
    theta: Float[Array, " p"],
    z: Float[Array, "y x"],
    theta_start: Float[Array, " p"],
    theta_sd: Float[Array, " p"],
) -> Float[Array, ""]:
    """Cost of the law and the field together, priors included."""
    return _cost(residual(theta, z), theta, z, theta_start, 1.0 / theta_sd**2)


class Laplace(NamedTuple):
    """Covariance of θ [p, p], columns of H⁻¹ for its components, draws of δ(√w c) [samples, t, y, x]."""

    covariance: Array
    directions: Directions
    draws: Array


def laplace(
    at: Linearised, coarse: Directions, grid: Grid, key: Array, *, samples: int, cg_steps: int
) -> Laplace:
    """Covariance of θ with the field marginalised, and draws of the weighted prediction.

    Columns of H⁻¹ for the components of θ give the covariance; each draw solves H δ = Jᵀ ε + prior^½ ε'
    (Papandreou & Yuille, NIPS 2010), exact for a linear model. All right-hand sides go through one batch
    of conjugate gradients: on small grids a batch costs little more than one.
    """
    root = jnp.sqrt(at.precision)
    size, shape, dtype = root.size, at.residual.shape, at.residual.dtype
    keys = jax.random.split(key, 3)
    noise = jax.random.normal(keys[0], (samples, *shape), dtype)
    b_theta, b_z = jax.vmap(at.pull)(noise)
    b_theta = b_theta + root * jax.random.normal(keys[1], b_theta.shape, dtype)
    b_z = b_z + jax.random.normal(keys[2], b_z.shape, dtype)
    right = (
        jnp.concatenate([jnp.eye(size, dtype=dtype), b_theta]),
        jnp.concatenate([jnp.zeros((size, *shape[1:]), dtype), b_z]),
    )
    precondition = _preconditioner(at, grid, jnp.zeros((), dtype), coarse)

    def solve(b: tuple[Array, Array]) -> tuple[Array, Array]:
        return jax.scipy.sparse.linalg.cg(
            at.hessian, b, M=precondition, tol=1e-4, maxiter=cg_steps
        )[0]

    x_theta, x_z = jax.vmap(solve)(right)
    covariance = x_theta[:size]
    draws = jax.vmap(at.push)(x_theta[size:], x_z[size:])
    return Laplace(0.5 * (covariance + covariance.T), (covariance, x_z[:size]), draws)


def no_directions(theta: Float[Array, " p"], z: Float[Array, "y x"]) -> Directions:
    """A coarse space to begin with: each component of θ alone."""
    eye = jnp.eye(theta.size, dtype=theta.dtype)
    return eye, jnp.zeros((theta.size, *z.shape), z.dtype)


def _preconditioner(
    at: Linearised, grid: Grid, damping: Array, coarse: Directions
) -> Callable[[tuple[Array, Array]], tuple[Array, Array]]:
    """Spectral in the field, plus exact in a coarse space V (VᵀHV)⁻¹Vᵀ.

    V holds earlier columns of H⁻¹: a change of the law with the change of field that best makes up for it.
    Along these the movie is nearly blind, and without them conjugate gradients needs hundreds of steps.
    """
    v_theta, v_z = coarse
    h_theta, h_z = jax.vmap(at.hessian)(coarse)
    h_theta = h_theta + damping * at.precision * v_theta
    h_z = h_z + damping * v_z
    size = v_theta.shape[0]
    flat = v_z.reshape(size, -1)
    small = v_theta @ h_theta.T + flat @ h_z.reshape(size, -1).T
    # Unit diagonal first: the columns differ by orders of magnitude in length.
    scale = 1.0 / jnp.sqrt(jnp.diag(small))
    small = 0.5 * (small + small.T) * scale[:, None] * scale[None, :]
    factor = jax.scipy.linalg.cho_factor(small + 1e-9 * jnp.eye(size, dtype=small.dtype))
    forward, inverse = transforms(grid)

    def apply(v: tuple[Array, Array]) -> tuple[Array, Array]:
        along = scale * jax.scipy.linalg.cho_solve(
            factor, scale * (v_theta @ v[0] + flat @ v[1].reshape(-1))
        )
        field = inverse(forward(v[1]) / (at.spectrum + damping))
        return along @ v_theta, (along @ flat).reshape(v[1].shape) + field

    return apply


def _cost(value: Array, theta: Array, z: Array, start: Array, precision: Array) -> Array:
    prior = 0.5 * jnp.sum(z**2) + 0.5 * jnp.sum(precision * (theta - start) ** 2)
    return 0.5 * jnp.sum(value**2) + prior

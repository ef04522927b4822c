"""Fit diffusion with sources to a profile that changes: D(c) and fluxes from a line across a cell.

    ∂u/∂t = ∂ₓ( D(u) ∂ₓu ) + Σₖₘ bₖₘ gₘ(t) sₖ(x),     ln D = Σₙ qₙ Pₙ(2u−1)

Given are the change of u since the first profile with its sd, the filling u₀ at that moment, where sources may
lie (sₖ: an edge, a layer) and how they follow time (gₘ: the current while charging, while discharging); found
are qₙ and bₖₘ. Sources free in space and time at once would explain any profile without diffusion, hence the
product. Gauss-Newton with forward sensitivities, Laplace intervals: see `phdenoise.learn.gauss_newton`.
"""

from dataclasses import dataclass
from functools import partial
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from phdenoise.grid import Grid
from phdenoise.learn.gauss_newton import (
    Normal,
    Objective,
    Stopping,
    descend,
    half_square,
    inverse,
    jacobian,
    normal_equations,
    with_prior,
)
from phdenoise.learn.result import Parameter, plain_law
from phdenoise.physics.boundary_flux import DrivenFickian
from phdenoise.physics.equations.base import reference_mobility
from phdenoise.physics.equations.fickian import Fickian
from phdenoise.physics.mobility import ConstantMobility, LegendreMobility
from phdenoise.physics.simulate import simulate
from phdenoise.types import InputError

# Concentrations of the reported curves: enough to draw them.
CURVE_POINTS = 101
# Standard deviation of ln D above which D is not determined: the 90 % band is then wider than a factor of 25, the prior's own is not
# far, and the posterior is no Gaussian.
LARGEST_SD = 1.0


@dataclass(frozen=True)
class ProfileFitConfig:
    """How to fit diffusion with sources to a profile."""

    degree: int = 1
    """Degree of ln D in u; 0 is a constant D."""
    iterations: int = 30
    """Gauss-Newton steps at most."""
    substeps: int = 4
    """Steps of the solver in a frame interval."""
    diffusivity_prior: float = 1.5
    """Prior sd of each Legendre coefficient of ln D, around a diffusion time of the whole profile."""


class ProfileData(eqx.Module):
    """What is fitted; lengths in cells.

    Attributes:
        change, sd: u − u₀ and its sd [t, x]; sd is infinite where nothing was measured.
        times: [t]; the first is that of u₀.
        start: u₀ [x].
        places: sₖ [k, x], each summing to one: an amplitude is a flux in cells per time.
        knots: times of the polylines [n].
        shapes: gₘ at the knots [m, n].
        common: sd of an error that all times share, that of u₀'s own measurement [x].
    """

    change: Float[Array, "t x"]
    sd: Float[Array, "t x"]
    times: Float[Array, " t"]
    start: Float[Array, " x"]
    places: Float[Array, "k x"]
    knots: Float[Array, " n"]
    shapes: Float[Array, "m n"]
    common: Float[Array, " x"]


@dataclass(frozen=True)
class ProfileFit:
    """A fitted profile.

    Attributes:
        outcome: one sentence.
        converged: whether the optimiser met its tolerance.
        parameters: q_n, then flux_k_m, with sd and unit.
        curves: u, D, D_sd, D_low and D_high (90 %) over the range of u that was seen.
        change, flux: fitted u − u₀ [t, x], and what enters at each place, bₖₘ gₘ(t) [t, k].
        statistics: chi2_per_dof, u_low, u_high.
        theta, covariance: raw, in cells.
    """

    outcome: str
    converged: bool
    parameters: tuple[Parameter, ...]
    curves: dict[str, np.ndarray]
    change: np.ndarray
    flux: np.ndarray
    statistics: dict[str, float]
    theta: np.ndarray
    covariance: np.ndarray

    @property
    def determined(self) -> bool:
        """Whether the profiles determine D: its curves are no finding where they do not."""
        return _spread(self.curves) <= LARGEST_SD

    def to_dict(self) -> dict[str, Any]:
        """Plain values, without the profiles."""
        return plain_law(self) | {"determined": self.determined}


def fit_profile(
    data: ProfileData,
    config: ProfileFitConfig | None = None,
    *,
    spacing: float = 1.0,
    length_unit: str = "px",
    time_unit: str = "frame",
    guess: Float[np.ndarray, "k m"] | None = None,
) -> ProfileFit:
    """Find D(u) and the fluxes.

    Args:
        data: see `ProfileData`.
        config: see `ProfileFitConfig`.
        spacing: of the cells [length_unit], for the units of the result.
        length_unit, time_unit: for the units of the result.
        guess: fluxes to start from; by default the change of the whole profile, shared by the places.

    Returns:
        The fit.

    Raises:
        InputError: fewer than 3 profiles or 4 cells, shapes that do not fit, or nothing measured.
    """
    config = ProfileFitConfig() if config is None else config
    _check(data)
    with jax.enable_x64(True):
        data = jax.tree.map(lambda a: jnp.asarray(np.asarray(a), jnp.float64), data)
        count, cells = data.change.shape
        k, m = data.places.shape[0], data.shapes.shape[0]
        span = float(data.times[-1] - data.times[0])
        # A front that crosses the profile in the time of the movie.
        q0 = np.r_[np.log(cells**2 / (4 * span)), np.zeros(config.degree)]
        b0, b_sd = _fluxes(data, guess)
        start = np.r_[q0, b0.ravel()]
        prior = np.r_[np.full(config.degree + 1, config.diffusivity_prior), np.full(k * m, b_sd)]
        prior[0] *= 2  # the order of magnitude is what is sought

        def normal(theta: np.ndarray) -> Normal:
            value, rows = _linearised(jnp.asarray(theta), data, config.degree, config.substeps)
            return with_prior(normal_equations(value, rows), theta, start, prior)

        def cost(theta: np.ndarray) -> float:
            pull = (theta - start) / prior
            value = _value(jnp.asarray(theta), data, config.degree, config.substeps)
            return half_square(value) + 0.5 * float(pull @ pull)

        found = descend(
            Objective(normal, cost),
            lambda x, step: x + step,
            start,
            Stopping(config.iterations, resolution=0.005),
        )
        theta = found.point
        here = normal(theta)
        covariance = inverse(here.hessian)
        seen = np.isfinite(np.asarray(data.sd))
        residual = np.asarray(_residual(jnp.asarray(theta), data, config.degree, config.substeps))
        residual = residual.reshape(count, cells)
        fitted = np.asarray(_movie(jnp.asarray(theta), data, config.degree, config.substeps))
        model = _model(jnp.asarray(theta), data, config.degree)
        flux = np.asarray(jax.vmap(model.drive)(data.times))
        filling = (np.asarray(data.start)[None] + fitted)[seen]
        low, high = float(filling.min()), float(filling.max())
        chi2 = float((residual[seen] ** 2).sum() / max(seen.sum() - theta.size, 1))
        curves = _curves(theta, covariance, config.degree, (low, high), spacing**2)
    sd = np.sqrt(np.diag(covariance))
    parameters = _parameters(theta, sd, (k, m), spacing, (length_unit, time_unit))
    return ProfileFit(
        _outcome(found.converged, found.message, chi2, curves),
        found.converged,
        parameters,
        curves,
        fitted,
        flux * spacing,
        {"chi2_per_dof": chi2, "u_low": low, "u_high": high, "spacing": spacing},
        theta,
        covariance,
    )


def _outcome(converged: bool, message: str, chi2: float, curves: dict[str, np.ndarray]) -> str:
    """How the fit ended, in one sentence."""
    relative = _spread(curves)
    state = "converged" if converged else message
    if not relative <= LARGEST_SD:
        factor = float(np.exp(min(1.6449 * relative, 9.0)))
        return (
            f"D is not determined: the profiles leave it open by a factor of {factor:.2g} either way (90 %). The profile fit {state}; "
            "longer movies, more dose or a known current would tell more."
        )
    fits = f"; chi2 per degree of freedom is {chi2:.2g}: more than noise is left"
    fits = "" if chi2 < 2 else fits
    return f"The profile fit {state}: D is known to {100 * relative:.2g} % (median sd){fits}."


def _spread(curves: dict[str, np.ndarray]) -> float:
    """Median standard deviation of ln D."""
    return float(np.median(curves["D_sd"] / curves["D"]))


def _parameters(
    theta: np.ndarray,
    sd: np.ndarray,
    shape: tuple[int, int],
    spacing: float,
    units: tuple[str, str],
) -> tuple[Parameter, ...]:
    """q_n, then flux_k_m, in units of length and time."""
    k, m = shape
    degree = theta.size - k * m - 1
    length, time = units
    names = [f"q_{n}" for n in range(degree + 1)]
    texts = [f"ln {length}^2/{time}"] + ["1"] * degree
    names += [f"flux_{i}_{j}" for i in range(k) for j in range(m)]
    texts += [f"{length}/{time}"] * (k * m)
    scale = np.r_[np.ones(degree + 1), np.full(k * m, spacing)]
    shift = np.r_[2 * np.log(spacing), np.zeros(theta.size - 1)]
    return tuple(
        Parameter(n, float(v), float(s), u)
        for n, v, s, u in zip(names, theta * scale + shift, sd * scale, texts, strict=True)
    )


def _check(data: ProfileData) -> None:
    t, x = data.change.shape
    if t < 3 or x < 4:
        raise InputError(f"A profile fit needs 3 profiles of 4 cells or more, got {t} of {x}.")
    if not np.all(np.diff(np.asarray(data.times)) > 0):
        raise InputError("Times of the profiles must increase.")
    sums = np.asarray(data.places).sum(axis=1)
    if data.places.shape[1] != x or not np.allclose(sums, 1, rtol=1e-5):
        raise InputError(f"Each place needs one share for each of {x} cells, with sum 1.")
    if not np.isfinite(np.asarray(data.sd)).any() or np.any(np.asarray(data.sd) <= 0):
        raise InputError("The profile needs positive standard deviations, finite ones somewhere.")


def _fluxes(data: ProfileData, guess: np.ndarray | None) -> tuple[np.ndarray, float]:
    """Fluxes to start from, and a wide prior sd around them [cells/time]."""
    k, m = data.places.shape[0], data.shapes.shape[0]
    ok = np.isfinite(np.asarray(data.sd))
    total = np.where(ok, np.asarray(data.change), 0).sum(axis=1)
    times, knots = np.asarray(data.times), np.asarray(data.knots)
    shapes = np.stack([np.interp(times, knots, g) for g in np.asarray(data.shapes)])
    steps = np.diff(times)
    entered = np.cumsum(0.5 * (shapes[:, 1:] + shapes[:, :-1]) * steps, axis=1)
    overall, *_ = np.linalg.lstsq(entered.T, total[1:] - total[0], rcond=None)
    top = np.abs(shapes).max()
    scale = max(np.abs(overall).max(), np.ptp(total) / (steps.sum() * max(top, 1e-300)))
    b = np.tile(overall / k, (k, 1)) if guess is None else np.asarray(guess, float)
    return b.reshape(k, m), 3 * float(scale)


def _model(theta: Array, data: ProfileData, degree: int) -> DrivenFickian:
    q, b = theta[: degree + 1], theta[degree + 1 :]
    b = jnp.reshape(b, (data.places.shape[0], data.shapes.shape[0]))
    return DrivenFickian(LegendreMobility(q), data.places[:, None, :], data.knots, b @ data.shapes)


def _simulated(theta: Array, data: ProfileData, degree: int, substeps: int) -> Array:
    grid = Grid((1, data.start.shape[0]), 1.0, "no-flux")
    model = _model(theta, data, degree)
    levels = jnp.linspace(0, 1, data.start.shape[0], dtype=theta.dtype)
    top = jax.lax.stop_gradient(jnp.max(model.diffusivity(levels[None])))
    reference = reference_mobility(Fickian(ConstantMobility(top)), grid, data.start[None])
    frames = simulate(
        model, grid, data.start[None], data.times, substeps=substeps, reference=reference
    )
    return frames[:, 0] - data.start[None]


def _residual(theta: Array, data: ProfileData, degree: int, substeps: int) -> Array:
    seen = jnp.isfinite(data.sd)
    left = (_simulated(theta, data, degree, substeps) - data.change) / data.sd
    left = jnp.where(seen, left, 0)
    # Whitened: (1 + a aᵀ)^(-½) of each cell's series, a the common error in units of the others.
    a = jnp.where(seen, data.common[None] / data.sd, 0)
    square = jnp.sum(a**2, axis=0, keepdims=True)
    safe = jnp.where(square > 0, square, 1)
    shared = jnp.sum(a * left, axis=0, keepdims=True) / safe
    return (left - (1 - 1 / jnp.sqrt(1 + square)) * shared * a).reshape(-1)


_movie = jax.jit(_simulated, static_argnums=(2, 3))
_value = jax.jit(_residual, static_argnums=(2, 3))


@partial(jax.jit, static_argnums=(2, 3))
def _linearised(theta: Array, data: ProfileData, degree: int, substeps: int) -> tuple[Array, Array]:
    return jacobian(lambda x: _residual(x, data, degree, substeps), theta)


def _curves(
    theta: np.ndarray, covariance: np.ndarray, degree: int, span: tuple[float, float], area: float
) -> dict[str, np.ndarray]:
    """D over the fillings seen; ln D is linear in q, so its band is exact given theirs."""
    u = np.linspace(span[0], max(span[1], span[0] + 1e-3), CURVE_POINTS)
    basis = np.polynomial.legendre.legvander(2 * np.clip(u, 0, 1) - 1, degree)
    log_d = basis @ theta[: degree + 1]
    block = covariance[: degree + 1, : degree + 1]
    sd = np.sqrt(np.maximum(np.einsum("ip,pq,iq->i", basis, block, basis), 0))
    d = np.exp(log_d) * area
    return {
        "u": u,
        "D": d,
        "D_sd": d * sd,
        "D_low": d * np.exp(-1.6449 * sd),
        "D_high": d * np.exp(1.6449 * sd),
    }

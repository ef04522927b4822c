"""The law of a particle that reacts at constant current: μ_h(c), j₀(c), κ and the rate constant k(x,y), from a movie of c.

    ∂c/∂t = k(x,y) j₀(c) [exp(−η/2) − exp(η/2)],  η = μ_h(c) − κ∇²c + V,  V such that d⟨c⟩/dt is the current
    μ_h = ln(c/(1−c)) + Redlich-Kister,   j₀ = c^a (1−c)^b,   k = k₀ exp(Σ zₙ sₙ φₙ)

Multiple shooting: the movie is cut into stretches, each solved from its first frame, all with one law, and compared with the
frames that follow. What is wrong with a first frame is told apart from the law by free coefficients of the slowest modes
of the particle in each stretch (Bock's method; Bock & Plitt 1984, doi:10.1016/S1474-6670(17)61205-9). Gauss-Newton
with forward sensitivities. Errors of neighbouring values go together in space and time, hence the covariance is

    H⁻¹ ( Σ_Δ ρ(Δ) J(r)ᵀ J(r + Δ) ) H⁻¹,    ρ the autocorrelation of the residual

(White, Econometrica 48, 817 (1980), doi:10.2307/1912934, for errors that are correlated: Conley, J. Econometrics 92, 1 (1999),
doi:10.1016/S0304-4076(98)00084-0). What is wrong with starts beyond their modes is not in it, so starts are few: stretches are as long as half
the movie, which short ones approach, and the first frames, which a denoiser knows least, are left out. Law and k(x,y): Zhao et al., Nature 621, 289 (2023), doi:10.1038/s41586-023-06393-x.
"""

from dataclasses import dataclass, replace
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from phdenoise.learn.correlated_errors import correlated_information
from phdenoise.learn.gauss_newton import (
    Minimum,
    Normal,
    Objective,
    Stopping,
    descend,
    half_square,
    inverse,
    jacobian,
    newton_decrement,
    normal_equations,
    with_prior,
)
from phdenoise.learn.particle_data import (
    ParticleData,
    ParticleFitConfig,
    particle_data,
    prior_of_law,
)
from phdenoise.learn.particle_summary import law_curves, law_parameters, outcome
from phdenoise.learn.result import Parameter, plain_law
from phdenoise.physics.equations.reaction import AllenCahnReaction, ConstantCurrent
from phdenoise.physics.free_energies.redlich_kister import RedlichKister
from phdenoise.physics.kinetics import ExchangeCurrent, SymmetricButlerVolmer
from phdenoise.physics.particle import Heterogeneity
from phdenoise.physics.simulate import simulate
from phdenoise.physics.steppers.rkc2 import RKC2
from phdenoise.types import Steps

# Distance from 0 and 1 that starts keep [lithium fraction]: there the law's logarithms are exact.
_START_MARGIN = 2e-3
# Length of a stretch [frames] above which shorter ones, of this length, come first, and Jacobians on those: from far away a long
# stretch ends elsewhere than the measured one.
NEAR_FRAMES, NEAR_JACOBIANS = 14, 6
# Promised decrease of the cost [½ χ²] at which the fit has converged: 0.6 posterior standard deviations.
WORTHWHILE_DECREASE = 0.2


class _Static(NamedTuple):
    """What is fixed when functions are compiled."""

    terms: int
    substeps: int
    stages: int


@dataclass(frozen=True)
class ParticleFit:
    """A fitted law.

    Attributes:
        outcome: one sentence.
        converged: whether the optimiser met its tolerance.
        parameters: of μ_h, j₀, κ and k₀, with sd and unit.
        curves: c; mu_h (relative to c = ½), j0 (times k₀), each with _sd, _low and _high (90 %).
        rate: k(x,y) over its geometric mean [y, x], nan outside the particle.
        rate_sd: of its logarithm [y, x].
        frames: what the law predicts for the frames that follow a start, where something was measured; nan elsewhere [t, y, x].
        frames_sd: of it, by the law and by the modes in which starts are corrected; finer errors of starts are not in it.
        statistics: chi2_per_dof, explained_variance, inflation of the errors by their correlation, k_uniformity.
        theta, covariance: raw.
    """

    outcome: str
    converged: bool
    parameters: tuple[Parameter, ...]
    curves: dict[str, np.ndarray]
    rate: np.ndarray
    rate_sd: np.ndarray
    frames: np.ndarray
    frames_sd: np.ndarray
    statistics: dict[str, float]
    theta: np.ndarray
    covariance: np.ndarray

    def to_dict(self) -> dict[str, Any]:
        """Plain values, without images."""
        return plain_law(self)


def fit_particle(
    frames: Float[np.ndarray, "t y x"],
    sd: Float[np.ndarray, "t y x"],
    mask: Bool[np.ndarray, "y x"],
    times: Float[np.ndarray, " t"],
    config: ParticleFitConfig | None = None,
    *,
    starts: tuple[Float[np.ndarray, "t y x"], Float[np.ndarray, "t y x"]] | None = None,
    time_unit: str = "frame",
    progress: Steps | None = None,
) -> ParticleFit:
    """Find μ_h, j₀, κ and k(x,y).

    Args:
        frames: lithium fraction; nan where it was not measured.
        sd: of each value; infinite or nan where it was not measured.
        mask: the particle.
        times: of the frames [time_unit].
        config: see `ParticleFitConfig`.
        starts: movie that stretches start from and its sd, by default `frames` and `sd`; the denoised one, where `frames`
            is measured.
        time_unit: for the units of the result.
        progress: called with (iteration, iterations, cost).

    Returns:
        The fit.

    Raises:
        InputError: shapes that do not fit, fewer frames than a stretch needs, or a particle that does not fill or empty.
    """
    config = ParticleFitConfig() if config is None else config
    cut = partial(particle_data, frames, sd, mask, times, *(starts or (frames, sd)))
    data, places = cut(config)
    static = _Static(config.terms, config.substeps, config.stages)
    law, few = None, min(NEAR_JACOBIANS, config.iterations)
    if data.frames.shape[1] > NEAR_FRAMES:
        # From far away a long stretch ends elsewhere than the measured one.
        near = cut(replace(config, window=NEAR_FRAMES))[0]
        law = _descend(near, config, static, None, few, 5.0, progress)[0].point
    found, x0, sds, p = _descend(
        data, config, static, law, config.iterations, WORTHWHILE_DECREASE, progress
    )
    x = found.point
    value, rows = _linearised(x, data, static, p)
    here = with_prior(_assembled(value, rows, p), x, x0, sds)
    seen = np.asarray(data.roots) > 0
    bread = inverse(here.hessian)
    pieces, inflation = correlated_information(value, rows, seen)
    meat = np.diag(sds**-2.0)
    for w, piece in enumerate(pieces):
        own = _own(w, p, rows.shape[0])
        meat[np.ix_(own, own)] += piece
    full = bread @ meat @ bread
    theta, covariance = x[:p], full[:p, :p]
    movie = np.full((2, *frames.shape), np.nan)
    for w, place in enumerate(places):
        _predict(movie, place, _stretch(data, w), value[w], rows[:, w], full, _own(w, p, len(rows)))
    statistics = {
        "chi2_per_dof": float((value.astype(float) ** 2).sum() / max(seen.sum() - x.size, 1)),
        "explained_variance": _explained(value.astype(float), data, seen),
        "inflation": inflation,
        "current": float(data.rate),
        "away": newton_decrement(here),
    }
    log_k, rate_sd = _log_rate(theta, covariance, data, config.modes)
    return ParticleFit(
        outcome=outcome(found.message, found.converged, statistics),
        converged=found.converged,
        parameters=law_parameters(theta, covariance, config, time_unit),
        curves=law_curves(theta, covariance, config.terms),
        rate=np.where(mask, np.exp(log_k), np.nan),
        rate_sd=np.where(mask, rate_sd, np.nan),
        frames=movie[0],
        frames_sd=movie[1],
        statistics=statistics,
        theta=theta,
        covariance=covariance,
    )


def _descend(
    data: ParticleData,
    config: ParticleFitConfig,
    static: _Static,
    law: np.ndarray | None,
    iterations: int,
    resolution: float,
    progress: Steps | None,
) -> tuple[Minimum, np.ndarray, np.ndarray, int]:
    """Minimum from a law (a priori's if None; what follows it in x is not used), prior mean and sd of x, and the law's size."""
    start, prior = prior_of_law(config, float(data.rate))
    p, extra = start.size, data.starts.shape[0] * data.start_modes.shape[0]
    x0, sds = np.r_[start, np.zeros(extra)], np.r_[prior, np.ones(extra)]
    begin = x0 if law is None else np.r_[law[:p], np.zeros(extra)]

    def normal(x: np.ndarray) -> Normal:
        value, rows = _linearised(x, data, static, p)
        return with_prior(_assembled(value, rows, p), x, x0, sds)

    def cost(x: np.ndarray) -> float:
        pull = (x - x0) / sds
        return half_square(_residual(jnp.asarray(x, jnp.float32), data, static)) + 0.5 * float(pull @ pull)  # fmt: skip

    found = descend(
        Objective(normal, cost), lambda x, step: x + np.clip(step, -3 * sds, 3 * sds), begin,
        Stopping(iterations, 0.0, resolution, 1e-7), damping=1e-2, metric=1 / sds**2,
        progress=progress,
    )  # fmt: skip
    return found, x0, sds, p


def law_of(theta: Array, data: ParticleData, terms: int) -> AllenCahnReaction:
    """The model of θ = (L₀ …, a, b, ln κ, ln k₀, z₁ …).

    Args:
        theta: raw vector [p].
        data: the movie, with the modes of k.
        terms: number of Redlich-Kister terms.

    Returns:
        The law.
    """
    a, b, log_kappa, log_scale = (theta[terms + i] for i in range(4))
    exchange = ExchangeCurrent(a, b)
    return AllenCahnReaction(
        RedlichKister(theta[:terms]),
        SymmetricButlerVolmer(exchange),
        ConstantCurrent(data.rate),
        jnp.exp(log_kappa),
        Heterogeneity(theta[terms + 4 :], data.modes, jnp.exp(log_scale)),
    )


@partial(jax.jit, static_argnames="static")
def _residual(x: Array, data: ParticleData, static: _Static) -> Array:
    """√w (prediction − measurement) [w, l, y, x]."""
    count, waves = data.starts.shape[0], data.start_modes.shape[0]
    p = x.size - count * waves
    model = law_of(x[:p], data, static.terms)
    shifts = x[p:].reshape(count, waves)
    begin = data.starts + jnp.tensordot(shifts, data.start_modes, axes=1)
    begin = jnp.clip(begin, _START_MARGIN, 1 - _START_MARGIN)

    def run(c0: Array, times: Array) -> Array:
        path = simulate(model, data.grid, c0, times, substeps=static.substeps,
                        stepper=RKC2(static.stages), checkpoint=False, uniform=False)  # fmt: skip
        return path[1:]

    return data.roots * (jax.vmap(run)(begin, data.times) - data.frames)


@partial(jax.jit, static_argnames=("static", "p"))
def _jacobian(x: Array, data: ParticleData, static: _Static, p: int) -> tuple[Array, Array]:
    """Residual, and its derivative by θ and by one coefficient of all starts at a time."""
    count, waves = data.starts.shape[0], data.start_modes.shape[0]

    def together(y: Array) -> Array:
        start = x[p:].reshape(count, waves) + y[None, p:]
        return _residual(jnp.concatenate([y[:p], start.ravel()]), data, static)

    return jacobian(together, jnp.concatenate([x[:p], jnp.zeros(waves, x.dtype)]))


def _linearised(
    x: np.ndarray, data: ParticleData, static: _Static, p: int
) -> tuple[np.ndarray, np.ndarray]:
    """Residual [w, l, y, x] and its derivative by θ and by each stretch's own start [p + m, w, l, y, x]."""
    value, rows = (np.asarray(a) for a in _jacobian(jnp.asarray(x, jnp.float32), data, static, p))
    return value, rows.reshape(-1, *value.shape)


def _own(stretch: int, p: int, rows: int) -> np.ndarray:
    """Places in x of the law and of one stretch's start."""
    waves = rows - p
    return np.r_[0:p, p + stretch * waves : p + (stretch + 1) * waves]


def _log_rate(
    theta: np.ndarray, covariance: np.ndarray, data: ParticleData, count: int
) -> tuple[np.ndarray, np.ndarray]:
    """ln k and its sd [y, x], from the last `count` numbers of θ."""
    modes = np.asarray(data.modes, float)
    z = slice(theta.size - count, theta.size)
    variance = np.einsum("ayx,ab,byx->yx", modes, covariance[z, z], modes)
    return np.tensordot(theta[z], modes, axes=1), np.sqrt(variance)


def _stretch(data: ParticleData, w: int) -> tuple[np.ndarray, np.ndarray]:
    """Frames and roots of one stretch [l, y, x]."""
    return np.asarray(data.frames)[w], np.asarray(data.roots)[w]


def _predict(
    movie: np.ndarray,
    place: int,
    stretch: tuple[np.ndarray, np.ndarray],
    value: np.ndarray,
    rows: np.ndarray,
    covariance: np.ndarray,
    own: np.ndarray,
) -> None:
    """Write what the law predicts for one stretch, and its sd, into the movie [2, t, y, x] where something was measured."""
    frames, roots = stretch
    use = roots > 0
    part = rows[:, use].astype(float)
    sd = np.sqrt(np.einsum("pn,pn->n", part, covariance[np.ix_(own, own)] @ part))
    frame, *pixel = np.nonzero(use)
    at = (frame + place + 1, *pixel)
    movie[0][at] = frames[use] + value[use] / roots[use]
    movie[1][at] = sd / roots[use]


def _assembled(value: np.ndarray, rows: np.ndarray, p: int) -> Normal:
    """Normal equations of x: a stretch feels the law and its own start only."""
    stretches = value.shape[0]
    size = p + stretches * (rows.shape[0] - p)
    cost, gradient, hessian = 0.0, np.zeros(size), np.zeros((size, size))
    for w in range(stretches):
        part = normal_equations(value[w].ravel(), rows[:, w].reshape(rows.shape[0], -1))
        own = _own(w, p, rows.shape[0])
        cost += part.cost
        gradient[own] += part.gradient
        hessian[np.ix_(own, own)] += part.hessian
    return Normal(cost, gradient, hessian)


def _explained(value: np.ndarray, data: ParticleData, seen: np.ndarray) -> float:
    """Share of the change within stretches, beyond the noise, that the law accounts for."""
    roots = np.asarray(data.roots, float)
    still = roots * (np.asarray(data.starts, float)[:, None] - np.asarray(data.frames, float))
    n = float(seen.sum())
    return float(1 - max((value**2).sum() - n, 0) / max((still**2).sum() - n, 1e-9))

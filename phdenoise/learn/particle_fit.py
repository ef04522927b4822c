"""The law of a particle that reacts at constant current: μ_h(c), j₀(c), κ and the rate constant k(x,y), from a movie of c.

    ∂c/∂t = k(x,y) j₀(c) [exp(−η/2) − exp(η/2)],  η = μ_h(c) − κ∇²c + V,  V such that d⟨c⟩/dt is the current
    μ_h = ln(c/(1−c)) + Redlich-Kister,   j₀ = c^a (1−c)^b,   k = k₀ exp(Σ zₙ sₙ φₙ)

Multiple shooting: the movie is cut into stretches, each solved from its first frame, all with one law, and compared with the
frames that follow. What is wrong with a first frame is told apart from the law by free coefficients of the slowest modes
of the particle in each stretch (Bock's method; Bock & Plitt 1984, doi:10.1016/S1474-6670(17)61205-9). Gauss-Newton
with forward sensitivities. Errors of neighbouring values go together in space and time, hence the covariance is

    H⁻¹ ( Σ_Δ ρ(Δ) J(r)ᵀ J(r + Δ) ) H⁻¹,    ρ the autocorrelation of the residual

(White, Econometrica 48, 817 (1980), doi:10.2307/1912934, for errors that are correlated: Conley, J. Econometrics 92, 1 (1999),
doi:10.1016/S0304-4076(98)00084-0). Law and k(x,y): Zhao et al., Nature 621, 289 (2023), doi:10.1038/s41586-023-06393-x.
"""

from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from phdenoise.grid import Grid
from phdenoise.learn.gauss_newton import (
    Normal,
    away,
    descend,
    half_square,
    jacobian,
    normal_equations,
    with_prior,
)
from phdenoise.learn.result import Parameter
from phdenoise.physics.free_energy import logit
from phdenoise.physics.kinetics import ExchangeCurrent, SymmetricButlerVolmer
from phdenoise.physics.particle import Heterogeneity, mask_modes, smooth_prior
from phdenoise.physics.reaction import AllenCahnReaction, ConstantCurrent
from phdenoise.physics.redlich_kister import RedlichKister
from phdenoise.physics.rkc import RKC2
from phdenoise.physics.simulate import simulate
from phdenoise.types import InputError, Steps

POINTS = 97
# Starts are kept where the law's logarithms are exact [lithium fraction].
_EDGE = 2e-3
# Lags of the residual's autocorrelation (frames, rows, columns).
_LAGS = (3, 6, 6)


@dataclass(frozen=True)
class ParticleFitConfig:
    """How to fit the law of a particle."""

    modes: int = 40
    """Modes of the particle in which ln k varies."""
    length: float = 8.0
    """Length over which ln k is smooth a priori [px]."""
    spread: float = 0.5
    """Standard deviation of ln k over the particle a priori."""
    terms: int = 2
    """Redlich-Kister terms of the potential; 1 is a regular solution."""
    window: int = 7
    """Frames that are predicted from each start."""
    start_modes: int = 0
    """Modes in which the first frame of each stretch is corrected, besides its mean; 0 for none."""
    iterations: int = 15
    """Gauss-Newton steps at most."""
    substeps: int = 2
    """Steps of the solver in a frame interval."""
    stages: int = 10
    """Stages of a step."""


class ParticleData(eqx.Module):
    """What is fitted; lengths in cells.

    Attributes:
        starts: first frames of the stretches [w, y, x].
        start_modes: in which they may be wrong, times their sd a priori [m, y, x].
        frames, roots: what follows them, and √(1/variance), zero where nothing is to be fitted [w, l, y, x].
        times: of start and frames [w, l + 1].
        rate: d⟨c⟩/dt [1/time].
        modes: sₙ φₙ [n, y, x].
        grid: with the particle's mask.
    """

    starts: Float[Array, "w y x"]
    start_modes: Float[Array, "m y x"]
    frames: Float[Array, "w l y x"]
    roots: Float[Array, "w l y x"]
    times: Float[Array, "w l1"]
    rate: Float[Array, ""]
    modes: Float[Array, "n y x"]
    grid: Grid


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
        frames: what the law predicts for the frames that follow a start, nan elsewhere [t, y, x].
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
    statistics: dict[str, float]
    theta: np.ndarray
    covariance: np.ndarray

    def to_dict(self) -> dict[str, Any]:
        """Plain values, without images."""
        return {
            "outcome": self.outcome,
            "converged": self.converged,
            "parameters": [vars(p) for p in self.parameters],
            "curves": {k: v.tolist() for k, v in self.curves.items()},
            "statistics": self.statistics,
            "theta": self.theta.tolist(),
            "covariance": self.covariance.tolist(),
        }


def fit_particle(
    frames: Float[np.ndarray, "t y x"],
    sd: Float[np.ndarray, "t y x"],
    mask: Bool[np.ndarray, "y x"],
    times: Float[np.ndarray, " t"],
    config: ParticleFitConfig | None = None,
    *,
    starts: Float[np.ndarray, "t y x"] | None = None,
    start_sd: Float[np.ndarray, "t y x"] | None = None,
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
        starts: movie that stretches start from, by default `frames`; the denoised one, where `frames` is measured.
        start_sd: its sd, where starts are to be corrected; by default `sd`.
        time_unit: for the units of the result.
        progress: called with (iteration, iterations, cost).

    Raises:
        InputError: shapes that do not fit, fewer frames than a stretch needs, or a particle that does not fill or empty.
    """
    config = ParticleFitConfig() if config is None else config
    starts = frames if starts is None else starts
    data, places = _data(
        frames, sd, mask, times, starts, sd if start_sd is None else start_sd, config
    )
    static = _Static(config.terms, config.substeps, config.stages)
    start, prior = _prior(config, float(data.rate))
    extra = data.starts.shape[0] * data.start_modes.shape[0]
    x0, sds = np.r_[start, np.zeros(extra)], np.r_[prior, np.ones(extra)]

    def normal(x: np.ndarray) -> Normal:
        value, rows = _rows(x, data, static, start.size)
        return with_prior(normal_equations(value, rows), x, x0, sds)

    def cost(x: np.ndarray) -> float:
        pull = (x - x0) / sds
        return half_square(_residual(jnp.asarray(x, jnp.float32), data, static)) + 0.5 * float(pull @ pull)  # fmt: skip

    found = descend(
        normal, cost, lambda x, step: x + np.clip(step, -3 * sds, 3 * sds), x0,
        iterations=config.iterations, resolution=0.5, damping=1e-2, metric=1 / sds**2, progress=progress,
    )  # fmt: skip
    x = found.point
    value, rows = _rows(x, data, static, start.size)
    here = with_prior(normal_equations(value, rows), x, x0, sds)
    seen = np.asarray(data.roots) > 0
    bread = np.linalg.inv(here.hessian)
    meat, inflation = _correlated(np.asarray(value), rows, seen.shape)
    full = bread @ (meat + np.diag(sds**-2.0)) @ bread
    p = start.size
    theta, covariance = x[:p], full[:p, :p]
    predicted = np.full(frames.shape, np.nan)
    roots = np.where(seen, np.asarray(data.roots), 1)
    model = np.asarray(data.frames) + np.where(seen, np.asarray(value).reshape(seen.shape) / roots, np.nan)  # fmt: skip
    for row, place in zip(model, places, strict=True):
        target = predicted[place + 1 : place + 1 + row.shape[0]]
        predicted[place + 1 : place + 1 + row.shape[0]] = np.where(np.isfinite(row), row, target)
    statistics = {
        "chi2_per_dof": float((np.asarray(value, float) ** 2).sum() / max(seen.sum() - x.size, 1)),
        "explained_variance": _explained(np.asarray(value, float).reshape(seen.shape), data, seen),
        "inflation": inflation,
        "current": float(data.rate),
        "away": away(here),
    }
    modes = np.asarray(data.modes, float)
    z = slice(p - config.modes, p)
    log_k = np.tensordot(theta[z], modes, axes=1)
    spread = np.sqrt(np.einsum("ayx,ab,byx->yx", modes, covariance[z, z], modes))
    curves = _curves(theta, covariance, config.terms)
    return ParticleFit(
        outcome=_outcome(found.message, found.converged, statistics),
        converged=found.converged,
        parameters=_parameters(theta, covariance, config, time_unit),
        curves=curves,
        rate=np.where(mask, np.exp(log_k), np.nan),
        rate_sd=np.where(mask, spread, np.nan),
        frames=predicted,
        statistics=statistics,
        theta=theta,
        covariance=covariance,
    )


def law_of(theta: Array, data: ParticleData, terms: int) -> AllenCahnReaction:
    """The model of θ = (L₀ …, a, b, ln κ, ln k₀, z₁ …)."""
    a, b, log_kappa, log_scale = (theta[terms + i] for i in range(4))
    exchange = ExchangeCurrent(a, b)
    return AllenCahnReaction(
        RedlichKister(theta[:terms]),
        SymmetricButlerVolmer(exchange),
        ConstantCurrent(data.rate),
        jnp.exp(log_kappa),
        Heterogeneity(theta[terms + 4 :], data.modes, jnp.exp(log_scale)),
    )


def uniformity(frames: Float[np.ndarray, "t y x"], mask: Bool[np.ndarray, "y x"]) -> float:
    """UC = 1 − Σ_t √(v_t m(1−m)) / Σ_t m(1−m), m and v the mean and variance of c over the particle; 1 is uniform.

    Zhao et al., Nature 621, 289 (2023), doi:10.1038/s41586-023-06393-x.
    """
    values = np.clip(frames[:, mask], 0, 1)
    m, v = np.nanmean(values, axis=1), np.nanvar(values, axis=1)
    top = m * (1 - m)
    return float(1 - np.sum(np.sqrt(v * top)) / np.sum(top))


@partial(jax.jit, static_argnames="static")
def _residual(x: Array, data: ParticleData, static: _Static) -> Array:
    """√w (prediction − measurement) [w, l, y, x]."""
    count, waves = data.starts.shape[0], data.start_modes.shape[0]
    p = x.size - count * waves
    model = law_of(x[:p], data, static.terms)
    shifts = x[p:].reshape(count, waves)
    begin = data.starts + jnp.tensordot(shifts, data.start_modes, axes=1)
    begin = jnp.clip(begin, _EDGE, 1 - _EDGE)

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


def _rows(
    x: np.ndarray, data: ParticleData, static: _Static, p: int
) -> tuple[np.ndarray, np.ndarray]:
    """Residual [n] and all rows of its Jacobian [p + w m, n]: a stretch feels its own start only."""
    value, rows = (np.asarray(a) for a in _jacobian(jnp.asarray(x, jnp.float32), data, static, p))
    count, waves = data.starts.shape[0], data.start_modes.shape[0]
    if waves == 0:
        return value.ravel(), rows
    own = rows[p:].reshape(waves, count, -1)
    spread = np.zeros((count, waves, *own.shape[1:]), rows.dtype)
    for w in range(count):
        spread[w, :, w] = own[:, w]
    return value.ravel(), np.concatenate([rows[:p], spread.reshape(count * waves, -1)])


def _data(
    frames: np.ndarray,
    sd: np.ndarray,
    mask: np.ndarray,
    times: np.ndarray,
    starts: np.ndarray,
    start_sd: np.ndarray,
    config: ParticleFitConfig,
) -> tuple[ParticleData, list[int]]:
    count = len(frames)
    if frames.ndim != 3 or sd.shape != frames.shape or starts.shape != frames.shape or start_sd.shape != frames.shape or mask.shape != frames.shape[1:]:  # fmt: skip
        raise InputError(
            f"A particle fit needs frames, sd and starts of one shape and a mask of a frame, got {frames.shape}, "
            f"{sd.shape}, {starts.shape} and {mask.shape}."
        )
    if count < 4 or not 1 <= config.window < count:
        raise InputError(
            f"{count} frames cannot be cut into stretches of {config.window + 1}: use a --fit.window between 1 and "
            f"{max(count - 1, 1)}, and 4 frames or more."
        )
    if config.start_modes < 0 or config.terms < 1:
        raise InputError("--fit.terms must be 1 or more, and --fit.start-modes not negative.")
    grid = Grid(mask.shape, 1.0, "no-flux", mask)
    known = np.isfinite(frames) & np.isfinite(sd) & (sd > 0) & mask
    mean = np.array([f[k].mean() if k.any() else np.nan for f, k in zip(frames, known, strict=True)])  # fmt: skip
    good = np.isfinite(mean)
    if good.sum() < 4:
        raise InputError("Fewer than 4 frames of the particle are measured: no law can be fitted.")
    rate, level = np.polyfit(times[good], mean[good], 1)
    left = mean[good] - (level + rate * times[good])
    if not abs(rate) * np.ptp(times) > 0.05:
        raise InputError(
            f"The particle neither fills nor empties: its mean lithium fraction changes by {rate * np.ptp(times):.2g}."
        )
    del left
    length = config.window
    places = list(range(0, count - length, length))
    if places[-1] + length < count - 1:
        places.append(count - 1 - length)
    following = [np.arange(p + 1, p + 1 + length) for p in places]
    roots = np.where(known, 1 / np.where(known, sd, 1), 0)
    cut = np.stack([roots[f] for f in following])
    # Frames that the stretch before has predicted already.
    twice = max(places[-2] + length - places[-1], 0) if len(places) > 1 else 0
    cut[-1, :twice] = 0
    eigen_modes, eigenvalues = mask_modes(grid, max(config.modes, config.start_modes))
    modes = smooth_prior(eigenvalues[: config.modes], length=config.length, sd=config.spread)
    begin = np.where(np.isfinite(starts) & mask, starts, 0.5)
    waves = np.zeros((0, *mask.shape))
    if config.start_modes:
        spread = float(np.sqrt(np.nanmedian(np.where(known, start_sd, np.nan) ** 2)))
        shapes = np.concatenate([mask[None].astype(float), eigen_modes[: config.start_modes]])
        waves = spread / np.sqrt(len(shapes)) * shapes
    single = partial(jnp.asarray, dtype=jnp.float32)
    return ParticleData(
        single(begin[places]),
        single(waves),
        single(np.nan_to_num(np.stack([frames[f] for f in following]))),
        single(cut),
        single(np.stack([times[np.r_[p, f]] for p, f in zip(places, following, strict=True)])),
        single(rate),
        single(modes[:, None, None] * eigen_modes[: config.modes]),
        grid,
    ), places  # fmt: skip


def _prior(config: ParticleFitConfig, rate: float) -> tuple[np.ndarray, np.ndarray]:
    """Start and prior sd of θ: two phases, a transition state that excludes half a site, currents near exchange."""
    start = np.r_[4.0, np.zeros(config.terms - 1), 0.5, 0.5, np.log(2.0), np.log(10 * abs(rate)), np.zeros(config.modes)]  # fmt: skip
    sd = np.r_[2.0, np.full(config.terms - 1, 1.0), 0.5, 0.5, 1.5, 2.0, np.ones(config.modes)]
    return start, sd


def _correlated(
    value: np.ndarray, rows: np.ndarray, shape: tuple[int, ...]
) -> tuple[np.ndarray, float]:
    """Σ_Δ R(Δ) Σ_r J(r)ᵀ J(r + Δ) over frames, rows and columns of each stretch, R the residual's autocovariance.

    In Fourier space, where it is a sum of non-negative terms; and how much larger its diagonal is than that of JᵀJ.
    """
    stretches, *box = shape
    padded = tuple(n + lag for n, lag in zip(box, _LAGS, strict=True))
    axes = (-3, -2, -1)
    residual = value.reshape(shape).astype(float)
    seen = residual != 0
    power = np.sum(np.abs(np.fft.rfftn(residual, padded, axes)) ** 2, axis=0)
    pairs = np.sum(np.abs(np.fft.rfftn(seen.astype(float), padded, axes)) ** 2, axis=0)
    lagged, counted = (np.fft.irfftn(a, padded, axes) for a in (power, pairs))
    covariance = np.where(counted > 0.5, lagged / np.maximum(counted, 0.5), 0)
    taper = np.ones(padded)
    for axis, (n, lag) in enumerate(zip(padded, _LAGS, strict=True)):
        distance = np.minimum(np.arange(n), n - np.arange(n))
        side = [1, 1, 1]
        side[axis] = n
        taper = taper * np.maximum(1 - distance / (lag + 1), 0).reshape(side)
    spectrum = np.maximum(np.fft.rfftn(covariance * taper, axes=axes).real, 0)
    weights = np.full(spectrum.shape[-1], 2.0)
    weights[0] = 1.0
    if padded[-1] % 2 == 0:
        weights[-1] = 1.0
    root = np.sqrt(spectrum * weights / np.prod(padded))
    meat = np.zeros((len(rows), len(rows)))
    plain = np.zeros(len(rows))
    for w in range(stretches):
        part = rows.reshape(len(rows), *shape)[:, w]
        plain += np.sum(part.astype(float) ** 2, axis=(1, 2, 3))
        turned = (np.fft.rfftn(part, padded, axes) * root).reshape(len(rows), -1)
        flat = np.concatenate([turned.real, turned.imag], axis=1)
        meat += flat @ flat.T
    use = plain > 0
    return meat, float(np.median(np.diag(meat)[use] / plain[use]))


def _explained(value: np.ndarray, data: ParticleData, seen: np.ndarray) -> float:
    """Share of the change within stretches, beyond the noise, that the law accounts for."""
    roots = np.asarray(data.roots, float)
    still = roots * (np.asarray(data.starts, float)[:, None] - np.asarray(data.frames, float))
    n = float(seen.sum())
    return float(1 - max((value**2).sum() - n, 0) / max((still**2).sum() - n, 1e-9))


def _curves(theta: np.ndarray, covariance: np.ndarray, terms: int) -> dict[str, np.ndarray]:
    """μ_h relative to c = ½ and k₀ j₀ with first-order sd; the interval of j₀ is that of its logarithm."""
    c = np.linspace(0.02, 0.98, POINTS)
    x = 1 - 2 * c
    n = np.arange(terms)
    slope = x[:, None] ** (n + 1) - 2 * n * (c * (1 - c))[:, None] * x[:, None] ** np.maximum(n - 1, 0)  # fmt: skip
    middle = np.where(n == 1, -0.5, 0.0)
    shape = slope - middle
    mu = np.asarray(logit(jnp.asarray(c), 1e-4)) + shape @ theta[:terms]
    mu_sd = np.sqrt(np.einsum("ca,ab,cb->c", shape, covariance[:terms, :terms], shape))
    rows = np.stack([np.log(c), np.log(1 - c), np.ones_like(c)], axis=1)
    at = [terms, terms + 1, terms + 3]
    log_j = rows @ theta[at]
    log_sd = np.sqrt(np.einsum("ca,ab,cb->c", rows, covariance[np.ix_(at, at)], rows))
    j = np.exp(log_j)
    return {
        "c": c, "mu_h": mu, "mu_h_sd": mu_sd, "mu_h_low": mu - 1.645 * mu_sd, "mu_h_high": mu + 1.645 * mu_sd,
        "j0": j, "j0_sd": j * log_sd, "j0_low": j * np.exp(-1.645 * log_sd), "j0_high": j * np.exp(1.645 * log_sd),
    }  # fmt: skip


def _parameters(
    theta: np.ndarray, covariance: np.ndarray, config: ParticleFitConfig, time_unit: str
) -> tuple[Parameter, ...]:
    sd = np.sqrt(np.diag(covariance))
    t = config.terms
    named = [(f"L_{n}", "kT", n) for n in range(t)] + [("a", "1", t), ("b", "1", t + 1)]
    out = [Parameter(name, float(theta[i]), float(sd[i]), unit) for name, unit, i in named]
    for name, unit, i in (("kappa", "kT px^2", t + 2), ("k_0", f"1/{time_unit}", t + 3)):
        value = float(np.exp(theta[i]))
        out.append(Parameter(name, value, value * float(sd[i]), unit))
    return tuple(out)


def _outcome(message: str, converged: bool, statistics: dict[str, float]) -> str:
    share = 100 * statistics["explained_variance"]
    text = f"{'Converged' if converged else 'Not converged (' + message + ')'}: the law accounts for {share:.1f} % of the change"
    text += f"; misfit {statistics['chi2_per_dof']:.3g} per datum"
    if statistics["inflation"] > 1.2:
        text += f"; errors that go together make variances {statistics['inflation']:.2g} times larger, which is counted"
    return text + "."

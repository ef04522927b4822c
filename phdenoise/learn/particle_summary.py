"""What a fitted law of a particle says: curves, parameters with units, an outcome in words, and how evenly it fills."""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float

from phdenoise.learn.particle_data import ParticleFitConfig
from phdenoise.learn.result import Parameter
from phdenoise.physics.free_energies.regular_solution import logit

# Concentrations of the reported curves: every hundredth from 0.02 to 0.98.
CURVE_POINTS = 97


def uniformity(frames: Float[np.ndarray, "t y x"], mask: Bool[np.ndarray, "y x"]) -> float:
    """UC = 1 − Σ_t √(v_t m(1−m)) / Σ_t m(1−m), m and v the mean and variance of c over the particle; 1 is uniform.

    Zhao et al., Nature 621, 289 (2023), doi:10.1038/s41586-023-06393-x.

    Args:
        frames: concentration [t, y, x].
        mask: the particle [y, x].

    Returns:
        UC, at most 1.
    """
    values = np.clip(frames[:, mask], 0, 1)
    m, v = np.nanmean(values, axis=1), np.nanvar(values, axis=1)
    top = m * (1 - m)
    return float(1 - np.sum(np.sqrt(v * top)) / np.sum(top))


def law_curves(theta: np.ndarray, covariance: np.ndarray, terms: int) -> dict[str, np.ndarray]:
    """μ_h relative to c = ½ and k₀ j₀ with first-order sd; the interval of j₀ is that of its logarithm.

    Args:
        theta: raw vector of the fit.
        covariance: of it.
        terms: number of Redlich-Kister terms.

    Returns:
        Curves by name, each with _sd, _low and _high.
    """
    c = np.linspace(0.02, 0.98, CURVE_POINTS)
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


def law_parameters(
    theta: np.ndarray, covariance: np.ndarray, config: ParticleFitConfig, time_unit: str
) -> tuple[Parameter, ...]:
    """The numbers of a law of a particle.

    Args:
        theta: raw vector of the fit.
        covariance: of the vector.
        config: number of terms.
        time_unit: name of the unit of time.

    Returns:
        L_n [kT], a, b, kappa [kT px²] and k_0 [1/time], with sd.
    """
    sd = np.sqrt(np.diag(covariance))
    t = config.terms
    named = [(f"L_{n}", "kT", n) for n in range(t)] + [("a", "1", t), ("b", "1", t + 1)]
    out = [Parameter(name, float(theta[i]), float(sd[i]), unit) for name, unit, i in named]
    for name, unit, i in (("kappa", "kT px^2", t + 2), ("k_0", f"1/{time_unit}", t + 3)):
        value = float(np.exp(theta[i]))
        out.append(Parameter(name, value, value * float(sd[i]), unit))
    return tuple(out)


def outcome(message: str, converged: bool, statistics: dict[str, float]) -> str:
    """How the fit ended, in one sentence.

    Args:
        message: why the descent ended.
        converged: whether it converged.
        statistics: of the fit.

    Returns:
        The sentence.
    """
    share = 100 * statistics["explained_variance"]
    text = f"{'Converged' if converged else 'Not converged (' + message + ')'}: the law accounts for {share:.1f} % of the change"
    text += f"; misfit {statistics['chi2_per_dof']:.3g} per datum"
    if statistics["inflation"] > 1.2:
        text += f"; errors that go together make variances {statistics['inflation']:.2g} times larger, which is counted"
    return text + "."

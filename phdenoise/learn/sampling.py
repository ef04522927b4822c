"""Laws from the posterior: by resampling the data, or by Hamiltonian Monte Carlo (NUTS, by blackjax).

Resampled fits with a prior centre drawn from the prior are draws from the posterior where the model is linear, and
their data need not be white: Oliver, He & Reynolds 1996 (randomised maximum likelihood); Künsch, Ann. Stat. 17, 1217
(1989), doi:10.1214/aos/1176347265 (blocks). Hoffman & Gelman, JMLR 15, 1593 (2014) (NUTS).
"""

from importlib.util import find_spec
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from phdenoise.learn.gauss_newton import inverse
from phdenoise.learn.posterior_form import LogPosterior
from phdenoise.types import InputError, Steps

# Chains of NUTS: two are the fewest that R-hat can compare.
CHAINS = 2


class Chains(NamedTuple):
    """Laws [n, p], the largest R-hat and the smallest effective sample size of θ, and the share of divergences."""

    laws: Float[np.ndarray, "n p"]
    r_hat: float
    effective: float
    divergent: float


def bootstrap(
    log_posterior: LogPosterior, *, replicates: int, seed: int, progress: Steps | None = None
) -> Float[np.ndarray, "n p"]:
    """Laws of resampled fits; those that fail are left out.

    Args:
        log_posterior: posterior.
        replicates: number of resampled fits.
        seed: of the resampling.
        progress: called with (fit, fits, last number of θ).

    Returns:
        θ of each fit [n, p].
    """
    rng = np.random.default_rng(seed)
    laws = []
    for i in range(replicates):
        law = log_posterior.law(log_posterior.refit(rng))
        if np.isfinite(law).all():
            laws.append(law)
        if progress:
            progress(i + 1, replicates, float(law[-1]))
    return np.array(laws).reshape(-1, log_posterior.family.size)


def require_blackjax() -> None:
    """Say so before the fit if the sampler is not there.

    Raises:
        InputError: blackjax is not installed.
    """
    if find_spec("blackjax") is None:
        raise InputError(
            '--uncertainty nuts needs blackjax, which is not installed: pip install "phdenoise[bayes]", '
            "or choose laplace, profile or bootstrap."
        )


def nuts(
    log_posterior: LogPosterior,
    *,
    samples: int,
    warmup: int,
    seed: int,
    progress: Steps | None = None,
) -> Chains:
    """Laws by two chains of the No-U-Turn sampler, in coordinates in which the Laplace approximation is white.

    The log posterior is divided by the mean ratio of the reported covariance to the curvature's, which is one where
    residuals are white (Pauli, Racugno & Ventura, Stat. Sin. 21, 149 (2011)).

    Args:
        log_posterior: posterior.
        samples: of each chain.
        warmup: steps that adapt the sampler.
        seed: of the chains.
        progress: called with (chain, chains, share of divergences).

    Returns:
        Laws and diagnostics.
    """
    require_blackjax()
    import blackjax

    size = log_posterior.family.size
    covariance = inverse(log_posterior.normal(log_posterior.point).hessian)
    temper = float(
        np.trace(np.linalg.solve(covariance[:size, :size], log_posterior.covariance)) / size
    )
    dtype = jax.tree.leaves(log_posterior.data)[0].dtype
    root = jnp.asarray(np.linalg.cholesky(temper * covariance), dtype)
    centre = jnp.asarray(log_posterior.point, dtype)

    def log_density(white: jax.Array, data: Any) -> jax.Array:
        value = -log_posterior.density(centre + root @ white, data) / temper
        return jnp.where(jnp.isfinite(value), value, -1e30)

    @jax.jit
    def chain(key: jax.Array, data: Any) -> tuple[jax.Array, jax.Array]:
        begin, adapt, draw = jax.random.split(key, 3)
        place = 0.5 * jax.random.normal(begin, centre.shape, dtype)

        def density(white: jax.Array) -> jax.Array:
            return log_density(white, data)

        warm = blackjax.window_adaptation(blackjax.nuts, density, initial_step_size=0.3)
        (state, parameters), _ = warm.run(adapt, place, num_steps=warmup)
        kernel = blackjax.nuts(density, **parameters)

        def step(state: Any, key: jax.Array) -> tuple[Any, tuple[jax.Array, jax.Array]]:
            state, info = kernel.step(key, state)
            return state, (state.position, info.is_divergent)

        _, (places, divergent) = jax.lax.scan(step, state, jax.random.split(draw, samples))
        return places, divergent

    found, wrong = [], []
    for i, key in enumerate(jax.random.split(jax.random.key(seed), CHAINS)):
        places, divergent = chain(key, log_posterior.data)
        found.append(np.asarray(places, float))
        wrong.append(float(np.mean(np.asarray(divergent))))
        if progress:
            progress(i + 1, CHAINS, wrong[-1])
    white = np.stack(found)
    laws = (log_posterior.point + white @ np.asarray(root, float).T)[..., :size]
    r_hat = float(np.max(blackjax.diagnostics.potential_scale_reduction(jnp.asarray(laws))))
    effective = float(np.min(blackjax.diagnostics.effective_sample_size(jnp.asarray(laws))))
    return Chains(laws.reshape(-1, size), r_hat, effective, float(np.mean(wrong)))

"""Terms whose mean is the mean squared error of a denoiser, from its noisy movie alone: SURE and PURE.

    Gaussian, variance σ²:             SURE = ⟨(f − y)²⟩ − σ² + 2 σ² ⟨∂f/∂y⟩
    correlated, covariance C:          SURE = ⟨(f − y)²⟩ − ⟨C_ii⟩ + 2 tr(C ∂f/∂y)/N
    Poisson-Gaussian, v = g y + σ²:    PURE = ⟨(f − y)²⟩ − ⟨v⟩ + 2 ⟨v ∂f/∂y⟩ − g ⟨(g y + 2 σ²) ∂²f/∂y²⟩

Averaged over the noise both are ⟨(f(y) − x)²⟩. Derivatives are each pixel's own. PURE is to second order in the step g
of one count: exact for linear f, 1 % high or low at 10 counts for a bilateral filter, 10 % at 2. The diagonals are means over random
probes b: ⟨v ∂f/∂y⟩ = E ⟨v b (∂f/∂y) b⟩ for E b bᵀ = 1, and, for b of third moment one, ⟨c ∂²f/∂y²⟩ = E ⟨c b (∂²f/∂y²)[b, b]⟩.
Stein, Ann. Stat. 9, 1135 (1981), doi:10.1214/aos/1176345632; Ramani, Blu and Unser, IEEE Trans. Image Process. 17,
1540 (2008), doi:10.1109/TIP.2008.2001404; Luisier, Blu and Unser, ibid. 20, 696 (2011), doi:10.1109/TIP.2010.2073477;
Le Montagner, Angelini and Olivo-Marin, ibid. 23, 1255 (2014), doi:10.1109/TIP.2014.2300821.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from phdenoise.types import InputError

Denoise = Callable[[Array], Array]


def sure_terms(
    denoise: Denoise,
    noisy: Float[Array, "t y x"],
    variance: Float[Array, "t y x"],
    probe: Float[Array, "t y x"],
    step: float | None,
) -> Float[Array, "t y x"]:
    """Each pixel's term of Stein's estimate [intensity²].

    Args:
        denoise: movie to movie of the same shape.
        noisy: measured movie, finite.
        variance: of its noise [intensity²].
        probe: random, of unit variance and the correlation of the noise.
        step: None differentiates `denoise`; otherwise central differences of this size [noise sd].

    Returns:
        Terms whose mean is the estimate.

    Raises:
        InputError: an output of another shape.
    """
    probe = jnp.sqrt(variance) * probe
    out, slope, _ = _along(denoise, noisy, probe, step)
    return (out - noisy) ** 2 - variance + 2 * probe * slope


def pure_terms(
    denoise: Denoise,
    noisy: Float[Array, "t y x"],
    counting: Float[Array, "t y x"],
    gain: Float[Array, ""],
    read_sigma: Float[Array, ""],
    key: PRNGKeyArray,
    *,
    step: float | None,
    curvature: bool,
) -> Float[Array, "t y x"]:
    """Each pixel's term of the estimate for Poisson-Gaussian noise [intensity²].

    Args:
        denoise: movie to movie of the same shape.
        noisy: measured movie, finite.
        counting: gain · (y − offset), not clipped at zero: its mean must be the variance, also where read noise
            makes counts negative [intensity²].
        gain: intensity of one count.
        read_sigma: standard deviation of the read noise [intensity].
        key: of the random probes.
        step: None differentiates `denoise`; otherwise central differences of this size [noise sd at the mean].
        curvature: include the second derivative: without it the estimate of a curved denoiser is too high at low
            counts. Automatic differentiation does not see the bends of a piecewise linear network; steps do.

    Returns:
        Terms whose mean is the estimate.

    Raises:
        InputError: an output of another shape.
    """
    dtype = noisy.dtype
    variance = counting + read_sigma**2
    unit = jnp.sqrt(jnp.maximum(jnp.mean(variance), jnp.finfo(dtype).tiny))
    first, second = jax.random.split(key)
    probe = jax.random.rademacher(first, noisy.shape, dtype)
    out, slope, _ = _along(denoise, noisy, unit * probe, step)
    terms = (out - noisy) ** 2 - variance + 2 * variance / unit * probe * slope
    if curvature:
        skewed = _skewed(second, noisy)
        bend = _along(denoise, noisy, unit * skewed, step)[2]
        terms = terms - gain * (counting + 2 * read_sigma**2) / unit**2 * skewed * bend
    return terms


def _along(
    denoise: Denoise, noisy: Array, direction: Array, step: float | None
) -> tuple[Array, Array, Array]:
    """Output, and its first and second derivative along a direction."""
    if step is None:

        def slope(y: Array) -> tuple[Array, Array]:
            return jax.jvp(denoise, (y,), (direction,))

        (out, first), (_, second) = jax.jvp(slope, (noisy,), (direction,))
    else:
        out, above, below = (
            jnp.asarray(denoise(y), noisy.dtype)
            for y in (noisy, noisy + step * direction, noisy - step * direction)
        )
        first, second = (above - below) / (2 * step), (above - 2 * out + below) / step**2
    if out.shape != noisy.shape:
        raise InputError(f"The denoiser made {out.shape} of {noisy.shape}: both must be equal.")
    return out, first, second


def _skewed(key: PRNGKeyArray, like: Array) -> Array:
    """Independent values of mean 0, variance 1 and third moment 1: two-valued, golden."""
    golden = (1 + 5**0.5) / 2
    # Values φ and −1/φ; mean zero asks for the chance of φ to be 1/(φ² + 1).
    high = jax.random.bernoulli(key, 1 / (golden**2 + 1), like.shape)
    return jnp.where(high, golden, -1 / golden).astype(like.dtype)

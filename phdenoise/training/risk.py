"""The mean squared error of any denoiser from its noisy movie alone: SURE and PURE.

The terms are methods of the noise model (`phdenoise.noise.models.risk_terms`, with the equations and the papers);
here is their mean, with its standard deviation.
"""

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, PRNGKeyArray

from phdenoise.noise.models.risk_terms import Denoise
from phdenoise.types import InputError, NoiseModel, Scalar

# Side of the blocks whose scatter gives the standard deviation [px]; wider than noise and denoisers usually correlate.
_BLOCK = 16


class Risk(NamedTuple):
    """Estimated mean squared error and its standard deviation [intensity²].

    The standard deviation is that of means over 16x16 blocks; it contains the error's own variation over the movie.
    """

    value: Scalar
    sd: Scalar


def sure(
    denoise: Denoise,
    noisy: Float[Array, "t y x"],
    noise: NoiseModel,
    key: PRNGKeyArray,
    *,
    step: float | None = None,
    valid: Bool[Array, "t y x"] | None = None,
) -> Risk:
    """Stein's unbiased estimate of ⟨(denoise(y) − x)²⟩ under Gaussian noise, white or correlated.

    Args:
        denoise: movie to movie of the same shape; everything it does with `noisy` must happen inside.
        noisy: measured movie, finite.
        noise: its noise. A variance that depends on the intensity is taken at the measured value.
        key: of the random probe.
        step: None differentiates `denoise` (a JAX function; the estimate is then differentiable too);
            otherwise central differences of this size [noise sd], for any function.
        valid: pixels to average over; default all.

    Returns:
        The risk and its standard deviation.

    Raises:
        InputError: noise that is not Gaussian, or an output of another shape.
    """
    if noise.risk != "sure":
        raise InputError(
            f"SURE is for Gaussian noise, not {type(noise).__name__}: use pure for counts."
        )
    return mean_risk(noise.risk_terms(denoise, noisy, key, step=step), valid)


def pure(
    denoise: Denoise,
    noisy: Float[Array, "t y x"],
    noise: NoiseModel,
    key: PRNGKeyArray,
    *,
    step: float | None = None,
    curvature: bool = True,
    valid: Bool[Array, "t y x"] | None = None,
) -> Risk:
    """Unbiased estimate of ⟨(denoise(y) − x)²⟩ under Poisson or Poisson-Gaussian noise.

    Args:
        denoise, noisy, key, valid: see `sure`.
        noise: gain, offset and read noise.
        step: None differentiates; otherwise central differences of this size [noise sd at the mean].
        curvature: include the second derivative: without it the estimate of a curved denoiser is too high at low
            counts. Automatic differentiation gives no curvature of a piecewise linear network; steps do.

    Returns:
        The risk and its standard deviation.

    Raises:
        InputError: noise that is neither, or an output of another shape.
    """
    if noise.risk != "pure":
        raise InputError(
            f"PURE is for counting noise, not {type(noise).__name__}: use sure for Gaussian noise."
        )
    terms = noise.risk_terms(denoise, noisy, key, step=step, curvature=curvature)
    return mean_risk(terms, valid)


def mean_risk(terms: Float[Array, "t y x"], valid: Bool[Array, "t y x"] | None = None) -> Risk:
    """Mean of terms over valid pixels, and its standard deviation.

    Args:
        terms: of `sure_terms` or `pure_terms`.
        valid: pixels to average over; default all.

    Returns:
        Both.
    """
    weight = jnp.ones_like(terms) if valid is None else valid.astype(terms.dtype)
    terms = jnp.where(weight > 0, terms, 0)
    total = jnp.maximum(weight.sum(), 1)
    value = terms.sum() / total
    sums, weights = (_blocks(a) for a in ((terms - value) * weight, weight))
    # Deviation of a ratio of sums of independent blocks.
    return Risk(value, jnp.sqrt(jnp.sum(sums**2)) / jnp.maximum(weights.sum(), 1))


def _blocks(values: Array) -> Array:
    """Sums over blocks of 16x16 pixels of each frame, the last ones smaller."""
    t, ny, nx = values.shape
    padded = jnp.pad(values, ((0, 0), (0, -ny % _BLOCK), (0, -nx % _BLOCK)))
    return padded.reshape(t, -(-ny // _BLOCK), _BLOCK, -(-nx // _BLOCK), _BLOCK).sum((2, 4))

"""How far an estimate is from a known truth: rms error, PSNR and SSIM.

    PSNR = 10 log10(R² / mean (estimate − truth)²)
    SSIM = (2 μ_a μ_b + C1)(2 σ_ab + C2) / ((μ_a² + μ_b² + C1)(σ_a² + σ_b² + C2))

Both compare what they are given: no rescaling, no clipping. Wang, Bovik, Sheikh and Simoncelli,
IEEE Trans. Image Process. 13, 600 (2004), doi:10.1109/TIP.2003.819861.
"""

from functools import reduce

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from phdenoise.types import InputError

Real = Float[Array | np.ndarray, "..."]
Valid = Bool[Array | np.ndarray, "..."]

# Wang 2004: Gaussian window of this standard deviation [px], cut at this radius [px], and the constants K1 and K2 [data range]
# that keep the ratios finite.
_WINDOW_RADIUS, _WINDOW_SD, _K1, _K2 = 5, 1.5, 0.01, 0.03


def rmse(estimate: Real, truth: Real, valid: Valid | None = None) -> Float[Array, ""]:
    """Root of the mean squared difference.

    Args:
        estimate, truth: arrays of one shape [any unit].
        valid: True where pixels count; None means everywhere.

    Returns:
        Error in the unit of the data; NaN if no pixel is valid.

    Raises:
        InputError: if the shapes differ.
    """
    estimate, truth = same_shape("estimate", estimate, "truth", truth)
    squared = (estimate - truth) ** 2
    if valid is None:
        return jnp.sqrt(jnp.mean(squared))
    valid = same_shape("valid", valid, "truth", truth)[0]
    return jnp.sqrt(jnp.sum(jnp.where(valid, squared, 0)) / jnp.sum(valid))


def psnr(
    estimate: Real, truth: Real, data_range: float = 1.0, valid: Valid | None = None
) -> Float[Array, ""]:
    """Peak signal-to-noise ratio of the whole movie, 10 log10(R² / MSE).

    Args:
        estimate, truth: arrays of one shape [any unit].
        data_range: R, the span of the clean data [same unit].
        valid: True where pixels count; None means everywhere.

    Returns:
        PSNR [dB]; +inf for identical arrays.

    Raises:
        InputError: if the shapes differ.
    """
    return 20 * jnp.log10(data_range / rmse(estimate, truth, valid))


def ssim(
    estimate: Float[Array | np.ndarray, "*t y x"], truth: Real, data_range: float = 1.0
) -> Float[Array, ""]:
    """Mean structural similarity of the frames, with the Gaussian window of Wang et al.

    Windows that would leave the frame are not used, as in the authors' code.

    Args:
        estimate, truth: [t, y, x] or [y, x], at least 11 px on a side.
        data_range: span of the clean data [unit of the data].

    Returns:
        SSIM averaged over windows and frames, at most 1.

    Raises:
        InputError: if the shapes differ or a frame is smaller than the window.
    """
    a, b = same_shape("estimate", estimate, "truth", truth)
    if min(a.shape[-2:]) < 2 * _WINDOW_RADIUS + 1:
        raise InputError(f"SSIM needs frames of at least 11 x 11 pixels, got {a.shape[-2:]}.")
    # Variances from deviations: in float32, E[x²] − E[x]² of counts in the thousands is noise.
    centre = jnp.mean(b)
    a, b = a - centre, b - centre
    mean_a, mean_b = _window_mean(a), _window_mean(b)
    var_a = _window_mean(a * a) - mean_a**2
    var_b = _window_mean(b * b) - mean_b**2
    cov = _window_mean(a * b) - mean_a * mean_b
    mean_a, mean_b = mean_a + centre, mean_b + centre
    c1, c2 = (_K1 * data_range) ** 2, (_K2 * data_range) ** 2
    luminance = (2 * mean_a * mean_b + c1) / (mean_a**2 + mean_b**2 + c1)
    return jnp.mean(luminance * (2 * cov + c2) / (var_a + var_b + c2))


def same_shape(
    name_a: str, a: Array | np.ndarray, name_b: str, b: Array | np.ndarray
) -> tuple[Array, Array]:
    """Both as JAX arrays, after checking that no subtraction would broadcast.

    Args:
        name_a, a: an array, and its name for the error.
        name_b, b: another one.

    Returns:
        The two arrays.

    Raises:
        InputError: if the shapes differ.
    """
    if a.shape != b.shape:
        raise InputError(
            f"{name_a} has shape {a.shape} but {name_b} has {b.shape}: give arrays of one shape."
        )
    return jnp.asarray(a), jnp.asarray(b)


@jax.jit
def _window_mean(a: Array) -> Array:
    """Gaussian-weighted mean over 11 x 11 windows inside the frame, separably."""
    offsets = np.arange(-_WINDOW_RADIUS, _WINDOW_RADIUS + 1)
    weights = np.exp(-0.5 * (offsets / _WINDOW_SD) ** 2)
    weights = weights / weights.sum()
    for axis in (-2, -1):
        n = a.shape[axis] - 2 * _WINDOW_RADIUS
        rows = [jax.lax.slice_in_dim(a, i, i + n, axis=axis) for i in range(2 * _WINDOW_RADIUS + 1)]
        a = reduce(jnp.add, (float(w) * r for w, r in zip(weights, rows, strict=True)))
    return a

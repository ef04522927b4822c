"""Error of a denoised movie without ground truth: unsupervised MSE and PSNR.

    uMSE = mean[ (a − f)² − (b − c)²/2 ]

a, b, c are noisy copies of the scene whose noise the estimate f has not seen; a − f contains the
error of f plus one noise variance, (b − c)²/2 is that noise variance. Copies come from repeats,
from the four pixels of 2 x 2 blocks, or from neighbouring frames. Marcos-Morales et al., ICML 2023,
arXiv:2210.05553; the own-weight term is Stein's covariance, doi:10.1214/aos/1176345632.
"""

import math
from collections.abc import Callable
from functools import partial
from itertools import permutations
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from phdenoise.metrics.fidelity import Real, Valid, same_shape
from phdenoise.types import InputError

# Correlation of the noise of neighbouring copies, and bias as a share of the error, above which a caution is given [1].
_LARGEST_CORRELATION, _LARGEST_BIAS = 0.1, 0.2
# Standard deviations of the one-sided 95 % bound of a normal distribution.
_ONE_SIDED_95 = 1.64
# Share of the squared range below which no error is stated [1]: 300 dB, far beyond double precision.
_LEAST_SHARE = 1e-30
# Standard deviations below zero at which a squared error says that an assumption is wrong.
_IMPOSSIBLE_DEVIATIONS = 3
# Side of the spatial blocks whose scatter gives the standard error, at most [px].
_BLOCK_SIDE = 8


class UnsupervisedError(NamedTuple):
    """Mean squared error with its doubts, all scalars in the squared unit of the data.

    `bias`: what gradients or motion between the copies add to `mse`, estimated from the denoised
    movie and not subtracted. `correlation`: of the noise of neighbouring copies, which must be 0
    for `mse` to be right; fast motion shows up in it too.
    """

    mse: Array
    sd: Array
    bias: Array
    correlation: Array


class UPSNR(NamedTuple):
    """Unsupervised PSNR with standard deviation [dB], and a sentence if it may mislead."""

    psnr: float
    sd: float
    caution: str

    @property
    def sentence(self) -> str:
        """What to say: the value and its caution, or only why there is no value."""
        value = f"uPSNR {self.psnr:.1f} +- {self.sd:.1f} dB." if math.isfinite(self.psnr) else ""
        return f"{value or 'uPSNR has no value.'} {self.caution}".strip()


def umse(
    estimate: Real, a: Real, b: Real, c: Real, valid: Valid | None = None
) -> UnsupervisedError:
    """Mean squared error of an estimate from three independent noisy copies of its scene.

    Args:
        estimate: f, [t, y, x] or [y, x], made without looking at a, b or c.
        a, b, c: noisy copies of the same shape and unit.
        valid: True where pixels count; None means everywhere.

    Returns:
        The error; its sd is that of the mean over 16 or more spatial blocks, each holding all
        frames, so that errors correlated in time or over a few pixels do not count as independent.

    Raises:
        InputError: if shapes differ.
    """
    f, a = same_shape("estimate", estimate, "a", a)
    b, c = same_shape("b", b, "c", c)
    same_shape("b", b, "estimate", f)
    zero = jnp.zeros((), f.dtype)
    mean, sd = _mean_and_sd((a - f) ** 2 - (b - c) ** 2 / 2, valid)
    return UnsupervisedError(mean, sd, zero, zero)


def block_copies(
    frames: Float[Array | np.ndarray, "t y x"], key: PRNGKeyArray
) -> tuple[Array, Array, Array, Array]:
    """Four copies of the scene at half size: the pixels of each 2 x 2 block in random order.

    Args:
        frames: noisy movie; an odd last row or column is dropped.
        key: random key of the permutations.

    Returns:
        Four arrays [t, y // 2, x // 2].

    Raises:
        InputError: frames smaller than 2 x 2 pixels.
    """
    t, h, w = frames.shape[0], frames.shape[1] // 2, frames.shape[2] // 2
    if h < 1 or w < 1:
        raise InputError(f"2 x 2 blocks need frames of at least 2 x 2 pixels, got {frames.shape}.")
    blocks = jnp.asarray(frames)[:, : 2 * h, : 2 * w].reshape(t, h, 2, w, 2)
    blocks = blocks.transpose(0, 1, 3, 2, 4).reshape(t, h, w, 4)
    orders = np.array(list(permutations(range(4))))
    order = jnp.asarray(orders)[jax.random.randint(key, (t, h, w), 0, len(orders))]
    y, a, b, c = jnp.moveaxis(jnp.take_along_axis(blocks, order, axis=3), 3, 0)
    return y, a, b, c


def umse_blocks(
    denoise: Callable[[Array], Array], frames: Float[Array | np.ndarray, "t y x"], key: PRNGKeyArray
) -> UnsupervisedError:
    """Error of a denoiser measured on one movie at half size, by 2 x 2 block permutations.

    Valid for white noise and scenes that are smooth over two pixels: gradients add
    ⟨|∇x|²⟩/3 (per pixel), reported as `bias`.

    Args:
        denoise: maps a movie [t, y // 2, x // 2] to its estimate of the same shape.
        frames: the noisy movie.
        key: random key of the permutations.

    Returns:
        The error of `denoise`; `correlation` is the noise correlation of horizontal or vertical
        neighbours (the larger), from frame differences; 0 for a single frame, which cannot tell.
    """
    y, a, b, c = block_copies(frames, key)
    f = denoise(y)
    error = umse(f, a, b, c)
    # One step of the half-size image is two pixels of the movie: |∇x|² = (Δf/2)² per direction.
    slope = sum(
        (jnp.mean(jnp.diff(f, axis=i) ** 2) / 4 for i in (1, 2) if f.shape[i] > 1),
        start=jnp.zeros((), f.dtype),
    )
    frames = jnp.asarray(frames)
    noise = jnp.diff(frames, axis=0) if frames.shape[0] > 1 else jnp.zeros_like(frames)
    both = jnp.stack([_correlation(noise, 1), _correlation(noise, 2)])
    return error._replace(bias=slope / 3, correlation=both[jnp.argmax(jnp.abs(both))])


def umse_temporal(
    estimate: Float[Array | np.ndarray, "t y x"],
    frames: Float[Array | np.ndarray, "t1 y1 x1"],
    own_weight: float | Real = 0.0,
    valid: Valid | None = None,
    finest: float | None = None,
) -> UnsupervisedError:
    """Error of a denoised movie measured on the movie itself, for noise independent in time.

        uMSE = mean[ (y_t − f_t)² − (1 − 2w) s_t ],   s_t = (2/3) (y_t − (y_{t−1} + y_{t+1})/2)²

    s is the noise variance, free of any linear change between frames; w = ∂f/∂y is how much the
    estimate uses the pixel's own measurement: 0 for a blind-spot prediction, and the posterior
    variance over the noise variance for its posterior mean. Where the scene moves fast, s is
    measured after a high-pass of the frames, which removes most of the motion.

    Args:
        estimate: f [t, y, x], t >= 3.
        frames: y, the noisy movie that the estimate was made from [t, y, x].
        own_weight: w, a number or [t, y, x].
        valid: True where pixels count, [t, y, x]; a pixel counts if valid in its three frames.
        finest: share of the noise's variance that [[1, -2, 1], [-2, 4, -2], [1, -2, 1]] / 6 keeps, 1 for white noise; frames are
            filtered with it before s is measured, and pixels at their borders do not count. None leaves them as they are.

    Returns:
        The error over frames 2 .. t − 1; `bias` from the curvature in time of the estimate;
        `correlation` of the noise of adjacent frames, 0 for fewer than five frames, which cannot
        tell.

    Raises:
        InputError: if shapes differ or there are fewer than three frames.
    """
    f, y = same_shape("estimate", estimate, "frames", frames)
    if f.shape[0] < 3:
        raise InputError(f"The temporal estimate needs at least 3 frames, got {f.shape[0]}.")
    w = jnp.broadcast_to(jnp.asarray(own_weight, f.dtype), f.shape)[1:-1]
    if valid is not None:
        v = same_shape("valid", valid, "frames", frames)[0]
        y, f = jnp.where(v, y, 0), jnp.where(v, f, 0)
        valid = v[:-2] & v[1:-1] & v[2:]
    left, noisy, smooth = (y - f)[1:-1], y, f
    if finest is not None:
        if min(f.shape[1:]) < 3:
            raise InputError(f"The finest structure needs frames of 3 x 3 pixels, got {f.shape}.")
        noisy, smooth = (_finest(a) / jnp.sqrt(finest) for a in (y, f))
        left, w = left[:, 1:-1, 1:-1], w[:, 1:-1, 1:-1]
        if valid is not None:
            valid = _all_around(valid)
    variance = (2 / 3) * (noisy[1:-1] - (noisy[:-2] + noisy[2:]) / 2) ** 2
    mean, sd = _mean_and_sd(left**2 - (1 - 2 * w) * variance, valid)
    # Motion grows as the fourth power of the step and the noise left in f does not: two frames.
    n = 2 if f.shape[0] >= 5 else 1
    motion = jnp.nanmean((smooth[n:-n] - (smooth[: -2 * n] + smooth[2 * n :]) / 2) ** 2) / n**4
    bias = -(2 / 3) * jnp.mean(1 - 2 * w) * motion
    return UnsupervisedError(mean, sd, bias, _temporal_correlation(noisy))


def _finest(frames: Array) -> Array:
    """Second differences along y and x, of noise of variance one if that of frames is white and of variance one."""
    for axis in (1, 2):
        before, here, after = _in_a_row(frames, axis)
        frames = (before - 2 * here + after) / jnp.sqrt(6.0)
    return frames


def _all_around(valid: Array) -> Array:
    """Where all of 3 x 3 pixels are valid, without the border."""
    for axis in (1, 2):
        before, here, after = _in_a_row(valid, axis)
        valid = before & here & after
    return valid


def _in_a_row(a: Array, axis: int) -> list[Array]:
    """Each pixel's predecessor along an axis, itself and its successor, without the border."""
    n = a.shape[axis] - 2
    return [jax.lax.slice_in_dim(a, k, n + k, axis=axis) for k in range(3)]


def upsnr(error: UnsupervisedError, data_range: float = 1.0) -> UPSNR:
    """Unsupervised PSNR, 10 log10(R² / uMSE), with its sd and the cautions that apply.

    Args:
        error: from `umse`, `umse_blocks` or `umse_temporal`.
        data_range: R [unit of the data].

    Returns:
        Value and sd [dB]; +inf, with a sentence giving the 95 % lower bound, where the error cannot
        be told from zero.
    """
    mse, sd, bias, correlation = (float(v) for v in error)
    least, cautions = _LEAST_SHARE * data_range**2, []
    if abs(correlation) > _LARGEST_CORRELATION:
        cautions.append(
            f"the noise of neighbouring copies looks correlated ({correlation:+.2f}), or the scene "
            "changes fast between them, which this measure assumes is not so"
        )
    if abs(bias) > max(2 * sd, _LARGEST_BIAS * abs(mse)):
        direction = "low" if bias > 0 else "high"
        cautions.append(
            f"gradients or motion in the scene make the PSNR too {direction} "
            f"(squared error off by about {100 * abs(bias) / max(abs(mse), least):.0f} %)"
        )
    if mse <= 0:
        # An error is not negative: what was found below zero does not make the bound tighter.
        bound = 10 * math.log10(data_range**2 / max(_ONE_SIDED_95 * sd, least))
        cautions.insert(
            0, f"the error is below what the noise lets one see (PSNR above {bound:.1f} dB)"
        )
        if mse < -_IMPOSSIBLE_DEVIATIONS * sd:
            cautions.insert(
                0,
                f"the squared error came out {-mse / max(sd, least):.0f} standard deviations below zero, as noise "
                "that is independent between frames does not: this PSNR means little",
            )
        value, spread = math.inf, math.inf
    else:
        value = 10 * math.log10(data_range**2 / mse)
        spread = 10 / math.log(10) * sd / mse
    caution = "Caution: " + "; ".join(cautions) + "." if cautions else ""
    return UPSNR(value, spread, caution)


@jax.jit
def _mean_and_sd(terms: Array, valid: Array | np.ndarray | None) -> tuple[Array, Array]:
    """Mean over valid pixels and its standard error from spatial blocks holding all frames."""
    terms = terms.reshape(-1, *terms.shape[-2:])
    weight = jnp.ones_like(terms)
    if valid is not None:
        weight = jnp.asarray(valid).reshape(terms.shape).astype(terms.dtype)
    terms = jnp.where(weight > 0, terms, 0)
    mean = jnp.sum(terms) / jnp.sum(weight)
    _, h, w = terms.shape
    edge = max(1, min(_BLOCK_SIDE, min(h, w) // 4))
    ny, nx = -(-h // edge), -(-w // edge)

    def block_sums(a: Array) -> Array:
        a = jnp.pad(jnp.sum(a, axis=0), ((0, ny * edge - h), (0, nx * edge - w)))
        return jnp.sum(a.reshape(ny, edge, nx, edge), axis=(1, 3))

    deviation = block_sums(terms) - mean * block_sums(weight)
    n = ny * nx
    spread = jnp.sqrt(jnp.sum(deviation**2) * (n / max(n - 1, 1)))
    return mean, spread / jnp.sum(weight)


@jax.jit
def _temporal_correlation(frames: Array) -> Array:
    """Noise correlation of adjacent frames: second differences over one frame against over two.

    Both have variance (3/2) σ² if the noise is independent in time; neither sees linear motion.
    """
    if frames.shape[0] < 5:
        return jnp.zeros((), frames.dtype)
    one = jnp.nanmean((frames[1:-1] - (frames[:-2] + frames[2:]) / 2) ** 2)
    two = jnp.nanmean((frames[2:-2] - (frames[:-4] + frames[4:]) / 2) ** 2)
    return jnp.where(two > 0, 0.75 * (1 - one / jnp.where(two > 0, two, 1)), 0)


@partial(jax.jit, static_argnums=1)
def _correlation(noise: Array, axis: int) -> Array:
    """Correlation of neighbours along an axis; 0 where there is nothing to correlate."""
    noise = jnp.where(jnp.isfinite(noise), noise, 0)
    noise = noise - jnp.mean(noise)
    n = noise.shape[axis]
    if n < 2:
        return jnp.zeros((), noise.dtype)
    product = jax.lax.slice_in_dim(noise, 0, n - 1, axis=axis) * jax.lax.slice_in_dim(
        noise, 1, n, axis=axis
    )
    power = jnp.mean(noise**2)
    return jnp.where(power > 0, jnp.mean(product) / jnp.where(power > 0, power, 1), 0)

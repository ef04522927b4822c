"""Spatial scales: Fourier ring correlation between two estimates, and the structure factor.

    FRC(q) = Re Σ_{|q|=q} A B* / sqrt( Σ |A|² Σ |B|² ),   resolved up to FRC = 1/7
    S(k) = ⟨|c_k|²⟩_{|k|=k} / N,   L = 2π Σ S / Σ k S

Saxton and Baumeister, J. Microsc. 127, 127 (1982), doi:10.1111/j.1365-2818.1982.tb00405.x;
threshold: Rosenthal and Henderson, J. Mol. Biol. 333, 721 (2003), doi:10.1016/j.jmb.2003.07.013.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from phdenoise.metrics.fidelity import Real, same_shape
from phdenoise.types import InputError

Spacing = float | tuple[float, float]
# Ring correlation of two halves of the data down to which structure counts as resolved; Rosenthal and Henderson 2003.
THRESHOLD = 1 / 7
# Side of the smallest frame whose rings hold enough pixels to correlate [px].
_SMALLEST_SIDE = 8


class RingCorrelation(NamedTuple):
    """`frequency` [cycles / length], `correlation` of each ring, and `resolution` [length]."""

    frequency: Array
    correlation: Array
    resolution: Array


class StructureFactor(NamedTuple):
    """`wavenumber` [rad / length], `power` [t, k] and characteristic `length` [t]."""

    wavenumber: Array
    power: Array
    length: Array


def frc(
    a: Float[Array | np.ndarray, "*t y x"], b: Real, pixel_size: Spacing = 1.0
) -> RingCorrelation:
    """Fourier ring correlation of two independent images or movies of one scene.

    Frames are tapered by a Hann window, so that their edges do not correlate; sums run over frames.

    Args:
        a, b: [t, y, x] or [y, x], one shape; their noise must be independent.
        pixel_size: dy = dx, or (dy, dx) [length].

    Returns:
        Rings of one frequency step each; resolution = 1/q where the correlation first falls below
        1/7 (linear between rings), and two pixels (Nyquist) where it never does.

    Raises:
        InputError: if shapes differ or frames are smaller than 8 px.
    """
    a, b = same_shape("a", a, "b", b)
    if min(a.shape[-2:]) < _SMALLEST_SIDE:
        raise InputError(f"Ring correlation needs frames of at least 8 x 8 px, got {a.shape[-2:]}.")
    a, b = (_tapered(v.reshape(-1, *v.shape[-2:])) for v in (a, b))
    fa, fb = jnp.fft.fft2(a), jnp.fft.fft2(b)
    ring, frequency = _rings(a.shape[-2:], pixel_size)
    n = frequency.shape[0]
    cross = _ring_sum(jnp.sum(jnp.real(fa * jnp.conj(fb)), axis=0), ring, n)
    power_a = _ring_sum(jnp.sum(jnp.abs(fa) ** 2, axis=0), ring, n)
    power_b = _ring_sum(jnp.sum(jnp.abs(fb) ** 2, axis=0), ring, n)
    power = jnp.sqrt(power_a * power_b)
    correlation = jnp.where(power > 0, cross / jnp.where(power > 0, power, 1), 0)
    frequency = frequency.astype(correlation.dtype)
    return RingCorrelation(frequency, correlation, 1 / _crossing(frequency, correlation, THRESHOLD))


def structure_factor(
    frames: Float[Array | np.ndarray, "t y x"], spacing: Spacing = 1.0
) -> StructureFactor:
    """Radially averaged structure factor of each frame and its characteristic length.

    The mean of each frame is removed first. White noise of variance σ² adds σ² at every k, which
    shortens L: give a denoised movie.

    Args:
        frames: concentration [any unit], finite.
        spacing: dx, or (dy, dx) [length].

    Returns:
        S(k) for rings up to the Nyquist wavenumber, and L = 2π/⟨k⟩; L = inf for a uniform frame.
    """
    c = jnp.asarray(frames)
    c = c - jnp.mean(c, axis=(1, 2), keepdims=True)
    ring, frequency = _rings(c.shape[-2:], spacing)
    n = frequency.shape[0]
    power = jnp.abs(jnp.fft.fft2(c)) ** 2 / (c.shape[1] * c.shape[2])
    count = _ring_sum(jnp.ones(c.shape[1:], c.dtype), ring, n)
    power = jax.vmap(lambda p: _ring_sum(p, ring, n) / jnp.maximum(count, 1))(power)
    k = 2 * jnp.pi * frequency.astype(c.dtype)
    total, first = jnp.sum(power, axis=1), power @ k
    length = jnp.where(first > 0, 2 * jnp.pi * total / jnp.where(first > 0, first, 1), jnp.inf)
    return StructureFactor(k, power, length)


def _rings(shape: tuple[int, ...], spacing: Spacing) -> tuple[Array, Array]:
    """Ring number of each Fourier pixel (0 = outside all) and the frequency of rings 1, 2, ..."""
    dy, dx = spacing if isinstance(spacing, tuple) else (spacing, spacing)
    ny, nx = shape
    fy, fx = np.fft.fftfreq(ny)[:, None] / dy, np.fft.fftfreq(nx)[None, :] / dx
    step = jnp.maximum(1 / (ny * dy), 1 / (nx * dx))
    # Ring n holds n − 1/2 <= q/step < n + 1/2, up to half the shorter side.
    n = max(min(shape) // 2, 1)
    ring = jnp.round(jnp.sqrt(jnp.asarray(fy**2 + fx**2)) / step).astype(int)
    return jnp.where(ring <= n, ring, 0), step * jnp.arange(1, n + 1)


def _ring_sum(values: Array, ring: Array, n: int) -> Array:
    """Sum over each of the rings 1 .. n."""
    return jax.ops.segment_sum(values.ravel(), ring.ravel(), num_segments=n + 1)[1:]


def _tapered(frames: Array) -> Array:
    """Frames without their mean, times a Hann window."""
    wy, wx = (np.hanning(n + 2)[1:-1] for n in frames.shape[-2:])
    window = jnp.asarray(wy[:, None] * wx[None, :], frames.dtype)
    frames = frames - jnp.mean(frames, axis=(1, 2), keepdims=True)
    return frames * window[None]


def _crossing(x: Array, y: Array, level: float) -> Array:
    """First x at which y falls below the level, linear in between; the last x if it never does."""
    below = y < level
    i = jnp.argmax(below)
    j = jnp.maximum(i - 1, 0)
    drop = y[j] - y[i]
    fraction = jnp.where(drop > 0, (y[j] - level) / jnp.where(drop > 0, drop, 1), 0)
    at = x[j] + jnp.clip(fraction, 0, 1) * (x[i] - x[j])
    return jnp.where(jnp.any(below), at, x[-1])

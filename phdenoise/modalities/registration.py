"""Drift: sub-pixel registration of frames by phase correlation, and shifting them back.

    P(q) = F_t(q) F_0*(q) / |F_t F_0*|,   the peak of its transform is the displacement

The peak is refined by a matrix Fourier transform on a 1/20 px grid and a parabola: Guizar-Sicairos,
Thurman and Fienup, Opt. Lett. 33, 156 (2008), doi:10.1364/OL.33.000156.
"""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from phdenoise.types import InputError

# Fine grid around the whole-pixel peak: its step [px], and its half-width [steps], ±1.5 px.
_STEP, _REACH = 1 / 20, 30
# Registrations in a row, each after shifting back: the taper's pull falls severalfold each time.
_REGISTRATIONS = 3


def register(
    frames: Float[Array | np.ndarray, "t y x"],
    reference: Float[Array | np.ndarray, "y1 x1"] | None = None,
    phase_only: bool = False,
) -> Float[Array, "t 2"]:
    """Displacement (dy, dx) of every frame from a reference.

    Frames are tapered at their edges; the taper's pull to zero is removed by registering three
    times, each time after shifting back. Scenes that change shape (growing phases) can look like
    drift: register on a fixed region, or on a denoised movie.

    Args:
        frames: finite intensities.
        reference: image to register to; None means the first frame.
        phase_only: weigh all frequencies alike, for sharp scenes with little noise; otherwise strong
            frequencies count more, which noise disturbs less.

    Returns:
        Displacements [pixels]; `shift(frames, -displacement)` aligns the movie.

    Raises:
        InputError: if the reference does not have the shape of a frame.
    """
    frames = jnp.asarray(frames)
    target = frames[0] if reference is None else jnp.asarray(reference)
    if target.shape != frames.shape[1:]:
        raise InputError(f"The reference has shape {target.shape}, a frame {frames.shape[1:]}.")
    total = jnp.zeros((frames.shape[0], 2), frames.dtype)
    for _ in range(_REGISTRATIONS):
        moved = shift(frames, -total)
        total = total + _displacements(moved, target, phase_only)
    return total


@jax.jit
def shift(
    frames: Float[Array | np.ndarray, "t y x"], displacement: Float[Array | np.ndarray, "t 2"]
) -> Float[Array, "t y x"]:
    """Frames moved by (dy, dx) pixels by linear interpolation; edges repeat, noise is smoothed a little.

    Args:
        frames: movie.
        displacement: of each frame [pixels].

    Returns:
        Moved frames, same shape.
    """
    frames, displacement = jnp.asarray(frames), jnp.asarray(displacement)
    ny, nx = frames.shape[1:]
    y, x = jnp.meshgrid(jnp.arange(ny), jnp.arange(nx), indexing="ij")

    def move(frame: Array, d: Array) -> Array:
        where = [y - d[0], x - d[1]]
        return jax.scipy.ndimage.map_coordinates(frame, where, order=1, mode="nearest")

    return jax.vmap(move)(frames, displacement)


@jax.jit
def shift_periodic(
    frames: Float[Array | np.ndarray, "t y x"], displacement: Float[Array | np.ndarray, "t 2"]
) -> Float[Array, "t y x"]:
    """Frames moved by (dy, dx) pixels in Fourier space: exact for periodic band-limited scenes.

    Args:
        frames: movie; what leaves it at one edge enters at the other.
        displacement: of each frame [pixels].

    Returns:
        Moved frames, same shape.
    """
    frames, displacement = jnp.asarray(frames), jnp.asarray(displacement)
    ny, nx = frames.shape[1:]
    fy, fx = jnp.fft.fftfreq(ny)[:, None], jnp.fft.rfftfreq(nx)[None, :]

    def turn(frame: Array, d: Array) -> Array:
        phase = jnp.exp(-2j * jnp.pi * (fy * d[0] + fx * d[1]))
        return jnp.fft.irfft2(jnp.fft.rfft2(frame) * phase, (ny, nx))

    return jax.vmap(turn)(frames, displacement).astype(frames.dtype)


@partial(jax.jit, static_argnames="phase_only")
def _displacements(frames: Array, target: Array, phase_only: bool) -> Array:
    ny, nx = target.shape
    window = jnp.asarray(np.outer(np.hanning(ny + 2)[1:-1], np.hanning(nx + 2)[1:-1]), frames.dtype)
    fy, fx = jnp.fft.fftfreq(ny), jnp.fft.fftfreq(nx)
    offsets = _STEP * jnp.arange(-_REACH, _REACH + 1)

    def spectrum(frame: Array) -> Array:
        # The taper weighs the mean too: remove what is left after it, not before.
        mean = jnp.sum(frame * window) / jnp.sum(window)
        return jnp.fft.fft2((frame - mean) * window)

    base = jnp.conj(spectrum(target))

    def one(frame: Array) -> Array:
        cross = spectrum(frame) * base
        size = jnp.abs(cross)
        if phase_only:
            cross = jnp.where(size > 0, cross / jnp.where(size > 0, size, 1), 0)
        peak = jnp.argmax(jnp.real(jnp.fft.ifft2(cross)))
        py, px = fy[peak // nx] * ny, fx[peak % nx] * nx
        ey = jnp.exp(2j * jnp.pi * (py + offsets)[:, None] * fy[None])
        ex = jnp.exp(2j * jnp.pi * fx[:, None] * (px + offsets)[None])
        fine = jnp.real(ey @ cross @ ex)
        top = jnp.argmax(fine)
        iy, ix = top // offsets.size, top % offsets.size
        return jnp.stack([py + _vertex(fine[:, ix], iy), px + _vertex(fine[iy], ix)])

    return jax.vmap(one)(frames).astype(frames.dtype)


def _vertex(values: Array, i: Array) -> Array:
    """Offset of the parabola's top through three samples [pixels]."""
    i = jnp.clip(i, 1, values.size - 2)
    left, mid, right = values[i - 1], values[i], values[i + 1]
    bend = left - 2 * mid + right
    delta = jnp.where(bend < 0, 0.5 * (left - right) / jnp.where(bend < 0, bend, -1), 0)
    return _STEP * (i - _REACH + jnp.clip(delta, -1, 1))

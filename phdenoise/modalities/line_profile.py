"""Line profiles across a map, averaged over a width, with standard deviations and bands.

    p_k = Σ_i w_ki v_i,   var p_k = f Σ_i w_ki² var_i      (bilinear weights; f = 1 + 2Σρ for correlated noise)

Errors of neighbouring pixels of a denoised map are correlated (`phdenoise.uncertainty.error_correlation`). For any correlation
sd p_k <= Σ_i w_ki sd_i.
"""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from phdenoise.types import InputError
from phdenoise.uncertainty.error_correlation import INDEPENDENT, ErrorCorrelation

# Half a central interval of 90 % of a Gaussian, Φ⁻¹(0.95) [sd].
_HALF_BAND = 1.6449


class Line(NamedTuple):
    """From (y, x) to (y, x) [px], averaged over `width` pixels across."""

    start: tuple[float, float]
    end: tuple[float, float]
    width: float = 1.0


class Profile(NamedTuple):
    """Values along a line.

    Attributes:
        distance: from the start of the line [length unit].
        value, sd: [t, s].
        low, high: 90 % band [t, s].
    """

    distance: np.ndarray
    value: Array
    sd: Array

    @property
    def low(self) -> Array:
        return self.value - _HALF_BAND * self.sd

    @property
    def high(self) -> Array:
        return self.value + _HALF_BAND * self.sd


class Sampling(NamedTuple):
    """Flat indices of the pixels that make each point of a line, and their weights [s, n]."""

    distance: np.ndarray
    pixels: np.ndarray
    weight: np.ndarray


def sampling(shape: tuple[int, int], line: Line, pixel_size: tuple[float, float]) -> Sampling:
    """One point a pixel along the line; each the mean of points a pixel apart across it.

    Args:
        shape: rows and columns of the map.
        line: see `Line`.
        pixel_size: (dy, dx) [length unit].

    Returns:
        Pixels and weights of each point.

    Raises:
        InputError: a line without length or width, or one that leaves the frame.
    """
    (y0, x0), (y1, x1) = line.start, line.end
    length = float(np.hypot(y1 - y0, x1 - x0))
    if not (length >= 1 and line.width >= 1):
        raise InputError(f"A line needs a length and a width of one pixel or more, got {line}.")
    along, across = round(length) + 1, max(round(line.width), 1)
    s = np.linspace(0, 1, along)[:, None]
    v = (np.arange(across) - (across - 1) / 2)[None]
    y = y0 + s * (y1 - y0) + v * (x1 - x0) / length
    x = x0 + s * (x1 - x0) - v * (y1 - y0) / length
    slack = 1e-6  # rounding of the line's ends [px]
    if min(y.min(), x.min()) < -slack or y.max() > shape[0] - 1 + slack or x.max() > shape[1] - 1 + slack:  # fmt: skip
        raise InputError(
            f"The line from {line.start} to {line.end}, {across} px wide, leaves the frame of "
            f"{shape[0]} x {shape[1]} px: move it or make it narrower."
        )
    y, x = np.clip(y, 0, shape[0] - 1), np.clip(x, 0, shape[1] - 1)
    iy, ix = (np.clip(np.floor(a).astype(int), 0, max(n - 2, 0)) for a, n in ((y, shape[0]), (x, shape[1])))  # fmt: skip
    fy, fx = y - iy, x - ix
    corners, weights = [], []
    for dy, wy in ((0, 1 - fy), (1, fy)):
        for dx, wx in ((0, 1 - fx), (1, fx)):
            row, column = np.minimum(iy + dy, shape[0] - 1), np.minimum(ix + dx, shape[1] - 1)
            corners.append(row * shape[1] + column)
            weights.append(wy * wx / across)
    index, weight = np.concatenate(corners, axis=1), np.concatenate(weights, axis=1)
    step = np.hypot((y1 - y0) * pixel_size[0], (x1 - x0) * pixel_size[1]) / (along - 1)
    return Sampling(step * np.arange(along), *_merged(index, weight))


def line_profile(
    values: Float[Array | np.ndarray, "t y x"],
    sd: Float[Array | np.ndarray, "t y x"],
    line: Line,
    *,
    pixel_size: tuple[float, float] = (1.0, 1.0),
    inflation: float = 1.0,
    errors: ErrorCorrelation | None = INDEPENDENT,
) -> Profile:
    """Mean along a line with its sd.

    Args:
        values, sd: map; not finite values are left out and the weights of the others renewed.
        line: see `Line`.
        pixel_size: (dy, dx) [length unit].
        inflation: f, variance of a mean of neighbours over that of independent ones.
        errors: how those of pixels are correlated; None where it is not known, and errors may be common to all.

    Returns:
        Mean and sd at each point and time, NaN where nothing is known.

    Raises:
        InputError: see `sampling`.
    """
    take = sampling((values.shape[1], values.shape[2]), line, pixel_size)
    v = jnp.reshape(jnp.asarray(values), (values.shape[0], -1))[:, take.pixels]
    e = jnp.reshape(jnp.asarray(sd), (values.shape[0], -1))[:, take.pixels]
    ok = jnp.isfinite(v) & jnp.isfinite(e)
    w = jnp.where(ok, jnp.asarray(take.weight, v.dtype)[None], 0)
    total = jnp.sum(w, axis=-1)
    w = w / jnp.where(total > 0, total, 1)[..., None]
    value = jnp.sum(w * jnp.where(ok, v, 0), axis=-1)
    e = jnp.where(ok, e, 0)
    if errors is None:
        spread = jnp.sum(w * e, axis=-1)
    else:
        alike = _correlated(take, (values.shape[1], values.shape[2]), errors)
        shared = jnp.asarray(alike / np.sum(take.weight**2, axis=-1), v.dtype)
        square = jnp.sum((w * e) ** 2, axis=-1)
        # At most as if all errors were the same.
        most = 1 / jnp.maximum(jnp.sum(w**2, axis=-1), jnp.finfo(v.dtype).tiny)
        spread = jnp.sqrt(inflation * jnp.minimum(shared[None], most) * square)
    empty = total <= 0
    return Profile(
        take.distance, jnp.where(empty, jnp.nan, value), jnp.where(empty, jnp.nan, spread)
    )


def _correlated(
    take: Sampling, shape: tuple[int, int], errors: ErrorCorrelation
) -> Float[np.ndarray, " s"]:
    """Variance of the mean at each point, for errors of unit variance."""
    found = np.empty(len(take.pixels))
    for k, (pixels, weight) in enumerate(zip(take.pixels, take.weight, strict=True)):
        weights = np.zeros(shape)
        np.add.at(weights.reshape(-1), pixels, weight)
        found[k] = errors.of_mean(weights)[0]
    return found


def _merged(index: np.ndarray, weight: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The same sums with each pixel once: squares of split weights are not the square of their sum."""
    rows = [np.unique(i, return_inverse=True) for i in index]
    width = max(len(u) for u, _ in rows)
    out_index, out_weight = np.zeros((len(rows), width), int), np.zeros((len(rows), width))
    for k, (unique, inverse) in enumerate(rows):
        out_index[k, : len(unique)] = unique
        out_weight[k, : len(unique)] = np.bincount(inverse.ravel(), weight[k], len(unique))
    return out_index, out_weight

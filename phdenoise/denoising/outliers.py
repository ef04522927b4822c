"""Outliers, measurements that are neither noise nor scene: far from the prediction of other frames, unlike their neighbours.

    |y − L|² > k² q² (v + e²),     Σ over the eight neighbours of (y − L), in its direction, small

L is the best blind linear prediction, e its error, v the noise's variance. q is less than one where most values are nearer than
that, because outliers have made v and e too large. A scene may change in a way that other frames do not predict, and its
measurement is then trusted (`phdenoise.noise.models.heavy_tails`). But optics spread an image over several pixels: a single
deviating pixel, dark or bright, is a hit, a bad read-out or a tail of the noise.
"""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool
from scipy import ndimage

from phdenoise.networks.base import Denoiser
from phdenoise.networks.context import REACH, MovieArrays, Window
from phdenoise.types import NoiseModel

# k [sd]: in Gaussian noise one value in 150,000 is farther, and few of those are without their neighbours.
FAR = 4.5
# Sum over the eight neighbours, as a share of the value, below which the value is without them. A spot of the sharpest optics
# that sample well has 3.0.
NEIGHBOUR_SHARE = 1.25
# Share of the values that gives q, how far from its mean that share of a Gaussian lies [sd], and q at least.
_CENTRAL_SHARE, _CENTRAL_SD, SMALLEST_Q = 0.9, 1.645, 0.7
_AROUND = np.ones((1, 3, 3))


class Outliers(NamedTuple):
    """How outliers of a movie are found.

    Attributes:
        error: e, standard deviation of the linear prediction's error [intensity].
        calm: q.
    """

    error: float
    calm: float = 1.0

    def calmed(
        self, denoiser: Denoiser, arrays: MovieArrays, noise: NoiseModel, inside: Window
    ) -> "Outliers":
        """The same with the q of a movie.

        Args:
            denoiser, arrays, noise, inside: as in a call.

        Returns:
            The finder.
        """
        off, sd = _residual(denoiser, arrays, noise, self.error, inside)
        seen = off != 0
        if not seen.any():
            return self
        far = float(np.quantile(np.abs(off[seen]) / sd[seen], _CENTRAL_SHARE)) / _CENTRAL_SD
        return self._replace(calm=float(np.clip(far, SMALLEST_Q, 1.0)))

    def __call__(
        self, denoiser: Denoiser, arrays: MovieArrays, noise: NoiseModel, inside: Window
    ) -> Bool[np.ndarray, "t y x"]:
        """Find outliers; pixels whose neighbours lie outside of the arrays are judged by the others.

        Args:
            denoiser: its scale is that of the arrays.
            arrays: the movie or a part of it, with its linear predictions.
            noise: pointwise noise model.
            inside: frames, rows and columns that are wanted.

        Returns:
            True where a measurement is an outlier.
        """
        frames, rows, columns = inside
        # A pixel more on each side, where there is one.
        wide = [slice(max(s.start - 1, 0), s.stop + 1) for s in (rows, columns)]
        off, sd = _residual(denoiser, arrays, noise, self.error, (frames, wide[0], wide[1]))
        sd *= self.calm
        # So much farther out lies a Poisson quantile than a normal one.
        skew = noise.quantile_excess(FAR)
        size = np.abs(off)
        together = np.sign(off) * (ndimage.convolve(off, _AROUND, mode="constant") - off)
        found = (size > FAR * sd + skew) & (together + np.sqrt(8) * sd < NEIGHBOUR_SHARE * size)
        here = tuple(
            slice(s.start - w.start, s.stop - w.start)
            for s, w in zip((rows, columns), wide, strict=True)
        )
        picked: np.ndarray = found[:, *here]
        return picked


def _residual(
    denoiser: Denoiser, arrays: MovieArrays, noise: NoiseModel, error: float, inside: Window
) -> tuple[np.ndarray, np.ndarray]:
    """Measured less predicted value, zero where nothing was measured, and its standard deviation [intensity]."""
    assert arrays.linear is not None
    reach, spread = REACH[-1], float(denoiser.spread)
    frames, *window = inside
    values = np.asarray(arrays.padded[reach : len(arrays.padded) - reach][frames, *window])
    linear = np.asarray(arrays.linear[frames, -1][:, *window])
    measured = np.asarray(arrays.seen[frames, *window]) > 0
    off = np.where(measured, spread * (values - linear).astype(np.float64), 0.0)
    level = noise.variance(jnp.asarray(float(denoiser.centre) + spread * linear, jnp.float32))
    return off, np.sqrt(np.asarray(level, np.float64) + error**2)

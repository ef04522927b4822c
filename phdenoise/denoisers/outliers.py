"""Measurements that are neither noise nor scene: far from what other frames predict, and alone in it.

    |y − L|² > k² q² (v + e²),     Σ over the eight neighbours of (y − L), in its direction, small

L is the best blind linear prediction, e its error, v the noise's variance, and q less than one where most values are nearer than
that: outliers have made v and e too large. A scene may do what nothing foretold, and its measurement
is then to be believed (`phdenoise.denoisers.core.posterior`); but optics spread whatever is imaged over several pixels. What
stands alone is a hit, a bad read-out or a tail of the noise, dark ones as well as bright ones.
"""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool
from scipy import ndimage

from phdenoise.denoisers.context import REACH, MovieArrays, Window
from phdenoise.denoisers.core import Denoiser
from phdenoise.types import NoiseModel

# k; the sum over eight neighbours that may come with a value, as a share of it (a spot of the sharpest optics that sample well
# has 3.0).
FAR, SHARED = 4.5, 1.25
# Share of the values that tells q, by how far a Gaussian's are from its mean [sd]; and q at least.
MOST, MOST_FAR, CALMEST = 0.9, 1.645, 0.7
_AROUND = np.ones((1, 3, 3))


class Outliers(NamedTuple):
    """How outliers of a movie are told.

    Attributes:
        error: e, standard deviation of the linear prediction's error [intensity].
        calm: q.
    """

    error: float
    calm: float = 1.0

    def calmed(
        self, denoiser: Denoiser, arrays: MovieArrays, noise: NoiseModel, inside: Window
    ) -> "Outliers":
        """The same with the q of a movie; arguments as below."""
        off, sd = _residual(denoiser, arrays, noise, self.error, inside)
        seen = off != 0
        if not seen.any():
            return self
        far = float(np.quantile(np.abs(off[seen]) / sd[seen], MOST)) / MOST_FAR
        return self._replace(calm=float(np.clip(far, CALMEST, 1.0)))

    def __call__(
        self, denoiser: Denoiser, arrays: MovieArrays, noise: NoiseModel, inside: Window
    ) -> Bool[np.ndarray, "t y x"]:
        """Where measurements are outliers; those whose neighbours lie outside of the arrays are judged by the others.

        Args:
            denoiser: its scale is that of the arrays.
            arrays: the movie or a part of it, with its linear predictions.
            noise: pointwise noise model.
            inside: frames, rows and columns that are wanted.
        """
        frames, rows, columns = inside
        # A pixel more on each side, where there is one.
        wide = [slice(max(s.start - 1, 0), s.stop + 1) for s in (rows, columns)]
        off, sd = _residual(denoiser, arrays, noise, self.error, (frames, wide[0], wide[1]))
        sd *= self.calm
        # So much farther out lies a Poisson quantile than a normal one.
        skew = float(getattr(noise, "gain", 0.0)) * (FAR**2 - 1) / 6
        size = np.abs(off)
        together = np.sign(off) * (ndimage.convolve(off, _AROUND, mode="constant") - off)
        found = (size > FAR * sd + skew) & (together + np.sqrt(8) * sd < SHARED * size)
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

"""Where a blind prediction is wrong: its variance as a sum of what errors come from.

    Σ(x) = Σ_k β_k φ_k(x),    β_k ≥ 0

φ: the network's own variance; the variance of the noise, of which a share is let through; the squared difference
between the predictions from the past and from the future, which a scene at rest has not; the squared gradient, along
which what moves is misplaced. A network learns its mean from every pixel, but hardly its variance where that is small
against the noise's; four numbers can be found even then (`phdenoise.training.calibrate`).
"""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float
from scipy import ndimage

from phdenoise.denoisers.context import MovieArrays
from phdenoise.denoisers.core import Denoiser
from phdenoise.types import Moments, NoiseModel

# Blur of the differences [px], and how far it reaches.
BLUR, BLUR_REACH = 1.5, 5
PARTS = 4
# Share of the surroundings that is taken as measured at least: frames before and after are, mostly.
LEAST_SEEN = 1 / 3
# Places of the predictions from the past, from the future and of the best among the linear ones.
_PAST, _FUTURE, _BEST = 0, 1, -1


class Doubt(NamedTuple):
    """A variance made of parts.

    Attributes:
        weights: β of each part [4].
        noise: pointwise noise model.
    """

    weights: tuple[float, ...]
    noise: NoiseModel

    def __call__(
        self,
        denoiser: Denoiser,
        arrays: MovieArrays,
        raw: Moments,
        inside: tuple[slice, slice],
        extent: tuple[slice, slice] | None = None,
        first: int = 0,
    ) -> Moments:
        """Moments [t, y, x] with this variance; `first` of the frames in `arrays`, otherwise as for `parts`."""
        level = np.asarray(self.noise.variance(raw.mean))
        weights = np.asarray(self.weights, np.float32)
        var = np.empty(raw.var.shape, np.float32)
        for t in range(len(var)):
            found = parts(
                denoiser,
                arrays,
                np.asarray(raw.var[t]),
                level[t],
                first + t,
                inside,
                extent or inside,
            )
            var[t] = np.tensordot(weights, found, axes=1)
        return Moments(raw.mean, jnp.asarray(var))


def parts(
    denoiser: Denoiser,
    arrays: MovieArrays,
    var: Float[np.ndarray, "y x"],
    level: Float[np.ndarray, "y x"],
    t: int,
    inside: tuple[slice, slice],
    extent: tuple[slice, slice],
) -> Float[np.ndarray, "k y x"]:
    """The parts φ of a frame's variance [intensity²].

    Args:
        denoiser: its spread is used.
        arrays: the movie, or a window of it, with its linear predictions.
        var: variance that the network predicts.
        level: variance of the noise.
        t: which of the frames of `arrays`.
        inside: rows and columns of `arrays` that `var` and `level` are for.
        extent: those that lie in the movie, from the same corner on or an earlier one.
    """
    assert arrays.linear is not None
    used = (arrays.linear[t, k] for k in (_PAST, _FUTURE, _BEST))
    past, future, best = (np.asarray(a)[extent] * np.float32(denoiser.spread) for a in used)
    slope = sum(d**2 for d in _gradient(best))
    seen = np.asarray(arrays.seen[t])[extent]
    if arrays.absent is not None and arrays.absent[t]:
        seen = np.ones_like(seen)  # the whole frame's factor is found by hiding others
    here = tuple(
        slice(i.start - e.start, i.stop - e.start)
        for i, e in zip(map(_bounded, inside), map(_bounded, extent), strict=True)
    )
    change, steep, share = (
        ndimage.gaussian_filter(f, BLUR, radius=BLUR_REACH)[here]
        for f in ((past - future) ** 2, slope, seen)
    )
    # Where part of the surroundings was not measured, the rest lets through that much more.
    found = np.stack([var, level, change, steep]) / np.maximum(share, LEAST_SEEN)
    return found.astype(np.float32)


def _bounded(window: slice) -> slice:
    return slice(window.start or 0, window.stop)


def _gradient(image: np.ndarray) -> list[np.ndarray]:
    """Derivatives along the axes that have more than one pixel."""
    return [np.gradient(image, axis=k) for k, n in enumerate(image.shape) if n > 1] or [0 * image]

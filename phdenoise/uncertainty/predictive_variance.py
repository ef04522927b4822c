"""The variance of a blind prediction: the network's own variance, times the error of the best linear filter in each frame.

    Σ_t(x) = β e_tᵃ (σ²(x) + ε⟨σ²⟩) p(x)

σ² is the variance that the network predicts. The network learned it where the truth is known (`phdenoise.networks.base`), and
it says where in a frame errors are large, but hardly how they change from frame to frame: at the ends of a movie, and
while a scene moves faster, fewer frames agree. The linear filter is fitted to each frame, and its mean squared error e_t there
tells. Where training has taught the network what changes between frames, a is less than one
(`phdenoise.uncertainty.calibrate`). p is the variance model of the parametric bootstrap (`phdenoise.uncertainty.variance_model`).

    e_t = E[(y − L_t)²] − v ± …     and usually (1 + n/4) v a_t,     a_t = Σ_{r,r'} k_t(r) k_t(r') ρ(r − r')

Strong noise v hides the error in the residuals. But then the kernel k_t averages over as many pixels as agree, and the share a_t
of the noise that passes tells the error: the best filter in n dimensions has n/4 of that as squared bias (Silverman,
Density Estimation, 1986, section 3.3). ε: on scenes of a kind that the network has not seen, it is too sure of itself where its
variance is smallest.
"""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float
from scipy import ndimage

from phdenoise.networks.base import Denoiser
from phdenoise.networks.context import MovieArrays
from phdenoise.networks.linear_filter import Fit, noise_gain
from phdenoise.types import Moments, NoiseModel
from phdenoise.uncertainty.variance_model import VarianceModel

# Width of the Gaussian that measures how much around a pixel was measured, and where it ends [px]: the surroundings that a
# sharp linear filter averages over.
_SURROUNDINGS, _SURROUNDINGS_END = 1.5, 5
# The surroundings count as measured to at least this share: frames before and after mostly are.
_SMALLEST_MEASURED_SHARE = 1 / 3
# ε, from random scenes (`benchmarks/denoise_intervals.py`).
EVEN_SHARE = 0.2
# n/4 for n = 3, space and time (Silverman, section 3.3); the sd of the log of 1 + n/4 over random scenes
# (`benchmarks/denoise_intervals.py`); the sd of the log of the noise variance.
BIAS_TO_VARIANCE, BIAS_TO_VARIANCE_SD, NOISE_SD = 0.75, 0.5, 0.01
# A frame's error is at least this share of the usual one.
_SMALLEST_OF_USUAL = 0.2
# Where a filter passes no noise, its error is unknown to this share of the noise variance: below float32's rounding of intensities
# against which it would matter.
_UNKNOWN_ERROR = 1e-4


class PredictiveVariance(NamedTuple):
    """What makes the variance of a prediction from that of the network.

    Attributes:
        scale: β.
        typical: ⟨σ²⟩ [intensity²].
        errors: e_t of every frame of the movie [intensity²].
        power: a.
        model: p; None for one.
    """

    scale: float
    typical: float
    errors: Float[np.ndarray, " t"]
    power: float = 1.0
    model: VarianceModel | None = None

    def __call__(
        self,
        arrays: MovieArrays,
        raw: Moments,
        inside: tuple[slice, slice],
        extent: tuple[slice, slice] | None = None,
        first: tuple[int, int] = (0, 0),
    ) -> Moments:
        """The same mean with this variance.

        Args:
            arrays: the movie, or a window of it.
            raw: of the network [t, y, x].
            inside: rows and columns of `arrays` that `raw` is for.
            extent: those that lie in the movie, from the same corner on or an earlier one; by default `inside`.
            first: place in `arrays` of the first frame of `raw`, and in the movie.

        Returns:
            Mean [intensity] and variance [intensity²], [t, y, x].
        """
        extent = extent or inside
        rows, columns = (
            slice((i.start or 0) - (e.start or 0), i.stop - (e.start or 0))
            for i, e in zip(inside, extent, strict=True)
        )
        own = np.asarray(raw.var)
        here = slice(first[0], first[0] + len(own))
        errors = self.errors[first[1] : first[1] + len(own)]
        var = np.empty(own.shape, np.float32)
        # In double precision: powers of a variance leave single precision in large or small units.
        for t, error in enumerate(errors):
            measured = np.asarray(arrays.seen[first[0] + t])[extent]
            if arrays.absent is not None and arrays.absent[first[0] + t]:
                # The factor of a whole frame is found by hiding other frames.
                measured = np.ones_like(measured)
            # Where part of the surroundings was not measured, more noise of the rest passes.
            near = ndimage.gaussian_filter(measured, _SURROUNDINGS, radius=_SURROUNDINGS_END)
            near = np.maximum(near[rows, columns], _SMALLEST_MEASURED_SHARE)
            factor = self.scale * error**self.power / near
            var[t] = factor * (own[t].astype(np.float64) + EVEN_SHARE * self.typical)
        if self.model is not None:
            assert arrays.linear is not None
            linear = np.asarray(arrays.linear[here])[:, :, *extent]
            var *= self.model.factors(linear, own, errors, (rows, columns))
        return Moments(raw.mean, jnp.asarray(var))


def frame_errors(
    denoiser: Denoiser,
    fit: Fit,
    weights: Float[np.ndarray, "t k r"],
    noise: NoiseModel,
    autocorrelation: Float[np.ndarray, "ky kx"],
    temporal_correlation: Float[np.ndarray, " l"] | None = None,
) -> Float[np.ndarray, " t"]:
    """e_t: mean squared error of the best linear prediction of each frame, from residuals and passed noise by their precision.

    Args:
        denoiser: its scale is that of the fit.
        fit: of the linear predictions.
        weights: of the context channels.
        noise: pointwise noise model.
        autocorrelation: ρ, 1 at its centre.
        temporal_correlation: with the noise of the next frame, the one after, and so on; None: frames are independent.

    Returns:
        The errors [intensity²].
    """
    spread = float(denoiser.spread)
    mean = jnp.asarray(float(denoiser.centre) + spread * fit.mean, jnp.float32)
    level = np.broadcast_to(np.asarray(noise.variance(mean), np.float64), mean.shape)
    best, weights = fit.coefficients[-1], weights.astype(np.float64)
    shares = noise_gain(best, weights, autocorrelation, temporal_correlation)
    # Residuals lack twice the covariance of the prediction with the pixel's own noise.
    residual = spread**2 * (fit.residual + 2 * denoiser.sharing.known(best, weights))
    return frame_errors_from_moments(residual, level, shares, fit.pixels, autocorrelation)


def frame_errors_from_moments(
    residual: Float[np.ndarray, " t"],
    level: Float[np.ndarray, " t"],
    shares: Float[np.ndarray, " t"],
    count: Float[np.ndarray, " t"],
    autocorrelation: Float[np.ndarray, "ky kx"],
) -> Float[np.ndarray, " t"]:
    """e_t from the mean squared residual and the mean noise variance of each frame.

    Args:
        residual: mean squared residual [intensity²].
        level: mean variance of the noise [intensity²].
        shares: of the noise variance that passes the prediction.
        count: pixels of the residual.
        autocorrelation: ρ, 1 at its centre.

    Returns:
        The errors [intensity²].
    """
    usual = (1 + BIAS_TO_VARIANCE) * shares * level
    belief = (BIAS_TO_VARIANCE_SD * usual) ** 2 + (_UNKNOWN_ERROR * level) ** 2
    same = 2 * np.sum(autocorrelation**2) / np.maximum(count, 1)
    chance = np.where(count > 0, (same + NOISE_SD**2) * level**2, np.inf)
    # Without noise the residual is the error.
    weight = np.where(chance > 0, belief / np.maximum(belief + chance, np.finfo(float).tiny), 1.0)
    found = usual + weight * (residual - level - usual)
    tiny = np.finfo(np.float32).tiny
    errors: np.ndarray = np.maximum(found, np.maximum(_SMALLEST_OF_USUAL * usual, tiny))
    return errors

"""Where a blind prediction is wrong: the network's own variance, times what the best linear filter is wrong in the frame.

    Σ_t(x) = β e_tᵃ (σ²(x) + ε⟨σ²⟩) p(x)

σ² is what the network predicts, which is learned where the truth is known (`phdenoise.denoisers.prior`) and says where in
a frame errors are large. It hardly knows how they change from frame to frame: at the ends of a movie, and while a scene
moves faster, fewer frames agree. The linear filter, fitted to each frame, knows: e_t is its mean squared error there. Where training has taught
the network what changes between frames, a is less than one (`phdenoise.training.calibrate`).

    e_t = E[(y − L_t)²] − v ± …     and usually (1 + n/4) v a_t,     a_t = Σ_{r,r'} k_t(r) k_t(r') ρ(r − r')

What the residuals tell is lost where the noise v is strong; but then the kernel k_t averages over as many pixels as agree,
and the share a_t of the noise that it lets through tells as much: a filter in n dimensions that errs least has n/4 of
that as bias (Silverman, Density Estimation, 1986, section 3.3). ε: on a scene of another kind than those it has seen the
network is not as right as it believes in the places where it is surest. p is what a second denoising of the denoised movie showed
(`phdenoise.denoisers.pattern`).
"""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float
from scipy import ndimage

from phdenoise.denoisers.context import MovieArrays
from phdenoise.denoisers.core import Denoiser
from phdenoise.denoisers.linear import Fit, let_through
from phdenoise.denoisers.pattern import Pattern, seen
from phdenoise.types import Moments, NoiseModel

# Blur of the measured pixels [px], and how far it reaches.
BLUR, BLUR_REACH = 1.5, 5
# Share of the surroundings that is taken as measured at least: frames before and after are, mostly.
LEAST_SEEN = 1 / 3
# ε.
EVEN = 0.2
# n/4 in space and time; the sd of the log of 1 + n/4; the sd of the noise variance's own log.
USUAL, USUAL_SD, NOISE_SD = 0.75, 0.5, 0.01
# No frame is taken for less wrong than this share of what is usual. Where a filter lets nothing through, nothing is usual: in
# units of the noise variance.
LEAST, NOTHING = 0.2, 1e-4


class Doubt(NamedTuple):
    """What makes a variance of the network's.

    Attributes:
        scale: β.
        typical: ⟨σ²⟩ [intensity²].
        errors: e_t of every frame of the movie [intensity²].
        power: a.
        pattern: p; None for one.
    """

    scale: float
    typical: float
    errors: Float[np.ndarray, " t"]
    power: float = 1.0
    pattern: Pattern | None = None

    def __call__(
        self,
        arrays: MovieArrays,
        raw: Moments,
        inside: tuple[slice, slice],
        extent: tuple[slice, slice] | None = None,
        first: tuple[int, int] = (0, 0),
    ) -> Moments:
        """The same mean with this variance [t, y, x].

        Args:
            arrays: the movie, or a window of it.
            raw: of the network.
            inside: rows and columns of `arrays` that `raw` is for.
            extent: those that lie in the movie, from the same corner on or an earlier one; by default `inside`.
            first: place in `arrays` of the first frame of `raw`, and in the movie.
        """
        extent = extent or inside
        rows, columns = (
            slice((i.start or 0) - (e.start or 0), i.stop - (e.start or 0))
            for i, e in zip(inside, extent, strict=True)
        )
        here = (rows, columns)
        var = np.empty(raw.var.shape, np.float32)
        for t in range(len(var)):
            measured = np.asarray(arrays.seen[first[0] + t])[extent]
            if arrays.absent is not None and arrays.absent[first[0] + t]:
                measured = np.ones_like(
                    measured
                )  # the whole frame's factor is found by hiding others
            # Where part of the surroundings was not measured, the rest lets through that much more.
            near = ndimage.gaussian_filter(measured, BLUR, radius=BLUR_REACH)[here]
            factor = (
                self.scale * self.errors[first[1] + t] ** self.power / np.maximum(near, LEAST_SEEN)
            )
            var[t] = factor * (np.asarray(raw.var[t]) + EVEN * self.typical)
            if self.pattern is not None:
                var[t] *= self.pattern(
                    self.seen(arrays, raw, t, here, extent, first, self.pattern.floor)
                )
        return Moments(raw.mean, jnp.asarray(var))

    def seen(
        self,
        arrays: MovieArrays,
        raw: Moments,
        t: int,
        inside: tuple[slice, slice],
        extent: tuple[slice, slice],
        first: tuple[int, int],
        floor: float,
    ) -> Float[np.ndarray, "f y x"]:
        """What the pattern depends on in frame `t` of `raw`; `inside` of the `extent`, the rest as above."""
        assert arrays.linear is not None
        linear = np.asarray(arrays.linear[first[0] + t])[(slice(None), *extent)]
        return seen(linear, np.asarray(raw.var[t]), float(self.errors[first[1] + t]), inside, floor)


def frame_errors(
    denoiser: Denoiser,
    fit: Fit,
    weights: Float[np.ndarray, "t k r"],
    noise: NoiseModel,
    autocorrelation: Float[np.ndarray, "ky kx"],
    lasting: Float[np.ndarray, " l"] | None = None,
) -> Float[np.ndarray, " t"]:
    """e_t [intensity²]: mean squared error of the best linear prediction of each frame, from both sources by their precision.

    Args:
        denoiser: its scale is that of the fit.
        fit: of the linear predictions.
        weights: of the context channels.
        noise: pointwise noise model.
        autocorrelation: ρ, 1 at its centre.
        lasting: the noise's correlation in time; see `let_through`.
    """
    spread = float(denoiser.spread)
    mean = jnp.asarray(float(denoiser.centre) + spread * fit.mean, jnp.float32)
    level = np.broadcast_to(np.asarray(noise.variance(mean), np.float64), mean.shape)
    best, weights = fit.coefficients[-1], weights.astype(np.float64)
    shares = let_through(best, weights, autocorrelation, lasting)
    # Residuals hide what the prediction knows of the pixel's own noise.
    residual = spread**2 * (fit.residual + 2 * denoiser.sharing.known(best, weights))
    return weighed_errors(residual, level, shares, fit.pixels, autocorrelation)


def weighed_errors(
    residual: Float[np.ndarray, " t"],
    level: Float[np.ndarray, " t"],
    shares: Float[np.ndarray, " t"],
    count: Float[np.ndarray, " t"],
    autocorrelation: Float[np.ndarray, "ky kx"],
) -> Float[np.ndarray, " t"]:
    """e_t from the mean squared residual and the mean noise variance of each frame.

    Args:
        residual: mean squared residual.
        level: mean variance of the noise.
        shares: of it that the prediction lets through (`phdenoise.denoisers.linear.let_through`).
        count: pixels of the residual.
        autocorrelation: ρ, 1 at its centre.
    """
    usual = (1 + USUAL) * shares * level
    belief = (USUAL_SD * usual) ** 2 + (NOTHING * level) ** 2
    same = 2 * np.sum(autocorrelation**2) / np.maximum(count, 1)
    chance = np.where(count > 0, (same + NOISE_SD**2) * level**2, np.inf)
    # Without noise the residual is the error.
    weight = np.where(chance > 0, belief / np.maximum(belief + chance, np.finfo(float).tiny), 1.0)
    found = usual + weight * (residual - level - usual)
    tiny = np.finfo(np.float32).tiny
    errors: np.ndarray = np.maximum(found, np.maximum(LEAST * usual, tiny))
    return errors

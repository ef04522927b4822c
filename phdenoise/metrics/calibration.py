"""Are error bars honest, laws right, and movies quieter? Coverage, curve error, noise gain.

coverage(p) = fraction of |truth − mean| <= z_p sd,  z_p of a Gaussian or of a Student's t of unit variance
curve error = sqrt( Σ w (e − t)² / Σ w t² ),  for a chemical potential after removing the constant
noise gain  = sd after / sd before, in a region that should be uniform
"""

from typing import Literal, NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from phdenoise.metrics.fidelity import Real, Valid, same_shape
from phdenoise.movie import half_width
from phdenoise.types import InputError


class NoiseGain(NamedTuple):
    """Noise-induced variability [unit of the data]; `reduction` = 1 − after/before."""

    before: Array
    after: Array
    reduction: Array


def coverage(
    mean: Real,
    var: Real,
    truth: Real,
    levels: tuple[float, ...] = (0.5, 0.68, 0.9, 0.95),
    valid: Valid | None = None,
    degrees: float = float("inf"),
) -> Float[Array, " level"]:
    """Fraction of true values inside the central interval of each nominal level.

    Args:
        mean, var, truth: one shape; variance in the squared unit.
        levels: nominal probabilities in (0, 1).
        valid: True where pixels count; None means everywhere.
        degrees: of freedom of the errors' distribution; infinity is a Gaussian (see `phdenoise.movie.half_width`).

    Returns:
        Observed fraction per level; equal to the level if the error bars are honest.

    Raises:
        InputError: if shapes differ, a level is not in (0, 1), or the variance would be infinite.
    """
    z = [half_width(p, degrees) for p in levels]
    mean, truth = same_shape("mean", mean, "truth", truth)
    var = same_shape("var", var, "truth", truth)[0]
    ok = jnp.ones(truth.shape, bool)
    if valid is not None:
        ok = same_shape("valid", valid, "truth", truth)[0]
    error, sd = jnp.abs(truth - mean), jnp.sqrt(var)
    return jnp.stack([jnp.sum(ok & (error <= zi * sd)) for zi in z]) / jnp.sum(ok)


def curve_error(
    estimate: Float[Array | np.ndarray, " c"],
    truth: Float[Array | np.ndarray, " c1"],
    weights: Float[Array | np.ndarray, " c2"] | None = None,
    up_to_constant: bool = False,
) -> Float[Array, ""]:
    """Relative rms error of a fitted curve such as D(c) or μ_h(c).

    Args:
        estimate, truth: the curve on one set of points [any unit].
        weights: how often each point was visited by the data; None means equally.
        up_to_constant: remove the weighted mean of both first, as for a chemical potential, which
            no concentration movie can tell from itself plus a constant.

    Returns:
        sqrt(Σ w (e − t)² / Σ w t²) [1].

    Raises:
        InputError: if shapes differ.
    """
    e, t = same_shape("estimate", estimate, "truth", truth)
    w = jnp.ones_like(t)
    if weights is not None:
        w = same_shape("weights", weights, "truth", truth)[0]
    w = w / jnp.sum(w)
    if up_to_constant:
        e, t = e - jnp.sum(w * e), t - jnp.sum(w * t)
    return jnp.sqrt(jnp.sum(w * (e - t) ** 2) / jnp.sum(w * t**2))


def noise_gain(
    before: Float[Array | np.ndarray, "t y x"],
    after: Real,
    region: Bool[Array | np.ndarray, "y1 x1"] | None = None,
    over: Literal["space", "time"] = "space",
) -> NoiseGain:
    """Noise-induced variability of two movies in a region that should be uniform, or at rest.

    Drift is removed first: the mean of the region in each frame; over time also each pixel's mean.

    Args:
        before, after: movies of one shape and unit.
        region: True inside the region [y, x]; None means everywhere.
        over: "space": sd over the pixels of each frame; "time": over the frames of each pixel.

    Returns:
        Root-mean-square variability of both and the reduction, 0.8 meaning 80 % less.

    Raises:
        InputError: if shapes differ or the region holds fewer than two pixels.
    """
    b, a = same_shape("before", before, "after", after)
    inside = np.ones(b.shape[1:], bool) if region is None else np.asarray(region)
    if inside.shape != b.shape[1:]:
        raise InputError(f"The region has shape {inside.shape}, a frame {b.shape[1:]}.")
    if inside.sum() < 2 or (over == "time" and b.shape[0] < 2):
        raise InputError("Variability needs at least two pixels in the region, and two frames.")
    sd_b, sd_a = (_variability(v, jnp.asarray(inside), over) for v in (b, a))
    return NoiseGain(sd_b, sd_a, 1 - sd_a / sd_b)


def _variability(frames: Array, inside: Array, over: str) -> Array:
    n, t = jnp.sum(inside), frames.shape[0]
    w = jnp.broadcast_to(inside[None], frames.shape)
    frames = jnp.where(w, frames, 0)
    deviation = frames - jnp.sum(frames, axis=(1, 2), keepdims=True) / n
    freedom = t * (n - 1)
    if over == "time":
        deviation = deviation - jnp.mean(deviation, axis=0, keepdims=True)
        freedom = (t - 1) * (n - 1)
    return jnp.sqrt(jnp.sum(jnp.where(w, deviation, 0) ** 2) / freedom)

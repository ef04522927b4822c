"""Is there an atom? Likelihood ratio of a site with its column against the same site without, and what it can tell.

    Λ(i) = n_i ln(λ¹_i/λ⁰_i) − (λ¹_i − λ⁰_i),    Λ = Σ_{i in window} Λ(i)          n_i ~ Poisson
    K_0(t) = Σ λ⁰ [(λ¹/λ⁰)^t − 1] − t Σ (λ¹ − λ⁰),    K_1(t) = K_0(t + 1)          cumulants without and with the column
    P(Λ >= x) = 1 − Φ(w) + φ(w) (1/v − 1/w)                                      Lugannani and Rice

λ¹ and λ⁰ are matched templates of the shape of a column, so that every pixel counts as much as it tells: no test of the
same two images is more powerful (Neyman and Pearson). The tails come from the Poisson counts by saddle point
(Lugannani and Rice, Adv. Appl. Probab. 12, 475 (1980), doi:10.2307/1426607), accurate to percents of a probability of
1e-6. Over a map of sites the share of false claims is kept by the step-up rule of Benjamini and Hochberg. The mean of
Λ over a disc is the score of Mohan et al., arXiv:2010.12970 (`phdenoise.observation.atoms`).
"""

from collections.abc import Callable
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int
from scipy.special import ndtr, ndtri

from phdenoise.modalities.tem.detection import kept_by_false_share
from phdenoise.types import InputError

# Iterations of the equation for the saddle point by bisection: 2⁻³² of the range.
_BISECTIONS = 32
# Range of the saddle point: tails beyond it are below 1e-30 at any dose that leaves a doubt.
_RANGE = 30.0
# |w| below which the two terms of Lugannani and Rice cancel: a straight line bridges it.
_CENTRE = 0.02
# Least expected counts of a pixel: the logarithm stays finite [electrons].
_LEAST = 1e-9

Verdict = Literal["present", "absent", "cannot tell"]


class Sites(NamedTuple):
    """Windows around sites.

    Attributes:
        corner: row and column of the first pixel of each window [site, 2]; windows lie inside the frame.
        present, absent: expected counts with and without the column [site, y, x] [electrons/px].
    """

    corner: Int[np.ndarray, "site 2"]
    present: Float[np.ndarray, "site y x"]
    absent: Float[np.ndarray, "site y x"]


class SiteTest(NamedTuple):
    """What counts say of each site.

    Attributes:
        ratio: Λ, positive for the column [site].
        p_absent: that a site without the column gives this ratio or a larger one [site].
        p_present: that a site with it gives this ratio or a smaller one [site].
        power: probability to find a column that is there, at a false-alarm rate of `level` a site [site].
        map_power: the same where one false claim in all of the sites is as improbable as `level` [site].
        distance: d' between the two hypotheses [sd].
        level: false-alarm rate.
        frames: summed.
    """

    ratio: np.ndarray
    p_absent: np.ndarray
    p_present: np.ndarray
    power: np.ndarray
    map_power: np.ndarray
    distance: np.ndarray
    level: float
    frames: int


def ratio_map(
    counts: Float[np.ndarray, "*a"],
    present: Float[np.ndarray, "*b"],
    absent: Float[np.ndarray, "*c"],
) -> Float[np.ndarray, "*a"]:
    """Log likelihood ratio of every pixel.

    Args:
        counts: n [electrons/px].
        present, absent: expected counts λ¹, λ⁰ [electrons/px].

    Returns:
        Λ of each pixel, positive where the counts speak for `present`.

    Raises:
        InputError: shapes that differ.
    """
    n, one, zero = (np.asarray(a, float) for a in (counts, present, absent))
    if not n.shape == one.shape == zero.shape:
        raise InputError(
            f"Counts and both expectations need one shape, got {n.shape}, {one.shape} and {zero.shape}."
        )
    one, zero = np.maximum(one, _LEAST), np.maximum(zero, _LEAST)
    return n * np.log(one / zero) - (one - zero)


def judge_sites(
    counts: Float[np.ndarray, "*t y x"], sites: Sites, *, level: float = 0.05
) -> SiteTest:
    """Test every site for its column.

    Args:
        counts: an image, or frames that are summed [electrons/px].
        sites: windows, with the counts expected in one frame.
        level: false-alarm rate.

    Returns:
        Ratios, their probabilities, and the power of the test.

    Raises:
        InputError: a level that is no probability, or windows outside the frame.
    """
    if not 0 < level < 1:
        raise InputError(f"The false-alarm rate must lie between 0 and 1, got {level}.")
    counts = np.asarray(counts, float)
    frames = 1 if counts.ndim == 2 else len(counts)
    summed = counts if counts.ndim == 2 else counts.sum(axis=0)
    number = len(sites.corner)
    if not number:
        nothing = np.zeros(0)
        return SiteTest(*(nothing,) * 6, level, frames)
    one, zero = (np.maximum(frames * np.asarray(a, float), _LEAST) for a in sites[1:])
    ratio = ratio_map(windows(summed, sites.corner, one.shape[1:]), one, zero).sum(axis=(1, 2))
    step = np.log(one / zero).reshape(number, -1)
    zero, shift = zero.reshape(number, -1), (one - zero.reshape(one.shape)).sum(axis=(1, 2))
    with jax.enable_x64(True):
        law = (jnp.asarray(zero), jnp.asarray(step), jnp.asarray(shift))
        above, other = (np.asarray(p) for p in _upper_tails(jnp.asarray(ratio), *law))
        below = 1 - other
        power = np.asarray(_power(level, *law))
        map_power = np.asarray(_power(level / number, *law))
    variance = [np.sum(w * step**2, axis=1) for w in (zero, zero * np.exp(step))]
    gap = np.sum(zero * np.expm1(step) * step, axis=1)
    distance = gap / np.sqrt(np.maximum(np.mean(variance, axis=0), 1e-300))
    return SiteTest(ratio, above, below, power, map_power, distance, level, frames)


def verdicts(test: SiteTest) -> list[Verdict]:
    """What can be claimed of each site, with a share of false claims below the level of the test.

    Args:
        test: of `judge_sites`.

    Returns:
        "present" where absence is refuted and presence is not, "absent" the other way round, else "cannot tell".
    """
    there = kept_by_false_share(test.p_absent, test.level)
    gone = kept_by_false_share(test.p_present, test.level)
    names: list[Verdict] = []
    for a, b in zip(there, gone, strict=True):
        names.append("cannot tell" if a == b else "present" if a else "absent")
    return names


def sentence(test: SiteTest, site: int, verdict: Verdict) -> str:
    """One claim with its power.

    Args:
        test: of `judge_sites`.
        site: index.
        verdict: of the site.

    Returns:
        A sentence for a reader.
    """
    power, of = 100 * test.power[site], "frame" if test.frames == 1 else "frames"
    dose = f"{test.frames} {of}"
    told = f"a column here is found in {power:.0f} % of such images ({dose}, {100 * test.level:g} % false alarms a site)"
    if verdict == "cannot tell":
        return f"This dose cannot tell the column from its absence: {told}."
    p = test.p_absent[site] if verdict == "present" else test.p_present[site]
    return f"The column is {verdict} (p = {p:.1e}); {told}."


def windows(
    image: Float[np.ndarray, "y x"], corner: Int[np.ndarray, "site 2"], shape: tuple[int, ...]
) -> Float[np.ndarray, "site a b"]:
    """Windows of an image.

    Args:
        image: [y, x].
        corner: first pixel of each window.
        shape: rows and columns of a window.

    Returns:
        Pixels of each.

    Raises:
        InputError: a window that leaves the image.
    """
    last = corner + np.asarray(shape[-2:])
    if len(corner) and (corner.min() < 0 or (last > np.asarray(image.shape)).any()):
        raise InputError("The windows of the sites must lie inside the frame.")
    rows = corner[:, 0, None, None] + np.arange(shape[-2])[:, None]
    columns = corner[:, 1, None, None] + np.arange(shape[-1])
    return image[rows, columns]


def _cumulants(t: Array, zero: Array, step: Array, shift: Array) -> tuple[Array, Array, Array]:
    """K_0, K_0' and K_0'' at t, of one site."""
    grown = zero * jnp.exp(t * step)
    return (
        jnp.sum(grown - zero) - t * shift,
        jnp.sum(grown * step) - shift,
        jnp.sum(grown * step**2),
    )


def _saddle(reached: Callable[[Array], Array], like: Array) -> Array:
    """The t from which on a growing condition holds."""

    def half(_: Array | int, span: tuple[Array, Array]) -> tuple[Array, Array]:
        low, high = span
        middle = (low + high) / 2
        there = reached(middle)
        return jnp.where(there, low, middle), jnp.where(there, middle, high)

    limit = jnp.full_like(like, _RANGE)
    low, high = jax.lax.fori_loop(0, _BISECTIONS, half, (-limit, limit))
    return (low + high) / 2


def _tail(t: Array, zero: Array, step: Array, shift: Array, tilt: float) -> Array:
    """P(Λ >= K_0'(t)) of one site, without the column (tilt 0) or with it (tilt 1): K_1(s) = K_0(s + 1), K_0(1) = 0."""
    k, x, bend = _cumulants(t, zero, step, shift)
    s = t - tilt
    w = jnp.sign(s) * jnp.sqrt(jnp.maximum(2 * (s * x - k), 0))
    v = s * jnp.sqrt(bend)
    # In the centre the limit of the correction is −skewness/6.
    base = zero * jnp.exp(tilt * step)
    skew = jnp.sum(base * step**3) / jnp.maximum(jnp.sum(base * step**2), 1e-300) ** 1.5
    near = jnp.abs(w) < _CENTRE
    safe_w, safe_v = jnp.where(near, 1.0, w), jnp.where(near, 1.0, v)
    extra = jnp.where(near, -skew / 6, 1 / safe_v - 1 / safe_w)
    normal = jnp.exp(-(w**2) / 2) / jnp.sqrt(2 * jnp.pi)
    return jnp.clip(jax.scipy.stats.norm.sf(w) + normal * extra, 0.0, 1.0)


@jax.jit
def _upper_tails(x: Array, zero: Array, step: Array, shift: Array) -> tuple[Array, Array]:
    """P(Λ >= x) of each site without and with the column."""

    def one(x: Array, zero: Array, step: Array, shift: Array) -> tuple[Array, Array]:
        t = _saddle(lambda t: _cumulants(t, zero, step, shift)[1] >= x, x)
        return _tail(t, zero, step, shift, 0.0), _tail(t, zero, step, shift, 1.0)

    return jax.vmap(one)(x, zero, step, shift)


@jax.jit
def _power(level: Array | float, zero: Array, step: Array, shift: Array) -> Array:
    """Probability to find a column, at the threshold that its absence passes with probability `level`."""

    def one(zero: Array, step: Array, shift: Array) -> Array:
        t = _saddle(lambda t: _tail(t, zero, step, shift, 0.0) <= level, shift)
        return _tail(t, zero, step, shift, 1.0)

    return jax.vmap(one)(zero, step, shift)


def matched_power(distance: Float[np.ndarray, "*s"], level: float) -> Float[np.ndarray, "*s"]:
    """Power of the best possible test of two Gaussians, for comparison.

    Args:
        distance: d' [sd].
        level: false-alarm rate.

    Returns:
        Power.
    """
    return ndtr(np.asarray(distance) + ndtri(level))

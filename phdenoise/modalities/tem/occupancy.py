"""Occupancy of surface sites over time: atoms come and go, and a movie shows it through noise.

    dP/dt = Q P,  Q: empty -> occupied with rate k_on, occupied -> empty with k_off,   P(dt) = exp(Q dt)
    L(k) = Σ_{s_1..s_T} π(s_1) Π P(s_t | s_{t−1}) exp(s_t Λ_t)          forward algorithm, the states summed out

Λ_t is the log likelihood ratio of a site in a frame (`likelihood`). No frame is called occupied or empty before the rates
are known: thresholds would count every false alarm as two jumps. Rates have the prior of a count of jumps without
information, k^(−1/2) dk, and intervals from their joint posterior on a grid, so that sites that never change give a bound.
Rabiner, Proc. IEEE 77, 257 (1989), doi:10.1109/5.18626.
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from phdenoise.types import InputError

# Rates of the grid for each of the two, and how far it reaches: a hundredth of a jump in the whole movie, to three in a
# frame, beyond which the frames are as good as independent.
_GRID, _SLOWEST, _FASTEST = 64, 0.01, 3.0
# Jumps in a frame from which on many are not seen, and a rate rests on the law rather than on jumps.
_UNRESOLVED = 0.5


class Rates(NamedTuple):
    """Rates of a two-state chain.

    Attributes:
        on, off: posterior median of k_on, k_off [1/time unit].
        on_interval, off_interval: central intervals.
        occupied: equilibrium occupancy k_on/(k_on + k_off), median, and its interval.
        occupied_interval: its interval.
        level: probability of the intervals.
        jumps: expected number of jumps on and off, given all frames.
        exposure: expected time spent empty and occupied [time unit].
        probability: that a site is occupied in a frame, given all frames, rates averaged over [site, t].
        resolved: False where jumps are faster than frames.
    """

    on: float
    off: float
    on_interval: tuple[float, float]
    off_interval: tuple[float, float]
    occupied: float
    occupied_interval: tuple[float, float]
    level: float
    jumps: tuple[float, float]
    exposure: tuple[float, float]
    probability: np.ndarray
    resolved: bool

    def sentences(self, unit: str = "s") -> tuple[str, ...]:
        """What the chain says, for a reader.

        Args:
            unit: of time.

        Returns:
            Sentences.
        """
        level = f"{100 * self.level:g} %"
        found = [
            f"Atoms arrive at an empty site at {_span(self.on, self.on_interval)} 1/{unit} ({level} interval), from about "
            f"{self.jumps[0]:.1f} arrivals in {self.exposure[0]:.4g} {unit} of empty sites.",
            f"Atoms leave an occupied site at {_span(self.off, self.off_interval)} 1/{unit} ({level} interval), from about "
            f"{self.jumps[1]:.1f} departures in {self.exposure[1]:.4g} {unit} of occupied sites.",
        ]
        if not self.resolved:
            found.append("Sites change faster than the frames show: the rates are lower bounds.")
        return tuple(found)


def fit_rates(
    ratio: Float[np.ndarray, "site t"],
    interval: float,
    *,
    level: float = 0.9,
) -> Rates:
    """Rates of arrival and departure from likelihood ratios, the same for all sites.

    Args:
        ratio: Λ of each site in each frame; NaN where a site is not seen.
        interval: time between frames [time unit].
        level: probability of the intervals.

    Returns:
        Rates with intervals, and the occupancy of each site.

    Raises:
        InputError: fewer than two frames, no site, or an interval that is not positive.
    """
    ratio = np.asarray(ratio, float)
    if ratio.ndim != 2 or ratio.shape[0] < 1 or ratio.shape[1] < 2:
        raise InputError(
            f"Rates need likelihood ratios [site, frame] of a site or more in two frames or more, got shape {ratio.shape}."
        )
    if not (np.isfinite(interval) and interval > 0):
        raise InputError(f"The time between frames must be positive, got {interval}.")
    if not 0 < level < 1:
        raise InputError(f"The level of an interval is a probability between 0 and 1, got {level}.")
    # A frame that does not show a site says nothing of it.
    known = np.where(np.isfinite(ratio), ratio, 0.0)
    slowest = _SLOWEST / (known.size * interval)
    rates = np.geomspace(slowest, _FASTEST / interval, _GRID)
    on, off = (a.ravel() for a in np.meshgrid(rates, rates, indexing="ij"))
    with jax.enable_x64(True):
        chances = jnp.asarray(_transitions(on, off, interval))
        likelihood = np.asarray(_log_likelihoods(chances, jnp.asarray(known)))
        # k^(−1/2) dk on a grid of equal steps of ln k.
        log_weight = likelihood + 0.5 * np.log(on) + 0.5 * np.log(off)
        weight = np.exp(log_weight - log_weight.max())
        weight /= weight.sum()
        kept = weight > 1e-6 * weight.max()
        found = _smoothed(chances[kept], jnp.asarray(known), jnp.asarray(weight[kept]))
        probability, jumps_on, jumps_off = (np.asarray(a) for a in found)
    grid = weight.reshape(_GRID, _GRID)
    sides = [_quantiles(rates, grid.sum(axis=k), level) for k in (1, 0)]
    share = _quantiles(*_sorted(on / (on + off), weight), level)
    at = probability[:, :-1]
    exposure = (float(np.sum(1 - at)) * interval, float(np.sum(at)) * interval)
    # Rates that are surely fast; one that nothing tells of may be anything.
    fastest = max(sides[0][0], sides[1][0])
    return Rates(
        sides[0][1], sides[1][1], (sides[0][0], sides[0][2]), (sides[1][0], sides[1][2]),
        share[1], (share[0], share[2]), level, (float(jumps_on), float(jumps_off)), exposure,
        probability, bool(fastest * interval < _UNRESOLVED),
    )  # fmt: skip


def _transitions(on: np.ndarray, off: np.ndarray, interval: float) -> np.ndarray:
    """P(dt) and equilibrium for each pair of rates: [rate, 3, 2], rows from empty, from occupied, equilibrium."""
    total = on + off
    share = on / total
    mixed = -np.expm1(-total * interval)
    empty = np.stack([1 - share * mixed, share * mixed], axis=-1)
    full = np.stack([(1 - share) * mixed, 1 - (1 - share) * mixed], axis=-1)
    return np.stack([empty, full, np.stack([1 - share, share], axis=-1)], axis=1)


def _emission(ratio: Array) -> Array:
    """Likelihoods of both states, the larger one 1 [..., 2], and what was divided by."""
    top = jnp.maximum(ratio, 0.0)
    return jnp.stack([jnp.exp(-top), jnp.exp(ratio - top)], axis=-1)


def _forward(chance: Array, ratio: Array) -> tuple[Array, Array]:
    """Filtered probabilities [t, 2] and log likelihood of one site."""
    emission = _emission(ratio)

    def step(state: Array, seen: Array) -> tuple[Array, tuple[Array, Array]]:
        joint = (state @ chance[:2]) * seen
        size = jnp.sum(joint)
        return joint / size, (joint / size, jnp.log(size))

    first = chance[2] * emission[0]
    size = jnp.sum(first)
    _, (states, sizes) = jax.lax.scan(step, first / size, emission[1:])
    filtered = jnp.concatenate([(first / size)[None], states])
    return filtered, jnp.log(size) + jnp.sum(sizes) + jnp.sum(jnp.maximum(ratio, 0.0))


@jax.jit
def _log_likelihoods(chances: Array, ratio: Array) -> Array:
    """Of all sites together, for each pair of rates."""
    sites = jax.vmap(lambda chance, r: _forward(chance, r)[1], (None, 0))
    return jax.lax.map(lambda chance: jnp.sum(sites(chance, ratio)), chances)


@partial(jax.jit)
def _smoothed(chances: Array, ratio: Array, weight: Array) -> tuple[Array, Array, Array]:
    """Occupancy [site, t] and expected jumps, averaged over rates."""

    def one(chance: Array, r: Array) -> tuple[Array, Array, Array]:
        filtered, _ = _forward(chance, r)
        emission = _emission(r)

        def back(beta: Array, seen: Array) -> tuple[Array, Array]:
            before = chance[:2] @ (seen * beta)
            before = before / jnp.sum(before)
            return before, before

        _, betas = jax.lax.scan(back, jnp.ones(2), emission[1:], reverse=True)
        betas = jnp.concatenate([betas, jnp.ones((1, 2))])
        both = filtered * betas
        both = both / jnp.sum(both, axis=1, keepdims=True)
        pair = filtered[:-1, :, None] * chance[None, :2] * (emission[1:] * betas[1:])[:, None, :]
        pair = pair / jnp.sum(pair, axis=(1, 2), keepdims=True)
        return both[:, 1], jnp.sum(pair[:, 0, 1]), jnp.sum(pair[:, 1, 0])

    def add(total: tuple[Array, Array, Array], item: tuple[Array, Array]) -> tuple[tuple[Array, Array, Array], None]:  # fmt: skip
        chance, w = item
        p, on, off = jax.vmap(one, (None, 0))(chance, ratio)
        return (total[0] + w * p, total[1] + w * jnp.sum(on), total[2] + w * jnp.sum(off)), None

    start = (jnp.zeros_like(ratio), jnp.zeros((), ratio.dtype), jnp.zeros((), ratio.dtype))
    total, _ = jax.lax.scan(add, start, (chances, weight))
    return total[0] / jnp.sum(weight), total[1] / jnp.sum(weight), total[2] / jnp.sum(weight)


def _sorted(values: np.ndarray, weight: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    order = np.argsort(values)
    return values[order], weight[order]


def _quantiles(values: np.ndarray, weight: np.ndarray, level: float) -> tuple[float, float, float]:
    """Lower end, median and upper end of a distribution on a grid."""
    middle = (np.cumsum(weight) - weight / 2) / weight.sum()
    tails = (0.5 - level / 2, 0.5, 0.5 + level / 2)
    low, mid, high = np.exp(np.interp(tails, middle, np.log(values)))
    return float(low), float(mid), float(high)


def _span(value: float, interval: tuple[float, float]) -> str:
    return f"{value:.3g} ({interval[0]:.2g} to {interval[1]:.2g})"

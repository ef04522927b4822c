"""Optical microscopy of graphite: intensity to state of charge, and soft phases from it.

    c = g(I),   g monotone and piecewise linear through calibration points
    p_k(c) ∝ exp(−(c − c_k)² / 2(w² + sd²))   for dilute, stage 2 and stage 1

Graphite turns from dark to red (LiC12) to gold (LiC6): Guo et al., J. Phys. Chem. Lett. 7, 2151
(2016), doi:10.1021/acs.jpclett.6b00625.
"""

from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from phdenoise.modalities.counting import Counts
from phdenoise.types import InputError


class Phase(NamedTuple):
    """A phase by name, lithium fraction x in Li_x C6, and colour under white light."""

    name: str
    fraction: float
    colour: str


GRAPHITE_PHASES = (
    Phase("dilute", 0.0, "dark grey-blue"),
    Phase("stage 2", 0.5, "red"),
    Phase("stage 1", 1.0, "gold"),
)


class StateOfCharge(eqx.Module):
    """Intensity of one channel <-> state of charge, by a monotone calibration curve.

    The end segments are continued as straight lines, so both directions are defined, invertible and
    differentiable for every value (noise leaves the calibrated range).

    Attributes:
        intensity: at the calibration points, strictly monotone [n].
        fraction: state of charge there, strictly increasing [n].
    """

    intensity: Float[Array, " n"]
    fraction: Float[Array, " n"]

    @classmethod
    def from_points(
        cls, intensity: Float[np.ndarray, " n"], fraction: Float[np.ndarray, " m"]
    ) -> "StateOfCharge":
        """A checked calibration; points may come in any order.

        Raises:
            InputError: fewer than two points, or a curve that is not monotone.
        """
        if intensity.shape != fraction.shape or intensity.size < 2:
            raise InputError("A calibration needs two or more intensities and as many fractions.")
        order = np.argsort(fraction)
        i, c = intensity[order], fraction[order]
        steps = np.diff(i)
        if not (np.all(np.diff(c) > 0) and (np.all(steps > 0) or np.all(steps < 0))):
            raise InputError(
                "The calibration curve is not monotone: one intensity would mean two states of "
                "charge; use another channel or fewer points."
            )
        return cls(jnp.asarray(i), jnp.asarray(c))

    def quantify(self, counts: Counts, variance: Counts | None = None) -> tuple[Array, Array]:
        """State of charge and its sd, |g'(I)| sd(I); zero sd where no variance is given."""
        x = jnp.asarray(counts)
        value, slope = _segments(x, self.intensity, self.fraction)
        if variance is None:
            return value, jnp.zeros_like(value)
        var = jnp.broadcast_to(jnp.asarray(variance), x.shape)
        return value, jnp.abs(slope) * jnp.sqrt(var)

    def observe(self, c: Counts) -> Array:
        """Expected intensity at a state of charge."""
        return _segments(jnp.asarray(c), self.fraction, self.intensity)[0]


def channel(
    rgb: Float[Array | np.ndarray, "t y x 3"],
    weights: tuple[float, float, float],
    variance: Float[Array | np.ndarray, "t y x 3"] | None = None,
) -> tuple[Float[Array, "t y x"], Float[Array, "t y x"]]:
    """One intensity from colours, Σ w_k I_k, and its variance for independent channels (0 if none)."""
    rgb = jnp.asarray(rgb)
    w = jnp.asarray(weights, rgb.dtype)
    value = rgb @ w
    return value, jnp.zeros_like(value) if variance is None else jnp.asarray(variance) @ w**2


def classify(
    c: Float[Array | np.ndarray, "t y x"],
    sd: Float[Array | np.ndarray, "t y x"] | float = 0.0,
    phases: tuple[Phase, ...] = GRAPHITE_PHASES,
    width: float = 0.1,
) -> Float[Array, "phase t y x"]:
    """Probability of each phase, assuming that a phase spreads by `width` around its fraction.

    Args:
        c, sd: state of charge and its uncertainty.
        phases: table of phases.
        width: spread of fraction within one phase, > 0.

    Returns:
        Probabilities that sum to one over the first axis.
    """
    c = jnp.asarray(c)
    var = width**2 + jnp.broadcast_to(jnp.asarray(sd, c.dtype), c.shape) ** 2
    logits = jnp.stack([-((c - p.fraction) ** 2) / (2 * var) for p in phases])
    return jax.nn.softmax(logits, axis=0)


def _segments(x: Array, knots: Array, values: Array) -> tuple[Array, Array]:
    """Piecewise-linear value and slope; knots may fall or rise; ends continued."""
    rising = knots[-1] > knots[0]
    sign = jnp.where(rising, 1, -1).astype(x.dtype)
    i = jnp.clip(jnp.searchsorted(sign * knots, sign * x) - 1, 0, knots.shape[0] - 2)
    slope = jnp.diff(values) / jnp.diff(knots)
    return values[i] + slope[i] * (x - knots[i]), slope[i]

"""Soft X-ray absorption at one or more energies: counts to lithium fraction.

    −ln(I/I₀) = d [ c a_Li(E) + (1 − c) a_D(E) ]

with thickness d and the absorption of the lithiated and delithiated end members. The fraction is the weighted
least-squares solution over the measured energies. Lim et al., Science 353, 566 (2016),
doi:10.1126/science.aaf4914.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from phdenoise.observation.base import Observation, leading_axes
from phdenoise.observation.optical_density import safe_log
from phdenoise.types import InputError, Moments


class LithiumFraction(Observation):
    """Counts at one or more energies [e, t, y, x] <-> lithium fraction [t, y, x].

    Attributes:
        incident: I₀ at each energy [e] [counts].
        lithiated, delithiated: OD of the end members at each energy [e], at d = 1.
        thickness: d, a number or an image [y, x] [thickness of the end members]; used by `observe`, and by
            `quantify` if `known`.
        known: True: d is given and one energy is enough; False: d is fitted with c (e >= 2).
        floor: counts below which the logarithm is continued by its tangent.

    Raises:
        InputError: spectra of different lengths, or one energy for two unknowns.
    """

    incident: Float[Array, " e"]
    lithiated: Float[Array, " e"]
    delithiated: Float[Array, " e"]
    thickness: Array
    known: bool = eqx.field(static=True)
    floor: float = eqx.field(static=True, default=1.0)
    lower = 0.0
    upper = 1.0

    def __check_init__(self) -> None:
        n = self.lithiated.shape[0]
        if self.incident.shape != (n,) or self.delithiated.shape != (n,):
            raise InputError("I₀ and both end-member spectra need one value per energy.")
        if not self.known and n < 2:
            raise InputError(
                "One energy cannot give both thickness and lithium fraction: "
                "give the thickness, or measure at two energies or more."
            )

    def observe(self, field: Float[Array | np.ndarray, "t y x"]) -> Float[Array, "e t y x"]:
        """Expected counts at every energy."""
        c = jnp.asarray(field)[None]
        d = leading_axes(self.thickness, 4)
        od = d * (c * _column(self.lithiated) + (1 - c) * _column(self.delithiated))
        return _column(self.incident) * jnp.exp(-od)

    def quantify(
        self,
        counts: Float[Array | np.ndarray, "e t y x"],
        variance: Float[Array | np.ndarray, "e t y x"],
    ) -> Moments:
        """Lithium fraction and its variance; c = 1/2 and infinite where the fitted thickness is not positive.

        Args:
            counts: I at every energy [counts].
            variance: of the counts, above 0 (it weighs the energies) [counts²].

        Returns:
            c and its variance, both [t, y, x].
        """
        counts = jnp.asarray(counts)
        od = jnp.log(_column(self.incident)) - safe_log(counts, self.floor)
        weight = jnp.maximum(counts, self.floor) ** 2 / jnp.asarray(variance)
        if self.known:
            return self._at_known_thickness(od, weight)
        return self._with_thickness(od, weight)

    def _at_known_thickness(self, od: Array, weight: Array) -> Moments:
        high, low = _column(self.lithiated), _column(self.delithiated)
        d = leading_axes(self.thickness, 4)
        slope = d * (high - low)
        information = jnp.sum(weight * slope**2, axis=0)
        return Moments(
            jnp.sum(weight * slope * (od - d * low), axis=0) / information, 1 / information
        )

    def _with_thickness(self, od: Array, weight: Array) -> Moments:
        """Least squares for a = d c and b = d (1 − c), then c = a/(a + b)."""
        high, low = _column(self.lithiated), _column(self.delithiated)
        hh, hl, ll = (jnp.sum(weight * u, axis=0) for u in (high**2, high * low, low**2))
        h, l_ = jnp.sum(weight * high * od, axis=0), jnp.sum(weight * low * od, axis=0)
        det = hh * ll - hl**2
        a, b = (ll * h - hl * l_) / det, (hh * l_ - hl * h) / det
        inside = a + b > 0
        d = jnp.where(inside, a + b, 1)
        # dc = (b da − a db)/d²; covariance of (a, b) is the inverse of the normal matrix.
        var = (b**2 * ll + a**2 * hh + 2 * a * b * hl) / (det * d**4)
        return Moments(jnp.where(inside, a / d, 0.5), jnp.where(inside, var, jnp.inf))


def _column(spectrum: Float[Array, " e"]) -> Float[Array, "e 1 1 1"]:
    return jax.lax.expand_dims(spectrum, (1, 2, 3))

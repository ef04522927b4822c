"""Soft X-ray transmission: counts to optical density, optical densities to lithium fraction.

    OD = −ln(I/I₀) = d [ c a_Li(E) + (1 − c) a_D(E) ]

with the Beer-Lambert law, thickness d and the absorption of the lithiated and delithiated end
members. The fraction is the weighted least-squares solution over the measured energies.
Lim et al., Science 353, 566 (2016), doi:10.1126/science.aaf4914.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from phdenoise.modalities.counting import Counts, log_sd, safe_log
from phdenoise.types import InputError


class OpticalDensity(eqx.Module):
    """Counts <-> optical density, OD = −ln(I/I₀).

    Attributes:
        incident: I₀, a number or an image [y, x] [counts].
        floor: counts below which the logarithm is continued by its tangent.
    """

    incident: Array
    floor: float = eqx.field(static=True, default=1.0)

    def quantify(self, counts: Counts, variance: Counts | None = None) -> tuple[Array, Array]:
        """Optical density and its sd from counts; variance defaults to Poisson."""
        counts = jnp.asarray(counts)
        incident = _over(self.incident, counts.ndim)
        od = jnp.log(incident) - safe_log(counts, self.floor)
        return od, log_sd(counts, variance, self.floor)

    def observe(self, od: Counts) -> Array:
        """Expected counts I₀ exp(−OD)."""
        od = jnp.asarray(od)
        return _over(self.incident, od.ndim) * jnp.exp(-od)


class LithiumFraction(eqx.Module):
    """Counts at one or more energies <-> lithium fraction.

    Attributes:
        incident: I₀ at each energy [e] [counts].
        lithiated, delithiated: OD of the end members at each energy [e], at d = 1.
        thickness: d, a number or image [y, x]; used by `observe`, and by `quantify` if `known`.
        known: True: d is given and one energy is enough; False: d is fitted with c (e >= 2).
    """

    incident: Float[Array, " e"]
    lithiated: Float[Array, " e"]
    delithiated: Float[Array, " e"]
    thickness: Array
    known: bool = eqx.field(static=True)
    floor: float = eqx.field(static=True, default=1.0)

    def __check_init__(self) -> None:
        n = self.lithiated.shape[0]
        if self.incident.shape != (n,) or self.delithiated.shape != (n,):
            raise InputError("I₀ and both end-member spectra need one value per energy.")
        if not self.known and n < 2:
            raise InputError(
                "One energy cannot give both thickness and lithium fraction: "
                "give the thickness, or measure at two energies or more."
            )

    def quantify(
        self,
        counts: Float[Array | np.ndarray, "e t y x"],
        variance: Float[Array | np.ndarray, "e t y x"] | None = None,
    ) -> tuple[Float[Array, "t y x"], Float[Array, "t y x"]]:
        """Lithium fraction and its sd; variance defaults to Poisson.

        Where the fitted thickness is not positive (background), c = 1/2 with infinite sd.
        """
        counts = jnp.asarray(counts)
        od = jnp.log(_column(self.incident)) - safe_log(counts, self.floor)
        weight = 1 / log_sd(counts, variance, self.floor) ** 2
        high, low = _column(self.lithiated), _column(self.delithiated)
        if self.known:
            d = jnp.broadcast_to(_over(self.thickness, 3), counts.shape[1:])[None]
            slope = d * (high - low)
            information = jnp.sum(weight * slope**2, axis=0)
            c = jnp.sum(weight * slope * (od - d * low), axis=0) / information
            return c, 1 / jnp.sqrt(information)
        hh, hl, ll = (jnp.sum(weight * u, axis=0) for u in (high**2, high * low, low**2))
        h, l_ = jnp.sum(weight * high * od, axis=0), jnp.sum(weight * low * od, axis=0)
        det = hh * ll - hl**2
        a, b = (ll * h - hl * l_) / det, (hh * l_ - hl * h) / det  # d c and d (1 − c)
        inside = a + b > 0
        d = jnp.where(inside, a + b, 1)
        # dc = (b da − a db)/d²; covariance of (a, b) is the inverse of the normal matrix.
        var = (b**2 * ll + a**2 * hh + 2 * a * b * hl) / (det * d**4)
        sd = jnp.sqrt(jnp.where(inside, var, 1))
        return jnp.where(inside, a / d, 0.5), jnp.where(inside, sd, jnp.inf)

    def observe(self, c: Float[Array | np.ndarray, "t y x"]) -> Float[Array, "e t y x"]:
        """Expected counts at every energy."""
        c = jnp.asarray(c)[None]
        d = _over(self.thickness, 4)
        od = d * (c * _column(self.lithiated) + (1 - c) * _column(self.delithiated))
        return _column(self.incident) * jnp.exp(-od)


def _over(value: Array, ndim: int) -> Array:
    """An image or number with leading axes added, so that nothing broadcasts by accident."""
    value = jnp.asarray(value)
    return value.reshape((1,) * (ndim - value.ndim) + value.shape)


def _column(spectrum: Float[Array, " e"]) -> Float[Array, "e 1 1 1"]:
    return jax.lax.expand_dims(spectrum, (1, 2, 3))

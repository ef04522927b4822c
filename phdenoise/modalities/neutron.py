"""Neutron radiography: counts to transmission, transmission to the change of lithium concentration.

    T = (I − DF)/(OB − DF) = exp(−Σ d),   Δc = −ln(T_t/T_0) / (σ N_A d)

DF dark field, OB open beam, T_0 the transmission at rest, σ the total cross-section of lithium at the
wavelength used, d the path through the cell. Strobl et al., J. Phys. D 42, 243001 (2009),
doi:10.1088/0022-3727/42/24/243001; cross-section: Sears, Neutron News 3, 26 (1992),
doi:10.1080/10448639208218770.
"""

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from phdenoise.modalities.counting import Counts, log_sd, safe_log
from phdenoise.types import InputError

AVOGADRO = 6.02214076e23  # 1/mol
# Absorption of natural lithium at 1.798 Å [cm²]; proportional to the wavelength.
LITHIUM_ABSORPTION = 70.5e-24


def transmission(
    counts: Float[Array | np.ndarray, "t y x"],
    open_beam: Float[Array | np.ndarray, "y1 x1"],
    dark: Float[Array | np.ndarray, "y2 x2"],
) -> Float[Array, "t y x"]:
    """(I − DF)/(OB − DF).

    Raises:
        InputError: if the images do not fit the frames, or the open beam is not above the dark field.
    """
    shape = counts.shape[1:]
    if open_beam.shape != shape or dark.shape != shape:
        raise InputError(
            f"Open beam {open_beam.shape} and dark field {dark.shape} must have the frames' "
            f"shape {shape}."
        )
    beam = jnp.asarray(open_beam) - jnp.asarray(dark)
    return (jnp.asarray(counts) - jnp.asarray(dark)[None]) / beam[None]


class LithiumChange(eqx.Module):
    """Counts <-> change of lithium concentration since the reference [mol/cm³].

    Attributes:
        reference: counts I_0 at rest with the beam of the movie, averaged [y, x].
        dark: dark field [y, x] [counts].
        thickness: d, path through the lithium-bearing layer [cm].
        dose: beam intensity of each frame over that of the reference (open beam over open beam),
            [t] or a number.
        reference_variance: of the averaged `reference` [counts²]; 0 if it may be taken as exact.
        cross_section: σ [cm²].
    """

    reference: Float[Array, "y x"]
    dark: Float[Array, "y x"]
    thickness: Array
    dose: Array = eqx.field(default_factory=lambda: jnp.ones(()))
    reference_variance: Array = eqx.field(default_factory=lambda: jnp.zeros(()))
    cross_section: float = eqx.field(static=True, default=LITHIUM_ABSORPTION)
    floor: float = eqx.field(static=True, default=1.0)

    def quantify(
        self, counts: Float[Array | np.ndarray, "t y x"], variance: Counts | None = None
    ) -> tuple[Float[Array, "t y x"], Float[Array, "t y x"]]:
        """Δc and its sd [mol/cm³]; variance of the counts defaults to Poisson (of I, not of I − DF)."""
        counts = jnp.asarray(counts)
        signal, rest = counts - self.dark[None], self.reference - self.dark
        var = jnp.maximum(counts, self.floor) if variance is None else variance
        log_ratio = safe_log(signal, self.floor) - jnp.log(self._dose()) - jnp.log(rest)[None]
        sd = log_sd(signal, var, self.floor)
        common = jnp.broadcast_to(jnp.sqrt(self.reference_variance) / rest, rest.shape)
        scale = self._scale()
        return -log_ratio / scale, jnp.sqrt(sd**2 + common[None] ** 2) / scale

    def observe(self, change: Float[Array | np.ndarray, "t y x"]) -> Float[Array, "t y x"]:
        """Expected counts for a change of concentration [mol/cm³]."""
        rest = (self.reference - self.dark)[None]
        return self.dark[None] + self._dose() * rest * jnp.exp(-self._scale() * jnp.asarray(change))

    def _dose(self) -> Float[Array, "t 1 1"]:
        return jnp.reshape(self.dose, (-1, 1, 1))

    def _scale(self) -> Array:
        """ln T per mol/cm³: σ N_A d [cm³/mol]."""
        return self.cross_section * AVOGADRO * self.thickness

"""Neutron radiography: counts to the change of lithium concentration since rest.

    T = (I − DF)/(OB − DF) = exp(−Σ d),   Δc = −ln(T_t/T_0) / (σ N_A d)

DF dark field, OB open beam, T_0 the transmission at rest, σ the total cross-section of lithium at the wavelength
used, d the path through the cell. Strobl et al., J. Phys. D 42, 243001 (2009), doi:10.1088/0022-3727/42/24/243001.
"""

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from phdenoise.observation.base import Observation, leading_axes, propagate
from phdenoise.observation.optical_density import safe_log
from phdenoise.types import Moments

# Avogadro constant [1/mol], exact in the SI since 2019.
AVOGADRO = 6.02214076e23
# Absorption cross-section of natural lithium at 1.798 Å [cm²]; proportional to the wavelength. Sears, Neutron News 3,
# 26 (1992), doi:10.1080/10448639208218770.
LITHIUM_ABSORPTION = 70.5e-24


class LithiumChange(Observation):
    """Counts <-> change of lithium concentration since the reference.

    Attributes:
        reference: counts I_0 at rest with the beam of the movie, averaged [y, x].
        dark: dark field [y, x] [counts].
        thickness: d, path through the lithium-bearing layer [cm].
        dose: beam intensity of each frame over that of the reference (open beam over open beam), [t] or a number.
        reference_variance: of the averaged `reference`, a number or [y, x] [counts²]; 0 if it may be taken as exact.
        cross_section: σ [cm²].
        floor: counts below which the logarithm is continued by its tangent.
    """

    reference: Float[Array, "y x"]
    dark: Float[Array, "y x"]
    thickness: Array
    dose: Array = eqx.field(default_factory=lambda: jnp.ones(()))
    reference_variance: Array = eqx.field(default_factory=lambda: jnp.zeros(()))
    cross_section: float = eqx.field(static=True, default=LITHIUM_ABSORPTION)
    floor: float = eqx.field(static=True, default=1.0)
    unit = "mol/cm³"

    def observe(self, field: Float[Array | np.ndarray, "t y x"]) -> Float[Array, "t y x"]:
        """Expected counts for a change of concentration."""
        rest = (self.reference - self.dark)[None]
        return self.dark[None] + self._dose() * rest * jnp.exp(-self._scale() * jnp.asarray(field))

    def invert(self, counts: Float[Array | np.ndarray, "t y x"]) -> Float[Array, "t y x"]:
        """Change of concentration for noise-free counts."""
        signal, rest = jnp.asarray(counts) - self.dark[None], self.reference - self.dark
        log_ratio = safe_log(signal, self.floor) - jnp.log(self._dose()) - jnp.log(rest)[None]
        return -log_ratio / self._scale()

    def quantify(
        self, counts: Float[Array | np.ndarray, "t y x"], variance: Float[Array | np.ndarray, "..."]
    ) -> Moments:
        """Change of concentration and its variance, that of the reference included.

        Args:
            counts: I, dark field included [counts].
            variance: of I, of the same shape [counts²].

        Returns:
            Δc [mol/cm³] and its variance.
        """
        mean, var = propagate(self.invert, counts, variance)
        relative = (
            leading_axes(self.reference_variance, 3) / (self.reference - self.dark)[None] ** 2
        )
        return Moments(mean, var + relative / self._scale() ** 2)

    def _dose(self) -> Float[Array, "t 1 1"]:
        return jnp.reshape(self.dose, (-1, 1, 1))

    def _scale(self) -> Array:
        """−ln T per mol/cm³: σ N_A d [cm³/mol]."""
        return self.cross_section * AVOGADRO * self.thickness

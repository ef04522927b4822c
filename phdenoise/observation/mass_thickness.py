"""Transmission electron microscopy: detector counts to mass-thickness.

    ρt = −λ ln(n/n_vac),   n = (counts − offset)/gain

Mass-thickness contrast holds for amorphous matter and low magnification. At atomic resolution use the electrons
per pixel themselves (`AffineConcentration(offset, offset + gain)`) and `phdenoise.observation.atoms`.
"""

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from phdenoise.observation.base import Pointwise, Values
from phdenoise.observation.optical_density import safe_log


class MassThickness(Pointwise):
    """Detector counts <-> mass-thickness.

    Attributes:
        vacuum: n_vac, electrons per pixel in vacuum.
        gain: counts per electron.
        offset: counts without electrons.
        attenuation: λ [unit]; 1 gives the mass-thickness in units of λ.
        floor: electrons below which the logarithm is continued by its tangent; a ninth of the vacuum dose, 0.45 electrons,
            of Mohan et al., arXiv:2010.12970.
        unit: of the mass-thickness and of λ.
    """

    vacuum: Array
    gain: float = 1.0
    offset: float = 0.0
    attenuation: float = 1.0
    floor: float = eqx.field(static=True, default=0.05)
    unit: str = eqx.field(static=True, default="λ")
    lower = 0.0
    upper = np.inf

    def observe(self, field: Values) -> Array:
        """Expected detector counts of a mass-thickness."""
        n = self.vacuum * jnp.exp(-jnp.asarray(field) / self.attenuation)
        return self.offset + self.gain * n

    def invert(self, counts: Values) -> Array:
        """Mass-thickness of detector counts."""
        electrons = (jnp.asarray(counts) - self.offset) / self.gain
        return self.attenuation * (jnp.log(self.vacuum) - safe_log(electrons, self.floor))

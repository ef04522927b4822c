"""Transmission electron microscopy: detector counts to mass-thickness, and is that an atom?

    ρt = −λ ln(n/n_vac),   n = (counts − offset)/gain
    LLR(B) = (1/|B|) Σ_{i∈B} [ log Poisson(n_i; λ_i) − log Poisson(n_i; n_vac) ]

Mass-thickness contrast holds for amorphous matter and low magnification; at atomic resolution use
the counts and the likelihood ratio of Mohan et al., IEEE Trans. Comput. Imaging 8, 585 (2022),
arXiv:2010.12970.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from phdenoise.modalities.counting import Counts, log_sd, safe_log
from phdenoise.types import InputError


class MassThickness(eqx.Module):
    """Detector counts <-> mass-thickness in units of λ (unless λ is given).

    Attributes:
        vacuum: n_vac, electrons per pixel in vacuum.
        gain: counts per electron.
        offset: counts without electrons.
        attenuation: λ [unit of the result].
        floor: electrons below which the logarithm is continued by its tangent.
    """

    vacuum: Array
    gain: float = 1.0
    offset: float = 0.0
    attenuation: float = 1.0
    floor: float = eqx.field(static=True, default=0.05)

    def quantify(self, counts: Counts, variance: Counts | None = None) -> tuple[Array, Array]:
        """Mass-thickness and its sd; variance of the counts defaults to Poisson electrons."""
        n = self.electrons(counts)
        var = None if variance is None else jnp.asarray(variance) / self.gain**2
        depth = jnp.log(self.vacuum) - safe_log(n, self.floor)
        return self.attenuation * depth, self.attenuation * log_sd(n, var, self.floor)

    def observe(self, thickness: Counts) -> Array:
        """Expected detector counts."""
        n = self.vacuum * jnp.exp(-jnp.asarray(thickness) / self.attenuation)
        return self.offset + self.gain * n

    def electrons(self, counts: Counts) -> Array:
        """Electrons per pixel, (counts − offset)/gain."""
        return (jnp.asarray(counts) - self.offset) / self.gain


def atom_likelihood_ratio(
    electrons: Float[Array | np.ndarray, "y x"],
    mean: Float[Array | np.ndarray, "y1 x1"],
    columns: Bool[Array | np.ndarray, "atom y x"],
    vacuum: float = 0.45,
) -> Float[Array, " atom"]:
    """Mean log-likelihood ratio per pixel of each atomic column against vacuum.

    Args:
        electrons: measured n [electrons/pixel].
        mean: denoised λ [electrons/pixel]; its mean over the column is used, floored at 1e-6.
        columns: True on the pixels of each column.
        vacuum: n_vac [electrons/pixel].

    Returns:
        Positive where the data speak for an atom (or anything but vacuum), 0 for an empty column.

    Raises:
        InputError: if shapes differ.
    """
    n, lam = jnp.asarray(electrons), jnp.asarray(mean)
    if n.shape != lam.shape:
        raise InputError(f"The counts have shape {n.shape}, the denoised frame {lam.shape}.")

    def ratio(inside: Array) -> Array:
        size = jnp.maximum(jnp.sum(inside), 1)
        level = jnp.maximum(jnp.sum(jnp.where(inside, lam, 0)) / size, 1e-6)
        # log n! cancels.
        terms = n * jnp.log(level / vacuum) - (level - vacuum)
        return jnp.sum(jnp.where(inside, terms, 0)) / size

    return jax.vmap(ratio)(jnp.asarray(columns))

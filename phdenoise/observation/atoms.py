"""Is that an atom? Likelihood ratio of a column of atoms against vacuum.

    LLR(B) = (1/|B|) Σ_{i∈B} [ log Poisson(n_i; λ_i) − log Poisson(n_i; n_vac) ]

Mohan et al., IEEE Trans. Comput. Imaging 8, 585 (2022), arXiv:2010.12970.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from phdenoise.types import InputError

# Dose of a vacuum pixel in Mohan et al., arXiv:2010.12970 [electrons/pixel].
VACUUM_ELECTRONS = 0.45
# Least mean of a column, so that its logarithm is finite [electrons/pixel]; far below one electron in a megapixel.
_LEAST_ELECTRONS = 1e-6


def atom_likelihood_ratio(
    electrons: Float[Array | np.ndarray, "y x"],
    mean: Float[Array | np.ndarray, "y1 x1"],
    columns: Bool[Array | np.ndarray, "atom y x"],
    vacuum: float = VACUUM_ELECTRONS,
) -> Float[Array, " atom"]:
    """Mean log-likelihood ratio per pixel of each atomic column against vacuum.

    Args:
        electrons: measured n [electrons/pixel].
        mean: denoised λ [electrons/pixel]; its mean over the column is used.
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
        level = jnp.maximum(jnp.sum(jnp.where(inside, lam, 0)) / size, _LEAST_ELECTRONS)
        # log n! cancels.
        terms = n * jnp.log(level / vacuum) - (level - vacuum)
        return jnp.sum(jnp.where(inside, terms, 0)) / size

    return jax.vmap(ratio)(jnp.asarray(columns))

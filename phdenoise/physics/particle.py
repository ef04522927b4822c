"""Particles on a grid: their masks, their rim, and rate constants that vary over them.

    k(x,y) = k₀ exp( Σₙ θₙ φₙ(x,y) ),  θₙ = sₙ zₙ,   −∇²φₙ = λₙ φₙ on the mask with closed edges, n = 1 … N

φₙ are the slowest modes of the mask's graph Laplacian except the constant one, with mean square one, so that
the mean of ln k is ln k₀. With sₙ ∝ 1/(1 + λₙℓ²) the field ln k/k₀ is smooth over the length ℓ
(Lindgren, Rue & Lindström, doi:10.1111/j.1467-9868.2011.00777.x). Particles that do not touch get the piecewise
constant modes first, which tell one from another. Zhao et al., Nature 621, 289 (2023),
doi:10.1038/s41586-023-06393-x.
"""

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from scipy import sparse
from scipy.sparse import csgraph
from scipy.sparse.linalg import eigsh

from phdenoise.grid import Grid
from phdenoise.physics.law_parameters import POSITIVE, REAL, data, parameter
from phdenoise.types import Field, InputError, Scalar


class Heterogeneity(eqx.Module):
    """k(x,y) = k₀ exp(Σ zₙ sₙ φₙ), z standard normal a priori.

    Args:
        coefficients: z₁ … z_N, in standard deviations of the prior.
        modes: sₙ φₙ [n, y, x], zero outside the mask; from `heterogeneity`.
        scale: k₀ [1/time], the geometric mean of k over the mask.
    """

    coefficients: Float[Array, " n"] = parameter(REAL, sd=1.0, mean=0.0)
    modes: Float[Array, "n y x"] = data()
    scale: Scalar = parameter(POSITIVE, sd=2.0, default=1.0)

    def __call__(self) -> Field:
        """k > 0 [y, x]; k₀ outside the mask."""
        return self.scale * jnp.exp(jnp.tensordot(self.coefficients, self.modes, axes=1))


def heterogeneity(
    grid: Grid, count: int, *, length: float, sd: float, scale: float = 1.0
) -> Heterogeneity:
    """A uniform k₀, free to vary over the mask of the grid in its `count` slowest modes.

    Args:
        grid: domain with its mask.
        count: modes.
        length: ℓ over which ln k is smooth a priori [length].
        sd: of ln k over the particle a priori.
        scale: k₀ [1/time].

    Returns:
        k(x,y) = k₀ with `count` free coefficients.
    """
    modes, eigenvalues = mask_modes(grid, count)
    weighted = smooth_prior(eigenvalues, length=length, sd=sd)[:, None, None] * modes
    dtype = jnp.result_type(float)
    return Heterogeneity(
        jnp.zeros(count, dtype), jnp.asarray(weighted, dtype), jnp.asarray(scale, dtype)
    )


def mask_modes(grid: Grid, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Modes φ₁ … φ_count of the mask and their eigenvalues λ.

    Args:
        grid: domain with its mask.
        count: modes.

    Returns:
        Modes [n, y, x], zero outside, and eigenvalues [n] [1/length²].

    Raises:
        InputError: if the mask has not more than `count` cells.
    """
    mask = np.ones(grid.shape, bool) if grid.mask is None else np.asarray(grid.mask)
    cells = int(mask.sum())
    if not 1 <= count < cells - 1:
        raise InputError(f"{count} modes need a mask of more than {count + 1} cells, not {cells}.")
    matrix = graph_laplacian(grid)
    parts, label = csgraph.connected_components(matrix, directed=False)
    pieces = (label[:, None] == np.arange(parts)).astype(float)
    # The constant first: the others of the null space are then orthogonal to it.
    null = np.linalg.qr(np.column_stack([np.ones(cells), pieces[:, 1:]]))[0][:, 1:]
    vectors, values = null, np.zeros(parts - 1)
    wanted = count + 1
    if wanted > parts:
        scale = float(matrix.diagonal().max())
        # A fixed start makes the modes the same in every run.
        start = np.cos(1.0 + np.arange(cells))
        found, basis = _lowest(matrix, min(wanted, cells - 1), 1e-3 * scale / cells, start)
        values = np.concatenate([values, found[parts:]])
        vectors = np.concatenate([vectors, basis[:, parts:]], axis=1)
    order = slice(0, count)
    modes = np.zeros((count, *grid.shape))
    modes[:, mask] = vectors[:, order].T * np.sqrt(cells)
    largest = np.take_along_axis(
        modes.reshape(count, -1), np.abs(modes.reshape(count, -1)).argmax(1)[:, None], 1
    )
    return modes * np.sign(largest)[:, :, None], values[order]


def graph_laplacian(grid: Grid) -> sparse.csc_matrix:
    """−∇² with closed edges on the cells of the mask, in their order [1/length²]."""
    mask = np.ones(grid.shape, bool) if grid.mask is None else np.asarray(grid.mask)
    number = np.cumsum(mask.ravel()).reshape(mask.shape) - 1
    cells = int(mask.sum())
    total = sparse.csc_matrix((cells, cells))
    for axis, h in enumerate(np.asarray(grid.spacing, float)):
        after, there = np.roll(number, -1, axis), np.roll(mask, -1, axis) & mask
        if grid.boundary != "periodic":
            there[(slice(None),) * axis + (-1,)] = False
        i, j = number[there], after[there]
        links = sparse.coo_matrix((np.full(i.size, 1 / h**2), (i, j)), (cells, cells))
        total = total + csgraph.laplacian((links + links.T).tocsc())
    return total.tocsc()


def smooth_prior(
    eigenvalues: Float[np.ndarray, " n"], *, length: float, sd: float
) -> Float[np.ndarray, " n"]:
    """Standard deviations of θ for which ln k varies by `sd` over the particle, smoothly over `length`.

    Args:
        eigenvalues: λ of the modes [n] [1/length²].
        length: ℓ [length].
        sd: standard deviation of ln k over the particle.

    Returns:
        Standard deviations [n].
    """
    decay = 1 / (1 + eigenvalues * length**2)
    return sd * decay / np.sqrt(np.sum(decay**2))


def disc(shape: tuple[int, int], radius: float, centre: tuple[float, float] | None = None) -> Array:
    """Mask of a disc.

    Args:
        shape: cells (ny, nx).
        radius: of the disc [cells].
        centre: (y, x) [cells]; that of the box by default.

    Returns:
        True inside [y, x].
    """
    cy, cx = ((n - 1) / 2 for n in shape) if centre is None else centre
    y, x = np.indices(shape)
    return jnp.asarray((y - cy) ** 2 + (x - cx) ** 2 < radius**2)


def rim(grid: Grid) -> Field:
    """Length of closed edge per area of every cell inside the mask [1/length].

    The rate constant k_s [length/time] of a reaction at the rim is k(x,y) = k_s · rim(grid).
    """
    if grid.mask is None:
        raise InputError("rim needs a grid with a particle mask.")
    mask = np.asarray(grid.mask)
    total = np.zeros(grid.shape)
    for axis, h in enumerate(np.asarray(grid.spacing, float)):
        for step in (1, -1):
            beside = np.roll(mask, step, axis)
            if grid.boundary != "periodic":
                beside[(slice(None),) * axis + (0 if step > 0 else -1,)] = False
            total += (mask & ~beside) / h
    return jnp.asarray(total, jnp.result_type(float))


def _lowest(
    matrix: sparse.csc_matrix, count: int, shift: float, start: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The lowest eigenpairs, by inverse iteration about a point just below zero."""
    values, vectors = eigsh(matrix, k=count, sigma=-shift, which="LM", v0=start)
    order = np.argsort(values)
    return values[order], vectors[:, order]

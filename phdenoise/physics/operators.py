"""Conservative differences between cells and faces.

    (∇c)_{i+½} = (c_{i+1} − c_i)/h,   (∇·F)_i = (F_{i+½} − F_{i−½})/h

Cell-centred finite volumes: what leaves a cell through a face enters its neighbour, so mass is
conserved to round-off. Faces on the edge of a no-flux box and of a particle mask are closed.
Every function works on the last two axes, so on any batch. Both axes are padded and sliced rather
than rolled: XLA runs a batch of tangents 1.3 to 18 times faster so on a CPU. LeVeque, Finite
Volume Methods for Hyperbolic Problems (2002), doi:10.1017/CBO9780511791253.
"""

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Shaped

from phdenoise.grid import Grid

Faces = tuple[Float[Array, "*b y1 x"], Float[Array, "*b y x1"]]


def face_gradient(c: Float[Array, "*b y x"], grid: Grid) -> Faces:
    """Differences across faces over the spacing, zero on closed faces.

    Args:
        c: cell values.

    Returns:
        Gradient on the ny + 1 faces along y and on the nx + 1 faces along x [unit of c / length].
    """
    dy, dx = _spacing(grid, c)
    gy = jnp.diff(_pad(c, grid, -2), axis=-2) / dy
    gx = jnp.diff(_pad(c, grid, -1), axis=-1) / dx
    if grid.mask is None:
        return gy, gx
    open_y, open_x = _open_faces(grid, grid.mask)
    return (
        jnp.where(jnp.broadcast_to(open_y, gy.shape), gy, 0),
        jnp.where(jnp.broadcast_to(open_x, gx.shape), gx, 0),
    )


def face_mean(d: Float[Array, "*b y x"], grid: Grid) -> Faces:
    """Arithmetic mean of the two cells that share a face."""
    py, px = _pad(d, grid, -2), _pad(d, grid, -1)
    return 0.5 * (py[..., 1:, :] + py[..., :-1, :]), 0.5 * (px[..., 1:] + px[..., :-1])


def divergence(
    fy: Float[Array, "*b y1 x"], fx: Float[Array, "*b y x1"], grid: Grid
) -> Float[Array, "*b y x"]:
    """Net outflow of the face fluxes per cell volume."""
    dy, dx = _spacing(grid, fy)
    return jnp.diff(fy, axis=-2) / dy + jnp.diff(fx, axis=-1) / dx


def laplacian(c: Float[Array, "*b y x"], grid: Grid) -> Float[Array, "*b y x"]:
    """∇²c with closed faces [unit of c / length²]."""
    return divergence(*face_gradient(c, grid), grid)


def flux_divergence(
    d: Float[Array, "*b y x"], potential: Float[Array, "*b y x"], grid: Grid
) -> Float[Array, "*b y x"]:
    """∇·(d ∇potential), d averaged on faces."""
    (dy, dx), (gy, gx) = face_mean(d, grid), face_gradient(potential, grid)
    return divergence(dy * gy, dx * gx, grid)


def integral(values: Float[Array, "*b y x"], grid: Grid) -> Float[Array, "*b"]:
    """Sum over the cells inside the mask times the cell area."""
    if grid.mask is not None:
        values = jnp.where(jnp.broadcast_to(grid.mask, values.shape), values, 0)
    dy, dx = _spacing(grid, values)
    return jnp.sum(values, axis=(-2, -1)) * dy * dx


def gradient_energy(c: Float[Array, "*b y x"], grid: Grid) -> Float[Array, "*b"]:
    """½ ∫|∇c|², the discrete functional whose variation is −∇²c."""
    gy, gx = face_gradient(c, grid)
    dy, dx = _spacing(grid, c)
    # On a periodic grid the first and last face are one face; on a closed one both are zero.
    squares = jnp.sum(gy[..., 1:, :] ** 2, axis=(-2, -1)) + jnp.sum(gx[..., 1:] ** 2, axis=(-2, -1))
    return 0.5 * dy * dx * squares


def _pad(c: Shaped[Array, "*b y x"], grid: Grid, axis: int) -> Array:
    """One ghost cell on both ends of an axis: the far end (periodic) or a copy (no gradient)."""
    mode = "wrap" if grid.boundary == "periodic" else "edge"
    widths = [(0, 0)] * c.ndim
    widths[axis] = (1, 1)
    return jnp.pad(c, widths, mode=mode)


def _open_faces(
    grid: Grid, mask: Bool[Array, "y x"]
) -> tuple[Bool[Array, "y1 x"], Bool[Array, "y x1"]]:
    py, px = _pad(mask, grid, -2), _pad(mask, grid, -1)
    return py[1:] & py[:-1], px[:, 1:] & px[:, :-1]


def _spacing(grid: Grid, like: Array) -> tuple[Array, Array]:
    spacing = grid.spacing.astype(like.dtype)
    return spacing[0], spacing[1]

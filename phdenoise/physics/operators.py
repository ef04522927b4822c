"""Conservative differences between cells and faces.

    (∇c)_{i−½} = (c_i − c_{i−1})/h,   (∇·F)_i = (F_{i+½} − F_{i−½})/h

Cell-centred finite volumes: what leaves a cell through a face enters its neighbour, so mass is
conserved to round-off. A face array has the shape of the cells; entry i is the lower face of cell
i. Faces on the edge of a no-flux box and of a particle mask are closed. Every function works on
the last two axes, so on any batch. LeVeque, Finite Volume Methods for Hyperbolic Problems (2002),
doi:10.1017/CBO9780511791253.
"""

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from phdenoise.grid import Grid
from phdenoise.physics.stencil import flux, lower, second, upper

Cells = Float[Array, "*b y x"]


def face_gradient(c: Cells, grid: Grid) -> tuple[Cells, Cells]:
    """Differences across the lower faces along y and along x over the spacing, zero where closed.

    Args:
        c: cell values.

    Returns:
        Gradients [unit of c / length].
    """
    wrap, (ry, rx) = grid.boundary == "periodic", _per_length(grid, c)
    gy = lower(c, axis=-2, sign=-1, wrap=wrap) * ry
    gx = lower(c, axis=-1, sign=-1, wrap=wrap) * rx
    if grid.mask is None:
        return gy, gx
    open_y, open_x = _open_faces(grid.mask)
    return (
        jnp.where(jnp.broadcast_to(open_y, gy.shape), gy, 0),
        jnp.where(jnp.broadcast_to(open_x, gx.shape), gx, 0),
    )


def face_mean(d: Cells, grid: Grid) -> tuple[Cells, Cells]:
    """Arithmetic mean of the two cells that share a face (zero on the closed edge of a box)."""
    wrap = grid.boundary == "periodic"
    return (
        0.5 * lower(d, axis=-2, sign=1, wrap=wrap),
        0.5 * lower(d, axis=-1, sign=1, wrap=wrap),
    )


def divergence(fy: Cells, fx: Cells, grid: Grid) -> Cells:
    """Net outflow of the face fluxes per cell volume."""
    wrap, (ry, rx) = grid.boundary == "periodic", _per_length(grid, fy)
    return -(
        upper(fy, axis=-2, sign=-1, wrap=wrap) * ry + upper(fx, axis=-1, sign=-1, wrap=wrap) * rx
    )


def laplacian(c: Cells, grid: Grid) -> Cells:
    """∇²c with closed faces [unit of c / length²]."""
    if grid.mask is not None:
        return divergence(*face_gradient(c, grid), grid)
    wrap, (ry, rx) = grid.boundary == "periodic", _per_length(grid, c)
    return second(c, axis=-2, wrap=wrap) * ry**2 + second(c, axis=-1, wrap=wrap) * rx**2


def flux_divergence(d: Cells, potential: Cells, grid: Grid) -> Cells:
    """∇·(d ∇potential), d averaged on faces."""
    if grid.mask is not None:
        (my, mx), (gy, gx) = face_mean(d, grid), face_gradient(potential, grid)
        return divergence(my * gy, mx * gx, grid)
    wrap, (ry, rx) = grid.boundary == "periodic", _per_length(grid, d)
    inflow_y = flux(d, potential, axis=-2, wrap=wrap)
    inflow_x = flux(d, potential, axis=-1, wrap=wrap)
    return inflow_y * ry**2 + inflow_x * rx**2


def integral(values: Cells, grid: Grid) -> Float[Array, "*b"]:
    """Sum over the cells inside the mask times the cell area."""
    if grid.mask is not None:
        values = jnp.where(jnp.broadcast_to(grid.mask, values.shape), values, 0)
    dy, dx = _spacing(grid, values)
    return jnp.sum(values, axis=(-2, -1)) * dy * dx


def gradient_energy(c: Cells, grid: Grid) -> Float[Array, "*b"]:
    """½ ∫|∇c|², the discrete functional whose variation is −∇²c."""
    gy, gx = face_gradient(c, grid)
    dy, dx = _spacing(grid, c)
    return 0.5 * dy * dx * jnp.sum(gy**2 + gx**2, axis=(-2, -1))


def _open_faces(mask: Bool[Array, "y x"]) -> tuple[Bool[Array, "y x"], Bool[Array, "y x"]]:
    # The roll closes the wrapped face where either end is outside; a box edge is closed already.
    return mask & jnp.roll(mask, 1, axis=0), mask & jnp.roll(mask, 1, axis=1)


def _spacing(grid: Grid, like: Array) -> tuple[Array, Array]:
    spacing = grid.spacing.astype(like.dtype)
    return spacing[0], spacing[1]


def _per_length(grid: Grid, like: Array) -> tuple[Array, Array]:
    """Reciprocal spacings: a division per cell and tangent costs several products."""
    dy, dx = _spacing(grid, like)
    return 1 / dy, 1 / dx

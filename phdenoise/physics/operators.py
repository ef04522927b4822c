"""Conservative differences on cells and faces, and the transforms that diagonalise the Laplacian.

    (∇c)_{i+1/2} = (c_{i+1} − c_i)/h,   (∇·F)_i = (F_{i+1/2} − F_{i−1/2})/h,   λ(k) = (2 − 2cos k)/h²

Cell-centred finite volumes: what leaves a cell through a face enters its neighbour, so mass is conserved
to round-off. Faces on the edge of a no-flux box and of a particle mask are closed. Every function works on
the last two axes and so on any batch. LeVeque, Finite Volume Methods (2002), doi:10.1017/CBO9780511791253.
"""

from collections.abc import Callable

import jax.numpy as jnp
from jax.scipy.fft import dctn, idctn
from jaxtyping import Array, Bool, Float, Inexact

from phdenoise.grid import Grid

Transform = Callable[[Array], Array]


def face_gradient(
    c: Float[Array, "*b y x"], grid: Grid
) -> tuple[Float[Array, "*b y1 x"], Float[Array, "*b y x1"]]:
    """Differences across faces divided by the spacing, zero on closed faces.

    Args:
        c: cell values.

    Returns:
        Gradient on the ny + 1 faces along y and on the nx + 1 faces along x [unit of c / length].
    """
    dy, dx = _spacing(grid, c)
    gy, gx = jnp.diff(_pad(c, grid, -2), axis=-2) / dy, jnp.diff(_pad(c, grid, -1), axis=-1) / dx
    if grid.mask is None:
        return gy, gx
    open_y, open_x = _open_faces(grid)
    return (
        jnp.where(jnp.broadcast_to(open_y, gy.shape), gy, 0),
        jnp.where(jnp.broadcast_to(open_x, gx.shape), gx, 0),
    )


def face_mean(
    d: Float[Array, "*b y x"], grid: Grid
) -> tuple[Float[Array, "*b y1 x"], Float[Array, "*b y x1"]]:
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


def laplacian_symbol(grid: Grid, dtype: jnp.dtype | type) -> Float[Array, "ky kx"]:
    """Eigenvalues λ ≥ 0 of −∇² in the layout of `transforms` (mask ignored) [1/length²]."""
    ny, nx = grid.shape
    dy, dx = grid.spacing[0].astype(dtype), grid.spacing[1].astype(dtype)
    turn, count = (2 * jnp.pi, nx // 2 + 1) if grid.boundary == "periodic" else (jnp.pi, nx)
    ky, kx = turn * jnp.arange(ny, dtype=dtype) / ny, turn * jnp.arange(count, dtype=dtype) / nx
    # 2 − 2cos k as 4 sin²(k/2): no cancellation at long waves, which float32 would feel.
    ly, lx = 4 * jnp.sin(ky / 2) ** 2 / dy**2, 4 * jnp.sin(kx / 2) ** 2 / dx**2
    return ly[:, None] + lx[None, :]


def transforms(grid: Grid) -> tuple[Transform, Transform]:
    """Forward and inverse transform to the eigenvectors of ∇²: rfft2 (periodic) or DCT-II (no-flux)."""
    if grid.boundary == "periodic":
        return jnp.fft.rfft2, lambda spectrum: jnp.fft.irfft2(spectrum, s=grid.shape)
    return (
        lambda c: dctn(c, axes=(-2, -1), norm="ortho"),
        lambda spectrum: idctn(spectrum, axes=(-2, -1), norm="ortho"),
    )


def _pad(c: Inexact[Array, "*b y x"] | Bool[Array, "y x"], grid: Grid, axis: int) -> Array:
    """One ghost cell on both ends of an axis: the far end (periodic) or a copy (no gradient)."""
    mode = "wrap" if grid.boundary == "periodic" else "edge"
    widths = [(0, 0)] * c.ndim
    widths[axis] = (1, 1)
    return jnp.pad(c, widths, mode=mode)


def _open_faces(grid: Grid) -> tuple[Bool[Array, "y1 x"], Bool[Array, "y x1"]]:
    py, px = _pad(grid.mask, grid, -2), _pad(grid.mask, grid, -1)
    return py[1:] & py[:-1], px[:, 1:] & px[:, :-1]


def _spacing(grid: Grid, like: Array) -> tuple[Array, Array]:
    spacing = grid.spacing.astype(like.dtype)
    return spacing[0], spacing[1]

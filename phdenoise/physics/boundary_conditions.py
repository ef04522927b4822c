"""The inflow through Fixed and Flux faces of the box, added to the cells along them.

    Fixed(g):  inflow d(g) (p(g) − p₀)/(h/2),   Flux(j):  inflow j,   both per h into the edge cell

g is the concentration on the face, p its potential there, p₀ that of the edge cell, whose centre is
half a spacing inside. The gradient is of first order in the edge cells alone and the solution of
second order everywhere: Gustafsson, Math. Comput. 29, 396 (1975), doi:10.2307/2005559.
"""

from collections.abc import Callable, Iterator

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from phdenoise.grid import Fixed, Flux, Grid

Cells = Float[Array, "..."]
Law = Callable[[Array], Array]


def edge_inflow(mobility: Law, potential: Cells, face_potential: Law, grid: Grid) -> Cells:
    """Rate of change of the cells by what crosses Fixed and Flux faces.

    Args:
        mobility: d(c) [length²/time per unit of p].
        potential: p in the cells [*b *cells].
        face_potential: p(c) on a face where c is given.
        grid: domain.

    Returns:
        Rate [*b *cells] [1/time], zero but in the edge cells.
    """
    total = jnp.zeros_like(potential)
    for axis, end, condition, h in _open_faces(grid, potential):
        cells = lax.index_in_dim(potential, end, axis, keepdims=True)
        value = _along(condition, cells, axis, grid)
        if isinstance(condition, Flux):
            rate = value / h
        else:
            d = _on_edge(mobility, axis - (cells.ndim - grid.ndim), end)
            rate = d(value) * (face_potential(value) - cells) * (2 / h**2)
        total = total + _into(rate, axis, end, grid)
    return total


def edge_advection(velocity: Float[Array, " d"], c: Cells, grid: Grid) -> Cells:
    """Rate of change of the cells by what a moving medium carries through Fixed faces, −∇·( v c ).

    Args:
        velocity: v along each axis [length/time].
        c: cell values [*b *cells].
        grid: domain. The inflow of a Flux face is all that crosses it.

    Returns:
        Rate [*b *cells] [1/time], zero but in the edge cells.
    """
    total = jnp.zeros_like(c)
    for axis, end, condition, h in _open_faces(grid, c):
        if isinstance(condition, Fixed):
            cells = lax.index_in_dim(c, end, axis, keepdims=True)
            side = axis - (c.ndim - grid.ndim)
            inward = velocity[side] if end == 0 else -velocity[side]
            total = total + _into(
                inward * _along(condition, cells, axis, grid) / h, axis, end, grid
            )
    return total


def edge_laplacian(c: Cells, grid: Grid) -> Cells:
    """The part of ∇²c from Fixed faces; Flux faces have no gradient of c.

    Args:
        c: cell values [*b *cells].
        grid: domain.

    Returns:
        Part of ∇²c [*b *cells] [unit of c / length²].
    """
    total = jnp.zeros_like(c)
    for axis, end, condition, h in _open_faces(grid, c):
        if isinstance(condition, Fixed):
            cells = lax.index_in_dim(c, end, axis, keepdims=True)
            rate = (_along(condition, cells, axis, grid) - cells) * (2 / h**2)
            total = total + _into(rate, axis, end, grid)
    return total


def edge_energy(c: Cells, grid: Grid) -> Float[Array, "..."]:
    """∫|∇c|² over the half cells along Fixed faces, per cell volume.

    Args:
        c: cell values [*b *cells].
        grid: domain.

    Returns:
        Integrals [*b] [(unit of c / length)²].
    """
    total = jnp.zeros_like(c)
    for axis, end, condition, h in _open_faces(grid, c):
        if isinstance(condition, Fixed):
            cells = lax.index_in_dim(c, end, axis, keepdims=True)
            square = 2 * ((_along(condition, cells, axis, grid) - cells) / h) ** 2
            total = total + _into(square, axis, end, grid)
    return jnp.sum(total, axis=tuple(range(-grid.ndim, 0)))


def _open_faces(grid: Grid, like: Array) -> Iterator[tuple[int, int, Fixed | Flux, Array]]:
    """Positive axis of `like`, 0 or −1, condition, spacing."""
    spacing = grid.spacing.astype(like.dtype)
    for i, pair in enumerate(grid.faces):
        for end, condition in zip((0, -1), pair, strict=True):
            if isinstance(condition, Fixed | Flux):
                yield like.ndim - grid.ndim + i, end, condition, spacing[i]


def _on_edge(mobility: Law, axis: int, end: int) -> Law:
    """The mobility of the cells along an edge, where it varies by place."""
    local = getattr(mobility, "on_edge", None)
    return mobility if local is None else local(axis, end)


def _along(condition: Fixed | Flux, cells: Array, axis: int, grid: Grid) -> Array:
    """The value on the face in the shape of its cells."""
    value = condition.value.astype(cells.dtype)
    if value.ndim:
        value = jnp.expand_dims(value, axis - (cells.ndim - grid.ndim))
    return jnp.broadcast_to(value, cells.shape)


def _into(rate: Array, axis: int, end: int, grid: Grid) -> Array:
    """Zero but in the edge cells, and there too where the mask has no cell."""
    side = axis - (rate.ndim - grid.ndim)
    if grid.mask is not None:
        inside = lax.index_in_dim(grid.mask, end, side, keepdims=True)
        rate = jnp.where(jnp.broadcast_to(inside, rate.shape), rate, 0)
    width = [(0, 0)] * rate.ndim
    missing = grid.shape[side] - 1
    width[axis] = (0, missing) if end == 0 else (missing, 0)
    return jnp.pad(rate, width)

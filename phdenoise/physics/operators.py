"""Conservative differences between cells and faces.

    (∇c)_{i−½} = (c_i − c_{i−1})/h,   (∇·F)_i = (F_{i+½} − F_{i−½})/h

Cell-centred finite volumes: what leaves a cell through a face enters its neighbour, so mass is
conserved to round-off. A face array has the shape of the cells; entry i is the lower face of cell
i. Faces on the edge of a box that is not periodic and of a particle mask are closed; what a Fixed
or Flux face lets through is added by `physics.boundary_conditions`. Every function works on the last axes, as
many as the grid has, so on any batch. LeVeque, Finite Volume Methods for Hyperbolic Problems
(2002), doi:10.1017/CBO9780511791253.
"""

from collections.abc import Iterable
from functools import reduce
from operator import add

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from phdenoise.grid import Grid
from phdenoise.physics.boundary_conditions import edge_energy, edge_laplacian
from phdenoise.physics.stencil import flux, lower, second, upper

Cells = Float[Array, "..."]


def face_gradient(c: Cells, grid: Grid) -> tuple[Cells, ...]:
    """Differences across the lower faces of each axis over the spacing, zero where closed.

    Args:
        c: cell values [*b *cells].
        grid: domain.

    Returns:
        Gradients [*b *cells] [unit of c / length], one per axis of the grid.
    """
    gradients = tuple(
        lower(c, axis=axis, sign=-1, wrap=wrap) * r for axis, wrap, r in _axes(grid, c)
    )
    if grid.mask is None:
        return gradients
    return tuple(
        jnp.where(jnp.broadcast_to(_open_faces(grid.mask, axis), g.shape), g, 0)
        for g, (axis, _, _) in zip(gradients, _axes(grid, c), strict=True)
    )


def face_mean(d: Cells, grid: Grid) -> tuple[Cells, ...]:
    """Arithmetic mean of the two cells that share a face (zero on the closed edge of a box).

    Args:
        d: cell values [*b *cells].
        grid: domain.

    Returns:
        Means on the lower faces [*b *cells], one array per axis of the grid.
    """
    return tuple(0.5 * lower(d, axis=axis, sign=1, wrap=wrap) for axis, wrap, _ in _axes(grid, d))


def face_sum(d: Cells, grid: Grid) -> Cells:
    """Σ over a cell's faces of their mean d, over the spacing squared; an edge counts as if the box were periodic.

    Args:
        d: cell values [*b *cells].
        grid: domain.

    Returns:
        Sums [*b *cells] [unit of d / length²].
    """
    rates = [1 / jnp.asarray(h, d.dtype) ** 2 for h in grid.spacing]
    axes = range(-grid.ndim, 0)
    return _sum(
        0.5 * r * (2 * d + jnp.roll(d, 1, axis) + jnp.roll(d, -1, axis))
        for r, axis in zip(rates, axes, strict=True)
    )


def divergence(fluxes: tuple[Cells, ...], grid: Grid) -> Cells:
    """Net outflow of the face fluxes per cell volume.

    Args:
        fluxes: on the lower faces [*b *cells], one array per axis of the grid.
        grid: domain.

    Returns:
        Divergence [*b *cells] [unit of flux / length].
    """
    axes = _axes(grid, fluxes[0])
    return -_sum(
        upper(f, axis=axis, sign=-1, wrap=wrap) * r
        for f, (axis, wrap, r) in zip(fluxes, axes, strict=True)
    )


def laplacian(c: Cells, grid: Grid) -> Cells:
    """∇²c, with c given on Fixed faces and no gradient on all others.

    Args:
        c: cell values [*b *cells].
        grid: domain.

    Returns:
        ∇²c [*b *cells] [unit of c / length²].
    """
    if grid.mask is not None:
        inner = divergence(face_gradient(c, grid), grid)
    else:
        inner = _sum(second(c, axis=axis, wrap=wrap) * r**2 for axis, wrap, r in _axes(grid, c))
    return inner + edge_laplacian(c, grid) if grid.open else inner


def flux_divergence(d: Cells, potential: Cells, grid: Grid) -> Cells:
    """∇·(d ∇potential), d averaged on faces; nothing crosses Fixed and Flux faces here.

    Args:
        d: mobility of the cells [*b *cells] [length²/time per unit of potential].
        potential: of the cells [*b *cells].
        grid: domain.

    Returns:
        Rate of change [*b *cells] [1/time].
    """
    if grid.mask is not None:
        pairs = zip(face_mean(d, grid), face_gradient(potential, grid), strict=True)
        return divergence(tuple(m * g for m, g in pairs), grid)
    return _sum(flux(d, potential, axis=axis, wrap=wrap) * r**2 for axis, wrap, r in _axes(grid, d))


def advection(velocity: Float[Array, " d"], c: Cells, grid: Grid) -> Cells:
    """−∇·( v c ) for a constant v, c averaged on faces; nothing crosses Fixed and Flux faces here.

    Args:
        velocity: v along each axis [length/time].
        c: cell values [*b *cells].
        grid: domain.

    Returns:
        Rate of change [*b *cells] [unit of c / time].
    """
    fluxes = [v * mean for v, mean in zip(velocity, face_mean(c, grid), strict=True)]
    if grid.mask is not None:
        fluxes = [
            jnp.where(jnp.broadcast_to(_open_faces(grid.mask, axis), f.shape), f, 0)
            for f, (axis, _, _) in zip(fluxes, _axes(grid, c), strict=True)
        ]
    return -divergence(tuple(fluxes), grid)


def integral(values: Cells, grid: Grid) -> Float[Array, "..."]:
    """Sum over the cells inside the mask times the cell volume.

    Args:
        values: per cell [*b *cells].
        grid: domain.

    Returns:
        Integrals [*b] [unit of values · length^d].
    """
    if grid.mask is not None:
        values = jnp.where(jnp.broadcast_to(grid.mask, values.shape), values, 0)
    return jnp.sum(values, axis=_all(grid)) * _volume(grid, values)


def gradient_energy(c: Cells, grid: Grid) -> Float[Array, "..."]:
    """½ ∫|∇c|², the discrete functional whose variation is −∇²c.

    Args:
        c: cell values [*b *cells].
        grid: domain.

    Returns:
        Energies [*b] [(unit of c)² length^(d−2)].
    """
    total = _sum(jnp.sum(g**2, axis=_all(grid)) for g in face_gradient(c, grid))
    if grid.open:
        total = total + edge_energy(c, grid)
    return 0.5 * _volume(grid, c) * total


def _sum(terms: Iterable[Array]) -> Array:
    return reduce(add, terms)


def _open_faces(mask: Bool[Array, "..."], axis: int) -> Bool[Array, "..."]:
    # The roll closes the wrapped face where either end is outside; a box edge is closed already.
    return mask & jnp.roll(mask, 1, axis=axis)


def _axes(grid: Grid, like: Array) -> list[tuple[int, bool, Array]]:
    """Negative axis, whether it wraps, reciprocal spacing: a division per cell costs several products."""
    spacing = grid.spacing.astype(like.dtype)
    return [(i - grid.ndim, grid.periodic(i), 1 / spacing[i]) for i in range(grid.ndim)]


def _all(grid: Grid) -> tuple[int, ...]:
    return tuple(range(-grid.ndim, 0))


def _volume(grid: Grid, like: Array) -> Array:
    return jnp.prod(grid.spacing.astype(like.dtype))

"""The domains of the law zoo: a box, particles of many shapes, and walls that are held or fed."""

from collections.abc import Callable

import numpy as np
from scipy import ndimage

from benchmarks.independent_solver import Array, Box, Fed, Held, refined, smooth_field
from benchmarks.law_zoo_cases import Case


def box(case: Case, rng: np.random.Generator) -> Box:
    """Cells, mask and walls of a case.

    Args:
        case: of `law_zoo_cases.case`.
        rng: for the shape of particles, the side of the open wall and its value.

    Returns:
        The box, in cells of the solver.
    """
    ny, nx = case.shape
    finer = case.finer
    dy, dx = np.sqrt(case.aspect), 1 / np.sqrt(case.aspect)
    mask = _MASKS[case.domain](ny, nx, rng)
    side = str(rng.choice(["left", "right", "top", "bottom"]))
    walls = {
        "held": {side: Held(rng.uniform(0.75, 0.9))},
        "fed": {side: Fed(rng.uniform(0.015, 0.04))},
    }.get(case.edges, {})
    return Box(
        (ny * finer, nx * finer),
        (dy / finer, dx / finer),
        None if mask is None else refined(mask, finer),
        (case.edges == "periodic",) * 2,
        walls,
    )


def _polar(ny: int, nx: int) -> tuple[Array, Array, Array]:
    y, x = np.mgrid[:ny, :nx]
    y, x = y - (ny - 1) / 2, x - (nx - 1) / 2
    return np.hypot(y, x) / (min(ny, nx) / 2), y, x


def _horseshoe(ny: int, nx: int, _: np.random.Generator) -> Array:
    radius, y, x = _polar(ny, nx)
    return (radius < 0.95) & ~((np.abs(x) < 0.17 * nx) & (y < 0.1 * ny))


def _particles(ny: int, nx: int, rng: np.random.Generator) -> Array:
    y, x = np.mgrid[:ny, :nx]
    centres = [(0.26, 0.26), (0.27, 0.74), (0.74, 0.5)]
    discs = [np.hypot(y - a * ny, x - b * nx) < rng.uniform(0.17, 0.22) * nx for a, b in centres]
    return np.any(discs, axis=0)


def _blob(ny: int, nx: int, rng: np.random.Generator) -> Array:
    radius, *_ = _polar(ny, nx)
    waves = smooth_field((ny, nx), rng, width=4.0, span=(-0.5, 0.5), wraps=(False, False))
    labels, _ = ndimage.label(radius + waves < 0.75)
    sizes = np.bincount(labels.ravel())[1:]
    return labels == 1 + int(np.argmax(sizes))


_MASKS: dict[str, Callable[[int, int, np.random.Generator], Array | None]] = {
    "box": lambda ny, nx, rng: None,
    "disc": lambda ny, nx, rng: _polar(ny, nx)[0] < 0.92,
    "ring": lambda ny, nx, rng: (_polar(ny, nx)[0] < 0.95) & (_polar(ny, nx)[0] > 0.4),
    "U": _horseshoe,
    "particles": _particles,
    "blob": _blob,
}

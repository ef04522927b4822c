"""Diffusion by the independent solver, and fields for it: no code of the package."""

import numpy as np

from benchmarks.independent_solver import Box, Fed, Held, Motion, solve


def diffusion(
    start,
    times,
    coefficient,
    *,
    mask=None,
    held=None,
    fed=None,
    periodic=False,
    ratio=(1.0, 1.0),
    velocity=(0.0, 0.0),
):
    """Movie [t, y, x] of ∂c/∂t = ∇·(D A ∇c − v c) with constant D on cells of side one.

    Args:
        start: first field [y, x].
        times: increasing [t].
        coefficient: D.
        mask: True inside; the rim is closed.
        held: c on the left face.
        fed: inflow through the left face.
        periodic: opposite faces are one, else closed.
        ratio: A along y and x.
        velocity: v along y and x.
    """
    walls = {} if held is None else {"left": Held(held)}
    walls |= {} if fed is None else {"left": Fed(fed)}
    box = Box(start.shape, mask=mask, periodic=(periodic, periodic), walls=walls)
    motion = Motion(lambda c: np.full(c.shape, coefficient), ratio=ratio, velocity=velocity)
    return solve(motion, box, start, times)


def bumps(shape, seed=0, width=3.0, low=0.15, high=0.85):
    """A smooth random field [y, x], a sum of Gaussian hills, between two values."""
    rng = np.random.default_rng(seed)
    y, x = np.indices(shape)
    field = np.zeros(shape)
    for _ in range(max(4, int(np.prod(shape) / (4 * width**2)))):
        cy, cx = rng.uniform(-width, np.asarray(shape) + width)
        field += rng.normal() * np.exp(-((y - cy) ** 2 + (x - cx) ** 2) / (2 * width**2))
    field = (field - field.min()) / np.ptp(field)
    return low + (high - low) * field

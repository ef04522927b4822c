"""How wide the interfaces of a separated pattern are: pure functions of arrays."""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from phdenoise.types import InputError


def interface_width(
    frames: Float[Array | np.ndarray, "t y x"],
    spacing: float | tuple[float, float] = 1.0,
    level: float = 0.5,
) -> Float[Array, " t"]:
    """Width of the interfaces of each frame: the step between its two phases over the slope where it passes `level`.

    An interface (1 + tanh(x/ξ))/2 is 2ξ wide. Slopes are those of central differences, averaged over the pixels that
    have a neighbour across the level: a blur widens interfaces, noise makes them narrow.

    Args:
        frames: concentration [unit of the level], finite.
        spacing: dx, or (dy, dx) [length].
        level: between the phases.

    Returns:
        Widths [length] of the frames; NaN for a frame that does not pass the level.

    Raises:
        InputError: frames smaller than 3 x 3.

    Source: Cahn and Hilliard, J. Chem. Phys. 28, 258 (1958), doi:10.1063/1.1744102.
    """
    c = jnp.asarray(frames)
    if min(c.shape[1:]) < 3:
        raise InputError(f"The width of interfaces needs frames of 3 x 3 px, got {c.shape[1:]}.")
    dy, dx = spacing if isinstance(spacing, tuple) else (spacing, spacing)
    inner = c[:, 1:-1, 1:-1]
    above, high = inner > level, c > level
    neighbours = (high[:, :-2, 1:-1], high[:, 2:, 1:-1], high[:, 1:-1, :-2], high[:, 1:-1, 2:])
    across = jnp.any(jnp.stack([above != other for other in neighbours]), axis=0)
    slope = jnp.hypot(
        (c[:, 2:, 1:-1] - c[:, :-2, 1:-1]) / (2 * dy), (c[:, 1:-1, 2:] - c[:, 1:-1, :-2]) / (2 * dx)
    )
    count = jnp.sum(across, axis=(1, 2))
    steepest = jnp.sum(jnp.where(across, slope, 0), axis=(1, 2)) / jnp.maximum(count, 1)
    # Medians: most pixels lie within a phase.
    upper, lower = (jnp.nanmedian(jnp.where(w, c, jnp.nan), axis=(1, 2)) for w in (high, ~high))
    return jnp.where(count > 0, (upper - lower) / jnp.where(count > 0, steepest, 1), jnp.nan)

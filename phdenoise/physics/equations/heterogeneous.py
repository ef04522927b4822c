"""A law whose mobility varies over the frame.

    D(c) w(y, x) in place of D(c),   ln w = Σ z_mn cos(πm y/L_y) cos(πn x/L_x),   (m, n) ≠ (0, 0)

The lowest waves of the frame, whatever its edges, in order of their wavenumber; ln w has mean zero over the frame, so that
D(c) is the geometric mean over the frame. A priori z falls as 1/(1 + k) with the place k in this order, as 1/wavenumber²:
ln w is smooth.
"""

from collections.abc import Sequence

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from phdenoise.grid import Grid
from phdenoise.physics.equations.base import Law, Reference
from phdenoise.physics.equations.extended import Extended
from phdenoise.physics.law_parameters import REAL, parameter
from phdenoise.types import Field, InputError, Scalar

# Waves by default: all with at most two half waves along each axis. Each costs one tangent of the solve.
WAVES = 8


class Heterogeneous(Extended):
    """A law with D(c) w(y, x), or M(c) w(y, x) of a relaxation.

    Args:
        model: the law; its D(c) is the geometric mean over the frame.
        waves: z, the coefficients of ln w in the order of `wave_numbers` [n].
    """

    # A standard deviation of 1 lets D vary by a factor e over the frame in the longest wave.
    waves: Float[Array, " n"] = parameter(
        REAL, sd=1.0, mean=0.0, decay=1.0, default_factory=lambda: np.zeros(WAVES)
    )

    effect = "heterogeneous"
    phrase = "with D by place"

    def place(self, shape: tuple[int, ...]) -> Field:
        """w [y, x] on the cells of a grid of this shape."""
        if len(shape) != 2:
            raise InputError(f"A factor by place needs a grid of 2 axes, not {len(shape)}.")
        numbers = wave_numbers(self.waves.shape[0])
        basis = jnp.asarray(cosine_waves(shape, numbers), self.waves.dtype)
        return jnp.exp(jnp.tensordot(self.waves, basis, axes=1))

    def local(self, grid: Grid) -> Law:
        """The law with the mobility of every cell."""
        return self.model.with_place(self.place(grid.shape))

    def rhs(self, t: Scalar, c: Field, grid: Grid) -> Field:
        """That of the law with the mobility of every cell [1/time]."""
        return self.local(grid).rhs(t, c, grid)

    def reference(self, c: Field, grid: Grid) -> Reference:
        """That of the law with the mobility of every cell."""
        return self.local(grid).reference(c, grid)

    def spectral_radius(self, c: Field, grid: Grid) -> Scalar:
        """That of the law with the mobility of every cell."""
        return self.local(grid).spectral_radius(c, grid)

    def admissible(self, c: Field, grid: Grid) -> Bool[Array, ""]:
        """That of the law."""
        return self.model.admissible(c, grid)


def wave_numbers(count: int) -> tuple[tuple[int, int], ...]:
    """(m, n) of the lowest waves but the constant one, by m² + n².

    Args:
        count: of waves.

    Returns:
        Half waves along y and x, one pair for each wave.
    """
    most = int(np.ceil(np.sqrt(count))) + 1
    pairs = [(m, n) for m in range(most + 1) for n in range(most + 1) if m or n]
    return tuple(sorted(pairs, key=lambda p: (p[0] ** 2 + p[1] ** 2, p))[:count])


def cosine_waves(
    shape: tuple[int, ...], numbers: Sequence[tuple[int, int]]
) -> Float[np.ndarray, "n y x"]:
    """Cosines of a closed frame, cos(πm y/L_y) cos(πn x/L_x).

    Args:
        shape: cells (ny, nx).
        numbers: (m, n), half waves along y and x.

    Returns:
        One wave for each pair [n, y, x].
    """
    y, x = ((np.arange(n) + 0.5) / n for n in shape)
    return np.stack(
        [np.cos(np.pi * m * y)[:, None] * np.cos(np.pi * n * x)[None] for m, n in numbers]
    )

"""How well a law and an initial field explain a movie: √w (c(t; law, c₀) − y), and the prior of c₀.

    c₀ = soft_clip( mean + σ Σ z_k w_k ),     w_k the long waves of the grid, z ~ N(0, 1)

y is the measured concentration, w its inverse variance.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from phdenoise.grid import Grid
from phdenoise.observation.base import Observation as Instrument
from phdenoise.physics.domain import smooth_inside
from phdenoise.physics.equations.base import Law
from phdenoise.physics.particle import mask_modes
from phdenoise.physics.simulate import simulate
from phdenoise.physics.steppers.table import choose_stepper

# Distance from 0 and 1 that the initial field keeps [concentration]: smaller than any measured error, larger than where the
# logarithm of a free energy is continued (1e-4).
FIELD_MARGIN = 1e-3
# Least and largest standard deviation of the initial field [share of the movie's range]: an error below 0.02 is not
# known that well, and 0.3 is the standard deviation of a field that is uniform in 0..1.
FIELD_SD = (0.02, 0.3)


class MeasuredConcentration(eqx.Module):
    """Measured concentration and how much to believe each pixel.

    Attributes:
        frames: concentration [t, y, x].
        weights: inverse variance [t, y, x]; zero where masked or not used.
        times: frame times [t] in (median) frame intervals.
        grid: spacing in pixels.
        uniform: whether all intervals are one; if so the solver prepares its constants once.
        instrument: what resolves only a part of the field, such as a blur; None where the measurement resolves it all.
        binning: pixels of the instrument per cell along each axis.
    """

    frames: Float[Array, "t y x"]
    weights: Float[Array, "t y x"]
    times: Float[Array, " t"]
    grid: Grid
    uniform: bool = eqx.field(static=True, default=True)
    instrument: Instrument | None = None
    binning: int = eqx.field(static=True, default=1)

    def resolved(self, frames: Float[Array, "t y x"]) -> Float[Array, "t y x"]:
        """What the instrument resolves of concentrations on the cells of the grid [t, y, x]."""
        if self.instrument is None:
            return frames
        # On the instrument's own pixels, since its blur is stated in them.
        n = self.binning
        pixels = jnp.repeat(jnp.repeat(frames, n, axis=1), n, axis=2)
        t, ny, nx = frames.shape
        return self.instrument.resolved(pixels).reshape(t, ny, n, nx, n).mean((2, 4))


class BoxWaves(eqx.Module):
    """Orthonormal waves of a box, products of one along each axis.

    Attributes:
        y, x: waves along each axis [y, m], [x, n].
        halves: waves of one wave number along an axis: 2 on a periodic box, a cosine and a sine.
    """

    y: Float[Array, "y m"]
    x: Float[Array, "x n"]
    halves: int = eqx.field(static=True, default=1)

    @property
    def shape(self) -> tuple[int, int]:
        """Shape of the coefficients."""
        return self.y.shape[1], self.x.shape[1]

    @property
    def number(self) -> Float[np.ndarray, "m n"]:
        """Wave numbers [half periods in a closed box, periods in a periodic one]."""
        along = (np.arange(n) / self.halves for n in self.shape)
        return np.hypot(*np.meshgrid(*along, indexing="ij"))

    def sum(self, z: Float[Array, "m n"]) -> Float[Array, "y x"]:
        """The field of these coefficients."""
        return self.y @ z @ self.x.T


class DomainWaves(eqx.Module):
    """Orthonormal waves of the cells inside a mask.

    Attributes:
        fields: zero outside [k, y, x].
        number: wave numbers [half periods over the side of the box].
    """

    fields: Float[Array, "k y x"]
    number: Float[np.ndarray, " k"] = eqx.field(converter=np.asarray)

    @property
    def shape(self) -> tuple[int]:
        """Shape of the coefficients."""
        return (self.fields.shape[0],)

    def sum(self, z: Float[Array, " k"]) -> Float[Array, "y x"]:
        """The field of these coefficients."""
        return jnp.tensordot(z, self.fields, axes=1)


class FieldPrior(eqx.Module):
    """Gaussian prior of the initial field about `mean`: long waves of standard deviation `sd`.

    The correction is a few hundred coefficients of the lowest waves of the grid (cosines and sines, the cosines of a
    closed box, or the waves of a masked domain). Shorter waves die out within the first frames and no later frame knows them.

    Attributes:
        mean: denoised field [y, x].
        waves: that correct it, with coefficients of shape [*k].
        amplitude: standard deviation of the coefficients, one or by pixel.
        spectrum: factors of it, by wave [*k].
        bounded: whether the field is kept within 0..1, where a law with an entropy is defined.
    """

    mean: Float[Array, "y x"]
    waves: BoxWaves | DomainWaves
    amplitude: Float[Array, "..."]
    spectrum: Float[Array, "*k"]
    bounded: bool = eqx.field(static=True, default=True)

    def field(self, z: Float[Array, "*k"]) -> Float[Array, "y x"]:
        """Initial field c₀ = mean + Σ amplitude g_k z_k w_k(y, x) for white z, in 0..1 if `bounded`."""
        waves = self.waves.sum(self.spectrum * z)
        return within(self.mean + self.amplitude * waves, self.bounded)


def field_prior(
    mean: Float[np.ndarray, "y x"],
    grid: Grid,
    *,
    sd: float | Float[np.ndarray, "y x"],
    waves: int,
    dtype: np.dtype,
    bounded: bool = True,
) -> FieldPrior:
    """Prior about `mean` [y, x] with pointwise standard deviation `sd` (one, or [y, x]) and `waves` waves an axis.

    Args:
        mean: denoised initial field [y, x].
        grid: of the field; a mask has waves of its own.
        sd: standard deviation of the field, one or by pixel [concentration].
        waves: waves an axis.
        dtype: of its arrays.
        bounded: whether the field is kept within 0..1.

    Returns:
        The prior.
    """
    inside = np.ones(grid.shape, bool) if grid.mask is None else np.asarray(grid.mask)
    basis = _box_waves(grid, waves, dtype) if grid.mask is None else _mask_waves(grid, waves, dtype)
    cells = int(inside.sum())
    # White coefficients of variance a² give the field a mean variance of a² k / cells.
    amplitude = jnp.asarray(sd * np.sqrt(cells / int(np.prod(basis.shape))), dtype)
    spectrum = jnp.ones(basis.shape, dtype)
    return FieldPrior(jnp.asarray(mean, dtype), basis, amplitude, spectrum, bounded)


def first_field(
    frames: Float[np.ndarray, "t y x"],
    variance: Float[np.ndarray, "y x"],
    span: float = 1.0,
    inside: Bool[np.ndarray, "y x"] | None = None,
) -> Float[np.ndarray, "y x"]:
    """How far the initial field may be from the first frame: standard deviation of its prior, in concentration.

    The first frame is denoised from one side of time: where it changes fast, as edges do that diffusion has just begun
    to blur, it is wrong by as much as the next frame differs, many times its mean error.

    Args:
        frames: denoised.
        variance: of the first of them.
        span: range of the movie, that of a movie between 0 and 1 being 1 [concentration].
        inside: True inside the domain [y, x]; None for everywhere.

    Returns:
        Standard deviations [y, x].
    """
    local = smooth_inside(4.0 * (variance + (frames[1] - frames[0]) ** 2), inside, 1.0)
    return np.clip(np.sqrt(local), span * FIELD_SD[0], span * FIELD_SD[1])


def _box_waves(grid: Grid, count: int, dtype: np.dtype) -> BoxWaves:
    """`count` waves an axis of a box."""
    y, x = (
        jnp.asarray(_waves(n, min(count, n), grid.periodic(axis)), dtype)
        for axis, n in enumerate(grid.shape)
    )
    return BoxWaves(y, x, 2 if grid.boundary == "periodic" else 1)


def _mask_waves(grid: Grid, count: int, dtype: np.dtype) -> DomainWaves:
    """The waves of a mask, of those that a box has with `count` an axis the mask's share."""
    inside = np.asarray(grid.mask)
    cells, box = int(inside.sum()), float(np.prod(grid.shape))
    wanted = int(np.ceil(np.prod([min(count, n) for n in grid.shape]) * cells / box))
    modes, eigenvalues = mask_modes(grid, min(max(wanted - 1, 1), cells - 2))
    fields = np.concatenate([inside[None] * 1.0, modes]) / np.sqrt(cells)
    side = np.sqrt(box * float(np.prod(np.asarray(grid.spacing))))
    number = np.sqrt(np.maximum(np.append(0.0, eigenvalues), 0.0)) * side / np.pi
    return DomainWaves(jnp.asarray(fields, dtype), number)


def _waves(size: int, count: int, periodic: bool) -> np.ndarray:
    """The `count` lowest orthonormal waves on `size` cells, columns."""
    x = (np.arange(size) + 0.5) / size
    columns = [np.ones(size)]
    k = 1
    while len(columns) < count:
        columns.append(np.cos((2 if periodic else 1) * np.pi * k * x))
        if periodic and len(columns) < count:
            columns.append(np.sin(2 * np.pi * k * x))
        k += 1
    basis, _ = np.linalg.qr(np.stack(columns, axis=1))
    return basis


def within(c: Float[Array, "*s"], bounded: bool) -> Float[Array, "*s"]:
    """The field itself, or within 0..1 where a law is bounded.

    Args:
        c: concentration.
        bounded: of the law.

    Returns:
        Concentration.
    """
    return soft_clip(c) if bounded else c


def soft_clip(c: Float[Array, "*s"]) -> Float[Array, "*s"]:
    """The identity inside (0, 1), bending smoothly into [0, 1] at its ends."""
    width = 0.02
    low = width * jax.nn.softplus((c - FIELD_MARGIN) / width) + FIELD_MARGIN
    return 1.0 - FIELD_MARGIN - width * jax.nn.softplus((1.0 - FIELD_MARGIN - low) / width)


def misfit_residual(
    law: Law,
    field: Float[Array, "y x"],
    observation: MeasuredConcentration,
    *,
    substeps: int,
    burn_in: int = 0,
    reverse: bool = False,
) -> Float[Array, "t y x"]:
    """√w (prediction − measurement).

    Args:
        law: in cells and frame intervals.
        field: initial concentration [y, x], `burn_in` frame intervals before the first frame.
        observation: measured concentration and weights.
        substeps: solver steps a frame interval.
        burn_in: frame intervals from the field to the first frame.
        reverse: reverse mode is asked for; where a stepper has only one of the modes, it is forward mode otherwise.

    Returns:
        Residuals in units of the noise [t, y, x].
    """
    step = observation.times[1] - observation.times[0]
    early = observation.times[0] - step * jnp.arange(burn_in, 0, -1, dtype=step.dtype)
    times = jnp.concatenate([early, observation.times])
    stepper = choose_stepper(None, law, observation.grid)
    frames = simulate(
        law,
        observation.grid,
        field,
        times,
        substeps=substeps,
        stepper=stepper.reversible() if reverse else stepper,
        uniform=observation.uniform,
    )[burn_in:]
    images = law.seen(frames, observation.times, observation.grid)
    return jnp.sqrt(observation.weights) * (observation.resolved(images) - observation.frames)

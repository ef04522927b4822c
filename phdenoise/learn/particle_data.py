"""A movie of a particle cut into stretches for multiple shooting, and what is expected of its law beforehand."""

from dataclasses import dataclass
from functools import partial

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from phdenoise.grid import Grid
from phdenoise.physics.particle import mask_modes, smooth_prior
from phdenoise.types import InputError


@dataclass(frozen=True)
class ParticleFitConfig:
    """How to fit the law of a particle."""

    modes: int = 40
    """Modes of the particle in which ln k varies."""
    length: float = 8.0
    """Length over which ln k is smooth a priori [px]."""
    spread: float = 0.5
    """Standard deviation of ln k over the particle a priori."""
    terms: int = 2
    """Redlich-Kister terms of the potential; 1 is a regular solution."""
    window: int | None = None
    """Frames that are predicted from each start; half the movie by default."""
    skip: int | None = None
    """First frames that are left out; a sixteenth of the movie by default."""
    start_modes: int = 40
    """Modes in which the first frame of each stretch is corrected, besides its mean; 0 for none."""
    iterations: int = 15
    """Gauss-Newton steps at most."""
    substeps: int = 2
    """Steps of the solver in a frame interval."""
    stages: int = 10
    """Stages of a step."""


class ParticleData(eqx.Module):
    """What is fitted; lengths in cells.

    Attributes:
        starts: first frames of the stretches [w, y, x].
        start_modes: in which they may be wrong, times their sd a priori [m, y, x].
        frames, roots: what follows them, and √(1/variance), zero where nothing is to be fitted [w, l, y, x].
        times: of start and frames [w, l + 1].
        rate: d⟨c⟩/dt [1/time].
        modes: sₙ φₙ [n, y, x].
        grid: with the particle's mask.
    """

    starts: Float[Array, "w y x"]
    start_modes: Float[Array, "m y x"]
    frames: Float[Array, "w l y x"]
    roots: Float[Array, "w l y x"]
    times: Float[Array, "w l1"]
    rate: Float[Array, ""]
    modes: Float[Array, "n y x"]
    grid: Grid


def particle_data(
    frames: np.ndarray,
    sd: np.ndarray,
    mask: np.ndarray,
    times: np.ndarray,
    starts: np.ndarray,
    start_sd: np.ndarray,
    config: ParticleFitConfig,
) -> tuple[ParticleData, list[int]]:
    """Stretches, and the frame that each starts from.

    Args:
        frames: lithium fraction [t, y, x]; nan where it was not measured.
        sd: of each value [t, y, x].
        mask: the particle [y, x].
        times: of the frames [t].
        starts: movie that stretches start from [t, y, x].
        start_sd: its sd [t, y, x].
        config: settings.

    Returns:
        The stretches, and the index of the frame that each starts from.

    Raises:
        InputError: shapes that do not fit, too few frames, or a particle that does not fill or empty.
    """
    count = len(frames)
    _check_shapes(frames, sd, mask, starts, start_sd)
    # The first frames of a denoised movie have neighbours on one side only, and there a particle often changes fastest.
    skip = count // 16 if config.skip is None else config.skip
    length = max((count - skip - 1) // 2, 1) if config.window is None else config.window
    if count < 4 or skip < 0 or not 1 <= length < count - skip:
        raise InputError(
            f"{count} frames without the first {skip} cannot be cut into stretches of {length + 1}: use a --fit.window between 1 "
            f"and {max(count - skip - 1, 1)}, a --fit.skip that is not negative, and 4 frames or more."
        )
    if config.start_modes < 0 or config.terms < 1:
        raise InputError("--fit.terms must be 1 or more, and --fit.start-modes not negative.")
    grid = Grid(mask.shape, 1.0, "no-flux", mask)
    known = np.isfinite(frames) & np.isfinite(sd) & (sd > 0) & mask
    mean = _means(frames, known)
    good = np.isfinite(mean)
    if good.sum() < 4:
        raise InputError("Fewer than 4 frames of the particle are measured: no law can be fitted.")
    rate = np.polyfit(times[good], mean[good], 1)[0]
    if not abs(rate) * np.ptp(times) > 0.05:
        raise InputError(
            f"The particle neither fills nor empties: its mean lithium fraction changes by {rate * np.ptp(times):.2g}."
        )
    places = list(range(skip, count - length, length))
    if places[-1] + length < count - 1:
        places.append(count - 1 - length)
    following = [np.arange(p + 1, p + 1 + length) for p in places]
    roots = np.where(known, 1 / np.where(known, sd, 1), 0)
    cut = np.stack([roots[f] for f in following])
    # Frames that the stretch before has predicted already.
    twice = max(places[-2] + length - places[-1], 0) if len(places) > 1 else 0
    cut[-1, :twice] = 0
    eigen_modes, eigenvalues = mask_modes(grid, max(config.modes, config.start_modes))
    modes = smooth_prior(eigenvalues[: config.modes], length=config.length, sd=config.spread)
    begin = np.where(np.isfinite(starts) & mask, starts, 0.5)
    waves = np.zeros((0, *mask.shape))
    if config.start_modes:
        spread = float(np.sqrt(np.nanmedian(np.where(known, start_sd, np.nan) ** 2)))
        shapes = np.concatenate([mask[None].astype(float), eigen_modes[: config.start_modes]])
        waves = spread / np.sqrt(len(shapes)) * shapes
    single = partial(jnp.asarray, dtype=jnp.float32)
    return ParticleData(
        single(begin[places]),
        single(waves),
        single(np.nan_to_num(np.stack([frames[f] for f in following]))),
        single(cut),
        single(np.stack([times[np.r_[p, f]] for p, f in zip(places, following, strict=True)])),
        single(rate),
        single(modes[:, None, None] * eigen_modes[: config.modes]),
        grid,
    ), places


def _check_shapes(
    frames: np.ndarray, sd: np.ndarray, mask: np.ndarray, starts: np.ndarray, start_sd: np.ndarray
) -> None:
    if (
        len({a.shape for a in (frames, sd, starts, start_sd)}) > 1
        or frames.ndim != 3
        or mask.shape != frames.shape[1:]
    ):
        raise InputError(
            f"A particle fit needs frames, sd and starts of one shape and a mask of a frame, got {frames.shape}, "
            f"{sd.shape}, {starts.shape} and {mask.shape}."
        )


def _means(frames: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Mean of the known values of each frame; nan where none is known [t]."""
    pairs = zip(frames, known, strict=True)
    return np.array([f[k].mean() if k.any() else np.nan for f, k in pairs])


def prior_of_law(config: ParticleFitConfig, rate: float) -> tuple[np.ndarray, np.ndarray]:
    """Start and prior sd of θ: two phases, a transition state that excludes half a site, currents near exchange.

    Args:
        config: settings.
        rate: d⟨c⟩/dt [1/time].

    Returns:
        Centre and standard deviations [p].
    """
    start = np.r_[4.0, np.zeros(config.terms - 1), 0.5, 0.5, np.log(2.0), np.log(10 * abs(rate)), np.zeros(config.modes)]  # fmt: skip
    sd = np.r_[2.0, np.full(config.terms - 1, 1.0), 0.5, 0.5, 1.5, 2.0, np.ones(config.modes)]
    return start, sd

"""Simulated movies of known laws with noise: what a denoiser and a fit are tested on.

    clean = solution of ∂c/∂t = law(c) at the frame times,    noisy = clean + σ n   or   Poisson(dose · clean)

Three laws have a twin of their own, with an initial field and defaults that show the law well; any other law is an
object (`phdenoise.physics.Law`).
"""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from scipy import ndimage

from phdenoise.grid import Grid
from phdenoise.movie import Movie
from phdenoise.physics.adaptive import integrate
from phdenoise.physics.equations.base import Law
from phdenoise.physics.twins.reaction import ReactionTwinConfig, allen_cahn_twin
from phdenoise.physics.twins.transport import (
    FickianTwinConfig,
    TwinConfig,
    cahn_hilliard_twin,
    fickian_twin,
)
from phdenoise.summary import short
from phdenoise.types import InputError

TwinName = Literal["cahn-hilliard", "fickian", "allen-cahn"]

# Standard deviation of the white noise on the initial concentration 1/2 of a law that is an object: that of the
# Cahn-Hilliard twin (arXiv:2510.27667).
_START_SD = 0.01


@dataclass(frozen=True)
class SimulateConfig:
    """A twin movie with its noise."""

    size: tuple[int, int] = (128, 128)
    """Rows and columns [px]."""
    frames: int = 100
    """Frames from time 0 to `duration`."""
    duration: float | None = None
    """Last time; default 0.2 (Cahn-Hilliard, pixel 0.01), 2 (Allen-Cahn, pixel 0.01) or 200 (Fickian, pixel 1)."""
    pixel_size: float | None = None
    """Pixel size [length unit]; default 0.01 (Cahn-Hilliard, Allen-Cahn) or 1 (Fickian)."""
    omega: float = 3.0
    """Cahn-Hilliard or Allen-Cahn interaction [kT]."""
    kappa: float = 0.002
    """Cahn-Hilliard or Allen-Cahn gradient coefficient [kT length^2]."""
    mobility: float = 1.0
    """D0 of D = D0 c(1-c) [length^2/time] (Cahn-Hilliard); M0 [1/time] (Allen-Cahn)."""
    bends: tuple[float, ...] = ()
    """Cahn-Hilliard: Legendre coefficients of degree 2, 3 ... of mu_h [kT]."""
    log_mobility: tuple[float, ...] = ()
    """Cahn-Hilliard: Legendre coefficients of degree 1, 2 ... of ln(D / D0 c(1-c))."""
    log_diffusivity: tuple[float, ...] = (0.0, 0.7)
    """Legendre coefficients of ln D [ln length^2/time] (Fickian)."""
    sigma: float = 0.15
    """Standard deviation of the noise, in concentration; 0 gives the clean movie."""
    dose: float | None = None
    """Counts per pixel at c = 1: Poisson noise instead of Gaussian, the movie in counts."""
    correlation: Literal["white", "line-3", "box-3", "line-9"] = "white"
    """Spatial correlation of Gaussian noise: a running mean along x (line) or x and y (box)."""
    skip: int = 0
    """Leave out so many first frames (before the pattern has formed)."""
    seed: int = 0
    """Seed of the initial field and of the noise."""


class Simulation(NamedTuple):
    """A simulated movie as a detector would see it, and the clean one [t, y, x] in the same unit."""

    movie: Movie
    clean: Movie

    def __repr__(self) -> str:
        return short(self)


def simulate(
    law: TwinName | Law = "cahn-hilliard",
    config: SimulateConfig | None = None,
    *,
    initial: Float[Array, "y x"] | Float[np.ndarray, "y x"] | None = None,
    grid: Grid | None = None,
) -> Simulation:
    """Simulate a movie of a known law, with noise.

    Args:
        law: "cahn-hilliard" (arXiv:2510.27667's twin, periodic), "fickian" (closed box) or "allen-cahn" (periodic);
            or any law as an object, which is integrated with adaptive steps.
        config: frames, size, noise, and the parameters of the named laws; see `SimulateConfig`. A law that is an
            object needs `duration`.
        initial: field at time 0 [y, x], for a law that is an object; by default 1/2 with white noise of sd 0.01.
        grid: spacing, boundary and mask, for a law that is an object; by default periodic with `pixel_size` or 1.

    Returns:
        The noisy and the clean movie, both in concentration, or in counts where `dose` is given.

    Raises:
        InputError: an impossible setting, or a solution that diverges.
    """
    config = SimulateConfig() if config is None else config
    _check(law, config)
    field_key, noise_key = jax.random.split(jax.random.key(config.seed))
    if isinstance(law, str):
        if initial is not None or grid is not None:
            raise InputError(f"The law '{law}' has its own initial field and grid: leave them out.")
        clean = _twin(law, field_key, config)
    else:
        grid = grid or Grid(config.size, config.pixel_size or 1.0, "periodic")
        clean = _integrated(law, field_key, config, initial, grid)
    frames = clean.frames[config.skip :]
    noisy, scale = _add_noise(noise_key, frames, config)
    about: dict[str, Any] = {
        "times": np.asarray(clean.times, float)[config.skip :],
        "pixel_size": clean.pixel_size,
        "time_unit": "t",
        "length_unit": "L",
        "intensity_unit": "lithium fraction" if config.dose is None else "counts",
        "provenance": {
            "simulated": {**clean.law, "noise": asdict(config)},
            "boundary": clean.boundary,
        },
    }
    name = f"{clean.law['model']} twin"
    return Simulation(
        Movie.from_array(np.asarray(noisy), name=name, **about),
        Movie.from_array(np.asarray(frames) * scale, name=f"{name}, clean", **about),
    )


def cahn_hilliard_config(config: SimulateConfig) -> TwinConfig:
    """The Cahn-Hilliard twin that `simulate` makes: its law, curves and grid."""
    return TwinConfig(
        omega=config.omega,
        kappa=config.kappa,
        mobility=config.mobility,
        bends=config.bends,
        log_mobility=config.log_mobility,
        **_shared(config),
    )


def true_curves(
    provenance: Mapping[str, Any], c: Float[np.ndarray, " n"]
) -> dict[str, np.ndarray] | None:
    """Curves of the law that a movie was simulated with; None for any other movie.

    Args:
        provenance: of the movie, as `simulate` or a file gives it.
        c: concentrations in (0, 1) [n].

    Returns:
        c, mu_h [kT] and D [length²/time] (Allen-Cahn: the mobility [1/time]), each [n].
    """
    simulated = provenance.get("simulated") or {}
    twin = _TWINS.get(simulated.get("model", ""))
    if twin is None or "twin" not in simulated:
        return None
    mu, d = twin.curves(simulated["twin"], c)
    return {"c": c, "mu_h": mu, "D": d}


class _Clean(NamedTuple):
    """A solution: frames [t, y, x] at times [t], and what the movie's provenance says of the law."""

    times: Array
    frames: Array
    pixel_size: tuple[float, float]
    boundary: str
    law: dict[str, Any]


class _Twin(NamedTuple):
    """A law with an initial field and defaults of its own.

    Attributes:
        configure: its configuration from that of `simulate`.
        movie: times [t] and clean frames [t, y, x] from a key and the configuration.
        curves: mu_h and D at c [n] from the configuration as plain values.
    """

    configure: Callable[[SimulateConfig], Any]
    movie: Callable[[Any, Any], tuple[Array, Array]]
    curves: Callable[[Mapping[str, Any], np.ndarray], tuple[np.ndarray, np.ndarray]]


def _fickian_config(config: SimulateConfig) -> FickianTwinConfig:
    return FickianTwinConfig(log_diffusivity=config.log_diffusivity, **_shared(config))


def _allen_cahn_config(config: SimulateConfig) -> ReactionTwinConfig:
    parameters = {n: getattr(config, n) for n in ("omega", "kappa", "mobility")}
    return ReactionTwinConfig(**parameters, **_shared(config))


def _cahn_hilliard_curves(twin: Mapping[str, Any], c: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    names = ("omega", "mobility", "bends", "log_mobility")
    return TwinConfig(**{name: twin[name] for name in names if name in twin}).curves(c)


def _fickian_curves(twin: Mapping[str, Any], c: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    log_d = np.polynomial.legendre.legval(2 * c - 1, twin["log_diffusivity"])
    return np.zeros_like(c), np.exp(log_d)


def _allen_cahn_curves(twin: Mapping[str, Any], c: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    mu = np.log(c / (1 - c)) + twin["drive"] - twin["omega"] * (2 * c - 1)
    return mu, np.full_like(c, twin["mobility"])


# The one table of laws that have a name here.
_TWINS: dict[str, _Twin] = {
    "cahn-hilliard": _Twin(cahn_hilliard_config, cahn_hilliard_twin, _cahn_hilliard_curves),
    "fickian": _Twin(_fickian_config, fickian_twin, _fickian_curves),
    "allen-cahn": _Twin(_allen_cahn_config, allen_cahn_twin, _allen_cahn_curves),
}


def _shared(config: SimulateConfig) -> dict[str, Any]:
    """Settings that all twins have; what is not given keeps the default of the twin."""
    optional = {"t_end": config.duration, "pixel_size": config.pixel_size}
    given = {k: v for k, v in optional.items() if v is not None}
    return {"shape": config.size, "frames": config.frames, **given}


def _twin(name: str, key: Array, config: SimulateConfig) -> _Clean:
    twin = _TWINS[name]
    settings = twin.configure(config)
    times, frames = twin.movie(key, settings)
    pixel = (settings.pixel_size, settings.pixel_size)
    law = {"model": name, "twin": asdict(settings)}
    return _Clean(times, frames, pixel, settings.grid.boundary, law)


def _integrated(law: Law, key: Array, config: SimulateConfig, initial: Any, grid: Grid) -> _Clean:
    """The solution of any law, with adaptive steps."""
    if config.duration is None:
        raise InputError("A law that is an object has no time of its own: give `duration`.")
    if initial is None:
        initial = jnp.clip(0.5 + _START_SD * jax.random.normal(key, grid.shape), 0, 1)
    times = jnp.linspace(0, config.duration, config.frames)
    frames = _solve(law, grid, jnp.asarray(initial), times).checked()
    # The shortest decimal of a single-precision spacing is the number that was given.
    dy, dx = (float(str(step)) for step in np.asarray(grid.spacing))
    about = {"model": type(law).__name__, "law": short(law)}
    return _Clean(times, frames, (dy, dx), grid.boundary, about)


_solve = eqx.filter_jit(integrate)


def _check(law: str | Law, config: SimulateConfig) -> None:
    if isinstance(law, str) and law not in _TWINS:
        raise InputError(f"Unknown model '{law}': use one of {', '.join(_TWINS)}.")
    if config.frames < 2 or not 0 <= config.skip < config.frames:
        raise InputError(
            f"--frames {config.frames} with --skip {config.skip}: need at least 2 frames, one kept."
        )
    if min(config.size) < 1:
        raise InputError(f"--size must be positive, got {config.size}.")
    if config.sigma < 0 or (config.dose is not None and not config.dose > 0):
        raise InputError("--sigma must not be negative and --dose must be positive.")
    for name in ("duration", "pixel_size", "kappa", "mobility"):
        value = getattr(config, name)
        if value is not None and not (np.isfinite(value) and value > 0):
            flag = "--" + name.replace("_", "-")
            raise InputError(f"{flag} must be positive, got {value}.")


def _add_noise(
    key: jax.Array, clean: jax.Array, config: SimulateConfig
) -> tuple[np.ndarray, float]:
    """Noisy frames, and the factor from concentration to their unit."""
    if config.dose is not None:
        counts = jax.random.poisson(key, config.dose * jnp.maximum(clean, 0))
        return np.asarray(counts, np.float32), config.dose
    noise = np.asarray(jax.random.normal(key, clean.shape), np.float64)
    kind, _, side = config.correlation.partition("-")
    if kind != "white":
        length = int(side)
        window = (1, length if kind == "box" else 1, length)
        # A mean of n independent values has 1/n of their variance: restore the asked sigma.
        noise = ndimage.uniform_filter(noise, window, mode="wrap") * np.sqrt(np.prod(window))
    return (np.asarray(clean, float) + config.sigma * noise).astype(np.float32), 1.0

"""The whole chain on one page: movie -> noise -> denoise -> concentration -> law, and twins to test it on.

file -> read -> Movie -> denoise -> Estimate(mean, variance) -> quantify -> c -> fit -> FitResult
"""

from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from scipy import ndimage

from phdenoise.learn import MODELS, FitConfig, FitResult, ModelName, fit
from phdenoise.metrics import (
    Autocorrelation,
    psnr,
    residual_autocorrelation,
    ssim,
)
from phdenoise.movie import Estimate, Movie
from phdenoise.physics.reaction_twin import ReactionTwinConfig, allen_cahn_twin
from phdenoise.physics.twins import (
    FickianTwinConfig,
    TwinConfig,
    cahn_hilliard_twin,
    fickian_twin,
)
from phdenoise.training import DenoiseConfig, denoise
from phdenoise.types import InputError, Progress, within

# A law that accounts for less of the change than this is not worth a joint fit.
WORTH_JOINT = 0.2


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


def simulate(
    model: ModelName = "cahn-hilliard", config: SimulateConfig | None = None
) -> Simulation:
    """Simulate a movie of a known law, with noise.

    Args:
        model: "cahn-hilliard" (arXiv:2510.27667's twin, periodic), "fickian" (closed box) or
            "allen-cahn" (periodic).
        config: see `SimulateConfig`.

    Raises:
        InputError: an impossible setting, or a solution that diverges.
    """
    config = SimulateConfig() if config is None else config
    _check(model, config)
    key_field, key_noise = jax.random.split(jax.random.key(config.seed))
    given = _given(config)
    twin: TwinConfig | FickianTwinConfig | ReactionTwinConfig
    if model == "cahn-hilliard":
        twin = cahn_hilliard_config(config)
        moments, clean = cahn_hilliard_twin(key_field, twin)
    elif model == "allen-cahn":
        twin = ReactionTwinConfig(
            omega=config.omega,
            kappa=config.kappa,
            mobility=config.mobility,
            **given,
        )
        moments, clean = allen_cahn_twin(key_field, twin)
    else:
        twin = FickianTwinConfig(
            log_diffusivity=config.log_diffusivity,
            **given,
        )
        moments, clean = fickian_twin(key_field, twin)
    times, clean = np.asarray(moments, float)[config.skip :], clean[config.skip :]
    noisy, scale = _add_noise(key_noise, clean, config)
    provenance = {
        "simulated": {"model": model, "twin": asdict(twin), "noise": asdict(config)},
        "boundary": twin.grid.boundary,
    }
    units = {
        "times": times,
        "pixel_size": (twin.pixel_size, twin.pixel_size),
        "time_unit": "t",
        "length_unit": "L",
        "intensity_unit": "lithium fraction" if config.dose is None else "counts",
        "provenance": provenance,
    }
    return Simulation(
        Movie.from_array(np.asarray(noisy), name=f"{model} twin", **units),
        Movie.from_array(np.asarray(clean) * scale, name=f"{model} twin, clean", **units),
    )


def cahn_hilliard_config(config: SimulateConfig) -> TwinConfig:
    """The Cahn-Hilliard twin that `simulate` makes: its law, curves and grid."""
    return TwinConfig(
        omega=config.omega,
        kappa=config.kappa,
        mobility=config.mobility,
        bends=config.bends,
        log_mobility=config.log_mobility,
        **_given(config),
    )


def _given(config: SimulateConfig) -> dict[str, Any]:
    """What the configurations of all twins share, but for what is left to their defaults."""
    optional = {"t_end": config.duration, "pixel_size": config.pixel_size}
    given = {k: v for k, v in optional.items() if v is not None}
    return {"shape": config.size, "frames": config.frames, **given}


def _check(model: str, config: SimulateConfig) -> None:
    if model not in MODELS:
        raise InputError(f"Unknown model '{model}': use one of {', '.join(MODELS)}.")
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


@dataclass(frozen=True)
class ChainConfig:
    """The whole chain: how to denoise and how to fit."""

    model: ModelName = "cahn-hilliard"
    """Law to fit."""
    denoise: DenoiseConfig = field(default_factory=DenoiseConfig)
    """How to denoise."""
    fit: FitConfig = field(default_factory=FitConfig)
    """How to fit (its `joint` and `denoise` are set by the chain)."""


@dataclass(frozen=True)
class Chain:
    """What the chain found.

    Attributes:
        estimate: the denoised movie, with its trust report.
        quality: PSNR, SSIM and coverage against the truth; empty where there is none.
        autocorrelation: of the blind residual.
        fits: by name: "noisy", "denoised", "joint".
        skipped: why a fit is absent, by name.
    """

    estimate: Estimate
    quality: dict[str, float]
    autocorrelation: Autocorrelation
    fits: dict[str, FitResult]
    skipped: dict[str, str]


def analyse(
    movie: Movie,
    config: ChainConfig | None = None,
    *,
    clean: Movie | None = None,
    progress: Progress | None = None,
) -> Chain:
    """Denoise a movie, judge the result, and fit its law from the noisy, the denoised and both.

    Args:
        movie: the noisy movie.
        config: see `ChainConfig`.
        clean: the truth, for a simulated movie.
        progress: called with (stage, step, steps, value).

    Raises:
        InputError: the movie cannot be denoised. Fits that cannot be made are reported in `skipped`.
    """
    config = ChainConfig() if config is None else config
    estimate = denoise(movie, config.denoise, progress=within(progress, "denoise"))
    quality = _quality(estimate, clean)
    fits: dict[str, FitResult] = {}
    skipped: dict[str, str] = {}
    for name in ("noisy", "denoised", "joint"):
        joint = name == "joint"
        known = fits.get("denoised")
        if joint and known is not None:
            explained = known.statistics["explained_variance"]
            if not explained >= WORTH_JOINT:
                skipped[name] = (
                    "Not attempted: the law accounts for "
                    f"{100 * max(explained, 0.0):.1f} % of the change in the denoised movie."
                )
                continue
        source = estimate.as_movie() if name == "denoised" else movie
        try:
            fits[name] = fit(
                source,
                config.model,
                _with_joint(config, joint),
                estimate=estimate if joint else None,
                start=known if joint else None,
                progress=within(progress, f"{name} fit"),
            )
        except InputError as error:
            skipped[name] = str(error)
    return Chain(estimate, quality, _residual(estimate), fits, skipped)


def _residual(estimate: Estimate) -> Autocorrelation:
    """Autocorrelation of the blind residual, in noise standard deviations."""
    movie, valid = estimate.movie, estimate.movie.valid()
    blind = estimate.mean if estimate.blind_mean is None else estimate.blind_mean
    spread = np.asarray(estimate.noise.variance(jnp.asarray(blind)))
    residual = np.where(valid, (movie.frames - blind) / np.sqrt(spread), 0.0)
    return residual_autocorrelation(residual.astype(np.float32), valid)


def _quality(estimate: Estimate, clean: Movie | None) -> dict[str, float]:
    """PSNR and SSIM against the truth, where there is one; range of the clean movie as peak."""
    if clean is None:
        return {}
    truth = jnp.asarray(clean.frames, jnp.float32)
    span = float(jnp.max(truth) - jnp.min(truth))
    noisy = jnp.asarray(estimate.movie.frames, jnp.float32)
    mean = jnp.asarray(estimate.mean)
    z = (estimate.mean - clean.frames) / np.sqrt(estimate.variance)
    return {
        "psnr_noisy": float(psnr(noisy, truth, span)),
        "psnr_denoised": float(psnr(mean, truth, span)),
        "ssim_noisy": float(ssim(noisy, truth, span)),
        "ssim_denoised": float(ssim(mean, truth, span)),
        "coverage_68": float(np.mean(np.abs(z) < 1.0)),
        "coverage_95": float(np.mean(np.abs(z) < 1.96)),
    }


def _with_joint(config: ChainConfig, joint: bool) -> FitConfig:
    return replace(config.fit, joint=joint, denoise=config.denoise)

"""The whole chain on one page: movie -> noise -> denoise -> concentration -> law.

file -> read -> Movie -> denoise -> Estimate(mean, variance) -> quantify -> c -> fit -> FitResult
"""

from dataclasses import dataclass, field, replace

import jax.numpy as jnp
import numpy as np

from phdenoise.denoising import denoise
from phdenoise.denoising.config import DenoiseConfig
from phdenoise.learn import fit
from phdenoise.learn.config import FitConfig
from phdenoise.learn.laws import LawName
from phdenoise.learn.result import FitResult
from phdenoise.metrics.fidelity import psnr, ssim
from phdenoise.metrics.residuals import Autocorrelation, residual_autocorrelation
from phdenoise.movie import Estimate, Movie
from phdenoise.summary import short
from phdenoise.types import InputError, Progress, within

# Least share [1] of the change of the denoised movie that a law must account for before the joint fit is tried. The joint
# fit starts from that law and takes minutes; below a fifth its field would be drawn towards a law that is not there.
LEAST_EXPLAINED_FOR_JOINT = 0.2
STILL = "Not attempted: nothing moves beyond noise."


@dataclass(frozen=True)
class AnalysisConfig:
    """The whole chain: how to denoise and how to fit."""

    model: LawName = "cahn-hilliard"
    """Law to fit."""
    denoise: DenoiseConfig = field(default_factory=DenoiseConfig)
    """How to denoise."""
    fit: FitConfig = field(default_factory=FitConfig)
    """How to fit (its `joint` and `denoise` are set by the chain)."""


@dataclass(frozen=True, repr=False)
class Analysis:
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

    __repr__ = short


def analyse(
    movie: Movie,
    config: AnalysisConfig | None = None,
    *,
    clean: Movie | None = None,
    progress: Progress | None = None,
) -> Analysis:
    """Denoise a movie, judge the result, and fit its law from the noisy, the denoised and both.

    Args:
        movie: the noisy movie.
        config: see `AnalysisConfig`.
        clean: the truth, for a simulated movie.
        progress: called with (stage, step, steps, value).

    Returns:
        The estimate, its quality, and the fits; a fit that cannot be made is reported in `skipped`.

    Raises:
        InputError: the movie cannot be denoised.
    """
    config = AnalysisConfig() if config is None else config
    estimate = denoise(movie, config.denoise, progress=within(progress, "denoise"))
    fits: dict[str, FitResult] = {}
    skipped: dict[str, str] = {}
    for name, source in (("noisy", movie), ("denoised", estimate.as_movie())):
        # What a denoiser leaves of noise lasts for several frames, as a motion would.
        if name == "denoised" and _still(fits.get("noisy")):
            skipped |= dict.fromkeys(("denoised", "joint"), STILL)
            break
        try:
            settings = replace(config.fit, joint=False, denoise=config.denoise)
            fits[name] = fit(
                source, config.model, settings, progress=within(progress, f"{name} fit")
            )
        except InputError as error:
            skipped[name] = str(error)
    start = fits.get("denoised")
    if _still(start):
        skipped["joint"] = STILL
    if "joint" in skipped:
        return Analysis(estimate, _quality(estimate, clean), _residual(estimate), fits, skipped)
    explained = 1.0 if start is None else start.statistics.get("explained_variance", 0.0)
    if explained >= LEAST_EXPLAINED_FOR_JOINT:
        try:
            fits["joint"] = fit(
                movie,
                config.model,
                replace(config.fit, joint=True, denoise=config.denoise),
                estimate=estimate,
                start=start,
                progress=within(progress, "joint fit"),
            )
        except InputError as error:
            skipped["joint"] = str(error)
    else:
        skipped["joint"] = (
            "Not attempted: the law accounts for "
            f"{100 * max(explained, 0.0):.1f} % of the change in the denoised movie."
        )
    return Analysis(estimate, _quality(estimate, clean), _residual(estimate), fits, skipped)


def _still(result: FitResult | None) -> bool:
    """Whether a fit found that nothing moves."""
    return result is not None and not result.theta.size


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

"""How well the law comes back: from the clean, the noisy and the denoised movie, and jointly.

    python benchmarks/law_recovery.py [--size 64] [--frames 101] [--sigma 0.15] [--seed 0]

Prints rms errors of mu_h [kT and relative], D [relative] and kappa against the twin's law, the median interval, how
much of the curve the 95 % interval covers, and seconds (compilation included).
"""

import platform
import time
from dataclasses import dataclass, field, replace

import numpy as np
import tyro

from phdenoise import selfcheck
from phdenoise.learn import FitConfig, FitResult, fit
from phdenoise.metrics import psnr
from phdenoise.pipeline import SimulateConfig, simulate
from phdenoise.training import DenoiseConfig, denoise


@dataclass(frozen=True)
class Arguments:
    """What to measure."""

    size: int = 64
    """Rows and columns [px]."""
    frames: int = 101
    """Frames over the window [0, 0.2]."""
    sigma: float = 0.15
    """Noise, in concentration."""
    seed: int = 0
    """Seed of the movie and of the denoiser."""
    fits: tuple[str, ...] = ("clean", "noisy", "denoised", "joint")
    """Which fits to make."""
    fit: FitConfig = field(default_factory=FitConfig)
    """Settings of the fits."""


def row(name: str, result: FitResult, config: SimulateConfig, seconds: float) -> str:
    """One line of the table."""
    curves = result.curves
    c = curves["c"]
    mu = np.log(c / (1 - c)) + config.omega * (1 - 2 * c)
    d = config.mobility * c * (1 - c)
    error, relative = curves["mu_h"] - mu, curves["D"] / d - 1
    rms = np.sqrt(np.mean(error**2))
    covered = np.mean(np.abs(error) <= 1.96 * curves["mu_h_sd"])
    covered_d = np.mean(np.abs(curves["D"] - d) <= 1.96 * curves["D_sd"])
    assert result.kappa is not None
    return (
        f"{name:<9} {rms:9.4f} {100 * rms / np.sqrt(np.mean(mu**2)):8.2f} {np.median(curves['mu_h_sd']):9.4f} "
        f"{100 * covered:6.0f} | {100 * np.sqrt(np.mean(relative**2)):8.2f} "
        f"{100 * np.median(curves['D_sd'] / d):8.2f} {100 * covered_d:6.0f} | "
        f"{100 * (result.kappa.value / config.kappa - 1):8.2f} "
        f"{100 * result.kappa.sd / config.kappa:8.2f} | {seconds:7.1f}"
    )


def main(arguments: Arguments) -> None:
    """Simulate, denoise, fit, print."""
    config = SimulateConfig(
        size=(arguments.size, arguments.size),
        frames=arguments.frames,
        sigma=arguments.sigma,
        seed=arguments.seed,
    )
    versions = selfcheck.versions()
    print(f"{platform.processor() or platform.machine()}, {versions}")
    print(
        f"twin {arguments.size}x{arguments.size}, {arguments.frames} frames, sigma {arguments.sigma}"
    )
    movie, clean = simulate("cahn-hilliard", config)
    estimate = None
    if {"denoised", "joint"} & set(arguments.fits):
        start = time.perf_counter()
        estimate = denoise(movie, DenoiseConfig(preset="quick", seed=arguments.seed))
        seconds = time.perf_counter() - start
        before = float(psnr(movie.frames, clean.frames))
        after = float(psnr(estimate.mean, clean.frames))
        print(f"denoised {before:.2f} -> {after:.2f} dB PSNR in {seconds:.1f} s")
    print(
        "fit       mu_h[kT]   rel[%]    sd[kT] cov[%] |   D rms%    sd[%] cov[%] | kappa err%   sd[%] | seconds"
    )
    for name in arguments.fits:
        start = time.perf_counter()
        if name == "joint":
            assert estimate is not None
            result = fit(movie, config=replace(arguments.fit, joint=True), estimate=estimate)
        else:
            sources = {"clean": clean, "noisy": movie}
            source = estimate.as_movie() if name == "denoised" and estimate else sources[name]
            result = fit(source, config=arguments.fit)
        print(row(name, result, config, time.perf_counter() - start), flush=True)
        print(f"          {result.outcome} chi2/dof {result.statistics['chi2_per_dof']:.4f}")
        if result.trajectory is not None:
            first, last = result.frames_used
            frames = clean.frames[first:last]
            print(
                f"          trajectory {float(psnr(result.trajectory.astype(np.float32), frames)):.2f} dB"
            )


if __name__ == "__main__":
    main(tyro.cli(Arguments))

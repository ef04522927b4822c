"""Study: what denoising is worth to the law, on the Cahn-Hilliard twin of arXiv:2510.27667.

    python -m experiments.cahn_hilliard_twin run|collect|figure [--fast]

For each noise level and seed: simulate, denoise, and fit the law from the clean, the noisy and the denoised
movie and jointly. `run` resumes where it stopped, `collect` writes a tidy CSV, `figure` reads only the CSV.
"""

from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from experiments.command import command
from phdenoise.figures import save, sweep
from phdenoise.learn import FitConfig, FitResult, fit
from phdenoise.metrics import psnr
from phdenoise.physics.twins import TwinConfig
from phdenoise.pipeline import SimulateConfig, simulate
from phdenoise.study import apply, param, prod
from phdenoise.training import DenoiseConfig, denoise

SIGMAS = (0.03, 0.07, 0.15, 0.3)
SEEDS = (0, 1, 2)


@dataclass(frozen=True)
class TwinStudy:
    """One run of the study."""

    twin: SimulateConfig = field(default_factory=lambda: SimulateConfig(size=(64, 64), frames=41))
    """The movie."""
    denoise: DenoiseConfig = field(default_factory=lambda: DenoiseConfig(preset="quick"))
    """How to denoise."""
    fit: FitConfig = field(default_factory=FitConfig)
    """How to fit."""
    joint: bool = True
    """Also the joint fit (the slowest part)."""


def run(config: TwinStudy) -> dict[str, float]:
    """Errors of the movie and of the law, by the way it was fitted."""
    movie, clean = simulate("cahn-hilliard", config.twin)
    estimate = denoise(movie, config.denoise)
    truth = clean.frames
    fits = {
        "clean": fit(clean, config=config.fit),
        "noisy": fit(movie, config=config.fit),
        "denoised": fit(estimate.as_movie(), config=config.fit),
    }
    if config.joint:
        together = replace(config.fit, joint=True)
        fits["joint"] = fit(movie, config=together, estimate=estimate, start=fits["denoised"])
    row = {
        "psnr_noisy": float(psnr(movie.frames, truth)),
        "psnr_denoised": float(psnr(estimate.mean, truth)),
    }
    for name, result in fits.items():
        row |= {f"{name}_{k}": v for k, v in errors(result, config.twin).items()}
    joint = fits.get("joint")
    if joint is not None and joint.trajectory is not None:
        first, last = joint.frames_used
        row["psnr_joint"] = float(psnr(joint.trajectory.astype(np.float32), truth[first:last]))
    return row


def errors(result: FitResult, twin: SimulateConfig) -> dict[str, float]:
    """rms errors of a fitted law against the twin's, and how its intervals do."""
    curves = result.curves
    c = curves["c"]
    mu, d = TwinConfig(omega=twin.omega, mobility=twin.mobility).curves(c)
    assert result.kappa is not None
    inside = (curves["mu_h_low"] <= mu) & (mu <= curves["mu_h_high"])
    inside_d = (curves["D_low"] <= d) & (d <= curves["D_high"])
    return {
        "mu_h_rms": float(np.sqrt(np.mean((curves["mu_h"] - mu) ** 2))),
        "D_relative_rms": float(np.sqrt(np.mean((curves["D"] / d - 1) ** 2))),
        "kappa_relative": abs(result.kappa.value / twin.kappa - 1),
        "mu_h_covered_90": float(np.mean(inside)),
        "D_covered_90": float(np.mean(inside_d)),
    }


def configs(fast: bool) -> list[TwinStudy]:
    """The sweep: noise level and seed; --fast is two levels, one seed, a small movie, no joint fit."""
    if fast:
        base = TwinStudy(
            twin=SimulateConfig(size=(32, 32), frames=24),
            denoise=DenoiseConfig(preset="quick", steps=60, width=16),
            fit=FitConfig(iterations=4, mobility_degree=2, enthalpy_degree=3, substeps=4),
            joint=False,
        )
        return apply(base, param("twin.sigma", (0.07, 0.15)))
    seeds = [{"twin.seed": s, "denoise.seed": s, "fit.seed": s} for s in SEEDS]
    return apply(TwinStudy(), prod(param("twin.sigma", SIGMAS), seeds))


def draw(rows: list[dict[str, str]], folder: Path, _: object) -> None:
    """Errors of the law and of the movie against noise."""
    kinds = [k for k in ("clean", "noisy", "denoised", "joint") if f"{k}_mu_h_rms" in rows[0]]
    label = "noise sd [lithium fraction]"
    for column, y_label in (
        ("mu_h_rms", "rms error of mu_h [kT]"),
        ("D_relative_rms", "relative rms error of D"),
    ):
        figure = sweep(
            rows,
            x="twin.sigma",
            ys={k: f"{k}_{column}" for k in kinds},
            x_label=label,
            y_label=y_label,
            log_y=True,
        )
        save(figure, folder / f"{column}.png")
    names = {"noisy": "psnr_noisy", "denoised": "psnr_denoised", "joint fit": "psnr_joint"}
    shown = {k: v for k, v in names.items() if v in rows[0]}
    figure = sweep(rows, x="twin.sigma", ys=shown, x_label=label, y_label="PSNR [dB]")
    save(figure, folder / "psnr.png")


if __name__ == "__main__":
    command("cahn_hilliard_twin", run, configs, draw)

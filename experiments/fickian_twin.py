"""Study: D(c) of a Fickian law from a noisy movie in one and in two dimensions, with intervals.

    python -m experiments.fickian_twin run|collect|figure [--fast]

For each law, geometry, noise level and seed: simulate a closed box, denoise, and fit ln D(c) from the clean, the noisy
and the denoised movie and jointly. The laws rise, fall and peak with c, so that what a prior would favour differs.
"""

from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from experiments.command import command
from phdenoise.denoising import denoise
from phdenoise.denoising.config import DenoiseConfig
from phdenoise.figures.plots import save, sweep
from phdenoise.learn import fit
from phdenoise.learn.config import FitConfig
from phdenoise.learn.result import FitResult
from phdenoise.metrics.fidelity import psnr
from phdenoise.simulation import SimulateConfig, simulate
from phdenoise.study.sweep import apply, param, prod

# Standard deviations of the noise [lithium fraction].
SIGMAS = (0.03, 0.07, 0.15)
SEEDS = (0, 1, 2)
# Legendre coefficients of ln D.
LAWS = ((0.0, 0.7), (0.0, -0.7), (0.0, 0.0, -0.8))
# Cells of a profile and of a square, and the last time: the edges must have met by then.
GEOMETRIES = {"1-D": ((1, 128), 400.0), "2-D": ((48, 48), 110.0)}


@dataclass(frozen=True)
class FickianStudy:
    """One run of the study."""

    geometry: str = "2-D"
    """1-D (a profile) or 2-D (a square)."""
    twin: SimulateConfig = field(default_factory=lambda: SimulateConfig(frames=60))
    """The movie."""
    denoise: DenoiseConfig = field(default_factory=lambda: DenoiseConfig(preset="quick"))
    """How to denoise."""
    fit: FitConfig = field(default_factory=FitConfig)
    """How to fit."""
    joint: bool = True
    """Also the joint fit (the slowest part)."""


def run(config: FickianStudy) -> dict[str, float]:
    """Errors of the movie and of D(c), by the way it was fitted."""
    movie, clean = simulate("fickian", config.twin)
    estimate = denoise(movie, config.denoise)
    fits = {
        "clean": fit(clean, "fickian", config.fit),
        "noisy": fit(movie, "fickian", config.fit),
        "denoised": fit(estimate.as_movie(), "fickian", config.fit),
    }
    if config.joint:
        together = replace(config.fit, joint=True)
        fits["joint"] = fit(movie, "fickian", together, estimate=estimate, start=fits["denoised"])
    row = {
        "psnr_noisy": float(psnr(movie.frames, clean.frames)),
        "psnr_denoised": float(psnr(estimate.mean, clean.frames)),
    }
    for name, result in fits.items():
        row |= {f"{name}_{k}": v for k, v in errors(result, config.twin.log_diffusivity).items()}
    joint = fits.get("joint")
    if joint is not None and joint.trajectory is not None:
        first, last = joint.frames_used
        row["psnr_joint"] = float(
            psnr(joint.trajectory.astype(np.float32), clean.frames[first:last])
        )
    return row


def errors(result: FitResult, law: tuple[float, ...]) -> dict[str, float]:
    """Relative rms error of D(c) over the observed range, its median sd, and the share of the curve inside 90 %.

    Args:
        result: fitted law.
        law: coefficients of the true ln D.

    Returns:
        Name -> number; nan where nothing moved, so that no law was fitted.
    """
    curves = result.curves
    if not curves:
        return dict.fromkeys(("D_relative_rms", "D_relative_sd", "D_covered_90"), np.nan)
    d = np.exp(np.polynomial.legendre.legval(2 * curves["c"] - 1, law))
    inside = (curves["D_low"] <= d) & (d <= curves["D_high"])
    return {
        "D_relative_rms": float(np.sqrt(np.mean((curves["D"] / d - 1) ** 2))),
        "D_relative_sd": float(np.median(curves["D_sd"] / curves["D"])),
        "D_covered_90": float(np.mean(inside)),
    }


def configs(fast: bool) -> list[FickianStudy]:
    """The sweep; --fast is two geometries at one noise level, small networks, no joint fit."""
    geometry = [
        {"geometry": name, "twin.size": size, "twin.duration": duration}
        for name, (size, duration) in GEOMETRIES.items()
    ]
    if fast:
        base = FickianStudy(
            twin=SimulateConfig(frames=20),
            denoise=DenoiseConfig(preset="quick", steps=40, width=8),
            fit=FitConfig(iterations=6, mobility_degree=2),
            joint=False,
        )
        return apply(base, geometry)
    seeds = [{"twin.seed": s, "denoise.seed": s, "fit.seed": s} for s in SEEDS]
    sweep = prod(geometry, param("twin.log_diffusivity", LAWS), param("twin.sigma", SIGMAS), seeds)
    return apply(FickianStudy(), sweep)


def draw(rows: list[dict[str, str]], folder: Path, _: object) -> None:
    """Error of D(c) and what its intervals hold, against noise, for each geometry; its laws count as repeats.

    Args:
        rows: of the finished runs.
        folder: for the figures.
        _: not used.
    """
    label = "noise sd [lithium fraction]"
    for geometry in GEOMETRIES:
        some = [r for r in rows if r["geometry"] == geometry]
        kinds = [
            k
            for k in ("clean", "noisy", "denoised", "joint")
            if some and f"{k}_D_covered_90" in some[0]
        ]
        for column, y_label, log in (
            ("D_relative_rms", "relative rms error of D", True),
            ("D_covered_90", "share of D(c) inside 90 %", False),
        ):
            ys = {k: f"{k}_{column}" for k in kinds}
            figure = sweep(
                some, x="twin.sigma", ys=ys, x_label=label, y_label=y_label, log_y=log,
                repeats=["twin.log_diffusivity"],
            )  # fmt: skip
            save(figure, folder / f"{column}_{geometry}.png")


if __name__ == "__main__":
    command("fickian_twin", run, configs, draw)

"""How well the law comes back: from the clean, the noisy and the denoised movie, and jointly.

    python benchmarks/law_recovery.py [--size 64] [--frames 101] [--sigma 0.15] [--seeds 0 1 2 3 4 5 6 7]

Prints rms errors of mu_h [kT and relative], D [relative] and kappa against the twin's law, the median interval, how
much of the curve the 90 % interval covers, and seconds (compilation included in the first seed's); then, over the
seeds, the medians and how often the 90 % intervals hold the truth. With --csv FILE every fit is a row there, and a
second call makes only the fits that are missing, so that a run over many seeds can be made in parts:

    python benchmarks/law_recovery.py --size 32 --frames 40 --fits joint --seeds 0 1 2 ... 49 --csv coverage.csv
"""

import csv
import platform
import time
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import tyro

from phdenoise import selfcheck
from phdenoise.denoising import denoise
from phdenoise.denoising.config import DenoiseConfig
from phdenoise.learn import fit
from phdenoise.learn.config import FitConfig
from phdenoise.learn.result import FitResult
from phdenoise.metrics.fidelity import psnr
from phdenoise.simulation import SimulateConfig, cahn_hilliard_config, simulate

COLUMNS = (
    *("mu_h[kT]", "rel[%]", "sd[kT]", "cov[%]"),
    *("D[%]", "sd D[%]", "cov D[%]"),
    *("kappa[%]", "sd k[%]", "cov k[%]", "seconds"),
)


# Slope of mu_h at c = 1/2 below which a mixture separates well within the movie [kT]; without bends the slope is -2.
SEPARATES = -1.0


@dataclass(frozen=True)
class Arguments:
    """What to measure."""

    size: int = 64
    """Rows and columns [px]."""
    frames: int = 101
    """Frames over the window [0, 0.2]."""
    sigma: float = 0.15
    """Noise, in concentration."""
    seeds: tuple[int, ...] = (0,)
    """Seeds of the movie and of the denoiser."""
    bends: float = 0.0
    """Draw for every seed a law with bends of mu_h and of ln D: standard deviation of their Legendre terms times
    sqrt(n(n+1)) [kT; 1]; laws that do not separate are drawn again. Intervals of a fit whose prior holds bends should cover such laws as often as they say."""
    fits: tuple[str, ...] = ("clean", "noisy", "denoised", "joint")
    """Which fits to make."""
    fit: FitConfig = field(default_factory=FitConfig)
    """Settings of the fits."""
    denoise: DenoiseConfig = field(default_factory=lambda: DenoiseConfig(preset="quick"))
    """Settings of the denoiser (its seed is that of the movie)."""
    csv: Path | None = None
    """Table to which every fit adds a row; fits that are in it are not made again."""


def measure(result: FitResult, config: SimulateConfig, seconds: float) -> dict[str, float]:
    """Errors of a fit in percent (mu_h in kT too), its intervals, and what they hold; nan where nothing moved."""
    curves = result.curves
    if not curves:
        return dict.fromkeys(COLUMNS, np.nan) | {"seconds": seconds}
    c = curves["c"]
    mu, d = cahn_hilliard_config(config).curves(c)
    assert result.kappa is not None
    kappa = result.kappa

    def covered(
        low: float | np.ndarray, truth: float | np.ndarray, high: float | np.ndarray
    ) -> float:
        return 100 * float(np.mean((low <= truth) & (truth <= high)))

    about = result.statistics
    rms = float(np.sqrt(np.mean((curves["mu_h"] - mu) ** 2)))
    return {
        "mu_h[kT]": rms,
        "rel[%]": 100 * rms / float(np.sqrt(np.mean(mu**2))),
        "sd[kT]": float(np.median(curves["mu_h_sd"])),
        "cov[%]": covered(curves["mu_h_low"], mu, curves["mu_h_high"]),
        "D[%]": 100 * float(np.sqrt(np.mean((curves["D"] / d - 1) ** 2))),
        "sd D[%]": 100 * float(np.median(curves["D_sd"] / curves["D"])),
        "cov D[%]": covered(curves["D_low"], d, curves["D_high"]),
        "kappa[%]": 100 * abs(kappa.value / config.kappa - 1),
        "sd k[%]": 100 * kappa.sd / kappa.value,
        "cov k[%]": covered(about["kappa_low"], config.kappa, about["kappa_high"]),
        "seconds": seconds,
    }


def line(name: str, numbers: dict[str, float]) -> str:
    """One line of the table."""
    return f"{name:<12}" + "".join(f"{v:10.4g}" for v in numbers.values())


def read_rows(table: Path | None, seed: int) -> dict[str, dict[str, float]]:
    """What a table holds of a seed, by fit."""
    if table is None or not table.exists():
        return {}
    with table.open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if int(row["seed"]) == seed]
    return {row["fit"]: {name: float(row[name]) for name in COLUMNS} for row in rows}


def add_row(table: Path | None, seed: int, name: str, numbers: dict[str, float]) -> None:
    """One more row, unless the fit has one."""
    if table is None or name in read_rows(table, seed):
        return
    new = not table.exists()
    with table.open("a", newline="") as file:
        writer = csv.DictWriter(file, ["seed", "fit", *COLUMNS])
        if new:
            writer.writeheader()
        writer.writerow({"seed": seed, "fit": name, **numbers})


def drawn(arguments: Arguments, seed: int) -> dict[str, tuple[float, ...]]:
    """Terms of a law with bends, as `SimulateConfig` takes them: the first whose mixture at c = 1/2 separates."""
    if not arguments.bends:
        return {}
    rng = np.random.default_rng([seed, 1])
    degrees = {"bends": range(2, 6), "log_mobility": range(1, 5)}
    while True:
        law = {
            name: tuple(arguments.bends / np.sqrt(n * (n + 1)) * rng.standard_normal() for n in ns)
            for name, ns in degrees.items()
        }
        # Where it hardly does, nothing is to be seen for the whole movie.
        c = np.array([0.49, 0.51])
        mu, _ = cahn_hilliard_config(SimulateConfig(**law)).curves(c)
        if np.diff(mu)[0] < SEPARATES * np.diff(c)[0]:
            return law


def one_seed(arguments: Arguments, seed: int) -> dict[str, dict[str, float]]:
    """Simulate, denoise, fit, print; the numbers by fit."""
    config = SimulateConfig(
        size=(arguments.size, arguments.size),
        frames=arguments.frames,
        sigma=arguments.sigma,
        seed=seed,
        **drawn(arguments, seed),  # type: ignore[arg-type]
    )
    movie, clean = simulate("cahn-hilliard", config)
    estimate = None
    known, found = None, read_rows(arguments.csv, seed)
    if all(name in found for name in arguments.fits):
        return found
    if {"denoised", "joint"} & set(arguments.fits):
        start = time.perf_counter()
        estimate = denoise(movie, replace(arguments.denoise, seed=seed))
        seconds = time.perf_counter() - start
        before = float(psnr(movie.frames, clean.frames))
        after = float(psnr(estimate.mean, clean.frames))
        print(f"seed {seed}: denoised {before:.2f} -> {after:.2f} dB PSNR in {seconds:.1f} s")
    for name in arguments.fits:
        if name in found and not (name == "denoised" and "joint" in arguments.fits):
            continue
        start = time.perf_counter()
        if name == "joint":
            joint = replace(arguments.fit, joint=True)
            result = fit(movie, config=joint, estimate=estimate, start=known)
        elif name == "denoised":
            assert estimate is not None
            result = known = fit(estimate.as_movie(), config=arguments.fit)
        else:
            result = fit({"clean": clean, "noisy": movie}[name], config=arguments.fit)
        found[name] = measure(result, config, time.perf_counter() - start)
        print(line(name, found[name]), flush=True)
        add_row(arguments.csv, seed, name, found[name])
        print(f"    {result.outcome} chi2/dof {result.statistics.get('chi2_per_dof', np.nan):.4f}")
        if result.trajectory is not None:
            first, last = result.frames_used
            path = result.trajectory.astype(np.float32)
            print(f"    trajectory {float(psnr(path, clean.frames[first:last])):.2f} dB")
    return found


def main(arguments: Arguments) -> None:
    """Every seed, then what they say together."""
    print(f"{platform.processor() or platform.machine()}, {selfcheck.versions()}")
    print(
        f"twin {arguments.size}x{arguments.size}, {arguments.frames} frames, sigma {arguments.sigma}"
    )
    print(" " * 12 + "".join(f"{n:>10}" for n in COLUMNS))
    seeds = [one_seed(arguments, seed) for seed in arguments.seeds]
    print(f"over {len(seeds)} seed(s): medians, and means of the coverage")
    for name in arguments.fits:
        together = {
            n: (np.mean if n.startswith("cov") else np.median)([s[name][n] for s in seeds])
            for n in COLUMNS
        }
        print(line(name, {n: float(v) for n, v in together.items()}))


if __name__ == "__main__":
    main(tyro.cli(Arguments))

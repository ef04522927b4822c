"""What is a law worth to a denoiser? The network alone, the law's trajectory alone, and both joined, by case.

    python benchmarks/joint_worth.py [--cases right wrong short strong correlated] [--sigma 0.15] [--seeds 0 1] [--csv FILE]

The clean movies are of `independent_solver.py`, which shares no code with phdenoise. `alternating` and `simultaneous` are the
schedules of the joint fit; `held` gives the law with a diffusivity that is 10 % off and does not fit it. Printed: PSNR [dB] of
the whole movie, share of pixels that the 90 % bars hold, share of the movie that is the law's, verdict, seconds.
"""

import argparse
import csv
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from scipy import ndimage

import phdenoise as ph
from benchmarks.independent_solver import Box, Motion, smooth_field, solve
from phdenoise.learn.law_denoise import with_law
from phdenoise.metrics.fidelity import psnr
from phdenoise.physics import ConstantMobility, Fickian

# Diffusivity [px²/frame] of the movies, and their size [px].
DIFFUSIVITY, SIDE = 0.4, 40


class Case(NamedTuple):
    """A movie and the law that is put into its denoising.

    Attributes:
        frames: number of frames.
        motion: what moves it.
        law: what it is denoised with.
        correlated: width of the noise's correlation [px].
        noisier: factor of the noise.
    """

    frames: int = 24
    motion: Motion = Motion(lambda c: DIFFUSIVITY + 0 * c)
    law: Any = "fickian"
    correlated: float = 0.0
    noisier: float = 1.0


def _off(factor: float) -> Fickian:
    mobility = ConstantMobility(DIFFUSIVITY * factor)
    return Fickian(mobility, fixed=("diffusivity",))


CASES: dict[str, Case] = {
    "right": Case(),
    "auto": Case(law="auto"),
    "held 10 % off": Case(law=_off(1.1)),
    "advected, fitted without": Case(motion=Motion(lambda c: 0.4 + 0 * c, velocity=(0.0, 0.25))),
    "wrong family": Case(law="allen-cahn"),
    "short": Case(frames=6),
    "strong noise": Case(noisier=2.0),
    "correlated noise": Case(correlated=0.7),
}


def recorded(case: Case, sigma: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Clean and noisy frames [t, y, x]."""
    rng = np.random.default_rng([seed, 11])
    box = Box((SIDE, SIDE), periodic=(True, True))
    first = smooth_field((SIDE, SIDE), rng, width=3.0, span=(0.1, 0.9), wraps=(True, True))
    clean = solve(case.motion, box, first, np.arange(float(case.frames)))
    noise = rng.normal(size=clean.shape)
    if case.correlated:
        noise = ndimage.gaussian_filter(noise, (0, case.correlated, case.correlated), mode="wrap")
        noise /= noise.std()
    return clean, clean + sigma * case.noisier * noise


def held(estimate: ph.Estimate, clean: np.ndarray) -> float:
    """Share of pixels that the 90 % bars hold."""
    low, high = estimate.interval(0.9)
    return float(np.mean((low <= clean) & (clean <= high)))


def rows(name: str, seed: int, asked: argparse.Namespace) -> list[dict[str, Any]]:
    """One row for the network alone and one for each way of joining it with the law."""
    case, sigma = CASES[name], asked.sigma
    clean, noisy = recorded(case, sigma, seed)
    movie = ph.Movie.from_array(noisy.astype(np.float32))
    begin = time.perf_counter()
    alone = ph.denoise(movie, ph.DenoiseConfig(preset="quick", seconds=asked.seconds))
    found = []

    def row(method: str, estimate: ph.Estimate, begin: float) -> None:
        law = estimate.trust.get("law", {})
        found.append(
            {
                "case": name,
                "sigma": sigma * case.noisier,
                "seed": seed,
                "method": method,
                "psnr[dB]": round(float(psnr(estimate.mean, clean.astype(np.float32))), 2),
                "bars[%]": round(100 * held(estimate, clean)),
                "law[%]": round(100 * law.get("share", 0.0)),
                "holds": law.get("holds", ""),
                "seconds": round(time.perf_counter() - begin),
            }
        )
        print(" ".join(f"{k}={v}" for k, v in found[-1].items()), flush=True)

    row("network", alone, begin)
    ways: dict[str, Callable[[], ph.FitConfig]] = {
        "law": lambda: ph.FitConfig(mobility_degree=2, network_steps=0),
        "alternating": lambda: ph.FitConfig(mobility_degree=2),
        "simultaneous": lambda: ph.FitConfig(
            mobility_degree=2, schedule="simultaneous", simultaneous_steps=50
        ),
    }
    for method, config in ways.items():
        begin = time.perf_counter()
        row(method, with_law(alone, case.law, config()), begin)
        if method == "law" and not asked.schedules:
            break
    return found


def main() -> None:
    """The table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", nargs="+", default=list(CASES), choices=list(CASES))
    parser.add_argument("--sigma", type=float, default=0.15)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--seconds", type=float, default=20.0, help="of the network's training")
    parser.add_argument("--schedules", action="store_true", help="also the two joint schedules")
    parser.add_argument("--csv", type=Path)
    asked = parser.parse_args()
    found = [row for name in asked.cases for seed in asked.seeds for row in rows(name, seed, asked)]
    if asked.csv:
        with asked.csv.open("w", newline="") as file:
            writer = csv.DictWriter(file, list(found[0]))
            writer.writeheader()
            writer.writerows(found)


if __name__ == "__main__":
    main()

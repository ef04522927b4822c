"""Which schedule of the joint fit gives the better law and the better movie in equal time?

    python benchmarks/joint_schedules.py [--size 32] [--frames 40] [--sigma 0.1] [--seeds 0 1] [--csv FILE]

Four laws: Cahn-Hilliard, Cahn-Hilliard with bends, Fickian diffusion, Allen-Cahn. Both schedules start from the same
denoised movie and the same law of it. `alternating`: Gauss-Newton on law and initial field, then gradient steps on the
network. `simultaneous`: one optimiser on all three through the joint loss. The simultaneous fit gets as many steps as
take the time of the alternating one, compilation included in both. Printed: relative rms error of D (of M for
Allen-Cahn), rms error of μ_h [kT], share of D that the 90 % bands hold, PSNR of the law's movie [dB], seconds.
"""

import argparse
import csv
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

import phdenoise as ph
from phdenoise.metrics.fidelity import psnr
from phdenoise.simulation import true_curves

LAWS: dict[str, tuple[Any, dict[str, Any]]] = {
    "cahn-hilliard": ("cahn-hilliard", {"duration": 0.2}),
    "cahn-hilliard, bends": ("cahn-hilliard", {"duration": 0.2, "bends": (0.3, -0.2)}),
    "fickian": ("fickian", {"duration": 40.0}),
    "allen-cahn": ("allen-cahn", {"duration": 1.0}),
}
# Steps of the short run that tells how long a simultaneous step takes.
PROBE = 10


def score(result: ph.FitResult, clean: ph.Movie, seconds: float) -> dict[str, float]:
    """Errors of a fit against the truth of its movie."""
    found = result.curves
    if not found:
        raise SystemExit(result.outcome)
    c = found["c"]
    truth = true_curves(clean.provenance, c)
    assert truth is not None
    d = found["D"]
    first, last = result.frames_used
    path = np.nan if result.trajectory is None else result.trajectory
    return {
        "D[%]": 100 * float(np.sqrt(np.mean((d / truth["D"] - 1) ** 2))),
        "mu_h[kT]": float(np.sqrt(np.mean((found["mu_h"] - truth["mu_h"]) ** 2))),
        "held[%]": 100
        * float(np.mean((found["D_low"] <= truth["D"]) & (truth["D"] <= found["D_high"]))),
        "psnr[dB]": float(psnr(np.asarray(path, np.float32), clean.frames[first:last])),
        "seconds": seconds,
    }


def one(name: str, args: argparse.Namespace, seed: int) -> list[dict[str, Any]]:
    """Both schedules on one movie."""
    kind, settings = LAWS[name]
    config = ph.SimulateConfig(
        size=(args.size, args.size), frames=args.frames, sigma=args.sigma, seed=seed, **settings
    )
    movie, clean = ph.simulate(kind, config)
    estimate = ph.denoise(movie, ph.DenoiseConfig(preset="quick", steps=100, seed=seed))
    fit = ph.FitConfig(joint=True, enthalpy_degree=4, mobility_degree=3)
    known = ph.fit(estimate.as_movie(), kind, replace(fit, joint=False))

    def timed(own: ph.FitConfig) -> tuple[ph.FitResult, float]:
        begin = time.perf_counter()
        result = ph.fit(movie, kind, own, estimate=estimate, start=known)
        return result, time.perf_counter() - begin

    alternating, budget = timed(fit)
    together = replace(fit, schedule="simultaneous")
    _, short = timed(replace(together, simultaneous_steps=PROBE))
    _, longer = timed(replace(together, simultaneous_steps=4 * PROBE))
    step = max((longer - short) / (3 * PROBE), 1e-3)
    steps = int(np.clip((budget - (short - PROBE * step)) / step, PROBE, 5000))
    simultaneous, spent = timed(replace(together, simultaneous_steps=steps))
    return [
        {"law": name, "seed": seed, "schedule": "alternating", **score(alternating, clean, budget)},
        {"law": name, "seed": seed, "schedule": f"simultaneous {steps}"}
        | score(simultaneous, clean, spent),
    ]


def main() -> None:
    """Every law and seed, then the medians."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--size", type=int, default=32, help="rows and columns [px]")
    parser.add_argument("--frames", type=int, default=40)
    parser.add_argument("--sigma", type=float, default=0.1, help="noise, in concentration")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--csv", type=Path, default=None, help="table to write")
    args = parser.parse_args()
    rows: list[dict[str, Any]] = []
    for name in LAWS:
        for seed in args.seeds:
            rows += one(name, args, seed)
            for row in rows[-2:]:
                print(
                    *(f"{k} {v:.4g}" if isinstance(v, float) else v for k, v in row.items()),
                    flush=True,
                )
    if args.csv is not None:
        with args.csv.open("w", newline="") as file:
            writer = csv.DictWriter(file, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)


if __name__ == "__main__":
    main()

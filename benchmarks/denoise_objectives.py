"""Every network and objective on one twin movie: PSNR, coverage, seconds.

    python benchmarks/denoise_objectives.py --size 64 --frames 20 --sigma 0.2 --steps 400

The movie is a Cahn-Hilliard twin with Gaussian noise, or counts with --dose; the second exposure of noise2noise and the
clean movie of supervised training are the twin's own, which an experiment rarely has. Compile time is included.
"""

import argparse
import time
from dataclasses import dataclass, field, replace

import jax
import jax.numpy as jnp
import numpy as np

from phdenoise.denoising import denoise
from phdenoise.denoising.config import DenoiseConfig
from phdenoise.metrics.calibration import coverage
from phdenoise.metrics.fidelity import psnr
from phdenoise.movie import ERROR_DEGREES_OF_FREEDOM, Estimate, Movie
from phdenoise.noise.models import Gaussian, Poisson
from phdenoise.simulation import SimulateConfig, simulate
from phdenoise.types import InputError


@dataclass(frozen=True)
class Row:
    """One line of the table: a label, settings beyond the common ones, and what else the training is given."""

    label: str
    settings: dict = field(default_factory=dict)
    given: str = ""


ROWS = (
    Row("centre-blind, nll"),
    Row("centre-blind, mse", {"objective": "mse"}),
    Row("centre-blind, counts", {"objective": "counts"}),
    Row("temporal only, nll", {"blind": "frame"}),
    Row("UDVD, nll", {"blind": "udvd"}),
    Row("UDVD-MF, nll", {"blind": "udvd-mf"}),
    Row("masked, single images", {"objective": "n2v"}),
    Row("masked, two frames each way", {"objective": "n2v", "window": 2}),
    Row("U-Net, SURE", {"objective": "sure"}),
    Row("U-Net, PURE", {"objective": "pure"}),
    Row("U-Net, two frames, risk", {"network": "unet", "window": 2}),
    Row("U-Net, noise2noise", {}, "target"),
    Row("U-Net, supervised", {}, "clean"),
    Row("U-Net, two teachers", {"distill": 2}),
)


def movies(args: argparse.Namespace) -> tuple[Movie, Movie, Movie]:
    """Noisy movie, a second exposure of it, and the clean one."""
    noise = {"dose": args.dose} if args.dose else {"sigma": args.sigma}
    size = (args.size, args.size)
    config = SimulateConfig(size=size, frames=args.frames, skip=args.skip, seed=args.seed, **noise)
    noisy, clean = simulate("cahn-hilliard", config)
    model = Poisson() if args.dose else Gaussian(args.sigma)
    again = model.sample(jax.random.key(args.seed + 1000), jnp.asarray(clean.frames))
    return noisy, noisy.with_frames(np.asarray(again), name="second exposure"), clean


def line(label: str, estimate: Estimate, clean: np.ndarray, span: float, seconds: float) -> str:
    """PSNR, coverage of the 50, 90 and 99 % intervals, seconds, and the network kept."""
    inside = 100 * np.asarray(
        coverage(
            estimate.mean,
            estimate.variance,
            clean,
            (0.5, 0.9, 0.99),
            degrees=ERROR_DEGREES_OF_FREEDOM,
        )
    )
    found = float(psnr(estimate.mean, clean, span))
    shares = " ".join(f"{v:5.1f}" for v in inside)
    return f"{label:30s} {found:7.2f} dB   {shares}   {seconds:6.1f} s   {estimate.settings['network']}"


def main() -> None:
    """Parse the command line and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", type=int, default=48, help="side [px]")
    parser.add_argument(
        "--frames", type=int, default=16, help="frames, of which the first are skipped"
    )
    parser.add_argument(
        "--skip", type=int, default=4, help="first frames left out (no pattern yet)"
    )
    parser.add_argument("--sigma", type=float, default=0.2, help="Gaussian noise [concentration]")
    parser.add_argument("--dose", type=float, help="counts at c = 1 instead: Poisson noise")
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--width", type=int, default=16)
    parser.add_argument("--symmetries", type=int, default=4)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--udvd", action="store_true", help="also UDVD and UDVD-MF (minutes)")
    parser.add_argument("--only", nargs="*", help="rows whose label contains one of these words")
    args = parser.parse_args()
    noisy, target, clean = movies(args)
    span = float(np.ptp(clean.frames))
    print(
        f"{noisy.frames.shape}, {args.steps} steps of width {args.width}; intervals of 50, 90, 99 %"
    )
    print(f"{'noisy':30s} {float(psnr(noisy.frames, clean.frames, span)):7.2f} dB")
    common = DenoiseConfig(
        "quick", steps=args.steps, width=args.width, symmetries=args.symmetries, seed=args.seed
    )
    for row in ROWS:
        if args.only and not any(word in row.label for word in args.only):
            continue
        if "UDVD" in row.label and not args.udvd:
            continue
        given = {row.given: {"target": target, "clean": clean}[row.given]} if row.given else {}
        start = time.perf_counter()
        try:
            estimate = denoise(noisy, replace(common, **row.settings), **given)
        except InputError as refusal:
            print(f"{row.label:30s} not for this movie: {refusal}", flush=True)
            continue
        seconds = time.perf_counter() - start
        print(line(row.label, estimate, clean.frames, span, seconds), flush=True)


if __name__ == "__main__":
    main()

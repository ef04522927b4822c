"""How often intervals hold the truth, and how wide the tails of errors are, on random scenes that no network has seen.

    python -m benchmarks.denoise_intervals --scenes 32
    python -m benchmarks.denoise_intervals --scenes 48 --seconds 12

A line a scene: noise over contrast, the true mean squared error over the stated variance, the share of pixels inside their
50, 90 and 99 % intervals, and the degrees of freedom of the Student's t that the error over its sd follows, by maximum
likelihood with a free scale. In the last line those of all scenes' errors over their stated sd, whose level is uncertain too: they
are `phdenoise.movie.ERROR_DEGREES_OF_FREEDOM`. Training is skipped unless --seconds asks for it:
the network and the best linear filter it starts from are as they are on any movie; noise is estimated.
"""

import argparse
import time

import numpy as np
from scipy import optimize, stats

from experiments.scenes import expose
from phdenoise.denoising import denoise
from phdenoise.denoising.config import DenoiseConfig
from phdenoise.metrics.calibration import coverage
from phdenoise.movie import ERROR_DEGREES_OF_FREEDOM, Movie
from phdenoise.types import InputError

LEVELS = (0.5, 0.9, 0.99)
# Number of the first scene: the shipped network was trained on scenes of other numbers (`experiments/scene_prior.py`).
FIRST = 10**7


def degrees_of_freedom(z: np.ndarray) -> float:
    """Of the Student's t, of any scale, that makes values most likely; at most 100."""
    spread = float(np.median(np.abs(z)))

    def cost(at: np.ndarray) -> float:
        nu, scale = np.exp(at)
        return -float(np.mean(stats.t.logpdf(z / (spread * scale), nu) - np.log(spread * scale)))

    found = optimize.minimize(cost, [np.log(7.0), 0.0], method="Nelder-Mead")
    return float(min(np.exp(found.x[0]), 100.0))


def pooled(every: list[np.ndarray]) -> float:
    """Of the Student's t of unit variance that makes all values most likely."""
    z = np.concatenate(every)

    def cost(nu: float) -> float:
        scale = np.sqrt((nu - 2) / nu)
        return -float(np.mean(stats.t.logpdf(z / scale, nu) - np.log(scale)))

    return float(optimize.minimize_scalar(cost, bounds=(2.5, 100.0), method="bounded").x)


def main() -> None:
    """Parse the command line and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--scenes", type=int, default=32, help="how many")
    parser.add_argument("--skip", type=int, default=0, help="scenes to pass over first")
    parser.add_argument("--frames", type=int, default=30, help="of a scene")
    parser.add_argument("--size", type=int, default=64, help="side [px]")
    parser.add_argument("--seconds", type=float, help="of training; none by default")
    args = parser.parse_args()
    every, errors = [], []
    print(
        f"{'scene':>5s} {'noise':>6s} {'':10s} {'mse/var':>7s}   50 %   90 %   99 %  degrees  seconds"
    )
    for k in range(args.skip, args.skip + args.scenes):
        shot = expose(np.random.default_rng([5, FIRST + k]), args.frames, args.size)
        clean, start = shot.clean.astype(np.float32), time.perf_counter()
        noise = float(np.std(shot.noisy - clean) / np.std(clean))
        label = f"{k:5d} {noise:6.2f} {'correlated' if shot.correlated else 'white':10s}"
        untrained = DenoiseConfig(steps=1, symmetries=4)
        config = DenoiseConfig("quick", seconds=args.seconds) if args.seconds else untrained
        try:
            estimate = denoise(Movie.from_array(shot.noisy), config)
        except InputError as error:
            print(f"{label} {error}", flush=True)
            continue
        seconds = time.perf_counter() - start
        held = coverage(
            estimate.mean, estimate.variance, clean, LEVELS, degrees=ERROR_DEGREES_OF_FREEDOM
        )
        error = (estimate.mean - clean).astype(float)
        level = float(np.mean(error**2) / np.mean(estimate.variance))
        errors.append((error / np.sqrt(estimate.variance)).ravel()[::7])
        degrees = degrees_of_freedom(errors[-1])
        every.append([level, *np.asarray(held, float), degrees])
        shares = "".join(f"{100 * h:7.1f}" for h in np.asarray(held, float))
        print(f"{label} {level:7.2f}{shares}  {degrees:7.1f}  {seconds:7.1f}", flush=True)
    for name, of in (("median", np.median), ("mean", np.mean), ("sd", np.std)):
        value = of(every, axis=0)
        shares = "".join(f"{100 * h:7.1f}" for h in value[1:4])
        print(f"{name:23s} {value[0]:7.2f}{shares}  {value[4]:7.1f}")
    print(f"rms ln(mse/var) {np.sqrt(np.mean(np.log(np.asarray(every)[:, 0]) ** 2)):.2f}")
    print(f"degrees of all errors over their stated sd {pooled(errors):.1f}")


if __name__ == "__main__":
    main()

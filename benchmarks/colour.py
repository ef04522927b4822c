"""Channels denoised together against one by one, on twins whose clean channels are known.

    python benchmarks/colour.py --cases rgb poisson --steps 400

shared: one scene in three colours; two: three mixtures of two scenes; independent: three scenes; demosaiced: the
noise of neighbours and of colours correlates; poisson: 5, 15 and 45 counts. Same steps for both, seconds beside decibels.
"""

import argparse
import time

import jax
import numpy as np
from scipy import ndimage

from phdenoise import Channels, DenoiseConfig, Movie, denoise, denoise_channels
from phdenoise.metrics.fidelity import psnr
from phdenoise.physics.twins.transport import TwinConfig, cahn_hilliard_twin

SD = np.array([0.1, 0.2, 0.3])
CASES = ("shared", "two", "independent", "demosaiced", "poisson")


def scene(seed: int, size: int, frames: int) -> np.ndarray:
    """Clean frames [t, y, x] of a coarsening pattern in 0..1."""
    config = TwinConfig(shape=(size, size), frames=frames + 8, t_end=0.1)
    return np.asarray(cahn_hilliard_twin(jax.random.key(seed), config)[1])[8:]


def case(name: str, size: int, frames: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Clean and noisy channels [c, t, y, x]."""
    rng = np.random.default_rng(seed)
    c = scene(2 * seed, size, frames)
    if name == "independent":
        clean = np.stack([scene(2 * seed + k, size, frames) for k in range(3)])
    elif name == "two":
        d = scene(2 * seed + 1, size, frames)
        clean = np.stack([0.2 + 0.7 * c, 0.8 - 0.5 * c + 0.2 * d, 0.3 + 0.4 * d])
    else:
        clean = np.stack([0.2 + 0.7 * c, 0.8 - 0.5 * c, 0.3 + 0.4 * c])
    if name == "poisson":
        clean = clean * np.array([5.0, 15.0, 45.0])[:, None, None, None]
        return clean, rng.poisson(clean).astype(np.float32)
    noise = rng.standard_normal(clean.shape)
    if name == "demosaiced":
        mixed = np.linalg.cholesky(0.6 * np.eye(3) + 0.4)
        noise = np.tensordot(mixed, ndimage.uniform_filter(noise, (0, 0, 3, 3), mode="wrap"), 1) * 3
    return clean, (clean + SD[:, None, None, None] * noise).astype(np.float32)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--cases", nargs="+", choices=CASES, default=list(CASES))
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--frames", type=int, default=16)
    parser.add_argument(
        "--steps", type=int, default=None, help="training steps; default: the preset's"
    )
    parser.add_argument("--preset", choices=("quick", "default", "best"), default="quick")
    parser.add_argument("--width", type=int, default=None)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    config = DenoiseConfig(options.preset, steps=options.steps, width=options.width)
    print(
        f"{'case':<12} ch  noisy  single   joint    gain  90 % covers  intensity     s single  s joint"
    )
    for name in options.cases:
        clean, noisy = case(name, options.size, options.frames, options.seed)
        start = time.perf_counter()
        joint = denoise_channels(Channels.from_array(noisy), config)
        after = time.perf_counter()
        single = [denoise(Movie.from_array(n), config).mean for n in noisy]
        end = time.perf_counter()
        for k in range(3):
            a, b, c = (
                float(psnr(m, clean[k], data_range=float(np.ptp(clean[k]))))
                for m in (noisy[k], single[k], joint.mean[k])
            )
            inside = np.abs(joint.mean[k] - clean[k]) < 1.645 * np.sqrt(joint.variance[k])
            level = joint.mean[k].mean() / clean[k].mean() - 1
            print(
                f"{name:<12} {k:>2} {a:6.2f}  {b:6.2f}  {c:6.2f}  {c - b:+6.2f}  {100 * inside.mean():10.1f}  "
                f"{100 * level:+8.2f} %  {end - after:10.0f} {after - start:8.0f}",
                flush=True,
            )


if __name__ == "__main__":
    main()

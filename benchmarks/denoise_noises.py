"""Noise that is correlated in time or space, has heavy tails or outliers: our presets beside tuned filters.

    python -m benchmarks.denoise_noises
    python -m benchmarks.denoise_noises --movies slow,early fast,late --noises keeps-0.5 tails --preset default --size 128

The movies are the middles of those of `denoise_peers.py`, and discs that move by STEP pixels a frame over a dark ground
(leaping,STEP); all noises have the same standard deviation. For every filter the best of its settings for the clean
movie counts; NLM is given the noise's standard deviation. Ours gets the noisy movie alone, and is printed with the share
of pixels that its 50, 90 and 99 % intervals hold.
"""

import argparse
from collections.abc import Callable
from dataclasses import replace

import numpy as np
from scipy import ndimage

from benchmarks.denoise_peers import FRAMES, MACHINE, Twin, make, score_ours, score_peer
from experiments.scenes import jumping_discs

PEERS = ("gaussian", "median", "nlm")
Rng = np.random.Generator


def keeps(rho: float) -> Callable[[Rng, tuple[int, ...]], np.ndarray]:
    """Noise correlated in time: an autoregressive process of coefficient rho."""

    def draw(rng: Rng, shape: tuple[int, ...]) -> np.ndarray:
        noise = rng.standard_normal(shape)
        for t in range(1, shape[0]):
            noise[t] = rho * noise[t - 1] + np.sqrt(1 - rho**2) * noise[t]
        return noise

    return draw


def overlapping(rng: Rng, shape: tuple[int, ...]) -> np.ndarray:
    """Every frame is the sum of two exposures, one of them the last frame's."""
    white = rng.standard_normal((shape[0] + 1, *shape[1:]))
    return white[1:] + white[:-1]


def rows(rng: Rng, shape: tuple[int, ...]) -> np.ndarray:
    """Half of the power is that of whole rows."""
    return rng.standard_normal(shape) + rng.standard_normal((*shape[:2], 1))


def tails(rng: Rng, shape: tuple[int, ...]) -> np.ndarray:
    """Student's t of three degrees of freedom."""
    return rng.standard_t(3, shape)


def hits(rng: Rng, shape: tuple[int, ...]) -> np.ndarray:
    """One value in a hundred is twelve times as far out, on either side."""
    return rng.standard_normal(shape) * np.where(rng.random(shape) < 0.01, 12.0, 1.0)


def along(rng: Rng, shape: tuple[int, ...]) -> np.ndarray:
    """Shared by nine pixels of a row."""
    return ndimage.uniform_filter1d(rng.standard_normal(shape), 9, axis=2, mode="wrap")


def blurred(rng: Rng, shape: tuple[int, ...]) -> np.ndarray:
    """Blurred by 1.2 px."""
    return ndimage.gaussian_filter(rng.standard_normal(shape), (0, 1.2, 1.2), mode="wrap")


NOISES: dict[str, Callable[[Rng, tuple[int, ...]], np.ndarray]] = {
    "white": keeps(0.0),
    "keeps-0.1": keeps(0.1),
    "keeps-0.2": keeps(0.2),
    "keeps-0.5": keeps(0.5),
    "keeps-0.8": keeps(0.8),
    "overlapping": overlapping,
    "rows": rows,
    "tails": tails,
    "hits": hits,
    "along": along,
    "blurred": blurred,
}


def scene(movie: str, size: int) -> Twin:
    """A clean movie: SPEED,STAGE or leaping,STEP."""
    speed, stage = movie.split(",")
    if speed != "leaping":
        return make(speed, stage, "sigma0.1")
    discs = jumping_discs(np.random.default_rng(1), FRAMES, size, float(stage))
    return Twin(discs, discs, 1.0, None, 1)


def noisy(clean: Twin, noise: str, sigma: float, size: int) -> Twin:
    """The middle of a clean movie with noise of standard deviation `sigma`."""
    low = (clean.clean.shape[1] - size) // 2
    cut = clean.clean[:, low : low + size, low : low + size]
    drawn = NOISES[noise](np.random.default_rng(0), (FRAMES, size, size))
    # That of the Gaussian part, where there are hits.
    scale = sigma / (1.0 if noise == "hits" else drawn.std())
    frames = (cut + scale * drawn).astype(np.float32)
    return replace(clean, noisy=frames, clean=cut, sigma=sigma, box=1, unit=1.0)


def main() -> None:
    """Parse the command line and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--movies", nargs="*", default=["slow,mid", "fast,mid", "leaping,3"])
    parser.add_argument("--noises", nargs="*", default=list(NOISES), choices=list(NOISES))
    parser.add_argument("--preset", default="quick")
    parser.add_argument("--sigma", type=float, default=0.15, help="noise [concentration]")
    parser.add_argument("--size", type=int, default=64, help="side of the part denoised [px]")
    args = parser.parse_args()
    print(MACHINE)
    ours = f"ours-{args.preset}"
    names = "".join(f"{name:>10s}" for name in PEERS) + f"{ours:>{len(ours) + 2}s}"
    print(f"{'movie':10s} {'noise':12s}{names}  50 %  90 %  99 %  seconds    [dB]")
    for movie in args.movies:
        clean = scene(movie, args.size)
        for noise in args.noises:
            twin = noisy(clean, noise, args.sigma, args.size)
            peers = "".join(f"{score_peer(name, twin)['psnr']:10.2f}" for name in PEERS)
            own = score_ours(args.preset, twin)
            held = "".join(f"{100 * float(str(own[f'cover{k}'])):6.1f}" for k in (50, 90, 99))
            print(
                f"{movie:10s} {noise:12s}{peers}{own['psnr']:{len(ours) + 2}.2f}{held}"
                f"{own['seconds']:9.1f}",
                flush=True,
            )


if __name__ == "__main__":
    main()

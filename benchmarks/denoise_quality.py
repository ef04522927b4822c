"""Quality and time of denoising side by side: our presets, tuned Gaussian, NLM and BM4D on one noisy movie.

    python benchmarks/denoise_quality.py --data ch_gauss03.npz::noisy --clean ch_clean.npz --peers

PSNR has a data range of 1 (or --range). The Gaussian filter gets the best of a grid of widths and NLM and BM4D
the true noise level, so the peers know more than our presets do. Compile time is included, and the second run
of the same call is given apart.
"""

import argparse
import platform
import time
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from itertools import product
from pathlib import Path

import numpy as np
from scipy import ndimage

from phdenoise.metrics import psnr, ssim
from phdenoise.movie import Movie
from phdenoise.training import DenoiseConfig, denoise


def load(source: str) -> np.ndarray:
    """Array of FILE::name, or the only array of FILE."""
    path, _, name = source.partition("::")
    with np.load(path, allow_pickle=False) as archive:
        return archive[name or archive.files[0]].astype(np.float32)


def tuned_gaussian(noisy: np.ndarray, clean: np.ndarray) -> np.ndarray:
    """Best of a grid of temporal and spatial widths, chosen with the truth."""
    grid = product((0.5, 1, 1.5, 2, 3, 5), (0, 0.5, 1, 1.5, 2))
    tries = [ndimage.gaussian_filter(noisy, (t, s, s)) for t, s in grid]
    return min(tries, key=lambda a: float(np.mean((a - clean) ** 2)))


def nlm(noisy: np.ndarray, sigma: float) -> np.ndarray:
    """Non-local means on the volume (scikit-image), noise level known."""
    from skimage.restoration import denoise_nl_means

    return denoise_nl_means(
        noisy, patch_size=3, patch_distance=4, h=0.8 * sigma, sigma=sigma, fast_mode=True
    )


def bm4d(noisy: np.ndarray, sigma: float) -> np.ndarray:
    """BM4D on the volume, noise level known."""
    from bm4d import bm4d as filter_volume

    return filter_volume(noisy, sigma)


def report(label: str, run: Callable[[], np.ndarray], clean: np.ndarray, span: float) -> None:
    """Run once and print one line."""
    start = time.perf_counter()
    estimate = run()
    seconds = time.perf_counter() - start
    quality = float(psnr(estimate, clean, span)), float(ssim(estimate, clean, span))
    print(
        f"{label:28s} {quality[0]:7.2f} dB   SSIM {quality[1]:.4f}   {seconds:7.1f} s", flush=True
    )


def main() -> None:
    """Parse the command line and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", required=True, help="noisy movie, FILE.npz::name")
    parser.add_argument("--clean", required=True, help="true movie, FILE.npz[::name]")
    parser.add_argument("--scale", type=float, default=1.0, help="noisy = scale x clean + noise")
    parser.add_argument("--range", type=float, default=1.0, help="data range of PSNR and SSIM")
    parser.add_argument("--presets", nargs="*", default=["quick", "default"])
    parser.add_argument("--again", action="store_true", help="also time a second call")
    parser.add_argument("--peers", action="store_true", help="also NLM and BM4D (minutes)")
    args = parser.parse_args()
    noisy, clean = load(args.data), load(args.clean)
    sigma = float(np.std(noisy / args.scale - clean))
    scaled = noisy / np.float32(args.scale)
    packages = ["phdenoise", "jax", "jaxlib", "numpy", "scipy", "scikit-image", "bm4d"]
    print(f"{platform.platform()}, {platform.processor() or platform.machine()}, Python", end=" ")
    print(platform.python_version() + ";", ", ".join(filter(None, map(_version, packages))))
    print(f"{Path(args.data.partition('::')[0]).name} {noisy.shape}, noise sd {sigma:.4g}")
    report("noisy", lambda: scaled, clean, args.range)
    for preset in args.presets:
        config = DenoiseConfig(preset=preset)

        def ours(config: DenoiseConfig = config) -> np.ndarray:
            return denoise(Movie.from_array(noisy), config).mean / np.float32(args.scale)

        report(f"phdenoise {preset}", ours, clean, args.range)
        if args.again:
            report(f"phdenoise {preset}, again", ours, clean, args.range)
    report("Gaussian 3-D, tuned", lambda: tuned_gaussian(scaled, clean), clean, args.range)
    if args.peers:
        report("NLM 3-D, sigma known", lambda: nlm(scaled, sigma), clean, args.range)
        report("BM4D, sigma known", lambda: bm4d(scaled, sigma), clean, args.range)


def _version(package: str) -> str:
    try:
        return f"{package} {version(package)}"
    except PackageNotFoundError:
        return ""


if __name__ == "__main__":
    main()

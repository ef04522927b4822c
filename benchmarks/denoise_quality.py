"""Quality and time of denoising one noisy movie in a file: our presets beside the classical peers of `denoise_peers.py`.

    python benchmarks/denoise_quality.py --data ch_gauss03.npz::noisy --clean ch_clean.npz --peers gaussian nlm bm4d

PSNR has a data range of 1 (or --range). The peers are given the true noise level, and their free settings are the best
of a grid for the clean movie, so they know more than our presets do. Compile time is included; --again times a second
call of the same preset.
"""

import argparse
from pathlib import Path

import numpy as np
from denoise_peers import MACHINE, PEERS, Twin, score_ours, score_peer

from phdenoise.metrics.fidelity import psnr, ssim


def load(source: str) -> np.ndarray:
    """Array of FILE::name, or the only array of FILE."""
    path, _, name = source.partition("::")
    with np.load(path, allow_pickle=False) as archive:
        return archive[name or archive.files[0]].astype(np.float32)


def report(label: str, score: dict[str, object]) -> None:
    """Print one line of the table.

    Args:
        label: of the line.
        score: PSNR [dB], SSIM, seconds and setting.
    """
    print(
        f"{label:24s} {score['psnr']:7.2f} dB   SSIM {score['ssim']:.4f}   {score['seconds']:7.1f} s   "
        f"{score['setting']}",
        flush=True,
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
    parser.add_argument("--peers", nargs="*", choices=list(PEERS), default=["gaussian"])
    args = parser.parse_args()
    clean = load(args.clean) / np.float32(args.range)
    unit = args.scale * args.range
    noisy = load(args.data)
    sigma = float(np.std(noisy / unit - clean))
    # Peers see the movie divided by `unit`, whose noise is `sigma`.
    given = Twin(noisy / np.float32(unit), clean, 1.0, sigma, 1)
    print(MACHINE)
    print(
        f"{Path(args.data.partition('::')[0]).name} {noisy.shape}, noise sd {sigma:.4g} of --range"
    )
    quality = {"psnr": float(psnr(given.noisy, clean)), "ssim": float(ssim(given.noisy, clean))}
    report("noisy", quality | {"seconds": 0.0, "setting": ""})
    for preset in args.presets:
        own = Twin(noisy, clean, unit, sigma, 1)
        report(f"phdenoise {preset}", score_ours(preset, own))
        if args.again:
            report(f"phdenoise {preset}, again", score_ours(preset, own))
    for name in args.peers:
        report(name, score_peer(name, given))


if __name__ == "__main__":
    main()

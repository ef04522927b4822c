"""Our presets against every classical peer on a grid of twin movies: slow and fast, three stages, nine noises.

    python benchmarks/denoise_peers.py run --out peers.csv --methods gaussian nlm bm4d     (resumes where it stopped)
    python benchmarks/denoise_peers.py run --out peers.csv --methods ours-default --rows fast sigma0.3
    python benchmarks/denoise_peers.py table --out peers.csv
    python benchmarks/denoise_peers.py figure --out peers.csv --png peers.png

Movies are 30x128x128 Cahn-Hilliard twins with concentrations in 0..1, so PSNR has a data range of 1; Poisson
movies have 2, 10 or 50 counts at c = 1 and are scored after division by it. The peers are oracles: NLM, BM4D, TV
and wavelets are given the true noise level (BM4D also the spectrum of correlated noise) and every free setting
but BM4D's is the best of a grid for the clean movie; seconds are those of that one best call. Methods made for
Gaussian noise see Poisson counts through the Anscombe transform, undone by its exact unbiased inverse. Ours
gets the noisy movie and nothing else; compile time is included.
"""

import argparse
import csv
import os
import platform
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from itertools import product
from pathlib import Path

import numpy as np
from scipy import ndimage

from phdenoise.denoising import denoise
from phdenoise.denoising.config import DenoiseConfig
from phdenoise.metrics.calibration import coverage
from phdenoise.metrics.fidelity import psnr, ssim
from phdenoise.movie import ERROR_DEGREES_OF_FREEDOM, Movie
from phdenoise.noise import stabilise
from phdenoise.simulation import SimulateConfig, simulate

FRAMES, SIZE = 30, (128, 128)
# Pattern stages: first time, frame interval, and solver frames a movie frame. The whole of spinodal
# decomposition changes by less than thirty fast frames would, so fast movies differ in where they begin.
MOVIES = {
    ("slow", "early"): (0.041, 0.0006, 1),
    ("slow", "mid"): (0.064, 0.002, 1),
    ("slow", "late"): (0.2, 0.005, 2),
    ("fast", "early"): (0.03, 0.025, 12),
    ("fast", "mid"): (0.06, 0.04, 20),
    ("fast", "late"): (0.2, 0.07, 35),
}
NOISES = {
    **{f"sigma{s}": {"sigma": s} for s in (0.05, 0.1, 0.3)},
    **{f"sigma{s}-3x3": {"sigma": s, "correlation": "box-3"} for s in (0.05, 0.1, 0.3)},
    **{f"poisson{n}": {"dose": float(n)} for n in (2, 10, 50)},
}
LEVELS = (0.5, 0.9, 0.99)
COLUMNS = [
    "speed",
    "stage",
    "noise",
    "change_percent",
    "method",
    "setting",
    "psnr",
    "ssim",
    "seconds",
    "cover50",
    "cover90",
    "cover99",
    "machine",
]


@dataclass(frozen=True)
class Twin:
    """A noisy movie with its truth; `unit` is the intensity at concentration 1."""

    noisy: np.ndarray
    clean: np.ndarray
    unit: float
    sigma: float | None
    box: int

    @property
    def change(self) -> float:
        """Root-mean-square change a frame [% of the concentration range]."""
        return 100 * float(np.sqrt(np.mean(np.diff(self.clean, axis=0) ** 2)))


def make(speed: str, stage: str, noise: str) -> Twin:
    """Simulate one movie of the grid."""
    start, interval, every = MOVIES[speed, stage]
    step = interval / every
    first = round(start / step)
    settings = NOISES[noise]
    config = SimulateConfig(
        size=SIZE,
        frames=first + (FRAMES - 1) * every + 1,
        skip=first,
        duration=(first + (FRAMES - 1) * every) * step,
        seed=1,
        **settings,
    )
    movie, clean = simulate("cahn-hilliard", config)
    unit = settings.get("dose", 1.0)
    return Twin(
        noisy=movie.frames[::every],
        clean=clean.frames[::every] / np.float32(unit),
        unit=unit,
        sigma=settings.get("sigma"),
        box=3 if "correlation" in settings else 1,
    )


# Every peer yields (setting, call) pairs; the one nearest the truth counts.
Tries = Iterator[tuple[str, Callable[[], np.ndarray]]]


def gaussian(twin: Twin) -> Tries:
    """Gaussian filter; reflection at the ends in time, periodic in space as the twin is."""
    for t, s in product((0, 0.5, 1, 1.5, 2, 3, 4, 6, 9), (0, 0.5, 0.75, 1, 1.5, 2, 2.5, 3)):
        yield (
            f"t={t} xy={s}",
            lambda t=t, s=s: ndimage.gaussian_filter(
                twin.noisy / twin.unit, (t, s, s), mode=("reflect", "wrap", "wrap")
            ),
        )


def median(twin: Twin) -> Tries:
    """Median in a box."""
    for t, s in ((3, 3), (5, 3), (9, 3), (3, 5), (5, 5), (9, 5), (5, 7), (9, 7), (9, 1)):
        yield (
            f"{t}x{s}x{s}",
            lambda t=t, s=s: ndimage.median_filter(twin.noisy / twin.unit, (t, s, s)),
        )


def temporal_mean(twin: Twin) -> Tries:
    """Mean of all frames."""
    mean = (twin.noisy / twin.unit).mean(0, keepdims=True)
    yield "", lambda: np.broadcast_to(mean, twin.noisy.shape).copy()


def nlm(twin: Twin) -> Tries:
    """Non-local means on the volume (scikit-image)."""
    from skimage.restoration import denoise_nl_means

    data, sigma, back = _gaussianised(twin)
    for patch, h in product((3, 5), (0.4, 0.6, 0.8, 1.0)):
        options = {"patch_size": patch, "patch_distance": 4, "h": h * sigma, "fast_mode": True}
        yield (
            f"patch={patch} h={h}",
            lambda o=options: back(denoise_nl_means(data, sigma=sigma, **o)),
        )


def bm4d(twin: Twin) -> Tries:
    """BM4D on the volume, with sigma or, for correlated noise, its spectrum."""
    # bm4d 4.2.5 calls a name that NumPy 2.4 removed.
    if not hasattr(np, "trapz"):
        setattr(np, "trapz", np.trapezoid)  # noqa: B010
    from bm4d import bm4d as filter_volume

    data, sigma, back = _gaussianised(twin)
    # Its arrays have the third axis last: time goes there, as the authors advise for volumes.
    volume = np.ascontiguousarray(np.moveaxis(data, 0, 2))
    yield "sigma", lambda: back(np.moveaxis(filter_volume(volume, sigma), 2, 0))
    if twin.box > 1:
        delta = np.zeros(twin.noisy.shape[1:])
        delta[0, 0] = 1.0
        kernel = ndimage.uniform_filter(delta, twin.box, mode="wrap") * twin.box * sigma
        power = np.abs(np.fft.fft2(kernel)) ** 2 * volume.size
        psd = np.repeat(power[:, :, None], volume.shape[2], axis=2)
        yield "spectrum", lambda: back(np.moveaxis(filter_volume(volume, psd), 2, 0))


def svd(twin: Twin) -> Tries:
    """Truncated singular values of time x pixels, rank chosen with the truth."""
    flat = (twin.noisy / twin.unit).reshape(len(twin.noisy), -1)
    u, s, v = np.linalg.svd(flat, full_matrices=False)
    for rank in (1, 2, 3, 4, 5, 6, 8, 10, 15, 20):
        yield (
            f"rank={rank}",
            lambda r=rank: ((u[:, :r] * s[:r]) @ v[:r]).reshape(twin.noisy.shape),
        )


def total_variation(twin: Twin) -> Tries:
    """Total variation of the volume (Chambolle; scikit-image)."""
    from skimage.restoration import denoise_tv_chambolle

    data, sigma, back = _gaussianised(twin)
    for weight in (0.5, 1.0, 1.5, 2.5):
        yield (
            f"weight={weight} sigma",
            lambda w=weight: back(denoise_tv_chambolle(data, weight=w * sigma, max_num_iter=100)),
        )


def wavelet(twin: Twin) -> Tries:
    """BayesShrink of 3-D wavelets, averaged over shifts (scikit-image)."""
    from skimage.restoration import cycle_spin, denoise_wavelet

    data, sigma, back = _gaussianised(twin)
    for name in ("db2", "sym4"):
        options = {"sigma": sigma, "wavelet": name, "rescale_sigma": True}
        yield (
            name,
            lambda o=options: back(cycle_spin(data, 1, denoise_wavelet, func_kw=o, num_workers=1)),
        )


PEERS: dict[str, Callable[[Twin], Tries]] = {
    "gaussian": gaussian,
    "median": median,
    "temporal-mean": temporal_mean,
    "svd": svd,
    "nlm": nlm,
    "tv": total_variation,
    "wavelet": wavelet,
    "bm4d": bm4d,
}


def _gaussianised(twin: Twin) -> tuple[np.ndarray, float, Callable[[np.ndarray], np.ndarray]]:
    """Data with Gaussian noise of known sigma, and the way back to concentrations."""
    if twin.sigma is not None:
        return twin.noisy.astype(np.float64), twin.sigma, np.asarray
    root = stabilise.anscombe(twin.noisy)
    return root.astype(np.float64), 1.0, lambda a: stabilise.inverse_anscombe(a) / twin.unit


def score_peer(name: str, twin: Twin) -> dict[str, object]:
    """Best try of a peer."""
    best: dict[str, object] = {"psnr": -np.inf}
    for setting, call in PEERS[name](twin):
        start = time.perf_counter()
        estimate = np.asarray(call(), np.float32)
        seconds = time.perf_counter() - start
        quality = float(psnr(estimate, twin.clean))
        if quality > best["psnr"]:
            structure = float(ssim(estimate, twin.clean))
            best = {"setting": setting, "psnr": quality, "ssim": structure, "seconds": seconds}
    return best


def score_ours(preset: str, twin: Twin) -> dict[str, object]:
    """One of our presets, from the noisy movie alone, with how often its intervals cover the truth."""
    start = time.perf_counter()
    estimate = denoise(Movie.from_array(twin.noisy), DenoiseConfig(preset=preset))
    seconds = time.perf_counter() - start
    mean = (estimate.mean / twin.unit).astype(np.float32)
    var = (estimate.variance / twin.unit**2).astype(np.float32)
    covered = np.asarray(coverage(mean, var, twin.clean, LEVELS, degrees=ERROR_DEGREES_OF_FREEDOM))
    return {
        "setting": "",
        "psnr": float(psnr(mean, twin.clean)),
        "ssim": float(ssim(mean, twin.clean)),
        "seconds": seconds,
        **{f"cover{round(100 * level)}": c for level, c in zip(LEVELS, covered, strict=True)},
    }


def run(out: Path, methods: list[str], rows: list[str]) -> None:
    """Score every (movie, method) that the table lacks, one row of the table each.

    Args:
        out: table, CSV.
        methods: names of `PEERS` or "ours-PRESET".
        rows: words such as "slow" or "sigma0.3"; a movie is scored if its row has them all.
    """
    done = {(r["speed"], r["stage"], r["noise"], r["method"]) for r in read(out)}
    grid = [(*movie, noise) for movie, noise in product(MOVIES, NOISES)]
    for row in (r for r in grid if set(rows) <= {*r, r[2].partition("-")[0]}):
        wanted = [m for m in methods if (*row, m) not in done]
        if not wanted:
            continue
        twin = make(*row)
        for method in wanted:
            ours = method.startswith("ours-")
            found = (
                score_ours(method.removeprefix("ours-"), twin) if ours else score_peer(method, twin)
            )
            name = dict(zip(("speed", "stage", "noise"), row, strict=True))
            found |= {**name, "change_percent": twin.change, "method": method, "machine": MACHINE}
            append(out, found)
            print(
                f"{' '.join(row):28s} {method:14s} {found['psnr']:6.2f} dB {found['seconds']:7.1f} s"
                f"   {found['setting']}",
                flush=True,
            )


def read(out: Path) -> list[dict[str, str]]:
    """Rows of the table so far."""
    if not out.exists():
        return []
    with out.open(newline="") as file:
        return list(csv.DictReader(file))


def append(out: Path, row: dict[str, object]) -> None:
    """Add one row, so that an interrupted run loses nothing that was measured."""
    fresh = not out.exists()
    with out.open("a", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS)
        if fresh:
            writer.writeheader()
        writer.writerow(
            {k: f"{v:.4g}" if isinstance(v, float) else v for k, v in row.items() if k in COLUMNS}
        )


def margins(rows: list[dict[str, str]], ours: str) -> list[dict[str, object]]:
    """One entry a movie: ours, the best peer, and by how much ours is better."""
    found = []
    for speed, stage, noise in [(*movie, noise) for movie, noise in product(MOVIES, NOISES)]:
        here = [r for r in rows if (r["speed"], r["stage"], r["noise"]) == (speed, stage, noise)]
        peers = [r for r in here if r["method"] in PEERS]
        if not peers:
            continue
        best = max(peers, key=lambda r: float(r["psnr"]))
        mine = next((r for r in here if r["method"] == ours), None)
        margin = float(mine["psnr"]) - float(best["psnr"]) if mine else np.nan
        found.append({"row": best, "ours": mine, "peers": peers, "margin": margin})
    return found


def table(out: Path, ours: str) -> None:
    """Print ours against the best peer of every movie."""
    rows = read(out)
    for machine in sorted({r["machine"] for r in rows}):
        print(machine)
    print(f"{'movie':28s} {'change':>7s}  {'best peer (oracle)':34s} {ours:>24s}  margin  coverage")
    for entry in margins(rows, ours):
        best, mine = entry["row"], entry["ours"]
        peer = f"{best['psnr']:>6s} dB {float(best['seconds']):6.1f} s  {best['method']} ({len(entry['peers'])} tried)"
        line = f"{best['speed'] + ' ' + best['stage'] + ' ' + best['noise']:28s} {float(best['change_percent']):5.2f} %  {peer:34s}"
        if mine:
            covered = " ".join(f"{100 * float(mine[k]):.0f}" for k in COLUMNS[-4:-1])
            line += f" {mine['psnr']:>11s} dB {float(mine['seconds']):7.1f} s  {entry['margin']:+6.2f}  {covered}"
        print(line)


def figure(out: Path, ours: str, png: Path) -> None:
    """Draw ours and every peer, one panel a kind of movie."""
    import matplotlib.pyplot as plt

    rows = read(out)
    fig, axes = plt.subplots(2, 3, figsize=(13, 7), sharex=True, sharey=True, layout="constrained")
    methods = [*PEERS, ours]
    for ax, (speed, stage) in zip(axes.flat, MOVIES, strict=True):
        here = [r for r in rows if (r["speed"], r["stage"]) == (speed, stage)]
        for i, method in enumerate(methods):
            points = {r["noise"]: float(r["psnr"]) for r in here if r["method"] == method}
            mine = method == ours
            ax.plot(
                [points.get(noise, np.nan) for noise in NOISES],
                color="black" if mine else f"C{i}",
                marker="o" if mine else ".",
                lw=2 if mine else 0.8,
                ls="none",
                ms=7 if mine else 8,
                mfc="none" if mine else None,
                label=method,
            )
        change = f", {float(here[0]['change_percent']):.2g} % a frame" if here else ""
        ax.set_title(f"{speed}, {stage}{change}", fontsize=10)
        ax.set_xticks(range(len(NOISES)), list(NOISES), rotation=60, ha="right")
        ax.grid(alpha=0.3)
    for ax in axes[:, 0]:
        ax.set_ylabel("PSNR [dB], data range 1")
    axes[0, 2].legend(fontsize=8, loc="upper left", bbox_to_anchor=(1.0, 1.0))
    fig.savefig(png, dpi=130)


def _machine() -> str:
    def named(package: str) -> str:
        try:
            return f"{package} {version(package)}"
        except PackageNotFoundError:
            return ""

    packages = ("phdenoise", "jax", "numpy", "scipy", "scikit-image", "bm4d")
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    machine = f"{platform.system()} {platform.machine()}, {cores} cores, Python {platform.python_version()}"
    return "; ".join([machine, *filter(None, map(named, packages))])


MACHINE = _machine()


def main() -> None:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=("run", "table", "figure"))
    parser.add_argument("--out", type=Path, default=Path("peers.csv"), help="table, CSV")
    parser.add_argument("--methods", nargs="*", default=[*PEERS, "ours-quick", "ours-default"])
    parser.add_argument("--rows", nargs="*", default=[], help="e.g. slow early sigma0.3-3x3")
    parser.add_argument("--ours", default="ours-default", help="preset to compare")
    parser.add_argument("--png", type=Path, default=Path("peers.png"))
    args = parser.parse_args()
    if args.what == "run":
        run(args.out, args.methods, args.rows)
    elif args.what == "table":
        table(args.out, args.ours)
    else:
        figure(args.out, args.ours, args.png)


if __name__ == "__main__":
    main()

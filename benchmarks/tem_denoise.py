"""TEM images at low dose, denoised by the shipped network and by its peers, which are oracles.

    python benchmarks/tem_denoise.py run --out tem.csv [--sets shared unseen own] [--methods ...] [--seeds 5]
    python benchmarks/tem_denoise.py table --out tem.csv

Counts are Poisson at 187 electrons per square angstrom, which is 0.45 electrons in a pixel of 0.049 angstrom. PSNR has a
peak of one with a vacuum of 0.45, as published. `shared`: clean images that nobody here made, and that nothing was trained
or tuned on. `unseen`: crystals, supports and contrasts that the training set lacks. `own`: further scenes of its kind.

The peers have what ours has not: Gaussian and NLM the width that is best for the clean image, NLM and BM3D the best binning.
NLM and BM3D see Anscombe-transformed sums over bins, undone by the exact unbiased inverse. All answers are judged on raw
pixels. A run resumes where it stopped.
"""

import argparse
import csv
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from scipy.ndimage import gaussian_filter

from phdenoise.modalities.tem.binning import bin_sums, spread_back
from phdenoise.modalities.tem.denoiser import default_network, denoise_counts
from phdenoise.modalities.tem.gain_tuning import GainTuning, tune_gains
from phdenoise.modalities.tem.network import load_network
from phdenoise.modalities.tem.simulate import Layer, Optics, Scene, simulate
from phdenoise.modalities.tem.structures import Defects, Orientation, Particle, Support
from phdenoise.modalities.tem.variety import Variety, random_scene
from phdenoise.noise.stabilise import anscombe, inverse_anscombe

# Dose [electrons/angstrom²], vacuum of the score, and pixel of the shared images [angstrom].
DOSE, VACUUM, SHARED_PIXEL = 187.0, 0.45, 0.049
# Pixel of the simulated images [angstrom], their side [px], and how many of the training set's kind.
PIXEL, SIDE, OWN = 0.2, 220, 8
# Sizes of bins that peers choose from [angstrom].
BINS = (0.2, 0.3, 0.4, 0.5, 0.6)
COLUMNS = ["set", "image", "seed", "method", "psnr", "sd_ratio", "setting", "seconds"]
DATA = Path(__file__).resolve().parents[2] / "shared" / "data"


def unseen() -> dict[str, Scene]:
    """Scenes whose supports, particles or contrasts training lacks."""

    def _scene(particle: Particle, support: Support, defocus: float, **more: object) -> Scene:
        optics = Optics(defocus=defocus, spherical=-1.3e5, focal_spread=25, aperture=0.8)
        settings = {"defects": Defects(vacancies=0.1, adatoms=0.1), **more}
        return Scene(
            (particle,),
            (support,),
            optics=optics,
            pixel_size=PIXEL,
            shape=(SIDE, SIDE),
            **settings,  # type: ignore[arg-type]
        )

    centre, at = (18.0, 19.0, 24.0), 30.0
    across, square = Orientation((1, 1, 0), (1, -1, 1)), Orientation((1, 0, 0), (0, 0, 1))
    return {
        "Pt on rutile, white": _scene(
            Particle("Pt", across, 13, centre=centre), Support("rutile", square, at), 60
        ),
        "Au on SiC, black": _scene(
            Particle("Au", square, 12, centre=centre),
            Support("SiC", Orientation((1, 1, 0), (1, -1, 1), (1.5, 0.5)), at, thickness=30),
            -60,
            seed=1,
        ),
        "Fe on TiN, intermediate": _scene(
            Particle("Fe", square, 12, centre=centre), Support("TiN", across, at), 10, seed=2
        ),
        "Pd on rutile, tilted": _scene(
            Particle("Pd", across, 14, centre=centre),
            Support("rutile", Orientation((1, 1, 1), (1, -1, 0), (2, 3)), at, thickness=50),
            100,
            seed=3,
        ),
        "Pt on Fe under carbon": _scene(
            Particle("Pt", Orientation((1, 1, 2), (1, 1, -1)), 13, centre=centre),
            Support("Fe", Orientation((1, 1, 1), (1, -1, 0)), at),
            60,
            layers=(Layer("C", 12.0),),
            seed=4,
        ),
    }


def images(kind: str) -> Iterator[tuple[str, np.ndarray, float]]:
    """Name, clean image with vacuum one, and pixel size [angstrom] of a set."""
    if kind == "shared":
        for name in "ab":
            path = DATA / f"tem_pt_ceo2_simulated_clean_{name}.npz"
            yield name, np.load(path)["clean"] / VACUUM, SHARED_PIXEL
    elif kind == "unseen":
        for name, scene in unseen().items():
            yield name, simulate(scene), PIXEL
    else:
        variety = Variety(pixel_size=(0.15, 0.25), pixels=SIDE, seed=1001)
        for k in range(OWN):
            scene = random_scene(variety, k)
            yield str(k), simulate(scene), scene.pixel_size


Answer = tuple[np.ndarray, np.ndarray | None, str]


def gaussian(counts: np.ndarray, pixel: float, truth: np.ndarray) -> Answer:
    """Gaussian filter of the width that is best for the truth."""
    widths = np.geomspace(0.25, 1.2, 12)
    each = [gaussian_filter(counts, w / pixel) for w in widths]
    best = int(np.argmin([np.mean((e - truth) ** 2) for e in each]))
    return each[best], None, f"sigma {widths[best]:.2f} A"


def _binned(
    counts: np.ndarray, pixel: float, truth: np.ndarray, filters: dict[str, Callable]
) -> Answer:
    """Best of filters of stabilised sums at the best binning."""
    best: Answer | None = None
    for factor in sorted({max(1, round(b / pixel)) for b in BINS}):
        bins = bin_sums(counts[None], factor, (0, 0), 1)
        for name, call in filters.items():
            clean = inverse_anscombe(call(np.asarray(anscombe(bins[0]), np.float32)))
            out = spread_back(np.asarray(clean)[None], factor, (0, 0), counts.shape)[0]
            if best is None or np.mean((out - truth) ** 2) < np.mean((best[0] - truth) ** 2):
                best = out, None, f"bin {factor} {name}"
    assert best is not None
    return best


def bm3d(counts: np.ndarray, pixel: float, truth: np.ndarray) -> Answer:
    """BM3D at its best binning."""
    from bm3d import bm3d as run

    return _binned(counts, pixel, truth, {"": lambda f: run(f, 1.0)})


def nlm(counts: np.ndarray, pixel: float, truth: np.ndarray) -> Answer:
    """Non-local means at its best strength and binning."""
    from skimage.restoration import denoise_nl_means

    def _at(h: float) -> Callable:
        return lambda f: denoise_nl_means(f, 5, 15, h=h, sigma=1.0, fast_mode=True)

    return _binned(counts, pixel, truth, {f"h {h}": _at(h) for h in (0.3, 0.45, 0.6, 0.8)})


def ours(counts: np.ndarray, pixel: float, truth: np.ndarray) -> Answer:
    """The shipped network; the truth is not used."""
    out = denoise_counts(counts, pixel_size=pixel, network=NETWORK)
    return out.mean, out.sd, ""


def tuned(counts: np.ndarray, pixel: float, truth: np.ndarray) -> Answer:
    """The shipped network after GainTuning, where its rule allows it."""
    found = tune_gains(NETWORK or default_network(), counts, pixel_size=pixel, config=GainTuning())
    out = denoise_counts(counts, pixel_size=pixel, network=found.network)
    return out.mean, out.sd, f"{found.steps} steps {found.gain:.4f}+-{found.gain_sd:.4f}"


METHODS = {"gaussian": gaussian, "nlm": nlm, "bm3d": bm3d, "ours": ours, "tuned": tuned}
NETWORK = None


def run(out: Path, sets: list[str], methods: list[str], seeds: int) -> None:
    """Write a row for every image, seed and method that the table lacks."""
    known = set()
    if out.exists():
        with out.open() as file:
            known = {(r["set"], r["image"], r["seed"], r["method"]) for r in csv.DictReader(file)}
    with out.open("a", newline="") as file:
        writer = csv.writer(file)
        if not known:
            writer.writerow(COLUMNS)
        for kind in sets:
            for name, clean, pixel in images(kind):
                for seed in range(seeds if kind == "shared" else min(seeds, 2)):
                    vacuum = VACUUM if kind == "shared" else DOSE * pixel**2
                    truth = clean * vacuum
                    counts = np.random.default_rng(seed).poisson(truth).astype(np.float64)
                    for method in methods:
                        if (kind, name, str(seed), method) in known:
                            continue
                        begun = time.time()
                        mean, sd, setting = METHODS[method](counts, pixel, truth)
                        spent = time.time() - begun
                        off = (mean - truth) * VACUUM / vacuum
                        level = -10 * np.log10(np.mean(off**2))
                        ratio = ""
                        if sd is not None:
                            ratio = f"{np.sqrt(np.mean((mean - truth) ** 2) / np.mean(sd**2)):.3f}"
                        row = [
                            kind,
                            name,
                            seed,
                            method,
                            f"{level:.3f}",
                            ratio,
                            setting,
                            f"{spent:.1f}",
                        ]
                        writer.writerow(row)
                        file.flush()
                        print(*row, flush=True)


def table(out: Path) -> None:
    """Mean PSNR of every image and method, and of every set."""
    with out.open() as file:
        rows = list(csv.DictReader(file))
    methods = list(dict.fromkeys(r["method"] for r in rows))
    print(f"{'set':8}{'image':26}" + "".join(f"{m:>18}" for m in methods))
    for kind in dict.fromkeys(r["set"] for r in rows):
        here = [r for r in rows if r["set"] == kind]
        for name in [*dict.fromkeys(r["image"] for r in here), "MEAN"]:
            cells = []
            for m in methods:
                values = [
                    float(r["psnr"])
                    for r in here
                    if r["method"] == m and (name in ("MEAN", r["image"]))
                ]
                scatter = np.std(values) if name != "MEAN" else np.nan
                cells.append(f"{np.mean(values):10.2f} ± {scatter:4.2f} " if values else " " * 18)
            print(f"{kind:8}{name:26}" + "".join(cells))


def main() -> None:
    """Command line."""
    global NETWORK
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=["run", "table"])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--sets", nargs="+", default=["shared", "unseen", "own"])
    parser.add_argument("--methods", nargs="+", default=list(METHODS), choices=list(METHODS))
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--network", type=Path, help="other weights than the package's")
    options = parser.parse_args()
    if options.what == "table":
        table(options.out)
        return
    if options.network:
        NETWORK = load_network(options.network)[0]
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    run(options.out, options.sets, options.methods, options.seeds)


if __name__ == "__main__":
    main()

"""Atomic columns beside peers, on clean images that nobody here made, with Poisson counts: positions, F1, surface.

    python benchmarks/tem_columns.py [--data FOLDER] [--seeds 5] [--fast] [--out tem_columns.csv]

Images a and b of Pt on CeO2 (876x927, about 0.049 Å a pixel) at 0.45 electrons a vacuum pixel. Truth are the maxima of
the clean image. Rows, each over all seeds and both images:

- `LoG raw, oracle`: Laplacian of Gaussian of 12 px of the raw counts, with the threshold that has the best F1.
- `blob_log, oracle`: scikit-image's blob_log as published (max_sigma 20), on counts smoothed by a Gaussian of 6 px, with
  the threshold that has the best F1.
- `counts`: `find_columns` of the counts alone, with its own threshold.
- `counts, network`: the same, with candidates from the shipped network.

`bound` is the Cramér-Rao bound of a column's position without lattice prior: what lies within half a spacing moves.
Near the surface, precision is the share of found surface columns that are columns, and recall the share of true
surface columns that are found.
"""

import argparse
import csv
import os
import time
from pathlib import Path

import numpy as np
from scipy import ndimage

from phdenoise.modalities.tem.columns import find_columns
from phdenoise.modalities.tem.denoiser import denoise_counts
from phdenoise.modalities.tem.surface import agreement, spacing, surface_columns

# Å a pixel, electrons a vacuum pixel, row [px] below which the support begins, largest distance of a match [px]
# (10 px after the published loader's factor 0.785).
PIXEL, DOSE, SUPPORT, WITHIN = 0.049, 0.45, 440, 10 / 0.785
COLUMNS = ["method", "image", "seed", "columns", "rms_px", "bound_px", "sd_px", "pull", "precision",
           "recall", "f1", "jaccard", "surface_precision", "surface_recall", "surface_f1", "surface_strict_f1",
           "seconds"]  # fmt: skip


def truth_of(clean: np.ndarray) -> np.ndarray:
    """Sub-pixel maxima of a clean image."""
    smooth = ndimage.gaussian_filter(clean, 2)
    top = (smooth == ndimage.maximum_filter(smooth, 25)) & (smooth > DOSE * 1.02)
    at = np.argwhere(top)
    at = at[(np.minimum(at, np.asarray(clean.shape) - 1 - at) > 12).all(axis=1)]
    out = []
    for y, x in at:
        yy, xx = np.mgrid[-4:5, -4:5]
        patch = smooth[y - 4 : y + 5, x - 4 : x + 5]
        basis = np.stack([np.ones_like(yy), yy, xx, yy**2, xx**2, yy * xx], -1).reshape(-1, 6)
        _, b, c, d, e, f = np.linalg.lstsq(basis, patch.ravel(), rcond=None)[0]
        step = np.linalg.solve([[2 * d, f], [f, 2 * e]], [-b, -c])
        out.append(np.array([y, x]) + np.clip(step, -3, 3))
    return np.asarray(out)


def bound_of(clean: np.ndarray, position: np.ndarray, radius: float) -> np.ndarray:
    """Variance of each position, mean of both axes, if the disc around a column moves as a whole."""
    slope = np.gradient(clean)
    yy, xx = np.mgrid[: clean.shape[0], : clean.shape[1]]
    out = []
    for y, x in position:
        disc = (yy - y) ** 2 + (xx - x) ** 2 < radius**2
        out.append(np.mean([1 / np.sum(s[disc] ** 2 / clean[disc]) for s in slope]))
    return np.asarray(out)


def log_raw(counts: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Maxima of the Laplacian of Gaussian of 12 px, as many as have the best F1."""
    z = -ndimage.gaussian_laplace(counts, 12.0)
    at = np.argwhere((z == ndimage.maximum_filter(z, 25)) & (z > 0))
    at = at[np.argsort(-z[tuple(at.T)])]
    return best(refined(z, at), truth)


def blob(counts: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """scikit-image's blob_log of smoothed counts, with the threshold that has the best F1."""
    from skimage.feature import blob_log

    smooth = ndimage.gaussian_filter(counts, 6.0)
    scaled = (smooth - smooth.min()) / np.ptp(smooth)
    tries = [
        blob_log(scaled, min_sigma=8, max_sigma=20, num_sigma=7, threshold=t)[:, :2]
        for t in (0.03, 0.06, 0.1, 0.14, 0.18)
    ]
    return max(tries, key=lambda p: agreement(p, truth, WITHIN).f1)


def refined(z: np.ndarray, at: np.ndarray) -> np.ndarray:
    """Centres of parabolas through three points."""
    at = at[((at > 1) & (at < np.asarray(z.shape) - 2)).all(axis=1)]
    out = at.astype(float)
    for axis, step in enumerate(np.eye(2, dtype=int)):
        low, mid, high = (z[tuple((at + k * step).T)] for k in (-1, 0, 1))
        out[:, axis] += np.clip(0.5 * (low - high) / (low - 2 * mid + high), -0.5, 0.5)
    return out


def best(ordered: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """The first positions, as many as have the best F1."""
    sizes = range(max(len(truth) // 2, 1), min(len(ordered), 2 * len(truth)) + 1, 2)
    return ordered[: max(sizes, key=lambda n: agreement(ordered[:n], truth, WITHIN).f1)]


def row(
    name: str, clean: np.ndarray, truth: np.ndarray, found: np.ndarray, sd: np.ndarray | None
) -> dict:
    """Scores of the particle's columns."""
    radius = spacing(truth[truth[:, 0] < SUPPORT]) / 2
    ours, theirs = found[:, 0] < SUPPORT, truth[:, 0] < SUPPORT
    match = agreement(found[ours], truth[theirs], WITHIN)
    i, j = match.pairs.T
    error = found[ours][i] - truth[theirs][j]
    bound = bound_of(clean, truth[theirs][j], radius)
    on, true_on = (
        surface_columns(p, shape=clean.shape)[k] for p, k in ((found, ours), (truth, theirs))
    )
    precise = agreement(found[ours][on], truth, WITHIN).precision
    recalled = agreement(found, truth[theirs][true_on], WITHIN).recall
    strict = agreement(found[ours][on], truth[theirs][true_on], WITHIN).f1
    spread = np.full_like(error, np.nan) if sd is None else sd[ours][i]
    return {
        "method": name, "columns": int(ours.sum()), "rms_px": np.sqrt(np.mean(error**2)),
        "bound_px": np.sqrt(bound.mean()), "sd_px": np.sqrt(np.mean(spread**2)),
        "pull": np.sqrt(np.mean((error / spread) ** 2)), "precision": match.precision,
        "recall": match.recall, "f1": match.f1, "jaccard": match.jaccard,
        "surface_precision": precise, "surface_recall": recalled,
        "surface_f1": 2 * precise * recalled / max(precise + recalled, 1e-9), "surface_strict_f1": strict,
    }  # fmt: skip


def main() -> None:
    """Print and write every row."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)  # fmt: skip
    parser.add_argument("--data", default=os.environ.get("PHDENOISE_DATA", "../shared/data"))
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--fast", action="store_true", help="one image, one seed")
    parser.add_argument("--out", default="tem_columns.csv")
    options = parser.parse_args()
    rows = []
    for image in "a" if options.fast else "ab":
        with np.load(Path(options.data) / f"tem_pt_ceo2_simulated_clean_{image}.npz") as archive:
            clean = archive["clean"].astype(float)
        truth = truth_of(clean)
        for seed in range(1 if options.fast else options.seeds):
            counts = np.random.default_rng(seed).poisson(clean).astype(float)
            for name in ("LoG raw, oracle", "blob_log, oracle", "counts", "counts, network"):
                start, sd = time.perf_counter(), None
                if name.startswith("counts"):
                    guide = (
                        denoise_counts(counts, pixel_size=PIXEL).mean if "network" in name else None
                    )
                    columns = find_columns(counts, pixel_size=PIXEL, guide=guide)
                    found, sd = columns.position, columns.position_sd
                else:
                    found = (log_raw if "LoG" in name else blob)(counts, truth)
                seconds = time.perf_counter() - start
                one = row(name, clean, truth, found, sd) | {
                    "image": image,
                    "seed": seed,
                    "seconds": seconds,
                }
                rows.append(one)
                print(image, seed, ", ".join(f"{k} {v:.3g}" if isinstance(v, float) else f"{v}" for k, v in one.items()), flush=True)  # fmt: skip
    with Path(options.out).open("w", newline="") as stream:
        writer = csv.DictWriter(stream, COLUMNS)
        writer.writeheader()
        writer.writerows(rows)
    for name in dict.fromkeys(r["method"] for r in rows):
        of = [r for r in rows if r["method"] == name]
        means = {k: np.mean([r[k] for r in of]) for k in COLUMNS[4:]}
        print(f"{name:<18}", "  ".join(f"{k} {v:.3f}" for k, v in means.items()))


if __name__ == "__main__":
    main()

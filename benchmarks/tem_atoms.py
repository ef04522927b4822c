"""Is there an atom? Likelihood ratios at sites where two clean images differ, beside the best test and the mean of a disc.

    python benchmarks/tem_atoms.py [--data FOLDER] [--draws 400] [--out tem_atoms.csv]

Images a and b of Pt on CeO2 differ at some columns of the surface. At every site where they do, counts are drawn from
both (0.45 electrons a vacuum pixel), and three statistics are asked which image it was:

- `best`: likelihood ratio of the two true images, which no test beats. Nobody has it for a measured image.
- `matched`: `judge_sites` with a Gaussian column of the median width of the fitted columns, on the image with less there.
- `disc`: mean of the counts over a disc of 12 px, log likelihood ratio against vacuum (Mohan et al., arXiv:2010.12970).

d' is the distance of the means over the root mean square of the two standard deviations, from the draws; power is at
5 % false alarms a site, from the draws, and over the map with two summed frames at 5 % over all sites (Bonferroni).
"""

import argparse
import csv
import os
from pathlib import Path

import numpy as np
from scipy import ndimage

from phdenoise.modalities.tem.columns import ColumnsConfig, binned, find_columns
from phdenoise.modalities.tem.likelihood import Sites, judge_sites
from phdenoise.observation.atoms import atom_likelihood_ratio

# Å a pixel, electrons a vacuum pixel, false alarms; sites of a surface over which a map is judged.
PIXEL, DOSE, LEVEL, SITES = 0.049, 0.45, 0.05, 60
# Half the window of a site [px], radius of the published disc [px].
REACH, DISC = 36, 12


def sites_of(one: np.ndarray, two: np.ndarray) -> np.ndarray:
    """Places where the images differ most, no nearer than half a spacing."""
    change = ndimage.gaussian_filter(np.abs(one - two), 6.0)
    top = (change == ndimage.maximum_filter(change, 41)) & (change > 0.01 * DOSE)
    at = np.argwhere(top)
    inside = ((at > REACH + 8) & (at < np.asarray(one.shape) - REACH - 8)).all(axis=1)
    return at[inside]


def scores(one: np.ndarray, two: np.ndarray, level: float) -> tuple[float, float]:
    """d' and power of a statistic drawn without (one) and with (two) the column."""
    distance = (two.mean() - one.mean()) / np.sqrt((one.var() + two.var()) / 2)
    return float(distance), float(np.mean(two > np.quantile(one, 1 - level)))


def main() -> None:
    """Print and write every row."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", default=os.environ.get("PHDENOISE_DATA", "../shared/data"))
    parser.add_argument("--draws", type=int, default=400)
    parser.add_argument("--out", default="tem_atoms.csv")
    options = parser.parse_args()
    clean = {}
    for image in "ab":
        with np.load(Path(options.data) / f"tem_pt_ceo2_simulated_clean_{image}.npz") as archive:
            clean[image] = archive["clean"].astype(float)
    # Widths of columns as one noisy image shows them.
    first = find_columns(
        np.random.default_rng(0).poisson(clean["a"]).astype(float), pixel_size=PIXEL, config=ColumnsConfig()
    )  # fmt: skip
    width = float(np.median(first.width))
    random = np.random.default_rng(1)
    t = np.arange(-REACH, REACH + 1)
    disc = (t[:, None] ** 2 + t**2 <= DISC**2)[None]
    rows = []
    for y, x in sites_of(clean["a"], clean["b"]):
        cut = (slice(y - REACH, y + REACH + 1), slice(x - REACH, x + REACH + 1))
        pair = [clean["a"][cut], clean["b"][cut]]
        less, more = sorted(pair, key=lambda w: w[disc[0]].sum())
        bump = np.exp(-(t[:, None] ** 2 + t**2) / (2 * width**2))
        # Position and height of the template, as a fit to a good image would have them.
        difference = more - less
        shifts = [
            (np.sum(difference * np.roll(bump, (a, b), (0, 1))), a, b)
            for a in range(-8, 9, 2)
            for b in range(-8, 9, 2)
        ]
        inner, a, b = max(shifts)
        template = np.roll(bump, (a, b), (0, 1)) * inner / np.sum(bump**2)
        named = {"best": (less, more), "matched": (less, np.maximum(less + template, 1e-6))}
        row = {"y": y, "x": x, "electrons": float(np.sum(difference[disc[0]]))}
        for frames, level in ((1, LEVEL), (2, LEVEL / SITES)):
            draws = [random.poisson(frames * m, (options.draws, *m.shape)).astype(float) for m in (less, more)]  # fmt: skip
            for name, (absent, present) in named.items():
                site = Sites(np.zeros((1, 2), int), frames * present[None], frames * absent[None])
                one, two = (np.array([judge_sites(n, site).ratio[0] for n in d]) for d in draws)
                distance, power = scores(one, two, level)
                row |= {f"{name}_d_{frames}": distance, f"{name}_power_{frames}": power}
                if name == "matched":
                    row[f"stated_power_{frames}"] = float(
                        judge_sites(draws[0][0], site, level=level).power[0]
                    )
            sign = 1.0
            mean = np.where(disc[0], more[disc[0]].mean(), DOSE)
            one, two = (
                np.array([float(atom_likelihood_ratio(n / frames, mean, disc, DOSE)[0]) for n in d]) for d in draws
            )  # fmt: skip
            distance, power = scores(sign * one, sign * two, level)
            row |= {f"disc_d_{frames}": distance, f"disc_power_{frames}": power}
        rows.append(row)
        print(", ".join(f"{k} {v:.3g}" for k, v in row.items()), flush=True)
    with Path(options.out).open("w", newline="") as stream:
        writer = csv.DictWriter(stream, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    print(f"bins of {first.binning} px, width {width:.1f} px; {binned(clean['a'], 1).shape} px")
    for name in ("best", "matched", "disc"):
        means = [np.mean([r[f"{name}_{k}"] for r in rows]) for k in ("d_1", "power_1", "d_2", "power_2")]  # fmt: skip
        print(f"{name:<8} d' {means[0]:.2f}, power {means[1]:.3f}; two frames: d' {means[2]:.2f}, power over a map {means[3]:.3f}")  # fmt: skip


if __name__ == "__main__":
    main()

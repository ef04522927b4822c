"""The picture of the README: a noisy twin movie, the denoised one with its standard deviation, and the law with 90 % bands.

    python benchmarks/readme_picture.py compute      # simulate, denoise and fit; a few minutes on two cores
    python benchmarks/readme_picture.py draw         # the stored numbers as docs/images/front_door.png

The movie is a Cahn-Hilliard twin (64 x 64 px) with Gaussian noise of standard deviation 0.15. Its law is known, and no
clean frame is used.
"""

import argparse
from collections.abc import Mapping
from io import BytesIO
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image

import phdenoise as ph
from phdenoise.figures.plots import COLOURS, save
from phdenoise.simulation import cahn_hilliard_config

ROOT = Path(__file__).resolve().parents[1]
NUMBERS = ROOT / "benchmarks/results/readme_picture.npz"
PICTURE = ROOT / "docs/images/front_door.png"
# Noise of the twin [concentration]: the standard deviation of the README's table of laws.
SIGMA = 0.15
# Three moments of the movie: the pattern forms, the phases have separated, the phases coarsen.
MOMENTS = (0, 14, 40)
ROWS = ("noisy", "mean", "clean", "sd")
# Resolution of the picture [px per inch]: 10.4 inches fill the width of a page.
DPI = 150


def compute() -> dict[str, np.ndarray]:
    """Simulate, denoise and fit; the frames of `MOMENTS` [t, y, x] and the curves of the law."""
    twin = ph.SimulateConfig(size=(64, 64), frames=61, sigma=SIGMA, skip=20)
    movie, clean = ph.simulate("cahn-hilliard", twin)
    estimate = ph.denoise(movie, ph.DenoiseConfig(preset="quick"))
    law = ph.fit(movie, "cahn-hilliard", ph.FitConfig(joint=True), estimate=estimate)
    print(*estimate.log, law.outcome, sep="\n")
    pick = list(MOMENTS)
    c = np.asarray(law.curves["c"])
    mu, d = cahn_hilliard_config(twin).curves(c)
    frames = {
        "noisy": movie.frames[pick],
        "mean": estimate.mean[pick],
        "sd": np.sqrt(estimate.variance[pick]),
        "clean": clean.frames[pick],
    }
    low, high = estimate.interval(0.9)
    inside = (clean.frames >= low) & (clean.frames <= high)
    errors = {
        name: np.sqrt(np.mean((frames - clean.frames) ** 2))
        for name, frames in (("noisy", movie.frames), ("mean", estimate.mean))
    }
    return {
        **{name: np.asarray(a, np.float16) for name, a in frames.items()},
        **{f"law_{name}": np.asarray(a, np.float32) for name, a in law.curves.items()},
        "truth_mu_h": mu,
        "truth_D": d,
        "times": movie.times[pick],
        "pixel_size": np.asarray(movie.pixel_size[0]),
        "rms_noisy": errors["noisy"],
        "rms_mean": errors["mean"],
        "held": np.mean(inside),
    }


def draw(numbers: Mapping[str, np.ndarray]) -> Figure:
    """Panels a (movies), b (chemical potential) and c (mobility)."""
    figure = Figure(figsize=(10.4, 6.0), layout="constrained", facecolor="white")
    left, right = figure.subfigures(1, 2, width_ratios=(1.08, 1.0), wspace=0.02)
    _movies(left, numbers)
    upper, lower = right.subplots(2, 1, sharex=True)
    _curve(upper, numbers, "mu_h", r"$\mu_h(c)-\mu_h(\frac{1}{2})$  [kT]")
    _curve(lower, numbers, "D", r"$D(c)$  [L²/t]")
    upper.set_title("b   Chemical potential, from the noisy movie", **_TITLE)
    lower.set_title("c   Mobility, from the noisy movie", **_TITLE)
    lower.set_xlabel("lithium fraction c", fontsize=10)
    upper.legend(fontsize=9, frameon=False, loc="upper right")
    return figure


_BOLD: dict = {"fontsize": 11, "fontweight": "bold"}
_TITLE: dict = {"loc": "left", **_BOLD}


def _movies(figure, numbers: Mapping[str, np.ndarray]) -> None:
    """Rows of `ROWS`, a column a moment; one colour scale for the movies, one for the standard deviation."""
    axes = figure.subplots(len(ROWS), len(MOMENTS))
    figure.suptitle("a   A movie, denoised without clean labels", x=0.02, ha="left", **_BOLD)
    labels = {
        "noisy": f"noisy\nrms error {numbers['rms_noisy']:.2f}",
        "mean": f"denoised\nrms error {numbers['rms_mean']:.3f}",
        "clean": "truth",
        "sd": "stated sd of\nthe denoised",
    }
    top = float(np.quantile(numbers["sd"].astype(float), 0.995))
    for row, name in zip(axes, ROWS, strict=True):
        scale = {"vmin": 0, "vmax": top, "cmap": "magma"} if name == "sd" else _CONCENTRATION
        for axis, frame in zip(row, numbers[name].astype(float), strict=True):
            axis.imshow(frame, interpolation="nearest", **scale)
            axis.set_xticks([])
            axis.set_yticks([])
        row[0].set_ylabel(labels[name], fontsize=9.5)
    _colour_bar(figure, axes[:-1], "lithium fraction c")
    _colour_bar(figure, axes[-1:], "sd of c")
    for axis, t in zip(axes[0], numbers["times"], strict=True):
        axis.set_title(f"t = {t:.3f}", fontsize=10)
    _scale_bar(axes[0, 0], float(numbers["pixel_size"]))


_CONCENTRATION = {"vmin": 0.0, "vmax": 1.0, "cmap": "viridis"}


def _colour_bar(figure, axes: np.ndarray, label: str) -> None:
    bar = figure.colorbar(axes[0, 0].images[0], ax=axes, aspect=13 * len(axes), pad=0.02)
    bar.set_label(label, fontsize=9)
    bar.ax.tick_params(labelsize=8)


def _scale_bar(axis: Axes, pixel_size: float, length: float = 0.2) -> None:
    """A bar of `length` [L] in the lower left corner."""
    pixels = length / pixel_size
    box = {"facecolor": "black", "alpha": 0.65, "pad": 2.0, "lw": 0}
    axis.text(4, 52.0, f"{length:g} L", color="white", fontsize=8, va="bottom", bbox=box)
    axis.plot([4, 4 + pixels], [57.5, 57.5], color="black", lw=5, solid_capstyle="butt")
    axis.plot([4, 4 + pixels], [57.5, 57.5], color="white", lw=3, solid_capstyle="butt")


def _curve(axis: Axes, numbers: Mapping[str, np.ndarray], name: str, label: str) -> None:
    """The fitted curve with its 90 % band over the concentrations of the movie, and the truth."""
    c = numbers["law_c"]
    low, high = numbers[f"law_{name}_low"], numbers[f"law_{name}_high"]
    axis.fill_between(c, low, high, color=COLOURS[0], alpha=0.25, lw=0, label="90 % band")
    axis.plot(c, numbers[f"law_{name}"], color=COLOURS[0], lw=2, label="recovered")
    axis.plot(c, numbers[f"truth_{name}"], "k--", lw=1.4, label="truth")
    axis.set_ylabel(label, fontsize=10)
    axis.tick_params(labelsize=9)
    axis.spines[["top", "right"]].set_visible(False)


def store(figure: Figure, path: Path) -> None:
    """A PNG of 256 colours: a third of the size, and no difference to the eye."""
    stream = BytesIO()
    save(figure, stream, dpi=DPI, kind="png")
    Image.open(stream).convert("RGB").quantize(256).save(path, optimize=True)


def main() -> None:
    """Compute the numbers, or draw them."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("step", choices=("compute", "draw"))
    if parser.parse_args().step == "compute":
        np.savez_compressed(NUMBERS, **compute())
    numbers = dict(np.load(NUMBERS))
    store(draw(numbers), PICTURE)
    print(
        f"{PICTURE}: rms error {numbers['rms_noisy']:.3f} -> {numbers['rms_mean']:.4f}; "
        f"90 % intervals hold {100 * numbers['held']:.1f} % of pixels"
    )


if __name__ == "__main__":
    main()

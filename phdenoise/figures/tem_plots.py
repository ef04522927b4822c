"""Figures of nanoparticles: the image as measured and denoised with its columns, claims, strain, and occupancy over time."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float
from matplotlib.figure import Figure

from phdenoise.figures.marks import letter
from phdenoise.figures.plots import COLOURS, WIDE

VERDICT_COLOURS = {"present": COLOURS[2], "absent": COLOURS[1], "cannot tell": "#999999"}
"""Of the three verdicts on a site."""
# Pixels along a side that a figure shows at most: finer ones are averaged, as print would.
_MOST_PIXELS = 700


def particle_panels(
    measured: Float[np.ndarray, "y x"],
    denoised: Float[np.ndarray, "y x"],
    position: Float[np.ndarray, "column 2"],
    surface: np.ndarray,
    position_sd: Float[np.ndarray, "column 2"],
    *,
    pixel_size: float,
) -> Figure:
    """Counts, the denoised image, and the columns with their errors.

    Args:
        measured: sum of the frames [electrons].
        denoised: of it [electrons].
        position: of the columns [px].
        surface: True for those at the surface.
        position_sd: [px]; drawn tenfold.
        pixel_size: [Å].

    Returns:
        The figure.
    """
    figure, axes = _row(measured.shape, 3)
    low, high = np.quantile(denoised, [0.005, 0.995])
    extent = _extent(measured.shape, pixel_size)
    # Counts in squares of 0.2 Å, so that a page shows the image and not the noise of its pixels.
    side = max(round(0.2 / pixel_size), 1)
    noisy = _averaged(measured, side)
    titles = ("counts", "denoised", "columns, one sd x 10")
    for axis, image, title in zip(
        axes, (noisy, _shown(denoised), _shown(denoised)), titles, strict=True
    ):
        span = np.quantile(image, [0.005, 0.995]) if image is noisy else (low, high)
        axis.imshow(image, cmap="gray", vmin=span[0], vmax=span[1], extent=extent)
        axis.set_title(title, fontsize=8)
        axis.set_xlabel("x [Å]", fontsize=8)
        axis.tick_params(labelsize=7)
    for image_axis, label in zip(
        axes, ("electrons a pixel of the figure", "electrons", "electrons"), strict=True
    ):
        bar = figure.colorbar(image_axis.images[0], ax=image_axis, location="bottom", shrink=0.8)
        bar.set_label(f"[{label}]", fontsize=7)
        bar.ax.tick_params(labelsize=6)
    for which, colour, name in ((~surface, COLOURS[5], "inside"), (surface, COLOURS[4], "surface")):
        at, error = pixel_size * position[which], 10 * pixel_size * position_sd[which]
        axes[2].errorbar(
            at[:, 1], at[:, 0], xerr=error[:, 1], yerr=error[:, 0], fmt="none", ecolor=colour, elinewidth=0.7,
            label=name,
        )  # fmt: skip
    # Error bars reach beyond the image.
    axes[2].set_xlim(extent[:2])
    axes[2].set_ylim(extent[2:])
    if len(position):
        axes[2].legend(fontsize=6, loc="upper right")
    return figure


def claim_panels(
    denoised: Float[np.ndarray, "y x"],
    evidence: Float[np.ndarray, "y1 x1"],
    position: Float[np.ndarray, "site 2"],
    verdicts: Sequence[str],
    *,
    pixel_size: float,
) -> Figure:
    """Verdict on every site, and the log likelihood ratio of every pixel.

    Args:
        denoised: image [electrons].
        evidence: Λ of binned pixels, NaN where no site is.
        position: of the sites [px].
        verdicts: of the sites.
        pixel_size: [Å].

    Returns:
        The figure.
    """
    figure, axes = _row(denoised.shape, 2)
    extent = _extent(denoised.shape, pixel_size)
    low, high = np.quantile(denoised, [0.005, 0.995])
    axes[0].imshow(_shown(denoised), cmap="gray", vmin=low, vmax=high, extent=extent)
    said = np.asarray(verdicts, dtype=object)
    for name, colour in VERDICT_COLOURS.items():
        at = pixel_size * position[said == name] if len(said) else np.zeros((0, 2))
        axes[0].scatter(
            at[:, 1], at[:, 0], s=22, facecolors="none", edgecolors=colour, linewidths=1.0,
            label=f"{name} ({len(at)})",
        )  # fmt: skip
    axes[0].legend(fontsize=6, loc="upper right")
    known = evidence[np.isfinite(evidence)]
    top = float(np.quantile(np.abs(known), 0.99)) if known.size else 1.0
    picture = axes[1].imshow(evidence, cmap="RdBu", vmin=-top, vmax=top, extent=extent)
    axes[1].set_facecolor("#dddddd")
    bar = figure.colorbar(picture, ax=axes[1], shrink=0.8)
    bar.set_label("Λ of a pixel: column (+), none (−) [1]", fontsize=7)
    bar.ax.tick_params(labelsize=7)
    for axis, title in zip(axes, ("which columns to believe", "evidence"), strict=True):
        axis.set_title(title, fontsize=8)
        axis.set_xlabel("x [Å]", fontsize=8)
        axis.tick_params(labelsize=7)
    return figure


def strain_panels(
    position: Float[np.ndarray, "column 2"],
    strain: Float[np.ndarray, "column 3"],
    *,
    pixel_size: float,
    shape: tuple[int, ...],
) -> Figure:
    """Three components of strain at the columns of a lattice.

    Args:
        position: [px].
        strain: ε_yy, ε_xx, ε_xy; NaN where not known.
        pixel_size: [Å].
        shape: of the frame [px].

    Returns:
        The figure.
    """
    figure, axes = _row(shape, 3)
    known = np.isfinite(strain[:, 0])
    top = 100 * max(float(np.quantile(np.abs(strain[known]), 0.95)) if known.any() else 0.0, 1e-3)
    for k, (axis, name) in enumerate(zip(axes, ("yy", "xx", "xy"), strict=True)):
        at = pixel_size * position[known]
        points = axis.scatter(at[:, 1], at[:, 0], c=100 * strain[known, k], cmap="RdBu_r", vmin=-top, vmax=top, s=18)  # fmt: skip
        axis.set(xlim=(0, pixel_size * shape[1]), ylim=(pixel_size * shape[0], 0), aspect="equal")
        axis.set_title(f"strain {name}", fontsize=8)
        axis.set_xlabel("x [Å]", fontsize=8)
        axis.tick_params(labelsize=7)
    bar = figure.colorbar(points, ax=axes[2], shrink=0.8)
    bar.set_label("strain [%]", fontsize=7)
    bar.ax.tick_params(labelsize=7)
    return figure


def occupancy_map(
    times: Float[np.ndarray, " t"], probability: Float[np.ndarray, "site t"], *, x_label: str
) -> Figure:
    """Probability that each site is occupied, over time; sites in the order of their occupancy.

    Args:
        times: of the frames.
        probability: of each site in each frame.
        x_label: with unit.

    Returns:
        The figure.
    """
    figure = Figure(figsize=(WIDE, min(1.2 + 0.09 * len(probability), 5.0)), layout="constrained")
    axis = figure.subplots()
    order = np.argsort(-probability.mean(axis=1), kind="stable")
    step = float(np.median(np.diff(times))) if len(times) > 1 else 1.0
    extent = (times[0] - step / 2, times[-1] + step / 2, len(order) + 0.5, 0.5)
    picture = axis.imshow(
        probability[order], cmap="viridis", vmin=0, vmax=1, aspect="auto", extent=extent, interpolation="nearest"
    )  # fmt: skip
    axis.set_xlabel(x_label, fontsize=8)
    axis.set_ylabel("site [number]", fontsize=8)
    axis.tick_params(labelsize=7)
    bar = figure.colorbar(picture, ax=axis)
    bar.set_label("P(occupied) [1]", fontsize=7)
    bar.ax.tick_params(labelsize=7)
    return figure


def _row(shape: tuple[int, ...], number: int) -> tuple[Figure, np.ndarray]:
    """A row of panels with the proportions of the image."""
    height = WIDE / number * float(np.clip(shape[-2] / shape[-1], 0.4, 1.6)) + 0.7
    figure = Figure(figsize=(WIDE, height), layout="constrained")
    axes = figure.subplots(1, number, squeeze=False)[0]
    letter(axes)
    for axis in axes:
        axis.set_ylabel("y [Å]", fontsize=8)
    return figure, axes


def _extent(shape: tuple[int, ...], pixel_size: float) -> tuple[float, float, float, float]:
    half = pixel_size / 2
    return -half, pixel_size * shape[1] - half, pixel_size * shape[0] - half, -half


def _averaged(image: np.ndarray, side: int) -> np.ndarray:
    """Means over squares."""
    ny, nx = (max(n // side, 1) * side for n in image.shape)
    if side <= 1 or min(image.shape) < side:
        return image
    return image[:ny, :nx].reshape(ny // side, side, nx // side, side).mean(axis=(1, 3))


def _shown(image: np.ndarray) -> np.ndarray:
    return _averaged(image, -(-max(image.shape) // _MOST_PIXELS))

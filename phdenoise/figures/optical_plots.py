"""Figures of colour movies of graphite: frames with outlines, phases, state of charge, fronts, colours."""

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float, Int
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

from phdenoise.figures.marks import HALF_WIDTH, Pixel, bare, letter, scale_bar
from phdenoise.figures.plots import COLOURS, WIDE

PHASE_COLOURS = ("#3b5b8c", "#c0392b", "#e0a81c")
"""Of dilute, stage 2 and stage 1."""
# Pixels that a scatter plot shows at most: more only cover each other and make the file large.
MOST_POINTS = 4000
# Particles whose curves are drawn at most: more cannot be told apart by eye.
MOST_CURVES = 12


def rgb_panels(
    rows: Mapping[str, Float[np.ndarray, "c t y x"]],
    labels: Int[np.ndarray, "t y x"] | None,
    titles: Sequence[str],
    pixel: Pixel | None = None,
) -> Figure:
    """Colour frames, one row a version, on the scale of the last row; with outlines on the last row if given.

    The first three channels are red, green and blue; of two, the second is green and blue.

    Args:
        rows: label -> frames [c, t, y, x].
        labels: number of the particle of each pixel, 0 outside [t, y, x].
        titles: of the frames.
        pixel: its size, for the scale bar; None draws a bar of pixels.

    Returns:
        The figure.
    """
    last = list(rows.values())[-1]
    low, high = np.nanquantile(last, 0.002), np.nanquantile(last, 0.998)
    figure, axes = _panels(rows, titles, last.shape[2:])
    for r, frames in enumerate(rows.values()):
        three = frames[[0, 1, min(2, len(frames) - 1)]]
        picture = np.clip((three - low) / max(high - low, 1e-12), 0, 1)
        picture = np.nan_to_num(np.moveaxis(picture, 0, -1)) ** (1 / 2.2)
        for t in range(frames.shape[1]):
            axes[r, t].imshow(picture[t], interpolation="nearest")
            if labels is not None and r == len(rows) - 1:
                for name in np.unique(labels[t][labels[t] > 0]):
                    # White on black is seen on any colour.
                    for colour, width in (("k", 1.8), ("w", 0.8)):
                        axes[r, t].contour(
                            labels[t] == name, [0.5], colors=colour, linewidths=width
                        )
    scale_bar(axes[0, 0], last.shape, pixel or Pixel())
    return figure


def phase_panels(
    rows: Mapping[str, Float[np.ndarray, "phase t y x"]],
    names: Sequence[str],
    titles: Sequence[str],
    pixel: Pixel | None = None,
) -> Figure:
    """Most probable phase of each pixel, one row a version; paler where it is less probable, grey outside.

    Args:
        rows: label -> probabilities [phase, t, y, x], NaN outside.
        names: of the phases.
        titles: of the frames.
        pixel: its size, for the scale bar; None draws a bar of pixels.

    Returns:
        The figure.
    """
    first = next(iter(rows.values()))
    figure, axes = _panels(rows, titles, first.shape[2:])
    table = np.asarray([to_rgb(c) for c in PHASE_COLOURS])
    for r, p in enumerate(rows.values()):
        known = np.isfinite(p[0])
        best = np.nan_to_num(p).argmax(axis=0)
        # No better than a guess is white.
        sure = (np.nan_to_num(p).max(axis=0) - 1 / len(p)) / (1 - 1 / len(p))
        colour = 1 - sure[..., None] * (1 - table[best])
        colour = np.where(known[..., None], colour, 0.85)
        for t in range(p.shape[1]):
            axes[r, t].imshow(colour[t], interpolation="nearest")
    scale_bar(axes[0, 0], first.shape, pixel or Pixel())
    marks = [axes[0, 0].scatter([], [], marker="s", color=c) for c in PHASE_COLOURS[: len(names)]]
    figure.legend(
        marks, names, loc="outside lower center", ncols=len(names), fontsize=8, frameon=False
    )
    return figure


def charge_curves(
    times: Float[np.ndarray, " t"],
    versions: Mapping[str, tuple[np.ndarray, np.ndarray]],
    *,
    x_label: str,
    truth: np.ndarray | None = None,
) -> Figure:
    """State of charge of the first particles with 90 % bands, one panel a version.

    Args:
        times: abscissa [t].
        versions: title -> (value, sd) [particle, t].
        x_label: with unit.
        truth: values [particle, t], drawn dashed.

    Returns:
        The figure.
    """
    figure = Figure(figsize=(WIDE, 2.7), layout="constrained")
    axes = figure.subplots(1, len(versions), sharey=True, squeeze=False)[0]
    for axis, (label, (value, sd)) in zip(axes, versions.items(), strict=True):
        for p in range(min(len(value), MOST_CURVES)):
            colour = COLOURS[p % len(COLOURS)]
            low, high = value[p] - HALF_WIDTH * sd[p], value[p] + HALF_WIDTH * sd[p]
            name = f"particle {p + 1}"
            axis.fill_between(
                times, low, high, color=colour, alpha=0.2, lw=0, label=f"90 % band, {name}"
            )
            axis.plot(times, value[p], color=colour, lw=1.0, label=name)
            if truth is not None:
                axis.plot(times, truth[p], "k--", lw=0.6, label="truth" if p == 0 else None)
        axis.set_title(label, fontsize=8)
        axis.set_xlabel(x_label, fontsize=8)
        axis.tick_params(labelsize=7)
    axes[0].set_ylabel("state of charge x [1]", fontsize=8)
    letter(axes)
    _particle_legend(figure, axes[0])
    return figure


def front_curves(
    times: Float[np.ndarray, " t"],
    depth: tuple[np.ndarray, np.ndarray],
    speed: tuple[np.ndarray, np.ndarray],
    names: Sequence[str],
    *,
    x_label: str,
    depth_label: str,
    speed_label: str,
) -> Figure:
    """Depth (above) and speed (below) of the front of each phase, with 90 % bars.

    Args:
        times: abscissa [t].
        depth, speed: (value, sd) [particle, front, t].
        names: of the fronts.
        x_label, depth_label, speed_label: with units.

    Returns:
        The figure.
    """
    figure = Figure(figsize=(WIDE, 4.2), layout="constrained")
    axes = figure.subplots(2, len(names), sharex=True, sharey="row", squeeze=False)
    for row, (value, sd), label in zip(
        axes, (depth, speed), (depth_label, speed_label), strict=True
    ):
        for k, axis in enumerate(row):
            for p in range(min(len(value), MOST_CURVES)):
                axis.errorbar(
                    times, value[p, k], HALF_WIDTH * sd[p, k], color=COLOURS[p % len(COLOURS)],
                    lw=0.9, elinewidth=0.5, marker=".", ms=3, label=f"particle {p + 1}, 90 % bars",
                )  # fmt: skip
            axis.tick_params(labelsize=7)
        row[0].set_ylabel(label, fontsize=8)
        # One wild bar must not hide the rest.
        good = value[np.isfinite(value)]
        if good.size:
            low, high = np.quantile(good, (0.02, 0.98))
            room = 0.3 * (high - low) + 1e-9
            row[0].set_ylim(low - room, high + room)
    for axis, name in zip(axes[0], names, strict=True):
        axis.set_title(f"front of {name}", fontsize=8)
    for axis in axes[1]:
        axis.set_xlabel(x_label, fontsize=8)
    letter(axes.flat)
    _particle_legend(figure, axes[0, 0])
    return figure


def colour_plane(
    versions: Mapping[str, Float[np.ndarray, "c n"]],
    colours: Float[np.ndarray, "phase c"],
    covariance: Float[np.ndarray, "phase c c"],
    names: Sequence[str],
    *,
    channels: Sequence[str],
    unit: str,
) -> Figure:
    """Pixels in the plane of the first two channels, one panel a version, and the phases with 90 % bars.

    Args:
        versions: title -> pixels [c, n].
        colours: mean of each phase [phase, c].
        covariance: of each phase [phase, c, c].
        names: of the phases.
        channels: names of the channels.
        unit: of the intensities.

    Returns:
        The figure.
    """
    figure = Figure(figsize=(WIDE, 2.9), layout="constrained")
    axes = figure.subplots(1, len(versions), sharex=True, sharey=True, squeeze=False)[0]
    sd = HALF_WIDTH * np.sqrt(np.stack([np.diag(c) for c in covariance]))
    for axis, (label, pixels) in zip(axes, versions.items(), strict=True):
        step = max(pixels.shape[1] // MOST_POINTS, 1)
        axis.plot(
            *pixels[:2, ::step],
            ".",
            color="0.6",
            ms=1.5,
            alpha=0.4,
            rasterized=True,
            label="pixels",
        )
        axis.plot(colours[:, 0], colours[:, 1], "k-", lw=0.8, label="mixtures")
        for k, name in enumerate(names):
            axis.errorbar(
                colours[k, 0], colours[k, 1], sd[k, 1], sd[k, 0], fmt="o", color=PHASE_COLOURS[k],
                mec="k", ms=6, label=f"{name}, 90 % bars",
            )  # fmt: skip
        axis.set_title(label, fontsize=8)
        axis.set_xlabel(f"{channels[0]} [{unit}]", fontsize=8)
        axis.tick_params(labelsize=7)
    axes[0].set_ylabel(f"{channels[1]} [{unit}]", fontsize=8)
    axes[0].legend(fontsize=7, frameon=False)
    letter(axes)
    return figure


def _particle_legend(figure: Figure, axis: Axes) -> None:
    """The particles below all panels: with bands and bars they would cover the curves."""
    marks, names = axis.get_legend_handles_labels()
    kept = [(m, n) for m, n in zip(marks, names, strict=True) if not n.startswith("90 % band")]
    if kept:
        figure.legend(
            *zip(*kept, strict=True), loc="outside lower center", ncols=min(len(kept), 6), fontsize=7,
            frameon=False, title="bands: 90 %", title_fontsize=7,
        )  # fmt: skip


def _panels(rows: Mapping[str, np.ndarray], titles: Sequence[str], shape: tuple[int, ...]):
    """A figure with one row a version and one column a title, without ticks."""
    panel = WIDE * 0.95 / len(titles)
    height = len(rows) * panel * shape[0] / shape[1] + 0.6
    figure = Figure(figsize=(WIDE, height), layout="constrained")
    axes = figure.subplots(len(rows), len(titles), squeeze=False)
    for axis in axes.flat:
        bare(axis)
    for axis, title in zip(axes[0], titles, strict=True):
        axis.set_title(title, fontsize=8)
    for axis, label in zip(axes[:, 0], rows, strict=True):
        axis.set_ylabel(label, fontsize=8)
    letter(axes[:, 0])
    return figure, axes

"""Figures of neutron radiographs: lithium maps, profiles with bands, the collector over cycles, D(c)."""

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float
from matplotlib.figure import Figure

from phdenoise.figures.marks import HALF_WIDTH, Pixel, bare, letter, scale_bar
from phdenoise.figures.plots import COLOURS, COLUMN, WIDE


def change_maps(
    rows: Mapping[str, Float[np.ndarray, "t y x"]],
    times: Sequence[float],
    pick: Sequence[int],
    *,
    time_unit: str,
    unit: str,
    pixel: Pixel | None = None,
) -> Figure:
    """Maps of a signed change, one row a version, on one diverging scale taken from the last row.

    Args:
        rows: label -> maps [t, y, x].
        times: of the maps [t].
        pick: indices of the times to show.
        time_unit, unit: of times and maps, for labels.
        pixel: its size, for the scale bar; None draws a bar of pixels.

    Returns:
        The figure.
    """
    frames = next(iter(rows.values()))
    ratio = frames.shape[1] / frames.shape[2]
    panel = WIDE * 0.85 / len(pick)
    figure = Figure(figsize=(WIDE, len(rows) * panel * ratio + 0.9), layout="constrained")
    axes = figure.subplots(len(rows), len(pick), squeeze=False)
    top = float(np.nanquantile(np.abs(list(rows.values())[-1]), 0.998)) or 1.0
    for r, (label, movie) in enumerate(rows.items()):
        for c, t in enumerate(pick):
            axes[r, c].imshow(movie[t], vmin=-top, vmax=top, cmap="RdBu_r", interpolation="nearest")
            bare(axes[r, c])
            if r == 0:
                axes[r, c].set_title(f"{times[t]:.4g} {time_unit}", fontsize=8)
        axes[r, 0].set_ylabel(label, fontsize=8)
    scale_bar(axes[0, 0], frames.shape, pixel or Pixel())
    letter(axes[:, 0])
    bar = figure.colorbar(axes[0, 0].images[0], ax=axes, shrink=0.8, aspect=30)
    bar.set_label(unit, fontsize=8)
    bar.ax.tick_params(labelsize=7)
    return figure


def profiles(
    distance: Float[np.ndarray, " s"],
    panels: Mapping[str, Mapping[str, tuple[np.ndarray, np.ndarray]]],
    *,
    x_label: str,
    y_label: str,
    lines: Mapping[str, Mapping[str, np.ndarray]] | None = None,
) -> Figure:
    """Profiles with 90 % bands.

    Args:
        distance: abscissa [s].
        panels: title -> label -> (value, sd) [s].
        x_label, y_label: with units.
        lines: title -> label -> values [s] drawn dashed on top, such as a truth or a fit.

    Returns:
        The figure.
    """
    figure = Figure(figsize=(WIDE, 2.5), layout="constrained")
    axes = figure.subplots(1, len(panels), sharey=True, squeeze=False)[0]
    for axis, (title, series) in zip(axes, panels.items(), strict=True):
        axis.axhline(0, color="0.8", lw=0.6)
        for (label, (value, sd)), colour in zip(series.items(), COLOURS, strict=False):
            axis.fill_between(
                distance, value - HALF_WIDTH * sd, value + HALF_WIDTH * sd, color=colour, alpha=0.2, lw=0,
                label=f"90 % band, {label}",
            )  # fmt: skip
            axis.plot(distance, value, color=colour, lw=1.2, label=label)
        for label, value in ((lines or {}).get(title) or {}).items():
            axis.plot(distance, value, "k--", lw=1.0, label=label)
        axis.set_title(title, fontsize=8)
        axis.set_xlabel(x_label, fontsize=8)
        axis.tick_params(labelsize=7)
    axes[0].set_ylabel(y_label, fontsize=8)
    axes[0].legend(fontsize=7, frameon=False)
    letter(axes)
    return figure


def along_time(
    times: Float[np.ndarray, " t"],
    series: Mapping[str, tuple[np.ndarray, np.ndarray]],
    *,
    x_label: str,
    y_label: str,
    marks: Sequence[float] = (),
    line: tuple[str, np.ndarray] | None = None,
) -> Figure:
    """Series with 90 % bands over time.

    Args:
        times: abscissa [t].
        series: label -> (value, sd) [t].
        x_label, y_label: with units.
        marks: times of vertical lines, such as ends of cycles.
        line: label and values [t] of a dashed line.

    Returns:
        The figure.
    """
    figure = Figure(figsize=(WIDE * 0.7, 2.4), layout="constrained")
    axis = figure.subplots()
    for number, mark in enumerate(marks):
        name = "end of a cycle" if number == 0 else None
        axis.axvline(mark, color="0.8", lw=0.8, label=name)
    for (label, (value, sd)), colour in zip(series.items(), COLOURS, strict=False):
        axis.fill_between(
            times, value - HALF_WIDTH * sd, value + HALF_WIDTH * sd, color=colour, alpha=0.2, lw=0,
            label=f"90 % band, {label}",
        )  # fmt: skip
        axis.plot(times, value, color=colour, lw=1.2, label=label)
    if line is not None:
        axis.plot(times, line[1], "k--", lw=1.0, label=line[0])
    axis.set_xlabel(x_label, fontsize=8)
    axis.set_ylabel(y_label, fontsize=8)
    axis.tick_params(labelsize=7)
    axis.legend(fontsize=7, frameon=False)
    return figure


def diffusivity(
    curves: Mapping[str, Mapping[str, np.ndarray]],
    *,
    x_label: str,
    y_label: str,
    truth: tuple[np.ndarray, np.ndarray] | None = None,
) -> Figure:
    """Diffusivity against filling with its 90 % band.

    Args:
        curves: label -> curves u, D, D_low, D_high [n].
        x_label, y_label: with units.
        truth: filling and diffusivity, drawn dashed.

    Returns:
        The figure.
    """
    figure = Figure(figsize=(COLUMN, 2.4), layout="constrained")
    axis = figure.subplots()
    for (label, c), colour in zip(curves.items(), COLOURS, strict=False):
        axis.fill_between(
            c["u"], c["D_low"], c["D_high"], color=colour, alpha=0.2, lw=0, label=f"90 % band, {label}"
        )  # fmt: skip
        axis.plot(c["u"], c["D"], color=colour, lw=1.3, label=label)
    if truth is not None:
        axis.plot(*truth, "k--", lw=1.0, label="truth")
    axis.set_yscale("log")
    axis.set_xlabel(x_label, fontsize=8)
    axis.set_ylabel(y_label, fontsize=8)
    axis.tick_params(labelsize=7)
    axis.legend(fontsize=7, frameon=False)
    return figure

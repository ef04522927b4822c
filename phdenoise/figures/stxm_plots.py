"""Figures of X-ray scans: lithium maps, rate constants, laws of the reaction, uniformity."""

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float
from matplotlib.figure import Figure

from phdenoise.figures.marks import Pixel, bare, letter, scale_bar
from phdenoise.figures.plots import COLOURS, WIDE


def fraction_maps(
    rows: Mapping[str, Float[np.ndarray, "t y x"]],
    titles: Sequence[str],
    pick: Sequence[int],
    *,
    label: str = "lithium fraction [1]",
    pixel: Pixel | None = None,
) -> Figure:
    """Maps of the lithium fraction from 0 to 1, a row for each version; NaN is blank.

    Args:
        rows: label -> maps [t, y, x].
        titles: of the maps that are shown.
        pick: indices of the maps to show.
        label: of the colour bar.
        pixel: its size, for the scale bar; None draws a bar of pixels.

    Returns:
        The figure.
    """
    first = next(iter(rows.values()))
    panel = WIDE * 0.85 / len(pick)
    height = len(rows) * panel * first.shape[1] / first.shape[2] + 0.6
    figure = Figure(figsize=(WIDE, height), layout="constrained")
    axes = figure.subplots(len(rows), len(pick), squeeze=False)
    for line, (name, movie) in zip(axes, rows.items(), strict=True):
        for axis, t in zip(line, pick, strict=True):
            axis.imshow(movie[t], vmin=0, vmax=1, cmap="viridis", interpolation="nearest")
            bare(axis)
        line[0].set_ylabel(name, fontsize=8)
    for axis, title in zip(axes[0], titles, strict=True):
        axis.set_title(title, fontsize=8)
    scale_bar(axes[0, 0], first.shape, pixel or Pixel())
    letter(axes[:, 0])
    bar = figure.colorbar(axes[0, 0].images[0], ax=axes, shrink=0.8, aspect=30)
    bar.set_label(label, fontsize=8)
    bar.ax.tick_params(labelsize=7)
    return figure


def rate_maps(
    maps: Mapping[str, Float[np.ndarray, "y x"]],
    *,
    label: str = "k / ⟨k⟩",
    pixel: Pixel | None = None,
) -> Figure:
    """Rate constants on one logarithmic scale about 1; NaN is blank.

    Args:
        maps: title -> rate constants relative to their mean [y, x].
        label: of the colour bar.
        pixel: its size, for the scale bar; None draws a bar of pixels.

    Returns:
        The figure.
    """
    # Maps of one size, however many there are, with the colour bar beside them.
    width = WIDE * min(1.0, (len(maps) + 0.6) / 3.6)
    height = WIDE * 0.85 / max(len(maps), 3) + 0.5
    figure = Figure(figsize=(width, height), layout="constrained")
    axes = figure.subplots(1, len(maps), squeeze=False)[0]
    logs = [np.log2(m) for m in maps.values()]
    reach = max(float(np.nanquantile(np.abs(logs[0]), 0.99)), 0.1)
    for axis, (name, _), values in zip(axes, maps.items(), logs, strict=True):
        axis.imshow(values, vmin=-reach, vmax=reach, cmap="PuOr_r", interpolation="nearest")
        bare(axis)
        axis.set_title(name, fontsize=8)
    scale_bar(axes[0], logs[0].shape, pixel or Pixel())
    letter(axes)
    bar = figure.colorbar(axes[0].images[0], ax=axes, shrink=0.9, aspect=20)
    bar.set_label(f"log2 {label} [1]", fontsize=8)
    bar.ax.tick_params(labelsize=7)
    return figure


def reaction_curves(
    fits: Mapping[str, Mapping[str, Float[np.ndarray, " c"]]],
    *,
    rate_unit: str,
    truth: Mapping[str, Float[np.ndarray, " c"]] | None = None,
) -> Figure:
    """μ_h(c) and k₀ j₀(c) with 90 % bands.

    Args:
        fits: label -> curves c and, for mu_h and j0, name, name_low, name_high.
        rate_unit: of k₀.
        truth: curves c, mu_h, j0.

    Returns:
        The figure.
    """
    figure = Figure(figsize=(WIDE, 2.6), layout="constrained")
    panels = figure.subplots(1, 2)
    labels = (r"$\mu_h(c) - \mu_h(1/2)$ [kT]", rf"$k_0\,j_0(c)$ [{rate_unit}]")
    for axis, name, label in zip(panels, ("mu_h", "j0"), labels, strict=True):
        for (title, c), colour in zip(fits.items(), COLOURS, strict=False):
            axis.fill_between(
                c["c"], c[f"{name}_low"], c[f"{name}_high"], color=colour, alpha=0.18, lw=0,
                label=f"90 % band, {title}",
            )  # fmt: skip
            axis.plot(c["c"], c[name], color=colour, lw=1.3, label=title)
        if truth is not None:
            axis.plot(truth["c"], truth[name], "k--", lw=1.1, label="truth")
        axis.set_xlabel("lithium fraction c [1]", fontsize=8)
        axis.set_ylabel(label, fontsize=8)
        axis.tick_params(labelsize=7)
        if truth is not None:
            low, high = float(np.min(truth[name])), float(np.max(truth[name]))
            axis.set_ylim(low - 0.35 * (high - low), high + 0.35 * (high - low))
    panels[1].set_ylim(bottom=0)
    panels[0].legend(fontsize=7, frameon=False)
    letter(panels)
    return figure


def fractions_of(
    groups: Mapping[str, Mapping[str, float]],
    *,
    label: str,
    line: float | None = None,
    line_label: str = "reference",
) -> Figure:
    """Numbers by version as points, a column for each group.

    Args:
        groups: name -> version -> number.
        label: of the ordinate.
        line: height of a dashed line.
        line_label: what the dashed line is.

    Returns:
        The figure.
    """
    figure = Figure(figsize=(WIDE * 0.6, 2.3), layout="constrained")
    axis = figure.subplots()
    versions = list(dict.fromkeys(v for g in groups.values() for v in g))
    for number, (version, colour) in enumerate(zip(versions, COLOURS, strict=False)):
        at = [k + 0.12 * (number - (len(versions) - 1) / 2) for k, g in enumerate(groups.values()) if version in g]  # fmt: skip
        axis.plot(at, [g[version] for g in groups.values() if version in g], "o", color=colour, ms=5, label=version)  # fmt: skip
    if line is not None:
        axis.axhline(line, color="0.6", lw=0.9, ls="--", label=line_label)
    axis.set_xticks(range(len(groups)), list(groups))
    axis.set_ylabel(label, fontsize=8)
    axis.tick_params(labelsize=7)
    axis.legend(fontsize=7, frameon=False)
    return figure

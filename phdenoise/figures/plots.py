"""Figures of the chain: arrays in, matplotlib Figures out, readable at column width.

No pyplot: Figures are made without global state, so that nothing here needs or opens a display.
"""

from collections.abc import Collection, Mapping, Sequence
from io import BytesIO
from pathlib import Path

import numpy as np
from jaxtyping import Float
from matplotlib.figure import Figure
from matplotlib.text import Text

from phdenoise.figures.marks import Picture, letter, typeset
from phdenoise.figures.published import metadata, write_beside
from phdenoise.types import InputError

# Okabe-Ito: distinguishable with any colour vision.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
# Width of a page and of a column of a journal [inch].
WIDE, COLUMN = 7.0, 3.4


def residual_autocorrelation(
    correlation: Mapping[str, Float[np.ndarray, " lag"]],
    band: Mapping[str, Float[np.ndarray, " lag"]],
) -> Figure:
    """Correlation of the residual along x, y and t, with the band that white noise keeps to.

    Args:
        correlation: "x", "y", "t" -> correlation at lags 0, 1 ... [lag].
        band: "x", "y", "t" -> half width of the 95 % band of white noise [lag].

    Returns:
        The figure.
    """
    figure = Figure(figsize=(WIDE, 2.1), layout="constrained")
    axes = figure.subplots(1, 3, sharey=True)
    for axis, name in zip(axes, ("x", "y", "t"), strict=True):
        values, limits = np.asarray(correlation[name]), np.asarray(band[name])
        lags = np.arange(values.size)
        axis.axhline(0, color="0.6", lw=0.8)
        axis.fill_between(
            lags[1:], -limits[1:], limits[1:], color="0.8", label="95 % if white", step="mid"
        )
        axis.plot(lags[1:], values[1:], "o-", ms=3, lw=1, color=COLOURS[0], label="residual")
        unit = "frames" if name == "t" else "px"
        axis.set_xlabel(f"lag along {name} [{unit}]", fontsize=8)
        axis.tick_params(labelsize=7)
    axes[0].set_ylabel("autocorrelation [1]", fontsize=8)
    reach = max(
        0.05, *(float(np.max(np.abs(np.asarray(v)[1:]), initial=0)) for v in correlation.values())
    )
    axes[0].set_ylim(-1.15 * reach, 1.15 * reach)
    axes[-1].legend(fontsize=7, frameon=False)
    letter(axes)
    return figure


def law_curves(
    fits: Mapping[str, Mapping[str, Float[np.ndarray, " c"]]],
    *,
    diffusivity_unit: str,
    truth: Mapping[str, Float[np.ndarray, " points"]] | None = None,
    refuted: Collection[str] = (),
) -> Figure:
    """Recovered μ_h(c) and D(c) with 90 % bands, against the truth where there is one.

    Args:
        fits: label -> curves with keys c and, for each of mu_h and D, name, name_low, name_high.
        diffusivity_unit: for the axis.
        truth: curves c, mu_h, D.
        refuted: labels of laws that do not hold: dashed, and named in the title.

    Returns:
        The figure.
    """
    figure = Picture(figsize=(WIDE, 2.7), layout="constrained")
    left, right = figure.subplots(1, 2)
    wrong = [label for label in fits if label in refuted]
    if wrong:
        figure.suptitle(f"The law does not hold: {', '.join(wrong)}", fontsize=8)
    for (label, curves), colour in zip(fits.items(), COLOURS, strict=False):
        line, said = ("--", f"{label}, does not hold") if label in wrong else ("-", label)
        for axis, name in ((left, "mu_h"), (right, "D")):
            axis.plot(curves["c"], curves[name], line, color=colour, lw=1.4, label=said)
            edges = (curves[f"{name}_{edge}"] for edge in ("low", "high"))
            band = f"90 % band, {label}"
            axis.fill_between(curves["c"], *edges, color=colour, alpha=0.18, lw=0, label=band)
    if truth is not None:
        for axis, name in ((left, "mu_h"), (right, "D")):
            axis.plot(truth["c"], truth[name], "k:", lw=1.4, label="truth")
    reference = [truth] if truth is not None else list(fits.values())
    for axis, name, label in (
        (left, "mu_h", r"$\mu_h(c) - \mu_h(1/2)$ [kT]"),
        (right, "D", f"D(c) [{diffusivity_unit}]"),
    ):
        shown = np.concatenate([np.asarray(r[name]) for r in reference if r is not None])
        # The axis follows the truth (else the fits): a wild fit may leave it, the good ones stay seen.
        low, high = np.nanmin(shown), np.nanmax(shown)
        pad = 0.6 * max(high - low, 1e-3 * abs(high), 1e-12)
        axis.set_ylim(max(low - pad, 0) if name == "D" else low - pad, high + pad)
        axis.set_xlabel("lithium fraction c [1]", fontsize=8)
        axis.set_ylabel(label, fontsize=8)
        axis.tick_params(labelsize=7)
    left.legend(fontsize=7, frameon=False)
    letter((left, right))
    return figure


def energy_and_mass(
    times: Float[np.ndarray, " t"],
    energy: Mapping[str, Float[np.ndarray, " t"]],
    mass: Mapping[str, Float[np.ndarray, " t"]],
    *,
    time_unit: str,
    energy_unit: str,
) -> Figure:
    """Free energy and mean concentration over time, for several versions of the movie.

    Args:
        times: abscissa [t].
        energy: label -> free energy [t].
        mass: label -> mean concentration [t].
        time_unit, energy_unit: for labels.

    Returns:
        The figure.
    """
    figure = Figure(figsize=(WIDE, 2.4), layout="constrained")
    left, right = figure.subplots(1, 2)
    for axis, series in ((left, energy), (right, mass)):
        for (label, values), colour in zip(series.items(), COLOURS, strict=False):
            axis.plot(times[: len(values)], values, color=colour, lw=1.2, label=label)
        axis.set_xlabel(f"time [{time_unit}]", fontsize=8)
        axis.tick_params(labelsize=7)
    left.set_ylabel(f"free energy [{energy_unit}]", fontsize=8)
    # Noise alone carries energy without bound: the axis follows the calmest series.
    spans = {k: (np.nanmin(v), np.nanmax(v)) for k, v in energy.items()}
    low, high = min(spans.values(), key=lambda s: s[1] - s[0])
    pad = 0.6 * max(high - low, 1e-6 * abs(high), 1e-12)
    left.set_ylim(low - pad, high + pad)
    right.set_ylabel("mean concentration [1]", fontsize=8)
    left.legend(fontsize=7, frameon=False)
    letter((left, right))
    return figure


def training_curve(loss: Sequence[float]) -> Figure:
    """Blind −log likelihood per pixel against training step, with its running median."""
    figure = Figure(figsize=(COLUMN, 2.2), layout="constrained")
    axis = figure.subplots()
    values = np.asarray(loss)
    axis.plot(values, color="0.75", lw=0.5, label="each step")
    width = max(values.size // 30, 1)
    smooth = [np.median(values[max(0, i - width) : i + 1]) for i in range(values.size)]
    axis.plot(smooth, color=COLOURS[0], lw=1.3, label="running median")
    axis.set_ylim(np.quantile(values, 0.001) - 0.02, np.quantile(values, 0.95) + 0.05)
    axis.set_xlabel("training step [1]", fontsize=8)
    axis.set_ylabel("blind −log likelihood per pixel [1]", fontsize=8)
    axis.legend(fontsize=7, frameon=False)
    axis.tick_params(labelsize=7)
    return figure


def sweep(
    rows: Sequence[Mapping[str, float | str]],
    *,
    x: str,
    ys: Mapping[str, str],
    x_label: str,
    y_label: str,
    log_y: bool = False,
    by: str | None = None,
    repeats: Collection[str] = (),
) -> Figure:
    """Median and range over repeats of several columns of a tidy table against another column.

    Args:
        rows: of the table of a study: columns up to "outcome" are settings, where there is such a column.
        x: column on the abscissa.
        ys: label -> column.
        x_label, y_label: with units.
        log_y: logarithmic ordinate.
        by: another setting, each value of which has lines of its own.
        repeats: settings that count as repeats, besides seeds.

    Returns:
        The figure.

    Raises:
        InputError: a setting that is neither of these differs between rows of one x: it would be taken for scatter.
    """
    _check_repeats(rows, {x, by, *repeats})
    figure = Figure(figsize=(COLUMN, 2.6), layout="constrained")
    axis = figure.subplots()
    kinds = [None] if by is None else list(dict.fromkeys(str(r[by]) for r in rows))
    series = [
        (label if kind is None else f"{label}, {str(by).split('.')[-1]} {kind}", column, kind)
        for label, column in ys.items()
        for kind in kinds
    ]
    for (label, column, kind), (colour, line) in zip(series, _styles(len(series)), strict=True):
        some = [r for r in rows if kind is None or str(r[by or x]) == kind]
        pairs = [
            (float(r[x]), float(r[column])) for r in some if r.get(column) not in (None, "", "nan")
        ]
        levels = sorted({p[0] for p in pairs})
        groups = [np.array([v for u, v in pairs if u == level]) for level in levels]
        axis.plot(
            levels,
            [np.median(g) for g in groups],
            f"o{line}",
            ms=3,
            lw=1.2,
            color=colour,
            label=label,
        )
        low, high = [g.min() for g in groups], [g.max() for g in groups]
        axis.fill_between(
            levels, low, high, color=colour, alpha=0.2, lw=0, label=f"all repeats, {label}"
        )
    if log_y:
        axis.set_yscale("log")
    axis.set_xlabel(x_label, fontsize=8)
    axis.set_ylabel(y_label, fontsize=8)
    axis.legend(fontsize=7, frameon=False)
    axis.tick_params(labelsize=7)
    return figure


def _styles(count: int) -> list[tuple[str, str]]:
    """Colours, and other lines where colours are used up."""
    return [(c, line) for line in ("-", "--", ":", "-.") for c in COLOURS][:count]


def _check_repeats(
    rows: Sequence[Mapping[str, float | str]], named: Collection[str | None]
) -> None:
    """Refuse settings that differ between rows without being drawn."""
    columns = list(rows[0]) if rows else []
    if "outcome" not in columns:
        return
    settings = columns[1 : columns.index("outcome")]
    free = [c for c in settings if c not in named and not c.split(".")[-1].endswith("seed")]
    # What follows from the settings that are drawn, such as a size that goes with a geometry, is no scatter.
    drawn = [n for n in named if n is not None]
    groups: dict[tuple[str, ...], set[str]] = {}
    for c in free:
        groups.clear()
        for r in rows:
            groups.setdefault(tuple(str(r.get(n)) for n in drawn), set()).add(str(r.get(c)))
        if any(len(values) > 1 for values in groups.values()):
            raise InputError(
                f"The rows of one point differ in {c}, which would be taken for scatter: draw some of the rows, each value by "
                f'itself (by="{c}"), or say that they are repeats (repeats=["{c}"]).'
            )


def save(
    figure: Figure, target: str | Path | BytesIO, dpi: int = 160, kind: str | None = None
) -> None:
    """Write a figure with its units typeset.

    Args:
        figure: to write.
        target: file or buffer.
        dpi: resolution [dots per inch].
        kind: of file, such as "png"; None goes by the suffix.
    """
    typeset(figure.findobj(Text))
    suffix = kind or (Path(target).suffix[1:] if isinstance(target, str | Path) else "png")
    figure.savefig(target, dpi=dpi, format=kind, metadata=metadata(suffix.lower()))
    if isinstance(target, str | Path) and suffix.lower() == "png":
        write_beside(figure, Path(target))

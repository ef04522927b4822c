"""Figures of a law's fit: the table of a comparison as bars."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from phdenoise.figures.marks import letter
from phdenoise.figures.plots import COLOURS, WIDE


def comparison(rows: Sequence[Mapping[str, Any]], *, unit: str) -> Figure:
    """Misfit of the held-out frames and information criteria of every law compared; the chosen one is filled.

    The grey line is a difference of 10, beyond which a law has essentially no support (Burnham and Anderson,
    doi:10.1007/b97636).

    Args:
        rows: of `phdenoise.learn.Comparison.rows`.
        unit: of the held-out misfit, in words.

    Returns:
        The figure.
    """
    kinds = list(dict.fromkeys(r["model"] for r in rows))
    figure = Figure(figsize=(WIDE, 0.22 * len(rows) + 1.1), layout="constrained")
    axes = figure.subplots(1, 4, sharey=True)
    places = np.arange(len(rows))
    # A kind of law without a series of μ_h shows the degree of its mobility alone.
    bends = {r["model"] for r in rows if r["enthalpy_degree"]}
    labels = [
        f"{r['model']} ({r['enthalpy_degree']}, {r['mobility_degree']})"
        if r["model"] in bends
        else f"{r['model']} ({r['mobility_degree']})"
        for r in rows
    ]
    for axis, column, title in zip(
        axes,
        ("held_out", "delta_aicc", "delta_bic", "delta_evidence"),
        (f"held-out misfit\n[{unit}]", "ΔAICc [1]", "ΔBIC [1]", "Δ(−2 ln Z) [1]"),
        strict=True,
    ):
        values = np.array([max(r[column], 1e-12) for r in rows])
        shown = column == "held_out"
        # Differences start at zero; a decade below one there is nothing to tell apart.
        edge = values[values < 1e29].max(initial=1.0)
        values = np.clip(values, None, edge) if shown else np.clip(values, 0.1, max(edge, 1.0))
        for place, value, row in zip(places, values, rows, strict=True):
            colour = COLOURS[kinds.index(row["model"])]
            axis.plot(
                value, place, "o", ms=5, color=colour, mfc=colour if row["chosen"] else "white"
            )
        axis.set_xscale("log")
        if not shown:
            axis.axvline(10, color="0.8", lw=0.8, zorder=0, label="difference of 10")
        axis.set_xlabel(title, fontsize=7)
        axis.tick_params(labelsize=7)
        axis.grid(axis="y", color="0.93", lw=0.6)
    axes[0].set_yticks(places, labels)
    axes[0].invert_yaxis()
    axes[-1].legend(fontsize=6, frameon=False)
    letter(axes)
    return figure

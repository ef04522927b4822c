"""Figures of the checks of a denoised movie: bias map, coverage, equivalent filters."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from phdenoise.figures.marks import Pixel, bare, letter, scale_bar
from phdenoise.figures.plots import COLOURS, COLUMN, WIDE
from phdenoise.movie import Estimate
from phdenoise.networks.base import from_settings
from phdenoise.networks.equivalent_filter import EquivalentFilter, equivalent_filters
from phdenoise.types import Steps

# Frames before and after, and pixels around, that the picture of a filter shows.
_SIDE, _AROUND = 2, 10


def bias_maps(bias: Mapping[str, Any], pixel: Pixel) -> Figure:
    """Mean residual and its significance.

    Args:
        bias: holds map, z [y, x] and threshold.
        pixel: its size.

    Returns:
        The figure.
    """
    figure = Figure(figsize=(WIDE, 2.8), layout="constrained")
    top = max(float(np.quantile(np.abs(bias["map"]), 0.998)), 1e-6)
    limits = (
        (bias["map"], top, "mean residual [noise sd]"),
        (bias["z"], bias["threshold"], "z [1]"),
    )
    axes = figure.subplots(1, 2)
    for axis, (values, limit, label) in zip(axes, limits, strict=True):
        image = axis.imshow(values, cmap="RdBu_r", vmin=-limit, vmax=limit)
        bare(axis)
        bar = figure.colorbar(image, ax=axis, shrink=0.85)
        bar.set_label(label, fontsize=8)
        bar.ax.tick_params(labelsize=7)
    scale_bar(axes[0], bias["map"].shape, pixel)
    letter(axes)
    return figure


def coverage_curve(coverage: Mapping[str, Any]) -> Figure:
    """Observed against nominal coverage; `coverage` holds nominal and observed."""
    figure = Figure(figsize=(COLUMN, 2.6), layout="constrained")
    axis = figure.subplots()
    nominal, observed = (100 * np.asarray(coverage[k], float) for k in ("nominal", "observed"))
    axis.plot([0, 100], [0, 100], color="0.6", lw=0.8, label="right")
    axis.plot(nominal, observed, "o-", ms=4, lw=1.2, color=COLOURS[0], label="measured values")
    axis.set_xlabel("nominal [%]", fontsize=8)
    axis.set_ylabel("observed [%]", fontsize=8)
    axis.tick_params(labelsize=7)
    axis.legend(fontsize=7, frameon=False)
    return figure


def equivalent_filter_images(filters: Sequence[EquivalentFilter]) -> Figure:
    """A row of filter images per pixel, frames before and after from left to right."""
    steps = range(-_SIDE, _SIDE + 1)
    figure = Figure(figsize=(WIDE, 1.45 * len(filters) + 0.3), layout="constrained")
    axes = figure.subplots(len(filters), len(steps), squeeze=False)
    for r, (row, one) in enumerate(zip(axes, filters, strict=True)):
        t, y, x = one.pixel
        limit = max(float(np.abs(one.weights).max()), 1e-12)
        for axis, step in zip(row, steps, strict=True):
            bare(axis)
            at = np.flatnonzero(one.frames == t + step)
            if not at.size:
                axis.axis("off")
                continue
            k = int(at[0])
            axis.imshow(one.weights[k], cmap="RdBu_r", vmin=-limit, vmax=limit)
            axis.plot(x, y, "k+", ms=6, mew=0.8)
            if np.isfinite(one.motion[k]).all():
                dy, dx = one.motion[k]
                axis.plot(x + dx, y + dy, "o", mfc="none", mec="#009E73", ms=7)
            axis.set_xlim(x - _AROUND - 0.5, x + _AROUND + 0.5)
            axis.set_ylim(y + _AROUND + 0.5, y - _AROUND - 0.5)
            if r == 0:
                axis.set_title("t" if step == 0 else f"t {step:+d}", fontsize=8)
        label = f"({t}, {y}, {x}) [px]\nsum {one.total:.2f}\n{one.effective:.0f} pixels"
        row[0].set_ylabel(label, fontsize=7)
        shown = [a.images[0] for a in row if a.images]
        bar = figure.colorbar(shown[0], ax=row.tolist(), shrink=0.8, aspect=12)
        bar.set_label("weight [1]", fontsize=7)
        bar.ax.tick_params(labelsize=6)
    letter(axes[:, 0])
    return figure


def shown_filters(estimate: Estimate, progress: Steps | None) -> list[EquivalentFilter]:
    """Filters where the scene is flat, where it has an edge, and where it changes most; in the middle frame.

    Args:
        estimate: denoised movie.
        progress: called with (step, steps, nan).

    Returns:
        The filters; none where the estimate keeps no network.
    """
    settings = estimate.settings
    if not estimate.weights or "region" not in settings or "width" not in settings:
        return []
    denoiser = from_settings(estimate.weights, settings)
    t = estimate.movie.shape[0] // 2
    frame = np.asarray(estimate.mean[t], float)
    slope = np.hypot(*np.gradient(frame)) if min(frame.shape) > 1 else np.zeros_like(frame)
    change = np.abs(estimate.mean[min(t + 1, len(estimate.mean) - 1)] - estimate.mean[t - 1])
    inner = tuple(slice(n // 8, max(n - n // 8, n // 8 + 1)) for n in frame.shape)
    pixels = []
    for score in (-slope, slope, change):
        at = np.unravel_index(int(np.argmax(score[inner])), score[inner].shape)
        pixels.append((t, int(at[0]) + inner[0].start, int(at[1]) + inner[1].start))
    movie = estimate.movie
    return equivalent_filters(denoiser, movie.frames, movie.valid(), pixels, progress=progress)

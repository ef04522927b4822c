"""A scene as a player inside a page: everything it needs is in its own text, nothing is loaded from elsewhere.

Values are stored as 16-bit numbers of each layer's range, packed with gzip; the browser colours them.
"""

import base64
import gzip
import html
import json
from dataclasses import replace
from typing import Any

import numpy as np
from matplotlib import colormaps

from phdenoise.figures.marks import round_length, superscripts
from phdenoise.figures.scene import Layer, Scene

# Values of all layers together that a player in a report holds: the page stays below some 4 MB.
IN_REPORT = 1_200_000
# Values of all layers together that a page of its own holds: some 60 MB, which browsers open within seconds.
ALONE = 20_000_000
# Code of a value that is not known; the largest of the others.
_UNKNOWN, _LAST = 65535, 65534


def player_html(scene: Scene, most: int = IN_REPORT) -> str:
    """The player of a scene; of a scene that is too large, fewer pixels and frames.

    Args:
        scene: what to show.
        most: values of all layers together that are kept.

    Returns:
        HTML, to be followed once on the page by the player's script.
    """
    small, notes = reduced(scene, most)
    nx = small.layers[0].frames.shape[2]
    length = round_length(0.3 * nx * small.pixel.dx)
    told = {
        "shape": list(small.layers[0].frames.shape),
        "times": [float(f"{t:.7g}") for t in small.times],
        "time_unit": small.time_unit,
        "pixel": [small.pixel.dy, small.pixel.dx],
        "bar": {
            "share": length / (nx * small.pixel.dx),
            "text": f"{length:g} {_shown(small.pixel.unit)}",
        },
        "maps": {layer.colours: _colour_map(layer.colours) for layer in small.layers},
        "layers": [_packed(layer) for layer in small.layers],
    }
    text = json.dumps(told).replace("</", "<\\/")
    said = f"<p>{html.escape(' '.join(notes))}</p>" if notes else ""
    return f"<div class='player'><script type='application/json'>{text}</script>{said}</div>"


def reduced(scene: Scene, most: int) -> tuple[Scene, list[str]]:
    """A scene of at most so many values, and sentences that say what was left out.

    Pixels are averaged (standard deviations too, so that they keep their level), frames are left out.

    Args:
        scene: what to show.
        most: values of all layers together.

    Returns:
        The scene, and what was left out.
    """
    count, ny, nx = scene.layers[0].frames.shape
    total = len(scene.layers) * count * ny * nx
    notes = []
    # Of a movie with few pixels frames are left out first, so that a structure is not averaged away.
    side = max(1, int(np.ceil(np.sqrt(total / most))) if min(ny, nx) > 128 else 1)
    side = min(side, max(1, min(ny, nx) // 64))
    step = max(1, -(-total // (side * side * most)))
    layers = scene.layers
    pixel, times = scene.pixel, scene.times
    if side > 1:
        layers = tuple(replace(x, frames=_averaged(x.frames, side)) for x in layers)
        pixel = pixel._replace(dy=pixel.dy * side, dx=pixel.dx * side)
        notes.append(f"Squares of {side} x {side} pixels are averaged in this player.")
    if step > 1:
        layers = tuple(replace(x, frames=x.frames[::step]) for x in layers)
        times = times[::step]
        notes.append(f"Every {step}th of {count} frames is shown in this player.")
    return replace(scene, layers=layers, pixel=pixel, times=times), notes


def _averaged(frames: np.ndarray, side: int) -> np.ndarray:
    t, ny, nx = frames.shape
    cut = frames[:, : ny // side * side, : nx // side * side]
    squares = cut.reshape(t, ny // side, side, nx // side, side).astype(float)
    known = np.isfinite(squares).sum(axis=(2, 4))
    total = np.nansum(squares, axis=(2, 4))
    return np.where(known > 0, total / np.maximum(known, 1), np.nan)


def _packed(layer: Layer) -> dict[str, Any]:
    values = np.asarray(layer.frames, float)
    known = np.isfinite(values)
    low, high = (values[known].min(), values[known].max()) if known.any() else (0.0, 1.0)
    share = (np.where(known, values, low) - low) / max(high - low, np.finfo(float).tiny)
    code = np.where(known, np.round(_LAST * np.clip(share, 0, 1)), _UNKNOWN).astype("<u2")
    return {
        "name": layer.name,
        "unit": _shown(layer.unit),
        "colours": layer.colours,
        "limits": [float(f"{v:.5g}") for v in layer.limits],
        "scale": layer.scale,
        "range": [float(low), float(high)],
        "data": base64.b64encode(gzip.compress(code.tobytes(), 6, mtime=0)).decode("ascii"),
    }


def _colour_map(name: str) -> str:
    table = (255 * colormaps[name](np.linspace(0, 1, 256))[:, :3]).round().astype(np.uint8)
    return base64.b64encode(table.tobytes()).decode("ascii")


def _shown(unit: str) -> str:
    return superscripts(unit).replace("um", "µm") if unit in ("um", "um^2") else superscripts(unit)

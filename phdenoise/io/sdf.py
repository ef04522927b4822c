"""Scans in the self-describing format of STXM beamlines: a text header .hdr and a text image .xim for each energy.

The header is nested `Name = { Key = value; ... }`; lists are `(count, first, second ...)`. PAxis runs along the columns, QAxis
along the rows, StackAxis over energies. Images lie beside it: NAME_a.xim (one energy), NAME_a000.xim ... (a stack, counter a),
and with several regions NAME_a0000.xim, whose last digit is the region.
"""

import re
from pathlib import Path
from typing import Any

import numpy as np

from phdenoise.io import units
from phdenoise.io.source import Source
from phdenoise.types import InputError

_TOKEN = re.compile(r'"[^"]*"|[{}();,=]|[^\s{}();,="]+')
_MOST = 1_000_000


def read_sdf(path: Path, dataset: str | None) -> Source:
    """A stack over energies (times are energies in eV) or one image; a number after '::' picks a region, from 0.

    Raises:
        InputError: a header of another kind, a region that is not there, or images that are missing or of another size.
    """
    head = parse_header(path.read_text(encoding="latin-1"), str(path))
    scan = head.get("ScanDefinition")
    if not isinstance(scan, dict) or not isinstance(scan.get("Regions"), list):
        raise InputError(f"{path} has no ScanDefinition with Regions: it is no header of a scan.")
    regions = [r for r in scan["Regions"] if isinstance(r, dict)]
    region = _region(path, dataset, len(regions))
    x, y = (_points(regions[region], name, path) for name in ("PAxis", "QAxis"))
    energies = _points(scan, "StackAxis", path) if "StackAxis" in scan else np.zeros(1)
    kind = str(scan.get("Type", ""))
    if "Line Scan" in kind or "Point" in kind:
        raise InputError(f"{path} is a '{kind}': an image or a stack of images is needed.")
    images = [
        _image(f, (y.size, x.size)) for f in _files(path, energies.size, region, len(regions))
    ]
    source = Source(np.stack(images), dataset=dataset)
    if energies.size > 1:
        order = np.argsort(energies)
        if np.any(np.diff(energies[order]) <= 0):
            raise InputError(f"{path} lists an energy twice: a stack needs different energies.")
        source.array, source.times, source.time_unit = source.array[order], energies[order], "eV"
    elif energies.size == 1 and energies[0] > 0:
        source.stored = {"energy_eV": float(energies[0])}
    steps = [_step(axis) for axis in (y, x)]
    unit = str(regions[region]["PAxis"].get("Unit", ""))
    if all(steps) and unit:
        source.pixel_size, source.length_unit = (steps[0], steps[1]), units.length_unit(unit)
    return source


def parse_header(text: str, label: str) -> dict[str, Any]:
    """The header as nested dictionaries and lists.

    Raises:
        InputError: brackets that do not close, or nothing that looks like a header.
    """
    tokens = _TOKEN.findall(text)
    if not tokens or len(tokens) > _MOST:
        raise InputError(f"{label} is empty or far too long for the header of a scan.")
    try:
        found, at = _fields(tokens, 0, None)
    except (IndexError, ValueError, RecursionError) as error:
        raise InputError(
            f"{label} is damaged: its brackets do not close, copy it again."
        ) from error
    if at != len(tokens):
        raise InputError(
            f"{label} is damaged: a bracket closes that was not opened, copy it again."
        )
    return found


def _fields(tokens: list[str], at: int, end: str | None) -> tuple[dict[str, Any], int]:
    """`Name = value;` up to a closing bracket."""
    out: dict[str, Any] = {}
    while at < len(tokens) or end is not None:
        token = tokens[at]
        if token == end:
            return out, at + 1
        if token in ";,":
            at += 1
        elif tokens[at + 1] == "=":
            out[token], at = _value(tokens, at + 2)
        elif token in "{}()=":
            raise ValueError(token)
        else:
            at += 1
    return out, at


def _value(tokens: list[str], at: int) -> tuple[Any, int]:
    token = tokens[at]
    if token == "{":
        return _fields(tokens, at + 1, "}")
    if token == "(":
        items, at = [], at + 1
        while tokens[at] != ")":
            if tokens[at] in ";,":
                at += 1
                continue
            item, at = _value(tokens, at)
            items.append(item)
        return items[1:], at + 1  # the first is the count
    words = [token]
    at += 1
    while tokens[at] not in (";", ",", ")", "}"):
        words.append(tokens[at])
        at += 1
    return _plain(" ".join(words)), at


def _plain(word: str) -> str | float:
    if word.startswith('"'):
        return word.strip('"')
    try:
        return float(word)
    except ValueError:
        return word


def _region(path: Path, dataset: str | None, count: int) -> int:
    if dataset is None and count == 1:
        return 0
    if dataset is not None and dataset.isdigit() and int(dataset) < count:
        return int(dataset)
    raise InputError(f"{path} holds {count} region(s): pick one by its number, {path}::0 to ::{max(count - 1, 0)}.")  # fmt: skip


def _points(owner: dict[str, Any], name: str, path: Path) -> np.ndarray:
    axis = owner.get(name)
    points = axis.get("Points") if isinstance(axis, dict) else None
    if not points or not all(isinstance(p, float) for p in points):
        raise InputError(f"{path} has no Points for its {name}: it is no header of an image scan.")
    return np.asarray(points, float)


def _files(path: Path, energies: int, region: int, regions: int) -> list[Path]:
    """Images of the first counter."""
    stem = path.with_suffix("")
    if energies == 1:
        last = "" if regions == 1 else str(region)
        names = [f"{stem}_a{last}.xim"]
        if not Path(names[0]).exists():
            names = [f"{stem}_a000{last}.xim"]
    elif regions == 1:
        names = [f"{stem}_a{n:03d}.xim" for n in range(energies)]
    else:
        names = [f"{stem}_a{n:03d}{region}.xim" for n in range(energies)]
    missing = [n for n in names if not Path(n).exists()]
    if missing:
        raise InputError(
            f"{path} lists {energies} energies, but {missing[0]} and {len(missing) - 1} more images are not beside it."
        )
    return [Path(n) for n in names]


def _image(path: Path, shape: tuple[int, int]) -> np.ndarray:
    try:
        image = np.loadtxt(path, ndmin=2)
    except ValueError as error:
        raise InputError(f"{path} holds something that is not a number: copy it again.") from error
    if image.shape != shape:
        raise InputError(
            f"{path} has {image.shape[0]} x {image.shape[1]} numbers, its header says {shape[0]} x {shape[1]}: the scan was "
            "stopped early, or belongs to another header."
        )
    return image


def _step(axis: np.ndarray) -> float:
    return abs(float(axis[-1] - axis[0])) / (axis.size - 1) if axis.size > 1 else 0.0

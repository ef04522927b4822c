"""Scans in the self-describing format of STXM beamlines: a text header .hdr and a text image .xim for each energy.

PAxis of the header runs along the columns, QAxis along the rows, StackAxis over energies. Images lie beside it: NAME_a.xim (one
energy), NAME_a000.xim ... (a stack, counter a), and with several regions NAME_a0000.xim, whose last digit is the region.
Units of the format: energy [eV], dwell [ms], ring current [mA].
"""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from phdenoise.io import units
from phdenoise.io.acquisition import Acquisition, parse_clock
from phdenoise.io.readers.scans import set_frame_axis, set_other_axis, set_pixels
from phdenoise.io.readers.sdf_header import parse_header, read_text
from phdenoise.io.readers.xim import read_xim, wrong_size
from phdenoise.io.source import Source
from phdenoise.types import InputError

# Words of scan types and axes that move something else than the sample over an image.
_NO_IMAGE = ("line", "point", "spectr", "focus", "osa", "detector", "motor")
_NO_POSITION = ("energy", "zone plate", "osa", "detector", "time")


def read_sdf(path: Path, dataset: str | None) -> Source:
    """A stack over energies, or one image.

    Args:
        path: header file; the images lie beside it.
        dataset: where there are several, the number of the region from 0, the letter or name of the counter, or REGION/COUNTER.

    Returns:
        Images [e, y, x] with pixel size, energies [eV] as frame axis, and what else the header says of them.

    Raises:
        InputError: a header of another kind, a scan that is no image, a region or counter that is not there or not chosen,
            or images that are missing or of another size.
    """
    head = parse_header(read_text(path), str(path))
    scan = head.get("ScanDefinition")
    if not isinstance(scan, dict) or not isinstance(scan.get("Regions"), list):
        raise InputError(f"{path} has no ScanDefinition with Regions: it is no header of a scan.")
    regions = [r for r in scan["Regions"] if isinstance(r, dict)]
    _check_kind(path, scan, regions)
    region, counter = _part(path, dataset, scan, len(regions))
    x, y = (_points(regions[region], name, path) for name in ("PAxis", "QAxis"))
    stack = _points(scan, "StackAxis", path) if "StackAxis" in scan else np.zeros(1)
    files = _images_beside(path, counter.letter, stack.size, region, len(regions))
    source = Source(np.empty((0, y.size, x.size)), dataset=dataset)
    images, recorded = _recorded(path, files, (y.size, x.size), source.notes)
    source.array = np.stack(images)
    source.acquisition = _acquisition(head, scan, region, stack, counter.name, source.notes).taken(
        recorded
    )
    source.array = source.array[_set_frames(source, scan, stack[recorded])]
    _set_lengths(source, regions[region], y, x)
    return source


def _check_kind(path: Path, scan: dict[str, Any], regions: list[dict[str, Any]]) -> None:
    """Refuse scans whose rows and columns are no positions of the sample."""
    kind = str(scan.get("Type", ""))
    names = [str(_entry(r, axis, "Name")) for r in regions for axis in ("PAxis", "QAxis")]
    moved = [n for n in names if any(word in n.lower() for word in _NO_POSITION)]
    if any(word in kind.lower() for word in _NO_IMAGE) or moved:
        over = f" over {', '.join(dict.fromkeys(moved))}" if moved else ""
        raise InputError(
            f"{path} is a '{kind}'{over}: an image or a stack of images of the sample is needed."
        )


@dataclass(frozen=True)
class _Counter:
    """A counter of the detector: the letter in its files' names, and its name in the header."""

    letter: str
    name: str


def _part(
    path: Path, dataset: str | None, scan: dict[str, Any], count: int
) -> tuple[int, _Counter]:
    """The region and the counter that were asked for, or the only ones."""
    parts = dataset.split("/") if dataset else []
    region = next((int(p) for p in parts if p.isdigit()), 0 if count == 1 else -1)
    wanted = [p for p in parts if not p.isdigit()]
    channels = scan.get("Channels")
    names = [str(c.get("Name", "")) for c in channels or () if isinstance(c, dict)]
    counters = [
        _Counter(letter, names[k] if (k := ord(letter) - ord("a")) < len(names) else letter)
        for letter in _letters(path)
    ] or [_Counter("a", names[0] if names else "a")]
    chosen = [c for c in counters if not wanted or wanted[0] in (c.letter, c.name)]
    one_region = 0 <= region < count and len(parts) - len(wanted) <= 1 and len(wanted) <= 1
    if one_region and len(chosen) == 1:
        return region, chosen[0]
    listed = ", ".join(f"{c.letter} ({c.name})" for c in counters)
    last = [str(count - 1)] * (count > 1) + [counters[-1].letter] * (len(counters) > 1)
    raise InputError(
        f"{path} holds {count} region(s) and the counter(s) {listed}: pick a region by its number from 0 and a counter by its "
        f"letter or name, {path}::{'/'.join(last) or '0'}."
    )


def _letters(path: Path) -> list[str]:
    """Letters of the counters whose images lie beside a header."""
    pattern = re.compile(re.escape(path.stem) + r"_([a-z])\d*\.xim", re.IGNORECASE)
    found = (pattern.fullmatch(f.name) for f in path.parent.iterdir())
    return sorted({m[1].lower() for m in found if m})


def _images_beside(
    path: Path, letter: str, count: int, region: int, regions: int
) -> list[Path | None]:
    """File of each image of the stack, None where there is none; capitals do not matter."""
    there = {f.name.lower(): f for f in path.parent.iterdir()}
    last = "" if regions == 1 else str(region)
    stem = f"{path.stem}_{letter}".lower()
    found = [there.get(f"{stem}{n:03d}{last}.xim") for n in range(count)]
    if count == 1 and found[0] is None:
        found = [there.get(f"{stem}{last}.xim")]
    if not any(found):
        raise InputError(
            f"{path} lists {count} energies, but {path.stem}_{letter}000{last}.xim and {count - 1} more images are not beside it."
        )
    return found


def _recorded(
    path: Path, files: list[Path | None], shape: tuple[int, int], notes: list[str]
) -> tuple[list[np.ndarray], np.ndarray]:
    """Images that were recorded, and their numbers; only the last one may be incomplete."""
    read = [(n, f, *read_xim(f, shape)) for n, f in enumerate(files) if f is not None]
    read = [r for r in read if r[3]]
    if not read:
        raise InputError(f"{path}: every image beside it is empty, nothing was recorded.")
    pixels = shape[0] * shape[1]
    for _, file, _, count in read[:-1]:
        if count < pixels:
            raise wrong_size(file, -(-count // shape[1]), shape[1], shape)
    missing = len(files) - len(read)
    if missing:
        notes.append(
            f"The header lists {len(files)} images and {len(read)} were recorded; the others are left out."
        )
    last = read[-1][3]
    if last < pixels:
        notes.append(
            f"The scan was stopped in its last image: {pixels - last} of {pixels} pixels were not recorded and are masked."
        )
    return [image for _, _, image, _ in read], np.array([n for n, *_ in read])


def _acquisition(
    head: dict[str, Any],
    scan: dict[str, Any],
    region: int,
    stack: np.ndarray,
    counter: str,
    notes: list[str],
) -> Acquisition:
    """What the header says of its images, each value once or for every image that it lists."""
    count = stack.size
    each = [head.get(f"Image{n:03d}_{region}") for n in range(count)]
    records = [e if isinstance(e, dict) else {} for e in each]
    factor = _energy_factor(scan)
    asked = stack * factor if factor is not None and "StackAxis" in scan else None
    energy = _energies(asked, _column(records, "Energy"), _scalar(head, "Energy"), notes)
    started = np.array([parse_clock(str(r.get("Time", ""))) for r in records])
    if not np.isfinite(started).any():
        started = np.array([parse_clock(str(head.get("Time", "")))])
    current = _column(records, "StorageRingCurrent")
    polarisation = next((_scalar(head, k) for k in head if "polari" in k.lower()), None)
    return Acquisition(
        energy=energy,
        exposure=_dwell(head, scan, count),
        current=current if np.isfinite(current).any() else None,
        polarisation=None if polarisation is None else np.array([polarisation]),
        started=started if np.isfinite(started).any() else None,
        counter=counter,
    )


def _energies(
    asked: np.ndarray | None, recorded: np.ndarray, last: float | None, notes: list[str]
) -> np.ndarray | None:
    """Energies [eV] as recorded for every image, else as asked for, else where the monochromator was."""
    if np.all(recorded > 0) and np.unique(recorded).size == recorded.size:
        if asked is not None and not np.allclose(recorded, asked, atol=_ENERGY_DIGITS):
            notes.append(
                f"The scan asked for {_listed(asked)} eV and recorded {_listed(recorded)} eV: the recorded energies are used."
            )
        return recorded
    if asked is not None and np.any(asked > 0):
        return asked
    return None if last is None or recorded.size > 1 else np.array([last])


# Energies of the format have two digits after the point; monochromators return to an energy within some hundredths [eV].
_ENERGY_DIGITS = 0.05


def _dwell(head: dict[str, Any], scan: dict[str, Any], count: int) -> np.ndarray | None:
    """Dwell times [s]: of each energy region, else the one of the scan."""
    regions = [r for r in _entry(head, "ImageScan", "EnergyRegions") if isinstance(r, dict)]
    points, each = _column(regions, "Points"), _column(regions, "DwellTime")
    if regions and np.isfinite(points + each).all() and points.sum() == count:
        return np.repeat(each, points.astype(int)) * 1e-3
    dwell = scan.get("Dwell")
    return np.array([dwell * 1e-3]) if isinstance(dwell, float) and dwell > 0 else None


def _set_frames(source: Source, scan: dict[str, Any], stack: np.ndarray) -> np.ndarray:
    """Set the frame axis, and return the order of the images."""
    count = len(source.array)
    if "StackAxis" in scan and _energy_factor(scan) is None and count > 1:
        name, unit = (str(_entry(scan, "StackAxis", key)) for key in ("Name", "Unit"))
        return set_other_axis(source, stack, name or "StackAxis", unit)
    order = set_frame_axis(source)
    return order if order.size == count else np.arange(count)


def _energy_factor(scan: dict[str, Any]) -> float | None:
    """Electronvolts of the unit of the stack axis; None where it is no energy."""
    unit = str(_entry(scan, "StackAxis", "Unit")).strip()
    named = "energy" in str(_entry(scan, "StackAxis", "Name")).lower()
    return units.electronvolts(unit) if unit else 1.0 if named else None


def _set_lengths(source: Source, region: dict[str, Any], y: np.ndarray, x: np.ndarray) -> None:
    """Set the pixel size; rows in another unit than columns are brought to that of the columns."""
    unit_y, unit_x = (str(_entry(region, axis, "Unit")).strip() for axis in ("QAxis", "PAxis"))
    metres = [units.METRES.get(units.length_unit(u)) for u in (unit_y, unit_x)]
    if unit_y != unit_x and metres[0] and metres[1]:
        y = y * (metres[0] / metres[1])
    set_pixels(source, y, x, unit_x)


def _points(owner: dict[str, Any], name: str, path: Path) -> np.ndarray:
    points = _entry(owner, name, "Points")
    if not points or not all(isinstance(p, float) for p in points):
        raise InputError(f"{path} has no Points for its {name}: it is no header of an image scan.")
    return np.asarray(points, float)


def _entry(owner: dict[str, Any], name: str, key: str) -> Any:
    """Entry of a nested group, "" where there is none."""
    group = owner.get(name)
    return group.get(key, "") if isinstance(group, dict) else ""


def _scalar(head: dict[str, Any], name: str) -> float | None:
    """A number, or the last position of a motor."""
    value = head.get(name)
    value = value.get("LastPosition") if isinstance(value, dict) else value
    return value if isinstance(value, float) else None


def _column(records: list[dict[str, Any]], name: str) -> np.ndarray:
    """A number of each image; NaN where it has none."""
    values = [r.get(name) for r in records]
    return np.array([v if isinstance(v, float) else np.nan for v in values])


def _listed(values: np.ndarray) -> str:
    return ", ".join(f"{v:g}" for v in values[:4]) + ", ..." * (values.size > 4)

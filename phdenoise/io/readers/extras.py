"""Formats of electron microscopes by RosettaSciIO, and what readers by optional packages share."""

import re
import warnings
from collections.abc import Mapping
from contextlib import ExitStack
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory
from types import ModuleType
from typing import Any

import numpy as np

from phdenoise.io import units
from phdenoise.io.acquisition import Acquisition, parse_clock
from phdenoise.io.limits import check_size
from phdenoise.io.readers.hdf5_storage import Storage
from phdenoise.io.readers.hdf5_tree import Tree
from phdenoise.io.source import Source
from phdenoise.types import InputError

# Where Gatan's programs keep the exposure of an image [s], below ImageTags.
_GATAN_EXPOSURES = (
    ("Acquisition", "Parameters", "High Level", "Exposure (s)"),
    ("DataBar", "Exposure Time (s)"),
)
# What programs call the axis of a spectrum.
_SPECTRAL = ("energy", "energy loss", "x-ray energy", "wavelength")


def read_em(module: str, path: Path, dataset: str | None) -> Source:
    """A file of an electron microscope (DM3, DM4, EMD, SER, TVIPS) by RosettaSciIO.

    Args:
        module: of RosettaSciIO, such as "rsciio.emd".
        path: file.
        dataset: number of the signal, where the file holds several.

    Returns:
        The signal with its pixel size and frame interval.

    Raises:
        InputError: the optional package is missing, no such signal, or a spectrum image.
    """
    return _source_of(_signal(module, path, dataset), path, dataset)


def _signal(module: str, path: Path, dataset: str | None) -> dict[str, Any]:
    """The named or only signal of a file."""
    reader = require(module, "em", path)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about metadata that is not used here
        signals = [s for s in reader.file_reader(str(path)) if np.ndim(s["data"]) >= 2]
    found: dict[str, Any] = signals[pick([str(np.shape(s["data"])) for s in signals], path, dataset)]  # fmt: skip
    found["axes"] = sorted(found["axes"], key=lambda a: a.get("index_in_array", 0))
    return found


def _source_of(signal: dict[str, Any], path: Path, dataset: str | None) -> Source:
    """Images with their pixel size and times; axes called x and y are columns and rows, else the last two are."""
    axes: list[dict[str, Any]] = signal["axes"]
    _refuse_spectra(axes, signal, path)
    source = Source(np.asarray(signal["data"]), dataset=dataset)
    names = [str(a.get("name") or "").lower() for a in axes]
    if source.array.ndim == 3 and (names.count("x"), names.count("y")) == (1, 1):
        letters = "".join({"x": "X", "y": "Y"}.get(n, "T") for n in names)
        source.axes = "" if letters == "TYX" else letters
        at = {letter: axes[k] for k, letter in enumerate(letters)}
    else:
        at = dict(zip("TYX"[-len(axes) :], axes[-3:], strict=True))
    y, x, time = at["Y"], at["X"], at.get("T", {})
    if units.length_unit(str(x.get("units") or "")) != "px" and y.get("scale") and x.get("scale"):
        source.pixel_size = abs(float(y["scale"])), abs(float(x["scale"]))
        source.length_unit = units.length_unit(str(x["units"]))
    unit = units.time_unit(str(time.get("units") or ""))
    if unit in ("s", "ms", "us", "min", "h") and time.get("scale"):
        # Steps may run backwards.
        source.times, source.time_unit = float(time["scale"]) * np.arange(int(time["size"])), unit
    elif _is_spectral(time):
        steps = np.arange(int(time["size"])) * float(time.get("scale") or 1)
        source.times = float(time.get("offset") or 0) + steps
        source.time_unit = str(time.get("units") or "eV")
    source.acquisition = _acquisition(signal)
    return source


def _acquisition(signal: Mapping[str, Any]) -> Acquisition:
    """Exposure and clock of an image by a microscope's program, from the tags that Gatan writes."""
    exposure = None
    for path in _GATAN_EXPOSURES:
        value: Any = signal.get("original_metadata")
        for name in ("ImageList", "TagGroup0", "ImageTags", *path):
            value = value.get(name) if isinstance(value, Mapping) else None
        if isinstance(value, int | float) and np.isfinite(value) and value > 0:
            exposure = np.array([float(value)])
            break
    general = (signal.get("metadata") or {}).get("General") or {}
    began = parse_clock(f"{general.get('date', '')} {general.get('time', '')}")
    return Acquisition(exposure=exposure, started=np.array([began]) if np.isfinite(began) else None)


def read_dm(path: Path, dataset: str | None) -> Source:
    """A file .dm3 or .dm4 of DigitalMicrograph; colours become a last axis.

    Args:
        path: file.
        dataset: number of the image, where the file holds several.

    Returns:
        See `read_em`.

    Raises:
        InputError: see `read_em`.
    """
    source = read_em("rsciio.digitalmicrograph", path, dataset)
    if source.array.dtype.names is not None:
        names = [n for n in ("R", "G", "B") if n in source.array.dtype.names]
        source.array = np.stack([source.array[n] for n in names], axis=-1)
    elif _is_big_endian(path):
        source.array = source.array.byteswap()  # read in the byte order of this machine
    return source


def _is_big_endian(path: Path) -> bool:
    """The mark after version and size; the size has 8 bytes in version 4, and 4 before."""
    with path.open("rb") as file:
        head = file.read(16)
    at = 12 if head[3:4] == b"\x04" else 8
    return head[at : at + 4] == bytes(4)


def read_tvips(path: Path, dataset: str | None) -> Source:
    """A movie of a TVIPS camera; its parts NAME_000.tvips, NAME_001.tvips ... are one movie.

    Args:
        path: the first part, or a single file of any name.
        dataset: must be None or 0.

    Returns:
        See `read_em`.

    Raises:
        InputError: see `read_em`; or a later part.
    """
    part = re.fullmatch(r".+_(\d{3})\.tvips", path.name, re.IGNORECASE)
    if part is not None and int(part[1]):
        raise InputError(f"{path} is a later part of a movie: give its first part, ..._000.tvips.")
    if part is not None:
        return read_em("rsciio.tvips", path, dataset)
    # The library knows a first part by its name only.
    with TemporaryDirectory() as folder:
        link = Path(folder) / "movie_000.tvips"
        link.symlink_to(path.resolve())
        return read_em("rsciio.tvips", link, dataset)


def _is_spectral(axis: dict[str, Any]) -> bool:
    name, unit = (str(axis.get(key) or "").strip().lower() for key in ("name", "units"))
    return unit in ("ev", "kev") or name in _SPECTRAL


def _refuse_spectra(axes: list[dict[str, Any]], signal: Mapping[str, Any], path: Path) -> None:
    """A spectrum image has an energy as its last axis, or its program calls it one."""
    along = [a for a in axes if a.get("navigate") is False]
    ends = [a for a in axes[-2:] if str(a.get("name")).lower() not in ("x", "y")]
    named = "spectrum image" in _formats(signal.get("original_metadata") or {})
    if named or any(_is_spectral(a) for a in ends) or (len(axes) > 2 and len(along) == 1):
        sizes = ", ".join(f"{a.get('name') or '?'} = {a.get('size')}" for a in axes)
        raise InputError(
            f"{path} holds spectra ({sizes}), not images: map a range of energies to an image first."
        )


def _formats(tags: Mapping[str, Any]) -> set[str]:
    """Every value of a tag `Format` of DigitalMicrograph, in lower case."""
    found = set()
    for key, value in tags.items():
        if isinstance(value, Mapping):
            found |= _formats(value)
        elif key == "Format":
            found.add(str(value).lower())
    return found


def read_emd(path: Path, dataset: str | None) -> Source:
    """A file .emd (HDF5) of an electron microscope; NaN where nothing was recorded.

    Args:
        path: file.
        dataset: number of the signal, where the file holds several.

    Returns:
        See `read_em`.

    Raises:
        InputError: see `read_em`; or numbers that lie in another file.
    """
    with ExitStack() as stack:
        tree = Tree(path, stack)
        storage, gaps, turned = Storage(tree), [], False
        for name, item in tree.datasets:
            size = storage.check(item, f"{path}::{name}")
            if item.shape is not None and item.dtype.kind in "biuf" and item.ndim >= 2:
                check_size(f"{path}::{name}", item.shape, item.dtype, size)
                # RosettaSciIO turns all axes round in files of this layout; the file has them as they are meant.
                turned |= name.endswith("/data") and "emd_group_type" in item.parent.attrs
                written = storage.recorded(item)
                if written is not None:
                    gaps.append(~written(tuple(slice(0, n) for n in item.shape)))
        if tree.refused is not None:
            raise tree.refused
    signal = _signal("rsciio.emd", path, dataset)
    if turned:
        signal["data"], signal["axes"] = np.asarray(signal["data"]).T, signal["axes"][::-1]
    source = _source_of(signal, path, dataset)
    for gap in gaps:
        # Frames are the last axis in the files of some programs, and the first one as read.
        same = [g for g in (gap, np.moveaxis(gap, -1, 0)) if g.shape == source.array.shape]
        if same:
            source.leave_out(same[0], "Parts that were never recorded")
    return source


def require(module: str, extra: str, path: Path) -> ModuleType:
    """An optional package.

    Args:
        module: name to import.
        extra: of phdenoise that installs the package.
        path: file that needs the package.

    Returns:
        The module.

    Raises:
        InputError: the package is not installed.
    """
    try:
        return import_module(module)
    except ImportError as error:
        raise InputError(
            f"{path}: reading {path.suffix} needs an optional package: "
            f"pip install 'phdenoise[{extra}]'."
        ) from error


def pick(shapes: list[str], path: Path, dataset: str | None) -> int:
    """Which of several images of a file is read.

    Args:
        shapes: of the images, in words.
        path: names the file in messages.
        dataset: number of the image, or None.

    Returns:
        Its number.

    Raises:
        InputError: several images and no number, or no such number.
    """
    if dataset is None and len(shapes) == 1:
        return 0
    if dataset is not None and dataset.isdigit() and int(dataset) < len(shapes):
        return int(dataset)
    raise InputError(
        f"{path} holds {len(shapes)} images ({', '.join(shapes) or 'none'}): pick one by its number, "
        f"{path}::0 to ::{max(len(shapes) - 1, 0)}."
    )

"""What the numbers of an HDF5 dataset mean: which stand for no measurement, and how they are scaled.

    value = scale q + offset,   q in the file           _FillValue, missing_value, valid_range: in units of q

Attributes of the CF conventions (cfconventions.org, section 8.1) and of netCDF; fields NAME_scaling_factor and NAME_offset
of NXdata (manual.nexusformat.org).
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import h5py
import numpy as np

from phdenoise.io.readers.hdf5_storage import Storage
from phdenoise.io.readers.hdf5_tree import Tree
from phdenoise.io.source import Source, Window
from phdenoise.types import InputError

# Magnitude above which a fill value that only the dataset's creation names is no measurement: netCDF fills with 9.97e36.
_NO_MEASUREMENT = 1e30
# Fill values and other exceptional values of a dataset that are looked at.
_MOST_VALUES = 64

Number = int | float
"""Integers stay exact: some fill values have more digits than a float holds."""


@dataclass(frozen=True)
class Packing:
    """How numbers are kept in a dataset.

    Attributes:
        absent: values that stand for no measurement.
        low, high: smallest and largest valid value, or None.
        scale, offset: of the intensity, scale q + offset.
        unsigned: whether signed integers mean unsigned ones.
    """

    absent: tuple[Number, ...] = ()
    low: Number | None = None
    high: Number | None = None
    scale: Number = 1.0
    offset: Number = 0.0
    unsigned: bool = False

    @property
    def scaled(self) -> bool:
        return (self.scale, self.offset) != (1.0, 0.0)

    def rule(self) -> str:
        """The values without a measurement, in words."""
        words = [f"{v:g}" for v in self.absent]
        words += [f"below {self.low:g}"] if self.low is not None else []
        words += [f"above {self.high:g}"] if self.high is not None else []
        return ", ".join(words)

    def sentence(self) -> str:
        """The scaling, in words."""
        return f"Intensities are {self.scale:g} times the stored numbers plus {self.offset:g}, as the file says."

    def raw(self, stored: np.ndarray) -> np.ndarray:
        """Numbers as the file means them, before scaling."""
        return stored.view(stored.dtype.str.replace("i", "u")) if self.unsigned else stored

    def missing(self, raw: np.ndarray) -> np.ndarray | None:
        """True where a number stands for no measurement; None where no number does."""
        if not self.absent and self.low is None and self.high is None:
            return None
        found = np.zeros(raw.shape, bool)
        for value in self.absent:
            found |= np.isnan(raw) if np.isnan(value) else raw == raw.dtype.type(value)
        if self.low is not None:
            found |= raw < self.low
        if self.high is not None:
            found |= raw > self.high
        return found

    def intensity(self, raw: np.ndarray) -> np.ndarray:
        """Scaled numbers, in double precision where 24 bits do not hold them."""
        if not self.scaled:
            return raw
        wide = raw.dtype.itemsize > (4 if raw.dtype.kind == "f" else 2)
        value = raw.astype(np.float64) * self.scale + self.offset
        return value if wide else value.astype(np.float32)


def packing(
    attrs: Mapping[str, Any],
    dtype: np.dtype,
    created: Any,
    siblings: tuple[list[Number], list[Number]],
    label: str,
) -> Packing:
    """How the numbers of an array are kept.

    Args:
        attrs: attributes of the array.
        dtype: of its numbers.
        created: fill value that the array was created with, or None.
        siblings: scales and offsets that stand beside the array.
        label: names the array in messages.

    Returns:
        Its fill values, valid range and scaling.

    Raises:
        InputError: a scaling that is zero or not finite, or two that differ.
    """
    unsigned = dtype.kind == "i" and _text(attrs.get("_Unsigned", "")).lower() == "true"
    limits = _numbers(attrs.get("valid_range"))
    low, high = limits if len(limits) == 2 else (None, None)
    low = next(iter(_numbers(attrs.get("valid_min"))), low)
    high = next(iter(_numbers(attrs.get("valid_max"))), high)
    absent = [v for key in ("_FillValue", "missing_value") for v in _numbers(attrs.get(key))]
    absent += _created_fill(dtype, created)
    values = [v for v in dict.fromkeys(absent) if _holds(dtype, v, unsigned)]
    scale = _agreed(_numbers(attrs.get("scale_factor")) + siblings[0], 1.0, label)
    offset = _agreed(_numbers(attrs.get("add_offset")) + siblings[1], 0.0, label)
    if not (math.isfinite(scale) and math.isfinite(offset)) or scale == 0:
        raise InputError(
            f"{label} has scale {scale} and offset {offset}: both must be finite, the scale not zero; correct the file."
        )
    return Packing(tuple(values), low, high, scale, offset, unsigned)


def hdf5_packing(item: h5py.Dataset, group: h5py.Group, name: str, label: str) -> Packing:
    """How the numbers of a dataset are kept, by its attributes and by the fields beside it.

    Args:
        item: dataset of the movie.
        group: in which it was found.
        name: of the dataset in the group.
        label: names the dataset in messages.

    Returns:
        See `packing`.

    Raises:
        InputError: see `packing`.
    """
    plist = item.id.get_create_plist()
    own = plist.fill_value_defined() == h5py.h5d.FILL_VALUE_USER_DEFINED
    created = item.fillvalue if own and item.dtype.kind in "iuf" else None
    beside = _sibling(group, name, "scaling_factor"), _sibling(group, name, "offset")
    return packing(item.attrs, item.dtype, created, beside, label)


def _created_fill(dtype: np.dtype, created: Any) -> list[Number]:
    """The fill value that an array was created with, where it cannot be a measurement by its size."""
    largest = np.iinfo(dtype).max if dtype.kind in "iu" else _NO_MEASUREMENT
    return [v for v in _numbers(created) if math.isnan(v) or v < 0 or v >= largest]


def _holds(dtype: np.dtype, value: Number, unsigned: bool) -> bool:
    """Whether numbers of a type can be equal to a value."""
    if dtype.kind == "f":
        return True
    if dtype.kind == "b" or not math.isfinite(value) or value != int(value):
        return False
    limits = np.iinfo(dtype.str.replace("i", "u") if unsigned else dtype)
    return bool(limits.min <= value <= limits.max)


def _sibling(group: h5py.Group, name: str, what: str) -> list[Number]:
    """The number in the field NAME_what of a group, or in the older field `what`."""
    for key in (f"{name}_{what}", what):
        item = group.get(key) if key in group else None
        if isinstance(item, h5py.Dataset) and item.shape is not None and item.size == 1:
            return _numbers(item[()])
    return []


def _agreed(values: list[Number], otherwise: Number, label: str) -> Number:
    if any(v != values[0] and not np.isclose(v, values[0], rtol=1e-6, atol=0) for v in values):
        raise InputError(f"{label} has two scalings, {values[0]:g} and {values[-1]:g}: correct one.")  # fmt: skip
    return values[0] if values else otherwise


def _numbers(value: Any) -> list[Number]:
    array = np.asarray([] if value is None else value).ravel()
    if array.dtype.kind not in "iuf":
        return []
    return list(array[:_MOST_VALUES].tolist())


def _text(value: Any) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)


class Read(NamedTuple):
    """The whole of a dataset.

    Attributes:
        values: intensities.
        absent: why -> True where nothing was measured.
        notes: sentences for the user.
    """

    values: np.ndarray
    absent: dict[str, np.ndarray]
    notes: list[str]


class Stored:
    """A dataset and what its numbers mean.

    Attributes:
        dtype: of its intensities.
    """

    def __init__(self, tree: Tree, item: h5py.Dataset, group: h5py.Group, label: str):
        self._item, self._label = item, label
        self._storage = Storage(tree)
        self._packing = hdf5_packing(item, group, label.rsplit("/", 1)[-1], label)
        self.dtype = self._packing.intensity(self._packing.raw(np.empty(0, item.dtype))).dtype

    def check(self) -> float:
        """Size of what is stored [bytes]; see `Storage.check`."""
        return self._storage.check(self._item, self._label)

    def read(self) -> Read:
        """All numbers."""
        found: dict[str, np.ndarray] = {}
        written = self._storage.recorded(self._item)
        raw = self._packing.raw(np.asarray(self._item[()]))
        if written is not None:
            there = written(tuple(slice(0, n) for n in self._item.shape))
            if there.size and not there.any():
                raise InputError(
                    f"{self._label} was created, but nothing was ever written to it: the recording did not start; "
                    "choose another dataset or file."
                )
            found["Parts that were never recorded"] = ~there
        missing = self._packing.missing(raw)
        if missing is not None:
            found[f"Values that stand for no measurement ({self._packing.rule()})"] = missing
        notes = []
        if self._packing.scaled:
            notes.append(self._packing.sentence())
        return Read(self._packing.intensity(raw), found, notes)

    def values(self, *window: slice) -> np.ndarray:
        """Intensities of a window."""
        return self._packing.intensity(self._packing.raw(self._item[window]))

    def valid(self) -> Window | None:
        """A function of frames, rows and columns: where they were measured; None where all were."""
        written, packed = self._storage.recorded(self._item), self._packing
        if written is None and packed.missing(np.empty(0, self._item.dtype)) is None:
            return None

        def valid(*window: slice) -> np.ndarray:
            there = np.ones([s.stop - s.start for s in window], bool)
            if written is not None:
                there &= written(window)
            missing = packed.missing(packed.raw(self._item[window]))
            return there if missing is None else there & ~missing

        return valid


def kept_frames(
    tree: Tree, group: h5py.Group, item: h5py.Dataset, source: Source
) -> np.ndarray | None:
    """Frames of a tomography file that are no dark and no flat field: key 0 in `image_key` (NXtomo).

    Args:
        tree: the open file.
        group: in which the dataset was found.
        item: dataset of the movie.
        source: gets a sentence.

    Returns:
        True for frames that are kept [t]; None where the file has no keys.

    Raises:
        InputError: no frame is left.
    """
    places = [group, item.parent]
    for _ in range(3):  # entry/instrument/detector/data is three groups deep
        places.append(places[-1].parent)
    names = ("image_key", "instrument/detector/image_key")
    found = (tree.get(p, n) for p in places for n in names)
    keys = next((k for k in found if isinstance(k, h5py.Dataset)), None)
    if keys is None or item.ndim != 3 or keys.shape != item.shape[:1] or keys.dtype.kind not in "iu":  # fmt: skip
        return None
    number = np.asarray(keys[()])
    if not np.any(number == 0):
        raise InputError(
            f"{tree.path} holds no frame of a sample: its image_key has no 0 (1 is a flat field, 2 a dark field)."
        )
    if np.all(number == 0):
        return None
    kinds = {1: "flat fields", 2: "dark fields", 3: "invalid"}
    counts = ", ".join(f"{np.sum(number == k)} {kinds.get(int(k), f'of key {k}')}" for k in np.unique(number[number != 0]))  # fmt: skip
    source.notes.append(f"Of {number.size} frames {np.sum(number == 0)} show the sample; {counts} were left out (image_key).")  # fmt: skip
    return number == 0

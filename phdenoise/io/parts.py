"""Movies larger than memory: a file that is read in parts, and an estimate that is written in parts.

HDF5, plain TIFF and .npy can be read in parts. The result is the native HDF5 layout (`phdenoise.io.native`), written
aside and renamed when it is complete; blind predictions are left out.
"""

import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import tifffile
from numpy.lib import format as npy

from phdenoise.io.atomic import atomic, check_writable
from phdenoise.io.hdf5 import describe, find
from phdenoise.io.native import stored_mask, write_findings, write_header
from phdenoise.io.reading import fingerprint, split
from phdenoise.io.source import Source, default_name, to_movie
from phdenoise.io.tiff import calibrate
from phdenoise.movie import Estimate, Movie
from phdenoise.types import InputError

Fetch = Callable[[slice, slice, slice], np.ndarray]

# Largest side of the chunks of an output [px], and memory for chunks that are not complete [bytes].
_CHUNK, _CACHE = 256, 16_000_000


class MovieFile:
    """A movie in an open file.

    Attributes:
        header: everything but the frames, which are zeros of the right shape and type that take no memory.
    """

    def __init__(self, header: Movie, fetch: Fetch, mask: Fetch | None = None):
        self.header = header
        self._fetch, self._mask = fetch, mask

    def read(self, frames: slice, rows: slice, columns: slice) -> tuple[np.ndarray, np.ndarray]:
        """Intensities in float32 (or float64, as the header has it), and where they are valid, both [t, y, x]."""
        values = self._fetch(frames, rows, columns).astype(self.header.frames.dtype)
        valid = np.isfinite(values)
        if self._mask is not None:
            valid &= self._mask(frames, rows, columns)
        return values, valid


@contextmanager
def open_movie(
    path: str | Path,
    *,
    pixel_size: float | tuple[float, float] | None = None,
    frame_interval: float | None = None,
    channel: str | int = "mean",
) -> Iterator[MovieFile]:
    """Open a movie [t, y, x] to read it in parts; arguments as in `phdenoise.io.read`.

    Raises:
        InputError: a file that can only be read whole.
    """
    with ExitStack() as stack:
        file, dataset = split(path)
        if channel != "mean":
            raise InputError(_whole(str(path)))
        source, shape, fetch, mask = _open(file, dataset, stack)
        dtype = np.dtype(source.array.dtype)
        wide = dtype.itemsize > (4 if dtype.kind == "f" else 2) and dtype.kind in "fiu"
        source.array = np.zeros((shape[0], 1, 1), np.float32)
        source.axes = "TYX"
        header = to_movie(
            source,
            str(path),
            name=default_name(file),
            pixel_size=pixel_size,
            frame_interval=frame_interval,
            provenance=fingerprint(file),
        )
        known = {**header.provenance, "dtype": dtype.name, "shape": list(shape)}
        frames = np.broadcast_to(np.zeros((), np.float64 if wide else np.float32), shape)
        yield MovieFile(replace(header, frames=frames, provenance=known), fetch, mask)


def movie_shape(path: str | Path) -> tuple[int, int, int]:
    """Frames, rows and columns of a movie that can be read in parts.

    Raises:
        InputError: a file that can only be read whole, or not at all.
    """
    with ExitStack() as stack:
        return _open(*split(path), stack)[1]


class EstimateFile:
    """An estimate that is being written; see `write_parts`."""

    def __init__(self, file: h5py.File, header: Movie):
        self._data, self._own = write_header(file, header)
        unit = header.intensity_unit
        self._data.attrs["signal"] = "mean"
        self._data.attrs["auxiliary_signals"] = ["variance", "noisy"]
        chunk = (1, *(min(n, _CHUNK) for n in header.shape[1:]))

        def new(group: h5py.Group, name: str, dtype: Any) -> h5py.Dataset:
            return group.create_dataset(
                name, header.shape, dtype, chunks=chunk, compression="gzip", compression_opts=1, shuffle=True
            )  # fmt: skip

        self._arrays = {
            "mean": new(self._data, "mean", np.float32),
            "variance": new(self._data, "variance", np.float32),
            "noisy": new(self._data, "noisy", header.frames.dtype),
        }
        for name, array in self._arrays.items():
            array.attrs["units"] = f"{unit}^2" if name == "variance" else unit
        self._mask = new(self._own, "mask", bool)

    def add(
        self,
        window: tuple[slice, slice, slice],
        noisy: np.ndarray,
        good: np.ndarray,
        mean: np.ndarray,
        variance: np.ndarray,
    ) -> None:
        """One part: measured and denoised intensities [t, y, x], and where they were used."""
        self._arrays["noisy"][window], self._mask[window] = noisy, good
        self._arrays["mean"][window], self._arrays["variance"][window] = mean, variance

    def finish(self, estimate: Estimate) -> None:
        """Noise, log, settings, history, weights and trust report."""
        write_findings(self._own, estimate)


@contextmanager
def write_parts(
    path: str | Path, header: Movie, *, overwrite: bool = False
) -> Iterator[EstimateFile]:
    """An estimate of the movie in `header`, to be written in parts; absent unless all went well.

    Raises:
        InputError: see `check_writable`; or the disk has not enough room.
    """
    source = header.provenance.get("path")
    check_writable(path, overwrite, inputs=[source] if source else [])
    # HDF5 on a full disk takes the interpreter with it: make sure before.
    pixels = float(np.prod(header.shape))
    need = pixels * (9 + header.frames.dtype.itemsize)
    free = shutil.disk_usage(Path(path).resolve().parent).free
    if need > free:
        raise InputError(
            f"Cannot write {path}: the result may take {need / 1e9:.1f} GB and {free / 1e9:.1f} GB are free; "
            "free space or choose another place."
        )
    with (
        atomic(path, overwrite) as temporary,
        h5py.File(temporary, "w", rdcc_nbytes=_CACHE) as file,
    ):
        yield EstimateFile(file, header)


Opened = tuple[Source, tuple[int, int, int], Fetch, Fetch | None]


def _open(file: Path, dataset: str | None, stack: ExitStack) -> Opened:
    label = f"{file}::{dataset}" if dataset else str(file)
    opener = _OPENERS.get(file.suffix.lower()) if file.is_file() else None
    if opener is None:
        raise InputError(_whole(label))
    try:
        return opener(file, dataset, stack)
    except InputError:
        raise
    except Exception as error:  # parsers of damaged files raise anything at all
        raise InputError(_whole(label)) from error


def _open_hdf5(path: Path, dataset: str | None, stack: ExitStack) -> Opened:
    file = stack.enter_context(h5py.File(path, "r"))
    item = find(file, path, dataset)
    if item.ndim != 3:
        raise InputError(_whole(f"{path}::{item.name}"))
    mask = stored_mask(file, item.name)
    fetch_mask = None
    if mask is not None:
        fetch_mask = _slices(mask if mask.ndim == 3 else mask[()])
    return describe(file, item), item.shape, _slices(item), fetch_mask


def _open_npy(path: Path, dataset: str | None, stack: ExitStack) -> Opened:
    file = stack.enter_context(path.open("rb"))
    version = npy.read_magic(file)
    read = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
    shape, fortran, dtype = read(file)
    if dataset is not None or len(shape) != 3 or fortran or dtype.kind not in "biuf":
        raise InputError(_whole(str(path)))
    return (
        Source(np.empty((shape[0], 0, 0), dtype)),
        shape,
        _raw(path, file.tell(), dtype, shape),
        None,
    )


def _open_tiff(path: Path, dataset: str | None, stack: ExitStack) -> Opened:
    file = stack.enter_context(tifffile.TiffFile(path))
    index = int(dataset or 0)
    series = file.series[index]
    shape = series.shape
    if len(shape) != 3 or series.axes[1:] != "YX" or series.axes[0] in "SC":
        raise InputError(_whole(str(path)))
    source = Source(np.empty((shape[0], 0, 0), series.dtype), dataset=dataset)
    calibrate(file, index, source)
    if series.dataoffset is not None:
        dtype = series.dtype.newbyteorder(file.byteorder)
        return source, shape, _raw(path, series.dataoffset, dtype, shape), None
    if len(series.pages) != shape[0]:
        raise InputError(_whole(str(path)))

    def fetch(frames: slice, rows: slice, columns: slice) -> np.ndarray:
        pages = (file.asarray(series=index, key=t) for t in range(frames.start, frames.stop))
        return np.stack([page[rows, columns] for page in pages])

    return source, shape, fetch, None


_OPENERS: dict[str, Callable[[Path, str | None, ExitStack], Opened]] = {
    **dict.fromkeys((".h5", ".hdf5", ".nxs"), _open_hdf5),
    **dict.fromkeys((".tif", ".tiff"), _open_tiff),
    ".npy": _open_npy,
}


def _slices(array: Any) -> Fetch:
    """Windows of an array or dataset; of one image for all frames, where it has no frames."""
    if array.ndim == 2:
        return lambda _, rows, columns: array[None, rows, columns]
    return lambda frames, rows, columns: array[frames, rows, columns]


def _raw(path: Path, offset: int, dtype: np.dtype, shape: tuple[int, ...]) -> Fetch:
    """Windows of numbers that lie one after the other; not mapped, as mapped pages count as memory."""
    _, ny, nx = shape

    def fetch(frames: slice, rows: slice, columns: slice) -> np.ndarray:
        count = (rows.stop - rows.start) * nx
        out = []
        for t in range(frames.start, frames.stop):
            start = offset + (t * ny + rows.start) * nx * dtype.itemsize
            lines = np.fromfile(path, dtype, count, offset=start)
            out.append(lines.reshape(-1, nx)[:, columns])
        return np.stack(out)

    return fetch


def _whole(label: str) -> str:
    return (
        f"{label} can only be read whole: for less memory convert it to HDF5 with one dataset [t, y, x], "
        "or give more --memory."
    )

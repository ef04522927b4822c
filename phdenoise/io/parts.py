"""Movies larger than memory: a file that is read in parts, and an estimate that is written in parts.

HDF5, plain TIFF, .npy and any format that is registered with `open_parts` can be read in parts. The result is the native HDF5 layout (`phdenoise.io.native`), written
aside and renamed when it is complete; blind predictions are left out.
"""

import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from phdenoise.io.atomic import atomic, check_writable
from phdenoise.io.native_groups import attach_axes, set_unit, write_findings, write_header
from phdenoise.io.readers import format_of
from phdenoise.io.reading import fingerprint, split
from phdenoise.io.source import Opened, Scale, Window, default_name, only_whole
from phdenoise.io.to_movie import falls, to_movie
from phdenoise.movie import Estimate, Movie
from phdenoise.types import InputError

# Largest side of the chunks of an output [px]: a chunk of float32 is then 256 kB, which the cache of HDF5 holds many of.
_CHUNK = 256
# Memory for chunks of an output that are not complete [bytes].
_CACHE = 16_000_000


class MovieFile:
    """A movie in an open file.

    Attributes:
        header: everything but the frames, which are zeros of the right shape and type that take no memory.
    """

    def __init__(self, header: Movie, values: Window, valid: Window | None = None):
        self.header = header
        self._values, self._valid = values, valid

    def read(self, frames: slice, rows: slice, columns: slice) -> tuple[np.ndarray, np.ndarray]:
        """A window of the movie.

        Args:
            frames, rows, columns: slices with a start and a stop.

        Returns:
            Intensities in the number type of the header, and where they are valid, both [t, y, x].
        """
        values = self._values(frames, rows, columns).astype(self.header.frames.dtype)
        valid = np.isfinite(values)
        if self._valid is not None:
            valid &= self._valid(frames, rows, columns)
        return values, valid


@contextmanager
def open_movie(
    path: str | Path,
    *,
    pixel_size: float | tuple[float, float] | None = None,
    frame_interval: float | None = None,
    channel: str | int = "mean",
    override: bool = True,
) -> Iterator[MovieFile]:
    """Open a movie [t, y, x] to read it in parts.

    Args:
        path: `FILE` or `FILE::DATASET`.
        pixel_size: dx or (dy, dx) [um]; replaces what the file says.
        frame_interval: time between frames [s]; replaces what the file says.
        channel: must be "mean", as a movie of several channels can only be read whole.
        override: whether both may contradict the file; False refuses a contradiction.

    Raises:
        InputError: a file that can only be read whole.
    """
    with ExitStack() as stack:
        if channel != "mean":
            raise only_whole(path)
        source, shape, values, valid = _open(path, stack)
        if falls(source.times, shape[0]):
            raise only_whole(path)
        dtype = np.dtype(source.array.dtype)
        file = split(path)[0]
        wide = dtype.itemsize > (4 if dtype.kind == "f" else 2) and dtype.kind in "fiu"
        source.array = np.zeros((shape[0], 1, 1), np.float32)
        source.axes = "TYX"
        header = to_movie(
            source,
            str(path),
            Scale(pixel_size, frame_interval, override=override),
            name=default_name(file),
            provenance=fingerprint(file),
        )
        known = {**header.provenance, "dtype": dtype.name, "shape": list(shape)}
        frames = np.broadcast_to(np.zeros((), np.float64 if wide else np.float32), shape)
        yield MovieFile(replace(header, frames=frames, provenance=known), values, valid)


def movie_shape(path: str | Path) -> tuple[int, int, int]:
    """Frames, rows and columns of a movie that can be read in parts.

    Raises:
        InputError: a file that can only be read whole, or not at all.
    """
    with ExitStack() as stack:
        return _open(path, stack).shape


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
            set_unit(array, unit, 2 if name == "variance" else 1)
        attach_axes(self._data)
        self._mask = new(self._own, "mask", bool)

    def add(
        self,
        window: tuple[slice, slice, slice],
        noisy: np.ndarray,
        good: np.ndarray,
        mean: np.ndarray,
        variance: np.ndarray,
    ) -> None:
        """Write one part of the movie.

        Args:
            window: frames, rows and columns.
            noisy: measured intensities [t, y, x].
            good: where they were used [t, y, x].
            mean, variance: of the denoised intensities [t, y, x].
        """
        self._arrays["noisy"][window], self._mask[window] = noisy, good
        self._arrays["mean"][window], self._arrays["variance"][window] = mean, variance

    def finish(self, estimate: Estimate) -> None:
        """Noise, log, settings, history, weights and trust report."""
        write_findings(self._own, estimate)


@contextmanager
def write_parts(
    path: str | Path, header: Movie, *, overwrite: bool = False
) -> Iterator[EstimateFile]:
    """An estimate that is written in parts; the file is absent unless all went well.

    Args:
        path: HDF5 file to write.
        header: the movie that was denoised; its frames are not read.
        overwrite: whether an existing file may be replaced.

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


def _open(path: str | Path, stack: ExitStack) -> Opened:
    file, dataset = split(path)
    found = format_of(file) if file.is_file() else None
    label = f"{file}::{dataset}" if dataset else str(file)
    if found is None or found.open_parts is None:
        raise only_whole(label)
    try:
        return found.open_parts(file, dataset, stack)
    except InputError:
        raise
    except Exception as error:  # parsers of damaged files raise anything at all
        raise only_whole(label) from error

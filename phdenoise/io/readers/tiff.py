"""TIFF: any number type, pages, ImageJ hyperstacks and OME, with pixel size and frame interval."""

import logging
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import numpy as np
import tifffile

from phdenoise.io.limits import check_size
from phdenoise.io.readers import tiff_pages as pages
from phdenoise.io.readers.tiff_scale import calibrate
from phdenoise.io.source import Opened, Source, only_whole, stand_in, windows_of_bytes
from phdenoise.types import InputError


def read_tiff(path: Path, dataset: str | None) -> Source:
    """One series of a TIFF file with its calibration.

    Args:
        path: file.
        dataset: number of the series; None takes the first.

    Returns:
        The series with its axes, pixel size, times and channel names; NaN where a plane is missing.

    Raises:
        InputError: no such series, pages that differ, a packing that is not known, or a damaged file.
    """
    if dataset is not None and not dataset.isdigit():
        raise InputError(
            f"{path}::{dataset}: a TIFF file has numbered series; use {path}::0, or no '::' at all."
        )
    index = int(dataset or 0)
    with _complaints() as complaints, _opened(path) as (file, offsets):
        count = _count(path, file, offsets)
        if index >= count:
            raise InputError(f"{path} has {count} series, so ::{index} does not exist: use 0.")
        if dataset is None and pages.is_split(file):
            source = _read_split(path, file, offsets)
        else:
            source = _read_series(path, file, offsets, dataset)
        calibrate(file, index, source)
    # tifffile logs a broken chain of pages and goes on with the pages it found.
    if complaints:
        raise InputError(
            f"{path} is truncated or damaged ({complaints[0].splitlines()[0]}): copy it again."
        )
    return source


def _read_series(
    path: Path, file: tifffile.TiffFile, offsets: list[int], dataset: str | None
) -> Source:
    """The named or first series."""
    count, series = len(file.series), file.series[int(dataset or 0)]
    if dataset is None:
        pages.check_order(path, file)
    pages.check_codec(path, series.keyframe)
    check_size(path, series.shape, series.dtype, _stored(path, series))
    alike, sparse = pages.check_equal(path, series)
    if alike or any(page is None for page in series.pages):
        array = series.asarray()
    else:
        own = [p.aspage().asarray() for p in series.pages if p is not None]
        array = np.stack(own).reshape(series.shape)
    source = Source(array, axes=series.axes, dataset=dataset)
    if count > 1 and dataset is None:
        shapes = ", ".join(str(s.shape) for s in file.series[:6])
        source.notes.append(f"The first of {count} series (shapes {shapes}) was taken.")
    announced = pages.announced(file, series, offsets)
    if announced is not None:
        source.notes.append(announced)
    pages.leave_out_absent(series, sparse, source)
    pages.apply_meaning(file, series, source)
    return source


def _read_split(path: Path, file: tifffile.TiffFile, offsets: list[int]) -> Source:
    """Equal pages that are packed in different ways."""
    found = pages.chain_of_pages(path, file, offsets)
    for page in found:
        pages.check_codec(path, page)
    first = found[0]
    check_size(path, (len(found), *first.shape), np.dtype(first.dtype), path.stat().st_size)
    source = Source(np.stack([page.asarray() for page in found]), axes=f"I{first.axes}")
    pages.apply_meaning(file, file.series[0], source)
    return source


def _count(path: Path, file: tifffile.TiffFile, offsets: list[int]) -> int:
    """Number of series."""
    try:
        return len(file.series)
    except RuntimeError:  # tifffile takes pages for equal by a sample of them
        pages.chain_of_pages(path, file, offsets)
        raise


def open_tiff(path: Path, dataset: str | None, stack: ExitStack) -> Opened:
    """Open a series [t, y, x] to read windows of it.

    Args:
        path: file.
        dataset: number of the series; None takes the first.
        stack: closes the file.

    Returns:
        The open file.

    Raises:
        InputError: a series that can only be read whole.
    """
    file, offsets = stack.enter_context(_opened(path))
    index = int(dataset or 0)
    _count(path, file, offsets)
    series = file.series[index]
    shape = series.shape
    if len(shape) != 3 or series.axes[1:] != "YX" or series.axes[0] in "SC":
        raise only_whole(path)
    pages.check_order(path, file)
    pages.check_codec(path, series.keyframe)
    alike, sparse = pages.check_equal(path, series)
    if sparse or not alike or pages.is_split(file) or not pages.is_plain(file, series):
        raise only_whole(path)
    source = Source(stand_in(shape[0], series.dtype), dataset=dataset)
    calibrate(file, index, source)
    if series.dataoffset is not None:
        dtype = series.dtype.newbyteorder(file.byteorder)
        return Opened(source, shape, windows_of_bytes(path, series.dataoffset, dtype, shape))
    if len(series.pages) != shape[0]:
        raise only_whole(path)

    def fetch(frames: slice, rows: slice, columns: slice) -> np.ndarray:
        whole = (file.asarray(series=index, key=t) for t in range(frames.start, frames.stop))
        return np.stack([frame[rows, columns] for frame in whole])

    return Opened(source, shape, fetch)


@contextmanager
def _opened(path: Path) -> Iterator[tuple[tifffile.TiffFile, list[int]]]:
    """The open file, whose pages end and which leads to no other place, and the offsets of its pages."""
    offsets = pages.page_offsets(path)
    with tifffile.TiffFile(path) as file:
        if file.is_ome and file.ome_metadata:
            pages.check_ome(path, file.ome_metadata)
        if not (file.is_shaped and pages.is_misdescribed(file, offsets)):
            yield file, offsets
            return
    with tifffile.TiffFile(path, is_shaped=False) as file:
        yield file, offsets


def _stored(path: Path, series: tifffile.TiffPageSeries) -> float:
    """Size of the file and of those beside it that have a part of the series [bytes]."""
    others = {p.parent.filehandle.path for p in series.pages if p is not None}
    return float(sum(Path(o).stat().st_size for o in {str(path), *others} if Path(o).is_file()))


@contextmanager
def _complaints() -> Iterator[list[str]]:
    """Collect what tifffile reports as errors, and keep them off the screen."""
    found: list[str] = []

    class Collect(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if record.levelno >= logging.ERROR:
                found.append(record.getMessage())

    logger, handler = logging.getLogger("tifffile"), Collect()
    propagate = logger.propagate
    logger.addHandler(handler)
    logger.propagate = False
    try:
        yield found
    finally:
        logger.removeHandler(handler)
        logger.propagate = propagate

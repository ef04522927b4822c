"""Pages of a TIFF file: that they end, are alike, can be unpacked, and were all recorded."""

import json
import struct
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple
from xml.etree import ElementTree

import numpy as np
import tifffile

from phdenoise.io.limits import check_inside
from phdenoise.io.source import Source
from phdenoise.types import InputError

# Sizes of the numbers in the header of TIFF and of BigTIFF by the version in it: of a count of tags, of a tag, of an offset.
_LAYOUT = {42: ("H", 12, "I"), 43: ("Q", 20, "Q")}
# Tags of one page that are believed; the library that reads the pages has the same limit.
_MOST_TAGS = 4096
# Planes that the XML of OME may announce.
_MOST_PLANES = 10_000_000
# Value of the tag PhotometricInterpretation for a palette (TIFF 6.0, section 5), and for zeros that are white.
_PALETTE, _WHITE_IS_ZERO = 3, 0


def page_offsets(path: Path) -> list[int]:
    """Where the pages lie in a file; pages that lead in a circle are refused.

    Args:
        path: file.

    Returns:
        Offsets in the order of the pages [bytes]; up to the first that is damaged.

    Raises:
        InputError: a page that leads to an earlier one.
    """
    with path.open("rb") as file:
        head = file.read(16)
        order = {b"II": "<", b"MM": ">"}.get(head[:2])
        version = struct.unpack(f"{order or '<'}H", head[2:4])[0] if len(head) == 16 else 0
        if order is None or version not in _LAYOUT:
            return []  # the library says what is wrong
        count, tag, offset = _LAYOUT[version]
        width = struct.calcsize(f"={offset}")
        place = struct.unpack(f"{order}{offset}", head[8:16] if version == 43 else head[4:8])[0]
        seen: dict[int, None] = {}
        while place:
            if place in seen:
                raise InputError(
                    f"{path} is damaged: page {len(seen)} leads back to an earlier page; copy it again."
                )
            seen[place] = None
            file.seek(place)
            raw = file.read(struct.calcsize(f"={count}"))
            tags = struct.unpack(f"{order}{count}", raw)[0] if len(raw) in (2, 8) else _MOST_TAGS + 1  # fmt: skip
            if tags > _MOST_TAGS:
                break
            file.seek(tags * tag, 1)
            raw = file.read(width)
            place = struct.unpack(f"{order}{offset}", raw)[0] if len(raw) == width else 0
    return list(seen)


def check_ome(path: Path, xml: str) -> None:
    """Refuse the XML of OME that names files in other places, or more planes than there can be.

    Args:
        path: file.
        xml: description of the file.

    Raises:
        InputError: see above.
    """
    root = ElementTree.fromstring(xml)
    for item in root.iter():
        name = item.tag.rsplit("}", 1)[-1]
        if name == "UUID" and "FileName" in item.attrib:
            check_inside(path, item.attrib["FileName"])
        sizes = [item.get(k, "1") for k in ("PlaneCount", "NumPlanes", "IFD")]
        if name == "Pixels":
            sizes = [str(np.prod([float(item.get(f"Size{a}", 1)) for a in "TCZ"]))]
        if any(not 0 <= float(s) <= _MOST_PLANES for s in sizes):
            raise InputError(
                f"{path} announces {max(sizes, key=float)} planes in its OME description, which no file holds: it is damaged."
            )


def check_codec(path: Path, page: tifffile.TiffPage) -> None:
    """Refuse pages that cannot be unpacked here, and name the package that unpacks them.

    Args:
        path: file.
        page: first page of the series.

    Raises:
        InputError: the package is missing, or no package knows the packing.
    """
    name = getattr(page.compression, "name", str(page.compression))
    try:
        tifffile.TIFF.DECOMPRESSORS[page.compression]
        tifffile.TIFF.UNPREDICTORS[page.predictor]
        if find_spec("imagecodecs") is None or sys.modules.get("imagecodecs", True) is None:
            page.asarray()  # some packings need the package only when they are unpacked
    except (KeyError, ImportError) as error:
        if isinstance(error, ImportError) or "imagecodecs" in str(error):
            raise InputError(
                f"{path} is packed with {name}, which needs an optional package: pip install imagecodecs "
                "(or 'phdenoise[codecs]')."
            ) from error
        raise InputError(
            f"{path} is packed with {name}, which cannot be unpacked: save it without compression."
        ) from error


class Pages(NamedTuple):
    """What the pages of a series are like.

    Attributes:
        alike: all are packed as the first, whose tags describe them all.
        sparse: pages of which some strips or tiles have no bytes, by their place in the series.
    """

    alike: bool
    sparse: dict[int, tifffile.TiffPage]


def check_equal(path: Path, series: tifffile.TiffPageSeries) -> Pages:
    """Refuse pages of another size or number type than the first.

    Args:
        path: file.
        series: to read.

    Returns:
        What the pages are like.

    Raises:
        InputError: the page is named.
    """
    first, alike, sparse = series.keyframe, True, {}
    for k, page in enumerate(series.pages):
        if page is None or not page.offset or getattr(page, "is_virtual", False):
            continue
        own = page.aspage() if isinstance(page, tifffile.TiffFrame) else page
        if (own.shape, own.dtype) != (first.shape, first.dtype):
            raise _odd_page(path, own, k, first)
        alike &= own.hash == first.hash
        if not all(own.databytecounts):
            sparse[k] = own
    return Pages(alike, sparse)


def chain_of_pages(
    path: Path, file: tifffile.TiffFile, offsets: list[int]
) -> list[tifffile.TiffPage]:
    """All pages of a file, each with its own tags.

    Args:
        path: file.
        file: the open file.
        offsets: of the pages.

    Returns:
        The pages, of one size and number type.

    Raises:
        InputError: a page of another kind is named.
    """
    found: list[tifffile.TiffPage] = []
    for k, offset in enumerate(offsets):
        file.filehandle.seek(offset)
        page = tifffile.TiffPage(file, index=k)
        if found and (page.shape, page.dtype) != (found[0].shape, found[0].dtype):
            raise _odd_page(path, page, k, found[0])
        found.append(page)
    return found


def is_misdescribed(file: tifffile.TiffFile, offsets: list[int]) -> bool:
    """Whether the shape in the description of a file is not that of its pages.

    Args:
        file: the open file.
        offsets: of its pages.

    Returns:
        True where the pages must be believed instead.
    """
    first = file.pages.first
    try:
        said = json.loads(first.description).get("shape", [])
        numbers = float(np.prod([float(n) for n in said]))
    except (ValueError, TypeError, AttributeError):  # no JSON, or no numbers
        return True
    if len(offsets) < 2 or numbers == len(offsets) * np.prod(first.shape):
        return False
    # Each series of a file has a description of its own.
    return not any(page.aspage().is_shaped for page in file.pages[1:])


def announced(
    file: tifffile.TiffFile, series: tifffile.TiffPageSeries, offsets: list[int]
) -> str | None:
    """A sentence where ImageJ or OME announce another number of planes than there are.

    Args:
        file: the open file.
        series: that is read.
        offsets: of the pages.

    Returns:
        The sentence, or None.
    """
    planes = len(series.pages)
    if planes == 1:
        planes = int(np.prod(series.shape)) // max(int(np.prod(series.keyframe.shape)), 1)
    if file.is_imagej and file.imagej_metadata:
        said = file.imagej_metadata.get("images", planes)
        if said != planes:
            return f"ImageJ's description announces {said} images, the file holds {planes}: those were taken."
    if file.is_ome and len(file.series) == 1 and len(offsets) > planes:
        return f"The file has {len(offsets)} pages, its OME description names {planes}: those were taken."
    return None


def is_split(file: tifffile.TiffFile) -> bool:
    """Whether equal pages that are packed in different ways became several series."""
    firsts = [s.keyframe for s in file.series]
    kinds = {(p.shape, p.dtype, p.photometric) for p in firsts if isinstance(p.index, int)}
    return len(firsts) > 1 and len(kinds) == 1 and file.series[0].kind == "generic"


def is_plain(file: tifffile.TiffFile, series: tifffile.TiffPageSeries) -> bool:
    """Whether the numbers of a series are all there, and are intensities as they are.

    Args:
        file: the open file.
        series: to read.

    Returns:
        False where `leave_out_absent` or `apply_meaning` may change the numbers.
    """
    first = series.keyframe
    about = (file.imagej_metadata or {}) if file.is_imagej else {}
    whole = all(p is not None for p in series.pages)
    return whole and first.photometric != _PALETTE and 42113 not in first.tags and "cf" not in about


def check_order(path: Path, file: tifffile.TiffFile) -> None:
    """Refuse a file whose first series has a page of another kind in its middle.

    Args:
        path: file.
        file: the open file.

    Raises:
        InputError: the page is named.
    """
    first, *others = file.series
    if first.kind not in ("generic", "uniform"):
        return
    at = [p.index for p in first.pages if p is not None and isinstance(p.index, int)]
    for page in (p for s in others for p in s.pages if p is not None):
        if at and isinstance(page.index, int) and min(at) < page.index < max(at):
            raise _odd_page(path, page, page.index, first.keyframe)


def _odd_page(path: Path, page: Any, number: int, first: Any) -> InputError:
    return InputError(
        f"{path}: page {number} (from 0) is {page.shape} {page.dtype}, but the first is {first.shape} {first.dtype}: a movie "
        "needs equal pages; save it without that page."
    )


def leave_out_absent(
    series: tifffile.TiffPageSeries, sparse: dict[int, tifffile.TiffPage], source: Source
) -> None:
    """NaN where the file has no plane for what it announces, or no bytes for a part of a plane.

    Args:
        series: that was read.
        sparse: pages of which some strips or tiles have no bytes.
        source: its array; changed in place.
    """
    pages, first = series.pages, series.keyframe
    inner = first.shape
    if source.array.size != len(pages) * int(np.prod(inner)):
        return
    missing = np.array([page is None for page in pages])
    planes = source.array.shape[: source.array.ndim - len(inner)]
    if missing.any() and np.prod(planes) == len(pages):
        source.leave_out(
            missing.reshape(planes), "Planes that the file announces but does not hold"
        )
    if sparse and np.prod(planes) == len(pages):
        absent = np.zeros((len(pages), *inner), bool)
        for k, page in sparse.items():
            absent[k] = _empty(page)
        source.leave_out(absent.reshape(source.array.shape), "Parts without stored numbers")


def _empty(page: tifffile.TiffPage) -> np.ndarray:
    """Where strips or tiles of a page have no bytes."""
    sizes = np.asarray(page.databytecounts)
    grid = tuple(page.chunked)
    if sizes.size != np.prod(grid):
        return np.full(page.shape, not sizes.any())
    places = [np.arange(n) // c for n, c in zip(page.shape, page.chunks, strict=True)]
    found: np.ndarray = (sizes == 0).reshape(grid)[np.ix_(*places)]
    return found


def apply_meaning(file: tifffile.TiffFile, series: tifffile.TiffPageSeries, source: Source) -> None:
    """What the numbers mean: indices of a palette, a value for no measurement, a scaling of ImageJ.

    Args:
        file: the open file.
        series: that was read.
        source: changed in place.
    """
    first = series.keyframe
    if first.photometric == _WHITE_IS_ZERO:
        source.notes.append("The file shows zeros as white; its numbers are taken as they are.")
    # Cameras give colours as integers.
    if first.photometric == tifffile.PHOTOMETRIC.RGB and series.dtype.kind == "f":
        source.notes.append(
            f"The {series.sizes.get('sample', 3)} float planes of the file are tagged as red, green and blue, which colours of a "
            "camera seldom are: if they are frames or other channels, save them with photometric='minisblack'."
        )
    if first.photometric == _PALETTE and first.colormap is not None:
        _apply_palette(file, first.colormap, source)
    # GDAL's value for pixels without data.
    nodata = first.tags.get(42113)
    value = _number(nodata.value) if nodata is not None else None
    if value is not None:
        equal = np.isnan(source.array) if np.isnan(value) else source.array == value
        source.leave_out(equal, f"Values that stand for no measurement ({value:g})")
    about = (file.imagej_metadata or {}) if file.is_imagej else {}
    # ImageJ's function 0 is a straight line, c0 + c1 v; 16-bit signed movies are kept so.
    if about.get("cf") == 0 and "c0" in about and "c1" in about:
        offset, scale = float(about["c0"]), float(about["c1"])
        source.array = source.as_float() * source.array.dtype.type(scale) + source.array.dtype.type(
            offset
        )
        source.notes.append(f"Intensities are {scale:g} times the stored numbers plus {offset:g}, as ImageJ calibrated them.")  # fmt: skip


def _apply_palette(file: tifffile.TiffFile, colours: np.ndarray, source: Source) -> None:
    """Indices are intensities where the palette brightens steadily, or ImageJ wrote it; otherwise they become colours."""
    used = colours[:, : int(source.array.max()) + 1].astype(np.float64)
    # Luminance of red, green and blue (ITU-R BT.601).
    bright = np.array([0.299, 0.587, 0.114]) @ used
    rising = bool(np.all(np.diff(bright) >= 0))
    if file.is_imagej or file.is_ome or rising:
        source.notes.append(
            "The file has a palette: the indices are taken as intensities"
            + (", whose colours brighten steadily." if rising else ", as ImageJ and OME mean them.")
        )
        return
    full = 255 if np.all(colours % 257 == 0) else 65535
    table = (colours // 257).astype(np.uint8) if full == 255 else colours
    source.array = np.moveaxis(table[:, source.array], 0, -1)
    source.axes += "S"
    source.notes.append(
        "The file has a palette whose colours are in no order: its indices are no intensities, and became the red, green and "
        "blue of the palette."
    )


def _number(text: object) -> float | None:
    try:
        return float(str(text).strip().strip("\x00"))
    except ValueError:
        return None

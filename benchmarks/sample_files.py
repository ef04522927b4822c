"""Small files of formats that few libraries write, packed byte by byte as their standards say; they share no code with phdenoise."""

import struct
from pathlib import Path
from typing import Any, ClassVar

import h5py
import numpy as np

MRC_MODES = {"i1": 0, "i2": 1, "f4": 2, "u2": 6, "f2": 12}
"""Number types of MRC2014 and their modes."""


def mrc_file(path, array, order="<", *, space_group=0, extended=b"", extra=b"", voxel=(0.0, 0.0)):
    """A file by the standard: 256 words of header, the extended header, the numbers."""
    nz, ny, nx = array.shape if array.ndim == 3 else (1, *array.shape)
    mode = MRC_MODES[array.dtype.str[1:]]
    head = bytearray(1024)
    struct.pack_into(f"{order}10i", head, 0, nx, ny, nz, mode, 0, 0, 0, nx, ny, max(nz, 1))
    struct.pack_into(f"{order}3f", head, 40, voxel[1] * nx, voxel[0] * ny, 1.0 * nz)
    struct.pack_into(f"{order}3f3i", head, 52, 90, 90, 90, 1, 2, 3)
    struct.pack_into(f"{order}2i", head, 88, space_group, len(extended))
    head[104:108], head[208:212] = b"FEI1", b"MAP "
    head[152 : 152 + len(extra)] = extra
    head[212:216] = b"\x44\x44\0\0" if order == "<" else b"\x11\x11\0\0"
    path.write_bytes(bytes(head) + extended + array.astype(array.dtype.newbyteorder(order)).tobytes())  # fmt: skip
    return path


def card(key, value):
    """One line of a header, of 80 characters."""
    text = f"{value}" if isinstance(value, int | float) else f"'{value}'"
    text = {True: "T", False: "F"}[value] if isinstance(value, bool) else text
    return f"{key:8}= {text:>20}".ljust(80)


def fits_file(path, raw, **cards):
    """A file of big-endian numbers by the standard alone, without a library."""
    bits = {"u1": 8, "i2": 16, "i4": 32, "i8": 64, "f4": -32, "f8": -64}[raw.dtype.str[1:]]
    lines = [card("SIMPLE", True), card("BITPIX", bits), card("NAXIS", raw.ndim)]
    lines += [card(f"NAXIS{k + 1}", n) for k, n in enumerate(raw.shape[::-1])]
    lines += [card(k, v) for k, v in cards.items()] + ["END".ljust(80)]
    head = "".join(lines).encode()
    data = raw.astype(raw.dtype.newbyteorder(">")).tobytes()
    blocks = [part + pad * (-len(part) % 2880) for part, pad in ((head, b" "), (data, b"\0"))]
    path.write_bytes(b"".join(blocks))
    return path


class Dm3:
    """Bytes of a DM3 file: structure in big-endian order, values in the order of the file."""

    # Number type -> codes of the value and of the image.
    CODES: ClassVar = {"i2": (2, 1), "i4": (3, 7), "u2": (4, 10), "u4": (5, 11), "f4": (6, 2), "f8": (7, 12), "i1": (9, 9), "u1": (10, 6)}  # fmt: skip

    def __init__(self, order="<"):
        self.order = order

    def entry(self, name, kind, body):
        return struct.pack(">BH", kind, len(name)) + name.encode() + body

    def group(self, name, *entries):
        return self.entry(name, 20, struct.pack(">BBI", 0, 0, len(entries)) + b"".join(entries))

    def number(self, name, value, kind="u4"):
        code = self.CODES[kind][0]
        raw = np.array(value, self.order + kind).tobytes()
        return self.entry(name, 21, b"%%%%" + struct.pack(">II", 1, code) + raw)

    def text(self, name, value):
        raw = value.encode("utf-16-le" if self.order == "<" else "utf-16-be")
        return self.entry(name, 21, b"%%%%" + struct.pack(">IIII", 3, 20, 4, len(value)) + raw)

    def array(self, name, values):
        code = self.CODES[values.dtype.str[1:]][0]
        raw = values.astype(values.dtype.newbyteorder(self.order)).tobytes()
        return self.entry(name, 21, b"%%%%" + struct.pack(">IIII", 3, 20, code, values.size) + raw)

    def image(self, values, units, scales, tags=()):
        axes = [self.group("", self.number("Origin", 0, "f4"), self.number("Scale", s, "f4"), self.text("Units", u)) for u, s in zip(units[::-1], scales[::-1], strict=True)]  # fmt: skip
        bright = [self.number("Origin", 0, "f4"), self.number("Scale", 1, "f4"), self.text("Units", "")]  # fmt: skip
        calibrations = self.group("Calibrations", self.group("Brightness", *bright), self.group("Dimension", *axes))  # fmt: skip
        data = self.group(
            "ImageData",
            calibrations,
            self.array("Data", values),
            self.number("DataType", self.CODES[values.dtype.str[1:]][1]),
            self.group("Dimensions", *(self.number("", n) for n in values.shape[::-1])),
            self.number("PixelDepth", values.dtype.itemsize),
        )
        return self.group("", data, self.group("ImageTags", *tags), self.text("Name", "m"))

    def file(self, *images):
        root = [self.group("ImageList", *images), self.group("DocumentObjectList"), self.number("InImageMode", 1)]  # fmt: skip
        body = struct.pack(">BBI", 0, 0, len(root)) + b"".join(root)
        return struct.pack(">III", 3, len(body), int(self.order == "<")) + body + bytes(8)


def ser(path, frames, valid=None, kind=2):
    """A series of images of TIA: header, images with a calibration each, offsets, and tags of time."""
    count, (ny, nx) = len(frames), frames[0].shape
    text = b"Number"
    size = 34 + 4 + 4 + 8 + 8 + 4 + 4 + len(text) + 4 + 4
    images, offsets, tags = b"", [], b""
    code = {"u1": 1, "u2": 2, "u4": 3, "i1": 4, "i2": 5, "i4": 6, "f4": 7, "f8": 8}[frames.dtype.str[1:]]  # fmt: skip
    for frame in frames:
        offsets.append(size + len(images))
        images += struct.pack("<ddiddiHii", 0, 2e-9, 0, 0, 4e-9, 0, code, nx, ny)
        images += frame.astype("<" + frame.dtype.str[1:]).tobytes()
        tags += struct.pack("<HHI", 0x4152, 0, 1_700_000_000 + len(offsets))
        images += tags[-8:]
    table = size + len(images)
    head = struct.pack("<HHHIIIIQI", 0x4949, 0x0197, 0x0220, 0x4122, 0x4152, count, valid or count, table, 1)  # fmt: skip
    head += struct.pack("<IddiI", count, 0, 1, 0, len(text)) + text + struct.pack("<I", 0)
    head += bytes(size - len(head))
    path.write_bytes(head + images + struct.pack(f"<{2 * count}Q", *offsets, *offsets))
    return path


def emd(path, array, chunks=None, written=None):
    """An EMD file in the layout of NCEM."""
    with h5py.File(path, "w") as file:
        file.attrs["version_major"], file.attrs["version_minor"] = 0, 2
        group = file.create_group("data/movie")
        group.attrs["emd_group_type"] = 1
        data = group.create_dataset("data", array.shape, array.dtype, chunks=chunks)
        data[:written] = array[:written]
        for k, (name, unit, n) in enumerate(zip(("time", "y", "x"), ("[s]", "[n_m]", "[n_m]"), array.shape, strict=True)):  # fmt: skip
            axis = group.create_dataset(f"dim{k + 1}", data=2.0 * np.arange(n))
            axis.attrs["name"], axis.attrs["units"] = name, unit
    return path


def ole(path: Path, streams: dict[str, bytes]) -> Path:
    """A compound file (MS-CFB) with streams in folders, as full-field X-ray microscopes write them.

    Args:
        path: to write.
        streams: name with its folders, "ImageInfo/ImageWidth" -> bytes; zeros follow up to 4096 bytes, below which streams
            would lie in a stream of their own.

    Returns:
        The path.
    """
    entries: list[dict[str, Any]] = [{"name": "Root Entry", "kind": 5, "inside": []}]
    folders = {"": 0}
    for name, data in streams.items():
        folder, _, last = name.rpartition("/")
        if folder not in folders:
            folders[folder] = len(entries)
            entries[0]["inside"].append(len(entries))
            entries.append({"name": folder, "kind": 1, "inside": []})
        entries[folders[folder]]["inside"].append(len(entries))
        data = data.ljust(4096, b"\0")
        entries.append({"name": last, "kind": 2, "data": data, "inside": []})
    end, free, table = 0xFFFFFFFE, 0xFFFFFFFF, 0xFFFFFFFD
    sectors: list[bytes] = [b""]  # the first holds the table of the chains
    chains: list[int] = [table]

    def store(data: bytes) -> int:
        parts = [data[k : k + 512].ljust(512, b"\0") for k in range(0, len(data), 512)]
        first = len(sectors)
        sectors.extend(parts)
        chains.extend([*range(first + 1, first + len(parts)), end][: len(parts)])
        return first if parts else end

    right = {k: n for e in entries for k, n in zip(e["inside"], e["inside"][1:], strict=False)}
    rows = b""
    for k, e in enumerate(entries):
        text = (e["name"] + "\0").encode("utf-16-le")
        data = e.get("data", b"")
        below = e["inside"][0] if e["inside"] else free
        rows += text.ljust(64, b"\0") + struct.pack("<HBB", len(text), e["kind"], 1)
        rows += struct.pack("<III", free, right.get(k, free), below) + bytes(36)
        rows += struct.pack("<IQ", store(data) if data else end, len(data))
    directory = store(rows.ljust(-(-len(rows) // 512) * 512, b"\0"))
    assert len(chains) <= 128, "more than one sector of chains"
    sectors[0] = struct.pack("<128I", *chains, *[free] * (128 - len(chains)))
    head = bytes.fromhex("d0cf11e0a1b11ae1") + bytes(16) + struct.pack("<HHHHH6x", 0x3E, 3, 0xFFFE, 9, 6)  # fmt: skip
    head += struct.pack("<10I", 0, 1, directory, 0, 4096, end, 0, end, 0, 0)
    head = head.ljust(512, b"\xff")
    path.write_bytes(head + b"".join(sectors))
    return path

"""Mutated files for every reader: none may crash the process, hang, take memory, or fail without a sentence.

    python benchmarks/fuzz_readers.py --files 10000 --seed 0
    python benchmarks/fuzz_readers.py --readers hdf5 tiff --files 500

Small valid files are mutated with a seed: bits and bytes are changed, numbers of four and eight bytes become extreme, blocks are
cut out, doubled, moved or overwritten. Each is read in a process with a limit of memory, which another process watches. A file
counts as good if it is read or refused with an `InputError` within the limits.
"""

import argparse
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import tifffile

from benchmarks import sample_files
from phdenoise.io.reading import read
from phdenoise.types import InputError

# Processor time [s] and time in all [s] that one file may take, and memory above that of the libraries [bytes].
LONGEST, WAITED, MEMORY = 5.0, 60.0, 2**30
COUNTS = np.random.default_rng(0).poisson(300, (4, 24, 20)).astype(np.uint16)

Maker = Callable[[Path], Path]


def _hdf5(path: Path) -> Path:
    """Contiguous, packed, virtual and stopped datasets, NeXus groups, links and attributes."""
    with h5py.File(path / "m.h5", "w") as file:
        entry = file.create_group("entry")
        entry.attrs["NX_class"], entry.attrs["default"] = "NXentry", "data"
        group = entry.create_group("data")
        group.attrs.update(NX_class="NXdata", signal="counts", axes=["time", "y", "x"])
        group.create_dataset("counts", data=COUNTS, chunks=(1, 24, 20), compression="gzip")
        group["counts"].attrs.update(_FillValue=np.uint16(65535), scale_factor=0.5, units="counts")
        group["time"], group["y"], group["x"] = np.arange(4.0), np.arange(24.0), np.arange(20.0)
        file["link"] = h5py.SoftLink("/entry/data/counts")
        file.create_dataset("plain", data=COUNTS)
    return path / "m.h5"


def _stopped(path: Path) -> Path:
    """A virtual dataset of a recording that stopped."""
    with h5py.File(path / "m.nxs", "w", libver="latest") as file:
        raw = file.create_dataset("raw", COUNTS.shape, "u2", chunks=(1, 24, 20))
        raw[:2] = COUNTS[:2]
        layout = h5py.VirtualLayout(COUNTS.shape, "u2")
        layout[:] = h5py.VirtualSource(".", "raw", COUNTS.shape)
        entry = file.create_group("e")
        group = entry.create_group("d")
        entry.attrs["NX_class"], group.attrs["NX_class"] = "NXentry", "NXdata"
        group.attrs["signal"] = "v"
        group.create_virtual_dataset("v", layout)
    return path / "m.nxs"


def _tiff(path: Path) -> Path:
    tifffile.imwrite(path / "m.tif", COUNTS, photometric="minisblack", contiguous=False, metadata=None)  # fmt: skip
    return path / "m.tif"


def _packed_tiff(path: Path) -> Path:
    tifffile.imwrite(path / "m.tif", COUNTS, photometric="minisblack", compression="zlib", predictor=True, tile=(16, 16))  # fmt: skip
    return path / "m.tif"


def _imagej(path: Path) -> Path:
    metadata = {"axes": "TYX", "finterval": 2.0, "unit": "um", "Info": "text"}
    tifffile.imwrite(path / "m.tif", COUNTS, imagej=True, resolution=(10, 10), metadata=metadata)
    return path / "m.tif"


def _ome(path: Path) -> Path:
    plane = {"DeltaT": [0.0, 1.0, 2.0, 3.0], "DeltaTUnit": ["s"] * 4}
    tifffile.imwrite(path / "m.ome.tif", COUNTS, metadata={"axes": "TYX", "TimeIncrement": 1.0, "Plane": plane})  # fmt: skip
    return path / "m.ome.tif"


def _npy(path: Path) -> Path:
    np.save(path / "m.npy", COUNTS)
    return path / "m.npy"


def _npz(path: Path) -> Path:
    np.savez_compressed(path / "m.npz", a=COUNTS, times=np.arange(4.0))
    return path / "m.npz"


def _fits(path: Path) -> Path:
    return sample_files.fits_file(path / "m.fits", COUNTS.astype(np.int16), BSCALE=0.5, BZERO=1.0, BLANK=-9)  # fmt: skip


def _packed_fits(path: Path) -> Path:
    from astropy.io import fits

    units = [fits.PrimaryHDU(), fits.CompImageHDU(COUNTS.astype(np.int16), name="A")]
    fits.HDUList(units).writeto(path / "m.fits")
    return path / "m.fits"


def _mrc(path: Path) -> Path:
    return sample_files.mrc_file(path / "m.mrc", COUNTS, voxel=(2.0, 2.0), extended=bytes(64))


def _dm3(path: Path) -> Path:
    dm = sample_files.Dm3()
    image = dm.image(COUNTS, ("s", "nm", "nm"), (0.5, 2.0, 2.0))
    (path / "m.dm3").write_bytes(dm.file(image))
    return path / "m.dm3"


def _ser(path: Path) -> Path:
    return sample_files.ser(path / "m.ser", COUNTS)


def _emd(path: Path) -> Path:
    return sample_files.emd(path / "m.emd", COUNTS, (1, 24, 20), 3)


def _tvips(path: Path) -> Path:
    from rsciio import tvips

    sizes = zip("tyx", COUNTS.shape, ("s", "nm", "nm"), strict=True)
    axes = [{"name": n, "size": s, "scale": 2.0, "offset": 0.0, "units": u, "index_in_array": k, "navigate": k == 0} for k, (n, s, u) in enumerate(sizes)]  # fmt: skip
    signal = {"data": COUNTS, "axes": axes, "metadata": {"Signal": {"signal_type": ""}}, "attributes": {"_lazy": False}}  # fmt: skip
    tvips.file_writer(str(path / "m_000.tvips"), signal, show_progressbar=False)
    return path / "m_000.tvips"


def _zarr(path: Path) -> Path:
    import zarr

    item = zarr.create_array(str(path / "m.zarr"), shape=COUNTS.shape, dtype="u2", chunks=(1, 24, 20), zarr_format=2)  # fmt: skip
    item[...] = COUNTS
    item.attrs["scale_factor"] = 0.5
    return path / "m.zarr"


def _sdf(path: Path) -> Path:
    axis = 'Name = "{}"; Unit = "um"; Points = ({}, {});'
    x, y = (axis.format(n, s, ", ".join(f"{0.1 * k:.2f}" for k in range(s))) for n, s in (("Sample X", 20), ("Sample Y", 24)))  # fmt: skip
    text = (
        'ScanDefinition = { Label = "m.hdr"; Type = "NEXAFS Image Scan"; Dwell = 2.5; Regions = (1, { '
        f"PAxis = {{ {x} }}; QAxis = {{ {y} }}; }}); "
        'StackAxis = { Name = "Energy"; Unit = "eV"; Points = (4, 700, 705, 710, 715); }; Channels = (1, { Name = "PMT"; }); };\n'
    )
    (path / "m.hdr").write_text(text)
    for k, image in enumerate(COUNTS):
        np.savetxt(path / f"m_a{k:03d}.xim", image, fmt="%d", delimiter="\t")
    return path / "m.hdr"


def _xrm(path: Path) -> Path:
    images = np.resize(COUNTS, (3, 48, 48)).astype("<u2")
    numbers = {"ImageWidth": 48, "ImageHeight": 48, "NoOfImages": 3, "DataType": 5}
    streams = {f"ImageInfo/{k}": np.int32(v).tobytes() for k, v in numbers.items()}
    streams["ImageInfo/Energy"] = np.array([700, 705, 710], "<f4").tobytes()
    streams |= {f"ImageData1/Image{k + 1}": image.tobytes() for k, image in enumerate(images)}
    return sample_files.ole(path / "m.txrm", streams)


def _gif(path: Path) -> Path:
    import imageio.v3 as iio

    iio.imwrite(path / "m.gif", (COUNTS // 2).astype(np.uint8), duration=200, loop=0)
    return path / "m.gif"


READERS: dict[str, Maker] = {
    name.strip("_"): make
    for name, make in dict(globals()).items()
    if name.startswith("_")
    and getattr(make, "__annotations__", {}) == {"path": Path, "return": Path}
}


def mutate(data: bytes, rng: np.random.Generator) -> bytes:
    """A file with one to eight changes.

    Args:
        data: the file.
        rng: chooses the changes.

    Returns:
        The mutated file.
    """
    out = bytearray(data)
    for _ in range(min(int(rng.geometric(0.5)), 8)):
        if not out:
            break
        # Headers lie at the beginning: half of the changes fall into the first kilobyte.
        reach = min(len(out), 1024) if rng.random() < 0.5 else len(out)
        at, length = int(rng.integers(reach)), int(rng.integers(1, 64))
        kind = rng.integers(8)
        if kind == 0:
            out[at] ^= 1 << int(rng.integers(8))
        elif kind == 1:
            out[at] = int(rng.choice([0, 1, 0x7F, 0x80, 0xFF, int(rng.integers(256))]))
        elif kind == 2:
            value = int(rng.choice([0, 1, 2**16, 2**31 - 1, 2**31, 2**32 - 1, len(data)]))
            out[at : at + 4] = value.to_bytes(4, str(rng.choice(["little", "big"])))[
                : len(out) - at
            ]
        elif kind == 3:
            value = int(rng.choice([0, 2**32, 2**40, 2**63 - 1])) + int(rng.integers(2))
            out[at : at + 8] = value.to_bytes(8, str(rng.choice(["little", "big"])))[
                : len(out) - at
            ]
        elif kind == 4:
            del out[at : at + length]
        elif kind == 5:
            out[at:at] = out[at : at + length]
        elif kind == 6:
            other = int(rng.integers(len(out)))
            out[at : at + length] = out[other : other + length]
        else:
            del out[max(at, 1) :]
    return bytes(out)


def mutated_file(reader: str, folder: Path, number: int, seed: int) -> Path:
    """The mutated file of a number, the same for the same seed.

    Args:
        reader: name in `READERS`.
        folder: an empty one.
        number: of the file.
        seed: of the run.

    Returns:
        The file to read; in a folder of files one is mutated.
    """
    path = READERS[reader](folder)
    rng = np.random.default_rng([seed, number, sum(reader.encode())])
    inside = sorted(f for f in folder.rglob("*") if f.is_file())
    target = inside[int(rng.integers(len(inside)))]
    target.write_bytes(mutate(target.read_bytes(), rng))
    return path


def attack(reader: str, first: int, last: int, seed: int) -> None:
    """Read mutated files in this process, and print a line of JSON for each before and after.

    Args:
        reader: name in `READERS`.
        first, last: numbers of the files, without the last.
        seed: of the run.
    """
    warnings.simplefilter("ignore")
    # A reader's library may print to the standard output (RosettaSciIO does where numba is absent): the lines of
    # this process go to a copy of it, and all else to the standard error.
    lines = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    with tempfile.TemporaryDirectory() as home:
        read(READERS[reader](Path(home)))  # imports what the reader needs
    base = _address_space()
    resource.setrlimit(resource.RLIMIT_AS, (base + 2 * MEMORY, base + 2 * MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resident = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for number in range(first, last):
        folder = Path(tempfile.mkdtemp(prefix="fuzz-"))
        path = mutated_file(reader, folder, number, seed)
        print(json.dumps({"begin": number}), file=lines, flush=True)
        start = time.process_time()
        try:
            read(path)
            outcome = "read"
        except InputError:
            outcome = "refused"
        except BaseException as error:
            outcome = f"{type(error).__name__}: {error}"[:300]
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - resident
        print(json.dumps({"end": number, "outcome": outcome, "seconds": time.process_time() - start, "peak": 1024 * peak}), file=lines, flush=True)  # fmt: skip
        shutil.rmtree(folder, ignore_errors=True)


def _address_space() -> int:
    return int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()


def fuzz(reader: str, files: int, seed: int) -> dict[str, object]:
    """Read mutated files in processes that are watched.

    Args:
        reader: name in `READERS`.
        files: how many.
        seed: of the run.

    Returns:
        Counts of what came, the longest time [s], the largest memory [bytes], and the files that did harm.
    """
    counts = {"read": 0, "refused": 0, "raised": 0, "crashed": 0, "hung": 0, "large": 0}
    found: dict[str, object] = {"reader": reader, "files": files, **counts, "harm": []}
    harm: list[str] = []
    slowest, peak, number = 0.0, 0, 0
    while number < files:
        command = [sys.executable, "-m", "benchmarks.fuzz_readers", "--attack", reader, str(number), str(files), str(seed)]  # fmt: skip
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as child:  # fmt: skip
            watch, begun = _Watch(child), False
            for line in child.stdout or ():
                said = json.loads(line)
                if "begin" in said:
                    begun = True
                    number = said["begin"]
                    watch.start()
                    continue
                watch.stop()
                number = said["end"] + 1
                kind = said["outcome"] if said["outcome"] in ("read", "refused") else "raised"
                counts[kind] += 1
                slowest, peak = max(slowest, said["seconds"]), max(peak, said["peak"])
                if kind == "raised":
                    harm.append(f"{said['end']}: {said['outcome']}")
                if said["peak"] > 2 * MEMORY:
                    counts["large"] += 1
            watch.stop()
            code = child.wait()
        if not begun:
            raise RuntimeError(f"The process of {reader} does not begin: {' '.join(command)}")
        if number < files:
            kind = "hung" if watch.fired else "crashed"
            counts[kind] += 1
            harm.append(f"{number}: {kind} ({code})")
            number += 1
    return found | counts | {"slowest": slowest, "peak": peak, "harm": harm}


class _Watch:
    """Ends a process that spends too long on one file: on the processor, or in all where the machine is busy."""

    def __init__(self, child: "subprocess.Popen[str]"):
        self._child = child
        self._since: tuple[float, float] | None = None
        self.fired = False
        threading.Thread(target=self._look, daemon=True).start()

    def start(self) -> None:
        self._since = time.monotonic(), self._spent()

    def stop(self) -> None:
        self._since = None

    def _spent(self) -> float:
        """Processor time of the child [s]."""
        try:
            words = Path(f"/proc/{self._child.pid}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            return 0.0
        return (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK")

    def _look(self) -> None:
        while self._child.poll() is None:
            since = self._since
            if since is not None:
                wall, used = time.monotonic() - since[0], self._spent() - since[1]
                if used > LONGEST or wall > WAITED:
                    self.fired = True
                    self._child.kill()
                    return
            time.sleep(0.2)


def main() -> None:
    """Print the table."""
    if sys.argv[1:2] == ["--attack"]:
        reader, *numbers = sys.argv[2:]
        attack(reader, *map(int, numbers))
        return
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)  # fmt: skip
    parser.add_argument("--readers", nargs="+", choices=list(READERS), default=list(READERS))
    parser.add_argument("--files", type=int, default=1000, help="mutated files for each reader")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    print("reader         files    read refused raised crashed hung  slowest s  peak MB")
    failed = False
    for name in options.readers:
        found = fuzz(name, options.files, options.seed)
        print(
            f"{name:12} {found['files']:>7} {found['read']:>7} {found['refused']:>7} {found['raised']:>6} {found['crashed']:>7} "
            f"{found['hung']:>4} {found['slowest']:>10.2f} {found['peak'] / 1e6:>8.0f}",  # type: ignore[operator]
            flush=True,
        )
        for line in found["harm"][:10]:  # type: ignore[index]
            print("    ", line, flush=True)
        failed |= bool(found["harm"] or found["large"])
    sys.exit(int(failed))


if __name__ == "__main__":
    main()

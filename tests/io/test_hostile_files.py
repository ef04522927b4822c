"""Files made to do harm: they end in one sentence, soon, without other files being read or memory being taken."""

import struct
import subprocess
import sys
import time
import zipfile
from contextlib import suppress
from pathlib import Path

import h5py
import numpy as np
import pytest
import tifffile

from phdenoise.io.limits import available, check_inside, check_size
from phdenoise.io.reading import read
from phdenoise.types import InputError

COUNTS = np.random.default_rng(12).poisson(500, (5, 7, 9)).astype(np.uint16)


@pytest.fixture
def secret(tmp_path):
    """A file that the user may read and that no movie should show."""
    folder = tmp_path / "home"
    folder.mkdir()
    with h5py.File(folder / "secret.h5", "w") as file:
        file["d"] = COUNTS
    (folder / "raw").write_bytes(COUNTS.tobytes())
    (tmp_path / "work").mkdir()
    return folder


def external_storage(path, secret):
    with h5py.File(path, "w") as file:
        file.create_dataset("data", COUNTS.shape, "u2", external=[(str(secret / "raw"), 0, COUNTS.nbytes)])  # fmt: skip


def external_link(path, secret):
    with h5py.File(path, "w") as file:
        file["data"] = h5py.ExternalLink(str(secret / "secret.h5"), "/d")


def link_through_the_parent(path, secret):
    with h5py.File(path, "w") as file:
        file["data"] = h5py.ExternalLink(f"../{secret.name}/secret.h5", "/d")


def soft_link_to_a_link(path, secret):
    external_link(path, secret)
    with h5py.File(path, "a") as file:
        file.move("data", "g/hidden")
        file["data"] = h5py.SoftLink("/g/hidden")


def link_in_a_file_beside(path, secret):
    external_link(path.with_name("beside.h5"), secret)
    with h5py.File(path, "w") as file:
        file["data"] = h5py.ExternalLink("beside.h5", "/data")


def virtual_source(path, secret):
    layout = h5py.VirtualLayout(COUNTS.shape, "u2")
    layout[:] = h5py.VirtualSource(str(secret / "secret.h5"), "d", COUNTS.shape)
    with h5py.File(path, "w") as file:
        file.create_virtual_dataset("data", layout)


def virtual_source_of_a_virtual_source(path, secret):
    virtual_source(path.with_name("beside.h5"), secret)
    layout = h5py.VirtualLayout(COUNTS.shape, "u2")
    layout[:] = h5py.VirtualSource("beside.h5", "data", COUNTS.shape)
    with h5py.File(path, "w") as file:
        file.create_virtual_dataset("data", layout)


def entry_elsewhere(path, secret):
    with h5py.File(path, "w") as file:
        file.attrs["default"] = "entry"
        file["entry"] = h5py.ExternalLink(str(secret / "secret.h5"), "/")


WAYS = [
    external_storage,
    external_link,
    link_through_the_parent,
    soft_link_to_a_link,
    link_in_a_file_beside,
    virtual_source,
    virtual_source_of_a_virtual_source,
    entry_elsewhere,
]


@pytest.mark.parametrize("make", WAYS)
@pytest.mark.parametrize("named", [False, True])
def test_no_other_place_is_read_unless_asked(tmp_path, monkeypatch, secret, make, named):
    path = tmp_path / "work" / "m.h5"
    make(path, secret)
    place = "entry/d" if make is entry_elsewhere else "data"
    given = f"{path}::{place}" if named else path
    with pytest.raises(InputError, match=r"which is not followed: set PHDENOISE_FOLLOW_LINKS=1"):
        read(given)
    monkeypatch.setenv("PHDENOISE_FOLLOW_LINKS", "1")
    np.testing.assert_array_equal(read(given).frames, COUNTS)


@pytest.mark.parametrize("target", ["/x", "../x", "a/../../x", r"C:\x", r"\\host\x", r"..\x", "https://x/y.h5", "s3://x"])  # fmt: skip
def test_places_outside_the_folder(target):
    with pytest.raises(InputError, match="not followed"):
        check_inside("m.h5", target)
    check_inside("m.h5", "sub/raw_000001.h5")


def test_a_virtual_dataset_of_itself(tmp_path):
    layout = h5py.VirtualLayout(COUNTS.shape, "u2")
    layout[:] = h5py.VirtualSource(".", "data", COUNTS.shape)
    with h5py.File(tmp_path / "m.h5", "w") as file:
        file.create_virtual_dataset("data", layout)
    with pytest.raises(InputError, match="leads to itself"):
        read(tmp_path / "m.h5")


def quickly(path, match, seconds=5.0):
    start = time.process_time()
    with pytest.raises(InputError, match=match):
        read(path)
    assert time.process_time() - start < seconds


def test_thousands_of_nested_groups(tmp_path):
    path = tmp_path / "m.h5"
    with h5py.File(path, "w") as file:
        group = file
        for _ in range(3000):
            group = group.create_group("g")
        group["data"] = COUNTS
    start = time.process_time()
    np.testing.assert_array_equal(read(path).frames, COUNTS)
    assert time.process_time() - start < 2.0
    with h5py.File(path, "a") as file:
        file["other"] = COUNTS
    quickly(path, "2 datasets that could be the movie", 2.0)


def test_links_in_circles(tmp_path):
    path = tmp_path / "m.h5"
    with h5py.File(path, "w") as file:
        group = file.create_group("a/b")
        group["up"] = file["a"]
        group["root"] = file["/"]
        file["x"], file["y"] = h5py.SoftLink("/y"), h5py.SoftLink("/x")
        file["fan"] = h5py.SoftLink("/" + "/".join(["fan"] * 200))
        file["self"] = h5py.ExternalLink("m.h5", "/self")
    quickly(path, "no movie")
    quickly(f"{path}::x", "does not exist")
    quickly(f"{path}::fan", "does not exist")
    quickly(f"{path}::self", "does not exist")


@pytest.mark.parametrize(("index", "size"), [(0, 0), (0, 2**64 - 16), (1, 2**64 - 16)])
def test_a_heap_that_does_not_end(tmp_path, index, size):
    """HDF5 1.14 and 2.0 read the first of these for ever."""
    path = tmp_path / "m.h5"
    with h5py.File(path, "w") as file:
        file["data"] = COUNTS
        file["data"].attrs["words"] = ["of", "any", "length"]
    np.testing.assert_array_equal(read(path).frames, COUNTS)
    data = bytearray(path.read_bytes())
    at = data.index(b"GCOL") + 16
    struct.pack_into("<HHIQ", data, at, index, 1, 0, size)
    path.write_bytes(data)
    quickly(path, "a heap of its texts does not end")


def test_a_small_file_that_asks_for_much_memory(tmp_path):
    """Chunks that were never written or pack to nothing, a header of NumPy, an archive, strips of TIFF."""
    big = (1000, 10_000, 4_000)
    with h5py.File(tmp_path / "m.h5", "w") as file:
        file.create_dataset("a", big, "u1", chunks=(1, 1000, 1000), compression="gzip")[0, 0, 0] = 1
    with (tmp_path / "m.npy").open("wb") as out:
        np.lib.format.write_array_header_1_0(out, {"descr": "|u1", "fortran_order": False, "shape": big})  # fmt: skip
        out.write(bytes(100))
    with zipfile.ZipFile(tmp_path / "m.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.write(tmp_path / "m.npy", "a.npy")
    tifffile.imwrite(tmp_path / "m.tif", np.zeros((40, 50), np.uint8), photometric="minisblack")
    with tifffile.TiffFile(tmp_path / "m.tif", mode="r+b") as file:
        for name in ("ImageWidth", "ImageLength", "RowsPerStrip"):
            file.pages[0].tags[name].overwrite(60_000)
    for suffix in (".h5", ".npy", ".npz", ".tif"):
        assert (tmp_path / f"m{suffix}").stat().st_size < 2e5
        quickly(tmp_path / f"m{suffix}", r"announces .* GB of numbers .*(damaged|nearly nothing)")


def test_more_than_the_free_memory():
    check_size("m", (10, 10), np.dtype("u2"), 200)
    with pytest.raises(InputError, match=r"m does not fit in memory: it needs .* GB and .* GB are free"):  # fmt: skip
        check_size("m", (int(available()), 2), np.dtype("u2"), 10.0 * available())


def test_a_limit_of_the_process_counts():
    code = (
        "import resource, numpy as np; from phdenoise.io.limits import available, check_size;"
        "taken = int(open('/proc/self/statm').read().split()[0]) * 4096;"
        "resource.setrlimit(resource.RLIMIT_AS, (taken + 2**28, taken + 2**28));"
        "assert available() <= 2**28; check_size('m', (2**27,), np.dtype('u1'), 2**27)"
    )
    if not Path("/proc/self/statm").exists():
        pytest.skip("no /proc here")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "InputError: m does not fit in memory" in done.stderr


@pytest.mark.parametrize("text", ["<OME " + "x" * 10, '<!DOCTYPE l [<!ENTITY a "aaaaaaaaaa">' + "".join(f'<!ENTITY {chr(98 + k)} "{f"&{chr(97 + k)};" * 10}">' for k in range(12)) + "]><OME>&m;</OME>", "<OME>" + "<a>" * 50_000 + "</a>" * 50_000 + "</OME>"])  # fmt: skip
def test_descriptions_of_ome_that_expand_or_nest(tmp_path, text):
    tifffile.imwrite(tmp_path / "m.ome.tif", COUNTS, photometric="minisblack", metadata=None, description=text)  # fmt: skip
    start = time.process_time()
    with suppress(InputError):
        np.testing.assert_array_equal(read(tmp_path / "m.ome.tif").frames, COUNTS)
    assert time.process_time() - start < 5.0

"""A few mutated files for each reader end well, and the watch of the fuzzer sees what does not."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest

from benchmarks import fuzz_readers
from phdenoise.io.reading import read

NEEDS = {"packed_fits": "astropy", "fits": "astropy", "mrc": "mrcfile", "zarr": "zarr", "xrm": "olefile", "gif": "imageio"}  # fmt: skip
NEEDS |= dict.fromkeys(("dm3", "ser", "emd", "tvips"), "rsciio")
FAST = ("hdf5", "ome")


def needs(reader):
    if importlib.util.find_spec(NEEDS.get(reader, "numpy")) is None:
        pytest.skip(f"needs {NEEDS[reader]}")


@pytest.mark.parametrize("reader", fuzz_readers.READERS)
def test_the_files_are_valid_before_they_are_mutated(tmp_path, reader):
    needs(reader)
    assert read(fuzz_readers.READERS[reader](tmp_path)).shape[0] >= 3


def test_the_same_number_gives_the_same_file(tmp_path):
    files = []
    for name in "abc":
        (tmp_path / name).mkdir()
        files.append(fuzz_readers.mutated_file("tiff", tmp_path / name, 3 + (name == "c"), 7).read_bytes())  # fmt: skip
    assert files[0] == files[1] != files[2]


@pytest.mark.parametrize("reader", FAST)
def test_mutated_files_end_well(reader):
    needs(reader)
    found = fuzz_readers.fuzz(reader, 25, 0)
    assert found["harm"] == []
    assert found["read"] + found["refused"] == 25
    assert found["peak"] < 2 * fuzz_readers.MEMORY


@pytest.mark.study
@pytest.mark.slow
@pytest.mark.parametrize("reader", [r for r in fuzz_readers.READERS if r not in FAST])
def test_more_mutated_files_end_well(reader):
    needs(reader)
    found = fuzz_readers.fuzz(reader, 200, 0)
    assert found["harm"] == []
    assert found["peak"] < 2 * fuzz_readers.MEMORY


HARM = """
import os, sys, time
import phdenoise.io.reading as reading
import benchmarks.fuzz_readers as fuzz
calls = [0]
def read(path, really=fuzz.read):
    calls[0] += 1
    if calls[0] == 3 and {harm!r} == "crashed":
        os.abort()
    while calls[0] == 3 and {harm!r} == "hung":
        pass
    if calls[0] == 3:
        raise OSError("no sentence")
    return really(path)
fuzz.read = read
fuzz.attack(*sys.argv[1:2], *map(int, sys.argv[2:]))
"""


@pytest.mark.slow
@pytest.mark.parametrize("harm", ["crashed", "hung", "raised"])
def test_harm_is_seen(tmp_path, monkeypatch, harm):
    """A reader that aborts, runs for ever or raises without a sentence at the second file is counted, and the rest is read."""
    script = tmp_path / "harm.py"
    script.write_text(HARM.format(harm=harm))
    monkeypatch.setattr(fuzz_readers, "LONGEST", 1.0)
    popen = fuzz_readers.subprocess.Popen
    first = [True]

    def start(command, **options):
        run = [command[0], str(script), *command[4:]] if first[0] else command
        first[0] = False
        return popen(run, **options)

    monkeypatch.setattr(fuzz_readers.subprocess, "Popen", start)
    monkeypatch.setenv("PYTHONPATH", str(Path(fuzz_readers.__file__).parents[1]))
    found = fuzz_readers.fuzz("npy", 6, 0)
    assert found[harm] == 1
    assert len(found["harm"]) == 1
    assert found["read"] + found["refused"] == 5


def test_mutations_change_the_file():
    rng = np.random.default_rng(0)
    data = bytes(range(256)) * 8
    changed = [fuzz_readers.mutate(data, rng) for _ in range(100)]
    assert np.mean([c != data for c in changed]) > 0.9
    assert len({len(c) for c in changed}) > 10

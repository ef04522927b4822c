"""Outputs are complete or absent: what was there before survives every failure."""

import errno
import os

import numpy as np
import pytest

from phdenoise.io import atomic
from phdenoise.io.atomic import MARKER, atomic_directory, check_writable
from phdenoise.io.jsonfile import write_json
from phdenoise.io.reading import read
from phdenoise.io.writing import write
from phdenoise.movie import Estimate, Movie
from phdenoise.noise.models import Gaussian
from phdenoise.types import InputError

FAILURES = {
    "full": (OSError(errno.ENOSPC, "No space left on device"), InputError, "no space left"),
    "denied": (PermissionError(errno.EACCES, "Permission denied"), InputError, "permission denied"),
    "interrupted": (KeyboardInterrupt("Ctrl-C"), KeyboardInterrupt, "Ctrl-C"),
    "bug": (ZeroDivisionError("a bug is no user error"), ZeroDivisionError, "a bug"),
}


def make_movie():
    return Movie.from_array(np.random.default_rng(0).normal(size=(2, 5, 4)), name="m")


def make_estimate():
    movie = make_movie()
    mean = movie.frames.astype(np.float32)
    return Estimate(movie, mean, mean**2 + 1, Gaussian(np.float32(1)))


def listing(folder):
    return sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*"))


def failing(_):
    raise OSError(errno.ENOSPC, "No space left on device")


def test_success_replaces_only_with_overwrite(tmp_path):
    target = tmp_path / "a.txt"
    for text in ("one", "two"):
        with atomic(target, overwrite=text == "two") as temporary:
            assert (
                temporary.parent == target.parent
            )  # another file system could not be renamed from
            temporary.write_text(text)
        assert target.read_text() == text
    with pytest.raises(InputError, match=r"a\.txt exists already: use --overwrite"), atomic(target):
        pytest.fail("entered")
    assert listing(tmp_path) == ["a.txt"]


@pytest.mark.parametrize("kind", FAILURES)
@pytest.mark.parametrize("existing", [False, True])
def test_failed_file_leaves_no_trace(tmp_path, kind, existing):
    raised, expected, message = FAILURES[kind]
    target = tmp_path / "a.txt"
    if existing:
        target.write_text("old")

    def write_half():
        with atomic(target, overwrite=True) as temporary:
            temporary.write_text("half of the n")
            raise raised

    with pytest.raises(expected, match=message):
        write_half()
    assert listing(tmp_path) == ["a.txt"] * existing
    assert not existing or target.read_text() == "old"


@pytest.mark.parametrize("kind", FAILURES)
@pytest.mark.parametrize("existing", [False, True])
def test_failed_folder_leaves_no_trace(tmp_path, kind, existing):
    raised, expected, message = FAILURES[kind]
    target = tmp_path / "out"
    if existing:
        with atomic_directory(target) as temporary:
            (temporary / "old.txt").write_text("old")
    before = listing(tmp_path)

    def write_half():
        with atomic_directory(target, overwrite=True) as temporary:
            (temporary / "new.txt").write_text("half of the n")
            raise raised

    with pytest.raises(expected, match=message):
        write_half()
    assert listing(tmp_path) == before


def test_folder_is_replaced_as_a_whole_at_the_end(tmp_path):
    target = tmp_path / "out"
    with atomic_directory(target) as temporary:
        (temporary / "old.txt").write_text("old")
    with atomic_directory(target, overwrite=True) as temporary:
        (temporary / "new.txt").write_text("new")
        assert listing(target) == [MARKER, "old.txt"]
    assert listing(tmp_path) == ["out", f"out/{MARKER}", "out/new.txt"]


def test_old_folder_comes_back_when_the_last_rename_fails(tmp_path, monkeypatch):
    target = tmp_path / "out"
    with atomic_directory(target) as temporary:
        (temporary / "old.txt").write_text("old")
    rename = type(target).rename

    def fails_for_the_new_one(self, other):
        return failing(other) if self.suffix == ".tmp" else rename(self, other)

    monkeypatch.setattr(type(target), "rename", fails_for_the_new_one)
    with pytest.raises(InputError, match="no space left"), atomic_directory(target, True):
        pass
    assert listing(tmp_path) == ["out", f"out/{MARKER}", "out/old.txt"]


def test_somebody_elses_folder_is_never_replaced(tmp_path):
    mine = tmp_path / "thesis"
    mine.mkdir()
    with atomic_directory(mine):  # empty: nothing to lose
        pass
    (mine / MARKER).unlink()
    (mine / "chapter.txt").write_text("years")
    for attempt in (atomic_directory(mine, True).__enter__, lambda: check_folder(mine, True)):
        with pytest.raises(InputError, match="phdenoise did not write"):
            attempt()
    assert listing(tmp_path) == ["thesis", "thesis/chapter.txt"]


def check_folder(path, overwrite=False, **kwargs):
    check_writable(path, overwrite, folder=True, **kwargs)


def test_check_of_a_folder_before_long_work(tmp_path):
    check_folder(tmp_path / "new")
    with atomic_directory(tmp_path / "out") as temporary:
        (temporary / "results.h5").write_text("x")
    check_folder(tmp_path / "out", overwrite=True)
    with pytest.raises(InputError, match="exists already: use --overwrite"):
        check_folder(tmp_path / "out")
    with pytest.raises(InputError, match="holds the input"):
        check_folder(tmp_path / "out", True, inputs=[tmp_path / "out" / "results.h5"])
    (tmp_path / "file").write_text("x")
    with pytest.raises(InputError, match="it is a file; give the name of a folder"):
        check_folder(tmp_path / "file", overwrite=True)
    with pytest.raises(InputError, match="it is a folder; give a file name"):
        check_writable(tmp_path / "out", overwrite=True)
    with pytest.raises(InputError, match=r"there is no folder .*create it first"):
        check_folder(tmp_path / "no" / "where")


def test_check_leaves_nothing_behind(tmp_path):
    check_writable(tmp_path / "a.h5")
    assert listing(tmp_path) == []


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full here")
def test_devices_are_no_outputs(tmp_path):
    (tmp_path / "full.h5").symlink_to("/dev/full")
    with pytest.raises(InputError, match="not a regular file"):
        write(make_movie(), tmp_path / "full.h5", overwrite=True)


def test_link_is_written_through(tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "link.json").symlink_to(tmp_path / "data" / "real.json")
    write_json({"a": 1}, tmp_path / "link.json")
    assert (tmp_path / "link.json").is_symlink()
    assert (tmp_path / "data" / "real.json").read_text() == '{\n  "a": 1\n}\n'


def test_write_protection_is_found_before_long_work(tmp_path, monkeypatch):
    target = tmp_path / "a.h5"
    target.write_text("old")
    with monkeypatch.context() as patch:  # root may write anything, so that chmod shows nothing
        patch.setattr(os, "access", lambda *_: False)
        with pytest.raises(InputError, match="write-protected; choose another"):
            check_writable(target, overwrite=True)

    def denied(*_, **__):
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(type(target), "touch", denied)
    with pytest.raises(InputError, match=r"Cannot write .*a\.h5: permission denied"):
        check_writable(target, overwrite=True)


@pytest.mark.parametrize("name", ["m.h5", "m.tif"])
@pytest.mark.parametrize("result", ["movie", "estimate"])
@pytest.mark.parametrize("existing", [False, True])
def test_disk_full_while_writing(tmp_path, monkeypatch, name, result, existing):
    """Nothing changes if the disk turns out to be full when the data are forced onto it."""
    estimate = make_estimate()
    value = estimate.movie if result == "movie" else estimate
    if existing:
        write(value, tmp_path / name)
    before = {p: (tmp_path / p).read_bytes() for p in listing(tmp_path)}
    monkeypatch.setattr(os, "fsync", failing)
    with pytest.raises(InputError, match=rf"Cannot write .*{name[1:]}: no space left on device"):
        write(value, tmp_path / name, overwrite=True)
    assert {p: (tmp_path / p).read_bytes() for p in listing(tmp_path)} == before


def test_input_is_never_replaced(tmp_path):
    write(make_movie(), tmp_path / "in.h5")
    (tmp_path / "link.h5").symlink_to(tmp_path / "in.h5")
    before = (tmp_path / "in.h5").read_bytes()
    movie = read(f"{tmp_path / 'in.h5'}::/entry/data/frames")
    for name in ("in.h5", "link.h5"):
        with pytest.raises(InputError, match="also the input, which is never replaced"):
            write(movie, tmp_path / name, overwrite=True)
    assert (tmp_path / "in.h5").read_bytes() == before


def test_existing_outputs_are_refused_together(tmp_path):
    """One of the two TIFFs of an estimate is enough to stop before writing the other."""
    write(Movie.from_array(np.eye(3)), tmp_path / "e_sd.tif")
    with pytest.raises(InputError, match=r"e_sd\.tif exists already: use --overwrite"):
        write(make_estimate(), tmp_path / "e.tif")
    assert listing(tmp_path) == ["e_sd.tif"]


@pytest.mark.parametrize("name", ["a.png", "a", "a.npy", ".h5"])
def test_unknown_output_suffix(tmp_path, name):
    with pytest.raises(InputError, match=r"are not known; use one of \.h5"):
        write(make_movie(), tmp_path / name)


def test_json_refuses_what_it_cannot_hold(tmp_path):
    with pytest.raises(InputError, match=r"type object at '\.a\[1\]'"):
        write_json({"a": [1, object()]}, tmp_path / "a.json")
    with pytest.raises(InputError, match=r"ending in \.json"):
        write_json({}, tmp_path / "a.txt")
    assert listing(tmp_path) == []

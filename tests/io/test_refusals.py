"""Whatever is wrong with an input ends in one sentence that names it and says what to do."""

import builtins
import errno
import importlib.util
import pickle
import re

import h5py
import numpy as np
import pytest
import tifffile

from phdenoise.io.native import read_estimate
from phdenoise.io.reading import read
from phdenoise.io.to_movie import check_values
from phdenoise.io.writing import write
from phdenoise.movie import Movie
from phdenoise.types import InputError

FRAMES = np.random.default_rng(0).normal(size=(5, 40, 30)).astype(np.float32)


def refused(path, match, **options):
    """The sentence of the refusal: a single one, ending in a full stop, naming the file."""
    with pytest.raises(InputError, match=match) as caught:
        read(path, **options)
    text = str(caught.value)
    assert "\n" not in text
    assert text.endswith(".")
    assert len(text) < 700
    return text


def save(path, array, name="g/x"):
    """The array in the format of the suffix."""
    if path.suffix == ".npy":
        np.save(path, array)
    elif path.suffix == ".npz":
        np.savez(path, x=array)
    else:
        with h5py.File(path, "w") as file:
            file[name] = array
    return path


def whole(path):
    """A good file of FRAMES."""
    if path.suffix in (".npy", ".npz"):
        return save(path, FRAMES)
    write(Movie.from_array(FRAMES), path)
    return path


@pytest.mark.parametrize(
    ("name", "match"),
    [
        ("no.h5", "There is no file .*no.h5: give"),
        ("no.h5::/x", "There is no file .*no.h5: give"),
        ("folder", "folder without .tif or .fits frames: give a file of"),
        ("text.txt", "files ending in '.txt' are not known; convert it to one of .h5"),
        ("plain", "files ending in '' are not known"),
        ("empty.tif", r"is empty \(0 bytes\)"),
        ("text.h5", "cannot be read as .h5 .*copy it again"),
        ("text.tif", "cannot be read as .tif .*copy it again"),
        ("text.npz", "cannot be read as .npz .*copy it again"),
    ],
)
def test_not_a_movie_file(tmp_path, name, match):
    for other in ("text.txt", "plain", "text.h5", "text.tif", "text.npz"):
        (tmp_path / other).write_text("no movie, but some words\n" * 99)
    (tmp_path / "empty.tif").touch()
    (tmp_path / "folder").mkdir()
    assert str(tmp_path) in refused(f"{tmp_path}/{name}", match)


@pytest.mark.parametrize("suffix", [".npy", ".npz", ".h5"])
@pytest.mark.parametrize(
    ("array", "match"),
    [
        (np.float32(3), r"\(\)"),
        (np.arange(4.0), r"\(4,\)"),
        (np.zeros((0, 3, 4)), r"shape \(0, 3, 4\)"),
        (np.zeros((2, 3, 4, 5, 6)), r"shape \(2, 3, 4, 5, 6\)"),
        (FRAMES.astype(complex), "complex128"),
        (np.array([[b"a", b"b"]]), r"\|S1|object"),
        (np.full((2, 3, 4), np.nan), "no valid pixel: every value is NaN"),
        (np.full((2, 3, 4), np.inf), "no valid pixel"),
        (np.ones((2, 3, 4)), r"is constant \(every valid pixel is 1\)"),
    ],
)
def test_values_that_are_no_movie(tmp_path, array, match, suffix):
    path = save(tmp_path / f"a{suffix}", array)
    assert str(path) in refused(path, match)


def test_single_pixel_is_not_called_constant(tmp_path):
    assert read(save(tmp_path / "a.npy", np.ones((1, 1)))).shape == (1, 1, 1)


def test_masked_out_movie_is_refused():
    with pytest.raises(InputError, match="no valid pixel"):
        check_values(Movie.from_array(FRAMES, mask=np.zeros(FRAMES.shape[1:], bool)))


@pytest.mark.parametrize("suffix", [".npy", ".npz"])
def test_pickles_are_refused_unopened(tmp_path, suffix):
    class Trap:
        def __reduce__(self):
            return builtins.exec, ("raise SystemExit('ran foreign code')",)

    array = np.empty((2, 2), object)
    array[:] = Trap()
    path = tmp_path / f"a{suffix}"
    (np.save if suffix == ".npy" else np.savez)(path, array, allow_pickle=True)
    refused(path, "pickled Python objects, which are refused|holds no movie")
    (tmp_path / "raw.npy").write_bytes(pickle.dumps([1, 2]))
    refused(tmp_path / "raw.npy", "pickled Python objects")
    if suffix == ".npz":
        refused(f"{path}::arr_0", "pickled Python objects, which are refused")


def test_wrong_dataset_lists_what_is_there(tmp_path):
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        file["g/a"], file["g/b"], file["note"] = FRAMES, FRAMES, "text"
        file["lost"] = h5py.SoftLink("/nowhere")
        file["elsewhere"] = h5py.ExternalLink("absent.h5", "/x")
        file["void"] = h5py.Empty("f4")
    listing = re.escape("/g/a (5, 40, 30) float32, /g/b (5, 40, 30) float32")
    refused(path, f"2 datasets that could be the movie .*{listing}.*a.h5::/path/to/dataset")
    refused(f"{path}::/g/q", f"a.h5::/g/q does not exist: the file holds .*{listing}")
    refused(f"{path}::/lost", f"does not exist: .*{listing}")
    refused(f"{path}::/elsewhere", f"does not exist: .*{listing}")
    refused(f"{path}::g", f"is a group without a default signal: .*{listing}")
    refused(f"{path}::/note", "holds object: a movie needs real numbers")
    refused(f"{path}::/void", "holds nothing")
    refused(f"{path}::", "nothing follows '::'")
    assert read(f"{path}::/g/b").provenance["dataset"] == "/g/b"


def test_wrong_key_lists_what_is_there(tmp_path):
    path = tmp_path / "a.npz"
    np.savez(path, a=FRAMES, b=FRAMES, line=np.arange(3))
    listing = re.escape("a (5, 40, 30) float32, b (5, 40, 30) float32, line (3,) int64")
    refused(path, f"2 arrays that could be the movie .*{listing}.*a.npz::KEY")
    refused(f"{path}::q", f"no array 'q': it holds {listing}")
    refused(f"{path}::line", r"a.npz::line has shape \(3,\)")
    refused(f"{save(tmp_path / 'b.npy', FRAMES)}::x", "a single array: leave out '::x'")
    assert read(f"{path}::b").provenance["dataset"] == "b"


def test_wrong_tiff_series(tmp_path):
    path = whole(tmp_path / "a.tif")
    refused(f"{path}::3", "has 1 series, so ::3 does not exist: use 0")
    refused(f"{path}::x", "numbered series; use .*a.tif::0")


@pytest.mark.parametrize("suffix", [".h5", ".tif", ".npy", ".npz"])
def test_truncated_file_never_gives_other_numbers(tmp_path, suffix):
    """Cut anywhere, a file is refused, or (a TIFF that lost its trailing tables) still reads right."""
    data = whole(tmp_path / f"a{suffix}").read_bytes()
    cut = tmp_path / f"cut{suffix}"
    refusals = 0
    for length in np.linspace(1, len(data) - 1, 23).astype(int):
        cut.write_bytes(data[:length])
        try:
            movie = read(cut)
        except InputError:
            refusals += 1
        else:
            np.testing.assert_array_equal(movie.frames, FRAMES)
    assert refusals >= 20


@pytest.mark.parametrize("options", [{}, {"compression": "zlib"}, {"metadata": None}])
def test_truncated_pages_are_not_dropped_silently(tmp_path, options):
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, FRAMES, photometric="minisblack", contiguous=False, **options)
    data = path.read_bytes()
    for length in np.linspace(200, len(data) - 600, 9).astype(int):
        path.write_bytes(data[:length])
        refused(path, "truncated or damaged|cannot be read as .tif")


@pytest.mark.parametrize("suffix", [".h5", ".npz"])
def test_damaged_compressed_data(tmp_path, suffix):
    """Packed data carry a checksum or fail to unpack."""
    path = tmp_path / f"a{suffix}"
    if suffix == ".npz":
        np.savez_compressed(path, x=FRAMES)
    else:
        with h5py.File(path, "w") as file:
            file.create_dataset("x", data=FRAMES, compression="gzip", fletcher32=True)
    data = bytearray(path.read_bytes())
    middle = len(data) // 2
    data[middle : middle + 64] = bytes(64)
    path.write_bytes(data)
    refused(path, f"cannot be read as {suffix}")


@pytest.mark.parametrize("suffix", [".h5", ".tif", ".npy", ".npz"])
def test_permission_denied(tmp_path, monkeypatch, suffix):
    path = whole(tmp_path / f"a{suffix}")
    monkeypatch.setattr("phdenoise.io.reading._sha256", _denied)  # the first to open the file
    refused(path, "may not be read: ask for read permission")


def _denied(_):
    raise PermissionError(errno.EACCES, "Permission denied")


def test_too_large_for_memory(tmp_path, monkeypatch):
    def too_large(*_):
        raise MemoryError

    path = whole(tmp_path / "a.npy")
    monkeypatch.setattr("phdenoise.io.reading._load", too_large)
    refused(path, "does not fit in memory")


def test_package_missing_within_a_reader(tmp_path, monkeypatch):
    def lacks(*_):
        raise ModuleNotFoundError("No module named 'dask'", name="dask")

    path = whole(tmp_path / "a.npy")
    monkeypatch.setattr("phdenoise.io.reading._load", lacks)
    refused(path, "needs the package 'dask': pip install dask")


@pytest.mark.parametrize("value", [0.0, -1.5, float("nan"), float("inf")])
def test_flags_must_be_positive(tmp_path, value):
    path = whole(tmp_path / "a.npy")
    refused(path, "--pixel-size must be .*positive", pixel_size=value)
    refused(path, "--frame-interval must be positive", frame_interval=value)


def test_channel_of_a_grey_movie(tmp_path):
    refused(whole(tmp_path / "a.npy"), "has no colour .*leave out --channel g", channel="g")
    colour = save(tmp_path / "c.npy", np.random.default_rng(1).uniform(size=(2, 6, 5, 3)))
    refused(colour, "--channel must be mean, r, g, b or 0 to 2, got 'x'", channel="x")
    refused(colour, "got '3'", channel="3")


@pytest.mark.parametrize(
    ("suffix", "extra", "module"),
    [
        (".fits", "neutron", "astropy"),
        (".mrc", "em", "rsciio"),
        (".dm3", "em", "rsciio"),
        (".dm4", "em", "rsciio"),
        (".emd", "em", "rsciio"),
    ],
)
def test_optional_formats_name_their_extra(tmp_path, suffix, extra, module):
    path = tmp_path / f"a{suffix}"
    path.write_bytes(b"no such file" * 300)
    installed = importlib.util.find_spec(module) is not None
    expected = "cannot be read as" if installed else rf"pip install 'phdenoise\[{extra}\]'"
    refused(path, expected)


def test_estimate_is_asked_of_another_file(tmp_path):
    path = whole(tmp_path / "m.h5")
    for wrong in (path, tmp_path / "no.h5"):
        with pytest.raises(InputError, match=r"give the \.h5 file that phdenoise denoise wrote"):
            read_estimate(wrong)

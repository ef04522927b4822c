"""What a file says about its scene (boundary, law of a twin) reaches the fit through every file."""

import h5py
import numpy as np
import pytest

from phdenoise.io.reading import read
from phdenoise.io.writing import write
from phdenoise.movie import Estimate, Movie
from phdenoise.noise.models import Gaussian

FRAMES = np.random.default_rng(0).normal(size=(3, 5, 4)).astype(np.float32)
SAID = {"boundary": "periodic", "simulated": {"model": "fickian", "twin": {"omega": 3.0}}}


def test_boundary_and_law_survive_two_files(tmp_path):
    movie = Movie.from_array(FRAMES, provenance=SAID)
    write(movie, tmp_path / "noisy.h5")
    noisy = read(tmp_path / "noisy.h5")
    write(Estimate(noisy, FRAMES, FRAMES**2, Gaussian(np.float32(1))), tmp_path / "denoised.h5")
    for back in (noisy, read(tmp_path / "denoised.h5")):
        assert {key: back.provenance[key] for key in SAID} == SAID


@pytest.mark.parametrize("said", ["no-flux", np.bytes_(b"periodic")])
@pytest.mark.parametrize("place", ["/", "/run", "/run/images"])
def test_boundary_attribute_of_any_hdf5(tmp_path, said, place):
    with h5py.File(tmp_path / "m.h5", "w") as file:
        file["run/images"] = FRAMES
        file[place].attrs["boundary"] = said
    expected = said.decode() if isinstance(said, bytes) else said
    assert read(tmp_path / "m.h5").provenance["boundary"] == expected


def test_unknown_boundary_is_said_and_ignored(tmp_path):
    with h5py.File(tmp_path / "m.h5", "w") as file:
        file["images"] = FRAMES
        file["images"].attrs["boundary"] = "open"
    record = read(tmp_path / "m.h5").provenance
    assert "boundary" not in record
    assert any("'open' is not known" in note for note in record["notes"])

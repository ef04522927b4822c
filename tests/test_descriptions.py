"""What objects say of themselves fits ten lines, and a notebook shows a picture; nothing is drawn or imported before."""

import base64
import re
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import phdenoise as ph
from phdenoise.learn.comparison import Candidate, Comparison
from phdenoise.learn.result import FitResult, Parameter
from phdenoise.networks.base import build
from phdenoise.networks.context import PIXEL
from phdenoise.noise.models import Gaussian
from phdenoise.simulation import Simulation
from phdenoise.summary import MOST_CHARACTERS, MOST_LINES, short

RNG = np.random.default_rng(0)


def _movie(**changes):
    frames = RNG.normal(100, 9, (5, 30, 20)).astype(np.float32)
    frames[0, :3] = np.nan
    given = {"name": "run 7", "pixel_size": (0.05, 0.1), "length_unit": "um", **changes}
    return ph.Movie.from_array(frames, **given)


def _estimate():
    movie = _movie(mask=np.ones((30, 20), bool), noise=Gaussian(9.0))
    return ph.Estimate(
        movie,
        np.nan_to_num(movie.frames, nan=100.0),
        np.full(movie.shape, 4.0, np.float32),
        Gaussian(9.0),
        history={"loss": list(np.linspace(1, 0, 500))},
        weights={"a": RNG.normal(size=(40, 40))},
        trust={"warnings": ["a warning " * 40], "bias": {"map": np.zeros((30, 20))}},
    )


def _fit(parameters=30):
    c = np.linspace(0.1, 0.9, 101)
    curves = {"c": c}
    for name in ("mu_h", "D"):
        curves |= {name: c**2, f"{name}_low": c**2 - 0.1, f"{name}_high": c**2 + 0.1}
    named = tuple(Parameter(f"p_{n}", 1.0 + n, 0.1, "kT") for n in range(parameters))
    outcome = "The fit converged, and this sentence says how far to trust it. " * 8
    theta = np.zeros(parameters)
    return FitResult(
        "cahn-hilliard", outcome, True, named, curves, None, {}, theta, np.eye(len(theta))
    )


def _comparison():
    rows = tuple(
        Candidate(
            "fickian",
            "Fickian",
            {"q": k},
            f"degree {k}",
            k + 1,
            0.1 * k,
            0.0,
            0.0,
            0.0,
            0.0,
            0.0,
            True,
        )
        for k in range(20)
    )
    return Comparison(rows, 3, "open", "The laws cannot be told apart. " * 20, "share", (0, 5, 9))


def _channels():
    return ph.Channels.from_array(RNG.normal(size=(16, 3, 8, 9)), name="many")


def _channels_estimate():
    one = _estimate()
    return ph.ChannelsEstimate((one,) * 12, tuple("abcdefghijkl"), "many", np.eye(12))


def _denoiser():
    return build(PIXEL, width=8, centre=1.0, spread=2.0, seed=0)


def _law():
    net = ph.physics.random_network(jax.random.key(0), 64)
    return ph.physics.CahnHilliard(
        ph.physics.NetworkEnthalpy(net),
        ph.physics.LegendreMobility(jnp.linspace(0, 1, 30)),
        jnp.asarray(0.002),
    )


PICTURED = (_movie, _estimate, _channels, _channels_estimate, _fit)


def _nothing_measured():
    movie = ph.Movie.from_array(np.full((2, 3, 4), np.nan))
    return ph.Estimate(movie, movie.frames, movie.frames, Gaussian(1.0))


def _simulation():
    return Simulation(_movie(), _movie())


@pytest.mark.parametrize(
    "make", [*PICTURED, _comparison, _denoiser, _nothing_measured, _simulation]
)
def test_text_fits_ten_lines(make):
    lines = repr(make()).splitlines()
    assert 2 <= len(lines) <= MOST_LINES == 10
    assert max(len(line) for line in lines) <= MOST_CHARACTERS


@pytest.mark.parametrize("make", PICTURED)
def test_a_notebook_shows_a_picture_and_the_text(make):
    found = make()
    page = found._repr_html_()
    image = base64.b64decode(re.search(r'base64,([^"]+)"', page)[1])
    assert image.startswith(b"\x89PNG\r\n\x1a\n")
    assert image.endswith(b"IEND\xaeB`\x82")
    assert len(page) < 200_000
    assert repr(found).splitlines()[0].replace("'", "&#x27;") in page


def test_the_facts_are_right():
    movie = _movie(noise=Gaussian(9.0))
    text = repr(movie)
    low, high = np.nanmin(movie.frames), np.nanmax(movie.frames)
    assert f"5 x 30 x 20 [t, y, x] float32, {low:.5g} to {high:.5g} counts" in text
    assert "0.05 x 0.1 um" in text
    assert "Gaussian(sigma=9)" in text
    assert "2 counts (median)" in repr(_estimate())
    assert "1 +- 0.1 kT" in repr(_fit())


def test_a_movie_larger_than_memory_is_described_from_a_sample():
    frames = np.broadcast_to(np.zeros((), np.float32), (10_000, 20_000, 20_000))
    assert "10000 x 20000 x 20000" in repr(ph.Movie.from_array(frames))


def test_numbers_of_a_law_are_shown_and_arrays_summarised():
    law = ph.physics.CahnHilliard(
        ph.physics.RegularSolution(jnp.asarray(3.0)),
        ph.physics.DegenerateMobility(jnp.asarray(1.0)),
        jnp.asarray(0.002),
    )
    assert "omega=3" in short(law)
    assert "kappa=0.002" in short(law)
    text = short(_law())
    assert len(text.splitlines()) <= MOST_LINES
    assert max(len(line) for line in text.splitlines()) <= MOST_CHARACTERS


def test_values_that_a_trace_has_not_computed():
    said = []

    @jax.jit
    def traced(sigma):
        said.append(short(Gaussian(sigma)))
        return sigma

    traced(1.0)
    assert said == ["Gaussian(sigma=float32[])"]


def test_rooms_are_there_and_nothing_is_drawn_at_import():
    code = (
        "import sys, phdenoise as ph; "
        "assert not {'jax', 'matplotlib', 'h5py'} & set(sys.modules); "
        "assert ph.physics.CahnHilliard and ph.noise.Gaussian and ph.learn.fit and ph.networks; "
        "assert {'physics', 'noise', 'networks', 'learn', 'simulate'} <= set(dir(ph)); "
        "ph.Movie.from_array([[1.0, 2.0]]).__repr__(); "
        "assert 'matplotlib' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)

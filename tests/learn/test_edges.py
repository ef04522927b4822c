"""What holds at a face of the frame is read from the data near it."""

import jax
import numpy as np
import pytest
from independent import bumps, diffusion

from phdenoise.denoising.config import DenoiseConfig
from phdenoise.learn import fit
from phdenoise.learn.config import FitConfig
from phdenoise.learn.edge_evidence import settle_faces
from phdenoise.learn.edges import described, parse_faces
from phdenoise.learn.fit_problem import prepare_fit_problem
from phdenoise.learn.laws import given_law
from phdenoise.movie import Movie
from phdenoise.types import InputError

SIDE, TIMES, SIGMA = 24, np.arange(15.0), 0.02
SETTINGS = FitConfig(mobility_degree=0, concentration="as-is", first_frame=0, windows=2)


def movie_of(seed, sigma=SIGMA, **faces):
    frames = diffusion(bumps((SIDE, SIDE), seed), TIMES, 0.5, **faces)
    return Movie.from_array(
        frames + sigma * np.random.default_rng(seed).standard_normal(frames.shape)
    )


def wrapping_movie(seed):
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:SIDE, :SIDE] * 2 * np.pi / SIDE
    start = sum(
        rng.normal() * np.cos(m * y + n * x + rng.uniform(0, 6))
        for m in range(3)
        for n in range(-2, 3)
    )
    start = 0.15 + 0.7 * (start - start.min()) / np.ptp(start)
    frames = diffusion(start, TIMES, 0.5, periodic=True)
    return Movie.from_array(frames + SIGMA * rng.standard_normal(frames.shape))


def settled(movie, config=SETTINGS):
    with jax.enable_x64(True):
        problem = prepare_fit_problem(movie, config, None)
        # Two laws: doubtful faces are then open without a fit.
        return settle_faces(problem, [given_law("fickian", config)] * 2, config)


def test_faces_in_words():
    faces = parse_faces("left=held:0.9, right=open,top=closed")
    assert faces["left"] == ("held", 0.9)
    assert [faces[s].kind for s in ("top", "bottom", "right")] == ["no-flux", "auto", "open"]
    assert parse_faces(described(faces)) == faces
    assert described(parse_faces("periodic")) == "periodic"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("wall", "unknown 'wall'"),
        ("front=held", "no face"),
        ("left=held:a", "no number"),
        ("left=periodic", "together"),
    ],
)
def test_other_words_are_refused(text, words):
    with pytest.raises(InputError, match=words):
        parse_faces(text)


def test_closed_movies_are_not_taken_for_open_ones():
    kinds = [described(settled(movie_of(seed)).faces) for seed in range(24)]
    assert sum(kind == "no-flux" for kind in kinds) >= 23, kinds


def test_nor_are_periodic_ones():
    kinds = [described(settled(wrapping_movie(seed)).faces) for seed in range(24)]
    assert sum(kind == "periodic" for kind in kinds) >= 23, kinds


@pytest.mark.parametrize("faces", [{"held": 0.9}, {"fed": 0.03}])
def test_what_enters_is_seen(faces):
    for seed in range(4):
        found = settled(movie_of(seed, **faces)).faces
        assert found["left"].kind == "open"
        assert sum(face.kind == "open" for face in found.values()) == 1


def test_an_open_rim_has_no_weight():
    problem = settled(movie_of(0), FitConfig(boundary="open", concentration="as-is"))
    valid = problem.valid
    assert not valid[:, 0].any()
    assert not valid[:, :, -1].any()
    assert valid[:, 1:-1, 1:-1].all()


@pytest.mark.slow
def test_what_is_asked_for_is_taken():
    result = fit(
        movie_of(0, 0.0, held=0.9),
        "fickian",
        FitConfig(
            mobility_degree=0,
            concentration="as-is",
            boundary="left=held,right=closed,top=closed,bottom=closed",
            windows=1,
            window_frames=5,
            substeps=2,
            first_frame=0,
        ),
    )
    assert result.value("edge_left_value") == pytest.approx(0.9, abs=0.01)
    assert "edge_left_value" in result.intervals
    np.testing.assert_allclose(result.curves["D"], 0.5, rtol=0.02)
    assert result.settings["boundary_used"] == "top=no-flux,bottom=no-flux,left=held,right=no-flux"
    assert result.law.label == "fickian"


@pytest.mark.study
@pytest.mark.slow
def test_the_evidence_finds_a_held_edge():
    result = fit(movie_of(1, held=0.9), "fickian", SETTINGS)
    assert result.value("edge_left_value") == pytest.approx(0.9, rel=0.05)
    assert result.settings["boundary_evidence"]["left"]["decisive"]


@pytest.mark.study
@pytest.mark.slow
def test_a_fed_edge_is_not_taken_for_a_closed_one():
    used = fit(movie_of(1, fed=0.03), "fickian", SETTINGS).settings["boundary_used"]
    assert "left=fed" in used or "left=open" in used


@pytest.mark.study
@pytest.mark.slow
def test_the_joint_fit_of_a_movie_that_is_fed():
    settings = FitConfig(
        mobility_degree=0,
        joint=True,
        network_steps=0,
        field_waves=8,
        concentration="as-is",
        boundary="left=fed,right=closed,top=closed,bottom=closed",
        denoise=DenoiseConfig(preset="quick", seconds=3.0),
    )
    result = fit(movie_of(2, fed=0.03), "fickian", settings)
    assert result.value("edge_left_flux") == pytest.approx(0.03, rel=0.05)
    np.testing.assert_allclose(result.curves["D"], 0.5, rtol=0.04)

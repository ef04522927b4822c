"""The mask of a movie is the domain of its law, whatever stands outside."""

import jax
import numpy as np
import pytest
from independent import bumps, diffusion
from scipy import ndimage

from phdenoise.denoising.config import DenoiseConfig
from phdenoise.learn import fit
from phdenoise.learn.config import FitConfig
from phdenoise.learn.domain import Domain, find_domain
from phdenoise.learn.fit_problem import prepare_fit_problem
from phdenoise.learn.objective import field_prior
from phdenoise.movie import Movie
from phdenoise.physics.domain import smooth_inside
from phdenoise.types import InputError

SIDE = 24
Y, X = np.mgrid[:SIDE, :SIDE] - (SIDE - 1) / 2
R = np.hypot(Y, X)
SHAPES = {
    "disc": R < 11,
    "ring": (R < 11) & (R > 5),
    "U": (abs(X) < 10) & (abs(Y) < 10) & ~((abs(X) < 4) & (Y < 5)),
    "two": (abs(X) > 1) & (R < 12),
}
TIMES = np.arange(15.0)
# Face value, frames as they are; the fewest terms.
SETTINGS = FitConfig(
    mobility_degree=0,
    windows=1,
    window_frames=5,
    substeps=4,
    concentration="as-is",
    first_frame=0,
)


def movie_of(mask, sigma=0.0, seed=0, outside=np.nan):
    clean = diffusion(np.where(mask, bumps(mask.shape, seed), 0.0), TIMES, 0.5, mask=mask)
    noisy = clean + sigma * np.random.default_rng(seed).standard_normal(clean.shape)
    return np.where(mask, noisy, outside)


@pytest.mark.parametrize("name", SHAPES)
def test_what_was_never_measured_is_outside_but_for_defects(name):
    mask = SHAPES[name]
    frames = movie_of(mask)
    inside = np.argwhere(ndimage.binary_erosion(mask, np.ones((3, 3))))
    for y, x in inside[:: len(inside) // 5]:
        frames[:, y, x] = np.nan
    frames[:, 12, :] = np.nan
    movie = Movie.from_array(frames)
    found = find_domain(movie, movie.valid())
    np.testing.assert_array_equal(found.pixels, mask)
    assert "never measured" in found.sentence


def test_a_mask_is_taken_as_it_is():
    mask = SHAPES["disc"].copy()
    mask[12, 12] = False
    movie = Movie.from_array(np.full((3, SIDE, SIDE), 0.5), mask=mask)
    found = find_domain(movie, movie.valid())
    np.testing.assert_array_equal(found.pixels, mask)
    assert "the movie's mask" in found.sentence


def test_a_movie_measured_everywhere_has_no_mask():
    movie = Movie.from_array(np.full((3, 9, 9), 0.5))
    assert find_domain(movie, movie.valid()) == Domain(None, "")
    with pytest.raises(InputError, match="at least 9"):
        find_domain(movie, np.zeros((3, 9, 9), bool))


def test_binned_parts_do_not_touch():
    """Two plates one pixel apart, in cells of three pixels."""
    pixels = np.ones((12, 24), bool)
    pixels[:, 12] = False
    cells = Domain(pixels, "").binned(3)
    assert not np.any(cells[:, 3] & cells[:, 4])
    assert cells[:, :3].all()
    assert cells[:, 5:].all()


def test_nothing_outside_is_read():
    mask = SHAPES["ring"]
    frames = np.random.default_rng(0).random((4, SIDE, SIDE))
    one, other = (smooth_inside(np.where(mask, frames, v), mask, 1.5) for v in (0.0, 1e6))
    np.testing.assert_allclose(one, other)
    problems = [
        prepare_fit_problem(Movie.from_array(movie_of(mask, 0.02, 0, v), mask=mask), SETTINGS, None)
        for v in (np.nan, 50.0)
    ]
    for name in ("observed", "believed", "variance", "weights"):
        np.testing.assert_allclose(*(getattr(p, name)[:, mask] for p in problems), rtol=1e-6)
    assert np.all(problems[0].weights[:, ~mask] == 0)
    assert np.ptp(problems[0].believed[:, ~mask]) == 0


def test_the_field_of_a_domain_has_waves_of_its_own():
    movie = Movie.from_array(movie_of(SHAPES["two"], 0.02))
    with jax.enable_x64(True):
        problem = prepare_fit_problem(movie, SETTINGS, None)
        prior = field_prior(
            problem.believed[0], problem.grid, sd=0.1, waves=8, dtype=np.dtype(float)
        )
        fields = np.asarray(prior.waves.fields)
        spread = np.sqrt(
            np.mean(np.sum(np.asarray(prior.amplitude) ** 2 * fields**2, 0)[problem.inside])
        )
    np.testing.assert_allclose(
        np.einsum("kyx,lyx->kl", fields, fields), np.eye(len(fields)), atol=1e-8
    )
    assert np.all(fields[:, ~problem.inside] == 0)
    # Each of the two parts has a constant.
    assert np.sum(prior.waves.number < 1e-6) == 2
    assert spread == pytest.approx(0.1, rel=0.01)


@pytest.mark.slow
@pytest.mark.parametrize("name", SHAPES)
def test_a_clean_movie_of_a_domain_gives_its_law(name):
    result = fit(Movie.from_array(movie_of(SHAPES[name])), "fickian", SETTINGS)
    np.testing.assert_allclose(result.curves["D"], 0.5, rtol=0.01)
    assert "nothing flows through the rim" in " ".join(result.provenance["sentences"])


@pytest.mark.slow
def test_the_joint_fit_of_a_particle():
    """The initial field is estimated inside the mask; outside the predicted movie has no value."""
    mask = SHAPES["U"]
    settings = FitConfig(
        mobility_degree=0,
        joint=True,
        network_steps=0,
        field_waves=8,
        concentration="as-is",
        denoise=DenoiseConfig(preset="quick", seconds=3.0),
    )
    result = fit(Movie.from_array(movie_of(mask, 0.02)), "fickian", settings)
    d, low, high = (result.curves[k][50] for k in ("D", "D_low", "D_high"))
    assert d == pytest.approx(0.5, rel=0.04)
    assert low < 0.5 < high
    assert np.isfinite(result.trajectory[:, mask]).all()
    assert np.isnan(result.trajectory[:, ~mask]).all()
    assert result.statistics["chi2_per_dof"] == pytest.approx(1, abs=0.15)

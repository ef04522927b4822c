"""The verdict on a law: false alarms at the stated rate, causes found by name and size, nothing said where nothing moves."""

import numpy as np
import pytest
from independent import diffusion
from scipy.ndimage import gaussian_filter

from phdenoise.learn import FitConfig, compare, fit
from phdenoise.learn.fit_problem import prepare_fit_problem
from phdenoise.learn.misfit import Fit, judge_misfit
from phdenoise.learn.moves import moves
from phdenoise.movie import Movie
from phdenoise.types import InputError

RNG = np.random.default_rng(5)
SHAPE = (8, 16, 16)


def linear_fit(rng, size=4, extra=3, amount=0.0, off=0.0, wider=10.0):
    """A linear model with white noise, fitted about a prior that is `off` by so many of its sd, and directions that it lacks."""
    n = int(np.prod(SHAPE))
    smooth = gaussian_filter(rng.normal(size=(size + extra, *SHAPE)), (0, 2, 2, 2))
    rows = 50 * smooth.reshape(size + extra, n)
    fitted, lacking = rows[:size], rows[size:]
    signal = amount * lacking[0]
    noise = rng.normal(size=n)
    # A prior as narrow as what the data say; without `off` none.
    width = np.sqrt(np.diag(np.linalg.inv(fitted @ fitted.T)))
    precision = np.diag(width**-2.0) * (off != 0)
    covariance = np.linalg.inv(fitted @ fitted.T + precision)
    loose = np.linalg.inv(fitted @ fitted.T + precision / wider**2)
    missed = off * width
    residual = signal - noise - fitted.T @ missed
    residual = residual - fitted.T @ (covariance @ (fitted @ residual))
    movie = gaussian_filter(rng.normal(size=SHAPE), 2)
    change = float(n)
    fit = Fit(
        residual.reshape(SHAPE),
        np.ones(SHAPE, bool),
        np.ones(SHAPE[-2:], bool),
        fitted,
        covariance,
        loose,
        size,
        movie,
        np.ones(SHAPE),
        1.0,
        change,
        True,
    )
    return fit, lacking


def test_errors_of_a_measured_rim_are_no_misfit_of_the_law():
    strip = np.zeros(SHAPE[-2:], bool)
    strip[:, :4] = True
    alarms = {"everywhere": 0, "inside": 0}
    for seed in range(20):
        rng = np.random.default_rng(seed)
        fit, lacking = linear_fit(rng)
        off = np.where(strip, gaussian_filter(rng.normal(size=SHAPE), (1, 2, 2)) * 8, 0.0)
        fit = fit._replace(residual=fit.residual + off)
        columns = {"velocity": np.arange(2), "source": np.arange(2, 3)}
        alarms["everywhere"] += not judge_misfit(fit, lacking, columns).holds
        alarms["inside"] += not judge_misfit(fit._replace(tested=~strip), lacking, columns).holds
    assert alarms["everywhere"] >= 15
    assert alarms["inside"] <= 4


def test_false_alarms_are_no_more_than_stated():
    alarms = 0
    for seed in range(200):
        fit, lacking = linear_fit(np.random.default_rng(seed))
        columns = {"velocity": np.arange(2), "source": np.arange(2, 3)}
        alarms += not judge_misfit(fit, lacking, columns).holds
    # 5 % of 200, and three standard deviations.
    assert alarms <= 19


def test_a_wrong_prior_is_no_wrong_law():
    """Additions that act much like what was fitted: what the prior held back must not be theirs."""

    def alarms(wider):
        found = []
        for seed in range(60):
            fit, lacking = linear_fit(np.random.default_rng(seed), off=10.0, wider=wider)
            like = lacking + 3 * fit.rows[:3]
            misfit = judge_misfit(fit, like, {"velocity": np.arange(2), "source": np.arange(2, 3)})
            found.append({"velocity", "source"} & {f.name for f in misfit.findings})
        return sum(map(bool, found))

    # Two of some seven tests of 5 % together, of 60, and three standard deviations.
    assert alarms(10.0) <= 4
    # The priors of the fit itself would blame the law.
    assert alarms(1.0) > 30


def test_what_is_missing_is_found_by_name_and_size():
    fit, lacking = linear_fit(RNG, amount=1.5)
    found = judge_misfit(fit, lacking, {"anisotropy": np.arange(1), "source": np.arange(1, 3)})
    assert not found.holds
    assert found.findings[0].name == "anisotropy"
    # The residual is prediction minus measurement: an amount of -1.5 of the direction would explain it.
    assert found.findings[0].amount[0] == pytest.approx(-1.5, abs=4 * found.findings[0].sd[0])
    assert "one axis" in found.sentence


def test_a_direction_that_was_fitted_is_no_finding():
    fit, _ = linear_fit(RNG)
    found = judge_misfit(fit, fit.rows[:2], {"velocity": np.arange(2)})
    assert found.holds


def test_a_direction_in_which_the_solve_diverges_tells_nothing():
    fit, lacking = linear_fit(RNG, amount=1.5)
    columns = {"anisotropy": np.arange(1), "source": np.arange(1, 3)}
    spoilt = np.where(np.arange(3)[:, None] == 2, np.nan, lacking)
    found = judge_misfit(fit, spoilt, columns)
    assert found.findings[0].name == "anisotropy"
    assert "source" not in {f.name for f in found.findings}


def diffused(c0, times, diffusivity=(0.4, 0.4), velocity=0.0):
    """Diffusion and advection along x on a periodic box."""
    return diffusion(c0, times, 1.0, periodic=True, ratio=diffusivity, velocity=(0.0, velocity))


def scene(rng, side=20):
    field = gaussian_filter(rng.normal(size=(side, side)), 2.0, mode="wrap")
    return 0.2 + 0.6 * (field - field.min()) / np.ptp(field)


def test_nothing_moves():
    still = np.repeat(scene(RNG)[None], 10, axis=0)
    noisy = Movie.from_array(still + 0.02 * RNG.normal(size=still.shape))
    found = fit(noisy, "fickian")
    assert found.holds is None
    assert "Nothing moves" in found.outcome
    assert found.parameters == ()
    assert "Nothing moves" in repr(found)
    assert found.to_dict()["holds"] is None
    with pytest.raises(InputError, match="nothing moves"):
        compare(noisy, ["fickian", "allen-cahn"])


def test_a_movie_moves_and_noise_does_not():
    said = []
    for seed in range(40):
        rng = np.random.default_rng(seed)
        still = np.repeat(scene(rng)[None], 12, axis=0) + 0.05 * rng.normal(size=(12, 20, 20))
        problem = prepare_fit_problem(Movie.from_array(still), FitConfig(first_frame=0), None)
        said.append(moves(problem))
    assert sum(said) <= 6
    slow = diffused(scene(RNG), np.arange(12.0), (0.1, 0.1))
    problem = prepare_fit_problem(
        Movie.from_array(slow + 0.05 * RNG.normal(size=slow.shape)),
        FitConfig(first_frame=0),
        None,
    )
    assert moves(problem)


SMALL = FitConfig(mobility_degree=1, field_waves=8, boundary="periodic")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("truth", "name"),
    [
        ({}, None),
        ({"velocity": 0.1}, "velocity"),
        ({"diffusivity": (0.8, 0.2)}, "anisotropy"),
    ],
)
def test_a_law_holds_or_the_cause_is_named(truth, name):
    times = np.arange(12.0)
    rng = np.random.default_rng(3)
    clean = diffused(scene(rng), times, **truth)
    found = fit(Movie.from_array(clean + 0.02 * rng.normal(size=clean.shape)), "fickian", SMALL)
    if name is None:
        assert found.holds is True
        assert found.outcome.startswith("The law holds")
        low, high = found.curves["D_low"], found.curves["D_high"]
        assert np.mean((low <= 0.4) & (high >= 0.4)) > 0.5
    else:
        assert found.holds is False
        assert found.outcome.startswith("The law does not hold")
        assert found.misfit["findings"][0]["name"] == name
        assert "well determined" not in found.outcome


@pytest.mark.slow
def test_the_law_does_not_depend_on_units():
    """An intensity in other units and counts, times from 1970, pixels of 40 nm: the same law within a tenth of an sd."""
    times = np.arange(12.0)
    rng = np.random.default_rng(4)
    clean = diffused(scene(rng), times)
    noisy = clean + 0.01 * rng.normal(size=clean.shape)
    first = fit(Movie.from_array(noisy), "fickian", SMALL)
    movie = Movie.from_array(
        30000 * noisy + 500, times=1.7e9 + 60 * times, pixel_size=(40.0, 40.0), time_unit="s"
    )
    other = fit(movie, "fickian", SMALL)
    scale = 40.0**2 / 60
    gap = np.log(other.curves["D"] / first.curves["D"] / scale)
    assert np.all(np.abs(gap) < 0.1 * first.curves["D_sd"] / first.curves["D"])
    assert other.holds is True

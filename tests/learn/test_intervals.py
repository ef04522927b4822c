"""Every method of uncertainty agrees with Laplace where the posterior is normal, and with the exact profile where not."""

import sys
from dataclasses import replace

import jax.numpy as jnp
import numpy as np
import pytest
from families import family

from phdenoise.learn import fit
from phdenoise.learn.config import FitConfig
from phdenoise.learn.gauss_newton import Normal, newton_decrement
from phdenoise.learn.posterior_form import LogPosterior, _multiplicities, _stretches
from phdenoise.learn.profile import Q90, profile
from phdenoise.learn.sampling import bootstrap, nuts
from phdenoise.learn.uncertainty import stretched
from phdenoise.simulation import SimulateConfig, simulate
from phdenoise.types import InputError

pytestmark = pytest.mark.xdist_group("uncertainty")

SPACE = family("fickian", 1, 2)
SMALL = FitConfig(mobility_degree=1, windows=2, window_frames=4, iterations=15, substeps=2)


def _log_posterior(bend: float = 0.0) -> LogPosterior:
    """A line through 400 points, its slope counted as slope + bend slope³: what every method can be told exactly."""
    rng = np.random.default_rng(4)
    design = np.polynomial.legendre.legvander(np.linspace(-1, 1, 400), 2)
    truth = np.array([0.3, 0.5, -0.2])
    noise = 2.0 * rng.normal(size=400)

    def warp(x):
        return x + bend * x**3

    data = design @ (truth + bend * truth**3) + noise
    sd = np.full(3, 10.0)

    def fitted(data, centre):
        # The warp is monotonic: the optimum is that of the linear problem, but for a prior that hardly matters.
        straight = np.linalg.solve(
            design.T @ design / 4 + np.diag(sd**-2), design.T @ data / 4 + centre / sd**2
        )
        x = straight.copy()
        for _ in range(50):
            x = x - (warp(x) - straight) / (1 + 3 * bend * x**2)
        return x

    point = fitted(data, np.zeros(3))

    def normal(x):
        residual = (design @ warp(x) - data) / 2
        rows = (design * (1 + 3 * bend * x**2) / 2).T
        cost = 0.5 * residual @ residual + 0.5 * np.sum((x / sd) ** 2)
        return Normal(cost, rows @ residual + x / sd**2, rows @ rows.T + np.diag(sd**-2))

    def density(x, data):
        residual = (jnp.asarray(design, x.dtype) @ (x + bend * x**3) - data) / 2
        return 0.5 * jnp.sum(residual**2) + 0.5 * jnp.sum((x / 10) ** 2)

    def refit(rng):
        prediction = design @ warp(point)
        drawn = (data - prediction)[rng.integers(0, 400, 400)]
        return fitted(prediction + drawn, sd * rng.standard_normal(3))

    covariance = np.linalg.inv(normal(point).hessian)
    return LogPosterior(
        SPACE,
        point,
        normal,
        lambda x: normal(x).cost,
        lambda x, step: x + step,
        covariance,
        refit,
        density,
        jnp.asarray(data),
    )


def test_profile_of_a_normal_posterior_is_laplaces(x64):
    log_posterior = _log_posterior()
    sd = np.sqrt(np.diag(log_posterior.covariance))
    ratio = lambda theta: float(theta[1] - 2 * theta[2])  # noqa: E731
    found = profile(log_posterior, {"q_0": lambda t: float(t[0]), "mix": ratio})
    expected = log_posterior.point[0] + Q90 * sd[0] * np.array([-1, 1])
    np.testing.assert_allclose(found["q_0"], expected, rtol=1e-6)
    slope = np.array([0, 1, -2])
    wide = Q90 * np.sqrt(slope @ log_posterior.covariance @ slope)
    np.testing.assert_allclose(
        found["mix"], ratio(log_posterior.point) + wide * np.array([-1, 1]), rtol=1e-6
    )


def test_profile_of_a_curved_likelihood_is_the_warped_interval(x64):
    """x + b x³ is normal: the profile must be its interval seen through the warp, which is not symmetric."""
    bend = 0.5
    log_posterior = _log_posterior(bend)
    low, high = profile(log_posterior, {"q_1": lambda t: float(t[1])})["q_1"]
    x = log_posterior.point[1]
    straight = x + bend * x**3
    jacobian = 1 + 3 * bend * log_posterior.point**2
    wide = Q90 * np.sqrt(log_posterior.covariance[1, 1]) * jacobian[1]
    for end, found in ((straight - wide, low), (straight + wide, high)):
        assert found + bend * found**3 == pytest.approx(end, abs=0.02 * wide)
    assert abs((x - low) / (high - x) - 1) > 0.05


def test_profile_finds_the_optimum_that_the_fit_stopped_before(x64):
    log_posterior = _log_posterior(0.5)
    off = log_posterior.point + 0.6 * np.sqrt(np.diag(log_posterior.covariance)) * np.array(
        [1, -1, 1]
    )
    number = {"q_1": lambda t: float(t[1])}
    found, expected = (
        profile(t, number)["q_1"] for t in (log_posterior._replace(point=off), log_posterior)
    )
    np.testing.assert_allclose(found, expected, rtol=2e-3)


def test_profile_where_the_number_ends_is_nan(x64):
    gone = {"root": lambda t: float("nan")}
    assert np.isnan(profile(_log_posterior(), gone)["root"]).all()


def test_bootstrap_of_white_residuals_is_laplaces():
    log_posterior = _log_posterior()
    laws = bootstrap(log_posterior, replicates=600, seed=1)
    np.testing.assert_allclose(laws.std(0), np.sqrt(np.diag(log_posterior.covariance)), rtol=0.12)
    np.testing.assert_allclose(laws.mean(0), log_posterior.point, atol=0.03)


def test_blocks_cover_the_data():
    rng = np.random.default_rng(0)
    counts = _multiplicities(rng, (3, 5, 40, 33))
    assert counts.shape == (3, 1, 40, 33)
    many = np.mean([_multiplicities(rng, (3, 5, 32, 32)) for _ in range(300)])
    assert many == pytest.approx(1.0, abs=0.02)
    frames, signs = _stretches(rng, 40)
    assert set(signs) == {-1.0, 1.0}
    assert signs.shape == (40,)
    assert frames.shape == (40,)
    # Stretches of three consecutive frames.
    assert np.mean((np.diff(frames) - 1) % 40 == 0) > 0.6


@pytest.mark.slow
def test_nuts_samples_the_posterior(x64):
    pytest.importorskip("blackjax")
    log_posterior = _log_posterior()
    chains = nuts(log_posterior, samples=500, warmup=150, seed=3)
    assert chains.r_hat < 1.05
    assert chains.divergent == 0.0
    sd = np.sqrt(np.diag(log_posterior.covariance))
    np.testing.assert_allclose(chains.laws.std(0), sd, rtol=0.15)
    np.testing.assert_allclose(chains.laws.mean(0), log_posterior.point, atol=float(0.3 * sd.max()))


def test_nuts_without_blackjax_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "blackjax", None)
    clean = simulate("fickian", SimulateConfig(size=(8, 8), frames=6, sigma=0.0)).clean
    with pytest.raises(InputError, match=r"phdenoise\[bayes\]"):
        fit(clean, "fickian", replace(SMALL, uncertainty="nuts"))


def test_bands_are_stretched_between_knots():
    c = np.linspace(0.1, 0.9, 33)
    value = np.sin(c)
    edges = (value - 0.1, value + 0.2)
    intervals = {
        f"x@{k}": (np.sin(p) - 0.2, np.nan) for k, p in enumerate(np.linspace(0.1, 0.9, 7))
    }
    low, high = stretched(c, value, edges, intervals, "x")
    np.testing.assert_allclose(low, value - 0.2, atol=1e-3)
    np.testing.assert_allclose(high, edges[1])


def test_away_is_in_standard_deviations():
    log_posterior = _log_posterior()
    step = np.sqrt(np.diag(log_posterior.covariance))
    assert newton_decrement(log_posterior.normal(log_posterior.point)) < 1e-6
    moved = newton_decrement(log_posterior.normal(log_posterior.point + np.array([step[0], 0, 0])))
    correlation = np.linalg.inv(log_posterior.covariance)[0, 0] * step[0] ** 2
    assert moved == pytest.approx(np.sqrt(correlation))


@pytest.mark.study
@pytest.mark.slow
def test_a_fit_reports_intervals_convergence_and_rank():
    clean = simulate("fickian", SimulateConfig(size=(16, 16), frames=12, sigma=0.0)).movie
    rng = np.random.default_rng(0)
    noisy = replace(clean, frames=clean.frames + 0.01 * rng.normal(size=clean.shape))
    results = {
        m: fit(noisy, "fickian", replace(SMALL, uncertainty=m))
        for m in ("laplace", "profile", "bootstrap")
    }
    widths = {m: np.diff(r.intervals["q_0"])[0] for m, r in results.items()}
    # A law nearly linear in ln D: three roads to one interval.
    assert widths["profile"] == pytest.approx(widths["laplace"], rel=0.15)
    assert 0.5 < widths["bootstrap"] / widths["laplace"] < 2.0
    plain = results["profile"].to_dict()
    assert plain["uncertainty"]["method"] == "profile"
    assert plain["convergence"]["away_sd"] < 0.3
    assert plain["identifiability"]["rank"] == 2
    assert "The data determine 2 of 2" in plain["identifiability"]["sentence"]
    assert plain["derived"] == []
    curves = results["profile"].curves
    assert (curves["D_low"] < curves["D"]).all()
    assert (curves["D"] < curves["D_high"]).all()


@pytest.mark.study
@pytest.mark.slow
def test_nuts_of_a_law_agrees_with_laplace():
    pytest.importorskip("blackjax")
    clean = simulate("fickian", SimulateConfig(size=(16, 16), frames=12, sigma=0.0)).movie
    rng = np.random.default_rng(0)
    noisy = replace(clean, frames=clean.frames + 0.01 * rng.normal(size=clean.shape))
    laplace, sampled = (
        fit(noisy, "fickian", replace(SMALL, uncertainty=m, draws=200)) for m in ("laplace", "nuts")
    )
    assert sampled.uncertainty["nuts_r_hat"] < 1.1
    ratio = [np.diff(r.intervals["q_0"])[0] for r in (sampled, laplace)]
    assert ratio[0] == pytest.approx(ratio[1], rel=0.4)

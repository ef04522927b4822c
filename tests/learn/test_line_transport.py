"""The profile fit finds the diffusivity and the fluxes that were put in, within its error bars."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from phdenoise.grid import Grid
from phdenoise.learn.line_transport import ProfileData, ProfileFitConfig, fit_profile
from phdenoise.physics import simulate
from phdenoise.physics.boundary_flux import DrivenFickian
from phdenoise.physics.mobility import LegendreMobility
from phdenoise.types import InputError

CELLS, TIMES = 16, np.linspace(0.0, 40.0, 17)
KNOTS = np.array([0.0, 19.0, 21.0, 40.0])
SHAPES = np.array([[1.0, 1.0, 0.0, 0.0], [0.0, 0.0, 1.0, 1.0]])
Q = np.array([-0.3, -0.6])
FLUX = np.array([[0.15, -0.05], [0.05, -0.12]])  # through the left and the right face
PLACES = np.stack([np.eye(CELLS)[0], np.eye(CELLS)[-1]])
CONFIG = ProfileFitConfig(degree=1, iterations=12)


@pytest.fixture(scope="module")
def truth():
    with jax.enable_x64(True):
        model = DrivenFickian(
            LegendreMobility(jnp.asarray(Q)),
            jnp.asarray(PLACES)[:, None],
            jnp.asarray(KNOTS),
            jnp.asarray(FLUX @ SHAPES),
        )
        start = jnp.full((1, CELLS), 0.2)
        grid = Grid((1, CELLS), 1.0, "no-flux")
        frames = simulate(model, grid, start, jnp.asarray(TIMES), substeps=16)
        return np.asarray(frames[:, 0] - start)


def _data(change, sd, common=0.0):
    full = np.full(change.shape, sd)
    arrays = (change, full, TIMES[: len(change)], np.full(CELLS, 0.2), PLACES, KNOTS, SHAPES, np.full(CELLS, common))  # fmt: skip
    return ProfileData(*map(jnp.asarray, arrays))


@pytest.mark.slow
def test_law_and_fluxes_are_recovered_within_their_errors(truth):
    rng = np.random.default_rng(0)
    sd, common = 0.01, 0.005
    noisy = truth + sd * rng.standard_normal(truth.shape) + common * rng.standard_normal(CELLS)
    fit = fit_profile(_data(noisy, sd, common), CONFIG)
    assert fit.converged, fit.outcome
    z = (fit.theta - np.r_[Q, FLUX.ravel()]) / np.sqrt(np.diag(fit.covariance))
    assert np.abs(z).max() < 3.5
    assert fit.statistics["chi2_per_dof"] == pytest.approx(1, abs=0.2)
    assert np.sqrt(np.mean((fit.change - truth) ** 2)) < 0.6 * sd
    exact = np.exp(np.polynomial.legendre.legval(2 * fit.curves["u"] - 1, Q))
    assert np.abs(np.log(fit.curves["D"] / exact)).max() < 0.25


@pytest.mark.slow
def test_units_follow_the_spacing(truth):
    plain = fit_profile(_data(truth, 1e-4), CONFIG)
    scaled = fit_profile(_data(truth, 1e-4), CONFIG, spacing=0.1, length_unit="mm", time_unit="s")
    assert np.allclose(plain.theta, np.r_[Q, FLUX.ravel()], atol=2e-3)
    assert np.allclose(scaled.curves["D"], 0.01 * plain.curves["D"], rtol=1e-6)
    assert scaled.parameters[0].unit == "ln mm^2/s"
    assert scaled.parameters[-1].value == pytest.approx(0.1 * plain.parameters[-1].value)
    assert np.allclose(scaled.flux, 0.1 * plain.flux)


@pytest.mark.slow
def test_intervals_cover(truth):
    rng = np.random.default_rng(1)
    z = []
    for _ in range(40):
        noisy = truth + 0.02 * (rng.standard_normal(truth.shape) + rng.standard_normal(CELLS))
        fit = fit_profile(_data(noisy, 0.02, 0.02), CONFIG)
        z.append((fit.theta - np.r_[Q, FLUX.ravel()]) / np.sqrt(np.diag(fit.covariance)))
    inside = np.abs(z) < 1.645
    assert 0.83 < np.mean(inside) < 0.96  # 240 numbers, six of them a fit: 0.90 +- 0.025


@pytest.mark.slow
def test_a_diffusivity_that_noise_hides_is_not_stated(truth):
    noisy = truth + np.random.default_rng(0).standard_normal(truth.shape)
    hidden, seen = (fit_profile(_data(m, s), CONFIG) for m, s in ((noisy, 1.0), (truth, 0.01)))
    assert not hidden.determined
    assert hidden.outcome.startswith("D is not determined: the profiles leave it open by a factor")
    assert hidden.to_dict()["determined"] is False
    assert seen.determined
    assert "D is known to" in seen.outcome


def test_what_cannot_be_fitted_is_said(truth):
    with pytest.raises(InputError, match="3 profiles"):
        fit_profile(_data(truth[:2], 0.1))
    with pytest.raises(InputError, match="positive standard deviations"):
        fit_profile(_data(truth, 0.0))

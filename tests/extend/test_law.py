"""A law from outside the package: defined here, fitted and compared through the public verbs.

The truth is an independent solution: the method of lines with SciPy.
"""

import inspect
from pathlib import Path

import numpy as np
import pytest
from jax import Array
from scipy.integrate import solve_ivp

import phdenoise as ph
from phdenoise.physics import (
    DIFFUSIVITY,
    POSITIVE,
    RATE,
    Law,
    laplacian,
    largest_symbol,
    parameter,
)

pytestmark = pytest.mark.xdist_group("extend_law")
PAGE = Path(__file__).parents[2] / "docs" / "extend" / "law.md"
# Diffusivity [um^2/s], growth [1/s], pixel [um], frame interval [s].
D, R, PIXEL, INTERVAL = 0.05, 0.06, 0.5, 2.0
QUICK = ph.FitConfig(
    concentration="as-is", boundary="periodic", windows=2, window_frames=5, mobility_degree=1
)


class FisherKPP(Law):
    """∂c/∂t = D ∇²c + r c (1 − c): spreading and growth to saturation."""

    diffusivity: Array = parameter(POSITIVE, sd=3.0, dimension=DIFFUSIVITY)
    growth: Array = parameter(POSITIVE, sd=3.0, dimension=RATE)

    def rhs(self, t, c, grid):
        return self.diffusivity * laplacian(c, grid) + self.growth * c * (1 - c)

    def spectral_radius(self, c, grid):
        return self.diffusivity * largest_symbol(grid, c) + self.growth


def solution(frames: int, side: int) -> np.ndarray:
    """Fields [t, y, x] of the law, by SciPy."""
    y, x = np.mgrid[:side, :side] * 2 * np.pi / side
    start = 0.35 + 0.12 * np.sin(y) * np.cos(x) + 0.08 * np.cos(2 * x + y)

    def rate(t, flat):
        c = flat.reshape(side, side)
        around = sum(np.roll(c, s, axis) for s in (1, -1) for axis in (0, 1))
        return (D * (around - 4 * c) / PIXEL**2 + R * c * (1 - c)).ravel()

    times = INTERVAL * np.arange(frames)
    found = solve_ivp(rate, times[[0, -1]], start.ravel(), t_eval=times, rtol=1e-7, atol=1e-9)
    return found.y.T.reshape(frames, side, side)


@pytest.fixture(scope="module")
def movie() -> ph.Movie:
    frames = solution(9, 16) + 1e-4 * np.random.default_rng(0).normal(size=(9, 16, 16))
    times = INTERVAL * np.arange(9)
    return ph.Movie.from_array(
        frames, times=times, pixel_size=(PIXEL, PIXEL), length_unit="um", time_unit="s"
    )


@pytest.mark.slow
def test_a_fit_finds_the_numbers_of_a_users_law(movie):
    # Both numbers start a factor of four off.
    result = ph.fit(movie, FisherKPP(diffusivity=0.2, growth=0.015), QUICK)
    assert result.converged, result.outcome
    assert result.model == "FisherKPP"
    for name, truth, unit in (("diffusivity", D, "um^2/s"), ("growth", R, "1/s")):
        low, high = result.intervals[name]
        found = next(p for p in result.parameters if p.name == name)
        assert found.unit == unit
        assert found.value == pytest.approx(truth, rel=0.03)
        # Residuals include noise of the start frames: a 90 % interval, doubled.
        assert abs(found.value - truth) < high - low
    assert float(result.law.diffusivity) == pytest.approx(result.value("diffusivity"))
    assert result.statistics["explained_variance"] > 0.99
    assert result.to_dict()["parameters"][0]["name"] == "diffusivity"


@pytest.mark.slow
def test_a_number_can_be_held(movie):
    result = ph.fit(movie, FisherKPP(diffusivity=D, growth=0.02, fixed=("diffusivity",)), QUICK)
    assert [p.name for p in result.parameters] == ["growth"]
    assert float(result.law.diffusivity) == pytest.approx(D)
    assert result.value("growth") == pytest.approx(R, rel=0.03)


def test_comparison_prefers_the_law_that_grows(movie):
    found = ph.compare(movie, [FisherKPP(diffusivity=0.2, growth=0.015), "fickian"], QUICK)
    assert found.law.model == "FisherKPP"
    assert found.law.held_out < 0.05 * min(
        c.held_out for c in found.candidates if c.model == "fickian"
    )


def test_the_page_shows_this_law():
    assert inspect.getsource(FisherKPP) in PAGE.read_text(encoding="utf-8")

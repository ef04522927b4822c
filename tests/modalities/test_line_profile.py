"""Line profiles: plane functions exactly, error bars as Monte Carlo, lines in any direction."""

import numpy as np
import pytest

from phdenoise.modalities.line_profile import Line, line_profile
from phdenoise.types import InputError

Y, X = np.mgrid[:30, :40].astype(float)
LINES = {
    "along x": Line((14.5, 0.0), (14.5, 39.0), 30),
    "along y": Line((0.0, 10.0), (29.0, 10.0), 5),
    "slanted": Line((5.3, 6.1), (22.7, 33.0), 7),
}


@pytest.mark.parametrize("name", list(LINES))
def test_a_plane_is_reproduced(name):
    line = LINES[name]
    plane = (2 + 0.3 * Y - 0.1 * X)[None]
    got = line_profile(plane, np.ones_like(plane), line, pixel_size=(0.5, 0.5))
    s = np.linspace(0, 1, got.distance.size)
    (y0, x0), (y1, x1) = line.start, line.end
    exact = 2 + 0.3 * (y0 + s * (y1 - y0)) - 0.1 * (x0 + s * (x1 - x0))
    assert np.allclose(got.value[0], exact, atol=1e-5)
    assert got.distance[-1] == pytest.approx(0.5 * np.hypot(y1 - y0, x1 - x0))


@pytest.mark.parametrize("name", list(LINES))
def test_errors_are_those_of_monte_carlo(name):
    rng = np.random.default_rng(0)
    sd = (1 + 0.5 * np.sin(X / 5))[None]
    noise = sd * rng.standard_normal((3000, 30, 40))
    got = line_profile(noise, np.broadcast_to(sd, noise.shape), LINES[name])
    assert np.allclose(np.std(got.value, axis=0) / got.sd[0], 1, atol=0.06)
    inside = (got.low < 0) & (got.high > 0)
    assert np.mean(inside) == pytest.approx(0.9, abs=0.01)


def test_correlated_errors_are_bounded_and_gaps_are_left_out():
    line, sd = LINES["along x"], np.ones((1, 30, 40))
    common = line_profile(np.ones((1, 30, 40)), sd, line, errors=None)
    assert np.allclose(common.sd, 1)
    assert np.allclose(line_profile(sd, sd, line, inflation=4.0).sd, 2 / np.sqrt(30))
    holes = np.where((X == 7) | (Y < 3), np.nan, 5.0)[None]
    got = line_profile(holes, sd, line)
    assert np.isnan(got.value[0, 7])
    assert np.allclose(np.delete(np.asarray(got.value[0]), 7), 5)
    assert got.sd[0, 0] == pytest.approx(1 / np.sqrt(27), rel=1e-5)


def test_lines_that_leave_the_frame_are_refused():
    values = np.ones((1, 30, 40))
    with pytest.raises(InputError, match="leaves the frame"):
        line_profile(values, values, Line((2.0, 0.0), (2.0, 39.0), 9))
    with pytest.raises(InputError, match="length"):
        line_profile(values, values, Line((2.0, 3.0), (2.0, 3.0)))

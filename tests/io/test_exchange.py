"""Movies as xarray and hyperspy objects: values, coordinates and units there and back; figures in notebooks."""

import numpy as np
import pytest

import phdenoise as ph
from phdenoise.noise.models import Gaussian

RNG = np.random.default_rng(0)


def _movie(times=(0.0, 1.0, 2.5)):
    return ph.Movie(
        RNG.normal(5, 1, (3, 4, 6)).astype(np.float32), times=np.asarray(times), pixel_size=(0.1, 0.2),
        time_unit="s", length_unit="um", intensity_unit="mol/cm^3", name="cell",
    )  # fmt: skip


def _same(back, movie):
    np.testing.assert_array_equal(back.frames, movie.frames)
    np.testing.assert_allclose(back.times, movie.times)
    np.testing.assert_allclose(back.pixel_size, movie.pixel_size)
    for name in ("time_unit", "length_unit", "intensity_unit", "name"):
        assert getattr(back, name) == getattr(movie, name)


def test_xarray_there_and_back():
    xarray = pytest.importorskip("xarray")
    movie = _movie()
    array = movie.to_xarray()
    assert array.dims == ("time", "y", "x")
    assert array.attrs["units"] == "mol/cm^3"
    assert array.sel(time=2.5, x=0.4).values == pytest.approx(movie.frames[2, :, 2])
    _same(ph.Movie.from_xarray(array.transpose("x", "time", "y")), movie)
    dates = array.assign_coords(time=np.array(["2026-01-01", "2026-01-02", "2026-01-04"], "M8[ns]"))
    np.testing.assert_allclose(ph.Movie.from_xarray(dates).times, [0, 86400, 3 * 86400])
    with pytest.raises(ph.InputError, match="uneven"):
        ph.Movie.from_xarray(array.assign_coords(x=[0, 1, 2, 3, 4, 9.0]))
    with pytest.raises(ph.InputError, match="rename"):
        ph.Movie.from_xarray(array.rename(x="wavelength"))
    assert ph.Movie.from_xarray(xarray.DataArray(np.ones((4, 6)), dims=("y", "x"))).shape == (
        1,
        4,
        6,
    )


def test_an_estimate_as_a_dataset():
    pytest.importorskip("xarray")
    movie = _movie()
    estimate = ph.Estimate(movie, movie.frames, 0.04 + 0 * movie.frames, Gaussian(1.0))
    found = estimate.to_xarray()
    assert set(found) == {"noisy", "mean", "sd", "variance"}
    assert found["variance"].attrs["units"] == "mol^2/cm^6"
    np.testing.assert_allclose(found["sd"], 0.2, rtol=1e-6)


@pytest.mark.parametrize("times", [(0.0, 1.0, 2.0), (0.0, 1.0, 2.5)])
def test_hyperspy_there_and_back(times):
    pytest.importorskip("hyperspy.api")
    movie = _movie(times)
    signal = movie.to_hyperspy()
    assert signal.axes_manager.navigation_axes[0].units == "s"
    _same(ph.Movie.from_hyperspy(signal), movie)
    with pytest.raises(ph.InputError, match="Signal2D"):
        ph.Movie.from_hyperspy(signal.as_signal1D(2))


def test_plots_show_themselves_in_notebooks():
    movie = _movie()
    estimate = ph.Estimate(movie, movie.frames, 0.04 + 0 * movie.frames, Gaussian(1.0))
    for figure in (movie.plot(2), estimate.plot()):
        assert figure._repr_png_().startswith(b"\x89PNG")
    assert len(movie.plot(2).axes) == 3

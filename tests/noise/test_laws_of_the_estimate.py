"""Laws that the estimate of the noise obeys on any movie: unit, pedestal, type, direction and length do not matter."""

import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from phdenoise.noise.defects import defects
from phdenoise.noise.estimate import estimate_noise
from phdenoise.noise.models import Gaussian, Poisson, PoissonGaussian
from phdenoise.noise.models.gaussian import predictable_share

SHAPE = (12, 40, 44)
# The estimate of a transformed movie is the same estimate; rounding of single precision and ties of quantiles are left.
SAME = 2e-3


def disc(shape=SHAPE, speed=0.25):
    """A disc that drifts over a background, 0.2 and 0.8."""
    t, y, x = np.mgrid[: shape[0], : shape[1], : shape[2]].astype(float)
    return 0.2 + 0.6 / (1 + np.exp((np.hypot(y - 24, x - 18 - speed * t) - 10) / 1.5))


def draw(kind, seed, shape=SHAPE):
    """A noisy movie and its expectation."""
    rng, clean = np.random.default_rng(seed), 100 * disc(shape)
    if kind == "gaussian":
        return rng.normal(clean, 8.0), clean
    if kind == "counts":
        return rng.poisson(clean).astype(float), clean
    return 2.5 * rng.poisson(clean / 2.5) + rng.normal(0, 4.0, clean.shape), clean


KINDS = st.sampled_from(["gaussian", "counts", "both"])
SEEDS = st.integers(0, 99)


def variance(found, level):
    """Variance that an estimate states at intensities."""
    return np.asarray(found.model.variance(jnp.asarray(level, jnp.float32)), np.float64)


def assert_same(one, other, level, turn=lambda rho: rho, tolerance=SAME):
    """Two estimates agree: variance at every intensity, and correlation."""
    np.testing.assert_allclose(variance(other, level), variance(one, level), rtol=4 * tolerance)
    np.testing.assert_allclose(other.autocorrelation, turn(one.autocorrelation), atol=2 * tolerance)
    assert one.blind == other.blind


@settings(deadline=None, max_examples=25)
@given(KINDS, SEEDS, st.floats(-12, 12), st.floats(30, 1e4), st.sampled_from([-1, 0, 1]))
def test_unit_and_pedestal(kind, seed, decades, pedestal, sign):
    """y -> a y + b, in double precision: the variance at a x + b is a² times that at x."""
    noisy, clean = draw(kind, seed)
    # A pedestal of less than the noise's sd leaves counts that are nearly counts.
    a, pedestal = 10.0**decades, sign * pedestal
    one, other = estimate_noise(noisy), estimate_noise(a * (noisy + pedestal))
    levels = np.quantile(clean, [0.05, 0.5, 0.95])
    # With a pedestal, counts of unit gain are no longer recognised as such, and the gain has the error of the line. Parameters are
    # single: next to a pedestal of 1e4, an intensity is known to 1e-3.
    wanted = a**2 * variance(one, levels)
    tolerance = 0.12 if kind == "counts" and pedestal else 0.01
    np.testing.assert_allclose(variance(other, a * (levels + pedestal)), wanted, rtol=tolerance)
    np.testing.assert_allclose(other.autocorrelation, one.autocorrelation, atol=1e-3)
    assert one.blind == other.blind
    assert isinstance(other.model, Gaussian) == isinstance(one.model, Gaussian)


@settings(deadline=None, max_examples=15)
@given(KINDS, SEEDS, st.sampled_from([np.float32, np.float64, np.int32]))
def test_type(kind, seed, dtype):
    noisy, clean = draw(kind, seed)
    noisy = np.round(noisy)
    assert_same(estimate_noise(noisy), estimate_noise(noisy.astype(dtype)), clean[0])


@settings(deadline=None, max_examples=10)
@given(KINDS, SEEDS)
def test_big_endian(kind, seed):
    noisy, clean = draw(kind, seed)
    assert_same(estimate_noise(noisy), estimate_noise(noisy.astype(">f8")), clean[0])


@settings(deadline=None, max_examples=20)
@given(KINDS, SEEDS, st.sampled_from(["y", "x", "t", "transposed"]))
def test_direction(kind, seed, how):
    """Flips, time reversal and transposition."""
    noisy, clean = draw(kind, seed)
    turned, turn = {
        "y": (noisy[:, ::-1], lambda rho: rho[::-1]),
        "x": (noisy[:, :, ::-1], lambda rho: rho[:, ::-1]),
        "t": (noisy[::-1], lambda rho: rho),
        "transposed": (np.swapaxes(noisy, 1, 2), lambda rho: rho.T),
    }[how]
    # Edges of places that are judged at rest do not mirror exactly.
    assert_same(estimate_noise(noisy), estimate_noise(turned), clean[0], turn, 1e-2)


@settings(deadline=None, max_examples=10)
@given(KINDS, SEEDS)
def test_doubled_frames(kind, seed):
    """Every frame twice in time is the same measurement."""
    noisy, clean = draw(kind, seed)
    assert_same(estimate_noise(noisy), estimate_noise(np.repeat(noisy, 2, axis=0)), clean[0])


@settings(deadline=None, max_examples=10)
@given(SEEDS)
def test_a_frame_twice_as_large(seed):
    """Two exposures side by side have the same noise as each."""
    noisy, clean = draw("gaussian", seed)
    other, _ = draw("gaussian", seed + 1000)
    both = estimate_noise(np.concatenate([noisy, other], axis=2))
    np.testing.assert_allclose(variance(both, clean[0]), 64.0, rtol=0.05)


@settings(deadline=None, max_examples=25)
@given(
    st.integers(2, 12), st.integers(6, 40), st.integers(6, 40), SEEDS,
    st.sampled_from(["white", "walk", "waves", "steps", "counts", "sparse"]),
)  # fmt: skip
def test_every_estimate_is_possible(frames, ny, nx, seed, kind):
    """Correlations within [-1, 1], positive finite variances, of whatever is given."""
    rng, shape = np.random.default_rng(seed), (frames, ny, nx)
    noisy = {
        "white": lambda: rng.normal(size=shape),
        "walk": lambda: np.cumsum(rng.normal(size=shape), axis=1),
        "waves": lambda: (
            np.sin(np.arange(ny)[:, None] / 1.3 + rng.uniform(0, 7, (frames, 1, 1)))
            + 0.1 * rng.normal(size=shape)
        ),
        "steps": lambda: rng.normal(size=(frames, 1, 1)) * 9 + rng.normal(size=shape),
        "counts": lambda: rng.poisson(rng.uniform(0, 5, (ny, nx)), shape) * 1.0,
        "sparse": lambda: rng.poisson(0.03, shape) + (np.arange(nx) == 0),
    }[kind]()
    found = estimate_noise(noisy)
    assert np.all(np.abs(found.autocorrelation) <= 1 + 1e-9)
    assert all(np.all(np.abs(found.correlation[k]) <= 1 + 1e-9) for k in "xyt")
    assert found.autocorrelation_sd >= 0
    assert np.all(variance(found, np.quantile(noisy, [0, 0.5, 1])) > 0)
    assert np.all(found.transfer[:, 1:] >= 0)
    assert np.isfinite(found.transfer).all()
    assert all(s >= 0 for s in found.sd.values())
    # A covariance is positive: no more than all of a pixel's noise can be predicted from its neighbours.
    rho = found.significant_autocorrelation().astype(float)
    assert len(rho) < 3 or 0 <= predictable_share(rho, (0, 0)) <= 1 + 1e-9


@pytest.mark.parametrize("kind", ["gaussian", "both"])
def test_more_frames_tell_more(kind):
    few, many = (estimate_noise(draw(kind, 3, (n, 40, 44))[0]) for n in (6, 48))
    for name, sd in many.sd.items():
        assert sd <= few.sd[name]


@pytest.mark.parametrize("pedestal", [30000.0, -30000.0])
def test_a_pedestal_is_an_offset(pedestal):
    noisy = np.random.default_rng(0).poisson(200 * disc((24, 48, 48))) + pedestal
    model = estimate_noise(noisy).model
    assert isinstance(model, PoissonGaussian)
    assert float(model.gain) == pytest.approx(1.0, abs=0.05)
    assert float(model.offset) == pytest.approx(pedestal, abs=8)


@pytest.mark.parametrize("mean", [0.01, 0.05, 0.2, 0.45, 2.0, 119.0])
@pytest.mark.parametrize("contrast", [0.0, 1.0])
@pytest.mark.parametrize(("unit", "zero"), [(1.0, 0.0), (1e-10, 0.0), (2.5, -7.0)])
def test_dark_scenes_are_counts(mean, contrast, unit, zero):
    """Variance equal to the mean tells counts, where a line of variance against intensity is too short to be seen."""
    if mean > 100 and zero:
        pytest.skip("without a zero among the values nothing tells the offset of a flat scene")
    pattern = disc((24, 48, 48))
    clean = mean * (1 + contrast * (pattern / pattern.mean() - 1))
    counts = np.random.default_rng(0).poisson(clean).astype(float)
    found = estimate_noise(unit * counts + zero)
    assert isinstance(found.model, Poisson)
    assert float(found.model.gain) == pytest.approx(unit, rel=1e-5)
    assert float(found.model.offset) == pytest.approx(zero, abs=1e-5 * unit)
    assert found.blind == "pixel"
    hits = defects((unit * counts + zero).astype(np.float32), noise=found.model).counts
    assert hits["spot"] == hits["hot"] == 0
    assert any("Binning" in s for s in found.sentences) == (mean < 1)

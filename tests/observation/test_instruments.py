"""Every instrument: observe and quantify are inverse, gradients are right and finite, error bars as Monte Carlo says."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from phdenoise.observation.affine import AffineConcentration, Transmission
from phdenoise.observation.blur import Blur
from phdenoise.observation.integration import ExposureIntegration, PixelIntegration
from phdenoise.observation.lithium_change import LithiumChange
from phdenoise.observation.lithium_fraction import LithiumFraction
from phdenoise.observation.mass_thickness import MassThickness
from phdenoise.observation.optical_density import OpticalDensity
from phdenoise.observation.state_of_charge import StateOfCharge
from phdenoise.types import InputError

SHAPE = (3, 5, 6)
RNG = np.random.default_rng(0)
FRACTION = jnp.asarray(RNG.uniform(0.1, 0.9, SHAPE))
FINE = jnp.asarray(RNG.uniform(0.1, 0.9, (6, 8, 10)))
SPECTRA = (jnp.array([0.3, 0.9, 1.4]), jnp.array([0.3, 1.5, 0.8]))


def _unmix(known, n=3, scale=4000.0):
    high, low = (s[:n] for s in SPECTRA)
    return LithiumFraction(jnp.full(n, scale), high, low, jnp.asarray(0.9), known)


# Name -> instrument, and a field that it may see.
CASES = {
    "affine": (AffineConcentration(50.0, 250.0), FRACTION),
    "transmission": (
        Transmission(jnp.full(SHAPE[1:], 10.0), jnp.asarray(RNG.uniform(800, 900, SHAPE[1:]))),
        FRACTION,
    ),
    "od": (OpticalDensity(jnp.full(SHAPE[1:], 900.0)), 2 * FRACTION),
    "lithium, thickness fitted": (_unmix(False), FRACTION),
    "lithium, one energy": (_unmix(True, 2), FRACTION),
    "neutron": (
        LithiumChange(
            reference=jnp.full(SHAPE[1:], 5000.0),
            dark=jnp.full(SHAPE[1:], 20.0),
            thickness=jnp.asarray(1.0),
            dose=jnp.array([1.0, 1.02, 0.97]),
        ),
        0.02 * (FRACTION - 0.5),
    ),
    "optical": (
        StateOfCharge.from_points(np.array([220.0, 120.0, 90.0]), np.array([0.0, 0.5, 1.0])),
        FRACTION,
    ),
    "tem": (MassThickness(jnp.asarray(400.0), gain=3.0, offset=10.0, attenuation=2.0), FRACTION),
    "transmission, then absorption": (
        AffineConcentration(0.1, 1.5) >> OpticalDensity(jnp.asarray(900.0)),
        FRACTION,
    ),
}
# Instruments that lose detail: name -> instrument, a field, and what of the field they resolve.
COARSE = {
    "blur": (Blur(0.8), FINE, lambda f: Blur(0.8).observe(f)),
    "pixels, mean": (PixelIntegration(2), FINE, lambda f: _blocks(f, 2)),
    "pixels, sum": (PixelIntegration(2, summed=True), FINE, lambda f: _blocks(f, 2)),
    "exposure": (ExposureIntegration(3), FINE, lambda f: _intervals(f, 3, 3)),
    "short exposure": (ExposureIntegration(3, exposed=2), FINE, lambda f: _intervals(f, 3, 2)),
    "all": (
        AffineConcentration(20.0, 60.0) >> PixelIntegration(2, summed=True) >> ExposureIntegration(2),
        FINE,
        lambda f: _intervals(_blocks(f, 2), 2, 2),
    ),
}  # fmt: skip
ALL = CASES | {name: case[:2] for name, case in COARSE.items()}


def _blocks(f, n):
    t, y, x = f.shape
    mean = f.reshape(t, y // n, n, x // n, n).mean((2, 4))
    return jnp.repeat(jnp.repeat(mean, n, axis=1), n, axis=2)


def _intervals(f, n, exposed):
    mean = f.reshape(-1, n, *f.shape[1:])[:, :exposed].mean(1)
    return jnp.repeat(mean, n, axis=0)


@pytest.fixture(params=list(CASES))
def case(request):
    return CASES[request.param]


@pytest.fixture(params=list(ALL))
def any_case(request):
    return ALL[request.param]


def test_inverse_on_noise_free_data(case):
    instrument, field = case
    counts = instrument.observe(field)
    back, var = instrument.quantify(counts, counts)
    assert np.allclose(back, field, rtol=2e-4, atol=2e-5)
    assert back.shape == var.shape == field.shape
    assert np.all(np.isfinite(var) & (var > 0))
    assert instrument.invertible
    assert instrument.lower <= float(field.min()) <= float(field.max()) <= instrument.upper


@pytest.mark.parametrize("name", list(COARSE))
def test_inverse_up_to_the_resolution(name):
    instrument, field, resolved = COARSE[name]
    counts = instrument.observe(field)
    back, var = instrument.quantify(counts, counts)
    assert not instrument.invertible
    assert np.allclose(back, resolved(field), rtol=1e-5)
    assert np.allclose(back, instrument.resolved(field), rtol=1e-5)
    assert back.shape == var.shape == field.shape
    if name != "blur":
        assert np.allclose(instrument.observe(back), counts, rtol=1e-5)


def test_gradients_are_finite_even_where_nothing_was_counted(case):
    instrument, field = case
    counts = instrument.observe(field)
    counts = counts.at[..., 0, 0].set(0.0)

    def loss(m, n):
        value, var = m.quantify(n, jnp.maximum(n, 1.0))
        seen = jnp.isfinite(var)  # unmixing: no thickness there
        return jnp.sum(jnp.where(seen, value, 0) ** 2)

    inexact, rest = eqx.partition(instrument, eqx.is_inexact_array)
    by_module, by_counts = jax.jit(
        jax.grad(lambda m, n: loss(eqx.combine(m, rest), n), argnums=(0, 1))
    )(inexact, counts)
    assert np.all(np.isfinite(by_counts))
    assert all(np.all(np.isfinite(g)) for g in jax.tree.leaves(by_module))
    by_field = jax.grad(lambda q: jnp.sum(instrument.observe(q) ** 2))(field)
    assert np.all(np.isfinite(by_field))
    assert np.any(by_field != 0)


def test_gradients_are_finite_differences(any_case, x64):
    """Of both directions, along a random direction."""
    instrument, field = any_case
    instrument, field = jax.tree.map(
        lambda a: a.astype(float) if eqx.is_inexact_array(a) else a, (instrument, field)
    )
    counts = instrument.observe(field)
    variance = 0.5 * counts
    functions = (
        (lambda f: jnp.sum(jnp.sin(instrument.observe(f) / 50)), field, 1e-6),
        (lambda n: jnp.sum(jnp.sin(instrument.quantify(n, variance).mean)), counts, 1e-3),
        (lambda n: jnp.sum(jnp.sqrt(instrument.quantify(n, variance).var)), counts, 1e-3),
    )
    for function, at, step in functions:
        along = jnp.asarray(np.random.default_rng(1).normal(size=at.shape))
        exact = jax.jit(lambda a, d, f=function: jax.jvp(f, (a,), (d,))[1])(at, along)
        numeric = (function(at + step * along) - function(at - step * along)) / (2 * step)
        assert float(exact) == pytest.approx(float(numeric), rel=1e-4, abs=1e-8)


def test_error_bars_are_those_of_monte_carlo(any_case):
    instrument, field = any_case
    # A detector behind a blur or an average sees numbers around 1: let it be less noisy than a counter.
    share = 1.0 if float(instrument.observe(field).mean()) > 20 else 1e-3
    expected = np.asarray(instrument.observe(field))
    draws, rng = 1500, np.random.default_rng(1)
    variance = share * expected  # Poisson numbers, large enough to be taken as Gaussian
    noisy = expected + rng.normal(size=(draws, *expected.shape)) * np.sqrt(variance)
    run = jax.jit(jax.vmap(lambda n: instrument.quantify(n, jnp.asarray(variance)).mean))
    spread = np.std(run(jnp.asarray(noisy, jnp.float32)), axis=0)
    sd = np.sqrt(instrument.quantify(expected, variance).var)
    if isinstance(instrument, StateOfCharge):  # the slope jumps at a calibration point: stay clear
        clear = np.abs(np.asarray(field) - 0.5) > 0.2
        spread, sd = spread[clear], np.asarray(sd)[clear]
    assert np.allclose(spread, sd, rtol=0.12)
    assert np.mean(spread / sd) == pytest.approx(1, abs=0.02)


def test_error_of_poisson_counts():
    counts = jnp.full((1, 2, 2), 400.0)
    var = OpticalDensity(jnp.asarray(900.0)).quantify(counts, counts).var
    assert np.sqrt(var) == pytest.approx(1 / 20, rel=1e-5)


def test_thickness_is_fitted_not_assumed():
    """Counts of a sample three times thicker than the instrument believes give the same fraction."""
    thick = eqx.tree_at(lambda m: m.thickness, _unmix(False), jnp.asarray(2.7))
    counts = thick.observe(FRACTION)
    assert np.allclose(_unmix(False).quantify(counts, counts).mean, FRACTION, atol=1e-3)
    off = _unmix(True).quantify(counts, counts).mean
    assert np.max(np.abs(off - FRACTION)) > 0.1


def test_background_has_no_fraction():
    counts = jnp.full((3, *SHAPE), 5000.0)
    c, var = _unmix(False).quantify(counts, counts)
    assert np.all(c == 0.5)
    assert np.all(np.isinf(var))


def test_lithium_change_has_the_right_size():
    """0.01 mol/cm³ over 1 cm of natural lithium at 1.8 Å: Σ d = 0.4246."""
    neutron = CASES["neutron"][0]
    counts = neutron.observe(jnp.full(SHAPE, 0.01))
    assert counts[0, 0, 0] == pytest.approx(20 + 4980 * np.exp(-0.42456), rel=1e-4)


def test_reference_noise_is_carried():
    exact = CASES["neutron"][0]
    noisy = eqx.tree_at(lambda m: m.reference_variance, exact, jnp.asarray(5000.0))
    counts = exact.observe(jnp.zeros(SHAPE))
    ratio = jnp.sqrt(noisy.quantify(counts, counts).var / exact.quantify(counts, counts).var)
    assert np.allclose(ratio[0], np.sqrt(2), rtol=1e-3)


def test_transmission():
    beam, dark = jnp.full((5, 6), 110.0), jnp.full((5, 6), 10.0)
    assert np.allclose(Transmission(dark, beam).invert(np.full(SHAPE, 60.0)), 0.5)
    with pytest.raises(InputError, match="Open beam"):
        Transmission(dark, beam[:4])


def test_composition_passes_units_and_range():
    chain = _unmix(True, 1) >> Blur(0.7) >> PixelIntegration(2)
    assert (chain.lower, chain.upper, chain.unit, chain.counts_unit) == (0.0, 1.0, "1", "counts")
    assert not chain.invertible
    assert (CASES["neutron"][0] >> Blur(0.7)).unit == "mol/cm³"


def test_blur_keeps_counts_and_has_its_width():
    point = jnp.zeros((1, 31, 31)).at[0, 15, 15].set(1.0)
    wide = Blur(jnp.asarray(1.3)).observe(point)
    assert float(wide.sum()) == pytest.approx(1, abs=1e-5)
    x = np.arange(31) - 15
    assert float(jnp.sum(wide[0].sum(0) * x**2)) == pytest.approx(1.69, rel=0.01)
    assert np.allclose(Blur(jnp.asarray(0.0)).observe(point), point, atol=1e-6)
    flat = jnp.full((1, 9, 9), 4.0)
    assert np.allclose(Blur(jnp.asarray(2.0)).observe(flat), flat, rtol=1e-5)


@pytest.mark.parametrize("edges", ["reflecting", "periodic"])
def test_blur_keeps_the_sum_at_either_kind_of_edge(edges):
    blurred = Blur(1.5, edges).observe(FINE)
    assert np.allclose(blurred.sum((1, 2)), FINE.sum((1, 2)), rtol=1e-5)


def test_periodic_blur_damps_a_wave_by_its_transfer_function():
    """A Gaussian of sd σ multiplies the wave exp(iqx) by exp(−q²σ²/2)."""
    q = 2 * np.pi * 2 / 32
    wave = jnp.asarray(np.broadcast_to(np.cos(q * np.arange(32)), (1, 8, 32)))
    damped = Blur(1.2, "periodic").observe(wave)
    assert np.allclose(damped, np.exp(-((q * 1.2) ** 2) / 2) * wave, atol=1e-4)


def test_inputs_are_checked():
    with pytest.raises(InputError, match="One energy"):
        _unmix(False, 1)
    with pytest.raises(InputError, match="not monotone"):
        StateOfCharge.from_points(np.array([1.0, 3.0, 2.0]), np.array([0.0, 0.5, 1.0]))
    with pytest.raises(InputError, match="two or more"):
        StateOfCharge.from_points(np.array([1.0]), np.array([0.0]))
    with pytest.raises(InputError, match="does not fit a kernel"):
        Blur(2.5)
    with pytest.raises(InputError, match="not made of pixels"):
        PixelIntegration(3).observe(FINE)
    with pytest.raises(InputError, match="do not fill"):
        ExposureIntegration(4).observe(FINE)

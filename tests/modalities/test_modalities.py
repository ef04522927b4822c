"""Every modality: observe and quantify are inverse, gradients finite, error bars as Monte Carlo says."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from phdenoise.modalities import (
    AffineConcentration,
    LithiumChange,
    LithiumFraction,
    MassThickness,
    OpticalDensity,
    StateOfCharge,
    transmission,
)
from phdenoise.types import InputError

SHAPE = (3, 5, 6)
RNG = np.random.default_rng(0)
FRACTION = jnp.asarray(RNG.uniform(0.1, 0.9, SHAPE))
SPECTRA = (jnp.array([0.3, 0.9, 1.4]), jnp.array([0.3, 1.5, 0.8]))


def _unmix(known, n=3, scale=4000.0):
    high, low = (s[:n] for s in SPECTRA)
    return LithiumFraction(jnp.full(n, scale), high, low, jnp.asarray(0.9), known)


CASES = {
    "affine": (AffineConcentration(50.0, 250.0), FRACTION),
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
}


@pytest.fixture(params=list(CASES))
def case(request):
    return CASES[request.param]


def test_inverse_on_noise_free_data(case):
    modality, quantity = case
    back, sd = modality.quantify(modality.observe(quantity))
    assert np.allclose(back, quantity, rtol=2e-4, atol=2e-5)
    assert back.shape == sd.shape == quantity.shape
    assert np.all(np.isfinite(sd))


def test_gradients_are_finite_even_where_nothing_was_counted(case):
    modality, quantity = case
    counts = modality.observe(quantity)
    counts = counts.at[..., 0, 0].set(0.0)

    def loss(m, n):
        value, sd = m.quantify(n)
        seen = jnp.isfinite(sd)  # unmixing: no thickness there
        return jnp.sum(jnp.where(seen, value, 0) ** 2)

    inexact, rest = eqx.partition(modality, eqx.is_inexact_array)
    by_module, by_counts = jax.jit(
        jax.grad(lambda m, n: loss(eqx.combine(m, rest), n), argnums=(0, 1))
    )(inexact, counts)
    assert np.all(np.isfinite(by_counts))
    assert all(np.all(np.isfinite(g)) for g in jax.tree.leaves(by_module))
    by_quantity = jax.grad(lambda q: jnp.sum(modality.observe(q) ** 2))(quantity)
    assert np.all(np.isfinite(by_quantity))
    assert np.any(by_quantity != 0)


def test_error_bars_are_those_of_monte_carlo(case):
    modality, quantity = case
    expected = np.asarray(modality.observe(quantity))
    draws, rng = 1500, np.random.default_rng(1)
    variance = expected  # Poisson numbers, large enough to be taken as Gaussian
    noisy = expected + rng.normal(size=(draws, *expected.shape)) * np.sqrt(variance)
    run = jax.jit(jax.vmap(lambda n: modality.quantify(n, jnp.asarray(variance))[0]))
    spread = np.std(run(jnp.asarray(noisy, jnp.float32)), axis=0)
    sd = modality.quantify(expected, variance)[1]
    if isinstance(modality, StateOfCharge):  # the slope jumps at a calibration point: stay clear
        clear = np.abs(np.asarray(quantity) - 0.5) > 0.2
        spread, sd = spread[clear], np.asarray(sd)[clear]
    assert np.allclose(spread, sd, rtol=0.12)
    assert np.mean(spread / sd) == pytest.approx(1, abs=0.02)


def test_poisson_is_the_default_variance():
    od = OpticalDensity(jnp.asarray(900.0))
    assert od.quantify(jnp.full((1, 2, 2), 400.0))[1] == pytest.approx(1 / 20, rel=1e-5)


def test_thickness_is_fitted_not_assumed():
    """Counts of a sample three times thicker than the module believes give the same fraction."""
    thick = eqx.tree_at(lambda m: m.thickness, _unmix(False), jnp.asarray(2.7))
    assert np.allclose(_unmix(False).quantify(thick.observe(FRACTION))[0], FRACTION, atol=1e-3)
    off = _unmix(True).quantify(thick.observe(FRACTION))[0]
    assert np.max(np.abs(off - FRACTION)) > 0.1


def test_background_has_no_fraction():
    c, sd = _unmix(False).quantify(jnp.full((3, *SHAPE), 5000.0))
    assert np.all(c == 0.5)
    assert np.all(np.isinf(sd))


def test_lithium_change_has_the_right_size():
    """0.01 mol/cm³ over 1 cm of natural lithium at 1.8 Å: Σ d = 0.4246."""
    neutron = CASES["neutron"][0]
    counts = neutron.observe(jnp.full(SHAPE, 0.01))
    assert counts[0, 0, 0] == pytest.approx(20 + 4980 * np.exp(-0.42456), rel=1e-4)


def test_reference_noise_is_carried():
    exact = CASES["neutron"][0]
    noisy = eqx.tree_at(lambda m: m.reference_variance, exact, jnp.asarray(5000.0))
    counts = exact.observe(jnp.zeros(SHAPE))
    ratio = noisy.quantify(counts)[1] / exact.quantify(counts)[1]
    assert np.allclose(ratio[0], np.sqrt(2), rtol=1e-3)


def test_transmission():
    beam, dark = np.full((5, 6), 110.0), np.full((5, 6), 10.0)
    assert np.allclose(transmission(np.full(SHAPE, 60.0), beam, dark), 0.5)
    with pytest.raises(InputError, match="Open beam"):
        transmission(np.full(SHAPE, 60.0), beam[:4], dark)


def test_inputs_are_checked():
    with pytest.raises(InputError, match="One energy"):
        _unmix(False, 1)
    with pytest.raises(InputError, match="not monotone"):
        StateOfCharge.from_points(np.array([1.0, 3.0, 2.0]), np.array([0.0, 0.5, 1.0]))
    with pytest.raises(InputError, match="two or more"):
        StateOfCharge.from_points(np.array([1.0]), np.array([0.0]))

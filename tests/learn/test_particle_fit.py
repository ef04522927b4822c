"""The law of a particle is found again: exactly without noise, within its error bars with noise."""

import jax
import numpy as np
import pytest
from scipy.ndimage import gaussian_filter
from scipy.signal import lfilter

from phdenoise.learn.correlated_errors import correlated_information
from phdenoise.learn.particle_data import ParticleFitConfig, particle_data
from phdenoise.learn.particle_fit import fit_particle
from phdenoise.learn.particle_summary import uniformity
from phdenoise.physics.twins.particles import ParticleTwinConfig, particle_twin
from phdenoise.types import InputError

TWIN = ParticleTwinConfig(shape=(20, 20), radius=8.0, frames=33, modes=12, length=4.0, substeps=3)
FIT = ParticleFitConfig(modes=12, length=4.0, start_modes=12, iterations=12)


@pytest.fixture(scope="module")
def twin():
    return particle_twin(jax.random.key(3), TWIN)


def _fit(twin, frames, sd, **changes):
    mask = np.asarray(twin.grid.mask)
    return fit_particle(frames, np.full(frames.shape, sd), mask, np.asarray(twin.times, float), FIT, **changes)  # fmt: skip


def _log_k(rate, mask):
    values = np.log(np.asarray(rate, float)[mask])
    return values - values.mean()


@pytest.mark.slow
def test_law_is_exact_without_noise(twin):
    frames, mask = np.asarray(twin.frames, float), np.asarray(twin.grid.mask)
    found = _fit(twin, frames, 0.01)
    assert found.converged
    assert np.abs(_log_k(found.rate, mask) - _log_k(twin.model.rate_constant(), mask)).max() < 0.02
    c = found.curves["c"]
    mu = np.log(c / (1 - c)) + 4.47 * (1 - 2 * c)
    assert np.abs(found.curves["mu_h"] - mu).max() < 0.05
    # k₀ is the geometric mean over all modes that are fitted.
    np.testing.assert_allclose(found.curves["j0"], np.sqrt(c) * (1 - c), rtol=0.05)
    values = {p.name: p for p in found.parameters}
    assert values["kappa"].value == pytest.approx(4.0, rel=0.03)
    assert values["kappa"].unit == "kT px^2"
    assert np.nanmax(np.abs(found.frames[1:] - frames[1:])[:, mask]) < 0.01
    assert found.statistics["explained_variance"] > 0.999


@pytest.mark.slow
def test_intervals_hold_the_truth_where_noise_goes_along_lines():
    """Noise of sd 0.07, correlated by 0.7 along x; starts that err by 0.015, smoothly, as a denoised frame does."""
    z, inside, held = [], [], []
    for seed in range(4):
        twin = particle_twin(jax.random.key(3 + seed), TWIN)
        truth, mask = np.asarray(twin.frames, float), np.asarray(twin.grid.mask)
        rng = np.random.default_rng(5 + seed)
        wide = rng.normal(size=(*truth.shape[:-1], truth.shape[-1] + 64)) * np.sqrt(1 - 0.7**2)
        noisy = truth + 0.07 * lfilter([1], [1, -0.7], wide)[..., 64:]
        smooth = gaussian_filter(rng.normal(size=truth.shape), (0, 2, 2))
        starts = np.clip(truth + 0.015 * smooth / smooth.std(), 0.003, 0.997)
        found = _fit(twin, noisy, 0.07, starts=(starts, np.full(truth.shape, 0.015)))
        assert found.converged
        log_k = _log_k(twin.model.rate_constant(), mask)
        z.append((_log_k(found.rate, mask) - log_k) / found.rate_sd[mask])
        error = ((found.frames - truth) / found.frames_sd)[:, mask]
        inside.append(np.mean(np.abs(error[np.isfinite(error)]) < 1.645))
        values = {p.name: p for p in found.parameters}
        held += [
            abs(values[n].value - true) < 2.5 * values[n].sd
            for n, true in (("L_0", 4.47), ("L_1", 0))
        ]
    assert 0.7 < np.sqrt(np.mean(np.square(z))) < 1.5
    assert np.mean(np.abs(z) < 1.645) > 0.7
    assert np.mean(inside) > 0.75
    assert np.mean(held) > 0.8


def test_correlated_errors_count(x64):
    """Σ R(Δ) J(r)J(r+Δ) is σ² |J|² for white residuals, and the sum of all covariances for a constant J."""
    rng = np.random.default_rng(0)
    shape = (6, 8, 40, 40)
    white = rng.normal(size=shape)
    rows, seen = np.ones((1, *shape), np.float32), np.ones(shape, bool)
    meat, inflation = correlated_information(white, rows, seen)
    assert inflation == pytest.approx(1, abs=0.25)
    line = (white + np.roll(white, 1, -1) + np.roll(white, 2, -1)) / np.sqrt(3)
    _, inflation = correlated_information(line, rows, seen)
    assert inflation == pytest.approx(3, rel=0.2)
    assert (meat > 0).all()
    # A beam that flickers along its lines: correlation 0.7 from pixel to pixel, hence (1 + 0.7)/(1 − 0.7).
    wide = rng.normal(size=(*shape[:-1], 40 + 64)) * np.sqrt(1 - 0.7**2)
    _, inflation = correlated_information(lfilter([1], [1, -0.7], wide)[..., 64:], rows, seen)
    assert inflation == pytest.approx(1.7 / 0.3, rel=0.2)


def test_uniformity_of_known_fields():
    mask = np.ones((4, 4), bool)
    flat = np.linspace(0, 1, 5)[:, None, None] * np.ones((5, 4, 4))
    assert uniformity(flat, mask) == pytest.approx(1)
    phases = np.zeros((1, 4, 4))
    phases[:, :2] = 1
    assert uniformity(phases, mask) == pytest.approx(0)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"frames": 0.3 + np.zeros((12, 6, 6))}, "neither fills nor empties"),
        ({"config": ParticleFitConfig(window=40)}, "--fit.window"),
        ({"sd": np.full((12, 6, 6), np.inf)}, "Fewer than 4 frames"),
    ],
)
def test_mistakes_are_one_sentence(change, words):
    frames = np.linspace(0, 1, 12)[:, None, None] * np.ones((12, 6, 6))
    given = {
        "frames": frames,
        "sd": np.full(frames.shape, 0.1),
        "mask": np.ones((6, 6), bool),
        "times": np.arange(12.0),
        "config": ParticleFitConfig(modes=3, window=4),
    }
    with pytest.raises(InputError, match=words):
        fit_particle(**(given | change))


def test_shapes_that_do_not_fit_are_one_sentence():
    frames = np.ones((12, 6, 6))
    with pytest.raises(InputError, match="one shape"):
        particle_data(frames, frames[:3], np.ones((6, 6), bool), np.arange(12.0), frames, frames, ParticleFitConfig())  # fmt: skip

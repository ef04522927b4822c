"""Phases of graphite and atoms in TEM: decisions that follow the evidence; drift that is found again."""

import jax.numpy as jnp
import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from phdenoise.modalities import (
    GRAPHITE_PHASES,
    atom_likelihood_ratio,
    channel,
    classify,
    register,
    shift,
)
from phdenoise.types import InputError


def test_phases_follow_the_fraction_and_soften_with_doubt():
    c = jnp.array([[[0.02, 0.5, 0.97, 0.25]]])
    p = classify(c)
    assert np.allclose(jnp.sum(p, axis=0), 1, atol=1e-6)
    assert list(np.argmax(p[:, 0, 0, :3], axis=0)) == [0, 1, 2]
    assert p[0, 0, 0, 3] == pytest.approx(float(p[1, 0, 0, 3]), abs=1e-5)
    assert [q.name for q in GRAPHITE_PHASES] == ["dilute", "stage 2", "stage 1"]
    vague = classify(c, 1.0)
    assert np.all(np.max(vague, axis=0) <= np.max(p, axis=0) + 1e-6)
    assert np.max(vague) < 0.5


def test_channel_weighs_colours_and_their_variance():
    rgb = np.ones((1, 2, 2, 3)) * np.array([1.0, 2.0, 4.0])
    value, variance = channel(rgb, (0.5, 0.25, 0.0), np.ones_like(rgb))
    assert np.allclose(value, 1.0)
    assert np.allclose(variance, 0.3125)


def test_likelihood_ratio_tells_an_atom_from_vacuum():
    rng = np.random.default_rng(0)
    vacuum, atom = 0.45, 0.15
    columns = np.zeros((40, 80, 80), bool)
    for k in range(40):
        y, x = 4 + 16 * (k // 8), 4 + 9 * (k % 8)
        columns[k, y : y + 6, x : x + 6] = True
    mean = np.full((80, 80), vacuum)
    real = columns[:20].any(0)
    mean[real] = atom
    counts = rng.poisson(mean).astype(float)
    claimed = np.where(columns.any(0), atom, vacuum)
    ratio = atom_likelihood_ratio(counts, claimed, columns, vacuum)
    # Expected for a true column: Kullback-Leibler divergence of the two Poisson laws.
    assert np.mean(ratio[:20]) == pytest.approx(0.15 * np.log(1 / 3) + 0.3, abs=0.03)
    assert np.mean(ratio[20:]) < -0.1
    empty = atom_likelihood_ratio(counts, claimed, np.zeros((1, 80, 80), bool))
    assert empty[0] == 0
    with pytest.raises(InputError, match="shape"):
        atom_likelihood_ratio(counts, mean[:9], columns)


@pytest.fixture(scope="module")
def drift():
    """A textured field of view moving over a larger scene, and its true displacements."""
    scene = gaussian_filter(np.random.default_rng(3).normal(size=(160, 168)), 3.0)
    scene = scene / scene.std()
    true = np.array([[0, 0], [0.4, -0.7], [2.3, 1.6], [-4.5, 6.25]])
    moved = np.asarray(shift(np.repeat(scene[None], 4, 0), true, "fourier"))
    return moved[:, 40:120, 40:128], true


@pytest.mark.parametrize("noise", [0.0, 0.5])
def test_drift_is_found_to_a_fraction_of_a_pixel(drift, noise):
    frames, true = drift
    noisy = frames + np.random.default_rng(1).normal(0, noise, frames.shape)
    assert np.max(np.abs(register(noisy) - true)) < (0.05 if noise == 0 else 0.15)
    aligned = shift(noisy, -register(noisy))[:, 8:-8, 8:-8]
    before = np.std(noisy[3, 8:-8, 8:-8] - noisy[0, 8:-8, 8:-8])
    assert np.std(aligned[3] - aligned[0]) < max(0.1, 0.6 * before)


def test_phase_only_and_reference(drift):
    frames, true = drift
    found = register(frames[1:], reference=frames[0], phase_only=True)
    assert np.max(np.abs(found - true[1:])) < 0.3
    with pytest.raises(InputError, match="reference"):
        register(frames, reference=frames[0, :9])


def test_fourier_shift_is_exact_and_invertible_for_a_periodic_scene():
    y, x = np.mgrid[:32, :48]
    wave = np.sin(2 * np.pi * (2 * y / 32 + 3 * x / 48))[None]
    d = np.array([[1.3, -2.7]])
    expected = np.sin(2 * np.pi * (2 * (y - 1.3) / 32 + 3 * (x + 2.7) / 48))[None]
    moved = shift(wave, d, "fourier")
    assert np.allclose(moved, expected, atol=1e-5)
    assert np.allclose(shift(moved, -d, "fourier"), wave, atol=1e-5)
    assert np.allclose(shift(wave, np.array([[1.0, 0.0]]))[0, 1:], wave[0, :-1], atol=1e-6)

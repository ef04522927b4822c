"""From counts of X-ray scans to lithium: flicker, background, drift and interpolation, each against the simulator."""

from dataclasses import replace

import jax.numpy as jnp
import numpy as np
import pytest
from scipy.signal import lfilter

from phdenoise.modalities.stxm.counts import background, beam_given, beam_in_region, normalise_beam
from phdenoise.modalities.stxm.drift import (
    align_scans,
    displacement_sd,
    displacements,
    refine_displacements,
)
from phdenoise.modalities.stxm.twin import StxmTwinConfig, sd_of_fraction, simulate_stxm
from phdenoise.observation.lithium_fraction import LithiumFraction
from phdenoise.physics.twins.particles import ParticleTwinConfig
from phdenoise.types import InputError

TWIN = StxmTwinConfig(
    particle=ParticleTwinConfig(
        shape=(28, 28), radius=8.0, frames=24, modes=10, length=4.0, substeps=2, stages=8
    )
)


@pytest.fixture(scope="module")
def scene():
    return simulate_stxm(0, TWIN)


def _line_noise(rng, shape, keep):
    white = rng.normal(size=(*shape[:-1], shape[-1] + 64))
    return lfilter([np.sqrt(1 - keep**2)], [1, -keep], white, axis=-1)[..., 64:]


def test_simulator_has_the_noise_it_was_asked_for(scene):
    """sd 0.07 of the fraction, correlated along x by exp(−1/ℓ) and not along y."""
    mask, c = np.asarray(scene.twin.grid.mask), np.asarray(scene.twin.frames, float)
    modality = LithiumFraction(
        jnp.full(2, TWIN.dose), jnp.asarray(TWIN.lithiated[1:]), jnp.asarray(TWIN.delithiated[1:]), jnp.asarray(1.0), False
    )  # fmt: skip
    counts = np.maximum(scene.counts * np.exp(TWIN.background * mask), 1.0)
    found, _ = modality.quantify(counts, counts)
    error = np.where(mask, np.asarray(found, float) - c, 0.0)
    assert np.sqrt(np.mean(error[:, mask] ** 2)) == pytest.approx(0.07, rel=0.06)
    power = np.mean(error[:, mask] ** 2)
    beside = mask[:, 1:] & mask[:, :-1]
    below = mask[1:] & mask[:-1]
    along = np.mean((error[:, :, 1:] * error[:, :, :-1])[:, beside]) / power
    across = np.mean((error[:, 1:] * error[:, :-1])[:, below]) / power
    assert 0.5 < along < 0.75
    assert abs(across) < 0.06
    predicted = sd_of_fraction(c[:, mask], scene.thickness[mask], TWIN, scene.flicker)
    assert np.std(error[:, mask] / predicted) == pytest.approx(1, abs=0.08)


def test_dose_too_low_for_the_noise_is_one_sentence():
    with pytest.raises(InputError, match="raise the dose"):
        simulate_stxm(0, replace(TWIN, dose=50.0))


def test_beam_is_found_in_a_free_region(scene):
    region = np.zeros(scene.counts.shape[2:], bool)
    region[:5] = True
    beam = beam_in_region(scene.counts, region)
    np.testing.assert_allclose(beam.flicker, scene.flicker, rtol=0.1)
    assert beam.along[1] == pytest.approx(np.exp(-1 / TWIN.line), abs=0.12)
    assert abs(beam.along[0]) < 0.08
    # A beam that only flickers is known from all scans together, and says how well.
    error = beam.incident / TWIN.dose - 1
    alone = np.sqrt(np.mean((scene.counts[..., region].mean(-1) / TWIN.dose - 1) ** 2))
    assert np.sqrt(np.mean(error**2)) < 0.6 * alone
    assert np.sqrt(np.mean((error / beam.relative_sd) ** 2)) < 2


def test_beam_that_cannot_be_is_refused(scene):
    with pytest.raises(InputError, match="16 or more"):
        beam_in_region(scene.counts, np.zeros(scene.counts.shape[2:], bool))
    with pytest.raises(InputError, match="does not fit"):
        beam_given(scene.counts, np.ones(7))
    with pytest.raises(InputError, match="not positive"):
        beam_given(scene.counts, np.array(-1.0))


def test_even_counts_have_one_beam_and_its_errors():
    rng = np.random.default_rng(1)
    light = rng.uniform(500, 1500, (1, 400))
    counts = rng.poisson(light[..., None, None] * np.full((1, 1, 6, 6), 0.5)).astype(float)
    beam = beam_given(counts, np.array(1.0))._replace(incident=light)
    same, variance = normalise_beam(counts, beam)
    np.testing.assert_allclose(same.mean(), 0.5 * light.mean(), rtol=0.01)
    z = (same - 0.5 * light.mean()) / np.sqrt(variance)
    assert np.std(z) == pytest.approx(1, abs=0.03)


@pytest.mark.parametrize("energies", [[700.0] * 4, [696.0, 698.0, 700.0, 702.0]])
def test_background_and_its_sd(energies):
    """A mean, or a line carried on to the edge: errors as large as said."""
    rng = np.random.default_rng(2)
    e = np.asarray(energies)
    slope = -0.01 if np.ptp(e) else 0.0
    sd = rng.uniform(0.01, 0.05, (4, 60, 60))
    od = 0.3 + slope * (e[:, None, None] - 700) + sd * rng.normal(size=sd.shape)
    found = background(od, sd**2, e, np.array([708.0, 710.0]))
    truth = 0.3 + slope * (np.array([708.0, 710.0])[:, None, None] - 700)
    z = (found.od - truth) / found.sd
    assert abs(z.mean()) < 0.1
    assert np.std(z) == pytest.approx(1, abs=0.04)
    with pytest.raises(InputError, match="as many energies"):
        background(od[:0], sd[:0] ** 2, e[:0], np.array([708.0]))


@pytest.mark.parametrize("keep", [0.0, 0.7])
def test_interpolation_leaves_the_noise_that_is_said(keep):
    """Moved noise that is correlated along lines keeps more variance than independent noise."""
    rng = np.random.default_rng(3)
    noise = _line_noise(rng, (1, 40, 32, 64), keep)
    shift = np.broadcast_to([0.3, 0.45], (1, 40, 2))
    moved = align_scans(noise, np.ones(noise.shape), shift, np.array([0.0, keep]))
    inner = np.s_[..., 2:-2, 2:-2]
    assert np.mean(moved.counts[inner] ** 2 / moved.variance[inner]) == pytest.approx(1, abs=0.05)


def test_drift_is_found_while_phases_move():
    """Sub-pixel, from the outline, at the noise of the twin."""
    drifting = replace(TWIN, drift=0.8)
    scene = simulate_stxm(2, drifting)
    od = np.log(TWIN.dose / np.maximum(scene.counts, 1))
    left = displacements(od) - scene.displacement
    left -= left.mean((0, 1))
    outline = np.sqrt(np.mean(left**2))
    assert outline < 0.1
    assert np.sqrt(np.mean(scene.displacement**2)) > 0.7
    # The thickness, in which the phases cancel, tells the rest.
    weights = np.linalg.pinv(np.stack([TWIN.lithiated[1:], TWIN.delithiated[1:]], axis=1)).sum(0)
    found = refine_displacements(od, weights, displacements(od))
    left = found - scene.displacement
    left -= left.mean((0, 1))
    assert np.sqrt(np.mean(left**2)) < 0.75 * outline
    moved = align_scans(scene.counts, np.maximum(scene.counts, 1.0), found)
    spread = moved.variance / np.maximum(moved.counts, 1) ** 2 + scene.flicker**2
    said = displacement_sd(od, spread, weights, found)
    # Interpolation at the rim is in it.
    assert 1 < said / np.sqrt(np.mean(left**2)) < 4
    # Nothing is said of noise alone.
    noise = 0.05 * np.random.default_rng(0).normal(size=(2, 40, 24, 24))
    assert (
        displacement_sd(noise, np.full(noise.shape, 0.05**2), weights, np.zeros((2, 40, 2))) < 0.25
    )

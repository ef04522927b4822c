"""Corrections of radiographs: each recovers what was put in, and error bars are those of Monte Carlo."""

import jax.numpy as jnp
import numpy as np
import pytest

from phdenoise.modalities.neutron.corrections import average, ring_gain, scatter_behind, spots
from phdenoise.modalities.neutron.radiograph import calibration, dose_of
from phdenoise.types import InputError

SHAPE = (40, 50)
Y, X = np.mgrid[: SHAPE[0], : SHAPE[1]]
BEAM = 400 * (1 + 0.2 * np.sin(X / 17) * np.cos(Y / 23))
SAMPLE = np.where((Y > 10) & (X > 8), np.exp(-0.5 - 0.4 * (X / 50)), 1.0)
DARK, SCATTER = np.full(SHAPE, 12.0), 6 + 0.05 * Y


def _exposures(rng, frames=6, repeats=25):
    dose = 1 + 0.05 * np.sin(np.arange(frames))
    clean = DARK + dose[:, None, None] * (BEAM * SAMPLE + SCATTER)
    counts = rng.poisson(clean)
    beam = rng.poisson(DARK + BEAM, size=(repeats, *SHAPE))
    dark = rng.poisson(DARK, size=(repeats, *SHAPE))
    return dose, counts.astype(float), beam.astype(float), dark.astype(float)


def test_transmission_is_unbiased_and_its_errors_are_those_of_monte_carlo():
    rng = np.random.default_rng(0)
    z, values = [], []
    for _ in range(25):
        dose, counts, beam, dark = _exposures(rng, frames=2, repeats=4)
        cal = calibration(beam, dark, scatter=SCATTER)
        t, var = cal.transmission(counts, dose)
        values.append(np.asarray(t))
        z.append((np.asarray(t) - SAMPLE) / np.sqrt(np.asarray(var)))
    assert np.std(z) == pytest.approx(1, abs=0.03)
    # A ratio of noisy numbers has a bias of var OB/OB², here 6e-4.
    assert np.mean(values) == pytest.approx(SAMPLE.mean(), rel=2e-3)
    # Errors of the open beam are common to all frames and must be in the variance of each.
    exact = calibration(np.repeat(BEAM[None] + DARK, 4, 0), np.repeat(DARK[None], 4, 0))
    assert exact.transmission(counts, dose)[1].mean() > 0


def test_dose_follows_the_beam_within_its_error():
    rng = np.random.default_rng(1)
    dose, counts, beam, dark = _exposures(rng)
    cal = calibration(beam, dark)
    free = Y < 9
    # Behind the free region there is as much scatter as the truth says; the open beam has none.
    clean = counts - dose[:, None, None] * SCATTER
    found, variance = dose_of(clean, cal, free)
    assert np.all(np.abs(found - dose) < 4 * np.sqrt(variance))
    assert np.sqrt(variance.mean()) < 0.01
    with pytest.raises(InputError, match="no valid pixel"):
        dose_of(counts, cal, np.zeros(SHAPE, bool))


def test_exchanged_beam_and_dark_are_refused():
    rng = np.random.default_rng(1)
    _, _, beam, dark = _exposures(rng)
    with pytest.raises(InputError, match="exchanged"):
        calibration(dark, beam)
    with pytest.raises(InputError, match="one detector"):
        calibration(beam, dark[:, 1:])


def test_spots_are_found_whole_and_nothing_else():
    rng = np.random.default_rng(2)
    counts = rng.poisson(np.repeat((BEAM * SAMPLE)[None], 6, 0)).astype(float)
    clean = spots(counts)
    assert clean.mean() < 2e-5
    hit = np.zeros(counts.shape, bool)
    hit[1, 5:8, 20:23] = hit[3, 30, 5:17] = hit[4, 12, 40] = True  # a patch, a track, a pixel
    found = spots(counts + 900 * hit)
    assert found[hit].all()
    assert (found & ~hit).mean() < 1e-4
    assert spots(counts[:1] + 900 * hit[1:2])[hit[1:2]].all()  # from one exposure alone
    mean = average(counts + 900 * hit).mean
    assert np.abs(mean - BEAM * SAMPLE)[hit.any(0)].max() < 6 * np.sqrt(500 / 5)


def test_scatter_is_found_behind_black_bodies():
    rng = np.random.default_rng(3)
    bodies = np.zeros(SHAPE, bool)
    for y in range(5, 40, 10):
        for x in range(6, 50, 9):
            bodies[y - 1 : y + 2, x - 1 : x + 2] = True
    through = np.where(bodies, 0.02, SAMPLE)
    frame = rng.poisson(DARK + BEAM * through + SCATTER, size=(30, *SHAPE)).mean(0)
    found, variance = scatter_behind(frame, DARK, bodies, leak=0.02, open_beam=BEAM + DARK)
    assert np.abs(found - SCATTER).max() < 1.0
    assert np.sqrt(np.mean((found - SCATTER) ** 2)) < 3 * np.sqrt(variance)
    with pytest.raises(InputError, match="cannot carry"):
        scatter_behind(frame, DARK, bodies & (Y < 8) & (X < 10))
    with pytest.raises(InputError, match="give the open beam"):
        scatter_behind(frame, DARK, bodies, leak=0.02)


def test_rings_go_and_structure_stays():
    rng = np.random.default_rng(4)
    response = np.ones(SHAPE)
    response[[7, 20, 33], [30, 14, 41]] = [0.8, 1.2, 0.85]
    t = SAMPLE * response
    t[:, 25] *= 0.9  # a wire
    noise = 0.02
    movie = t + noise * rng.standard_normal((20, *SHAPE))
    gain = ring_gain(movie, np.full(movie.shape, noise**2))
    assert np.allclose(gain[response != 1], response[response != 1], atol=0.05)
    assert np.all(gain[:, 25] == 1)
    assert np.mean(gain != 1) < 0.005


def test_real_radiographs(shared_data):
    """Behind the absorber the transmission is smooth and far below one; real gamma tracks are left out."""
    frames, beam, dark = (
        shared_data("neutron_edges", k).astype(float) for k in ("edges", "open_beam", "dark")
    )
    cut = np.s_[..., :150, :150]
    cal = calibration(beam[cut][None], dark[cut][None])
    counts = frames[cut][4:]
    bad = spots(counts)
    assert 0.002 < bad.mean() < 0.15
    rise = counts - np.median(counts, axis=0)
    assert bad[rise > 400].mean() > 0.95  # twelve standard deviations, in one frame only
    assert np.mean(rise[bad] > 100) > 0.9
    t = np.asarray(cal.transmission(counts, np.ones(4))[0])
    assert 0.025 < np.median(t) < 0.04
    assert np.asarray(jnp.isfinite(cal.beam)).all()

"""Potentials, multislice and lens: against abTEM where it is installed, and against their own laws."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from phdenoise.modalities.tem.multislice import Lens, exit_wave, image, interaction, wavelength
from phdenoise.modalities.tem.potentials import projected_potential, scattering_factor, sliced
from phdenoise.types import InputError

ENERGY, SAMPLING, THICKNESS = 300e3, 0.2, 2.0


def _cluster(rng, box=16.0, atoms=60, depth=12.0):
    positions = rng.uniform(0.2, 1, (atoms, 3)) * (depth, box - 4, box - 4)
    return [("Pt", "O", "Ce")[k % 3] for k in range(atoms)], positions


def _slices(shape=(80, 80)):
    symbols, positions = _cluster(np.random.default_rng(0))
    atoms = sliced(symbols, positions, thickness=THICKNESS)
    still = dict.fromkeys(atoms, 0.0)
    return projected_potential(atoms, still, shape=shape, sampling=SAMPLING), symbols, positions


def test_electron_constants():
    assert wavelength(300e3) == pytest.approx(0.0196875, rel=1e-5)
    # Kirkland's table: 6.526e-4 rad/(V angstrom) at 300 kV.
    assert interaction(300e3) == pytest.approx(6.526e-4, rel=1e-3)


def test_unknown_element_is_refused():
    with pytest.raises(InputError, match="Xx"):
        scattering_factor("Xx", jnp.zeros(3))


def test_mean_potential_is_the_forward_scattering():
    potential, symbols, _ = _slices()
    expected = sum(47.87801 * float(scattering_factor(s, jnp.zeros(()))) for s in symbols)
    assert float(potential.sum()) * SAMPLING**2 == pytest.approx(expected, rel=1e-4)


def test_beam_is_conserved_without_potential_and_nearly_with_it():
    potential, *_ = _slices()
    empty = exit_wave(0 * potential, sampling=SAMPLING, thickness=THICKNESS, energy=ENERGY)
    np.testing.assert_allclose(empty, 1, atol=1e-5)
    wave = exit_wave(potential, sampling=SAMPLING, thickness=THICKNESS, energy=ENERGY)
    assert 0.97 < float(jnp.mean(jnp.abs(wave) ** 2)) <= 1 + 1e-5


def test_thin_weak_object_has_the_contrast_of_the_transfer_function():
    # I(k) = 2 sigma V(k) sin(chi) for a weak phase grating.
    n, cycles = 64, 6
    x = np.arange(n) * SAMPLING
    k = cycles / (n * SAMPLING)
    potential = jnp.asarray(np.tile(10 * np.cos(2 * np.pi * k * x), (1, n, 1)), jnp.float32)
    wave = exit_wave(potential, sampling=SAMPLING, thickness=1e-6, energy=ENERGY)
    lens = Lens(defocus=80.0, spherical=-1e5)
    seen = image(wave, lens, sampling=SAMPLING, energy=ENERGY, foci=1)
    lam = wavelength(ENERGY)
    chi = np.pi / 2 * -1e5 * lam**3 * k**4 - np.pi * lam * k**2 * 80
    measured = 2 * np.mean(np.asarray(seen) * np.cos(2 * np.pi * k * x)[None])
    assert measured == pytest.approx(2 * interaction(ENERGY) * 10 * np.sin(chi), rel=2e-2)


def test_tilted_beam_shifts_the_shadow():
    potential, *_ = _slices()
    # Empty slices behind the object: a tilt shifts the wave by depth times tan(tilt).
    deep = jnp.concatenate([potential, jnp.zeros((20, 80, 80))])
    straight, tilted = (
        exit_wave(deep, sampling=SAMPLING, thickness=THICKNESS, energy=ENERGY, tilt=t)
        for t in ((0.0, 0.0), (0.0, 0.01))
    )
    moved = np.fft.ifft2(
        np.fft.fft2(straight) * np.exp(2j * np.pi * np.fft.fftfreq(80, SAMPLING)[None] * 0.4)
    )
    near = np.mean(np.abs(tilted - moved) ** 2)
    assert near < 0.3 * np.mean(np.abs(tilted - np.asarray(straight)) ** 2)


def test_gradient_with_respect_to_a_position_is_the_finite_difference():
    symbols, positions = _cluster(np.random.default_rng(1), atoms=9, depth=4.0)
    atoms = {
        e: jnp.asarray(a)
        for e, a in sliced(symbols, positions, thickness=THICKNESS).items()
        if e == "Pt"
    }

    def _seen(shift):
        moved = {"Pt": atoms["Pt"].at[0, 0, 1].add(shift)}
        potential = projected_potential(moved, {"Pt": 0.1}, shape=(64, 64), sampling=SAMPLING)
        wave = exit_wave(potential, sampling=SAMPLING, thickness=THICKNESS, energy=ENERGY)
        return image(wave, Lens(defocus=60.0), sampling=SAMPLING, energy=ENERGY, foci=1)

    target = _seen(0.3)

    def _loss(shift):
        return jnp.sum((_seen(shift) - target) ** 2)

    step = 0.02
    finite = (_loss(step) - _loss(-step)) / (2 * step)
    assert abs(float(finite)) > 0.1
    assert float(jax.grad(_loss)(0.0)) == pytest.approx(float(finite), rel=2e-2)


def test_focal_spread_is_the_mean_over_defoci():
    potential, *_ = _slices()
    wave = exit_wave(potential, sampling=SAMPLING, thickness=THICKNESS, energy=ENERGY)
    spread = image(
        wave, Lens(defocus=50.0, focal_spread=20.0), sampling=SAMPLING, energy=ENERGY, foci=9
    )
    rng = np.random.default_rng(0)
    drawn = [
        image(wave, Lens(defocus=50 + 20 * d), sampling=SAMPLING, energy=ENERGY, foci=1)
        for d in rng.standard_normal(300)
    ]
    off = np.abs(np.mean(drawn, axis=0) - spread).max()
    assert off < 0.15 * float(np.std(np.asarray(drawn), axis=0).max())


def test_wave_agrees_with_abtem_on_the_same_slices():
    abtem = pytest.importorskip("abtem")
    potential, *_ = _slices((80, 72))
    theirs = abtem.PotentialArray(
        np.ascontiguousarray(np.asarray(potential).transpose(0, 2, 1)),
        slice_thickness=THICKNESS,
        sampling=SAMPLING,
    )
    other = abtem.PlaneWave(energy=ENERGY).multislice(theirs, lazy=False).array.T
    ours = exit_wave(potential, sampling=SAMPLING, thickness=THICKNESS, energy=ENERGY)
    assert np.sqrt(np.mean(np.abs(other - np.asarray(ours)) ** 2)) <= 1e-5


def test_potential_agrees_with_abtem():
    # abTEM spreads an atom over four pixels, ours is exact: the difference falls with the square of the pixel.
    abtem, ase = pytest.importorskip("abtem"), pytest.importorskip("ase")
    sampling, vibration = 0.04, 0.1
    symbols, positions = _cluster(np.random.default_rng(0), box=8.0, atoms=12, depth=4.0)
    sliced_atoms = sliced(symbols, positions, thickness=THICKNESS)
    known = dict.fromkeys(sliced_atoms, vibration)
    ours = projected_potential(sliced_atoms, known, shape=(200, 200), sampling=sampling)
    theirs = abtem.Potential(
        ase.Atoms(symbols, positions[:, ::-1], cell=(8, 8, 4)),
        gpts=(200, 200),
        slice_thickness=THICKNESS,
        projection="infinite",
        parametrization=abtem.parametrizations.LobatoParametrization(sigmas=known),
    )
    other = jnp.asarray(theirs.build(lazy=False).array.transpose(0, 2, 1), jnp.float32)
    assert other.shape == ours.shape
    waves = [
        np.asarray(exit_wave(v, sampling=sampling, thickness=THICKNESS, energy=ENERGY))
        for v in (ours, other)
    ]
    assert np.sqrt(np.mean(np.abs(waves[0] - waves[1]) ** 2)) <= 1e-3


def test_image_agrees_with_abtem():
    abtem = pytest.importorskip("abtem")
    potential, *_ = _slices()
    theirs = abtem.PotentialArray(
        np.ascontiguousarray(np.asarray(potential).transpose(0, 2, 1)),
        slice_thickness=THICKNESS,
        sampling=SAMPLING,
    )
    wave = abtem.PlaneWave(energy=ENERGY).multislice(theirs, lazy=False)
    transfer = abtem.CTF(
        energy=ENERGY, defocus=60.0, Cs=-8e4, astigmatism=20.0, astigmatism_angle=0.4
    )
    other = wave.apply_ctf(transfer).intensity().array.T
    ours = exit_wave(potential, sampling=SAMPLING, thickness=THICKNESS, energy=ENERGY)
    lens = Lens(defocus=60.0, spherical=-8e4, astigmatism=20.0, astigmatism_angle=0.4)
    seen = image(ours, lens, sampling=SAMPLING, energy=ENERGY, foci=1)
    np.testing.assert_allclose(seen, other, atol=1e-5)

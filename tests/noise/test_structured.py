"""Rows, columns, waves and half-frames are found, measured and taken out; what moves is not taken for them."""

import numpy as np
import pytest

from experiments.scenes import jumping_discs
from phdenoise.noise.estimate import estimate_noise
from phdenoise.simulation import SimulateConfig, simulate

SHAPE = (24, 48, 48)
WHITE = 5.0


def scene(kind="drifting"):
    """A disc of contrast 60 that drifts or rests."""
    t, y, x = np.mgrid[: SHAPE[0], : SHAPE[1], : SHAPE[2]].astype(float)
    t = t if kind == "drifting" else 0 * t
    return 20 + 60 / (1 + np.exp((np.hypot(y - 24, x - 18 - t / 4) - 10) / 1.5))


def hum(rng, amplitude, fy, fx, phase="free"):
    """A wave of a phase of its own in each frame."""
    t, y, x = np.mgrid[: SHAPE[0], : SHAPE[1], : SHAPE[2]].astype(float)
    phases = rng.uniform(0, 2 * np.pi, (SHAPE[0], 1, 1)) if phase == "free" else np.pi * t
    return amplitude * np.sin(2 * np.pi * (fy * y + fx * x) + phases)


def white(rng):
    return rng.normal(0, WHITE, SHAPE)


def structured(found, shape=SHAPE):
    assert found.structure is not None
    return found.structure.offset(shape)


@pytest.mark.parametrize("kind", ["drifting", "resting"])
@pytest.mark.parametrize(
    ("fy", "fx"), [(1 / 5.3, 0.0), (0.0, 1 / 9.7), (0.061, 0.033), (0.31, -0.22), (0.45, 0.0)]
)
@pytest.mark.parametrize("amplitude", [3.0, 12.0])
def test_hum_of_any_frequency(kind, fy, fx, amplitude):
    rng = np.random.default_rng(3)
    added = hum(rng, amplitude, fy, fx)
    found = estimate_noise(scene(kind) + white(rng) + added)
    assert [p.name for p in found.structure.patterns] == ["hum"]
    (pattern,) = found.structure.patterns
    assert pattern.frequencies[0] == pytest.approx(np.hypot(fy, fx), abs=0.003)
    true = float(np.sqrt(WHITE**2 + amplitude**2 / 2))
    said = float(np.sqrt(np.mean(found.transfer[:, 1])))
    assert said == pytest.approx(true, rel=0.05)
    for axis, f in (("x", fx), ("y", fy)):
        wanted = amplitude**2 / 2 * np.cos(2 * np.pi * f) / true**2
        assert found.correlation[axis][1] == pytest.approx(wanted, abs=0.05)
    left = np.sqrt(np.mean((structured(found) - added) ** 2))
    # A wave of long period shares the spectrum of the disc.
    assert left < (0.15 if np.hypot(fy, fx) > 0.15 else 0.35) * amplitude / np.sqrt(2) + 0.3
    assert found.without_structure().blind == "pixel"
    assert found.blind == "frame" or amplitude < WHITE


def test_hum_of_a_scene_at_rest_is_no_motion():
    """The phase may alternate from frame to frame; before, 91 % of the differences were taken for motion."""
    rng = np.random.default_rng(0)
    added = hum(rng, 12.0, 1 / 5.3, 0.0, "alternating")
    found = estimate_noise(50.0 + white(rng) + added)
    assert found.motion_share < 0.02
    assert float(np.sqrt(np.mean(found.transfer[:, 1]))) == pytest.approx(9.85, rel=0.05)
    assert np.std(structured(found) - added) < 1.0


@pytest.mark.parametrize("axis", [1, 2])
@pytest.mark.parametrize("sd", [2.0, 6.0])
@pytest.mark.parametrize("kind", ["drifting", "resting"])
def test_offsets_of_rows_and_columns(axis, sd, kind):
    rng = np.random.default_rng(1)
    lines = rng.normal(0, sd, (SHAPE[0], SHAPE[axis]))
    added = np.broadcast_to(np.expand_dims(lines, 3 - axis), SHAPE)
    found = estimate_noise(scene(kind) + white(rng) + added)
    name = "rows" if axis == 1 else "columns"
    assert name in [p.name for p in found.structure.patterns]
    assert float(np.sqrt(found.structure.variance)) == pytest.approx(sd, rel=0.1)
    along, across = ("x", "y") if axis == 1 else ("y", "x")
    wanted = sd**2 / (sd**2 + WHITE**2)
    assert found.correlation[along][1] == pytest.approx(wanted, abs=0.06)
    assert found.correlation[across][1] == pytest.approx(0, abs=0.05)
    error = structured(found) - added
    stated = np.sqrt(found.structure.error_variance(SHAPE).mean())
    assert np.std(error) == pytest.approx(stated, rel=0.3)
    assert np.std(error) < sd


def test_half_frames():
    rng = np.random.default_rng(2)
    added = rng.normal(0, 4, (SHAPE[0], 1, 1)) * np.where(np.arange(48) % 2, 1, -1)[:, None]
    found = estimate_noise(scene() + white(rng) + added)
    assert [p.name for p in found.structure.patterns] == ["interlacing"]
    assert np.std(structured(found) - np.broadcast_to(added, SHAPE)) < 0.4


def test_units_and_pedestal_do_not_matter():
    rng = np.random.default_rng(4)
    noisy = scene() + white(rng) + hum(rng, 6.0, 0.2, 0.0) + rng.normal(0, 3, (24, 1, 48))
    one, other = estimate_noise(noisy), estimate_noise(1e-9 * (noisy + 3e4))
    names = [p.name for p in one.structure.patterns]
    assert names == [p.name for p in other.structure.patterns] == ["hum", "columns"]
    np.testing.assert_allclose(structured(other), 1e-9 * structured(one), atol=1e-12)


def test_masked_rows_and_frames():
    rng = np.random.default_rng(5)
    lines = rng.normal(0, 5, (24, 48, 1))
    noisy = scene() + white(rng) + lines
    noisy[4:6] = np.nan
    noisy[:, 10:13] = np.nan
    noisy[rng.random(SHAPE) < 0.1] = np.nan
    found = estimate_noise(noisy)
    offset = structured(found)
    assert np.all(np.isfinite(offset))
    assert not offset[4:6].any()
    here = np.isfinite(noisy)
    assert np.std((offset - lines)[here]) < 2.0


@pytest.mark.parametrize("step", [2.0, 5.0])
def test_what_leaps_is_no_structure(step):
    rng = np.random.default_rng(0)
    clean = jumping_discs(rng, 24, 96, step)
    assert estimate_noise(rng.normal(clean, 0.1)).structure is None
    assert estimate_noise(rng.poisson(20 * clean + 1) / 20).structure is None


@pytest.mark.parametrize("duration", [0.1, 1.2])
def test_a_pattern_that_coarsens_is_no_structure(duration):
    """Spinodal patterns have a preferred wavelength, and change fast."""
    every = 1 if duration < 1 else 10
    config = SimulateConfig(
        size=(96, 96), frames=20 * every + 10, duration=duration, skip=10 * every, sigma=0.0
    )
    clean = simulate("cahn-hilliard", config)[1].frames[::every].astype(np.float64)
    for sigma in (0.02, 0.3):
        noisy = clean + np.random.default_rng(0).normal(0, sigma, clean.shape)
        assert estimate_noise(noisy).structure is None


def test_a_lattice_that_trembles_is_no_hum():
    """Fringes of a crystal, shifted a little in every frame: their line is in the mean image as well."""
    rng = np.random.default_rng(0)
    _, y, x = np.mgrid[:24, :64, :64].astype(float)
    shift = rng.normal(0, 0.3, (24, 1, 1))
    clean = 50 + 20 * np.sin(2 * np.pi * (0.17 * (y - shift) + 0.08 * x))
    assert estimate_noise(rng.normal(clean, 5.0)).structure is None

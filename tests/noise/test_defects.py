"""Defects: those put in are found, and neither noise nor anything that optics made is taken for one."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from phdenoise.noise import defects
from phdenoise.noise.models import Gaussian
from phdenoise.types import InputError

SHAPE = (20, 80, 72)


def scene(shape=SHAPE, speed=0.5):
    """A smooth drifting pattern with values in 0..1."""
    t, y, x = np.mgrid[: shape[0], : shape[1], : shape[2]].astype(float)
    return 0.5 + 0.25 * np.sin((x - speed * t) / 4) + 0.24 * np.cos((y + speed * t) / 3)


def noisy(kind, seed=0):
    """Movie, and the standard deviation of its noise."""
    rng = np.random.default_rng(seed)
    if kind == "box":
        white = rng.normal(size=SHAPE)
        return scene() + 0.3 * ndimage.uniform_filter(white, (0, 3, 3)), 0.1
    if kind.startswith("poisson"):
        dose = float(kind.removeprefix("poisson"))
        return rng.poisson(dose * scene()).astype(float), np.sqrt(dose / 2)
    return scene() + float(kind) * rng.normal(size=SHAPE), float(kind)


KINDS = ["0.02", "0.1", "0.3", "box", "poisson2", "poisson10", "poisson50"]


@pytest.mark.parametrize("kind", KINDS)
def test_noise_is_no_defect(kind):
    found = [defects(noisy(kind, seed)[0]).mask for seed in range(2)]
    assert np.mean(found) < 1e-5
    # A gain and an offset change nothing.
    np.testing.assert_array_equal(defects(1e3 * noisy(kind)[0] - 50).mask, found[0])


@pytest.mark.parametrize("kind", KINDS)
def test_spots_are_found(kind):
    frames, sd = noisy(kind)
    hit = np.random.default_rng(1).random(SHAPE) < 3e-4
    frames[hit] += np.round(20 * sd) if kind.startswith("poisson") else 20 * sd
    mask = defects(frames).mask
    assert mask[hit].mean() > 0.9
    assert mask[~hit].mean() < 1e-5


@pytest.mark.slow
@pytest.mark.parametrize("psf", [0.85, 1.5])
@pytest.mark.parametrize("kind", ["still", "moving", "blinking"])
@pytest.mark.parametrize("sigma", [0.02, 0.1])
def test_atoms_are_not_spots(psf, kind, sigma):
    rng = np.random.default_rng(2)
    t, y, x = (np.arange(n, dtype=float) for n in SHAPE)
    image = np.zeros(SHAPE)
    for _ in range(50):
        place = rng.uniform(3, 69, 2)
        speed = rng.normal(size=2) * (1.0 if kind == "moving" else 0.0)
        there = rng.random(SHAPE[0]) < (0.2 if kind == "blinking" else 1.0)
        gy, gx = (
            np.exp(-((axis - p - v * t[:, None]) ** 2) / (2 * psf**2))
            for axis, p, v in zip((y, x), place, speed, strict=True)
        )
        image += there[:, None, None] * gy[:, :, None] * gx[:, None, :]
    assert not defects(image + sigma * rng.normal(size=SHAPE)).mask.any()
    assert not defects(rng.poisson(5 + 100 * image).astype(np.float32)).mask.any()


def test_every_kind_is_named():
    frames, sd = noisy("0.1", 3)
    frames[:, 10, 10] = 0.3
    frames[:, 20, 20] = frames[:, 20, 20] + 2
    frames[:, 40:42, 30:32] = 0.7
    frames[3, 30, 30] += 50 * sd
    frames[4, 5, 5] = np.nan
    frames[5, 60:66, 60:70] = 9.0
    found = defects(frames)
    assert found.counts == {"not finite": 1, "saturated": 60, "dead": 100, "hot": 20, "spot": 1}
    assert found.mask.sum() == sum(found.counts.values())
    for place in ((0, 10, 10), (7, 20, 20), (9, 41, 31), (3, 30, 30), (4, 5, 5), (5, 62, 65)):
        assert found.mask[place]
    said = " ".join(found.sentences)
    assert len(found.sentences) == 5
    for word in ("not finite", "saturated", "5 pixels look dead", "1 pixels look hot", "gamma"):
        assert word in said


def test_hot_and_dark_pixels_under_counting_noise():
    rng = np.random.default_rng(4)
    frames = rng.poisson(30 + 20 * scene()).astype(np.float32)
    frames[:, 11, 12] = rng.poisson(90, SHAPE[0])
    frames[:, 50, 51] = rng.poisson(0.5, SHAPE[0])
    found = defects(frames)
    assert found.counts["hot"] == found.counts["dead"] == SHAPE[0]
    assert found.mask[:, 11, 12].all()
    assert found.mask[:, 50, 51].all()


def test_a_hit_takes_its_neighbours_along():
    frames, sd = noisy("0.1", 5)
    frames[8, 30, 30] += 60 * sd
    frames[8, 30, 31] += 20 * sd
    assert np.argwhere(defects(frames).mask).tolist() == [[8, 30, 30], [8, 30, 31]]


def test_masked_values_are_not_judged():
    frames, sd = noisy("0.1", 6)
    frames[3, 30, 30] += 50 * sd
    valid = np.ones(SHAPE, bool)
    valid[3, 30, 30] = False
    assert not defects(frames, valid).mask.any()


@settings(deadline=None, max_examples=15)
@given(st.integers(1, 6), st.integers(1, 12), st.integers(1, 12), st.integers(0, 99))
def test_any_size(frames, ny, nx, seed):
    """Tiny movies of pure noise, gaps or not, pass without error or defect."""
    rng = np.random.default_rng(seed)
    data = rng.normal(size=(frames, ny, nx))
    gap = rng.random(data.shape) < 0.1
    gap[0, 0, 0] = False
    data[gap] = np.nan
    found = defects(data, noise=Gaussian(1.0))
    np.testing.assert_array_equal(found.mask, gap)


def test_a_movie_without_noise_or_values():
    assert not defects(scene()).mask.any()
    assert not defects(np.ones((5, 9, 9))).mask.any()
    with pytest.raises(InputError, match="no valid pixel"):
        defects(np.full((2, 4, 4), np.nan))


@pytest.mark.parametrize(
    ("stem", "key"),
    [
        ("ch_gauss03", "noisy"),
        ("ch_corr3x3_02", "noisy"),
        ("ch_poisson5", "counts"),
        ("tem_pt_ceo2", "noisy"),
        ("stxm_fe_l_edge", "absorption"),
        ("neutron_open_beam", "static"),
        ("fluorescent_beads_static", "frames"),
    ],
)
def test_measured_movies_have_hardly_any(shared_data, stem, key):
    """The X-ray one has ten in the whole stack, all where its first scan line jitters across an edge."""
    assert defects(shared_data(stem, key)[:24].astype(np.float32)).mask.mean() < 2e-5


def test_hot_pixels_of_a_camera_are_those_of_its_dark_image(shared_data):
    """Neutron radiographs: what is called hot was hot with the beam off, a quantity not used here."""
    mask = defects(shared_data("neutron_edges", "edges").astype(np.float32)).mask.all(axis=0)
    dark = shared_data("neutron_edges", "dark").astype(float)
    assert np.median(dark[mask]) > np.quantile(dark[~mask], 0.95)

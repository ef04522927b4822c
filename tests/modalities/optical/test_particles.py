"""Particles: parted where they touch, followed where they move; charge and fronts against what is known."""

import sys

import numpy as np
import pytest

from phdenoise.metrics.segmentation import accuracy, f1_scores, particle_iou
from phdenoise.modalities.optical.colours import Colours
from phdenoise.modalities.optical.particle_charge import fronts, particle_charge
from phdenoise.modalities.optical.particles import _threshold, find_particles
from phdenoise.modalities.optical.phase_mixture import PhaseMixture
from phdenoise.modalities.optical.twin import GRAPHITE_COLOURS, graphite_colour
from phdenoise.types import InputError

COLOURS = np.asarray(GRAPHITE_COLOURS)
MIXTURE = PhaseMixture(
    COLOURS, np.zeros((3, 3, 3)), np.linspace(0, 1, 13), np.full(13, 1 / 13), 1e-6 * np.eye(3), 1
)


def _discs(centres, radius, shape=(48, 64)):
    y, x = np.indices(shape)
    out = np.zeros(shape, int)
    for k, (b, a) in enumerate(centres, start=1):
        out[np.hypot(y - b, x - a) < radius] = k
    return out


def test_touching_particles_are_parted_and_followed():
    pytest.importorskip("skimage")
    truth = np.stack(
        [
            _discs([(15, 14 + 0.4 * t), (15, 32 + 0.4 * t), (35, 40 - 0.3 * t)], 9.6)
            for t in range(12)
        ]
    )
    random = np.random.default_rng(0)
    # Brightness changes threefold while they charge.
    rise = np.linspace(0.8, 2.4, 12)[:, None, None]
    frames = np.where(truth > 0, rise, 0.2) + 0.05 * random.standard_normal(truth.shape)
    found = find_particles(frames, window=1, hold=3)
    assert found.labels.max() == 3
    assert (found.seen == 1).all()
    ious = np.array([particle_iou(f, t) for f, t in zip(found.labels, truth, strict=True)])
    assert ious.mean() > 0.93
    # A name stays with its particle: each pair of first and last frame has the same partner.
    first, last = ([np.bincount(f[t == k]).argmax() for k in (1, 2, 3)] for f, t in ((found.labels[0], truth[0]), (found.labels[-1], truth[-1])))  # fmt: skip
    assert first == last


def test_threshold_is_otsus():
    filters = pytest.importorskip("skimage.filters")
    random = np.random.default_rng(1)
    values = np.concatenate([random.normal(0.2, 0.02, 3000), random.normal(0.9, 0.15, 5000)])
    expected = np.exp(filters.threshold_otsu(np.log(values)))
    assert _threshold(values) == pytest.approx(expected, rel=0.1)
    assert np.mean((values > _threshold(values)) != (values > expected)) < 2e-3


def test_particles_are_refused_in_one_sentence(monkeypatch):
    with pytest.raises(InputError, match="dark level"):
        find_particles(np.full((3, 20, 20), -1.0))
    pytest.importorskip("skimage")
    with pytest.raises(InputError, match="No particle of 10000 px"):
        find_particles(np.random.default_rng(0).random((3, 20, 20)) + 1, smallest=1e4)
    monkeypatch.setitem(sys.modules, "skimage", None)
    with pytest.raises(InputError, match=r"phdenoise\[seg\]"):
        find_particles(np.random.default_rng(0).random((3, 20, 20)) + 1)


def _shrinking(times, speed=0.5, radius=14.0):
    """One disc whose stage 2 front runs in at a known speed, and stage 1 behind it later."""
    y, x = np.indices((33, 33)) - 16
    r = np.hypot(y, x)
    labels = np.where(r < radius, 1, 0)

    def full(depth):
        return np.clip(r - (radius - depth) + 0.5, 0, 1)

    return labels, np.stack([0.5 * full(speed * t) + 0.5 * full(speed * t - 5) for t in times])


def test_charge_is_unbiased_and_covered_at_any_noise():
    labels, x = _shrinking([2.0, 8.0, 14.0, 20.0])
    truth = x[:, labels > 0].mean(axis=1)
    stack = np.broadcast_to(labels, x.shape)
    clean = np.moveaxis(graphite_colour(x), -1, 0)
    random = np.random.default_rng(2)
    sd, inside, errors = 0.3, [], []
    for _ in range(60):
        noisy = clean + sd * random.standard_normal(clean.shape)
        colours = Colours(noisy, np.full(clean.shape, sd**2), np.eye(3))
        found = particle_charge(colours, stack, MIXTURE, np.zeros((3, 4)))
        errors.append(found.soc[0] - truth)
        inside.append(np.abs(errors[-1]) < 1.645 * found.soc_sd[0])
        np.testing.assert_allclose(found.area.sum(axis=1), 1)
    errors = np.asarray(errors)
    assert abs(errors.mean()) < 4 * errors.std() / np.sqrt(errors.size)
    assert np.mean(inside) == pytest.approx(0.9, abs=0.06)


def test_light_and_colours_enter_the_error():
    labels, x = _shrinking([8.0, 14.0])
    clean, stack = np.moveaxis(graphite_colour(x), -1, 0), np.broadcast_to(labels, x.shape)
    colours = Colours(clean, np.full(clean.shape, 1e-8), np.eye(3))
    random = np.random.default_rng(3)
    light = np.full((3, 2), 0.02)
    said = particle_charge(colours, stack, MIXTURE, light).soc_sd[0]
    shaken = [
        particle_charge(
            colours._replace(mean=clean * (1 + 0.02 * random.standard_normal((3, 2, 1, 1)))),
            stack,
            MIXTURE,
            light,
        ).soc[0]
        for _ in range(200)
    ]
    np.testing.assert_allclose(np.std(shaken, axis=0), said, rtol=0.15)
    vague = MIXTURE._replace(covariance=np.broadcast_to(1e-4 * np.eye(3), (3, 3, 3)))
    said = particle_charge(colours, stack, vague, 0 * light).soc_sd[0]
    shaken = [
        particle_charge(
            colours,
            stack,
            MIXTURE._replace(colours=COLOURS + 0.01 * random.standard_normal((3, 3))),
            0 * light,
        ).soc[0]
        for _ in range(200)
    ]
    np.testing.assert_allclose(np.std(shaken, axis=0), said, rtol=0.15)


def test_fronts_have_their_depth_and_speed():
    times = np.arange(2.0, 22.0, 1.0)
    labels, x = _shrinking(times)
    stack = np.broadcast_to(labels, x.shape)
    clean = np.moveaxis(graphite_colour(x), -1, 0)
    noisy = clean + 0.04 * np.random.default_rng(4).standard_normal(clean.shape)
    colours = Colours(noisy, np.full(clean.shape, 0.0016), np.eye(3))
    charge = particle_charge(colours, stack, MIXTURE, np.zeros((3, times.size)))
    found = fronts(charge, stack, times, (2.0, 2.0))
    depth = found.depth[0, 0] / 2
    expected = 0.5 * times
    good = np.isfinite(depth) & (expected > 1.5) & (expected < 11)
    assert good.sum() > 10
    assert np.all(np.abs(depth - expected)[good] < 2.5 * found.depth_sd[0, 0][good] / 2)
    z = (found.speed[0, 0] - 1.0)[good] / found.speed_sd[0, 0][good]
    assert np.abs(z).max() < 4
    assert np.nanmedian(found.speed[0, 0][good]) == pytest.approx(1.0, rel=0.06)
    late = np.isfinite(found.depth[0, 1])
    np.testing.assert_allclose(found.depth[0, 1][late] / 2, 0.5 * times[late] - 5, atol=0.6)
    # No front before it enters: no number either.
    assert np.isnan(found.depth[0, 1][:5]).all()


def test_scores_of_known_cases():
    truth = _discs([(15, 14), (15, 40)], 8)
    moved = np.roll(truth, 1, axis=1)
    np.testing.assert_allclose(particle_iou(truth, truth), 1)
    shared = [
        ((truth == k) & (moved == k)).sum() / ((truth == k) | (moved == k)).sum() for k in (1, 2)
    ]
    np.testing.assert_allclose(particle_iou(moved, truth), shared)
    assert particle_iou(np.zeros_like(truth), truth).tolist() == [0, 0]
    found, true = np.array([0, 0, 1, 1, 2, 2]), np.array([0, 1, 1, 1, 2, 0])
    where = np.ones(6, bool)
    assert accuracy(found, true, where) == pytest.approx(4 / 6)
    np.testing.assert_allclose(f1_scores(found, true, where, 4)[:3], [0.5, 0.8, 2 / 3])
    assert np.isnan(f1_scores(found, true, where, 4)[3])

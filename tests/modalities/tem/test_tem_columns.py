"""Atomic columns: noise alone makes none, positions as good as the bound with honest errors, surfaces and their scores."""

import numpy as np
import pytest

from phdenoise.modalities.tem.column_fit import fit_columns
from phdenoise.modalities.tem.columns import ColumnsConfig, binned, find_columns
from phdenoise.modalities.tem.detection import (
    height_p_value,
    kept_by_false_share,
    maxima,
    response,
)
from phdenoise.modalities.tem.surface import agreement, surface_columns
from phdenoise.types import InputError

# Width [px], distance [px] and height [electrons/px] of simulated columns: an isolated one is some 15 sd.
WIDTH, APART, HEIGHT, LEVEL = 5.0, 22.0, 1.2, 0.45


def lattice(shape: tuple[int, int], sign: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """Clean image and positions of a hexagonal patch."""
    y, x = np.mgrid[: shape[0], : shape[1]].astype(float)
    one, two = APART * np.array([0.1, 0.995]), APART * np.array([0.91, 0.41])
    at = [
        np.asarray(shape) / 2 + i * one + j * two
        for i in range(-9, 10)
        for j in range(-9, 10)
    ]  # fmt: skip
    at = np.asarray([p for p in at if np.hypot(*(p - np.asarray(shape) / 2)) < 0.36 * min(shape)])
    clean = np.full(shape, LEVEL if sign > 0 else LEVEL + HEIGHT)
    for p in at:
        clean += sign * HEIGHT * np.exp(-((y - p[0]) ** 2 + (x - p[1]) ** 2) / (2 * WIDTH**2))
    return clean, at


@pytest.mark.parametrize("level", [2.0, 20.0])
def test_heights_of_noise_have_the_probabilities_that_are_stated(level):
    found = []
    any_kept = 0
    for seed in range(60):
        counts = np.random.default_rng(seed).poisson(level, (120, 120)).astype(float)
        tops = maxima(response(counts, 2.0, sign=1 if seed % 2 else -1))
        found.append(tops.p_value)
        any_kept += kept_by_false_share(tops.p_value, 0.05).any()
    p = np.concatenate(found)
    for at in (0.3, 0.1, 0.01):
        # 18,000 maxima: the shares have a standard deviation of 0.07 of 0.01 at most.
        assert np.mean(p < at) == pytest.approx(at, rel=0.25)
    # Expected 3 of 60.
    assert any_kept <= 9
    assert np.all(np.diff(height_p_value(np.linspace(-3, 8, 50))) < 0)


@pytest.mark.parametrize("scene", ["vacuum", "support"])
def test_hidden_atoms_no_columns_where_there_are_none(scene):
    clean = np.full((140, 150), 2.0)
    if scene == "support":  # a smooth edge, some columns wide, and a gradient
        x = np.arange(150)
        clean = clean - 0.5 / (1 + np.exp(-(x - 75) / 8)) + 0.001 * np.arange(140)[:, None]
    false = 0
    for seed in range(6):
        counts = np.random.default_rng(seed).poisson(clean).astype(float)
        found = find_columns(counts, pixel_size=0.2, config=ColumnsConfig(width=0.6))
        false += len(found.position)
    # The rule lets one image in twenty have any.
    assert false <= 1


@pytest.mark.parametrize("sign", [1, -1])
def test_positions_are_as_good_as_the_bound_and_errors_honest(sign):
    clean, truth = lattice((170, 170), sign)
    errors, pulls, bounds, number = [], [], [], 0
    y, x = np.mgrid[:170, :170].astype(float)
    for p in truth:
        slope = (y - p[0]) / WIDTH**2 * HEIGHT
        slope = slope * np.exp(-((y - p[0]) ** 2 + (x - p[1]) ** 2) / (2 * WIDTH**2))
        bounds.append(1 / np.sum(slope**2 / clean))
    for seed in range(2):
        counts = np.random.default_rng(seed).poisson(clean).astype(float)
        found = find_columns(counts, pixel_size=0.1, config=ColumnsConfig(width=0.5))
        assert found.sign == sign
        match = agreement(found.position, truth, 8.0)
        assert match.f1 > 0.9
        i, j = match.pairs.T
        error = found.position[i] - truth[j]
        errors.append(error)
        pulls.append(error / found.position_sd[i])
        number += len(truth)
        assert np.all(sign * found.intensity > 0)
    error = np.sqrt(np.mean(np.concatenate(errors) ** 2))
    # What neighbours and background leave unknown costs about a tenth of the bound of a column that stands alone.
    assert error < 1.3 * np.sqrt(np.mean(bounds))
    assert 0.75 < np.sqrt(np.mean(np.concatenate(pulls) ** 2)) < 1.3


def test_joint_fit_tells_neighbours_that_overlap():
    y, x = np.mgrid[:40, :50].astype(float)
    truth = np.array([[20.0, 20.3], [20.4, 26.1]])
    clean = np.full((40, 50), 30.0)
    for p in truth:
        clean += 40 * np.exp(-((y - p[0]) ** 2 + (x - p[1]) ** 2) / (2 * 2.3**2))
    start = np.array([[19.5, 19.6, 20.0, np.log(2.3)], [20.9, 26.8, 20.0, np.log(2.3)]])
    fit = fit_columns(clean, start, knots=12.0)
    assert fit.converged
    np.testing.assert_allclose(fit.values[:, :2], truth, atol=0.03)
    counts = np.random.default_rng(1).poisson(clean).astype(float)
    noisy = fit_columns(counts, start, knots=12.0)
    sd = np.sqrt(np.diagonal(noisy.covariance, axis1=1, axis2=2))
    assert np.abs((noisy.values[:, :2] - truth) / sd[:, :2]).max() < 4
    # The heights of neighbours that overlap are known less well than that of one alone.
    alone = fit_columns(counts, start[:1], knots=12.0)
    assert sd[0, 2] > np.sqrt(alone.covariance[0, 2, 2])


def test_unmeasured_pixels_and_bad_input():
    clean, _truth = lattice((120, 120))
    counts = np.random.default_rng(3).poisson(clean).astype(float)
    counts[:, 55:65] = np.nan
    found = find_columns(counts, pixel_size=0.1, config=ColumnsConfig(width=0.5))
    assert len(found.position)
    assert np.isfinite(found.position).all()
    off = np.abs(found.position[:, 1] - 59.5)
    assert (off > 3).all()
    with pytest.raises(InputError, match="negative"):
        find_columns(clean - 0.5, pixel_size=0.1)
    with pytest.raises(InputError, match="pixel size"):
        find_columns(clean, pixel_size=0.0)
    with pytest.raises(InputError, match=r"\[y, x\]"):
        find_columns(clean[None], pixel_size=0.1)
    with pytest.raises(InputError, match="too small"):
        find_columns(clean[:4, :4], pixel_size=0.1, config=ColumnsConfig(width=0.5))
    with pytest.raises(InputError, match="no counts"):
        find_columns(np.zeros((40, 40)), pixel_size=0.1)
    assert binned(np.ones((5, 7)), 2).tolist() == [[4.0] * 3] * 2


def test_surface_is_the_border_and_scores_count():
    _, at = lattice((170, 170))
    surface = surface_columns(at)
    radius = np.hypot(*(at - at.mean(axis=0)).T)
    assert surface[radius > radius.max() - 5].all()
    assert not surface[radius < radius.max() - 2 * APART].any()
    # A vacancy inside is a surface too: its neighbours lose their triangles.
    middle = radius.argmin()
    hole = np.delete(at, middle, axis=0)
    near = np.hypot(*(hole - at[middle]).T) < 1.1 * APART
    assert surface_columns(hole)[near].all()
    assert surface_columns(at[:2]).all()
    score = agreement(np.r_[at[1:], [[0.0, 0.0]]], at, 3.0)
    assert (score.true, score.false, score.missed) == (len(at) - 1, 1, 1)
    assert score.jaccard == pytest.approx((len(at) - 1) / (len(at) + 1))
    assert score.f1 == pytest.approx((len(at) - 1) / len(at))
    assert agreement(at[:0], at, 3.0).recall == 0

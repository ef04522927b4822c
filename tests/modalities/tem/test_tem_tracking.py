"""Drift is taken out, columns keep their numbers, strain is what was put in, errors are honest."""

import numpy as np
import pytest

from phdenoise.modalities.tem.columns import ColumnsConfig, find_columns
from phdenoise.modalities.tem.surface import agreement
from phdenoise.modalities.tem.tracking import (
    aligned_sum,
    find_scene_drift,
    fit_lattice,
    track_columns,
)
from phdenoise.types import InputError


def hexagon(rows: int = 7, apart: float = 20.0) -> np.ndarray:
    """Positions of a lattice that is turned a little."""
    one, two = apart * np.array([0.17, 0.985]), apart * np.array([0.94, 0.35])
    k = np.arange(rows) - rows // 2
    return np.asarray([i * one + j * two for i in k for j in k]) + 90.0


def test_strain_is_what_was_put_in_and_its_errors_are_honest():
    at = hexagon()
    gradient = np.array([[0.02, 0.01], [0.01, -0.03]])
    # Half of the columns are strained, against the lattice of the other half.
    strained = at[:, 1] > 125
    moved = at + np.where(strained[:, None], (at - [90.0, 125.0]) @ gradient.T, 0)
    sd = np.full_like(at, 0.05)
    noisy = moved + np.random.default_rng(0).normal(size=at.shape) * 0.05
    lattice = fit_lattice(noisy, sd)
    assert lattice.member.all()
    rest = fit_lattice(moved, sd, within=~strained)
    assert np.nanmax(np.abs(rest.strain)) < 1e-9
    pulls = []
    for seed in range(12):
        moved = at + np.random.default_rng(seed).normal(size=at.shape) * 0.05
        quiet = fit_lattice(moved, sd)
        pulls.append((quiet.strain / quiet.strain_sd)[np.isfinite(quiet.strain)])
    assert 0.8 < np.sqrt(np.mean(np.concatenate(pulls) ** 2)) < 1.15
    lengths = np.sort(np.hypot(*quiet.vectors.T))
    np.testing.assert_allclose(lengths, 20.0, rtol=0.01)
    whole = fit_lattice(at + (at - 90) @ gradient.T, sd)
    # A strain that all columns have is the lattice itself.
    assert np.nanmax(np.abs(whole.strain)) < 1e-6


def test_lattices_need_columns_that_repeat():
    with pytest.raises(InputError, match="six columns"):
        fit_lattice(np.zeros((3, 2)), np.ones((3, 2)))
    row = np.stack([np.zeros(9), 10.0 * np.arange(9)], axis=1)
    with pytest.raises(InputError, match="one row"):
        fit_lattice(row, np.ones_like(row))


def test_a_movie_that_drifts_is_followed():
    y, x = np.mgrid[:120, :130].astype(float)
    at = hexagon(5, 17.0) - 28.0
    drift = np.array([[0.0, 0.0], [1.3, -0.6], [2.4, -1.5], [3.1, -2.2]])
    frames = []
    random = np.random.default_rng(2)
    for d in drift:
        clean = np.full(y.shape, 2.0)
        for p in at + d:
            clean += 3.0 * np.exp(-((y - p[0]) ** 2 + (x - p[1]) ** 2) / (2 * 3.6**2))
        frames.append(random.poisson(clean))
    movie = np.asarray(frames, float)
    found = find_scene_drift(movie, 2)
    assert np.abs(found - (drift - drift.mean(axis=0))).max() < 0.7
    total, seen = aligned_sum(movie, found)
    assert total.sum() == movie.sum()
    assert not seen.all()
    columns = find_columns(
        total, pixel_size=0.15, config=ColumnsConfig(width=0.6, contrast="bright"), seen=seen
    )
    match = agreement(columns.position, at + (drift - found).mean(axis=0), 5.0)
    # Tracks are asked for here: a few false columns beside true ones do not matter.
    assert match.f1 > 0.9
    columns = columns.chosen(match.pairs[:, 0])
    tracks = track_columns(movie, columns, found)
    assert tracks.seen.mean() > 0.95
    relative = tracks.drift - tracks.drift[0]
    error = (relative - drift) / np.maximum(np.hypot(tracks.drift_sd, tracks.drift_sd[0]), 1e-9)
    assert np.abs(error[1:]).max() < 4.5
    spread = np.nanstd(tracks.position, axis=0, ddof=1) / np.nanmean(tracks.position_sd, axis=0)
    assert 0.7 < np.sqrt(np.nanmean(spread**2)) < 1.4

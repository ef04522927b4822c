"""Spots beside a particle that may be fringes are told from its columns by their height, and only there."""

from functools import partial

import numpy as np
import pytest

from phdenoise.modalities.tem.columns import Columns
from phdenoise.modalities.tem.fringes import find_fringes
from phdenoise.modalities.tem.surface import surface_columns

SHAPE = (200, 200)
BORDER = partial(surface_columns, shape=SHAPE)


def lattice(radius):
    """Places of a square lattice of 10 px within a circle, and their distance from its centre."""
    y, x = (a.ravel() for a in np.mgrid[20:181:10, 20:181:10].astype(float))
    away = np.hypot(y - 100, x - 100)
    return np.c_[y, x][away < radius], away[away < radius]


def columns(position, height, score):
    number = len(position)
    one = np.ones(number)
    return Columns(
        position, np.broadcast_to(np.eye(2), (number, 2, 2)), height * 10, one, 2 * one, one, height,
        np.broadcast_to(score, number), 0 * one, np.zeros((10, 10)), 1, 2.0, -1, number, True,
    )  # fmt: skip


@pytest.mark.parametrize("rings", [1, 2])
@pytest.mark.parametrize("sign", [1, -1])
def test_weak_rings_are_taken_off(rings, sign):
    position, away = lattice(45 + 10 * rings)
    height = sign * np.where(away < 45, 100.0, 25.0)
    weak = find_fringes(columns(position, height, np.abs(height) / 3), BORDER)
    np.testing.assert_array_equal(weak, away >= 45)


def test_thinner_columns_of_the_surface_stay_and_weak_ones_inside_too():
    """A wedge loses half of its height to the rim; light columns inside are no fringes."""
    position, away = lattice(60)
    height = 100.0 - 60 * (away / 60) ** 3
    light = (away < 25) & (np.arange(len(away)) % 3 == 0)
    height[light] = 10.0
    assert not find_fringes(columns(position, height, height / 3), BORDER).any()


def test_what_noise_leaves_open_stays():
    position, away = lattice(55)
    height = np.where(away < 45, 100.0, 30.0)
    assert not find_fringes(columns(position, height, np.full(len(height), 2.0)), BORDER).any()


@pytest.mark.parametrize("number", [0, 1, 2, 5])
def test_a_few_columns_have_no_inside(number):
    position = lattice(60)[0][:number]
    height = np.linspace(1, 100, number)
    assert not find_fringes(columns(position, height, height), BORDER).any()

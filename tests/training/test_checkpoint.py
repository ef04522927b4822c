"""Weights survive the disk, and a wrong folder is named."""

import numpy as np
import pytest

from phdenoise.networks.base import build, from_weights, weights_of
from phdenoise.networks.context import PIXEL
from phdenoise.training.checkpoint import load_weights, save_weights
from phdenoise.types import InputError


def test_round_trip(tmp_path):
    weights = weights_of(build(PIXEL, width=8, centre=2.0, spread=3.0, seed=0))
    save_weights(tmp_path / "weights", weights)
    again = load_weights(tmp_path / "weights")
    assert sorted(again) == sorted(weights)
    for name, array in weights.items():
        np.testing.assert_array_equal(again[name], array)
    assert float(from_weights(again, PIXEL, width=8).centre) == 2.0


def test_refusals(tmp_path):
    with pytest.raises(InputError, match="exists already"):
        save_weights(tmp_path, {"a": np.ones(2)})
    with pytest.raises(InputError, match="no weights to save"):
        save_weights(tmp_path / "new", {})
    for folder in (tmp_path, tmp_path / "absent"):
        with pytest.raises(InputError, match="holds no weights"):
            load_weights(folder)

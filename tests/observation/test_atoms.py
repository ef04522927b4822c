"""Atoms in TEM: decisions that follow the evidence."""

import numpy as np
import pytest

from phdenoise.observation.atoms import atom_likelihood_ratio
from phdenoise.types import InputError


def test_likelihood_ratio_tells_an_atom_from_vacuum():
    rng = np.random.default_rng(0)
    vacuum, atom = 0.45, 0.15
    columns = np.zeros((40, 80, 80), bool)
    for k in range(40):
        y, x = 4 + 16 * (k // 8), 4 + 9 * (k % 8)
        columns[k, y : y + 6, x : x + 6] = True
    mean = np.full((80, 80), vacuum)
    real = columns[:20].any(0)
    mean[real] = atom
    counts = rng.poisson(mean).astype(float)
    claimed = np.where(columns.any(0), atom, vacuum)
    ratio = atom_likelihood_ratio(counts, claimed, columns, vacuum)
    # Expected for a true column: Kullback-Leibler divergence of the two Poisson laws.
    assert np.mean(ratio[:20]) == pytest.approx(0.15 * np.log(1 / 3) + 0.3, abs=0.03)
    assert np.mean(ratio[20:]) < -0.1
    empty = atom_likelihood_ratio(counts, claimed, np.zeros((1, 80, 80), bool))
    assert empty[0] == 0
    with pytest.raises(InputError, match="shape"):
        atom_likelihood_ratio(counts, mean[:9], columns)

"""Random scenes are what they say, and the network that training starts from can be made again."""

from dataclasses import replace

import numpy as np
import pytest

from experiments.scene_prior import STEPS_BETWEEN_SCORES, ScenePrior, score, train
from experiments.scenes import expose, scene


def test_scenes_change_have_unit_contrast_and_are_all_different():
    found = [scene(np.random.default_rng(k), 8, 40) for k in range(30)]
    for movie in found:
        assert movie.shape == (8, 40, 40)
        assert np.isfinite(movie).all()
        assert movie.std() == pytest.approx(1, rel=1e-3)
        assert not np.array_equal(movie[0], movie[-1])
    changes = [np.sqrt(np.mean(np.diff(m, axis=0) ** 2)) for m in found]
    assert max(changes) > 20 * min(changes)
    again = scene(np.random.default_rng(3), 8, 40)
    np.testing.assert_array_equal(again, found[3])


def test_noise_is_white_or_correlated_as_said():
    seen = set()
    for k in range(30):
        shot = expose(np.random.default_rng(k), 8, 48)
        noise = shot.noisy - shot.clean
        noise = noise / np.sqrt(np.mean(noise**2, axis=(1, 2), keepdims=True))
        least = min(np.var(np.diff(noise, axis=a)) for a in (1, 2))
        assert (least < 1.8) == shot.correlated, (k, least)
        seen.add(shot.correlated)
    assert seen == {True, False}


@pytest.mark.slow
def test_training_begins_at_the_linear_filter_and_learns(tmp_path):
    file = tmp_path / "prior.npz"
    small = ScenePrior("train", movies=2, frames=8, side=32, crop=32, steps=1, output=file)
    list(train(small))
    judged = ScenePrior("score", scenes=2, frames=8, side=32, output=file)
    assert all(abs(r.gain) < 0.01 for r in score(judged))
    first, last = (v for _, v in train(replace(small, steps=2 * STEPS_BETWEEN_SCORES, batch=1)))
    assert last < 0.9 * first
    assert all(abs(r.gain) > 0.01 for r in score(judged))

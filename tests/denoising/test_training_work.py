"""Training is planned in work and not in time: the result is the same on a machine that is slow or busy."""

import itertools
from dataclasses import replace

import numpy as np
import pytest

from phdenoise import DenoiseConfig, Estimate, Movie, denoise
from phdenoise.denoising.config import PRESETS
from phdenoise.training import loop
from phdenoise.types import InputError

# More operations than 30 steps of the smallest network take, fewer than 300.
CONFIG = DenoiseConfig(preset="quick", width=8, symmetries=1, crop=16)


def _movie() -> Movie:
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:64, :64] / 10
    scene = np.stack([np.sin(y + 0.2 * t) * np.cos(x) for t in range(24)])
    return Movie.from_array(scene + rng.normal(0, 0.3, scene.shape))


def _steps(estimate: Estimate) -> int:
    return int(estimate.settings["steps"])


class _Clock:
    """A clock that runs so fast that no training would have time for a step."""

    def __init__(self) -> None:
        self._ticks = itertools.count(0, 1000)

    def monotonic(self) -> float:
        """Seconds."""
        return float(next(self._ticks))


@pytest.mark.study
@pytest.mark.slow
def test_the_clock_changes_nothing(monkeypatch):
    config = replace(CONFIG, effort=0.002)
    quick = denoise(_movie(), config)
    monkeypatch.setattr(loop, "time", _Clock())
    slow = denoise(_movie(), config)
    np.testing.assert_array_equal(slow.mean, quick.mean)
    np.testing.assert_array_equal(slow.variance, quick.variance)
    assert 100 <= _steps(quick) < PRESETS["quick"].steps
    # As asked in seconds, the clock decides.
    timed = denoise(_movie(), replace(config, seconds=5.0))
    assert any("5 s" in sentence for sentence in timed.log)


@pytest.mark.study
@pytest.mark.slow
def test_more_work_more_steps():
    few, more = (
        _steps(denoise(_movie(), replace(CONFIG, effort=effort))) for effort in (1e-6, 0.1)
    )
    assert few < more


@pytest.mark.parametrize("effort", [0.0, -1.0, float("nan")])
def test_effort_is_positive(effort):
    with pytest.raises(InputError, match="--effort"):
        denoise(_movie(), replace(CONFIG, effort=effort))

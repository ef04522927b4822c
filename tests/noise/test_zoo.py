"""Cases of the noise zoo that tests can afford: the noise that was added is the noise that is measured."""

import pytest

from benchmarks.noise_zoo import diagnose


# Counts, dark counts, correlated, hum, half-frames, doubled, registered, gaps, read noise.
@pytest.mark.parametrize("number", [1, 2, 4, 9, 10, 16, 17, 20, 26, 27, 34, 51])
def test_the_noise_that_was_added_is_measured(number):
    row = diagnose(number)
    assert row["right"], row

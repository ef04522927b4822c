"""Filters are drawn around their pixel, frame by frame, with the centroid where the weights lie."""

import numpy as np

from phdenoise.networks.equivalent_filter import EquivalentFilter
from phdenoise.report.trust_figures import equivalent_filter_images


def test_a_row_per_pixel_and_a_column_per_frame():
    weights = np.zeros((3, 20, 20), np.float32)
    weights[0, 10, 13] = 1.0
    motion = np.array([[0.0, 3.0], [np.nan, np.nan], [0.0, 0.0]])
    one = EquivalentFilter((1, 10, 10), np.arange(3), weights, 1.0, 1.0, motion, motion)
    drawn = equivalent_filter_images([one, one])
    axes = [a for a in drawn.axes if a.get_label() != "<colorbar>"]
    assert len(axes) == 10
    # Frames t-2 and t+2 do not exist; the others are titled in the first row only.
    assert [a.get_title() for a in axes[:5]] == ["", "t -1", "t", "t +1", ""]
    assert [a.axison for a in axes[:5]] == [False, True, True, True, False]
    assert not any(a.get_title() for a in axes[5:])
    cross, ring = axes[1].lines
    assert (cross.get_xdata()[0], ring.get_xdata()[0]) == (10, 13)
    assert len(axes[2].lines) == 1

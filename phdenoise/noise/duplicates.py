"""Frames that are copies of the frame before: dropped exposures, filled by a camera or a video encoder.

A copy is no measurement: its noise is that of the frame before, so a blind network that sees one of the two learns the noise of
the other.
"""

import numpy as np
from jaxtyping import Bool, Float, Integer

from phdenoise.summary import first_few

# Frames expected to be taken for copies by chance, in the whole movie.
_FALSE_DUPLICATES = 1e-3
# Frames whose numbers a sentence names: they fit a line.
SHOWN = 8


def find_duplicate_frames(
    frames: Float[np.ndarray, "t y x"], valid: Bool[np.ndarray, "t y x"]
) -> Bool[np.ndarray, " t"]:
    """Which frames repeat the one before, value by value, although noise would not let them.

    Args:
        frames: measured intensities; anything where not valid.
        valid: True where a pixel was measured.

    Returns:
        True for frames that are copies of the one before [t].
    """
    same, pairs = (np.zeros(len(frames) - 1, np.int64) for _ in range(2))
    varied = np.zeros(len(frames), bool)
    for t, (frame, good) in enumerate(zip(frames, valid, strict=True)):
        varied[t] = good.any() and np.ptp(frame[good]) > 0
        if t > 0:
            both = good & valid[t - 1]
            same[t - 1], pairs[t - 1] = np.sum(both & (frame == frames[t - 1])), both.sum()
    return duplicates_from_counts(same, pairs, varied)


def shown_times(repeated: Bool[np.ndarray, " t"]) -> int:
    """How often a movie shows every exposure, where that is equally often; else 1.

    Args:
        repeated: frames that are copies of the one before.

    Returns:
        The number of frames of one exposure.
    """
    apart = np.diff(np.flatnonzero(~repeated))
    tail = len(repeated) - 1 - int(np.flatnonzero(~repeated)[-1])
    regular = apart.size > 0 and apart.min() == apart.max() and tail < apart[0]
    return int(apart[0]) if regular else 1


def sentences(repeated: Bool[np.ndarray, " t"]) -> list[str]:
    """A sentence that names the duplicate frames; none where there are none."""
    found = np.flatnonzero(repeated)
    if not found.size:
        return []
    if (often := shown_times(repeated)) > 1:
        return [
            f"Every exposure is shown {often} times: the copies are masked and keep its values."
        ]
    return [
        f"Masked: {found.size} frame(s) repeat the frame before, value by value ({first_few(found, SHOWN)}): "
        "what they show is predicted from the others."
    ]


def duplicates_from_counts(
    same: Integer[np.ndarray, " pairs"],
    pairs: Integer[np.ndarray, " pairs"],
    varied: Bool[np.ndarray, " t"],
) -> Bool[np.ndarray, " t"]:
    """Which frames repeat the one before, from counts of equal pixels.

    Args:
        same, pairs: equal and all pairs of valid values of successive frames.
        varied: frames of more than one value.

    Returns:
        True for frames that are copies of the one before [t].
    """
    out = np.zeros(len(varied), bool)
    equal = (same == pairs) & (pairs > 0) & varied[1:]
    others = ~equal & (pairs > 0) & varied[1:] & varied[:-1]
    if equal.any() and others.any():
        # What pixels do by chance is seen in the frames that are not copies.
        share = (same[others].sum() + 1) / (pairs[others].sum() + 2)
        out[1:] = equal & (pairs * np.log(share) + np.log(len(pairs)) < np.log(_FALSE_DUPLICATES))
    return out

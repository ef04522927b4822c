"""Frames that are copies of the frame before: dropped exposures, filled by a camera or a video encoder.

A copy is no measurement. Its noise is that of the frame it was copied from, so a blind network that sees the one
learns the noise of the other.
"""

import numpy as np
from jaxtyping import Bool, Float, Integer

# Copies expected by chance in the whole movie.
_CHANCE = 1e-3


def repeated_frames(
    frames: Float[np.ndarray, "t y x"], valid: Bool[np.ndarray, "t y x"]
) -> Bool[np.ndarray, " t"]:
    """Which frames repeat the one before, value by value, although noise would not let them.

    Args:
        frames: measured intensities; anything where not valid.
        valid: True where a pixel was measured.
    """
    same, pairs = (np.zeros(len(frames) - 1, np.int64) for _ in range(2))
    varied = np.zeros(len(frames), bool)
    for t, (frame, good) in enumerate(zip(frames, valid, strict=True)):
        varied[t] = good.any() and np.ptp(frame[good]) > 0
        if t > 0:
            both = good & valid[t - 1]
            same[t - 1], pairs[t - 1] = np.sum(both & (frame == frames[t - 1])), both.sum()
    return repeats(same, pairs, varied)


def repeats(
    same: Integer[np.ndarray, " pairs"],
    pairs: Integer[np.ndarray, " pairs"],
    varied: Bool[np.ndarray, " t"],
) -> Bool[np.ndarray, " t"]:
    """The same from counts.

    Args:
        same: pixels with equal values in successive frames.
        pairs: pixels measured in both.
        varied: frames with more than one value; dark frames of a counting detector are alike, and no copies.
    """
    out = np.zeros(len(varied), bool)
    equal = (same == pairs) & (pairs > 0) & varied[1:]
    others = ~equal & (pairs > 0) & varied[1:] & varied[:-1]
    if equal.any() and others.any():
        # What pixels do by chance is seen in the frames that are not copies.
        share = (same[others].sum() + 1) / (pairs[others].sum() + 2)
        out[1:] = equal & (pairs * np.log(share) + np.log(len(pairs)) < np.log(_CHANCE))
    return out


def sentences(repeated: Bool[np.ndarray, " t"]) -> list[str]:
    """What to say of them; nothing where there are none."""
    found = np.flatnonzero(repeated)
    if not found.size:
        return []
    named = ", ".join(map(str, found[:8])) + (", ..." if found.size > 8 else "")
    return [
        f"Masked: {found.size} frame(s) repeat the frame before, value by value ({named}): "
        "what they show is predicted from the others."
    ]

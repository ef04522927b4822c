"""What must be known of a whole movie before any part of it is judged, gathered in one pass over its frames.

Sums over time tell dead and hot pixels, the largest values tell saturation; with them `Screen` finds in any part of the
movie the defects that `phdenoise.noise.defects` finds in the whole. The one difference: hits count in the temporal means.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

from phdenoise.noise.defects import SPOT_RADIUS, outlying, spots, unchanging
from phdenoise.noise.repeats import repeats
from phdenoise.types import NoiseModel

# Frames before and after that decide whether a value is a hit.
SPOT_FRAMES = 2
# Fewer different values are levels of a drawing, not of a detector.
_LEVELS = 17


class Survey:
    """Sums over the frames of a movie [t, y, x], added in order.

    Attributes:
        total, count: sum and number of the valid values of each pixel [y, x].
        same, pairs: equal and all pairs of successive valid values [y, x].
        present: frames with any valid value [t].
        repeated: frames that are copies of the one before [t]; known when all were added.
        low, high: smallest and largest valid value.
    """

    def __init__(self, shape: tuple[int, int, int]):
        self.total = np.zeros(shape[1:])
        self.count, self.same, self.pairs = (np.zeros(shape[1:], np.int64) for _ in range(3))
        self.present, self._varied = (np.zeros(shape[0], bool) for _ in range(2))
        self._equal, self._both = (np.zeros(shape[0], np.int64) for _ in range(2))
        self.low, self.high = np.inf, -np.inf
        self._done = 0
        self._last: tuple[np.ndarray, np.ndarray] | None = None
        self._top: dict[float, int] = {}
        self._levels: set[float] = set()

    def add(self, frames: Float[np.ndarray, "n y x"], valid: Bool[np.ndarray, "n y x"]) -> None:
        """The next frames."""
        for frame, good in zip(frames, valid, strict=True):
            self.total += np.where(good, frame, 0.0)
            self.count += good
            if self._last is not None:
                pair = good & self._last[1]
                same = pair & (frame == self._last[0])
                self.pairs += pair
                self.same += same
                self._equal[self._done], self._both[self._done] = same.sum(), pair.sum()
            self._last = frame, good
            values = frame[good]
            self.present[self._done] = values.size > 0
            self._varied[self._done] = values.size > 0 and np.ptp(values) > 0
            self._done += 1
            if values.size:
                self.low = min(self.low, float(values.min()))
                self.high = max(self.high, float(values.max()))
                self._largest(values)

    @property
    def repeated(self) -> Bool[np.ndarray, " t"]:
        return repeats(self._equal[1:], self._both[1:], self._varied)

    def saturation(self) -> float | None:
        """The largest value where many share it, four times as many as any value just below."""
        counts = [n for _, n in sorted(self._top.items(), reverse=True)]
        if not counts or len(self._levels) < _LEVELS:
            return None
        return self.high if counts[0] > max(16, 4 * max(counts[1:], default=0)) else None

    def _largest(self, values: np.ndarray) -> None:
        """Count the four largest values so far, and some of the different ones."""
        if len(self._levels) < _LEVELS:
            self._levels |= set(np.unique(values[:100_000])[:_LEVELS].tolist())
        for _ in range(4):
            kept = sorted(self._top, reverse=True)[:4]
            if values.size == 0:
                break
            top = float(values.max())
            if len(kept) == 4 and top < kept[-1]:
                break
            self._top[top] = self._top.get(top, 0) + int((values == top).sum())
            values = values[values < top]
        self._top = {v: self._top[v] for v in sorted(self._top, reverse=True)[:4]}


@dataclass(frozen=True)
class Screen:
    """Finds defects in parts of a surveyed movie.

    Attributes:
        noise: pointwise noise model.
        mean: of each pixel over time, in place of values that are not valid [y, x].
        dead, hot: pixels that are defective in every frame [y, x].
        full: value from which on it is saturated.
    """

    noise: NoiseModel
    mean: Float[np.ndarray, "y x"]
    dead: Bool[np.ndarray, "y x"]
    hot: Bool[np.ndarray, "y x"]
    full: float | None

    @classmethod
    def of(cls, survey: Survey, noise: NoiseModel) -> "Screen":
        """The screen of a surveyed movie."""
        some = survey.total.sum() / max(int(survey.count.sum()), 1)
        mean = np.where(survey.count > 0, survey.total / np.maximum(survey.count, 1), some)
        full = survey.saturation()
        constant = unchanging(survey.same, survey.pairs)
        if full is not None:
            constant &= mean < full
        usable = ~constant
        hot, low = outlying(
            np.where(usable, survey.total, 0.0), survey.count * usable, float(some), noise
        )
        return cls(noise, mean, constant | low, hot, full)

    def judge(
        self,
        frames: Float[np.ndarray, "n y x"],
        valid: Bool[np.ndarray, "n y x"],
        rows: slice,
        columns: slice,
    ) -> tuple[Bool[np.ndarray, "n y x"], Bool[np.ndarray, "n y x"]]:
        """Which valid values are good, and which of the others are saturated.

        Those within `SPOT_FRAMES` and `SPOT_RADIUS` of a side where the movie goes on are not judged rightly.
        """
        dead, hot = self.dead[rows, columns], self.hot[rows, columns]
        data = np.where(valid, frames, self.mean[rows, columns])
        full = valid & (data == self.full) if self.full is not None else np.zeros_like(valid)
        usable = valid & ~dead & ~full
        bad = dead | hot | spots(data.astype(np.float64), usable, self.noise)
        return valid & ~bad & ~full, full

    def sentences(self) -> tuple[str, ...]:
        """What was found that holds for the whole movie."""
        said = []
        if self.full is not None:
            said.append(f"values of {self.full:g} look saturated.")
        for kind, mask in (("dead", self.dead), ("hot", self.hot)):
            if mask.any():
                said.append(f"{int(mask.sum())} pixels look {kind}.")
        return tuple(said)


__all__ = ["SPOT_FRAMES", "SPOT_RADIUS", "Screen", "Survey"]

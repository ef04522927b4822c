"""Statistics of a whole movie from one pass over its frames: repeated frames, and the defects that they tell of any part of it.

Sums over time tell dead and hot pixels, the largest values tell saturation. With them `DefectScreen` finds in any part of the
movie the defects that `phdenoise.noise.defects` finds in the whole, with one difference: hits are included in the temporal
means.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

from phdenoise.noise.defects import outlying, unchanging
from phdenoise.noise.duplicates import duplicates_from_counts
from phdenoise.noise.spots import LargestValues, spots
from phdenoise.noise.unmeasured import FrameBorder, Unmeasured, frame_border, from_borders
from phdenoise.types import NoiseModel

# Distance [frames] of the farthest frame that decides whether a value is a hit.
SPOT_FRAMES = 2


class Survey:
    """Sums over the frames of a movie [t, y, x], added in order.

    Attributes:
        total, count: sum and number of the valid values of each pixel [y, x].
        same, pairs: equal and all pairs of successive valid values [y, x].
        present: frames with any valid value [t].
        repeated: frames that are copies of the one before [t]; known when all were added.
        low, high: smallest and largest valid value.
        largest: counts of the largest valid values.
    """

    def __init__(self, shape: tuple[int, int, int]):
        self.total = np.zeros(shape[1:])
        self.count, self.same, self.pairs = (np.zeros(shape[1:], np.int64) for _ in range(3))
        self.present, self._varied = (np.zeros(shape[0], bool) for _ in range(2))
        self._equal, self._both = (np.zeros(shape[0], np.int64) for _ in range(2))
        self.low, self.high = np.inf, -np.inf
        self._done = 0
        self._last: tuple[np.ndarray, np.ndarray] | None = None
        self.largest = LargestValues()
        self._borders: list[FrameBorder] = []

    def add(self, frames: Float[np.ndarray, "n y x"], valid: Bool[np.ndarray, "n y x"]) -> None:
        """Add the next frames.

        Args:
            frames: measured intensities.
            valid: True where a pixel was measured.
        """
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
            self._borders.append(frame_border(frame, good))
            if values.size:
                self.low = min(self.low, float(values.min()))
                self.high = max(self.high, float(values.max()))
        self.largest.add(*(frame[good] for frame, good in zip(frames, valid, strict=True)))

    @property
    def repeated(self) -> Bool[np.ndarray, " t"]:
        return duplicates_from_counts(self._equal[1:], self._both[1:], self._varied)

    @property
    def unmeasured(self) -> Unmeasured:
        """Frames and borders that no detector measured; known when all frames were added."""
        return from_borders(self._borders)


@dataclass(frozen=True)
class DefectScreen:
    """Finds defects in parts of a movie from its statistics.

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
    def of(cls, survey: Survey, noise: NoiseModel) -> "DefectScreen":
        """The screen of a movie.

        Args:
            survey: statistics of the whole movie.
            noise: pointwise noise model.

        Returns:
            The screen.
        """
        some = survey.total.sum() / max(int(survey.count.sum()), 1)
        mean = np.where(survey.count > 0, survey.total / np.maximum(survey.count, 1), some)
        full = survey.largest.saturation()
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

        Values within `SPOT_FRAMES` and `SPOT_RADIUS` of a side where the movie goes on are not judged rightly.

        Args:
            frames: measured intensities of a part.
            valid: True where a pixel was measured.
            rows, columns: where the part lies in the movie.

        Returns:
            True where good, and True where saturated.
        """
        dead, hot = self.dead[rows, columns], self.hot[rows, columns]
        data = np.where(valid, frames, self.mean[rows, columns])
        full = valid & (data == self.full) if self.full is not None else np.zeros_like(valid)
        usable = valid & ~dead & ~full
        bad = dead | hot | spots(data.astype(np.float64), usable, self.noise)
        return valid & ~bad & ~full, full

    def sentences(self) -> tuple[str, ...]:
        """A sentence for each kind of defect that holds for the whole movie."""
        said = []
        if self.full is not None:
            said.append(f"values of {self.full:g} look saturated.")
        for kind, mask in (("dead", self.dead), ("hot", self.hot)):
            if mask.any():
                said.append(f"{int(mask.sum())} pixels look {kind}.")
        return tuple(said)

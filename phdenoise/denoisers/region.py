"""Blind regions as values: which pixels a network must not look at to predict one.

    hidden(p) = { q : |q_y − p_y| ≤ (rows−1)/2, |q_x − p_x| ≤ (columns−1)/2 }    in the centre frame, or in every frame

rows = columns = 0 hides the whole frame. White noise asks for the pixel alone; noise that correlates along a
scan line for a line as long as the correlation (StructN2V, Broaddus et al., ISBI 2020,
doi:10.1109/ISBI45749.2020.9098336); noise that correlates everywhere, but not in time, for the whole centre
frame; UDVD (arXiv:2011.15045) hides a square in all five frames.
"""

import re
from dataclasses import dataclass

from phdenoise.types import InputError


@dataclass(frozen=True)
class BlindRegion:
    """A hidden rectangle around the predicted pixel.

    Attributes:
        rows, columns: its odd sides [px]; 0 and 0 for the whole frame.
        everywhen: hidden in every frame the network sees, not in the centre frame only.
    """

    rows: int
    columns: int
    everywhen: bool = False

    def __post_init__(self) -> None:
        whole = self.rows == 0 and self.columns == 0
        odd = self.rows > 0 and self.columns > 0 and self.rows % 2 and self.columns % 2
        if not (whole or odd) or (whole and self.everywhen):
            raise InputError(
                f"A blind region of {self.rows} x {self.columns} pixels is impossible: both sides "
                "are odd, or the whole centre frame is hidden."
            )
        if self.everywhen and self.rows != self.columns:
            raise InputError("A region hidden in every frame must be a square (all:3x3).")

    @property
    def whole_frame(self) -> bool:
        return self.rows == 0

    def turns(self, side: tuple[int, int]) -> bool:
        """Whether a window of this side may be turned by a quarter: it keeps its shape, and the same pixels are hidden."""
        return side[0] == side[1] and self.rows == self.columns

    @property
    def shift(self) -> tuple[int, int]:
        """Rows and columns by which half planes are moved away from the pixel; s hides 2s − 1."""
        return (self.rows + 1) // 2, (self.columns + 1) // 2

    def __str__(self) -> str:
        named = {v: k for k, v in NAMED.items()}
        text = f"{self.rows}x{self.columns}"
        return named.get(self, f"all:{text}" if self.everywhen else text)


PIXEL = BlindRegion(1, 1)
FRAME = BlindRegion(0, 0)
UDVD = BlindRegion(1, 1, everywhen=True)
NAMED = {"pixel": PIXEL, "frame": FRAME, "udvd": UDVD, "udvd-mf": BlindRegion(3, 3, True)}


def parse_region(text: str) -> BlindRegion:
    """The region that a word names: pixel, frame, udvd, udvd-mf, ROWSxCOLUMNS or all:3x3.

    Raises:
        InputError: the word names none.
    """
    if text in NAMED:
        return NAMED[text]
    found = re.fullmatch(r"(all:)?(\d+)x(\d+)", text)
    if found is None:
        raise InputError(
            f"Unknown blind region '{text}': use auto, pixel, frame, udvd, udvd-mf, "
            "ROWSxCOLUMNS such as 1x9 (of the centre frame) or all:3x3 (of every frame)."
        )
    return BlindRegion(int(found[2]), int(found[3]), everywhen=found[1] is not None)

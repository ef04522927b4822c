"""What every figure needs beside its data: panel letters, scale bars, bands of a stated level, typeset units."""

import re
from collections.abc import Iterable
from io import BytesIO
from string import ascii_lowercase
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.mathtext import MathTextParser
from matplotlib.text import Text

_RAISED = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
# Share of the width that a scale bar fills at most: it is read, and hides little.
_LARGEST_BAR = 0.3
# Resolution in notebooks [dots per inch].
_DPI = 110
# Half width of a 90 % interval of a Gaussian [sd]: that of bands and bars.
HALF_WIDTH = 1.645
# Artists of a scale bar, so that the data of a panel leaves them out.
BAR = "_scale_bar"


class Picture(Figure):
    """A figure that notebooks show without pyplot."""

    def _repr_png_(self) -> bytes:
        buffer = BytesIO()
        typeset(self.findobj(Text))
        self.savefig(buffer, dpi=_DPI, format="png")
        return buffer.getvalue()


class Pixel(NamedTuple):
    """Size of a pixel of a map, for its proportions and its scale bar.

    Attributes:
        dy, dx: in `unit`.
        unit: of length; "px" where the file does not say it, which draws a bar of so many pixels.
    """

    dy: float = 1.0
    dx: float = 1.0
    unit: str = "px"


def letter(axes: Iterable[Axes]) -> None:
    """Write a, b, c ... above the left corner of each panel."""
    for name, axis in zip(ascii_lowercase, axes, strict=False):
        axis.set_title(name, loc="left", fontsize=9, fontweight="bold")


def bare(axis: Axes) -> None:
    """A map without ticks: its scale bar says the lengths."""
    axis.set_xticks([])
    axis.set_yticks([])


def round_length(target: float) -> float:
    """The largest of 1, 2, 5, 10 ... that is not above a length."""
    power = 10.0 ** np.floor(np.log10(target))
    return float(max(m for m in (1, 2, 5, 10) if m * power <= target * 1.001) * power)


def scale_bar(axis: Axes, shape: tuple[int, ...], pixel: Pixel) -> None:
    """Draw a bar of a round length, at most three tenths of the width.

    Args:
        axis: that shows the map in pixels.
        shape: of the map (y, x) [px].
        pixel: its size.
    """
    ny, nx = shape[-2:]
    length = round_length(_LARGEST_BAR * nx * pixel.dx)
    left, bottom = 0.05 * nx - 0.5, 0.93 * ny - 0.5
    bar = axis.plot([left, left + length / pixel.dx], [bottom] * 2, color="white", lw=2)[0]
    bar.set_gid(BAR)
    box = {"facecolor": "black", "alpha": 0.6, "pad": 1.5, "lw": 0}
    axis.text(
        left, bottom - 0.05 * ny, f"{length:g} {pixel.unit}", color="white", fontsize=7, va="bottom", bbox=box
    )  # fmt: skip
    axis.set_xlim(-0.5, nx - 0.5)
    axis.set_ylim(ny - 0.5, -0.5)


def typeset(texts: Iterable[Text]) -> None:
    """Write the units of texts as print does: 'mol/cm^3' -> 'mol/cm³', 'um' -> 'µm'."""
    for text in texts:
        text.set_text(typeset_text(text.get_text()))


def typeset_text(text: str) -> str:
    """What stands between dollar signs is left to TeX, where TeX can read it."""
    if text.count("$") > 1 and not _is_tex(text):
        # A unit from a file may be anything: it is then shown as it is written.
        return text.replace("\\$", "$").replace("$", r"\$")
    parts = text.split("$")
    parts[::2] = [superscripts(re.sub(r"\bum\b", "µm", part)) for part in parts[::2]]
    return "$".join(parts)


def _is_tex(text: str) -> bool:
    """Whether matplotlib can typeset a text."""
    try:
        MathTextParser("path").parse(text)
    except ValueError:
        return False
    return True


def superscripts(text: str) -> str:
    """'cm^2' -> 'cm²', powers of one digit."""
    return re.sub(r"\^(-?\d)(?!\d)", lambda power: power[1].translate(_RAISED), text)

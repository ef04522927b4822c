"""How objects describe themselves: a few lines of text, and in notebooks a small picture beside them.

The rooms that draw lie above the data, so the data names no drawing function: `phdenoise/__init__.py` puts the functions
into `PICTURES`, and they are imported when a notebook first asks for a picture.
"""

import base64
import dataclasses
import html
import textwrap
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

# A description fits this many lines and characters a line: a notebook cell or a log shows it whole.
MOST_LINES, MOST_CHARACTERS = 10, 110
# Numbers of a vector that are shown one by one.
_MOST_NUMBERS = 8

PICTURES: dict[str, Callable[..., bytes]] = {}
"""Kind of picture ("images", "bands") -> function that draws it as PNG; see `phdenoise.figures.pictures`."""


ABOVE: dict[str, Callable[..., Any]] = {}
"""Name -> function of a room above the data (drawing, other packages' objects); `phdenoise/__init__.py` puts them here."""


class Panel(NamedTuple):
    """One image of a picture.

    Attributes:
        title: above the image.
        image: numbers [y, x].
        spread: whether they are standard deviations, with a scale of their own from 0.
    """

    title: str
    image: Any
    spread: bool = False


def first_few(items: Iterable[object], most: int) -> str:
    """The first items of a list, with ", ..." where there are more.

    Args:
        items: of the list.
        most: items that are shown.

    Returns:
        Items separated by commas.
    """
    texts = [str(item) for item in items]
    return ", ".join(texts[:most]) + ", ..." * (len(texts) > most)


def describe(title: str, facts: Mapping[str, str], sentence: str = "") -> str:
    """A title, a sentence, and one line for each fact, at most `MOST_LINES`.

    Args:
        title: first line.
        facts: name -> value.
        sentence: wrapped to at most three lines.

    Returns:
        The lines.
    """
    said = textwrap.wrap(sentence, MOST_CHARACTERS - 2, max_lines=3, placeholder=" ...")
    width = max((len(name) for name in facts), default=0)
    values = (f"{name:<{width}}  {value}" for name, value in facts.items())
    lines = [title, *(f"  {line}" for line in (*said, *values))]
    return "\n".join(_clip(line) for line in lines[:MOST_LINES])


def short(value: Any) -> str:
    """A dataclass or `eqx.Module` with its fields; arrays of two or more axes only by type and shape."""
    names = _fields(value)
    parts = [f"{name}={_inline(getattr(value, name, None))}" for name in names]
    name = type(value).__name__
    line = f"{name}({', '.join(parts)})"
    if len(line) <= MOST_CHARACTERS:
        return line
    shown = parts[: MOST_LINES - 2]
    if len(parts) > len(shown):
        shown[-1] = f"... {len(parts) - len(shown) + 1} more fields"
    return "\n".join([f"{name}(", *(_clip(f"  {part},") for part in shown), ")"])


def picture_html(text: str, kind: str, *drawn: Any) -> str:
    """HTML for a notebook: a picture and the description.

    Args:
        text: description.
        kind: of picture, a key of `PICTURES`.
        drawn: arguments of the drawing function.

    Returns:
        HTML; the description alone where the kind is not known.
    """
    image = ""
    if kind in PICTURES:
        data = base64.b64encode(PICTURES[kind](*drawn)).decode("ascii")
        image = f'<img alt="" src="data:image/png;base64,{data}">'
    return f"<div>{image}<pre>{html.escape(text)}</pre></div>"


def _fields(value: Any) -> list[str]:
    if dataclasses.is_dataclass(value):
        return [f.name for f in dataclasses.fields(value)]
    return list(getattr(value, "_fields", ()))


def _inline(value: Any) -> str:
    """A value within a line."""
    if value is None or isinstance(value, bool | int | float | str | complex):
        return _clip(repr(value) if not isinstance(value, float) else f"{value:.6g}")
    if hasattr(value, "dtype") and hasattr(value, "shape"):
        return _array(value)
    if _fields(value):
        parts = (f"{name}={_inline(getattr(value, name, None))}" for name in _fields(value))
        return f"{type(value).__name__}({', '.join(parts)})"
    if isinstance(value, tuple | list) and len(value) <= _MOST_NUMBERS:
        return f"({', '.join(_inline(v) for v in value)})"
    if hasattr(value, "__len__"):
        return f"{type(value).__name__} of {len(value)}"
    return getattr(value, "__name__", type(value).__name__)


def _array(value: Any) -> str:
    """Numbers of a scalar or short vector, else type and shape; also of arrays that a trace has not computed."""
    size = 1
    for n in value.shape:
        size *= n
    if len(value.shape) < 2 and size <= _MOST_NUMBERS:
        try:
            numbers = value.tolist()
        except Exception:  # a tracer or a key has no numbers
            pass
        else:
            several = numbers if isinstance(numbers, list) else [numbers]
            text = ", ".join(f"{n:.6g}" if isinstance(n, float) else str(n) for n in several)
            return f"[{text}]" if isinstance(numbers, list) else text
    return f"{value.dtype}[{', '.join(str(n) for n in value.shape)}]"


def _clip(text: str) -> str:
    return text if len(text) <= MOST_CHARACTERS else f"{text[: MOST_CHARACTERS - 3]}..."

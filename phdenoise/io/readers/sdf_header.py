"""Headers in the self-describing format of STXM beamlines: nested `Name = { Key = value; ... }` and lists `(count, first, ...)`."""

import re
from pathlib import Path
from typing import Any

from phdenoise.types import InputError

_TOKEN = re.compile(r'"[^"]*"|[{}();,=]|[^\s{}();,="]+')
# Words of a header at most: those of real scans have some thousands, and a file of another kind may have any number.
_MOST_TOKENS = 1_000_000
# Beginnings of files in UTF-16 and UTF-8 that say so.
_MARKS = {b"\xff\xfe": "utf-16", b"\xfe\xff": "utf-16", b"\xef\xbb\xbf": "utf-8-sig"}


def read_text(path: Path) -> str:
    """Text of a header in the encoding of its beamline: Unicode with a mark, UTF-8, else Latin-1."""
    data = path.read_bytes()
    coding = next((c for mark, c in _MARKS.items() if data.startswith(mark)), "utf-8")
    try:
        return data.decode(coding)
    except UnicodeDecodeError:
        return data.decode("latin-1")


def parse_header(text: str, label: str) -> dict[str, Any]:
    """The header as nested dictionaries and lists.

    Args:
        text: of the header.
        label: names the file in messages.

    Returns:
        Name -> value, text, list or dictionary.

    Raises:
        InputError: brackets that do not close, a list of another length than it says, or nothing that looks like a header.
    """
    tokens = _TOKEN.findall(text)
    if not tokens or len(tokens) > _MOST_TOKENS:
        raise InputError(f"{label} is empty or far too long for the header of a scan.")
    try:
        found, at = _fields(tokens, 0, None)
    except _WrongCount as error:
        raise InputError(f"{label} is damaged: {error}, copy it again.") from error
    except (IndexError, ValueError, RecursionError) as error:
        raise InputError(
            f"{label} is damaged: its brackets do not close, copy it again."
        ) from error
    if at != len(tokens):
        raise InputError(
            f"{label} is damaged: a bracket closes that was not opened, copy it again."
        )
    return found


class _WrongCount(ValueError):
    """A list of numbers that is not as long as it says."""


def _fields(tokens: list[str], at: int, end: str | None) -> tuple[dict[str, Any], int]:
    """`Name = value;` up to a closing bracket."""
    out: dict[str, Any] = {}
    while at < len(tokens) or end is not None:
        token = tokens[at]
        if token == end:
            return out, at + 1
        if token in ";,":
            at += 1
        elif tokens[at + 1] == "=":
            out[token], at = _value(tokens, at + 2)
        elif token in "{}()=":
            raise ValueError(token)
        else:
            at += 1
    return out, at


def _value(tokens: list[str], at: int) -> tuple[Any, int]:
    token = tokens[at]
    if token == "{":
        return _fields(tokens, at + 1, "}")
    if token == "(":
        return _list(tokens, at + 1)
    words, at = _words(tokens, at)
    return _plain(words), at


def _list(tokens: list[str], at: int) -> tuple[list[Any], int]:
    """Items after `(`, the first of which is their count; a brace too many inside is left out, as some beamlines write it."""
    items: list[Any] = []
    while tokens[at] != ")":
        if tokens[at] in ";,}":
            at += 1
        elif tokens[at] in "{(":
            item, at = _value(tokens, at)
            items.append(item)
        else:
            item, at = _words(tokens, at)
            items.append(item)
    texts = [i for i in items if isinstance(i, str)]
    if len(texts) == len(items):
        return _numbers(texts), at + 1
    return [_plain(i) if isinstance(i, str) else i for i in items[1:]], at + 1


def _numbers(items: list[str]) -> list[str | float]:
    """Plain items of a list; where a decimal comma cut every number in two, the halves are joined."""
    if not items or not items[0].isdigit():
        return [_plain(i) for i in items[1:]]
    count, rest = int(items[0]), items[1:]
    if len(rest) == 2 * count and all(half.isdigit() for half in rest[1::2]):
        rest = [f"{a}.{b}" for a, b in zip(rest[::2], rest[1::2], strict=True)]
    if len(rest) != count:
        raise _WrongCount(f"a list says it has {count} items and has {len(rest)}")
    return [_plain(i) for i in rest]


def _words(tokens: list[str], at: int) -> tuple[str, int]:
    """Words up to the end of a value; a brace ends one, too."""
    words = [tokens[at]]
    at += 1
    while tokens[at] not in (";", ",", ")", "}"):
        words.append(tokens[at])
        at += 1
    return " ".join(words), at


def _plain(word: str) -> str | float:
    if word.startswith('"'):
        return word.strip('"')
    try:
        return float(word)
    except ValueError:
        return word

"""Spellings of units in the files of different programs, brought to one."""

_LENGTH = {
    "um": ("um", "µm", "μm", "\\u00b5m", "micron", "microns", "micrometer", "micrometers"),
    "nm": ("nm", "nanometer", "nanometers"),
    "mm": ("mm", "millimeter", "millimeters"),
    "Å": ("å", "a", "angstrom", "angstroms"),
    "m": ("m", "meter", "meters"),
    "px": ("px", "pixel", "pixels", ""),
}
_TIME = {
    "s": ("s", "sec", "secs", "second", "seconds"),
    "ms": ("ms", "msec", "millisecond", "milliseconds"),
    "us": ("us", "µs", "μs", "microsecond", "microseconds"),
    "min": ("min", "minute", "minutes"),
    "h": ("h", "hr", "hour", "hours"),
    "frame": ("frame", "frames", ""),
}


def length_unit(text: str) -> str:
    """'micron' -> 'um'; an unknown unit is kept as it is."""
    return _canonical(text, _LENGTH)


def time_unit(text: str) -> str:
    """'sec' -> 's'; an unknown unit is kept as it is."""
    return _canonical(text, _TIME)


def _canonical(text: str, table: dict[str, tuple[str, ...]]) -> str:
    plain = text.strip().strip("\x00")
    return next((unit for unit, names in table.items() if plain.lower() in names), plain)

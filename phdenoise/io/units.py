"""Spellings of units in the files of different programs, brought to one."""

_LENGTH = {
    "um": (
        "um",
        "µm",
        "μm",
        "\\u00b5m",
        "micron",
        "microns",
        "micrometer",
        "micrometers",
        "\ufffdm",
    ),
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


ELECTRONVOLTS_PER_JOULE = 1 / 1.602176634e-19
"""By the definition of the SI."""

# Electronvolts of each unit of energy.
_ELECTRONVOLTS = {"ev": 1.0, "kev": 1e3, "mev": 1e6, "j": ELECTRONVOLTS_PER_JOULE}

METRES = {"um": 1e-6, "nm": 1e-9, "mm": 1e-3, "Å": 1e-10, "m": 1.0}
"""Metres of each length unit."""

SECONDS = {"s": 1.0, "ms": 1e-3, "us": 1e-6, "min": 60.0, "h": 3600.0}
"""Seconds of each time unit."""


def electronvolts(text: str) -> float | None:
    """Electronvolts of a unit of energy, 1000 for "keV"; None for a unit that is none of energy."""
    plain = text.strip().strip("\x00")
    return 1e-3 if plain == "meV" else _ELECTRONVOLTS.get(plain.lower())


def length_unit(text: str) -> str:
    """'micron' -> 'um'; an unknown unit is kept as it is."""
    return _canonical(text, _LENGTH)


def time_unit(text: str) -> str:
    """'sec' -> 's'; an unknown unit is kept as it is."""
    return _canonical(text, _TIME)


def _canonical(text: str, table: dict[str, tuple[str, ...]]) -> str:
    plain = text.strip().strip("\x00")
    return next((unit for unit, names in table.items() if plain.lower() in names), plain)

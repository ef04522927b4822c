"""Spellings of units in the files of different programs, brought to one."""

from collections.abc import Mapping
from typing import Any

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


OWN_UNIT = "phdenoise_unit"
"""Attribute with a unit as the movie has it, beside `units` as other programs read it."""

# Units of UDUNITS and pint; what is not among them is a name that they would take for something else (L, t, px, kT).
_SPELLED = {
    "um": "um", "nm": "nm", "mm": "mm", "cm": "cm", "m": "m", "Å": "angstrom", "pm": "pm",
    "s": "s", "ms": "ms", "us": "us", "min": "min", "h": "h",
    "counts": "count", "count": "count", "electrons": "count", "%": "percent", "1": "1", "": "1",
    "mol": "mol", "mmol": "mmol", "g": "g", "mg": "mg", "kg": "kg", "K": "K", "V": "V", "mV": "mV", "A": "A", "mA": "mA",
    "C": "C", "J": "J", "eV": "eV", "keV": "keV", "Hz": "Hz", "W": "W", "Pa": "Pa", "rad": "rad", "deg": "degree",
}  # fmt: skip


def spelled(unit: str, power: int = 1) -> str:
    """A unit, or a power of it, as UDUNITS and pint read it: ("mol/cm^3", 2) -> "mol^2/cm^6".

    Args:
        unit: products and one quotient of units with whole powers, such as "mol/cm^3".
        power: to which it is raised.

    Returns:
        The unit; "1" for one that other programs do not know (lithium fraction, px, L, t), which they would misread.
    """
    above, _, below = unit.strip().partition("/")
    found: dict[str, int] = {}
    for part, sign in ((above, power), (below, -power)):
        for word in part.replace("*", " ").split():
            name, _, times = word.partition("^")
            if name not in _SPELLED or not (times or "1").lstrip("-").isdigit():
                return "1"
            if _SPELLED[name] != "1":
                found[_SPELLED[name]] = found.get(_SPELLED[name], 0) + sign * int(times or 1)
    top = " ".join(_raised(n, k) for n, k in found.items() if k > 0)
    bottom = " ".join(_raised(n, -k) for n, k in found.items() if k < 0)
    divided = "".join(f"/{word}" for word in bottom.split())
    return f"{top or '1'}{divided}"


def unit_attributes(unit: str, power: int = 1) -> dict[str, str]:
    """A unit twice: as other programs read it, and as the movie has it.

    Args:
        unit: of the numbers, or of their root.
        power: 2 for a variance, whose unit is the square.

    Returns:
        Attributes of a dataset.
    """
    raised = f"{unit}^{power}" if unit.isalpha() else f"({unit})^{power}"
    return {"units": spelled(unit, power), OWN_UNIT: unit if power == 1 else raised}


def unit_of(attributes: Mapping[str, Any]) -> Any:
    """The unit of a dataset as the movie has it; of a file of another program what it calls `units`; None without."""
    return attributes.get(OWN_UNIT, attributes.get("units"))


def _raised(name: str, power: int) -> str:
    return name if power == 1 else f"{name}^{power}"

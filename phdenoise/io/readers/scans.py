"""What the readers of X-ray scans share: even positions to a pixel size, energies or clock times to a frame axis."""

from dataclasses import replace

import numpy as np

from phdenoise.io import units
from phdenoise.io.source import Source

# How far a position may lie from the even lattice [pixels]: encoders of a scanning stage jitter by a few hundredths.
_UNEVEN = 0.1
# Pixel sizes of X-ray microscopes [m]: the best zone plates resolve some nm, the widest fields have pixels below 0.1 mm.
_SMALLEST_PIXEL, _LARGEST_PIXEL = 5e-10, 1e-4


def set_pixels(source: Source, y: np.ndarray, x: np.ndarray, unit: str) -> None:
    """The pixel size from the positions of rows and columns, where they are even and have a unit.

    Args:
        source: changed in place; a note says why it gets no pixel size, or why the size is doubtful.
        y: positions of the rows [unit].
        x: positions of the columns [unit].
        unit: of the positions, "" where the file names none.
    """
    steps = []
    for name, axis in (("rows", y), ("columns", x)):
        if axis.size < 2 or not np.isfinite(axis).all() or axis[-1] == axis[0]:
            return
        step = (axis[-1] - axis[0]) / (axis.size - 1)
        away = np.abs(axis - axis[0] - step * np.arange(axis.size)).max()
        if away > _UNEVEN * abs(step):
            gaps = np.abs(np.diff(axis))
            source.notes.append(
                f"The positions of the {name} are uneven (steps of {gaps.min():.4g} to {gaps.max():.4g} {unit}): no pixel "
                "size is taken from them; see --pixel-size."
            )
            return
        steps.append(abs(float(step)))
    if not unit:
        source.notes.append(
            f"The file gives steps of {steps[0]:.4g} x {steps[1]:.4g} without a unit: no pixel size is taken from them; see "
            "--pixel-size."
        )
        return
    source.pixel_size, source.length_unit = (steps[0], steps[1]), units.length_unit(unit)
    question_pixels(source)


def question_pixels(source: Source) -> None:
    """Add a note to a source whose pixel size no X-ray microscope has."""
    doubt = doubtful_pixel(source.pixel_size, source.length_unit)
    if doubt:
        source.notes.append(doubt)


def doubtful_pixel(pixel_size: tuple[float, float] | None, unit: str | None) -> str:
    """A sentence where no X-ray microscope has such pixels, else "".

    Args:
        pixel_size: (dy, dx) [unit], or None.
        unit: of length.

    Returns:
        The sentence, or "".
    """
    metres = units.METRES.get(unit or "")
    if pixel_size is None or metres is None:
        return ""
    smallest, largest = min(pixel_size) * metres, max(pixel_size) * metres
    if smallest >= _SMALLEST_PIXEL and largest <= _LARGEST_PIXEL:
        return ""
    return (
        f"A pixel of {pixel_size[0]:.4g} x {pixel_size[1]:.4g} {unit} ({smallest * 1e9:.4g} nm) is none of an X-ray microscope "
        f"({_SMALLEST_PIXEL * 1e9:g} nm to {_LARGEST_PIXEL * 1e6:g} um): is the unit right? See --pixel-size."
    )


def set_frame_axis(source: Source) -> np.ndarray:
    """The frame axis from the energies of the frames, else from their clock times.

    Different energies make a stack in order of energy; one energy throughout is a movie in time.

    Args:
        source: with its acquisition, a value for each frame; changed in place but for its array and mask.

    Returns:
        Order of the frames of the file in the stack [t].
    """
    energy = source.acquisition.energy
    count = 0 if energy is None else energy.size
    order = np.arange(count)
    if energy is not None and count > 1 and not np.all(energy == energy[0]):
        order = np.argsort(energy, kind="stable")
        values = energy[order]
        if np.isfinite(values).all() and np.all(np.diff(values) > 0):
            if np.any(np.diff(order) < 0):
                source.notes.append("The frames were put in order of energy.")
                source.acquisition = source.acquisition.taken(order)
            source.times, source.time_unit = values, "eV"
            return order
        said = ", ".join(f"{e:g}" for e in energy[:8]) + ", ..." * (count > 8)
        source.notes.append(
            f"The energies of the frames ({said} eV) are missing or repeat: they are no frame axis."
        )
        order = np.arange(count)
    set_clock_times(source)
    return order


def set_clock_times(source: Source) -> None:
    """The frame axis from the clock times of the frames [s from the first], where they increase."""
    started = source.acquisition.started
    if started is None or started.size < 2 or not np.isfinite(started).all():
        return
    if np.all(np.diff(started) > 0):
        source.times, source.time_unit = started - started[0], "s"
    elif np.any(np.diff(started) < 0):
        source.notes.append("The clock times of the frames go back: they are no frame axis.")


def set_other_axis(source: Source, values: np.ndarray, name: str, unit: str) -> np.ndarray:
    """A frame axis that is neither energy nor time, such as the position of a zone plate or a polarisation.

    Args:
        source: changed in place but for its array and mask.
        values: of the frames [t] [unit].
        name: of the quantity.
        unit: of the values, "" where they have none.

    Returns:
        Order of the frames of the file in the stack [t].
    """
    label = f"{name} [{unit}]" if unit else name
    source.notes.append(f"The frames are a series over {label}, not over time or energy.")
    order = np.argsort(values, kind="stable")
    axis = units.length_unit(unit) if unit else name
    if "polari" in name.lower():
        source.acquisition, axis = replace(source.acquisition, polarisation=values), "polarisation"
    source.acquisition = source.acquisition.taken(order)
    if values.size > 1 and np.all(np.diff(values[order]) > 0):
        source.times, source.time_unit = values[order], axis
    return order

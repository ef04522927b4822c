"""What is found out about a movie before a network is trained: one survey of all frames, noise, defects.

    source -> Survey (present and repeated frames, stretches to learn from) -> Sample (those stretches, defects marked), Noise

A movie that fits in memory is learned from as a whole: it is its own only stretch.
"""

from dataclasses import dataclass, replace
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool

from phdenoise.denoising.config import DenoiseConfig
from phdenoise.denoising.memory import block_size, pieces, whole_fits
from phdenoise.denoising.source import Measured, Part, Read, Source, whole_window
from phdenoise.movie import Movie
from phdenoise.networks.centre_blind import DEFAULT
from phdenoise.networks.context import PIXEL, Window
from phdenoise.noise import defects
from phdenoise.noise import streaming_statistics as streaming
from phdenoise.noise.duplicates import sentences
from phdenoise.noise.estimate import NoiseEstimate, estimate_noise
from phdenoise.noise.models import Gaussian
from phdenoise.noise.spots import SPOT_RADIUS
from phdenoise.noise.structured import Structure
from phdenoise.noise.unmeasured import nothing_unmeasured
from phdenoise.types import InputError, Progress
from phdenoise.uncertainty.evidence import Noise
from phdenoise.uncertainty.temporal_correlation import decide_temporal_correlation

# Share of the values that may be dead, hot or hit. Where more seem to be, the scene itself is made of small bright spots:
# a detector with so many defects would not be used.
MAX_DEFECT_SHARE = 0.1
# Invalid rows between stretches that are laid side by side [px]: more than the noise estimate looks around a pixel.
_ROWS_BETWEEN = 24


@dataclass(frozen=True)
class Survey:
    """What one pass over a movie tells.

    Attributes:
        source: the movie; copied and empty frames and borders do not count as measured.
        statistics: sums over its frames.
        repeated: frames that are copies of the frame before [t].
        unmeasured: sentences on copied frames, and on frames and borders that no detector measured.
        present: frames with a measured pixel [t].
        windows: the stretches to learn from; one, the whole movie, where it fits in memory.
        whole: whether the whole movie is learned from and predicted as one block.
        memory: limit [bytes].
    """

    source: Source
    statistics: streaming.Survey
    repeated: Bool[np.ndarray, " t"]
    unmeasured: tuple[str, ...]
    present: Bool[np.ndarray, " t"]
    windows: tuple[Window, ...]
    whole: bool
    memory: float


class Sample(NamedTuple):
    """The stretches of a movie that a network learns from, laid one after the other.

    Attributes:
        movie: measured; its mask is True where it may be learned.
        good: where it may be learned [t, y, x].
        seen: where it is an input of the network: also saturated values [t, y, x].
        windows: where the stretches lie in the whole movie.
        present: frames of the whole movie that were measured [n].
        read: gives parts of the whole movie with defects marked.
        structure: structured noise that was subtracted from all values; None where there was none.
        log: what was found.
    """

    movie: Movie
    good: Bool[np.ndarray, "t y x"]
    seen: Bool[np.ndarray, "t y x"]
    windows: tuple[Window, ...]
    present: Bool[np.ndarray, " n"]
    read: Read
    log: tuple[str, ...] = ()
    structure: Structure | None = None

    @property
    def part(self) -> Part:
        """Values, inputs and learnable pixels."""
        return Part(self.movie.frames, self.seen, self.good)


def survey_movie(
    source: Source, config: DenoiseConfig, memory: float, progress: Progress | None = None
) -> Survey:
    """One pass over a movie.

    Args:
        source: the movie.
        config: `defects` says whether copies and what was not measured are left out.
        memory: limit [bytes].
        progress: called with (stage, step, steps, nan).

    Returns:
        What is known of all frames, and the stretches that fit in memory.

    Raises:
        InputError: no valid pixel, a constant movie, or too little memory.
    """
    shape = source.header.shape
    whole = whole_fits(shape, memory)
    if not whole:
        # Too little memory is refused before the work begins.
        block_size(shape, memory, PIXEL, 0, DEFAULT)
    statistics = _statistics(source, memory, progress)
    repeated, borders = statistics.repeated, statistics.unmeasured
    if config.defects == "keep":
        repeated, borders = np.zeros_like(repeated), nothing_unmeasured(shape)
    if repeated.any() or borders.any():
        source = Measured(source, repeated, borders)
    present = statistics.present & ~repeated & ~borders.empty
    windows = (whole_window(shape),) if whole else _measured(source, pieces(shape, memory))
    said = (*sentences(repeated), *borders.sentences())
    return Survey(source, statistics, repeated, said, present, windows, whole, memory)


def measure_noise(survey: Survey, config: DenoiseConfig) -> tuple[Sample, Noise]:
    """The noise of the surveyed movie, and the stretches to learn from without its defects.

    Args:
        survey: the movie.
        config: noise family, known sigma, whether defects are masked.

    Returns:
        The stretches with defects masked, and the noise with its correlation in space and time.

    Raises:
        InputError: no noise at all.
    """
    header, windows = survey.source.header, survey.windows
    read: Read = _unscreened(survey.source)
    raw = [read(*window) for window in windows]
    found = estimate_noise(*_side_by_side(raw), config.noise)
    structure = found.structure if survey.whole and config.defects != "keep" else None
    if structure is not None:
        raw = [_without_structure(raw[0], structure)]
        read, found = _within(raw[0]), found.without_structure()
    log: list[str] = []
    if config.defects != "keep":
        screened, log = _screen(survey, raw, found)
        parts = [screened(*window) for window in windows]
        valid = sum(int(part.good.sum()) for part in raw)
        bad = valid - sum(int(part.seen.sum()) for part in parts)
        masked = valid - sum(int(part.good.sum()) for part in parts)
        share = 100 * masked / valid
        if bad > MAX_DEFECT_SHARE * valid or masked == valid:
            log = [f"{share:.0f} % of the values look defective: too many, all are kept."]
        else:
            read = screened
            if masked:
                again = estimate_noise(*_side_by_side(parts), config.noise)
                said = again.sentences if structure is None else found.sentences
                found = replace(again.without_structure(), sentences=said)
            if masked and not survey.whole:
                log.append(f"Masked: {share:.2g} % of the stretches learned from.")
    parts = [read(*window) for window in windows]
    values, seen, good = (_joined(arrays) for arrays in zip(*parts, strict=True))
    found, lasts = decide_temporal_correlation(values, seen, good, found, stretches=len(windows))
    noise, named = _given_or_estimated(header, found, config)
    log = [*named, *lasts, *survey.unmeasured, *log]
    if survey.whole:
        movie = header if np.array_equal(good, header.valid()) else replace(header, mask=good)
        movie = movie if structure is None else replace(movie, frames=values)
        present = np.asarray(seen.any(axis=(1, 2)))
    else:
        movie = replace(Movie.from_array(values), mask=good, name=header.name)
        present = survey.present
        log.append(_stretches_sentence(survey))
    return Sample(movie, good, seen, windows, present, read, tuple(log), structure), noise


def _statistics(source: Source, memory: float, progress: Progress | None) -> streaming.Survey:
    """Sums over all frames, read in chunks."""
    shape, name = source.header.shape, source.header.name
    # Values, whether valid, and what is computed of them.
    count = int(np.clip(memory / 4 / (32 * shape[1] * shape[2]), 1, shape[0]))
    survey, everything = streaming.Survey(shape), (slice(0, shape[1]), slice(0, shape[2]))
    for first in range(0, shape[0], count):
        last = min(first + count, shape[0])
        survey.add(*source.read(slice(first, last), *everything))
        if progress is not None:
            progress("survey", last, shape[0], np.nan)
    if not survey.present.any():
        raise InputError(f"{name} has no valid pixel: every value is NaN or masked.")
    if survey.low == survey.high:
        raise InputError(
            f"{name} is constant ({survey.low:g} everywhere): there is nothing to denoise."
        )
    return survey


def _measured(source: Source, chosen: tuple[Window, ...]) -> tuple[Window, ...]:
    """Those of the windows with more than a frame to learn from, or the only frame."""
    needed = min(2, source.header.shape[0])
    good = tuple(p for p in chosen if source.read(*p)[1].any((1, 2)).sum() >= needed)
    if not good:
        raise InputError(
            f"The stretches of {source.header.name} that fit in memory have no valid pixel: give more "
            "--memory."
        )
    return good


def _screen(survey: Survey, raw: list[Part], found: NoiseEstimate) -> tuple[Read, list[str]]:
    """Reading with defects marked, and what was found.

    Defects of a movie in memory are found at once; those of a larger one by what the survey tells of all frames.
    """
    if survey.whole:
        (part,) = raw
        bad = defects(part.values, part.good, found.model)
        good, seen = part.good & ~bad.mask, part.good & (~bad.mask | bad.saturated)
        said = bad.sentences if (bad.mask & part.good).any() else ()
        return _within(Part(part.values, seen, good)), [f"Masked: {s}" for s in said]
    screen = streaming.DefectScreen.of(survey.statistics, found.model)
    return _screened(survey.source, screen), [f"Masked: {s}" for s in screen.sentences()]


def _without_structure(part: Part, structure: Structure) -> Part:
    """The whole movie less its structured noise."""
    left = part.values - structure.offset(part.values.shape)
    return part._replace(values=left.astype(part.values.dtype))


def _within(whole: Part) -> Read:
    """Reading from a movie in memory."""
    return lambda *w: Part(*(array[w] for array in whole))


def _unscreened(source: Source) -> Read:
    """Reading where every valid value is good."""

    def read(frames: slice, rows: slice, columns: slice) -> Part:
        values, valid = source.read(frames, rows, columns)
        return Part(values, valid, valid)

    return read


def _screened(source: Source, screen: streaming.DefectScreen) -> Read:
    """Reading with defects marked; each is judged with its surroundings."""
    shape = source.header.shape
    margins = (streaming.SPOT_FRAMES, SPOT_RADIUS, SPOT_RADIUS)

    def read(frames: slice, rows: slice, columns: slice) -> Part:
        wanted = (frames, rows, columns)
        around = [
            slice(max(w.start - m, 0), min(w.stop + m, n))
            for w, m, n in zip(wanted, margins, shape, strict=True)
        ]
        values, valid = source.read(*around)
        good, full = screen.judge(values, valid, *around[1:])
        inner = tuple(
            slice(w.start - a.start, w.stop - a.start) for w, a in zip(wanted, around, strict=True)
        )
        return Part(values[inner], (good | full)[inner], good[inner])

    return read


def _joined(arrays: tuple[np.ndarray, ...]) -> np.ndarray:
    """Arrays one after the other; a single one as it is."""
    return arrays[0] if len(arrays) == 1 else np.concatenate(arrays)


def _side_by_side(parts: list[Part]) -> tuple[np.ndarray, np.ndarray]:
    """Stretches of equal size as one movie, so that differences in time are those of one stretch."""
    if len(parts) == 1:
        return parts[0].values, parts[0].good
    pad = ((0, 0), (0, _ROWS_BETWEEN), (0, 0))
    values = np.concatenate([np.pad(p.values, pad) for p in parts], axis=1)
    return values, np.concatenate([np.pad(p.good, pad) for p in parts], axis=1)


def _given_or_estimated(
    header: Movie, found: NoiseEstimate, config: DenoiseConfig
) -> tuple[Noise, list[str]]:
    """The noise model to use, and where it is from."""
    log = list(found.sentences)
    if config.sigma is not None:
        log.append(f"Gaussian noise of sigma = {config.sigma:g}, as given.")
        return Noise(found, Gaussian(jnp.float32(config.sigma))), log
    if header.noise is not None and config.noise == "auto":
        log.append("Noise model of the file used.")
        return Noise(found, header.noise), log
    return Noise.of(found), log


def _stretches_sentence(survey: Survey) -> str:
    """Which stretches of a movie larger than memory are learned from."""
    shape, windows = survey.source.header.shape, survey.windows
    t, ny, nx = (s.stop - s.start for s in windows[0])
    starts = ", ".join(str(window[0].start) for window in windows)
    return (
        f"The movie ({shape[0]} frames of {shape[1]} x {shape[2]} pixels) is worked on in parts, within "
        f"{survey.memory / 1e6:.0f} MB: noise and network are learned from {len(windows)} stretch(es) of {t} frames of "
        f"{ny} x {nx} pixels, beginning with frames {starts}."
    )

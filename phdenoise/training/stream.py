"""`denoise_parts`: denoise a movie of any length in bounded memory, reading and giving back parts.

One pass surveys the movie; noise is estimated and the network trained on evenly spread stretches that fit; one pass
over a window finds the linear prediction of every frame; the last predicts block by block. Prediction is the same
whatever the blocks (`phdenoise.denoisers.chunks`).
"""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np

from phdenoise.denoisers import (
    PIXEL,
    BlindRegion,
    MovieArrays,
    Part,
    blocks,
    fit_blocks,
    predict_blocks,
)
from phdenoise.denoisers.context import Window
from phdenoise.denoisers.doubt import frame_errors
from phdenoise.movie import Estimate, Movie
from phdenoise.noise import NoiseEstimate, estimate_noise
from phdenoise.noise.repeats import sentences
from phdenoise.noise.survey import SPOT_FRAMES, SPOT_RADIUS, Screen, Survey
from phdenoise.training.assemble import assemble
from phdenoise.training.config import DenoiseConfig, check_config
from phdenoise.training.denoise import combined, diverged
from phdenoise.training.held_out import JUDGEABLE, held_out, interior
from phdenoise.training.lasting import settled
from phdenoise.training.learn import Learned, learn
from phdenoise.training.measure import MOST_DEFECTS, noise_model
from phdenoise.training.memory import block_size, parse_memory, pieces
from phdenoise.trust import judged
from phdenoise.types import InputError, Moments, Progress, within

# Receives the window, the measured part, its blind prediction and its posterior.
Keep = Callable[[Window, Part, Moments, Moments], None]
# Called with (stage, step, steps, value).

# Invalid rows between pieces that are laid side by side.
_GAP = 24


@runtime_checkable
class Source(Protocol):
    """A movie that is read in parts.

    Attributes:
        header: everything but the frames, whose shape alone counts.
    """

    header: Movie

    def read(self, frames: slice, rows: slice, columns: slice) -> tuple[np.ndarray, np.ndarray]:
        """Intensities, and where they are valid, both [t, y, x]."""
        ...


def denoise_parts(
    source: Source,
    keep: Keep,
    config: DenoiseConfig | None = None,
    *,
    pretrained: Estimate | None = None,
    checkpoint: str | Path | None = None,
    progress: Progress | None = None,
) -> Estimate:
    """Denoise a movie that need not fit in memory.

    Args:
        source: the movie.
        keep: receives every part of the result once.
        config: see `DenoiseConfig`; `memory` bounds what this takes.
        pretrained, checkpoint: as in `phdenoise.training.denoise`.
        progress: called with (stage, step, steps, value).

    Returns:
        Estimate of the one stretch that was judged, with noise, log, weights and trust report of the whole.

    Raises:
        InputError: no valid pixel, a constant movie, an impossible setting, or too little memory.
    """
    config = DenoiseConfig() if config is None else config
    check_config(config)
    header, shape = source.header, source.header.shape
    memory = parse_memory(config.memory)
    # Too little is said before the work begins.
    block_size(shape, memory, PIXEL, width=0)
    report = progress or (lambda *_: None)

    survey = _survey(source, memory, report)
    repeated = survey.repeated & (config.defects != "keep")
    if repeated.any():
        source = _WithoutRepeats(source, repeated)
        survey.present &= ~repeated
    chosen = _measured(source, pieces(shape, memory))
    found, screen, said = _noise(source, survey, chosen, config)
    read = _screened(source, screen)
    parts = [read(*piece) for piece in chosen]
    values, seen, good = (np.concatenate(a) for a in zip(*parts, strict=True))
    del parts
    found, lasts = settled(values, seen, good, found, stretches=len(chosen))
    noise, log = noise_model(header, found, config)
    log += [*lasts, *sentences(repeated), *said, _learned_from(chosen, shape, memory)]

    def kept_out(region: BlindRegion) -> Callable[[slice, slice, slice], np.ndarray]:
        def of(frames: slice, rows: slice, columns: slice) -> np.ndarray:
            each = (
                held_out(shape, config.seed, region, frames=slice(t, t + 1))[0, rows, columns]
                for t in range(frames.start, frames.stop)
            )
            return np.stack(list(each))

        return of

    movie = replace(
        Movie.from_array(values),
        mask=good,
        name=header.name,
    )
    del values, good
    learned = learn(
        movie,
        seen,
        found,
        noise,
        config,
        pretrained=pretrained,
        checkpoint=checkpoint,
        progress=within(progress, "learning"),
        test=lambda region: np.concatenate([kept_out(region)(*piece) for piece in chosen]),
        stretches=len(chosen),
        present=survey.present,
    )
    del movie, seen
    denoiser, region = learned.denoiser, learned.region
    noise, found = learned.noise, learned.found
    width = int(str(learned.settings["width"]))
    frames, side, at_once = block_size(shape, memory, denoiser.region, width)
    weights = denoiser.context_weights(survey.present)
    coefficients, doubt = None, learned.doubt
    judge = _Judged(chosen[len(chosen) // 2])
    with jax.enable_x64(False):
        if not region.everywhen:
            fit = fit_blocks(
                denoiser,
                read,
                shape,
                weights,
                kept_out(region),
                frames=frames,
                progress=lambda i, n: report("linear prediction", i, n, np.nan),
            )
            coefficients = fit.coefficients
            if doubt is not None:
                rho = np.asarray(found.correlated().autocorrelation, np.float64)
                errors = frame_errors(denoiser, fit, weights, noise, rho, found.lasting)
                doubt = doubt._replace(errors=errors)
        plan = blocks(shape, denoiser.region, frames=frames, side=side)
        # As there, the variance is scaled after the average over symmetries.
        scale = jnp.float32(learned.scale)
        gaps = learned.gaps
        factors = np.ones(shape[0]) if gaps is None else gaps.factors(survey.present)
        raw = replace(denoiser, variance_scale=denoiser.variance_scale / scale)
        results = predict_blocks(
            raw,
            read,
            shape,
            weights,
            coefficients,
            plan,
            symmetries=learned.symmetries,
            at_once=at_once,
            absent=~survey.present,
            doubt=doubt,
            judge=_judge(learned),
        )
        for k, (block, (mean, var), odd) in enumerate(results):
            factor = jnp.asarray(factors[block.kept], jnp.float32)[:, None, None]
            blind = Moments(mean, factor * var if doubt else scale * factor * var)
            window = (block.kept, *block.tile.kept)
            part = read(*window)
            full = part.seen & ~part.good
            if odd is not None:
                part, full = part._replace(good=part.good & ~odd), full & ~odd
            noisy = jnp.asarray(np.where(part.good, part.values, np.nan), jnp.float32)
            bound = jnp.asarray(np.where(full, part.values, -np.inf), jnp.float32)
            result = combined(blind, noisy, bound, noise, told=learned.told)
            if not all(np.isfinite(np.asarray(a)).all() for a in result):
                raise InputError(diverged(header.name, config))
            keep(window, part, blind, result)
            judge.add(window, part, blind, result)
            report("prediction", k + 1, len(plan), np.nan)
    log += [
        *learned.log,
        f"Predicted in blocks of {frames} frames and {side} pixels.",
        judge.sentence,
    ]
    estimate = assemble(
        judge.movie(header),
        Moments(jnp.asarray(judge.mean), jnp.asarray(judge.variance)),
        noise,
        denoiser,
        learned.run,
        log,
        learned.settings,
        blind=Moments(jnp.asarray(judge.blind_mean), jnp.asarray(judge.blind_variance)),
    )
    test = interior(kept_out(region)(*judge.piece) & judge.good, region, found.reach())
    return judged(estimate, found, test if test.sum() >= JUDGEABLE else None)


def _judge(learned: Learned) -> Callable[[MovieArrays, Window], np.ndarray] | None:
    """What finds outliers in a window of arrays."""
    outliers = learned.outliers
    if outliers is None:
        return None
    return lambda arrays, window: outliers(learned.denoiser, arrays, learned.noise, window)


def denoise_in_memory(
    movie: Movie,
    config: DenoiseConfig,
    *,
    pretrained: Estimate | None = None,
    checkpoint: str | Path | None = None,
    progress: Progress | None = None,
) -> Estimate:
    """`denoise_parts` of a movie that is in memory, where its denoising would not be."""
    arrays = [np.empty(movie.shape, np.float32) for _ in range(4)]
    good = np.empty(movie.shape, bool)

    def keep(window: Window, part: Part, blind: Moments, result: Moments) -> None:
        for array, found in zip(arrays, (*result, *blind), strict=True):
            array[window] = np.asarray(found)
        good[window] = part.good

    estimate = denoise_parts(
        _InMemory(movie),
        keep,
        config,
        pretrained=pretrained,
        checkpoint=checkpoint,
        progress=progress,
    )
    mean, variance, blind_mean, blind_variance = arrays
    return replace(
        estimate,
        movie=replace(movie, mask=good),
        mean=mean,
        variance=variance,
        blind_mean=blind_mean,
        blind_variance=blind_variance,
    )


class _InMemory:
    def __init__(self, movie: Movie):
        self.header = movie

    def read(self, *window: slice) -> tuple[np.ndarray, np.ndarray]:
        movie = self.header
        values = movie.frames[window]
        valid = np.isfinite(values)
        if movie.mask is not None:
            valid &= movie.mask[window] if movie.mask.ndim == 3 else movie.mask[window[1:]]
        return values, valid


class _WithoutRepeats:
    """A source whose copied frames are not measured."""

    def __init__(self, source: Source, repeated: np.ndarray):
        self.header = source.header
        self._source, self._repeated = source, repeated

    def read(self, frames: slice, rows: slice, columns: slice) -> tuple[np.ndarray, np.ndarray]:
        values, valid = self._source.read(frames, rows, columns)
        return values, valid & ~self._repeated[frames, None, None]


def _survey(source: Source, memory: float, report: Progress) -> Survey:
    """One pass over the whole movie."""
    shape = source.header.shape
    # Values, whether valid, and what is computed of them.
    count = int(np.clip(memory / 4 / (32 * shape[1] * shape[2]), 1, shape[0]))
    survey, everything = Survey(shape), (slice(0, shape[1]), slice(0, shape[2]))
    for first in range(0, shape[0], count):
        last = min(first + count, shape[0])
        survey.add(*source.read(slice(first, last), *everything))
        report("survey", last, shape[0], np.nan)
    name = source.header.name
    if not survey.present.any():
        raise InputError(f"{name} has no valid pixel: every value is NaN or masked.")
    if survey.low == survey.high:
        raise InputError(
            f"{name} is constant ({survey.low:g} everywhere): there is nothing to denoise."
        )
    return survey


def _measured(source: Source, chosen: tuple[Window, ...]) -> tuple[Window, ...]:
    """Those of the pieces with more than a frame to learn from, or the only frame."""
    least = min(2, source.header.shape[0])
    good = tuple(p for p in chosen if source.read(*p)[1].any((1, 2)).sum() >= least)
    if not good:
        raise InputError(
            f"The stretches of {source.header.name} that fit in memory have no valid pixel: give more "
            "--memory."
        )
    return good


def _noise(
    source: Source, survey: Survey, chosen: tuple[Window, ...], config: DenoiseConfig
) -> tuple[NoiseEstimate, Screen | None, list[str]]:
    """Noise of the pieces side by side, the screen for defects, and what to say about them."""
    raw = [source.read(*piece) for piece in chosen]
    found = estimate_noise(*_side_by_side(raw), config.noise)
    if config.defects == "keep":
        return found, None, []
    screen = Screen.of(survey, found.model)
    parts = [_screened(source, screen)(*piece) for piece in chosen]
    valid = sum(int(v.sum()) for _, v in raw)
    bad = valid - sum(int(p.seen.sum()) for p in parts)
    masked = valid - sum(int(p.good.sum()) for p in parts)
    if bad > MOST_DEFECTS * valid or masked == valid:
        share = 100 * masked / valid
        return found, None, [f"{share:.0f} % of the values look defective: too many, all are kept."]
    said = [f"Masked: {s}" for s in screen.sentences()]
    if masked:
        good = [(p.values, p.good) for p in parts]
        found = estimate_noise(*_side_by_side(good), config.noise)
        said.append(f"Masked: {100 * masked / valid:.2g} % of the stretches learned from.")
    return found, screen, said


def _side_by_side(parts: list[tuple[np.ndarray, np.ndarray]]) -> tuple[np.ndarray, np.ndarray]:
    """Pieces of equal size as one movie, so that differences in time are those of one piece."""
    gap = ((0, 0), (0, _GAP), (0, 0))
    values = np.concatenate([np.pad(v, gap) for v, _ in parts], axis=1)
    return values, np.concatenate([np.pad(m, gap) for _, m in parts], axis=1)


def _screened(source: Source, screen: Screen | None) -> Callable[[slice, slice, slice], Part]:
    """Reading with defects marked."""
    shape = source.header.shape

    def read(frames: slice, rows: slice, columns: slice) -> Part:
        if screen is None:
            values, valid = source.read(frames, rows, columns)
            return Part(values, valid, valid)
        wanted = (frames, rows, columns)
        reach = (SPOT_FRAMES, SPOT_RADIUS, SPOT_RADIUS)
        around = [
            slice(max(w.start - r, 0), min(w.stop + r, n))
            for w, r, n in zip(wanted, reach, shape, strict=True)
        ]
        values, valid = source.read(*around)
        good, full = screen.judge(values, valid, *around[1:])
        inner = tuple(
            slice(w.start - a.start, w.stop - a.start) for w, a in zip(wanted, around, strict=True)
        )
        return Part(values[inner], (good | full)[inner], good[inner])

    return read


def _learned_from(chosen: tuple[Window, ...], shape: tuple[int, ...], memory: float) -> str:
    t, ny, nx = (s.stop - s.start for s in chosen[0])
    starts = ", ".join(str(piece[0].start) for piece in chosen)
    return (
        f"The movie ({shape[0]} frames of {shape[1]} x {shape[2]} pixels) is worked on in parts, within "
        f"{memory / 1e6:.0f} MB: noise and network are learned from {len(chosen)} stretch(es) of {t} frames of "
        f"{ny} x {nx} pixels, beginning with frames {starts}."
    )


class _Judged:
    """Collects the result of one stretch, to judge it."""

    def __init__(self, piece: Window):
        self.piece = piece
        shape = tuple(s.stop - s.start for s in piece)
        self.frames, self.mean, self.variance, self.blind_mean, self.blind_variance = (
            np.full(shape, np.nan, np.float32) for _ in range(5)
        )
        self.good = np.zeros(shape, bool)
        t, y, x = piece
        self.sentence = (
            f"Judged on frames {t.start} to {t.stop - 1}, rows {y.start} to {y.stop - 1} and columns {x.start} to "
            f"{x.stop - 1}; frames and positions that follow count from there."
        )

    def add(self, window: Window, part: Part, blind: Moments, result: Moments) -> None:
        """What of a block lies in the stretch."""
        common = [
            (max(a.start, b.start), min(a.stop, b.stop))
            for a, b in zip(window, self.piece, strict=True)
        ]
        if any(a >= b for a, b in common):
            return
        here, there = (
            tuple(slice(a - o.start, b - o.start) for (a, b), o in zip(common, origin, strict=True))
            for origin in (window, self.piece)
        )
        self.frames[there], self.good[there] = part.values[here], part.good[here]
        self.mean[there], self.variance[there] = result.mean[here], result.var[here]
        self.blind_mean[there], self.blind_variance[there] = blind.mean[here], blind.var[here]

    def movie(self, header: Movie) -> Movie:
        """The measured stretch."""
        return replace(
            header, frames=self.frames, mask=self.good, times=header.times[self.piece[0]]
        )

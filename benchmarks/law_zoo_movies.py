"""The movies of the law zoo: frames of a case, by `independent_solver` and nothing of phdenoise."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from scipy import ndimage

from benchmarks.independent_solver import (
    Array,
    Function,
    Motion,
    coarsened,
    regular_solution,
    smooth_field,
    solve,
)
from benchmarks.law_zoo_cases import TWISTS, Case
from benchmarks.law_zoo_domains import box


class Truth(NamedTuple):
    """What a fit should find, as functions of concentration; None where the fitted family has no such curve.

    Attributes:
        mobility: D(c) in the file's units, or M(c).
        potential: μ_h(c) [kT].
    """

    mobility: Function | None
    potential: Function | None


class Recording(NamedTuple):
    """A movie as it comes from a file.

    Attributes:
        frames: [t, y, x] in the units of the intensity.
        times: [t] in the unit of the clock.
        pixel_size: (dy, dx).
        mask: True inside [y, x], or None.
        truth: of the law.
        effect: root mean square change of the frames by the twist, in standard deviations of the noise; nan without one.
    """

    frames: Array
    times: Array
    pixel_size: tuple[float, float]
    mask: Array | None
    truth: Truth
    effect: float


def movie(case: Case) -> Recording:
    """The frames of a case.

    Args:
        case: of `case`.

    Returns:
        What a file would hold, and the truth.
    """
    rng = case.rng(1)
    gaps = 1 + case.jitter * rng.normal(size=case.frames - 1)
    times = np.concatenate([[0.0], np.cumsum(np.clip(gaps, 0.3, 3.0))])
    drawn = _DRAWN[case.law](rng)
    domain = box(case, rng)
    wraps = domain.periodic
    width = drawn.width * case.finer
    first = smooth_field(domain.shape, rng, width=width, span=drawn.span, wraps=wraps)
    twist = _TWISTS.get(case.twist, _Twist())

    def frames_of(twist: _Twist) -> Array:
        if case.law == "still":
            frames = np.repeat(first[None], case.frames, axis=0)
        else:
            frames = solve(twist.motion(drawn.motion, case), domain, first, times)
        return twist.frames(coarsened(frames, case.finer), case)

    clean = frames_of(twist)
    effect = np.nan
    if case.twist in _TWISTS:
        effect = float(np.sqrt(np.mean((clean - frames_of(_Twist())) ** 2))) / case.level
    mask = None
    if domain.mask is not None:
        mask = coarsened(domain.mask.astype(float), case.finer) > 0.5
    intensity = case.offset + case.gain * _NOISES[case.noise](clean, case.level, case.rng(4))
    if case.units == "counts":
        intensity = np.clip(np.round(intensity), 0, 255)
    if mask is not None:
        # A file says what lies outside either by NaN or by a mask.
        intensity = np.where(mask, intensity, np.nan if case.number % 2 else case.offset)
    dy, dx = np.sqrt(case.aspect), 1 / np.sqrt(case.aspect)
    began = 1.76e9 if case.clock == "POSIX" else 0.0
    return Recording(
        intensity,
        began + times * case.interval,
        (dy * case.size, dx * case.size),
        None if case.number % 2 else mask,
        _truth(case, drawn),
        effect,
    )


@dataclass(frozen=True)
class _Drawn:
    """A law, and the field that it starts from: span of concentration, and width of its smoothing [cells]."""

    motion: Motion
    span: tuple[float, float] = (0.08, 0.92)
    width: float = 3.0


def _fickian(rng: np.random.Generator) -> _Drawn:
    size = rng.uniform(0.15, 1.0)
    shape = rng.choice(["constant", "exponential", "bent", "steep"], p=[0.25, 0.35, 0.3, 0.1])
    slope, bend = rng.uniform(-0.9, 0.9), rng.uniform(-0.6, 0.6)
    steep = rng.choice([-2.0, 2.0])
    functions: dict[str, Function] = {
        "constant": lambda c: size + 0 * c,
        "exponential": lambda c: size * np.exp(slope * (2 * c - 1)),
        "bent": lambda c: size * np.exp(slope * (2 * c - 1) + bend * (2 * c - 1) ** 2),
        "steep": lambda c: size * np.exp(steep * (2 * c - 1)),
    }
    high = rng.uniform(0.75, 0.95)
    return _Drawn(Motion(functions[shape]), (rng.uniform(0.05, 0.25), high), rng.uniform(2.5, 4.0))


def _demixing(rng: np.random.Generator) -> _Drawn:
    size, slope = rng.uniform(0.4, 1.2), rng.uniform(-0.5, 0.5)
    omega, kappa = rng.uniform(2.4, 3.0), rng.uniform(1.5, 3.0)
    middle = rng.uniform(0.42, 0.58)
    motion = Motion(
        lambda c: size * np.exp(slope * (2 * c - 1)), regular_solution(omega), kappa=kappa
    )
    return _Drawn(motion, (middle - 0.25, middle + 0.25), rng.uniform(1.8, 2.5))


def _relaxing(rng: np.random.Generator) -> _Drawn:
    size, slope = rng.uniform(0.08, 0.3), rng.uniform(-0.5, 0.5)
    omega, kappa = rng.uniform(2.3, 3.0), rng.uniform(1.5, 4.0)
    motion = Motion(
        lambda c: size * np.exp(slope * (2 * c - 1)),
        regular_solution(omega, rng.uniform(-0.15, 0.15)),
        kappa=kappa,
        relaxes=True,
    )
    return _Drawn(motion, (0.2, 0.8), rng.uniform(2.0, 3.5))


_DRAWN = {
    "fickian": _fickian,
    "cahn-hilliard": _demixing,
    "allen-cahn": _relaxing,
    "still": _fickian,
}


class _Twist(NamedTuple):
    """What a twist does to the law, and to the frames [t, y, x]."""

    motion: Callable[[Motion, Case], Motion] = lambda motion, _: motion
    frames: Callable[[Array, Case], Array] = lambda frames, _: frames


def _advected(motion: Motion, case: Case) -> Motion:
    rng = case.rng(2)
    angle, speed = rng.uniform(0, 2 * np.pi), rng.uniform(0.08, 0.25)
    return replace(motion, velocity=(speed * np.sin(angle), speed * np.cos(angle)))


def _anisotropic(motion: Motion, case: Case) -> Motion:
    root = np.sqrt(case.rng(2).uniform(2.5, 6.0))
    return replace(motion, ratio=(root, 1 / root))


def _by_place(motion: Motion, case: Case) -> Motion:
    shape = tuple(n * case.finer for n in case.shape)
    wraps = (case.edges == "periodic",) * 2
    span = (-1.2, 1.2)
    waves = smooth_field(shape, case.rng(2), width=5.0 * case.finer, span=span, wraps=wraps)
    return replace(motion, place=np.exp(waves))


def _decaying(motion: Motion, case: Case) -> Motion:
    rate = case.rng(2).uniform(0.01, 0.04)
    return replace(motion, source=lambda c: -rate * c)


def _drifting(frames: Array, case: Case) -> Array:
    rng = case.rng(3)
    angle, speed = rng.uniform(0, 2 * np.pi), rng.uniform(0.08, 0.25)
    mode = "grid-wrap" if case.edges == "periodic" else "nearest"
    step = speed * np.array([np.sin(angle), np.cos(angle)])
    return np.stack([ndimage.shift(f, i * step, order=3, mode=mode) for i, f in enumerate(frames)])


def _blurred(frames: Array, case: Case) -> Array:
    mode = "wrap" if case.edges == "periodic" else "nearest"
    sd = case.rng(3).uniform(1.0, 1.6)
    return ndimage.gaussian_filter(frames, (0, sd, sd), mode=mode)


_TWISTS = {
    "advected": _Twist(motion=_advected),
    "anisotropic": _Twist(motion=_anisotropic),
    "by place": _Twist(motion=_by_place),
    "source": _Twist(motion=_decaying),
    "drifting": _Twist(frames=_drifting),
    "blurred": _Twist(frames=_blurred),
}


def _white(clean: Array, level: float, rng: np.random.Generator) -> Array:
    return clean + level * rng.normal(size=clean.shape)


def _poisson(clean: Array, level: float, rng: np.random.Generator) -> Array:
    """Counts, as many that the standard deviation at c = 1/2 is the level."""
    counts = 0.5 / level**2
    return rng.poisson(np.maximum(clean, 0) * counts) / counts


def _correlated(clean: Array, level: float, rng: np.random.Generator) -> Array:
    """White noise smoothed over one pixel in space."""
    noise = ndimage.gaussian_filter(rng.normal(size=clean.shape), (0, 0.6, 0.6))
    return clean + level * noise / noise.std()


def _outliers(clean: Array, level: float, rng: np.random.Generator) -> Array:
    """White noise, and 2 % of the pixels anywhere between half below the range and half above."""
    hit = rng.random(clean.shape) < 0.02
    return np.where(hit, rng.uniform(-0.5, 1.5, clean.shape), _white(clean, level, rng))


_NOISES = {
    "white": _white,
    "poisson": _poisson,
    "correlated": _correlated,
    "outliers": _outliers,
}


def _truth(case: Case, drawn: _Drawn) -> Truth:
    """In the units of the file."""
    if case.law == "still":
        return Truth(lambda c: 0.0 * c, None)
    if case.twist and not TWISTS[case.twist].comparable:
        return Truth(None, None)
    relaxes = drawn.motion.relaxes
    factor = (1.0 if relaxes else case.size**2) / case.interval
    return Truth(lambda c: factor * drawn.motion.mobility(c), drawn.motion.potential)

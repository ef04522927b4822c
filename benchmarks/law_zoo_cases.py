"""The cases of the law zoo: what moved, where, how it was measured, and what will be fitted, drawn by number.

`case(number)` is a pure function; `law_zoo_movies.movie` makes its frames. A number ending in 1, 4 or 7 is a wrong case:
what moved is not of the family that is fitted, as its `twist` says.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

# Entropy of all draws; another number is another zoo. Of this one the first 60 cases hold every domain, edge and noise at least twice.
SALT = 104
# Last digits of the numbers of wrong cases: three of ten.
WRONG = (1, 4, 7)


@dataclass(frozen=True)
class Case:
    """A movie and what is asked of it. Lengths are in cells, times in frame intervals, but for the units of the file.

    Attributes:
        number: of the case.
        law: that moved the field ("still": nothing does).
        fitted: law to fit.
        twist: what makes the fitted law wrong; "" where it is right.
        domain, shape, aspect: kind of domain, cells (ny, nx), dy/dx.
        edges: "periodic", "closed", "held" or "fed".
        noise, level: kind, and standard deviation [concentration].
        units: of the intensity; `gain` and `offset` make it of a concentration.
        clock, interval, jitter: unit of time, frame interval, and standard deviation of the intervals as a share.
        pixel, size: unit of length, geometric mean of dy and dx.
        frames: number of frames.
        finer: cells of the solver along each axis of a pixel.
        joint: whether the joint fit is asked for.
    """

    number: int
    law: str
    fitted: str
    twist: str
    domain: str
    shape: tuple[int, int]
    aspect: float
    edges: str
    noise: str
    level: float
    units: str
    gain: float
    offset: float
    clock: str
    interval: float
    jitter: float
    pixel: str
    size: float
    frames: int
    finer: int
    joint: bool

    @property
    def right(self) -> bool:
        """Whether the fitted family holds what moved the field."""
        return not self.twist

    def rng(self, purpose: int) -> np.random.Generator:
        """Random numbers for one purpose."""
        return np.random.default_rng([SALT, self.number, purpose])


class Kind(NamedTuple):
    """A kind of wrong case.

    Attributes:
        laws: pairs (moved, fitted) to choose from.
        edges: to choose from.
        comparable: whether D(c) of the fitted law still has a true value.
    """

    laws: tuple[tuple[str, str], ...]
    edges: tuple[str, ...] = ("periodic", "closed")
    comparable: bool = True


FICKIAN = (("fickian", "fickian"),)
DEMIXING = (("cahn-hilliard", "cahn-hilliard"),)
TWISTS = {
    "advected": Kind(FICKIAN, ("periodic",)),
    "anisotropic": Kind(FICKIAN, comparable=False),
    "by place": Kind(FICKIAN, comparable=False),
    "blurred": Kind(DEMIXING),
    "drifting": Kind((*FICKIAN, *DEMIXING)),
    "source": Kind(FICKIAN),
    # Each of a pair has no member that resembles the other (Allen-Cahn with M -> 0 and M kappa fixed is Fickian).
    "family": Kind(
        (
            ("cahn-hilliard", "allen-cahn"),
            ("allen-cahn", "cahn-hilliard"),
            ("cahn-hilliard", "fickian"),
            ("allen-cahn", "fickian"),
        ),
        comparable=False,
    ),
    "still": Kind((("still", "fickian"), ("still", "cahn-hilliard"), ("still", "allen-cahn"))),
}
# Noise above which the joint fit is asked for [concentration]: `ph.compare` takes cleaner start frames at face value.
FACE_VALUE_LEVEL = 0.012
# Few shapes and lengths: what is compiled for one case serves others.
SHAPES = ((16, 48), (24, 24), (36, 24), (32, 32), (48, 48))
FRAMES = (16, 20)
DOMAINS = {"box": 0.58, "disc": 0.1, "ring": 0.1, "U": 0.08, "particles": 0.07, "blob": 0.07}
EDGES = {
    "fickian": {"periodic": 0.2, "closed": 0.2, "held": 0.3, "fed": 0.3},
    "cahn-hilliard": {"periodic": 0.5, "closed": 0.3, "held": 0.2},
    "allen-cahn": {"periodic": 0.6, "closed": 0.4},
}


def case(number: int) -> Case:
    """The case of a number: the same in every process and on every machine.

    Args:
        number: 0 or more.

    Returns:
        The case.
    """
    rng = np.random.default_rng([SALT, number])
    wrong = number % 10 in WRONG
    if wrong:
        order = 3 * (number // 10) + WRONG.index(number % 10)
        twist = list(TWISTS)[order % len(TWISTS)]
        pairs = TWISTS[twist].laws
        law, fitted = pairs[(order // len(TWISTS)) % len(pairs)]
        edges = str(rng.choice(TWISTS[twist].edges))
        domain = "box"
    else:
        twist = ""
        law = fitted = _pick(rng, {"fickian": 0.5, "cahn-hilliard": 0.3, "allen-cahn": 0.2})
        domain = _pick(rng, DOMAINS)
        edges = _pick(rng, EDGES[law]) if domain == "box" else "closed"
    shape = SHAPES[int(rng.integers(len(SHAPES)))] if domain == "box" else (32, 32)
    noise = _pick(rng, {"white": 0.5, "poisson": 0.2, "correlated": 0.15, "outliers": 0.15})
    level = float(np.exp(rng.uniform(np.log(0.005), np.log(0.03 if wrong else 0.15))))
    units = _pick(rng, {"fraction": 0.5, "mol/m3": 0.25, "counts": 0.25})
    gain, offset = {
        "fraction": (1.0, 0.0),
        "mol/m3": (rng.uniform(1e4, 4e4), 0.0),
        "counts": (rng.uniform(120, 190), rng.uniform(15, 40)),
    }[units]
    clock = _pick(rng, {"s": 0.5, "h": 0.3, "POSIX": 0.2})
    interval = {"s": rng.uniform(1, 40), "h": rng.uniform(0.05, 2), "POSIX": rng.uniform(20, 200)}
    pixel = _pick(rng, {"um": 0.6, "nm": 0.4})
    return Case(
        number=number,
        law=law,
        fitted=fitted,
        twist=twist,
        domain=domain,
        shape=shape,
        aspect=float(rng.choice([1.0, 1.0, 1.5, 0.7])),
        edges=edges,
        noise=noise,
        level=level,
        units=units,
        gain=float(gain),
        offset=float(offset),
        clock=clock,
        interval=float(interval[clock]),
        jitter=float(rng.choice([0.0, 0.0, 0.0, 0.15])),
        pixel=pixel,
        size=float(rng.uniform(0.05, 2) if pixel == "um" else rng.uniform(4, 60)),
        frames=int(rng.choice(FRAMES)),
        finer=int(rng.choice([1, 1, 1, 1, 2])),
        joint=level > FACE_VALUE_LEVEL or noise == "outliers",
    )


def _pick(rng: np.random.Generator, shares: dict[str, float]) -> str:
    return str(rng.choice(list(shares), p=list(shares.values())))

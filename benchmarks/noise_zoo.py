"""Random scenes with random noise: is the noise measured, and are error bars of the denoised movie right?

    python benchmarks/noise_zoo.py diagnose --out zoo.csv                 (a second or so a case; resumes where it stopped)
    python benchmarks/noise_zoo.py denoise --out zoo_denoised.csv --cases 0:6
    python benchmarks/noise_zoo.py table --out zoo.csv

Every case is drawn from its number: a scene, a kind of noise, a unit and a pedestal. Truth is what was added: the standard
deviation of the noise, the gain of counts, and the correlation of neighbours, all of that very movie. A diagnosis is right if
the standard deviation is within 5 %, the gain within 10 % and the correlations within 0.05.
"""

import argparse
import csv
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from scipy import ndimage, stats

from experiments.scenes import jumping_discs
from phdenoise.denoising import denoise
from phdenoise.denoising.config import DenoiseConfig
from phdenoise.metrics.fidelity import psnr
from phdenoise.movie import ERROR_DEGREES_OF_FREEDOM, Movie
from phdenoise.noise.estimate import NoiseEstimate, estimate_noise

CASES = 96
SD_ERROR, GAIN_ERROR, CORRELATION_ERROR = 0.05, 0.10, 0.05
Rng = np.random.Generator


class Case(NamedTuple):
    """A noisy movie with its truth.

    Attributes:
        scene, noise: names.
        noisy, clean: movie and expectation [t, y, x].
        measured: True where `noisy` is a measurement [t, y, x].
        gain: of counts; NaN where nothing counts.
    """

    scene: str
    noise: str
    noisy: np.ndarray
    clean: np.ndarray
    measured: np.ndarray
    gain: float

    @property
    def sd(self) -> float:
        """Standard deviation of the noise where it was measured."""
        return float(np.sqrt(np.mean((self.noisy - self.clean)[self.measured] ** 2)))

    def correlation(self, axis: int) -> float:
        """Correlation of the noise of neighbours along an axis."""
        noise = np.where(self.measured, self.noisy - self.clean, np.nan)
        along = np.moveaxis(noise, axis, 0)
        return float(np.nanmean(along[1:] * along[:-1]) / np.nanmean(noise**2))


class Drawn(NamedTuple):
    """Noise added to a scene: the movie, its expectation, where it was measured, and its gain."""

    noisy: np.ndarray
    clean: np.ndarray
    measured: np.ndarray
    gain: float


def drifting(rng: Rng, shape: tuple[int, int, int]) -> np.ndarray:
    """A soft disc that drifts."""
    t, y, x = np.mgrid[: shape[0], : shape[1], : shape[2]].astype(float)
    vy, vx = rng.uniform(-0.4, 0.4, 2)
    radius = np.hypot(y - shape[1] / 2 - vy * t, x - shape[2] / 2 - vx * t)
    return 1 / (1 + np.exp((radius - shape[1] / 5) / 1.5))


def resting(rng: Rng, shape: tuple[int, int, int]) -> np.ndarray:
    """A random field at rest."""
    field = ndimage.gaussian_filter(rng.normal(size=shape[1:]), rng.uniform(2, 4), mode="wrap")
    return np.broadcast_to((field - field.min()) / np.ptp(field), shape).copy()


def flowing(rng: Rng, shape: tuple[int, int, int]) -> np.ndarray:
    """A random field that changes in time and space."""
    widths = rng.uniform(2, 6), *(rng.uniform(3, 5),) * 2
    field = ndimage.gaussian_filter(rng.normal(size=shape), widths, mode="wrap")
    return (field - field.min()) / np.ptp(field)


def leaping(rng: Rng, shape: tuple[int, int, int]) -> np.ndarray:
    """Discs that leap over a ground at rest."""
    discs = jumping_discs(rng, shape[0], max(shape[1:]), rng.uniform(1, 4))
    return np.clip(discs[:, : shape[1], : shape[2]], 0, 1)


def plain(rng: Rng, shape: tuple[int, int, int]) -> np.ndarray:
    """Nothing but an even ground."""
    return np.full(shape, 0.5)


SCENES: tuple[Callable[[Rng, tuple[int, int, int]], np.ndarray], ...] = (
    drifting,
    resting,
    flowing,
    leaping,
    plain,
)


def _all(noisy: np.ndarray, clean: np.ndarray, gain: float = np.nan) -> Drawn:
    return Drawn(noisy, clean, np.ones(clean.shape, bool), gain)


def gaussian(rng: Rng, scene: np.ndarray) -> Drawn:
    """White, of 2 to 40 % of the scene's range."""
    clean = 10 + 100 * scene
    return _all(rng.normal(clean, rng.uniform(2, 40)), clean)


def counts(rng: Rng, scene: np.ndarray) -> Drawn:
    """Counts of 2 to 300."""
    clean = 10 ** rng.uniform(0.3, 2.5) * (0.1 + scene)
    return _all(rng.poisson(clean).astype(float), clean, 1.0)


def dark(rng: Rng, scene: np.ndarray) -> Drawn:
    """Counts of 0.02 to 1."""
    clean = 10 ** rng.uniform(-1.7, 0) * (0.1 + scene)
    return _all(rng.poisson(clean).astype(float), clean, 1.0)


def camera(rng: Rng, scene: np.ndarray) -> Drawn:
    """Counts of a gain, read noise and an offset."""
    gain, offset = rng.uniform(0.5, 5), rng.uniform(50, 500)
    clean = 10 ** rng.uniform(1.5, 2.5) * gain * (0.1 + scene)
    read = np.sqrt(gain * clean.mean()) * rng.uniform(0.05, 0.5)
    noisy = gain * rng.poisson(clean / gain) + rng.normal(0, read, clean.shape)
    # An even ground has one intensity, and no line tells a gain.
    return _all(noisy + offset, clean + offset, gain if np.ptp(scene) > 0 else np.nan)


def blurred(rng: Rng, scene: np.ndarray) -> Drawn:
    """Correlated over a few pixels."""
    clean, width = 10 + 100 * scene, rng.uniform(0.5, 1.2)
    noise = ndimage.gaussian_filter(rng.normal(size=clean.shape), (0, width, width), mode="wrap")
    return _all(clean + rng.uniform(5, 20) / noise.std() * noise, clean)


def boxed(rng: Rng, scene: np.ndarray) -> Drawn:
    """Correlated over a box, or along a line."""
    clean, size = 10 + 100 * scene, ((0, 3, 3), (0, 1, 5))[rng.integers(2)]
    noise = ndimage.uniform_filter(rng.normal(size=clean.shape), size, mode="wrap")
    return _all(clean + rng.uniform(5, 20) / noise.std() * noise, clean)


def hum(rng: Rng, scene: np.ndarray) -> Drawn:
    """White, and a wave of any frequency along any direction, a phase in each frame."""
    clean, sd = 10 + 100 * scene, rng.uniform(3, 10)
    y, x = np.mgrid[: clean.shape[1], : clean.shape[2]]
    # Every other wave runs along the rows, as mains hum does.
    angle, frequency = rng.uniform(0, np.pi) * rng.integers(2), rng.uniform(0.1, 0.48)
    along = frequency * (np.cos(angle) * y + np.sin(angle) * x)
    phase = rng.uniform(0, 2 * np.pi, (len(clean), 1, 1))
    wave = sd * rng.uniform(0.5, 3) * np.sin(2 * np.pi * along + phase)
    return _all(rng.normal(clean, sd) + wave, clean)


def rows(rng: Rng, scene: np.ndarray) -> Drawn:
    """White, and an offset of every row of every frame."""
    clean, sd = 10 + 100 * scene, rng.uniform(3, 10)
    return _all(rng.normal(clean, sd) + _lines(rng, clean, 2, sd), clean)


def columns(rng: Rng, scene: np.ndarray) -> Drawn:
    """White, and an offset of every column of every frame."""
    clean, sd = 10 + 100 * scene, rng.uniform(3, 10)
    return _all(rng.normal(clean, sd) + _lines(rng, clean, 1, sd), clean)


def half_frames(rng: Rng, scene: np.ndarray) -> Drawn:
    """White, and even rows that differ from odd rows."""
    clean, sd = 10 + 100 * scene, rng.uniform(3, 10)
    sign = np.where(np.arange(clean.shape[1]) % 2, 1.0, -1.0)[:, None]
    step = rng.normal(0, sd * rng.uniform(0.4, 1.5), (len(clean), 1, 1))
    return _all(rng.normal(clean, sd) + step * sign, clean)


def doubled(rng: Rng, scene: np.ndarray) -> Drawn:
    """Every exposure written two or three times."""
    every = int(rng.integers(2, 4))
    clean = 10 + 100 * scene[np.arange(len(scene)) // every * every]
    once = rng.normal(clean, rng.uniform(5, 20))
    measured = np.zeros(clean.shape, bool)
    measured[::every] = True
    return Drawn(once[np.arange(len(clean)) // every * every], clean, measured, np.nan)


def stopped(rng: Rng, scene: np.ndarray) -> Drawn:
    """Counts, and no frame after an acquisition that stopped."""
    drawn = counts(rng, scene)
    last = int(rng.integers(6, len(scene) - 1))
    drawn.noisy[last:], drawn.measured[last:] = 0.0, False
    return drawn


def registered(rng: Rng, scene: np.ndarray) -> Drawn:
    """Counts, and borders of zeros."""
    clean = 10 ** rng.uniform(1, 3) * (0.3 + scene)
    drawn = _all(rng.poisson(clean).astype(float), clean, 1.0)
    for t, (y, x) in enumerate(rng.integers(0, 4, (len(clean), 2))):
        for hidden in (np.s_[t, :y], np.s_[t, :, :x]):
            drawn.noisy[hidden], drawn.measured[hidden] = 0.0, False
    return drawn


def gaps(rng: Rng, scene: np.ndarray) -> Drawn:
    """White, with up to half of the values missing."""
    drawn = gaussian(rng, scene)
    missing = rng.random(scene.shape) < rng.uniform(0.1, 0.5)
    drawn.noisy[missing], drawn.measured[missing] = np.nan, False
    return drawn


NOISES: tuple[Callable[[Rng, np.ndarray], Drawn], ...] = (
    gaussian, counts, dark, camera, blurred, boxed, hum, rows, columns, half_frames, doubled, stopped,
    registered, gaps,
)  # fmt: skip


def _lines(rng: Rng, clean: np.ndarray, constant: int, sd: float) -> np.ndarray:
    """Offsets of lines along which `constant` is the axis."""
    shape = [1 if k == constant else n for k, n in enumerate(clean.shape)]
    return rng.normal(0, sd * rng.uniform(0.3, 1.5), shape)


def draw(number: int) -> Case:
    """One case of the zoo.

    Args:
        number: of the case.

    Returns:
        The movie with its truth.
    """
    rng = np.random.default_rng([2026, number])
    make, add = SCENES[number % len(SCENES)], NOISES[number % len(NOISES)]
    shape = (int(rng.integers(16, 33)), int(rng.integers(40, 73)), int(rng.integers(40, 73)))
    drawn = add(rng, make(rng, shape))
    unit, pedestal = 1.0, 0.0
    # Whole counts are the raw values of a detector; others may have any unit and pedestal.
    if np.isnan(drawn.gain) and rng.random() < 0.5:
        unit, pedestal = 10 ** rng.uniform(-9, 9), rng.choice([-1, 1]) * 10 ** rng.uniform(0, 4)
    noisy, clean = (unit * (a + pedestal) for a in (drawn.noisy, drawn.clean))
    return Case(make.__name__, add.__name__, noisy, clean, drawn.measured, unit * drawn.gain)


def diagnose(number: int) -> dict[str, object]:
    """Truth and diagnosis of one case."""
    case, began = draw(number), time.perf_counter()
    row: dict[str, object] = {"case": number, "scene": case.scene, "noise": case.noise}
    found: NoiseEstimate = estimate_noise(case.noisy)
    level = found.model.variance(jnp.asarray(case.clean[case.measured], jnp.float32))
    said = float(np.sqrt(np.mean(np.asarray(level, np.float64))))
    gain = float(getattr(found.model, "gain", np.nan))
    rho = [case.correlation(axis) for axis in (2, 1)]
    away = [abs(float(found.correlation[k][1]) - r) for k, r in zip("xy", rho, strict=True)]
    right = {
        "sd_right": abs(said / case.sd - 1) < SD_ERROR,
        "gain_right": bool(np.isnan(case.gain) or abs(gain / case.gain - 1) < GAIN_ERROR),
        "correlation_right": max(away) < CORRELATION_ERROR,
    }
    return row | {
        "sd": case.sd, "sd_said": said, "gain": case.gain, "gain_said": gain,
        "rho_x": rho[0], "rho_y": rho[1],
        "rho_x_said": found.correlation["x"][1], "rho_y_said": found.correlation["y"][1],
        **right, "right": all(right.values()), "seconds": time.perf_counter() - began,
    }  # fmt: skip


def denoised(number: int) -> dict[str, object]:
    """Error and error bars of one denoised case, beside a Gaussian filter tuned on the truth."""
    case, began = draw(number), time.perf_counter()
    estimate = denoise(
        Movie.from_array(case.noisy.astype(np.float32)), DenoiseConfig(preset="quick")
    )
    width = stats.t.ppf(0.95, ERROR_DEGREES_OF_FREEDOM)
    width *= np.sqrt((ERROR_DEGREES_OF_FREEDOM - 2) / ERROR_DEGREES_OF_FREEDOM)
    inside = np.abs(estimate.mean - case.clean) < width * np.sqrt(estimate.variance)
    range_ = float(np.ptp(case.clean)) or case.sd
    filled = np.where(case.measured, case.noisy, np.nanmean(case.noisy[case.measured]))
    best = max(
        float(psnr(ndimage.gaussian_filter(filled, (t, s, s)), case.clean, range_))
        for t in (0, 1, 2, 4, 8)
        for s in (0, 0.5, 1, 1.5, 2, 3)
    )
    holds = float(inside[case.measured].mean())
    return {
        "case": number, "scene": case.scene, "noise": case.noise,
        "psnr": float(psnr(estimate.mean, case.clean, range_)), "psnr_gaussian": best, "cover90": holds,
        "right": holds >= 0.75, "seconds": time.perf_counter() - began,
    }  # fmt: skip


def run(out: Path, numbers: range, measure: Callable[[int], dict[str, object]]) -> None:
    """Measure cases, one row each, leaving out those that are in the file."""
    known = {int(r["case"]) for r in read(out)} if out.exists() else set()
    for number in numbers:
        if number in known:
            continue
        row = measure(number)
        new = not out.exists()
        with out.open("a", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, list(row))
            if new:
                writer.writeheader()
            writer.writerow(row)
        print(*(f"{v:.4g}" if isinstance(v, float) else v for v in row.values()), flush=True)


def read(path: Path) -> list[dict[str, str]]:
    """Rows of a table."""
    with path.open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


def table(path: Path) -> None:
    """Print how many cases are right, by kind of noise, and those that are not."""
    found = read(path)
    for name in [add.__name__ for add in NOISES]:
        mine = [r for r in found if r["noise"] == name]
        if mine:
            print(f"{name:<14} {sum(r['right'] == 'True' for r in mine)} of {len(mine)}")
    print(f"all            {sum(r['right'] == 'True' for r in found)} of {len(found)}")


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("what", choices=("diagnose", "denoise", "table"))
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--cases", default=f"0:{CASES}", help="FIRST:LAST")
    given = parser.parse_args()
    first, last = map(int, given.cases.split(":"))
    if given.what == "table":
        table(given.out)
    else:
        run(given.out, range(first, last), diagnose if given.what == "diagnose" else denoised)


if __name__ == "__main__":
    main()

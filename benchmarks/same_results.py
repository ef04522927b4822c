"""Does a change of the code change results? Outputs of a fixed set, stored before and compared after.

    python benchmarks/same_results.py store FOLDER               (with the version before)
    python benchmarks/same_results.py compare FOLDER             (with the version after; prints what differs)
    python benchmarks/same_results.py compare FOLDER --only white fit

Training is counted in steps, never in seconds, so that the numbers do not depend on the load of the machine.
The movies are stored with the results: a change of the simulator does not hide or fake a change of the rest.
"""

import argparse
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

import phdenoise as ph

ENDLESS = 1e6  # seconds: steps alone end the training


def scene(frames: int, side: int, seed: int) -> np.ndarray:
    """Smooth random scene [t, y, x] in 0..1 that changes slowly."""
    rng = np.random.default_rng(seed)
    t = np.arange(frames)[:, None, None] / frames
    y, x = np.mgrid[:side, :side] / side
    movie = np.zeros((frames, side, side))
    for _ in range(12):
        ky, kx, phase, speed = (*rng.integers(-4, 5, 2), *rng.uniform(0, 2 * np.pi, 2))
        movie += rng.standard_normal() * np.sin(2 * np.pi * (ky * y + kx * x) + phase + speed * t)
    return ((movie - movie.min()) / np.ptp(movie)).astype(np.float32)


def noisy(kind: str) -> np.ndarray:
    """A scene with noise of some kind."""
    rng = np.random.default_rng(1)
    clean = scene(14, 40, 2)
    if kind == "poisson":
        return rng.poisson(20 * clean + 1).astype(np.float32)
    noise = rng.standard_normal(clean.shape)
    if kind == "box":
        noise = sum(np.roll(noise, (i, j), (1, 2)) for i in (-1, 0, 1) for j in (-1, 0, 1)) / 3
    if kind == "lasting":
        for k in range(1, len(noise)):
            noise[k] = 0.4 * noise[k - 1] + np.sqrt(1 - 0.4**2) * noise[k]
    movie = (clean + 0.1 * noise).astype(np.float32)
    if kind == "defects":
        movie[:, 3, 5] = 7.0
        movie[6] = movie[5]
        movie[2, 10:14, 10:14] = np.nan
    return movie


def denoised(frames: np.ndarray, **settings: Any) -> dict[str, np.ndarray]:
    """What `denoise` makes of frames in a fixed number of steps."""
    config = ph.DenoiseConfig(
        **({"preset": "quick", "steps": 12, "seconds": ENDLESS, "crop": 32} | settings)
    )
    estimate = ph.denoise(ph.Movie.from_array(frames), config)
    found = {"mean": estimate.mean, "variance": estimate.variance}
    if estimate.blind_mean is not None:
        found["blind"] = estimate.blind_mean
    return found


def exposures(frames: np.ndarray) -> dict[str, np.ndarray]:
    """Noise2Noise from a second exposure."""
    second = frames + 0.1 * np.random.default_rng(5).standard_normal(frames.shape).astype(
        np.float32
    )
    config = ph.DenoiseConfig(preset="quick", steps=6, seconds=ENDLESS, crop=32)
    estimate = ph.denoise(ph.Movie.from_array(frames), config, target=ph.Movie.from_array(second))
    return {"mean": estimate.mean, "variance": estimate.variance}


def colours(frames: np.ndarray) -> dict[str, np.ndarray]:
    """Three channels together."""
    rng = np.random.default_rng(3)
    parts = [
        ph.Movie.from_array((a * frames + s * rng.standard_normal(frames.shape)).astype(np.float32))
        for a, s in ((1.0, 0.05), (0.5, 0.1), (-0.8, 0.1))
    ]
    channels = ph.Channels(tuple(parts), ("r", "g", "b"))
    config = ph.DenoiseConfig(preset="quick", steps=6, seconds=ENDLESS, crop=32)
    estimate = ph.denoise_channels(channels, config)
    return {
        "mean": np.stack([e.mean for e in estimate.estimates]),
        "variance": np.stack([e.variance for e in estimate.estimates]),
    }


def law(frames: np.ndarray, model: str, **settings: Any) -> dict[str, np.ndarray]:
    """What `fit` makes of frames."""
    movie = ph.Movie.from_array(
        frames, times=0.004 * np.arange(len(frames)), pixel_size=(0.02, 0.02)
    )
    given = {"enthalpy_degree": 3, "mobility_degree": 2, "iterations": 12} | settings
    given["denoise"] = ph.DenoiseConfig(preset="quick", steps=6, seconds=ENDLESS, crop=16)
    result = ph.fit(movie, model, ph.FitConfig(**given))
    found = {k: np.asarray(v, float) for k, v in result.curves.items()}
    return found | {k: np.asarray(v, float) for k, v in result.statistics.items()}


def twin(model: str, *, size: int = 24, frames: int = 26, **given: float) -> np.ndarray:
    """A noisy movie of a law, from `phdenoise.simulate`."""
    try:
        from phdenoise.simulation import SimulateConfig
    except ImportError:  # the version before phdenoise.simulation
        from phdenoise.pipeline import SimulateConfig  # the version before has it there

    settings = {"duration": 20.0} if model == "fickian" else {"duration": 0.1, "pixel_size": 0.02}
    settings = {"sigma": 0.05, **settings, **given}
    config = SimulateConfig(size=(size, size), frames=frames, seed=4, **settings)
    return np.asarray(ph.simulate(model, config)[0].frames)


CASES: dict[str, tuple[Callable[[], np.ndarray], Callable[..., dict[str, np.ndarray]]]] = {
    "white": (lambda: noisy("white"), denoised),
    "linear-start": (lambda: noisy("white"), lambda f: denoised(f, start="linear")),
    "box": (lambda: noisy("box"), denoised),
    "poisson": (lambda: noisy("poisson"), denoised),
    "lasting": (lambda: noisy("lasting"), denoised),
    "defects": (lambda: noisy("defects"), denoised),
    "udvd": (lambda: noisy("white"), lambda f: denoised(f, blind="udvd", width=8)),
    "image": (lambda: noisy("white")[:1], lambda f: denoised(f, width=8)),
    "n2v": (lambda: noisy("white"), lambda f: denoised(f, objective="n2v")),
    "sure": (lambda: noisy("white"), lambda f: denoised(f, objective="sure")),
    "counts": (lambda: noisy("poisson"), lambda f: denoised(f, objective="counts")),
    "distil": (lambda: noisy("white"), lambda f: denoised(f, distill=1, steps=6)),
    "noise2noise": (lambda: noisy("white"), exposures),
    "channels": (lambda: noisy("white"), colours),
    "fit-ch": (lambda: twin("cahn-hilliard"), lambda f: law(f, "cahn-hilliard")),
    "fit-fickian": (lambda: twin("fickian"), lambda f: law(f, "fickian")),
    "fit-ac": (lambda: twin("allen-cahn"), lambda f: law(f, "allen-cahn")),
    "joint-ch": (lambda: twin("cahn-hilliard"), lambda f: law(f, "cahn-hilliard", joint=True)),
    "joint-fickian": (lambda: twin("fickian"), lambda f: law(f, "fickian", joint=True)),
}


def row(name: str) -> np.ndarray:
    """A movie of the grid of `benchmarks/denoise_peers.py`."""
    import denoise_peers

    return np.asarray(denoise_peers.make(*name.split()).noisy)


def chain(name: str) -> dict[str, np.ndarray]:
    """The table of a study's fast version; every number of it."""
    import csv
    import subprocess
    import sys
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        for what in ("run", "collect"):
            command = [sys.executable, "-m", f"experiments.{name}", what, "--fast"]
            subprocess.run([*command, "--output", folder], check=True, capture_output=True)
        with (Path(folder) / "fast" / "table.csv").open(newline="") as file:
            rows = list(csv.DictReader(file))
    found: dict[str, np.ndarray] = {}
    for key in rows[0]:
        try:
            found[key] = np.array([float(r[key]) for r in rows])
        except ValueError:
            continue
    return found


ROWS = (
    "slow mid sigma0.1",
    "slow late sigma0.3",
    "fast mid sigma0.1-3x3",
    "fast late poisson10",
    "fast early sigma0.3",
    "slow early poisson2",
)
LARGE = {
    **{
        f"row {r}": (
            lambda r=r: row(r),
            lambda f: denoised(f, steps=150, crop=64),
        )
        for r in ROWS
    },
    **{
        f"law {kind}": (
            lambda: twin("cahn-hilliard", size=32, frames=40, duration=0.2, sigma=0.1),
            lambda f, kind=kind: law(
                f,
                "cahn-hilliard",
                joint=kind == "joint",
                enthalpy_degree=5,
                mobility_degree=6,
                iterations=30,
            ),
        )
        for kind in ("face-value", "joint")
    },
    **{
        f"chain {name}": (lambda: np.zeros(0), lambda _, name=name: chain(name))
        for name in ("stxm_lfp", "graphite_optical", "neutron_radiography")
    },
}
"""Minutes each. The chains count their training in seconds: their numbers scatter with the load of the machine."""


def main() -> None:
    """Store or compare."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("what", choices=("store", "compare"))
    parser.add_argument("folder", type=Path)
    parser.add_argument(
        "--only", nargs="*", default=[], help="words that a case's name begins with"
    )
    parser.add_argument("--large", action="store_true", help="rows of the tables, minutes each")
    args = parser.parse_args()
    cases = LARGE if args.large else CASES
    args.folder.mkdir(parents=True, exist_ok=True)
    wanted = [c for c in cases if not args.only or any(c.startswith(o) for o in args.only)]
    worst = 0.0
    for name in wanted:
        path = args.folder / f"{name.replace(' ', '_')}.npz"
        make, work = cases[name]
        clock = time.perf_counter()
        if args.what == "store":
            if path.exists():
                continue
            frames = make()
            np.savez_compressed(path, frames=frames, **work(frames))
            print(f"{name}: stored, {time.perf_counter() - clock:.0f} s", flush=True)
            continue
        with np.load(path) as archive:
            before = {k: archive[k] for k in archive.files}
        after = work(before.pop("frames"))
        lines, largest = [], 0.0
        for key in sorted(before.keys() | after.keys()):
            if key not in before or key not in after or before[key].shape != after[key].shape:
                lines.append(f"{key} only on one side or of another shape")
                largest = np.inf
                continue
            scale = np.nanmax(np.abs(before[key]), initial=1e-30)
            change = np.abs(np.nan_to_num(after[key]) - np.nan_to_num(before[key])).max(initial=0.0)
            if change > 1e-6 * scale:
                lines.append(f"{key} {change / scale:.1e}")
                largest = max(largest, float(change / scale))
        worst = max(worst, largest)
        print(
            f"{name}: {'same' if not lines else ', '.join(lines)}"
            f" ({time.perf_counter() - clock:.0f} s)",
            flush=True,
        )
    if args.what == "compare":
        print(f"largest relative change {worst:.1e}")


if __name__ == "__main__":
    main()

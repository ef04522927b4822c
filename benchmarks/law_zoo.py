"""Is a fitted law right, or said to be wrong? Movies of many kinds, each fitted as a user would, each judged.

    python -m benchmarks.law_zoo --cases 0:60 --out zoo.csv [--jobs 1] [--sample N --seed S]
    python -m benchmarks.law_zoo --cases 0:0 --out zoo.csv                    # only the summary

A case adds a row to the table, and a case that has a row is not fitted again. Then the summary: of right laws the rms error
of D, the mean and the least share of concentrations at which the 90 % bands hold the truth, and the share rejected; of wrong
laws the share rejected; and the cases whose outcome is confident though the bands hold less than half of what they claim.
"""

import csv
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import tyro

import phdenoise as ph
from benchmarks.law_zoo_cases import Case, case
from benchmarks.law_zoo_movies import Recording, Truth, movie
from phdenoise.study.compiled import clear_caches

# Share of concentrations at which a 90 % band should hold the truth, and the least share of a confident outcome.
LEVEL = 0.9
LEAST_HELD = LEVEL / 2
# Degrees of the Legendre series that are fitted: the laws of the zoo are close to degree 2.
ENTHALPY_DEGREE, MOBILITY_DEGREE = 4, 3
# Training of the denoiser [s], and gradient steps of the joint loss: the law is judged here, not the denoiser, and ten steps
# change its misfit by 0.01 %.
DENOISE_SECONDS, NETWORK_STEPS = 4.0, 0
# Verdicts by which a law is not believed.
REJECTED = ("rejected", "nothing moves", "raised")
JUDGED = (
    *("rms_D", "err_mu", "held_D", "held_mu", "held", "verdict", "confident"),
    *("effect", "chi2", "edges_used", "seconds", "outcome"),
)
DESCRIBED = (
    *("number", "law", "fitted", "twist", "domain", "shape", "aspect", "edges", "noise", "level"),
    *("units", "clock", "jitter", "pixel", "frames", "finer", "joint"),
)
COLUMNS = (*DESCRIBED, *JUDGED)


@dataclass(frozen=True)
class Arguments:
    """What to run."""

    cases: str = "0:60"
    """Numbers of the cases, FIRST:END or a list separated by commas."""
    out: Path = Path("zoo.csv")
    """Table to which every case adds a row."""
    jobs: int = 1
    """Processes."""
    sample: int = 0
    """So many of the cases, drawn at random; 0: all."""
    seed: int = 0
    """Of the sample."""


def fit(asked: Case, recording: Recording) -> ph.FitResult:
    """The fit that a user would ask for.

    Args:
        asked: the case.
        recording: its movie.

    Returns:
        The fit. Of laws with an entropy the intensities of c = 0 and c = 1 are given, since no movie shows them.
    """
    scale = None
    if asked.fitted != "fickian":
        scale = (asked.offset, asked.offset + asked.gain)
    config = ph.FitConfig(
        joint=asked.joint,
        enthalpy_degree=ENTHALPY_DEGREE,
        mobility_degree=MOBILITY_DEGREE,
        network_steps=NETWORK_STEPS,
        concentration_range=scale,
        denoise=ph.DenoiseConfig(preset="quick", seconds=DENOISE_SECONDS, symmetries=2),
    )
    seen = ph.Movie.from_array(
        recording.frames.astype(np.uint8)
        if asked.units == "counts" and np.isfinite(recording.frames).all()
        else recording.frames,
        times=recording.times,
        pixel_size=recording.pixel_size,
        mask=recording.mask,
        time_unit=asked.clock.replace("POSIX", "s"),
        length_unit=asked.pixel,
        intensity_unit=asked.units,
        name=f"case {asked.number}",
    )
    return ph.fit(seen, asked.fitted, config)


def judged(asked: Case, truth: Truth, result: ph.FitResult) -> dict[str, Any]:
    """Errors, what the bands hold, and the verdict.

    Args:
        asked: the case.
        truth: its true curves.
        result: its fit.

    Returns:
        `rms_D` relative to the truth, `err_mu` as a share of the range of μ_h, shares `held_D`, `held_mu` and their mean
        `held`, `verdict`, `confident`, `chi2`, `edges_used` and `outcome`; nan where there is no truth.
    """
    # A fit to a movie in which nothing moves has no curves.
    found = _errors(asked, truth, result) if "c" in result.curves else {}
    both = [found[name] for name in ("held_D", "held_mu") if name in found]
    holds = getattr(result, "holds", None)
    rejected = holds is False or "does not move" in result.outcome or "No law" in result.outcome
    said = "rejected" if rejected else "holds" if holds else "cannot tell"
    said = said if "c" in result.curves else "nothing moves"
    sure = "well determined" in result.outcome
    return dict.fromkeys(JUDGED, np.nan) | {
        **found,
        "held": float(np.mean(both)) if both else np.nan,
        "verdict": said,
        "confident": said not in REJECTED and (holds is True or sure),
        "chi2": result.statistics.get("chi2_per_dof", np.nan),
        "edges_used": result.settings.get("boundary_used", ""),
        "outcome": result.outcome,
    }


def run(number: int) -> dict[str, Any]:
    """The row of a case; a fit that raises is a row too.

    Args:
        number: of the case.

    Returns:
        Values by column.
    """
    asked = case(number)
    recording = movie(asked)
    start = time.perf_counter()
    try:
        found = judged(asked, recording.truth, fit(asked, recording))
    except Exception as error:
        said = f"{type(error).__name__}: {error}"
        found = dict.fromkeys(JUDGED, np.nan) | {"verdict": "raised", "confident": False}
        found["outcome"] = " ".join(said.split())
    found["effect"] = recording.effect
    found["seconds"] = time.perf_counter() - start
    clear_caches()
    described = asdict(asked)
    return {name: described[name] for name in DESCRIBED} | {name: found[name] for name in JUDGED}


def rows_of(table: Path) -> list[dict[str, str]]:
    """Rows of a table; none where there is no file."""
    if not table.exists():
        return []
    with table.open(newline="") as file:
        return list(csv.DictReader(file))


def add_row(table: Path, row: dict[str, Any]) -> None:
    """One more row."""
    new = not table.exists()
    with table.open("a", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS)
        if new:
            writer.writeheader()
        writer.writerow(row)


def summary(rows: list[dict[str, str]]) -> str:
    """The figures of issue 23, and the cases that break them.

    Args:
        rows: of the table.

    Returns:
        Lines of Markdown.
    """
    right = [row for row in rows if not row["twist"]]
    wrong = [row for row in rows if row["twist"]]
    errors, held = _numbers(right, "rms_D"), _numbers(right, "held")
    spread = _rms(errors) if errors.size else np.nan
    low = [row for row in right if float(row["held"]) < 0.7]
    lines = [
        "| figure | measured | wanted |",
        "|---|---|---|",
        f"| right laws: rms error of D (median) | {spread:.3f} ({_median(errors):.3f}) of {errors.size} | 0.10 |",
        f"| right laws: bands hold, mean | {_mean(held):.3f} | 0.85 to 0.95 |",
        f"| right laws: bands hold, least | {min(held, default=np.nan):.3f} ({len(low)} below 0.7) | 0.70 |",
        f"| right laws: rejected or raised | {_share(right)} | 5 % |",
        f"| wrong laws: rejected | {_share(wrong)} | 90 % |",
        f"| seconds a case (median) | {_median(_numbers(rows, 'seconds')):.0f} | |",
        "",
        "Confident, and the bands hold less than half of what they claim:",
        *_listed(
            row for row in rows if row["confident"] == "True" and float(row["held"]) < LEAST_HELD
        ),
        "",
        "Wrong laws that were not rejected:",
        *_listed(row for row in wrong if row["verdict"] not in REJECTED),
        "",
        "Right laws that were rejected, raised, or held at less than 70 % of c:",
        *_listed(row for row in right if row["verdict"] in REJECTED or row in low),
    ]
    return "\n".join(lines)


def chosen(arguments: Arguments) -> list[int]:
    """Numbers of the cases that have no row yet.

    Args:
        arguments: of the command line.

    Returns:
        The numbers.
    """
    if ":" in arguments.cases:
        first, end = (int(n) for n in arguments.cases.split(":"))
        numbers = list(range(first, end))
    else:
        numbers = [int(n) for n in arguments.cases.split(",")]
    if arguments.sample:
        rng = np.random.default_rng(arguments.seed)
        size = min(arguments.sample, len(numbers))
        numbers = sorted(int(n) for n in rng.choice(numbers, size, replace=False))
    done = {int(row["number"]) for row in rows_of(arguments.out)}
    return [number for number in numbers if number not in done]


def main(arguments: Arguments) -> None:
    """Every case that is missing, then what the table says."""
    for row in _made(chosen(arguments), arguments.jobs):
        add_row(arguments.out, row)
        kind = row["twist"] or "right"
        print(
            f"{row['number']:3d} {row['law']:13s} {kind:11s} {row['domain']:9s} {row['edges']:8s} "
            f"rms D {row['rms_D']:.3f} held {row['held']:.2f} {row['seconds']:5.0f} s "
            f"{row['verdict']}: {row['outcome']}",
            flush=True,
        )
    print(summary(rows_of(arguments.out)))


def _made(numbers: list[int], jobs: int) -> Iterator[dict[str, Any]]:
    if jobs == 1:
        yield from map(run, numbers)
        return
    with ProcessPoolExecutor(jobs, get_context("spawn")) as pool:
        yield from pool.map(run, numbers)


def _errors(asked: Case, truth: Truth, result: ph.FitResult) -> dict[str, float]:
    """Errors of D and of μ_h, and shares that their bands hold; only of what has a truth."""
    curves, found = result.curves, {}
    c = _concentration(asked, result)
    if truth.mobility is not None:
        d = truth.mobility(c)
        found["held_D"] = _held(curves, "D", d)
        if np.all(d > 0):
            found["rms_D"] = _rms(curves["D"] / d - 1)
    if truth.potential is not None and asked.fitted != "fickian":
        mu = truth.potential(c)
        if asked.fitted == "cahn-hilliard":
            # No conserved field shows a constant of its potential.
            mu = mu - truth.potential(np.array([0.5]))
        found["held_mu"] = _held(curves, "mu_h", mu)
        found["err_mu"] = _rms(curves["mu_h"] - mu) / float(np.ptp(mu))
    return found


def _concentration(asked: Case, result: ph.FitResult) -> np.ndarray:
    """True concentrations that the fit's own stand for: its scale may be another than that of the case."""
    c, low, high = (
        np.asarray(result.curves["c"]),
        result.settings.get("scale_low", asked.offset),
        result.settings.get("scale_high", asked.offset + asked.gain),
    )
    return (low + c * (high - low) - asked.offset) / asked.gain


def _held(curves: Any, name: str, truth: np.ndarray) -> float:
    return float(np.mean((curves[f"{name}_low"] <= truth) & (truth <= curves[f"{name}_high"])))


def _rms(values: np.ndarray) -> float:
    return float(np.sqrt(np.mean(np.square(values))))


def _mean(values: np.ndarray) -> float:
    return float(values.mean()) if values.size else np.nan


def _median(values: np.ndarray) -> float:
    return float(np.median(values)) if values.size else np.nan


def _numbers(rows: list[dict[str, str]], name: str) -> np.ndarray:
    """Finite values of a column."""
    values = np.array([float(row[name]) for row in rows])
    return values[np.isfinite(values)]


def _share(rows: list[dict[str, str]]) -> str:
    rejected = sum(row["verdict"] in REJECTED for row in rows)
    return f"{rejected} of {len(rows)} ({100 * rejected / max(len(rows), 1):.0f} %)"


def _listed(rows: Iterator[dict[str, str]]) -> list[str]:
    """A line for each row."""
    return [
        f"- {row['number']}: {row['law']} fitted as {row['fitted']}, {row['twist'] or 'right'}, {row['domain']}, "
        f"{row['edges']}, {row['noise']} {float(row['level']):.3f}, {row['units']}: rms D {float(row['rms_D']):.3f}, "
        f"held {float(row['held']):.2f}, chi2 {float(row['chi2']):.2f}, {row['verdict']}"
        for row in rows
    ] or ["- none"]


if __name__ == "__main__":
    main(tyro.cli(Arguments))

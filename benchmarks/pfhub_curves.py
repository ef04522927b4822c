"""PFHub benchmark 1 runs over the uploaded curves: spread, change upon halving, picture.

A folder of uploads holds 1a_<code>.csv with the columns time and free_energy. A code counts at a
time its curve covers; the spread is from the least to the largest of them.
"""

import csv
import re
from pathlib import Path

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
from pfhub_table import TABULATED, read

Curve = tuple[np.ndarray, np.ndarray]
TITLES = {"1a": "1a, periodic square", "1b": "1b, closed square", "1c": "1c, closed T"}


def report(out: Path, curves: Path | None) -> None:
    """Tables on the screen and out/pfhub1.png."""
    figure, axes = plt.subplots(1, 3, figsize=(15, 4.6), constrained_layout=True)
    for panel, (name, title) in zip(axes, TITLES.items(), strict=True):
        runs = _runs(out, name)
        others = uploads(curves, name) if curves else {}
        for t, energy in others.values():
            panel.loglog(t, energy, color="0.7", lw=0.8)
        for n, ((h, rtol), (t, energy)) in enumerate(runs.items()):
            label = f"phdenoise, h = {h:g}, tolerance {rtol:g}"
            panel.loglog(t, energy, color=f"C{n}", lw=1.6 - 0.2 * n, label=label)
        if others:
            panel.plot([], [], color="0.7", label=f"{len(others)} uploaded runs")
        panel.set(title=title, xlabel="time", ylabel="free energy", xlim=(0.8, 1.2e4))
        panel.legend(fontsize=8, loc="lower left")
        if runs:
            _table(title, runs, others)
    out.mkdir(parents=True, exist_ok=True)
    figure.savefig(out / "pfhub1.png", dpi=110)
    print(f"\n{out / 'pfhub1.png'}")


def uploads(folder: Path, name: str) -> dict[str, Curve]:
    """Curves by code, in order of time, without rows of an energy not yet computed."""
    found: dict[str, Curve] = {}
    for path in sorted(folder.glob(f"{name}_*.csv")):
        with open(path, newline="") as file:
            rows = [(float(r["time"]), float(r["free_energy"])) for r in csv.DictReader(file)]
        kept = sorted((t, energy) for t, energy in rows if energy > 0)
        curve = tuple(np.array(kept).T)
        # The same run is uploaded twice under two names.
        if not any(len(c[0]) == len(kept) and np.allclose(c, curve) for c in found.values()):
            found[path.stem.removeprefix(f"{name}_")] = curve
    return found


def at(curve: Curve, t: float) -> float:
    """The energy at a time, NaN where the curve does not reach."""
    times, energy = curve
    if not times[0] <= t <= times[-1] * (1 + 1e-9):
        return np.nan
    return float(np.interp(t, times, energy))


def _runs(out: Path, name: str) -> dict[tuple[float, float], Curve]:
    """Energies by (h, tolerance), the finest last."""
    runs = {}
    for path in out.glob(f"{name}_h*_rtol*.csv"):
        match = re.fullmatch(rf"{name}_h(.+)_rtol(.+)", path.stem)
        rows = read(path)
        if match and len(rows) > 1:
            curve = tuple(np.array([[r["time"], r["free_energy"]] for r in rows]).T)
            runs[float(match[1]), float(match[2])] = curve
    return dict(sorted(runs.items(), reverse=True))


def _table(title: str, runs: dict[tuple[float, float], Curve], others: dict[str, Curve]) -> None:
    print(f"\n{title}: free energy; the change when h or the steps are halved [%]")
    names = [f"h={h:g} rtol={rtol:g}" for h, rtol in runs]
    print(
        f"{'time':>7s} {'least':>8s} {'largest':>8s} {'codes':>5s}", *(f"{n:>17s}" for n in names)
    )
    for t in TABULATED:
        values = np.array([at(curve, t) for curve in others.values()])
        values = values[np.isfinite(values)]
        low, high = (values.min(), values.max()) if values.size else (np.nan, np.nan)
        cells = []
        for curve in runs.values():
            energy = at(curve, t)
            place = "in" if low <= energy <= high else "below" if energy < low else "above"
            known = np.isfinite(energy) and values.size > 0
            cells.append(f"{energy:11.4f} {place if known else '':5s}")
        print(f"{t:7d} {low:8.3f} {high:8.3f} {values.size:5d}", *cells)
    for key, curve in runs.items():
        for other, finer in runs.items():
            halves = np.allclose(other, (key[0] / 2, key[1]), atol=0)
            if halves or np.allclose(other, (key[0], key[1] / 8), atol=0):
                halved = "h" if halves else "the steps"
                changes = [(abs(at(finer, t) / at(curve, t) - 1), t) for t in TABULATED]
                known = [(change, t) for change, t in changes if np.isfinite(change)]
                worst, t = max(known)
                print(
                    f"from h={key[0]:g} rtol={key[1]:g}, {halved} halved: at most {100 * worst:.2f} % "
                    f"(at t = {t}), {100 * known[-1][0]:.2f} % at t = {known[-1][1]}"
                )

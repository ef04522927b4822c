"""PFHub benchmark 7: Allen-Cahn with a manufactured solution, orders of accuracy and cost.

    ∂η/∂t = −[ 4η(η−1)(η−½) − κ∇²η ] + S,   η* = ½[ 1 − tanh((y−α)/√(2κ)) ]
    α(x, t) = ¼ + A₁ t sin(B₁x) + A₂ sin(B₂x + C₂t)

on [0, 1] x [0, ½], periodic in x, η = 1 below and 0 above, to t = 8. With ξ = (y−α)/√(2κ)

    S = sech²ξ / (2√(2κ)) · [ α_t − κ α_xx − √(2κ) α_x² tanh ξ ]

(b) has κ = 1.5625e-6 and (c) also C₂ = ½: cost against error, which `report` draws with the cheapest run for each error.
https://pages.nist.gov/pfhub.
"""

import csv
import time
from pathlib import Path

import equinox as eqx
import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np

from phdenoise.grid import Fixed, Grid
from phdenoise.physics.equations.allen_cahn import AllenCahn
from phdenoise.physics.equations.forced import Forced
from phdenoise.physics.free_energies.regular_solution import DoubleWell
from phdenoise.physics.mobility import ConstantMobility
from phdenoise.physics.simulate import advance
from phdenoise.physics.steppers.base import Stepper
from phdenoise.physics.steppers.etdrk4 import ETDRK4
from phdenoise.physics.steppers.rosenbrock import RosenbrockW
from phdenoise.study.table import read_table

A1, B1, A2, B2, END = 0.0075, 8 * np.pi, 0.03, 22 * np.pi, 8.0
KAPPA = {"7a": 4e-4, "7b": 1.5625e-6, "7c": 1.5625e-6}
C2 = {"7a": 0.0625 * np.pi, "7b": 0.0625 * np.pi, "7c": 0.5}
METHODS: dict[str, Stepper] = {"etdrk4": ETDRK4(), "rosenbrock": RosenbrockW()}
COLUMNS = ("problem", "method", "cells", "steps", "error", "time_error", "seconds")


class Front(eqx.Module):
    """η* and S on the cells of a grid; called with a time it is S."""

    y: jax.Array
    x: jax.Array
    kappa: jax.Array
    c2: jax.Array

    def place(self, t: jax.Array) -> tuple[jax.Array, jax.Array]:
        """ξ and the bracket of S but for its last term, and α_x²."""
        wave, slow = B2 * self.x + self.c2 * t, B1 * self.x
        alpha = 0.25 + A1 * t * jnp.sin(slow) + A2 * jnp.sin(wave)
        return (self.y - alpha) / jnp.sqrt(2 * self.kappa), wave

    def exact(self, t: jax.Array) -> jax.Array:
        """η*."""
        return 0.5 * (1 - jnp.tanh(self.place(t)[0]))

    def __call__(self, t: jax.Array) -> jax.Array:
        """S."""
        xi, wave = self.place(t)
        slow = B1 * self.x
        a_t = A1 * jnp.sin(slow) + A2 * self.c2 * jnp.cos(wave)
        a_x = A1 * B1 * t * jnp.cos(slow) + A2 * B2 * jnp.cos(wave)
        a_xx = -A1 * B1**2 * t * jnp.sin(slow) - A2 * B2**2 * jnp.sin(wave)
        width = jnp.sqrt(2 * self.kappa)
        bend = a_t - self.kappa * a_xx - width * a_x**2 * jnp.tanh(xi)
        return bend / (2 * width * jnp.cosh(xi) ** 2)


def problem(name: str, cells: int) -> tuple[Forced, Grid, Front]:
    """Model, grid of cells/2 x cells, and the front."""
    shape, h = (cells // 2, cells), 1 / cells
    y, x = np.meshgrid(*((np.arange(n) + 0.5) * h for n in shape), indexing="ij")
    front = Front(*(jnp.asarray(v) for v in (y, x, KAPPA[name], C2[name])))
    model = AllenCahn(DoubleWell(1.0, 0.0, 1.0), ConstantMobility(1.0), KAPPA[name])
    grid = Grid(shape, h, [(Fixed(1.0), Fixed(0.0)), "periodic"])
    return Forced(model, front), grid, front


def solve(name: str, cells: int, steps: int, method: str, end: float = END) -> jax.Array:
    """The field at the end."""
    model, grid, front = problem(name, cells)
    start = front.exact(jnp.zeros(()))
    return advance(model, grid, start, jnp.asarray(end), jnp.asarray(steps), METHODS[method])


def error(name: str, cells: int, field: jax.Array, end: float = END) -> float:
    """√∫(η − η*)²."""
    front = problem(name, cells)[2]
    return float(jnp.sqrt(jnp.sum((field - front.exact(jnp.asarray(end))) ** 2)) / cells)


def run(name: str, cells: list[int], steps: list[int], seconds: float, out: Path) -> None:
    """Rows of cells x steps x methods that the table does not have yet; then the table."""
    table = out / f"{name}.csv"
    rows = _rows(table)
    begin = time.perf_counter()
    for n in cells:
        converged = None
        for method in METHODS:
            for count in steps:
                key = name, method, str(n), str(count)
                known = {tuple(r[k] for k in COLUMNS[:4]) for r in rows}
                if key in known or time.perf_counter() - begin > seconds:
                    continue
                if converged is None:
                    converged = solve(name, n, 2 * max(steps), "etdrk4")
                solve(name, n, 1, method).block_until_ready()
                clock = time.perf_counter()
                field = solve(name, n, count, method).block_until_ready()
                clock = time.perf_counter() - clock
                late = float(jnp.linalg.norm(field - converged) / n)
                values = f"{error(name, n, field):.6e}", f"{late:.6e}", f"{clock:.3f}"
                rows.append(dict(zip(COLUMNS, (*key, *values), strict=True)))
                with open(table, "w", newline="") as file:
                    writer = csv.DictWriter(file, COLUMNS)
                    writer.writeheader()
                    writer.writerows(rows)
    _print(rows)


def report(out: Path) -> None:
    """The cheapest run for each error on the screen, and out/pfhub7.png: seconds against error."""
    found = {name: rows for name in KAPPA if (rows := _rows(out / f"{name}.csv"))}
    if not found:
        return
    figure, panels = plt.subplots(1, len(found), figsize=(5 * len(found), 4.2), squeeze=False, constrained_layout=True)  # fmt: skip
    for panel, (name, rows) in zip(panels[0], found.items(), strict=True):
        # A step too long for the interface ends in nan.
        rows = [r for r in rows if np.isfinite(float(r["error"]))]
        front = cheapest(rows)
        print(f"\n{name}: cheapest runs")
        for r in front:
            print(f"error {float(r['error']):.2e} in {float(r['seconds']):8.2f} s: {r['method']}, {r['cells']} cells, {r['steps']} steps")  # fmt: skip
        sizes = sorted({int(r["cells"]) for r in rows})
        for method, mark in zip(METHODS, "os", strict=True):
            for n, size in enumerate(sizes):
                here = [r for r in rows if (r["method"], int(r["cells"])) == (method, size)]
                here.sort(key=lambda r: int(r["steps"]))
                points = np.array([[float(r["error"]), float(r["seconds"])] for r in here])
                if points.size:
                    panel.loglog(*points.T, mark + "-", color=f"C{n}", ms=4, lw=0.8, mfc="none" if mark == "s" else None,
                                 label=f"{size} x {size // 2}" if mark == "o" else None)  # fmt: skip
        best = np.array([[float(r["error"]), float(r["seconds"])] for r in front])
        panel.loglog(*best.T, color="0.6", lw=4, alpha=0.5, zorder=0, label="cheapest")
        panel.set(title=f"{name} (circles ETDRK4, squares Rosenbrock)", xlabel="L2 error against the exact front", ylabel="seconds without compilation")  # fmt: skip
        panel.legend(fontsize=8)
    figure.savefig(out / "pfhub7.png", dpi=110)
    print(f"\n{out / 'pfhub7.png'}")


def cheapest(rows: list[dict[str, str]]) -> list[dict[str, str]]:
    """Runs that no other one beats in error and in seconds, by error."""
    best: list[dict[str, str]] = []
    for r in sorted(rows, key=lambda r: (float(r["seconds"]), float(r["error"]))):
        if not best or float(r["error"]) < float(best[-1]["error"]):
            best.append(r)
    return best[::-1]


def _rows(table: Path) -> list[dict[str, str]]:
    return read_table(table) if table.exists() else []


def _print(rows: list[dict[str, str]]) -> None:
    """Errors with the order between a row and the one with half its steps, or half its cells."""
    found = {(r["method"], int(r["cells"]), int(r["steps"])): r for r in rows}
    print("L2 error against the exact front; of the steps alone; orders from half the cells, steps")
    head = ("method", "cells", "steps", "error", "order", "of steps", "order", "seconds")
    print("{:11s} {:>5s} {:>6s} {:>10s} {:>6s} {:>10s} {:>6s} {:>8s}".format(*head))
    for (method, n, count), r in sorted(found.items()):
        total, late = float(r["error"]), float(r["time_error"])
        coarse, slow = found.get((method, n // 2, count)), found.get((method, n, count // 2))
        in_space = f"{np.log2(float(coarse['error']) / total):6.2f}" if coarse else " " * 6
        in_time = f"{np.log2(float(slow['time_error']) / late):6.2f}" if slow else " " * 6
        print(
            f"{method:11s} {n:5d} {count:6d} {total:10.3e} {in_space} {late:10.3e} {in_time} "
            f"{float(r['seconds']):8.2f}"
        )

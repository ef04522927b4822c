"""Seconds to the same accuracy on Cahn-Hilliard, peers beside us: `pip install 'phdenoise[bench]'`, then
`python benchmarks/physics_peers.py`.

Periodic n x n in double precision, from a smooth start well into separation. Every scheme takes the fewest steps
that bring it within 1e-4 (relative L2) of the converged solution of its own spatial operator; then all are timed in
turn, on what they do after compiling, and the table gives medians of the rounds and their ratio to ours.

    constant    dc/dt = ∇²(c³ − c − ∇²c)                                    spacing 1, to t = 100
    degenerate  dc/dt = ∇·( c(1−c) ∇[ ln(c/(1−c)) + 3(1−2c) − 8∇²c ] )      spacing 1, to t = 60

    phdenoise       exponential Runge-Kutta and Rosenbrock-W on finite volumes
    fixed-step      c + dt F⁻¹[ F(rhs) / (1 + ½ dt κ k⁴) ], first order, the published fits' own scheme; same volumes
    exponax         exponential Runge-Kutta of order 2 and 4, dealiased Fourier; constant mobility only
    py-pde          numba: Euler, and Runge-Kutta-Fehlberg with an adaptive step; finite differences, the mobility's
                    gradient by the product rule
"""

import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import tyro
from physics_speed import FixedStep, machine

from phdenoise.grid import Grid
from phdenoise.physics import simulate
from phdenoise.physics.equations.cahn_hilliard import CahnHilliard
from phdenoise.physics.free_energies.regular_solution import DoubleWell, RegularSolution
from phdenoise.physics.mobility import ConstantMobility, DegenerateMobility
from phdenoise.physics.operators import laplacian
from phdenoise.physics.steppers.base import Stepper
from phdenoise.physics.steppers.etdrk4 import ETDRK4

Solve = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Arguments:
    """What to measure."""

    sizes: tuple[int, ...] = (128, 256)
    """Cells along an edge."""
    problems: tuple[str, ...] = ("constant", "degenerate")
    """Which mobility."""
    error: float = 1e-4
    """Relative L2 error that every scheme has to reach."""
    rounds: int = 5
    """Timings of a row; the median counts. Rows that take fifty times the best one's time are timed once."""


@dataclass(frozen=True)
class Problem:
    """One equation: model, start, last time, and py-pde's words for it."""

    name: str
    model: CahnHilliard
    start: np.ndarray
    span: float
    words: str
    offset: float

    def grid(self) -> Grid:
        """Periodic cells of size one."""
        return Grid(self.start.shape, 1.0)


@dataclass(frozen=True)
class Scheme:
    """A way to solve it: `make(steps)` gives a solver that is compiled at its first call.

    `exact` is the converged solution of the scheme's own spatial operator, `setting` what `make` takes, `least` where
    to begin, `fine` how close to the fewest steps to come.
    """

    name: str
    make: Callable[[float], Solve]
    exact: np.ndarray
    setting: str = "steps"
    least: float = 8.0
    fine: float = 1.1


class ProductRule(CahnHilliard):
    """D∇²μ + (1 − 2c) ∇c·∇μ by central differences: what py-pde compiles of `words`, on cells of size one."""

    def rhs(self, t: Any, c: jax.Array, grid: Grid) -> jax.Array:
        """dc/dt."""
        mu = self.potential(c, grid)

        def central(a: jax.Array, axis: int) -> jax.Array:
            return 0.5 * (jnp.roll(a, -1, axis) - jnp.roll(a, 1, axis))

        slope = sum(central(c, axis) * central(mu, axis) for axis in (0, 1))
        return self.mobility(c) * laplacian(mu, grid) + (1 - 2 * c) * slope


def problem(name: str, n: int) -> Problem:
    """The equation on n x n from a seeded smooth field."""
    k = np.hypot(*np.meshgrid(2 * np.pi * np.fft.fftfreq(n), 2 * np.pi * np.fft.fftfreq(n)))
    noise = np.fft.fft2(np.random.default_rng(0).standard_normal((n, n)))
    smooth = np.fft.ifft2(noise * np.exp(-((k / 0.4) ** 2))).real
    smooth /= smooth.std()
    if name == "constant":
        model = CahnHilliard(DoubleWell(0.25, -1.0, 1.0), ConstantMobility(1.0), jnp.asarray(1.0))
        return Problem(name, model, 0.1 * smooth, 100.0, "laplace(c**3 - c - laplace(c))", 0.0)
    model = CahnHilliard(RegularSolution(3.0), DegenerateMobility(1.0), jnp.asarray(8.0))
    mu = "(log(c/(1-c)) + 3*(1-2*c) - 8*laplace(c))"
    words = f"c*(1-c)*laplace({mu}) + (1-2*c)*dot(gradient(c), gradient({mu}))"
    return Problem(name, model, 0.5 + 0.1 * smooth, 60.0, words, 0.5)


def ours(task: Problem, stepper: str | Stepper, model: CahnHilliard) -> Callable[[float], Solve]:
    """Solver of ours for a number of steps."""
    grid, times = task.grid(), np.array([0.0, task.span])

    def make(steps: float) -> Solve:
        @jax.jit
        def run(model: CahnHilliard, c: jax.Array) -> jax.Array:
            options = {"substeps": round(steps), "stepper": stepper}
            return simulate(model, grid, c, times, **options)[-1]

        return lambda c: np.asarray(run(model, jnp.asarray(c)))

    return make


def exponax(task: Problem, order: int) -> Callable[[float], Solve]:
    """Solver of exponax for a number of steps."""
    import exponax as ex

    n = task.start.shape[0]

    def make(steps: float) -> Solve:
        dt = task.span / round(steps)
        law = {"diffusivity": 1.0, "gamma": 1.0, "order": order}
        stepper = ex.stepper.reaction.CahnHilliard(2, float(n), n, dt, **law)
        run = jax.jit(ex.repeat(stepper, round(steps)))
        return lambda c: np.asarray(run(jnp.asarray(c)[None])[0])

    return make


def py_pde(task: Problem, adaptive: bool) -> Callable[[float], Solve]:
    """Solver of py-pde: Euler for a number of steps, or adaptive for one over its tolerance."""
    import pde

    n = task.start.shape[0]
    grid = pde.CartesianGrid([[0, n]] * 2, n, periodic=True)
    equation = pde.PDE({"c": task.words})

    def make(steps: float) -> Solve:
        options: dict[str, Any] = {"backend": "numba"}
        solver = pde.solvers.EulerSolver(equation, **options)
        dt = task.span / round(steps)
        if adaptive:
            options |= {"adaptive": True, "tolerance": 1 / steps}
            solver, dt = pde.solvers.RungeKuttaSolver(equation, **options), 1e-3
        advance = solver.make_stepper(pde.ScalarField(grid, task.start), dt)

        def solve(c: np.ndarray) -> np.ndarray:
            state = pde.ScalarField(grid, c)
            advance(state, 0.0, task.span)
            return state.data

        return solve

    return make


def schemes(task: Problem) -> Iterator[Scheme]:
    """All that are installed and can express the problem."""
    etdrk4 = ours(task, "etdrk4", task.model)
    converged = etdrk4(4000)(task.start)
    yield Scheme("phdenoise etdrk4", etdrk4, converged)
    yield Scheme("phdenoise krogstad", ours(task, "krogstad", task.model), converged)
    yield Scheme("phdenoise rosenbrock", ours(task, "rosenbrock", task.model), converged)
    fixed = ours(task, FixedStep(), task.model)
    yield Scheme("fixed-step", fixed, converged, "steps", 4096.0, 1.5)
    if task.name == "constant":
        try:
            best = exponax(task, 4)(4000)(task.start)
            for order in (2, 4):
                yield Scheme(f"exponax, order {order}", exponax(task, order), best)
        except ImportError:
            print("exponax is not installed: pip install 'phdenoise[bench]'")
    try:
        euler = py_pde(task, adaptive=False)
        same = task.model
        if task.name != "constant":
            model = task.model
            same = ProductRule(model.free_energy, model.mobility, model.kappa)
        own = ours(task, ETDRK4(), same)(4000)(task.start)
        # Below half the spectral radius times the span Euler is unstable; every number of steps compiles for 20 s.
        radius = float(task.model.spectral_radius(jnp.asarray(own), task.grid()))
        yield Scheme("py-pde, Euler", euler, own, "steps", 0.5 * radius * task.span, 1.5)
        adaptive = py_pde(task, adaptive=True)
        yield Scheme("py-pde, adaptive", adaptive, own, "1/tolerance", 100.0, 10.0)
    except ImportError:
        print("py-pde is not installed: pip install 'phdenoise[bench]'")


def error(task: Problem, scheme: Scheme, steps: float) -> float:
    """Relative L2 error of the part that varies; inf where the solve diverged."""
    with np.errstate(all="ignore"):
        try:
            last = scheme.make(steps)(task.start)
        except (RuntimeError, FloatingPointError):
            return np.inf
        exact = scheme.exact - task.offset
        away = float(np.linalg.norm(last - scheme.exact) / np.linalg.norm(exact))
    return away if np.isfinite(away) else np.inf


def fewest(task: Problem, scheme: Scheme, wanted: float) -> tuple[float, float]:
    """About the fewest steps with the wanted error, and the error they have."""
    low, high = scheme.least / 2, scheme.least
    while not (found := error(task, scheme, high)) <= wanted:
        low, high = high, 2 * high
        if high > 3e6:
            return np.nan, found
    while high > scheme.fine * low and high > scheme.least and round(high) > round(low) + 1:
        middle = round(np.sqrt(low * high))
        here = error(task, scheme, middle)
        low, high, found = (low, middle, here) if here <= wanted else (middle, high, found)
    return high, found


def table(task: Problem, wanted: float, rounds: int) -> None:
    """Choose steps, compile, time in turn, print."""
    n = task.start.shape[0]
    print(f"\n{task.name} mobility, {n} x {n}, to a relative error of {wanted:g}", flush=True)
    print(f"{'':24s} {'steps':>8s} {'error':>8s} {'first call s':>13s} {'run s':>9s} {'ratio':>7s}")
    rows = []
    for scheme in schemes(task):
        print(f"… {scheme.name}", end="\r", file=sys.stderr, flush=True)
        steps, found = fewest(task, scheme, wanted)
        if not np.isfinite(steps):
            print(f"{scheme.name:24s} does not reach it (last error {found:.1e})")
            continue
        begin = time.perf_counter()
        solve = scheme.make(steps)
        solve(task.start)
        rows.append((scheme, steps, found, time.perf_counter() - begin, solve))
    clocks = np.full((rounds, len(rows)), np.nan)
    for turn in range(rounds):
        for i, (*_, solve) in enumerate(rows):
            if turn and clocks[0, i] > 50 * clocks[0].min():
                continue
            begin = time.perf_counter()
            solve(task.start)
            clocks[turn, i] = time.perf_counter() - begin
    best = np.argmin(np.nanmedian(clocks[:, :3], axis=0))
    for i, (scheme, steps, found, first, _) in enumerate(rows):
        seconds, ratio = np.nanmedian(clocks[:, i]), np.nanmedian(clocks[:, i] / clocks[:, best])
        note = "" if scheme.setting == "steps" else f"  ({scheme.setting})"
        print(
            f"{scheme.name:24s} {steps:8.0f} {found:8.1e} {first:13.2f} {seconds:9.3f} {ratio:7.1f}{note}",
            flush=True,
        )


def main(arguments: Arguments) -> None:
    """Print the tables."""
    jax.config.update("jax_enable_x64", True)
    print(machine())
    for name in arguments.problems:
        for n in arguments.sizes:
            table(problem(name, n), arguments.error, arguments.rounds)


if __name__ == "__main__":
    main(tyro.cli(Arguments, description=__doc__))

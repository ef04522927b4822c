"""Time, error, gradient cost and memory of the physics solvers.

    python benchmarks/physics_speed.py [--only step]

Three tables: (1) steps and seconds for an error, against first-order semi-implicit Fourier stepping,
the scheme published for the Cahn-Hilliard twin; (2) gradients as ratios to the forward solve; (3) a
step of ETDRK4 over its nine transforms alone, timed in turn (--only step); "rhs = -c" is a step without a law, so it
shows what moving the stages' spectra through memory costs. Ratios carry over to other machines, seconds do not.
"""

import argparse
import os
import platform
import time
from collections.abc import Callable
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np

from phdenoise.grid import Grid
from phdenoise.physics import simulate
from phdenoise.physics.equations.base import Law, Reference, reference_mobility
from phdenoise.physics.equations.cahn_hilliard import CahnHilliard
from phdenoise.physics.free_energies.regular_solution import LegendreEnthalpy, RegularSolution
from phdenoise.physics.mobility import ConstantMobility, DegenerateMobility, LegendreMobility
from phdenoise.physics.steppers.base import Needs, Stepper
from phdenoise.physics.steppers.rkc2 import RKC2, stages_for
from phdenoise.physics.transforms import transforms


class SemiImplicit(Stepper):
    """c' = c + dt T⁻¹[ T f(c) / (1 − dt L) ], first order: the baseline."""

    order: ClassVar[int] = 1
    needs: ClassVar[Needs] = Needs(rectangle=True, implicit_symbol=True)

    def prepare(self, model, grid, dt, reference):
        """dt/(1 − dt L)."""
        return dt / (1 - dt * model.implicit_symbol(grid, reference))

    def step(self, model, grid, coefficients, t, c, dt):
        """One step."""
        forward, inverse = transforms(grid)
        return c + inverse(coefficients * forward(model.rhs(t, c, grid)))


class FixedStep(SemiImplicit):
    """The published fits' own: half of κ k⁴ is implicit, whatever the mobility."""

    def prepare(self, model, grid, dt, reference):
        """dt / (1 + ½ dt κ k⁴)."""
        zero = jnp.zeros_like(model.kappa)
        return super().prepare(model, grid, dt, Reference(zero, zero, 0.5 * model.kappa))


class Decay(Law):
    """dc/dt = −c: a step of it has the transforms and the sums of any step, and no law."""

    def rhs(self, t, c, grid):
        """−c."""
        return -c

    def spectral_radius(self, c, grid):
        """1."""
        return jnp.ones((), c.dtype)


def machine() -> str:
    """Processor, cores, load and versions, for the head of a table."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else float("nan")
    return (
        f"{platform.machine()} {platform.system()}, {cores} cores used, load {load:.1f}\n"
        f"python {platform.python_version()}, jax {jax.__version__}, {jax.devices()[0]}"
    )


def measure(function: Callable[..., Any], *args: Any) -> tuple[Any, float, float, float]:
    """Result, compile seconds, best of three run seconds, temporary MiB."""
    begin = time.perf_counter()
    compiled = jax.jit(function).lower(*args).compile()
    compile_time = time.perf_counter() - begin
    result = jax.block_until_ready(compiled(*args))
    best = np.inf
    for _ in range(3):
        begin = time.perf_counter()
        jax.block_until_ready(compiled(*args))
        best = min(best, time.perf_counter() - begin)
    memory = compiled.memory_analysis()
    return result, compile_time, best, memory.temp_size_in_bytes / 2**20 if memory else np.nan


def accuracy(shape: tuple[int, int], rough: bool) -> None:
    """Degenerate mobility, Ω = 3, κ = 8, to t = 200 in 4 frames, as PHYSICS tables use."""
    grid = Grid(shape, 1.0)
    model = CahnHilliard(
        RegularSolution(jnp.asarray(3.0)), DegenerateMobility(jnp.asarray(1.0)), jnp.asarray(8.0)
    )
    noise = jax.random.normal(jax.random.key(0), shape)
    wave = jnp.cos(2 * jnp.pi * jnp.arange(shape[0]) / shape[0])
    smooth = 0.05 * (wave[:, None] * wave[None, ::2].repeat(2, axis=1) + wave[None, :] ** 3)
    c0 = 0.5 + (0.01 * noise if rough else smooth)
    times = np.linspace(0, 200, 5)

    def solve(stepper: Any, substeps: int, ramp: int) -> Callable[..., Any]:
        def run(model: CahnHilliard, c0: jax.Array) -> jax.Array:
            return simulate(model, grid, c0, times, substeps=substeps, stepper=stepper, ramp=ramp)[
                -1
            ]

        return run

    exact = measure(solve("etdrk4", 1000, 16), model, c0)[0]
    print(f"\nerror against steps, {shape}, float64, {'white-noise' if rough else 'smooth'} start")
    print(f"{'scheme':28s} {'steps':>6s} {'error':>9s} {'compile s':>10s} {'run s':>8s}")
    dt_stages = {n: stages_for(model, grid, exact, 50 / n) for n in (25, 100)}
    schemes: list[tuple[str, Any, int, list[int]]] = [
        ("first-order semi-implicit", SemiImplicit(), 0, [250, 1000, 4000]),
        ("etdrk4", "etdrk4", 0, [12, 25, 50]),
        ("rosenbrock", "rosenbrock", 0, [12, 25, 50]),
        *((f"rkc2, {s} stages", RKC2(s), 0, [n]) for n, s in dt_stages.items()),
    ]
    if rough:
        schemes += [("etdrk4, ramp 8", "etdrk4", 8, [12, 25, 50])]
        schemes += [("rosenbrock, ramp 8", "rosenbrock", 8, [25, 50])]
    for name, stepper, ramp, counts in schemes:
        for n in counts:
            last, compile_time, run, _ = measure(solve(stepper, n, ramp), model, c0)
            error = float(jnp.linalg.norm(last - exact) / jnp.linalg.norm(exact))
            print(f"{name:28s} {4 * n + ramp:6d} {error:9.1e} {compile_time:10.1f} {run:8.3f}")


def gradients(stepper: str, dtype: str, boundary: str) -> None:
    """128 x 128, 200 steps in 20 frames, twelve law parameters."""
    grid = Grid((128, 128), 1.0, boundary)  # type: ignore[arg-type]
    c0 = (0.5 + 0.01 * jax.random.normal(jax.random.key(0), grid.shape)).astype(dtype)
    theta = jnp.asarray(
        [-3, 0.05, 0.05, 0.02, 0.01, -1.5, 0.1, 0.05, 0.05, 0.02, 0.01, np.log(8)], dtype
    )
    times = np.linspace(0, 100, 21)

    def solve(theta: jax.Array, c0: jax.Array) -> jax.Array:
        enthalpy = LegendreEnthalpy(jnp.concatenate([jnp.zeros_like(theta[:1]), theta[:5]]))
        model = CahnHilliard(enthalpy, LegendreMobility(theta[5:11]), jnp.exp(theta[11]))
        return simulate(model, grid, c0, times, substeps=10, stepper=stepper)

    def loss(theta: jax.Array, c0: jax.Array) -> jax.Array:
        return jnp.mean(solve(theta, c0) ** 2)

    def tangent(theta: jax.Array, c0: jax.Array) -> Any:
        return jax.jvp(lambda q: solve(q, c0), (theta,), (jnp.ones_like(theta),))

    def jacobian(theta: jax.Array, c0: jax.Array) -> Any:
        def push(v: jax.Array) -> Any:
            return jax.jvp(lambda q: solve(q, c0), (theta,), (v,))

        # The value does not depend on the tangent, so it is computed once.
        return jax.vmap(push, out_axes=(None, 0))(jnp.eye(theta.size, dtype=theta.dtype))

    print(f"\n{stepper}, {boundary}, {dtype}, 128 x 128, 200 steps")
    print(f"{'':34s} {'compile s':>9s} {'run s':>8s} {'ratio':>6s} {'temp MiB':>9s}")
    base = None
    for name, function in (
        ("forward solve", solve),
        ("one tangent (jvp)", tangent),
        ("Jacobian, 12 parameters", jacobian),
        ("reverse, parameters and field", jax.grad(loss, argnums=(0, 1))),
    ):
        _, compile_time, run, memory = measure(function, theta, c0)
        base = run if base is None else base
        print(f"{name:34s} {compile_time:9.1f} {run:8.3f} {run / base:6.1f} {memory:9.1f}")


def step_cost(n: int, dtype: str, rounds: int = 15, steps: int = 40) -> None:
    """A step of Cahn-Hilliard over its transforms alone, n x n, periodic: median of the rounds."""
    grid = Grid((n, n), 1.0)
    c0 = (0.5 + 0.01 * jax.random.normal(jax.random.key(0), grid.shape)).astype(dtype)
    mobilities = {"D = 1": ConstantMobility(1.0), "D = c(1-c)": DegenerateMobility(1.0)}
    forward, inverse = transforms(grid)

    def transforms_alone(c: jax.Array) -> jax.Array:
        def step(c: jax.Array, _: None) -> tuple[jax.Array, None]:
            for _ in range(4):
                c = inverse(forward(c))
            # The ninth, used a little lest it be dropped.
            return c + 1e-12 * jnp.real(forward(c))[0, 0], None

        return jax.lax.scan(step, c, None, length=steps)[0]

    programs = {"nine transforms": jax.jit(transforms_alone)}
    models: dict[str, Law] = {"rhs = -c": Decay()}
    for name, mobility in mobilities.items():
        models[name] = CahnHilliard(RegularSolution(3.0), mobility, jnp.asarray(8.0))
    times = np.array([0, 0.5 * steps])
    reference = reference_mobility(models["D = 1"], grid, c0)
    for name, model in models.items():
        programs[name] = jax.jit(
            lambda c, model=model: simulate(
                model, grid, c, times, substeps=steps, reference=reference
            )[-1]
        )
    clocks = np.zeros((rounds + 1, len(programs), 2))
    for turn in range(rounds + 1):
        for i, program in enumerate(programs.values()):
            begin = time.perf_counter(), time.process_time()
            jax.block_until_ready(program(c0))
            clocks[turn, i] = time.perf_counter() - begin[0], time.process_time() - begin[1]
    ratios = np.median(clocks[1:] / clocks[1:, :1], axis=0)
    best = clocks[1:, :, 0].min(axis=0) / steps
    for name, seconds, (ratio, cpu) in zip(programs, best, ratios, strict=True):
        print(
            f"{n:4d} x {n:<4d} {dtype} {name:16s} {1e3 * seconds:8.3f} ms  {ratio:5.2f}  cpu {cpu:5.2f}"
        )


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--only", choices=("step",), help="one of the tables")
    only = parser.parse_args().only
    jax.config.update("jax_enable_x64", True)
    print(machine())
    print("\na step, and its ratio to its transforms: by the clock, by processor time")
    for n in (128, 256):
        for dtype in ("float32", "float64"):
            step_cost(n, dtype)
    if only:
        return
    accuracy((64, 64), rough=False)
    accuracy((64, 64), rough=True)
    gradients("etdrk4", "float32", "periodic")
    gradients("etdrk4", "float64", "periodic")
    gradients("rosenbrock", "float32", "periodic")
    gradients("etdrk4", "float32", "no-flux")


if __name__ == "__main__":
    main()

"""Cost of derivatives, batches and size as ratios to one forward solve.

    python benchmarks/physics_gradients.py [--only gradients] [--plot cost.png]

Every table times its rows in turn, each as often as fills the time of the dearest, and takes the median of the
rounds' ratios: they hold on a busy machine where seconds do not. "cpu" is the ratio of processor time, which two
threads do not shorten and waiting does not lengthen. Fields of memory are temporary bytes over those of one field.

    reverse   gradient of 500 steps by `simulate`, stored or recomputed, of a loss on 20 frames or on the last;
              aim: 5 forward solves, 3 √steps fields
    forward   Jacobian for 11 parameters with its tangents batched; aim: 12 forward solves
    batch     32 laws or seeds by `simulate_many`, and in one vmap; aim: below 32 solves, without compiling again
    size      one step from 64² to 1024²; aim: as N log N
    steps     one solve of 50 to 800 steps; aim: linear
"""

import argparse
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from phdenoise.grid import Grid
from phdenoise.physics import simulate
from phdenoise.physics.batched import simulate_many
from phdenoise.physics.equations.cahn_hilliard import CahnHilliard
from phdenoise.physics.free_energies.regular_solution import LegendreEnthalpy
from phdenoise.physics.mobility import LegendreMobility

Row = tuple[str, Callable[..., Any], tuple[Any, ...]]
THETA = [-3, 0.05, 0.05, 0.02, -1.5, 0.1, 0.05, 0.05, 0.02, 0.01, np.log(8)]


def law(theta: jax.Array) -> CahnHilliard:
    """Eleven parameters: p₁ … p₄, q₀ … q₅, ln κ."""
    enthalpy = LegendreEnthalpy(jnp.concatenate([jnp.zeros_like(theta[:1]), theta[:4]]))
    return CahnHilliard(enthalpy, LegendreMobility(theta[4:10]), jnp.exp(theta[10]))


def solver(grid: Grid, steps: int, frames: int, **options: Any) -> Callable[..., jax.Array]:
    """θ, c₀ -> the last field, dt = ½."""
    times = np.linspace(0, 0.5 * steps, frames + 1)

    def solve(theta: jax.Array, c0: jax.Array) -> jax.Array:
        return simulate(law(theta), grid, c0, times, substeps=steps // frames, **options)[-1]

    return solve


def table(title: str, rows: list[Row], rounds: int, cells: int) -> list[dict[str, Any]]:
    """Compile all, then time them in turn; print and return one row each."""
    compiled, out = [], []
    for name, function, arguments in rows:
        begin = time.perf_counter()
        program = jax.jit(function).lower(*arguments).compile()
        seconds = time.perf_counter() - begin
        memory = program.memory_analysis()
        fields = memory.temp_size_in_bytes / (cells * 4) if memory else np.nan
        compiled.append((program, arguments))
        out.append({"table": title, "name": name, "compile_s": seconds, "fields": fields})
        jax.block_until_ready(program(*arguments))
    clocks = np.zeros((rounds + 1, len(rows), 2))
    often = np.ones(len(rows), int)
    for turn in range(rounds + 1):
        for i, (program, arguments) in enumerate(compiled):
            begin = time.perf_counter(), time.process_time()
            for _ in range(often[i]):
                jax.block_until_ready(program(*arguments))
            spent = time.perf_counter() - begin[0], time.process_time() - begin[1]
            clocks[turn, i] = np.array(spent) / often[i]
        if turn == 0:
            often = np.clip(np.round(clocks[0, :, 0].max() / clocks[0, :, 0]), 1, 64).astype(int)
    clocks = clocks[1:]
    ratios = np.median(clocks / clocks[:, :1], axis=0)
    best = clocks[..., 0].min(axis=0)
    print(
        f"\n{title}\n{'':44s} {'compile s':>9s} {'run s':>9s} {'ratio':>7s} {'cpu':>7s} {'fields':>7s}"
    )
    for row, seconds, (ratio, cpu) in zip(out, best, ratios, strict=True):
        row |= {"run_s": seconds, "ratio": ratio, "cpu": cpu}
        print(
            f"{row['name']:44s} {row['compile_s']:9.1f} {seconds:9.4f} {ratio:7.2f} {cpu:7.2f} "
            f"{row['fields']:7.0f}",
            flush=True,
        )
    return out


def gradients(n: int, steps: int, rounds: int, stepper: str) -> list[dict[str, Any]]:
    """Reverse and forward mode against the forward solve."""
    grid, theta, c0 = problem(n)
    frames = 20

    def reverse(**options: Any) -> Callable[..., Any]:
        options = {"frames": frames, "stepper": stepper} | options
        solve = solver(grid, steps, **options)
        return jax.grad(lambda theta, c0: jnp.mean(solve(theta, c0) ** 2), argnums=(0, 1))

    solve = solver(grid, steps, frames, stepper=stepper)

    def jacobian(theta: jax.Array, c0: jax.Array) -> Any:
        def push(v: jax.Array) -> Any:
            return jax.jvp(lambda q: solve(q, c0), (theta,), (v,))

        # The value does not depend on the tangent, so it is computed once.
        return jax.vmap(push, out_axes=(None, 0))(jnp.eye(theta.size, dtype=theta.dtype))

    rows: list[Row] = [
        ("forward solve", solve, (theta, c0)),
        ("reverse, a field per step", reverse(checkpoint=True), (theta, c0)),
        ("reverse, nested, 20 frames", reverse(checkpoint="nested"), (theta, c0)),
        (
            "reverse, nested, the last field alone",
            reverse(checkpoint="nested", frames=1),
            (theta, c0),
        ),
        ("Jacobian, 11 parameters", jacobian, (theta, c0)),
    ]
    title = f"derivatives, {stepper}, {n} x {n}, {steps} steps, float32 (3 √steps = {3 * steps**0.5:.0f})"
    return table(title, rows, rounds, n * n)


def batch(n: int, steps: int, rounds: int) -> list[dict[str, Any]]:
    """32 laws at once."""
    grid, theta, c0 = problem(n)
    laws = theta + 0.02 * jax.random.normal(jax.random.key(1), (32, theta.size), theta.dtype)
    solve = solver(grid, steps, 2)
    seeds = c0 + 0.01 * jax.random.normal(jax.random.key(2), (32, n, n), c0.dtype)
    times = np.linspace(0, 0.5 * steps, 3)
    traced = []

    def together(laws: jax.Array, c0: jax.Array) -> jax.Array:
        traced.append(laws.shape)
        models = jax.vmap(law)(laws)
        return simulate_many(models, grid, c0, times, over="laws", substeps=steps // 2)[:, -1]

    def starts(theta: jax.Array, seeds: jax.Array) -> jax.Array:
        model = law(theta)
        return simulate_many(model, grid, seeds, times, over="fields", substeps=steps // 2)[:, -1]

    rows: list[Row] = [
        ("one law", solve, (theta, c0)),
        ("32 laws, simulate_many", together, (laws, c0)),
        ("32 seeds, simulate_many", starts, (theta, seeds)),
        ("32 laws, vmap", jax.vmap(solve, (0, None)), (laws, c0)),
    ]
    out = table(f"batch, {n} x {n}, {steps} steps", rows, rounds, n * n)
    again = jax.jit(together)
    before = len(traced)
    for shift in (0.0, 0.01, 0.02):
        jax.block_until_ready(again(laws + shift, c0))
    print(f"traced {len(traced) - before} time(s) for three sets of 32 laws")
    return out


def scaling(sizes: list[int], rounds: int) -> list[dict[str, Any]]:
    """Cost of a step against N log N, and of a solve against its steps."""
    rows: list[Row] = []
    for n in sizes:
        grid, theta, c0 = problem(n)
        rows.append((f"{n} x {n}, 4 steps", solver(grid, 4, 2), (theta, c0)))
    out = table("size", rows, rounds, sizes[0] ** 2)
    work = np.array([n * n * np.log2(n * n) for n in sizes])
    cost = np.array([row["ratio"] for row in out])
    for n, row, w in zip(sizes, out, work, strict=True):
        row |= {"size": n, "relative": row["ratio"] / (w / work[0])}
        print(f"{n:5d}²  measured/N log N, of the smallest: {row['relative']:.2f}")
    between = np.diff(np.log(cost)) / np.diff(np.log(work))
    print(
        f"exponent of the cost in N log N: {np.polyfit(np.log(work), np.log(cost), 1)[0]:.2f} over all;",
        *(f"{n}²-{m}² {p:.2f}" for n, m, p in zip(sizes, sizes[1:], between, strict=False)),
    )
    grid, theta, c0 = problem(sizes[0])
    counts = [50, 100, 200, 400, 800]
    steps = table(
        "steps",
        [(f"{k} steps", solver(grid, k, 2), (theta, c0)) for k in counts],
        rounds,
        sizes[0] ** 2,
    )
    for k, row in zip(counts, steps, strict=True):
        row |= {"steps": k}
    slope = np.polyfit(np.log(counts), np.log([row["ratio"] for row in steps]), 1)[0]
    print(f"exponent of the cost in steps: {slope:.2f}")
    return out + steps


def problem(n: int) -> tuple[Grid, jax.Array, jax.Array]:
    """Periodic n x n, float32, from white noise."""
    c0 = 0.5 + 0.01 * jax.random.normal(jax.random.key(0), (n, n), jnp.float32)
    return Grid((n, n), 1.0), jnp.asarray(THETA, jnp.float32), c0


def draw(rows: list[dict[str, Any]], path: Path) -> None:
    """Cost against size over N log N, and against steps over a line."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt
    from matplotlib.ticker import NullLocator

    figure, axes = plt.subplots(1, 2, figsize=(8, 3.4), layout="constrained")
    sizes = [r for r in rows if "size" in r]
    steps = [r for r in rows if "steps" in r]
    cells = np.array([r["size"] ** 2 for r in sizes], float)
    # The medians of the rounds' ratios, in seconds by the fastest run of the first row.
    seconds = np.array([r["ratio"] for r in sizes]) * sizes[0]["run_s"] / 4
    model = cells * np.log(cells)
    axes[0].loglog(cells, 1e3 * seconds, "o-", label="measured")
    axes[0].loglog(
        cells, 1e3 * seconds[0] * model / model[0], "--", label="N log N from the smallest"
    )
    axes[0].set(xlabel="cells N", ylabel="time of a step [ms]")
    counts = np.array([r["steps"] for r in steps], float)
    seconds = np.array([r["ratio"] for r in steps]) * steps[0]["run_s"]
    axes[1].loglog(counts, 1e3 * seconds, "o-", label="measured")
    axes[1].loglog(counts, 1e3 * seconds[-1] * counts / counts[-1], "--", label="linear")
    axes[1].set(
        xlabel=f"steps on {sizes[0]['size']} x {sizes[0]['size']}", ylabel="time of a solve [ms]"
    )
    axes[1].set_xticks(counts, [f"{n:.0f}" for n in counts])
    axes[1].xaxis.set_minor_locator(NullLocator())
    for axis in axes:
        axis.legend()
    figure.savefig(path, dpi=150)
    print(f"plot: {path}")


def main() -> None:
    """Print the tables; --quick is a tenth of the work."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--size", type=int, default=128, help="cells along an edge")
    parser.add_argument("--steps", type=int, default=500, help="steps of the gradients")
    parser.add_argument("--rounds", type=int, default=3, help="timings of a row; the least counts")
    parser.add_argument("--sizes", type=int, nargs="+", default=[64, 128, 256, 512, 1024])
    parser.add_argument(
        "--only", choices=("gradients", "batch", "scaling"), help="one of the tables"
    )
    parser.add_argument("--stepper", default="etdrk4", choices=("etdrk4", "rosenbrock"))
    parser.add_argument("--plot", type=Path, help="PNG of the cost against size and steps")
    options = parser.parse_args()
    print(f"jax {jax.__version__}, {jax.devices()[0]}")
    rows: list[dict[str, Any]] = []
    if options.only in (None, "gradients"):
        gradients(options.size, options.steps, options.rounds, options.stepper)
    if options.only in (None, "batch"):
        batch(min(options.size, 64), options.steps // 5, options.rounds)
    if options.only in (None, "scaling"):
        rows = scaling(options.sizes, options.rounds)
        if options.plot:
            draw(rows, options.plot)


if __name__ == "__main__":
    main()

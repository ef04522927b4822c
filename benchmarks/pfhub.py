"""PFHub phase-field benchmark 1, spinodal decomposition, against the curves others uploaded.

    ∂c/∂t = ∇·( M ∇[ df/dc − κ∇²c ] ),   f = ρ (c − c_a)² (c_b − c)²
    1a periodic square, 1b closed square, 1c closed T;   F(t) = ∫ f + ½κ|∇c|²

    python benchmarks/pfhub.py run 1a --h 1 --rtol 1e-5 --seconds 90      (again, until it says done)
    python benchmarks/pfhub.py run 7a                              (`pfhub_seven.py`)
    python benchmarks/pfhub.py report --curves FOLDER

Each setting has its own table out/pfhub/1a_h1_rtol1e-05.csv, one row per output time, and the field
it stopped at; `run` continues from there. A tolerance eight times smaller halves the steps. The
report says at every tabulated time whether F lies within the spread of the uploads, and what
halving h or the steps changes. Jokisaari et al., Comput. Mater. Sci. 126, 139 (2017),
doi:10.1016/j.commatsci.2016.09.022; https://pages.nist.gov/pfhub.
"""

import argparse
import os
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from pfhub_table import COLUMNS, TABULATED, read, write

from phdenoise.grid import Grid
from phdenoise.physics.adaptive import integrate
from phdenoise.physics.equations.cahn_hilliard import CahnHilliard
from phdenoise.physics.free_energies.regular_solution import DoubleWell
from phdenoise.physics.mobility import ConstantMobility

BOX = {
    "1a": ("periodic", 200.0, 200.0),
    "1b": ("no-flux", 200.0, 200.0),
    "1c": ("no-flux", 120.0, 100.0),
}
TIMES = np.unique(np.round(np.concatenate([[0], np.geomspace(0.5, 1e4, 87), TABULATED]), 3))


def problem(name: str, h: float) -> tuple[CahnHilliard, Grid, jax.Array]:
    """Model, grid and initial field as the benchmark specifies them."""
    boundary, height, width = BOX[name]
    shape = round(height / h), round(width / h)
    y, x = np.meshgrid(*((np.arange(n) + 0.5) * h for n in shape), indexing="ij")
    mask = None
    if name == "1c":
        # A stem 20 wide and 100 high under a bar 100 wide; the stem's lower left is the origin.
        mask = (y > 100) | ((x > 40) & (x < 60))
        x = x - 40
    c0 = 0.5 + 0.01 * (
        np.cos(0.105 * x) * np.cos(0.11 * y)
        + (np.cos(0.13 * x) * np.cos(0.087 * y)) ** 2
        + np.cos(0.025 * x - 0.15 * y) * np.cos(0.07 * x - 0.02 * y)
    )
    well = DoubleWell(jnp.asarray(5.0), jnp.asarray(0.3), jnp.asarray(0.7))
    model = CahnHilliard(well, ConstantMobility(jnp.asarray(5.0)), jnp.asarray(2.0))
    return model, Grid(shape, h, boundary, mask), jnp.asarray(c0)


def run(name: str, h: float, rtol: float, seconds: float, out: Path) -> None:
    """Continue one setting for about so many seconds."""
    model, grid, c = problem(name, h)
    stem = out / f"{name}_h{h:g}_rtol{rtol:g}"
    table, field = stem.with_name(stem.name + ".csv"), stem.with_name(stem.name + ".npz")
    rows, dt = read(table) if table.exists() else [], 1e-3
    if rows:
        with np.load(field) as saved:
            if not np.isclose(saved["time"], rows[-1]["time"]):
                raise SystemExit(f"{field} is not of the last row of {table}: remove both.")
            c, dt = jnp.asarray(saved["c"]), float(saved["dt"])
    else:
        rows = [row(0.0, model, grid, c, 0, 0, 0.0)]
    solve = jax.jit(integrate, static_argnames=("rtol", "atol"))
    begin = time.perf_counter()
    for end in TIMES[np.searchsorted(TIMES, rows[-1]["time"], "right") :]:
        if time.perf_counter() - begin > seconds:
            break
        clock = time.perf_counter()
        span = np.array([rows[-1]["time"], end])
        result = solve(model, grid, c, span, rtol=rtol, atol=rtol, first_step=dt)
        result.checked()
        c, dt = result.last, float(result.dt)
        cost = int(result.accepted), int(result.rejected), time.perf_counter() - clock
        rows.append(row(float(end), model, grid, c, *cost))
        write(table, rows)
        np.savez(field, c=np.asarray(c), dt=dt, time=end)
        if end in TABULATED:
            print(*(f"{key} {value:.8g}" for key, value in rows[-1].items()), flush=True)
    print("done" if rows[-1]["time"] >= TIMES[-1] else "to be continued", table)


def row(
    t: float, model: CahnHilliard, grid: Grid, c: jax.Array, steps: int, rejected: int, clock: float
) -> dict[str, float]:
    """One line of the table."""
    energy, mass = float(model.energy(c, grid)), float(model.mass(c, grid))
    return dict(zip(COLUMNS, (t, energy, mass, steps, rejected, clock), strict=True))


def main() -> None:
    """Run or report."""
    jax.config.update("jax_enable_x64", True)
    # Both draw figures, which a run does without.
    import pfhub_curves
    import pfhub_seven

    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("out/pfhub"))
    verbs = parser.add_subparsers(dest="verb", required=True)
    runs = verbs.add_parser("run", help="continue a run")
    runs.add_argument("problem", choices=[*sorted(BOX), *sorted(pfhub_seven.KAPPA)])
    runs.add_argument("--h", type=float, default=1.0, help="spacing in benchmark 1")
    runs.add_argument("--rtol", type=float, default=1e-5, help="tolerance in benchmark 1")
    runs.add_argument("--cells", type=int, nargs="+", default=[64, 128, 256], help="in 7, along x")
    runs.add_argument("--steps", type=int, nargs="+", default=[16, 32, 64, 128], help="in 7")
    runs.add_argument("--seconds", type=float, default=90.0)
    reports = verbs.add_parser("report", help="tables and pictures")
    beside = Path(os.environ.get("PHDENOISE_DATA", "data")).parent / "pfhub"
    reports.add_argument("--curves", type=Path, default=beside if beside.is_dir() else None)
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    if given.verb == "report":
        if given.curves is not None and not given.curves.is_dir():
            raise SystemExit(f"--curves {given.curves} is no folder.")
        pfhub_curves.report(given.out, given.curves)
        pfhub_seven.report(given.out)
    elif given.problem in BOX:
        run(given.problem, given.h, given.rtol, given.seconds, given.out)
    else:
        pfhub_seven.run(given.problem, given.cells, given.steps, given.seconds, given.out)


if __name__ == "__main__":
    main()

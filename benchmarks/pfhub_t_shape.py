"""PFHub benchmark 1c by another integrator, and whether its stripes are at rest: `python benchmarks/pfhub_t_shape.py --h 1`.

    J = M ∇²( diag f″(c) − κ∇² )   on the cells of the T, sparse;   backward differences of order 1 to 5 (scipy BDF)

The spatial operator is that of phdenoise (assembled here a second time from the graph of the cells, and compared
with the model's right-hand side); the steps, their error control and the linear algebra are not. The smallest
eigenvalues of H = f″(c) − κ∇² on the fields without mean tell a minimum of F (all positive) from a saddle.

Found: from the benchmark's own field both integrators come to flat stripes that hardly move, F(1e4) = 7.66 at h = 1
and 7.70 at h = ½, above every upload; H has negative eigenvalues there. With noise of 1e-4 on that field (--tilt)
F = 8.22, 4.74 at t = 1000, 2000, with 1e-3 8.59, 6.07 and 4.74 at 3000: the two ways seen among the uploads. The late
curve of 1c is a choice between paths made by errors as small as that. Steps: Shampine & Reichelt, SIAM J. Sci. Comput.
18, 1 (1997), doi:10.1137/S1064827594276424.
"""

import argparse
import csv
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from pfhub import problem
from pfhub_table import TABULATED
from scipy import sparse
from scipy.integrate import BDF
from scipy.sparse.linalg import LinearOperator, eigsh, splu

from phdenoise.physics.particle import graph_laplacian


def run(h: float, rtol: float, end: float, out: Path, tilt: float = 0.0) -> None:
    """F at the tabulated times and the lowest curvatures of F at the end."""
    model, grid, c0 = problem("1c", h)
    mask = np.asarray(grid.mask)
    laplace = -graph_laplacian(grid)
    m, kappa = float(model.mobility.value), float(model.kappa)
    well = model.free_energy
    chemical = jax.jit(lambda c: well.chemical_potential(c))
    curvature = jax.jit(lambda c: well.curvature(c))

    def rate(_: float, c: np.ndarray) -> np.ndarray:
        return m * (laplace @ (np.asarray(chemical(c)) - kappa * (laplace @ c)))

    def jacobian(_: float, c: np.ndarray) -> sparse.csc_matrix:
        return (m * (laplace @ (sparse.diags(np.asarray(curvature(c))) - kappa * laplace))).tocsc()

    def energy(c: np.ndarray) -> float:
        bulk = np.sum(np.asarray(well.density(jnp.asarray(c))))
        return float((bulk - 0.5 * kappa * c @ (laplace @ c)) * h**2)

    c = np.asarray(c0)[mask]
    if tilt:
        c = c + tilt * np.random.default_rng(0).normal(size=c.size)
    mine = np.asarray(model.rhs(0.0, jnp.where(grid.mask, c0, 0.5), grid))[mask]
    gap = np.abs(mine - rate(0.0, np.asarray(c0)[mask])).max() / np.abs(mine).max()
    print(f"h = {h:g}, {c.size} cells; the two right-hand sides differ by {gap:.1e}", flush=True)
    solver = BDF(rate, 0.0, c, end, rtol=rtol, atol=rtol * 1e-2, jac=jacobian, first_step=1e-4)
    table = out / f"1c_bdf_h{h:g}_rtol{rtol:g}{f'_tilt{tilt:g}' if tilt else ''}.csv"
    rows, clock, wanted = [], time.perf_counter(), [t for t in TABULATED if t <= end]
    while solver.status == "running" and wanted:
        message = solver.step()
        if solver.status == "failed":
            raise SystemExit(f"BDF failed at t = {solver.t:g}: {message}")
        while wanted and solver.t >= wanted[0]:
            t = wanted.pop(0)
            field = solver.dense_output()(t)
            values = t, energy(field), field.sum() * h**2, solver.nfev, time.perf_counter() - clock
            rows.append(values)
            print(*(f"{v:12.6g}" for v in values), flush=True)
            with open(table, "w", newline="") as file:
                writer = csv.writer(file)
                writer.writerow(("time", "free_energy", "mass", "evaluations", "seconds"))
                writer.writerows(rows)
            picture = np.full(mask.shape, np.nan)
            picture[mask] = field
            np.save(table.with_suffix(".npy"), picture)
    field = solver.y
    speed = np.abs(rate(0.0, field)).max()
    print(f"largest |dc/dt| at the end {speed:.1e}")
    print("lowest curvatures of F at equal mass:", lowest(curvature(field), laplace, kappa))


def lowest(curvature: np.ndarray, laplace: sparse.csc_matrix, kappa: float) -> np.ndarray:
    """The three smallest eigenvalues of H on the fields without mean."""
    n = laplace.shape[0]
    hessian = (sparse.diags(np.asarray(curvature)) - kappa * laplace).tocsc()
    floor = -2.0 * max(1.0, -float(np.min(curvature)))
    factors = splu(hessian - floor * sparse.identity(n, format="csc"))
    ones = np.ones(n) / np.sqrt(n)
    through = factors.solve(ones)

    def inverse(v: np.ndarray) -> np.ndarray:
        # (P(H − σ)P)⁻¹ on the fields without mean, by the Schur complement of the constraint.
        x = factors.solve(v - ones * (ones @ v))
        return x - through * (ones @ x) / (ones @ through)

    operator = LinearOperator((n, n), matvec=inverse, dtype=float)
    start = np.cos(1.0 + np.arange(n))
    values = eigsh(operator, k=3, which="LM", v0=start, return_eigenvectors=False)
    return np.sort(floor + 1 / values)


def main() -> None:
    """Run one spacing."""
    jax.config.update("jax_enable_x64", True)
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--h", type=float, default=1.0)
    parser.add_argument("--rtol", type=float, default=1e-6)
    parser.add_argument("--end", type=float, default=1e4)
    parser.add_argument("--tilt", type=float, default=0.0, help="noise on the first field (sd)")
    parser.add_argument("--out", type=Path, default=Path("out/pfhub"))
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    run(given.h, given.rtol, given.end, given.out, given.tilt)


if __name__ == "__main__":
    main()

"""Study: what denoising is worth to the law, on the Cahn-Hilliard twin of arXiv:2510.27667.

    python -m experiments.cahn_hilliard_twin run|collect|figure [--fast]

For each noise (strength, counts, correlation) and seed: simulate; denoise by the classical filter that does best, by UDVD and
by ours; fit the law from the clean, the raw and each denoised movie and jointly. What denoising does to the pattern itself is
measured too: mean concentration, structure factor, width of interfaces, decay of the energy. `run` resumes where it stopped,
`collect` writes a tidy CSV and prints the table, `figure` draws from both.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from experiments.command import command, keep, kept, rms
from phdenoise.denoising import denoise
from phdenoise.denoising.config import DenoiseConfig
from phdenoise.figures.plots import law_curves, save, sweep
from phdenoise.learn import fit
from phdenoise.learn.config import FitConfig
from phdenoise.learn.result import FitResult
from phdenoise.metrics.calibration import coverage
from phdenoise.metrics.fidelity import psnr
from phdenoise.metrics.interface import interface_width
from phdenoise.metrics.resolution import structure_factor
from phdenoise.movie import ERROR_DEGREES_OF_FREEDOM, Movie
from phdenoise.networks.classical import classical
from phdenoise.noise.estimate import estimate_noise
from phdenoise.simulation import SimulateConfig, cahn_hilliard_config, simulate
from phdenoise.study.sweep import apply, chain, param, prod
from phdenoise.types import InputError

# Standard deviations of white noise [lithium fraction].
SIGMAS = (0.03, 0.07, 0.15, 0.3)
# Counts per pixel at c = 1.
DOSES = (10.0, 50.0, 200.0)
CORRELATED = ("line-3", "box-3")
SEEDS = (0, 1, 2)
CLASSICAL = ("gaussian", "nlm", "svd", "bm4d")
MOVIES = ("raw", "classical", "udvd", "ours", "joint")
FITS = (*MOVIES, "clean")
# Columns of the pattern's bias, and how figures call them.
BIASES = {
    "mean_c": "mean concentration, rms error",
    "structure": "structure factor, rms of ln(S / true S)",
    "interface": "interface width / true width",
    "energy": "free energy, rms error / its decay",
}


@dataclass(frozen=True)
class TwinStudy:
    """One run of the study."""

    twin: SimulateConfig = field(default_factory=lambda: SimulateConfig(size=(64, 64), frames=41))
    """The movie."""
    denoise: DenoiseConfig = field(default_factory=lambda: DenoiseConfig(preset="quick"))
    """How to denoise."""
    fit: FitConfig = field(default_factory=FitConfig)
    """How to fit."""
    joint: bool = True
    """Also the joint fit (the slowest part)."""


def run(config: TwinStudy, store: Path) -> dict[str, float]:
    """Errors of the movie, of its pattern and of the law, by the way it was denoised; curves go to `store`.

    Args:
        config: of the run.
        store: folder for its arrays.

    Returns:
        Name -> number, a row of the table.
    """
    movie, clean = simulate("cahn-hilliard", config.twin)
    # Counts at c = 1.
    scale = config.twin.dose or 1.0
    how = replace(config.fit, concentration_range=(0.0, scale))
    ours = denoise(movie, config.denoise)
    movies = {
        "raw": movie,
        "classical": best_classical(movie, clean),
        "udvd": denoise(movie, replace(config.denoise, blind="udvd")).as_movie(),
        "ours": ours.as_movie(),
    }
    fits = {name: fit(shown, config=how) for name, shown in {"clean": clean, **movies}.items()}
    if config.joint:
        together = replace(how, joint=True)
        fits["joint"] = fit(movie, config=together, estimate=ours, start=fits["ours"])
    truth = clean.frames / scale
    first, last = fits["clean"].frames_used
    row = {}
    for name, shown in movies.items():
        frames = shown.frames / scale
        row[f"{name}_psnr"] = float(psnr(frames, truth))
        row |= _named(name, biases(frames[first:last], truth[first:last], config.twin))
    for name, result in fits.items():
        row |= _named(name, errors(result, config.twin))
    row["ours_covered_90"] = float(
        coverage(ours.mean, ours.variance, clean.frames, (0.9,), degrees=ERROR_DEGREES_OF_FREEDOM)[
            0
        ]
    )
    joint = fits.get("joint")
    if joint is not None and joint.trajectory is not None:
        path, own = joint.trajectory.astype(np.float32), truth[slice(*joint.frames_used)]
        row["joint_psnr"] = float(psnr(path, own))
        row |= _named("joint", biases(path, own, config.twin))
    keep(store, config, {f"{n}_{k}": v for n, f in fits.items() for k, v in f.curves.items()})
    return row


def best_classical(movie: Movie, clean: Movie) -> Movie:
    """The movie as the classical filter leaves it that comes nearest to the truth, of those installed.

    Args:
        movie: noisy movie.
        clean: the truth.

    Returns:
        The movie, denoised by the filter with the least error.
    """
    found = estimate_noise(movie.frames, movie.valid())
    rho = None if found.blind == "pixel" else found.significant_autocorrelation()
    results = []
    for name in CLASSICAL:
        try:
            mean = classical(name, movie.frames, movie.valid(), found.model, rho).mean  # type: ignore[arg-type]
        except InputError:  # an optional package
            continue
        results.append(np.asarray(mean, np.float32))
    best = min(results, key=lambda mean: rms(mean - clean.frames))
    return movie.with_frames(best, noise=None, name=f"{movie.name} filtered")


def biases(frames: np.ndarray, truth: np.ndarray, twin: SimulateConfig) -> dict[str, float]:
    """What is wrong with a pattern [t, y, x], whatever its pixels: `BIASES`.

    Args:
        frames: pattern [t, y, x].
        truth: true pattern [t, y, x].
        twin: that was simulated.

    Returns:
        Name of the bias -> relative error.
    """
    known = cahn_hilliard_config(twin)
    spacing, model, grid = known.pixel_size, known.model, known.grid
    own, true = (structure_factor(a, spacing).power.mean(axis=0) for a in (frames, truth))
    # The fewest rings that hold all but a thousandth of the pattern.
    held = true * np.arange(1, true.size + 1)
    seen = np.cumsum(held) - held < 0.999 * held.sum()
    narrow, exact = (np.asarray(interface_width(a, spacing)) for a in (frames, truth))
    energy = jax.jit(jax.vmap(lambda c: model.energy(c, grid)))
    above, least = (np.asarray(energy(jnp.asarray(a, jnp.float32))) for a in (frames, truth))
    return {
        "mean_c": rms(frames.mean(axis=(1, 2)) - truth.mean(axis=(1, 2))),
        "structure": rms(np.log(np.asarray(own / true))[seen]),
        "interface": float(np.nanmedian(narrow / exact)),
        "energy": rms(above - least) / float(least[0] - least[-1]),
    }


def errors(result: FitResult, twin: SimulateConfig) -> dict[str, float]:
    """rms errors of a fitted law against the twin's, and how its intervals do.

    Args:
        result: fitted law.
        twin: that was simulated.

    Returns:
        Name -> number; none where nothing moved, so that no law was fitted.
    """
    curves = result.curves
    if not curves:
        return {}
    c = curves["c"]
    mu, d = cahn_hilliard_config(twin).curves(c)
    assert result.kappa is not None
    inside = (curves["mu_h_low"] <= mu) & (mu <= curves["mu_h_high"])
    inside_d = (curves["D_low"] <= d) & (d <= curves["D_high"])
    return {
        "mu_h_rms": rms(curves["mu_h"] - mu),
        "mu_h_band": float(np.median(curves["mu_h_high"] - curves["mu_h_low"])),
        "D_relative_rms": rms(curves["D"] / d - 1),
        "D_relative_band": float(np.median((curves["D_high"] - curves["D_low"]) / d)),
        "kappa_relative": abs(result.kappa.value / twin.kappa - 1),
        "mu_h_covered_90": float(np.mean(inside)),
        "D_covered_90": float(np.mean(inside_d)),
    }


def configs(fast: bool) -> list[TwinStudy]:
    """The sweep: noise and seed; --fast is two strengths and one correlation, one seed, a small movie, no joint fit."""
    white = param("twin.sigma", (0.07, 0.15) if fast else SIGMAS)
    correlated = prod(param("twin.sigma", (0.15,)), param("twin.correlation", CORRELATED[fast:]))
    if fast:
        base = TwinStudy(
            twin=SimulateConfig(size=(32, 32), frames=24),
            denoise=DenoiseConfig(preset="quick", steps=60, width=16),
            fit=FitConfig(iterations=4, mobility_degree=2, enthalpy_degree=3, substeps=4),
            joint=False,
        )
        return apply(base, chain(white, correlated))
    # One seed of every noise comes first.
    seeds = [{"twin.seed": s, "denoise.seed": s, "fit.seed": s} for s in SEEDS]
    return apply(TwinStudy(), prod(seeds, chain(white, param("twin.dose", DOSES), correlated)))


def draw(rows: list[dict[str, str]], folder: Path, every: object) -> None:
    """Errors, bands and biases against noise, and one run's recovered curves.

    Args:
        rows: of the finished runs.
        folder: for the figures.
        every: the sweep.
    """
    assert isinstance(every, list | tuple)
    white = [r for r in rows if noise_of(r)[0] == "sigma"]
    counts = [r for r in rows if noise_of(r)[0] == "dose"]
    for some, x, label, ending in (
        (white, "twin.sigma", "noise sd [lithium fraction]", ""),
        (counts, "twin.dose", "counts at c = 1", "_counts"),
    ):
        if not some:
            continue
        for column, y_label, log in (
            ("mu_h_rms", "rms error of mu_h [kT]", True),
            ("mu_h_band", "90 % band of mu_h [kT]", True),
            ("D_relative_rms", "relative rms error of D", True),
            ("D_relative_band", "90 % band of D / D", True),
            ("psnr", "PSNR [dB]", False),
            *((k, v, k != "interface") for k, v in BIASES.items()),
        ):
            ys = {k: f"{k}_{column}" for k in FITS if f"{k}_{column}" in some[0]}
            figure = sweep(some, x=x, ys=ys, x_label=label, y_label=y_label, log_y=log)
            save(figure, folder / f"{column}{ending}.png")
    # In the middle of the noises.
    config = next(c for c in every if c.twin.sigma == 0.15)
    known = kept(folder, config)
    fits = {
        n: {k.removeprefix(f"{n}_"): v for k, v in known.items() if k.startswith(f"{n}_")}
        for n in MOVIES
        if f"{n}_c" in known
    }
    c = np.linspace(0.02, 0.98, 193)
    mu, d = cahn_hilliard_config(config.twin).curves(c)
    truth = {"c": c, "mu_h": mu, "D": d}
    save(law_curves(fits, diffusivity_unit="l²/t", truth=truth), folder / "curves.png")


def tell(rows: list[dict[str, str]], _: Path, __: object) -> None:
    """The table of the README: medians over the seeds.

    Args:
        rows: of the finished runs.
        _: not used.
        __: not used.
    """
    shown = [n for n in MOVIES if f"{n}_mu_h_rms" in rows[0]]
    print("| noise | " + " | ".join(shown) + " |")
    print("|---" * (len(shown) + 1) + "|")
    for noise in dict.fromkeys(noise_of(r) for r in rows):
        same = [r for r in rows if noise_of(r) == noise]
        cells = []
        for n in shown:
            values = (
                np.median([float(r[f"{n}_{k}"]) for r in same if r.get(f"{n}_{k}")])
                for k in ("psnr", "mu_h_rms", "D_relative_rms")
            )
            level, mu, d = values
            cells.append(f"{level:.1f} dB, {mu:.2g} kT, {100 * d:.0f} %")
        print(f"| {' '.join(noise)} | " + " | ".join(cells) + " |")


def noise_of(row: Mapping[str, str]) -> tuple[str, str]:
    """Kind and strength of a run's noise."""
    if row["twin.dose"] not in ("", "None"):
        return "dose", row["twin.dose"]
    kind = row["twin.correlation"]
    return ("sigma" if kind == "white" else kind), row["twin.sigma"]


def _named(name: str, values: Mapping[str, float]) -> dict[str, float]:
    return {f"{name}_{k}": v for k, v in values.items()}


if __name__ == "__main__":
    command("cahn_hilliard_twin", run, configs, draw, tell=tell, keeps=True)

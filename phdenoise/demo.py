"""`phdenoise demo`: the whole chain on a twin whose law is known, or on a movie of yours, with a report.

Written to the output folder: results.h5 (denoised movie, variance, weights, settings), FIT_*.json, PNG figures,
report.html, numbers.csv (every number with its uncertainty) and provenance.json. The folder appears when
everything in it is complete.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from phdenoise import figures, selfcheck
from phdenoise.grid import Grid
from phdenoise.io import atomic_directory, write, write_json
from phdenoise.io.tables import write_table
from phdenoise.learn import FitConfig, FitResult, LawSpace, ModelName
from phdenoise.movie import Estimate, Movie
from phdenoise.physics.twins import TwinConfig
from phdenoise.pipeline import Chain, ChainConfig, SimulateConfig, analyse, simulate
from phdenoise.training import DenoiseConfig
from phdenoise.types import Progress

REPORT = "report.html"
_NAMES = {
    "noisy": "Law from the noisy movie",
    "denoised": "Law from the denoised movie",
    "joint": "Law, field and denoiser together",
}


def _twin() -> SimulateConfig:
    return SimulateConfig(size=(64, 64), frames=101, sigma=0.15)


def _law() -> FitConfig:
    return FitConfig(max_side=64, iterations=12, field_waves=12, precision="float32")


@dataclass(frozen=True)
class DemoConfig:
    """What the demonstration runs on."""

    movie: str | None = None
    """A movie of yours instead of the twin; FILE::/dataset or FILE.npz::key picks one."""
    model: ModelName = "cahn-hilliard"
    """Law to fit: cahn-hilliard or fickian."""
    twin: SimulateConfig = field(default_factory=_twin)
    """The simulated movie."""
    denoise: DenoiseConfig = field(default_factory=lambda: DenoiseConfig(preset="quick"))
    """How to denoise."""
    fit: FitConfig = field(default_factory=_law)
    """How to fit."""


class DemoReport(NamedTuple):
    """Name of the report in the output folder, and its main sentences."""

    name: str
    sentences: tuple[str, ...]


def run_demo(
    output: str | Path,
    config: DemoConfig,
    movie: Movie | None = None,
    *,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> DemoReport:
    """Run the chain and write its folder.

    Args:
        output: folder to make.
        config: see `DemoConfig`.
        movie: the movie that `config.movie` names, already read; None simulates the twin.
        overwrite: replace an existing folder.
        progress: called with (stage, step, steps, value).
    """
    clean = None
    if movie is None:
        movie, clean = simulate(config.model, config.twin)
    chain = analyse(
        movie,
        ChainConfig(config.model, config.denoise, config.fit),
        clean=clean,
        progress=progress,
    )
    truth = _true_curves(movie, chain)
    rows = numbers(chain, truth)
    sentences = _sentences(chain, rows)
    drawn = _figures(chain, clean, truth)
    with atomic_directory(output, overwrite=overwrite) as folder:
        folder = Path(folder)
        write(chain.estimate, folder / "results.h5")
        if clean is not None:
            write(clean, folder / "truth.h5")
        for name, result in chain.fits.items():
            write_json(result.to_dict(), folder / f"FIT_{name}.json")
            if result.trajectory is not None:
                write(_trajectory(movie, result), folder / f"trajectory_{name}.h5")
        for name, (figure, _) in drawn.items():
            figures.save(figure, folder / f"{name}.png")
        write_table(folder / "numbers.csv", rows)
        write_json(_provenance(config, movie), folder / "provenance.json")
        sections = _sections(chain, rows, sentences, drawn, progress)
        (folder / REPORT).write_text(
            figures.report_html(f"phdenoise: {movie.name}", sections), encoding="utf-8"
        )
    return DemoReport(REPORT, tuple(sentences))


def numbers(chain: Chain, truth: Mapping[str, np.ndarray] | None = None) -> list[dict[str, Any]]:
    """Every number of a chain as rows: group, name, value, sd, unit."""
    rows: list[dict[str, Any]] = []

    def add(group: str, name: str, value: float, sd: float = float("nan"), unit: str = "") -> None:
        rows.append({"group": group, "name": name, "value": value, "sd": sd, "unit": unit})

    noise = chain.estimate.noise
    for name in (n for n in ("sigma", "gain", "offset", "read_sigma") if hasattr(noise, n)):
        add("noise", name, float(getattr(noise, name)))
    for name, value in chain.quality.items():
        add("denoise", name, value, unit="dB" if name.startswith("psnr") else "")
    upsnr, whiteness = chain.estimate.trust["upsnr"], chain.estimate.trust["whiteness"]
    add("denoise", "upsnr", upsnr["psnr"], upsnr["sd"], "dB")
    add("denoise", "residual_whiteness_z", whiteness["z"])
    add("denoise", "residual_largest_correlation", whiteness["correlation"])
    for label, result in chain.fits.items():
        for p in result.parameters:
            add(f"fit {label}", p.name, p.value, p.sd, p.unit)
        for name, value in result.statistics.items():
            add(f"fit {label}", name, value)
        for name, value in _errors(result, truth).items():
            add(f"fit {label}", name, value)
    return rows


def _errors(result: FitResult, truth: Mapping[str, np.ndarray] | None) -> dict[str, float]:
    """rms error of the curves against the truth: μ_h in kT and D relative."""
    if truth is None:
        return {}
    c = result.curves["c"]
    mu = np.interp(c, truth["c"], truth["mu_h"])
    d = np.interp(c, truth["c"], truth["D"])
    return {
        "mu_h_rms_error_kT": float(np.sqrt(np.mean((result.curves["mu_h"] - mu) ** 2))),
        "D_relative_rms_error": float(np.sqrt(np.mean((result.curves["D"] / d - 1) ** 2))),
    }


def _true_curves(movie: Movie, chain: Chain) -> dict[str, np.ndarray] | None:
    """Curves of the law a twin was simulated with, over the range the fits cover."""
    simulated = movie.provenance.get("simulated")
    if not simulated or not chain.fits:
        return None
    spans = [r.curves["c"] for r in chain.fits.values()]
    c = np.linspace(min(s[0] for s in spans), max(s[-1] for s in spans), 401)
    twin = simulated["twin"]
    if simulated["model"] == "fickian":
        log_d = np.polynomial.legendre.legval(2 * c - 1, twin["log_diffusivity"])
        return {"c": c, "mu_h": np.zeros_like(c), "D": np.exp(log_d)}
    names = ("omega", "mobility", "bends", "log_mobility")
    mu, d = TwinConfig(**{name: twin[name] for name in names if name in twin}).curves(c)
    return {"c": c, "mu_h": mu, "D": d}


def _sentences(chain: Chain, rows: list[dict[str, Any]]) -> list[str]:
    """What a reader needs first."""
    value = {(r["group"], r["name"]): r["value"] for r in rows}
    sentences = list(chain.estimate.log)
    if chain.quality:
        sentences.append(
            f"Denoised: {chain.quality['psnr_noisy']:.1f} dB -> {chain.quality['psnr_denoised']:.1f} dB "
            f"PSNR; {100 * chain.quality['coverage_95']:.1f} % of pixels inside the 95 % interval."
        )
    for name, result in chain.fits.items():
        error = value.get((f"fit {name}", "D_relative_rms_error"))
        against = ""
        if error is not None:
            mu = value[(f"fit {name}", "mu_h_rms_error_kT")]
            against = f" Against the truth: mu_h {mu:.3g} kT rms, D {100 * error:.3g} % rms."
        sentences.append(f"{_NAMES[name]}: {result.outcome}{against}")
    sentences += [f"{_NAMES[name]}: {why}" for name, why in chain.skipped.items()]
    return sentences


def _concentration(chain: Chain, frames: np.ndarray) -> np.ndarray:
    """Frames in concentration, on the scale that the fits used."""
    settings = next(iter(chain.fits.values())).settings
    return (frames - settings["scale_low"]) / (settings["scale_high"] - settings["scale_low"])


def _figures(
    chain: Chain, clean: Movie | None, truth: Mapping[str, np.ndarray] | None
) -> dict[str, tuple[Any, str]]:
    """Name -> (figure, caption)."""
    estimate: Estimate = chain.estimate
    movie = estimate.movie
    panels: dict[str, np.ndarray] = {"noisy": movie.frames, "denoised": estimate.mean}
    if clean is not None:
        panels["truth"] = clean.frames
    known = movie.length_unit != "px"
    drawn = {
        "movie": (
            figures.movie_panels(
                panels,
                list(movie.times),
                time_unit=movie.time_unit,
                intensity_unit=movie.intensity_unit,
                spread=np.sqrt(estimate.variance),
                pixel_size=movie.pixel_size[1] if known else None,
                length_unit=movie.length_unit,
            ),
            "The movie as measured, denoised from itself, and the standard deviation of the result.",
        ),
        "residual": (
            figures.residual_autocorrelation(
                {k: np.asarray(getattr(chain.autocorrelation, k)) for k in "xyt"},
                {k: np.asarray(getattr(chain.autocorrelation, f"band_{k}")) for k in "xyt"},
            ),
            "Autocorrelation of what was removed (measured minus blind prediction, over the noise sd): "
            "structure here is signal lost, or noise that is itself correlated.",
        ),
        "training": (
            figures.training_curve(estimate.history["loss"]),
            "Blind negative log likelihood while training.",
        ),
    }
    if not chain.fits:
        return drawn
    settings = next(iter(chain.fits.values())).settings
    drawn["law"] = (
        figures.law_curves(
            {name: r.curves for name, r in chain.fits.items()},
            diffusivity_unit=settings["diffusivity_unit"],
            truth=truth,
        ),
        "Chemical potential and diffusivity recovered from the movie, with 90 % bands.",
    )
    drawn["energy"] = (
        _energy_figure(chain, clean),
        "Free energy under the last fitted law (a noisy movie's lies off the scale: noise costs energy) and "
        "mean concentration of each version of the movie.",
    )
    return drawn


def _energy_figure(chain: Chain, clean: Movie | None) -> Any:
    """Free energy under the best fitted law, and mass, of the movie's versions over time."""
    movie = chain.estimate.movie
    result = list(chain.fits.values())[-1]
    versions = {"noisy": movie.frames, "denoised": chain.estimate.mean}
    if clean is not None:
        versions["truth"] = clean.frames
    fields = {k: np.nan_to_num(_concentration(chain, v), nan=0.5) for k, v in versions.items()}
    joint = chain.fits.get("joint")
    if joint is not None and joint.trajectory is not None and joint.settings["binning"] == 1:
        first, last = joint.frames_used
        padded = np.full(movie.shape, np.nan)
        padded[first:last] = joint.trajectory
        fields["joint fit"] = padded
    # One pixel in cells of the (binned) grid that the law was fitted on.
    cell = 1.0 / result.settings["binning"]
    grid = Grid(movie.shape[1:], cell, result.settings["boundary_used"])
    model = _fitted_law(result)
    energy = jax.jit(jax.vmap(lambda c: model.energy(c, grid)))
    area = float(np.prod(movie.shape[1:])) * cell**2
    return figures.energy_and_mass(
        movie.times,
        {k: np.asarray(energy(jnp.asarray(v, jnp.float32))) / area for k, v in fields.items()},
        {k: v.mean((1, 2)) for k, v in fields.items()},
        time_unit=movie.time_unit,
        energy_unit="kT per site",
    )


def _fitted_law(result: FitResult) -> Any:
    """The fitted law, in cells of the grid it was fitted on."""
    names = ("enthalpy_degree", "mobility_degree", "mobility_base")
    space = LawSpace(result.model, *(result.settings[n] for n in names))  # type: ignore[arg-type]
    return space.build(jnp.asarray(result.theta, jnp.float32))


def _trajectory(movie: Movie, result: FitResult) -> Movie:
    """The movie that the fitted law predicts, as a Movie in concentration."""
    assert result.trajectory is not None
    first, last = result.frames_used
    binning = result.settings["binning"]
    return replace(
        Movie.from_array(result.trajectory.astype(np.float32), times=movie.times[first:last]),
        pixel_size=(movie.pixel_size[0] * binning, movie.pixel_size[1] * binning),
        time_unit=movie.time_unit,
        length_unit=movie.length_unit,
        intensity_unit="lithium fraction",
        name=f"{movie.name}, law",
    )


def _sections(
    chain: Chain,
    rows: list[dict[str, Any]],
    sentences: list[str],
    drawn: Mapping[str, tuple[Any, str]],
    progress: Progress | None,
) -> list[figures.Section]:
    def pick(*groups: str) -> list[dict[str, Any]]:
        return [r for r in rows if r["group"] in groups]

    law = [drawn[k] for k in ("law", "energy") if k in drawn]
    return [
        figures.Section("Summary", sentences),
        figures.Section("Movie", (), [pick("noise", "denoise")], [drawn["movie"]]),
        figures.Section(
            "Residual", [chain.estimate.trust["whiteness"]["sentence"]], (), [drawn["residual"]]
        ),
        figures.trust_section(chain.estimate, progress),
        figures.Section("Law", (), [pick(f"fit {name}") for name in chain.fits], law),
        figures.Section("Training", (), (), [drawn["training"]]),
    ]


def _provenance(config: DemoConfig, movie: Movie) -> dict[str, Any]:
    frames = np.ascontiguousarray(movie.frames)
    return {
        "versions": selfcheck.versions(),
        "config": asdict(config),
        "input": dict(movie.provenance),
        "frames_sha256": hashlib.sha256(frames.tobytes()).hexdigest(),
        "seeds": {
            "denoise": config.denoise.seed,
            "fit": config.fit.seed,
            "twin": None if config.movie else config.twin.seed,
        },
    }

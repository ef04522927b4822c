"""The report of the whole chain: a folder with results, figures, tables and one page.

results.h5 (denoised movie, variance, weights, settings), truth.h5 (of a simulated movie), FIT_*.json and FIT_*_curves.csv,
trajectory_*.h5, figures, report.html, numbers.csv (every number with its uncertainty) and provenance.json. The folder appears when
everything in it is complete.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from phdenoise import figures, selfcheck
from phdenoise.analysis import Analysis
from phdenoise.figures.scene import Scene, estimate_scene
from phdenoise.grid import Grid
from phdenoise.io.atomic import atomic_directory
from phdenoise.io.jsonfile import write_json
from phdenoise.io.tables import write_table
from phdenoise.io.writing import write
from phdenoise.learn.result import FitResult
from phdenoise.movie import Estimate, Movie
from phdenoise.physics.steppers.base import as_dtype
from phdenoise.report.figure_config import FigureConfig
from phdenoise.report.folder import write_report
from phdenoise.report.law_files import curve_rows
from phdenoise.report.origin import Origin
from phdenoise.report.page import Finding, Light, Report, Section, Verdict, between
from phdenoise.report.trust import denoise_findings, movie_section, trust_lights
from phdenoise.simulation import true_curves
from phdenoise.types import Progress

_NAMES = {
    "noisy": "Law from the noisy movie",
    "denoised": "Law from the denoised movie",
    "joint": "Law, field and denoiser together",
}


def write_analysis(
    output: str | Path,
    movie: Movie,
    chain: Analysis,
    *,
    clean: Movie | None = None,
    about: Mapping[str, Any] | None = None,
    overwrite: bool = False,
    progress: Progress | None = None,
    pages: FigureConfig | None = None,
) -> tuple[str, ...]:
    """Write the folder of an analysis.

    Args:
        output: folder to make.
        movie: the noisy movie.
        chain: what was found.
        clean: the truth, for a simulated movie.
        about: added to provenance.json: configuration, seeds.
        overwrite: replace an existing folder.
        progress: called with (stage, step, steps, value).
        pages: formats of the figures.

    Returns:
        The main sentences of the report.

    Raises:
        InputError: the folder cannot be written.
    """
    truth = _truth(movie, chain)
    rows = numbers(chain, truth)
    sentences = _sentences(chain, rows)
    drawn = _figures(chain, clean, truth)
    with atomic_directory(output, overwrite=overwrite) as temporary:
        folder = Path(temporary)
        write(chain.estimate, folder / "results.h5")
        if clean is not None:
            write(clean, folder / "truth.h5")
        for name, result in chain.fits.items():
            write_json(result.to_dict(), folder / f"FIT_{name}.json")
            if result.curves:
                write_table(folder / f"FIT_{name}_curves.csv", curve_rows(result))
            if result.trajectory is not None:
                write(_trajectory(movie, result), folder / f"trajectory_{name}.h5")
        origin = Origin(movie.name, dict((about or {}).get("config", {})), movie.provenance)
        report = Report(
            f"phdenoise: {movie.name}",
            _findings(chain),
            origin,
            pictures=[movie_section(_scene(chain, clean), drawn["movie"])],
            law=_law_sections(chain, drawn),
            trust=[*_law_lights(chain), *trust_lights(chain.estimate, progress)],
            details=_details(chain, sentences, drawn),
            numbers=rows,
        )
        write_report(folder, report, drawn, {**_provenance(movie), **(about or {})}, pages)
    return tuple(sentences)


def numbers(chain: Analysis, truth: Mapping[str, np.ndarray] | None = None) -> list[dict[str, Any]]:
    """Every number of a chain as rows.

    Args:
        chain: what was found.
        truth: curves of the law of a simulated movie; see `phdenoise.simulation.true_curves`.

    Returns:
        Rows of group, name, value, sd, unit.
    """
    rows: list[dict[str, Any]] = []

    def add(group: str, name: str, value: float, sd: float = float("nan"), unit: str = "1") -> None:
        rows.append({"group": group, "name": name, "value": value, "sd": sd, "unit": unit})

    noise = chain.estimate.noise
    for name in (n for n in ("sigma", "gain", "offset", "read_sigma") if hasattr(noise, n)):
        add("noise", name, float(getattr(noise, name)), unit=chain.estimate.movie.intensity_unit)
    for name, value in chain.quality.items():
        add("denoise", name, value, unit="dB" if name.startswith("psnr") else "1")
    upsnr, whiteness = chain.estimate.trust["upsnr"], chain.estimate.trust["whiteness"]
    add("denoise", "upsnr", upsnr["psnr"], upsnr["sd"], "dB")
    add("denoise", "residual_whiteness_z", whiteness["z"])
    add("denoise", "residual_largest_correlation", whiteness["correlation"])
    for label, result in chain.fits.items():
        if result.holds is not None:
            add(f"fit {label}", "holds", float(result.holds))
        for p in result.parameters:
            add(f"fit {label}", p.name, p.value, p.sd, p.unit)
        for name, value in result.statistics.items():
            add(f"fit {label}", name, value)
        for name, value in _errors(result, truth).items():
            add(f"fit {label}", name, value)
    return rows


def _errors(result: FitResult, truth: Mapping[str, np.ndarray] | None) -> dict[str, float]:
    """rms error of the curves against the truth: μ_h in kT and D relative."""
    if truth is None or not result.curves:
        return {}
    c = result.curves["c"]
    mu = np.interp(c, truth["c"], truth["mu_h"])
    d = np.interp(c, truth["c"], truth["D"])
    return {
        "mu_h_rms_error_kT": float(np.sqrt(np.mean((result.curves["mu_h"] - mu) ** 2))),
        "D_relative_rms_error": float(np.sqrt(np.mean((result.curves["D"] / d - 1) ** 2))),
    }


def _sentences(chain: Analysis, rows: list[dict[str, Any]]) -> list[str]:
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


def _fitted(chain: Analysis) -> dict[str, FitResult]:
    """The fits that have a law: none is fitted where nothing moves."""
    return {name: result for name, result in chain.fits.items() if result.curves}


def _concentration(chain: Analysis, frames: np.ndarray) -> np.ndarray:
    """Frames in concentration, on the scale that the fits used."""
    settings = next(iter(_fitted(chain).values())).settings
    return (frames - settings["scale_low"]) / (settings["scale_high"] - settings["scale_low"])


def _figures(
    chain: Analysis, clean: Movie | None, truth: Mapping[str, np.ndarray] | None
) -> dict[str, tuple[Any, str]]:
    """Name -> (figure, caption)."""
    estimate: Estimate = chain.estimate
    drawn = {
        "movie": (
            figures.movie_strip(_scene(chain, clean)),
            "The movie as measured, denoised from itself, its standard deviation and the residual (measured less denoised).",
        ),
        "residual": (
            figures.residual_autocorrelation(
                {k: np.asarray(getattr(chain.autocorrelation, k)) for k in "xyt"},
                {k: np.asarray(getattr(chain.autocorrelation, f"band_{k}")) for k in "xyt"},
            ),
            "Autocorrelation of what was removed (measured minus blind prediction, over the noise sd): "
            "structure here is signal lost, or noise that is itself correlated.",
        ),
    }
    losses = estimate.history.get("loss", ())
    if losses:
        drawn["training"] = (
            figures.training_curve(losses),
            "Blind negative log likelihood while training.",
        )
    fits = _fitted(chain)
    if not fits:
        return drawn
    settings = next(iter(fits.values())).settings
    drawn["law"] = (
        figures.law_curves(
            {name: r.curves for name, r in fits.items()},
            diffusivity_unit=settings["diffusivity_unit"],
            truth=truth,
            refuted=[name for name, r in fits.items() if r.holds is False],
        ),
        "Chemical potential and diffusivity recovered from the movie, with 90 % bands; dashed where the law does not hold.",
    )
    drawn["energy"] = (
        _energy_figure(chain, clean),
        "Free energy under the last fitted law (a noisy movie's lies off the scale: noise costs energy) and "
        "mean concentration of each version of the movie.",
    )
    return drawn


def _energy_figure(chain: Analysis, clean: Movie | None) -> Any:
    """Free energy under the best fitted law, and mass, of the movie's versions over time."""
    movie = chain.estimate.movie
    result = list(_fitted(chain).values())[-1]
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
    law = result.law
    assert law is not None
    # The energy of a law is that of its inside; held and open faces are closed for it.
    periodic = result.settings["boundary_used"] == "periodic"
    grid = Grid(movie.shape[1:], movie.pixel_size, "periodic" if periodic else "no-flux")
    energy = jax.jit(jax.vmap(lambda c: as_dtype(law, c.dtype).energy(c, grid)))
    area = float(np.prod(movie.shape[1:]) * np.prod(movie.pixel_size))
    return figures.energy_and_mass(
        movie.times,
        {k: np.asarray(energy(jnp.asarray(v, jnp.float32))) / area for k, v in fields.items()},
        {k: v.mean((1, 2)) for k, v in fields.items()},
        time_unit=movie.time_unit,
        energy_unit="kT per site",
    )


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


def _scene(chain: Analysis, clean: Movie | None) -> Scene:
    """Versions of the movie, the truth among them where it is known."""
    return estimate_scene(chain.estimate, None if clean is None else clean.frames)


def _findings(chain: Analysis) -> list[Finding]:
    """The law of the best fit first, then what denoising achieved."""
    fits = _fitted(chain)
    if not fits:
        why = [r.outcome for r in chain.fits.values()] + list(chain.skipped.values())
        said = why[0] if why else "No law was fitted."
        law = [Finding("Law of motion", "none found", "", Verdict.LOOK, said)]
        return [*law, *denoise_findings(chain.estimate)]
    name, best = list(fits.items())[-1]
    verdict = Verdict.of(best.holds)
    holds = {True: "holds", False: "does not hold", None: "cannot be judged"}[best.holds]
    found = [Finding(f"{best.model}, {_NAMES[name].lower()}", holds, "", verdict, best.outcome)]
    middle = len(best.curves["c"]) // 2
    c = float(best.curves["c"][middle])
    for curve, label, unit in (
        ("D", "Diffusivity D", str(best.settings.get("diffusivity_unit", "1"))),
        ("mu_h", "Chemical potential mu_h less that at c = 1/2", "kT"),
    ):
        # In the middle of its range mu_h is close to its zero: its end says more.
        at = middle if curve == "D" else len(best.curves["c"]) - 1
        c = float(best.curves["c"][at])
        value, low, high = (float(best.curves[f"{curve}{e}"][at]) for e in ("", "_low", "_high"))
        found.append(between(f"{label} at c = {c:.2g}", value, (low, high), unit, verdict))
    if best.kappa is not None:
        interval = best.intervals.get("kappa", (float("nan"),) * 2)
        k = best.kappa
        found.append(between("Gradient coefficient kappa", k.value, interval, k.unit, verdict))
    return [*found, *denoise_findings(chain.estimate)]


def _law_sections(chain: Analysis, drawn: Mapping[str, tuple[Any, str]]) -> list[Section]:
    """Curves and energy; why there is no law where there is none."""
    said = [f"{_NAMES[name]}: {result.outcome}" for name, result in chain.fits.items()]
    said += [f"{_NAMES[name]}: {why}" for name, why in chain.skipped.items()]
    shown = [drawn[k] for k in ("law", "energy") if k in drawn]
    derived = [
        {"what follows from the law": d.name, "value": d.value, "90 % from": d.low, "to": d.high,
         "unit": d.unit, "rests on concentrations that were not seen": d.extrapolated}
        for result in list(_fitted(chain).values())[-1:] for d in result.derived
    ]  # fmt: skip
    return [Section("Law", said, [derived], shown)]


def _law_lights(chain: Analysis) -> list[Light]:
    """Whether each law holds."""
    return [
        Light(Verdict.of(result.holds), _NAMES[name].lower(), result.outcome)
        for name, result in chain.fits.items()
    ]


def _details(
    chain: Analysis, sentences: list[str], drawn: Mapping[str, tuple[Any, str]]
) -> list[Section]:
    whiteness = chain.estimate.trust["whiteness"]["sentence"]
    return [
        Section("What was taken away: autocorrelation of the residual", [whiteness], (), [drawn["residual"]]),
        _training_section(drawn),
        Section("Everything that was said, step by step", sentences),
    ]  # fmt: skip


def _training_section(drawn: Mapping[str, tuple[Any, str]]) -> Section:
    """The training curve; a sentence where no network was trained."""
    if "training" not in drawn:
        return Section("Training", ["No network was trained on this movie."])
    return Section("Training", (), (), [drawn["training"]])


def _truth(movie: Movie, chain: Analysis) -> dict[str, np.ndarray] | None:
    """Curves of the law that a movie was simulated with, over the range that the fits cover."""
    spans = [r.curves["c"] for r in _fitted(chain).values()]
    if not spans:
        return None
    c = np.linspace(min(s[0] for s in spans), max(s[-1] for s in spans), 401)
    return true_curves(movie.provenance, c)


def _provenance(movie: Movie) -> dict[str, Any]:
    frames = np.ascontiguousarray(movie.frames)
    return {
        "versions": selfcheck.versions(),
        "input": dict(movie.provenance),
        "frames_sha256": hashlib.sha256(frames.tobytes()).hexdigest(),
    }

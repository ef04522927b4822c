"""`phdenoise stxm`: scans in, a folder out: lithium maps, law, tables, figures, a report and its provenance.

Written: report.html, lithium.h5 (c as measured and denoised, with variance), quantities.h5 (sd, thickness, rate constants), numbers.csv,
mean.csv (filling against time), FIT_particle.json (laws), PNG figures, provenance.json.
"""

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from tyro.conf import arg

from phdenoise.figures.scene import Scene, movie_strip, pixel_of, scene_of, spread, values
from phdenoise.figures.stxm_plots import rate_maps, reaction_curves
from phdenoise.io.arrays_file import write_arrays
from phdenoise.io.atomic import atomic_directory, check_writable
from phdenoise.io.jsonfile import write_json
from phdenoise.io.reading import split
from phdenoise.io.tables import write_table
from phdenoise.io.writing import write
from phdenoise.modalities.results import (
    NumberTable,
    finding,
    opening,
    provenance,
    said,
    verdict,
)
from phdenoise.modalities.stxm.chain import StxmResult, analyse_scans
from phdenoise.modalities.stxm.config import StxmConfig
from phdenoise.modalities.stxm.counts import independent_share
from phdenoise.modalities.stxm.files import StxmFiles, read_scans, with_spectra
from phdenoise.report.figure_config import FigureConfig
from phdenoise.report.folder import Drawn, write_report
from phdenoise.report.origin import Origin
from phdenoise.report.page import Finding, Light, Report, Section, Verdict, measured
from phdenoise.report.trust import movie_section, trust_lights, warning_lights
from phdenoise.types import Progress


@dataclass(frozen=True)
class StxmSettings:
    """Files and settings of `phdenoise stxm`."""

    files: Annotated[StxmFiles, arg(name="")] = field(default_factory=StxmFiles)
    """Where the measurements are."""
    chain: Annotated[StxmConfig, arg(name="")] = field(default_factory=StxmConfig)
    """How to turn scans into lithium."""
    pixel_size: float | None = None
    """Pixel size, where the files do not say it [um]."""
    frame_interval: float | None = None
    """Time between frames, where the files do not say it [s]."""
    override: bool = False
    """Take --energies, --pixel-size and --frame-interval where the files say something else, which is refused otherwise."""


def run_stxm(
    paths: tuple[str, ...],
    output: str | Path,
    settings: StxmSettings,
    *,
    overwrite: bool = False,
    progress: Progress | None = None,
    pages: FigureConfig | None = None,
) -> StxmResult:
    """Read the scans, run the chain and write its folder, complete or not at all.

    Args:
        paths: scans, one movie for each energy or one stack over energies for each time.
        output: folder to write.
        settings: files and how to use them.
        overwrite: whether an existing folder may be replaced.
        progress: called with (stage, step, steps, value).
        pages: formats of the figures.

    Returns:
        What was written.

    Raises:
        InputError: a setting or file that does not fit; an output that cannot be written.
    """
    inputs = [str(split(p)[0]) for p in (*paths, *settings.files.paths())]
    check_writable(output, overwrite, folder=True, inputs=inputs)
    scans = read_scans(
        paths,
        settings.files,
        pixel_size=settings.pixel_size,
        frame_interval=settings.frame_interval,
        override=settings.override,
    )
    config = with_spectra(settings.chain, settings.files, scans)
    result = analyse_scans(scans, config, progress=progress)
    table, drawn = numbers(result), draw(result)
    with atomic_directory(output, overwrite=overwrite) as made:
        folder = Path(made)
        write(result.estimate, folder / "lithium.h5")
        _quantities(folder / "quantities.h5", result)
        write_table(folder / "mean.csv", fillings(result))
        if result.fits:
            laws = {name: fit.to_dict() for name, fit in result.fits.items()}
            law = {"time_unit": result.movie.time_unit, "laws": laws}
            write_json(law, folder / "FIT_particle.json")
        origin = provenance(settings, result.movie.provenance, inputs)
        report = _report(result, settings, table, drawn, progress)
        write_report(folder, report, drawn, origin, pages)
    return result


def numbers(result: StxmResult) -> NumberTable:
    """Every number of the result."""
    table, mask = NumberTable(), result.mask
    denoised_sd = np.median(np.sqrt(result.estimate.variance[:, mask]))
    table.add("lithium", "sd of one pixel, measured", np.nanmedian(result.sd))
    table.add("lithium", "sd of one pixel, denoised", denoised_sd)
    table.add("lithium", "sd common to all frames, background", np.nanmedian(result.common_sd))
    area = float(mask.sum()) * float(np.prod(result.movie.pixel_size))
    table.add("particle", "area", area, unit=f"{result.movie.length_unit}^2")
    table.add("particle", "thickness, mean", result.thickness[mask].mean(), unit="end members")
    for n, value in enumerate(result.beam.flicker):
        table.add("beam", f"flicker, energy {n}", 100 * value, unit="%")
    for name, value in zip(("y", "x"), result.beam.along, strict=True):
        table.add("beam", f"noise correlation of neighbours along {name}", value)
    if result.noise is not None:
        for name, values in result.noise.correlation.items():
            table.add("noise", f"lithium's noise correlation of neighbours along {name}", values[1])
    for name, value in result.uniformity.items():
        table.add("heterogeneity", f"uniformity coefficient, {name}", value)
    for name, fit in result.fits.items():
        spread, spread_sd = np.std(np.log(fit.rate[mask])), np.median(fit.rate_sd[mask])
        table.add("heterogeneity", f"sd of ln k, {name}", spread, spread_sd)
        for p in fit.parameters:
            table.add(f"law, {name}", p.name, p.value, p.sd, p.unit)
        for key, value in fit.statistics.items():
            if key in ("chi2_per_dof", "explained_variance", "inflation"):
                table.add(f"law, {name}", key, value)
    return table


def fillings(result: StxmResult) -> list[dict[str, Any]]:
    """Mean lithium fraction of the particle against time; its error counts the noise's correlation along a line."""
    mask, count = result.mask, int(result.mask.sum())
    along = result.beam.along
    if result.noise is not None and not result.beam.flicker.any():
        along = np.array([max(float(result.noise.correlation[k][1]), 0) for k in ("y", "x")])
    fewer = independent_share(along)
    rows = []
    for t, time in enumerate(result.movie.times):
        values, sd = result.movie.frames[t][mask], result.sd[t][mask]
        known = np.isfinite(values) & np.isfinite(sd)
        n = max(int(known.sum()), 1)
        error = float(np.sqrt(np.mean(sd[known] ** 2) / max(n * fewer, 1))) if known.any() else float("nan")  # fmt: skip
        rows.append({
            f"time [{result.movie.time_unit}]": float(time),
            "measured mean [1]": float(values[known].mean()) if known.any() else float("nan"),
            "measured sd [1]": error,
            "denoised mean [1]": float(result.estimate.mean[t][mask].mean()),
            "pixels": f"{n} of {count}",
        })  # fmt: skip
    return rows


def draw(result: StxmResult) -> Drawn:
    """Figures and captions by name."""
    movie, pixel = result.movie, pixel_of(result.movie)
    drawn = {
        "lithium": (
            movie_strip(_scene(result), columns=6),
            "Lithium fraction as measured, denoised (with its standard deviation), and as the fitted law predicts it from the frame where "
            "a stretch starts.",
        )
    }
    if result.fits:
        maps = {name: fit.rate for name, fit in result.fits.items()}
        last = list(result.fits)[-1]
        drawn["rate"] = (
            rate_maps(maps, pixel=pixel),
            "Rate constant over its geometric mean, from each version.",
        )
        drawn["rate_sd"] = (
            rate_maps({f"{last}, one sd": np.exp(result.fits[last].rate_sd)}, label="exp(sd of ln k)", pixel=pixel),
            "Standard deviation of the logarithm of the rate constant.",
        )  # fmt: skip
        drawn["law"] = (
            reaction_curves({n: f.curves for n, f in result.fits.items()}, rate_unit=f"1/{movie.time_unit}"),
            "Chemical potential and exchange current from each version, with 90 % bands.",
        )  # fmt: skip
    return drawn


def _scene(result: StxmResult) -> Scene:
    """Lithium as measured, denoised, its standard deviation, and as the law has it; outside the particle nothing is known."""
    outside = np.where(result.mask, 0, np.nan)
    layers = [values("measured", result.movie.frames, "lithium fraction", np.array([0.0, 1.0]))]
    versions = {}
    if len(result.movie.times) > 1:
        versions["denoised"] = result.estimate.mean + outside
    if "joint" in result.fits:
        versions["law"] = result.fits["joint"].frames + outside
    for name, frames in versions.items():
        layers.append(values(name, frames, "lithium fraction", np.array([0.0, 1.0])))
    sd = np.sqrt(result.estimate.variance) + outside
    return scene_of(result.movie, [*layers, spread("sd", sd, "lithium fraction")])


def _findings(result: StxmResult, table: NumberTable) -> list[Finding]:
    """Rate constant and heterogeneity of the best fit, then the error of a pixel."""
    found: list[Finding] = []
    if result.fits:
        name, fit = list(result.fits.items())[-1]
        judged = verdict(result, True if fit.converged else None)
        k = next((p for p in fit.parameters if p.name == "k_0"), None)
        if k is not None:
            found.append(
                measured(
                    "Rate constant k_0 of the reaction",
                    k.value,
                    k.sd,
                    k.unit,
                    judged,
                    fit.outcome,
                    positive=True,
                )
            )
        group = "heterogeneity"
        found += finding(
            table, result, group, f"sd of ln k, {name}", "Scatter of ln k over the particle"
        )
    found += finding(table, result, "lithium", "sd of one pixel, denoised", "Standard deviation of the lithium fraction of a pixel, denoised", _before(table))  # fmt: skip
    return opening(result, found)


def _before(table: NumberTable) -> str:
    row = next(r for r in table.rows if r["name"] == "sd of one pixel, measured")
    return f"As measured: {row['value']:.3g}."


def _report(
    result: StxmResult,
    settings: StxmSettings,
    table: NumberTable,
    drawn: Drawn,
    progress: Progress | None,
) -> Report:
    """The page."""
    shown = [drawn[k] for k in ("law", "rate", "rate_sd") if k in drawn]
    outcomes = [f"Law from {name}: {fit.outcome}" for name, fit in result.fits.items()]
    outcomes += [f"{name}: {why}" for name, why in result.skipped.items()]
    lights = [
        Light(Verdict.of(True if fit.converged else None), f"law from {name}", fit.outcome)
        for name, fit in result.fits.items()
    ]
    log = result.estimate.log
    return Report(
        f"phdenoise stxm: {result.movie.name}",
        _findings(result, table),
        Origin(result.movie.name, asdict(settings), result.movie.provenance),
        pictures=[movie_section(_scene(result), drawn["lithium"])],
        law=[Section("Law of the reaction", outcomes, (), shown)]
        if outcomes and not result.impossible
        else [],
        trust=[
            *warning_lights(result.impossible, result.warnings),
            *lights,
            *(trust_lights(result.estimate, progress) if log else ()),
        ],
        details=[
            Section("What was found, in words", said(result)),
            *([Section("Denoising, step by step", log)] if log else ()),
        ],
        numbers=table.rows,
    )


def _quantities(path: Path, result: StxmResult) -> None:
    """Images beside the movie, with units."""
    images = {
        "sd": (result.sd, "1"), "common_sd": (result.common_sd, "1"), "thickness": (result.thickness, "end members"),
        "mask": (result.mask.astype(np.uint8), "1"), "displacement": (result.displacement, "px"),
    }  # fmt: skip
    for name, fit in result.fits.items():
        images[f"rate_{name}"] = (fit.rate, "1")
        images[f"rate_ln_sd_{name}"] = (fit.rate_sd, "1")
        images[f"law_{name}"] = (fit.frames, "1")
        images[f"law_sd_{name}"] = (fit.frames_sd, "1")
    write_arrays(path, images, f"{result.movie.name}: maps beside the lithium fraction")

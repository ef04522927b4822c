"""`phdenoise neutron`: radiographs in, a folder out: lithium maps, tables, figures, a report and its provenance.

Written: report.html, lithium.h5 (Δc as measured and denoised, with variance), counts.h5 (denoised counts, network,
settings), transmission.h5, profile.csv, collector.csv, numbers.csv, FIT_profile.json, PNG figures, provenance.json.
"""

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from phdenoise.figures.neutron_plots import along_time, diffusivity, profiles
from phdenoise.figures.scene import Scene, movie_strip, scene_of, signed, spread
from phdenoise.io.atomic import atomic_directory, check_writable
from phdenoise.io.jsonfile import write_json
from phdenoise.io.tables import write_rows
from phdenoise.io.writing import write
from phdenoise.modalities.neutron.chain import NeutronResult, analyse_radiographs
from phdenoise.modalities.neutron.config import NeutronConfig
from phdenoise.modalities.neutron.files import NeutronFiles, read_calibration, read_current
from phdenoise.modalities.neutron.quantities import Track
from phdenoise.modalities.results import (
    NumberTable,
    derived_estimate,
    finding,
    opening,
    provenance,
    said,
    verdict,
)
from phdenoise.movie import Estimate, Movie
from phdenoise.report.figure_config import FigureConfig
from phdenoise.report.folder import Drawn, write_report
from phdenoise.report.origin import Origin
from phdenoise.report.page import Finding, Report, Section, between
from phdenoise.report.trust import movie_section, trust_lights, warning_lights
from phdenoise.types import Progress

UNIT = "mol/cm^3"


@dataclass(frozen=True)
class NeutronSettings:
    """Files and settings of `phdenoise neutron`."""

    files: NeutronFiles = field(default_factory=NeutronFiles)
    """Where the calibrations are."""
    chain: NeutronConfig = field(default_factory=NeutronConfig)
    """How to turn radiographs into lithium."""


def run_neutron(
    movie: Movie,
    output: str | Path,
    settings: NeutronSettings,
    *,
    overwrite: bool = False,
    progress: Progress | None = None,
    pages: FigureConfig | None = None,
) -> NeutronResult:
    """Read the calibrations, run the chain and write its folder, complete or not at all.

    Args:
        movie: radiographs [t, y, x] [counts].
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
    inputs = settings.files.paths()
    source = movie.provenance.get("path")
    check_writable(
        output, overwrite, folder=True, inputs=[*inputs, *([str(source)] if source else [])]
    )
    current = None if settings.files.current is None else read_current(settings.files.current)
    cal = read_calibration(settings.files, movie, settings.chain.gain or 1.0)
    result = analyse_radiographs(movie, cal, settings.chain, current=current, progress=progress)
    table, drawn = numbers(result), draw(result, settings.chain)
    with atomic_directory(output, overwrite=overwrite) as made:
        folder = Path(made)
        write(result.estimate, folder / "counts.h5")
        write(_as_estimate(result, "change", UNIT), folder / "lithium.h5")
        if result.denoised.transmission is not None:
            write(_as_estimate(result, "transmission", "1"), folder / "transmission.h5")
        _write_profile(folder / "profile.csv", result)
        if result.denoised.collector is not None:
            _write_collector(folder / "collector.csv", result)
        if result.fit is not None:
            units = {"length_unit": movie.length_unit, "time_unit": movie.time_unit}
            write_json(result.fit.to_dict() | units, folder / "FIT_profile.json")
        origin = provenance(settings, movie.provenance, inputs)
        report = _report(result, settings, table, drawn, progress)
        write_report(folder, report, drawn, origin, pages)
    return result


def _as_estimate(result: NeutronResult, name: str, unit: str) -> Estimate:
    """A derived quantity as a movie with its denoised mean and variance."""
    raw: Track = getattr(result.raw, name)
    clean: Track = getattr(result.denoised, name)
    return derived_estimate(result, result.movie, f"{result.movie.name} {name}", unit, raw, clean)


def numbers(result: NeutronResult) -> NumberTable:
    """Every number of the result."""
    table = NumberTable()
    table.add("detector", "gain", result.gain, unit="counts/neutron")
    for version, found in (("measured", result.raw), ("denoised", result.denoised)):
        for name, value in found.variability.items():
            table.add("variability", f"{version}, {name}", value, unit=UNIT)
    for name, before in result.raw.variability.items():
        after = result.denoised.variability[name]
        if before > 0:
            table.add("variability", f"reduction {name}", 100 * (1 - after / before), unit="%")
    if result.fit is not None:
        stated = result.fit.parameters if result.fit.determined else ()
        for p in stated:
            table.add("fit", p.name, p.value, p.sd, p.unit)
        for name, value in result.fit.statistics.items():
            if name != "spacing":
                table.add("fit", name, value)
    return table


def _write_profile(path: Path, result: NeutronResult) -> None:
    """Profiles of all frames, a row per time and distance."""
    movie = result.movie
    head = [
        f"time [{movie.time_unit}]", f"distance [{movie.length_unit}]",
        *(f"{v} {q} [{UNIT}]" for v in ("measured", "denoised") for q in ("change", "sd")),
    ]  # fmt: skip
    raw, clean = result.raw.profile, result.denoised.profile
    rows = [
        [time, s, *(a[t, k] for a in (*raw, *clean))]
        for t, time in enumerate(movie.times)
        for k, s in enumerate(result.distance)
    ]
    write_rows(path, head, rows)


def _write_collector(path: Path, result: NeutronResult) -> None:
    """Lithium at the current collector over time, and the dose."""
    raw, clean = result.raw.collector, result.denoised.collector
    assert raw is not None
    assert clean is not None
    head = [f"time [{result.movie.time_unit}]", "dose [1]", "dose sd [1]"]
    head += [f"{v} {q} [{UNIT}]" for v in ("measured", "denoised") for q in ("change", "sd")]
    columns = (result.movie.times, *result.dose, *raw, *clean)
    write_rows(path, head, list(zip(*columns, strict=True)))


def draw(result: NeutronResult, config: NeutronConfig) -> Drawn:
    """Figures and captions by name.

    Args:
        result: of the chain.
        config: of the chain.

    Returns:
        Name of the file -> figure and caption.
    """
    movie = result.movie
    spread_out = np.linspace(config.rest, len(movie.times) - 1, 5).round().astype(int)
    pick = [int(t) for t in np.unique(spread_out)]
    label = f"change of lithium [{UNIT}]"
    drawn = {
        "lithium": (
            movie_strip(_scene(result), columns=6),
            "Change of lithium since rest, from the frames as measured and denoised, on one scale; its standard deviation.",
        ),
        "profiles": (
            # The first, the middle and the last: the whole movie is covered.
            _profiles(result, config, sorted({pick[0], pick[len(pick) // 2], pick[-1]}), label),
            "Profiles across the cell with 90 % bands. A profile averages many pixels. The errors of denoised pixels go together over "
            "neighbourhoods, so that their mean is about as uncertain as that of the measured pixels: denoising gains where single "
            "pixels are read.",
        ),
    }
    if result.raw.collector is not None and result.denoised.collector is not None:
        drawn["collector"] = (
            along_time(
                movie.times,
                {"measured": tuple(result.raw.collector), "denoised": tuple(result.denoised.collector)},  # type: ignore[dict-item]
                x_label=f"time [{movie.time_unit}]",
                y_label=f"lithium at the collector [{UNIT}]",
                marks=config.cycle_ends,
            ),
            "Mean change of lithium in the collector's box with 90 % bands; lines mark the ends of cycles.",
        )  # fmt: skip
    if result.fit is not None and result.fit.determined:
        drawn["diffusivity"] = (
            diffusivity(
                {"fit": result.fit.curves},
                x_label="filling u",
                y_label=f"D [{movie.length_unit}^2/{movie.time_unit}]",
            ),
            "Diffusivity of lithium over the fillings seen, with its 90 % band.",
        )
    return drawn


def _profiles(result: NeutronResult, config: NeutronConfig, shown: list[int], label: str) -> Any:
    """Profiles of some frames, with the diffusion fitted."""
    movie = result.movie
    panels = {
        f"{movie.times[t]:.4g} {movie.time_unit}": {
            name: (version.profile.value[t], version.profile.sd[t])
            for name, version in (("measured", result.raw), ("denoised", result.denoised))
        }
        for t in shown
    }
    lines = None
    if result.fit is not None and config.electrode is not None:
        lines = {}
        for title, t in zip(panels, shown, strict=True):
            row = np.full(result.distance.size, np.nan)
            change = result.fit.change[t - (config.rest - 1)]
            row[slice(*config.electrode)] = config.saturation * change
            lines[title] = {"diffusion fitted": row}
    return profiles(
        result.distance,
        panels,
        x_label=f"distance along the line [{movie.length_unit}]",
        y_label=label,
        lines=lines,
    )


def _scene(result: NeutronResult) -> Scene:
    """Lithium as measured and denoised, with its standard deviation."""
    raw, clean = result.raw.change, result.denoised.change
    return scene_of(
        result.movie,
        [
            signed("measured", raw.value, UNIT, clean.value, "change"),
            signed("denoised", clean.value, UNIT, scale="change"),
            spread("sd", clean.sd, UNIT),
        ],
    )


def _findings(result: NeutronResult, table: NumberTable) -> list[Finding]:
    """Diffusivity, lithium at the collector, and what denoising gained."""
    found: list[Finding] = []
    fit = result.fit
    if fit is not None and fit.determined:
        middle = len(fit.curves["u"]) // 2
        value, low, high = (float(fit.curves[k][middle]) for k in ("D", "D_low", "D_high"))
        unit = f"{result.movie.length_unit}^2/{result.movie.time_unit}"
        what = f"Diffusivity at filling {float(fit.curves['u'][middle]):.2g}"
        holds = True if fit.converged else None
        found.append(between(what, value, (low, high), unit, verdict(result, holds), fit.outcome))
    for name in ("over frames at rest", "over pixels of the uniform box"):
        found += finding(
            table, result, "variability", f"denoised, {name}", f"Scatter of lithium {name}, denoised",
            _gain(table, name),
        )  # fmt: skip
    return opening(result, found)


def _gain(table: NumberTable, name: str) -> str:
    """How much of the scatter denoising took away."""
    shares = [r["value"] for r in table.rows if r["name"] == f"reduction {name}"]
    return f"Denoising took {shares[0]:.0f} % of the measured scatter away." if shares else ""


def _report(
    result: NeutronResult,
    settings: NeutronSettings,
    table: NumberTable,
    drawn: Drawn,
    progress: Progress | None,
) -> Report:
    """The page."""
    transport = [drawn[k] for k in ("diffusivity", "collector", "profiles") if k in drawn]
    outcome = [] if result.fit is None or result.impossible else [result.fit.outcome]
    return Report(
        f"phdenoise neutron: {result.movie.name}",
        _findings(result, table),
        Origin(result.movie.name, asdict(settings), result.movie.provenance),
        pictures=[movie_section(_scene(result), drawn["lithium"])],
        law=[Section("Transport and accumulation", outcome, (), transport)],
        trust=[
            *warning_lights(result.impossible, result.warnings),
            *trust_lights(result.estimate, progress),
        ],
        details=[
            Section("What was found, in words", said(result)),
            Section("Denoising, step by step", result.estimate.log),
        ],
        numbers=table.rows,
    )

"""`phdenoise neutron`: radiographs in, a folder out: lithium maps, tables, figures, a report and its provenance.

Written: report.html, lithium.h5 (Δc as measured and denoised, with variance), counts.h5 (denoised counts, network,
settings), transmission.h5, profile.csv, collector.csv, numbers.csv, FIT_profile.json, PNG figures, provenance.json.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np

from phdenoise import figures, selfcheck
from phdenoise.chains.neutron import NeutronConfig, NeutronResult, Track, analyse_radiographs
from phdenoise.chains.neutron_files import NeutronFiles, read_calibration, read_current
from phdenoise.figures.neutron_plots import along_time, change_maps, diffusivity, profiles
from phdenoise.io import atomic_directory, check_writable, write, write_json
from phdenoise.io.reading import fingerprint
from phdenoise.io.tables import write_rows, write_table
from phdenoise.movie import Estimate, Movie
from phdenoise.noise import Gaussian
from phdenoise.types import Progress

UNIT = "mol/cm^3"
REPORT = "report.html"


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
) -> NeutronResult:
    """Read the calibrations, run the chain and write its folder, complete or not at all.

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
    drawn = draw(result, settings.chain)
    with atomic_directory(output, overwrite=overwrite) as folder:
        folder = Path(folder)
        write(result.estimate, folder / "counts.h5")
        write(as_estimate(result, "change", UNIT), folder / "lithium.h5")
        if result.denoised.transmission is not None:
            write(as_estimate(result, "transmission", "1"), folder / "transmission.h5")
        write_profile(folder / "profile.csv", result)
        if result.denoised.collector is not None:
            write_collector(folder / "collector.csv", result)
        rows = numbers(result)
        write_table(folder / "numbers.csv", rows)
        if result.fit is not None:
            write_json(
                result.fit.to_dict() | {"length_unit": movie.length_unit, "time_unit": movie.time_unit},
                folder / "FIT_profile.json",
            )  # fmt: skip
        write_json(_provenance(movie, settings), folder / "provenance.json")
        for name, (figure, _) in drawn.items():
            figures.save(figure, folder / f"{name}.png")
        (folder / REPORT).write_text(
            figures.report_html(
                f"phdenoise neutron: {movie.name}", _sections(result, rows, drawn, progress)
            ),
            encoding="utf-8",
        )
    return result


def as_estimate(result: NeutronResult, name: str, unit: str) -> Estimate:
    """A derived quantity as a movie with its denoised mean and variance."""
    raw: Track = getattr(result.raw, name)
    clean: Track = getattr(result.denoised, name)
    movie = result.movie.with_frames(
        raw.value.astype(np.float32), intensity_unit=unit, mask=None, name=f"{result.movie.name} {name}"
    )  # fmt: skip
    typical = float(np.nanmedian(raw.sd))
    return Estimate(
        movie,
        clean.value.astype(np.float32),
        (clean.sd**2).astype(np.float32),
        Gaussian(jnp.float32(typical)),
        log=(*result.warnings, *result.sentences),
        settings=dict(result.estimate.settings),
    )


def numbers(result: NeutronResult) -> list[dict[str, Any]]:
    """Every number as rows: group, name, value, sd, unit."""
    rows: list[dict[str, Any]] = []

    def add(group: str, name: str, value: float, sd: float = float("nan"), unit: str = "") -> None:
        rows.append({"group": group, "name": name, "value": value, "sd": sd, "unit": unit})

    add("detector", "gain", result.gain, unit="counts/neutron")
    for version, found in (("measured", result.raw), ("denoised", result.denoised)):
        for name, value in found.variability.items():
            add("variability", f"{version}, {name}", value, unit=UNIT)
    for name, before in result.raw.variability.items():
        after = result.denoised.variability[name]
        if before > 0:
            add("variability", f"reduction {name}", 100 * (1 - after / before), unit="%")
    if result.fit is not None:
        for p in result.fit.parameters:
            add("fit", p.name, p.value, p.sd, p.unit)
        for name, value in result.fit.statistics.items():
            if name != "spacing":
                add("fit", name, value, unit="1")
    return rows


def write_profile(path: Path, result: NeutronResult) -> None:
    """Profiles of all frames, a row per time and distance."""
    movie = result.movie
    head = [
        f"time [{movie.time_unit}]", f"distance [{movie.length_unit}]",
        *(f"{v} {q} [{UNIT}]" for v in ("measured", "denoised") for q in ("change", "sd")),
    ]  # fmt: skip
    raw, clean = result.raw.profile, result.denoised.profile
    rows = [
        [
            time,
            s,
            raw.value[t, k],
            raw.sd[t, k],
            clean.value[t, k],
            clean.sd[t, k],
        ]
        for t, time in enumerate(movie.times)
        for k, s in enumerate(result.distance)
    ]
    write_rows(path, head, rows)


def write_collector(path: Path, result: NeutronResult) -> None:
    """Lithium at the current collector over time, and the dose."""
    raw, clean = result.raw.collector, result.denoised.collector
    assert raw is not None
    assert clean is not None
    head = [f"time [{result.movie.time_unit}]", "dose [1]", "dose sd [1]"]
    head += [f"{v} {q} [{UNIT}]" for v in ("measured", "denoised") for q in ("change", "sd")]
    columns = (
        result.movie.times, result.dose.value, result.dose.sd,
        raw.value, raw.sd, clean.value, clean.sd,
    )  # fmt: skip
    write_rows(path, head, list(zip(*columns, strict=True)))


def draw(result: NeutronResult, config: NeutronConfig) -> dict[str, tuple[Any, str]]:
    """Name -> (figure, caption)."""
    movie = result.movie
    times = list(movie.times)
    spread = np.linspace(config.rest, len(times) - 1, 5).round().astype(int)
    pick = [int(t) for t in np.unique(spread)]
    label = f"change of lithium [{UNIT}]"
    maps = {"measured": result.raw.change.value, "denoised": result.denoised.change.value}
    drawn = {
        "lithium": (
            change_maps(maps, times, pick, time_unit=movie.time_unit, unit=label),
            "Change of lithium since rest, from the frames as measured and denoised, on one scale.",
        )
    }
    shown = pick[:: max(len(pick) // 3, 1)][:3]
    panels = {
        f"{times[t]:.4g} {movie.time_unit}": {
            "measured": (result.raw.profile.value[t], result.raw.profile.sd[t]),
            "denoised": (result.denoised.profile.value[t], result.denoised.profile.sd[t]),
        }
        for t in shown
    }
    lines = None
    if result.fit is not None and config.electrode is not None:
        lines = {}
        for title, t in zip(panels, shown, strict=True):
            row = np.full(result.distance.size, np.nan)
            row[slice(*config.electrode)] = (
                config.saturation * result.fit.change[t - (config.rest - 1)]
            )
            lines[title] = {"diffusion fitted": row}
    drawn["profiles"] = (
        profiles(
            result.distance,
            panels,
            x_label=f"distance along the line [{movie.length_unit}]",
            y_label=label,
            lines=lines,
        ),
        "Profiles across the cell with 90 % bands.",
    )
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
    if result.fit is not None:
        drawn["diffusivity"] = (
            diffusivity(
                {"fit": result.fit.curves},
                x_label="filling u",
                y_label=f"D [{movie.length_unit}^2/{movie.time_unit}]",
            ),
            "Diffusivity of lithium over the fillings seen, with its 90 % band.",
        )
    return drawn


def _sections(
    result: NeutronResult,
    rows: list[dict[str, Any]],
    drawn: Mapping[str, tuple[Any, str]],
    progress: Progress | None,
) -> list[figures.Section]:
    def of(*groups: str) -> list[dict[str, Any]]:
        return [r for r in rows if r["group"] in groups]

    warnings = [f"Warning: {w}" for w in result.warnings]
    transport = [drawn[k] for k in ("diffusivity", "collector") if k in drawn]
    outcome = [] if result.fit is None else [result.fit.outcome]
    return [
        figures.Section("Summary", [*warnings, *result.sentences], [of("variability", "detector")]),
        figures.Section("Lithium", (), (), [drawn["lithium"], drawn["profiles"]]),
        figures.Section("Transport and accumulation", outcome, [of("fit")], transport),
        figures.Section("Denoising", result.estimate.log),
        figures.trust_section(result.estimate, progress),
    ]


def _provenance(movie: Movie, settings: NeutronSettings) -> dict[str, Any]:
    files = {p: fingerprint(Path(p)) for p in settings.files.paths() if Path(p).is_file()}
    return {
        "versions": selfcheck.versions(),
        "settings": asdict(settings),
        "input": dict(movie.provenance),
        "files": files,
    }

"""`phdenoise stxm`: scans in, a folder out: lithium maps, law, tables, figures, a report and its provenance.

Written: report.html, lithium.h5 (c as measured and denoised, with variance), quantities.h5 (sd, thickness, rate constants), numbers.csv,
mean.csv (filling against time), FIT_particle.json (laws), PNG figures, provenance.json.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated, Any

import h5py
import numpy as np
from tyro.conf import arg

from phdenoise import figures, selfcheck
from phdenoise.chains.stxm import StxmResult, analyse_scans
from phdenoise.chains.stxm_config import StxmConfig
from phdenoise.chains.stxm_files import StxmFiles, read_scans, with_spectra
from phdenoise.figures.stxm_plots import fraction_maps, rate_maps, reaction_curves
from phdenoise.io import atomic_directory, check_writable, write, write_json
from phdenoise.io.reading import fingerprint, split
from phdenoise.io.tables import write_table
from phdenoise.types import Progress

REPORT = "report.html"


@dataclass(frozen=True)
class StxmSettings:
    """Files and settings of `phdenoise stxm`."""

    files: Annotated[StxmFiles, arg(name="")] = field(default_factory=StxmFiles)
    """Where the measurements are."""
    chain: Annotated[StxmConfig, arg(name="")] = field(default_factory=StxmConfig)
    """How to turn scans into lithium."""
    pixel_size: float | None = None
    """Pixel size [um]; overrides the files'."""
    frame_interval: float | None = None
    """Time between frames [s]."""


def run_stxm(
    paths: tuple[str, ...],
    output: str | Path,
    settings: StxmSettings,
    *,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> StxmResult:
    """Read the scans, run the chain and write its folder, complete or not at all.

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
    )
    config = with_spectra(settings.chain, settings.files, scans)
    result = analyse_scans(scans, config, progress=progress)
    drawn = draw(result)
    rows = numbers(result)
    with atomic_directory(output, overwrite=overwrite) as folder:
        folder = Path(folder)
        write(result.estimate, folder / "lithium.h5")
        _quantities(folder / "quantities.h5", result)
        write_table(folder / "numbers.csv", rows)
        write_table(folder / "mean.csv", fillings(result))
        if result.fits:
            laws = {name: fit.to_dict() for name, fit in result.fits.items()}
            write_json({"time_unit": result.movie.time_unit, "laws": laws}, folder / "FIT_particle.json")  # fmt: skip
        write_json(_provenance(inputs, settings), folder / "provenance.json")
        for name, (figure, _) in drawn.items():
            figures.save(figure, folder / f"{name}.png")
        (folder / REPORT).write_text(
            figures.report_html(
                f"phdenoise stxm: {result.movie.name}", _sections(result, rows, drawn, progress)
            ),
            encoding="utf-8",
        )
    return result


def numbers(result: StxmResult) -> list[dict[str, Any]]:
    """Every number as rows: group, name, value, sd, unit."""
    rows: list[dict[str, Any]] = []

    def add(group: str, name: str, value: float, sd: float = float("nan"), unit: str = "1") -> None:
        rows.append({"group": group, "name": name, "value": value, "sd": sd, "unit": unit})

    mask = result.mask
    add("lithium", "sd of one pixel, measured", float(np.nanmedian(result.sd)))
    add("lithium", "sd of one pixel, denoised", float(np.median(np.sqrt(result.estimate.variance[:, mask]))))  # fmt: skip
    add("lithium", "sd common to all frames, background", float(np.nanmedian(result.common_sd)))
    dy, dx = result.movie.pixel_size
    add("particle", "area", float(mask.sum()) * dy * dx, unit=f"{result.movie.length_unit}^2")
    add("particle", "thickness, mean", float(result.thickness[mask].mean()), unit="end members")
    for n, value in enumerate(result.beam.flicker):
        add("beam", f"flicker, energy {n}", 100 * float(value), unit="%")
    for name, value in zip(("y", "x"), result.beam.along, strict=True):
        add("beam", f"noise correlation with the next pixel along {name}", float(value))
    if result.noise is not None:
        for name, values in result.noise.correlation.items():
            add("noise", f"correlation of lithium's noise along {name}", float(values[1]))
    for name, value in result.uniformity.items():
        add("heterogeneity", f"uniformity coefficient, {name}", value)
    for name, fit in result.fits.items():
        inside = fit.rate[mask]
        add("heterogeneity", f"sd of ln k, {name}", float(np.std(np.log(inside))), float(np.median(fit.rate_sd[mask])))  # fmt: skip
        for p in fit.parameters:
            add(f"law, {name}", p.name, p.value, p.sd, p.unit)
        for key, value in fit.statistics.items():
            if key in ("chi2_per_dof", "explained_variance", "inflation"):
                add(f"law, {name}", key, value)
    return rows


def fillings(result: StxmResult) -> list[dict[str, Any]]:
    """Mean lithium fraction of the particle against time; its error counts the noise's correlation along a line."""
    mask, count = result.mask, int(result.mask.sum())
    along = np.clip(np.nan_to_num(result.beam.along), 0, 0.95)
    if result.noise is not None and not result.beam.flicker.any():
        along = np.array([max(float(result.noise.correlation[k][1]), 0) for k in ("y", "x")])
    fewer = float(np.prod((1 - along) / (1 + along)))
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


def draw(result: StxmResult) -> dict[str, tuple[Any, str]]:
    """Name -> (figure, caption)."""
    movie = result.movie
    pick = [int(t) for t in np.unique(np.linspace(0, len(movie.times) - 1, 6).round().astype(int))]
    outside = np.where(result.mask, 0, np.nan)
    versions = {"measured": movie.frames}
    if len(movie.times) > 1:
        versions["denoised"] = result.estimate.mean + outside
    if "joint" in result.fits:
        versions["law"] = result.fits["joint"].frames + outside
    titles = [f"{movie.times[t]:.4g} {movie.time_unit}" for t in pick]
    drawn = {
        "lithium": (
            fraction_maps(versions, titles, pick),
            "Lithium fraction as measured, denoised, and as the fitted law predicts it from the frame where a stretch starts.",
        )
    }
    if result.fits:
        maps = {name: fit.rate for name, fit in result.fits.items()}
        last = list(result.fits)[-1]
        drawn["rate"] = (
            rate_maps(maps),
            "Rate constant over its geometric mean, from each version.",
        )
        drawn["rate_sd"] = (
            rate_maps({f"{last}, one sd": np.exp(result.fits[last].rate_sd)}, label="exp(sd of ln k)"),
            "Standard deviation of the logarithm of the rate constant.",
        )  # fmt: skip
        drawn["law"] = (
            reaction_curves({n: f.curves for n, f in result.fits.items()}, rate_unit=f"1/{movie.time_unit}"),
            "Chemical potential and exchange current from each version, with 90 % bands.",
        )  # fmt: skip
    return drawn


def _sections(
    result: StxmResult,
    rows: list[dict[str, Any]],
    drawn: Mapping[str, tuple[Any, str]],
    progress: Progress | None,
) -> list[figures.Section]:
    def of(*groups: str) -> list[dict[str, Any]]:
        return [r for r in rows if r["group"].split(",")[0] in groups]

    warnings = [f"Warning: {w}" for w in result.warnings]
    sections = [
        figures.Section(
            "Summary",
            [*warnings, *result.sentences],
            [of("lithium", "particle", "beam", "noise", "heterogeneity")],
        ),
        figures.Section("Lithium", (), (), [drawn["lithium"]]),
    ]
    if result.fits:
        shown = [drawn[k] for k in ("law", "rate", "rate_sd")]
        sections.append(figures.Section("Law of the reaction", (), [of("law")], shown))
    if result.estimate.log:
        sections.append(figures.Section("Denoising", result.estimate.log))
        sections.append(figures.trust_section(result.estimate, progress))
    return sections


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
    with h5py.File(path, "w") as file:
        for name, (values, unit) in images.items():
            values = values.astype(np.float32) if values.dtype == float else values
            file.create_dataset(name, data=values, compression="gzip").attrs["units"] = unit


def _provenance(inputs: list[str], settings: StxmSettings) -> dict[str, Any]:
    files = {p: fingerprint(Path(p)) for p in inputs if Path(p).is_file()}
    return {"versions": selfcheck.versions(), "settings": asdict(settings), "files": files}

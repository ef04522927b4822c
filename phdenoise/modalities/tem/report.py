"""`phdenoise tem`: images in, a folder out: denoised image, columns, claims, strain, occupancy, a report and provenance.

Written: report.html, columns.csv (each column with its errors), sites.csv (each site of the surface with verdict and power),
tracks.csv (each column in each frame of a movie), tem.h5 (the same as arrays with units), denoised.h5, numbers.csv,
PNG figures, provenance.json.
"""

from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np

from phdenoise.figures.marks import Pixel
from phdenoise.figures.scene import Scene, values
from phdenoise.figures.tem_plots import claim_panels, occupancy_map, particle_panels, strain_panels
from phdenoise.io.arrays_file import write_arrays
from phdenoise.io.atomic import atomic_directory, check_writable
from phdenoise.io.reading import read
from phdenoise.io.tables import write_rows
from phdenoise.io.writing import write
from phdenoise.modalities.results import (
    NumberTable,
    finding,
    opening,
    provenance,
    said,
    verdict,
)
from phdenoise.modalities.tem.chain import analyse_particle
from phdenoise.modalities.tem.config import TemConfig, check_config
from phdenoise.modalities.tem.likelihood import ratio_map, windows
from phdenoise.modalities.tem.result import TemResult
from phdenoise.modalities.tem.surface import spacing
from phdenoise.report.figure_config import FigureConfig
from phdenoise.report.folder import Drawn, write_report
from phdenoise.report.origin import Origin
from phdenoise.report.page import Finding, Report, Section, between
from phdenoise.report.trust import movie_section, trust_lights, warning_lights
from phdenoise.types import Progress

# Picometres of an Å.
_PM = 100.0
_METHOD = (
    "Columns are maxima of a Laplacian of Gaussian that the noise of the counts does not explain (share of false ones at most that "
    "of --columns.false-share), fitted together as Gaussians on a smooth background by Poisson likelihood. Errors hold what neighbours "
    "and background leave unknown, and what replicas of the fit show beyond.",
    "A site is judged by the log likelihood ratio of the counts with a column of the surface's median height and width against "
    "without. Power is the probability that a column which is there is claimed. The column's template comes from the same counts.",
)


def run_tem(
    path: str,
    output: str | Path,
    config: TemConfig,
    *,
    overwrite: bool = False,
    progress: Progress | None = None,
    pages: FigureConfig | None = None,
) -> TemResult:
    """Read, run the chain and write its folder, complete or not at all.

    Args:
        path: `FILE` or `FILE::DATASET`.
        output: folder to write.
        config: of the chain.
        overwrite: whether an existing folder may be replaced.
        progress: called with (stage, step, steps, value).
        pages: formats of the figures.

    Returns:
        What was written.

    Raises:
        InputError: a file or a setting that cannot be used; an output that cannot be written.
    """
    check_config(config)
    check_writable(output, overwrite, folder=True, inputs=[path.split("::")[0]])
    movie = read(path, frame_interval=config.frame_interval)
    result = analyse_particle(movie, config, progress=progress)
    table, drawn = numbers(result), draw(result)
    with atomic_directory(output, overwrite=overwrite) as made:
        folder = Path(made)
        write(result.estimate, folder / "denoised.h5")
        write_rows(folder / "columns.csv", *column_table(result))
        write_rows(folder / "sites.csv", *site_table(result))
        if result.tracks is not None:
            write_rows(folder / "tracks.csv", *_track_table(result))
        _arrays(folder / "tem.h5", result)
        report = _report(result, config, table, drawn, progress)
        write_report(folder, report, drawn, provenance(config, movie.provenance), pages)
    return result


def numbers(result: TemResult) -> NumberTable:
    """Every number of the result."""
    table, size = NumberTable(), result.pixel_size
    table.add("image", "pixel size", size, unit="Å")
    table.add("image", "frames", len(result.counts))
    table.add("image", "electrons of a vacuum pixel in a frame", result.vacuum, unit="electrons")
    table.add("image", "dose of a frame", result.dose, unit="e/Å^2")
    table.add("image", "dose in all", result.dose * len(result.counts), unit="e/Å^2")
    table.add("image", "variance over mean of counts in vacuum", *result.dispersion)
    columns = result.columns
    table.add("columns", "found", len(columns.position))
    table.add("columns", "at the surface", int(result.surface.sum()))
    table.add("columns", "false ones found in vacuum of this size and dose", result.hidden)
    if len(columns.position) and not result.impossible:
        error = _PM * size * np.sqrt(np.mean(columns.position_sd**2))
        table.add(
            "columns", "distance of neighbours, median", size * spacing(columns.position), unit="Å"
        )
        table.add("columns", "error of a position along an axis, rms", error, unit="pm")
        table.add("columns", "width, median", size * np.median(columns.width), unit="Å")
        table.add("columns", "intensity, median", np.median(columns.intensity), np.median(columns.intensity_sd), "electrons")  # fmt: skip
    if len(result.verdicts):
        for name in ("present", "absent", "cannot tell"):
            table.add("claims", f"sites where a column is {name}".replace("is cannot", "this dose cannot"), result.verdicts.count(name))  # fmt: skip
        for name, test in (("all frames", result.test), ("one frame", result.single)):
            table.add("claims", f"power for a column, {name}, a site", np.median(test.power))
            table.add(
                "claims", f"power for a column, {name}, over the map", np.median(test.map_power)
            )
            table.add(
                "claims",
                f"distance d' of with and without, {name}",
                np.median(test.distance),
                unit="sd",
            )
    if result.rates is not None and not result.impossible:
        _add_rates(table, result)
    return table


def _add_rates(table: NumberTable, result: TemResult) -> None:
    rates, unit = result.rates, result.movie.time_unit
    assert rates is not None
    for name, value, interval in (
        ("rate of arrival at an empty site", rates.on, rates.on_interval),
        ("rate of departure from an occupied site", rates.off, rates.off_interval),
    ):
        table.add("occupancy", name, value, unit=f"1/{unit}")
        for edge, bound in zip(("lower", "upper"), interval, strict=True):
            table.add(
                "occupancy",
                f"{name}, {edge} end of {100 * rates.level:g} %",
                bound,
                unit=f"1/{unit}",
            )
    table.add("occupancy", "occupied in equilibrium", rates.occupied)
    table.add("occupancy", "arrivals seen, expected number", rates.jumps[0])
    table.add("occupancy", "departures seen, expected number", rates.jumps[1])


def column_table(result: TemResult) -> tuple[list[str], list[list[Any]]]:
    """Head and a row for each column, with errors in picometres.

    Args:
        result: of the chain.

    Returns:
        Head and rows.
    """
    columns, size, lattice = result.columns, result.pixel_size, result.lattice
    head = ["column", "y [Å]", "x [Å]", "y sd [pm]", "x sd [pm]", "correlation of y and x [1]", "intensity [electrons]",
            "intensity sd [electrons]", "width [Å]", "score [sd]", "p value [1]", "surface [1]"]  # fmt: skip
    head += [f"strain {n}{e} [1]" for n in ("yy", "xx", "xy") for e in ("", " sd")]
    rows = []
    for k, (y, x) in enumerate(columns.position):
        sd, cov = columns.position_sd[k], columns.position_covariance[k]
        row: list[Any] = [
            k + 1,
            size * y,
            size * x,
            _PM * size * sd[0],
            _PM * size * sd[1],
            cov[0, 1] / sd[0] / sd[1],
        ]
        row += [
            columns.intensity[k],
            columns.intensity_sd[k],
            size * columns.width[k],
            columns.score[k],
        ]
        row += [columns.p_value[k], int(result.surface[k])]
        for i in range(3):
            row += (
                [np.nan] * 2 if lattice is None else [lattice.strain[k, i], lattice.strain_sd[k, i]]
            )
        rows.append([f"{v:.6g}" if isinstance(v, float) else v for v in row])
    return head, rows


def site_table(result: TemResult) -> tuple[list[str], list[list[Any]]]:
    """Head and a row for each site of the surface, with verdict and power.

    Args:
        result: of the chain.

    Returns:
        Head and rows.
    """
    head = ["site", "y [Å]", "x [Å]", "column", "verdict", "log likelihood ratio [1]", "p of absence [1]", "p of presence [1]",
            "power [1]", "power over the map [1]", "power in one frame [1]", "distance [sd]"]  # fmt: skip
    test, rows = result.test, []
    for k, (y, x) in enumerate(result.sites.position):
        values = (test.ratio[k], test.p_absent[k], test.p_present[k], test.power[k], test.map_power[k], result.single.power[k], test.distance[k])  # fmt: skip
        place = [f"{result.pixel_size * v:.6g}" for v in (y, x)]
        number = int(result.sites.column[k]) + 1 if result.sites.column[k] >= 0 else ""
        rows.append(
            [k + 1, *place, number, result.verdicts[k], *(f"{float(v):.4g}" for v in values)]
        )
    return head, rows


def _track_table(result: TemResult) -> tuple[list[str], list[list[Any]]]:
    tracks, size, movie = result.tracks, result.pixel_size, result.movie
    assert tracks is not None
    head = ["column", "frame", f"time [{movie.time_unit}]", "seen", "y [Å]", "x [Å]", "y sd [pm]", "x sd [pm]",
            "intensity [electrons]", "intensity sd [electrons]"]  # fmt: skip
    rows = []
    for k in range(tracks.position.shape[1]):
        for t, at in enumerate(movie.times):
            values = [*size * tracks.position[t, k], *_PM * size * tracks.position_sd[t, k]]
            values += [tracks.intensity[t, k], tracks.intensity_sd[t, k]]
            rows.append([k + 1, t + 1, at, int(tracks.seen[t, k]), *(f"{v:.6g}" for v in values)])
    return head, rows


def evidence_map(result: TemResult) -> np.ndarray:
    """Λ of every binned pixel in the windows of the sites; where windows overlap, the nearer site's. NaN elsewhere.

    Args:
        result: of the chain.

    Returns:
        The map [y, x].
    """
    b = result.columns.binning
    ny, nx = (n // b for n in result.total.shape)
    small = result.total[: ny * b, : nx * b].reshape(ny, b, nx, b).sum(axis=(1, 3))
    out, near = np.full((ny, nx), np.nan), np.full((ny, nx), np.inf)
    sites, frames = result.sites, len(result.counts)
    if not len(sites.position):
        return out
    span = sites.windows.present.shape[1:]
    parts = windows(small, sites.windows.corner, span)
    maps = ratio_map(parts, frames * sites.windows.present, frames * sites.windows.absent)
    for k, (row, column) in enumerate(sites.windows.corner):
        rows, cols = row + np.arange(span[0]), column + np.arange(span[1])
        y, x = (sites.position[k] + 0.5) / b - 0.5
        distance = np.hypot(rows[:, None] - y, cols - x)
        grid = np.ix_(rows, cols)
        closer = distance < near[grid]
        out[grid] = np.where(closer, maps[k], out[grid])
        near[grid] = np.minimum(distance, near[grid])
    return out


def draw(result: TemResult) -> Drawn:
    """Figures and captions by name."""
    columns, size = result.columns, result.pixel_size
    denoised = result.estimate.mean[0]
    drawn: dict[str, tuple[Any, str]] = {
        "columns": (
            particle_panels(result.total, denoised, columns.position, result.surface, columns.position_sd, pixel_size=size),
            "Counts in squares of 0.2 Å, the denoised image, and the columns with their standard errors, ten times enlarged.",
        ),
        "claims": (
            claim_panels(denoised, evidence_map(result), result.sites.position, result.verdicts, pixel_size=size),
            "Sites at the surface and the verdict on each; log likelihood ratio of every pixel near a site.",
        ),
    }  # fmt: skip
    if result.lattice is not None and np.isfinite(result.lattice.strain).any():
        drawn["strain"] = (
            strain_panels(columns.position, result.lattice.strain, pixel_size=size, shape=result.total.shape),
            "Strain against the lattice of most columns.",
        )  # fmt: skip
    if result.rates is not None:
        drawn["occupancy"] = (
            occupancy_map(result.movie.times, result.rates.probability, x_label=f"time [{result.movie.time_unit}]"),
            "Probability that each site of the surface is occupied, given all frames.",
        )  # fmt: skip
    return drawn


def _scene(result: TemResult) -> Scene:
    """Counts of the frames, where there are several, and nothing else: the denoised image is one for all."""
    movie, size = result.movie, result.pixel_size
    layer = values("counts", result.counts.astype(np.float32), "electrons")
    return Scene((layer,), movie.times, movie.time_unit, Pixel(size, size, "Å"))


def _findings(result: TemResult, table: NumberTable) -> list[Finding]:
    """How many columns, how well they are known, and what the dose can claim."""
    found = finding(table, result, "columns", "found", "Columns found")
    false = f"{result.hidden} false ones are found in vacuum of this size and dose."
    found = [replace(one, why=false) for one in found]
    found += finding(
        table, result, "columns", "error of a position along an axis, rms",
        "Standard deviation of a column's position along an axis",
    )  # fmt: skip
    found += finding(
        table, result, "claims", "power for a column, all frames, a site",
        "Probability that a surface column which is there is claimed (median site)",
        f"One frame alone: {np.median(result.single.power):.2g}." if len(result.verdicts) else "",
    )  # fmt: skip
    rates, unit = result.rates, f"1/{result.movie.time_unit}"
    if rates is not None:
        found.append(
            between("Rate of arrival at an empty site", rates.on, rates.on_interval, unit, verdict(result),
                    f"The interval holds {100 * rates.level:g} %.")
        )  # fmt: skip
    return opening(result, found)


def _report(
    result: TemResult,
    config: TemConfig,
    table: NumberTable,
    drawn: Drawn,
    progress: Progress | None,
) -> Report:
    """The page."""
    head, rows = site_table(result)
    sites = [dict(zip(head, row, strict=True)) for row in rows]
    pictures = [
        movie_section(_scene(result), drawn["columns"]),
        # Of images that are impossible no site is judged.
        *[Section("Which columns to believe", _verdicts(result), [sites], [drawn["claims"]])]
        * (not result.impossible),
    ]
    if "strain" in drawn:
        pictures.append(Section("Strain", (), (), [drawn["strain"]]))
    occupied = "occupancy" in drawn and not result.impossible
    return Report(
        f"phdenoise tem: {result.movie.name}",
        _findings(result, table),
        Origin(result.movie.name, asdict(config), result.movie.provenance),
        pictures=pictures,
        law=[Section("Occupancy of the surface", (), (), [drawn["occupancy"]])] * occupied,
        trust=[
            *warning_lights(result.impossible, result.warnings),
            *(trust_lights(result.estimate, progress) if result.estimate.trust else ()),
        ],
        details=[
            Section("What was found, in words", said(result)),
            Section("Method", [*_METHOD, *result.estimate.log]),
        ],
        numbers=table.rows,
    )


def _verdicts(result: TemResult) -> list[str]:
    """How many sites have each verdict."""
    if not result.verdicts:
        return ["No site of the surface was judged."]
    present, absent, open_ = (
        result.verdicts.count(v) for v in ("present", "absent", "cannot tell")
    )
    return [
        f"Sites of the surface: {present} columns are present, {absent} are absent, {open_} cannot be told."
    ]


def _arrays(path: Path, result: TemResult) -> None:
    """Arrays with units."""
    columns, size = result.columns, result.pixel_size
    arrays: dict[str, tuple[np.ndarray, str]] = {
        "columns/position": (size * columns.position, "Å"),
        "columns/position_covariance": (size**2 * columns.position_covariance, "Å^2"),
        "columns/intensity": (columns.intensity, "electrons"),
        "columns/intensity_sd": (columns.intensity_sd, "electrons"),
        "columns/width": (size * columns.width, "Å"),
        "columns/score": (columns.score, "sd"),
        "columns/p_value": (columns.p_value, "1"),
        "columns/surface": (result.surface.astype(np.uint8), "1"),
        "sites/position": (size * result.sites.position, "Å"),
        "sites/log_likelihood_ratio": (result.ratio, "1"),
        "sites/power": (result.test.power, "1"),
        "evidence": (evidence_map(result), "1"),
        "sum": (result.total, "electrons"),
    }
    if result.tracks is not None:
        arrays |= {
            "tracks/position": (size * result.tracks.position, "Å"),
            "tracks/position_sd": (size * result.tracks.position_sd, "Å"),
            "tracks/drift": (size * result.tracks.drift, "Å"),
        }
    if result.rates is not None:
        arrays["sites/occupied"] = (result.rates.probability, "1")
    write_arrays(path, arrays, f"{result.movie.name}: columns and sites")

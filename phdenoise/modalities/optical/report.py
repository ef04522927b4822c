"""`phdenoise optical`: a colour movie in, a folder out: phases, particles, tables, figures, a report and provenance.

Written: report.html, channels.h5 (denoised channels, networks, settings), fraction.h5 (x of each pixel as measured and
denoised, with variance), maps.npz (outlines and phase probabilities), particles.csv (each particle at each time),
light.csv, numbers.csv, PNG figures, provenance.json.
"""

from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np

from phdenoise.channels import Channels
from phdenoise.figures.optical_plots import (
    charge_curves,
    colour_plane,
    front_curves,
    phase_panels,
    rgb_panels,
)
from phdenoise.figures.scene import Scene, pixel_of, scene_of, spread, values
from phdenoise.io.atomic import atomic_directory, check_writable
from phdenoise.io.tables import write_rows
from phdenoise.io.writing import write
from phdenoise.modalities.optical.chain import analyse_graphite
from phdenoise.modalities.optical.config import OpticalConfig
from phdenoise.modalities.optical.result import OpticalResult, OpticalVersion
from phdenoise.modalities.results import (
    NumberTable,
    derived_estimate,
    finding,
    opening,
    provenance,
    said,
)
from phdenoise.movie import Estimate
from phdenoise.report.figure_config import FigureConfig
from phdenoise.report.folder import Drawn, write_report
from phdenoise.report.origin import Origin
from phdenoise.report.page import Finding, Light, Report, Section
from phdenoise.report.trust import movie_section, trust_lights, warning_lights
from phdenoise.types import Progress

UNIT = "lithium fraction x"
# Particles whose numbers stand at the top of the report: more would push the movie off the first screen.
_MOST_FINDINGS = 2


def run_optical(
    channels: Channels,
    output: str | Path,
    config: OpticalConfig,
    *,
    overwrite: bool = False,
    progress: Progress | None = None,
    pages: FigureConfig | None = None,
) -> OpticalResult:
    """Run the chain and write its folder, complete or not at all.

    Args:
        channels: colour movie [c, t, y, x] [counts].
        output: folder to write.
        config: of the chain.
        overwrite: whether an existing folder may be replaced.
        progress: called with (stage, step, steps, value).
        pages: formats of the figures.

    Returns:
        What was written.

    Raises:
        InputError: a setting that does not fit; an output that cannot be written.
    """
    origin = provenance(config, channels.movies[0].provenance)
    source = origin["input"].get("path")
    check_writable(output, overwrite, folder=True, inputs=[str(source)] if source else [])
    result = analyse_graphite(channels, config, progress=progress)
    table, drawn = numbers(result), draw(result)
    with atomic_directory(output, overwrite=overwrite) as made:
        folder = Path(made)
        write(result.estimate, folder / "channels.h5")
        write(_fraction_estimate(result), folder / "fraction.h5")
        np.savez_compressed(
            folder / "maps.npz",
            labels=result.particles.labels,
            measured=result.raw.maps.probability,
            denoised=result.denoised.maps.probability,
            phases=np.asarray([p.name for p in result.phases]),
            times=result.channels.movies[0].times,
        )
        _write_particles(folder / "particles.csv", result)
        _write_light(folder / "light.csv", result)
        report = _report(result, config, table, drawn, progress)
        write_report(folder, report, drawn, origin, pages)
    return result


def _fraction_estimate(result: OpticalResult) -> Estimate:
    """x of each pixel inside the particles as a movie: as measured, and denoised with its variance."""
    raw, clean = result.raw.maps, result.denoised.maps
    measured = np.where(np.isfinite(clean.fraction), raw.fraction, np.nan)
    return derived_estimate(
        result, result.channels.movies[0], f"{result.channels.name} fraction", UNIT,
        (measured, raw.sd), (clean.fraction, clean.sd),
    )  # fmt: skip


def numbers(result: OpticalResult) -> NumberTable:
    """Every number of the result."""
    table, unit = NumberTable(), result.channels.movies[0].intensity_unit
    for phase, colour, cov, share in zip(
        result.phases, result.mixture.colours, result.mixture.covariance, result.mixture.shares,
        strict=True,
    ):  # fmt: skip
        for k, channel in enumerate(result.channels.names):
            table.add("colours", f"{phase.name}, {channel}", colour[k], np.sqrt(cov[k, k]), unit)
        table.add("colours", f"{phase.name}, share of pixels", share)
    for label, version in _versions(result):
        shares = version.maps.probability
        sure = shares[:, np.isfinite(shares[0])].max(axis=0).mean()
        table.add("certainty", f"{label}, mean probability of the phase named", sure)
        table.add("certainty", f"{label}, sd of x of a pixel", np.nanmedian(version.maps.sd))
        if not result.impossible:
            sd = np.nanmedian(version.charge.soc_sd)
            table.add("certainty", f"{label}, sd of the state of charge of a particle", sd)
    for p in range(len(result.denoised.charge.soc)) if not result.impossible else ():
        _add_particle(table, result, p)
    return table


def _add_particle(table: NumberTable, result: OpticalResult, p: int) -> None:
    """Size, state of charge and mean speeds of the fronts of one particle."""
    movie = result.channels.movies[0]
    charge, moved = result.denoised.charge, result.denoised.fronts
    size = float(np.nanmedian(charge.pixels[p])) * float(np.prod(movie.pixel_size))
    table.add("particles", f"particle {p + 1}, area", size, unit=f"{movie.length_unit}^2")
    for when, t in (("first", 0), ("last", -1)):
        name = f"particle {p + 1}, state of charge, {when} frame"
        table.add("particles", name, charge.soc[p, t], charge.soc_sd[p, t])
    for k in range(moved.speed.shape[1]):
        v, s = moved.speed[p, k], moved.speed_sd[p, k]
        good = np.isfinite(v)
        if not good.any():
            continue
        w = 1 / s[good] ** 2
        # Neighbouring speeds share frames: the mean is no better than 1/(2h+1) of them would make it.
        sd = np.sqrt(1 / w.sum() * min(7, good.sum()))
        name = f"particle {p + 1}, mean speed of the front of {result.phases[k + 1].name}"
        unit = f"{movie.length_unit}/{movie.time_unit}"
        table.add("particles", name, np.sum(w * v[good]) / w.sum(), sd, unit)


def _write_particles(path: Path, result: OpticalResult) -> None:
    """A row per particle and time, measured and denoised."""
    movie = result.channels.movies[0]
    names = [p.name for p in result.phases]
    length, time = movie.length_unit, movie.time_unit
    head = ["particle", f"time [{time}]", "area [px]"]
    for label, _ in _versions(result):
        head += [f"{label} state of charge [1]", f"{label} state of charge sd [1]"]
        for name in names:
            head += [f"{label} share of {name} [1]", f"{label} share of {name} sd [1]"]
        for name in names[1:]:
            for what, unit in (("depth", length), ("speed", f"{length}/{time}")):
                head += [
                    f"{label} {what} of the front of {name}{end} [{unit}]" for end in ("", " sd")
                ]
    rows = []
    for p in range(len(result.denoised.charge.soc)):
        for t, at in enumerate(movie.times):
            row: list[Any] = [p + 1, at, int(result.denoised.charge.pixels[p, t])]
            for _, v in _versions(result):
                row += [v.charge.soc[p, t], v.charge.soc_sd[p, t]]
                for k in range(len(names)):
                    row += [v.charge.area[p, k, t], v.charge.area_sd[p, k, t]]
                for k in range(len(names) - 1):
                    f = v.fronts
                    row += [a[p, k, t] for a in (f.depth, f.depth_sd, f.speed, f.speed_sd)]
            rows.append(row)
    write_rows(path, head, rows)


def _write_light(path: Path, result: OpticalResult) -> None:
    """Light of each channel, and the drift of the scene."""
    movie = result.channels.movies[0]
    names = result.channels.names
    head = [
        f"time [{movie.time_unit}]",
        *(f"light {n}{end} [1]" for n in names for end in ("", " sd")),
    ]
    head += ["drift y [px]", "drift x [px]"]
    rows = [
        [at, *(a[c, t] for c in range(len(names)) for a in (result.light, result.light_sd)),
         *result.displacement[t]]
        for t, at in enumerate(movie.times)
    ]  # fmt: skip
    write_rows(path, head, rows)


def draw(result: OpticalResult) -> Drawn:
    """Figures and captions by name."""
    movie = result.channels.movies[0]
    times = movie.times
    pick = [int(t) for t in np.unique(np.linspace(0, len(times) - 1, 5).round())]
    names = [p.name for p in result.phases]
    labels = result.particles.labels
    versions = dict(_versions(result))
    title = [f"{times[t]:.4g} {movie.time_unit}" for t in pick]
    pixel = pixel_of(movie)
    return {
        "colours": (
            rgb_panels({k: v.colours.mean[:, pick] for k, v in versions.items()}, labels[pick], title, pixel),
            "Frames without drift of the light, as measured and denoised, on one scale; outlines of the particles.",
        ),
        "phases": (
            phase_panels({k: v.maps.probability[:, pick] for k, v in versions.items()}, names, title, pixel),
            "Most probable phase; the paler, the less probable.",
        ),
        "charge": (
            charge_curves(
                times,
                {k: (v.charge.soc, v.charge.soc_sd) for k, v in versions.items()},
                x_label=f"time [{movie.time_unit}]",
            ),
            "State of charge of each particle with 90 % bands.",
        ),
        "fronts": (
            front_curves(
                times,
                (result.denoised.fronts.depth, result.denoised.fronts.depth_sd),
                (result.denoised.fronts.speed, result.denoised.fronts.speed_sd),
                names[1:],
                x_label=f"time [{movie.time_unit}]",
                depth_label=f"depth under the rim [{movie.length_unit}]",
                speed_label=f"speed [{movie.length_unit}/{movie.time_unit}]",
            ),
            "Depth and speed of the fronts in each particle, denoised, with 90 % bars.",
        ),
        "mixture": (
            colour_plane(
                {k: v.colours.mean[:, labels > 0] for k, v in versions.items()},
                result.mixture.colours, result.mixture.covariance, names,
                channels=result.channels.names, unit=movie.intensity_unit,
            ),
            "Colours of the pixels inside the particles, and of the phases that the mixture found.",
        ),
    }  # fmt: skip


def _versions(result: OpticalResult) -> list[tuple[str, OpticalVersion]]:
    return [("measured", result.raw), ("denoised", result.denoised)]


def _scene(result: OpticalResult) -> Scene:
    """Lithium fraction of each pixel as measured and denoised, with its standard deviation; unknown outside the particles."""
    raw, clean = result.raw.maps, result.denoised.maps
    measured = np.where(np.isfinite(clean.fraction), raw.fraction, np.nan)
    full = np.array([0.0, 1.0])
    return scene_of(
        result.channels.movies[0],
        [
            values("measured", measured, UNIT, full),
            values("denoised", clean.fraction, UNIT, full),
            spread("sd", clean.sd, UNIT),
        ],
    )


def _findings(result: OpticalResult, table: NumberTable) -> list[Finding]:
    """Charge and fronts of the first particles, and the certainty of a pixel."""
    found: list[Finding] = []
    count = len(result.denoised.charge.soc)
    for p in range(min(count, _MOST_FINDINGS)):
        name = f"particle {p + 1}"
        found += finding(table, result, "particles", f"{name}, state of charge, last frame")
        for phase in result.phases[1:]:
            found += finding(
                table, result, "particles", f"{name}, mean speed of the front of {phase.name}"
            )
    why = f"{count} particles were found; numbers.csv has all of them."
    found += finding(
        table, result, "certainty", "denoised, sd of x of a pixel",
        "Standard deviation of the lithium fraction of a pixel, denoised", why,
    )  # fmt: skip
    return opening(result, found)


def _report(
    result: OpticalResult,
    config: OpticalConfig,
    table: NumberTable,
    drawn: Drawn,
    progress: Progress | None,
) -> Report:
    """The page."""
    charged = [] if result.impossible else [drawn["charge"], drawn["fronts"]]
    movie = result.channels.movies[0]
    lights: list[Light] = []
    for name, estimate in zip(result.estimate.names, result.estimate.estimates, strict=True):
        lights += [
            replace(light, name=f"channel {name}, {light.name}")
            for light in trust_lights(estimate, progress)
        ]
    return Report(
        f"phdenoise optical: {result.channels.name}",
        _findings(result, table),
        Origin(result.channels.name, asdict(config), movie.provenance),
        pictures=[
            movie_section(_scene(result), drawn["colours"]),
            Section("Phases", (), (), [drawn["phases"], drawn["mixture"]]),
        ],
        law=[Section("Charge and fronts of the particles", (), (), charged)] * bool(charged),
        trust=[*warning_lights(result.impossible, result.warnings), *lights],
        details=[
            Section("What was found, in words", said(result)),
            Section("Denoising, step by step", result.estimate.sentences()),
        ],
        numbers=table.rows,
    )

"""`phdenoise optical`: a colour movie in, a folder out: phases, particles, tables, figures, a report and provenance.

Written: report.html, channels.h5 (denoised channels, networks, settings), fraction.h5 (x of each pixel as measured and
denoised, with variance), maps.npz (outlines and phase probabilities), particles.csv (each particle at each time),
light.csv, numbers.csv, PNG figures, provenance.json.
"""

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np

from phdenoise import figures, selfcheck
from phdenoise.chains.optical import OpticalResult, OpticalVersion, analyse_graphite
from phdenoise.chains.optical_config import OpticalConfig
from phdenoise.channels import Channels
from phdenoise.figures.optical_plots import (
    charge_curves,
    colour_plane,
    front_curves,
    phase_panels,
    rgb_panels,
)
from phdenoise.io import atomic_directory, check_writable, write, write_json
from phdenoise.io.tables import write_rows, write_table
from phdenoise.movie import Estimate
from phdenoise.noise import Gaussian
from phdenoise.types import Progress

REPORT = "report.html"
UNIT = "lithium fraction x"


def run_optical(
    channels: Channels,
    output: str | Path,
    config: OpticalConfig,
    *,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> OpticalResult:
    """Run the chain and write its folder, complete or not at all.

    Raises:
        InputError: a setting that does not fit; an output that cannot be written.
    """
    source = channels.movies[0].provenance.get("path")
    check_writable(output, overwrite, folder=True, inputs=[str(source)] if source else [])
    result = analyse_graphite(channels, config, progress=progress)
    drawn = draw(result)
    with atomic_directory(output, overwrite=overwrite) as made:
        folder = Path(made)
        write(result.estimate, folder / "channels.h5")
        write(fraction_estimate(result), folder / "fraction.h5")
        np.savez_compressed(
            folder / "maps.npz",
            labels=result.particles.labels,
            measured=result.raw.maps.probability,
            denoised=result.denoised.maps.probability,
            phases=np.asarray([p.name for p in result.phases]),
            times=result.channels.movies[0].times,
        )
        write_particles(folder / "particles.csv", result)
        write_light(folder / "light.csv", result)
        rows = numbers(result)
        write_table(folder / "numbers.csv", rows)
        write_json(
            {
                "versions": selfcheck.versions(),
                "settings": asdict(config),
                "input": dict(channels.movies[0].provenance),
            },
            folder / "provenance.json",
        )
        for name, (figure, _) in drawn.items():
            figures.save(figure, folder / f"{name}.png")
        (folder / REPORT).write_text(
            figures.report_html(
                f"phdenoise optical: {channels.name}", _sections(result, rows, drawn)
            ),
            encoding="utf-8",
        )
    return result


def fraction_estimate(result: OpticalResult) -> Estimate:
    """x of each pixel inside the particles as a movie: as measured, and denoised with its variance."""
    first = result.channels.movies[0]
    inside = np.isfinite(result.denoised.maps.fraction)
    movie = first.with_frames(
        np.where(inside, result.raw.maps.fraction, np.nan).astype(np.float32),
        intensity_unit=UNIT,
        mask=inside,
        noise=None,
        name=f"{result.channels.name} fraction",
    )
    maps = result.denoised.maps
    typical = float(np.nanmedian(result.raw.maps.sd))
    return Estimate(
        movie,
        maps.fraction.astype(np.float32),
        (maps.sd.astype(np.float64) ** 2).astype(np.float32),
        Gaussian(jnp.float32(typical)),
        log=(*result.warnings, *result.sentences),
        settings=dict(result.estimate.settings),
    )


def numbers(result: OpticalResult) -> list[dict[str, Any]]:
    """Every number as rows: group, name, value, sd, unit."""
    movie = result.channels.movies[0]
    rows: list[dict[str, Any]] = []

    def add(group: str, name: str, value: Any, sd: Any, unit: str) -> None:
        rows.append(
            {"group": group, "name": name, "value": float(value), "sd": float(sd), "unit": unit}
        )

    nan = float("nan")
    for phase, colour, cov, share in zip(
        result.phases, result.mixture.colours, result.mixture.covariance, result.mixture.shares,
        strict=True,
    ):  # fmt: skip
        for k, channel in enumerate(result.channels.names):
            sd = float(np.sqrt(cov[k, k]))
            add("colours", f"{phase.name}, {channel}", colour[k], sd, movie.intensity_unit)
        add("colours", f"{phase.name}, share of pixels", share, nan, "1")
    for label, version in _versions(result):
        shares = version.maps.probability
        sure = float(shares[:, np.isfinite(shares[0])].max(axis=0).mean())
        add("certainty", f"{label}, mean probability of the phase named", sure, nan, "1")
        sd = np.nanmedian(version.maps.sd)
        add("certainty", f"{label}, sd of x of a pixel", sd, nan, "1")
        sd = np.nanmedian(version.charge.soc_sd)
        add("certainty", f"{label}, sd of the state of charge of a particle", sd, nan, "1")
    speed_unit = f"{movie.length_unit}/{movie.time_unit}"
    charge, moved = result.denoised.charge, result.denoised.fronts
    for p in range(len(charge.soc)):
        size = float(np.nanmedian(charge.pixels[p])) * float(np.prod(movie.pixel_size))
        add("particles", f"particle {p + 1}, area", size, nan, f"{movie.length_unit}^2")
        for when, t in (("first", 0), ("last", -1)):
            value, sd = charge.soc[p, t], charge.soc_sd[p, t]
            add("particles", f"particle {p + 1}, state of charge, {when} frame", value, sd, "1")
        for k in range(moved.speed.shape[1]):
            v, s = moved.speed[p, k], moved.speed_sd[p, k]
            good = np.isfinite(v)
            if not good.any():
                continue
            w = 1 / s[good] ** 2
            # Neighbouring speeds share frames: the mean is no better than 1/(2h+1) of them would make it.
            sd = float(np.sqrt(1 / w.sum() * min(7, good.sum())))
            name = f"particle {p + 1}, mean speed of the front of {result.phases[k + 1].name}"
            add("particles", name, float(np.sum(w * v[good]) / w.sum()), sd, speed_unit)
    return rows


def write_particles(path: Path, result: OpticalResult) -> None:
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


def write_light(path: Path, result: OpticalResult) -> None:
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


def draw(result: OpticalResult) -> dict[str, tuple[Any, str]]:
    """Name -> (figure, caption)."""
    movie = result.channels.movies[0]
    times = movie.times
    pick = [int(t) for t in np.unique(np.linspace(0, len(times) - 1, 5).round())]
    names = [p.name for p in result.phases]
    labels = result.particles.labels
    versions = dict(_versions(result))
    title = [f"{times[t]:.4g} {movie.time_unit}" for t in pick]
    drawn = {
        "colours": (
            rgb_panels({k: v.colour[:, pick] for k, v in versions.items()}, labels[pick], title),
            "Frames without drift of the light, as measured and denoised, on one scale; outlines of the particles.",
        ),
        "phases": (
            phase_panels({k: v.maps.probability[:, pick] for k, v in versions.items()}, names, title),
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
                {k: v.colour[:, labels > 0] for k, v in versions.items()},
                result.mixture.colours, result.mixture.covariance, names,
                channels=result.channels.names, unit=movie.intensity_unit,
            ),
            "Colours of the pixels inside the particles, and of the phases that the mixture found.",
        ),
    }  # fmt: skip
    return drawn


def _versions(result: OpticalResult) -> list[tuple[str, OpticalVersion]]:
    return [("measured", result.raw), ("denoised", result.denoised)]


def _sections(
    result: OpticalResult, rows: list[dict[str, Any]], drawn: Mapping[str, tuple[Any, str]]
) -> list[figures.Section]:
    def of(*groups: str) -> list[dict[str, Any]]:
        return [r for r in rows if r["group"] in groups]

    warnings = [f"Warning: {w}" for w in result.warnings]
    return [
        figures.Section(
            "Summary", [*warnings, *result.sentences], [of("certainty")], [drawn["colours"]]
        ),
        figures.Section("Phases", (), [of("colours")], [drawn["phases"], drawn["mixture"]]),
        figures.Section("Particles", (), [of("particles")], [drawn["charge"], drawn["fronts"]]),
        figures.Section("Denoising", result.estimate.sentences()),
    ]

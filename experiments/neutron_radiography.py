"""Study: what denoising is worth to neutron radiographs, on a simulated cell and on a real beam.

    python -m experiments.neutron_radiography run|collect|figure [--fast] [--data FOLDER]

`cell`: a simulated cell over charge-discharge cycles, at several doses and two seeds each; errors are against the
same chain on noise-free counts. Two seeds give the bias without its noise: <e₁ e₂> over pixels and frames.
`open-beam`: real counts of a multichannel plate, every other frame denoised, the others averaged to judge it by.
`edge`: the same counts behind a slanted absorber, by binomial thinning, whose edge has a known width.
The last two need neutron_open_beam.npz in the folder --data (or $PHDENOISE_DATA) and are left out without it.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

import jax.numpy as jnp
import numpy as np
from scipy import ndimage, optimize, special

from experiments.command import command, keep, kept, rms
from phdenoise.denoising import denoise
from phdenoise.denoising.config import DenoiseConfig
from phdenoise.figures.neutron_plots import along_time, change_maps, diffusivity, profiles
from phdenoise.figures.plots import save, sweep
from phdenoise.modalities.neutron.chain import analyse_radiographs
from phdenoise.modalities.neutron.config import NeutronConfig
from phdenoise.modalities.neutron.quantities import Track, quantities
from phdenoise.modalities.neutron.radiograph import calibration
from phdenoise.modalities.neutron.twin import (
    CellConfig,
    Instrument,
    current,
    instrument,
    simulate_cell,
)
from phdenoise.movie import Movie
from phdenoise.types import InputError
from phdenoise.uncertainty.error_correlation import INDEPENDENT

UNIT = "mol/cm^3"
REPEATS = 40  # of open beam and dark field
SPREAD = 1.0  # sd of the phantom's edge [px]


def _denoise() -> DenoiseConfig:
    return DenoiseConfig(preset="quick", steps=400, seconds=3600.0)


@dataclass(frozen=True)
class NeutronStudy:
    """One run of the study."""

    scene: Literal["cell", "open-beam", "edge"] = "cell"
    """What is looked at."""
    cell: CellConfig = field(default_factory=CellConfig)
    """The simulated cell."""
    dose: float = 40.0
    """Counts of an open pixel in a frame."""
    seed: int = 0
    """Of the counts."""
    data: str = ""
    """File of real counts."""
    side: int = 96
    """Rows and columns of it that are used, from its right edge."""
    frames: int = 40
    """Frames of it that are used."""
    denoise: DenoiseConfig = field(default_factory=_denoise)
    """How to denoise."""


def run(config: NeutronStudy, store: Path) -> dict[str, float]:
    """Numbers of one run; its arrays go to `store`.

    Args:
        config: of the run.
        store: folder for its arrays.

    Returns:
        Name -> number, a row of the table.
    """
    row, arrays = {"cell": _cell, "open-beam": _open_beam, "edge": _edge}[config.scene](config)
    keep(store, config, arrays)
    return row


def chain_config(cell: CellConfig, denoising: DenoiseConfig) -> NeutronConfig:
    """The boxes and lines of the simulated cell.

    Args:
        cell: that was simulated.
        denoising: how to denoise.

    Returns:
        Settings of the chain.
    """
    first, last = cell.columns
    ny, nx = cell.shape[0] + cell.margin, cell.shape[1]
    middle = cell.margin + (cell.shape[0] - 1) / 2
    return NeutronConfig(
        rest=cell.rest,
        dose_region=(0, max(cell.margin - 2, 1), 0, nx),
        thickness=cell.thickness,
        gain=1.0,
        uniform=(cell.margin + 2, ny, first + 2, last - 2),
        collector=(cell.margin + 2, ny, 0, max(round(0.12 * first), 2)),
        line=(middle, 0.0, middle, nx - 1.0),
        line_width=cell.shape[0] - 4.0,
        saturation=cell.saturation,
        rest_filling=0.2,
        electrode=(0, first),
        cycle_ends=tuple(cell.period * (k + 1) for k in range(cell.cycles)),
        denoise=denoising,
    )


def _cell(config: NeutronStudy) -> tuple[dict[str, float], dict[str, np.ndarray]]:
    cell = config.cell
    times, u = simulate_cell(cell)
    device = instrument(cell, config.dose)
    clean = np.asarray(device.observe(u), float)
    rng = np.random.default_rng(config.seed)
    movie = Movie.from_array(
        rng.poisson(clean).astype(np.float32), times=times, pixel_size=(cell.pixel_size,) * 2,
        time_unit="h", length_unit="cm", name=f"cell at {config.dose:g} counts",
    )  # fmt: skip
    shape = (REPEATS, *clean.shape[1:])
    beam = rng.poisson(np.asarray(device.open_beam(), float), shape)
    dark = rng.poisson(np.asarray(device.dark, float), shape)
    cal = calibration(
        beam.astype(float), dark.astype(float), scatter=np.asarray(device.scatter, float)
    )
    chain = chain_config(cell, replace(config.denoise, seed=config.seed))
    result = analyse_radiographs(movie, cal, chain, current=current(cell))
    exact = _without_noise(clean, device, chain, movie)
    rows = slice(cell.margin, None)
    moved = slice(cell.rest, None)

    def error(track: Track) -> np.ndarray:
        return (track.value - exact.change.value)[moved, rows]

    raw, clear = error(result.raw.change), error(result.denoised.change)
    numbers = {
        "signal_rms": rms(exact.change.value[moved, rows]),
        "error_measured": rms(raw),
        "error_denoised": rms(clear),
        "error_down_percent": 100 * (1 - rms(clear) / rms(raw)),
    }
    for key, name in (("rest", "over frames at rest"), ("uniform", "over pixels of the uniform box")):  # fmt: skip
        before, after = (v.variability[name] for v in (result.raw, result.denoised))
        numbers |= {
            f"{key}_measured": before,
            f"{key}_denoised": after,
            f"{key}_down_percent": 100 * (1 - after / before),
        }
    truth = exact.profile.value[moved]
    for label, version in (("measured", result.raw), ("denoised", result.denoised)):
        left = version.profile.value[moved] - truth
        numbers |= {
            f"profile_error_{label}": rms(left),
            f"profile_se_{label}": rms(version.profile.sd[moved]),
            f"profile_covered_90_{label}": float(
                np.mean(np.abs(left) < 1.645 * version.profile.sd[moved])
            ),
        }
        assert version.collector is not None
        assert exact.collector is not None
        ends = [int(np.argmin(np.abs(times - e))) for e in chain.cycle_ends]
        numbers[f"collector_error_{label}"] = rms(
            version.collector.value[ends] - exact.collector.value[ends]
        )
        numbers["collector_truth"] = rms(exact.collector.value[ends])
    fit = result.fit
    assert fit is not None
    d = np.exp(np.polynomial.legendre.legval(2 * fit.curves["u"] - 1, cell.log_diffusivity))
    inside = (fit.curves["D_low"] <= d) & (d <= fit.curves["D_high"])
    stated = fit.determined
    numbers |= {
        "D_determined": float(stated),
        "D_relative_rms": rms(fit.curves["D"] / d - 1) if stated else np.nan,
        "D_covered_90": float(np.mean(inside)) if stated else np.nan,
        "D_sd_relative": float(np.median(fit.curves["D_sd"] / fit.curves["D"])),
    }
    arrays = {
        "times": times, "distance": result.distance, "exact": exact.change.value,
        "measured": result.raw.change.value, "denoised": result.denoised.change.value,
        "exact_profile": exact.profile.value, "lithium": cell.saturation * (np.asarray(u) - np.asarray(u)[:1]),
        "collector_exact": exact.collector.value, "D_true": d, **{f"curve_{k}": v for k, v in fit.curves.items()},
    }  # fmt: skip
    for label, version in (("measured", result.raw), ("denoised", result.denoised)):
        assert version.collector is not None
        arrays |= {
            f"profile_{label}": version.profile.value,
            f"profile_sd_{label}": version.profile.sd,
            f"collector_{label}": version.collector.value,
            f"collector_sd_{label}": version.collector.sd,
        }
    return numbers, arrays


def _without_noise(clean: np.ndarray, device: Instrument, config: NeutronConfig, movie: Movie):
    """What the same chain makes of the expected counts, with everything known about the instrument."""
    dose = np.asarray(device.dose, float)
    zeros = np.zeros(clean.shape[1:])
    cal = calibration(
        np.asarray(device.open_beam(), float)[None],
        np.asarray(device.dark, float)[None],
        scatter=np.asarray(device.scatter, float),
    )
    cal = replace(cal, dark=jnp.asarray(device.dark), open_beam_variance=jnp.asarray(zeros))
    even = clean / dose[:, None, None]
    exact = Track(dose, 0 * dose)
    return quantities(even, 0 * even, cal, None, exact, config, INDEPENDENT, movie)


def _counts(config: NeutronStudy) -> np.ndarray:
    """Real repeats, cut."""
    with np.load(config.data, allow_pickle=False) as archive:
        frames = archive["static"]
    return frames[: config.frames, : config.side, -config.side :].astype(np.int64)


def _open_beam(config: NeutronStudy) -> tuple[dict[str, float], dict[str, np.ndarray]]:
    """Every other frame denoised; the mean of the others stands for the truth."""
    counts = _counts(config).astype(float)
    even = counts / counts.mean((1, 2), keepdims=True) * counts.mean()
    shown, left_out = even[::2], even[1::2]
    estimate = denoise(Movie.from_array(shown.astype(np.float32), name="open beam"), config.denoise)
    truth = left_out.mean(0)
    # The mean's own noise is in both and in neither's favour.
    own = float(left_out.var(axis=0, ddof=1).mean()) / len(left_out)
    before, after = (float(np.mean((f - truth) ** 2)) for f in (shown, estimate.mean))
    widths = [_step_width(f) for f in (truth, estimate.mean.mean(0), shown.mean(0))]
    return {
        "variance_measured": before,
        "variance_denoised": after,
        "variance_of_mean": own,
        "variance_down_percent": 100 * (1 - after / before),
        "variance_down_percent_net": 100 * (1 - (after - own) / (before - own)),
        "sd_down_percent_net": 100 * (1 - np.sqrt(max(after - own, 0) / (before - own))),
        "edge_repeats_px": widths[0],
        "edge_denoised_px": widths[1],
        "edge_measured_mean_px": widths[2],
    }, {"measured": shown[:1], "denoised": estimate.mean[:1], "repeats": truth[None]}


def _edge(config: NeutronStudy) -> tuple[dict[str, float], dict[str, np.ndarray]]:
    """Real counts thinned by a slanted absorber: statistics stay those of the detector, the edge is known."""
    counts = _counts(config)
    side = counts.shape[1]
    y, x = np.mgrid[:side, :side]
    angle = np.deg2rad(8.0)
    s = (x - 0.45 * side) * np.cos(angle) + (y - 0.5 * side) * np.sin(angle)
    t = 0.35 + 0.5 * special.ndtr(s / SPREAD)
    rng = np.random.default_rng(config.seed)
    thin = rng.binomial(counts, t[None]).astype(float)
    thin = thin / counts.mean((1, 2), keepdims=True) * counts.mean()
    shown, left_out = thin[::2], thin[1::2]
    estimate = denoise(Movie.from_array(shown.astype(np.float32), name="edge"), config.denoise)
    beam = ndimage.gaussian_filter(counts.mean(0), 4.0)
    near = (np.abs(s) < 10) & (x < side - 8)
    repeats = _erf_width(s[near], (left_out.mean(0) / beam)[near])
    frames = [_erf_width(s[near], (f / beam)[near]) for f in estimate.mean]
    return {
        "edge_true_px": 2 * special.ndtri(0.9) * SPREAD,
        "edge_repeats_px": repeats,
        "edge_denoised_px": float(np.mean(frames)),
        "edge_denoised_sd_px": float(np.std(frames)),
        "edge_change_percent": 100 * (float(np.mean(frames)) / repeats - 1),
    }, {"measured": shown[:1], "denoised": estimate.mean[:1], "repeats": left_out.mean(0)[None]}


def _erf_width(s: np.ndarray, value: np.ndarray) -> float:
    """10-90 % width [px] of the error function that fits values at distances s from an edge."""

    def edge(s: np.ndarray, low: float, step: float, at: float, sd: float) -> np.ndarray:
        return low + step * special.ndtr((s - at) / sd)

    start = (float(value[s < 0].mean()), float(np.ptp(value) / 2), 0.0, 1.0)
    found, _ = optimize.curve_fit(edge, s, value, start, bounds=([-9, -9, -5, 0.05], [9, 9, 5, 9]))
    return float(2 * special.ndtri(0.9) * found[3])


def _step_width(frame: np.ndarray) -> float:
    """10-90 % width [px] of the drop at the right edge of the detector, mean over rows."""
    row = frame.mean(0)[-16:]
    top, bottom = float(np.median(row[:8])), float(row.min())
    share = (row - bottom) / (top - bottom)
    fine = np.linspace(0, share.size - 1, 2001)
    curve = np.interp(fine, np.arange(share.size), share)
    last90 = fine[np.nonzero(curve >= 0.9)[0][-1]]
    return float(fine[np.nonzero((curve <= 0.1) & (fine > last90))[0][0]] - last90)


def configs(fast: bool, data: str) -> list[NeutronStudy]:
    """Doses and seeds of the cell, then the real beam where its file is there.

    Args:
        fast: a version of minutes.
        data: file of the real beam.

    Returns:
        The sweep.
    """
    if fast:
        base = NeutronStudy(
            cell=CellConfig(shape=(24, 32), cycles=2, frames_per_cycle=8, rest=6, substeps=4),
            side=48,
            frames=16,
            denoise=DenoiseConfig(
                preset="quick", steps=40, seconds=3600.0, width=16, symmetries=2, crop=32
            ),
        )
        doses: tuple[float, ...] = (40.0,)
    else:
        base, doses = NeutronStudy(), (40.0, 160.0, 15.0)
    out = [replace(base, dose=d, seed=s) for d in doses for s in (0, 1)]
    file = Path(data) / "neutron_open_beam.npz"
    if data and file.is_file():
        out += [replace(base, scene=scene, data=str(file)) for scene in ("open-beam", "edge")]
    return out


def bias(folder: Path, base: NeutronStudy) -> dict[str, float]:
    """rms bias of the profile and of single pixels from two seeds, sqrt(max(<e₁ e₂>, 0)) [mol/cm³].

    Args:
        folder: of the study.
        base: configuration of the two runs but for the seed.

    Returns:
        Name -> bias [mol/cm³].
    """
    first, second = (kept(folder, replace(base, seed=s)) for s in (0, 1))
    rest = base.cell.rest
    out = {}
    for label in ("measured", "denoised"):
        for name, exact, key in (
            ("profile", "exact_profile", f"profile_{label}"),
            ("pixel", "exact", label),
        ):
            rows = slice(base.cell.margin, None) if name == "pixel" else slice(None)
            a, b = ((d[key] - d[exact])[rest:, rows] for d in (first, second))
            product = float(np.nanmean(a.astype(float) * b))
            out[f"{name}_bias_{label}"] = float(np.sqrt(max(product, 0.0)))
    return out


def tell(rows: list[dict[str, str]], folder: Path, every: Sequence[NeutronStudy]) -> None:
    """The figures that matter, one line each.

    Args:
        rows: of the finished runs.
        folder: of the study.
        every: the sweep.
    """
    for config in (c for c in every if c.scene == "cell" and c.seed == 0):
        try:
            found = bias(folder, config)
        except InputError:
            continue
        same = [r for r in rows if r["dose"] == str(config.dose) and r["scene"] == "cell"]
        se = float(same[0]["profile_se_measured"])
        share = found["profile_bias_denoised"] / se
        print(
            f"dose {config.dose:g}: bias of the denoised profile {found['profile_bias_denoised']:.3g} {UNIT}, "
            f"{share:.3f} of the measured profile's standard error {se:.3g}; of single pixels "
            f"{found['pixel_bias_denoised']:.3g}."
        )


def draw(rows: list[dict[str, str]], folder: Path, every: Sequence[NeutronStudy]) -> None:
    """Figures of the first configuration, and of all from the table.

    Args:
        rows: of the finished runs.
        folder: for the figures.
        every: the sweep.
    """
    config = every[0]
    d = kept(folder, config)
    times, cell = d["times"], config.cell
    half = cell.frames_per_cycle // 2
    pick = [cell.rest + k * half for k in range(1, 2 * cell.cycles + 1)][:6]
    cut = slice(cell.margin, None)
    maps = {k: d[k][:, cut] for k in ("measured", "denoised", "exact")}
    maps = {("without noise" if k == "exact" else k): v for k, v in maps.items()}
    label = f"change of lithium [{UNIT}]"
    save(change_maps(maps, list(times), pick, time_unit="h", unit=label), folder / "maps.png")
    panels, lines = {}, {}
    for t in pick[:3]:
        title = f"{times[t]:.3g} h"
        panels[title] = {k: (d[f"profile_{k}"][t], d[f"profile_sd_{k}"][t]) for k in ("measured", "denoised")}  # fmt: skip
        lines[title] = {"without noise": d["exact_profile"][t]}
    save(
        profiles(
            d["distance"], panels, lines=lines, x_label="distance across the cell [cm]", y_label=label
        ),
        folder / "profiles.png",
    )  # fmt: skip
    save(
        along_time(
            times,
            {k: (d[f"collector_{k}"], d[f"collector_sd_{k}"]) for k in ("measured", "denoised")},
            x_label="time [h]",
            y_label=f"lithium at the collector [{UNIT}]",
            marks=[cell.period * (k + 1) for k in range(cell.cycles)],
            line=("without noise", d["collector_exact"]),
        ),
        folder / "collector.png",
    )
    curve = {k.removeprefix("curve_"): v for k, v in d.items() if k.startswith("curve_")}
    save(
        diffusivity({"fit": curve}, x_label="filling u", y_label="D [cm^2/h]", truth=(curve["u"], d["D_true"])),
        folder / "diffusivity.png",
    )  # fmt: skip
    rows = [r for r in rows if r["scene"] == "cell"]
    names = {"at rest": "rest_down_percent", "uniform box": "uniform_down_percent", "error": "error_down_percent"}  # fmt: skip
    save(
        sweep(rows, x="dose", ys=names, x_label="dose [counts/pixel]", y_label="less than measured [%]"),
        folder / "reduction.png",
    )  # fmt: skip


if __name__ == "__main__":
    command("neutron_radiography", run, configs, draw, tell=tell, keeps=True, data=True)

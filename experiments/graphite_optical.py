"""Study: what denoising is worth to colour movies of graphite, on a simulated bed of particles.

    python -m experiments.graphite_optical run|collect|figure [--fast]

A bed of graphite fills at constant current by the two-layer law; a camera with photon noise, read noise and a drifting
light looks at it; `phdenoise optical` works on the counts. Scored against what was simulated: intersection over union
of the particles, accuracy and F1 of the phases of all their pixels, state of charge and speed of fronts with their
error bars, for frames as measured and denoised. Pixels as measured are classified with the colours that were found on
the denoised frames and with the noise that they have, which is the best that a pixel by itself can do.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import jax
import numpy as np

from experiments.command import command, keep, kept, rms
from phdenoise.channels import Channels
from phdenoise.denoising.config import DenoiseConfig
from phdenoise.figures.optical_plots import charge_curves, front_curves, phase_panels, rgb_panels
from phdenoise.figures.plots import save, sweep
from phdenoise.io import atomic
from phdenoise.metrics.segmentation import accuracy, f1_scores, particle_iou
from phdenoise.modalities.optical.chain import (
    OpticalResult,
    OpticalVersion,
    analyse_graphite,
    outlines,
)
from phdenoise.modalities.optical.config import OpticalConfig
from phdenoise.modalities.optical.particle_charge import (
    OUTLINE,
    Charge,
    front_speed,
    fronts,
)
from phdenoise.modalities.optical.phase_mixture import GRAPHITE_PHASES, classify_colours
from phdenoise.modalities.optical.twin import CameraConfig, Scene, exposed, photograph
from phdenoise.modalities.settings import box_mask
from phdenoise.physics.twins.graphite_bed import Bed, BedConfig, graphite_bed
from phdenoise.study.identity import run_id
from phdenoise.types import InputError

NAMES = [p.name for p in GRAPHITE_PHASES]


@dataclass(frozen=True)
class OpticalStudy:
    """One run of the study."""

    bed: BedConfig = field(default_factory=BedConfig)
    """The simulated bed."""
    camera: CameraConfig = field(default_factory=CameraConfig)
    """The camera."""
    electrons: float = 20.0
    """Of a white pixel in a frame; replaces the camera's."""
    seed: int = 0
    """Of light and noise."""
    denoise: DenoiseConfig = field(
        default_factory=lambda: DenoiseConfig(
            preset="quick", steps=150, seconds=3600.0, symmetries=4
        )
    )
    """How to denoise."""


def simulated(config: BedConfig, store: Path) -> dict[str, np.ndarray]:
    """The bed in double precision, solved once and kept.

    Args:
        config: of the bed.
        store: folder where the bed is kept.

    Returns:
        Arrays by name: times, layers, labels ...
    """
    path = store / f"bed_{run_id(config)}.npz"
    if not path.is_file():
        with jax.enable_x64(True):
            bed = graphite_bed(config)
        store.mkdir(parents=True, exist_ok=True)
        with atomic(path, overwrite=True) as temporary, temporary.open("wb") as file:
            np.savez_compressed(
                file, times=bed.times, layers=bed.layers.astype(np.float32), labels=bed.labels,
                voltage=bed.voltage, steps=bed.steps, charge=_charge(bed),
            )  # fmt: skip
    with np.load(path, allow_pickle=False) as a:
        return {k: a[k] for k in a.files}


def run(config: OpticalStudy, store: Path) -> dict[str, float]:
    """Numbers of one run; its arrays go to `store`.

    Args:
        config: of the run.
        store: folder for its arrays.

    Returns:
        Name -> number, a row of the table.
    """
    bed = simulated(config.bed, store)
    camera = replace(config.camera, electrons=config.electrons)
    random = np.random.default_rng(config.seed)
    scene = photograph(bed["layers"].mean(axis=1), bed["labels"], camera, random)
    counts = exposed(scene.clean, camera, random)
    channels = Channels.from_array(counts, times=bed["times"], name="graphite")
    chain = OpticalConfig(
        dark=camera.offset,
        reference=scene.strip,
        denoise=replace(config.denoise, seed=config.seed),
    )
    result = analyse_graphite(channels, chain)
    row = {"mass_balance": float(bed["charge"])} | scores(result, scene, chain)
    versions = {"measured": result.raw, "denoised": result.denoised}
    order = paired(result, scene)
    truth = true_charge(scene)
    arrays = {
        "times": bed["times"], "voltage": bed["voltage"], "labels": result.particles.labels,
        "fraction": scene.fraction, "truth_soc": truth.soc, "measured": result.raw.colours.mean,
        "denoised": result.denoised.colours.mean,
    }  # fmt: skip
    for name, version in versions.items():
        arrays |= {
            f"probability_{name}": version.maps.probability,
            f"soc_{name}": version.charge.soc[order],
            f"soc_sd_{name}": version.charge.soc_sd[order],
            **{f"{k}_{name}": a[order] for k, a in version.fronts._asdict().items()},
        }
    keep(store, config, arrays)
    return row


def scores(result: OpticalResult, scene: Scene, chain: OpticalConfig) -> dict[str, float]:
    """Against what was simulated.

    Args:
        result: of the chain.
        scene: that was simulated.
        chain: settings of the chain.

    Returns:
        Name -> number.
    """
    phase = np.digitize(np.nan_to_num(scene.fraction), [0.25, 0.75])
    inside = np.isfinite(scene.fraction)
    order, truth = paired(result, scene), true_charge(scene)
    times, still = result.channels.movies[0].times, np.broadcast_to(scene.labels, inside.shape)
    exact = fronts(truth, still, times, (1.0, 1.0), half=chain.speed_frames)
    out: dict[str, float] = {"particles": float(scene.labels.max())}
    for name, version in (("measured", result.raw), ("denoised", result.denoised)):
        found, sure = classified(result, version, inside)
        out[f"accuracy_{name}"] = accuracy(found, phase, inside)
        for k, value in enumerate(f1_scores(found, phase, inside, len(NAMES))):
            out[f"f1_{NAMES[k].replace(' ', '_')}_{name}"] = float(value)
        out[f"probability_{name}"] = float(sure[inside].mean())
        left = version.charge.soc[order] - truth.soc
        inside_90 = np.abs(left) < 1.645 * version.charge.soc_sd[order]
        out |= {
            f"soc_error_{name}": rms(left),
            f"soc_bias_{name}": float(np.nanmean(left)),
            f"soc_sd_{name}": float(np.nanmean(version.charge.soc_sd)),
            f"soc_covered_90_{name}": float(inside_90[np.isfinite(left)].mean()),
        }
        # Hard labels, as a count of coloured pixels would have it.
        labels = np.where(inside, found, 0) / (len(NAMES) - 1)
        by_pixels = [
            [f[scene.labels == p + 1].mean() for f in labels] for p in range(len(truth.soc))
        ]
        out[f"soc_error_by_pixels_{name}"] = rms(np.asarray(by_pixels) - truth.soc)
        depth, sd = version.fronts.depth[order], version.fronts.depth_sd[order]
        left = depth - exact.depth
        both = np.isfinite(left)
        out[f"depth_error_{name}"] = rms(left)
        out[f"depth_covered_90_{name}"] = float((np.abs(left) < 1.645 * sd)[both].mean())
        # The same lines through the same frames with the same weights, of the truth.
        own = np.sqrt(sd**2 - OUTLINE**2)
        found_speed, true_speed = (
            front_speed(np.where(both, d, np.nan), own, times, chain.speed_frames)
            for d in (depth, exact.depth)
        )
        left = found_speed[0] - true_speed[0]
        known = np.isfinite(left)
        out[f"speed_rms_{name}"] = rms(true_speed[0])
        out[f"speed_error_{name}"] = rms(left)
        out[f"speed_covered_90_{name}"] = float(
            (np.abs(left) < 1.645 * found_speed[1])[known].mean()
        )
    where = ~box_mask(scene.strip, scene.labels.shape)
    try:
        raw = outlines(np.asarray(result.channels.frames), where, chain).labels
        out["iou_measured"] = float(np.mean([particle_iou(f, scene.labels).mean() for f in raw]))
    except InputError:
        out["iou_measured"] = 0.0
    ious = np.array([particle_iou(f, scene.labels) for f in result.particles.labels])
    out |= {
        "iou_denoised": float(ious.mean()),
        "iou_denoised_worst": float(ious.mean(axis=0).min()),
    }
    return out


def classified(
    result: OpticalResult, version: OpticalVersion, inside: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Phase of every pixel that truly is in a particle, found or not, and the probability given to it."""
    maps = classify_colours(result.mixture, *version.colours.pixels(inside))
    found, sure = np.zeros(inside.shape, int), np.zeros(inside.shape)
    found[inside] = maps.probability.argmax(axis=0)
    sure[inside] = maps.probability.max(axis=0)
    return found, sure


def paired(result: OpticalResult, scene: Scene) -> np.ndarray:
    """For each true particle the found one that covers it most.

    Args:
        result: of the chain.
        scene: that was simulated.

    Returns:
        Index of the found particle for each true one.
    """
    labels = result.particles.labels[len(result.particles.labels) // 2]
    number = int(result.particles.labels.max())
    shares = [np.bincount(labels[scene.labels == p + 1], minlength=number + 1)[1:] for p in range(int(scene.labels.max()))]  # fmt: skip
    return np.asarray([s.argmax() for s in shares])


def true_charge(scene: Scene) -> Charge:
    """Areas of the phases and state of charge of the true particles."""
    count = len(scene.fraction)
    number = int(scene.labels.max())
    area, soc = np.zeros((number, len(NAMES), count)), np.zeros((number, count))
    pixels = np.zeros((number, count), int)
    for p in range(number):
        x = scene.fraction[:, scene.labels == p + 1]
        phase = np.digitize(x, [0.25, 0.75])
        area[p] = [(phase == k).mean(axis=1) for k in range(len(NAMES))]
        soc[p], pixels[p] = x.mean(axis=1), x.shape[1]
    return Charge(area, np.full_like(area, 1e-9), soc, np.full_like(soc, 1e-9), pixels)


def _charge(bed: Bed) -> float:
    """Largest difference between lithium found and charge passed, in x of the bed."""
    x = bed.fraction[:, bed.labels > 0].mean(axis=1)
    passed = float(bed.model.drive.rate) * (bed.times - bed.times[0])  # type: ignore[union-attr]
    return float(np.abs(x - x[0] - passed).max())


def configs(fast: bool) -> list[OpticalStudy]:
    """Doses, then a second bed."""
    if fast:
        base = OpticalStudy(
            bed=BedConfig(shape=(56, 56), particles=4, frames=24),
            denoise=DenoiseConfig(
                preset="quick", steps=120, seconds=3600.0, width=16, symmetries=2, crop=32
            ),
        )
        return [base]
    base = OpticalStudy()
    out = [replace(base, electrons=e, seed=s) for e in (20.0, 40.0, 10.0) for s in (0, 1)]
    return [*out, replace(base, bed=replace(base.bed, seed=1, particles=12))]


def tell(rows: list[dict[str, str]], folder: Path, every: Sequence[OpticalStudy]) -> None:
    """The figures that matter, one line each.

    Args:
        rows: of the finished runs.
        folder: of the study.
        every: the sweep.
    """
    for row in rows:
        print(f"{float(row['electrons']):g} electrons, bed {row['bed.seed']}, seed {row['seed']}:")
        for name in ("accuracy", "iou", "soc_error", "soc_error_by_pixels", "speed_error"):
            before, after = (float(row[f"{name}_{v}"]) for v in ("measured", "denoised"))
            print(f"    {name:<20} {before:8.4f} -> {after:8.4f}")


def draw(rows: list[dict[str, str]], folder: Path, every: Sequence[OpticalStudy]) -> None:
    """Figures of the first configuration, and of all from the table.

    Args:
        rows: of the finished runs.
        folder: for the figures.
        every: the sweep.
    """
    d = kept(folder, every[0])
    times = d["times"]
    pick = [round(i) for i in np.linspace(0.1, 0.95, 6) * (len(times) - 1)]
    titles = [f"t = {times[t]:.0f}" for t in pick]
    versions = ("measured", "denoised")
    label = d["labels"].astype(int)[pick]
    save(rgb_panels({v: d[v][:, pick] for v in versions}, label, titles), folder / "colours.png")
    knots = np.digitize(np.nan_to_num(d["fraction"]), [0.25, 0.75])
    exact = np.where(np.isnan(d["fraction"]), np.nan, [knots == k for k in range(3)])
    maps = {v: d[f"probability_{v}"][:, pick] for v in versions} | {"truth": exact[:, pick]}
    save(phase_panels(maps, NAMES, titles), folder / "phases.png")
    save(
        charge_curves(
            times, {v: (d[f"soc_{v}"], d[f"soc_sd_{v}"]) for v in versions}, truth=d["truth_soc"],
            x_label="time [px²/D₀]",
        ),
        folder / "charge.png",
    )  # fmt: skip
    save(
        front_curves(
            times, (d["depth_denoised"], d["depth_sd_denoised"]),
            (d["speed_denoised"], d["speed_sd_denoised"]), NAMES[1:], x_label="time [px²/D₀]",
            depth_label="depth under the rim [px]", speed_label="speed [px D₀/px²]",
        ),
        folder / "fronts.png",
    )  # fmt: skip
    names = {"pixels measured": "accuracy_measured", "pixels denoised": "accuracy_denoised",
             "outlines measured": "iou_measured", "outlines denoised": "iou_denoised"}  # fmt: skip
    save(
        sweep(rows, x="electrons", ys=names, x_label="electrons of a white pixel", y_label="accuracy, IoU", repeats=["bed.particles"]),
        folder / "scores.png",
    )  # fmt: skip


if __name__ == "__main__":
    command("graphite_optical", run, configs, draw, tell=tell, keeps=True)

"""Study: what denoising is worth to X-ray scans of lithium iron phosphate, on simulated particles and on real images.

    python -m experiments.stxm_lfp run|collect|figure [--fast] [--data FOLDER]

`twin`: a particle that fills at constant current with heterogeneous k(x,y), scanned at two energies through a beam that
flickers along the lines; lithium as measured, denoised and by the law is compared with the truth, and so is each law.
`repeats`: real full-field images, three repeats with ten flat fields: error bars of the optical density.
The last needs txm_nca_8324eV.npz in the folder --data (or $PHDENOISE_DATA), and is left out without it.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

import jax.numpy as jnp
import numpy as np

from experiments.command import command, keep, kept, rms
from phdenoise.denoising.config import DenoiseConfig
from phdenoise.figures.plots import save
from phdenoise.figures.stxm_plots import fraction_maps, fractions_of, rate_maps, reaction_curves
from phdenoise.learn.particle_data import ParticleFitConfig
from phdenoise.learn.particle_summary import uniformity
from phdenoise.modalities.drift import find_drift
from phdenoise.modalities.registration import shift
from phdenoise.modalities.stxm.chain import analyse_scans
from phdenoise.modalities.stxm.config import Scans, StxmConfig
from phdenoise.modalities.stxm.twin import StxmScene, StxmTwinConfig, simulate_stxm
from phdenoise.physics.particle import Heterogeneity
from phdenoise.physics.twins.particles import ParticleTwinConfig

VERSIONS = ("measured", "denoised", "joint")


def _twin() -> StxmTwinConfig:
    particle = ParticleTwinConfig(
        shape=(48, 48), radius=16.0, frames=128, length=5.0, substeps=3, stages=10
    )
    return StxmTwinConfig(particle=particle, pre_edge=32)


def _denoise() -> DenoiseConfig:
    return DenoiseConfig(preset="default", steps=1500, seconds=3600.0)


def _fit() -> ParticleFitConfig:
    return ParticleFitConfig(length=5.0, iterations=25)


@dataclass(frozen=True)
class StxmStudy:
    """One run of the study."""

    scene: Literal["twin", "repeats"] = "twin"
    """What is looked at."""
    twin: StxmTwinConfig = field(default_factory=_twin)
    """The simulated particle and microscope."""
    seed: int = 0
    """Of the particle and the counts."""
    data: str = ""
    """File of real images."""
    denoise: DenoiseConfig = field(default_factory=_denoise)
    """How to denoise."""
    fit: ParticleFitConfig = field(default_factory=_fit)
    """How to fit the law."""


def run(config: StxmStudy, store: Path) -> dict[str, float]:
    """Numbers of one run; its arrays go to `store`.

    Args:
        config: of the run.
        store: folder for its arrays.

    Returns:
        Name -> number, a row of the table.
    """
    row, arrays = {"twin": _particle, "repeats": _repeats}[config.scene](config)
    keep(store, config, arrays)
    return row


def scans_of(scene: StxmScene, config: StxmTwinConfig) -> tuple[Scans, StxmConfig]:
    """What the chain is given of a simulated particle, and its settings.

    Args:
        scene: simulated particle.
        config: of the simulation.

    Returns:
        Scans and settings of the chain.
    """
    twin = scene.twin
    ny, nx = scene.thickness.shape
    free = max(int((ny - 1) / 2 - config.particle.radius) - int(np.ceil(2 * config.drift)), 1)
    scans = Scans(
        scene.counts, np.asarray(config.energies[1:]), np.asarray(twin.times, float), time_unit="1/k0",
        name="particle", before=scene.before, before_energies=np.full(len(scene.before), config.energies[0]),
    )  # fmt: skip
    return scans, StxmConfig(
        lithiated=config.lithiated[1:],
        delithiated=config.delithiated[1:],
        incident_region=(0, free, 0, nx),
        drift=config.drift > 0,
    )


def _particle(config: StxmStudy) -> tuple[dict[str, float], dict[str, np.ndarray]]:
    scene = simulate_stxm(config.seed, config.twin)
    scans, chain = scans_of(scene, config.twin)
    chain = replace(
        chain, denoise=replace(config.denoise, seed=config.seed), fit=config.fit, compare_laws=True
    )
    result = analyse_scans(scans, chain)
    truth = where_scans_are(scene, result.displacement)[(..., *result.box)]
    grid_mask = np.asarray(scene.twin.grid.mask)[result.box]
    mask = result.mask & grid_mask
    rate = scene.twin.model.rate_constant
    assert isinstance(rate, Heterogeneity)
    log_k = np.log(np.asarray(rate(), float)[result.box])
    c = {
        "measured": result.movie.frames.astype(float),
        "steady": result.estimate.movie.frames.astype(float),
        "denoised": result.estimate.mean.astype(float),
        "law": np.where(np.isfinite(result.fits["joint"].frames), result.fits["joint"].frames, result.estimate.mean),
    }  # fmt: skip
    sd = {
        "measured": result.sd,
        "steady": np.full(truth.shape, np.nan),
        "denoised": np.sqrt(result.estimate.variance + result.common_sd**2),
        "law": np.where(np.isfinite(result.fits["joint"].frames), np.hypot(result.fits["joint"].frames_sd, result.common_sd),
                        np.sqrt(result.estimate.variance + result.common_sd**2)),
    }  # fmt: skip
    row = {
        "particle_pixels": float(mask.sum()),
        "outline_jaccard": float(mask.sum() / (result.mask | grid_mask).sum()),
        "flicker_true": scene.flicker,
        "flicker_found": float(result.beam.flicker.mean()),
        "sd_common": rms(result.common_sd[mask]),
        "UC_true": uniformity(truth, mask),
    }
    if config.twin.drift > 0:
        above = result.displacement - result.displacement.mean((0, 1))
        true = scene.displacement - scene.displacement.mean((0, 1))
        row["drift_error"] = rms(above - true)
    for name, value in c.items():
        off = (value - truth)[:, mask]
        row[f"error_{name}"] = rms(off)
        row[f"ratio_{name}"] = row[f"error_{name}"] / row["error_measured"]
        if name in sd and np.isfinite(sd[name][:, mask]).any():
            inside = np.abs(off) < 1.645 * sd[name][:, mask]
            row[f"covered_90_{name}"] = float(np.nanmean(inside[np.isfinite(off)]))
    row |= {f"UC_{name}": of for name, of in result.uniformity.items()}
    level = scene.twin.model
    arrays = {
        "times": scans.times, "mask": mask, "truth": truth, "rate_true": np.exp(log_k - log_k[mask].mean()),
        **{f"c_{k}": v for k, v in c.items()},
    }  # fmt: skip
    for name, fit in result.fits.items():
        at = fit.curves["c"]
        mu = np.log(at / (1 - at)) + float(level.free_energy.omega) * (1 - 2 * at)
        scale = float(np.exp(log_k[mask].mean()))
        j = scale * np.sqrt(at) * (1 - at)
        found = np.log(fit.rate[mask])
        found, true = found - found.mean(), log_k[mask] - log_k[mask].mean()
        row |= {
            f"k_correlation_{name}": float(np.corrcoef(found, true)[0, 1]),
            f"k_rms_{name}": rms(found - true),
            f"k_covered_90_{name}": float(np.mean(np.abs(found - true) < 1.645 * fit.rate_sd[mask])),
            f"mu_rms_{name}": rms(fit.curves["mu_h"] - mu),
            f"mu_covered_90_{name}": float(np.mean((fit.curves["mu_h_low"] <= mu) & (mu <= fit.curves["mu_h_high"]))),
            f"j0_rms_{name}": rms(fit.curves["j0"] / j - 1),
            f"j0_covered_90_{name}": float(np.mean((fit.curves["j0_low"] <= j) & (j <= fit.curves["j0_high"]))),
            f"explained_{name}": fit.statistics["explained_variance"],
            f"converged_{name}": float(fit.converged),
        }  # fmt: skip
        arrays |= {f"rate_{name}": fit.rate, f"rate_sd_{name}": fit.rate_sd}
        arrays |= {f"curve_{name}_{k}": v for k, v in fit.curves.items()}
        arrays |= {"mu_true": mu, "j0_true": j}
    return row, arrays


def where_scans_are(scene: StxmScene, displacement: np.ndarray) -> np.ndarray:
    """True lithium [t, y, x] at the place that registered scans share, which nothing in them fixes.

    Args:
        scene: simulated particle.
        displacement: found by registration [t, e, 2] [px].

    Returns:
        Lithium fraction [t, y, x].
    """
    c = np.asarray(scene.twin.frames, float)
    if not displacement.any():
        return c
    left = (scene.displacement - displacement).mean((0, 1))
    every = jnp.broadcast_to(jnp.asarray(left, jnp.float32), (len(c), 2))
    thickness = np.broadcast_to(scene.thickness * np.asarray(scene.twin.grid.mask), c.shape)
    lithium, total = (
        np.asarray(shift(jnp.asarray(a, jnp.float32), every), float)
        for a in (c * thickness, thickness)
    )
    return np.where(total > 0, lithium / np.where(total > 0, total, 1.0), c)


def _repeats(config: StxmStudy) -> tuple[dict[str, float], dict[str, np.ndarray]]:
    """Differences of repeats in units of their error bars: the images are shifted and dimmed a little between them."""
    with np.load(config.data, allow_pickle=False) as archive:
        sample, flat = archive["sample"].astype(float), archive["flat"].astype(float)
    # Camera counts per photon, from the flat fields: neighbours in time have the same light but for a factor.
    scaled = flat / flat.mean((1, 2), keepdims=True) * flat.mean()
    gain = float(np.mean(np.diff(scaled, axis=0) ** 2) / 2 / scaled.mean())
    light, beam_variance = scaled.mean(axis=0), scaled.var(axis=0, ddof=1) / len(scaled)
    drift = find_drift(sample)
    od = np.log(light / np.maximum(sample / drift.gain[:, None, None], 1))
    variance = gain / np.maximum(sample, 1)
    pairs = [(0, 1), (0, 2), (1, 2)]
    z = [(od[i] - od[j]) / np.sqrt(variance[i] + variance[j]) for i, j in pairs]
    moved = np.abs(np.diff(drift.displacement, axis=0)).max()
    edges = np.hypot(*np.gradient(od.mean(axis=0))) < np.quantile(
        np.hypot(*np.gradient(od.mean(axis=0))), 0.5
    )
    spread = [float(np.std(v[edges] - np.median(v[edges]))) for v in z]
    rho = [float(np.corrcoef(v[:, :-1].ravel(), v[:, 1:].ravel())[0, 1]) for v in z]
    return {
        "gain": gain,
        "z_sd_repeats": float(np.mean(spread)),
        "noise_correlation_x": float(np.mean(rho)),
        "drift_px": float(moved),
        "light_range": float(np.ptp(drift.gain)),
        "od_sd": float(np.sqrt(np.mean(variance + beam_variance / light**2))),
    }, {"od": od.mean(axis=0), "difference": od[0] - od[1]}


def configs(fast: bool, data: str) -> list[StxmStudy]:
    """Particles, then the real images where their file is there.

    Args:
        fast: a version of minutes.
        data: file of the real images.

    Returns:
        The sweep.
    """
    base = StxmStudy()
    seeds: tuple[int, ...] = (0, 1, 2)
    if fast:
        particle = replace(
            base.twin.particle, shape=(36, 36), radius=11.0, frames=96, modes=25, length=4.0
        )
        base = replace(
            base,
            twin=replace(base.twin, particle=particle),
            denoise=replace(
                base.denoise, preset="quick", steps=150, width=16, symmetries=4, crop=28
            ),
            fit=replace(base.fit, modes=25, length=4.0, iterations=14, start_modes=30),
        )
        seeds = (0,)
    out = [replace(base, seed=s) for s in seeds]
    if not fast:
        out.append(replace(base, twin=replace(base.twin, drift=0.6)))
    file = Path(data) / "txm_nca_8324eV.npz"
    if data and file.is_file():
        out.append(replace(base, scene="repeats", data=str(file)))
    return out


def tell(rows: list[dict[str, str]], folder: Path, every: Sequence[StxmStudy]) -> None:
    """The figures that matter, one line each.

    Args:
        rows: of the finished runs.
        folder: of the study.
        every: the sweep.
    """
    for row in rows:
        if row["scene"] == "twin":
            print(
                f"seed {row['seed']}: rms error of c {float(row['error_measured']):.4f} measured, {float(row['error_denoised']):.4f} "
                f"denoised ({float(row['ratio_denoised']):.3f}), {float(row['error_law']):.4f} by the law ({float(row['ratio_law']):.3f}); "
                f"90 % intervals cover {100 * float(row['covered_90_denoised']):.1f} %; k correlates "
                + ", ".join(f"{float(row[f'k_correlation_{v}']):.3f} ({v})" for v in VERSIONS)
                + "."
            )


def draw(rows: list[dict[str, str]], folder: Path, every: Sequence[StxmStudy]) -> None:
    """Figures of the first configuration, and of all from the table.

    Args:
        rows: of the finished runs.
        folder: for the figures.
        every: the sweep.
    """
    d = kept(folder, every[0])
    blank = np.where(d["mask"] > 0, 0, np.nan)
    pick = [int(t) for t in np.linspace(1, len(d["times"]) - 1, 6)]
    maps_of = {k: d[f"c_{v}"] + blank for k, v in (("measured", "measured"), ("denoised", "denoised"), ("law", "law"))}  # fmt: skip
    maps_of["truth"] = d["truth"] + blank
    titles = [f"⟨c⟩ = {np.nanmean(maps_of['truth'][t]):.2f}" for t in pick]
    save(fraction_maps(maps_of, titles, pick), folder / "lithium.png")
    maps = {"truth": d["rate_true"] + blank} | {v: d[f"rate_{v}"] for v in VERSIONS}
    save(rate_maps(maps), folder / "rate.png")
    curves = {
        v: {k: d[f"curve_{v}_{k}"] for k in ("c", "mu_h", "mu_h_low", "mu_h_high", "j0", "j0_low", "j0_high")}
        for v in VERSIONS
    }  # fmt: skip
    truth = {"c": curves["joint"]["c"], "mu_h": d["mu_true"], "j0": d["j0_true"]}
    save(reaction_curves(curves, rate_unit="k0", truth=truth), folder / "law.png")
    done = [r for r in rows if r["scene"] == "twin"]
    groups = {
        f"seed {r['seed']}" + (", drift" if float(r["twin.drift"]) > 0 else ""): {
            v: float(r[f"k_correlation_{v}"]) for v in VERSIONS
        }
        for r in done
    }
    save(fractions_of(groups, label="correlation of ln k with the truth", line=0.9), folder / "correlation.png")  # fmt: skip


if __name__ == "__main__":
    command("stxm_lfp", run, configs, draw, tell=tell, keeps=True, data=True)

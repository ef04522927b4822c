"""Study: which atoms of a nanoparticle can be believed at which dose, on simulated images.

    python -m experiments.tem_nanoparticle run|collect|figure [--fast]

A platinum particle on ceria is simulated by multislice; counts are drawn at several doses; `phdenoise tem` works on the
counts. Scored against the columns of the clean image: F1 of all columns and of those at the surface, errors of positions
with the size of their bars, verdicts on surface sites, and their power.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy import ndimage

from experiments.command import command, keep, kept, rms
from phdenoise.figures.plots import save, sweep
from phdenoise.figures.tem_plots import claim_panels, particle_panels
from phdenoise.modalities.tem.chain import analyse_particle
from phdenoise.modalities.tem.columns import ColumnsConfig, find_columns
from phdenoise.modalities.tem.config import TemConfig
from phdenoise.modalities.tem.report import evidence_map
from phdenoise.modalities.tem.result import TemResult
from phdenoise.modalities.tem.simulate import Scene, simulate
from phdenoise.modalities.tem.surface import agreement, spacing, surface_columns
from phdenoise.movie import Movie

# Electrons of a pixel in the image from which the true columns are taken: errors of a position are below a picometre.
_TRUTH = 1e4
# Largest distance of a match [distances of neighbours]: nearer than half, no column has two.
_WITHIN = 0.3


@dataclass(frozen=True)
class TemStudy:
    """One run of the study."""

    dose: float = 187.0
    """Electrons per Å² of a frame in vacuum; 187 are 0.45 a pixel of 0.049 Å."""
    frames: int = 1
    """Frames, which are summed."""
    binning: int = 4
    """Finer pixels along one of the simulation's."""
    network: bool = True
    """Whether the shipped network names candidates."""
    defocus: float = 60.0
    """Of the objective [Å]."""
    shape: tuple[int, int] = (120, 120)
    """Rows and columns of the simulation [px]."""
    seed: int = 0
    """Of the counts."""


def clean_image(config: TemStudy) -> tuple[np.ndarray, float]:
    """Clean image, vacuum 1, and its pixel size [Å]."""
    scene = Scene(shape=config.shape)
    image = np.asarray(simulate(scene))
    fine = np.maximum(ndimage.zoom(image, config.binning, order=3, grid_mode=True, mode="nearest"), 0.01)  # fmt: skip
    return fine, scene.pixel_size / config.binning


def run(config: TemStudy, store: Path) -> dict[str, float]:
    """Numbers of one run; its arrays go to `store`.

    Args:
        config: of the run.
        store: folder for its arrays.

    Returns:
        Name -> number, a row of the table.
    """
    clean, size = clean_image(config)
    level = config.dose * size**2
    truth = find_columns(clean * max(20 * level, 1.0), pixel_size=size, config=ColumnsConfig())
    random = np.random.default_rng(config.seed)
    counts = random.poisson(clean * level, (config.frames, *clean.shape)).astype(float)
    chain = TemConfig(pixel_size=size, network=config.network)
    result = analyse_particle(Movie.from_array(counts, name="platinum"), chain)
    row = scores(result, truth.position)
    keep(
        store,
        config,
        {
            "total": result.total, "denoised": result.estimate.mean[0], "position": result.columns.position,
            "position_sd": result.columns.position_sd, "surface": result.surface, "evidence": evidence_map(result),
            "site": result.sites.position, "size": size,
            "verdict": [("present", "absent", "cannot tell").index(v) for v in result.verdicts],
        },
    )  # fmt: skip
    return row


def scores(result: TemResult, truth: np.ndarray) -> dict[str, float]:
    """Against the columns of the clean image.

    Args:
        result: of the chain.
        truth: positions of the true columns [px].

    Returns:
        Name -> number.
    """
    columns, within = result.columns, _WITHIN * spacing(truth)
    match = agreement(columns.position, truth, within)
    i, j = match.pairs.T
    error = columns.position[i] - truth[j]
    surface = truth[surface_columns(truth, shape=result.total.shape)]
    found = columns.position[result.surface]
    pm = 100 * result.pixel_size
    out = {
        "columns": float(len(columns.position)), "f1": match.f1, "jaccard": match.jaccard,
        "surface_precision": agreement(found, truth, within).precision,
        "surface_recall": agreement(columns.position, surface, within).recall,
        "position_error": pm * rms(error), "position_sd": pm * rms(columns.position_sd[i]),
        "pull": rms(error / columns.position_sd[i]), "hidden": float(result.hidden),
        "power": float(np.median(result.test.power)) if len(result.verdicts) else 0.0,
        "map_power": float(np.median(result.test.map_power)) if len(result.verdicts) else 0.0,
    }  # fmt: skip
    there = np.array([np.hypot(*(truth - p).T).min() < within for p in result.sites.position], bool)
    said = np.asarray(result.verdicts, dtype=object)
    wrong = ((said == "present") & ~there) | ((said == "absent") & there)
    claims = int(np.sum(said != "cannot tell"))
    return out | {"claims": float(claims), "false_claims": float(wrong.sum())}


def configs(fast: bool) -> list[TemStudy]:
    """Doses and seeds, with and without the network."""
    if fast:
        return [TemStudy(shape=(96, 96), binning=2, dose=400.0)]
    doses = (90.0, 187.0, 375.0, 750.0)
    return [TemStudy(dose=d, network=n, seed=s) for n in (True, False) for s in (0, 1) for d in doses]  # fmt: skip


def tell(rows: list[dict[str, str]], folder: Path, every: Sequence[TemStudy]) -> None:
    """The figures that matter, one line each.

    Args:
        rows: of the finished runs.
        folder: of the study.
        every: the sweep.
    """
    for row in rows:
        f = {k: float(row[k]) for k in ("dose", "f1", "surface_recall", "position_error", "pull", "power", "claims", "false_claims")}  # fmt: skip
        name = "network" if row["network"] == "True" else "counts alone"
        print(
            f"{f['dose']:g} e/Å², {name}, seed {row['seed']}: F1 {f['f1']:.3f}, surface recall {f['surface_recall']:.3f}, error "
            f"{f['position_error']:.1f} pm (pulls {f['pull']:.2f}), power {f['power']:.2f}, {f['false_claims']:g} of {f['claims']:g} claims false"
        )


def draw(rows: list[dict[str, str]], folder: Path, every: Sequence[TemStudy]) -> None:
    """Figures of the first configuration, and of all from the table.

    Args:
        rows: of the finished runs.
        folder: for the figures.
        every: the sweep.
    """
    d = kept(folder, every[0])
    size = float(d["size"])
    save(
        particle_panels(d["total"], d["denoised"], d["position"], d["surface"] > 0, d["position_sd"], pixel_size=size),
        folder / "columns.png",
    )  # fmt: skip
    names = [("present", "absent", "cannot tell")[int(v)] for v in d["verdict"]]
    save(claim_panels(d["denoised"], d["evidence"], d["site"], names, pixel_size=size), folder / "claims.png")  # fmt: skip
    ys = {"F1 of columns": "f1", "recall at the surface": "surface_recall", "power a site": "power"}
    save(sweep(rows, x="dose", ys=ys, x_label="dose [e/Å²]", y_label="share", by="network"), folder / "scores.png")  # fmt: skip
    errors = {"error": "position_error", "stated": "position_sd"}
    save(sweep(rows, x="dose", ys=errors, x_label="dose [e/Å²]", y_label="position [pm]", by="network"), folder / "positions.png")  # fmt: skip


if __name__ == "__main__":
    command("tem_nanoparticle", run, configs, draw, tell=tell, keeps=True)

"""Claims of `phdenoise tem` on random particles against the atoms of the simulation: are fringes taken for columns?

    python -m benchmarks.tem_fringes --scenes 12 --doses 20 200 1000 --out fringes.csv

A claim that a column is present is false where the simulated particle or its support has no atom within half the distance of
neighbouring columns. Written per scene and dose: claims, false ones, spots taken for fringes, and how many of those have atoms.
"""

import argparse
import csv
from pathlib import Path

import numpy as np
from scipy.spatial import cKDTree

from phdenoise.modalities.tem.chain import analyse_particle
from phdenoise.modalities.tem.config import TemConfig
from phdenoise.modalities.tem.result import TemResult
from phdenoise.modalities.tem.simulate import MARGIN, Scene, atoms_of, counts_of, simulate
from phdenoise.modalities.tem.surface import spacing
from phdenoise.modalities.tem.variety import Variety, random_scene
from phdenoise.movie import Movie

# Frames of one particle at rest.
FRAMES = 2


def atoms_in_image(scene: Scene) -> np.ndarray:
    """Rows and columns of all atoms [atom, 2] [px of the image]."""
    return np.asarray(atoms_of(scene).positions)[:, 1:] / scene.pixel_size - MARGIN - 0.5


def without_atoms(result: TemResult, places: np.ndarray, atoms: np.ndarray) -> np.ndarray:
    """True where no atom is within half the distance of neighbouring columns [place]."""
    if not len(places):
        return np.zeros(0, bool)
    near: np.ndarray = cKDTree(atoms).query(places)[0]
    return near > 0.5 * spacing(result.columns.position)


def measured(scene: Scene, dose: float, seed: int) -> dict[str, object]:
    """One particle at one dose [electrons/Å²] of a frame."""
    rng = np.random.default_rng(seed)
    clean = simulate(scene)
    frames = [
        counts_of(clean, dose=dose, pixel_size=scene.pixel_size, rng=rng) for _ in range(FRAMES)
    ]
    movie = Movie.from_array(
        np.stack(frames).astype(float), times=np.arange(float(FRAMES)), time_unit="s",
        pixel_size=(scene.pixel_size / 10,) * 2, length_unit="nm",
    )  # fmt: skip
    result = analyse_particle(movie, TemConfig())
    atoms = atoms_in_image(scene)
    present = np.array([v == "present" for v in result.verdicts], bool)
    false = without_atoms(result, result.sites.position[present], atoms)
    return {
        "dose": dose, "columns": len(result.columns.position), "surface": int(result.surface.sum()),
        "present": int(present.sum()), "false": int(false.sum()), "absent": result.verdicts.count("absent"),
        "fringes": len(result.fringes),
        "fringes_with_atoms": int((~without_atoms(result, result.fringes, atoms)).sum()),
    }  # fmt: skip


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--scenes", type=int, default=12)
    parser.add_argument("--doses", type=float, nargs="+", default=[20.0, 200.0, 1000.0])
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args()
    with given.out.open("w", newline="", encoding="utf-8") as file:
        writer = None
        for number in range(given.scenes):
            # The first is the standard particle.
            scene = random_scene(Variety(), number) if number else Scene()
            for dose in given.doses:
                row = {"scene": number, **measured(scene, dose, number)}
                writer = writer or csv.DictWriter(file, list(row))
                if not file.tell():
                    writer.writeheader()
                writer.writerow(row)
                file.flush()
                print(*row.values(), flush=True)


if __name__ == "__main__":
    main()

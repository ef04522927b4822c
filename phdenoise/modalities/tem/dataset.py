"""Sets of simulated images on disk: HDF5 parts in a folder named by the hash of their configuration.

    folder/tem_<hash>/config.json, 00000.h5, 00001.h5 ...

A part is written whole or not at all, and parts that exist are skipped: a run that stops goes on where it was, and
several processes share the work by `first` and `every`.
"""

import hashlib
import json
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
from jaxtyping import Float

from phdenoise.modalities.tem.simulate import image_of, wave_of
from phdenoise.modalities.tem.variety import Variety, random_optics, random_scene
from phdenoise.types import InputError, Steps

# Scenes of one part: a part takes about a minute, the most that an interruption loses.
_PART = 40


@dataclass(frozen=True)
class DatasetConfig:
    """What a set of images consists of."""

    scenes: int = 1200
    """Structures; one multislice calculation each."""
    optics: int = 6
    """Images of each structure, each with its own microscope."""
    variety: Variety = field(default_factory=Variety)
    """Ranges of structures and microscopes."""

    def identity(self) -> str:
        """Twelve hexadecimal digits that name the set; the number of scenes is not part of them."""
        values = asdict(self)
        del values["scenes"]
        text = json.dumps(values, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:12]


def make_dataset(
    config: DatasetConfig,
    folder: str | Path,
    *,
    first: int = 0,
    every: int = 1,
    progress: Steps | None = None,
) -> Path:
    """Simulate the parts of a set that do not exist yet.

    Args:
        config: of the set.
        folder: where sets lie.
        first: number of the first part that this process makes.
        every: distance of the parts that it makes; the number of processes.
        progress: called with (part, parts, nan).

    Returns:
        Folder of the set.
    """
    home = Path(folder) / f"tem_{config.identity()}"
    home.mkdir(parents=True, exist_ok=True)
    (home / "config.json").write_text(json.dumps(asdict(config), indent=1))
    parts = -(-config.scenes // _PART)
    for part in range(first, parts, every):
        path = home / f"{part:05d}.h5"
        if not path.exists():
            numbers = range(part * _PART, (part + 1) * _PART)
            _write(path, list(_images(config, numbers)))
        if progress:
            progress(part + 1, parts, float("nan"))
    return home


def read_dataset(
    home: str | Path, scenes: int | None = None
) -> tuple[Float[np.ndarray, "n k y x"], Float[np.ndarray, " n"]]:
    """Clean images of a set, as far as it exists.

    Args:
        home: folder of the set.
        scenes: how many at most.

    Returns:
        Images of each scene [vacuum = 1], in half precision, and their pixel sizes [angstrom].

    Raises:
        InputError: a folder without parts.
    """
    import h5py

    paths = sorted(Path(home).glob("[0-9]*.h5"))
    if not paths:
        raise InputError(f"{home} holds no simulated images: make them with make_dataset first.")
    if scenes is not None:
        paths = paths[: -(-scenes // _PART)]
    images, sizes = [], []
    for path in paths:
        with h5py.File(path, "r") as file:
            images.append(file["images"][()])
            sizes.append(file["pixel_size"][()])
    return np.concatenate(images)[:scenes], np.concatenate(sizes)[:scenes]


def _images(config: DatasetConfig, numbers: range) -> Iterator[tuple[np.ndarray, float]]:
    for number in numbers:
        scene = random_scene(config.variety, number)
        rng = np.random.default_rng([config.variety.seed, number, 1])
        wave = wave_of(scene)
        # The energy belongs to the wave; the lens does not.
        seen = []
        for _ in range(config.optics):
            optics = random_optics(config.variety, rng, energy=scene.optics.energy)
            seen.append(image_of(wave, scene, optics))
        yield np.stack(seen).astype(np.float16), scene.pixel_size


def _write(path: Path, made: list[tuple[np.ndarray, float]]) -> None:
    import h5py

    draft = path.with_suffix(f".{os.getpid()}.draft")
    with h5py.File(draft, "w") as file:
        file["images"] = np.stack([images for images, _ in made])
        file["pixel_size"] = np.asarray([size for _, size in made], np.float32)
    draft.replace(path)

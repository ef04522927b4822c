"""Weights and interrupted trainings on disk, by Orbax (the only importer of it; v1 interface, synchronous).

Weights are a folder holding the flat mapping name -> array of `phdenoise.networks.weights_of`. A training is a
folder of folders, one per judgement, the last complete one counting: a killed run goes on from there and ends
with the same bits as one that was never interrupted.
"""

import json
import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from phdenoise.training.loop import Run
from phdenoise.types import InputError


def save_weights(folder: str | Path, weights: Mapping[str, np.ndarray]) -> None:
    """Write weights to a new folder.

    Args:
        folder: where to write; must not exist yet.
        weights: flat mapping name -> array, such as `Estimate.weights`.

    Raises:
        InputError: the folder exists already, or there is nothing to save.
    """
    from orbax.checkpoint import v1 as orbax

    path = Path(folder).absolute()
    if path.exists():
        raise InputError(f"{path} exists already: give a new folder for the weights.")
    if not weights:
        raise InputError("There are no weights to save: the estimate came without a network.")
    orbax.save_pytree(path, {name: np.asarray(array) for name, array in weights.items()})


def load_weights(folder: str | Path) -> dict[str, np.ndarray]:
    """Read weights written by `save_weights`.

    Raises:
        InputError: the folder is not such a checkpoint.
    """
    from orbax.checkpoint import v1 as orbax

    path = Path(folder).absolute()
    try:
        tree = orbax.load_pytree(path)
    except (FileNotFoundError, orbax.errors.InvalidLayoutError, ValueError) as problem:
        raise InputError(
            f"{path} holds no weights: expected a folder written by save_weights."
        ) from problem
    return {name: np.asarray(array) for name, array in tree.items()}


class Checkpoint:
    """The folder of a training that may be interrupted.

    Args:
        folder: made if missing.
        identity: names the movie and the settings; a folder of another training is refused.

    Raises:
        InputError: the folder belongs to another training, or is something else.
    """

    def __init__(self, folder: str | Path, identity: str):
        self.folder = Path(folder).absolute()
        note = self.folder / "training.json"
        if note.exists():
            if json.loads(note.read_text())["identity"] != identity:
                raise InputError(
                    f"{folder} holds the checkpoint of another movie or other settings: give a new "
                    "folder, or the same movie and settings to go on."
                )
        elif self.folder.exists() and any(self.folder.iterdir()):
            raise InputError(f"{folder} is not empty and holds no checkpoint: give a new folder.")
        else:
            self.folder.mkdir(parents=True, exist_ok=True)
            temporary = note.with_suffix(".partial")
            temporary.write_text(json.dumps({"identity": identity}))
            temporary.replace(note)

    def save(self, run: Run) -> None:
        """Write the run beside the last one, then remove the last one."""
        from orbax.checkpoint import v1 as orbax

        done = self._steps()
        path = self.folder / f"step_{run.step:07d}"
        leaves = jax.tree.leaves((run.state, run.best))
        tree = {f"leaf_{k:04d}": np.asarray(leaf) for k, leaf in enumerate(leaves)}
        course = {
            "losses": np.asarray(run.losses, np.float64),
            "scores": np.asarray(run.scores, np.float64),
            "state": np.asarray([run.step, run.steps, int(run.ended)], np.int64),
        }
        orbax.save_pytree(path, tree | course)
        for old in done:
            shutil.rmtree(old, ignore_errors=True)

    def load(self, blank: Run) -> Run | None:
        """The last complete run, in the shape of a blank one; None where there is none."""
        from orbax.checkpoint import v1 as orbax

        for path in reversed(self._steps()):
            try:
                tree = orbax.load_pytree(path)
            except (FileNotFoundError, orbax.errors.InvalidLayoutError, ValueError):
                continue  # killed while writing
            old, structure = jax.tree.flatten((blank.state, blank.best))
            leaves = [jnp.asarray(tree[f"leaf_{k:04d}"]) for k in range(len(old))]
            state, best = jax.tree.unflatten(structure, leaves)
            step, steps, ended = (int(v) for v in tree["state"])
            return replace(
                blank,
                state=state,
                best=best,
                step=step,
                steps=steps,
                losses=tuple(float(v) for v in tree["losses"]),
                scores=tuple((int(a), float(b)) for a, b in tree["scores"]),
                ended=bool(ended),
            )
        return None

    def _steps(self) -> list[Path]:
        return sorted(self.folder.glob("step_???????"))

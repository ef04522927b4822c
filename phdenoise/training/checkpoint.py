"""Weights and interrupted trainings on disk, by Orbax (the only importer of it; v1 interface, synchronous).

Weights are a folder holding the flat mapping name -> array of `phdenoise.networks.weights_of`. A training is a
folder of folders, one for each of the last two judgements, the last sound one counting: a killed run goes on from there and ends
with the same bits as one that was never interrupted.
"""

import json
import shutil
import warnings
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TextIO

import jax
import jax.numpy as jnp
import numpy as np

from phdenoise.training.loop import Run
from phdenoise.types import InputError

try:
    import fcntl
except ImportError:  # Windows, where a folder is for one process
    fcntl = None  # type: ignore[assignment]

_NOTE = "training.json"
# Judgements that are kept: where the last is damaged, the one before is taken.
_KEPT = 2


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
    """The folder of a training that may be interrupted: its last two judgements, and a lock while it is in use.

    Args:
        folder: made if missing.
        identity: names the movie and the settings; a folder of another training is refused.

    Raises:
        InputError: the folder belongs to another training, is in use by one, cannot be written, or is something else.
    """

    def __init__(self, folder: str | Path, identity: str):
        self.folder = Path(folder).absolute()
        note = self.folder / _NOTE
        try:
            if note.exists():
                _check(note, folder, identity)
            elif self.folder.exists() and any(self.folder.iterdir()):
                raise InputError(
                    f"{folder} is not empty and holds no checkpoint: give a new folder."
                )
            else:
                self.folder.mkdir(parents=True, exist_ok=True)
                temporary = note.with_suffix(".partial")
                temporary.write_text(json.dumps({"identity": identity}))
                temporary.replace(note)
            self._lock = _locked(note, folder)
        except OSError as error:
            raise InputError(
                f"Cannot keep a checkpoint in {folder}: {error.strerror or error}; choose another folder (--checkpoint)."
            ) from error

    def save(self, run: Run) -> None:
        """Write the run beside the last one, then remove those before that.

        Where it cannot be written (a full disk), the training goes on without, and a warning says so.
        """
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
        if path in done:
            # What is damaged of the same step is in the way.
            shutil.rmtree(path, ignore_errors=True)
        try:
            orbax.save_pytree(path, tree | course)
        except (
            Exception
        ) as error:  # of the system, of TensorStore or of orbax: none is worth the training
            warnings.warn(
                f"The checkpoint of step {run.step} could not be written in {self.folder} ({_said(error)}): the training goes on, and "
                "would begin again at the last one that was written.",
                stacklevel=2,
            )
            return
        for old in [p for p in done if p != path][: -_KEPT + 1]:
            shutil.rmtree(old, ignore_errors=True)

    def load(self, blank: Run) -> Run | None:
        """The last sound run, in the shape of a blank one; None where there is none.

        A damaged one is named in a warning, and the one before it taken.
        """
        for path in reversed(self._steps()):
            try:
                return _loaded(path, blank)
            except Exception as error:  # whatever reading damaged bytes may raise
                warnings.warn(
                    f"The checkpoint {path} is damaged ({_said(error)}): the one before it is taken.",
                    stacklevel=2,
                )
        return None

    def _steps(self) -> list[Path]:
        return sorted(self.folder.glob("step_???????"))


def _check(note: Path, folder: str | Path, identity: str) -> None:
    """Refuse the folder of another training."""
    try:
        own = json.loads(note.read_text())["identity"]
    except (ValueError, TypeError, KeyError) as error:
        raise InputError(
            f"{note} is damaged, so that nobody can say which training it is of: give a new folder."
        ) from error
    if own != identity:
        raise InputError(
            f"{folder} holds the checkpoint of another movie or other settings: give a new "
            "folder, or the same movie and settings to go on."
        )


def _locked(note: Path, folder: str | Path) -> TextIO | None:
    """The note, locked until it is closed, as it is when this process ends; None where there are no locks."""
    if fcntl is None:
        return None
    file = note.open("r+")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        file.close()
        raise InputError(
            f"Another training is using the checkpoint {folder}: wait for its end, or give each a folder of its own."
        ) from error
    except OSError:
        file.close()
        return None
    return file


def _loaded(path: Path, blank: Run) -> Run:
    from orbax.checkpoint import v1 as orbax

    tree = orbax.load_pytree(path)
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


def _said(error: Exception) -> str:
    """First line of an error."""
    text = str(error).strip()
    return text.splitlines()[0][:200] if text else type(error).__name__

"""Network weights on disk, by Orbax (the only importer of it; v1 interface, synchronous).

A checkpoint is a folder holding the flat mapping name -> array of `phdenoise.denoisers.weights_of`.
"""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

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

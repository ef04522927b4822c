"""A centre-blind network that has seen many scenes before: where training on a movie may start.

Its weights were learned on simulated scenes that change, with noise of many kinds (`experiments/scene_prior.py`): random
fields, fronts, particles, spots; none of them a law of ours, none of them measured. What it does on a movie is
judged on that movie's own held-out pixels, against the best linear prediction.
"""

from pathlib import Path

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from phdenoise.denoisers.core import Denoiser, named_leaves
from phdenoise.denoisers.design import Design

FILE = Path(__file__).with_name("prior.npz")
# The error that a movie's linear prediction has is the movie's own.
_OWN = "log_spread"
# Layers that predict how wrong the mean is: learned where the truth is known, of which a noisy movie says little.
SPREAD = ("spread", "log_spread")


def save_prior(path: str | Path, denoiser: Denoiser) -> None:
    """Write the weights of a network with a bank of filters in half precision, which costs nothing in what it predicts."""
    halves = {name: np.asarray(leaf, np.float16) for name, leaf in named_leaves(denoiser).items()}
    np.savez_compressed(path, **halves)  # type: ignore[arg-type]


def from_prior(
    denoiser: Denoiser, path: str | Path = FILE, *, missing: bool = False
) -> Denoiser | None:
    """The same denoiser with the weights of `path`; None where they are those of another network.

    Args:
        denoiser: fresh; its scale and its predicted error are kept.
        path: written by `save_prior`.
        missing: whether weights that are not there may stay as they are.
    """
    if denoiser.everywhen or denoiser.design != Design():
        return None
    known, own = _read(path), named_leaves(denoiser)
    if missing:
        known = {name: np.asarray(leaf) for name, leaf in own.items()} | known
    if any(name not in known or known[name].shape != leaf.shape for name, leaf in own.items()):
        return None
    leaves = [leaf if _OWN in name else jnp.asarray(known[name]) for name, leaf in own.items()]
    state = jax.tree.unflatten(jax.tree.structure(denoiser.state), leaves)
    return eqx.tree_at(lambda d: d.state, denoiser, state)


def _read(path: str | Path) -> dict[str, np.ndarray]:
    with np.load(path) as file:
        return {name: file[name].astype(np.float32) for name in file.files}

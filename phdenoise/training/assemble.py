"""From what a training leaves to an `Estimate`, whatever the network."""

from collections.abc import Mapping, Sequence
from importlib.metadata import version
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from phdenoise.denoisers import Denoiser, at_least, weights_of
from phdenoise.movie import Estimate, Movie
from phdenoise.training.train import Run
from phdenoise.types import InputError, Moments, NoiseModel


class Problem(NamedTuple):
    """A movie that is ready to be learned.

    Attributes:
        movie: measured, its defects masked.
        seen: where it is an input: learned pixels, and saturated ones [t, y, x].
        full: saturated, a lower bound [t, y, x].
        noise: its noise model, pixel by pixel.
        field: the same with its correlation in space, if it has any.
        seed, symmetries: of the training and of the prediction.
    """

    movie: Movie
    seen: np.ndarray
    full: np.ndarray
    noise: NoiseModel
    field: NoiseModel
    seed: int
    symmetries: int

    def bounded(self, moments: Moments) -> Moments:
        """The same, nowhere below a saturated value."""
        return at_least(moments, jnp.where(self.full, self.movie.frames, -jnp.inf))


def assemble(
    movie: Movie,
    result: Moments,
    noise: NoiseModel,
    denoiser: Denoiser,
    run: Run,
    log: Sequence[str],
    settings: Mapping[str, Any],
    *,
    blind: Moments | None = None,
) -> Estimate:
    """The estimate of a movie, not yet judged.

    Args:
        movie: measured, its defects masked.
        result: mean and variance [t, y, x].
        noise: noise model used.
        denoiser: whose weights are kept.
        run: the course of its training.
        log: sentences for the reader.
        settings: what it takes to do it again.
        blind: prediction without the pixel's own measurement; None where the network looked at it.

    Raises:
        InputError: the training diverged.
    """
    mean, variance = np.asarray(result.mean), np.asarray(result.var)
    if not (np.isfinite(mean).all() and np.isfinite(variance).all()):
        rate = settings.get("learning_rate", float("nan"))
        raise InputError(f"Denoising {movie.name} diverged: lower --learning-rate (now {rate:g}).")
    return Estimate(
        movie=movie,
        mean=mean,
        variance=variance,
        noise=noise,
        blind_mean=None if blind is None else np.asarray(blind.mean),
        blind_variance=None if blind is None else np.asarray(blind.var),
        log=tuple(log),
        history={
            "loss": list(run.losses),
            "judged_step": [float(k) for k, _ in run.scores],
            "judged_loss": [v for _, v in run.scores],
        },
        settings={
            **settings,
            "steps": run.steps,
            "phdenoise": version("phdenoise"),
            "jax": jax.__version__,
        },
        weights=weights_of(denoiser),
    )


def course(run: Run) -> str:
    """How training went, in a sentence."""
    if not run.scores:
        return "The given network is used as it is."
    first, best = run.scores[0][1], min(s for _, s in run.scores)
    at = run.scores[int(np.argmin([s for _, s in run.scores]))][0]
    if at == 0:
        return f"Training ({run.step} steps) did not improve on its start, which is used (held-out loss {first:.5g})."
    return (
        f"Training: held-out loss {first:.5g} -> {best:.5g}, best after {at} of {run.step} steps."
    )

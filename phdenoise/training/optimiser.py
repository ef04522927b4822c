"""How to train: the plan, which weights it adjusts, one step of Adam with a running average, and the score of weights.

By scores on held-out pixels the best weights of a training are chosen and a training ends.
"""

from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Literal, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, PyTree

from phdenoise.networks.base import Denoiser
from phdenoise.networks.context import MovieArrays
from phdenoise.training.objectives import Crops, Goal, pixel_loss
from phdenoise.types import NoiseModel

# Share of the running average of the weights that stays in each step: an average over about 100 steps.
EMA = 0.99
# Steps of the linear warm-up of the learning rate, at most.
WARM_UP = 50
# Share of the peak that the learning rate decays to.
FINAL_RATE = 0.01
# Largest norm of the gradient; a longer one is shortened to it.
GRADIENT_NORM = 1.0
# Adam's averaging of squared gradients, shorter than the usual 0.999: a training may have 100 steps.
ADAM_B2 = 0.99
# The rate is an argument of the step: one compilation whatever the schedule.
_OPTIMISER = optax.chain(optax.clip_by_global_norm(GRADIENT_NORM), optax.scale_by_adam(b2=ADAM_B2))
Tune = Literal["full", "gain", "none"]
# Pixels that a judgement looks at, at most, and the side of the central window that it looks at [px].
JUDGED_PIXELS, JUDGED_SIDE = 2**19, 256
# Clearly worse judgements in a row that end a training.
PATIENCE = 4


class TrainState(NamedTuple):
    """Weights, their running average, and the optimiser's state."""

    weights: PyTree
    average: PyTree
    optimiser: Any


def start_state(weights: PyTree) -> TrainState:
    """The state before the first step."""
    return TrainState(weights, weights, _OPTIMISER.init(ravel_pytree(weights)[0]))


def advance(state: TrainState, slope: PyTree, rates: PyTree, keep: float = EMA) -> TrainState:
    """One step of the optimiser and of the running average.

    Args:
        state: weights, their average, and the optimiser's state.
        slope: gradient of the loss.
        rates: learning rate of each weight.
        keep: share of the average that stays.

    Returns:
        The next state.
    """
    # On one vector: a program for every leaf takes a third of the time that the training step compiles.
    weights, restore = ravel_pytree(state.weights)
    rates = jax.tree.map(lambda w, rate: jnp.broadcast_to(rate, w.shape), state.weights, rates)
    updates, optimiser = _OPTIMISER.update(ravel_pytree(slope)[0], state.optimiser, weights)
    weights = weights - ravel_pytree(rates)[0] * updates
    average = keep * ravel_pytree(state.average)[0] + (1 - keep) * weights
    return TrainState(restore(weights), restore(average), optimiser)


def schedule(step: int, steps: int, peak: float) -> float:
    """Learning rate: linear warm-up, then cosine decay to `FINAL_RATE` of the peak.

    Args:
        step: from 0.
        steps: planned.
        peak: largest rate.

    Returns:
        The rate of this step.
    """
    warm = min(WARM_UP, steps // 4 + 1)
    if step < warm:
        return peak * (step + 1) / warm
    done = (step - warm) / max(steps - warm, 1)
    return float(
        peak * (FINAL_RATE + (1 - FINAL_RATE) * 0.5 * (1 + np.cos(np.pi * min(done, 1.0))))
    )


@dataclass(frozen=True)
class TrainingPlan:
    """How long and how to train.

    Attributes:
        steps: at most; fewer where `work` or `seconds` do not suffice.
        seconds: time for the loop [s]; None is unlimited.
        learning_rate: peak of a warm-up and cosine decay.
        batch, side: crops per step, and their sides [px].
        objective: see `phdenoise.training.objectives`.
        margin: difference of scores that chance does not explain.
        tune: "full" adjusts every weight; "gain" one factor per channel of each layer, the rest frozen
            (GainTuning, Mohan et al., NeurIPS 2021, arXiv:2107.12815); "none" nothing.
        kept: names of layers that stay as they are.
        fresh: names of layers without learned weights, and the factor on their learning rate.
        work: floating-point operations of steps and judgements; None is unlimited.
    """

    steps: int
    seconds: float | None
    learning_rate: float
    batch: int
    side: tuple[int, int]
    objective: Goal = "nll"
    margin: float = 0.0
    tune: Tune = "full"
    kept: tuple[str, ...] = ()
    fresh: tuple[tuple[str, ...], float] = ((), 1.0)
    work: float | None = None

    @property
    def static(self) -> "TrainingPlan":
        """What a compiled step depends on: nothing that changes with the length of the run."""
        return replace(self, steps=0, seconds=None, learning_rate=0.0, margin=0.0, work=None)


def first_weights(denoiser: Denoiser, tune: Tune) -> PyTree:
    """What training adjusts, before the training.

    Args:
        denoiser: network at the start.
        tune: what is trained; see `TrainingPlan`.

    Returns:
        The network's weights, or one gain for each channel of each layer.
    """
    if tune != "gain":
        return denoiser.state
    return jax.tree.map(
        lambda w: jnp.ones((1,) * (w.ndim - 1) + w.shape[-1:], w.dtype), denoiser.state
    )


def with_weights(denoiser: Denoiser, weights: PyTree, tune: Tune) -> Denoiser:
    """The denoiser with trained weights.

    Args:
        denoiser: network at the start.
        weights: what was adjusted; see `first_weights`.
        tune: see `TrainingPlan`.

    Returns:
        The denoiser with these weights, or with its own times these gains.
    """
    if tune == "gain":
        weights = jax.tree.map(jnp.multiply, denoiser.state, weights)
    return eqx.tree_at(lambda d: d.state, denoiser, weights)


def score(
    denoiser: Denoiser,
    weights: PyTree,
    arrays: MovieArrays,
    judged: Array,
    noise: NoiseModel,
    plan: TrainingPlan,
) -> float:
    """Mean loss on the held-out pixels of evenly spread frames and their central window.

    Args:
        denoiser: network.
        weights: what `plan.tune` trains of it.
        arrays: the movie.
        judged: 1 for the pixels to score [t, y, x].
        noise: noise model.
        plan: its objective and `tune` are used.

    Returns:
        The score; lower is better.
    """
    t, ny, nx = arrays.seen.shape
    stride = denoiser.architecture.stride
    count, side = judged_window((t, ny, nx), stride)
    corner = tuple((n - s) // (2 * stride) * stride for n, s in zip((ny, nx), side, strict=True))
    changed, static = with_weights(denoiser, weights, plan.tune), plan.static
    parts = [
        _score_frame(changed, arrays, judged, noise, (int(i), *corner), side, static)
        for i in np.unique(np.linspace(0, t - 1, count).round())
    ]
    loss, pixels = np.sum([[float(a), float(b)] for a, b in parts], axis=0)
    return float(loss / max(pixels, 1.0))


def judged_window(shape: tuple[int, int, int], stride: int) -> tuple[int, tuple[int, int]]:
    """Number of frames that a judgement looks at, and the sides of their window.

    Args:
        shape: of the movie [t, y, x].
        stride: of the network [px].

    Returns:
        Frames, and rows and columns [px].
    """
    t, ny, nx = shape
    most = JUDGED_SIDE // stride * stride
    side = (min(ny, most), min(nx, most))
    return int(np.clip(JUDGED_PIXELS // (side[0] * side[1]), 1, t)), side


def worsens(scores: list[tuple[int, float]], margin: float) -> bool:
    """Whether the last judgements are all clearly worse than the best.

    Args:
        scores: (step, score) of all judgements.
        margin: difference of scores that chance does not explain.

    Returns:
        True where the training may end.
    """
    least = min(s for _, s in scores)
    worse = [s > least + margin for _, s in scores[-PATIENCE:]]
    return len(worse) == PATIENCE and all(worse)


@partial(jax.jit, static_argnames=("side", "plan"))
def _score_frame(
    denoiser: Denoiser,
    arrays: MovieArrays,
    judged: Array,
    noise: NoiseModel,
    at: tuple[Array | int, ...],
    side: tuple[int, int],
    plan: TrainingPlan,
) -> tuple[Array, Array]:
    t, y, x = at
    view = arrays.view(t, y, x, side)
    wanted, *targets = (
        jax.lax.dynamic_slice(a, at, (1, *side))
        for a in (judged, arrays.target, arrays.target_var)
        if a is not None
    )
    context, centre, seen = (a[None] for a in view)
    crops = Crops(context, centre, seen, wanted, *targets)
    # The same probes at every judgement: their scatter cancels in the comparison.
    key = jax.random.fold_in(jax.random.key(0), t)
    loss, weight = pixel_loss(denoiser, crops, noise, plan.objective, key, (y, x))
    return jnp.sum(weight * loss), jnp.sum(weight)

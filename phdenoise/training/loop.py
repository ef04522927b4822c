"""The one training loop: blind likelihood on random crops, one jitted step at a time.

One step per call, not a scan over steps: XLA on CPU runs convolutions inside a loop about ten times slower
than outside (0.63 s against 0.047 s a step, measured), and dispatch costs a GPU little at this step size.
The movie is an argument of the step; optimiser state and weights are donated. Weights are averaged over steps,
judged on held-out pixels, and the best average is kept; the network at the start of the training is the first candidate.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PyTree

from phdenoise.networks.base import Denoiser, layer_names
from phdenoise.networks.context import MovieArrays
from phdenoise.training.objectives import Crops, Goal, pixel_loss
from phdenoise.training.optimiser import (
    WARM_UP,
    TrainingPlan,
    TrainState,
    Tune,
    advance,
    first_weights,
    judged_window,
    schedule,
    score,
    start_state,
    with_weights,
    worsens,
)
from phdenoise.types import NoiseModel, Steps

# Steps after which the time a step takes is known.
TIMED = 20
# Share of the time left that is planned with: judging costs a few steps each time.
PLANNED_TIME = 0.9
# Share of a step's work that is the prediction: the gradient takes twice as much.
FORWARD_SHARE = 1 / 3
# Judgements in one training, and steps between them at least.
JUDGEMENTS, STEPS_BETWEEN = 24, 25


@dataclass(frozen=True)
class Run:
    """Everything that a training needs to go on where it was: the checkpoint.

    Attributes:
        state: weights, average, optimiser.
        best: average with the best score so far.
        step: steps done.
        steps: steps planned (known once a step has been timed), 0 before.
        losses: of every step.
        scores: (step, score on held-out pixels).
        ended: early end, if so.
    """

    state: TrainState
    best: PyTree
    step: int = 0
    steps: int = 0
    losses: tuple[float, ...] = ()
    scores: tuple[tuple[int, float], ...] = field(default=())
    ended: bool = False

    @property
    def sentence(self) -> str:
        """The course of the training, for the log."""
        if not self.scores:
            return "The given network is used as it is."
        first = self.scores[0][1]
        at, best = min(self.scores, key=lambda score: score[1])
        if at == 0:
            return f"Training ({self.step} steps) did not improve on its start, which is used (held-out loss {first:.5g})."
        return f"Training: held-out loss {first:.5g} -> {best:.5g}, best after {at} of {self.step} steps."


def draw_crops(
    key: Array,
    arrays: MovieArrays,
    weight: Float[Array, "t y x"],
    denoiser: Denoiser,
    *,
    batch: int,
    side: tuple[int, int],
) -> Crops:
    """Random crops with random reflections, quarter turns (square crops and hidden regions) and time reversal.

    Args:
        key: of the draw.
        arrays: the movie.
        weight: 1 for the pixels to learn from.
        denoiser: whose stride, blind region and context are used.
        batch: number of crops.
        side: their height and width [px].

    Returns:
        The crops.
    """
    t, ny, nx = arrays.seen.shape
    h, w = side
    k_t, k_y, k_x, k_s = jax.random.split(key, 4)
    # Crops start on the stride: the network's half-resolution cells then match whole-frame prediction.
    stride = denoiser.architecture.stride
    ts = jax.random.randint(k_t, (batch,), 0, t)
    ys = stride * jax.random.randint(k_y, (batch,), 0, (ny - h) // stride + 1)
    xs = stride * jax.random.randint(k_x, (batch,), 0, (nx - w) // stride + 1)

    targets = [a for a in (arrays.target, arrays.target_var) if a is not None]

    def _one(i: Array, y: Array, x: Array) -> tuple[Array, ...]:
        cut = (jax.lax.dynamic_slice(a, (i, y, x), (1, h, w))[0] for a in (weight, *targets))
        return *arrays.view(i, y, x, side), *cut

    context, *images = jax.vmap(_one)(ts, ys, xs)
    coin = jax.random.bernoulli(k_s, 0.5, (4,))
    context = jnp.where(
        coin[0], context[..., jnp.asarray(denoiser.architecture.time_reversed, int)], context
    )
    out = [context, *images]
    out = [jnp.where(coin[1], a[:, ::-1], a) for a in out]
    out = [jnp.where(coin[2], a[:, :, ::-1], a) for a in out]
    if denoiser.region.turns(side):
        out = [jnp.where(coin[3], jnp.swapaxes(a, 1, 2), a) for a in out]
    return Crops(*out)


def _crop_loss(
    denoiser: Denoiser,
    crops: Crops,
    noise: NoiseModel,
    objective: Goal = "nll",
    key: Array | None = None,
) -> Float[Array, ""]:
    """Mean loss of the crops' weighted pixels."""
    key = jax.random.key(0) if key is None else key
    loss, weight = pixel_loss(denoiser, crops, noise, objective, key)
    return jnp.sum(weight * loss) / jnp.maximum(jnp.sum(weight), 1.0)


@partial(jax.jit, static_argnames=("plan",), donate_argnums=(0,))
def _train_step(
    state: TrainState,
    denoiser: Denoiser,
    arrays: MovieArrays,
    weight: Array,
    noise: NoiseModel,
    key: Array,
    rate: Array,
    plan: TrainingPlan,
) -> tuple[TrainState, Array]:
    crops = draw_crops(key, arrays, weight, denoiser, batch=plan.batch, side=plan.side)

    def loss(weights: PyTree) -> Array:
        changed = with_weights(denoiser, weights, plan.tune)
        return _crop_loss(changed, crops, noise, plan.objective, jax.random.fold_in(key, 1))

    value, slope = jax.value_and_grad(loss)(state.weights)
    layers, (fresh, faster) = layer_names(slope), plan.fresh
    slope = jax.tree.map(
        lambda name, a: jnp.zeros_like(a) if name in plan.kept else a, layers, slope
    )
    rates = jax.tree.map(lambda name: rate * (faster if name in fresh else 1.0), layers)
    return advance(state, slope, rates), value


class Hooks(NamedTuple):
    """What a training tells of itself, and where it goes on from.

    Attributes:
        run: an interrupted run to continue; the result is the same to the last bit.
        save: called with the run at every judgement.
        progress: called with (step, steps, score on held-out pixels).
    """

    run: Run | None = None
    save: Callable[[Run], None] | None = None
    progress: Steps | None = None


NO_HOOKS = Hooks()


def train(
    denoiser: Denoiser,
    arrays: MovieArrays,
    weight: Float[Array, "t y x"],
    judged: Float[Array, "t y x"],
    noise: NoiseModel,
    key: Array,
    plan: TrainingPlan,
    hooks: Hooks = NO_HOOKS,
) -> tuple[Denoiser, Run]:
    """Train on a movie.

    Args:
        denoiser: fresh denoiser, or one to tune.
        arrays: of `phdenoise.networks.prepare`.
        weight: 1 for the pixels to learn from, else 0.
        judged: 1 for the pixels to judge on, else 0; disjoint from `weight`.
        noise: noise model of the movie.
        key: for the crops.
        plan: schedule.
        hooks: what to continue, save and report.

    Returns:
        The denoiser with the best averaged weights, and the course of the training.
    """
    start, static = time.monotonic(), plan.static
    run = start_run(denoiser, plan.tune) if hooks.run is None else hooks.run
    # Donated buffers must not be shared with the caller's arrays.
    state = jax.tree.map(jnp.copy, run.state)
    step, steps, best = run.step, run.steps, run.best
    losses: list[Any] = list(run.losses)
    scores = list(run.scores)
    timed = start
    if steps == 0 and plan.work is not None:
        steps = _affordable_by_work(
            plan, (state, denoiser, arrays, weight, noise, key, jnp.float32(0))
        )
    while not run.ended and step < (steps or plan.steps):
        if step == 0 and not scores:
            scores.append((0, score(denoiser, run.best, arrays, judged, noise, plan)))
        if step == 1:
            jax.block_until_ready(losses[-1])
            timed = time.monotonic()
        if steps == 0 and step == min(TIMED, plan.steps):
            jax.block_until_ready(losses[-1])
            clock = time.monotonic()
            steps = _affordable(plan, (clock - timed) / max(step - 1, 1), clock - start)
        planned = steps or plan.steps
        rate = jnp.float32(schedule(step, planned, plan.learning_rate))
        state, loss = _train_step(
            state, denoiser, arrays, weight, noise, jax.random.fold_in(key, step), rate, static
        )
        losses.append(loss)
        step += 1
        every = max(planned // JUDGEMENTS, STEPS_BETWEEN)
        if (steps and step % every == 0) or step == planned:
            now = score(denoiser, state.average, arrays, judged, noise, plan)
            if now < min(s for _, s in scores):
                best = jax.tree.map(jnp.copy, state.average)
            scores.append((step, now))
            losses = [float(v) for v in losses]
            run = Run(
                jax.tree.map(jnp.copy, state) if hooks.save else state,
                best, step, planned, tuple(losses), tuple(scores), worsens(scores, plan.margin),
            )  # fmt: skip
            if hooks.save:
                hooks.save(run)
            steps = run.steps
            if hooks.progress:
                hooks.progress(step, steps, now)
    return with_weights(denoiser, run.best, plan.tune), run


def start_run(denoiser: Denoiser, tune: Tune = "full") -> Run:
    """The state of a training that has not begun.

    Args:
        denoiser: network at the start.
        tune: what is trained; see `TrainingPlan`.

    Returns:
        The run.
    """
    weights = first_weights(denoiser, tune)
    return Run(start_state(weights), weights)


def _affordable(plan: TrainingPlan, each: float, spent: float) -> int:
    """Steps that fit in the time."""
    if plan.seconds is None:
        return plan.steps
    left = PLANNED_TIME * (plan.seconds - spent) / max(each, 1e-6)
    return int(np.clip(TIMED + left, min(2 * WARM_UP, plan.steps), plan.steps))


def _affordable_by_work(plan: TrainingPlan, arguments: tuple[Any, ...]) -> int:
    """Steps that fit in the work, with their judgements; the same on every machine."""
    assert plan.work is not None
    if plan.steps == 0:
        return 0
    denoiser, arrays = arguments[1:3]
    # Of the program as it is written, before a compiler makes it that of one device.
    costs = _train_step.lower(*arguments, plan.static).cost_analysis()
    assert costs is not None
    step = float(costs["flops"])
    count, side = judged_window(arrays.seen.shape, denoiser.architecture.stride)
    crops = plan.batch * plan.side[0] * plan.side[1]
    judgement = step * FORWARD_SHARE * count * side[0] * side[1] / crops
    often = plan.work / (step + judgement / STEPS_BETWEEN)
    seldom = (plan.work - JUDGEMENTS * judgement) / step
    least = min(2 * WARM_UP, plan.steps)
    return int(np.clip(max(often, seldom), least, plan.steps))

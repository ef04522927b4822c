"""The one training loop: blind likelihood on random crops, one jitted step at a time.

One step per call, not a scan over steps: XLA on CPU runs convolutions inside a loop about ten times slower
than outside (0.63 s against 0.047 s a step, measured), and dispatch costs a GPU little at this step size.
The movie is an argument of the step; optimiser state and weights are donated. Weights are averaged over steps,
judged on pixels that training never sees, and the best average is kept: the network that training starts from, which
is the best linear filter or better, is the first candidate.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Literal, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, PyTree

from phdenoise.denoisers import Denoiser, MovieArrays
from phdenoise.denoisers.core import leaf_name
from phdenoise.training.objectives import Crops, Goal, pixel_loss
from phdenoise.types import NoiseModel, Steps

Tune = Literal["full", "gain", "none"]

EMA = 0.99
WARM_UP = 50
# Steps after which the time a step takes is known.
TIMED = 20
# Judgements in one training, pixels each looks at, and how many clearly worse ones in a row end it.
JUDGEMENTS, JUDGED, PATIENCE = 24, 2**19, 4


@dataclass(frozen=True)
class Plan:
    """How long and how to train.

    Attributes:
        steps: at most; fewer where `seconds` do not suffice.
        seconds: time for the loop [s]; None is unlimited.
        learning_rate: peak of a warm-up and cosine decay.
        batch, side: crops per step, and their sides [px].
        objective: see `phdenoise.training.objectives`.
        margin: difference of scores that chance does not explain.
        tune: "full" adjusts every weight; "gain" one factor per channel of each layer, the rest frozen
            (GainTuning, Mohan et al., NeurIPS 2021, arXiv:2107.12815); "none" nothing.
        kept: names of layers that stay as they are.
        fresh: names of layers that know nothing yet, and how much faster they learn.
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

    @property
    def static(self) -> "Plan":
        """What a compiled step depends on: nothing that changes with the length of the run."""
        return replace(self, steps=0, seconds=None, learning_rate=0.0, margin=0.0)


class TrainState(NamedTuple):
    """Weights, their running average, and the optimiser's state."""

    weights: PyTree
    average: PyTree
    optimiser: Any


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


def draw_crops(
    key: Array,
    arrays: MovieArrays,
    weight: Float[Array, "t y x"],
    denoiser: Denoiser,
    *,
    batch: int,
    side: tuple[int, int],
) -> Crops:
    """Random crops with random reflections, quarter turns (square crops and hidden regions) and time reversal."""
    t, ny, nx = arrays.seen.shape
    h, w = side
    k_t, k_y, k_x, k_s = jax.random.split(key, 4)
    # Crops start on the stride: the network's half-resolution cells then match whole-frame prediction.
    ts = jax.random.randint(k_t, (batch,), 0, t)
    ys = 4 * jax.random.randint(k_y, (batch,), 0, (ny - h) // 4 + 1)
    xs = 4 * jax.random.randint(k_x, (batch,), 0, (nx - w) // 4 + 1)

    targets = [a for a in (arrays.target, arrays.target_var) if a is not None]

    def one(i: Array, y: Array, x: Array) -> tuple[Array, ...]:
        cut = (jax.lax.dynamic_slice(a, (i, y, x), (1, h, w))[0] for a in (weight, *targets))
        return *arrays.view(i, y, x, side), *cut

    context, *images = jax.vmap(one)(ts, ys, xs)
    coin = jax.random.bernoulli(k_s, 0.5, (4,))
    context = jnp.where(coin[0], context[..., jnp.asarray(denoiser.time_reversed, int)], context)
    out = [context, *images]
    out = [jnp.where(coin[1], a[:, ::-1], a) for a in out]
    out = [jnp.where(coin[2], a[:, :, ::-1], a) for a in out]
    if denoiser.region.turns(side):
        out = [jnp.where(coin[3], jnp.swapaxes(a, 1, 2), a) for a in out]
    return Crops(*out)


def crop_loss(
    denoiser: Denoiser,
    crops: Crops,
    noise: NoiseModel,
    objective: Goal = "nll",
    key: Array | None = None,
) -> Float[Array, ""]:
    """Mean loss of the crops' weighted pixels; `key` draws masks and probes, for objectives that have some."""
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
    plan: Plan,
) -> tuple[TrainState, Array]:
    crops = draw_crops(key, arrays, weight, denoiser, batch=plan.batch, side=plan.side)

    def loss(weights: PyTree) -> Array:
        changed = _with(denoiser, weights, plan.tune)
        return crop_loss(changed, crops, noise, plan.objective, jax.random.fold_in(key, 1))

    value, slope = jax.value_and_grad(loss)(state.weights)
    slope = jax.tree_util.tree_map_with_path(
        lambda path, a: jnp.zeros_like(a) if leaf_name(path).split("/")[0] in plan.kept else a,
        slope,
    )
    names, faster = plan.fresh
    rates = jax.tree_util.tree_map_with_path(
        lambda path, _: rate * (faster if leaf_name(path).split("/")[0] in names else 1.0), slope
    )
    return advance(state, slope, rates), value


def advance(state: TrainState, slope: PyTree, rates: PyTree, keep: float = EMA) -> TrainState:
    """One step of the optimiser, at each weight's rate, and of the running average, of which `keep` stays."""
    updates, optimiser = _OPTIMISER.update(slope, state.optimiser, state.weights)
    weights = optax.apply_updates(
        state.weights, jax.tree.map(lambda u, rate: -rate * u, updates, rates)
    )
    average = jax.tree.map(lambda a, w: keep * a + (1 - keep) * w, state.average, weights)
    return TrainState(weights, average, optimiser)


# The rate is an argument of the step: one compilation whatever the schedule.
_OPTIMISER = optax.chain(optax.clip_by_global_norm(1.0), optax.scale_by_adam(b2=0.99))


def schedule(step: int, steps: int, peak: float) -> float:
    """Learning rate: linear warm-up, then cosine decay to one percent of the peak."""
    warm = min(WARM_UP, steps // 4 + 1)
    if step < warm:
        return peak * (step + 1) / warm
    done = (step - warm) / max(steps - warm, 1)
    return float(peak * (0.01 + 0.99 * 0.5 * (1 + np.cos(np.pi * min(done, 1.0)))))


def train(
    denoiser: Denoiser,
    arrays: MovieArrays,
    weight: Float[Array, "t y x"],
    judged: Float[Array, "t y x"],
    noise: NoiseModel,
    key: Array,
    plan: Plan,
    *,
    run: Run | None = None,
    save: Callable[[Run], None] | None = None,
    progress: Steps | None = None,
) -> tuple[Denoiser, Run]:
    """Train on a movie; returns the denoiser with the best averaged weights, and the course of it.

    Args:
        denoiser: fresh denoiser, or one to tune.
        arrays: of `phdenoise.denoisers.prepare`.
        weight: 1 for the pixels to learn from, else 0.
        judged: 1 for the pixels to judge on, else 0; disjoint from `weight`.
        noise: noise model of the movie.
        key: for the crops.
        plan: schedule.
        run: an interrupted run to continue; the result is the same to the last bit.
        save: called with the run at every judgement.
        progress: called with (step, steps, score on held-out pixels).
    """
    start = time.monotonic()
    run = start_run(denoiser, plan.tune) if run is None else run
    # Donated buffers must not be shared with the caller's arrays.
    state = jax.tree.map(jnp.copy, run.state)
    step, steps, best = run.step, run.steps, run.best
    losses: list[Any] = list(run.losses)
    scores = list(run.scores)
    timed = start
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
        rate = schedule(step, steps or plan.steps, plan.learning_rate)
        state, loss = _train_step(
            state, denoiser, arrays, weight, noise, jax.random.fold_in(key, step), rate, plan.static
        )
        losses.append(loss)
        step += 1
        every = max((steps or plan.steps) // JUDGEMENTS, 25)
        if (steps and step % every == 0) or step == (steps or plan.steps):
            now = score(denoiser, state.average, arrays, judged, noise, plan)
            if now < min(s for _, s in scores):
                best = jax.tree.map(jnp.copy, state.average)
            scores.append((step, now))
            least = min(s for _, s in scores)
            worse = [s > least + plan.margin for _, s in scores[-PATIENCE:]]
            losses = [float(v) for v in losses]
            run = Run(
                jax.tree.map(jnp.copy, state) if save else state,
                best, step, steps or plan.steps, tuple(losses), tuple(scores), len(worse) == PATIENCE and all(worse),
            )  # fmt: skip
            if save:
                save(run)
            steps = run.steps
            if progress:
                progress(step, steps, now)
    return _with(denoiser, run.best, plan.tune), run


def start_run(denoiser: Denoiser, tune: Tune = "full") -> Run:
    """The state of a training that has not begun."""
    weights = denoiser.state
    if tune == "gain":
        weights = jax.tree.map(
            lambda w: jnp.ones((1,) * (w.ndim - 1) + w.shape[-1:], w.dtype), weights
        )
    return Run(TrainState(weights, weights, _OPTIMISER.init(weights)), weights)


def _with(denoiser: Denoiser, weights: PyTree, tune: Tune) -> Denoiser:
    """The denoiser with these weights, or with its own times these gains."""
    if tune == "gain":
        weights = jax.tree.map(jnp.multiply, denoiser.state, weights)
    return eqx.tree_at(lambda d: d.state, denoiser, weights)


def _affordable(plan: Plan, each: float, spent: float) -> int:
    """Steps that fit in the time."""
    if plan.seconds is None:
        return plan.steps
    # Judging costs a few steps each time.
    left = 0.9 * (plan.seconds - spent) / max(each, 1e-6)
    return int(np.clip(TIMED + left, min(2 * WARM_UP, plan.steps), plan.steps))


def score(
    denoiser: Denoiser,
    weights: PyTree,
    arrays: MovieArrays,
    judged: Array,
    noise: NoiseModel,
    plan: Plan,
) -> float:
    """Mean loss on the held-out pixels of evenly spread frames and their central window."""
    t, ny, nx = arrays.seen.shape
    side = (min(ny, 256), min(nx, 256))
    count = int(np.clip(JUDGED // (side[0] * side[1]), 1, t))
    corner = ((ny - side[0]) // 8 * 4, (nx - side[1]) // 8 * 4)
    changed = _with(denoiser, weights, plan.tune)
    parts = [
        _score_frame(changed, arrays, judged, noise, int(i), *corner, side, plan.static)
        for i in np.unique(np.linspace(0, t - 1, count).round())
    ]
    loss, pixels = np.sum([[float(a), float(b)] for a, b in parts], axis=0)
    return float(loss / max(pixels, 1.0))


@partial(jax.jit, static_argnames=("side", "plan"))
def _score_frame(
    denoiser: Denoiser,
    arrays: MovieArrays,
    judged: Array,
    noise: NoiseModel,
    t: Array,
    y: Array,
    x: Array,
    side: tuple[int, int],
    plan: Plan,
) -> tuple[Array, Array]:
    view = arrays.view(t, y, x, side)
    wanted, *targets = (
        jax.lax.dynamic_slice(a, (t, y, x), (1, *side))
        for a in (judged, arrays.target, arrays.target_var)
        if a is not None
    )
    context, centre, seen = (a[None] for a in view)
    crops = Crops(context, centre, seen, wanted, *targets)
    # The same probes at every judgement: their scatter cancels in the comparison.
    key = jax.random.fold_in(jax.random.key(0), t)
    loss, weight = pixel_loss(denoiser, crops, noise, plan.objective, key, (y, x))
    return jnp.sum(weight * loss), jnp.sum(weight)

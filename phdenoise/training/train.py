"""The one training loop: blind likelihood on random crops, one jitted step at a time.

One step per call, not a scan over steps: XLA on CPU runs convolutions inside a loop about ten times slower
than outside (0.63 s against 0.047 s a step, measured), and dispatch costs a GPU little at this step size.
The movie is an argument of the step; optimiser state and weights are donated.
"""

from collections.abc import Callable
from functools import lru_cache, partial
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, PyTree

from phdenoise.denoisers import Denoiser, blind_nll
from phdenoise.denoisers.context import REACH, gather_context
from phdenoise.types import NoiseModel

EMA = 0.99


class TrainState(NamedTuple):
    """Weights, their running average, and the optimiser's state."""

    weights: PyTree
    average: PyTree
    optimiser: Any


class Crops(NamedTuple):
    """A batch of training crops, scaled as the network sees them."""

    context: Float[Array, "n y x k"]
    centre: Float[Array, "n y x"]
    seen: Float[Array, "n y x"]
    weight: Float[Array, "n y x"]


def draw_crops(
    key: Array,
    arrays: dict[str, Array],
    time_reversed: tuple[int, ...],
    *,
    batch: int,
    side: tuple[int, int],
) -> Crops:
    """Random crops with random reflections, quarter turns (square crops) and time reversal."""
    t, ny, nx = arrays["seen"].shape
    h, w = side
    reach = REACH[-1]
    k_t, k_y, k_x, k_s = jax.random.split(key, 4)
    # Crops start on the stride: the network's half-resolution cells then match whole-frame prediction.
    ts = jax.random.randint(k_t, (batch,), 0, t)
    ys = 4 * jax.random.randint(k_y, (batch,), 0, (ny - h) // 4 + 1)
    xs = 4 * jax.random.randint(k_x, (batch,), 0, (nx - w) // 4 + 1)

    def one(i: Array, y: Array, x: Array) -> tuple[Array, ...]:
        block = jax.lax.dynamic_slice(arrays["padded"], (i, y, x), (2 * reach + 1, h, w))
        seen, weight = (
            jax.lax.dynamic_slice(arrays[name], (i, y, x), (1, h, w))[0]
            for name in ("seen", "weight")
        )
        return gather_context(block, arrays["weights"][i]), block[reach], seen, weight

    context, *images = jax.vmap(one)(ts, ys, xs)
    coin = jax.random.bernoulli(k_s, 0.5, (4,))
    context = jnp.where(coin[0], context[..., jnp.asarray(time_reversed)], context)
    out = [context, *images]
    out = [jnp.where(coin[1], a[:, ::-1], a) for a in out]
    out = [jnp.where(coin[2], a[:, :, ::-1], a) for a in out]
    if h == w:
        out = [jnp.where(coin[3], jnp.swapaxes(a, 1, 2), a) for a in out]
    return Crops(*out)


def crop_loss(denoiser: Denoiser, crops: Crops, noise: NoiseModel) -> Float[Array, ""]:
    """Mean blind −log likelihood of the crops' weighted pixels."""
    blind = denoiser(crops.context, crops.centre, crops.seen)
    noisy = denoiser.centre + denoiser.spread * crops.centre
    nll = blind_nll(blind, noisy, noise)
    return jnp.sum(crops.weight * nll) / jnp.maximum(jnp.sum(crops.weight), 1.0)


@partial(jax.jit, static_argnames=("optimiser", "batch", "side"), donate_argnums=(0,))
def _train_step(
    state: TrainState,
    denoiser: Denoiser,
    arrays: dict[str, Array],
    noise: NoiseModel,
    key: Array,
    optimiser: optax.GradientTransformation,
    batch: int,
    side: tuple[int, int],
) -> tuple[TrainState, Array]:
    crops = draw_crops(key, arrays, denoiser.time_reversed, batch=batch, side=side)

    def loss(weights: PyTree) -> Array:
        return crop_loss(eqx.tree_at(lambda d: d.state, denoiser, weights), crops, noise)

    value, slope = jax.value_and_grad(loss)(state.weights)
    updates, opt_state = optimiser.update(slope, state.optimiser, state.weights)
    weights = optax.apply_updates(state.weights, updates)
    average = jax.tree.map(lambda a, w: EMA * a + (1 - EMA) * w, state.average, weights)
    return TrainState(weights, average, opt_state), value


def train(
    denoiser: Denoiser,
    arrays: dict[str, Array],
    noise: NoiseModel,
    key: Array,
    *,
    steps: int,
    learning_rate: float,
    batch: int,
    side: tuple[int, int],
    progress: Callable[[int, int, float], None] | None = None,
) -> tuple[Denoiser, list[float]]:
    """Train on a movie; returns the denoiser with averaged weights, and the loss of every step.

    Args:
        denoiser: fresh denoiser.
        arrays: of `phdenoise.denoisers.prepare`, plus "weight" [t, Y, X], 0 where not to learn from.
        noise: noise model of the movie.
        key: for the crops.
        steps, learning_rate, batch, side: schedule (warm-up, then cosine decay) and crop shape [px].
        progress: called with (step, steps, loss).
    """
    optimiser = _optimiser(steps, learning_rate)
    # Donated buffers must not be shared with the caller's denoiser, nor with each other.
    weights, average = (jax.tree.map(jnp.copy, denoiser.state) for _ in range(2))
    state = TrainState(weights, average, optimiser.init(weights))
    losses: list[Array] = []
    for step in range(steps):
        state, loss = _train_step(
            state,
            denoiser,
            arrays,
            noise,
            jax.random.fold_in(key, step),
            optimiser,
            batch,
            side,
        )
        losses.append(loss)
        if progress and ((step + 1) % 25 == 0 or step + 1 == steps):
            progress(step + 1, steps, float(loss))
    trained = eqx.tree_at(lambda d: d.state, denoiser, state.average)
    return trained, [float(v) for v in losses]


@lru_cache
def _optimiser(steps: int, learning_rate: float) -> optax.GradientTransformation:
    """Adam with warm-up and cosine decay; the same object again, so that the step compiles once."""
    schedule = optax.warmup_cosine_decay_schedule(
        0.0, learning_rate, min(50, steps // 4 + 1), steps, 0.01 * learning_rate
    )
    return optax.chain(optax.clip_by_global_norm(1.0), optax.adam(schedule, b2=0.99))

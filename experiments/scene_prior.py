"""The network that training on a movie starts from: learned on random scenes, scored on others.

    python -m experiments.scene_prior train [--movies N] [--steps N] [--start FILE] [--output FILE]
    python -m experiments.scene_prior score [--scenes N] [--output FILE]

    loss = ⟨|x − μ|²⟩/ℓ² + 0.1 ⟨½ |x − μ|²/Σ + ½ ln(Σ/ℓ²)⟩

x is the clean scene, which is known here, μ and Σ the blind prediction, ℓ the error of the scene's best blind linear
filter, in units of which every scene counts alike. Half of the scenes have white noise and hide the pixel, the
others correlated noise and hide the frame; some are cut into short movies. `train` takes a bit over an hour on two cores
and keeps what it has every thousand steps. The weights in use come from this recipe in two runs, 18,000 steps on 400 scenes
of weaker noise and 75,000 on 1500 more (`--start` goes on from a file).
"""

import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import tyro

from experiments.scenes import Exposure, expose
from phdenoise.networks.base import Denoiser, build, from_prior, save_prior
from phdenoise.networks.centre_blind import PRIOR, CentreBlind
from phdenoise.networks.context import FRAME, PIXEL, MovieArrays
from phdenoise.networks.predict import predict_arrays, prepare
from phdenoise.training.loop import draw_crops, start_run
from phdenoise.training.optimiser import TrainState, advance
from phdenoise.types import InputError

# Share of the linear filter's rms error below which an error counts as none: it keeps the logarithm finite.
NONE = 0.03
# Steps over which the learning rate rises, steps between two printed scores, and decay of the averaged weights a step.
WARM_UP, STEPS_BETWEEN_SCORES, EMA = 200, 1000, 0.999


@dataclass(frozen=True)
class ScenePrior:
    """Train the network that training starts from, or score it."""

    what: tyro.conf.Positional[Literal["train", "score"]]
    """train writes the weights, score compares them with the linear filter on scenes that were not learned."""
    movies: int = 1500
    """Scenes to learn from; they are kept in memory, 7 MB each."""
    scenes: int = 40
    """Scenes to score on."""
    frames: int = 30
    """Frames of each."""
    side: int = 96
    """Side of each [px]."""
    steps: int = 75_000
    """Training steps."""
    batch: int = 4
    """Crops of one scene in a step."""
    crop: int = 64
    """Side of the crops [px]."""
    rate: float = 2e-3
    """Peak learning rate of Adam."""
    seed: int = 0
    """Of the scenes and of training."""
    start: Path | None = None
    """Weights to go on from."""
    output: Path = PRIOR
    """Where the weights are, or shall be."""


class Lesson(NamedTuple):
    """A scene as the network sees it, in half precision; the linear filter's error in its units."""

    arrays: MovieArrays
    correlated: bool
    linear_error: float


def lesson(rng: np.random.Generator, config: ScenePrior) -> Lesson:
    """A random scene, ready to be learned.

    Args:
        rng: source of chance.
        config: of the training.

    Returns:
        The scene with its context and target.
    """
    shot = expose(rng, config.frames, config.side)
    blank = _blank(shot)
    # Some scenes are cut into short movies.
    some = [n for n in (2, 3, 5) if config.frames >= 4 * n] or [1]
    cuts = 1 if rng.random() < 0.75 else int(rng.choice(some))
    present = np.ones(config.frames, bool)
    weights = np.concatenate([blank.context_weights(p) for p in np.array_split(present, cuts)])
    arrays = prepare(blank, shot.noisy, np.ones(shot.noisy.shape, bool), weights=weights)
    target = blank.scaled(jnp.asarray(shot.clean))
    assert arrays.linear is not None
    error = float(jnp.sqrt(jnp.mean((arrays.linear[:, -1] - target) ** 2)))
    known = replace(arrays, target=target, coefficients=None, absent=None)
    halved = jax.tree.map(lambda a: a.astype(jnp.float16), known)
    return Lesson(halved, shot.correlated, error)


def _blank(shot: Exposure) -> Denoiser:
    return build(
        FRAME if shot.correlated else PIXEL,
        width=CentreBlind.widths["default"],
        centre=float(shot.noisy.mean()),
        spread=float(shot.noisy.std()),
        seed=0,
    )


def loss(denoiser: Denoiser, crops: Any, error: jax.Array) -> tuple[jax.Array, jax.Array]:
    """See the module's text; also the squared error alone, over the linear filter's.

    Args:
        denoiser: the network.
        crops: of the scene, scaled.
        error: rms error of the linear filter [scaled].

    Returns:
        The loss, and the squared error over that of the linear filter.
    """
    out = denoiser(crops.context, crops.centre, crops.seen)
    off = (crops.target - out.mean) ** 2
    var = out.var + (NONE * error) ** 2
    squared = jnp.mean(off) / error**2
    return squared + 0.1 * jnp.mean(0.5 * (off / var + jnp.log(var / error**2))), squared


@partial(jax.jit, static_argnames=("batch", "crop"), donate_argnums=(0,))
def _step(
    state: TrainState,
    denoiser: Denoiser,
    arrays: MovieArrays,
    error: jax.Array,
    key: jax.Array,
    rate: jax.Array,
    batch: int,
    crop: int,
) -> tuple[TrainState, jax.Array]:
    arrays = jax.tree.map(lambda a: a.astype(jnp.float32), arrays)
    crops = draw_crops(key, arrays, arrays.seen, denoiser, batch=batch, side=(crop, crop))

    def of(weights: Any) -> tuple[jax.Array, jax.Array]:
        shown = eqx.tree_at(lambda d: d.state, denoiser, _begun(weights, error))
        return loss(shown, crops, error)

    slope, squared = jax.grad(of, has_aux=True)(state.weights)
    return advance(state, slope, jax.tree.map(lambda _: rate, slope), EMA), squared


def _begun(weights: Any, error: jax.Array) -> Any:
    """The weights with the predicted error of the scene's linear filter."""
    return eqx.tree_at(lambda s: s["log_spread"].get_value(), weights, jnp.log(jnp.expm1(error)))


def _learned(denoiser: Denoiser, path: Path) -> Denoiser:
    """The same with the weights of a file that `train` wrote."""
    if not path.exists():
        raise InputError(f"{path} does not exist: give a file that `scene_prior train` wrote.")
    known = from_prior(denoiser, path)
    if known is None:
        raise InputError(
            f"{path} holds the weights of a network of another width or window: train it anew without --start."
        )
    return known


def train(config: ScenePrior) -> Iterator[tuple[int, float]]:
    """Learn, and write what was learned; yields the step and the mean squared error over the linear filter's."""
    unit = build(
        PIXEL, width=CentreBlind.widths["default"], centre=0.0, spread=1.0, seed=config.seed
    )
    if config.start is not None:
        unit = _learned(unit, config.start)
    lessons = []
    for k in range(config.movies):
        lessons.append(lesson(np.random.default_rng([config.seed, k]), config))
        if (k + 1) % 100 == 0:
            print(f"{k + 1}/{config.movies} scenes", flush=True)
    # Hiding the whole frame leaves the bank of filters out, with the same weights.
    regions = {False: unit, True: replace(unit, region=FRAME)}
    # Donated buffers must not be shared.
    state = jax.tree.map(jnp.copy, start_run(unit).state)
    rng, key, found = np.random.default_rng([config.seed, 1]), jax.random.key(config.seed), []
    for step in range(config.steps):
        arrays, correlated, error = lessons[rng.integers(len(lessons))]
        decay = 0.01 + 0.99 * 0.5 * (1 + np.cos(np.pi * step / config.steps))
        rate = config.rate * min(1.0, (step + 1) / WARM_UP) * decay
        state, squared = _step(
            state, regions[correlated], arrays, jnp.float32(error), jax.random.fold_in(key, step),
            jnp.float32(rate), batch=config.batch, crop=config.crop,
        )  # fmt: skip
        found.append(squared)
        if (step + 1) % STEPS_BETWEEN_SCORES == 0 or step + 1 == config.steps:
            save_prior(config.output, eqx.tree_at(lambda d: d.state, unit, state.average))
            yield step + 1, float(np.mean(np.asarray(found)))
            found = []


class Score(NamedTuple):
    """A scene's noise and the squared error over the linear filter's [dB]."""

    noise: Literal["white", "correlated"]
    level: float
    gain: float


def score(config: ScenePrior) -> list[Score]:
    """Errors on scenes that were not learned, over the linear filter's [dB], by the kind of noise and its strength."""
    rows = []
    for k in range(config.scenes):
        rng = np.random.default_rng([config.seed, 10**6 + k])
        shot = expose(rng, config.frames, config.side)
        blank = _blank(shot)
        valid = np.ones(shot.noisy.shape, bool)
        arrays = prepare(blank, shot.noisy, valid)
        assert arrays.linear is not None
        target = np.asarray(blank.scaled(jnp.asarray(shot.clean)))
        linear = np.mean((np.asarray(arrays.linear[:, -1]) - target) ** 2)
        network = _learned(blank, config.output)
        out = predict_arrays(network, arrays, shot.noisy.shape, symmetries=16).mean
        own = np.mean((np.asarray(network.scaled(out)) - target) ** 2)
        noise = float(np.std(shot.noisy - shot.clean))
        gain = float(10 * np.log10(linear / own))
        rows.append(Score("correlated" if shot.correlated else "white", noise, gain))
    return rows


def main(config: ScenePrior) -> None:
    if config.what == "train":
        for step, value in train(config):
            print(f"{step}/{config.steps} squared error over the linear filter's {value:.4f}")
        return
    rows = score(config)
    print(f"{'noise':12}{'level':>12}{'scenes':>8}{'median gain [dB]':>18}{'worst':>8}")
    for kind in ("white", "correlated"):
        for low, high in ((0.0, 0.5), (0.5, 2.0), (2.0, np.inf)):
            gains = [r.gain for r in rows if r.noise == kind and low <= r.level < high]
            if gains:
                print(
                    f"{kind:12}{f'{low:g}-{high:g}':>12}{len(gains):8}{np.median(gains):18.2f}"
                    f"{min(gains):8.2f}"
                )


if __name__ == "__main__":
    try:
        main(tyro.cli(ScenePrior))
    except InputError as error:
        sys.exit(f"scene_prior: {error}")

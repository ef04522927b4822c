"""The network of `phdenoise.modalities.tem.denoiser`: learned on simulated images, scored on others.

    python -m experiments.tem_training train [--minutes N] [--steps N] [--scenes N] [--folder DIR] [--output FILE]
    python -m experiments.tem_training score [--folder DIR] [--output FILE]

    loss = mean over images of log(e + ε) + e + 0.1 ⟨½ (x̂ − x)²/s² + ln s⟩            in units of z

e = ⟨(x̂ − x)²⟩ of an image; x is its clean value, known here; counts of a random dose are drawn anew at each step. The
logarithm weighs images of every difficulty alike, e brings back what went astray; the last term teaches the standard
deviation s and leaves the mean alone. `train` simulates what is missing, goes on from its checkpoint, and stops after
`minutes`; it writes the weights every two thousand steps.
"""

import json
import sys
import time
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import tyro

from phdenoise.modalities.tem.dataset import DatasetConfig, make_dataset, read_dataset
from phdenoise.modalities.tem.denoiser import symmetric
from phdenoise.modalities.tem.network import (
    DEFAULT_WEIGHTS,
    NetworkConfig,
    TemUnet,
    build_network,
    load_network,
    refining,
    save_network,
)
from phdenoise.modalities.tem.variety import Variety

# Squared error below which an image counts as perfect [noise variance of a bin]; keeps the logarithm finite.
PERFECT = 0.01
# Steps over which the learning rate rises; decay of the averaged weights a step; steps between checkpoints and scores.
WARM_UP, AVERAGE, BETWEEN = 300, 0.998, 250


@dataclass(frozen=True)
class TemTraining:
    """Train the TEM network, or score it."""

    what: tyro.conf.Positional[Literal["train", "score"]] = "train"
    """train writes the weights, score compares them with the noisy counts on scenes that were not learned."""
    minutes: float = 30.0
    """Time of training, without the simulation of the images."""
    steps: int = 6000
    """Steps of the first network; the learning rate falls to zero at the last."""
    refine_steps: int = 3000
    """Steps of the network that refines its answer."""
    scenes: int = 1200
    """Structures to learn from."""
    held_out: int = 60
    """Further structures to score on and to calibrate the standard deviation; the first of the set."""
    batch: int = 8
    """Crops of a step."""
    crop: int = 64
    """Side of the crops [bins]; a multiple of the network's stride."""
    rate: float = 1e-3
    """Peak learning rate of Adam; half of it for the network that refines."""
    dose: tuple[float, float] = (40.0, 1500.0)
    """Electrons per square angstrom, drawn with equal chance on a logarithmic scale."""
    contrast: tuple[float, float] = (0.4, 1.5)
    """Factor on the deviation from vacuum."""
    illumination: float = 0.05
    """Standard deviation of a slope of the illumination, relative, across the crop."""
    seed: int = 0
    """Of weights, crops and counts."""
    network: NetworkConfig = field(default_factory=NetworkConfig)
    """Shape of the network."""
    variety: Variety = field(default_factory=Variety)
    """What is simulated."""
    folder: Path = Path("tem_data")
    """Where simulated images and checkpoints lie."""
    output: Path = DEFAULT_WEIGHTS
    """Where the weights are, or shall be."""

    def identity(self) -> dict[str, Any]:
        """What the weights depend on, as JSON values."""
        values = asdict(self)
        for name in ("what", "folder", "output"):
            del values[name]
        return json.loads(json.dumps(values))


class State(NamedTuple):
    """What a step changes."""

    weights: TemUnet
    average: TemUnet
    optimiser: Any
    step: jax.Array


class Crops(NamedTuple):
    """Scaled counts and their clean values [n, y, x]."""

    noisy: jax.Array
    clean: jax.Array


def draw_crops(
    config: TemTraining, images: np.ndarray, sizes: np.ndarray, rng: np.random.Generator
) -> Crops:
    """Crops of random images at random doses, contrasts, orientations.

    Args:
        config: of the training.
        images: clean, vacuum 1 [scene, optics, y, x].
        sizes: of the pixels of each scene [angstrom].
        rng: of all choices.

    Returns:
        Crops in units of z.
    """
    noisy, clean = [], []
    for _ in range(config.batch):
        scene, optics = rng.integers(images.shape[0]), rng.integers(images.shape[1])
        picture = images[scene, optics].astype(np.float32)
        lam, level = expected_counts(config, picture, float(sizes[scene]), rng)
        y, x = (rng.integers(n - config.crop + 1) for n in lam.shape)
        part = np.rot90(lam[y : y + config.crop, x : x + config.crop], int(rng.integers(4)))
        part = part.T if rng.random() < 0.5 else part
        noisy.append((rng.poisson(part) - level) / np.sqrt(level))
        clean.append((part - level) / np.sqrt(level))
    return Crops(np.stack(noisy).astype(np.float32), np.stack(clean).astype(np.float32))  # type: ignore[arg-type]


def expected_counts(
    config: TemTraining, picture: np.ndarray, size: float, rng: np.random.Generator
) -> tuple[np.ndarray, float]:
    """Mean counts of a picture at a random dose, contrast and illumination, and the level that is taken off.

    Args:
        config: of the training.
        picture: clean, vacuum 1 [y, x].
        size: of its pixels [angstrom].
        rng: of the choices.

    Returns:
        Mean counts [y, x]; the mean over a frame, whose other parts may be brighter or darker.
    """
    factor = rng.uniform(*config.contrast) if rng.random() < 0.7 else 1.0
    lam = np.maximum(1 + factor * (picture - 1), 0.02)
    if rng.random() < 0.3:
        grid = np.linspace(-0.5, 0.5, lam.shape[0])
        slope = config.illumination * rng.standard_normal(2)
        lam = lam * np.maximum(1 + slope[0] * grid[:, None] + slope[1] * grid[None], 0.2)
    low, high = np.log(config.dose)
    lam = lam * np.exp(rng.uniform(low, high)) * size**2
    return lam, float(lam.mean()) * (1 + 0.02 * rng.standard_normal())


def loss(network: TemUnet, crops: Crops) -> tuple[jax.Array, jax.Array]:
    """See the module's text; also the mean squared error.

    Args:
        network: to train.
        crops: of a batch.

    Returns:
        The loss, and the squared error in units of the noise variance.
    """
    mean, sd = network(crops.noisy)
    off = (mean - crops.clean) ** 2
    each = off.mean((1, 2))
    known = jax.lax.stop_gradient(off)
    likelihood = jnp.mean(0.5 * known / sd**2 + jnp.log(sd))
    return jnp.mean(jnp.log(each + PERFECT) + each) + 0.1 * likelihood, each.mean()


def optimiser(peak: float, steps: int) -> optax.GradientTransformation:
    """Adam with a rate that rises and falls along a cosine.

    Args:
        peak: largest learning rate.
        steps: of training.

    Returns:
        The optimiser.
    """
    rate = optax.warmup_cosine_decay_schedule(
        0.0, peak, WARM_UP, max(steps, WARM_UP + 1), 0.01 * peak
    )
    return optax.chain(optax.clip_by_global_norm(1.0), optax.adam(rate))


def start(weights: TemUnet, peak: float, steps: int) -> State:
    """A state before the first step.

    Args:
        weights: to begin with.
        peak, steps: of `optimiser`.

    Returns:
        The state.
    """
    slots = optimiser(peak, steps).init(_learned(weights))
    own, average = (jax.tree.map(jnp.copy, weights) for _ in range(2))
    return State(own, average, slots, jnp.asarray(0))


def _kept(network: TemUnet) -> tuple[Any, Any]:
    """Parts that training does not change: the calibration, and a first network that is trained."""
    return network.sd_scale, network.first


def _learned(network: TemUnet) -> TemUnet:
    """Parameters that training changes."""
    arrays = eqx.filter(network, eqx.is_array)
    return eqx.tree_at(_kept, arrays, (None, None), is_leaf=lambda leaf: leaf is None)


def _whole(learned: TemUnet, network: TemUnet) -> TemUnet:
    """A network with what was learned, and the rest of another."""
    return eqx.tree_at(_kept, learned, _kept(network), is_leaf=lambda leaf: leaf is None)


@eqx.filter_jit(donate="all-except-first")
def _advance(plan: tuple[float, int], state: State, crops: Crops) -> tuple[State, jax.Array]:
    learned = _learned(state.weights)

    def _of(part: TemUnet) -> tuple[jax.Array, jax.Array]:
        return loss(_whole(part, state.weights), crops)

    (_, squared), slope = jax.value_and_grad(_of, has_aux=True)(learned)
    change, slots = optimiser(*plan).update(slope, state.optimiser, learned)
    weights = _whole(optax.apply_updates(learned, change), state.weights)
    decay = jnp.minimum(AVERAGE, (1 + state.step) / (10 + state.step))
    average = jax.tree.map(
        lambda a, w: decay * a + (1 - decay) * w if eqx.is_array(a) else a, state.average, weights
    )
    return State(weights, average, slots, state.step + 1), squared


def train(config: TemTraining) -> TemUnet:
    """Simulate, train, refine, calibrate, write.

    Args:
        config: of the training.

    Returns:
        The network.
    """
    pictures, sizes = _images(config, config.scenes + config.held_out)
    ends = time.time() + 60 * config.minutes
    # A third of the time is for the network that refines, which takes steps that are half as long again.
    share = config.steps / (config.steps + 1.5 * config.refine_steps)
    until = time.time() + share * (ends - time.time())
    network = _stage(
        config, 1, build_network(config.network, config.seed), (pictures, sizes), until
    )
    if config.refine_steps:
        network = _stage(config, 2, refining(network), (pictures, sizes), ends)
    return network


def _stage(
    config: TemTraining,
    number: int,
    network: TemUnet,
    data: tuple[np.ndarray, np.ndarray],
    until: float,
) -> TemUnet:
    """Train one network until its steps are made or time is up."""
    peak, steps = (
        (config.rate, config.steps) if number == 1 else (config.rate / 2, config.refine_steps)
    )
    held = data[0][: config.held_out], data[1][: config.held_out]
    images, sizes = data[0][config.held_out :], data[1][config.held_out :]
    state = start(network, peak, steps)
    checkpoint = config.folder / f"{config.output.stem}.{number}.checkpoint"
    if checkpoint.exists():
        state = eqx.tree_deserialise_leaves(checkpoint, state)
        print(f"network {number} goes on from step {int(state.step)}", flush=True)
    begun, errors = time.time(), []
    while int(state.step) < steps and time.time() < until:
        step = int(state.step)
        rng = np.random.default_rng([config.seed, number, step])
        crops = draw_crops(config, images, sizes, rng)
        state, squared = _advance((peak, steps), state, Crops(*map(jnp.asarray, crops)))
        errors.append(squared)
        if (step + 1) % BETWEEN == 0:
            mean = float(np.mean([float(e) for e in errors]))
            spent = time.time() - begun
            print(f"step {step + 1}: error {mean:.4f} of the noise, {spent:.0f} s", flush=True)
            errors = []
            eqx.tree_serialise_leaves(checkpoint, state)
            if (step + 1) % (4 * BETWEEN) == 0:
                _finish(config, state, held)
    eqx.tree_serialise_leaves(checkpoint, state)
    return _finish(config, state, held)


def _finish(config: TemTraining, state: State, held: tuple[np.ndarray, np.ndarray]) -> TemUnet:
    network = eqx.tree_at(lambda n: n.sd_scale, state.average, jnp.asarray(1.0, jnp.float32))
    rows = score(config, network, *held)
    # The mean squared error over the mean predicted variance, on scenes that were not learned.
    scale = float(np.sqrt(np.mean(rows[:, 0] / rows[:, 1])))
    network = eqx.tree_at(lambda n: n.sd_scale, network, jnp.asarray(scale, jnp.float32))
    record = config.identity() | {"step": int(state.step), "held_out_dB": float(rows[:, 2].mean())}
    save_network(config.output, network, record)
    print(f"held out: {rows[:, 2].mean():.2f} dB, sd scale {scale:.3f}", flush=True)
    return network


def score(
    config: TemTraining, network: TemUnet, images: np.ndarray, sizes: np.ndarray
) -> np.ndarray:
    """Errors on whole images, at 187 electrons per square angstrom.

    Args:
        config: of the training; its contrast and illumination are not varied.
        network: to score.
        images: clean [scene, optics, y, x].
        sizes: pixel size of each scene [angstrom].

    Returns:
        For each scene: squared error and predicted variance [noise variance], PSNR with vacuum 0.45 and peak 1 [dB].
    """
    stride = network.config.stride
    rows = []
    plain = replace(config, contrast=(1.0, 1.0), illumination=0.0, dose=(DOSE, DOSE))
    for k, (pictures, size) in enumerate(zip(images, sizes, strict=True)):
        rng = np.random.default_rng([config.seed, 1, k])
        side = pictures.shape[-1] // stride * stride
        picture = pictures[0, :side, :side].astype(np.float32)
        lam, _ = expected_counts(plain, picture, float(size), rng)
        counts = rng.poisson(lam)
        level = counts.mean()
        z = jnp.asarray((counts - level) / np.sqrt(level), jnp.float32)
        mean, sd = symmetric(network, z)
        off = np.asarray(mean) * np.sqrt(level) + level - lam
        in_vacuum = VACUUM * off / (DOSE * size**2)
        rows.append(
            (
                float(np.mean(off**2) / level),
                float(np.mean(np.asarray(sd) ** 2)),
                float(-10 * np.log10(np.mean(in_vacuum**2))),
            )
        )
    return np.asarray(rows)


# Dose of the images that others published: 0.45 electrons per pixel of 0.049 angstrom [electrons/angstrom², electrons].
DOSE, VACUUM = 187.0, 0.45


def _images(config: TemTraining, scenes: int) -> tuple[np.ndarray, np.ndarray]:
    data = DatasetConfig(scenes=scenes, variety=config.variety)
    home = make_dataset(data, config.folder)
    return read_dataset(home, scenes)


def main(arguments: list[str] | None = None) -> None:
    """Command line.

    Args:
        arguments: without the program's name.
    """
    config = tyro.cli(TemTraining, args=arguments)
    if config.what == "train":
        train(config)
        return
    network, _ = load_network(config.output)
    images, sizes = _images(config, config.scenes + config.held_out)
    rows = score(config, network, images[: config.held_out], sizes[: config.held_out])
    for k, row in enumerate(rows):
        print(f"scene {k}: {row[2]:.2f} dB, error {row[0]:.4f}, predicted {row[1]:.4f}")
    print(
        f"mean {rows[:, 2].mean():.2f} dB, error over predicted {np.mean(rows[:, 0] / rows[:, 1]):.2f}"
    )


if __name__ == "__main__":
    main(sys.argv[1:])

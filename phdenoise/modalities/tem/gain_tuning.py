"""GainTuning: one factor for each channel of a pretrained network, adapted to the image that it denoises.

    pure         mean[(f − n)² − n + 2 n ∂f/∂n]                          unbiased for the squared error of Poisson counts
    resampling   mean[(f(n') − x̂)²],   n' ~ Poisson(x̂),  x̂ = f(n)        the network's own estimate as the truth
    blind_spot   mean over hidden pixels of (f(n with them replaced) − n)²

A few hundred factors can change what a network does, but can hardly fit noise. Whether, and for how many steps, they are
applied is decided by counts that tuning does not see: every electron is assigned at random to one of some folds; counts of a
fold and of the others are independent, so that the error on a fold is unbiased. Mohan et al., NeurIPS 2021,
arXiv:2107.12815; PURE: Luisier et al., IEEE Trans. Image Process. 20, 696 (2011), doi:10.1109/TIP.2010.2073477.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, get_args

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, PRNGKeyArray

from phdenoise.modalities.tem.binning import bin_factor, bin_sums
from phdenoise.modalities.tem.denoiser import PROBE
from phdenoise.modalities.tem.network import Gains, TemUnet, unit_gains
from phdenoise.types import InputError, Steps

Loss = Literal["pure", "resampling", "blind_spot"]
# One pixel of this many is hidden in a pass of the blind-spot loss.
_HIDDEN = 0.05
# Side of the blocks whose scatter gives the standard error of a difference of errors [bins]; errors of neighbours correlate.
_BLOCK = 8
# Steps between two readings of the error on the counts that are left out.
_READINGS = 5


@dataclass(frozen=True)
class GainTuning:
    """How to tune. The defaults are the best of those tried on simulated lattices: 0.4 dB, where PURE at 0.01 has 0.2."""

    loss: Loss = "resampling"
    """What is made small: pure, resampling or blind_spot."""
    steps: int = 40
    """Largest number of steps of Adam."""
    rate: float = 3e-2
    """Its learning rate."""
    folds: int = 3
    """Parts that the electrons are divided into for the stopping rule."""
    confidence: float = 1.0
    """Standard errors by which the error on left-out counts must fall for the gains to be applied."""
    seed: int = 0
    """Of folds and probes."""

    def __post_init__(self) -> None:
        if self.loss not in get_args(Loss):
            raise InputError(f"Unknown loss '{self.loss}': use {', '.join(get_args(Loss))}.")
        if self.folds < 2 or self.steps < 1:
            raise InputError("folds must be at least 2 and steps at least 1.")


class Tuned(NamedTuple):
    """Outcome of `tune_gains`.

    Attributes:
        network: tuned, or the one given where the rule says no.
        applied: whether it is tuned.
        steps: number of steps that the left-out counts chose.
        gain: fall of the squared error on left-out counts [noise variance of a bin]; at the chosen number of steps.
        gain_sd: its standard error.
    """

    network: TemUnet
    applied: bool
    steps: int
    gain: float
    gain_sd: float

    def __str__(self) -> str:
        what = f"applied, {self.steps} steps" if self.applied else "not applied"
        return f"gain tuning {what}: error on left-out counts falls by {self.gain:.4f} ± {self.gain_sd:.4f} of the noise"


def tune_gains(
    network: TemUnet,
    counts: Float[np.ndarray, "*s"],
    *,
    pixel_size: float,
    config: GainTuning | None = None,
    progress: Steps | None = None,
) -> Tuned:
    """Adapt a network to an image or a movie of counts, if counts that are left out say that it pays.

    Args:
        network: pretrained.
        counts: electrons of each detector pixel [y, x] or [t, y, x].
        pixel_size: of the detector pixels [angstrom].
        config: loss, steps and stopping rule.
        progress: called with (fold, folds and the last run, nan).

    Returns:
        The network to use, and what the rule saw.
    """
    config = GainTuning() if config is None else config
    frames = np.asarray(counts, np.float64).reshape(-1, *counts.shape[-2:])
    bins = bin_sums(frames, bin_factor(pixel_size), (0, 0), network.config.stride)
    rng = np.random.default_rng(config.seed)
    # [readings, folds, blocks]
    falls = []
    for k, left_out in enumerate(_split(bins, config.folds, rng)):
        falls.append(_falls(network, bins - left_out, left_out, config))
        if progress:
            progress(k + 1, config.folds + 1, float("nan"))
    means = np.mean(falls, axis=(0, 2))
    best = int(np.argmax(means))
    blocks = np.mean(falls, axis=0)[best]
    sd = float(blocks.std(ddof=1) / np.sqrt(blocks.size)) if blocks.size > 1 else float("inf")
    if not means[best] > config.confidence * sd:
        return Tuned(network, False, 0, float(means[best]), sd)
    steps = _readings(config)[best]
    *_, (_, gains) = _tuning(network, bins, config, steps)
    return Tuned(with_gains(network, gains), True, steps, float(means[best]), sd)


def with_gains(network: TemUnet, gains: Gains) -> TemUnet:
    """The network with the factors taken into its kernels.

    Args:
        network: pretrained.
        gains: factors.

    Returns:
        A network that needs no gains.
    """

    def _scaled(layers: list[list[Array]], factors: list[list[Array]]) -> list[list[Array]]:
        return [
            [k * g[None, None, None] for k, g in zip(pair, two, strict=True)]
            for pair, two in zip(layers, factors, strict=True)
        ]

    return eqx.tree_at(
        lambda n: (n.down, n.up),
        network,
        (_scaled(network.down, gains.down), _scaled(network.up, gains.up)),
    )


def pure_loss(
    network: TemUnet, gains: Gains, counts: Float[Array, "y x"], key: PRNGKeyArray
) -> Float[Array, ""]:
    """Unbiased estimate of the squared error, up to a constant of the counts [noise variance].

    Args:
        network: pretrained.
        gains: factors.
        counts: of bins.
        key: of the probe.

    Returns:
        The estimate.
    """
    m = counts.mean()
    probe = jax.random.rademacher(key, counts.shape, counts.dtype)
    z = (counts - m) / jnp.sqrt(m)
    out = network(jnp.stack([z, z + PROBE * probe]), gains)[0]
    slope = probe * (out[1] - out[0]) / PROBE
    return jnp.mean((out[0] - z) ** 2 + (2 * slope - 1) * counts / m)


def resampling_loss(
    network: TemUnet, gains: Gains, counts: Float[Array, "y x"], key: PRNGKeyArray
) -> Float[Array, ""]:
    """Squared error on fresh counts of the untuned estimate [noise variance].

    Args:
        network: pretrained; its own estimate stands for the truth.
        gains: factors.
        counts: of bins.
        key: of the fresh counts.

    Returns:
        The error.
    """
    m = counts.mean()
    truth = network((counts - m)[None] / jnp.sqrt(m))[0][0]
    fresh = jax.random.poisson(key, jnp.maximum(m + jnp.sqrt(m) * truth, 0)).astype(counts.dtype)
    out = network((fresh - m)[None] / jnp.sqrt(m), gains)[0][0]
    return jnp.mean((out - truth) ** 2)


def blind_spot_loss(
    network: TemUnet, gains: Gains, counts: Float[Array, "y x"], key: PRNGKeyArray
) -> Float[Array, ""]:
    """Squared error on pixels that the network does not see [noise variance].

    Args:
        network: pretrained.
        gains: factors.
        counts: of bins.
        key: of the choice of pixels.

    Returns:
        The error, with the noise of the hidden pixels in it.
    """
    m = counts.mean()
    z = (counts - m) / jnp.sqrt(m)
    choose, draw = jax.random.split(key)
    hidden = jax.random.uniform(choose, z.shape) < _HIDDEN
    # A neighbour's value has the noise that the network expects.
    neighbour = jax.random.randint(draw, z.shape, 0, 4)
    shifted = jnp.stack([jnp.roll(z, s, a) for a in (0, 1) for s in (1, -1)])
    replaced = jnp.take_along_axis(shifted, neighbour[None], axis=0)[0]
    out = network(jnp.where(hidden, replaced, z)[None], gains)[0][0]
    return jnp.sum(hidden * (out - z) ** 2) / jnp.maximum(hidden.sum(), 1)


_LOSSES: dict[str, Callable[[TemUnet, Gains, Array, Array], Array]] = {
    "pure": pure_loss,
    "resampling": resampling_loss,
    "blind_spot": blind_spot_loss,
}


def _readings(config: GainTuning) -> list[int]:
    """Steps at which the error on left-out counts is read."""
    return sorted({*range(_READINGS, config.steps + 1, _READINGS), config.steps})


def _tuning(
    network: TemUnet, bins: np.ndarray, config: GainTuning, steps: int
) -> Iterator[tuple[int, Gains]]:
    """Gains after each step."""
    gains = unit_gains(network)
    slots = optax.adam(config.rate).init(gains)
    for step in range(steps):
        frame = jnp.asarray(bins[step % len(bins)], jnp.float32)
        key = jax.random.fold_in(jax.random.key(config.seed), step)
        gains, slots = _advance(config, network, gains, slots, frame, key)
        yield step + 1, gains


def _falls(
    network: TemUnet, seen: np.ndarray, left_out: np.ndarray, config: GainTuning
) -> np.ndarray:
    """How much the error on left-out counts falls, at each reading and block."""
    ratio, readings = 1 / (config.folds - 1), _readings(config)
    before = _left_out_error(network, unit_gains(network), seen, left_out, ratio)
    out = [
        before - _left_out_error(network, gains, seen, left_out, ratio)
        for step, gains in _tuning(network, seen, config, config.steps)
        if step in readings
    ]
    return np.stack(out).reshape(len(readings), -1)


@eqx.filter_jit
def _advance(
    config: GainTuning, network: TemUnet, gains: Gains, slots: Any, frame: Array, key: Array
) -> tuple[Gains, Any]:
    slope = jax.grad(lambda g: _LOSSES[config.loss](network, g, frame, key))(gains)
    change, slots = optax.adam(config.rate).update(slope, slots)
    return optax.apply_updates(gains, change), slots


def _split(bins: np.ndarray, folds: int, rng: np.random.Generator) -> list[np.ndarray]:
    """Every electron to one of the folds; their counts are independent Poisson counts."""
    rest, out = np.rint(bins).astype(np.int64), []
    for k in range(folds - 1):
        out.append(rng.binomial(rest, 1 / (folds - k)))
        rest = rest - out[-1]
    return [a.astype(np.float64) for a in (*out, rest)]


def _left_out_error(
    network: TemUnet, gains: Gains, seen: np.ndarray, left_out: np.ndarray, ratio: float
) -> np.ndarray:
    """Squared error of the prediction of left-out counts, means over blocks [noise variance of a bin at full dose]."""
    total = []
    for frame, other in zip(seen, left_out, strict=True):
        mean = _estimate(network, gains, jnp.asarray(frame, jnp.float32))
        # In electrons of the full dose: the seen part has 1/(1 + ratio) of them.
        off = (np.asarray(mean, np.float64) - other / ratio) * (1 + ratio)
        total.append(off**2 / max(float(frame.mean()) * (1 + ratio), 1e-9))
    error = np.mean(total, axis=0)
    ny, nx = (n // _BLOCK for n in error.shape)
    cut = error[: ny * _BLOCK, : nx * _BLOCK]
    return cut.reshape(ny, _BLOCK, nx, _BLOCK).mean((1, 3))


@eqx.filter_jit
def _estimate(network: TemUnet, gains: Gains, counts: Array) -> Array:
    m = counts.mean()
    return m + jnp.sqrt(m) * network((counts - m)[None] / jnp.sqrt(m), gains)[0][0]

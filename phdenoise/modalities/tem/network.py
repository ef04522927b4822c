"""A bias-free U-Net for binned counts that starts from Wiener filters of local Fourier spectra, and a second that refines.

    z = (n − m)/√m,     x₁ = w + U₁(z, w),     w = Σ_windows h F⁻¹[ max(1 − τ/|Z|², 0) Z ],     Z = F[h z]/‖h‖
    x₂ = v + U₂(z, x₁, v'),                    v' = Σ_windows h F⁻¹[ |X₁|²/(|X₁|² + 1) Z ]

m is the mean of the frame: removed before and added after, since a network without biases cannot keep a mean. In units
of z the noise has variance one where the intensity is that mean. A crystal has few spatial frequencies, which a window
of some unit cells separates from the noise; the network corrects what the window does not see: surfaces, single columns.
The second network sees the Wiener filter that the first one's answer makes possible, in wider windows (as in BM3D). U-Net:
Ronneberger et al. (2015), arXiv:1505.04597; without biases: Mohan et al. (2020), arXiv:1906.05478; local spectra:
Yaroslavsky, Digital Picture Processing (1985), doi:10.1007/978-3-642-81929-2; second step: Dabov et al. (2007),
doi:10.1109/TIP.2007.901238.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from phdenoise.networks.layers import act, convolve, double
from phdenoise.types import InputError

# Power of a Fourier coefficient over that of the noise at which the Wiener gain leaves zero: noise alone exceeds it at
# 1.8 % of the frequencies, exp(-4).
_THRESHOLD = 4.0
# The network's mean starts at the Wiener filter; its head starts small.
_HEAD_GAIN = 0.1
# Least predicted standard deviation [units of the noise of a bin]; keeps the likelihood finite.
_LEAST_SD = 0.01
# Weights that the package ships.
DEFAULT_WEIGHTS = Path(__file__).with_name("denoiser.npz")


@dataclass(frozen=True)
class NetworkConfig:
    """Shape of the network."""

    scales: int = 4
    """Resolutions that it works at, the first of them blocks of two by two pixels: 2, 4 or 6 in the studies."""
    widths: tuple[int, ...] = (32, 64, 96, 96, 96, 96)
    """Channels at each scale, the finest first."""
    windows: tuple[int, ...] = (16, 32)
    """Sides of the Wiener filter's windows [px]; none leaves the filter out."""
    first: "NetworkConfig | None" = None
    """Of the network whose answer this one refines."""

    def __post_init__(self) -> None:
        if not 2 <= self.scales <= len(self.widths):
            raise InputError(f"scales must be 2 to {len(self.widths)}, got {self.scales}.")

    @property
    def stride(self) -> int:
        """Frames are padded to, and tiles start at, multiples of this [px]."""
        own = max(2**self.scales, max((w // _OVERLAP for w in self.windows), default=1))
        return own if self.first is None else max(own, self.first.stride)

    @property
    def radius(self) -> int:
        """A pixel depends on pixels at most this far away [px]."""
        # Two convolutions at each scale down and up, and the cells of the coarsest.
        reach = sum(2 * 2 * 2**k for k in range(1, self.scales + 1)) + 2**self.scales
        before = 0 if self.first is None else self.first.radius
        return before + reach + max(self.windows, default=0)


# Windows of the second network [px]: with a pilot, wide ones pay (benchmarked on held-out scenes: 64 + 0.5 dB, 32 + 0.15 dB).
_REFINED = (64,)
# Windows advance by their side over this.
_OVERLAP = 2


class TemUnet(eqx.Module):
    """The network; its parameters are kernels [rows, columns, inputs, outputs].

    Attributes:
        down, up: two kernels of each scale, the finest first.
        mean, spread: kernels of the two outputs.
        log_spread: inverse softplus of the spread at the start.
        sd_scale: factor on predicted standard deviations, from scenes that training did not see.
        first: network whose answer this one refines, or None.
        config: shape.
    """

    down: list[list[Array]]
    up: list[list[Array]]
    mean: Array
    spread: Array
    log_spread: Array
    sd_scale: Array
    first: "TemUnet | None"
    config: NetworkConfig = eqx.field(static=True)

    def __call__(
        self, z: Float[Array, "n y x"], gains: "Gains | None" = None
    ) -> tuple[Float[Array, "n y x"], Float[Array, "n y x"]]:
        """Mean and standard deviation in units of z; sides are multiples of the stride.

        Args:
            z: scaled counts.
            gains: factor on each channel of each layer; see `phdenoise.modalities.tem.gain_tuning`.

        Returns:
            Both, [n, y, x].
        """
        starts = self.starts(z)
        shown = jnp.stack([z, *starts], axis=-1)
        x = _to_depth(shown)
        kept = []
        for k, kernels in enumerate(self.down):
            x = _run(x if k == 0 else _halve(x), kernels, None if gains is None else gains.down[k])
            kept.append(x)
        x = kept.pop()
        for k in reversed(range(len(self.up))):
            joined = jnp.concatenate([double(x), kept.pop()], axis=-1)
            x = _run(joined, self.up[k], None if gains is None else gains.up[k])
        start = sum(starts[1:], starts[0]) / len(starts) if starts else jnp.zeros_like(z)
        mean = start + _to_space(_convolve(x, self.mean))[..., 0]
        sd = jax.nn.softplus(_to_space(_convolve(x, self.spread))[..., 0] + self.log_spread)
        return mean, self.sd_scale * (sd + _LEAST_SD)

    def starts(self, z: Float[Array, "n y x"]) -> list[Float[Array, "n y x"]]:
        """Estimates that the network corrects; its answer starts at their mean.

        Args:
            z: scaled counts.

        Returns:
            Wiener filters, and the first network's answer where there is one.
        """
        if self.first is None:
            return [local_wiener(z, side) for side in self.config.windows]
        pilot = self.first(z)[0]
        return [pilot, *(local_wiener(z, side, pilot) for side in self.config.windows)]


class Gains(eqx.Module):
    """One factor for each channel of each layer, in the layout of `TemUnet`."""

    down: list[list[Array]]
    up: list[list[Array]]


def unit_gains(network: TemUnet) -> Gains:
    """Factors of one.

    Args:
        network: whose layers they belong to.

    Returns:
        The gains.
    """

    def _ones(layers: list[list[Array]]) -> list[list[Array]]:
        return [[jnp.ones(k.shape[-1], jnp.float32) for k in pair] for pair in layers]

    return Gains(_ones(network.down), _ones(network.up))


def build_network(config: NetworkConfig, seed: int) -> TemUnet:
    """A fresh network.

    Args:
        config: its shape.
        seed: of its weights.

    Returns:
        The network.
    """
    rng = np.random.default_rng(seed)
    inputs = 4 * (1 + len(config.windows) + (config.first is not None))
    wide = config.widths[: config.scales]
    down = []
    for before, width in zip((inputs, *wide[:-1]), wide, strict=True):
        down.append([_kernel(rng, before, width), _kernel(rng, width, width)])
    up = []
    for width, below in pairwise(wide):
        up.append([_kernel(rng, below + width, width), _kernel(rng, width, width)])
    return TemUnet(
        down=down,
        up=up,
        mean=_kernel(rng, wide[0], 4, _HEAD_GAIN),
        spread=_kernel(rng, wide[0], 4, _HEAD_GAIN),
        log_spread=jnp.asarray(np.log(np.expm1(0.2)), jnp.float32),
        sd_scale=jnp.asarray(1.0, jnp.float32),
        first=None if config.first is None else build_network(config.first, seed),
        config=config,
    )


def refining(first: TemUnet) -> TemUnet:
    """A second network that starts with the weights of the first, and with its answer.

    Args:
        first: trained.

    Returns:
        The second network, to be trained.

    Raises:
        InputError: a network whose input has another shape than the second's.
    """
    if len(first.config.windows) != 2:
        raise InputError(
            "A network is refined if it has two windows, as many as the second has starts."
        )
    config = replace(first.config, windows=_REFINED, first=first.config)
    return replace(first, config=config, first=first)


def local_wiener(
    z: Float[Array, "n y x"], side: int, pilot: Float[Array, "n y x"] | None = None
) -> Float[Array, "n y x"]:
    """Wiener filter of local spectra, of values with noise of variance one.

    Args:
        z: frames whose sides are multiples of half of the window's.
        side: of the windows [px].
        pilot: an estimate whose spectrum is the signal's; by default what exceeds the noise.

    Returns:
        Filtered frames.
    """
    step = side // _OVERLAP
    ny, nx = z.shape[1:]
    hann = np.sqrt(0.5 - 0.5 * np.cos(2 * np.pi * (np.arange(side) + 0.5) / side))
    window = jnp.asarray(np.outer(hann, hann), z.dtype)[None, None, None]
    norm = float(np.sqrt(np.sum(np.outer(hann, hann) ** 2)))
    rows, columns = ((m + side) // step + 1 for m in (ny, nx))

    def _spectrum(values: Array) -> Array:
        padded = jnp.pad(values, ((0, 0), (side, side), (side, side)), mode="symmetric")
        return jnp.fft.rfft2(_tiles(padded, side, step, rows, columns) * window) / norm

    spectrum = _spectrum(z)
    if pilot is None:
        gain = jnp.maximum(1 - _THRESHOLD / jnp.maximum(_power(spectrum), 1e-6), 0)
    else:
        signal = _power(_spectrum(pilot))
        gain = signal / (signal + 1)
    clean = jnp.fft.irfft2(spectrum * gain, s=(side, side)) * norm * window
    total = _overlap_add(clean, (z.shape[0], ny + 2 * side, nx + 2 * side), side, step)
    # Squares of the windows that overlap at a pixel add up to this.
    overlap = (_OVERLAP / 2) ** 2
    return total[:, side : side + ny, side : side + nx] / overlap


def save_network(path: str | Path, network: TemUnet, record: dict[str, Any]) -> None:
    """Write weights in half precision, with the shape and a record of the training.

    Args:
        path: file to write, .npz.
        network: trained.
        record: configuration of the training, JSON values.
    """
    leaves = jax.tree.leaves(eqx.filter(network, eqx.is_array))
    arrays = {f"leaf_{k:03d}": np.asarray(leaf, np.float16) for k, leaf in enumerate(leaves)}
    text = json.dumps({"network": asdict(network.config), "training": record})
    np.savez_compressed(path, config=np.asarray(text), **arrays)  # type: ignore[arg-type]


def load_network(path: str | Path = DEFAULT_WEIGHTS) -> tuple[TemUnet, dict[str, Any]]:
    """Read weights that `save_network` wrote.

    Args:
        path: file; by default what the package ships.

    Returns:
        The network and the record of its training.

    Raises:
        InputError: no such file, or one of another kind.
    """
    if not Path(path).exists():
        raise InputError(
            f"{path} does not exist: train a network with experiments/tem_training.py."
        )
    with np.load(path) as file:
        if "config" not in file:
            raise InputError(f"{path} is no TEM network: it lacks the field 'config'.")
        values = json.loads(str(file["config"]))
        network = build_network(_shape(values["network"]), seed=0)
        fresh, tree = jax.tree.flatten(eqx.filter(network, eqx.is_array))
        known = [
            jnp.asarray(file[f"leaf_{k:03d}"], leaf.dtype).reshape(leaf.shape)
            for k, leaf in enumerate(fresh)
        ]
    return eqx.combine(jax.tree.unflatten(tree, known), network), values["training"]


def _shape(values: dict[str, Any]) -> NetworkConfig:
    settings: dict[str, Any] = {
        k: tuple(v) if isinstance(v, list) else v for k, v in values.items()
    }
    if settings.get("first") is not None:
        settings["first"] = _shape(settings["first"])
    return NetworkConfig(**settings)


def _power(spectrum: Array) -> Array:
    return jnp.real(spectrum) ** 2 + jnp.imag(spectrum) ** 2


def _kernel(rng: np.random.Generator, inputs: int, outputs: int, gain: float = 1.0) -> Array:
    sd = gain * np.sqrt(2.0 / (9 * inputs))
    return jnp.asarray(sd * rng.standard_normal((3, 3, inputs, outputs)), jnp.float32)


def _convolve(x: Array, kernel: Array) -> Array:
    return convolve(x, kernel, (1, 1), ((1, 1), (1, 1)))


def _run(x: Array, kernels: Sequence[Array], gains: Sequence[Array] | None) -> Array:
    for k, kernel in enumerate(kernels):
        x = _convolve(x, kernel if gains is None else kernel * gains[k][None, None, None])
        x = act(x)
    return x


def _halve(x: Array) -> Array:
    n, h, w, k = x.shape
    return x.reshape(n, h // 2, 2, w // 2, 2, k).mean((2, 4))


def _to_depth(x: Array) -> Array:
    n, h, w, k = x.shape
    cells = x.reshape(n, h // 2, 2, w // 2, 2, k).transpose(0, 1, 3, 2, 4, 5)
    return cells.reshape(n, h // 2, w // 2, 4 * k)


def _to_space(x: Array) -> Array:
    n, h, w, k = x.shape
    cells = x.reshape(n, h, w, 2, 2, k // 4).transpose(0, 1, 3, 2, 4, 5)
    return cells.reshape(n, 2 * h, 2 * w, k // 4)


def _tiles(padded: Array, side: int, step: int, rows: int, columns: int) -> Array:
    """Overlapping windows [n, rows, columns, side, side], from blocks of a step."""
    n = padded.shape[0]
    parts = side // step
    blocks = padded.reshape(n, padded.shape[1] // step, step, padded.shape[2] // step, step)
    blocks = blocks.transpose(0, 1, 3, 2, 4)
    down = jnp.stack([blocks[:, i : i + rows] for i in range(parts)], axis=3)
    both = jnp.stack([down[:, :, j : j + columns] for j in range(parts)], axis=4)
    # [n, rows, columns, parts, parts, step, step]
    return both.transpose(0, 1, 2, 3, 5, 4, 6).reshape(n, rows, columns, side, side)


def _overlap_add(tiles: Array, shape: tuple[int, ...], side: int, step: int) -> Array:
    """Sum of windows at their places, the transpose of `_tiles`."""
    n, rows, columns = tiles.shape[:3]
    parts = side // step
    blocks = tiles.reshape(n, rows, columns, parts, step, parts, step).transpose(
        0, 1, 2, 3, 5, 4, 6
    )
    total = jnp.zeros((n, shape[1] // step, shape[2] // step, step, step), tiles.dtype)
    for i in range(parts):
        for j in range(parts):
            total = total.at[:, i : i + rows, j : j + columns].add(blocks[:, :, :, i, j])
    return total.transpose(0, 1, 3, 2, 4).reshape(shape)

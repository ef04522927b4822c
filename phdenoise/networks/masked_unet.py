"""The masked U-Net of Noise2Void and StructN2V, whose prediction of a pixel does not depend on the pixel.

The network predicts from `phdenoise.networks.masking` grids, in training and after: Krull et al.,
CVPR 2019, arXiv:1811.10980; Broaddus et al., ISBI 2020, doi:10.1109/ISBI45749.2020.9098336.
"""

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Bool, Float, PRNGKeyArray, PyTree

from phdenoise.networks.architecture import Corner
from phdenoise.networks.context import BlindRegion, View
from phdenoise.networks.masking import (
    JUDGED_PHASE,
    choices_fixed,
    choices_random,
    grid,
    period,
    replaced,
)
from phdenoise.networks.unet import Unet, UnetModule
from phdenoise.types import InputError

# Pixels that the passes of a masked prediction go through at once, at most; they bound its memory.
PIXELS_AT_ONCE = 2**23


@dataclass(frozen=True)
class MaskedUnet(Unet):
    """Noise2Void and StructN2V: a U-Net that is shown the surroundings of a pixel in place of the pixel.

    Attributes:
        window: frames looked at on each side, at most 16; by default 0, single images.
        depth: number of times that the resolution is halved.
    """

    window: int = 0

    name = "n2v"
    objectives = ("n2v", "nll", "mse", "counts")
    blind = True
    single_pass = False

    def module(
        self, region: BlindRegion, *, width: int, spread: float, rngs: nnx.Rngs
    ) -> nnx.Module:
        return MaskedUnetModule(self, width=width, spread=spread, rngs=rngs)

    def hiding(self, region: BlindRegion) -> "MaskedUnet":
        """This network; a whole frame, or a region in every frame, is refused."""
        if region.whole_frame or region.all_frames:
            raise InputError(
                f"--network n2v hides a rectangle of its own frame, not '{region}': give --blind ROWSxCOLUMNS."
            )
        return self

    def scored_pixels(self, shape: tuple[int, int], region: BlindRegion) -> Bool[np.ndarray, "y x"]:
        """The grid of one phase, whose pixels one pass predicts."""
        centres, _ = grid(shape, region, jnp.asarray(JUDGED_PHASE))
        return np.asarray(centres)

    def training_pass(
        self,
        graph: Any,
        state: PyTree,
        shown: View,
        region: BlindRegion,
        key: PRNGKeyArray,
        corner: Corner | None,
    ) -> tuple[Float[Array, "n y x"], Float[Array, "n y x"], Float[Array, "n y x"]]:
        """One pass with a grid of random phase, or with that of `scored_pixels`; only its centres count."""
        periods, shape = period(region), shown.centre.shape
        k_phase, k_choice = jax.random.split(key)
        if corner is None:
            phase = jax.random.randint(k_phase, (2,), 0, jnp.asarray(periods))
        else:
            phase = jnp.stack(
                [(p - c) % n for p, c, n in zip(JUDGED_PHASE, corner, periods, strict=True)]
            )
        choice = choices_random(k_choice, shape)
        network = nnx.merge(graph, state)
        mean, sd = network.masked(*shown, region, phase, choice)
        centres, _ = grid((shape[1], shape[2]), region, phase)
        return mean, sd, jnp.broadcast_to(centres, shape).astype(mean.dtype)


class MaskedUnetModule(nnx.Module):
    """A `UnetModule` whose input has a grid of pixels replaced by their surroundings.

    Args:
        design, width, spread, rngs: see `UnetModule`.
    """

    def __init__(
        self, design: Unet, *, width: int = 24, spread: float = 0.2, rngs: nnx.Rngs
    ) -> None:
        self.inner = UnetModule(design, width=width, spread=spread, rngs=rngs)

    def masked(
        self,
        context: Float[Array, "n y x k"],
        centre: Float[Array, "n y x"],
        seen: Float[Array, "n y x"],
        region: BlindRegion,
        phase: Array,
        choice: Array,
    ) -> tuple[Float[Array, "n y x"], Float[Array, "n y x"]]:
        """One pass, whose prediction is blind at the centres of the grid; see `masking.replaced`.

        Args:
            context, centre, seen: see `UnetModule`.
            region: rectangle around each hidden pixel.
            phase: row and column of the first centre of the grid.
            choice: which visible pixel replaces each hidden one.

        Returns:
            Mean and standard deviation [scaled intensity].
        """
        own = replaced(jnp.where(seen > 0, centre, 0), region, phase, choice)
        return self.inner(context, own, jnp.ones_like(seen), region)

    def __call__(
        self,
        context: Float[Array, "n y x k"],
        centre: Float[Array, "n y x"],
        seen: Float[Array, "n y x"],
        region: BlindRegion,
    ) -> tuple[Float[Array, "n y x"], Float[Array, "n y x"]]:
        """Blind mean and standard deviation, every pixel from the pass in which it was a grid's centre."""
        shape, (rows, columns) = centre.shape, period(region)
        phases = np.stack(np.meshgrid(range(rows), range(columns), indexing="ij"), -1).reshape(
            -1, 2
        )

        def one_pass(phase: Array) -> tuple[Array, Array, Array]:
            choice = choices_fixed(shape, region, phase)
            mean, sd = self.masked(context, centre, seen, region, phase, choice)
            return mean, sd, grid((shape[1], shape[2]), region, phase)[0]

        batch = max(1, PIXELS_AT_ONCE // centre.size)
        mean, sd = jnp.zeros_like(centre), jnp.zeros_like(centre)
        for k in range(0, len(phases), batch):
            m, s, at = jax.vmap(one_pass)(jnp.asarray(phases[k : k + batch]))
            wanted = at[:, None]
            mean = mean + jnp.sum(jnp.where(wanted, m, 0), axis=0)
            sd = sd + jnp.sum(jnp.where(wanted, s, 0), axis=0)
        return mean, sd

"""A plain U-Net without biases, and the one of Noise2Void, which never sees the pixel it predicts.

    f(c, y) = L + U(c, y),      f(α c, α y) = α f(c, y)        L: best blind linear prediction among the context, or 0

Scale equivariance makes it independent of the noise level it was trained at (Mohan et al., ICLR 2020,
arXiv:1906.05478); without batch normalisation, means stay means. U-Net: Ronneberger et al., MICCAI 2015,
arXiv:1505.04597. The masked one predicts from `phdenoise.denoisers.masking` grids, in training and after: Krull et al.,
CVPR 2019, arXiv:1811.10980; Broaddus et al., ISBI 2020, doi:10.1109/ISBI45749.2020.9098336.
"""

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float

from phdenoise.denoisers.centre_blind import BOOST
from phdenoise.denoisers.context import LINEAR
from phdenoise.denoisers.design import Design
from phdenoise.denoisers.layers import conv, double, run
from phdenoise.denoisers.masking import choices_fixed, grid, period, replaced
from phdenoise.denoisers.region import BlindRegion

# Channels grow with the scale up to this multiple of the first.
WIDEST = 4
# Pixels that the passes of a masked prediction go through at once, at most; memory bounds them.
_AT_ONCE = 2**23


class Unet(nnx.Module):
    """U-Net on the context and the frame itself; mean and standard deviation out.

    Args:
        design: window (which sets the number of context channels) and depth.
        width: channels of the first scale; doubled with every halving up to fourfold.
        spread: standard deviation predicted at the start.
    """

    def __init__(
        self, design: Design, *, width: int = 24, spread: float = 0.2, rngs: nnx.Rngs
    ) -> None:
        wide = [width * min(2**k, WIDEST) for k in range(design.depth + 1)]
        inputs = 2 * design.levels + LINEAR * design.linear + 1

        def block(first: int, second: int) -> nnx.List:
            return nnx.List([_conv(a, second, 3, rngs) for a in (first, second)])

        scales = range(design.depth)
        self.down = nnx.List([block(inputs if k == 0 else wide[k - 1], wide[k]) for k in scales])
        self.bottom = block(wide[-2], wide[-1])
        self.up = nnx.List([block(wide[k + 1] + wide[k], wide[k]) for k in scales])
        # With a linear prediction to start from, the correction starts at zero.
        self.mean = _conv(width, 1, 1, rngs, 0.0 if design.linear else 0.1)
        self.spread = _conv(width, 1, 1, rngs, 0.1)
        self.log_spread = nnx.Param(jnp.asarray(np.log(np.expm1(spread)), jnp.float32))
        self.linear = design.linear

    def __call__(
        self,
        context: Float[Array, "n y x k"],
        centre: Float[Array, "n y x"],
        seen: Float[Array, "n y x"],
        region: BlindRegion,
    ) -> tuple[Float[Array, "n y x"], Float[Array, "n y x"]]:
        """Mean and standard deviation; y and x multiples of 2^depth, `seen` 1 where measured, `region` not used."""
        start = context[..., -1] if self.linear else jnp.zeros_like(centre)
        # A filled value is an average over neighbours; the network is not to take it for a measurement.
        own = jnp.where(seen > 0, centre, start)
        x = jnp.concatenate([context, own[..., None]], axis=-1)
        kept = []
        for layers in self.down:
            x = run(layers, x)
            kept.append(x)
            x = _halve(x)
        x = run(self.bottom, x)
        for layers, beside in reversed(list(zip(self.up, kept, strict=True))):
            x = run(layers, jnp.concatenate([double(x), beside], axis=-1))
        mean = start + BOOST * self.mean(x)[..., 0]
        return mean, jax.nn.softplus(self.spread(x) + self.log_spread[...])[..., 0]


class MaskedUnet(nnx.Module):
    """A `Unet` that looks at a grid of pixels only after their surroundings have replaced them.

    Args:
        design, width, spread: see `Unet`.
    """

    def __init__(
        self, design: Design, *, width: int = 24, spread: float = 0.2, rngs: nnx.Rngs
    ) -> None:
        self.inner = Unet(design, width=width, spread=spread, rngs=rngs)

    def masked(
        self,
        context: Float[Array, "n y x k"],
        centre: Float[Array, "n y x"],
        seen: Float[Array, "n y x"],
        region: BlindRegion,
        phase: Array,
        choice: Array,
    ) -> tuple[Float[Array, "n y x"], Float[Array, "n y x"]]:
        """One pass: only at the grid's centres is the prediction blind; see `masking.replaced`."""
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

        batch = max(1, _AT_ONCE // centre.size)
        mean, sd = jnp.zeros_like(centre), jnp.zeros_like(centre)
        for k in range(0, len(phases), batch):
            m, s, at = jax.vmap(one_pass)(jnp.asarray(phases[k : k + batch]))
            wanted = at[:, None]
            mean = mean + jnp.sum(jnp.where(wanted, m, 0), axis=0)
            sd = sd + jnp.sum(jnp.where(wanted, s, 0), axis=0)
        return mean, sd


def _conv(inputs: int, outputs: int, side: int, rngs: nnx.Rngs, gain: float = 1.0) -> nnx.Conv:
    half = side // 2
    return conv(inputs, outputs, side, rngs, [(half, half)] * 2, gain)


def _halve(x: Array) -> Array:
    n, h, w, k = x.shape
    return x.reshape(n, h // 2, 2, w // 2, 2, k).mean((2, 4))

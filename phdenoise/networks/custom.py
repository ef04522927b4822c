"""Networks from outside the package: a Flax NNX module, or a pure function, with the attributes of the contract.

    apply(params, context, centre, seen) -> (mean, sd)              all images [n, y, x], in scaled intensities

`phdenoise.denoise(movie, network=...)` trains such a network with the ordinary loop, predicts, calibrates and judges.
`check_network` tests the contract numerically before anything is trained: a network that is said to be blind must
have a derivative of exactly zero at its hidden pixels, and no network may look farther than its radius.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float, PyTree

from phdenoise.networks.architecture import Architecture, check_window
from phdenoise.networks.context import PIXEL, REACH, BlindRegion, View
from phdenoise.types import InputError

Apply = Callable[[PyTree, Array, Array, Array], tuple[Array, Array]]
# Objectives that can train a blind network, and a network that uses the pixel it predicts.
BLIND_OBJECTIVES = ("nll", "mse", "counts")
OTHER_OBJECTIVES = ("noise2noise", "supervised", "sure", "pure")
# Standard deviation of what is added to the parameters for the check: layers that start at zero would hide what lies behind.
MOVED = 0.05
# Standard deviation predicted where the whole centre frame is hidden and the linear prediction stands in for the network
# [scaled intensity]; that prediction's variance is calibrated afterwards.
LINEAR_SD = 0.2


@dataclass(frozen=True, eq=False)
class CustomNetwork(Architecture):
    """A pure function as a network.

    The context holds, for the past and the future each, frames at distance 1, 2, and means of frames at 3..4, 5..8 and 9..16,
    as far as `window` goes; then, if `linear`, the ten blind linear predictions, the best one last. A network that adds a
    correction to `context[..., -1]` starts from the best blind linear filter of the movie.

    Attributes:
        function: apply(params, context [n, y, x, k], centre [n, y, x], seen [n, y, x]) -> mean and positive standard deviation
            [n, y, x]; `seen` is 1 where the centre frame was measured. Pure, and the same for every pixel.
        params: initial parameters, a pytree of float arrays.
        radius: largest distance between an output pixel and an input pixel that it depends on [px].
        name: word for the network in settings and files.
        region: pixels of the centre frame that the prediction of a pixel does not depend on.
        window: frames looked at on each side, 0 to 16.
        linear: whether the blind linear predictions are among the context.
        stride: multiple that the sides of frames and crops must be of [px]; e.g. 4 for two poolings.
        blind: whether the prediction is blind to `region`.
        objectives: what can train the network; by default the likelihoods for a blind network, else targets and risks.
        pixel_memory: memory of the activations in prediction, for one frame [bytes/px].
    """

    function: Apply = field(repr=False)
    params: PyTree = field(repr=False)
    radius: int
    name: str = "custom"
    region: BlindRegion = PIXEL
    window: int = REACH[-1]
    linear: bool = True
    stride: int = 4
    blind: bool = True
    objectives: tuple[str, ...] = ()
    pixel_memory: float = 1000.0

    def __post_init__(self) -> None:
        check_window(self.window, 0)
        if self.radius < 0 or self.stride < 1:
            raise InputError("A network has a radius of 0 or more and a stride of 1 or more [px].")
        if self.region.all_frames:
            raise InputError(
                "The region of a network is a part of the centre frame, which is not in its context."
            )
        default = BLIND_OBJECTIVES if self.blind else OTHER_OBJECTIVES
        object.__setattr__(self, "objectives", tuple(self.objectives) or default)
        object.__setattr__(self, "linear", self.linear and self.window > 0)

    @property
    def starts_linear(self) -> bool:
        """Not known of a function."""
        return False

    @property
    def start(self) -> str:
        """What a fresh network is, for the log."""
        return "the parameters given"

    def initialise(
        self, region: BlindRegion, *, width: int, spread: float, seed: int
    ) -> tuple[Any, PyTree]:
        """The parameters given; width, spread and seed are not used."""
        return None, jax.tree.map(jnp.asarray, self.params)

    def apply(
        self, graph: Any, state: PyTree, shown: View, region: BlindRegion
    ) -> tuple[Float[Array, "n y x"], Float[Array, "n y x"]]:
        """See `Architecture`; where more is hidden than the function hides, the best blind linear prediction."""
        if self.blind and not self.region.contains(region):
            best = shown.context[..., -1]
            return best, jnp.full_like(best, LINEAR_SD)
        mean, sd = self.function(state, *shown)
        return mean, sd

    def hiding(self, region: BlindRegion) -> "CustomNetwork":
        """This network, if its own region holds the region."""
        if self.blind and not self.region.contains(region):
            raise InputError(
                f"Network '{self.name}' hides '{self.region}', not '{region}': leave --blind out."
            )
        return self

    def default_region(self, asked: BlindRegion, extent: BlindRegion) -> BlindRegion:
        """The region that the function hides."""
        return self.region

    def memory_per_pixel(self, region: BlindRegion, width: int | float) -> float:
        return self.pixel_memory

    def check(self) -> None:
        check_network(self)


def from_module(module: nnx.Module, **contract: Any) -> CustomNetwork:
    """A Flax NNX module as a network; its parameters are copied, the module itself is not changed.

    Args:
        module: called with (context, centre, seen); returns mean and positive standard deviation, see `CustomNetwork`. Its
            `nnx.Param` variables are trained.
        contract: attributes of `CustomNetwork`. Those that are left out are taken from attributes of the module with the same
            name, if there are any, and else have their defaults.

    Returns:
        The network.

    Raises:
        InputError: there is no radius.
    """
    graph, *states = nnx.split(module, nnx.Param, ...)
    params, rest = states
    names = [n for n in CustomNetwork.__dataclass_fields__ if n not in ("function", "params")]
    # A layer may have the name of an attribute of the contract.
    plain = (bool, int, float, str, tuple, BlindRegion)
    known = {n: getattr(module, n) for n in names if isinstance(getattr(module, n, None), plain)}
    known = {"name": type(module).__name__} | known | contract
    if "radius" not in known:
        raise InputError(
            f"Network {type(module).__name__} must say how far it looks: give it an attribute `radius` [px]."
        )

    def function(params: PyTree, *images: Array) -> tuple[Array, Array]:
        mean, sd = nnx.merge(graph, params, rest)(*images)
        return mean, sd

    return CustomNetwork(function, params, **known)


Network = Architecture | nnx.Module


def as_architecture(network: Network) -> Architecture:
    """The contract of a network.

    Args:
        network: an architecture, or a Flax NNX module.

    Returns:
        The architecture.

    Raises:
        InputError: it is neither.
    """
    if isinstance(network, Architecture):
        return network
    if isinstance(network, nnx.Module):
        return from_module(network)
    raise InputError(
        f"A network is a Flax NNX module or a phdenoise.networks.CustomNetwork, not a {type(network).__name__}."
    )


@lru_cache(maxsize=16)
def check_network(network: CustomNetwork, seed: int = 0) -> None:
    """Test numerically that a network keeps its contract.

    Args:
        network: to test, at its parameters and near them.
        seed: of the random images.

    Raises:
        InputError: wrong shapes, a standard deviation that is not positive, a prediction that depends on a hidden pixel, or on one
            beyond the radius.
    """
    rng = np.random.default_rng(seed)
    edge = network.radius + max(network.region.rows, network.region.columns) // 2 + 2
    side = -(-(2 * edge + 1) // network.stride) * network.stride

    def draw(*shape: int) -> Array:
        return jnp.asarray(rng.standard_normal(shape), jnp.float32)

    shown = View(
        draw(1, side, side, network.channels), draw(1, side, side), jnp.ones((1, side, side))
    )
    if not all(
        jnp.issubdtype(jnp.asarray(w).dtype, jnp.floating) for w in jax.tree.leaves(network.params)
    ):
        raise InputError(
            f"Network '{network.name}' has parameters that are not float arrays: all of them are trained."
        )
    state = network.initialise(network.region, width=0, spread=LINEAR_SD, seed=0)[1]
    try:
        mean, sd = network.function(state, *shown)
    except (TypeError, ValueError) as problem:
        raise InputError(
            f"Network '{network.name}' fails on {network.channels} context channels and frames of {side} x {side} "
            f"pixels: {problem}"
        ) from problem
    if mean.shape != shown.centre.shape or sd.shape != shown.centre.shape:
        raise InputError(
            f"Network '{network.name}' returns shapes {mean.shape} and {sd.shape} for frames of shape "
            f"{shown.centre.shape}: mean and standard deviation must have the shape of the frames."
        )
    if not (np.isfinite(mean).all() and np.isfinite(sd).all() and np.all(np.asarray(sd) > 0)):
        raise InputError(
            f"Network '{network.name}' predicts a value that is not finite, or a standard deviation that is not "
            "positive: end with softplus, for example."
        )
    moved = jax.tree.map(lambda w: w + MOVED * draw(*w.shape).astype(w.dtype), state)

    def _output(context: Array, centre: Array, y: Array, x: Array) -> Array:
        mean, sd = network.function(moved, context, centre, shown.seen)
        return mean[0, y, x] + sd[0, y, x]

    slopes = jax.jit(jax.grad(_output, argnums=(0, 1)))
    middle = side // 2
    # Neighbours of the middle differ in their place on the stride; at the corner frames are padded.
    for y, x in ((middle, middle), (middle + 1, middle), (middle, middle + 1), (0, 0)):
        _check_pixel(network, slopes(shown.context, shown.centre, y, x), y, x)


def _check_pixel(network: CustomNetwork, slopes: tuple[Array, Array], y: int, x: int) -> None:
    """The derivative of one output pixel is zero at hidden pixels and beyond the radius."""
    of_context, of_centre = (np.abs(np.asarray(a)[0]) for a in slopes)
    away = [np.abs(np.arange(n) - at) for n, at in zip(of_centre.shape, (y, x), strict=True)]
    rows, columns = network.region.rows // 2, network.region.columns // 2
    hidden = (away[0] <= rows)[:, None] & (away[1] <= columns)[None]
    if network.region.whole_frame:
        hidden = np.ones_like(hidden)
    if network.blind and np.any(of_centre[hidden] != 0):
        raise InputError(
            f"Network '{network.name}' is not blind: its prediction of a pixel depends on the measured values in its region "
            f"'{network.region}'. Hide them, or say blind=False."
        )
    reach = network.radius + max(rows, columns)
    beyond = (away[0] > reach)[:, None] | (away[1] > reach)[None]
    if np.any((of_centre + of_context.sum(-1))[beyond] != 0):
        raise InputError(
            f"Network '{network.name}' looks farther than its radius of {network.radius} pixels: state a larger one."
        )

"""The contract of a network: what it hides, how far it looks, what it is shown, and what can train it.

    (context, centre, seen, region) -> (mean, standard deviation)          of every pixel, in scaled intensities

Code that depends on the kind of network asks the network's `Architecture`; no other file compares names of networks.
A new kind of network is one file with one subclass, and one line in `phdenoise.networks.table`. A network from outside
the package is a `phdenoise.networks.custom.CustomNetwork`.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Bool, Float, PRNGKeyArray, PyTree

from phdenoise.networks.context import (
    LINEAR,
    PIXEL,
    REACH,
    BlindRegion,
    View,
    context_weights,
    levels,
    time_reversal,
)
from phdenoise.types import InputError

# Row and column of crops in their frame.
Corner = tuple[Array | int, Array | int]


class Architecture(ABC):
    """What the package asks of a network; subclasses are frozen dataclasses of its hyperparameters.

    Attributes:
        name: word for the network in settings, in files and on the command line.
        objectives: what can train it; see `phdenoise.training.objectives`.
        window: frames that the network looks at on each side of the centre frame, at most 16.
        stride: frames are padded to, and tiles and crops start at, multiples of this [px].
        radius: output pixels depend on inputs at most this far away, the blind region not counted [px].
        blind: whether the prediction of a pixel never depends on the measured values in its blind region.
        single_pass: whether one pass predicts every pixel blindly. A masked network needs one pass for each phase of its grid.
        centre_in_context: whether the centre frame is among the context. The blind region is then hidden in every frame.
        square: whether frames and crops have to be square.
        frames_needed: measured frames that a movie must have.
        trains: whether there is anything to train.
        teaches: whether preset "best" averages several of them as the teachers of a U-Net.
        widths: channels of the first scale, by preset; used where the configuration names none.
        widest: channels of the widest layer, in units of the width.
        prior: file with weights that were learned on simulated scenes; None where there is none.
    """

    name: str
    objectives: tuple[str, ...]
    window: int
    radius: int
    stride: int = 4
    blind: bool = True
    single_pass: bool = True
    centre_in_context: bool = False
    square: bool = False
    frames_needed: int = 1
    trains: bool = True
    teaches: bool = False
    widths: ClassVar[Mapping[str, int]] = {}
    widest: int = 1

    @abstractmethod
    def memory_per_pixel(self, region: BlindRegion, width: int | float) -> float:
        """Memory of the activations in prediction, for one frame and one symmetry [bytes/px].

        Args:
            region: hidden pixels.
            width: channels of the network's first scale.

        Returns:
            Bytes for each pixel.
        """

    def module(
        self, region: BlindRegion, *, width: int, spread: float, rngs: nnx.Rngs
    ) -> nnx.Module:
        """A fresh network, called with (context, centre, seen, region); it returns mean and standard deviation [scaled intensity].

        The context [n, y, x, k] has channels of other frames, linear predictions last; centre frames and where they were
        measured (1, else 0) are [n, y, x]; y and x are multiples of the stride.

        Args:
            region: hidden pixels.
            width: channels of the first scale.
            spread: standard deviation predicted at the start [scaled intensity].
            rngs: of the initial weights.

        Returns:
            The Flax module.
        """
        raise NotImplementedError

    def initialise(
        self, region: BlindRegion, *, width: int, spread: float, seed: int
    ) -> tuple[Any, PyTree]:
        """Static part and initial parameters of a network.

        Args:
            region, width, spread: see `module`.
            seed: of the initial weights.

        Returns:
            The static part (hashable, for `apply`) and a pytree of float arrays, which training adjusts.
        """
        graph, state = nnx.split(
            self.module(region, width=width, spread=spread, rngs=nnx.Rngs(seed))
        )
        return graph, state

    def apply(
        self, graph: Any, state: PyTree, shown: View, region: BlindRegion
    ) -> tuple[Float[Array, "n y x"], Float[Array, "n y x"]]:
        """Mean and standard deviation of every pixel, a pure function of parameters and images.

        Args:
            graph, state: of `initialise`.
            shown: context [n, y, x, k], centre frame and where it was measured [n, y, x].
            region: hidden pixels.

        Returns:
            Mean and positive standard deviation [scaled intensity].
        """
        mean, sd = nnx.merge(graph, state)(*shown, region)
        return mean, sd

    def training_pass(
        self,
        graph: Any,
        state: PyTree,
        shown: View,
        region: BlindRegion,
        key: PRNGKeyArray,
        corner: Corner | None,
    ) -> tuple[Float[Array, "n y x"], Float[Array, "n y x"], Float[Array, "n y x"]]:
        """One pass in training: `apply`, and the weight with which each prediction counts.

        Args:
            graph, state, shown, region: see `apply`.
            key: of what the pass draws at random.
            corner: place of the crops in their frame when held-out pixels are scored; None in training.

        Returns:
            Mean, standard deviation, and weight (1 where the prediction is blind).
        """
        mean, sd = self.apply(graph, state, shown, region)
        return mean, sd, jnp.ones_like(mean)

    def scored_pixels(
        self, shape: tuple[int, int], region: BlindRegion
    ) -> Bool[np.ndarray, "y x"] | None:
        """Pixels of a frame that can be held out from training; None where any pixel can.

        Args:
            shape: of the frame [px].
            region: hidden pixels.

        Returns:
            True for these pixels, or None.
        """
        return None

    @cached_property
    def linear(self) -> bool:
        """Whether the blind linear predictions are the last channels of the context, the best one last."""
        return self.window > 0

    @property
    def starts_linear(self) -> bool:
        """Whether the first prediction of a fresh network is the best blind linear prediction."""
        return self.linear

    @property
    def start(self) -> str:
        """What a fresh network is, for the log."""
        return "the best blind linear filter" if self.starts_linear else "random weights"

    @property
    def refines_linear(self) -> bool:
        """Whether the network corrects blind linear predictions, blindly.

        The error of its first prediction is then known from how the linear filter responds to noise, and calibrates the
        variance (`phdenoise.uncertainty.calibrate`).
        """
        return self.linear and self.blind and self.single_pass

    @property
    def in_parts(self) -> bool:
        """Whether a movie larger than memory can be denoised block by block, and its components or its law jointly."""
        return self.blind and self.single_pass

    @property
    def prior(self) -> Path | None:
        """See the class."""
        return None

    @property
    def channels(self) -> int:
        """Context channels, linear predictions included."""
        return 2 * levels(self.window) + LINEAR * self.linear

    def context_weights(self, present: Bool[np.ndarray, " t"]) -> Float[np.ndarray, "t k r"]:
        """Weight of each frame in each context channel; see `phdenoise.networks.context`."""
        count = 2 * levels(self.window)
        if present.sum() < 2:
            return np.zeros((present.size, count, 2 * REACH[-1] + 1), np.float32)
        return context_weights(present, self.window)[:, :count]

    @property
    def time_reversed(self) -> tuple[int, ...]:
        """Order of the context channels when time runs backwards."""
        return time_reversal(levels(self.window), self.linear)

    def hiding(self, region: BlindRegion) -> "Architecture":
        """The architecture of this family that can hide a region.

        Args:
            region: what to hide.

        Returns:
            This architecture, or a relative.

        Raises:
            InputError: the family cannot hide it.
        """
        return self

    def default_region(self, asked: BlindRegion, extent: BlindRegion) -> BlindRegion:
        """What to hide unless the user says otherwise.

        Args:
            asked: what the noise asks for: the pixel, or the whole frame where noise correlates in space.
            extent: rectangle as large as the noise correlates.

        Returns:
            The region.
        """
        return extent if asked.whole_frame else PIXEL

    def with_dilated_context(self, region: BlindRegion) -> "Architecture":
        """The architecture for movies whose other frames predict little; this one where there is no such.

        Args:
            region: hidden pixels.

        Returns:
            The architecture.
        """
        return self

    def matching(self, weights: Mapping[str, np.ndarray]) -> "Architecture":
        """The architecture that an estimate's weights belong to, as far as the settings of the estimate do not say.

        Args:
            weights: array by name.

        Returns:
            The architecture.
        """
        return self

    def check(self) -> None:
        """Test numerically that the network keeps its contract; the package's own are tested by its tests.

        Raises:
            InputError: the network does not.
        """
        return

    def settings(self) -> dict[str, Any]:
        """Fields of `DenoiseConfig`, and settings in files, that name this architecture."""
        return {"network": self.name, "window": self.window}

    def padded_shape(self, shape: tuple[int, int]) -> tuple[int, int]:
        """Sides of a frame that the network can take, at least as large as given [px]."""
        height, width = (-(-n // self.stride) * self.stride for n in shape)
        return (max(height, width),) * 2 if self.square else (height, width)

    def crop_shape(self, shape: tuple[int, int], side: int) -> tuple[int, int]:
        """Sides of training crops.

        Args:
            shape: of padded frames [px].
            side: wanted side [px].

        Returns:
            Multiples of the stride that fit in the frame, at most `side` where that is a stride or more.
        """
        stride = self.stride
        most = max(side // stride, 1) * stride
        height, width = (min(most, n // stride * stride) for n in shape)
        return (min(height, width),) * 2 if self.square else (height, width)

    def margin(self, region: BlindRegion) -> int:
        """How far a prediction looks, the blind region counted: a multiple of the stride [px]."""
        return self._on_stride(self.radius + max(region.shift))

    def _on_stride(self, reach: int) -> int:
        return -(-reach // self.stride) * self.stride


def check_window(window: int, least: int) -> None:
    """Refuse an impossible temporal window.

    Args:
        window: frames on each side.
        least: smallest window of the network.

    Raises:
        InputError: the window is not among the possible ones.
    """
    if not least <= window <= REACH[-1]:
        raise InputError(
            f"--window {window} is impossible: it is {least} to {REACH[-1]} frames each way"
            + (" (0, a single image, with --network unet or n2v)." if least else ".")
        )

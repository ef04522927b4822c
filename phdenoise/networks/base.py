"""One contract for every network: (context, centre frame) -> blind mean and variance, in the movie's units.

    p_blind(y_p) = N(y_p; μ_p, Σ_p + v(μ_p))        what the network is trained to maximise

μ and Σ come from everything but the hidden pixels, v is the noise variance. The posterior of the noise model
(`phdenoise.noise.models.heavy_tails`) brings the pixel's own measurement back. Laine et al., NeurIPS 2019, arXiv:1901.10277.

A possible start of the training on a movie are weights that were learned on simulated scenes that change, with noise of many
kinds (`experiments/scene_prior.py`): random fields, fronts, particles, spots; none of them a law of ours, none of them measured.
What such a network does on a movie is judged on that movie's own held-out pixels, against the best linear prediction.
"""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, PRNGKeyArray, PyTree

from phdenoise.networks.architecture import Architecture, Corner
from phdenoise.networks.centre_blind import DEFAULT
from phdenoise.networks.context import PIXEL, BlindRegion, View, parse_region
from phdenoise.networks.linear_filter import NONE, Sharing
from phdenoise.networks.table import architecture_of
from phdenoise.summary import short
from phdenoise.types import InputError, Moments, NoiseModel

# Names of `Sharing` in files, where it is not that of independent noise.
_OF_NOISE = ("noise/told", "noise/folds")
# Parameter that stays the movie's own: the error of its linear prediction.
_OF_THE_MOVIE = "log_spread"
# Layers that predict the error of the mean: learned where the truth is known, since the error is hardly visible in a noisy movie.
SPREAD = ("spread", "log_spread")


class Denoiser(eqx.Module):
    """A network with the affine scale of the movie it was made for.

    Attributes:
        state: the network's parameters, a pytree of arrays (what training adjusts).
        centre, spread: the network's input is (y − centre)/spread; undone exactly on the way out [intensity].
        variance_scale: calibration of the predicted variance on pixels that training did not use.
        graph: static part of the network.
        region: what is hidden; another one of the same kind may be used at prediction than in training.
        architecture: kind of network; see `phdenoise.networks.architecture`.
        sharing: how pixels and frames of the movie share noise.
    """

    state: PyTree
    centre: Float[Array, ""]
    spread: Float[Array, ""]
    variance_scale: Float[Array, ""]
    graph: Any = eqx.field(static=True)
    region: BlindRegion = eqx.field(static=True)
    architecture: Architecture = eqx.field(static=True, default=DEFAULT)
    sharing: Sharing = NONE

    def context_weights(self, present: Bool[np.ndarray, " t"]) -> Float[np.ndarray, "t k r"]:
        """Weight of each frame in each context channel, of a movie some of whose frames are present."""
        return self.architecture.context_weights(present)

    def scaled(self, frames: Float[Array, "*s"]) -> Float[Array, "*s"]:
        """Intensities in the network's units."""
        return (frames - self.centre) / self.spread

    def measured(self, scaled: Float[Array, "*s"]) -> Float[Array, "*s"]:
        """Intensities in the movie's units, the inverse of `scaled`."""
        return self.centre + self.spread * scaled

    def __call__(
        self,
        context: Float[Array, "n y x k"],
        centre: Float[Array, "n y x"],
        seen: Float[Array, "n y x"],
    ) -> Moments:
        """Mean and variance, blind where the architecture is.

        Args:
            context: scaled channels of other frames.
            centre: scaled frames.
            seen: 1 where the frames were measured.

        Returns:
            Moments [intensity, intensity²].
        """
        shown = View(context, centre, seen)
        return self.in_units(*self.architecture.apply(self.graph, self.state, shown, self.region))

    def training_pass(
        self, shown: View, key: PRNGKeyArray, corner: Corner | None
    ) -> tuple[Moments, Float[Array, "n y x"]]:
        """The prediction of one pass in training; see `Architecture.training_pass`.

        Args:
            shown: crops.
            key: of what the pass draws at random.
            corner: place of the crops in their frame when held-out pixels are scored; None in training.

        Returns:
            Moments [intensity, intensity²], and the weight of each prediction.
        """
        mean, sd, counted = self.architecture.training_pass(
            self.graph, self.state, shown, self.region, key, corner
        )
        return self.in_units(mean, sd), counted

    def in_units(self, mean: Float[Array, "*s"], sd: Float[Array, "*s"]) -> Moments:
        """Moments in the movie's units.

        Args:
            mean, sd: of a network [scaled intensity].

        Returns:
            Mean [intensity] and calibrated variance [intensity²].
        """
        return Moments(self.measured(mean), self.variance_scale * (self.spread * sd) ** 2)

    __repr__ = short


def build(
    region: BlindRegion,
    architecture: Architecture = DEFAULT,
    *,
    width: int,
    centre: float,
    spread: float,
    seed: int,
    initial_sd: float = 0.2,
    sharing: Sharing = NONE,
) -> Denoiser:
    """A fresh denoiser.

    Args:
        region: pixels that the prediction must not depend on.
        architecture: kind of network; its relative that can hide the region is taken.
        width: channels of the network's first scale.
        centre, spread: location and scale of the movie's intensities [intensity].
        seed: of the initial weights.
        initial_sd: predicted standard deviation at the start [spread].
        sharing: of the movie's noise.

    Returns:
        The denoiser, untrained.

    Raises:
        InputError: the architecture cannot hide the region.
    """
    architecture = architecture.hiding(region)
    graph, state = architecture.initialise(region, width=width, spread=initial_sd, seed=seed)
    scales = jnp.float32(centre), jnp.float32(spread), jnp.float32(1.0)
    return Denoiser(
        state, *scales, graph=graph, region=region, architecture=architecture, sharing=sharing
    )


def at_least(moments: Moments, bound: Float[Array, "*s"]) -> Moments:
    """Moments of a censored (saturated) pixel: the mean is clipped from below, and the variance grows by the squared shift.

    Args:
        moments: mean and variance.
        bound: saturation level; −∞ where there is none.

    Returns:
        Moments, the mean not below the bound.
    """
    mean = jnp.maximum(moments.mean, bound)
    return Moments(mean, moments.var + (mean - moments.mean) ** 2)


def measurement_weight(variance: Array, blind: Moments, noise: NoiseModel) -> Array:
    """Derivative of a posterior mean with respect to the pixel's own measurement.

    For Gaussian noise it is the posterior variance over the noise variance, for any distribution of the prediction's error; with heavy
    tails it can be above one.

    Args:
        variance: of the posterior.
        blind: blind prediction.
        noise: noise model.

    Returns:
        Weight of the measurement.
    """
    return variance / noise.expected_variance(blind)


def layer_names(weights: PyTree) -> PyTree:
    """The name of the layer in place of each of its parameters."""
    return jax.tree_util.tree_map_with_path(lambda path, _: _leaf_name(path).split("/")[0], weights)


def weights_of(denoiser: Denoiser) -> dict[str, np.ndarray]:
    """The denoiser's arrays by name, for files."""
    flat = {name: np.asarray(leaf) for name, leaf in _named_leaves(denoiser).items()}
    scales = ("centre", "spread", "variance_scale")
    flat |= {f"scale/{name}": np.asarray(getattr(denoiser, name)) for name in scales}
    shared = zip(_OF_NOISE, denoiser.sharing, NONE, strict=True)
    return flat | {
        name: np.asarray(own) for name, own, usual in shared if np.any(np.asarray(own) != usual)
    }


def from_weights(
    weights: Mapping[str, np.ndarray],
    region: BlindRegion,
    architecture: Architecture = DEFAULT,
    *,
    width: int,
) -> Denoiser:
    """Rebuild a denoiser from `weights_of`.

    Args:
        weights: array by name.
        region: what is hidden.
        architecture: kind of network.
        width: channels of the network's first scale.

    Returns:
        The denoiser.

    Raises:
        InputError: the arrays do not fit the network of this region and width.
    """
    shared = Sharing(
        *(weights.get(name, usual) for name, usual in zip(_OF_NOISE, NONE, strict=True))
    )
    weights = {name: array for name, array in weights.items() if name not in _OF_NOISE}
    architecture = architecture.matching(weights)
    blank = build(region, architecture, width=width, centre=0.0, spread=1.0, seed=0)
    names = list(weights_of(blank))
    if sorted(names) != sorted(weights):
        raise InputError(
            f"These weights do not belong to a '{region}' network of width {width}: "
            f"{len(weights)} arrays where {len(names)} were expected."
        )
    leaves, tree = jax.tree_util.tree_flatten(blank.state)
    for name, leaf in zip(names, leaves, strict=False):
        if leaf.shape != weights[name].shape:
            raise InputError(f"Weight '{name}' has shape {weights[name].shape}, not {leaf.shape}.")
    state = jax.tree_util.tree_unflatten(
        tree, [jnp.asarray(weights[n]) for n in names[: len(leaves)]]
    )
    scales = [jnp.asarray(weights[f"scale/{n}"]) for n in ("centre", "spread", "variance_scale")]
    known = eqx.tree_at(
        lambda d: (d.state, d.centre, d.spread, d.variance_scale), blank, (state, *scales)
    )
    return replace(known, sharing=shared)


def from_settings(weights: Mapping[str, np.ndarray], settings: Mapping[str, Any]) -> Denoiser:
    """Rebuild the denoiser of an estimate.

    Args:
        weights: `Estimate.weights`.
        settings: `Estimate.settings`, of this version or an earlier one.

    Returns:
        The denoiser.

    Raises:
        InputError: weights and settings do not fit each other, or the network is not known in this session.
    """
    architecture = architecture_of(settings)
    region = parse_region(str(settings["region"])) if architecture.blind else PIXEL
    return from_weights(weights, region, architecture, width=int(settings["width"]))


def save_prior(path: str | Path, denoiser: Denoiser) -> None:
    """Write the weights of a network with a bank of filters, in half precision, which changes no prediction noticeably.

    Args:
        path: file to write, .npz.
        denoiser: trained on simulated scenes.
    """
    halves = {name: np.asarray(leaf, np.float16) for name, leaf in _named_leaves(denoiser).items()}
    np.savez_compressed(path, **halves)  # type: ignore[arg-type]


def from_prior(
    denoiser: Denoiser, path: str | Path | None = None, *, missing: bool = False
) -> Denoiser | None:
    """The same denoiser with weights that were learned on simulated scenes.

    Args:
        denoiser: fresh; its scale and its predicted error are kept.
        path: written by `save_prior`; by default what the package ships for this architecture.
        missing: whether weights that the file lacks may stay as they are.

    Returns:
        The denoiser; None where there are no weights for it.
    """
    path = denoiser.architecture.prior if path is None else path
    if path is None:
        return None
    known, own = _read(path), _named_leaves(denoiser)
    if missing:
        known = {name: np.asarray(leaf) for name, leaf in own.items()} | known
    if any(name not in known or known[name].shape != leaf.shape for name, leaf in own.items()):
        return None
    leaves = [
        leaf if _OF_THE_MOVIE in name else jnp.asarray(known[name]) for name, leaf in own.items()
    ]
    state = jax.tree.unflatten(jax.tree.structure(denoiser.state), leaves)
    return eqx.tree_at(lambda d: d.state, denoiser, state)


def _named_leaves(denoiser: Denoiser) -> dict[str, Array]:
    """The network's parameters by name, in the order of its tree."""
    leaves = jax.tree_util.tree_leaves_with_path(denoiser.state)
    return {_leaf_name(path): leaf for path, leaf in leaves}


def _leaf_name(path: tuple[Any, ...]) -> str:
    """Name of a parameter by its place in the tree, the layer's first."""
    return "/".join(str(getattr(k, "key", getattr(k, "name", k))) for k in path)


def _read(path: str | Path) -> dict[str, np.ndarray]:
    with np.load(path) as file:
        return {name: file[name].astype(np.float32) for name in file.files}

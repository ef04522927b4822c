"""What a network is trained on: one loss per pixel, for every kind of target.

    nll, mse      the pixel itself, hidden from the network                        −log N(y | blind) ,  (y − μ)²/v
    counts        the same                                                         −log NB(y | blind), exact for counts
    n2v           the same, on the pixels that a masked network hides
    noise2noise   a second exposure y′ whose noise is independent                  −log p(y′ | f(y))
    supervised    the clean movie x                                                −log N(x; f, Σ)
    distil        teachers' mean M and variance Σ_M                                KL( N(M, Σ_M) ‖ N(f, Σ) )
    sure, pure    nothing: the estimated risk e of f, and Σ regressed on it        e/v + (Σ − e)²/v²

Lehtinen et al., ICML 2018, arXiv:1803.04189 (Noise2Noise); Metzler et al., arXiv:1805.10531 (networks on SURE);
Krull et al., CVPR 2019, arXiv:1811.10980 (Noise2Void); Chen et al., CVPR 2024, arXiv:2304.01627 (distillation).
"""

from collections.abc import Callable
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from phdenoise.networks.architecture import Architecture, Corner
from phdenoise.networks.base import Denoiser
from phdenoise.networks.context import View
from phdenoise.types import InputError, Moments, NoiseModel

Objective = Literal["nll", "mse", "counts", "n2v", "noise2noise", "supervised", "sure", "pure"]
# "distil" is chosen by the distillation alone.
Goal = Objective | Literal["distil"]

# Share of pixels that are marked as not measured in the training of a network with a target, so that it learns to fill gaps;
# about the share of defects that a movie may have.
DENIED = 0.03
# Predicted variance of a network with a sharp target, at least, as a share of the noise's; it keeps the loss finite.
LEAST_VARIANCE = 1e-3
# Step of the divergence's central differences [noise sd]: networks are piecewise linear, and their convolutions have
# no forward derivative. Ramani, Blu and Unser (doi:10.1109/TIP.2008.2001404) find the estimate flat around this size.
STEP = 0.1


class Crops(NamedTuple):
    """A batch of crops in the network's units.

    Attributes:
        context, centre, seen: what the network is shown; see `phdenoise.networks.context.View`.
        weight: 1 where the loss counts.
        target, target_var: what to predict and its variance; None for objectives without.
    """

    context: Float[Array, "n y x k"]
    centre: Float[Array, "n y x"]
    seen: Float[Array, "n y x"]
    weight: Float[Array, "n y x"]
    target: Float[Array, "n y x"] | None = None
    target_var: Float[Array, "n y x"] | None = None

    @property
    def shown(self) -> View:
        """What the network is shown."""
        return View(self.context, self.centre, self.seen)


def pixel_loss(
    denoiser: Denoiser,
    crops: Crops,
    noise: NoiseModel,
    objective: Goal,
    key: PRNGKeyArray,
    corner: Corner | None = None,
) -> tuple[Float[Array, "n y x"], Float[Array, "n y x"]]:
    """Loss of every pixel, and the weight it counts with.

    Args:
        denoiser: network that is trained or scored.
        crops: what it is shown.
        noise: noise model of the movie.
        objective: see the module's text.
        key: of masks and probes.
        corner: row and column of the crops in their frame when scoring held-out pixels; None when training.

    Returns:
        Loss and weight.

    Raises:
        InputError: the objective needs a target and there is none.
    """
    return _LOSSES[objective](denoiser, crops, noise, objective, key, corner)


def _measured_loss(
    denoiser: Denoiser,
    crops: Crops,
    noise: NoiseModel,
    objective: Goal,
    key: PRNGKeyArray,
    corner: Corner | None,
) -> tuple[Array, Array]:
    """The measured pixel against its blind prediction."""
    blind, counted = denoiser.training_pass(crops.shown, key, corner)
    loss = _of_measured(blind, denoiser.measured(crops.centre), noise, objective)
    return loss, crops.weight * counted


def _risk_loss(
    denoiser: Denoiser,
    crops: Crops,
    noise: NoiseModel,
    objective: Goal,
    key: PRNGKeyArray,
    corner: Corner | None,
) -> tuple[Array, Array]:
    """The estimated risk, and the predicted variance regressed on it."""
    probe, drop = jax.random.split(key)
    crops = _with_gaps(crops, drop, corner)

    def mean(noisy: Array) -> Array:
        return denoiser(crops.context, denoiser.scaled(noisy), crops.seen).mean

    noisy = denoiser.measured(crops.centre)
    out = denoiser(*crops.shown)
    error = risk_terms(mean, noisy, noise, probe)
    own = jax.lax.stop_gradient(noise.expected_variance(out))
    return error / own + ((out.var - jax.lax.stop_gradient(error)) / own) ** 2, crops.weight


def _target_loss(
    denoiser: Denoiser,
    crops: Crops,
    noise: NoiseModel,
    objective: Goal,
    key: PRNGKeyArray,
    corner: Corner | None,
) -> tuple[Array, Array]:
    """A target against the prediction."""
    goal = crops.target
    if goal is None:
        raise InputError(f"Objective {objective} needs a target movie.")
    crops = _with_gaps(crops, jax.random.split(key)[1], corner)
    out = denoiser(*crops.shown)
    target = denoiser.measured(goal)
    if objective == "noise2noise":
        return noise.blind_nll(out, target), crops.weight
    own = jax.lax.stop_gradient(noise.expected_variance(out))
    known = LEAST_VARIANCE * own
    if crops.target_var is not None:
        known = known + crops.target_var * denoiser.spread**2
    variance = out.var + LEAST_VARIANCE * own
    loss = 0.5 * (((target - out.mean) ** 2 + known) / variance + jnp.log(variance))
    return loss, crops.weight


# Loss of each objective.
_LOSSES: dict[Goal, Callable[..., tuple[Array, Array]]] = {
    "nll": _measured_loss,
    "mse": _measured_loss,
    "counts": _measured_loss,
    "n2v": _measured_loss,
    "noise2noise": _target_loss,
    "supervised": _target_loss,
    "distil": _target_loss,
    "sure": _risk_loss,
    "pure": _risk_loss,
}


def _with_gaps(crops: Crops, key: PRNGKeyArray, corner: Corner | None) -> Crops:
    """In training, crops of which some pixels are marked as not measured."""
    if corner is not None:
        return crops
    return crops._replace(seen=crops.seen * jax.random.bernoulli(key, 1 - DENIED, crops.seen.shape))


def resolve(
    asked: Architecture | None,
    objective: Objective,
    noise: NoiseModel,
    correlated: bool,
    *,
    target: bool,
    clean: bool,
) -> Objective:
    """The objective that was asked for, where the default leaves a choice.

    Args:
        asked: the network; None where that follows from the objective.
        objective: as configured; "nll" is the default.
        noise: noise model of the movie.
        correlated: whether the noise correlates in space.
        target, clean: whether a second exposure, or the clean movie, is given.

    Returns:
        The objective.

    Raises:
        InputError: they do not go together.
    """
    if objective == "nll" and (asked is None or objective not in asked.objectives):
        if target or clean:
            objective = "noise2noise" if target else "supervised"
        elif asked is not None:
            # A network that uses its own noisy pixel would learn to copy it.
            objective = "sure" if correlated else noise.risk
    if asked is not None and objective not in asked.objectives:
        raise InputError(
            f"--network {asked.name} is not trained by --objective {objective}: use {', '.join(asked.objectives)}."
        )
    if target and objective != "noise2noise":
        raise InputError(f"--target is for --objective noise2noise, not {objective}.")
    if clean != (objective == "supervised"):
        raise InputError("--objective supervised and --clean FILE (the clean movie) go together.")
    if objective == "counts" and not noise.has_conjugate:
        raise InputError(
            f"--objective counts is the likelihood of Poisson counts, not of {type(noise).__name__} noise: use nll."
        )
    if objective == "pure" and correlated:
        raise InputError(
            "PURE is for noise that is independent between pixels: use --objective sure, or a blind network."
        )
    if objective == "pure" and noise.risk != "pure":
        raise InputError("PURE is for counting noise, not Gaussian: use --objective sure.")
    if objective == "sure" and noise.risk != "sure" and not correlated:
        raise InputError(
            f"SURE is for Gaussian noise, not {type(noise).__name__}: use --objective pure."
        )
    return objective


def _of_measured(blind: Moments, noisy: Array, noise: NoiseModel, objective: Goal) -> Array:
    if objective == "mse":
        return (noisy - blind.mean) ** 2 / jax.lax.stop_gradient(noise.expected_variance(blind))
    return noise.blind_nll(blind, noisy, conjugate=objective == "counts")


def risk_terms(
    mean: Callable[[Array], Array],
    noisy: Float[Array, "t y x"],
    noise: NoiseModel,
    key: PRNGKeyArray,
) -> Float[Array, "t y x"]:
    """Each pixel's share of the estimated risk of a denoiser.

    Args:
        mean: denoised frames of noisy frames.
        noisy: measured frames.
        noise: noise model.
        key: of the random probe.

    Returns:
        Terms whose mean is the risk [intensity²].
    """
    # The second derivative costs twice as much, and is little more than noise for a piecewise linear network.
    return noise.risk_terms(mean, noisy, key, step=STEP, curvature=False)

"""What a network is trained on: one loss per pixel, whoever made the target.

    nll, mse      the pixel itself, hidden from the network                        −log N(y | blind) ,  (y − μ)²/v
    counts        the same                                                         −log NB(y | blind), exact for counts
    n2v           the same, on the pixels that a masked network may not see
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
from flax import nnx
from jaxtyping import Array, Float, PRNGKeyArray

from phdenoise.denoisers import Denoiser, blind_nll
from phdenoise.denoisers.core import noise_variance
from phdenoise.denoisers.counting import counts_nll
from phdenoise.denoisers.masking import choices_random, grid, period
from phdenoise.denoisers.risk import pure_terms, sure_terms
from phdenoise.noise import Correlated, Gaussian, Poisson
from phdenoise.types import InputError, Moments, NoiseModel

Objective = Literal["nll", "mse", "counts", "n2v", "noise2noise", "supervised", "sure", "pure"]
# What a student learns is no one's choice but the distillation's.
Goal = Objective | Literal["distil"]

# Share of pixels that a seeing network is denied in training, so that it knows what a gap is.
DENIED = 0.03
# Predicted variance of a network with a sharp target, at least, as a share of the noise's.
LEAST = 1e-3
# Step of the divergence's central differences [noise sd]: networks are piecewise linear, and their convolutions have
# no forward derivative.
STEP = 0.1
# Phase of the grid that masked networks are judged on and never trained on.
JUDGED_PHASE = (1, 2)


class Crops(NamedTuple):
    """A batch of crops, scaled as the network sees them; `weight` 1 where the loss counts.

    `target` and its variance `target_var` are scaled too; None for objectives without.
    """

    context: Float[Array, "n y x k"]
    centre: Float[Array, "n y x"]
    seen: Float[Array, "n y x"]
    weight: Float[Array, "n y x"]
    target: Float[Array, "n y x"] | None = None
    target_var: Float[Array, "n y x"] | None = None


def pixel_loss(
    denoiser: Denoiser,
    crops: Crops,
    noise: NoiseModel,
    objective: Goal,
    key: PRNGKeyArray,
    corner: tuple[Array | int, Array | int] | None = None,
) -> tuple[Float[Array, "n y x"], Float[Array, "n y x"]]:
    """Loss of every pixel, and the weight it counts with.

    Args:
        denoiser, crops, noise: what is judged, on what.
        objective: see the module's text.
        key: of masks and probes.
        corner: row and column of the crops in their frame when judging held-out pixels; None when training.
    """
    if denoiser.design.network == "n2v":
        return _masked(denoiser, crops, noise, objective, key, corner)
    if not denoiser.design.sees:
        blind = denoiser(crops.context, crops.centre, crops.seen)
        return _of_measured(
            blind, _measured(denoiser, crops.centre), noise, objective
        ), crops.weight
    probe, drop = jax.random.split(key)
    if corner is None:
        kept = jax.random.bernoulli(drop, 1 - DENIED, crops.seen.shape)
        crops = crops._replace(seen=crops.seen * kept)
    if objective in ("sure", "pure"):
        return _risk(denoiser, crops, noise, objective, probe), crops.weight
    if crops.target is None:
        raise InputError(f"Objective {objective} needs a target movie.")
    out = denoiser(crops.context, crops.centre, crops.seen)
    target = _measured(denoiser, crops.target)
    if objective == "noise2noise":
        return blind_nll(out, target, noise), crops.weight
    own = jax.lax.stop_gradient(noise_variance(noise, out))
    known = LEAST * own
    if crops.target_var is not None:
        known = known + crops.target_var * denoiser.spread**2
    variance = out.var + LEAST * own
    loss = 0.5 * (((target - out.mean) ** 2 + known) / variance + jnp.log(variance))
    return loss, crops.weight


def resolve(
    network: str,
    objective: Objective,
    noise: NoiseModel,
    correlated: bool,
    *,
    target: bool,
    clean: bool,
) -> tuple[Literal["blind", "unet", "n2v"], Objective]:
    """The network and the objective that were asked for, where "auto" and the default leave a choice.

    Args:
        network: auto, blind, unet or n2v.
        objective: as configured; "nll" is the default.
        noise: noise model of the movie.
        correlated: whether the noise correlates in space.
        target, clean: whether a second exposure, or the clean movie, is given.

    Raises:
        InputError: they do not go together.
    """
    if network not in ("auto", "blind", "unet", "n2v"):
        raise InputError(f"Unknown network '{network}': use auto, blind, unet or n2v.")
    if objective == "nll" and network in ("auto", "unet"):
        if target or clean:
            objective = "noise2noise" if target else "supervised"
        elif network == "unet":
            # What sees its own noisy pixel would learn to copy it.
            objective = "sure" if isinstance(noise, Gaussian) or correlated else "pure"
    if network == "auto":
        hides = {"nll": "blind", "mse": "blind", "counts": "blind", "n2v": "n2v"}
        network = hides.get(objective, "unet")
    allowed = {
        "blind": ("nll", "mse", "counts"),
        "n2v": ("n2v", "nll", "mse", "counts"),
        "unet": ("noise2noise", "supervised", "sure", "pure"),
    }[network]
    if objective not in allowed:
        raise InputError(
            f"--network {network} is not trained by --objective {objective}: use {', '.join(allowed)}."
        )
    if target and objective != "noise2noise":
        raise InputError(f"--target is for --objective noise2noise, not {objective}.")
    if clean != (objective == "supervised"):
        raise InputError("--objective supervised and --clean FILE (the clean movie) go together.")
    if objective == "counts" and not isinstance(noise, Poisson):
        raise InputError(
            f"--objective counts is the likelihood of Poisson counts, not of {type(noise).__name__} noise: use nll."
        )
    if objective == "pure" and correlated:
        raise InputError(
            "PURE knows no noise that neighbouring pixels share: use --objective sure, or a blind network."
        )
    if objective == "pure" and isinstance(noise, Gaussian):
        raise InputError("PURE is for counting noise, not Gaussian: use --objective sure.")
    if objective == "sure" and not (isinstance(noise, Gaussian) or correlated):
        raise InputError(
            f"SURE is for Gaussian noise, not {type(noise).__name__}: use --objective pure."
        )
    return network, objective  # type: ignore[return-value]


def _masked(
    denoiser: Denoiser,
    crops: Crops,
    noise: NoiseModel,
    objective: Goal,
    key: PRNGKeyArray,
    corner: tuple[Array | int, Array | int] | None,
) -> tuple[Array, Array]:
    """One pass with a grid of random phase, or with the judged one; only its centres count."""
    region = denoiser.region
    rows, columns = period(region)
    k_phase, k_choice = jax.random.split(key)
    if corner is None:
        phase = jax.random.randint(k_phase, (2,), 0, jnp.asarray((rows, columns)))
    else:
        phase = jnp.stack(
            [(p - c) % n for p, c, n in zip(JUDGED_PHASE, corner, (rows, columns), strict=True)]
        )
    choice = choices_random(k_choice, crops.centre.shape)
    network = nnx.merge(denoiser.graph, denoiser.state)
    mean, sd = network.masked(crops.context, crops.centre, crops.seen, region, phase, choice)
    blind = denoiser.in_units(mean, sd)
    loss = _of_measured(blind, _measured(denoiser, crops.centre), noise, objective)
    centres, _ = grid((crops.centre.shape[1], crops.centre.shape[2]), region, phase)
    return loss, crops.weight * centres[None]


def _of_measured(blind: Moments, noisy: Array, noise: NoiseModel, objective: Goal) -> Array:
    if objective == "mse":
        return (noisy - blind.mean) ** 2 / jax.lax.stop_gradient(noise_variance(noise, blind))
    if objective == "counts" and isinstance(noise, Poisson):
        return counts_nll(blind, noisy, noise)
    return blind_nll(blind, noisy, noise)


def _risk(
    denoiser: Denoiser, crops: Crops, noise: NoiseModel, objective: Goal, key: PRNGKeyArray
) -> Array:
    def mean(noisy: Array) -> Array:
        return denoiser(crops.context, denoiser.scaled(noisy), crops.seen).mean

    noisy = _measured(denoiser, crops.centre)
    out = denoiser(crops.context, crops.centre, crops.seen)
    error = risk_terms(mean, noisy, noise, objective, key)
    own = jax.lax.stop_gradient(noise_variance(noise, out))
    return error / own + ((out.var - jax.lax.stop_gradient(error)) / own) ** 2


def risk_terms(
    mean: Callable[[Array], Array],
    noisy: Float[Array, "t y x"],
    noise: NoiseModel,
    objective: Goal,
    key: PRNGKeyArray,
) -> Float[Array, "t y x"]:
    """Each pixel's share of the risk of `mean`, a function of the noisy frames."""
    if objective == "sure" or isinstance(noise, Gaussian | Correlated):
        return sure_terms(mean, noisy, noise, key, step=STEP)
    # The second derivative costs twice as much, and is little more than noise for a piecewise linear network.
    return pure_terms(mean, noisy, noise, key, step=STEP, curvature=False)


def _measured(denoiser: Denoiser, scaled: Array) -> Array:
    return denoiser.centre + denoiser.spread * scaled

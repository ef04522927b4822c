"""Where the denoiser meets the law: the joint loss as one jitted function, and its network steps."""

from functools import partial
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, PyTree

from phdenoise.denoisers import (
    Denoiser,
    MovieArrays,
    from_settings,
    posterior,
    prepare,
)
from phdenoise.learn.joint import Problem
from phdenoise.learn.laws import LawSpace
from phdenoise.learn.objective import (
    FieldPrior,
    JointParameters,
    JointTerms,
    Observation,
    joint_terms,
)
from phdenoise.movie import Estimate
from phdenoise.training.train import crop_loss, draw_crops
from phdenoise.types import NoiseModel, Steps

# Small against training: the network is adjusted by the law here, not learned anew.
LEARNING_RATE = 1e-4


class NetworkProblem(eqx.Module):
    """What the network's part of the joint loss needs, all passed as arguments.

    Attributes:
        denoiser: trained network; `JointParameters.network` replaces its state.
        arrays: the movie as the network sees it.
        noise: noise model of the movie.
        index: frame of the initial field.
        anchor: the denoised first frame minus what the network alone gives there, [y, x] concentration.
        offset, slope: c = slope (intensity − offset).
        pixels: number of pixels that the movie's likelihood sums over.
        binning: side of the bins that the law's grid averages.
    """

    denoiser: Denoiser
    arrays: MovieArrays
    noise: NoiseModel
    index: Array
    anchor: Float[Array, "y x"]
    offset: Array
    slope: Array
    pixels: Array
    binning: int = eqx.field(static=True)


class Adapted(NamedTuple):
    """Network after its joint steps: weights, denoised first frame, and what happened."""

    network: PyTree
    first: np.ndarray
    statistics: dict[str, float]


def network_problem(
    estimate: Estimate,
    index: int,
    believed: np.ndarray,
    slope: float,
    offset: float,
    binning: int = 1,
) -> NetworkProblem:
    """Rebuild the trained denoiser of an estimate around the frame where the law starts.

    Args:
        estimate: of `phdenoise.denoise`.
        index: frame of the initial field.
        believed: denoised concentration of that frame [y, x].
        slope, offset: concentration scale.
        binning: side of the bins that the law's grid averages.
    """
    settings = estimate.settings
    denoiser = from_settings(estimate.weights, settings)
    frames, valid = estimate.movie.frames, estimate.movie.valid()
    arrays = prepare(denoiser, frames, valid)
    dtype = jnp.dtype(believed.dtype)
    problem = NetworkProblem(
        denoiser=denoiser,
        arrays=arrays,
        noise=estimate.noise,
        index=jnp.asarray(index),
        anchor=jnp.zeros(believed.shape, dtype),
        offset=jnp.asarray(offset, dtype),
        slope=jnp.asarray(slope, dtype),
        pixels=jnp.asarray(float(valid.sum()), dtype),
        binning=binning,
    )
    alone = _first_field(denoiser.state, problem)
    return eqx.tree_at(lambda p: p.anchor, problem, jnp.asarray(believed) - alone)


def _first_field(network: PyTree, problem: NetworkProblem) -> Array:
    """Denoised concentration of the frame where the law starts [y, x]."""
    denoiser = eqx.tree_at(lambda d: d.state, problem.denoiser, network)
    arrays, index = problem.arrays, problem.index
    context, centre, seen = arrays.view(index, 0, 0, (arrays.seen.shape[1], arrays.seen.shape[2]))
    blind = denoiser(context[None], centre[None], seen[None])
    measured = denoiser.centre + denoiser.spread * centre[None]
    noisy = jnp.where(seen[None] > 0, measured, jnp.nan)
    mean = posterior(blind, noisy, problem.noise).mean[0]
    ny, nx = problem.anchor.shape
    side = problem.binning
    mean = mean[: ny * side, : nx * side].reshape(ny, side, nx, side).mean((1, 3))
    field = problem.slope * (mean.astype(problem.anchor.dtype) - problem.offset)
    return problem.anchor + field


@partial(jax.jit, static_argnames=("space", "substeps", "burn_in", "batch", "side"))
def joint_loss(
    parameters: JointParameters,
    network: NetworkProblem,
    observation: Observation,
    prior: FieldPrior,
    theta_start: Float[Array, " p"],
    theta_sd: Float[Array, " p"],
    key: Array,
    *,
    space: LawSpace,
    substeps: int,
    burn_in: int,
    batch: int = 4,
    side: tuple[int, int] = (64, 64),
) -> tuple[Array, JointTerms]:
    """The joint loss and its terms; the blind likelihood is estimated on random crops.

    Its gradient reaches `parameters.network` (through the likelihood, and through the initial field and
    the PDE solve), `parameters.theta` and `parameters.z`.
    """

    def terms(state: PyTree) -> tuple[Array, Array]:
        denoiser = eqx.tree_at(lambda d: d.state, network.denoiser, state)
        arrays = network.arrays
        crops = draw_crops(key, arrays, arrays.seen, denoiser, batch=batch, side=side)
        blind = crop_loss(denoiser, crops, network.noise).astype(network.pixels.dtype)
        return blind * network.pixels, _first_field(state, network)

    parts = joint_terms(
        parameters,
        observation,
        prior,
        theta_start,
        theta_sd,
        terms,
        space=space,
        substeps=substeps,
        burn_in=burn_in,
    )
    return parts.total, parts


_joint_slope = jax.jit(
    jax.value_and_grad(joint_loss, has_aux=True),
    static_argnames=("space", "substeps", "burn_in", "batch", "side"),
)


def adapt_network(
    network: NetworkProblem,
    problem: Problem,
    x: np.ndarray,
    *,
    steps: int,
    seed: int,
    progress: Steps | None = None,
) -> Adapted:
    """Gradient steps of the joint loss on the network, law and field held where they are.

    The network of the lowest loss is returned: steps of one length can overshoot, and a field that is moved too far leaves
    a law whose solve diverges.
    """
    observation, prior, space = problem.observation, problem.prior, problem.space
    dtype = observation.frames.dtype
    theta, z = (jnp.asarray(a, dtype) for a in problem.split(x))
    start, sd = (jnp.asarray(a, dtype) for a in problem.law)
    side = tuple(min(64, n // 4 * 4) for n in network.arrays.seen.shape[1:])
    if network.denoiser.everywhen:
        side = (min(side),) * 2
    optimiser = optax.chain(optax.clip_by_global_norm(1.0), optax.adam(LEARNING_RATE))
    weights = best = network.denoiser.state
    state = optimiser.init(weights)
    # The same crops in every step, so that losses compare.
    key = jax.random.key(seed)
    misfits, losses = [], []
    for step in range(steps):
        (loss, parts), gradient = _joint_slope(
            JointParameters(weights, theta, z),
            network,
            observation,
            prior,
            start,
            sd,
            key,
            space=space,
            substeps=problem.substeps,
            burn_in=problem.burn_in,
            side=(side[0], side[1]),
        )
        if not np.isfinite(float(loss)):
            break
        losses.append(float(loss))
        misfits.append(float(parts.misfit))
        if losses[-1] == min(losses):
            best = weights
        updates, state = optimiser.update(gradient.network, state)
        weights = optax.apply_updates(weights, updates)
        if progress and ((step + 1) % 5 == 0 or step + 1 == steps):
            progress(step + 1, steps, float(loss))
    chosen = int(np.argmin(losses)) if losses else 0
    statistics = {
        "network_steps": float(chosen),
        "network_misfit_first": misfits[0] if misfits else float("nan"),
        "network_misfit_last": misfits[chosen] if misfits else float("nan"),
    }
    return Adapted(best, np.asarray(_first_field(best, network)), statistics)

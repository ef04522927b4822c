"""The joint loss: one pure function of network, law and initial field, and the data that it compares them with.

    L(network, law, field; data) = blind + misfit + field_prior + law_prior

    blind        −Σ log p_blind(y | network)              trains the denoiser without clean labels
    misfit       ½ Σ w (c(t; law, c₀) − y)²               the field moves as the law says
    field_prior  ½ |field|²                               c₀ stays near the denoised first frame
    law_prior    ½ |(θ(law) − θ₀)/sd|²                    parameters stay plausible

    c₀ = soft_clip( network(y)[first frame] + σ Σ field_k w_k ),    w_k the long waves of the grid

The gradient reaches the network through `blind` and through c₀ and the PDE solve, the law through `misfit` and
`law_prior`, and the field through `misfit` and `field_prior`. y is the measured concentration, w its inverse variance.
"""

from dataclasses import replace
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, PyTree

from phdenoise.learn.config import FitConfig
from phdenoise.learn.edge_evidence import settle_faces
from phdenoise.learn.fit_problem import (
    MOST_SUBSTEPS,
    FitProblem,
    Observes,
    family_of,
    needed_substeps,
    prepare_fit_problem,
)
from phdenoise.learn.joint import Problem
from phdenoise.learn.laws import LawPrior, given_law, weak_prior
from phdenoise.learn.objective import (
    FieldPrior,
    MeasuredConcentration,
    field_prior,
    first_field,
    misfit_residual,
)
from phdenoise.learn.shooting import is_uniform
from phdenoise.movie import Estimate, Movie
from phdenoise.networks.base import Denoiser, from_settings
from phdenoise.networks.context import MovieArrays
from phdenoise.networks.predict import prepare
from phdenoise.physics.equations.base import Law
from phdenoise.physics.equations.edged import WithEdges
from phdenoise.physics.law_parameters import Parameters, rescaled
from phdenoise.physics.simulate import as_dtype
from phdenoise.training.loop import draw_crops
from phdenoise.training.objectives import Crops, pixel_loss
from phdenoise.types import InputError, NoiseModel, Steps

# Adam's rate on the network's weights in joint steps, a thirtieth of that of training: the law adjusts the network here,
# the network is not learned anew (`python benchmarks/joint_schedules.py`).
NETWORK_RATE = 1e-4
# Adam's rate on θ and on the field's coefficients in joint steps [units of θ and of the field's prior sd]: a hundred
# steps cross a unit, a third of the weakest prior's width.
LAW_RATE = 1e-2
# Crops of which a joint step estimates the blind likelihood, and their side [px].
CROPS, CROP_SIDE = 4, 64


class JointTerms(eqx.Module):
    """The terms of the joint loss, each a sum over pixels in units of −log likelihood.

    Attributes:
        blind: −log likelihood of the measured pixels under the network's blind prediction.
        misfit: half the squared residuals of the law's movie, in units of the noise.
        field_prior: half the squares of the field's coefficients.
        law_prior: half the squares of the law's parameters about the prior's centre, in units of its sd.
    """

    blind: Float[Array, ""]
    misfit: Float[Array, ""]
    field_prior: Float[Array, ""]
    law_prior: Float[Array, ""]

    @property
    def total(self) -> Float[Array, ""]:
        """The joint loss."""
        return self.blind + self.misfit + self.field_prior + self.law_prior


class JointData(eqx.Module):
    """What the joint loss compares network, law and field with; `joint_data` makes it. A pytree: pass it to jitted functions.

    Attributes:
        denoiser: network before the joint steps; `joint_loss` replaces its parameters.
        arrays: the movie as the network's input.
        noise: noise model of the movie.
        index: frame of the initial field.
        anchor: the denoised first frame minus what the network alone gives there [y, x].
        scale: what the instrument does to the concentration.
        measured: concentration on the law's grid, and its inverse variance, in cells and frame intervals.
        prior: of the initial field.
        law_prior: of the law's parameters.
        binning: pixels that a cell of the law's grid averages along each axis.
        substeps: solver steps a frame interval.
        burn_in: frame intervals from the initial field to the first frame.
        length, time: a cell in the movie's unit of length, and a frame interval in its unit of time.
        edges: a law with the faces of the movie; None where all are closed or periodic.
    """

    denoiser: Denoiser
    arrays: MovieArrays
    noise: NoiseModel
    index: Array
    anchor: Float[Array, "y x"]
    scale: Observes
    measured: MeasuredConcentration
    prior: PyTree
    law_prior: LawPrior
    binning: int = eqx.field(static=True)
    substeps: int = eqx.field(static=True)
    burn_in: int = eqx.field(static=True)
    length: float = eqx.field(static=True, default=1.0)
    time: float = eqx.field(static=True, default=1.0)
    edges: WithEdges | None = None

    @property
    def network(self) -> PyTree:
        """Parameters of the network as trained, a pytree of arrays."""
        return self.denoiser.state

    @property
    def field(self) -> Float[Array, "*k"]:
        """Coefficients of the initial field: zeros, the denoised first frame."""
        return jnp.zeros(self.prior.waves.shape, self.measured.frames.dtype)


def joint_loss(
    network: PyTree, law: Law, field: Float[Array, "*k"], data: JointData, key: Array | None = None
) -> JointTerms:
    """The joint loss, a pure function that can be jitted and differentiated with respect to its first three arguments.

    Args:
        network: parameters of the network, such as `data.network`.
        law: any law, in the movie's units of length and time.
        field: coefficients of the initial field, such as `data.field` [prior sd].
        data: of `joint_data`.
        key: random crops of the movie estimate `blind`; by default `blind` is that of the whole movie.

    Returns:
        The named terms; their sum is `.total`.
    """
    cells = rescaled(law, data.length, data.time)
    if data.edges is not None and not isinstance(law, WithEdges):
        cells = data.edges.having(cells)
    family = Parameters(cells, cells.fixed)
    return joint_terms(network, family.start, field, data, family, key)


def joint_data(
    movie: Movie,
    estimate: Estimate,
    law: Law | str,
    config: FitConfig | None = None,
    *,
    observation: Observes | None = None,
) -> JointData:
    """The data of a joint loss: a movie with its denoiser, and the priors of law and initial field.

    Args:
        movie: as measured.
        estimate: of `phdenoise.denoise`, with a blind network.
        law: where the law starts, in the movie's units; the prior is centred there.
        config: which frames, grid, concentration scale and solver steps; see `FitConfig`.
        observation: what the instrument does to the concentration; by default an affine scale that `config` chooses.

    Returns:
        The data.

    Raises:
        InputError: the estimate holds no network.
    """
    config = FitConfig() if config is None else config
    if not estimate.weights:
        raise InputError("The estimate holds no network: give one that phdenoise.denoise made.")
    given, dtype = given_law(law, config), jnp.result_type(float)
    fit_problem = prepare_fit_problem(movie, config, estimate, observation)
    fit_problem = settle_faces(fit_problem, [given], config)
    family = family_of(given, fit_problem, dtype)
    config = replace(config, precision=np.dtype(dtype).name)  # type: ignore[arg-type]
    start = np.asarray(family.start, float)
    substeps = needed_substeps(family, start, fit_problem, config, MOST_SUBSTEPS)
    problem = joint_problem(family, fit_problem, weak_prior(family, start), substeps, config, dtype)
    return network_data(estimate, fit_problem, problem)


def joint_problem(
    family: Parameters,
    fit_problem: FitProblem,
    law: LawPrior,
    substeps: int,
    config: FitConfig,
    dtype: np.dtype,
) -> Problem:
    """Law and initial field against the measured movie.

    Args:
        family: the law and its free numbers, in cells and frame intervals.
        fit_problem: the movie.
        law: prior of θ.
        substeps: solver steps a frame interval.
        config: says how many waves the field has.
        dtype: of the solver.

    Returns:
        The problem; the field stands one interval earlier where interfaces have a width of their own.
    """
    observation = measured_concentration(fit_problem, dtype)
    prior = start_prior(family, fit_problem, config, dtype)
    return Problem(family, observation, prior, law, substeps, int(family.law.own_width))


def start_prior(
    family: Parameters, fit_problem: FitProblem, config: FitConfig, dtype: np.dtype
) -> FieldPrior:
    """Prior of the initial field about the believed first frame.

    Args:
        family: the law, which may need the field within 0..1.
        fit_problem: the movie.
        config: says how many waves the field has.
        dtype: of its arrays.

    Returns:
        The prior.
    """
    believed, variance = fit_problem.believed, fit_problem.believed_variance[0]
    return field_prior(
        believed[0],
        fit_problem.grid,
        sd=first_field(believed, variance, fit_problem.span, fit_problem.inside),
        waves=config.field_waves,
        dtype=dtype,
        bounded=family.law.bounded,
    )


def measured_concentration(fit_problem: FitProblem, dtype: np.dtype) -> MeasuredConcentration:
    """The measured movie that a law is compared with.

    Args:
        fit_problem: the movie as concentration.
        dtype: of the solver.

    Returns:
        Concentration on the law's grid, and its inverse variance.
    """
    return MeasuredConcentration(
        frames=jnp.asarray(fit_problem.observed, dtype),
        weights=jnp.asarray(fit_problem.weights, dtype),
        times=jnp.asarray(fit_problem.times, dtype),
        grid=fit_problem.grid,
        uniform=is_uniform(fit_problem.times),
        instrument=as_dtype(fit_problem.resolving, dtype),
        binning=fit_problem.binning,
    )


def network_data(estimate: Estimate, fit_problem: FitProblem, problem: Problem) -> JointData:
    """The data of the joint loss of a problem.

    Args:
        estimate: of `phdenoise.denoise`.
        fit_problem: the movie as concentration.
        problem: law and field.

    Returns:
        The data, of the problem's dtype.
    """
    dtype = problem.observation.frames.dtype
    denoiser = from_settings(estimate.weights, estimate.settings)
    data = JointData(
        denoiser=denoiser,
        arrays=prepare(denoiser, estimate.movie.frames, estimate.movie.valid()),
        noise=estimate.noise,
        index=jnp.asarray(fit_problem.first),
        anchor=jnp.zeros(fit_problem.grid.shape, dtype),
        scale=as_dtype(fit_problem.observation, dtype),
        measured=problem.observation,
        prior=problem.prior,
        law_prior=jax.tree.map(lambda a: jnp.asarray(a, dtype), problem.law),
        binning=fit_problem.binning,
        substeps=problem.substeps,
        burn_in=problem.burn_in,
        length=fit_problem.units.length,
        time=fit_problem.units.time,
        edges=problem.family.law if isinstance(problem.family.law, WithEdges) else None,
    )
    believed = jnp.asarray(fit_problem.believed[0], dtype)
    return eqx.tree_at(lambda d: d.anchor, data, believed - denoised_first(data.network, data))


def joint_terms(
    network: PyTree,
    theta: Float[Array, " p"],
    field: Float[Array, "*k"],
    data: JointData,
    family: Parameters,
    key: Array | None = None,
) -> JointTerms:
    """The joint loss with the law as a vector of its free numbers, in cells and frame intervals.

    Args:
        network: parameters of the network.
        theta: free numbers of the law.
        field: coefficients of the initial field [prior sd].
        data: of `joint_data`.
        family: the law of θ.
        key: of random crops; None for the whole movie.

    Returns:
        The terms.
    """
    denoiser = eqx.tree_at(lambda d: d.state, data.denoiser, network)
    prior = eqx.tree_at(lambda p: p.mean, data.prior, denoised_first(network, data))
    first = prior.field(field)
    law = family.build(theta.astype(first.dtype))
    residual = misfit_residual(
        law, first, data.measured, substeps=data.substeps, burn_in=data.burn_in, reverse=True
    )
    centre, sd = data.law_prior
    return JointTerms(
        blind=_blind(denoiser, data, key).astype(first.dtype),
        misfit=0.5 * jnp.sum(residual**2),
        field_prior=0.5 * jnp.sum(field**2),
        law_prior=0.5 * jnp.sum(((theta - centre) / sd) ** 2),
    )


def denoised_first(network: PyTree, data: JointData) -> Float[Array, "y x"]:
    """Denoised concentration of the frame where the law starts.

    Args:
        network: parameters of the network.
        data: of the joint loss.

    Returns:
        On the law's grid [y, x].
    """
    denoiser = eqx.tree_at(lambda d: d.state, data.denoiser, network)
    arrays = data.arrays
    shape = arrays.seen.shape[1], arrays.seen.shape[2]
    context, centre, seen = arrays.view(data.index, 0, 0, shape)
    blind = denoiser(context[None], centre[None], seen[None])
    noisy = jnp.where(seen[None] > 0, denoiser.measured(centre[None]), jnp.nan)
    mean = data.noise.posterior(blind, noisy).mean[0]
    ny, nx = data.anchor.shape
    side = data.binning
    mean = mean[: ny * side, : nx * side].reshape(ny, side, nx, side).mean((1, 3))
    mean = mean.astype(data.anchor.dtype)
    return data.anchor + data.scale.quantify(mean, jnp.zeros_like(mean)).mean


def _blind(denoiser: Denoiser, data: JointData, key: Array | None) -> Array:
    """−log likelihood of the measured pixels under the blind prediction, of the whole movie or estimated on crops."""
    arrays, noise = data.arrays, data.noise
    t, ny, nx = arrays.seen.shape
    if key is not None:
        side = denoiser.architecture.crop_shape((ny, nx), CROP_SIDE)
        crops = draw_crops(key, arrays, arrays.seen, denoiser, batch=CROPS, side=side)
        loss, weight = pixel_loss(denoiser, crops, noise, "nll", key)
        mean = jnp.sum(weight * loss) / jnp.maximum(jnp.sum(weight), 1.0)
        return mean * jnp.sum(arrays.seen)

    @jax.checkpoint
    def frame(index: Array) -> Array:
        context, centre, seen = (a[None] for a in arrays.view(index, 0, 0, (ny, nx)))
        crops = Crops(context, centre, seen, seen)
        loss, weight = pixel_loss(denoiser, crops, noise, "nll", jax.random.key(0))
        return jnp.sum(weight * loss)

    # One frame at a time: the activations of a whole movie would not fit in memory.
    return jnp.sum(jax.lax.map(frame, jnp.arange(t)))


class Adapted(NamedTuple):
    """What joint steps come to.

    Attributes:
        network: parameters of the lowest loss.
        theta: the law's free numbers [p].
        field: coefficients of the initial field [*k].
        first: denoised concentration of the first frame [y, x].
        statistics: number of steps, and the misfit before and after.
    """

    network: PyTree
    theta: np.ndarray
    field: np.ndarray
    first: np.ndarray
    statistics: dict[str, float]


def _total(
    parameters: tuple[PyTree, Array, Array], data: JointData, family: Parameters, key: Array
) -> tuple[Array, JointTerms]:
    network, theta, field = parameters
    terms = joint_terms(network, theta, field, data, family, key)
    return terms.total, terms


_slope = eqx.filter_jit(jax.value_and_grad(_total, has_aux=True))


def minimise_joint_loss(
    data: JointData,
    problem: Problem,
    x: np.ndarray,
    *,
    steps: int,
    seed: int,
    everything: bool = False,
    progress: Steps | None = None,
) -> Adapted:
    """Adam's steps on the joint loss: on the network alone, or on network, law and field at once.

    The parameters of the lowest loss are returned: steps of one length can overshoot, and a field that is moved too far
    leaves a law whose solve diverges.

    Args:
        data: of the joint loss.
        problem: law and field.
        x: where both start, (θ, field) as one vector.
        steps: number of steps.
        seed: of the crops, the same in every step so that losses compare.
        everything: move law and field as well.
        progress: called with (step, steps, loss).

    Returns:
        The parameters, and what happened.
    """
    theta, field = (jnp.asarray(a, data.anchor.dtype) for a in problem.split(x))
    parameters = best = (data.network, theta, field)
    law = optax.adam(LAW_RATE) if everything else optax.set_to_zero()
    network = optax.chain(optax.clip_by_global_norm(1.0), optax.adam(NETWORK_RATE))
    optimiser = optax.multi_transform({"network": network, "law": law}, ("network", "law", "law"))
    state = optimiser.init(parameters)
    misfits: list[float] = []
    losses: list[float] = []
    for step in range(steps):
        (loss, terms), slope = _slope(parameters, data, problem.family, jax.random.key(seed))
        if not np.isfinite(float(loss)):
            break
        losses.append(float(loss))
        misfits.append(float(terms.misfit))
        if losses[-1] == min(losses):
            best = parameters
        updates, state = optimiser.update(slope, state, parameters)
        parameters = optax.apply_updates(parameters, updates)
        if progress and ((step + 1) % 5 == 0 or step + 1 == steps):
            progress(step + 1, steps, float(loss))
    chosen = int(np.argmin(losses)) if losses else 0
    statistics = {
        "network_steps": float(chosen),
        "network_misfit_first": misfits[0] if misfits else float("nan"),
        "network_misfit_last": misfits[chosen] if misfits else float("nan"),
    }
    weights, theta, field = best
    first = np.asarray(denoised_first(weights, data))
    return Adapted(weights, np.asarray(theta, float), np.asarray(field, float), first, statistics)

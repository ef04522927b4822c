"""The objectives: how well a law and an initial field explain a movie, alone and with the denoiser.

    L(net, θ, z) = −Σ log p_blind(y | net)  +  ½ Σ w (c(t; θ, c₀) − y)²  +  ½ |z|²  +  ½ |(θ − θ₀)/s|²
    c₀ = squash( net(y)[first frame] + σ Σ z_k w_k ),     w_k the long waves of the grid

The first term trains the denoiser without clean labels, the second makes the field it shows move as
the law says, and the last two are the priors of the field and of the law. One jitted function whose
gradient reaches the network's weights, θ and z. y is the measured concentration, w its inverse variance.
"""

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PyTree
from scipy import ndimage

from phdenoise.grid import Grid
from phdenoise.learn.laws import LawSpace
from phdenoise.physics import simulate

# Concentrations live in (0, 1); a field this close to an end is indistinguishable from it.
MARGIN = 1e-3
# Least and largest standard deviation of the initial field [concentration].
SPREAD = (0.02, 0.3)


class Observation(eqx.Module):
    """Measured concentration and how much to believe each pixel.

    Attributes:
        frames: concentration [t, y, x].
        weights: inverse variance [t, y, x]; zero where masked or not used.
        times: frame times [t] in (median) frame intervals.
        grid: spacing in pixels.
        uniform: whether all intervals are one; if so the solver prepares its constants once.
    """

    frames: Float[Array, "t y x"]
    weights: Float[Array, "t y x"]
    times: Float[Array, " t"]
    grid: Grid
    uniform: bool = eqx.field(static=True, default=True)


class FieldPrior(eqx.Module):
    """Gaussian prior of the initial field about `mean`: long waves of standard deviation `sd`.

    The correction is a few hundred coefficients of the lowest waves of the grid (cosines and sines, or the
    cosines of a closed box). Shorter waves die out within the first frames and no later frame knows them.

    Attributes:
        mean: denoised field [y, x].
        waves_y, waves_x: orthonormal waves along each axis [y, m], [x, n].
        amplitude: standard deviation of the coefficients, one or by pixel.
        spectrum: factors of it, by wave.
    """

    mean: Float[Array, "y x"]
    waves_y: Float[Array, "y m"]
    waves_x: Float[Array, "x n"]
    amplitude: Float[Array, "..."]
    spectrum: Float[Array, "m n"]

    def field(self, z: Float[Array, "m n"]) -> Float[Array, "y x"]:
        """Initial field c₀ = squash(mean + Σ amplitude g_mn z_mn w_m(y) w_n(x)) for white z."""
        return squash(
            self.mean + self.amplitude * (self.waves_y @ (self.spectrum * z) @ self.waves_x.T)
        )


def field_prior(
    mean: Float[np.ndarray, "y x"],
    grid: Grid,
    *,
    sd: float | Float[np.ndarray, "y x"],
    waves: int,
    dtype: np.dtype,
) -> FieldPrior:
    """Prior about `mean` [y, x] with pointwise standard deviation `sd` (one, or [y, x]) and `waves` waves an axis."""
    ny, nx = grid.shape
    bases = [_waves(n, min(waves, n), grid.boundary == "periodic") for n in (ny, nx)]
    # White coefficients of variance a² give the field a mean variance of a² m n / (ny nx).
    amplitude = sd * np.sqrt(ny * nx / (bases[0].shape[1] * bases[1].shape[1]))
    arrays = (mean, *bases, amplitude, np.ones([b.shape[1] for b in bases]))
    return FieldPrior(*(jnp.asarray(a, dtype) for a in arrays))


def first_field(
    frames: Float[np.ndarray, "t y x"], variance: Float[np.ndarray, "y x"]
) -> tuple[Float[np.ndarray, "y x"], int]:
    """How far the initial field may be from the first frame, and how many intervals before it the field is to stand.

    The first frame is denoised from one side of time: where it changes fast, as edges do that diffusion has just begun
    to blur, it is wrong by as much as the next frame differs, many times its mean error. In a slow movie the field
    stands one interval earlier, in which waves too short for the prior die out. In a fast one that would be out of
    reach, and the law would have to be too slow.

    Args:
        frames: denoised.
        variance: of the first of them.

    Returns:
        Standard deviation of the prior [y, x], in concentration; 1 or 0.
    """
    change = frames[1] - frames[0]
    doubt = 2.0 * np.sqrt(variance.mean())
    local = ndimage.gaussian_filter(4.0 * (variance + change**2), 1.0)
    before = int(np.quantile(np.abs(change), 0.99) < max(doubt, SPREAD[0]))
    return np.clip(np.sqrt(local), *SPREAD), before


def _waves(size: int, count: int, periodic: bool) -> np.ndarray:
    """The `count` lowest orthonormal waves on `size` cells, columns."""
    x = (np.arange(size) + 0.5) / size
    columns = [np.ones(size)]
    k = 1
    while len(columns) < count:
        columns.append(np.cos((2 if periodic else 1) * np.pi * k * x))
        if periodic and len(columns) < count:
            columns.append(np.sin(2 * np.pi * k * x))
        k += 1
    basis, _ = np.linalg.qr(np.stack(columns, axis=1))
    return basis


def squash(c: Float[Array, "*s"]) -> Float[Array, "*s"]:
    """The identity inside (0, 1), bending smoothly into [0, 1] at its ends."""
    width = 0.02
    low = width * jax.nn.softplus((c - MARGIN) / width) + MARGIN
    return 1.0 - MARGIN - width * jax.nn.softplus((1.0 - MARGIN - low) / width)


def predict(
    space: LawSpace,
    theta: Float[Array, " p"],
    field: Float[Array, "y x"],
    times: Float[Array, " t"],
    grid: Grid,
    *,
    substeps: int,
    checkpoint: bool = True,
    uniform: bool = True,
) -> Float[Array, "t y x"]:
    """Concentration at `times` that the law θ makes of `field` at times[0]."""
    model = space.build(theta.astype(field.dtype))
    return simulate(
        model, grid, field, times, substeps=substeps, checkpoint=checkpoint, uniform=uniform
    )


def misfit_residual(
    space: LawSpace,
    theta: Float[Array, " p"],
    field: Float[Array, "y x"],
    observation: Observation,
    *,
    substeps: int,
    burn_in: int = 0,
    checkpoint: bool = True,
) -> Float[Array, "t y x"]:
    """√w (prediction − measurement); `field` stands `burn_in` frame intervals before the first frame."""
    step = observation.times[1] - observation.times[0]
    early = observation.times[0] - step * jnp.arange(burn_in, 0, -1, dtype=step.dtype)
    times = jnp.concatenate([early, observation.times])
    frames = predict(
        space,
        theta,
        field,
        times,
        observation.grid,
        substeps=substeps,
        checkpoint=checkpoint,
        uniform=observation.uniform,
    )[burn_in:]
    return jnp.sqrt(observation.weights) * (frames - observation.frames)


class JointParameters(eqx.Module):
    """Everything the joint fit adjusts: the network's weights, the law θ and the whitened field z."""

    network: PyTree
    theta: Float[Array, " p"]
    z: Float[Array, "m n"]


class JointTerms(eqx.Module):
    """The parts of the joint loss, each a sum over pixels in units of −log likelihood."""

    blind: Float[Array, ""]
    misfit: Float[Array, ""]
    field_prior: Float[Array, ""]
    law_prior: Float[Array, ""]

    @property
    def total(self) -> Float[Array, ""]:
        """The joint loss."""
        return self.blind + self.misfit + self.field_prior + self.law_prior


def joint_terms(
    parameters: JointParameters,
    observation: Observation,
    prior: FieldPrior,
    theta_start: Float[Array, " p"],
    theta_sd: Float[Array, " p"],
    network_terms: Callable[[PyTree], tuple[Array, Array]],
    *,
    space: LawSpace,
    substeps: int,
    burn_in: int = 0,
) -> JointTerms:
    """The joint objective.

    Args:
        parameters: network weights, θ, z.
        observation: measured concentration, weights, times, grid.
        prior: of the field; its mean is replaced by the network's field.
        theta_start, theta_sd: prior of θ, [p].
        network_terms: weights -> (blind −log likelihood of the movie (sum over its valid pixels),
            denoised concentration of the first frame [y, x]); closes over array arguments only inside
            the caller's jitted function.
        space, substeps, burn_in: static settings.
    """
    blind, first = network_terms(parameters.network)
    here = eqx.tree_at(lambda p: p.mean, prior, first)
    field = here.field(parameters.z)
    residual = misfit_residual(
        space, parameters.theta, field, observation, substeps=substeps, burn_in=burn_in
    )
    return JointTerms(
        blind=blind,
        misfit=0.5 * jnp.sum(residual**2),
        field_prior=0.5 * jnp.sum(parameters.z**2),
        law_prior=0.5 * jnp.sum(((parameters.theta - theta_start) / theta_sd) ** 2),
    )

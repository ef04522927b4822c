"""One contract for every network: (context, centre frame) -> blind mean and variance, in the movie's units.

    p_blind(y_p) = N(y_p; μ_p, Σ_p + v(μ_p))        what the network is trained to maximise
    posterior    = N( (Σ⁻¹ μ + v⁻¹ y) / (Σ⁻¹ + v⁻¹),  (Σ⁻¹ + v⁻¹)⁻¹ )

μ and Σ come from everything but the hidden pixels, v is the noise variance, and the posterior brings the
pixel's own measurement back. Laine et al., NeurIPS 2019, arXiv:1901.10277.
"""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Bool, Float, PyTree

from phdenoise.denoisers.centre_blind import CentreBlind
from phdenoise.denoisers.context import TIME_REVERSED, context_weights, window_weights
from phdenoise.denoisers.region import BlindRegion
from phdenoise.denoisers.udvd import WINDOW, Udvd
from phdenoise.types import InputError, Moments, NoiseModel


class Denoiser(eqx.Module):
    """A network with the affine scale of the movie it was made for.

    Attributes:
        state: the network's parameters, a pytree of arrays (what training adjusts).
        centre, spread: intensities are fed as (y − centre)/spread; undone exactly on the way out.
        variance_scale: calibration of the predicted variance on pixels that training did not use.
        region: what is hidden; another one of the same kind may be used at prediction than in training.
    """

    state: PyTree
    centre: Float[Array, ""]
    spread: Float[Array, ""]
    variance_scale: Float[Array, ""]
    graph: Any = eqx.field(static=True)
    region: BlindRegion = eqx.field(static=True)

    def context_weights(self, present: Bool[np.ndarray, " t"]) -> Float[np.ndarray, "t k r"]:
        """Which frames each context channel averages; see `phdenoise.denoisers.context`."""
        return window_weights(present.size) if self.region.everywhen else context_weights(present)

    @property
    def time_reversed(self) -> tuple[int, ...]:
        """Order of the context channels when time runs backwards."""
        return tuple(range(WINDOW))[::-1] if self.region.everywhen else TIME_REVERSED

    def scaled(self, frames: Float[Array, "*s"]) -> Float[Array, "*s"]:
        """Intensities as the network sees them."""
        return (frames - self.centre) / self.spread

    def __call__(
        self,
        context: Float[Array, "n y x k"],
        centre: Float[Array, "n y x"],
        seen: Float[Array, "n y x"],
    ) -> Moments:
        """Blind mean and variance [intensity], of scaled context and scaled centre frames."""
        network = nnx.merge(self.graph, self.state)
        mean, sd = network(context, centre, seen, self.region)
        return Moments(
            self.centre + self.spread * mean, self.variance_scale * (self.spread * sd) ** 2
        )


def build(
    region: BlindRegion,
    *,
    width: int,
    centre: float,
    spread: float,
    seed: int,
    doubt: float = 0.2,
) -> Denoiser:
    """A fresh denoiser that hides `region`: UDVD where it is hidden in every frame, else centre-blind.

    Args:
        region: pixels that the network must not look at.
        width: channels of the network's first scale.
        centre, spread: location and scale of the movie's intensities.
        seed: of the initial weights.
        doubt: predicted standard deviation at the start, in units of `spread`.
    """
    rngs = nnx.Rngs(seed)
    network: nnx.Module
    if region.everywhen:
        network = Udvd(width=width, rngs=rngs)
    else:
        bank = 0 if region.whole_frame else 6
        network = CentreBlind(width=width, bank=bank, spread=doubt, rngs=rngs)
    graph, state = nnx.split(network)
    as_scalar = jnp.float32
    return Denoiser(
        state, as_scalar(centre), as_scalar(spread), as_scalar(1.0), graph=graph, region=region
    )


def blind_nll(blind: Moments, noisy: Float[Array, "*s"], noise: NoiseModel) -> Float[Array, "*s"]:
    """−log p_blind(y) per pixel in the Gaussian approximation of the noise."""
    # The noise level is taken as known: its gradient would let μ buy likelihood by moving v.
    variance = blind.var + jax.lax.stop_gradient(noise_variance(noise, blind))
    return 0.5 * ((noisy - blind.mean) ** 2 / variance + jnp.log(2 * jnp.pi * variance))


def posterior(blind: Moments, noisy: Float[Array, "*s"], noise: NoiseModel) -> Moments:
    """Blind prediction and own measurement combined; where `noisy` is NaN, the blind prediction.

    Each pixel's own noise is independent of its blind prediction, so this is its marginal posterior; for
    spatially correlated noise that asks for the whole centre frame to be hidden (region "frame").
    """
    own = noise_variance(noise, blind)
    weight = jnp.where(jnp.isnan(noisy), 0.0, blind.var / (blind.var + own))
    filled = jnp.where(jnp.isnan(noisy), blind.mean, noisy)
    return Moments(blind.mean + weight * (filled - blind.mean), (1 - weight) * blind.var)


def at_least(moments: Moments, bound: Float[Array, "*s"]) -> Moments:
    """The same where it lies above a bound (a saturated value), else the bound, wrong by no less than the difference."""
    mean = jnp.maximum(moments.mean, bound)
    return Moments(mean, moments.var + (mean - moments.mean) ** 2)


def noise_variance(noise: NoiseModel, blind: Moments) -> Array:
    """E[v(x)] for x ~ N(μ, Σ), by three Gauss-Hermite nodes.

    v(μ) alone would vanish where counting noise expects nothing, and the pixel would be believed blindly.
    """
    step = jnp.sqrt(3 * blind.var)
    sides = noise.variance(blind.mean - step) + noise.variance(blind.mean + step)
    return (4 * noise.variance(blind.mean) + sides) / 6


def weights_of(denoiser: Denoiser) -> dict[str, np.ndarray]:
    """The denoiser's arrays by name, for files."""
    flat = {
        "/".join(str(getattr(k, "key", getattr(k, "name", k))) for k in path): np.asarray(leaf)
        for path, leaf in jax.tree_util.tree_leaves_with_path(denoiser.state)
    }
    scales = ("centre", "spread", "variance_scale")
    return flat | {f"scale/{name}": np.asarray(getattr(denoiser, name)) for name in scales}


def from_weights(weights: dict[str, np.ndarray], region: BlindRegion, *, width: int) -> Denoiser:
    """Rebuild a denoiser from `weights_of`.

    Raises:
        InputError: the arrays do not fit the network of this region and width.
    """
    blank = build(region, width=width, centre=0.0, spread=1.0, seed=0)
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
    return eqx.tree_at(
        lambda d: (d.state, d.centre, d.spread, d.variance_scale), blank, (state, *scales)
    )

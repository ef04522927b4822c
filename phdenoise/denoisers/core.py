"""One contract for every network: (context, centre frame) -> blind mean and variance, in the movie's units.

    p_blind(y_p) = N(y_p; μ_p, Σ_p + v(μ_p))        what the network is trained to maximise
    posterior ∝ ∫ p(τ) N(x; μ, τ Σ) N(y; x, v) dτ,   of one τ: N( ((τΣ)⁻¹ μ + v⁻¹ y) / ((τΣ)⁻¹ + v⁻¹), ((τΣ)⁻¹ + v⁻¹)⁻¹ )

μ and Σ come from everything but the hidden pixels, v is the noise variance, and the posterior brings the
pixel's own measurement back; τ of mean 1 gives the prediction's error the tails that it has. Laine et al., NeurIPS 2019, arXiv:1901.10277.
Where noise lasts, prediction and measurement share some of it, with covariance C: then the measurement counts as one of y − κμ over
1 − κ, κ = C/Σ, whose noise is independent of the prediction's error.
"""

from collections.abc import Mapping
from dataclasses import replace
from functools import reduce
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Bool, Float, PyTree

from phdenoise.denoisers.centre_blind import CentreBlind
from phdenoise.denoisers.context import window_weights
from phdenoise.denoisers.counting import counts_posterior
from phdenoise.denoisers.design import Design
from phdenoise.denoisers.linear import NONE, Sharing
from phdenoise.denoisers.region import PIXEL, BlindRegion, parse_region
from phdenoise.denoisers.udvd import WINDOW, Udvd
from phdenoise.denoisers.unet import MaskedUnet, Unet
from phdenoise.movie import TAILS
from phdenoise.noise import Poisson
from phdenoise.types import InputError, Moments, NoiseModel

# Names of `Sharing` in files, where it is not that of independent noise.
_OF_NOISE = ("noise/told", "noise/folds")


class Denoiser(eqx.Module):
    """A network with the affine scale of the movie it was made for.

    Attributes:
        state: the network's parameters, a pytree of arrays (what training adjusts).
        centre, spread: intensities are fed as (y − centre)/spread; undone exactly on the way out.
        variance_scale: calibration of the predicted variance on pixels that training did not use.
        region: what is hidden; another one of the same kind may be used at prediction than in training.
        design: kind, temporal window and depth of the network.
        sharing: how the movie's noise is shared by pixels and frames.
    """

    state: PyTree
    centre: Float[Array, ""]
    spread: Float[Array, ""]
    variance_scale: Float[Array, ""]
    graph: Any = eqx.field(static=True)
    region: BlindRegion = eqx.field(static=True)
    design: Design = eqx.field(static=True, default=Design())
    sharing: Sharing = NONE

    def context_weights(self, present: Bool[np.ndarray, " t"]) -> Float[np.ndarray, "t k r"]:
        """Which frames each context channel averages; see `phdenoise.denoisers.context`."""
        if self.everywhen:
            return window_weights(present.size)
        return self.design.context_weights(present)

    @property
    def time_reversed(self) -> tuple[int, ...]:
        """Order of the context channels when time runs backwards."""
        return tuple(range(WINDOW))[::-1] if self.everywhen else self.design.time_reversed

    @property
    def everywhen(self) -> bool:
        """Whether it is a network that hides its region in every frame."""
        return self.region.everywhen and self.design.network == "blind"

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
        return self.in_units(*network(context, centre, seen, self.region))

    def in_units(self, mean: Float[Array, "*s"], sd: Float[Array, "*s"]) -> Moments:
        """Moments in the movie's units of a network's mean and standard deviation."""
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
    design: Design | None = None,
    sharing: Sharing = NONE,
    around: int = 0,
) -> Denoiser:
    """A fresh denoiser that hides `region`: UDVD where it is hidden in every frame, else centre-blind.

    A `design` may ask for a plain U-Net, which hides nothing, or a masked one instead.

    Args:
        region: pixels that the network must not look at.
        width: channels of the network's first scale.
        centre, spread: location and scale of the movie's intensities.
        seed: of the initial weights.
        doubt: predicted standard deviation at the start, in units of `spread`.
        design: kind, window and depth of the network.
        sharing: of the movie's noise.
        around: channels of a centre-blind network's part that looks around the hidden pixel.
    """
    design = Design() if design is None else design
    rngs = nnx.Rngs(seed)
    network: nnx.Module
    if design.network != "blind":
        kind = Unet if design.sees else MaskedUnet
        network = kind(design, width=width, spread=doubt, rngs=rngs)
    elif region.everywhen:
        network = Udvd(width=width, rngs=rngs)
    else:
        bank = 0 if region.whole_frame else 6
        network = CentreBlind(width=width, bank=bank, around=around, spread=doubt, rngs=rngs)
    graph, state = nnx.split(network)
    as_scalar = jnp.float32
    scales = as_scalar(centre), as_scalar(spread), as_scalar(1.0)
    return Denoiser(state, *scales, graph=graph, region=region, design=design, sharing=sharing)


def blind_nll(blind: Moments, noisy: Float[Array, "*s"], noise: NoiseModel) -> Float[Array, "*s"]:
    """−log p_blind(y) per pixel in the Gaussian approximation of the noise."""
    # The noise level is taken as known: its gradient would let μ buy likelihood by moving v.
    variance = blind.var + jax.lax.stop_gradient(noise_variance(noise, blind))
    return 0.5 * ((noisy - blind.mean) ** 2 / variance + jnp.log(2 * jnp.pi * variance))


def posterior(
    blind: Moments,
    noisy: Float[Array, "*s"],
    noise: NoiseModel,
    *,
    counts: bool = False,
    told: Array | float = 0.0,
) -> Moments:
    """Blind prediction and own measurement combined; where `noisy` is NaN, the blind prediction.

    The prediction's error is Student's t of `TAILS` degrees of freedom, a Gaussian whose variance is τ times the mean:
    where the measurement is far from the prediction, the scene did what nothing foretold, and is believed.

    Each pixel's own noise is independent of its blind prediction, so this is its marginal posterior; for
    spatially correlated noise that asks for the whole centre frame to be hidden (region "frame"). `counts` takes the
    Gamma posterior of Poisson noise rather than the Gaussian one. Of noise that lasts, the prediction's error has the
    covariance `told` with the pixel's own, in units of the noise's variance.
    """
    filled = jnp.where(jnp.isnan(noisy), blind.mean, noisy)
    if counts and isinstance(noise, Poisson):
        after = counts_posterior(blind, filled, noise)
    else:
        after = _tailed_posterior(blind, filled, noise, told)
    return Moments(*(jnp.where(jnp.isnan(noisy), b, a) for b, a in zip(blind, after, strict=True)))


def _tailed_posterior(
    blind: Moments, noisy: Float[Array, "*s"], noise: NoiseModel, told: Array | float
) -> Moments:
    """Of a blind prediction whose error has tails, and Gaussian noise."""
    away, own = noisy - blind.mean, noise_variance(noise, blind)
    # Counts above what is expected scatter more than it says.
    widest = jnp.maximum(own, noise.variance(noisy))
    shared = jnp.minimum(told * own / jnp.maximum(blind.var, jnp.finfo(away.dtype).tiny), _SHARED)
    left = 1 - shared
    away = away / left
    own, widest = ((v - shared * told * own) / left**2 for v in (own, widest))
    # Sums of elementwise terms, which need no array of all widths at once.
    wide = [tau * blind.var for tau in _WIDTHS]
    likely = [
        np.log(share) - 0.5 * (jnp.log(v + widest) + away**2 / (v + widest))
        for share, v in zip(_SHARES, wide, strict=True)
    ]
    most = reduce(jnp.maximum, likely)
    total = weight = square = within = jnp.zeros_like(away)
    for v, one in zip(wide, likely, strict=True):
        share, own_share = jnp.exp(one - most), v / (v + own)
        total += share
        weight += share * own_share
        square += share * own_share**2
        within += share * own_share * own
    weight /= total
    var = within / total + (square / total - weight**2) * away**2
    return Moments(blind.mean + weight * away, var)


def _mixture(degrees: float, count: int) -> tuple[list[float], list[float]]:
    """Variances τ of mean 1, and their shares, of the Gaussians that make up a Student's t."""
    tau = np.geomspace(0.3, 3000.0, count)
    shape, scale = degrees / 2, degrees / 2 - 1
    # Inverse gamma, per unit of log τ.
    share = tau**-shape * np.exp(-scale / tau)
    share /= share.sum()
    return (tau / (share @ tau)).tolist(), share.tolist()


_WIDTHS, _SHARES = _mixture(TAILS, 18)
# A measurement whose noise makes up more of the prediction's error tells nothing.
_SHARED = 0.95


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


def own_weight(variance: Array, blind: Moments, noise: NoiseModel) -> Array:
    """How far the mean of a posterior of some variance follows the pixel's own measurement, its derivative.

    For Gaussian noise it is that variance over the noise's, however the blind prediction's error is distributed; where that has
    tails it can be above one.
    """
    return variance / noise_variance(noise, blind)


def named_leaves(denoiser: Denoiser) -> dict[str, Array]:
    """The network's parameters by name, in the order of its tree."""
    leaves = jax.tree_util.tree_leaves_with_path(denoiser.state)
    return {leaf_name(path): leaf for path, leaf in leaves}


def leaf_name(path: tuple[Any, ...]) -> str:
    """Name of a parameter by its place in the tree, the layer's first."""
    return "/".join(str(getattr(k, "key", getattr(k, "name", k))) for k in path)


def weights_of(denoiser: Denoiser) -> dict[str, np.ndarray]:
    """The denoiser's arrays by name, for files."""
    flat = {name: np.asarray(leaf) for name, leaf in named_leaves(denoiser).items()}
    scales = ("centre", "spread", "variance_scale")
    flat |= {f"scale/{name}": np.asarray(getattr(denoiser, name)) for name in scales}
    shared = zip(_OF_NOISE, denoiser.sharing, NONE, strict=True)
    return flat | {
        name: np.asarray(own) for name, own, usual in shared if np.any(np.asarray(own) != usual)
    }


def from_weights(
    weights: dict[str, np.ndarray],
    region: BlindRegion,
    *,
    width: int,
    design: Design | None = None,
) -> Denoiser:
    """Rebuild a denoiser from `weights_of`.

    Raises:
        InputError: the arrays do not fit the network of this region and width.
    """
    shared = Sharing(
        *(weights.get(name, usual) for name, usual in zip(_OF_NOISE, NONE, strict=True))
    )
    weights = {name: array for name, array in weights.items() if name not in _OF_NOISE}
    around = next((w.shape[-1] for name, w in weights.items() if name.startswith("rings/0")), 0)
    blank = build(region, width=width, centre=0.0, spread=1.0, seed=0, design=design, around=around)
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
    """Rebuild the denoiser of an estimate from its weights and settings.

    Raises:
        InputError: they do not fit each other.
    """
    design = design_of(settings)
    region = PIXEL if design.sees else parse_region(str(settings["region"]))
    return from_weights(dict(weights), region, width=int(settings["width"]), design=design)


def design_of(settings: Mapping[str, Any]) -> Design:
    """The design of an estimate's network; of one that does not say, the blind one."""
    names = ("network", "window", "depth")
    if str(settings.get("network", "auto")) == "auto" or settings.get("window") is None:
        return Design()
    network, window, depth = (settings[n] for n in names)
    return Design(str(network), int(window), int(depth))  # type: ignore[arg-type]

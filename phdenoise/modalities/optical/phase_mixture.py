"""Phases from colour: a Gaussian mixture along the line of colours, with each pixel's own uncertainty.

    y_i ~ Σⱼ wⱼ N( m(xⱼ), V + S_i ),   m(x) piecewise linear through the colours M_k of the phases

S_i is the covariance that the denoiser (or the camera) gives pixel i, so the mixture is that of the scene, not of its
noise; V is what colours scatter within a phase. The nodes xⱼ include the phases and points between them: a pixel on
a front is a mixture of two phases and belongs to neither colour. Colours, weights and scatter come by expectation
maximisation, in which the step for M is a weighted regression. P(phase) is the share of the nodes that are nearest to
it in x, and it becomes less certain as S_i grows. Bovy, Hogg & Roweis, Ann. Appl. Stat. 5, 1657 (2011),
doi:10.1214/10-AOAS439.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from scipy.cluster.vq import kmeans2
from scipy.special import logsumexp

from phdenoise.types import InputError

# Pixels that the mixture is fitted to, at random; they bound the time, and give variances to 2 % (√(2/4000)).
_MOST_PIXELS = 4000
# Iterations of expectation maximisation; they bound the time, and the result says where it had not settled.
MOST_ITERATIONS = 300
# Nodes between two phases: mixtures of two phases in a pixel are resolved to a sixth of the step between them.
_NODES_BETWEEN = 5
# Change of a colour in an iteration below which it has settled [sd of all colours]; far below the error of a mean of 4000
# pixels, 0.016.
_SETTLED = 3e-4
# Largest eigenvalue of the colours' covariance over that of the noise from which on the colours differ: from the fewest
# pixels allowed, a variance is known to 0.2 (√(2/50)).
_CONTRAST = 1.2
# Fewest pixels for each phase.
_LEAST_PIXELS = 50


class Phase(NamedTuple):
    """A phase by name, lithium fraction x in Li_x C6, and colour under white light."""

    name: str
    fraction: float
    colour: str


# Graphite turns from dark to red (LiC12) to gold (LiC6): Guo et al., J. Phys. Chem. Lett. 7, 2151 (2016),
# doi:10.1021/acs.jpclett.6b00625.
GRAPHITE_PHASES = (
    Phase("dilute", 0.0, "dark grey-blue"),
    Phase("stage 2", 0.5, "red"),
    Phase("stage 1", 1.0, "gold"),
)


class PhaseMixture(NamedTuple):
    """The mixture.

    Attributes:
        colours: M_k [phase, c].
        covariance: of each colour [phase, c, c].
        nodes, weights: xⱼ and wⱼ [node].
        scatter: V [c, c].
        iterations: of the fit; `MOST_ITERATIONS` where it had not settled.
        top: x of the last phase.
    """

    colours: np.ndarray
    covariance: np.ndarray
    nodes: np.ndarray
    weights: np.ndarray
    scatter: np.ndarray
    iterations: int
    top: float = 1.0

    @property
    def fractions(self) -> np.ndarray:
        """x of the phases [phase]."""
        return np.linspace(0, self.top, len(self.colours))

    @property
    def shares(self) -> np.ndarray:
        """Share of the pixels that belong to each phase [phase]."""
        return _membership(self.nodes, len(self.colours)) @ self.weights


class PhaseMaps(NamedTuple):
    """What colour says of every pixel.

    Attributes:
        probability: of each phase [phase, ...], summing to one.
        fraction, sd: x and its posterior standard deviation [...].
    """

    probability: np.ndarray
    fraction: np.ndarray
    sd: np.ndarray


def fit_phases(
    colour: Float[np.ndarray, "n c"],
    covariance: Float[np.ndarray, "n c c"],
    phases: int = 3,
    *,
    start: Float[np.ndarray, "phase c"] | None = None,
    top: float = 1.0,
    seed: int = 0,
) -> PhaseMixture:
    """Fit the mixture to pixels.

    Args:
        colour: of pixels inside particles; at most 4000 of them are used, at random.
        covariance: S_i.
        phases: how many, 2 or more, evenly spaced in x; the darkest is x = 0, the brightest the last.
        start: colours to begin with, in the order of x.
        top: x of the last phase.
        seed: of the choice of pixels and of the start.

    Returns:
        Colours, weights and scatter.

    Raises:
        InputError: too few pixels or channels, or no difference in colour beyond the noise.
    """
    channels = colour.shape[1]
    if channels < 2 or phases < 2:
        raise InputError(
            f"Phases are told apart by colour: {phases} phases and {channels} channel(s) given, 2 or more of each needed."
        )
    good = np.isfinite(colour).all(axis=1) & np.isfinite(covariance).all(axis=(1, 2))
    if good.sum() < _LEAST_PIXELS * phases:
        raise InputError(
            f"{int(good.sum())} pixels are too few for {phases} phases: is the foreground right?"
        )
    random = np.random.default_rng(seed)
    chosen = random.permutation(np.nonzero(good)[0])[:_MOST_PIXELS]
    y, s = colour[chosen].astype(float), covariance[chosen].astype(float)
    if start is None:
        start, _ = kmeans2(y, phases, minit="++", rng=random)
        start = start[np.argsort(start.sum(axis=1))]
    m = np.asarray(start, float)
    total = np.cov(y.T)
    noise = s.mean(axis=0)
    if not np.linalg.eigvalsh(total)[-1] > _CONTRAST * np.linalg.eigvalsh(noise)[-1]:
        raise InputError(
            "The colours of the particles differ by no more than their noise: no phases can be told apart; denoise "
            "longer, or choose the foreground."
        )
    nodes = np.linspace(0, 1, (phases - 1) * (_NODES_BETWEEN + 1) + 1)
    mix = _barycentric(nodes, phases)
    at_phase = np.isclose(mix.max(axis=1), 1)
    weights = np.where(at_phase, 1.0, 0.1)
    weights /= weights.sum()
    v = 0.02 * total
    before, iterations = m, 0
    information = np.eye(m.size)
    while iterations < MOST_ITERATIONS:
        iterations += 1
        precision = np.linalg.inv(s + v)
        log, residual = _log_joint(y, precision, m, mix, weights)
        evidence = logsumexp(log, axis=1)
        share = np.exp(log - evidence[:, None])
        pulled = share @ mix
        grams = np.einsum("nj,jk,jl->nkl", share, mix, mix, optimize=True)
        information = np.einsum("nkl,nab->kalb", grams, precision, optimize=True)
        information = information.reshape(m.size, -1)
        drawn = np.einsum("nk,nab,nb->ka", pulled, precision, y, optimize=True).ravel()
        m = np.linalg.solve(information, drawn).reshape(m.shape)
        gain = v @ precision
        shift = np.einsum("nab,njb->nja", gain, residual, optimize=True)
        spread = np.einsum("nj,nja,njb->ab", share, shift, shift, optimize=True) / len(y)
        v = _symmetric(spread + v - v @ precision.mean(axis=0) @ v, np.trace(total))
        weights = np.maximum(share.mean(axis=0), 1e-6)
        weights /= weights.sum()
        if np.abs(m - before).max() < _SETTLED * np.sqrt(np.trace(total)):
            break
        before = m
    cov = np.linalg.inv(information).reshape(phases, channels, phases, channels)
    return PhaseMixture(m, np.einsum("kakb->kab", cov), nodes, weights, v, iterations, top)


def _symmetric(v: np.ndarray, scale: float) -> np.ndarray:
    """A covariance without its rounding, positive definite at the given scale."""
    return 0.5 * (v + v.T) + 1e-6 * scale * np.eye(len(v))


def classify_colours(
    mixture: PhaseMixture,
    colour: Float[np.ndarray, "n c"],
    covariance: Float[np.ndarray, "n c c"],
) -> PhaseMaps:
    """Phase probabilities and lithium fraction of pixels, NaN where the colour is.

    Args:
        mixture: fitted to this scene, noisy or denoised.
        colour: [n, c].
        covariance: its covariance S_i; the more there is, the nearer the probabilities are to the shares.

    Returns:
        Probability of each phase [phase, n], x and its sd [n].
    """
    mix = _barycentric(mixture.nodes, len(mixture.colours))
    precision = np.linalg.inv(covariance + mixture.scatter)
    log, _ = _log_joint(colour, precision, mixture.colours, mix, mixture.weights)
    share = np.exp(log - logsumexp(log, axis=1, keepdims=True))
    x = mixture.top * mixture.nodes
    mean = share @ x
    second = share @ x**2
    probability = _membership(mixture.nodes, len(mixture.colours)) @ share.T
    return PhaseMaps(probability, mean, np.sqrt(np.maximum(second - mean**2, 0)))


def overlap(mixture: PhaseMixture, covariance: Float[np.ndarray, "c c"]) -> np.ndarray:
    """Bhattacharyya coefficient of neighbouring phases: 1 is no difference, 0 is no overlap.

    Args:
        mixture: with the colours and their scatter.
        covariance: of the noise of a pixel [counts²].

    Returns:
        Coefficient of each pair of neighbours [phase − 1].
    """
    steps = np.diff(mixture.colours, axis=0)
    inverse = np.linalg.inv(mixture.scatter + covariance)
    return np.exp(-np.einsum("ka,ab,kb->k", steps, inverse, steps) / 8)


def _barycentric(nodes: np.ndarray, phases: int) -> np.ndarray:
    """Share of each phase in the colour of a node [node, phase]."""
    knots = np.linspace(0, 1, phases)
    return np.stack([np.interp(nodes, knots, row) for row in np.eye(phases)], axis=-1)


def _membership(nodes: np.ndarray, phases: int) -> np.ndarray:
    """1 for the phase nearest in x [phase, node]; a node half way counts half for each."""
    away = np.abs(nodes - np.linspace(0, 1, phases)[:, None])
    nearest = np.isclose(away, away.min(axis=0), atol=1e-9).astype(float)
    return nearest / nearest.sum(axis=0)


def _log_joint(
    y: np.ndarray, precision: np.ndarray, m: np.ndarray, mix: np.ndarray, weights: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """ln wⱼ N(y_i; m(xⱼ), S_i + V) [n, node], and the residuals [n, node, c]."""
    residual = y[:, None, :] - (mix @ m)[None]
    square = np.einsum("nja,nab,njb->nj", residual, precision, residual, optimize=True)
    constant = 0.5 * np.linalg.slogdet(precision)[1][:, None] - 0.5 * y.shape[1] * np.log(2 * np.pi)
    return np.log(weights)[None] + constant - 0.5 * square, residual

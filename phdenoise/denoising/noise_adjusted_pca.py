"""Channels turned into components that a denoiser of single movies can take one by one, and back.

    u = R (y − ȳ),     R N Rᵀ = 1,     R S Rᵀ = diag(λ₁ ≥ λ₂ ≥ …)         N noise, S signal covariance of the channels

Every component has white noise of unit variance, components are uncorrelated, and λ is the signal in units of the
noise. Signal that all channels share is in the first component, with the noise of their best weighted sum. Blind predictions
μ_u ± σ_u are transformed back with their covariance and combined with all measurements of the pixel,

    Σ = W diag(σ_u) ρ_u diag(σ_u) Wᵀ,   W = R⁻¹,      x̂ = μ + Σ (Σ + V)⁻¹ (y − μ),   cov = Σ − Σ (Σ + V)⁻¹ Σ

with the noise V of each pixel, so that counting noise needs no transform and intensities stay unbiased. Noise-adjusted
principal components: Green et al., IEEE Trans. Geosci. Remote Sens. 26, 65 (1988), doi:10.1109/36.3001.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float
from scipy import ndimage, special

from phdenoise.networks.context import context_weights
from phdenoise.networks.linear_filter import apply_linear, fit_linear

# Largest correlation of two components' errors, so that their covariance can be inverted.
_MOST_CORRELATED = 0.95
# Widths of the Gaussians through which signal is searched [px], from single pixels to objects of ten; the middle one bounds the
# signal where none is found.
_BLURS = (0.0, 1.5, 4.0)
# Significance of the power and of the largest value [sd]: by chance, less than one in a thousand movies exceeds them.
_SIGNIFICANT_POWER, _SIGNIFICANT_PEAK = 3.5, 6.0
# Variance of a value that was not measured, in units of the channel's noise: its weight is zero in double precision's half.
_UNMEASURED = 1e8
# Correlations of errors of less than so many standard errors count as zero.
_SIGNIFICANT_CORRELATION = 4
# Quantile of the levels at which a component's noise line starts: nearly the lowest, and no outlier.
_LOW_QUANTILE = 1e-3
# A noise variance that changes by less than this share over the component's levels is constant.
_FLAT_NOISE = 0.05


class Mixing(NamedTuple):
    """Linear map between channels and components.

    Attributes:
        into: R [k, c].
        back: W = R⁻¹ [c, k].
        centre: ȳ [c].
        power: signal variance of each component in units of its noise's [k], largest first.
    """

    into: Float[np.ndarray, "k c"]
    back: Float[np.ndarray, "c k"]
    centre: Float[np.ndarray, " c"]
    power: Float[np.ndarray, " k"]

    def components(self, frames: Float[np.ndarray, "c t y x"]) -> Float[np.ndarray, "k t y x"]:
        """u = R (y − ȳ)."""
        centred = frames - self.centre[:, None, None, None]
        return np.tensordot(self.into, centred, axes=1)

    def channels(self, components: Float[np.ndarray, "k t y x"]) -> Float[np.ndarray, "c t y x"]:
        """ȳ + W u."""
        return self.centre[:, None, None, None] + np.tensordot(self.back, components, axes=1)


def principal(
    frames: Float[np.ndarray, "c t y x"],
    valid: Bool[np.ndarray, "t y x"],
    noise: Float[np.ndarray, "c c"],
) -> Mixing:
    """Components of white noise and uncorrelated signal.

    Args:
        frames: measured channels, finite where valid.
        valid: pixels that every channel has.
        noise: mean noise covariance of the channels.

    Returns:
        The map, components in order of their signal.
    """
    centre, signal = _signal(frames, valid, noise)
    root = np.linalg.cholesky(noise)
    half = np.linalg.solve(root, signal)
    power, vectors = np.linalg.eigh(np.linalg.solve(root, half.T))
    power, vectors = power[::-1], vectors[:, ::-1]
    back = root @ vectors
    # Positive is where most channels are bright, whatever their order and units.
    sign = np.where((back / np.sqrt(np.diag(noise))[:, None]).sum(0) < 0, -1.0, 1.0)
    into = vectors.T @ np.linalg.inv(root)
    return Mixing(sign[:, None] * into, back * sign, centre, np.maximum(power, 0.0))


def separate(
    frames: Float[np.ndarray, "c t y x"],
    valid: Bool[np.ndarray, "t y x"],
    noise: Float[np.ndarray, "c c"],
) -> Mixing:
    """The channels themselves in units of their noise.

    Args:
        frames, valid, noise: as in `principal`.

    Returns:
        The map, a component for each channel.
    """
    centre, signal = _signal(frames, valid, noise)
    sd = np.sqrt(np.diag(noise))
    return Mixing(np.diag(1 / sd), np.diag(sd), centre, np.maximum(np.diag(signal) / sd**2, 0.0))


def _signal(
    frames: np.ndarray, valid: np.ndarray, noise: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Mean of the channels, and their covariance without the noise's."""
    values = frames[:, valid].astype(np.float64)
    centre = values.mean(axis=1)
    values -= centre[:, None]
    return centre, values @ values.T / values.shape[1] - noise


def predictability(
    mixing: Mixing,
    frames: Float[np.ndarray, "c t y x"],
    valid: Bool[np.ndarray, "t y x"],
) -> float:
    """How well the other frames predict a frame, of all channels together.

        ½ log det cov(y − L(u))

    L is the best blind linear filter of each component, in closed form. The determinant does not depend on the
    basis, so that two maps of the same movie can be compared.

    Args:
        mixing: map to the components.
        frames: measured channels, finite where valid.
        valid: pixels that every channel has.

    Returns:
        The log; less is better.
    """
    weights = context_weights(np.any(valid, axis=(1, 2)))
    residual = []
    for u in mixing.components(frames):
        filled = np.where(valid, u, 0.0)
        scale = filled[valid].std()
        coefficients = fit_linear(filled / scale, weights, valid)[-1:]
        reach = weights.shape[2] // 2
        padded = np.pad(filled / scale, ((reach, reach), (0, 0), (0, 0)))
        found = scale * apply_linear(padded, weights, coefficients)[:, 0]
        residual.append((filled - found)[valid])
    cov = mixing.back @ np.atleast_2d(np.cov(np.stack(residual))) @ mixing.back.T
    return float(np.linalg.slogdet(cov)[1] / 2)


def signal_power(
    component: Float[np.ndarray, "t y x"], valid: Bool[np.ndarray, "t y x"]
) -> tuple[float, bool]:
    """How much signal a component may hold, and whether it holds any that can be told from noise.

    Successive frames, blurred, share the signal and not the noise: their mean product is its power. What is small and
    bright shows in the largest value instead.

    Args:
        component: of zero mean.
        valid: pixels to judge on.

    Returns:
        Expected power, which is positive however negative its estimate; True where signal was found. A single frame
        tells nothing: its variance, and True.
    """
    data = np.where(valid, component, 0.0).astype(np.float64)
    if len(data) < 2:
        return float(np.mean(data[valid] ** 2)), True
    expected, found = [], False
    for scale in _BLURS:
        s = ndimage.gaussian_filter(data, (0, scale, scale), mode="reflect") if scale else data
        power, sd = _mean_of_blocks(s[1:] * s[:-1])
        found = found or power > _SIGNIFICANT_POWER * sd
        # Mean of a normal distribution of which only the positive part is possible.
        z = max(power / max(sd, np.finfo(float).tiny), -8.0)
        density = np.exp(-z * z / 2) / np.sqrt(2 * np.pi)
        expected.append(sd * float(z + density / special.ndtr(z)))
    blurred = ndimage.gaussian_filter(data, (1.0, 1.5, 1.5), mode="reflect")
    for seen in (blurred, blurred.mean(axis=0)):
        spread = 1.4826 * float(np.median(np.abs(seen - np.median(seen))))
        found = found or float(np.abs(seen).max()) > _SIGNIFICANT_PEAK * spread
    return (max(expected) if found else expected[1]), found


def _mean_of_blocks(values: np.ndarray, side: int = 16) -> tuple[float, float]:
    """Mean and its standard deviation from the scatter of blocks, in which neighbours may correlate."""
    ny, nx = values.shape[1:]
    rows, columns = (np.arange(0, n, side) for n in (ny, nx))
    sums = np.add.reduceat(np.add.reduceat(values, rows, axis=1), columns, axis=2)
    height, width = (np.diff(np.append(a, n)) for a, n in ((rows, ny), (columns, nx)))
    blocks = (sums / np.outer(height, width)).ravel()
    return float(values.mean()), float(blocks.std(ddof=1) / np.sqrt(blocks.size))


def component_noise(
    mixing: Mixing,
    frames: Float[np.ndarray, "c t y x"],
    valid: Bool[np.ndarray, "t y x"],
    variance: Float[np.ndarray, "c t y x"],
    rho: Float[np.ndarray, "c c"],
) -> list[tuple[float, float, float]]:
    """Noise variance of each component as a straight line of its own level.

    Args:
        mixing: of the channels.
        frames: smooth channels.
        valid: pixels to judge on.
        variance: noise variance of the channels there.
        rho: noise correlation of the channels.

    Returns:
        (slope, level, variance at that level) each; the level is nearly the lowest one. A slope of zero where the
        component's level tells nothing.
    """
    sd = np.sqrt(variance[:, valid])
    levels = mixing.components(frames)[:, valid]
    lines = []
    for row, u in zip(mixing.into, levels, strict=True):
        share = row[:, None] * sd
        v = np.sum(share * (rho @ share), axis=0)
        level, mean = float(np.quantile(u, _LOW_QUANTILE)), float(v.mean())
        spread = float(u.var())
        slope = float(np.mean((u - u.mean()) * (v - mean))) / spread if spread > 0 else 0.0
        if abs(slope) * np.sqrt(spread) < _FLAT_NOISE * mean:
            lines.append((0.0, level, mean))
            continue
        if slope < 0:
            level = float(np.quantile(u, 1 - _LOW_QUANTILE))
        at_level = mean + slope * (level - float(u.mean()))
        lines.append((slope, level, max(at_level, 0.5 * float(v.min()))))
    return lines


def smooth(
    frames: Float[np.ndarray, "c t y x"], valid: Bool[np.ndarray, "t y x"]
) -> Float[np.ndarray, "c t y x"]:
    """Averages over a few pixels and frames, at which the noise variance is evaluated.

    Args:
        frames: channels [intensity].
        valid: pixels that count.

    Returns:
        The averages [intensity].
    """

    def blur(a: np.ndarray) -> np.ndarray:
        return ndimage.gaussian_filter(a.astype(np.float64), (1.0, 1.5, 1.5), mode="nearest")

    weight = np.maximum(blur(valid), 1e-6)
    return np.stack([blur(np.where(valid, f, 0.0)) / weight for f in frames])


def error_correlation(
    residual: Float[np.ndarray, "k n"],
    blind_variance: Float[np.ndarray, " k"],
    noise: Float[np.ndarray, "k k"],
) -> Float[np.ndarray, "k k"]:
    """Correlation of the errors of the components' blind predictions, zero where it is not significant.

    Args:
        residual: measured minus predicted component.
        blind_variance: mean predicted variance of each.
        noise: mean noise covariance of the components.

    Returns:
        The correlation, its eigenvalues positive.
    """
    count = residual.shape[1]
    total = residual @ residual.T / count
    scale = np.sqrt(np.outer(blind_variance, blind_variance))
    found = (total - noise) / scale
    chance = np.sqrt(np.outer(np.diag(total), np.diag(total)) / count) / scale
    found = np.where(
        np.abs(found) > _SIGNIFICANT_CORRELATION * chance,
        np.clip(found, -_MOST_CORRELATED, _MOST_CORRELATED),
        0.0,
    )
    np.fill_diagonal(found, 1.0)
    value, vector = np.linalg.eigh(found)
    found = (vector * np.maximum(value, 1 - _MOST_CORRELATED)) @ vector.T
    size = np.sqrt(np.diag(found))
    return found / np.outer(size, size)


def joint_posterior(
    blind: Float[np.ndarray, "c n"],
    covariance: Float[np.ndarray, "n c c"],
    noisy: Float[np.ndarray, "c n"],
    variance: Float[np.ndarray, "c n"],
    rho: Float[np.ndarray, "c c"],
) -> tuple[Float[np.ndarray, "c n"], Float[np.ndarray, "n c c"]]:
    """Combine blind predictions of all channels with the pixel's own measurements.

    Args:
        blind: blind means.
        covariance: of the blind means' errors, Σ.
        noisy: measurements, NaN where there is none.
        variance: noise variance of each.
        rho: noise correlation of the channels.

    Returns:
        Mean [intensity] and covariance [intensity²] of each pixel.
    """
    missing = np.isnan(noisy)
    sd = np.where(missing, 0.0, np.sqrt(variance)).T
    noise = sd[:, :, None] * rho * sd[:, None, :]
    noise += np.eye(len(blind)) * (np.where(missing, _UNMEASURED * variance, 0.0).T)[:, :, None]
    innovation = np.where(missing, 0.0, noisy - blind).T
    gain = np.linalg.solve(covariance + noise, covariance)
    mean = blind + np.einsum("nij,ni->jn", gain, innovation)
    left = covariance - np.einsum("nij,njk->nik", covariance, gain)
    return mean, (left + left.transpose(0, 2, 1)) / 2

"""What one version of the radiographs, measured or denoised, gives: net counts, lithium, profile, collector.

    N = (I − DF − S)/D,   Δc = −ln(N/N₀)/(σ N_A d),   var Δc = [ var N/N² + var N₀/N₀² + var D/D² ]/(σ N_A d)²

Errors of measured pixels are independent; those of denoised ones are correlated as the denoiser's own bootstrap tells
(`phdenoise.uncertainty.error_correlation`), and common to all that is averaged where that is not known.
"""

from dataclasses import dataclass
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np

from phdenoise.modalities.line_profile import Line, line_profile, sampling
from phdenoise.modalities.neutron.config import NeutronConfig, line_of
from phdenoise.modalities.neutron.corrections import ring_gain
from phdenoise.modalities.neutron.radiograph import Calibration
from phdenoise.movie import Movie
from phdenoise.observation.lithium_change import LithiumChange
from phdenoise.uncertainty.error_correlation import ErrorCorrelation, mean_of_series

# Least mean of counts whose logarithm is taken, as a share of the highest at rest.
_LEAST_COUNTS = 1e-6


class Track(NamedTuple):
    """A quantity along time, or along time and distance, with its sd."""

    value: np.ndarray
    sd: np.ndarray


@dataclass(frozen=True)
class Version:
    """What one version of the movie (measured or denoised) gives.

    Attributes:
        net: N, counts at dose 1 without dark and scatter, and sd [t, y, x].
        change: Δc since rest [mol/cm³] [t, y, x].
        transmission: T where there is an open beam, [t, y, x].
        profile: Δc along the line [t, s] [mol/cm³].
        collector: mean Δc in the collector's box [t] [mol/cm³].
        variability: noise-induced, of Δc [mol/cm³]: over frames at rest, over pixels of the uniform box.
    """

    net: Track
    change: Track
    transmission: Track | None
    profile: Track
    collector: Track | None
    variability: dict[str, float]


def quantities(
    counts: np.ndarray,
    variance: np.ndarray,
    corrections: Calibration,
    cal: Calibration | None,
    dose: Track,
    config: NeutronConfig,
    errors: ErrorCorrelation | None,
    movie: Movie,
) -> Version:
    """All quantities of one version of the counts.

    Args:
        counts: at dose 1, NaN where not valid [t, y, x].
        variance: of the counts [t, y, x] [counts²].
        corrections: dark field and scatter.
        cal: open beam too, where there is one; without it no transmission is given.
        dose: of each frame relative to the open beam, and sd [t].
        config: of the chain.
        errors: how those of pixels are correlated; None where it is not known, and averages are as uncertain as pixels.
        movie: with pixel size and times.

    Returns:
        Net counts, lithium, profile, collector and variability.
    """
    d = dose.value[:, None, None]
    net = counts - np.asarray(corrections.dark)[None] / d - np.asarray(corrections.scatter)[None]
    sd = np.sqrt(variance)
    through = None
    if cal is not None:
        t, var = cal.transmission(
            counts * d, dose.value, dose_variance=dose.sd**2, variance=variance * d**2
        )
        through = Track(np.asarray(t, float), np.sqrt(np.asarray(var, float)))
        if config.rings:
            gain = ring_gain(through.value, through.sd**2)
            net, sd = net / gain, sd / gain
            through = Track(through.value / gain, through.sd / gain)
    rest = slice(0, config.rest)
    dose_part = (dose.sd / dose.value)[:, None]
    first, first_sd = _mean(net[rest], sd[rest], errors.of_frames(config.rest) if errors else 1.0)
    instrument = LithiumChange(
        reference=jnp.asarray(first),
        dark=jnp.zeros_like(jnp.asarray(first)),
        thickness=jnp.asarray(config.thickness),
        reference_variance=jnp.asarray(first_sd**2),
        cross_section=config.sigma,
    )
    mean, var = instrument.quantify(jnp.asarray(net), jnp.asarray(sd**2))
    spread = jnp.sqrt(var + jnp.asarray(dose_part[..., None] / config.scale) ** 2)
    change = Track(np.asarray(mean, float), np.asarray(spread, float))
    line, _ = line_of(movie, config)
    along = line_profile(net, sd, line, errors=errors)
    shared = 1.0 if errors is None else mean_of_series(errors.of_mean(_cross_section(line, net.shape[1:])), config.rest)  # fmt: skip
    profile = _log_change(
        Track(np.asarray(along.value), np.asarray(along.sd)), dose_part, config, shared
    )
    variability = {"over frames at rest": _over_frames(change.value[rest])}
    if config.uniform is not None:
        a, b, c, e = config.uniform
        variability["over pixels of the uniform box"] = _over_pixels(change.value[:, a:b, c:e])
    collector = None
    if config.collector is not None:
        a, b, c, e = config.collector
        level, level_sd, shared = _mean_box(net[:, a:b, c:e], sd[:, a:b, c:e], errors, config.rest)
        track = _log_change(Track(level[:, None], level_sd[:, None]), dose_part, config, shared)
        collector = Track(track.value[:, 0], track.sd[:, 0])
    return Version(Track(net, sd), change, through, profile, collector, variability)


def _log_change(net: Track, dose_part: np.ndarray, config: NeutronConfig, shared: float) -> Track:
    """Δc [t, s] of averaged net counts; `shared`: variance of a mean over the frames at rest, over that of one frame."""
    first, first_sd = _mean(net.value[: config.rest], net.sd[: config.rest], shared)
    scale = config.scale
    floor = _LEAST_COUNTS * np.nanmax(first)
    ratio = np.maximum(net.value, floor) / np.maximum(first, floor)[None]
    relative = (net.sd / np.maximum(net.value, floor)) ** 2 + (first_sd / np.maximum(first, floor)) ** 2  # fmt: skip
    return Track(-np.log(ratio) / scale, np.sqrt(relative + dose_part**2) / scale)


def _mean(values: np.ndarray, sd: np.ndarray, shared: float) -> tuple[np.ndarray, np.ndarray]:
    """Mean over the first axis of what is finite, and its sd: `shared` times the mean variance, more where values are missing."""
    ok = np.isfinite(values) & np.isfinite(sd)
    n = np.maximum(ok.sum(0), 1)
    mean = np.where(ok, values, 0).sum(0) / n
    variance = np.where(ok, sd**2, 0).sum(0) / n
    part = np.minimum(shared * len(values) / n, 1.0)
    return np.where(ok.any(0), mean, np.nan), np.sqrt(part * variance)


def _mean_box(
    values: np.ndarray, sd: np.ndarray, errors: ErrorCorrelation | None, rest: int
) -> tuple[np.ndarray, np.ndarray, float]:
    """Mean of a box [t] and its sd; variance of its mean over the frames at rest, over that of one frame."""
    flat, flat_sd = (a.reshape(len(a), -1).T for a in (values, sd))
    if errors is None:
        return *_mean(flat, flat_sd, 1.0), 1.0
    size = values.shape[1:]
    rho = errors.of_mean(np.full(size, 1 / np.prod(size)))
    return *_mean(flat, flat_sd, float(rho[0])), mean_of_series(rho, rest)


def _cross_section(line: Line, shape: tuple[int, ...]) -> np.ndarray:
    """Weights of the pixels that make the middle of a line [y, x]."""
    take = sampling((shape[0], shape[1]), line, (1.0, 1.0))
    middle = len(take.pixels) // 2
    weights = np.zeros(shape)
    np.add.at(weights.reshape(-1), take.pixels[middle], take.weight[middle])
    return weights


def _over_frames(change: np.ndarray) -> float:
    """sd over frames at rest after a common drift is removed, rms over pixels; nan for one frame."""
    if len(change) < 2:
        return float("nan")
    left = change - np.nanmedian(change, axis=(1, 2), keepdims=True)
    return float(np.sqrt(np.nanmean(np.nanvar(left, axis=0, ddof=1))))


def _over_pixels(change: np.ndarray) -> float:
    """sd over the pixels of each frame, rms over frames."""
    return float(np.sqrt(np.nanmean(np.nanvar(change, axis=(1, 2), ddof=1))))

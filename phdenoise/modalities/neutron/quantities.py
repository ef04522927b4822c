"""What one version of the radiographs, measured or denoised, gives: net counts, lithium, profile, collector.

    N = (I − DF − S)/D,   Δc = −ln(N/N₀)/(σ N_A d),   var Δc = [ var N/N² + var N₀/N₀² + var D/D² ]/(σ N_A d)²

Errors of measured pixels are independent; those of denoised ones are taken as common to all that is averaged,
which bounds the error of the mean from above.
"""

from dataclasses import dataclass
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np

from phdenoise.modalities.line_profile import line_profile
from phdenoise.modalities.neutron.config import NeutronConfig, line_of
from phdenoise.modalities.neutron.corrections import ring_gain
from phdenoise.modalities.neutron.radiograph import Calibration
from phdenoise.movie import Movie
from phdenoise.observation.lithium_change import LithiumChange

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
    independent: bool,
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
        independent: True where errors of pixels are independent, as measured ones are.
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
    first, first_sd = _mean(net[rest], sd[rest], independent)
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
    along = line_profile(net, sd, line, independent=independent)
    profile = _log_change(Track(np.asarray(along.value), np.asarray(along.sd)), dose_part, config, independent)  # fmt: skip
    variability = {"over frames at rest": _over_frames(change.value[rest])}
    if config.uniform is not None:
        a, b, c, e = config.uniform
        variability["over pixels of the uniform box"] = _over_pixels(change.value[:, a:b, c:e])
    collector = None
    if config.collector is not None:
        a, b, c, e = config.collector
        means = _mean_box(net[:, a:b, c:e], sd[:, a:b, c:e], independent)
        track = _log_change(Track(means[0][:, None], means[1][:, None]), dose_part, config, independent)  # fmt: skip
        collector = Track(track.value[:, 0], track.sd[:, 0])
    return Version(Track(net, sd), change, through, profile, collector, variability)


def _log_change(
    net: Track, dose_part: np.ndarray, config: NeutronConfig, independent: bool
) -> Track:
    """Δc [t, s] of averaged net counts."""
    first, first_sd = _mean(net.value[: config.rest], net.sd[: config.rest], independent)
    scale = config.scale
    floor = _LEAST_COUNTS * np.nanmax(first)
    ratio = np.maximum(net.value, floor) / np.maximum(first, floor)[None]
    relative = (net.sd / np.maximum(net.value, floor)) ** 2 + (first_sd / np.maximum(first, floor)) ** 2  # fmt: skip
    return Track(-np.log(ratio) / scale, np.sqrt(relative + dose_part**2) / scale)


def _mean(values: np.ndarray, sd: np.ndarray, independent: bool) -> tuple[np.ndarray, np.ndarray]:
    """Mean over the first axis of what is finite, and its sd."""
    ok = np.isfinite(values) & np.isfinite(sd)
    n = np.maximum(ok.sum(0), 1)
    mean = np.where(ok, values, 0).sum(0) / n
    total = np.where(ok, sd**2, 0).sum(0)
    return np.where(ok.any(0), mean, np.nan), np.sqrt(total) / (n if independent else np.sqrt(n))


def _mean_box(
    values: np.ndarray, sd: np.ndarray, independent: bool
) -> tuple[np.ndarray, np.ndarray]:
    flat, flat_sd = (a.reshape(len(a), -1).T for a in (values, sd))
    return _mean(flat, flat_sd, independent)


def _over_frames(change: np.ndarray) -> float:
    """sd over frames at rest after a common drift is removed, rms over pixels; nan for one frame."""
    if len(change) < 2:
        return float("nan")
    left = change - np.nanmedian(change, axis=(1, 2), keepdims=True)
    return float(np.sqrt(np.nanmean(np.nanvar(left, axis=0, ddof=1))))


def _over_pixels(change: np.ndarray) -> float:
    """sd over the pixels of each frame, rms over frames."""
    return float(np.sqrt(np.nanmean(np.nanvar(change, axis=(1, 2), ddof=1))))

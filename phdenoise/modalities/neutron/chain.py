"""Neutron radiographs of a cell at work: counts -> lithium, profiles, transport, accumulation. No files here.

    counts -> spots out -> dose -> denoised -> net counts N = (I − DF − S)/D -> Δc = −ln(N/N₀)/(σ N_A d)

Everything is computed twice, from the frames as measured and from the denoised ones, so that what denoising
did can be judged. Profiles average counts before the logarithm, which would turn noise into bias.
"""

from dataclasses import dataclass, replace

import jax.numpy as jnp
import numpy as np
from scipy import ndimage

from phdenoise.denoising import denoise
from phdenoise.learn.line_transport import ProfileData, ProfileFit, fit_profile
from phdenoise.modalities.neutron.config import NeutronConfig, check_config, line_of
from phdenoise.modalities.neutron.corrections import spots
from phdenoise.modalities.neutron.quantities import Track, Version, quantities
from phdenoise.modalities.neutron.radiograph import Calibration, dose_of
from phdenoise.modalities.plausibility import Limits, impossible
from phdenoise.modalities.settings import box_mask
from phdenoise.movie import Estimate, Movie
from phdenoise.noise.estimate import estimate_noise
from phdenoise.types import InputError, Progress
from phdenoise.uncertainty.error_correlation import INDEPENDENT, ErrorCorrelation, no_worse

# Places along an electrode between which sources may be shared, and knots in time where no current is known: chosen; they
# are the numbers of unknowns of the source, fewer than the profiles have.
_PLACES, _KNOTS = 5, 7
# Share of the values left out as spots, correlation of neighbours, and range of the dose over its mean, from which on a
# warning is given; chosen, only the warnings depend on them.
_MANY_SPOTS, _NOTICED_CORRELATION, _NOTICED_DOSE = 0.1, 0.1, 0.3
# Lithium of the pure metal, 0.534 g/cm³ over 6.94 g/mol [mol/cm³].
LITHIUM_METAL = 0.0769
# By how much thickness, porosity and filling at rest may be wrong [filling]; chosen.
_FILLING_SLACK = 0.15
# Attenuation below which there is no sample: casings and collectors alone take some percent of the beam. It is asked of the
# darkest hundredth of the places, of so many pixels on a side.
_LEAST_ATTENUATION, _DARKEST, _SMOOTH = 0.01, 0.01, 5
# Mean square of the change over that of its errors, from which on diffusion is fitted: 1 is noise alone, whose errors share
# the reference at rest.
_NOTICED_CHANGE = 1.5
# sd given to the frame that the model starts from, so that it has no weight [filling].
_NO_INFORMATION = 1e3


@dataclass(frozen=True)
class NeutronResult:
    """What the radiographs say; see `Version`."""

    movie: Movie
    estimate: Estimate
    dose: Track
    distance: np.ndarray
    raw: Version
    denoised: Version
    fit: ProfileFit | None
    gain: float
    warnings: tuple[str, ...]
    sentences: tuple[str, ...]
    impossible: tuple[str, ...] = ()


def analyse_radiographs(
    movie: Movie,
    cal: Calibration | None,
    config: NeutronConfig,
    *,
    current: tuple[np.ndarray, np.ndarray] | None = None,
    progress: Progress | None = None,
    estimate: Estimate | None = None,
) -> NeutronResult:
    """The chain.

    Args:
        movie: counts.
        cal: open beam and dark field; None means that there is neither, and that the dose region of the first
            frame stands for the beam.
        config: see `NeutronConfig`.
        current: times and values of the cell's current, > 0 where lithium enters the electrode that is fitted.
        progress: called with (stage, step, steps, value), of the denoising.
        estimate: of the dose-corrected counts, where they were denoised before.

    Returns:
        Lithium, profiles and transport, as measured and denoised.

    Raises:
        InputError: boxes or lines outside the frame, a rest longer than the movie, or no counts.
    """
    check_config(movie, config)
    warnings: list[str] = []
    counts, valid = np.where(movie.valid(), movie.frames, np.nan).astype(float), movie.valid()
    gain = config.gain or _gain(movie, warnings)
    if cal is not None and config.gain is None:
        more = gain / cal.gain
        cal = replace(
            cal,
            open_beam_variance=cal.open_beam_variance * more,
            dark_variance=cal.dark_variance * more,
            gain=jnp.asarray(gain),
        )
    if cal is None:
        warnings.append("No open beam: no transmission is given, and the dark field is taken as 0.")
    corrections = _calibration(counts, cal, gain)
    dose = _dose(counts, valid, corrections, config, warnings)
    # Counts at dose 1.
    same = counts / dose.value[:, None, None]
    if config.spots:
        # Where nothing is known the spot test needs a number.
        filled = np.where(valid, same, np.nanmedian(same))
        valid = valid & ~spots(filled, gain=gain)
    share = 1 - valid[movie.valid()].mean()
    if share > _MANY_SPOTS:
        warnings.append(
            f"{100 * share:.0f} % of the values are spots: look at the frames, or keep them (--no-spots)."
        )
    corrected = movie.with_frames(np.where(valid, same, np.nan).astype(np.float32), noise=None)
    if estimate is None:
        estimate = denoise(corrected, config.denoise, progress=progress)
    variance = gain * np.maximum(same, gain) / dose.value[:, None, None]
    measured = Track(np.where(valid, same, np.nan), variance)
    raw, clean = _versions(measured, estimate, (corrections, cal), dose, config, movie)
    distance = line_of(movie, config)[1]
    wrong = _impossible(raw, cal, config)
    fit = None
    if config.electrode is not None and not wrong and _changes(raw, config, warnings):
        fit = _fit(movie, raw, distance, config, current)
    if fit is not None and current is None:
        warnings.append(
            "No current is given: lithium is let in through both faces of the electrode, freely over time."
        )
    return NeutronResult(
        corrected, estimate, dose, distance, raw, clean, fit, gain, tuple(warnings),
        tuple(_sentences(raw, clean, fit, dose, share, config, movie)), wrong,
    )  # fmt: skip


def _versions(
    measured: Track,
    estimate: Estimate,
    calibrations: tuple[Calibration, Calibration | None],
    dose: Track,
    config: NeutronConfig,
    movie: Movie,
) -> tuple[Version, Version]:
    """What the counts give as measured and denoised; `measured` has the variance of the counts in place of their sd."""
    errors = ErrorCorrelation.known(estimate.error_autocorrelation)
    mean, variance = (a.astype(float) for a in (estimate.mean, estimate.variance))
    raw = quantities(measured.value, measured.sd, *calibrations, dose, config, INDEPENDENT, movie)
    clean = quantities(mean, variance, *calibrations, dose, config, errors, movie)
    clean = replace(clean, profile=_better(raw.profile, clean.profile))
    if raw.collector is not None and clean.collector is not None:
        clean = replace(clean, collector=_better(raw.collector, clean.collector))
    return raw, clean


def _better(measured: Track, denoised: Track) -> Track:
    """The denoised averages where they are better known than the measured ones."""
    return Track(*no_worse(measured, denoised)[:2])


def _impossible(raw: Version, cal: Calibration | None, config: NeutronConfig) -> tuple[str, ...]:
    """Sentences on lithium that no cell can hold, and on a beam that nothing weakens."""
    value, sd = raw.profile
    wrong: tuple[str, ...] = ()
    if config.electrode is None:
        limits = Limits("The change of lithium along the line", -LITHIUM_METAL, LITHIUM_METAL, 0.0, "mol/cm^3", "pure lithium holds no more")  # fmt: skip
        wrong += impossible(value, sd, limits)
    else:
        use = (slice(None), slice(*config.electrode))
        name = "The lithium of the electrode, over that of a full one,"
        why = f"--saturation {config.saturation:g} mol/cm^3, --rest-filling {config.rest_filling:g}"
        filling = config.rest_filling + value[use] / config.saturation
        limits = Limits(name, 0.0, 1.0, _FILLING_SLACK, why=why)
        wrong += impossible(filling, sd[use] / config.saturation, limits)
    if cal is not None and raw.transmission is not None:
        wrong += _no_sample(raw.transmission.value, config)
    return wrong


def _no_sample(transmission: np.ndarray, config: NeutronConfig) -> tuple[str, ...]:
    """A sentence where the open beam passes as if nothing were in it."""
    at_rest = np.nanmean(transmission[: config.rest], axis=0)
    through = float(np.nanmean(at_rest))
    smooth = ndimage.uniform_filter(np.nan_to_num(at_rest, nan=through), _SMOOTH)
    if np.quantile(smooth, _DARKEST) < 1 - _LEAST_ATTENUATION:
        return ()
    return (
        f"The radiographs let {100 * through:.1f} % of the open beam through, and hardly less at any place: there is no sample in "
        "them, or the open beam was taken with it.",
    )


def _changes(raw: Version, config: NeutronConfig, warnings: list[str]) -> bool:
    """Whether the lithium of the electrode changes by more than its errors; adds a warning where it does not."""
    assert config.electrode is not None
    value, sd = (a[config.rest :, slice(*config.electrode)] for a in raw.profile)
    known = np.isfinite(value) & (sd > 0)
    power = float(np.mean((value[known] / sd[known]) ** 2)) if known.any() else 0.0
    if power > _NOTICED_CHANGE:
        return True
    warnings.append(
        f"The lithium of the electrode changes by no more than its errors ({power:.2g} times their variance): no diffusivity is fitted."
    )
    return False


def _gain(movie: Movie, warnings: list[str]) -> float:
    """Variance over mean of the counts, from what changes between frames."""
    found = estimate_noise(movie.frames, movie.valid())
    valid = movie.valid()
    mean = float(np.mean(movie.frames[valid]))
    variance = float(np.mean(np.asarray(found.model.variance(jnp.asarray(movie.frames[valid], jnp.float32)))))  # fmt: skip
    if not (mean > 0 and variance > 0):
        raise InputError(
            f"{movie.name} holds no counts (mean {mean:.3g}): radiographs are needed before any logarithm."
        )
    gain = variance / mean
    widest = max(float(np.max(c[1:3], initial=0)) for c in found.correlation.values())
    if widest > _NOTICED_CORRELATION:
        x, y, t = (float(found.correlation[k][1]) for k in "xyt")
        warnings.append(
            f"Noise correlation of neighbours {x:.2f} (x), {y:.2f} (y), {t:.2f} (frames): means are less certain than counting says."
        )
    return gain


def _calibration(counts: np.ndarray, cal: Calibration | None, gain: float) -> Calibration:
    if cal is not None:
        return cal
    zeros = jnp.zeros(counts.shape[1:])
    beam = jnp.asarray(np.nan_to_num(counts[0]), zeros.dtype)
    return Calibration(beam, zeros, zeros, zeros, zeros, zeros, gain=jnp.asarray(gain))


def _dose(
    counts: np.ndarray,
    valid: np.ndarray,
    cal: Calibration,
    config: NeutronConfig,
    warnings: list[str],
) -> Track:
    ones = np.ones(len(counts))
    if config.dose_region is None:
        warnings.append(
            "No --dose-region: the beam is taken as constant, and its fluctuations show as lithium."
        )
        return Track(ones, 0 * ones)
    region = box_mask(config.dose_region, counts.shape[1:])
    box = valid & region
    filled = np.where(valid, counts, np.nanmedian(counts))
    hits = spots(filled / np.nanmedian(np.where(box, counts, np.nan), axis=(1, 2), keepdims=True)
                 * np.nanmedian(counts[:, region]), gain=float(cal.gain)) if config.spots else ~valid  # fmt: skip
    dose, variance = dose_of(filled, cal, region, box & ~hits)
    if np.ptp(dose) > _NOTICED_DOSE * dose.mean():
        warnings.append(
            f"The dose runs from {dose.min():.3g} to {dose.max():.3g}: check that the dose region is free."
        )
    return Track(dose, np.sqrt(variance))


def _fit(
    movie: Movie,
    raw: Version,
    distance: np.ndarray,
    config: NeutronConfig,
    current: tuple[np.ndarray, np.ndarray] | None,
) -> ProfileFit:
    """Diffusion with sources, from the measured profile: its errors are known exactly."""
    assert config.electrode is not None
    use = slice(*config.electrode)
    start = config.rest - 1
    value, sd = (a[start:, use] / config.saturation for a in raw.profile)
    rest = raw.profile.sd[: config.rest, use] / config.saturation
    # The reference's share of each error is common to all times: 1/(n+1) of the variance of a frame at rest.
    common = np.sqrt((rest**2).mean(0) / (config.rest + 1))
    own = np.sqrt(np.maximum(sd**2 - common**2, 0.1 * sd**2))
    cells = value.shape[1]
    times = movie.times[start:]
    if current is None:
        places = np.zeros((2, cells))
        places[0, 0] = places[1, -1] = 1
        knots = np.linspace(times[0], times[-1], _KNOTS)
        shapes = np.eye(_KNOTS)
    else:
        at = np.linspace(0, cells - 1, min(_PLACES, cells))
        places = np.stack([np.interp(np.arange(cells), at, row) for row in np.eye(at.size)])
        places /= places.sum(axis=1, keepdims=True)
        knots, values = current
        shapes = np.stack([np.maximum(values, 0), np.maximum(-values, 0)])
        shapes = shapes[np.abs(shapes).max(axis=1) > 0]
        shapes = shapes / np.abs(shapes).max()
    own[0] = _NO_INFORMATION
    data = ProfileData(*(jnp.asarray(np.nan_to_num(a, posinf=np.inf)) for a in (
        value, own, times, np.full(cells, config.rest_filling), places, knots, shapes, common,
    )))  # fmt: skip
    return fit_profile(
        data,
        config.fit,
        spacing=float(distance[1] - distance[0]),
        length_unit=movie.length_unit,
        time_unit=movie.time_unit,
    )


def _sentences(
    raw: Version,
    clean: Version,
    fit: ProfileFit | None,
    dose: Track,
    share: float,
    config: NeutronConfig,
    movie: Movie,
) -> list[str]:
    out = [
        f"Dose of the frames {dose.value.min():.4g} to {dose.value.max():.4g}; "
        f"{100 * share:.3g} % of the values were left out as spots.",
        f"Lithium by absorption of {config.sigma * 1e24:.4g} barn at {config.wavelength:g} angstrom over "
        f"{config.thickness:g} cm: 0.001 mol/cm³ changes the attenuation by {config.scale * 1e-3:.3g}.",
    ]
    for name, before in raw.variability.items():
        after = clean.variability[name]
        if np.isfinite(before) and before > 0:
            out.append(
                f"Noise-induced variability {name}: {before:.3g} -> {after:.3g} mol/cm³, "
                f"{100 * (1 - after / before):.1f} % less."
            )
    if raw.collector is not None and clean.collector is not None:
        for end in config.cycle_ends:
            i = int(np.argmin(np.abs(movie.times - end)))
            out.append(
                f"At the collector at {movie.times[i]:.4g} {movie.time_unit}: {raw.collector.value[i]:+.3g} +- "
                f"{raw.collector.sd[i]:.2g} mol/cm³ since rest as measured, {clean.collector.value[i]:+.3g} +- "
                f"{clean.collector.sd[i]:.2g} denoised."
            )
    if fit is not None:
        out.append(fit.outcome)
    return out

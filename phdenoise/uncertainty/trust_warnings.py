"""Warnings about a denoised movie: what is alarming in its trust report, in a sentence that says what to do."""

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from phdenoise.metrics.trust import BiasMap, FrameSeries, Predictive
from phdenoise.movie import Estimate

# Less than this was taken away [noise sd]: hardly any noise was.
_LEAST_REMOVED = 0.3
# Share of the noise's spatial correlation that may be predicted before some of the noise visibly stays.
_MOST_LEAKED = 0.25
# Correlation of successive frames that only noise which persists, or a slow scene, has.
_PERSISTENT = 0.3
# Structure in the residual that is allowed [noise variances], and so many times what the error bars admit: the scatter of
# these numbers between movies; six standard errors of the mean of independent values come on top.
_STRUCTURE, _TIMES_ADMITTED, _CHANCE = 0.05, 1.5, 6.0
# Mean residual over time of a blob of pixels that biases intensities [noise sd].
_BIAS = 0.02
# Coverage is judged on so many pixels or more; it may be off by this, and four standard errors.
_PIXELS_FOR_COVERAGE, _COVERAGE_OFF, _COVERAGE_ERRORS = 500, 0.03, 4.0
# Log of the factor of the variance that is worth applying.
_FACTOR_LOG = 0.05
# Relative misfit of the photon-transfer points, and reduced χ² (three standard deviations), of a wrong noise model.
_MISFIT, _CHI2 = 0.25, 9.0


class Findings(NamedTuple):
    """What is known of a denoised movie; see `phdenoise.uncertainty.trust_report.TrustReport`."""

    estimate: Estimate
    numbers: dict[str, Any]
    bias: BiasMap
    coverage: Predictive
    frame_error: FrameSeries
    drift: FrameSeries


def warnings_by_check(found: Findings) -> dict[str, tuple[str, ...]]:
    """For each check one sentence for each alarming finding; none where nothing is alarming."""
    return {
        "noise removed": tuple(_of_noise_that_stays(found)),
        "signal kept": tuple(_of_signal_that_is_lost(found)),
        "structured noise": tuple(_of_structure(found)),
        "error bars": tuple(_of_coverage(found)),
        "noise model": tuple(_of_the_noise_model(found)),
        "single frames": tuple(_of_frames(found)),
    }


def _of_noise_that_stays(found: Findings) -> Iterator[str]:
    numbers, settings = found.numbers, found.estimate.settings
    if numbers["removed"] < _LEAST_REMOVED:
        yield (
            f"the output nearly equals the input ({numbers['removed']:.2f} noise sd were taken away): give --sigma "
            "if the noise is underestimated, take more frames, or use the measured movie."
        )
    if numbers["leak"] > _MOST_LEAKED:
        yield (
            f"{100 * min(numbers['leak'], 1.0):.0f} % of the noise's spatial correlation was predicted from its "
            "neighbours and stays in the output: denoise again with --blind frame."
        )
    persistent = numbers["noise"]["correlation"]["t"][1]
    hides = str(settings.get("region", "")).startswith(("all:", "udvd"))
    known = found.estimate.setting("temporal_correlation") is not None
    if persistent > _PERSISTENT and not hides and not known:
        yield (
            f"successive frames correlate ({persistent:.2f}) beyond their pixels' neighbourhood: if the scene is slow "
            "this is noise that stays, so denoise with the default network, which corrects for temporal correlation "
            "of the noise; if the scene is fast, nothing is wrong."
        )


def _of_signal_that_is_lost(found: Findings) -> Iterator[str]:
    numbers, bias = found.numbers, found.bias
    # The residual's structure may be what the error bars admit, and a little that no one sees.
    count = max(int(found.estimate.movie.valid().sum()), 1)
    allowed = _STRUCTURE + _TIMES_ADMITTED * numbers["admitted"] + _CHANCE / np.sqrt(count)
    if numbers["lost_signal"] > allowed:
        yield (
            f"there is signal in the residual ({100 * numbers['lost_signal']:.0f} % of a noise variance, where the "
            f"error bars admit {100 * numbers['admitted']:.0f} %): look at the bias map and train longer "
            "(--preset best)."
        )
    if bias.pixels and abs(bias.level) > _BIAS:
        y, x = bias.centre
        yield (
            f"the residual does not average out over time around (y, x) = ({y:.0f}, {x:.0f}) ({bias.pixels} pixels, "
            f"{bias.level:+.2f} noise sd): do not read intensities there without the measured movie."
        )


def _of_structure(found: Findings) -> Iterator[str]:
    names = found.numbers["structure"]
    if names:
        yield (
            f"the residual holds structured noise ({', '.join(names)}) that the noise model has not: do not use the error bars, which "
            "count every pixel's noise as its own; denoise without --defects keep, or give more --memory, so that it is taken out."
        )


def _of_coverage(found: Findings) -> Iterator[str]:
    coverage = found.coverage
    if found.estimate.blind_variance is None or coverage.pixels < _PIXELS_FOR_COVERAGE:
        return
    shares = list(zip(coverage.nominal, coverage.observed, strict=True))
    wrong = [
        (n, o)
        for n, o in shares
        if abs(o - n) > _COVERAGE_OFF + _COVERAGE_ERRORS * np.sqrt(n * (1 - n) / coverage.pixels)
    ]
    if wrong:
        n, o = max(wrong, key=lambda s: abs(s[1] - s[0]))
        kind = "narrow" if o < n else "wide"
        factor = coverage.z_variance
        # A factor the other way, or none: the shape of the errors is wrong, not their size.
        right = abs(np.log(max(factor, 1e-3))) > _FACTOR_LOG and (factor > 1) == (o < n)
        cure = f"multiply the variance by about {factor:.2g} or " if right else ""
        yield (
            f"error bars are too {kind} ({100 * o:.0f} % of the measured values lie in the {100 * n:g} % "
            f"interval): {cure}choose another --noise."
        )


def _of_the_noise_model(found: Findings) -> Iterator[str]:
    noise = found.numbers["noise"]
    if noise["misfit"] > _MISFIT and noise["chi2"] > _CHI2:
        yield (
            f"the {noise['model']} noise model misses the photon-transfer points by {100 * noise['misfit']:.0f} %: "
            "choose another --noise or give --sigma."
        )


def _of_frames(found: Findings) -> Iterator[str]:
    errors, off = found.frame_error, found.drift
    if errors.outstanding.any():
        listed = ", ".join(str(int(i)) for i in np.flatnonzero(errors.outstanding))
        yield (
            f"frame(s) {listed} at the ends are predicted worse than the rest: leave them out of what you measure."
        )
    if off.outstanding.any():
        worst = int(np.argmax(np.abs(off.value) * off.outstanding))
        yield (
            f"the mean intensity of {int(off.outstanding.sum())} frame(s) differs from the measured one (frame "
            f"{worst}: {off.value[worst]:+.3f} noise sd): take totals from the measured movie."
        )

"""How far a denoised movie may be trusted: one report, in plain data, from the movie and its estimate alone.

Numbers come from `phdenoise.metrics.trust`; here they are put together, and what is alarming is said in a sentence
that tells what to do. Nothing needs truth.
"""

from dataclasses import dataclass, fields, replace
from typing import Any

import jax.numpy as jnp
import numpy as np

from phdenoise.metrics import UPSNR, residual_whiteness, umse_temporal, upsnr
from phdenoise.metrics.trust import (
    BiasMap,
    FrameSeries,
    Predictive,
    bias_map,
    drift,
    frame_errors,
    leak,
    lost_signal,
    predictive_coverage,
    removed,
    transfer_misfit,
    variance_gain,
)
from phdenoise.movie import Estimate
from phdenoise.noise import NoiseEstimate, estimate_noise
from phdenoise.types import InputError

UPSNR_BIASES = (
    "uPSNR takes the noise as independent between frames and the scene as changing linearly over three of them: "
    "faster change makes it too high, noise that persists in time too high or too low."
)


@dataclass(frozen=True)
class TrustReport:
    """What can be said of a denoised movie without truth.

    Attributes:
        noise: model, parameters with sd, correlation along x, y, t; reduced χ² and median relative misfit of the
            photon-transfer points.
        whiteness: of the blind residual: z, p_value, correlation, lag, white, sentence.
        upsnr: psnr and sd [dB], caution, biases.
        bias: map [noise sd] and z [y, x] of the residual's mean over time, its largest significant blob.
        coverage: nominal and observed share of measured values inside the blind predictive intervals, z_variance;
            blind: False if the prediction was none, and they say nothing.
        variance_gain: power of fast changes after over before.
        removed: what was taken away [noise sd].
        leak: share of the noise's spatial correlation that was predicted.
        lost_signal, admitted: structure in the residual, and what the predicted variance admits [noise variances].
        frame_error, drift: by frame: value, error, outstanding [t].
        warnings: one sentence each, saying what to do; empty if nothing is alarming.
    """

    noise: dict[str, Any]
    whiteness: dict[str, Any]
    upsnr: dict[str, Any]
    bias: dict[str, Any]
    coverage: dict[str, Any]
    variance_gain: float
    removed: float
    leak: float
    lost_signal: float
    admitted: float
    frame_error: dict[str, np.ndarray]
    drift: dict[str, np.ndarray]
    warnings: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain mapping with arrays, for files."""
        return {f.name: getattr(self, f.name) for f in fields(self)}

    def sentences(self) -> tuple[str, ...]:
        """The report for a reader, warnings last."""
        shares = zip(self.coverage["nominal"], self.coverage["observed"], strict=True)
        inside = ", ".join(f"{100 * o:.1f} % in the {100 * n:g} % interval" for n, o in shares)
        return (
            (
                f"Fast changes in time keep {100 * self.variance_gain:.2g} % of their power; "
                if np.isfinite(self.variance_gain)
                else "Too few frames to tell what becomes of fast changes in time; "
            )
            + f"{self.removed:.2f} noise sd were taken away.",
            f"Measured values against their blind prediction: {inside}; "
            f"variance of z {self.coverage['z_variance']:.3f} (1 is honest)."
            if self.coverage.get("blind", True)
            else "The network looked at the pixels that it predicts: measured values cannot judge its error bars.",
            f"{self.whiteness['sentence']} Beyond the noise's own correlation, the residual holds "
            f"{100 * self.lost_signal:.2g} % of a noise variance as structure.",
            UPSNR(*(self.upsnr[k] for k in UPSNR._fields)).sentence,
            *(f"Warning: {w}" for w in self.warnings),
        )


def trust(
    estimate: Estimate,
    noise: NoiseEstimate | None = None,
    held_out: np.ndarray | None = None,
) -> TrustReport:
    """Judge a denoised movie.

    Args:
        estimate: the denoised movie, of any denoiser; without a blind prediction its mean stands in.
        noise: estimated from the movie; None estimates it.
        held_out: pixels that training did not see [t, y, x], on which coverage is counted; None counts all.
    """
    movie, valid = estimate.movie, estimate.movie.valid()
    found = _noise(estimate, valid) if noise is None else noise
    frames = np.where(valid, movie.frames, estimate.mean).astype(np.float32)
    blind = np.asarray(estimate.mean if estimate.blind_mean is None else estimate.blind_mean)
    own = np.asarray(estimate.noise.variance(jnp.asarray(blind, jnp.float32)))
    sd = np.sqrt(own)
    residual = np.where(valid, (frames - blind) / sd, 0.0).astype(np.float32)
    doubt = np.zeros_like(own) if estimate.blind_variance is None else estimate.blind_variance
    test = valid if held_out is None else valid & held_out
    correlation = {k: found.correlation[k] for k in "xy"}
    along = {"t": found.correlation["t"]} if len(found.lasting) else {}
    bias = bias_map(residual, valid)
    # Where noise lasts, prediction and measurement share some of it.
    shared = 2 * float(estimate.settings.get("told", 0.0))
    coverage = predictive_coverage(frames, blind, (1 - shared) * own + doubt, test)
    errors, off = frame_errors(residual, valid), drift(frames, estimate.mean, sd, valid)
    numbers: dict[str, Any] = {
        "noise": _noise_facts(estimate, found),
        "whiteness": _whiteness(residual, valid),
        "upsnr": _upsnr(estimate, frames, valid, found.finest()),
        "variance_gain": variance_gain(frames, estimate.mean, valid),
        "removed": removed(frames, estimate.mean, own, valid),
        "leak": leak(residual, correlation, valid),
        "lost_signal": lost_signal(residual, correlation | along, valid),
        "admitted": float(np.mean((doubt / own)[valid])),
    }
    return TrustReport(
        bias=_bias_facts(bias),
        coverage=coverage._asdict() | {"blind": estimate.blind_mean is not None},
        frame_error=errors._asdict(),
        drift=off._asdict(),
        warnings=tuple(_warnings(estimate, numbers, bias, coverage, errors, off)),
        **numbers,
    )


def judged(
    estimate: Estimate,
    noise: NoiseEstimate | None = None,
    held_out: np.ndarray | None = None,
) -> Estimate:
    """The estimate with its trust report in `trust` and the report's sentences at the end of its log; see `trust`."""
    report = trust(estimate, noise, held_out)
    return replace(estimate, trust=report.to_dict(), log=(*estimate.log, *report.sentences()))


def _noise(estimate: Estimate, valid: np.ndarray) -> NoiseEstimate:
    try:
        return estimate_noise(estimate.movie.frames, valid)
    except InputError as error:
        raise InputError(f"No trust report for {estimate.movie.name}: {error}") from error


def _noise_facts(estimate: Estimate, found: NoiseEstimate) -> dict[str, Any]:
    """The model used, with the evidence for it; sd only where the model is the estimated one."""
    model = estimate.noise
    names = [n for n in ("sigma", "gain", "offset", "read_sigma") if hasattr(model, n)]
    same = type(model) is type(found.model)
    level = jnp.asarray(found.transfer[:, 0], jnp.float32)
    chi2, misfit = transfer_misfit(found.transfer, np.asarray(model.variance(level), np.float64))
    return {
        "model": type(model).__name__,
        "parameters": {n: float(getattr(model, n)) for n in names},
        "sd": {n: float(found.sd[n]) if same and n in found.sd else float("nan") for n in names},
        "transfer": found.transfer,
        "chi2": chi2,
        "misfit": misfit,
        "correlation": {k: np.asarray(v, float) for k, v in found.correlation.items()},
    }


def _whiteness(residual: np.ndarray, valid: np.ndarray) -> dict[str, Any]:
    return residual_whiteness(residual, valid)._asdict()


def _upsnr(
    estimate: Estimate, frames: np.ndarray, valid: np.ndarray, finest: float | None
) -> dict[str, Any]:
    if frames.shape[0] < 3:
        caution = "Caution: fewer than 3 frames, no independent copies."
        return {"psnr": float("nan"), "sd": float("nan"), "caution": caution, "biases": ""}
    mean = jnp.asarray(estimate.mean, jnp.float32)
    own = np.asarray(estimate.noise.variance(mean))
    weight = np.clip(estimate.variance / own, 0.0, 1.0).astype(np.float32)
    error = umse_temporal(np.asarray(mean), frames, weight, valid, finest)
    low, high = np.quantile(estimate.mean[valid], [0.001, 0.999])
    value = upsnr(error, data_range=float(max(high - low, np.finfo(np.float32).tiny)))
    return value._asdict() | {"biases": UPSNR_BIASES}


def _bias_facts(bias: BiasMap) -> dict[str, Any]:
    return {
        "map": bias.mean.astype(np.float32),
        "z": bias.z.astype(np.float32),
        "pixels": bias.pixels,
        "centre": bias.centre,
        "level": bias.level,
        "threshold": bias.threshold,
    }


def _warnings(
    estimate: Estimate,
    numbers: dict[str, Any],
    bias: BiasMap,
    coverage: Predictive,
    errors: FrameSeries,
    off: FrameSeries,
) -> list[str]:
    said = []
    noise = numbers["noise"]
    region = str(estimate.settings.get("region", ""))
    if numbers["removed"] < 0.3:
        said.append(
            f"the output nearly equals the input ({numbers['removed']:.2f} noise sd were taken away): give --sigma "
            "if the noise is underestimated, take more frames, or use the measured movie."
        )
    if numbers["leak"] > 0.25:
        said.append(
            f"{100 * min(numbers['leak'], 1.0):.0f} % of the noise's spatial correlation was predicted from its "
            "neighbours and stays in the output: denoise again with --blind frame."
        )
    persistent = noise["correlation"]["t"][1]
    hides = region.startswith("all:") or region.startswith("udvd")
    if persistent > 0.3 and not hides and "lasting" not in estimate.settings:
        said.append(
            f"successive frames correlate ({persistent:.2f}) beyond their pixels' neighbourhood: if the scene is slow "
            "this is noise that stays, so denoise with the default network, whose predictions are told of it; if it "
            "is fast, nothing is wrong."
        )
    # The residual's structure may be what the error bars admit, and a little that no one sees.
    count = max(int(estimate.movie.valid().sum()), 1)
    if numbers["lost_signal"] > 0.05 + 1.5 * numbers["admitted"] + 6 / np.sqrt(count):
        said.append(
            f"there is signal in the residual ({100 * numbers['lost_signal']:.0f} % of a noise variance, where the "
            f"error bars admit {100 * numbers['admitted']:.0f} %): look at the bias map and train longer "
            "(--preset best)."
        )
    if bias.pixels and abs(bias.level) > 0.02:
        y, x = bias.centre
        said.append(
            f"the residual does not average out over time around (y, x) = ({y:.0f}, {x:.0f}) ({bias.pixels} pixels, "
            f"{bias.level:+.2f} noise sd): do not read intensities there without the measured movie."
        )
    if estimate.blind_variance is not None and coverage.pixels >= 500:
        shares = list(zip(coverage.nominal, coverage.observed, strict=True))
        wrong = [
            (n, o)
            for n, o in shares
            if abs(o - n) > 0.03 + 4 * np.sqrt(n * (1 - n) / coverage.pixels)
        ]
        if wrong:
            n, o = max(wrong, key=lambda s: abs(s[1] - s[0]))
            kind = "narrow" if o < n else "wide"
            factor = coverage.z_variance
            # A factor the other way, or none: the shape of the errors is wrong, not their size.
            right = abs(np.log(max(factor, 1e-3))) > 0.05 and (factor > 1) == (o < n)
            cure = f"multiply the variance by about {factor:.2g} or " if right else ""
            said.append(
                f"error bars are too {kind} ({100 * o:.0f} % of the measured values lie in the {100 * n:g} % "
                f"interval): {cure}choose another --noise."
            )
    if noise["misfit"] > 0.25 and noise["chi2"] > 9:
        said.append(
            f"the {noise['model']} noise model misses the photon-transfer points by {100 * noise['misfit']:.0f} %: "
            "choose another --noise or give --sigma."
        )
    if errors.outstanding.any():
        listed = ", ".join(str(int(i)) for i in np.flatnonzero(errors.outstanding))
        said.append(
            f"frame(s) {listed} at the ends are predicted worse than the rest: leave them out of what you measure."
        )
    if off.outstanding.any():
        worst = int(np.argmax(np.abs(off.value) * off.outstanding))
        said.append(
            f"the mean intensity of {int(off.outstanding.sum())} frame(s) differs from the measured one (frame "
            f"{worst}: {off.value[worst]:+.3f} noise sd): take totals from the measured movie."
        )
    return said

"""How far a denoised movie may be trusted: one report, in plain data, from the movie and its estimate alone.

Numbers come from `phdenoise.metrics.trust`; here they are put together. Alarming ones become warnings that say what to do
(`phdenoise.uncertainty.trust_warnings`). Nothing needs truth.
"""

from dataclasses import dataclass, fields, replace
from typing import Any

import jax.numpy as jnp
import numpy as np

from phdenoise.metrics.residuals import residual_whiteness
from phdenoise.metrics.trust import (
    BiasMap,
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
from phdenoise.metrics.unsupervised import UPSNR, umse_temporal, upsnr
from phdenoise.movie import Estimate
from phdenoise.noise.differences import difference
from phdenoise.noise.estimate import NoiseEstimate, estimate_noise
from phdenoise.noise.structured.estimate import FEWEST_FRAMES, found_structure
from phdenoise.types import InputError
from phdenoise.uncertainty.trust_warnings import Findings, warnings_by_check

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
        structure: names of rows, columns and waves in the residual, which the noise model has not.
        frame_error, drift: by frame: value, error, outstanding [t].
        warnings: one sentence each, saying what to do; empty if nothing is alarming.
        checks: the warnings by the check that gave them; an empty tuple where a check found nothing.
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
    structure: tuple[str, ...]
    frame_error: dict[str, np.ndarray]
    drift: dict[str, np.ndarray]
    warnings: tuple[str, ...]
    checks: dict[str, tuple[str, ...]]

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
            f"variance of z {self.coverage['z_variance']:.3f} (1 is right)."
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

    Returns:
        The report.

    Raises:
        InputError: the noise is not given and cannot be estimated.
    """
    movie, valid = estimate.movie, estimate.movie.valid()
    found = _noise(estimate, valid) if noise is None else noise
    frames = np.where(valid, movie.frames, estimate.mean).astype(np.float32)
    blind = np.asarray(estimate.mean if estimate.blind_mean is None else estimate.blind_mean)
    own = np.asarray(estimate.noise.variance(jnp.asarray(blind, jnp.float32)))
    sd = np.sqrt(own)
    residual = np.where(valid, (frames - blind) / sd, 0.0).astype(np.float32)
    predicted = np.zeros_like(own) if estimate.blind_variance is None else estimate.blind_variance
    test = valid if held_out is None else valid & held_out
    correlation = {k: found.correlation[k] for k in "xy"}
    along = {"t": found.correlation["t"]} if len(found.temporal_correlation) else {}
    bias = bias_map(residual, valid)
    # Where noise is correlated in time, prediction and measurement share some of it.
    shared = 2 * float(estimate.setting("error_noise_covariance", 0.0))
    coverage = predictive_coverage(frames, blind, (1 - shared) * own + predicted, test)
    errors, off = frame_errors(residual, valid), drift(frames, estimate.mean, sd, valid)
    numbers: dict[str, Any] = {
        "noise": _noise_facts(estimate, found),
        "whiteness": _whiteness(residual, valid),
        "upsnr": _upsnr(estimate, frames, valid, found.finest()),
        "variance_gain": variance_gain(frames, estimate.mean, valid),
        "removed": removed(frames, estimate.mean, own, valid),
        "leak": leak(residual, correlation, valid),
        "lost_signal": lost_signal(residual, correlation | along, valid),
        "admitted": float(np.mean((predicted / own)[valid])),
        "structure": _structure(residual, valid),
    }
    checks = warnings_by_check(Findings(estimate, numbers, bias, coverage, errors, off))
    return TrustReport(
        bias=_bias_facts(bias),
        coverage=coverage._asdict() | {"blind": estimate.blind_mean is not None},
        frame_error=errors._asdict(),
        drift=off._asdict(),
        warnings=tuple(warning for found in checks.values() for warning in found),
        checks=checks,
        **numbers,
    )


def judged(
    estimate: Estimate,
    noise: NoiseEstimate | None = None,
    held_out: np.ndarray | None = None,
) -> Estimate:
    """The estimate with its trust report.

    Args:
        estimate, noise, held_out: see `trust`.

    Returns:
        The estimate with the report in `trust`, and the report's sentences at the end of its log.
    """
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


def _structure(residual: np.ndarray, valid: np.ndarray) -> tuple[str, ...]:
    """Names of the structured noise in a residual, a witness that does not use the noise model."""
    if len(residual) < FEWEST_FRAMES:
        return ()
    found = found_structure(difference(residual.astype(np.float64), valid), residual.mean(axis=0))
    lines = {"rows": found.rows, "columns": found.columns}
    return ("hum",) * bool(found.waves) + tuple(k for k, v in lines.items() if v is not None)


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
    low, high = np.quantile(estimate.mean[valid], [0.001, 0.999])
    # In units of the range, or of the noise where nothing is seen: squares of squares leave single precision in others.
    unit = np.float32(high - low if high > low else np.sqrt(own[valid].mean()))
    error = umse_temporal(np.asarray(mean) / unit, frames / unit, weight, valid, finest)
    value = upsnr(error, data_range=1.0)
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

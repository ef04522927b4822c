"""The report of a denoised movie: findings, checks as traffic lights, bias map, coverage, equivalent filters."""

from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np
from matplotlib.figure import Figure

from phdenoise.figures.scene import Scene, estimate_scene, movie_strip, pixel_of
from phdenoise.movie import Estimate
from phdenoise.report.origin import Origin
from phdenoise.report.page import Finding, Light, Report, Section, Verdict, measured
from phdenoise.report.trust_figures import (
    bias_maps,
    coverage_curve,
    equivalent_filter_images,
    shown_filters,
)
from phdenoise.types import Progress, stage


def denoise_report(estimate: Estimate, progress: Progress | None = None) -> Report:
    """The report of a denoised movie.

    Args:
        estimate: denoised movie.
        progress: called with (stage, step, steps, nan).

    Returns:
        The report: how far noise was reduced, the movie, and the checks of the result.
    """
    movie = estimate.movie
    scene = estimate_scene(estimate)
    return Report(
        f"phdenoise denoise: {movie.name}",
        denoise_findings(estimate),
        Origin(movie.name, dict(estimate.settings), movie.provenance),
        pictures=[movie_section(scene)],
        trust=trust_lights(estimate, progress),
        details=[Section("What was done, step by step", list(estimate.log))],
        numbers=trust_numbers(estimate),
    )


def movie_section(scene: Scene, strip: tuple[Figure, str] | None = None) -> Section:
    """A movie as a strip of frames and as a player.

    Args:
        scene: what to show.
        strip: figure and caption; by default frames of all layers.

    Returns:
        The section.
    """
    rows = ", ".join(layer.name for layer in scene.layers)
    said = f"Rows: {rows}. Times above the frames; one scale for each colour bar."
    return Section("Movie", (), (), [strip or (movie_strip(scene), said)], scene)


def verdict_of(estimate: Estimate) -> Verdict:
    """Whether the checks of an estimate gave a warning."""
    if not estimate.trust:
        return Verdict.NONE
    return Verdict.LOOK if estimate.trust["warnings"] else Verdict.GOOD


def denoise_findings(estimate: Estimate) -> list[Finding]:
    """What denoising achieved.

    Args:
        estimate: denoised movie.

    Returns:
        The error of a pixel before and after, and the signal-to-noise ratio without a clean movie.
    """
    movie, verdict = estimate.movie, verdict_of(estimate)
    valid = movie.valid()
    mean = jnp.asarray(np.where(np.isfinite(estimate.mean), estimate.mean, 0.0), jnp.float32)
    before = float(np.median(np.sqrt(np.asarray(estimate.noise.variance(mean)))[valid]))
    after = np.sqrt(estimate.variance[valid])
    middle, low, high = (float(np.quantile(after, q)) for q in (0.5, 0.05, 0.95))
    unit = movie.intensity_unit
    warnings = list(estimate.trust.get("warnings", ()))
    judged = "No check gave a warning." if verdict is Verdict.GOOD else "No check was made."
    found = [
        Finding(
            "Standard deviation of a pixel, denoised (median)",
            f"{middle:.3g} {unit}",
            f"90 % of the pixels: {low:.3g} to {high:.3g} {unit}; measured: {before:.3g} {unit}",
            verdict,
            f"{len(warnings)} of the checks below gave a warning." if warnings else judged,
        )
    ]
    upsnr = estimate.trust.get("upsnr")
    if upsnr and np.isfinite(upsnr["psnr"]):
        why = (
            upsnr.get("caution") or "Estimated from neighbouring frames; no clean movie is needed."
        )
        found.append(
            measured(
                "Signal-to-noise ratio after denoising (uPSNR)",
                upsnr["psnr"],
                upsnr["sd"],
                "dB",
                Verdict.LOOK if upsnr.get("caution") else verdict,
                why,
            )
        )
    return found


def trust_numbers(estimate: Estimate) -> list[dict[str, Any]]:
    """The numbers of the trust report.

    Args:
        estimate: denoised movie.

    Returns:
        Rows of group, name, value, sd, unit; none where it was not judged.
    """
    trust = estimate.trust
    if not trust:
        return []
    unit, noise = estimate.movie.intensity_unit, trust["noise"]
    units = {"sigma": unit, "offset": unit, "read_sigma": unit, "gain": unit}
    rows = [
        (f"noise {name}", value, noise["sd"].get(name, np.nan), units.get(name, "1"))
        for name, value in noise["parameters"].items()
    ]
    rows += [
        (name, value, np.nan, of)
        for name, value, of in (
            ("photon-transfer chi2 per degree of freedom", noise["chi2"], "1"),
            ("photon-transfer median misfit", noise["misfit"], "1"),
            ("power of fast changes in time, denoised over noisy", trust["variance_gain"], "1"),
            ("rms of the difference noisy - denoised", trust["removed"], "noise sd"),
            ("share of the correlation of the noise that was predicted", trust["leak"], "1"),
            ("structure in the residual", trust["lost_signal"], "noise variances"),
            ("structure that the error bars allow for", trust["admitted"], "noise variances"),
            ("variance of z of measured values", trust["coverage"]["z_variance"], "1"),
        )
    ]
    rows.append(("upsnr", trust["upsnr"]["psnr"], trust["upsnr"]["sd"], "dB"))
    return [
        {"group": "trust", "name": n, "value": float(v), "sd": float(s), "unit": u}
        for n, v, s, u in rows
    ]


def trust_lights(estimate: Estimate, progress: Progress | None = None) -> list[Light]:
    """The checks of an estimate as traffic lights, each with its evidence.

    Args:
        estimate: denoised movie.
        progress: called with (stage, step, steps, nan).

    Returns:
        One light a check; a single one where the estimate was not judged.
    """
    trust = estimate.trust
    if not trust:
        return [Light(Verdict.NONE, "denoising", "This result was not judged.")]
    # A file of an earlier version has its warnings, but not the checks that gave them.
    checks = trust.get("checks") or {"all checks": trust["warnings"]}
    more = {
        "noise removed": [trust["upsnr"].get("biases", "")],
        "signal kept": [trust["whiteness"]["sentence"]],
    }
    lights = []
    for name, (said, drawn) in _evidence(estimate, progress).items():
        warnings = list(checks.get(name, ()))
        verdict = Verdict.LOOK if warnings else Verdict.GOOD
        blind = trust["coverage"].get("blind", True)
        if name == "error bars" and not blind:
            verdict = Verdict.NONE
        sentence = warnings[0][0].upper() + warnings[0][1:] if warnings else said
        rest = [*warnings[1:], *([said] if warnings else []), *more.get(name, ())]
        lights.append(Light(verdict, name, sentence, Section("", rest, (), drawn)))
    for warning in checks.get("all checks", ()):
        lights.append(Light(Verdict.LOOK, "all checks", warning))
    return lights


def warning_lights(impossible: Sequence[str], warnings: Sequence[str]) -> list[Light]:
    """What a chain warns of.

    Args:
        impossible: what no sample can be.
        warnings: what may be wrong.

    Returns:
        One light for each; a green one where there is none.
    """
    lights = [Light(Verdict.BAD, "impossible result", said) for said in impossible]
    lights += [Light(Verdict.LOOK, "warning of the chain", said) for said in warnings]
    return lights or [Light(Verdict.GOOD, "the chain", "It gave no warning.")]


def _evidence(
    estimate: Estimate, progress: Progress | None
) -> dict[str, tuple[str, list[tuple[Figure, str]]]]:
    """For each check what it says where nothing is wrong, and its figures."""
    trust = estimate.trust
    noise, coverage = trust["noise"], trust["coverage"]
    shares = zip(coverage["nominal"], coverage["observed"], strict=True)
    inside = ", ".join(f"{100 * o:.1f} % in the {100 * n:g} % interval" for n, o in shares)
    pixel = pixel_of(estimate.movie)
    bias = (
        bias_maps(trust["bias"], pixel),
        "Residual averaged over time (a, noise sd) and in units of its own standard error (b); beyond the limit of "
        "the scale noise alone would lie in one movie of a thousand.",
    )
    curve = (
        coverage_curve(coverage),
        "Share of measured values inside the blind predictive intervals: on the line, error bars are right.",
    )
    filters = shown_filters(estimate, stage(progress, "equivalent filters"))
    drawn = []
    if filters:
        said = (
            "Equivalent filters of three pixels (rows) in the frames around them (columns): the weights that the blind "
            "prediction gives to measured values; the cross is the pixel, the ring their centroid."
        )
        drawn.append((equivalent_filter_images(filters), said))
    numbers = ", ".join(f"{k} {v:.4g}" for k, v in noise["parameters"].items())
    gain = trust["variance_gain"]
    kept = f"fast changes keep {100 * gain:.2g} % of their power" if np.isfinite(gain) else "too few frames to tell what becomes of fast changes"  # fmt: skip
    blind = coverage.get("blind", True)
    return {
        "noise removed": (
            f"{trust['removed']:.2f} noise sd were taken away; {kept}.", drawn,
        ),
        "signal kept": (
            f"The residual holds {100 * trust['lost_signal']:.2g} % of a noise variance as structure; the error bars allow for "
            f"{100 * trust['admitted']:.2g} %.", [bias],
        ),
        "structured noise": ("No rows, columns or waves are left in the residual.", []),
        "error bars": (
            f"Measured values against their blind prediction: {inside}; variance of z {coverage['z_variance']:.3f} (1 is right)."
            if blind else "The network looked at the pixels that it predicts: measured values cannot judge its error bars.",
            [curve] * blind,
        ),
        "noise model": (
            f"{noise['model']} ({numbers}) meets variance against mean within {100 * noise['misfit']:.2g} %.", [],
        ),
        "single frames": ("No frame is predicted worse than the rest, and no frame's mean is off.", []),
    }  # fmt: skip

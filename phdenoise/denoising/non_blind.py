"""Networks whose prediction uses the measured pixel: what they are trained on, and what their error bars are.

    noise2noise   y′ = x + n′, n′ independent of the input's noise: a second exposure of the same scene, or of a still
                  scene its odd frames, when the input is the even ones
    supervised    x
    sure, pure    the risk that the noise model gives, by a random probe of the divergence

There is no blind prediction to combine with the measurement: the network itself weighs both. Its variance is
trained with the mean, and scaled so that it fits the target's held-out pixels, or the risk of the whole movie, which
is at least the noise that remains in the result, measured by injecting noise.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from phdenoise.denoising.combine import Problem, assemble
from phdenoise.movie import Estimate, Movie
from phdenoise.networks.base import Denoiser
from phdenoise.networks.context import MovieArrays
from phdenoise.networks.predict import predict_arrays, predict_view, prepare, symmetry_codes
from phdenoise.training.loop import Run
from phdenoise.training.objectives import Objective, risk_terms
from phdenoise.training.risk import Risk, mean_risk
from phdenoise.types import InputError, Moments, NoiseModel, Progress, stage
from phdenoise.uncertainty.calibrate import Calibration, calibrate_by_likelihood

# Trains a network: (movie, seen, noise, target, its variance) -> network, the movie in its units, course, held-out pixels.
Train = Callable[..., tuple[Denoiser, MovieArrays, Run, np.ndarray]]

# Difference of successive frames beyond the noise, as a share of the noise variance, up to which a scene counts as still: the bias of
# Noise2Noise is then at most a tenth of the noise variance.
STILL = 0.1
# Standard errors of that share which chance may add.
STILL_CHANCE = 4
# Side of the central window of each frame that the risk is taken over, at most [px]; a larger one hardly lowers its scatter.
RISK_WINDOW = 384
# Shift of the gaps, when as many pixels are hidden elsewhere: frames, rows and columns; beyond a gap of usual size.
GAP_SHIFT = (1, 7, 5)
# The scale of a variance, at least and at most: a factor beyond says that the prediction is of another movie.
LEAST_SCALE, LARGEST_SCALE = 0.1, 10.0


class TrainingTarget(NamedTuple):
    """What a network that is not blind is trained on.

    Attributes:
        movie: its input, and (its mask) where to learn.
        seen: where the input is measured [t, y, x].
        target, target_var: what to predict [t, y, x], and its variance; None where there is none.
        sentence: what a reader should know about it.
    """

    movie: Movie
    seen: np.ndarray
    target: np.ndarray | None
    target_var: np.ndarray | None
    sentence: str


class Predicted(NamedTuple):
    """A trained network and its prediction of what it was trained on.

    Attributes:
        denoiser: trained.
        arrays: the movie in its units.
        moments: prediction [t, y, x].
        symmetries: averaged by the prediction.
    """

    denoiser: Denoiser
    arrays: MovieArrays
    moments: Moments
    symmetries: int


def fit_non_blind(
    problem: Problem,
    learned: TrainingTarget,
    objective: Objective,
    train: Train,
    log: Sequence[str],
    settings: Mapping[str, Any],
    progress: Progress | None = None,
) -> Estimate:
    """Train a network whose prediction uses the measured pixel, and denoise with it; not yet judged.

    Args:
        problem: the movie.
        learned: input and target; of the same movie, or of a part of it.
        objective: noise2noise, supervised, sure or pure.
        train: the training.
        log, settings: for the estimate.
        progress: called with (stage, step, steps, nan).

    Returns:
        The estimate.
    """
    movie, shape = problem.movie, problem.movie.shape
    noise = problem.field if objective == "sure" else problem.noise
    denoiser, arrays, run, test = train(
        learned.movie, learned.seen, noise, learned.target, learned.target_var
    )
    averaged: dict[str, Any] = {"symmetries": problem.symmetries}
    step = stage(progress, "prediction")
    out = own = predict_arrays(denoiser, arrays, learned.movie.shape, progress=step, **averaged)
    if learned.movie.shape != shape:
        whole = prepare(denoiser, movie.frames, problem.seen, movie.valid())
        out = predict_arrays(denoiser, whole, shape, **averaged)
    key = jax.random.key(problem.seed + 1)
    predicted = Predicted(denoiser, arrays, own, problem.symmetries)
    found = calibration(objective, predicted, learned, test, noise, key)
    denoiser = replace(denoiser, variance_scale=denoiser.variance_scale * jnp.float32(found.scale))
    out = Moments(out.mean, jnp.float32(found.scale) * out.var)
    wider = _in_gaps(denoiser, problem, out)
    out = problem.bounded(Moments(out.mean, jnp.where(problem.seen, out.var, wider * out.var)))
    said = (*log, learned.sentence, run.sentence, found.sentence)
    return assemble(movie, out, problem.noise, denoiser, run, said, settings)


def _in_gaps(denoiser: Denoiser, problem: Problem, out: Moments) -> float:
    """By how much more the variance is where nothing was measured.

    As many measured pixels are hidden, in groups of the same shape. What their predictions change by adds to the error: that of
    the best prediction from more is independent of it.
    """
    movie, seen = problem.movie, problem.seen
    hidden = np.roll(~seen, GAP_SHIFT, axis=(0, 1, 2)) & seen
    if not hidden.any():
        return 1.0
    left = seen & ~hidden
    arrays = prepare(denoiser, movie.frames, left, movie.valid() & left)
    moved = predict_arrays(denoiser, arrays, movie.shape, symmetries=problem.symmetries).mean
    change = np.asarray(moved - out.mean, np.float64)[hidden]
    stated = float(np.mean(np.asarray(out.var, np.float64)[hidden]))
    return 1 + float(np.mean(change**2)) / max(stated, float(np.finfo(np.float32).tiny))


def training_target(
    objective: Objective,
    movie: Movie,
    seen: np.ndarray,
    noise: NoiseModel,
    *,
    target: Movie | None = None,
    clean: Movie | None = None,
) -> TrainingTarget:
    """Input and target of an objective.

    Args:
        objective: noise2noise, supervised, sure or pure.
        movie, seen: measured movie, and where it is measured, defects included [t, y, x].
        noise: its noise.
        target: a second exposure with noise of its own; None takes neighbouring frames, if the scene is still.
        clean: the clean movie.

    Returns:
        Input and target.

    Raises:
        InputError: another shape, or a scene that is not still where it has to be.
    """
    if objective in ("sure", "pure"):
        return TrainingTarget(
            movie, seen, None, None, f"Trained on {objective.upper()}, without target."
        )
    other = clean if objective == "supervised" else target
    if other is None:
        return _neighbours(movie, seen, noise)
    flag = "--clean" if objective == "supervised" else "--target"
    if other.shape != movie.shape:
        raise InputError(
            f"{flag} {other.name} has shape {other.shape}, the movie {movie.shape}: they must show the same frames."
        )
    kept = movie.valid() & other.valid()
    if not kept.any():
        raise InputError(f"{flag} {other.name} has no pixel that is valid in both movies.")
    said = f"Target: {other.name}, " + (
        "the clean movie." if objective == "supervised" else "a second exposure."
    )
    values = np.where(other.valid(), other.frames, 0.0)
    return TrainingTarget(movie.with_frames(movie.frames, mask=kept), seen, values, None, said)


def _neighbours(movie: Movie, seen: np.ndarray, noise: NoiseModel) -> TrainingTarget:
    """Even frames as input, odd ones as target."""
    pairs = movie.shape[0] // 2
    if pairs < 2:
        raise InputError(
            "Noise2Noise between neighbouring frames needs at least 4 of them: give --target."
        )
    frames, valid = movie.frames[: 2 * pairs], movie.valid()[: 2 * pairs]
    both = valid[::2] & valid[1::2]
    if not both.any():
        raise InputError(
            "No pixel is valid in two neighbouring frames: give --target, or use a blind network."
        )
    off = np.where(both, frames[::2] - frames[1::2], 0.0)[both]
    own = np.asarray(noise.variance(jnp.asarray((frames[::2] + frames[1::2])[both] / 2)))
    moved = float(np.mean(off**2) / (2 * np.mean(own)) - 1)
    chance = STILL_CHANCE * np.sqrt(2 / both.sum())
    if moved > STILL + chance:
        raise InputError(
            f"The scene changes between frames (by {100 * moved:.0f} % of the noise variance), so they are no "
            "repeated exposures: give --target, or use a blind network."
        )
    half = Movie(frames[::2], movie.times[: 2 * pairs : 2], mask=both, name=movie.name)
    values = np.where(both, frames[1::2], 0.0)
    return TrainingTarget(
        half,
        seen[: 2 * pairs : 2],
        values,
        None,
        "Target: odd frames, predicted from the even ones.",
    )


def calibration(
    objective: Objective,
    predicted: Predicted,
    learned: TrainingTarget,
    test: np.ndarray,
    noise: NoiseModel,
    key: jax.Array,
) -> Calibration:
    """The factor of the predicted variance.

    Args:
        objective: what the network was trained on.
        predicted: network and prediction.
        learned: input and target.
        test: pixels that were not learned [t, y, x].
        noise: of the target, or of the movie where there is none.
        key: of the risk's probe.

    Returns:
        The factor, and how it was found.
    """
    denoiser, arrays, out, symmetries = predicted
    if objective == "noise2noise":
        assert learned.target is not None
        return calibrate_by_likelihood(out, learned.target, test, noise)
    if objective == "supervised":
        assert learned.target is not None
        error = (learned.target - np.asarray(out.mean))[test]
        ratio = float(np.mean(error**2 / np.asarray(out.var)[test])) if test.any() else 1.0
        scale = float(np.clip(ratio, LEAST_SCALE, LARGEST_SCALE))
        return Calibration(
            scale, f"Predicted variance scaled by {scale:.2f} on held-out clean pixels."
        )
    valid = learned.movie.valid()
    terms, window = risk_map(denoiser, arrays, valid.shape, noise, key, symmetries=symmetries)
    risk = risk_over(terms, valid[window])
    remaining = np.square(_noise_gain(predicted, learned, noise, key))[window]
    # Where the risk is smaller than its own scatter, the error is still no less than the noise that remains.
    passed = float(np.mean(remaining[valid[window]]))
    error = max(float(risk.value), passed)
    stated = float(np.mean(np.asarray(out.var)[window][valid[window]]))
    scale = float(np.clip(error / stated, LEAST_SCALE, LARGEST_SCALE))
    return Calibration(
        scale,
        f"Predicted variance scaled by {scale:.2f}: the estimated risk of the result is "
        f"{risk.value:.3g} +- {risk.sd:.2g}, of which {passed:.3g} is noise that remains (by injecting noise).",
    )


def _noise_gain(
    predicted: Predicted,
    learned: TrainingTarget,
    noise: NoiseModel,
    key: jax.Array,
) -> np.ndarray:
    """Change of the result under noise of the same statistics, added once more [t, y, x]."""
    denoiser, arrays, out, symmetries = predicted
    shape = learned.movie.shape
    added = np.sqrt(np.asarray(noise.variance(out.mean))) * np.asarray(
        noise.unit_field(key, jnp.zeros(shape, jnp.float32))
    )
    frames = np.where(learned.seen, learned.movie.frames, 0) + added
    again = prepare(denoiser, frames, learned.seen, None, arrays.coefficients)
    moved = predict_arrays(denoiser, again, shape, symmetries=symmetries)
    return np.asarray(moved.mean - out.mean)


def risk_map(
    denoiser: Denoiser,
    arrays: MovieArrays,
    shape: tuple[int, ...],
    noise: NoiseModel,
    key: jax.Array,
    *,
    symmetries: int,
) -> tuple[np.ndarray, tuple[slice, slice, slice]]:
    """Each pixel's term of the estimated risk in a central window of all frames.

    Args:
        denoiser, arrays: network, and the movie in its units.
        shape: of the movie [t, y, x].
        noise: of the movie.
        objective: "sure" or "pure".
        key: of the probe.
        symmetries: averaged by the prediction.

    Returns:
        The terms, and the window.
    """
    stride = denoiser.architecture.stride
    padded = arrays.seen.shape[1:]
    side = tuple(min(n, RISK_WINDOW // stride * stride) for n in padded)
    corner = tuple((n - s) // (2 * stride) * stride for n, s in zip(padded, side, strict=True))
    codes = symmetry_codes(symmetries, turns=side[0] == side[1])
    window = tuple(slice(c, min(c + s, n)) for c, s, n in zip(corner, side, shape[1:], strict=True))
    kept = tuple(slice(0, w.stop - w.start) for w in window)
    terms = [
        np.asarray(
            _risk_frame(
                denoiser, arrays, noise, jax.random.fold_in(key, t), (t, corner[0], corner[1]),
                side=side, flips=codes,
            )
        )[kept]
        for t in range(shape[0])
    ]  # fmt: skip
    return np.stack(terms), (slice(None), *window)  # type: ignore[return-value]


def risk_over(terms: np.ndarray, valid: np.ndarray) -> Risk:
    """Mean and standard deviation of risk terms.

    Args:
        terms: of `risk_map` [t, y, x].
        valid: pixels that count.

    Returns:
        Both, as floats.
    """
    risk = mean_risk(jnp.asarray(terms, jnp.float32), jnp.asarray(valid))
    return Risk(float(risk.value), float(risk.sd))  # type: ignore[arg-type]


def _risk_frame_of(
    denoiser: Denoiser,
    arrays: MovieArrays,
    noise: NoiseModel,
    key: jax.Array,
    at: tuple[jax.Array | int, jax.Array | int, jax.Array | int],
    *,
    side: tuple[int, int],
    flips: tuple[int, ...],
) -> jax.Array:
    view = arrays.view(*at, side)

    def mean(noisy: jax.Array) -> jax.Array:
        shown = view._replace(centre=denoiser.scaled(noisy[0]))
        return predict_view(denoiser, shown, flips).mean[None]

    noisy = denoiser.measured(view.centre)
    return risk_terms(mean, noisy[None], noise, key)[0]


_risk_frame = jax.jit(_risk_frame_of, static_argnames=("side", "flips"))

"""Networks that look at the pixel they predict: what they learn from, and what their error bars are.

    noise2noise   y′ = x + n′, n′ independent of the input's noise: a second exposure of the same scene, or of a still
                  scene its odd frames, when the input is the even ones
    supervised    x
    sure, pure    the risk that the noise model gives, by a random probe of the divergence

There is no blind prediction to bring together with the measurement: the network itself weighs both. Its variance is
trained with the mean, and scaled so that it fits the target's held-out pixels, or the risk of the whole movie, which
is at least what noise injection says that the network lets through.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from phdenoise.denoisers import Denoiser, MovieArrays, predict_arrays, prepare
from phdenoise.denoisers.predict import predict_view, symmetry_codes
from phdenoise.denoisers.risk import Risk, mean_risk
from phdenoise.movie import Estimate, Movie
from phdenoise.noise import Correlated
from phdenoise.training.assemble import Problem, assemble, course
from phdenoise.training.calibrate import Calibration, by_likelihood
from phdenoise.training.objectives import Objective, risk_terms
from phdenoise.training.train import Run
from phdenoise.types import InputError, Moments, NoiseModel, Progress, stage

# Trains a network: (movie, seen, noise, target, its variance) -> network, the movie as it sees it, course, held-out pixels.
Train = Callable[..., tuple[Denoiser, MovieArrays, Run, np.ndarray]]

# A scene is still where its frames differ by less than this share of the noise variance, beyond the noise.
STILL = 0.1
# Side of the central window of each frame that the risk is taken over, at most [px].
_WINDOW = 384
# Where gaps are laid to hide as much elsewhere: frames, rows and columns away.
_ELSEWHERE = (1, 7, 5)
# The scale of a variance, at least and at most.
_SCALES = (0.1, 10.0)


class Lesson(NamedTuple):
    """What a seeing network is trained on.

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


def see(
    problem: Problem,
    learned: Lesson,
    objective: Objective,
    train: Train,
    log: Sequence[str],
    settings: Mapping[str, Any],
    progress: Progress | None = None,
) -> Estimate:
    """Train a network that sees the pixel it predicts, and denoise with it; not yet judged.

    Args:
        problem: the movie.
        learned: the lesson; of the same movie, or of a part of it.
        objective: noise2noise, supervised, sure or pure.
        train: the training.
        log, settings: for the estimate.
        progress: called with (stage, step, steps, nan).
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
    found = calibration(objective, denoiser, arrays, own, learned, test, noise, key, **averaged)
    denoiser = replace(denoiser, variance_scale=denoiser.variance_scale * jnp.float32(found.scale))
    out = Moments(out.mean, jnp.float32(found.scale) * out.var)
    wider = _in_gaps(denoiser, problem, out)
    out = problem.bounded(Moments(out.mean, jnp.where(problem.seen, out.var, wider * out.var)))
    said = (*log, learned.sentence, course(run), found.sentence)
    return assemble(movie, out, problem.noise, denoiser, run, said, settings)


def _in_gaps(denoiser: Denoiser, problem: Problem, out: Moments) -> float:
    """By how much more the variance is where nothing was measured.

    As many measured pixels are hidden, in groups of the same shape. What their predictions change by adds to the error: that of
    the best prediction from more is independent of it.
    """
    movie, seen = problem.movie, problem.seen
    hidden = np.roll(~seen, _ELSEWHERE, axis=(0, 1, 2)) & seen
    if not hidden.any():
        return 1.0
    left = seen & ~hidden
    arrays = prepare(denoiser, movie.frames, left, movie.valid() & left)
    moved = predict_arrays(denoiser, arrays, movie.shape, symmetries=problem.symmetries).mean
    change = np.asarray(moved - out.mean, np.float64)[hidden]
    stated = float(np.mean(np.asarray(out.var, np.float64)[hidden]))
    return 1 + float(np.mean(change**2)) / max(stated, float(np.finfo(np.float32).tiny))


def lesson(
    objective: Objective,
    movie: Movie,
    seen: np.ndarray,
    noise: NoiseModel,
    *,
    target: Movie | None = None,
    clean: Movie | None = None,
) -> Lesson:
    """The lesson of an objective.

    Args:
        objective: noise2noise, supervised, sure or pure.
        movie, seen: measured movie, and where it is measured, defects included [t, y, x].
        noise: its noise.
        target: a second exposure with noise of its own; None takes neighbouring frames, if the scene is still.
        clean: the clean movie.

    Raises:
        InputError: another shape, or a scene that is not still where it has to be.
    """
    if objective in ("sure", "pure"):
        return Lesson(movie, seen, None, None, f"Trained on {objective.upper()}, without target.")
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
    return Lesson(movie.with_frames(movie.frames, mask=kept), seen, values, None, said)


def _neighbours(movie: Movie, seen: np.ndarray, noise: NoiseModel) -> Lesson:
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
    chance = 4 * np.sqrt(2 / both.sum())
    if moved > STILL + chance:
        raise InputError(
            f"The scene changes between frames (by {100 * moved:.0f} % of the noise variance), so they are no "
            "repeated exposures: give --target, or use a blind network."
        )
    half = Movie(frames[::2], movie.times[: 2 * pairs : 2], mask=both, name=movie.name)
    values = np.where(both, frames[1::2], 0.0)
    return Lesson(
        half,
        seen[: 2 * pairs : 2],
        values,
        None,
        "Target: odd frames, predicted from the even ones.",
    )


def calibration(
    objective: Objective,
    denoiser: Denoiser,
    arrays: MovieArrays,
    out: Moments,
    learned: Lesson,
    test: np.ndarray,
    noise: NoiseModel,
    key: jax.Array,
    *,
    symmetries: int,
) -> Calibration:
    """The factor of the predicted variance.

    Args:
        objective: what the network was trained on.
        denoiser, arrays, out: network, the lesson's movie as it sees it, and what it makes of that.
        learned: the lesson.
        test: pixels that were not learned [t, y, x].
        noise: of the target, or of the movie where there is none.
        key: of the risk's probe.
        symmetries: averaged by the prediction.
    """
    if objective == "noise2noise":
        assert learned.target is not None
        return by_likelihood(out, learned.target, test, noise)
    if objective == "supervised":
        assert learned.target is not None
        error = (learned.target - np.asarray(out.mean))[test]
        ratio = float(np.mean(error**2 / np.asarray(out.var)[test])) if test.any() else 1.0
        scale = float(np.clip(ratio, *_SCALES))
        return Calibration(
            scale, f"Predicted variance scaled by {scale:.2f} on held-out clean pixels."
        )
    valid = learned.movie.valid()
    terms, window = risk_map(
        denoiser, arrays, valid.shape, noise, objective, key, symmetries=symmetries
    )
    risk = risk_over(terms, valid[window])
    let = np.square(_let_through(denoiser, arrays, out, learned, noise, key, symmetries))[window]
    # Where the risk is lost in its own scatter, the error is still no less than the noise let through.
    passed = float(np.mean(let[valid[window]]))
    error = max(float(risk.value), passed)
    predicted = float(np.mean(np.asarray(out.var)[window][valid[window]]))
    scale = float(np.clip(error / predicted, *_SCALES))
    return Calibration(
        scale,
        f"Predicted variance scaled by {scale:.2f}: the estimated risk of the result is "
        f"{risk.value:.3g} +- {risk.sd:.2g}, of which {passed:.3g} is noise let through (by injecting noise).",
    )


def _let_through(
    denoiser: Denoiser,
    arrays: MovieArrays,
    out: Moments,
    learned: Lesson,
    noise: NoiseModel,
    key: jax.Array,
    symmetries: int,
) -> np.ndarray:
    """Change of the result under noise of the same statistics, added once more [t, y, x]."""
    field = noise.field if isinstance(noise, Correlated) else _white
    shape = learned.movie.shape
    added = np.sqrt(np.asarray(noise.variance(out.mean))) * np.asarray(
        field(key, jnp.zeros(shape, jnp.float32))
    )
    frames = np.where(learned.seen, learned.movie.frames, 0) + added
    again = prepare(denoiser, frames, learned.seen, None, arrays.coefficients)
    moved = predict_arrays(denoiser, again, shape, symmetries=symmetries)
    return np.asarray(moved.mean - out.mean)


def _white(key: jax.Array, like: jax.Array) -> jax.Array:
    return jax.random.normal(key, like.shape, like.dtype)


def risk_map(
    denoiser: Denoiser,
    arrays: MovieArrays,
    shape: tuple[int, ...],
    noise: NoiseModel,
    objective: Objective,
    key: jax.Array,
    *,
    symmetries: int,
) -> tuple[np.ndarray, tuple[slice, slice, slice]]:
    """Each pixel's term of the estimated risk in a central window of all frames, and that window."""
    stride = denoiser.design.stride
    padded = arrays.seen.shape[1:]
    side = tuple(min(n, _WINDOW // stride * stride) for n in padded)
    corner = tuple((n - s) // (2 * stride) * stride for n, s in zip(padded, side, strict=True))
    codes = symmetry_codes(symmetries, turns=side[0] == side[1])
    window = tuple(slice(c, min(c + s, n)) for c, s, n in zip(corner, side, shape[1:], strict=True))
    kept = tuple(slice(0, w.stop - w.start) for w in window)
    terms = [
        np.asarray(
            _risk_frame(
                denoiser, arrays, noise, jax.random.fold_in(key, t), t, *corner,
                side=side, flips=codes, objective=objective,
            )
        )[kept]
        for t in range(shape[0])
    ]  # fmt: skip
    return np.stack(terms), (slice(None), *window)  # type: ignore[return-value]


def risk_over(terms: np.ndarray, valid: np.ndarray) -> Risk:
    """Mean and standard deviation of risk terms [t, y, x] over valid pixels, as floats."""
    risk = mean_risk(jnp.asarray(terms, jnp.float32), jnp.asarray(valid))
    return Risk(float(risk.value), float(risk.sd))  # type: ignore[arg-type]


def _risk_frame_of(
    denoiser: Denoiser,
    arrays: MovieArrays,
    noise: NoiseModel,
    key: jax.Array,
    t: jax.Array,
    y: jax.Array,
    x: jax.Array,
    *,
    side: tuple[int, int],
    flips: tuple[int, ...],
    objective: Objective,
) -> jax.Array:
    view = arrays.view(t, y, x, side)

    def mean(noisy: jax.Array) -> jax.Array:
        shown = view._replace(centre=denoiser.scaled(noisy[0]))
        return predict_view(denoiser, shown, flips).mean[None]

    noisy = denoiser.centre + denoiser.spread * view.centre
    return risk_terms(mean, noisy[None], noise, objective, key)[0]


_risk_frame = jax.jit(_risk_frame_of, static_argnames=("side", "flips", "objective"))

"""Denoise with a law: where the law holds the movie is the law's trajectory, where it does not it is the network's.

    x̂ = α x_law + (1 − α) x_net,   α = v_net / (v_net + v_law),   v_law = v_blind (1/β − 1)

β is the regression of y − x_blind on x_law − x_blind over a block of pixels and frames. The blind prediction does not see the noise
of the pixel that it predicts, so that β is unbiased: 1 where the law is right, 0 where it tells nothing of the truth. It is the
strength of the model error of weak-constraint assimilation (Trémolet, Q. J. R. Meteorol. Soc. 132, 2483 (2006),
doi:10.1256/qj.05.224), by evidence and block by block: a law may hold here and not there. Blocks that say little are drawn towards
the mean of all by as much as their spread over its error says (Efron & Morris, J. Am. Stat. Assoc. 70, 311 (1975),
doi:10.1080/01621459.1975.10479864).
"""

from dataclasses import replace
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float
from scipy import ndimage, optimize

from phdenoise.denoising import denoise as denoise_alone
from phdenoise.denoising.config import DenoiseConfig
from phdenoise.learn.blocks import in_blocks
from phdenoise.learn.compare import compare
from phdenoise.learn.config import FitConfig
from phdenoise.learn.fit import fit
from phdenoise.learn.laws import LAW_NAMES
from phdenoise.learn.result import FitResult
from phdenoise.movie import Estimate, Movie
from phdenoise.physics.equations.base import Law
from phdenoise.types import InputError, Progress, within

# Frames and pixels of a block: enough noise to average, few enough to find where a law fails.
BLOCK = (4, 8, 8)
# Largest β of a block: errors that law and network share can push it above 1, where the variance would be none.
LARGEST = 0.999


def denoise(
    movie: Movie,
    config: DenoiseConfig | None = None,
    *,
    law: str | Law | None = None,
    fit_config: FitConfig | None = None,
    progress: Progress | None = None,
    **options: Any,
) -> Estimate:
    """Denoise a movie from itself, from another one, and from a law of motion.

    Args:
        movie: frames [t, y, x] in any unit and scale; NaN and masked pixels allowed.
        config: see `DenoiseConfig`.
        law: "cahn-hilliard", "fickian", "allen-cahn" or an object, fitted to the movie; "auto" for the one of these that the movie
            says; by default none.
        fit_config: how to fit the law; see `FitConfig`.
        progress: called with (stage, step, steps, value).
        **options: of `phdenoise.denoising.denoise`: pretrained, checkpoint, target, clean, network.

    Returns:
        Estimate of the same shape and unit. With a law, `trust["law"]` holds its verdict and the share of the movie that is its
        trajectory.

    Raises:
        InputError: no valid pixel, a constant movie, an impossible setting, or an unknown law.
    """
    network = progress if law is None else within(progress, "network")
    estimate = denoise_alone(movie, config, progress=network, **options)
    if law is None:
        return estimate
    return with_law(estimate, law, fit_config, progress=progress)


def with_law(
    estimate: Estimate,
    law: str | Law = "auto",
    config: FitConfig | None = None,
    *,
    progress: Progress | None = None,
) -> Estimate:
    """A denoised movie with the law's part in it.

    Args:
        estimate: of `phdenoise.denoising.denoise`.
        law: of `denoise`.
        config: how to fit it.
        progress: called with (stage, step, steps, value).

    Returns:
        Estimate of the same shape and unit; as it was, but for a sentence, where no law can be fitted.

    Raises:
        InputError: an unknown law, or a movie that this law cannot be fitted to.
    """
    config = replace(FitConfig() if config is None else config, joint=True)
    movie, said = estimate.movie, []
    if law == "auto":
        try:
            found = compare(movie, LAW_NAMES, config, estimate=estimate, progress=progress)
        except InputError as error:
            return replace(estimate, log=(*estimate.log, f"No law is part of the movie: {error}"))
        said, law, config = [found.sentence], found.law.model, found.applied(config)
    result = fit(movie, law, config, estimate=estimate, progress=within(progress, "law"))
    said.append(f"{result.model}: {result.outcome}")
    if result.trajectory is None or not np.isfinite(result.trajectory).all():
        said.append("The law is no part of the denoised movie.")
        return replace(estimate, log=(*estimate.log, *said))
    return _joined(estimate, result, said)


def _joined(estimate: Estimate, result: FitResult, said: list[str]) -> Estimate:
    """Both predictions, each as far as it can be trusted."""
    mean, sd, used = _in_intensity(estimate.movie, result)
    blind, blind_variance = estimate.blind_mean, estimate.blind_variance
    if blind is None or blind_variance is None:
        raise InputError(
            "A law is joined with a network that is blind to the pixel it predicts: leave out --network classical "
            "and --target."
        )
    measured, valid = estimate.movie.frames, estimate.movie.valid() & used
    noise = np.asarray(estimate.noise.variance(jnp.asarray(blind)), float)
    beta = law_share(
        np.where(valid, measured - blind, 0.0), np.where(valid, mean - blind, 0.0), noise
    )
    beta = np.clip(beta, 0.0, LARGEST)
    unknown = np.maximum(blind_variance * (1 / np.maximum(beta, 1e-6) - 1), sd**2)
    alpha = np.where(valid & (beta > 0), estimate.variance / (estimate.variance + unknown), 0.0)
    joined = alpha * mean + (1 - alpha) * estimate.mean
    variance = np.where(alpha > 0, alpha * unknown, estimate.variance)
    share = float(alpha[valid].mean()) if valid.any() else 0.0
    said.append(f"{100 * share:.0f} % of the denoised movie is the law's trajectory.")
    about: dict[str, Any] = {"name": result.model, "holds": result.holds, "share": share}
    return replace(
        estimate,
        mean=joined.astype(np.float32),
        variance=variance.astype(np.float32),
        log=(*estimate.log, *said),
        trust={**estimate.trust, "law": {**about, "outcome": result.outcome}},
        settings={**estimate.settings, "law": result.model},
    )


def law_share(
    misses: Float[np.ndarray, "t y x"],
    differs: Float[np.ndarray, "t y x"],
    noise: Float[np.ndarray, "t y x"],
) -> Float[np.ndarray, "t y x"]:
    """β: how far the measurement follows the law where it differs from the network.

    Args:
        misses: measurement minus blind prediction, 0 where nothing was measured.
        differs: the law's prediction minus the blind one, 0 there too.
        noise: variance of the measurement.

    Returns:
        β of each pixel, smooth over blocks; it may lie outside 0..1.
    """
    shape = misses.shape
    size = [min(b, n) for b, n in zip(BLOCK, shape, strict=True)]
    pad = [(0, -n % b) for n, b in zip(shape, size, strict=True)]

    def summed(values: np.ndarray) -> np.ndarray:
        return in_blocks(np.pad(values, pad), tuple(size)).sum((1, 3, 5))

    length = summed(differs**2 / noise)
    along = summed(misses * differs / noise)
    if not length.sum() > 0:
        return np.zeros(shape)
    seen = length > 0
    # The variance of the β of a block is 1/length where the misses are noise.
    error = 1 / np.where(seen, length, 1.0)
    each = np.where(seen, along * error, 0.0)
    mean, own = common(each[seen], error[seen])
    each = np.where(seen, mean + (each - mean) * own / (own + error), mean)
    # Centres of pixels in units of blocks.
    places = [(np.arange(n) + 0.5) / b - 0.5 for n, b in zip(shape, size, strict=True)]
    grid = np.meshgrid(*places, indexing="ij")
    return ndimage.map_coordinates(each, grid, order=1, mode="nearest")


def common(
    values: Float[np.ndarray, " b"], variance: Float[np.ndarray, " b"]
) -> tuple[float, float]:
    """Mean of values of known variances and the variance of what they stand for, the one at which they scatter as they should.

    Paule & Mandel, J. Res. Natl. Bur. Stand. 87, 377 (1982), doi:10.6028/jres.087.022.

    Args:
        values: [b].
        variance: of their errors [b].

    Returns:
        Mean, and variance beside the errors, at least 0.
    """

    def mean(own: float) -> float:
        return float(np.sum(values / (variance + own)) / np.sum(1 / (variance + own)))

    def excess(own: float) -> float:
        return float(np.sum((values - mean(own)) ** 2 / (variance + own))) - (values.size - 1)

    if values.size < 2 or excess(0.0) <= 0:
        return mean(0.0), 0.0
    most = float(np.ptp(values)) ** 2
    own = optimize.brentq(excess, 0.0, most) if excess(most) < 0 else most
    return mean(own), own


def _in_intensity(
    movie: Movie, result: FitResult
) -> tuple[Float[np.ndarray, "t y x"], Float[np.ndarray, "t y x"], np.ndarray]:
    """The trajectory and its standard deviation in the movie's intensity and size, and where there is one."""
    if "scale_low" not in result.settings:
        raise InputError(
            "A law is joined where the intensity is an affine function of concentration."
        )
    low, high = (float(result.settings[f"scale_{end}"]) for end in ("low", "high"))
    first, last = result.frames_used
    n = int(result.settings["binning"])
    assert result.trajectory is not None
    assert result.trajectory_sd is not None
    mean, sd, used = np.zeros(movie.shape), np.zeros(movie.shape), np.zeros(movie.shape, bool)
    ny, nx = result.trajectory.shape[1:]
    inside = slice(first, last), slice(ny * n), slice(nx * n)
    zoom = (1, n, n)
    mean[inside] = low + (high - low) * ndimage.zoom(
        result.trajectory, zoom, order=1, grid_mode=True, mode="nearest"
    )
    sd[inside] = abs(high - low) * np.repeat(np.repeat(result.trajectory_sd, n, 1), n, 2)
    used[inside] = True
    return mean, sd, used

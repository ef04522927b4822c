"""The noise of a movie, estimated from the movie alone.

Differences in time (`differences`) cancel motion and keep the noise. Their mean square against the local mean
intensity is the photon-transfer line (`photon_transfer`); their correlation between neighbouring pixels
(`spatial_autocorrelation`) is that of the noise, and decides what a denoiser must not see. Noise that is correlated
between frames is found by `temporal_correlation`.
"""

from dataclasses import dataclass, field, replace
from typing import Literal

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float
from scipy import ndimage

from phdenoise.noise.correlation import (
    LARGEST_NOISE_LAG,
    autocorrelation,
    estimate_temporal_correlation,
)
from phdenoise.noise.differences import (
    SMALLEST_HIGHPASS_SHARE,
    Difference,
    difference,
    highpass_share,
)
from phdenoise.noise.duplicates import find_duplicate_frames, sentences
from phdenoise.noise.levels import Levels, levels_of
from phdenoise.noise.models.base import NoiseModel
from phdenoise.noise.models.gaussian import predictable_share
from phdenoise.noise.photon_transfer import NoiseKind, binning_sentence, fit_line, transfer_points
from phdenoise.noise.spots import saturated
from phdenoise.noise.structured.estimate import estimate_structure, expanded
from phdenoise.noise.structured.pattern import Structure
from phdenoise.noise.unmeasured import find_unmeasured
from phdenoise.types import InputError

Blind = Literal["pixel", "frame", "udvd"]

# Largest lag of the correlations along the axes that an estimate lists [px].
LAGS = 5
# Correlation of neighbouring pixels [1] above which the centre frame is hidden.
LARGEST_WHITE_CORRELATION = 0.08
# Lags of correlated noise are at most so far apart [px]: colour filters and interleaved amplifiers leave out every other pixel.
LARGEST_LAG_GAP = 2
# Share of a pixel's noise variance [1] that may be predicted from pixels outside of the hidden region.
_LARGEST_PREDICTABLE_SHARE = 0.002
# Noise is correlated if its largest correlation between neighbours exceeds this share [1] of the largest one farther away, which is
# motion's.
_MOTION_SHARE = 0.5
# Share of the variance of noise correlated in time [1] that differences in time have at least: what was measured is divided by it.
_SMALLEST_KEPT_SHARE = 0.02
# Two frames that share less than this share of their structure [1] are taken for frames of different scenes.
_COMMON = 0.5
# Share of the differences' variance [1] from which on motion is reported, and the variance measured after a high-pass.
_REPORTED_MOTION = 0.02
# Share of the usable values [1] that differences keep; where they keep less, gaps in time are closed pixel by pixel.
_SMALLEST_USABLE_SHARE = 0.02
# Usable values that differences need at least; with fewer all are used.
_SMALLEST_SAMPLE = 16


@dataclass(frozen=True)
class NoiseEstimate:
    """Noise model of a movie with the evidence for it.

    Attributes:
        model: noise model of each pixel.
        sd: standard deviation of each of the model's parameters.
        correlation: noise correlation at lags 0..5 along "x" and "y"; along "t" as far as noise seems to last.
        autocorrelation: noise correlation at lags (y, x) up to 8, 1 at the centre [2 r + 1, 2 r + 1].
        autocorrelation_sd: standard deviation of an autocorrelation that is truly zero.
        transfer: photon-transfer points, columns mean intensity, variance, sd of the variance [bins, 3].
        blind: region to hide by default.
        sentences: what was found and decided.
        motion_share: share of the variance of the differences between frames that was taken for motion, not for noise.
        motion_log_variance: log of the power of second differences over that of the order with the least: the variance that motion may have left.
        kept: weights of the noise's correlation at lags 0, 1 ... in time, whose sum is the share of its variance that the differences have.
        temporal_correlation: correlation with the noise of the next frame, the one after, and so on; empty unless it is known (`with_temporal_correlation`).
        structure: rows, columns and waves that are part of the noise; None where there are none.
        white: the estimate of what is left without the structure; None where there is none.
    """

    model: NoiseModel
    sd: dict[str, float]
    correlation: dict[str, np.ndarray]
    autocorrelation: np.ndarray
    autocorrelation_sd: float
    transfer: np.ndarray
    blind: Blind
    sentences: tuple[str, ...]
    motion_share: float = 0.0
    motion_log_variance: float = 0.0
    kept: np.ndarray = field(default_factory=lambda: np.ones(1))
    temporal_correlation: np.ndarray = field(default_factory=lambda: np.zeros(0))
    structure: Structure | None = None
    white: "NoiseEstimate | None" = None

    def saying(self, *sentences: str) -> "NoiseEstimate":
        """The estimate with more sentences."""
        return replace(self, sentences=(*self.sentences, *sentences))

    def without_structure(self) -> "NoiseEstimate":
        """The estimate of what is left when the structure is taken out; itself where there is none."""
        return self if self.white is None else replace(self.white, sentences=self.sentences)

    def with_temporal_correlation(self, temporal_correlation: np.ndarray) -> "NoiseEstimate":
        """The estimate for noise of a known correlation in time, of whose variance differences of frames have less."""
        lags = min(len(temporal_correlation), len(self.kept) - 1)
        share = self.kept[0] + float(self.kept[1 : lags + 1] @ temporal_correlation[:lags])
        along = self.correlation | {
            "t": np.append(1.0, temporal_correlation if len(temporal_correlation) else 0.0)
        }
        # High orders were chosen because they have less of the noise, not because they have less motion.
        excess = 0.0 if len(temporal_correlation) else self.motion_log_variance
        known = replace(
            self,
            temporal_correlation=temporal_correlation,
            correlation=along,
            motion_log_variance=excess,
        )
        return known.scaled(1 / max(share, _SMALLEST_KEPT_SHARE))

    def significant_autocorrelation(self) -> Float[np.ndarray, "ky kx"]:
        """The autocorrelation where it is significant, zero elsewhere; its two halves averaged."""
        rho = np.where(self._seen(0.0), np.nan_to_num(self.autocorrelation), 0.0)
        rho[rho.shape[0] // 2, rho.shape[1] // 2] = 1.0
        return ((rho + rho[::-1, ::-1]) / 2).astype(np.float32)

    def correlated(self) -> NoiseModel:
        """The model with its significant correlation in space and time."""
        return self.model.correlated(self.significant_autocorrelation(), self.temporal_correlation)

    def scaled(self, factor: float) -> "NoiseEstimate":
        """The same with its variance times a factor."""
        transfer = self.transfer * np.array([1.0, factor, factor])
        return replace(self, model=self.model.scaled(factor), transfer=transfer)

    @property
    def unmodelled_log_variance(self) -> float:
        """Log of the mean variance of the photon-transfer points over the model's variance there; 0 where the model's is larger."""
        mean, variance, _ = self.transfer.T
        said = float(np.mean(self.model.variance(jnp.asarray(mean, jnp.float32))))
        return max(float(np.log(max(variance.mean(), 1e-30) / max(said, 1e-30))), 0.0)

    def finest(self) -> float | None:
        """Share of the noise's variance that passes a high-pass (`highpass`), where differences of frames hold motion.

        None where they do not, or too little of the noise passes.
        """
        share, _ = highpass_share(self.autocorrelation)
        return (
            share
            if self.motion_share > _REPORTED_MOTION and share > SMALLEST_HIGHPASS_SHARE
            else None
        )

    def tail(self) -> np.ndarray:
        """The measured autocorrelation just beyond the lags where it is significant, which may be motion's; zero elsewhere."""
        seen = self._seen(0.0)
        near = ndimage.binary_dilation(seen, np.ones((3, 3), bool), iterations=LARGEST_LAG_GAP)
        return np.where(near & ~seen, np.nan_to_num(self.autocorrelation), 0.0)

    def reach(self) -> tuple[int, int]:
        """Largest lags (y, x) at which the noise is significantly correlated [px]."""
        return self._farthest(LARGEST_WHITE_CORRELATION)

    def blind_half_width(self) -> tuple[int, int] | None:
        """Half sides (y, x) of a rectangle outside of which nothing predicts its centre's noise [px].

        None where the noise is correlated as far as it was measured.
        """
        rho = self.significant_autocorrelation().astype(float)
        y, x = self._farthest(0.0)
        # Where a smooth tail is cut off, one more pixel hides the part that is not significant.
        for half in (self.reach(), (y, x), (y + 1, x + 1)):
            within = max(half) < len(rho) // 2
            if within and predictable_share(rho, half) < _LARGEST_PREDICTABLE_SHARE:
                return half
        return None

    def _farthest(self, least: float) -> tuple[int, int]:
        far = np.argwhere(self._seen(least)) - np.array(self.autocorrelation.shape) // 2
        y, x = np.abs(far).max(axis=0, initial=0).tolist()
        return y, x

    def _seen(self, least: float) -> np.ndarray:
        """Lags [2 r + 1, 2 r + 1] where the noise correlates by more than `least`, by more than chance, and by more than motion does.

        Lags that are not connected to the centre are motion's.
        """
        rho = np.abs(np.nan_to_num(self.autocorrelation))
        centre, rim = np.zeros(rho.shape, bool), np.ones(rho.shape, bool)
        centre[rho.shape[0] // 2, rho.shape[1] // 2] = True
        rim[1:-1, 1:-1] = False
        motion = float(np.median(rho[rim]))
        above = rho > max(least, 3 * self.autocorrelation_sd, motion)
        step = np.ones((2 * LARGEST_LAG_GAP + 1, 2 * LARGEST_LAG_GAP + 1), bool)
        seen: np.ndarray = ndimage.binary_dilation(centre, step, iterations=-1, mask=above | centre)
        return seen


def estimate_noise(
    frames: np.ndarray, valid: np.ndarray | None = None, kind: NoiseKind = "auto"
) -> NoiseEstimate:
    """Estimate the noise of a movie.

    Args:
        frames: measured intensities [t, y, x]; NaN allowed where not valid.
        valid: True where a pixel may be used [t, y, x]; default all finite.
        kind: family to fit; auto lets the photon-transfer line decide.

    Returns:
        The model, with the evidence for it.

    Raises:
        InputError: no valid pixel, an unknown kind, or no noise at all (constant or noiseless frames).
    """
    if kind not in ("auto", "gaussian", "poisson", "poisson-gaussian"):
        raise InputError(
            f"Unknown noise '{kind}': use auto, gaussian, poisson or poisson-gaussian."
        )
    data = np.asarray(frames, np.float64)
    good = np.isfinite(data) if valid is None else valid & np.isfinite(data)
    if not good.any():
        raise InputError("The movie has no valid pixel: every value is NaN or masked.")
    data, good, present, absent = _measured(data, good)
    data = np.where(good, data, data[good].mean())
    full = saturated(data, good)
    levels = levels_of(data[good])
    share = float(full.sum() / data.size)
    extra = (f"{100 * share:.2g} % of the pixels look saturated and were left out.",) * (share > 0)
    used = good & ~full
    found = difference(data, used, levels.dark)
    reach = min(LARGEST_NOISE_LAG, min(data.shape[1:]) // 4)
    structure = estimate_structure(data, used, found, reach)
    if structure is None:
        white = _of_pixels(data, used, found, kind, levels)
        return white.saying(*extra, *absent)
    data = data - structure.offset(data.shape)
    white = _of_pixels(data, used, difference(data, used, levels.dark), kind, levels)
    whole = expanded(structure, present)
    return _with_structure(white, whole).saying(*extra, *absent)


def _of_pixels(
    data: np.ndarray, used: np.ndarray, found: Difference, kind: NoiseKind, levels: Levels
) -> NoiseEstimate:
    """The estimate of noise without structure.

    Args:
        data: finite intensities [t, y, x].
        used: pixels that may be used [t, y, x].
        found: differences of the movie.
        kind: family to fit.
        levels: the steps of the movie's values.
    """
    in_time = estimate_temporal_correlation(data, used)
    if found.usable.sum() < _SMALLEST_USABLE_SHARE * used.sum():
        found = difference(*_packed(data, used), levels.dark)
    if found.usable.sum() < _SMALLEST_SAMPLE:
        found = found._replace(usable=np.ones_like(found.usable))
    rho, rho_sd, motion = _restored(*autocorrelation(found))
    if data.shape[0] == 1:
        # The high-pass that removes the image also shapes the noise: nothing is known.
        rho = np.where(np.arange(rho.size).reshape(rho.shape) == rho.size // 2, 1.0, np.nan)
    transfer, motion = transfer_points(found, motion, rho)
    model, sd, sentence = fit_line(transfer, kind, levels)
    blind, reason = _choose_blind(data.shape[0], rho, rho_sd)
    if data.shape[0] == 2 and blind == "frame":
        alone = _of_pixels(
            data[:1], used[:1], difference(data[:1], used[:1], levels.dark), kind, levels
        )
        if _common(data, used, alone) < _COMMON:
            return _of_strangers(alone)
        sd, doubt = _doubted(model, sd, alone)
        reason = f"{reason} {doubt}"
    moved = (f"Motion made {100 * motion:.0f} % of the differences and was subtracted.",)
    along_x, along_y = _axes(rho)
    return NoiseEstimate(
        model=model,
        sd=sd,
        correlation={
            "x": along_x,
            "y": along_y,
            "t": np.append(1.0, in_time if len(in_time) else 0.0),
        },
        autocorrelation=rho,
        autocorrelation_sd=rho_sd,
        transfer=transfer,
        blind=blind,
        sentences=(
            f"Noise ({found.name}): {sentence}",
            reason,
            *moved * bool(motion > _REPORTED_MOTION),
            *(s for s in (binning_sentence(model, float(data[used].mean())),) if s),
        ),
        motion_share=float(motion),
        motion_log_variance=found.motion_log_variance,
        kept=found.kept,
    )


def _common(data: np.ndarray, used: np.ndarray, alone: NoiseEstimate) -> float:
    """Share of the structure of two frames that both have, which is 1 for a scene at rest and 0 for two scenes.

    Args:
        data, used: two frames and their usable pixels [2, y, x].
        alone: noise of the first frame, taken for white.
    """
    both = used.all(axis=0)
    first, second = data[0][both], data[1][both]
    covariance = np.cov(first, second) - np.mean(alone.transfer[:, 1]) * np.eye(2)
    structure = np.sqrt(max(covariance[0, 0], 0.0) * max(covariance[1, 1], 0.0))
    return float(covariance[0, 1] / structure) if structure > 0 else 1.0


def _of_strangers(alone: NoiseEstimate) -> NoiseEstimate:
    """The estimate for two frames of different scenes, whose differences are the scenes': the noise is taken for white.

    Args:
        alone: of the first frame, which knows no correlation.
    """
    said = "The two frames show different scenes, whose noise is taken for white: correlated noise would be taken for the scene."
    white = np.nan_to_num(alone.autocorrelation)
    along_x, along_y = _axes(white)
    return replace(
        alone,
        blind="pixel",
        autocorrelation=white,
        correlation=alone.correlation | {"x": along_x, "y": along_y},
        sentences=(alone.sentences[0], said, *alone.sentences[2:]),
    )


def _doubted(
    model: NoiseModel, sd: dict[str, float], alone: NoiseEstimate
) -> tuple[dict[str, float], str]:
    """Wider deviations for two frames, which do not tell correlated noise from motion.

    Args:
        model, sd: of the differences, as if all were noise.
        alone: of the first frame, taken for white.

    Returns:
        Deviations that reach from one reading to the other, and a sentence.
    """
    level = float(np.sqrt(np.mean(alone.transfer[:, 1])))
    said = f"Two frames do not tell correlated noise from motion: were it white, its sd would be {level:.4g}."
    if type(model) is not type(alone.model):
        return sd, said
    wider = {
        name: float(np.hypot(value, getattr(model, name) - getattr(alone.model, name)))
        for name, value in sd.items()
    }
    return wider, said


def _with_structure(white: NoiseEstimate, structure: Structure) -> NoiseEstimate:
    """The estimate of all noise, from that of what is left without the structure."""
    level = float(np.mean(white.transfer[:, 1]))
    covariance = level * np.nan_to_num(white.autocorrelation) + structure.autocovariance
    rho = covariance / (level + structure.variance)
    transfer = white.transfer + np.array([0.0, structure.variance, 0.0])
    along_x, along_y = _axes(rho)
    blind, reason = _choose_blind(2, rho, white.autocorrelation_sd)
    left, *others = white.sentences
    model = white.model.with_read_noise(structure.variance)
    sd = float(np.sqrt(level + structure.variance))
    total = f"Noise: sd {sd:.4g} in all, with structure. Without it: {left[0].lower()}{left[1:]}"
    return replace(
        white,
        model=model,
        correlation=white.correlation | {"x": along_x, "y": along_y},
        autocorrelation=rho,
        transfer=transfer,
        blind=blind,
        sentences=(total, *structure.sentences, reason, *others[1:]),
        structure=structure,
        white=white,
    )


def _measured(
    data: np.ndarray, good: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, list[str]]:
    """The frames of which something was measured, where, which they are, and what was found not to be."""
    borders = find_unmeasured(data, good)
    said = borders.sentences()
    if borders.any() and (good & borders.mask()).any():
        good = good & borders.mask()
    copies = find_duplicate_frames(data, good)
    said += sentences(copies)
    present = good.any(axis=(1, 2)) & ~copies
    return (
        (data, good, present, said)
        if present.all()
        else (data[present], good[present], present, said)
    )


def _packed(data: np.ndarray, good: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Each pixel's usable values one after the other, where few of them are neighbours in time."""
    order = np.argsort(~good, axis=0, kind="stable")
    data, good = (np.take_along_axis(a, order, axis=0) for a in (data, good))
    count = max(int(good.any(axis=(1, 2)).sum()), 1)
    return data[:count], good[:count]


def _axes(rho: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Correlation at lags 0..LAGS along x and y, zero beyond what was measured."""
    r = rho.shape[0] // 2
    both = np.zeros((2, LAGS + 1))
    n = min(r, LAGS) + 1
    both[0, :n], both[1, :n] = rho[r, r : r + n], rho[r : r + n, r]
    return both[0], both[1]


def _restored(rho: np.ndarray, rho_sd: float, motion: float) -> tuple[np.ndarray, float, float]:
    """Autocorrelation, its deviation and the share of motion, after giving back what was taken for motion in excess.

    An excess leaves all neighbours equally negative, as no noise is.
    """
    r = rho.shape[0] // 2
    near = rho[max(r - 2, 0) : r + 3, max(r - 2, 0) : r + 3].ravel()
    around = np.delete(near, near.size // 2)
    excess = float(np.median(around)) if around.size and np.isfinite(around).all() else 0.0
    if motion <= 0 or excess > -2 * rho_sd:
        return rho, rho_sd, motion
    # Not more than was subtracted.
    excess = max(excess, -motion / (1 - motion))
    rho = (rho - excess) / (1 - excess)
    return rho, rho_sd, 1 - (1 - motion) * (1 - excess)


def _choose_blind(frames: int, rho: np.ndarray, rho_sd: float) -> tuple[Blind, str]:
    if frames < 2:
        return "udvd", f"{frames} frame(s): the pixel is hidden and its own frame fills it in."
    r = rho.shape[0] // 2
    inner = slice(max(r - LARGEST_LAG_GAP, 0), r + LARGEST_LAG_GAP + 1)
    near = np.abs(rho[inner, inner]).ravel()
    largest = float(np.sort(near)[-2]) if near.size > 1 else 0.0
    far = np.abs(rho)
    far[inner, inner] = 0.0
    along_x, along_y = _axes(rho)
    found = f"noise correlation of neighbours {along_x[1]:.2f} (x), {along_y[1]:.2f} (y)"
    # Chance allows for at most twice the limit; a correlation that is much larger at a distance is motion's.
    white = largest <= max(
        min(max(LARGEST_WHITE_CORRELATION, 4 * rho_sd), 2 * LARGEST_WHITE_CORRELATION),
        _MOTION_SHARE * far.max(),
    )
    if not white:
        return "frame", (
            f"{found}: the centre frame is hidden, whole or as far as the noise reaches."
        )
    return "pixel", f"{found}: white, only the pixel itself is hidden in its frame."

"""The noise of a movie, estimated from the movie alone.

Differences in time (`differences`) cancel what moves and keep the noise. Their mean square against the local mean
intensity is the photon-transfer line (`transfer`); their correlation between neighbouring pixels is that of the
noise, and decides what a denoiser must not see. What noise may last for several frames is in `lasting`.
"""

from dataclasses import dataclass, field, replace
from typing import Literal

import jax.numpy as jnp
import numpy as np
from scipy import ndimage

from phdenoise.noise.correlated import Correlated, told_from_outside
from phdenoise.noise.differences import ENOUGH, autocorrelation, difference, of_the_finest
from phdenoise.noise.lasting import lasting
from phdenoise.noise.models import Gaussian, Poisson, PoissonGaussian, scaled
from phdenoise.noise.transfer import NoiseKind, fit_line, transfer_points
from phdenoise.types import InputError

Blind = Literal["pixel", "frame", "udvd"]

LAGS = 5
# Correlation of neighbouring pixels above which the centre frame is hidden.
CORRELATED = 0.08
# Pixels between lags of correlated noise at most: colour filters and interleaved amplifiers leave out every other one.
LINK = 2
# Share of a pixel's noise that its surroundings may tell before it counts as not hidden.
_TOLD = 0.002
# Noise that neighbours share is alike by more than this share of what farther pixels are.
_MOVES = 0.5
# Share of noise that lasts which differences have at least.
_KEPT = 0.02
# Share of the differences' variance that is worth a word when it was motion.
_MOVED = 0.02


@dataclass(frozen=True)
class NoiseEstimate:
    """Noise model of a movie with the evidence for it.

    Attributes:
        model: Gaussian, Poisson or PoissonGaussian.
        sd: standard deviation of each of the model's parameters.
        correlation: noise correlation at lags 0..5 along "x" and "y"; along "t" as far as noise seems to last.
        autocorrelation: noise correlation at lags (y, x) up to 8, 1 at the centre [2 r + 1, 2 r + 1].
        autocorrelation_sd: standard deviation of an autocorrelation that is truly zero.
        transfer: photon-transfer points, columns mean intensity, variance, sd of the variance [bins, 3].
        blind: region to hide by default.
        sentences: what was found and decided.
        motion: share of the differences between frames that was taken for motion, not for noise.
        excess: log of the power of second differences over that of the order with the least: what motion may have left.
        kept: share of the variance of noise, correlated at lags 0, 1 ... along t, that the differences have, each twice but the first.
        lasting: correlation with the noise of the next frame, the one after, and so on, where it is known to last (`that_lasts`).
    """

    model: Gaussian | Poisson | PoissonGaussian
    sd: dict[str, float]
    correlation: dict[str, np.ndarray]
    autocorrelation: np.ndarray
    autocorrelation_sd: float
    transfer: np.ndarray
    blind: Blind
    sentences: tuple[str, ...]
    motion: float = 0.0
    excess: float = 0.0
    kept: np.ndarray = field(default_factory=lambda: np.ones(1))
    lasting: np.ndarray = field(default_factory=lambda: np.zeros(0))

    def that_lasts(self, lasting: np.ndarray) -> "NoiseEstimate":
        """The same for noise that is known to last: differences of frames had less of its variance than of other noise's."""
        lags = min(len(lasting), len(self.kept) - 1)
        share = self.kept[0] + float(self.kept[1 : lags + 1] @ lasting[:lags])
        along = self.correlation | {"t": np.append(1.0, lasting if len(lasting) else 0.0)}
        # High orders were chosen because they had less of it, not because less moved in them.
        excess = 0.0 if len(lasting) else self.excess
        known = replace(self, lasting=lasting, correlation=along, excess=excess)
        return known.scaled(1 / max(share, _KEPT))

    def correlated(self) -> Correlated:
        """The model with its autocorrelation, where that is seen."""
        rho = np.where(self._seen(0.0), np.nan_to_num(self.autocorrelation), 0.0)
        rho[rho.shape[0] // 2, rho.shape[1] // 2] = 1.0
        return Correlated.of(self.model, rho, self.lasting)

    def scaled(self, factor: float) -> "NoiseEstimate":
        """The same with its variance times a factor."""
        transfer = self.transfer * np.array([1.0, factor, factor])
        return replace(self, model=scaled(self.model, factor), transfer=transfer)

    @property
    def shortfall(self) -> float:
        """Log of the mean variance of the photon-transfer points over the model's there, where it says too little."""
        mean, variance, _ = self.transfer.T
        said = float(np.mean(self.model.variance(jnp.asarray(mean, jnp.float32))))
        return max(float(np.log(max(variance.mean(), 1e-30) / max(said, 1e-30))), 0.0)

    def finest(self) -> float | None:
        """Share of the noise's variance that a frame's finest structure has, where differences of frames hold motion.

        None where they do not, or the noise has too little there.
        """
        share, _ = of_the_finest(self.autocorrelation)
        return share if self.motion > _MOVED and share > ENOUGH else None

    def tail(self) -> np.ndarray:
        """What the autocorrelation may be beyond the lags where it is seen: what was measured there, which may be motion."""
        seen = self._seen(0.0)
        near = ndimage.binary_dilation(seen, np.ones((3, 3), bool), iterations=LINK)
        return np.where(near & ~seen, np.nan_to_num(self.autocorrelation), 0.0)

    def reach(self) -> tuple[int, int]:
        """Farthest lags (y, x) at which the noise is seen to be correlated [px]."""
        return self._farthest(CORRELATED)

    def shelter(self) -> tuple[int, int] | None:
        """Half sides (y, x) of a rectangle outside of which nothing tells of its centre's noise [px].

        None where the noise reaches as far as it was looked at.
        """
        rho = np.asarray(self.correlated().autocorrelation, float)
        y, x = self._farthest(0.0)
        # Where a smooth tail is cut off, a pixel more hides what was not seen of it.
        for half in (self.reach(), (y, x), (y + 1, x + 1)):
            within = max(half) < len(rho) // 2
            if within and told_from_outside(rho, half) < _TOLD:
                return half
        return None

    def _farthest(self, least: float) -> tuple[int, int]:
        far = np.argwhere(self._seen(least)) - np.array(self.autocorrelation.shape) // 2
        y, x = np.abs(far).max(axis=0, initial=0).tolist()
        return y, x

    def _seen(self, least: float) -> np.ndarray:
        """Lags [2 r + 1, 2 r + 1] where the noise correlates by more than `least`, chance, and what motion leaves.

        What is alike far away and not near is motion: only lags that others join to the centre are noise's.
        """
        rho = np.abs(np.nan_to_num(self.autocorrelation))
        centre, rim = np.zeros(rho.shape, bool), np.ones(rho.shape, bool)
        centre[rho.shape[0] // 2, rho.shape[1] // 2] = True
        rim[1:-1, 1:-1] = False
        motion = float(np.median(rho[rim]))
        above = rho > max(least, 3 * self.autocorrelation_sd, motion)
        step = np.ones((2 * LINK + 1, 2 * LINK + 1), bool)
        seen: np.ndarray = ndimage.binary_dilation(centre, step, iterations=-1, mask=above | centre)
        return seen


def estimate_noise(
    frames: np.ndarray, valid: np.ndarray | None = None, kind: NoiseKind = "auto"
) -> NoiseEstimate:
    """Estimate the noise of frames [t, y, x].

    Args:
        frames: measured intensities; NaN allowed where not valid.
        valid: True where a pixel may be used [t, y, x]; default all finite.
        kind: family to fit; auto lets the photon-transfer line decide.

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
    data = np.where(good, data, data[good].mean())
    full = saturated(data, good)
    used = good & ~full
    lasts = lasting(data, used)
    found = difference(data, used)
    if found.usable.sum() < 16:
        found = found._replace(usable=np.ones_like(found.usable))
    rho, rho_sd, motion = _restored(*autocorrelation(found))
    if data.shape[0] == 1:
        # The high-pass that removes the image also shapes the noise: nothing is known.
        rho = np.where(np.arange(rho.size).reshape(rho.shape) == rho.size // 2, 1.0, np.nan)
    transfer, motion = transfer_points(found, motion, rho)
    values = data[good]
    counts = bool(np.all(values >= 0) and np.all(values == np.round(values)))
    model, sd, sentence = fit_line(transfer, kind, counts)
    blind, reason = _choose_blind(data.shape[0], rho, rho_sd)
    share = float(full.sum() / data.size)
    extra = (f"{100 * share:.2g} % of the pixels look saturated and were left out.",) * (share > 0)
    moved = (f"Motion made {100 * motion:.0f} % of the differences and was subtracted.",)
    along_x, along_y = _axes(rho)
    return NoiseEstimate(
        model=model,
        sd=sd,
        correlation={"x": along_x, "y": along_y, "t": np.append(1.0, lasts if len(lasts) else 0.0)},
        autocorrelation=rho,
        autocorrelation_sd=rho_sd,
        transfer=transfer,
        blind=blind,
        sentences=(
            f"Noise ({found.name}): {sentence}",
            reason,
            *moved * bool(motion > _MOVED),
            *extra,
        ),
        motion=float(motion),
        excess=found.excess,
        kept=found.kept,
    )


def saturated(data: np.ndarray, good: np.ndarray) -> np.ndarray:
    """Pixels at the very top value when many share it, four times as many as any value just below.

    Args:
        data: finite intensities [t, y, x].
        good: pixels that may be used [t, y, x].
    """
    values = data[good]
    top = values.max()
    full = good & (data == top)
    below, level = [0], top
    for _ in range(3):
        lower = values[values < level]
        if lower.size == 0:
            break
        level = lower.max()
        below.append(int((values == level).sum()))
    many = full.sum() > max(16, 4 * max(below)) and np.unique(values[:100_000]).size > 16
    return full if many else np.zeros_like(good)


def _axes(rho: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Correlation at lags 0..LAGS along x and y, zero beyond what was measured."""
    r = rho.shape[0] // 2
    both = np.zeros((2, LAGS + 1))
    n = min(r, LAGS) + 1
    both[0, :n], both[1, :n] = rho[r, r : r + n], rho[r : r + n, r]
    return both[0], both[1]


def _restored(rho: np.ndarray, rho_sd: float, motion: float) -> tuple[np.ndarray, float, float]:
    """The same where too much was taken for motion: that leaves all neighbours equally negative, as no noise is."""
    r = rho.shape[0] // 2
    near = rho[max(r - 2, 0) : r + 3, max(r - 2, 0) : r + 3].ravel()
    around = np.delete(near, near.size // 2)
    excess = float(np.median(around)) if around.size and np.isfinite(around).all() else 0.0
    if motion <= 0 or excess > -2 * rho_sd:
        return rho, rho_sd, motion
    # Never more than was taken away.
    excess = max(excess, -motion / (1 - motion))
    rho = (rho - excess) / (1 - excess)
    return rho, rho_sd, 1 - (1 - motion) * (1 - excess)


def _choose_blind(frames: int, rho: np.ndarray, rho_sd: float) -> tuple[Blind, str]:
    if frames < 2:
        return "udvd", f"{frames} frame(s): the pixel is hidden and its own frame fills it in."
    r = rho.shape[0] // 2
    inner = slice(max(r - LINK, 0), r + LINK + 1)
    near = np.abs(rho[inner, inner]).ravel()
    largest = float(np.sort(near)[-2]) if near.size > 1 else 0.0
    far = np.abs(rho)
    far[inner, inner] = 0.0
    along_x, along_y = _axes(rho)
    found = f"noise correlation of neighbours {along_x[1]:.2f} (x), {along_y[1]:.2f} (y)"
    # Chance excuses no more than twice that; what is far more alike at a distance moves.
    white = largest <= max(min(max(CORRELATED, 4 * rho_sd), 2 * CORRELATED), _MOVES * far.max())
    if not white:
        return "frame", (
            f"{found}: the centre frame is hidden, whole or as far as the noise reaches."
        )
    return "pixel", f"{found}: white, only the pixel itself is hidden in its frame."

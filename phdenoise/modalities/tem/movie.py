"""Movies of counts: as many neighbouring frames are summed, at each place, as the frame itself does not contradict.

    f_w: estimate from the sum of frames t − w .. t + w;      choose the largest w with ⟨(f_w − f_v)²⟩ ≤ κ ⟨s_v² + s_w²⟩, all v < w

f_0 is the answer of the network that simulations have trained, the prior of what the other frames add. Where the particle is
at rest, the sum of frames has more electrons; where an atom has moved, the sum is refused and the single frame stays. The rule
is Lepski's, Theory Probab. Appl. 35, 454 (1991), doi:10.1137/1135065. Frames drift less than a bin within a window, or are
aligned before (`phdenoise.modalities.drift`).
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from scipy.ndimage import uniform_filter

from phdenoise.modalities.tem.binning import measure_vacuum
from phdenoise.modalities.tem.denoiser import DenoisedCounts, denoise_counts
from phdenoise.modalities.tem.network import TemUnet
from phdenoise.types import InputError

# Side of the neighbourhood in which estimates are compared [angstrom]: one atomic column with its surroundings.
_PLACE = 2.0


@dataclass(frozen=True)
class MovieConfig:
    """How frames are pooled."""

    windows: tuple[int, ...] = (0, 1, 2, 4, 8)
    """Frames on each side that may be summed, growing from 0."""
    contradiction: float = 0.4
    """κ: squared difference, over the sum of squared standard deviations, from which on a window is refused. Estimates share
    counts and bias, so it lies below one; at 0.7 a movie that drifts by a bin a frame is 0.2 dB worse than its frames."""

    def __post_init__(self) -> None:
        if (
            not self.windows
            or self.windows[0] != 0
            or list(self.windows) != sorted(set(self.windows))
        ):
            raise InputError(f"windows must grow from 0, got {self.windows}.")


def denoise_movie(
    counts: Float[np.ndarray, "t y x"],
    *,
    pixel_size: float,
    vacuum: float | None = None,
    network: TemUnet | None = None,
    config: MovieConfig | None = None,
) -> DenoisedCounts:
    """Denoise a movie of counts with the help of neighbouring frames.

    Args:
        counts: electrons of each detector pixel, Poisson with gain 1.
        pixel_size: of the detector pixels [angstrom].
        vacuum: mean electrons of a pixel in vacuum; measured where None.
        network: another network than the package's.
        config: windows and the rule.

    Returns:
        Mean and standard deviation of every pixel of a frame [electrons], and the vacuum level.

    Raises:
        InputError: as in `denoise_counts`.
    """
    config = MovieConfig() if config is None else config
    frames = np.asarray(counts, np.float64)
    if vacuum is None:
        vacuum = measure_vacuum(frames, pixel_size)
    side = max(1, round(_PLACE / pixel_size))
    estimates: list[tuple[np.ndarray, np.ndarray]] = []
    mean = variance = np.zeros(0)
    alive = np.ones(frames.shape, bool)
    for window in config.windows:
        if window >= len(frames) and window > 0:
            break
        sums, number = pooled(frames, window)
        out = denoise_counts(sums, pixel_size=pixel_size, vacuum=vacuum, network=network)
        here, spread = out.mean / number, (out.sd / number) ** 2
        if not estimates:
            mean, variance = here.astype(np.float64), spread.astype(np.float64)
        else:
            for other, s2 in estimates:
                size = (1, side, side)
                off = uniform_filter((here - other) ** 2, size)
                alive &= off <= config.contradiction * uniform_filter(spread + s2, size)
            mean, variance = np.where(alive, here, mean), np.where(alive, spread, variance)
        estimates.append((here, spread))
    return DenoisedCounts(
        mean.astype(np.float32), np.sqrt(variance).astype(np.float32), float(vacuum)
    )


def pooled(
    frames: Float[np.ndarray, "t y x"], window: int
) -> tuple[Float[np.ndarray, "t y x"], Float[np.ndarray, "t 1 1"]]:
    """Sums of neighbouring frames, and how many frames each holds.

    Args:
        frames: counts.
        window: frames on each side; fewer at the ends of the movie.

    Returns:
        Sums and numbers.
    """
    total = np.concatenate([np.zeros((1, *frames.shape[1:])), np.cumsum(frames, axis=0)])
    first = np.maximum(np.arange(len(frames)) - window, 0)
    last = np.minimum(np.arange(len(frames)) + window + 1, len(frames))
    return total[last] - total[first], (last - first).astype(np.float64)[:, None, None]

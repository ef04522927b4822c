"""Whether a movie's own frames may start a solve, and what starts it where they are too noisy.

The noise of a start frame enters the solve and biases the law; then the initial field is estimated with the law, from the frame
as a Wiener filter smooths it. Wiener, Extrapolation, Interpolation, and Smoothing of Stationary Time Series (1949).
"""

from dataclasses import replace

import numpy as np
from jaxtyping import Float
from scipy import fft, ndimage

from phdenoise.learn.fit_problem import FitProblem
from phdenoise.physics.domain import smooth_inside

# Noise [share of the movie's contrast] up to which start frames are taken at face value: the relative error of the solver over a
# frame interval is half of it (`FitConfig.solver_tolerance`) in a stretch of a few frames.
FACE_VALUE_NOISE = 0.005
# Standard deviation of the kernel that continues a frame beyond the rim of a domain [cells].
BEYOND_RIM = 2.0
# Width of the bins of wave number in which the power of the signal is averaged [half periods over the frame].
WAVE_BIN = 2.0


def grain(fit_problem: FitProblem) -> float:
    """Noise as a share of the contrast, by two estimates of which either may take structure for noise.

    One is the movie's noise model, the other what a mixed fourth difference leaves of a smooth field (Immerkær,
    Comput. Vis. Image Underst. 64, 300 (1996), doi:10.1006/cviu.1996.0060).

    Args:
        fit_problem: the movie as concentration.

    Returns:
        Noise over contrast.
    """
    model = float(np.sqrt(np.mean(fit_problem.variance[fit_problem.valid])))
    mixed = np.diff(np.diff(fit_problem.observed, 2, axis=1), 2, axis=2)
    inside = fit_problem.inside
    smooth = smooth_inside(fit_problem.observed, inside, (0.0, 1.0, 1.0))
    contrast = float(smooth.std() if inside is None else smooth[:, inside].std())
    if inside is not None:
        # Differences that reach outside the domain show its rim.
        mixed = mixed[:, ndimage.binary_erosion(inside, np.ones((3, 3)))[1:-1, 1:-1]]
    rough = float(np.sqrt(np.pi / 2) / 6 * np.mean(np.abs(mixed))) if mixed.size else model
    return min(model, rough) / max(contrast, 1e-12)


def smoothed(fit_problem: FitProblem) -> FitProblem:
    """The problem with each frame smoothed as its signal and noise say.

    Args:
        fit_problem: the movie as concentration, believed as measured.

    Returns:
        The same with other `believed` frames and their variance.
    """
    frames, variance = fit_problem.believed, float(fit_problem.variance[fit_problem.valid].mean())
    inside = fit_problem.inside
    shown, share = frames, 1.0
    if inside is not None:
        # Continued smoothly beyond the rim, which would else be the sharpest edge of the frame.
        around = smooth_inside(frames, inside, (0.0, BEYOND_RIM, BEYOND_RIM))
        shown, share = np.where(inside, frames, around), float(inside.mean())
    waves = fft.dctn(shown, axes=(1, 2), norm="ortho")
    radius = np.hypot(*np.meshgrid(*(np.arange(n) for n in frames.shape[1:]), indexing="ij"))
    bins = (radius / WAVE_BIN).astype(int)
    # Each frame by itself: the first may show waves that are gone in the next.
    each = np.arange(bins.max() + 1)
    power = np.stack([ndimage.mean(frame, bins, each) for frame in waves**2])
    kept = _wiener(power, variance * share)[:, bins]
    kept[:, 0, 0] = 1.0
    smooth = fft.idctn(waves * kept, axes=(1, 2), norm="ortho")
    if inside is not None:
        smooth = np.where(inside, smooth, frames)
    left = np.broadcast_to(variance * kept.mean((1, 2), keepdims=True), frames.shape)
    return replace(fit_problem, believed=smooth, believed_variance=left)


def _wiener(power: Float[np.ndarray, "t k"], variance: float) -> Float[np.ndarray, "t k"]:
    """Share of each wave that is signal; none above the first bin where there is none."""
    signal = np.maximum(power - variance, 0.0)
    return signal / np.maximum(signal + variance, 1e-300)

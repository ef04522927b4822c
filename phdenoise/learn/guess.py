"""A starting law by linear regression on the movie itself.

For constant mobility M and a regular solution, Cahn-Hilliard is linear in (M, MΩ, Mκ):

    ∂c/∂t = M ∇² ln(c/(1−c)) − 2 MΩ ∇²c − Mκ ∇⁴c

so three numbers come from one least-squares problem on smoothed frames (for Fickian diffusion, one
number: ∂c/∂t = D ∇²c; for Allen-Cahn ∂c/∂t = −M ln(c/(1−c)) − Mp₀ + MΩ(2c−1) + Mκ ∇²c). Smoothing and the coarse time difference bias them, which a start may be.
"""

from collections.abc import Callable

import numpy as np
from scipy import ndimage

from phdenoise.grid import Grid


def regress_start(
    frames: np.ndarray,
    times: np.ndarray,
    grid: Grid,
    *,
    model: str = "cahn-hilliard",
    smoothing: float = 1.5,
    margin: int = 6,
) -> tuple[float, float, float]:
    """Mobility [px²/frame], κ [px²] and Ω [kT] that best explain the smoothed movie.

    Args:
        frames: concentration [t, y, x].
        times: [t] in frame intervals.
        grid: for its boundary; spacing is taken as one pixel.
        model: whose regression; of "fickian" κ and Ω come back as 1 and 0, and the mobility of
            "allen-cahn" is in 1/frame.
        smoothing: Gaussian standard deviation in space [px].
        margin: rows and columns left out at a non-periodic edge.

    Returns:
        (mobility, kappa, omega), always finite and positive in mobility and κ.
    """
    mode = "wrap" if grid.boundary == "periodic" else "nearest"
    smooth = ndimage.gaussian_filter(
        np.asarray(frames, float), (0.5, smoothing, smoothing), mode=("nearest", mode, mode)
    )
    middle = 0.5 * (smooth[1:] + smooth[:-1])
    rate = np.diff(smooth, axis=0) / np.diff(times)[:, None, None]
    inside = np.clip(middle, 0.02, 0.98)

    def laplace(a: np.ndarray) -> np.ndarray:
        return np.stack([ndimage.laplace(frame, mode=mode) for frame in a])

    def weak(a: np.ndarray) -> np.ndarray:
        # Testing with a smooth kernel keeps fourth derivatives of noise out of the regression.
        a = ndimage.gaussian_filter(a, (0, smoothing, smoothing), mode=("nearest", mode, mode))
        if mode != "wrap" and min(a.shape[1:]) > 3 * margin:
            a = a[:, margin:-margin, margin:-margin]
        return a.ravel()

    curvature = laplace(middle)
    scale = max(float(np.abs(rate).mean() / (np.abs(curvature).mean() + 1e-12)), 1e-4)
    if model == "fickian":
        x = weak(curvature)
        slope = float(x @ weak(rate) / (x @ x + 1e-30))
        return (slope if slope > 0.05 * scale else scale), 1.0, 0.0
    if model == "allen-cahn":
        return _reaction(weak, middle, inside, curvature, rate)
    features = np.stack(
        [
            weak(laplace(np.log(inside / (1 - inside)))),
            weak(-2 * curvature),
            weak(-laplace(curvature)),
        ],
        axis=1,
    )
    m, m_omega, m_kappa = np.linalg.lstsq(features, weak(rate), rcond=None)[0]
    if m <= 0 or m_kappa <= 0 or not np.isfinite([m, m_omega, m_kappa]).all():
        return scale, 4.0, 2.5
    return (
        float(m),
        float(np.clip(m_kappa / m, 0.25, 400.0)),
        float(np.clip(m_omega / m, 0.0, 6.0)),
    )


def _reaction(
    weak: Callable[[np.ndarray], np.ndarray],
    middle: np.ndarray,
    inside: np.ndarray,
    curvature: np.ndarray,
    rate: np.ndarray,
) -> tuple[float, float, float]:
    """The same of an Allen-Cahn law; its driving force is left to the descent."""
    terms = (-np.log(inside / (1 - inside)), -np.ones_like(middle), 2 * middle - 1, curvature)
    features = np.stack([weak(a) for a in terms], axis=1)
    m, _, m_omega, m_kappa = np.linalg.lstsq(features, weak(rate), rcond=None)[0]
    if m <= 0 or m_kappa <= 0 or not np.isfinite([m, m_omega, m_kappa]).all():
        size = float(np.abs(rate).mean() / (np.abs(middle - middle.mean()).mean() + 1e-12))
        return max(size, 1e-4), 4.0, 2.5
    return (
        float(m),
        float(np.clip(m_kappa / m, 0.25, 400.0)),
        float(np.clip(m_omega / m, 0.0, 6.0)),
    )


def start_grid(mobility: float, kappa: float, omega: float) -> list[tuple[float, float, float]]:
    """Laws around a guess, to pick the best of before descending."""
    return [
        (mobility * a, kappa * b, o)
        for a in (0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0, 300.0)
        for b in (0.3, 1.0, 3.0)
        for o in sorted({omega, 2.5})
    ]

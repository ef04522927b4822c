"""A starting law by linear regression of ∂c/∂t on terms of the smoothed movie itself.

Each law brings the terms in which it is linear. All are tested with a smooth kernel (weak form), which keeps
derivatives of noise out. Weak-form regression of equations: Messenger & Bortz, J. Comput. Phys. 443, 110525 (2021),
doi:10.1016/j.jcp.2021.110525.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float
from scipy import ndimage

from phdenoise.grid import Grid
from phdenoise.physics.domain import closed_laplacian, smooth_inside

# Gaussian standard deviation of smoothing and test kernel in space [cells] and of smoothing in time [frames], and rows and
# columns left out at an edge that is not periodic, where smoothing mirrors the field [cells]: four kernels.
SMOOTHING, SMOOTHING_TIME, MARGIN = 1.5, 0.5, 6
# Share of the cells that are tested at least, however narrow the domain: a box of four margins keeps so many.
LEAST_TESTED = 0.25
# Concentrations are kept so far from 0 and 1, where ln(c/(1−c)) would show noise alone.
EDGE = 0.02
# Least rate of a guess [1/frame interval]: slower laws do not move over any movie.
SLOWEST = 1e-4
# Bounds of a guess of κ [kT cells²] (interfaces narrower than a cell, or wider than most frames) and of Ω [kT].
KAPPA, OMEGA = (0.25, 400.0), (0.0, 6.0)
# κ [kT cells²] and Ω [kT] where the regression gives a negative mobility or κ: interfaces of a few cells.
FALLBACK = (4.0, 2.5)


class WeakForm(NamedTuple):
    """Terms of a smoothed movie, each [t − 1, y, x], halfway between frames.

    Attributes:
        middle: concentration.
        inside: concentration, kept off 0 and 1.
        curvature: ∇²c [1/cell²].
        rate: ∂c/∂t [1/frame interval].
        modes: how a term continues beyond the edges of each axis ("wrap" or "nearest").
        domain: True inside the domain [y, x]; None for the whole box.
    """

    middle: Float[np.ndarray, "t y x"]
    inside: Float[np.ndarray, "t y x"]
    curvature: Float[np.ndarray, "t y x"]
    rate: Float[np.ndarray, "t y x"]
    modes: tuple[str, str]
    domain: Bool[np.ndarray, "y x"] | None

    @property
    def scale(self) -> float:
        """Mean |∂c/∂t| over mean |∇²c|: the size of a diffusivity [cells²/frame interval]."""
        within = slice(None) if self.domain is None else self.domain
        rate, curvature = (np.abs(a[:, within]).mean() for a in (self.rate, self.curvature))
        return max(float(rate / (curvature + 1e-12)), SLOWEST)

    def laplace(self, term: Float[np.ndarray, "t y x"]) -> Float[np.ndarray, "t y x"]:
        """∇² of a term [t, y, x]."""
        return _laplace(term, self.modes, self.domain)

    def weak(self, term: Float[np.ndarray, "t y x"]) -> Float[np.ndarray, " n"]:
        """A term [t, y, x] tested with a smooth kernel, flat."""
        sigma, modes = (0.0, SMOOTHING, SMOOTHING), ("nearest", *self.modes)
        term = smooth_inside(term, self.domain, sigma, modes)
        return term[:, _tested(term.shape[1:], self.modes, self.domain)].ravel()

    def regress(self, *terms: Float[np.ndarray, "t y x"]) -> Float[np.ndarray, " k"]:
        """Coefficients of ∂c/∂t = Σ coefficient · term by least squares."""
        features = np.stack([self.weak(term) for term in terms], axis=1)
        return np.linalg.lstsq(features, self.weak(self.rate), rcond=None)[0]


def weak_form(
    frames: Float[np.ndarray, "t y x"], times: Float[np.ndarray, " t"], grid: Grid
) -> WeakForm:
    """Smooth a movie and take its derivatives.

    Args:
        frames: concentration [t, y, x].
        times: of the frames [frame intervals].
        grid: for its boundary and mask; spacing is taken as one cell.

    Returns:
        The terms that a regression needs.
    """
    along, across = ("wrap" if grid.periodic(axis) else "nearest" for axis in (0, 1))
    modes = (along, across)
    inside = None if grid.mask is None else np.asarray(grid.mask)
    sigma = (SMOOTHING_TIME, SMOOTHING, SMOOTHING)
    smooth = smooth_inside(frames, inside, sigma, ("nearest", *modes))
    middle = 0.5 * (smooth[1:] + smooth[:-1])
    rate = np.diff(smooth, axis=0) / np.diff(times)[:, None, None]
    curvature = _laplace(middle, modes, inside)
    return WeakForm(middle, np.clip(middle, EDGE, 1 - EDGE), curvature, rate, modes, inside)


def regular_solution(
    m: float, m_omega: float, m_kappa: float, fallback: float
) -> tuple[float, float, float]:
    """Mobility, κ and Ω from the coefficients of a regression.

    Args:
        m: M, the mobility [cells²/frame interval, or 1/frame interval].
        m_omega: MΩ.
        m_kappa: Mκ.
        fallback: mobility where the coefficients are not those of a law.

    Returns:
        (mobility, κ, Ω): finite, mobility and κ positive.
    """
    if m <= 0 or m_kappa <= 0 or not np.isfinite([m, m_omega, m_kappa]).all():
        return fallback, *FALLBACK
    return float(m), float(np.clip(m_kappa / m, *KAPPA)), float(np.clip(m_omega / m, *OMEGA))


def _laplace(
    term: np.ndarray, modes: tuple[str, str], inside: np.ndarray | None
) -> Float[np.ndarray, "t y x"]:
    if inside is not None:
        return closed_laplacian(term, inside)
    along = zip((1, 2), modes, strict=True)
    return sum(ndimage.correlate1d(term, (1.0, -2.0, 1.0), a, mode=mode) for a, mode in along)


def _tested(
    shape: tuple[int, int], modes: tuple[str, str], inside: np.ndarray | None
) -> Bool[np.ndarray, "y x"]:
    """Cells `MARGIN` from rim and edges, which the smoothing there does not reach; nearer ones where too few are left."""
    known = np.ones(shape, bool) if inside is None else inside
    for axis, mode in enumerate(modes):
        width = [(0, 0), (0, 0)]
        width[axis] = (MARGIN, MARGIN)
        known = np.pad(known, width, mode="wrap" if mode == "wrap" else "constant")
    if known.all():
        return np.ones(shape, bool)
    depth = ndimage.distance_transform_cdt(known, "chessboard")[MARGIN:-MARGIN, MARGIN:-MARGIN]
    enough = LEAST_TESTED * np.sum(depth > 0)
    deep = [m for m in range(MARGIN + 1) if np.sum(depth > m) >= enough]
    return depth > max(deep)

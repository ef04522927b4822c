"""Does the fitted law hold? Score tests of the residual against named additions to the law, and one against none in particular.

    s = dᵀ (r − J L Jᵀ r),   F = dᵀ d − dᵀ J L Jᵀ d,   L = (JᵀJ + S⁻²)⁻¹,   sᵀ F⁻¹ s ~ χ²

r is the residual in units of the noise at the optimum, J its Jacobian by all that was fitted, S wide priors, and d the derivative of
the prediction by the amount of an addition: a velocity, an anisotropy, a rate that depends on the place. Where the law holds the
statistic is χ² distributed whatever was fitted, since what a fit can explain is projected out, also what a prior kept it from: a
wrong prior is no wrong law (Rao, Math. Proc. Camb.
Philos. Soc. 44, 50 (1948), doi:10.1017/S0305004100023987). One step F⁻¹ s estimates the amount, and how far the addition would
move the law. Sums of the residual over blocks of pixels and frames test for all else.
"""

from collections.abc import Callable
from typing import NamedTuple

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Bool, Float
from scipy import stats

from phdenoise.grid import Grid
from phdenoise.learn.blocks import in_blocks
from phdenoise.physics.domain import closed_laplacian
from phdenoise.physics.equations.anisotropic import Anisotropic
from phdenoise.physics.equations.base import Law, Wrapped
from phdenoise.physics.equations.heterogeneous import cosine_waves
from phdenoise.physics.law_parameters import Parameters
from phdenoise.physics.operators import face_gradient, laplacian
from phdenoise.physics.stencil import upper
from phdenoise.types import Field, Scalar

# Probability of a false alarm of all tests of one movie together.
FALSE_ALARM = 0.05
# Misfit [rms, share of the change over time] that counts as none: the law is then a good description whatever the statistics say. It is
# the default tolerance of the solver, summed over ten frames, three times.
NEGLIGIBLE = 0.01
# Amount of an addition of which a difference is taken [cells and frame intervals]: its square and the round-off of single precision
# over it are both below 1e-3.
DIFFERENCE = 1e-3
# Share of a misfit that is not the noise of the measurement, such as that of a denoised movie, that an addition must explain.
LEAST_EXPLAINED = 0.2
# Share of the length of a direction that must be left beside what was fitted: below, the data do not tell it from the law.
LEAST_LEFT = 1e-4
# Half periods (y, x) of the cosines whose sums are the modes by which a rate may vary over the frame.
PLACES = (((1, 0),), ((0, 1),), ((1, 1),), ((2, 0), (0, 2)))
# Additions of which only positive amounts exist. An initial field that lacks short waves looks like a negative blur or gradient energy.
ONE_SIDED = ("blur", "bending")
# Blocks (share of the frames, side [px]) over which residuals are summed: what stays in place, what is broad, what is brief.
BLOCKS = ((1.0, 1), (0.34, 4), (0.0, 8))


class Additions(eqx.Module):
    """Amounts of what may be missing in a law, all zero where nothing is. In cells and frame intervals.

    Attributes:
        velocity: of the whole field along each axis.
        anisotropy: ln √(rate along y / rate along x).
        place: of a rate that varies over the frame, by mode.
        ageing: of a rate that changes in time.
        concentration: of a rate that depends on concentration beside the law, by Legendre degree 1 and 2.
        source: everywhere.
        faces: inflow of each face.
        rim: inflow through the rim of the particles.
        bending: gradient energy, −∇⁴c.
    """

    velocity: Float[Array, " d"]
    anisotropy: Float[Array, " 1"]
    place: Float[Array, " m"]
    ageing: Float[Array, " 1"]
    concentration: Float[Array, " 2"]
    source: Float[Array, " 1"]
    faces: Float[Array, " f"]
    rim: Float[Array, " r"]
    bending: Float[Array, " b"]


class Shapes(eqx.Module):
    """Where additions act.

    Attributes:
        place: modes of the rate [m, y, x].
        faces: 1/spacing in the cells along a closed face, else 0 [f, y, x].
        rim: the same along the rim of the mask [r, y, x].
        duration: of the movie [frame intervals].
    """

    place: Float[Array, "m y x"]
    faces: Float[Array, "f y x"]
    rim: Float[Array, "r y x"]
    duration: Float[Array, ""]


class WithAdditions(Wrapped):
    """A law with additions; without amounts it is the law.

    Args:
        additions: amounts.
        shapes: where they act.
    """

    additions: Additions
    shapes: Shapes

    def rhs(self, t: Scalar, c: Field, grid: Grid) -> Field:
        """That of the law, with the additions [1/time]."""
        add, shapes = self.additions, self.shapes
        # r = D_y/D_x of a law that is isotropic without additions.
        stretched = Anisotropic(self.model, jnp.exp(2 * add.anisotropy[0]))
        u, elapsed = 2 * c - 1, t / shapes.duration - 0.5
        rate = 1 + jnp.tensordot(add.place, shapes.place, 1) + add.ageing[0] * elapsed
        rate = rate + add.concentration[0] * u + add.concentration[1] * (1.5 * u**2 - 0.5)
        slopes = [
            0.5 * upper(g, axis=axis, sign=1, wrap=grid.periodic(axis))
            for axis, g in zip((-2, -1), face_gradient(c, grid), strict=True)
        ]
        moved = rate * stretched.rhs(t, c, grid)
        moved = moved - add.velocity[0] * slopes[0] - add.velocity[1] * slopes[1]
        moved = moved + add.source[0]
        moved = moved + jnp.tensordot(add.faces, shapes.faces, 1)
        moved = moved + jnp.tensordot(add.rim, shapes.rim, 1)
        if add.bending.shape[0]:
            moved = moved - add.bending[0] * laplacian(laplacian(c, grid), grid)
        if grid.mask is not None:
            moved = jnp.where(grid.mask, moved, 0)
        return moved


class Cause(NamedTuple):
    """What an addition means: what the residual looks like, and what to try."""

    looks: str
    advice: str


CAUSES: dict[str, Cause] = {
    "velocity": Cause(
        "the field moves as a whole", "register the frames, or fit a law with advection"
    ),
    "anisotropy": Cause("one axis is faster than the other", "fit an anisotropic law"),
    "place": Cause("the rate differs from place to place", "fit a law with D(x, y)"),
    "ageing": Cause("the rate changes in time", "fit a shorter part of the movie"),
    "concentration": Cause(
        "the rate depends on concentration in another way", "give the law more terms"
    ),
    "source": Cause("the content changes everywhere", "fit a law with a source or a reaction"),
    "faces": Cause(
        "something crosses the edges of the frame", "free the edges (boundary held, fed or open)"
    ),
    "rim": Cause("something crosses the rim of the particles", "fit a reaction at the rim"),
    "bending": Cause("the misfit sits at interfaces", "fit Cahn-Hilliard"),
    "blur": Cause(
        "the misfit sits at interfaces, as of a blur", "give the point spread as an observation"
    ),
    "jitter": Cause("frames are shifted against each other", "register the frames"),
    "flicker": Cause(
        "the mean of the frames jumps, nothing is conserved", "correct the illumination first"
    ),
    "blocks": Cause("the residual has structure of another kind", "compare families of laws"),
}


class Finding(NamedTuple):
    """One test.

    Attributes:
        name: of the addition, a key of `CAUSES`.
        p: probability of a statistic as large where the law holds.
        size: rms of what the addition would explain, as a share of the change over time.
        amount: of the addition, by one Gauss-Newton step.
        sd: of the amount.
        shift: how far the addition would move the law's free numbers [p].
    """

    name: str
    p: float
    size: float
    amount: np.ndarray
    sd: np.ndarray
    shift: np.ndarray

    @classmethod
    def unmeasured(cls, name: str, p: float, share: float, fit: "Fit") -> "Finding":
        """A test that estimates no amount."""
        return cls(name, p, share, np.zeros(1), np.full(1, np.inf), np.zeros(fit.size))


class Misfit(NamedTuple):
    """All tests of a fit.

    Attributes:
        holds: False where a test says that the law does not hold.
        findings: those that do, the largest first.
        tests: number of tests.
        noise: variance of the residual by its differences in time, as a share of the noise that the fit assumed.
        structure: how much larger sums over blocks are than those of noise, the largest [share of the variance].
    """

    holds: bool
    findings: tuple[Finding, ...]
    tests: int
    noise: float
    structure: float

    @property
    def sentence(self) -> str:
        """What the residual looks like and what to try; "" where the law holds."""
        if self.holds:
            return ""
        named = [f for f in self.findings if f.name != "blocks"] or list(self.findings)
        looks = " and ".join(CAUSES[f.name].looks for f in named[:2])
        return f"{looks} ({_chance(named[0].p)}); {CAUSES[named[0].name].advice}"


def additions_of(
    law: Law, grid: Grid, duration: float, dtype: np.dtype
) -> tuple[Additions, Shapes]:
    """What may be missing in a law on a grid, with zero amounts, and where it acts.

    Args:
        law: of the fit.
        grid: of the fit.
        duration: of the movie [frame intervals].
        dtype: of the solver.

    Returns:
        Additions and their shapes.
    """
    place = [cosine_waves(grid.shape, numbers).sum(0) for numbers in PLACES]
    faces, spacing = [], np.asarray(grid.spacing, float)
    for axis in (axis for axis in range(grid.ndim) if not grid.periodic(axis)):
        for end in (0, -1):
            along = np.zeros(grid.shape)
            np.moveaxis(along, axis, 0)[end] = 1 / spacing[axis]
            faces.append(along)
    rim = []
    if grid.mask is not None:
        inside = np.asarray(grid.mask)
        padded = np.pad(inside, 1, constant_values=True)
        exposed = np.zeros(grid.shape)
        for axis in (0, 1):
            for shift in (1, -1):
                neighbour = np.roll(padded, shift, axis)[1:-1, 1:-1]
                exposed += (inside & ~neighbour) / spacing[axis]
        rim = [exposed]
        faces = [f * inside for f in faces]
        faces = [f for f in faces if f.any()]
    shapes = Shapes(
        jnp.asarray(np.stack(place), dtype),
        jnp.asarray(np.reshape(faces, (-1, *grid.shape)), dtype),
        jnp.asarray(np.reshape(rim, (-1, *grid.shape)), dtype),
        jnp.asarray(max(duration, 1.0), dtype),
    )
    numbers = (2, 1, len(PLACES), 1, 2, 1, len(faces), len(rim), 0 if law.own_width else 1)
    return Additions(*(jnp.zeros(n, dtype) for n in numbers)), shapes


class NearbyLaws(eqx.Module):
    """The laws near a fitted one: amounts of additions to a law.

    Attributes:
        family: of the fitted law.
        theta: the fitted law [p].
        none: additions of amount zero.
        shapes: where they act.
    """

    family: Parameters
    theta: Float[Array, " p"]
    none: Additions
    shapes: Shapes

    @property
    def zero(self) -> Float[Array, " k"]:
        """No addition [k]."""
        return ravel_pytree(self.none)[0]

    def build(self, amounts: Float[Array, " k"]) -> WithAdditions:
        """The law with additions of these amounts."""
        additions = ravel_pytree(self.none)[1](amounts.astype(self.theta.dtype))
        return WithAdditions(self.family.build(self.theta), additions, self.shapes)

    def columns(self) -> dict[str, np.ndarray]:
        """Which amounts belong to an addition, by its name."""
        found, begin = {}, 0
        for name, amounts in vars(self.none).items():
            found[name] = np.arange(begin, begin + amounts.size)
            begin += amounts.size
        return {k: v for k, v in found.items() if v.size}


def directions(
    residual: Callable[[Array], Array], amounts: Float[Array, " k"]
) -> Float[np.ndarray, "k n"]:
    """Derivative of a residual by the amounts of additions, by central differences: compiling the derivative would cost more.

    Args:
        residual: amounts -> residual of any shape, compiled.
        amounts: zeros [k].

    Returns:
        One direction per amount [k, n].
    """
    found = []
    for step in DIFFERENCE * np.eye(amounts.size):
        both = [
            np.asarray(residual(amounts + jnp.asarray(sign * step, amounts.dtype)), float)
            for sign in (1, -1)
        ]
        found.append((both[0] - both[1]).reshape(-1) / (2 * DIFFERENCE))
    return np.stack(found)


class Fit(NamedTuple):
    """What the tests see of a fit.

    Attributes:
        residual: √w (prediction − measurement) [..., t, y, x].
        valid: False where nothing was measured, of the same shape.
        tested: False also near open faces [y, x], where errors of the measured rim are in the residual.
        rows: derivative of the residual by all that was fitted [q, n].
        covariance: of that, by the priors of the fit [q, q].
        loose: the same, by far wider priors of what is not the law's [q, q].
        size: how many of the q are the law's.
        predicted: movie by the law, of the shape of the residual.
        weights: inverse variances, of that shape.
        power: variance of √w times the noise of one cell; less than 1 where noise correlates and weights allow for it.
        change: Σ w (measurement − mean over time)² beyond noise.
        white: whether the residual of a law that holds is the noise of the measurement, frame by frame. At face value it is not: the
            errors of a start frame are in all that follow.
    """

    residual: np.ndarray
    valid: np.ndarray
    tested: np.ndarray
    rows: np.ndarray
    covariance: np.ndarray
    loose: np.ndarray
    size: int
    predicted: np.ndarray
    weights: np.ndarray
    power: float
    change: float
    white: bool


def judge_misfit(
    fit: Fit, extra: Float[np.ndarray, "k n"], columns: dict[str, np.ndarray]
) -> Misfit:
    """Test a fit against every addition.

    Args:
        fit: the fit.
        extra: `directions`.
        columns: which of them belong to an addition.

    Returns:
        The tests.
    """
    keep = np.broadcast_to(fit.valid, fit.residual.shape)
    residual = np.where(keep, fit.residual, 0.0).astype(float)
    total = float(np.sum(residual**2))
    noise = (_noise(residual, keep) if fit.white else total / max(keep.sum(), 1)) / fit.power
    # What a fit can explain is taken out of the residual once, for all additions.
    fit = fit._replace(rows=np.asarray(fit.rows, float))
    flat = residual.reshape(-1)
    left = flat - (fit.loose @ (fit.rows @ flat)) @ fit.rows
    groups = {k: extra[v] for k, v in columns.items()}
    groups["blur"] = _blur(fit)[None]
    keep = keep & fit.tested
    found = [_score(name, rows, fit, left, noise, keep) for name, rows in groups.items()]
    structure, least = 0.0, NEGLIGIBLE
    if fit.white:
        found += [_frames(name, rows, fit, residual, noise, keep) for name, rows in _per_frame(fit)]
        blocks, structure = _blocks(np.where(keep, residual, 0.0), keep, fit, noise)
        found += blocks
    else:
        least = max(least, float(np.sqrt(LEAST_EXPLAINED * total / max(fit.change, 1e-30))))
    limit = FALSE_ALARM / len(found)
    wrong = sorted((f for f in found if f.p < limit and f.size > least), key=lambda f: -f.size)
    return Misfit(not wrong, tuple(wrong), len(found), noise, structure)


def _noise(residual: np.ndarray, keep: np.ndarray) -> float:
    """Variance of the residual by its differences in time, which a slow misfit hardly changes."""
    steps = np.diff(residual, axis=-3)
    both = keep[..., 1:, :, :] & keep[..., :-1, :, :]
    if not both.any():
        return float(np.mean(residual[keep] ** 2))
    return float(np.mean(steps[both] ** 2) / 2) or 1.0


def _score(
    name: str,
    rows: np.ndarray,
    fit: Fit,
    residual: np.ndarray,
    noise: float,
    keep: np.ndarray,
) -> Finding:
    """Score test of one addition with its directions [k, n], on the residual without what a fit can explain [n]."""
    d = np.where(keep.reshape(-1), rows.astype(float), 0.0)
    cross = d @ fit.rows.T
    left = d @ d.T - cross @ fit.loose @ cross.T
    silent = Finding.unmeasured(name, 1.0, 0.0, fit)
    # A law beside the fitted one may diverge; such a direction tells nothing.
    if not np.isfinite(left).all():
        return silent
    root = np.sqrt(np.maximum(np.diag(d @ d.T), 1e-300))
    values, vectors = np.linalg.eigh(left / np.outer(root, root))
    seen = values > LEAST_LEFT
    if not seen.any():
        return silent
    along = vectors[:, seen].T @ (d @ residual / root)
    statistic = float(np.sum(along**2 / values[seen]))
    amount = -(vectors[:, seen] / values[seen]) @ along / root
    sd = np.sqrt(noise * np.sum(vectors[:, seen] ** 2 / values[seen], axis=1)) / root
    shift = -(fit.covariance @ cross.T @ amount)[: fit.size]
    p = float(stats.chi2.sf(statistic / noise, int(seen.sum())))
    if name in ONE_SIDED and amount[0] < 0:
        p = 1.0
    return Finding(name, p, _share(statistic - noise * seen.sum(), fit), amount, sd, shift)


def _share(explained: float, fit: Fit) -> float:
    """Rms of a part of the residual as a share of the change over time."""
    return float(np.sqrt(max(explained, 0.0) / max(fit.change, 1e-30)))


def _blur(fit: Fit) -> np.ndarray:
    """Derivative of the residual by half the variance of a blur [px²], n values."""
    bend = closed_laplacian(fit.predicted, np.ones(fit.predicted.shape[-2:], bool))
    return (np.sqrt(fit.weights) * bend).reshape(-1)


def _per_frame(fit: Fit) -> list[tuple[str, list[np.ndarray]]]:
    """Directions that each frame has for itself: shifts, and an offset."""
    root = np.sqrt(fit.weights)
    slopes = [root * np.gradient(fit.predicted, axis=axis) for axis in (-2, -1)]
    return [("jitter", slopes), ("flicker", [root])]


def _frames(
    name: str,
    directions: list[np.ndarray],
    fit: Fit,
    residual: np.ndarray,
    noise: float,
    keep: np.ndarray,
) -> Finding:
    """Test of directions of each frame by itself, the changes from frame to frame alone: slow ones are the law's."""
    statistic, count = 0.0, 0
    for d in directions:
        d = np.where(keep, d, 0.0)
        length = np.sum(d**2, axis=(-2, -1))
        amount = np.sum(d * residual, axis=(-2, -1)) / np.sqrt(np.maximum(length, 1e-300))
        # Second differences: what grows steadily is a velocity or a source.
        rough = np.diff(amount, 2, axis=-1)
        statistic += float(np.sum(rough**2)) / 6
        count += rough.size
    if not count:
        return Finding.unmeasured(name, 1.0, 0.0, fit)
    # Neighbouring second differences share frames: of n of them 18/35 n are independent.
    independent = max(18 / 35 * count, 1.0)
    p = float(stats.chi2.sf(statistic / noise * independent / count, independent))
    return Finding.unmeasured(name, p, _share(statistic - noise * count, fit), fit)


def _blocks(
    residual: np.ndarray, keep: np.ndarray, fit: Fit, noise: float
) -> tuple[list[Finding], float]:
    """Tests of sums over blocks of pixels and frames, and by how much the largest is above noise."""
    found, most = [], 0.0
    frames = residual.shape[-3]
    for share, side in BLOCKS:
        length = max(1, round(share * frames))
        total, count = (
            in_blocks(a, (length, side, side)).sum((-5, -3, -1)) for a in (residual, keep)
        )
        full = count > 0.5 * length * side**2
        number = int(full.sum())
        if number < 4:
            continue
        square = float(np.sum(total[full] ** 2 / count[full]))
        expected = noise * (fit.power if side == 1 else 1.0)
        p = float(stats.chi2.sf(square / expected, number))
        excess = square / expected / number - 1
        most = max(most, excess)
        size = _share((square - number * expected) if excess > 0 else 0.0, fit)
        found.append(Finding.unmeasured("blocks", p, size, fit))
    return found, most


def _chance(p: float) -> str:
    """A probability in words."""
    return "p < 1e-6" if p < 1e-6 else f"p = {p:.1g}"


def change_over_time(
    measured: Float[np.ndarray, "t y x"],
    weights: Float[np.ndarray, "t y x"],
    valid: Bool[np.ndarray, "t y x"],
    power: float,
) -> float:
    """Σ w (measurement − mean over time)² beyond that of noise.

    Args:
        measured: concentration [t, y, x].
        weights: inverse variance [t, y, x].
        valid: True where measured [t, y, x].
        power: see `Fit`.

    Returns:
        At least the square of a hundredth of what noise would give.
    """
    w = np.where(valid, weights, 0.0)
    mean = np.sum(w * measured, 0) / np.maximum(np.sum(w, 0), 1e-300)
    total = float(np.sum(w * (measured - mean) ** 2))
    noise = power * float(valid.sum()) * (1 - 1 / measured.shape[0])
    return max(total - noise, 1e-4 * noise)

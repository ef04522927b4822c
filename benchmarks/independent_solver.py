"""Movies of known laws by a solver that shares no code with phdenoise: numpy and scipy alone.

    transport:    ∂c/∂t = ∇·( D A ∇p − v c ) + s,   D = D(c) w(y, x),   A = diag(a_y, a_x)
    relaxation:   ∂c/∂t = −M(c) w p + s
    potential:    p = c,   or   p = μ_h(c) − κ∇²c

Finite volumes on a graph: the cells inside the mask are its nodes, each pair of neighbours is an edge. The incidence matrix
takes cells to differences on edges, its transpose takes fluxes back to cells, so that nothing crosses the rim of a mask.
Method of lines, integrated by backward differentiation formulas of variable order with a sparse Jacobian (Shampine &
Reichelt, SIAM J. Sci. Comput. 18, 1 (1997), doi:10.1137/S1064827594276424).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np
from scipy import ndimage, sparse
from scipy.integrate import solve_ivp

Array = np.ndarray
Function = Callable[[Array], Array]

# Tolerances of the integrator [concentration]: a thousandth of the smallest noise of a case of the zoo (0.005).
RELATIVE, ABSOLUTE = 1e-7, 1e-8
# Distance from 0 and 1 that the argument of a logarithm keeps [concentration]: fields of the zoo stay a hundredth away.
INSIDE = 1e-9


@dataclass(frozen=True)
class Held:
    """A wall with a given concentration."""

    value: float


@dataclass(frozen=True)
class Fed:
    """A wall with a given inflow [length · concentration / time]."""

    inflow: float


@dataclass(frozen=True)
class Box:
    """Cells, and what holds at their walls.

    Attributes:
        shape: cells (ny, nx).
        spacing: (dy, dx) [length].
        mask: True inside [y, x]; None: everywhere.
        periodic: whether each axis wraps.
        walls: `Held` or `Fed` by side ("top" is y = 0, "bottom", "left" is x = 0, "right"); other walls are closed.
    """

    shape: tuple[int, int]
    spacing: tuple[float, float] = (1.0, 1.0)
    mask: Array | None = None
    periodic: tuple[bool, bool] = (False, False)
    walls: Mapping[str, Held | Fed] = field(default_factory=dict)

    @property
    def inside(self) -> Array:
        """True inside [y, x]."""
        return np.ones(self.shape, bool) if self.mask is None else self.mask


@dataclass(frozen=True)
class Motion:
    """What moves the field.

    Attributes:
        mobility: D(c) [length²/time], or M(c) [1/time] of a relaxation.
        potential: μ_h(c) [kT]; None: p = c.
        kappa: gradient coefficient [kT length²].
        relaxes: whether the field relaxes where it is, instead of being transported.
        ratio: (a_y, a_x), factors of D along the axes.
        place: w, factor of D or M by place [y, x]; None: 1.
        velocity: (v_y, v_x) [length/time].
        source: s(c) [1/time]; None: none.
    """

    mobility: Function
    potential: Function | None = None
    kappa: float = 0.0
    relaxes: bool = False
    ratio: tuple[float, float] = (1.0, 1.0)
    place: Array | None = None
    velocity: tuple[float, float] = (0.0, 0.0)
    source: Function | None = None


def solve(motion: Motion, box: Box, first: Array, times: Array) -> Array:
    """The movie of a field.

    Args:
        motion: the law.
        box: the domain.
        first: concentration at the first time [y, x].
        times: increasing [t].

    Returns:
        Concentration [t, y, x]; outside the mask that of `first`.

    Raises:
        RuntimeError: the integrator gave up.
    """
    inside = box.inside
    rate, pattern = _right_side(motion, box)
    found = solve_ivp(
        rate,
        (float(times[0]), float(times[-1])),
        first[inside].astype(float),
        method="BDF",
        t_eval=np.asarray(times, float),
        rtol=RELATIVE,
        atol=ABSOLUTE,
        jac_sparsity=pattern,
    )
    if not found.success:
        raise RuntimeError(found.message)
    frames = np.repeat(first[None].astype(float), len(times), axis=0)
    frames[:, inside] = found.y.T
    return frames


def coarsened(frames: Array, factor: int) -> Array:
    """Means over squares of cells.

    Args:
        frames: [..., y, x].
        factor: cells along each axis of a square.

    Returns:
        Means [..., y / factor, x / factor].
    """
    *front, ny, nx = frames.shape
    squares = frames.reshape(*front, ny // factor, factor, nx // factor, factor)
    return squares.mean((-3, -1))


def refined(array: Array, factor: int) -> Array:
    """Each cell as a square of equal cells [y, x]."""
    return np.kron(array, np.ones((factor, factor), array.dtype))


def smooth_field(
    shape: tuple[int, int],
    rng: np.random.Generator,
    *,
    width: float,
    span: tuple[float, float],
    wraps: tuple[bool, bool],
) -> Array:
    """White noise, smoothed, and stretched to a span.

    Args:
        shape: cells.
        rng: of the white noise.
        width: standard deviation of the smoothing [cells].
        span: lowest and highest value.
        wraps: whether each axis is periodic.

    Returns:
        Field [y, x].
    """
    modes = ["wrap" if wrap else "reflect" for wrap in wraps]
    found = ndimage.gaussian_filter(rng.normal(size=shape), width, mode=modes)
    low, high = found.min(), found.max()
    return span[0] + (span[1] - span[0]) * (found - low) / (high - low)


def regular_solution(omega: float, drive: float = 0.0) -> Function:
    """μ_h(c) = ln(c/(1−c)) + Ω(1−2c) + Δ [kT].

    Args:
        omega: interaction Ω [kT].
        drive: constant Δ [kT].

    Returns:
        The function.
    """

    def potential(c: Array) -> Array:
        safe = np.clip(c, INSIDE, 1 - INSIDE)
        return np.log(safe / (1 - safe)) + omega * (1 - 2 * c) + drive

    return potential


@dataclass(frozen=True)
class _Graph:
    """Pairs of neighbours, and the walls that let something through.

    Attributes:
        lower, upper: nodes of each pair [e].
        axis: of each pair, 0 or 1 [e].
        step: distance of their centres [e] [length].
        walls: for each open wall (its nodes, axis, sign of the inward normal, condition).
    """

    lower: Array
    upper: Array
    axis: Array
    step: Array
    walls: tuple[tuple[Array, int, int, Held | Fed], ...]


_SIDES = {"top": (0, 0, 1), "bottom": (0, -1, -1), "left": (1, 0, 1), "right": (1, -1, -1)}


def _graph(box: Box) -> _Graph:
    node = np.full(box.shape, -1)
    node[box.inside] = np.arange(int(box.inside.sum()))
    lower, upper, axes = [], [], []
    for axis in (0, 1):
        after = np.roll(node, -1, axis)
        if not box.periodic[axis]:
            np.moveaxis(after, axis, 0)[-1] = -1
        pairs = (node >= 0) & (after >= 0)
        lower.append(node[pairs])
        upper.append(after[pairs])
        axes.append(np.full(int(pairs.sum()), axis))
    walls = []
    for side, condition in box.walls.items():
        axis, end, sign = _SIDES[side]
        nodes = np.take(node, end, axis)
        walls.append((nodes[nodes >= 0], axis, sign, condition))
    axis = np.concatenate(axes)
    step = np.asarray(box.spacing, float)[axis]
    return _Graph(np.concatenate(lower), np.concatenate(upper), axis, step, tuple(walls))


def _right_side(
    motion: Motion, box: Box
) -> tuple[Callable[[float, Array], Array], sparse.csr_matrix]:
    """dc/dt of the cells inside [n], and which of them depend on which [n, n]."""
    graph = _graph(box)
    nodes, edges = int(box.inside.sum()), graph.lower.size
    rows = np.arange(edges)
    ones = np.ones(edges)
    up = sparse.csr_matrix((ones, (rows, graph.upper)), (edges, nodes))
    down = sparse.csr_matrix((ones, (rows, graph.lower)), (edges, nodes))
    difference = sparse.diags(1 / graph.step) @ (up - down)
    inflow = -difference.T.tocsr()
    factor = np.asarray(motion.ratio, float)[graph.axis]
    speed = np.asarray(motion.velocity, float)[graph.axis]
    place = np.ones(nodes) if motion.place is None else motion.place[box.inside]

    def laplacian(c: Array) -> Array:
        total = inflow @ (difference @ c)
        for at, axis, _, condition in graph.walls:
            if isinstance(condition, Held):
                total[at] += 2 * (condition.value - c[at]) / box.spacing[axis] ** 2
        return total

    def potential(c: Array) -> Array:
        if motion.potential is None:
            return c
        return motion.potential(c) - motion.kappa * laplacian(c)

    def through_walls(c: Array, p: Array) -> Array:
        total = np.zeros(nodes)
        for at, axis, sign, condition in graph.walls:
            h = box.spacing[axis]
            if isinstance(condition, Fed):
                total[at] += condition.inflow / h
                continue
            held = np.full(at.size, condition.value)
            outside = held if motion.potential is None else motion.potential(held)
            d = motion.mobility(held) * place[at] * motion.ratio[axis]
            total[at] += 2 * d * (outside - p[at]) / h**2
            total[at] += sign * motion.velocity[axis] * held / h
        return total

    def rate(_: float, c: Array) -> Array:
        p = potential(c)
        if motion.relaxes:
            change = -motion.mobility(c) * place * p
        else:
            d = motion.mobility(c) * place
            flux = 0.5 * (up @ d + down @ d) * factor * (difference @ p)
            flux -= 0.5 * speed * (up @ c + down @ c)
            change = inflow @ flux + through_walls(c, p)
        return change if motion.source is None else change + motion.source(c)

    touching = abs(difference.T) @ abs(difference) + sparse.identity(nodes)
    far = motion.potential is not None and not motion.relaxes
    return rate, (touching @ touching if far else touching).tocsr()

"""Laws as points of ℝⁿ: every array of a law says what it may be and what it is likely to be.

    value = forward(θ),   θ ∈ ℝ unconstrained,   θ ~ N(m, sd²)

A law declares its arrays with `parameter` or `curve`; `free_parameters` then flattens any model, of laws
within laws, into one vector with names, a prior and the way back. Constraints hold for every θ: optimisers and
samplers need no bounds.
"""

from collections.abc import Callable
from dataclasses import dataclass, fields, is_dataclass
from typing import Any, Literal, NamedTuple, TypeVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from phdenoise.types import InputError

Map = Callable[[Array], Array]
Tree = TypeVar("Tree")


@dataclass(frozen=True)
class Bijection:
    """ℝ ↔ the allowed values.

    Attributes:
        forward: θ to value.
        inverse: value to θ; not finite where the value is not allowed.
        name: how θ is called, with {} for the value's own name.
    """

    forward: Map
    inverse: Map
    name: str = "{}"


REAL = Bijection(lambda x: x, lambda x: x)
POSITIVE = Bijection(jnp.exp, jnp.log, "ln_{}")
UNIT = Bijection(jax.nn.sigmoid, lambda p: jnp.log(p) - jnp.log1p(-p), "logit_{}")


class Prior(NamedTuple):
    """N(mean, (sd / (1 + n)^decay)²) of the n-th component of θ; mean None: where the law starts."""

    mean: float | None
    sd: float
    decay: float


class Dimension(NamedTuple):
    """Dimension of a quantity: energy [kT], length and time to these powers."""

    energy: int = 0
    length: int = 0
    time: int = 0

    def factor(self, length: float, time: float) -> float:
        """What one unit is in new units, of which `length` and `time` make one old unit of length and time.

        Args:
            length: old unit of length [new unit of length].
            time: old unit of time [new unit of time].

        Returns:
            The factor by which values grow.
        """
        return float(length) ** self.length * float(time) ** self.time

    def text(self, length: str, time: str) -> str:
        """The unit in words, such as "um^2/s".

        Args:
            length: name of the unit of length.
            time: name of the unit of time.

        Returns:
            The unit; "1" for a pure number.
        """
        parts = (("kT", self.energy), (length, self.length), (time, self.time))
        above = " ".join(_power(name, n) for name, n in parts if n > 0)
        below = " ".join(_power(name, -n) for name, n in parts if n < 0)
        return (above or "1") + (f"/{below}" if below else "")


NUMBER, ENERGY, LENGTH = Dimension(), Dimension(energy=1), Dimension(length=1)
DIFFUSIVITY, RATE = Dimension(length=2, time=-1), Dimension(time=-1)
TIME, FLUX = Dimension(time=1), Dimension(length=1, time=-1)
GRADIENT = Dimension(energy=1, length=2)


class Series(NamedTuple):
    """An array of coefficients of functions of rising degree n, each held by a prior as wide as 1/√(n(n+1)).

    Attributes:
        symbol: of a coefficient, such as "p"; coefficients are called p_0, p_1, ...
        shape: the degree from which on a coefficient bends the curve. The evidence chooses how strongly these are held.
        strength: sd √(n(n+1)) of these coefficients to begin with [unit of the coefficient].
        quantity: the curve, with {} for the symbol of the field that holds the array.
        held: what the coefficients from `shape` on are called in a sentence.
    """

    symbol: str
    shape: int
    strength: float
    quantity: str
    held: str


class Component(NamedTuple):
    """One component of θ.

    Attributes:
        name: of the component, such as "ln_kappa".
        reported: name of the value, such as "kappa".
        label: what a sentence calls it, such as "the slope of mu_h".
        bijection: from θ to the value.
        prior: of θ.
        sd: standard deviation of the prior.
        dimension: of the value, or of what the value is a logarithm of.
        logarithmic: whether the value is a logarithm: a change of units shifts it.
        series: the series that it belongs to, or None.
        degree: its degree in the series; 0 without one.
        quantity: the curve of the series; "" without one.
    """

    name: str
    reported: str
    label: str
    bijection: Bijection
    prior: Prior
    sd: float
    dimension: Dimension
    logarithmic: bool
    series: Series | None
    degree: int
    quantity: str


class Parameters(eqx.Module):
    """The free numbers of a law as one vector θ [p]. A pytree: jitted functions take it as an argument.

    Attributes:
        law: the law, or a part of one, that says where θ starts and what is not free.
        fixed: names of fields that are not free.
    """

    law: Any
    fixed: tuple[str, ...] = eqx.field(static=True, default=())

    @property
    def components(self) -> tuple[Component, ...]:
        """What each component of θ is."""
        return _components(self._leaves())

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the components of θ."""
        return tuple(c.name for c in self.components)

    @property
    def size(self) -> int:
        """Number of components."""
        return sum(leaf.value.size for leaf in self._leaves())

    @property
    def start(self) -> Float[Array, " p"]:
        """θ of the law as given."""
        return jnp.concatenate([x.bijection.inverse(x.value).ravel() for x in self._leaves()])

    @property
    def mean(self) -> Float[Array, " p"]:
        """Mean of the Gaussian prior."""
        means = [c.prior.mean for c in self.components]
        stated = np.array([m is not None for m in means])
        start = self.start
        return jnp.where(stated, jnp.asarray([m or 0.0 for m in means], start.dtype), start)

    @property
    def sd(self) -> Float[np.ndarray, " p"]:
        """Standard deviations of the Gaussian prior."""
        return np.array([c.sd for c in self.components])

    @property
    def penalty(self) -> Float[np.ndarray, " p"]:
        """n(n+1) of the terms of degree n, 1 of what has no degree."""
        return np.array([max(c.degree * (c.degree + 1), 1) for c in self.components], float)

    def build(self, theta: Float[Array, " p"]) -> Any:
        """The law at θ; differentiable, for `jax.jit`, `jax.grad` and `jax.vmap`."""
        leaves = self._leaves()
        ends = np.cumsum([0] + [leaf.value.size for leaf in leaves])
        values = [
            leaf.bijection.forward(theta[a:b].reshape(leaf.value.shape))
            for leaf, a, b in zip(leaves, ends[:-1], ends[1:], strict=True)
        ]
        places = [leaf.path for leaf in leaves]
        return eqx.tree_at(lambda tree: [_at(tree, place) for place in places], self.law, values)

    def log_prior(self, theta: Float[Array, " p"]) -> Float[Array, ""]:
        """ln N(θ; mean, sd²) without its constant."""
        return -0.5 * jnp.sum(((theta - self.mean) / jnp.asarray(self.sd, theta.dtype)) ** 2)

    def sample(self, key: Array) -> Float[Array, " p"]:
        """A draw of the prior."""
        mean = self.mean
        white = jax.random.normal(key, mean.shape, mean.dtype)
        return mean + jnp.asarray(self.sd, mean.dtype) * white

    def _leaves(self) -> list["_Leaf"]:
        return [leaf for leaf in _leaves(self.law, self.fixed) if leaf.free]


def parameter(
    constraint: Bijection,
    *,
    sd: float,
    mean: float | None = None,
    decay: float = 0.0,
    dimension: Dimension | None = None,
    **field: Any,
) -> Any:
    """A field of a law that holds free numbers.

    Args:
        constraint: what it may be.
        sd: standard deviation of the prior on θ.
        mean: of the prior on θ; by default the value that the law is given.
        decay: power with which sd falls along the array.
        dimension: of the value; by default that of the field that holds this part of the law.
        **field: of `equinox.field`; `log` and `series` as for `curve`.

    Returns:
        A dataclass field.
    """
    metadata = {"constraint": constraint, "prior": Prior(mean, sd, decay)}
    metadata |= {k: field.pop(k) for k in ("log", "series") if k in field}
    if dimension is not None:
        metadata["dimension"] = dimension
    return eqx.field(converter=_real, metadata=metadata, **field)


def curve(
    constraint: Bijection,
    *,
    sd: float,
    log: Literal["", "first", "all"] = "",
    series: Series | None = None,
    **field: Any,
) -> Any:
    """A field with the coefficients of a curve.

    Args:
        constraint: what a coefficient may be.
        sd: standard deviation of the prior on θ.
        log: which coefficients a change of units shifts, where the curve is the logarithm of a quantity: none, the
            first, or all.
        series: names, degrees and prior strength of the coefficients, where their functions have a rising degree.
        **field: as for `parameter`.

    Returns:
        A dataclass field.
    """
    return parameter(constraint, sd=sd, log=log, series=series, **field)


def part(dimension: Dimension, symbol: str = "", **field: Any) -> Any:
    """A field that holds a part of a law, such as a mobility.

    Args:
        dimension: of the quantity that the part gives.
        symbol: of the quantity, for sentences.
        **field: of `equinox.field`.

    Returns:
        A dataclass field.
    """
    return eqx.field(metadata={"dimension": dimension, "symbol": symbol}, **field)


def whole(**field: Any) -> Any:
    """A field that holds a whole law, whose numbers keep the names that they have in that law alone.

    Args:
        **field: of `equinox.field`.

    Returns:
        A dataclass field.
    """
    return eqx.field(metadata={"whole": True}, **field)


def flat_part(**field: Any) -> Any:
    """A field that holds a part of a law whose numbers are called FIELD_NUMBER, not FIELD.NUMBER.

    Args:
        **field: of `equinox.field`.

    Returns:
        A dataclass field.
    """
    return eqx.field(metadata={"flat": True}, **field)


def data(dimension: Dimension = NUMBER, **field: Any) -> Any:
    """A field with an array that belongs to the problem and is never free, such as a set of modes.

    Args:
        dimension: of the values.
        **field: of `equinox.field`.

    Returns:
        A dataclass field.
    """
    metadata = {"data": True, "dimension": dimension}
    return eqx.field(converter=jnp.asarray, metadata=metadata, **field)


# Parts of laws that say nothing of their arrays: scales are positive, coefficients real.
_POSITIVE_NAMES = ("kappa", "value", "scale", "rho", "reorganisation", "activity", "rate_constant")
# Prior of such arrays: a factor e³ either way, or 3 kT. Wide: it hardly moves what a movie determines.
_WIDE = Prior(None, 3.0, 0.0)


def free_parameters(law: Any, fixed: tuple[str, ...] = ()) -> Parameters:
    """θ, its names and its prior for a law or a part of one.

    Args:
        law: an `eqx.Module`; arrays of integers and what is not an array stay as they are.
        fixed: names of fields that are not free, beside those of `law.fixed`: plain ("kappa") or with owners as far
            as needed ("exchange.filled").

    Returns:
        The free numbers.

    Raises:
        InputError: if nothing is free, a name in `fixed` is unknown, or a value breaks its constraint.
    """
    fixed = (*fixed, *getattr(law, "fixed", ()))
    found = _leaves(law, fixed)
    known = {name for leaf in found for name in leaf.endings}
    known |= {name for leaf in found for name in _owners(leaf.name)}
    unknown = set(fixed) - known
    if unknown:
        raise InputError(f"Unknown law parameters {sorted(unknown)}: the law has {sorted(known)}.")
    free = [leaf for leaf in found if leaf.free]
    if not free:
        raise InputError("The law has no free parameters.")
    for leaf in free:
        if not bool(jnp.all(jnp.isfinite(leaf.bijection.inverse(leaf.value)))):
            raise InputError(
                f"{leaf.name} = {np.asarray(leaf.value)} is not allowed there: see its law."
            )
    return Parameters(law, fixed)


def rescaled(law: Tree, length: float = 1.0, time: float = 1.0) -> Tree:
    """The same law in other units.

    Args:
        law: with arrays whose fields state their dimension.
        length: new unit of length [old unit of length].
        time: new unit of time [old unit of time].

    Returns:
        The law with the numbers that belong to the new units.
    """
    places, values = [], []
    for leaf in _leaves(law, ()):
        factor = leaf.dimension.factor(1 / length, 1 / time)
        if leaf.dimension[1:] == (0, 0) or factor == 1.0:
            continue
        places.append(leaf.path)
        shift = jnp.asarray(np.log(factor) * leaf.logarithmic, leaf.value.dtype)
        scale = jnp.asarray(np.where(leaf.logarithmic, 1.0, factor), leaf.value.dtype)
        values.append(leaf.value + shift if leaf.log else leaf.value * scale)
    if not places:
        return law
    return eqx.tree_at(lambda tree: [_at(tree, place) for place in places], law, values)


class _Leaf(NamedTuple):
    """An array of a law, with what its field and the fields above say of it."""

    path: str
    name: str
    value: Array
    bijection: Bijection
    prior: Prior
    dimension: Dimension
    log: str
    series: Series | None
    lowest: int
    symbol: str
    free: bool

    @property
    def endings(self) -> set[str]:
        """Names of the field, with or without the owners."""
        return _endings(self.name)

    @property
    def logarithmic(self) -> np.ndarray:
        """Which of the values a change of units shifts."""
        which = np.full(self.value.shape, self.log == "all")
        if self.log == "first" and self.lowest == 0 and which.ndim:
            which[0] = True
        return which


def _leaves(law: Any, fixed: tuple[str, ...]) -> list[_Leaf]:
    """Arrays of a tree of modules and tuples, depth first."""
    found: list[_Leaf] = []
    _collect(law, ("", ""), {"free": True}, set(fixed), found)
    return found


def _collect(
    node: Any, owner: tuple[str, str], above: dict, fixed: set[str], found: list[_Leaf]
) -> None:
    """The arrays of a node whose owner has this path and this name."""
    fixed = fixed | set(getattr(node, "fixed", ()))
    items: list[tuple[str, Any, Any]]
    if isinstance(node, tuple | list):
        items = [(str(n), child, {}) for n, child in enumerate(node)]
    elif is_dataclass(node):
        items = [
            (f.name, getattr(node, f.name), f.metadata)
            for f in fields(node)
            if not f.metadata.get("static")
        ]
    else:
        return
    for field, child, metadata in items:
        place = _joined(owner[0], field)
        name = owner[1] if metadata.get("whole") else _joined(owner[1], field)
        name += "_" * metadata.get("flat", False)
        here = above | {k: metadata[k] for k in ("dimension", "symbol", "log") if k in metadata}
        held = metadata.get("data", False) or bool(_endings(name) & fixed)
        here["free"] = above["free"] and not held
        if not eqx.is_inexact_array(child):
            _collect(child, (place, name), here, fixed, found)
            continue
        found.append(
            _Leaf(
                place,
                name,
                child,
                metadata.get("constraint", POSITIVE if field in _POSITIVE_NAMES else REAL),
                metadata.get("prior", _WIDE),
                here.get("dimension", NUMBER),
                here.get("log", ""),
                metadata.get("series"),
                getattr(node, "lowest", 0),
                here.get("symbol", ""),
                here["free"],
            )
        )


def _components(leaves: list[_Leaf]) -> tuple[Component, ...]:
    symbols = [leaf.series.symbol for leaf in leaves if leaf.series]
    found = []
    for leaf in leaves:
        series, shifts = leaf.series, leaf.logarithmic.ravel()
        quantity = series.quantity.format(leaf.symbol or leaf.name) if series else ""
        for n in range(leaf.value.size):
            degree = leaf.lowest + n if series else 0
            if series:
                own = f"{series.symbol}_{degree}"
                reported = own if symbols.count(series.symbol) == 1 else f"{leaf.name}.{own}"
                name, label = reported, _term(degree, quantity)
            else:
                index = f"[{n}]" if leaf.value.ndim else ""
                reported, name = leaf.name + index, leaf.bijection.name.format(leaf.name) + index
                label = reported
            sd = leaf.prior.sd / (1.0 + n) ** leaf.prior.decay
            if series:
                sd *= np.sqrt(2.0 / max(degree * (degree + 1), 2))
            shifted = bool(shifts[n])
            # Of a logarithm only the terms that a change of units shifts have a unit.
            dimension = leaf.dimension if shifted or not leaf.log else NUMBER
            found.append(
                Component(
                    name,
                    reported,
                    label,
                    leaf.bijection,
                    leaf.prior,
                    sd,
                    dimension,
                    shifted,
                    series,
                    degree,
                    quantity,
                )
            )
    return tuple(found)


def _term(degree: int, quantity: str) -> str:
    """What a sentence calls the term of this degree."""
    place = {0: "the mean", 1: "the slope", 2: "the bend"}.get(degree, f"degree {degree}")
    return f"{place} of {quantity}"


def _power(name: str, power: int) -> str:
    return name if power == 1 else f"{name}^{power}"


def _real(value: Any) -> Array:
    """An array of real numbers: of integers no derivative exists."""
    array = jnp.asarray(value)
    return array.astype(float) if jnp.issubdtype(array.dtype, jnp.integer) else array


def _joined(owner: str, name: str) -> str:
    return owner + name if not owner or owner.endswith("_") else f"{owner}.{name}"


def _endings(place: str) -> set[str]:
    return {".".join(place.split(".")[i:]) for i in range(place.count(".") + 1)}


def _owners(place: str) -> set[str]:
    """Names of the fields that hold the field of this path."""
    names = place.split(".")
    return {ending for i in range(1, len(names)) for ending in _endings(".".join(names[:i]))}


def _at(tree: Any, place: str) -> Any:
    for name in place.split("."):
        tree = tree[int(name)] if isinstance(tree, tuple | list) else getattr(tree, name)
    return tree

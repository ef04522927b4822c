"""Laws as points of ℝⁿ: every array of a law says what it may be and what it is likely to be.

    value = forward(θ),   θ ∈ ℝ unconstrained,   θ ~ N(m, sd²)

A law declares its arrays with `parameter` or `curve`; `free_parameters` then flattens any model, of laws
within laws, into one vector with names, a prior and the way back. Constraints hold for every θ: optimisers and
samplers need no bounds.
"""

from collections.abc import Callable
from dataclasses import dataclass, fields, is_dataclass
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from phdenoise.types import InputError

Map = Callable[[Array], Array]


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
POSITIVE = Bijection(jnp.exp, jnp.log, "ln {}")
UNIT = Bijection(jax.nn.sigmoid, lambda p: jnp.log(p) - jnp.log1p(-p), "logit {}")


class Prior(NamedTuple):
    """N(mean, (sd / (1 + n)^decay)²) of the n-th component of θ; mean None: where the law starts."""

    mean: float | None
    sd: float
    decay: float


@dataclass(frozen=True)
class Parameters:
    """The free numbers of a law.

    Attributes:
        names: of the components of θ.
        start: θ of the law as given [p].
        mean, sd: of the Gaussian prior [p].
        build: θ to the law; differentiable, for `jax.jit`, `jax.grad` and `jax.vmap`.
    """

    names: tuple[str, ...]
    start: Float[Array, " p"]
    mean: Float[Array, " p"]
    sd: Float[Array, " p"]
    build: Callable[[Float[Array, " p"]], Any]

    def log_prior(self, theta: Float[Array, " p"]) -> Float[Array, ""]:
        """ln N(θ; mean, sd²) without its constant."""
        return -0.5 * jnp.sum(((theta - self.mean) / self.sd) ** 2)

    def sample(self, key: Array) -> Float[Array, " p"]:
        """A draw of the prior."""
        return self.mean + self.sd * jax.random.normal(key, self.mean.shape, self.mean.dtype)


def parameter(
    constraint: Bijection, *, sd: float, mean: float | None = None, decay: float = 0.0, **field: Any
) -> Any:
    """A field of a law that holds free numbers.

    Args:
        constraint: what it may be.
        sd, mean: of the prior on θ; the mean is by default the value the law is given.
        decay: power with which sd falls along the array.
    """
    metadata = {"constraint": constraint, "prior": Prior(mean, sd, decay)}
    return eqx.field(converter=jnp.asarray, metadata=metadata, **field)


def curve(constraint: Bijection, *, sd: float, decay: float = 0.0, **field: Any) -> Any:
    """A field with the coefficients of a curve."""
    return parameter(constraint, sd=sd, decay=decay, **field)


def data(**field: Any) -> Any:
    """A field with an array that belongs to the problem and is never free, such as a set of modes."""
    return eqx.field(converter=jnp.asarray, metadata={"data": True}, **field)


# Laws that say nothing about their arrays: scales are positive, coefficients real.
_POSITIVE_NAMES = ("kappa", "value", "scale", "rho", "reorganisation", "activity", "rate_constant")
_WIDE = Prior(None, 3.0, 0.0)


def free_parameters(law: Any, fixed: tuple[str, ...] = ()) -> Parameters:
    """θ, its names and its prior for a law or a model of laws.

    Args:
        law: an `eqx.Module`; arrays of integers and what is not an array stay as they are.
        fixed: names of fields that are not free, plain ("kappa") or with owners as far as needed
            ("exchange.filled").

    Raises:
        InputError: if nothing is free, a name in `fixed` is unknown, or a value breaks its constraint.
    """
    found: list[tuple[str, Bijection, Prior]] = []
    chosen: list[Any] = []
    known: set[str] = set()
    _collect(law, "", fixed, found, chosen, known)
    unknown = set(fixed) - known
    if unknown:
        raise InputError(f"Unknown law parameters {sorted(unknown)}: the law has {sorted(known)}.")
    if not found:
        raise InputError("The law has no free parameters.")
    pieces, names, means, sds = [], [], [], []
    for (path, bijection, prior), value in zip(found, chosen, strict=True):
        theta = bijection.inverse(value)
        if not bool(jnp.all(jnp.isfinite(theta))):
            raise InputError(f"{path} = {np.asarray(value)} is not allowed there: see its law.")
        size = theta.size
        pieces.append(theta.ravel())
        means.append(theta.ravel() if prior.mean is None else jnp.full(size, prior.mean))
        sds.append(prior.sd / (1.0 + np.arange(size)) ** prior.decay)
        label = bijection.name.format(path)
        names += [label] if theta.ndim == 0 else [f"{label}[{n}]" for n in range(size)]
    dtype = jnp.result_type(*pieces)
    places = [path for path, _, _ in found]
    maps = [bijection.forward for _, bijection, _ in found]
    shapes = [value.shape for value in chosen]
    ends = np.cumsum([0] + [int(np.prod(shape)) for shape in shapes])

    def build(theta: Float[Array, " p"]) -> Any:
        values = [
            forward(theta[a:b].reshape(shape))
            for forward, shape, a, b in zip(maps, shapes, ends[:-1], ends[1:], strict=True)
        ]
        return eqx.tree_at(lambda tree: [_at(tree, place) for place in places], law, values)

    return Parameters(
        tuple(names),
        jnp.concatenate(pieces).astype(dtype),
        jnp.concatenate(means).astype(dtype),
        jnp.asarray(np.concatenate(sds), dtype),
        build,
    )


def _collect(
    node: Any, path: str, fixed: tuple[str, ...], found: list, chosen: list, known: set[str]
) -> None:
    """Arrays of a tree of modules and tuples, depth first, with what their fields say of them."""
    items: list[tuple[str, Any, Any]]
    if isinstance(node, tuple | list):
        items = [(str(n), child, {}) for n, child in enumerate(node)]
    elif is_dataclass(node):
        items = [
            (f.name, getattr(node, f.name), f.metadata)
            for f in fields(node)
            if not (f.metadata.get("static") or f.metadata.get("data"))
        ]
    else:
        return
    for name, child, metadata in items:
        place = f"{path}.{name}" if path else name
        endings = {".".join(place.split(".")[i:]) for i in range(place.count(".") + 1)}
        known |= endings
        if endings & set(fixed):
            continue
        if eqx.is_inexact_array(child):
            plain = POSITIVE if name in _POSITIVE_NAMES else REAL
            found.append((place, metadata.get("constraint", plain), metadata.get("prior", _WIDE)))
            chosen.append(child)
        else:
            _collect(child, place, fixed, found, chosen, known)


def _at(tree: Any, place: str) -> Any:
    for name in place.split("."):
        tree = tree[int(name)] if isinstance(tree, tuple | list) else getattr(tree, name)
    return tree

"""Names of laws, the prior of a law's free numbers, and its curves.

A law is an object (`phdenoise.physics.equations`). Its free numbers are a vector θ (`phdenoise.physics.law_parameters`), in
cells and frame intervals; `Units` carries results back to the movie's own units. Names stand for laws of Legendre series,

    μ_h = ln(c/(1−c)) + Σₙ pₙ Pₙ(2c−1),   ln D = Σₙ qₙ Pₙ(2c−1)

Parametrisation: Zhao et al., Phys. Rev. Lett. 124, 060201 (2020), doi:10.1103/PhysRevLett.124.060201.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal, NamedTuple, get_args

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from phdenoise.learn.config import FitConfig
from phdenoise.physics.equations.allen_cahn import AllenCahn
from phdenoise.physics.equations.base import Law
from phdenoise.physics.equations.cahn_hilliard import CahnHilliard
from phdenoise.physics.equations.fickian import Fickian
from phdenoise.physics.free_energies.regular_solution import LegendreEnthalpy
from phdenoise.physics.law_parameters import Dimension, Parameters
from phdenoise.physics.mobility import LegendreMobility
from phdenoise.types import InputError

LawName = Literal["cahn-hilliard", "fickian", "allen-cahn"]
LAW_NAMES: tuple[LawName, ...] = get_args(LawName)


def _enthalpy(config: FitConfig, lowest: int) -> LegendreEnthalpy:
    count = config.enthalpy_degree + 1 - lowest
    return LegendreEnthalpy(jnp.zeros(count), lowest=lowest)


def _mobility(config: FitConfig) -> LegendreMobility:
    return LegendreMobility(jnp.zeros(config.mobility_degree + 1), base=config.mobility_base)


# The law of a name, with the degrees of the settings; its numbers are those that it finds in the movie.
LAWS: Mapping[str, Callable[[FitConfig], Law]] = {
    "cahn-hilliard": lambda config: CahnHilliard(
        _enthalpy(config, 1), _mobility(config), jnp.ones(())
    ),
    "fickian": lambda config: Fickian(_mobility(config)),
    "allen-cahn": lambda config: AllenCahn(_enthalpy(config, 0), _mobility(config), jnp.ones(())),
}


class Given(NamedTuple):
    """A law to fit, and whether its numbers are a start (those of a name are not)."""

    law: Law
    numbers: bool


def given_law(law: str | Law, config: FitConfig) -> Given:
    """The law of a name, or the law itself.

    Args:
        law: an object, or one of `LAW_NAMES`.
        config: its degrees are those of a named law.

    Returns:
        The law.

    Raises:
        InputError: an unknown name.
    """
    if not isinstance(law, str):
        return Given(law, True)
    if law not in LAWS:
        raise InputError(f"Unknown law '{law}': use one of {', '.join(LAWS)}, or a law object.")
    return Given(LAWS[law](config), False)


def label(law: Law) -> str:
    """Short name of a law."""
    return law.label or type(law).__name__


def title(law: Law) -> str:
    """Name of a law in a sentence."""
    return law.title or label(law)


class LawPrior(NamedTuple):
    """Gaussian prior of θ: its centre [p] and standard deviations [p]."""

    centre: np.ndarray
    sd: np.ndarray


def weak_prior(family: Parameters, theta: Float[np.ndarray, " p"]) -> LawPrior:
    """The weakest prior: that of the law's fields, about θ where they state no mean.

    Args:
        family: what the components of θ are.
        theta: θ near the truth [p].

    Returns:
        The prior.
    """
    means = [component.prior.mean for component in family.components]
    centre = [t if mean is None else mean for t, mean in zip(theta, means, strict=True)]
    return LawPrior(np.array(centre, float), family.sd)


@dataclass(frozen=True)
class Units:
    """Cell size and frame interval that turn fitted numbers into the movie's units.

    Attributes:
        length: of a cell [length_unit].
        time: of a frame interval [time_unit].
        length_unit, time_unit: their names.
    """

    length: float = 1.0
    time: float = 1.0
    length_unit: str = "px"
    time_unit: str = "frame"

    def factor(self, dimension: Dimension) -> float:
        """From cells and frame intervals to the movie's units."""
        return dimension.factor(self.length, self.time)

    def text(self, dimension: Dimension) -> str:
        """The movie's unit in words."""
        return dimension.text(self.length_unit, self.time_unit)


@eqx.filter_jit
def curve_values(
    family: Parameters, theta: Float[Array, " p"], c: Float[Array, " c"]
) -> dict[str, Float[Array, " c"]]:
    """The curves of a law by name, as its errors are normal: relative to their origin, or as logarithms.

    Args:
        family: what the components of θ are.
        theta: θ [p].
        c: concentrations [c].

    Returns:
        Values [c] in cells and frame intervals.
    """
    found = {}
    for curve in family.build(theta).curves():
        value = curve.function(c)
        if curve.origin is not None:
            value = value - curve.function(jnp.full((1,), curve.origin, c.dtype))
        found[curve.name] = jnp.log(value) if curve.logarithmic else value
    return found

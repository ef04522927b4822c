"""Numbers that follow from a law, with intervals: phases, spinodals, barrier, interface.

What a law implies is the law's own matter (`Law.derived`); here they are worked out for every law within the uncertainty.
"""

from dataclasses import dataclass

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from phdenoise.learn.laws import Units
from phdenoise.physics.equations.base import Law
from phdenoise.physics.free_energies.phases import Number
from phdenoise.physics.law_parameters import Parameters, rescaled


@dataclass(frozen=True)
class Derived:
    """A number that follows from a law.

    Attributes:
        name: such as "binodal_low".
        value: at the best law; nan where it has none.
        low, high: its 90 % interval among the laws that have it.
        share: of the laws within the uncertainty that have it.
        unit: of the movie.
        extrapolated: whether it rests on concentrations that the movie did not visit.
    """

    name: str
    value: float
    low: float
    high: float
    share: float
    unit: str
    extrapolated: bool


def numbers(
    family: Parameters, thetas: Float[np.ndarray, "n p"], units: Units
) -> list[dict[str, Number]]:
    """Derived numbers of laws in the movie's units; those that a law does not have are absent.

    Args:
        family: what the components of θ are.
        thetas: θ of each law [n, p].
        units: of the movie.

    Returns:
        Numbers by name, of each law.
    """
    thetas = np.asarray(thetas, float)
    if not np.isfinite(thetas).all():
        return [{}] * len(thetas)

    def law(theta: jax.Array) -> Law:
        return rescaled(family.build(theta), 1 / units.length, 1 / units.time)

    with jax.enable_x64(True):
        many = eqx.filter_vmap(law)(jnp.asarray(thetas))
        arrays, rest = eqx.partition(many, eqx.is_array)
        arrays = jax.tree.map(np.asarray, arrays)
        return [
            eqx.combine(jax.tree.map(lambda a: a[i], arrays), rest).derived()  # noqa: B023
            for i in range(len(thetas))
        ]


def derive(
    family: Parameters,
    theta: Float[np.ndarray, " p"],
    laws: Float[np.ndarray, "n p"],
    visited: tuple[float, float],
    units: Units,
) -> tuple[Derived, ...]:
    """Derived numbers with 90 % intervals.

    Args:
        family: what the components of θ are.
        theta: best law [p].
        laws: laws within its uncertainty [n, p].
        visited: lowest and highest concentration of the movie.
        units: of the movie.

    Returns:
        The numbers that the best law, or one of the others, has.
    """
    here, *many = numbers(family, np.concatenate([theta[None], laws]), units)
    results = []
    first = {name: number for found in (*reversed(many), here) for name, number in found.items()}
    names = dict.fromkeys(name for found in (here, *many) for name in found)
    for name in names:
        values = np.array([found[name].value for found in many if name in found])
        low, high = np.quantile(values, (0.05, 0.95)) if values.size else (np.nan, np.nan)
        number = here.get(name)
        outside = number is None or any(not visited[0] <= c <= visited[1] for c in number.rests_on)
        results.append(
            Derived(
                name,
                float("nan") if number is None else number.value,
                float(low),
                float(high),
                values.size / max(len(many), 1),
                units.text(first[name].dimension),
                outside,
            )
        )
    return tuple(results)

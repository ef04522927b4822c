"""Laws of names with few terms, and points in the space of their numbers, for the tests beside."""

import numpy as np

from phdenoise.learn.config import FitConfig
from phdenoise.learn.laws import given_law
from phdenoise.physics.law_parameters import Parameters, free_parameters


def family(name: str, enthalpy_degree: int, mobility_degree: int) -> Parameters:
    """The free numbers of a named law."""
    config = FitConfig(enthalpy_degree=enthalpy_degree, mobility_degree=mobility_degree)
    return free_parameters(given_law(name, config).law)


def point(family: Parameters, mobility: float, kappa: float, omega: float) -> np.ndarray:
    """θ of a regular solution with constant mobility [p]."""
    theta = np.zeros(family.size)
    numbers = {"q_0": np.log(mobility), "p_1": -omega, "ln_kappa": np.log(kappa)}
    for name, value in numbers.items():
        if name in family.names:
            theta[family.names.index(name)] = value
    return theta

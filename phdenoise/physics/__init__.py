"""Free energies, mobilities, evolution equations and their time integration.

The diffrax wrapper is imported by name (`phdenoise.physics.diffrax_solver`): this stays light.
"""

from phdenoise.physics.free_energy import DoubleWell, LegendreEnthalpy, RegularSolution
from phdenoise.physics.mobility import ConstantMobility, DegenerateMobility, LegendreMobility
from phdenoise.physics.models import (
    AllenCahn,
    CahnHilliard,
    Fickian,
    Model,
    Reference,
    growth_rate,
    reference_mobility,
)
from phdenoise.physics.pointwise import legendre
from phdenoise.physics.rkc import RKC2, stages_for
from phdenoise.physics.rosenbrock import RosenbrockW
from phdenoise.physics.simulate import advance, diverged, simulate, substeps_for
from phdenoise.physics.steppers import ETDRK4, Stepper

__all__ = [
    "ETDRK4",
    "RKC2",
    "AllenCahn",
    "CahnHilliard",
    "ConstantMobility",
    "DegenerateMobility",
    "DoubleWell",
    "Fickian",
    "LegendreEnthalpy",
    "LegendreMobility",
    "Model",
    "Reference",
    "RegularSolution",
    "RosenbrockW",
    "Stepper",
    "advance",
    "diverged",
    "growth_rate",
    "legendre",
    "reference_mobility",
    "simulate",
    "stages_for",
    "substeps_for",
]

"""Free energies, mobilities, evolution equations and their time integration.

The diffrax wrapper is imported by name (`phdenoise.physics.diffrax_solver`): this stays light.
"""

from phdenoise.physics.adaptive import Outcome, Solution, integrate
from phdenoise.physics.forced import Forced
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
from phdenoise.physics.rkc_adaptive import VariableRKC2
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
    "Forced",
    "LegendreEnthalpy",
    "LegendreMobility",
    "Model",
    "Outcome",
    "Reference",
    "RegularSolution",
    "RosenbrockW",
    "Solution",
    "Stepper",
    "VariableRKC2",
    "advance",
    "diverged",
    "growth_rate",
    "integrate",
    "legendre",
    "reference_mobility",
    "simulate",
    "stages_for",
    "substeps_for",
]

"""Free energies, mobilities, evolution equations and their time integration.

The diffrax wrapper is imported by name (`phdenoise.physics.diffrax_solver`): this stays light.
"""

from phdenoise.physics.free_energy import DoubleWell, LegendreEnthalpy, RegularSolution
from phdenoise.physics.graphite import TwoLayers
from phdenoise.physics.kinetics import (
    ButlerVolmer,
    CoupledIonElectron,
    ExchangeCurrent,
    SymmetricButlerVolmer,
)
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
from phdenoise.physics.particle import Heterogeneity, disc, mask_modes, rim, smooth_prior
from phdenoise.physics.pointwise import legendre
from phdenoise.physics.reaction import (
    AllenCahnReaction,
    CahnHilliardReaction,
    ConstantCurrent,
    HeldVoltage,
)
from phdenoise.physics.rkc import RKC2, stages_for
from phdenoise.physics.rosenbrock import RosenbrockW
from phdenoise.physics.simulate import advance, diverged, simulate, substeps_for
from phdenoise.physics.steppers import ETDRK4, Stepper

__all__ = [
    "ETDRK4",
    "RKC2",
    "AllenCahn",
    "AllenCahnReaction",
    "ButlerVolmer",
    "CahnHilliard",
    "CahnHilliardReaction",
    "ConstantCurrent",
    "ConstantMobility",
    "CoupledIonElectron",
    "DegenerateMobility",
    "DoubleWell",
    "ExchangeCurrent",
    "Fickian",
    "HeldVoltage",
    "Heterogeneity",
    "LegendreEnthalpy",
    "LegendreMobility",
    "Model",
    "Reference",
    "RegularSolution",
    "RosenbrockW",
    "Stepper",
    "SymmetricButlerVolmer",
    "TwoLayers",
    "advance",
    "disc",
    "diverged",
    "growth_rate",
    "legendre",
    "mask_modes",
    "reference_mobility",
    "rim",
    "simulate",
    "smooth_prior",
    "stages_for",
    "substeps_for",
]

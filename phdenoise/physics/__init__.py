"""Free energies, mobilities, evolution equations and their time integration.

The diffrax wrapper is imported by name (`phdenoise.physics.diffrax_solver`): this stays light.
"""

from phdenoise.physics.adaptive import Outcome, Solution, integrate
from phdenoise.physics.forced import Forced
from phdenoise.physics.free_energy import DoubleWell, LegendreEnthalpy, RegularSolution
from phdenoise.physics.graphite import TwoLayers
from phdenoise.physics.kinetics import (
    ButlerVolmer,
    CoupledIonElectron,
    ExchangeCurrent,
    SymmetricButlerVolmer,
)
from phdenoise.physics.law_parameters import Parameters, free_parameters
from phdenoise.physics.many import simulate_many
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
from phdenoise.physics.network_laws import (
    IncreasingNetwork,
    Network,
    NetworkEnthalpy,
    NetworkMobility,
    random_network,
)
from phdenoise.physics.particle import (
    Heterogeneity,
    disc,
    heterogeneity,
    mask_modes,
    rim,
    smooth_prior,
)
from phdenoise.physics.pointwise import legendre
from phdenoise.physics.reaction import (
    AllenCahnReaction,
    CahnHilliardReaction,
    ConstantCurrent,
    HeldVoltage,
)
from phdenoise.physics.redlich_kister import RedlichKister
from phdenoise.physics.rkc import RKC2, stages_for
from phdenoise.physics.rkc_adaptive import VariableRKC2
from phdenoise.physics.rosenbrock import RosenbrockW
from phdenoise.physics.simulate import advance, diverged, simulate, substeps_for
from phdenoise.physics.splines import SplineEnthalpy, SplineMobility, spline_fit
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
    "Forced",
    "HeldVoltage",
    "Heterogeneity",
    "IncreasingNetwork",
    "LegendreEnthalpy",
    "LegendreMobility",
    "Model",
    "Network",
    "NetworkEnthalpy",
    "NetworkMobility",
    "Outcome",
    "Parameters",
    "RedlichKister",
    "Reference",
    "RegularSolution",
    "RosenbrockW",
    "Solution",
    "SplineEnthalpy",
    "SplineMobility",
    "Stepper",
    "SymmetricButlerVolmer",
    "TwoLayers",
    "VariableRKC2",
    "advance",
    "disc",
    "diverged",
    "free_parameters",
    "growth_rate",
    "heterogeneity",
    "integrate",
    "legendre",
    "mask_modes",
    "random_network",
    "reference_mobility",
    "rim",
    "simulate",
    "simulate_many",
    "smooth_prior",
    "spline_fit",
    "stages_for",
    "substeps_for",
]

"""Free energies, mobilities, evolution equations and their time integration.

The diffrax wrapper is imported by name (`phdenoise.physics.steppers.diffrax_solver`): this stays light.
"""

from phdenoise.physics.adaptive import integrate
from phdenoise.physics.batched import simulate_many
from phdenoise.physics.equations.advected import Advected
from phdenoise.physics.equations.allen_cahn import AllenCahn
from phdenoise.physics.equations.anisotropic import Anisotropic
from phdenoise.physics.equations.base import (
    Curve,
    Law,
    Reference,
    Starts,
    largest_symbol,
    reference_mobility,
)
from phdenoise.physics.equations.blurred import Blurred
from phdenoise.physics.equations.cahn_hilliard import CahnHilliard, growth_rate
from phdenoise.physics.equations.drifting import Drifting
from phdenoise.physics.equations.extended import Extended
from phdenoise.physics.equations.fickian import Fickian
from phdenoise.physics.equations.forced import Forced
from phdenoise.physics.equations.heterogeneous import Heterogeneous
from phdenoise.physics.equations.reaction import (
    AllenCahnReaction,
    CahnHilliardReaction,
    ConstantCurrent,
    HeldVoltage,
)
from phdenoise.physics.equations.sourced import Sourced
from phdenoise.physics.free_energies.graphite import TwoLayers
from phdenoise.physics.free_energies.networks import (
    IncreasingNetwork,
    Network,
    NetworkEnthalpy,
    NetworkMobility,
    random_network,
)
from phdenoise.physics.free_energies.redlich_kister import RedlichKister
from phdenoise.physics.free_energies.regular_solution import (
    DoubleWell,
    LegendreEnthalpy,
    RegularSolution,
)
from phdenoise.physics.free_energies.splines import SplineEnthalpy, SplineMobility, spline_fit
from phdenoise.physics.kinetics import (
    ButlerVolmer,
    CoupledIonElectron,
    ExchangeCurrent,
    SymmetricButlerVolmer,
)
from phdenoise.physics.law_parameters import (
    DIFFUSIVITY,
    ENERGY,
    NUMBER,
    POSITIVE,
    RATE,
    REAL,
    UNIT,
    Dimension,
    Parameters,
    curve,
    data,
    free_parameters,
    parameter,
    part,
    rescaled,
    whole,
)
from phdenoise.physics.mobility import ConstantMobility, DegenerateMobility, LegendreMobility
from phdenoise.physics.operators import flux_divergence, laplacian
from phdenoise.physics.particle import (
    Heterogeneity,
    disc,
    heterogeneity,
    rim,
)
from phdenoise.physics.simulate import advance, diverged, simulate, substeps_for
from phdenoise.physics.solution import Outcome, Solution
from phdenoise.physics.steppers.base import Needs, Stepper
from phdenoise.physics.steppers.etdrk4 import ETDRK4
from phdenoise.physics.steppers.rkc2 import RKC2, stages_for
from phdenoise.physics.steppers.rosenbrock import RosenbrockW
from phdenoise.physics.steppers.table import STEPPERS, choose_stepper
from phdenoise.physics.steppers.variable_rkc2 import VariableRKC2

__all__ = [
    "DIFFUSIVITY",
    "ENERGY",
    "ETDRK4",
    "NUMBER",
    "POSITIVE",
    "RATE",
    "REAL",
    "RKC2",
    "STEPPERS",
    "UNIT",
    "Advected",
    "AllenCahn",
    "AllenCahnReaction",
    "Anisotropic",
    "Blurred",
    "ButlerVolmer",
    "CahnHilliard",
    "CahnHilliardReaction",
    "ConstantCurrent",
    "ConstantMobility",
    "CoupledIonElectron",
    "Curve",
    "DegenerateMobility",
    "Dimension",
    "DoubleWell",
    "Drifting",
    "ExchangeCurrent",
    "Extended",
    "Fickian",
    "Forced",
    "HeldVoltage",
    "Heterogeneity",
    "Heterogeneous",
    "IncreasingNetwork",
    "Law",
    "LegendreEnthalpy",
    "LegendreMobility",
    "Needs",
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
    "Sourced",
    "SplineEnthalpy",
    "SplineMobility",
    "Starts",
    "Stepper",
    "SymmetricButlerVolmer",
    "TwoLayers",
    "VariableRKC2",
    "advance",
    "choose_stepper",
    "curve",
    "data",
    "disc",
    "diverged",
    "flux_divergence",
    "free_parameters",
    "growth_rate",
    "heterogeneity",
    "integrate",
    "laplacian",
    "largest_symbol",
    "parameter",
    "part",
    "random_network",
    "reference_mobility",
    "rescaled",
    "rim",
    "simulate",
    "simulate_many",
    "spline_fit",
    "stages_for",
    "substeps_for",
    "whole",
]

"""Counts <-> physical quantity, both ways and differentiable, for each kind of microscope."""

from phdenoise.modalities.concentration import ConcentrationScale, choose_concentration
from phdenoise.modalities.generic import AffineConcentration
from phdenoise.modalities.neutron import LITHIUM_ABSORPTION, LithiumChange, transmission
from phdenoise.modalities.optical import GRAPHITE_PHASES, Phase, StateOfCharge, channel, classify
from phdenoise.modalities.registration import register, shift
from phdenoise.modalities.stxm import LithiumFraction, OpticalDensity
from phdenoise.modalities.tem import MassThickness, atom_likelihood_ratio

__all__ = [
    "GRAPHITE_PHASES",
    "LITHIUM_ABSORPTION",
    "AffineConcentration",
    "ConcentrationScale",
    "LithiumChange",
    "LithiumFraction",
    "MassThickness",
    "OpticalDensity",
    "Phase",
    "StateOfCharge",
    "atom_likelihood_ratio",
    "channel",
    "choose_concentration",
    "classify",
    "register",
    "shift",
    "transmission",
]

"""Counts <-> physical quantity, both ways and differentiable, for each kind of microscope."""

from phdenoise.modalities.concentration import ConcentrationScale, choose_concentration
from phdenoise.modalities.drift import Drift, find_drift, without_drift
from phdenoise.modalities.generic import AffineConcentration
from phdenoise.modalities.lineprofile import Line, Profile, line_profile
from phdenoise.modalities.neutron import LITHIUM_ABSORPTION, LithiumChange, transmission
from phdenoise.modalities.optical import GRAPHITE_PHASES, Phase, StateOfCharge, channel, classify
from phdenoise.modalities.radiograph import Calibration, calibration
from phdenoise.modalities.registration import register, shift
from phdenoise.modalities.stxm import LithiumFraction, OpticalDensity
from phdenoise.modalities.tem import MassThickness, atom_likelihood_ratio

__all__ = [
    "GRAPHITE_PHASES",
    "LITHIUM_ABSORPTION",
    "AffineConcentration",
    "Calibration",
    "ConcentrationScale",
    "Drift",
    "Line",
    "LithiumChange",
    "LithiumFraction",
    "MassThickness",
    "OpticalDensity",
    "Phase",
    "Profile",
    "StateOfCharge",
    "atom_likelihood_ratio",
    "calibration",
    "channel",
    "choose_concentration",
    "classify",
    "find_drift",
    "line_profile",
    "register",
    "shift",
    "transmission",
    "without_drift",
]

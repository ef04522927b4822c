"""What an instrument does to a field, both ways and differentiable: see `base` for the contract."""

from phdenoise.observation.affine import AffineConcentration, Transmission
from phdenoise.observation.atoms import atom_likelihood_ratio
from phdenoise.observation.base import Composed, Observation, Pointwise, propagate
from phdenoise.observation.blur import Blur
from phdenoise.observation.concentration_scale import ConcentrationScale, choose_concentration
from phdenoise.observation.integration import ExposureIntegration, PixelIntegration
from phdenoise.observation.lithium_change import LithiumChange
from phdenoise.observation.lithium_fraction import LithiumFraction
from phdenoise.observation.mass_thickness import MassThickness
from phdenoise.observation.optical_density import OpticalDensity
from phdenoise.observation.state_of_charge import StateOfCharge

__all__ = [
    "AffineConcentration",
    "Blur",
    "Composed",
    "ConcentrationScale",
    "ExposureIntegration",
    "LithiumChange",
    "LithiumFraction",
    "MassThickness",
    "Observation",
    "OpticalDensity",
    "PixelIntegration",
    "Pointwise",
    "StateOfCharge",
    "Transmission",
    "atom_likelihood_ratio",
    "choose_concentration",
    "propagate",
]

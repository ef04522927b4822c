"""Networks and filters that predict a movie: what each one hides, how far it looks, and its weights."""

from phdenoise.networks.architecture import Architecture
from phdenoise.networks.base import Denoiser, build, from_settings, from_weights, weights_of
from phdenoise.networks.centre_blind import CentreBlind
from phdenoise.networks.context import FRAME, PIXEL, UDVD, BlindRegion, MovieArrays, parse_region
from phdenoise.networks.custom import CustomNetwork, from_module
from phdenoise.networks.masked_unet import MaskedUnet
from phdenoise.networks.predict import fill, predict_arrays, predict_blind, prepare
from phdenoise.networks.table import architecture_of, register
from phdenoise.networks.udvd import Udvd
from phdenoise.networks.unet import Unet

__all__ = [
    "FRAME",
    "PIXEL",
    "UDVD",
    "Architecture",
    "BlindRegion",
    "CentreBlind",
    "CustomNetwork",
    "Denoiser",
    "MaskedUnet",
    "MovieArrays",
    "Udvd",
    "Unet",
    "architecture_of",
    "build",
    "fill",
    "from_module",
    "from_settings",
    "from_weights",
    "parse_region",
    "predict_arrays",
    "predict_blind",
    "prepare",
    "register",
    "weights_of",
]

"""Denoisers: blind networks, their likelihood and posterior, and prediction of whole movies."""

from phdenoise.denoisers.centre_blind import CentreBlind
from phdenoise.denoisers.chunks import Block, Part, Read, blocks, fit_blocks, predict_blocks
from phdenoise.denoisers.context import MovieArrays
from phdenoise.denoisers.core import (
    Denoiser,
    at_least,
    blind_nll,
    build,
    from_settings,
    from_weights,
    posterior,
    weights_of,
)
from phdenoise.denoisers.design import Design, Network
from phdenoise.denoisers.predict import fill, predict_arrays, predict_blind, prepare
from phdenoise.denoisers.prior import SPREAD, from_prior, save_prior
from phdenoise.denoisers.region import FRAME, PIXEL, UDVD, BlindRegion, parse_region
from phdenoise.denoisers.udvd import Udvd
from phdenoise.denoisers.unet import MaskedUnet, Unet

__all__ = [
    "FRAME",
    "PIXEL",
    "SPREAD",
    "UDVD",
    "BlindRegion",
    "Block",
    "CentreBlind",
    "Denoiser",
    "Design",
    "MaskedUnet",
    "MovieArrays",
    "Network",
    "Part",
    "Read",
    "Udvd",
    "Unet",
    "at_least",
    "blind_nll",
    "blocks",
    "build",
    "fill",
    "fit_blocks",
    "from_prior",
    "from_settings",
    "from_weights",
    "parse_region",
    "posterior",
    "predict_arrays",
    "predict_blind",
    "predict_blocks",
    "prepare",
    "save_prior",
    "weights_of",
]

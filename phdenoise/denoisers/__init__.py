"""Denoisers: blind networks, their likelihood and posterior, and prediction of whole movies."""

from phdenoise.denoisers.centre_blind import CentreBlind
from phdenoise.denoisers.core import (
    Denoiser,
    Region,
    blind_nll,
    build,
    from_weights,
    posterior,
    weights_of,
)
from phdenoise.denoisers.predict import fill, predict_blind, prepare
from phdenoise.denoisers.udvd import Udvd

__all__ = [
    "CentreBlind",
    "Denoiser",
    "Region",
    "Udvd",
    "blind_nll",
    "build",
    "fill",
    "from_weights",
    "posterior",
    "predict_blind",
    "prepare",
    "weights_of",
]

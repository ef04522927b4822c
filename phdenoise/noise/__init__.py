"""Noise: models of detectors, their estimation from a movie, and pixels that are not noise but defects."""

from phdenoise.noise.defects import Defects, defects
from phdenoise.noise.duplicates import find_duplicate_frames
from phdenoise.noise.estimate import Blind, NoiseEstimate, estimate_noise
from phdenoise.noise.models import (
    NOISE_MODELS,
    Correlated,
    Gaussian,
    NoiseModel,
    Poisson,
    PoissonGaussian,
    register_noise,
)
from phdenoise.noise.photon_transfer import NoiseKind

__all__ = [
    "NOISE_MODELS",
    "Blind",
    "Correlated",
    "Defects",
    "Gaussian",
    "NoiseEstimate",
    "NoiseKind",
    "NoiseModel",
    "Poisson",
    "PoissonGaussian",
    "defects",
    "estimate_noise",
    "find_duplicate_frames",
    "register_noise",
]

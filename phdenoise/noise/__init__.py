"""Noise: models of detectors, and their estimation from a movie."""

from phdenoise.noise.estimate import Blind, NoiseEstimate, NoiseKind, estimate_noise
from phdenoise.noise.models import Gaussian, Poisson, PoissonGaussian

__all__ = [
    "Blind",
    "Gaussian",
    "NoiseEstimate",
    "NoiseKind",
    "Poisson",
    "PoissonGaussian",
    "estimate_noise",
]

"""Noise: models of detectors, their estimation from a movie, and pixels that are not noise but defects."""

from phdenoise.noise.correlated import Correlated
from phdenoise.noise.estimate import Blind, NoiseEstimate, estimate_noise
from phdenoise.noise.models import Gaussian, Poisson, PoissonGaussian
from phdenoise.noise.transfer import NoiseKind

__all__ = [
    "Blind",
    "Correlated",
    "Gaussian",
    "NoiseEstimate",
    "NoiseKind",
    "Poisson",
    "PoissonGaussian",
    "estimate_noise",
]

"""Noise: models of detectors, their estimation from a movie, and pixels that are not noise but defects."""

from phdenoise.noise.correlated import Correlated
from phdenoise.noise.defects import Defects, defects
from phdenoise.noise.estimate import Blind, NoiseEstimate, estimate_noise
from phdenoise.noise.models import Gaussian, Poisson, PoissonGaussian
from phdenoise.noise.repeats import repeated_frames
from phdenoise.noise.transfer import NoiseKind

__all__ = [
    "Blind",
    "Correlated",
    "Defects",
    "Gaussian",
    "NoiseEstimate",
    "NoiseKind",
    "Poisson",
    "PoissonGaussian",
    "defects",
    "estimate_noise",
    "repeated_frames",
]

"""Training: the loop, and `denoise`, the verb that uses it."""

from phdenoise.training.denoise import DenoiseConfig, denoise
from phdenoise.training.stream import denoise_parts

__all__ = ["DenoiseConfig", "denoise", "denoise_parts"]

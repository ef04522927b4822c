"""Training: the loop, and `denoise`, the verb that uses it."""

from phdenoise.training.channels import denoise_channels
from phdenoise.training.config import DenoiseConfig
from phdenoise.training.denoise import denoise
from phdenoise.training.stream import denoise_parts

__all__ = ["DenoiseConfig", "denoise", "denoise_channels", "denoise_parts"]

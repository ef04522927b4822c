"""`denoise`, the verb: a noisy movie in, its mean and variance out, without clean labels.

The room is not called `denoise`: importing a package of that name would hide the function `phdenoise.denoise`.
"""

from phdenoise.denoising.channels import denoise_channels
from phdenoise.denoising.config import DenoiseConfig
from phdenoise.denoising.denoise import denoise, denoise_parts

__all__ = ["DenoiseConfig", "denoise", "denoise_channels", "denoise_parts"]

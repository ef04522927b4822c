"""Numbers that say how good an estimate is, with and without truth: pure functions."""

from phdenoise.metrics.calibration import NoiseGain, coverage, curve_error, noise_gain
from phdenoise.metrics.fidelity import psnr, rmse, ssim
from phdenoise.metrics.interface import interface_width
from phdenoise.metrics.residuals import (
    Autocorrelation,
    Whiteness,
    residual_autocorrelation,
    residual_whiteness,
)
from phdenoise.metrics.resolution import RingCorrelation, StructureFactor, frc, structure_factor
from phdenoise.metrics.unsupervised import (
    UPSNR,
    UnsupervisedError,
    block_copies,
    umse,
    umse_blocks,
    umse_temporal,
    upsnr,
)

__all__ = [
    "UPSNR",
    "Autocorrelation",
    "NoiseGain",
    "RingCorrelation",
    "StructureFactor",
    "UnsupervisedError",
    "Whiteness",
    "block_copies",
    "coverage",
    "curve_error",
    "frc",
    "interface_width",
    "noise_gain",
    "psnr",
    "residual_autocorrelation",
    "residual_whiteness",
    "rmse",
    "ssim",
    "structure_factor",
    "umse",
    "umse_blocks",
    "umse_temporal",
    "upsnr",
]

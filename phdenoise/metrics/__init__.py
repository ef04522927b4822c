"""Numbers that say how good an estimate is, with and without truth: pure functions."""

from phdenoise.metrics.fidelity import psnr, rmse, ssim

__all__ = ["psnr", "rmse", "ssim"]

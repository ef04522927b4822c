"""PSNR, SSIM and rms error: known values, symmetries, and agreement with scikit-image."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from phdenoise.metrics.fidelity import psnr, rmse, ssim
from phdenoise.types import InputError


@pytest.fixture
def pair():
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:40, :52] / 9
    truth = 0.5 + 0.4 * np.sin(x + np.arange(3)[:, None, None]) * np.cos(y)
    return (truth + rng.normal(0, 0.1, truth.shape)).astype(np.float32), truth.astype(np.float32)


def test_known_values():
    truth = jnp.zeros((2, 16, 16))
    assert rmse(truth + 0.1, truth) == pytest.approx(0.1, rel=1e-5)
    assert psnr(truth + 0.1, truth) == pytest.approx(20.0, abs=1e-4)
    assert psnr(truth + 0.1, truth, data_range=10.0) == pytest.approx(40.0, abs=1e-4)
    assert psnr(truth, truth) == jnp.inf
    assert ssim(truth + 3.0, truth + 3.0) == pytest.approx(1.0, abs=1e-6)


def test_common_offset_and_scale_do_not_change_psnr(pair):
    a, b = pair
    assert psnr(a + 5, b + 5) == pytest.approx(float(psnr(a, b)), abs=1e-3)
    assert psnr(7 * a, 7 * b, data_range=7.0) == pytest.approx(float(psnr(a, b)), abs=1e-3)


def test_ssim_agrees_with_scikit_image(pair):
    skimage = pytest.importorskip("skimage.metrics")
    a, b = pair
    expected = np.mean(
        [
            skimage.structural_similarity(
                p.astype(float),
                q.astype(float),
                data_range=1.0,
                gaussian_weights=True,
                sigma=1.5,
                use_sample_covariance=False,
            )
            for p, q in zip(a, b, strict=True)
        ]
    )
    assert ssim(a, b) == pytest.approx(expected, abs=1e-4)
    big = 5000.0
    assert ssim(a + big, b + big) > ssim(a, b)  # luminance term tends to 1, contrast is kept
    assert jax.jit(ssim)(a, b) == pytest.approx(expected, abs=1e-4)


def test_masked_pixels_do_not_count(pair):
    a, b = pair
    valid = np.ones(b.shape, bool)
    valid[:, :7] = False
    spoiled = a.copy()
    spoiled[:, :7] = np.nan
    assert psnr(spoiled, b, valid=valid) == pytest.approx(float(psnr(a[:, 7:], b[:, 7:])), abs=1e-4)


def test_shapes_are_checked_before_subtracting(pair):
    a, b = pair
    with pytest.raises(InputError, match="shape"):
        rmse(a, b[0])
    with pytest.raises(InputError, match="shape"):
        psnr(a[:, :1], b)
    with pytest.raises(InputError, match="11 x 11"):
        ssim(a[:, :8], b[:, :8])

"""Classical methods for Gaussian noise on a whole volume: non-local means, BM4D, singular value shrinkage.

    risk = mean[(f(y) − y)² − v + 2 n (f(y + εn) − f(y))/ε]        n: a sample of the noise
    η(s) = √((s² − β − 1)² − 4β)/s  for s > 1 + √β, else 0         s: singular value over σ√pixels

The first measures the error of any black box from the noisy movie alone (Ramani, Blu and Unser, IEEE Trans. Image
Process. 17, 1540 (2008), doi:10.1109/TIP.2008.2001404), and chooses the strength of non-local means; the second
shrinks a time × pixels matrix optimally (Gavish and Donoho, doi:10.1109/TIT.2017.2653801). Counts are stabilised
first and brought back without bias (`phdenoise.noise.stabilise`).
"""

from collections.abc import Callable
from importlib import import_module
from types import ModuleType

import numpy as np
from scipy import ndimage

from phdenoise.types import InputError, NoiseModel

Found = tuple[np.ndarray, np.ndarray]
Filter = Callable[[np.ndarray], np.ndarray]
# Step of the probe [noise sd]; Ramani et al. find the estimate flat around it.
EPSILON = 0.05
# Widths of the Gaussian that averages the risk, in time [frames] and in space [px]: some 3000 pixels.
RISK_WIDTHS = (2.0, 8.0, 8.0)
# Strengths of non-local means tried, in units of sigma.
STRENGTHS = (0.4, 0.6, 0.8, 1.0)
# Passes that fill invalid pixels by the low-rank estimate; the values settle in fewer.
FILL_PASSES = 5


def nlm(data: np.ndarray, good: np.ndarray, noise: NoiseModel, rho: np.ndarray, seed: int) -> Found:
    """Non-local means with 3×3×3 patches; the strength of least measured risk.

    Buades, Coll and Morel, CVPR 2005, doi:10.1109/CVPR.2005.38.

    Args:
        data: movie without gaps [t, y, x].
        good: True where measured.
        noise: variance as a function of the clean intensity.
        rho: autocorrelation of the noise in space, 1 at its centre.
        seed: of the probe that measures the risk.

    Returns:
        Mean and expected squared error [t, y, x].
    """
    restoration = _require("skimage.restoration")

    def filters(sigma: float) -> list[Filter]:
        def _one(strength: float) -> Filter:
            def run(a: np.ndarray) -> np.ndarray:
                # scikit-image would drop an axis of length one by itself.
                image = a[0] if a.shape[0] == 1 else a
                return restoration.denoise_nl_means(
                    image,
                    patch_size=3,
                    patch_distance=4,
                    h=strength * sigma,
                    sigma=sigma,
                    fast_mode=True,
                ).reshape(a.shape)

            return run

        return [_one(strength) for strength in STRENGTHS]

    return _through(filters, data, good, noise, rho, seed)


def bm4d(
    data: np.ndarray, good: np.ndarray, noise: NoiseModel, rho: np.ndarray, seed: int
) -> Found:
    """BM4D with the noise level and, for correlated noise, its spectrum.

    Maggioni et al., IEEE Trans. Image Process. 22, 119 (2013), doi:10.1109/TIP.2012.2210725.

    Args:
        data, good, noise, rho, seed: see `nlm`.

    Returns:
        Mean and expected squared error [t, y, x].
    """
    package = _require("bm4d")
    if rho.size > 1 and not hasattr(np, "trapz"):
        raise InputError(
            f"bm4d cannot use a noise spectrum with NumPy {np.__version__}: install numpy<2.4, or "
            "pass correlation=None."
        )

    def filters(sigma: float) -> list[Filter]:
        level: float | np.ndarray = sigma
        if rho.size > 1:
            spectrum = _spectrum(rho, data.shape[1:]) * sigma**2 * data.size
            level = np.repeat(spectrum[:, :, None], data.shape[0], axis=2)
        # Its third axis is the one it treats apart: time.
        return [
            lambda a: np.moveaxis(
                package.bm4d(np.ascontiguousarray(np.moveaxis(a, 0, 2)), level), 2, 0
            )
        ]

    return _through(filters, data, good, noise, rho, seed)


def singular_values(
    data: np.ndarray, good: np.ndarray, noise: NoiseModel, rho: np.ndarray, seed: int
) -> Found:
    """Optimal shrinkage of the singular values of time × pixels; invalid pixels from the estimate itself.

    Args:
        data, good, noise, rho, seed: see `nlm`.

    Returns:
        Mean and expected squared error [t, y, x].
    """

    def filters(sigma: float) -> list[Filter]:
        def shrink(a: np.ndarray) -> np.ndarray:
            for _ in range(1 if good.all() else FILL_PASSES):
                a = np.where(good, a, _shrink(a, sigma, rho))
            return _shrink(a, sigma, rho)

        return [shrink]

    return _through(filters, data, good, noise, rho, seed)


def local_risk(risk: np.ndarray, good: np.ndarray) -> np.ndarray:
    """Squared error averaged over a neighbourhood, since the term of one pixel is mostly noise.

    Args:
        risk: term of each pixel [t, y, x].
        good: True where measured.

    Returns:
        Local mean [t, y, x].
    """
    width = RISK_WIDTHS
    total = ndimage.gaussian_filter(np.where(good, risk, 0.0), width, mode="nearest")
    weight = ndimage.gaussian_filter(good.astype(np.float64), width, mode="nearest")
    whole = float(risk[good].mean())
    return np.where(weight > 1e-3, total / np.maximum(weight, 1e-3), whole)


def _through(
    filters: Callable[[float], list[Filter]],
    data: np.ndarray,
    good: np.ndarray,
    noise: NoiseModel,
    rho: np.ndarray,
    seed: int,
) -> Found:
    """The filter of least risk, run where the noise is Gaussian of one sigma, and back."""
    change = noise.stabiliser(data, good)
    mean, var = _least_risk(
        filters(change.sigma), change.forward(data), good, change.variance, rho, seed
    )
    return change.inverse(mean, var)


def _least_risk(
    filters: list[Filter],
    data: np.ndarray,
    good: np.ndarray,
    variance: Filter,
    rho: np.ndarray,
    seed: int,
) -> Found:
    """Estimate of the filter of least risk and its local risk; `variance` of the noise given the estimate."""
    white = np.random.default_rng(seed).standard_normal(data.shape)
    shaped = np.fft.fft2(white) * np.sqrt(_spectrum(rho, data.shape[1:]))
    unit = np.fft.ifft2(shaped).real
    found = []
    for apply in filters:
        mean = np.asarray(apply(data), np.float64)
        v = variance(mean)
        probe = np.sqrt(v) * unit
        moved = np.asarray(apply(data + EPSILON * probe), np.float64)
        risk = (mean - data) ** 2 - v + 2 * probe * (moved - mean) / EPSILON
        found.append((float(risk[good].mean()), mean, risk, float(v[good].mean())))
    whole, mean, risk, level = min(found, key=lambda f: f[0])
    # Below a thousandth of the noise the measured risk is its own noise.
    whole = max(whole, 1e-3 * level)
    local = np.maximum(local_risk(risk, good), 0.25 * whole)
    return mean, local * (whole / float(local[good].mean()))


def _shrink(a: np.ndarray, sigma: float, rho: np.ndarray) -> np.ndarray:
    flat = a.reshape(a.shape[0], -1)
    turned = flat.shape[0] > flat.shape[1]
    flat = flat.T if turned else flat
    u, s, v = np.linalg.svd(flat, full_matrices=False)
    # Correlated noise has fewer independent pixels, which widens its cloud of singular values alike.
    beta = min(flat.shape[0] / flat.shape[1] * float(np.sum(rho**2)), 1.0)
    scaled = s / (sigma * np.sqrt(flat.shape[1]))
    inside = np.maximum((scaled**2 - beta - 1) ** 2 - 4 * beta, 0.0)
    kept = np.where(scaled > 1 + np.sqrt(beta), np.sqrt(inside) / np.maximum(scaled, 1e-30), 0.0)
    low = (u * (kept * sigma * np.sqrt(flat.shape[1]))) @ v
    return (low.T if turned else low).reshape(a.shape)


def _spectrum(rho: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Power of unit-variance noise over spatial frequency [y, x]; its mean is 1."""
    lags = np.zeros(shape)
    for i, j in np.ndindex(*rho.shape):
        lags[(i - rho.shape[0] // 2) % shape[0], (j - rho.shape[1] // 2) % shape[1]] += rho[i, j]
    power = np.maximum(np.fft.fft2(lags).real, 0.0)
    return power / power.mean()


def _require(module: str) -> ModuleType:
    try:
        return import_module(module)
    except ImportError as error:
        raise InputError(
            f"{module.partition('.')[0]} is not installed: pip install 'phdenoise[bench]'."
        ) from error

"""Structure that a denoiser invents: a movie of noise alone, with the noise of the measured one, is denoised in the same way.

    y = level + noise,     invented = denoised − level,     share = sd(invented)/sd(noise)

There is no scene, so all structure in the output is invented. The noise has the estimated family, level and
spatial correlation, drawn through its power spectrum (the transform of ρ_y ρ_x).
"""

from dataclasses import dataclass, fields, replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from scipy import ndimage

from phdenoise.denoising.config import DenoiseConfig
from phdenoise.denoising.denoise import denoise
from phdenoise.metrics.trust import LARGEST_WHITE_CORRELATION
from phdenoise.movie import Estimate, Movie
from phdenoise.noise.estimate import NoiseEstimate, estimate_noise
from phdenoise.noise.models.gaussian import correlate_in_time
from phdenoise.types import NoiseModel, Progress
from phdenoise.uncertainty.temporal_correlation import decide_temporal_correlation

# Invented structure above which the sentence warns [noise sd]: half of the deviation that the eye picks out in a flat image.
ALLOWED_SHARE = 0.05
# Pixels of a blob deviate from the level by more than this [noise sd].
_BLOB_DEVIATION = 0.1
# Rings of the spectrum, so that each of a frame of 32 px or more has tens of frequencies.
_RINGS = 16


@dataclass(frozen=True)
class Hallucination:
    """Structure that was invented.

    Attributes:
        share: sd of the output around its level over the noise's sd; the frames' common offset does not count.
        blob: pixels of the largest connected blob of a frame that deviates by more than 0.1 noise sd.
        peak: largest deviation [noise sd].
        frequency: ring centres of the spectrum [cycles/px].
        spectrum: power of the invented structure over that of the white noise of equal variance, by ring.
        invented: output minus level [t, y, x] [noise sd].
        log: of the denoising.
        sentence: the finding.
    """

    share: float
    blob: int
    peak: float
    frequency: np.ndarray
    spectrum: np.ndarray
    invented: np.ndarray
    log: tuple[str, ...]
    sentence: str

    def to_dict(self) -> dict[str, Any]:
        """Plain mapping for files, without the invented movie itself."""
        kept = [f.name for f in fields(self) if f.name != "invented"]
        return {name: getattr(self, name) for name in kept}


def hallucination(
    source: Movie | Estimate,
    config: DenoiseConfig | None = None,
    *,
    seed: int = 0,
    progress: Progress | None = None,
) -> Hallucination:
    """Denoise noise with the statistics of a movie's noise, and measure the invented structure.

    It costs a second training; `config.steps` bounds it.

    Args:
        source: the movie, or its estimate, whose noise model is then used.
        config: of the denoising to test.
        seed: of the noise.
        progress: called with (stage, step, steps, score on held-out pixels).

    Returns:
        The invented structure.

    Raises:
        InputError: the movie has no noise to estimate, or cannot be denoised.
    """
    movie = source.movie if isinstance(source, Estimate) else source
    valid = movie.valid()
    found = estimate_noise(movie.frames, valid)
    known = source.setting("temporal_correlation") if isinstance(source, Estimate) else None
    found = (
        decide_temporal_correlation(movie.frames, valid, valid, found)[0]
        if known is None
        else found.with_temporal_correlation(np.asarray(known, float))
    )
    model = source.noise if isinstance(source, Estimate) else movie.noise or found.model
    level = float(np.median(movie.frames[valid]))
    noise = pure_noise(model, found, level, movie.shape, seed)
    flat = replace(
        movie,
        frames=np.where(valid, noise, np.nan).astype(np.float32),
        noise=None,
        name=f"noise of {movie.name}",
    )
    estimate = denoise(flat, config, progress=progress)
    sd = float(np.sqrt(model.variance(jnp.full((1,), level, jnp.float32))[0]))
    return judge_invention(estimate.mean, valid, sd, estimate.log)


def pure_noise(
    model: NoiseModel, found: NoiseEstimate, level: float, shape: tuple[int, ...], seed: int
) -> np.ndarray:
    """A movie of noise alone around a level, with the estimated correlation in space and time.

    Args:
        model: noise model.
        found: has the correlations.
        level: clean intensity.
        shape: of the movie [t, y, x].
        seed: of the noise.

    Returns:
        Intensities [t, y, x].
    """
    with jax.enable_x64(False):
        flat = jnp.full(shape, level, jnp.float32)
        noise = np.asarray(model.sample(jax.random.key(seed), flat), np.float64) - level
    amplitude = np.ones(())
    for axis, name in ((-2, "y"), (-1, "x")):
        rho = np.nan_to_num(np.asarray(found.correlation[name], float))
        if rho[1] <= LARGEST_WHITE_CORRELATION:
            continue
        n = shape[axis]
        ring = np.zeros(n)
        for lag in range(min(rho.size, n // 2)):
            # Lags below the threshold are estimation noise.
            ring[lag] = ring[-lag] = rho[lag] if rho[lag] > LARGEST_WHITE_CORRELATION else 0.0
        power = np.maximum(np.fft.fft(ring).real, 0.0)
        power *= n / power.sum()
        amplitude = amplitude * np.sqrt(power if axis == -1 else power[:, None])
    if amplitude.ndim:
        noise = np.fft.ifft2(np.fft.fft2(noise) * amplitude).real
    if len(found.temporal_correlation):
        lasting = jnp.asarray(found.temporal_correlation[: (shape[0] - 1) // 2], jnp.float32)
        noise = np.asarray(correlate_in_time(jnp.asarray(noise, jnp.float32), lasting), np.float64)
    return level + noise


def judge_invention(
    mean: np.ndarray, valid: np.ndarray, sd: float, log: tuple[str, ...] = ()
) -> Hallucination:
    """Measure the structure in a denoised movie of noise.

    Args:
        mean: denoised movie [t, y, x] [intensity].
        valid: pixels that count.
        sd: of the noise [intensity].
        log: of the denoising.

    Returns:
        The invented structure.
    """
    values = mean.astype(np.float64)
    invented = np.where(valid, (values - values[valid].mean()) / sd, 0.0)
    share, peak = float(invented[valid].std()), float(np.abs(invented).max())
    # Blobs live in one frame: no connection over time.
    links = np.zeros((3, 3, 3), bool)
    links[1] = True
    labels, blobs = ndimage.label(np.abs(invented) > _BLOB_DEVIATION, links)
    blob = int(np.max(np.bincount(labels.ravel())[1:])) if blobs else 0
    frequency, spectrum = _spectrum(invented)
    sentence = (
        f"On noise alone this training invents structure of {100 * share:.1f} % of the noise's sd "
        f"(largest deviation {peak:.2f}, largest blob {blob} pixels, most of it at "
        f"{frequency[int(np.argmax(spectrum))]:.2f} cycles/px)."
    )
    if share > ALLOWED_SHARE:
        sentence += (
            " Do not interpret details fainter than that; more frames or --preset best help."
        )
    return Hallucination(
        share, blob, peak, frequency, spectrum, invented.astype(np.float32), log, sentence
    )


def _spectrum(invented: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Ring-averaged spatial power; white noise of unit variance gives 1 everywhere."""
    ny, nx = invented.shape[1:]
    power = np.mean(np.abs(np.fft.fft2(invented)) ** 2, axis=0) / (ny * nx)
    radius = np.hypot(*np.meshgrid(np.fft.fftfreq(ny), np.fft.fftfreq(nx), indexing="ij"))
    edges = np.linspace(0, 0.5, _RINGS + 1)
    index = np.clip(np.digitize(radius.ravel(), edges) - 1, 0, _RINGS)
    count = np.bincount(index, minlength=_RINGS + 1)[:_RINGS]
    total = np.bincount(index, power.ravel(), minlength=_RINGS + 1)[:_RINGS]
    kept = count > 0
    return ((edges[:-1] + edges[1:]) / 2)[kept], (total[kept] / count[kept])

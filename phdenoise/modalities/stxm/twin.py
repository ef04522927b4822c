"""A particle as a scanning X-ray microscope sees it: absorption at a few energies, counts, a flickering beam, drift.

    I_e(t) = Poisson( I₀ (1 + f_e(t)) exp(−OD_e(t)) ),   OD_e = B + d [ c a_Li,e + (1 − c) a_D,e ]

f is the flicker of the beam while a line is scanned: correlated along x by exp(−|Δx|/ℓ), independent between lines, energies
and frames. Its size is set such that the lithium fraction of a pixel has a given sd. Absorption of Fe(II) is largest near
708 eV and that of Fe(III) near 710 eV: Lim et al., Science 353, 566 (2016), doi:10.1126/science.aaf4914; the sd of 0.07 and the
law are those of Zhao et al., Nature 621, 289 (2023), doi:10.1038/s41586-023-06393-x.
"""

from dataclasses import dataclass, field
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float
from scipy.signal import lfilter

from phdenoise.modalities.registration import shift
from phdenoise.physics.twins.particles import ParticleTwin, ParticleTwinConfig, particle_twin
from phdenoise.types import InputError


@dataclass(frozen=True)
class StxmTwinConfig:
    """A particle of lithium iron phosphate and the microscope that looks at it.

    Attributes:
        particle: its law, shape and current; a cell is a pixel.
        energies: of the scans [eV]; the first is before the edge.
        lithiated, delithiated: OD of the end members at each energy, at thickness 1.
        background: OD of all else that absorbs, at the particle's place.
        roughness: sd of ln thickness over the particle.
        dose: counts of an open pixel.
        sigma: sd of the lithium fraction of one pixel, mean over particle and frames, by flicker and counting.
        line: ℓ, length over which the beam flickers along a line [px].
        drift: sd of the scene's displacement between scans [px].
        pre_edge: scans before the edge, taken once before the movie.
    """

    particle: ParticleTwinConfig = field(default_factory=ParticleTwinConfig)
    energies: tuple[float, ...] = (700.0, 708.2, 710.2)
    lithiated: tuple[float, ...] = (0.0, 1.05, 0.62)
    delithiated: tuple[float, ...] = (0.0, 0.48, 1.40)
    background: float = 0.15
    roughness: float = 0.1
    dose: float = 6000.0
    sigma: float = 0.07
    line: float = 3.0
    drift: float = 0.0
    pre_edge: int = 4


class StxmScene(NamedTuple):
    """What was simulated.

    Attributes:
        counts: at the energies above the edge [e, t, y, x].
        before: scans before the edge [n, y, x].
        thickness: d [y, x], zero outside the particle.
        flicker: sd of f.
        displacement: of each scan above the edge (dy, dx) [e, t, 2] [px].
        twin: times, true c, voltage, law and grid.
    """

    counts: Float[np.ndarray, "e t y x"]
    before: Float[np.ndarray, "n y x"]
    thickness: Float[np.ndarray, "y x"]
    flicker: float
    displacement: Float[np.ndarray, "e t 2"]
    twin: ParticleTwin


def simulate_stxm(seed: int, config: StxmTwinConfig | None = None) -> StxmScene:
    """Counts of a particle that fills at constant current.

    Args:
        seed: of law, drift and noise.
        config: particle and microscope.

    Returns:
        Counts and the truth.

    Raises:
        InputError: a dose that alone is noisier than `sigma`, or spectra that do not fit the energies.
    """
    config = StxmTwinConfig() if config is None else config
    spectra = [np.asarray(a, float) for a in (config.lithiated, config.delithiated)]
    if any(a.shape != (len(config.energies),) for a in spectra) or len(config.energies) < 3:
        raise InputError(
            "A simulated microscope needs an energy before the edge and two above, and the absorption of both end members there."
        )
    twin = particle_twin(jax.random.key(seed), config.particle)
    rng = np.random.default_rng(seed)
    mask = np.asarray(twin.grid.mask)
    thickness = _thickness(rng, mask, config.roughness)
    c = np.asarray(twin.frames, float)
    high, low = (a[1:, None, None, None] for a in spectra)
    od = (thickness * (c * high + (1 - c) * low)) + config.background * mask
    flicker = _flicker(config, c[:, mask], thickness[mask])
    steps = rng.normal(0, config.drift, (*od.shape[:2], 2)) if config.drift else np.zeros((*od.shape[:2], 2))  # fmt: skip
    if config.drift:
        od = np.stack([np.asarray(shift(jnp.asarray(o), jnp.asarray(s))) for o, s in zip(od, steps, strict=True)])  # fmt: skip
    counts = _scan(rng, od, flicker, config)
    still = np.broadcast_to(config.background * mask, (config.pre_edge, *mask.shape))
    return StxmScene(counts, _scan(rng, still, flicker, config), thickness, flicker, steps, twin)


def sd_of_fraction(
    c: np.ndarray, thickness: np.ndarray, config: StxmTwinConfig, flicker: float
) -> np.ndarray:
    """sd of c from two energies or more at unknown thickness, to first order.

    Args:
        c: lithium fraction, any shape.
        thickness: d, of the same shape [thickness of the end members].
        config: spectra, background and dose.
        flicker: sd of the beam relative to its level.

    Returns:
        sd of c, of the same shape.
    """
    high, low = (np.asarray(a, float)[1:] for a in (config.lithiated, config.delithiated))
    spectra = np.stack([high, low], axis=1)
    c = np.asarray(c, float)[..., None]
    d = np.asarray(thickness, float)[..., None]
    od = config.background + d * (c * high + (1 - c) * low)
    variance = flicker**2 + np.exp(od) / config.dose
    weight = 1 / variance
    normal = np.einsum("...e,ea,eb->...ab", weight, spectra, spectra)
    slope = np.concatenate(np.broadcast_arrays((1 - c) / d, -c / d), axis=-1)
    return np.sqrt(np.einsum("...a,...ab,...b->...", slope, np.linalg.inv(normal), slope))


def _thickness(rng: np.random.Generator, mask: np.ndarray, roughness: float) -> np.ndarray:
    """1 on average over the particle, varying smoothly."""
    ny, nx = mask.shape
    white = rng.normal(size=mask.shape)
    ky, kx = np.fft.fftfreq(ny)[:, None], np.fft.rfftfreq(nx)[None]
    wave = np.fft.irfft2(np.fft.rfft2(white) * np.exp(-2 * (np.pi * 6) ** 2 * (ky**2 + kx**2)), s=mask.shape)  # fmt: skip
    wave = (wave - wave[mask].mean()) / wave[mask].std()
    d = np.exp(roughness * wave)
    return np.where(mask, d / d[mask].mean(), 0.0)


def _flicker(config: StxmTwinConfig, c: np.ndarray, thickness: np.ndarray) -> float:
    """sd of the beam at which the fraction has the sd that was asked for; by bisection."""

    def found(flicker: float) -> float:
        return float(np.sqrt(np.mean(sd_of_fraction(c, thickness, config, flicker) ** 2)))

    low, high = 0.0, 1.0
    if found(0.0) > config.sigma:
        raise InputError(
            f"Counting alone makes an sd of {found(0.0):.3g} at a dose of {config.dose:g}: raise the dose, or sigma "
            f"({config.sigma:g})."
        )
    for _ in range(50):
        middle = 0.5 * (low + high)
        low, high = (middle, high) if found(middle) < config.sigma else (low, middle)
    return 0.5 * (low + high)


def _scan(
    rng: np.random.Generator, od: np.ndarray, flicker: float, config: StxmTwinConfig
) -> np.ndarray:
    """Counts, with a beam that is an autoregressive process along each line."""
    keep = float(np.exp(-1 / config.line)) if config.line > 0 else 0.0
    white = rng.normal(size=(*od.shape[:-1], od.shape[-1] + 64))
    beam = lfilter([np.sqrt(1 - keep**2)], [1, -keep], white, axis=-1)[..., 64:]
    expected = config.dose * np.maximum(1 + flicker * beam, 0) * np.exp(-od)
    return rng.poisson(expected).astype(float)

"""An electron wave through slices of potential, and the image that a lens makes of it.

    ψ ← F⁻¹[ P(k) F[ A∗exp((i − α) σ V_s) ψ ] ],     P(k) = A(k) exp(−iπ λ Δz k² + 2πi Δz (k_x tan θ_x + k_y tan θ_y))
    I(r) = ∫ p(δ) |F⁻¹[ M(k) exp(−iχ(k, Δf + δ)) F ψ ]|² dδ
    χ(k, Δf) = π/2 C_s λ³ k⁴ − π λ k² (Δf − A₂ cos 2(φ − φ₂))

A(k) cuts transmission and propagator at two thirds of the Nyquist frequency: without it, frequencies beyond fold back
(an error of 7 % of the wave). All of it is differentiable. Kirkland, Advanced Computing in Electron Microscopy (2010),
doi:10.1007/978-1-4419-6533-2. A positive defocus is an underfocus, as in abTEM.
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Complex, Float

from phdenoise.modalities.tem.potentials import frequencies, squared_frequency

# Planck's constant times c [eV angstrom] and rest energy of the electron [eV]; CODATA 2018.
_HC, _REST = 12398.41984, 510998.95
# Cut-off as a share of the Nyquist frequency, and width of its cosine edge as a share of the sampling frequency: abTEM's.
CUT_OFF, TAPER = 2 / 3, 0.01
# Edge of the objective aperture [1/angstrom]; a sharp one would ring over the whole image.
_APERTURE_EDGE = 0.01


class Lens(NamedTuple):
    """The objective lens; each field a number or an array of shape [].

    Attributes:
        defocus: underfocus is positive [angstrom].
        spherical: Cs [angstrom].
        astigmatism: twofold, its amplitude [angstrom].
        astigmatism_angle: of its axis [rad].
        focal_spread: standard deviation of the defocus [angstrom].
        aperture: radius of the objective aperture [1/angstrom].
        image_spread: standard deviation of the image's vibration [angstrom].
    """

    defocus: Float[Array, ""] | float = 0.0
    spherical: Float[Array, ""] | float = 0.0
    astigmatism: Float[Array, ""] | float = 0.0
    astigmatism_angle: Float[Array, ""] | float = 0.0
    focal_spread: Float[Array, ""] | float = 0.0
    aperture: Float[Array, ""] | float = 1e9
    image_spread: Float[Array, ""] | float = 0.0


def wavelength(energy: float) -> float:
    """De Broglie wavelength of an electron, relativistic.

    Args:
        energy: of the beam [eV].

    Returns:
        Wavelength [angstrom].
    """
    return float(_HC / np.sqrt(energy * (2 * _REST + energy)))


def interaction(energy: float) -> float:
    """Phase that a projected potential adds to the wave, σ = 2π m e λ/h².

    Args:
        energy: of the beam [eV].

    Returns:
        Phase over potential [rad/(V angstrom)].
    """
    return float(2 * np.pi * (_REST + energy) / (_HC * np.sqrt(energy * (2 * _REST + energy))))


def band_limit(shape: tuple[int, int], sampling: Float[Array, ""] | float) -> Float[Array, "y x"]:
    """The factor A(k) of all frequencies.

    Args:
        shape: rows and columns.
        sampling: distance of pixels [angstrom].

    Returns:
        1 below the cut-off, 0 above.
    """
    k = jnp.sqrt(squared_frequency(shape, sampling))
    cut, edge = CUT_OFF / (2 * sampling), TAPER / sampling
    inside = jnp.clip((k - cut + edge) / edge, 0, 1)
    return 0.5 * (1 + jnp.cos(jnp.pi * inside))


@partial(jax.jit, static_argnames=("energy",))
def exit_wave(
    potential: Float[Array, "s y x"],
    *,
    sampling: Float[Array, ""] | float,
    thickness: Float[Array, ""] | float,
    energy: float,
    tilt: tuple[float | Array, float | Array] = (0.0, 0.0),
    absorption: Float[Array, ""] | float = 0.0,
) -> Complex[Array, "y x"]:
    """Wave behind a stack of slices under a plane wave of amplitude one.

    Args:
        potential: projected potential of each slice [V angstrom], the box is periodic.
        sampling: distance of pixels [angstrom].
        thickness: of a slice [angstrom].
        energy: of the beam [eV].
        tilt: of the beam along y and x [rad]; small tilts of the sample are the same with the other sign.
        absorption: imaginary part of the potential as a share of its real part: electrons that the aperture stops.

    Returns:
        The wave; its mean square is at most one.
    """
    shape = (potential.shape[1], potential.shape[2])
    limit = band_limit(shape, sampling)
    strength = interaction(energy) * (1j - absorption)
    ky, kx = frequencies(shape, sampling)
    slope = ky[:, None] * jnp.tan(tilt[0]) + kx[None] * jnp.tan(tilt[1])
    k2 = squared_frequency(shape, sampling)
    phase = jnp.pi * thickness * (2 * slope - wavelength(energy) * k2)
    propagator = limit * jnp.exp(1j * phase)

    def _through(wave: Array, here: Array) -> tuple[Array, None]:
        transmission = jnp.fft.ifft2(limit * jnp.fft.fft2(jnp.exp(strength * here)))
        return jnp.fft.ifft2(propagator * jnp.fft.fft2(transmission * wave)), None

    start = jnp.ones(shape, jnp.result_type(potential.dtype, jnp.complex64))
    return jax.lax.scan(_through, start, potential)[0]


def aberration(
    lens: Lens, shape: tuple[int, int], *, sampling: Float[Array, ""] | float, energy: float
) -> Float[Array, "y x"]:
    """Phase χ of the lens.

    Args:
        lens: its settings; the focal spread is not used.
        shape: rows and columns.
        sampling: distance of pixels [angstrom].
        energy: of the beam [eV].

    Returns:
        Phase of every frequency [rad].
    """
    ky, kx = frequencies(shape, sampling)
    k2, wave = squared_frequency(shape, sampling), wavelength(energy)
    angle = jnp.arctan2(ky[:, None], kx[None])
    focus = lens.defocus - lens.astigmatism * jnp.cos(2 * (angle - lens.astigmatism_angle))
    return jnp.pi / 2 * lens.spherical * wave**3 * k2**2 - jnp.pi * wave * k2 * focus


@partial(jax.jit, static_argnames=("energy", "foci"))
def image(
    wave: Complex[Array, "y x"],
    lens: Lens,
    *,
    sampling: Float[Array, ""] | float,
    energy: float,
    foci: int = 5,
) -> Float[Array, "y x"]:
    """Intensity in the image plane; vacuum is one.

    Args:
        wave: behind the sample.
        lens: the objective lens.
        sampling: distance of pixels [angstrom].
        energy: of the beam [eV].
        foci: points of the Gauss-Hermite quadrature over the focal spread; 1 leaves the spread out.

    Returns:
        Electrons per incident electron.
    """
    shape = (wave.shape[0], wave.shape[1])
    k2 = squared_frequency(shape, sampling)
    inside = jax.nn.sigmoid((lens.aperture - jnp.sqrt(k2)) / (_APERTURE_EDGE / 4))
    spectrum = jnp.fft.fft2(wave) * inside
    nodes, weights = np.polynomial.hermite_e.hermegauss(foci)

    def _add(total: Array, point: tuple[Array, Array]) -> tuple[Array, None]:
        shifted = lens._replace(defocus=lens.defocus + point[0] * lens.focal_spread)
        chi = aberration(shifted, shape, sampling=sampling, energy=energy)
        return total + point[1] * jnp.abs(jnp.fft.ifft2(spectrum * jnp.exp(-1j * chi))) ** 2, None

    points = (
        jnp.asarray(nodes, jnp.float32),
        jnp.asarray(weights / weights.sum(), jnp.float32),
    )
    total = jax.lax.scan(_add, jnp.zeros(shape, jnp.float32), points)[0]
    blur = jnp.exp(-2 * jnp.pi**2 * lens.image_spread**2 * k2)
    return jnp.fft.ifft2(blur * jnp.fft.fft2(total)).real

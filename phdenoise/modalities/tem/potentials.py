"""Electron scattering of single atoms, and the projected potential of slices of atoms.

    f_e(g) = Σ_i a_i (2 + b_i g²)/(1 + b_i g²)²,       V(x, y) = h²/(2π m e) ∫ f_e(g) exp(2πi g·r) d²g

f_e is the parametrisation of Lobato and Van Dyck, Acta Cryst. A 70, 636 (2014), doi:10.1107/S205327331401643X, fitted to
neutral atoms. The potential of a slice is the sum over its atoms, each at its exact place: the phase factors
exp(−2πi k x) of rows and columns are multiplied as matrices, so the slices are differentiable in the positions.
Vibration is the factor exp(−2π² u² g²), with u the rms displacement along one axis (Debye-Waller).
"""

from collections.abc import Mapping, Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from phdenoise.types import InputError

# h²/(2π m e), which turns a scattering amplitude [angstrom] into a projected potential [V angstrom²]; CODATA 2018.
VOLT_SQUARE_ANGSTROM = 47.87801
# a [angstrom] and b [angstrom²] of the source above, five terms an element.
LOBATO: Mapping[str, tuple[tuple[float, ...], tuple[float, ...]]] = {
    "C": (
        (124.4661, -220.3529, 195.2354, -98.10794, 0.0142023),
        (2.421208, 2.305379, 2.048519, 1.933526, 0.07689768),
    ),
    "N": (
        (58.13272, -147.5424, 130.1431, -39.61957, 0.01059578),
        (1.700449, 1.559039, 1.415768, 1.278418, 0.05655878),
    ),
    "O": (
        (29.9474, -77.61013, 99.88178, -51.2127, 0.00819619),
        (1.30284, 1.157941, 1.009885, 0.943328, 0.04331976),
    ),
    "Mg": (
        (4.85501, -2.662209, 0.4780012, -0.07023071, 0.003989058),
        (5.946393, 4.171303, 0.3982698, 0.1618862, 0.01953451),
    ),
    "Al": (
        (2.834096, -4.280041, 4.421917, -0.03457745, 0.003523859),
        (6.66235, 0.5512947, 0.509329, 0.1117848, 0.01676024),
    ),
    "Si": (
        (2.871891, -2.061735, 2.17114, -0.06630736, 0.003010707),
        (5.084871, 0.4291782, 0.3664854, 0.1197106, 0.01439945),
    ),
    "Ti": (
        (8.575958, -210.3316, 206.0972, 0.04777739, 0.0005057165),
        (6.007807, 2.602859, 2.553523, 0.07114295, 0.004856284),
    ),
    "Fe": (
        (3.798101, -91.68935, 91.44543, 0.02727543, 0.0003033799),
        (5.317126, 1.497131, 1.468092, 0.04272479, 0.003327919),
    ),
    "Co": (
        (3.330379, -77.00176, 77.07252, 0.02399047, 0.0002682567),
        (5.18136, 1.329151, 1.302849, 0.03806455, 0.0030501),
    ),
    "Ni": (
        (2.969081, -75.74771, 76.03983, 0.02101621, 0.0002311518),
        (5.041809, 1.182755, 1.162165, 0.03374791, 0.002786809),
    ),
    "Cu": (
        (1.752071, -43.04105, 44.07059, 0.01868762, 0.0002017273),
        (6.187505, 1.002663, 0.9853843, 0.03029847, 0.002558556),
    ),
    "Zr": (
        (4.311755, 1.493316, 0.2812361, 0.003093377, 2.580244e-07),
        (9.458966, 1.330636, 0.1565069, 0.006824105, 0.0002498189),
    ),
    "Pd": (
        (0.6421598, 2.979148, 0.1681544, 0.001337442, 1.91411e-07),
        (5.974798, 1.433594, 0.09098684, 0.003624101, 0.0001806889),
    ),
    "Ag": (
        (1.553172, 2.639304, 0.1420155, 0.001008505, 1.946384e-07),
        (8.156202, 1.216009, 0.07900989, 0.002965479, 0.0001745931),
    ),
    "Ce": (
        (5.795269, 2.370227, 0.4713988, 0.05743683, 0.0002189795),
        (14.28011, 1.35969, 0.3020173, 0.03664368, 0.0007954345),
    ),
    "Pt": (
        (2.040216, 2.899226, 0.6363441, 0.01320719, 5.673822e-05),
        (6.658194, 1.413379, 0.1740001, 0.01006878, 0.0004030771),
    ),
    "Au": (
        (1.675935, 3.004866, 0.59534, 0.01171632, 4.296783e-05),
        (5.522311, 1.380072, 0.1622292, 0.009018149, 0.0003792777),
    ),
}
# Atoms of a slice are padded to multiples of this, so that structures of similar size share a compiled program.
_PADDING = 128


def scattering_factor(element: str, g2: Float[Array, "*s"]) -> Float[Array, "*s"]:
    """Electron scattering factor of a neutral atom.

    Args:
        element: its symbol.
        g2: squared spatial frequency [1/angstrom²].

    Returns:
        Scattering amplitude [angstrom].

    Raises:
        InputError: an element without parameters.
    """
    if element not in LOBATO:
        raise InputError(
            f"No scattering factor for '{element}': known are {', '.join(LOBATO)}; add a row to LOBATO."
        )
    a, b = LOBATO[element]
    return sum(
        (ai * (2 + bi * g2) / (1 + bi * g2) ** 2 for ai, bi in zip(a, b, strict=True)),
        jnp.zeros_like(g2),
    )


def frequencies(
    shape: tuple[int, int], sampling: Float[Array, ""] | float
) -> tuple[Float[Array, " y"], Float[Array, " x"]]:
    """Spatial frequencies of the rows and columns of a Fourier transform.

    Args:
        shape: rows and columns.
        sampling: distance of pixels [angstrom].

    Returns:
        Frequencies along y and along x, in the order of `fft` [1/angstrom].
    """
    ky, kx = (jnp.asarray(np.fft.fftfreq(n), jnp.float32) / sampling for n in shape)
    return ky, kx


def squared_frequency(
    shape: tuple[int, int], sampling: Float[Array, ""] | float
) -> Float[Array, "y x"]:
    """|k|² of every pixel of a Fourier transform [1/angstrom²].

    Args:
        shape: rows and columns.
        sampling: distance of pixels [angstrom].

    Returns:
        The squares.
    """
    ky, kx = frequencies(shape, sampling)
    return ky[:, None] ** 2 + kx[None] ** 2


def sliced(
    symbols: Sequence[str],
    positions: Float[np.ndarray, "a 3"],
    *,
    thickness: float,
    slices: int | None = None,
) -> dict[str, Float[np.ndarray, "s n 3"]]:
    """Atoms sorted into slices along the beam, padded to the same number in each.

    Args:
        symbols: element of each atom.
        positions: z, y, x of each, z along the beam from 0 [angstrom].
        thickness: of a slice [angstrom].
        slices: how many; by default as many as hold all atoms. Atoms outside are left out.

    Returns:
        For each element, y, x and weight (1, or 0 for padding) of the atoms of each slice.
    """
    where = np.floor(np.asarray(positions)[:, 0] / thickness).astype(int)
    count = int(where.max(initial=0)) + 1 if slices is None else slices
    names = np.asarray(symbols)
    out = {}
    for element in dict.fromkeys(symbols):
        groups = [
            np.asarray(positions)[(names == element) & (where == s), 1:] for s in range(count)
        ]
        most = max(max(map(len, groups)), 1)
        padded = np.zeros((count, -(-most // _PADDING) * _PADDING, 3), np.float32)
        for row, group in zip(padded, groups, strict=True):
            row[: len(group), :2] = group
            row[: len(group), 2] = 1
        out[element] = padded
    return out


def projected_potential(
    atoms: Mapping[str, Float[Array | np.ndarray, "s n 3"]],
    vibration: Mapping[str, Float[Array, ""] | float],
    *,
    shape: tuple[int, int],
    sampling: Float[Array, ""] | float,
) -> Float[Array, "s y x"]:
    """Projected potential of slices of atoms in a periodic box.

    Args:
        atoms: y, x [angstrom] and weight of the atoms of each slice, by element; see `sliced`.
        vibration: rms displacement of each element along one axis [angstrom].
        shape: rows and columns.
        sampling: distance of pixels [angstrom].

    Returns:
        The potential of each slice [V angstrom].
    """
    # One compiled program serves every element.
    parts = [
        _potential(jnp.asarray(a), _factor(element, vibration[element], shape, sampling), sampling)
        for element, a in atoms.items()
    ]
    return sum(parts[1:], parts[0])


def _factor(
    element: str,
    vibration: Float[Array, ""] | float,
    shape: tuple[int, int],
    sampling: Float[Array, ""] | float,
) -> Float[Array, "y x"]:
    """Potential of one atom at the origin, as a Fourier transform on the grid [V angstrom]."""
    g2 = squared_frequency(shape, sampling)
    still = VOLT_SQUARE_ANGSTROM / sampling**2 * scattering_factor(element, g2)
    return still * jnp.exp(-2 * jnp.pi**2 * jnp.asarray(vibration) ** 2 * g2)


@jax.jit
def _potential(
    atoms: Float[Array, "s n 3"], factor: Float[Array, "y x"], sampling: Float[Array, ""] | float
) -> Float[Array, "s y x"]:
    shape = (factor.shape[0], factor.shape[1])
    half = shape[1] // 2 + 1
    ky, kx = frequencies(shape, sampling)
    # The potential is real: the other half of the columns follows from this one.
    kx = jnp.abs(kx[:half])

    def _slice(a: Array) -> Array:
        rows = jnp.exp(-2j * jnp.pi * jnp.outer(ky, a[:, 0])) * a[:, 2][None]
        columns = jnp.exp(-2j * jnp.pi * jnp.outer(a[:, 1], kx))
        return jnp.fft.irfft2(factor[:, :half] * (rows @ columns), s=shape)

    return jax.lax.map(_slice, atoms)

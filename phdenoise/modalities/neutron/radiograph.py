"""From counts of a neutron or X-ray camera to transmission, with every correction's own error in the variance.

    T = D⁻¹ (I − DF − S_I) / (OB − DF − S_OB)
    var T = T² [ (g I + r²)/(I − DF − S_I)² + var OB/(OB − DF − S_OB)² + var D/D² ] + ...

I counts of a frame, DF dark field, OB open beam, S what is scattered onto the detector (found behind black
bodies, through which nothing is transmitted), D dose of the frame relative to the open beam, g counts of the
camera per neutron (1 where neutrons are counted), r read noise. Black bodies: Boillat et al., Opt. Express
26, 15769 (2018), doi:10.1364/OE.26.015769. Fixed rings: Vo et al., Opt. Express 26, 28396 (2018),
doi:10.1364/OE.26.028396.
"""

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from phdenoise.modalities.neutron.corrections import Average, average
from phdenoise.types import InputError

Frames = Float[np.ndarray, "t y x"]
Image = Float[np.ndarray, "y x"]


class Calibration(eqx.Module):
    """What a frame is compared with; all images [y, x] in counts.

    Attributes:
        open_beam, open_beam_variance: of its mean.
        dark, dark_variance: of its mean.
        scatter: S_I, under the sample at dose 1.
        scatter_open: S_OB, under the open beam.
        scatter_variance: of both together [counts²].
        gain: g, counts per neutron.
        read_variance: r² [counts²].
    """

    open_beam: Float[Array, "y x"]
    dark: Float[Array, "y x"]
    open_beam_variance: Float[Array, "y x"]
    dark_variance: Float[Array, "y x"]
    scatter: Float[Array, "y x"]
    scatter_open: Float[Array, "y x"]
    scatter_variance: Array = eqx.field(default_factory=lambda: jnp.zeros(()))
    gain: Array = eqx.field(default_factory=lambda: jnp.ones(()))
    read_variance: Array = eqx.field(default_factory=lambda: jnp.zeros(()))

    @property
    def beam(self) -> Float[Array, "y x"]:
        """OB − DF − S_OB."""
        return self.open_beam - self.dark - self.scatter_open

    def transmission(
        self,
        counts: Float[Array | np.ndarray, "t y x"],
        dose: Float[Array | np.ndarray, " t"],
        *,
        dose_variance: Float[Array | np.ndarray, " t"] | None = None,
        variance: Float[Array | np.ndarray, "t y x"] | None = None,
    ) -> tuple[Float[Array, "t y x"], Float[Array, "t y x"]]:
        """T and its variance.

        Args:
            counts: measured or denoised frames.
            dose: D of each frame.
            dose_variance: of D.
            variance: of the counts; by default that of counting, g I + r².

        Returns:
            T and its variance, both [t, y, x].
        """
        counts, d = jnp.asarray(counts), _each(dose)
        spread = (
            self.gain * jnp.maximum(counts, self.gain) + self.read_variance
            if variance is None
            else jnp.asarray(variance)
        )
        signal = counts - self.dark[None] - d * self.scatter[None]
        beam = self.beam[None]
        t = signal / (d * beam)
        # The dark field is taken from both: ∂T/∂DF = (T D − 1)/(D (OB − DF − S)).
        var = (spread + d**2 * self.scatter_variance) / (d * beam) ** 2
        var += t**2 * self.open_beam_variance[None] / beam**2
        var += ((t * d - 1) / (d * beam)) ** 2 * self.dark_variance[None]
        if dose_variance is not None:
            var += ((signal + d * self.scatter[None]) / (d**2 * beam)) ** 2 * _each(dose_variance)
        return t, var


def calibration(
    open_beam: Frames,
    dark: Float[np.ndarray, "n y1 x1"] | None = None,
    *,
    gain: float = 1.0,
    read_variance: float = 0.0,
    scatter: Image | None = None,
    scatter_open: Image | None = None,
    scatter_variance: float = 0.0,
) -> Calibration:
    """Averages of repeated exposures, without their spots, ready to correct frames.

    Args:
        open_beam: exposures without the sample [n, y, x].
        dark: exposures without beam [n, y, x]; None means that the detector counts nothing in the dark.
        gain: camera counts per neutron.
        read_variance: of one exposure [counts²].
        scatter, scatter_open: S_I and S_OB; see `scatter_behind`.
        scatter_variance: of them [counts²].

    Returns:
        What a frame is compared with.

    Raises:
        InputError: shapes that differ, or an open beam that is not above the dark field anywhere.
    """
    zeros = np.zeros(open_beam.shape[1:])
    beam = average(open_beam, gain=gain, read_variance=read_variance)
    black = Average(zeros, zeros)
    if dark is not None:
        if dark.shape[1:] != open_beam.shape[1:]:
            raise InputError(
                f"The dark field has frames of {dark.shape[1:]} px and the open beam of {open_beam.shape[1:]}: "
                "they must be of one detector."
            )
        black = average(dark, gain=gain, read_variance=read_variance)
    found = Calibration(
        *(jnp.asarray(a, jnp.result_type(float)) for a in (
            beam.mean, black.mean, beam.variance, black.variance,
            zeros if scatter is None else scatter,
            zeros if scatter_open is None else scatter_open,
            scatter_variance, gain, read_variance,
        ))
    )  # fmt: skip
    if not np.any(np.asarray(found.beam) > 0):
        raise InputError(
            "The open beam is nowhere above the dark field and the scatter: are the two exchanged?"
        )
    return found


def dose_of(
    counts: Frames,
    cal: Calibration,
    region: Bool[np.ndarray, "y x"],
    valid: Bool[np.ndarray, "t y x"] | None = None,
) -> tuple[Float[np.ndarray, " t"], Float[np.ndarray, " t"]]:
    """Dose of each frame relative to the open beam, from a region that the sample leaves free, and its variance.

        D = Σ (I − DF) / Σ (OB − DF)      over the region: where nothing stands, scatter included

    Args:
        counts: raw frames.
        cal: corrections.
        region: True where the beam passes freely.
        valid: False where a value is a spot or missing.

    Returns:
        D and its variance [t].

    Raises:
        InputError: an empty region, or one without beam.
    """
    dark, beam = np.asarray(cal.dark, float), np.asarray(cal.open_beam, float)
    use = np.broadcast_to(region, counts.shape) if valid is None else region & valid
    if not use.any(axis=(1, 2)).all():
        raise InputError("The dose region holds no valid pixel in some frame: choose another one.")
    top = np.where(use, counts - dark, 0).sum((1, 2))
    bottom = np.where(use, beam - dark, 0).sum((1, 2))
    if not (top > 0).all() or not (bottom > 0).all():
        raise InputError("The dose region has no beam above the dark field: choose another one.")
    spread = float(cal.gain) * np.where(use, counts, 0).sum((1, 2))
    spread = spread + float(cal.read_variance) * use.sum((1, 2))
    d = top / bottom
    extra = np.where(use, np.asarray(cal.open_beam_variance), 0).sum((1, 2))
    return d, spread / bottom**2 + d**2 * extra / bottom**2


def _each(values: Float[Array | np.ndarray, " t"]) -> Float[Array, "t 1 1"]:
    return jnp.reshape(jnp.asarray(values, jnp.result_type(float)), (-1, 1, 1))

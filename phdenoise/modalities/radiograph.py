"""From counts of a neutron or X-ray camera to transmission, with every correction's own error in the variance.

    T = D⁻¹ (I − DF − S_I) / (OB − DF − S_OB)
    var T = T² [ (g I + r²)/(I − DF − S_I)² + var OB/(OB − DF − S_OB)² + var D/D² ] + ...

I counts of a frame, DF dark field, OB open beam, S what is scattered onto the detector (found behind black
bodies, through which nothing is transmitted), D dose of the frame relative to the open beam, g counts of the
camera per neutron (1 where neutrons are counted), r read noise. Black bodies: Boillat et al., Opt. Express
26, 15769 (2018), doi:10.1364/OE.26.015769. Fixed rings: Vo et al., Opt. Express 26, 28396 (2018),
doi:10.1364/OE.26.028396.
"""

from typing import NamedTuple

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float
from scipy import ndimage

from phdenoise.types import InputError

Frames = Float[np.ndarray, "t y x"]
Image = Float[np.ndarray, "y x"]


class Average(NamedTuple):
    """Mean of repeated exposures and its variance [y, x] [counts, counts²]."""

    mean: Image
    variance: Image


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
    dark: Frames | None = None,
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


def average(frames: Frames, *, gain: float = 1.0, read_variance: float = 0.0) -> Average:
    """Mean of exposures scaled to one dose, spots left out, with the variance of that mean.

    A spot is a value more than 6 sd (and the pixel's own typical scatter) above the median of the exposures; of one
    exposure alone, above the median of its surroundings.
    """
    frames = np.asarray(frames, float)
    level = np.median(frames, axis=(1, 2))
    scale = level / level.mean() if level.min() > 0 else np.ones(len(frames))
    even = frames / scale[:, None, None]
    good = ~spots(even, gain=gain, read_variance=read_variance)
    count = good.sum(axis=0)
    middle = ndimage.median_filter(np.median(even, axis=0), 5, mode="mirror")
    mean = np.where(count > 0, np.where(good, even, 0).sum(0) / np.maximum(count, 1), middle)
    variance = (gain * np.maximum(mean, gain) + read_variance) / np.maximum(count, 1)
    return Average(mean, variance)


def spots(
    frames: Frames, *, gain: float = 1.0, read_variance: float = 0.0, limit: float = 6.0
) -> Bool[np.ndarray, "t y x"]:
    """True where a gamma ray or a proton hit the camera: bright patches and tracks of any shape, in one frame.

    A hit exceeds both the median of its 9×9 surroundings and, given three frames or more, the median of its pixel
    over time by `limit` sd; its flanks belong to it down to half of that. Read for heavily hit scintillator cameras;
    single hits of a counting detector are found by `phdenoise.noise.defects`.

    Args:
        frames: counts at one dose.
        gain, read_variance: of the camera.
        limit: threshold [sd].
    """
    frames = np.asarray(frames, float)
    still = np.median(frames, axis=0) if len(frames) >= 3 else None
    out = np.zeros(frames.shape, bool)
    for t, frame in enumerate(frames):
        local = ndimage.median_filter(frame, 9, mode="mirror")
        level = local if still is None else np.maximum(local, still)
        rise = frame - level
        counting = gain * np.maximum(level, gain) + read_variance
        # What the camera adds to counting (blooming, uneven gain) shows in the half below the median.
        extra = np.median(rise[rise < 0] ** 2 / counting[rise < 0]) / 0.455 if (rise < 0).any() else 1
        sd = np.sqrt(counting * max(extra, 1.0))
        core = rise > limit * sd + gain * (limit**2 - 1) / 6
        out[t] = ndimage.binary_propagation(
            core, mask=rise > 0.5 * limit * sd, structure=np.ones((3, 3), bool)
        )
    return out


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


def scatter_behind(
    frame: Image,
    dark: Image,
    bodies: Bool[np.ndarray, "y x"],
    *,
    degree: int = 2,
    leak: float = 0.0,
    open_beam: Image | None = None,
) -> tuple[Image, float]:
    """Scattered counts over the whole frame, from what arrives behind black bodies: a polynomial surface.

    Args:
        frame: mean exposure with the black bodies in place [counts].
        dark: dark field [counts].
        bodies: True well inside the shadow of a black body.
        degree: of the polynomial in y and x.
        leak: transmission of the black bodies (thickness is finite); needs `open_beam`.
        open_beam: counts without anything.

    Returns:
        S [counts] and the variance of S, averaged over the frame.

    Raises:
        InputError: too few bodies for the degree, or a leak without an open beam.
    """
    powers = [(i, j) for i in range(degree + 1) for j in range(degree + 1 - i)]
    separate = ndimage.label(bodies)[1]
    if separate < len(powers):
        raise InputError(
            f"{separate} black bodies cannot carry a surface of degree {degree} ({len(powers)} numbers): lower the "
            "degree or place more."
        )
    if leak and open_beam is None:
        raise InputError("The leak of black bodies is a share of the open beam: give the open beam.")
    behind = np.asarray(frame, float) - dark
    if leak and open_beam is not None:
        behind = behind - leak * (np.asarray(open_beam, float) - dark)
    y, x = (2 * g / max(n - 1, 1) - 1 for g, n in zip(np.mgrid[: frame.shape[0], : frame.shape[1]], frame.shape, strict=True))  # fmt: skip
    basis = np.stack([y**i * x**j for i, j in powers], axis=-1)
    rows, seen = basis[bodies], behind[bodies]
    weights, *_ = np.linalg.lstsq(rows, seen, rcond=None)
    left = seen - rows @ weights
    spread = float(left @ left) / max(seen.size - len(powers), 1)
    covariance = spread * np.linalg.inv(rows.T @ rows)
    return basis @ weights, float(np.einsum("yxi,ij,yxj->yx", basis, covariance, basis).mean())


def ring_gain(
    transmission: Frames, variance: Frames, *, limit: float = 5.0
) -> Float[np.ndarray, "y x"]:
    """Response left over in single pixels after the open beam: what stands on the detector and not in the sample.

    A pixel whose mean over time differs from the median of its 5×5 surroundings by more than `limit` sd of that mean
    and of the surroundings' own texture is divided by its ratio to them. All others keep a gain of 1, so that no
    structure wider than a pixel is flattened.

    Args:
        transmission, variance: of all frames; NaN where not valid.
        limit: threshold [sd].

    Returns:
        Gains; divide the transmission by them.
    """
    ok = np.isfinite(transmission)
    count = np.maximum(ok.sum(0), 1)
    mean = np.where(ok, transmission, 0).sum(0) / count
    own = np.where(ok, variance, 0).sum(0) / count**2
    local = ndimage.median_filter(mean, 5, mode="mirror")
    rise = mean - local
    texture = 1.48 * ndimage.median_filter(np.abs(rise), 11, mode="mirror")
    alone = np.abs(rise) > limit * np.sqrt(np.maximum(own, texture**2))
    # Neighbours that stand out together are a wire or an edge.
    crowded = ndimage.uniform_filter(alone.astype(float), 3, mode="constant") > 1.5 / 9
    gain = np.where(alone & ~crowded & (local > 0), mean / np.where(local > 0, local, 1), 1.0)
    return np.where(gain > 0.05, gain, 1.0)


def _each(values: Float[Array | np.ndarray, " t"]) -> Float[Array, "t 1 1"]:
    return jnp.reshape(jnp.asarray(values, jnp.result_type(float)), (-1, 1, 1))

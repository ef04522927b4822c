"""The light of a colour movie: its drift and that of the white balance, followed in a box that keeps its colour.

g_c(t) = ⟨I_c(t) − dark⟩ / mean over t of the same      over the reference box, of channel c
"""

import numpy as np

from phdenoise.channels import Channels
from phdenoise.modalities.optical.config import OpticalConfig
from phdenoise.modalities.settings import box_mask
from phdenoise.types import InputError

# Change of the light over the movie from which on a warning is given [share of its mean]; chosen, only the warning depends
# on it.
_NOTICED_SWING = 0.5


def illumination(
    channels: Channels, config: OpticalConfig, warnings: list[str]
) -> tuple[np.ndarray, np.ndarray]:
    """Light of each frame and channel over its mean, from the reference box.

    Args:
        channels: colour movie [c, t, y, x] [counts].
        config: with the box and the dark level.
        warnings: what should be known is added.

    Returns:
        Light and its standard deviation [c, t] [share of the mean]; ones and zeros without a reference box.

    Raises:
        InputError: a reference that is no brighter than the dark level.
    """
    shape = (len(channels), len(channels.movies[0].times))
    if config.reference is None:
        warnings.append(
            "No --reference: the light and its white balance are taken as constant, and their drift shows as a change "
            "of phase."
        )
        return np.ones(shape), np.zeros(shape)
    box = box_mask(config.reference, channels.movies[0].shape[1:])
    values = (
        np.where(channels.valid(), channels.frames, np.nan)[:, :, box].astype(float) - config.dark
    )
    with np.errstate(invalid="ignore"):
        mean = np.nanmean(values, axis=2)
    if not np.all(mean > 0):
        raise InputError(
            f"--reference {' '.join(map(str, config.reference))} is not brighter than the dark level {config.dark:g} in "
            "every frame and channel: choose a bright box, or give --dark."
        )
    # What differs between neighbouring frames is noise; the pattern of the box is not.
    own = np.nanvar(np.diff(values, axis=1) - np.diff(mean, axis=1)[..., None], axis=(1, 2)) / 2
    seen = np.maximum(np.isfinite(values).sum(axis=2), 1)
    whole = mean.mean(axis=1, keepdims=True)
    light, sd = mean / whole, np.sqrt(own[:, None] / seen) / whole
    swing = float(np.ptp(light, axis=1).max())
    if swing > _NOTICED_SWING:
        warnings.append(
            f"The light of the reference changes by {100 * swing:.0f} %: check that its colour is constant."
        )
    return light, sd


def correct_illumination(channels: Channels, light: np.ndarray, dark: float) -> Channels:
    """Channels above their dark level, as under the mean light.

    Args:
        channels: colour movie [c, t, y, x] [counts].
        light: of each channel and frame over its mean [c, t].
        dark: counts of a pixel without light.

    Returns:
        Channels [counts above dark], without a noise model.
    """
    movies = [
        m.with_frames(((m.frames - dark) / g[:, None, None]).astype(np.float32), noise=None)
        for m, g in zip(channels.movies, light, strict=True)
    ]
    return Channels(tuple(movies), channels.names, channels.name)

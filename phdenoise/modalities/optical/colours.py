"""Colours of a movie with their errors."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float


class Colours(NamedTuple):
    """One version of a colour movie, measured or denoised, or one of its frames.

    Attributes:
        mean: above dark, under the mean light [c, t, y, x] [counts].
        variance: of each value, of the same shape [counts²].
        rho: correlation of the channels' errors at a pixel [c, c].
    """

    mean: Float[np.ndarray, "c ..."]
    variance: Float[np.ndarray, "c ..."]
    rho: Float[np.ndarray, "c c"]

    def frame(self, t: int) -> "Colours":
        """Frame t, with axes [c, y, x]."""
        return Colours(self.mean[:, t], self.variance[:, t], self.rho)

    def pixels(
        self, where: Bool[np.ndarray, "..."]
    ) -> tuple[Float[np.ndarray, "n c"], Float[np.ndarray, "n c c"]]:
        """Colours of some pixels and the covariance of their channels.

        Args:
            where: True at the pixels, [t, y, x], or [y, x] of a frame.
        """
        sd = np.sqrt(self.variance[:, where].astype(float)).T
        covariance = sd[:, :, None] * sd[:, None, :] * self.rho
        return self.mean[:, where].T.astype(float), covariance

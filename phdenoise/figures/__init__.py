"""Figures: tables and arrays in, matplotlib Figures out."""

from phdenoise.figures.law_plots import comparison
from phdenoise.figures.plots import (
    energy_and_mass,
    law_curves,
    residual_autocorrelation,
    save,
    sweep,
    training_curve,
)
from phdenoise.figures.scene import movie_strip

__all__ = [
    "comparison",
    "energy_and_mass",
    "law_curves",
    "movie_strip",
    "residual_autocorrelation",
    "save",
    "sweep",
    "training_curve",
]

"""Figures: tables and arrays in, matplotlib Figures out."""

from phdenoise.figures.law_plots import comparison
from phdenoise.figures.plots import (
    energy_and_mass,
    law_curves,
    movie_panels,
    residual_autocorrelation,
    save,
    sweep,
    training_curve,
)

__all__ = [
    "comparison",
    "energy_and_mass",
    "law_curves",
    "movie_panels",
    "residual_autocorrelation",
    "save",
    "sweep",
    "training_curve",
]

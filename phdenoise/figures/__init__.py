"""Figures and reports: tables and arrays in, matplotlib Figures and HTML out."""

from phdenoise.figures.plots import (
    energy_and_mass,
    law_curves,
    movie_panels,
    residual_autocorrelation,
    save,
    sweep,
    training_curve,
)
from phdenoise.figures.report import Section, report_html

__all__ = [
    "Section",
    "energy_and_mass",
    "law_curves",
    "movie_panels",
    "report_html",
    "residual_autocorrelation",
    "save",
    "sweep",
    "training_curve",
]

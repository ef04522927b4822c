"""Figures and reports: tables and arrays in, matplotlib Figures and HTML out."""

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
from phdenoise.figures.report import Section, report_html
from phdenoise.figures.trust_plots import (
    bias_maps,
    coverage_curve,
    equivalent_filter_images,
    trust_page,
    trust_section,
)

__all__ = [
    "Section",
    "bias_maps",
    "comparison",
    "coverage_curve",
    "energy_and_mass",
    "equivalent_filter_images",
    "law_curves",
    "movie_panels",
    "report_html",
    "residual_autocorrelation",
    "save",
    "sweep",
    "training_curve",
    "trust_page",
    "trust_section",
]

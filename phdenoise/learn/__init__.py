"""Learning laws: parameters and priors, the joint objective, fits and their uncertainty."""

from phdenoise.learn.compare import compare
from phdenoise.learn.comparison import Candidate, Comparison
from phdenoise.learn.config import FitConfig
from phdenoise.learn.fit import fit
from phdenoise.learn.laws import MODELS, LawSpace, ModelName, Units, law_curves
from phdenoise.learn.result import FitResult, Parameter

__all__ = [
    "MODELS",
    "Candidate",
    "Comparison",
    "FitConfig",
    "FitResult",
    "LawSpace",
    "ModelName",
    "Parameter",
    "Units",
    "compare",
    "fit",
    "law_curves",
]

"""Learning laws: parameters and priors, the joint objective, fits and their uncertainty."""

from phdenoise.learn.compare import compare
from phdenoise.learn.comparison import Candidate, Comparison
from phdenoise.learn.config import FitConfig
from phdenoise.learn.fit import fit
from phdenoise.learn.joint_loss import JointData, JointTerms, joint_data, joint_loss
from phdenoise.learn.laws import LAW_NAMES, LawName, Units
from phdenoise.learn.result import FitResult, Parameter

__all__ = [
    "LAW_NAMES",
    "Candidate",
    "Comparison",
    "FitConfig",
    "FitResult",
    "JointData",
    "JointTerms",
    "LawName",
    "Parameter",
    "Units",
    "compare",
    "fit",
    "joint_data",
    "joint_loss",
]

"""What a fit returns: values with uncertainties, or a reason why not."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from phdenoise.learn.derived import Derived


@dataclass(frozen=True)
class Parameter:
    """One number with its standard deviation and unit."""

    name: str
    value: float
    sd: float
    unit: str


def plain_law(fit: Any) -> dict[str, Any]:
    """A `ProfileFit` or `ParticleFit` as plain values for JSON, without its profiles or images."""
    return {
        "outcome": fit.outcome,
        "converged": fit.converged,
        "parameters": [vars(p) for p in fit.parameters],
        "curves": {k: v.tolist() for k, v in fit.curves.items()},
        "statistics": fit.statistics,
        "theta": fit.theta.tolist(),
        "covariance": fit.covariance.tolist(),
    }


@dataclass(frozen=True)
class FitResult:
    """A fitted law.

    Attributes:
        model: "cahn-hilliard", "fickian" or "allen-cahn" (then D is the mobility M [1/time], and mu_h is not relative).
        outcome: one sentence: converged or why not, and how far to trust the numbers.
        converged: whether the optimiser met its tolerance and the solution stayed finite.
        parameters: coefficients with sd and unit (units of the movie).
        curves: c, mu_h, mu_h_sd [kT, relative to c = 1/2], D, D_sd on 101 points over the observed range;
            mu_h_low, mu_h_high, D_low, D_high bound their 90 % intervals (not symmetric).
        kappa: gradient energy coefficient; None for a Fickian law.
        statistics: chi2_per_dof, explained_variance, kappa_low and kappa_high (90 % interval), range of frames used, residual sd...
        theta: the raw vector of `LawSpace` [p], in grid cells and frame intervals.
        covariance: of the raw vector θ (in the order of `parameters`), [p, p].
        trajectory, trajectory_sd: the movie the fitted law predicts over the frames used, [t, y, x], in
            concentration; None where the fit keeps no field.
        frames_used: indices (first, last + 1) of the movie's frames that the trajectory covers.
        history: cost per iteration.
        settings, provenance: everything needed to redo it.
        intervals: 90 % intervals of the parameters by name, (low, high).
        derived: binodals, spinodals, barrier, interface... with intervals and a mark where they extrapolate.
        convergence: iterations, jacobians, away (how far a last step would go [sd]), message.
        identifiability: rank of the data's information, and the least identifiable direction by name and in words.
        uncertainty: method of the intervals, what it reports of itself, and a sentence.
        comparison: how the law was chosen (`Comparison.to_dict`); empty where it was given.
    """

    model: str
    outcome: str
    converged: bool
    parameters: tuple[Parameter, ...]
    curves: Mapping[str, np.ndarray]
    kappa: Parameter | None
    statistics: Mapping[str, float]
    theta: np.ndarray
    covariance: np.ndarray
    trajectory: np.ndarray | None = None
    trajectory_sd: np.ndarray | None = None
    frames_used: tuple[int, int] = (0, 0)
    history: tuple[float, ...] = ()
    settings: Mapping[str, Any] = field(default_factory=dict)
    provenance: Mapping[str, Any] = field(default_factory=dict)
    intervals: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    derived: tuple[Derived, ...] = ()
    convergence: Mapping[str, Any] = field(default_factory=dict)
    identifiability: Mapping[str, Any] = field(default_factory=dict)
    uncertainty: Mapping[str, Any] = field(default_factory=dict)
    comparison: Mapping[str, Any] = field(default_factory=dict)

    def value(self, name: str) -> float:
        """Value of a named parameter."""
        return next(p.value for p in self.parameters if p.name == name)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for FIT.json (the trajectory goes to the HDF5 file, not here)."""
        return {
            "model": self.model,
            "outcome": self.outcome,
            "converged": self.converged,
            "parameters": [asdict(p) for p in self.parameters],
            "curves": {k: np.asarray(v).tolist() for k, v in self.curves.items()},
            "kappa": None if self.kappa is None else asdict(self.kappa),
            "statistics": dict(self.statistics),
            "theta": np.asarray(self.theta).tolist(),
            "covariance": np.asarray(self.covariance).tolist(),
            "frames_used": list(self.frames_used),
            "history": list(self.history),
            "settings": dict(self.settings),
            "provenance": dict(self.provenance),
            "intervals": {k: list(v) for k, v in self.intervals.items()},
            "derived": [_plain(asdict(d)) for d in self.derived],
            "convergence": dict(self.convergence),
            "identifiability": dict(self.identifiability),
            "uncertainty": dict(self.uncertainty),
            "comparison": dict(self.comparison),
        }


def _plain(row: dict[str, Any]) -> dict[str, Any]:
    """JSON has no nan: a number that a law has not is null."""
    return {k: None if isinstance(v, float) and np.isnan(v) else v for k, v in row.items()}

"""What a fit returns: values with uncertainties, or a reason why not."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from phdenoise.learn.derived import Derived
from phdenoise.physics.equations.base import Law
from phdenoise.summary import describe, picture_html
from phdenoise.types import InputError


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


@dataclass(frozen=True, repr=False)
class FitResult:
    """A fitted law. Where nothing moves there is none: parameters, curves and statistics are empty, and `outcome` says so.

    Attributes:
        model: short name of the law.
        outcome: one sentence: converged or why not, and how far to trust the numbers.
        holds: the verdict: True where the tests of the residual find no misfit, False where the law does not hold, None where
            that cannot be told.
        misfit: number of tests, the variance of the noise they found over that assumed, and what was found wrong.
        converged: whether the optimiser met its tolerance and the solution stayed finite.
        parameters: coefficients with sd and unit (units of the movie).
        curves: c on 101 points over the observed range, and for each curve that the law reports NAME, NAME_sd, and
            NAME_low and NAME_high, the bounds of its 90 % interval (not symmetric). Of Cahn-Hilliard these are mu_h
            [kT, relative to c = 1/2] and D; of Allen-Cahn mu_h [kT] and, as D, the mobility M [1/time].
        kappa: gradient energy coefficient; None for a Fickian law.
        statistics: chi2_per_dof, explained_variance, kappa_low and kappa_high (90 % interval), range of frames used, residual sd...
        theta: free numbers of the law as one vector (`phdenoise.physics.law_parameters`) [p], in grid cells and frame intervals.
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
        law: the fitted law in the movie's units of length and time, to simulate or to fit on; None where it was read from a file.
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
    law: Law | None = None
    holds: bool | None = None
    misfit: Mapping[str, Any] = field(default_factory=dict)

    def value(self, name: str) -> float:
        """Value of a named parameter.

        Args:
            name: of the parameter.

        Returns:
            Its value.

        Raises:
            InputError: the fit has no such parameter.
        """
        values = {p.name: p.value for p in self.parameters}
        if name not in values:
            has = f"It has {', '.join(values)}." if values else self.outcome
            raise InputError(f"The fit of {self.model} has no parameter {name}. {has}")
        return values[name]

    def plot(self) -> Any:
        """A figure of μ_h(c) and D(c) with their 90 % bands; dashed where the law does not hold.

        Raises:
            InputError: there is no law, because nothing moves.
        """
        from phdenoise.figures.plots import law_curves

        if not self.curves:
            raise InputError(f"There is no law to plot. {self.outcome}")
        unit = str(self.settings.get("diffusivity_unit", "1"))
        refuted = [self.model] if self.holds is False else []
        return law_curves({self.model: self.curves}, diffusivity_unit=unit, refuted=refuted)

    def __repr__(self) -> str:
        shown = self.parameters if len(self.parameters) <= 6 else self.parameters[:5]
        facts = {p.name: f"{p.value:.5g} +- {p.sd:.2g} {p.unit}" for p in shown}
        if len(shown) < len(self.parameters):
            facts["..."] = f"{len(self.parameters) - len(shown)} more in .parameters"
        return describe(f"FitResult of {self.model}", facts, self.outcome)

    def _repr_html_(self) -> str:
        return picture_html(repr(self), "bands" if self.curves else "", self.curves)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for FIT.json (the trajectory goes to the HDF5 file, not here)."""
        return {
            "model": self.model,
            "outcome": self.outcome,
            "holds": self.holds,
            "converged": self.converged,
            "misfit": dict(self.misfit),
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

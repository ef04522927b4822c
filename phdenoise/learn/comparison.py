"""The outcome of a comparison of laws: a table, the law that was chosen, and how decisive that is in words."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from phdenoise.learn.config import FitConfig
from phdenoise.learn.criteria import difference
from phdenoise.summary import describe

Verdict = Literal["decisive", "likely", "open"]
# Difference of held-out misfits that decides [standard errors], three as usual; and of a criterion: 10 is "very strong"
# (Kass & Raftery, J. Am. Stat. Assoc. 90, 773 (1995), doi:10.1080/01621459.1995.10476572).
DECISIVE_ERRORS, DECISIVE_CRITERION = 3.0, 10.0


@dataclass(frozen=True)
class Candidate:
    """One law in the table.

    Attributes:
        model: kind of law.
        title: its name in a sentence.
        degrees: highest degree of each of its series, by symbol.
        terms: that in words; empty for a law without series.
        parameters: number of free parameters.
        held_out: misfit of the held-out frames; a share of "nothing moves", or χ² per datum (see `unit`).
        worse, worse_se: by how much that is worse than the best one's, and the standard error of the difference.
        delta_aicc, delta_bic, delta_evidence: criteria above the best candidate's (−2 ln Z for the evidence).
        converged: whether both fits did.
    """

    model: str
    title: str
    degrees: Mapping[str, int]
    terms: str
    parameters: int
    held_out: float
    worse: float
    worse_se: float
    delta_aicc: float
    delta_bic: float
    delta_evidence: float
    converged: bool

    @property
    def enthalpy_degree(self) -> int:
        """Highest degree of μ_h; 0 where it is no series."""
        return self.degrees.get("p", 0)

    @property
    def mobility_degree(self) -> int:
        """Highest degree of the logarithm of the mobility; 0 where it is no series."""
        return self.degrees.get("q", 0)

    def row(self) -> dict[str, Any]:
        """Plain values for a table."""
        about = {"title", "degrees", "terms"}
        return {
            "model": self.model,
            "enthalpy_degree": self.enthalpy_degree,
            "mobility_degree": self.mobility_degree,
            **{k: v for k, v in vars(self).items() if k not in about},
        }


@dataclass(frozen=True, repr=False)
class Comparison:
    """What was compared and what was chosen.

    Attributes:
        candidates: the table.
        chosen: index of the law in it.
        verdict: "decisive", "likely" or "open", about the kind of law.
        sentence: which law and how decisive.
        unit: of the held-out misfit, in words.
        frames: (first, first held out, last + 1) of the movie.
    """

    candidates: tuple[Candidate, ...]
    chosen: int
    verdict: Verdict
    sentence: str
    unit: str
    frames: tuple[int, int, int]

    def __repr__(self) -> str:
        best = sorted(range(len(self.candidates)), key=lambda k: self.candidates[k].held_out)
        rows = [(k, self.candidates[k]) for k in best[:6]]
        facts = {
            f"{k} {c.model}": f"degrees {c.enthalpy_degree}, {c.mobility_degree}: held-out misfit {c.held_out:.4g}"
            f"{', chosen' * (k == self.chosen)}"
            for k, c in rows
        }
        title = f"Comparison of {len(self.candidates)} laws, {self.verdict}"
        return describe(title, facts, self.sentence)

    @property
    def law(self) -> Candidate:
        """The chosen one."""
        return self.candidates[self.chosen]

    def applied(self, config: FitConfig) -> FitConfig:
        """Settings that fit the chosen law, if it is one with a name."""
        degrees = self.law.degrees
        return replace(
            config,
            enthalpy_degree=degrees.get("p", config.enthalpy_degree),
            mobility_degree=degrees.get("q", config.mobility_degree),
        )

    def rows(self) -> list[dict[str, Any]]:
        """A tidy table."""
        return [{**c.row(), "chosen": i == self.chosen} for i, c in enumerate(self.candidates)]

    def to_dict(self) -> dict[str, Any]:
        """Plain values for FIT.json."""
        return {
            "sentence": self.sentence,
            "verdict": self.verdict,
            "unit": self.unit,
            "frames": list(self.frames),
            "candidates": self.rows(),
        }


def judge(
    table: list[Candidate],
    held_out: list[np.ndarray],
    chosen: int,
    floor: float,
    unit: str,
) -> tuple[Verdict, str]:
    """How decisive the choice of the kind of law is, and one sentence.

    Args:
        table: candidates.
        held_out: their held-out misfits, in blocks.
        chosen: index of the law.
        floor: difference of held-out misfits that does not matter.
        unit: of those misfits, in words.

    Returns:
        The verdict and the sentence.
    """
    law = table[chosen]
    others = [i for i, c in enumerate(table) if c.model != law.model]
    terms = f" ({law.terms})" if law.terms else ""
    said = f"{law.title} with {_count(law)}{terms} describes the movie best"
    if not others:
        return "open", f"{said}; no other kind of law was compared."
    rival = min(others, key=lambda i: table[i].held_out)
    gap, error = difference(held_out[rival], held_out[chosen])
    clear = gap > max(DECISIVE_ERRORS * error, floor)
    opinions = {
        name: (min(getattr(c, field) for c in table if c.model == law.model), field)
        for name, field in (
            ("AICc", "delta_aicc"),
            ("BIC", "delta_bic"),
            ("the evidence", "delta_evidence"),
        )
    }
    against = [name for name, (delta, _) in opinions.items() if delta > 0]
    margins = [min(getattr(table[i], field) for i in others) for _, field in opinions.values()]
    # A richer family that holds the law predicts as well as it does; then the criteria alone decide.
    contains = table[rival].parameters > law.parameters and gap <= max(
        DECISIVE_ERRORS * error, floor
    )
    verdict: Verdict
    if not against and min(margins) > DECISIVE_CRITERION and (clear or contains):
        verdict = "decisive"
    elif len(against) < 2 and (clear or contains):
        verdict = "likely"
    else:
        verdict = "open"
    name = table[rival].title
    score = f"{law.held_out:.3g} against {table[rival].held_out:.3g}, {unit}"
    how = (
        f"it predicts the held-out frames better than {name} ({score})"
        if clear
        else f"{name} predicts the held-out frames no better ({score}) with {_count(table[rival])}"
        if contains
        else f"{name} predicts the held-out frames about as well ({score})"
    )
    if against:
        listed = ", ".join(against[:-1]) + " and " * (len(against) > 1) + against[-1]
        agree = f"{listed} {'prefer' if len(against) > 1 else 'prefers'} another kind"
    else:
        agree = "AICc, BIC and the evidence agree"
    word = {"decisive": "decisive", "likely": "likely, not certain", "open": "an open question"}
    return verdict, f"{said}: {how}, and {agree}; the choice is {word[verdict]}."


def _count(law: Candidate) -> str:
    return f"{law.parameters} parameter{'s' * (law.parameters != 1)}"

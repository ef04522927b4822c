"""The outcome of a comparison of laws: a table, the law that was chosen, and how decisive that is in words."""

from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

import numpy as np

from phdenoise.learn.config import FitConfig
from phdenoise.learn.criteria import difference
from phdenoise.learn.laws import ModelName

Verdict = Literal["decisive", "likely", "open"]
# Standard errors, and differences of a criterion, that decide (Kass & Raftery 1995: 10 is "very strong").
CLEAR, STRONG = 3.0, 10.0


@dataclass(frozen=True)
class Candidate:
    """One law in the table.

    Attributes:
        model: kind of law.
        enthalpy_degree, mobility_degree: its highest Legendre degrees.
        parameters: number of free parameters.
        held_out: misfit of the held-out frames; a share of "nothing moves", or χ² per datum (see `unit`).
        worse, worse_se: by how much that is worse than the best one's, and the standard error of the difference.
        delta_aicc, delta_bic, delta_evidence: criteria above the best candidate's (−2 ln Z for the evidence).
        converged: whether both fits did.
    """

    model: ModelName
    enthalpy_degree: int
    mobility_degree: int
    parameters: int
    held_out: float
    worse: float
    worse_se: float
    delta_aicc: float
    delta_bic: float
    delta_evidence: float
    converged: bool


@dataclass(frozen=True)
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

    @property
    def law(self) -> Candidate:
        """The chosen one."""
        return self.candidates[self.chosen]

    def applied(self, config: FitConfig) -> FitConfig:
        """Settings that fit the chosen law."""
        law = self.law
        enthalpy = law.enthalpy_degree if law.model != "fickian" else config.enthalpy_degree
        return replace(config, enthalpy_degree=enthalpy, mobility_degree=law.mobility_degree)

    def rows(self) -> list[dict[str, Any]]:
        """A tidy table."""
        return [{**asdict(c), "chosen": i == self.chosen} for i, c in enumerate(self.candidates)]

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
    """
    law = table[chosen]
    others = [i for i, c in enumerate(table) if c.model != law.model]
    said = f"{_NAMES[law.model]} with {_count(law)} ({_terms(law)}) describes the movie best"
    if not others:
        return "open", f"{said}; no other kind of law was compared."
    rival = min(others, key=lambda i: table[i].held_out)
    gap, error = difference(held_out[rival], held_out[chosen])
    clear = gap > max(CLEAR * error, floor)
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
    contains = table[rival].parameters > law.parameters and gap <= max(CLEAR * error, floor)
    verdict: Verdict
    if not against and min(margins) > STRONG and (clear or contains):
        verdict = "decisive"
    elif len(against) < 2 and (clear or contains):
        verdict = "likely"
    else:
        verdict = "open"
    name = _NAMES[table[rival].model]
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


_NAMES = {
    "fickian": "Fickian diffusion",
    "cahn-hilliard": "Cahn-Hilliard",
    "allen-cahn": "Allen-Cahn",
}


def _terms(law: Candidate) -> str:
    mobility = f"{'D' if law.model != 'allen-cahn' else 'M'} to degree {law.mobility_degree}"
    return (
        mobility if law.model == "fickian" else f"mu_h to degree {law.enthalpy_degree}, {mobility}"
    )


def _count(law: Candidate) -> str:
    return f"{law.parameters} parameter{'s' * (law.parameters != 1)}"

"""What the data say of a law's parameters, and what only the prior says.

The eigenvalues of S H S, with H = JᵀJ of the data (an initial field marginalised) and S the prior's standard
deviations, are how many times more than the prior the data know of each direction. Those above one make the rank; the
smallest belongs to the direction that the movie hardly shows. Transtrum, Machta & Sethna, Phys. Rev. E 83, 036701
(2011), doi:10.1103/PhysRevE.83.036701.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

# Parts of a direction below this share of its largest are not named: an eighth of the squared length, so that a sentence names
# two or three.
NAMED_SHARE = 0.35


@dataclass(frozen=True)
class Identifiability:
    """Which directions of a law the data determine.

    Attributes:
        rank: number of directions of which the data know more than the prior.
        parameters: number of directions.
        eigenvalues: knowledge relative to the prior's, smallest first.
        direction: least identifiable one, parts by name in units of the prior's standard deviations (a unit vector).
        narrowed: its posterior standard deviation relative to the prior's.
        sentence: all that in words.
    """

    rank: int
    parameters: int
    eigenvalues: tuple[float, ...]
    direction: dict[str, float]
    narrowed: float
    sentence: str


def identify(
    hessian: Float[np.ndarray, "p p"],
    sd: Float[np.ndarray, " p"],
    names: tuple[str, ...],
    labels: tuple[str, ...],
) -> Identifiability | None:
    """Rank and least identifiable direction of JᵀJ [p, p] of the data; None where that is not finite.

    Args:
        hessian: JᵀJ.
        sd: prior standard deviations.
        names: of the parameters.
        labels: what a sentence calls them.

    Returns:
        What is known, or None.
    """
    if not np.isfinite(hessian).all():
        return None
    scaled = hessian * sd[:, None] * sd[None]
    values, vectors = np.linalg.eigh(0.5 * (scaled + scaled.T))
    rank = int(np.sum(values > 1.0))
    least = vectors[:, 0] * np.sign(vectors[np.argmax(np.abs(vectors[:, 0])), 0])
    narrowed = float(1 / np.sqrt(1 + max(values[0], 0.0)))
    order = np.argsort(-np.abs(least))
    main = [i for i in order if abs(least[i]) > NAMED_SHARE * abs(least[order[0]])]
    up = [labels[i] for i in main if least[i] > 0]
    down = [labels[i] for i in main if least[i] < 0]
    words = f"raises {' and '.join(up)}"
    if down:
        words += f" and lowers {' and '.join(down)}"
    known = (
        f"the data narrow it to {100 * narrowed:.3g} % of its prior width"
        if narrowed < 0.7
        else "only the prior holds it"
    )
    sentence = f"The data determine {rank} of {len(names)} directions; the least identifiable one {words}, and {known}."
    return Identifiability(
        rank,
        len(names),
        tuple(float(v) for v in values),
        {names[i]: float(least[i]) for i in order},
        narrowed,
        sentence,
    )

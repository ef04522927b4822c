"""`compare`: which law, and with how many terms, by frames that it did not see and by information criteria.

Every family (Fickian, Cahn-Hilliard, Allen-Cahn) is fitted to the early frames with more and more Legendre terms. The
law is chosen by its prediction of the later ones: the best, or the simplest that is no more than one standard error
worse (Hastie et al., The Elements of Statistical Learning, 2009, sec. 7.10). AICc, BIC and the evidence, of fits to
all frames, are asked for their opinion; the verdict is "decisive" only where all agree on the kind of law.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import jax
import numpy as np
from jaxtyping import Bool

from phdenoise.denoising import denoise
from phdenoise.learn.candidate_fits import (
    EQUAL_MISFIT,
    CandidateFits,
    Fitted,
    at_face_value,
    from_field,
    independent_data,
)
from phdenoise.learn.comparison import Candidate, Comparison, judge
from phdenoise.learn.config import FitConfig
from phdenoise.learn.criteria import difference
from phdenoise.learn.edge_evidence import settle_faces
from phdenoise.learn.fit_problem import (
    FitProblem,
    Observes,
    check_movie,
    family_of,
    prepare_fit_problem,
    starts_of,
)
from phdenoise.learn.joint_loss import start_prior
from phdenoise.learn.laws import LAW_NAMES, Given, given_law, label, title
from phdenoise.learn.moves import NothingMoves, moves
from phdenoise.learn.start_field import grain, smoothed
from phdenoise.movie import Estimate, Movie
from phdenoise.physics.domain import smooth_inside
from phdenoise.physics.equations.base import Law
from phdenoise.physics.law_parameters import Parameters
from phdenoise.types import InputError, Progress

# Noise [share of the movie's contrast] above which start frames are not taken at face value. It is larger than that of a fit: the best
# of many laws is sought, whose start frames are the same.
FACE_VALUE_NOISE = 0.03
# Members of a family, from the fewest terms to the degrees of the settings. More cost a fit each and lie closer than one term.
MEMBERS = 4


def compare(
    movie: Movie,
    laws: Sequence[str | Law] = LAW_NAMES,
    config: FitConfig | None = None,
    *,
    held_out: float = 0.3,
    observation: Observes | None = None,
    estimate: Estimate | None = None,
    progress: Progress | None = None,
) -> Comparison:
    """Choose the kind of law and the number of its terms.

    Args:
        movie: as for `fit`.
        laws: kinds of law to compare, names or objects as for `fit`. Laws of series are tried with more and more terms.
        config: its degrees are the largest tried of named laws. With `joint` the denoised movie gives the start of the
            initial field that is estimated with the law; so it is, without a denoiser, where the movie is noisy.
        held_out: share of the movie's change that lies in the last frames, on which the laws are judged; of a
            movie that comes to rest these are more frames than that.
        observation: as for `fit`.
        estimate: the denoised movie, if already made (`joint`).
        progress: called with (kind of law, member, members, held-out misfit).

    Returns:
        The table of laws, the one chosen, and how decisive the choice is.

    Raises:
        NothingMoves: nothing moves beyond noise.
        InputError: a movie that no law can be fitted to, fewer than 4 usable frames, an impossible share, or no law,
            or an unknown or repeated name.
    """
    config = FitConfig() if config is None else config
    names = [law for law in laws if isinstance(law, str)]
    if not laws or len(set(names)) < len(names):
        raise InputError("Name each kind of law to compare once, and at least one.")
    given = [given_law(law, config) for law in laws]
    check_movie(movie)
    if not 0.0 < held_out < 0.8:
        raise InputError(f"--held-out must lie between 0 and 0.8, got {held_out}.")
    if not config.joint:
        estimate = None
    elif estimate is None:
        estimate = denoise(movie, config.denoise)
    with jax.enable_x64(config.precision == "float64"):
        fit_problem = prepare_fit_problem(movie, config, estimate, observation)
        count = fit_problem.observed.shape[0]
        if count < 4:
            raise InputError(
                f"{movie.name}: {count} usable frames do not tell laws apart, at least 4 are needed."
            )
        if not moves(fit_problem):
            raise NothingMoves(
                f"{movie.name}: nothing moves beyond noise, which tells no laws apart. "
                "Film for longer, or average frames."
            )
        fit_problem = settle_faces(fit_problem, given, config)
        hidden = _hidden(fit_problem, held_out)
        labels = _labels([law for law, _ in given])
        # The field stands as early for one law as for another, or the evidence would compare fields.
        burn_in = int(all(law.own_width for law, _ in given))
        kinds = [_candidate_fits(law, fit_problem, config, hidden, burn_in) for law in given]
        fits = [_climb(kind, name, progress) for kind, name in zip(kinds, labels, strict=True)]
    used = fit_problem.first, fit_problem.first + count - hidden, fit_problem.first + count
    return _judge(kinds, labels, fits, used)


def _labels(laws: list[Law]) -> list[str]:
    """Short names of laws; those of one name are numbered."""
    names = [label(law) for law in laws]
    return [
        f"{name} ({names[:i].count(name) + 1})" if names.count(name) > 1 else name
        for i, name in enumerate(names)
    ]


def _candidate_fits(
    given: Given, fit_problem: FitProblem, config: FitConfig, hidden: int, burn_in: int
) -> CandidateFits:
    family = family_of(given, fit_problem, np.dtype(config.precision))
    if not config.joint and grain(fit_problem) <= FACE_VALUE_NOISE:
        starts = starts_of(given, family, fit_problem)
        return at_face_value(family, starts, fit_problem, config, hidden)
    if not config.joint:
        fit_problem = smoothed(fit_problem)
    prior = start_prior(family, fit_problem, config, np.dtype(config.precision))
    starts = starts_of(given, family, fit_problem)
    return from_field(family, starts, fit_problem, config, hidden, prior, burn_in)


def _hidden(fit_problem: FitProblem, share: float) -> int:
    """How many last frames hold this share of the change: frames in which nothing moves tell no laws apart."""
    smooth = smooth_inside(fit_problem.believed, fit_problem.inside, (1.0, 1.5, 1.5))
    path = np.cumsum(np.sqrt(np.mean(np.diff(smooth, axis=0) ** 2, axis=(1, 2))))
    count = fit_problem.believed.shape[0]
    cut = 1 + int(np.searchsorted(path, (1 - share) * path[-1]))
    # Most of a movie may be its first instant: half of the frames stay for the fit.
    return int(np.clip(count - cut, 1, max(1, count // 2)))


class Member(NamedTuple):
    """A law of a family after its fits: the degrees of its series, which θ move [p], and the fits."""

    degrees: dict[str, int]
    free: np.ndarray
    fitted: Fitted


def _climb(kind: CandidateFits, name: str, progress: Progress | None) -> list[Member]:
    """Members from few terms to many, each begun where the last one ended."""
    found, begin = [], None
    ladder = rungs(kind.family)
    for step, degrees in enumerate(ladder):
        free = members(kind.family, degrees)
        fitted = kind.fit(free, begin)
        if np.isfinite(fitted.whole.cost):
            begin = fitted.early.point
        found.append(Member(degrees, free, fitted))
        if progress:
            progress(name, step + 1, len(ladder), float(fitted.held_out.mean()))
    return found


def rungs(family: Parameters) -> list[dict[str, int]]:
    """Highest degree of each series in the members, from the fewest terms on.

    Args:
        family: the law with all its terms.

    Returns:
        By the symbol of the series; one empty member for a law without series.
    """
    spans: dict[str, tuple[int, int]] = {}
    for c in family.components:
        if c.series:
            least, most = spans.get(c.series.symbol, (c.series.shape - 1, 0))
            spans[c.series.symbol] = least, max(most, c.degree)
    ladder: list[dict[str, int]] = []
    for share in np.linspace(0.0, 1.0, MEMBERS):
        rung = {
            symbol: min(most, least + round((most - least) * share))
            for symbol, (least, most) in spans.items()
        }
        if rung not in ladder:
            ladder.append(rung)
    return ladder


def members(family: Parameters, degrees: Mapping[str, int]) -> Bool[np.ndarray, " p"]:
    """Which numbers of θ move in a member.

    Args:
        family: the law with all its terms.
        degrees: highest degree of each series, by symbol.

    Returns:
        True where a number moves [p].
    """
    return np.array(
        [not c.series or c.degree <= degrees[c.series.symbol] for c in family.components]
    )


def _terms(family: Parameters, degrees: Mapping[str, int]) -> str:
    """The terms of a member in words."""
    quantities = {c.series.symbol: c.quantity for c in family.components if c.series}
    return ", ".join(
        f"{quantities[symbol].removeprefix('ln ')} to degree {degree}"
        for symbol, degree in degrees.items()
    )


def _judge(
    kinds: list[CandidateFits],
    labels: list[str],
    fits: list[list[Member]],
    frames: tuple[int, int, int],
) -> Comparison:
    flat = [
        (kind, name, member)
        for kind, name, found in zip(kinds, labels, fits, strict=True)
        for member in found
    ]
    fitted = [member.fitted for _, _, member in flat]
    known = kinds[0].known_noise
    lowest = min(fitted, key=lambda f: f.misfit if np.isfinite(f.misfit) else np.inf)
    data = independent_data(kinds, lowest)
    unit = max(1.0, lowest.misfit / kinds[0].data) if known else 1.0
    judged = [kind.criteria(member.fitted, member.free, data, unit) for kind, _, member in flat]
    least = [min(values) for values in zip(*judged, strict=True)]
    means = [_finite(f.held_out.mean()) for f in fitted]
    best = int(np.argmin(means))
    table = []
    for (kind, name, member), mean, of in zip(flat, means, judged, strict=True):
        fit = member.fitted
        worse, error = difference(fit.held_out, fitted[best].held_out)
        aicc, bic, evidence = (_finite(a - b) for a, b in zip(of, least, strict=True))
        table.append(
            Candidate(
                model=name,
                title=title(kind.family.law),
                degrees=member.degrees,
                terms=_terms(kind.family, member.degrees),
                parameters=int(member.free.sum()),
                held_out=mean,
                worse=_finite(worse),
                worse_se=error,
                delta_aicc=aicc,
                delta_bic=bic,
                delta_evidence=evidence,
                converged=fit.early.converged and fit.whole.converged,
            )
        )
    floor = 0.0 if known else EQUAL_MISFIT
    good = [i for i, c in enumerate(table) if c.worse <= max(c.worse_se, floor)]
    chosen = min(good, key=lambda i: (table[i].parameters, table[i].held_out))
    words = "χ² per datum (1 is noise)" if known else "share of the change that is missed"
    verdict, sentence = judge(table, [f.held_out for f in fitted], chosen, floor, words)
    return Comparison(tuple(table), chosen, verdict, sentence, words, frames)


def _finite(value: float) -> float:
    """JSON holds no infinity; a law that diverges is simply very bad."""
    return float(value) if np.isfinite(value) else 1e30

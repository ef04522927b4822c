"""`compare`: which law, and with how many terms, by frames that it did not see and by information criteria.

Every family (Fickian, Cahn-Hilliard, Allen-Cahn) is fitted to the early frames with more and more Legendre terms. The
law is chosen by its prediction of the later ones: the best, or the simplest that is no more than one standard error
worse (Hastie et al., The Elements of Statistical Learning, 2009, sec. 7.10). AICc, BIC and the evidence, of fits to
all frames, are asked for their opinion; the verdict is "decisive" only where all agree on the kind of law.
"""

from collections.abc import Sequence
from dataclasses import replace

import jax
import numpy as np
from scipy import ndimage

from phdenoise.learn.comparison import Candidate, Comparison, judge
from phdenoise.learn.config import FitConfig
from phdenoise.learn.criteria import difference
from phdenoise.learn.laws import MODELS, LawSpace, ModelName
from phdenoise.learn.objective import field_prior, first_field
from phdenoise.learn.setting import Setting, check_movie, prepare_setting
from phdenoise.learn.trials import (
    RESOLVED,
    Family,
    Fitted,
    at_face_value,
    from_field,
    independent_data,
)
from phdenoise.movie import Estimate, Movie
from phdenoise.training import denoise
from phdenoise.types import InputError, Progress

# Noise, as a share of the movie's contrast, above which start frames are not taken at face value.
NOISY = 0.03
# Error of a smoothed noisy frame as the initial field, at least [concentration].
ROUGH = 0.075
# Members of a family, from the fewest terms to the degrees of the settings.
RUNGS = 4


def compare(
    movie: Movie,
    config: FitConfig | None = None,
    *,
    models: Sequence[ModelName] = MODELS,
    held_out: float = 0.3,
    estimate: Estimate | None = None,
    progress: Progress | None = None,
) -> Comparison:
    """Choose the kind of law and the number of its terms.

    Args:
        movie: as for `fit`.
        config: its degrees are the largest tried. With `joint` the denoised movie gives the start of the initial
            field that is estimated with the law; so it is, without a denoiser, where the movie is noisy.
        models: kinds of law to compare.
        held_out: share of the movie's change that lies in the last frames, on which the laws are judged; of a
            movie that comes to rest these are more frames than that.
        estimate: the denoised movie, if already made (`joint`).
        progress: called with (kind of law, member, members, held-out misfit).

    Raises:
        InputError: a movie that no law can be fitted to, fewer than 4 usable frames, or an impossible share.
    """
    config = FitConfig() if config is None else config
    if not models or len(set(models)) < len(models):
        raise InputError("Name each kind of law to compare once, and at least one.")
    for model in models:
        check_movie(movie, model)
    if not 0.0 < held_out < 0.8:
        raise InputError(f"--held-out must lie between 0 and 0.8, got {held_out}.")
    if config.joint and estimate is None:
        estimate = denoise(movie, config.denoise)
    with jax.enable_x64(config.precision == "float64"):
        setting = prepare_setting(movie, config, estimate if config.joint else None)
        count = setting.observed.shape[0]
        if count < 4:
            raise InputError(
                f"{movie.name}: {count} usable frames do not tell laws apart, at least 4 are needed."
            )
        hidden = _hidden(setting, held_out)
        families = [_family(model, setting, config, hidden) for model in models]
        fits = [_climb(family, progress) for family in families]
    return _judge(
        families, fits, (setting.first, setting.first + count - hidden, setting.first + count)
    )


def _family(model: ModelName, setting: Setting, config: FitConfig, hidden: int) -> Family:
    space = LawSpace(model, config.enthalpy_degree, config.mobility_degree, config.mobility_base)
    if not config.joint and _grain(setting) <= NOISY:
        return at_face_value(space, setting, config, hidden)
    mean, variance = setting.believed[0], setting.believed_variance[0]
    if not config.joint:
        mean = ndimage.gaussian_filter(setting.believed[:3].mean(0), 1.5)
        smooth = ndimage.gaussian_filter(setting.believed, (1, 1.5, 1.5))
        setting, variance = replace(setting, believed=smooth), np.full_like(mean, ROUGH**2)
    spread, before = first_field(setting.believed, variance)
    prior = field_prior(
        mean,
        setting.grid,
        sd=spread,
        waves=config.field_waves,
        dtype=np.dtype(config.precision),
    )
    return from_field(space, setting, config, hidden, prior, before)


def _hidden(setting: Setting, share: float) -> int:
    """How many last frames hold this share of the change: frames in which nothing moves tell no laws apart."""
    smooth = ndimage.gaussian_filter(setting.believed, (1, 1.5, 1.5))
    path = np.cumsum(np.sqrt(np.mean(np.diff(smooth, axis=0) ** 2, axis=(1, 2))))
    count = setting.believed.shape[0]
    cut = 1 + int(np.searchsorted(path, (1 - share) * path[-1]))
    # Most of a movie may be its first instant: half of the frames stay for the fit.
    return int(np.clip(count - cut, 1, max(1, count // 2)))


def _grain(setting: Setting) -> float:
    """Noise as a share of the contrast, by two estimates of which either may take structure for noise.

    One is the movie's noise model, the other what a mixed fourth difference leaves of a smooth field (Immerkær,
    Comput. Vis. Image Underst. 64, 300 (1996), doi:10.1006/cviu.1996.0060).
    """
    model = float(np.sqrt(np.mean(setting.variance[setting.valid])))
    mixed = np.diff(np.diff(setting.observed, 2, axis=1), 2, axis=2)
    rough = float(np.sqrt(np.pi / 2) / 6 * np.mean(np.abs(mixed))) if mixed.size else model
    contrast = float(ndimage.gaussian_filter(setting.observed, (0, 1, 1)).std())
    return min(model, rough) / max(contrast, 1e-12)


def _climb(family: Family, progress: Progress | None) -> list[tuple[int, int, np.ndarray, Fitted]]:
    """Members from few terms to many, each begun where the last one ended."""
    space, found, begin = family.space, [], None
    ladder = rungs(space)
    for step, (enthalpy, mobility) in enumerate(ladder):
        free = members(space, enthalpy, mobility)
        fitted = family.fit(free, begin)
        if np.isfinite(fitted.whole.cost):
            begin = fitted.early.point
        found.append((enthalpy, mobility, free, fitted))
        if progress:
            progress(space.model, step + 1, len(ladder), float(fitted.held_out.mean()))
    return found


def rungs(space: LawSpace) -> list[tuple[int, int]]:
    """Degrees (enthalpy, mobility) of the members, from the fewest terms on; a Fickian law has no enthalpy."""
    most = space.enthalpy_degree
    shares = np.linspace(0.0, 1.0, RUNGS)
    pairs = [
        (
            0 if space.model == "fickian" else min(most, 1 + round((most - 1) * s)),
            round(space.mobility_degree * s),
        )
        for s in shares
    ]
    return sorted(set(pairs))


def members(space: LawSpace, enthalpy: int, mobility: int) -> np.ndarray:
    """Which numbers of θ move in a member of these degrees [p]."""

    def moves(name: str) -> bool:
        kind, _, degree = name.partition("_")
        return not degree.isdigit() or int(degree) <= {"p": enthalpy, "q": mobility}[kind]

    return np.array([moves(name) for name in space.names])


def _judge(
    families: list[Family],
    fits: list[list[tuple[int, int, np.ndarray, Fitted]]],
    frames: tuple[int, int, int],
) -> Comparison:
    flat = [(f, *member) for f, found in zip(families, fits, strict=True) for member in found]
    fitted = [row[4] for row in flat]
    known = families[0].known_noise
    lowest = min(fitted, key=lambda f: f.misfit if np.isfinite(f.misfit) else np.inf)
    data = independent_data(families, lowest)
    unit = max(1.0, lowest.misfit / families[0].data) if known else 1.0
    judged = [f.criteria(fit, free, data, unit) for f, _, _, free, fit in flat]
    least = [min(values) for values in zip(*judged, strict=True)]
    means = [_finite(f.held_out.mean()) for f in fitted]
    best = int(np.argmin(means))
    table = []
    for (family, enthalpy, mobility, free, fit), mean, of in zip(flat, means, judged, strict=True):
        worse, error = difference(fit.held_out, fitted[best].held_out)
        aicc, bic, evidence = (_finite(a - b) for a, b in zip(of, least, strict=True))
        table.append(
            Candidate(
                family.space.model,
                enthalpy,
                mobility,
                int(free.sum()),
                mean,
                _finite(worse),
                error,
                aicc,
                bic,
                evidence,
                fit.early.converged and fit.whole.converged,
            )
        )
    floor = 0.0 if known else RESOLVED
    good = [i for i, c in enumerate(table) if c.worse <= max(c.worse_se, floor)]
    chosen = min(good, key=lambda i: (table[i].parameters, table[i].held_out))
    words = "χ² per datum (1 is noise)" if known else "share of the change that is missed"
    verdict, sentence = judge(table, [f.held_out for f in fitted], chosen, floor, words)
    return Comparison(tuple(table), chosen, verdict, sentence, words, frames)


def _finite(value: float) -> float:
    """JSON holds no infinity; a law that diverges is simply very bad."""
    return float(value) if np.isfinite(value) else 1e30

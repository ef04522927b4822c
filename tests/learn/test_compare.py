"""The right law wins on twins of each kind, and the words say how decisively."""

import itertools

import numpy as np
import pytest
from families import family

from phdenoise.learn import compare
from phdenoise.learn.compare import _hidden, members, rungs
from phdenoise.learn.comparison import Candidate, judge
from phdenoise.learn.config import FitConfig
from phdenoise.learn.criteria import by_block, criteria, difference, independent
from phdenoise.learn.fit_problem import prepare_fit_problem
from phdenoise.movie import Movie
from phdenoise.simulation import SimulateConfig, simulate
from phdenoise.types import InputError

pytestmark = pytest.mark.xdist_group("compare")

SMALL = FitConfig(mobility_degree=2, enthalpy_degree=2, windows=3, window_frames=6, iterations=20)


@pytest.mark.slow
# That Allen-Cahn wins over diffusion is the next test.
@pytest.mark.parametrize(
    "kind",
    [
        "cahn-hilliard",
        *(pytest.param(k, marks=pytest.mark.study) for k in ("fickian", "allen-cahn")),
    ],
)
def test_the_law_of_the_twin_wins(kind):
    clean = simulate(kind, SimulateConfig(size=(24, 24), frames=30, sigma=0.0)).clean
    found = compare(clean, config=SMALL)
    assert found.law.model == kind
    assert found.verdict != "open"
    # Second degrees cannot follow c(1 − c) exactly; the rivals are at 1 and more.
    assert found.law.held_out < 0.1
    assert {c.model for c in found.candidates} == {"fickian", "cahn-hilliard", "allen-cahn"}


@pytest.mark.slow
def test_a_reaction_is_not_diffusion_and_the_table_is_tidy():
    clean = simulate("allen-cahn", SimulateConfig(size=(24, 24), frames=16, sigma=0.0)).clean
    steps = []
    found = compare(clean, ("fickian", "allen-cahn"), SMALL, progress=lambda *a: steps.append(a))
    assert found.law.model == "allen-cahn"
    assert found.verdict == "decisive"
    assert "decisive" in found.sentence
    assert "Fickian" in found.sentence
    # What the sentence calls clear: nothing is conserved, and diffusion cannot follow.
    fickian = [c for c in found.candidates if c.model == "fickian"]
    assert found.law.held_out < 0.01 < 0.3 < min(c.held_out for c in fickian)
    assert min(c.delta_bic for c in fickian) > 100
    rows = found.rows()
    assert len(steps) == len(rows)
    assert sum(r["chosen"] for r in rows) == 1
    assert min(r["worse"] for r in rows) == 0.0
    first, cut, last = found.frames
    assert first < cut < last
    config = found.applied(SMALL)
    assert config.enthalpy_degree == found.law.enthalpy_degree


@pytest.mark.slow
def test_noisy_frames_are_compared_with_the_raw_counts_through_an_estimated_field():
    noisy = simulate("allen-cahn", SimulateConfig(size=(24, 24), frames=16, sigma=0.1)).movie
    config = FitConfig(mobility_degree=0, enthalpy_degree=1, field_waves=7, iterations=10)
    found = compare(noisy, ("fickian", "allen-cahn"), config)
    assert found.law.model == "allen-cahn"
    assert "datum" in found.unit
    # The right law predicts frames it did not see as well as noise allows.
    assert found.law.held_out == pytest.approx(1.0, abs=0.1)


@pytest.mark.parametrize(
    ("settings", "words"),
    [({"held_out": 0.9}, "between 0 and 0.8"), ({"laws": ()}, "at least one")],
)
def test_impossible_comparisons_are_refused(settings, words):
    movie = Movie.from_array(np.random.default_rng(0).random((8, 8, 8)))
    with pytest.raises(InputError, match=words):
        compare(movie, config=SMALL, **settings)


def test_criteria_of_a_line_are_those_of_the_textbook():
    """Polynomials of degree 0..4 through noisy points of a line: every criterion finds degree 1."""
    rng = np.random.default_rng(3)
    x = np.linspace(-1, 1, 200)
    data = 0.4 + 0.7 * x + rng.normal(size=x.size)
    table = []
    for degree in range(5):
        design = np.polynomial.legendre.legvander(x, degree)
        hessian = design.T @ design
        sd = np.full(degree + 1, 3.0)
        point = np.linalg.solve(hessian + np.diag(sd**-2), design.T @ data)
        deviance = float(np.sum((data - design @ point) ** 2))
        found = criteria(deviance, float(x.size), hessian, point / sd, sd, degree + 1)
        # The evidence of a linear Gaussian model is known exactly: data ~ N(0, 1 + design S² designᵀ).
        covariance = np.eye(x.size) + (design * sd**2) @ design.T
        exact = data @ np.linalg.solve(covariance, data) + np.linalg.slogdet(covariance)[1]
        assert found.evidence == pytest.approx(exact, rel=1e-9)
        k = degree + 1
        assert found.bic - deviance == pytest.approx(k * np.log(200))
        assert found.aicc - deviance == pytest.approx(2 * k * 200 / (200 - k - 1))
        table.append(found)
    assert [int(np.argmin(column)) for column in zip(*table, strict=True)] == [1, 1, 1]


def test_correlated_residuals_count_for_fewer():
    rng = np.random.default_rng(0)
    white = rng.normal(size=(2, 40, 32, 32))
    assert independent(white) == pytest.approx(white.size, rel=0.05)
    # Every value four times along x, and a cut of small correlations: about a quarter.
    copied = np.repeat(white[..., :8], 4, axis=3)
    assert independent(copied) == pytest.approx(white[..., :8].size, rel=0.1)


def test_differences_are_paired_over_blocks():
    rng = np.random.default_rng(1)
    hard = rng.uniform(1, 5, size=(6, 32, 32))
    a, b = by_block(hard + 0.1), by_block(hard)
    gap, error = difference(a, b)
    assert a.size == 16
    assert gap == pytest.approx(0.1)
    assert error < 1e-6
    assert difference(np.full(16, np.inf), b)[0] == np.inf


def test_frames_at_rest_are_not_the_only_ones_held_out():
    fit_problem = prepare_fit_problem(
        simulate("cahn-hilliard", SimulateConfig(size=(24, 24), frames=30, sigma=0.0)).clean,
        SMALL,
        None,
    )
    hidden = _hidden(fit_problem, 0.3)
    # The pattern forms in the first frames and then stands still: as many are held out as is allowed.
    assert hidden == len(fit_problem.times) // 2
    steady = prepare_fit_problem(
        simulate("fickian", SimulateConfig(size=(24, 24), frames=30, sigma=0.0)).clean, SMALL, None
    )
    assert 0.3 * 30 - 1 < _hidden(steady, 0.3) <= 15


def test_members_of_a_family_are_nested():
    space = family("allen-cahn", 4, 3)
    masks = [members(space, degrees) for degrees in rungs(space)]
    assert masks[-1].all()
    assert all((small <= large).all() for small, large in itertools.pairwise(masks))
    names = [n for n, free in zip(space.names, masks[0], strict=True) if free]
    assert names == ["p_0", "p_1", "q_0", "ln_kappa"]


def _candidate(model, parameters, held_out, **deltas):
    named = {"delta_aicc": 0.0, "delta_bic": 0.0, "delta_evidence": 0.0, **deltas}
    degrees, numbers = {"p": 1, "q": 1}, (parameters, held_out)
    about = {"worse": held_out, "worse_se": 0.0, "converged": True, **named}
    titles = {"fickian": "Fickian diffusion"}
    return Candidate(model, titles.get(model, model), degrees, "D to degree 1", *numbers, **about)


def test_verdicts_are_only_decisive_where_all_agree():
    far = {"delta_aicc": 50.0, "delta_bic": 50.0, "delta_evidence": 50.0}
    blocks = [np.full(16, 0.01) + 1e-4 * np.arange(16), np.full(16, 0.5)]
    table = [_candidate("fickian", 1, 0.01), _candidate("allen-cahn", 4, 0.5, **far)]
    verdict, sentence = judge(table, blocks, 0, 1e-5, "share")
    assert verdict == "decisive"
    assert "1 parameter (" in sentence
    assert "0.01 against 0.5" in sentence
    # One criterion objects.
    close = {"delta_aicc": 50.0, "delta_bic": 50.0, "delta_evidence": 0.0}
    mixed = [
        _candidate("fickian", 1, 0.01, delta_evidence=3.0),
        _candidate("allen-cahn", 4, 0.5, **close),
    ]
    verdict, sentence = judge(mixed, blocks, 0, 1e-5, "share")
    assert verdict == "likely"
    assert "the evidence prefers another kind" in sentence
    # Held-out frames that cannot tell, and a rival that is no richer.
    same = [blocks[0], blocks[0]]
    alike = [_candidate("fickian", 4, 0.01), _candidate("allen-cahn", 4, 0.01, **far)]
    assert judge(alike, same, 0, 1e-5, "share")[0] == "open"
    # A richer law that does no better leaves the simple one standing.
    richer = [_candidate("fickian", 2, 0.01), _candidate("cahn-hilliard", 6, 0.01, **far)]
    verdict, sentence = judge(richer, same, 0, 1e-5, "share")
    assert verdict == "decisive"
    assert "no better" in sentence
    assert judge(table[:1], blocks[:1], 0, 1e-5, "share")[0] == "open"

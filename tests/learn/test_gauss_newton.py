"""The descent: it converges, says so in single precision too, and straightens the law's curved valley."""

import numpy as np
import pytest
from families import family, point
from scipy.optimize import least_squares

from phdenoise.learn.gauss_newton import (
    STALLED_STEPS,
    Normal,
    Objective,
    Stopping,
    dense_step,
    descend,
    inverse,
    normal_equations,
    updated,
    with_prior,
)


def _rosenbrock(x):
    residual = np.array([10 * (x[1] - x[0] ** 2), 1 - x[0]])
    return residual, np.array([[-20 * x[0], -1.0], [10.0, 0.0]])


def test_descent_finds_the_minimum_and_counts_jacobians_not_rejections():
    calls = []

    def normal(x):
        calls.append(x)
        return normal_equations(*_rosenbrock(x))

    minimum = descend(
        Objective(normal, lambda x: 0.5 * float(np.sum(_rosenbrock(x)[0] ** 2))),
        lambda x, step: x + step,
        np.array([-1.2, 1.0]),
        Stopping(40, tolerance=0.0, resolution=1e-12),
    )
    assert minimum.converged
    np.testing.assert_allclose(minimum.point, 1.0, atol=1e-5)
    assert len(calls) <= 40
    assert np.all(np.diff(minimum.history) < 0)


@pytest.mark.parametrize("seed", range(4))
def test_a_cheap_gradient_saves_most_matrices_and_ends_in_the_same_minimum(seed):
    """Decays of unknown height and rate in noise; the truth is SciPy's minimum."""
    rng, t = np.random.default_rng(seed), np.linspace(0, 3, 60)
    true = np.concatenate(
        [rng.uniform(1, 2, 3), np.array([-1.5, 0.0, 1.5]) + rng.uniform(-0.4, 0.4, 3)]
    )
    sd = np.concatenate([np.full(3, 3.0), np.full(3, 2.0)])

    def shown(x):
        return np.sum(x[:3, None] * np.exp(-np.exp(x[3:, None]) * t), axis=0)

    data = shown(true) + 0.05 * rng.normal(size=t.size)

    def residual(x):
        return (shown(x) - data) / 0.05

    def rows(x):
        decay = np.exp(-np.exp(x[3:, None]) * t)
        return np.concatenate([decay, -x[:3, None] * np.exp(x[3:, None]) * t * decay]) / 0.05

    start = np.array([1.0, 1.0, 1.0, -1.5, 0.0, 1.5])
    truth = least_squares(
        lambda x: np.concatenate([residual(x), (x - start) / sd]), start, xtol=1e-12, ftol=1e-12
    )
    taken = {}
    for name, slope in (
        ("gauss-newton", None),
        ("updated", lambda x: rows(x) @ residual(x) + (x - start) / sd**2),
    ):
        calls = []

        def normal(x, calls=calls):
            calls.append(x)
            return with_prior(normal_equations(residual(x), rows(x)), x, start, sd)

        minimum = descend(
            Objective(
                normal,
                lambda x: 0.5 * float(np.sum(residual(x) ** 2) + np.sum(((x - start) / sd) ** 2)),
                slope,
            ),
            lambda x, step: x + step,
            start,
            Stopping(60, tolerance=0.0, resolution=1e-6),
            metric=sd**-2.0,
        )
        assert minimum.converged
        # Half the square of a tenth of a posterior standard deviation.
        assert minimum.cost == pytest.approx(truth.cost, abs=0.005)
        taken[name] = len(calls)
    assert taken["updated"] < taken["gauss-newton"]


def test_an_updated_matrix_has_the_curvature_of_the_step_and_stays_positive():
    rng = np.random.default_rng(1)
    root = rng.normal(size=(5, 5))
    here = Normal(1.0, rng.normal(size=5), root @ root.T)
    step, turned = rng.normal(size=5), rng.normal(size=(5, 5))
    convex = turned @ turned.T + np.eye(5)
    after = updated(here, step, here.gradient + convex @ step, 0.5)
    np.testing.assert_allclose(after.hessian @ step, convex @ step)
    assert np.linalg.eigvalsh(after.hessian)[0] > 0
    hollow = updated(here, step, here.gradient - convex @ step, 0.5)
    assert np.linalg.eigvalsh(hollow.hessian)[0] > 0


def test_steps_below_round_off_are_convergence_not_a_search_without_end():
    """A cost rounded to single precision can show no decrease of 1e-7 of it."""
    rng = np.random.default_rng(0)
    rows, data = rng.normal(size=(3, 2000)).astype(np.float32), rng.normal(size=2000)
    start, sd = np.zeros(3), np.ones(3)

    def residual(x):
        return (x.astype(np.float32) @ rows - 30 * data).astype(np.float32)

    minimum = descend(
        Objective(
            lambda x: with_prior(normal_equations(residual(x), rows), x, start, sd),
            lambda x: float(np.float32(0.5 * np.sum(residual(x).astype(float) ** 2) + 0.5 * x @ x)),
        ),
        lambda x, step: x + step,
        np.full(3, 5.0),
        Stopping(6, tolerance=0.0, precision=float(np.finfo(np.float32).eps)),
    )
    assert minimum.converged
    assert minimum.message == "converged"
    exact = np.linalg.solve(rows @ rows.T + np.eye(3), rows @ (30 * data))
    np.testing.assert_allclose(minimum.point, exact, atol=0.02)  # 0.02 is one sd


def test_stuck_is_not_called_converged():
    """Where no step lowers the cost although the slopes promise much, the gradient is wrong."""
    wrong = Normal(1.0, np.array([1.0]), np.array([[1.0]]))
    minimum = descend(
        Objective(lambda x: wrong, lambda x: 1.0 + float(x[0] ** 2)),
        lambda x, s: x + s,
        np.zeros(1),
        Stopping(5),
    )
    assert not minimum.converged
    assert "no step lowers" in minimum.message


def test_normal_equations_keep_weak_directions_in_single_precision():
    """Two columns that differ by 1e-4 of themselves: sums in float32 would lose their difference."""
    rng = np.random.default_rng(1)
    base = rng.normal(size=50_000) * 100
    rows = np.stack([base, base + 0.01 * rng.normal(size=base.size)]).astype(np.float32)
    exact = rows.astype(float)
    hessian = normal_equations(np.zeros(base.size, np.float32), rows).hessian
    expected = np.sum((exact[0] - exact[1]) ** 2)
    assert np.array([1, -1]) @ hessian @ np.array([1, -1]) == pytest.approx(expected, rel=1e-3)


def test_dense_step_is_newtons_without_damping_and_short_with_much():
    normal = Normal(3.0, np.array([2.0, -1.0]), np.diag([4.0, 1.0]))
    step, promised = dense_step(normal, 0.0)
    np.testing.assert_allclose(step, [-0.5, 1.0])
    assert promised == pytest.approx(0.5 * (4 / 4 + 1 / 1))
    assert np.linalg.norm(dense_step(normal, 1e6)[0]) < 1e-4


def test_spreading_a_law_changes_the_flux_in_proportion():
    """D mu and D kappa are linear along the curve, which is tangent to the step."""
    space = family("cahn-hilliard", 5, 2)
    law, theta = space.law, point(space, 2.0, 10.0, 3.0)
    c = np.linspace(0.1, 0.9, 50)
    q = space.names.index("q_0")

    def flux(theta):
        series = np.polynomial.legendre.Legendre([0.0, *theta[:5]])
        mu = np.log(c / (1 - c)) + series(2 * c - 1)
        return np.exp(theta[q]) * np.append(mu, np.exp(theta[-1]))

    step = np.random.default_rng(0).normal(size=space.size)
    step[q], step[-1], step[6:-1] = 0.7, -0.5, 0.0
    once, twice = (flux(law.error_step(space, theta, t * step)) - flux(theta) for t in (0.5, 1.0))
    np.testing.assert_allclose(twice, 2 * once, rtol=1e-9)
    np.testing.assert_allclose(
        law.error_step(space, theta, 1e-6 * step), theta + 1e-6 * step, atol=1e-10
    )
    np.testing.assert_allclose(
        law.long_step(space, theta, 1e-6 * step), theta + 1e-6 * step, atol=1e-10
    )
    # However large the step, D and kappa stay positive and finite.
    assert np.isfinite(flux(law.error_step(space, theta, -20 * step))).all()
    many = law.error_step(space, theta, np.stack([step, 0.5 * step]))
    np.testing.assert_allclose(many[0], law.error_step(space, theta, step))


def test_a_valley_that_promises_more_than_it_gives_is_left():
    """Undamped steps promise 50, every step gives 0.01: what is promised is not to be had."""
    calls = []

    def normal(x):
        calls.append(x)
        return Normal(cost(x), np.array([-0.1]), np.array([[1e-4]]))

    def cost(x):
        return 1000.0 - 0.01 * len(calls) + (1e3 if x[0] > 1 else 0.0)

    found = descend(
        Objective(normal, cost),
        lambda x, step: np.minimum(x + step, 0.5),
        np.zeros(1),
        Stopping(40, tolerance=0.0, resolution=0.2),
    )
    assert found.converged
    assert len(calls) == STALLED_STEPS


def test_the_inverse_stands_scales_and_rounding():
    scales = 10.0 ** np.arange(-8, 9, 4)
    rng = np.random.default_rng(2)
    rows = rng.normal(size=(5, 40))
    plain = rows @ rows.T
    scaled = plain * np.outer(scales, scales)
    expected = np.linalg.inv(plain) / np.outer(scales, scales)
    np.testing.assert_allclose(inverse(scaled), expected, rtol=1e-9)
    along = np.outer(rows[:, 0], rows[:, 0])
    singular = 1e20 * along + np.eye(5)
    found = inverse(singular)
    np.linalg.cholesky(found)
    assert np.isnan(inverse(np.full((2, 2), np.inf))).all()
    step, promised = dense_step(Normal(0.0, np.ones(2), np.ones((2, 2))), 0.0)
    np.testing.assert_allclose(step, -0.5)
    assert promised == pytest.approx(0.5)

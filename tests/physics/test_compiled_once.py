"""Eager solves compile once for each structure, and time stamps of any size serve in single precision."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from phdenoise.grid import Fixed, Grid
from phdenoise.physics import (
    ConstantMobility,
    Fickian,
    Outcome,
    diverged,
    integrate,
    simulate,
    simulate_many,
)
from phdenoise.types import InputError

STAMPS = 1.7e9 + np.array([0.0, 1.0, 2.5, 3.0])


def law(d=1.0):
    return Fickian(ConstantMobility(jnp.asarray(d)))


def box(h=1.0, value=0.2, shape=(4, 5)):
    return Grid(shape, h, ((Fixed(value), Fixed(0.9)), "no-flux"))


def start(shape=(4, 5)):
    return jnp.asarray(0.5 + 0.3 * np.cos(np.arange(20.0)).reshape(shape), jnp.float32)


def many(model, grid, c0, times):
    models = eqx.filter_vmap(lambda d: Fickian(ConstantMobility(d)))(
        model.diffusivity.value * jnp.asarray([1.0, 2.0])
    )
    return simulate_many(models, grid, c0, times, over="laws", substeps=2)  # fmt: skip


SOLVES = {
    "simulate": lambda model, grid, c0, times: simulate(model, grid, c0, times, substeps=2),
    "integrate": lambda model, grid, c0, times: (
        integrate(model, grid, c0, times, rtol=1e-2 * float(model.diffusivity.value)).frames
    ),
    "simulate_many": many,
}


@pytest.mark.parametrize("name", SOLVES)
def test_values_compile_nothing_and_structure_does(name):
    """Counted by JAX itself."""
    compiled = []

    def listener(event, duration, **_):
        if event == "/jax/core/compile/backend_compile_duration":
            compiled.append(event)

    solve, times = SOLVES[name], np.arange(3.0)
    # Made before counting: the arguments themselves come of small programs.
    first, second = (law(0.5), box(), start()), (law(0.7), box(1.5, 0.4), start() - 0.1)
    other = (law(0.7), box(1.5, 0.4, (5, 4)), start((5, 4)))
    solve(*first, times)
    jax.monitoring.register_event_duration_secs_listener(listener)
    try:
        frames = solve(*second, 2 * times)
        assert not compiled
        turned = solve(*other, times)
        assert compiled
    finally:
        jax.monitoring.unregister_event_duration_listener(listener)
    assert np.all(np.isfinite(frames))
    assert turned.shape[-2:] == (5, 4)


def test_time_stamps_are_shifted_before_they_are_rounded():
    model, grid, c0 = law(), box(), start()
    frames = {}
    for times in (STAMPS, STAMPS - STAMPS[0]):
        result = integrate(model, grid, c0, times)
        assert bool(jnp.all(result.valid)), result.explain()
        frames.setdefault("integrate", []).append(result.frames)
        frames.setdefault("simulate", []).append(simulate(model, grid, c0, times, substeps=4))
    for late, soon in frames.values():
        assert late.dtype == jnp.float32
        np.testing.assert_array_equal(late, soon)
        assert float(jnp.abs(late[-1] - c0).max()) > 0.1
    np.testing.assert_allclose(*(f[0] for f in frames.values()), atol=2e-3)


def test_times_that_single_precision_cannot_tell_apart_are_said_to_be_wrong():
    """Inside jit the stamps are rounded before they arrive."""
    model, grid, c0 = law(), box(), start()
    result = jax.jit(integrate)(model, grid, c0, STAMPS)
    assert result.outcome == Outcome.bad_times
    np.testing.assert_array_equal(result.valid, [True, False, False, False])
    assert np.all(np.isfinite(result.frames))
    with pytest.raises(InputError, match="do not increase"):
        result.checked()
    frames = jax.jit(simulate, static_argnames="substeps")(model, grid, c0, STAMPS, substeps=1)
    assert bool(diverged(frames))
    for times in (STAMPS.astype(np.float32), STAMPS[::-1], [0.0, np.nan]):
        for solve in (SOLVES["simulate"], SOLVES["integrate"]):
            with pytest.raises(InputError, match="increase"):
                solve(model, grid, c0, np.asarray(times))


def test_no_frame_that_is_not_finite_is_valid():
    """A law that bursts between two frames."""
    ill = law(-1.0)
    result = integrate(ill, Grid((4, 5), 1.0), start(), np.array([0.0, 1.0, 500.0, 1000.0]))
    assert not bool(result.valid[-1])
    assert np.all(np.isfinite(result.frames))

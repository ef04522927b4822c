"""Advection, anisotropy, a source and D by place are found in movies of an independent solver, with units and intervals."""

from dataclasses import replace

import jax.numpy as jnp
import numpy as np
import pytest
from scipy import ndimage

import phdenoise as ph
from benchmarks import independent_solver as independent
from phdenoise.physics.equations.advected import Advected
from phdenoise.physics.equations.anisotropic import Anisotropic
from phdenoise.physics.equations.base import Law
from phdenoise.physics.equations.blurred import Blurred
from phdenoise.physics.equations.cahn_hilliard import CahnHilliard
from phdenoise.physics.equations.drifting import Drifting
from phdenoise.physics.equations.fickian import Fickian
from phdenoise.physics.equations.heterogeneous import Heterogeneous, wave_numbers
from phdenoise.physics.equations.sourced import Sourced
from phdenoise.physics.free_energies.regular_solution import RegularSolution
from phdenoise.physics.mobility import ConstantMobility

SHAPE, FRAMES = (20, 24), 13
# Pixel (dy, dx) [um] and frame interval [s]; D [um^2/s] is half a pixel squared an interval.
PIXEL, INTERVAL = (0.5, 0.4), 4.0
AREA = PIXEL[0] * PIXEL[1]
D = 0.5 * AREA / INTERVAL
QUICK = ph.FitConfig(
    concentration="as-is", boundary="periodic", windows=2, window_frames=6, field_waves=8
)
# A tenth of a pixel an interval along y, and less along x [um/s].
VELOCITY = (0.1 * PIXEL[0] / INTERVAL, -0.06 * PIXEL[1] / INTERVAL)
RATIO, RATES = 3.0, (0.004 / INTERVAL, -0.02 / INTERVAL)
WAVES = np.array([0.5, -0.4, 0.3])


def place() -> np.ndarray:
    """exp of three cosines [y, x]."""
    y, x = (np.pi * (np.arange(n) + 0.5) / n for n in SHAPE)
    waves = [np.cos(m * y)[:, None] * np.cos(n * x) for m, n in wave_numbers(WAVES.size)]
    return np.exp(np.tensordot(WAVES, waves, axes=1))


MOTIONS = {
    "plain": {},
    "advected": {"velocity": VELOCITY},
    "anisotropic": {"ratio": (np.sqrt(RATIO), 1 / np.sqrt(RATIO))},
    "sourced": {"source": lambda c: RATES[0] + RATES[1] * c},
    "heterogeneous": {"place": place()},
}


def plain() -> Law:
    """Constant D, half of the truth to begin with."""
    return Fickian(ConstantMobility(0.5 * D))


LAWS = {
    "plain": plain,
    "advected": lambda: Advected(plain()),
    "anisotropic": lambda: Anisotropic(plain()),
    "sourced": lambda: Sourced(plain()),
    "heterogeneous": lambda: Heterogeneous(plain(), jnp.zeros(WAVES.size)),
}
TRUTHS = {
    "advected": {"velocity[0]": VELOCITY[0], "velocity[1]": VELOCITY[1]},
    "anisotropic": {"ratio": RATIO},
    "sourced": {"constant": RATES[0], "linear": RATES[1]},
    "heterogeneous": {f"waves[{n}]": z for n, z in enumerate(WAVES)},
}
UNITS = {
    "advected": "um/s",
    "anisotropic": "1",
    "sourced": "1/s",
    "heterogeneous": "1",
}


def movie(effect: str, sigma: float) -> ph.Movie:
    """Diffusion with an effect, and white noise."""
    rng = np.random.default_rng(5)
    wraps = (True, True)
    first = independent.smooth_field(SHAPE, rng, width=2.5, span=(0.1, 0.9), wraps=wraps)
    motion = independent.Motion(lambda c: D + 0 * c, **MOTIONS[effect])
    box = independent.Box(SHAPE, PIXEL, periodic=wraps)
    times = INTERVAL * np.arange(FRAMES)
    frames = independent.solve(motion, box, first, times)
    noisy = frames + sigma * rng.normal(size=frames.shape)
    return ph.Movie.from_array(
        noisy, times=times, pixel_size=PIXEL, length_unit="um", time_unit="s"
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    "effect",
    [
        pytest.param(e, marks=[] if e in ("advected", "sourced") else [pytest.mark.study])
        for e in TRUTHS
    ],
)
def test_an_effect_comes_back_with_its_unit_and_interval(effect):
    result = ph.fit(movie(effect, 0.001), LAWS[effect](), QUICK)
    found = {p.name: p for p in result.parameters}
    truths = TRUTHS[effect] | {"diffusivity.value": D}
    for name, truth in truths.items():
        p = found[name]
        # Noise in the start frames of a fit at face value is not in its sd: five of them.
        assert abs(p.value - truth) < 5 * p.sd + 0.01 * abs(truth), (name, p, truth)
        assert (
            p.sd < 0.2 * max(abs(v) for v in TRUTHS[effect].values()) or name not in TRUTHS[effect]
        )
        low, high = result.intervals[name]
        assert low < p.value < high
    assert {found[name].unit for name in TRUTHS[effect]} == {UNITS[effect]}
    assert found["diffusivity.value"].unit == "um^2/s"
    assert type(result.law) is type(LAWS[effect]())


@pytest.mark.slow
@pytest.mark.parametrize("effect", MOTIONS)
def test_compare_names_the_effect_in_a_clean_movie(effect):
    laws = [make() for make in LAWS.values()]
    verdict = ph.compare(movie(effect, 0.0), laws, QUICK)
    expected = list(LAWS).index(effect)
    assert verdict.law.model == ("fickian" if effect == "plain" else laws[expected].label)


# That each effect is told from the others in a clean movie is the test before.
@pytest.mark.slow
@pytest.mark.parametrize(
    "effect",
    [pytest.param(e, marks=[] if e == "advected" else [pytest.mark.study]) for e in MOTIONS],
)
def test_compare_names_the_effect_in_a_noisy_movie(effect):
    rival = "sourced" if effect == "advected" else "advected"
    laws = [LAWS[name]() for name in dict.fromkeys(("plain", effect, rival))]
    verdict = ph.compare(movie(effect, 0.02), laws, QUICK)
    assert verdict.law.model == ("fickian" if effect == "plain" else LAWS[effect]().label)


@pytest.mark.study
@pytest.mark.slow
@pytest.mark.parametrize("effect", ["drifting", "blurred"])
def test_compare_names_what_images_show_in_a_noisy_movie(effect):
    """A sample that drifts in a closed frame, and interfaces behind a point spread of 1.2 px."""
    rng = np.random.default_rng(5)
    shape, times, drifts = (16, 20), np.arange(12.0), effect == "drifting"
    wraps = (not drifts,) * 2
    box = independent.Box(shape, periodic=wraps)
    if drifts:
        law: Law = Fickian(ConstantMobility(0.2))
        motion, width, span = independent.Motion(lambda c: 0.4 + 0 * c), 2.5, (0.1, 0.9)
    else:
        law = CahnHilliard(RegularSolution(2.5), ConstantMobility(0.5), 1.0)
        potential = independent.regular_solution(2.8)
        motion = independent.Motion(lambda c: 0.8 + 0 * c, potential, 1.5)
        width, span = 2.0, (0.25, 0.75)
    first = independent.smooth_field(shape, rng, width=width, span=span, wraps=wraps)
    frames = independent.solve(motion, box, first, times)
    if drifts:
        moved = [
            ndimage.shift(f, (0.15 * n, -0.1 * n), mode="nearest") for n, f in enumerate(frames)
        ]
        images = np.stack(moved)
    else:
        images = ndimage.gaussian_filter(frames, (0, 1.2, 1.2), mode="wrap")
    noisy = ph.Movie.from_array(images + 0.02 * rng.normal(size=images.shape), times=times)
    seen = Drifting(law) if drifts else Blurred(law)
    settings = replace(QUICK, boundary="no-flux" if drifts else "periodic", field_waves=12)
    chosen = ph.compare(noisy, [law, seen], settings)
    assert chosen.law.model == seen.label
    assert chosen.verdict == "decisive"

"""Laws with an effect more against an independent solver, and their symmetries."""

import jax.numpy as jnp
import numpy as np
import pytest
from scipy import ndimage

from benchmarks import independent_solver as independent
from phdenoise.grid import Fixed, Flux, Grid
from phdenoise.physics.equations.advected import Advected
from phdenoise.physics.equations.allen_cahn import AllenCahn
from phdenoise.physics.equations.anisotropic import Anisotropic
from phdenoise.physics.equations.base import Law
from phdenoise.physics.equations.blurred import REACH, Blurred
from phdenoise.physics.equations.cahn_hilliard import CahnHilliard
from phdenoise.physics.equations.drifting import Drifting
from phdenoise.physics.equations.fickian import Fickian
from phdenoise.physics.equations.heterogeneous import Heterogeneous
from phdenoise.physics.equations.sourced import Sourced
from phdenoise.physics.free_energies.regular_solution import RegularSolution
from phdenoise.physics.law_parameters import free_parameters
from phdenoise.physics.mobility import ConstantMobility, LegendreMobility
from phdenoise.physics.simulate import simulate

SHAPE, SPACING = (12, 16), (1.2, 0.9)
TIMES = np.linspace(0.0, 4.0, 3)
WAVES = np.array([0.4, -0.3, 0.2, 0.1, -0.1])
# Ω [kT], κ [kT length²], and the largest difference from the independent solver [concentration]: both integrate the same
# differences in space, ours with steps of fourth order.
OMEGA, KAPPA, SAME = 2.6, 1.5, 2e-6


def mobility(c: np.ndarray) -> np.ndarray:
    """The mobility of `law` [length²/time]."""
    return 0.4 * np.exp(0.5 * (2 * c - 1))


def law(kind: type[Law] = Fickian) -> Law:
    """A law with that mobility."""
    moves = LegendreMobility(jnp.asarray([np.log(0.4), 0.5]))
    return (
        Fickian(moves)
        if kind is Fickian
        else kind(RegularSolution(OMEGA), moves, jnp.asarray(KAPPA))
    )


def motion(kind: type[Law] = Fickian, **more: object) -> independent.Motion:
    """The same law for the independent solver."""
    if kind is Fickian:
        return independent.Motion(mobility, **more)
    potential = independent.regular_solution(OMEGA)
    return independent.Motion(mobility, potential, KAPPA, kind is AllenCahn, **more)


def first(periodic: bool) -> np.ndarray:
    """A smooth field [y, x]."""
    rng = np.random.default_rng(3)
    return independent.smooth_field(
        SHAPE, rng, width=2.0, span=(0.2, 0.7), wraps=(periodic, periodic)
    )


def place(shape: tuple[int, int]) -> np.ndarray:
    """exp of the first cosines of a frame, by hand [y, x]."""
    y, x = (np.pi * (np.arange(n) + 0.5) / n for n in shape)
    y, x = y[:, None], x[None]
    waves = [np.cos(x) + 0 * y, np.cos(y) + 0 * x, np.cos(y) * np.cos(x)]
    waves += [np.cos(2 * x) + 0 * y, np.cos(2 * y) + 0 * x]
    return np.exp(np.tensordot(WAVES, waves, axes=1))


EFFECTS = {
    "advected": (lambda m: Advected(m, (0.15, -0.1)), {"velocity": (0.15, -0.1)}),
    "anisotropic": (lambda m: Anisotropic(m, 2.25), {"ratio": (1.5, 1 / 1.5)}),
    "sourced": (lambda m: Sourced(m, 0.02, -0.05), {"source": lambda c: 0.02 - 0.05 * c}),
    "heterogeneous": (lambda m: Heterogeneous(m, WAVES), {"place": place(SHAPE)}),
}


def compared(model: Law, grid: Grid, moved: independent.Motion, box: independent.Box) -> float:
    """Largest difference between both solvers at the last time, inside the domain."""
    start = first(box.periodic[0])
    # Under a mask the stepper is of second order, elsewhere of fourth.
    substeps = 64 if grid.mask is None else 400
    ours = simulate(model, grid, jnp.asarray(start), TIMES, substeps=substeps)
    truth = independent.solve(moved, box, start, TIMES)
    assert np.abs(truth[-1] - start)[box.inside].max() > 0.05
    return float(np.abs(np.asarray(ours)[-1] - truth[-1])[box.inside].max())


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize(
    ("effect", "edges"),
    [
        ("advected", "periodic"),
        ("advected", "held"),
        ("advected", "fed"),
        ("advected", "mask"),
        ("anisotropic", "fed"),
        ("anisotropic", "mask"),
        ("sourced", "mask"),
        ("heterogeneous", "held"),
        ("heterogeneous", "mask"),
    ],
)
def test_diffusion_with_an_effect_is_that_of_an_independent_solver(effect, edges):
    make, more = EFFECTS[effect]
    boundary = {
        "periodic": "periodic",
        "held": ["no-flux", (Fixed(0.85), "no-flux")],
        "fed": [("no-flux", Flux(0.03)), "no-flux"],
    }.get(edges, "no-flux")
    walls = {
        "held": {"left": independent.Held(0.85)},
        "fed": {"bottom": independent.Fed(0.03)},
    }.get(edges, {})
    y, x = np.indices(SHAPE)
    mask = np.hypot(y - 5.5, x - 7.5) < 5.5 if edges == "mask" else None
    grid = Grid(SHAPE, SPACING, boundary, mask)
    box = independent.Box(SHAPE, SPACING, mask, (edges == "periodic",) * 2, walls)
    assert compared(make(law()), grid, motion(**more), box) < SAME


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize(
    ("kind", "effect"),
    [
        (CahnHilliard, "advected"),
        (CahnHilliard, "heterogeneous"),
        (AllenCahn, "sourced"),
        (AllenCahn, "heterogeneous"),
    ],
)
def test_other_laws_take_the_same_effects(kind, effect):
    make, more = EFFECTS[effect]
    grid = Grid(SHAPE, SPACING, "periodic")
    box = independent.Box(SHAPE, SPACING, periodic=(True, True))
    assert compared(make(law(kind)), grid, motion(kind, **more), box) < SAME


@pytest.mark.usefixtures("x64")
def test_the_names_of_the_law_stay_and_the_effects_are_added():
    model = Advected(Anisotropic(law(CahnHilliard), 2), (0, 0.1))
    names = free_parameters(model).names
    energy = ("free_energy.omega", "q_0", "q_1", "ln_kappa")
    assert names == (*energy, "ln_ratio", "velocity[0]", "velocity[1]")
    held = Advected(law(CahnHilliard), (0.0, 0.1), fixed=("kappa", "velocity"))
    assert free_parameters(held).names == energy[:3]
    inner = Sourced(Fickian(ConstantMobility(0.3), fixed=("diffusivity",)), fixed=("linear",))
    assert free_parameters(inner).names == ("constant",)
    assert model.label == "advected anisotropic cahn-hilliard"
    assert model.title == "Cahn-Hilliard with D_y/D_x free with advection"
    assert model.conserved
    assert model.own_width


@pytest.mark.usefixtures("x64")
def test_turned_axes_turn_the_ratio_and_the_velocity():
    """The transposed field moves by 1/r and (v_x, v_y)."""
    c, t = jnp.asarray(first(periodic=False)), jnp.zeros(())
    grid, turned = Grid(SHAPE, SPACING, "no-flux"), Grid(SHAPE[::-1], SPACING[::-1], "no-flux")
    here = Advected(Anisotropic(law(CahnHilliard), 2.0), (0.1, -0.2)).rhs(t, c, grid)
    there = Advected(Anisotropic(law(CahnHilliard), 0.5), (-0.2, 0.1)).rhs(t, c.T, turned)
    np.testing.assert_allclose(here, there.T, atol=1e-12)


@pytest.mark.usefixtures("x64")
def test_without_its_effect_a_law_is_itself():
    c, t = jnp.asarray(first(periodic=True)), jnp.zeros(())
    grid = Grid(SHAPE, SPACING, "periodic")
    for kind in (Fickian, CahnHilliard, AllenCahn):
        plain = law(kind)
        for extended in (Advected, Anisotropic, Sourced, Heterogeneous, Blurred, Drifting):
            same = extended(plain)
            np.testing.assert_allclose(same.rhs(t, c, grid), plain.rhs(t, c, grid), atol=1e-13)
            radius = float(same.spectral_radius(c, grid) / plain.spectral_radius(c, grid))
            assert radius == pytest.approx(1.0)


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("periodic", [True, False])
def test_images_are_blurred_as_scipy_blurs(periodic):
    grid = Grid(SHAPE, SPACING, "periodic" if periodic else "no-flux")
    field = np.stack([first(periodic), first(not periodic)])
    width = 1.1
    images = Blurred(law(), width).seen(jnp.asarray(field), jnp.arange(2.0), grid)
    cells = [0.0, *(width / np.asarray(SPACING))]
    mode = "wrap" if periodic else "reflect"
    expected = ndimage.gaussian_filter(field, cells, mode=mode, radius=[0, REACH, REACH])
    np.testing.assert_allclose(images, expected, atol=1e-12)


@pytest.mark.usefixtures("x64")
def test_the_blur_of_a_particle_does_not_see_outside():
    y, x = np.indices(SHAPE)
    mask = np.hypot(y - 5.5, x - 7.5) < 5.5
    grid = Grid(SHAPE, SPACING, "no-flux", mask)
    field = jnp.asarray(np.where(mask, 0.6, 0.0))[None]
    images = Blurred(law(), 1.1).seen(field, jnp.zeros(1), grid)
    np.testing.assert_allclose(images, field, atol=1e-12)


@pytest.mark.usefixtures("x64")
def test_images_drift_by_whole_cells_exactly_and_by_parts_smoothly():
    times = jnp.asarray([3.0, 4.0, 5.0])
    grid = Grid(SHAPE, SPACING, "periodic")
    field = np.stack([first(periodic=True)] * 3)
    images = Drifting(law(), (2 * SPACING[0], -SPACING[1])).seen(jnp.asarray(field), times, grid)
    for n, image in enumerate(images):
        np.testing.assert_allclose(image, np.roll(field[n], (2 * n, -n), (0, 1)), atol=1e-12)
    # A wave of 16 cells by a part of a cell, with closed edges: exact but for (2π/16)⁴/20 and the edge cells.
    x = 2 * np.pi / SHAPE[1] * (np.arange(SHAPE[1]) + 0.5)
    wave = np.broadcast_to(np.cos(x), (3, *SHAPE))
    closed = Grid(SHAPE, SPACING, "no-flux")
    image = Drifting(law(), (0.0, 0.3 * SPACING[1])).seen(jnp.asarray(wave), times, closed)[2]
    moved = np.broadcast_to(np.cos(x - 0.6 * 2 * np.pi / SHAPE[1]), SHAPE)
    np.testing.assert_allclose(image[:, 2:-2], moved[:, 2:-2], atol=2e-3)


@pytest.mark.usefixtures("x64")
def test_a_drift_in_a_periodic_box_is_an_advection():
    grid, start = Grid(SHAPE, SPACING, "periodic"), jnp.asarray(first(periodic=True))
    velocity = (0.12, -0.08)
    carried = simulate(Advected(law(), velocity), grid, start, TIMES, substeps=16)
    model = Drifting(law(), velocity)
    seen = model.seen(simulate(model, grid, start, TIMES, substeps=16), jnp.asarray(TIMES), grid)
    still = simulate(law(), grid, start, TIMES, substeps=16)
    # Both but for errors of second and third order in the cell.
    assert np.abs(seen - carried).max() < 0.1 * np.abs(still - carried).max()

"""Structures, scenes and data sets: densities, facets, defects, the same scene twice, a set that resumes."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.spatial import cKDTree

from phdenoise.modalities.tem.dataset import DatasetConfig, make_dataset, read_dataset
from phdenoise.modalities.tem.simulate import (
    Fluctuations,
    Layer,
    Optics,
    Scene,
    atoms_of,
    counts_of,
    simulate,
    simulate_movie,
)
from phdenoise.modalities.tem.structures import (
    CRYSTALS,
    Defects,
    Orientation,
    Particle,
    Support,
    particle_atoms,
    support_atoms,
)
from phdenoise.modalities.tem.variety import Variety, random_scene
from phdenoise.types import InputError

SMALL = Scene(
    particles=(Particle(radius=7.0, centre=(10.0, 9.0, 13.0)),),
    supports=(Support(surface=15.0, thickness=16.0),),
    shape=(56, 56),
    slices=10,
)


@pytest.mark.parametrize("name", sorted(CRYSTALS))
def test_density_and_composition_of_every_crystal(name):
    crystal = CRYSTALS[name]
    # Askew, so that no plane of atoms lies in a face of the box.
    askew = Orientation((1, 1, 0), (0, 0, 1), (3.0, 5.0), 17.0)
    support = Support(name, askew, surface=-1.0, thickness=60.0)
    atoms = support_atoms(support, (60.0, 60.0), np.random.default_rng(0))
    volume = float(np.prod(crystal.cell))
    for element, basis in crystal.basis.items():
        expected = len(basis) / volume * 60**3
        assert atoms.symbols.count(element) == pytest.approx(expected, rel=0.05)
    nearest = cKDTree(atoms.positions).query(atoms.positions, k=2)[0][:, 1]
    assert nearest.min() > 1.5


def test_orientation_is_a_rotation_that_puts_the_zone_along_the_beam():
    turn = Orientation((1, 1, 0), (1, -1, 1), in_plane=30.0).matrix()
    np.testing.assert_allclose(turn @ turn.T, np.eye(3), atol=1e-12)
    np.testing.assert_allclose(turn @ np.array([1, 1, 0]) / np.sqrt(2), [1, 0, 0], atol=1e-12)
    with pytest.raises(InputError, match="another direction"):
        Orientation((1, 0, 0), (1, 0, 0)).matrix()


def test_atoms_of_a_particle_lie_within_its_facets():
    particle = Particle(radius=10.0, centre=(20.0, 20.0, 20.0))
    atoms = particle_atoms(particle, Defects(), np.random.default_rng(0))
    away = (atoms.positions - 20.0) @ particle.orientation.matrix()
    normal = np.array([1, 1, 1]) / np.sqrt(3)
    assert (away @ normal).max() <= 10.0 + 1e-9
    assert np.abs(away[:, 0]).max() <= 11.5 + 1e-9
    # A bulk atom has twelve neighbours at a/sqrt(2).
    tree = cKDTree(atoms.positions)
    number = [len(n) - 1 for n in tree.query_ball_point(atoms.positions, 1.05 * 3.924 / np.sqrt(2))]
    assert max(number) == 12


def test_defects_change_only_the_surface():
    particle = Particle(radius=10.0, centre=(20.0, 20.0, 20.0))
    whole = particle_atoms(particle, Defects(), np.random.default_rng(0))
    places = {tuple(np.round(p, 3)) for p in whole.positions}
    for defects, fewer, more in (
        (Defects(vacancies=0.5), True, False),
        (Defects(adatoms=0.3), False, True),
        (Defects(step=True), True, False),
    ):
        atoms = particle_atoms(particle, defects, np.random.default_rng(0))
        here = {tuple(np.round(p, 3)) for p in atoms.positions}
        assert bool(places - here) == fewer, defects
        assert bool(here - places) == more, defects
        inner = np.linalg.norm(np.asarray(sorted(places - here) or [[99, 99, 99]]) - 20.0, axis=1)
        assert inner.min() > 5.0


def test_particle_gives_way_to_its_support():
    atoms = atoms_of(SMALL)
    platinum = np.asarray([s == "Pt" for s in atoms.symbols])
    assert platinum.any()
    assert not platinum.all()
    assert cKDTree(atoms.positions[platinum]).query(atoms.positions[~platinum])[0].min() > 1.0
    with pytest.raises(InputError, match="empty"):
        atoms_of(replace(SMALL, particles=(), supports=()))
    with pytest.raises(InputError, match="Unknown crystal"):
        atoms_of(replace(SMALL, supports=(Support("cheese"),)))


def test_vacuum_is_one_and_matter_is_not():
    seen = simulate(replace(SMALL, layers=()))
    assert seen.shape == SMALL.shape
    # Away from the particle, fringes of the delocalised waves remain.
    empty = (slice(6, 14), slice(0, 8))
    assert np.median(seen[empty]) == pytest.approx(1.0, abs=0.03)
    assert seen[40:].std() > 5 * seen[empty].std()
    under = simulate(replace(SMALL, layers=(Layer("C", 8.0),)))
    assert under[empty].std() > seen[empty].std()


def test_defocus_turns_the_contrast():
    white, black = (
        simulate(replace(SMALL, optics=Optics(defocus=d, spherical=0.0))) - 1 for d in (60.0, -60.0)
    )
    assert np.corrcoef(white[40:].ravel(), black[40:].ravel())[0, 1] < -0.3


def test_same_scene_same_image_and_other_seed_other_image():
    scenes = [random_scene(Variety(pixels=48), k) for k in (3, 3, 4)]
    assert scenes[0] == scenes[1] != scenes[2]
    assert scenes[0] != random_scene(Variety(pixels=48, seed=1), 3)


def test_random_scenes_are_as_varied_as_said():
    variety = Variety()
    scenes = [random_scene(variety, k) for k in range(200)]
    assert {s.supports[0].material for s in scenes if s.supports} == set(variety.supports)
    assert {p.crystal for s in scenes for p in s.particles} == set(variety.particles)
    sizes = [s.pixel_size for s in scenes]
    assert variety.pixel_size[0] <= min(sizes) < 0.32
    assert variety.pixel_size[1] >= max(sizes) > 0.48


def test_counts_have_the_mean_and_variance_of_the_dose():
    counts = counts_of(np.ones((400, 400)), dose=50.0, pixel_size=0.4, rng=np.random.default_rng(0))
    assert counts.mean() == pytest.approx(8.0, rel=0.01)
    assert counts.var() == pytest.approx(8.0, rel=0.02)


def test_movie_moves_and_surface_columns_come_and_go():
    scene = replace(SMALL, shape=(40, 40), supports=(), slices=8)
    still = Fluctuations(frames=3, leave=0.0, arrive=1.0, mobile=0.0)
    frames, states = simulate_movie(scene, still)
    np.testing.assert_allclose(frames[1], frames[0], atol=1e-6)
    assert states.all()
    drift = replace(still, drift=(0.0, scene.pixel_size))
    moved, _ = simulate_movie(scene, drift)
    np.testing.assert_allclose(moved[1][:, 6:-6], moved[0][:, 5:-7], atol=1e-3)
    changing, states = simulate_movie(
        scene, Fluctuations(frames=3, leave=0.5, arrive=0.5, mobile=1.0)
    )
    assert states.shape[1] > 5
    assert 0.2 < states.mean() < 0.8
    assert np.abs(changing[1] - changing[0]).max() > 0.01


def test_dataset_resumes_and_is_named_by_its_configuration(tmp_path, monkeypatch):
    import phdenoise.modalities.tem.dataset as module

    monkeypatch.setattr(module, "_PART", 1)
    variety = Variety(pixels=24, radius=(4.0, 5.0), depth=(6.0, 8.0))
    config = DatasetConfig(scenes=2, optics=2, variety=variety)
    home = make_dataset(config, tmp_path)
    assert home.name == f"tem_{config.identity()}"
    before = {p.name: p.stat().st_mtime_ns for p in home.glob("*.h5")}
    make_dataset(replace(config, scenes=3), tmp_path)
    after = {p.name: p.stat().st_mtime_ns for p in home.glob("*.h5")}
    assert len(after) == 3
    assert all(after[name] == before[name] for name in before)
    pictures, sizes = read_dataset(home)
    assert pictures.shape == (3, 2, 24, 24)
    assert np.isfinite(pictures).all()
    assert len(set(sizes.tolist())) == 3
    assert DatasetConfig(optics=3, variety=variety).identity() != config.identity()
    with pytest.raises(InputError, match="no simulated images"):
        read_dataset(tmp_path)

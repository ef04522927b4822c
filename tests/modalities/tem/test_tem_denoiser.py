"""Counts denoised: units, bins, tiles, calibration, gains, equivalent filters."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from phdenoise.modalities.tem.binning import bin_factor, bin_sums, measure_vacuum, spread_back
from phdenoise.modalities.tem.denoiser import (
    SYMMETRIES,
    denoise_counts,
    in_tiles,
    oriented,
    restored,
    symmetric,
)
from phdenoise.modalities.tem.filters import tem_filters
from phdenoise.modalities.tem.gain_tuning import (
    GainTuning,
    pure_loss,
    tune_gains,
    with_gains,
)
from phdenoise.modalities.tem.movie import MovieConfig, denoise_movie, pooled
from phdenoise.modalities.tem.network import (
    NetworkConfig,
    build_network,
    load_network,
    local_wiener,
    refining,
    save_network,
    unit_gains,
)
from phdenoise.types import InputError

TINY = NetworkConfig(scales=2, widths=(8, 8), windows=(8,))


def _wiener():
    """A small network whose answer is the Wiener filter alone: it is compiled quickly."""
    network = build_network(TINY, 0)
    return eqx.tree_at(lambda n: n.mean, network, 0 * network.mean)


def _lattice(shape=(96, 96), period=6.0, amplitude=0.3, vacuum=True):
    y, x = np.indices(shape)
    wave = np.cos(2 * np.pi * x / period) * np.cos(2 * np.pi * y / period)
    return 1 + amplitude * wave * ((y > shape[0] // 2) if vacuum else 1)


def test_sums_and_the_way_back_keep_counts_and_smooth_images():
    rng = np.random.default_rng(0)
    counts = rng.poisson(0.5, (1, 77, 90)).astype(float)
    bins = bin_sums(counts, 8, (0, 0), 1)
    assert bins[0, :9, :11].sum() == counts[0, :72, :88].sum()
    back = spread_back(bins, 8, (0, 0), (77, 90))
    again = back[0, :72, :88].reshape(9, 8, 11, 8).sum((1, 3))
    np.testing.assert_allclose(again, bins[0, :9, :11], atol=1e-6)
    # A lattice of eight bins a period comes back to a part in a thousand.
    clean = _lattice((160, 160), period=64.0, vacuum=False)[None]
    for offset in ((0, 0), (4, 3)):
        fine = spread_back(bin_sums(clean, 8, offset, 1), 8, offset, (160, 160))
        assert np.abs(fine - clean)[0, 16:-16, 16:-16].max() < 1e-3


def test_pixel_size_decides_the_bins_and_nonsense_is_refused():
    assert [bin_factor(p) for p in (0.049, 0.1, 0.2, 0.3, 0.5)] == [8, 4, 2, 1, 1]
    for wrong in (0.0, -1.0, 5.0):
        with pytest.raises(InputError, match="angstrom"):
            bin_factor(wrong)
    with pytest.raises(InputError, match="finite"):
        denoise_counts(np.full((32, 32), -1.0), pixel_size=0.4)
    with pytest.raises(InputError, match="shape"):
        denoise_counts(np.ones(32), pixel_size=0.4)


@pytest.mark.parametrize("level", [0.45, 3.0])
def test_vacuum_is_measured_beside_a_lattice(level):
    rng = np.random.default_rng(1)
    clean = _lattice((400, 400), period=48.0)
    clean[200:] *= 0.9
    found = measure_vacuum(rng.poisson(level * clean)[None].astype(float), 0.05)
    assert found == pytest.approx(level, rel=0.02)


def test_wiener_filter_keeps_a_lattice_and_removes_noise():
    rng = np.random.default_rng(0)
    clean = 3 * (_lattice(vacuum=False) - 1) / 0.3
    noise = rng.standard_normal(clean.shape)
    out = np.asarray(local_wiener(jnp.asarray(clean + noise, jnp.float32)[None], 32))[0]
    assert np.mean((out - clean) ** 2) < 0.05
    only = np.asarray(local_wiener(jnp.asarray(noise, jnp.float32)[None], 32))[0]
    assert np.mean(only**2) < 0.05


def test_orientations_are_undone():
    frame = jnp.arange(12.0).reshape(3, 4)
    seen = {tuple(np.asarray(oriented(frame, k)).ravel()) for k in range(SYMMETRIES)}
    assert len(seen) == SYMMETRIES
    for k in range(SYMMETRIES):
        np.testing.assert_array_equal(restored(oriented(frame, k), k), frame)


def test_whole_frame_and_tiles_agree():
    network = build_network(TINY, 0)
    z = jnp.asarray(np.random.default_rng(0).standard_normal((48, 160)), jnp.float32)
    whole = symmetric(network, z)
    for name, one, other in zip(("mean", "sd"), whole, in_tiles(network, z, tile=48), strict=True):
        np.testing.assert_allclose(one, other, atol=2e-5, err_msg=name)
    with pytest.raises(InputError, match="multiple"):
        in_tiles(network, z, tile=33)


def test_nothing_depends_on_pixels_beyond_the_radius():
    network = build_network(TINY, 0)
    z = jnp.asarray(np.random.default_rng(0).standard_normal((128, 128)), jnp.float32)
    row = jax.jit(jax.grad(lambda s: network(s[None])[0][0, 64, 64]))(z)
    y, x = np.nonzero(np.asarray(row))
    reach = max(np.abs(y - 64).max(), np.abs(x - 64).max())
    assert 0 < reach <= TINY.radius


@pytest.mark.slow
def test_refining_network_starts_from_the_first_and_sees_further():
    first = build_network(NetworkConfig(scales=2, widths=(8, 8), windows=(8, 16)), 0)
    second = refining(first)
    z = jnp.asarray(np.random.default_rng(0).standard_normal((1, 64, 64)), jnp.float32)
    np.testing.assert_array_equal(second.starts(z)[0], first(z)[0])
    assert second.config.radius > first.config.radius
    # A pilot that is the truth is a better Wiener filter than the noise's own spectrum.
    clean = jnp.asarray(3 * (_lattice((64, 64), vacuum=False) - 1) / 0.3, jnp.float32)[None]
    alone, helped = local_wiener(clean + z, 32), local_wiener(clean + z, 32, clean)
    assert jnp.mean((helped - clean) ** 2) < jnp.mean((alone - clean) ** 2)
    with pytest.raises(InputError, match="two windows"):
        refining(build_network(TINY, 0))


def test_network_without_windows_is_scale_equivariant():
    network = build_network(NetworkConfig(scales=2, widths=(8, 8), windows=()), 0)
    z = jnp.asarray(np.random.default_rng(0).standard_normal((1, 32, 32)), jnp.float32)
    np.testing.assert_allclose(network(2 * z)[0], 2 * network(z)[0], rtol=1e-4, atol=1e-5)


def test_weights_and_their_record_survive_a_file(tmp_path):
    network = build_network(TINY, 3)
    save_network(tmp_path / "a.npz", network, {"seed": 3})
    again, record = load_network(tmp_path / "a.npz")
    assert record == {"seed": 3}
    z = jnp.asarray(np.random.default_rng(0).standard_normal((1, 32, 32)), jnp.float32)
    np.testing.assert_allclose(network(z)[0], again(z)[0], atol=5e-3)
    with pytest.raises(InputError, match="does not exist"):
        load_network(tmp_path / "b.npz")


def test_mean_level_is_kept_at_any_dose():
    rng = np.random.default_rng(0)
    for level in (0.05, 0.45, 20.0):
        counts = rng.poisson(level, (120, 130)).astype(float)
        out = denoise_counts(counts, pixel_size=0.1, network=_wiener())
        assert out.mean.shape == out.sd.shape == counts.shape
        assert float(out.mean.mean()) == pytest.approx(counts.mean(), rel=0.01)
        assert (out.sd > 0).all()
        assert out.vacuum == pytest.approx(level, rel=0.1)


def test_movie_is_its_frames():
    counts = np.random.default_rng(0).poisson(0.5 * _lattice((64, 72)), (2, 64, 72)).astype(float)
    network = _wiener()
    movie = denoise_counts(counts, pixel_size=0.2, vacuum=0.5, network=network)
    for k in range(2):
        one = denoise_counts(counts[k], pixel_size=0.2, vacuum=0.5, network=network)
        np.testing.assert_allclose(movie.mean[k], one.mean, atol=1e-5)


def test_movie_at_rest_gains_and_a_change_is_kept():
    rng = np.random.default_rng(0)
    network = _wiener()
    truth = np.repeat(20 * _lattice((48, 48))[None], 7, axis=0)
    truth[4:, 30:36, 8:40] = 20.0
    counts = rng.poisson(truth).astype(float)
    single = denoise_counts(counts, pixel_size=0.4, network=network).mean
    movie = denoise_movie(counts, pixel_size=0.4, network=network)
    rest = (slice(None), slice(0, 24))
    assert np.mean((movie.mean - truth)[rest] ** 2) < 0.7 * np.mean((single - truth)[rest] ** 2)
    changed = (slice(3, 5), slice(31, 35), slice(12, 36))
    off = np.mean((movie.mean - truth)[changed] ** 2)
    assert off < 1.3 * np.mean((single - truth)[changed] ** 2)
    with pytest.raises(InputError, match="grow"):
        MovieConfig(windows=(1, 2))


def test_sums_of_frames_keep_counts_and_know_their_number():
    frames = np.arange(10.0)[:, None, None] * np.ones((1, 2, 2))
    sums, number = pooled(frames, 2)
    assert number[:, 0, 0].tolist() == [3, 4, 5, 5, 5, 5, 5, 5, 4, 3]
    assert sums[0, 0, 0] == 0 + 1 + 2
    assert sums[5, 0, 0] == 3 + 4 + 5 + 6 + 7
    np.testing.assert_array_equal(pooled(frames, 0)[0], frames)


@pytest.mark.slow
def test_shipped_network_beats_a_gaussian_and_knows_its_error():
    from scipy.ndimage import gaussian_filter

    rng = np.random.default_rng(0)
    truth = 30 * _lattice((120, 120), period=6.5, amplitude=0.35)
    counts = rng.poisson(truth).astype(float)
    out = denoise_counts(counts, pixel_size=0.4)
    error = np.mean((out.mean - truth) ** 2)
    best = min(np.mean((gaussian_filter(counts, s) - truth) ** 2) for s in (0.6, 0.8, 1.0, 1.3))
    assert error < 0.5 * best
    assert 0.3 < error / np.mean(out.sd**2) < 2.0


def test_pure_is_the_squared_error():
    network = build_network(TINY, 0)
    truth = jnp.asarray(20 * _lattice((48, 48)), jnp.float32)

    @jax.jit
    def _difference(key):
        counts = jax.random.poisson(key, truth).astype(jnp.float32)
        m = counts.mean()
        estimate = network((counts - m)[None] / jnp.sqrt(m))[0][0] * jnp.sqrt(m) + m
        known = jnp.mean((estimate - truth) ** 2) / m
        claimed = pure_loss(network, unit_gains(network), counts, jax.random.fold_in(key, 1))
        return claimed - known

    off = np.asarray([_difference(jax.random.key(k)) for k in range(60)])
    assert abs(off.mean()) < 3 * off.std() / np.sqrt(len(off)) + 0.005
    assert off.std() / np.sqrt(len(off)) < 0.02


def test_gains_in_kernels_are_gains_beside_them():
    network = build_network(TINY, 0)
    gains = jax.tree.map(lambda g: g * jnp.linspace(0.8, 1.2, g.size), unit_gains(network))
    z = jnp.asarray(np.random.default_rng(0).standard_normal((1, 32, 32)), jnp.float32)
    np.testing.assert_allclose(network(z, gains)[0], with_gains(network, gains)(z)[0], atol=1e-5)


@pytest.mark.parametrize("loss", ["pure", "resampling", "blind_spot"])
def test_every_loss_runs_and_one_fold_is_refused(loss):
    counts = np.random.default_rng(0).poisson(20 * _lattice((48, 48))).astype(float)
    found = tune_gains(
        build_network(TINY, 0),
        counts,
        pixel_size=0.4,
        config=GainTuning(loss=loss, steps=2, folds=2),
    )
    assert np.isfinite(found.gain)
    assert "gain tuning" in str(found)
    with pytest.raises(InputError, match="folds"):
        GainTuning(folds=1)


@pytest.mark.study
@pytest.mark.slow
def test_tuning_repairs_a_spoiled_network_and_leaves_a_useless_step_alone():
    rng = np.random.default_rng(0)
    truth = 30 * _lattice((64, 64), period=6.5, amplitude=0.35)
    counts = rng.poisson(truth).astype(float)
    network = load_network()[0]
    spoiled = eqx.tree_at(lambda n: n.up[0][1], network, 3.0 * network.up[0][1])
    config = GainTuning(loss="pure", steps=10, folds=2)
    found = tune_gains(spoiled, counts, pixel_size=0.4, config=config)
    before, after = (
        np.mean((denoise_counts(counts, pixel_size=0.4, network=n).mean - truth) ** 2)
        for n in (spoiled, found.network)
    )
    assert found.applied
    assert after < before
    # Steps of no size cannot lower the error, so that the rule must say no.
    left = tune_gains(
        network, counts, pixel_size=0.4, config=GainTuning(steps=5, rate=0.0, folds=2)
    )
    assert not left.applied
    assert left.network is network


@pytest.mark.study
@pytest.mark.slow
def test_equivalent_filter_keeps_intensities_and_predicts_a_small_change():
    rng = np.random.default_rng(0)
    counts = rng.poisson(30 * _lattice((64, 64))).astype(float)
    found = tem_filters(counts, [(10, 30), (50, 30)], pixel_size=0.4)
    for f in found:
        assert f.bin == f.pixel
        assert f.radius > 0.4
        assert f.effective > 3
    lattice = found[1].weights
    assert np.unravel_index(np.argmax(lattice), lattice.shape) == (50, 30)
    with pytest.raises(InputError, match="outside"):
        tem_filters(counts, [(99, 0)], pixel_size=0.4)

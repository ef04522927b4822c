"""A network of the user's own, defined here and not in the package, denoises a movie through the public verb."""

import inspect
from pathlib import Path

import flax.nnx as nnx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

import phdenoise as ph


# --- the user's network ---
class HollowNetwork(nnx.Module):
    """Weighs the linear predictions of the other frames, and the frame's pixels around the hidden one."""

    radius = 2
    window = 2

    def __init__(self, rngs):
        self.hollow = nnx.Param(0.1 * jax.random.normal(rngs.params(), (5, 5, 1, 8)))
        self.mix = nnx.Conv(14 + 8, 16, (1, 1), rngs=rngs)
        self.out = nnx.Conv(16, 2, (1, 1), kernel_init=nnx.initializers.zeros, rngs=rngs)

    def __call__(self, context, centre, seen):
        best = context[..., -1]
        around = ((centre - best) * seen)[..., None]
        kernel = self.hollow[...].at[2, 2].set(0.0)
        around = jax.lax.conv_general_dilated(
            around, kernel, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
        )
        features = jnp.concatenate([context, around], axis=-1)
        out = self.out(nnx.relu(self.mix(features)))
        return best + out[..., 0], 0.2 * nnx.softplus(out[..., 1])


# --- end of the user's network ---


def movie():
    """A smooth scene that drifts, and the same with white noise."""
    t, y, x = np.mgrid[:10, :32, :32].astype(np.float32)
    clean = np.sin((x - 0.4 * t) / 3) * np.cos((y + 0.2 * t) / 4)
    noise = 0.4 * np.random.default_rng(0).standard_normal(clean.shape)
    return clean, ph.Movie.from_array((clean + noise).astype(np.float32))


def psnr(clean, other):
    return 10 * np.log10(np.ptp(clean) ** 2 / np.mean((clean - other) ** 2))


CONFIG = ph.DenoiseConfig(preset="quick", steps=150, symmetries=2, crop=32)


@pytest.fixture(scope="module")
def result():
    clean, noisy = movie()
    network = HollowNetwork(nnx.Rngs(0))
    return clean, network, ph.denoise(noisy, CONFIG, network=network)


def test_it_denoises_better_than_a_filter_that_knows_the_truth(result):
    clean, _, estimate = result
    noisy = estimate.movie.frames
    best = max(psnr(clean, gaussian_filter(noisy, (0, s, s))) for s in (0.5, 0.8, 1.1, 1.5, 2.0))
    assert psnr(clean, estimate.mean) > psnr(clean, noisy) + 6
    assert psnr(clean, estimate.mean) > best
    inside = np.abs(estimate.mean - clean) < 1.645 * np.sqrt(estimate.variance)
    assert 0.8 < inside.mean() < 0.98
    assert estimate.blind_mean is not None
    assert estimate.trust


def test_its_weights_are_in_the_estimate(result, tmp_path):
    """Written to a file, read again, and rebuilt with the same module."""
    _, network, estimate = result
    ph.write(estimate, tmp_path / "denoised.h5")
    stored = ph.io.read_estimate(tmp_path / "denoised.h5")
    again = ph.networks.from_settings(stored.weights, stored.settings)
    frames = estimate.movie.frames
    blind = ph.networks.predict_blind(again, frames, np.isfinite(frames), symmetries=2)
    assert np.corrcoef(np.ravel(blind.mean), estimate.blind_mean.ravel())[0, 1] > 0.999
    assert stored.settings["network"] == "HollowNetwork"
    direct = ph.networks.from_weights(
        stored.weights,
        ph.networks.PIXEL,
        ph.networks.from_module(network),
        width=0,
    )
    for one, other in zip(jax.tree.leaves(direct.state), jax.tree.leaves(again.state), strict=True):
        np.testing.assert_array_equal(one, other)


def test_the_page_shows_this_code():
    page = Path(__file__).parents[2] / "docs" / "extend" / "network.md"
    assert inspect.getsource(HollowNetwork) in page.read_text()


def test_a_network_that_is_not_blind_is_refused():
    def copies(params, context, centre, seen):
        return params["gain"] * centre, jnp.ones_like(centre)

    network = ph.networks.CustomNetwork(copies, {"gain": jnp.ones(())}, radius=0, window=1)
    with pytest.raises(ph.InputError, match="is not blind"):
        ph.denoise(movie()[1], CONFIG, network=network)


def test_a_network_that_looks_too_far_is_refused():
    def shifted(params, context, centre, seen):
        far = params["gain"] * jnp.roll(context[..., 0], 3, axis=1)
        return far, jnp.ones_like(centre)

    network = ph.networks.CustomNetwork(shifted, {"gain": jnp.ones(())}, radius=2, window=1)
    with pytest.raises(ph.InputError, match="farther than its radius"):
        network.check()
    with pytest.raises(ph.InputError, match="radius"):
        ph.networks.from_module(nnx.Linear(1, 1, rngs=nnx.Rngs(0)))


def test_a_pure_function_needs_no_flax():
    """The best blind linear filter as a network of two parameters; its hidden region holds what is asked for."""

    def apply(params, context, centre, seen):
        best = context[..., -1]
        return best + params["bias"], jnp.full_like(best, 1.0) * jax.nn.softplus(params["sd"])

    params = {"bias": jnp.zeros(()), "sd": jnp.zeros(())}
    network = ph.networks.CustomNetwork(
        apply, params, radius=0, name="filter", region=ph.networks.FRAME, window=4
    )
    network.check()
    denoiser = ph.networks.build(
        ph.networks.PIXEL, network, width=0, centre=0.0, spread=1.0, seed=0
    )
    frames = movie()[1].frames
    blind = ph.networks.predict_blind(denoiser, frames, np.isfinite(frames), symmetries=1)
    assert psnr(movie()[0], np.asarray(blind.mean)) > psnr(movie()[0], frames) + 3

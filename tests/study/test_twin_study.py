"""The study of the twin: what it says of a pattern, and that one small run makes every number and figure."""

from dataclasses import replace

import numpy as np
import pytest
from scipy import ndimage

from experiments.cahn_hilliard_twin import (
    BIASES,
    MOVIES,
    TwinStudy,
    biases,
    configs,
    draw,
    run,
    tell,
)
from phdenoise.denoising.config import DenoiseConfig
from phdenoise.learn.config import FitConfig
from phdenoise.simulation import SimulateConfig, simulate
from phdenoise.study.identity import flatten


def test_biases_of_the_truth_are_none_and_of_a_blur_those_of_a_blur():
    twin = SimulateConfig(size=(48, 48), frames=20, duration=0.3, sigma=0.1)
    movie, clean = simulate("cahn-hilliard", twin)
    truth = clean.frames[12:]
    none = biases(truth, truth, twin)
    assert set(none) == set(BIASES)
    assert none == pytest.approx(
        {"mean_c": 0, "structure": 0, "interface": 1, "energy": 0}, abs=1e-6
    )
    blurred = biases(ndimage.gaussian_filter(truth, (0, 4, 4), mode="wrap"), truth, twin)
    assert blurred["interface"] > 1.1
    assert blurred["structure"] > 0.2
    assert blurred["mean_c"] == pytest.approx(0, abs=1e-5)
    noisy = biases(movie.frames[12:], truth, twin)
    assert noisy["interface"] < 0.9
    assert noisy["energy"] > 5 * blurred["energy"]


def test_the_sweep_asks_every_noise_once_before_it_repeats():
    every = configs(fast=False)
    first = every[: len(every) // 3]
    assert {c.twin.seed for c in first} == {0}
    noises = [(c.twin.sigma, c.twin.dose, c.twin.correlation) for c in first]
    assert len(set(noises)) == len(noises) == 9
    assert {c.denoise.preset for c in every} == {"quick"}


@pytest.mark.study
@pytest.mark.slow
def test_one_run_makes_every_number_and_figure(tmp_path, capsys):
    config = TwinStudy(
        twin=SimulateConfig(size=(24, 24), frames=14, duration=0.1, sigma=0.15),
        denoise=DenoiseConfig(preset="quick", steps=10, width=8),
        fit=FitConfig(iterations=2, mobility_degree=1, enthalpy_degree=2, substeps=2),
        joint=False,
    )
    for each in (config, replace(config, twin=replace(config.twin, dose=100.0))):
        row = run(each, tmp_path / "arrays")
        for name in set(MOVIES) - {"joint"}:
            values = [v for k, v in row.items() if k.startswith(name)]
            assert np.isfinite(values).all()
            assert row[f"{name}_mu_h_band"] > 0
        assert row["classical_psnr"] > row["raw_psnr"] + 3
    rows = [{k: str(v) for k, v in (flatten(config) | row).items()}]
    draw(rows, tmp_path, [config])
    assert {p.stem for p in tmp_path.glob("*.png")} >= {"curves", "mu_h_rms", "psnr", *BIASES}
    tell(rows, tmp_path, [config])
    assert "| sigma 0.15 |" in capsys.readouterr().out

"""The training command on a tiny set: it simulates, trains both networks, records its settings and goes on."""

import sys

import numpy as np
import pytest

from phdenoise.modalities.tem.network import NetworkConfig, load_network
from phdenoise.modalities.tem.variety import Variety

pytestmark = pytest.mark.slow


def test_training_writes_weights_with_their_record_and_resumes(tmp_path, capsys):
    from experiments.tem_training import TemTraining, train

    config = TemTraining(
        scenes=2,
        held_out=1,
        steps=3,
        refine_steps=2,
        batch=2,
        crop=32,
        network=NetworkConfig(scales=2, widths=(8, 8)),
        variety=Variety(pixels=40, radius=(4.0, 5.0), depth=(6.0, 8.0)),
        folder=tmp_path,
        output=tmp_path / "weights.npz",
    )
    network = train(config)
    again, record = load_network(config.output)
    assert again.config == network.config
    assert again.first is not None
    assert record["scenes"] == 2
    assert np.isfinite(record["held_out_dB"])
    capsys.readouterr()
    train(config)
    assert "goes on from step 3" in capsys.readouterr().out
    assert "tyro" in sys.modules

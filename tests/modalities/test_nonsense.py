"""Movies that are not what a chain takes them for: the report opens with what is impossible, and states no law or charge."""

import csv

import numpy as np
import pytest
import tifffile

from phdenoise.cli.main import main

# One process: what tests share compiles once.
pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("cli")]

TINY = ["--denoise.steps", "3", "--denoise.width", "8", "--denoise.symmetries", "1"]


def _report(out, said):
    """The page and the groups of its numbers, of a result that is impossible."""
    page = (out / "report.html").read_text()
    assert page.index("This result is impossible") < page.index("<h2>Trust")
    assert said.lstrip().startswith("Impossible: ")
    with (out / "numbers.csv").open() as stream:
        return page, {r["group"].split(",")[0] for r in csv.DictReader(stream)}


@pytest.mark.study
def test_energies_passed_as_times(tmp_path, capsys):
    """Two stacks over energies, named as if they were movies at two energies."""
    rng = np.random.default_rng(0)
    energy = np.array([700, 704, 706, 707, 708.2, 709, 710.2, 711, 712, 714, 716, 718])
    lines = [0.1 + h * np.exp(-((energy - e) ** 2) / 2) for e, h in ((708.2, 1.0), (710.2, 1.2))]
    yy, xx = np.mgrid[:28, :28]
    particle = (yy - 14) ** 2 + (xx - 14) ** 2 < 80
    for k in range(2):
        c = np.clip((xx - 6) / 16 + 0.1 * k, 0, 1)
        od = particle * (c * lines[0][:, None, None] + (1 - c) * lines[1][:, None, None])
        tifffile.imwrite(tmp_path / f"{k}.tif", rng.poisson(5000 * np.exp(-od)).astype("u2"), photometric="minisblack")  # fmt: skip
    out = tmp_path / "out"
    main([
        "stxm", str(tmp_path / "0.tif"), str(tmp_path / "1.tif"), "-o", str(out), "--energies", "708.2", "710.2",
        "--incident-region", "0", "4", "0", "28", "--lithiated", "1.05", "0.62", "--delithiated", "0.48", "1.4", *TINY,
    ])  # fmt: skip
    said = capsys.readouterr().out
    assert "are the frames energies" in said
    page, groups = _report(out, said)
    assert not groups & {"law", "heterogeneity"}
    assert "Law of the reaction" not in page
    assert not (out / "FIT_particle.json").exists()


@pytest.mark.parametrize(
    ("dose", "profile", "beam", "words"),
    [
        (0.5, 0.3, False, "The lithium of the electrode"),
        (0.0, 0.0, True, "there is no sample"),
    ],
)
def test_radiographs_without_a_sample(tmp_path, capsys, dose, profile, beam, words):
    """A beam that rises unnoticed, or the open beam itself."""
    rng = np.random.default_rng(1)
    time = np.linspace(0, 1, 16)[:, None, None]
    mean = 3000 * (1 + dose * time) * (1 + profile * time * np.linspace(0, 1, 40)) * np.ones((1, 24, 1))  # fmt: skip
    np.save(tmp_path / "m.npy", rng.poisson(mean).astype("f4"))
    np.save(tmp_path / "open.npy", rng.poisson(np.full((5, 24, 40), 3000)).astype("f4"))
    out = tmp_path / "out"
    opened = ["--open-beam", str(tmp_path / "open.npy")] if beam else []
    main(["neutron", str(tmp_path / "m.npy"), "-o", str(out), "--rest", "3", "--electrode", "4", "36", *opened, *TINY])  # fmt: skip
    said = capsys.readouterr().out
    assert words in said
    page, groups = _report(out, said)
    assert "fit" not in groups
    assert "Diffusivity" not in page
    assert not (out / "FIT_profile.json").exists()


@pytest.mark.study
def test_a_scene_without_graphite(tmp_path, capsys):
    """Discs of the colours of a traffic light, which flicker."""
    rng = np.random.default_rng(2)
    yy, xx = np.mgrid[:64, :64]
    frames = np.full((12, 64, 64, 3), 20.0)
    discs = (((16, 16), (200, 40, 40)), ((16, 46), (40, 200, 60)), ((46, 16), (50, 60, 220)), ((46, 46), (220, 210, 40)))  # fmt: skip
    for (cy, cx), colour in discs:
        inside = (yy - cy) ** 2 + (xx - cx) ** 2 < 81
        for t in range(12):
            frames[t][inside] += np.outer(1 + 0.5 * np.sin(t / 2 + xx[inside] / 8), colour)
    np.save(tmp_path / "m.npy", rng.poisson(frames).astype("f4"))
    out = tmp_path / "out"
    main(["optical", str(tmp_path / "m.npy"), "-o", str(out), *TINY])
    said = capsys.readouterr().out
    assert "state of charge of the particles runs from" in said
    page, groups = _report(out, said)
    assert "particles" not in groups
    assert "on average; a frame gives it to" not in page

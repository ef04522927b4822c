"""What is documented exists and runs: the Python of README and docs, the notebooks, the names of files and commands."""

import base64
import dataclasses
import functools
import itertools
import json
import re
import runpy
import shlex
import typing
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tifffile

import phdenoise as ph
from phdenoise.cli.main import main
from phdenoise.denoising.config import PRESETS, DenoiseConfig

ROOT = Path(__file__).resolve().parents[1]
README = ROOT / "README.md"
CONTRIBUTING = ROOT / "CONTRIBUTING.md"
PAGES = [README, *sorted((ROOT / "docs").rglob("*.md"))]
# Its blocks take minutes, and the chain that they show has tests of its own.
LONG = ROOT / "docs/how-to/tem.md"
# Tutorials that simulate a twin of an instrument, and run its chain from the command line.
INSTRUMENTS = [ROOT / f"docs/tutorials/{n}.md" for n in ("neutron", "optical", "particles", "tem")]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
# Words of the README, of its code and its tables.
WORDS = 900
# Characters of a line of prose.
LINE = 120
# Bytes of a stored figure of a notebook.
LARGEST = 100_000
BLOCK = re.compile(r"(?:<!-- (?P<mark>[\w-]+) -->\n)?```python\n(?P<code>.*?)```", re.DOTALL)


def blocks(path: Path) -> list[tuple[str | None, str]]:
    """Mark ("slow", "joint-loss" or None) and code of every Python block of a page."""
    return [(m["mark"], m["code"]) for m in BLOCK.finditer(path.read_text())]


def commands(path: Path) -> list[list[str]]:
    """Words of every `phdenoise` command in the shell blocks of a page, a command on several lines joined."""
    shell = "\n".join(re.findall(r"```bash\n(.*?)```", path.read_text(), re.DOTALL))
    lines = [shlex.split(line, comments=True) for line in shell.replace("\\\n", " ").splitlines()]
    return [words[1:] for words in lines if words[:1] == ["phdenoise"]]


def execute(path: Path, codes: list[str]) -> dict:
    """The blocks of one page in one namespace, as a reader would type them."""
    names: dict = {"__name__": "__main__"}
    for code in codes:
        exec(compile(code, str(path), "exec"), names)
    return names


def has_own_test(path: Path) -> bool:
    """Whether tests/extend runs the code of a page."""
    return path.parent.name == "extend" and (ROOT / f"tests/extend/test_{path.stem}.py").exists()


def called(path: Path) -> str:
    return str(path.relative_to(ROOT))


@functools.cache
def python_of(*folders: str) -> tuple[str, ...]:
    """All Python of each folder, as one text."""
    return tuple("\n".join(p.read_text() for p in (ROOT / f).rglob("*.py")) for f in folders)


_FOUND: dict = {}
# What fits are given in the tests of pages, beside what the page asks for.
FEW = {
    "enthalpy_degree": 2, "mobility_degree": 1, "iterations": 3, "field_waves": 6, "network_steps": 1,
    "precision": "float32", "substeps": 4,
}  # fmt: skip


def once(verb: Callable) -> Callable:
    """The verb, whose answer for one movie and one setting is found only once in this file."""

    @functools.wraps(verb)
    def call(movie, *settings, **options):
        key = (verb.__name__, movie.name, repr(settings) if verb.__name__ == "fit" else "")
        if key not in _FOUND:
            _FOUND[key] = verb(movie, *settings, **options)
        return _FOUND[key]

    return call


def brief(fit: Callable) -> Callable:
    """`ph.fit` with few terms and few iterations."""

    @functools.wraps(fit)
    def call(movie, law, config=None, **options):
        return fit(movie, law, dataclasses.replace(config or ph.FitConfig(), **FEW), **options)

    return call


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder with a tiny movie.h5 and movie_clean.h5, where presets train for two steps and fits take few."""
    for name, preset in list(PRESETS.items()):
        tiny = dataclasses.replace(preset, steps=2, symmetries=2, teachers=0)
        monkeypatch.setitem(PRESETS, name, tiny)
    for verb in (ph.denoise, brief(ph.fit)):
        monkeypatch.setattr(ph, verb.__name__, once(verb))
    # A box of 0.32: the fastest wave of the law, 0.28, fits in.
    twin = ph.SimulateConfig(size=(16, 16), frames=21, skip=8, sigma=0.1, pixel_size=0.02)
    movie, clean = ph.simulate("cahn-hilliard", twin)
    ph.write(movie, tmp_path / "movie.h5")
    ph.write(clean, tmp_path / "movie_clean.h5")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    "path",
    [p for p in PAGES if any(mark is None for mark, _ in blocks(p)) and not has_own_test(p)],
    ids=called,
)
def test_blocks_run(path, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    execute(path, [code for mark, code in blocks(path) if mark is None])


@pytest.mark.slow
@pytest.mark.xdist_group("documentation")
@pytest.mark.parametrize(
    "path",
    [
        pytest.param(p, marks=[pytest.mark.study] * (p in INSTRUMENTS or p == LONG))
        for p in PAGES
        if any(mark == "slow" for mark, _ in blocks(p))
    ],
    ids=called,
)
def test_slow_blocks_run(path, folder):
    # The tutorial of laws continues the one of movies, but stands alone.
    names = execute(path, [code for mark, code in blocks(path) if mark == "slow"])
    if path in INSTRUMENTS:
        for words in commands(path):
            main(words)
            page = (folder / words[words.index("-o") + 1] / "report.html").read_text()
            assert "This result is impossible" not in page
    else:
        assert np.isfinite(names["estimate"].mean).all()


@pytest.mark.slow
@pytest.mark.xdist_group("documentation")
def test_joint_loss_runs(folder):
    (code,) = (code for mark, code in blocks(README) if mark == "joint-loss")
    assert "range(100)" in code
    names = execute(README, [code.replace("range(100)", "range(2)")])
    assert np.isfinite(names["loss"](names["params"], names["data"]))


def test_readme_shows_the_joint_loss_of_the_docs():
    ours, docs = (
        [code for mark, code in blocks(p) if mark == "joint-loss"]
        for p in (README, ROOT / "docs/joint_loss.md")
    )
    assert ours == docs
    lines = [line for line in ours[0].splitlines() if line.strip()]
    assert len(lines) <= 20


def test_readme_is_short():
    assert len(README.read_text().split()) <= WORDS


@pytest.mark.parametrize(
    "path", [p for p in [*PAGES, CONTRIBUTING] if not has_own_test(p)], ids=called
)
def test_lines_of_prose_are_short(path):
    prose = re.sub(r"```.*?```", "", path.read_text(), flags=re.DOTALL)
    # A table's row cannot be broken.
    lines = [line for line in prose.splitlines() if not line.startswith("|")]
    assert max(map(len, lines)) <= LINE


@pytest.mark.parametrize("path", [*PAGES, CONTRIBUTING], ids=called)
def test_pages_name_what_exists(path):
    text = path.read_text()
    source, commands, scripts = python_of("phdenoise", "phdenoise/cli", "benchmarks")
    scripts += python_of("experiments")[0]
    for link in re.findall(r"\]\(([^)#\s]+)[^)]*\)", text):
        if "://" not in link and not _generated(path, link):
            assert (path.parent / link).exists(), link
    code = re.findall(r"```bash\n(.*?)```", text, re.DOTALL) + re.findall(r"`([^`\n]+)`", text)
    for command in re.findall(r"(?:^|&& )phdenoise ([a-z]+)", "\n".join(code), re.MULTILINE):
        assert f'"{command}"' in commands, command
    for script in re.findall(r"python (\w+/\w+\.py)", text):
        assert (ROOT / script).exists(), script
    for module in re.findall(r"python -m ((?:benchmarks|experiments)\.[a-z_]+)", text):
        assert (ROOT / (module.replace(".", "/") + ".py")).exists(), module
    for name in re.findall(
        r"`((?:phdenoise|benchmarks|experiments|tests|notebooks)/[\w/.]+)`", text
    ):
        if not name.startswith("tests/extend"):
            assert (ROOT / name).exists(), name
    for flag in set(re.findall(r"(?<![\w-])--([a-z][a-z-]+)", text)):
        # A switch that is on is turned off by --no-SWITCH.
        field = flag.removeprefix("no-").replace("-", "_")
        known = re.search(rf"\b{field}\b *[:=]", source + scripts) or f"--{flag}" in scripts
        assert known or flag in ("strict", "help", "help-all", "config", "tyro-print-completion"), (
            flag
        )
    for name in set(re.findall(r"\bph\.([a-zA-Z_]+)", text)) - {"joint_loss", "joint_data"}:
        assert hasattr(ph, name), name


def _generated(path: Path, link: str) -> bool:
    """Pages of the reference, which MkDocs makes."""
    target = (path.parent / link).resolve()
    room = ROOT / "phdenoise" / target.stem
    return target.parent.name == "reference" and (room.exists() or room.with_suffix(".py").exists())


def test_contributing_draws_the_floors():
    floors = runpy.run_path(str(ROOT / "tests/test_architecture.py"))["FLOORS"]
    drawing = re.search(r"```text\n(.*?)```", CONTRIBUTING.read_text(), re.DOTALL)[1]
    rooms = [re.split(r" {4,}", line.strip())[0].split() for line in drawing.splitlines()]
    drawn = [set(r) for r in rooms if r and r != ["|"]]
    assert drawn == [set(floor) for floor in reversed(floors)]
    for floor in floors:
        for room in set(floor) - {"__main__"}:
            assert f"`{room}`" in CONTRIBUTING.read_text(), room


def assumptions() -> list[list[str]]:
    """Rows of the table of assumptions, as cells."""
    page = (ROOT / "docs/explanation/assumptions.md").read_text()
    rows = [line for line in page.splitlines() if line.startswith("| `")]
    return [[cell.strip() for cell in row.split("|")[1:-1]] for row in rows]


# Networks by the names of the command line.
NETWORKS = ("blind", "n2v", "unet")
OBJECTIVES = typing.get_args(typing.get_type_hints(DenoiseConfig)["objective"])
ALLOWED = {
    (row[0].strip("`"), name)
    for row in assumptions()
    if len(row) > 3
    for name in re.findall(r"`(\w+)`", row[1])
}
# `nll` is the default objective: with a U-Net it means `sure` or `pure`.
REFUSED = set(itertools.product(NETWORKS, OBJECTIVES)) - ALLOWED - {("unet", "nll")}


def test_table_of_assumptions_is_complete():
    assert {network for network, _ in ALLOWED} == set(NETWORKS)
    assert {objective for _, objective in ALLOWED} == set(OBJECTIVES)
    for row in assumptions():
        if len(row) == 3:
            assert hasattr(ph.noise, row[0].strip("`")), row[0]


@pytest.mark.parametrize(("network", "objective"), sorted(REFUSED))
def test_what_the_table_does_not_list_is_refused(network, objective):
    frames = np.random.default_rng(0).normal(size=(4, 12, 12))
    config = DenoiseConfig(network=network, objective=objective)
    with pytest.raises(ph.InputError, match=objective):
        ph.denoise(ph.Movie.from_array(frames), config)


# For each notebook: what is replaced for the test, and what it must have found.
SMALL: dict[str, tuple[tuple[tuple[str, str], ...], str]] = {
    "quickstart": (
        (
            ("(32, 32)", "(24, 24)"),
            ("steps=100", "steps=5"),
            (
                "field_waves=8",
                "field_waves=3, iterations=1, network_steps=0, mobility_degree=1, enthalpy_degree=2, precision='float32'",
            ),
        ),
        "np.isfinite(estimate.mean).all() and isinstance(law.outcome, str)",
    ),
    "neutron": (
        (("shape=(24, 32)", "shape=(12, 24)"), ("steps=60", "steps=3, width=8")),
        "np.isfinite(result.denoised.change.value).all() and bool(result.fit.outcome)",
    ),
    "stxm": (
        (
            (
                "shape=(36, 36), radius=11.0, frames=64, modes=25",
                "shape=(28, 28), radius=7.0, frames=24, modes=6",
            ),
            (
                "modes=25, length=4.0, window=9, start_modes=25, iterations=8",
                "modes=4, window=6, iterations=2",
            ),
            ("steps=150, width=16", "steps=3, width=8"),
            ("pick = [2, 12, 22, 32, 42, 52]", "pick = [2, 12, 22]"),
            ("(0, 6, 0, 36)", "(0, 5, 0, 28)"),
        ),
        "np.isfinite(result.estimate.mean).all() and set(result.fits) == {'joint'}",
    ),
    "optical": (
        (
            ("shape=(48, 48), particles=4", "shape=(20, 36), particles=2"),
            ("duration=2200.0", "duration=1200.0"),
            ("steps=120", "steps=3, width=8"),
            # Three steps denoise nothing; so that colours are seen all the same:
            ("electrons=20.0", "electrons=2000.0"),
        ),
        "np.isfinite(result.denoised.charge.soc).all() and result.particles.labels.max() == 2",
    ),
    "joint_loss": (
        (
            # A box of 0.32: the fastest wave of the law, 0.28, fits in.
            ("(48, 48)", "(16, 16), pixel_size=0.02"),
            # The field of three steps is rough; less noise keeps the start of the law finite.
            ("sigma=0.1", "sigma=0.02"),
            ("steps=150", "steps=3, width=8"),
            ("range(60)", "range(4)"),
        ),
        "np.isfinite(history).all() and np.ptp(history[:, 1]) > 0",
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("path", NOTEBOOKS, ids=called)
def test_notebook_runs(path):
    if path.stem == "optical":
        pytest.importorskip("skimage")
    cells = json.loads(path.read_text())["cells"]
    code = "\n".join("".join(c["source"]) for c in cells if c["cell_type"] == "code")
    code = re.sub(r"^%.*$", "", code, flags=re.MULTILINE)
    small, expected = SMALL[path.stem]
    for full, less in small:
        assert full in code
        code = code.replace(full, less)
    names: dict = {}
    exec(compile(code, path.stem, "exec"), names)
    assert eval(expected, {**names, "np": np})


@pytest.mark.parametrize("path", NOTEBOOKS, ids=called)
def test_notebook_is_small_and_linked(path):
    assert f"(notebooks/{path.name})" in README.read_text()
    for cell in json.loads(path.read_text())["cells"]:
        for output in cell.get("outputs", []):
            png = "".join(output.get("data", {}).get("image/png", ""))
            assert len(base64.b64decode(png)) < LARGEST


def test_picture_is_small():
    picture = ROOT / "docs/images/front_door.png"
    assert picture.stat().st_size < 300_000


def test_verbs_agree_with_each_other(tmp_path):
    frames = np.random.default_rng(0).poisson(20, size=(4, 12, 12)).astype(np.uint16)
    tifffile.imwrite(tmp_path / "m.tif", frames)
    estimate = ph.denoise(ph.read(tmp_path / "m.tif"), DenoiseConfig(steps=2, width=8))
    ph.write(estimate, tmp_path / "d.h5")
    np.testing.assert_array_equal(ph.read(tmp_path / "d.h5").frames, estimate.mean)

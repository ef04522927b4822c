"""Several movies in one command: which they are, and where the result of each goes."""

import csv
import glob
import sys
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from phdenoise.cli.options import check_outputs
from phdenoise.io.atomic import atomic
from phdenoise.io.folders import frame_count, movies_in
from phdenoise.io.reading import split
from phdenoise.io.source import default_name
from phdenoise.io.writing import SUFFIXES
from phdenoise.study import records
from phdenoise.study.about import inputs
from phdenoise.study.identity import code_version, run_name
from phdenoise.study.run import run_sweep, tasks_of
from phdenoise.study.table import collect
from phdenoise.study.work import Task
from phdenoise.types import InputError

# Pixels of a side of a picture on the page, and movies that have one.
_PICTURE, _SHOWN = 96, 24


def named_movies(files: tuple[str, ...]) -> list[str]:
    """The movies that FILEs name, with a line for each folder that says what it was taken for.

    Args:
        files: files, FILE::DATASET, folders of frames or folders of movies.

    Returns:
        One or more; a folder of frames is one.

    Raises:
        InputError: no FILE, or a folder with frames and movies.
    """
    if not files:
        raise InputError("No FILE is given: name the movie.")
    movies: list[str] = []
    for file in _expanded(files):
        if not Path(file).is_dir():
            movies.append(file)
            continue
        found = movies_in(file)
        if found:
            print(f"The folder {file} holds {len(found)} movies: each is taken by itself.")
        else:
            print(f"The folder {file} is taken as one movie, each file one frame.")
        movies += [str(f) for f in found] or [file]
    plain = [f for f in movies if "::" not in f and Path(f).is_file()]
    if len(movies) == len(plain) > 1 and all(frame_count(Path(f)) == 1 for f in plain):
        print(
            f"The {len(movies)} FILEs have one frame each and are taken one by one; the frames of one movie are given as their folder."
        )
    return movies


def _expanded(files: tuple[str, ...]) -> list[str]:
    """Patterns replaced by the files they stand for, where the shell has not done so."""
    found: list[str] = []
    for file in files:
        pattern = any(c in file for c in "*?[") and not Path(file.split("::")[0]).exists()
        some = sorted(glob.glob(file)) if pattern else [file]
        if not some:
            raise InputError(f"No file is called {file}: give a pattern of existing files.")
        found += some
    return found


def is_folder(output: str) -> bool:
    """Whether an output names a folder: one that exists, or a name that ends with a slash."""
    # A .zarr is a folder, and one result.
    several = Path(output).is_dir() and Path(output).suffix.lower() != ".zarr"
    return output.endswith(("/", "\\")) or several


@dataclass(frozen=True)
class Item:
    """A movie of a batch.

    Attributes:
        file: FILE, FILE::DATASET or a folder of frames.
        options: of its own, as on the command line.
    """

    file: str
    options: tuple[str, ...] = ()


@dataclass(frozen=True)
class BatchRun:
    """What names the run of a movie: the file, what is in it, and every setting."""

    file: str
    content: str
    result: str
    settings: str


@dataclass(frozen=True)
class Shown:
    """What a batch tells of a movie.

    Attributes:
        numbers: name -> number, for the table.
        pictures: noisy and denoised middle frame, for the page.
    """

    numbers: Mapping[str, float]
    pictures: tuple[np.ndarray, np.ndarray] | None = None


def items_of(files: tuple[str, ...]) -> list[Item]:
    """The movies that FILEs name, and those of tables: FILE.csv with a column `file` and columns of options.

    Args:
        files: files, folders, patterns such as 'raw/*.tif', or tables.

    Returns:
        One or more.

    Raises:
        InputError: no FILE, a folder with frames and movies, or a table without movies.
    """
    tables = [f for f in files if f.lower().endswith(".csv") and Path(f).is_file()]
    movies = tuple(f for f in files if f not in tables)
    items = [Item(m) for m in named_movies(movies)] if movies or not tables else []
    for table in tables:
        items += _rows_of(Path(table))
    return items


def _rows_of(table: Path) -> list[Item]:
    try:
        with table.open(newline="", encoding="utf-8-sig") as stream:
            rows = list(csv.DictReader(stream))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{table} cannot be read as a table ({error}): give a CSV.") from error
    if not rows or "file" not in rows[0]:
        raise InputError(f"{table} names no movie: its first line needs a column called file.")
    items = []
    for number, row in enumerate(rows, 2):
        file = (row.pop("file") or "").strip()
        if not file or None in row:
            raise InputError(
                f"{table}, line {number}: give a file, and a value or nothing for each column."
            )
        # Files are named from where the table is.
        path = str(table.parent / file) if table.parent != Path() else file
        given = {k.strip(): v.strip() for k, v in row.items() if v and v.strip()}
        items.append(Item(path, tuple(w for k, v in given.items() for w in (f"--{k}", v))))
    return items


def run_batch(
    items: Sequence[Item],
    output: str,
    overwrite: bool,
    settings: Mapping[str, str],
    run: Callable[[str, str], Shown],
) -> None:
    """Run a command on each movie as a study: one that cannot be used is a row, and a second call does what is missing.

    Args:
        items: movies.
        output: folder to write, made where it is missing; `summary.csv` and `summary.html` tell of all movies.
        overwrite: whether existing results may be replaced.
        settings: file -> what decides its result, as text.
        run: called with a FILE and the file to write.

    Raises:
        InputError: outputs that cannot be written, before anything is run; or movies that could not be used, after the
            others were.
    """
    folder, movies = Path(output), [i.file for i in items]
    _check_folder(folder, len(movies))
    outputs = {movie: str(folder / f"{name}.h5") for movie, name in _names(movies).items()}
    configs = [
        BatchRun(m, " ".join(inputs({"file": m}).values()), str(Path(o).name), settings[m])
        for m, o in outputs.items()
    ]
    runs = folder / "runs"
    work = partial(_one, outputs=outputs, count=len(movies), order=movies, run=run, runs=runs)
    tasks = tasks_of(code_version(_one), configs, runs)
    folder.mkdir(exist_ok=True)
    for task in tasks:
        record = records.load(task.path, task.config)
        kept = Path(outputs[task.config.file]).is_file()
        if record and record["outcome"] == "done" and kept and not overwrite:
            print(f"{task.config.file} is done already: {outputs[task.config.file]}")
            continue
        if kept or overwrite or not record:
            check_outputs(task.config.file, [outputs[task.config.file]], overwrite, SUFFIXES)
        task.path.unlink(missing_ok=True)
    run_sweep(work, configs, runs, retry=True, progress=_complain)
    rows = collect(runs, folder / "summary.csv", names=[t.path.stem for t in tasks], mix=True)
    _write_page(folder, tasks, rows)
    failed = [str(r["file"]) for r in rows if r["outcome"] != "done"]
    print(f"Table and page of all movies: {(folder / 'summary.html').resolve()}")
    if failed:
        raise InputError(
            f"{len(failed)} of {len(movies)} movies could not be denoised ({', '.join(failed)}); the others are in {folder}."
        )


def _one(
    config: BatchRun,
    *,
    outputs: Mapping[str, str],
    count: int,
    order: Sequence[str],
    run: Callable[[str, str], Shown],
    runs: Path,
) -> dict[str, float]:
    print(f"[{order.index(config.file) + 1}/{count}] {config.file}")
    shown = run(config.file, outputs[config.file])
    if shown.pictures is not None:
        _keep_pictures(runs / "pictures" / f"{run_name(config)}.npz", shown.pictures)
    return dict(shown.numbers)


def _keep_pictures(path: Path, pictures: tuple[np.ndarray, np.ndarray]) -> None:
    """Keep the two pictures of a movie, small.

    Args:
        path: of the file.
        pictures: noisy and denoised frame [y, x].
    """
    path.parent.mkdir(exist_ok=True)
    # Every so many pixels, so that a page of a hundred movies stays small.
    steps = [max(1, n // _PICTURE) for n in pictures[0].shape]
    noisy, denoised = (np.asarray(p[:: steps[0], :: steps[1]], np.float32) for p in pictures)
    with atomic(path, overwrite=True) as temporary, temporary.open("wb") as file:
        np.savez_compressed(file, noisy=noisy, denoised=denoised)


def _complain(_: int, __: int, text: str) -> None:
    outcome = text.split(": ", 1)[1]
    if outcome != "done":
        said = outcome.removeprefix("failed: ").removeprefix("InputError: ")
        print(f"phdenoise: {said}", file=sys.stderr)


def _write_page(folder: Path, tasks: Sequence[Task], rows: Sequence[Mapping[str, object]]) -> None:
    """A page with the table of all movies, and pictures of those that are done."""
    from phdenoise.figures.pictures import pairs
    from phdenoise.report.origin import Origin
    from phdenoise.report.page import Finding, Report, Section, Verdict, report_html

    hidden = {"id", "content", "settings"}
    columns = list(dict.fromkeys(c for row in rows for c in row if c not in hidden))
    table = [{c: row.get(c, "") for c in columns} for row in rows]
    done = sum(r["outcome"] == "done" for r in rows)
    shown = {}
    for task in tasks[:_SHOWN]:
        path = task.path.parent / "pictures" / f"{task.path.stem}.npz"
        if path.is_file():
            with np.load(path, allow_pickle=False) as arrays:
                shown[task.config.result] = (arrays["noisy"], arrays["denoised"])
    figures = (
        [(pairs(shown), f"Middle frames, noisy above denoised ({len(shown)} of {done})")]
        if shown
        else []
    )
    verdict = Verdict.GOOD if done == len(rows) else Verdict.LOOK
    headline = Finding("movies", f"{done} of {len(rows)} movies are denoised.", verdict=verdict)
    report = Report(
        f"Batch {folder.name}",
        [headline],
        Origin(folder.name),
        [Section("Movies", tables=[table]), Section("Pictures", figures=figures)],
    )
    with atomic(folder / "summary.html", overwrite=True) as page:
        page.write_text(report_html(report), encoding="utf-8")


def _check_folder(folder: Path, count: int) -> None:
    """Refuse an output that cannot be a folder."""
    if folder.suffix.lower() in SUFFIXES and not folder.is_dir():
        raise InputError(f"{count} movies need a folder: give -o OUT/ instead of {folder}.")
    if folder.exists() and not folder.is_dir():
        raise InputError(f"Cannot write {folder}: it is a file; give the name of a folder.")
    parent = folder.resolve().parent
    if not parent.is_dir():
        raise InputError(
            f"Cannot write {folder}: there is no folder {parent}; create it first (mkdir -p)."
        )


def _names(movies: list[str]) -> dict[str, str]:
    """Name of the result of each movie: that of its file, with the folder or dataset before it where two are alike."""
    repeated = [m for m, n in Counter(movies).items() if n > 1]
    if repeated:
        raise InputError(f"{repeated[0]} is named twice: name each movie once.")
    parts = {m: split(m) for m in movies}
    short = {m: default_name(file) for m, (file, _) in parts.items()}
    alike = {n for n, count in Counter(short.values()).items() if count > 1}
    names = {
        m: name
        if name not in alike
        else "_".join([parts[m][0].resolve().parent.name, parts[m][0].name, *_words(parts[m][1])])
        for m, name in short.items()
    }
    twice = [n for n, count in Counter(names.values()).items() if count > 1]
    if twice:
        raise InputError(f"Two movies would be written to {twice[0]}.h5: denoise them one by one.")
    return names


def _words(dataset: str | None) -> list[str]:
    return [] if dataset is None else [dataset.strip("/").replace("/", "_")]

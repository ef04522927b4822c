"""Several movies in one command: which they are, and where the result of each goes."""

import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from phdenoise.cli.options import check_outputs
from phdenoise.io.folders import frame_count, movies_in
from phdenoise.io.reading import split
from phdenoise.io.source import default_name
from phdenoise.io.writing import SUFFIXES
from phdenoise.types import InputError


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
    for file in files:
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


def is_folder(output: str) -> bool:
    """Whether an output names a folder: one that exists, or a name that ends with a slash."""
    return output.endswith(("/", "\\")) or Path(output).is_dir()


def run_batch(
    movies: list[str], output: str, overwrite: bool, run: Callable[[str, str], None]
) -> None:
    """Run a command on each movie; one that cannot be used does not keep the others from it.

    Args:
        movies: FILEs.
        output: folder to write, made where it is missing.
        overwrite: whether existing results may be replaced.
        run: called with a FILE and the file to write.

    Raises:
        InputError: outputs that cannot be written, before anything is run; or movies that could not be used, after the
            others were.
    """
    folder = Path(output)
    _check_folder(folder, len(movies))
    outputs = {movie: str(folder / f"{name}.h5") for movie, name in _names(movies).items()}
    folder.mkdir(exist_ok=True)
    for movie, result in outputs.items():
        check_outputs(movie, [result], overwrite, SUFFIXES)
    failed = []
    for number, (movie, result) in enumerate(outputs.items(), 1):
        print(f"[{number}/{len(movies)}] {movie}")
        try:
            run(movie, result)
        except InputError as error:
            failed.append(movie)
            print(f"phdenoise: {error}", file=sys.stderr)
    if failed:
        raise InputError(
            f"{len(failed)} of {len(movies)} movies could not be denoised ({', '.join(failed)}); the others are in {folder}."
        )


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

"""Outputs that are either complete or absent: written aside in the same folder, then renamed.

`os.replace` is atomic within a file system, so that a full disk, Ctrl-C or a killed process leaves the
previous file as it was. Only a kill (SIGKILL) can leave the temporary `.NAME.xxxxxxxx.tmp` behind.
"""

import os
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

from phdenoise.types import InputError

MARKER = ".phdenoise"
"""Empty file in every folder made by `atomic_directory`: only such a folder is ever replaced."""


def check_writable(
    path: str | Path,
    overwrite: bool = False,
    *,
    folder: bool = False,
    inputs: Iterable[str | Path] = (),
) -> None:
    """Make sure, before long work, that `path` can be written at its end.

    Args:
        path: file (or folder) to be written.
        overwrite: whether an existing file may be replaced.
        folder: whether `path` is for `atomic_directory`.
        inputs: files that were read; writing onto one of them is refused in any case.

    Raises:
        InputError: missing or unwritable folder, a folder in place of the file, an existing file, an input.
    """
    try:
        target = _target(path)
        check = _check_free_directory if folder else _check_free
        check(target, path, overwrite, inputs)
        if target.exists() and not os.access(target, os.W_OK):
            raise InputError(f"Cannot write {path}: it is write-protected; choose another.")
        probe = _aside(target)
        probe.touch(exist_ok=False)
        probe.unlink()
    except OSError as error:
        raise _explain(error, path) from error


@contextmanager
def atomic(path: str | Path, overwrite: bool = False) -> Iterator[Path]:
    """Yield a temporary path in the folder of `path`; renamed on success, removed on any failure.

        with atomic("table.csv", overwrite=True) as temporary:
            temporary.write_text(...)

    Args:
        path: file to be written.
        overwrite: whether an existing file may be replaced.

    Raises:
        InputError: see `check_writable`; also for any OSError within, such as a full disk.
    """
    check_writable(path, overwrite)
    target = _target(path)
    temporary = _aside(target)
    try:
        yield temporary
        with open(temporary, "rb") as file:
            os.fsync(file.fileno())
        _check_free(target, path, overwrite)
        os.replace(temporary, target)
    except OSError as error:
        raise _explain(error, path) from error
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def atomic_directory(path: str | Path, overwrite: bool = False) -> Iterator[Path]:
    """Yield a temporary folder beside `path`; renamed when complete, removed on any failure.

    An existing empty folder is filled. With `overwrite` an existing folder is replaced, but only if
    this function made it: somebody's own files are never removed.

    Args:
        path: folder to be written.
        overwrite: whether an existing folder may be replaced.

    Raises:
        InputError: see `check_writable`; a folder that is in use.
    """
    target = _target(path)
    old = target.with_name(f".{target.name[:100]}.{uuid4().hex[:8]}.old")
    temporary = _aside(target)
    try:
        _check_free_directory(target, path, overwrite)
        temporary.mkdir()
        yield temporary
        (temporary / MARKER).touch()
        _check_free_directory(target, path, overwrite)
        if target.exists() and any(target.iterdir()):
            target.rename(old)
        try:
            temporary.rename(target)
        except BaseException:
            if old.exists():
                old.rename(target)
            raise
    except OSError as error:
        raise _explain(error, path) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
        shutil.rmtree(old, ignore_errors=True)


def _target(path: str | Path) -> Path:
    """The file itself: writing through a symbolic link keeps the link."""
    return Path(os.path.realpath(path))


def _aside(target: Path) -> Path:
    return target.with_name(f".{target.name[:100]}.{uuid4().hex[:8]}.tmp")


def _check_free(
    target: Path, path: str | Path, overwrite: bool, inputs: Iterable[str | Path] = ()
) -> None:
    if not target.parent.is_dir():
        raise InputError(
            f"Cannot write {path}: there is no folder {target.parent}; create it first (mkdir -p)."
        )
    if any(target == _target(source) for source in inputs):
        raise InputError(f"{path} is also the input, which is never replaced: give another name.")
    if target.is_dir():
        raise InputError(f"Cannot write {path}: it is a folder; give a file name.")
    if target.exists() and not target.is_file():
        raise InputError(f"Cannot write {path}: it is not a regular file; give another name.")
    if target.exists() and not overwrite:
        raise InputError(
            f"{path} exists already: use --overwrite (overwrite=True) to replace it, or another name."
        )


def _check_free_directory(
    target: Path, path: str | Path, overwrite: bool, inputs: Iterable[str | Path] = ()
) -> None:
    if not target.is_dir():
        if target.exists():
            raise InputError(f"Cannot write {path}: it is a file; give the name of a folder.")
        _check_free(target, path, overwrite)
        return
    if any(target in _target(source).parents for source in inputs):
        raise InputError(f"{path} holds the input, which is never replaced: give another name.")
    if not any(target.iterdir()):
        return
    if not overwrite:
        raise InputError(
            f"The folder {path} exists already: use --overwrite (overwrite=True), or another name."
        )
    if not (target / MARKER).is_file():
        raise InputError(
            f"The folder {path} holds files that phdenoise did not write, and will not be replaced: "
            "give another name."
        )


def _explain(error: OSError, path: str | Path) -> InputError:
    reason = error.strerror or str(error).splitlines()[0]
    return InputError(
        f"Cannot write {path}: {reason[0].lower()}{reason[1:]}; nothing was changed, "
        "free space or choose another place and try again."
    )

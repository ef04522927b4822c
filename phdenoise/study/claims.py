"""One process at a run: a lock that ends with its holder, and on file systems without locks a file that is renewed.

`flock` is given back by the system however a process ends. Where the file system has no locks (some NFS), the file
itself is the claim: made only where there is none, renewed every few seconds, and void once it has not been renewed for
some minutes. Its age is the difference between its own time and that of a file written just now, both by the clock of the file
server, so that the clocks of the machines do not matter, nor one that is set back.
"""

import json
import os
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

try:
    import fcntl
except ImportError:  # Windows, where every claim is a file
    fcntl = None  # type: ignore[assignment]

# Time between renewals of a claim without locks, and its age at which it is void [s]: twenty renewals missed are more than a
# file server that restarts takes.
RENEWED, VOID = 15.0, 300.0


@contextmanager
def claim(path: Path, *, locks: bool = True, void: float = VOID) -> Iterator[bool]:
    """Try to be the only process at a run.

    Args:
        path: of the result.
        locks: whether to use the locks of the file system, where it has some.
        void: age of a claim without locks at which it is void [s].

    Yields:
        Whether this process is the one.
    """
    lock = lock_path(path)
    held = _locked(lock) if locks and fcntl is not None else None
    if held is None:
        yield from _by_file(lock, void)
        return
    try:
        if held >= 0:
            os.ftruncate(held, 0)
            os.write(held, _holder())
        yield held >= 0
    finally:
        if held >= 0:
            # Before it is given back: whoever opens the name after this makes a new file.
            lock.unlink(missing_ok=True)
            os.close(held)


def lock_path(path: Path) -> Path:
    """The file that claims a run."""
    return path.with_suffix(".lock")


def is_held(lock: Path) -> bool:
    """Whether a process is at the run of a lock file; one that was killed leaves the file and not the lock."""
    if fcntl is None:
        return lock.exists()
    try:
        file = os.open(lock, os.O_RDONLY)
    except OSError:
        return False
    try:
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return lock.exists()
    finally:
        os.close(file)
    return False


def _locked(lock: Path) -> int | None:
    """A file descriptor with the lock, -1 where another process has it, None where there are no locks."""
    while True:
        held = os.open(lock, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(held)
            return -1
        except OSError:
            os.close(held)
            return None
        # The holder before may have removed the name between the two calls: then this is a lock on nothing.
        try:
            same = os.stat(lock).st_ino == os.fstat(held).st_ino
        except FileNotFoundError:
            same = False
        if same:
            return held
        os.close(held)


def _by_file(lock: Path, void: float) -> Iterator[bool]:
    if not _made(lock) and not (_age(lock) > void and _taken_over(lock)):
        yield False
        return
    ended = threading.Event()

    def renew() -> None:
        while not ended.wait(min(RENEWED, void / 4)):
            try:
                lock.write_bytes(_holder())
            except OSError:
                continue

    thread = threading.Thread(target=renew, daemon=True)
    thread.start()
    try:
        yield True
    finally:
        ended.set()
        thread.join()
        lock.unlink(missing_ok=True)


def _made(lock: Path) -> bool:
    """Make the file where there is none: a link to a file of our own is atomic on every NFS, unlike O_EXCL on old ones."""
    own = lock.with_name(f".{lock.name}.{uuid4().hex[:8]}")
    own.write_bytes(_holder())
    try:
        os.link(own, lock)
    except FileExistsError:
        return False
    except OSError:  # no links either
        try:
            os.close(os.open(lock, os.O_CREAT | os.O_EXCL | os.O_WRONLY))
        except FileExistsError:
            return False
    finally:
        own.unlink(missing_ok=True)
    return True


def _taken_over(lock: Path) -> bool:
    """Move a void claim away, which one process alone can, and make one of our own."""
    old = lock.with_name(f".{lock.name}.{uuid4().hex[:8]}.void")
    try:
        os.rename(lock, old)
    except FileNotFoundError:
        return False
    old.unlink(missing_ok=True)
    return _made(lock)


def _age(lock: Path) -> float:
    """Seconds since a claim was renewed, by the clock of the file server."""
    now = lock.with_name(f".{lock.name}.{uuid4().hex[:8]}.now")
    try:
        now.write_bytes(b"")
        return now.stat().st_mtime - lock.stat().st_mtime
    except FileNotFoundError:
        return 0.0
    finally:
        now.unlink(missing_ok=True)


def _holder() -> bytes:
    return json.dumps({"host": socket.gethostname(), "process": os.getpid()}).encode()

"""Walking an HDF5 file link by link: cycles end, and no link leads out of the folder of the file unless the user asks.

HDF5 itself follows every link: soft, to a place in the file, and external, to any file that the user may read.
"""

from collections import deque
from contextlib import ExitStack
from functools import cached_property
from pathlib import Path
from typing import Any

import h5py

from phdenoise.io.limits import check_inside
from phdenoise.io.readers.hdf5_heap import check_heaps
from phdenoise.types import InputError

# Links that one name may pass: HDF5's own limit is 16 (H5L_NUM_LINKS).
_MOST_LINKS = 16
# Members of a file that are looked at in search of a movie; real files have some thousands.
_MOST_MEMBERS = 100_000


class Tree:
    """An open HDF5 file and those beside it that its links lead to.

    Attributes:
        file: the open file.
        path: where it lies.
    """

    def __init__(self, path: Path, stack: ExitStack):
        self.path, self._stack = path, stack
        check_heaps(path)
        self._files: dict[Path, h5py.File | None] = {}
        self.file = stack.enter_context(h5py.File(path, "r"))
        self._files[path.resolve()] = self.file
        self.refused: InputError | None = None
        self._open_links = False

    def get(self, group: h5py.Group, name: str, passed: list[str] | None = None) -> Any:
        """A member of a group.

        Args:
            group: where to start.
            name: such as "data" or "entry/data"; from the root of the file where it begins with a slash.
            passed: links that led here, of which there is a limit.

        Returns:
            The group or dataset; None where there is none.

        Raises:
            InputError: a link out of the folder of the file.
        """
        passed = [] if passed is None else passed
        here: Any = group.file["/"] if name.startswith("/") else group
        for part in (p for p in name.split("/") if p not in ("", ".")):
            if not isinstance(here, h5py.Group):
                return None
            here = self._member(here, part, passed)
        return here

    def _member(self, group: h5py.Group, name: str, passed: list[str]) -> Any:
        try:
            link = group.get(name, getlink=True)
            if isinstance(link, h5py.HardLink):
                return group[name]
        except (KeyError, OSError, RuntimeError, ValueError):  # a damaged member
            return None
        if link is None or len(passed) >= _MOST_LINKS:
            return None
        passed.append(name)
        if isinstance(link, h5py.SoftLink):
            return self.get(group, link.path, passed)
        self._open_links = True
        label = f"{self.path}::{group.name.rstrip('/')}/{name}"
        check_inside(label, link.filename)
        file = self.beside(group.file, link.filename)
        return None if file is None else self.get(file, f"/{link.path}", passed)

    def beside(self, file: h5py.File, name: str) -> h5py.File | None:
        """Another file, by its path from the folder of an open one; None where there is none, or one that cannot be read."""
        path = (Path(file.filename).parent / name).resolve()
        if path not in self._files:
            try:
                check_heaps(path)
                self._files[path] = self._stack.enter_context(h5py.File(path, "r"))
            except OSError:
                self._files[path] = None
        return self._files[path]

    def children(self, group: h5py.Group) -> list[tuple[str, Any]]:
        """Names and members that exist, without those that may not be followed."""
        found = []
        for name in group:
            try:
                item = self.get(group, name)
            except InputError as error:
                self.refused, self._open_links = self.refused or error, True
                continue
            if item is not None:
                found.append((name, item))
            else:
                self._open_links = True
        return found

    @cached_property
    def closed(self) -> bool:
        """Whether no link leads to another file, and every link to something."""
        seen = self.datasets  # which follows every link
        return bool(seen) and not self._open_links

    @cached_property
    def datasets(self) -> list[tuple[str, h5py.Dataset]]:
        """Paths and datasets of the file, each once, nearest to the root first; groups in a circle end."""
        found: list[tuple[str, h5py.Dataset]] = []
        queue: deque[tuple[str, h5py.Group]] = deque([("", self.file["/"])])
        seen = {identity(self.file["/"])}
        while queue and len(seen) < _MOST_MEMBERS:
            path, group = queue.popleft()
            for name, item in self.children(group):
                key = identity(item)
                if key in seen or len(seen) >= _MOST_MEMBERS:
                    continue
                seen.add(key)
                if isinstance(item, h5py.Dataset):
                    found.append((f"{path}/{name}", item))
                elif isinstance(item, h5py.Group):
                    queue.append((f"{path}/{name}", item))
        return found


def identity(item: Any) -> tuple[int, int]:
    """Two numbers that are the same for all names of one group or dataset."""
    info = h5py.h5o.get_info(item.id)
    return info.fileno, info.addr

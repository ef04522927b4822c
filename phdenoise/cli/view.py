"""`phdenoise view`: a result as a player in one page, as a film, or as a strip of frames."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from tyro.conf import Positional, arg

from phdenoise.cli.options import ReadConfig, check_outputs, read_one
from phdenoise.io.atomic import atomic
from phdenoise.io.films import FILMS
from phdenoise.io.reading import split
from phdenoise.types import InputError

if TYPE_CHECKING:
    from phdenoise.figures.scene import Scene

_PAGES, _STRIPS = (".html",), (".png", ".svg", ".pdf")


@dataclass(frozen=True)
class View:
    """Show a result: a player in one HTML page, a film (.mp4 .gif) or a strip of frames (.png .svg .pdf)."""

    file: Positional[str]
    """Result of denoise, folder of a chain, or any movie."""
    output: Annotated[str | None, arg(aliases=["-o"])] = None
    """File to write: .html (a player), .mp4 or .gif (a film), .png .svg .pdf (a strip of frames); by default FILE_view.html beside FILE."""
    layers: tuple[str, ...] = ()
    """What to show, in this order: noisy, denoised, sd, residual; by default all."""
    fps: float = 10.0
    """Frames of a film in a second [1/s]."""
    columns: int = 6
    """Frames of a strip."""
    reading: Annotated[ReadConfig, arg(name="")] = field(default_factory=ReadConfig)
    overwrite: bool = False
    """Replace an existing output."""

    def run(self) -> None:
        """Read the result, draw it, and say where it is."""
        from phdenoise.report.viewer import chosen, result_file

        if self.columns < 1:
            raise InputError(
                f"--columns says how many frames a strip has: give 1 or more, not {self.columns}."
            )
        file = result_file(self.file)
        source = Path(split(file)[0])
        output = self.output or str(source.with_name(f"{source.stem}_view.html"))
        check_outputs(str(source), [output], self.overwrite, [*_PAGES, *_STRIPS, *FILMS])
        scene = chosen(self._scene(file), self.layers)
        path, suffix = Path(output), Path(output).suffix.lower()
        if suffix in FILMS:
            from phdenoise.figures.film import film
            from phdenoise.io.films import write_film

            write_film(film(scene), path, self.fps, overwrite=self.overwrite)
        elif suffix in _STRIPS:
            from phdenoise.figures.plots import save
            from phdenoise.figures.scene import movie_strip

            with atomic(path, self.overwrite) as aside:
                save(movie_strip(scene, self.columns), aside, dpi=300, kind=suffix[1:])
        else:
            from phdenoise.report.viewer import viewer_html

            with atomic(path, self.overwrite) as aside:
                aside.write_text(viewer_html(scene, f"phdenoise: {source.name}"), encoding="utf-8")
        print(f"View of {', '.join(x.name for x in scene.layers)}: {path.resolve()}")

    def _scene(self, file: str) -> Scene:
        """The layers of the file."""
        from phdenoise.report.viewer import movie_with_sd, result_scene

        found = None if "::" in file else result_scene(file)
        if found is not None:
            return found
        movie = read_one(file, self.reading)
        path = Path(file)
        beside = path.with_name(f"{path.stem}_sd{path.suffix}")
        sd = None
        if path.suffix.lower() in (".tif", ".tiff") and beside.is_file():
            # A standard deviation that is the same everywhere is no movie, and nothing to look at.
            with contextlib.suppress(InputError):
                sd = read_one(str(beside), self.reading)
        return movie_with_sd(movie, sd)

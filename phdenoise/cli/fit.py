"""`phdenoise fit`: a movie in, the law that moved it out."""

import contextlib
import dataclasses
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, ClassVar

from tyro.conf import Positional, arg

from phdenoise import selfcheck
from phdenoise.cli.options import Output, ReadConfig, check_outputs, read_one
from phdenoise.cli.progress import ProgressBar
from phdenoise.denoising import denoise
from phdenoise.io.atomic import check_writable
from phdenoise.learn import compare, fit
from phdenoise.learn.config import FitConfig
from phdenoise.learn.laws import LawName
from phdenoise.learn.moves import NothingMoves
from phdenoise.learn.result import FitResult
from phdenoise.report.figure_config import FigureKind
from phdenoise.report.law_files import law_paths, write_law


@dataclass(frozen=True)
class Fit:
    """Fit a law of motion to a movie; writes parameters and curves with standard deviations."""

    basic: ClassVar[frozenset[str]] = frozenset(
        {
            "output",
            "model",
            "compare",
            "figures",
            "joint",
            "pixel-size",
            "frame-interval",
            "seed",
            "overwrite",
        }
    )
    """Flags that --help shows; --help-all shows all."""

    file: Positional[str]
    """Movie to fit; FILE::/dataset or FILE.npz::key picks one."""
    output: Output
    """Result: .json."""
    model: LawName = "cahn-hilliard"
    """Law: cahn-hilliard, fickian or allen-cahn."""
    compare: bool = False
    """Choose the kind of law and the number of its terms first, by held-out frames and information criteria (the degrees given are the largest tried)."""
    held_out: float = 0.3
    """Share of the movie's change, that of its last frames, that --compare judges laws on."""
    config: Annotated[FitConfig, arg(name="")] = field(default_factory=FitConfig)
    reading: Annotated[ReadConfig, arg(name="")] = field(default_factory=ReadConfig)
    figures: tuple[FigureKind, ...] = ("png",)
    """Formats of the figure of the curves beside FIT.json: png (always), svg, pdf; csv writes the data of each panel."""
    overwrite: bool = False
    """Replace an existing output."""

    def run(self) -> None:
        """Fit the law, or choose one first, and write what was found."""
        check_outputs(self.file, [self.output], self.overwrite, [".json"])
        for path in law_paths(self.output, self.compare)[1:]:
            check_writable(path, self.overwrite)
        for kind in {"svg", "pdf"} & set(self.figures):
            beside = Path(self.output)
            check_writable(beside.with_name(f"{beside.stem}_curves.{kind}"), self.overwrite)
        movie = read_one(self.file, self.reading)
        start = time.perf_counter()
        model: str = self.model
        config, found = self.config, None
        with ProgressBar() as bar:
            estimate = denoise(movie, config.denoise) if config.joint and self.compare else None
            if self.compare:
                # Where nothing moves there is nothing to choose, and the fit says so.
                with contextlib.suppress(NothingMoves):
                    found = compare(
                        movie,
                        config=config,
                        held_out=self.held_out,
                        estimate=estimate,
                        progress=bar,
                    )
                    model, config = found.law.model, found.applied(config)
            result = fit(movie, model, config, estimate=estimate, progress=bar)
        if found is not None:
            print(found.sentence)
            result = dataclasses.replace(result, comparison=found.to_dict())
        about = {"versions": selfcheck.versions(), "file": self.file}
        write_law(result, self.output, provenance=about, overwrite=self.overwrite)
        self._write_more_figures(result)
        print(result.outcome)
        print(f"Law ({time.perf_counter() - start:.0f} s): {Path(self.output).resolve()}")

    def _write_more_figures(self, result: FitResult) -> None:
        """The curves in the formats asked for beside PNG, which is always there."""
        kinds = [k for k in self.figures if k != "png"]
        if kinds and result.curves:
            from phdenoise.report.folder import write_figures

            path = Path(self.output)
            write_figures(path.parent, {f"{path.stem}_curves": result.plot()}, kinds)

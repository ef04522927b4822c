"""`phdenoise demo`: the whole chain on a twin whose law is known, or on a movie of yours, with a report.

The output folder is that of `phdenoise.report.analysis`.
"""

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated, ClassVar

from tyro.conf import arg

from phdenoise.analysis import AnalysisConfig, analyse
from phdenoise.cli.options import Output, ReadConfig, read_all
from phdenoise.cli.progress import ProgressBar, denoising_stages
from phdenoise.denoising.config import DenoiseConfig
from phdenoise.io.atomic import check_writable
from phdenoise.learn.config import FitConfig
from phdenoise.learn.laws import LawName
from phdenoise.movie import Movie
from phdenoise.report.analysis import write_analysis
from phdenoise.report.figure_config import FigureConfig
from phdenoise.report.page import REPORT
from phdenoise.simulation import SimulateConfig, simulate


def _twin() -> SimulateConfig:
    return SimulateConfig(size=(64, 64), frames=101, sigma=0.15)


def _law() -> FitConfig:
    return FitConfig(max_side=64, iterations=12, field_waves=12, precision="float32")


@dataclass(frozen=True)
class DemoConfig:
    """What the demonstration runs on."""

    movie: str | None = None
    """A movie of yours instead of the twin; FILE::/dataset or FILE.npz::key picks one."""
    model: LawName = "cahn-hilliard"
    """Law to fit: cahn-hilliard or fickian."""
    twin: SimulateConfig = field(default_factory=_twin)
    """The simulated movie."""
    denoise: DenoiseConfig = field(default_factory=lambda: DenoiseConfig(preset="quick"))
    """How to denoise."""
    fit: FitConfig = field(default_factory=_law)
    """How to fit."""


@dataclass(frozen=True)
class Demo:
    """The whole chain on a simulated twin, or with --movie on yours; writes a report with figures."""

    basic: ClassVar[frozenset[str]] = frozenset(
        {
            "output",
            "movie",
            "model",
            "denoise.preset",
            "pixel-size",
            "frame-interval",
            "figures",
            "overwrite",
        }
    )
    """Flags that --help shows; --help-all shows all."""

    output: Output
    """Folder to write: report.html, results, figures, numbers.csv, provenance.json."""
    config: Annotated[DemoConfig, arg(name="")] = field(default_factory=DemoConfig)
    reading: Annotated[ReadConfig, arg(name="")] = field(default_factory=ReadConfig)
    pages: Annotated[FigureConfig, arg(name="")] = field(default_factory=FigureConfig)
    overwrite: bool = False
    """Replace an existing folder."""

    def run(self) -> None:
        """Run the chain and write its folder."""
        config = self.config
        inputs = [config.movie.split("::")[0]] if config.movie else []
        check_writable(self.output, self.overwrite, folder=True, inputs=inputs)
        movie, clean = self._movie()
        seeds = {
            "denoise": config.denoise.seed,
            "fit": config.fit.seed,
            "twin": None if config.movie else config.twin.seed,
        }
        fits = ("noisy fit: law", "denoised fit: law", "joint fit: law and field")
        with ProgressBar((*denoising_stages(config.denoise), *fits)) as bar:
            found = analyse(
                movie,
                AnalysisConfig(config.model, config.denoise, config.fit),
                clean=clean,
                progress=bar,
            )
            sentences = write_analysis(
                self.output,
                movie,
                found,
                clean=clean,
                about={"config": asdict(config), "seeds": seeds},
                overwrite=self.overwrite,
                progress=bar,
                pages=self.pages,
            )
        for sentence in sentences:
            print(sentence)
        print(f"Report: {(Path(self.output) / REPORT).resolve()}")

    def _movie(self) -> tuple[Movie, Movie | None]:
        """The movie, and the clean one where it is simulated."""
        if self.config.movie is None:
            return simulate(self.config.model, self.config.twin)
        channels = read_all(self.config.movie, self.reading)
        if len(channels) == 1:
            return channels.movies[0], None
        names = ", ".join(channels.names)
        print(
            f"The channels {names} are averaged, as a law describes one quantity; --channel takes another."
        )
        return channels.one("mean"), None

"""`phdenoise optical`: a colour movie of graphite to phases, state of charge and fronts."""

from dataclasses import dataclass, field
from typing import Annotated, ClassVar

from tyro.conf import Positional, arg

from phdenoise.cli.options import Output, ReadConfig, print_findings, read_all
from phdenoise.cli.progress import ProgressBar, denoising_stages
from phdenoise.io.atomic import check_writable
from phdenoise.modalities.optical.config import OpticalConfig
from phdenoise.modalities.optical.report import run_optical
from phdenoise.report.figure_config import FigureConfig


@dataclass(frozen=True)
class Optical:
    """Colour movie of graphite to phases, state of charge and fronts of its particles, with a report."""

    basic: ClassVar[frozenset[str]] = frozenset(
        {
            "output",
            "reference",
            "region",
            "dark",
            "denoise.preset",
            "pixel-size",
            "frame-interval",
            "figures",
            "overwrite",
        }
    )
    """Flags that --help shows; --help-all shows all."""

    file: Positional[str]
    """Colour movie: a stack (.tif .h5 .npz ...), or a video (.mp4 .avi .mov .mkv .gif)."""
    output: Output
    """Folder to write: report.html, channels.h5, fraction.h5, maps.npz, particles.csv, numbers.csv, figures, provenance.json."""
    config: Annotated[OpticalConfig, arg(name="")] = field(default_factory=OpticalConfig)
    reading: Annotated[ReadConfig, arg(name="")] = field(default_factory=ReadConfig)
    pages: Annotated[FigureConfig, arg(name="")] = field(default_factory=FigureConfig)
    overwrite: bool = False
    """Replace an existing folder."""

    def run(self) -> None:
        """Run the chain and write its folder."""
        check_writable(self.output, self.overwrite, folder=True, inputs=[self.file.split("::")[0]])
        channels = read_all(self.file, self.reading)
        with ProgressBar(denoising_stages(self.config.denoise)) as bar:
            result = run_optical(
                channels,
                self.output,
                self.config,
                overwrite=self.overwrite,
                progress=bar,
                pages=self.pages,
            )
        print_findings(result, self.output)

"""`phdenoise tem`: images of a nanoparticle to columns with errors, and which atoms to believe."""

from dataclasses import dataclass, field
from typing import Annotated, ClassVar

from tyro.conf import Positional, arg

from phdenoise.cli.options import Output, print_findings
from phdenoise.cli.progress import ProgressBar
from phdenoise.modalities.tem.config import TemConfig
from phdenoise.modalities.tem.report import run_tem
from phdenoise.report.figure_config import FigureConfig


@dataclass(frozen=True)
class Tem:
    """TEM images of a nanoparticle to columns with errors, and which surface atoms to believe, with a report."""

    basic: ClassVar[frozenset[str]] = frozenset(
        {
            "output",
            "pixel-size",
            "frame-interval",
            "columns.width",
            "columns.contrast",
            "network",
            "figures",
            "overwrite",
        }
    )
    """Flags that --help shows; --help-all shows all."""

    file: Positional[str]
    """Image or movie of counts (.mrc .dm3 .dm4 .emd .ser .tvips .tif .h5 .npz ...)."""
    output: Output
    """Folder to write: report.html, columns.csv, sites.csv, tem.h5, denoised.h5, numbers.csv, figures, provenance.json."""
    config: Annotated[TemConfig, arg(name="")] = field(default_factory=TemConfig)
    pages: Annotated[FigureConfig, arg(name="")] = field(default_factory=FigureConfig)
    overwrite: bool = False
    """Replace an existing folder."""

    def run(self) -> None:
        """Run the chain and write its folder."""
        with ProgressBar() as bar:
            result = run_tem(
                self.file,
                self.output,
                self.config,
                overwrite=self.overwrite,
                progress=bar,
                pages=self.pages,
            )
        print_findings(result, self.output)

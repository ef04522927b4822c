"""`phdenoise stxm`: X-ray scans of a particle to its lithium fraction and the law of its reaction."""

from dataclasses import dataclass, field
from typing import Annotated, ClassVar

from tyro.conf import Positional, arg

from phdenoise.cli.options import Output, print_findings
from phdenoise.cli.progress import ProgressBar, denoising_stages
from phdenoise.modalities.stxm.report import StxmSettings, run_stxm
from phdenoise.report.figure_config import FigureConfig


@dataclass(frozen=True)
class Stxm:
    """X-ray scans of a particle to its lithium fraction, denoised, and the law of its reaction, with a report."""

    basic: ClassVar[frozenset[str]] = frozenset(
        {
            "output",
            "energies",
            "spectra",
            "incident-region",
            "pre-edge",
            "pre-edge-energies",
            "pixel-size",
            "frame-interval",
            "denoise.preset",
            "figures",
            "overwrite",
        }
    )
    """Flags that --help shows; --help-all shows all."""

    file: Positional[tuple[str, ...]]
    """Scans: one movie for each energy (give --energies), or one stack over energies for each time."""
    output: Output
    """Folder to write: report.html, lithium.h5, quantities.h5, FIT_particle.json, numbers.csv, mean.csv, figures, provenance.json."""
    config: Annotated[StxmSettings, arg(name="")] = field(default_factory=StxmSettings)
    pages: Annotated[FigureConfig, arg(name="")] = field(default_factory=FigureConfig)
    overwrite: bool = False
    """Replace an existing folder."""

    def run(self) -> None:
        """Run the chain and write its folder."""
        with ProgressBar(denoising_stages(self.config.chain.denoise)) as bar:
            result = run_stxm(
                self.file,
                self.output,
                self.config,
                overwrite=self.overwrite,
                progress=bar,
                pages=self.pages,
            )
        print_findings(result, self.output)

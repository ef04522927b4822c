"""`phdenoise neutron`: neutron radiographs to lithium."""

from dataclasses import dataclass, field
from typing import Annotated, ClassVar

from tyro.conf import Positional, arg

from phdenoise.cli.options import Output, ReadConfig, print_findings, read_one
from phdenoise.cli.progress import ProgressBar, denoising_stages
from phdenoise.io.atomic import check_writable
from phdenoise.modalities.neutron.chain import NeutronConfig
from phdenoise.modalities.neutron.files import NeutronFiles
from phdenoise.modalities.neutron.report import NeutronSettings, run_neutron
from phdenoise.report.figure_config import FigureConfig


@dataclass(frozen=True)
class Neutron:
    """Neutron radiographs to lithium: maps, profiles, transport and accumulation, with a report."""

    basic: ClassVar[frozenset[str]] = frozenset(
        {
            "output",
            "open-beam",
            "dark",
            "current",
            "line",
            "electrode",
            "rest",
            "dose-region",
            "pixel-size",
            "frame-interval",
            "denoise.preset",
            "figures",
            "overwrite",
        }
    )
    """Flags that --help shows; --help-all shows all."""

    file: Positional[str]
    """Radiographs: a stack, or a folder of .tif or .fits frames."""
    output: Output
    """Folder to write: report.html, lithium.h5, counts.h5, profile.csv, numbers.csv, figures, provenance.json."""
    files: Annotated[NeutronFiles, arg(name="")] = field(default_factory=NeutronFiles)
    config: Annotated[NeutronConfig, arg(name="")] = field(default_factory=NeutronConfig)
    reading: Annotated[ReadConfig, arg(name="")] = field(default_factory=ReadConfig)
    pages: Annotated[FigureConfig, arg(name="")] = field(default_factory=FigureConfig)
    overwrite: bool = False
    """Replace an existing folder."""

    def run(self) -> None:
        """Run the chain and write its folder."""
        check_writable(
            self.output,
            self.overwrite,
            folder=True,
            inputs=[self.file.split("::")[0], *self.files.paths()],
        )
        movie = read_one(self.file, self.reading)
        settings = NeutronSettings(self.files, self.config)
        with ProgressBar(denoising_stages(self.config.denoise)) as bar:
            result = run_neutron(
                movie,
                self.output,
                settings,
                overwrite=self.overwrite,
                progress=bar,
                pages=self.pages,
            )
        print_findings(result, self.output)

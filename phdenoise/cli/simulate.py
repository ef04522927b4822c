"""`phdenoise simulate`: a noisy movie of a known law, and the clean one."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, arg

from phdenoise.cli.options import Output, check_outputs
from phdenoise.io.writing import SUFFIXES, write
from phdenoise.simulation import SimulateConfig, TwinName, simulate


@dataclass(frozen=True)
class Simulate:
    """Simulate a noisy twin movie of a known law; the clean one is written beside it (*_clean)."""

    model: Positional[TwinName]
    """Law: cahn-hilliard, fickian or allen-cahn."""
    output: Output
    """Noisy movie: .h5 or .tif."""
    config: Annotated[SimulateConfig, arg(name="")] = field(default_factory=SimulateConfig)
    overwrite: bool = False
    """Replace existing outputs."""

    def run(self) -> None:
        """Simulate both movies and write them."""
        path = Path(self.output)
        beside = path.with_name(f"{path.stem}_clean{path.suffix}")
        check_outputs(None, [str(path), str(beside)], self.overwrite, SUFFIXES)
        movie, clean = simulate(self.model, self.config)
        write(movie, path, overwrite=self.overwrite)
        write(clean, beside, overwrite=self.overwrite)
        t, y, x = movie.shape
        print(f"{t} frames of {y} x {x} pixels: {path.resolve()}; clean: {beside.resolve()}")

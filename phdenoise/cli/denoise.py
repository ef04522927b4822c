"""`phdenoise denoise`: a movie in, mean and variance out."""

import contextlib
import dataclasses
import io
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, ClassVar, Literal

import numpy as np
import tyro
from tyro.conf import Positional, arg

from phdenoise.channels import Channels
from phdenoise.cli.batch import Item, Shown, is_folder, items_of, run_batch
from phdenoise.cli.options import Output, ReadConfig, check_outputs, read_all, read_one
from phdenoise.cli.progress import ProgressBar, denoising_stages
from phdenoise.denoising.channels import denoise_channels
from phdenoise.denoising.config import DenoiseConfig
from phdenoise.denoising.files import denoise_file, exceeds
from phdenoise.denoising.hallucination import hallucination
from phdenoise.io.atomic import atomic
from phdenoise.io.native import read_estimate
from phdenoise.io.writing import SUFFIXES, write
from phdenoise.learn.law_denoise import denoise
from phdenoise.learn.laws import LawName
from phdenoise.movie import Estimate
from phdenoise.report.origin import COMMAND
from phdenoise.study.identity import canonical, differences
from phdenoise.types import InputError, within


@dataclass(frozen=True)
class Denoise:
    """Denoise movies, each from itself; writes mean and variance with everything needed to redo it."""

    basic: ClassVar[frozenset[str]] = frozenset(
        {
            "output",
            "preset",
            "noise",
            "report",
            "pixel-size",
            "frame-interval",
            "checkpoint",
            "seed",
            "overwrite",
        }
    )
    """Flags that --help shows; --help-all shows all."""

    file: Positional[tuple[str, ...]]
    """Movie to denoise, FILE::/dataset or FILE.npz::key picks one; a folder of frames; or several movies or a folder of them, one after the other."""
    output: Output
    """Result: .h5 (movie, variance, weights, settings), .tif (float32, ImageJ-readable), .ome.tif or .zarr (OME); of several movies a folder."""
    config: Annotated[DenoiseConfig, arg(name="")] = field(default_factory=DenoiseConfig)
    reading: Annotated[ReadConfig, arg(name="")] = field(default_factory=ReadConfig)
    report: str | None = None
    """Also write a report as a page: the movie, its errors, and how far to trust them: .html."""
    hallucination: bool = False
    """Also denoise noise alone, with the same statistics, and say what was invented (a second training)."""
    hallucination_steps: int | None = None
    """Steps of that training; by default those of the first."""
    target: str | None = None
    """A second exposure of the same frames, with noise of its own: the network learns to predict it (Noise2Noise)."""
    clean: str | None = None
    """The clean movie: the network learns to predict it (supervised), for use on others by --weights."""
    law: LawName | Literal["auto"] | None = None
    """Law of motion to denoise with: where it holds the movie is its trajectory, elsewhere the network's. auto: the one that the movie says."""
    weights: str | None = None
    """An earlier result (.h5) whose network is the start; --tune says what of it may change."""
    checkpoint: str | None = None
    """Folder that keeps the training: an interrupted one goes on from there, to the same result."""
    overwrite: bool = False
    """Replace an existing output."""

    def run(self) -> None:
        """Denoise the movies, one channel or all together, and write the results."""
        items = items_of(self.file)
        tables = any(f.lower().endswith(".csv") for f in self.file)
        if len(items) > 1 or is_folder(self.output) or tables:
            self._refuse_single(len(items))
            commands = {i.file: self._with_options(i) for i in items}
            run_batch(
                items,
                self.output,
                self.overwrite,
                {file: _settings(command) for file, command in commands.items()},
                lambda file, output: commands[file]._run_into(file, output),
            )
            return
        self.run_one(items[0].file)

    def _with_options(self, item: Item) -> "Denoise":
        """The command of one movie of several: this one, with options of its own."""
        own = dataclasses.replace(self, file=(item.file,))
        if not item.options:
            return own
        said = io.StringIO()
        words = [item.file, "--output", self.output, *item.options]
        try:
            with contextlib.redirect_stderr(said), contextlib.redirect_stdout(said):
                return tyro.cli(Denoise, args=words, default=own)
        except SystemExit as error:
            given = " ".join(item.options)
            raise InputError(
                f"The options of {item.file} in the table ({given}) cannot be used: name columns as `phdenoise denoise --help` "
                "names options, without dashes."
            ) from error

    def interrupted(self) -> str:
        """What is kept where the command is interrupted, and how to go on."""
        if self.checkpoint is None:
            return "nothing was written. With --checkpoint FOLDER an interrupted training goes on."
        return (
            f"no result was written; the training so far is kept in {self.checkpoint}. The same command goes on from there: "
            f"{COMMAND.get()}"
        )

    def _refuse_single(self, count: int) -> None:
        """Refuse what goes with a single movie."""
        single = {"--target": self.target, "--clean": self.clean, "--checkpoint": self.checkpoint}
        for flag, value in single.items():
            if value is not None and count > 1:
                raise InputError(f"{flag} goes with one movie, not with {count}: leave it out.")

    def _run_into(self, file: str, output: str) -> Shown:
        """One movie of several, with its report beside its result."""
        page = None if self.report is None else str(Path(output).with_suffix(".html"))
        return dataclasses.replace(self, file=(file,), output=output, report=page).run_one(file)

    def run_one(self, file: str) -> Shown:
        """Denoise one movie and write the result.

        Args:
            file: `FILE`, `FILE::DATASET` or a folder of frames.

        Returns:
            What a batch tells of it.

        Raises:
            InputError: the movie, a setting or the output cannot be used.
        """
        check_outputs(file, [self.output], self.overwrite, SUFFIXES)
        if self.report is not None:
            check_outputs(file, [self.report], self.overwrite, [".html"])
        pretrained = None if self.weights is None else read_estimate(self.weights)
        if exceeds(file, self.config, channel=self.reading.channel):
            self._refuse_pairs(file)
            return self._run_in_parts(file, pretrained)
        channels = read_all(file, self.reading)
        if len(channels) > 1:
            self._refuse_pairs(file)
            return self._run_channels(file, channels)
        movie = channels.movies[0]
        target, clean = (
            None if path is None else read_one(path, self.reading)
            for path in (self.target, self.clean)
        )
        if self.hallucination and (target or clean):
            raise InputError(
                "--hallucination trains on noise alone: leave out --target and --clean."
            )
        with ProgressBar(denoising_stages(self.config)) as bar:
            estimate = denoise(
                movie,
                self.config,
                law=self.law,
                pretrained=pretrained,
                checkpoint=self.checkpoint,
                progress=bar,
                target=target,
                clean=clean,
            )
            if self.hallucination:
                steps = self.hallucination_steps or int(estimate.settings["steps"])
                found = hallucination(
                    estimate,
                    dataclasses.replace(self.config, steps=steps),
                    progress=within(bar, "noise alone"),
                )
                estimate = dataclasses.replace(
                    estimate,
                    trust={**estimate.trust, "hallucination": found.to_dict()},
                    log=(*estimate.log, found.sentence),
                )
        write(estimate, self.output, overwrite=self.overwrite)
        return self._conclude(estimate)

    def _refuse_pairs(self, file: str) -> None:
        if self.target or self.clean or self.law:
            raise InputError(
                f"--target, --clean and --law go with one channel that fits in memory, {file} is not such a movie: choose "
                "a --channel, or give more --memory."
            )

    def _run_in_parts(self, file: str, pretrained: Estimate | None) -> Shown:
        """From file to file, where memory does not hold the movie."""
        if self.hallucination:
            raise InputError(
                f"--hallucination denoises all of {file} again, which does not fit in memory: leave it out, or "
                "give more --memory."
            )
        with ProgressBar(denoising_stages(self.config)) as bar:
            estimate = denoise_file(
                file,
                self.output,
                self.config,
                pixel_size=self.reading.pixel_size,
                frame_interval=self.reading.frame_interval,
                override=self.reading.override,
                pretrained=pretrained,
                checkpoint=self.checkpoint,
                overwrite=self.overwrite,
                progress=bar,
            )
        return self._conclude(estimate)

    def _conclude(self, estimate: Estimate) -> Shown:
        """What was found, and where it is."""
        for sentence in estimate.log:
            print(sentence)
        print(f"Denoised movie and variance: {Path(self.output).resolve()}")
        if self.report is not None:
            self._write_report(estimate, Path(self.report))
            print(f"Report: {Path(self.report).resolve()}")
        return _shown(estimate)

    def _write_report(self, estimate: Estimate, page: Path) -> None:
        from phdenoise.report.page import report_html
        from phdenoise.report.trust import denoise_report

        with ProgressBar() as bar, atomic(page, self.overwrite) as text:
            text.write_text(report_html(denoise_report(estimate, bar)), encoding="utf-8")

    def _run_channels(self, file: str, channels: Channels) -> Shown:
        """All channels together; what is made for one movie asks for a single channel."""
        single = {"--weights": self.weights is not None, "--hallucination": self.hallucination}
        for flag, asked in single.items():
            if asked:
                raise InputError(
                    f"{flag} is for one channel, and {file} has {len(channels)} "
                    f"({', '.join(channels.names)}): choose one with --channel, or leave {flag} out."
                )
        with ProgressBar() as bar:
            result = denoise_channels(
                channels,
                self.config,
                checkpoint=self.checkpoint,
                progress=bar,
            )
        for sentence in result.sentences():
            print(sentence)
        write(result, self.output, overwrite=self.overwrite)
        print(f"Denoised channels and variances: {Path(self.output).resolve()}")
        if self.report is not None:
            page = Path(self.report)
            for name, estimate in zip(result.names, result.estimates, strict=True):
                own = page.with_name(f"{page.stem}_{name.replace('/', '_')}{page.suffix}")
                self._write_report(estimate, own)
                print(f"Report of channel {name}: {own.resolve()}")
        first = _shown(result.estimates[0])
        return Shown({**first.numbers, "channels": float(len(result.names))}, first.pictures)


def _settings(command: Denoise) -> str:
    """What decides a result besides the movie, as text."""
    changes = differences(dataclasses.replace(command, file=(), output="", overwrite=False))
    return canonical({k: v for k, v in changes.items() if k not in ("file", "output")})


def _shown(estimate: Estimate) -> Shown:
    """Size, noise, errors and warnings, and the middle frame."""
    frames, height, width = estimate.mean.shape
    t = frames // 2
    numbers = {
        "frames": float(frames),
        "height": float(height),
        "width": float(width),
        "measured_sd": float(
            np.sqrt(np.nanmean((estimate.movie.frames[t] - estimate.mean[t]) ** 2))
        ),
        "denoised_sd": float(np.sqrt(np.nanmedian(estimate.variance[t]))),
        # Of channels each component has its own number of steps.
        "steps": float(np.max(estimate.settings.get("steps") or 0)),
        "warnings": float(len(estimate.trust.get("warnings", ()))),
    }
    return Shown(numbers, (np.asarray(estimate.movie.frames[t]), np.asarray(estimate.mean[t])))

"""`phdenoise info, denoise, simulate, fit, demo, neutron, stxm, optical`: the command line, generated from the dataclasses.

Everything a command can be told is a field with its unit and default; `phdenoise COMMAND --help` shows them.
A user's mistake ends with one sentence on standard error and exit code 2.
"""

import dataclasses
import os
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import tyro
from tyro.conf import Positional, arg

from phdenoise import selfcheck
from phdenoise.chains.neutron import NeutronConfig
from phdenoise.chains.neutron_files import NeutronFiles
from phdenoise.chains.neutron_report import REPORT, NeutronSettings, run_neutron
from phdenoise.chains.optical_config import OpticalConfig
from phdenoise.chains.optical_report import run_optical
from phdenoise.chains.stxm_report import StxmSettings, run_stxm
from phdenoise.channels import Channels
from phdenoise.demo import DemoConfig, run_demo
from phdenoise.hallucination import hallucination
from phdenoise.io import (
    Layout,
    check_values,
    check_writable,
    read,
    read_channels,
    read_estimate,
    write,
)
from phdenoise.io.atomic import atomic
from phdenoise.law_files import law_paths, write_law
from phdenoise.learn import FitConfig, ModelName, compare, fit
from phdenoise.movie import Estimate, Movie
from phdenoise.noise import estimate_noise
from phdenoise.pipeline import SimulateConfig, simulate
from phdenoise.streaming import denoise_file, exceeds
from phdenoise.training import DenoiseConfig, denoise, denoise_channels
from phdenoise.types import InputError, within

Output = Annotated[str, arg(aliases=["-o"])]


@dataclass(frozen=True)
class ReadConfig:
    """How to read the input."""

    pixel_size: float | None = None
    """Pixel size [um unless the file says otherwise]; overrides the file's."""
    frame_interval: float | None = None
    """Time between frames [s]; overrides the file's."""
    channel: str = "all"
    """Of a movie with several channels: all (info, and denoise, which uses them together), mean, r, g, b or an index."""
    channels: Layout | None = None
    """Where the channel axis of a bare array is: first [t, c, y, x] or last [t, y, x, c]; by default by its size."""


@dataclass(frozen=True)
class Info:
    """Versions and devices; for a file: shape, units, times, noise estimate, suggested settings."""

    file: Positional[str | None] = None
    """Movie: .h5 .hdf5 .nxs .tif .tiff .npy .npz; FILE::/dataset or FILE.npz::key picks one."""
    reading: Annotated[ReadConfig, arg(name="")] = field(default_factory=ReadConfig)


@dataclass(frozen=True)
class Denoise:
    """Denoise a movie from itself; writes mean and variance with everything needed to redo it."""

    file: Positional[str]
    """Movie to denoise; FILE::/dataset or FILE.npz::key picks one."""
    output: Output
    """Result: .h5 (movie, variance, weights, settings) or .tif (float32, ImageJ-readable)."""
    config: Annotated[DenoiseConfig, arg(name="")] = field(default_factory=DenoiseConfig)
    reading: Annotated[ReadConfig, arg(name="")] = field(default_factory=ReadConfig)
    report: str | None = None
    """Also write the trust report as a page with figures: .html."""
    hallucination: bool = False
    """Also denoise noise alone, with the same statistics, and say what was invented (a second training)."""
    hallucination_steps: int | None = None
    """Steps of that training; by default those of the first."""
    target: str | None = None
    """A second exposure of the same frames, with noise of its own: the network learns to predict it (Noise2Noise)."""
    clean: str | None = None
    """The clean movie: the network learns to predict it (supervised), for use on others by --weights."""
    weights: str | None = None
    """An earlier result (.h5) whose network is the start; --tune says what of it may change."""
    checkpoint: str | None = None
    """Folder that keeps the training: an interrupted one goes on from there, to the same result."""
    overwrite: bool = False
    """Replace an existing output."""


@dataclass(frozen=True)
class Simulate:
    """Simulate a noisy twin movie of a known law; the clean one is written beside it (*_clean)."""

    model: Positional[ModelName]
    """Law: cahn-hilliard, fickian or allen-cahn."""
    output: Output
    """Noisy movie: .h5 or .tif."""
    config: Annotated[SimulateConfig, arg(name="")] = field(default_factory=SimulateConfig)
    overwrite: bool = False
    """Replace existing outputs."""


@dataclass(frozen=True)
class Fit:
    """Fit a law of motion to a movie; writes parameters and curves with standard deviations."""

    file: Positional[str]
    """Movie to fit; FILE::/dataset or FILE.npz::key picks one."""
    output: Output
    """Result: .json."""
    model: ModelName = "cahn-hilliard"
    """Law: cahn-hilliard, fickian or allen-cahn."""
    compare: bool = False
    """Choose the kind of law and the number of its terms first, by held-out frames and information criteria (the degrees given are the largest tried)."""
    held_out: float = 0.3
    """Share of the movie's change, that of its last frames, that --compare judges laws on."""
    config: Annotated[FitConfig, arg(name="")] = field(default_factory=FitConfig)
    reading: Annotated[ReadConfig, arg(name="")] = field(default_factory=ReadConfig)
    overwrite: bool = False
    """Replace an existing output."""


@dataclass(frozen=True)
class Demo:
    """The whole chain on a simulated twin, or with --movie on yours; writes a report with figures."""

    output: Output
    """Folder to write: report.html, results, figures, numbers.csv, provenance.json."""
    config: Annotated[DemoConfig, arg(name="")] = field(default_factory=DemoConfig)
    reading: Annotated[ReadConfig, arg(name="")] = field(default_factory=ReadConfig)
    overwrite: bool = False
    """Replace an existing folder."""


@dataclass(frozen=True)
class Neutron:
    """Neutron radiographs to lithium: maps, profiles, transport and accumulation, with a report."""

    file: Positional[str]
    """Radiographs: a stack, or a folder of .tif or .fits frames."""
    output: Output
    """Folder to write: report.html, lithium.h5, counts.h5, profile.csv, numbers.csv, figures, provenance.json."""
    files: Annotated[NeutronFiles, arg(name="")] = field(default_factory=NeutronFiles)
    config: Annotated[NeutronConfig, arg(name="")] = field(default_factory=NeutronConfig)
    reading: Annotated[ReadConfig, arg(name="")] = field(default_factory=ReadConfig)
    overwrite: bool = False
    """Replace an existing folder."""


@dataclass(frozen=True)
class Stxm:
    """X-ray scans of a particle to its lithium fraction, denoised, and the law of its reaction, with a report."""

    file: Positional[tuple[str, ...]]
    """Scans: one movie for each energy (give --energies), or one stack over energies for each time."""
    output: Output
    """Folder to write: report.html, lithium.h5, quantities.h5, FIT_particle.json, numbers.csv, mean.csv, figures, provenance.json."""
    config: Annotated[StxmSettings, arg(name="")] = field(default_factory=StxmSettings)
    overwrite: bool = False
    """Replace an existing folder."""


@dataclass(frozen=True)
class Optical:
    """Colour movie of graphite to phases, state of charge and fronts of its particles, with a report."""

    file: Positional[str]
    """Colour movie: a stack (.tif .h5 .npz ...), or a video (.mp4 .avi .mov .mkv .gif)."""
    output: Output
    """Folder to write: report.html, channels.h5, fraction.h5, maps.npz, particles.csv, numbers.csv, figures, provenance.json."""
    config: Annotated[OpticalConfig, arg(name="")] = field(default_factory=OpticalConfig)
    reading: Annotated[ReadConfig, arg(name="")] = field(default_factory=ReadConfig)
    overwrite: bool = False
    """Replace an existing folder."""


Command = (
    Annotated[Info, tyro.conf.subcommand("info")]
    | Annotated[Denoise, tyro.conf.subcommand("denoise")]
    | Annotated[Simulate, tyro.conf.subcommand("simulate")]
    | Annotated[Fit, tyro.conf.subcommand("fit")]
    | Annotated[Demo, tyro.conf.subcommand("demo")]
    | Annotated[Neutron, tyro.conf.subcommand("neutron")]
    | Annotated[Stxm, tyro.conf.subcommand("stxm")]
    | Annotated[Optical, tyro.conf.subcommand("optical")]
)


def main(arguments: list[str] | None = None) -> None:
    """Entry point; exits with 2 after one sentence on a user's mistake."""
    try:
        command = tyro.cli(
            Command,
            prog="phdenoise",
            description="Denoise an operando movie without clean labels and learn the law that moved it.",
            args=arguments,
        )
        selfcheck.check()
        _RUN[type(command)](command)
    except InputError as error:
        print(f"phdenoise: {error}", file=sys.stderr)
        sys.exit(2)
    except MemoryError:
        print("phdenoise: out of memory: crop the movie or use fewer frames.", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print("phdenoise: interrupted; nothing was written.", file=sys.stderr)
        sys.exit(130)
    except BrokenPipeError:
        # Whoever read the output (`| head`) has gone; what is still in the buffer has no reader either.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(141)


def _info(command: Info) -> None:
    for name, value in selfcheck.versions().items():
        print(f"{name:<12} {value}")
    if command.file is None:
        selfcheck.check(force=True)
        print("self-check   jitted products and reductions are right on this machine")
        return
    channels = _read_all(command.file, command.reading)
    for name, one in zip(channels.names, channels.movies, strict=True):
        if len(channels) > 1:
            print(f"channel      {name}")
        _describe(one, command.file, len(channels) > 1)


def _describe(movie: Movie, file: str, several: bool) -> None:
    valid = movie.valid()
    t, y, x = movie.shape
    values = movie.frames[valid]
    print(f"file         {file}")
    print(f"shape        {t} frames of {y} x {x} pixels, {movie.frames.dtype}")
    dy, dx = movie.pixel_size
    print(f"pixel        {dy:g} x {dx:g} {movie.length_unit}")
    first, last = movie.times[0], movie.times[-1]
    interval = np.median(np.diff(movie.times)) if t > 1 else float("nan")
    print(f"times        {first:g} to {last:g} {movie.time_unit}, interval {interval:g}")
    print(f"intensity    {values.min():.6g} to {values.max():.6g} {movie.intensity_unit}")
    print(f"valid        {100 * valid.mean():.4g} % of pixels")
    for note in movie.provenance.get("notes", ()):
        print(f"note         {note}")
    noise = estimate_noise(movie.frames, valid)
    for sentence in noise.sentences:
        print(f"noise        {sentence}")
    if several:
        return
    kind = type(noise.model).__name__
    flag = {"Gaussian": "gaussian", "Poisson": "poisson"}.get(kind, "poisson-gaussian")
    print(f"suggested    phdenoise denoise {file} -o OUT.h5 --noise {flag} --blind {noise.blind}")


def _denoise(command: Denoise) -> None:
    _outputs(
        command.file, [command.output], command.overwrite, {".h5", ".hdf5", ".nxs", ".tif", ".tiff"}
    )
    if command.report is not None:
        _outputs(command.file, [command.report], command.overwrite, {".html"})
    pretrained = None if command.weights is None else read_estimate(command.weights)
    if exceeds(command.file, command.config, channel=command.reading.channel):
        _whole_only(command)
        _denoise_in_parts(command, pretrained)
        return
    channels = _read_all(command.file, command.reading)
    if len(channels) > 1:
        _whole_only(command)
        _denoise_channels(command, channels)
        return
    movie = channels.movies[0]
    target, clean = (
        None if path is None else _read(path, command.reading)
        for path in (command.target, command.clean)
    )
    if command.hallucination and (target or clean):
        raise InputError("--hallucination trains on noise alone: leave out --target and --clean.")
    with _Bar() as bar:
        estimate = denoise(
            movie,
            command.config,
            pretrained=pretrained,
            checkpoint=command.checkpoint,
            progress=bar,
            target=target,
            clean=clean,
        )
        if command.hallucination:
            steps = command.hallucination_steps or int(estimate.settings["steps"])
            found = hallucination(
                estimate,
                dataclasses.replace(command.config, steps=steps),
                progress=within(bar, "noise alone"),
            )
            estimate = dataclasses.replace(
                estimate,
                trust={**estimate.trust, "hallucination": found.to_dict()},
                log=(*estimate.log, found.sentence),
            )
    write(estimate, command.output, overwrite=command.overwrite)
    _conclude(command, estimate)


def _whole_only(command: Denoise) -> None:
    if command.target or command.clean:
        raise InputError(
            f"--target and --clean go with one channel that fits in memory, {command.file} is not such a movie: choose "
            "a --channel, or give more --memory."
        )


def _denoise_in_parts(command: Denoise, pretrained: Estimate | None) -> None:
    """From file to file, where memory does not hold the movie."""
    if command.hallucination:
        raise InputError(
            f"--hallucination denoises all of {command.file} again, which does not fit in memory: leave it out, or "
            "give more --memory."
        )
    with _Bar() as bar:
        estimate = denoise_file(
            command.file,
            command.output,
            command.config,
            pixel_size=command.reading.pixel_size,
            frame_interval=command.reading.frame_interval,
            pretrained=pretrained,
            checkpoint=command.checkpoint,
            overwrite=command.overwrite,
            progress=bar,
        )
    _conclude(command, estimate)


def _conclude(command: Denoise, estimate: Estimate) -> None:
    """What was found, and where it is."""
    for sentence in estimate.log:
        print(sentence)
    print(f"Denoised movie and variance: {Path(command.output).resolve()}")
    if command.report is not None:
        from phdenoise.figures import trust_page

        with _Bar() as bar, atomic(Path(command.report), command.overwrite) as page:
            page.write_text(trust_page(estimate, bar), encoding="utf-8")
        print(f"Trust report: {Path(command.report).resolve()}")


def _denoise_channels(command: Denoise, channels: Channels) -> None:
    """All channels together; what is made for one movie asks for a single channel."""
    single = {"--weights": command.weights is not None, "--hallucination": command.hallucination}
    for flag, asked in single.items():
        if asked:
            raise InputError(
                f"{flag} is for one channel, and {command.file} has {len(channels)} "
                f"({', '.join(channels.names)}): choose one with --channel, or leave {flag} out."
            )
    with _Bar() as bar:
        result = denoise_channels(
            channels,
            command.config,
            checkpoint=command.checkpoint,
            progress=bar,
        )
    for sentence in result.sentences():
        print(sentence)
    write(result, command.output, overwrite=command.overwrite)
    print(f"Denoised channels and variances: {Path(command.output).resolve()}")
    if command.report is not None:
        from phdenoise.figures import trust_page

        page = Path(command.report)
        for name, estimate in zip(result.names, result.estimates, strict=True):
            file = page.with_name(f"{page.stem}_{name.replace('/', '_')}{page.suffix}")
            with _Bar() as bar, atomic(file, command.overwrite) as text:
                text.write_text(trust_page(estimate, bar), encoding="utf-8")
            print(f"Trust report of channel {name}: {file.resolve()}")


def _simulate(command: Simulate) -> None:
    path = Path(command.output)
    beside = path.with_name(f"{path.stem}_clean{path.suffix}")
    _outputs(
        None, [str(path), str(beside)], command.overwrite, {".h5", ".hdf5", ".nxs", ".tif", ".tiff"}
    )
    movie, clean = simulate(command.model, command.config)
    write(movie, path, overwrite=command.overwrite)
    write(clean, beside, overwrite=command.overwrite)
    t, y, x = movie.shape
    print(f"{t} frames of {y} x {x} pixels: {path.resolve()}; clean: {beside.resolve()}")


def _fit(command: Fit) -> None:
    _outputs(command.file, [command.output], command.overwrite, {".json"})
    for path in law_paths(command.output, command.compare)[1:]:
        check_writable(path, command.overwrite)
    movie = _read(command.file, command.reading)
    start = time.perf_counter()
    model, config, found = command.model, command.config, None
    with _Bar() as bar:
        estimate = denoise(movie, config.denoise) if config.joint and command.compare else None
        if command.compare:
            found = compare(
                movie, config, held_out=command.held_out, estimate=estimate, progress=bar
            )
            model, config = found.law.model, found.applied(config)
        result = fit(movie, model, config, estimate=estimate, progress=bar)
    if found is not None:
        print(found.sentence)
        result = dataclasses.replace(result, comparison=found.to_dict())
    about = {"versions": selfcheck.versions(), "file": command.file}
    write_law(result, command.output, provenance=about, overwrite=command.overwrite)
    print(result.outcome)
    print(f"Law ({time.perf_counter() - start:.0f} s): {Path(command.output).resolve()}")


def _demo(command: Demo) -> None:
    config = command.config
    inputs = [config.movie.split("::")[0]] if config.movie else []
    check_writable(command.output, command.overwrite, folder=True, inputs=inputs)
    movie = None
    if config.movie is not None:
        channels = _read_all(config.movie, command.reading)
        movie = channels.movies[0]
        if len(channels) > 1:
            movie = channels.one("mean")
            names = ", ".join(channels.names)
            print(
                f"The channels {names} are averaged, for a law moves one quantity; --channel takes another."
            )
    with _Bar() as bar:
        report = run_demo(command.output, config, movie, overwrite=command.overwrite, progress=bar)
    for sentence in report.sentences:
        print(sentence)
    print(f"Report: {(Path(command.output) / report.name).resolve()}")


def _tell(result: Any, output: str) -> None:
    """What a chain found, and where its report is."""
    for warning in result.warnings:
        print(f"Warning: {warning}")
    for sentence in result.sentences:
        print(sentence)
    print(f"Report: {(Path(output) / REPORT).resolve()}")


def _neutron(command: Neutron) -> None:
    check_writable(
        command.output,
        command.overwrite,
        folder=True,
        inputs=[command.file.split("::")[0], *command.files.paths()],
    )
    movie = _read(command.file, command.reading)
    settings = NeutronSettings(command.files, command.config)
    with _Bar() as bar:
        result = run_neutron(
            movie,
            command.output,
            settings,
            overwrite=command.overwrite,
            progress=bar,
        )
    _tell(result, command.output)


def _stxm(command: Stxm) -> None:
    with _Bar() as bar:
        result = run_stxm(
            command.file, command.output, command.config, overwrite=command.overwrite, progress=bar
        )
    _tell(result, command.output)


def _optical(command: Optical) -> None:
    check_writable(
        command.output, command.overwrite, folder=True, inputs=[command.file.split("::")[0]]
    )
    channels = _read_all(command.file, command.reading)
    with _Bar() as bar:
        result = run_optical(
            channels,
            command.output,
            command.config,
            overwrite=command.overwrite,
            progress=bar,
        )
    _tell(result, command.output)


_RUN: dict[type, Any] = {
    Info: _info,
    Denoise: _denoise,
    Simulate: _simulate,
    Fit: _fit,
    Demo: _demo,
    Neutron: _neutron,
    Stxm: _stxm,
    Optical: _optical,
}


def _read_all(path: str, reading: ReadConfig) -> Channels:
    """Every channel of a file, or the one that was asked for."""
    options = dataclasses.asdict(reading)
    channel, layout = options.pop("channel"), options.pop("channels")
    channels = read_channels(path, channels=layout, **options)
    if channel != "all":
        if len(channels) > 1:
            one = channels.one(channel)
            check_values(one)
        else:
            one = read(path, channel=channel, **options)
        return Channels((one,), (channel,), one.name)
    kept = channels.varying()
    if kept != channels.names:
        left = ", ".join(n for n in channels.names if n not in kept)
        print(f"Constant and left out: channel {left}.")
        channels = channels.chosen(kept)
    return channels


def _read(path: str, reading: ReadConfig) -> Movie:
    """The one movie of a file."""
    channels = _read_all(path, reading)
    if len(channels) > 1:
        raise InputError(
            f"{path} has {len(channels)} channels ({', '.join(channels.names)}) and this takes one: choose it with "
            f"--channel mean, r, g, b or 0 to {len(channels) - 1}."
        )
    return channels.movies[0]


def _outputs(source: str | None, outputs: list[str], overwrite: bool, suffixes: set[str]) -> None:
    """Refuse what could not be written before spending minutes on it."""
    for output in outputs:
        path = Path(output)
        if path.suffix.lower() not in suffixes:
            known = ", ".join(sorted(suffixes))
            raise InputError(
                f"Output {output}: unknown suffix '{path.suffix}', use one of {known}."
            )
        if source is not None and os.path.realpath(source.split("::")[0]) == os.path.realpath(
            output
        ):
            raise InputError(f"Output {output} is the input itself: choose another name.")
        check_writable(path, overwrite=overwrite)


class _Bar:
    """Progress on standard error: a bar on a terminal, a line every ten seconds in a batch job."""

    def __enter__(self) -> "_Bar":
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

        self._console = Console(stderr=True)
        self._rich = Progress(
            TextColumn("{task.description:<28}"),
            BarColumn(),
            TextColumn("{task.completed:.0f}/{task.total:.0f}  {task.fields[value]}"),
            TimeElapsedColumn(),
            console=self._console,
            disable=not self._console.is_terminal,
        )
        self._rich.start()
        self._tasks: dict[str, Any] = {}
        self._start = self._last = time.monotonic()
        return self

    def __exit__(self, *_: object) -> Literal[False]:
        self._rich.stop()
        return False

    def __call__(self, stage: str, step: int, steps: int, value: float) -> None:
        """Show that `stage` has done `step` of `steps`, at this value of its objective."""
        if self._console.is_terminal:
            if stage not in self._tasks:
                self._tasks[stage] = self._rich.add_task(stage, total=steps, value="")
            shown = "" if np.isnan(value) else f"{value:.5g}"
            self._rich.update(self._tasks[stage], completed=step, total=steps, value=shown)
            return
        now = time.monotonic()
        if now - self._last >= 10 or stage not in self._tasks:
            self._tasks[stage] = None
            self._last = now
            elapsed = now - self._start
            print(
                f"[{elapsed:5.0f} s] {stage}: {step}/{steps}"
                + f", {value:.5g}" * bool(value == value),
                file=sys.stderr,
                flush=True,
            )

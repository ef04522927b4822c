"""`denoise_file`: a movie in a file, larger than memory, to its estimate in another file.

file -> parts -> noise, network, linear prediction -> parts -> file
"""

from pathlib import Path

import numpy as np

from phdenoise.io import movie_shape, open_movie, write_parts
from phdenoise.movie import Estimate
from phdenoise.training import DenoiseConfig, denoise_parts
from phdenoise.training.memory import parse_memory, whole_fits
from phdenoise.types import InputError, Progress


def exceeds(path: str | Path, config: DenoiseConfig, *, channel: str = "mean") -> bool:
    """Whether a file holds a movie that can be read in parts, and must be, to stay within `config.memory`."""
    try:
        shape = movie_shape(path) if channel == "mean" else None
    except InputError:
        return False  # reading it whole will say what is wrong
    return shape is not None and not whole_fits(shape, parse_memory(config.memory))


def denoise_file(
    path: str | Path,
    output: str | Path,
    config: DenoiseConfig | None = None,
    *,
    pixel_size: float | None = None,
    frame_interval: float | None = None,
    pretrained: Estimate | None = None,
    checkpoint: str | Path | None = None,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> Estimate:
    """Denoise a movie from file to file, with no more memory than `config.memory`.

    Args:
        path: movie in HDF5 (FILE::/dataset picks one), plain TIFF or .npy.
        output: HDF5 file to write; `phdenoise.read` reads its denoised movie, `phdenoise.io.read_estimate` all of it.
        config: see `DenoiseConfig`.
        pixel_size, frame_interval: replace what the file says, as in `phdenoise.read`.
        pretrained, checkpoint: as in `phdenoise.denoise`.
        overwrite: whether an existing output may be replaced.
        progress: called with (stage, step, steps, value).

    Returns:
        Estimate of the stretch that was judged, with the log and the trust report.

    Raises:
        InputError: a movie or an output that cannot be used; nothing is written then.
    """
    if Path(output).suffix.lower() not in (".h5", ".hdf5", ".nxs"):
        raise InputError(
            f"Output {output}: a movie larger than memory is written to HDF5: give a name ending in .h5."
        )
    with (
        open_movie(path, pixel_size=pixel_size, frame_interval=frame_interval) as source,
        write_parts(output, source.header, overwrite=overwrite) as result,
    ):
        estimate = denoise_parts(
            source,
            lambda window, part, _, found: result.add(
                window, part.values, part.good, np.asarray(found.mean), np.asarray(found.var)
            ),
            config,
            pretrained=pretrained,
            checkpoint=checkpoint,
            progress=progress,
        )
        result.finish(estimate)
    return estimate

"""`denoise_file`: a movie in a file, larger than memory, to its estimate in another file.

file -> source of blocks -> `denoise_parts` -> blocks -> file
"""

from pathlib import Path
from typing import Any

import numpy as np

from phdenoise.denoising.config import DenoiseConfig
from phdenoise.denoising.denoise import denoise_parts
from phdenoise.denoising.memory import parse_memory, whole_fits
from phdenoise.io.parts import movie_shape, open_movie, write_parts
from phdenoise.movie import Estimate
from phdenoise.types import InputError, Progress


def exceeds(path: str | Path, config: DenoiseConfig, *, channel: str = "mean") -> bool:
    """Whether a file has a movie that can be read in parts, and must be, to stay within `config.memory`.

    Args:
        path: the file.
        config: see `DenoiseConfig`.
        channel: "mean", or one that can only be read whole.

    Returns:
        True if `denoise_file` is to be used.
    """
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
    pretrained: Estimate | None = None,
    checkpoint: str | Path | None = None,
    overwrite: bool = False,
    progress: Progress | None = None,
    **scale: Any,
) -> Estimate:
    """Denoise a movie from file to file, with no more memory than `config.memory`.

    Args:
        path: movie in HDF5 (FILE::/dataset picks one), plain TIFF or .npy.
        output: HDF5 file to write; `phdenoise.read` reads its denoised movie, `phdenoise.io.read_estimate` all of it.
        config: see `DenoiseConfig`.
        pretrained, checkpoint: as in `phdenoise.denoise`.
        overwrite: whether an existing output may be replaced.
        progress: called with (stage, step, steps, value).
        **scale: `pixel_size` and `frame_interval`, which replace what the file says, as in `phdenoise.read`.

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
        open_movie(path, **scale) as source,
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

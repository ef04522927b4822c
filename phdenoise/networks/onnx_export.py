"""A trained network as an ONNX file, which runs without JAX (extra `export`).

The file holds the network: (context, centre, seen) -> blind mean and variance in the movie's units. What the network is shown of a
movie (scaled frames, averages of the frames around) is prepared here and written beside it, as NAME_inputs.npz.
"""

from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from phdenoise.movie import Estimate
from phdenoise.networks.base import from_settings
from phdenoise.networks.predict import prepare
from phdenoise.types import InputError

# Version of the ONNX operators: that of onnxruntime 1.15 and later.
_OPSET = 19


class Exported(NamedTuple):
    """What was written.

    Attributes:
        network: ONNX file.
        inputs: NPZ file with context [t, y, x, k], centre [t, y, x] and seen [t, y, x].
        difference: largest difference of onnxruntime's prediction of the first frame from ours, over the largest of ours [1].
    """

    network: Path
    inputs: Path
    difference: float


def export_onnx(estimate: Estimate, path: str | Path) -> Exported:
    """Write the network of an estimate, and try it.

    Args:
        estimate: with its trained network.
        path: .onnx file to write; NAME_inputs.npz beside it gets what the network is shown of the estimate's movie.

    Returns:
        The files, and how far onnxruntime's prediction is from ours.

    Raises:
        InputError: the extra `export` is not installed, or the estimate has no network.
    """
    path = Path(path)
    try:
        import onnxruntime
        from jax2onnx import to_onnx
    except ImportError as error:
        raise InputError(
            f"Writing {path} needs jax2onnx and onnxruntime: pip install 'phdenoise[export]'."
        ) from error
    if not estimate.weights or "region" not in estimate.settings:
        raise InputError(
            "This estimate has no network to export (the linear filter of --preset instant is none): denoise with another preset."
        )
    denoiser = from_settings(estimate.weights, estimate.settings)
    movie = estimate.movie
    arrays = prepare(denoiser, movie.frames, movie.valid())
    side = (arrays.padded.shape[1], arrays.padded.shape[2])
    views = [arrays.view(jnp.asarray(t), jnp.asarray(0), jnp.asarray(0), side) for t in range(movie.shape[0])]  # fmt: skip
    context, centre, seen = (np.stack([np.asarray(v[k]) for v in views]) for k in range(3))
    shown = tuple(a[:1] for a in (context, centre, seen))

    def network(context: jax.Array, centre: jax.Array, seen: jax.Array) -> tuple[jax.Array, ...]:
        return tuple(denoiser(context, centre, seen))

    to_onnx(
        network,
        inputs=[jax.ShapeDtypeStruct(a.shape, jnp.float32) for a in shown],
        input_names=["context", "centre", "seen"],
        output_names=["mean", "variance"],
        opset=_OPSET,
        return_mode="file",
        output_path=str(path),
    )
    inputs = path.with_name(f"{path.stem}_inputs.npz")
    np.savez_compressed(inputs, context=context, centre=centre, seen=seen)
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    names = ("context", "centre", "seen")
    theirs = session.run(None, dict(zip(names, shown, strict=True)))
    ours = network(*map(jnp.asarray, shown))
    off = max(
        float(np.abs(np.asarray(a) - b).max() / np.abs(np.asarray(a)).max())
        for a, b in zip(ours, theirs, strict=True)
    )
    return Exported(path, inputs, off)

"""The noise models, one a file, and the one table of those that files know by name."""

from collections.abc import Mapping
from typing import Any, TypeVar

from phdenoise.noise.models.base import NoiseModel
from phdenoise.noise.models.gaussian import Correlated, Gaussian
from phdenoise.noise.models.poisson import Poisson
from phdenoise.noise.models.poisson_gaussian import PoissonGaussian
from phdenoise.types import InputError

M = TypeVar("M", bound=type[NoiseModel])

# Every noise model by the name that files hold.
NOISE_MODELS: dict[str, type[NoiseModel]] = {
    model.__name__: model for model in (Gaussian, Poisson, PoissonGaussian, Correlated)
}


# Names of parameters in files of earlier versions, and what they are called now.
_RENAMED = {"lasting": "temporal_correlation"}


def register_noise(model: M) -> M:
    """Let files that name this noise model be read; usable as a decorator of the class.

    A file holds the name of the class and its parameters, not its code, so the class must be registered before the
    file is read.

    Raises:
        InputError: a class of that name from another module is registered.
    """
    known = NOISE_MODELS.get(model.__name__, model)
    if known.__module__ != model.__module__:
        raise InputError(
            f"{known.__module__} registers a noise model {model.__name__} already: give yours another name."
        )
    NOISE_MODELS[model.__name__] = model
    return model


def noise_from_parameters(name: str, parameters: Mapping[str, Any]) -> NoiseModel | None:
    """A noise model from what a file holds.

    Args:
        name: of its class.
        parameters: by name; those of earlier versions too.

    Returns:
        The model, or None where no such class is registered.
    """
    if name not in NOISE_MODELS:
        return None
    return NOISE_MODELS[name](**{_RENAMED.get(k, k): v for k, v in parameters.items()})


__all__ = [
    "NOISE_MODELS",
    "Correlated",
    "Gaussian",
    "NoiseModel",
    "Poisson",
    "PoissonGaussian",
    "noise_from_parameters",
    "register_noise",
]

"""The one table of networks: which word names which architecture.

    blind   hides a region by its construction: the centre-blind network, or UDVD where the region is hidden in every frame
    n2v     a U-Net whose hidden pixels are replaced in its input: Noise2Void, StructN2V
    linear  the best blind linear filter alone, which is not trained
    unet    a U-Net that uses the pixel it predicts: for targets with noise of their own (Noise2Noise, distillation), for clean
            targets, and for risks that need no target (SURE, PURE)

"auto" is the first of these that the objective can train. A network of the user's own is added by `register`.
"""

from collections.abc import Callable, Mapping
from typing import Any

from phdenoise.networks.architecture import Architecture
from phdenoise.networks.centre_blind import CentreBlind
from phdenoise.networks.context import REACH
from phdenoise.networks.linear_only import LinearFilter
from phdenoise.networks.masked_unet import MaskedUnet
from phdenoise.networks.udvd import Udvd
from phdenoise.networks.unet import Unet
from phdenoise.types import InputError

AUTO = "auto"


def _centre_blind(window: int | None, depth: int) -> Architecture:
    return CentreBlind(REACH[-1] if window is None else window)


def _linear(window: int | None, depth: int) -> Architecture:
    return LinearFilter(REACH[-1] if window is None else window)


def _masked_unet(window: int | None, depth: int) -> Architecture:
    return MaskedUnet(0 if window is None else window, depth)


def _unet(window: int | None, depth: int) -> Architecture:
    return Unet(REACH[-1] if window is None else window, depth)


# Word -> architecture of (window, depth).
NETWORKS: dict[str, Callable[[int | None, int], Architecture]] = {
    "blind": _centre_blind,
    "n2v": _masked_unet,
    "unet": _unet,
    "linear": _linear,
}
_SHIPPED = tuple(NETWORKS)


def named(name: str, window: int | None = None, depth: int = 2) -> Architecture | None:
    """The architecture that a word names.

    Args:
        name: a word of the table; "auto" leaves the choice open.
        window: frames looked at on each side; None for the network's own default.
        depth: halvings of the resolution, of the U-Nets.

    Returns:
        The architecture; None for "auto".

    Raises:
        InputError: no such network, or one that cannot have this window or depth.
    """
    if name == AUTO:
        return None
    if name not in NETWORKS:
        *others, last = NETWORKS
        raise InputError(f"Unknown network '{name}': use auto, {', '.join(others)} or {last}.")
    return NETWORKS[name](window, depth)


def trained_by(objective: str, window: int | None = None, depth: int = 2) -> Architecture:
    """The network that "auto" means.

    Args:
        objective: that trains it.
        window, depth: see `named`.

    Returns:
        The first architecture of the table that the objective can train.
    """
    for make in NETWORKS.values():
        if objective in make(None, 2).objectives:
            return make(window, depth)
    raise InputError(f"No network is trained by --objective {objective}.")


def student(window: int | None = None, depth: int = 2) -> Architecture:
    """The network that teachers train.

    Args:
        window, depth: see `named`.

    Returns:
        A U-Net.
    """
    return _unet(window, depth)


def register(architecture: Architecture) -> None:
    """Make a network from outside the package known by its name, for this session.

    A later network of the same name replaces it.

    Args:
        architecture: the network.

    Raises:
        InputError: the name is that of a network of the package.
    """
    name = architecture.name
    if type(architecture) in (CentreBlind, LinearFilter, Udvd, Unet, MaskedUnet):
        return
    if name in (AUTO, *_SHIPPED):
        raise InputError(f"A network is called '{name}' already: give yours another name.")

    def _own(window: int | None, depth: int) -> Architecture:
        if window not in (None, architecture.window):
            raise InputError(
                f"Network '{name}' looks {architecture.window} frames each way: leave --window out."
            )
        return architecture

    NETWORKS[name] = _own


def architecture_of(settings: Mapping[str, Any]) -> Architecture:
    """The network of an estimate.

    Args:
        settings: of the estimate; files of the first versions do not name the network.

    Returns:
        The architecture; what hides a region in every frame follows from `Architecture.hiding`.

    Raises:
        InputError: a network of a user's own that is not known in this session.
    """
    name = str(settings.get("network", AUTO))
    if name == AUTO or settings.get("window") is None:
        return CentreBlind()
    if name not in NETWORKS:
        raise InputError(
            f"The network '{name}' is not part of the package: give it again by network=..., or "
            "phdenoise.networks.register."
        )
    found = named(name, int(settings["window"]), int(settings.get("depth", 2)))
    assert found is not None
    return found

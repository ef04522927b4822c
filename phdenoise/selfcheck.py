"""Does the installed jaxlib compute right? Some releases return garbage on CPU, silently.

    y = Σᵢⱼ (x Aᵀ)ᵢⱼ = n³   for all-ones x, A of n x n

jaxlib 0.10.2 to 0.12.0.1 get this wrong under `jit` on CPU when A is a constant of the program and
n >= 64 (cf. github.com/jax-ml/jax/issues/39103). All values here are integers below 2²⁴, hence exact.
"""

import os
import platform
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from phdenoise.types import InputError

FLAG = "XLA_FLAGS=--xla_cpu_experimental_ynn_fusion_type="
"""Environment setting (an empty value) that turns the faulty code path off."""

PIN = ((0, 10, 0), (0, 10, 2))
"""jaxlib releases known to be right: first included, last excluded."""

_REDUCTIONS: dict[str, tuple[Callable[[Any], Any], int]] = {
    # name -> (reduction of the product, power of n that it must give)
    "sum": (jnp.sum, 3),
    "mean": (jnp.mean, 1),
    "max": (jnp.max, 1),
    "min": (jnp.min, 1),
}


class Case(NamedTuple):
    """One jitted product and reduction: what it gave and what it must give."""

    name: str
    got: float
    expected: float

    @property
    def right(self) -> bool:
        """Within rounding of a mean; a NaN is wrong."""
        return abs(self.got - self.expected) <= 1e-5 * self.expected


def cases(sizes: tuple[int, ...] = (64, 65, 128, 256)) -> list[Case]:
    """Run every reduction of `x @ A` and `x @ A.T` for every size: 32 cases by default."""
    return [
        _run(n, name, transposed)
        for n in sizes
        for name in _REDUCTIONS
        for transposed in (False, True)
    ]


def wrong_cases() -> list[str]:
    """What comes out wrong here, one sentence each; empty where everything is right."""
    return [_sentence(case) for case in cases() if not case.right]


def check(force: bool = False) -> None:
    """Refuse to go on where this jaxlib computes wrong numbers.

    Args:
        force: check releases inside the pin as well, which are known to be right.

    Raises:
        InputError: a matrix product came out wrong; names the flag that cures it.
    """
    first, end = PIN
    if not force and first <= _release(_version("jaxlib")) < end:
        return
    # One case a size is enough to see the fault and costs some 20 ms of compilation each.
    quick = [_run(64, "sum", True), _run(65, "max", True), _run(128, "mean", False)]
    wrong = [case for case in quick if not case.right]
    if wrong:
        raise InputError(
            f"jaxlib {_version('jaxlib')} computes wrong numbers on this machine ({_sentence(wrong[0])}): "
            f"set {FLAG} (nothing after the equals sign) in the environment, or install 'jaxlib>=0.10.0,<0.10.2'."
        )


def versions() -> dict[str, str]:
    """Versions, devices and processor count, for `phdenoise info` and for provenance."""
    devices = jax.devices()
    packages = [
        "phdenoise",
        "jax",
        "jaxlib",
        "flax",
        "equinox",
        "diffrax",
        "optax",
        "numpy",
        "h5py",
    ]
    return {
        "python": platform.python_version(),
        **{name: _version(name) for name in packages},
        "devices": f"{len(devices)} x {devices[0].device_kind} ({devices[0].platform})",
        "platform": platform.platform(),
        "cpu_count": str(os.cpu_count() or 1),
    }


def _run(n: int, name: str, transposed: bool) -> Case:
    reduce, power = _REDUCTIONS[name]
    # The matrix must be a constant of the program, captured and not passed: only then is it wrong.
    matrix = jnp.ones((n, n), jnp.float32)

    def product(x: jax.Array) -> jax.Array:
        return reduce(x @ (matrix.T if transposed else matrix))

    got = float(jax.jit(product)(jnp.ones((n, n), jnp.float32)))
    label = f"{name}(x @ A{'.T' if transposed else ''}), {n} x {n}"
    return Case(label, got, float(n) ** power)


def _sentence(case: Case) -> str:
    return f"{case.name} of ones gave {case.got:g} instead of {case.expected:g}"


def _release(text: str) -> tuple[int, ...]:
    """Leading integers of a version: '0.10.2.dev3' -> (0, 10, 2)."""
    numbers: list[int] = []
    for part in text.split("."):
        if not part.isdigit():
            break
        numbers.append(int(part))
    return tuple(numbers)


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed"

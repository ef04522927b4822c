"""The names of the steppers, and which stepper is taken where none is named."""

from phdenoise.grid import Grid
from phdenoise.physics.equations.base import Law
from phdenoise.physics.steppers.base import Stepper
from phdenoise.physics.steppers.etdrk4 import ETDRK4
from phdenoise.physics.steppers.rkc2 import RKC2
from phdenoise.physics.steppers.rosenbrock import RosenbrockW
from phdenoise.physics.steppers.variable_rkc2 import VariableRKC2
from phdenoise.types import InputError

STEPPERS: dict[str, Stepper] = {
    "etdrk4": ETDRK4(),
    "krogstad": ETDRK4(krogstad=True),
    "rosenbrock": RosenbrockW(),
    "rkc2": RKC2(),
    "variable-rkc2": VariableRKC2(),
}
# Tried in this order: the fewest transforms for an error of 1e-4 first (benchmarks/physics_speed.py).
EQUAL_STEPS = ("etdrk4", "variable-rkc2")
ADAPTIVE_STEPS = ("rosenbrock", "variable-rkc2")


def choose_stepper(
    stepper: str | Stepper | None, model: Law, grid: Grid, *, adaptive: bool = False
) -> Stepper:
    """The stepper that is asked for, or the first one that can step this law on this domain.

    Args:
        stepper: name in `STEPPERS`, object, or None to choose.
        model: law.
        grid: domain.
        adaptive: choose for adaptive steps.

    Returns:
        A stepper that has accepted the law and the domain.

    Raises:
        InputError: unknown name, or a law or domain that the stepper cannot do.
    """
    if stepper is None:
        candidates = [STEPPERS[name] for name in (ADAPTIVE_STEPS if adaptive else EQUAL_STEPS)]
        able = (s for s in candidates if s.refusal(model, grid) is None)
        stepper = next(able, candidates[-1])
    if isinstance(stepper, str):
        if stepper not in STEPPERS:
            raise InputError(f"Unknown stepper '{stepper}': use one of {sorted(STEPPERS)}.")
        stepper = STEPPERS[stepper]
    stepper.check(model, grid)
    return stepper

"""Many solves at once: one compiled program over laws, over first fields, or over both.

    frames[i] = simulate(modelᵢ, c₀ᵢ),   i = 1 … n, in groups of `group`

A group goes through the steps together, the groups in turn. On a processor a group is as large as its fields
stay in the cache, where a batch of all is slower than a loop; on an accelerator it is the whole batch. The
number of laws belongs to the compiled program, their values do not: new laws compile nothing.
"""

from typing import Any

import equinox as eqx
import jax
import numpy as np
from jaxtyping import Array, Float

from phdenoise.grid import Grid
from phdenoise.physics.equations.base import Law
from phdenoise.physics.march import March, SimulateOptions, Times, compiled
from phdenoise.physics.simulate import plan
from phdenoise.types import InputError

# Cells of a group on a processor: a step holds some twenty fields of four bytes a cell, together 2.6 MB, which a
# second-level cache holds (benchmarks/physics_gradients.py).
CELLS = 2**15


def simulate_many(
    models: Law,
    grid: Grid,
    c0: Float[Array, "..."],
    times: Times,
    *,
    over: str,
    substeps: int,
    group: int | None = None,
    **options: Any,
) -> Float[Array, "n t *cells"]:
    """Frames of n solves; forward and reverse mode apply.

    Args:
        models: one law for "fields"; else a law whose every array has a first axis of n, as
            `eqx.filter_vmap(build)(parameters)` gives it.
        grid: domain.
        c0: first field [*cells] for "laws"; else n of them [n, *cells].
        times: increasing [t], the same for all; see `simulate`.
        over: what differs between the solves: "laws", "fields" or "both".
        substeps: steps between two frames.
        group: how many go together; by default as the place they run in wants it.
        options: stepper, and of `SimulateOptions`; see `simulate`.

    Returns:
        Frames [n, t, *cells].

    Raises:
        InputError: if the first axes of laws and fields differ, or there is none, and as in `simulate`.
    """
    if over not in ("laws", "fields", "both"):
        raise InputError(f"over must be 'laws', 'fields' or 'both', got {over!r}.")
    laws = eqx.filter(models, eqx.is_array)
    sizes = {x.shape[:1] for x in jax.tree.leaves(_batch(laws, c0, over))}
    if len(sizes) != 1 or sizes in ({()}, {(0,)}):
        raise InputError(
            f"Every array of {over} needs the same first axis, one entry per solve; "
            f"got sizes {sorted(sizes)}."
        )
    ((n,),) = sizes
    if group is None:
        on_processor = jax.default_backend() == "cpu"
        group = max(1, CELLS // int(np.prod(grid.shape))) if on_processor else n
    if group < 1:
        raise InputError(f"group must be at least 1, got {group}.")
    stepper = options.pop("stepper", None)
    march = plan(models, grid, c0, times, substeps, stepper, SimulateOptions(**options))
    return _run(march, models, c0, over, min(group, n))


def _batch(laws: Any, c0: Array, over: str) -> Any:
    return {"laws": laws, "fields": c0, "both": (laws, c0)}[over]


@compiled
def _run(march: March, models: Law, c0: Array, over: str, group: int) -> Float[Array, "n t *cells"]:
    laws, rest = eqx.partition(models, eqx.is_array)

    def one(item: Any) -> Array:
        law, field = {"laws": (item, c0), "fields": (laws, item), "both": item}[over]
        return march.frames(eqx.combine(law, rest), field)

    return jax.lax.map(one, _batch(laws, c0, over), batch_size=group)

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
from phdenoise.physics.models import Model
from phdenoise.physics.simulate import simulate
from phdenoise.types import InputError

# Cells of a group on a processor: a step holds some twenty fields of four bytes a cell.
CELLS = 2**15


def simulate_many(
    models: Model,
    grid: Grid,
    c0: Float[Array, "..."],
    times: Float[np.ndarray, " t"] | Float[Array, " t"],
    *,
    over: str,
    substeps: int,
    group: int | None = None,
    **options: Any,
) -> Float[Array, "n t *cells"]:
    """Frames [n, t, y, x] of n solves; forward and reverse mode apply.

    Args:
        models: one model for "fields"; else a model whose every array has a first axis of n, as
            `eqx.filter_vmap(build)(parameters)` gives it.
        c0: first field for "laws"; else n of them [n, y, x].
        times: increasing [t], the same for all.
        over: what differs between the solves: "laws", "fields" or "both".
        substeps: steps between two frames.
        group: how many go together; by default as the place they run in wants it.
        options: of `simulate`.

    Raises:
        InputError: if the first axes of laws and fields differ, or there is none.
    """
    if over not in ("laws", "fields", "both"):
        raise InputError(f"over must be 'laws', 'fields' or 'both', got {over!r}.")
    laws, rest = eqx.partition(models, eqx.is_array)
    batch = {"laws": laws, "fields": c0, "both": (laws, c0)}[over]
    sizes = {x.shape[:1] for x in jax.tree.leaves(batch)}
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

    def one(item: Any) -> Array:
        law, field = {"laws": (item, c0), "fields": (laws, item), "both": item}[over]
        model = eqx.combine(law, rest)
        return simulate(model, grid, field, times, substeps=substeps, **options)

    return jax.lax.map(one, batch, batch_size=min(group, n))

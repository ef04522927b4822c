"""Studies: sweeps over config dataclasses, resumable runs, tidy tables."""

from phdenoise.study.run import collect, flatten, read_table, run_id, run_sweep
from phdenoise.study.sweep import apply, chain, param, prod, zip_

__all__ = [
    "apply",
    "chain",
    "collect",
    "flatten",
    "param",
    "prod",
    "read_table",
    "run_id",
    "run_sweep",
    "zip_",
]

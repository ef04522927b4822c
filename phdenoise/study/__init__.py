"""Studies: sweeps over config dataclasses, resumable runs, tidy tables."""

from phdenoise.study.current import checkpoint, track
from phdenoise.study.definition import Study
from phdenoise.study.identity import flatten, run_id
from phdenoise.study.run import run_sweep
from phdenoise.study.state import status
from phdenoise.study.sweep import apply, chain, param, prod, where, zip_
from phdenoise.study.table import collect, read_table

__all__ = [
    "Study",
    "apply",
    "chain",
    "checkpoint",
    "collect",
    "flatten",
    "param",
    "prod",
    "read_table",
    "run_id",
    "run_sweep",
    "status",
    "track",
    "where",
    "zip_",
]

"""Does denoising leave the numbers of a chain better than measured? Seeds of the simulated studies, measured beside denoised.

    python -m benchmarks.chain_worth --chains neutron graphite stxm --seeds 0:10 --out chains.csv
    python -m benchmarks.chain_worth --seeds 0:0 --out chains.csv              # only the summary

Every seed is one `--fast` run of the study of the chain; a seed that has a row is not run again. The summary gives, for each
number, the rms over seeds of the error and of the stated sd, measured and denoised, and how often 90 % bands held the truth.
"""

import argparse
import csv
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np

from experiments import graphite_optical, neutron_radiography, stxm_lfp

Numbers = dict[str, float]


def neutron(seed: int, store: Path) -> Numbers:
    """One simulated cell."""
    base = neutron_radiography.configs(True, "")[0]
    return neutron_radiography.run(replace(base, seed=seed), store)


def graphite(seed: int, store: Path) -> Numbers:
    """One simulated bed of particles."""
    base = graphite_optical.configs(True)[0]
    return graphite_optical.run(replace(base, seed=seed), store)


def stxm(seed: int, store: Path) -> Numbers:
    """One simulated set of particles."""
    base = stxm_lfp.configs(True, "")[0]
    return stxm_lfp.run(replace(base, seed=seed), store)


CHAINS: dict[str, Callable[[int, Path], Numbers]] = {
    "neutron": neutron,
    "graphite": graphite,
    "stxm": stxm,
}


def main() -> None:
    """Run seeds and print the summary."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)  # fmt: skip
    parser.add_argument("--chains", nargs="+", choices=CHAINS, default=list(CHAINS))
    parser.add_argument("--seeds", default="0:10", help="FIRST:END")
    parser.add_argument("--out", type=Path, default=Path("chains.csv"))
    given = parser.parse_args()
    first, end = (int(v) for v in given.seeds.split(":"))
    rows = _read(given.out)
    known = {(r["chain"], r["seed"]) for r in rows}
    for seed in range(first, end):
        for chain in given.chains:
            if (chain, str(seed)) in known:
                continue
            with tempfile.TemporaryDirectory() as store:
                found = CHAINS[chain](seed, Path(store))
            with given.out.open("a", newline="", encoding="utf-8") as file:
                writer = csv.writer(file)
                writer.writerows((chain, seed, name, value) for name, value in found.items())
            print(chain, seed, "done", flush=True)
    _summary(_read(given.out))


def _read(path: Path) -> list[dict[str, str]]:
    """Rows chain, seed, name, value."""
    if not path.exists():
        return []
    with path.open(encoding="utf-8") as file:
        return list(csv.DictReader(file, ["chain", "seed", "name", "value"]))


def _summary(rows: list[dict[str, str]]) -> None:
    """Print each number's mean over seeds, and its extremes."""
    for chain in CHAINS:
        mine = [r for r in rows if r["chain"] == chain]
        for name in dict.fromkeys(r["name"] for r in mine):
            values = np.array([float(r["value"]) for r in mine if r["name"] == name])
            values = values[np.isfinite(values)]
            if not values.size:
                continue
            print(f"{chain:<9} {name:<32} mean {values.mean():.4g}  {values.min():.4g} .. {values.max():.4g}  ({values.size} seeds)")  # fmt: skip


if __name__ == "__main__":
    main()

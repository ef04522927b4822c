"""One training step of the published UDVD graph: ours in JAX against the same graph in PyTorch.

    python benchmarks/udvd_step.py                     both, MSE, 64x64x5, batch 4, all cores it may use
    python benchmarks/udvd_step.py --loss nll --steps 9

Each framework runs in a fresh process of its own and reports the median and the least time of a step (forward,
backward, Adam), the CPU time of all cores (which other work on the machine disturbs least), the peak memory of that process, and the time from import to the end of the first step.
PyTorch is needed for this file only: pip install torch.
"""

import argparse
import json
import os
import platform
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from importlib.metadata import version
from itertools import pairwise
from typing import Any

import numpy as np

WIDTH, WINDOW = 48, 5


def batch(count: int, side: int) -> tuple[np.ndarray, np.ndarray]:
    """Noisy windows [n, y, x, 5] and their centre frames [n, y, x]."""
    frames = np.random.default_rng(0).standard_normal((count, side, side, WINDOW))
    return frames.astype(np.float32), frames[..., WINDOW // 2].astype(np.float32)


def jax_step(count: int, side: int, loss: str) -> tuple[Callable[[], float], int]:
    """A step of `phdenoise.networks.Udvd` with Adam, and the number of its parameters."""
    import jax
    import jax.numpy as jnp
    import optax
    from flax import nnx

    from phdenoise.networks.context import UDVD
    from phdenoise.networks.udvd import UdvdModule

    network = UdvdModule(width=WIDTH, outputs=2 if loss == "nll" else 1, rngs=nnx.Rngs(0))
    graph, state = nnx.split(network)
    optimiser = optax.adam(1e-4)
    frames, target = map(jnp.asarray, batch(count, side))

    def objective(state: object, frames: jax.Array, target: jax.Array) -> jax.Array:
        mean, sd = nnx.merge(graph, state)(frames, target, jnp.ones_like(target), UDVD)
        if loss == "mse":
            return jnp.mean((mean - target) ** 2)
        var = sd**2 + 0.01
        return jnp.mean(0.5 * ((mean - target) ** 2 / var + jnp.log(var)))

    @jax.jit
    def step(state: object, moments: object, frames: jax.Array, target: jax.Array) -> tuple:
        value, gradient = jax.value_and_grad(objective)(state, frames, target)
        change, moments = optimiser.update(gradient, moments)
        return optax.apply_updates(state, change), moments, value

    carry = [state, optimiser.init(state)]

    def run() -> float:
        carry[0], carry[1], value = step(*carry, frames, target)
        return float(value)

    return run, sum(p.size for p in jax.tree.leaves(state))


def torch_network(outputs: int) -> Any:
    """The graph of `phdenoise.networks.udvd` in PyTorch."""
    import torch
    from torch import nn
    from torch.nn import functional

    wide, triple = 2 * WIDTH, 2 * WIDTH // 3

    class HalfPlane(nn.Conv2d):
        """A 3x3 convolution that sees its own row and the two above."""

        def __init__(self, inputs: int, outputs: int):
            super().__init__(inputs, outputs, 3, bias=False)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return functional.leaky_relu(super().forward(functional.pad(x, (1, 1, 2, 0))), 0.1)

    def chain(*channels: int) -> nn.Sequential:
        pairs = pairwise(channels)
        return nn.Sequential(*(HalfPlane(a, b) for a, b in pairs))

    def down(x: torch.Tensor) -> torch.Tensor:
        return functional.pad(x, (0, 0, 1, 0))[:, :, :-1]

    class UNet(nn.Module):
        def __init__(self, inputs: int, outputs: int):
            super().__init__()
            self.enc_1 = chain(inputs, WIDTH, WIDTH, WIDTH)
            self.enc_2 = chain(WIDTH, WIDTH, WIDTH, WIDTH)
            self.enc_3 = chain(WIDTH, wide, wide, WIDTH)
            self.dec_2 = chain(wide, wide, wide, wide, wide)
            self.dec_1 = chain(wide + inputs, wide, wide, wide, outputs)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            one = functional.max_pool2d(down(self.enc_1(x)), 2)
            two = functional.max_pool2d(down(self.enc_2(one)), 2)
            up = functional.interpolate(self.enc_3(two), scale_factor=2, mode="nearest")
            up = self.dec_2(torch.cat([up, one], 1))
            up = functional.interpolate(up, scale_factor=2, mode="nearest")
            return self.dec_1(torch.cat([up, x], 1))

    class Network(nn.Module):
        def __init__(self, outputs: int):
            super().__init__()
            self.first, self.second = UNet(3, triple), UNet(3 * triple, wide)
            self.join = nn.Sequential(
                nn.Conv2d(4 * wide, 4 * wide, 1, bias=False),
                nn.LeakyReLU(0.1),
                nn.Conv2d(4 * wide, wide, 1, bias=False),
                nn.LeakyReLU(0.1),
                nn.Conv2d(wide, outputs, 1, bias=False),
            )

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            turned = torch.cat([torch.rot90(x, k, (2, 3)) for k in range(4)])
            triples = torch.cat([turned[:, i : i + 3] for i in range(3)])
            features = torch.cat(self.first(triples).chunk(3), 1)
            parts = down(self.second(features)).chunk(4)
            back = [torch.rot90(part, -k, (2, 3)) for k, part in enumerate(parts)]
            return self.join(torch.cat(back, 1))

    return Network(outputs)


def torch_step(count: int, side: int, loss: str) -> tuple[Callable[[], float], int]:
    """The same graph, loss and optimiser written in PyTorch."""
    import torch
    from torch.nn import functional

    torch.manual_seed(0)
    torch.set_num_threads(_cores())
    network = torch_network(2 if loss == "nll" else 1)
    optimiser = torch.optim.Adam(network.parameters(), 1e-4)
    frames, target = batch(count, side)
    frames = torch.from_numpy(np.ascontiguousarray(frames.transpose(0, 3, 1, 2)))
    target = torch.from_numpy(target)

    def run() -> float:
        optimiser.zero_grad()
        out = network(frames)
        value = torch.mean((out[:, 0] - target) ** 2)
        if loss == "nll":
            var = functional.softplus(out[:, 1] - 2.0) ** 2 + 0.01
            value = torch.mean(0.5 * ((out[:, 0] - target) ** 2 / var + torch.log(var)))
        value.backward()
        optimiser.step()
        return value.item()

    return run, sum(p.numel() for p in network.parameters())


def measure(framework: str, count: int, side: int, loss: str, steps: int) -> dict[str, object]:
    """Time the steps of one framework in this process."""
    begin = time.perf_counter()
    run, parameters = (jax_step if framework == "jax" else torch_step)(count, side, loss)
    run()
    first = time.perf_counter() - begin
    times, busy = [], []
    for _ in range(steps):
        start, cpu = time.perf_counter(), time.process_time()
        value = run()
        times.append(time.perf_counter() - start)
        busy.append(time.process_time() - cpu)
    return {
        "framework": f"{framework} {version(framework)}",
        "parameters": parameters,
        "median": float(np.median(times)),
        "least": min(times),
        "cpu": float(np.median(busy)),
        "first": first,
        "memory": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20,
        "loss": value,
    }


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def main() -> None:
    """Parse the command line, run a process a framework and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--loss", choices=("mse", "nll"), default="mse")
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--side", type=int, default=64)
    parser.add_argument("--steps", type=int, default=5)
    parser.add_argument("--frameworks", nargs="*", default=["jax", "torch"])
    parser.add_argument("--here", help="run this framework in this process and print JSON")
    args = parser.parse_args()
    if args.here:
        print(json.dumps(measure(args.here, args.batch, args.side, args.loss, args.steps)))
        return
    print(f"{platform.machine()}, {_cores()} cores, Python {platform.python_version()}; ", end="")
    print(f"{args.loss}, {args.side}x{args.side}x{WINDOW}, batch {args.batch}, {args.steps} steps")
    found = {}
    for framework in args.frameworks:
        call = [sys.executable, __file__, "--here", framework, "--loss", args.loss]
        for name in ("batch", "side", "steps"):
            call += [f"--{name}", str(getattr(args, name))]
        answer = subprocess.run(call, check=True, capture_output=True, text=True)
        found[framework] = r = json.loads(answer.stdout.splitlines()[-1])
        print(
            f"{r['framework']:16s} {r['parameters']:,} parameters   median {r['median']:.3f} s   least {r['least']:.3f} s   CPU {r['cpu']:.2f} s"
            f"   first step after {r['first']:.1f} s   {r['memory']:.2f} GiB",
            flush=True,
        )
    if {"jax", "torch"} <= set(found):
        ours, theirs = found["jax"], found["torch"]
        print(
            f"jax / torch: time {ours['median'] / theirs['median']:.2f} (least {ours['least'] / theirs['least']:.2f}, CPU {ours['cpu'] / theirs['cpu']:.2f}), "
            f"memory {ours['memory'] / theirs['memory']:.2f}"
        )


if __name__ == "__main__":
    main()

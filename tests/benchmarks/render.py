"""Time and memory of `actviz render`, whole commands, as a Markdown table.

Run ``python tests/benchmarks/render.py`` (half a minute). Every figure is the median of
several interleaved runs; memory is the peak resident memory of the process. The files are
made with random numbers, as they would be after a ReLU: a layer of 64 maps, 2 MB in all,
as `actviz extract` writes it and as an array of anybody.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

ACTVIZ = [sys.executable, "-P", "-m", "actviz"]
MAKE = """
import numpy as np
import actviz
from actviz.records import Activation
axes = ("batch", "row", "column", "channel")
values = np.maximum(np.random.default_rng(0).normal(size=(1, 88, 88, 64)), 0).astype(np.float32)
actviz.save("one.npz", {"conv": Activation("conv", "Conv2D", values, axes, False)}, model="m.h5")
actviz.save("packed.npz", {"conv": Activation("conv", "Conv2D", values, axes, False)}, model="m.h5", compress=True)
np.save("array.npy", values)
many = np.maximum(np.random.default_rng(0).normal(size=(1000, 22, 22, 64)), 0).astype(np.float32)
actviz.save("many.npz", {"conv": Activation("conv", "Conv2D", many, axes, False)}, model="m.h5")
"""


@dataclass(frozen=True)
class Cost:
    """Wall and CPU seconds of a process, and its peak memory in MB."""

    wall: float
    cpu: float
    memory: float


def measure(command: list[str], folder: Path) -> Cost:
    """Run a command once and return what it cost."""
    started = time.perf_counter()
    with subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        _, status, usage = os.wait4(process.pid, 0)
        wall = time.perf_counter() - started
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        message = f"{command} ended with {process.returncode}"
        raise RuntimeError(message)
    unit = 1e6 if sys.platform == "darwin" else 1e3
    return Cost(wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / unit)


def medians(commands: dict[str, list[str]], folder: Path, runs: int) -> dict[str, Cost]:
    """Return the median cost of each command over interleaved runs, a first one left out."""
    costs: dict[str, list[Cost]] = {name: [] for name in commands}
    for number in range(runs + 1):
        for name, command in commands.items():
            cost = measure(command, folder)
            if number:
                costs[name].append(cost)
    return {
        name: Cost(*(statistics.median(getattr(cost, field) for cost in found) for field in ("wall", "cpu", "memory")))
        for name, found in costs.items()
    }


def main() -> None:
    """Measure everything and print the table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--runs", type=int, default=9)
    runs = parser.parse_args().runs
    render = [*ACTVIZ, "render", "-q", "--overwrite", "-o", "figure.png"]
    axes = ["--axes", "row,column,channel"]
    commands = {
        "`python -c 'import numpy'`": [sys.executable, "-c", "import numpy"],
        "`render` a layer of an `.npz` of 2 MB": [*render, "one.npz", "-l", "conv"],
        "the same, `--compress`ed": [*render, "packed.npz", "-l", "conv"],
        "the same, `--cmap viridis`": [*render, "one.npz", "-l", "conv", "--cmap", "viridis"],
        "the same, a sheet": [*render, "one.npz"],
        "`render` an `.npy` of 2 MB": [*render, "array.npy", *axes, "-l", "array"],
        "`render --index 500` of 1,000 inputs (124 MB)": [*render, "many.npz", "-l", "conv", "--index", "500"],
    }
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        subprocess.run([sys.executable, "-c", MAKE], cwd=folder, check=True)
        found = medians(commands, folder, runs)
    print("| work | wall time | CPU time | peak memory |\n|---|---|---|---|")
    for name, cost in found.items():
        print(f"| {name} | {cost.wall:.2f} s | {cost.cpu:.2f} s | {cost.memory:.0f} MB |")


if __name__ == "__main__":
    main()

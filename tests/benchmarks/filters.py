"""The time of `filters` beside that of its parts: the interpreter with numpy, and `layers`, which opens the file too.

Run ``python tests/benchmarks/filters.py`` on an idle machine. Runs are interleaved; times are medians. The goal is
0.5 s, with two processes that import numpy one beside the other.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from render import ACTVIZ, medians

SAMPLES = Path(__file__).parents[2] / "sample_models"
MODELS = ("digits_cnn.h5", "digits_cnn.keras", "digits_cnn_int8.tflite")


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=9)
    given = parser.parse_args()
    commands = {"import numpy": [sys.executable, "-c", "import numpy"]}
    for name in MODELS:
        model = str(SAMPLES / name)
        commands[f"layers {name}"] = [*ACTVIZ, "layers", model]
        commands[f"filters {name}"] = [
            *ACTVIZ, "filters", model, "-l", "conv_intermediate", "-q", "--overwrite", "-o", "filters.png",
        ]  # fmt: skip
    with tempfile.TemporaryDirectory() as place:
        times = medians(commands, Path(place), given.runs)
    print("| command | seconds | CPU seconds |\n|---|---|---|")
    for name, cost in times.items():
        print(f"| {name} | {cost.wall:.2f} | {cost.cpu:.2f} |")


if __name__ == "__main__":
    main()

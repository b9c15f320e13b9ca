"""Time and memory of `actviz show` and `layers` for a `.tflite` file, whole commands, as a Markdown table.

Run ``python tests/benchmarks/tflite.py`` in an environment that holds actviz with its extra
``litert``; TensorFlow may be missing, and its row then is. Every figure is the median of
several interleaved runs.
"""

from __future__ import annotations

import argparse
import importlib.util
import sys
import tempfile
from pathlib import Path

from render import ACTVIZ, medians

SAMPLES = Path(__file__).parents[2] / "sample_models"
# The same command in a process that does not see LiteRT's package.
WITH_TENSORFLOW = """
import sys
from actviz.worker import client
client.PROGRAM = "import actviz.formats.tflite.tflite_interpreter as r; r.LITERT = 'no_such_package'; " + client.PROGRAM
from actviz.cli import main
main()
"""


def main() -> None:
    """Measure everything and print the table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--runs", type=int, default=9)
    runs = parser.parse_args().runs
    model, image = str(SAMPLES / "digits_cnn_int8.tflite"), str(SAMPLES / "seven.png")
    show = ["show", "-q", "--overwrite", model, image, "-l", "conv_intermediate", "-o", "figure.png"]
    commands = {
        "`python -c 'import numpy'`": [sys.executable, "-c", "import numpy"],
        "`layers digits_cnn_int8.tflite`": [*ACTVIZ, "layers", model],
        "`show digits_cnn_int8.tflite -l conv_intermediate`, LiteRT": [*ACTVIZ, *show],
    }
    if importlib.util.find_spec("tensorflow") is not None:
        commands["the same, TensorFlow's interpreter"] = [sys.executable, "-P", "-c", WITH_TENSORFLOW, *show]
    with tempfile.TemporaryDirectory() as temporary:
        found = medians(commands, Path(temporary), runs)
    print("| work | wall time | CPU time | peak memory |\n|---|---|---|---|")
    for name, cost in found.items():
        print(f"| {name} | {cost.wall:.2f} s | {cost.cpu:.2f} s | {cost.memory:.0f} MB |")


if __name__ == "__main__":
    main()

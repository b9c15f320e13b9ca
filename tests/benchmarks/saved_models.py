"""`show` of a SavedModel beside the same model as `.h5`, whole process, as a Markdown table.

Run ``python tests/benchmarks/saved_models.py MODEL.h5 SAVED_MODEL LAYER``; both hold the same
model of TensorFlow 2. The two are run in turn; figures are medians of five.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

RUNS = 5


def seconds(model: str, layer: str, folder: str) -> float:
    """Return how long one whole run takes."""
    target = Path(folder) / "figure.png"
    target.unlink(missing_ok=True)
    command = [sys.executable, "-P", "-m", "actviz", "show", "-q", model, "-l", layer, "-o", str(target)]
    started = time.perf_counter()
    subprocess.run(command, check=True, capture_output=True)
    return time.perf_counter() - started


def main() -> None:
    """Measure and print."""
    first, second, layer = sys.argv[1:]
    with tempfile.TemporaryDirectory() as folder:
        pairs = [(seconds(first, layer, folder), seconds(second, layer, folder)) for _ in range(RUNS)]
    plain, saved = (statistics.median(column) for column in zip(*pairs, strict=True))
    print("| .h5 | SavedModel | ratio |\n|---|---|---|")
    print(f"| {plain:.2f} s | {saved:.2f} s | {saved / plain:.2f} |")


if __name__ == "__main__":
    main()

"""Opening real files and computing many layers, beside what Keras itself takes, as a Markdown table.

Run ``python tests/benchmarks/keras_files.py`` (about two minutes; makes a ResNet50 of 103 MB
with random weights). Every pair is measured in turn in one process, after the libraries are
loaded; figures are medians.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

os.environ.update(TF_CPP_MIN_LOG_LEVEL="3", KERAS_BACKEND="tensorflow", CUDA_VISIBLE_DEVICES="-1")
ROOT = Path(__file__).parents[2]
MIDDLE = "conv3_block1_out"
RUNS = 7


def medians(*works: Callable[[], object], warm: int = 1) -> list[float]:
    """Run pieces of work in turn and return the median seconds of each, after `warm` runs of each."""
    for work in works * warm:
        work()
    seconds: list[list[float]] = [[] for _ in works]
    for _ in range(RUNS):
        for found, work in zip(seconds, works, strict=True):
            started = time.perf_counter()
            work()
            found.append(time.perf_counter() - started)
    return [statistics.median(found) for found in seconds]


def row(work: str, measured: float, beside: str, other: float) -> None:
    """Print one line of the table."""
    print(f"| {work} | {measured * 1000:.0f} ms | {other * 1000:.0f} ms for {beside} | {other / measured:.2f} x |")


def listing() -> None:
    """Measure the whole process of `layers` on a file of 2020."""
    path = ROOT / "tests" / "data" / "tf115" / "a07b_lstm_state.h5"
    command = [sys.executable, "-P", "-m", "actviz", "layers", str(path)]
    bare = [sys.executable, "-c", "import numpy, h5py"]
    measured, other = medians(
        *(lambda line=line: subprocess.run(line, check=True, capture_output=True) for line in (command, bare))
    )
    row("`layers` on a file of TensorFlow 1.15, whole process", measured, "`import numpy, h5py`", other)


def networks(folder: Path) -> None:
    """Measure ResNet50: to a middle layer, and all its layers in one pass."""
    import keras
    import numpy as np

    import actviz

    path = folder / "resnet50.h5"
    keras.applications.ResNet50(weights=None).save(path)
    picture = np.random.default_rng(0).random((1, 224, 224, 3), np.float32)

    def middle() -> None:
        with actviz.open(path) as network:
            network.activations(picture, MIDDLE)

    measured, other = medians(middle, lambda: keras.saving.load_model(path, compile=False))
    row(f"ResNet50.h5: open, and compute `{MIDDLE}`", measured, "`load_model` alone", other)
    model = keras.saving.load_model(path, compile=False)
    every = keras.Model(model.inputs, [layer.output for layer in model.layers])
    with actviz.open(path) as network:
        for size in (1, 8):
            batch = np.repeat(picture, size, axis=0)
            pair = (lambda batch=batch: network.activations(batch), lambda batch=batch: every.predict_on_batch(batch))
            if size == 1:
                row("its 177 layers in one pass, the first times", *_beside(medians(*pair)))
            row(f"its 177 layers in one pass, batch of {size}, warm", *_beside(medians(*pair, warm=10)))


def _beside(pair: list[float]) -> tuple[float, str, float]:
    return pair[0], "the compiled model", pair[1]


if __name__ == "__main__":
    print("| work | measured | beside it | ratio |\n|---|---|---|---|")
    listing()
    with tempfile.TemporaryDirectory() as folder:
        networks(Path(folder))

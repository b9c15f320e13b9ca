"""Many inputs: rates, ratios to inference alone, and peak memory, as a Markdown table.

Run ``python tests/benchmarks/batch.py`` (several minutes; `--quick` takes a tenth of the
inputs). Commands that are compared run one after the other, twice; the better one counts, as
others may use the machine. Rates leave out the start of Python and TensorFlow: they come from
the times at which figures are told.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image
from show import ACTVIZ, ROOT, watch

DIGITS = ROOT / "sample_models" / "digits_cnn.h5"
CONVOLUTIONS = "@Conv2D,@DepthwiseConv2D"
MAKE = """
import keras
keras.utils.set_random_seed(0)
keras.applications.MobileNetV2(weights=None).save("mobilenetv2.keras")
"""
# The outputs of the same layers, in batches, as arrays of numpy: nothing else. The best size of
# a batch is found first.
FLOOR = """
import sys, time
import keras, numpy as np
from pathlib import Path
from PIL import Image
keras.utils.set_random_seed(0)
model = keras.models.load_model(sys.argv[1], compile=False)
count = int(sys.argv[3])
kinds = ("Conv2D", "DepthwiseConv2D")
outputs = [layer.output for layer in model.layers if type(layer).__name__ in kinds]
part = keras.Model(model.inputs, outputs)
paths = sorted(Path(sys.argv[2]).iterdir())[:count]
batch = np.stack([np.asarray(Image.open(path).resize((224, 224)), np.float32) / 127.5 - 1 for path in paths])
best = 1e9
for size in (2, 4, 8, 16):
    part.predict_on_batch(batch[:size])
    started, cpu = time.perf_counter(), time.process_time()
    for start in range(0, count - size + 1, size):
        found = part.predict_on_batch(batch[start : start + size])
    done = (count - size) // size * size + size
    best = min(best, (time.perf_counter() - started) / done)
print(best, sum(values.shape[-1] for values in found))
"""
RECIPE = """
import sys, time
import matplotlib
matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
maps = np.random.default_rng(0).normal(size=(56, 56, 96)).astype(np.float32)
started = time.perf_counter()
figure, axes = plt.subplots(10, 10, figsize=(10, 10))
for number, axis in enumerate(axes.flat):
    if number < 96:
        axis.imshow(maps[:, :, number])
    axis.axis("off")
plt.savefig(sys.argv[1])
print((time.perf_counter() - started) / 96)
"""


@dataclass(frozen=True)
class Rate:
    """Seconds between figures once running, wall and CPU seconds of all, peak memory in MB."""

    each: float
    wall: float
    cpu: float
    memory: float


def run(arguments: list[str], folder: Path, figures: int) -> Rate:
    """Run the command once; the first tenth of its figures is its start."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    started = time.perf_counter()
    command = [*ACTVIZ, "show", "-q", "--force", *arguments]
    times: list[float] = []
    with subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, env=environment()) as process:
        peak = [0.0]
        watcher = threading.Thread(target=watch, args=(process.pid, peak))
        watcher.start()
        assert process.stdout is not None
        times.extend(time.perf_counter() for _ in process.stdout)
        process.wait()
        watcher.join()
    if process.returncode or len(times) != figures:
        message = f"{command} ended with {process.returncode} after {len(times)} figures"
        raise RuntimeError(message)
    wall = time.perf_counter() - started
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    first = figures // 10
    return Rate((times[-1] - times[first]) / (figures - first - 1), wall, cpu, peak[0])


def environment() -> dict[str, str]:
    """Return what the commands that are compared see."""
    return {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "KERAS_BACKEND": "tensorflow", "CUDA_VISIBLE_DEVICES": "-1"}


def number_of(program: str, arguments: list[str], folder: Path) -> list[float]:
    """Run a program of Python and return the numbers that it prints last."""
    done = subprocess.run(
        [sys.executable, "-c", program, *arguments],
        cwd=folder,
        env=environment(),
        check=True,
        capture_output=True,
        text=True,
    )
    return [float(word) for word in done.stdout.strip().splitlines()[-1].split()]


def make_inputs(folder: Path, photographs: int, digits: int) -> None:
    """Make crops of scikit-learn's photographs, and its digits as images of 28 x 28."""
    from sklearn.datasets import load_digits, load_sample_images

    generator = np.random.default_rng(0)
    for name in ("photographs", "digits", "few"):
        (folder / name).mkdir(exist_ok=True)
    pictures = load_sample_images().images
    for number in range(photographs):
        picture = pictures[number % 2]
        side = int(generator.integers(224, 400))
        top, left = (int(generator.integers(0, size - side + 1)) for size in picture.shape[:2])
        crop = picture[top : top + side, left : left + side]
        Image.fromarray(crop).save(folder / "photographs" / f"{number:04}.jpg", quality=90)
    found = load_digits().images
    for number in range(digits):
        turned = np.roll(found[number % len(found)], number // len(found), 1)
        picture = Image.fromarray((turned / 16 * 255).astype(np.uint8)).resize((28, 28))
        picture.save(folder / "digits" / f"{number:04}.png")
        if number < digits // 10:
            picture.save(folder / "few" / f"{number:04}.png")


def main() -> None:
    """Measure everything and print the table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--quick", action="store_true", help="a tenth of the inputs")
    parser.add_argument("--folder", type=Path, help="keep models, inputs and figures there")
    parser.add_argument("--runs", type=int, default=2)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = (given.folder or Path(temporary)).resolve()
        folder.mkdir(exist_ok=True)
        photographs, digits = (20, 200) if given.quick else (200, 2000)
        make_inputs(folder, photographs, digits)
        if not (folder / "mobilenetv2.keras").exists():
            subprocess.run([sys.executable, "-c", MAKE], cwd=folder, check=True, capture_output=True)
        report(folder, photographs, digits, given.runs)


def report(folder: Path, photographs: int, digits: int, runs: int) -> None:
    """Print one row for each promise."""
    model = "mobilenetv2.keras"
    floors, bares, fulls, many, few = [], [], [], [], []
    maps = 0
    for _ in range(runs):
        floor, maps = number_of(FLOOR, [model, "photographs", str(min(photographs, 64))], folder)
        floors.append(floor)
        bare = [model, "photographs", "-l", CONVOLUTIONS, "--bare", "-o", "bare/"]
        bares.append(run(bare, folder, photographs * 52))
        part = photographs // 10
        full = [model, "photographs", "-l", CONVOLUTIONS, "-o", "full/", "--shard", "1/10"]
        fulls.append(run(full, folder, part * 52))
        many.append(run([str(DIGITS), "digits", "-l", "conv_intermediate", "-o", "many/"], folder, digits))
        few.append(run([str(DIGITS), "few", "-l", "conv_intermediate", "-o", "some/"], folder, digits // 10))
    recipe = min(number_of(RECIPE, ["recipe.png"], folder)[0] for _ in range(runs))
    floor = min(floors)
    bare, full, digit = (min(found, key=lambda one: one.each) for found in (bares, fulls, many))
    memory, small = (min(one.memory for one in found) for found in (many, few))
    rows = [
        (
            f"{photographs} photographs x 52 convolutions of MobileNetV2 ({int(maps):,} maps each), `--bare`",
            f"{1 / (bare.each * 52):.1f} photographs/s, {bare.cpu / photographs * 1000:.0f} ms of CPU each",
            f"{floor / (bare.each * 52):.2f} x inference alone ({1 / floor:.1f}/s)",
            "0.4 x",
        ),
        (
            "the same as full figures (a tenth of them)",
            f"{1 / (full.each * 52):.1f} photographs/s",
            f"{recipe * maps / (full.each * 52):.0f} x the matplotlib recipe ({recipe * 1000:.1f} ms a map)",
            "100 x",
        ),
        (
            f"{digits:,} digits x `conv_intermediate`, full figures",
            f"{1 / digit.each:.0f} figures/s",
            f"{digit.cpu / digits * 1000:.1f} ms of CPU each, {digit.wall:.0f} s in all",
            "200/s",
        ),
        (
            f"peak memory of all processes at {digits:,} inputs",
            f"{memory:.0f} MB",
            f"{memory / small:.2f} x that at {digits // 10} ({small:.0f} MB)",
            "1.1 x",
        ),
    ]
    started = time.perf_counter()
    again = [*ACTVIZ, "show", str(DIGITS), "digits", "-l", "conv_intermediate", "-o", "many/"]
    subprocess.run(again, cwd=folder, check=True, capture_output=True, env=environment())
    rows.append((f"the same again, {digits:,} figures up to date", f"{time.perf_counter() - started:.2f} s", "", ""))
    held = json.loads((folder / "many" / "manifest.json").read_text())
    if len(held["figures"]) != digits:
        message = f"{len(held['figures'])} figures in the manifest"
        raise RuntimeError(message)
    print("| work | measured | beside it | must be |\n|---|---|---|---|")
    for row in rows:
        print(f"| {' | '.join(row)} |")


if __name__ == "__main__":
    main()

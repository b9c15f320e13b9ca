"""Time and memory of whole commands, side by side in one run, as a Markdown table.

Run ``python tests/benchmarks/show.py`` (about three minutes; needs 2 GB of disk for models
that it makes with random weights). Every figure is the median of several interleaved runs;
memory is the largest sum of resident memory over the process tree, CPU seconds count every
child.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
SAMPLE = ROOT / "sample_models" / "digits_cnn.h5"
ACTVIZ = [sys.executable, "-P", "-m", "actviz"]
MAKE = """
import keras
keras.utils.set_random_seed(0)
model = keras.applications.VGG16(weights=None)
model.save("vgg16.h5")
model.save("vgg16.keras")
keras.applications.MobileNetV2(weights=None).save("mobilenetv2.keras")
"""
RECIPE = f"""
import keras
import matplotlib
matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
model = keras.models.load_model({str(SAMPLE)!r}, compile=False)
part = keras.Model(model.inputs, model.get_layer("conv_intermediate").output)
maps = part.predict(np.random.rand(1, 28, 28, 1), verbose=0)
figure, axes = plt.subplots(8, 8, figsize=(8, 8))
for number, axis in enumerate(axes.flat):
    axis.imshow(maps[0, :, :, number])
    axis.axis("off")
plt.savefig("recipe.png")
"""
FLOOR = """
import sys, time, zlib
import numpy as np
from pathlib import Path
from actviz.formats import open_network
from actviz.inputs import InputOptions, choose_preprocessing, default_sample
from actviz.records import Context, Style
from actviz.addresses import select_layers
from actviz.figures import mosaic, renderers
from actviz.results import png
network = open_network(Path("mobilenetv2.keras"))
options = InputOptions()
sample = default_sample(network.inputs, choose_preprocessing(network.facts, "auto"), options)
layers = select_layers(network.layers, ["@Conv2D,@DepthwiseConv2D"], "")
found = network.activations(sample.values, [layer.address for layer in layers])
context = Context("m", "i", sample.fed, sample.thumbnail)

def timed(work):
    best = 1e9
    for _ in range(3):
        started = time.perf_counter()
        work()
        best = min(best, time.perf_counter() - started)
    return best

def pixels(item):
    maps = np.moveaxis(item.values[0], -1, 0)
    span = np.abs(maps).max((1, 2), keepdims=True)
    steps = np.rint((maps / np.where(span, span, 1) + 1) * 127.5).astype(np.uint8)
    count, height, width = steps.shape
    columns = int(np.ceil(count**0.5))
    rows = -(-count // columns)
    board = np.zeros((rows * columns, height, width), np.uint8)
    board[:count] = steps
    grid = board.reshape(rows, columns, height, width).transpose(0, 2, 1, 3).reshape(rows * height, columns * width)
    return np.repeat(grid[..., None], 3, -1)

def floor():
    for item in found.values():
        zlib.compress(pixels(item).tobytes(), 1)

def figures(style):
    for item in found.values():
        png.encode_png(renderers.draw(item, 0, context, style).pixels, {})

print(timed(floor), timed(lambda: figures(Style(bare=True))), timed(lambda: figures(Style())))
"""


@dataclass(frozen=True)
class Cost:
    """Wall and CPU seconds of a whole process tree, and its peak memory in MB."""

    wall: float
    cpu: float
    memory: float


def measure(command: list[str], folder: Path) -> Cost:
    """Run a command once and return what it cost."""
    environment = {
        **os.environ,
        "TF_CPP_MIN_LOG_LEVEL": "3",
        "KERAS_BACKEND": "tensorflow",
        "CUDA_VISIBLE_DEVICES": "-1",
    }
    started = time.perf_counter()
    with subprocess.Popen(
        command, cwd=folder, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as process:
        peak = [0.0]
        watcher = threading.Thread(target=watch, args=(process.pid, peak))
        watcher.start()
        _, status, usage = os.wait4(process.pid, 0)
        wall = time.perf_counter() - started
        process.returncode = os.waitstatus_to_exitcode(status)
        watcher.join()
    if process.returncode:
        message = f"{command} ended with {process.returncode}"
        raise RuntimeError(message)
    return Cost(wall, usage.ru_utime + usage.ru_stime, peak[0])


def watch(root: int, peak: list[float]) -> None:
    """Keep the largest sum of resident memory of a process and its descendants."""
    page = os.sysconf("SC_PAGE_SIZE") / 1e6
    while True:
        todo, total = [root], 0.0
        while todo:
            number = todo.pop()
            try:
                total += int(Path(f"/proc/{number}/statm").read_text().split()[1]) * page
                for task in Path(f"/proc/{number}/task").iterdir():
                    todo += [int(child) for child in (task / "children").read_text().split()]
            except (OSError, IndexError):
                if number == root:
                    return
        if not total:
            return
        peak[0] = max(peak[0], total)
        time.sleep(0.01)


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
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--folder", type=Path, help="keep the models there")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = given.folder or Path(temporary)
        folder.mkdir(exist_ok=True)
        if not (folder / "mobilenetv2.keras").exists():
            subprocess.run([sys.executable, "-c", MAKE], cwd=folder, check=True, capture_output=True)
        report(folder, given.runs)


def report(folder: Path, runs: int) -> None:
    """Print one row for each promise."""
    show = [*ACTVIZ, "show", "-q", "--overwrite"]
    found = medians(
        {
            "bare": [sys.executable, "-c", "import tensorflow"],
            "recipe": [sys.executable, "-c", RECIPE],
            "small": [*show, str(SAMPLE), "-l", "conv_intermediate"],
            "vgg16.h5": [*show, "vgg16.h5", "-l", "block1_conv2"],
            "vgg16.keras": [*show, "vgg16.keras", "-l", "block1_conv2"],
            "mobilenet": [*show, "mobilenetv2.keras", "-l", "@Conv2D,@DepthwiseConv2D", "--force", "-o", "maps/"],
            "help": [*ACTVIZ, "--help"],
            "version": [*ACTVIZ, "--version"],
            "layers h5": [*ACTVIZ, "layers", str(SAMPLE)],
            "layers keras": [*ACTVIZ, "layers", str(SAMPLE.with_suffix(".keras"))],
        },
        folder,
        runs,
    )
    bare, small = found["bare"], found["small"]
    done = subprocess.run([sys.executable, "-c", FLOOR], cwd=folder, check=True, capture_output=True, text=True)
    floor, plain, full = map(float, done.stdout.split()[-3:])
    rows = [
        (
            "`show digits_cnn.h5 -l conv_intermediate`, wall time",
            f"{small.wall:.2f} s",
            f"{small.wall / bare.wall:.2f} x `import tensorflow` ({bare.wall:.2f} s)",
            "0.85 x",
        ),
        (
            "the same, CPU seconds of all processes",
            f"{small.cpu:.2f} s",
            f"{small.cpu / bare.cpu:.2f} x `import tensorflow`",
            "1.05 x",
        ),
        (
            "the notebook recipe for it",
            f"{found['recipe'].wall:.2f} s",
            f"{found['recipe'].wall / bare.wall:.2f} x `import tensorflow`",
            "",
        ),
    ]
    for name in ("vgg16.h5", "vgg16.keras"):
        cost = found[name]
        rows.append(
            (
                f"`show {name} -l block1_conv2` (553 MB), wall time",
                f"{cost.wall:.2f} s",
                f"{cost.wall / small.wall:.2f} x the small model",
                "1.2 x",
            )
        )
        rows.append(
            (
                "the same, peak memory of all processes",
                f"{cost.memory:.0f} MB",
                f"{cost.memory / small.memory:.2f} x the small model",
                "1.3 x",
            )
        )
    rows += [
        (
            "all 52 convolutions of MobileNetV2 (17,056 maps), `--bare`",
            f"{plain:.2f} s",
            f"{plain / floor:.1f} x bare mosaics and zlib level 1",
            "3 x",
        ),
        ("the same as full figures, drawing and packing", f"{full:.2f} s", "", "2 s"),
        (
            "the same, whole command",
            f"{found['mobilenet'].wall:.2f} s",
            f"{found['mobilenet'].wall / bare.wall:.2f} x `import tensorflow`",
            "2.5 x",
        ),
    ]
    rows += [
        (f"`{label}`", f"{found[name].wall:.2f} s", "", "0.3 s")
        for name, label in (
            ("help", "--help"),
            ("version", "--version"),
            ("layers h5", "layers digits_cnn.h5"),
            ("layers keras", "layers digits_cnn.keras"),
        )
    ]
    print("| work | measured | beside it | at most |\n|---|---|---|---|")
    for row in rows:
        print(f"| {' | '.join(row)} |")


if __name__ == "__main__":
    main()

"""Time of heat maps, as a Markdown table.

Run ``python tests/benchmarks/explain.py`` (about three minutes; makes a MobileNetV2 with random weights). Grad-CAM of one
photograph is compared with `show` of the same layer, as whole processes; 200 photographs in one run with the forward
pass alone, one photograph at a time as in the command, after warming up.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image
from show import ACTVIZ, ROOT, medians

LAYER = "out_relu"
PHOTOGRAPH = ROOT / "sample_models" / "china.jpg"
MAKE = """
import keras
keras.utils.set_random_seed(0)
keras.applications.MobileNetV2(weights=None).save("mobilenetv2.keras")
"""
FORWARD = """
import sys, time
import keras, numpy as np
model = keras.saving.load_model("mobilenetv2.keras", compile=False)
batch = np.random.default_rng(0).random((1, 224, 224, 3)).astype("float32")
import tensorflow as tf
data = [tf.constant(batch)] * int(sys.argv[1])
step = tf.function(lambda values: model(values, training=False), reduce_retracing=True)
step(data[0])
started = time.perf_counter()
for item in data:
    step(item).numpy()
print(time.perf_counter() - started)
"""


def photographs(folder: Path, count: int) -> None:
    """Write crops of the photograph."""
    folder.mkdir(exist_ok=True)
    random = np.random.default_rng(0)
    with Image.open(PHOTOGRAPH) as opened:
        image = opened.resize((360, 300))
        for number in range(count):
            left, top = (int(random.integers(size - 224)) for size in image.size)
            image.crop((left, top, left + 224, top + 224)).save(folder / f"{number:03d}.jpg")


def run_seconds(arguments: list[str], folder: Path) -> float:
    """Return how long a command of the program takes."""
    started = time.perf_counter()
    subprocess.run([*ACTVIZ, *arguments], cwd=folder, check=True, capture_output=True)
    return time.perf_counter() - started


def main() -> None:
    """Measure everything and print the table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--count", type=int, default=200)
    parser.add_argument("--folder", type=Path, help="keep the model there")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = given.folder or Path(temporary)
        folder.mkdir(exist_ok=True)
        if not (folder / "mobilenetv2.keras").exists():
            subprocess.run([sys.executable, "-c", MAKE], cwd=folder, check=True, capture_output=True)
        photographs(folder / "photographs", given.count)
        model, picture = "mobilenetv2.keras", "photographs/000.jpg"
        layer = ["-l", LAYER, "-q", "--overwrite"]
        found = medians(
            {
                "show": [*ACTVIZ, "show", model, picture, *layer, "-o", "show.png"],
                "explain": [*ACTVIZ, "explain", model, picture, *layer, "-o", "explain.png"],
                "unchecked": [*ACTVIZ, "explain", model, picture, *layer, "--no-check", "-o", "explain.png"],
            },
            folder,
            given.runs,
        )
        several = ["explain", model, "photographs", "-l", LAYER, "-q", "--force", "-o", "maps/"]
        whole = run_seconds(several, folder)
        forward = subprocess.run(
            [sys.executable, "-c", FORWARD, str(given.count)], cwd=folder, check=True, capture_output=True, text=True
        )
    alone = given.count / float(forward.stdout.split()[-1])
    rate = given.count / (whole - found["unchecked"].wall)
    show = found["show"].wall
    print("| work | measured | beside it | limit |\n|---|---|---|---|")
    for name, label in (("explain", "with the check"), ("unchecked", "without the check")):
        wall = found[name].wall
        print(
            f"| Grad-CAM of one photograph, {label} | {wall:.2f} s | {wall / show:.2f} x `show` ({show:.2f} s) | at most 1.5 x |"
        )
    print(
        f"| {given.count} photographs without the check | {rate:.1f} a second | {rate / alone:.2f} x the forward pass ({alone:.1f}) | at least 0.4 x |"
    )


if __name__ == "__main__":
    main()

"""Rates of `actviz check` beside inference alone, and the time of `actviz diff`, as a Markdown table.

Run ``python tests/benchmarks/check.py`` (about five minutes on an idle machine). Rates are of what runs once
everything is loaded: inputs a second from the first tenth of the inputs on. Inference alone
is Keras's own `predict_on_batch` of a model with the same outputs, fetched to numpy, on
inputs that are decoded already, with the best of several batch sizes. Both are taken in
turns; the table gives medians. CPU time is that of all processes for an input, over the same time; it changes less
than the rate where other programs run.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parents[2]
DIGITS = ROOT / "sample_models" / "digits_cnn.keras"
MAKE = f"""
import sys
import numpy as np
from pathlib import Path
from PIL import Image
generator = np.random.default_rng(0)
from sklearn.datasets import load_digits
small = load_digits().images[np.arange(2000) % 1797] / 16
large = np.stack([np.asarray(Image.fromarray((one * 255).astype("uint8")).resize((28, 28))) for one in small])
np.save("digits.npy", (large / 255).astype("float32")[..., None])
Path("photographs").mkdir()
photographs = [Image.open(Path({str(ROOT / "sample_models")!r}) / name) for name in ("china.jpg", "flower.jpg")]
for number in range(200):
    one = photographs[number % 2]
    left, top = (int(generator.integers(0, side - 180)) for side in one.size)
    one.crop((left, top, left + 180, top + 180)).resize((320, 320)).save(f"photographs/{{number:03d}}.jpg")
import keras
keras.utils.set_random_seed(0)
keras.applications.MobileNetV2(weights=None).save("mobilenetv2.keras")
import actviz
from actviz.records import Activation
axes = ("batch", "row", "column", "channel")
layers = {{"a": (112, 32), "b": (56, 64), "c": (28, 128), "d": (14, 256), "e": (7, 512)}}
for name in ("a.npz", "b.npz"):
    found = {{}}
    for address, (side, channels) in layers.items():
        values = np.random.default_rng(1).normal(size=(34, side, side, channels)).astype("float32")
        if name == "b.npz":
            values += generator.normal(0, 1e-3, values.shape).astype("float32")
        found[address] = Activation(address, "Conv2D", values, axes)
    actviz.save(name, found, model="m.h5")
"""
FLOOR = """
import sys, time
import keras, numpy as np
path, pattern, inputs = sys.argv[1:]
model = keras.saving.load_model(path, compile=False)
kinds = pattern.split(",") if pattern else None
layers = [one for one in model.layers if type(one).__name__ in (kinds or ("Conv2D", "MaxPooling2D", "Dense"))]
part = keras.Model(model.inputs, [one.output for one in layers])
if inputs.endswith(".npy"):
    values = np.load(inputs)
else:
    from pathlib import Path
    from PIL import Image
    files = sorted(Path(inputs).iterdir())
    values = np.stack([np.asarray(Image.open(one).resize((224, 224)), "float32") / 127.5 - 1 for one in files])
best = 0, 0
for size in (8, 32) if kinds else (32, 128, 512):
    part.predict_on_batch(values[:size])
    started, used = time.perf_counter(), time.process_time()
    for start in range(0, len(values) // size * size, size):
        part.predict_on_batch(values[start : start + size])
    count = len(values) // size * size
    best = max(best, (count / (time.perf_counter() - started), (time.process_time() - used) / count))
print(*best)
"""
# The beginning of a program that notes time, inputs and CPU time whenever a batch is counted, and its end.
BEGIN = """
import os, sys, time
from pathlib import Path
from actviz.inputs import InputArguments, InputOptions
from actviz.worker import ModelOptions
path, pattern, inputs = sys.argv[1:]
marks = []
def cpu(process="self"):
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    children = [child for one in Path(f"/proc/{process}/task").iterdir() for child in (one / "children").read_text().split()]
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK") + sum(map(cpu, children))
def mark(count):
    marks.append((time.perf_counter(), count, cpu()))
files = (Path(inputs),) if inputs.endswith(".npy") else tuple(sorted(Path(inputs).iterdir()))
def layers(pattern):
    return tuple("@" + kind for kind in pattern.split(",")) if pattern else ()
"""
END = """
begin = next(mark for mark in marks if mark[1] >= marks[-1][1] / 10)
seconds, count, used = (last - first for first, last in zip(begin, marks[-1]))
print(count / seconds, used / count)
"""
CHECK = f"""{BEGIN}
from actviz.batch.statistics_runner import StatisticsSoFar
from actviz.commands import check
from actviz.statistics.limits import Limits
add = StatisticsSoFar.add
def noted(self, names, reducer, left_out):
    add(self, names, reducer, left_out)
    mark(self.inputs)
StatisticsSoFar.add = noted
request = check.CheckRequest(opening=ModelOptions(Path(path)), inputs=InputArguments(files), layers=layers(pattern), output=None, reading=InputOptions(), limits=Limits())
for _ in check.check(request):
    pass
{END}"""


def numbers(program: str, folder: Path, *arguments: str) -> tuple[float, float]:
    """Run a program and return the rate and the seconds of CPU time for an input that it prints."""
    command = [sys.executable, "-c", program, *arguments]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True)
    rate, used = done.stdout.split()[-2:]
    return float(rate), float(used)


def wall(folder: Path, *arguments: str) -> float:
    """Return the seconds that a command takes."""
    started = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-P", "-m", "actviz", *arguments], cwd=folder, capture_output=True, text=True, check=False
    )
    if done.returncode not in {0, 8}:
        raise RuntimeError(done.stderr)
    return time.perf_counter() - started


def main() -> None:
    """Measure everything and print the table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    work = {
        "2,000 digits, all layers": (str(DIGITS), "", "digits.npy"),
        "200 photographs, 52 convolutions of MobileNetV2": (
            "mobilenetv2.keras",
            "Conv2D,DepthwiseConv2D",
            "photographs",
        ),
    }
    rows = []
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        subprocess.run([sys.executable, "-c", MAKE], cwd=folder, check=True, capture_output=True)
        for name, given in work.items():
            pairs = [(numbers(FLOOR, folder, *given), numbers(CHECK, folder, *given)) for _ in range(arguments.runs)]
            check, floor = (statistics.median(pair[side][0] for pair in pairs) for side in (1, 0))
            used, alone = (1000 * statistics.median(pair[side][1] for pair in pairs) for side in (1, 0))
            ratio = statistics.median(check_rate / floor_rate for (floor_rate, _), (check_rate, _) in pairs)
            rows.append(
                (
                    f"`check`: {name}",
                    f"{check:,.0f} a second, {used:.2f} ms of CPU time an input",
                    f"{ratio:.2f} x inference alone ({floor:,.0f}, {alone:.2f} ms)",
                    "0.85 x",
                )
            )
        size = (folder / "a.npz").stat().st_size / 1e6
        seconds = statistics.median(wall(folder, "diff", "a.npz", "b.npz") for _ in range(arguments.runs))
        rows.append((f"`diff` of two files of {size:.0f} MB", f"{seconds:.2f} s", "", "1.5 s"))
        tab = statistics.median(wall(folder, "layers", str(DIGITS)) for _ in range(arguments.runs))
        rows.append(("`layers`, what TAB waits for", f"{tab:.2f} s", "", "0.3 s"))
    if arguments.json:
        print(json.dumps(rows))
        return
    print("| work | measured | beside it | limit |\n|---|---|---|---|")
    for row in rows:
        print(f"| {' | '.join(row)} |")


if __name__ == "__main__":
    main()

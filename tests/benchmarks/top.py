"""Rates of `actviz top` beside inference alone, peak memory by the number of inputs, and the time of `actviz merge`.

Run ``python tests/benchmarks/top.py`` (some ten minutes). Rates are of what runs once everything is loaded: inputs a
second from the first tenth of the inputs on, as in `check.py`, whose inference alone they stand beside. Peak memory is
that of all processes together, over images of 28 x 28 in files of their own; the merged parts are those of a layer with
1,280 channels and 9 inputs for each.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

import numpy as np
from check import BEGIN, DIGITS, END, FLOOR, MAKE, numbers, wall
from PIL import Image
from show import watch

from actviz.records import Activation, LayerInfo
from actviz.results import part_files
from actviz.statistics.strength_options import InputIdentity, StrengthOptions
from actviz.statistics.strongest_inputs import StrongestReducer

TOP = f"""{BEGIN}
from actviz.batch import strongest_runner
from actviz.commands import top
from actviz.commands.top_request import TopRequest
from actviz.statistics.strength_options import StrengthOptions
add = strongest_runner.StrongestReducer.merge
count = 0
def noted(self, other):
    global count
    add(self, other)
    count += next(iter(other.layers.values())).inputs
    mark(count)
strongest_runner.StrongestReducer.merge = noted
kinds = layers(pattern or "Conv2D,MaxPooling2D,Dense")
request = TopRequest(opening=ModelOptions(Path(path)), inputs=InputArguments(files), layers=kinds, output=None, reading=InputOptions(), options=StrengthOptions())
for _ in top.top(request):
    pass
{END}"""


def peak(folder: Path, count: int, command: str) -> float:
    """Return the largest memory of all processes of a command over `count` images, in MB."""
    images = folder / f"images{count}"
    if not images.exists():
        generator = np.random.default_rng(0)
        for number in range(count):
            target = images / f"{number // 1000:03d}"
            target.mkdir(parents=True, exist_ok=True)
            picture = Image.fromarray(generator.integers(0, 255, (28, 28), np.uint8))
            picture.save(target / f"a_picture_of_a_digit_{number:06d}.png", compress_level=0)
    largest = [0.0]
    options = [*command.split(), str(DIGITS), str(images), "-q"]
    with subprocess.Popen(
        [sys.executable, "-P", "-m", "actviz", *options], cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    ) as process:
        watcher = threading.Thread(target=watch, args=(process.pid, largest))
        watcher.start()
        _, errors = process.communicate()
        watcher.join()
    if process.returncode:
        raise RuntimeError(errors.decode())
    return largest[0]


def make_parts(folder: Path, count: int, channels: int) -> list[str]:
    """Write the results of parts of a layer, each of 64 inputs, and return their paths."""
    generator = np.random.default_rng(0)
    axes = ("batch", "row", "column", "channel")
    layer = LayerInfo("out", "out", None, "Conv2D", (None, 7, 7, channels), "", None, axes)
    paths = []
    for number in range(1, count + 1):
        inputs = range(64 * number, 64 * number + 64)
        identities = {each: InputIdentity(f"images/{each:06d}.jpg", f"{each:064x}") for each in inputs}
        reducer = StrongestReducer(StrengthOptions(), identities)
        values = generator.normal(size=(64, 7, 7, channels)).astype(np.float32)
        reducer.update("out", [Activation("out", "Conv2D", values, axes)], inputs)
        record = {
            "command": "top", "actviz": "", "model": "m.keras", "reading": {}, "options": {"by": "max", "k": 9, "extremes": ["high"]},
            "shards": [number], "of": count, "inputs": 64, "batch_size": 64, "failures": [], "left_out": {}, "classes": {},
            "layers": [part_files.layer_record(layer)],
        }  # fmt: skip
        paths.append(str(folder / f"part-{number}.npz"))
        part_files.write_part(Path(paths[-1]), record, reducer.state())
    return paths


def main() -> None:
    """Measure everything and print the table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--images", type=int, nargs=2, default=(2_000, 50_000))
    parser.add_argument("--only", choices=("rates", "memory", "merge"))
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
        if arguments.only in {None, "rates"}:
            subprocess.run([sys.executable, "-c", MAKE], cwd=folder, check=True, capture_output=True)
            for name, given in work.items():
                pairs = [(numbers(FLOOR, folder, *given), numbers(TOP, folder, *given)) for _ in range(arguments.runs)]
                rate, floor = (statistics.median(pair[side][0] for pair in pairs) for side in (1, 0))
                used, alone = (1000 * statistics.median(pair[side][1] for pair in pairs) for side in (1, 0))
                ratio = statistics.median(top / alone_rate for (alone_rate, _), (top, _) in pairs)
                measured = f"{rate:,.0f} a second, {used:.2f} ms of CPU time an input"
                beside = f"{ratio:.2f} x inference alone ({floor:,.0f}, {alone:.2f} ms)"
                rows.append((f"`top`: {name}", measured, beside, "0.6 x"))
        if arguments.only in {None, "memory"}:
            for command in ("top -l conv,scores -o x.html --overwrite", "check"):
                few, many = (peak(folder, count, command) for count in arguments.images)
                shown = "{:,} and {:,} images".format(*arguments.images)
                name = f"peak memory of `{command.split()[0]}`, {shown}"
                rows.append((name, f"{few:,.0f} and {many:,.0f} MB", f"{many / few:.2f} x", "1.10 x"))
        if arguments.only in {None, "merge"}:
            paths = make_parts(folder, 100, 1280)
            seconds = statistics.median(wall(folder, "merge", *paths, "--channels", "0") for _ in range(arguments.runs))
            rows.append(("`merge` of 100 parts of 1,280 channels", f"{seconds:.2f} s", "", "2 s"))
    if arguments.json:
        print(json.dumps(rows))
        return
    print("| work | measured | beside it | limit |\n|---|---|---|---|")
    for row in rows:
        print(f"| {' | '.join(row)} |")


if __name__ == "__main__":
    main()

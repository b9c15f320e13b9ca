"""What the gate, the worker and its limits cost: the command beside the same job in one process.

Run ``python tests/benchmarks/cost.py``; ``--large`` also makes VGG16 with random weights
(1 GB of disk). Runs are interleaved; times are medians. The job in one process is given
every favour: it ends without TensorFlow's tear-down.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

from render import ACTVIZ, medians

SAMPLES = Path(__file__).parents[2] / "sample_models"
MAKE = "import keras; keras.utils.set_random_seed(0); keras.applications.VGG16(weights=None).save('vgg16.h5')"
ALONE = """
import os, sys
from pathlib import Path
import actviz
from actviz.inputs import InputOptions, choose_preprocessing, read_samples
model, picture, layer = sys.argv[1:]
from actviz.formats import open_network
with open_network(Path(model)) as network:
    sample = read_samples(Path(picture), network.inputs, choose_preprocessing(network.facts), InputOptions())[0]
    found = network.activations(sample.values, [layer])
    actviz.draw(found[layer]).save("alone.png", compress_level=1)
os._exit(0)
"""


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=7)
    parser.add_argument("--large", action="store_true")
    given = parser.parse_args()
    jobs = [("digits_cnn.h5", SAMPLES / "digits_cnn.h5", SAMPLES / "seven.png", "conv_intermediate")]
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        if given.large:
            subprocess.run([sys.executable, "-c", MAKE], cwd=folder, check=True)
            jobs.append(("VGG16", folder / "vgg16.h5", SAMPLES / "flower.jpg", "block5_conv3"))
        print("| job | command | in one process | more | CPU seconds |\n|---|---|---|---|---|")
        for name, model, picture, layer in jobs:
            commands = {
                "command": [
                    *ACTVIZ,
                    "show",
                    str(model),
                    str(picture),
                    "-l",
                    layer,
                    "-q",
                    "--overwrite",
                    "-o",
                    "figure.png",
                ],
                "alone": [sys.executable, "-P", "-c", ALONE, str(model), str(picture), layer],
            }
            took = medians(commands, folder, given.runs)
            ours, alone = took["command"].wall, took["alone"].wall
            print(
                f"| {name}, {layer} | {ours:.2f} s | {alone:.2f} s | {ours - alone:+.2f} s ({ours / alone - 1:+.0%}) | {took['command'].cpu:.2f} and {took['alone'].cpu:.2f} |"
            )


if __name__ == "__main__":
    main()

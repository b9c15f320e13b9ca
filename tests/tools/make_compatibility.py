"""Write `tests/COMPATIBILITY.md`: what becomes of every model file of the corpus.

Run ``python tests/tools/make_compatibility.py`` with the corpus beside the checkout.
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections import defaultdict
from pathlib import Path

os.environ.setdefault(
    "TF_ENABLE_ONEDNN_OPTS", "1"
)  # as in the worker: only its kernels compute channels_first everywhere
sys.path.insert(0, str(Path(__file__).parents[1] / "helpers"))

import corpus
import frozen_models
import numpy as np
import tflite_files
import weight_files

TFLITE_HEAD = """
## TFLite

What the converter left, under the names of the layers: right means equal to 1e-4 (1e-2 for float16; within 8 % of the
largest value for whole numbers, or at their end where the value lies beyond). "Said" are layers of which `layers` says what
became of them; "no trace" those whose names the file does not hold. Files of `tests/data/tflite` are those that travel with the
project; `tf215` wrote its own, `tf221` are models of several Keras versions, converted by TensorFlow 2.21.

| file | layers right | wrong | fused or folded, said | no trace |
|---|---|---|---|---|
"""

SIGNATURES_HEAD = """
## TFLite files with several signatures

Each signature has its own inputs, outputs and graph. The difference is the largest one from what the interpreter's own
signature runner computes for the same inputs (it uses the XNNPACK kernels, which round differently).

| file | signature | output | largest difference |
|---|---|---|---|
"""

FROZEN_HEAD = """
## Frozen graphs of TensorFlow 2

Written by `convert_variables_to_constants_v2` from a Keras model or from the SavedModel that it exports. Every
address, inner ones too, is compared with TensorFlow's own session (relative 1e-5).

| model | control flow | frozen from | addresses right | wrong |
|---|---|---|---|---|
"""

WEIGHTS_HEAD = """
## Weights beside an architecture, TensorFlow.js

Compared with what tf_keras, or the reader of TensorFlow.js's converter, computed (relative 1e-4).

| file | layers right | wrong |
|---|---|---|
"""

HEAD = """# Which files open

Made by `python tests/tools/make_compatibility.py` from real files of many Keras versions. "All layers right" means that
every activation that the writing version itself computed is found under its address and equal to 1e-4 (1e-2 for
float16). Custom classes were given with `custom_objects` and Lambda layers allowed to run; without that, the layers that
need it are left out, with the flag named. SavedModels and frozen graphs got neither: where layers are not known to Keras
without code, they are recovered from the graph. InputLayers inside a graph, which leave nothing in it, are not counted.

| writer | format | files | all layers right | a layer not found | refused | wrong values |
|---|---|---|---|---|---|---|
"""


def tflite_lines() -> list[str]:
    """Check every TFLite file and return its part of the page."""
    lines = [TFLITE_HEAD.rstrip("\n")]
    names: set[str] = set()
    for path in [*tflite_files.WHOLE, *tflite_files.PART]:
        if tflite_files.name_of(path) in names:
            continue
        names.add(tflite_files.name_of(path))
        outcome = tflite_files.check(path)
        count = len(tflite_files.truth(path)[1])
        rest = count - len(outcome.right) - len(outcome.wrong) - len(outcome.gone)
        counts = f"{len(outcome.right)} of {count} | {len(outcome.wrong)} | {', '.join(outcome.gone)} | {rest}"
        lines.append(f"| {tflite_files.name_of(path)} | {counts} |")
    return lines


def signature_lines() -> list[str]:
    """Run every signature of the files that have several, and return their part of the page."""
    lines = [SIGNATURES_HEAD.rstrip("\n")]
    for path in tflite_files.SIGNATURES:
        for (signature, output), difference in tflite_files.signature_differences(path).items():
            lines.append(f"| {tflite_files.name_of(path)} | {signature} | {output} | {difference:.0e} |")
    return lines


def counts_of(pairs, relative: float, absolute: float) -> str:
    """Return how many pairs of computed and expected values are equal, and how many are not, as two cells."""
    right = [np.allclose(values, correct, rtol=relative, atol=absolute) for values, correct in pairs]
    return f"{sum(right)} of {len(right)} | {len(right) - sum(right)}"


def frozen_lines() -> list[str]:
    """Freeze every model in four ways, and return their part of the page."""
    lines = [FROZEN_HEAD.rstrip("\n")]
    for name in frozen_models.MODELS:
        for lowered in (True, False):
            for exported in (True, False):
                with tempfile.TemporaryDirectory() as folder:
                    path = Path(folder) / "m.pb"
                    frozen_models.write(name, path, lowered=lowered, exported=exported)
                    values, _ = frozen_models.beside_session(path)
                counts = counts_of(((item.values, correct) for item, correct in values.values()), 1e-5, 1e-6)
                flow, source = ("functional", "lowered")[lowered], ("the model", "its SavedModel")[exported]
                lines.append(f"| {name} | {flow} | {source} | {counts} |")
    return lines


def weight_lines() -> list[str]:
    """Compare every kind of weights, and return their part of the page."""
    lines = [WEIGHTS_HEAD.rstrip("\n")]
    for kind, (model, weights, expected) in weight_files.FILES.items():
        values = weight_files.compared(model, weights, expected)
        lines.append(f"| {kind} | {counts_of(values.values(), 1e-4, 1e-5)} |")
    return lines


def main() -> None:
    """Check every file and write the table."""
    rows = defaultdict(list)
    for path in corpus.files():
        rows[path.parent.name, path.suffix[1:]].append(corpus.check(path))
    for path in corpus.files(formats=corpus.SAVED):
        kind = corpus.manifest(corpus.CORPUS)[path]["format"]
        rows[path.parent.name, kind].append(corpus.without_inputs(corpus.check(path, given=False)))
    lines = [HEAD.rstrip("\n")]
    every = [outcome for outcomes in rows.values() for outcome in outcomes]
    for (writer, suffix), outcomes in [*sorted(rows.items()), (("all", ""), every)]:
        counts = (
            len(outcomes),
            sum(outcome.right for outcome in outcomes),
            sum(bool(outcome.missing) and not outcome.wrong for outcome in outcomes),
            sum(bool(outcome.refused) for outcome in outcomes),
            sum(bool(outcome.wrong) for outcome in outcomes),
        )
        lines.append(f"| {writer} | {suffix} | {' | '.join(map(str, counts))} |")
    lines += ["", "## Refused, and why", "", "| file | exit code | reason |", "|---|---|---|"]
    lines += [
        f"| {outcome.path.parent.name}/{outcome.path.name} | {outcome.code} | {outcome.refused.split(': ', 1)[-1].replace('|', '/')} |"
        for outcome in every
        if outcome.refused
    ]
    lines += ["", "## Layers not found", "", "| file | layers |", "|---|---|"]
    lines += [
        f"| {outcome.path.parent.name}/{outcome.path.name} | {', '.join(outcome.missing)} |"
        for outcome in every
        if outcome.missing
    ]
    lines += tflite_lines()
    lines += signature_lines() + frozen_lines() + weight_lines()
    target = Path(__file__).parents[1] / "COMPATIBILITY.md"
    target.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()

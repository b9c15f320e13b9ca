"""Architectures with weights beside them, in `tests/data/weights`, and the values that their own libraries computed."""

from __future__ import annotations

from pathlib import Path

import numpy as np

PARTS = Path(__file__).parents[1] / "data" / "weights"
JSON = PARTS / "parts.json"

# Model, weights and the name of the expected values; `tests/tools/make_weight_files.py` wrote them.
FILES = {
    "Keras 2 weights, `.h5`": (JSON, PARTS / "parts.h5", "parts"),
    "the same under other layer names": (JSON, PARTS / "renamed.h5", "parts"),
    "checkpoint of `save_weights`": (JSON, PARTS / "keras", "parts"),
    "checkpoint of `tf.train.Checkpoint(model=...)`": (JSON, PARTS / "objects", "parts"),
    "TensorFlow.js, float32": (PARTS / "tfjs", None, "tfjs"),
    "TensorFlow.js, float16": (PARTS / "tfjs_float16", None, "tfjs_float16"),
    "TensorFlow.js, uint8": (PARTS / "tfjs_uint8", None, "tfjs_uint8"),
    "TensorFlow.js, uint16": (PARTS / "tfjs_uint16", None, "tfjs_uint16"),
}


def compared(model: Path, weights: Path | None = None, expected: str = "parts", layers: tuple[str, ...] = ()):
    """Compute layers, all by default; return ``{address: (values, expected values)}``."""
    import actviz

    with np.load(PARTS / f"{expected}.expected.npz") as file, actviz.open(model, weights=weights) as network:
        stored = {name.removeprefix("act:"): file[name] for name in file if name.startswith("act:")}
        activations = network.activations(file["in:0:x"], list(layers or stored))
    return {address: (activations[address].values, stored[address]) for address in layers or stored}

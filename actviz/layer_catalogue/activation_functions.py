"""The bounds of Keras's activation functions."""

from __future__ import annotations

Bounds = tuple[float, float]
# ReLU6 is not here: its 6 is a limit that few values come near, not a certainty.
BOUNDS: dict[str, Bounds] = {
    "sigmoid": (0.0, 1.0), "hard_sigmoid": (0.0, 1.0), "softmax": (0.0, 1.0), "sparsemax": (0.0, 1.0),
    "tanh": (-1.0, 1.0), "hard_tanh": (-1.0, 1.0), "softsign": (-1.0, 1.0),
}  # fmt: skip

"""Convert `digits_cnn` for small devices: weights and activations become whole numbers of eight bits.

Run ``python sample_models/convert_digits_cnn.py``; it takes a few seconds.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import keras
import tensorflow as tf
from sklearn.datasets import load_digits
from train_digits_cnn import enlarged

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy as np

HERE = Path(__file__).parent
SHOWN = 200  # digits that the converter fits the ranges of the whole numbers to


def digits() -> Iterator[list[np.ndarray]]:
    """Yield digits one by one, each a batch of one."""
    for image in enlarged(load_digits().images[:SHOWN]):
        yield [image[None]]


def main() -> None:
    """Convert and save."""
    model = keras.models.load_model(HERE / "digits_cnn.keras")
    converter = tf.lite.TFLiteConverter.from_keras_model(model)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = digits
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    (HERE / "digits_cnn_int8.tflite").write_bytes(converter.convert())


if __name__ == "__main__":
    main()

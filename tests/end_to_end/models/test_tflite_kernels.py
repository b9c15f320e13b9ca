"""What is said of kernels where weights are whole numbers and activations are not."""

import numpy as np
import pytest
import random_networks

from actviz.formats import open_network


@pytest.fixture(scope="module", params=[True, False])
def converted(request, tmp_path_factory):
    """Return a small network converted with and without dynamic-range quantization."""
    import keras
    import tensorflow as tf

    given = keras.Input((64,), name="x")
    model = keras.Model(given, keras.layers.Dense(2)(keras.layers.Dense(64, activation="relu", name="c")(given)))
    path = tmp_path_factory.mktemp("kernels") / "m.tflite"
    with random_networks.silent():
        converter = tf.lite.TFLiteConverter.from_keras_model(model)
        converter.optimizations = [tf.lite.Optimize.DEFAULT] if request.param else []
        path.write_bytes(converter.convert())
    return path, request.param


@pytest.mark.slow
def test_numbers_of_dynamic_range_quantization_name_their_kernels(converted):
    path, quantised = converted
    with open_network(path) as network:
        for _ in range(2):
            network.activations({"x": np.ones((1, 64), np.float32)})
        notes = [note for note in network.notes if "kernels of" in note]
    assert len(notes) == quantised
    assert all("without the XNNPACK delegate" in note for note in notes)

"""Write `tests/data/weights`: one model of Keras 2 with its weights in every layout that travels beside an architecture.

Run ``python tests/tools/make_weight_files.py`` where `tf_keras` is installed, and for the TensorFlow.js
models `tensorflowjs`. The values of the layers are those that `tf_keras` computes itself.
"""

from __future__ import annotations

import json
import sys
import types
from pathlib import Path

import numpy as np

TARGET = Path(__file__).parents[1] / "data" / "weights"
SHAPE = (6, 6, 2)


def network(keras):
    """Return a model of layers whose weights have one, two and three levels of attributes; some have no name given."""
    layers = keras.layers
    given = keras.Input(SHAPE, name="x")
    inner = keras.Sequential(
        [keras.Input((4, 4, 3)), layers.DepthwiseConv2D(2, name="dw"), layers.SeparableConv2D(4, 2, name="sep")],
        name="inner",
    )
    values = layers.Conv2D(3, 3)(given)
    values = layers.BatchNormalization(name="norm")(values)
    values = layers.Reshape((4, 4), name="steps")(inner(values))
    values = layers.Bidirectional(layers.LSTM(3, return_sequences=True), name="both")(values)
    values = layers.MultiHeadAttention(2, 4, name="heads")(values, values)
    values = layers.RNN([layers.GRUCell(3), layers.LSTMCell(2)], return_sequences=True, name="stacked")(values)
    values = layers.TimeDistributed(layers.Dense(3), name="each")(values)
    values = layers.PReLU(name="slopes")(values)
    return keras.Model(given, layers.Dense(2)(values), name="parts")


def filled(model):
    """Return a model with weights that are all different, and positive where they are variances."""
    random = np.random.default_rng(7)
    model.set_weights([random.uniform(0.1, 0.9, weight.shape).astype("f4") for weight in model.get_weights()])
    return model


def expected(keras, model, path):
    """Write an input and the output of each layer of a model."""
    batch = np.random.default_rng(8).random((2, *SHAPE), np.float32)
    outputs = keras.Model(model.inputs, [layer.get_output_at(-1) for layer in model.layers[1:]])(batch)
    values = {f"act:{layer.name}": value.numpy() for layer, value in zip(model.layers[1:], outputs, strict=True)}
    np.savez_compressed(path, **{"in:0:x": batch, **values})


def write_keras_2():
    """Write the architecture, weights as HDF5 and as checkpoints, and the values of the layers."""
    import tensorflow as tf
    import tf_keras as keras

    model = filled(network(keras))
    (TARGET / "parts.json").write_text(model.to_json())
    expected(keras, model, TARGET / "parts.expected.npz")
    model.save_weights(TARGET / "parts.h5")
    model.save_weights(TARGET / "keras" / "ckpt")
    renamed = network(keras)
    renamed.set_weights(model.get_weights())
    renamed.save_weights(TARGET / "renamed.h5")
    tf.train.Checkpoint(model=model, step=tf.Variable(3)).save(TARGET / "objects" / "ckpt")
    model.save(TARGET / "whole.h5")
    write_tensorflow_js(keras, model)
    (TARGET / "whole.h5").unlink()


def write_tensorflow_js(keras, model):
    """Write the model for TensorFlow.js, as it is and quantised, and the values of the quantised ones."""
    import h5py

    for name in ("tensorflow_decision_forests", "tensorflow_hub", "jax", "jax.experimental", "jax.experimental.jax2tf"):
        sys.modules.setdefault(name, types.ModuleType(name))  # its package imports them all
    from tensorflowjs import read_weights
    from tensorflowjs.converters import keras_h5_conversion

    for folder, quantization in (
        ("tfjs", None),
        ("tfjs_float16", {"float16": "*"}),
        ("tfjs_uint8", {"uint8": "*"}),
        ("tfjs_uint16", {"uint16": "*"}),
    ):
        (TARGET / folder).mkdir(exist_ok=True)
        with h5py.File(TARGET / "whole.h5") as file:
            topology, groups = keras_h5_conversion.h5_merged_saved_model_to_tfjs_format(file)
        keras_h5_conversion.write_artifacts(
            topology, groups, str(TARGET / folder), quantization, weight_shard_size_bytes=1500
        )
        manifest = json.loads((TARGET / folder / "model.json").read_text())["weightsManifest"]
        stored = {
            item["name"]: item["data"] for item in read_weights.read_weights(manifest, TARGET / folder, flatten=True)
        }
        quantized = network(keras)
        names = [weight.name.removesuffix(":0") for weight in model.weights]
        quantized.set_weights([stored[name] for name in names])
        for ours, theirs in zip(quantized.layers, model.layers, strict=True):
            ours._name = theirs.name
        expected(keras, quantized, TARGET / f"{folder}.expected.npz")


def write_keras_3():
    """Write a checkpoint of the same weights by Keras 3, whose objects have other names."""
    import h5py
    import keras
    import tensorflow as tf

    model = network(keras)
    with h5py.File(TARGET / "parts.h5") as file:
        for ours, name in zip(model.layers, file.attrs["layer_names"], strict=True):
            group = file[name]
            ours.set_weights([group[weight][()] for weight in group.attrs["weight_names"]])
    tf.train.Checkpoint(model=model).save(TARGET / "keras_3" / "ckpt")


if __name__ == "__main__":
    TARGET.mkdir(exist_ok=True)
    write_keras_2()
    write_keras_3()

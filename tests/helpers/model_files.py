"""Small model files with several inputs, text and tokens, written without Keras."""

import io
import json
import zipfile

import h5py
import numpy as np
from keras_configs import layer, model, node, source, tensor


def write_keras(path, config, weights):
    """Write a `.keras` archive: a configuration, and arrays by their path in the weights."""
    stored = io.BytesIO()
    with h5py.File(stored, "w") as file:
        file.create_group("layers")
        for name, values in weights.items():
            file[name] = values
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("metadata.json", '{"keras_version": "3.15.1"}')
        archive.writestr("config.json", json.dumps(config))
        archive.writestr("model.weights.h5", stored.getvalue())
    return path


def typed(name, shape, dtype):
    found = source(name, shape)
    found["config"]["dtype"] = dtype
    return found


def pair(path):
    """Two images of different ranges and three tokens of a vocabulary of six: named by a dictionary."""
    layers = [
        source("left", [8, 8, 3]),
        source("right", [8, 8, 3]),
        typed("meta", [3], "int32"),
        layer("scaled", "Rescaling", [node(tensor("left"))], scale=1 / 255, offset=0.0),
        layer("twice", "Rescaling", [node(tensor("right"))], scale=2.0, offset=0.0),
        layer(
            "shrunk", "AveragePooling2D", [node(tensor("scaled"))], pool_size=[2, 2], strides=[2, 2], padding="valid"
        ),
        layer("embedding", "Embedding", [node(tensor("meta"))], input_dim=6, output_dim=2),
        layer("flat", "Flatten", [node(tensor("embedding"))]),
        layer("mean", "GlobalAveragePooling2D", [node(tensor("shrunk"))]),
        layer("other", "GlobalAveragePooling2D", [node(tensor("twice"))]),
        layer("all", "Concatenate", [node(tensor("mean"), tensor("other"), tensor("flat"))], axis=-1),
    ]
    inputs = {name: [name, 0, 0] for name in ("right", "meta", "left")}
    table = np.arange(12, dtype=np.float32).reshape(6, 2)
    return write_keras(path, model("pair", layers, inputs, ["all", 0, 0]), {"layers/embedding/vars/0": table})


def reader(path):
    """A text of words that the network knows, as tokens and then as vectors."""
    vectorization = {
        "max_tokens": None, "standardize": "lower_and_strip_punctuation", "split": "whitespace", "ngrams": None,
        "output_mode": "int", "output_sequence_length": 4, "vocabulary": ["", "[UNK]", "the", "cat", "sat"], "dtype": "string",
    }  # fmt: skip
    layers = [
        typed("text", [1], "string"),
        layer("tokens", "TextVectorization", [node(tensor("text"))], **vectorization),
        layer("embedding", "Embedding", [node(tensor("tokens"))], input_dim=5, output_dim=2),
        layer("flat", "Flatten", [node(tensor("embedding"))]),
    ]
    table = np.arange(10, dtype=np.float32).reshape(5, 2)
    return write_keras(
        path, model("reader", layers, ["text", 0, 0], ["flat", 0, 0]), {"layers/embedding/vars/0": table}
    )


def closed(path):
    """A word that is looked up in a vocabulary without an entry for unknown words."""
    lookup = {"vocabulary": ["yes", "no"], "num_oov_indices": 0, "output_mode": "one_hot"}
    layers = [typed("answer", [1], "string"), layer("lookup", "StringLookup", [node(tensor("answer"))], **lookup)]
    return write_keras(path, model("closed", layers, ["answer", 0, 0], ["lookup", 0, 0]), {})

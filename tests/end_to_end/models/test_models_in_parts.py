"""Models in parts: architecture JSON and weights, and archives that somebody unpacked."""

import json
import zipfile

import numpy as np
import pytest

import actviz
from actviz.errors import ActvizError, ModelError, UnsafeError


@pytest.fixture
def model():
    import keras

    keras.utils.set_random_seed(4)
    return keras.Sequential(
        [
            keras.Input((6, 6, 2), name="x"),
            keras.layers.Conv2D(3, 3, name="c"),
            keras.layers.BatchNormalization(name="b"),
        ]
    )


def outputs(network, batch):
    with network:
        return network.activations(batch, "b")["b"].values


def test_json_and_weights_of_either_layout(model, tmp_path, samples):
    batch = np.random.default_rng(0).random((2, 6, 6, 2), np.float32)
    correct = model(batch).numpy()
    (tmp_path / "m.json").write_text(model.to_json())
    model.save_weights(tmp_path / "m.weights.h5")
    model.save(tmp_path / "whole.h5")
    for weights in ("m.weights.h5", "whole.h5"):
        found = outputs(actviz.open(tmp_path / "m.json", weights=tmp_path / weights), batch)
        np.testing.assert_array_equal(found, correct)
    with pytest.raises(ModelError, match="give them with weights="):
        actviz.open(tmp_path / "m.json")
    with pytest.raises(ModelError, match=r"goes with a \.keras or \.h5 file"):
        actviz.open(samples / "digits_cnn_int8.tflite", weights=tmp_path / "m.weights.h5")


def test_an_unpacked_archive(model, tmp_path):
    batch = np.random.default_rng(0).random((2, 6, 6, 2), np.float32)
    model.save(tmp_path / "m.keras")
    with zipfile.ZipFile(tmp_path / "m.keras") as archive:
        archive.extractall(tmp_path / "unpacked")
    np.testing.assert_array_equal(outputs(actviz.open(tmp_path / "unpacked"), batch), model(batch).numpy())
    weights = tmp_path / "unpacked" / "model.weights.h5"
    weights.rename(tmp_path / "elsewhere.h5")
    weights.symlink_to(tmp_path / "elsewhere.h5")
    with pytest.raises(UnsafeError, match="is a link"):
        actviz.open(tmp_path / "unpacked")


@pytest.mark.parametrize("content", ["{", "[]", "{}", json.dumps({"class_name": "Sequential", "config": 3})])
def test_json_that_is_no_model(tmp_path, content, samples):
    (tmp_path / "m.json").write_text(content)
    with pytest.raises(ActvizError):
        actviz.open(tmp_path / "m.json", weights=samples / "dense.h5")

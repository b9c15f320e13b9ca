"""Weights beside an architecture: every layout against the values that the writing library computed."""

import json
import shutil
import zipfile

import h5py
import numpy as np
import pytest
from conftest import DATA

import actviz
from actviz.errors import ModelError

PARTS = DATA / "weights"
JSON = PARTS / "parts.json"
BATCH = np.random.default_rng(0).random((2, 6, 6, 2), np.float32)


def check(model, weights=None, expected="parts"):
    """Compare every layer with the values in the data."""
    with np.load(PARTS / f"{expected}.expected.npz") as file, actviz.open(model, weights=weights) as network:
        stored = {name.removeprefix("act:"): file[name] for name in file if name.startswith("act:")}
        activations = network.activations(file["in:0:x"])
    for address, values in stored.items():
        np.testing.assert_allclose(activations[address].values, values, rtol=1e-4, atol=1e-5, err_msg=address)


@pytest.fixture(scope="module")
def today(tmp_path_factory):
    """The same network in Keras 3: its archive with other weights, an archive without, and the weights alone."""
    import keras

    folder = tmp_path_factory.mktemp("today")
    keras.utils.set_random_seed(4)
    layers = keras.layers
    model = keras.Sequential(
        [
            keras.Input((6, 6, 2), name="x"),
            layers.Conv2D(3, 3, name="c"),
            keras.Sequential([layers.Conv2D(2, 2, name="inside")], name="inner"),
            layers.BatchNormalization(name="b"),
        ]
    )
    model.save(folder / "other.keras")
    (folder / "m.json").write_text(model.to_json())
    model.set_weights([np.random.default_rng(1).uniform(0.1, 1, weight.shape) for weight in model.get_weights()])
    model.save_weights(folder / "m.weights.h5")
    model.save(folder / "whole.h5")
    model.save(folder / "whole.keras")
    with zipfile.ZipFile(folder / "whole.keras") as archive, zipfile.ZipFile(folder / "bare.keras", "w") as bare:
        archive.extractall(folder / "unpacked")
        for member in ("config.json", "metadata.json"):
            bare.writestr(member, archive.read(member))
    (folder / "unpacked" / "model.weights.h5").unlink()
    with h5py.File(folder / "whole.h5") as whole, h5py.File(folder / "architecture.h5", "w") as architecture:
        architecture.attrs.update(whole.attrs)
    with h5py.File(folder / "whole.h5") as whole, h5py.File(folder / "legacy.h5", "w") as weights:
        for name in whole["model_weights"]:
            whole.copy(f"model_weights/{name}", weights)
        weights.attrs.update(whole["model_weights"].attrs)
    return folder, model(BATCH).numpy()


@pytest.mark.parametrize("weights", ["m.weights.h5", "legacy.h5", "whole.h5", "whole.keras"])
@pytest.mark.parametrize("model", ["other.keras", "bare.keras", "unpacked", "m.json", "architecture.h5", "whole.h5"])
def test_every_architecture_with_weights_of_every_layout(today, model, weights):
    folder, correct = today
    with actviz.open(folder / model, weights=folder / weights) as network:
        np.testing.assert_array_equal(network.activations(BATCH, "b")["b"].values, correct)
        digest = network.activations(BATCH, "b")["b"].weights_digest
    with actviz.open(folder / "other.keras") as network:
        assert digest != network.activations(BATCH, "b")["b"].weights_digest


def test_only_the_weights_of_ancestors_are_read(today, tmp_path):
    folder, _ = today
    shutil.copy(folder / "legacy.h5", tmp_path / "w.h5")
    with h5py.File(tmp_path / "w.h5", "a") as file:
        names = file["b"].attrs["weight_names"]
        del file["b"][names[0]]
        file["b"][names[0]] = np.zeros((99,), "f4")
    with actviz.open(folder / "m.json", weights=tmp_path / "w.h5") as network:
        assert network.activations(BATCH, "inner")["inner"].values.shape == (2, 3, 3, 2)
        with pytest.raises(ModelError, match=r'layer "b" has the shape \(99,\), \(2,\) was expected'):
            network.activations(BATCH, "b")


def test_the_hdf5_of_keras_2():
    check(JSON, PARTS / "parts.h5")


def test_layers_of_other_names_are_matched_by_order():
    """Names such as conv2d_1 depend on what a process made before; load_weights goes by order too."""
    check(JSON, PARTS / "renamed.h5")


def test_weights_of_another_model_are_refused(tmp_path):
    shutil.copy(PARTS / "renamed.h5", tmp_path / "w.h5")
    with h5py.File(tmp_path / "w.h5", "a") as file:
        names = [name for name in file.attrs["layer_names"] if name != "heads"]
        file.attrs["layer_names"] = names
    with pytest.raises(
        ModelError, match=r'of 8 layers, the model has 9 layers with weights: no weights for layer "conv2d"'
    ):
        actviz.open(JSON, weights=tmp_path / "w.h5")
    with h5py.File(tmp_path / "w.h5", "a") as file:
        file.attrs["layer_names"] = [*names, "norm"]
    with pytest.raises(ModelError, match=r'layer "each" has 2 weights, "slopes" in the file has 1'):
        actviz.open(JSON, weights=tmp_path / "w.h5")


def test_the_vocabulary_comes_from_the_archive(tmp_path):
    import keras

    layers = keras.layers
    model = keras.Sequential(
        [
            keras.Input((1,), dtype="string", name="t"),
            layers.TextVectorization(vocabulary=["one", "two"], output_sequence_length=2, name="words"),
            layers.Embedding(4, 2, name="e"),
        ]
    )
    model.save(tmp_path / "m.keras")
    model.save(tmp_path / "m.h5")
    model.save_weights(tmp_path / "m.weights.h5")
    batch = np.array([["two one"]], object)
    for weights in ("m.weights.h5", "m.h5"):
        with actviz.open(tmp_path / "m.keras", weights=tmp_path / weights) as network:
            assert network.activations(batch, "words")["words"].values.tolist() == [[3, 2]]
            np.testing.assert_array_equal(
                network.activations(batch, "e")["e"].values, model.layers[-1](np.array([[3, 2]]))
            )


@pytest.mark.parametrize("content", [b"", b"PK\3\4", b"not weights", b"\x89HDF\r\n\x1a\n"])
def test_files_that_hold_no_weights(tmp_path, content):
    (tmp_path / "w.h5").write_bytes(content)
    with pytest.raises(ModelError, match=r"w\.h5"):
        actviz.open(JSON, weights=tmp_path / "w.h5")
    with h5py.File(tmp_path / "w.h5", "w") as file:
        file["values"] = np.zeros(3)
    with pytest.raises(ModelError, match="holds no weights of a Keras model"):
        actviz.open(JSON, weights=tmp_path / "w.h5")


def test_models_that_hold_their_weights_themselves(tmp_path, samples):
    with pytest.raises(ModelError, match=r"--weights goes with a \.keras or \.h5 file or the JSON"):
        actviz.open(samples / "digits_cnn_int8.tflite", weights=PARTS / "parts.h5")
    (tmp_path / "m.json").write_text(json.dumps({"class_name": "Sequential", "config": {"layers": []}}))
    with pytest.raises(ModelError):
        actviz.open(tmp_path / "m.json", weights=tmp_path / "missing.h5")


@pytest.mark.usefixtures("warm_worker")
def test_diff_takes_the_weights_of_both_models(actviz, today, tmp_path):
    folder, _ = today
    np.save(tmp_path / "x.npy", BATCH)
    arguments = ["diff", folder / "m.json", folder / "m.json", "x.npy", "--json"]
    same = actviz(*arguments, "--weights", folder / "m.weights.h5")
    both = actviz(*arguments, "--weights", folder / "m.weights.h5", "--weights", folder / "legacy.h5")
    other = actviz(*arguments, "--weights", folder / "m.weights.h5", "--weights", folder / "other.keras")
    assert [same.code, both.code, other.code] == [0, 0, 8]
    assert {"m.weights.h5", "other.keras"} <= set(other.out.split('"'))
    assert actviz(*arguments, *["--weights", folder / "m.weights.h5"] * 3).code == 2

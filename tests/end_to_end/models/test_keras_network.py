"""The sub-model against Keras itself, on the sample models."""

import os

import numpy as np
import pytest

from actviz import formats
from actviz.errors import LimitError, ModelError

MODELS = ("digits_cnn.keras", "digits_cnn.h5", "dense.h5", "ner_bilstm.h5", "photo_features.keras")


opened = []


def open_network(path):
    """Open a network that is closed when the test ends."""
    network = formats.open_network(path)
    opened.append(network)
    return network


@pytest.fixture(autouse=True)
def _closed():
    yield
    while opened:
        opened.pop().close()


def batch_for(network, count=2):
    random = np.random.default_rng(1)
    found = {}
    for spec in network.inputs:
        shape = (count, *(20 if size is None else size for size in spec.shape[1:]))
        found[spec.name] = (
            random.integers(1, 9, shape).astype(spec.dtype)
            if "int" in spec.dtype
            else random.random(shape).astype(spec.dtype)
        )
    return found


def keras_outputs(path, batch):
    import keras

    model = keras.saving.load_model(path, compile=False)
    wanted = [layer for layer in model.layers if type(layer).__name__ != "InputLayer"]
    outputs = keras.Model(model.inputs, [layer.output for layer in wanted])(list(batch.values()))
    outputs = outputs if isinstance(outputs, list) else [outputs]
    return {layer.name: values.numpy() for layer, values in zip(wanted, outputs, strict=True)}


@pytest.mark.parametrize("name", MODELS)
def test_every_layer_is_bitwise_that_of_the_whole_model(samples, name):
    network = open_network(samples / name)
    batch = batch_for(network)
    expected = keras_outputs(samples / name, batch)
    addresses = [layer.address for layer in network.layers if layer.index is not None and layer.kind != "InputLayer"]
    assert addresses == list(expected)
    whole = network.activations(batch, addresses)
    for address, values in expected.items():
        np.testing.assert_array_equal(whole[address].values, values)
        alone = open_network(samples / name).activations(batch, [address])
        np.testing.assert_array_equal(alone[address].values, values)


@pytest.mark.parametrize("name", MODELS)
def test_what_the_file_tells_is_what_keras_finds(samples, name):
    import keras

    network = open_network(samples / name)
    model = keras.saving.load_model(samples / name, compile=False)
    by_name = {layer.address: layer for layer in network.layers}
    for layer in model.layers:
        told = by_name[layer.name]
        assert told.parameters == layer.count_params()
        assert told.kind == type(layer).__name__
        assert network.layers[[info.index for info in network.layers].index(told.index)].address == layer.name
        if told.shape is not None and told.kind != "InputLayer":
            assert told.shape == tuple(layer.output.shape)
    assert all(layer.shape is not None for layer in network.layers)


def test_the_two_names_and_the_index_of_a_layer_give_the_same(samples):
    from actviz.addresses import select_layers

    network = open_network(samples / "dense.h5")
    first, second = (select_layers(network.layers, [text], "")[0] for text in ("intermediate", "2"))
    assert first == second
    assert first.shape == (None, 16)
    assert select_layers(network.layers, ["3"], "")[0].shape == (None, 8)


def test_only_the_weights_upstream_are_read(samples):
    shallow, deep = open_network(samples / "digits_cnn.keras"), open_network(samples / "digits_cnn.keras")
    batch = batch_for(shallow)
    shallow.activations(batch, ["conv"])
    deep.activations(batch, ["scores"])
    cuts = [next(iter(network._submodels.values())) for network in (shallow, deep)]
    assert [len(cut.layers) for cut in cuts] == [1, 6]


def test_the_order_of_weights_does_not_depend_on_ten_layers_of_a_class(tmp_path):
    """``conv2d_10`` sorts before ``conv2d_2`` as text; numbers follow the configuration."""
    import keras

    keras.utils.set_random_seed(3)
    layers = [keras.layers.Dense(3 + number, name=f"d{number}") for number in range(12)]
    model = keras.Sequential([keras.Input((4,)), *layers])
    model.save(tmp_path / "many.keras")
    network = open_network(tmp_path / "many.keras")
    batch = batch_for(network)
    expected = keras_outputs(tmp_path / "many.keras", batch)
    for address in ("d2", "d10", "d11"):
        values = open_network(tmp_path / "many.keras").activations(batch, [address])[address].values
        np.testing.assert_array_equal(values, expected[address])


def test_declared_sizes_are_refused_before_they_are_allocated(tmp_path):
    import keras

    with keras.StatelessScope(initialize_variables=False):
        config = keras.Sequential([keras.Input((8,)), keras.layers.Dense(10**12, name="huge")]).get_config()
    path = write_keras(tmp_path / "bomb.keras", config)
    network = open_network(path)
    with pytest.raises(LimitError, match="parameters"):
        network.activations({"input_layer": np.zeros((1, 8), np.float32)}, ["huge"])


def test_outputs_that_are_too_large_are_refused(tmp_path):
    import keras

    with keras.StatelessScope(initialize_variables=False):
        model = keras.Sequential([keras.Input((8,)), keras.layers.RepeatVector(10**10, name="many")])
    path = write_keras(tmp_path / "bomb.keras", model.get_config())
    with pytest.raises(LimitError, match="takes"):
        open_network(path).activations({"input_layer": np.zeros((1, 8), np.float32)}, ["many"])


def write_keras(path, config):
    import json
    import zipfile

    import h5py

    weights = path.with_suffix(".weights.h5")
    with h5py.File(weights, "w") as file:
        file.create_group("layers/dense/vars")
    described = {"module": "keras", "class_name": "Sequential", "config": config, "registered_name": None}
    config["layers"][0]["config"]["name"] = "input_layer"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("metadata.json", json.dumps({"keras_version": "3.15.1"}))
        archive.writestr("config.json", json.dumps(described))
        archive.write(weights, "model.weights.h5")
    return path


@pytest.mark.parametrize("damage", ["missing", "mis-shaped"])
def test_weights_that_do_not_fit_are_an_error_never_random_numbers(samples, tmp_path, damage):
    import shutil

    import h5py

    path = tmp_path / "m.h5"
    shutil.copy(samples / "dense.h5", path)
    with h5py.File(path, "r+") as file:
        found = []
        file["model_weights"].visititems(lambda place, item: found.append(place) if hasattr(item, "shape") else None)
        place = next(name for name in found if "intermediate" in name and "kernel" in name)
        del file["model_weights"][place]
        if damage == "mis-shaped":
            file["model_weights"][place] = np.zeros((3, 3), np.float32)
    with pytest.raises(ModelError, match="intermediate"):
        open_network(path).activations({"measurements": np.zeros((1, 10), np.float32)}, ["intermediate"])


def test_a_file_that_changes_while_it_is_read_is_refused(samples, tmp_path):
    import shutil

    path = tmp_path / "m.h5"
    shutil.copy(samples / "dense.h5", path)
    network = open_network(path)
    os.utime(path, ns=(1, 1))
    with pytest.raises(ModelError, match="changed while it was read"):
        network.activations({"measurements": np.zeros((1, 10), np.float32)}, ["intermediate"])


def test_every_listed_function_of_tensorflow_exists():
    import tensorflow as tf

    from actviz.formats.keras.tf_ops import OPERATORS, REVERSED, _resolved
    from actviz.gate.functions import FUNCTIONS, OPERATIONS

    for name in sorted(FUNCTIONS):
        operator = name.removeprefix("__operators__.")
        if operator != name:
            assert operator in {*OPERATORS, *REVERSED, "getitem"}, name
        else:
            assert callable(_resolved(name)), name
    for name in OPERATIONS:
        assert hasattr(tf.raw_ops, name), name


def test_many_batches_are_traced_and_give_the_same_numbers(samples):
    values = np.random.default_rng(0).random((4, 28, 28, 1)).astype(np.float32)
    addresses = ["conv", "pool_intermediate", "scores"]
    with open_network(samples / "digits_cnn.keras") as network:
        name = network.inputs[0].name
        single = network.activations({name: values}, addresses)
        network.expect_many()
        for batch in (values, values, values, values[:2], values[:2] + 1, values):
            found = network.activations({name: batch}, addresses)
            if batch is values:
                for address in addresses:
                    np.testing.assert_allclose(found[address].values, single[address].values, rtol=1e-5, atol=1e-6)
                    assert found[address].axes == single[address].axes
            else:
                assert len(found["conv"].values) == 2
        assert network._submodels[tuple(addresses)].compiled is not None
        # What is looked into is run call by call, whatever is expected.
        with pytest.raises(KeyError):
            network.activations({name: values}, ["none"])


def test_what_has_masks_is_never_traced(samples):
    tokens = np.array([[2, 3, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]] * 2)
    with open_network(samples / "ner_bilstm.h5") as network:
        network.expect_many()
        addresses = [layer.address for layer in network.layers if layer.kind == "Embedding"]
        for _ in range(4):
            found = network.activations({network.inputs[0].name: tokens}, addresses)
        assert found[addresses[0]].mask.tolist()[0][:3] == [True, True, False]

"""`ADDRESS@pre` is what Keras computes if the layer has no activation function."""

import numpy as np
import pytest

import actviz
from actviz.errors import UsageError
from tests.helpers.late_imports import keras

pytestmark = pytest.mark.tensorflow
NAMES = ("conv", "depthwise", "separable", "transposed", "einsum", "scores")


def _model():
    layers = keras.layers
    image = keras.Input((8, 8, 2), name="image")
    value = layers.Conv2D(3, 3, activation="relu", name="conv")(image)
    value = layers.DepthwiseConv2D(3, activation="tanh", padding="same", name="depthwise")(value)
    value = layers.SeparableConv2D(4, 3, activation="sigmoid", padding="same", name="separable")(value)
    value = layers.Conv2DTranspose(4, 2, activation="elu", name="transposed")(value)
    value = layers.Flatten(name="flat")(value)
    value = layers.EinsumDense("ab,bc->ac", output_shape=6, activation="selu", name="einsum")(value)
    value = layers.ReLU(name="relu")(value)
    value = layers.Dense(4, name="linear")(value)
    return keras.Model(image, layers.Dense(5, activation="softmax", name="scores")(value))


def _before(model, name, batch):
    """Compute a layer in Keras with a linear activation function."""
    layer = model.get_layer(name)
    function, layer.activation = layer.activation, keras.activations.linear
    try:
        given = keras.Model(model.input, layer.input)(batch)
        return np.asarray(layer(np.asarray(given)))
    finally:
        layer.activation = function


def _batch():
    return np.random.default_rng(0).normal(size=(3, 8, 8, 2)).astype(np.float32)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["model.keras", "model.h5", "exported"])
def test_the_values_are_those_of_keras_without_the_activation_function(name, tmp_path):
    keras.utils.set_random_seed(3)
    model, batch = _model(), _batch()
    if name == "exported":
        model.export(tmp_path / name, verbose=False)
    else:
        model.save(tmp_path / name)
    with actviz.open(tmp_path / name) as network:
        computed = network.activations(batch, [f"{layer}@pre" for layer in NAMES] + ["conv"])
        for layer in NAMES:
            found = computed[f"{layer}@pre"]
            np.testing.assert_allclose(found.values, _before(model, layer, batch), rtol=1e-5, atol=1e-6)
            assert (found.signed, found.bounds) == (True, None)
        np.testing.assert_array_equal(computed["conv"].values, np.maximum(computed["conv@pre"].values, 0))
        assert computed["conv@pre"].values.min() < 0
        assert computed["scores@pre"].kind == "Dense before softmax"
        assert [layer.address for layer in network.select("*@pre")] == [f"{layer}@pre" for layer in NAMES]
        assert not any(layer.address.endswith("@pre") for layer in (*network.select("**"), *network.layers))
        for address, reason in {"relu@pre": "only applies", "linear@pre": "linear", "flat@pre": "Flatten"}.items():
            with pytest.raises(UsageError, match=reason):
                network.select(address)


@pytest.mark.slow
def test_each_call_of_a_shared_nested_layer_has_its_own_values(tmp_path):
    keras.utils.set_random_seed(3)
    layers = keras.layers
    inner = keras.Sequential([keras.Input((4,)), layers.Dense(4, activation="relu", name="dense")], name="encoder")
    given = keras.Input((4,), name="x")
    first = inner(given)
    keras.Model(given, inner(first)).save(tmp_path / "model.keras")
    batch = np.random.default_rng(1).normal(size=(5, 4)).astype(np.float32)
    dense = inner.get_layer("dense")
    with actviz.open(tmp_path / "model.keras") as network:
        computed = network.activations(batch, "encoder/dense@pre")
    kernel, bias = (np.asarray(weight) for weight in dense.weights)
    once = batch @ kernel + bias
    again = np.maximum(once, 0) @ kernel + bias
    assert list(computed) == ["encoder#0/dense@pre", "encoder#1/dense@pre"]
    for found, expected in zip(computed.values(), (once, again), strict=True):
        np.testing.assert_allclose(found.values, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.slow
def test_layers_that_apply_functions_inside_are_refused_by_class(tmp_path):
    layers = keras.layers
    given = keras.Input((6, 4), name="x")
    value = layers.TimeDistributed(layers.Dense(3, activation="relu", name="dense"), name="steps")(given)
    value = layers.LSTM(3, return_sequences=True, name="lstm")(value)
    keras.Model(given, layers.Attention(name="attention")([value, value])).save(tmp_path / "model.keras")
    with actviz.open(tmp_path / "model.keras") as network:
        for address, kind in {
            "steps@pre": "TimeDistributed", "steps/dense@pre": "wrapper", "lstm@pre": "LSTM", "attention@pre": "Attention",
        }.items():  # fmt: skip
            with pytest.raises(UsageError, match=kind):
                network.select(address)

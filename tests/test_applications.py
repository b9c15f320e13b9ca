"""Networks that people have: `keras.applications`, untrained, flat and under a new head."""

import numpy as np
import pytest

from actviz.formats import open_network

pytestmark = pytest.mark.slow
FAMILIES = {"MobileNetV2": 96, "ResNet50": 64, "DenseNet121": 64, "EfficientNetB0": 64}


def randomised(model):
    """Give batch normalisation something to do: its fresh weights hide exchanged ones."""
    random = np.random.default_rng(0)
    for weight in model.weights:
        if weight.shape.rank == 1:
            weight.assign(random.uniform(0.5, 1.5, weight.shape))
    return model


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("suffix", ["keras", "h5"])
def test_every_layer_is_that_of_keras_and_parts_are_those_of_the_whole(tmp_path, family, suffix):
    import keras

    keras.utils.set_random_seed(1)
    side = FAMILIES[family]
    model = randomised(getattr(keras.applications, family)(weights=None, input_shape=(side, side, 3), classes=7))
    path = tmp_path / f"m.{suffix}"
    model.save(path)
    model = keras.saving.load_model(path, compile=False)  # a Normalization takes its numbers over when it is loaded
    picture = np.random.default_rng(2).random((1, side, side, 3), np.float32) * 255
    wanted = [layer for layer in model.layers if type(layer).__name__ != "InputLayer"]
    expected = keras.Model(model.inputs, [layer.output for layer in wanted])([picture])
    with open_network(path) as network:
        addresses = [layer.address for layer in network.layers]
        assert addresses[1:] == [layer.name for layer in wanted]
        name = network.inputs[0].name
        whole = network.activations({name: picture}, addresses[1:])
    for layer, values in zip(wanted, expected, strict=True):
        np.testing.assert_array_equal(whole[layer.name].values, values.numpy(), err_msg=layer.name)
    for layer in wanted[3 :: len(wanted) // 3]:
        with open_network(path) as network:
            part = network.activations({name: picture}, [layer.name])
        np.testing.assert_array_equal(part[layer.name].values, whole[layer.name].values, err_msg=layer.name)

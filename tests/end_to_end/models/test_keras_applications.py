"""Networks that people have: `keras.applications`, untrained, flat and under a new head."""

import os

import numpy as np
import pytest

from actviz.formats import open_network

pytestmark = pytest.mark.slow
FAMILIES = {
    "VGG16": 48, "ResNet50": 64, "ResNet50V2": 64, "InceptionV3": 96, "Xception": 80, "MobileNet": 64,
    "MobileNetV2": 64, "MobileNetV3Small": 64, "DenseNet121": 64, "NASNetMobile": 64, "EfficientNetB0": 64,
    "EfficientNetV2B0": 64, "ConvNeXtTiny": 64,
}  # fmt: skip


def randomised(model):
    """Give batch normalisation something to do: its fresh weights hide exchanged ones."""
    random = np.random.default_rng(0)
    for weight in model.weights:
        if len(weight.shape) == 1 and "seed" not in weight.path:
            weight.assign(random.uniform(0.5, 1.5, weight.shape).astype(weight.dtype))
    return model


def flat(family, side):
    """Return a whole network and the part of it whose layers are compared: itself."""
    import keras

    model = getattr(keras.applications, family)(weights=None, input_shape=(side, side, 3), classes=7)
    return model, ""


def transfer(family, side):
    """Return a network with a frozen base and a new head, and the name of the base."""
    import keras

    base = getattr(keras.applications, family)(weights=None, input_shape=(side, side, 3), include_top=False)
    base.trainable = False
    picture = keras.Input((side, side, 3))
    pooled = keras.layers.GlobalAveragePooling2D(name="new_pool")(base(picture))
    return keras.Model(picture, keras.layers.Dense(3, name="new_head")(pooled)), base.name


# The other two pairs are computed by the networks of free size below, and by nested models of the corpus.
@pytest.mark.parametrize(("made", "suffix"), [(flat, "keras"), (transfer, "h5")])
@pytest.mark.parametrize("family", FAMILIES)
def test_every_layer_is_that_of_keras_and_parts_are_those_of_the_whole(tmp_path, monkeypatch, family, made, suffix):
    import keras

    keras.backend.clear_session()
    keras.utils.set_random_seed(1)
    model, base = made(family, FAMILIES[family])
    path = tmp_path / f"m.{suffix}"
    randomised(model).save(path)
    # A Normalization takes its numbers over when it is loaded; Keras cannot load every .h5 that it writes.
    model.save(tmp_path / "reference.keras")
    model = keras.saving.load_model(tmp_path / "reference.keras", compile=False)
    network_of_layers = model.get_layer(base) if base else model
    picture = np.random.default_rng(2).random((1, FAMILIES[family], FAMILIES[family], 3), np.float32) * 255
    wanted = [layer for layer in network_of_layers.operations if type(layer).__name__ != "InputLayer"]
    outputs = keras.Model(network_of_layers.inputs, [layer.output for layer in wanted])([picture])
    prefix = f"{base}/" if base else ""
    expected = {f"{prefix}{layer.name}": values.numpy() for layer, values in zip(wanted, outputs, strict=True)}
    with open_network(path) as network:
        batch = {network.inputs[0].name: picture}
        whole = network.activations(batch)
    for address, values in expected.items():
        np.testing.assert_array_equal(whole[address].values, values, err_msg=address)
    for address in [*list(expected)[3 :: len(expected) // 3], "new_head" if base else list(expected)[-1]]:
        with open_network(path) as network:
            part = network.activations(batch, [address])
        np.testing.assert_array_equal(part[address].values, whole[address].values, err_msg=address)
    if made is flat and suffix == "keras":
        monkeypatch.setattr("actviz.formats.keras.submodel.COMPILE_AFTER", 0)
        with open_network(path) as network:
            graph = network.activations(batch)
        for address, activation in whole.items():
            np.testing.assert_array_equal(graph[address].values, activation.values, err_msg=address)


CONSTRUCTORS = [
    "ConvNeXtBase", "ConvNeXtLarge", "ConvNeXtSmall", "ConvNeXtTiny", "ConvNeXtXLarge", "DenseNet121",
    "DenseNet169", "DenseNet201", "EfficientNetB0", "EfficientNetB1", "EfficientNetB2", "EfficientNetB3",
    "EfficientNetB4", "EfficientNetB5", "EfficientNetB6", "EfficientNetB7", "EfficientNetV2B0",
    "EfficientNetV2B1", "EfficientNetV2B2", "EfficientNetV2B3", "EfficientNetV2L", "EfficientNetV2M",
    "EfficientNetV2S", "InceptionResNetV2", "InceptionV3", "MobileNet", "MobileNetV2", "MobileNetV3Large",
    "MobileNetV3Small", "NASNetLarge", "NASNetMobile", "ResNet101", "ResNet101V2", "ResNet152", "ResNet152V2",
    "ResNet50", "ResNet50V2", "VGG16", "VGG19", "Xception",
]  # fmt: skip
SIDES = {
    "InceptionResNetV2": (75, 79), "InceptionV3": (75, 79), "Xception": (71, 75), "NASNetLarge": (64, 96),
    "NASNetMobile": (64, 96),
}  # fmt: skip
FIXED = ("NASNetLarge", "NASNetMobile")  # their layers depend on the size: Keras itself cannot run them at a free one


def test_the_list_of_constructors_is_that_of_keras():
    import keras

    assert set(CONSTRUCTORS) == {name for name in dir(keras.applications) if name[0].isupper()}


# They repeat the blocks of a smaller network of their family, and take 20 minutes together.
LARGER = {
    "ConvNeXtBase", "ConvNeXtLarge", "ConvNeXtSmall", "ConvNeXtXLarge", "DenseNet169", "DenseNet201",
    "EfficientNetB1", "EfficientNetB2", "EfficientNetB3", "EfficientNetB4", "EfficientNetB5", "EfficientNetB6",
    "EfficientNetB7", "EfficientNetV2B1", "EfficientNetV2B2", "EfficientNetV2B3", "EfficientNetV2L",
    "EfficientNetV2M", "NASNetLarge", "ResNet101", "ResNet101V2", "ResNet152", "ResNet152V2", "VGG19",
}  # fmt: skip


def constructors():
    """Return every constructor; the larger ones run where ``ACTVIZ_EVERY`` is set."""
    larger = pytest.mark.skipif("ACTVIZ_EVERY" not in os.environ, reason="larger networks need ACTVIZ_EVERY=1")
    return [pytest.param(name, marks=[larger] if name in LARGER else []) for name in CONSTRUCTORS]


@pytest.mark.parametrize("constructor", constructors())
def test_a_network_of_free_size_computes_what_keras_computes(tmp_path, constructor):
    import keras

    keras.backend.clear_session()
    keras.utils.set_random_seed(1)
    sides = SIDES.get(constructor, (40, 37))
    shape = (*(sides if constructor in FIXED else (None, None)), 3)
    model = randomised(getattr(keras.applications, constructor)(weights=None, include_top=False, input_shape=shape))
    for layer in model.layers:
        if isinstance(layer, keras.layers.Normalization):
            layer.finalize_state()  # takes over the mean and variance that were assigned
    picture = np.random.default_rng(2).random((1, *sides, 3), np.float32) * 255
    wanted = [layer for layer in model.operations if type(layer).__name__ != "InputLayer"]
    outputs = keras.Model(model.inputs, [layer.output for layer in wanted])([picture])
    expected = {layer.name: values.numpy() for layer, values in zip(wanted, outputs, strict=True)}
    for suffix in ("keras", "h5"):
        path = tmp_path / f"m.{suffix}"
        model.save(path)
        with open_network(path) as network:
            given = network.inputs[0]
            assert given.shape == (None, *shape)
            whole = network.activations({given.name: picture})
        path.unlink()
        for address, values in expected.items():
            np.testing.assert_array_equal(whole[address].values, values, err_msg=f"{suffix} {address}")

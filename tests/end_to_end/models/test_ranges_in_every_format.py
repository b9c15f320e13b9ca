"""One range for one network, in each of five formats, wherever its arithmetic is still in the file."""

from __future__ import annotations

import json
import warnings

import numpy as np
import pytest

from actviz.formats import open_network
from actviz.formats.keras.canonical import canonical
from actviz.formats.keras.keras_arithmetic import input_operations
from actviz.formats.keras.parse_graph import parse_graph
from actviz.inputs import choose_preprocessing
from actviz.records import LayerInfo, ModelFacts, TensorSpec

pytestmark = pytest.mark.slow
SHAPE = (16, 16, 3)
CAFFE = np.array([103.939, 116.779, 123.68], np.float32)


def tail(x):
    from keras import layers

    x = layers.Conv2D(4, 3, strides=2, activation="relu", name="conv")(x)
    return layers.Dense(3, activation="softmax")(layers.GlobalAveragePooling2D()(x))


def nested(name="vgg16"):
    """Return a model named after a family that takes another range than the whole."""
    import keras

    given = keras.Input(SHAPE)
    return keras.Model(given, tail(given), name=name)


def before(*steps):
    import keras

    return keras.Sequential([keras.Input(SHAPE), *steps], name="before")


def adapted():
    from keras import layers

    layer = layers.Normalization()
    layer.adapt(np.random.default_rng(0).uniform(0, 1, (20, *SHAPE)).astype(np.float32))
    return layer


def networks():
    """Return by name: the range (``""``: unknown), and what is computed of the input."""
    from keras import layers, ops
    from keras.applications.imagenet_utils import preprocess_input

    def standardised(x):
        every = {"axis": (1, 2, 3), "keepdims": True}
        return (x - ops.mean(x, **every)) / ops.std(x, **every)

    def channels_first(x):
        x = ops.transpose(x, (0, 3, 1, 2)) - CAFFE[::-1].reshape(3, 1, 1)
        return ops.transpose(x / np.array([58.4, 57.1, 57.4], np.float32).reshape(3, 1, 1), (0, 2, 3, 1))

    def split(x):
        parts = zip(ops.split(x, 3, -1)[::-1], CAFFE.tolist(), strict=True)
        return ops.concatenate([part - mean for part, mean in parts], -1)

    return {
        "tf": ("0..255", lambda x: nested()(preprocess_input(x, mode="tf"))),
        "caffe": ("0..255", lambda x: nested("mobilenetv2")(preprocess_input(x, mode="caffe"))),
        "torch": ("0..255", lambda x: nested("resnet50")(preprocess_input(x, mode="torch"))),
        "divided": ("0..255", lambda x: tail(x / 255)),
        "cast": ("0..255", lambda x: nested()(ops.cast(x, "float32") * (1 / 255))),
        "rescaled": ("0..255", lambda x: tail(layers.Rescaling(1 / 255)(x))),
        "rescaled_twice": ("0..255", lambda x: tail(layers.Rescaling(2, -1)(layers.Rescaling(1 / 255)(x)))),
        "rescaled_unit": ("0..1", lambda x: tail(layers.Rescaling(2, -1)(x))),
        "normalized": ("0..255", lambda x: tail(layers.Normalization(mean=[120, 115, 100], variance=[3000, 3100, 3300])(x))),
        "adapted": ("0..1", lambda x: tail(adapted()(x))),
        "before": ("0..255", lambda x: nested()(before(layers.Resizing(16, 16), layers.Rescaling(1 / 127.5, -1))(x))),
        "reversed": ("0..255", lambda x: tail(x[..., ::-1] - CAFFE)),
        "taken": ("0..255", lambda x: tail(ops.take(x, [2, 1, 0], axis=-1) / 255)),
        "flipped": ("0..255", lambda x: tail(ops.flip(x, axis=-1) / 255)),
        "split": ("0..255", lambda x: tail(split(x))),
        "channels_first": ("0..255", lambda x: tail(channels_first(x))),
        "padded": ("0..255", lambda x: tail(layers.ZeroPadding2D(1)(x / 127.5 - 1))),
        "inverted": ("0..255", lambda x: tail(1 - x / 255)),
        "enlarged": ("0..1", lambda x: nested("efficientnetb0")(x * 255)),
        "shifted": ("-1..1", lambda x: nested()((x + 1) * 127.5)),
        "strange": ("", lambda x: nested()(x * 3 + 7)),
        "maximum": ("", lambda x: nested()(x / ops.max(x, axis=(1, 2, 3), keepdims=True))),
        "standardised": ("", lambda x: nested()(standardised(x))),
    }  # fmt: skip


NAMES = (
    "tf", "caffe", "torch", "divided", "cast", "rescaled", "rescaled_twice", "rescaled_unit", "normalized", "adapted",
    "before", "reversed", "taken", "flipped", "split", "channels_first", "padded", "inverted", "enlarged", "shifted",
    "strange", "maximum", "standardised",
)  # fmt: skip
# The converter leaves these: what stands before a padding, or is no constant to fold.
KEPT_BY_TFLITE = frozenset(
    {"caffe", "torch", "normalized", "adapted", "reversed", "split", "channels_first", "inverted", "maximum", "standardised"}
)  # fmt: skip


def written(folder, made):
    """Write a model as five files and return their paths by format."""
    import keras
    import tensorflow as tf
    from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

    given = keras.Input(SHAPE, name="image")
    model = keras.Model(given, made(given))
    model.save(folder / "m.keras")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Keras says that the format is old
        model.save(folder / "m.h5")
    model.export(folder / "exported", verbose=False)
    (folder / "m.tflite").write_bytes(tf.lite.TFLiteConverter.from_saved_model(str(folder / "exported")).convert())
    called = tf.function(model).get_concrete_function(tf.TensorSpec((None, *SHAPE), tf.float32, name="image"))
    frozen = convert_variables_to_constants_v2(called)
    (folder / "m.pb").write_bytes(frozen.graph.as_graph_def().SerializeToString())
    return {name: folder / name for name in ("m.keras", "m.h5", "exported", "m.pb", "m.tflite")}


def test_every_network_is_tried():
    assert tuple(networks()) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_one_range_in_five_formats(name, tmp_path):
    expected, made = networks()[name]
    for kind, path in written(tmp_path, made).items():
        with open_network(path) as network:
            chosen = choose_preprocessing(network.facts)
        if kind == "m.tflite" and name not in KEPT_BY_TFLITE:
            assert "the converter may have folded" in chosen.description or chosen.name == expected, kind
        elif expected:
            assert (chosen.name, chosen.reason.startswith("the graph begins with")) == (expected, True), (kind, chosen)
        else:
            assert chosen.reason.startswith("range unknown: the graph begins with"), (kind, chosen)


# ------------------------------------------------------------------ keras.applications
PLAIN = {
    "MobileNet": "-1..1", "MobileNetV2": "-1..1", "VGG16": "caffe", "VGG19": "caffe", "ResNet50": "caffe",
    "ResNet50V2": "-1..1", "DenseNet121": "torch", "Xception": "-1..1", "InceptionV3": "-1..1",
    "InceptionResNetV2": "-1..1", "NASNetMobile": "-1..1",
}  # fmt: skip
WITH_OWN = {
    "MobileNetV3Small": "-1..1", "MobileNetV3Large": "-1..1", "EfficientNetV2B0": "torch", "EfficientNetV2S": "-1..1",
    "ConvNeXtTiny": "torch",
}  # fmt: skip


def facts_of(model, name):
    """Return what a model's configuration says, its weights left away, the model called `name`."""
    config = json.loads(model.to_json())
    config["config"]["name"] = name
    graph = parse_graph(canonical(config, "3.15.1", "m"), "m")
    shape = tuple(model.inputs[0].shape)
    spec = TensorSpec(model.inputs[0].name, shape, "float32", ("batch", "row", "column", "channel"))
    layers = tuple(
        LayerInfo(entry.key, entry.name, None, entry.kind, None, "float32", 0, ()) for entry in graph.entries.values()
    )
    operations = input_operations(graph, [spec], lambda _: {"mean": (0.0,), "variance": (1.0,)})
    return ModelFacts("m", "keras", "keras", (graph.name,), (spec,), layers, tuple(operations), (), "")


@pytest.mark.parametrize("application", PLAIN)
def test_a_family_is_guessed_by_its_name_and_by_its_layers(application):
    import keras

    model = getattr(keras.applications, application)(weights=None)
    named, renamed = (choose_preprocessing(facts_of(model, name)) for name in (model.name, "mine"))
    assert (named.name, renamed.name) == (PLAIN[application],) * 2
    assert f"a guess from the name {model.name}" in named.description
    assert "a guess from the layer names of" in renamed.description


@pytest.mark.parametrize("application", WITH_OWN)
def test_a_family_with_its_own_preprocessing(application):
    import keras

    made = getattr(keras.applications, application)
    for name in ("mine", "vgg16"):
        chosen = choose_preprocessing(facts_of(made(weights=None, include_preprocessing=True), name))
        assert (chosen.name, chosen.reason[:16]) == ("0..255", "the graph begins"), name
    model = made(weights=None, include_preprocessing=False)
    for name in (model.name, "mine"):
        chosen = choose_preprocessing(facts_of(model, name))
        assert chosen.name == WITH_OWN[application], name
        assert "a guess from the" in chosen.description


def test_efficientnet_has_its_preprocessing_always():
    import keras

    model = keras.applications.EfficientNetB0(weights=None)
    assert choose_preprocessing(facts_of(model, "mine")).reason.startswith("the graph begins with x / 255")


def test_a_network_that_others_trained_further():
    """As Teachable Machine exports them: the layers of MobileNetV2 in models of other names."""
    import keras

    base = keras.applications.MobileNetV2(weights=None, input_shape=(32, 32, 3), include_top=False, alpha=0.35)
    inner = keras.Model(base.input, base.get_layer("block_3_project_BN").output, name="model1")
    first = keras.Sequential([inner, keras.layers.GlobalAveragePooling2D()], name="sequential_1")
    whole = keras.Sequential(
        [first, keras.Sequential([keras.layers.Dense(2)], name="sequential_3")], name="sequential_4"
    )
    whole.build((None, 32, 32, 3))
    chosen = choose_preprocessing(facts_of(whole, "sequential_4"))
    assert (chosen.name, "a guess from the layer names of MobileNetV2" in chosen.description) == ("-1..1", True)

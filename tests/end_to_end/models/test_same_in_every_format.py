"""One network as five kinds of file: the same numbers and the same figure."""

import numpy as np
import pytest
from PIL import Image

import actviz
from actviz.inputs import InputOptions, choose_preprocessing, read_samples
from actviz.records import Style

pytestmark = pytest.mark.slow
LAYERS = ("conv", "pool", "conv_intermediate", "pool_intermediate")


@pytest.fixture(scope="module")
def files(samples, tmp_path_factory):
    """The digits network as Keras 3 and HDF5 files, an exported and a frozen graph, and TFLite."""
    import keras
    import tensorflow as tf
    from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

    folder = tmp_path_factory.mktemp("formats")
    model = keras.saving.load_model(samples / "digits_cnn.keras", compile=False)
    model.export(folder / "exported", verbose=False)
    (folder / "m.tflite").write_bytes(tf.lite.TFLiteConverter.from_saved_model(str(folder / "exported")).convert())
    called = tf.function(model).get_concrete_function(tf.TensorSpec((None, 28, 28, 1), tf.float32, name="image"))
    frozen = convert_variables_to_constants_v2(called)
    (folder / "frozen.pb").write_bytes(frozen.graph.as_graph_def().SerializeToString())
    return {
        "keras": samples / "digits_cnn.keras",
        "h5": samples / "digits_cnn.h5",
        "exported": folder / "exported",
        "frozen": folder / "frozen.pb",
        "tflite": folder / "m.tflite",
    }


@pytest.fixture(scope="module")
def seven(samples):
    with actviz.open(samples / "digits_cnn.keras") as network:
        facts = network.facts
    (sample,) = read_samples(samples / "seven.png", facts.inputs, choose_preprocessing(facts), InputOptions())
    return next(iter(sample.values.values()))


@pytest.mark.parametrize("kind", ["h5", "exported", "frozen", "tflite"])
def test_layers_have_the_same_numbers_and_figures(files, seven, kind):
    with actviz.open(files["keras"]) as reference, actviz.open(files[kind]) as network:
        expected = reference.activations(seven, list(LAYERS))
        found = network.activations(seven, list(LAYERS))
    for address in LAYERS:
        np.testing.assert_allclose(found[address].values, expected[address].values, rtol=1e-5, atol=1e-5)
        assert found[address].axes == expected[address].axes
        drawn, wanted = (
            np.asarray(actviz.draw(one[address], style=Style(bare=True, cmap="gray", scale="layer"))).astype(int)
            for one in (found, expected)
        )
        assert np.abs(drawn - wanted).max() <= 1  # a step of grey is one


def test_the_pictures_are_not_all_alike(files, seven):
    with actviz.open(files["keras"]) as network:
        found = network.activations(seven, ["conv"])["conv"]
    picture = actviz.draw(found, style=Style(bare=True, cmap="gray", scale="layer"))
    assert isinstance(picture, Image.Image)
    assert len(np.unique(np.asarray(picture))) > 100

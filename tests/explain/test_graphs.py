"""Heat maps of graphs: gradients where the operations have them, scores before the softmax, the reason where there are none."""

import numpy as np
import pytest
from conftest import DATA, SAMPLES
from late_imports import keras, layers, tf

import actviz
from actviz.errors import UsageError

pytestmark = pytest.mark.tensorflow
FROZEN, LAYERED = DATA / "tf115" / "a01_seed_cnn.frozen.pb", DATA / "tf115" / "a01_seed_cnn_h5inside.keras"
WITH_GRADIENTS = ("gradcam", "gradcam++", "layercam", "saliency", "integrated-gradients", "occlusion", "eigencam")
INPUT = np.random.default_rng(0).random((2, 28, 28, 1)).astype(np.float32)


def maps_of(path, inputs, **options):
    with actviz.open(path) as network:
        return actviz.explain(network, inputs, **options)


@pytest.mark.parametrize("method", WITH_GRADIENTS)
def test_a_frozen_graph_has_the_maps_of_its_layers(method):
    ours, theirs = (maps_of(path, INPUT, method=method) for path in (FROZEN, LAYERED))
    assert (ours.units, ours.stripped) == (theirs.units, "softmax")
    assert np.asarray(ours).any()
    np.testing.assert_allclose(ours, theirs, atol=1e-4 * np.abs(np.asarray(theirs)).max())


def test_an_exported_model_has_the_maps_of_the_file_and_a_quantized_one_its_own_scores_before_the_softmax(tmp_path):
    model = keras.saving.load_model(SAMPLES / "digits_cnn.h5", compile=False)
    model.export(str(tmp_path / "exported"), verbose=False)
    with actviz.open(SAMPLES / "digits_cnn.h5") as network:
        digits = actviz.preprocess(SAMPLES / "seven.png", network, preprocess="0..1")
    layered = maps_of(SAMPLES / "digits_cnn.h5", digits, layer="conv_intermediate")
    exported = maps_of(tmp_path / "exported", digits, layer="conv_intermediate")
    assert (exported.method, exported.units, exported.stripped) == ("gradcam", (7,), "softmax")
    np.testing.assert_allclose(exported, layered, atol=1e-4 * np.asarray(layered).max())
    quantized = maps_of(SAMPLES / "digits_cnn_int8.tflite", digits)
    assert (quantized.method, quantized.stripped) == ("occlusion", "softmax")
    np.testing.assert_allclose(quantized.scores, layered.scores, atol=0.03 * np.abs(layered.scores).max())
    occluded = maps_of(SAMPLES / "digits_cnn.h5", digits, method="occlusion")
    assert np.corrcoef(np.asarray(quantized).ravel(), np.asarray(occluded).ravel())[0, 1] > 0.98


def save(folder, function, shape):
    """Save a function as a SavedModel."""
    module = tf.Module()
    module.run = tf.function(function, [tf.TensorSpec([None, *shape], tf.float32)])
    tf.saved_model.save(module, str(folder), {"serving_default": module.run})
    return folder


def test_an_operation_without_a_gradient_is_named_with_a_method_that_needs_none(tmp_path):
    path = save(tmp_path / "floor", lambda values: {"score": tf.reduce_sum(tf.floor(values * 9), [1, 2])}, (4, 4, 3))
    batch = np.random.default_rng(0).random((1, 4, 4, 3)).astype(np.float32)
    with pytest.raises(
        UsageError, match=r"has no gradient with respect to .*: the operation Floor has none; .* such as occlusion"
    ):
        maps_of(path, batch, method="saliency")
    assert np.asarray(maps_of(path, batch, method="occlusion")).any()


def test_a_graph_with_a_fixed_batch_size_is_explained(tmp_path):
    image = keras.Input(batch_shape=(2, 6, 6, 1), name="image")
    keras.utils.set_random_seed(0)
    hidden = layers.Conv2D(3, 3, activation="relu", name="conv")(image)
    model = keras.Model(image, layers.Dense(2, name="dense")(layers.Flatten()(hidden)))
    model.export(str(tmp_path / "fixed"), verbose=False)
    model.save(tmp_path / "fixed.keras")
    batch = np.random.default_rng(0).random((2, 6, 6, 1)).astype(np.float32)
    expected = maps_of(tmp_path / "fixed.keras", batch, method="saliency")
    np.testing.assert_allclose(maps_of(tmp_path / "fixed", batch, method="saliency"), expected, atol=1e-6)
    np.testing.assert_allclose(
        maps_of(tmp_path / "fixed", batch[:1], method="saliency"), expected.values[:1], atol=1e-6
    )

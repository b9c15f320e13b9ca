"""A free length gets as many steps as the network needs to run; too short an input is told how many."""

import numpy as np
import pytest
from late_imports import keras

from actviz.errors import InputError
from actviz.formats import open_network


def sequence_model():
    layers = keras.layers
    return keras.Sequential(
        [
            keras.Input((None, 2), name="x"),
            layers.Conv1D(4, 15, name="a"),
            layers.MaxPooling1D(3, name="p"),
            layers.Conv1D(4, 9, strides=2, name="b"),
            layers.Conv1D(2, 3, dilation_rate=2, name="c"),
            layers.GlobalAveragePooling1D(name="g"),
        ]
    )


def doubling_model():
    layers = keras.layers
    given = keras.Input((None, 2), name="x")
    hidden, skips = given, []
    for _ in range(6):
        hidden = layers.Conv1D(3, 3, padding="same")(hidden)
        skips.append(hidden)
        hidden = layers.MaxPooling1D(2)(hidden)
    for skip in reversed(skips):
        hidden = layers.Concatenate()([layers.UpSampling1D(2)(hidden), skip])
    return keras.Model(given, hidden)


def image_model():
    layers = [keras.layers.Conv2D(2, 3, strides=2) for _ in range(6)]
    return keras.Sequential([keras.Input((None, None, 2), name="x"), *layers, keras.layers.GlobalMaxPooling2D()])


def smallest_by_keras(model, rank):
    """Return the smallest size for which Keras can infer the shapes of all layers, by trying.

    Calling the model is no measure: oneDNN's convolution returns a row for an input of one
    row under a window of three, where TensorFlow's own kernel raises an error.
    """
    for size in range(1, 200):
        try:
            model.compute_output_spec(keras.KerasTensor((1, *[size] * (rank - 2), 2)))
        except Exception:  # noqa: BLE001  (Keras raises several kinds)
            continue
        return size
    return None


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("suffix", ["keras", "h5"])
@pytest.mark.parametrize("make", [sequence_model, doubling_model, image_model])
def test_the_smallest_size_is_the_one_that_keras_runs(make, suffix, tmp_path):
    model, path = make(), tmp_path / f"m.{suffix}"
    model.save(path)
    rank = len(model.inputs[0].shape)
    wanted = smallest_by_keras(model, rank)
    with open_network(path) as network:
        spec = network.inputs[0]
        assert set(spec.least[1:-1]) == {wanted}
        network.activations({spec.name: np.zeros((1, *[wanted] * (rank - 2), 2), np.float32)})
        short = np.zeros((1, *[wanted - 1] * (rank - 2), 2), np.float32)
        with pytest.raises(InputError, match=f"give at least {wanted}"):
            network.activations({spec.name: short})
        first = network.layers[1].address
        network.activations({spec.name: short}, [first])  # which needs fewer


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("make", [sequence_model, image_model])
def test_the_same_in_an_export(make, tmp_path):
    model, path = make(), tmp_path / "export"
    wanted, rank = smallest_by_keras(model, len(model.inputs[0].shape)), len(model.inputs[0].shape)
    model.export(path, verbose=False)
    with open_network(path) as network:
        spec = network.inputs[0]
        assert set(spec.least[1:-1]) == {wanted}
        network.activations({spec.name: np.zeros((1, *[wanted] * (rank - 2), 2), np.float32)})
        short = np.zeros((1, *[wanted - 1] * (rank - 2), 2), np.float32)
        with pytest.raises(InputError, match=f"give at least {wanted}"):
            network.activations({spec.name: short})


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_without_an_input(tmp_path, actviz):
    sequence_model().save(tmp_path / "m.keras")
    done = actviz("extract", tmp_path / "m.keras", "-o", tmp_path / "x.npz")
    assert done.code == 0, done.err
    with np.load(tmp_path / "x.npz") as found:
        assert found["c"].shape[1] == 1

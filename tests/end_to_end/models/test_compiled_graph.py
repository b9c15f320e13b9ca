"""Many batches of one shape: the calls become one graph, with the very same numbers."""

import numpy as np
import pytest
from test_keras_network import batch_for

from actviz.formats import open_network
from actviz.formats.keras import compiled_graph

RUNS = compiled_graph.COMPILE_AFTER + 2


def cut_of(network):
    (cut,) = network._submodels.values()
    return cut


@pytest.mark.parametrize("name", ["digits_cnn.h5", "photo_features.keras", "dense.h5"])
def test_a_graph_gives_the_numbers_of_eager_calls_bit_for_bit(samples, name):
    with open_network(samples / name) as network:
        batch = batch_for(network)
        first = network.activations(batch)
        assert cut_of(network).compiled is None
        found = [network.activations(batch) for _ in range(RUNS)][-1]
        assert cut_of(network).compiled is not None
        for address, activation in first.items():
            np.testing.assert_array_equal(found[address].values, activation.values, err_msg=address)
        one = {name: values[:1] for name, values in batch.items()}
        alone = network.activations(one)
        for address, activation in first.items():
            # Kernels choose other algorithms for other batch sizes: 2e-6 beside values up to 6 (oneDNN, AVX2).
            np.testing.assert_allclose(alone[address].values, activation.values[:1], rtol=1e-5, atol=1e-5)


def test_another_shape_is_called_as_before(samples):
    with open_network(samples / "photo_features.keras") as network:
        (name,) = (spec.name for spec in network.inputs)
        random = np.random.default_rng(0)
        small, large = ({name: random.random((1, side, side, 3), np.float32)} for side in (24, 40))
        for _ in range(RUNS):
            network.activations(small, ["edges"])
        found = network.activations(large, ["edges"])["edges"]
        assert found.values.shape[1:3] != network.activations(small, ["edges"])["edges"].values.shape[1:3]
        with open_network(samples / "photo_features.keras") as other:
            np.testing.assert_array_equal(found.values, other.activations(large, ["edges"])["edges"].values)


def test_masks_and_state_stay_with_keras(samples):
    with open_network(samples / "ner_bilstm.h5") as network:
        batch = batch_for(network)
        for _ in range(RUNS):
            network.activations(batch)
        assert cut_of(network).compiled is None


def test_options_of_tensorflow_are_left_as_they_were(samples):
    import tensorflow as tf

    before = tf.config.optimizer.get_experimental_options()
    with open_network(samples / "digits_cnn.h5") as network:
        batch = batch_for(network)
        for _ in range(RUNS):
            network.activations(batch)
    after = tf.config.optimizer.get_experimental_options()
    assert {name: value for name, value in after.items() if value} == {
        name: value for name, value in before.items() if value
    }

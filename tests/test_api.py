import numpy as np
import pytest
from PIL import Image

import actviz
from actviz.errors import InputError, UsageError


@pytest.fixture(scope="module")
def network(samples_path):
    with actviz.open(samples_path / "digits_cnn.h5") as opened:
        yield opened


@pytest.fixture(scope="module")
def samples_path():
    from pathlib import Path

    return Path(__file__).parents[1] / "sample_models"


def test_layers_and_inputs_are_known_before_anything_runs(network):
    assert [layer.address for layer in network.layers][:3] == ["image", "conv", "pool"]
    assert network.inputs[0].shape == (None, 28, 28, 1)
    assert "7 layers" in repr(network)


def test_activations_by_address_name_and_everything(network):
    batch = np.random.default_rng(0).random((3, 28, 28, 1), np.float32)
    result = network.activations({"image": batch}, ["conv_intermediate", "-1"])
    assert list(result) == ["conv_intermediate", "scores"]
    assert result["conv_intermediate"].values.shape == (3, 11, 11, 64)
    assert result["conv_intermediate"].values.dtype == np.float32
    assert result["conv_intermediate"].axes == ("batch", "row", "column", "channel")
    every = network.activations(batch)
    assert list(every) == [layer.address for layer in network.layers]
    np.testing.assert_array_equal(every["scores"].values, result["scores"].values)


def test_a_figure_from_python_is_an_image(network):
    batch = np.random.default_rng(0).random((2, 28, 28, 1), np.float32)
    picture = actviz.draw(network.activations(batch, "conv")["conv"], index=1)
    assert isinstance(picture, Image.Image)
    assert min(picture.size) > 300


@pytest.mark.parametrize(
    ("inputs", "addresses", "error", "said"),
    [
        (np.zeros((1, 28, 28)), ["conv"], InputError, "expected (any, 28, 28, 1)"),
        ({"picture": np.zeros((1, 28, 28, 1))}, ["conv"], InputError, 'no input "picture"'),
        ({}, ["conv"], InputError, 'need the input "image"'),
        (np.zeros((1, 28, 28, 1)), ["convv"], UsageError, "did you mean conv"),
    ],
)
def test_mistakes_are_said(network, inputs, addresses, error, said):
    with pytest.raises(error) as caught:
        network.activations(inputs, addresses)
    assert said in caught.value.message


def test_there_is_nothing_else():
    with pytest.raises(AttributeError):
        actviz.nothing  # noqa: B018

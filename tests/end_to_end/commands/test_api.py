import model_files
import numpy as np
import pytest
from conftest import SAMPLES
from PIL import Image

import actviz
from actviz.errors import InputError, UsageError


@pytest.fixture(scope="module")
def network(samples_path):
    with actviz.open(samples_path / "digits_cnn.h5") as opened:
        yield opened


@pytest.fixture(scope="module")
def samples_path():

    return SAMPLES


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


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    with actviz.open(model_files.pair(tmp_path_factory.mktemp("pair") / "pair.keras")) as opened:
        yield opened


IMAGE = np.ones((2, 8, 8, 3))
TOKENS = [[0, 5, 1], [1, 1, 1]]


def test_inputs_of_a_dictionary_by_name(pair):
    result = pair.activations({"meta": TOKENS, "right": IMAGE, "left": 255 * IMAGE})
    np.testing.assert_allclose(result["all"].values[0], [1, 1, 1, 2, 2, 2, 0, 1, 10, 11, 2, 3], rtol=1e-6)


def test_what_the_layers_do_not_need_may_be_left_out(pair):
    assert pair.activations({"meta": TOKENS}, "flat")["flat"].values.shape == (2, 6)
    with pytest.raises(InputError, match='need the input "right", "meta"'):
        pair.activations({"left": IMAGE}, "all")


@pytest.mark.parametrize(
    ("inputs", "said"),
    [
        (IMAGE, "the network has 3 inputs (left, right, meta); give a dictionary"),
        ({"middle": IMAGE}, 'there is no input "middle"; the network has left, right, meta'),
        ({"left": IMAGE, "right": IMAGE[:1], "meta": TOKENS}, "different numbers of samples (left 2, right 1, meta 2)"),
        (
            {"meta": [[0, 6, 1]]},
            'input "meta": the value 6 at [0, 1] is outside the vocabulary; whole numbers from 0 to 5',
        ),
        ({"meta": [[0, -1, 1]]}, "the value -1 at [0, 1] is outside"),
        ({"meta": [[0, 1.5, 1]]}, "the value 1.5 at [0, 1] is outside"),
        ({"meta": [[0, np.nan, 1]]}, "the value nan at [0, 1] is outside"),
        ({"meta": [[0, 1], [1]]}, "the rows have different lengths"),
        ({"meta": [["a", "b", "c"]]}, "dtype str32 not supported; the input takes int32"),
        ({"meta": [[None, 1, 2]]}, "dtype object not supported; the input takes int32"),
        ({"left": IMAGE.astype(complex)}, "dtype complex128 not supported"),
    ],
)
def test_inputs_that_do_not_fit_are_refused_before_tensorflow_sees_them(pair, inputs, said):
    with pytest.raises(InputError) as caught:
        pair.activations(inputs, "flat")
    assert said in caught.value.message


def test_text_by_its_words(tmp_path):
    with actviz.open(model_files.reader(tmp_path / "reader.keras")) as network:
        for texts in (["The cat!"], [b"The cat!"], np.array(["The cat!"], object)):
            result = network.activations(np.array(texts)[:, None], "tokens")
            np.testing.assert_array_equal(result["tokens"].values, [[2, 3, 0, 0]])
        for texts, said in (
            ([["\ud800"]], "lone surrogate"),
            ([[b"\xff"]], "not UTF-8"),
            ([[{}]], "not text"),
            ([[1]], "takes text"),
        ):
            with pytest.raises(InputError, match=said):
                network.activations(np.array(texts), "tokens")


def test_a_word_that_a_closed_vocabulary_lacks_is_named(tmp_path):
    with actviz.open(model_files.closed(tmp_path / "closed.keras")) as network:
        np.testing.assert_array_equal(network.activations([["no"]], "lookup")["lookup"].values, [[0, 1]])
        with pytest.raises(InputError, match='"maybe" is outside the vocabulary of layer "lookup"'):
            network.activations([["yes"], ["maybe"]], "lookup")


def test_there_is_nothing_else():
    with pytest.raises(AttributeError):
        actviz.nothing  # noqa: B018

"""`filters`: weights of every format, read without TensorFlow, and its refusals."""

import json

import numpy as np
import pytest
from conftest import DATA, SAMPLES

from actviz.formats import open_network
from actviz.results.output_files import read_provenance

DIGITS = SAMPLES / "digits_cnn.h5"


def kernels(path, address):
    with open_network(path) as network:
        return network.kernels(address)


def filters_by_output(kernel):
    order = [kernel.axes.index(axis) for axis in ("output", "input", "row", "column")]
    return kernel.values.transpose(order)


def test_the_same_weights_in_both_files_of_keras_and_quantized():
    (first,) = kernels(DIGITS, "conv_intermediate")
    (second,) = kernels(SAMPLES / "digits_cnn.keras", "conv_intermediate")
    (quantized,) = kernels(SAMPLES / "digits_cnn_int8.tflite", "conv_intermediate")
    assert (first.values.shape, first.axes) == ((3, 3, 32, 64), ("row", "column", "input", "output"))
    np.testing.assert_array_equal(first.values, second.values)
    step = np.abs(first.values).max() / 127
    assert np.abs(filters_by_output(first) - filters_by_output(quantized)).max() < 0.6 * step


def test_the_same_weights_in_a_frozen_graph_and_in_a_keras_file():
    frozen, layered = DATA / "tf115" / "a01_seed_cnn.frozen.pb", DATA / "tf115" / "a01_seed_cnn_h5inside.keras"
    with open_network(layered) as network:
        addresses = [layer.address for layer in network.layers if network.kernels(layer.address)]
    assert addresses
    for address in addresses:
        (ours,), (theirs,) = kernels(frozen, address), kernels(layered, address)
        np.testing.assert_array_equal(ours.values, theirs.values)
        assert ours.axes == theirs.axes


def test_a_saved_model_gives_the_kernels_of_its_checkpoint():
    with open_network(DATA / "tfk221" / "a02_dense_sm") as network:
        found = {layer.address: network.kernels(layer.address) for layer in network.layers}
    shapes = [kernel.values.shape for items in found.values() for kernel in items]
    assert shapes
    assert all(len(shape) == 2 for shape in shapes)


def test_the_weights_of_a_checkpoint_and_of_tensorflow_js():
    with open_network(DATA / "weights" / "tfjs") as network:
        found = {layer.address: network.kernels(layer.address) for layer in network.layers}
    assert any(found.values())
    for address, items in found.items():
        for item in items:
            assert len(item.axes) == item.values.ndim, address


def test_one_layer_makes_one_figure_with_its_facts(actviz, tmp_path):
    ran = actviz("filters", DIGITS, "-l", "conv_intermediate")
    assert (ran.code, ran.out, ran.err) == (0, "digits_cnn_conv_intermediate_filters.png\n", "")
    record = read_provenance(tmp_path / ran.out.strip())
    assert (record["filters"], record["inputs"], record["dead"], record["duplicates"]) == (64, 32, [], [])
    (kernel,) = kernels(DIGITS, "conv_intermediate")
    np.testing.assert_allclose(record["norms"], np.linalg.norm(kernel.values.reshape(-1, 64), axis=0), rtol=1e-6)


def test_without_a_layer_the_first_with_weights(actviz):
    ran = actviz("filters", DIGITS, "--json", "--top", "3")
    record = json.loads(ran.out)
    assert (ran.code, record["address"], len(record["shown"])) == (0, "conv", 3)


def test_several_layers_go_to_a_folder_and_patterns_leave_out_layers_without_weights(actviz, tmp_path):
    ran = actviz("filters", DIGITS, "-l", "0:", "-o", "weights/")
    assert ran.code == 0
    names = [f"weights/digits_cnn_{name}_filters.png" for name in ("conv", "conv_intermediate", "scores")]
    assert ran.out.splitlines() == names
    again = actviz("filters", DIGITS, "-l", "0:", "-o", "weights/")
    assert (again.code, again.out) == (0, ran.out)


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["-l", "pool"], 2, 'layer "pool" (MaxPooling2D) has no kernel or table to draw; choose conv, conv_inter'),
        (["-l", "cnov"], 2, 'no layer "cnov"; did you mean conv'),
        (["-l", "0:", "-o", "one.png"], 2, "3 figures do not fit into one file; give a folder, such as -o one/"),
        (["-l", "conv", "-o", "one.jpg"], 2, "figures are written as PNG"),
        (["-l", "conv", "--channels", "32"], 2, "channel 32 does not exist; the layer has 32, 0 to 31."),
    ],
)
def test_refusals(actviz, tmp_path, arguments, code, words):
    ran = actviz("filters", DIGITS, *arguments)
    assert (ran.code, ran.out) == (code, "")
    assert words in ran.error
    assert not list(tmp_path.iterdir())


def test_a_file_of_others_is_not_replaced(actviz, tmp_path):
    (tmp_path / "mine.png").write_bytes(b"mine")
    assert actviz("filters", DIGITS, "-l", "conv", "-o", "mine.png").code == 7
    assert (tmp_path / "mine.png").read_bytes() == b"mine"
    assert actviz("filters", DIGITS, "-l", "conv", "-o", "mine.png", "--overwrite").code == 0

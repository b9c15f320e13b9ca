"""What names of tensors say, on made-up names; the real ones are in `end_to_end/models/test_tflite`."""

import pytest

from actviz.formats.tflite.attention_pattern import find_attention
from actviz.formats.tflite.layer_names import name_tensors
from actviz.formats.tflite.op_names import ACTIVATION, last_operation, parse_components
from actviz.formats.tflite.repeated_calls import rename_scopes, repeated_calls, undo_export_numbers
from actviz.gate.tflite import TFLiteGraph, TFLiteModel, TFLiteOperator, TFLiteTensor


def last(name, fused=""):
    found = last_operation(parse_components(name), fused)
    return None if found is None else ("/".join((*found[0].scope, found[0].leaf)), found[1])


@pytest.mark.parametrize(
    ("name", "fused", "right"),
    [
        ("m/c/Relu;m/c/BiasAdd;m/c/Conv2D", "relu", ("m/c/Relu", True)),
        ("m/d/MatMul;m/act/Relu;m/d/BiasAdd", "relu", ("m/act/Relu", True)),
        ("m/d/MatMul;m/d/BiasAdd", "", ("m/d/BiasAdd", True)),
        ("m/d/MatMul;m/d/BiasAdd", "relu", ("m/d/BiasAdd", False)),
        ("m/bn/FusedBatchNormV3;m/c/BiasAdd/ReadVariableOp;m/c/Conv2D", "", ("m/bn/FusedBatchNormV3", True)),
        ("m/c/Conv2D;m/bn/batchnorm/add_1", "", ("m/bn/batchnorm/add_1", True)),
        ("StatefulPartitionedCall:0", "", None),
        ("StatefulPartitionedCall:01", "", None),
        ("arith.constant12", "", None),
        ("tfl.quantize", "", None),
        ("Identity", "", None),
        ("", "", None),
        (";;/;", "", None),
    ],
)
def test_whose_value_it_is(name, fused, right):
    assert last(name, fused) == right


def scopes(*texts):
    return [tuple(text.split("/")) for text in texts]


def test_what_keras_3_appends_is_undone():
    found = undo_export_numbers(scopes("f_1/dense_1", "f_1/dense_1_2", "f_1/shared_1", "f_1/shared_3", "f_1/shared_5"))
    assert {"/".join(scope): "/".join(name) for scope, name in found.items() if scope} == {
        "f_1": "f",
        "f_1/dense_1": "f/dense",
        "f_1/dense_1_2": "f/dense_1",
        "f_1/shared_1": "f/shared",
        "f_1/shared_3": "f/shared#1",
        "f_1/shared_5": "f/shared#2",
    }


@pytest.mark.parametrize(
    "names",
    [
        ("model/conv2d", "model/dense"),
        ("sequential_1/conv2d_2", "sequential_1/conv2d_3", "sequential_1/dense_1"),
        ("f_1/conv_1", "f_1/add"),
        ("f_1/conv_0",),
    ],
)
def test_names_that_keras_3_did_not_write_stay(names):
    assert undo_export_numbers(scopes(*names)) is None


def test_the_second_model_of_a_notebook_keeps_its_numbers():
    """Keras 2 names outputs by their layers."""
    names = scopes("sequential_1/conv2d_1", "sequential_1/dense_1")
    assert rename_scopes(names, {"dense_1"}, {}) == {}
    assert rename_scopes(names, {"output_0"}, {}) != {}


def test_a_dictionary_of_outputs():
    names = scopes("f_1/conv_1", "f_1/cls_1")
    assert rename_scopes(names, {"cls"}, {})["f_1", "conv_1"] == ("f", "conv")


def test_calls_of_a_shared_layer_read_the_same_constants():
    names = scopes("m/tower", "m/tower_1", "m/tower_2", "m/dense", "m/dense_1")
    weights = {
        ("m", "tower"): frozenset({3}),
        ("m", "tower_1"): frozenset({3}),
        ("m", "tower_2"): frozenset({3}),
        ("m", "dense"): frozenset({4}),
        ("m", "dense_1"): frozenset({5}),
    }
    assert repeated_calls(names, weights) == {
        ("m", "tower_1"): ("m", "tower#1"),
        ("m", "tower_2"): ("m", "tower#2"),
    }


# ------------------------------------------------------------------ small graphs
def tensor(name, shape=(1, 4), length=0):
    return TFLiteTensor(name, "float32", shape, shape, 0, length, None, variable=False)


def model(tensors, operators, outputs=None):
    """Return a model whose first tensor is the input and whose last one the output."""
    operators = tuple(TFLiteOperator(*operator) for operator in operators)
    graph = TFLiteGraph(tuple(tensors), operators, (0,), (len(tensors) - 1,), 0, None)
    return TFLiteModel("", graph, (), {0: "x"}, outputs or {})


def addresses(found):
    return [item.address for item in found.tensors]


def test_batch_normalisation_that_was_folded_without_a_word():
    """The bias has no name of the layer: the values may be those of what followed."""
    found = name_tensors(
        model(
            [
                tensor("x"),
                tensor("m/c/Conv2D", (4, 1, 1, 4), 64),
                tensor("arith.constant", (4,), 16),
                tensor("m/c/Conv2D1"),
                tensor("m/r/Relu"),
            ],
            [("CONV_2D", (0, 1, 2), (3,), ""), ("RELU", (3,), (4,), "")],
        )
    )
    assert addresses(found) == ["x", "c/Conv2D", "r"]
    assert found.removed == {"c": "the converter folded what follows it into it; the two together are c/Conv2D"}


def test_a_bias_of_its_own():
    found = name_tensors(
        model(
            [
                tensor("x"),
                tensor("m/c/Conv2D", (4, 1, 1, 4), 64),
                tensor("m/c/BiasAdd/ReadVariableOp;m/c/BiasAdd", (4,), 16),
                tensor("m/c/BiasAdd;m/c/Conv2D1"),
                tensor("m/r/Relu"),
            ],
            [("CONV_2D", (0, 1, 2), (3,), ""), ("RELU", (3,), (4,), "")],
        )
    )
    assert addresses(found) == ["x", "c", "r"]
    assert not found.removed


def test_the_end_of_a_layer_that_went_into_the_next():
    """``mul`` is not the output of the normalisation whose ``add`` was fused into the next layer."""
    found = name_tensors(
        model(
            [
                tensor("x"),
                tensor("m/bn/batchnorm/mul_1"),
                tensor("m/act/Relu;m/bn/batchnorm/add_1"),
                tensor("m/gap/Mean"),
            ],
            [("MUL", (0,), (1,), ""), ("ADD", (1,), (2,), "relu"), ("MEAN", (2,), (3,), "")],
        )
    )
    assert addresses(found) == ["x", "bn/batchnorm/mul_1", "act", "gap"]
    assert found.removed == {"bn": "fused into act by the converter"}


def test_an_output_that_the_signature_names():
    tensors = [tensor("x"), tensor("m/d/MatMul;m/d/BiasAdd"), tensor("StatefulPartitionedCall:0")]
    operators = [("FULLY_CONNECTED", (0, -1, -1), (1,), ""), ("SOFTMAX", (1,), (2,), "")]
    assert addresses(name_tensors(model(tensors, operators, {2: "d"}))) == ["x", "d/BiasAdd", "d"]
    assert addresses(name_tensors(model(tensors, operators, {2: "probs"}))) == ["x", "d", "probs"]
    assert addresses(name_tensors(model(tensors, operators, {2: "output_0"}))) == ["x", "d/BiasAdd", "output_0"]


def test_ranks_are_in_order():
    found = parse_components("m/c/Conv2D;m/c/BiasAdd;m/bn/FusedBatchNormV3;m/a/Relu6")
    assert [component.rank for component in found] == sorted(component.rank for component in found)
    assert found[-1].rank == ACTIVATION


def test_a_normalization_before_a_dense_is_not_what_the_dense_computes():
    """The bias has the name of the Dense alone: the normalization stood before it, and is there as well."""
    both = "m/bn/batchnorm/mul_1;m/bn/batchnorm/add_1;m/d/MatMul;m/d/BiasAdd"
    found = name_tensors(
        model(
            [
                tensor("x"),
                tensor("m/bn/batchnorm/sub", (4,), 16),
                tensor("m/bn/batchnorm/add_1"),
                tensor(both, (4, 4), 64),
                tensor("m/d/MatMul;m/d/BiasAdd", (4,), 16),
                tensor(f"{both}1"),
                tensor("m/o/Mean"),
            ],
            [
                ("ADD", (0, 1), (2,), ""),
                ("FULLY_CONNECTED", (0, 3, 4), (5,), ""),
                ("MEAN", (5,), (6,), ""),
            ],
        )
    )
    assert {item.address: item.tensor for item in found.tensors} == {"x": 0, "bn": 2, "d": 5, "o": 6}


def test_a_squeeze_that_moved_behind_the_next_layer():
    found = name_tensors(
        model(
            [
                tensor("x"),
                tensor("m/dot/Squeeze", (2,), 8),
                tensor("m/dot/MatMul", (1, 4, 1)),
                tensor("m/bn/batchnorm/add_1", (1, 4, 1)),
                tensor("m/bn/batchnorm/add_11", (1, 4)),
                tensor("m/o/Mean"),
            ],
            [
                ("BATCH_MATMUL", (0, 0), (2,), ""),
                ("ADD", (2, -1), (3,), ""),
                ("RESHAPE", (3, 1), (4,), ""),
                ("MEAN", (4,), (5,), ""),
            ],
        )
    )
    assert "dot" not in addresses(found)
    assert "dot" in found.removed
    assert {item.address: item.tensor for item in found.tensors}["bn"] == 4


def test_a_loop_is_no_output_of_a_recurrent_layer():
    """A loop carries the states and the inputs along; the steps come first in all of them."""
    found = name_tensors(
        model(
            [tensor("x"), tensor("m/lstm/while", (6, 1, 4)), tensor("m/lstm/while1", (6, 1, 8)), tensor("m/o/Mean")],
            [("WHILE", (0,), (1, 2), ""), ("MEAN", (1,), (3,), "")],
        )
    )
    assert "lstm" not in addresses(found)
    assert "loop" in found.removed["lstm"]


def test_keys_of_a_dictionary_of_outputs_are_no_layers():
    names = scopes("f_1/attention_1", "f_1/attention_1_2")
    assert rename_scopes(names, {"first"}, {}, numbered=True)["f_1", "attention_1_2"] == ("f", "attention_1")
    assert rename_scopes(names, {"first"}, {}) == {}


@pytest.mark.parametrize(("softmax", "scores"), [(True, {2, 3}), (False, set())])
def test_a_product_is_attention_only_with_a_softmax_and_values(softmax, scores):
    operators = [
        TFLiteOperator("BATCH_MATMUL", (0, 1), (2,), ""),
        TFLiteOperator("SOFTMAX" if softmax else "RELU", (2,), (3,), ""),
        TFLiteOperator("BATCH_MATMUL", (3, 1), (4,), ""),
    ]
    assert find_attention(operators, frozenset(range(5))).scores == scores
    assert not find_attention(operators[:2], frozenset(range(5))).scores
    assert not find_attention(operators, frozenset({0, 2, 3, 4})).scores, "a spectrogram: one side is a constant"

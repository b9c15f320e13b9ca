"""The arithmetic at the head of Keras graphs, in each of the ways in which Keras has written it."""

from __future__ import annotations

import numpy as np
import pytest

from actviz.formats.keras.canonical import canonical
from actviz.formats.keras.keras_arithmetic import input_operations
from actviz.formats.keras.parse_graph import parse_graph
from actviz.formats.savedmodel import graph_arithmetic
from actviz.formats.savedmodel.inline import InlinedGraph, InlinedNode
from actviz.formats.savedmodel.proto import GraphNode
from actviz.inputs import choose_preprocessing
from actviz.records import ModelFacts, TensorSpec

MEAN, STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
CAFFE = [103.939, 116.779, 123.68]
CONV = {"name": "conv", "filters": 2, "kernel_size": [3, 3]}


def old(*calls, model="outer", tail=True):
    """Return a model of Keras 2 from calls ``(class, configuration, inbound node)``, chained where no node is given."""
    layers = [
        {"class_name": "InputLayer", "name": "image", "inbound_nodes": [],
         "config": {"name": "image", "batch_input_shape": [None, 8, 8, 3], "dtype": "float32"}}
    ]  # fmt: skip
    last = "image"
    for number, (kind, config, *node) in enumerate(calls):
        name = f"call_{number}"
        inbound = node[0](last) if node else [last, 0, 0, {}]
        layers.append(
            {
                "class_name": kind,
                "name": name,
                "config": {"name": name, **config},
                "inbound_nodes": [inbound if isinstance(inbound[0], list) else [inbound]],
            }
        )
        if kind in {"TFOpLambda", "SlicingOpLambda"}:
            layers[-1]["inbound_nodes"] = [inbound]
        last = name
    if tail:
        layers.append({"class_name": "Conv2D", "name": "conv", "config": CONV, "inbound_nodes": [[[last, 0, 0, {}]]]})
        last = "conv"
    config = {"name": model, "layers": layers, "input_layers": [["image", 0, 0]], "output_layers": [[last, 0, 0]]}
    return {"class_name": "Functional", "config": config}


def function(name, **arguments):
    return ("TFOpLambda", {"function": name}, lambda last: [last, 0, 0, {**arguments, "name": None}])


def operation(op, constants, **attributes):
    return ("TensorFlowOpLayer", {"node_def": {"name": op, "op": op, "attr": attributes}, "constants": constants})


def chosen(config, version="2.9.0", statistics=lambda _: {}):
    graph = parse_graph(canonical(config, version, "m"), "m")
    spec = TensorSpec("image", (None, 8, 8, 3), "float32", ("batch", "row", "column", "channel"))
    operations = tuple(input_operations(graph, [spec], statistics))
    return choose_preprocessing(ModelFacts("m", "h5", "keras", (graph.name,), (spec,), (), operations, (), ""))


REVERSED = {"slice_spec": [{"class_name": "__ellipsis__"}, {"start": None, "stop": None, "step": -1}]}
OLD = {
    "tf": [function("math.truediv", y=127.5), function("math.subtract", y=1.0)],
    "operators": [function("__operators__.truediv", y=255.0)],
    "reversed operator": [function("__operators__.rmul", y=1 / 255)],
    "subtracted from": [("TFOpLambda", {"function": "math.subtract"}, lambda last: ["_CONSTANT_VALUE", -1, 255.0, {"y": [last, 0, 0]}])],
    "caffe": [("SlicingOpLambda", {"function": "__operators__.getitem"}, lambda last: [last, 0, 0, REVERSED]),
              function("nn.bias_add", bias=[-number for number in CAFFE], data_format="channels_last")],
    "torch": [function("math.truediv", y=255.0), function("nn.bias_add", bias=[-number for number in MEAN]), function("math.truediv", y=STD)],
    "cast": [function("cast", dtype="float32"), function("image.resize", size=[4, 4]), function("math.multiply", y=1 / 255)],
    "graph": [operation("RealDiv", {"1": 127.5}), operation("Sub", {"1": 1.0})],
    "graph caffe": [operation("StridedSlice", {"1": [0, 0, 0, 0], "2": [0, 0, 0, 0], "3": [1, 1, 1, -1]},
                              begin_mask={"i": "15"}, end_mask={"i": "15"}),
                    operation("BiasAdd", {"1": [-number for number in CAFFE]})],
    "graph reverse": [operation("ReverseV2", {"1": [-1]}), operation("Sub", {"1": CAFFE})],
    "graph first": [operation("Mul", {"0": 1 / 255})],
    "rescaling": [("Rescaling", {"scale": 1 / 255, "offset": 0.0})],
    "augmented": [("RandomFlip", {}), ("RandomRotation", {"factor": 0.1}), ("Rescaling", {"scale": 1 / 127.5, "offset": -1})],
    "resized": [("Resizing", {"height": 4, "width": 4}), ("ZeroPadding2D", {"padding": 1}), ("Rescaling", {"scale": 1 / 255, "offset": 0.0})],
    "statistics": [("Normalization", {"axis": [-1], "mean": [255 * m for m in MEAN], "variance": [(255 * s) ** 2 for s in STD]})],
}  # fmt: skip


@pytest.mark.parametrize("name", OLD)
def test_keras_2(name):
    found = chosen(old(*OLD[name], model="vgg16"))
    assert found.name == "0..255"
    assert found.reason.startswith("the graph begins with ")


@pytest.mark.parametrize("name", OLD)
def test_arithmetic_inside_and_before_nested_models(name):
    inner = {**old(*OLD[name], model="inner", tail=False), "name": "inner", "inbound_nodes": [[["image", 0, 0, {}]]]}
    whole = old(model="mobilenetv2_1.00_224")
    whole["config"]["layers"][1:1] = [inner]
    whole["config"]["layers"][2]["inbound_nodes"] = [[["inner", 1, 0, {}]]]
    assert chosen(whole).name == "0..255"
    assert "the graph begins" in chosen(whole).reason
    sequential = {"class_name": "Sequential", "config": {"name": "vgg16", "layers": [
        {**old(*OLD[name], model="inner", tail=False), "name": "inner"}, {"class_name": "Conv2D", "config": CONV}]}}  # fmt: skip
    assert chosen(sequential).name == "0..255"


def test_what_depends_on_the_data():
    largest = [
        function("math.reduce_max"),
        ("TFOpLambda", {"function": "math.truediv"}, lambda last: ["image", 0, 0, {"y": [last, 0, 0], "name": None}]),
    ]
    assert (
        "range unknown: the graph begins with math.reduce_max, which depends on the data"
        in chosen(old(*largest)).description
    )
    for name in ("image.per_image_standardization", "math.log", "math.square"):
        assert f"begins with {name}, which" in chosen(old(function(name), model="vgg16")).description


def test_the_code_of_a_lambda_is_not_guessed():
    said = chosen(
        old(("Lambda", {"function": ["4wA=", None, None], "function_type": "lambda"}), model="vgg16")
    ).description
    assert "range unknown: the graph begins with the code of Lambda call_0" in said


def test_what_is_no_arithmetic_tells_nothing():
    assert "a guess" in chosen(old()).description
    assert "a guess" in chosen(old(function("cast", dtype="float32"))).description
    assert (
        "range unknown"
        in chosen(old(function("math.multiply", y=3.0), function("math.add", y=7.0), model="vgg16")).description
    )


def test_a_skip_connection_is_no_arithmetic():
    config = old(("Rescaling", {"scale": 1 / 255, "offset": 0.0}))
    config["config"]["layers"].append(
        {"class_name": "Add", "name": "sum", "config": {"name": "sum"}, "inbound_nodes": [[["image", 0, 0, {}], ["conv", 0, 0, {}]]]}
    )  # fmt: skip
    assert chosen(config).name == "0..255"


def test_adapted_statistics_come_from_the_weights():
    config = old(("Normalization", {"axis": [-1]}))
    assert chosen(config, statistics=lambda _: {"mean": (0.45,), "variance": (0.06,)}).name == "0..1"
    assert "a guess" in chosen(config).description


def test_statistics_of_other_data_do_not_hide_the_rescaling_before_them():
    steps = [
        ("Rescaling", {"scale": 1 / 127.5, "offset": -1}),
        ("Resizing", {"height": 4, "width": 4}),
        ("Normalization", {"axis": [-1], "mean": [1.5, 1.4, 1.3], "variance": [0.7, 0.8, 0.7]}),
    ]
    found = chosen(old(*steps))
    assert (found.name, found.reason) == ("0..255", "the graph begins with x / 127.5 - 1, which makes -1..1 of it")


def flat(*nodes):
    """Return a graph of operations, each given as its name and the nodes that it reads."""
    made = [
        InlinedNode(f"n{number}", GraphNode(f"n{number}", op, (), {}), tuple((one, 0) for one in reads))
        for number, (op, *reads) in enumerate(nodes)
    ]
    return InlinedGraph(None, "m.pb", made)  # what the graph was read from is not needed


def first_of(graph, *variables):
    values = iter(variables)
    held = {number: next(values) for number, node in enumerate(graph.nodes) if node.op == "VarHandleOp"}
    spec = TensorSpec("image", (None, 8, 8, 3), "float32", ("batch", "row", "column", "channel"))
    return graph_arithmetic.input_operations(graph, {(0, 0): spec}, held.get)


def test_operations_on_constants_are_worked_out():
    graph = flat(
        ("Placeholder",), ("VarHandleOp",), ("ReadVariableOp", 1), ("Sqrt", 2), ("RealDiv", 0, 3), ("Conv2D", 4)
    )
    (found,) = first_of(graph, np.array([255.0**2]))
    assert found.numbers == {"scale": (1 / 255,), "offset": (0.0,)}


def test_constants_that_grow_are_not_worked_out():
    long = flat(("Placeholder",), ("VarHandleOp",), ("VarHandleOp",), ("Mul", 1, 2), ("Mul", 0, 3), ("Conv2D", 4))
    assert first_of(long, np.ones((1 << 20, 1)), np.ones((1, 1 << 20))) == []
    wide = [("Placeholder",), ("VarHandleOp",), *(("ConcatV2", *[number] * 200) for number in range(1, 8))]
    assert first_of(flat(*wide, ("Mul", 0, len(wide) - 1), ("Conv2D", len(wide))), np.ones((4,))) == []


def test_channels_that_grow_are_not_followed():
    nodes = [("Placeholder",), *(("Pack", number, number) for number in range(40))]
    assert first_of(flat(*nodes)) == []
    spec = TensorSpec("image", (None, 8, 8, 1 << 40), "float32", ("batch", "row", "column", "channel"))
    graph = flat(("Placeholder",), ("VarHandleOp",), ("ReverseV2", 0, 1), ("Conv2D", 2))
    assert graph_arithmetic.input_operations(graph, {(0, 0): spec}, lambda _: np.array([3])) == []

import pytest
from keras_configs import layer, model, node, shared_encoder, source, tensor

from actviz.errors import ModelError
from actviz.formats.keras.canonical import canonical
from actviz.formats.keras.graph import quoted
from actviz.formats.keras.parse_graph import parse_graph
from actviz.formats.keras.shapes import infer


def addresses(graph):
    return [entry.address for entry in graph.nodes]


def test_every_call_of_a_shared_model_is_a_node():
    graph = parse_graph(shared_encoder(), "m.keras")
    assert addresses(graph) == ["left", "right", "encoder#0/hidden", "encoder#1/hidden", "difference", "score"]
    assert set(graph.entries) == {"left", "right", "encoder/hidden", "difference", "score"}


def test_a_cut_holds_the_ancestors_and_nothing_else():
    graph = parse_graph(shared_encoder(), "m.keras")
    place = {address: number for number, address in enumerate(addresses(graph))}
    kept = [graph.nodes[number].address for number in graph.ancestors([place["encoder#1/hidden"]])]
    assert kept == ["right", "encoder#1/hidden"]


def test_shapes_follow_the_calls():
    graph = parse_graph(shared_encoder(), "m.keras")
    shapes = {graph.nodes[ref.node].address: shape for ref, (shape, _) in infer(graph).items()}
    assert shapes["encoder#1/hidden"] == (None, 4)
    assert shapes["score"] == (None, 1)


def difference(inputs, call):
    """A nested model b - a, its inputs a list or a dictionary, called with `call`."""
    inner = model(
        "inner",
        [source("b", [4]), source("a", [4]), layer("sub", "Subtract", [node(tensor("b"), tensor("a"))])],
        inputs,
        ["sub", 0, 0],
    )
    inner["inbound_nodes"] = [{"args": [call], "kwargs": {"mask": {"a": None, "b": None}}}]
    return model("m", [source("p", [4]), source("q", [4]), inner], [["p", 0, 0], ["q", 0, 0]], ["inner", 0, 0])


@pytest.mark.parametrize("inputs", [{"b": ["b", 0, 0], "a": ["a", 0, 0]}, [["b", 0, 0], ["a", 0, 0]]])
@pytest.mark.parametrize(
    ("call", "expected"),
    [
        ({"a": tensor("p"), "b": tensor("q")}, ["q", "p"]),
        ({"a": tensor("q"), "b": tensor("p")}, ["p", "q"]),
        ({"b": tensor("q"), "a": tensor("p")}, ["q", "p"]),
    ],
)
def test_a_nested_model_called_with_a_dictionary_gets_its_inputs_by_name(inputs, call, expected):
    graph = parse_graph(difference(inputs, call), "m.keras")
    assert [graph.nodes[ref.node].address for ref in graph.nodes[-1].args[0]] == expected


def test_a_list_for_a_model_of_a_dictionary_goes_by_the_sorted_keys():
    inputs = {"b": ["b", 0, 0], "a": ["a", 0, 0]}
    graph = parse_graph(difference(inputs, [tensor("p"), tensor("q")]), "m.keras")
    assert [graph.nodes[ref.node].address for ref in graph.nodes[-1].args[0]] == ["q", "p"]


def test_indices_are_those_of_model_layers():
    graph = parse_graph(shared_encoder(), "m.keras")
    assert [graph.entries[name].index for name in ("left", "right", "difference", "score")] == [0, 1, 3, 4]
    assert graph.entries["encoder/hidden"].index is None


def test_loops_and_missing_layers_are_malformed():
    looped = model(
        "loop",
        [
            source("x", [8]),
            layer("a", "Dense", [node(tensor("b"))], units=4),
            layer("b", "Dense", [node(tensor("a"))], units=4),
        ],
        ["x", 0, 0],
        ["b", 0, 0],
    )
    with pytest.raises(ModelError, match="loop"):
        parse_graph(looped, "m.keras")


@pytest.mark.parametrize(
    "value", [{}, {"class_name": "Dense", "config": {}}, {"class_name": "Functional", "config": {"layers": 3}}]
)
def test_other_configurations_are_refused_in_one_line(value):
    with pytest.raises(ModelError) as caught:
        parse_graph(value, "m.keras")
    assert "\n" not in caught.value.message


def test_a_keras_2_sequential_gets_its_input_and_loses_what_inference_does_not_need():
    dense = {
        "class_name": "Dense",
        "config": {
            "name": "d",
            "units": 3,
            "batch_input_shape": [None, 5],
            "kernel_initializer": {"class_name": "GlorotUniform", "config": {"seed": None, "dtype": "float32"}},
            "recurrent_activation": "hard_sigmoid",
        },
    }
    for config in ([dense], {"name": "s", "layers": [dense]}):
        form = canonical({"class_name": "Sequential", "config": config}, "2.2.4", "m.h5")
        first, second = form["config"]["layers"]
        assert first["class_name"] == "InputLayer"
        assert first["config"]["batch_shape"] == [None, 5]
        assert "kernel_initializer" not in second["config"]
        assert second["config"]["recurrent_activation"]["config"] == "actviz>hard_sigmoid"


def test_time_major_is_dropped_when_false_and_refused_when_true():
    for value, fine in ((False, True), (True, False)):
        config = {"name": "r", "units": 3, "batch_input_shape": [None, 5, 2], "time_major": value}
        raw = {
            "class_name": "Sequential",
            "config": {"name": "s", "layers": [{"class_name": "LSTM", "config": config}]},
        }
        if fine:
            assert "time_major" not in canonical(raw, "2.10.0", "m.h5")["config"]["layers"][1]["config"]
        else:
            with pytest.raises(ModelError, match="time_major"):
                canonical(raw, "2.10.0", "m.h5")


@pytest.mark.parametrize(
    ("name", "printed"),
    [
        ("conv_1", "conv_1"),
        ("block1/conv", "block1%2Fconv"),
        ("a b", "a%20b"),
        ("convé", "convé"),
        ("7", "%37"),
        ("x#1", "x%231"),
        ("-x", "%2Dx"),
        ("", "%"),
    ],
)
def test_the_printed_form_of_names(name, printed):
    assert quoted(name) == printed


def test_keras_1_names_become_todays():
    convolution = {
        "class_name": "Convolution2D",
        "config": {
            "name": "c", "nb_filter": 8, "nb_row": 3, "nb_col": 5, "border_mode": "same", "subsample": [1, 1], "bias": True,
            "dim_ordering": "tf", "init": "glorot_uniform", "W_regularizer": None, "batch_input_shape": [None, 9, 9, 1],
        },
    }  # fmt: skip
    form = canonical({"class_name": "Sequential", "config": [convolution]}, "", "m.h5")
    layer_ = form["config"]["layers"][1]
    assert layer_["class_name"] == "Conv2D"
    assert layer_["config"]["kernel_size"] == [3, 5]
    assert layer_["config"]["filters"] == 8
    assert layer_["config"]["data_format"] == "channels_last"
    assert not {"init", "nb_filter", "W_regularizer"} & set(layer_["config"])


def test_states_given_to_a_recurrent_layer_of_keras_2_are_its_initial_state():
    raw = {
        "class_name": "Model",
        "config": {
            "name": "m",
            "layers": [
                {"class_name": "InputLayer", "name": "x", "config": {"name": "x", "batch_input_shape": [None, 5, 4]}, "inbound_nodes": []},
                {"class_name": "InputLayer", "name": "h", "config": {"name": "h", "batch_input_shape": [None, 3]}, "inbound_nodes": []},
                {"class_name": "GRU", "name": "g", "config": {"name": "g", "units": 3}, "inbound_nodes": [[["x", 0, 0, {}], ["h", 0, 0, {}]]]},
            ],
            "input_layers": [["x", 0, 0], ["h", 0, 0]],
            "output_layers": [["g", 0, 0]],
        },
    }  # fmt: skip
    graph = parse_graph(canonical(raw, "2.10.0", "m.h5"), "m.h5")
    called = graph.nodes[-1]
    assert len(called.args) == 1
    assert [ref.node for ref in called.kwargs["initial_state"]] == [1]


def test_weights_of_2_13_archives_count_a_layer_with_weights_twice():
    from actviz.formats.keras.weight_files import OLD_CONTAINER, group_names

    stored = {OLD_CONTAINER: {}}
    for name, arrays in (("conv2d", {"vars": {"0": 1}}), ("conv2d_2", {"vars": {"0": 1}}), ("dense", {"vars": {}})):
        stored[f"{OLD_CONTAINER}/{name}"] = arrays
    layers = [layer("a", "Conv2D", []), layer("b", "Conv2D", []), layer("c", "Dense", []), layer("d", "Dense", [])]
    names = group_names(model("m", layers, [], []), stored)
    assert names == [f"{OLD_CONTAINER}/{name}" for name in ("conv2d", "conv2d_2", "dense", "dense_1")]
    assert group_names(model("m", layers, [], [])) == [
        "layers/conv2d",
        "layers/conv2d_1",
        "layers/dense",
        "layers/dense_1",
    ]


def shared_of_keras_2(calls, used):
    """Return a model of Keras 2 whose encoder is called on `calls` inputs, and which adds the outputs of calls `used`."""
    names = [f"x{number}" for number in range(calls)]
    inputs = [
        {"class_name": "InputLayer", "name": name, "config": {"name": name, "batch_input_shape": [None, 8]}, "inbound_nodes": []}
        for name in ("x", *names)
    ]  # fmt: skip
    hidden = {"class_name": "Dense", "name": "hidden", "config": {"name": "hidden", "units": 4}, "inbound_nodes": [[["x", 0, 0, {}]]]}  # fmt: skip
    config = {
        "name": "encoder",
        "layers": [inputs[0], hidden],
        "input_layers": [["x", 0, 0]],
        "output_layers": [["hidden", 0, 0]],
    }
    encoder = {
        "class_name": "Model",
        "name": "encoder",
        "config": config,
        "inbound_nodes": [[[name, 0, 0, {}]] for name in names],
    }
    added = [["encoder", call, 0, {}] for call in used]
    joined = {"class_name": "Add", "name": "sum", "config": {"name": "sum"}, "inbound_nodes": [added]}
    layers = [*inputs[1:], encoder, joined]
    return {"class_name": "Model", "config": {
        "name": "m", "layers": layers, "input_layers": [[name, 0, 0] for name in names], "output_layers": [["sum", 0, 0]],
    }}  # fmt: skip


@pytest.mark.parametrize(
    ("calls", "used", "expected"),
    [
        (2, (1, 2), ("x0", "x1")),  # counted from 1: the model holds a call of its own
        (2, (0, 1), ("x0", "x1")),  # counted from 0
        (3, (1, 2), ("x0", "x1")),  # from 1, though a third call of which nothing is used would make room for 0
        (3, (0, 2), ("x0", "x2")),
        (3, (2, 3), ("x1", "x2")),
    ],
)
@pytest.mark.parametrize("version", ["2.10.0", "1.2.2"])
def test_calls_of_nested_models_are_counted_as_keras_1_and_2_count_them(calls, used, expected, version):
    graph = parse_graph(canonical(shared_of_keras_2(calls, used), version, "m.h5"), "m.h5")
    (total,) = [number for number, entry in enumerate(graph.nodes) if entry.address == "sum"]
    kept = {graph.nodes[number].address for number in graph.ancestors([total])}
    assert {address for address in kept if address.startswith("x")} == set(expected)

"""Frozen graphs: layers, inputs and values, against TensorFlow's own session and Keras's own layers."""

import frozen_models
import numpy as np
import pytest

from actviz.errors import UnsafeError
from actviz.formats import open_network

CASES = frozen_models.ROOT / "tests" / "data" / "frozen_tf215"
KINDS = [(lowered, exported) for lowered in (True, False) for exported in (True, False)]


def listed(network):
    return {layer.address: layer for layer in network.complete().layers if not layer.inner}


def assert_equal_to_session(path):
    """Every address, inner ones too, has the value that TensorFlow's session computes for the same tensor."""
    values, batch = frozen_models.beside_session(path)
    for address, (activation, correct) in values.items():
        np.testing.assert_allclose(activation.values, correct, rtol=1e-5, atol=1e-6, err_msg=address)
    return {address: activation for address, (activation, _) in values.items()}, batch


@pytest.mark.parametrize("name", ["inlined", "lstm_functional", "lstm_lowered"])
def test_the_small_files_equal_the_session(name):
    found, _ = assert_equal_to_session(CASES / f"{name}.pb")
    assert len(found) > 5


@pytest.mark.parametrize(
    ("name", "layers"),
    [
        ("inlined", {"pic": "InputLayer", "conv_a": "Conv2D", "flat": "Flatten", "out": "Dense"}),
        ("lstm_functional", {"x": "InputLayer", "lstm_1": "LSTM", "out": "Dense"}),
        ("lstm_lowered", {"x": "InputLayer", "lstm_1": "LSTM", "out": "Dense"}),
    ],
)
def test_layers_of_the_small_files(name, layers):
    with open_network(CASES / f"{name}.pb") as network:
        assert {address: layer.kind for address, layer in listed(network).items()} == layers
        assert len(network.inputs) == 1
        parameters = {address: layer.parameters for address, layer in listed(network).items()}
    assert {parameters.get("conv_a"), parameters.get("lstm_1")} == {40, None} or parameters["lstm_1"] == 128


@pytest.mark.slow
@pytest.mark.parametrize("address", ["out", "sequential/out"])
def test_the_command_extracts_behind_a_loop(actviz, tmp_path, address):
    ran = actviz(
        "extract", "-q", CASES / "lstm_lowered.pb", "--input", f"x={CASES / 'steps.npy'}", "-l", address, "-o", "o.npz"
    )
    assert (ran.code, ran.err) == (0, "")
    with np.load(tmp_path / "o.npz") as archive:
        (values,) = (archive[key] for key in archive.files if archive[key].shape == (1, 2))
    (correct,) = frozen_models.session_values(
        CASES / "lstm_lowered.pb", {"x": np.load(CASES / "steps.npy")}, ["Identity:0"]
    )
    np.testing.assert_allclose(values, correct, atol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize(("lowered", "exported"), KINDS)
@pytest.mark.parametrize("name", frozen_models.MODELS)
def test_frozen_models_equal_keras_and_the_session(tmp_path, name, lowered, exported):
    import keras

    path = tmp_path / "m.pb"
    frozen_models.write(name, path, lowered=lowered, exported=exported)
    found, batch = assert_equal_to_session(path)
    model = frozen_models.model(name)
    wanted = {layer.name: layer for layer in model.layers if not isinstance(layer, keras.layers.InputLayer)}
    given = [batch[item.name] for item in model.inputs]
    with open_network(path) as network:
        layers = listed(network)
        assert [spec.name for spec in network.inputs] == [item.name for item in model.inputs]
    for layer in wanted.values():
        if len(layer._inbound_nodes) > 1 and layer.name == "base":
            continue
        outputs = keras.tree.flatten(layer.output)
        values = keras.tree.flatten(keras.Model(model.inputs, outputs)(given))
        for number, correct in enumerate(values):
            address = layer.name if len(values) == 1 else f"{layer.name}@{number}"
            np.testing.assert_allclose(found[address].values, correct, rtol=1e-4, atol=1e-5, err_msg=address)
            assert layers[address].parameters == layer.count_params(), address


def test_a_nested_model_that_is_called_twice(tmp_path):
    frozen_models.write("shared", tmp_path / "m.pb", lowered=True, exported=True)
    with open_network(tmp_path / "m.pb") as network:
        assert [address for address in listed(network) if address.startswith("base")] == [
            "base#0/c1", "base#0", "base#0/gap", "base#1/c1", "base#1", "base#1/gap",
        ]  # fmt: skip


def test_loops_and_conditions_of_tensorflow_1(tmp_path):
    frozen_models.write_tf1_lstm(tmp_path / "m.pb")
    found, _ = assert_equal_to_session(tmp_path / "m.pb")
    with open_network(tmp_path / "m.pb") as network:
        assert [spec.name for spec in network.inputs] == ["x"]
        assert {address: layer.kind for address, layer in listed(network).items()} == {
            "x": "InputLayer", "lstm@0": "LSTM", "lstm@1": "LSTM", "lstm@2": "LSTM",
            "dropout": "Merge", "dense": "Dense", "both": "Concatenate",
        }  # fmt: skip
    assert not [address for address in found if "while" in address and "Exit" not in address]


@pytest.mark.parametrize("name", ["convolutional", "recurrent"])
def test_a_saved_model_that_is_one_function(tmp_path, name):
    """As onnx2tf writes it: no signature, the root object is a concrete function with its weights as constants."""
    import tensorflow as tf

    function = frozen_models.frozen_function(name, lowered=False)
    tf.saved_model.save(function, str(tmp_path / "m"))
    assert not tf.saved_model.load(str(tmp_path / "m")).signatures
    with open_network(tmp_path / "m") as network:
        batch = frozen_models.inputs(network)
        found = network.activations(batch)
        layers = list(listed(network))
    assert [*layers][1:] == [layer.name for layer in frozen_models.model(name).layers]
    (correct,) = function(*(tf.constant(values) for values in batch.values()))
    np.testing.assert_allclose(found["out"].values, correct, atol=1e-6)


@pytest.mark.slow
def test_checks_of_values_are_passed_through(actviz, tmp_path):
    import tensorflow as tf

    v1 = tf.compat.v1
    with tf.Graph().as_default() as graph:
        x = v1.placeholder(tf.float32, (None, 4), name="x")
        with v1.name_scope("net"):
            with tf.control_dependencies([v1.debugging.assert_less(x, 100.0)]):
                first = tf.nn.relu(x, name="first/Relu")
            checked = tf.debugging.check_numerics(first, "first", name="CheckNumerics")
            tf.raw_ops.CheckNumericsV2(tensor=tf.sqrt(checked), message="second", name="second/CheckNumericsV2")
    (tmp_path / "m.pb").write_bytes(graph.as_graph_def().SerializeToString())
    found, _ = assert_equal_to_session(tmp_path / "m.pb")
    assert {"first", "second", "CheckNumerics"} <= set(found)
    with open_network(tmp_path / "m.pb") as network:
        kinds = {address: (layer.kind, layer.activation) for address, layer in listed(network).items()}
    assert kinds["first"] == ("Activation", "relu")
    assert "CheckNumerics" not in kinds
    np.save(tmp_path / "x.npy", np.full((1, 4), np.inf, "float32"))
    ran = actviz("extract", "-q", "--allow-nonfinite", "m.pb", "x.npy", "-l", "second", "-o", "o.npz")
    assert (ran.code, len(ran.err.splitlines())) == (3, 1)
    assert "first : Tensor had Inf values" in ran.err


@pytest.mark.parametrize("operation", ["Print", "PrintV2", "DebugIdentityV2", "Copy", "CopyHost", "PyFunc"])
def test_what_looks_like_a_check_and_writes_is_refused(tmp_path, operation):
    import graph_files

    nodes = [graph_files.source(), graph_files.node("net/layer/Relu", operation, ["x"], T=graph_files.KIND)]
    (tmp_path / "m.pb").write_bytes(graph_files.graph(nodes))
    with pytest.raises(UnsafeError, match=operation):
        open_network(tmp_path / "m.pb")


@pytest.mark.parametrize("exported", ["frozen", "folder"])
def test_scores_of_attention(tmp_path, exported):
    path = tmp_path / "m.pb"
    frozen_models.write("attention", path, lowered=True, exported=True)
    model = frozen_models.model("attention")
    with open_network(path if exported == "frozen" else path.with_suffix("")) as network:
        batch = frozen_models.inputs(network)
        layers = listed(network)
        found = network.activations(batch, ["attend@scores", "attend"])
        assert not [address for address in network.activations(batch) if address.endswith("@scores")]
    assert [address for address in layers if address.endswith("@scores")] == ["attend@scores"]
    assert layers["attend@scores"].kind == "MultiHeadAttention scores"
    (given,) = batch.values()
    _, correct = model.get_layer("attend")(given, given, return_attention_scores=True)
    np.testing.assert_allclose(found["attend@scores"].values, correct, atol=1e-6)
    assert found["attend@scores"].axes == ("batch", "head", "query", "key")


def test_a_softmax_that_is_an_activation_has_no_scores(tmp_path):
    frozen_models.write("convolutional", tmp_path / "m.pb", lowered=True, exported=False)
    with open_network(tmp_path / "m.pb") as network:
        assert not [layer.address for layer in network.layers if layer.address.endswith("@scores")]

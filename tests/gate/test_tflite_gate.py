"""Damaged and hostile `.tflite` files: one line, the documented code, before any interpreter."""

import struct

import flatbuffers
import numpy as np
import pytest
import tflite_files
from hypothesis import example, given, settings
from hypothesis import strategies as st
from late_imports import tflite_schema
from threats import threat

from actviz.errors import ActvizError, LimitError, ModelError, UnsafeError
from actviz.formats import open_network
from actviz.formats.tflite.tflite_network import TFLiteNetwork
from actviz.gate import TrustPolicy, flatbuffer
from actviz.gate.flatbuffer import FlatBuffer
from actviz.gate.tflite import read_tflite
from actviz.gate.tflite_operators import ACTIVATIONS, BITS, DTYPES, FUSED_FIELD, OPERATORS

FUSED = tflite_files.DATA / "tf215" / "a03a_seq_bn.f32.tflite"
CONTENT = FUSED.read_bytes()


@pytest.fixture(scope="module")
def schema():
    return tflite_schema()


@pytest.fixture
def edited(schema, tmp_path):
    """Return a function that changes a file through the schema and writes it."""

    def edit(change, content=CONTENT):
        model = schema.ModelT.InitFromObj(schema.Model.GetRootAsModel(content, 0))
        change(model)
        builder = flatbuffers.Builder(1024)
        builder.Finish(model.Pack(builder), b"TFL3")
        path = tmp_path / "m.tflite"
        path.write_bytes(bytes(builder.Output()))
        return path

    return edit


def opened(path):
    """Open a file that may be anything; return its layers, or the error in one line."""
    try:
        with TFLiteNetwork(path) as network:
            return network.layers
    except ActvizError as failure:
        return failure


def refusal(path):
    """Return the error of opening and running a file."""
    with pytest.raises(ActvizError) as caught, open_network(path) as network:
        network.activations({spec.name: np.zeros((1, 16, 16, 3), np.float32) for spec in network.inputs})
    assert "\n" not in caught.value.message
    assert caught.value.message.startswith("m.tflite: ")
    return caught.value


# ------------------------------------------------------------------ the format
def test_operators_types_and_activations_are_those_of_the_schema(schema):
    def numbered(kind):
        return {getattr(kind, name): name for name in dir(kind) if name.isupper()}

    for number, name in numbered(schema.BuiltinOperator).items():
        assert number >= len(OPERATORS) or OPERATORS[number] == name
    for number, name in numbered(schema.TensorType).items():
        assert number >= len(DTYPES) or DTYPES[number] == name.lower()
    assert [name.lower() for _, name in sorted(numbered(schema.ActivationFunctionType).items())] == [
        name or "none" for name in ACTIVATIONS
    ]
    assert set(FUSED_FIELD) <= set(OPERATORS)
    assert set(BITS) <= set(DTYPES)


@pytest.mark.parametrize("path", tflite_files.PART, ids=tflite_files.name_of)
def test_it_reads_what_the_schema_reads(path, schema):
    content = path.read_bytes()
    ours = read_tflite(content, path.name)
    theirs = schema.Model.GetRootAsModel(content, 0)
    graph = theirs.Subgraphs(0)
    assert len(ours.graph.tensors) == graph.TensorsLength()
    for number, tensor in enumerate(ours.graph.tensors):
        other = graph.Tensors(number)
        assert tensor.name == other.Name().decode()
        assert list(tensor.shape or ()) == [other.Shape(place) for place in range(other.ShapeLength())]
        data = theirs.Buffers(other.Buffer())
        assert tensor.length == data.DataLength()
        if tensor.length:
            assert content[tensor.start : tensor.start + tensor.length] == data.DataAsNumpy().tobytes()
        scales = other.Quantization().ScaleLength() if other.Quantization() else 0
        assert (0 if tensor.quantization is None else len(tensor.quantization.scales)) == scales
    assert len(ours.graph.operators) == graph.OperatorsLength()
    for number, operator in enumerate(ours.graph.operators):
        other = graph.Operators(number)
        code = theirs.OperatorCodes(other.OpcodeIndex())
        assert OPERATORS.index(operator.kind) == max(code.BuiltinCode(), code.DeprecatedBuiltinCode())
        assert list(operator.inputs) == [other.Inputs(place) for place in range(other.InputsLength())]


# ------------------------------------------------------------------ damage
@threat(59, 4)
def test_every_cut_of_a_file_is_refused_in_one_line(tmp_path):
    path = tmp_path / "m.tflite"
    for length in range(8, len(CONTENT), 97):
        path.write_bytes(CONTENT[:length])
        with pytest.raises(ModelError, match=r"^m.tflite: the TFLite file is damaged or cut off \(at byte"):
            open_network(path)


@settings(max_examples=300)
@given(st.lists(st.tuples(st.integers(8, len(CONTENT) - 1), st.integers(0, 255)), min_size=1, max_size=8))
@example([(4318, 0)])  # an operator with a bias and without outputs
def test_any_bytes_are_opened_or_refused(tmp_path_factory, changes):
    changed = bytearray(CONTENT)
    for place, value in changes:
        changed[place] = value
    path = tmp_path_factory.getbasetemp() / "mutant.tflite"
    path.write_bytes(changed)
    found = opened(path)
    assert isinstance(found, tuple) or (found.exit_code in {4, 5, 6} and "\n" not in found.message)


@settings(max_examples=300)
@given(st.lists(st.tuples(st.integers(0, len(CONTENT) // 4 - 1), st.integers(0, 2**32 - 1)), min_size=1, max_size=4))
def test_any_offsets_are_opened_or_refused(tmp_path_factory, changes):
    """Whole words, so that offsets lead anywhere."""
    changed = bytearray(CONTENT)
    for place, value in changes:
        struct.pack_into("<I", changed, 4 * place, value)
    changed[4:8] = b"TFL3"
    path = tmp_path_factory.getbasetemp() / "mutant.tflite"
    path.write_bytes(changed)
    found = opened(path)
    assert isinstance(found, tuple) or "\n" not in found.message


def test_the_reader_never_leaves_the_file():
    flat = FlatBuffer(b"\x04\x00\x00\x00", "m")
    with pytest.raises(ModelError):
        flat.root()
    with pytest.raises(ModelError):
        flat.number("<I", 1)
    with pytest.raises(ModelError):
        flat.number("<I", -4)


def test_tables_without_end_are_a_limit(monkeypatch):
    monkeypatch.setattr(flatbuffer, "MAXIMUM_TABLES", 20)
    with pytest.raises(LimitError, match="a bomb"):
        read_tflite(CONTENT, "m.tflite")


def test_lists_without_end_are_a_limit(monkeypatch):
    monkeypatch.setattr(flatbuffer, "MAXIMUM_READ", 100)
    with pytest.raises(LimitError, match="a bomb"):
        read_tflite(CONTENT, "m.tflite")


# ------------------------------------------------------------------ code of others
@threat(58, 5)
def test_a_custom_operator_is_refused(edited):
    def change(model):
        model.operatorCodes[0].customCode = b"Evil\nop"
        model.operatorCodes[0].builtinCode = model.operatorCodes[0].deprecatedBuiltinCode = 32

    found = refusal(edited(change))
    assert isinstance(found, UnsafeError)
    assert 'operator "Evil\\x0aop"' in found.message
    assert "no flag" in found.message


def with_custom_code(model, name=b"FlexWriteFile"):
    """Add a custom operator code to a file and return its index."""
    code = type(model.operatorCodes[0])()
    code.builtinCode, code.deprecatedBuiltinCode, code.customCode, code.version = 32, 32, name, 1
    model.operatorCodes.append(code)
    return len(model.operatorCodes) - 1


def last_is_custom(model, name=b"FlexWriteFile"):
    """Make the last operator of a file a custom one."""
    model.subgraphs[0].operators[-1].opcodeIndex = with_custom_code(model, name)


@threat(58, 5)
def test_a_custom_operator_in_a_graph_that_is_only_called(edited, schema):
    def change(model):
        other = schema.SubGraphT()
        operator = schema.OperatorT()
        operator.opcodeIndex, operator.inputs, operator.outputs = with_custom_code(model), [0], [1]
        other.tensors = [model.subgraphs[0].tensors[0], model.subgraphs[0].tensors[0]]
        other.inputs, other.outputs, other.operators = [0], [1], [operator]
        model.subgraphs.append(other)

    found = refusal(edited(change))
    assert isinstance(found, UnsafeError)
    assert '"FlexWriteFile" is a TensorFlow operator (Flex)' in found.message


@threat(58, 5)
def test_a_custom_operator_beside_operators_that_share_a_memory(edited):
    def change(model):
        last_is_custom(model)
        code = type(model.operatorCodes[0])()
        code.builtinCode, code.deprecatedBuiltinCode, code.version = OPERATORS.index("READ_VARIABLE"), 127, 1
        model.operatorCodes.append(code)
        model.subgraphs[0].operators[0].opcodeIndex = len(model.operatorCodes) - 1

    assert isinstance(refusal(edited(change)), UnsafeError)


@threat(58, 0)
@pytest.mark.parametrize("name", [b"FlexWriteFile", b"TFLite_Detection_PostProcess", b"Evil\nop", b"ADD"])
def test_what_comes_before_a_custom_operator_is_computed(edited, name, tmp_path):
    path = edited(lambda model: last_is_custom(model, name))
    whole = tmp_path / "whole.tflite"
    whole.write_bytes(CONTENT)
    with open_network(whole) as network:
        batch = {spec.name: np.ones((1, 16, 16, 3), np.float32) for spec in network.inputs}
        expected = network.activations(batch)
    with open_network(path) as network:
        (last,) = network.facts.refusals
        assert [layer.address for layer in network.facts.every_layer] == list(expected)
        found = network.activations(batch)
        assert "1 of" in network.notes[0]
        assert "\n" not in network.notes[0]
        with pytest.raises(UnsafeError, match="no flag"):
            network.activations(batch, [last])
    assert list(found) == [address for address in expected if address != last]
    for address, activation in found.items():
        np.testing.assert_array_equal(activation.values, expected[address].values)
    with pytest.raises(UnsafeError, match="no flag"):
        open_network(path, trust=TrustPolicy(strict=True))


def test_a_custom_operator_without_outputs_does_not_run_where_no_operator_is_needed(edited):
    def change(model):
        graph = model.subgraphs[0]
        last_is_custom(model)
        graph.operators, graph.outputs = graph.operators[-1:], graph.inputs
        graph.operators[0].outputs = []
        graph.operators[0].inputs = graph.inputs

    assert isinstance(refusal(edited(change)), UnsafeError)


def test_layers_behind_a_custom_operator_are_refused(edited):
    def change(model):
        model.subgraphs[0].operators[1].opcodeIndex = with_custom_code(model)

    with open_network(edited(change)) as network:
        assert len(network.facts.refusals) > 1
        assert set(network.facts.refusals).isdisjoint(layer.address for layer in network.layers)
        (only,) = {spec.name for spec in network.inputs}
        found = network.activations({only: np.ones((1, 16, 16, 3), np.float32)}, [network.layers[0].address])
    assert len(found) == 1


def test_constants_in_other_files_are_refused(edited, schema):
    if not hasattr(schema, "ExternalBufferT"):
        pytest.skip("the schema of this TensorFlow has no external buffers")

    def change(model):
        group, buffer = schema.ExternalBufferGroupT(), schema.ExternalBufferT()
        group.name = b"/etc/passwd"
        model.externalBufferGroups, model.externalBuffers = [group], [buffer]

    assert isinstance(refusal(edited(change)), UnsafeError)


@pytest.mark.slow
@pytest.mark.tensorflow
def test_an_operator_that_writes_a_file_is_refused(tmp_path):
    """A control: the operator that the file carries does write when TensorFlow runs it.

    TensorFlow's own interpreter no longer links Flex; those on other platforms do.
    """
    import tensorflow as tf

    marker = tmp_path / "marker"

    class Printing(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec([1, 4], tf.float32)])
        def serve(self, x):
            tf.print("x", output_stream=f"file://{marker}")
            return tf.identity(x) * 2.0

    printing = Printing()
    converter = tf.lite.TFLiteConverter.from_concrete_functions([printing.serve.get_concrete_function()], printing)
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS, tf.lite.OpsSet.SELECT_TF_OPS]
    path = tmp_path / "m.tflite"
    path.write_bytes(converter.convert())
    marker.unlink(missing_ok=True)
    with open_network(path) as network:
        (printed,) = network.facts.missing
        assert printed.startswith("Flex")
        network.activations({spec.name: np.zeros((1, 4), np.float32) for spec in network.inputs})
    with pytest.raises(UnsafeError):
        open_network(path, trust=TrustPolicy(strict=True))
    assert not marker.exists()
    assert b"FlexPrintV2" in path.read_bytes()
    printing.serve(tf.zeros((1, 4)))
    assert marker.exists()


# ------------------------------------------------------------------ sizes and indices
@threat(60, 6)
def test_a_giant_tensor(edited):
    def change(model):
        model.subgraphs[0].tensors[8].shape = [1, 1 << 20, 1 << 20, 8]

    found = refusal(edited(change))
    assert isinstance(found, LimitError)
    assert "declares 35,184,372,088,832 bytes" in found.message


@threat(60, 6)
def test_many_large_tensors(edited):
    def change(model):
        for number in range(8, 13):
            model.subgraphs[0].tensors[number].shape = [1, 1 << 14, 1 << 14, 3]

    assert isinstance(refusal(edited(change)), LimitError)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda graph: graph.operators[2].__setattr__("inputs", [12]), "out of turn"),
        (lambda graph: graph.operators[2].__setattr__("inputs", [4_000]), "out of turn"),
        (lambda graph: graph.operators[2].__setattr__("inputs", [-7]), "out of turn"),
        (lambda graph: graph.operators[2].__setattr__("outputs", [3]), "inputs or outputs of the graph|out of turn"),
        (lambda graph: graph.operators[2].__setattr__("opcodeIndex", 99), "damaged"),
        (lambda graph: graph.tensors[3].__setattr__("buffer", 99), "unknown type or constant"),
        (lambda graph: graph.tensors[3].__setattr__("type", 99), "unknown type or constant"),
        (lambda graph: graph.tensors[3].__setattr__("shape", [8, 3, 3, 4]), "holds 864 bytes instead of 1,152"),
        (lambda graph: graph.tensors[9].__setattr__("shape", [-5]), "not a valid shape"),
        (lambda graph: graph.tensors[9].__setattr__("shape", [1] * 9), "not a valid shape"),
        (lambda graph: graph.__setattr__("outputs", [77]), "inputs or outputs of the graph"),
        (lambda graph: graph.__setattr__("inputs", [3]), "inputs or outputs of the graph"),
    ],
)
def test_numbers_that_cannot_be(edited, change, said):
    import re

    found = refusal(edited(lambda model: change(model.subgraphs[0])))
    assert isinstance(found, ModelError)
    assert re.search(said, found.message), found.message


def test_an_operator_of_the_future(edited):
    def change(model):
        model.operatorCodes[0].builtinCode = 9_999

    assert "newer than this actviz" in refusal(edited(change)).message


def test_a_version_of_the_future(edited):
    assert "version 4" in refusal(edited(lambda model: model.__setattr__("version", 4))).message


def test_shapes_that_do_not_fit_each_other(edited):
    """The interpreter finds out; its reason is one line."""

    def change(model):
        model.subgraphs[0].tensors[0].shape = [1, 16, 16, 5]
        model.subgraphs[0].tensors[0].shapeSignature = [-1, 16, 16, 5]

    path = edited(change)
    with open_network(path) as network, pytest.raises(ModelError, match=r"^m.tflite: the interpreter cannot run it: "):
        network.activations({spec.name: np.zeros((1, 16, 16, 5), np.float32) for spec in network.inputs})


def test_names_of_tensors_are_escaped_and_become_no_paths(edited, actviz, tmp_path):
    def change(model):
        model.subgraphs[0].tensors[8].name = b"m/../../x\n::error\x1b[31m/Relu"

    path = edited(change)
    ran = actviz("layers", path)
    assert ran.code == 0
    assert "\x1b" not in ran.out
    assert not any(line.startswith("::") for line in ran.out.splitlines())
    ran = actviz("show", path, "-o", "out/")
    assert ran.code in {0, 1}, ran.err
    assert sorted(item.name for item in tmp_path.iterdir()) == ["m.tflite", "out"]


def test_long_and_deep_names_cost_nothing(edited):
    def change(model):
        for tensor in model.subgraphs[0].tensors:
            tensor.name = b"a/" * 20_000 + b"Relu;" * 20_000

    with open_network(edited(change)) as network:
        assert len(network.layers) == 7


# ------------------------------------------------------------------ signatures
SIGNATURES = tflite_files.DATA / "signatures" / "three.tflite"


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda model: model.signatureDefs[1].__setattr__("subgraphIndex", 99), "a signature names graph 99 of 7"),
        (
            lambda model: model.signatureDefs[1].__setattr__("signatureKey", b"repeat"),
            "two signatures have the same name",
        ),
        (
            lambda model: model.subgraphs[2].operators[0].builtinOptions.__setattr__("bodySubgraphIndex", 0),
            'signature "repeat" calls the first graph of the file',
        ),
    ],
)
def test_signatures_that_cannot_be_told_apart_or_run_alone(edited, change, expected):
    path = edited(change, SIGNATURES.read_bytes())
    with pytest.raises(ModelError, match=expected):
        read_tflite(path.read_bytes(), "m.tflite", "repeat")

"""SavedModels and frozen graphs: real ones, broken ones, and ones that would do more than compute."""

import contextlib
import shutil
import subprocess
import sys
from pathlib import Path
from urllib.parse import unquote

import corpus
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as some
from threats import threat

from actviz.addresses import select_layers
from actviz.api import open as open_model
from actviz.errors import ActvizError, ModelError, UnsafeError, UsageError
from actviz.formats import open_network
from actviz.formats.checkpoint import Checkpoint
from actviz.formats.keras.keras_network import KerasNetwork
from actviz.formats.savedmodel.graph_network import GraphNetwork
from actviz.formats.savedmodel.inline import inline_functions
from actviz.formats.savedmodel.source import open_saved_model
from actviz.formats.savedmodel.subgraph import extract_subgraph
from actviz.gate import NO_TRUST, operations
from actviz.gate.protobuf import MalformedProtobuf, encode_bytes, encode_varint, fields, varint
from actviz.records import GraphSelection

PART = corpus.files(corpus.DATA, corpus.SAVED)
WHOLE = corpus.files(corpus.CORPUS, corpus.SAVED)
whole_collection = pytest.mark.skipif(not WHOLE, reason="the whole collection is not beside this checkout")
FOLDERS = [path for path in PART if path.is_dir()]
EXPORT = corpus.DATA / "tf221_k3151" / "a05a_shared_layer_export"
KERAS = corpus.DATA / "tf213" / "a04a_transfer_sm"
FROZEN = corpus.DATA / "tf115" / "a01_seed_cnn.frozen.pb"


def name_of(path):
    return f"{path.parent.name}/{path.name}"


def truth_of(path):
    with np.load(corpus.expected(path)) as truth:
        return dict(truth)


def is_right(path):
    """Every layer of the file has the writer's numbers; what is missing is given as an input."""
    outcome = corpus.without_inputs(corpus.check(path, given=False))
    assert outcome.right, outcome


@pytest.mark.parametrize("path", PART, ids=name_of)
def test_every_layer_has_the_writers_numbers(path):
    is_right(path)


@pytest.mark.slow
@whole_collection
@pytest.mark.parametrize("path", WHOLE, ids=name_of)
def test_the_whole_collection(path):
    is_right(path)


@pytest.mark.parametrize("path", FOLDERS, ids=name_of)
def test_the_graph_alone_tells_what_keras_layers_compute(path):
    """Layers recovered from names have the numbers that the writer computed, for Keras models too."""
    truth = truth_of(path)
    with GraphNetwork(open_saved_model(path, None, ())) as network:
        found = network.activations(corpus.batch(truth, network))
    tolerance = corpus.HALF_TOLERANCE if "f16" in path.name else corpus.TOLERANCE
    both = {unquote(name) for name in found} & {key[4:] for key in truth if key.startswith("act:")}
    assert len(both) >= 3
    for name, item in found.items():
        if unquote(name) in both:
            assert corpus._equal(item.values, truth[f"act:{unquote(name)}"], tolerance), name


def test_which_files_have_keras_layers():
    kinds = {}
    for path in PART:
        with open_network(path) as network:
            kinds[name_of(path)] = type(network)
    keras = {name for name, kind in kinds.items() if kind is KerasNetwork}
    assert keras == {
        "tf213/a04a_transfer_sm",
        "tf215/a12a_mixed_f16_sm",
        "tf23/a05a_shared_layer_sm",
        "tfk221/a02_dense_sm",
    }


@pytest.mark.parametrize("path", PART, ids=name_of)
def test_parts_are_those_of_the_whole(path):
    inputs = None
    with open_network(path) as network:
        inputs = corpus.batch(truth_of(path), network)
        whole = network.activations(inputs)
    for address in list(whole)[:: max(1, len(whole) // 3)]:
        with open_network(path) as network:
            alone = network.activations(inputs, [address])[address]
        assert corpus._equal(alone.values, whole[address].values, 1e-5), address


def test_calls_of_a_shared_layer_and_single_operations():
    truth = truth_of(EXPORT)
    with open_model(EXPORT) as network:
        batch = corpus.batch(truth, network)
        found = network.activations(batch, ["shared", "shared#1/Relu", "out/MatMul"])
        assert list(found) == ["shared#0", "shared#1", "shared#1/Relu", "out/MatMul"]
        np.testing.assert_array_equal(found["shared#1"].values, found["shared#1/Relu"].values)
        assert not np.array_equal(found["shared#0"].values, found["shared#1"].values)
        assert set(network.activations(batch)) == {"left", "shared#0", "shared#1", "out"}


def test_patterns_mean_layers_before_operations():
    with open_network(EXPORT) as network:
        assert [layer.address for layer in select_layers(network.layers, ["*"], "m")] == [
            "left",
            "shared#0",
            "shared#1",
            "out",
        ]
        assert {layer.kind for layer in select_layers(network.layers, ["@Relu"], "m")} == {"Relu"}
        with pytest.raises(UsageError, match="have no numbers, only names"):
            select_layers(network.layers, ["-1"], "m")


def test_only_what_a_layer_needs_is_given_to_tensorflow():
    source = open_saved_model(corpus.DATA / "tf216_k305" / "a04a_transfer_export", None, ())
    network = GraphNetwork(source)
    fed = frozenset(one.number for one in source.inputs)
    first, last = (
        extract_subgraph(source.flat, [network._layers.addresses[address].tensor], fed)
        for address in ("base/conv1", "head")
    )
    assert len(first.numbers) < len(last.numbers) / 3
    assert sum(what == "variable" for what in first.given.values()) == 2
    network.close()


def test_a_graph_with_a_fixed_batch_takes_any():
    path = corpus.DATA / "tf216_k305" / "a11a_subclassed_export"
    with open_network(path) as network:
        (spec,) = network.inputs
        assert spec.shape[0] is None
        batch = np.random.default_rng(0).normal(size=(19, *spec.shape[1:])).astype("float32")
        whole = network.activations({spec.name: batch})
        one = network.activations({spec.name: batch[17:18]})
    for address, item in whole.items():
        assert len(item.values) == 19
        np.testing.assert_allclose(item.values[17:18], one[address].values, atol=1e-5)


def test_facts_of_a_file_are_told_without_tensorflow():
    program = (
        "import sys; from pathlib import Path; from actviz.formats import open_network\n"
        f"for path in {[str(EXPORT), str(KERAS)]}:\n"
        "    print(len([layer for layer in open_network(Path(path)).layers if not layer.inner]))\n"
        "assert 'tensorflow' not in sys.modules and 'keras' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["4", "9"]


@pytest.mark.parametrize("masked", [False, True])
def test_states_of_recurrent_layers(tmp_path, masked):
    import keras

    tokens = keras.Input((5,), dtype="int32", name="tokens")
    read = keras.layers.Embedding(9, 3, mask_zero=masked, name="read")(tokens)
    sequence, hidden, cell = keras.layers.LSTM(4, return_sequences=True, return_state=True, name="lstm")(read)
    _, state = keras.layers.GRU(4, return_state=True, name="gru")(sequence)
    model = keras.Model(tokens, keras.layers.Concatenate(name="all")([hidden, cell, state]))
    model.export(str(tmp_path / "m"), verbose=False)
    given = np.array([[3, 1, 4, 0, 0], [1, 5, 8, 2, 6]], "int32")
    inner = keras.Model(tokens, [sequence, hidden, cell, state])
    with open_model(tmp_path / "m") as network:
        found = network.activations(given)
    for name, correct in zip(["lstm@0", "lstm@1", "lstm@2", "gru@1"], inner.predict(given, verbose=0), strict=True):
        np.testing.assert_allclose(found[name].values, correct, atol=1e-5, err_msg=name)


# --- inputs, tables, signatures


def test_a_vocabulary_is_read_from_the_graph():
    path = corpus.DATA / "tf221_k3151" / "a12c_textvec_export"
    with open_network(path) as network:
        (spec,) = network.inputs
        assert spec.dtype == "string"
        assert spec.words
        assert spec.split == "punctuation"
        assert all(isinstance(word, str) for word in spec.words)


def test_a_signature_and_a_tag_that_do_not_exist_name_those_that_do():
    with pytest.raises(UsageError, match=r'no signature "x"; the file has: serve, serving_default'):
        open_network(EXPORT, None, NO_TRUST, GraphSelection("x"))
    with pytest.raises(UsageError, match=r'no graph has the tag "train"; the file has: serve'):
        open_network(EXPORT, None, NO_TRUST, GraphSelection(None, ("train",)))
    with pytest.raises(UsageError, match="this file holds one model"):
        open_network(corpus.DATA / "tf221_k3151" / "a02_dense.keras", None, NO_TRUST, GraphSelection("x"))


def test_every_signature_is_listed_with_its_inputs_and_outputs():
    digests = set()
    for chosen in (None, "serve"):
        with open_network(EXPORT, None, NO_TRUST, GraphSelection(chosen)) as network:
            listed = {item.name: item for item in network.facts.signatures}
            digests.add(network.facts.digest)
        assert set(listed) == {"serve", "serving_default"}
        assert [item.name for item in listed.values() if item.selected] == [chosen or "serving_default"]
        inputs = tuple(spec.name for spec in network.inputs)
        assert all(item.inputs == inputs and item.outputs for item in listed.values())
    assert len(digests) == 2, "a figure of one signature is not up to date for another"


def test_another_signature_of_a_keras_model_is_its_graph():
    with open_network(KERAS, None, NO_TRUST, GraphSelection("serving_default")) as network:
        assert isinstance(network, GraphNetwork)
        assert "base/conv1" in {layer.address for layer in network.layers}


def test_a_node_of_a_frozen_graph_can_be_fed():
    with open_model(FROZEN) as network:
        (spec,) = network.inputs
        image = np.random.default_rng(1).random((2, *spec.shape[1:]), "float32")
        whole = network.activations(image, ["max_pooling2d", "dense"])
    with open_model(FROZEN, inputs="max_pooling2d/MaxPool") as network:
        fed = {"max_pooling2d/MaxPool": whole["max_pooling2d"].values}
        inner = network.activations(fed, ["dense"])
        needs = {layer.address: layer.needs for layer in network.layers}
    np.testing.assert_allclose(inner["dense"].values, whole["dense"].values, atol=1e-6)
    assert (needs["conv2d"], needs["dense"]) == (("input_1",), ("max_pooling2d/MaxPool",))
    with pytest.raises(UsageError, match=r'no node "nothing" to feed; its placeholders: input_1'):
        open_model(FROZEN, inputs="nothing")


@pytest.mark.slow
@pytest.mark.parametrize("command", ["show", "extract", "check"])
def test_the_command_feeds_any_node_by_name(actviz, tmp_path, command):
    np.save(tmp_path / "pool.npy", np.ones((3, 13, 13, 32), "float32"))
    ran = actviz(command, "-q", FROZEN, "--input", "max_pooling2d/MaxPool=pool.npy", "-l", "conv_intermediate")
    assert (ran.code, ran.err) == (0, "")
    ran = actviz(command, "-q", FROZEN, "--input", "max_pooling2d/MaxPool=pool.npy", "-l", "conv2d")
    assert (ran.code, len(ran.err.splitlines())) == (3, 1)
    assert "these layers also need the input input_1" in ran.err


def test_a_placeholder_without_a_shape(tmp_path):
    import tensorflow as tf

    with tf.Graph().as_default() as graph:
        x = tf.compat.v1.placeholder(tf.float32, name="x")
        tf.nn.relu(x, name="act/Relu")
    (tmp_path / "m.pb").write_bytes(graph.as_graph_def().SerializeToString())
    with open_model(tmp_path / "m.pb") as network:
        assert network.inputs[0].shape == ()
        found = network.activations(np.array([[-1.0, 2.0]], "float32"), ["act"])
    np.testing.assert_array_equal(found["act"].values, [[0, 2]])


# --- broken


def copied(tmp_path, path):
    target = tmp_path / path.name
    shutil.copytree(path, target)
    return target


@pytest.mark.parametrize("path", [EXPORT, KERAS], ids=name_of)
@pytest.mark.parametrize(
    "member", ["variables", "variables/variables.index", "variables/variables.data-00000-of-00001"]
)
def test_missing_variables(tmp_path, path, member):
    folder = copied(tmp_path, path)
    (shutil.rmtree if (folder / member).is_dir() else Path.unlink)(folder / member)
    with pytest.raises(ModelError, match="variables are missing"), open_network(folder) as network:
        network.activations({spec.name: np.zeros((1, *spec.shape[1:]), "float32") for spec in network.inputs})


def test_a_folder_without_a_model(tmp_path):
    with pytest.raises(ModelError, match=r"neither saved_model.pb nor config.json"):
        open_network(tmp_path)


@pytest.mark.parametrize("member", ["saved_model.pb", "keras_metadata.pb", "variables"])
@threat(57, 5)
def test_links_are_refused(tmp_path, member):
    folder = copied(tmp_path, KERAS)
    (folder / member).rename(tmp_path / "elsewhere")
    (folder / member).symlink_to(tmp_path / "elsewhere")
    choice = GraphSelection("serving_default") if member == "saved_model.pb" else GraphSelection()
    with pytest.raises(UnsafeError, match="is a link"), open_network(folder, None, NO_TRUST, choice) as network:
        network.activations({spec.name: np.zeros((1, *spec.shape[1:]), "float32") for spec in network.inputs})


@settings(max_examples=150, suppress_health_check=list(HealthCheck))
@given(place=some.floats(0, 1), value=some.integers(0, 255), cut=some.booleans(), number=some.integers(0, 3))
def test_damaged_files_are_refused_in_one_line_or_opened(tmp_path_factory, place, value, cut, number):
    """Nothing but an error of ours leaves the reading of a damaged file."""
    source, member = [
        (EXPORT, "saved_model.pb"),
        (EXPORT, "variables/variables.index"),
        (KERAS, "keras_metadata.pb"),
        (corpus.DATA / "tf23" / "a05a_shared_layer_sm", "saved_model.pb"),
    ][number]
    folder = tmp_path_factory.mktemp("damaged") / "m"
    shutil.copytree(source, folder)
    content = bytearray((folder / member).read_bytes())
    at = int(place * (len(content) - 1))
    content[at] = value
    (folder / member).write_bytes(content[:at] if cut else content)
    with contextlib.suppress(ActvizError), open_network(folder) as network:
        assert network.layers is not None
        if isinstance(network, GraphNetwork):
            _ = network._source.checkpoint
    shutil.rmtree(folder.parent)


@settings(max_examples=100, suppress_health_check=list(HealthCheck))
@given(place=some.floats(0, 1), value=some.integers(0, 255), cut=some.booleans())
def test_damaged_frozen_graphs(tmp_path_factory, place, value, cut):
    content = bytearray(FROZEN.read_bytes())
    at = int(place * (len(content) - 1))
    content[at] = value
    path = tmp_path_factory.mktemp("damaged") / "m.pb"
    path.write_bytes(content[:at] if cut else content)
    with contextlib.suppress(ActvizError), open_network(path) as network:
        assert network.layers is not None


# --- unsafe


def saved_by(tmp_path, build):
    """Save a module with one function ``x (batch, 4) -> y``; `build` makes it, given a path that must stay free."""
    import tensorflow as tf

    marker = tmp_path / "marker"
    module = build(tf, marker)
    signature = [tf.TensorSpec([None, 4], tf.float32, name="x")]
    served = tf.function(module.serve, input_signature=signature, autograph=False)
    tf.saved_model.save(module, str(tmp_path / "m"), signatures={"serving_default": served})
    return tmp_path / "m", marker


def write_on_call(tf, marker):
    class Module(tf.Module):
        def serve(self, x):
            with tf.control_dependencies([tf.io.write_file(str(marker), "x")]):
                return tf.identity(x)

    return Module()


def print_to_file(tf, marker):
    class Module(tf.Module):
        def serve(self, x):
            tf.print("x", output_stream=f"file://{marker}")
            return tf.identity(x)

    return Module()


def write_in_a_loop(tf, marker):
    class Module(tf.Module):
        def serve(self, x):
            def body(number, y):
                with tf.control_dependencies([tf.io.write_file(str(marker), "x")]):
                    return number + 1, y * 2.0

            return tf.while_loop(lambda number, _: number < 2, body, [0, x])[1]

    return Module()


def write_at_load(tf, marker):
    class Table(tf.saved_model.experimental.TrackableResource):
        def _create_resource(self):
            return tf.raw_ops.HashTableV2(
                key_dtype=tf.string, value_dtype=tf.int64, shared_name="t", use_node_name_sharing=True
            )

        @tf.function(input_signature=[], autograph=False)
        def _initialize(self):
            with tf.control_dependencies([tf.io.write_file(str(marker), "x")]):
                return tf.constant(1)

        @tf.function(input_signature=[], autograph=False)
        def _destroy_resource(self):
            return tf.constant(1)

    class Module(tf.Module):
        def __init__(self):
            super().__init__()
            self.table = Table()
            _ = self.table.resource_handle

        def serve(self, x):
            return tf.identity(x)

    return Module()


def save_on_call(tf, marker):
    class Module(tf.Module):
        def serve(self, x):
            saved = tf.raw_ops.SaveV2(
                prefix=str(marker), tensor_names=["a"], shape_and_slices=[""], tensors=[tf.zeros(2)]
            )
            with tf.control_dependencies([saved]):
                return tf.identity(x)

    return Module()


def read_a_file(tf, marker):
    class Module(tf.Module):
        def serve(self, x):
            return x + tf.cast(tf.strings.length(tf.io.read_file(str(marker))), tf.float32)

    return Module()


def call_python(tf, _marker):
    class Module(tf.Module):
        def serve(self, x):
            return tf.py_function(lambda value: value, [x], tf.float32)

    return Module()


def nested_graph(tf, _marker):
    class Module(tf.Module):
        def serve(self, x):
            data = tf.raw_ops.DatasetFromGraph(graph_def=b"")
            return x + tf.cast(tf.raw_ops.DatasetCardinality(input_dataset=data), tf.float32)

    return Module()


WRITERS = {
    write_on_call: "WriteFile",
    print_to_file: "PrintV2",
    write_in_a_loop: "WriteFile",
    write_at_load: "WriteFile",
    save_on_call: "SaveV2",
}


@pytest.mark.parametrize("build", WRITERS, ids=lambda build: build.__name__)
@threat(51, 5)
@threat(52, 5)
@threat(53, 5)
def test_a_graph_that_writes_is_refused_and_the_control_writes(tmp_path, build):
    import tensorflow as tf

    folder, marker = saved_by(tmp_path, build)
    with pytest.raises(UnsafeError, match=rf'operation "{WRITERS[build]}" of node ".+" is not on the list'):
        open_network(folder)
    assert not list(tmp_path.glob("marker*"))
    loaded = tf.saved_model.load(str(folder))  # the control: what the refusal keeps from happening
    loaded.signatures["serving_default"](tf.zeros((1, 4)))
    assert list(tmp_path.glob(f"{marker.name}*"))


@pytest.mark.parametrize(
    ("build", "operation"),
    [(read_a_file, "ReadFile"), (call_python, "EagerPyFunc"), (nested_graph, "DatasetFromGraph")],
)
@threat(55, 5)
@threat(56, 5)
@threat(57, 5)
def test_a_graph_that_reads_calls_or_carries_more_is_refused(tmp_path, build, operation):
    folder, _ = saved_by(tmp_path, build)
    with pytest.raises(UnsafeError, match=f'operation "{operation}"'):
        open_network(folder)


@threat(54, 5)
def test_the_text_form_is_refused(tmp_path):
    folder = copied(tmp_path, EXPORT)
    (folder / "saved_model.pbtxt").write_text("saved_model_schema_version: 1")
    with pytest.raises(UnsafeError, match=r"saved_model.pbtxt"):
        open_network(folder)
    (folder / "saved_model.pb").unlink()
    with pytest.raises(UnsafeError, match=r"saved_model.pbtxt"):
        open_network(folder)


@pytest.mark.parametrize("inside", [True, False])
def test_words_are_only_read_from_the_models_own_assets(tmp_path, inside):
    import tensorflow as tf

    words = tmp_path / "words.txt"
    words.write_text("one\ntwo\n")

    class Module(tf.Module):
        def __init__(self):
            super().__init__()
            filled = tf.lookup.TextFileInitializer(
                str(words), tf.string, tf.lookup.TextFileIndex.WHOLE_LINE, tf.int64, tf.lookup.TextFileIndex.LINE_NUMBER
            )
            self.table = tf.lookup.StaticHashTable(filled, -1)

        @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="text")], autograph=False)
        def serve(self, text):
            return self.table.lookup(text)

    module = Module()
    tf.saved_model.save(module, str(tmp_path / "m"), signatures=module.serve)
    words.unlink()
    if not inside:
        outside = tmp_path / "m" / "assets" / "words.txt"
        outside.rename(tmp_path / "secret")
        outside.symlink_to(tmp_path / "secret")
        with pytest.raises(UnsafeError, match="is a link"), open_network(tmp_path / "m") as network:
            network.activations({"text": np.array(["two"], object)})
        return
    with open_network(tmp_path / "m") as network:
        assert network.inputs[0].words == ("one", "two")
        address = next(layer.address for layer in network.layers if layer.dtype == "int64")
        found = network.activations({"text": np.array(["two", "none"], object)}, [address])
    np.testing.assert_array_equal(found[address].values, [1, -1])


def test_a_variable_that_is_changed_before_it_is_read(tmp_path):
    def build(tf, _marker):
        class Module(tf.Module):
            def __init__(self):
                super().__init__()
                self.count = tf.Variable(1.0)

            def serve(self, x):
                self.count.assign(5.0)
                return x * self.count

        return Module()

    folder, _ = saved_by(tmp_path, build)
    with open_network(folder) as network:
        found = network.activations({"x": np.ones((1, 4), "float32")})
    (product,) = (one.values for one in found.values() if one.kind == "Multiply")
    np.testing.assert_array_equal(product, np.full((1, 4), 5.0))


def test_lists_of_operations_are_those_of_tensorflow():
    """Every name exists, and outputs are called as TensorFlow calls them."""
    import tensorflow as tf
    from tools.make_operation_outputs import definitions, outputs, render

    known = set(definitions())
    gone = {"AnonymousSeedGenerator"}
    assert (operations.PURE | operations.KEPT) - known <= gone
    for name, own in outputs().items():
        assert operations.operation_outputs()[name] == own, "run python tests/tools/make_operation_outputs.py"
    table = Path(operations.__file__).with_name("operation_outputs.json").read_text(encoding="utf-8")
    if f'"{tf.__version__}"' in table:
        assert table == render()
    dangerous = (
        "File",
        "Dataset",
        "Py",
        "Print",
        "Debug",
        "Iterator",
        "Remote",
        "Reader",
        "Queue",
        "Save",
        "Xla",
        "Tpu",
    )
    assert not [name for name in operations.PURE if any(word in name for word in dangerous)]


# --- the formats


@given(
    some.lists(some.tuples(some.integers(1, 1000), some.one_of(some.integers(0, 2**64 - 1), some.binary(max_size=300))))
)
def test_what_is_written_is_read(given_fields):
    message = b"".join(
        encode_bytes(number, value) if isinstance(value, bytes) else encode_varint(number << 3) + encode_varint(value)
        for number, value in given_fields
    )
    found = [
        (number, value if isinstance(value, int) else bytes(value)) for number, value in fields(memoryview(message))
    ]
    assert found == given_fields


@given(some.binary(max_size=200))
def test_any_bytes_are_fields_or_damaged(content):
    with contextlib.suppress(MalformedProtobuf):
        for _, value in fields(memoryview(content)):
            assert isinstance(value, (int, memoryview))
    with contextlib.suppress(MalformedProtobuf):
        assert varint(memoryview(content), 0)[1] <= len(content)


@pytest.mark.parametrize("path", FOLDERS, ids=name_of)
def test_a_checkpoint_is_read_as_tensorflow_reads_it(path):
    import tensorflow as tf

    if not (path / "variables" / "variables.index").exists():
        pytest.skip("no variables")
    theirs = tf.train.load_checkpoint(str(path / "variables" / "variables"))
    ours = Checkpoint(path / "variables", path.name)
    assert set(ours.tensors) == set(theirs.get_variable_to_shape_map())
    for key in ours.tensors:
        values, correct = ours.read(key), theirs.get_tensor(key)
        assert np.asarray(correct).shape == values.shape
        if values.dtype == object:
            assert values.ravel().tolist() == np.asarray(correct, object).ravel().tolist()
        else:
            assert np.array_equal(values, correct)
    ours.close()


def test_functions_that_call_themselves_end(tmp_path):
    from tensorflow.core.protobuf import saved_model_pb2

    folder = copied(tmp_path, EXPORT)
    message = saved_model_pb2.SavedModel()
    message.ParseFromString((folder / "saved_model.pb").read_bytes())
    library = message.meta_graphs[0].graph_def.library
    for function in library.function:
        for node in function.node_def:
            if node.op == "StatefulPartitionedCall":
                node.attr["f"].func.name = function.signature.name
    (folder / "saved_model.pb").write_bytes(message.SerializeToString())
    with pytest.raises(ActvizError, match=r"deep|not in it"):
        open_network(folder)


def test_flattening_leaves_other_calls_out():
    source = open_saved_model(EXPORT, None, ())
    alone = inline_functions(source.flat.meta, "m")
    assert not [node for node in alone.nodes if node.op == "MatMul"]
    assert [node for node in source.flat.nodes if node.op == "MatMul"]
    source.close()

"""Weights beside an architecture: every layout against the values that the writing library computed."""

import json
import shlex
import shutil
import subprocess
import sys
import zipfile

import h5py
import numpy as np
import pytest
from threats import threat
from weight_files import JSON, PARTS, compared

import actviz
from actviz.errors import ModelError, UnsafeError
from actviz.formats.keras.object_graph import OBJECT_GRAPH

BATCH = np.random.default_rng(0).random((2, 6, 6, 2), np.float32)


def check(model, weights=None, expected="parts", layers=None):
    """Compare layers, all by default, with the values in the data."""
    for address, (values, correct) in compared(model, weights, expected, layers or ()).items():
        np.testing.assert_allclose(values, correct, rtol=1e-4, atol=1e-5, err_msg=address)


@pytest.fixture(scope="module")
def today(tmp_path_factory):
    """The same network in Keras 3: its archive with other weights, an archive without, and the weights alone."""
    import keras

    folder = tmp_path_factory.mktemp("today")
    keras.utils.set_random_seed(4)
    layers = keras.layers
    model = keras.Sequential(
        [
            keras.Input((6, 6, 2), name="x"),
            layers.Conv2D(3, 3, name="c"),
            keras.Sequential([layers.Conv2D(2, 2, name="inside")], name="inner"),
            layers.BatchNormalization(name="b"),
        ]
    )
    model.save(folder / "other.keras")
    (folder / "m.json").write_text(model.to_json())
    model.set_weights([np.random.default_rng(1).uniform(0.1, 1, weight.shape) for weight in model.get_weights()])
    model.save_weights(folder / "m.weights.h5")
    model.save(folder / "whole.h5")
    model.save(folder / "whole.keras")
    with zipfile.ZipFile(folder / "whole.keras") as archive, zipfile.ZipFile(folder / "bare.keras", "w") as bare:
        archive.extractall(folder / "unpacked")
        for member in ("config.json", "metadata.json"):
            bare.writestr(member, archive.read(member))
    (folder / "unpacked" / "model.weights.h5").unlink()
    with h5py.File(folder / "whole.h5") as whole, h5py.File(folder / "architecture.h5", "w") as architecture:
        architecture.attrs.update(whole.attrs)
    with h5py.File(folder / "whole.h5") as whole, h5py.File(folder / "legacy.h5", "w") as weights:
        for name in whole["model_weights"]:
            whole.copy(f"model_weights/{name}", weights)
        weights.attrs.update(whole["model_weights"].attrs)
    return folder, model(BATCH).numpy()


@pytest.mark.parametrize("weights", ["m.weights.h5", "legacy.h5", "whole.h5", "whole.keras"])
@pytest.mark.parametrize("model", ["other.keras", "bare.keras", "unpacked", "m.json", "architecture.h5", "whole.h5"])
def test_every_architecture_with_weights_of_every_layout(today, model, weights):
    folder, correct = today
    with actviz.open(folder / model, weights=folder / weights) as network:
        np.testing.assert_array_equal(network.activations(BATCH, "b")["b"].values, correct)
        digest = network.activations(BATCH, "b")["b"].weights_digest
    with actviz.open(folder / "other.keras") as network:
        assert digest != network.activations(BATCH, "b")["b"].weights_digest


def test_only_the_weights_of_ancestors_are_read(today, tmp_path):
    folder, _ = today
    shutil.copy(folder / "legacy.h5", tmp_path / "w.h5")
    with h5py.File(tmp_path / "w.h5", "a") as file:
        names = file["b"].attrs["weight_names"]
        del file["b"][names[0]]
        file["b"][names[0]] = np.zeros((99,), "f4")
    with actviz.open(folder / "m.json", weights=tmp_path / "w.h5") as network:
        assert network.activations(BATCH, "inner")["inner"].values.shape == (2, 3, 3, 2)
        with pytest.raises(ModelError, match=r'layer "b" has the shape \(99,\), \(2,\) was expected'):
            network.activations(BATCH, "b")


def test_the_hdf5_of_keras_2():
    check(JSON, PARTS / "parts.h5")


def test_layers_of_other_names_are_matched_by_order():
    """Names such as conv2d_1 depend on what a process made before; load_weights goes by order too."""
    check(JSON, PARTS / "renamed.h5")


def test_weights_of_another_model_are_refused(tmp_path):
    shutil.copy(PARTS / "renamed.h5", tmp_path / "w.h5")
    with h5py.File(tmp_path / "w.h5", "a") as file:
        names = [name for name in file.attrs["layer_names"] if name != "heads"]
        file.attrs["layer_names"] = names
    with pytest.raises(
        ModelError, match=r'of 8 layers, the model has 9 layers with weights: no weights for layer "conv2d"'
    ):
        actviz.open(JSON, weights=tmp_path / "w.h5")
    with h5py.File(tmp_path / "w.h5", "a") as file:
        file.attrs["layer_names"] = [*names, "norm"]
    with pytest.raises(ModelError, match=r'layer "each" has 2 weights, "slopes" in the file has 1'):
        actviz.open(JSON, weights=tmp_path / "w.h5")


def test_the_vocabulary_comes_from_the_archive(tmp_path):
    import keras

    layers = keras.layers
    model = keras.Sequential(
        [
            keras.Input((1,), dtype="string", name="t"),
            layers.TextVectorization(vocabulary=["one", "two"], output_sequence_length=2, name="words"),
            layers.Embedding(4, 2, name="e"),
        ]
    )
    model.save(tmp_path / "m.keras")
    model.save(tmp_path / "m.h5")
    model.save_weights(tmp_path / "m.weights.h5")
    batch = np.array([["two one"]], object)
    for weights in ("m.weights.h5", "m.h5"):
        with actviz.open(tmp_path / "m.keras", weights=tmp_path / weights) as network:
            assert network.activations(batch, "words")["words"].values.tolist() == [[3, 2]]
            np.testing.assert_array_equal(
                network.activations(batch, "e")["e"].values, model.layers[-1](np.array([[3, 2]]))
            )


@pytest.mark.parametrize("content", [b"", b"PK\3\4", b"not weights", b"\x89HDF\r\n\x1a\n"])
def test_files_that_hold_no_weights(tmp_path, content):
    (tmp_path / "w.h5").write_bytes(content)
    with pytest.raises(ModelError, match=r"w\.h5"):
        actviz.open(JSON, weights=tmp_path / "w.h5")
    with h5py.File(tmp_path / "w.h5", "w") as file:
        file["values"] = np.zeros(3)
    with pytest.raises(ModelError, match="holds no weights of a Keras model"):
        actviz.open(JSON, weights=tmp_path / "w.h5")


def test_models_that_hold_their_weights_themselves(tmp_path, samples):
    with pytest.raises(ModelError, match=r"weights= goes with a \.keras or \.h5 file or the JSON"):
        actviz.open(samples / "digits_cnn_int8.tflite", weights=PARTS / "parts.h5")
    (tmp_path / "m.json").write_text(json.dumps({"class_name": "Sequential", "config": {"layers": []}}))
    with pytest.raises(ModelError):
        actviz.open(tmp_path / "m.json", weights=tmp_path / "missing.h5")


@pytest.mark.slow
@pytest.mark.usefixtures("warm_worker")
def test_diff_takes_the_weights_of_both_models(actviz, today, tmp_path):
    folder, _ = today
    np.save(tmp_path / "x.npy", BATCH)
    arguments = ["diff", folder / "m.json", folder / "m.json", "x.npy", "--json"]
    same = actviz(*arguments, "--weights", folder / "m.weights.h5")
    both = actviz(*arguments, "--weights", folder / "m.weights.h5", "--weights", folder / "legacy.h5")
    other = actviz(*arguments, "--weights", folder / "m.weights.h5", "--weights", folder / "other.keras")
    assert [same.code, both.code, other.code] == [0, 0, 8]
    assert {"m.weights.h5", "other.keras"} <= set(other.out.split('"'))
    assert actviz(*arguments, *["--weights", folder / "m.weights.h5"] * 3).code == 2


@pytest.mark.parametrize(
    "weights",
    ["keras/ckpt", "keras", "keras/ckpt.index", "keras/ckpt.data-00000-of-00001", "objects/ckpt-1", "objects"],
)
def test_checkpoints_of_keras_2(weights):
    check(JSON, PARTS / weights)


def test_checkpoints_of_keras_3():
    """Keras 3 does not track the cells of stacked cells: their weights are not in its checkpoint."""
    check(JSON, PARTS / "keras_3" / "ckpt-1", layers=("conv2d", "norm", "inner", "both", "heads"))
    with (
        actviz.open(JSON, weights=PARTS / "keras_3") as network,
        pytest.raises(ModelError, match='weights of layer "stacked" are missing'),
    ):
        network.activations(BATCH, "stacked")


def rewritten(folder, change):
    """Write the checkpoint of Keras 2 again, its object graph and its tensors by key changed by a function."""
    import tensorflow as tf
    from tensorflow.core.protobuf.trackable_object_graph_pb2 import TrackableObjectGraph

    reader = tf.train.load_checkpoint(str(PARTS / "keras" / "ckpt"))
    tensors = {key: reader.get_tensor(key) for key in reader.get_variable_to_shape_map()}
    graph = TrackableObjectGraph.FromString(tensors[OBJECT_GRAPH])
    change(graph, tensors)
    tensors = {OBJECT_GRAPH: graph.SerializeToString(), **{k: v for k, v in tensors.items() if k != OBJECT_GRAPH}}
    tf.raw_ops.SaveV2(
        prefix=str(folder / "w"),
        tensor_names=list(tensors),
        shape_and_slices=[""] * len(tensors),
        tensors=list(tensors.values()),
    )
    return folder / "w"


def child(graph, *names):
    number = 0
    for name in names:
        number = next(child.node_id for child in graph.nodes[number].children if child.local_name == name)
    return graph.nodes[number]


KERNEL = "layer_with_weights-0/kernel/.ATTRIBUTES/VARIABLE_VALUE"


def loop(graph, _):
    layer = next(child for child in graph.nodes[0].children if child.local_name == "layer-1").node_id
    for node in graph.nodes:
        node.children.add(node_id=0, local_name="cell")
        node.children.add(node_id=layer, local_name="layer")


def outside(graph, _):
    child(graph, "layer-1").children[0].node_id = 10**6


def shorter(graph, tensors):
    del tensors, graph.nodes[0].children[2:4]


def other_shape(_, tensors):
    tensors[KERNEL] = np.zeros((3, 3, 2, 4), "f4")


def text_weight(_, tensors):
    tensors[KERNEL] = np.array([b"a"], object)


def without_weight(_, tensors):
    del tensors[KERNEL]


def unknown_weight(graph, _):
    child(graph, "layer-1").children[0].local_name = "another"


@threat(139, 4)
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (loop, 'weights "(cell|layer)" that layer "conv2d" does not have'),
        (outside, "the graph of objects in the checkpoint is damaged"),
        (shorter, 'holds no weights for layer "'),
        (other_shape, r'layer "conv2d" has the shape \(3, 3, 2, 4\)'),
        (text_weight, 'layer "conv2d"'),
        (without_weight, f'the variable "{KERNEL}" is missing'),
        (unknown_weight, 'weights "another" that layer "conv2d" does not have'),
    ],
)
def test_hostile_checkpoints(tmp_path, change, message):
    with pytest.raises(ModelError, match=message):
        check(JSON, rewritten(tmp_path, change), layers=("conv2d", "norm"))


@pytest.fixture
def checkpoint(tmp_path):
    shutil.copytree(PARTS / "keras", tmp_path / "w")
    return tmp_path / "w"


@pytest.mark.parametrize("latest", ["../../etc/passwd", "/etc/passwd", "\\x00", "", "a" * 5000])
def test_the_latest_checkpoint_is_in_its_folder(checkpoint, latest):
    (checkpoint / "checkpoint").write_text(f'model_checkpoint_path: "{latest}"\n')
    check(JSON, checkpoint, layers=("conv2d",))  # the only checkpoint that there is
    (checkpoint / "other.index").write_bytes(b"")
    with pytest.raises(ModelError, match=r"several checkpoints \(ckpt, other\); name one"):
        actviz.open(JSON, weights=checkpoint)


def test_a_checkpoint_moved_with_its_absolute_path(checkpoint):
    (checkpoint / "other.index").write_bytes(b"")
    (checkpoint / "checkpoint").write_text('model_checkpoint_path: "/where/it/was/trained/ckpt"\n')
    check(JSON, checkpoint, layers=("conv2d",))


@threat(140, 4)
def test_damaged_checkpoints(checkpoint, tmp_path):
    shard, index = checkpoint / "ckpt.data-00000-of-00001", checkpoint / "ckpt.index"
    whole = index.read_bytes()
    shard.write_bytes(shard.read_bytes()[:-100])  # the index declares more than the file has
    with pytest.raises(ModelError, match="truncated or damaged"):
        check(JSON, checkpoint)
    shard.unlink()
    with pytest.raises(ModelError, match=r"a file of the checkpoint is missing \(no ckpt\.data-00000-of-00001\)"):
        check(JSON, checkpoint)
    shard.symlink_to("/etc/passwd")
    with pytest.raises(UnsafeError, match="is a link"):
        check(JSON, checkpoint)
    for content in (b"", whole[:50], whole[:-1] + b"x", bytes(len(whole))):
        index.write_bytes(content)
        with pytest.raises(ModelError, match=r"ckpt\.index is truncated or damaged"):
            actviz.open(JSON, weights=checkpoint)
    (tmp_path / "empty").mkdir()
    with pytest.raises(ModelError, match="no checkpoint"):
        actviz.open(JSON, weights=tmp_path / "empty")


def test_checkpoints_of_other_models(today):
    with pytest.raises(ModelError, match="holds a model of 11 layers; one model of 3 layers, as in the architecture"):
        actviz.open(today[0] / "m.json", weights=PARTS / "keras")


@pytest.mark.parametrize("quantization", ["", "_float16", "_uint8", "_uint16"])
def test_tensorflow_js(quantization):
    check(PARTS / f"tfjs{quantization}", expected=f"tfjs{quantization}")


@pytest.fixture
def tfjs(tmp_path):
    shutil.copytree(PARTS / "tfjs", tmp_path / "m")
    return tmp_path / "m"


def change(folder, function):
    content = json.loads((folder / "model.json").read_text())
    function(content["weightsManifest"][0], content)
    (folder / "model.json").write_text(json.dumps(content))


@threat(137, 5)
@pytest.mark.parametrize("path", ["../x.bin", "/etc/passwd", "a/../../x", "https://x.org/a.bin", "..\\x", "", "a\0b"])
def test_shards_of_tensorflow_js_stay_in_the_folder(tfjs, path):
    (tfjs.parent / "x.bin").write_bytes(bytes(10_000))
    change(tfjs, lambda group, _: group.update(paths=[path]))
    with pytest.raises(UnsafeError, match="outside the folder of the model"):
        actviz.open(tfjs / "model.json")


@threat(138, 4)
@pytest.mark.parametrize(
    ("function", "message"),
    [
        (lambda group, _: group["weights"][0].update(shape=[10**9, 10**9]), "lies beyond the end of its files"),
        (lambda group, _: group["weights"][0].update(shape=[-1, 4]), "no shape of whole numbers"),
        (lambda group, _: group["weights"][0].update(shape=[True, 4]), "no shape of whole numbers"),
        (lambda group, _: group["weights"][0].update(shape="12"), "no shape of whole numbers"),
        (lambda group, _: group["weights"][0].update(dtype="string"), "holds string, which is not read"),
        (
            lambda group, _: group["weights"][0].update(quantization={"dtype": "int32"}),
            "holds int32, which is not read",
        ),
        (lambda group, _: group["weights"][0].update(quantization={"dtype": "uint8"}), "malformed"),
        (lambda group, _: group["weights"][0].update(name="nothing/kernel"), "of a layer that the model does not have"),
        (lambda group, _: group["weights"][0].update(name=group["weights"][1]["name"]), "several layers may mean"),
        (lambda group, _: group["weights"][0].update(name="/" * 10**5), "does not have"),
        (lambda group, _: group["weights"][1].update(shape=[4, 6]), 'layer "both" has the shape'),
        (lambda group, _: group["weights"].pop(), 'layer "stacked" has 6 weights, the file holds 5'),
        (lambda group, _: group["paths"].pop(), "lies beyond the end"),
        (lambda group, _: group["paths"].append("none.bin"), '"none.bin" is missing'),
        (lambda group, _: group.update(paths=3), "malformed"),
        (lambda _, whole: whole.update(weightsManifest=[None]), "malformed"),
        (lambda _, whole: whole.update(modelTopology=3), "malformed"),
        (lambda _, whole: whole.update(format="graph-model"), "give the SavedModel or Keras file"),
    ],
)
def test_hostile_models_of_tensorflow_js(tfjs, function, message):
    change(tfjs, function)
    with pytest.raises(ModelError, match=message):
        check(tfjs, expected="tfjs")


@threat(137, 5)
def test_links_beside_a_model_of_tensorflow_js(tfjs):
    (tfjs / "group1-shard1of2.bin").rename(tfjs.parent / "x.bin")
    (tfjs / "group1-shard1of2.bin").symlink_to(tfjs.parent / "x.bin")
    with pytest.raises(UnsafeError, match="is a link"):
        actviz.open(tfjs)


def test_json_that_holds_json(tmp_path):
    (tmp_path / "m.json").write_text(json.dumps(JSON.read_text()))
    check(tmp_path / "m.json", PARTS / "parts.h5", layers=("conv2d",))
    with pytest.raises(ModelError, match="give them with weights="):
        actviz.open(tmp_path / "m.json")
    for content in ('"{"', '"3"', '"' + "[" * 10**5 + '"', '"\\ud800"'):
        (tmp_path / "m.json").write_text(content)
        with pytest.raises(ModelError, match=r"^m\.json: "):
            actviz.open(tmp_path / "m.json", weights=PARTS / "parts.h5")


def test_yaml_is_refused_with_the_lines_that_convert_it(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    pair = "pair: !!python/tuple\n- 1\n- 2\n"  # Keras wrote tuples
    (tmp_path / "it's.yaml").write_text(
        "".join(f"{key}: {json.dumps(value)}\n" for key, value in json.loads(JSON.read_text()).items()) + pair
    )
    for weights in (None, PARTS / "parts.h5"):
        with pytest.raises(ModelError, match="architectures in YAML are not read") as refused:
            actviz.open("it's.yaml", weights=weights)
    pytest.importorskip("yaml")
    command = shlex.split(str(refused.value).partition("with: ")[2].rpartition(" (pip")[0])
    subprocess.run([sys.executable, *command[1:]], check=True)
    check(tmp_path / "model.json", PARTS / "parts.h5", layers=("conv2d",))


def test_refusals_name_the_next_step(tmp_path):
    (tmp_path / "m.onnx").write_bytes(b"\x08\x08\x12\x07pytorch" + bytes(100))
    shutil.copy(PARTS / "parts.h5", tmp_path / "w.h5")
    shutil.copy(PARTS / "keras" / "ckpt.index", tmp_path)
    shutil.copytree(PARTS / "keras", tmp_path / "saved")
    (tmp_path / "x.bin").write_bytes(b"\1\2\3" * 100)
    with zipfile.ZipFile(tmp_path / "hand.task", "w") as archive:
        archive.writestr("hand_detector.tflite", b"x")
    steps = {
        "m.onnx": r"onnx2tf -i m\.onnx",
        "w.h5": 'weights="w.h5"',
        "ckpt.index": 'checkpoint.*weights="ckpt"',
        "saved": 'checkpoints.*weights="saved"',
        "x.bin": r"a model \(\.keras, \.h5, \.pb, \.tflite, model\.json of TensorFlow\.js, or the folder of a SavedModel\) was",
        "hand.task": r"TFLite models \(hand_detector\.tflite\); unpack it with: unzip hand\.task",
    }
    for name, step in steps.items():
        with pytest.raises(ModelError, match=step):
            actviz.open(tmp_path / name)

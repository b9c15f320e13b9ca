"""What older versions of Keras wrote and today's classes do not know, against values of Keras or of its old formulas."""

import copy
import json
import shutil

import corpus
import h5py
import numpy as np
import pytest

from actviz.errors import ModelError
from actviz.formats import open_network
from actviz.formats.keras.canonical import canonical

pytestmark = pytest.mark.tensorflow
QUERY, VALUE = np.random.default_rng(0).normal(size=(2, 2, 4, 3)).astype(np.float32)


def attention_file(path, kind, arguments):
    """Write a model as TensorFlow 2.4 did: one attention layer, called on a query and a value of four steps."""
    sources = [
        {
            "class_name": "InputLayer",
            "config": {"batch_input_shape": [None, 4, 3], "dtype": "float32", "sparse": False, "name": name},
            "name": name,
            "inbound_nodes": [],
        }
        for name in ("query", "value")
    ]
    config = {"name": "attention", "trainable": True, "dtype": "float32", "dropout": 0.0, **arguments}
    nodes = [[["query", 0, 0, {}], ["value", 0, 0, {}]]]
    layer = {"class_name": kind, "config": config, "name": "attention", "inbound_nodes": nodes}
    outer = {
        "name": "m",
        "layers": [*sources, layer],
        "input_layers": [["query", 0, 0], ["value", 0, 0]],
        "output_layers": [["attention", 0, 0]],
    }
    with h5py.File(path, "w") as file:
        file.attrs["keras_version"] = "2.4.0"
        file.attrs["model_config"] = json.dumps({"class_name": "Functional", "config": outer})
        weights = file.create_group("model_weights")
        weights.attrs["layer_names"] = [b"query", b"value", b"attention"]
        for name in ("query", "value", "attention"):
            weights.create_group(name).attrs["weight_names"] = [] if name != "attention" else [b"attention/scale:0"]
        scale = np.float32(1.3) if kind == "Attention" else np.float32([0.5, -1, 2])
        weights["attention"].create_dataset("attention/scale:0", data=scale)
    return path


def attention(kind, *, causal):
    """Return output and scores by the formula of TensorFlow 2.4."""
    if kind == "Attention":
        scores = np.einsum("bqd,bvd->bqv", QUERY, VALUE) * np.float32(1.3)
    else:
        scores = (np.tanh(QUERY[:, :, None] + VALUE[:, None]) * np.float32([0.5, -1, 2])).sum(-1)
    if causal:
        scores = scores - 1e9 * (1 - np.tri(4, dtype=np.float32))
    weights = np.exp(scores - scores.max(-1, keepdims=True))
    weights /= weights.sum(-1, keepdims=True)
    return weights @ VALUE, weights


@pytest.mark.parametrize("kind", ["Attention", "AdditiveAttention"])
@pytest.mark.parametrize("causal", [False, True])
def test_causal_attention_of_tensorflow_2_4_is_causal(tmp_path, kind, causal):
    with open_network(attention_file(tmp_path / "m.h5", kind, {"use_scale": True, "causal": causal})) as network:
        found = network.activations({"query": QUERY, "value": VALUE}, ["attention", "attention@scores"])
    output, scores = attention(kind, causal=causal)
    np.testing.assert_allclose(found["attention"].values, output, atol=1e-6)
    np.testing.assert_allclose(found["attention@scores"].values, scores, atol=1e-6)


def test_a_causal_layer_that_is_not_called_by_itself_is_refused():
    inner = {"class_name": "Attention", "config": {"name": "a", "use_scale": False, "causal": True}}
    layers = [{"class_name": "TimeDistributed", "config": {"name": "t", "layer": inner}}]
    model = {"class_name": "Sequential", "config": {"name": "m", "layers": layers}}
    with pytest.raises(ModelError, match="a Attention layer has causal=True"):
        canonical(model, "2.4.0", "m.h5")
    inner["config"]["causal"] = False
    assert "causal" not in str(canonical(copy.deepcopy(model), "2.4.0", "m.h5"))


@pytest.mark.parametrize(("version", "flat"), [("2.0.9", True), ("2.1.6", False), ("2.1.6-tf", False)])
def test_a_sequential_that_starts_with_a_model_lists_the_layers_of_it_as_its_writer_did(tmp_path, version, flat):
    source = corpus.DATA / "keras209_tf115" / "a04d_seq_base_first.h5"
    path = tmp_path / "m.h5"
    shutil.copy(source, path)
    with h5py.File(path, "r+") as file:
        for group in (file, file["model_weights"]):
            if "keras_version" in group.attrs:
                group.attrs["keras_version"] = version
    with np.load(corpus.expected(source)) as truth, open_network(path) as network:
        assert [spec.name for spec in network.inputs] == ["base_in" if flat else "base_input"]
        found = network.activations({network.inputs[0].name: truth["in:0:base_in"]})
        inside = {"base_in", "conv1", "bn1", "act1", "conv2"}
        for key in truth.files:
            name = key.removeprefix("act:")
            if key.startswith("act:"):
                address = f"base/{name}" if name in inside and not flat else name
                np.testing.assert_allclose(found[address].values, truth[key], atol=1e-5, err_msg=address)


@pytest.mark.filterwarnings("ignore")
def test_a_nested_model_that_holds_an_operation_opens_from_h5(tmp_path):
    """An operation is known to have no weights, so that the Normalization beside it is read before anything is built."""
    import keras

    given = keras.Input((4, 4, 3), name="given")
    normalized = keras.layers.Normalization(name="norm")
    swapped = keras.ops.transpose(normalized(given), (0, 2, 1, 3))
    inner = keras.Model(given, keras.layers.UnitNormalization()(swapped), name="inner")
    picture = np.random.default_rng(0).random((2, 4, 4, 3), np.float32)
    normalized.adapt(picture)
    outer = keras.Input((4, 4, 3), name="picture")
    model = keras.Model(outer, keras.ops.multiply(inner(outer), 2.0))
    model.save(tmp_path / "m.h5")
    with open_network(tmp_path / "m.h5") as network:
        arithmetic = next(item for item in network.facts.operations if item.kind == "Arithmetic")
        found = network.activations({"picture": picture})
    deviation = np.sqrt(normalized.variance.numpy().ravel())
    np.testing.assert_allclose(arithmetic.numbers["scale"], 1 / deviation, rtol=1e-5)
    np.testing.assert_array_equal(found["inner"].values, inner(picture).numpy())
    np.testing.assert_array_equal(found["multiply"].values, model(picture).numpy())

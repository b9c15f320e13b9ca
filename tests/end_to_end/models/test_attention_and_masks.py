"""What Keras keeps beside an output: the scores of attention, and which steps count."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image

import actviz
from actviz.formats.axes import axes_of, input_axes

TOKENS = np.array([[3, 4, 5, 6, 0, 0], [7, 8, 0, 0, 0, 0]], dtype="int32")


@pytest.fixture(scope="module")
def model():
    import keras

    keras.utils.set_random_seed(1)
    tokens = keras.Input((6,), dtype="int32", name="tokens")
    embedded = keras.layers.Embedding(20, 8, mask_zero=True, embeddings_initializer="normal", name="embedded")(tokens)
    both = keras.layers.MultiHeadAttention(3, 4, name="both")(embedded, embedded)
    grouped = keras.layers.GroupQueryAttention(4, 4, 2, name="grouped")(both, both)
    plain = keras.layers.Attention(name="plain")([grouped, both])
    steps = keras.layers.Bidirectional(keras.layers.LSTM(3, return_sequences=True), name="steps")(plain)
    return keras.Model(tokens, keras.layers.Dense(2, name="out")(steps))


@pytest.fixture(scope="module")
def network(model, tmp_path_factory):
    path = tmp_path_factory.mktemp("attention") / "m.keras"
    model.save(path)
    with actviz.open(path) as opened:
        yield opened


@pytest.mark.filterwarnings("ignore:.*mask")  # Keras's own, about its layers inside
def test_scores_are_those_of_keras_and_leave_the_output_as_it_is(model, network):
    import keras

    names = ["embedded", "both", "grouped", "plain", "steps", "out"]
    expected = dict(
        zip(names, keras.Model(model.input, [model.get_layer(name).output for name in names])(TOKENS), strict=True)
    )
    whole = network.activations(TOKENS, [*names, "both@scores", "grouped@scores", "plain@scores"])
    for name in names:
        np.testing.assert_array_equal(whole[name].values, expected[name].numpy())
        np.testing.assert_array_equal(network.activations(TOKENS, [name])[name].values, whole[name].values)

    embedded = model.get_layer("embedded")(keras.ops.convert_to_tensor(TOKENS))
    _, scores = model.get_layer("both")(embedded, embedded, return_attention_scores=True)
    np.testing.assert_allclose(whole["both@scores"].values, scores, atol=1e-6)
    both = expected["both"]
    both._keras_mask = keras.ops.not_equal(TOKENS, 0)
    _, scores = model.get_layer("grouped")(both, both, return_attention_scores=True)
    np.testing.assert_allclose(whole["grouped@scores"].values, scores, atol=1e-6)
    assert whole["both@scores"].axes == ("batch", "head", "query", "key")
    assert whole["plain@scores"].axes == ("batch", "query", "key")
    np.testing.assert_allclose(whole["both@scores"].values[TOKENS[:, None].repeat(3, 1) != 0].sum(-1), 1, atol=1e-5)


@pytest.mark.filterwarnings("ignore:.*mask")
def test_scores_do_not_need_flash_attention_to_be_off(model, network):
    import keras

    keras.config.enable_flash_attention()
    try:
        found = network.activations(TOKENS, ["both@scores"])["both@scores"].values
    finally:
        keras.config.disable_flash_attention()
    np.testing.assert_array_equal(found, network.activations(TOKENS, ["both@scores"])["both@scores"].values)


@pytest.mark.filterwarnings("ignore:.*mask")
def test_scores_are_listed_and_computed_only_when_asked_for(network):
    told = {layer.address: layer for layer in network.layers}
    assert told["both@scores"].shape == (None, 3, 6, 6)
    assert told["grouped@scores"].shape == (None, 4, 6, 6)
    assert told["plain@scores"].shape == (None, 6, 6)
    assert told["both@scores"].index is None
    assert not [address for address in network.activations(TOKENS) if address.endswith("@scores")]
    for wanted in ("both", str(told["both"].index), "@MultiHeadAttention"):
        assert list(network.activations(TOKENS, [wanted])) == ["both"]


@pytest.mark.filterwarnings("ignore:.*mask")
def test_scores_that_a_layer_returns_are_described_as_scores(tmp_path):
    import keras

    given = keras.Input((7, 8), name="given")
    calls = {
        "many": keras.layers.MultiHeadAttention(3, 4, name="many"),
        "grouped": keras.layers.GroupQueryAttention(4, 4, 2, name="grouped"),
    }
    outputs = [layer(given, given, return_attention_scores=True) for layer in calls.values()]
    outputs += [
        keras.layers.Attention(name="plain")([given, given], return_attention_scores=True),
        keras.layers.AdditiveAttention(name="added")([given, given], return_attention_scores=True),
    ]
    keras.Model(given, [tensor for pair in outputs for tensor in pair]).save(tmp_path / "m.keras")
    values = np.random.default_rng(1).normal(size=(1, 7, 8)).astype(np.float32)
    with actviz.open(tmp_path / "m.keras") as network:
        for name, rank in (("many", 4), ("grouped", 4), ("plain", 3), ("added", 3)):
            axes = ("batch", "head", "query", "key") if rank == 4 else ("batch", "query", "key")
            listed = {layer.address: layer for layer in network.layers}
            assert listed[f"{name}@1"].axes == axes
            assert len(listed[f"{name}@1"].shape) == rank
            found = network.activations(values, [f"{name}@0", f"{name}@1"])
            assert found[f"{name}@0"].axes == ("batch", "step", "unit")
            assert found[f"{name}@1"].axes == axes
            assert found[f"{name}@1"].bounds == (0.0, 1.0)


@pytest.mark.filterwarnings("ignore:.*mask")
def test_scores_of_both_formats_are_the_same(model, network, tmp_path):
    import keras

    keras.Model(model.input, model.get_layer("both").output).save(tmp_path / "m.h5")
    with actviz.open(tmp_path / "m.h5") as other:
        found = other.activations(TOKENS, ["both@scores"])["both@scores"].values
    np.testing.assert_array_equal(found, network.activations(TOKENS, ["both@scores"])["both@scores"].values)


@pytest.mark.filterwarnings("ignore:.*mask")
def test_masks_come_with_the_layers_that_have_one(network):
    found = network.activations(TOKENS, ["tokens", "embedded", "both", "both@scores", "steps"])
    for name in ("embedded", "both", "steps"):
        np.testing.assert_array_equal(found[name].mask, TOKENS != 0)
    assert found["tokens"].mask is None
    assert found["both@scores"].mask is None


@pytest.mark.slow
def test_scores_and_masks_reach_the_command(actviz, model, tmp_path):
    model.save(tmp_path / "m.keras")
    np.save(tmp_path / "x.npy", TOKENS[:1])
    ran = actviz("show", "m.keras", "x.npy", "-l", "both@scores,embedded", "-o", "out/", "-q")
    assert (ran.code, ran.err) == (0, "")
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    numbers = {figure["address"]: figure["numbers"] for figure in manifest["figures"]}
    assert numbers["embedded"]["masked"] == 2
    assert numbers["both@scores"]["axes"] == {"tiles": ["head"], "down": "query", "across": "key"}
    for figure in manifest["figures"]:
        with Image.open(tmp_path / "out" / figure["file"]) as image:
            assert image.mode == "RGB"


def inside(kind, **config):
    return {"layer": {"class_name": kind, "config": config}}


@pytest.mark.parametrize(
    ("kind", "config", "rank", "given", "expected"),
    [
        ("Conv1D", {}, 3, "step unit", "step unit"),
        ("Conv1D", {"data_format": "channels_first"}, 3, "unit step", "unit step"),
        ("Conv2DTranspose", {"data_format": "channels_first"}, 4, "", "channel row column"),
        ("Conv3D", {}, 5, "", "plane row column channel"),
        ("MaxPooling3D", {"data_format": "channels_first"}, 5, "", "channel plane row column"),
        ("LSTM", {"return_sequences": True}, 3, "row column", "step unit"),
        ("GRU", {}, 2, "step unit", "unit"),
        ("Embedding", {}, 3, "step", "step unit"),
        ("Embedding", {}, 4, "step unit", "axis1 step unit"),
        ("ConvLSTM2D", {"return_sequences": True}, 5, "", "step row column channel"),
        ("ConvLSTM2D", {"data_format": "channels_first"}, 4, "", "channel row column"),
        ("ConvLSTM1D", {"return_sequences": True}, 4, "", "step column channel"),
        ("TimeDistributed", inside("Conv2D"), 5, "plane row column channel", "step row column channel"),
        ("TimeDistributed", inside("Flatten"), 3, "step row column channel", "step unit"),
        ("TimeDistributed", inside("Dense"), 3, "step unit", "step unit"),
        ("TimeDistributed", inside("Dropout"), 5, "step row column channel", "step row column channel"),
        ("TimeDistributed", inside("LSTM", return_sequences=True), 4, "row column channel", "axis1 step unit"),
        ("Bidirectional", inside("LSTM", return_sequences=True), 3, "step unit", "step unit"),
        ("Bidirectional", inside("ConvLSTM2D"), 4, "", "row column channel"),
        ("MultiHeadAttention", {}, 3, "step unit", "step unit"),
        ("Permute", {"dims": [3, 1, 2]}, 4, "row column channel", "channel row column"),
        ("Reshape", {}, 4, "unit", "row column channel"),
        ("Reshape", {}, 7, "unit", "axis1 axis2 axis3 axis4 axis5 axis6"),
    ],
)
def test_axes_of_classes(kind, config, rank, given, expected):
    before = [("batch", *given.split())] if given else []
    assert axes_of(kind, config, (None,) * rank, before) == ("batch", *expected.split())


@pytest.mark.parametrize(
    ("rank", "kinds", "first", "expected"),
    [
        (2, {"Embedding"}, False, "step"),
        (2, {"Dense"}, False, "unit"),
        (4, {"Conv2D"}, True, "channel row column"),
        (3, {"Conv1D"}, True, "unit step"),
        (5, {"ConvLSTM2D"}, False, "step row column channel"),
        (5, {"ConvLSTM2D"}, True, "step channel row column"),
        (5, {"TimeDistributed"}, False, "step row column channel"),
        (5, {"Conv3D"}, True, "channel plane row column"),
    ],
)
def test_axes_of_inputs_by_who_reads_them(rank, kinds, first, expected):
    assert input_axes((None,) * rank, kinds, first=first) == ("batch", *expected.split())

"""The order of steps: layers inside a Bidirectional in reading order, others as Keras defines them and named so."""

from dataclasses import replace

import numpy as np
import pytest
from late_imports import keras, layers, tf

from actviz.activations import ArrayEntry as Stored
from actviz.activations import layers_metadata
from actviz.activations.metadata_json import from_json, to_json
from actviz.errors import InputError
from actviz.figures import renderers
from actviz.figures.sheet import draw_sheet
from actviz.formats import open_network
from actviz.formats.keras.graph import CallNode, LayerNode
from actviz.formats.keras.step_order import (
    Operation,
    combined_order,
    operation_step_orders,
    reversed_order,
    reverses,
    reverses_steps,
)
from actviz.records import FORWARD, MIXED, REVERSED, Activation, Context, Style
from actviz.system import serialization

WORDS = np.array([[3, 5, 7, 9, 2, 0, 0], [1, 2, 3, 4, 5, 6, 7]], dtype="int32")


def network():
    """Return a model with masks whose recurrent layers run in every direction."""
    keras.utils.clear_session()  # operations get the names that the tests know
    keras.utils.set_random_seed(3)
    words = keras.Input((7,), dtype="int32", name="words")
    embedded = layers.Embedding(20, 4, mask_zero=True, name="embedded")(words)
    back = layers.GRU(3, return_sequences=True, go_backwards=True, name="back")(embedded)
    dense = layers.Dense(3, name="dense")(back)
    forward = layers.GRU(3, return_sequences=True, name="forward")(embedded)
    read = layers.SimpleRNN(3, return_sequences=True, go_backwards=True, name="first")
    other = layers.SimpleRNN(3, return_sequences=True, name="second")
    outputs = {
        "flipped": keras.ops.flip(dense, axis=1),
        "sliced": back[:, ::-1],
        "mixed": layers.Add(name="mixed")([forward, back]),
        "again": layers.LSTM(2, return_sequences=True, go_backwards=True, name="again")(back),
        "concat": layers.Bidirectional(layers.LSTM(3, return_sequences=True, name="lstm"), name="concat")(embedded),
        "sum": layers.Bidirectional(layers.GRU(3, return_sequences=True, name="gru"), "sum", name="sum")(embedded),
        "turned": layers.Bidirectional(read, backward_layer=other, name="turned")(embedded),
        "last": layers.Bidirectional(layers.LSTM(3, name="lstm"), name="last")(embedded),
    }
    outputs["each"] = layers.TimeDistributed(layers.Dense(2, name="dense"), name="each")(embedded)
    apart = layers.Bidirectional(
        layers.GRU(3, return_sequences=True, return_state=True, name="gru"), None, name="apart"
    )
    return keras.Model(words, [*outputs.values(), *apart(embedded)])


@pytest.fixture(scope="module", params=[".keras", ".h5"])
def found(request, tmp_path_factory):
    path = tmp_path_factory.mktemp("models") / f"model{request.param}"
    network().save(path)
    with open_network(path) as opened:
        return opened.activations({"words": WORDS})


@pytest.mark.tensorflow
@pytest.mark.parametrize(
    ("outer", "forward", "backward"),
    [("concat", "forward_lstm", "backward_lstm"), ("turned", "forward_first", "backward_second")],
)
def test_both_halves_are_those_of_the_concatenated_output(found, outer, forward, backward):
    whole = found[outer].values
    np.testing.assert_array_equal(found[f"{outer}/{forward}"].values, whole[..., :3])
    np.testing.assert_array_equal(found[f"{outer}/{backward}"].values, whole[..., 3:])


@pytest.mark.tensorflow
def test_halves_add_up_to_the_sum(found):
    both = found["sum/forward_gru"].values + found["sum/backward_gru"].values
    np.testing.assert_allclose(both, found["sum"].values, atol=1e-6)


@pytest.mark.tensorflow
def test_halves_apart_keep_their_states_as_they_are(found):
    np.testing.assert_array_equal(found["apart/backward_gru@0"].values, found["apart@1"].values)
    np.testing.assert_array_equal(found["apart/backward_gru@1"].values, found["apart@3"].values)


@pytest.mark.tensorflow
def test_halves_without_sequences_stay_as_they_are(found):
    np.testing.assert_array_equal(found["last/backward_lstm"].values, found["last"].values[:, 3:])
    assert found["last/backward_lstm"].step_order == FORWARD


@pytest.mark.tensorflow
@pytest.mark.parametrize(
    "address", ["concat", "concat/forward_lstm", "concat/backward_lstm", "sum/backward_gru", "each", "each/dense"]
)
def test_halves_have_the_masks_of_their_words(found, address):
    np.testing.assert_array_equal(found[address].mask, WORDS != 0)
    assert found[address].step_order == FORWARD


@pytest.mark.tensorflow
@pytest.mark.parametrize("address", ["back", "turned", "turned/forward_first", "turned/backward_second"])
def test_steps_in_processing_order_say_so_with_the_mask_that_they_had(found, address):
    np.testing.assert_array_equal(found[address].mask, (WORDS != 0)[:, ::-1])
    assert found[address].step_order == REVERSED
    # A masked step repeats the one before it, or gives nothing at the beginning.
    np.testing.assert_array_equal(found[address].values[0, :2], 0)


@pytest.mark.tensorflow
@pytest.mark.parametrize(
    ("address", "order"),
    [
        ("embedded", FORWARD),
        ("dense", REVERSED),
        ("flip", FORWARD),
        ("get_item", FORWARD),
        ("mixed", MIXED),
        ("again", FORWARD),
    ],
)
def test_layers_behind_inherit_the_order_until_it_is_reversed_again(found, address, order):
    assert found[address].step_order == order


def test_a_reversal_in_a_slice_of_an_old_file_is_recognised():
    spec = [{"start": None, "stop": None, "step": None}, {"start": None, "stop": None, "step": -1}]
    entry = LayerNode("slice", "slice", "SlicingOpLambda", "keras", {"function": "__operators__.getitem"}, 1, "", 1)
    assert reverses(entry, CallNode("slice", "slice", [], {"slice_spec": spec}))
    assert not reverses(entry, CallNode("slice", "slice", [], {"slice_spec": spec[::-1]}))
    entry = LayerNode("flip", "flip", "TFOpLambda", "keras", {"function": "reverse"}, 1, "", 1)
    assert reverses(entry, CallNode("flip", "flip", [], {"axis": [1]}))
    assert not reverses(entry, CallNode("flip", "flip", [], {"axis": [2]}))


def test_orders_join_and_turn():
    assert combined_order([]) == FORWARD
    assert combined_order([REVERSED, REVERSED]) == REVERSED
    assert combined_order([REVERSED, FORWARD]) == MIXED
    assert reversed_order(MIXED) == MIXED


STEPS = tuple(f"word{number}" for number in range(7))


def drawn(activation, **style):
    return renderers.draw(activation, 1, Context("model", "words", "", steps=STEPS), Style(**style))


def rows_of(picture):
    """Return the words of a sequence figure in the order of their rows."""
    return [
        label.text
        for label in sorted(picture.labels, key=lambda label: label.box)
        if label.text[0].isdigit() and "word" in label.text
    ]


@pytest.mark.tensorflow
def test_words_stand_beside_their_own_steps(found):
    assert rows_of(drawn(found["concat/backward_lstm"])) == [f"{row} word{row}" for row in range(7)]
    assert rows_of(drawn(found["dense"])) == [f"{row} word{6 - row}" for row in range(7)]
    assert rows_of(drawn(found["mixed"])) == []


@pytest.mark.tensorflow
@pytest.mark.parametrize(
    ("address", "note"), [("back", "reversed: step 0"), ("mixed", "order of the steps"), ("concat", "")]
)
def test_figures_say_and_record_the_order(found, address, note):
    picture = drawn(found[address])
    text = " ".join(label.text for label in picture.labels)
    assert (note in text) if note else ("reversed" not in text and "order of the steps" not in text)
    assert picture.numbers.get("step_order", FORWARD) == found[address].step_order


@pytest.mark.tensorflow
def test_a_sheet_says_which_layers_are_reversed(found):
    sheet = draw_sheet([found["back"], found["concat"]], 1, Context("model", "words", ""), Style())
    assert sum("steps reversed" in label.text for label in sheet.labels) == 1


@pytest.mark.tensorflow
def test_extracted_activations_keep_their_order(found):
    entries = {
        address: Stored(
            address, address, found[address].kind, found[address].axes, step_order=found[address].step_order
        )
        for address in ("back", "concat")
    }
    described = replace(layers_metadata("model", {address: found[address] for address in entries}), entries=entries)
    assert from_json(to_json(described), "file").entries == entries


@pytest.mark.tensorflow
def test_an_order_that_is_none_is_refused(found):
    entry = Stored("back", "back", "GRU", found["back"].axes, step_order="sideways")
    text = to_json(replace(layers_metadata("model", {"back": found["back"]}), entries={"back": entry}))
    with pytest.raises(InputError, match="step_order"):
        from_json(text, "file")


@pytest.mark.tensorflow
def test_the_order_travels_between_processes(found):
    content, arrays = serialization.encode(found["back"])
    assert serialization.decode(content, Activation, arrays).step_order == REVERSED


def exported(folder):
    """Return a graph with masks, one without in two formats, and the Keras files that they were made of."""
    words = keras.Input((7,), dtype="int32", name="words")
    masked = keras.Model(words, _both_ways(layers.Embedding(20, 4, mask_zero=True, name="embedded")(words)))
    steps = keras.Input((6, 4), batch_size=1, name="steps")
    plain = keras.Model(steps, _both_ways(steps))
    for name, model in (("masked", masked), ("plain", plain)):
        model.save(folder / f"{name}.keras")
        model.export(folder / name, verbose=False)
    (folder / "plain.tflite").write_bytes(tf.lite.TFLiteConverter.from_keras_model(plain).convert())


def _both_ways(given):
    both = layers.Bidirectional(layers.LSTM(3, return_sequences=True, name="lstm"), name="both")(given)
    back = layers.LSTM(3, return_sequences=True, go_backwards=True, name="back")(both)
    return layers.Dense(2, name="dense")(back)


@pytest.mark.tensorflow
@pytest.mark.slow
def test_exports_and_conversions_have_the_same_order_as_the_keras_file(tmp_path):
    exported(tmp_path)
    feeds = {"masked": {"words": WORDS}, "plain": {"steps": np.random.default_rng(0).random((1, 6, 4), np.float32)}}
    addresses = ["both/forward_lstm", "both/backward_lstm", "both", "back", "dense"]
    for file in ("masked", "plain", "plain.tflite"):
        name = file.partition(".")[0]
        with open_network(tmp_path / file) as graph, open_network(tmp_path / f"{name}.keras") as model:
            graph.complete()
            found, expected = (one.activations(feeds[name], addresses) for one in (graph, model))
        for address in addresses:
            np.testing.assert_allclose(found[address].values, expected[address].values, atol=1e-6)
            assert found[address].step_order == expected[address].step_order, (file, address)


def test_the_order_is_followed_through_a_graph():
    graph = {
        2: Operation("ReverseV2", [1], reverses=True),
        3: Operation("Shape", [1]),
        4: Operation("While", [3, 2]),
        5: Operation("AddV2", [4, 1]),
        6: Operation("ReverseV2", [4], reverses=True),
        7: Operation("Relu", [9]),
    }
    assert operation_step_orders(graph, [1]) == {1: FORWARD, 2: REVERSED, 4: REVERSED, 5: MIXED, 6: FORWARD}
    assert operation_step_orders({1: Operation("Merge", [2]), 2: Operation("NextIteration", [1])}, [0]) == {}


@pytest.mark.parametrize(
    ("axes", "rank", "expected"),
    [([1], 3, True), ([0], 3, True), ([1], 4, False), ([3], 4, False), ([-1], None, False)],
)
def test_which_reversals_are_of_steps(axes, rank, expected):
    assert reverses_steps(axes, rank) is expected

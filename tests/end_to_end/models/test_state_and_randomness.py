"""Every sample begins with the state that the file holds, and random numbers follow from its values alone."""

import json
import os

import numpy as np
import pytest
from late_imports import keras, tf, tf_modules

from actviz.formats import open_network

os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")
RANDOM = np.random.default_rng(5)
SEQUENCES = RANDOM.standard_normal((4, 4, 3)).astype(np.float32)
VOLUMES = RANDOM.standard_normal((3, 2, 5, 5, 2)).astype(np.float32)
VECTORS = np.stack([np.ones(8), np.full(8, 2), np.ones(8)]).astype(np.float32)


def recurrent(kind):
    layers = keras.layers
    return {
        "LSTM": lambda: layers.LSTM(4, stateful=True, return_sequences=True, name="r"),
        "GRU": lambda: layers.GRU(4, stateful=True, name="r"),
        "SimpleRNN": lambda: layers.SimpleRNN(4, stateful=True, name="r"),
        "RNN": lambda: layers.RNN([layers.LSTMCell(4), layers.GRUCell(3)], stateful=True, name="r"),
        "Bidirectional": lambda: layers.Bidirectional(layers.LSTM(4, stateful=True), name="r"),
        "ConvLSTM2D": lambda: layers.ConvLSTM2D(2, 3, stateful=True, name="r"),
    }[kind]()


def stateful_model(kind, path):
    shape = (1, *VOLUMES.shape[1:]) if kind == "ConvLSTM2D" else (2, *SEQUENCES.shape[1:])
    keras.utils.set_random_seed(1)
    model = keras.Sequential([keras.Input(batch_shape=shape), recurrent(kind)])
    model.save(path)
    return VOLUMES if kind == "ConvLSTM2D" else SEQUENCES


def by_keras(path, samples, *, stream):
    """Return what Keras computes of one sample after another: each after loading, or as a stream."""
    found, model = [], None
    for sample in samples:
        if model is None or not stream:
            model = keras.models.load_model(path, compile=False)
        rows = model.inputs[0].shape[0]
        found.append(np.asarray(model(np.repeat(sample[None], rows, 0)))[:1])
    return np.concatenate(found)


def last(network, batch, **how):
    address = network.layers[-1].address
    return network.activations({network.inputs[0].name: batch}, [address], **how)[address].values


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("suffix", ["keras", "h5"])
@pytest.mark.parametrize("kind", ["LSTM", "GRU", "SimpleRNN", "RNN", "Bidirectional", "ConvLSTM2D"])
def test_recurrent_layers_saved_with_their_state(kind, suffix, tmp_path):
    path = tmp_path / f"model.{suffix}"
    samples = stateful_model(kind, path)
    fresh, stream = by_keras(path, samples, stream=False), by_keras(path, samples, stream=True)
    assert np.abs(fresh - stream).max() > 1e-4  # the state matters
    with open_network(path) as network:
        np.testing.assert_allclose(last(network, samples), fresh, atol=1e-6)
        np.testing.assert_allclose(last(network, samples, state="first"), stream, atol=1e-6)
        halves = [last(network, samples[:2], state="first"), last(network, samples[2:], state="next")]
        np.testing.assert_array_equal(np.concatenate(halves), last(network, samples, state="first"))
        np.testing.assert_allclose(last(network, samples, separate=True), fresh, atol=1e-6)
        assert any("stateful=True" in note for note in network.notes)


FRAMES = np.array([[1, 2, 3], [3, -1, 1], [0, 1, 0]], np.float32)


@pytest.mark.parametrize("method", ["step", "loop"])
@pytest.mark.filterwarnings("ignore")
def test_graphs_that_write_variables(method, tmp_path):
    module = tf_modules.Sum()
    tf.saved_model.save(module, tmp_path / "sum", signatures=getattr(module, method))
    other = tf_modules.Sum()
    stream = np.concatenate([getattr(other, method)(tf.constant(frame[None]))["out"].numpy() for frame in FRAMES])
    fresh = []
    for frame in FRAMES:
        other.total.assign(np.full((1, 4), 0.5, np.float32))
        fresh.append(getattr(other, method)(tf.constant(frame[None]))["out"].numpy())
    fresh = np.concatenate(fresh)
    assert not np.allclose(fresh, stream)
    with open_network(tmp_path / "sum") as network:
        for how in ({}, {"separate": True}):
            np.testing.assert_allclose(last(network, FRAMES, **how), fresh, rtol=1e-6)
        np.testing.assert_allclose(last(network, FRAMES, state="first"), stream, rtol=1e-6)


@pytest.mark.filterwarnings("ignore")
def test_tflite_variables(tmp_path):
    module = tf_modules.Sum()
    converter = tf.lite.TFLiteConverter.from_concrete_functions([module.step.get_concrete_function()], module)
    converter.experimental_enable_resource_variables = True
    (tmp_path / "sum.tflite").write_bytes(converter.convert())
    with open_network(tmp_path / "sum.tflite") as network:
        alone = [last(network, frame[None]) for frame in FRAMES]
        np.testing.assert_array_equal(last(network, FRAMES), np.concatenate(alone))
        stream = last(network, FRAMES, state="first")
        np.testing.assert_array_equal(stream[0], alone[0][0])
        assert not np.array_equal(stream[1], alone[1][0])


@pytest.mark.parametrize("form", ["saved", "tflite", "frozen"])
@pytest.mark.parametrize("seed", [None, 7])
@pytest.mark.filterwarnings("ignore")
def test_random_operations_of_a_graph(form, seed, tmp_path):
    from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

    tf.random.set_seed(None)  # an earlier test may have set one, which would be traced into the graph
    module, path = tf_modules.Noisy(seed), tmp_path / ("noisy.tflite" if form == "tflite" else "noisy.pb")
    function = module.call.get_concrete_function()
    if form == "tflite":
        path.write_bytes(tf.lite.TFLiteConverter.from_concrete_functions([function], module).convert())
    elif form == "frozen":
        path.write_bytes(convert_variables_to_constants_v2(function).graph.as_graph_def().SerializeToString())
    else:
        path = tmp_path / "noisy"
        tf.saved_model.save(module, path, signatures=module.call)
    found = []
    for order in ([0, 1, 2], [2, 1, 0]):
        for how in ({}, {"separate": True}):
            with open_network(path) as network:
                found.append(last(network, VECTORS[order], **how)[order])
                notes = " ".join(network.notes)
    for again in found[1:]:
        np.testing.assert_array_equal(again, found[0])
    np.testing.assert_array_equal(found[0][0], found[0][2])  # the same values draw the same numbers
    assert "noise" in notes
    assert "drop" in notes
    if seed is None:
        noise = found[0] - VECTORS @ module.kernel.numpy()
        assert not np.allclose(noise[0], noise[1] / 2)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_streams_on_the_command_line(tmp_path, actviz):
    path = tmp_path / "model.keras"
    stateful_model("LSTM", path)
    np.save(tmp_path / "seq.npy", SEQUENCES)
    np.save(tmp_path / "one.npy", SEQUENCES[:1])
    stream = by_keras(path, SEQUENCES, stream=True)
    done = actviz("extract", path, tmp_path / "seq.npy", "-l", "r", "--stateful", "-o", tmp_path / "x.npz")
    assert (done.code, "each on the state" in done.err) == (0, True)
    with np.load(tmp_path / "x.npz") as found:
        np.testing.assert_allclose(found["r"], stream, atol=1e-6)
    show = ["show", path, tmp_path / "seq.npy", "-l", "r", "--stateful", "-o", tmp_path / "out"]
    assert actviz(*show).code == 0
    before = {file: file.read_bytes() for file in (tmp_path / "out").rglob("*.png")}
    assert len(before) == 4
    (tmp_path / "out" / "seq_2" / "000_r.png").unlink()  # its state is that which the two before it leave
    assert actviz(*show).code == 0
    assert {file: file.read_bytes() for file in (tmp_path / "out").rglob("*.png")} == before
    assert json.loads((tmp_path / "out" / "manifest.json").read_text())["options"]["reading"]["stateful"] is True
    for command in ("show", "extract", "check"):
        refused = actviz(command, path, tmp_path / "one.npy", "--stateful")
        assert (refused.code, "several samples" in refused.error) == (2, True)
    assert actviz(*show, "--shard", "1/2").code == 2
    assert actviz("show", path, "--stateful").code == 2

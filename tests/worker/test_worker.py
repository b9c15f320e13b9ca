import math
import os
import signal
import struct
import threading
from dataclasses import replace

import model_files
import msgspec
import numpy as np
import pytest

from actviz.errors import LimitError, ModelError
from actviz.formats import open_network
from actviz.records import InputOperation, LayerInfo, ModelFacts, TensorSpec
from actviz.system import processes, serialization
from actviz.system.channel import Channel, ClosedError, MalformedError, SilentError
from actviz.worker import ModelOptions, Worker
from actviz.worker.messages import Reply, Request


def pair():
    first, second = os.pipe(), os.pipe()
    return Channel(first[0], second[1]), Channel(second[0], first[1])


ARRAYS = {
    "f": np.arange(12, dtype=np.float32).reshape(3, 4)[:, ::2],
    "half": np.ones((2, 1), np.float16),
    "empty": np.zeros((0, 3)),
    "words": np.array([["a", "\u00fc"]], object),
    "large": np.arange(3_000_000),
}


@pytest.mark.parametrize("address", ["conv", "n\udcffme", "\ud83d"])
def test_records_and_arrays_arrive_as_they_were_sent(address):
    near, far = pair()
    sent = Request("statistics", batch=ARRAYS, addresses=(address,), cuts={address: (-math.inf, np.float32(0.5))})
    thread = threading.Thread(target=near.send, args=(sent,))
    thread.start()
    received = far.receive(Request, 10)
    thread.join()
    assert replace(received, batch={}) == replace(sent, batch={})
    for name, values in ARRAYS.items():
        assert received.batch[name].dtype == values.dtype
        np.testing.assert_array_equal(received.batch[name], values)


def facts_of(count, address="l"):
    spec = TensorSpec("in", (None, 3), "float32", ("batch", "unit"), words=("a",))
    layers = tuple(
        LayerInfo(f"{address}{index}", "n", index, "Dense", (None, 1 << 80), "float32", None, ("batch", "unit"))
        for index in range(count)
    )
    operation = InputOperation("Quantization", {"low": (-math.inf, math.inf), "high": (0.5,)})
    return ModelFacts("m.h5", "h5", "w", ("m",), (spec,), layers, (operation,), (), "0", {"x": "y"}, ("a", "b"))


@pytest.mark.parametrize("address", ["l", "\udc80"])
def test_facts_of_any_name_and_size_are_equal_after_serialization(address):
    facts = facts_of(1_000, address)
    content, arrays = serialization.encode(facts)
    assert not arrays
    assert serialization.decode(content, ModelFacts) == facts


def written(far, headers, content):
    """Write a message as a process that was taken over might."""
    header = msgspec.msgpack.encode((headers, content))
    os.write(far._writer, struct.pack("<Q", len(header)) + header)


@pytest.mark.parametrize(
    ("headers", "content"),
    [
        ([], b""),
        ([], b"m"),
        ([], b"m\xc0"),
        ([], b"j{"),
        ([], b"j" + b"[" * 100_000),
        ([], b"pickle"),
        ([], serialization.encode({"facts": {"file": 1}})[0]),
        ([], serialization.encode({"activations": {"a": {"address": "a", "kind": "k", "values": 0, "axes": []}}})[0]),
        ([], serialization.encode({"activations": {"a": {"address": "a", "kind": "k", "values": "0", "axes": []}}})[0]),
        ([("O", (1,), 0)], serialization.encode({})[0]),
        ([("float32", (3,), 0)], serialization.encode({})[0]),
        ([("string", (3,), 0)], serialization.encode({})[0]),
        ([("float32", (1,), -4)], serialization.encode({})[0]),
        ([("nonsense", (0,), 0)], serialization.encode({})[0]),
        ("no headers", b"m"),
    ],
)
def test_messages_of_a_process_that_was_taken_over_are_malformed(headers, content):
    near, far = pair()
    written(far, headers, content)
    with pytest.raises(MalformedError):
        near.receive(Reply, 1)


def test_a_header_that_is_too_large_is_malformed():
    near, far = pair()
    os.write(far._writer, struct.pack("<Q", 1 << 60))
    with pytest.raises(MalformedError):
        near.receive(Reply, 1)


@pytest.mark.tensorflow
@pytest.mark.parametrize("content", [b"m\xc0", serialization.encode({})[0]])
def test_a_malformed_reply_is_a_limit_and_the_worker_starts_again(samples, content):
    with Worker(ModelOptions(samples / "dense.h5")) as worker:
        receive = worker._channel.receive
        near, far = pair()
        written(far, [], content)
        worker._channel.receive = near.receive
        with pytest.raises(LimitError, match=r"dense\.h5: the model's process sent a malformed reply"):
            worker.facts()
        assert receive is not worker._channel.receive
        assert worker.facts().file == "dense.h5"


def test_silence_and_an_ended_partner_are_told_apart():
    near, far = pair()
    with pytest.raises(SilentError):
        near.receive(Reply, 0.01)
    far.close()
    with pytest.raises(ClosedError):
        near.receive(Reply, 1)
    with pytest.raises(ClosedError):
        near.send(Reply())


@pytest.mark.tensorflow
@pytest.mark.parametrize("make", [model_files.pair, model_files.reader])
def test_facts_arrive_as_they_are(tmp_path, make):
    path = make(tmp_path / "model.keras")
    with open_network(path) as network, Worker(ModelOptions(path)) as worker:
        facts = worker.facts()
        assert facts == network.facts
    assert [spec.limit for spec in facts.inputs] in ([None, None, 6], [None])
    assert all(isinstance(layer.needs, tuple) for layer in facts.layers)


@pytest.mark.tensorflow
@pytest.mark.parametrize("deadly", [signal.SIGSEGV, signal.SIGABRT, signal.SIGKILL])
def test_a_worker_that_dies_is_a_limit_with_its_signal(samples, deadly):
    with Worker(ModelOptions(samples / "dense.h5")) as worker:
        worker.facts()
        os.kill(worker._process.pid, deadly)
        with pytest.raises(LimitError, match=deadly.name):
            worker.facts()


@pytest.mark.tensorflow
def test_a_worker_that_hangs_is_a_limit_and_is_gone(samples):
    with Worker(ModelOptions(samples / "dense.h5", timeout=0.2)) as worker:
        os.kill(worker._process.pid, signal.SIGSTOP)
        with pytest.raises(LimitError, match="timed out"):
            worker.facts()
        assert worker._process.poll() is not None


@pytest.mark.tensorflow
def test_errors_keep_their_class_across_the_channel(tmp_path):
    with Worker(ModelOptions(tmp_path / "missing.h5")) as worker, pytest.raises(ModelError, match="no such model"):
        worker.facts()


@pytest.mark.tensorflow
def test_the_child_sees_no_secrets(samples, monkeypatch):
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "hush")
    with Worker(ModelOptions(samples / "dense.h5")) as worker:
        worker.facts()
        with open(f"/proc/{worker._process.pid}/environ", "rb") as file:
            assert b"hush" not in file.read()


@pytest.mark.tensorflow
def test_a_layer_gets_the_optional_library_that_it_needs(tmp_path):
    """STFTSpectrogram needs scipy, which is not imported with Keras in the worker."""
    keras = pytest.importorskip("keras")
    given = keras.Input((64, 1), name="sound")
    model = keras.Model(given, keras.layers.STFTSpectrogram("log", 16, 8, 16, name="stft")(given))
    model.save(tmp_path / "m.keras")
    sound = np.random.default_rng(0).random((2, 64, 1), np.float32)
    with Worker(ModelOptions(tmp_path / "m.keras")) as worker:
        found = worker.activations({"sound": sound}, ["stft"])
    np.testing.assert_array_equal(found["stft"].values, model(sound).numpy())


def test_a_worker_that_cannot_be_given_its_options_leaves_no_process(tmp_path, monkeypatch):
    started = []
    start = processes.start_python

    def recorded(*arguments, **options):
        result = start(*arguments, **options)
        started.append(result[0])
        return result

    def fail(*_):
        raise MemoryError

    monkeypatch.setattr(processes, "start_python", recorded)
    monkeypatch.setattr(Channel, "send", fail)
    (tmp_path / "m.h5").write_bytes(b"")
    with pytest.raises(MemoryError):
        Worker(ModelOptions(tmp_path / "m.h5"))
    assert [process.returncode is not None for process in started] == [True]

import os
import signal
import threading

import model_files
import numpy as np
import pytest

from actviz.errors import LimitError, ModelError
from actviz.formats import open_network
from actviz.worker import ModelOptions, Worker
from actviz.worker.channel import Channel, ClosedError, SilentError


def pair():
    first, second = os.pipe(), os.pipe()
    return Channel(first[0], second[1]), Channel(second[0], first[1])


def test_messages_and_arrays_arrive_as_they_were_sent():
    near, far = pair()
    sent = {
        "f": np.arange(12, dtype=np.float32).reshape(3, 4)[:, ::2],
        "half": np.ones((2, 1), np.float16),
        "empty": np.zeros((0, 3)),
        "words": np.array([["a", "ü"]], object),
        "large": np.arange(3_000_000),
    }
    thread = threading.Thread(target=near.send, args=({"x": [1, None]}, sent))
    thread.start()
    message, arrays = far.receive(10)
    thread.join()
    assert message == {"x": [1, None]}
    for name, values in sent.items():
        assert arrays[name].dtype == values.dtype
        np.testing.assert_array_equal(arrays[name], values)


def test_silence_and_an_ended_partner_are_told_apart():
    near, far = pair()
    with pytest.raises(SilentError):
        near.receive(0.01)
    far.close()
    with pytest.raises(ClosedError):
        near.receive(1)
    with pytest.raises(ClosedError):
        near.send({})


@pytest.mark.parametrize("make", [model_files.pair, model_files.reader])
def test_facts_arrive_as_they_are(tmp_path, make):
    path = make(tmp_path / "model.keras")
    with open_network(path) as network, Worker(ModelOptions(path)) as worker:
        facts = worker.facts()
        assert facts == network.facts
    assert [spec.limit for spec in facts.inputs] in ([None, None, 6], [None])
    assert all(isinstance(layer.needs, tuple) for layer in facts.layers)


@pytest.mark.parametrize("deadly", [signal.SIGSEGV, signal.SIGABRT, signal.SIGKILL])
def test_a_worker_that_dies_is_a_limit_with_its_signal(samples, deadly):
    with Worker(ModelOptions(samples / "dense.h5")) as worker:
        worker.facts()
        os.kill(worker._process.pid, deadly)
        with pytest.raises(LimitError, match=deadly.name):
            worker.facts()


def test_a_worker_that_hangs_is_a_limit_and_is_gone(samples):
    with Worker(ModelOptions(samples / "dense.h5", timeout=0.2)) as worker:
        os.kill(worker._process.pid, signal.SIGSTOP)
        with pytest.raises(LimitError, match="timed out"):
            worker.facts()
        assert worker._process.poll() is not None


def test_errors_keep_their_class_across_the_channel(tmp_path):
    with Worker(ModelOptions(tmp_path / "missing.h5")) as worker, pytest.raises(ModelError, match="no such model"):
        worker.facts()


def test_the_child_sees_no_secrets(samples, monkeypatch):
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "hush")
    with Worker(ModelOptions(samples / "dense.h5")) as worker:
        worker.facts()
        with open(f"/proc/{worker._process.pid}/environ", "rb") as file:
            assert b"hush" not in file.read()

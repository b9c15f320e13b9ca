"""Rows of the threat table that are no single file: exchanged files, dying parsers, environments."""

import os
import pickle
import re
import socket
import subprocess
import sys
import threading
import time
from importlib import metadata
from pathlib import Path

import hostile_cases
import hostile_files as files
import numpy as np
import pytest
from conftest import ROOT
from hostile_files import dense, functional
from hypothesis import given
from hypothesis import strategies as st
from threats import threat

from actviz.errors import LimitError, ModelError, UnsafeError, UsageError
from actviz.formats import open_network
from actviz.formats.keras import make_layer, memory_estimate
from actviz.formats.keras.memory_estimate import bytes_of, check_output, check_parameters, grouped
from actviz.gate import MAXIMUM_LAYERS, TrustPolicy
from actviz.system.resource_limits import machine_memory, memory_limit, memory_used
from actviz.worker import ModelOptions, Worker


def case(name):
    return next(case for case in hostile_cases.CASES if case.id == name)


def good(path):
    return (files.hdf5 if path.suffix == ".h5" else files.keras)(path, functional(dense()))


def batch():
    return {"in": np.ones((1, 4), np.float32)}


# ------------------------------------------------------------------ 2: an old Keras
@threat(2, 4)
@pytest.mark.parametrize("version", ["3.15.0", "3.11.3", "2.15.1", "3.9.10"])
def test_a_keras_with_known_holes_is_not_used(monkeypatch, tmp_path, code, version):
    monkeypatch.setattr(metadata, "version", lambda _: version)
    with open_network(good(tmp_path / "m.keras")) as network, pytest.raises(ModelError, match="known holes") as raised:
        network.activations(batch())
    assert raised.value.exit_code == code


@pytest.mark.parametrize("version", [make_layer.OLDEST_KERAS, "3.15.2", "3.16.0", "4.0", "3.100.0.dev1"])
def test_newer_ones_are(monkeypatch, version):
    monkeypatch.setattr(metadata, "version", lambda _: version)
    make_layer.check_keras()


def test_the_oldest_is_what_the_package_asks_for():
    text = (ROOT / "pyproject.toml").read_text()
    assert f'"keras>={make_layer.OLDEST_KERAS}"' in text


# ------------------------------------------------------------------ 12: code that nobody named
EVIL = """
import pathlib
pathlib.Path({marker!r}).touch()
import keras
class Scale(keras.layers.Layer):
    def call(self, x):
        return x
"""


@pytest.fixture
def pulled(tmp_path):
    """A folder as a pull request brings it: a model, code beside it, and files that ask to run it."""
    files.without_weights(tmp_path / "m.keras", functional(hostile_cases.CUSTOM))
    (tmp_path / "shop.py").write_text(EVIL.format(marker=str(tmp_path / "marker")))
    for name in ("keras.py", "h5py.py", "tensorflow.py", "numpy.py"):
        (tmp_path / name).write_text(EVIL.format(marker=str(tmp_path / "marker")))
    for name in ("actviz.toml", ".actviz.toml"):
        (tmp_path / name).write_text(
            'custom-objects = ["shop.py"]\nallow-code = true\n[layers]\ncustom-objects = ["shop.py"]\n'
        )
    (tmp_path / "pyproject.toml").write_text('[tool.actviz]\ncustom-objects = ["shop.py"]\nallow-code = true\n')
    return tmp_path


def without_configuration(folder):
    for path in folder.glob("*.toml"):
        path.unlink()


ASKING = {
    f"ACTVIZ{part}_{name}": value
    for part in ("", "_LAYERS", "_SHOW")
    for name, value in (("CUSTOM_OBJECTS", "shop.py"), ("ALLOW_CODE", "1"))
}


@threat(12, 4)
def test_code_is_never_named_by_a_folder_or_the_environment(actviz, pulled, code):
    ran = actviz("layers", "m.keras")
    assert (ran.code, ran.out) == (2, "")
    assert "a file cannot set this" in ran.error
    without_configuration(pulled)
    asking = ASKING | {"PYTHONPATH": f"{ROOT}{os.pathsep}"}
    assert actviz("layers", "m.keras", env=asking).code == 0
    ran = actviz("layers", "m.keras", "--strict", env=asking)
    assert (ran.code, ran.out) == (code, "")
    assert "--custom-objects" in ran.error
    assert not (pulled / "marker").exists()


@pytest.mark.slow
@threat(12, 0)
def test_code_runs_once_it_is_named_on_the_command_line(actviz, pulled):
    without_configuration(pulled)
    ran = actviz("layers", "m.keras", "--custom-objects", "shop.py:Scale")
    assert ran.code == 0, ran.err
    assert (pulled / "marker").exists()


# ------------------------------------------------------------------ 23, 48: files that change
def exchanged(stop, path, contents, count):
    """Put one file after another in the place of a model, until told to stop."""
    spare = path.with_name("spare")
    while not stop.is_set():
        for content in contents:
            spare.write_bytes(content)
            os.replace(spare, path)
            count[0] += 1


@threat(23, 5)
def test_what_is_loaded_is_what_was_checked(tmp_path, code):
    evil = files.keras(tmp_path / "evil.keras", functional(files.evil_lambda(tmp_path / "marker"), dense(given="lam")))
    honest = good(tmp_path / "m.keras")
    contents, stop, count, codes = (honest.read_bytes(), evil.read_bytes()), threading.Event(), [0], set()
    other = threading.Thread(target=exchanged, args=(stop, honest, contents, count))
    other.start()
    try:
        until = time.monotonic() + 20
        for _ in range(300):
            try:
                with open_network(honest, trust=TrustPolicy(strict=True)) as network:
                    assert [layer.kind for layer in network.layers] == ["InputLayer", "Dense"]
                    codes.add(0)
            except UnsafeError as failure:
                codes.add(failure.exit_code)
            if time.monotonic() > until:
                break
    finally:
        stop.set()
        other.join()
    assert count[0] > 10
    assert codes == {0, code}
    assert not (tmp_path / "marker").exists()


@threat(23, 4)
@threat(48, 4)
@pytest.mark.parametrize("name", ["m.keras", "m.h5"])
@pytest.mark.parametrize("change", ["grows", "is cut", "is written over"])
def test_a_file_that_changes_while_it_is_read_is_refused(tmp_path, code, name, change):
    path = good(tmp_path / name)
    with open_network(path) as network:
        content = path.read_bytes()
        if change == "grows":
            with path.open("ab") as file:
                file.write(b"more")
        elif change == "is cut":
            os.truncate(path, len(content) - 100)
        else:
            with path.open("r+b") as file:
                file.write(content)
            os.utime(path, ns=(1, 1))
        with pytest.raises(ModelError) as raised:
            network.activations(batch())
    assert raised.value.exit_code == code
    assert "the model changed while it was read" in raised.value.message


def test_a_file_that_stays_is_computed(tmp_path):
    with open_network(good(tmp_path / "m.keras")) as network:
        np.testing.assert_array_equal(network.activations(batch())["d"].values, [files.KERNEL.sum(axis=0)])


# ------------------------------------------------------------------ 24: remote paths
@threat(24, 2)
@pytest.mark.parametrize(
    "path", ["hf://a/b", "gs://a/b.keras", "http://a/b.h5", "https://a/b.h5", "s3://a/b", "file:///etc/x"]
)
def test_no_path_opens_a_connection(monkeypatch, code, path):
    def refuse(*_, **__):
        pytest.fail("a socket was asked for")

    monkeypatch.setattr(socket, "socket", refuse)
    monkeypatch.setattr(socket, "create_connection", refuse)
    with pytest.raises(UsageError, match="remote paths are not supported") as raised:
        open_network(Path(path))
    assert raised.value.exit_code == code


def test_the_command_says_so_too(actviz):
    ran = actviz("layers", "https://example.invalid/model.keras")
    assert ran.code == 2
    assert "remote paths are not supported" in ran.error


# ------------------------------------------------------------------ 28: sidecars
class Bomb:
    def __init__(self, marker):
        self.marker = marker

    def __reduce__(self):
        return (Path.touch, (self.marker,))


@threat(28, 0)
def test_pickles_beside_a_model_are_never_opened(tmp_path, actviz, code):
    marker = tmp_path / "marker"
    good(tmp_path / "m.keras")
    for name in ("m.pkl", "m.keras.pkl", "m.history", "m.npz", "m.npy", "config.pkl", "m.pickle"):
        (tmp_path / name).write_bytes(pickle.dumps(Bomb(marker)))
    assert actviz("layers", "m.keras").code == code
    assert not marker.exists()
    pickle.loads((tmp_path / "m.pkl").read_bytes())
    assert marker.exists()


# ------------------------------------------------------------------ 29, 30: sizes
@pytest.mark.slow
@threat(29, 6)
def test_a_trillion_weights_cost_neither_time_nor_memory(tmp_path, code):
    path = case("29-Dense_keras").make(tmp_path)
    program = f"""
import os, resource, subprocess, sys, time
start = time.monotonic()
ran = subprocess.run([sys.executable, "-P", "-m", "actviz", "show", {str(path)!r}, "-l", "d"], capture_output=True, text=True)
used = resource.getrusage(resource.RUSAGE_CHILDREN)
print(ran.returncode, used.ru_maxrss >> 10, used.ru_utime + used.ru_stime)
print(ran.stderr, end="")
"""
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=True
    )
    numbers, *lines = done.stdout.splitlines()
    ended, megabytes, seconds = numbers.split()
    assert int(ended) == code
    assert re.search(r"declares 5,000,000,000,000 parameters \(limit 2,000,000,000\)", lines[-1])
    assert int(megabytes) < 800
    assert float(seconds) < 10


@threat(30, 6)
def test_a_batch_that_does_not_fit_is_refused_before_it_is_computed(tmp_path, monkeypatch, code):
    grown = files.reading("r", "UpSampling2D", size=[64, 64])
    path = files.keras(tmp_path / "m.keras", functional(grown, shape=(None, None, 1)), {})
    monkeypatch.setattr(memory_estimate, "memory_limit", lambda: 1 << 20)
    with open_network(path) as network:
        assert network.activations({"in": np.ones((1, 4, 4, 1), np.float32)})["r"].values.shape == (1, 256, 256, 1)
        for shape in ((8, 4, 4, 1), (1, 4, 40, 1), (2, 4, 32, 1)):
            with pytest.raises(LimitError, match="bytes") as raised:
                network.activations({"in": np.ones(shape, np.float32)})
            assert raised.value.exit_code == code
        network.activations({"in": np.ones((2, 4, 4, 1), np.float32)})


@threat(49, 6)
@given(
    st.lists(st.integers(0, 1 << 70) | st.none(), max_size=12),
    st.sampled_from(["float32", "float16", "bool", "float64"]),
)
def test_sizes_never_wrap(shape, dtype):
    size = bytes_of(tuple(shape), dtype)
    exact = {"float32": 4, "float16": 2, "bool": 1, "float64": 8}[dtype]
    for axis in shape:
        exact *= 1 if axis is None else axis
    assert size == exact
    if exact <= min(memory_estimate.MAXIMUM_OUTPUT_BYTES, memory_limit()):
        check_output(tuple(shape), dtype, "d", "m.h5")
    else:
        with pytest.raises(LimitError, match=re.escape(f" {grouped(exact)} bytes")) as raised:
            check_output(tuple(shape), dtype, "d", "m.h5")
        assert len(raised.value.message) < 300


@given(st.integers(0, 1 << 300))
def test_parameters_are_counted_exactly_and_said_shortly(count):
    if count <= memory_estimate.MAXIMUM_PARAMETERS and count * 4 <= memory_limit():
        check_parameters(count, count * 4, "m.h5")
    else:
        with pytest.raises(LimitError, match=re.escape(grouped(count))) as raised:
            check_parameters(count, count * 4, "m.h5")
        assert len(raised.value.message) < 300


@pytest.mark.parametrize(
    ("dtype", "size"),
    [
        ("float32", 4),
        ("bfloat16", 2),
        ("float8_e4m3fn", 1),
        ("uint8", 1),
        ("int64", 8),
        ("complex64", 8),
        ("int4", 1),
        ("string", 24),
        ("x", 4),
    ],
)
def test_bytes_of_a_value(dtype, size):
    assert bytes_of((), dtype) == size
    assert bytes_of((None, 3), dtype, 5) == 15 * size


# ------------------------------------------------------------------ 34, 35: a worker that dies or hangs
DEADLY = """
import os, signal, time
import keras
class Scale(keras.layers.Layer):
    def call(self, x):
        if hasattr(x, "numpy") and float(x.numpy().max()) > 0.5:
            {harm}
        return x
"""


def deadly(folder, harm):
    """A model whose worker comes to harm on one of three inputs."""
    files.without_weights(folder / "m.keras", functional(hostile_cases.CUSTOM))
    (folder / "shop.py").write_text(DEADLY.format(harm=harm))
    for name, value in (("first", 0), ("guilty", 1), ("last", 0)):
        np.save(folder / f"{name}.npy", np.full((1, 4), value, np.float32))


SHOW = (
    "show",
    "m.keras",
    "first.npy",
    "guilty.npy",
    "last.npy",
    "-l",
    "c",
    "--custom-objects",
    "shop.py:Scale",
    "-o",
    "out/",
)


@pytest.mark.slow
@threat(34, 1)
def test_a_worker_that_crashes_costs_its_own_input(actviz, tmp_path, code):
    deadly(tmp_path, "os.kill(os.getpid(), signal.SIGSEGV)")
    ran = actviz(*SHOW)
    assert ran.code == code, ran.err
    assert "the model parser crashed (SIGSEGV)" in ran.err
    assert sorted(path.parent.name for path in (tmp_path / "out").rglob("*.png")) == ["first", "last"]


@pytest.mark.slow
@threat(34, 6)
def test_where_it_is_the_only_input_that_is_the_result(actviz, tmp_path, code):
    deadly(tmp_path, "os.kill(os.getpid(), signal.SIGSEGV)")
    ran = actviz(*SHOW[:2], *SHOW[3:4], *SHOW[5:])
    assert ran.code == code
    assert "m.keras: the model parser crashed (SIGSEGV); the file is damaged, hostile or too large." in ran.error


@pytest.mark.slow
@threat(35, 1)
def test_a_worker_that_hangs_costs_its_own_input(actviz, tmp_path, code):
    deadly(tmp_path, "time.sleep(1000)")
    ran = actviz(*SHOW, "--timeout", "25")
    assert ran.code == code, ran.err
    assert "timed out: the worker did not respond for 25 s" in ran.err
    assert sorted(path.parent.name for path in (tmp_path / "out").rglob("*.png")) == ["first", "last"]


@threat(35, 6)
def test_a_worker_that_takes_nothing_in_is_given_up(tmp_path, code):
    good(tmp_path / "m.keras")
    with Worker(ModelOptions(tmp_path / "m.keras", timeout=5)) as worker:
        worker.facts()
        os.kill(worker._process.pid, 19)
        worker._timeout = 0.2
        with pytest.raises(LimitError, match="timed out") as raised:
            worker.activations({"in": np.ones((1 << 20, 4), np.float32)}, ["d"])
        assert raised.value.exit_code == code
        assert worker._process.poll() is not None


# ------------------------------------------------------------------ memory of the worker
@pytest.mark.slow
@threat(30, 6)
def test_a_worker_that_takes_too_much_memory_is_killed(tmp_path, code):
    deadly(tmp_path, "globals().setdefault('kept', []).extend(bytearray(1 << 26) for _ in range(1000))")
    from actviz.gate import TrustPolicy

    trust = TrustPolicy((f"{tmp_path}/shop.py:Scale",))
    with Worker(ModelOptions(tmp_path / "m.keras", trust=trust, memory=1 << 30)) as worker:
        assert [layer.address for layer in worker.facts().layers]
        assert worker.activations({"in": np.zeros((1, 4), np.float32)}, ["c"])
        with pytest.raises(LimitError, match="memory") as raised:
            worker.activations({"in": np.ones((1, 4), np.float32)}, ["c"])
        assert raised.value.exit_code == code
        assert worker.activations({"in": np.zeros((1, 4), np.float32)}, ["c"])


def test_the_workers_limits(tmp_path):
    good(tmp_path / "m.keras")
    with Worker(ModelOptions(tmp_path / "m.keras", memory=3 << 30)) as worker:
        worker.facts()
        limits = Path(f"/proc/{worker._process.pid}/limits")
        if not limits.exists():
            pytest.skip("needs /proc")
        said = limits.read_text()
        assert re.search(rf"Max data size +{3 << 30} ", said)
        assert re.search(r"Max core file size +0 +0 ", said)
        assert Path(f"/proc/{worker._process.pid}/oom_score_adj").read_text().strip() == "1000"
        assert 1 << 20 < memory_used(worker._process.pid) < 3 << 30


def test_memory_of_the_machine():
    assert 1 << 28 < machine_memory() <= os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    assert memory_limit() <= machine_memory()
    program = (
        "from actviz.system.resource_limits import *; limit_memory(1 << 30); print(memory_limit()); bytearray(2 << 30)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)
    assert done.stdout.strip() == str(1 << 30)
    assert "MemoryError" in done.stderr


@pytest.mark.parametrize(
    ("text", "bytes_"), [("4G", 4 << 30), ("500M", 500 << 20), ("1.5 GiB", 3 << 29), ("2kb", 2048), ("123456", 123456)]
)
def test_sizes_on_the_command_line(text, bytes_):
    from actviz.cli.options import parse_size

    assert parse_size(text) == bytes_


@pytest.mark.parametrize("text", ["", "G", "-1G", "0", "1e9", "4X", "nan", "9" * 400, "1\n2"])
def test_what_is_no_size_is_a_usage_error(actviz, samples, text):
    import click

    from actviz.cli.options import parse_size

    with pytest.raises(click.BadParameter):
        parse_size(text)


# ------------------------------------------------------------------ 37: many layers
@threat(37, 6)
def test_layers_are_counted_at_each_call(tmp_path, code):
    path = files.keras(tmp_path / "m.keras", hostile_cases.multiplied(4, 12), {})
    assert MAXIMUM_LAYERS < 12**4
    with pytest.raises(LimitError, match="calls of layers") as raised:
        open_network(path)
    assert raised.value.exit_code == code
    open_network(files.keras(tmp_path / "n.keras", hostile_cases.multiplied(3, 12), {})).close()


# ------------------------------------------------------------------ 40, 44: what is said
@threat(40, 0)
def test_a_misleading_name_is_said(tmp_path, actviz, code):
    files.keras(tmp_path / "m.h5", functional(dense()))
    ran = actviz("layers", "m.h5")
    assert ran.code == code
    assert ran.err == "actviz: m.h5: this is a .keras archive, not what its name says; it is opened as what it is.\n"
    assert actviz("layers", "m.h5", "--strict").code == 4


@pytest.mark.slow
@threat(44, 0)
def test_weights_that_are_not_finite_are_counted_and_said(tmp_path, actviz, code):
    case("44-keras").make(tmp_path)
    ran = actviz("show", "m.keras", "-l", "d")
    assert ran.code == code, ran.err
    assert 'm.keras: the weights of layer "d" hold 1 NaN and 1 infinite values of 15' in ran.err
    assert ran.err.count("hold 1 NaN") == 1


@pytest.mark.slow
@threat(44, 4)
def test_they_can_be_refused(tmp_path, actviz, code):
    case("44-h5").make(tmp_path)
    ran = actviz("show", "m.h5", "-l", "d", "--strict")
    assert (ran.code, ran.out) == (code, "")
    assert ran.error == (
        'actviz: error: m.h5: the weights of layer "d" hold 1 NaN and 1 infinite values of 15; --strict refuses it.'
    )


# ------------------------------------------------------------------ 45, 46: old files keep their numbers
@threat(45, 0)
def test_a_slash_in_a_name_keeps_its_layer(tmp_path):
    with open_network(case("45-a_slash_in_a_name").make(tmp_path)) as network:
        found = network.activations(batch())
        (layer,) = (layer for layer in network.layers if layer.kind == "Dense")
    assert (layer.name, layer.address) == ("block/d", "block%2Fd")
    np.testing.assert_array_equal(found[layer.address].values, [files.KERNEL.sum(axis=0)])


@threat(46, 0)
def test_a_pure_operation_is_computed(tmp_path):
    with open_network(case("46-math.tanh").make(tmp_path)) as network:
        np.testing.assert_allclose(network.activations(batch())["op"].values, np.tanh(np.ones((1, 4))), rtol=1e-6)


# ------------------------------------------------------------------ 47: what is no file
@threat(47, 4)
@pytest.mark.parametrize("kind", ["socket", "loop", "missing"])
def test_only_regular_files_are_read(tmp_path, code, kind):
    path = tmp_path / "m.h5"
    if kind == "socket":
        listening = socket.socket(socket.AF_UNIX)
        listening.bind(str(path)) if len(str(path)) < 100 else pytest.skip("the path is too long for a socket")
        listening.close()
    elif kind == "loop":
        path.symlink_to(path)
    with pytest.raises(ModelError) as raised:
        open_network(path)
    assert raised.value.exit_code == code


# ------------------------------------------------------------------ the table
@pytest.mark.slow
def test_every_row_is_covered_and_the_table_is_up_to_date():
    done = subprocess.run(
        [sys.executable, str(ROOT / "tests" / "tools" / "make_threats.py"), "--check"],
        capture_output=True,
        text=True,
        timeout=400,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr

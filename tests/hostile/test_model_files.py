"""Hostile and broken model files, all of them: what each gets, and that it would do harm elsewhere.

The files are opened by one lean process. Then the same files are given to Keras with its
guard off (`hostile_controls.py`): a payload that does nothing there proves nothing here.
"""

import io
import json
import os
import re
import subprocess
import sys
import tracemalloc
import zipfile

import h5py
import hostile_bounds
import hostile_cases
import numpy as np
import pytest
from conftest import HELPERS, ROOT
from hostile_cases import CASES, SECRET_NUMBERS
from threats import threat

from actviz import formats
from actviz.errors import ModelError, UnsafeError
from actviz.formats.keras import keras_file
from actviz.gate import strict_json

QUIET = {"TF_CPP_MIN_LOG_LEVEL": "3", "KERAS_BACKEND": "tensorflow", "CUDA_VISIBLE_DEVICES": "-1"}
REFUSED = 5
# CPU seconds. The second holds TensorFlow's import, 2 to 5 s on the machines seen; what a guard stops took minutes.
SECONDS_OF_A_REFUSAL = 1
SECONDS_OF_ANYTHING = 20
MEGABYTES = 900
COMMANDED = (1, 2, 5, 7, 9, 11, 13, 14, 15, 16, 20, 21, 22, 25, 31, 33, 36, 39, 42, 47)
LEAKING = (13, 14, 15, 16)


def run(script, *arguments):
    done = subprocess.run(
        [sys.executable, "-P", str(HELPERS / script), *map(str, arguments)],
        env={**os.environ, **QUIET, "PYTHONPATH": f"{ROOT}{os.pathsep}{HELPERS}"},
        capture_output=True,
        text=True,
        timeout=400,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout)


def judge(files, folder, samples):
    """Open files, by case, in one process of their own."""
    listed = folder / "files.json"
    listed.write_text(json.dumps([[case.id, str(path), case.computes] for case, path in files.items()]))
    return run("hostile_judge.py", listed, samples / "dense.h5")


def make_all(cases, folder):
    made = {}
    for number, case in enumerate(cases):
        place = folder / str(number)
        place.mkdir()
        made[case] = case.make(place)
    return made


@pytest.fixture(scope="session")
def made(tmp_path_factory):
    return make_all([case for case in CASES if not case.slow], tmp_path_factory.mktemp("hostile"))


@pytest.fixture(scope="session")
def judged(made, tmp_path_factory, samples):
    found = judge(made, tmp_path_factory.mktemp("judged"), samples)
    present = [case.id for case, path in made.items() if hostile_cases.marker_in(path.parent).exists()]
    assert not present, f"code ran: {present}"
    return found


@pytest.fixture(scope="session")
def controls(made, judged, tmp_path_factory):
    """What the same files do where nobody guards; `judged` comes first."""
    marked = {
        case.id: [str(path), str(hostile_cases.marker_in(path.parent))] for case, path in made.items() if case.marked
    }
    by_name = {case.id: str(path) for case, path in made.items()}
    given = {
        "marked": marked,
        "called": _starting(by_name, "4-Lambda_keras.config.set_epsilon"),
        "words": _starting(by_name, "13-StringLookup", "13-TextVectorization"),
        "names": _starting(by_name, "21-config.json"),
        "compiled": _starting(by_name, "8-a_nested"),
    }
    folder = tmp_path_factory.mktemp("controls")
    (folder / "given.json").write_text(json.dumps(given))
    return run("hostile_controls.py", folder / "given.json", folder)


def _starting(by_name, *starts):
    return {name: path for name, path in by_name.items() if name.startswith(starts)}


def check(case, found):
    assert "\n" not in found["says"]
    assert (found["code"], bool(re.search(case.says, found["says"]))) == (case.code, True), found["says"]
    assert not found["compiled"]
    assert found["tensorflow"] is case.computes, "TensorFlow was there, or was not needed"
    assert found["seconds"] < (
        SECONDS_OF_A_REFUSAL if case.code == REFUSED and not case.computes else SECONDS_OF_ANYTHING
    )
    assert found["megabytes"] < MEGABYTES


def parameters(cases):
    marks = {True: [pytest.mark.slow], False: []}
    return [pytest.param(case, id=case.id, marks=[threat(case.row, case.code), *marks[case.slow]]) for case in cases]


# ------------------------------------------------------------------ what each file gets
@pytest.mark.parametrize("case", parameters(case for case in CASES if not case.slow))
def test_file(case, judged):
    check(case, judged[case.id])


@pytest.mark.parametrize("case", parameters(case for case in CASES if case.slow))
def test_large_file(case, tmp_path, samples):
    check(case, judge(make_all([case], tmp_path), tmp_path, samples)[case.id])


def first_of_rows():
    first = {}
    for case in CASES:
        if case.row in COMMANDED and not case.computes:
            first.setdefault(case.row, case)
    return first.values()


@pytest.mark.parametrize("case", parameters(first_of_rows()))
def test_command(case, made, code, actviz):
    ran = actviz("layers", made[case], "--timeout", "20", "--strict")
    assert (ran.code, ran.out) == (code, "")
    lines = ran.err.splitlines()
    assert len(lines) == 1
    assert lines[0].startswith("actviz: error: ")
    assert re.search(case.says, lines[0])
    assert not hostile_cases.marker_in(made[case].parent).exists()


# ------------------------------------------------------------------ what the same files do elsewhere
MARKED = [case for case in CASES if case.marked]


@pytest.mark.slow
@pytest.mark.parametrize("case", parameters(MARKED))
def test_code_runs_where_keras_trusts_the_file(case, controls):
    assert controls[case.id] is True


@pytest.mark.slow
@pytest.mark.parametrize("case", parameters(case for case in MARKED if case.row in {1, 2}))
def test_code_runs_where_it_is_allowed(case, controls):
    assert controls[f"{case.id} allowed"] is True


@pytest.mark.slow
@threat(4, 5)
def test_keras_calls_functions_that_a_file_names_though_it_guards(controls):
    assert controls["4-Lambda_keras.config.set_epsilon_keras"] is True


@pytest.mark.slow
@threat(8, 0)
def test_keras_compiles_nested_models_though_it_is_told_not_to(controls, judged):
    assert controls["8-a_nested_model_that_Keras_compiles"] is True
    assert judged["8-a_nested_model_that_Keras_compiles"]["compiled"] is False


@pytest.mark.slow
@threat(9, 5)
def test_keras_runs_the_model_that_another_names(controls, code):
    assert controls["saved model"] == {"code": code, "guarded": False, "unguarded": True}


@pytest.mark.slow
@threat(21, 5)
def test_keras_reads_the_last_of_two_members(controls):
    assert controls["21-config.json"] == ["in", "other"]


@pytest.mark.slow
@threat(13, 5)
@pytest.mark.parametrize("kind", ["StringLookup", "TextVectorization"])
def test_keras_reads_words_from_anywhere(controls, kind):
    assert controls[f"13-{kind}_keras"] is True


LINKED = [case for case in CASES if case.row in {14, 15, 16} and case.name.endswith("h5") and "user" not in case.name]


@pytest.mark.parametrize("case", parameters(LINKED))
def test_hdf5_reads_numbers_from_anywhere(case, made):
    with h5py.File(made[case]) as file:
        values = file["model_weights/d/d/kernel"][()]
    elsewhere = hostile_cases.files.KERNEL if case.row != 14 else SECRET_NUMBERS[:12].reshape(4, 3)
    np.testing.assert_array_equal(values, elsewhere)


@pytest.mark.parametrize("case", parameters(case for case in CASES if case.row in LEAKING))
def test_nothing_of_what_lies_elsewhere_is_said(case, judged):
    said = json.dumps({name: found for name, found in judged[case.id].items() if name not in ("seconds", "megabytes")})
    assert not re.search(r"alpha-|bravo|471\d", said)


ESCAPING = [case for case in CASES if case.row == 20 and "../x" in case.name]


@pytest.mark.parametrize("case", parameters(ESCAPING))
def test_members_escape_where_they_are_unpacked_by_name(case, made, tmp_path):
    inner = tmp_path / "inner"
    inner.mkdir()
    with zipfile.ZipFile(made[case]) as archive:
        for name in archive.namelist():
            if name.endswith("x"):
                (inner / name).resolve().write_bytes(archive.read(name))
    assert (tmp_path / "x").exists()


# ------------------------------------------------------------------ sums and sizes
def case_named(name):
    return next(case for case in CASES if case.id == name)


@threat(121, 4)
def test_another_number_is_read_where_no_guard_compares_sums(made):
    case = case_named("121-model.weights.h5,_stored")
    raw = made[case].read_bytes()
    start = raw.index(b"\x89HDF")
    with h5py.File(io.BytesIO(raw[start : raw.rindex(b"PK\x01\x02")])) as file:
        values = file["layers/dense/vars/0"][()]
    assert np.count_nonzero(values != hostile_cases.files.KERNEL) == 1


@threat(121, 4)
def test_weights_too_large_to_be_compared_at_once_are_before_they_are_used(made, monkeypatch):
    monkeypatch.setattr(keras_file, "CHECKED_AT_ONCE", 0)
    with formats.open_network(made[case_named("121-model.weights.h5,_stored")]) as network:
        assert [layer.address for layer in network.layers] == ["in", "d"]
        with pytest.raises(ModelError, match="does not match its checksum"):
            network.activations({"in": np.ones((1, 4), "f4")})


@pytest.fixture(scope="session")
def unguarded(made):
    """What Keras does with a class in a module of tests, and with a Dense as an activation."""
    script = (
        "import json, keras, numpy, sys\n"
        "found = {}\n"
        "for name, path in json.loads(sys.argv[1]).items():\n"
        "    try:\n"
        "        models = [keras.models.load_model(path, compile=False) for _ in range(2)]\n"
        "        outputs = [model(numpy.ones((1, 4), 'f4')).numpy().tolist() for model in models]\n"
        "    except Exception as failure:\n"
        "        outputs = repr(failure)\n"
        "    found[name] = outputs\n"
        "print(json.dumps({'outputs': found, 'imported': 'keras.src.layers.convolutional.conv_test' in sys.modules}))\n"
    )
    names = {
        "module": f"124-a_Dense_of_{hostile_bounds.TEST_MODULE}_keras",
        "activation": "125-Dense_as_Activation_keras",
    }
    paths = json.dumps({key: str(made[case_named(name)]) for key, name in names.items()})
    environment = {**os.environ, **QUIET}
    done = subprocess.run(
        [sys.executable, "-c", script, paths], capture_output=True, text=True, env=environment, timeout=400, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout)


@pytest.mark.slow
@threat(124, 5)
def test_keras_runs_the_module_that_a_file_names(unguarded):
    assert unguarded["imported"] is True


@threat(125, 5)
def test_keras_runs_a_layer_in_place_of_a_function_with_random_weights(unguarded):
    first, second = unguarded["outputs"]["activation"]
    assert first != second


@threat(125, 5)
def test_weights_made_at_the_first_call_are_refused_too(made, monkeypatch):
    """The second guard, for what the list of places does not know."""
    monkeypatch.setattr("actviz.gate.classes._check_slot", lambda *_: [])
    network = formats.open_network(made[case_named("125-Dense_as_Activation_keras")])
    with network, pytest.raises(UnsafeError, match="makes weights when it is called"):
        network.activations({"in": np.ones((1, 4), "f4")})


@threat(126, 6)
def test_a_text_takes_gigabytes_where_no_guard_looks_at_its_dtype():
    assert np.dtype("<U500000000").itemsize == 2_000_000_000


@threat(127, 6)
def test_values_take_many_times_their_bytes_where_no_guard_counts_them(monkeypatch):
    monkeypatch.setattr(strict_json, "MAXIMUM_VALUES", 10**9)
    text = hostile_bounds.WIDE.replace("{}," * 1_400_000, "").encode()
    tracemalloc.start()
    try:
        strict_json.parse_json(text, "m.keras")
        taken = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert taken > 20 * len(text)


@threat(122, 6)
@pytest.mark.slow
def test_every_entry_becomes_an_object_where_no_guard_counts(made):
    with zipfile.ZipFile(made[case_named("122-400,000_members,_5_declared")]) as archive:
        assert len(archive.infolist()) == 400_003


@pytest.mark.slow
@threat(123, 6)
@pytest.mark.parametrize("kind", ["a chunk of 256 MiB deflated twice", "a stream of 256 MiB"])
def test_hdf5_unpacks_everything_where_no_guard_bounds_chunks(made, kind):
    script = (
        "import h5py, sys; file = h5py.File(sys.argv[1]); file['model_weights/d/d/kernel'][()];"
        "print(next(line for line in open('/proc/self/status') if line.startswith('VmHWM')).split()[1])"
    )
    path = made[case_named(f"123-{kind},_h5".replace(" ", "_"))]
    done = subprocess.run([sys.executable, "-c", script, path], capture_output=True, text=True, check=True, timeout=300)
    assert int(done.stdout) >> 10 > 256

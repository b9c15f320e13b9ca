"""Graphs that are damaged inside, call themselves without end, are very long, or change variables; rows 128-130, 135."""

import json
import random
import shutil
import time

import hostile_bounds
import hostile_files
import numpy as np
import pytest
import tflite_files
from conftest import ROOT
from google.protobuf.message import DecodeError
from graph_files import (
    calls_in_a_row,
    chain,
    changes_in_a_branch,
    changes_what_is_fed,
    doubling,
    nested_names,
    small_graph,
)
from threats import threat

from actviz import formats
from actviz.errors import ActvizError, LimitError, ModelError, UnsafeError
from actviz.formats.savedmodel import inline, name_scopes, subgraph
from actviz.gate import strict_json

CASES = ROOT.parent / "shared" / "cases"


def compute(path, address=None):
    """Open a graph and compute one layer, the last where none is named."""
    with formats.open_network(path) as network:
        network.complete()
        chosen = address or network.layers[-1].address
        return network.activations({network.inputs[0].name: np.ones((1, 4), "f4")}, [chosen])[chosen].values


def made(tmp_path, content):
    path = tmp_path / "g.pb"
    path.write_bytes(content)
    return path


DAMAGE = [
    {"attribute": b"\xff\xfe"},
    {"text": b"\xc3\x28", "branches": True},
    {"argument": b"\xff", "branches": True},
    {"tensor": b"\xff\xff\xff"},
    {"body": b"\x1a\xff\xff\x03", "branches": True},
]


@threat(128, 4)
@pytest.mark.parametrize("change", DAMAGE)
def test_damage_inside_names_the_file(tmp_path, change):
    with pytest.raises(ModelError, match=r"^g\.pb: "):
        compute(made(tmp_path, small_graph(**change)))


@threat(128, 4)
@pytest.mark.parametrize("change", DAMAGE)
def test_tensorflow_fails_without_the_name_of_the_file_where_no_guard_parses(tmp_path, change):
    import tensorflow as tf

    with pytest.raises(DecodeError) as caught:
        tf.compat.v1.GraphDef.FromString(made(tmp_path, small_graph(**change)).read_bytes())
    assert "g.pb" not in str(caught.value)


@threat(128, 4)
@pytest.mark.skipif(not CASES.exists(), reason="the collected cases are not beside this checkout")
def test_the_collected_case(tmp_path):
    shutil.copy(CASES / "attrutf.pb", tmp_path / "g.pb")
    with pytest.raises(ModelError, match=r"^g\.pb: "), formats.open_network(tmp_path / "g.pb") as network:
        network.activations({one.name: np.ones((1, 4), "f4") for one in network.inputs})


@threat(128, 4)
def test_any_changed_byte_is_computed_or_refused_in_one_line(tmp_path):
    whole, chance = small_graph(branches=True), random.Random(5)
    codes = set()
    for place in range(0, len(whole), 5):
        content = bytearray(whole)
        content[place] = chance.choice((0, 0x7F, 0x80, 0xFF, content[place] ^ 1))
        try:
            compute(made(tmp_path, bytes(content)))
        except ActvizError as failure:
            codes.add(failure.exit_code)
            assert "\n" not in failure.message  # noqa: PT017  (either ending is good)
    assert 4 in codes


@threat(129, 6)
@pytest.mark.parametrize("count", [25, 59, 99])
@pytest.mark.parametrize("empty", [False, True])
def test_functions_that_double_are_counted_before_they_are_inlined(tmp_path, count, empty):
    path = made(tmp_path, doubling(count, empty=empty))
    before = time.process_time()
    with pytest.raises(LimitError, match="more than 1,000,000 operations and calls"):
        formats.open_network(path)
    assert time.process_time() - before < 2  # 2^25 calls take minutes


@threat(129, 6)
@pytest.mark.parametrize("loop", [False, True])
def test_functions_that_are_too_deep_or_call_themselves(tmp_path, loop):
    with pytest.raises(LimitError, match="more than 100 deep"):
        formats.open_network(made(tmp_path, doubling(3 if loop else 150, calls=1, loop=loop)))


@threat(129, 6)
def test_calls_double_with_every_function_where_no_guard_counts(tmp_path, monkeypatch):
    """Eight times the calls for three functions more: 59 functions would never end."""
    calls, call = [], inline._FunctionBody._call
    monkeypatch.setattr(inline, "_check_total", lambda *_: None)
    monkeypatch.setattr(inline._FunctionBody, "_call", lambda body, name: (calls.append(name), call(body, name))[1])
    counts = []
    for count in (7, 10):
        calls.clear()
        formats.open_network(made(tmp_path, doubling(count, empty=True))).close()
        counts.append(len(calls))
    assert counts[0] >= 2**6
    assert counts[1] > 7 * counts[0]


def test_functions_that_double_a_little_are_computed(tmp_path):
    assert compute(made(tmp_path, doubling(6)), "last").tolist() == [[1.0] * 4]


@threat(129, 6)
def test_names_that_are_nested_without_end(tmp_path):
    with pytest.raises(LimitError, match="nested more than 100 deep"):
        formats.open_network(made(tmp_path, nested_names(900)))


@threat(129, 6)
def test_every_level_is_gone_through_again_where_no_guard_bounds_names(tmp_path, monkeypatch):
    """Twice as deep is four times the work."""
    visits, all_nodes = [], name_scopes.NameScope.all_nodes
    monkeypatch.setattr(name_scopes, "MAX_SCOPE_DEPTH", 10**9)
    monkeypatch.setattr(name_scopes.NameScope, "all_nodes", lambda scope: (visits.append(0), all_nodes(scope))[1])
    counts = []
    for count in (110, 220):
        visits.clear()
        formats.open_network(made(tmp_path, nested_names(count))).close()
        counts.append(len(visits))
    assert counts[1] > 3.5 * counts[0]


@threat(130, 0)
@pytest.mark.slow
@pytest.mark.parametrize("scoped", [False, True])
def test_a_row_of_operations_takes_time_in_proportion(tmp_path, scoped):
    """Four times as many operations take four times as long: sixteen times where a walk is quadratic."""
    seconds = []
    for count in (7_500, 30_000):
        path = made(tmp_path, chain(count, scoped=scoped))
        before = time.process_time()
        with formats.open_network(path) as network:
            assert len(network.layers) > count
        seconds.append(time.process_time() - before)
    assert seconds[1] < 10 * seconds[0]
    assert seconds[1] < 40


@threat(130, 0)
@pytest.mark.slow
def test_a_row_of_tflite_operators_takes_time_in_proportion(tmp_path):
    """13 times as long for four times as many, before the order of operators was checked without a set of all tensors."""
    seconds = []
    for count in (5_000, 20_000):
        path = tmp_path / "m.tflite"
        path.write_bytes(tflite_files.relu_chain(count))
        before = time.process_time()
        with formats.open_network(path) as network:
            assert len(network.layers) == count + 1
        seconds.append(time.process_time() - before)
    assert seconds[1] < 8 * seconds[0]


def activations_in_a_row(count=30_000):
    """The configuration of a model with a row of Activation layers."""
    layers, before = [], "in"
    for number in range(count):
        layers.append(hostile_files.reading(f"a{number}", "Activation", before, activation="relu"))
        before = f"a{number}"
    return hostile_files.functional(*layers)


@threat(130, 6)
def test_more_layers_than_the_limit_are_refused_at_once(tmp_path):
    """A `.keras` file: a row of 30,000 Activation layers is counted before any of them is looked at."""
    path = hostile_files.keras(tmp_path / "m.keras", activations_in_a_row(), {})
    start = time.process_time()
    with pytest.raises(LimitError, match="limit 20,000"):
        formats.open_network(path)
    assert time.process_time() - start < 5


@pytest.mark.slow
@threat(130, 6)
def test_every_layer_of_a_row_is_made_where_no_guard_counts_them(monkeypatch):
    monkeypatch.setattr(strict_json, "MAXIMUM_LAYERS", 10**9)
    parsed = strict_json.parse_json(json.dumps(activations_in_a_row()).encode(), "m.keras")
    assert len(parsed["config"]["layers"]) == 30_001


@threat(130, 0)
@pytest.mark.slow
@pytest.mark.parametrize("backwards", [False, True])
def test_a_row_of_calls_is_inlined_without_recursion(tmp_path, backwards):
    with formats.open_network(made(tmp_path, calls_in_a_row(30_000, backwards=backwards))) as network:
        assert network.layers[-1].address.startswith("c")


def test_calls_that_read_each_other_are_refused(tmp_path):
    with pytest.raises(ModelError, match="which is not in it"):
        formats.open_network(made(tmp_path, calls_in_a_row(3, loop=True)))


# ------------------------------------------------------------------ 135: changes of variables
@threat(135, 5)
def test_a_variable_that_a_function_makes_itself_is_not_changed(tmp_path):
    with pytest.raises(UnsafeError, match=r'g\.pb: refused: "then/w" may change a variable that is none of the file'):
        compute(made(tmp_path, changes_in_a_branch()))


@threat(135, 4)
@pytest.mark.parametrize("given", [{}, {"v": np.zeros(1, "f4")}])
def test_the_handle_of_a_variable_cannot_be_given(tmp_path, given):
    with (
        formats.open_network(made(tmp_path, changes_what_is_fed())) as network,
        pytest.raises(ModelError, match=r'g\.pb: these layers need "v", the handle of a variable or table'),
    ):
        network.activations({"x": np.ones((1, 4), "f4"), **given}, ["last"])


@threat(135, 5)
@pytest.mark.parametrize("branch", [False, True])
def test_a_file_that_is_written_beside_a_change_is_refused(tmp_path, branch):
    marker = tmp_path / "marker"
    path = made(tmp_path, changes_in_a_branch(writes=str(marker)) if branch else changes_what_is_fed(str(marker)))
    with pytest.raises(UnsafeError, match=r'the operation "WriteFile" of node ".*file" is not on the list'):
        formats.open_network(path)
    assert not marker.exists()


@threat(135, 5)
def test_one_model_changes_the_next_where_no_guard_follows_handles(tmp_path, monkeypatch):
    """The variable that a function makes belongs to the whole process: another model goes on with it."""
    monkeypatch.setattr(subgraph, "_check_handles", lambda *_: None)
    assert compute(made(tmp_path, changes_in_a_branch(name="control")), "last").tolist() == [[2.0] * 4]
    other = made(tmp_path, changes_in_a_branch("AssignAddVariableOp", "control"))
    assert [compute(other, "last")[0, 0] for _ in range(2)] == [3.0, 4.0]


@threat(122, 6)
def test_a_crowded_archive_costs_no_memory(tmp_path):
    before = time.process_time()
    with pytest.raises(LimitError, match="more than 10,000 members"):
        formats.open_network(hostile_bounds.crowded(tmp_path / "m.keras", 400_000))
    assert time.process_time() - before < 2

"""Manifests and figures that somebody changed: read as they are, or not at all, never a bug."""

import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from actviz.batch import color_ranges
from actviz.batch.output_paths import OutputPaths
from actviz.batch.up_to_date import ReplaceRules, UpToDateCheck
from actviz.errors import InputError, OutputError
from actviz.results import output_files
from actviz.results.manifest import Manifest
from actviz.results.provenance_json import dump_json, parse_json_strict

PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)
ABOUT = {"work": "w", "input": "a.png", "address": "conv", "model": "m.h5"}


@given(PLAIN)
def test_what_was_written_is_read(value):
    assert parse_json_strict(json.dumps(value).encode()) == value
    written = dump_json(value)
    assert written.isascii()
    assert parse_json_strict(written) == json.loads(json.dumps(value))


@pytest.mark.parametrize("value", [math.nan, [math.inf], {"a": {"b": [None, -math.inf]}}])
def test_what_is_no_number_is_never_written(value):
    with pytest.raises(ValueError):
        dump_json(value)


@pytest.mark.parametrize("value", ["\udc80", {"\ud800": 2**70}, {"b": 1, "a": 2}, ["\x7f\x80\u2028"]])
def test_what_the_fast_writer_refuses_is_written_all_the_same(value):
    assert json.loads(dump_json(value)) == value


@pytest.mark.parametrize("value", [{"a": object()}, [np.float32(1)], 1j])
def test_what_json_has_no_form_for_is_a_mistake_of_ours(value):
    with pytest.raises(TypeError):
        dump_json(value)


@pytest.mark.parametrize(
    "text", ["NaN", "[Infinity]", "1e999", "{", "[" * 101 + "]" * 101, "[" * 10**5, "", '["\\ud800", NaN]']
)
def test_what_cannot_be_written_again_is_refused(text):
    with pytest.raises(ValueError):
        parse_json_strict(text.encode())


@pytest.mark.parametrize("text", ["[" + "[],{}," * 100 + "[]]", "[" * 100 + "]" * 100])
def test_many_values_are_no_depth(text):
    assert parse_json_strict(text.encode()) == json.loads(text)


@pytest.mark.parametrize("key", ["bytes", "pages", "work"])
@pytest.mark.parametrize("value", [{}, [1], "x", None, True, 2.5, -1, 2**70])
def test_a_manifest_with_other_values_is_taken_in_and_its_figures_are_made_again(tmp_path, key, value):
    record = {"file": "a.png", "bytes": 10, "work": "w", "pages": 1, "input": "a", "address": "conv"} | {key: value}
    whole = {"schema": 1, "model": "m.h5", "versions": {}, "failures": [], "figures": [record]}
    (tmp_path / "manifest.json").write_text(json.dumps(whole))
    with Manifest(tmp_path, "m.h5") as made:
        known = made.find("a.png")
        made.write(interrupted=False)
    assert (known.work, known.size, known.pages) != ("w", 10, 1)
    assert json.loads((tmp_path / "manifest.json").read_text())["figures"] == [record]


@pytest.mark.parametrize("value", ["NaN", "-Infinity", "1e999", "[" * 900 + "]" * 900])
@pytest.mark.parametrize("section", ["failures", "figures"])
def test_a_manifest_that_could_not_be_written_again_is_damaged(tmp_path, section, value):
    record = f'{{"file": "a.png", "input": "a", "address": "conv", "numbers": {value}}}'
    lists = {"failures": "", "figures": "", section: record}
    text = f'{{"schema": 1, "model": "m.h5", "failures": [{lists["failures"]}], "figures": [{lists["figures"]}]}}'
    (tmp_path / "manifest.json").write_text(text)
    with pytest.raises(OutputError, match="damaged"):
        Manifest(tmp_path, "m.h5")


@pytest.mark.parametrize(
    ("changed", "right"),
    [({}, True), ({"pages": "x"}, False), ({"pages": [1]}, False), ({"pages": 2**62}, False), ({"input": 3}, False),
     ({"address": None}, False), ({"work": {}}, False)],
)  # fmt: skip
def test_a_figure_that_says_otherwise_is_made_again(tmp_path, changed, right):
    output_files.write_figure(tmp_path / "f.png", np.zeros((2, 2, 3), np.uint8), ABOUT | changed)
    upkeep = UpToDateCheck(OutputPaths(None, tmp_path, {"conv": "f.png"}), ["conv"], "m.h5", ReplaceRules())
    found = upkeep._up_to_date_records(tmp_path / "f.png", "w")
    assert (found is not None) is right


@pytest.mark.parametrize("address", ["{}", "[1]", "null"])
def test_ranges_of_a_layer_without_a_name(tmp_path, address):
    (tmp_path / "m.json").write_text(f'{{"figures": [{{"address": {address}, "numbers": {{"low": 0, "high": 1}}}}]}}')
    with pytest.raises(InputError, match="no ranges"):
        color_ranges.read_ranges(tmp_path / "m.json")

"""The manifest of a folder: whole at any moment, joined with what others wrote, flat in memory."""

import json
from importlib import resources
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from threats import threat

from actviz.errors import OutputError
from actviz.results.manifest import Manifest, read
from actviz.system import temporary_files

WORDS = st.text(st.characters(codec="utf-8"), max_size=30)


def record(file="a/001_conv.png", **more):
    return {"file": file, "bytes": 10, "input": "a.png", "address": "conv", "work": "w"} | more


def manifest(folder, model="m.h5", **options):
    made = Manifest(folder, model, **options)
    made.about = {"actviz": "1", "configuration": "", "code": [], "versions": {}}
    return made


def written(folder):
    return json.loads((folder / "manifest.json").read_text())


@given(names=st.dictionaries(WORDS, WORDS, max_size=8), failures=st.dictionaries(WORDS, WORDS, max_size=4))
def test_what_goes_in_comes_out_sorted(tmp_path_factory, names, failures):
    folder = tmp_path_factory.mktemp("m")
    with manifest(folder) as one:
        for file, text in names.items():
            one.add(record(file, fed=text))
        for name, reason in failures.items():
            one.fail({"input": name, "address": None, "reason": reason, "code": 3})
        one.write(interrupted=False)
    found = written(folder)
    assert [item["file"] for item in found["figures"]] == sorted(names)
    assert {item["file"]: item["fed"] for item in found["figures"]} == names
    assert {item["input"]: item["reason"] for item in found["failures"]} == failures
    parts = list(read(folder / "manifest.json"))
    assert [part for section, part in parts if section == "figures"] == found["figures"]
    assert [part for section, part in parts if section == "failures"] == found["failures"]


def test_a_later_run_knows_what_an_earlier_one_made(tmp_path):
    with manifest(tmp_path) as one:
        one.add(record("a.png"))
        one.add(record("b.png", input="b.png"))
        one.write(interrupted=True)
    assert written(tmp_path)["interrupted"] is True
    (tmp_path / "b.png").write_bytes(b"")
    with manifest(tmp_path) as other:
        assert (other.find("a.png").work, other.find("a.png").size) == ("w", 10)
        assert other.find("c.png") is None
        other.drop_lost()
        other.add(record("b.png", input="b.png", work="new"))
        other.write(interrupted=False)
    assert [(item["file"], item["work"]) for item in written(tmp_path)["figures"]] == [("b.png", "new")]


def test_lost_figures_of_this_run_are_apart_from_those_of_earlier_runs(tmp_path):
    with manifest(tmp_path) as one:
        one.add(record("a.png"))
        one.write(interrupted=False)
    with manifest(tmp_path) as other:
        other.add(record("b.png"))
        assert (other.drop_lost(), other.find("a.png")) == (1, None)
        assert other.find("b.png") is not None
        assert (other.drop_lost(own=True), other.find("b.png")) == (1, None)


def test_two_runs_into_one_folder_lose_nothing(tmp_path):
    with manifest(tmp_path) as one, manifest(tmp_path) as other:
        one.add(record("one.png", work="1"))
        one.add(record("both.png", work="1"))
        one.fail({"input": "x", "address": None, "reason": "r", "code": 3})
        one.write(interrupted=True)
        other.add(record("other.png", work="2"))
        other.add(record("both.png", work="2"))
        other.write(interrupted=False)
        one.add(record("later.png", work="1"))
        one.write(interrupted=False)
    found = written(tmp_path)
    assert {item["file"]: item["work"] for item in found["figures"]} == {
        "one.png": "1",
        "other.png": "2",
        "later.png": "1",
        "both.png": "1",
    }
    assert [item["input"] for item in found["failures"]] == ["x"]


def test_failures_go_when_their_input_succeeds_or_a_whole_run_had_none(tmp_path):
    with manifest(tmp_path) as one:
        for name in ("a.png", "b.png", "c.png"):
            one.fail({"input": name, "address": None, "reason": "r", "code": 3})
        one.forgive("a.png")
        one.write(interrupted=False)
    with manifest(tmp_path) as other:
        other.fail({"input": "c.png", "address": None, "reason": "again", "code": 3})
        other.forget_earlier_failures()
        other.write(interrupted=False)
    assert [(item["input"], item["reason"]) for item in written(tmp_path)["failures"]] == [("c.png", "again")]


def test_a_reader_sees_a_whole_file_while_it_is_replaced(tmp_path, monkeypatch):
    with manifest(tmp_path) as one:
        one.add(record("a.png"))
        one.write(interrupted=True)
        before = (tmp_path / "manifest.json").read_bytes()
        monkeypatch.setattr(
            "os.replace", lambda *_, **__: (_ for _ in ()).throw(OSError(28, "No space left on device"))
        )
        one.add(record("b.png"))
        with pytest.raises(OutputError, match="No space left"):
            one.write(interrupted=False)
    assert (tmp_path / "manifest.json").read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["manifest.json"]


def test_a_manifest_that_another_program_wrote_again_is_read(tmp_path):
    with manifest(tmp_path) as one:
        one.add(record("a.png"))
        one.write(interrupted=False)
    path = tmp_path / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text()), indent=4))
    with manifest(tmp_path) as other:
        assert other.find("a.png").work == "w"


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "damaged, or no manifest of actviz"),
        (b"[1]", "damaged, or no manifest of actviz"),
        (b'{"figures": []}', "damaged, or no manifest of actviz"),
        (b'{"schema": true, "model": "m.h5"}', "damaged, or no manifest of actviz"),
        (b'{"schema": 1, "model": "m.h5", "figures": [1]}', "damaged, or no manifest of actviz"),
        (b'{"schema": 99, "model": "m.h5"}', "written by a later actviz (schema 99, this one knows 1)"),
        (b'{"schema": 1, "model": "other.h5"}', "is of the model other.h5, not m.h5"),
        ("half", "damaged, or no manifest of actviz"),
    ],
)
def test_a_manifest_that_cannot_be_added_to_is_left_alone(tmp_path, content, said):
    path = tmp_path / "manifest.json"
    if content == "half":
        with manifest(tmp_path) as one:
            one.add(record("a.png"))
            one.write(interrupted=False)
        content = path.read_bytes()[:-30]
    path.write_bytes(content)
    with pytest.raises(OutputError) as caught:
        Manifest(tmp_path, "m.h5")
    assert said in caught.value.message
    assert path.read_bytes() == content
    with manifest(tmp_path, overwrite=True) as one:
        one.write(interrupted=False)
    assert written(tmp_path)["figures"] == []


@pytest.mark.parametrize("file", ["/etc/passwd", "../m.h5", "a/../../m.h5", "a\0b", "", "."])
@threat(108, 0)
def test_records_of_files_elsewhere_are_dropped(tmp_path, file):
    (tmp_path / "m.h5").write_text("a model")
    folder = tmp_path / "out"
    (folder / "a").mkdir(parents=True)
    (folder / "a" / "001_conv.png").write_text("a figure")
    planted = {"schema": 1, "model": "m.h5", "interrupted": False, "failures": [], "figures": [record(file), record()]}
    (folder / "manifest.json").write_text(json.dumps(planted))
    with manifest(folder) as later:
        later.drop_lost()
        later.write(interrupted=False)
        assert later.find(file) is None
    assert [figure["file"] for figure in written(folder)["figures"]] == ["a/001_conv.png"]


@pytest.mark.parametrize("failure", [MemoryError, KeyboardInterrupt])
def test_a_start_that_fails_leaves_no_file_open(tmp_path, monkeypatch, failure):
    def take_in(_):
        raise failure

    opened = []
    scratch = temporary_files.scratch_file
    monkeypatch.setattr(temporary_files, "scratch_file", lambda *given: opened.append(scratch(*given)) or opened[-1])
    monkeypatch.setattr(Manifest, "_merge", take_in)
    with pytest.raises(failure):
        Manifest(tmp_path, "m.h5", overwrite=True)
    assert [file.closed for file in opened] == [True]


def test_the_schema_is_in_the_package_and_describes_what_is_written(tmp_path):
    jsonschema = pytest.importorskip("jsonschema")
    schema = json.loads(resources.files("actviz.results.manifest").joinpath("schema.json").read_text())
    jsonschema.Draft202012Validator.check_schema(schema)
    with manifest(tmp_path) as one:
        one.fail({"input": "x", "address": None, "reason": "r", "code": 3})
        one.write(interrupted=False)
    jsonschema.validate(written(tmp_path), schema)
    assert Path(str(resources.files("actviz.results.manifest"))).name == "manifest"

"""`merge`: the parts of a run give the bytes of one run; parts of other runs are refused."""

import itertools
import json
import math
import re
from pathlib import Path

import numpy as np
import pytest
from conftest import SAMPLES
from PIL import Image
from test_top import request

from actviz.batch.events import FileWritten, Note
from actviz.commands import top, top_inputs
from actviz.commands.check import CheckRequest, check
from actviz.commands.merge import MergeRequest, merge
from actviz.commands.verdicts import ReportTargets, Verdict
from actviz.errors import ActvizError, InputError, PartialError, UsageError
from actviz.inputs import InputArguments, InputOptions, Shard, reading
from actviz.results import part_files
from actviz.statistics.limits import Limits
from actviz.worker import ModelOptions

DIGITS = SAMPLES / "digits_cnn.keras"
LAYERS = ("conv", "scores")


@pytest.fixture
def inputs(tmp_path):
    """Five images and an array of eight, of which one is an image once more."""
    generator = np.random.default_rng(7)
    folder = tmp_path / "in"
    folder.mkdir()
    values = generator.integers(0, 255, (5, 28, 28), np.uint8)
    for number, each in enumerate(values):
        Image.fromarray(each).save(folder / f"{number}.png")
    array = generator.random((8, 28, 28, 1)).astype(np.float32)
    array[3, ..., 0] = values[2].astype(np.float32) / 255
    np.save(folder / "more.npy", array)
    return folder


def run(inputs, output, shard=(1, 1), model=DIGITS, **more):
    """Run one part; return the events."""
    given = InputArguments((inputs,), shard=Shard(*shard))
    return list(top.top(request(model, inputs=given, output=f"{output}/", layers=more.pop("layers", LAYERS), **more)))


def contents(folder):
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def test_merged_parts_have_the_bytes_of_one_run(inputs, tmp_path, warm_worker):
    run(inputs, tmp_path / "whole")
    for number in (1, 2, 3):
        run(inputs, tmp_path / f"part{number}", (number, 3), keep_crops=True)
    parts = [tmp_path / f"part{number}" for number in (1, 2, 3)]
    counts = [part_files.read_part(part / "top.npz").record["inputs"] for part in parts]
    assert sum(counts) == 13
    assert min(counts) > 0
    for number, order in enumerate(itertools.permutations(parts)):
        events = list(merge(MergeRequest(parts=(*order, order[0]), output=f"{tmp_path}/all{number}/")))
        notes = [event.text for event in events if isinstance(event, Note)]
        assert notes == ["1 part given more than once, counted once."]
        assert contents(tmp_path / f"all{number}") == contents(tmp_path / "whole")


def test_parts_are_merged_step_by_step_and_missing_ones_are_named(inputs, tmp_path, warm_worker):
    for number in (1, 2, 3):
        run(inputs, tmp_path / f"part{number}", (number, 3))
    inputs.rename(tmp_path / "moved")
    first = list(merge(MergeRequest(parts=(tmp_path / "part3", tmp_path / "part1"), output=f"{tmp_path}/two/")))
    (tmp_path / "moved").rename(inputs)
    notes = " ".join(event.text for event in first if isinstance(event, Note))
    assert "not all parts of 3 are given; missing: 2." in notes
    assert "numbers and names only" in notes
    ((verdict,),) = (
        [event for event in merge(MergeRequest(parts=(tmp_path / "two", tmp_path / "part2"))) if isinstance(event, Verdict)],
    )  # fmt: skip
    run(inputs, tmp_path / "whole")
    whole = part_files.read_part(tmp_path / "whole" / "top.npz")
    assert {key: value for key, value in verdict.record.items() if key != "layers"} == {
        key: value for key, value in whole.record.items() if key != "layers"
    }
    with pytest.raises(UsageError, match="part 1 of 3 is also in another"):
        list(merge(MergeRequest(parts=(tmp_path / "two", tmp_path / "part1"))))


def test_crops_are_read_from_the_inputs(inputs, tmp_path, warm_worker):
    run(inputs, tmp_path / "whole")
    for number in (1, 2):
        run(inputs, tmp_path / f"part{number}", (number, 2))
    parts = (tmp_path / "part2", tmp_path / "part1")
    assert list(merge(MergeRequest(parts=parts, output=f"{tmp_path}/all/")))
    assert contents(tmp_path / "all") == contents(tmp_path / "whole")
    inputs.rename(tmp_path / "moved")
    moved = list(merge(MergeRequest(parts=parts, output=f"{tmp_path}/all1/", inputs=tmp_path / "moved")))
    assert not [event for event in moved if isinstance(event, Note)]
    assert contents(tmp_path / "all1") == contents(tmp_path / "whole")
    with pytest.raises(InputError, match="no such folder"):
        list(merge(MergeRequest(parts=parts, output=f"{tmp_path}/all2/", inputs=tmp_path / "gone")))
    # What has changed is not shown: an input of another content, and a path that leads out of the folder.
    Image.fromarray(np.zeros((28, 28), np.uint8)).save(tmp_path / "moved" / "0.png")
    (tmp_path / "moved" / "more.npy").rename(tmp_path / "more.npy")
    events = list(merge(MergeRequest(parts=parts, output=f"{tmp_path}/all2/", inputs=tmp_path / "moved")))
    (note,) = (event.text for event in events if isinstance(event, Note))
    assert re.search(r"numbers and names only for \d inputs without picture, such as (0.png|more)", note)
    assert contents(tmp_path / "all2")["top.npz"] == contents(tmp_path / "whole")["top.npz"]
    assert top_inputs._candidates("/a/x.png", "../x.png", tmp_path) == []
    assert top_inputs._candidates("b/x.png", "x.png", tmp_path) == [tmp_path / "x.png", tmp_path / "b" / "x.png"]


def test_of_a_large_array_only_the_strongest_rows_are_read_again(tmp_path, monkeypatch, warm_worker):
    monkeypatch.setattr(reading, "CHUNK_BYTES", 1 << 14)
    generator = np.random.default_rng(1)
    (tmp_path / "in").mkdir()
    np.save(tmp_path / "in" / "a.npy", generator.random((40, 28, 28, 1)).astype(np.float32))
    run(tmp_path / "in", tmp_path / "part", (1, 2), layers=("scores",), k=1)
    rows, lengths = [], []
    read = reading._RowsOnDisk._read

    def note(self, number):
        batch = read(self, number)
        rows.append(number)
        lengths.append(len(batch))
        return batch

    monkeypatch.setattr(reading._RowsOnDisk, "_read", note)
    events = list(merge(MergeRequest(parts=(tmp_path / "part",), output=f"{tmp_path}/all/", as_json=True)))
    (record,) = (event.record for event in events if isinstance(event, Verdict))
    strongest = {entry["high"]["inputs"][0]["sample"] for entry in record["layers"][0]["strongest"]}
    assert rows == sorted(strongest)
    assert set(lengths) == {1}


@pytest.mark.parametrize("harm", ["reader", "reading", "files"])
def test_damaged_records_of_inputs_are_one_line(inputs, tmp_path, warm_worker, harm):
    run(inputs, tmp_path / "a", (1, 2))
    part = part_files.read_part(tmp_path / "a" / "top.npz")
    part_files.write_part(part.path, part.record | {harm: {"inputs": 1} if harm == "reader" else 3}, part.state)
    with pytest.raises(InputError, match="damaged"):
        list(merge(MergeRequest(parts=(tmp_path / "a",), output=f"{tmp_path}/all/")))


def test_code_that_read_the_inputs_does_not_run_because_a_file_names_it(inputs, tmp_path, warm_worker):
    run(inputs, tmp_path / "a", (1, 2))
    part = part_files.read_part(tmp_path / "a" / "top.npz")
    code = {"preprocess": "prep.py:load", "preprocess_sha256": "0"}
    part_files.write_part(part.path, part.record | {"reading": part.record["reading"] | code}, part.state)
    events = list(merge(MergeRequest(parts=(tmp_path / "a",), output=f"{tmp_path}/all/")))
    notes = " ".join(event.text for event in events if isinstance(event, Note))
    assert "inputs were read by prep.py:load, which is not run again" in notes
    assert "numbers and names only" in notes


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"model": SAMPLES / "digits_cnn.h5"}, "different models"),
        ({"layers": ("conv",)}, "different layers"),
        ({"k": 2}, "different options"),
        ({"shard": (2, 3)}, "parts of 2 and of 3"),
        ({"lists": True}, "different lists of inputs"),
    ],
)
def test_parts_of_other_runs_are_refused(inputs, tmp_path, warm_worker, more, words):
    run(inputs, tmp_path / "a", (1, 2))
    if more.pop("lists", False):
        (inputs / "4.png").rename(inputs / "5.png")
    run(inputs, tmp_path / "b", more.pop("shard", (2, 2)), **more)
    with pytest.raises(UsageError, match=words):
        list(merge(MergeRequest(parts=(tmp_path / "a", tmp_path / "b"), output=f"{tmp_path}/all/")))
    assert not (tmp_path / "all").exists()


def test_failures_of_parts_are_those_of_the_merged_run(inputs, tmp_path, warm_worker):
    (inputs / "1.png").write_bytes(b"no picture")
    run(inputs, tmp_path / "a", (1, 2))
    with pytest.raises(PartialError):
        run(inputs, tmp_path / "b", (2, 2))
    with pytest.raises(PartialError, match="1 of 13 inputs failed"):
        list(merge(MergeRequest(parts=(tmp_path / "a", tmp_path / "b"), output=f"{tmp_path}/all/")))


@pytest.mark.parametrize("harm", ["no record", "no array", "shapes", "no archive", "missing"])
def test_damaged_parts_are_one_line(inputs, tmp_path, warm_worker, harm):
    run(inputs, tmp_path / "a", (1, 2))
    path = tmp_path / "a" / "top.npz"
    part = part_files.read_part(path)
    if harm == "no archive":
        path.write_bytes(b"PK\3\4")
    elif harm == "missing":
        path.unlink()
    else:
        key = next(name for name in part.state if name.startswith("keys"))
        state = {**part.state, key: part.state[key][0]} if harm == "shapes" else dict(part.state)
        if harm == "no array":
            del state[key]
        part_files.write_part(path, {} if harm == "no record" else part.record, state)
    with pytest.raises(ActvizError) as failure:
        list(merge(MergeRequest(parts=(tmp_path / "a",))))
    assert failure.type is InputError
    assert "\n" not in failure.value.message


def test_a_part_needs_a_folder(inputs, tmp_path, warm_worker):
    given = InputArguments((inputs,), shard=Shard(1, 2))
    for output in (None, str(tmp_path / "top.png")):
        with pytest.raises(UsageError, match="give the folder with -o"):
            list(top.top(request(DIGITS, inputs=given, output=output)))


def test_the_command_merges(actviz, warm_worker, inputs, tmp_path):
    for number in ("1", "2"):
        arguments = ("in", "-l", "scores", "--shard", f"{number}/2", "-o", f"part-{number}/")
        assert actviz("top", DIGITS, *arguments).out == f"part-{number}/top.npz\n"
    ran = actviz("merge", "part-1", "part-2", "--json")
    assert (ran.code, json.loads(ran.out)["inputs"]) == (0, 13)
    assert [event.path.name for event in run(inputs, tmp_path / "x", (1, 2)) if isinstance(event, FileWritten)] == [
        "top.npz"
    ]


def check_request(inputs, output, shard=(1, 1), **more):
    given = InputArguments((inputs,), shard=Shard(*shard))
    return CheckRequest(
        opening=ModelOptions(DIGITS),
        inputs=given,
        layers=("conv", "scores"),
        reading=InputOptions(allow_nonfinite=True),
        output=output,
        limits=Limits(dead=0.5, within=(0, math.inf), no_nan=True),
        **more,
    )


def conclusion(events):
    """Return the record of a verdict and the error that follows it."""
    record = None
    try:
        for event in events:
            record = event.record if isinstance(event, Verdict) else record
    except ActvizError as failure:
        return record, failure.exit_code, failure.message
    return record, 0, ""


def test_limits_of_a_check_are_judged_after_merging(inputs, tmp_path, warm_worker):
    values = np.load(inputs / "more.npy")
    values[[4, 6], 3, 3] = np.nan
    np.save(inputs / "more.npy", values)
    whole = conclusion(check(check_request(inputs, None)))
    assert whole[1] == 8
    for number in (1, 2, 3):
        record, code, _ = conclusion(check(check_request(inputs, f"{tmp_path}/part{number}/", (number, 3))))
        assert (record, code) == (None, 0)
    parts = [tmp_path / f"part{number}" for number in (1, 2, 3)]
    for number, order in enumerate((parts, parts[::-1])):
        assert conclusion(merge(MergeRequest(parts=tuple(order), output=f"{tmp_path}/all{number}/"))) == whole
    assert contents(tmp_path / "all0") == contents(tmp_path / "all1")
    assert conclusion(merge(MergeRequest(parts=(tmp_path / "all0",)))) == whole
    for more, words in (({"dark": True}, "--dark"), ({"output": "x.html"}, "figure or a folder")):
        with pytest.raises(UsageError, match=words):
            list(merge(MergeRequest(parts=tuple(parts), **more)))


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"output": None}, "give the folder"),
        ({"output": "x.png"}, "give the folder"),
        ({"reports": ReportTargets(Path("j.xml"))}, "actviz merge"),
    ],
)
def test_a_part_of_a_check_judges_nothing(inputs, tmp_path, monkeypatch, more, words):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match=words):
        list(check(check_request(inputs, more.pop("output", "part/"), (1, 2), **more)))

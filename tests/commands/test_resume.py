"""`--resume`: parts of a run are done whole or not at all, and nothing is counted twice."""

import math
import shutil
import zipfile

import numpy as np
import pytest
from conftest import SAMPLES
from PIL import Image
from test_merge import check_request, conclusion, contents
from test_top import request

from actviz.batch.events import FileWritten, Note, Progress
from actviz.commands import part_runs, resuming, top
from actviz.commands.check import check
from actviz.commands.merge import MergeRequest, merge
from actviz.commands.verdicts import Verdict
from actviz.errors import ActvizError, ModelChangedError, PartialError, UsageError
from actviz.inputs import InputArguments, Shard, input_parts
from actviz.results import part_files
from actviz.worker import Worker

DIGITS = SAMPLES / "digits_cnn.keras"


@pytest.fixture
def inputs(tmp_path, monkeypatch):
    """An image, a broken one, an array of eight, and two images: parts of four inputs."""
    generator = np.random.default_rng(7)
    folder = tmp_path / "in"
    folder.mkdir()
    for name in ("0", "3", "4"):
        Image.fromarray(generator.integers(0, 255, (28, 28), np.uint8)).save(folder / f"{name}.png")
    (folder / "1.png").write_bytes(b"no picture")
    np.save(folder / "2.npy", generator.random((8, 28, 28, 1)).astype(np.float32))
    monkeypatch.setattr(resuming, "SAVED_EVERY", 0.0)
    monkeypatch.setattr(resuming, "parts", lambda files, shard: input_parts.parts(files, shard, size=4))
    return folder


def consume(events, kept=None, done=math.inf, act=None):
    """Take the events of a run, add them to `kept`, and call `act` once after so many inputs."""
    for event in events:
        if kept is not None:
            kept.append(event)
        if isinstance(event, Progress) and event.total and event.done >= done:
            done = math.inf
            act(events)


def interrupt(events):
    """Interrupt a run."""
    events.throw(KeyboardInterrupt())


def run(inputs, output, *, resume=True, **more):
    """Return the events of a run, of which one input fails."""
    events = []
    with pytest.raises(PartialError, match="1 of 12 inputs failed"):
        consume(begin(inputs, output, resume=resume, **more), events)
    return events


def begin(inputs, output, *, resume=True, shard=(1, 1), model=DIGITS, **more):
    """Return the events of a run."""
    given = InputArguments((inputs,), shard=Shard(*shard))
    return top.top(request(model, inputs=given, output=f"{output}/", layers=("conv", "scores"), resume=resume, **more))


def stop_after(inputs, output, done, **more):
    """Begin a run and interrupt it after `done` inputs."""
    with pytest.raises(KeyboardInterrupt):
        consume(begin(inputs, output, **more), done=done, act=interrupt)


@pytest.mark.slow
@pytest.mark.parametrize("done", [1, 5, 9, 12])
def test_a_run_that_was_interrupted_gives_the_bytes_of_one_run(inputs, tmp_path, warm_worker, done):
    run(inputs, tmp_path / "whole", resume=False)
    stop_after(inputs, tmp_path / "out", done)
    unfinished = tmp_path / "out" / resuming.UNFINISHED
    kept = part_files.read_part(unfinished).shards if unfinished.exists() else frozenset()
    assert len(kept) == (done - 1) // 4
    events = run(inputs, tmp_path / "out")
    notes = [event.text for event in events if isinstance(event, Note) and "done already" in event.text]
    assert notes == ([f"{len(kept)} of 3 parts are done already, with {4 * len(kept) - 1} inputs."] if kept else [])
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")
    ends = [(event.done, event.total) for event in events if isinstance(event, Progress) and event.total]
    assert ends[-1] == (12, 12)
    assert min(ends)[0] > 4 * len(kept)


@pytest.mark.slow
def test_parts_that_are_done_are_merged_and_parts_of_shards_are_resumed(inputs, tmp_path, warm_worker):
    stop_after(inputs, tmp_path / "out", 9)
    events = []
    with pytest.raises(PartialError):
        consume(merge(MergeRequest(parts=(tmp_path / "out" / resuming.UNFINISHED,))), events)
    assert events[0].text == "not all parts of 3 are given; missing: 3."
    assert events[1].record["inputs"] == 7
    run(inputs, tmp_path / "whole", resume=False)
    list(begin(inputs, tmp_path / "1", shard=(1, 2)))
    with pytest.raises(PartialError, match="1 of 6"):
        list(begin(inputs, tmp_path / "2", shard=(2, 2)))
    with pytest.raises(PartialError):
        list(merge(MergeRequest(parts=(tmp_path / "2", tmp_path / "1"), output=f"{tmp_path}/all/")))
    assert contents(tmp_path / "all")["top.npz"] == contents(tmp_path / "whole")["top.npz"]


@pytest.mark.parametrize(
    ("change", "words"),
    [("list", "different lists of inputs"), ("length", "different parts of the list"), ("options", "different options"),
     ("model", "different weights of the model"), ("damage", "damaged")],
)  # fmt: skip
def test_another_list_model_or_option_is_refused(inputs, tmp_path, warm_worker, change, words):
    model = tmp_path / "model.keras"
    shutil.copy(DIGITS, model)
    stop_after(inputs, tmp_path / "out", 9, model=model)
    unfinished = tmp_path / "out" / resuming.UNFINISHED
    more = {}
    if change == "list":
        (inputs / "4.png").rename(inputs / "5.png")
    elif change == "length":
        np.save(inputs / "2.npy", np.load(inputs / "2.npy")[:5])
    elif change == "options":
        more["k"] = 1
    elif change == "model":
        with zipfile.ZipFile(DIGITS) as old, zipfile.ZipFile(model, "w") as new:
            for name in old.namelist():
                new.writestr(zipfile.ZipInfo(name, (2020, 1, 1, 0, 0, 0)), old.read(name))
    else:
        part = part_files.read_part(unfinished)
        part_files.write_part(unfinished, part.record, dict(list(part.state.items())[1:]))
    before = unfinished.read_bytes()
    with pytest.raises(ActvizError, match=words) as failure:
        list(begin(inputs, tmp_path / "out", model=model, **more))
    assert failure.value.exit_code == (3 if change == "damage" else 2)
    assert contents(tmp_path / "out") == {resuming.UNFINISHED: before}


def test_a_model_that_changes_during_a_run_ends_it(inputs, tmp_path, warm_worker):
    model = tmp_path / "model.keras"
    shutil.copy(DIGITS, model)
    with pytest.raises(ModelChangedError):
        consume(begin(inputs, tmp_path / "out", model=model), done=9, act=lambda _: model.write_bytes(b"PK"))
    assert part_files.read_part(tmp_path / "out" / resuming.UNFINISHED).shards == {1, 2}


def test_a_check_is_resumed(inputs, tmp_path, warm_worker):
    whole = conclusion(check(check_request(inputs, None)))
    with pytest.raises(KeyboardInterrupt):
        consume(check(check_request(inputs, f"{tmp_path}/out/", resume=True)), done=9, act=interrupt)
    assert conclusion(check(check_request(inputs, f"{tmp_path}/out/", resume=True))) == whole
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["check.npz"]
    assert conclusion(merge(MergeRequest(parts=(tmp_path / "out",)))) == whole
    with pytest.raises(UsageError, match="--resume keeps what is done in a folder"):
        list(check(check_request(inputs, "x.png", resume=True)))


@pytest.mark.slow
def test_one_part_gives_a_record_and_a_state_that_merge(inputs, tmp_path, warm_worker):
    listed = request(DIGITS, [inputs], layers=("conv", "scores"))
    taken = []
    for number in (3, 1, 2, 1):  # each by a worker of its own, in any order, one twice
        with Worker(listed.opening) as worker:
            opening = part_runs.open_run(top.TopParts(), worker, listed)
            opened = returned(opening)
            part = list(resuming.parts_of(opened.request.inputs))[number - 1]
            taken.append(returned(part_runs.run_part(opened, part)))
    for part in taken:
        part.record["of"] = 3
    parts = part_files.distinct(taken)
    tally = opened.start()
    for part in parts:
        tally.add_part(part.record, part.state)
    run(inputs, tmp_path / "whole", resume=False)
    whole = part_files.read_part(tmp_path / "whole" / "top.npz")
    state = tally.state()
    assert {key: values.tobytes() for key, values in state.items()} == {
        key: values.tobytes() for key, values in whole.state.items()
    }
    record = part_files.merged_record(parts)
    assert {key: record[key] for key in ("inputs", "failures", "weights", "list")} == {
        key: whole.record[key] for key in ("inputs", "failures", "weights", "list")
    }


def returned(generator):
    """Return what a generator returns."""
    while True:
        try:
            next(generator)
        except StopIteration as end:
            return end.value


@pytest.mark.slow
def test_an_empty_part_ends_well_and_merges(inputs, tmp_path, warm_worker):
    (inputs / "1.png").unlink()
    (inputs / "2.npy").unlink()
    for command in ("top", "check"):
        folders = [tmp_path / f"{command}{number}" for number in range(1, 6)]
        for number, folder in enumerate(folders, 1):
            if command == "top":
                given = InputArguments((inputs,), shard=Shard(number, 5))
                events = list(top.top(request(DIGITS, inputs=given, output=f"{folder}/", layers=("conv",))))
            else:
                events = list(check(check_request(inputs, f"{folder}/", (number, 5))))
            notes = [event.text for event in events if isinstance(event, Note)]
            empty = f"--shard {number}/5: there is no input in this part; its result is empty."
            assert (empty in notes) == (number > 3)
            assert [event.path.name for event in events if isinstance(event, FileWritten)] == [f"{command}.npz"]
        verdicts = [event for event in merge(MergeRequest(parts=tuple(folders[::-1]))) if isinstance(event, Verdict)]
        assert verdicts[0].record["inputs"] == 3
        with pytest.raises(ActvizError, match="no part has an input"):
            list(merge(MergeRequest(parts=tuple(folders[3:]))))

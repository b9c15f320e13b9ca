"""Many inputs: the same pictures however they are cut, nothing twice, nothing lost."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from importlib import resources
from pathlib import Path

import numpy as np
import pytest
from conftest import run_actviz
from PIL import Image
from threats import threat

from actviz.batch import up_to_date
from actviz.batch.events import FileFailed, FileWritten, Progress
from actviz.commands.show import ShowRequest, show
from actviz.errors import LimitError, OutputError, PartialError
from actviz.inputs import InputArguments, InputOptions, Shard
from actviz.records import Style
from actviz.system import file_writing, temporary_files
from actviz.worker import ModelOptions, Worker, client

PROGRAM = client.PROGRAM  # as imported: `warm_worker` replaces it

pytestmark = pytest.mark.usefixtures("warm_worker")


@pytest.fixture
def place(tmp_path, monkeypatch, samples):
    """A folder with twelve images to work in, one of them broken."""
    digits = np.asarray(Image.open(samples / "seven.png").convert("L"))
    (tmp_path / "in" / "more").mkdir(parents=True)
    for number in range(11):
        name = f"in/more/{number:02d}.png" if number > 8 else f"in/{number:02d}.png"
        Image.fromarray(np.roll(digits, number, 1)).save(tmp_path / name)
    (tmp_path / "in" / "broken.png").write_text("no image")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def request(samples, *inputs, layers=("conv",), output="out", **more):
    return ShowRequest(
        opening=ModelOptions(samples / "digits_cnn.h5", timeout=more.pop("timeout", 120.0)),
        inputs=InputArguments(tuple(map(Path, inputs))),
        layers=layers,
        output=output,
        style=more.pop("style", Style(bare=True)),
        reading=InputOptions(),
        **more,
    )


def run(asked):
    """Return what a run tells, and the error that it ends with."""
    events = []
    try:
        events.extend(show(asked))
    except (PartialError, LimitError, OutputError) as failure:
        return events, failure
    return events, None


def files(events):
    return sorted(event.path.as_posix() for event in events if isinstance(event, FileWritten))


def manifest(folder):
    return json.loads((folder / "manifest.json").read_text())


def pixels(folder):
    found = {}
    for path in folder.rglob("*.png"):
        with Image.open(path) as picture:
            found[path.relative_to(folder).as_posix()] = np.asarray(picture.convert("RGB")).astype(int)
    return found


def nothing_half_done(folder):
    """Check that every picture decodes and no temporary file is left; return how many pictures there are."""
    assert [path for path in folder.rglob("*") if path.name.startswith(".actviz-")] == []
    return len(pixels(folder))


@threat(101, 0)
def test_a_second_run_makes_only_what_is_missing_or_out_of_date(place, samples, monkeypatch):
    events, failure = run(request(samples, "in"))
    first = files(events)
    assert (len(first), failure.exit_code) == (11, 1)
    assert "out/more-09/001_conv.png" in files(events)
    assert [event.record["input"] for event in events if isinstance(event, FileFailed)] == ["broken.png"]
    assert [event for event in events if isinstance(event, Progress)][-1] == Progress(12, 12)
    whole = manifest(place / "out")
    jsonschema = pytest.importorskip("jsonschema")
    schema = json.loads(resources.files("actviz.results.manifest").joinpath("schema.json").read_text())
    jsonschema.validate(whole, schema)
    assert (len(whole["figures"]), whole["interrupted"]) == (11, False)
    assert whole["failures"][0]["reason"].startswith("in/broken.png: this is a text file")

    (place / "in" / "broken.png").unlink()
    with monkeypatch.context() as patch:
        patch.setattr(Worker, "prepare", lambda _: pytest.fail("TensorFlow was asked for"))
        patch.setattr(Worker, "request_activations", lambda *_: pytest.fail("something was computed"))
        events, failure = run(request(samples, "in"))
        assert files(run(request(samples, "in", changed=True))[0]) == []
    assert (files(events), failure) == (first, None)
    records = [event.record for event in events if isinstance(event, FileWritten)]
    assert sorted(records, key=lambda record: record["file"]) == whole["figures"]
    assert manifest(place / "out")["failures"] == []
    assert manifest(place / "out")["figures"] == whole["figures"]

    Image.open(place / "in" / "03.png").rotate(90).save(place / "in" / "03.png")
    (place / "out" / "04" / "001_conv.png").unlink()
    (place / "out" / "05" / "001_conv.png").write_bytes((place / "out" / "05" / "001_conv.png").read_bytes()[:-5])
    again = [f"out/{name}/001_conv.png" for name in ("03", "04", "05")]
    # What was cut off is no figure of ours any more than another's: it carries the same provenance.
    assert files(run(request(samples, "in", changed=True))[0]) == again
    assert len(files(run(request(samples, "in", layers=("conv", "scores"), changed=True))[0])) == 11
    assert len(files(run(request(samples, "in", style=Style(bare=True, cmap="viridis")))[0])) == 11
    assert len(files(run(request(samples, "in", style=Style(bare=True, cmap="viridis"), force=True))[0])) == 11
    monkeypatch.setattr(up_to_date, "_version", lambda _: "another")
    assert len(files(run(request(samples, "in", changed=True))[0])) == 11


def test_what_is_printed_has_one_order_whichever_figures_are_up_to_date(place, samples):
    def printed():
        events, _ = run(request(samples, "in", layers=("conv", "scores"), batch_size=3))
        return [
            (getattr(event, "path", None), event.record)
            for event in events
            if isinstance(event, FileWritten | FileFailed)
        ]

    first = printed()
    assert [str(path) for path, _ in first[:3]] == [
        "out/00/001_conv.png",
        "out/00/006_scores.png",
        "out/01/001_conv.png",
    ]
    assert [number for number, (path, _) in enumerate(first) if path is None] == [
        18
    ]  # the broken one, between 08 and more/
    for name in ("00/006_scores.png", "04/001_conv.png", "more-10/001_conv.png", "more-10/006_scores.png"):
        (place / "out" / name).unlink()
    assert printed() == first
    assert printed() == first


def test_results_among_the_inputs_are_no_inputs(place, samples):
    for _ in range(2):
        events, _ = run(request(samples, ".", output="out"))
        assert [event for event in events if isinstance(event, Progress)][-1] == Progress(12, 12)


@pytest.mark.slow
def contents(folder):
    """Return the bytes of every figure, and its record in the manifest."""
    found = {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*.png")}
    return found, manifest(folder)["figures"]


@pytest.mark.parametrize("size", [1, 4])
@threat(104, 0)
def test_the_pictures_do_not_depend_on_the_size_of_batches(place, samples, size):
    layers = ("conv_intermediate", "scores")
    run(request(samples, "in", output="alone", batch_size=size, layers=layers))
    run(request(samples, "in", output="out", layers=layers))
    one, other = contents(place / "alone"), contents(place / "out")
    assert len(one[0]) == 22
    assert one == other


@pytest.mark.slow
def test_a_folder_that_is_resumed_or_sharded_has_the_same_bytes(place, samples, monkeypatch):
    layers = ("conv_intermediate", "scores")
    run(request(samples, "in", output="out", layers=layers))
    whole = contents(place / "out")
    for number in (0, 3, 7):
        for path in (place / "out" / f"{number:02d}").glob("*.png"):
            path.unlink()
    run(request(samples, "in", output="out", layers=layers))
    assert contents(place / "out") == whole
    for number in (2, 1, 3):
        run(request(samples, "in", output="shards", layers=layers, shard=Shard(number, 3)))
    assert contents(place / "shards") == whole
    # A worker that dies begins anew, and the samples of its batch are run again by themselves.
    activations, failed = Worker.request_activations, []

    def dies_once(worker, batch, addresses, **how):
        if len(batch["image"]) > 1 and not failed:
            failed.append(True)
            worker.stop()
        return activations(worker, batch, addresses, **how)

    monkeypatch.setattr(Worker, "request_activations", dies_once)
    run(request(samples, "in", output="again", layers=layers))
    assert failed
    assert contents(place / "again") == whole


@pytest.mark.slow
def test_shards_are_disjoint_and_come_together_in_one_folder_or_by_copying(place, samples):
    parts = [files(run(request(samples, "in", shard=Shard(number, 3)))[0]) for number in (1, 2, 3)]
    assert sorted(file for part in parts for file in part) == sorted(set().union(*parts))
    assert sum(map(len, parts)) == 11
    assert len(manifest(place / "out")["figures"]) == 11
    assert [item["input"] for item in manifest(place / "out")["failures"]] == ["broken.png"]

    for number in (1, 2):
        run(request(samples, "in", shard=Shard(number, 2), output=f"part{number}"))
    (place / "both").mkdir()
    for number in (1, 2):
        subprocess.run(["cp", "-r", f"part{number}/.", "both"], check=True)
    assert len(manifest(place / "both")["figures"]) < 11
    events, _ = run(request(samples, "in", output="both", changed=True))
    assert files(events) == []
    both, one = manifest(place / "both")["figures"], manifest(place / "out")["figures"]
    assert [(item["file"], item["work"]) for item in both] == [(item["file"], item["work"]) for item in one]


@pytest.mark.slow
def test_a_large_array_is_read_piece_by_piece_and_cut_into_shards(place, samples, monkeypatch):
    monkeypatch.setattr("actviz.inputs.reading.CHUNK_BYTES", 40_000)
    values = np.random.default_rng(0).random((40, 28, 28, 1)).astype(np.float32)
    np.save("many.npy", values)
    whole, _ = run(request(samples, "many.npy"))
    assert len(files(whole)) == 40
    assert "out/many_39/001_conv.png" in files(whole)
    parts = [files(run(request(samples, "many.npy", shard=Shard(number, 3), output="cut"))[0]) for number in (1, 2, 3)]
    assert [len(part) for part in parts] == [14, 13, 13]
    one, other = pixels(place / "out"), pixels(place / "cut")
    assert one.keys() == other.keys()
    assert all(np.abs(one[name] - other[name]).max() <= 12 for name in one)
    assert files(run(request(samples, "many.npy"))[0]) == files(whole)
    assert files(run(request(samples, "many.npy", changed=True))[0]) == []


def test_inputs_of_different_sizes_are_grouped_not_refused(place, samples):
    picture = Image.open(samples / "flower.jpg")
    for number in range(6):
        picture.crop((0, 0, 64 + 16 * (number % 2), 64)).save(f"in/{number}.jpg")
    from dataclasses import replace

    asked = request(samples, "in/*.jpg", layers=("edges",), batch_size=3)
    events, failure = run(replace(asked, opening=ModelOptions(samples / "photo_features.keras")))
    assert (len(files(events)), failure) == (6, None)
    assert {tuple(item["shape"]) for item in manifest(place / "out")["figures"]} == {(64, 64, 32), (64, 80, 32)}


def kill(worker, how):
    """Kill the process of a worker, which begins a new one at the next question after its death."""
    worker.facts()
    os.kill(worker._process.pid, how)


@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGSEGV, signal.SIGKILL])
def test_a_sample_that_kills_the_worker_costs_itself_only(place, samples, monkeypatch, how):
    # A real worker: one that is forked ends up to 10 ms after the process that stands for it, and may answer until then.
    monkeypatch.setattr(client, "PROGRAM", PROGRAM)
    guilty = np.asarray(Image.open("in/04.png")).astype(np.float32) / 255
    ask = Worker.request_activations

    def deadly(worker, batch, addresses, **options):
        if not any(np.array_equal(sample[:, :, 0], guilty) for sample in batch["image"]):
            return ask(worker, batch, addresses, **options)
        # It dies with the request: where it was dead before, a new process would answer.
        kill(worker, signal.SIGSTOP)
        asked = ask(worker, batch, addresses, **options)
        for number in (how, signal.SIGCONT):
            os.kill(worker._process.pid, number)
        return asked

    monkeypatch.setattr(Worker, "request_activations", deadly)
    events, failure = run(request(samples, "in"))
    assert (len(files(events)), failure.exit_code) == (10, 1)
    assert [(item["input"], item["code"]) for item in manifest(place / "out")["failures"]] == [
        ("04.png", 6),
        ("broken.png", 3),
    ]


@pytest.mark.slow
def test_workers_that_die_one_after_another_end_the_batch(place, samples, monkeypatch):
    compute = Worker.activations

    def deadly(worker, batch, addresses, **options):
        kill(worker, signal.SIGKILL)
        return compute(worker, batch, addresses, **options)

    monkeypatch.setattr(Worker, "request_activations", deadly)
    events, failure = run(request(samples, "in"))
    assert (files(events), failure.exit_code) == ([], 6)
    assert nothing_half_done(place / "out") == 0


def test_fail_fast_ends_with_the_code_of_the_first_failure(place, samples):
    from actviz.errors import InputError

    with pytest.raises(InputError, match=r"broken\.png"):
        list(show(request(samples, "in/00.png", "in/broken.png", "in/01.png", fail_fast=True)))
    assert manifest(place / "out")["interrupted"] is True


@pytest.mark.slow
@threat(94, 7)
def test_a_full_disk_ends_the_run_and_loses_nothing(place, samples, monkeypatch):
    run(request(samples, "in/00.png", "in/01.png"))
    real, left = file_writing.os.fsync, [1]

    def full(descriptor):
        left[0] -= 1
        if left[0] < 0:
            raise OSError(28, "No space left on device")
        real(descriptor)

    monkeypatch.setattr(file_writing.os, "fsync", full)
    _, failure = run(request(samples, "in", force=True))
    assert failure.exit_code == 7
    assert "No space left" in failure.message
    assert nothing_half_done(place / "out") >= 2
    assert json.loads((place / "out" / "manifest.json").read_text())["schema"] == 1


@threat(95, 7)
def test_a_read_only_folder_is_said_before_anything_is_computed(place, samples, monkeypatch):
    monkeypatch.setattr(
        temporary_files.TemporaryFiles,
        "create",
        lambda *_: (_ for _ in ()).throw(PermissionError(13, "Permission denied")),
    )
    monkeypatch.setattr(Worker, "request_activations", lambda *_: pytest.fail("something was computed"))
    _, failure = run(request(samples, "in"))
    assert (failure.exit_code, "Permission denied" in failure.message) == (7, True)


@pytest.mark.slow
@threat(98, 0)
def test_stale_temporary_files_go_and_fresh_ones_stay(place, samples):
    (place / "out").mkdir()
    for name, age in ((".actviz-old.tmp", 4000), (".actviz-new.tmp", 10), ("mine.tmp", 4000)):
        (place / "out" / name).write_text("x")
        os.utime(place / "out" / name, (time.time() - age,) * 2)
    run(request(samples, "in/00.png"))
    run(request(samples, "in/00.png", "in/01.png"))
    assert sorted(path.name for path in (place / "out").iterdir() if path.is_file()) == [
        ".actviz-new.tmp",
        "manifest.json",
        "mine.tmp",
    ]


@threat(95, 7)
def test_files_of_others_are_refused_before_anything_is_computed(place, samples, monkeypatch):
    (place / "out" / "03").mkdir(parents=True)
    (place / "out" / "03" / "001_conv.png").write_text("precious")
    monkeypatch.setattr(Worker, "request_activations", lambda *_: pytest.fail("something was computed"))
    _, failure = run(request(samples, "in"))
    assert (failure.exit_code, "--overwrite" in failure.message) == (7, True)
    assert (place / "out" / "03" / "001_conv.png").read_text() == "precious"


# ------------------------------------------------------------------ the command itself
def start(place, samples, *more, **options):
    command = [sys.executable, "-P", "-m", "actviz", "show", str(samples / "digits_cnn.h5"), "many.npy", "-l", "conv"]
    return subprocess.Popen([*command, "-o", "out/", *more], cwd=place, text=True, **options)


def wait_for_pictures(place, process, count=3):
    patience = time.monotonic() + 60
    while len(list((place / "out").glob("*/*.png"))) < count:
        assert process.poll() is None
        assert time.monotonic() < patience
        time.sleep(0.02)


@pytest.mark.parametrize(
    ("sent", "code"), [(signal.SIGINT, 130), pytest.param(signal.SIGTERM, 143, marks=pytest.mark.slow), ("pipe", 141)]
)
@threat(96, 130)
@threat(97, 143)
@threat(99, 141)
def test_a_batch_that_is_ended_leaves_whole_pictures_and_goes_on_later(place, samples, sent, code):
    np.save("many.npy", np.random.default_rng(0).random((2000, 28, 28, 1)).astype(np.float32))
    with start(place, samples, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        wait_for_pictures(place, process)
        if sent == "pipe":
            process.stdout.close()
        else:
            process.send_signal(sent)
        started = time.monotonic()
        err = process.stderr.read()
        process.wait(20)
        took = time.monotonic() - started
    assert process.returncode == code, err
    assert took < 2
    assert "Traceback" not in err
    made = nothing_half_done(place / "out")
    found = manifest(place / "out")
    assert 3 <= made < 2000
    assert (found["interrupted"], len(found["figures"])) == (True, made)


@pytest.mark.slow
@threat(102, 0)
def test_two_runs_into_one_folder_do_no_harm(place, samples):
    np.save("many.npy", np.random.default_rng(0).random((60, 28, 28, 1)).astype(np.float32))
    with start(place, samples, "-q", "--bare") as one, start(place, samples, "-q", "--bare") as other:
        assert (one.wait(120), other.wait(120)) == (0, 0)
    assert nothing_half_done(place / "out") == 60
    assert len(manifest(place / "out")["figures"]) == 60


@pytest.mark.slow
def test_records_are_printed_as_they_are_written(place, samples):
    ran = run_actviz(
        "show", samples / "digits_cnn.h5", "in", "-l", "conv", "-o", "out/", "--json", "-q", "--bare", cwd=place
    )
    records = [json.loads(line) for line in ran.out.splitlines()]
    figures = manifest(place / "out")["figures"]
    printed = sorted((item for item in records if "file" in item), key=lambda item: item["file"])
    assert [item.pop("path") for item in printed] == [f"out/{item['file']}" for item in figures]
    assert printed == figures
    assert [item["code"] for item in records if "reason" in item] == [3]
    assert "1 of 12 inputs failed" in ran.error


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["--shard", "9/8"], 2, "there is no part 9 of 8"),
        (["--shard", "x"], 2, "give N/M"),
        (["nothing/*.png"], 3, "no file matches this pattern"),
        (["@missing.txt", "in"], 3, "missing.txt: no such file"),
        (["--files-from", "missing.txt"], 3, "missing.txt: no such file"),
        (["--batch-size", "0"], 2, "--batch-size"),
        (["empty"], 3, "no input found there"),
    ],
)
def test_batches_that_cannot_be(place, samples, arguments, code, said):
    (place / "empty").mkdir()
    ran = run_actviz("show", samples / "digits_cnn.h5", *arguments, "-l", "conv", "-o", "out/", cwd=place)
    assert (ran.code, len(ran.err.splitlines())) == (code, 1)
    assert said in ran.err
    assert not (place / "out").exists()


@pytest.mark.slow
def test_lists_name_inputs_one_a_line_or_between_nul_bytes(place, samples):
    (place / "list.txt").write_text("in/00.png\n\nin/missing.png\nin/more\n")
    ran = run_actviz("show", samples / "digits_cnn.h5", "@list.txt", "-l", "conv", "-o", "out/", cwd=place)
    assert ran.code == 1
    assert ran.out.split() == [f"out/{name}/001_conv.png" for name in ("00", "09", "10")]
    assert "in/missing.png: no such file" in ran.err
    ran = run_actviz(
        "show", samples / "digits_cnn.h5", "--files-from", "-", "-0", "-l", "conv", "-o", "other/", cwd=place,
        input="in/00.png\0in/01.png\0",
    )  # fmt: skip
    assert (ran.code, len(ran.out.split())) == (0, 2)


@pytest.mark.slow
@pytest.mark.parametrize("command", ["check", "extract", "diff", "report"])
def test_every_command_takes_lists(place, samples, command):
    models = [samples / "digits_cnn.h5"] * (2 if command == "diff" else 1)
    more = ["--json"] if command in {"check", "diff"} else []
    names = "in/00.png\nin/gone.png\nin/01.png\n"
    ran = run_actviz(command, *models, "--files-from", "-", "-l", "conv", *more, cwd=place, input=names)
    assert ran.code == 1, ran.err
    assert ran.error == "actviz: error: 1 of 3 inputs failed, for the reasons above; the results are of the other 2."
    if more:
        assert json.loads(ran.out)["inputs"] == 2
    elif command == "extract":
        assert len(np.load(place / "digits_cnn.npz")["conv"]) == 2
    else:
        assert "<dt>inputs</dt><dd><bdi>2</bdi>" in (place / "digits_cnn_report.html").read_text()


def test_a_dry_run_says_what_would_be_made_and_makes_nothing(place, samples):
    ran = run_actviz("show", samples / "digits_cnn.h5", "in/00.png", "in/01.png", "-l", "conv", "--dry-run", cwd=place)
    assert ran.code == 0
    assert "would draw conv: " in ran.out
    assert "would write 2 figures of 2 inputs to digits_cnn-actviz" in ran.out
    assert sorted(path.name for path in place.iterdir()) == ["in"]


@pytest.mark.slow
@pytest.mark.parametrize("layers", [("conv",), ()])
def test_a_dry_run_estimates_the_time_of_the_run(place, samples, layers):
    digits = np.asarray(Image.open(samples / "seven.png").convert("L"))
    (place / "many").mkdir()
    for number in range(200):
        Image.fromarray(np.roll(digits, number, 1)).save(place / "many" / f"{number:03d}.png")
    options = [word for layer in layers for word in ("-l", layer)]
    command = ("show", samples / "digits_cnn.h5", "many", *options, "-o", "estimated/")
    ratios = []
    for _ in range(3):  # a busy machine may be another one a moment later
        said = run_actviz(*command, "--dry-run", cwd=place).out
        minutes, seconds = re.search(r"an estimated (?:(\d+) min )?(\d+) s", said).groups()
        started = time.monotonic()
        assert run_actviz(*command, "-q", "--force", cwd=place).code == 0
        ratios.append((60 * int(minutes or 0) + int(seconds)) / (time.monotonic() - started))
        if 0.5 < ratios[-1] < 2:
            return
    raise AssertionError(ratios)

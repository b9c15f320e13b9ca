"""`actviz history` as a shell sees it: what is printed, what is written, the exit code."""

import json
import os
import pickle
import time

import numpy as np
import pytest
from click.testing import CliRunner
from conftest import seconds_of_children
from PIL import Image

from actviz.cli.program import program

HISTORY = {
    "loss": [1.0, 0.5, 0.4, 0.3, 0.2, 0.1],
    "val_loss": [1.1, 0.6, 0.7, 0.9, 1.0, 1.2],
    "accuracy": [0.5, 0.6, 0.7, 0.8, 0.9, 0.95],
    "val_accuracy": [0.5, 0.6, 0.62, 0.6, 0.6, 0.59],
}
SAID = "actviz: 6 epochs; val_loss best 0.6 at epoch 2, 1.2 at the end: overfitting since 2; val_accuracy 0.6 there\n"


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "run.history.json").write_text(json.dumps(HISTORY))
    return tmp_path


def write(path, history):
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(history))


def provenance(path):
    with Image.open(path) as image:
        assert image.mode == "RGB"
        return json.loads(image.text["actviz"])


# ------------------------------------------------------------------ what works
def test_one_history(actviz, folder):
    ran = actviz("history", "run.history.json")
    assert (ran.code, ran.out, ran.err) == (0, "run_history.png\n", SAID)
    about = provenance(folder / "run_history.png")
    assert about["history"] == "run.history.json"
    assert about["metrics"] == ["loss", "accuracy"]
    assert len(about["runs"][0]["sha256"]) == 64
    assert str(folder) not in json.dumps(about)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["h.json", "h.pkl", "h.npy", "h.csv"])
def test_the_same_curves_from_every_kind_of_file(actviz, folder, name):
    path = folder / name
    if name == "h.pkl":
        path.write_bytes(pickle.dumps({key: [np.float64(value) for value in row] for key, row in HISTORY.items()}))
    elif name == "h.npy":
        np.save(path, HISTORY, allow_pickle=True)
    elif name == "h.csv":
        rows = [["epoch", *HISTORY], *([epoch, *row] for epoch, row in enumerate(zip(*HISTORY.values(), strict=True)))]
        path.write_text("\n".join(",".join(map(str, row)) for row in rows))
    else:
        write(path, HISTORY)
    ran = actviz("history", name)
    assert (ran.code, ran.out, ran.err) == (0, "h_history.png\n", SAID)
    actviz("history", "run.history.json")
    with Image.open(folder / "h_history.png") as one, Image.open(folder / "run_history.png") as other:
        assert np.array_equal(np.asarray(one)[80:], np.asarray(other)[80:])  # below the file's name


def test_json_has_the_numbers(actviz, folder):
    ran = actviz("history", "run.history.json", "--json", "-q", "-o", "x.svg")
    assert (ran.code, ran.err, ran.out.count("\n")) == (0, "", 1)
    record = json.loads(ran.out)
    assert record["file"] == "x.svg"
    (one,) = record["runs"]
    assert (one["file"], one["epochs"], one["first_epoch"], one["last_epoch"]) == ("run.history.json", 6, 1, 6)
    assert one["validation_diverges"] is True
    assert one["metrics"]["loss"]["validation"] == {
        "best_epoch": 2, "best": 0.6, "last_epoch": 6, "last": 1.2, "values": 6, "nonfinite": 0,
    }  # fmt: skip
    assert one["metrics"]["accuracy"]["better"] == "max"
    assert one["metrics"]["accuracy"]["course"] == "level"


def test_svg_is_the_same_each_time_and_ours_is_replaced(actviz, folder):
    assert actviz("history", "run.history.json", "-o", "x.svg").code == 0
    first = (folder / "x.svg").read_bytes()
    time.sleep(1.1)
    assert actviz("history", "run.history.json", "-o", "x.svg").code == 0
    assert (folder / "x.svg").read_bytes() == first
    assert first.startswith(b"<?xml")
    write(folder / "other.json", HISTORY)
    assert actviz("history", "other.json", "-o", "x.svg").code == 7


def test_several_runs(actviz, folder):
    write(folder / "b.json", HISTORY | {"val_loss": [1, 0.5, 0.4, 0.3, 0.2, 0.15]})
    ran = actviz("history", "run.history.json", "b.json")
    assert (ran.code, ran.out) == (0, "run_vs_b_history.png\n")
    assert ran.err == (
        "actviz: 2 runs; 6 epochs; best val_loss 0.15 at epoch 6: b.json; best val_accuracy 0.62 at epoch 3: run.history.json\n"
    )
    for name in ("c.json", "d.json"):
        write(folder / name, HISTORY)
    assert actviz("history", "b.json", "c.json", "d.json").out == "b_and_2_more_history.png\n"


def test_a_folder_of_runs(actviz, folder):
    for name in ("a", "b"):
        write(folder / "runs" / f"{name}.json", HISTORY)
    (folder / "runs" / "notes.txt").write_text("hello")
    np.save(folder / "runs" / "data.npy", np.zeros(3))
    ran = actviz("history", "runs")
    assert (ran.code, ran.out) == (0, "runs_history.png\n")
    assert ran.err.splitlines()[0] == (
        "actviz: skipped: data.npy: this is an array of numbers without names of metrics; save history.history with json.dump."
    )
    assert provenance(folder / "runs_history.png")["history"] == "runs"
    assert actviz("history", ".", cwd=folder / "runs").code == 0


def test_folders_with_a_history_each_are_told_apart_by_their_names(actviz, folder):
    for name in ("a", "b"):
        write(folder / f"runs-{name}" / "history.json", HISTORY)
    os.makedirs(folder / "all")
    for name in ("a", "b"):
        os.rename(folder / f"runs-{name}", folder / "all" / name)
    ran = actviz("history", "all", "--json")
    assert ran.code == 0
    assert "a/history.json" in ran.err
    assert [run["epochs"] for run in json.loads(ran.out)["runs"]] == [6, 6]


def test_a_broken_file_costs_its_own_curves_only(actviz, folder):
    (folder / "broken.json").write_text("{")
    ran = actviz("history", "run.history.json", "broken.json", "-o", "x.png")
    assert (ran.code, ran.out) == (1, "x.png\n")
    assert ran.err.splitlines()[0].startswith("actviz: broken.json: not valid JSON")
    assert ran.error == "actviz: error: 1 of 2 files failed, for the reasons above; the rest is drawn."
    quiet = actviz("history", "run.history.json", "broken.json", "-o", "x.png", "-q")
    assert (quiet.code, quiet.out) == (1, "x.png\n")
    assert quiet.err == (
        "actviz: broken.json: not valid JSON; save it again with json.dump(history.history, file).\n"
        "actviz: error: 1 of 2 files failed, for the reasons above; the rest is drawn.\n"
    )
    stopped = actviz("history", "run.history.json", "broken.json", "-o", "y.png", "--fail-fast")
    assert (stopped.code, stopped.out) == (3, "")
    assert not (folder / "y.png").exists()


def test_options_change_the_figure(monkeypatch, folder):
    """In this process: a process for each figure would take seconds."""
    monkeypatch.chdir(folder)

    def draw(*arguments):
        assert CliRunner().invoke(program, ["history", "run.history.json", *arguments]).exit_code == 0

    draw("-o", "plain.png", "-q")
    seen = {(folder / "plain.png").read_bytes()}
    for number, options in enumerate(
        (
            ["--dark"],
            ["--log"],
            ["--smooth", "3"],
            ["-m", "loss"],
            ["--columns", "1"],
            ["--size", "900x600"],
            ["--zoom", "2"],
        )
    ):
        draw("-o", f"{number}.png", *options)
        seen.add((folder / f"{number}.png").read_bytes())
    assert len(seen) == 8
    with Image.open(folder / "5.png") as image:
        assert image.size == (900, 600)


def test_what_was_left_out_is_said(actviz, folder):
    write(folder / "h.json", {"loss": [1, 2, 3], "val_loss": [1], "note": "x"})
    ran = actviz("history", "h.json")
    assert ran.err.splitlines()[:2] == [
        "actviz: left out: note (not a list of numbers)",
        "actviz: left out: val_loss (1 values for 3 epochs: every 2 to 3 fits; choose one with --validation-freq)",
    ]
    assert "left out: val_loss" not in actviz("history", "h.json", "--validation-freq", "3").err


def test_a_page_has_room_for_a_few_notes_only(actviz, folder):
    write(folder / "h.json", HISTORY | {f"note {number}": "x" for number in range(300)})
    ran = actviz("history", "h.json")
    assert ran.err.count("left out") == 300
    with Image.open(folder / "h_history.png") as image:
        assert image.height < 800


def test_hostile_names_are_data(actviz, folder):
    write(folder / "h.json", {"x" * 10_000: [1, 2], "$x_{": [1, 2], "a\x1b[31m\u202e\n::error::": [1, 2], "loss": [1]})
    ran = actviz("history", "h.json", "--json")
    assert ran.code == 0
    assert "\x1b" not in ran.out + ran.err
    assert "\u202e" not in ran.out + ran.err
    assert len(json.loads(ran.out)["runs"][0]["metrics"]) == 3
    assert provenance(folder / "h_history.png")["metrics"][0] == "x" * 80


def test_names_of_files_are_data(actviz, folder):
    name = "$x_{\x1b[31m.json"
    write(folder / name, HISTORY)
    ran = actviz("history", name)
    assert ran.code == 0
    assert ran.out.startswith("x__31m_history-")
    assert "\x1b" not in ran.err


# ------------------------------------------------------------------ what is refused
@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        ([], 2, "Missing argument 'FILE...'"),
        (["nope.json"], 3, "nope.json: no such history; check the path."),
        (["run.history.json", "-o", "x.jpg"], 2, "learning curves are written as PNG, SVG or PDF"),
        (["run.history.json", "-m", "auc"], 2, 'no metric is called "auc"; there are: loss, accuracy.'),
        (["run.history.json", "--best", "most"], 2, "--best"),
        (["run.history.json", "--size", "big"], 2, "'big' is not a size in pixels such as 1200x800"),
        (["run.history.json", "--size", "100x100"], 2, "panels need"),
        (["run.history.json", "--zoom", "9"], 2, "--zoom"),
        (
            ["empty"],
            3,
            "empty: no history in this folder (.csv, .json, .npy, .pickle, .pkl, .tsv are looked for); name the file.",
        ),
        (
            ["saved"],
            3,
            "saved: this is the folder of a model, not a history of training; draw it with: actviz show saved",
        ),
        (["net.h5"], 3, "net.h5: this is a model, not a history of training; draw it with: actviz show net.h5"),
        (["fifo"], 3, "a device, pipe or socket"),
        (["run.history.json", "-o", "file/x.png"], 7, "a file stands where the folder should be"),
    ],
)
def test_refusals_write_nothing(actviz, folder, arguments, code, said):
    (folder / "empty").mkdir()
    (folder / "saved").mkdir()
    (folder / "saved" / "saved_model.pb").touch()
    (folder / "net.h5").write_bytes(b"\x89HDF\r\n\x1a\n")
    (folder / "file").touch()
    os.mkfifo(folder / "fifo")
    before = sorted(os.listdir(folder))
    ran = actviz("history", *arguments)
    assert ran.code == code, ran.err
    assert said in ran.error
    assert ran.error.startswith("actviz: error: ")
    assert (ran.out, sorted(os.listdir(folder))) == ("", before)


def test_a_file_that_is_not_ours_is_kept(actviz, folder):
    (folder / "run_history.png").write_text("precious")
    before = seconds_of_children()
    ran = actviz("history", "run.history.json")
    assert seconds_of_children() - before < 0.4, "something was drawn"
    assert ran.code == 7
    assert ran.error == (
        "actviz: error: run_history.png: exists and is not this figure; pass --overwrite to replace it or choose another name with -o."
    )
    assert (folder / "run_history.png").read_text() == "precious"
    assert actviz("history", "run.history.json", "--overwrite").code == 0
    assert actviz("history", "run.history.json").code == 0


def test_what_matplotlib_thinks_of_the_surroundings_is_nobodys_business(actviz, folder, tmp_path_factory):
    assert actviz("history", "run.history.json", "-o", "plain.png").code == 0
    (folder / "matplotlibrc").write_text("garbage \x1b[31m: [\nlines.linewidth: abc\nfoo\n")
    elsewhere = tmp_path_factory.mktemp("temporary")
    environment = {"MPLCONFIGDIR": "/proc/nowhere", "TMPDIR": str(elsewhere)}
    ran = actviz("history", "run.history.json", "-o", "other.png", env=environment)
    assert (ran.code, ran.out, ran.err) == (0, "other.png\n", SAID)
    assert os.listdir(elsewhere) == []
    assert (folder / "plain.png").read_bytes() == (folder / "other.png").read_bytes()


def test_help_names_every_option(actviz):
    shown = actviz("history", "--help").out
    for option in (
        "--output",
        "--metric",
        "--best",
        "--log / --no-log",
        "--smooth",
        "--validation-freq",
        "--dark",
        "--size",
    ):
        assert option in shown

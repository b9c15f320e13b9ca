"""A model that changes during a run: one answer, whatever was being read, and no result of two models."""

import json
import shutil
import zipfile

import faults
import numpy as np
import pytest
from conftest import DATA
from fault_child import CHANGES
from matrices import matrix
from PIL import Image
from test_retries import COMMANDS, INPUTS
from threats import threat

from actviz.errors import ModelChangedError
from actviz.worker import ModelOptions, Worker, client

EVERY_CHANGE = matrix(COMMANDS, CHANGES, fast=lambda command, change: command == "show" or change == "replaced")
CHANGED = (
    "actviz: error: m.h5: the model changed while it was read; wait until it is completely written, then run again."
)


@pytest.fixture
def place(tmp_path, monkeypatch, small_workers):
    """A folder with five inputs, on the third of which the small model changes its own file."""
    monkeypatch.chdir(tmp_path)
    faults.use_small_models(monkeypatch, small_workers)
    for number, name in enumerate(INPUTS):
        values = np.arange(64, dtype=np.uint8).reshape(8, 8) + number
        Image.fromarray(np.full_like(values, 255) if name == "guilty.png" else values).save(name)
    faults.write_model(tmp_path / "other.h5")
    return tmp_path


def last_line(capfd):
    return capfd.readouterr().err.splitlines()[-1]


@pytest.mark.parametrize(("command", "change"), EVERY_CHANGE)
@threat(132, 4)
def test_a_model_that_changes_while_it_computes(place, monkeypatch, capfd, code, command, change):
    faults.write_model(place / "m.h5", harm=change)
    assert faults.run_here(monkeypatch, *COMMANDS[command]) == code
    assert last_line(capfd) == CHANGED
    written = {path.name for path in place.iterdir()}
    assert not written & {"x.npz", "x.html", "x.xml"}  # no result of a whole run


@pytest.mark.parametrize(("command", "change"), EVERY_CHANGE)
@threat(132, 4)
def test_a_model_that_changes_while_it_is_opened(place, monkeypatch, capfd, code, command, change):
    faults.write_model(place / "m.h5", opening=change)
    assert faults.run_here(monkeypatch, *COMMANDS[command]) == code
    assert last_line(capfd) == CHANGED


@threat(132, 4)
def test_figures_that_were_written_stay_and_are_recorded(place, monkeypatch, code):
    from concurrent.futures import wait

    from actviz.batch.figure_writer import FigureWriter

    submit = FigureWriter.submit

    def submit_and_wait(painter, wish):  # otherwise what is not begun yet is given up
        submit(painter, wish)
        wait(painter._pending)

    monkeypatch.setattr(FigureWriter, "submit", submit_and_wait)
    faults.write_model(place / "m.h5", harm="replaced")
    assert faults.run_here(monkeypatch, *COMMANDS["show"], "--batch-size", "1") == code
    figures = sorted(path.relative_to(place / "out").as_posix() for path in (place / "out").rglob("*.png"))
    assert {figure.partition("/")[0] for figure in figures} == {"a", "b"}  # none of the input during which it changed
    manifest = json.loads((place / "out" / "manifest.json").read_text())
    assert [record["file"] for record in manifest["figures"]] == figures
    assert manifest["interrupted"] is True
    assert "model_sha256" not in manifest


def test_a_model_that_stays_is_computed(place, monkeypatch):
    faults.write_model(place / "m.h5")
    assert faults.run_here(monkeypatch, *COMMANDS["show"]) == 0


def test_a_change_during_the_last_batch_counts(place, monkeypatch, capfd):
    faults.write_model(place / "m.h5", harm="rewritten")
    assert faults.run_here(monkeypatch, "extract", "m.h5", "guilty.png", "-o", "x.npz") == 4
    assert last_line(capfd) == CHANGED


def test_a_change_after_the_last_batch_counts_too(place, monkeypatch, capfd):
    from actviz.batch import figure_writer

    faults.write_model(place / "m.h5")
    write = figure_writer.FigureWriter._write

    def change_then_write(painter, page, path):
        if path.parent.name == "z":
            CHANGES["rewritten"](place / "m.h5")
        return write(painter, page, path)

    monkeypatch.setattr(figure_writer.FigureWriter, "_write", change_then_write)
    assert faults.run_here(monkeypatch, *COMMANDS["show"], "--batch-size", "1") == 4
    assert last_line(capfd) == CHANGED


# ------------------------------------------------------------------ real files
def change_after_facts(opening, change, member):
    with Worker(opening) as worker:
        worker.facts()
        CHANGES[change](member)
        worker.facts()


def ask_facts(worker):
    with worker:
        worker.facts()


def unpack(path, samples):
    with zipfile.ZipFile(samples / "digits_cnn.keras") as archive:
        archive.extractall(path)


def copy(source):
    return lambda path, samples: shutil.copy(samples / source, path)


def saved_model(path, _):
    found = sorted(DATA.glob("**/saved_model.pb"))
    if not found:
        pytest.skip("no SavedModel is stored with the tests")
    shutil.copytree(found[0].parent, path)


MODELS = {
    "m.h5": (copy("dense.h5"), ["."]),
    "m.keras": (copy("digits_cnn.keras"), ["."]),
    "m.tflite": (copy("digits_cnn_int8.tflite"), ["."]),
    "unpacked": (unpack, ["config.json", "metadata.json", "model.weights.h5"]),
    "saved": (saved_model, ["saved_model.pb", "variables/variables.index"]),
}


@pytest.mark.tensorflow
@pytest.mark.parametrize(
    ("file", "change"),
    matrix(
        [(name, member) for name, (_, files) in MODELS.items() for member in files],
        CHANGES,
        fast=lambda file, change: file[0] == "m.h5" or change == "replaced",
    ),
)
def test_every_file_that_was_read_is_watched(tmp_path, samples, file, change):
    name, member = file
    MODELS[name][0](tmp_path / name, samples)
    with pytest.raises(ModelChangedError, match=f"^{name}: the model changed"):
        change_after_facts(ModelOptions(tmp_path / name), change, tmp_path / name / member)


@pytest.mark.tensorflow
@pytest.mark.parametrize("change", CHANGES)
def test_weights_beside_an_architecture_are_watched(tmp_path, samples, change):
    import h5py

    with h5py.File(samples / "dense.h5") as file:
        (tmp_path / "m.json").write_text(file.attrs["model_config"])
    shutil.copy(samples / "dense.h5", tmp_path / "w.h5")
    opening = ModelOptions(tmp_path / "m.json", weights=tmp_path / "w.h5")
    with pytest.raises(ModelChangedError, match=r"^m\.json: the model changed"):
        change_after_facts(opening, change, tmp_path / "w.h5")


@pytest.mark.tensorflow
def test_a_file_of_a_folder_that_changes_before_it_is_opened(tmp_path, samples):
    unpack(tmp_path / "unpacked", samples)
    weights = tmp_path / "unpacked" / "model.weights.h5"
    worker = Worker(ModelOptions(tmp_path / "unpacked"))  # whose child still loads its libraries
    CHANGES["replaced"](weights)
    with pytest.raises(ModelChangedError):
        ask_facts(worker)


@pytest.mark.tensorflow
def test_other_files_in_the_folder_of_a_model_may_change(tmp_path, samples):
    unpack(tmp_path / "unpacked", samples)
    (tmp_path / "unpacked" / "notes.txt").write_text("old")
    with Worker(ModelOptions(tmp_path / "unpacked")) as worker:
        worker.facts()
        (tmp_path / "unpacked" / "notes.txt").write_text("new")
        worker.facts()


@threat(132, 0)
def test_old_and_new_weights_are_mixed_where_no_guard_looks(place, monkeypatch, code):
    monkeypatch.setattr(client, "has_changed", lambda *_: False)
    faults.write_model(place / "m.h5", harm="replaced")
    assert faults.run_here(monkeypatch, *COMMANDS["show"]) == code

"""Files of a folder that are no inputs: counted by type, with what to do about them."""

import json
import re
from pathlib import Path

import pytest
from conftest import ROOT

from actviz.errors import InputError
from actviz.inputs import InputArguments, list_input_files
from actviz.inputs.skipped_files import MAXIMUM_NAMES, MAXIMUM_TYPES, SkippedFiles

NOTE = "3 files skipped: 2 HEIC (export as JPEG or PNG), 1 PDF"
RECORDS = [
    {"type": "HEIC", "count": 2, "reason": "export as JPEG or PNG", "files": ["IMG_1.HEIC", "more/IMG_2.heic"]},
    {"type": "PDF", "count": 1, "reason": "not an input that actviz reads", "files": ["paper.pdf"]},
]
STATED = (
    "actviz: preprocessing: 0..1 (a guess: nothing in the model says a range; give --preprocess if it is another)\n"
)


@pytest.fixture
def folder(tmp_path):
    for name in ("IMG_1.HEIC", "more/IMG_2.heic", "paper.pdf", ".DS_Store"):
        path = tmp_path / "in" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("no input")
    return tmp_path / "in"


def skipped_in(folder, **kinds):
    skipped = SkippedFiles()
    files = list_input_files(InputArguments((folder,)), skipped=skipped, **kinds)
    return [file.name for file in files], skipped


def test_files_are_counted_by_type_with_a_hint(folder):
    (folder / "a.png").touch()
    names, skipped = skipped_in(folder)
    assert (names, skipped.notes(), skipped.records()) == (["a.png"], (NOTE,), RECORDS)


def test_nothing_skipped_is_not_mentioned(tmp_path):
    (tmp_path / "a.png").touch()
    _, skipped = skipped_in(tmp_path)
    assert (skipped.notes(), skipped.records()) == ((), [])


def test_a_folder_with_nothing_else_is_an_error_that_names_them(folder):
    with pytest.raises(InputError) as raised:
        skipped_in(folder)
    assert raised.value.message.endswith(f"no input found there; images (.apng, .bmp, .gif, .jpe, ...) or arrays (.npy, .npz) were expected; {NOTE}.")  # fmt: skip


@pytest.mark.parametrize(
    ("kinds", "expected"),
    [
        ({}, "2 files skipped: 1 TXT (the model takes no text), 1 WAV (the model takes no sound)"),
        ({"text": True}, "1 file skipped: 1 WAV (the model takes no sound)"),
        ({"sound": True}, "1 file skipped: 1 TXT (the model takes no text)"),
    ],
)
def test_text_and_sound_depend_on_the_model(tmp_path, kinds, expected):
    for name in ("a.png", "a.txt", "a.wav"):
        (tmp_path / name).touch()
    assert skipped_in(tmp_path, **kinds)[1].notes() == (expected,)


def test_files_named_directly_are_not_skipped(folder):
    files = list_input_files(InputArguments((folder / "paper.pdf",)), skipped=(skipped := SkippedFiles()))
    assert ([file.name for file in files], skipped.notes()) == (["paper.pdf"], ())


def test_many_types_and_odd_names_are_bounded():
    skipped = SkippedFiles()
    for number in range(200):
        skipped.add(f"a.x{number}", f".x{number}")
    for number in range(MAXIMUM_NAMES + 5):
        skipped.add(f"{number}.x0", ".x0")
    skipped.add("noextension", "")
    skipped.add("a.\x1b[2J", ".\x1b[2J")
    (note,) = skipped.notes()
    assert note == "1,207 files skipped: 1,006 X0, 1 X1, 1 X10, 1 X11, 1 X12, 1 X13, 196 of other types"
    records = {record["type"]: record for record in skipped.records()}
    assert len(records) == MAXIMUM_TYPES + 1
    assert (records["X0"]["count"], len(records["X0"]["files"])) == (MAXIMUM_NAMES + 6, MAXIMUM_NAMES)


@pytest.mark.tensorflow
@pytest.mark.usefixtures("warm_worker")
@pytest.mark.parametrize("command", ["show", "extract"])
def test_a_command_prints_what_it_skipped(actviz, folder, samples, command):
    (folder / "seven.png").write_bytes((samples / "seven.png").read_bytes())
    output = {"show": "out/", "extract": "out.npz"}[command]
    ran = actviz(command, samples / "digits_cnn.h5", "in", "-l", "scores", "-o", output)
    assert ran.code == 0
    assert ran.out == {"show": "out/seven/006_scores.png\n", "extract": "out.npz\n"}[command]
    assert sorted(ran.err.splitlines(keepends=True)) == sorted([f"actviz: {NOTE}\n", STATED])


@pytest.mark.tensorflow
@pytest.mark.usefixtures("warm_worker")
def test_the_manifest_lists_skipped_files(actviz, folder, samples):
    (folder / "seven.png").write_bytes((samples / "seven.png").read_bytes())
    command = ("show", samples / "digits_cnn.h5", "in", "-l", "scores", "-q", "-o", "out/")
    assert actviz(*command).err == ""
    path = folder.parent / "out" / "manifest.json"
    manifest = json.loads(path.read_text())
    assert manifest["skipped"] == RECORDS
    jsonschema = pytest.importorskip("jsonschema")
    jsonschema.validate(manifest, json.loads((ROOT / "actviz/results/manifest/schema.json").read_text()))
    before = path.read_bytes()
    assert actviz(*command).code == 0
    assert path.read_bytes() == before
    for file in ("IMG_1.HEIC", "more/IMG_2.heic", "paper.pdf"):
        (folder / file).unlink()
    assert actviz(*command).code == 0
    assert "skipped" not in json.loads(path.read_text())


@pytest.mark.tensorflow
@pytest.mark.usefixtures("warm_worker")
def test_a_skipped_type_that_is_named_fails(actviz, folder, samples):
    ran = actviz("show", samples / "digits_cnn.h5", Path("in/paper.pdf"), "-l", "scores", "-o", "x.png")
    assert (ran.code, ran.out) == (3, "")
    assert ran.err == (
        "actviz: error: in/paper.pdf: this is a text file; an image (PNG, JPEG, WebP, BMP, TIFF, GIF) or an array (.npy, .npz) was expected.\n"
    )


@pytest.mark.tensorflow
@pytest.mark.usefixtures("warm_worker")
@pytest.mark.parametrize("command", ["check", "diff"])
def test_json_lists_skipped_files(actviz, folder, samples, command):
    (folder / "seven.png").write_bytes((samples / "seven.png").read_bytes())
    models = [samples / "digits_cnn.h5"] * (2 if command == "diff" else 1)
    ran = actviz(command, *models, "in", "-l", "scores", "-q", "--json")
    assert (ran.code, ran.err, json.loads(ran.out)["skipped"]) == (0, "", RECORDS)
    ran = actviz(command, *models, "in/seven.png", "-l", "scores", "-q", "--json")
    assert "skipped" not in json.loads(ran.out)


@pytest.mark.tensorflow
@pytest.mark.usefixtures("warm_worker")
def test_a_report_lists_skipped_files(actviz, folder, samples):
    (folder / "seven.png").write_bytes((samples / "seven.png").read_bytes())
    command = ("report", samples / "digits_cnn.h5", "in", "-l", "scores", "-q", "-o", "r.html", "--markdown", "r.md")
    assert (actviz(*command).code, actviz(*command).err) == (0, "")
    page, words = ((folder.parent / name).read_text() for name in ("r.html", "r.md"))
    assert "Skipped: 2 HEIC files (export as JPEG or PNG): IMG_1.HEIC, more/IMG_2.heic</p>" in page
    island = re.search(r'<script type="application/json"[^>]*>(.*?)</script>', page, re.DOTALL)
    assert json.loads(island[1])["skipped"] == RECORDS
    assert "- skipped: 2 HEIC files (export as JPEG or PNG)\n- skipped: 1 PDF file (" in words

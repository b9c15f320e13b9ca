"""The command: what is written, what is said, and every way it refuses."""

import json
import re

import numpy as np
import pytest

from actviz.report import html_page, markdown

pytestmark = pytest.mark.usefixtures("samples", "warm_worker")


def island(path):
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', path.read_text())
    return json.loads(found[1])


def test_a_report_says_what_check_says(actviz, samples, tmp_path):
    inputs = [samples / "seven.png", samples / "three.png"]
    done = actviz("report", samples / "digits_cnn.h5", *inputs, "-q", "-o", "r.html", "--markdown", "r.md")
    assert (done.code, done.out.split(), done.err) == (0, ["r.html", "r_sheet.png", "r.md"], "")
    said = island(tmp_path / "r.html")
    checked = json.loads(actviz("check", samples / "digits_cnn.h5", *inputs, "-q", "--json").out)
    layers = {layer["address"]: layer for layer in said["layers"]}
    assert said["count"] == checked["inputs"] == 2
    for one in checked["layers"]:
        ours = layers[one["address"]]["overall"]
        assert (ours["dead"], ours["constant"]) == (one["dead"], one["constant"])
        assert ours["low"] == pytest.approx(one["min"], rel=1e-5)
        assert ours["high"] == pytest.approx(one["max"], rel=1e-5)
        assert ours["zeros"] == pytest.approx(one["zeros"], rel=1e-5)
    assert (tmp_path / "r.html").stat().st_size < 1_000_000
    assert "6 of 64 channels never fire" in (tmp_path / "r.md").read_text().replace("\\", "")
    again = (tmp_path / "r.html").read_bytes()
    assert actviz("report", samples / "digits_cnn.h5", *inputs, "-q", "-o", "r.html").code == 0
    assert (tmp_path / "r.html").read_bytes() == again


@pytest.mark.slow
def test_numbers_are_over_all_inputs_and_figures_of_the_first(actviz, samples, tmp_path):
    rng = np.random.default_rng(0)
    np.save(tmp_path / "many.npy", rng.random((9, 28, 28, 1)).astype(np.float32))
    done = actviz("report", samples / "digits_cnn.h5", "many.npy", "--pictures", "2", "-o", "r.html")
    assert done.code == 0
    assert "first 2 of 9 inputs" in done.err
    said = island(tmp_path / "r.html")
    assert (said["count"], len(said["inputs"])) == (9, 2)
    whole = actviz("report", samples / "digits_cnn.h5", "many.npy", "--pictures", "9", "-q", "-o", "all.html")
    assert whole.code == 0
    for one, other in zip(said["layers"], island(tmp_path / "all.html")["layers"], strict=True):
        assert one["overall"]["dead"] == other["overall"]["dead"]
        assert one["overall"]["high"] == pytest.approx(other["overall"]["high"], rel=1e-5)


def test_maps_lie_over_the_input_only_where_it_is_one_picture(actviz, samples, tmp_path):
    model = samples / "digits_caption.keras"
    inputs = [f"image={samples / 'seven.png'}", f"text={samples / 'caption.txt'}"]
    given = [part for one in inputs for part in ("--input", one)]
    assert actviz("report", model, *given, "-q", "-o", "r.html").code == 0
    places = [layer["geometry"] for layer in island(tmp_path / "r.html")["layers"] if layer["drawn"] == "grid"]
    assert places
    assert all(place is not None for place in places)


def test_a_folder_means_the_files_in_it(actviz, samples, tmp_path):
    (tmp_path / "images").mkdir()
    refused(actviz, tmp_path, samples / "digits_cnn.h5", "images/", code=3)
    for name in ("three.png", "seven.png"):
        (tmp_path / "images" / name).write_bytes((samples / name).read_bytes())
    (tmp_path / "images" / ".hidden").write_text("no image")
    assert actviz("report", samples / "digits_cnn.h5", "images/", "-q", "-o", "r.html").code == 0
    assert [one["name"] for one in island(tmp_path / "r.html")["inputs"]] == ["seven.png", "three.png"]


@pytest.mark.slow
def test_what_changed_against_a_model_and_against_a_file(actviz, samples, tmp_path):
    inputs = [samples / "seven.png"]
    actviz("extract", samples / "digits_cnn.keras", *inputs, "-q", "-o", "old.npz")
    for other in (samples / "digits_cnn.keras", "old.npz"):
        done = actviz(
            "report", samples / "digits_cnn.h5", *inputs, "-q", "-o", "r.html", "--against", other, "--overwrite"
        )
        assert (done.code, done.err) == (0, "")
        assert "Nothing changed: 6 layers give the same numbers." in (tmp_path / "r.html").read_text()
    done = actviz(
        "report", samples / "digits_cnn.h5", samples / "three.png", "-q", "-o", "r.html", "--against", "old.npz"
    )
    assert done.code == 3
    assert "none of these inputs" in done.error


@pytest.mark.slow
def test_the_budget_is_kept_and_what_gave_way_is_said(actviz, samples, tmp_path):
    done = actviz(
        "report", samples / "photo_features.keras", samples / "flower.jpg", "-o", "r.html", "--max-size", "1MB"
    )
    assert done.code == 0
    assert 500_000 < (tmp_path / "r.html").stat().st_size <= 1_000_000
    assert re.search(
        r"only the strongest channels are drawn, to stay within 1 MB. For all of them: --max-size \d+MB", done.err
    )
    assert "What is not on this page" in (tmp_path / "r.html").read_text()


@pytest.mark.slow
def test_the_summary_of_a_job_is_added_to(actviz, samples, tmp_path):
    summary = tmp_path / "summary.md"
    summary.write_text("before\n")
    done = actviz(
        "report", samples / "dense.h5", samples / "patient.npy", "-q", "--markdown", summary,
        env={"GITHUB_STEP_SUMMARY": str(summary)},
    )  # fmt: skip
    assert done.code == 0, done.err
    assert done.out.split() == ["dense_report.html", str(summary)]
    assert summary.read_text().startswith("before\n<!-- actviz")
    assert not list(tmp_path.glob("*.png"))


def refused(actviz, tmp_path, *arguments, code, env=None):
    """Run and check that it ends with one line and a code, and leaves nothing behind."""
    before = {path: path.read_bytes() if path.is_file() else None for path in tmp_path.rglob("*")}
    done = actviz("report", "-q", *arguments, env=env)
    assert (done.code, done.out, len(done.err.splitlines())) == (code, "", 1), done.err
    assert {path: path.read_bytes() if path.is_file() else None for path in tmp_path.rglob("*")} == before
    return done.error


@pytest.mark.slow
def test_another_file_is_not_overwritten(actviz, samples, tmp_path):
    digits, seven = samples / "digits_cnn.h5", samples / "seven.png"
    (tmp_path / "r.html").write_text("<p>mine</p>")
    assert "--overwrite" in refused(actviz, tmp_path, digits, seven, "-o", "r.html", code=7)
    (tmp_path / "notes.md").write_text("mine")
    assert "notes.md" in refused(actviz, tmp_path, digits, seven, "-o", "n.html", "--markdown", "notes.md", code=7)
    assert actviz("report", "-q", digits, seven, "-o", "r.html", "--overwrite").code == 0
    assert html_page.read_provenance((tmp_path / "r.html").read_bytes())["model"] == "digits_cnn.h5"
    dense = (samples / "dense.h5", samples / "patient.npy")
    refused(actviz, tmp_path, *dense, "-o", "r.html", code=7)
    (tmp_path / "empty.md").write_text("")
    assert actviz("report", "-q", *dense, "--markdown", "empty.md").code == 0
    assert markdown.read_provenance((tmp_path / "empty.md").read_bytes())["model"] == "dense.h5"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["-o", "folder/"], 2, "ends in .html"),
        (["-o", "r.pdf"], 2, "ends in .html"),
        (["-o", "/proc/none/r.html"], 7, "/proc/none"),
        (["--max-size", "lots"], 2, "20MB"),
        (["--max-size", "10kB"], 6, "no room for one figure; at least"),
        (["--against", "none.keras"], 4, "none.keras"),
        (["-l", "nothing"], 2, "nothing"),
        (["--labels", "none.txt"], 3, "none.txt"),
    ],
)
def test_bad_input_is_one_line_and_nothing_is_written(actviz, samples, tmp_path, arguments, code, said):
    error = refused(actviz, tmp_path, samples / "digits_cnn.h5", samples / "seven.png", *arguments, code=code)
    assert said in error


def test_a_model_that_shares_nothing_is_refused(actviz, samples, tmp_path):
    error = refused(
        actviz, tmp_path, samples / "digits_cnn.h5", samples / "seven.png", "--against", samples / "dense.h5", code=3
    )
    assert "dense.h5" in error
    values = np.zeros((1, 2), np.float32)
    np.savez(tmp_path / "plain.npz", a=values)
    error = refused(
        actviz, tmp_path, samples / "digits_cnn.h5", samples / "seven.png", "--against", "plain.npz", code=3
    )
    assert "actviz extract" in error


@pytest.mark.slow
def test_a_broken_input_costs_itself_and_is_named_on_the_page(actviz, samples, tmp_path):
    (tmp_path / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\nrubbish")
    done = actviz("report", samples / "digits_cnn.h5", samples / "seven.png", "broken.png", "-q", "-o", "r.html")
    assert done.code == 1
    assert "Not used: broken.png" in (tmp_path / "r.html").read_text()
    refused(actviz, tmp_path, samples / "digits_cnn.h5", "broken.png", "-o", "x.html", code=3)


def test_no_layer_that_can_be_drawn_is_refused(actviz, tmp_path):
    import keras

    inputs = keras.Input((), dtype="string", name="text")
    keras.Model(inputs, keras.layers.Identity(name="same")(inputs)).save(tmp_path / "text.keras")
    (tmp_path / "words.txt").write_text("hello\n")
    error = refused(actviz, tmp_path, "text.keras", "words.txt", code=2)
    assert "drawn" in error


def test_a_note_is_printed_once_however_many_inputs_have_no_figure(actviz, samples):
    inputs = [samples / f"{name}.png" for name in ("three", "seven", "three")]
    done = actviz("report", samples / "digits_cnn.h5", *inputs, "-l", "conv", "-o", "r.html", "--pictures", "1")
    assert done.code == 0, done.err
    lines = done.err.splitlines()
    assert len(lines) == len(set(lines)), lines
    assert sum("preprocessing" in line for line in lines) == 1

"""The command as a shell sees it: what is printed, what is written, the exit code."""

import io
import json
import os
import pickle
import shutil
import signal
import subprocess
import sys
import time
import zipfile

import hostile_files
import model_files
import numpy as np
import pytest
from conftest import seconds_of_children, wait_for_worker
from PIL import Image
from threats import threat


def only_line(ran):
    """The one error line, which every failure of a user ends with."""
    lines = ran.err.strip().splitlines()
    assert lines[-1].startswith("actviz: error: "), ran.err
    assert "Traceback" not in ran.err
    return lines[-1].removeprefix("actviz: error: ")


# ------------------------------------------------------------------ what works
def test_one_layer_of_one_image(actviz, samples, tmp_path):
    ran = actviz("show", samples / "digits_cnn.h5", "--layer", "conv_intermediate", samples / "seven.png")
    assert (ran.code, ran.out) == (0, "digits_cnn_conv_intermediate_seven.png\n")
    assert (
        ran.err
        == "actviz: preprocessing: 0..1 (a guess: nothing in the model says a range; give --preprocess if it is another)\n"
    )
    assert os.listdir(tmp_path) == ["digits_cnn_conv_intermediate_seven.png"]
    with Image.open(tmp_path / "digits_cnn_conv_intermediate_seven.png") as image:
        about = json.loads(image.text["actviz"])
        assert image.mode == "RGB"
    assert about["address"] == "conv_intermediate"
    assert about["numbers"]["channels"] == 64
    again = actviz("show", samples / "digits_cnn.h5", "-l", "3", samples / "seven.png", "-o", "other.png")
    assert again.code == 0
    first, second = (tmp_path / name for name in ("digits_cnn_conv_intermediate_seven.png", "other.png"))
    assert first.read_bytes() == second.read_bytes()


@pytest.mark.usefixtures("warm_worker")
def test_nothing_else_is_needed(actviz, samples):
    ran = actviz("show", samples / "digits_cnn.h5", "--layer", "conv_intermediate")
    assert (ran.code, ran.out) == (0, "digits_cnn_conv_intermediate.png\n")
    assert "sample photograph" in ran.err


@pytest.mark.usefixtures("warm_worker")
def test_several_layers_of_several_inputs_go_into_folders(actviz, samples, tmp_path):
    ran = actviz(
        "show", samples / "digits_cnn.keras", samples / "seven.png", samples / "three.png", "-l", "@Conv2D,scores", "-q"
    )
    assert ran.code == 0
    assert ran.err == ""
    files = ran.out.split()
    assert len(files) == 6
    assert all((tmp_path / file).is_file() for file in files)
    assert "digits_cnn-actviz/seven/003_conv_intermediate.png" in files
    manifest = json.loads((tmp_path / "digits_cnn-actviz" / "manifest.json").read_text())
    assert {figure["file"] for figure in manifest["figures"]} == {name.split("/", 1)[1] for name in files}


@pytest.mark.usefixtures("warm_worker")
def test_without_a_layer_there_is_one_sheet(actviz, samples):
    ran = actviz("show", samples / "digits_cnn.h5", samples / "seven.png", "-o", "deep/folder/sheet.png", "-q")
    assert (ran.code, ran.out) == (0, "deep/folder/sheet.png\n")


@pytest.mark.usefixtures("warm_worker")
def test_a_batch_goes_on_after_a_broken_input(actviz, samples, tmp_path):
    (tmp_path / "broken.png").write_bytes((samples / "seven.png").read_bytes()[:200])
    ran = actviz(
        "show", samples / "digits_cnn.h5", "broken.png", samples / "seven.png", "-l", "conv", "-o", "out/", "-q"
    )
    assert ran.code == 1
    assert ran.out == "out/seven/001_conv.png\n"
    assert ran.err == (
        "actviz: broken.png: the PNG image is truncated (no end mark); copy or save it again.\n"
        "actviz: error: 1 of 2 inputs failed, for the reasons above; the rest is written (1 figure written).\n"
    )


@pytest.mark.usefixtures("warm_worker")
def test_layers_as_a_table_and_as_json(actviz, samples):
    table = actviz("layers", samples / "digits_cnn.h5")
    assert table.code == 0
    assert table.out.startswith("digits_cnn.h5: written by Keras 3.")
    assert "    3  conv_intermediate  Conv2D        11 x 11 x 64      18,496  grid" in table.out
    said = json.loads(actviz("layers", samples / "digits_cnn.keras", "--json").out)
    assert said["layers"][3]["shape"] == [None, 11, 11, 64]
    assert [layer["index"] for layer in said["layers"]] == list(range(7))


def test_version_and_help(actviz):
    from actviz import __version__

    assert actviz("--version").out == f"actviz {__version__}\n"
    for command in ([], ["show"], ["layers"]):
        ran = actviz(*command, "--help")
        assert ran.code == 0
        assert "Usage: " in ran.out


@pytest.mark.usefixtures("warm_worker")
def test_a_file_for_each_input(actviz, samples, tmp_path):
    model_files.pair(tmp_path / "pair.keras")
    (tmp_path / "meta.csv").write_text("1 2 5\n")
    left, right = f"left={samples / 'flower.jpg'}", f"right={samples / 'china.jpg'}"
    ran = actviz(
        "show",
        "pair.keras",
        "--input",
        left,
        "--input",
        right,
        "--input",
        "meta=meta.csv",
        "-l",
        "all,flat",
        "-o",
        "out",
    )
    assert ran.code == 0, ran.err
    assert ran.out == "out/flower+china+meta/010_all.png\nout/flower+china+meta/007_flat.png\n"
    assert "actviz: preprocessing: left 0..255 (the graph begins with x / 255" in ran.err
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert {figure["input"] for figure in manifest["figures"]} == {"left=flower.jpg, right=china.jpg, meta=meta.csv"}
    again = actviz("show", "pair.keras", "--input", left, "-l", "mean", "-q")
    assert (again.code, again.out) == (0, "pair_mean_flower.png\n")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["--input", "left=a.png"], 3, "these layers also need the input right, meta; give it with --input right=FILE"),
        (["--input", "middle=a.png"], 2, 'there is no input "middle"; the model has left, right, meta'),
        (["--input", "meta"], 2, "give NAME=FILE"),
        (["a.png", "--input", "left=a.png"], 2, "do not go together"),
        (["meta.csv"], 3, "a model with 3 inputs (left, right, meta); give a file for each (--input left=FILE ...)"),
        (["meta.csv", "-l", "flat"], 3, "meta.csv: line 2 column 1: 6 is outside the vocabulary"),
    ],
)
@pytest.mark.usefixtures("warm_worker")
def test_inputs_by_name_that_do_not_fit(actviz, tmp_path, arguments, code, said):
    model_files.pair(tmp_path / "pair.keras")
    (tmp_path / "meta.csv").write_text("1,2,5\n6,0,0\n")
    ran = actviz("show", "pair.keras", *([] if "-l" in arguments else ["-l", "all"]), *arguments)
    assert ran.code == code
    assert said in only_line(ran)
    assert sorted(os.listdir(tmp_path)) == ["meta.csv", "pair.keras"]


@pytest.mark.usefixtures("warm_worker")
def test_each_line_of_a_text_file_is_a_sample(actviz, tmp_path):
    model_files.reader(tmp_path / "reader.keras")
    (tmp_path / "text.txt").write_text("The cat sat.\n\nA dog?\n", encoding="utf-8")
    ran = actviz("show", "reader.keras", "text.txt", "-l", "flat")
    assert (ran.code, ran.err) == (0, "")
    assert ran.out == "reader-actviz/text_0/003_flat.png\nreader-actviz/text_1/003_flat.png\n"
    with Image.open(tmp_path / "reader-actviz" / "text_0" / "003_flat.png") as image:
        about = json.loads(image.text["actviz"])
    assert about["fed"] == '"The cat sat."'
    assert actviz("show", "reader.keras", "-l", "flat").err.startswith(
        "actviz: no input given: words of the model's vocabulary"
    )


@pytest.mark.usefixtures("warm_worker")
def test_layers_says_which_tokens_an_input_takes(actviz, tmp_path):
    model_files.pair(tmp_path / "pair.keras")
    assert (
        "input meta: 3 int32, whole numbers from 0 to 5\nimages are fed as left 0..255 ("
        in actviz("layers", "pair.keras").out
    )
    assert json.loads(actviz("layers", "pair.keras", "--json").out)["inputs"][2]["limit"] == 6


# ------------------------------------------------------------------ what is refused
def object_array(value):
    stream = io.BytesIO()
    np.save(stream, value, allow_pickle=True)
    return stream.getvalue()


def files_for(kind, folder, samples):
    path = folder / "m.h5"
    model = (samples / "digits_cnn.h5").read_bytes()
    keras = (samples / "digits_cnn.keras").read_bytes()
    history = {"loss": [1.0, 0.5], "accuracy": [0.5, 0.9]}
    contents = {
        "empty": b"",
        "text": b"hello, this is no model\n",
        "garbage": bytes(range(7, 200)),
        "truncated h5": model[: len(model) // 2],
        "truncated keras": keras[: len(keras) // 2],
        "lfs": b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n",
        "image": (samples / "seven.png").read_bytes(),
        "array": (samples / "patient.npy").read_bytes(),
        "history json": json.dumps(history).encode(),
        "history pickle": pickle.dumps(history),
        "history array": object_array(history),
        "history table": b"epoch,accuracy,loss\n0,0.5,1.0\n",
        "tflite": b"\x1c\0\0\0TFL3" + bytes(50),
    }
    if kind == "folder":
        path.mkdir()
    elif kind == "fifo":
        os.mkfifo(path)
    elif kind == "weights only":
        import h5py

        with h5py.File(path, "w") as file:
            file.attrs["layer_names"] = ["conv"]
            file["conv/kernel"] = np.zeros(3)
    elif kind == "zip without model":
        with zipfile.ZipFile(path, "w") as file:
            file.writestr("a.txt", "a")
    elif kind != "missing":
        path.write_bytes(contents[kind])
    return path


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("missing", "no such model"),
        ("folder", "this is a folder"),
        ("fifo", "a device, pipe or socket"),
        ("empty", "the file is empty"),
        ("text", "this is a text file (24 bytes"),
        ("garbage", "first bytes"),
        ("truncated h5", "truncated or damaged"),
        ("truncated keras", "truncated or damaged"),
        ("lfs", "git lfs pull"),
        ("image", "this is an image, not a model"),
        ("array", "this is a NumPy array, not a model"),
        ("history json", "draw its curves with: actviz history m.h5"),
        ("history pickle", "Nothing was unpickled"),
        ("history pickle", "draw its curves with: actviz history m.h5"),
        ("history array", "draw its curves with: actviz history m.h5"),
        ("history table", "draw its curves with: actviz history m.h5"),
        ("weights only", "has weights but no architecture: save with model.save(...)"),
        ("zip without model", "it holds no config.json"),
        ("tflite", "TFLite"),
    ],
)
@pytest.mark.usefixtures("warm_worker")
def test_what_is_no_model(actviz, samples, tmp_path, kind, said):
    path = files_for(kind, tmp_path, samples)
    before = sorted(os.listdir(tmp_path))
    ran = actviz("show", path.name, "-l", "conv")
    assert ran.code == 4
    assert said in only_line(ran)
    assert "m.h5" in only_line(ran)
    assert sorted(os.listdir(tmp_path)) == before


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["-l", "conv_intermediat"], "did you mean conv_intermediate"),
        (["-l", "99"], "there is no layer 99; the model has 7 (0 to 6)"),
        (["-l", "conv", "--scale", "2:1"], "2 is not below 1"),
        (["-l", "conv", "--scale", "nan:1"], "finite numbers"),
        (["-l", "conv", "--cmap", "viridiss"], "viridis"),
        (["-l", "conv", "--channels", "99"], "99"),
        (["-l", "conv", "--channels", "5:5"], "5:5"),
        (["-l", "conv", "--sort", "size"], "--sort"),
        (["-l", "conv", "--preprocess", "0-1"], "0-1"),
        (["-l", "conv,scores", "-o", "one.png"], "folder"),
        (["-l", "conv", "-o", "one.jpg"], "figures are written as PNG"),
        (["--zoom", "x"], "--zoom"),
        (["--wrong"], "--wrong"),
    ],
)
@pytest.mark.usefixtures("warm_worker")
def test_usage_errors_write_nothing(actviz, samples, tmp_path, arguments, said):
    ran = actviz("show", samples / "digits_cnn.h5", samples / "seven.png", *arguments)
    assert ran.code == 2
    assert said in only_line(ran)
    assert os.listdir(tmp_path) == []


def test_unknown_commands_and_remote_models(actviz):
    assert "there is no command" in only_line(actviz("shwo"))
    assert actviz("shwo").code == 2
    ran = actviz("layers", "hf://someone/model")
    assert ran.code == 2
    assert "remote paths are not supported" in only_line(ran)


@pytest.mark.usefixtures("warm_worker")
def test_inputs_that_cannot_be_fed(actviz, samples, tmp_path):
    truncated = (samples / "seven.png").read_bytes()[:150]
    (tmp_path / "cut.png").write_bytes(truncated)
    np.save(tmp_path / "flat.npy", np.zeros((7, 7)))
    np.save(tmp_path / "objects.npy", np.array([{}], object), allow_pickle=True)
    broken = np.zeros((28, 28, 1), np.float32)
    broken[3, 3] = np.nan
    np.save(tmp_path / "nan.npy", broken)
    shutil.copy(samples / "dense.h5", tmp_path / "model.h5")
    cases = {
        "cut.png": (3, "cut.png"),
        "missing.png": (3, "missing.png"),
        "flat.npy": (3, "(7, 7)"),
        "objects.npy": (5, "objects.npy"),
        "nan.npy": (3, "--allow-nonfinite"),
        "model.h5": (3, "model"),
    }
    for name, (code, said) in cases.items():
        ran = actviz("show", samples / "digits_cnn.h5", name, "-l", "conv")
        assert (name, ran.code) == (name, code)
        assert said in only_line(ran)
    assert not list(tmp_path.glob("digits*"))


@threat(95, 7)
@pytest.mark.usefixtures("warm_worker")
def test_outputs_that_cannot_be_written(actviz, samples, tmp_path):
    (tmp_path / "file").write_text("precious")
    (tmp_path / "mine.png").write_text("precious")
    (tmp_path / "folder.png").mkdir()
    for target in ("file/x.png", "mine.png", "folder.png", "/proc/nowhere/x.png"):
        before = seconds_of_children()
        ran = actviz("show", samples / "digits_cnn.h5", samples / "seven.png", "-l", "conv", "-o", target)
        assert (target, ran.code) == (target, 7)
        only_line(ran)
        assert seconds_of_children() - before < 2, "something was computed"
    assert (tmp_path / "file").read_text() == (tmp_path / "mine.png").read_text() == "precious"


@pytest.mark.parametrize(
    ("content", "option", "code", "said"),
    [
        ("a\nb\n", "--labels", 2, "2 names, but the layers drawn have 7 units"),
        ("a\nb\n", "--tokens", 2, "2 names, but the layers drawn have 12 steps"),
        ('{"0": "a", "2": "b"}', "--labels", 3, "no name for index 1"),
        ("", "--labels", 3, "the file has no names"),
        ("{", "--labels", 3, "malformed"),
        ("[[1]]", "--labels", 3, "does not contain names"),
        (None, "--tokens", 3, "no such file"),
    ],
)
@pytest.mark.usefixtures("warm_worker")
def test_names_that_do_not_fit(actviz, samples, tmp_path, content, option, code, said):
    if content is not None:
        (tmp_path / "names").write_text(content)
    ran = actviz(
        "show", samples / "ner_bilstm.h5", samples / "sentence.npy", "-l", "tags", option, "names", "-o", "out/"
    )
    assert ran.code == code
    assert said in only_line(ran)
    assert os.listdir(tmp_path) == ([] if content is None else ["names"])


@pytest.mark.slow
@pytest.mark.usefixtures("warm_worker")
def test_words_and_classes_are_written_beside_a_sequence(actviz, samples, tmp_path):
    given = ("--tokens", samples / "sentence.txt", "--labels", samples / "ner_labels.txt")
    ran = actviz(
        "show", samples / "ner_bilstm.h5", samples / "sentence.npy", "-l", "tags", *given, "-o", "tags.png", "-q"
    )
    assert (ran.code, ran.out) == (0, "tags.png\n")
    plain = actviz("show", samples / "ner_bilstm.h5", samples / "sentence.npy", "-l", "tags", "-o", "plain.png", "-q")
    assert plain.code == 0
    with Image.open(tmp_path / "tags.png") as named, Image.open(tmp_path / "plain.png") as unnamed:
        first, second = (json.loads(image.text["actviz"])["numbers"] for image in (named, unnamed))
        assert first["masked"] == second["masked"] == 3
        assert named.size != unnamed.size


@pytest.mark.slow
@pytest.mark.usefixtures("warm_worker")
def test_what_cannot_be_drawn_costs_nobody_else_a_picture(actviz, samples, tmp_path):
    ran = actviz(
        "show", samples / "digits_cnn.h5", samples / "seven.png", "-l", "conv,scores", "--channels", "20", "-o", "out/"
    )
    assert ran.code == 1
    assert ran.out == "out/seven/001_conv.png\n"
    assert "actviz: no figure: channel 20 does not exist" in ran.err
    assert "1 of 2 figures could not be drawn" in only_line(ran)
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert [(item["address"], item["code"]) for item in manifest["failures"]] == [("scores", 2)]
    ran = actviz(
        "show", samples / "digits_cnn.h5", samples / "seven.png", "-l", "conv,scores", "--channels", "99", "-o", "none/"
    )
    assert ran.code == 2
    assert "channel 99 does not exist" in only_line(ran)
    ran = actviz("show", samples / "digits_cnn.h5", samples / "seven.png", "-l", "conv", "--channels", "99", "-q")
    assert (ran.code, ran.out) == (2, "")
    assert ran.err == "actviz: error: channel 99 does not exist; the layer has 32, 0 to 31.\n"


# ------------------------------------------------------------------ endings
def test_a_lambda_is_refused_before_anything_is_imported(actviz, tmp_path):
    config = {
        "module": "keras",
        "class_name": "Sequential",
        "registered_name": None,
        "config": {
            "name": "s",
            "layers": [
                {"module": "keras.layers", "class_name": "InputLayer", "registered_name": None,
                 "config": {"batch_shape": [None, 3], "dtype": "float32", "name": "i"}},
                {"module": "keras.layers", "class_name": "Lambda", "registered_name": None, "config": {"name": "lam"}},
            ],
        },
    }  # fmt: skip
    hostile_files.keras(tmp_path / "m.keras", config, {})
    ran = actviz("show", "m.keras", "-l", "lam")
    assert ran.code == 5
    assert 'layer "lam" is a Lambda: it can run any code' in only_line(ran)


@pytest.mark.parametrize(("sent", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
@threat(96, 130)
@threat(97, 143)
def test_signals_end_within_two_seconds_and_leave_nothing(samples, tmp_path, sent, code):
    command = [sys.executable, "-P", "-m", "actviz", "show", str(samples / "digits_cnn.h5"), "-l", "conv"]
    with subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True) as process:
        wait_for_worker(process)
        time.sleep(0.5)  # TensorFlow is being imported
        process.send_signal(sent)
        started = time.monotonic()
        _, err = process.communicate(timeout=20)
    assert time.monotonic() - started < 2
    assert process.returncode == code
    assert "Traceback" not in err
    assert os.listdir(tmp_path) == []


@threat(99, 141)
@threat(100, 7)
def test_a_closed_pipe_and_a_full_device(samples, tmp_path):
    base = [sys.executable, "-P", "-m", "actviz", "layers", str(samples / "digits_cnn.h5")]
    reader, writer = os.pipe()
    os.close(reader)
    try:
        closed = subprocess.run(base, stdout=writer, stderr=subprocess.PIPE, text=True, cwd=tmp_path, check=False)
    finally:
        os.close(writer)
    assert (closed.returncode, closed.stderr) == (141, "")
    with open("/dev/full", "w") as full:
        ran = subprocess.run(base, stdout=full, stderr=subprocess.PIPE, text=True, cwd=tmp_path, check=False)
    assert ran.returncode == 7
    assert "No space left" in ran.stderr


@pytest.mark.slow
@threat(105, 0)
def test_files_lying_about_change_nothing(actviz, samples, tmp_path):
    marker = tmp_path / "marker"
    payload = f"open({str(marker)!r}, 'w').close()\n"
    for name in ("h5py.py", "sitecustomize.py", "numpy.py", "click.py", "keras.py"):
        (tmp_path / name).write_text(payload)
    (tmp_path / "matplotlibrc").write_text("image.lut: 16\n")
    plain = actviz("show", samples / "digits_cnn.h5", samples / "seven.png", "-l", "conv", "--cmap", "jet", "-q")
    assert plain.code == 0
    assert not marker.exists()
    control = subprocess.run([sys.executable, "-c", "import h5py"], cwd=tmp_path, check=False, capture_output=True)
    assert marker.exists(), control

"""Paths that are no input, what stands in for none, and what reading costs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from threats import threat

from actviz.errors import InputError, LimitError, UsageError
from actviz.inputs import PREPROCESSINGS, InputArguments, InputOptions, default_sample, read_samples
from actviz.inputs.default_input import find_photograph
from actviz.inputs.reading import open_input, samples_in
from actviz.records import TensorSpec
from actviz.system import file_system

AXES = ("batch", "row", "column", "channel")
IMAGE = TensorSpec("image", (None, 28, 28, 1), "float32", AXES)
ACCEPTED = "an image (PNG, JPEG, WebP, BMP, TIFF, GIF) or an array (.npy, .npz)"


def read(path, spec=IMAGE, **options):
    return read_samples(path, (spec,), PREPROCESSINGS["0..1"], InputOptions(**options))


def refused(path, spec=IMAGE):
    with pytest.raises(InputError) as caught:
        read(path, spec)
    assert "\n" not in caught.value.message
    return caught.value.message.removeprefix(f"{path}: ")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", f"the file is empty; {ACCEPTED} was expected."),
        (b"not an image", f"this is a text file; {ACCEPTED} was expected."),
        (b"a,b\n1,2\n", f"this is a text file; {ACCEPTED} was expected."),
        (b"BMI,age\n22.1,30\n" * 4, f"this is a text file; {ACCEPTED} was expected."),
        (json.dumps({"loss": [1, 2]}).encode(), f"this is a JSON file; {ACCEPTED} was expected."),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n", f"this is a PostScript file; {ACCEPTED} was expected."),
        (b"%PDF-1.7\n", f"this is a PDF file; {ACCEPTED} was expected."),
        (b"SIMPLE  =    T", f"this is a FITS file; {ACCEPTED} was expected."),
        (b"DanM" + b"\0" * 60, f"this is no known kind of file (it begins with 44 61 6e 4d 00 00 00 00); {ACCEPTED} was expected."),
        (b"<!doctype html><html>", f"this is a web page; {ACCEPTED} was expected."),
        (b"\0\0\0\x18ftypheic" + b"\0" * 9, f"this is a HEIC image (export it as JPEG or PNG); {ACCEPTED} was expected."),
        (
            b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n",
            "a Git LFS pointer stands in for the file itself; run git lfs pull.",
        ),
    ],
)  # fmt: skip
@threat(84, 3)
def test_what_is_no_input(tmp_path, content, message):
    path = tmp_path / "a.png"
    path.write_bytes(content)
    assert refused(path) == message


SECOND_MODEL = "a run has one model, its first argument; compare two with: actviz diff A B INPUTS"
MODEL = f"this is a model, not an input; {SECOND_MODEL}. The other arguments must be {ACCEPTED}."


@pytest.mark.parametrize("named", ["x.png", "left=x.png"])
def test_two_models_and_a_named_input_give_one_sentence(named):
    with pytest.raises(UsageError) as caught:
        InputArguments((Path("b.keras"),), (named,))
    assert caught.value.message == f"b.keras: this is a second model; {SECOND_MODEL}."


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.h5", b"\x89HDF\r\n\x1a\n" + b"\0" * 40),
        ("a.npy", b"\x89HDF\r\n\x1a\n" + b"\0" * 40),
        ("a.tflite", b"\x1c\0\0\0TFL3" + b"\0" * 40),
        ("saved_model.pb", b"\x08\x01\x12\x00\x00"),
    ],
)
def test_models_are_no_inputs(tmp_path, name, content):
    path = tmp_path / name
    path.write_bytes(content)
    assert refused(path) == MODEL


def test_keras_archives_and_folders_are_no_inputs(tmp_path):
    path = tmp_path / "m.keras"
    with zipfile.ZipFile(path, "w") as archive:
        for member in ("metadata.json", "config.json", "model.weights.h5"):
            archive.writestr(member, "{}")
    assert refused(path) == MODEL
    (tmp_path / "saved").mkdir()
    (tmp_path / "saved" / "saved_model.pb").write_bytes(b"")
    assert refused(tmp_path / "saved") == MODEL


def test_other_archives(tmp_path):
    path = tmp_path / "a.npz"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("readme.txt", "hello")
    assert refused(path) == "a zip archive without a .npy array; an .npz from numpy.savez was expected."


@threat(89, 3)
def test_paths(tmp_path):
    assert refused(tmp_path / "none.png") == "no such file; check the path."
    assert refused(tmp_path) == f"this is a folder; name the files in it, for instance {tmp_path}/*.png."
    os.mkfifo(tmp_path / "pipe")
    assert refused(tmp_path / "pipe") == "this is a device, pipe or socket; a regular file was expected."
    assert "regular file was expected" in refused(Path("/dev/zero"))
    (tmp_path / "loop").symlink_to("loop")
    assert "cannot be opened" in refused(tmp_path / "loop")
    assert "cannot be opened" in refused(tmp_path / ("x" * 300))
    refused(tmp_path / "a\0b")


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
@threat(89, 3)
def test_unreadable(tmp_path):
    path = tmp_path / "a.png"
    path.write_bytes(b"x")
    path.chmod(0)
    assert "cannot be opened" in refused(path)


def test_links_are_followed_for_reading(tmp_path):
    Image.new("L", (28, 28)).save(tmp_path / "a.png")
    (tmp_path / "link").symlink_to("a.png")
    assert read(tmp_path / "link")[0].name == "link"


@pytest.mark.parametrize(
    "name", [b"\xff\xfe.png", "e\u0301.png".encode(), b"-l.png", b"a\nb\x1b[2J.png", b"x" * 250 + b".png"]
)
@threat(90, 0)
def test_odd_names(tmp_path, name):
    path = tmp_path / os.fsdecode(name)
    Image.new("L", (28, 28)).save(path, "PNG")
    assert read(path)[0].name == os.fsdecode(name)
    path.write_bytes(b"")
    with pytest.raises(InputError) as caught:
        read(path)
    assert caught.value.message.isprintable()
    caught.value.message.encode()


def test_a_file_that_changes_while_it_is_read(tmp_path, monkeypatch):
    path = tmp_path / "a.npy"
    np.save(path, np.zeros((28, 28, 1)))
    opened = file_system.open_regular

    def open_and_touch(*given):
        result = opened(*given)
        with path.open("ab") as file:
            file.write(b"more")
        return result

    monkeypatch.setattr(file_system, "open_regular", open_and_touch)
    assert "changed while reading" in refused(path)


def test_a_disk_that_fails(tmp_path, monkeypatch):
    path = tmp_path / "a.png"
    Image.new("L", (28, 28)).save(path)
    opened = file_system.open_regular

    class Failing:
        def __init__(self, file):
            self.file = file

        def __enter__(self):
            return self

        def __exit__(self, *_):
            self.file.close()

        def read(self, _):
            raise OSError(5, "Input/output error")

    def failing(*given):
        file, stamp = opened(*given)
        return Failing(file), stamp

    monkeypatch.setattr(file_system, "open_regular", failing)
    assert refused(path) == "the file cannot be read (Input/output error); check the disk and run again."


def test_streams_make_one_sample_at_a_time(tmp_path):
    array = np.zeros((3, 28, 28, 1))
    array[2] = np.nan
    np.save(tmp_path / "a.npy", array)
    opened = open_input(tmp_path / "a.npy", (IMAGE,))
    samples = samples_in(opened, (IMAGE,), PREPROCESSINGS["0..1"], InputOptions())
    assert [next(samples).name, next(samples).name] == ["a.npy[0]", "a.npy[1]"]
    with pytest.raises(InputError, match="784 NaN"):
        next(samples)


def stand_in(*specs, name="0..1", **options):
    return default_sample(specs, PREPROCESSINGS[name], InputOptions(**options))


@pytest.mark.parametrize(
    ("shape", "axes", "expected"),
    [
        ((None, 28, 28, 1), AXES, (1, 28, 28, 1)),
        ((None, 224, 224, 3), AXES, (1, 224, 224, 3)),
        ((None, None, None, 3), AXES, (1, 512, 437, 3)),
        ((None, 3, None, None), ("batch", "channel", "row", "column"), (1, 3, 512, 437)),
    ],
)
def test_photograph(shape, axes, expected):
    sample = stand_in(TensorSpec("image", shape, "float32", axes))
    assert sample.values["image"].shape == expected
    assert sample.name == "grace_hopper.jpg"
    assert sample.notes == (
        "no input given: the sample photograph grace_hopper.jpg is used; give an image or an array after the model.",
    )
    assert sample.thumbnail.std() > 20


@pytest.mark.parametrize(("how", "word"), [("stretch", "stretched 1.17 : 1"), ("crop", "cropped"), ("pad", "padded")])
def test_the_photograph_gets_the_size_of_the_input_as_any_image_does(how, word):
    spec = TensorSpec("image", (None, 10, 10, 1), "float32", AXES)
    sample = stand_in(spec, resize=how)
    assert sample.fitting == word
    assert sample.fed.endswith(f"{word} from 600 \N{MULTIPLICATION SIGN} 512")
    assert bool(sample.padding) == (how == "pad")
    if how == "stretch":
        default = stand_in(spec)
        np.testing.assert_array_equal(default.values["image"], sample.values["image"])


def test_noise_where_there_is_no_photograph(monkeypatch):
    monkeypatch.setattr("actviz.inputs.default_input.find_photograph", lambda: None)
    sample = stand_in(IMAGE, seed=4)
    assert sample.name == "noise-4"
    assert "random noise is used (--seed 4)" in sample.notes[0]
    np.testing.assert_array_equal(
        sample.values["image"], np.random.default_rng(4).standard_normal((1, 28, 28, 1)).astype("f4")
    )


@pytest.mark.parametrize("missing", [None, type("Spec", (), {"origin": None})()])
def test_no_matplotlib(monkeypatch, missing):
    monkeypatch.setattr("importlib.util.find_spec", lambda _: missing)
    assert find_photograph() is None


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16", "int32", "int64", "uint8", "bool"])
def test_noise(dtype):
    spec = TensorSpec("tokens", (None, None, 5), dtype, ("batch", "step", "unit"))
    first, again, other = stand_in(spec), stand_in(spec), stand_in(spec, seed=1)
    values = first.values["tokens"]
    assert values.shape == (1, 16, 5)
    assert first.digest == again.digest != other.digest
    assert "random noise of seed 0" in first.fed
    if values.dtype.kind in "iu":
        assert 1 <= values.min() <= values.max() <= 9


def test_noise_that_cannot_be(monkeypatch):
    with pytest.raises(LimitError, match="at most 1,000,000 are made"):
        stand_in(TensorSpec("words", (None, 10**7), "string", ("batch", "step")))
    with pytest.raises(LimitError, match="at most 100,000,000 are made"):
        stand_in(TensorSpec("x", (None, 10**6, 10**6), "float32", ("batch", "step", "unit")))
    monkeypatch.setattr("actviz.inputs.default_input.find_photograph", lambda: None)
    with pytest.raises(LimitError):
        stand_in(TensorSpec("x", (None, 10**6, 10**6, 3), "float32", AXES))


def test_a_photograph_larger_than_allowed():
    with pytest.raises(LimitError, match="would be fed"):
        stand_in(TensorSpec("x", (None, 10**6, 10**6, 3), "float32", AXES))


def loaded_by(statement, *modules):
    script = f"import sys; {statement}; print([name for name in {modules!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-W", "error", "-c", script], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_heavy_imports_wait():
    heavy = ("matplotlib", "tensorflow", "keras", "PIL.Image")
    assert loaded_by("import actviz.inputs", *heavy) == "[]"
    assert loaded_by("import actviz.inputs, PIL.Image", *heavy) == "['PIL.Image']"


def test_the_photograph_does_not_import_matplotlib():
    statement = (
        "from actviz.inputs import *; from actviz.records import TensorSpec;"
        f"default_sample(({IMAGE!r},), PREPROCESSINGS['0..1'], InputOptions())"
    )
    assert loaded_by(statement, "matplotlib") == "[]"
    assert loaded_by("import matplotlib", "matplotlib") == "['matplotlib']"

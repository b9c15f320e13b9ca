"""The commands extract and render as a person runs them: files, figures, messages, exit codes."""

import json
import os
import pickle
import re
import signal
import subprocess
import sys
import time
import zipfile

import numpy as np
import pytest
from click.testing import CliRunner
from conftest import wait_for_worker
from PIL import Image

import actviz as library
from actviz.activations import lazy_array
from actviz.cli.program import program
from actviz.errors import ActvizError

pytestmark = pytest.mark.usefixtures("warm_worker")


@pytest.fixture(scope="module")
def saved(samples, tmp_path_factory):
    """All layers of the digits model for two digits."""
    folder = tmp_path_factory.mktemp("saved")
    ran = run(
        "extract", samples / "digits_cnn.h5", samples / "seven.png", samples / "three.png", "-o", folder / "out.npz"
    )
    assert ran.code == 0, ran.err
    return folder / "out.npz"


@pytest.fixture(autouse=True)
def workplace(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


class Ran:
    def __init__(self, done):
        failure = done.exception
        self.code = failure.exit_code if isinstance(failure, ActvizError) else done.exit_code
        self.out, self.err = done.stdout, done.stderr
        self.error = failure.message if isinstance(failure, ActvizError) else ""
        if failure is not None and not isinstance(failure, (ActvizError, SystemExit)):
            raise failure


def run(*arguments):
    return Ran(CliRunner().invoke(program, [str(argument) for argument in arguments]))


def pixels(path):
    with Image.open(path) as image:
        return np.asarray(image)


# ------------------------------------------------------------------ extract
def test_extract_writes_every_layer_under_its_address(saved, samples):
    with library.open(samples / "digits_cnn.h5") as network, np.load(saved, allow_pickle=False) as file:
        addresses = [layer.address for layer in network.layers]
        assert file.files == ["actviz.json", "actviz.fed", *addresses]
        assert [file[address].shape[0] for address in addresses] == [2] * 7
        truth = network.activations(file["image"][1:], addresses)
        for address in addresses:
            np.testing.assert_array_equal(file[address][1:], truth[address].values)
            assert file[address].dtype == truth[address].values.dtype
    back = library.load(saved, "conv")["conv"]
    assert (back.axes, back.kind, back.signed) == (("batch", "row", "column", "channel"), "Conv2D", False)


def test_extract_says_where_and_how_and_gives_the_same_bytes_again(samples, saved, workplace):
    arguments = ["extract", samples / "digits_cnn.h5", samples / "seven.png", samples / "three.png"]
    ran = run(*arguments)
    assert (ran.code, ran.out) == (0, "digits_cnn.npz\n")
    assert (
        ran.err
        == "actviz: preprocessing: 0..1 (a guess: nothing in the model says a range; give --preprocess if it is another)\n"
    )
    assert (workplace / "digits_cnn.npz").read_bytes() == saved.read_bytes()
    assert os.listdir(workplace) == ["digits_cnn.npz"]
    packed = run(*arguments, "-q", "--compress", "-o", "deep/small.npz")
    assert (packed.code, packed.out, packed.err) == (0, "deep/small.npz\n", "")
    assert (workplace / "deep" / "small.npz").stat().st_size < saved.stat().st_size * 0.7
    first, second = library.load(saved), library.load("deep/small.npz")
    assert all(np.array_equal(first[address].values, second[address].values) for address in first)


@pytest.mark.slow
def test_extract_replaces_its_own_file_of_that_model_and_nothing_else(samples, workplace):
    target = workplace / "out.npz"
    arguments = ["extract", "-q", samples / "digits_cnn.h5", samples / "seven.png", "-l", "scores", "-o", "out.npz"]
    for foreign in (b"precious", b""):
        target.write_bytes(foreign)
        ran = run(*arguments)
        assert ran.code == 7
        assert (
            ran.error
            == "out.npz: exists and is not this model's activations; pass --overwrite to replace it or choose another name with -o."
        )
        assert target.read_bytes() == foreign
    np.savez(target, scores=np.zeros(3))
    assert run(*arguments).code == 7
    assert run(*arguments, "--overwrite").code == 0
    assert run(*arguments).code == 0
    assert run("extract", "-q", samples / "dense.h5", samples / "patient.npy", "-o", "out.npz").code == 7
    assert list(np.load(target)) == ["actviz.json", "actviz.fed", "scores"]


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["-l", "convv"], 2, 'no layer "convv"; did you mean conv'),
        (["-o", "out.png"], 2, "-o out.png: activations are written as .npz; give a name that ends in .npz."),
        (["-o", "out/"], 2, "-o out/: activations are written as .npz"),
        (["-o", "/proc/nowhere/out.npz"], 7, "/proc/nowhere"),
        (["missing.png"], 3, "missing.png: no such file"),
    ],
)
def test_extract_refuses_before_anything_is_written(samples, workplace, arguments, code, said):
    inputs = [] if "missing.png" in arguments else [samples / "seven.png"]
    ran = run("extract", samples / "digits_cnn.h5", *inputs, *arguments)
    assert ran.code == code
    assert said in ran.error
    assert os.listdir(workplace) == []


@pytest.mark.slow
def test_extract_goes_on_after_a_broken_input(samples, workplace):
    (workplace / "broken.png").write_bytes((samples / "seven.png").read_bytes()[:200])
    arguments = [
        "extract",
        samples / "digits_cnn.h5",
        samples / "seven.png",
        "broken.png",
        samples / "three.png",
        "-l",
        "scores",
    ]
    ran = run(*arguments)
    assert (ran.code, ran.out) == (1, "digits_cnn.npz\n")
    assert "broken.png" in ran.err
    assert ran.error == "1 of 3 inputs failed, for the reasons above; the results are of the other 2."
    with np.load("digits_cnn.npz") as file:
        assert [sample["name"] for sample in json.loads(str(file["actviz.json"]))["samples"]] == [
            "seven.png",
            "three.png",
        ]
        assert file["scores"].argmax(axis=1).tolist() == [7, 3]
    os.unlink("digits_cnn.npz")
    assert run(*arguments, "--fail-fast").code == 3
    assert os.listdir(workplace) == ["broken.png"]


@pytest.mark.slow
def test_extract_of_inputs_of_different_sizes(samples, workplace):
    ran = run(
        "extract", "-q", samples / "photo_features.keras", samples / "china.jpg", samples / "flower.jpg", "-l", "parts"
    )
    assert ran.code in {0, 1}
    Image.new("RGB", (64, 48)).save("small.png")
    ran = run(
        "extract", samples / "photo_features.keras", samples / "china.jpg", "small.png", "-l", "parts", "-o", "two.npz"
    )
    assert (ran.code, ran.out) == (1, "two.npz\n")
    assert re.search(
        r'actviz: small\.png: layer "parts" gives 12 x 16 x 96, but \d+ x \d+ x 96 for china\.jpg; one file holds inputs of one size, write this one to a file of its own\.\n',
        ran.err,
    )
    assert library.load("two.npz")["parts"].values.shape[0] == 1


@pytest.mark.slow
def test_a_signal_during_extract_leaves_nothing(samples, workplace):
    np.save("many.npy", np.zeros((10_000, 28, 28, 1), np.float32))
    command = [sys.executable, "-P", "-m", "actviz", "extract", str(samples / "digits_cnn.h5"), "many.npy"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        wait_for_worker(process)
        time.sleep(4)  # TensorFlow computes
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=20)
    assert process.returncode == 130
    assert "Traceback" not in err
    assert os.listdir(workplace) == ["many.npy"]


# ------------------------------------------------------------------ render
@pytest.mark.slow
@pytest.mark.parametrize(
    "style", [[], ["--cmap", "viridis", "--scale", "layer", "--top", "5", "--sort", "std"], ["--bare"]]
)
def test_render_draws_what_show_draws(samples, saved, workplace, style):
    inputs = [samples / "seven.png", samples / "three.png"]
    shown = run("show", "-q", samples / "digits_cnn.h5", *inputs, "-l", "conv,flatten,scores", "-o", "shown/", *style)
    again = run("render", "-q", saved, "-l", "conv,flatten,scores", "-o", "again/", *style)
    assert (shown.code, again.code) == (0, 0), again.error
    assert again.out.replace("again/", "shown/") == shown.out
    names = sorted(path.relative_to(workplace / "again") for path in (workplace / "again").rglob("*"))
    assert len(names) == 9
    for name in names:
        if name.suffix == ".png":
            with Image.open(workplace / "again" / name) as one, Image.open(workplace / "shown" / name) as other:
                assert one.tobytes() == other.tobytes()
                drawn, computed = json.loads(one.text["actviz"]), json.loads(other.text["actviz"])
            # Only what makes a figure from a model and a file has a hash of that work.
            assert {key: value for key, value in computed.items() if key not in {"work", "file_sha256"}} == drawn


def test_render_of_one_input_is_a_sheet_like_that_of_show(samples, saved):
    assert run("show", "-q", samples / "digits_cnn.h5", samples / "three.png", "-o", "shown.png").code == 0
    ran = run("render", saved, "--index", "1")
    assert (ran.code, ran.out, ran.err) == (0, "digits_cnn_sheet_three.png\n", "")
    np.testing.assert_array_equal(pixels("digits_cnn_sheet_three.png"), pixels("shown.png"))
    one = run("render", saved, "--index", "1", "-l", "conv")
    assert one.out == "digits_cnn_conv_three.png\n"


@pytest.mark.slow
def test_render_without_an_input_names_files_as_show_does(samples):
    assert run("extract", "-q", samples / "digits_cnn.h5", "-l", "conv").code == 0
    assert run("show", "-q", samples / "digits_cnn.h5", "-l", "conv", "-o", "shown.png").code == 0
    ran = run("render", "digits_cnn.npz", "-l", "conv")
    assert ran.out == "digits_cnn_conv.png\n"
    np.testing.assert_array_equal(pixels("digits_cnn_conv.png"), pixels("shown.png"))


@pytest.mark.slow
def test_render_tells_what_is_not_in_the_file(samples):
    assert run("extract", "-q", samples / "digits_cnn.h5", samples / "seven.png", "-l", "conv").code == 0
    ran = run("render", "digits_cnn.npz", "-l", "@Conv2D", "-o", "out/")
    assert (ran.code, ran.out) == (0, "out/seven/001_conv.png\n")
    assert ran.err == 'actviz: layer "conv_intermediate" is not in the file: it was not extracted.\n'
    # An index is the model's own, whatever the file holds.
    assert (
        run("render", "digits_cnn.npz", "-l", "-1").error
        == "digits_cnn.npz: none of these layers is in the file; it holds conv."
    )


def test_render_replaces_figures_of_its_own_and_nothing_else(saved, workplace):
    (workplace / "mine.png").write_text("precious")
    ran = run("render", saved, "-l", "conv", "--index", "0", "-o", "mine.png")
    assert ran.code == 7
    assert "mine.png: exists and is not this figure" in ran.error
    assert run("render", saved, "-l", "conv", "--index", "0", "-o", "a.png").code == 0
    assert run("render", saved, "-l", "conv", "--index", "0", "-o", "a.png", "--cmap", "gray").code == 0
    assert run("render", saved, "-l", "pool", "--index", "0", "-o", "a.png").code == 7


def test_arrays_of_anybody(workplace):
    values = np.random.default_rng(0).normal(size=(3, 5, 6, 4))
    np.save("maps.npy", values)
    np.save("one.npy", values[1])
    np.save("fortran.npy", np.asfortranarray(values))
    assert run("render", "one.npy", "--axes", "row,column,channel", "-l", "one").out == "one.png\n"
    several = run("render", "maps.npy", "--axes", "row,column,channel", "-l", "maps")
    assert several.out.split() == [f"maps-actviz/sample_{number}/000_maps.png" for number in range(3)]
    assert (
        run(
            "render",
            "maps.npy",
            "--axes",
            "batch,row,column,channel",
            "-l",
            "0",
            "--index",
            "1",
            "-o",
            "b.png",
            "--bare",
        ).code
        == 0
    )
    assert run("render", "one.npy", "--axes", "row,column,channel", "-l", "one", "-o", "c.png", "--bare").code == 0
    assert (
        run(
            "render", "fortran.npy", "--axes", "row,column,channel", "--index", "1", "-l", "0", "-o", "d.png", "--bare"
        ).code
        == 0
    )
    np.testing.assert_array_equal(pixels("b.png"), pixels("c.png"))
    np.testing.assert_array_equal(pixels("b.png"), pixels("d.png"))
    np.savez_compressed("several.npz", maps=values, flat=values[:, 0, 0], text=np.array(["a"]))
    ran = run("render", "several.npz", "--axes", "row,column,channel", "--index", "0")
    assert (ran.code, ran.out) == (0, "several_sheet_sample_0.png\n")
    with Image.open("several_sheet_sample_0.png") as image:
        about = json.loads(image.text["actviz"])
    assert about["model"] == "several.npz"
    assert list(about["numbers"]["layers"]) == ["maps"]


@pytest.mark.parametrize(
    ("file", "arguments", "code", "said"),
    [
        ("out.npz", ["-l", "convv"], 2, 'no layer "convv"; did you mean conv? Or list them with: python -m zipfile -l '),
        ("out.npz", ["--index", "2"], 2, "--index 2: the file holds 2 (0 to 1)."),
        ("out.npz", ["--axes", "unit"], 2, "says itself what the axes of its arrays are; leave --axes out."),
        ("out.npz", ["--scale", "2:1"], 2, "2 is not below 1"),
        ("out.npz", ["--cmap", "viridiss"], 2, "did you mean viridis"),
        ("out.npz", ["-l", "conv", "-o", "x.jpg"], 2, "figures are written as PNG"),
        ("out.npz", ["-l", "conv", "-o", "x.png"], 2, "2 figures do not fit into one file"),
        ("maps.npy", [], 2, "maps.npy: which axes has this array? Name them in order, for instance --axes row,column,channel."),
        ("maps.npy", ["--axes", "row,colum"], 2, 'there is no axis "colum"'),
        ("maps.npy", ["--axes", "row,column,channel,step"], 2, "--axes row,column,channel,step: maps.npy: its 2 axes (2, 3) are not row, column, channel, step; name each axis, or each but the batch in front."),
        ("maps.npy", ["--axes", "row,column", "-l", "x"], 2, 'no layer "x"'),
        ("plain.npz", [], 3, "plain.npz: no actviz.json in it says what the axes of its arrays are; name them, for instance --axes row,column,channel, or write the file with actviz extract."),
        ("plain.npz", ["--axes", "unit"], 2, "the arrays hold different numbers of samples (1, 2); choose some of one length with --layer."),
        ("plain.npz", ["--axes", "unit", "-l", "c"], 2, "none of these layers is in the file; it holds a, b."),
        ("objects.npy", ["--axes", "unit"], 5, "pickled data"),
        ("objects.npz", ["--axes", "unit"], 5, "pickled data"),
        ("a.pkl", [], 5, "pickled data"),
        ("bomb.npz", ["--axes", "unit"], 6, "a zip bomb"),
        ("cut.npz", [], 3, "this zip archive is truncated or damaged; copy or save it again."),
        ("empty.npz", [], 3, "the file is empty; an .npz of actviz extract, or an array (.npy, .npz), was expected."),
        ("nothing.npz", [], 3, "no such file"),
        ("folder", [], 3, "this is a folder"),
        ("text.npz", [], 3, "this is a text file"),
        ("none.npy", ["--axes", "row,column"], 3, "none.npy: the file holds no sample; at least one was expected."),
        ("seven.png", [], 3, "this is a PNG image, not activations; draw what a model computes with: actviz show MODEL INPUT."),
        ("digits_cnn.h5", [], 3, "this is a model, not activations"),
        ("digits_cnn.keras", [], 3, "this is a model, not activations"),
    ],
)  # fmt: skip
def test_what_render_refuses_in_one_line_and_writes_nothing(samples, saved, workplace, file, arguments, code, said):
    make = {
        "maps.npy": lambda: np.save("maps.npy", np.zeros((2, 3))),
        "none.npy": lambda: np.save("none.npy", np.zeros((0, 3, 3))),
        "plain.npz": lambda: np.savez("plain.npz", a=np.zeros(3), b=np.zeros((2, 3)), c=np.zeros((1, 2, 3))),
        "objects.npy": lambda: np.save("objects.npy", np.array([{}], object), allow_pickle=True),
        "objects.npz": lambda: np.savez("objects.npz", a=np.array([{}], object)),
        "a.pkl": lambda: (workplace / "a.pkl").write_bytes(pickle.dumps({"a": np.zeros(3)})),
        "bomb.npz": lambda: np.savez_compressed("bomb.npz", a=np.zeros(40 << 20, np.uint8)),
        "cut.npz": lambda: (workplace / "cut.npz").write_bytes(saved.read_bytes()[:-100]),
        "empty.npz": (workplace / "empty.npz").touch,
        "text.npz": lambda: (workplace / "text.npz").write_text("hello"),
        "folder": (workplace / "folder").mkdir,
        "out.npz": lambda: os.link(saved, "out.npz"),
    }
    if (samples / file).exists():
        os.symlink(samples / file, file)
    elif file in make:
        make[file]()
    before = sorted(os.listdir())
    ran = run("render", file, *arguments)
    assert ran.code == code, ran.error
    assert said in ran.error
    assert "\n" not in ran.error
    assert sorted(os.listdir()) == before


def test_a_hostile_name_in_the_file_becomes_no_path_and_no_control_character(saved, workplace):
    parts = {}
    with zipfile.ZipFile(saved) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    said = json.loads(str(np.load(saved)["actviz.json"]))
    said["model"] = "../../\x1b[31mevil.h5"
    said["samples"] = [sample | {"name": "../../x\n::warning::"} for sample in said["samples"]]
    np.save("text.npy", np.array(json.dumps(said)))
    with zipfile.ZipFile("evil.npz", "w") as archive:
        for name, content in (parts | {"actviz.json.npy": (workplace / "text.npy").read_bytes()}).items():
            archive.writestr(name, content)
    ran = run("render", "evil.npz", "-l", "scores")
    assert ran.code == 0, ran.error
    assert "\x1b" not in ran.out + ran.err
    paths = ran.out.splitlines()
    assert len(paths) == 2
    for path in paths:
        assert os.path.realpath(path).startswith(str(workplace.resolve()))
        assert ".." not in path.split("/")


# ------------------------------------------------------------------ memory
PEAK = """
import resource, sys
from actviz.cli import program
sys.argv = ["actviz", *sys.argv[1:]]
try:
    program.program.main(standalone_mode=False)
finally:
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


def peak_of(path, cwd):
    """Return the bytes of memory that drawing four channels of a file takes at most."""
    arguments = ("render", path, "--axes", "row,column,channel", "--top", "4", "-l", "0", "-o", f"{path.name}.png")
    command = [sys.executable, "-P", "-c", PEAK, *map(str, arguments)]
    ran = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    return int(ran.stdout.splitlines()[-1]) * (1024 if sys.platform.startswith("linux") else 1)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["npy", "npz", "fortran", "compressed"])
def test_a_large_layer_is_in_memory_once(tmp_path, kind):
    sizes = (256, 256, 512)
    layer = np.random.default_rng(0).standard_normal(sizes, dtype=np.float32)
    small = layer[:4, :4, :8].copy()
    for name, array in (("small", small), ("large", layer)):
        if kind in {"npy", "fortran"}:
            np.save(tmp_path / f"{name}.npy", np.asfortranarray(array) if kind == "fortran" else array)
        else:
            (np.savez if kind == "npz" else np.savez_compressed)(tmp_path / f"{name}.npz", a=array)
    suffix = "npy" if kind in {"npy", "fortran"} else "npz"
    least, most = (peak_of(tmp_path / f"{name}.{suffix}", tmp_path) for name in ("small", "large"))
    assert most - least < 1.3 * layer.nbytes


@pytest.mark.parametrize("fortran", [False, True])
@pytest.mark.parametrize("dtype", ["<f4", ">f4", "<f2", "|b1", "<i8"])
@pytest.mark.parametrize("order", [None, (2, 0, 1), (0, 1, 2), (1, 2, 0)])
def test_entries_are_the_same_in_any_order_of_memory(tmp_path, monkeypatch, fortran, dtype, order):
    monkeypatch.setattr(lazy_array, "CHUNK", 100)  # so that they are read in pieces
    for count in (1, 3):
        array = np.random.default_rng(1).integers(0, 2, (count, 5, 7, 4)).astype(dtype)
        np.save(tmp_path / "x.npy", np.asfortranarray(array) if fortran else array)
        with (tmp_path / "x.npy").open("rb") as file:
            found = lazy_array.open_npy(file, (tmp_path / "x.npy").stat().st_size, "x")
            for number in (*range(count), 0):
                np.testing.assert_array_equal(found.entry(number, order), array[number : number + 1])
            if order is not None and not (fortran and count > 1):
                assert found.entry(0, order)[0].transpose(order).flags.c_contiguous

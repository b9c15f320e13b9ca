"""The command `diff`: models, and files of activations."""

import json
import xml.etree.ElementTree as ET

import numpy as np
import pytest
from PIL import Image
from test_check import write_units

import actviz as package
from actviz.records import Activation

pytestmark = pytest.mark.usefixtures("warm_worker")

MAPS = ("batch", "row", "column", "channel")


def save(path, layers, **options):
    found = {
        address: Activation(address, "Conv2D", np.asarray(values, np.float32), MAPS)
        for address, values in layers.items()
    }
    package.save(path, found, model="m.keras", overwrite=True, **options)


@pytest.fixture
def files(tmp_path):
    generator = np.random.default_rng(0)
    layers = {name: generator.random((3, 6, 6, 4)) for name in ("one", "two", "three")}
    save(tmp_path / "a.npz", layers)
    layers["two"] = layers["two"] + 0.1 * generator.random((3, 6, 6, 4))
    layers["three"][2, 1, 1, 3] = 50
    save(tmp_path / "b.npz", layers)
    return tmp_path


def test_the_first_layer_that_diverges_is_named(actviz, files):
    ran = actviz("diff", "a.npz", "b.npz")
    assert ran.code == 8
    assert ran.error.startswith("actviz: error: two: largest difference 0.0")
    assert ran.error.endswith("; the first of 2 layers that diverge.")
    lines = ran.out.splitlines()[1:]
    assert [line.split()[0] for line in lines] == ["one", "two", "three"]
    assert lines[0].endswith("  ok")
    assert lines[1].endswith("  differs (beyond 1e-6 + 1e-3 x the largest value)")
    assert actviz("diff", "-q", "a.npz", "a.npz").code == 0


def test_exit_zero_prints_the_same_and_ends_with_0(actviz, files):
    failed, passed = actviz("diff", "a.npz", "b.npz"), actviz("diff", "a.npz", "b.npz", "--exit-zero")
    assert (passed.code, passed.out) == (0, failed.out)
    assert passed.err == failed.err.replace("actviz: error: ", "actviz: ")
    assert actviz("diff", "-q", "a.npz", "b.npz", "--exit-zero").err == ""


def test_numbers_are_numpys(actviz, files):
    said = json.loads(actviz("diff", "-q", "--json", "a.npz", "b.npz").out)
    with np.load(files / "a.npz") as a, np.load(files / "b.npz") as b:
        for one in said["layers"]:
            left, right = a[one["a"]].astype(float), b[one["b"]].astype(float)
            assert one["max"] == pytest.approx(np.abs(right - left).max(), rel=1e-5)
            assert one["mean"] == pytest.approx(np.abs(right - left).mean(), rel=1e-5)
            assert one["relative"] == pytest.approx(np.linalg.norm(right - left) / np.linalg.norm(left), rel=1e-5)
    assert (said["inputs"], said["first_broken"], said["layers"][2]["worst_input"]) == (3, "two", 2)


@pytest.mark.parametrize(
    ("arguments", "code"),
    [(["--fail-on", "cosine<0.5"], 8), (["--fail-on", "cosine<0.5", "-l", "two"], 0), (["--atol", "100"], 0), (["--rtol", "0.2", "-l", "one,two"], 0),
     (["--rtol", "0.2", "--fail-on", "relative>1%", "-l", "two"], 8), (["-l", "one"], 0)],
)  # fmt: skip
def test_tolerances(actviz, files, arguments, code):
    assert actviz("diff", "-q", "a.npz", "b.npz", *arguments).code == code


def test_figures_show_the_worst_first(actviz, files):
    ran = actviz("diff", "a.npz", "b.npz", "-o", "out", "--figures", "2")
    assert ran.err.splitlines()[:2] == [
        "out/002_three.png",
        "out/001_two.png",
    ]  # worst first, with the index of `layers`
    assert ran.out == actviz("diff", "-q", "a.npz", "b.npz").out  # the table alone
    with Image.open(files / "out" / "002_three.png") as image:
        said = json.loads(image.text["actviz"])
        assert (said["channels"][0], said["input"]) == (3, "sample 2")
        assert min(image.size) > 300


def test_compressed_files_and_other_dtypes_compare_too(actviz, tmp_path):
    values = np.random.default_rng(0).random((5, 4, 4, 3)).astype(np.float16)
    save(tmp_path / "a.npz", {"one": values})
    package.save(tmp_path / "b.npz", {"one": Activation("one", "Conv2D", values, MAPS)}, model="m", compress=True)
    assert actviz("diff", "-q", "a.npz", "b.npz").code == 0


def test_layers_without_a_partner_and_of_another_shape_are_named(actviz, tmp_path):
    save(
        tmp_path / "a.npz",
        {
            "x": np.ones((2, 3, 3, 1)),
            "same": np.ones((2, 2, 2, 1)),
            "old": np.ones((2, 9, 9, 1)),
            "was": np.ones((2, 5, 5, 2)),
        },
    )
    save(
        tmp_path / "b.npz",
        {
            "x": np.ones((2, 3, 3, 2)),
            "same": np.ones((2, 2, 2, 1)),
            "new": np.ones((2, 8, 8, 1)),
            "is": np.ones((2, 5, 5, 2)),
        },
    )
    ran = actviz("diff", "a.npz", "b.npz")
    assert ran.code == 8
    assert "actviz: only in a.npz, not in b.npz: old" in ran.err
    assert "actviz: only in b.npz, not in a.npz: new" in ran.err
    assert "x: the shape is 3 x 3 x 1 in A and 3 x 3 x 2 in B; the only layer that diverges." in ran.error
    row = next(line for line in ran.out.splitlines() if line.startswith("was"))
    assert row.split()[:2] == ["was", "is"]


@pytest.mark.slow
def test_a_layer_that_passes_on_what_it_is_given_is_compared_when_named(actviz, samples):
    pair = (samples / "digits_cnn.h5", samples / "digits_cnn.keras", samples / "seven.png")
    ran = actviz("diff", "-q", *pair, "-l", "flatten,-1")
    assert (ran.code, [line.split()[0] for line in ran.out.splitlines()[1:]]) == (0, ["flatten", "scores"])


def test_two_models_on_the_same_inputs(actviz, samples, tmp_path):
    pair = (samples / "digits_cnn.h5", samples / "digits_cnn.keras", samples / "seven.png", samples / "three.png")
    ran = actviz("diff", "--json", *pair)
    assert ran.code == 0, ran.err
    said = json.loads(ran.out)
    assert said["inputs"] == 2
    assert all(one["max"] == 0 for one in said["layers"])


@pytest.mark.slow
def test_models_that_differ_and_their_figures(actviz, tmp_path):
    write_units(tmp_path / "a.keras", [0.0, 1.0, 2.0])
    write_units(tmp_path / "b.keras", [0.0, 1.5, 2.0])
    np.save(tmp_path / "x.npy", np.zeros((4, 3), np.float32))
    ran = actviz("diff", "a.keras", "b.keras", "x.npy", "-o", "out", "--junit", "j.xml")
    assert ran.code == 8
    assert "\nout/001_units.png\nj.xml\nactviz: error: " in f"\n{ran.err}"
    assert ran.error.startswith("actviz: error: units: largest difference 0.08")
    assert ET.parse(tmp_path / "j.xml").getroot().get("failures") == "1"


def test_models_of_other_inputs_are_one_line_and_code_3(actviz, samples):
    ran = actviz("diff", "-q", samples / "digits_cnn.h5", samples / "dense.h5", samples / "seven.png")
    assert (ran.code, len(ran.err.splitlines())) == (3, 1)
    assert 'the input "image" is 28 x 28 x 1 float32 in digits_cnn.h5' in ran.err


@pytest.mark.slow
def test_bad_pairs_are_one_line(actviz, files, samples):
    save(files / "more.npz", {"one": np.ones((4, 6, 6, 4))})
    np.savez(files / "plain.npz", one=np.ones(3))
    (files / "cut.npz").write_bytes((files / "a.npz").read_bytes()[:-40])
    for arguments, code, said in (
        (["a.npz", "more.npz"], 3, "a.npz holds 3 inputs and more.npz 4"),
        (["a.npz", samples / "dense.h5"], 2, "give two models, or two .npz"),
        (["a.npz", "b.npz", "x.png"], 2, "leave the inputs out"),
        (["a.npz", "plain.npz"], 3, "write it with actviz extract"),
        (["a.npz", "none.npz"], 4, "no such"),
        (["a.npz", "cut.npz"], 2, "give two models, or two .npz"),
        (["a.npz", "b.npz", "--fail-on", "cos<1"], 2, "there is no measure"),
        (["a.npz", "b.npz", "--atol", "nan"], 2, "nan is not a number"),
        (["a.npz", "b.npz", "--rtol", "much"], 2, "'much' is not a valid"),
        (["a.npz", "b.npz", "--files-from", "missing.txt"], 2, "leave the inputs out"),
        (["a.npz", "b.npz", "-o", "f.png"], 2, "give a folder"),
        (["a.npz", "b.npz", "-l", "onn"], 2, "did you mean one"),
    ):
        ran = actviz("diff", "-q", *arguments)
        assert (ran.code, len(ran.err.splitlines())) == (code, 1), (arguments, ran)
        assert said in ran.err


def test_damage_is_found_although_nothing_is_read_twice(actviz, files):
    content = bytearray((files / "b.npz").read_bytes())
    place = content.index(b"three.npy") + 400
    content[place] ^= 0xFF
    (files / "b.npz").write_bytes(content)
    ran = actviz("diff", "-q", "a.npz", "b.npz")
    assert (ran.code, "truncated or damaged" in ran.err) == (3, True)

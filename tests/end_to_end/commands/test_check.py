"""The command `check` as a person and a CI job run it."""

import json
import xml.etree.ElementTree as ET

import model_files
import numpy as np
import pytest
from keras_configs import layer, model, node, source, tensor
from PIL import Image

import actviz as library

pytestmark = pytest.mark.usefixtures("warm_worker")


def write_units(path, bias, activation="sigmoid"):
    """A Dense layer whose units do what their bias says, whatever the input."""
    layers = [
        source("given", [3]),
        layer("units", "Dense", [node(tensor("given"))], units=len(bias), activation=activation),
    ]
    weights = {
        "layers/dense/vars/0": np.zeros((3, len(bias)), np.float32),
        "layers/dense/vars/1": np.array(bias, np.float32),
    }
    weights["layers/dense/vars/0"][0] = 1e-3
    return model_files.write_keras(path, model("m", layers, ["given", 0, 0], ["units", 0, 0]), weights)


@pytest.fixture
def digits(tmp_path):
    np.save(tmp_path / "digits.npy", np.random.default_rng(0).random((7, 28, 28, 1)).astype(np.float32))
    return tmp_path / "digits.npy"


@pytest.mark.slow
def test_numbers_are_those_of_all_inputs_together(actviz, samples, digits, tmp_path):
    ran = actviz("check", samples / "digits_cnn.h5", digits, "-q", "--json")
    assert (ran.code, ran.err) == (0, "")
    said = json.loads(ran.out)
    extracted = actviz("extract", samples / "digits_cnn.h5", digits, "-q", "-o", "all.npz")
    assert extracted.code == 0
    assert (said["inputs"], said["model"], said["broken"]) == (7, "digits_cnn.h5", 0)
    with np.load(tmp_path / "all.npz") as file:
        assert [one["address"] for one in said["layers"]] == [
            "conv",
            "pool",
            "conv_intermediate",
            "pool_intermediate",
            "scores",
        ]
        for one in said["layers"]:
            values = file[one["address"]].astype(np.float64)
            flat = values.reshape(-1, values.shape[-1])
            np.testing.assert_allclose(one["channel_minimum"], flat.min(0), rtol=1e-5)
            np.testing.assert_allclose(one["channel_maximum"], flat.max(0), rtol=1e-5)
            np.testing.assert_allclose(one["channel_mean"], flat.mean(0), rtol=1e-5, atol=1e-9)
            np.testing.assert_allclose(one["channel_std"], flat.std(0), rtol=1e-4, atol=1e-7)
            assert one["dead"] == np.flatnonzero(~flat.any(axis=0)).tolist()
            assert one["zeros"] == pytest.approx((flat == 0).mean())
            assert one["values"] == values.size


def test_a_broken_limit_is_code_8_and_says_why(actviz, samples):
    ran = actviz(
        "check",
        samples / "digits_cnn.h5",
        samples / "seven.png",
        samples / "three.png",
        "--max-dead",
        "5%",
        "-l",
        "conv_intermediate",
    )
    assert ran.code == 8
    assert (
        ran.error
        == "actviz: error: conv_intermediate: 6 of 64 channels never fire on 2 inputs (1, 18, 36, 47, 52, 54); limit 5%."
    )
    assert ran.out.splitlines()[1].endswith("BROKEN: dead at most 5%  1, 18, 36, 47, 52, 54")


def test_dead_is_dead_on_every_input(actviz, samples, tmp_path):
    def dead(*inputs):
        ran = actviz("check", "-q", samples / "digits_cnn.h5", *inputs, "--json", "-l", "conv_intermediate")
        return set(json.loads(ran.out)["layers"][0]["dead"])

    inputs = [tmp_path / "black.png", tmp_path / "white.png"]
    for path, grey in zip(inputs, (0, 255), strict=True):
        Image.new("L", (28, 28), grey).save(path)
    batch = np.stack([np.asarray(Image.open(path).convert("L"), np.float32)[..., None] / 255 for path in inputs])
    with library.open(samples / "digits_cnn.h5") as network:
        values = network.activations(batch, "conv_intermediate")["conv_intermediate"].values
    black, white = (set(np.flatnonzero((one == 0).all(axis=(0, 1))).tolist()) for one in values)
    assert black - white
    assert white - black
    assert dead(*inputs) == black & white


@pytest.mark.slow
def test_saturated_units_of_a_bounded_activation(actviz, tmp_path):
    write_units(tmp_path / "m.keras", [9.0, -9.0, 0.0, 0.5])
    np.save(tmp_path / "x.npy", np.zeros((2, 3), np.float32))
    ran = actviz("check", "-q", "m.keras", "x.npy", "--max-saturated", "40%", "--json")
    said = json.loads(ran.out)["layers"][0]
    assert (ran.code, said["saturated"], said["bounds"]) == (8, 0.5, [0, 1])
    assert ran.error.endswith("units: 50% of 8 values are saturated on 2 inputs; limit 40%.")
    write_units(tmp_path / "r.keras", [9.0, -9.0], "relu")
    ran = actviz("check", "r.keras", "x.npy", "--max-saturated", "40%")
    assert ran.code == 0
    assert "no layer has a bounded activation function, so --max-saturated checks nothing" in ran.err
    assert "not bounded" in ran.out


@pytest.mark.slow
def test_nan_is_found_without_any_limit_and_its_input_named(actviz, tmp_path):
    write_units(tmp_path / "m.keras", [0.0, 1.0], "linear")
    values = np.zeros((5, 3), np.float32)
    values[3, 0] = np.nan
    np.save(tmp_path / "x.npy", values)
    ran = actviz("check", "m.keras", "x.npy", "--allow-nonfinite")
    assert ran.code == 8
    assert (
        "units: 2 NaN in 2 of 2 channels on 5 inputs (0, 1); first input with NaN or infinities: x.npy[3]" in ran.error
    )
    assert actviz("check", "-q", "m.keras", "x.npy", "--allow-nonfinite", "--no-inf").code == 0


@pytest.mark.slow
def test_a_bad_input_costs_itself_and_a_broken_limit_wins(actviz, samples, tmp_path):
    (tmp_path / "bad.png").write_bytes(b"no picture")
    good = samples / "seven.png"
    ran = actviz("check", samples / "digits_cnn.h5", "bad.png", good)
    assert ran.code == 1
    assert ran.error == "actviz: error: 1 of 2 inputs failed, for the reasons above; the results are of the other 1."
    ran = actviz("check", samples / "digits_cnn.h5", "bad.png", good, "--max-dead", "0%", "--junit", "j.xml")
    assert ran.code == 8
    assert len(ET.parse(tmp_path / "j.xml").getroot().findall(".//error")) == 1
    assert actviz("check", samples / "digits_cnn.h5", "bad.png", good, "--fail-fast").code == 3
    assert actviz("check", samples / "digits_cnn.h5", "bad.png").code == 3


def test_a_word_that_the_model_does_not_know_costs_its_line_only(actviz, tmp_path):
    model_files.closed(tmp_path / "m.keras")
    (tmp_path / "words.txt").write_text("yes\nno\nmaybe\nno\nyes\n")
    ran = actviz("check", "m.keras", "words.txt", "--json", "-l", "lookup")
    assert ran.code == 1
    assert json.loads(ran.out)["inputs"] == 4
    assert '"maybe" is outside the vocabulary' in ran.err


@pytest.mark.slow
def test_any_batch_gives_the_same_numbers(actviz, samples, tmp_path):
    values = np.random.default_rng(0).random((150, 28, 28, 1)).astype(np.float32)
    np.save(tmp_path / "all.npy", values)
    for number in range(3):
        np.save(tmp_path / f"part{number}.npy", values[number * 50 : number * 50 + 50])
    whole, parts = (
        json.loads(actviz("check", "-q", "--json", samples / "digits_cnn.h5", *names).out)
        for names in (["all.npy"], ["part0.npy", "part1.npy", "part2.npy"])
    )
    for one, other in zip(whole["layers"], parts["layers"], strict=True):
        assert one["values"] == other["values"]
        np.testing.assert_allclose(one["channel_maximum"], other["channel_maximum"], rtol=1e-5)
        np.testing.assert_allclose(one["channel_mean"], other["channel_mean"], rtol=1e-5, atol=1e-9)


@pytest.mark.slow
def test_github_gets_annotations_and_a_summary(actviz, samples, tmp_path):
    (tmp_path / "summary.md").write_text("before\n")
    env = {"GITHUB_ACTIONS": "true", "GITHUB_STEP_SUMMARY": str(tmp_path / "summary.md")}
    ran = actviz("check", "-q", samples / "digits_cnn.h5", samples / "seven.png", "--max-dead", "5%", env=env)
    assert ran.code == 8
    commands = [line for line in ran.err.splitlines() if line.startswith("::")]
    assert (
        commands[0]
        == "::error title=actviz check%3A digits_cnn.h5::conv_intermediate: 6 of 64 channels never fire on 1 input (1, 18, 36, 47, 52, 54); limit 5%25"
    )
    page = (tmp_path / "summary.md").read_text()
    assert page.startswith("before\n### actviz check")
    assert "**1 of 4 limits broken**" in page  # pooling only passes the dead channels on
    without = actviz(
        "check", "-q", samples / "digits_cnn.h5", samples / "seven.png", "--max-dead", "5%", env={"GITHUB_ACTIONS": ""}
    )
    assert "::" not in without.err


@pytest.mark.slow
def test_the_figure_shows_the_offenders(actviz, samples, tmp_path):
    ran = actviz("check", samples / "digits_cnn.h5", samples / "seven.png", "--max-dead", "5%", "-o", "f.png")
    assert (ran.code, ran.err.splitlines()[-2]) == (8, "f.png")
    assert "f.png" not in ran.out
    with Image.open(tmp_path / "f.png") as image:
        broken = image.size
        assert json.loads(image.text["actviz"])["command"] == "check"
    again = actviz("check", "-q", samples / "digits_cnn.h5", samples / "seven.png", "-o", "f.png")
    assert again.code == 0
    with Image.open(tmp_path / "f.png") as image:
        assert image.size[1] > broken[1]  # every layer, where none is beyond a limit


@pytest.mark.slow
def test_reports_never_replace_what_is_not_theirs(actviz, samples, tmp_path):
    (tmp_path / "j.xml").write_text("<mine/>")
    check = ("check", "-q", samples / "digits_cnn.h5", samples / "seven.png", "--junit", "j.xml")
    ran = actviz(*check)
    assert (ran.code, (tmp_path / "j.xml").read_text()) == (7, "<mine/>")
    assert actviz(*check, "--overwrite").code == 0
    assert actviz(*check).code == 0


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["--max-dead", "many"], 2, "--max-dead many: a share such as 10% or 0.1 was expected"),
        (["--range", "5"], 2, "a range such as"),
        (["--min-std", "-1"], 2, "a number of at least 0"),
        (["-l", "convv"], 2, "did you mean conv"),
        (["-o", "f.jpg"], 2, "written as PNG"),
        (["none.png"], 3, "no such file"),
        (["--junit", "."], 7, ""),
    ],
)
def test_bad_input_is_one_line_and_its_code(actviz, samples, arguments, code, said):
    ran = actviz(
        "check",
        "-q",
        samples / "digits_cnn.h5",
        *(arguments if arguments[0] == "none.png" else [samples / "seven.png", *arguments]),
    )
    assert (ran.code, len(ran.err.splitlines())) == (code, 1)
    assert said in ran.err


@pytest.mark.usefixtures("warm_worker")
def test_quiet_names_the_input_that_failed(actviz, samples, tmp_path):
    (tmp_path / "broken.png").write_bytes((samples / "seven.png").read_bytes()[:200])
    ran = actviz("check", "-q", samples / "digits_cnn.h5", "broken.png", samples / "seven.png", "-l", "scores")
    assert ran.code == 1
    assert ran.err == (
        "actviz: broken.png: the PNG image is truncated (no end mark); copy or save it again.\n"
        "actviz: error: 1 of 2 inputs failed, for the reasons above; the results are of the other 1.\n"
    )

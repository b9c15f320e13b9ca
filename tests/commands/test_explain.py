"""`explain` and `extract --explain`: folders, restarts, numbers, several targets and methods, refusals."""

import json

import numpy as np
import pytest
from conftest import SAMPLES

import actviz as package
from actviz.results.output_files import read_provenance

DIGITS = SAMPLES / "digits_cnn.h5"
QUANTIZED = SAMPLES / "digits_cnn_int8.tflite"
pytestmark = pytest.mark.usefixtures("warm_worker")


def test_one_input_makes_one_figure_whose_faithfulness_is_measured(actviz, tmp_path):
    names = SAMPLES / "digit_names.txt"
    ran = actviz("explain", DIGITS, SAMPLES / "seven.png", "--labels", names, "--of", "seven,top2", "-q")
    assert (ran.code, ran.out, ran.err) == (0, "digits_cnn_explain_seven_top2_seven.png\n", "")
    maps = read_provenance(tmp_path / ran.out.strip())["numbers"]["maps"]
    assert [item["unit"] for item in maps] == [7, 7, 9]
    assert ["faithfulness" in item for item in maps] == [True, True, False]  # the last map is flat
    assert {item["method"] for item in maps} == {"gradcam"}


@pytest.mark.slow
def test_folders_are_continued_and_json_has_the_numbers(actviz, tmp_path):
    given = ("explain", DIGITS, SAMPLES / "seven.png", SAMPLES / "three.png", "--box", "0,0,14,28", "-o", "maps/")
    first = actviz(*given, "--json")
    records = [json.loads(line) for line in first.out.splitlines()]
    assert [record["numbers"]["maps"][0]["unit"] for record in records] == [7, 3]
    for record in records:
        (item,) = record["numbers"]["maps"]
        assert 0 < item["share"] < 1
        assert len(item["center"]) == 2
        assert "faithfulness" not in item
    assert (tmp_path / "maps" / "manifest.json").exists()
    again = actviz(*given)
    assert (again.code, "2 up to date" in again.err) == (0, True)
    other = actviz(*given, "--of", "top2")
    assert "2 figures written" in other.err
    assert other.out.split() == ["maps/seven/explain_top2.png", "maps/three/explain_top2.png"]


def test_files_without_gradients_are_explained_by_occlusion(actviz, tmp_path):
    ran = actviz("explain", QUANTIZED, SAMPLES / "seven.png", "-o", "why.png", "--no-check")
    (item,) = read_provenance(tmp_path / "why.png")["numbers"]["maps"]
    assert (ran.code, item["method"], item["unit"]) == (0, "occlusion", 7)
    refused = actviz("explain", QUANTIZED, SAMPLES / "seven.png", "--method", "layercam")
    assert refused.code == 2
    assert "with --method, such as occlusion" in refused.error


@pytest.mark.slow
def test_raw_maps_are_those_of_python(actviz, tmp_path):
    given = (
        DIGITS,
        SAMPLES / "seven.png",
        SAMPLES / "three.png",
        "-l",
        "conv",
        "--explain",
        "gradcam",
        "--of",
        "top,7",
    )
    assert actviz("extract", *given, "-o", "maps.npz").code == 0
    with np.load(tmp_path / "maps.npz") as arrays:
        units, maps = arrays["explain/gradcam/top/unit"], arrays["explain/gradcam/7"]
        assert arrays["explain/gradcam/top/score"].shape == (2, 1)
    assert units.tolist() == [[7], [3]]
    with package.open(DIGITS) as network:
        batch = np.concatenate(
            [package.preprocess(SAMPLES / name, network, preprocess="0..1") for name in ("seven.png", "three.png")]
        )
        expected = np.asarray(package.explain(network, batch, of=7, layer="conv"))
    np.testing.assert_allclose(maps, expected, atol=1e-5 * np.abs(expected).max())


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--of", "12"], "no class or channel 12; it has 10, 0 to 9."),
        (["--labels", SAMPLES / "ner_labels.txt"], "give one name for each."),
        (["-l", "2:5"], '"2:5" names 3 layers; give the address of one.'),
        (["--box", "0,0,14,40"], "outside the input of 28 x 28 pixels"),
    ],
)
def test_refusals_are_one_line(actviz, arguments, words):
    ran = actviz("explain", DIGITS, SAMPLES / "seven.png", "--no-check", "-q", *arguments)
    assert (ran.code, ran.out) == (2, "")
    assert words in ran.err
    assert ran.err.count("\n") == 1


def test_a_target_needs_a_method_where_activations_are_extracted(actviz):
    ran = actviz("extract", DIGITS, SAMPLES / "seven.png", "--of", "7", "-q")
    assert (ran.code, "--explain" in ran.error) == (2, True)

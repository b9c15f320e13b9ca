"""Sheets, overlays and the fed input from the command line, and what is refused there."""

import json

import numpy as np
import pytest
from PIL import Image

from actviz.results import output_files

pytestmark = pytest.mark.usefixtures("warm_worker")


def sizes(path):
    with Image.open(path) as image:
        return image.size[0] * image.size[1]


def test_an_overlay_of_a_file(actviz, samples, tmp_path):
    ran = actviz(
        "show",
        samples / "digits_cnn.h5",
        samples / "seven.png",
        "-l",
        "conv_intermediate",
        "--overlay",
        "-q",
        "-o",
        "a.png",
    )
    assert (ran.code, ran.out, ran.err) == (0, "a.png\n", "")
    numbers = output_files.read_provenance(tmp_path / "a.png")["numbers"]
    place = {
        "input": "image",
        "aligned": True,
        "size": [28, 28],
        "offset": [3.5, 3.5],
        "stride": [2, 2],
        "field": [8, 8],
    }
    assert numbers["overlay"] == place


@pytest.mark.slow
def test_an_overlay_of_saved_activations_is_that_of_the_model(actviz, samples, tmp_path):
    model, image = samples / "digits_cnn.h5", samples / "seven.png"
    options = ("-l", "conv_intermediate", "--overlay", "-q", "-o")
    assert actviz("extract", model, image, "-q", "-o", "a.npz").code == 0
    assert actviz("render", "a.npz", *options, "rendered.png").code == 0
    assert actviz("show", model, image, *options, "shown.png").code == 0
    with Image.open(tmp_path / "rendered.png") as first, Image.open(tmp_path / "shown.png") as second:
        np.testing.assert_array_equal(np.asarray(first), np.asarray(second))


def test_one_input_of_two_is_laid_under_the_maps_that_look_at_it(actviz, samples, tmp_path):
    ran = actviz(
        *("show", samples / "digits_caption.keras", "--input", f"image={samples / 'seven.png'}"),
        *("--input", f"text={samples / 'caption.txt'}", "-l", "strokes", "--overlay", "-q", "-o", "a.png"),
    )
    assert ran.code == 0, ran.err
    assert output_files.read_provenance(tmp_path / "a.png")["numbers"]["overlay"]["input"] == "image"


def test_an_overlay_of_what_has_no_place_is_refused(actviz, samples, tmp_path):
    ran = actviz(
        "show", samples / "digits_cnn.h5", samples / "seven.png", "-l", "scores", "--overlay", "-q", "-o", "a.png"
    )
    assert ran.code == 2
    assert "no rows and columns to lay over the input" in ran.err
    assert not (tmp_path / "a.png").exists()


@pytest.mark.parametrize(
    ("options", "code", "said"),
    [
        (("--reduce", "median"), 2, "median"),
        (("-l", "conv", "--reduce", "nmf:13"), 2, "2 to 12 parts can be drawn, such as nmf:6"),
        (("--reduce", "nmf:3"), 2, "name layers with --layer"),
        (("-l", "scores", "--reduce", "mean"), 2, "no channels to bring into one map"),
        (("--max-megapixels", "nan"), 2, "nan"),
        (("--max-megapixels", "0"), 2, "0"),
    ],
)
def test_what_means_nothing_writes_nothing(actviz, samples, tmp_path, options, code, said):
    ran = actviz("show", samples / "digits_cnn.h5", samples / "seven.png", *options, "-q", "-o", "new/a.png")
    assert ran.code == code, ran.err
    assert said in ran.err
    assert not (tmp_path / "new" / "a.png").exists()


@pytest.mark.slow
def test_all_channels_are_pages_and_those_are_replaced_by_the_next_run(actviz, samples, tmp_path):
    options = (
        samples / "photo_features.keras",
        samples / "china.jpg",
        "--channels",
        "all",
        "--max-megapixels",
        "1",
        "-q",
    )
    for _ in range(2):
        ran = actviz("show", *options, "-o", "sheet.png")
        assert ran.code == 0, ran.err
    pages = ran.out.split()
    assert pages == ["sheet.png", *(f"sheet_page_{number}.png" for number in range(2, len(pages) + 1))]
    assert len(pages) > 1
    assert all(sizes(tmp_path / page) <= 1_000_000 for page in pages)
    assert output_files.read_provenance(tmp_path / pages[1])["numbers"]["page"] == 2


def test_a_page_never_replaces_what_is_not_one(actviz, samples, tmp_path):
    (tmp_path / "sheet_page_2.png").write_bytes(b"mine")
    ran = actviz(
        *("show", samples / "photo_features.keras", samples / "china.jpg", "--channels", "all"),
        *("--max-megapixels", "1", "-q", "-o", "sheet.png"),
    )
    assert ran.code == 7
    assert (tmp_path / "sheet_page_2.png").read_bytes() == b"mine"
    assert not (tmp_path / "sheet.png").exists()


@pytest.mark.slow
def test_no_sheet_is_a_file_a_layer_and_sheet_one_of_all(actviz, samples, tmp_path):
    model, image = samples / "photo_features.keras", samples / "china.jpg"
    ran = actviz("show", model, image, "--no-sheet", "-q", "-o", "out/")
    names = [line.split("_", 1)[1] for line in ran.out.split()]
    assert names == ["edges.png", "pool_edges.png", "textures.png", "pool_textures.png", "parts.png"]
    ran = actviz("show", model, image, "--sheet", "-l", "parts,edges", "-q", "-o", "one.png")
    assert (ran.code, ran.out) == (0, "one.png\n")
    assert set(output_files.read_provenance(tmp_path / "one.png")["numbers"]["layers"]) == {"parts", "edges"}


def test_pages_are_in_the_manifest(actviz, samples, tmp_path):
    ran = actviz(
        *("show", samples / "photo_features.keras", samples / "china.jpg", samples / "flower.jpg", "--channels", "all"),
        *("--max-megapixels", "1", "-q", "-o", "out/"),
    )
    assert ran.code == 0, ran.err
    figures = json.loads((tmp_path / "out" / "manifest.json").read_text())["figures"]
    assert {f"out/{one['file']}" for one in figures} == set(ran.out.split())
    assert {one["numbers"]["page"] for one in figures} >= {1, 2}


def test_a_fed_text_says_why_it_has_no_figure(actviz, samples):
    ran = actviz("show", samples / "digits_caption.keras", samples / "caption.txt", "-l", "text", "-q", "-o", "a.png")
    assert ran.code == 2
    assert "gives text, which cannot be drawn" in ran.err


def test_help_says_what_a_large_figure_can_do_without(actviz, samples):
    ran = actviz(
        "show",
        samples / "photo_features.keras",
        samples / "china.jpg",
        "-l",
        "edges",
        "--zoom",
        "64",
        "-q",
        "-o",
        "a.png",
    )
    assert ran.code == 6
    for option in ("--channels", "--top", "--reduce mean", "--project max", "--zoom"):
        assert option in ran.err


def test_a_page_that_was_deleted_is_made_again(actviz, samples, tmp_path):
    command = ("show", samples / "photo_features.keras", samples / "china.jpg", "--channels", "all", "-q")
    command = (*command, "--max-megapixels", "1", "-o", "out/")
    pages = actviz(*command).out.split()
    contents = {page: (tmp_path / page).read_bytes() for page in pages}
    assert len(pages) > 1
    assert actviz(*command).out.split() == pages
    assert actviz(*command, "--changed").out == ""
    (tmp_path / pages[1]).unlink()
    again = actviz(*command)
    assert again.code == 0, again.err
    assert pages[1] in again.out.split()
    assert {page: (tmp_path / page).read_bytes() for page in pages} == contents


def test_a_contact_sheet_is_one_channel_of_all_inputs(actviz, samples, tmp_path):
    model, inputs = samples / "digits_cnn.h5", (samples / "seven.png", samples / "three.png")
    ran = actviz("show", model, *inputs, "-l", "conv:3", "--contact", "-q")
    assert (ran.code, ran.out, ran.err) == (0, "digits_cnn_conv_channel_3.png\n", "")
    record = output_files.read_provenance(tmp_path / "digits_cnn_conv_channel_3.png")
    assert record["address"] == "conv:3"
    assert sorted(record["numbers"]["inputs"]) == ["seven.png", "three.png"]
    before = (tmp_path / "digits_cnn_conv_channel_3.png").read_bytes()
    assert actviz("show", model, *inputs, "-l", "0:3", "--contact", "-q").code == 2
    assert actviz("show", model, *inputs, "-l", "conv:3", "--contact", "-q").code == 0
    assert (tmp_path / "digits_cnn_conv_channel_3.png").read_bytes() == before


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("-l", "conv"), "--contact needs one layer with one channel, such as -l conv:17, not -l conv."),
        ((), "--contact needs one layer with one channel, such as -l conv:17, not 0 layers."),
        (("-l", "conv*:1"), "--contact needs one layer; conv* selects 2."),
        (("-l", "conv:99"), "layer 'conv' has 32 maps, 0 to 31; there is no 99."),
        (("-l", "conv:40", "-o", "there.png"), "layer 'conv' has 32 maps, 0 to 31; there is no 40."),
        (("-l", "conv:1", "--overlay"), "--contact draws one channel on one scale; leave out --overlay."),
    ],
)
def test_what_a_contact_sheet_cannot_do_is_refused(actviz, samples, tmp_path, options, words):
    (tmp_path / "there.png").write_bytes(b"of another program")
    ran = actviz("show", samples / "digits_cnn.h5", samples / "seven.png", *options, "--contact", "-q")
    assert (ran.code, ran.err) == (2, f"actviz: error: {words}\n")
    assert [path.name for path in tmp_path.glob("*.png")] == ["there.png"]

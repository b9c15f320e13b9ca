import io
import json
import os
import re
import unicodedata
import zlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from threats import threat

from actviz.errors import OutputError
from actviz.figures import colors
from actviz.results import output_files, png
from actviz.system import file_writing

IDENTITY = {"model": "m.h5", "input": "a.png", "address": "conv"}


@given(st.integers(1, 40), st.integers(1, 40), st.integers(0, 2**32 - 1))
def test_png_comes_back_as_it_was(height, width, seed):
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)
    content = png.encode_png(pixels, IDENTITY)
    with Image.open(io.BytesIO(content)) as image:
        assert json.loads(image.text["actviz"]) == IDENTITY
        np.testing.assert_array_equal(np.asarray(image), pixels)
    assert content == png.encode_png(pixels, IDENTITY)


@given(runs=st.lists(st.integers(1, 70), min_size=1, max_size=12), width=st.integers(1, 900), seed=st.integers(0, 9))
def test_rows_that_repeat_come_back(runs, width, seed):
    rows = np.random.default_rng(seed).integers(0, 256, (len(runs), width, 3), np.uint8)
    pixels = np.repeat(rows, runs, axis=0)
    contents = [png.encode_png(form, {}) for form in (pixels, colors.pack_rgb(pixels))]
    assert contents[0] == contents[1]
    with Image.open(io.BytesIO(contents[0])) as image:
        np.testing.assert_array_equal(np.asarray(image), pixels)
    start = contents[0].index(b"IDAT") + 4
    assert len(zlib.decompress(contents[0][start : -len(png.END) - 4])) == len(pixels) * (1 + 3 * width)


@given(
    height=st.integers(1, 40), width=st.integers(1, 400), seed=st.integers(0, 9), spread=st.sampled_from([1, 3, 256])
)
def test_indexed_images_come_back(height, width, seed, spread):
    generator = np.random.default_rng(seed)
    places = generator.integers(0, spread, (height, width)).astype(np.uint8)
    palette = generator.integers(0, 256, (256, 3)).astype(np.uint8)
    content = png.encode_png(places, IDENTITY, palette)
    with Image.open(io.BytesIO(content)) as image:
        assert image.mode == "P"
        assert json.loads(image.text["actviz"]) == IDENTITY
        np.testing.assert_array_equal(np.asarray(image.convert("RGB")), palette[places])


@given(st.text())
def test_svg_carries_what_it_was_given(name):
    drawing = b'<?xml version="1.0"?>\n<svg xmlns="http://www.w3.org/2000/svg"><g/></svg>\n'
    content = output_files.encode_svg(drawing, IDENTITY | {"history": name})
    from xml.etree import ElementTree as ET

    held = ET.fromstring(content).find("{http://www.w3.org/2000/svg}metadata")
    assert json.loads(held.text) == IDENTITY | {"history": name}
    assert output_files.provenance_in_svg(content) == IDENTITY | {"history": name}


def test_a_drawing_of_ours_is_replaced_and_nothing_else(tmp_path):
    path = tmp_path / "curves.svg"
    output_files.write_drawing(path, b"<svg></svg>", IDENTITY)
    output_files.check_target(path, IDENTITY, overwrite=False)
    for content in (
        b"<svg></svg>",
        b'<svg><metadata id="actviz">[1]</metadata></svg>',
        b'<svg><metadata id="actviz">{',
    ):
        path.write_bytes(content)
        with pytest.raises(OutputError, match="--overwrite"):
            output_files.check_target(path, IDENTITY, overwrite=False)


def test_large_images_come_back():
    pixels = np.random.default_rng(0).integers(0, 256, (3400, 1700, 3), np.uint8)
    with Image.open(io.BytesIO(png.encode_png(pixels, {}))) as image:
        np.testing.assert_array_equal(np.asarray(image), pixels)


def test_a_figure_of_ours_is_replaced_and_nothing_else(tmp_path):
    path = tmp_path / "conv.png"
    pixels = np.zeros((2, 2, 3), np.uint8)
    output_files.write_figure(path, pixels, IDENTITY)
    output_files.check_target(path, IDENTITY, overwrite=False)
    with pytest.raises(OutputError, match="--overwrite"):
        output_files.check_target(path, IDENTITY | {"address": "other"}, overwrite=False)
    Image.fromarray(pixels).save(path)
    with pytest.raises(OutputError, match="--overwrite"):
        output_files.check_target(path, IDENTITY, overwrite=False)
    output_files.check_target(path, IDENTITY, overwrite=True)


@threat(93, 7)
def test_a_planted_link_is_replaced_not_followed(tmp_path):
    victim = tmp_path / "victim"
    victim.write_text("precious")
    link = tmp_path / "conv.png"
    link.symlink_to(victim)
    with pytest.raises(OutputError, match="symbolic link"):
        output_files.check_target(link, IDENTITY, overwrite=False)
    output_files.write_figure(link, np.zeros((2, 2, 3), np.uint8), IDENTITY)
    assert victim.read_text() == "precious"
    assert not link.is_symlink()


@threat(94, 7)
def test_a_failed_write_leaves_the_old_file_and_no_other(tmp_path, monkeypatch):
    path = tmp_path / "conv.png"
    output_files.write_figure(path, np.zeros((2, 2, 3), np.uint8), IDENTITY)
    before = path.read_bytes()

    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OutputError, match="No space left"):
        output_files.write_figure(path, np.ones((9, 9, 3), np.uint8), IDENTITY)
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["conv.png"]


@threat(95, 7)
def test_a_pipe_that_nobody_reads_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "summary.md")
    with pytest.raises(OutputError, match="cannot be written"):
        file_writing.append_file(tmp_path / "summary.md", b"x")
    file_writing.append_file(tmp_path / "page.md", b"x")
    file_writing.append_file(tmp_path / "page.md", b"y")
    assert (tmp_path / "page.md").read_bytes() == b"xy"


@given(st.text())
@threat(91, 0)
def test_slugs_are_safe_names(name):
    slug = output_files.slug(name)
    assert all(
        mark in "_.+-" or unicodedata.category(mark)[0] in "LM" or unicodedata.category(mark) == "Nd" for mark in slug
    )
    assert unicodedata.is_normalized("NFC", slug)
    assert slug.isprintable()
    assert 0 < len(slug.encode()) <= 120
    assert "/" not in slug
    assert slug.strip(".") == slug
    assert slug.lower() not in {"con", "nul", "..", "."}


@given(st.lists(st.text(), unique=True))
@threat(92, 0)
def test_names_never_collide(names):
    taken = output_files.UniquePaths()
    from pathlib import Path

    paths = [taken.take(Path("out") / f"{output_files.slug(name)}.png", name) for name in names]
    assert len({str(path).lower() for path in paths}) == len(paths)
    assert len({unicodedata.normalize("NFD", str(path)).casefold() for path in paths}) == len(paths)


def test_plain_names_stay_as_they_are():
    assert output_files.slug("conv_intermediate") == "conv_intermediate"
    assert output_files.slug("block1/conv2") == "block1-conv2"
    assert output_files.slug("../../etc/passwd").startswith("-..-etc-passwd-") is True


@pytest.mark.parametrize(
    "name",
    [
        "\u5377\u79ef\u5c42_1", "\u0637\u0628\u0642\u0629", "\u05e9\u05db\u05d1\u05d4", "\u092a\u0930\u0924_\u0938\u0902\u0935\u0932\u0928",
        "\ud569\uc131\uacf1", "caf\u00e9", "\u0e20\u0e32\u0e29\u0e32", "\u0421\u043b\u043e\u0439",
    ],
)  # fmt: skip
def test_letters_of_every_script_stay_in_file_names(name):
    assert output_files.slug(name) == name


@pytest.mark.parametrize(
    ("name", "start"),
    [
        ("cafe\u0301", "caf\u00e9-"),
        ("a\u202egnp.exe", "a_gnp.exe-"),
        ("\U0001f916", "layer-"),
        ("conv\U0001f600", "conv-"),
        ("com\u00b9", "com-"),
        ("a\u3164b", "a_b-"),
        ("x\uff0fy", "x_y-"),
        ("\ud800", "layer-"),
    ],
)
def test_what_cannot_stay_in_a_file_name_leaves_a_hash(name, start):
    assert re.fullmatch(re.escape(start) + "[0-9a-f]{8}", output_files.slug(name))


def test_long_names_are_cut_between_letters():
    for letters in ("\u5c42" * 200, "\u0928\u0947" * 100, "x\u0323" * 200, "n" * 300):
        slug = output_files.slug(letters)
        whole, _, digest = slug.rpartition("-")
        assert len(slug.encode()) <= 120
        assert len(digest) == 8
        assert len(whole) % 2 == 0 or letters[0] in "\u5c42n"
        assert letters.startswith(whole) or unicodedata.normalize("NFC", letters).startswith(whole)


def test_joined_names_fit_a_file_system():
    assert output_files.joined(["model", "conv", "cat"]) == "model_conv_cat"
    long = [output_files.slug(letters * 100) for letters in ("\u5c42", "n", "\u0928\u0947")]
    assert len(output_files.joined(long).encode()) <= 210
    assert output_files.joined(long) != output_files.joined([*long[:2], output_files.slug("\u0928\u0947" * 101)])


@pytest.mark.parametrize("name", ["con", "CON", "prn", "aux", "nul", "com1", "Com9", "lpt1", "nul.png", "Aux.tar.gz"])
@threat(91, 0)
def test_names_that_windows_reserves_get_a_hash(name):
    assert re.fullmatch(re.escape(name) + "-[0-9a-f]{8}", output_files.slug(name))


@pytest.mark.parametrize("name", ["conv", "console.png", "com10", "lpt", "auxiliary", "null", "x.con"])
@threat(91, 0)
def test_names_that_only_look_reserved_stay(name):
    assert output_files.slug(name) == name


def test_a_png_records_its_resolution_only_if_it_is_given() -> None:
    pixels = np.zeros((4, 5, 3), np.uint8)
    with Image.open(io.BytesIO(png.encode_png(pixels, {}, dpi=300))) as image:
        assert image.info["dpi"] == pytest.approx((300, 300), abs=0.1)
        assert image.size == (5, 4)
    assert b"pHYs" not in png.encode_png(pixels, {})

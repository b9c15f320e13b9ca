"""SVG and PDF: the pixels of tiles unchanged, text as text, the provenance, the same bytes on every run."""

import base64
import io
import re

import numpy as np
import pytest
from PIL import Image

from actviz.batch.vector_figure import SUFFIXES, encode_vector, suffix_of, write_picture
from actviz.figures import text
from actviz.figures.renderers import draw
from actviz.records import Activation, Context, Style
from actviz.results.output_files import read_provenance

VALUES = np.arange(48, dtype=np.float32).reshape(1, 4, 4, 3)
ABOUT = {"model": "m.h5", "text": "a < b & c"}


@pytest.fixture(scope="module")
def picture():
    activation = Activation("conv $x$", "Conv2D", VALUES, ("batch", "row", "column", "channel"))
    return draw(activation, 0, Context("m.h5", "a.png", "4 x 4"), Style())


@pytest.fixture(scope="module")
def svg(picture):
    return encode_vector(picture, ".svg", ABOUT).decode()


def test_all_text_is_text_in_its_size_weight_and_color(picture, svg):
    texts = dict(reversed(match) for match in re.findall(r'<text style="([^"]*)"[^>]*>([^<]*)</text>', svg))
    assert {label.text for label in picture.labels} <= set(texts)
    assert "font-weight: 700" in texts["conv $x$"]
    assert "font-weight: 700" not in texts["Conv2D"]
    assert f"font-size: {20 * 0.72:g}px" in texts["conv $x$"]
    assert "fill: #222222" in texts["conv $x$"]


def test_the_pixels_of_tiles_are_unchanged_and_those_of_text_are_not_there(picture, svg):
    (content,) = re.findall(r'xlink:href="data:image/png;base64,([^"]*)"', svg)
    pixels = np.asarray(Image.open(io.BytesIO(base64.b64decode(content))).convert("RGB"))
    if pixels.shape == picture.pixels.shape and not np.array_equal(pixels[0], picture.pixels[0]):
        pixels = pixels[::-1]
    for tile in picture.tiles:
        top, left, bottom, right = tile.box
        np.testing.assert_array_equal(pixels[top:bottom, left:right], picture.pixels[top:bottom, left:right])
    for label in picture.labels:
        top, left, bottom, right = label.box
        assert len(np.unique(pixels[top:bottom, left:right].reshape(-1, 3), axis=0)) == 1
    assert "image-rendering:pixelated" in svg.replace(" ", "")


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_files_have_their_provenance_and_the_same_bytes(picture, tmp_path, suffix):
    path = tmp_path / f"figure{suffix}"
    write_picture(path, picture, ABOUT)
    assert read_provenance(path) == ABOUT
    assert encode_vector(picture, suffix, ABOUT) == path.read_bytes()


def test_a_pdf_embeds_the_font_of_its_text(picture):
    content = encode_vector(picture, ".pdf", ABOUT)
    assert content.startswith(b"%PDF")
    assert content.rstrip().endswith(b"%%EOF")
    assert b"/FontFile2" in content
    assert b"/CreationDate" not in content


def test_formats_are_known_by_their_suffix():
    assert [suffix_of(name) for name in ("a.svg", "b.PDF", "c.png", "d/", None)] == [".svg", ".pdf", "", "", ""]


def test_rotated_text_stays_rotated():
    from actviz.batch.vector_figure import _PlacedText
    from actviz.figures.canvas import LIGHT, Canvas

    canvas = Canvas.blank(200, 60, LIGHT)
    canvas.write_upwards("upwards", 150, 10, text.get_font(12), LIGHT.ink)
    canvas.write("along", 160, 5, text.get_font(14, bold=True), LIGHT.muted)
    picture = canvas.picture((), {})
    up, along = (_PlacedText.of(label, picture.pixels) for label in picture.labels)
    assert (up.upwards, up.size, up.bold) == (True, 12, False)
    assert (along.upwards, along.size, along.bold, along.ink) == (False, 14, True, LIGHT.muted)

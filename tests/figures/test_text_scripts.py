"""Text of every script: in an installed font, shaped where Raqm is there, else as codes; never as empty boxes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from fontTools.fontBuilder import FontBuilder
from fontTools.pens.ttGlyphPen import TTGlyphPen
from hypothesis import given, settings
from hypothesis import strategies as st

from actviz.figures import fonts, text, text_runs
from actviz.figures.text_runs import Run
from actviz.history import matplotlib_settings

if TYPE_CHECKING:
    from pathlib import Path

HAN, HEBREW, DEVANAGARI, ROBOT = (
    "\u4e2d\u6587",
    "\u05e9\u05dc\u05d5\u05dd",
    "\u0928\u092e\u0938\u094d\u0924\u0947",
    "\U0001f916",
)


def font_of(path: Path, characters: str, *, pictures: bool = False, width: int = 1000) -> Path:
    """Write a font in which each character is a filled square, or has no outline at all; others are nothing."""
    pen = TTGlyphPen(None)
    for number, point in enumerate([(100, 0), (100, 700), (width - 100, 700), (width - 100, 0)]):
        (pen.lineTo if number else pen.moveTo)(point)
    pen.closePath()
    names = [".notdef", *(f"glyph{number}" for number in range(len(characters)))]
    builder = FontBuilder(1000, isTTF=True)
    builder.setupGlyphOrder(names)
    builder.setupCharacterMap(dict(zip(map(ord, characters), names[1:], strict=True)))
    builder.setupGlyf(dict.fromkeys(names, pen.glyph()) | {".notdef": TTGlyphPen(None).glyph()})
    builder.setupHorizontalMetrics(dict.fromkeys(names, (width, 100)))
    builder.setupHorizontalHeader(ascent=800, descent=-200)
    builder.setupNameTable({"familyName": path.stem, "styleName": "Regular"})
    builder.setupPost()
    if pictures:
        del builder.font["glyf"]
    path.parent.mkdir(exist_ok=True)
    builder.save(path)
    return path


def clear_caches() -> None:
    for cached in (fonts._installed, fonts._candidates, fonts._probe, fonts.has_glyph, fonts.content):
        cached.cache_clear()


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Return the only folder in which fonts are looked for: an empty one."""
    found = tmp_path / "fonts"
    found.mkdir()
    monkeypatch.setattr(fonts, "FOLDERS", (str(found), str(tmp_path / "missing")))
    clear_caches()
    yield found
    clear_caches()


def new_face(size: int = 20) -> text.Font:
    return text.Font(size)  # not the shared one, which remembers the fonts of the machine


def test_without_a_font_the_code_is_written(folder) -> None:
    assert text_runs.runs_of(HAN) == [Run("\\u4e2d\\u6587")]
    face = new_face()
    np.testing.assert_array_equal(face.alpha(f"a{HAN}"), face.alpha("a\\u4e2d\\u6587"))
    assert text_runs.runs_of(ROBOT) == [Run("\\U0001f916")]


def test_an_installed_font_draws_what_the_own_one_lacks(folder) -> None:
    path = font_of(folder / "Square.ttf", HAN)
    assert text_runs.runs_of(f"a {HAN} b") == [Run("a "), Run(HAN, path), Run(" b")]
    face = new_face()
    squares = face.alpha(HAN)
    assert squares.shape == (face.height, 40)
    assert (squares[:, 5:15] > 0).sum() == (squares[:, 25:35] > 0).sum() > 100
    assert face.width(f"a {HAN} b") == face.width("a ") + 40 + face.width(" b")


def test_the_font_is_the_same_whatever_the_order_of_files(folder) -> None:
    for name in ("Zed.ttf", "NotoSansCJK-Bold.ttf", "Alpha.ttf", "NotoSansCJK-Regular.ttf"):
        font_of(folder / name, HAN)
    assert fonts.covering(HAN[0]).name == "NotoSansCJK-Regular.ttf"
    assert fonts.covering(HAN[0], bold=True).name == "NotoSansCJK-Bold.ttf"


@pytest.mark.parametrize("content", [b"", b"ttcf", b"\0\1\0\0\xff\xff" + b"\0" * 40, b"OTTO\0\1" + b"cmap" * 20])
def test_a_damaged_font_is_left_out(folder, content) -> None:
    (folder / "AAA-cjk.ttf").write_bytes(content)
    (folder / "link.ttf").symlink_to("nowhere.ttf")
    path = font_of(folder / "Square.ttf", HAN)
    assert fonts.covering(HAN[0]) == path


def test_a_font_of_pictures_is_left_out(folder) -> None:
    font_of(folder / "Emoji.ttf", ROBOT, pictures=True)
    assert text_runs.runs_of(ROBOT) == [Run("\\U0001f916")]


@pytest.mark.parametrize("words", [HEBREW, DEVANAGARI, "\u0627\u0644\u0639\u0631\u0628\u064a\u0629"])
def test_scripts_that_need_shaping_are_codes_without_it(words) -> None:
    expected = "".join(f"\\u{ord(character):04x}" for character in words)
    assert "".join(run.characters for run in text_runs.runs_of(words, shaping=False)).isascii()
    assert text_runs.runs_of(words, shaping=False)[0].characters.startswith(expected[:6])


@pytest.mark.skipif(not text_runs.can_shape(), reason="Pillow is built without Raqm")
def test_words_from_right_to_left_stand_in_their_order() -> None:
    """Hebrew is in DejaVu Sans itself; the first letter is the rightmost."""
    face = new_face()
    first, both = face.alpha(HEBREW[0]), face.alpha(HEBREW[0] + HEBREW[1])
    right = np.flatnonzero(both.any(axis=0))[-1]
    lead = np.flatnonzero(first.any(axis=0))
    np.testing.assert_array_equal(
        both[:, right - np.ptp(lead) : right + 1] > 128, first[:, lead[0] : lead[-1] + 1] > 128
    )
    assert text_runs.runs_of(f"{HEBREW} {HEBREW} 3") == [Run(f"{HEBREW} {HEBREW}", None, "rtl"), Run(" 3")]


def test_accents_stay_with_their_letters() -> None:
    assert text_runs.runs_of("e\u0301") == [Run("\u00e9")]
    assert text.tokens("x\u0323\u0301y") == ["x\u0323\u0301", "y"]


@given(st.text(max_size=60), st.integers(0, 300))
@settings(max_examples=150)
def test_any_text_is_drawn_as_wide_as_it_was_measured(words: str, width: int) -> None:
    face = text.get_font(12)
    short = face.fit(words, width)
    assert face.alpha(words).shape == (face.height, face.width(words))
    assert face.width(short) <= width
    assert all(character in words or character == text.ELLIPSIS for character in short)


@given(st.text(max_size=40))
@settings(max_examples=150)
def test_every_character_has_a_glyph_or_its_code(words: str) -> None:
    for run in text_runs.runs_of(words):
        path = run.path or text_runs.font_path(bold=False)
        assert all(fonts.has_glyph(path, character) for character in run.characters)


@pytest.mark.parametrize("shaping", [(3, 10), (9, 0)])
def test_curves_name_the_fonts_that_their_words_need(folder, monkeypatch, shaping) -> None:
    path = font_of(folder / "Square.ttf", HAN)
    monkeypatch.setattr(matplotlib_settings, "_SHAPING_VERSION", shaping)

    def readable(words):
        style = matplotlib_settings.text_style(words, 12, "black")
        return style["text"], style["family"]

    assert readable("loss") == ("loss", ["DejaVu Sans"])
    assert readable(f"loss {HAN}") == (f"loss {HAN}", ["DejaVu Sans", "Square"])
    words, families = readable(HEBREW)
    assert families == ["DejaVu Sans"]
    assert words in {f"\u200e{HEBREW}", "".join(f"\\u{ord(letter):04x}" for letter in HEBREW)}
    assert path.is_file()

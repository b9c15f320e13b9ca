"""Text as pixels."""

from __future__ import annotations

import re
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actviz.figures import text

MINUS = text.MINUS


def test_the_font_needs_no_matplotlib() -> None:
    program = "import sys; from actviz.figures import text; text.get_font(12).alpha('a');assert 'matplotlib' not in sys.modules"

    subprocess.run([sys.executable, "-c", program], check=True)


@pytest.mark.parametrize(
    ("value", "digits", "expected"),
    [
        (0, 3, "0"),
        (-0.0, 3, "0"),
        (3.14159, 3, "3.14"),
        (-2.5, 3, MINUS + "2.5"),
        (1234.4, 3, "1234"),
        (99999, 3, "99999"),
        (123456, 3, "1.23e5"),
        (0.001, 3, "0.001"),
        (1.5e-5, 3, f"1.5e{MINUS}5"),
        (9.6, 1, "10"),
        (0.0123, 1, "0.01"),
        (1e38, 1, "1e38"),
        (5e-324, 3, f"4.94e{MINUS}324"),
        (float("nan"), 3, "NaN"),
        (float("-inf"), 3, f"{MINUS}{text.INFINITY}"),
        (999.96, 4, "1000"),
    ],
)
def test_numbers_as_people_write_them(value: float, digits: int, expected: str) -> None:
    assert text.number(value, digits) == expected


@given(st.text(max_size=300), st.integers(0, 400), st.sampled_from([10, 12, 20]))
@settings(max_examples=200)
def test_what_is_fitted_fits(words: str, width: int, size: int) -> None:
    face = text.get_font(size)

    short = face.fit(text.shown(words), width)

    assert face.alpha(short).shape[0] == face.height
    if short:
        assert face.width(short) <= width


def test_the_middle_is_left_out() -> None:
    face = text.get_font(12)

    short = face.fit("backbone/" + "x" * 200 + "/conv1", 200)

    assert short.startswith("backbone/")
    assert short.endswith("/conv1")
    assert text.ELLIPSIS in short


def test_nothing_hidden_is_drawn() -> None:
    assert "\u202e" not in text.shown("a\u202eb\n")


def test_glyphs_side_by_side_are_the_number() -> None:
    face = text.get_font(10)

    whole = face._draw("123.45")

    np.testing.assert_array_equal(face.alpha("123.45"), whole)


@given(st.lists(st.text("ab ", min_size=1, max_size=80), min_size=1, max_size=6), st.integers(60, 400))
def test_wrapped_lines_fit(parts: list[str], width: int) -> None:
    face = text.get_font(12)

    assert all(face.width(line) <= width for line in text.wrap(parts, face, width))


def test_lists_stay_short() -> None:
    assert text.listing([1, 2]) == "1, 2"
    assert text.listing(list(range(2000)), 3) == "0, 1, 2 … 1,997 more"


NUMBER = re.compile(r"[+\-\u2212\u00b1]?[.,]?\d(?:[\d.,]*\d)?(?:e[+\-\u2212]?\d+)?")


def numbers_of(words: str) -> list[str]:
    return NUMBER.findall(words)


numbers = st.one_of(
    st.floats(allow_nan=False, allow_infinity=False).map(text.number),
    st.integers(0, 10**9).map(lambda value: f"{value:,}"),
    st.floats(-1e4, 1e4).map(lambda value: f"{text.PLUS_MINUS}{abs(value):.3g}"),
    st.floats(0, 1).map(lambda value: f"{value:.1e}"),
)
sentences = st.lists(
    st.one_of(numbers, st.sampled_from(["of", "filters", "colours", "\u00b7", "steps,"])), min_size=1, max_size=12
).map(" ".join)


@given(sentences, st.integers(0, 300))
@settings(max_examples=100)
def test_a_shortened_number_is_never_another_number(words: str, width: int) -> None:
    short = text.get_font(12).fit(words, width)

    whole = numbers_of(words)
    for part in short.split(text.ELLIPSIS):
        for number in numbers_of(part):
            assert number in whole
            whole.remove(number)


@given(sentences, st.integers(4, 60))
@settings(max_examples=300)
def test_a_cut_text_ends_in_no_part_of_a_number(words: str, limit: int) -> None:
    cut = text.shown(words, limit)

    assert len(cut) <= max(limit, 3)
    assert set(numbers_of(cut.removesuffix("..."))) <= set(numbers_of(words))


@pytest.mark.parametrize(
    ("words", "parts"),
    [
        ("8 of 1,152", ["8", " ", "o", "f", " ", "1,152"]),
        (f"{MINUS}3.25e{MINUS}5", [f"{MINUS}3.25e{MINUS}5"]),
        (f"{MINUS}0.5..0.5", [f"{MINUS}0.5..0.5"]),
        (f"{MINUS}3..{MINUS}1.5e-7 x", [f"{MINUS}3..{MINUS}1.5e-7", " ", "x"]),
        ("12.5% 3.5M 28px", ["12.5%", " ", "3.5M", " ", "28px"]),
        (f"{MINUS}max", [f"{MINUS}m", "a", "x"]),
        ("a\\u4e2d\\x0a", ["a", "\\u4e2d", "\\x0a"]),
        ("conv2d_15/relu", ["c", "o", "n", "v", "2", "d", "_", "1", "/"]),
    ],
)
def test_what_is_never_cut(words: str, parts: list[str]) -> None:
    if words.startswith("conv"):
        assert "15" in text.tokens(words)
    else:
        assert text.tokens(words) == parts
    assert "".join(text.tokens(words)) == words


def test_numbers_have_as_many_digits_as_fit() -> None:
    face = text.get_font(11)
    assert text.fitting_number(-1.23e-38, face, 100) == f"{MINUS}1.23e{MINUS}38"
    assert text.fitting_number(-1.23e-38, face, 1) == f"{MINUS}1e{MINUS}38"

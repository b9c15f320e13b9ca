"""Text as pixels."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actviz import text

MINUS = text.MINUS


def test_the_font_needs_no_matplotlib() -> None:
    program = "import sys; from actviz import text; text.face(12).alpha('a');assert 'matplotlib' not in sys.modules"

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
@settings(deadline=None, max_examples=200)
def test_what_is_fitted_fits(words: str, width: int, size: int) -> None:
    face = text.face(size)

    short = face.fit(text.shown(words), width)

    assert face.alpha(short).shape[0] == face.height
    if short:
        assert face.width(short) <= width


def test_the_middle_is_left_out() -> None:
    face = text.face(12)

    short = face.fit("backbone/" + "x" * 200 + "/conv1", 200)

    assert short.startswith("backbone/")
    assert short.endswith("/conv1")
    assert text.ELLIPSIS in short


def test_nothing_hidden_is_drawn() -> None:
    assert "\u202e" not in text.shown("a\u202eb\n")


def test_glyphs_side_by_side_are_the_number() -> None:
    face = text.face(10)

    whole = face._draw("123.45")

    np.testing.assert_array_equal(face.alpha("123.45"), whole)


@given(st.lists(st.text("ab ", min_size=1, max_size=80), min_size=1, max_size=6), st.integers(60, 400))
@settings(deadline=None)
def test_wrapped_lines_fit(parts: list[str], width: int) -> None:
    face = text.face(12)

    assert all(face.width(line) <= width for line in text.wrap(parts, face, width))


def test_lists_stay_short() -> None:
    assert text.listing([1, 2]) == "1, 2"
    assert text.listing(list(range(2000)), 3) == "0, 1, 2 … 1,997 more"

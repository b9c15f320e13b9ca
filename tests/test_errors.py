import pytest
from hypothesis import given
from hypothesis import strategies as st
from threats import threat

from actviz.errors import (
    InputError,
    LimitError,
    ModelError,
    OutputError,
    PartialError,
    UnsafeError,
    UsageError,
    error_of_code,
    escape,
)


@given(st.text())
@threat(106, 0)
def test_escaped_text_is_one_printable_line(text):
    safe = escape(text)
    assert safe.isprintable()
    assert "\n" not in safe
    assert not safe.startswith("::")


@threat(106, 0)
def test_controls_bidi_and_surrogates_are_spelled_out():
    assert escape("a\nb\x1b[31m\u202e\ud800") == "a\\x0ab\\x1b[31m\\u202e\\ud800"


def test_long_text_is_cut():
    assert escape("x" * 500, 10) == "xxxxxxx..."


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (1, PartialError),
        (2, UsageError),
        (3, InputError),
        (4, ModelError),
        (5, UnsafeError),
        (6, LimitError),
        (7, OutputError),
    ],
)
def test_every_code_has_its_class(code, kind):
    assert type(error_of_code(code, "x")) is kind
    assert kind.exit_code == code

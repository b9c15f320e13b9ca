"""Text files: each line one sample; what is no number is named with its line and column; rows 85-87."""

import os
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from threats import threat

from actviz.errors import InputError, LimitError
from actviz.inputs import PREPROCESSINGS, InputOptions, read_samples, text_files
from actviz.inputs.text_files import parse_rows, split_into_steps
from actviz.records import TensorSpec

VECTOR = TensorSpec("x", (None, 3), "float32", ("batch", "unit"))
FREE = TensorSpec("x", (None, None), "float32", ("batch", "unit"))
TOKENS = TensorSpec("tokens", (None, 3), "int32", ("batch", "unit"), limit=10)
FLOAT_TOKENS = TensorSpec("tokens", (None, 3), "float32", ("batch", "unit"), limit=10)
FREE_TOKENS = TensorSpec("tokens", (None, None), "int64", ("batch", "unit"))
NUMBER = TensorSpec("x", (None,), "float32", ("batch",))
TEXT = TensorSpec("text", (None, 1), "string", ("batch", "unit"), split="punctuation")
FLAT_TEXT = TensorSpec("text", (None,), "string", ("batch",), split="whitespace")
WORDS = TensorSpec("words", (None, 3), "string", ("batch", "unit"))
FREE_WORDS = TensorSpec("words", (None, None), "string", ("batch", "unit"))
IMAGE = TensorSpec("image", (None, 28, 28, 1), "float32", ("batch", "row", "column", "channel"))


def rows(content, spec):
    return parse_rows(content if isinstance(content, bytes) else content.encode(), spec, "a.csv")


def read(folder, content, spec, name="a.csv", **options):
    (folder / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    return read_samples(folder / name, (spec,), PREPROCESSINGS["0..1"], InputOptions(**options))


# ------------------------------------------------------------------ numbers
@pytest.mark.parametrize(
    ("content", "spec", "expected"),
    [
        ("1 2 3", VECTOR, [[1, 2, 3]]),
        ("1,2,3\n4,5,6\n", VECTOR, [[1, 2, 3], [4, 5, 6]]),
        ("1, 2 ,\t3\r\n\r\n4\t5  6\r", VECTOR, [[1, 2, 3], [4, 5, 6]]),
        (b"\xef\xbb\xbf1.5,-2e-1,+.25", VECTOR, [[1.5, -0.2, 0.25]]),
        ("1 2\n3 4 5 6", FREE, [[1, 2], [3, 4, 5, 6]]),
        ("0 9 5", TOKENS, [[0, 9, 5]]),
        ("0.0 9. 5e0", TOKENS, [[0, 9, 5]]),
        ("0 9 5", FLOAT_TOKENS, [[0, 9, 5]]),
        ("7\n8", NUMBER, [7, 8]),
        ("9223372036854775807 -9223372036854775808", FREE_TOKENS, [[2**63 - 1, -(2**63)]]),
    ],
)
def test_each_line_is_one_sample(content, spec, expected):
    found = rows(content, spec)
    assert [row.tolist() for row in found] == [[np.array(one, spec.dtype).tolist()] for one in expected]
    assert all(row.dtype == spec.dtype and row.ndim == len(spec.shape) for row in found)


@pytest.mark.parametrize(
    ("content", "spec", "said"),
    [
        ("1 2 abc", VECTOR, 'line 1 column 3: "abc"; numbers such as 1.5'),
        ("age,height,mass\n1,2,3", VECTOR, 'line 1 column 1: "age"; numbers such as 1.5 with spaces or commas between them were expected, without a header'),
        ("1,2,3\n\n4,,6", VECTOR, 'line 3 column 2: ""'),
        ("1,2,3,", VECTOR, 'line 1 column 4: ""'),
        ("1;2;3", VECTOR, 'line 1 column 1: "1;2;3"'),
        ("1,5;2,5;3", VECTOR, 'line 1 column 2: "5;2"'),
        ('"1",2,3', VECTOR, 'line 1 column 1: ""1""'),
        ("0x10 1 2", VECTOR, 'line 1 column 1: "0x10"'),
        ("1_000 1 2", VECTOR, 'line 1 column 1: "1_000"'),
        ("\u0661 1 2", VECTOR, "line 1 column 1"),
        ("1e999 1 2", VECTOR, 'line 1 column 1: "1e999"'),
        ("1 2 3e38\n1 2 4e38", VECTOR, "line 2: the value 4e+38 cannot be held by the input's dtype float32"),
        ("1" * 70, NUMBER, "line 1 column 1"),
        ("\x1b[2J 1 2", VECTOR, 'line 1 column 1: "\\x1b[2J"'),
        ("1 2", VECTOR, "line 1 holds 2 numbers; each line is one sample and the input (any, 3) takes 3"),
        ("1 2 3\n1\n1 2 3 4\n2", VECTOR, "line 2 holds 1 number (other lines: 4)"),
        ("1 2 3.5", TOKENS, 'line 1 column 3: "3.5"; whole numbers'),
        ("1 2 nan", TOKENS, 'line 1 column 3: "nan"; whole numbers'),
        ("1 2 Ada", TOKENS, 'line 1 column 3: "Ada"; whole numbers'),
        ("1 2 3\n1 10 3", TOKENS, "line 2 column 2: 10 is outside the vocabulary; whole numbers from 0 to 9 were expected"),
        ("1 2 -1", FLOAT_TOKENS, "line 1 column 3: -1 is outside the vocabulary"),
        ("9223372036854775808", FREE_TOKENS, 'line 1 column 1: "9223372036854775808"'),
        ("1e30", FREE_TOKENS, 'line 1 column 1: "1e30"'),
        (b"1 2 3\n1 \xff 3", VECTOR, "line 2: the byte 0xFF is not UTF-8; save the file as UTF-8"),
        (b"\xef\xbb\xbf1 2 3\n\n\xe9", VECTOR, "line 3: the byte 0xE9"),
        ("\n \n", VECTOR, "all lines are empty"),
    ],
)  # fmt: skip
@threat(85, 3)
def test_what_is_no_number_is_named_with_its_place(content, spec, said):
    with pytest.raises(InputError) as caught:
        rows(content, spec)
    assert caught.value.message.startswith("a.csv: ")
    assert said in caught.value.message
    assert caught.value.message.isprintable()


@given(
    st.lists(st.lists(st.floats(width=32), min_size=3, max_size=3), min_size=1, max_size=5),
    st.sampled_from([",", " ", " , ", "\t"]),
)
def test_every_number_comes_back(numbers, mark):
    content = "\n".join(mark.join(map(repr, row)) for row in numbers)
    np.testing.assert_array_equal(np.concatenate(rows(content, VECTOR)), np.array(numbers, np.float32))


@given(
    st.binary(max_size=60),
    st.sampled_from([VECTOR, FREE, TOKENS, FREE_TOKENS, NUMBER, TEXT, FLAT_TEXT, WORDS, FREE_WORDS]),
)
def test_whatever_the_file_holds_it_is_read_or_refused_in_one_line(content, spec):
    with tempfile.TemporaryDirectory() as folder:
        try:
            samples = read(Path(folder), content, spec)
        except InputError as failure:
            assert failure.message.isprintable()  # noqa: PT017  (either is right)
        else:
            assert all(sample.values[spec.name].shape[0] == 1 for sample in samples)


@threat(86, 6)
def test_files_that_are_too_large_are_a_limit(tmp_path, monkeypatch):
    monkeypatch.setattr(text_files, "MAX_CELLS", 5)
    for content in ("1 2 3\n4 5 6", "1 2 3 4 5 x"):
        with pytest.raises(LimitError, match="more than 5 values"):
            read(tmp_path, content, VECTOR)
    monkeypatch.setattr(text_files, "MAX_SAMPLES", 1)
    with pytest.raises(LimitError, match="more than 1 samples"):
        read(tmp_path, "a\nb", TEXT)
    monkeypatch.setattr(text_files, "MAX_WORD_BYTES", 100)
    with pytest.raises(LimitError, match="too many"):
        read(tmp_path, "a " * 20 + "b" * 20, FREE_WORDS)
    with (tmp_path / "large.csv").open("wb") as file:
        file.write(b"1 2 3\n" * 4000)
        os.truncate(file.name, text_files.MAX_BYTES + 1)
    with pytest.raises(LimitError, match="at most 67,108,864 are read"):
        read_samples(tmp_path / "large.csv", (VECTOR,), PREPROCESSINGS["0..1"], InputOptions())


def test_samples_are_named_and_said(tmp_path):
    first, second = read(tmp_path, "1 2 3\n4 5 6", VECTOR)
    assert (first.name, second.name) == ("a.csv[0]", "a.csv[1]")
    assert second.fed == "3, as given, values 4..6"
    assert first.thumbnail is None
    assert first.digest != second.digest


def test_nan_is_refused_unless_allowed(tmp_path):
    with pytest.raises(InputError, match="--allow-nonfinite"):
        read(tmp_path, "1 nan 3", VECTOR)
    assert np.isnan(read(tmp_path, "1 nan -inf", VECTOR, allow_nonfinite=True)[0].values["x"][0, 1])


@pytest.mark.parametrize(
    ("content", "spec", "said"),
    [
        (b"1 2 3", IMAGE, "this is a text file; an image"),
        (b"", VECTOR, "the file is empty; an array (.npy, .npz) or lines of numbers (.csv, .txt) was expected"),
        (b"", TEXT, "the file is empty; a text file in UTF-8 or an array of text (.npy, .npz) was expected"),
        (b'{"loss": [1]}', VECTOR, "this is a JSON file; an array"),
        (b"<html>", TEXT, "this is a web page"),
        (b"1\x002", VECTOR, "no known kind of file"),
        ("1 2 3".encode("utf-16"), VECTOR, "this is UTF-16 text (save it as UTF-8)"),
        (b"version https://git-lfs.github.com/spec/v1\n", TEXT, "git lfs pull"),
    ],
)
def test_other_files_are_what_they_are(tmp_path, content, spec, said):
    with pytest.raises(InputError) as caught:
        read(tmp_path, content, spec)
    assert said in caught.value.message


# ------------------------------------------------------------------ text
@pytest.mark.parametrize(
    ("content", "spec", "expected"),
    [
        ("The cat sat.\n\n  my dog \n", TEXT, [[["The cat sat."]], [["my dog"]]]),
        ("The cat sat.\nmy dog", FLAT_TEXT, [["The cat sat."], ["my dog"]]),
        ("a b  c\nc\tb a", WORDS, [[["a", "b", "c"]], [["c", "b", "a"]]]),
        ("a\nb c", FREE_WORDS, [[["a"]], [["b", "c"]]]),
        ("\ufeff\u00e9t\u00e9 \u4e2d\u6587\u2028x", TEXT, [[["\u00e9t\u00e9 \u4e2d\u6587\u2028x"]]]),
        ("1,2", TEXT, [[["1,2"]]]),
        ('{"a": 1}', TEXT, [[['{"a": 1}']]]),
    ],
)
def test_lines_of_text(tmp_path, content, spec, expected):
    samples = read(tmp_path, content, spec)
    assert [sample.values[spec.name].tolist() for sample in samples] == expected


def test_lines_of_words_must_have_the_length_of_the_input():
    with pytest.raises(
        InputError, match=r"line 2 holds 2 words; each line is one sample and the input \(any, 3\) takes 3"
    ):
        rows("a b c\na b", WORDS)


def test_text_that_is_not_utf_8_names_the_line():
    with pytest.raises(InputError, match="line 2: the byte 0xE9 is not UTF-8"):
        rows("fine\ncaf\u00e9".encode("latin-1"), TEXT)


@pytest.mark.parametrize(
    ("text", "split", "steps"),
    [
        ("The cat - don't!", "whitespace", ("The", "cat", "-", "don't!")),
        ("The cat - don't!", "punctuation", ("The", "cat", "don't!")),
        ("ab c", "character", ("a", "b", " ", "c")),
        ("a\u00a0b", "whitespace", ("a\u00a0b",)),
        ("The cat", "", None),
    ],
)
def test_the_steps_that_the_network_makes_of_a_text(text, split, steps):
    assert split_into_steps(text, split) == steps


def test_samples_keep_their_words(tmp_path):
    sentence, other = read(tmp_path, "The cat - sat.\nA dog", TEXT)
    assert sentence.words == ("The", "cat", "sat.")
    assert sentence.fed == '"The cat - sat."'
    assert other.words == ("A", "dog")
    assert read(tmp_path, "a b c", WORDS)[0].words == ("a", "b", "c")
    assert read(tmp_path, "1 2 3", VECTOR)[0].words is None


def test_arrays_of_text_are_samples_of_text(tmp_path):
    np.save(tmp_path / "a.npy", np.array(["the cat", "a dog"]))
    for spec in (TEXT, FLAT_TEXT):
        first, second = read_samples(tmp_path / "a.npy", (spec,), PREPROCESSINGS["0..1"], InputOptions())
        assert first.values["text"].shape == (1, *spec.shape[1:])
        assert second.words == ("a", "dog")


def test_half_a_character_is_refused_before_tensorflow_sees_it(tmp_path):
    np.save(tmp_path / "a.npy", np.array(["\ud800"]))
    with pytest.raises(InputError, match="lone surrogate"):
        read_samples(tmp_path / "a.npy", (TEXT,), PREPROCESSINGS["0..1"], InputOptions())

"""A list of files is a sequence of them, and compressed beyond its last block."""

import gc
import tracemalloc
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actviz.inputs import input_files
from actviz.inputs.input_files import FileList, InputArguments, InputFile, list_input_files

NAMES = st.text(st.characters(exclude_characters="\0") | st.sampled_from("\udcff\n/\u00e9"), min_size=1, max_size=6)


@given(st.lists(st.tuples(NAMES, NAMES), max_size=12), st.integers(1, 5))
def test_it_holds_what_it_was_given(pairs, block):
    files = [InputFile(Path(path), name) for path, name in pairs]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(input_files, "BLOCK", block)
        listed = FileList(iter(files))
        assert list(listed) == files
        assert len(listed) == len(files)
        assert [listed[index] for index in range(-len(files), len(files))] == files + files
        assert listed[1:9:2] == files[1:9:2]
        assert listed[::-1] == files[::-1]
        assert bool(listed) == bool(files)
        with pytest.raises(IndexError):
            listed[len(files)]


def test_names_take_little_memory():
    def files():
        return (
            InputFile(Path(f"images/n{n // 50:08d}/n_{n:09d}.JPEG"), f"n{n // 50:08d}/n_{n:09d}.JPEG")
            for n in range(40_000)
        )

    tracemalloc.start()
    try:
        listed = FileList(files())
        gc.collect()
        compressed = tracemalloc.get_traced_memory()[0]
        kept = list(files())
        plain = tracemalloc.get_traced_memory()[0] - compressed
    finally:
        tracemalloc.stop()
    assert len(listed) == len(kept)
    assert compressed < plain / 3  # alone 1/13; other tests of a process leave objects that count, too


@pytest.mark.parametrize(
    ("content", "separated", "names"),
    [
        (b"a.png\nb c.png\r\n\n \r\nd.png", False, ["a.png", "b c.png", "d.png"]),
        (b"a\n.png\0b.png\r\0\0", True, ["a\n.png", "b.png\r"]),
        (b"a.png\0b.png", False, ["a.png", "b.png"]),
        (b"\xff.png\n", False, ["\udcff.png"]),
    ],
)
def test_lists_are_divided_at_line_ends_or_nul(tmp_path, content, separated, names):
    (tmp_path / "list").write_bytes(content)
    listed = list_input_files(InputArguments(lists=(str(tmp_path / "list"),), separated_by_nul=separated))
    assert [file.name for file in listed] == names

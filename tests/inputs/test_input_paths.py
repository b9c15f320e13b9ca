"""Which files a command line names, and where the figures of each go."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actviz.batch import output_paths
from actviz.errors import InputError, UsageError
from actviz.inputs import InputArguments, InputFile, Shard, list_input_files, parse_shard


def names(*paths, lists=(), without=None):
    return [entry.name for entry in list_input_files(InputArguments(tuple(map(Path, paths)), lists=lists), without)]


@pytest.fixture
def tree(tmp_path, monkeypatch):
    for name in ("b.png", "a.JPG", "notes.txt", ".hidden.png", "in/c.npy", "in/.git/d.png", "out/e.png"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_folder_stands_for_the_inputs_in_it_and_below(tree):
    assert names(".") == ["a.JPG", "b.png", "in/c.npy", "out/e.png"]
    assert names(".", without=Path("out")) == ["a.JPG", "b.png", "in/c.npy"]
    assert "notes.txt" in [entry.name for entry in list_input_files(InputArguments((Path(),)), text=True)]


def test_patterns_and_lists_keep_the_order_in_which_they_are_given(tree):
    (tree / "list").write_bytes(b"in/c.npy\r\n\nb.png\n")
    (tree / "nul").write_bytes(b"b.png\0in/c.npy\0")
    assert names("*.png", "a.JPG") == ["b.png", "a.JPG"]
    assert names("**/*.n*") == ["c.npy"]
    assert names("@list") == ["c.npy", "b.png"]
    assert names(lists=("list", "nul")) == ["c.npy", "b.png", "b.png", "c.npy"]
    assert names("missing.png") == ["missing.png"]
    (tree / "@list").write_text("")
    assert names("@list") == ["@list"]


@pytest.mark.parametrize(
    ("asked", "error", "said"),
    [
        (InputArguments((Path("*.tif"),)), InputError, "no file matches this pattern"),
        (InputArguments((Path("@nothing"),)), InputError, "no such file"),
        (InputArguments((Path("@again"),)), UsageError, "cannot name another list"),
        (InputArguments(lists=("empty",)), InputError, "no input found there"),
    ],
)
def test_lists_and_patterns_of_nothing(tree, asked, error, said):
    (tree / "again").write_text("@again\n")
    (tree / "empty").write_text("\n")
    with pytest.raises(error, match=said):
        list_input_files(asked)


@given(count=st.integers(1, 50), place=st.integers(0, 1000))
def test_every_input_is_in_exactly_one_shard(count, place):
    assert sum(Shard(number, count).holds(place) for number in range(1, count + 1)) == 1


@pytest.mark.parametrize(
    "text", ["", "1", "0/2", "3/2", "a/b", "1/0", "-1/2", "1/2/3", "\u0661/2", "1" * 5000 + "/8", "1/2\n"]
)
def test_shards_that_do_not_exist(text):
    with pytest.raises(UsageError, match="--shard"):
        parse_shard(text)
    assert parse_shard("2/8") == Shard(2, 8)


@given(
    paths=st.lists(
        st.builds(
            "{}{}".format, st.sampled_from(["a", "A", "a_1", "b/a", "b", "a.b"]), st.sampled_from([".png", ".npy", ""])
        ),
        max_size=12,
    )
)
def test_no_two_inputs_share_a_folder(paths):
    entries = [InputFile(Path(path), path) for path in paths]
    marks = output_paths.marks_of(entries)
    where = output_paths.OutputPaths(None, Path("out"), {"conv": "001_conv.png"}, marks)
    taken = [str(where.path(output_paths.stem_of(entry.name), "conv", number)) for number, entry in enumerate(entries)]
    assert len({path.lower() for path in taken}) == len(taken)
    assert marks == output_paths.marks_of(entries)


def test_numbered_images_keep_their_names_unless_an_array_has_samples_of_that_name():
    plain = [InputFile(Path(name), name) for name in ("img.png", "img_1.png")]
    assert output_paths.marks_of(plain) == {}
    array = [InputFile(Path(name), name) for name in ("img.npy", "img_1.png")]
    assert list(output_paths.marks_of(array)) == [1]


@pytest.mark.parametrize("files", [("x_1.png", "x.npy"), ("x.npy", "x_1.png"), ("a/X_1.png", "a/x.npy")])
def test_a_numbered_image_and_a_sample_of_an_array_are_two_files(files):
    entries = [InputFile(Path(name), name) for name in files]
    where = output_paths.OutputPaths(None, Path("out"), {"conv": "001_conv.png"}, output_paths.marks_of(entries))
    stems = {
        number: [output_paths.stem_of(name, mark) for mark in (("[0]", "[1]") if name.endswith(".npy") else ("",))]
        for number, name in enumerate(files)
    }
    taken = [str(where.path(stem, "conv", number)).lower() for number in stems for stem in stems[number]]
    assert len(set(taken)) == len(taken) == 3

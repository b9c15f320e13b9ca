"""From what a command was given to samples: files by input name, what is missing, what stands in."""

import model_files
import numpy as np
import pytest
from PIL import Image
from threats import threat

from actviz.errors import InputError, UsageError
from actviz.formats import open_network
from actviz.inputs import (
    PREPROCESSINGS,
    InputArguments,
    InputOptions,
    choose_preprocessing,
    default_sample,
    iterate_samples,
    load_samples,
)
from actviz.inputs.samples import row_of_pictures
from actviz.inputs.sources import SampleCount, match_files, needed_inputs
from actviz.records import TensorSpec

AXES = ("batch", "row", "column", "channel")


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    """Facts of a model of two images and three tokens."""
    with open_network(model_files.pair(tmp_path_factory.mktemp("pair") / "pair.keras")) as network:
        yield network.facts


@pytest.fixture
def files(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Image.fromarray(np.full((8, 8, 3), 255, np.uint8)).save("white.png")
    Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save("black.png")
    (tmp_path / "meta.csv").write_text("1 2 5\n")
    (tmp_path / "three.csv").write_text("1 2 5\n0 0 0\n3 3 3\n")
    np.save("three.npy", np.zeros((3, 8, 8, 3)))
    return tmp_path


def by_name(facts, *named, layers=("all",), **options):
    chosen = [layer for layer in facts.layers if layer.address in layers]
    return load_samples(InputArguments(named=named), facts, chosen, InputOptions(**options)).samples


def refused(error, facts, *named, **options):
    with pytest.raises(error) as caught:
        by_name(facts, *named, **options)
    return caught.value.message


def test_one_file_for_each_input_is_one_sample(pair, files):
    (sample,) = by_name(pair, "right=black.png", "meta=meta.csv", "left=white.png")
    assert {name: values.shape for name, values in sample.values.items()} == {
        "left": (1, 8, 8, 3), "right": (1, 8, 8, 3), "meta": (1, 3),
    }  # fmt: skip
    assert sample.values["left"].max() == 255
    assert sample.values["meta"].dtype == np.int32
    assert (sample.name, sample.stem) == ("left=white.png, right=black.png, meta=meta.csv", "white+black+meta")
    assert sample.fed == "left 8 × 8 × 3, 0..255; right 8 × 8 × 3, 0..1; meta 3, as given, values 1..5"


def test_each_image_has_the_range_of_its_own_input(pair, files):
    (sample,) = by_name(pair, "right=black.png", "meta=meta.csv", "left=white.png")
    assert [text.split(" (")[0] for text in sample.ranges] == ["left 0..255", "right 0..1"]
    (same,) = by_name(pair, "right=black.png", "meta=meta.csv", "left=white.png", preprocess="-1..1")
    assert [text.split(" (")[0] for text in same.ranges] == ["-1..1"]


def test_files_of_several_samples_go_together_row_by_row(pair, files):
    samples = by_name(pair, "left=three.npy", "right=three.npy", "meta=three.csv")
    assert [sample.name for sample in samples] == [
        f"left=three.npy, right=three.npy, meta=three.csv[{row}]" for row in range(3)
    ]
    assert [sample.stem for sample in samples] == [f"three+three+three[{row}]" for row in range(3)]
    assert [sample.values["meta"].tolist() for sample in samples] == [[[1, 2, 5]], [[0, 0, 0]], [[3, 3, 3]]]


def test_an_input_that_the_layers_do_not_need_may_be_missing(pair, files):
    (sample,) = by_name(pair, "left=white.png", layers=("mean",))
    assert list(sample.values) == ["left"]
    assert by_name(pair, "meta=meta.csv", layers=("embedding", "flat"))[0].fed == "meta 3, as given, values 1..5"


@pytest.mark.parametrize(
    ("named", "error", "said"),
    [
        (["left=white.png"], InputError, "pair.keras: these layers also need the input right, meta; give it with --input right=FILE. The inputs are left, right, meta."),
        (["middle=white.png"], UsageError, '--input middle=white.png: there is no input "middle"; the model has left, right, meta.'),
        (["left=white.png", "left=black.png"], UsageError, 'the input "left" is given twice'),
        (["white.png"], UsageError, "--input white.png: give NAME=FILE"),
        (["=white.png"], UsageError, "give NAME=FILE"),
        (["left="], UsageError, "give NAME=FILE"),
        (["left=white.png", "right=black.png", "meta=three.csv"], InputError, "different numbers of samples (left 1, right 1, meta 3)"),
        (["left=white.png", "right=gone.png", "meta=meta.csv"], InputError, "gone.png: no such file"),
        (["left=white.png", "right=black.png", "meta=white.png"], InputError, "white.png: an image, but the input is (any, 3) int32"),
    ],
)  # fmt: skip
def test_names_and_files_that_do_not_fit(pair, files, named, error, said):
    assert said in refused(error, pair, *named)


def test_files_with_and_without_a_name_do_not_go_together(tmp_path):
    with pytest.raises(UsageError, match="do not go together"):
        InputArguments((tmp_path / "a.png",), ("left=b.png",))


def test_names_that_hold_an_equals_sign_or_are_printed_otherwise():
    specs = [TensorSpec(name, (None, 4), "float32", ("batch", "unit")) for name in ("a", "a=b", "c d")]
    found = match_files(["a=b=x=1.npy", "a=y.npy", "c%20d=z.npy"], specs)
    assert {name: str(path) for name, path in found.items()} == {"a=b": "x=1.npy", "a": "y.npy", "c d": "z.npy"}


def test_at_most_eight_names_are_listed_and_they_are_escaped():
    specs = [TensorSpec(f"in\x1b{number}", (None, 4), "float32", ("batch", "unit")) for number in range(12)]
    with pytest.raises(UsageError) as caught:
        match_files(["x=a.npy"], specs)
    assert "in\\x1b7, ..." in caught.value.message
    assert "in\\x1b8" not in caught.value.message


def positional(facts, *paths, layers=("all",)):
    chosen = [layer for layer in facts.layers if layer.address in layers]
    return load_samples(InputArguments(paths=paths), facts, chosen, InputOptions()).samples


def test_a_file_without_a_name_serves_the_only_input_that_is_needed(pair, files):
    (sample,) = positional(pair, files / "white.png", layers=("shrunk", "mean"))
    assert sample.name == "white.png"
    assert list(sample.values) == ["left"]
    assert "only the input left is fed" in sample.notes[-1]
    with pytest.raises(
        InputError, match=r"a model with 2 inputs \(left, right\); give a file for each \(--input left=FILE"
    ):
        positional(pair, files / "white.png", layers=("mean", "other"))


def test_an_npz_holds_the_inputs_that_are_needed_by_name(pair, files):
    image = np.ones((1, 8, 8, 3))
    np.savez("whole.npz", left=image, right=image, meta=[[1, 2, 5]])
    np.savez("part.npz", left=image, right=image)
    assert list(positional(pair, files / "whole.npz")[0].values) == ["left", "right", "meta"]
    assert list(positional(pair, files / "part.npz", layers=("mean", "other"))[0].values) == ["left", "right"]
    with pytest.raises(InputError, match="no array for the input meta"):
        positional(pair, files / "part.npz")


def test_where_dependence_is_not_known_every_input_is_needed(pair):
    from dataclasses import replace

    layer = pair.layers[-1]
    assert needed_inputs(pair, [replace(layer, needs=None)]) == pair.inputs
    assert [spec.name for spec in needed_inputs(pair, [replace(layer, needs=("meta",))])] == ["meta"]
    assert needed_inputs(pair, [replace(layer, needs=())]) == pair.inputs


@threat(87, 3)
def test_tokens_outside_the_vocabulary_are_refused_before_anything_runs(pair, files):
    (files / "meta.csv").write_text("1 2 6\n")
    said = refused(InputError, pair, "left=white.png", "right=black.png", "meta=meta.csv")
    assert said == "meta.csv: line 1 column 3: 6 is outside the vocabulary; whole numbers from 0 to 5 were expected."
    for values, place in (
        ([[0, 6, 1]], "6 at [0, 1]"),
        ([-1, 0, 1], "-1 at [0]"),
        ([[0, 1.0, 9e9]], "9000000000.0 at [0, 2]"),
    ):
        np.save("meta.npy", np.array(values))
        said = refused(InputError, pair, "left=white.png", "right=black.png", "meta=meta.npy")
        assert (
            said == f"meta.npy: the value {place} is outside the vocabulary; whole numbers from 0 to 5 were expected."
        )


# ------------------------------------------------------------------ large arrays, and lists
@pytest.fixture
def large(pair, tmp_path, monkeypatch):
    """Return a function that writes an array larger than what is read whole, and what it holds."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("actviz.inputs.reading.CHUNK_BYTES", 4_000)

    def write(name, count=20, bad=None):
        values = np.random.default_rng(0).random((count, 8, 8, 3)).astype(np.float32)
        if bad is not None:
            values[bad, 0, 0, 0] = np.nan
        np.save(name, values)
        return values

    return write


def parts_of(pair, given, layers=("mean",), **options):
    chosen = [layer for layer in pair.layers if layer.address in layers]
    return iterate_samples(given, pair, chosen, InputOptions(), **options)


def test_samples_of_a_large_array_are_made_one_by_one(pair, large, tmp_path):
    values = large("many.npy")
    for given in (InputArguments((tmp_path / "many.npy",)), InputArguments(named=("left=many.npy",))):
        parts = list(parts_of(pair, given))
        assert [len(part) for part in parts] == [1] * 20
        np.testing.assert_array_equal(np.concatenate([part[0].values["left"] for part in parts]), values)
        assert parts[7][0].name.endswith("many.npy[7]")


def test_large_and_small_files_go_together_row_by_row(pair, large, tmp_path):
    values = large("many.npy")
    tokens = np.arange(60).reshape(20, 3) % 6
    np.save("meta.npy", tokens)
    given = InputArguments(named=("meta=meta.npy", "right=many.npy", "left=many.npy"))
    parts = list(parts_of(pair, given, ("all",)))
    assert [len(part) for part in parts] == [1] * 20
    np.testing.assert_array_equal(parts[13][0].values["meta"], tokens[13:14])
    np.testing.assert_array_equal(parts[13][0].values["right"], values[13:14])
    np.save("meta.npy", tokens[1:])
    with pytest.raises(InputError, match="different numbers of samples"):
        list(parts_of(pair, given, ("all",)))


def test_what_a_broken_large_array_gave_before_is_said(pair, large, tmp_path):
    large("many.npy", bad=7)
    large("fine.npy")
    parts = list(parts_of(pair, InputArguments((tmp_path / "many.npy", tmp_path / "fine.npy"))))
    assert [len(part) for part in parts if isinstance(part, list)] == [1] * 27
    assert isinstance(parts[7], InputError)
    assert "many.npy[7]" in parts[7].message
    assert parts[7].message.endswith("The 7 samples before it are used, those after it are not.")
    for options in ({"fail_fast": True}, {}):
        paths = (tmp_path / "many.npy", tmp_path / "fine.npy") if options else (tmp_path / "many.npy",)
        with pytest.raises(InputError, match=r"many\.npy\[7\]") as caught:
            list(parts_of(pair, InputArguments(paths), **options))
        assert "samples before it" not in caught.value.message


def test_lists_name_files_for_every_job(pair, files):
    (files / "list.txt").write_text("white.png\0three.npy\0missing.png")
    given = InputArguments(lists=("list.txt",), separated_by_nul=True)
    parts = list(parts_of(pair, given))
    assert [len(part) for part in parts[:2]] == [1, 3]
    assert parts[2].message.startswith("missing.png: no such file")
    with pytest.raises(UsageError, match="--files-from and --input NAME=FILE do not go together"):
        InputArguments(named=("left=white.png",), lists=("list.txt",))


# ------------------------------------------------------------------ pictures of several inputs
def test_pictures_stand_side_by_side_each_whole(pair, files):
    (sample,) = by_name(pair, "right=black.png", "meta=meta.csv", "left=white.png")
    expected = np.full((8, 17, 3), 200, np.uint8)
    expected[:, :8], expected[:, 9:] = 255, 0
    np.testing.assert_array_equal(sample.thumbnail, expected)


def test_small_pictures_grow_by_a_whole_factor_beside_large_ones():
    small, large = np.zeros((3, 2, 3), np.uint8), np.full((8, 8, 3), 9, np.uint8)
    page = row_of_pictures([None, small, large])
    assert page.shape == (8, 4 + 1 + 8, 3)
    np.testing.assert_array_equal(page[1:7, :4], 0)
    np.testing.assert_array_equal(page[[0, 7], :4], 200)
    np.testing.assert_array_equal(page[:, 5:], 9)
    assert row_of_pictures([small, None]) is small
    assert row_of_pictures([None]) is None


# ------------------------------------------------------------------ what stands in for no input
def stand_in(*specs, **options):
    return default_sample(specs, PREPROCESSINGS["0..1"], InputOptions(**options))


def test_every_input_of_a_model_gets_what_it_can_take(pair):
    sample = load_samples(InputArguments(), pair, [pair.layers[-1]], InputOptions()).samples[0]
    assert sample.name == "grace_hopper.jpg + tokens-0"
    assert sample.notes[0] == (
        "no input given; fed instead: the sample photograph grace_hopper.jpg for left, right;"
        " random tokens of the vocabulary (--seed 0) for meta. Give a file for each with --input NAME=FILE."
    )
    assert sample.values["left"].max() > 100
    assert sample.values["right"].max() <= 1
    assert sample.thumbnail.shape[1] > 2 * 8


def test_made_up_tokens_lie_within_the_vocabulary():
    for limit in (1, 2, 3, 1000):
        for dtype in ("int32", "float32", "uint8"):
            spec = TensorSpec("tokens", (None, 500), dtype, ("batch", "unit"), limit=min(limit, 200))
            values = stand_in(spec).values["tokens"]
            assert values.dtype == dtype
            assert min(1, spec.limit - 1) <= values.min() <= values.max() < spec.limit
            assert (values == np.trunc(values)).all()
    known = TensorSpec("tokens", (None, 50), "int64", ("batch", "unit"), words=("-5", "70"))
    assert set(stand_in(known).values["tokens"].ravel().tolist()) == {-5, 70}
    assert "random tokens of the vocabulary are used (--seed 0)" in stand_in(known).notes[0]


@pytest.mark.parametrize(
    ("shape", "words", "split", "expected"),
    [
        ((None, 1), ("cat",), "punctuation", [[" ".join(["cat"] * 8)]]),
        ((None,), ("cat",), "", ["cat"]),
        ((None, 1), ("c",), "character", [["cccccccc"]]),
        ((None, 3), ("cat",), "", [["cat"] * 3]),
        ((None, None), ("cat",), "", [["cat"] * 8]),
        ((None, 1), (), "whitespace", [["the quick brown fox jumps over the lazy dog"]]),
        ((None, 3), (), "", [["the", "quick", "brown"]]),
        ((None, 2, 2), (), "", [[["the", "quick"], ["brown", "fox"]]]),
    ],
)
def test_made_up_text(shape, words, split, expected):
    axes = ("batch", "step", "unit")[: len(shape)]
    sample = stand_in(TensorSpec("text", shape, "string", axes, words=words, split=split))
    assert sample.values["text"].tolist() == expected
    assert ("words of the model's vocabulary are used" if words else "a plain sentence is used") in sample.notes[0]


def test_the_range_of_an_input_is_told_by_what_reads_it(pair):
    names = {spec.name: choose_preprocessing(pair, "auto", spec.name).name for spec in pair.inputs}
    assert names == {"left": "0..255", "right": "0..1", "meta": "0..255"}
    assert choose_preprocessing(pair).name == "0..255"


def test_the_number_of_samples_is_known_while_files_are_read(pair, large, tmp_path):
    large("many.npy")
    (tmp_path / "broken.npy").write_text("no array")
    paths = tuple(tmp_path / name for name in ("many.npy", "broken.npy", "many.npy"))
    count = SampleCount()
    totals = [count.total for _ in parts_of(pair, InputArguments(paths), count=count)]
    assert totals == [*[22] * 20, 21, *[40] * 20]

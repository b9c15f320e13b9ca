"""Files of activations: what is written comes back, for numpy and for actviz, and nothing else does."""

import dataclasses
import io
import json
import os
import tracemalloc
import unicodedata
import zipfile
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays_of

import actviz
from actviz.activations import ActivationMetadata, ActivationWriter, open_saved, parse_axes
from actviz.activations.member_names import MemberNames
from actviz.activations.metadata import layers_metadata
from actviz.activations.metadata_json import from_json, to_json
from actviz.activations.untyped_arrays import fitted
from actviz.activations.writer import ActivationWriter as Collecting
from actviz.errors import ActvizError, InputError, LimitError, OutputError, UnsafeError, UsageError
from actviz.records import AXIS_NAMES, Activation, Sample
from actviz.system import file_writing

DTYPES = st.sampled_from(["f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "?", "c8", "c16"])
NUMBERS = arrays_of.arrays(DTYPES.map(np.dtype), arrays_of.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=4))
TEXTS = st.lists(st.text(st.characters(exclude_characters="\0")), min_size=1, max_size=4).map(
    lambda texts: np.array(texts, object)
)
IMAGE = ("batch", "row", "column", "channel")


def activation(values, axes=None, address="a", **more):
    values = np.asarray(values)
    return Activation(address, "Dense", values, axes or ("batch", *AXIS_NAMES[1 : values.ndim]), **more)


def written(batches, *, samples=None, compress=False, model="m.h5", folder=Path()):
    """The bytes of a file of some inputs, each a dictionary of arrays with a batch axis of one."""
    file = io.BytesIO()
    with ActivationWriter(folder) as collector:
        for number, batch in enumerate(batches):
            found = {address: activation(values, address=address) for address, values in batch.items()}
            sample = samples[number] if samples else Sample(f"{number}.png", {}, None, "fed", "digest")
            collector.add(sample, found)
        collector.write(file, layers_metadata(model, found), compress=compress)
    return file.getvalue()


def loaded(content):
    saved = open_saved(io.BytesIO(content), "out.npz")
    assert saved is not None
    return saved


# ------------------------------------------------------------------ what is written comes back
@settings(max_examples=150)
@given(
    st.dictionaries(st.text(min_size=1), st.one_of(NUMBERS, TEXTS), min_size=1, max_size=5),
    st.integers(1, 3),
    st.booleans(),
)
def test_what_is_written_comes_back(found, count, compress):
    batches = [{address: values[None] for address, values in found.items()} for _ in range(count)]
    content = written(batches, compress=compress)
    assert content == written(batches, compress=compress)
    saved = loaded(content)
    names = json.loads(str(np.load(io.BytesIO(content))["actviz.json"]))["layers"]
    for address, values in found.items():
        whole = saved.whole(address)
        assert whole.axes == ("batch", *AXIS_NAMES[1 : values.ndim + 1])
        assert whole.values.shape == (count, *values.shape)
        last = saved.activation(address, count - 1).values
        plain = np.load(io.BytesIO(content), allow_pickle=False)[
            next(n["key"] for n in names if n["address"] == address)
        ]
        for back in (whole.values[0], last[0], plain[0]):
            assert back.dtype == values.dtype or values.dtype.kind == "O"
            assert back.tolist() == values.tolist() or np.array_equal(back, values, equal_nan=True)


@given(st.lists(st.text(), unique=True, max_size=12))
def test_keys_are_safe_file_names_that_differ_whatever_the_case(addresses):
    keys = [(taken := MemberNames()).take(address) for address in addresses[:1]]
    keys += [taken.take(address) for address in addresses[1:]]
    folded = {unicodedata.normalize("NFKC", key).casefold() for key in keys}
    assert len(folded) == len(keys)
    for key in keys:
        assert not key.lower().startswith("actviz.")
        parts = Path(f"{key}.npy").parts
        assert f"{key}.npy" == "/".join(parts)
        assert ".." not in parts
        assert key.isprintable()
        assert len(key.encode()) <= 200


@pytest.mark.parametrize("address", ["conv", "encoder#1/conv", "lstm@1", "a%2Fb", "a.b", "größe", "tf.nn.relu"])
def test_addresses_are_the_keys_wherever_that_is_safe(address):
    assert MemberNames().take(address) == address


@pytest.mark.parametrize(
    "address", ["/a", "a/../b", "a\\b", "c:", "x.npy", "actviz.json", "ACTVIZ.fed", "a.", "", "a//b"]
)
def test_addresses_that_are_no_safe_names_get_others(address):
    taken = MemberNames()
    key = taken.take(address)
    assert key != address
    assert "~" in key
    assert taken.take(key) != key


def test_case_alone_does_not_tell_two_arrays_apart():
    taken = MemberNames()
    assert taken.take("Conv") == "Conv"
    assert taken.take("conv").startswith("conv~")


def test_a_person_with_numpy_understands_the_file():
    picture = np.arange(2 * 3 * 3, dtype=np.uint8).reshape(2, 3, 3)
    samples = [Sample(f"{n}.png", {}, picture + n, "2 x 3", "00", (), ("to", "be")) for n in range(2)]
    content = written([{"enc/conv": np.full((1, 2), n)} for n in range(2)], samples=samples)
    with np.load(io.BytesIO(content), allow_pickle=False) as file:
        assert file.files == ["actviz.json", "actviz.fed", "enc/conv"]
        said = json.loads(str(file["actviz.json"]))
        np.testing.assert_array_equal(file["enc/conv"], [[0, 0], [1, 1]])
        np.testing.assert_array_equal(file["actviz.fed"], [picture, picture + 1])
    assert said["model"] == "m.h5"
    assert said["layers"][0] | {"shape": None} == {
        "address": "enc/conv", "name": "enc/conv", "index": 0, "class": "Dense", "shape": None, "dtype": "int64",
        "key": "enc/conv", "axes": ["batch", "row"], "signed": None, "weights": "",
    }  # fmt: skip
    assert said["samples"][1] == {
        "name": "1.png",
        "fed": "2 x 3",
        "sha256": "00",
        "picture": [2, 3],
        "words": ["to", "be"],
    }
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        assert {info.date_time for info in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}


def test_pictures_of_different_sizes_come_back_too():
    sizes = [(2, 3), None, (4, 1)]
    pictures = [
        None if size is None else np.random.default_rng(0).integers(0, 256, (*size, 3), np.uint8) for size in sizes
    ]
    samples = [Sample(str(number), {}, picture, "", "") for number, picture in enumerate(pictures)]
    saved = loaded(written([{"a": np.zeros((1, 2))}] * 3, samples=samples))
    for number, picture in enumerate(pictures):
        back = saved.sample(number).thumbnail
        assert (back is None) == (picture is None)
        if picture is not None:
            np.testing.assert_array_equal(back, picture)


def test_what_numpy_has_no_dtype_for_is_float32():
    values = np.array([[0.5, -2.0]]).astype(ml_dtypes.bfloat16)
    saved = loaded(written([{"a": values}]))
    assert saved.whole("a").values.dtype == np.float32
    assert saved.description.layers[0].dtype == "bfloat16"
    np.testing.assert_array_equal(saved.whole("a").values, [[0.5, -2.0]])


def test_text_is_as_wide_as_the_longest():
    found = [{"a": np.array([["x", "größer"]], object)}, {"a": np.array([[b"bytes", ""]], object)}]
    values = loaded(written(found)).whole("a").values
    assert values.dtype == "U6"
    assert values.tolist() == [["x", "größer"], ["bytes", ""]]


def test_layers_that_are_no_rows_are_left_out_and_named():
    with Collecting(Path()) as collector:
        found = {
            "fine": activation(np.zeros((1, 2))),
            "scalar": Activation("scalar", "Sum", np.float32(1), ()),
            "merged": activation(np.zeros((6, 2))),
            "objects": activation(np.array([{}], object)),
        }
        collector.add(Sample("a", {}, None, "", ""), found)
        assert collector.addresses == ["fine"]
        assert collector.left_out == {
            "scalar": "its values (one value) have no batch axis",
            "merged": "its values (6 x 2) have no batch axis",
            "objects": "it gives Python objects",
        }


def test_another_shape_costs_that_input_only():
    with Collecting(Path()) as collector:
        collector.add(Sample("a.png", {}, None, "", ""), {"x": activation(np.zeros((1, 2, 2)))})
        with pytest.raises(InputError) as caught:
            collector.add(Sample("b.png", {}, None, "", ""), {"x": activation(np.zeros((1, 3, 2)))})
        collector.add(Sample("c.png", {}, None, "", ""), {"x": activation(np.ones((1, 2, 2)))})
        file = io.BytesIO()
        collector.write(file, ActivationMetadata("m"))
    assert (
        caught.value.message
        == 'b.png: layer "x" gives 3 x 2, but 2 x 2 for a.png; one file holds inputs of one size, write this one to a file of its own.'
    )
    np.testing.assert_array_equal(np.load(io.BytesIO(file.getvalue()))["x"][:, 0, 0], [0, 1])


def test_memory_is_flat_in_the_number_of_inputs(tmp_path):
    row = np.random.default_rng(0).random((1, 64, 1024), np.float32)

    def peak(count):
        tracemalloc.start()
        with Collecting(tmp_path) as collector, file_writing.replace_file(tmp_path / "out.npz") as file:
            for number in range(count):
                collector.add(Sample(str(number), {}, None, "", ""), {"a": activation(row)})
            collector.write(file, ActivationMetadata("m"))
        top = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return top

    # 64 MiB wait in memory, whatever comes after them on the disk.
    few, many = peak(400), peak(1200)
    assert many < few + (4 << 20)
    assert many < 100 << 20
    assert (tmp_path / "out.npz").stat().st_size > 1200 * row.nbytes


def test_entries_are_read_one_by_one_without_the_rest(tmp_path):
    path = tmp_path / "a.npz"
    np.savez(path, a=np.zeros(1))
    rows = [{"a": np.full((1, 256, 1024), number, np.float32)} for number in range(40)]
    path.write_bytes(written(rows))
    with path.open("rb") as file:
        saved = open_saved(file, "a.npz")
        tracemalloc.start()
        for number in (0, 1, 39, 3):
            assert saved.activation("a", number).values[0, 5, 5] == number
        top = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert top < 20 << 20 < path.stat().st_size


def test_packed_arrays_are_never_taken_for_bombs():
    zeros = np.zeros((1, 5 << 20), np.float32)
    content = written([{"dead": zeros, "small": zeros[:, :9]}], compress=True)
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        packed = {info.filename: info.compress_type for info in archive.infolist()}
    assert packed["dead.npy"] == zipfile.ZIP_STORED
    assert packed["small.npy"] == zipfile.ZIP_DEFLATED
    np.testing.assert_array_equal(loaded(content).whole("dead").values, zeros)


@pytest.mark.slow
def test_files_of_more_than_4_gib(tmp_path):
    path = tmp_path / "large.npz"
    row = np.full((1, 1 << 29), 7, np.uint8)
    with Collecting(tmp_path) as collector, file_writing.replace_file(path) as file:
        for number in range(9):
            found = {"a": activation(row), "b": activation([[number]], address="b")}
            collector.add(Sample(str(number), {}, None, "", ""), found)
        collector.write(file, layers_metadata("m", found))
    assert path.stat().st_size > 9 << 29
    with np.load(path) as opened:
        assert opened["b"].ravel().tolist() == list(range(9))
    assert actviz.load(path, "b")["b"].values.shape == (9, 1)
    with path.open("rb") as file:
        assert open_saved(file, "large.npz").activation("a", 8).values[0, -1] == 7


# ------------------------------------------------------------------ whole or not at all
@pytest.mark.parametrize(
    ("ending", "seen"),
    [
        (KeyboardInterrupt(), KeyboardInterrupt),
        (OSError(28, "No space left on device"), OutputError),
        (RuntimeError(), RuntimeError),
    ],
)
def test_nothing_is_left_when_writing_ends_early(tmp_path, monkeypatch, ending, seen):
    (tmp_path / "out.npz").write_bytes(b"old")

    def end(*_):
        raise ending

    def write():
        with Collecting(tmp_path) as collector, file_writing.replace_file(tmp_path / "out.npz") as file:
            collector.add(Sample("a", {}, None, "", ""), {"x": activation(np.zeros((1, 2)))})
            assert len(os.listdir(tmp_path)) == 2
            monkeypatch.setattr(collector, "_rows", end)
            collector.write(file, ActivationMetadata("m"))

    with pytest.raises(seen):
        write()
    assert os.listdir(tmp_path) == ["out.npz"]
    assert (tmp_path / "out.npz").read_bytes() == b"old"


def test_a_full_disk_while_collecting_is_said(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    with Collecting(tmp_path) as collector:
        monkeypatch.setattr(collector._records, "write", full)
        with pytest.raises(OutputError, match="No space left on device"):
            collector.add(Sample("a", {}, None, "", ""), {"x": activation(np.zeros((1, 2)))})


# ------------------------------------------------------------------ what is not believed
def archive(members, compression=zipfile.ZIP_STORED):
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", compression) as file:
        for name, content in members.items():
            file.writestr(name, content)
    return stream.getvalue()


def npy(values, **options):
    stream = io.BytesIO()
    np.save(stream, values, **options)
    return stream.getvalue()


def members(content):
    with zipfile.ZipFile(io.BytesIO(content)) as file:
        return {name: file.read(name) for name in file.namelist()}


def described(change):
    """A good file with a change made to its description."""
    parts = members(written([{"a": np.zeros((1, 2, 3))}]))
    said = json.loads(str(np.load(io.BytesIO(parts["actviz.json.npy"]))))
    change(said)
    return archive(parts | {"actviz.json.npy": npy(np.array(json.dumps(said)))})


def use(content):
    """Open a file as far as `render` does; return what is refused."""
    saved = open_saved(io.BytesIO(content), "out.npz")
    if saved is None:
        return None
    for address in saved.description.entries:
        saved.length(address)
        saved.activation(address, 0)
    saved.sample(0)
    return saved


def layer_is(**values):
    return lambda said: said["layers"][0].update(values)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda said: said.update(schema=2), "newer actviz (0.1.0)"),
        (lambda said: said.update(schema="1"), "does not describe activations"),
        (lambda said: said.pop("samples"), "missing required field `samples`"),
        (lambda said: said["layers"][0].pop("axes"), 'the layer "a" has an array, but lacks axes'),
        (lambda said: said["layers"].append(said["layers"][0]), "one layer twice"),
        (lambda said: said.update(samples={}), "Expected `array`, got `object` - at `$.samples`"),
        (lambda said: said["samples"].append(said["samples"][0]), "does not fit the axes (batch, row, column) of 2 inputs"),
        (lambda said: said["samples"][0].update(picture=[0, 3]), "Expected `int` >= 1 - at `$.samples[0].picture[0]`"),
        (lambda said: said["samples"][0].update(picture=[2, 3]), "the archive holds no actviz.fed.npy"),
        (lambda said: said["samples"][0].update(name=5), "Expected `str`, got `int` - at `$.samples[0].name`"),
        (layer_is(axes=["batch", "row"]), "has the shape (1, 2, 3), which does not fit the axes (batch, row)"),
        (layer_is(axes=["row", "column", "batch"]), "the axes row, column, batch"),
        (layer_is(axes=["batch", "row", "x\x1b[31m"]), "the axes batch, row, x\\x1b[31m"),
        (layer_is(key="../../etc/passwd"), "the archive holds no ../../etc/passwd.npy"),
        (layer_is(index=-1), "Expected `int` >= 0 - at `$.layers[0].index`"),
        (layer_is(signed="yes"), "Expected `bool | null`, got `str` - at `$.layers[0].signed`"),
    ],
)  # fmt: skip
def test_descriptions_that_cannot_be_are_refused(change, said):
    with pytest.raises(InputError) as caught:
        use(described(change))
    assert said in caught.value.message
    assert caught.value.message.startswith("out.npz")
    assert caught.value.message.isprintable()


def test_the_unchanged_description_is_accepted():
    assert use(described(lambda _: None)).count == 1
    description = loaded(described(lambda _: None)).description
    assert from_json(to_json(description), "x") == description


@pytest.mark.parametrize(
    ("parts", "error", "said"),
    [
        ({"a.npy": npy(np.array([{}], object), allow_pickle=True)}, UnsafeError, "pickled data"),
        ({"a.npy": b"garbage"}, InputError, "malformed .npy header"),
        ({"a.npy": npy(np.zeros((1, 2, 3)))[:-1]}, InputError, "truncated"),
        ({"a.npy": npy(np.zeros((1, 2, 3))) + b"x"}, InputError, "bytes follow the array"),
        ({"a.npy": npy(np.zeros((2, 3)))}, InputError, "does not fit the axes"),
        ({"actviz.json.npy": npy(np.array(["{}"]))}, InputError, "actviz.json in it is not text"),
        ({"actviz.json.npy": npy(np.array("{"))}, InputError, "is not valid JSON"),
        ({"actviz.json.npy": npy(np.array("[" * 999 + "]" * 999))}, InputError, "is not valid JSON"),
        ({"actviz.json.npy": npy(np.array([{}], object), allow_pickle=True)}, UnsafeError, "pickled data"),
        ({"../a.npy": b""}, UnsafeError, "points outside the archive"),
    ],
)
def test_archives_with_something_wrong_are_refused(parts, error, said):
    good = members(written([{"a": np.zeros((1, 2, 3))}]))
    with pytest.raises(error) as caught:
        use(archive(good | parts))
    assert said in caught.value.message
    assert caught.value.exit_code == error.exit_code


def test_a_zip_bomb_is_refused_from_the_directory_alone():
    parts = members(written([{"a": np.zeros((1, 2))}]))
    bomb = archive(parts | {"a.npy": npy(np.zeros((1, 40 << 20), np.uint8))}, zipfile.ZIP_DEFLATED)
    with pytest.raises(LimitError, match="a zip bomb"):
        open_saved(io.BytesIO(bomb), "out.npz")


@pytest.mark.parametrize("compress", [False, True])
def test_any_cut_and_any_flipped_byte_is_an_error_or_harmless(compress):
    values = np.random.default_rng(0).random((1, 7, 5), np.float32)
    content = written([{"a": values, "words": np.array([["x", "yz"]], object)}], compress=compress)
    for cut in range(0, len(content), 97):
        with pytest.raises(ActvizError):
            use(content[:cut])
    for place in range(0, len(content), 13):
        changed = bytearray(content)
        changed[place] ^= 0x55
        kept = used_or_refused(bytes(changed))
        if kept is not None and "a" in kept.description.entries:
            np.testing.assert_array_equal(kept.activation("a", 0).values, values)


def used_or_refused(content):
    """Return the file, ``None`` where it was refused; any other exception is a bug."""
    try:
        return use(content)
    except (InputError, UnsafeError, LimitError):
        return None


# ------------------------------------------------------------------ arrays of anybody
@pytest.mark.parametrize(
    ("axes", "shape", "expected"),
    [
        ("row,column,channel", (2, 3, 4), ("row", "column", "channel")),
        ("row,column,channel", (5, 2, 3, 4), IMAGE),
        ("batch,row,column,channel", (5, 2, 3, 4), IMAGE),
        ("batch,row,column,channel", (5, 5, 2, 3, 4), None),
        ("row,column", (5, 2, 3, 4), None),
        ("unit", (7,), ("unit",)),
        ("unit", (), None),
    ],
)
def test_the_number_of_names_tells_whether_there_is_a_batch(axes, shape, expected):
    assert fitted(parse_axes(axes), shape) == expected


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("row,colum", 'there is no axis "colum"; name each axis of the array in order, of batch, row, column,'),
        ("", 'there is no axis ""'),
        ("row,row", "row is named twice"),
        ("row,batch", "batch comes first"),
        ("batch", "batch comes first"),
    ],
)
def test_axes_that_mean_nothing(text, said):
    with pytest.raises(UsageError) as caught:
        parse_axes(text)
    assert said in caught.value.message


# ------------------------------------------------------------------ from Python
def test_save_and_load(tmp_path):
    values = np.random.default_rng(0).random((3, 4, 5, 2), np.float32)
    found = {
        "conv": activation(values, IMAGE, "conv", signed=False, weights_digest="ab"),
        "words": activation(np.array([["a"], ["bc"], [""]], object), ("batch", "step"), "words"),
    }
    actviz.save(tmp_path / "out.npz", found, model="m.h5")
    with pytest.raises(OutputError, match="pass overwrite=True"):
        actviz.save(tmp_path / "out.npz", found)
    actviz.save(tmp_path / "out.npz", found, overwrite=True, compress=True)
    back = actviz.load(tmp_path / "out.npz")
    assert list(back) == ["conv", "words"]
    np.testing.assert_array_equal(back["conv"].values, values)
    expected = actviz.Activation.of(found["conv"])
    assert dataclasses.replace(back["conv"], values=None) == dataclasses.replace(expected, values=None)
    assert back["words"].values.tolist() == [["a"], ["bc"], [""]]
    assert list(actviz.load(tmp_path / "out.npz", "@Dense")) == ["conv", "words"]
    with pytest.raises(UsageError, match="did you mean conv"):
        actviz.load(tmp_path / "out.npz", ["conb"])
    np.savez(tmp_path / "plain.npz", a=values)
    with pytest.raises(InputError, match=r"open it with numpy\.load"):
        actviz.load(tmp_path / "plain.npz")


def test_save_replaces_what_it_saved_before_and_nothing_else(tmp_path):
    path = tmp_path / "out.npz"
    first, again = ({"conv": activation(np.full((1, 2), value))} for value in (1.0, 2.0))
    two_layers = {**again, "dense": activation(np.ones((1, 2)))}

    def refused(activations, noun, **options):
        before = path.read_bytes()
        with pytest.raises(OutputError) as caught:
            actviz.save(path, activations, **options)
        assert path.read_bytes() == before
        return caught.value.message == (
            f"{path}: exists and is not this {noun}; pass overwrite=True to replace it or choose another name."
        )

    for options, other in (({"model": "m.h5"}, {}), ({}, {"model": "m.h5"})):
        actviz.save(path, first, **options, overwrite=True)
        actviz.save(path, again, **options)  # a cell of a notebook that is run again
        np.testing.assert_array_equal(actviz.load(path)["conv"], again["conv"].values)
        assert refused(first, "model's activations" if other else "file", **other)
    actviz.save(path, two_layers, model="m.h5", overwrite=True)
    actviz.save(path, first, model="m.h5")  # as extract does
    assert list(actviz.load(path)) == ["conv"]
    actviz.save(path, two_layers, overwrite=True)
    assert refused(first, "file")  # another model may have a layer of this name
    np.savez(path, conv=first["conv"].values)
    assert refused(first, "file")
    path.unlink()
    path.symlink_to(tmp_path / "mine.npz")
    with pytest.raises(OutputError, match=r"a symbolic link stands there; pass overwrite=True to replace the link"):
        actviz.save(path, first)


@pytest.mark.parametrize(
    ("found", "said"),
    [
        ({}, "batches of the sizes none"),
        ({"a": activation(np.zeros((2, 1))), "b": activation(np.zeros((3, 1)))}, "batches of the sizes 2, 3"),
        ({"a": activation(np.array([{}], object))}, "cannot be saved: it gives Python objects"),
    ],
)
def test_what_is_no_batch_is_not_saved(tmp_path, found, said):
    with pytest.raises(InputError) as caught:
        actviz.save(tmp_path / "out.npz", found)
    assert said in caught.value.message
    assert os.listdir(tmp_path) == []

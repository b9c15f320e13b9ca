"""What the metadata of a TFLite file say: the range of its images and the names of its classes."""

from __future__ import annotations

import io
import zipfile
from dataclasses import replace

import flatbuffers
import numpy as np
import pytest
import tflite_files
from hypothesis import given, settings
from hypothesis import strategies as st
from late_imports import tflite_schema
from PIL import Image
from threats import threat

from actviz.formats import open_network
from actviz.gate import tflite_metadata
from actviz.gate.tflite_metadata import APPENDED, MOST_BYTES, read_labels
from actviz.inputs import choose_preprocessing

CONTENT = (tflite_files.DATA / "tf215" / "a03a_seq_bn.f32.tflite").read_bytes()
LABELS = ["cat", "dog", "bird", "Übung"]


def table(builder, count, fields):
    """Write a table; `fields` maps numbers to an offset, or to (value, kind) of a number in the table itself."""
    builder.StartObject(count)
    for number, value in fields.items():
        if isinstance(value, tuple):
            builder.PrependUint8Slot(number, value[0], 0)
        else:
            builder.PrependUOffsetTRelativeSlot(number, value, 0)
    return builder.EndObject()


def vector(builder, offsets):
    builder.StartVector(4, len(offsets), 4)
    for offset in reversed(offsets):
        builder.PrependUOffsetTRelative(offset)
    return builder.EndVector()


def floats(builder, values):
    builder.StartVector(4, len(values), 4)
    for value in reversed(values):
        builder.PrependFloat32(value)
    return builder.EndVector()


def metadata(mean=None, std=None, labels=""):
    """Return metadata by the schema of TensorFlow Lite Support, for one input and one output."""
    builder = flatbuffers.Builder(256)
    units = []
    if mean is not None:
        options = table(builder, 2, {0: floats(builder, mean), 1: floats(builder, std)})
        units = [table(builder, 2, {0: (1, "B"), 1: options})]
    given = table(builder, 7, {4: vector(builder, units)})
    files = []
    if labels:
        name = builder.CreateString(labels)
        files = [table(builder, 5, {0: name, 2: (2, "B")})]
    made = table(builder, 7, {6: vector(builder, files)})
    graph = table(builder, 10, {2: vector(builder, [given]), 3: vector(builder, [made])})
    name = builder.CreateString("a classifier")
    builder.Finish(table(builder, 8, {0: name, 3: vector(builder, [graph])}), b"M001")
    return bytes(builder.Output())


def with_metadata(path, content, files=None):
    """Write a model with metadata, and with files in an archive behind it as the writers of metadata append them."""
    schema = tflite_schema()

    model = schema.ModelT.InitFromObj(schema.Model.GetRootAsModel(CONTENT, 0))
    buffer = schema.BufferT()
    buffer.data = list(content)
    model.buffers.append(buffer)
    entry = schema.MetadataT()
    entry.name, entry.buffer = b"TFLITE_METADATA", len(model.buffers) - 1
    model.metadata = [entry]
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    stream = io.BytesIO(bytes(builder.Output()))
    if files:
        with zipfile.ZipFile(stream, "a") as archive:
            for name, text in files.items():
                archive.writestr(name, text)
    path.write_bytes(stream.getvalue())
    return path


def units_of(path):
    with open_network(path) as network:
        return network.layers[-1].shape[-1]


@pytest.fixture(scope="module")
def units(tmp_path_factory):
    path = tmp_path_factory.mktemp("plain") / "m.tflite"
    path.write_bytes(CONTENT)
    return units_of(path)


@pytest.mark.parametrize(
    ("mean", "std", "name"),
    [([127.5], [127.5], "-1..1"), ([0], [255], "0..1"), ([0], [1], "0..255"), ([123.7, 116.3, 103.5], [58.4, 57.1, 57.4], "torch")],
)  # fmt: skip
def test_the_normalization_is_the_range(tmp_path, mean, std, name):
    with open_network(with_metadata(tmp_path / "m.tflite", metadata(mean, std))) as network:
        chosen = choose_preprocessing(network.facts)
        assert network.notes == []
    assert chosen.name == name
    assert "the file's metadata" in chosen.reason


def test_names_of_classes_are_read_and_drawn(tmp_path, units, actviz):
    labels = [f"{LABELS[place % 4]} {place}" for place in range(units)]
    path = with_metadata(tmp_path / "m.tflite", metadata(labels="labels.txt"), {"labels.txt": "\n".join(labels) + "\n"})
    with open_network(path) as network:
        assert network.facts.labels == tuple(labels)
        last = network.layers[-1].address
    (tmp_path / "labels.txt").write_text("\n".join(labels))
    (tmp_path / "numbers.txt").write_text("\n".join(map(str, range(units))))
    drawn = {}
    for name, options in {"own": [], "given": ["--labels", "labels.txt"], "other": ["--labels", "numbers.txt"]}.items():
        ran = actviz("show", "m.tflite", "-l", last, "-o", f"{name}.png", *options)
        assert ran.code == 0, ran.err
        drawn[name] = np.asarray(Image.open(tmp_path / f"{name}.png")).tobytes()
    assert drawn["own"] == drawn["given"] != drawn["other"]


@pytest.mark.parametrize("text", ["a\nb\n", "", "\n\n"])
def test_names_that_do_not_fit_are_left_out(tmp_path, text):
    path = with_metadata(tmp_path / "m.tflite", metadata(labels="labels.txt"), {"labels.txt": text})
    with open_network(path) as network:
        assert network.facts.labels == ()


@threat(136, 0)
@pytest.mark.parametrize("name", ["../labels.txt", "/labels.txt"])
def test_an_archive_that_points_outside_is_not_read(tmp_path, units, name):
    text = "\n".join(map(str, range(units)))
    path = with_metadata(tmp_path / "m.tflite", metadata(labels="labels.txt"), {"labels.txt": text, name: text})
    with open_network(path) as network:
        assert network.facts.labels == ()
        assert network.notes == [LEFT_OUT]
        assert_computes(network)


LEFT_OUT = 'm.tflite: its class names ("labels.txt" in the archive behind the model) cannot be read and were left out.'


def assert_computes(network):
    """The model is computed all the same: the archive behind it changes no number."""
    given = {one.name: np.ones((1, *one.shape[1:]), one.dtype) for one in network.inputs}
    address = network.layers[-1].address
    assert np.isfinite(network.activations(given, [address])[address].values).all()


def bombed(content):
    stream = io.BytesIO(content)
    stream.seek(0, io.SEEK_END)
    with zipfile.ZipFile(stream, "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("labels.txt", b"a\n" * MOST_BYTES)
    return stream.getvalue()


def changed(content, place):
    return content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :]


HARM = {
    "a bomb": lambda plain, _: bombed(plain),
    "a wrong checksum": lambda _, whole: changed(whole, whole.rindex(b"cat 0")),
    "a damaged directory": lambda _, whole: changed(whole, whole.rindex(b"PK\x01\x02")),
    "cut off": lambda _, whole: whole[:-9],
    "gone": lambda plain, _: plain,
}


@threat(136, 0)
@pytest.mark.parametrize("harm", HARM)
def test_a_harmed_archive_is_left_out_with_a_note(tmp_path, units, harm):
    text = "\n".join(f"cat {number}" for number in range(units))
    plain = with_metadata(tmp_path / "m.tflite", metadata(labels="labels.txt")).read_bytes()
    whole = with_metadata(tmp_path / "m.tflite", metadata(labels="labels.txt"), {"labels.txt": text})
    whole.write_bytes(HARM[harm](plain, whole.read_bytes()))
    with open_network(whole) as network:
        assert network.facts.labels == ()
        assert network.notes == [LEFT_OUT]
        assert_computes(network)


@threat(136, 0)
def test_an_archive_unpacks_to_far_more_than_it_is_where_no_guard_bounds_it(monkeypatch):
    content = bombed(b"TFL3" * 100)
    assert read_labels(content, "m.tflite", "labels.txt") is None
    monkeypatch.setattr(tflite_metadata, "APPENDED", replace(APPENDED, floor=1 << 30, unpacked=1 << 30))
    monkeypatch.setattr(tflite_metadata, "LABEL_BYTES", 1 << 30)
    monkeypatch.setattr(tflite_metadata, "MOST_LABELS", 1 << 30)
    assert len(read_labels(content, "m.tflite", "labels.txt")) == MOST_BYTES > 200 * len(content)


@threat(136, 0)
@pytest.mark.parametrize("content", [b"", b"x", b"\0" * 64, b"\xff\xff\xff\x7fM001" + b"\xff" * 64])
def test_damaged_metadata_are_said_and_left_out(tmp_path, content):
    with open_network(with_metadata(tmp_path / "m.tflite", content)) as network:
        assert network.notes == ["m.tflite: its metadata are damaged and were left out."]
        assert "a guess" in choose_preprocessing(network.facts).description


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return with_metadata(tmp_path_factory.mktemp("whole") / "m.tflite", WHOLE).read_bytes()


WHOLE = metadata([127.5], [127.5], "labels.txt")


@threat(136, 0)
@settings(max_examples=100)
@given(st.lists(st.tuples(st.integers(0, len(WHOLE) - 1), st.integers(0, 255)), min_size=1, max_size=6))
def test_any_metadata_are_read_or_left_out(tmp_path_factory, whole, changes):
    content = bytearray(WHOLE)
    for place, value in changes:
        content[place] = value
    path = tmp_path_factory.getbasetemp() / "mutant.tflite"
    path.write_bytes(whole.replace(WHOLE, bytes(content)))
    with open_network(path) as network:
        choose_preprocessing(network.facts)

"""Every hostile or broken model file that can be made from nothing: row, exit code, message.

A case is judged twice: by `hostile_judge.py`, which opens all of them in one process, and the
first of each row through the command. `computes` says that the answer comes only when layers
are computed: then Keras is needed.
"""

from __future__ import annotations

import json
import os
import struct
import zipfile
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

import h5py
import hostile_files as files
import numpy as np
from hostile_files import alone, dense, functional, hdf5, keras, reading, stored
from keras_configs import layer, node, tensor

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

TRILLION = 10**12


@dataclass(frozen=True)
class Case:
    """One file: `make` writes it into a folder and returns its path; `marker` there must not appear."""

    row: int
    name: str
    code: int
    says: str
    make: Callable[[Path], Path]
    computes: bool = False
    marked: bool = False
    slow: bool = False

    @property
    def id(self):
        return f"{self.row}-{self.name}".replace(" ", "_")


def marker_in(folder):
    return folder / "marker"


CASES = []


def case(row, name, code, says, **flags):
    """Register a function that makes a file in a folder."""

    def register(make):
        CASES.append(Case(row, name, code, says, make, **flags))
        return make

    return register


def add(row, name, code, says, config, *, computes=False, weights=files.DENSE, legacy=True):
    """Register a `.keras` and, if it is also a case, an `.h5` model of one configuration."""
    case(row, f"{name} keras", code, says, computes=computes)(lambda folder: keras(folder / "m.keras", config, weights))
    if legacy:
        case(row, f"{name} h5", code, says, computes=computes)(lambda folder: hdf5(folder / "m.h5", config))


# ------------------------------------------------------------------ 1-3: Lambdas
LAMBDA = r'layer "lam" is a Lambda: it can run any code\. Use --allow-code if you trust this file\.'
for row, suffix, write in ((1, "keras", keras), (2, "h5", hdf5)):
    case(row, f"function {suffix}", 5, LAMBDA, marked=True)(
        lambda folder, write=write, suffix=suffix: write(
            folder / f"m.{suffix}", functional(files.evil_lambda(marker_in(folder)), dense(given="lam"))
        )
    )
    case(row, f"function behind what is computed {suffix}", 0, "", marked=True, computes=True)(
        lambda folder, write=write, suffix=suffix: write(
            folder / f"m.{suffix}", functional(dense(), files.evil_lambda(marker_in(folder), given="d"))
        )
    )
for where in ("output_shape", "mask"):
    case(3, where.replace("_", " "), 5, LAMBDA, marked=where != "mask")(
        lambda folder, where=where: keras(
            folder / "m.keras", functional(files.evil_lambda(marker_in(folder), where)), {}
        )
    )

# ------------------------------------------------------------------ 4-6: functions by name
for row, module, function in (
    (4, "keras.config", "set_epsilon"),
    (4, "keras.src.backend.config", "set_epsilon"),
    (5, "os", "getcwd"),
    (5, "builtins", "print"),
    (5, "shutil", "rmtree"),
    (6, "keras.config", "enable_unsafe_deserialization"),
    (6, "keras.utils", "get_file"),
    (6, "keras.models", "load_model"),
):
    add(row, f"Lambda {module}.{function}", 5, LAMBDA, functional(files.named_lambda(module, function, inputs=0.125)))
    named = {"module": module, "class_name": "function", "config": function, "registered_name": function}
    add(
        row,
        f"activation {module}.{function}",
        5,
        r"only activation functions of Keras are allowed",
        functional(dense(activation=named)),
    )

# ------------------------------------------------------------------ 7: hidden
for how in ("model", "TimeDistributed", "Bidirectional", "Wrapper"):
    for depth in range(1, 6):
        case(7, f"{how} {depth}", 5, "is a Lambda", marked=how in {"model", "TimeDistributed"})(
            lambda folder, how=how, depth=depth: keras(
                folder / "m.keras", files.buried(marker_in(folder), depth, how), {}
            )
        )
case(7, "Bidirectional backward layer", 5, "is a Lambda")(
    lambda folder: keras(
        folder / "m.keras",
        functional(
            reading(
                "d",
                "Bidirectional",
                layer=alone("f", "LSTM", {"units": 2}),
                backward_layer=alone("lam", "Lambda", files.evil_lambda(marker_in(folder))["config"]),
            )
        ),
        {},
    )
)
case(7, "argument of a call", 5, "is a Lambda")(
    lambda folder: keras(
        folder / "m.keras",
        functional(
            dense() | {"inbound_nodes": [node(tensor("in")) | {"kwargs": {"mask": files.bytecode(lambda x: x)}}]}
        ),
    )
)


# ------------------------------------------------------------------ 8: compile_config
def compiled_inside(marker, *, honest=False):
    """A model in a model, both with a loss and an optimizer, by default such as nobody may make."""
    evil = {"loss": files.bytecode(files.touching(marker)), "optimizer": {"class_name": "Evil", "config": {}}}
    evil = {"loss": "mse", "optimizer": "adam"} if honest else evil
    inner = functional(dense())
    inner |= {"name": "inner", "compile_config": evil, "inbound_nodes": [node(tensor("in"))]}
    inner["config"] = inner["config"] | {"name": "inner"}
    return functional(inner) | {"compile_config": evil}


case(8, "a nested model that Keras compiles", 0, "", computes=True)(
    lambda folder: keras(folder / "m.keras", compiled_inside(marker_in(folder), honest=True), WEIGHTS_INSIDE)
)
WEIGHTS_INSIDE = {
    "layers/functional/layers/dense/vars/0": files.KERNEL,
    "layers/functional/layers/dense/vars/1": files.BIAS,
}
case(8, "nested compile_config", 0, "", computes=True)(
    lambda folder: keras(folder / "m.keras", compiled_inside(marker_in(folder)), WEIGHTS_INSIDE)
)

# ------------------------------------------------------------------ 9-12: classes
add(
    9, "TFSMLayer", 5, "is a TFSMLayer: it can run any code", functional(reading("t", "TFSMLayer", filepath="/nowhere"))
)
for kind in ("TorchModuleWrapper", "JaxLayer", "FlaxLayer"):
    add(10, kind, 5, f"is a {kind}: it can run any code", functional(reading("t", kind, module="AAAA")))
CUSTOM = reading("c", "Scale") | {"module": None, "registered_name": "shop>Scale"}
add(11, "registered", 4, r'needs the custom object "shop>Scale".*--custom-objects', functional(CUSTOM), weights={})
add(11, "in a module", 4, r"--custom-objects", functional(CUSTOM | {"module": "shop.layers"}), weights={})
add(11, "activation", 4, r'"shop>act".*--custom-objects', functional(dense(activation="shop>act")))

# ------------------------------------------------------------------ 13: vocabularies
SECRET_WORDS = "alpha-secret\nbravo-secret\n"


def secret_words(folder):
    path = folder / "secret.txt"
    path.write_text(SECRET_WORDS)
    return str(path)


LOOKED_UP = {
    "StringLookup": {},
    "IntegerLookup": {},
    "TextVectorization": {
        "max_tokens": None, "standardize": None, "split": None, "ngrams": None, "output_mode": "int",
        "output_sequence_length": 4, "dtype": "string",
    },
}  # fmt: skip
for kind, change in LOOKED_UP.items():
    for suffix in ("keras", "h5"):
        case(13, f"{kind} {suffix}", 5, "reads its vocabulary from the file")(
            lambda folder, kind=kind, change=change, suffix=suffix: files.without_weights(
                folder / f"m.{suffix}",
                functional(reading("v", kind, vocabulary=secret_words(folder), **change), dtype="string"),
            )
        )

# ------------------------------------------------------------------ 14-19: HDF5
SECRET_NUMBERS = np.arange(16, dtype="<f4") + 4711


def secret_numbers(folder):
    path = folder / "secret.bin"
    path.write_bytes(SECRET_NUMBERS.tobytes())
    return path


ELSEWHERE = {
    "external storage": (14, "external storage"),
    "external link": (15, "is a link to another object or file"),
    "soft link": (15, "is a link to another object or file"),
    "user link": (15, "is a link to another object or file"),
    "root group link": (15, "is a link to another object or file"),
    "virtual": (16, "virtual dataset"),
}
for kind, (row, says) in ELSEWHERE.items():
    case(row, f"{kind} h5", 5, says)(
        lambda folder, kind=kind: files.elsewhere(folder / "m.h5", kind, secret_numbers(folder))
    )
    if kind not in {"root group link", "user link"}:
        case(row, f"{kind} keras", 5, says)(
            lambda folder, kind=kind: files.as_archive(
                folder / "m.keras", files.elsewhere(folder / "m.h5", kind, secret_numbers(folder))
            )
        )


def again(target):
    def fill(file):
        file.create_group("more").create_group("b")
        file["more/again"] = file[target]

    return fill


for name, target in (("the root", "/"), ("itself", "more"), ("the group beside", "more/b")):
    case(17, f"a link to {name}", 6, "two paths in the HDF5 file")(
        lambda folder, target=target: hdf5(folder / "m.h5", functional(dense()), again(target))
    )


@case(17, "a million links", 6, "more than 200,000 objects", slow=True)
def million(folder):
    def fill(file):
        group, target = file.create_group("many"), file["model_weights/d/d"]
        for number in range(200_001):
            group.id.links.create_hard(b"%x" % number, target.id, b"bias")

    return hdf5(folder / "m.h5", functional(dense()), fill)


@case(17, "a thousand groups deep", 6, "nested too deeply")
def deep_groups(folder):
    return hdf5(folder / "m.h5", functional(dense()), lambda file: file.create_group("a/" * 1000))


def with_right_sums(path):
    """Write the true checksums of the stored members of an archive whose bytes were changed."""
    content = bytearray(path.read_bytes())
    with zipfile.ZipFile(path) as archive:
        for info in archive.infolist():
            name = len(info.filename.encode())
            begin = info.header_offset + 30 + name + struct.unpack_from("<H", content, info.header_offset + 28)[0]
            assert info.compress_type == zipfile.ZIP_STORED
            sum_ = struct.pack("<L", zlib.crc32(content[begin : begin + info.file_size]))
            old = struct.pack("<L", info.CRC)
            for at in (content.index(old, info.header_offset), content.rindex(old)):
                content[at : at + 4] = sum_
    path.write_bytes(content)


def with_filter(folder, suffix):
    """A kernel that says to be compressed by filter 32015 (Zstandard), whose code is a plug-in."""

    def fill(file, path):
        group, name = path.rsplit("/", 1)
        if name in file[group]:
            del file[group][name]
        properties = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        properties.set_chunk((4, 3))
        properties.set_deflate(1)
        space, kind = h5py.h5s.create_simple((4, 3)), h5py.h5t.IEEE_F32LE
        made = h5py.h5d.create(file[group].id, name.encode(), kind, space, dcpl=properties)
        made.write(space, space, files.KERNEL)

    if suffix == "h5":
        path = hdf5(folder / "m.h5", functional(dense()), lambda file: fill(file, "model_weights/d/d/kernel"))
    else:
        weights = stored({"layers/dense/vars/1": files.BIAS}, lambda file: fill(file, "layers/dense/vars/0"))
        path = keras(folder / "m.keras", functional(dense()), weights)
    content = path.read_bytes()
    mark = struct.pack("<HHHH", 1, 8, 1, 1) + b"deflate\0"
    assert content.count(mark) == 1
    path.write_bytes(content.replace(mark, struct.pack("<HHHH", 32015, 8, 1, 1) + b"deflate\0"))
    if suffix == "keras":
        with_right_sums(path)
    return path


for suffix in ("h5", "keras"):
    case(18, f"an unknown filter {suffix}", 4, "a filter that needs a plug-in")(
        lambda folder, suffix=suffix: with_filter(folder, suffix)
    )

NO_NUMBERS = {
    "strings": (np.array([[b"abc"] * 3] * 4), None),
    "variable strings": ([["abc"] * 3] * 4, h5py.string_dtype()),
    "lists of any length": (None, h5py.vlen_dtype(np.int32)),
    "records": (np.zeros((4, 3), [("a", "<f4"), ("b", "<i4")]), None),
    "references": (None, h5py.ref_dtype),
    "complex": (np.zeros((4, 3), "complex64"), None),
    "dates": (np.zeros((4, 3), "V7"), None),
}


def odd_weights(name, suffix):
    values, dtype = NO_NUMBERS[name]

    def fill(file, path):
        if path in file:
            del file[path]
        file.create_dataset(path, (4, 3), dtype=dtype or values.dtype, data=values)

    def make(folder):
        if suffix == "h5":
            return hdf5(folder / "m.h5", functional(dense()), lambda file: fill(file, "model_weights/d/d/kernel"))
        weights = stored({"layers/dense/vars/1": files.BIAS}, lambda file: fill(file, "layers/dense/vars/0"))
        return keras(folder / "m.keras", functional(dense()), weights)

    return make


for name in NO_NUMBERS:
    for suffix in ("h5", "keras"):
        case(19, f"{name} {suffix}", 4, "not plain numbers|holds no numbers", computes=True)(odd_weights(name, suffix))

# ------------------------------------------------------------------ 20-22: archives
ESCAPES = ("../x", "assets/../../x", "/x", "C:\\x", "..\\x", "\\\\host\\x", "a/\0/../b")
for number, member in enumerate(ESCAPES):
    case(20, f"member {number} {member!r}", 5, "points outside the archive")(
        lambda folder, member=member: files.with_member(folder / "m.keras", member)
    )


@case(20, "a link", 5, "is a link")
def zip_link(folder):
    info = zipfile.ZipInfo("assets/link")
    info.external_attr = 0o120777 << 16
    return keras(folder / "m.keras", functional(dense()), extra=[(info, "/etc/hostname")])


@case(20, "encrypted", 5, "is encrypted")
def zip_encrypted(folder):
    path = keras(folder / "m.keras", functional(dense()), extra=[("assets/x", "x")])
    return files.patched_directory(path, "assets/x", flags=1)


for name, number in (("config.json", 0), ("model.weights.h5", 1), ("assets/x", 2)):
    content = [json.dumps(functional(dense("other"))), files.stored(files.DENSE), "x"][number]
    extra = [(name, content)] * (2 if number == 2 else 1)
    case(21, name, 5, "two members of one name")(
        lambda folder, extra=extra: keras(folder / "m.keras", functional(dense()), extra=extra)
    )


def joined(first, second):
    def make(folder):
        one, other = keras(folder / "m.keras", functional(dense())), hdf5(folder / "m.h5", functional(dense()))
        parts = {"keras": one.read_bytes(), "h5": other.read_bytes(), "png": b"\x89PNG\r\n\x1a\n" + bytes(504)}
        path = folder / f"joined.{first}"
        path.write_bytes(parts[first] + parts[second])
        return path

    return make


for first, second, code, says in (
    ("h5", "keras", 5, "an HDF5 file and a zip archive at once"),
    ("keras", "h5", 5, "before or after the archive"),
    ("keras", "keras", 5, "before or after the archive"),
    ("png", "keras", 4, "this is an image"),
    ("png", "h5", 5, "HDF5 data follow other data"),
):
    case(22, f"{second} after {first}", code, says)(joined(first, second))


# ------------------------------------------------------------------ 25-27
@case(25, "linked weights", 5, 'refused: "model.weights.h5" in the folder is a link')
def linked_weights(folder):
    path = files.unpacked(folder / "model", functional(dense()))
    (folder / "elsewhere.h5").write_bytes((path / "model.weights.h5").read_bytes())
    (path / "model.weights.h5").unlink()
    (path / "model.weights.h5").symlink_to(folder / "elsewhere.h5")
    return path


@case(25, "linked configuration", 5, 'refused: "config.json" in the folder is a link')
def linked_configuration(folder):
    path = files.unpacked(folder / "model", functional(dense()))
    (path / "config.json").rename(folder / "config.json")
    (path / "config.json").symlink_to(folder / "config.json")
    return path


for kind in ("TypeSpec", "CompositeTensor", "__typespec__"):
    spec = {"class_name": kind, "spec_name": "tf.RaggedTensorSpec", "type_spec": "x", "serialized": [[None], "float32"]}
    add(26, kind, 5, "names a class of TensorFlow to be made", functional(dense(kernel_initializer=spec)))
add(
    27,
    "Dense as another",
    5,
    "registered under another name",
    functional(dense() | {"registered_name": "package>Other"}),
)

# ------------------------------------------------------------------ 29-30: declared sizes
PARAMETERS = r"declares [\d,]{10,} parameters"
add(29, "Dense", 6, PARAMETERS, functional(dense(units=TRILLION)), computes=True)
add(
    29,
    "Embedding",
    6,
    PARAMETERS,
    functional(reading("d", "Embedding", input_dim=10**9, output_dim=10**3), dtype="int32"),
    computes=True,
    weights={},
)
add(
    29,
    "Conv2D",
    6,
    PARAMETERS,
    functional(reading("d", "Conv2D", filters=10**6, kernel_size=[100, 100]), shape=(200, 200, 3)),
    computes=True,
    weights={},
)
add(29, "LSTM", 6, PARAMETERS, functional(reading("d", "LSTM", units=10**6), shape=(3, 4)), computes=True, weights={})
ENORMOUS = r'the output of layer "r" takes [\d,]+ bytes \(limit [\d,]+\)|take [\d,]+ bytes for'
for name, kind, shape, config in (
    ("RepeatVector", "RepeatVector", (4,), {"n": TRILLION}),
    ("UpSampling2D", "UpSampling2D", (4, 4, 1), {"size": [10**6, 10**6]}),
    ("UpSampling2D of any size", "UpSampling2D", (None, None, 1), {"size": [10**6, 10**6]}),
    ("UpSampling1D", "UpSampling1D", (4, 1), {"size": TRILLION}),
    ("ZeroPadding2D", "ZeroPadding2D", (4, 4, 1), {"padding": [[10**7, 10**7], [10**7, 10**7]]}),
    ("ZeroPadding1D", "ZeroPadding1D", (4, 1), {"padding": TRILLION}),
    ("Resizing", "Resizing", (4, 4, 1), {"height": 10**7, "width": 10**7}),
    ("CategoryEncoding", "CategoryEncoding", (4,), {"num_tokens": TRILLION, "output_mode": "one_hot"}),
):
    add(30, name, 6, ENORMOUS, functional(reading("r", kind, **config), shape=shape), computes=True, weights={})


# ------------------------------------------------------------------ 31-33: bombs
def hollow(file, path, shape=(1000, 1000, 1000)):
    """An array that stores nothing and declares gigabytes."""
    if path in file:
        del file[path]
    chunks = tuple(min(axis, 100) for axis in shape)
    file.create_dataset(path, shape, "<f4", chunks=chunks, compression="gzip", fillvalue=1.0)


case(31, "a kernel h5", 6, "a bomb")(
    lambda folder: hdf5(folder / "m.h5", functional(dense()), lambda file: hollow(file, "model_weights/d/d/kernel"))
)
case(31, "a kernel keras", 6, "a bomb")(
    lambda folder: keras(
        folder / "m.keras", functional(dense()), stored({}, lambda file: hollow(file, "layers/dense/vars/0"))
    )
)
case(31, "an array that nobody reads", 6, "a bomb")(
    lambda folder: hdf5(folder / "m.h5", functional(dense()), lambda file: hollow(file, "more"))
)


def many_hollow(file):
    for number in range(200):
        file.create_dataset(f"many/{number}", (500, 500), "<f4", chunks=(500, 500), fillvalue=1.0)


case(31, "many small ones", 6, "a bomb")(lambda folder: hdf5(folder / "m.h5", functional(dense()), many_hollow))
PADDING = 64 << 20
case(32, "config.json", 6, "a zip bomb|bytes")(
    lambda folder: keras(
        folder / "m.keras",
        b" " * PADDING + json.dumps(functional(dense())).encode(),
        compression=zipfile.ZIP_DEFLATED,
    )
)
case(32, "config.json, uncompressed", 6, "at most|limit")(
    lambda folder: keras(folder / "m.keras", b" " * PADDING + json.dumps(functional(dense())).encode())
)
case(32, "metadata.json", 6, "a zip bomb|limit")(
    lambda folder: files.with_member(folder / "m.keras", "metadata.json", " " * (2 << 20), alone=True)
)
case(32, "model_config of an h5", 6, "at most|limit")(
    lambda folder: files.long_attribute(folder / "m.h5", functional(dense()), PADDING)
)
for name, packed, says in (("a ratio", 260_000, "a zip bomb"), ("a sum", 255 << 20, "overlap: a zip bomb")):
    case(33, f"a thousand members, {name}", 6, says)(
        lambda folder, packed=packed: files.forged_members(folder / "m.keras", 1000, 255 << 20, packed)
    )
case(33, "too many members", 6, "members in the archive")(
    lambda folder: keras(
        folder / "m.keras", functional(dense()), extra=[(f"assets/{number}", "") for number in range(10_001)]
    )
)

# ------------------------------------------------------------------ 36-38: JSON
DEEP = '{"a":' * 20_000 + "1" + "}" * 20_000
add(36, "20,000 deep", 4, "nested too deeply", DEEP, legacy=False)
add(36, "300 deep", 4, "nested too deeply", '{"a":' * 300 + "1" + "}" * 300)
add(36, "lists", 4, "nested too deeply", "[" * 100_000 + "]" * 100_000, legacy=False)
case(36, "in metadata.json", 4, "nested too deeply")(
    lambda folder: files.with_member(folder / "m.keras", "metadata.json", DEEP, alone=True)
)


case(36, "a key that stands there twice", 4, 'repeats the key "a"')(
    lambda folder: keras(folder / "m.keras", '{"a": 0,' + "".join(f'"{n}":0,' for n in range(300_000)) + '"a":1}')
)


def chain(count, order=lambda layers: layers):
    """A model of many layers in a row, in any order of the file."""
    links = [
        reading(f"l{number}", "Activation", f"l{number - 1}" if number else "in", activation="relu")
        for number in range(count)
    ]
    return functional(*order(links), out=f"l{count - 1}")


def looped():
    first = layer("a", "Add", [node(tensor("in"), tensor("b"))])
    return functional(first, reading("b", "Activation", "a", activation="relu"))


def multiplied(levels, calls):
    """A model in which each level calls the one below several times: calls ** levels layers."""
    inner = functional(dense())
    for level in range(levels):
        name = f"n{level}"
        inner = inner | {"name": name, "config": inner["config"] | {"name": name}}
        inner["inbound_nodes"] = [node(tensor("in" if call == 0 else name, max(call - 1, 0))) for call in range(calls)]
        last = [name, calls - 1, 0]
        outer = functional(inner)
        outer["config"]["output_layers"] = last
        inner = outer
    return inner


def far_output():
    made = functional(dense(), reading("r", "Activation", "d", activation="relu"))
    made["config"]["layers"][-1]["inbound_nodes"] = [node(tensor("d", 0, 10**15))]
    return files.shaped(made, [None, 4])


add(37, "50,000 layers", 6, r"a model of 50,001 layers \(limit 20,000\)", chain(50_000), legacy=False)
add(37, "100,000 layers", 6, r"has about 2,400,\d\d\d values \(limit 2,000,000\)", chain(100_000), legacy=False)
add(37, "a loop", 4, "form a loop", looped())
add(37, "a layer that is not there", 4, "form a loop or use a layer that is not", functional(dense(given="gone")))
add(37, "ten to the twelfth calls", 6, "more than 20,000 calls", multiplied(12, 10))
add(37, "a layer that calls itself", 4, "form a loop", functional(reading("d", "Dense", "d", units=3)))
add(37, "an output of number 10^15", 6, "has 1,000,000,000,000,001 outputs", far_output())
add(37, "two layers of one name", 4, "two layers of one model", functional(dense(), dense()))
add(37, "10,000 layers backwards", 0, "", chain(10_000, lambda links: links[::-1]), legacy=False, weights={})
NONE = {"-1": -1, "0": 0, "1.5": 1.5, "a text": '"x"', "true": "true", "null": "null", "a list": "[3]", "a dict": "{}"}
for name, text in NONE.items():
    config = json.dumps(functional(dense(units=4321))).replace("4321", str(text))
    add(38, f"units {name}", 4, r"^[^\n]{20,700}$", config, computes=True)
for text in ("1e400", "-1e999", "NaN", "Infinity"):
    config = json.dumps(functional(dense(units=4321))).replace("4321", text)
    add(38, f"units {text}", 4, "is not a number", config)
for digits in (21, 400, 5000):
    config = json.dumps(functional(dense(units=4321))).replace("4321", "9" * digits)
    add(38, f"units of {digits} digits", 4, "larger than any number in a model", config)
add(38, "a shape of texts", 4, "has a shape that is none", functional(dense(), shape=("x",)), computes=True)
add(38, "a negative shape", 4, r"^[^\n]{20,700}$", functional(dense(), shape=(-4,)), computes=True)

# ------------------------------------------------------------------ 39-42: what is no model
NO_MODEL = {
    "empty.h5": (b"", "the file is empty"),
    "empty.keras": (b"", "the file is empty"),
    "garbage.keras": (bytes(100), r"100 bytes, first bytes \\+x00"),
    "garbage.h5": (b"\xde\xad\xbe\xef" * 40, "160 bytes, first bytes"),
    "text.h5": (b"hello, world\n" * 3, "a text file"),
    "only the magic.h5": (b"\x89HDF\r\n\x1a\n", "truncated or damaged"),
    "only the magic.keras": (b"PK\x03\x04", "truncated or damaged"),
}
for name, (content, says) in NO_MODEL.items():

    @case(39, name, 4, says)
    def no_model(folder, name=name, content=content):
        path = folder / name
        path.write_bytes(content)
        return path


def cut(suffix, share):
    def make(folder):
        whole = (keras if suffix == "keras" else hdf5)(folder / f"whole.{suffix}", functional(dense())).read_bytes()
        path = folder / f"m.{suffix}"
        path.write_bytes(whole[: int(len(whole) * share)])
        return path

    return make


for suffix in ("keras", "h5"):
    for percent in range(4, 100, 8):
        case(39, f"{percent} percent of {suffix}", 4, r"^[^\n]{20,300}$", computes=True)(cut(suffix, percent / 100))
case(40, "an archive called .h5", 0, "", computes=True)(lambda folder: keras(folder / "m.h5", functional(dense())))
case(40, "HDF5 called .keras", 0, "", computes=True)(lambda folder: hdf5(folder / "m.keras", functional(dense())))


@case(41, "m.weights.h5", 4, r"weights but no architecture: save with model\.save")
def only_weights(folder):
    path = folder / "m.weights.h5"
    path.write_bytes(stored(files.DENSE))
    return path


@case(42, "m.keras", 4, "this is a Git LFS pointer.*git lfs pull")
def pointer(folder):
    path = folder / "m.keras"
    path.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 9\n")
    return path


# ------------------------------------------------------------------ 43-46: weights, old files
WRONG = {
    "missing": ({"layers/dense/vars/0": files.KERNEL}, "weights"),
    "all missing": ({}, "no weights for layer|weights"),
    "another shape": (files.DENSE | {"layers/dense/vars/0": files.KERNEL.T}, "has the shape"),
    "too many": (files.DENSE | {"layers/dense/vars/2": files.BIAS}, "weights"),
    "of a layer that is not there": (
        files.DENSE | {"layers/dense_1/vars/0": files.KERNEL},
        "of a layer that the model does not have",
    ),
    "inside a layer that has none": (files.DENSE | {"layers/dense/inner/vars/0": files.KERNEL}, "does not have"),
}
for name, (weights, says) in WRONG.items():
    case(43, f"{name} keras", 4, says, computes=True)(
        lambda folder, weights=weights: keras(folder / "m.keras", functional(dense()), weights)
    )


def wrong_h5(name):
    def fill(file):
        group = file["model_weights/d"]
        if name == "missing":
            del group["d/bias"]
        elif name == "not named":
            group.attrs["weight_names"] = np.array([b"d/kernel"])
        elif name == "another shape":
            del group["d/kernel"]
            group["d/kernel"] = files.KERNEL.T
        elif name == "too many":
            group["d/more"] = files.BIAS
            group.attrs["weight_names"] = np.array([b"d/kernel", b"d/bias", b"d/more"])
        elif name == "no group":
            del file["model_weights/d"]
        elif name == "names that are numbers":
            group.attrs["weight_names"] = np.array([1, 2])
        elif name == "a name that is a path":
            group.attrs["weight_names"] = np.array([b"/model_weights/d/d/kernel", b"../../x"])
        else:
            file["model_weights"].attrs["layer_names"] = np.array([b"in", b"d", b"e"])

    return lambda folder: hdf5(folder / "m.h5", functional(dense()), fill)


for name in (
    "missing", "not named", "another shape", "too many", "no group", "names that are numbers", "a name that is a path",
):  # fmt: skip
    case(43, f"{name} h5", 4, r"^[^\n]{20,400}$", computes=True)(wrong_h5(name))


def not_finite(suffix):
    kernel = files.KERNEL.copy()
    kernel[0, 0], kernel[1, 1] = np.nan, np.inf

    def fill(file):
        file["model_weights/d/d/kernel"][...] = kernel

    def make(folder):
        if suffix == "h5":
            return hdf5(folder / "m.h5", functional(dense()), fill)
        return keras(folder / "m.keras", functional(dense()), files.DENSE | {"layers/dense/vars/0": kernel})

    return make


for suffix in ("keras", "h5"):
    case(44, suffix, 0, "", computes=True)(not_finite(suffix))


def slashed(folder):
    """A file of Keras 2 with a name such as ``block/conv``, as tf.keras still allowed."""
    layers = [
        {"class_name": "InputLayer", "name": "in", "inbound_nodes": [],
         "config": {"name": "in", "batch_input_shape": [None, 4], "dtype": "float32", "sparse": False}},
        {"class_name": "Dense", "name": "block/d", "inbound_nodes": [[["in", 0, 0, {}]]],
         "config": {"name": "block/d", "units": 3, "activation": "linear", "use_bias": True, "dtype": "float32"}},
    ]  # fmt: skip
    config = {
        "class_name": "Functional",
        "config": {"name": "m", "layers": layers, "input_layers": [["in", 0, 0]], "output_layers": [["block/d", 0, 0]]},
    }

    def fill(file):
        file.attrs["keras_version"] = "2.4.0"
        weights = file["model_weights"]
        weights.attrs["layer_names"] = np.array([b"in", b"block/d"])
        group = weights.create_group("block/d")
        group.attrs["weight_names"] = np.array([b"block/d/kernel:0", b"block/d/bias:0"])
        group["block/d/kernel:0"], group["block/d/bias:0"] = files.KERNEL, files.BIAS
        del weights["d"]

    return hdf5(folder / "m.h5", config, fill)


case(45, "a slash in a name", 0, "", computes=True)(slashed)


def operation(name):
    called = {
        "class_name": "TFOpLambda", "name": "op", "inbound_nodes": [["in", 0, 0, {}]],
        "config": {"name": "op", "trainable": True, "dtype": "float32", "function": name},
    }  # fmt: skip
    first = {"class_name": "InputLayer", "name": "in", "inbound_nodes": [],
             "config": {"name": "in", "batch_input_shape": [None, 4], "dtype": "float32"}}  # fmt: skip
    inner = {"name": "m", "layers": [first, called], "input_layers": [["in", 0, 0]], "output_layers": [["op", 0, 0]]}
    config = {"class_name": "Functional", "config": inner}

    def fill(file):
        file.attrs["keras_version"] = "2.12.0"

    return lambda folder: hdf5(folder / "m.h5", config, fill)


case(46, "math.tanh", 0, "", computes=True)(operation("math.tanh"))
for name in ("io.write_file", "io.read_file", "py_function", "numpy_function", "raw_ops.WriteFile", "load_op_library"):
    case(46, name, 5, f'calls TensorFlow\'s "{name}", which is not on the list of pure functions')(operation(name))


# ------------------------------------------------------------------ 47: no regular files
@case(47, "a FIFO", 4, "a device, pipe or socket")
def fifo(folder):
    os.mkfifo(folder / "m.keras")
    return folder / "m.keras"


@case(47, "/dev/zero", 4, "a device, pipe or socket")
def device(folder):
    (folder / "m.h5").symlink_to("/dev/zero")
    return folder / "m.h5"


@case(47, "a folder", 4, "this is a folder")
def empty_folder(folder):
    (folder / "m.keras").mkdir()
    return folder / "m.keras"


# ------------------------------------------------------------------ 49: products
for name, shape in (("64 bits", (1 << 32, 1 << 32)), ("62 bits", (1 << 31, 1 << 31)), ("63 bits", (1 << 62, 2))):
    case(49, f"an array of {name}", 6, "a bomb")(
        lambda folder, shape=shape: hdf5(
            folder / "m.h5", functional(dense()), lambda file: hollow(file, "model_weights/d/d/kernel", shape)
        )
    )
for axes in ((1 << 32, 1 << 32), (1 << 16,) * 4, (1 << 21,) * 3):
    add(
        49,
        f"an input of {len(axes)} axes of {axes[0]}",
        6,
        "takes [\\d,]+ bytes",
        functional(reading("r", "Activation", activation="relu"), shape=axes),
        computes=True,
        weights={},
    )
add(
    49,
    "weights beyond 64 bits",
    6,
    f"{PARAMETERS}|takes [\\d,]+ bytes",
    functional(dense(units=1 << 31), shape=(1 << 31,)),
    computes=True,
)

# ------------------------------------------------------------------ 50: text
VECTORS = {
    "max_tokens": None, "standardize": None, "split": "whitespace", "ngrams": None, "output_mode": "int",
    "output_sequence_length": 4, "vocabulary": ["", "[UNK]", "a"], "dtype": "string",
}  # fmt: skip
for name, change, code, says in (
    ("an enormous sequence", {"output_sequence_length": TRILLION}, 6, "takes [\\d,]+ bytes|take [\\d,]+ bytes"),
    ("a pattern to split by", {"split": "(a+)+$"}, 4, r"^[^\n]{20,700}$"),
    ("a function to split by", {"split": files.bytecode(lambda x: x)}, 5, "Lambda"),
    ("a pattern to clean by", {"standardize": "(a+)+$"}, 4, r"^[^\n]{20,700}$"),
):
    add(
        50,
        name,
        code,
        says,
        functional(reading("r", "TextVectorization", **(VECTORS | change)), shape=(1,), dtype="string"),
        computes=code != 5,
        weights={},
        legacy=False,
    )

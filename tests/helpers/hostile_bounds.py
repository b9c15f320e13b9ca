"""More hostile model files: sums that do not match, and sizes that only unpacking shows.

Importing this module registers its cases beside those of `hostile_cases`.
"""

from __future__ import annotations

import json
import struct
import zipfile
import zlib

import h5py
import hostile_files as files
import numpy as np
from hostile_cases import add, case
from hostile_files import dense, functional, hdf5, keras, reading, stored


# ------------------------------------------------------------------ 121: checksums
def with_changed_byte(path, member, compression):
    """A `.keras` archive one byte of which was changed after it was written."""
    keras(path, functional(dense()), compression=compression)
    raw = bytearray(path.read_bytes())
    with zipfile.ZipFile(path) as archive:
        info = archive.getinfo(member)
    content = info.header_offset + 30 + len(member) + info.compress_size // 2
    if member == "model.weights.h5" and compression == zipfile.ZIP_STORED:
        content = raw.index(files.KERNEL.tobytes()) + 4 * 5 + 3  # the exponent of one weight
    raw[content] ^= 1
    path.write_bytes(raw)
    return path


def with_wrong_sum(path, member):
    """A `.keras` archive whose directory names another checksum than the content has."""
    keras(path, functional(dense()))
    raw = bytearray(path.read_bytes())
    place = raw.rindex(member.encode()) - 46
    struct.pack_into("<I", raw, place + 16, struct.unpack_from("<I", raw, place + 16)[0] ^ 1)
    path.write_bytes(raw)
    return path


DAMAGED = "does not match its checksum|in the archive is damaged"
for packing, name in ((zipfile.ZIP_STORED, "stored"), (zipfile.ZIP_DEFLATED, "deflated")):
    for held in ("metadata.json", "config.json", "model.weights.h5"):
        case(121, f"{held}, {name}", 4, DAMAGED)(
            lambda folder, held=held, packing=packing: with_changed_byte(folder / "m.keras", held, packing)
        )
case(121, "a sum in the directory", 4, DAMAGED)(lambda folder: with_wrong_sum(folder / "m.keras", "model.weights.h5"))


# ------------------------------------------------------------------ 122: directories
def crowded(path, count, declared=None, extended=False):
    """A small archive with many entries in its directory; `declared` is what the end record says."""
    keras(path, functional(dense()))
    raw = path.read_bytes()
    start, size = struct.unpack_from("<I", raw, len(raw) - 6)[0], struct.unpack_from("<I", raw, len(raw) - 10)[0]
    entries = raw[start : start + size]
    head = bytearray(46)
    head[:4] = b"PK\x01\x02"
    struct.pack_into("<H", head, 28, 7)
    entries += b"".join(bytes(head) + b"%07d" % number for number in range(count))
    total = count + 3 if declared is None else declared
    end = b""
    if extended:
        end = b"PK\x06\x06" + struct.pack("<QHHIIQQQQ", 44, 45, 45, 0, 0, total, total, len(entries), start)
        end += b"PK\x06\x07" + struct.pack("<IQI", 0, start + len(entries), 1)
        total = 0xFFFF
    end += b"PK\x05\x06" + struct.pack("<HHHHIIH", 0, 0, total & 0xFFFF, total & 0xFFFF, len(entries), start, 0)
    path.write_bytes(raw[:start] + entries + end)
    return path


MANY = r"more than 10,000 members in the archive"
case(122, "400,000 members", 6, MANY)(lambda folder: crowded(folder / "m.keras", 400_000, extended=True))
case(122, "400,000 members, 5 declared", 6, MANY)(lambda folder: crowded(folder / "m.keras", 400_000, declared=5))
case(122, "5 members, 60,000 declared", 6, MANY)(lambda folder: crowded(folder / "m.keras", 5, declared=60_000))


def long_names(path):
    """An archive whose directory is 70 MB of comments."""
    with zipfile.ZipFile(path, "w") as archive:
        for number in range(1100):
            info = zipfile.ZipInfo(str(number))
            info.comment = b" " * 0xFFFF
            archive.writestr(info, "")
    return path


case(122, "a directory of 70 MB", 6, "the directory of the archive has 7")(
    lambda folder: long_names(folder / "m.keras")
)


# ------------------------------------------------------------------ 123: chunks of HDF5
def both(name, fill, says, code=6, *, computes=False):
    """Register an `.h5` model, and a `.keras` archive, that hold a hostile kernel beside good weights."""
    case(123, f"{name}, h5", code, says, computes=computes)(
        lambda folder: hdf5(folder / "m.h5", functional(dense()), lambda file: fill(file, "model_weights/d/d/kernel"))
    )
    case(123, f"{name}, keras", code, says, computes=computes)(
        lambda folder: keras(
            folder / "m.keras",
            functional(dense()),
            stored({"layers/dense/vars/1": files.BIAS}, lambda file: fill(file, "layers/dense/vars/0")),
        )
    )


def made_again(file, name, **options):
    """Write the kernel again, in chunks."""
    if name in file:
        del file[name]
    return file.create_dataset(name, (4, 3), "<f4", **options)


def twice_deflated(file, name, side=1024):
    """A kernel of 48 bytes in a chunk of 256 MiB, deflated twice: 1 KB of the file."""
    made_again(file, name)
    del file[name]
    properties = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    properties.set_chunk((side, side * 64))
    properties.set_deflate(9)
    properties.set_deflate(9)
    space = h5py.h5s.create_simple((4, 3), (h5py.h5s.UNLIMITED, h5py.h5s.UNLIMITED))
    dataset = h5py.h5d.create(file.id, name.encode(), h5py.h5t.IEEE_F32LE, space, properties)
    packed = zlib.compress(zlib.compress(bytes(side * side * 64 * 4), 9), 9)
    dataset.write_direct_chunk((0, 0), packed)


def huge_chunk(file, name):
    """A kernel of 48 bytes in a chunk of 256 MiB, deflated once."""
    dataset = made_again(file, name, maxshape=(None, None), chunks=(1024, 65536), compression="gzip")
    dataset.id.write_direct_chunk((0, 0), zlib.compress(bytes(1 << 28), 9))


def many_chunks(file, name):
    """An array of 60,000 values each of which has a chunk of 1 MiB to itself."""
    if name in file:
        del file[name]
    dataset = file.create_dataset(
        name, (60_000, 1), "<f4", maxshape=(60_000, None), chunks=(1, 1 << 18), compression="gzip"
    )
    packed = zlib.compress(bytes(1 << 20), 9)
    for number in range(0, 60_000, 50):
        dataset.id.write_direct_chunk((number, 0), packed)


def endless_stream(file, name):
    """A chunk of 4 MiB whose deflated stream unpacks to 256 MiB: HDF5 unpacks it to its end."""
    dataset = made_again(file, name, maxshape=(None, None), chunks=(1024, 1024), compression="gzip")
    dataset.id.write_direct_chunk((0, 0), zlib.compress(bytes(1 << 28), 9))


def overlapping(file, name):
    """Two arrays of 1 MiB in the same bytes: the second one's address is changed to the first one's."""
    for number in range(2):
        file.create_dataset(f"more/{number}", data=np.full(1 << 18, number + 1, "<f4"))
    made_again(file, name)
    places = [file[f"more/{number}"].id.get_offset() for number in range(2)]
    file.attrs["places"] = places


def as_overlapping(path):
    """Point the second array at the first, and cut the file after it."""
    hdf5(path, functional(dense()), lambda file: overlapping(file, "model_weights/d/d/kernel"))
    with h5py.File(path) as file:
        first, second = (int(place) for place in file.attrs["places"])
    raw = path.read_bytes()
    raw = raw.replace(struct.pack("<Q", second), struct.pack("<Q", first))
    whole = len(raw)
    raw = raw[:second] if second > first else raw
    path.write_bytes(raw.replace(struct.pack("<Q", whole), struct.pack("<Q", len(raw))))
    return path


def honest(file, name):
    """Weights as other programs pack them: chunks beyond the edge, noise that deflate leaves as it is."""
    if name in file:
        del file[name]
    file.create_dataset(
        name, data=files.KERNEL, maxshape=(None, None), chunks=(3, 2), compression="gzip", shuffle=True, fletcher32=True
    )


both("a chunk of 256 MiB deflated twice", twice_deflated, "compressed twice by one filter: a bomb")
both("a chunk of 256 MiB", huge_chunk, r"declares 48 bytes in chunks of 268,435,456: a bomb")
both("60,000 chunks of 1 MiB", many_chunks, "a bomb")
both(
    "a stream of 256 MiB",
    endless_stream,
    r"unpacks to more than the 4,194,308 bytes that it has: a bomb",
    computes=True,
)
case(123, "two arrays in the same bytes", 6, "so they overlap: a bomb")(lambda folder: as_overlapping(folder / "m.h5"))
both("weights packed by other programs", honest, "", 0, computes=True)


# ------------------------------------------------------------------ 124: modules
TEST_MODULE = "keras.src.layers.convolutional.conv_test"
ELSEWHERE = "which Keras would import"
for module in (
    TEST_MODULE,
    "keras.src.layers.core.dense_test",
    "keras.src.utils.file_utils",
    "keras.utils",
    "keras.src",
):
    add(124, f"a Dense of {module}", 5, ELSEWHERE, functional(dense() | {"module": module}))
NAMED = {
    "kernel_initializer": ("GlorotUniform", {}),
    "kernel_regularizer": ("L2", {"l2": 0.01}),
    "kernel_constraint": ("MaxNorm", {}),
    "dtype": ("DTypePolicy", {"name": "float32"}),
    "activation": ("ReLU", {}),
}
for key, (kind, config) in NAMED.items():
    held = {"module": TEST_MODULE, "class_name": kind, "config": config, "registered_name": None}
    add(124, f"{key} of a test", 5, ELSEWHERE, functional(dense(**{key: held})))
called = {"module": "keras.src.activations.activations_test", "class_name": "function", "config": "relu"}
add(124, "a function of a test", 5, "only activation functions", functional(dense(activation=called)))
inner = files.alone("inner", "Dense", {"units": 3}) | {"module": TEST_MODULE}
add(124, "in a wrapper", 5, ELSEWHERE, functional(reading("d", "TimeDistributed", layer=inner), shape=(2, 4)))
for key, module in (("kernel_initializer", "keras.initializers"), ("kernel_regularizer", "keras.regularizers")):
    held = {"module": module, "class_name": NAMED[key][0], "config": NAMED[key][1], "registered_name": None}
    add(124, f"{key} of {module}", 0, "", functional(dense(**{key: held})), legacy=False)


# ------------------------------------------------------------------ 125: layers in places of functions
def held_layer(kind, **config):
    return {"module": "keras.layers", "class_name": kind, "config": config, "registered_name": None}


RANDOM = "where a function or a layer without weights was expected|where Keras keeps no layer"
for kind, config in (
    ("Dense", {"units": 3}),
    ("PReLU", {}),
    ("BatchNormalization", {}),
    ("Embedding", {"input_dim": 9, "output_dim": 2}),
):
    add(125, f"{kind} as activation of a Dense", 5, RANDOM, functional(dense(activation=held_layer(kind, **config))))
DEEPER = held_layer("Activation", activation=held_layer("Dense", units=3))
NORMAL = {"module": "keras.initializers", "class_name": "RandomNormal", "config": {}, "registered_name": None}
add(
    125,
    "Dense as Activation",
    5,
    RANDOM,
    functional(reading("d", "Activation", activation=held_layer("Dense", units=3))),
    weights={},
)
add(125, "Dense in an Activation in a Dense", 5, RANDOM, functional(dense(activation=DEEPER)))
add(125, "an initializer as activation", 5, RANDOM, functional(dense(activation=NORMAL)))
add(125, "a model as activation", 5, RANDOM, functional(dense(activation=functional(dense()))))
for key in ("recurrent_activation", "activation"):
    recurrent = reading("d", "LSTM", units=3, **{key: held_layer("Dense", units=3)})
    add(125, f"Dense as {key} of an LSTM", 5, RANDOM, functional(recurrent, shape=(2, 4)))
add(125, "Dense as regularizer", 5, RANDOM, functional(dense(activity_regularizer=held_layer("Dense", units=3))))
add(125, "Dense as merge_mode", 5, RANDOM, functional(dense(merge_mode=held_layer("Dense", units=3))))
CALLED = reading("d", "Activation", activation="relu")
CALLED["inbound_nodes"][0]["kwargs"] = {"mask": held_layer("Dense", units=3)}
add(125, "Dense as an argument of a call", 5, RANDOM, functional(CALLED))
for kind, config in (
    ("ReLU", {"max_value": 6.0}),
    ("LeakyReLU", {}),
    ("ELU", {}),
    ("Softmax", {}),
    ("Activation", {"activation": "relu"}),
):
    add(125, f"{kind} as activation", 0, "", functional(dense(activation=held_layer(kind, **config))), computes=True)

# ------------------------------------------------------------------ 126-127: what a configuration can hold
for kind in ("__numpy__", "__tensor__"):
    for dtype in ("<U500000000", "S2500000000", "V2500000000", "U400000000"):
        literal = {"class_name": kind, "config": {"value": ["a", "b"], "dtype": dtype}}
        add(126, f"a {kind} of {dtype}", 6, "holds an array of the dtype", functional(dense(bias_initializer=literal)))
add(
    126,
    "a __numpy__ of lists",
    4,
    "holds an array of the dtype",
    functional(dense(bias_initializer={"class_name": "__numpy__", "config": {"value": [1], "dtype": [["a", "<U9"]]}})),
)
CONSTANTS = {"class_name": "__numpy__", "config": {"value": [1.0, 2.0, 3.0], "dtype": "float32"}}
GIVEN = {
    "module": "keras.initializers",
    "class_name": "Constant",
    "config": {"value": CONSTANTS},
    "registered_name": None,
}
add(126, "a __numpy__ of three numbers", 0, "", functional(dense(bias_initializer=GIVEN)), computes=True, legacy=False)


def built_at_once(units):
    """A wrapped Dense whose `build_config` has Keras allocate a kernel before anything is known of the input."""
    inner = files.alone("inner", "Dense", {"units": 3, "kernel_initializer": "zeros"})
    inner["build_config"] = {"input_shape": [None, units]}
    return functional(reading("d", "TimeDistributed", layer=inner), shape=(2, 4))


WRAPPED = {"layers/time_distributed/layer/vars/0": files.KERNEL, "layers/time_distributed/layer/vars/1": files.BIAS}
add(
    126,
    "a wrapped layer of 6 GB in build_config",
    0,
    "",
    built_at_once(500_000_000),
    computes=True,
    weights=WRAPPED,
    legacy=False,
)
WIDE = json.dumps(functional(dense()))[:-1] + ', "x": [' + "{}," * 1_500_000 + "{}]}"
add(127, "three million values", 6, "values \\(limit", WIDE, legacy=False)
add(127, "as many lists", 6, "values \\(limit", WIDE.replace("{},", "[],"), legacy=False)
add(127, "300,000 values", 0, "", WIDE.replace("{}," * 1_400_000, ""), legacy=False)

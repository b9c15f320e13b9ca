"""Hostile and broken model files, made from nothing: no Keras, no randomness, nothing harmful.

The only thing that a payload here can do is create an empty file, the marker, whose path the
caller gives. What needs Keras or TensorFlow to be made is in `hostile_controls.py`.
"""

import base64
import io
import json
import marshal
import struct
import types
import warnings
import zipfile

import h5py
import numpy as np
from keras_configs import layer, model, node, source, tensor

METADATA = '{"keras_version": "3.15.1"}'
KERNEL = np.arange(12, dtype="<f4").reshape(4, 3)
BIAS = np.zeros(3, "<f4")
DENSE = {"layers/dense/vars/0": KERNEL, "layers/dense/vars/1": BIAS}


def functional(*layers, out=None, shape=(4,), dtype="float32"):
    """A Functional model of one input `in`, whose first layer reads it."""
    first = source("in", list(shape))
    first["config"]["dtype"] = dtype
    last = out or (layers[-1]["name"] if layers else "in")
    made = model("m", [first, *shaped(layers, [None, *shape])], ["in", 0, 0], [last, 0, 0])
    return made | {"module": "keras.src.models.functional", "registered_name": "Functional"}


def shaped(value, shape):
    """Give the tensors in nodes a shape: Keras asks for one, though it never looks at it."""
    if isinstance(value, dict):
        if value.get("class_name") == "__keras_tensor__":
            return {**value, "config": {**value["config"], "shape": value["config"]["shape"] or shape}}
        return {key: shaped(item, shape) for key, item in value.items()}
    return [shaped(item, shape) for item in value] if isinstance(value, (list, tuple)) else value


def reading(name, kind, given="in", **config):
    """A layer that is called on the output of another."""
    return layer(name, kind, [node(tensor(given))], **config)


def dense(name="d", given="in", **changes):
    return reading(name, "Dense", given, **({"units": 3, "activation": "linear"} | changes))


def stored(weights, fill=None):
    """The bytes of an HDF5 file with arrays by path, and what `fill` writes into it."""
    stream = io.BytesIO()
    with h5py.File(stream, "w") as file:
        file.create_group("layers")
        for name, values in weights.items():
            file[name] = values
        if fill is not None:
            fill(file)
    return stream.getvalue()


def keras(path, config, weights=DENSE, extra=(), compression=zipfile.ZIP_STORED):
    """A `.keras` archive; `weights` are arrays by path or the bytes of a whole file."""
    text = config if isinstance(config, (str, bytes)) else json.dumps(config)
    content = weights if isinstance(weights, bytes) else stored(weights)
    with warnings.catch_warnings(), zipfile.ZipFile(path, "w", compression) as archive:
        warnings.simplefilter("ignore")  # members of one name, on purpose
        archive.writestr("metadata.json", METADATA)
        archive.writestr("config.json", text)
        archive.writestr("model.weights.h5", content)
        for name, item in extra:
            archive.writestr(name, item)
    return path


def hdf5(path, config, fill=None):
    """An `.h5` model; `fill` writes what it likes after the weights of the layer ``d``."""
    with h5py.File(path, "w") as file:
        file.attrs["model_config"] = config if isinstance(config, (str, bytes)) else json.dumps(config)
        file.attrs["keras_version"] = "3.15.1"
        file.attrs["backend"] = "tensorflow"
        group = file.create_group("model_weights")
        group.attrs["layer_names"] = np.array([b"in", b"d"])
        inner = group.create_group("d")
        inner.attrs["weight_names"] = np.array([b"d/kernel", b"d/bias"])
        inner["d/kernel"] = KERNEL
        inner["d/bias"] = BIAS
        group.create_group("in").attrs["weight_names"] = np.array([], "S1")
        if fill is not None:
            fill(file)
    return path


def without_weights(path, config):
    """A `.keras` or `.h5` model of layers that have none."""
    if path.suffix == ".keras":
        return keras(path, config, {})

    def fill(file):
        del file["model_weights/d"], file["model_weights/in"]
        file["model_weights"].attrs["layer_names"] = np.array([], "S1")

    return hdf5(path, config, fill)


def unpacked(path, config):
    """The folder that a `.keras` archive was unpacked to."""
    path.mkdir()
    (path / "config.json").write_text(json.dumps(config))
    (path / "metadata.json").write_text(METADATA)
    (path / "model.weights.h5").write_bytes(stored(DENSE))
    return path


def long_attribute(path, config, spaces):
    """An `.h5` model whose configuration has megabytes of spaces in front."""
    with h5py.File(path, "w", libver="latest") as file:
        file.attrs["model_config"] = np.bytes_(b" " * spaces + json.dumps(config).encode())
    return path


# ------------------------------------------------------------------ archives
def with_member(path, name, content="x", *, alone=False):
    """A `.keras` archive with one member more, or with another content of one that it has."""
    members = {
        "metadata.json": METADATA.encode(),
        "config.json": json.dumps(functional(dense())).encode(),
        "model.weights.h5": stored(DENSE),
    }
    if alone:
        del members[name]
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for known, item in members.items():
            archive.writestr(known, item)
        placeholder = name.replace("\0", "0")  # zipfile cuts names at NUL
        archive.writestr(placeholder, content)
    raw = path.read_bytes()
    path.write_bytes(raw.replace(placeholder.encode(), name.encode()))
    return path


def patched_directory(path, name, **fields):
    """Change what the directory of an archive says about a member: flags, packed or whole size."""
    raw = bytearray(path.read_bytes())
    place = raw.rindex(name.encode()) - 46
    assert raw[place : place + 4] == b"PK\x01\x02"
    for field, value in fields.items():
        offset, form = {"flags": (8, "<H"), "packed": (20, "<I"), "whole": (24, "<I")}[field]
        struct.pack_into(form, raw, place + offset, value)
    path.write_bytes(raw)
    return path


def forged_members(path, count, whole, packed):
    """An archive whose directory lists many members of sizes that are not there."""
    keras(path, functional(dense()), extra=[(f"assets/{number:04}", "") for number in range(count)])
    raw = bytearray(path.read_bytes())
    place = raw.index(b"PK\x01\x02")
    while raw[place : place + 4] == b"PK\x01\x02":
        name_bytes, extra_bytes, comment_bytes = struct.unpack_from("<HHH", raw, place + 28)
        if raw[place + 46 : place + 53] == b"assets/":
            struct.pack_into("<H", raw, place + 10, zipfile.ZIP_DEFLATED)
            struct.pack_into("<II", raw, place + 20, packed, whole)
        place += 46 + name_bytes + extra_bytes + comment_bytes
    path.write_bytes(raw)
    return path


# ------------------------------------------------------------------ code
def touching(marker, given="x", result="x"):
    """A function that creates the marker and returns what it was given."""
    namespace = {}
    text = f"def touch({given}):\n    import pathlib\n    pathlib.Path({str(marker)!r}).touch()\n    return {result}\n"
    exec(text, namespace)
    code = namespace["touch"].__code__.replace(co_name="<lambda>")
    return types.FunctionType(code, namespace, "<lambda>", namespace["touch"].__defaults__)


def bytecode(function):
    """A function as Keras 3 writes a Lambda's."""
    code = base64.b64encode(marshal.dumps(function.__code__)).decode("ascii")
    defaults = list(function.__defaults__) if function.__defaults__ else None
    return {"class_name": "__lambda__", "config": {"code": code, "defaults": defaults, "closure": None}}


def evil_lambda(marker, where="function", name="lam", given="in"):
    """A Lambda whose function, or rule for shapes or masks, creates the marker."""
    plain = bytecode(lambda x: x)
    config = {"function": plain, "arguments": {}, "output_shape": [4]}
    if where == "function":
        config |= {"function": bytecode(touching(marker))}
    elif where == "output_shape":
        config |= {"output_shape": bytecode(touching(marker))}
    else:
        config |= {"mask": bytecode(touching(marker, "x, m=None", "m"))}
    return reading(name, "Lambda", given, **config)


def named_lambda(module, function, arguments=None, **inputs):
    """A Lambda that names a function by its module."""
    named = {"module": module, "class_name": "function", "config": function, "registered_name": function}
    made = reading("lam", "Lambda", function=named, arguments=arguments or {})
    if inputs:
        made["inbound_nodes"] = [{"args": [], "kwargs": inputs}]
    return made


def alone(name, kind, config):
    """A layer inside a wrapper: without calls."""
    return {"module": "keras.layers", "class_name": kind, "registered_name": None, "config": {"name": name, **config}}


def buried(marker, depth, how):
    """A Lambda inside `depth` nested models or wrappers."""
    if how == "model":
        inner = functional(evil_lambda(marker))
        for number in range(depth):
            inner = {**inner, "name": f"n{number}", "config": {**inner["config"], "name": f"n{number}"}}
            inner["inbound_nodes"] = [node(tensor("in"))]
            inner = functional(inner)
        return inner
    inside = evil_lambda(marker)
    inside = alone("lam", "Lambda", inside["config"])
    for number in range(depth):
        inside = alone(f"w{number}", how, {"layer": inside})
    return functional(
        {**inside, "name": inside["config"]["name"], "inbound_nodes": [node(tensor("in"))]}, shape=(2,) * depth + (4,)
    )


# ------------------------------------------------------------------ HDF5
def elsewhere(path, kind, secret, config=None):
    """An `.h5` model whose kernel lies somewhere else: in `secret`, 64 bytes, or beside it."""
    other = secret.with_name("other.h5")
    with h5py.File(other, "w") as file:
        file["x"] = np.arange(12, dtype="<f4").reshape(4, 3)

    def fill(file):
        group = file["model_weights/d/d"]
        if kind == "root group link":
            with h5py.File(other, "a") as target:
                file.copy("model_weights", target)
            del file["model_weights"]
            file["model_weights"] = h5py.ExternalLink(str(other), "/model_weights")
            return
        del group["kernel"]
        if kind == "external storage":
            group.create_dataset("kernel", (4, 3), "<f4", external=[(str(secret), 0, 48)])
        elif kind == "external link":
            group["kernel"] = h5py.ExternalLink(str(other), "/x")
        elif kind == "soft link":
            file["elsewhere"] = KERNEL
            group["kernel"] = h5py.SoftLink("/elsewhere")
        elif kind == "user link":
            group["kernel"] = h5py.ExternalLink(str(other), "/x")  # its class is changed below
        else:
            layout = h5py.VirtualLayout((4, 3), "<f4")
            layout[:] = h5py.VirtualSource(str(other), "x", (4, 3))
            group.create_virtual_dataset("kernel", layout)

    hdf5(path, config or functional(dense()), fill)
    return path if kind != "user link" else _as_user_link(path)


def _as_user_link(path):
    """Give an external link the class of a link whose meaning a program defines (65)."""
    raw = bytearray(path.read_bytes())
    place = raw.index(b"\x40" + bytes([len("kernel")]) + b"kernel")  # class 64, length and text of the name
    raw[place] = 65
    path.write_bytes(raw)
    return path


def as_archive(path, source_path):
    """Put what an `.h5` model holds under ``d/kernel`` into the weights of a `.keras` archive."""
    stream = io.BytesIO()
    with h5py.File(source_path) as given, h5py.File(stream, "w") as file:
        group = file.create_group("layers/dense/vars")
        group["1"] = BIAS
        where = given["model_weights/d/d"]
        link = where.get("kernel", getlink=True)
        if isinstance(link, h5py.HardLink):
            given.copy(where["kernel"], group, "0", expand_external=False)
        else:
            group["0"] = link
    return keras(path, functional(dense()), stream.getvalue())

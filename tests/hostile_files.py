"""Hostile and broken model files, made from nothing: no Keras, no randomness, nothing harmful.

The only thing that a payload here can do is create an empty file, the marker, whose path the
caller gives. What needs Keras or TensorFlow to be made is in `hostile_controls.py`.
"""

import base64
import io
import json
import marshal
import types
import warnings
import zipfile

import h5py
import numpy as np
from test_graph import layer, model, node, source, tensor

METADATA = '{"keras_version": "3.15.1"}'
KERNEL = np.arange(12, dtype="<f4").reshape(4, 3)
BIAS = np.zeros(3, "<f4")
DENSE = {"layers/dense/vars/0": KERNEL, "layers/dense/vars/1": BIAS}


def functional(*layers, out=None, shape=(4,), dtype="float32"):
    """A Functional model of one input `in`, whose first layer reads it."""
    first = source("in", list(shape))
    first["config"]["dtype"] = dtype
    last = out or (layers[-1]["name"] if layers else "in")
    return model("m", [first, *layers], ["in", 0, 0], [last, 0, 0])


def reading(name, kind, given="in", **config):
    """A layer that is called on the output of another."""
    return layer(name, kind, [node(tensor(given))], **config)


def dense(name="d", given="in", **changes):
    return reading(name, "Dense", given, **({"units": 3, "activation": "linear"} | changes))


def stored(weights):
    """The bytes of an HDF5 file with arrays by path."""
    stream = io.BytesIO()
    with h5py.File(stream, "w") as file:
        file.create_group("layers")
        for name, values in weights.items():
            file[name] = values
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
            group["kernel"] = h5py.SoftLink("user link")  # its type is patched below
        else:
            layout = h5py.VirtualLayout((4, 3), "<f4")
            layout[:] = h5py.VirtualSource(str(other), "x", (4, 3))
            group.create_virtual_dataset("kernel", layout)

    return hdf5(path, config or functional(dense()), fill)


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

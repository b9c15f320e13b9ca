"""Messages about files that are not models, with the next step where there is one."""

from __future__ import annotations

import re
import shlex
from typing import TYPE_CHECKING

from actviz.errors import escape
from actviz.gate import file_type

if TYPE_CHECKING:
    from collections.abc import Iterable

MODEL_FILES = "a model (.keras, .h5, .pb, .tflite, model.json of TensorFlow.js, or the folder of a SavedModel)"
CHECKPOINT = re.compile(r"\.(index|data-\d{5}-of-\d{5})$")
YAML = re.compile(rb"^(backend|class_name|keras_version): ", re.MULTILINE)
_HISTORY_WORD = re.compile(rb"[Hh]istory|loss")
_TABLE = re.compile(rb"(epoch[,;\t]|(.*[,;\t])?(val_)?loss([,;\t\r]|$))")


def not_a_model(name: str, head: bytes, size: int) -> str:
    """Return the message about a file that is not a model, which names its actual type."""
    if size == 0:
        return f"{name}: the file is empty; {MODEL_FILES} was expected."
    if file_type.is_lfs_pointer(head):
        return f"{name}: this is a Git LFS pointer, not the model; run git lfs pull and try again."
    if file_type.is_image(head) or file_type.kind_of(head) == "WAV":
        return f"{name}: this is an image, not a model; the model is the first argument and the inputs follow it."
    if head.startswith(file_type.NPY) and b"'|O" in head and _HISTORY_WORD.search(head):
        return _is_history(name, "a History saved with numpy.save")
    if head.startswith(file_type.NPY):
        return f"{name}: this is a NumPy array, not a model; the model is the first argument and the inputs follow it."
    if file_type.is_binary_pickle(head) and _HISTORY_WORD.search(head):
        return _is_history(name, "a pickled History") + " Nothing was unpickled."
    if file_type.is_binary_pickle(head):
        return f"{name}: this is a Python pickle, which is never opened; save the model with model.save(...)."
    if CHECKPOINT.search(name):
        return only_weights(name, "is a file of a TensorFlow checkpoint, which ")
    if is_onnx(name, head):
        return f"{name}: this is an ONNX model; convert it with: pip install onnx2tf, then onnx2tf -i {shlex.quote(name)}, which writes a SavedModel and .tflite files, and give one of these."
    return _not_a_model_text(name, head, size)


def only_weights(name: str, what: str) -> str:
    """Return the message about weights without a model, with the command that takes them."""
    return f"{name}: {what}has weights but no architecture: save with model.save(...), or give both: the model or its JSON (model.to_json()), and --weights {shlex.quote(CHECKPOINT.sub('', name))}."


def archive_without_model(name: str, members: Iterable[str]) -> str:
    """Return the message about an archive that is not a Keras model; `.task` files of MediaPipe hold TFLite models."""
    models = [escape(member, 60) for member in members if member.lower().endswith(".tflite")]
    if models:
        return f"{name}: this archive holds TFLite models ({', '.join(models[:4])}); unpack it with: unzip {shlex.quote(name)}, and give one of these."
    return f"{name}: this zip archive is no Keras model (it holds no config.json); save it with model.save(...)."


def is_onnx(name: str, head: bytes) -> bool:
    """Return True for an ONNX model: its version, the name of the library that wrote it, or the suffix."""
    return head[:1] == b"\x08" and (name.lower().endswith(".onnx") or (head[2:3] == b"\x12" and b"onnx" in head[:64]))


def is_yaml(head: bytes) -> bool:
    """Return True for the YAML of an architecture, as ``model.to_yaml()`` of Keras 1 and 2 wrote it."""
    return bool(YAML.search(head)) and _is_text(head)


def yaml_message(name: str) -> str:
    """Return the message about the YAML of an architecture, with the lines that convert it to JSON."""
    code = (
        "import json, yaml; yaml.SafeLoader.add_constructor('tag:yaml.org,2002:python/tuple',"
        " yaml.SafeLoader.construct_sequence); "
        f"json.dump(yaml.safe_load(open({name!r})), open('model.json', 'w'))"
    )
    return f"{name}: architectures in YAML are not read; convert this one with: python -c {shlex.quote(code)} (pip install pyyaml), and give model.json with --weights."


def _is_history(name: str, what: str) -> str:
    """Return the message about a file that holds a training history, which names the command for it."""
    return (
        f"{name}: this is {what}, the record of a training without its layers; draw its curves with:"
        f" actviz history {name}; the model itself is saved with model.save(...)."
    )


def _not_a_model_text(name: str, head: bytes, size: int) -> str:
    text = head.lstrip(b"\xef\xbb\xbf \t\r\n")
    if text.startswith(b"{") and (b'"loss"' in head or b'"accuracy"' in head or b'"epoch"' in head):
        return _is_history(name, "a History as JSON")
    first_line = text.split(b"\n", 1)[0]
    if _is_text(head) and _TABLE.match(first_line):
        return _is_history(name, "a table as CSVLogger writes it")
    if text.startswith((b"{", b'"{')) and b"class_name" in head:
        return f"{name}: this JSON holds an architecture but no weights; give them with --weights, or save the whole model with model.save(...)."
    if is_yaml(head):
        return yaml_message(name)
    kind = "no known model file" if b"\0" in head or not _is_text(head) else "a text file"
    first = escape(repr(head[:8])[2:-1], 60)
    return f"{name}: this is {kind} ({size:,} bytes, first bytes {first}); {MODEL_FILES} was expected."


def _is_text(head: bytes) -> bool:
    try:
        head[:-4].decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True

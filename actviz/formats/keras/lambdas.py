"""The function inside a Lambda layer, from the bytecode that the file holds.

Bytecode belongs to one Python: what another version wrote is refused before it runs, since
the interpreter does not check what it is given and may crash or compute something else.
"""

from __future__ import annotations

import binascii
import codecs
import dis
import marshal
import types
from typing import Any

from actviz.errors import ModelError, escape

LEGACY_PARTS = 3


def function_of(described: object, layer: str, file: str) -> types.FunctionType:
    """Return the function that a configuration of a Lambda describes.

    `described` is the Keras 3 form ``{"class_name": "__lambda__", "config": {"code",
    "defaults", "closure"}}`` or the older list of the three.

    Raises
    ------
    ModelError
        When there is no bytecode, or that of another Python.
    """
    parts: Any = described
    if isinstance(parts, dict):
        parts = parts.get("config", parts)
        parts = [parts.get(key) for key in ("code", "defaults", "closure")] if isinstance(parts, dict) else [parts]
        if isinstance(described, dict) and isinstance(described.get("config"), dict) and "value" in described["config"]:
            parts = described["config"]["value"]
    if not isinstance(parts, list) or not parts or not isinstance(parts[0], str):
        name = escape(str(parts[0] if isinstance(parts, list) and parts else parts), 80)
        message = f'{file}: layer "{layer}" is a Lambda of the function "{name}", whose code is not in the file; give it with --custom-objects file.py:{name}.'
        raise ModelError(message)
    text, defaults, closure = (*parts, None, None)[:LEGACY_PARTS]
    code = _code(text)
    if code is None:
        message = f'{file}: layer "{escape(layer, 80)}" is a Lambda with the bytecode of another Python, which cannot run here; give its function with --custom-objects file.py:{escape(layer, 80)}, or export the model to a SavedModel there.'
        raise ModelError(message)
    cells = None if closure is None else tuple(types.CellType(value) for value in closure)
    given = tuple(defaults) if isinstance(defaults, list) else defaults
    return types.FunctionType(code, _names(), code.co_name, given, cells)


def _code(text: str) -> types.CodeType | None:
    """Return the code object in a text, ``None`` where it is none of this Python."""
    try:
        raw = codecs.decode(text.encode("ascii"), "base64")
    except (UnicodeEncodeError, binascii.Error):
        raw = text.encode("raw_unicode_escape")
    try:
        code = marshal.loads(raw)  # noqa: S302  (only after --allow-code)
    except (ValueError, TypeError, EOFError, SystemError, MemoryError):
        return None
    return code if isinstance(code, types.CodeType) and _is_of_this_python(code, raw) else None


def _is_of_this_python(code: types.CodeType, raw: bytes) -> bool:
    """Return True if bytecode can be of this Python: its opcodes, caches and arguments fit.

    Nothing in the file says which Python wrote it. Each version numbers its opcodes and
    sizes their inline caches anew. An interpreter gives bytecode back with the caches
    emptied where it takes them to be: foreign ones come back changed.
    """
    instructions = list(dis.get_instructions(code))
    if code.co_code not in raw or not instructions or any(item.opname.startswith("<") for item in instructions):
        return False
    starts = "RESUME" in {item.opname for item in instructions}
    ends = instructions[-1].opname.startswith(("RETURN", "RERAISE", "RAISE", "JUMP", "INTERPRETER_EXIT"))
    inner = [constant for constant in code.co_consts if isinstance(constant, types.CodeType)]
    return (
        starts
        and ends
        and all(_fits(item, code) for item in instructions)
        and all(_is_of_this_python(constant, raw) for constant in inner)
    )


def _fits(item: dis.Instruction, code: types.CodeType) -> bool:
    """Return True if an instruction's argument is within the tables of its code."""
    if item.arg is None:
        return True
    if item.opcode in dis.hasconst:
        return item.arg < len(code.co_consts)
    if item.opname in {"LOAD_FAST", "STORE_FAST"}:
        return item.arg < len(code.co_varnames) + len(code.co_cellvars) + len(code.co_freevars)
    return True


def _names() -> dict[str, Any]:
    """Return what Lambdas use by custom without importing it."""
    import keras
    import numpy as np
    import tensorflow as tf

    return {
        "__builtins__": __builtins__,
        "K": keras.backend,
        "backend": keras.backend,
        "keras": keras,
        "layers": keras.layers,
        "np": np,
        "numpy": np,
        "ops": keras.ops,
        "tf": tf,
        "tensorflow": tf,
    }

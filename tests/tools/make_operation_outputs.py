"""Write `actviz/gate/operation_outputs.json` from the operations of the installed TensorFlow.

Run ``python tests/tools/make_operation_outputs.py`` after operations were added to `actviz.gate.operations`, or after a
new TensorFlow release; a test compares the table with the installed TensorFlow and says when to.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


def definitions() -> dict[str, Any]:
    """Return the definition of every operation, an ``OpDef``, by name."""
    from tensorflow.core.framework import op_def_pb2
    from tensorflow.python.client import pywrap_tf_session

    known = op_def_pb2.OpList()
    known.ParseFromString(pywrap_tf_session.TF_GetBuffer(pywrap_tf_session.TF_GetAllOpList()))
    return {operation.name: operation for operation in known.op}


def outputs() -> dict[str, dict[str, str]]:
    """Return the outputs of operations that have several; each with the attribute that holds its length, or ``""``."""
    from actviz.gate.operations import KEPT, PURE

    return {
        name: {output.name: output.number_attr or output.type_list_attr for output in operation.output_arg}
        for name, operation in sorted(definitions().items())
        if name in PURE | KEPT and len(operation.output_arg) > 1
    }


def render() -> str:
    """Return the table as JSON, sorted, with one operation per line."""
    import tensorflow as tf

    lines = [f"  {json.dumps(name)}: {json.dumps(found)}" for name, found in outputs().items()]
    joined = ",\n".join(lines)
    return f'{{\n "tensorflow_version": "{tf.__version__}",\n "outputs": {{\n{joined}\n }}\n}}\n'


if __name__ == "__main__":
    target = Path(__file__).parents[2] / "actviz" / "gate" / "operation_outputs.json"
    target.write_text(render(), encoding="utf-8")

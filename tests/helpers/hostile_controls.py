"""The same hostile files with the guard off: each must do its harm here, or its test proves nothing.

Run as ``python hostile_controls.py FILE FOLDER``: reads JSON ``{case id: [path, marker]}`` and
prints JSON ``{case id: whether the harm was done}``. All that can happen is that an empty file
appears beside the model, or that words and numbers of a file beside it are read.
"""

import contextlib
import json
import sys
from pathlib import Path

import hostile_files as files
import keras
import numpy as np
import tensorflow as tf

from actviz.errors import ActvizError
from actviz.formats import open_network
from actviz.gate import TrustPolicy

LONGEST = 8


def load(path):
    return keras.models.load_model(path, compile=False, safe_mode=False)


def run(path):
    """Load a model as Keras does when it is told to trust it, and call it."""
    loaded = load(path)
    loaded(np.zeros((1, *[axis or 1 for axis in loaded.inputs[0].shape[1:]]), "float32"))


def run_allowed(path):
    """Open a model with actviz when it is told to let the code run, and compute its layers."""
    with open_network(Path(path), trust=TrustPolicy(allow_code=True)) as network:
        shape = [axis or 1 for axis in network.inputs[0].shape[1:]]
        network.activations({network.inputs[0].name: np.zeros((1, *shape), "float32")})


def creates(marker, action, path):
    """Say whether an action creates the marker, which is not there before and not after."""
    marker = Path(marker)
    assert not marker.exists()
    failure = ""
    try:
        action(path)
    except Exception as raised:  # noqa: BLE001  (code may have run before Keras gave up)
        failure = str(raised)[:200]
    fired = marker.exists()
    marker.unlink(missing_ok=True)
    return fired or failure


def changes_epsilon(path):
    """Say whether loading, with Keras's own guard on, calls the function that the file names."""
    before = keras.config.epsilon()
    with contextlib.suppress(Exception):  # the call comes first
        keras.models.load_model(path, compile=False)
    changed = keras.config.epsilon() != before
    keras.config.set_epsilon(before)
    return changed


def reads_words(path):
    """Say whether Keras reads a vocabulary from the file that the model names."""
    try:
        words = load(path).get_layer("v").get_vocabulary()
    except Exception as raised:  # noqa: BLE001  (said by the test)
        return str(raised)[:200]
    return any("secret" in str(word) for word in words)


def saved_model(folder):
    """A TFSMLayer and the SavedModel that it names: what actviz says, and whether Keras runs it."""
    marker = folder / "marker"

    class Module(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec([None, 4], tf.float32)])
        def serve(self, x):
            with tf.control_dependencies([tf.io.write_file(str(marker), "")]):
                return tf.identity(x)

    module = Module()
    tf.saved_model.save(module, str(folder / "saved"), signatures={"serve": module.serve})
    made = files.reading("t", "TFSMLayer", filepath=str(folder / "saved"), call_endpoint="serve")
    path = files.keras(folder / "m.keras", files.functional(made), {})
    marker.unlink(missing_ok=True)
    try:
        open_network(path).close()
        code = 0
    except ActvizError as failure:
        code = failure.exit_code
    return {"code": code, "guarded": marker.exists(), "unguarded": creates(marker, run, path)}


def main():
    given = json.loads(Path(sys.argv[1]).read_text())
    found = {}
    for name, (path, marker) in given["marked"].items():
        found[name] = creates(marker, run, path)
        if name.startswith(("1-", "2-")):
            found[f"{name} allowed"] = creates(marker, run_allowed, path)
    found |= {name: changes_epsilon(path) for name, path in given["called"].items()}
    found |= {name: reads_words(path) for name, path in given["words"].items()}
    found |= {name: [layer.name for layer in load(path).layers] for name, path in given["names"].items()}
    found |= {name: load(path).layers[1].compiled for name, path in given["compiled"].items()}
    found["saved model"] = saved_model(Path(sys.argv[2]))
    print(json.dumps(found))


if __name__ == "__main__":
    main()

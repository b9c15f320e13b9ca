"""Open many model files in one lean process and say what became of each.

Run as ``python hostile_judge.py FILE``: reads JSON ``[[id, path, computes], ...]`` from the
file and prints a JSON object by id. Files that are only opened come first, so that it shows
whether TensorFlow was there when they were refused.
"""

import json
import resource
import sys
import time
import traceback
from pathlib import Path

import numpy as np

from actviz.addresses import select_layers_of
from actviz.errors import ActvizError
from actviz.formats import open_network

STEPS = 4
"""The size of axes that a model leaves open."""


def batch_of(network):
    """One sample of zeros, or of a word, for every input."""
    return {
        spec.name: np.full((1, *[axis or STEPS for axis in spec.shape[1:]]), "a", object)
        if spec.dtype == "string"
        else np.zeros((1, *[axis or STEPS for axis in spec.shape[1:]]), spec.dtype)
        for spec in network.inputs
    }


def peak_megabytes():
    """Peak memory of this process; what `getrusage` says begins with that of the parent at the fork."""
    status = Path("/proc/self/status")
    if status.exists():
        (peak,) = (line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(peak.split()[1]) >> 10
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 20  # bytes on macOS


def judge(path, *, computes):
    """Open one file, compute all of its layers if that is asked, else select the last one; return what happened."""
    network = None
    found = {"code": 0, "says": "", "layers": [], "notes": [], "values": {}, "compiled": False}
    start = time.process_time()
    try:
        network = open_network(Path(path))
        found["layers"] = [layer.address for layer in network.layers]
        if computes:
            import keras

            keras.Model.compile = lambda *_, **__: found.update(compiled=True)
            network.complete()
            size = sum(int(np.prod([axis or 1 for axis in spec.shape[1:]], dtype=object)) for spec in network.inputs)
            batch = batch_of(network) if size < 1 << 20 else {}
            computed = network.activations(batch)
            found["values"] = {address: item.values.ravel()[:4].tolist() for address, item in computed.items()}
        elif network.facts.refusals:
            select_layers_of(network.facts, ["-1"], path)
        network.check_unchanged()
        found["notes"] = network.notes
    except ActvizError as failure:
        found |= {"code": failure.exit_code, "says": failure.message}
    except BaseException:  # noqa: BLE001  (whatever escapes is the finding)
        found |= {"code": 70, "says": traceback.format_exc()}
    if network is not None:
        network.close()
    found["seconds"] = time.process_time() - start
    found["tensorflow"] = "tensorflow" in sys.modules or "keras" in sys.modules
    found["megabytes"] = peak_megabytes()
    return found


def main():
    items = json.loads(Path(sys.argv[1]).read_text())
    open_network(Path(sys.argv[2])).close()  # h5py is there: what is timed is the file
    found = {name: judge(path, computes=computes) for name, path, computes in sorted(items, key=lambda item: item[2])}
    print(json.dumps(found))


if __name__ == "__main__":
    main()

"""A byte and structure fuzzer of everything that reads a file, each target in a child process.

A child takes one seeded mutant after another: a mutant is made again from its target, seed
and number alone. What may come of one: it is read, or an `ActvizError` is raised. Anything
else is an escape: another exception, or seconds beyond the limit. A native parser may crash or
hang, as HDF5 does; those mutants are counted apart and must end the real command, which
parses in a worker, with exit code 6 and one line.
"""

from __future__ import annotations

import importlib
import io
import json
import os
import random
import select
import signal
import subprocess
import sys
import tempfile
import time
import traceback
import zipfile
import zlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import fuzzing_later as later

if TYPE_CHECKING:
    from collections.abc import Callable

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
DATA = ROOT / "tests" / "data"
SAMPLES = ROOT / "sample_models"
SILENCE = 20.0
START = 180.0
"""Seconds until the first mutant: TensorFlow takes 20 s and more to import on a busy machine."""
IMAGE_SECONDS = 10.0
"""CPU seconds of the command for an image of at most 4 million pixels; 0.1 s on an idle core."""
INTEGERS = (0, 1, -1, 127, 128, 255, 256, 2**15, 2**16 - 1, 2**31 - 1, 2**31, 2**32 - 1, 2**63 - 1, 2**64 - 1)
VALUES = (
    None, True, False, 0, -1, 1, 2, 3.5, 10**6, 10**12, 2**63, 2**70, 1e308, -0.0, "", "x", "float32", "../x", "é" * 9,
    "a" * 5000, "\u202e", "::error::", [], {}, [[]], [None], [1, 2, 3], {"a": 1}, {"class_name": "Dense", "config": {}},
    {"class_name": "Lambda", "config": {}}, {"class_name": "__tensor__"}, "relu", "softmax", "keras.layers", "os",
    [None, -1], [None, 10**9], {"class_name": "function", "config": "relu"}, {"class_name": "__lambda__"},
)  # fmt: skip


# ------------------------------------------------------------------ mutations
def mutated_bytes(chance: random.Random, content: bytes) -> bytes:
    """Change a few places of some bytes: bits, numbers, blocks, the length."""
    data = bytearray(content)
    for _ in range(chance.choice((1, 1, 1, 2, 4, 16))):
        if not data:
            return bytes(data)
        at, size = chance.randrange(len(data)), min(len(data), 1 << chance.randrange(10))
        act = chance.randrange(9)
        if act <= 2:
            data[at] ^= 1 << chance.randrange(8)
        elif act == 3:
            data[at] = chance.choice((0, 1, 0x7F, 0x80, 0xFF, 0x0A, 0x22))
        elif act == 4:
            width = chance.choice((1, 2, 4, 8))
            number = chance.choice(INTEGERS) % (1 << (8 * width))
            data[at : at + width] = number.to_bytes(width, chance.choice(("little", "big")))
        elif act == 5:
            del data[at : at + size]
        elif act == 6:
            other = chance.randrange(len(data))
            data[at:at] = data[other : other + size]
        elif act == 7:
            data[at:at] = chance.randbytes(min(size, 64))
        else:
            del data[at:]
    return bytes(data)


def mutated_value(chance: random.Random, value: object) -> object:
    """Change one to four places inside a JSON value."""
    value = json.loads(json.dumps(value))
    for _ in range(chance.choice((1, 1, 1, 2, 4))):
        places = list(_places(value))
        if not places:
            return chance.choice(VALUES)
        holder, key = chance.choice(places)
        act = chance.randrange(8)
        if act <= 3:
            holder[key] = json.loads(json.dumps(chance.choice(VALUES)))
        elif act == 4:
            del holder[key]
        elif act == 5:
            other, name = chance.choice(places)
            holder[key] = json.loads(json.dumps(other[name]))
        elif act == 6 and isinstance(holder, list):
            holder.insert(key, json.loads(json.dumps(holder[key])))
        elif isinstance(holder, dict):
            holder[chance.choice((key + "_", "config", "class_name", "name", "module"))] = holder.pop(key)
    return value


def _places(value: object):
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in list(items):
        yield value, key
        yield from _places(inner)


def mutated_text(chance: random.Random, content: bytes) -> bytes:
    """Change JSON by structure four times out of five, else by bytes."""
    if chance.randrange(5) == 0:
        return mutated_bytes(chance, content)
    return json.dumps(mutated_value(chance, json.loads(content))).encode()


def mutated_lines(chance: random.Random, content: bytes) -> bytes:
    """Change one record of a file that has one a line, else change it as a whole."""
    lines = content.split(b"\n")
    at = chance.randrange(len(lines))
    try:
        record = json.loads(lines[at].rstrip(b","))
    except ValueError:
        return mutated_text(chance, content)
    lines[at] = json.dumps(mutated_value(chance, record)).encode() + b"," * lines[at].endswith(b",")
    return b"\n".join(lines)


def mutated_figure(chance: random.Random, content: bytes) -> bytes:
    """Change what a figure says of itself, else its bytes."""
    at, end = content.find(b"{"), content.rfind(b"}") + 1
    if chance.randrange(3) == 0 or not 0 <= at < end:
        return mutated_bytes(chance, content)
    text = mutated_text(chance, content[at:end])
    head = content[:at]
    if content.startswith(b"\x89PNG"):
        head = content[:33] + (len(text) + 7).to_bytes(4, "big") + content[37:at]
    return head + text + content[end:]


def mutated_image(chance: random.Random, content: bytes) -> bytes:
    """Change the bytes of an image; in a PNG the sums are mostly made right again, else nothing behind them is read."""
    data = bytearray(mutated_bytes(chance, content))
    at = 8
    while data.startswith(b"\x89PNG") and chance.randrange(8) and at + 12 <= len(data):
        end = at + 8 + int.from_bytes(data[at : at + 4], "big")
        if end + 4 <= len(data):
            data[end : end + 4] = zlib.crc32(data[at + 4 : end]).to_bytes(4, "big")
        at = end + 4
    return bytes(data)


def mutated_any(chance: random.Random, content: bytes) -> bytes:
    """Change a manifest or a figure, whichever it is."""
    return (mutated_figure if content.startswith(b"\x89PNG") else mutated_lines)(chance, content)


def mutated_archive(chance: random.Random, content: bytes) -> bytes:
    """Change the configuration in a `.keras` archive and pack it again."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    members["config.json"] = mutated_text(chance, members["config.json"])
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for name, item in members.items():
            archive.writestr(name, item)
    return stream.getvalue()


def mutated_sums(chance: random.Random, content: bytes) -> bytes:
    """Change the content of an archive's members, their sums, sizes or number, or the HDF5 file in a stored one."""
    data = bytearray(content)
    for _ in range(chance.choice((1, 1, 2, 4))):
        end = data.rfind(b"PK\x05\x06")
        entries = [at for at in _found(data, b"PK\x01\x02") if at + 46 <= len(data)]
        if end < 0 or not entries:
            return mutated_bytes(chance, bytes(data))
        at, act = chance.choice(entries), chance.randrange(5)
        start = int.from_bytes(data[at + 42 : at + 46], "little")
        if act <= 1 and start + 40 < at:
            size = max(1, min(int.from_bytes(data[at + 20 : at + 24], "little"), at - start - 40))
            data[start + 40 + chance.randrange(size)] ^= 1 << chance.randrange(8)
        elif act == 2:
            data[at + 16 + chance.randrange(4)] ^= 1 << chance.randrange(8)  # the sum
        elif act == 3:
            field, width = chance.choice(((8, 2), (10, 2), (20, 4), (24, 4), (28, 2), (42, 4)))
            data[at + field : at + field + width] = (chance.choice(INTEGERS) % (1 << 8 * width)).to_bytes(
                width, "little"
            )
        else:
            field, width = chance.choice(((8, 2), (10, 2), (12, 4), (16, 4), (20, 2)))
            data[end + field : end + field + width] = (chance.choice(INTEGERS) % (1 << 8 * width)).to_bytes(
                width, "little"
            )
    return bytes(data)


def _found(data: bytearray, mark: bytes) -> list[int]:
    places, at = [], data.find(mark)
    while at >= 0:
        places.append(at)
        at = data.find(mark, at + 1)
    return places


# ------------------------------------------------------------------ targets
@dataclass(frozen=True)
class Target:
    """What is fuzzed: seeds to start from, how they are changed, and what reads the result."""

    seeds: Callable[[], list[bytes]]
    read: Callable[[Path], None]
    suffix: str
    mutate: Callable[[random.Random, bytes], bytes] = mutated_bytes
    native: bool = False


def _files(*patterns: str) -> list[bytes]:
    found = [path for pattern in patterns for root in (DATA, SAMPLES) for path in sorted(root.rglob(pattern))]
    assert found, patterns
    return [path.read_bytes() for path in found if path.stat().st_size < 400_000][:24]


def _archives() -> list[bytes]:
    return [content for content in _files("*.keras") if content.startswith(b"PK")]


def _open_model(path: Path) -> None:
    from actviz.formats import open_network

    with open_network(path) as network:
        _ = network.layers


def _compute(path: Path) -> None:
    """Open a model and compute its first and last layers on what is fed without an input."""
    import resource

    from actviz import formats
    from actviz.inputs import InputOptions, choose_preprocessing, default_sample

    resource.setrlimit(resource.RLIMIT_AS, (12 << 30, 12 << 30))
    with formats.open_network(path) as network:
        facts = network.complete()
        sample = default_sample(facts.inputs, choose_preprocessing(facts), InputOptions())
        ends = [network.layers[place].address for place in (1, -1) if len(network.layers) > 1]
        network.activations(sample.values, ends)


def _read_image(path: Path) -> None:
    """Decode an image as a command does: in the command where its work is bounded, else in the process for images."""
    import resource

    from actviz.inputs import InputOptions, choose_preprocessing, read_samples
    from actviz.records import ModelFacts, TensorSpec

    resource.setrlimit(resource.RLIMIT_AS, (4 << 30, 4 << 30))
    begun = time.process_time()
    for axes in (("batch", "row", "column", "channel"), ("batch", "step", "row", "column", "channel")):
        spec = TensorSpec("image", (None,) * (len(axes) - 1) + (3,), "float32", axes)
        facts = ModelFacts("m.h5", "h5", "keras", ("m",), (spec,), (), (), (), "")
        try:
            read_samples(path, (spec,), choose_preprocessing(facts), InputOptions(maximum_pixels=1 << 22))
        except Exception as failure:
            if not is_expected(failure):
                raise
    assert time.process_time() - begun < IMAGE_SECONDS


def _read_input(path: Path) -> None:
    from actviz.inputs import InputOptions, choose_preprocessing, read_samples
    from actviz.records import ModelFacts, TensorSpec

    axes = ("batch", "row", "column", "channel")
    for spec in (
        TensorSpec("image", (None, 28, 28, 3), "float32", axes),
        TensorSpec("tokens", (None, None), "int32", ("batch", "step"), limit=50),
        TensorSpec("text", (None, 1), "string", ("batch", "unit")),
    ):
        facts = ModelFacts("m.h5", "h5", "keras", ("m",), (spec,), (), (), (), "")
        try:
            read_samples(path, (spec,), choose_preprocessing(facts), InputOptions())
        except Exception as failure:
            if not is_expected(failure):
                raise


def _read_activations(path: Path) -> None:
    import actviz

    actviz.load(path)


def _read_history(path: Path) -> None:
    from actviz.history.history_files import read_run

    read_run(path)


def _choose_layers(path: Path) -> None:
    from actviz.addresses import select_layers
    from actviz.records import LayerInfo

    names = ("conv", "a/b", "a%2Fb", "enc#0/conv", "enc#1/conv", "lstm@0", "lstm@1", "1", "x y", "é")
    layers = [
        LayerInfo(name, name.rpartition("/")[2], place, "Conv2D", (None, 2), "float32", 0, ("batch", "unit"))
        for place, name in enumerate(names)
    ]
    select_layers(layers, [path.read_bytes().decode("utf-8", "replace")], "m.h5")


def _read_style(path: Path) -> None:
    from actviz.figures import color_scale, colors

    text = path.read_bytes().decode("utf-8", "replace")
    for parse in (color_scale.parse_scale, colors.table):
        try:
            parse(text)
        except Exception as failure:
            if not is_expected(failure):
                raise


def _arrays() -> list[bytes]:
    import numpy as np

    found = []
    for values in (np.zeros((28, 28, 3), "f4"), np.arange(9, dtype=">i2").reshape(3, 3), np.array(["a", "bc"])):
        stream = io.BytesIO()
        np.save(stream, values)
        found.append(stream.getvalue())
        stream = io.BytesIO()
        np.savez_compressed(stream, image=values, tokens=values)
        found.append(stream.getvalue())
    return found


def _saved() -> list[bytes]:
    return [item for item in _arrays() if item.startswith(b"PK")] + _files("a02_dense.expected.npz")


def _texts(*items: str) -> Callable[[], list[bytes]]:
    return lambda: [item.encode() for item in items]


TARGETS = {
    "archive": Target(lambda: _files("*.keras"), _open_model, ".keras"),
    "configuration": Target(_archives, _open_model, ".keras", mutated_archive, native=True),
    "architecture": Target(lambda: _files("a06_multi_io.json"), _open_model, ".json", mutated_text),
    "hdf5": Target(lambda: _files("*.h5"), _open_model, ".h5", native=True),
    "computing": Target(_archives, _compute, ".keras", mutated_archive, native=True),
    "sums": Target(_archives, _compute, ".keras", mutated_sums, native=True),
    "images": Target(later.images, _read_image, ".png", mutated_image),
    "arrays": Target(_arrays, _read_input, ".npz"),
    "lines": Target(
        _texts("1 2 3\n4 5 6\n", "0.5,1e3,-2\n1,2,3\n", "the cat\nsat on\n", "1;2;3\n4;5;6\n", "\ufeff1\t2\n"),
        _read_input,
        ".txt",
    ),
    "activations": Target(_saved, _read_activations, ".npz"),
    "history": Target(
        lambda: [*_files("*.history.json"), b"epoch,loss,val_loss\n0,1.5,1.4\n1,0.5,nan\n"], _read_history, ".json"
    ),
    "addresses": Target(
        _texts("conv", "a/b,enc#1/conv", "lstm@1", "2:5", "-1", "'**'", "@Conv*", "[a-c]*", "a%2Fb"),
        _choose_layers,
        ".txt",
    ),
    "manifest": Target(later.manifests, later.read_manifest, ".json", mutated_lines),
    "ranges": Target(lambda: later.manifests() + later.figures()[:1], later.read_ranges, ".json", mutated_any),
    "figures": Target(later.figures, later.read_figure, ".png", mutated_figure),
    "options": Target(later.options, later.read_options, ".toml"),
    "tflite": Target(lambda: _files("*.tflite"), _compute, ".tflite", native=True),
    "graphs": Target(later.graphs, _compute, ".pb", native=True),
    "saved": Target(later.members, later.open_member, ".bin"),
    "style": Target(_texts("filter", "layer", "0:1", "-1e3:2.5", "p1:99", "viridis", "inferno_r"), _read_style, ".txt"),
}


# ------------------------------------------------------------------ the child
def is_expected(failure: BaseException) -> bool:
    """Tell whether a failure is one that actviz means to raise, with a message of one line."""
    from actviz.errors import ActvizError

    return isinstance(failure, ActvizError) and "\n" not in failure.message and bool(failure.message)


def mutant(name: str, seed: int, number: int) -> bytes:
    """Make one mutant again."""
    target = TARGETS[name]
    chance = random.Random(f"{name} {seed} {number}")
    return target.mutate(chance, chance.choice(_seeds(name)))


_SEEDS: dict[str, list[bytes]] = {}


def _seeds(name: str) -> list[bytes]:
    if name not in _SEEDS:
        _SEEDS[name] = TARGETS[name].seeds()
    return _SEEDS[name]


def child(name: str, seed: int, first: int, count: int) -> None:
    """Read mutants and print a line for each: its number before, what escaped after."""
    target = TARGETS[name]
    if target.read is _compute:
        importlib.import_module("tensorflow")  # its import is not the first mutant's silence
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"mutant{target.suffix}"
        for number in range(first, first + count):
            path.write_bytes(mutant(name, seed, number))
            print(json.dumps({"number": number}), flush=True)
            try:
                target.read(path)
            except MemoryError:
                pass  # the worker says so: exit 6
            except Exception as failure:  # noqa: BLE001  (that is what is looked for)
                if not is_expected(failure):
                    print(json.dumps({"escape": number, "what": traceback.format_exc()[-3000:]}), flush=True)
    print(json.dumps({"done": True}), flush=True)


# ------------------------------------------------------------------ the parent
@dataclass
class Result:
    """What came of the mutants of one target; numbers make each again."""

    target: str
    seed: int
    read: int = 0
    escapes: dict[int, str] = field(default_factory=dict)
    died: dict[int, str] = field(default_factory=dict)


def fuzz(name: str, seed: int, count: int, seconds: float = float("inf")) -> Result:
    """Try mutants of one target, a new child after each death, until one of the limits."""
    result = Result(name, seed)
    end = time.monotonic() + seconds
    first = 0
    while first < count and time.monotonic() < end:
        first = _one_child(result, first, count, end)
    result.read = first
    return result


def _one_child(result: Result, first: int, count: int, end: float) -> int:
    """Run one child and return the number of the next mutant to try."""
    command = [
        sys.executable,
        "-P",
        str(Path(__file__)),
        result.target,
        str(result.seed),
        str(first),
        str(count - first),
    ]
    environment = {
        **os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "KERAS_BACKEND": "tensorflow", "CUDA_VISIBLE_DEVICES": "-1",
        "PYTHONPATH": os.pathsep.join([str(ROOT), str(HERE)]), "HDF5_PLUGIN_PRELOAD": "::",
    }  # fmt: skip
    running = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environment)
    current, buffered = first - 1, b""
    assert running.stdout is not None
    try:
        while time.monotonic() < end:
            silence = START if current < first else SILENCE
            ready, _, _ = select.select([running.stdout], [], [], silence)
            if not ready:
                result.died[current] = f"silent for {silence:g} s"
                return current + 1
            chunk = os.read(running.stdout.fileno(), 1 << 16)
            if not chunk:
                code = running.wait()
                result.died[current] = signal.Signals(-code).name if code < 0 else f"exit {code}"
                return max(current, first) + 1
            *lines, buffered = (buffered + chunk).split(b"\n")
            for line in map(json.loads, lines):
                current = line.get("number", current)
                if "escape" in line:
                    result.escapes[line["escape"]] = line["what"]
                if "done" in line:
                    return count
        return current + 1
    finally:
        running.kill()
        running.wait()
        running.stdout.close()


if __name__ == "__main__":
    child(sys.argv[1], *map(int, sys.argv[2:]))

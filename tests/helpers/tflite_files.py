"""Real `.tflite` files, and what their models computed before they were converted."""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import unquote

import corpus
import numpy as np
from late_imports import tflite_schema

from actviz.errors import ActvizError
from actviz.formats import open_network
from actviz.formats.tflite import tflite_interpreter
from actviz.records import GraphSelection

DATA = corpus.DATA / "tflite"
FORMATS = frozenset({"tflite-f32", "tflite-f16", "tflite-int8"})
PART = corpus.files(DATA, FORMATS)
WHOLE = corpus.files(corpus.CORPUS, FORMATS)
SIGNATURES = sorted((DATA / "signatures").glob("*.tflite"))
SAMPLES = 2
ROUNDING = 0.08  # of the largest value, for whole numbers


@dataclass(frozen=True)
class Outcome:
    """What became of a file: layers right, wrong, gone for a reason that is said, and lost without one."""

    path: object
    right: tuple[str, ...] = ()
    wrong: tuple[str, ...] = ()
    gone: tuple[str, ...] = ()
    lost: tuple[str, ...] = ()
    refused: str = ""


def name_of(path):
    return f"{path.parent.name}/{path.name}"


def truth(path):
    """Return the inputs and the activations of a file's model, some samples of each."""
    with np.load(corpus.expected(path)) as stored:
        held = {key: stored[key][:SAMPLES] for key in stored.files}
    inputs = {key.split(":", 2)[2]: values for key, values in held.items() if key.startswith("in:")}
    return inputs, {key[4:]: values for key, values in held.items() if key.startswith("act:")}


def fed(inputs, network):
    """Return inputs under the names that the file has for them."""
    names = [spec.name for spec in network.inputs]
    return inputs if set(names) == set(inputs) else dict(zip(names, inputs.values(), strict=True))


def check(path):
    """Open a file, compute every layer, and compare."""
    inputs, wanted = truth(path)
    try:
        with open_network(path) as network:
            found = {unquote(name): item.values for name, item in network.activations(fed(inputs, network)).items()}
            gone = {unquote(name) for name in network.facts.removed_layers}
            ends = {unquote(layer.address): ends_of(network, layer.address) for layer in network.layers}
    except ActvizError as failure:
        return Outcome(path, refused=failure.message)
    traces = re.split(rb"[^\w.-]+", path.read_bytes())
    right = [name for name, values in wanted.items() if name in found and close(path, found[name], values, ends[name])]
    missing = [name for name in wanted if name not in found]
    return Outcome(
        path,
        tuple(right),
        tuple(name for name in wanted if name in found and name not in right),
        tuple(name for name in missing if name in gone),
        tuple(name for name in missing if name not in gone and has_trace(name, traces)),
    )


def has_trace(name, traces):
    """Tell whether the name of a layer, as Keras or its exporter writes it, stands anywhere in the file."""
    last = re.sub(r"#\d+", "", name.rpartition("/")[2]).encode()
    return any(re.fullmatch(rb"%s(_\d+)?" % re.escape(last), trace) for trace in traces)


def ends_of(network, address):
    """Return the lowest and highest number that a file can hold for a layer."""
    tensor = network._model.graph.tensors[network._named[address].tensor]
    source = network._description._sources.get(network._named[address].tensor)
    tensor = tensor if source is None else network._model.graph.tensors[source]
    if tensor.quantization is None:
        return -np.inf, np.inf
    limits = np.iinfo(tensor.dtype)
    (scale,), (zero,) = tensor.quantization.scales, tensor.quantization.zeros
    return (limits.min - zero) * scale, (limits.max - zero) * scale


def close(path, values, correct, ends):
    """Tell whether values are right; beyond the ends of whole numbers only the end can be."""
    if values.shape != correct.shape:
        return False
    if correct.dtype.kind not in "fiub":
        return True
    first, second = values.astype(float), correct.astype(float)
    if "int8" in path.name:
        errors = np.abs(first - np.clip(second, *ends))
        return bool(np.all(errors <= ROUNDING * np.abs(second).max(initial=1e-9)))
    tolerance = corpus.HALF_TOLERANCE if "f16" in path.name else corpus.TOLERANCE
    return bool(np.all(np.abs(first - second) < tolerance + tolerance * np.abs(second)))


def signature_differences(path, samples=8):
    """Return for each signature the largest difference of an output from what the interpreter's runner computes."""
    random = np.random.default_rng(1)
    interpreter = tflite_interpreter._interpreter()[0](str(path))
    differences = {}
    for name in interpreter.get_signature_list():
        runner = interpreter.get_signature_runner(name)
        with open_network(path, choice=GraphSelection(name)) as network:
            addresses = {item.name: item.address for item in network._named.values()}
            batch = {
                item: random.normal(size=(samples, *fact["shape"][1:])).astype(fact["dtype"])
                for item, fact in runner.get_input_details().items()
            }
            assert {spec.name for spec in network.inputs} == set(batch)
            found = network.activations(batch)
        for sample in range(samples):
            expected = runner(**{item: values[sample : sample + 1] for item, values in batch.items()})
            for item, values in expected.items():
                ours = found[addresses[item]].values[sample : sample + 1]
                assert ours.shape == values.shape
                error = float(np.abs(ours - values).max())
                differences[name, item] = max(error, differences.get((name, item), 0.0))
    return differences


def relu_chain(count):
    """Return the content of a `.tflite` file of ReLU operators in a row on a tensor of shape (1, 4)."""
    import flatbuffers

    schema = tflite_schema()

    code = schema.OperatorCodeT()
    code.builtinCode = code.deprecatedBuiltinCode = schema.BuiltinOperator.RELU
    graph, model = schema.SubGraphT(), schema.ModelT()
    graph.tensors, graph.operators = [], []
    for number in range(count + 1):
        tensor = schema.TensorT()
        tensor.shape, tensor.name = [1, 4], f"r{number}".encode()
        graph.tensors.append(tensor)
        if number:
            operator = schema.OperatorT()
            operator.inputs, operator.outputs = [number - 1], [number]
            graph.operators.append(operator)
    graph.inputs, graph.outputs = [0], [count]
    model.version, model.operatorCodes, model.buffers, model.subgraphs = 3, [code], [schema.BufferT()], [graph]
    builder = flatbuffers.Builder(1 << 16)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())

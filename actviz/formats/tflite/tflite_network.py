"""A `.tflite` file as a `Network`."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

import numpy as np

from actviz.errors import InputError, LimitError, ModelChangedError, ModelError, escape
from actviz.formats.axes import DEFAULT_AXES
from actviz.formats.left_out import left_out_note, without_refused
from actviz.formats.network_protocol import FileNetwork, check_inputs
from actviz.formats.per_sample import State, random_note, sample_seed
from actviz.formats.tflite import tflite_interpreter
from actviz.formats.tflite.layer_facts import TABLES, TensorFacts
from actviz.formats.tflite.layer_names import name_tensors
from actviz.formats.tflite.tensor_origins import BIAS_INPUT
from actviz.formats.tflite.tflite_arithmetic import input_operations
from actviz.formats.tflite.truncate import needed_operators
from actviz.gate.tflite import MAXIMUM_FILE_BYTES, RANDOM, check_sizes, custom_refusal, read_tflite
from actviz.gate.tflite_metadata import read_labels
from actviz.gate.tflite_signatures import SERVING
from actviz.records import FORWARD, Activation, Kernel, LayerInfo, ModelFacts, SignatureInfo, TensorSpec
from actviz.system.file_system import open_regular, stamp

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from actviz.errors import UnsafeError
    from actviz.formats.tflite.layer_names import NamedTensor
    from actviz.formats.tflite.tflite_interpreter import TFLiteRunner
    from actviz.gate.tflite import TFLiteOperator
    from actviz.records import Shape


# Operators that read float activations and whole weights, as dynamic-range quantization makes them.
HYBRID = frozenset(BIAS_INPUT) | {"UNIDIRECTIONAL_SEQUENCE_LSTM", "BATCH_MATMUL", "SVDF"}


FINAL = {"SOFTMAX": "softmax", "LOGISTIC": "sigmoid"}
"""Operators that scores are taken before."""


class TFLiteNetwork(FileNetwork):
    """A converted model: operators and the tensors between them.

    Opening reads and checks the whole file. The interpreter is loaded when activations are
    requested, and only the operators that these depend on are run. `signature` is the name of the one
    that is used, by default that of the first graph.
    """

    def __init__(self, path: Path, signature: str | None = None, *, strict: bool = False) -> None:
        self._name = path.name
        self._notes: list[str] = []
        self._file, self._stamp = open_regular(path, ModelError, "model")
        try:
            if self._stamp.size > MAXIMUM_FILE_BYTES:
                message = f"{self._name}: {self._stamp.size:,} bytes, at most {MAXIMUM_FILE_BYTES:,} are read."
                raise LimitError(message)
            self._content = self._file.read(self._stamp.size + 1)
            self.check_unchanged()
            self._model = read_tflite(self._content, self._name, signature)
            self._refused = self._find_refused()
            if strict:
                self._check_run(self._model.graph.operators)
            if signature is None:
                self._note_signatures()
            self._naming = name_tensors(self._model)
            self._description = TensorFacts(self._model, self._naming, self._content)
            self._named = {item.address: item for item in self._naming.tensors}
            self._input_names = {item.tensor: item.name for item in self._naming.tensors if item.operator is None}
            self._facts = self._make_facts()
            note = left_out_note(self._facts, self._facts.missing, "convert the model to TFLite's builtin operators")
            self._notes += [note] if note else []
        except BaseException:
            self._file.close()
            raise
        self._runner: tuple[tuple[int, ...], TFLiteRunner, str] | None = None

    def _find_refused(self) -> dict[int, UnsafeError]:
        """Return the error for each tensor that an operator which never runs gives, or that depends on one."""
        refused: dict[int, UnsafeError] = {}
        for operator in self._model.graph.operators:
            error = next((refused[number] for number in operator.inputs if number in refused), None)
            if error is None and operator.custom:
                error = custom_refusal(operator, self._name)
            if error is not None:
                refused |= dict.fromkeys(operator.outputs, error)
        return refused

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    @property
    def notes(self) -> list[str]:
        """Notes about the metadata and operators read so far, each once."""
        damaged = f"{self._name}: its metadata are damaged and were left out."
        return [*self._notes, *([damaged] if self._model.metadata.damaged else [])]

    def check_unchanged(self) -> None:
        """Raise ModelChangedError if the file was modified since it was opened."""
        if stamp(self._file) != self._stamp or len(self._content) != self._stamp.size:
            raise ModelChangedError(self._name)

    @property
    def facts(self) -> ModelFacts:
        """The facts, without the interpreter."""
        return self._facts

    def complete(self, shapes: Mapping[str, Shape] | None = None) -> ModelFacts:
        """Return the facts: a file of this format has all that is known without running it."""
        del shapes
        return self._facts

    def prepare(self) -> None:
        """Import the interpreter."""
        tflite_interpreter.prepare()

    def activations(
        self,
        batch: Mapping[str, NDArray[Any]],
        addresses: Sequence[str] | None = None,
        *,
        separate: bool = False,
        state: State = "file",
    ) -> dict[str, Activation]:
        """Compute the outputs of some layers for a batch.

        See `actviz.formats.network_protocol.Network.activations`. Samples always run one by one: many
        graphs are made for one, and some for a fixed number, which then gets copies.
        """
        del separate
        computed = [layer.address for layer in self._facts.layers]
        chosen = [self._named[address] for address in (computed if addresses is None else addresses)]
        inputs = self._input_names
        needed = frozenset().union(*(self._description.needs[item.tensor] for item in chosen))
        check_inputs(self._name, (name for number, name in inputs.items() if number in needed), batch)
        runner, digest = self._runner_for(chosen)
        count = max((len(batch[name]) for name in inputs.values() if name in batch), default=1)
        parts: dict[str, list[NDArray[Any]]] = {item.address: [] for item in chosen}
        for sample in range(count):
            fed = {number: self._input_values(batch, name, number, sample) for number, name in inputs.items()}
            given = {number: values for number, values in fed.items() if values is not None}
            keep = state == "next" or (state == "first" and sample > 0)
            seed = sample_seed({self._input_names[number]: values for number, values in given.items()})
            found = runner.run(given, seed, keep=keep)
            found |= {
                number: tflite_interpreter.from_stored(values, self._model.graph.tensors[number])
                for number, values in fed.items()
                if values is not None
            }
            for item in chosen:
                parts[item.address].append(self._of_sample(found[item.tensor], item.tensor))
        return {item.address: self._activation(item, parts[item.address], digest) for item in chosen}

    def before_final(self, target: str) -> tuple[str, str]:
        """Return the address of what a final softmax or sigmoid reads; see `FileNetwork.before_final`."""
        number = self._named[target].operator
        operator = self._model.graph.operators[number] if number is not None else None
        if operator is None or operator.kind not in FINAL:
            return target, ""
        before = (item.address for item in self._naming.tensors if item.tensor == operator.inputs[0])
        return next(((address, FINAL[operator.kind]) for address in before), (target, ""))

    def kernels(self, address: str) -> tuple[Kernel, ...]:
        """Return the kernels or tables of a layer in real units; see `actviz.formats.network_protocol.Network.kernels`."""
        return self._description.kernels(self._named[address])

    def _runner_for(self, chosen: Sequence[NamedTensor]) -> tuple[TFLiteRunner, str]:
        """Return the runner of some tensors, and the SHA-256 of the weights that it reads."""
        made = tuple(dict.fromkeys(item.tensor for item in chosen if item.operator is not None))
        wanted = made or self._computed_outputs()
        if self._runner is None or self._runner[0] != wanted:
            graph = self._model.graph
            kept = needed_operators(graph, wanted)
            # A graph without any needed operator is not cut.
            self._check_run([graph.operators[place] for place in kept] or graph.operators)
            computed = {number for place in kept for number in graph.operators[place].outputs}
            check_sizes((graph.tensors[number] for number in computed), self._name)
            read = {number for place in kept for number in graph.operators[place].inputs if number >= 0}
            runner = tflite_interpreter.TFLiteRunner(self._model, self._content, kept, wanted, self._name)
            self._note_random(kept)
            self._note_hybrid(kept)
            self._runner = (wanted, runner, self._digest_of(sorted(read)))
        return self._runner[1], self._runner[2]

    def _check_run(self, operators: Sequence[TFLiteOperator]) -> None:
        """Raise UnsafeError for operators that are not TFLite's own."""
        for operator in operators:
            if operator.custom:
                raise custom_refusal(operator, self._name)

    def _computed_outputs(self) -> tuple[int, ...]:
        """Return the outputs of the graph or, where operators that never run give them, any tensors that can be computed."""
        outputs = tuple(number for number in self._model.graph.outputs if number not in self._refused)
        operators = (operator for operator in self._model.graph.operators if operator.outputs)
        first = next((item.outputs[:1] for item in operators if item.outputs[0] not in self._refused), ())
        if not outputs and not first and self._refused:
            raise next(iter(self._refused.values()))
        return outputs or first

    def _note_signatures(self) -> None:
        """Add a note with the signatures to choose from, where the file does not say which is the one for serving."""
        names = [escape(item.name, 60) for item in self._model.signatures if item.name != self._model.signature]
        if names and self._model.signature != SERVING:
            used = f'signature "{escape(self._model.signature, 60)}"' if self._model.signature else "the first graph"
            self._notes.append(f"{self._name}: {used} is used; choose another with --signature: {', '.join(names)}.")

    def _note_hybrid(self, kept: Sequence[int]) -> None:
        """Add a note with the kernels for integer weights and float activations, because other kernels round differently."""
        tensors = self._model.graph.tensors
        hybrid = [
            operator
            for operator in (self._model.graph.operators[place] for place in kept)
            if operator.kind in HYBRID
            and operator.inputs
            and tensors[operator.inputs[0]].dtype == "float32"
            and any(
                number >= 0 and tensors[number].constant and tensors[number].dtype == "int8"
                for number in operator.inputs[1:]
            )
        ]
        if hybrid:
            note = f"{self._name}: dynamic-range quantised (float activations, int8 weights); computed by {tflite_interpreter.kernels()}. Other kernels give slightly different numbers."
            if note not in self._notes:
                self._notes.append(note)

    def _note_random(self, kept: Sequence[int]) -> None:
        """Add a note about the operators that draw random numbers, including those in called graphs."""
        graph = self._model.graph
        found = [(graph.tensors, graph.operators[place]) for place in kept]
        found += [(other.tensors, operator) for other in self._model.others for operator in other.operators]
        random = [(tensors, operator) for tensors, operator in found if operator.kind in RANDOM]
        named = [
            (tensors[operator.outputs[0]].name if operator.outputs else "", operator.kind, operator.seeded)
            for tensors, operator in random
        ]
        drawn = [(name, kind) for name, kind, seeded in named if not seeded]
        fixed = [(name, kind) for name, kind, seeded in named if seeded]
        self._notes += [note for note in random_note(self._name, drawn, fixed) if note not in self._notes]

    def _digest_of(self, numbers: Sequence[int]) -> str:
        total = hashlib.sha256()
        for number in numbers:
            tensor = self._model.graph.tensors[number]
            if tensor.constant:
                total.update(f"{tensor.name}{tensor.dtype}{tensor.shape}".encode("utf-8", "surrogatepass"))
                total.update(memoryview(self._content)[tensor.start : tensor.start + tensor.length])
        return total.hexdigest()

    def _input_values(
        self, batch: Mapping[str, NDArray[Any]], name: str, number: int, sample: int
    ) -> NDArray[Any] | None:
        """Return one sample as stored in the graph; zeros for an input that the layers do not depend on."""
        tensor = self._model.graph.tensors[number]
        if name not in batch:
            if tensor.dtype == "string" or tensor.shape is None:
                return None
            return np.zeros(tensor.shape, tensor.dtype)
        values = tflite_interpreter.to_stored(batch[name][sample : sample + 1], tensor)
        if not self._description.has_batch(number):
            return np.asarray(values[0])
        return np.repeat(values, self._description.batch, axis=0)

    def _of_sample(self, values: NDArray[Any], number: int) -> NDArray[Any]:
        """Return the values of one sample, ``(1, ...)``."""
        batch = self._description.batch
        dynamic = self._model.graph.tensors[number].shape is None
        whole = (dynamic or self._description.has_batch(number)) and values.ndim and len(values) == batch
        return values[:1] if whole else values[None]

    def _activation(self, item: NamedTensor, parts: Sequence[NDArray[Any]], digest: str) -> Activation:
        if len({part.shape for part in parts}) > 1:
            message = f'{self._name}: "{escape(item.address, 80)}" has another shape for each input; give one input at a time.'
            raise InputError(message)
        values = np.concatenate(parts)
        axes = self._description.axes[item.tensor]
        if len(axes) != values.ndim:
            axes = DEFAULT_AXES.get(values.ndim, ("batch", *(f"axis{place}" for place in range(1, values.ndim))))
        signed = self._description.signed.get(item.tensor)
        order = self._description.step_order(item.tensor) if "step" in axes else FORWARD
        kind, bounds = self._description.kind(item), self._description.bounds.get(item.tensor)
        return Activation(item.address, kind, values, axes, signed, digest, bounds=bounds, step_order=order)

    def _make_facts(self) -> ModelFacts:
        model = self._model
        specs = tuple(self._spec(number) for number in model.graph.inputs)
        operations = input_operations(model, self._description, dict(zip(model.graph.inputs, specs, strict=True)))
        layers = tuple(self._layer(item) for item in self._naming.tensors)
        custom = tuple(dict.fromkeys(escape(item.custom, 80) for item in model.graph.operators if item.custom))
        facts = ModelFacts(
            file=self._name,
            format="tflite",
            writer=f"a TFLite converter ({escape(model.description.rstrip('.'), 40)})"
            if model.description
            else "a TFLite converter",
            names=self._naming.models,
            inputs=specs,
            layers=layers,
            operations=tuple(operations),
            code=custom,
            digest=self._configuration_digest(),
            removed_layers=self._naming.removed,
            labels=self._labels(layers),
            missing=custom,
            signatures=tuple(
                SignatureInfo(
                    item.name, tuple(item.inputs.values()), tuple(item.outputs.values()), item.name == model.signature
                )
                for item in model.signatures
            ),
        )
        tensors = {item.address: item.tensor for item in self._naming.tensors}
        return without_refused(
            facts, {name: self._refused[number] for name, number in tensors.items() if number in self._refused}
        )

    def _labels(self, layers: Sequence[LayerInfo]) -> tuple[str, ...]:
        """Return the class names that the metadata assign to the only output with names.

        Empty if an earlier layer has as many units, because it would be labelled too.
        """
        files = {item.labels for item in self._model.metadata.outputs if item.labels}
        if len(files) != 1:
            return ()
        label_file = files.pop()
        labels = read_labels(self._content, self._name, label_file)
        if labels is None:
            self._notes.append(
                f'{self._name}: its class names ("{escape(label_file, 80)}" in the archive behind the model) cannot be read and were left out.'
            )
            return ()
        fits = [layer.axes[-1:] == ("unit",) and layer.shape and layer.shape[-1] == len(labels) for layer in layers]
        return labels if any(fits) and all(fits[fits.index(True) :]) else ()

    def _configuration_digest(self) -> str:
        """Return the SHA-256 of everything in the file but its constants."""
        total = hashlib.sha256()
        place = 0
        spans = sorted({(tensor.start, tensor.length) for tensor in self._model.graph.tensors if tensor.constant})
        for start, length in spans:
            if start > place:
                total.update(memoryview(self._content)[place:start])
            place = max(place, start + length)
        total.update(memoryview(self._content)[place:])
        if self._model.main:
            total.update(str(self._model.signature).encode("utf-8", "surrogatepass"))
        return total.hexdigest()

    def _spec(self, number: int) -> TensorSpec:
        tensor = self._model.graph.tensors[number]
        limit = None
        for operator in self._description.readers(number):
            places, table = TABLES.get(operator.kind, (0, -1))
            if (
                table >= 0
                and operator.inputs[places] not in self._model.graph.inputs
                and not tensor.dtype.startswith("int")
            ):
                continue
            found = self._description.constant(operator.inputs[table]) if table >= 0 else None
            if found is not None and found.shape and found.quantization is None:
                limit = min(limit or found.shape[0], found.shape[0])
        axes = self._description.axes[number]
        return TensorSpec(
            self._input_names[number],
            self._description.shape(number) or (),
            tflite_interpreter.real_dtype(tensor),
            axes,
            limit,
        )

    def _layer(self, item: NamedTensor) -> LayerInfo:
        description = self._description
        inputs = description.needs[item.tensor]
        return LayerInfo(
            address=item.address,
            name=item.name,
            index=None,
            kind=description.kind(item),
            shape=description.shape(item.tensor),
            dtype=tflite_interpreter.real_dtype(self._model.graph.tensors[item.tensor]),
            parameters=0 if item.operator is None else description.parameters(item),
            axes=description.axes[item.tensor],
            activation=description.activation(item),
            needs=tuple(self._input_names[number] for number in self._model.graph.inputs if number in inputs),
        )

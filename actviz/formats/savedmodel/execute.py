"""Run a subgraph with TensorFlow."""

from __future__ import annotations

import hashlib
import math
from typing import TYPE_CHECKING, Any

from actviz.errors import InputError, LimitError, ModelError, escape
from actviz.formats.keras.load_weights import reason
from actviz.formats.savedmodel.graph_scores import NoGradientError
from actviz.gate.operations import SEEDED_BY_ATTRIBUTES

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from actviz.formats.savedmodel.graph_scores import ScoreGradient
    from actviz.formats.savedmodel.inline import Tensor
    from actviz.formats.savedmodel.lookup_tables import TableContent
    from actviz.formats.savedmodel.subgraph import Subgraph
    from actviz.records import Shape

MAXIMUM_ACTIVATION_BYTES = 4 << 30


class SubgraphRunner:
    """A subgraph that is loaded into TensorFlow, with its variables and tables.

    Parameters
    ----------
    subgraph
        The graph.
    wanted
        The tensors to compute, in the order of the results.
    inputs
        For each input the number of its node, its dtype, and its shape, batch axis first
        (``None``: not even the rank is known).
    values
        The value of each variable by the number of its node.
    tables
        The content of each table by the number of its node.
    gradient
        What is computed from the wanted tensors, if these are not the result.

    Raises
    ------
    ModelError
        When TensorFlow cannot load the graph.
    LimitError
        When a tensor of a known size is too large.
    """

    def __init__(  # noqa: PLR0913  (a graph and all that it reads)
        self,
        subgraph: Subgraph,
        wanted: Sequence[Tensor],
        inputs: Mapping[str, tuple[int, str, Shape | None]],
        values: Mapping[int, NDArray[Any]],
        tables: Mapping[int, TableContent],
        gradient: ScoreGradient | None = None,
    ) -> None:
        import tensorflow as tf

        self._subgraph = subgraph
        self._wanted, self._gradient = list(wanted), gradient
        self._names = list(inputs)
        self._kept: list[Any] = []
        self._values = dict(values)
        self._handles = {number: self._variable(number, value) for number, value in values.items()}
        self._handles |= {number: self._table(number, content) for number, content in tables.items()}
        self._numbers = [inputs[name][0] for name in self._names]
        self._specs = [
            tf.TensorSpec(None if shape is None else list(shape), tf.as_dtype(dtype))
            for _, dtype, shape in (inputs[name] for name in self._names)
        ]
        if gradient is not None:
            self._specs.append(tf.TensorSpec([None], tf.int32))
        self._dtypes = [spec.dtype for spec in self._specs]
        self._definition = subgraph.definition()
        self._function = self._traced(1)
        self._check_sizes()

    @property
    def alone(self) -> bool:
        """True if a run leaves something behind, so that each sample has to be run by itself."""
        return bool(self._subgraph.writes) or self._subgraph.draws

    def begin(self, seed: int) -> None:
        """Restore the state in the file; `seed` is used by random operations without a seed.

        A generator inside an operation cannot be reset, so the graph is loaded again, but only if it
        has random operations.
        """
        import tensorflow as tf

        for number in self._values if self._subgraph.writes else ():
            if self._subgraph.flat.nodes[number].op == "VarHandleOp":
                tf.raw_ops.AssignVariableOp(resource=self._handles[number], value=tf.constant(self._values[number]))
        if self._subgraph.draws:
            self._function = self._traced(seed)

    def _traced(self, seed: int) -> Any:
        """Return the subgraph as a TensorFlow function."""
        import tensorflow as tf

        subgraph = self._subgraph
        graph_def = _parsed(self._definition, subgraph.flat.file)
        _set_seeds(graph_def, seed)
        _rename_functions(graph_def)

        def run(*fed: Any) -> list[Any]:
            graph = tf.compat.v1.get_default_graph()
            held = {number: graph.capture(handle) for number, handle in self._handles.items()}
            held |= dict(zip(self._numbers, fed, strict=False))  # the units of a gradient are no input
            read = {
                source
                for number in subgraph.numbers
                for source, _ in subgraph.flat.nodes[number].inputs
                if number not in subgraph.given
            }
            names = {f"n{number}:0": tensor for number, tensor in held.items() if number in read}
            returned = [f"n{number}:{output}" for number, output in self._wanted if number not in held]
            returned += [f"n{number}" for number in subgraph.writes]
            imported = tf.graph_util.import_graph_def(graph_def, names, returned, name="") if graph_def.node else []
            found = iter(imported)
            outputs = [held[number] if number in held else next(found) for number, _ in self._wanted]
            with tf.control_dependencies(list(found)):
                if self._gradient is not None:
                    return self._gradient.extend(outputs, fed[-1])
                return [tf.identity(output) for output in outputs]

        try:
            return tf.compat.v1.wrap_function(run, self._specs)
        except NoGradientError:
            raise
        except Exception as failure:
            message = f"{subgraph.flat.file}: TensorFlow does not take the graph: {reason(failure)}"
            raise ModelError(message) from failure

    @property
    def shapes(self) -> list[tuple[Shape | None, str]]:
        """The shape and dtype of every wanted tensor."""
        outputs = self._function.structured_outputs
        return [
            (None if item.shape.rank is None else tuple(item.shape.as_list()), str(item.dtype.name)) for item in outputs
        ]

    def run(self, batch: Mapping[str, NDArray[Any]], units: Sequence[int] = ()) -> list[NDArray[np.generic]]:
        """Compute the wanted tensors for a batch of arrays by input name; `units` are those of a gradient."""
        import numpy as np
        import tensorflow as tf

        given = [*(batch[name] for name in self._names), *([list(units)] if self._gradient is not None else [])]
        fed = [tf.convert_to_tensor(values, dtype) for values, dtype in zip(given, self._dtypes, strict=True)]
        try:
            found = self._function(*fed)
        except (tf.errors.InvalidArgumentError, tf.errors.OutOfRangeError) as failure:
            message = f"{self._subgraph.flat.file}: the graph cannot compute this input: {reason(failure)}"
            raise InputError(message) from failure
        except tf.errors.ResourceExhaustedError as failure:
            message = f"{self._subgraph.flat.file}: out of memory: {reason(failure)}"
            raise LimitError(message) from failure
        except tf.errors.OpError as failure:
            message = f"{self._subgraph.flat.file}: the graph cannot be computed: {reason(failure)}"
            raise ModelError(message) from failure
        return [np.asarray(tensor.numpy()) for tensor in found]

    def _variable(self, number: int, value: NDArray[Any]) -> Any:
        """Return the handle of a variable; a TensorFlow 1 variable is replaced by its value."""
        import tensorflow as tf

        if self._subgraph.flat.nodes[number].op != "VarHandleOp":
            return tf.constant(value)
        variable = tf.Variable(value, trainable=False)
        self._kept.append(variable)
        return variable.handle

    def _table(self, number: int, content: TableContent) -> Any:
        import tensorflow as tf

        node = self._subgraph.flat.nodes[number]
        if not node.op.endswith("V2"):
            message = f'{self._subgraph.flat.file}: the table "{escape(node.path, 80)}" is of TensorFlow 1 and cannot be filled; export the model again.'
            raise ModelError(message)
        keys, values = tf.constant(content.keys), tf.constant(content.values)
        default = tf.zeros(values.shape[1:], values.dtype) if values.dtype != tf.string else tf.constant("")
        if node.op == "HashTableV2":
            filled = tf.lookup.KeyValueTensorInitializer(keys, values, keys.dtype, values.dtype)
            table = tf.lookup.StaticHashTable(filled, default)
        else:
            table = tf.lookup.experimental.MutableHashTable(keys.dtype, values.dtype, default)
            table.insert(keys, values)
        self._kept.append(table)
        return table.resource_handle

    def _check_sizes(self) -> None:
        for operation in self._function.graph.get_operations():
            for output in operation.outputs:
                if output.shape.rank is None:
                    continue
                size = math.prod(axis or 1 for axis in output.shape.as_list()) * 4
                if size > MAXIMUM_ACTIVATION_BYTES:
                    message = f"{self._subgraph.flat.file}: a tensor of the graph takes {size:,} bytes (limit {MAXIMUM_ACTIVATION_BYTES:,})."
                    raise LimitError(message)


def _set_seeds(graph_def: Any, seed: int) -> None:
    """Give every random operation that has no seed one of its own, which follows from `seed`."""
    functions = [node for function in graph_def.library.function for node in function.node_def]
    for number, node in enumerate([*graph_def.node, *functions]):
        if node.op in SEEDED_BY_ATTRIBUTES and not (node.attr["seed"].i or node.attr["seed2"].i):
            node.attr["seed"].i, node.attr["seed2"].i = seed, number + 1


def _parsed(definition: bytes, file: str) -> Any:
    """Return a graph as TensorFlow's message, whose parser asks more of the bytes than the gate: text must be UTF-8."""
    import tensorflow as tf
    from google.protobuf.message import DecodeError

    try:
        return tf.compat.v1.GraphDef.FromString(definition)
    except DecodeError:
        message = (
            f"{file}: an operation of the graph is damaged: TensorFlow cannot parse it; copy or save the model again."
        )
        raise ModelError(message) from None


def _rename_functions(graph_def: Any) -> None:
    """Add a hash of all functions to the name of each function.

    TensorFlow keeps functions by name for the whole process, and files use the same names.
    """
    content = b"".join(function.SerializeToString(deterministic=True) for function in graph_def.library.function)
    ending = hashlib.sha256(content).hexdigest()[:16]
    names = {function.signature.name: f"{function.signature.name}_{ending}" for function in graph_def.library.function}
    for function in graph_def.library.function:
        function.signature.name = names[function.signature.name]
    for node in [*graph_def.node, *(node for function in graph_def.library.function for node in function.node_def)]:
        node.op = names.get(node.op, node.op)
        for attribute in node.attr.values():
            for called in [attribute.func] if attribute.HasField("func") else attribute.list.func:
                called.name = names.get(called.name, called.name)

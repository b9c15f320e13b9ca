"""Running a cut of a graph with TensorFlow: the only user of it here."""

from __future__ import annotations

import hashlib
import math
from typing import TYPE_CHECKING, Any

from actviz.errors import InputError, LimitError, ModelError, escape
from actviz.formats.keras.load_weights import reason
from actviz.gate.operations import SEEDED_BY_ATTRIBUTES

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from actviz.formats.savedmodel.inline import Tensor
    from actviz.formats.savedmodel.lookup_tables import TableContent
    from actviz.formats.savedmodel.subgraph import Subgraph
    from actviz.records import Shape

MAXIMUM_ACTIVATION_BYTES = 4 << 30


class SubgraphRunner:
    """A cut that was given to TensorFlow, with its variables and tables.

    Parameters
    ----------
    cut
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

    Raises
    ------
    ModelError
        When TensorFlow does not take the graph.
    LimitError
        When a tensor of a known size is too large.
    """

    def __init__(
        self,
        cut: Subgraph,
        wanted: Sequence[Tensor],
        inputs: Mapping[str, tuple[int, str, Shape | None]],
        values: Mapping[int, NDArray[Any]],
        tables: Mapping[int, TableContent],
    ) -> None:
        import tensorflow as tf

        self._cut = cut
        self._wanted = list(wanted)
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
        self._dtypes = [spec.dtype for spec in self._specs]
        self._definition = cut.definition()
        self._function = self._traced(1)
        self._check_sizes()

    @property
    def alone(self) -> bool:
        """True if a run leaves something behind, so that each sample has to be run by itself."""
        return bool(self._cut.writes) or self._cut.draws

    def begin(self, seed: int) -> None:
        """Go back to the state that the file holds; `seed` is that of random operations which have none.

        A generator inside an operation cannot be set back, so the graph is given to TensorFlow
        anew, but only where something is random.
        """
        import tensorflow as tf

        for number in self._values if self._cut.writes else ():
            if self._cut.flat.nodes[number].op == "VarHandleOp":
                tf.raw_ops.AssignVariableOp(resource=self._handles[number], value=tf.constant(self._values[number]))
        if self._cut.draws:
            self._function = self._traced(seed)

    def _traced(self, seed: int) -> Any:
        """Return the cut as a function of TensorFlow."""
        import tensorflow as tf

        cut = self._cut
        graph_def = _parsed(self._definition, cut.flat.file)
        _set_seeds(graph_def, seed)
        _rename_functions(graph_def)

        def run(*fed: Any) -> list[Any]:
            graph = tf.compat.v1.get_default_graph()
            held = {number: graph.capture(handle) for number, handle in self._handles.items()}
            held |= dict(zip(self._numbers, fed, strict=True))
            read = {
                source
                for number in cut.numbers
                for source, _ in cut.flat.nodes[number].inputs
                if number not in cut.given
            }
            names = {f"n{number}:0": tensor for number, tensor in held.items() if number in read}
            told = [f"n{number}:{output}" for number, output in self._wanted if number not in held]
            told += [f"n{number}" for number in cut.writes]
            imported = tf.graph_util.import_graph_def(graph_def, names, told, name="") if graph_def.node else []
            found = iter(imported)
            outputs = [held[number] if number in held else next(found) for number, _ in self._wanted]
            with tf.control_dependencies(list(found)):
                return [tf.identity(output) for output in outputs]

        try:
            return tf.compat.v1.wrap_function(run, self._specs)
        except Exception as failure:
            message = f"{cut.flat.file}: TensorFlow does not take the graph: {reason(failure)}"
            raise ModelError(message) from failure

    @property
    def shapes(self) -> list[tuple[Shape | None, str]]:
        """The shape and dtype of every wanted tensor."""
        outputs = self._function.structured_outputs
        return [
            (None if one.shape.rank is None else tuple(one.shape.as_list()), str(one.dtype.name)) for one in outputs
        ]

    def run(self, batch: Mapping[str, NDArray[Any]]) -> list[NDArray[np.generic]]:
        """Compute the wanted tensors for a batch of arrays by input name."""
        import numpy as np
        import tensorflow as tf

        fed = [tf.convert_to_tensor(batch[name], dtype) for name, dtype in zip(self._names, self._dtypes, strict=True)]
        try:
            found = self._function(*fed)
        except (tf.errors.InvalidArgumentError, tf.errors.OutOfRangeError) as failure:
            message = f"{self._cut.flat.file}: the graph cannot compute this input: {reason(failure)}"
            raise InputError(message) from failure
        except tf.errors.ResourceExhaustedError as failure:
            message = f"{self._cut.flat.file}: out of memory: {reason(failure)}"
            raise LimitError(message) from failure
        except tf.errors.OpError as failure:
            message = f"{self._cut.flat.file}: the graph cannot be computed: {reason(failure)}"
            raise ModelError(message) from failure
        return [np.asarray(one.numpy()) for one in found]

    def _variable(self, number: int, value: NDArray[Any]) -> Any:
        """Return the handle of a variable; variables of TensorFlow 1 are their values."""
        import tensorflow as tf

        if self._cut.flat.nodes[number].op != "VarHandleOp":
            return tf.constant(value)
        variable = tf.Variable(value, trainable=False)
        self._kept.append(variable)
        return variable.handle

    def _table(self, number: int, content: TableContent) -> Any:
        import tensorflow as tf

        node = self._cut.flat.nodes[number]
        if not node.op.endswith("V2"):
            message = f'{self._cut.flat.file}: the table "{escape(node.path, 80)}" is of TensorFlow 1 and cannot be filled; export the model again.'
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
                    message = f"{self._cut.flat.file}: a tensor of the graph takes {size:,} bytes (limit {MAXIMUM_ACTIVATION_BYTES:,})."
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
    """Give the functions of a graph names that no other graph in this process has for others.

    TensorFlow keeps functions by name for the whole process; files call theirs alike.
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

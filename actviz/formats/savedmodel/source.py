"""Open a signature of a SavedModel or a frozen graph, with its variables and lookup tables."""

from __future__ import annotations

import hashlib
import math
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from actviz.errors import ModelChangedError, ModelError, UsageError, escape
from actviz.formats.checkpoint import VARIABLES as CHECKPOINT
from actviz.formats.checkpoint import Checkpoint
from actviz.formats.savedmodel.bare_function import with_signature
from actviz.formats.savedmodel.dtypes import dtype_of, shape_at
from actviz.formats.savedmodel.folder import SAVED_MODEL, choose_graph, read_saved_model
from actviz.formats.savedmodel.inline import InlinedGraph, call_of, inline_functions
from actviz.formats.savedmodel.inlined_calls import is_passed_on, undo_inlining
from actviz.formats.savedmodel.keras_metadata import classes_of
from actviz.formats.savedmodel.lookup_tables import TableContent, restored_key, table_contents
from actviz.formats.savedmodel.lowered_flow import ENTER, EXIT, MERGE, NEXT, SWITCH
from actviz.formats.savedmodel.name_scopes import CONSTANTS, NON_COMPUTING
from actviz.formats.savedmodel.proto import (
    GraphSignature,
    MetaGraph,
    attribute_dtype,
    attribute_shape,
    attribute_text,
    constant_shape,
    parse_graph_def,
)
from actviz.gate.operations import check_operations
from actviz.gate.protobuf import MalformedProtobuf
from actviz.records import SignatureInfo
from actviz.system.file_system import FileStamp, exists, open_regular, stamp

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path
    from typing import BinaryIO

    from numpy.typing import NDArray

    from actviz.formats.savedmodel.inline import Tensor
    from actviz.records import Shape

PREFERRED = ("serving_default", "serve", "predict")
INITIAL = "__saved_model_init_op"
MAX_VALUE_SIZE = 1 << 20
PLACEHOLDERS = frozenset({"Placeholder", "PlaceholderV2", "PlaceholderWithDefault"})
UNUSED = re.compile(r"unused_control_flow_input(?:_\d+)?")
CONTROL_FLOW = ENTER | EXIT | SWITCH | MERGE | NEXT | {"LoopCond"}


@dataclass(frozen=True, slots=True)
class GraphInput:
    """One input of a graph: the index of the node that it replaces, dtype, and shape, batch axis first.

    `batch` is the batch size if the graph was saved with a fixed one.
    """

    name: str
    number: int
    dtype: str
    shape: Shape | None
    batch: int | None = None


@dataclass
class GraphSource:
    """A flat graph with its inputs and outputs, and access to the values of its variables and tables.

    `called` are the indices of the nodes of the signature's call; `kinds` maps names of layers to
    their classes, as far as the file has them.
    """

    name: str
    format: str
    writer: str
    digest: str
    flat: InlinedGraph
    inputs: tuple[GraphInput, ...]
    outputs: tuple[Tensor, ...]
    called: tuple[int, ...]
    file: BinaryIO
    stamp: FileStamp
    folder: Path | None = None
    kinds: Mapping[str, str] = field(default_factory=dict)
    signatures: tuple[SignatureInfo, ...] = ()
    _checkpoint: Checkpoint | None = None
    _keys: dict[str, str] | None = None
    _tables: dict[str, TableContent] | None = None

    def close(self) -> None:
        """Close the files."""
        self.file.close()
        if self._checkpoint is not None:
            self._checkpoint.close()

    def check_unchanged(self) -> None:
        """Raise ModelChangedError if a file was modified since it was opened."""
        if stamp(self.file) != self.stamp:
            raise ModelChangedError(self.name)
        if self._checkpoint is not None:
            self._checkpoint.check_unchanged()

    def nonfinite_message(self) -> str:
        """Return the number of NaN and infinite values read since the last call as text (``""``: none)."""
        return "" if self._checkpoint is None else self._checkpoint.nonfinite.message()

    def weights_digest(self) -> str:
        """Return the SHA-256 of the variables read so far; without a checkpoint that of the graph."""
        return self.digest if self._checkpoint is None else self._checkpoint.digest()

    def small_value(self, number: int) -> NDArray[Any] | None:
        """Return a variable without adding it to the digest; ``None`` if it is large or missing."""
        declared = attribute_shape(self.flat.nodes[number].node, "shape")
        if declared is None or math.prod(size or 0 for size in declared) > MAX_VALUE_SIZE:
            return None
        try:
            return self.value(number, hashed=False)
        except ModelError:
            return None

    def value(self, number: int, *, hashed: bool = True) -> NDArray[Any]:
        """Return the value of a variable by the index of its node, and add it to the digest if `hashed`.

        Raises
        ------
        ModelError
            When the checkpoint does not contain it, or with another shape than declared.
        """
        node = self.flat.nodes[number].node
        keys = self._restored()
        shared = attribute_text(node, "shared_name")
        key = keys.get(node.name) or next(
            (name for name in (shared, node.name) if name in self.checkpoint.tensors), None
        )
        if key is None:
            message = f'{self.name}: the checkpoint does not tell the value of the variable "{escape(node.name, 80)}"; save the model again.'
            raise ModelError(message)
        values = self.checkpoint.read(key, hashed=hashed)
        declared = attribute_shape(node, "shape")
        if declared is not None and (
            len(declared) != values.ndim
            or any(size not in (None, real) for size, real in zip(declared, values.shape, strict=True))
        ):
            message = f'{self.name}: the variable "{escape(node.name, 80)}" has the shape {values.shape} in the checkpoint, the graph expects another; save the model again.'
            raise ModelError(message)
        return values

    def table(self, number: int) -> TableContent:
        """Return the content of a lookup table by the index of its node."""
        node = self.flat.nodes[number].node
        if self._tables is None:
            has_variables = self.folder is not None and exists(self.folder / CHECKPOINT / f"{CHECKPOINT}.index")
            checkpoint = self.checkpoint if has_variables else None
            self._tables = table_contents(self.flat.meta, self.folder, checkpoint, self.name)
        if node.name not in self._tables:
            message = f'{self.name}: the file does not tell what is in the table "{escape(node.name, 80)}"; export the model again.'
            raise ModelError(message)
        return self._tables[node.name]

    def words(self, number: int) -> list[str]:
        """Return the printable keys of a lookup table as text."""
        keys = self.table(number).keys.tolist()
        texts = [key.decode("utf-8", "replace") if isinstance(key, bytes) else str(key) for key in keys]
        return [text for text in texts if text.isprintable() and text and not any(mark.isspace() for mark in text)]

    @property
    def checkpoint(self) -> Checkpoint:
        """The checkpoint, opened on first use."""
        if self._checkpoint is None:
            if self.folder is None:
                message = f"{self.name}: this graph reads variables, which are not in the file; freeze it first (convert_variables_to_constants), or give the SavedModel."
                raise ModelError(message)
            self._checkpoint = Checkpoint(self.folder / CHECKPOINT, self.name)
        return self._checkpoint

    def _restored(self) -> dict[str, str]:
        """Return the checkpoint keys of variables by the names of their nodes, from the restore function of the SavedModel."""
        if self._keys is None:
            self._keys = {}
            restore = self.flat.meta.restore.partition(":")[0]
            flat = inline_functions(self.flat.meta, self.name, (restore,))
            for node in flat.nodes:
                if node.op in {"AssignVariableOp", "Assign"} and len(node.inputs) > 1:
                    key = restored_key(flat, node.inputs[1])
                    if key is not None:
                        self._keys[flat.nodes[node.inputs[0][0]].node.name] = key
        return self._keys


def open_saved_model(path: Path, signature: str | None, tags: tuple[str, ...]) -> GraphSource:
    """Open one signature of a SavedModel folder.

    Raises
    ------
    ModelError
        When it is damaged; when the signature or the tags do not exist, or match several graphs:
        the message lists the existing ones.
    UnsafeError
        When the graph, or any function in its library, holds an operation that is not allowed.
    """
    name = path.name
    file, status = open_regular(path / SAVED_MODEL, ModelError, "model")
    try:
        graphs = read_saved_model(path)
        for graph in graphs:
            check_graph(graph, name)
        meta = choose_graph(graphs, tags, name)
        if not known_signatures(meta):
            meta = with_signature(meta)
        chosen = choose_signature(meta, signature, name)
        calls = {info.tensor.partition(":")[0] for info in chosen.outputs.values()}
        flat = undo_inlining(inline_functions(meta, name, calls))
        main = len(inline_functions(meta, name).nodes)
        called = range(main, len(flat.nodes))
        if any(call_of(node, meta.functions) for node in meta.nodes if node.name in calls):
            check_operations(
                ((flat.nodes[number].path, flat.nodes[number].op) for number in called),
                frozenset(meta.functions),
                name,
                run=True,
            )
        inputs = tuple(
            input_of(flat, key, flat.tensor(info.tensor)[0], info.dtype, info.shape)
            for key, info in chosen.inputs.items()
        )
        outputs = tuple(flat.tensor(info.tensor) for info in chosen.outputs.values() if info.tensor)
        kinds = classes_of(path, meta)
        signatures = tuple(
            SignatureInfo(key, tuple(item.inputs), tuple(item.outputs), item is chosen)
            for key, item in sorted(known_signatures(meta).items())
        )
    except BaseException:
        file.close()
        raise
    writer = f"TensorFlow {escape(meta.version or 'of an unknown version', 40)}"
    # Figures of another signature are not up to date, whatever the names of its layers.
    digest = digest_of(file.read() + (signature or "").encode("utf-8", "surrogatepass"))
    return GraphSource(
        name, "saved_model", writer, digest, flat, inputs, outputs, tuple(called), file, status, path, kinds, signatures
    )


def check_graph(graph: MetaGraph, name: str) -> None:
    """Check every operation of a graph and of every function in its library.

    Raises
    ------
    UnsafeError
        With the first operation that is not on the lists, and its node.
    """
    functions = frozenset(graph.functions)
    check_operations(((node.name, node.op) for node in graph.nodes), functions, name)
    for function in graph.functions.values():
        check_operations(((f"{function.name}/{node.name}", node.op) for node in function.nodes), functions, name)


def known_signatures(meta: MetaGraph) -> dict[str, GraphSignature]:
    """Return the signatures that compute something, by name."""
    return {key: signature for key, signature in meta.signatures.items() if key != INITIAL and signature.outputs}


def choose_signature(meta: MetaGraph, wanted: str | None, name: str) -> GraphSignature:
    """Return a signature by name; without a name, the one for serving, or the only one.

    Raises
    ------
    ModelError
        When there is none; the message lists the existing ones.
    """
    known = known_signatures(meta)
    if not known:
        message = (
            f"{name}: the SavedModel has no signature, so nothing says how it is called; export it with signatures."
        )
        raise ModelError(message)
    listed = ", ".join(escape(key, 60) for key in sorted(known))
    if wanted is not None:
        if wanted not in known:
            message = f'{name}: there is no signature "{escape(wanted, 80)}"; the file has: {listed}.'
            raise UsageError(message)
        return known[wanted]
    for key in PREFERRED:
        if key in known:
            return known[key]
    if len(known) > 1:
        message = f"{name}: the file has {len(known)} signatures; choose one with --signature: {listed}."
        raise ModelError(message)
    return next(iter(known.values()))


def open_frozen_graph(path: Path, given: tuple[str, ...]) -> GraphSource:
    """Open a frozen graph: a `.pb` file whose variables are constants.

    `given` are the names of inputs, by default its placeholders. Its outputs are the tensors that
    no node reads.

    Raises
    ------
    ModelError
        When it is no graph, or a name in `given` is no node of it.
    UnsafeError
        When it holds an operation that is not allowed.
    """
    name = path.name
    file, status = open_regular(path, ModelError, "model")
    try:
        content = memoryview(file.read())
        try:
            nodes, functions, producer = parse_graph_def(content)
        except MalformedProtobuf:
            message = f"{name}: the graph ({len(content):,} bytes) is truncated or damaged; copy or freeze it again."
            raise ModelError(message) from None
        meta = MetaGraph((), "", nodes, functions, {}, {}, producer, "")
        check_graph(meta, name)
        flat = undo_inlining(inline_functions(meta, name, [node.name for node in nodes]))
        inputs = tuple(_frozen_inputs(flat, given))
        outputs = tuple(_outputs(flat))
    except BaseException:
        file.close()
        raise
    called = tuple(range(len(flat.nodes)))
    return GraphSource(
        name, "frozen_graph", "TensorFlow (frozen)", digest_of(content), flat, inputs, outputs, called, file, status
    )


def _frozen_inputs(flat: InlinedGraph, given: tuple[str, ...]) -> list[GraphInput]:
    numbers = {name: tensors[0][0] for name, tensors in flat.named.items() if tensors and _is_input(flat, name)}
    for name in given:
        node = name.partition(":")[0]
        if node not in flat.named:
            known = ", ".join(escape(known_name, 60) for known_name in list(numbers)[:5]) or "none"
            message = f'{flat.file}: the graph has no node "{escape(node, 80)}" to feed; its placeholders: {known}.'
            raise UsageError(message)
        numbers[node] = flat.tensor(node)[0]
    inputs = []
    for name, number in numbers.items():
        fed = flat.nodes[number].node
        shape = shape_at(fed, 0)
        inputs.append(input_of(flat, name, number, dtype_of(fed, 0), shape or None))
    if not inputs:
        message = (
            f"{flat.file}: the graph has no placeholder; name the node that takes the input with --input NAME=FILE."
        )
        raise ModelError(message)
    return inputs


def _is_input(flat: InlinedGraph, name: str) -> bool:
    """Return True for a placeholder of the main graph that a user feeds.

    Not for those that TensorFlow adds for lowered loops, which nothing reads, and not for one with a
    single value as its default, such as ``keras_learning_phase``: the graph feeds it itself.
    """
    number = flat.named[name][0][0]
    node = flat.nodes[number]
    if node.op not in PLACEHOLDERS or node.node.name != name:
        return False
    if UNUSED.fullmatch(name) and number not in flat.readers:
        return False
    if node.op != "PlaceholderWithDefault" or not node.inputs:
        return True
    default = flat.nodes[flat.origin(node.inputs[0], {"Identity"})[0]]
    return default.op not in CONSTANTS or constant_shape(default.node) != ()


def _outputs(flat: InlinedGraph) -> list[Tensor]:
    """Return the outputs of a frozen graph: of every computing node that no node reads.

    An end of a loop counts only if there is no other output: it may be a counter.
    """
    read = {source for node in flat.nodes for source, _ in node.inputs}
    unread = [
        (number, 0) for number, node in enumerate(flat.nodes) if number not in read and node.op not in NON_COMPUTING
    ]
    ends = [tensor for tensor in unread if flat.nodes[tensor[0]].op in CONTROL_FLOW or is_passed_on(flat, tensor[0])]
    return [tensor for tensor in unread if tensor not in ends] or ends


def input_of(flat: InlinedGraph, name: str, number: int, dtype: str, shape: Shape | None) -> GraphInput:
    """Describe an input; a fixed batch size becomes a free one."""
    known_dtype = dtype or attribute_dtype(flat.nodes[number].node, "dtype") or "float32"
    batch = shape[0] if shape and len(shape) > 1 and shape[0] is not None and shape[0] > 0 else None
    return GraphInput(name, number, known_dtype, (None, *shape[1:]) if batch is not None and shape else shape, batch)


def digest_of(content: bytes | memoryview) -> str:
    """Return the SHA-256 (hexadecimal) of a file's content."""
    return hashlib.sha256(content).hexdigest()

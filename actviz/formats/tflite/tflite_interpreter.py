"""Running a `.tflite` file: LiteRT's own package where it is installed, else TensorFlow's interpreter."""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.util
import os
from typing import TYPE_CHECKING, Any

import numpy as np

from actviz.errors import InputError, LimitError, ModelError, escape
from actviz.formats.tflite.truncate import cut_model, with_seeds
from actviz.gate.tflite import RANDOM
from actviz.system.warning_filters import without_warnings

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from actviz.gate.tflite import Quantization, TFLiteModel, TFLiteTensor

LITERT, TENSORFLOW = "ai_edge_litert", "tensorflow.lite.python"
THREADS = 4
LASTING = RANDOM | {"VAR_HANDLE"}


def prepare() -> None:
    """Import the interpreter."""
    _interpreter()


def _interpreter() -> tuple[Any, Any]:
    """Return the class of the interpreter and the kernels that leave every tensor in place."""
    for name in (LITERT, TENSORFLOW):
        if importlib.util.find_spec(name.partition(".")[0]) is None:
            continue
        try:
            module = importlib.import_module(f"{name}.interpreter")
        except ImportError:
            continue  # it is there and does not fit this machine
        return module.Interpreter, module.OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
    message = "no interpreter for .tflite files is installed; install one with: pip install 'actviz[litert]'"
    raise ModelError(message)


def kernels() -> str:
    """Return whose kernels compute, with the version: ``the built-in kernels of ai-edge-litert 2.1.0``."""
    module = _interpreter()[0].__module__.partition(".")[0]
    package = "ai-edge-litert" if module == LITERT else "tensorflow"
    try:
        version = f" {importlib.metadata.version(package)}"
    except importlib.metadata.PackageNotFoundError:  # TensorFlow is installed under several names
        version = ""
    return f"the built-in kernels of {package}{version}, without the XNNPACK delegate"


class TFLiteRunner:
    """One part of a model, ready to run for inputs of some shapes.

    Parameters
    ----------
    model
        The checked file.
    content
        Its bytes.
    kept
        The numbers of the operators that are run.
    outputs
        The numbers of the tensors whose values are wanted.
    name
        What errors call the file.
    """

    def __init__(
        self, model: TFLiteModel, content: bytes, kept: Sequence[int], outputs: Sequence[int], name: str
    ) -> None:
        self._name = name
        self._tensors = model.graph.tensors
        self._outputs = tuple(outputs)
        self._content = cut_model(content, model, kept, outputs)
        run = [model.graph.operators[place] for place in kept]
        inside = [operator for graph in model.others for operator in graph.operators]
        self._random = [operator for operator in (*run, *inside) if operator.kind in RANDOM and not operator.seeded]
        # Its variables are set once, when an interpreter first runs, and nothing sets them back;
        # random operators that have a seed go on from one run to the next.
        self._once = any(operator.kind in LASTING for operator in (*run, *inside))
        self._interpreter: Any = None
        self._shapes: dict[int, tuple[int, ...]] | None = None
        self._start()

    def _start(self, seed: int = 1) -> None:
        """Begin with a new interpreter, in the state that the file holds."""
        kind, kernels = _interpreter()
        content = with_seeds(self._content, self._random, seed) if self._random else self._content
        try:
            with without_warnings():
                self._interpreter = kind(
                    model_content=content,
                    experimental_op_resolver_type=kernels,
                    num_threads=min(THREADS, os.cpu_count() or 1),
                )
        except (ValueError, RuntimeError) as failure:
            raise self._refusal(failure) from None
        self._shapes = None

    def run(self, inputs: Mapping[int, NDArray[Any]], seed: int = 1, *, keep: bool = False) -> dict[int, NDArray[Any]]:
        """Compute the wanted tensors, in real units where the file holds whole numbers for them.

        `seed` is that of random operators which the file gives none; `keep` begins with the
        state that the run before left, not with that of the file.

        Raises
        ------
        InputError
            When the graph cannot take inputs of this size, or loses its state over a change of size.
        LimitError
            When memory runs out.
        ModelError
            When the interpreter cannot run the file.
        """
        shapes = {number: values.shape for number, values in inputs.items()}
        if keep and self._shapes is not None and self._shapes != shapes:
            message = f"{self._name}: a TFLite model keeps no state from one size of the input to another; give --stateful samples of one size."
            raise InputError(message)
        if not keep and self._once:
            self._start(seed)
        try:
            if shapes != self._shapes:
                self._allocate(shapes)
            for number, values in inputs.items():
                self._interpreter.set_tensor(number, values)
            if not keep:
                self._interpreter.reset_all_variables()
            self._interpreter.invoke()
            return {
                number: from_stored(self._interpreter.get_tensor(number), self._tensors[number])
                for number in self._outputs
            }
        except MemoryError:
            message = f"{self._name}: out of memory; choose fewer layers or smaller inputs."
            raise LimitError(message) from None
        except (ValueError, RuntimeError) as failure:
            raise self._refusal(failure) from None

    def _allocate(self, shapes: dict[int, tuple[int, ...]]) -> None:
        changed = {number: shape for number, shape in shapes.items() if shape != self._tensors[number].shape}
        try:
            for number, shape in changed.items():
                self._interpreter.resize_tensor_input(number, shape)
            self._interpreter.allocate_tensors()
        except (ValueError, RuntimeError) as failure:
            if not changed:
                raise
            message = (
                f"{self._name}: the network cannot take inputs of this size ({_first_line(failure)}); give another."
            )
            raise InputError(message) from None
        self._shapes = shapes

    def _refusal(self, failure: Exception) -> ModelError:
        return ModelError(f"{self._name}: the interpreter cannot run it: {_first_line(failure)}")


def _first_line(failure: Exception) -> str:
    return escape(str(failure).strip().split("\n", 1)[0].rstrip("."), 200)


def to_stored(values: NDArray[Any], tensor: TFLiteTensor) -> NDArray[Any]:
    """Return values of real units as the file stores them.

    Whole numbers with a scale are rounded half to even and limited to their range.
    """
    if tensor.dtype == "string":
        encoded = [str(item).encode("utf-8") for item in values.ravel()]
        return np.array(encoded, dtype=object).reshape(values.shape)
    quantization = tensor.quantization
    if quantization is None or tensor.dtype not in STORED_WHOLE:
        return np.ascontiguousarray(values, dtype=tensor.dtype)
    scale, zero = _along(quantization, values.ndim)
    limits = np.iinfo(tensor.dtype)
    whole = np.rint(values.astype(np.float64) / scale) + zero
    return np.clip(whole, limits.min, limits.max).astype(tensor.dtype)


STORED_WHOLE = frozenset({"int8", "uint8", "int16", "int32"})


def from_stored(values: NDArray[Any], tensor: TFLiteTensor) -> NDArray[Any]:
    """Return stored values in real units: float32 for whole numbers with a scale, text for bytes."""
    if tensor.dtype == "string":
        texts = [item.decode("utf-8", "replace") if isinstance(item, bytes) else str(item) for item in values.ravel()]
        return np.array(texts).reshape(values.shape)
    if tensor.quantization is None or tensor.dtype not in STORED_WHOLE:
        return np.array(values)
    scale, zero = _along(tensor.quantization, values.ndim)
    return ((values.astype(np.float64) - zero) * scale).astype(np.float32)


def real_dtype(tensor: TFLiteTensor) -> str:
    """Return the dtype of a tensor's values in real units."""
    return "float32" if tensor.quantization is not None and tensor.dtype in STORED_WHOLE else tensor.dtype


def _along(quantization: Quantization, rank: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return scale and zero point, shaped for arrays of a rank; several scales run along one axis."""
    scale, zero = np.array(quantization.scales), np.array(quantization.zeros, dtype=np.float64)
    if scale.size == 1 or not 0 <= quantization.axis < rank:
        return scale[:1].reshape(()), zero[:1].reshape(())
    shape = tuple(-1 if axis == quantization.axis else 1 for axis in range(rank))
    return scale.reshape(shape), zero.reshape(shape)

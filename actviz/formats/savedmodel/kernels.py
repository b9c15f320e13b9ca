"""Find the kernels and tables that the operations of a layer read in a graph."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from actviz.formats.savedmodel.proto import attribute_bool
from actviz.records import Kernel

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

    from actviz.formats.savedmodel.inline import InlinedGraph, Tensor
    from actviz.records import Axes

# The index of the kernel among the inputs of an operation, and the names of its axes.
KERNEL_INPUTS: dict[str, tuple[int, Axes]] = {
    "Conv2D": (1, ("row", "column", "input", "output")),
    "Conv2DBackpropInput": (1, ("row", "column", "output", "input")),
    "Conv3D": (1, ("plane", "row", "column", "input", "output")),
    "Conv3DBackpropInputV2": (1, ("plane", "row", "column", "output", "input")),
    "DepthwiseConv2dNative": (1, ("row", "column", "input", "multiplier")),
    "MatMul": (1, ("input", "output")),
    "ResourceGather": (0, ("input", "output")),
    "GatherV2": (0, ("input", "output")),
    "Gather": (0, ("input", "output")),
}
# Operations between a kernel and its reader: a convolution along steps adds an axis, a Dense on sequences removes none.
READ_THROUGH = frozenset({"ReadVariableOp", "Identity", "DisableCopyOnRead", "ExpandDims", "Reshape", "Squeeze"})


def kernel_tensors(flat: InlinedGraph, numbers: Iterable[int]) -> dict[Tensor, Axes]:
    """Return the variables and constants that operations with kernels read, with their axes, in the order of the file."""
    found: dict[Tensor, Axes] = {}
    for number in numbers:
        node = flat.nodes[number]
        index, axes = KERNEL_INPUTS.get(node.op, (0, ()))
        if not axes or len(node.inputs) <= index:
            continue
        if node.op == "MatMul" and attribute_bool(node.node, "transpose_b"):
            axes = axes[::-1]
        found.setdefault(flat.origin(node.inputs[index], READ_THROUGH), axes)
    return found


def named_kernel(values: NDArray[Any], axes: Axes) -> Kernel:
    """Return a kernel with its axes; one of a convolution along steps lacks the axis of rows."""
    if values.ndim == len(axes) - 1 and axes[0] == "row":
        axes = ("step", *axes[2:])
    return Kernel(values, axes)

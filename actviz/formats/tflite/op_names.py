"""What the name of a tensor says: which operations of the original model it stands for.

The converter joins the names of all that it fused: ``model/conv/Relu;model/conv/BiasAdd;
model/conv/Conv2D``. Which of them comes last in the model tells whose value the tensor is;
their order in the name does not (``d/MatMul;act/Relu;d/BiasAdd`` is the value of ``act``).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

NOTHING, CORE, BIAS, NORM, ACTIVATION = range(5)
_RANKS = (
    (NORM, re.compile(r"(?i)fused_?batch_?norm|batch_?norm")),
    (ACTIVATION, re.compile(r"(?i)relu|clip|minimum|maximum|hard_?(swish|sigmoid)|tanh|sigmoid|elu|softmax")),
    (BIAS, re.compile(r"(?i)bias_?add|add")),
    (NOTHING, re.compile(r"(?i)readvariableop|const|shape|squeeze|cast|stack|pack|expanddims")),
)
# Names that a converter makes up; none is an operation of the model.
_GENERATED_NAME = re.compile(
    r"(arith\.constant|tfl\.\w+|(Stateful)?PartitionedCall(_\d+)?|Identity(_\d+)?|Const(_\d+)?|unknown(_\d+)?)?\d*"
)
# Scopes that Keras and TensorFlow open inside one layer.
INNER_SCOPE = re.compile(
    r"Conv1D|Tensordot|separable_conv2d|Repeat(_\d+)?|einsum(_\d+)?|batchnorm(_\d+)?|moments(_\d+)?|while(_\d+)?|cond(_\d+)?"
)
_MAX_LENGTH, _MAX_DEPTH = 8192, 64  # beyond any real name


@dataclass(frozen=True, slots=True)
class OpNameComponent:
    """One operation that a tensor stands for: the scopes around it, its own name, its rank.

    The higher the rank, the later it comes in a chain of operations that converters fuse.
    """

    scope: tuple[str, ...]
    leaf: str
    rank: int

    @property
    def layer(self) -> tuple[str, ...]:
        """Return the scope of the layer that it belongs to."""
        scope = self.scope
        while scope and INNER_SCOPE.fullmatch(scope[-1]):
            scope = scope[:-1]
        return scope


def parse_components(name: str) -> tuple[OpNameComponent, ...]:
    """Return the operations in a tensor's name, those that a converter made up left out."""
    found = []
    for text in name[:_MAX_LENGTH].split(";"):
        parts = tuple(part for part in text.strip().split("/") if part)
        if 0 < len(parts) <= _MAX_DEPTH:
            leaf = re.sub(r":\d+\d*$", "", parts[-1])
            if len(parts) > 1 or not _GENERATED_NAME.fullmatch(leaf):
                found.append(OpNameComponent(parts[:-1], leaf, _rank(parts[:-1], leaf)))
    return tuple(found)


def _rank(scope: Sequence[str], leaf: str) -> int:
    if any(re.fullmatch(r"batchnorm(_\d+)?", part) for part in scope):
        return NORM if re.match(r"(?i)add|mul", leaf) else NOTHING
    if any(part in {"BiasAdd", "Conv2D", "MatMul"} for part in scope):
        return NOTHING  # a constant that such an operation reads
    return next((rank for rank, pattern in _RANKS if pattern.match(leaf)), CORE)


def last_operation(found: Sequence[OpNameComponent], fused: str) -> tuple[OpNameComponent, bool] | None:
    """Return the operation whose value a tensor is, and whether the name proves it.

    `fused` is the activation that the operator ends with. Then the value is that of an
    activation; if none is named, something after the named ones was fused in as well.
    """
    if not found:
        return None
    if fused:
        for component in found:
            if component.rank == ACTIVATION:
                return component, True
    return max(found, key=lambda component: component.rank), not fused

"""Find the constant arithmetic between the inputs of a graph and its first layers with weights.

The traversal is the same for every format: the format provides the readers of a tensor and the
operations (`Graph`), `input_arithmetic` computes their outputs, and the traversal ends at the
first operation that is not arithmetic with constants.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from actviz.formats.input_arithmetic import STATIC, Affine, Dependent, Static
from actviz.gate.traversal import reachable
from actviz.records import InputOperation

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from actviz.formats.input_arithmetic import Value

Tensor = tuple[int, int]
"""A tensor: the index of its operation and the index of the output."""
MAX_ENDINGS = 8
_Key = tuple[str, tuple[float, ...], tuple[float, ...], bool, str]

# The role of each operation, by its name in Keras 3, TensorFlow functions, TensorFlow graphs and
# TFLite, without module prefix, in lower case and without underscores.
_NAMES = {
    "keep": (
        "identity cast stopgradient snapshot preventgradient checknumerics placeholderwithdefault ensureshape "
        "quantize dequantize fakequantwithminmaxvars fakequantwithminmaxargs fakequant convertimagedtype inputlayer "
        "resize resizing resizebilinear resizenearestneighbor resizebicubic resizearea cropandresize resizewithpad "
        "resizewithcroporpad scaleandtranslate centercrop centralcrop cropimages padimages croptoboundingbox padtoboundingbox "
        "cropping1d cropping2d cropping3d zeropadding1d zeropadding2d zeropadding3d pad padv2 mirrorpad mirrorpadv2 "
        "upsampling1d upsampling2d upsampling3d averagepooling1d averagepooling2d averagepooling3d maxpooling1d maxpooling2d "
        "maxpooling3d averagepool maxpool avgpool maxpoolv2 averagepool2d maxpool2d avgpool2d "
        "dropout spatialdropout1d spatialdropout2d spatialdropout3d gaussiandropout gaussiannoise alphadropout "
        "activityregularization masking clip clipbyvalue round rot90 roll fliplr flipud augmix cutmix mixup randaugment "
        "maxnumboundingboxes broadcastto tile copy"
    ),
    "add": "add addv2 biasadd radd",
    "subtract": "subtract sub",
    "multiply": "multiply mul rmul",
    "divide": "divide truedivide truediv realdiv div divnonan dividenonan",
    "rsubtract": "rsub",
    "rdivide": "rtruediv",
    "negative": "negative neg",
    "reverse": "reverse reversev2 flip",
    "index": "getitem slice stridedslice",
    "take": "take gather gatherv2",
    "split": "split splitv",
    "unstack": "unstack unpack",
    "concatenate": "concatenate concat concatv2 concatenation",
    "stack": "stack pack",
    "transpose": "transpose permute",
    "reshape": "reshape flatten expanddims squeeze ravel",
    "shape": "shape size rank",
    "select": "where select selectv2",
    "grey": "rgbtograyscale",
    "reduce": (
        "max min amax amin mean sum std var prod median quantile norm reducemax reducemin reducemean reducesum reducestd "
        "reducevariance reduceprod reduceeuclideannorm reducelogsumexp all any reduceall reduceany moments argmax argmin "
        "globalaveragepooling1d globalaveragepooling2d globalmaxpooling1d globalmaxpooling2d countnonzero sumall"
    ),
    "nonlinear": (
        "log log1p log2 log10 exp expm1 sqrt rsqrt square power pow abs absolute sign sin cos tanh sigmoid softmax logsoftmax "
        "maximum minimum floor ceil mod floormod floordiv reciprocal l2normalize l2normalization unitnormalization "
        "layernormalization groupnormalization rmsnormalization normalize perimagestandardization autocontrast equalization "
        "solarization posterize adjustbrightness adjustcontrast adjustcontrastv2 adjusthue adjustsaturation adjustgamma "
        "squareddifference rgbtohsv hsvtorgb greater less greaterequal lessequal equal notequal "
        "reluone cumsum histogram bincount discretization hashing lambda"
    ),
}  # fmt: skip
ROLES = {name: role for role, names in _NAMES.items() for name in names.split()}


class Graph(Protocol):
    """The interface of a graph for this traversal."""

    def readers(self, number: int) -> Sequence[int]:
        """Return the operations that read an output of operation `number`."""

    def operands(self, number: int) -> Sequence[Tensor]:
        """Return the tensors that an operation reads."""

    def values(self, number: int, known: Mapping[Tensor, Value]) -> Sequence[Value] | None:
        """Return the outputs of an operation, ``None`` if it is not arithmetic with constants."""


@dataclass(frozen=True, slots=True)
class Ending:
    """The end of the arithmetic of an input; `stopped_by` is the name of an operation that depends on the data."""

    tensor: Affine
    stopped_by: str = ""


def role_of(name: str) -> str:
    """Return the role of an operation by its name, ``""`` if it is not supported."""
    plain = name.rpartition(".")[2].replace("_", "").lower()
    return "keep" if plain.startswith("random") else ROLES.get(plain, "")


def first_operations(starts: Mapping[Tensor, Affine], graph: Graph) -> list[InputOperation]:
    """Return the constant arithmetic on each input; nothing for inputs without any."""
    operations: dict[_Key, InputOperation] = {}
    for ending in _endings(starts, graph):
        scale, offset, is_reversed = ending.tensor.by_input
        plain = set(scale) == {1.0} and set(offset) == {0.0} and not is_reversed
        key = (ending.tensor.input, scale, offset, is_reversed, ending.stopped_by)
        if (not plain or ending.stopped_by) and sum(
            item.kind == "Arithmetic" for item in operations.values()
        ) < MAX_ENDINGS:
            operations[key] = InputOperation(
                "Arithmetic", {"scale": scale, "offset": offset}, ending.tensor.input, is_reversed, ending.stopped_by
            )
            for first, second, reverse in ending.tensor.stages[::-1]:
                earlier = (ending.tensor.input, first, second, reverse, "stage")
                numbers = {"scale": first, "offset": second}
                operations.setdefault(earlier, InputOperation("Stage", numbers, ending.tensor.input, reverse))
    return list(operations.values())


def _endings(starts: Mapping[Tensor, Affine], graph: Graph) -> list[Ending]:
    """Follow the inputs to the ends of their arithmetic.

    A reader that also reads other tensors of the network, such as the sum of a skip connection,
    only counts if the input has no other reader.
    """
    live = _descendants(starts, graph)
    known: dict[Tensor, Value] = dict(starts)
    resolved = {number for number, _ in starts}
    handled: set[int] = set(resolved)
    weak: dict[int, list[Ending]] = {}
    strong: list[Ending] = []
    queue = deque(resolved)
    while queue:
        number = queue.popleft()
        readers = graph.readers(number)
        if not readers:
            weak[number] = _endings_after([known.get((number, 0))])
        for reader in readers:
            if reader in handled:
                continue
            operands = [tensor for tensor in graph.operands(reader) if tensor[0] in live]
            given = [known.get(tensor) for tensor in operands]
            if any(tensor[0] not in resolved for tensor in operands):
                weak[reader] = _endings_after(given)
                continue
            weak.pop(reader, None)
            handled.add(reader)
            values = graph.values(reader, known) if all(value is not None for value in given) else None
            if values is None and given and all(isinstance(value, Static) for value in given):
                values = [STATIC] * MAX_ENDINGS
            if values is None:
                strong += _endings_after(given)
                continue
            known |= {(reader, output): value for output, value in enumerate(values)}
            resolved.add(reader)
            queue.append(reader)
    sure = {ending.tensor.input for ending in strong}
    return strong + [ending for endings in weak.values() for ending in endings if ending.tensor.input not in sure]


def _endings_after(given: Sequence[Value | None]) -> list[Ending]:
    plain = [Ending(value) for value in given if isinstance(value, Affine)]
    dependent = [value for value in given if isinstance(value, Dependent)]
    return plain + [Ending(value.base, value.name if value.combined else "") for value in dependent]


def _descendants(starts: Mapping[Tensor, Affine], graph: Graph) -> set[int]:
    return reachable((number for number, _ in starts), graph.readers)

"""Dtypes and shapes of the tensors of a graph, as far as the file itself tells them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from actviz.formats.savedmodel.proto import attribute_dtype, attribute_dtypes, attribute_shape, attribute_shapes

if TYPE_CHECKING:
    from actviz.formats.savedmodel.proto import GraphNode
    from actviz.records import Shape

TRUTHS = frozenset(
    {
        "Equal", "NotEqual", "Greater", "GreaterEqual", "Less", "LessEqual", "LogicalAnd", "LogicalOr", "LogicalNot",
        "IsNan", "IsInf", "IsFinite", "All", "Any", "ApproximateEqual", "InTopK", "InTopKV2", "RegexFullMatch",
        "StaticRegexFullMatch", "ToBool", "LoopCond", "VarIsInitializedOp",
    }
)  # fmt: skip
# The attribute that holds the dtype of the output, where it is not `T`.
ATTRIBUTE = {
    "Cast": "DstT", "Const": "dtype", "HostConst": "dtype", "Placeholder": "dtype", "PlaceholderV2": "dtype",
    "PlaceholderWithDefault": "dtype", "ReadVariableOp": "dtype", "ResourceGather": "dtype", "ResourceGatherNd": "dtype",
    "Shape": "out_type", "ShapeN": "out_type", "Size": "out_type", "ArgMax": "output_type", "ArgMin": "output_type",
    "GatherV2": "Tparams", "Gather": "Tparams", "GatherNd": "Tparams", "LookupTableFindV2": "Tout",
    "LookupTableFind": "Tout", "TensorListStack": "element_dtype", "TensorListGetItem": "element_dtype",
    "TensorListGather": "element_dtype", "TensorArrayReadV3": "dtype", "TensorArrayGatherV3": "dtype",
    "Bucketize": "", "Range": "Tidx", "Dequantize": "dtype", "Bitcast": "type", "RandomUniform": "dtype",
    "RandomStandardNormal": "dtype", "TruncatedNormal": "dtype", "DecodeRaw": "out_type", "StringToNumber": "out_type",
    "SparseToDense": "T", "VariableV2": "dtype", "Variable": "dtype", "RaggedTensorToTensor": "T",
    "DenseBincount": "T", "OneHot": "T", "ResizeBilinear": "",
}  # fmt: skip
# Attributes left away because they have this value.
LEFT_AWAY = {"out_type": "int32", "output_type": "int64", "dtype": "float32"}
TEXTS = frozenset(
    {
        "AsString", "StringLower", "StringUpper", "StringJoin", "StringStrip", "Substr", "RegexReplace",
        "StaticRegexReplace", "ReduceJoin", "StringFormat", "UnicodeEncode", "UnicodeTranscode",
    }
)  # fmt: skip
WHOLE = {
    "Rank": "int32", "Bucketize": "int32", "StringToHashBucketFast": "int64", "StringToHashBucketStrong": "int64",
    "StringToHashBucket": "int64", "StringLength": "int32", "Where": "int64", "ResizeBilinear": "float32",
    "TensorListLength": "int32", "NonMaxSuppressionV3": "int32", "NonMaxSuppressionV2": "int32",
    "DecodeJpeg": "uint8", "DecodePng": "uint8", "TensorListFromTensor": "variant", "TensorListReserve": "variant",
    "TensorListSetItem": "variant", "EmptyTensorList": "variant", "TensorListPushBack": "variant",
}  # fmt: skip
SEVERAL = {
    "StringSplitV2": ("int64", "string", "int64"),
    "StringSplit": ("int64", "string", "int64"),
    "TensorArrayV3": ("resource", "float32"),
}
LISTED = {"While": "T", "StatelessWhile": "T", "If": "Tout", "StatelessIf": "Tout", "Case": "Tout", "IdentityN": "T"}
SECOND_IS_PLACE = frozenset({"TopK", "TopKV2", "Unique", "UniqueV2", "MaxPoolWithArgmax", "Merge"})


def dtype_of(node: GraphNode, output: int) -> str:
    """Return the dtype of an output, ``""`` where the node does not tell."""
    op = node.op
    if op in TRUTHS:
        return "bool"
    if op in TEXTS:
        return "string"
    if op in WHOLE:
        return WHOLE[op]
    if op in SEVERAL:
        return SEVERAL[op][output] if output < len(SEVERAL[op]) else ""
    if op in LISTED:
        found = attribute_dtypes(node, LISTED[op])
        return found[output] if output < len(found) else ""
    if op in SECOND_IS_PLACE and output:
        return "int32"
    name = ATTRIBUTE.get(op, "T")
    if name not in node.attributes and name in LEFT_AWAY:
        return LEFT_AWAY[name]
    return attribute_dtype(node, name) or (attribute_dtype(node, "dtype") if name == "T" else "") or "float32"


def shape_at(node: GraphNode, output: int) -> Shape | None:
    """Return the shape of an output that the file tells, ``None`` where not even the rank is told."""
    shapes = attribute_shapes(node, "_output_shapes")
    if output < len(shapes):
        return shapes[output]
    if node.op.startswith("Placeholder"):
        return attribute_shape(node, "shape")
    return None


def first_channels(node: GraphNode) -> bool:
    """Return True if a node computes with the channels before the rows."""
    from actviz.formats.savedmodel.proto import attribute_text

    return attribute_text(node, "data_format").startswith("NC")

"""Which operations a TensorFlow graph may hold, decided before TensorFlow sees it.

These are allow-lists: an operation on neither is refused, in the main graph and in every
function of its library. `PURE` operations compute values from values and may be run. `KEPT`
operations occur in legitimate files (savers, optimizers, initializers) but change state or read
files: they are never run, and a signature may not call them. Operations with graphs of their own,
such as datasets, and all that call Python, print or open files are on neither list.
"""

from __future__ import annotations

import functools
import json
from pathlib import Path
from typing import TYPE_CHECKING

from actviz.errors import UnsafeError, escape
from actviz.gate.allowed_names import MAX_TABLE_BYTES
from actviz.gate.trust import NO_FLAG
from actviz.system import file_system

if TYPE_CHECKING:
    from collections.abc import Iterable

_MATH = (
    "Abs Acos Acosh AccumulateNV2 Add AddN AddV2 Angle ApproximateEqual Asin Asinh Atan Atan2 Atanh BesselI0 BesselI0e BesselI1 "
    "BesselI1e Betainc BitwiseAnd BitwiseOr BitwiseXor Cast Ceil ClipByValue Complex ComplexAbs Conj Cos Cosh Cross Cumprod Cumsum "
    "CumulativeLogsumexp Digamma Div DivNoNan Equal Erf Erfc Erfinv Exp Expm1 Floor FloorDiv FloorMod Greater GreaterEqual Igamma "
    "Igammac Imag Inv Invert IsFinite IsInf IsNan LeftShift Less LessEqual Lgamma LinSpace Log Log1p LogicalAnd LogicalNot LogicalOr "
    "Maximum Minimum Mod Mul MulNoNan Ndtri Neg NextAfter NotEqual Polygamma Pow Real RealDiv Reciprocal RightShift Rint Round Rsqrt "
    "Sigmoid Sign Sin Sinh Sqrt Square SquaredDifference Sub Tan Tanh TruncateDiv TruncateMod Xdivy Xlog1py Xlogy Zeta"
)
_REDUCTIONS = (
    "All Any ArgMax ArgMin Bincount Bucketize DenseBincount EuclideanNorm HistogramFixedWidth InTopK InTopKV2 InvertPermutation L2Loss Max "
    "Mean Min NthElement Prod SegmentMax SegmentMean SegmentMin SegmentProd SegmentSum Sum TopK TopKV2 Unique UniqueV2 UniqueWithCounts "
    "UniqueWithCountsV2 UnsortedSegmentMax UnsortedSegmentMin UnsortedSegmentProd UnsortedSegmentSum ApproxTopK LowerBound UpperBound"
)
_SHAPES = (
    "BatchToSpace BatchToSpaceND Bitcast BroadcastArgs BroadcastTo Concat ConcatOffset ConcatV2 Const DepthToSpace Diag DiagPart "
    "DynamicPartition DynamicStitch ExpandDims Fill Gather GatherNd GatherV2 HostConst Identity IdentityN ListDiff MirrorPad "
    "NoOp OneHot OnesLike Pack Pad PadV2 ParallelConcat ParallelDynamicStitch Placeholder PlaceholderV2 PlaceholderWithDefault "
    "PreventGradient Range Rank Reshape Reverse ReverseSequence ReverseV2 Roll ScatterNd Select SelectV2 SetSize Shape ShapeN Size Slice "
    "Snapshot SpaceToBatch SpaceToBatchND SpaceToDepth SparseToDense Split SplitV Squeeze StopGradient StridedSlice TensorScatterAdd "
    "TensorScatterMax TensorScatterMin TensorScatterSub TensorScatterUpdate TensorStridedSliceUpdate Tile Transpose ConjugateTranspose "
    "Unpack UnravelIndex Where ZerosLike"
)
_NETWORKS = (
    "AvgPool AvgPool3D BatchNormWithGlobalNormalization BiasAdd BiasAddV1 BlockLSTM BlockLSTMV2 Conv Conv2D Conv2DBackpropInput "
    "Conv2DBackpropInputV2 Conv3D Conv3DBackpropInput Conv3DBackpropInputV2 CropAndResize CTCGreedyDecoder CTCBeamSearchDecoder "
    "CombinedNonMaxSuppression DataFormatDimMap DataFormatVecPermute DepthwiseConv2dNative Dequantize Dilation2D Elu "
    "ExtractImagePatches ExtractVolumePatches FakeQuantWithMinMaxArgs FakeQuantWithMinMaxVars FakeQuantWithMinMaxVarsPerChannel "
    "FractionalAvgPool FractionalMaxPool FusedBatchNorm FusedBatchNormV2 FusedBatchNormV3 FusedPadConv2D FusedResizeAndPadConv2D "
    "GRUBlockCell LRN LSTMBlockCell LeakyRelu LogSoftmax MaxPool MaxPool3D MaxPoolV2 MaxPoolWithArgmax NonMaxSuppression "
    "NonMaxSuppressionV2 NonMaxSuppressionV3 NonMaxSuppressionV4 NonMaxSuppressionV5 NonMaxSuppressionWithOverlaps QuantizeAndDequantize "
    "QuantizeAndDequantizeV2 QuantizeAndDequantizeV3 QuantizeAndDequantizeV4 QuantizeV2 Relu Relu6 Selu Softmax Softplus Softsign "
    "SparseSoftmaxCrossEntropyWithLogits SoftmaxCrossEntropyWithLogits _FusedBatchNormEx _FusedConv2D _FusedMatMul"
)
_IMAGES = (
    "AdjustContrast AdjustContrastv2 AdjustHue AdjustSaturation DecodeBmp DecodeGif DecodeImage DecodeJpeg DecodePng DecodeBase64 "
    "DecodeCompressed DecodeCSV DecodePaddedRaw DecodeRaw DecodeWav EncodeBase64 EncodeJpeg EncodePng HSVToRGB RGBToHSV "
    "ImageProjectiveTransformV2 ImageProjectiveTransformV3 ResizeArea ResizeBicubic ResizeBilinear ResizeNearestNeighbor "
    "ScaleAndTranslate DrawBoundingBoxes DrawBoundingBoxesV2 ExtractGlimpse ExtractGlimpseV2 AudioSpectrogram Mfcc"
)
_ALGEBRA = (
    "BatchMatMul BatchMatMulV2 BatchMatMulV3 BandedTriangularSolve Cholesky Eig Einsum FFT FFT2D FFT3D IFFT IFFT2D IFFT3D IRFFT IRFFT2D "
    "IRFFT3D LogMatrixDeterminant Lu MatMul MatrixBandPart MatrixDeterminant MatrixDiag MatrixDiagPart MatrixDiagPartV2 MatrixDiagPartV3 "
    "MatrixDiagV2 MatrixDiagV3 MatrixExponential MatrixInverse MatrixLogarithm MatrixSetDiag MatrixSetDiagV2 MatrixSetDiagV3 MatrixSolve "
    "MatrixSolveLs MatrixSquareRoot MatrixTriangularSolve Qr RFFT RFFT2D RFFT3D SelfAdjointEigV2 SparseMatMul Svd TridiagonalMatMul "
    "TridiagonalSolve"
)
_TEXT = (
    "AsString ReduceJoin RegexFullMatch RegexReplace StaticRegexFullMatch StaticRegexReplace StringFormat StringJoin StringLength "
    "StringLower StringNGrams StringSplit StringSplitV2 StringStrip StringToHashBucket StringToHashBucketFast StringToHashBucketStrong "
    "StringToNumber StringUpper Substr UnicodeDecode UnicodeDecodeWithOffsets UnicodeEncode UnicodeScript UnicodeTranscode "
    "UnsortedSegmentJoin Fingerprint ParseExample ParseExampleV2 ParseSingleExample ParseTensor"
)
_SPARSE = (
    "DenseCountSparseOutput DenseToDenseSetOperation RaggedBincount RaggedCountSparseOutput RaggedCross RaggedGather RaggedRange "
    "RaggedTensorToSparse RaggedTensorToTensor RaggedTensorToVariant RaggedTensorFromVariant SparseAdd SparseBincount SparseConcat "
    "SparseCountSparseOutput SparseCross SparseCrossHashed SparseCrossV2 SparseDenseCwiseAdd SparseDenseCwiseDiv SparseDenseCwiseMul "
    "SparseFillEmptyRows SparseReduceMax SparseReduceSum SparseReorder SparseReshape SparseSegmentMean SparseSegmentMeanWithNumSegments "
    "SparseSegmentSqrtN SparseSegmentSqrtNWithNumSegments SparseSegmentSum SparseSegmentSumWithNumSegments SparseSlice SparseSoftmax "
    "SparseSplit SparseTensorDenseAdd SparseTensorDenseMatMul EditDistance"
)
_FLOW = (
    "Enter Exit LoopCond Merge NextIteration Switch _SwitchN ControlTrigger RefEnter RefExit RefIdentity RefMerge RefNextIteration "
    "RefSwitch If While Case StatelessIf StatelessWhile StatelessCase For PartitionedCall StatefulPartitionedCall FakeParam "
    "ToBool EmptyTensorList TensorListConcat TensorListConcatV2 TensorListConcatLists TensorListElementShape TensorListFromTensor "
    "TensorListGather TensorListGetItem TensorListLength TensorListPopBack TensorListPushBack TensorListPushBackBatch TensorListReserve "
    "TensorListResize TensorListScatter TensorListScatterIntoExistingList TensorListScatterV2 TensorListSetItem TensorListSplit "
    "TensorListStack TensorArrayV3 TensorArrayConcatV3 TensorArrayGatherV3 TensorArrayReadV3 TensorArrayScatterV3 TensorArraySizeV3 "
    "TensorArraySplitV3 TensorArrayWriteV3 TensorArrayCloseV3 Stack StackV2 StackPushV2 StackPopV2"
)
# Checks of values, which return their input or nothing, and fail with a message of the graph. TensorFlow
# marks them as stateful only to keep them from being removed. Others of the kind are not here: Print writes
# to standard error, and the Debug and Copy operations write to the files and addresses in their attributes.
_CHECKS = "Assert CheckNumerics CheckNumericsV2 EnsureShape"
_STATE = (
    "VarHandleOp ReadVariableOp VarIsInitializedOp VariableShape ResourceGather ResourceGatherNd Variable VariableV2 "
    "IsVariableInitialized HashTable HashTableV2 MutableHashTable MutableHashTableV2 MutableHashTableOfTensors "
    "MutableHashTableOfTensorsV2 LookupTableFind LookupTableFindV2 LookupTableSize LookupTableSizeV2 LookupTableExport "
    "LookupTableExportV2 DisableCopyOnRead"
)
_RANDOM = (
    "RandomGamma RandomPoisson RandomPoissonV2 RandomShuffle RandomStandardNormal RandomUniform RandomUniformInt Multinomial "
    "ParameterizedTruncatedNormal TruncatedNormal StatelessMultinomial StatelessRandomBinomial StatelessRandomGammaV2 "
    "StatelessRandomGetAlg StatelessRandomGetKeyCounter StatelessRandomGetKeyCounterAlg StatelessRandomNormal StatelessRandomNormalV2 "
    "StatelessRandomPoisson StatelessRandomUniform StatelessRandomUniformFullInt StatelessRandomUniformFullIntV2 "
    "StatelessRandomUniformInt StatelessRandomUniformIntV2 StatelessRandomUniformV2 StatelessShuffle StatelessTruncatedNormal "
    "StatelessTruncatedNormalV2 RandomIndexShuffle"
)
_SAVING = "SaveV2 RestoreV2 Save Restore RestoreSlice SaveSlices ShardedFilename ShardedFilespec MergeV2Checkpoints"
_CHANGING = (
    "Assign AssignAdd AssignSub AssignVariableOp AssignAddVariableOp AssignSubVariableOp ScatterAdd ScatterSub ScatterUpdate "
    "ResourceScatterAdd ResourceScatterSub ResourceScatterUpdate ResourceScatterNdUpdate ResourceStridedSliceAssign "
    "LookupTableImport LookupTableImportV2 LookupTableInsert LookupTableInsertV2 LookupTableRemoveV2 InitializeTable InitializeTableV2 "
    "InitializeTableFromTextFile InitializeTableFromTextFileV2 DestroyResourceOp CountUpTo StatefulUniform StatefulUniformInt "
    "StatefulStandardNormalV2 StatefulTruncatedNormal StatefulUniformFullInt RngReadAndSkip RngSkip NonDeterministicInts AnonymousSeedGenerator "
    "DestroyTemporaryVariable TemporaryVariable MutexV2 MutexLock ConsumeMutexLock"
)
_TRAINING = (
    "ApplyAdadelta ApplyAdagrad ApplyAdagradDA ApplyAdagradV2 ApplyAdam ApplyAdaMax ApplyAddSign ApplyCenteredRMSProp ApplyFtrl ApplyFtrlV2 "
    "ApplyGradientDescent ApplyMomentum ApplyPowerSign ApplyProximalAdagrad ApplyProximalGradientDescent ApplyRMSProp "
    "ResourceApplyAdadelta ResourceApplyAdagrad ResourceApplyAdagradDA ResourceApplyAdagradV2 ResourceApplyAdam ResourceApplyAdaMax "
    "ResourceApplyAdamWithAmsgrad ResourceApplyAddSign ResourceApplyCenteredRMSProp ResourceApplyFtrl ResourceApplyFtrlV2 "
    "ResourceApplyGradientDescent ResourceApplyKerasMomentum ResourceApplyMomentum ResourceApplyPowerSign ResourceApplyProximalAdagrad "
    "ResourceApplyProximalGradientDescent ResourceApplyRMSProp ResourceSparseApplyAdagrad ResourceSparseApplyAdagradV2 "
    "ResourceSparseApplyFtrl ResourceSparseApplyFtrlV2 ResourceSparseApplyKerasMomentum ResourceSparseApplyMomentum "
    "ResourceSparseApplyRMSProp SparseApplyAdagrad SparseApplyFtrl SparseApplyMomentum SparseApplyRMSProp AvgPoolGrad AvgPool3DGrad "
    "BiasAddGrad BroadcastGradientArgs Conv2DBackpropFilter Conv2DBackpropFilterV2 Conv3DBackpropFilter Conv3DBackpropFilterV2 "
    "DepthwiseConv2dNativeBackpropFilter DepthwiseConv2dNativeBackpropInput EluGrad FusedBatchNormGrad FusedBatchNormGradV2 "
    "FusedBatchNormGradV3 InvGrad LRNGrad LeakyReluGrad MaxPoolGrad MaxPoolGradV2 MaxPool3DGrad MaxPoolGradWithArgmax MirrorPadGrad "
    "ReciprocalGrad Relu6Grad ReluGrad ResizeBicubicGrad ResizeBilinearGrad ResizeNearestNeighborGrad RsqrtGrad SeluGrad SigmoidGrad "
    "SoftplusGrad SoftsignGrad SparseAddGrad SparseFillEmptyRowsGrad SparseSegmentMeanGrad SparseSegmentSumGrad SqrtGrad StridedSliceGrad "
    "TanhGrad OptionalFromValue OptionalGetValue OptionalHasValue OptionalNone BlockLSTMGrad BlockLSTMGradV2 LSTMBlockCellGrad "
    "GRUBlockCellGrad Dilation2DBackpropFilter Dilation2DBackpropInput IgammaGradA RandomGammaGrad FakeQuantWithMinMaxArgsGradient "
    "FakeQuantWithMinMaxVarsGradient FakeQuantWithMinMaxVarsPerChannelGradient QuantizeAndDequantizeV4Grad MaxPoolGradGrad "
    "MaxPoolGradGradV2 FractionalAvgPoolGrad FractionalMaxPoolGrad CholeskyGrad CudnnRNN CudnnRNNV2 CudnnRNNV3 CudnnRNNBackprop CudnnRNNBackpropV2 CudnnRNNBackpropV3 CudnnRNNParamsSize "
    "CudnnRNNCanonicalToParams CudnnRNNCanonicalToParamsV2 CudnnRNNParamsToCanonical CudnnRNNParamsToCanonicalV2 TensorArrayGradV3 TileGrad CTCLoss CTCLossV2 CropAndResizeGradImage CropAndResizeGradBoxes AudioSummary AudioSummaryV2 "
    "HistogramSummary ImageSummary MergeSummary ScalarSummary TensorSummary TensorSummaryV2"
)

PURE = frozenset(
    f"{_MATH} {_REDUCTIONS} {_SHAPES} {_NETWORKS} {_IMAGES} {_ALGEBRA} {_TEXT} {_SPARSE} {_FLOW} {_CHECKS} {_STATE} {_RANDOM}".split()
)
CHANGING = frozenset(_CHANGING.split())
SAVING = frozenset(_SAVING.split())
READS = frozenset({"ReadVariableOp", "ResourceGather", "ResourceGatherNd"})
# Changes of a variable that may be run: they change only the variable that they are given, which is a
# copy of the file's value in the memory of this process.
RUNNABLE_WRITES = frozenset(
    [
        "AssignVariableOp",
        "AssignAddVariableOp",
        "AssignSubVariableOp",
        "ResourceScatterAdd",
        "ResourceScatterSub",
        "ResourceScatterUpdate",
        "ResourceScatterNdUpdate",
        "ResourceStridedSliceAssign",
        "StatefulUniform",
        "StatefulUniformInt",
        "StatefulStandardNormalV2",
        "StatefulTruncatedNormal",
        "StatefulUniformFullInt",
        "RngReadAndSkip",
        "RngSkip",
    ]
)
# Random operations with a generator of their own, seeded by attributes; 0 and 0 means seeded from the clock.
SEEDED_BY_ATTRIBUTES = frozenset(
    [
        "RandomGamma",
        "RandomPoisson",
        "RandomPoissonV2",
        "RandomShuffle",
        "RandomStandardNormal",
        "RandomUniform",
        "RandomUniformInt",
        "Multinomial",
        "ParameterizedTruncatedNormal",
        "TruncatedNormal",
        "FractionalAvgPool",
        "FractionalMaxPool",
    ]
)
SEEDED_BY_INPUTS = frozenset(
    name
    for name in (*_RANDOM.split(), *RUNNABLE_WRITES)
    if name.startswith(("StatelessRandom", "StatelessTruncated", "StatelessMulti", "StatelessShuffle", "Stateful"))
    and "Get" not in name
)
KEPT = CHANGING | SAVING | frozenset(_TRAINING.split())


@functools.cache
def operation_outputs() -> dict[str, dict[str, str]]:
    """Return the outputs of operations that have several, by the names that functions use for them, in order.

    Each comes with the attribute that gives the length of an output that is a list, as a number or as a list of
    dtypes; ``""`` for a single tensor. The table is `operation_outputs.json`, which
    ``python tests/tools/make_operation_outputs.py`` writes from TensorFlow's own definitions.
    """
    table = json.loads(file_system.read_bytes(Path(__file__).with_name("operation_outputs.json"), MAX_TABLE_BYTES))
    outputs: dict[str, dict[str, str]] = table["outputs"]
    return outputs


def check_operations(
    operations: Iterable[tuple[str, str]], functions: frozenset[str], name: str, *, run: bool = False
) -> None:
    """Refuse a graph with an operation outside the lists.

    Parameters
    ----------
    operations
        The name of each node and its operation.
    functions
        The names of the library's functions, which nodes may call like operations.
    name
        The model's file name.
    run
        Whether the nodes are to be run: then only pure ones are allowed, and changes of state,
        which are not run.

    Raises
    ------
    UnsafeError
        With the operation and the node named.
    """
    allowed = PURE | CHANGING if run else PURE | KEPT
    for node, operation in operations:
        if operation not in allowed and operation not in functions:
            message = f'{name}: refused: the operation "{escape(operation, 60)}" of node "{escape(node, 100)}" is not on the list of pure operations; {NO_FLAG}.'
            raise UnsafeError(message)

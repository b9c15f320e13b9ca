"""The layer catalogue: one record for each Keras layer class.

Classes with the same facts share an entry. To add a class of a new Keras, write its name into such an entry,
or add one; `tests/layer_catalogue` reports the classes and facts that are missing.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from actviz.layer_catalogue import shape_rules as shapes
from actviz.layer_catalogue import window_rules as windows
from actviz.layer_catalogue.record import LayerClass

if TYPE_CHECKING:
    from collections.abc import Mapping

    from actviz.layer_catalogue.record import PassesOn, WeightRule
    from actviz.layer_catalogue.shape_rules import Json
    from actviz.records import Axes


def _weights(trained: int = 0, fixed: int = 0, optional: tuple[str, ...] = ()) -> WeightRule:
    """Return the rule for a layer with these weights, and one trained weight for each argument that is not False."""
    return lambda config: (trained + sum(bool(config.get(name, True)) for name in optional), fixed)


def _normalization_weights(config: Json) -> tuple[int, int]:
    return (0, 3) if config.get("mean") is None else (0, 0)


def _entry(names: str, plain: str = "", traced: str = "", **facts: Any) -> dict[str, LayerClass]:
    """Return records of the same facts by class name; `plain` and `traced` are the classes with that `call`."""
    records = {name: LayerClass(**facts) for name in names.split()}
    records |= {name: records[name]._replace(call="plain") for name in plain.split()}
    return records | {name: records[name]._replace(call="traced") for name in traced.split()}


_NONE = _weights()
_BIAS = _weights(1, optional=("use_bias",))
_SEPARABLE = _weights(2, optional=("use_bias",))
_SCALED = _weights(optional=("scale", "center"))
_SAME: dict[str, Any] = {"shape": shapes.keep, "keeps_place": True}
_PASS: dict[str, Any] = {"weights": _NONE, "keeps_sign": True, "keeps_bounds": True, "passes_on": "all"}
_PART: dict[str, Any] = _PASS | {"passes_on": "part"}
_MERGE: dict[str, Any] = {"merge": shapes.broadcast, "weights": _NONE, "keeps_place": True}

_SPACE: dict[int, Axes] = {1: ("step",), 2: ("row", "column"), 3: ("plane", "row", "column")}


def _with_kernels(records: dict[str, LayerClass], *ends: Axes) -> dict[str, LayerClass]:
    """Return the records of convolutions with the axes of their kernels: those of space, by the class name, and `ends`."""
    return {
        name: record._replace(kernels=tuple((*_SPACE[int(re.sub(r"\D", "", name))], *end) for end in ends))
        for name, record in records.items()
    }


_FULL, _BACK, _DEPTH = ("input", "output"), ("output", "input"), ("input", "multiplier")
_CONVOLUTIONS = (
    _with_kernels(_entry(
        "Conv1D Conv2D Conv3D", plain="Conv1D Conv2D Conv3D",
        shape=shapes.convolution, window=windows.convolution, weights=_BIAS, groups=True, activation_last=True, family="convolution",
    ), _FULL)
    | _with_kernels(_entry(
        "SeparableConv1D SeparableConv2D", plain="SeparableConv2D",
        shape=shapes.convolution, window=windows.convolution, weights=_SEPARABLE, activation_last=True, family="convolution",
    ), _DEPTH, _FULL)
    | _with_kernels(_entry(
        "DepthwiseConv1D DepthwiseConv2D", plain="DepthwiseConv2D",
        shape=shapes.depthwise, window=windows.convolution, weights=_BIAS, activation_last=True, family="depthwise convolution",
    ), _DEPTH)
    | _with_kernels(_entry(
        "Conv1DTranspose Conv2DTranspose Conv3DTranspose", traced="Conv2DTranspose",
        window=windows.transposed_convolution, weights=_BIAS, activation_last=True, family="transposed convolution",
    ), _BACK)
)  # fmt: skip
_POOLING = (
    _entry(
        "MaxPooling1D MaxPooling2D MaxPooling3D", plain="MaxPooling2D", traced="MaxPooling1D",
        **_PART, shape=shapes.pooling, window=windows.pooling, family="max pooling",
    )
    | _entry(
        "AveragePooling1D AveragePooling2D AveragePooling3D", plain="AveragePooling2D", traced="AveragePooling1D",
        **_PART, shape=shapes.pooling, window=windows.pooling, family="average pooling",
    )
    | _entry(
        "GlobalMaxPooling1D GlobalMaxPooling2D GlobalMaxPooling3D",
        plain="GlobalMaxPooling2D", traced="GlobalMaxPooling1D",
        **_PART, shape=shapes.global_pooling, family="maximum over axes",
    )
    | _entry(
        "GlobalAveragePooling1D GlobalAveragePooling2D GlobalAveragePooling3D",
        plain="GlobalAveragePooling2D", traced="GlobalAveragePooling1D",
        **_PART, shape=shapes.global_pooling, family="average",
    )
    | _entry(
        "AdaptiveMaxPooling1D AdaptiveMaxPooling2D AdaptiveMaxPooling3D "
        "AdaptiveAveragePooling1D AdaptiveAveragePooling2D AdaptiveAveragePooling3D",
        passes_on="part",
    )
)  # fmt: skip
_SIZES = (
    _entry(
        "ZeroPadding1D ZeroPadding2D ZeroPadding3D", plain="ZeroPadding2D",
        **_PART, shape=shapes.padding(1), window=windows.padding, family="pad",
    )
    | _entry(
        "Cropping1D Cropping2D Cropping3D", traced="Cropping2D",
        **_PART, shape=shapes.padding(-1), window=windows.cropping, family="crop",
    )
    | _entry(
        "UpSampling1D UpSampling2D UpSampling3D", traced="UpSampling2D",
        **_PART, shape=shapes.up_sampling, window=windows.up_sampling, family="resize",
    )
    | _entry(
        "Resizing", shape=shapes.resizing, window=windows.resizing, weights=_NONE, passes_on="part", family="resize"
    )
    | _entry(
        "CenterCrop", shape=shapes.resizing, window=windows.center_crop, weights=_NONE, passes_on="part", family="crop"
    )
)  # fmt: skip
_ARRANGEMENTS = (
    _entry("Flatten", plain="Flatten", **_PASS, shape=shapes.flatten, keeps_integers=True, family="reshape")
    | _entry("Reshape", traced="Reshape", **_PASS, shape=shapes.reshape, keeps_integers=True, family="reshape")
    | _entry("Permute", traced="Permute", **_PASS, shape=shapes.permute, keeps_integers=True, family="permute")
    | _entry("RepeatVector", **_PASS, shape=shapes.repeat_vector, keeps_integers=True)
    | _entry("InputLayer", traced="InputLayer", weights=_NONE, passes_on="all")
    | _entry("Identity", **_PASS, **_SAME, keeps_integers=True)
    | _entry("ActivityRegularization", **_PASS, **_SAME)
    | _entry("Masking", **_SAME, weights=_NONE, passes_on="all")
    | _entry("Functional Sequential Model", passes_on="all", family="model")
)
_RANDOM = (
    _entry(
        "Dropout SpatialDropout1D SpatialDropout2D SpatialDropout3D", traced="Dropout SpatialDropout1D SpatialDropout2D",
        **_PASS, **_SAME, random_in_training=True,
    )
    | _entry(
        "GaussianNoise GaussianDropout AlphaDropout RandomFlip RandomRotation RandomTranslation RandomZoom RandomContrast "
        "RandomBrightness",
        **_SAME, weights=_NONE, passes_on="all", random_in_training=True,
    )
    | _entry(
        "AugMix CutMix MixUp RandAugment RandomColorDegeneration RandomColorJitter RandomElasticTransform RandomErasing "
        "RandomGaussianBlur RandomGrayscale RandomHue RandomInvert RandomPerspective RandomPosterization RandomSaturation "
        "RandomSharpness RandomShear",
        passes_on="all", random_in_training=True,
    )
    | _entry("RandomCrop", passes_on="part", random_in_training=True)
    | _entry("StochasticDepth", module="keras.src.applications.convnext")
)  # fmt: skip
_ACTIVATIONS = (
    _entry("Activation", plain="Activation", **_SAME, weights=_NONE, activation="")
    | _entry("ReLU", plain="ReLU", **_SAME, weights=_NONE, activation="relu")
    | _entry(
        "LeakyReLU", plain="LeakyReLU", **_SAME, weights=_NONE, activation="leaky_relu",
        renamed=(("alpha", "negative_slope"),),
    )
    | _entry("ELU", traced="ELU", **_SAME, weights=_NONE, activation="elu")
    | _entry("PReLU", traced="PReLU", **_SAME, weights=_weights(1), activation="prelu")
    | _entry("Softmax", plain="Softmax", **_SAME, weights=_NONE, activation="softmax")
    | _entry("ThresholdedReLU", **_SAME, weights=_NONE)
)  # fmt: skip
_NORMALIZATIONS = (
    _entry(
        "BatchNormalization", plain="BatchNormalization", **_SAME, weights=_weights(0, 2, ("scale", "center")),
        family="normalization", older=("BatchNormalizationV1", "BatchNormalizationV2"),
    )
    | _entry("LayerNormalization", traced="LayerNormalization", **_SAME, weights=_SCALED)
    | _entry("GroupNormalization", traced="GroupNormalization", **_SAME, weights=_SCALED, groups=True)
    | _entry("UnitNormalization", **_SAME, weights=_NONE)
    | _entry("RMSNormalization", **_SAME)
    | _entry("Normalization", traced="Normalization", **_SAME, weights=_normalization_weights)
    | _entry("Rescaling", traced="Rescaling", **_SAME, weights=_NONE)
    | _entry("LayerScale", module="keras.src.applications.convnext")
)  # fmt: skip
_MERGES = (
    _entry("Add", plain="Add", **_MERGE, keeps_sign=True, family="add")
    | _entry("Subtract", traced="Subtract", **_MERGE, family="subtract")
    | _entry("Multiply", plain="Multiply", **_MERGE, keeps_sign=True, family="multiply")
    | _entry(
        "Average Maximum Minimum", plain="Average Maximum", traced="Minimum",
        **_MERGE, keeps_sign=True, keeps_bounds=True,
    )
    | _entry(
        "Concatenate", plain="Concatenate",
        **_PART, merge=shapes.concatenate, keeps_integers=True, family="concatenate",
    )
    | _entry("CustomScaleLayer", **_MERGE, module="keras.src.applications.inception_resnet_v2")
    | _entry("Dot", weights=_NONE)
)  # fmt: skip
_SEQUENCES = (
    _entry(
        "LSTM", shape=shapes.recurrent, weights=_SEPARABLE, recurrent=True, states=2, family="recurrent",
        older=("LSTMV2", "CuDNNLSTM"),
    )
    | _entry(
        "GRU", shape=shapes.recurrent, weights=_SEPARABLE, recurrent=True, family="recurrent", older=("GRUV2", "CuDNNGRU")
    )
    | _entry("SimpleRNN", shape=shapes.recurrent, weights=_SEPARABLE, recurrent=True, family="recurrent")
    | _entry("RNN", recurrent=True, family="recurrent")
    | _entry("ConvLSTM1D ConvLSTM2D ConvLSTM3D", weights=_SEPARABLE, recurrent=True, states=2)
    | _entry("GRUCell LSTMCell SimpleRNNCell StackedRNNCells")
    | _entry("Bidirectional", recurrent=True, wraps="directions")
    | _entry("TimeDistributed", wraps="step")
    | _entry("SpectralNormalization", wraps="whole", keeps_place=True)
    | _entry("Attention AdditiveAttention", attention=True, to_call=(("causal", "use_causal_mask"),))
    | _entry("MultiHeadAttention", attention=True)
    | _entry("GroupQueryAttention", attention=True, older=("GroupedQueryAttention",))
)  # fmt: skip
_OTHERS = (
    _entry(
        "Dense",
        plain="Dense",
        shape=shapes.dense,
        weights=_BIAS,
        kernels=(_FULL,),
        keeps_place=True,
        activation_last=True,
        family="dense",
    )
    | _entry("EinsumDense", activation_last=True, family="dense")
    | _entry(
        "Embedding",
        shape=shapes.embedding,
        weights=_weights(1),
        kernels=(_FULL,),
        lookup_size="input_dim",
        family="embedding",
    )
    | _entry("ReversibleEmbedding", lookup_size="input_dim")
    | _entry("CategoryEncoding", lookup_size="num_tokens")
    | _entry("TextVectorization StringLookup IntegerLookup", vocabulary=True)
    | _entry(
        "AutoContrast ContrastLimitedAdaptiveHistogramEqualization Discretization Equalization HashedCrossing Hashing "
        "MaxNumBoundingBoxes MelSpectrogram STFTSpectrogram Solarization"
    )
    | _entry("RandomHeight RandomWidth")
)
LAYERS: Mapping[str, LayerClass] = (
    _CONVOLUTIONS | _POOLING | _SIZES | _ARRANGEMENTS | _RANDOM | _ACTIVATIONS | _NORMALIZATIONS | _MERGES
    | _SEQUENCES | _OTHERS
)  # fmt: skip
KERAS_1_NAMES: Mapping[str, str] = {
    "Convolution1D": "Conv1D",
    "Convolution2D": "Conv2D",
    "Convolution3D": "Conv3D",
    "Deconvolution2D": "Conv2DTranspose",
    "SeparableConvolution2D": "SeparableConv2D",
    "AtrousConvolution2D": "Conv2D",
    "Merge": "Merge",
}
"""Classes by their names in files of Keras 1; the class of a Merge depends on its configuration."""
OLDER_NAMES: Mapping[str, str] = {old: name for name, facts in LAYERS.items() for old in facts.older}
"""Classes by their names in files of Keras 2 and early Keras 3."""
REMOVED_ARGUMENTS: Mapping[str, tuple[object, ...]] = {
    "time_major": (False,), "groups": (1,), "kernel_initializer": (), "input_dtype": (None, "float32"),
    "ragged": (False,), "batch_input_shape": (), "implementation": (), "query_shape": (), "key_shape": (),
    "value_shape": (), "input_length": (), "softmax_robust_masking": (False,), "causal": (False,), "dynamic": (),
    "virtual_batch_size": (None,), "num_constants": (None,),
}  # fmt: skip
"""Arguments that layers had in Keras 2, by the values without an effect on inference; ``()``: every value."""
STAND_INS: Mapping[str, LayerClass] = _entry(
    "DropBlock DropBlock1D DropBlock2D DropBlock3D DropConnect DropPath FixedDropout MCDropout MonteCarloDropout "
    "StochasticDepth TimestepDropout",
    **_PASS, **_SAME, random_in_training=True,
)  # fmt: skip
"""Custom classes of well-known packages whose output is their only input at inference: Identity stands in for them."""
STAND_IN_WRAPPERS = frozenset({"PruneLowMagnitude"})
"""Custom wrappers whose output at inference is that of the layer inside, whose weights come first in the file."""
UNKNOWN = LayerClass()
# The layer classes that compute the same as these operations of graphs, which pass values on.
_PASSING_OPERATIONS = {
    "MaxPool": "MaxPooling2D", "MaxPoolV2": "MaxPooling2D", "MaxPool3D": "MaxPooling3D", "AvgPool": "AveragePooling2D",
    "AvgPool3D": "AveragePooling3D",
}  # fmt: skip


def facts_of(kind: str) -> LayerClass:
    """Return the facts of a class, `UNKNOWN` if it is neither in Keras nor in `STAND_INS`."""
    return LAYERS.get(kind) or STAND_INS.get(kind, UNKNOWN)


def passes_on(kind: str) -> PassesOn:
    """Return whether a layer or operation only passes its input on; see `LayerClass`."""
    return facts_of(_PASSING_OPERATIONS.get(kind, kind)).passes_on

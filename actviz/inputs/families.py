"""Recognize families of `keras.applications` by the name of a model or the names of its layers.

Names can be chosen freely, so this is a guess, used only if the graph does not determine the range.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable


class Family(NamedTuple):
    """A family: patterns of model names, of layers that all its models have, and its input range.

    Each pattern of `layers` must match a layer. `inner` is the range after the Rescaling or
    Normalization layer of the family (``""``: it has none): the input range of models without that
    layer (`include_preprocessing=False`).
    """

    name: str
    model: str
    layers: tuple[str, ...]
    range: str
    inner: str = ""


# Longer names come first: resnet50v2 is not a resnet50, mobilenetv3 not a mobilenet. Layer names are
# those of Keras 2 and 3 in `.h5` files, graphs and TFLite.
FAMILIES: tuple[Family, ...] = (
    Family("ResNetV2", r"resnet\d+v2", ("conv1_conv", "conv2_block1_preact_(bn|relu)"), "-1..1"),
    Family("ResNet-RS", r"resnet[-_]?rs[-_]?\d*", (r"BlockGroup2__block_0_\w+",), "0..255", "torch"),
    Family("InceptionResNet", r"inception[-_]?resnet([-_]?v2)?", ("mixed_5b", "block35_1_(mixed|conv|ac)"), "-1..1"),
    Family(
        "MobileNetV3",
        r"mobilenet[-_]?v3\w*",
        (r"expanded_conv(_1)?[_/](depthwise|project)", "expanded_conv_1[_/]expand", r"expanded_conv_\d+[_/]squeeze_excite.*"),
        "0..255",
        "-1..1",
    ),
    Family(
        "EfficientNetV2", r"efficientnet[-_]?v2([-_]?[sml])", ("block1a_project_conv", "block1a_add", "block2a_expand_conv"), "0..255", "-1..1"
    ),
    Family("EfficientNetV2", r"efficientnet[-_]?v2([-_]?\w+)?", ("block1a_project_activation", "block2a_expand_conv"), "0..255", "torch"),
    Family("EfficientNet", r"efficientnet(-\w+|[a-z]\d?)?", ("block1a_dwconv", "block1a_se_(squeeze|reduce|expand)"), "0..255", "torch"),
    Family("ConvNeXt", r"convnext\w*", (r"convnext_\w+_stage_0_block_0_depthwise_conv",), "0..255", "torch"),
    Family("RegNet", r"regnet\w*", (r"regnet\w+_Stage_0_\w+",), "0..255", "0..1"),
    Family("Xception", r"xception", ("block1_conv1", "block2_sepconv1"), "-1..1"),
    Family("VGG", r"vgg(16|19)", ("block1_conv1", "block1_conv2", "block2_conv1", "block2_conv2"), "caffe"),
    Family("ResNeXt", r"resnext\d+", ("conv1_conv", "conv2_block1_2_reduce"), "torch"),
    Family("DenseNet", r"densenet\d+", ("conv1[_/](conv|relu)", "conv2_block1_concat"), "torch"),
    Family("ResNet", r"resnet\d+", ("conv1_(conv|relu)", "conv2_block1_(1_conv|1_relu|out)"), "caffe"),
    Family("ResNet", r"resnet\d+", ("conv1", "res2a_branch2a"), "caffe"),
    Family("MobileNetV2", r"mobilenet[-_]?v2([-_]\d\.\d+(_\d+)?)?", ("(bn_)?Conv1", r"block_1_(expand|depthwise|project)"), "-1..1"),
    Family("MobileNet", r"mobilenet([-_]\d\.\d+(_\d+)?)?", ("conv_dw_1", "conv_pw_1"), "-1..1"),
    Family("InceptionV3", r"inception[-_]?v3", ("mixed0", "mixed1"), "-1..1"),
    Family("NASNet", r"nasnet([-_]?(large|mobile))?", ("stem_conv1", r"reduction_conv_1_stem_1|adjust_bn_stem_1"), "-1..1"),
)  # fmt: skip
# Suffixes that Keras gives to related layers; TFLite keeps that of the last layer of a fused pair.
_ENDINGS = r"(_?(bn|BN|relu|act|activation|batchnorm))?"


def by_name(name: str) -> Family | None:
    """Return the family that a model name belongs to, or ``None``.

    The name must start with that of the family as Keras spells it, and may continue after an
    underscore or hyphen (``vgg16_1``). ``my_vgg16_like`` does not match.
    """
    for family in FAMILIES:
        if re.fullmatch(rf"{family.model}([-_].*)?", name, re.IGNORECASE | re.DOTALL):
            return family
    return None


def by_layers(names: Iterable[str]) -> Family | None:
    """Return the family all of whose layer patterns match one of the names, or ``None``."""
    all_names = {re.sub(r"_\d+$", "", name) for name in names} | set(names)
    for family in FAMILIES:
        patterns = [re.compile(f"(?:{pattern}){_ENDINGS}") for pattern in family.layers]
        if all(any(pattern.fullmatch(name) for name in all_names) for pattern in patterns):
            return family
    return None

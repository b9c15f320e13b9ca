"""Addresses ``LAYER@pre``: selected only if asked for, and refused with the reason and exit code 2 elsewhere."""

from dataclasses import replace

import pytest

from actviz.addresses import select_layers_of
from actviz.commands.explain_plan import parse_plan
from actviz.errors import UsageError
from actviz.explanations.explain import parse_targets
from actviz.records import PRE, LayerInfo, ModelFacts

LISTING = "or list the layers with: actviz layers m.keras"


def layer(address, kind, index=None, activation=None):
    name = address.rpartition("/")[2]
    axes = ("batch", "unit")
    return LayerInfo(address, name, index, kind, (None, 4), "float32", 0, axes, activation)


def before(item):
    return replace(
        item, address=f"{item.address}{PRE}", name=f"{item.name}{PRE}", index=None, inner=True, activation="linear",
        kind=f"{item.kind} before {item.activation}",
    )  # fmt: skip


CONV, SCORES = layer("conv", "Conv2D", 0, "relu"), layer("scores", "Dense", 4, "softmax")
CALLS = [layer(f"encoder#{number}/dense", "Dense", None, "relu") for number in (0, 1)]
OTHERS = (
    layer("pool", "MaxPooling2D", 1),
    layer("act", "ReLU", 2),
    layer("lstm", "LSTM", 3, "tanh"),
    layer("plain", "Dense", 5, "linear"),
    layer("wrapped", "TimeDistributed", 6),
)
FACTS = ModelFacts(
    "m.keras", "keras", "", (), (), (CONV, *OTHERS[:3], SCORES, *OTHERS[3:], *CALLS), (), (), "",
    pre_activations=tuple(map(before, (CONV, SCORES, *CALLS))),
)  # fmt: skip


def chosen(*wanted, facts=FACTS):
    return [item.address for item in select_layers_of(facts, wanted, "m.keras")]


def refused(text, facts=FACTS):
    with pytest.raises(UsageError) as caught:
        select_layers_of(facts, [text], "m.keras")
    assert caught.value.exit_code == 2
    assert "\n" not in caught.value.message
    return caught.value.message


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        (["conv@pre"], ["conv@pre"]),
        (["conv@pre,conv"], ["conv@pre", "conv"]),
        (["*@pre"], ["conv@pre", "scores@pre"]),
        (["**@pre"], ["conv@pre", "scores@pre", "encoder#0/dense@pre", "encoder#1/dense@pre"]),
        (["*@pre", "!scores@pre"], ["conv@pre"]),
        (["encoder/dense@pre"], ["encoder#0/dense@pre", "encoder#1/dense@pre"]),
        (["encoder#1/dense@pre"], ["encoder#1/dense@pre"]),
        (["*"], ["conv", "pool", "act", "lstm", "scores", "plain", "wrapped"]),
        (["@Conv2D"], ["conv"]),
        (["0", "-1"], ["conv", "wrapped"]),
        (["0:1"], ["conv"]),
        (["!pool", "*c*"], ["conv", "act", "scores"]),
    ],
)
def test_values_before_activation_functions_are_selected_only_if_asked_for(wanted, expected):
    assert chosen(*wanted) == expected


@pytest.mark.parametrize(
    ("address", "reason"),
    [
        ("pool", "MaxPooling2D applies no activation function last, or none that the file shows"),
        ("act", "it only applies an activation function, to the output of the layer before it"),
        ("lstm", "a LSTM applies functions inside its computation, not to its output"),
        ("wrapped", "a TimeDistributed applies functions inside its computation, not to its output"),
        ("plain", "it has no activation function that the file shows, or a linear one"),
    ],
)
def test_other_layers_are_refused_with_the_reason(address, reason):
    assert refused(f"{address}@pre") == f'"{address}@pre" has no values: {reason}; choose {address}, {LISTING}'


def test_layers_inside_wrappers_and_of_tflite_are_refused():
    inside = replace(FACTS, layers=(*FACTS.layers, layer("wrapped/conv", "Conv2D", None, "relu")))
    reason = "it lies inside a wrapper or a custom layer, or replaces a class of Keras"
    assert (
        refused("wrapped/conv@pre", inside)
        == f'"wrapped/conv@pre" has no values: {reason}; choose wrapped/conv, {LISTING}'
    )
    lite = replace(FACTS, format="tflite", pre_activations=())
    reason = "TensorFlow Lite computes activation functions inside the operations before them"
    assert refused("conv@pre", lite) == f'"conv@pre" has no values: {reason}; choose conv, {LISTING}'


def test_similar_addresses_are_suggested():
    hint = "Or list them with: actviz layers m.keras"
    assert refused("conv@pree") == f'no layer "conv@pree"; did you mean conv@pre, scores@pre, conv? {hint}'
    assert refused("cnov@pre") == f'no layer "cnov"; did you mean conv? {hint}'
    assert refused("encoder#7/dense@pre").startswith('"encoder#7/dense@pre": "encoder" has 2 calls, #0 to #1.')
    assert refused("@pre").endswith(hint)


class Request:
    def __init__(self, of="top", layers=()):
        self.of, self.layers, self.model = of, layers, "m.keras"


@pytest.mark.parametrize(
    "explained", [Request(layers=("conv@pre",)), Request(of="conv@pre:3"), Request(of="top,conv@pre:3")]
)
def test_heat_maps_are_of_outputs(explained):
    with pytest.raises(UsageError, match=r'^"conv@pre": heat maps are computed of outputs of layers; choose conv\.$'):
        parse_plan(explained, FACTS, (), "")
    with pytest.raises(UsageError, match="choose scores"):
        parse_targets("scores@pre:1", FACTS, "m.keras")

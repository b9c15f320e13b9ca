import pytest

from actviz.addresses import select_layers
from actviz.errors import UsageError
from actviz.records import LayerInfo

KINDS = ("InputLayer", "Conv2D", "Conv2D", "MaxPooling2D", "Dense")
NAMES = ("image", "block1_conv1", "block1_conv2", "pool", "scores")


def layer(address, index, kind, name=None):
    return LayerInfo(address, name or address, index, kind, (None, 4), "float32", 0, ("batch", "unit"))


FLAT = [layer(name, index, kind) for index, (name, kind) in enumerate(zip(NAMES, KINDS, strict=True))]
NESTED = [
    layer("image", 0, "InputLayer"),
    layer("encoder#0/conv", None, "Conv2D", "conv"),
    layer("encoder#0/only", None, "Conv2D", "only"),
    layer("encoder#1/conv", None, "Conv2D", "conv"),
    layer("encoder#1/only", None, "Conv2D", "only"),
    layer("head/conv", None, "Conv2D", "conv"),
]


def chosen(layers, *wanted):
    return [found.address for found in select_layers(layers, wanted, "model.h5")]


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        ("pool", ["pool"]),
        ("0", ["image"]),
        ("-1", ["scores"]),
        ("1:3", ["block1_conv1", "block1_conv2"]),
        ("-2:", ["pool", "scores"]),
        (":", list(NAMES)),
        ("::2", ["image", "block1_conv2", "scores"]),
        ("block1_*", ["block1_conv1", "block1_conv2"]),
        ("block1_conv[2-9]", ["block1_conv2"]),
        ("@Conv*", ["block1_conv1", "block1_conv2"]),
        ("@Dense", ["scores"]),
        ("scores,0", ["scores", "image"]),
        ("pool,pool", ["pool"]),
        ("!@Conv2D", ["image", "pool", "scores"]),
        ("block*,!*2", ["block1_conv1"]),
        ("!0, **, !-1,!2:4", ["block1_conv1"]),
    ],
)
def test_forms_of_addresses(wanted, expected):
    assert chosen(FLAT, wanted) == expected


def test_an_exact_name_always_wins():
    layers = [*FLAT, layer("3", 5, "Dense"), layer("a,b", 6, "Dense")]
    assert chosen(layers, "3") == ["3"]
    assert chosen(layers, "a,b") == ["a,b"]
    assert chosen([*layers, layer("!a", 7, "Dense")], "!a") == ["!a"]


def test_the_command_of_a_message_can_be_pasted():
    with pytest.raises(UsageError, match=r"actviz layers 'my models/m.h5'$"):
        select_layers(FLAT, ["zzz"], "my models/m.h5")


def test_no_address_selects_no_layer():
    assert chosen(FLAT) == []


def test_exclusions_are_applied_after_all_addresses_are_selected():
    assert chosen(FLAT, "!pool", "**", "!@Conv2D") == ["image", "scores"]
    assert chosen(NESTED, "**", "!encoder/conv") == ["image", "encoder#0/only", "encoder#1/only", "head/conv"]


def test_calls_and_levels_of_nested_models():
    assert chosen(NESTED, "encoder/conv") == ["encoder#0/conv", "encoder#1/conv"]
    assert chosen(NESTED, "encoder#1/conv") == ["encoder#1/conv"]
    assert chosen(NESTED, "only") == ["encoder#0/only", "encoder#1/only"]
    assert chosen(NESTED, "*") == ["image"]
    assert chosen(NESTED, "*/conv") == ["encoder#0/conv", "encoder#1/conv", "head/conv"]
    assert chosen(NESTED, "**only") == ["encoder#0/only", "encoder#1/only"]


OUTPUTS = [layer(f"lstm@{output}", 1, "LSTM", "lstm") for output in range(3)] + [layer("dense", 2, "Dense")]


@pytest.mark.parametrize(
    ("layers", "wanted", "said"),
    [
        (FLAT, "block1_conv3", "did you mean block1_conv"),
        (FLAT, "9", "there is no layer 9; the model has 5 (0 to 4)"),
        (FLAT, "-6", "there is no layer -6"),
        (FLAT, "@Conv3D", "did you mean @Conv2D"),
        (FLAT, "7:9", 'no layer "7:9"'),
        (FLAT, "1:2:0", "the step of a slice cannot be 0"),
        (NESTED, "conv", '"conv" means 2 layers (encoder/conv, head/conv)'),
        (FLAT, "zzz", "actviz layers model.h5"),
        (
            FLAT,
            "pool:4",
            'no layer "pool:4"; a channel after a layer is for show --contact; otherwise choose pool and --channels 4.',
        ),
        (NESTED, "only*", "did you mean '**only*'? Or list"),
        (NESTED, "*only", "did you mean '**only'? Or list"),
        ([*FLAT, layer("my scores", 5, "Dense")], "my scors", "did you mean 'my scores', scores? Or list"),
        (FLAT, "!@Conv3D", 'no layer "@Conv3D"; did you mean @Conv2D'),
        (FLAT, "pool,!@Max*", "!@Max* leaves no layer; list the layers with: actviz layers model.h5"),
        (FLAT, "1" * 5000, 'no layer "1111'),
        (FLAT, "-" + "1" * 5000, 'no layer "-1111'),
        (FLAT, f"{'1' * 5000}:", 'no layer "1111'),
        (OUTPUTS, f"lstm@{'1' * 5000}", "has 3 outputs, @0 to @2"),
    ],
)
def test_wrong_addresses_say_what_is_near(layers, wanted, said):
    with pytest.raises(UsageError) as caught:
        chosen(layers, wanted)
    assert said in caught.value.message
    assert len(caught.value.message) < 300


@pytest.mark.parametrize(
    ("layers", "wanted", "reason"),
    [
        (NESTED, "encoder#2/conv", '"encoder" has 2 calls, #0 to #1'),
        (NESTED, "head#1/conv", 'no layer "head#1/conv"'),
        (OUTPUTS, "lstm@3", '"lstm" has 3 outputs, @0 to @2'),
        (OUTPUTS, "dense@1", '"dense" has one output; leave @1 away'),
        (OUTPUTS, "dense#1", '"dense" has one call; leave #1 away'),
        (NESTED, "conv", '"conv" means 2 layers (encoder/conv, head/conv); give the whole address'),
    ],
)
def test_calls_and_outputs_that_do_not_exist(layers, wanted, reason):
    with pytest.raises(UsageError) as caught:
        chosen(layers, wanted)
    assert reason in caught.value.message


def test_several_outputs_are_all_meant_by_the_name():
    assert chosen(OUTPUTS, "lstm") == ["lstm@0", "lstm@1", "lstm@2"]
    assert chosen(OUTPUTS, "lstm@1") == ["lstm@1"]

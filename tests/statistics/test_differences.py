"""Numbers of a difference, layers that belong together, and the tolerances."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from actviz.errors import UsageError
from actviz.records import LayerInfo
from actviz.statistics import differences
from actviz.statistics.tolerances import Rule, Tolerances, judge, parse_rule, tolerances

pytestmark = pytest.mark.filterwarnings("error")
MAPS = ("batch", "row", "column", "channel")
FLOATS = st.floats(-1e5, 1e5, width=32)
SHAPES = st.tuples(st.integers(2, 5), st.integers(1, 3), st.integers(1, 3), st.integers(1, 4))


def layer(address, kind="Conv2D", shape=(None, 4, 4, 8)):
    return LayerInfo(address, address, 0, kind, shape, "float32", 0, MAPS)


@given(st.data())
@settings(max_examples=80)
def test_parts_joined_are_numpys_numbers_of_the_whole(data):
    shape = data.draw(SHAPES)
    ours, theirs = (data.draw(arrays(np.float32, shape, elements=FLOATS)) for _ in range(2))
    cut = data.draw(st.integers(1, shape[0] - 1))

    found = differences.drift(ours[:cut], theirs[:cut], MAPS).merge(
        differences.drift(ours[cut:], theirs[cut:], MAPS, start=cut)
    )

    left, right = ours.astype(float), theirs.astype(float)
    apart = np.abs(right - left)
    size = max(np.abs(left).max(), np.abs(right).max(), 1e-30)
    assert found.count == ours.size
    assert found.largest == pytest.approx(apart.max(), rel=1e-5, abs=1e-6 * size)
    assert found.mean == pytest.approx(apart.mean(), rel=1e-4, abs=1e-6 * size)
    assert found.reach == np.abs(left).max()
    if apart.any() and left.any() and right.any() and all(found.totals[1:4]):
        lengths = np.linalg.norm(left) * np.linalg.norm(right)
        assert found.relative == pytest.approx(np.linalg.norm(right - left) / np.linalg.norm(left), rel=1e-3)
        assert found.cosine == pytest.approx((left * right).sum() / lengths, abs=1e-5)
    if np.ptp(apart.reshape(shape[0], -1).max(axis=1)) > 1e-3 * size:
        each = apart.reshape(shape[0], -1).max(axis=1)
        assert each[found.worst] == pytest.approx(each.max(), rel=1e-5)


@pytest.mark.parametrize("shape", [(3, 70, 70, 40), (300, 5, 5, 7), (2, 1, 1, 200_000)])
def test_large_arrays_are_compared_in_parts(shape):
    generator = np.random.default_rng(0)
    ours = generator.normal(1, 1, shape).astype(np.float32)
    theirs = ours + generator.normal(0, 0.1, shape).astype(np.float32)
    theirs[1, 0, 0, 3] += 9

    found = differences.drift(ours, theirs, MAPS, start=10)

    left, right = ours.astype(float), theirs.astype(float)
    apart = right - left
    assert found.worst == 11
    assert found.largest == pytest.approx(np.abs(apart).max(), rel=1e-6)
    assert found.mean == pytest.approx(np.abs(apart).mean(), rel=1e-5)
    assert found.relative == pytest.approx(np.linalg.norm(apart) / np.linalg.norm(left), rel=1e-5)
    assert found.cosine == pytest.approx((left * right).sum() / np.linalg.norm(left) / np.linalg.norm(right), rel=1e-6)
    means = [one.mean(axis=(0, 1, 2)) for one in (left, right)]
    assert found.correlation == pytest.approx(np.corrcoef(*means)[0, 1], abs=1e-4)


def test_the_same_differs_in_nothing():
    values = np.random.default_rng(0).normal(size=(2, 3, 3, 4)).astype(np.float32)
    values[0, 0, 0, 0], values[1, 0, 0, 1], values[1, 1, 0, 1] = np.nan, np.inf, -np.inf
    found = differences.drift(values, values.copy(), MAPS)
    assert (found.apart, found.largest, found.mean, found.relative, found.cosine, found.correlation) == (
        0,
        0,
        0,
        0,
        1,
        1,
    )


def test_what_is_not_finite_on_one_side_is_counted_and_in_no_other_number():
    ours = np.ones((3, 2, 2, 1), np.float32)
    theirs = ours * 2
    theirs[1, 0, 0, 0] = np.nan
    ours[2, 1, 1, 0], theirs[2, 1, 1, 0] = np.inf, -np.inf
    found = differences.drift(ours, theirs, MAPS)
    assert (found.apart, found.largest, found.worst, found.reach) == (2, 1, 1, 1)
    assert found.relative == pytest.approx(1)
    cases = judge("a", found, Tolerances(10.0, 0.0))
    assert (cases[0].kept, cases[0].reason) == (
        False,
        "2 of 12 values are NaN or infinite on one side and not the same on the other",
    )


@pytest.mark.parametrize(
    ("ours", "theirs", "relative", "cosine"),
    [(0.0, 0.0, 0.0, 1.0), (0.0, 1.0, np.inf, 0.0), (1.0, 0.0, 1.0, 0.0), (2.0, -2.0, 2.0, -1.0)],
)
def test_zeros_have_a_defined_direction(ours, theirs, relative, cosine):
    shape = (1, 2, 2, 2)
    found = differences.drift(np.full(shape, ours, np.float32), np.full(shape, theirs, np.float32), MAPS)
    assert (found.relative, found.cosine) == (relative, pytest.approx(cosine))


@pytest.mark.parametrize("scale", [1e-30, 1e25])
def test_squares_of_single_precision_do_not_overflow(scale):
    ours = (np.arange(1, 9).reshape(1, 2, 2, 2) * scale).astype(np.float32)
    found = differences.drift(ours, ours * np.float32(1.5), MAPS)
    assert found.relative == pytest.approx(0.5, rel=1e-5)
    assert found.cosine == pytest.approx(1)


def test_numbers_beyond_double_precision_keep_no_rule():
    ours = np.full((1, 1, 1, 2), 1e200)
    found = differences.drift(ours, ours * -1, MAPS)
    assert not judge("a", found, Tolerances(None, None, (parse_rule("cosine<0"),)))[0].kept


def test_other_dtypes_and_shapes():
    ours = np.array([[1, 2], [3, 4]], np.int32)
    assert differences.drift(ours, ours.astype(np.float16), ("batch", "unit")).largest == 0
    with pytest.raises(ValueError, match="shapes"):
        differences.drift(ours, ours[:, :1], ("batch", "unit"))
    assert differences.drift(np.zeros((2, 0)), np.zeros((2, 0)), ("batch", "unit")).count == 0


def test_layers_belong_together_by_address_then_by_order_class_and_shape():
    ours = [
        layer("stem"),
        layer("conv2d_1"),
        layer("relu_1", "ReLU"),
        layer("dense", "Dense", (None, 10)),
        layer("extra", "Dense", (None, 7)),
    ]
    theirs = [
        layer("stem"),
        layer("conv2d_9"),
        layer("added", "Conv2D", (None, 2, 2, 8)),
        layer("act", "Activation"),
        layer("logits", "Dense", (None, 10)),
    ]
    found = differences.match(ours, theirs)
    assert [(pair.ours.address, pair.theirs.address, pair.by) for pair in found.pairs] == [
        ("stem", "stem", "address"),
        ("conv2d_1", "conv2d_9", "order"),
        ("relu_1", "act", "order"),
        ("dense", "logits", "order"),
    ]
    assert [one.address for one in found.only_ours] == ["extra"]
    assert [one.address for one in found.only_theirs] == ["added"]


@given(st.lists(st.sampled_from("abcdefgh"), unique=True), st.lists(st.sampled_from("abcdefgh"), unique=True))
def test_every_layer_is_in_one_pair_or_named(ours, theirs):
    left, right = ([layer(name, shape=(None, ord(name) % 3)) for name in names] for names in (ours, theirs))
    found = differences.match(left, right)
    assert (
        sorted(pair.ours.address for pair in found.pairs) + sorted(one.address for one in found.only_ours) or not ours
    )
    assert {pair.ours.address for pair in found.pairs} | {one.address for one in found.only_ours} == set(ours)
    assert {pair.theirs.address for pair in found.pairs} | {one.address for one in found.only_theirs} == set(theirs)
    assert len({pair.theirs.address for pair in found.pairs}) == len(found.pairs)
    assert all(pair.fits for pair in found.pairs)


def test_a_pair_of_one_name_may_not_fit():
    (pair,) = differences.match([layer("a", shape=(None, 3))], [layer("a", shape=(None, 4))]).pairs
    assert not pair.fits
    assert differences.fit((None, None, 3), (None, 5, 3))
    assert not differences.fit((None, 3), (None, 3, 3))


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("cosine<0.98", Rule("cosine", "<", 0.98)),
        (" relative >= 5% ", Rule("relative", ">=", 0.05)),
        ("max>1e-3", Rule("max", ">", 0.001)),
    ],
)
def test_rules(text, rule):
    assert parse_rule(text) == rule
    assert parse_rule(str(rule)) == rule


@pytest.mark.parametrize(
    "text", ["", "cosine", "cosine=1", "cosin<1", "cosine<x", "cosine<nan", "cosine<", "<1", "a\nb<1", "cosine<1<2"]
)
def test_what_is_no_rule_is_refused_in_one_line(text):
    with pytest.raises(UsageError, match="--fail-on") as failure:
        parse_rule(text)
    assert failure.value.message.isprintable()


def test_rules_replace_the_default_tolerance_and_join_one_that_is_given():
    rule = parse_rule("cosine<0.98")
    assert tolerances(None, None, ()) == Tolerances(1e-6, 1e-3)
    assert tolerances(None, None, (rule,)) == Tolerances(None, None, (rule,))
    assert tolerances(0.5, None, (rule,)) == Tolerances(0.5, 0.0, (rule,))


def test_a_tolerance_is_of_the_largest_value_of_the_layer():
    ours = np.array([[0.0, 100.0]])
    near = differences.drift(ours, ours + 0.0999, ("batch", "unit"))
    far = differences.drift(ours, ours + 0.1001, ("batch", "unit"))
    assert judge("a", near, Tolerances())[0].kept
    (case,) = judge("a", far, Tolerances())
    assert (case.kept, case.reason) == (False, "largest difference 0.1001 beside values up to 100; limit 0.1")


def test_an_operation_inside_a_layer_is_not_that_layer():
    ours = [layer("hidden", "Dense", (None, 20)), ended("scores", "Dense", "softmax", (None, 10))]
    theirs = [
        layer("hidden", "Dense", (None, 20)),
        layer("scores/BiasAdd", "Dense", (None, 10)),
        layer("output_0", "Softmax", (None, 10)),
    ]
    found = differences.match(ours, theirs)
    pairs = [(pair.ours.address, pair.theirs.address) for pair in found.pairs]
    assert pairs == [("hidden", "hidden"), ("scores", "output_0")]
    assert ([one.address for one in found.only_ours], [one.address for one in found.only_theirs]) == (
        [],
        ["scores/BiasAdd"],
    )


def paired(ours, theirs):
    found = differences.match(ours, theirs)
    back = differences.match(theirs, ours)
    pairs = [(pair.ours.address, pair.theirs.address) for pair in found.pairs]
    assert sorted(pairs) == sorted((pair.theirs.address, pair.ours.address) for pair in back.pairs)
    assert {one.address for one in found.only_ours} == {one.address for one in back.only_theirs}
    assert {one.address for one in found.only_theirs} == {one.address for one in back.only_ours}
    return pairs


def ended(address, kind, activation, shape=(None, 4, 4, 8)):
    return LayerInfo(address, address, 0, kind, shape, "float32", 0, MAPS, activation)


def test_an_operation_inside_a_layer_that_has_its_partner_has_none():
    """A quantised network: the convolution has no values of its own, the sigmoid of a swish has."""
    ours = [layer("c1"), layer("c2"), layer("sw", "Activation"), layer("gap", "GlobalAveragePooling2D", (None, 8))]
    theirs = [
        layer("c1"),
        layer("c2/BiasAdd"),
        layer("sw/Sigmoid", "Sigmoid"),
        layer("sw", "Multiply"),
        layer("gap", "Mean", (None, 8)),
    ]
    assert paired(ours, theirs) == [("c1", "c1"), ("sw", "sw"), ("gap", "gap")]


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (("a", "Conv2D", None), ("b", "Sigmoid", "sigmoid")),
        (("a", "Conv2D", None), ("b", "MaxPooling2D", None)),
        (("a", "BatchNormalization", None), ("b", "Conv2D", None)),
        (("a", "ReLU", "relu"), ("b", "Activation", "tanh")),
        (("a", "ReLU", "relu"), ("b", "Conv2D", "linear")),
        (("a", "Add", None), ("b", "Multiply", None)),
        (("a", "Dropout", None), ("b", "Conv2D", None)),
    ],
)
def test_layers_of_one_shape_that_compute_something_else_are_no_pair(ours, theirs):
    assert paired([ended(*ours)], [ended(*theirs)]) == []


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (("a", "Conv2D", "relu"), ("b", "Conv2D", "relu")),
        (("a", "Conv2D", "relu"), ("b", "Conv2D", "elu")),
        (("a", "ReLU", "relu6"), ("b", "DepthwiseConv2D", "relu6")),
        (("a", "ReLU", "relu"), ("b", "Activation", "relu")),
        (("a", "Activation", "swish"), ("b", "Activation", "silu")),
        (("a", "Dense", "softmax"), ("b", "Softmax", "softmax")),
        (("a", "GlobalAveragePooling2D", None), ("b", "Mean", None)),
        (("a", "Dense", "linear"), ("b", "MatMul", None)),
        (("a", "MyOwnLayer", None), ("b", "MyOwnLayer", None)),
    ],
)
def test_classes_that_other_formats_call_otherwise_are_a_pair(ours, theirs):
    assert paired([ended(*ours)], [ended(*theirs)]) == [("a", "b")]


def test_pairs_of_one_name_bound_what_the_order_finds():
    ours = [layer("conv_a"), layer("middle", "Add"), layer("conv_b")]
    assert paired(ours, [layer("first"), layer("middle", "Add"), layer("second")]) == [
        ("conv_a", "first"),
        ("middle", "middle"),
        ("conv_b", "second"),
    ]
    assert paired(ours, [layer("middle", "Add"), layer("second")]) == [("middle", "middle"), ("conv_b", "second")]


def test_layers_of_nested_models_are_compared():
    ours = [layer("encoder", "Functional"), layer("encoder/conv")]
    theirs = [layer("encoder", "Functional"), layer("encoder/conv_1")]
    assert paired(ours, theirs) == [("encoder", "encoder"), ("encoder/conv", "encoder/conv_1")]


def test_the_same_class_with_the_same_activation_goes_first():
    ours = [ended("a", "Conv2D", "linear"), ended("b", "ReLU", "relu")]
    assert paired(ours, [ended("fused", "Conv2D", "relu")]) == [("b", "fused")]


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 0, 2), (1, 2, 0)])
@pytest.mark.parametrize("together", [True, False])
def test_the_worst_input_is_one_with_nan_however_large_the_numbers_of_others(order, together):
    theirs = np.zeros((3, 2, 2, 1), np.float32)
    theirs[0], theirs[1], theirs[2] = 100, 1, 1000
    theirs[1, 0, 1, 0] = np.nan
    theirs, ours = theirs[list(order)], np.zeros_like(theirs)
    if together:
        found = differences.drift(ours, theirs, MAPS)
    else:
        parts = [differences.drift(ours[:1], theirs[one : one + 1], MAPS, start=one) for one in range(3)]
        found = parts[0].merge(parts[1]).merge(parts[2])
    assert order[found.worst] == 1
    assert found.largest == 1000


def test_operations_inside_a_layer_of_the_other_model_are_not_that_layer():
    whole, inside = layer("scores", "Dense", (None, 10)), layer("scores/BiasAdd", "Dense", (None, 10))
    for ours, theirs in ((whole, inside), (inside, whole)):
        found = differences.match([ours], [theirs])
        assert (found.pairs, found.only_ours, found.only_theirs) == ((), (ours,), (theirs,))
    # A nested model lists its layers: those of both are compared.
    nested = [layer("encoder", "Functional", (None, 10)), layer("encoder/hidden", "Dense", (None, 10))]
    for ours, theirs in ((nested, [layer("encoder/other", "Dense", (None, 10))]), ([nested[1]], [nested[0], inside])):
        found = differences.match(ours, theirs)
        assert [pair.ours.address for pair in found.pairs] == (["encoder/hidden"] if ours is nested else [])


@pytest.mark.parametrize(
    ("ours", "theirs", "agree"),
    [
        (None, (1, 4), True),
        ((1, 4), None, True),
        ((1, 4), (8, 4), True),  # batch sizes
        ((1, None, 3), (1, 7, 3), True),
        ((1, 4), (1, 5), False),
        ((1, 4), (1, 4, 1), False),
    ],
)
def test_an_unknown_shape_agrees_with_any(ours, theirs, agree):
    assert differences.fit(ours, theirs) is agree

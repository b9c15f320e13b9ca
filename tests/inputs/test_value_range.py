"""For which range the arithmetic at the head of a network is made: pure functions of numbers."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from actviz.formats.input_arithmetic import STATIC, Affine, Dependent, OpSettings, apply_operation
from actviz.inputs import choose_preprocessing
from actviz.inputs.value_range import CANDIDATES, SPANS, formula, is_identity, match
from actviz.records import InputOperation, ModelFacts, TensorSpec

MEAN, STD = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])


def facts(operations=(), names=("mine",), form="keras", dtype="float32"):
    spec = TensorSpec("image", (None, 8, 8, 3), dtype, ("batch", "row", "column", "channel"))
    return ModelFacts("m", form, "keras", tuple(names), (spec,), (), tuple(operations), (), "")


def arithmetic(scale, offset=0.0, *, turned=False, stopped="", name="image"):
    numbers = {"scale": tuple(np.ravel(scale).tolist()), "offset": tuple(np.ravel(offset).tolist())}
    return InputOperation("Arithmetic", numbers, name, turned, stopped)


@pytest.mark.parametrize(
    ("scale", "offset", "expected"),
    [
        (1 / 255, 0, "0..255"), (1 / 127.5, -1, "0..255"), (1 / 128, -1, "0..255"), (1 / 256, 0, "0..255"),
        (1 / 128, -127 / 128, "0..255"), (1 / 255, -0.5, "0..255"), (-1 / 255, 1, "0..255"), (2, -1, "0..1"),
        (255, 0, "0..1"), (1, -0.5, "0..1"), (127.5, 127.5, "-1..1"), (0.5, 0.5, "-1..1"), (0.5, 0, "-1..1"),
        (1, (-103.939, -116.779, -123.68), "0..255"), (1, -117, "0..255"), (1, -127.5, "0..255"),
        (255, -255 * MEAN, "0..1"), (127.5, 127.5 - 255 * MEAN, "-1..1"),
        (1 / STD, -MEAN / STD, "0..1"), (1 / (255 * STD), -MEAN / STD, "0..255"),
        (1 / 0.3081, -0.1307 / 0.3081, "0..1"), (1 / 78.57, -33.32 / 78.57, "0..255"), (1 / 0.5, 0.1 / 0.5, "-1..1"),
        (1, 0, None), (1, (0, 0, 0), None), (0, 0, None), (float("nan"), 0, None), (float("inf"), 1, None),
        (3, 7, None), (3, 0, None), (0.003, 0.2, None), (1, 5, None), (0.1, -1, None), (1000, -500, None), (1 / 100, 0, None),
        ((1 / 255, 1 / 100, 1 / 255), 0, None),
    ],
)  # fmt: skip
def test_the_range_is_the_one_that_becomes_a_convention(scale, offset, expected):
    found = match(tuple(np.ravel(scale).tolist()), tuple(np.ravel(offset).tolist()))
    assert (found and found.name) == expected


@given(st.sampled_from(sorted(CANDIDATES)), st.sampled_from(sorted(SPANS)), st.booleans(), st.sampled_from([1, 3]))
def test_every_map_of_a_range_onto_a_convention_is_inverted(name, convention, upside_down, channels):
    low, high = CANDIDATES[name]
    least, most = SPANS[convention][:: -1 if upside_down else 1]
    scale = (most - least) / (high - low)
    offset = least - low * scale
    found = match((scale,) * channels, (offset,) * channels)
    assert found is None if is_identity((scale,), (offset,)) else found.name == name


@given(
    st.sampled_from(sorted(CANDIDATES)),
    st.integers(0, 2**32 - 1),
)
def test_the_statistics_of_images_tell_their_range(name, seed):
    """Means and deviations that were measured on images of a range bring that range back."""
    generator = np.random.default_rng(seed)
    low, high = CANDIDATES[name]
    pixels = generator.beta(*generator.uniform(0.6, 2.5, 2), (4, 12, 12, 3))
    images = low + (high - low) * pixels
    mean, std = images.mean((0, 1, 2)), images.std((0, 1, 2))
    found = match(tuple(1 / std), tuple(-mean / std))
    both = name == "-1..1" and (mean > 0).all()  # such numbers fit into 0..1 as well, where they are no wider
    assert found is not None
    assert found.name == name or (both and found.name == "0..1")


@given(st.lists(st.tuples(st.floats(-1e6, 1e6), st.floats(-1e6, 1e6)), min_size=1, max_size=4), st.booleans())
def test_any_numbers_are_matched_or_not(pairs, turned):
    scale, offset = zip(*pairs, strict=True)
    found = match(scale, offset, turned=turned)
    assert found is None or found.name in CANDIDATES
    assert "\n" not in formula(scale, offset, turned=turned)


@pytest.mark.parametrize(
    ("scale", "offset", "turned", "text"),
    [
        ((1 / 127.5,), (-1.0,), False, "x / 127.5 - 1"), ((2.0,), (-1.0,), False, "x * 2 - 1"),
        ((1.0,), (-123.68, -116.779, -103.939), True, "x[..., ::-1] - 103.9/116.8/123.7"), ((3.0,), (7.0,), False, "x * 3 + 7"),
    ],
)  # fmt: skip
def test_formulas(scale, offset, turned, text):
    assert formula(scale, offset, turned=turned) == text


def test_the_graph_goes_before_any_name():
    chosen = choose_preprocessing(facts([arithmetic(1 / 127.5, -1)], ["vgg16"]))
    assert chosen.description == "0..255 (the graph begins with x / 127.5 - 1, which makes -1..1 of it)"
    chosen = choose_preprocessing(facts([arithmetic(3, 7)], ["vgg16"]))
    assert chosen.name == "0..1"
    assert chosen.reason.startswith("range unknown: the graph begins with x * 3 + 7, ")
    assert chosen.reason.endswith("; give --preprocess")


def test_an_earlier_stage_decides_where_the_whole_tells_nothing():
    stages = [
        InputOperation("Stage", {"scale": (1 / 127.5,), "offset": (-1.0,)}, "image"),
        InputOperation("Stage", {"scale": (1 / 127.5,), "offset": (0.0,)}, "image"),
    ]
    whole = arithmetic((1 / 108.4, 1 / 111.3, 1 / 110.9), (-2.896, -2.843, -2.865))
    chosen = choose_preprocessing(facts([whole, *stages], ["vgg16"]))
    assert chosen.description == "0..255 (the graph begins with x / 127.5 - 1, which makes -1..1 of it)"
    assert "range unknown" in choose_preprocessing(facts([whole, stages[1]])).description
    assert choose_preprocessing(facts([arithmetic(2, -1), stages[0]])).name == "0..1"


def test_what_depends_on_the_data_is_named_and_not_inverted():
    said = choose_preprocessing(facts([arithmetic(1, stopped="Max")], ["vgg16"])).description
    assert said.startswith("0..1 (range unknown: the graph begins with Max, which depends on the data")
    assert choose_preprocessing(facts([arithmetic(1 / 255, stopped="Max")])).name == "0..255"


def test_branches_that_agree_decide_and_others_do_not():
    both = [arithmetic(1 / 255), arithmetic(1 / 127.5, -1)]
    assert choose_preprocessing(facts(both)).name == "0..255"
    assert choose_preprocessing(facts([*both, arithmetic(3, 7)])).name == "0..255"
    assert "range unknown" in choose_preprocessing(facts([arithmetic(1 / 255), arithmetic(2, -1)])).description


def test_a_converted_file_says_what_may_be_gone():
    said = choose_preprocessing(facts(form="tflite")).description
    assert said == "0..1 (a guess: the range is not in this file: the converter may have folded it; give --preprocess if it is another)"  # fmt: skip
    assert (
        "not in this file: the converter may have folded it"
        in choose_preprocessing(facts((), ["vgg16"], "tflite")).description
    )
    assert "folded the rest" in choose_preprocessing(facts([arithmetic(1 / 127.5)], form="tflite")).description


@pytest.mark.parametrize(
    ("mean", "std", "name"),
    [
        ((127.5,), (127.5,), "-1..1"), ((127.0,), (128.0,), "-1..1"), ((0.0,), (255.0,), "0..1"), ((0.0,), (1.0,), "0..255"),
        (tuple(255 * MEAN), tuple(255 * STD), "torch"), (tuple(MEAN), tuple(STD), "torch"),
        ((10.0, 20.0, 30.0), (4.0, 5.0, 6.0), "mean 10/20/30, std 4/5/6"),
    ],
)  # fmt: skip
def test_metadata(mean, std, name):
    operation = InputOperation("Metadata", {"mean": mean, "std": std}, "image")
    chosen = choose_preprocessing(facts([operation], form="tflite"))
    assert chosen.name == name
    assert "the file's metadata" in chosen.description
    assert choose_preprocessing(facts([operation, arithmetic(1 / 255)], form="tflite")).reason.startswith("the graph")
    assert choose_preprocessing(facts([operation, arithmetic(3, 7)], form="tflite")).name == name


@pytest.mark.parametrize(
    ("mean", "std"), [((), ()), ((1.0,), (0.0,)), ((1.0, 2.0), (1.0, 1.0)), ((float("nan"),), (1.0,))]
)
def test_metadata_that_mean_nothing(mean, std):
    operation = InputOperation("Metadata", {"mean": mean, "std": std}, "image")
    assert "a guess" in choose_preprocessing(facts([operation], form="tflite")).description


@given(st.data())
def test_arithmetic_follows_what_numpy_computes(data):
    """Random chains of operations on a random picture: the affine tensor is the computed one."""
    generator = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
    picture = generator.uniform(0, 255, (1, 4, 5, 3))
    tensor, values = Affine("image", 4, 3, 3), picture
    for _ in range(data.draw(st.integers(1, 6))):
        role = data.draw(
            st.sampled_from(
                ["add", "subtract", "multiply", "divide", "negative", "reverse", "index", "transpose", "split"]
            )
        )
        numbers = generator.uniform(
            0.5, 3, data.draw(st.sampled_from([(), (3,)])) if tensor.channels == 3 and tensor.axis == 3 else ()
        )
        if role in {"add", "subtract", "multiply", "divide"}:
            first = data.draw(st.booleans()) and role != "divide"
            (tensor,) = apply_operation(role, [numbers, tensor] if first else [tensor, numbers], OpSettings())
            function = getattr(np, role)
            values = function(numbers, values) if first else function(values, numbers)
        elif role == "negative":
            (tensor,) = apply_operation(role, [tensor], OpSettings())
            values = -values
        elif role == "reverse":
            axis = data.draw(st.integers(1, 3))
            if axis == tensor.axis:
                (tensor,) = apply_operation(role, [tensor], OpSettings(axes=(axis,)))
                values = np.flip(values, axis)
        elif role == "index":
            index = (Ellipsis, slice(None, None, -1)) if tensor.axis == 3 else (slice(None), slice(None, None, -1))
            (tensor,) = apply_operation(role, [tensor], OpSettings(index=index))
            values = values[index]
        elif role == "transpose":
            axes = (0, 3, 1, 2) if tensor.axis == 3 else (0, 2, 3, 1)
            (tensor,) = apply_operation(role, [tensor], OpSettings(axes=axes))
            values = values.transpose(axes)
        else:
            parts = apply_operation(role, [tensor], OpSettings(axes=(tensor.axis,), sections=tensor.channels))
            arrays = np.split(values, tensor.channels, tensor.axis)
            (tensor,) = apply_operation("concatenate", parts[::-1], OpSettings(axes=(tensor.axis,)))
            values = np.concatenate(arrays[::-1], tensor.axis)
    source = range(3) if tensor.source is None else tensor.source
    moved = picture if tensor.axis == 3 else picture.transpose(0, 3, 1, 2)
    shape = [1] * 4
    shape[tensor.axis] = -1
    scale, offset = (
        np.array(numbers).reshape(shape if len(numbers) > 1 else ()) for numbers in (tensor.scale, tensor.offset)
    )
    np.testing.assert_allclose(np.take(moved, list(source), tensor.axis) * scale + offset, values, rtol=1e-9, atol=1e-6)


def test_what_ends_the_arithmetic():
    tensor = Affine("image", 4, 3, 3)
    (largest,) = apply_operation("reduce", [tensor], OpSettings("Max", axes=(0, 1, 2, 3)))
    assert largest == Dependent(tensor, "Max", combined=False)
    (ratio,) = apply_operation("divide", [tensor, largest], OpSettings("divide"))
    assert ratio == Dependent(tensor, "Max", combined=True)
    assert apply_operation("add", [tensor, Affine("other", 4, 3, 3)], OpSettings()) is None
    assert apply_operation("shape", [tensor], OpSettings()) == [STATIC]
    assert apply_operation("divide", [tensor, np.array([0.0])], OpSettings()) is None
    assert (
        apply_operation(
            "reshape",
            [apply_operation("add", [tensor, np.array([1.0, 2.0, 3.0])], OpSettings())[0]],
            OpSettings(),
        )
        is None
    )
    (grey,) = apply_operation("reduce", [tensor], OpSettings("reduce_mean", axes=(3,), keepdims=True))
    assert (grey.scale, grey.channels) == ((1.0,), 1)

"""Which range is chosen and why; making it and undoing it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from actviz.errors import UsageError
from actviz.inputs import PREPROCESSINGS, InputOptions, choose_preprocessing, parse_preprocessing, samples
from actviz.inputs.preprocessing import apply, undo
from actviz.records import ModelFacts, TensorSpec


def facts(names=("mine",), operations=(), dtype="float32"):
    spec = TensorSpec("image", (None, 8, 8, 3), dtype, ("batch", "row", "column", "channel"))
    return ModelFacts("m.h5", "h5", "keras", tuple(names), (spec,), (), tuple(operations), (), "")


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("vgg16", "caffe"), ("vgg19", "caffe"), ("resnet50", "caffe"), ("resnet152", "caffe"), ("VGG16_1", "caffe"),
        ("resnet50v2", "-1..1"), ("resnet101v2", "-1..1"), ("mobilenet_1.00_224", "-1..1"),
        ("mobilenetv2_1.00_224", "-1..1"), ("xception", "-1..1"), ("inception_v3", "-1..1"),
        ("inception_resnet_v2", "-1..1"), ("NASNet", "-1..1"), ("nasnet_mobile", "-1..1"),
        ("MobileNetV3Small", "-1..1"), ("MobilenetV3large", "-1..1"), ("efficientnetb0", "torch"),
        ("efficientnetv2-b0", "torch"), ("efficientnetv2-s", "-1..1"), ("convnext_tiny", "torch"),
        ("densenet121", "torch"), ("densenet201", "torch"),
        ("my_vgg16", "0..1"), ("digits_cnn", "0..1"), ("functional", "0..1"), ("resnet", "0..1"), ("", "0..1"),
    ],
)  # fmt: skip
def test_families(name, expected):
    assert choose_preprocessing(facts([name])).name == expected
    assert choose_preprocessing(facts(["outer", name])).name == expected


def test_asked_for_wins_and_whole_numbers_take_bytes():
    assert choose_preprocessing(facts(["vgg16"]), "torch").name == "torch"
    assert choose_preprocessing(facts(["vgg16"], dtype="uint8")).name == "0..255"
    assert choose_preprocessing(facts()).description == (
        "0..1 (a guess: nothing in the model says a range; give --preprocess if it is another)"
    )
    assert choose_preprocessing(facts(["vgg16"])).description == (
        "caffe (a guess from the name vgg16: VGG of keras.applications; give --preprocess if it is another)"
    )


def test_numbers_on_either_scale():
    half = np.full((1, 1, 3), 0.5, np.float32)
    np.testing.assert_allclose(apply(half, parse_preprocessing("0.5,0.25")), 0)
    np.testing.assert_allclose(apply(half, parse_preprocessing("27.5,50")), 2)
    six = parse_preprocessing("0.5,0.4,0.3,0.1,0.2,0.2")
    np.testing.assert_allclose(apply(half, six)[0, 0], [0, 0.5, 1], atol=1e-6)


@pytest.mark.parametrize(
    "text", ["", "x", "0..2", "1", "1,2,3", "0,0", "0,-1", "nan,1", "0,inf", "1,2,3,4,5,6,7,8", "\x1b[2J"]
)
def test_what_is_no_range(text):
    with pytest.raises(UsageError, match="--preprocess") as caught:
        InputOptions(preprocess=text)
    assert "\x1b" not in caught.value.message


def test_ranges_are_those_of_keras():
    picture = np.random.default_rng(0).integers(0, 256, (6, 5, 3), np.uint8)
    numbers = picture.astype(np.float32)
    expected = {
        "0..1": numbers / 255,
        "-1..1": numbers / 127.5 - 1,
        "0..255": numbers,
        "caffe": numbers[:, :, ::-1] - np.float32([103.939, 116.779, 123.68]),
        "torch": (numbers / 255 - np.float32([0.485, 0.456, 0.406])) / np.float32([0.229, 0.224, 0.225]),
    }
    for name, wanted in expected.items():
        np.testing.assert_allclose(apply(picture, PREPROCESSINGS[name]), wanted, rtol=1e-6, atol=1e-5)
    np.testing.assert_array_equal(apply(picture, PREPROCESSINGS["0..1"]), expected["0..1"])
    np.testing.assert_array_equal(apply(picture, PREPROCESSINGS["0..255"]), expected["0..255"])


@given(
    st.sampled_from([*PREPROCESSINGS, "0.5,0.25", "123.7,58", "1,2,3,4,5,6"]),
    st.sampled_from([1, 3, 4]),
    st.integers(0, 2**32 - 1),
)
def test_undo_brings_every_byte_back(name, channels, seed):
    picture = np.random.default_rng(seed).integers(0, 256, (4, 3, channels), np.uint8)
    before = picture.copy()
    chosen = parse_preprocessing(name)
    back = np.rint(undo(apply(picture, chosen), chosen) * 255)
    np.testing.assert_array_equal(back, picture)
    np.testing.assert_array_equal(picture, before)


@pytest.mark.parametrize(
    "wrong",
    [
        {"resize": "zoom"}, {"layout": "x"}, {"frame": -1}, {"frame": 10_000}, {"maximum_pixels": 0},
        {"seed": -1}, {"background": "nocolour"}, {"background": "#12"},
    ],
)  # fmt: skip
def test_options_are_checked(wrong):
    with pytest.raises(UsageError):
        InputOptions(**wrong)


@given(
    name=st.sampled_from(sorted(PREPROCESSINGS)) | st.sampled_from(["0.5,0.25", "1e7,1", "0.4,0.5,0.6,0.2,0.3,0.4"]),
    channels=st.sampled_from([1, 3, 4]),
    dtype=st.sampled_from(["float16", "float32", "float64"]),
    seed=st.integers(0, 9),
)
def test_what_is_shown_is_what_was_fed_whichever_way_it_is_found(name, channels, dtype, seed):
    preprocessing = parse_preprocessing(name)
    picture = np.random.default_rng(seed).integers(0, 256, (5, 6, channels), np.uint8)
    with np.errstate(over="ignore"):
        fed = apply(picture, preprocessing).astype(dtype)
    np.testing.assert_array_equal(
        samples._as_fed(picture, fed, preprocessing), samples.as_picture(undo(fed, preprocessing))
    )

"""Where maps lie in the input: by hand, and against what real layers of Keras see."""

from functools import partial

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, reject, settings
from hypothesis import strategies as st
from late_imports import keras, layers

from actviz.formats import open_network
from actviz.formats.keras.receptive_field import output_geometries
from actviz.layer_catalogue.window_rules import AxisGeometry, stretched, transposed, window

ROW = AxisGeometry(28, 0, 0, 1)


def test_a_valid_convolution_covers_the_middle() -> None:
    assert window(ROW, 3) == AxisGeometry(26, 0, 2, 1)


def test_a_same_convolution_covers_all() -> None:
    assert window(ROW, 3, same=True) == AxisGeometry(28, -1, 1, 1)


def test_with_strides_the_odd_pixel_of_same_goes_to_the_end() -> None:
    assert window(ROW, 3, 2, same=True) == AxisGeometry(14, 0, 2, 2)
    assert window(AxisGeometry(27, 0, 0, 1), 3, 2, same=True) == AxisGeometry(14, -1, 1, 2)
    assert window(ROW, 1, 2, same=True) == AxisGeometry(14, 0, 0, 2)


def test_pooling_after_a_convolution_after_pooling() -> None:
    """26 of 3 x 3; 13 of pairs of these; 11 of three pairs: 4 + 2 + 2 pixels, 2 apart."""
    pooled = window(window(ROW, 3), 2, 2)
    assert pooled == AxisGeometry(13, 0, 3, 2)
    assert window(pooled, 3) == AxisGeometry(11, 0, 7, 2)


def test_holes_widen_a_window() -> None:
    assert window(ROW, 3, dilation=4) == AxisGeometry(20, 0, 8, 1)


def test_an_enlarged_map_has_several_values_a_pixel() -> None:
    assert stretched(window(ROW, 2, 2), 28) == AxisGeometry(28, -0.5, 0.5, 1)
    assert stretched(ROW, 56) == AxisGeometry(56, -0.25, -0.25, 0.5)


def test_a_transposed_convolution_undoes_the_steps_of_a_convolution() -> None:
    assert transposed(window(ROW, 2, 2), 2, 2).stride == 1
    assert transposed(window(ROW, 2, 2), 2, 2).size == 28


def place_of(model, folder, address):
    """Return the geometry of a layer of a model, by way of its file, and the size of its map."""
    path = folder / "model.keras"
    model.save(path)

    with open_network(path, None) as network:
        ref = network._describer.outputs[address]
        sizes = {spec.name: spec.shape for spec in network.inputs}
        return output_geometries(network._graph, network._known, sizes).get(ref)


def seen(model, place):
    """Return the rows and the columns of the input that one value of the output depends on."""
    import tensorflow as tf

    size = model.inputs[0].shape[1:]
    picture = tf.Variable(np.random.default_rng(0).random((1, *size), np.float32))
    # Not the weights: TensorFlow's gradient for some windows of filters ends the process.
    with tf.GradientTape(watch_accessed_variables=False) as tape:
        tape.watch(picture)
        value = tf.reduce_sum(model(picture)[0, place[0], place[1]])
    gradient = np.abs(tape.gradient(value, picture).numpy()[0]).sum(axis=-1)
    rows, columns = np.flatnonzero(gradient.sum(axis=1)), np.flatnonzero(gradient.sum(axis=0))
    return (rows[0], rows[-1]), (columns[0], columns[-1])


def predicted(place, axis, number):
    middle = place.offset[axis] + number * place.stride[axis]
    reach = (place.field[axis] - 1) / 2
    return middle - reach, middle + reach


def positive(model):
    """Give every weight a value at which no path through the model cancels another."""
    for layer in model.layers:
        layer.set_weights([np.full(weight.shape, 0.1, np.float32) for weight in layer.get_weights()])
    return model


PADDING = st.sampled_from(["valid", "same"])
FACTOR = st.integers(1, 3)
PAIR = st.tuples(st.integers(1, 5), st.integers(1, 5))
BORDER = st.tuples(*[st.integers(0, 2)] * 4).map(lambda four: (four[:2], four[2:]))


def make_layer(kind, *given, **options):
    return getattr(layers, kind)(*given, **options)


def kind(name, *given, **options):
    """Draw how to make a layer; making it uses random numbers, which no strategy may."""
    return st.builds(partial, st.just(make_layer), st.just(name), *map(st.just, given), **options)


LAYER = st.one_of(
    kind("Conv2D", 2, kernel_size=PAIR, strides=FACTOR, padding=PADDING),
    kind("Conv2D", 2, kernel_size=PAIR, dilation_rate=FACTOR, padding=PADDING),
    kind("DepthwiseConv2D", kernel_size=st.integers(1, 5), strides=FACTOR, padding=PADDING),
    kind("SeparableConv2D", 3, kernel_size=PAIR, padding=PADDING),
    kind("AveragePooling2D", pool_size=PAIR, strides=st.none() | FACTOR, padding=PADDING),
    kind("ZeroPadding2D", padding=BORDER),
    kind("Cropping2D", cropping=BORDER),
    kind("BatchNormalization"),
)


@pytest.mark.slow
@pytest.mark.tensorflow
@settings(max_examples=25, suppress_health_check=list(HealthCheck))
@given(chain=st.lists(LAYER, min_size=1, max_size=4), size=st.tuples(st.integers(60, 90), st.integers(60, 90)))
def test_windows_are_those_that_real_layers_see(chain, size, tmp_path_factory) -> None:
    try:
        model = positive(keras.Sequential([keras.Input((*size, 2)), *(make() for make in chain)]))
    except ValueError:  # the windows take more than there is
        reject()
    place = place_of(model, tmp_path_factory.mktemp("model"), model.layers[-1].name)
    shape = model.output_shape[1:3]
    assert place.size == size
    for value in ((shape[0] // 2, shape[1] // 2), (shape[0] // 2 - 1, shape[1] // 3)):
        expected = [predicted(place, axis, value[axis]) for axis in (0, 1)]
        # What padding in between adds is zeros: only windows well inside see all that they could.
        assume(all(low >= 12 and high < side - 12 for (low, high), side in zip(expected, size, strict=True)))
        assert [tuple(map(int, pair)) for pair in seen(model, value)] == expected


@pytest.mark.tensorflow
@pytest.mark.parametrize(
    ("kind", "given", "options"),
    [
        ("Conv2DTranspose", (2, 2, 2), {}),
        ("Conv2DTranspose", (2, 3, 2), {"padding": "same"}),
        ("Conv2DTranspose", (2, 5, 3), {"padding": "same"}),
        ("Conv2DTranspose", (2, 4, 2), {"padding": "valid"}),
        ("Conv2DTranspose", (2, 3), {"dilation_rate": 2, "padding": "same"}),
        ("UpSampling2D", (3,), {}),
        ("UpSampling2D", ((2, 3),), {"interpolation": "bilinear"}),
        ("Resizing", (70, 30), {}),
        ("CenterCrop", (20, 31), {}),
    ],
)
def test_middles_of_enlarged_maps_are_near_what_they_see(kind, given, options, tmp_path) -> None:
    """On average over the values of a map to a hundredth of a pixel, each to a step of the map before."""
    model = positive(
        keras.Sequential([keras.Input((40, 40, 2)), layers.Conv2D(2, 3), make_layer(kind, *given, **options)])
    )
    place = place_of(model, tmp_path, model.layers[-1].name)
    shape, off = model.output_shape[1:3], []
    for number in range(shape[0] // 3, shape[0] // 3 + 12):
        for axis, (low, high) in enumerate(seen(model, (number, number % shape[1]))):
            middle = sum(predicted(place, axis, (number, number % shape[1])[axis])) / 2
            if 4 < middle < 35:
                off.append((low + high) / 2 - middle)
    assert np.abs(off).max() <= 1
    assert abs(np.mean(off)) < 0.3


def branches(merge, **right):
    image = keras.Input((32, 32, 3), name="image")
    left = layers.Conv2D(4, 5, padding="same")(image)
    other = layers.Conv2D(**{"filters": 4, "kernel_size": 3, "padding": "same"} | right)(image)
    return keras.Model(image, make_layer(merge, name="merged")([left, other]))


@pytest.mark.tensorflow
@pytest.mark.parametrize("merge", ["Add", "Concatenate", "Multiply"])
def test_maps_of_branches_see_what_both_see(merge, tmp_path) -> None:
    place = place_of(branches(merge), tmp_path, "merged")
    assert (place.offset, place.stride, place.field) == ((0, 0), (1, 1), (5, 5))


@pytest.mark.tensorflow
def test_squeeze_and_excitation_leaves_the_place_alone(tmp_path) -> None:
    image = keras.Input((32, 32, 3), name="image")
    maps = layers.Conv2D(4, 3, 2, padding="same")(image)
    weight = layers.Reshape((1, 1, 4))(layers.GlobalAveragePooling2D()(maps))
    model = keras.Model(image, layers.Multiply(name="scaled")([maps, layers.Conv2D(4, 1)(weight)]))
    assert place_of(model, tmp_path, "scaled").offset == (1, 1)


@pytest.mark.tensorflow
def test_what_mixes_places_has_none(tmp_path) -> None:
    image = keras.Input((8, 8, 3), name="image")
    turned = layers.Permute((2, 1, 3), name="turned")(image)
    model = keras.Model(image, layers.Conv2D(3, 3, name="after")(layers.Reshape((8, 8, 3), name="shaped")(turned)))
    assert [place_of(model, tmp_path, name) for name in ("turned", "shaped", "after")] == [None] * 3
    assert place_of(model, tmp_path, "image").stride == (1, 1)


@pytest.mark.tensorflow
def test_two_inputs_in_one_map_have_no_place(tmp_path) -> None:
    first, second = keras.Input((8, 8, 1), name="first"), keras.Input((8, 8, 1), name="second")
    model = keras.Model([first, second], layers.Add(name="sum")([first, second]))
    model.save(tmp_path / "two.keras")
    with open_network(tmp_path / "two.keras", None) as network:
        found = network.activations({"first": np.zeros((1, 8, 8, 1)), "second": np.zeros((1, 8, 8, 1))})
    assert found["sum"].geometry is None
    assert found["second"].geometry.input == "second"


@pytest.mark.tensorflow
def test_a_free_size_is_that_of_what_is_fed(tmp_path) -> None:
    image = keras.Input((None, None, 1), name="image")
    model = keras.Model(image, layers.Conv2D(1, 3, 2, padding="same", name="conv")(image))
    model.save(tmp_path / "free.keras")
    with open_network(tmp_path / "free.keras", None) as network:
        even = network.activations({"image": np.zeros((1, 8, 8, 1), np.float32)})["conv"].geometry
        odd = network.activations({"image": np.zeros((1, 9, 8, 1), np.float32)})["conv"].geometry
    assert (even.size, even.offset, odd.size, odd.offset) == ((8, 8), (1, 1), (9, 8), (0, 1))

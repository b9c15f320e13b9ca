"""Every class of `keras.layers`, and what models do with them, against Keras itself.

Each network is saved as `.keras` and `.h5`, opened, and compared output by output with a
recorded forward pass of the model that Keras loads from the `.keras` file.
"""

import numpy as np
import pytest
from late_imports import keras, layers, ops

import actviz
from actviz.errors import ModelError
from actviz.formats.keras.inner_layers import InnerOutputRecorder, children, output_list

pytestmark = pytest.mark.slow
IMAGE, SEQUENCE, VOLUME, VIDEO, TOKENS = (8, 8, 3), (6, 5), (6, 6, 6, 2), (4, 8, 8, 2), (6,)
RANDOM = np.random.default_rng(0)
AUGMENTING = {
    "RandomFlip": {}, "RandomContrast": {"factor": 0.2}, "RandomCrop": {"height": 4, "width": 4}, "RandomHue": {"factor": 0.1},
    "RandomRotation": {"factor": 0.2}, "RandomTranslation": {"height_factor": 0.1, "width_factor": 0.1},
    "RandomZoom": {"height_factor": 0.1}, "RandomGrayscale": {}, "RandomErasing": {}, "RandAugment": {}, "AugMix": {},
    "MixUp": {}, "CutMix": {}, "RandomInvert": {}, "RandomPerspective": {}, "RandomShear": {}, "RandomGaussianBlur": {},
}  # fmt: skip
SINGLE = {
    "Conv1D": (SEQUENCE, lambda: layers.Conv1D(3, 2, padding="causal", dilation_rate=2)),
    "Conv1DTranspose": (SEQUENCE, lambda: layers.Conv1DTranspose(4, 3)),
    "DepthwiseConv1D": (SEQUENCE, lambda: layers.DepthwiseConv1D(3)),
    "SeparableConv1D": (SEQUENCE, lambda: layers.SeparableConv1D(4, 3)),
    "Conv2DTranspose": (IMAGE, lambda: layers.Conv2DTranspose(4, 3, strides=2, padding="same")),
    "Conv2D in groups": ((8, 8, 4), lambda: layers.Conv2D(4, 3, groups=2)),
    "Conv3D": (VOLUME, lambda: layers.Conv3D(2, 3)),
    "Conv3DTranspose": (VOLUME, lambda: layers.Conv3DTranspose(2, 3, strides=2)),
    "EinsumDense": (SEQUENCE, lambda: layers.EinsumDense("abc,cd->abd", output_shape=(None, 7), bias_axes="d")),
    "PReLU": (IMAGE, lambda: layers.PReLU(shared_axes=[1, 2])),
    "GroupNormalization": ((8, 8, 4), lambda: layers.GroupNormalization(2)),
    "SpectralNormalization": (IMAGE, lambda: layers.SpectralNormalization(layers.Conv2D(4, 3))),
    "ConvLSTM1D": ((4, 8, 2), lambda: layers.ConvLSTM1D(3, 3, return_sequences=True)),
    "ConvLSTM2D": (VIDEO, lambda: layers.ConvLSTM2D(3, 3)),
    "ConvLSTM3D": ((3, 5, 5, 5, 2), lambda: layers.ConvLSTM3D(2, 2)),
    "GRU before": (SEQUENCE, lambda: layers.GRU(3, reset_after=False)),
    "SimpleRNN backwards": (SEQUENCE, lambda: layers.SimpleRNN(3, go_backwards=True)),
    "RNN of a cell": (SEQUENCE, lambda: layers.RNN(layers.GRUCell(3))),
    "RNN of cells": (SEQUENCE, lambda: layers.RNN([layers.LSTMCell(3), layers.SimpleRNNCell(2)], return_sequences=True)),
    "Bidirectional sum": (SEQUENCE, lambda: layers.Bidirectional(layers.GRU(3, return_sequences=True), merge_mode="sum")),
    "Bidirectional of two": (
        SEQUENCE, lambda: layers.Bidirectional(layers.LSTM(3), backward_layer=layers.LSTM(3, go_backwards=True, name="other"))
    ),
    "Bidirectional of a cell": (SEQUENCE, lambda: layers.Bidirectional(layers.RNN(layers.LSTMCell(3)))),
    "Bidirectional apart": (SEQUENCE, lambda: layers.Bidirectional(layers.LSTM(3), merge_mode=None)),
    "Bidirectional with states": (SEQUENCE, lambda: layers.Bidirectional(layers.LSTM(3, return_state=True))),
    "TimeDistributed BatchNormalization": (VIDEO, lambda: layers.TimeDistributed(layers.BatchNormalization())),
    "TimeDistributed twice": ((3, 4, 6, 5), lambda: layers.TimeDistributed(layers.TimeDistributed(layers.Dense(3)))),
    "TimeDistributed Bidirectional": ((3, 6, 5), lambda: layers.TimeDistributed(layers.Bidirectional(layers.LSTM(2)))),
    "UpSampling2D bilinear": (IMAGE, lambda: layers.UpSampling2D(2, interpolation="bilinear")),
    "Rescaling": (IMAGE, lambda: layers.Rescaling(1 / 255, offset=[0.1, 0.2, 0.3])),
    "CenterCrop": (IMAGE, lambda: layers.CenterCrop(4, 4)),
    "Discretization": (SEQUENCE, lambda: layers.Discretization(bin_boundaries=[0.2, 0.5, 0.8])),
    "MelSpectrogram": ((1024,), lambda: layers.MelSpectrogram(fft_length=256, sequence_stride=64)),
    "Dense with an activation": ((5,), lambda: layers.Dense(4, activation="leaky_relu")),
    "RepeatVector": ((5,), lambda: layers.RepeatVector(3)),
    "Permute": (IMAGE, lambda: layers.Permute((3, 1, 2))),
    **{
        kind: (IMAGE, lambda kind=kind: getattr(layers, kind)())
        for kind in ("ELU", "LeakyReLU", "Softmax", "BatchNormalization", "LayerNormalization", "UnitNormalization", "RMSNormalization")
    },
    **{
        f"{kind}{rank}D": ({1: SEQUENCE, 2: IMAGE, 3: VOLUME}[rank], lambda kind=kind, rank=rank: getattr(layers, f"{kind}{rank}D")(2))
        for kind in ("Cropping", "ZeroPadding", "UpSampling", "MaxPooling", "AveragePooling")
        for rank in (1, 2, 3)
    },
    **{kind: (IMAGE, lambda kind=kind: getattr(layers, kind)(**AUGMENTING[kind])) for kind in AUGMENTING},
}  # fmt: skip


def values(*shape):
    return RANDOM.random(shape, np.float32)


def attention():
    query, value = keras.Input((4, 6), name="query"), keras.Input((5, 6), name="value")
    found = [
        layers.Attention(use_scale=True, name="dot")([query, value]),
        layers.AdditiveAttention(name="additive")([query, value]),
        layers.GroupQueryAttention(3, 4, 2, name="grouped")(query, value),
        *layers.MultiHeadAttention(2, 3, name="heads")(query, value, return_attention_scores=True),
        layers.MultiHeadAttention(2, 3, name="itself")(query=query, value=query, use_causal_mask=True),
    ]
    return keras.Model([query, value], found), {"query": values(2, 4, 6), "value": values(2, 5, 6)}


def dictionaries():
    zeta, alpha = keras.Input((4,), name="zeta"), keras.Input((4,), name="alpha")
    given, found = (
        {"zeta": zeta, "alpha": alpha},
        {"b": layers.Dense(2, name="one")(zeta), "a": layers.Dense(3, name="two")(alpha)},
    )
    inner = keras.Model(given, found, name="inner")
    left, right = keras.Input((4,), name="left"), keras.Input((4,), name="right")
    result = inner({"zeta": left, "alpha": right})
    outputs = {"o": layers.Dense(2, name="head")(result["b"]), "p": result["a"]}
    return keras.Model({"left": left, "right": right}, outputs), {"left": values(2, 4), "right": values(2, 4)}


def calls_of_a_nested_model():
    """The first call is an output of the model itself, the second is used inside."""
    image = keras.Input((6,), name="inside")
    inner = keras.Model(image, layers.Dense(2, name="dense")(image), name="inner")
    left, right = keras.Input((6,), name="left"), keras.Input((6,), name="right")
    outputs = [inner(left), layers.ReLU(name="relu")(inner(right))]
    return keras.Model([left, right], outputs), {"left": values(2, 6), "right": values(2, 6)}


def operations():
    image = keras.Input(IMAGE, name="image")
    found = ops.relu(image * 2.0 + 1.0) - 0.5
    part = found[:, 1:-1, ::2]
    flat = ops.reshape(ops.concatenate([part, part], -1), (-1, 6 * 4 * 6))
    first, rest = ops.split(image, [1], axis=-1)
    best = ops.top_k(ops.einsum("bhwc,bhwc->bc", image, image), 2)
    outputs = [
        ops.mean(part, axis=(1, 2), keepdims=True), ops.softmax(ops.matmul(flat, ops.transpose(flat))), first, rest,
        ops.where(image > 0.5, image, 0.0), ops.stack([first, first], axis=1), ops.cast(image > 0.3, "int32"), *best,
        ops.moments(image, axes=[1])[1], ops.unstack(image, axis=1)[7],
    ]  # fmt: skip
    return keras.Model(image, outputs), {"image": values(2, *IMAGE)}


def states():
    steps = keras.Input(SEQUENCE, name="steps")
    found, hidden, cell = layers.LSTM(3, return_state=True, return_sequences=True, name="encoder")(steps)
    decoded = layers.LSTM(3, name="decoder")(found, initial_state=[hidden, cell])
    return keras.Model(steps, [decoded, *layers.GRU(3, return_state=True, name="gru")(steps)]), {
        "steps": values(2, *SEQUENCE)
    }


def masks():
    tokens = keras.Input(TOKENS, dtype="int32", name="tokens")
    embedded = layers.Embedding(9, 4, mask_zero=True, name="embedding")(tokens)
    steps = layers.LSTM(3, return_sequences=True, name="lstm")(embedded)
    outputs = [
        layers.GlobalAveragePooling1D(name="mean")(steps), layers.Attention(name="dot")([embedded, embedded]),
        layers.MultiHeadAttention(2, 3, name="heads")(steps, steps), layers.TimeDistributed(layers.Dense(2), name="each")(steps),
        layers.GRU(2, name="gru")(layers.Concatenate(name="both")([steps, embedded])),
    ]  # fmt: skip
    return keras.Model(tokens, outputs), {"tokens": np.array([[1, 2, 0, 0, 0, 0], [3, 4, 5, 6, 0, 0]], np.int32)}


def nested_twice():
    image = keras.Input(IMAGE)
    inner = keras.Model(image, layers.Conv2D(2, 3, name="conv")(image), name="inner")
    image = keras.Input(IMAGE)
    middle = keras.Model(
        image, layers.Concatenate(name="both")([inner(image), inner(ops.flip(image, 1))]), name="middle"
    )
    left, right = keras.Input(IMAGE, name="left"), keras.Input(IMAGE, name="right")
    found = layers.Subtract(name="difference")([middle(left), middle(right)])
    return keras.Model([left, right], found), {"left": values(2, *IMAGE), "right": values(2, *IMAGE)}


def sequential_models_in_a_row():
    first = keras.Sequential([layers.Conv2D(2, 3, name="conv"), layers.ReLU(name="relu")], name="first")
    second = keras.Sequential([layers.Flatten(name="flat"), layers.Dense(3, name="dense")], name="second")
    return keras.Sequential([layers.Input(IMAGE, name="image"), first, second]), {"image": values(2, *IMAGE)}


def every_step():
    frame = keras.Input((8, 8, 2), name="frame")
    inner = keras.Sequential(
        [layers.Input((8, 8, 2)), layers.Conv2D(2, 3, name="conv"), layers.Flatten(name="flat")], name="inner"
    )
    shared = keras.Model(frame, layers.Add(name="sum")([inner(frame), inner(-frame)]), name="shared")
    video = keras.Input(VIDEO, name="video")
    return keras.Model(video, layers.TimeDistributed(shared, name="frames")(video)), {"video": values(2, *VIDEO)}


def outputs_of_a_nested_model():
    steps = keras.Input(SEQUENCE)
    found, _, cell = layers.LSTM(3, return_state=True, name="lstm")(steps)
    inner = keras.Model(steps, [found, cell], name="inner")
    steps = keras.Input(SEQUENCE, name="steps")
    return keras.Model(steps, layers.Add(name="sum")(inner(steps))), {"steps": values(2, *SEQUENCE)}


def half_precision():
    image = keras.Input(IMAGE, name="image")
    found = layers.Conv2D(4, 3, activation="relu", dtype="mixed_float16", name="half")(image)
    found = layers.BatchNormalization(dtype="mixed_bfloat16", name="brain")(found)
    found = layers.Dense(3, dtype="bfloat16", name="all_brain")(found)
    return keras.Model(image, layers.Dense(2, dtype="float64", name="double")(found)), {"image": values(2, *IMAGE)}


def words():
    vectorization = layers.TextVectorization(output_mode="tf_idf", name="words")
    vectorization.adapt(["a b c", "b c", "c"])
    text = keras.Input((), dtype="string", name="text")
    return keras.Model(text, layers.Dense(2, name="dense")(vectorization(text))), {"text": np.array(["a b", "c zz"])}


def lookups():
    words, numbers = keras.Input((3,), dtype="string", name="words"), keras.Input((2,), dtype="int64", name="numbers")
    found = [
        layers.StringLookup(vocabulary=["a", "b"], name="lookup")(words), layers.Hashing(5, name="hashing")(words),
        layers.IntegerLookup(vocabulary=[4, 5, 6], name="integers")(numbers),
        layers.CategoryEncoding(9, output_mode="multi_hot", name="encoding")(numbers),
    ]  # fmt: skip
    given = {"words": np.array([["a", "b", "c"], ["d", "e", "f"]]), "numbers": np.array([[4, 5], [1, 6]])}
    return keras.Model([words, numbers], found), given


def adapted():
    normalization = layers.Normalization(name="normalization")
    normalization.adapt(values(20, 3))
    numbers = keras.Input((3,), name="numbers")
    return keras.Model(numbers, layers.Dense(2, name="dense")(normalization(numbers))), {"numbers": values(2, 3)}


def odd_names():
    numbers = keras.Input((6,), name="numbers")
    found = numbers
    for name in ("päth @0", "x#1", "3", "-l", "a,b", "über:all"):
        found = layers.Dense(3, name=name)(found)
    return keras.Model(numbers, found), {"numbers": values(2, 6)}


MODELS = (
    attention, dictionaries, calls_of_a_nested_model, operations, states, masks, nested_twice, sequential_models_in_a_row,
    every_step, outputs_of_a_nested_model, half_precision, words, lookups, adapted, odd_names,
)  # fmt: skip


def single(name):
    shape, make = SINGLE[name]
    given = keras.Input(shape, name="given")
    return keras.Model(given, make()(given)), {"given": values(2, *shape)}


def randomise(model):
    """Give every weight that no initializer would give, so that exchanged ones are seen."""
    for weight in model.weights:
        if "seed" not in weight.path and str(weight.dtype).startswith(("float", "bfloat")):
            weight.assign(RANDOM.uniform(0.2, 0.8, weight.shape))


def recorded(path, given):
    """Return what Keras computes, by address."""
    import tensorflow as tf

    model = keras.saving.load_model(path, compile=False)
    tensors = {name: tf.constant(array) for name, array in given.items()}
    structure = model._inputs_struct if hasattr(model, "_inputs_struct") else None
    arguments = tensors if isinstance(structure, dict) else list(tensors.values())
    with InnerOutputRecorder(children(model)) as record:
        model(arguments if isinstance(arguments, dict) or len(arguments) > 1 else arguments[0], training=False)
    found = {}
    for address, outputs in record.outputs.items():
        items = output_list(outputs)
        found |= {
            address if len(items) == 1 else f"{address}@{number}": np.asarray(item) for number, item in enumerate(items)
        }
    return found


def check(path, given, expected):
    """Compare every output that both know, and what was told of it before."""
    with actviz.open(path) as network:
        told = {layer.address: layer for layer in network.layers}
        found = network.activations(given)
        inside_attention = {
            a
            for a in expected
            if any(
                a.startswith(f"{layer.address.partition('@')[0]}/")
                for layer in told.values()
                if "Attention" in layer.kind
            )
        }
    missing = {a for a in expected if a not in found} - inside_attention
    assert {a for a in missing if "/string_lookup" not in a} == set()
    for address, correct in expected.items():
        if address in found:
            assert found[address].values.dtype == correct.dtype, address
            if correct.dtype.kind in "OSU":
                np.testing.assert_array_equal(found[address].values, correct)
            else:
                np.testing.assert_allclose(
                    found[address].values.astype(float), correct.astype(float), rtol=1e-5, atol=1e-6, err_msg=address
                )
    for address, item in found.items():
        assert len(item.axes) == item.values.ndim, address
        shape = told[address].shape
        assert shape is None or len(shape) == item.values.ndim, address
        assert shape is None or all(
            size in (None, real) for size, real in zip(shape, item.values.shape, strict=True)
        ), address


def check_model(made, folder):
    model, given = made
    randomise(model)
    model.save(folder / "m.keras")
    expected = recorded(folder / "m.keras", given)
    check(folder / "m.keras", given, expected)
    try:
        model.save(folder / "m.h5")
    except TypeError:
        return  # Keras itself cannot write some of its layers to HDF5
    try:
        check(folder / "m.h5", given, expected)
    except ModelError as failure:
        assert "vocabulary" in failure.message  # noqa: PT017  (most files open)


@pytest.mark.parametrize("name", SINGLE)
def test_one_layer(tmp_path, name):
    if name in AUGMENTING and not hasattr(layers, name):
        pytest.skip(f"this Keras has no {name}")
    keras.backend.clear_session()
    check_model(single(name), tmp_path)


@pytest.mark.parametrize("make", MODELS, ids=lambda make: make.__name__)
def test_a_model(tmp_path, make):
    keras.backend.clear_session()
    check_model(make(), tmp_path)


def test_every_odd_name_has_a_printed_form_that_selects_it(tmp_path):
    model, given = odd_names()
    model.save(tmp_path / "m.keras")
    with actviz.open(tmp_path / "m.keras") as network:
        for layer in network.layers:
            assert list(network.activations(given, layer.address)) == [layer.address]

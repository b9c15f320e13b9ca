"""Frozen graphs as TensorFlow 2 and TensorFlow 1 make them, and what TensorFlow's own session computes with them."""

from __future__ import annotations

import functools
from pathlib import Path

import numpy as np

ROOT = Path(__file__).parents[2]
STEPS, FEATURES = 5, 3


def convolutional():
    """A network with BatchNormalization, pooling and a softmax."""
    from keras import Input, Sequential, layers

    return Sequential(
        [
            Input((8, 8, 1), name="picture"),
            layers.Conv2D(4, 3, name="conv_a", activation="relu"),
            layers.BatchNormalization(name="bn"),
            layers.MaxPooling2D(name="pool"),
            layers.Flatten(name="flat"),
            layers.Dense(3, name="out", activation="softmax"),
        ],
        name="small_11",
    )


def recurrent():
    """An LSTM that returns its sequence, and a GRU."""
    from keras import Input, Sequential, layers

    return Sequential(
        [
            Input((STEPS, FEATURES), name="x"),
            layers.LSTM(4, name="first_1", return_sequences=True),
            layers.GRU(3, name="second"),
            layers.Dense(2, name="out"),
        ]
    )


def bidirectional():
    """Words, a mask, and a layer that reads in both directions."""
    from keras import Input, Sequential, layers

    return Sequential(
        [
            Input((STEPS,), name="words", dtype="int32"),
            layers.Embedding(10, 3, name="read", mask_zero=True),
            layers.Bidirectional(layers.LSTM(4, return_sequences=True), name="both"),
            layers.Dense(2, name="out"),
        ]
    )


def states():
    """An LSTM whose two states are used, beside its sequence."""
    from keras import Input, Model, layers

    given = Input((STEPS, FEATURES), name="x")
    sequence, hidden, cell = layers.LSTM(4, name="encoder", return_sequences=True, return_state=True)(given)
    ends = [layers.Dense(2, name=f"out{number}")(end) for number, end in enumerate([sequence, hidden, cell])]
    return Model(given, ends)


def shared():
    """A nested model that is called twice."""
    from keras import Input, Model, Sequential, layers

    left, right = Input((8, 8, 1), name="left"), Input((8, 8, 1), name="right")
    inner = [Input((8, 8, 1)), layers.Conv2D(2, 3, name="c1"), layers.GlobalAveragePooling2D(name="gap")]
    base = Sequential(inner, name="base")
    return Model([left, right], layers.Dense(2, name="out")(layers.Concatenate(name="cat")([base(left), base(right)])))


def attention():
    """Self-attention of two heads."""
    from keras import Input, Model, layers

    given = Input((STEPS, 6), name="x")
    attended = layers.MultiHeadAttention(2, 3, name="attend")(given, given)
    return Model(given, layers.Dense(2, name="out")(layers.Add(name="sum")([given, attended])))


MODELS = {make.__name__: make for make in (convolutional, recurrent, bidirectional, states, shared, attention)}


@functools.cache
def model(name):
    """Return one of `MODELS`, with the same weights each time."""
    import keras

    keras.utils.set_random_seed(7)
    made = MODELS[name]()
    for variable in made.variables:  # biases and moving averages other than 0 and 1
        variable.assign(variable + np.random.default_rng(len(variable.shape)).uniform(0.1, 0.4, variable.shape))
    return made


def frozen_function(name, *, lowered, exported=None):
    """Freeze a model with `convert_variables_to_constants_v2`; exported: the signature of a SavedModel in that folder."""
    import tensorflow as tf
    from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

    keras_model = model(name)
    if exported:
        keras_model.export(str(exported), verbose=False)
        loaded = tf.saved_model.load(str(exported))
        return convert_variables_to_constants_v2(loaded.signatures["serving_default"], lower_control_flow=lowered)
    specs = [tf.TensorSpec((None, *item.shape[1:]), item.dtype, name=item.name) for item in keras_model.inputs]
    call = tf.function(lambda *given: keras_model(list(given) if len(given) > 1 else given[0]))
    return convert_variables_to_constants_v2(call.get_concrete_function(*specs), lower_control_flow=lowered)


def write(name: str, path: Path, *, lowered: bool, exported: bool) -> None:
    """Write the frozen graph of a model; exported: of the signature of its SavedModel."""
    function = frozen_function(name, lowered=lowered, exported=path.with_suffix("") if exported else None)
    path.write_bytes(function.graph.as_graph_def().SerializeToString())


def write_tf1_lstm(path: Path) -> None:
    """Write an LSTM as TensorFlow 1.15 froze it: a loop of `Enter` to `Exit`, `TensorArray`, and a condition of `Switch`."""
    import tensorflow as tf

    v1 = tf.compat.v1
    random = np.random.default_rng(3)
    kernel, recurrent_kernel = (random.normal(size=(rows, 16)).astype("float32") for rows in (FEATURES, 4))
    enabled = v1.control_flow_v2_enabled()
    v1.disable_control_flow_v2()
    try:
        with tf.Graph().as_default() as graph:
            x = v1.placeholder(tf.float32, (None, STEPS, FEATURES), name="x")
            learning = v1.placeholder_with_default(False, (), name="keras_learning_phase")
            with v1.name_scope("lstm"):
                weights = [
                    tf.identity(tf.constant(value, name=name), name=f"{name}/read")
                    for name, value in (("kernel", kernel), ("recurrent_kernel", recurrent_kernel))
                ]
                time_first = tf.transpose(x, (1, 0, 2))
                read = v1.TensorArray(tf.float32, STEPS, name="input_ta").unstack(time_first)
                written = v1.TensorArray(tf.float32, STEPS, name="output_ta")
                zero = tf.zeros((tf.shape(x)[0], 4))

                def step(time, array, hidden, cell):
                    gates = tf.matmul(read.read(time), weights[0]) + tf.matmul(hidden, weights[1])
                    i, f, c, o = tf.split(gates, 4, axis=1)
                    cell = tf.sigmoid(f) * cell + tf.sigmoid(i) * tf.tanh(c)
                    hidden = tf.sigmoid(o) * tf.tanh(cell)
                    return time + 1, array.write(time, hidden), hidden, cell

                ends = v1.while_loop(lambda time, *_: time < STEPS, step, (0, written, zero, zero))
                tf.transpose(ends[1].stack(), (1, 0, 2), name="transpose_1")
            with v1.name_scope("dropout"):
                last = v1.cond(learning, lambda: ends[2] * 2.0, lambda: ends[2] - 0.5)
            with v1.name_scope("dense"):
                dense = tf.matmul(last, tf.identity(tf.ones((4, 2)), name="kernel/read"), name="MatMul")
            with v1.name_scope("both"):
                tf.concat([dense, ends[3], graph.get_tensor_by_name("lstm/transpose_1:0")[:, 0]], 1, name="concat")
    finally:
        if enabled:
            v1.enable_control_flow_v2()
    path.write_bytes(graph.as_graph_def().SerializeToString())


def session_values(path: Path, fed, tensors):
    """Return the values of tensors, by their names, that TensorFlow's session computes with a frozen graph."""
    import tensorflow as tf

    definition = tf.compat.v1.GraphDef.FromString(path.read_bytes())
    with tf.Graph().as_default() as graph:
        tf.import_graph_def(definition, name="")
        with tf.compat.v1.Session(graph=graph) as session:
            return session.run(list(tensors), {f"{name}:0": value for name, value in fed.items()})


def inputs(network, count=3):
    """Return a batch for a network: random values, words from 0 to 9."""
    random = np.random.default_rng(5)
    return {
        spec.name: random.integers(0, 10, (count, *spec.shape[1:])).astype(spec.dtype)
        if "int" in spec.dtype
        else random.normal(size=(count, *spec.shape[1:])).astype(spec.dtype)
        for spec in network.inputs
    }


def beside_session(path: Path):
    """Compute every address of a frozen graph, inner ones too; return ``{address: (activation, value of the session)}`` and the batch."""
    from actviz.formats import open_network

    with open_network(path) as network:
        batch = inputs(network)
        known = {layer.address for layer in network.layers}
        scopes = {name: scope for name, scope in network._layers.addresses.items() if name in known}
        activations = network.activations(batch, list(scopes))
        nodes = network._flat.nodes
        tensors = [f"{nodes[scope.tensor[0]].node.name}:{scope.tensor[1]}" for scope in scopes.values()]
    correct = session_values(path, batch, tensors)
    return {name: (activations[name], value) for name, value in zip(scopes, correct, strict=True)}, batch

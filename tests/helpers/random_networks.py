"""Random networks, saved in every format, each layer compared with what Keras computes.

``python tests/helpers/random_networks.py --count 200 --seed 1`` makes 200 networks with the seeds 1, 2, ... and
prints every address that does not hold the output of its layer. The tests run a smaller number.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import re
import shutil
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from random_layers import Maker

FORMATS = ("keras", "h5", "exported", "tflite")
_CALL = re.compile(r"#\d+")
MAXIMUM_VALUES = 20_000


# ------------------------------------------------------------------ networks
@dataclass
class Growth:
    """A network that is being built: its symbolic tensors, and the layers that can be called again."""

    maker: Maker
    tensors: list[object]
    again: list[tuple[object, tuple[int, ...]]] = field(default_factory=list)

    def step(self) -> None:
        """Add one layer, a second call of one, a merge or a nested model."""
        from keras import layers

        maker = self.maker
        source = self.tensors[-1] if maker.chance(0.7) else maker.choice(self.tensors)
        shape = tuple(source.shape[1:])
        draw = maker.random.random()
        partners = [tensor for tensor in self.tensors if tensor is not source and tensor.shape == source.shape]
        same = [layer for layer, taken in self.again if taken == shape]
        if draw < 0.15 and partners:
            self.keep(self.merge(source, maker.choice(partners)))
        elif draw < 0.25 and same:
            self.keep(maker.choice(same)(source))
        elif draw < 0.33:
            inner = nested(maker, shape)
            self.again.append((inner, shape))
            self.keep(inner(source))
        elif draw < 0.40 and len(shape) == 2:
            others = [tensor for tensor in self.tensors if len(tensor.shape) == 3 and tensor.shape[-1] == shape[-1]]
            self.keep(self.attend(source, maker.choice(others)))
        elif draw < 0.44 and len(shape) == 2:
            kind = maker.choice((layers.LSTM, layers.GRU))
            outputs = kind(2, return_state=True, return_sequences=maker.chance(0.5))(source)
            for output in outputs[: maker.choice((2, len(outputs)))]:
                self.keep(output)
        elif draw < 0.48:
            self.keep(self.operate(source))
        else:
            layer = renamed(maker, maker.layer(shape))
            self.keep(layer(source))
            self.again.append((layer, shape))

    def merge(self, one, other):
        """Join two tensors of one shape."""
        from keras import layers

        rank = len(one.shape)
        kinds = [
            layers.Add(),
            layers.Subtract(),
            layers.Multiply(),
            layers.Average(),
            layers.Maximum(),
            layers.Minimum(),
        ]
        kinds += [layers.Concatenate(axis=self.maker.choice([-1, *range(1, rank)]))] * 2
        if rank == 2:
            kinds += [layers.Dot(axes=1), layers.Dot(axes=1, normalize=True)]
        if rank == 3:
            kinds += [layers.Dot(axes=self.maker.choice((1, 2)))]
        return self.maker.choice(kinds)([one, other])

    def attend(self, query, value):
        """Let one sequence attend to another of the same width."""
        from keras import layers

        maker = self.maker
        heads = maker.choice((1, 2))
        return maker.choice(
            [
                lambda: layers.MultiHeadAttention(heads, 2)(query, value, use_causal_mask=maker.chance(0.2)),
                lambda: layers.Attention(use_scale=maker.chance(0.5))([query, value]),
                lambda: layers.AdditiveAttention()([query, value]),
                lambda: layers.GroupQueryAttention(2, 2, 1)(query, value),
            ]
        )()

    def operate(self, one):
        """Apply an operation that is no layer."""
        from keras import ops

        calls = [
            lambda: one * 2.0 + 1.0, lambda: one - 0.5, lambda: ops.relu(one), lambda: ops.transpose(one, (0, *range(len(one.shape) - 1, 0, -1))),
            lambda: ops.mean(one, axis=-1, keepdims=True), lambda: one[:, :1], lambda: ops.tanh(one), lambda: ops.maximum(one, 0.1),
            lambda: ops.concatenate([one, one], axis=-1), lambda: ops.expand_dims(one, 1), lambda: ops.softmax(one, axis=-1),
        ]  # fmt: skip
        return self.maker.choice(calls)()

    def keep(self, tensor) -> None:
        """Keep a result that is small and has an axis besides the batch."""
        sizes = tensor.shape[1:]
        if not sizes or None in sizes or not 0 < np.prod(sizes) <= MAXIMUM_VALUES or len(sizes) > 4:
            message = f"shape {tensor.shape}"
            raise ValueError(message)
        self.tensors.append(tensor)


def renamed(maker: Maker, layer):
    """Give a layer a name of the user's, or leave Keras's own."""
    name = maker.name()
    if name is None:
        return layer
    config = layer.get_config() | {"name": name}
    return type(layer).from_config(config)


def nested(maker: Maker, shape: tuple[int, ...]):
    """Return a small model that takes inputs of a shape."""
    import keras

    count = maker.choice((1, 2, 3))
    if maker.chance(0.5):
        model = keras.Sequential([keras.Input(shape)], name=maker.name())
        for _ in range(count):
            model.add(maker.layer(tuple(model.output_shape[1:])))
    else:
        given = keras.Input(shape)
        growth = Growth(maker, [given])
        for _ in range(count):
            growth.step()
        model = keras.Model(given, growth.tensors[-1], name=maker.name())
    if None in model.output_shape[1:] or not model.output_shape[1:]:
        message = "a nested model whose output has a free size"
        raise ValueError(message)
    return model


def network(seed: int):
    """Return a random Keras model and inputs for it, by name: two samples each."""
    import keras

    maker = Maker(seed)
    keras.backend.clear_session()
    keras.utils.set_random_seed(seed)
    if maker.chance(0.2):  # as the second model of a notebook: automatic names begin at a number
        for kind in (keras.layers.Dense, keras.layers.BatchNormalization, keras.layers.ReLU):
            kind(1) if kind is keras.layers.Dense else kind()
        keras.layers.Conv2D(1, 1)
    shapes = [(6,), (5, 4), (8, 7, 3), (8, 8, 1), (4, 6, 5, 2)]
    inputs = []
    for number in range(maker.choice((1, 1, 2))):
        shape = maker.choice(shapes) if not inputs or maker.chance(0.5) else tuple(inputs[0].shape[1:])
        inputs.append(keras.Input(shape, name=f"input_{'ab'[number]}"))
    tensors = list(inputs)
    if maker.chance(0.15):
        tokens = keras.Input((5,), dtype="int32", name="tokens")
        inputs.append(tokens)
        tensors.append(keras.layers.Embedding(9, 4, mask_zero=maker.chance(0.4))(tokens))
    growth = Growth(maker, tensors)
    for _ in range(maker.choice((3, 5, 8, 12))):
        # Many random arguments do not fit the shape: Keras says so, and another layer is drawn.
        for _attempt in range(20):
            with contextlib.suppress(ValueError, TypeError, NotImplementedError, IndexError, KeyError, AttributeError):
                growth.step()
                break
    ends = [tensor for tensor in growth.tensors if tensor not in inputs][-maker.choice((1, 1, 2, 3)) :]
    if not ends:
        ends = [keras.layers.Activation("tanh")(inputs[0])]
    outputs = dict(zip(("first", "second", "third"), ends, strict=False)) if maker.chance(0.15) else ends
    model = keras.Model(inputs, outputs, name=maker.name())
    for weight in model.weights:
        if "seed" not in weight.path and str(weight.dtype).startswith("float"):
            weight.assign(
                np.random.default_rng(maker.random.randrange(1 << 30)).uniform(0.2, 0.8, weight.shape)
                * maker.choice((0.5, 1.0))
            )
    values = np.random.default_rng(seed)
    given = {
        item.name: values.integers(0, 9, (2, *item.shape[1:])).astype(np.int32)
        if "int" in str(item.dtype)
        else values.normal(size=(2, *item.shape[1:])).astype(np.float32)
        for item in model.inputs
    }
    return model, given


# ------------------------------------------------------------------ files
@contextlib.contextmanager
def silent():
    """Send what TensorFlow's converter prints, from C++ too, to nowhere."""
    sys.stdout.flush()
    sys.stderr.flush()
    kept = [os.dup(number) for number in (1, 2)]
    with Path(os.devnull).open("wb") as nowhere:
        for number in (1, 2):
            os.dup2(nowhere.fileno(), number)
    try:
        yield
    finally:
        for number, copy in zip((1, 2), kept, strict=True):
            os.dup2(copy, number)
            os.close(copy)


def written(model, folder: Path, seed: int, formats) -> dict[str, Path]:
    """Save a model in some formats; those that Keras or the converter cannot write are missing."""
    import tensorflow as tf

    paths = {kind: folder / f"m{'.' if kind != 'exported' else '_'}{kind}" for kind in FORMATS}
    with silent(), contextlib.suppress(TypeError, NotImplementedError):
        if "h5" in formats:
            model.save(paths["h5"])
    model.save(folder / "m.keras")
    if {"exported", "tflite"} & set(formats):
        try:
            with silent():
                model.export(paths["exported"], verbose=False)
        except Exception:  # noqa: BLE001  (whatever TensorFlow cannot export is no question to actviz)
            return {kind: path for kind, path in paths.items() if kind in formats and path.is_file()}
    if "tflite" in formats:
        with silent(), contextlib.suppress(Exception):
            converter = tf.lite.TFLiteConverter
            made = converter.from_saved_model(str(paths["exported"])) if seed % 3 else converter.from_keras_model(model)
            paths["tflite"].write_bytes(made.convert())
    return {kind: path for kind, path in paths.items() if kind in formats and path.exists()}


def expected(path: Path, given: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return what Keras computes for every call of every layer, by address."""
    import keras
    import tensorflow as tf

    from actviz.formats.keras.inner_layers import InnerOutputRecorder, children, output_list

    model = keras.saving.load_model(path, compile=False)
    arguments = [tf.constant(given[item.name]) for item in model.inputs]
    with InnerOutputRecorder(children(model)) as record:
        model(arguments if len(arguments) > 1 else arguments[0], training=False)
    found = {}
    for address, outputs in record.outputs.items():
        items = output_list(outputs)
        for number, item in enumerate(items):
            found[address if len(items) == 1 else f"{address}@{number}"] = np.asarray(item)
    return found


# ------------------------------------------------------------------ comparison
@dataclass
class Result:
    """What comparing one file gave: how many layers were right, and what was wrong."""

    kind: str
    right: int = 0
    missing: int = 0
    wrong: list[str] = field(default_factory=list)


def difference(found: np.ndarray, correct: np.ndarray) -> str:
    """Return in words how two arrays differ, nothing where they agree within rounding."""
    if found.shape != correct.shape:
        return f"shape {found.shape} instead of {correct.shape}"
    first, second = found.astype(float), correct.astype(float)
    if not np.array_equal(np.isfinite(first), np.isfinite(second)):
        return "not finite in other places"
    finite = np.isfinite(second)
    largest = np.abs(second[finite]).max(initial=1.0)
    error = np.abs(first - second)[finite].max(initial=0.0)
    return f"off by {error:.3g} of {largest:.3g}" if error > 2e-4 * largest else ""


def judged(kind: str, path: Path, given: dict[str, np.ndarray], correct: dict[str, np.ndarray]) -> Result:
    """Compare every address of a file that is a layer's with what the layer computes."""
    import actviz

    result = Result(kind)
    try:
        with actviz.open(path) as network:
            names = [spec.name for spec in network.inputs]
            fed = given if set(names) == set(given) else dict(zip(names, given.values(), strict=True))
            found = network.activations(fed)
    except Exception as failure:  # noqa: BLE001  (a file that does not open is a finding, a traceback too)
        result.wrong.append(f"{type(failure).__name__}: {failure}")
        return result
    own = kind in {"keras", "h5"}
    for address, values in correct.items():
        if address not in found:
            result.missing += 1
            if own and not any(address.startswith(f"{other}/") for other in found):
                result.wrong.append(f"{address}: missing")
            continue
        why = difference(found[address].values, values)
        if why and not own and "#" in address:
            # Exporters number the calls of a layer as they run, Keras as they were made: any call may be it.
            others = [other for other in correct if _CALL.sub("#", other) == _CALL.sub("#", address)]
            why = why if all(difference(found[address].values, correct[other]) for other in others) else ""
        if why and "/backward_" in address and values.ndim > 2:
            why = difference(found[address].values, values[:, ::-1])  # actviz shows it in reading order
        result.right += not why
        if why:
            result.wrong.append(f"{address} ({found[address].kind}): {why}")
    return result


def compared(seed: int, formats=FORMATS, folder: Path | None = None) -> list[Result]:
    """Make the network of a seed, save it in some formats, and compare each."""
    with tempfile.TemporaryDirectory() as temporary:
        place = folder or Path(temporary)
        place.mkdir(parents=True, exist_ok=True)
        model, given = network(seed)
        files = written(model, place, seed, formats)
        correct = expected(place / "m.keras", given)
        np.savez(place / "m_in.npz", **given)
        return [judged(kind, path, given, correct) for kind, path in files.items()]


def main() -> int:
    """Compare many networks and print the counts."""
    options = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    options.add_argument("--count", type=int, default=20)
    options.add_argument("--seed", type=int, default=1)
    options.add_argument("--formats", default=",".join(FORMATS))
    options.add_argument("--keep", type=Path, help="folder in which the files of wrong networks stay")
    arguments = options.parse_args()
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    totals = {kind: [0, 0, 0, 0] for kind in FORMATS}
    for seed in range(arguments.seed, arguments.seed + arguments.count):
        folder = arguments.keep / str(seed) if arguments.keep else None
        results = compared(seed, arguments.formats.split(","), folder)
        for result in results:
            total = totals[result.kind]
            total[0] += 1
            total[1] += not result.wrong
            total[2] += result.right
            total[3] += result.missing
            for line in result.wrong:
                print(f"{seed} {result.kind}: {line}", flush=True)
        if folder is not None and not any(result.wrong for result in results):
            shutil.rmtree(folder)
    for kind, (files, right, layers, missing) in totals.items():
        print(f"{kind}: {right} of {files} files right, {layers} layers, {missing} layers without an address")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())

"""What figures say in words and numbers, compared with what Keras and numpy compute.

Nothing here imports actviz: the command makes the figures, Keras computes the layers, numpy the
numbers, and Pillow reads the files. Compared are, for each figure,

- the record in the PNG (its `actviz` text chunk): smallest and largest value, mean, deviation,
  percentiles, share of zeros, number of channels and of those shown, dead, constant, near-constant
  and negligible channels, clipped values, order of the tiles, both ends of the colours of each;
- the words in the pixels: the first part of the caption (how many of how many, in which order), the
  counts of dead, constant, near-constant, negligible and clipped in it, and the numbers below each
  tile or beside each bar, drawn again and looked for where they belong; see `figure_words`.

Not compared: titles, colour bars and the notes beside them, words of sheets.
"""

import os
import subprocess
import sys

import numpy as np
import pytest
from figure_words import Page, close, listing, number, pairs

pytestmark = pytest.mark.slow

MEASURES = {
    "max": "strongest by maximum |value|",
    "mean": "strongest by mean |value|",
    "std": "strongest by standard deviation",
    "l2": "strongest by L2 norm",
}


def images():
    """Return a network of convolutions and its input: dead, constant, near-constant and faint filters are among them."""
    from keras import Input, Model, layers

    given = Input((22, 30, 3), name="image")
    first = layers.Conv2D(12, 3, activation="relu", name="relu")
    signed = layers.Conv2D(9, 3, name="signed")(first(given))
    layers_ = [
        first.output,
        signed,
        layers.Conv2D(7, 3, activation="sigmoid", name="sigmoid")(signed),
        layers.Conv2D(6, 3, activation="tanh", name="tanh")(signed),
        layers.Conv2D(5, 3, activation="softmax", name="softmax")(signed),
    ]
    kernel, bias = first.get_weights()
    kernel[..., [0, 1]] = 0.0
    kernel[..., 2] *= 1e-3
    kernel[..., 3] *= 1e-6
    bias[:4] = -1.0, 0.7, 0.5, 0.0
    first.set_weights([kernel, bias])
    return Model(given, layers_), np.random.default_rng(1).normal(size=(1, 22, 30, 3))


def vectors():
    from keras import Input, Model, layers

    given = Input((11,), name="features")
    wide = layers.Dense(40, name="wide")(given)
    ends = [
        layers.Dense(13, activation="relu", name="few")(wide),
        layers.Dense(6, activation="softmax", name="scores")(wide),
    ]
    return Model(given, [wide, *ends]), np.random.default_rng(2).normal(size=(1, 11))


def signals():
    from keras import Input, Model, layers

    given = Input((40, 3), name="signal")
    one = layers.Conv1D(8, 5, activation="relu", name="relu1d")(given)
    return Model(given, [one, layers.Conv1D(6, 3, name="signed1d")(one)]), np.random.default_rng(3).normal(
        size=(1, 40, 3)
    )


def tokens():
    """Return a network that leaves out the steps of token 0."""
    from keras import Input, Model, layers

    given = Input((9,), dtype="int32", name="words")
    embedded = layers.Embedding(30, 6, mask_zero=True, name="embedding")(given)
    sequence = layers.LSTM(7, return_sequences=True, name="steps")(embedded)
    last = layers.LSTM(5, name="last")(sequence)
    return Model(given, [embedded, sequence, last]), np.array([[3, 7, 9, 2, 11, 0, 0, 0, 0]], np.int32)


def clips():
    from keras import Input, Model, layers

    given = Input((3, 10, 12, 2), name="clip")
    frames = layers.ConvLSTM2D(4, 3, return_sequences=True, name="frames")(given)
    planes = layers.Conv3D(5, (2, 3, 3), name="planes")(frames)
    return Model(given, [frames, planes]), np.random.default_rng(4).normal(size=(1, 3, 10, 12, 2))


def channels_first():
    from keras import Input, Model, layers

    given = Input((4, 12, 16), name="planes")
    pooled = layers.MaxPooling2D(2, data_format="channels_first", name="pooled")(given)
    return Model(given, [pooled, layers.ReLU(name="positive")(pooled)]), np.random.default_rng(5).normal(
        size=(1, 4, 12, 16)
    )


def attention():
    from keras import Input, Model, layers

    given = Input((7, 8), name="sequence")
    values, scores = layers.MultiHeadAttention(3, 4, name="heads")(given, given, return_attention_scores=True)
    return Model(given, [values, scores]), np.random.default_rng(6).normal(size=(1, 7, 8))


NETWORKS = (images, vectors, signals, tokens, clips, channels_first, attention)
CONVOLUTIONS = ("relu", "signed", "sigmoid", "tanh", "softmax")
# Network, options of the command, layers: each layer is one figure.
RUNS = (
    ("images", "", CONVOLUTIONS),
    ("images", "--top 4", CONVOLUTIONS),
    ("images", "--sort max --channels 1:5", ("relu", "signed", "tanh")),
    ("images", "--sort std --scale layer", ("relu", "signed", "sigmoid")),
    ("images", "--sort l2 --top 3 --scale p1:99", ("relu", "signed", "softmax")),
    ("images", "--scale filter:p1:99 --sort mean", ("relu", "signed", "sigmoid")),
    ("images", "--scale=-0.2:0.3 --channels 0,2,-1", ("signed", "tanh")),
    ("images", "--overlay --top 5", ("relu", "signed")),
    ("images", "--reduce mean", ("relu", "signed")),
    ("images", "--reduce max", ("signed",)),
    ("images", "--reduce l2", ("signed",)),
    ("vectors", "", ("wide", "few", "scores")),
    ("vectors", "--top 5", ("wide", "few", "scores")),
    ("signals", "", ("relu1d", "signed1d")),
    ("signals", "--sort max --top 3 --scale p5:95", ("relu1d", "signed1d")),
    ("tokens", "", ("embedding", "steps", "last")),
    ("clips", "", ("frames", "planes")),
    ("clips", "--top 2 --scale layer", ("frames", "planes")),
    ("clips", "--project max", ("frames", "planes")),
    ("channels_first", "", ("pooled", "positive")),
    ("attention", "", ("heads@0", "heads@1")),
)
BOUNDS = {"sigmoid": (0, 1), "softmax": (0, 1), "scores": (0, 1), "tanh": (-1, 1), "steps": (-1, 1), "last": (-1, 1), "frames": (-1, 1), "heads@1": (0, 1)}  # fmt: skip
FIGURES = [(run, layer) for run in RUNS for layer in run[2]]


class Expected:
    """What one figure is about, ``(channel, ...)`` in float64, and the numbers of it."""

    def __init__(self, layer, output, options, masked):
        self.layer, self.options = layer, options
        axis = 0 if layer in {"pooled", "positive", "heads@1"} else -1
        values = np.moveaxis(output.astype(np.float64), axis, 0)
        if masked and values.ndim > 1:
            values = np.delete(values, masked, axis=1)
        if "--project" in options:
            values = furthest(values, 1)
        if "--reduce" in options:
            how = options.split("--reduce ")[1].split()[0]
            values = {
                "mean": lambda: values.mean(0),
                "max": lambda: furthest(values, 0),
                "l2": lambda: np.sqrt((values**2).sum(0)),
            }[how]()[None]
        self.reduced = "--reduce" in options
        self.values = values.reshape(len(values), -1)
        self.low, self.high = self.values.min(1), self.values.max(1)
        self.size = np.maximum(np.abs(self.low), np.abs(self.high))
        self.signed = bool(self.values.min() < 0)
        self.several = self.values.shape[1] > 1
        self.dead = np.flatnonzero(self.size == 0)
        self.constant = np.flatnonzero((self.low == self.high) & (self.size > 0) & self.several)
        varied = self.low < self.high
        self.near = np.flatnonzero(varied & (self.high - self.low <= 0.05 * self.size))
        self.faint = np.flatnonzero(varied & (self.size < 1e-4 * self.size.max()))

    def option(self, name):
        words = self.options.replace("=", " ").split()
        return words[words.index(name) + 1] if name in words else None

    def measure(self):
        return self.option("--sort") or ("mean" if self.option("--top") else "index")

    def chosen(self):
        """Return the channels among which the figure chooses, in the order written."""
        written, count = self.option("--channels"), len(self.values)
        if self.reduced or written is None:
            return list(range(count))
        found = []
        for part in written.split(","):
            edges = [int(edge) for edge in part.split(":")]
            found += list(range(count))[slice(*edges)] if len(edges) > 1 else [edges[0] % count]
        return found

    def keys(self):
        """Return the strength of each channel by the measure of the figure."""
        by = {
            "max": self.size,
            "mean": np.abs(self.values).mean(1),
            "std": self.values.std(1),
            "l2": np.sqrt((self.values**2).sum(1)),
        }
        return by.get(self.measure(), -np.arange(len(self.values), dtype=float))

    def ends(self, kind):
        """Return both ends of the colours of every channel, on the scale that the record names."""
        count, full = len(self.values), lambda pair: [np.full(len(self.values), float(end)) for end in pair]
        if kind == "bounds":
            return full(BOUNDS[self.layer])
        if kind.startswith("filter:p"):
            low, high = np.percentile(self.values, [float(share) for share in kind[8:].split(":")], axis=1)
            wide = np.maximum(np.abs(low), np.abs(high))
            low, high = (-wide, wide) if self.signed else (low, high)
            return np.where(low < high, low, 0), np.where(low < high, high, self.size)
        if kind.startswith("p"):
            low, high = np.percentile(self.values, [float(share) for share in kind[1:].split(":")])
            wide = max(-low, high)
            return full((-wide, wide) if low < 0 < high else (low, high))
        if kind not in {"filter", "layer"}:
            return full(kind.split(":"))
        size = self.size if kind == "filter" else np.full(count, self.size.max())
        return (-size if self.signed else np.zeros(count)), size


def furthest(values, axis):
    """Return the value of largest magnitude along an axis, with its sign."""
    place = np.abs(values).argmax(axis)
    return np.take_along_axis(values, np.expand_dims(place, axis), axis).squeeze(axis)


@pytest.fixture(scope="module")
def figures(tmp_path_factory):
    """Make every figure with the command, and return its path and what it should say, by run and layer."""
    import keras

    folder = tmp_path_factory.mktemp("captions")
    outputs = {}
    for make in NETWORKS:
        keras.backend.clear_session()
        keras.utils.set_random_seed(7)
        model, given = make()
        given = given if given.dtype == np.int32 else given.astype(np.float32)
        model.save(folder / f"{make.__name__}.keras")
        np.save(folder / f"{make.__name__}.npy", given)
        outputs[make.__name__] = [np.asarray(output)[0] for output in model(given)]
    made = {}
    for place, run in enumerate(RUNS):
        name, options, layers = run
        order = "--layout channels_first" if name == "channels_first" else ""
        command = [sys.executable, "-P", "-m", "actviz", "show", f"{name}.keras", f"{name}.npy", "-o", f"{place}/"]
        command += [*options.split(), *order.split(), "--no-sheet", "-l", ",".join(layers)]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, env=os.environ, check=False)
        assert done.returncode == 0, done.stderr
        paths = {Page(path).record["address"]: path for path in (folder / str(place)).rglob("*.png")}
        known = [
            layer for other in RUNS if other[0] == name and len(other[2]) == len(outputs[name]) for layer in other[2]
        ]
        for layer in layers:
            output = outputs[name][known.index(layer)]
            masked = [5, 6, 7, 8] if layer in {"embedding", "steps"} else []
            made[run, layer] = Page(paths[layer]), Expected(layer, output, options, masked)
    return made


FIGURE = pytest.mark.parametrize(
    ("run", "layer"), FIGURES, ids=[f"{run[0]} {run[1]} {layer}" for run, layer in FIGURES]
)


def near(found, expected):
    return found == pytest.approx(expected, rel=2e-5, abs=2e-6)


@FIGURE
def test_numbers_of_the_record(figures, run, layer):
    page, expected = figures[run, layer]
    found, values = page.record["numbers"], expected.values
    assert near(found["min"], values.min())
    assert near(found["max"], values.max())
    assert near(found["mean"], values.mean())
    assert near(found["std"], values.std())
    assert near(found["zeros"], (values == 0).mean())
    shares = {share: np.percentile(values, float(share)) for share in found["percentiles"]}
    assert near(list(found["percentiles"].values()), list(shares.values()))
    assert found["channels"] == len(values)
    for state in ("dead", "constant"):
        assert found[state] == getattr(expected, state).tolist()
    assert found["near_constant"] == expected.near.tolist()
    assert found["negligible"] == expected.faint.tolist()
    asked = expected.option("--scale")
    bounded = layer in {"sigmoid", "softmax", "tanh", "scores", "heads@1"} and "--reduce l2" not in expected.options
    maps = None not in (found["axes"]["down"], found["axes"]["across"])
    assert found["scale"] == (asked or ("bounds" if bounded else "filter" if maps else "layer"))


@FIGURE
def test_channels_order_and_ends_of_tiles(figures, run, layer):
    page, expected = figures[run, layer]
    found = page.record["numbers"]
    shown = list(dict.fromkeys(tile[0] for tile in page.record["tiles"]))
    keys = expected.keys()
    chosen = expected.chosen()
    top = None if expected.reduced else expected.option("--top")
    assert found["shown"] == len(shown) == min(len(chosen), int(top or len(chosen)))
    if expected.measure() == "index" or expected.reduced:
        assert shown == chosen
    else:
        assert set(shown) <= set(chosen)
        strengths = keys[shown]
        assert (np.diff(strengths) <= 1e-6 * strengths[:-1]).all()
        assert near(sorted(strengths), sorted(keys[chosen])[-len(shown) :])
    low, high = expected.ends(found["scale"])
    for tile in page.record["tiles"]:
        assert near(tile[5:7], [low[tile[0]], high[tile[0]]])
        states = {"dead": expected.dead, "constant": expected.constant}
        assert tile[7] == next((state for state, members in states.items() if tile[0] in members), "live")
    pad = 2e-6 * np.maximum(high, -low)[shown, None]
    drawn = expected.values[shown]
    for side, beyond in (
        ("below", lambda by: drawn < low[shown, None] - by),
        ("above", lambda by: drawn > high[shown, None] + by),
    ):
        assert beyond(pad).sum() <= found[f"clipped_{side}"] <= beyond(-pad).sum()
    assert found["clipped"] == found["clipped_below"] + found["clipped_above"]


@FIGURE
def test_words_of_the_caption(figures, run, layer):
    page, expected = figures[run, layer]
    found = page.record["numbers"]
    assert any(page.has(words) for words in first_parts(expected, found["shown"]))
    dead = "zero" if found["axes"]["down"] is None or found["axes"]["across"] is None else "dead"
    count = len(expected.dead)
    parts = [f"{count} {dead} on this input ({listing(expected.dead)})" if count else f"none {dead} on this input"]
    groups = (expected.constant, "constant", ""), (expected.near, "near-constant", ": ends within 5% of the larger"), (expected.faint, "next to nothing", ": below 0.01% of the largest |value| of the layer")  # fmt: skip
    parts += [f"{len(members)} {word} ({listing(members)}){limit}" for members, word, limit in groups if len(members)]
    if found["clipped"]:
        size = expected.values[list({tile[0] for tile in page.record["tiles"]})].size
        values = f"{found['clipped']:,} value{'s' * (found['clipped'] != 1)} ({number(100 * found['clipped'] / size, 2)}%) clipped to "
        ends = (number(found[end]) for end in ("low", "high"))
        of_tiles = found["scale"].startswith("filter:")
        parts.append(values + ("the ends of the colors" if of_tiles else " \N{EN DASH} ".join(ends)))
    assert [part for part in parts if not page.has(part)] == []


def first_parts(expected, shown):
    """Return how the caption may begin: how many of how many, in which order."""
    total, order = len(expected.values), MEASURES.get(expected.measure(), "")
    words = f", {order}" if order and not expected.reduced else ""
    chosen = len(expected.chosen())
    if chosen != total:
        words = f"{words} of the {chosen} chosen" if words else ", as chosen"
    return [
        f"{shown} of {total} {noun}{'s' * (total != 1)}{words}" for noun in ("filter", "channel", "unit", "head", "map")
    ]


@FIGURE
def test_numbers_beside_the_tiles(figures, run, layer):
    page, expected = figures[run, layer]
    tiles, axes = page.record["tiles"], page.record["numbers"]["axes"]
    if axes["down"] is None and axes["across"] is None and len(tiles) > 16 * 4:
        pytest.skip("units without a number each")
    if None in (axes["down"], axes["across"]) and axes["down"] != axes["across"]:
        pytest.skip("a map of steps and units has no numbers at its tiles")
    wrong = []
    for tile in tiles:
        if len(tile) > 8 and len(tile[8]) > 1 and tile[8][1:] != [0] * len(tile[8][1:]):
            continue  # the numbers of a channel stand at the first of its frames
        channel, (top, left, bottom, right) = tile[0], tile[1:5]
        if axes["down"] is None:  # bars, or cells with a number above them
            bars = bottom - top == right - left
            box = (top - 3, left, bottom + 3, left + 500) if bars else (top - 18, left - 2, top + 2, right + 4)
            allowed = {number(value, digits) for value in close(expected.low[channel]) for digits in (3, 4)}
        elif len(tile) > 8 and len(tile[8]) > 1:
            box, allowed = (top - 20, 0, bottom + 4, left + 4), words_of_ends(expected, channel, tile, page)
        else:
            box, allowed = (bottom + 1, left - 4, bottom + 24, right + 80), words_of_ends(expected, channel, tile, page)
        if not any(page.has(words, box, (10, 11, 12)) for words in allowed):
            wrong.append((channel, sorted(allowed)))
    assert wrong == []


def words_of_ends(expected, channel, tile, page):
    """Return what may stand below a tile: its state, or both ends in as many digits as there is room for."""
    low, high = expected.low[channel], expected.high[channel]
    if tile[7] == "dead":
        return {"dead"}
    if tile[7] == "constant":
        return {f"= {number(value, digits)}" for value in close(high) for digits in (3, 2, 1)}
    if channel in expected.faint and page.record["numbers"]["scale"].startswith("filter"):
        return {f"\N{ALMOST EQUAL TO} 0: {number(value, 2)}" for value in close(expected.size[channel])}
    if page.record["numbers"]["scale"].startswith("filter:"):
        low, high = tile[5:7]
    if not expected.several:
        return {number(value, digits) for value in close(high) for digits in (3, 2, 1)}
    shorter = set().union(*(pairs(low, high, digits) for digits in (3, 2, 1)))
    return (
        shorter
        if expected.signed
        else shorter | {number(value, digits) for value in close(high) for digits in (3, 2, 1)}
    )

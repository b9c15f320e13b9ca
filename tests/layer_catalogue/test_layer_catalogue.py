"""The layer catalogue has a record for every layer class of the installed Keras, and its facts are Keras's."""

import inspect
import json

import numpy as np
import pytest
from report_helpers import layer

from actviz.commands.check import _take_passed_on
from actviz.commands.verdicts import own_layers
from actviz.layer_catalogue import KERAS_1_NAMES, LAYERS, OLDER_NAMES, passes_on
from actviz.records import Activation
from actviz.report.findings import find
from actviz.statistics.limits import Limits, judge
from actviz.statistics.running_statistics import totals_of

OWN_MODELS = {"Functional", "Model", "CustomScaleLayer", "LayerScale", "StochasticDepth"}
# Rules that are not known: Keras is asked. A class of a new Keras fails here until it has a rule or stands here.
UNKNOWN_SHAPE = [
    "AdaptiveAveragePooling1D",
    "AdaptiveAveragePooling2D",
    "AdaptiveAveragePooling3D",
    "AdaptiveMaxPooling1D",
    "AdaptiveMaxPooling2D",
    "AdaptiveMaxPooling3D",
    "AdditiveAttention",
    "Attention",
    "AugMix",
    "AutoContrast",
    "CategoryEncoding",
    "ContrastLimitedAdaptiveHistogramEqualization",
    "Conv1DTranspose",
    "Conv2DTranspose",
    "Conv3DTranspose",
    "ConvLSTM1D",
    "ConvLSTM2D",
    "ConvLSTM3D",
    "CutMix",
    "Discretization",
    "Dot",
    "EinsumDense",
    "Equalization",
    "GRUCell",
    "GroupQueryAttention",
    "HashedCrossing",
    "Hashing",
    "InputLayer",
    "IntegerLookup",
    "LSTMCell",
    "MaxNumBoundingBoxes",
    "MelSpectrogram",
    "MixUp",
    "MultiHeadAttention",
    "RNN",
    "RandAugment",
    "RandomColorDegeneration",
    "RandomColorJitter",
    "RandomCrop",
    "RandomElasticTransform",
    "RandomErasing",
    "RandomGaussianBlur",
    "RandomGrayscale",
    "RandomHeight",
    "RandomHue",
    "RandomInvert",
    "RandomPerspective",
    "RandomPosterization",
    "RandomSaturation",
    "RandomSharpness",
    "RandomShear",
    "RandomWidth",
    "ReversibleEmbedding",
    "STFTSpectrogram",
    "Sequential",
    "SimpleRNNCell",
    "Solarization",
    "StackedRNNCells",
    "StringLookup",
    "TextVectorization",
]
IMAGE = (8, 8, 3)
ARGUMENTS = {
    "RepeatVector": {"n": 2}, "Reshape": {"target_shape": (4, 16, 3)}, "Permute": {"dims": (3, 1, 2)},
    "RandomCrop": {"height": 4, "width": 4}, "RandomRotation": {"factor": 0.2}, "RandomZoom": {"height_factor": 0.1},
    "RandomTranslation": {"height_factor": 0.1, "width_factor": 0.1}, "RandomContrast": {"factor": 0.2},
    "RandomBrightness": {"factor": 0.2}, "RandomHue": {"factor": 0.1}, "RandomSaturation": {"factor": 0.2},
    "RandomSharpness": {"factor": 0.2}, "RandomColorDegeneration": {"factor": 0.2}, "RandomPosterization": {"factor": 4},
    "GaussianNoise": {"stddev": 1.0}, "Resizing": {"height": 5, "width": 5}, "CenterCrop": {"height": 4, "width": 4},
    **{f"AveragePooling{rank}D": {"pool_size": 2} for rank in (1, 2, 3)},
    **{name: {"rate": 0.5} for name in LAYERS if "Dropout" in name},
    **{name: {"output_size": 2} for name in LAYERS if name.startswith("Adaptive")},
}  # fmt: skip
NO_LAYERS = {"InputLayer", "Functional", "Sequential", "Model", "Concatenate"}


@pytest.mark.slow
@pytest.mark.tensorflow
def test_every_layer_class_of_keras_has_a_record():
    from tools.make_class_tables import exported_classes

    exported = exported_classes()["layers"]
    missing, unknown = exported - set(LAYERS), set(LAYERS) - exported - OWN_MODELS
    assert not missing, f"enter in actviz/layer_catalogue/table.py: {sorted(missing)}"
    assert not unknown, f"Keras has no layer {sorted(unknown)}"


def test_the_rules_that_are_unknown_are_known_to_be():
    unknown = {
        name
        for name, facts in LAYERS.items()
        if name not in OWN_MODELS and not (facts.shape or facts.merge or facts.wraps)
    }
    assert unknown == set(UNKNOWN_SHAPE)


def test_older_names_are_no_names_of_today():
    assert not set(LAYERS) & (set(OLDER_NAMES) | set(KERAS_1_NAMES))
    assert {new for new in KERAS_1_NAMES.values() if new != "Merge"} <= set(LAYERS)


@pytest.mark.slow
@pytest.mark.tensorflow
@pytest.mark.parametrize("kind", [name for name, facts in LAYERS.items() if facts.passes_on and name not in NO_LAYERS])
def test_what_passes_values_on_gives_no_others_at_inference(kind):
    """Every value of the output lies between those of the input and 0; for ``all`` the input is only rearranged."""
    from keras import layers

    shape = {"1": (8, 3), "3": (6, 6, 6, 2)}.get(kind[-2] if kind.endswith("D") else "", IMAGE)
    shape = (5,) if kind == "RepeatVector" else shape
    values = np.random.default_rng(0).random((2, *shape), np.float32) + 1
    arguments = ARGUMENTS.get(kind, {})
    given = np.asarray(getattr(layers, kind)(**arguments)(values, training=False))
    assert given.min() >= 0
    assert given.max() <= values.max() + 1e-5
    assert not np.any(np.asarray(getattr(layers, kind)(**arguments)(values * 0, training=False)))
    if passes_on(kind) == "all":
        np.testing.assert_array_equal(np.unique(given), np.unique(values))


@pytest.mark.slow
@pytest.mark.tensorflow
@pytest.mark.parametrize("kind", [name for name, facts in LAYERS.items() if facts.random_in_training])
def test_random_layers_take_a_seed(kind):
    from keras import layers

    assert "seed" in inspect.signature(getattr(layers, kind)).parameters


class Tally:
    """Statistics by address, as `check` keeps them."""

    def __init__(self, totals):
        self.totals = totals


@pytest.mark.parametrize("kind", [*LAYERS, "MaxPool", "AvgPool", "MyPool", "Custom"])
@pytest.mark.parametrize("defect", [0.0, 0.5, np.nan])
def test_check_and_report_agree_on_every_class(kind, defect):
    """Both report a defect of a convolution once, and again only in layers that compute new values from it."""
    values = np.full((2, 4, 4, 3), defect, np.float32)
    infos = [layer("conv", values), layer("next", values, kind)]
    totals = {one.address: totals_of(Activation(one.address, one.kind, values, one.axes), None) for one in infos}
    reported = {one.address for one in find(infos, totals, 2, {})}
    limits = Limits(no_nan=True, dead=0.1, constant=0.1)
    own = own_layers(infos)
    cases = {one.address: judge(one.address, totals[one.address], limits, 2) for one in own}
    _take_passed_on(own, cases, Tally(totals))
    broken = {address for address, found in cases.items() if any(not case.kept for case in found)}
    assert broken == reported
    assert reported == ({"conv"} if passes_on(kind) else {"conv", "next"})


def test_an_overflow_that_arises_in_a_pooling_layer_is_reported_there():
    values = np.ones((2, 4, 4, 3), np.float32)
    infos = [layer("conv", values), layer("pool", values, "AveragePooling2D")]
    totals = {
        "conv": totals_of(Activation("conv", "Conv2D", values, infos[0].axes), None),
        "pool": totals_of(Activation("pool", "AveragePooling2D", values * np.inf, infos[0].axes), None),
    }
    cases = {one.address: judge(one.address, totals[one.address], Limits(no_infinite=True), 2) for one in infos}
    assert _take_passed_on(infos, cases, Tally(totals)) == {"pool": []}
    assert not cases["pool"][0].kept
    assert "pool" in {one.address for one in find(infos, totals, 2, {})}


@pytest.mark.tensorflow
@pytest.mark.slow
def test_one_dead_convolution_is_one_finding_of_both_commands(tmp_path, actviz, samples):
    """Everything behind it only passes its zeros on, until the Dense layer, whose bias is not 0."""
    import keras
    from keras import layers

    shape = keras.Input((8, 8, 1))
    x = layers.Conv2D(2, 3, padding="same", name="conv", kernel_initializer="zeros")(shape)
    for step in (
        layers.MaxPooling2D(name="pool"), layers.ZeroPadding2D(1, name="pad"), layers.Dropout(0.5, name="drop"),
        layers.UpSampling2D(2, name="up"), layers.Cropping2D(2, name="crop"), layers.SpatialDropout2D(0.5, name="spatial"),
        layers.AveragePooling2D(2, name="mean"), layers.Reshape((4, 4, 2, 1), name="shape"), layers.Flatten(name="flat"),
    ):  # fmt: skip
        x = step(x)
    keras.Model(shape, layers.Dense(3, name="dense", bias_initializer="ones")(x)).save(tmp_path / "dead.keras")
    images = [str(path) for path in sorted((samples / "digits").glob("*.png"))[:2]]
    checked = actviz("check", str(tmp_path / "dead.keras"), *images, "--max-dead", "10%", "--json")
    record = json.loads(checked.out)
    broken = [case["layer"] for case in record["limits"] if not case["kept"]]
    assert (checked.code, broken, record["broken"]) == (8, ["conv"], 1)
    table = actviz("check", str(tmp_path / "dead.keras"), *images, "--max-dead", "10%").out
    assert table.count("BROKEN") == 1
    assert table.count("passed on: dead at most 10%") == 5
    page = tmp_path / "page.md"
    actviz("report", str(tmp_path / "dead.keras"), *images, "-o", str(tmp_path / "page.html"), "--markdown", str(page))
    findings = [line for line in page.read_text().splitlines() if "never fire" in line]
    assert len(findings) == 1
    assert "Also in pool, pad, drop, up and 5 more, which only pass values on" in findings[0]

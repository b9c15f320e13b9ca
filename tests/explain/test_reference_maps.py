"""Heat maps agree with those of tf-keras-vis and Xplique, and have the properties of their definitions."""

import functools

import numpy as np
import pytest
from conftest import DATA, SAMPLES
from late_imports import keras, layers

import actviz
from actviz.errors import UsageError
from actviz.explanations import occlusion, rise
from actviz.explanations.method import Explanation
from actviz.explanations.method_table import METHODS

pytestmark = pytest.mark.tensorflow
MODELS = {
    "digits": (SAMPLES / "digits_cnn.h5", "conv_intermediate"),
    "residual": (DATA / "explain" / "residual.keras", "top_conv"),
}
REFERENCES = {
    "gradcam": "tkv_gradcam",
    "gradcam++": "tkv_gradcam++",
    "layercam": "tkv_layercam",
    "saliency": "tkv_saliency",
    "integrated-gradients": "xpl_ig64",
}


@functools.cache
def reference(name):
    with np.load(DATA / "explain" / f"{name}.npz") as arrays:
        return dict(arrays)


def maps(name, method, index, **options):
    known = reference(name)
    path, layer = MODELS[name]
    with actviz.open(path) as network:
        options = {"of": int(known["classes"][index]), "layer": layer} | options
        return actviz.explain(network, known["input"][index : index + 1], method=method, **options)


def assert_same(found, expected):
    assert found.dtype == np.float32
    assert np.abs(found - expected).max() <= 1e-4 * np.abs(expected).max()


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("method", REFERENCES)
def test_maps_of_other_libraries(name, method):
    for index in range(2):
        expected = reference(name)[REFERENCES[method]][index]
        if expected.ndim == 3:
            expected = expected.sum(axis=-1)
        assert_same(np.asarray(maps(name, method, index))[0], expected)


@pytest.mark.parametrize("name", MODELS)
def test_occlusion_of_the_same_patches(name):
    known = reference(name)
    with actviz.open(MODELS[name][0]) as network:
        (spec,) = network.inputs
        given = (spec.name, spec.name, spec.axes)
        question = Explanation(
            network._network.scores, {spec.name: known["input"]}, "", tuple(known["classes"].tolist()), "", given
        )
        assert_same(occlusion.compute(question, 4), known["xpl_occlusion"][..., 0])


def rank_correlation(first, second):
    """Return Spearman's rank correlation of two maps."""
    ranks = []
    for item in (first, second):
        _, index, counts = np.unique(np.asarray(item).ravel(), return_inverse=True, return_counts=True)
        ranks.append((np.cumsum(counts) - (counts - 1) / 2)[index.ravel()])
    return np.corrcoef(*ranks)[0, 1]


@pytest.mark.parametrize("name", MODELS)
def test_scorecam_ranks_places_as_another_library(name):
    for index in range(2):
        found, expected = np.asarray(maps(name, "scorecam", index))[0], reference(name)["tkv_scorecam"][index]
        assert rank_correlation(found, expected) >= 0.95


@pytest.mark.slow
@pytest.mark.parametrize("name", MODELS)
def test_rise_ranks_places_as_another_library(name):
    expected = reference("rise")[name]  # Xplique 2.0.2: 8,000 masks in batches of 64
    for index in range(2):
        assert rank_correlation(maps(name, "rise", index), expected[index]) >= 0.95


def test_the_score_is_the_value_before_the_softmax_and_the_output_that_after_it():
    known = reference("digits")
    found = maps("digits", "saliency", 0)
    assert (found.stripped, found.target, found.units, found.layer) == ("softmax", "scores", (7,), "image")
    np.testing.assert_allclose(found.scores[0], known["logits"][0], rtol=1e-4)
    np.testing.assert_allclose(found.outputs[0], known["probabilities"][0], atol=1e-6)


def test_integrated_gradients_sum_to_the_difference_of_scores():
    known = reference("digits")
    found = maps("digits", "integrated-gradients", 0)
    with actviz.open(MODELS["digits"][0]) as network:
        empty = network._network.scores({"image": np.zeros_like(known["input"][:1])}).scores[0, 7]
    difference = found.scores[0, 7] - empty
    assert abs(np.asarray(found).sum() - difference) < 0.01 * abs(difference)


def test_the_default_explains_the_highest_class_with_gradcam_at_the_last_layer_with_places():
    known = reference("digits")
    with actviz.open(MODELS["digits"][0]) as network:
        found = actviz.explain(network, known["input"])
    assert (found.method, found.layer, found.units) == ("gradcam", "pool_intermediate", (7, 3))
    assert np.asarray(found).shape == (2, 5, 5)


def test_many_batches_are_computed_by_a_compiled_graph_with_the_same_numbers():
    batch = {"image": reference("digits")["input"]}
    with actviz.open(MODELS["digits"][0]) as opened:
        network = opened._network
        first, *_, last = (network.scores(batch, "", "conv_intermediate", [-1, 3]) for _ in range(10))
        other = network.scores(batch, "", "conv_intermediate", [3, -2])
        (submodel,) = network._submodels.values()
        assert submodel.compiled_by_key
        with pytest.raises(UsageError, match="no class or channel 10; it has 10"):
            network.scores(batch, "", "conv_intermediate", [10, 0])
    for name in ("scores", "outputs", "gradients"):
        np.testing.assert_array_equal(getattr(last, name), getattr(first, name))
    assert not np.array_equal(other.gradients, last.gradients)


def test_a_channel_of_a_layer_is_explained():
    found = maps("digits", "saliency", 0, of="conv:3", layer=None)
    assert (found.target, found.units, found.stripped) == ("conv", (3,), "")
    assert np.asarray(found).any()


def test_a_file_without_gradients_is_explained_by_occlusion():
    known = reference("digits")
    with actviz.open(SAMPLES / "digits_cnn_int8.tflite") as network:
        found = actviz.explain(network, known["input"][:1])
        assert (found.method, found.units, np.asarray(found).shape) == ("occlusion", (7,), (1, 28, 28))
        with pytest.raises(UsageError, match="has no gradient"):
            actviz.explain(network, known["input"][:1], method="gradcam")


@pytest.fixture(scope="module")
def variants(tmp_path_factory):
    """Return the folder of one network: with softmax in a layer of its own, in the last layer, nested, and in all formats."""
    folder = tmp_path_factory.mktemp("variants")
    keras.utils.set_random_seed(1)
    body = [layers.Conv2D(4, 3, activation="relu", name="conv"), layers.GlobalAveragePooling2D(name="pool")]
    dense = layers.Dense(3, name="dense")
    fused = layers.Dense(3, activation="softmax", name="dense")
    image = keras.Input((8, 8, 2), name="image")
    inner = keras.Sequential([keras.Input((8, 8, 2)), *body], name="body")
    models = {
        "apart": keras.Model(image, layers.Softmax(name="end")(dense(body[1](body[0](image))))),
        "fused": keras.Model(image, fused(body[1](body[0](image)))),
    }
    fused.set_weights(dense.get_weights())
    models["nested"] = keras.Model(image, fused(inner(image)))
    models["linear"] = keras.Model(image, layers.Dense(2, name="dense")(layers.Flatten()(image)))
    models["mask"] = keras.Model(image, layers.Conv2D(2, 1, activation="sigmoid", name="mask")(image))
    for name, model in models.items():
        model.save(folder / f"{name}.keras")
    models["fused"].save(folder / "fused.h5")
    models["fused"].export(str(folder / "exported"), verbose=False)
    models["fused"].export(str(folder / "fused.tflite"), "litert", verbose=False)
    return folder


INPUT = np.random.default_rng(0).random((2, 8, 8, 2)).astype(np.float32)


def of_variant(folder, name, **options):
    with actviz.open(folder / (name if "." in name or name == "exported" else f"{name}.keras")) as network:
        return actviz.explain(network, INPUT, **options)


@pytest.mark.slow
@pytest.mark.parametrize("method", METHODS)
def test_one_network_in_every_form_gives_one_map(variants, method, monkeypatch):
    monkeypatch.setattr(rise, "MASKS", 64)
    options = {"of": 1, "method": method, "layer": "conv"}
    apart = np.asarray(of_variant(variants, "apart", **options))
    assert apart.any()
    assert_same(np.asarray(of_variant(variants, "nested", **options | {"layer": "body/conv"})), apart)
    forward_only = () if METHODS[method].gradients else ("fused.tflite",)
    for name in ("fused", "fused.h5", "exported", *forward_only):
        found = of_variant(variants, name, **options)
        assert (found.stripped, found.units) == ("softmax", (1, 1))
        assert_same(np.asarray(found), apart)


def test_a_linear_network_gives_its_weights(variants):
    kernel = keras.saving.load_model(variants / "linear.keras").layers[-1].get_weights()[0]
    found = np.asarray(of_variant(variants, "linear", of=1, method="saliency"))
    np.testing.assert_allclose(found[0], np.abs(kernel[:, 1]).reshape(8, 8, 2).max(axis=-1), rtol=1e-5)


@pytest.mark.parametrize(
    ("name", "options", "words"),
    [
        ("fused", {"of": 3}, "has no class or channel 3; it has 3, 0 to 2."),
        ("fused", {"of": "sevn", "labels": ["six", "seven", "one"]}, 'no class "sevn"; did you mean seven'),
        ("fused", {"method": "gradcan"}, 'no method "gradcan"; did you mean gradcam'),
        ("fused", {"method": "gradcam", "layer": "dense"}, "has no places"),
        ("linear", {}, "no layer of this model has places"),
        ("mask", {"method": "saliency"}, "is no score of classes"),
    ],
)
def test_refusals(variants, name, options, words):
    with pytest.raises(UsageError, match=words):
        of_variant(variants, name, **options)


def randomize(model, seed):
    """Replace the weights of all layers but normalizations, from the top, by normal ones of the same deviation."""
    random = np.random.default_rng(seed)
    for layer in reversed(model.layers):
        if not isinstance(layer, keras.layers.BatchNormalization):
            layer.set_weights([random.normal(size=array.shape) * array.std() for array in layer.get_weights()])


@pytest.fixture(scope="module")
def randomized(tmp_path_factory):
    """Return paths of the residual network with random weights, of several seeds."""
    folder = tmp_path_factory.mktemp("randomized")
    for seed in range(4):
        model = keras.saving.load_model(MODELS["residual"][0], compile=False)
        randomize(model, seed)
        model.save(folder / f"{seed}.keras")
    return sorted(folder.iterdir())


@pytest.mark.slow
@pytest.mark.parametrize("method", METHODS)
def test_random_weights_change_the_map(method, randomized, monkeypatch):
    monkeypatch.setattr(rise, "MASKS", 1024)
    known, (path, layer) = reference("residual"), MODELS["residual"]

    def found(file):
        with actviz.open(file) as network:
            options = {"of": 1, "method": method, "layer": layer}
            return np.asarray(actviz.explain(network, known["input"], **options))

    trained = found(path)
    others = [item for file in randomized for item in zip(trained, found(file), strict=True)]
    compared = [rank_correlation(*pair) for pair in others if all(np.ptp(item) for item in pair)]
    assert len(compared) >= 4
    assert np.median(compared) < 0.5


@pytest.mark.parametrize(
    ("method", "layer"), [("gradcam", "conv_intermediate"), ("integrated-gradients", None), ("occlusion", None)]
)
def test_random_weights_change_the_map_of_a_digit(method, layer, tmp_path):
    model = keras.saving.load_model(MODELS["digits"][0], compile=False)
    randomize(model, 0)
    model.save(tmp_path / "random.keras")
    found = []
    for path in (MODELS["digits"][0], tmp_path / "random.keras"):
        with actviz.open(path) as network:
            batch = reference("digits")["input"][:1]
            found.append(actviz.explain(network, batch, of=7, method=method, layer=layer))
    assert rank_correlation(*found) < 0.5


def test_where_occlusion_is_zero_occluding_changes_nothing():
    known = reference("digits")
    found = np.asarray(maps("digits", "occlusion", 0))[0]
    rows, columns = np.nonzero(found == 0)
    assert len(rows)
    occluded = known["input"][:1].copy()
    row, column = rows[0] // 2 * 2, columns[0] // 2 * 2
    occluded[0, row : row + 2, column : column + 2] = 0
    with actviz.open(MODELS["digits"][0]) as network:
        before, after = (network._network.scores({"image": batch}).scores for batch in (known["input"][:1], occluded))
    np.testing.assert_allclose(after[0, 7], before[0, 7], rtol=1e-6)

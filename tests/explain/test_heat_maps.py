"""Heat maps of inputs without TensorFlow: scores of a function, faithfulness, targets, plans."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from actviz.commands.explain_plan import parse_plan
from actviz.errors import UsageError
from actviz.explanations import faithfulness, heat_maps, rise
from actviz.explanations.explain import last_layer_with_places, parse_targets
from actviz.explanations.heat_maps import explain_batch
from actviz.explanations.method import Explanation
from actviz.explanations.occlusion import patch_sides
from actviz.explanations.plan import ExplainPlan, Target
from actviz.explanations.positions import values_on_input
from actviz.formats.score_axes import units_of
from actviz.records import Activation, Geometry, LayerInfo, ModelFacts, ScoreBatch, TensorSpec

AXES = ("batch", "row", "column", "channel")
INPUT = LayerInfo("image", "image", 0, "InputLayer", (None, 4, 4, 1), "float32", 0, AXES)
DENSE = LayerInfo("dense", "dense", 1, "Dense", (None, 2), "float32", 10, ("batch", "unit"))
FACTS = ModelFacts(
    "m.h5", "h5", "", (), (TensorSpec("image", (None, 4, 4, 1), "float32", AXES),), (INPUT, DENSE), (), (), ""
)
WEIGHTS = np.zeros((4, 4, 1))
WEIGHTS[1, 2] = 3
WEIGHTS[3, 0] = -1


class Network:
    """A network whose class 1 is a weighted sum of the pixels."""

    facts, has_gradients = FACTS, False

    def __init__(self):
        self.passes = 0

    def scores(self, batch, *_):
        self.passes += len(batch["image"])
        own = (batch["image"] * WEIGHTS).sum(axis=(1, 2, 3))
        scores = np.stack([np.zeros_like(own), own], axis=1).astype(np.float32)
        return ScoreBatch("dense", scores, scores)


def maps_of(plan, batch=None):
    network = Network()
    return explain_batch(network, batch or {"image": np.ones((1, 4, 4, 1), np.float32)}, plan), network


def test_occlusion_of_a_sum_gives_its_weights_with_center_and_share():
    ((item,),), _ = maps_of(ExplainPlan(box=(0, 2, 2, 4)))
    np.testing.assert_array_equal(item.values, WEIGHTS[..., 0])
    assert (item.method, item.layer, item.unit, item.rank, item.units) == ("occlusion", "image", 1, 1, 2)
    assert (item.score, item.top, item.center, item.share) == (2.0, ((1, 2.0), (0, 0.0)), (1.0, 2.0), 1.0)


def test_the_check_takes_forty_forward_passes_and_finds_a_true_map_more_faithful_than_a_random_one():
    (_, without), (maps, checked) = maps_of(ExplainPlan()), maps_of(ExplainPlan(check=True))
    assert checked.passes - without.passes == 40
    check = maps[0][0].check
    assert check.whole == 2
    assert check.deletion[0] == -1  # the strongest place is the first to go
    assert check.insertion[0] == 3
    assert (check.deletion[-1], check.insertion[-1]) == (0, 2)
    assert np.mean(check.deletion) < np.mean(check.random_deletion)
    assert np.mean(check.insertion) > np.mean(check.random_insertion)


def test_a_flat_map_has_no_order_and_is_not_checked():
    ((item,),), _ = maps_of(ExplainPlan(check=True), {"image": np.zeros((1, 4, 4, 1), np.float32)})
    assert not item.values.any()
    assert item.check is None


def test_rise_ranks_the_places_that_raise_the_score_highest():
    ((item,),), network = maps_of(ExplainPlan(methods=("rise",)))
    assert network.passes == 3 + rise.MASKS
    assert np.unravel_index(item.values.argmax(), (4, 4)) == (1, 2)
    assert np.unravel_index(item.values.argmin(), (4, 4)) == (3, 0)


def test_masks_are_smooth_and_keep_every_place_half_of_the_time_whatever_else_they_keep():
    masks = np.concatenate(list(rise.draw_masks([20, 33], 32)))
    assert masks.shape == (8000, 20, 33)
    assert (masks.min(), masks.max()) == (0, 1)
    assert np.abs(masks.mean(axis=0) - 0.5).max() < 1e-12
    assert np.abs(np.diff(masks, axis=1)).max() <= 7 / 16
    corner, far = masks[:, 0, 0], masks[:, 19, 32]
    assert abs(np.mean(corner * far) - 0.25) < 1e-12


@pytest.mark.parametrize("sizes", [[1], [2, 3], [40], [9, 9, 9]])
def test_masks_of_other_inputs(sizes):
    masks = np.concatenate(list(rise.draw_masks(sizes, 32)))
    assert len(masks) >= rise.MASKS
    assert np.abs(masks.mean(axis=0) - 0.5).max() < 1e-12


def test_a_long_computation_says_that_it_is_alive(monkeypatch):
    calls = []
    monkeypatch.setattr(heat_maps, "SECONDS", 0.0)
    explain_batch(Network(), {"image": np.ones((1, 4, 4, 1), np.float32)}, ExplainPlan(), lambda: calls.append(1))
    assert calls


def test_equal_values_are_not_deleted_from_the_top_left():
    seen = []

    def score(batch, target="", at="", units=()):
        seen.append(batch["image"])
        zeros = np.zeros((len(batch["image"]), 1), np.float32)
        return ScoreBatch("dense", zeros, zeros)

    values = np.ones((1, 10, 10, 1), np.float32)
    question = Explanation(score, {"image": values}, "", (0,), "", ("image", "image", AXES))
    faithfulness.measure(question, np.zeros(100), np.arange(100).reshape(10, 10), 0.0)
    deleted = np.argwhere(seen[0][4, ..., 0] == 0)  # half of the places
    assert len(deleted) == 50
    assert deleted[:, 0].mean() == pytest.approx(4.5, abs=1)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("top", [Target()]),
        ("top3", [Target(unit=-1), Target(unit=-2), Target(unit=-3)]),
        ("7,three,top", [Target(unit=7), Target(unit=1), Target()]),
        ("dense:1", [Target("dense", 1)]),
        ("one, two", [Target(unit=2)]),
        ("3,3", [Target(unit=3)]),
    ],
)
def test_targets(text, expected):
    assert parse_targets(text, FACTS, "m.h5", ("top1", "three", "one, two")) == expected


def test_ranks_become_units_and_the_first_of_equal_scores_is_higher():
    scores = np.array([[1.0, 3.0, 3.0], [5.0, 0.0, 6.0]])
    assert units_of(scores, [-1, -2]) == [1, 0]
    assert units_of(scores, [-3, 2]) == [0, 2]
    assert units_of(scores, [-4, 0]) == [-4, 0]


def test_targets_that_do_not_exist():
    with pytest.raises(UsageError, match="no class or channel 5; it has 2, 0 to 1"):
        maps_of(ExplainPlan((Target(unit=5),)))
    with pytest.raises(UsageError, match="has 2 classes, so that there is no top 3"):
        maps_of(ExplainPlan((Target(unit=-3),)))


@pytest.mark.parametrize("box", [(0, 0, 4, 5), (2, 0, 2, 4), (3, 0, 1, 4)])
def test_a_box_outside_the_input_is_refused(box):
    with pytest.raises(UsageError, match="outside the input of 4 x 4 pixels"):
        maps_of(ExplainPlan(box=box))


def test_numbers_of_a_vector_are_steps():
    spec = TensorSpec("words", (None, 3), "float32", ("batch", "unit"))
    facts = replace(FACTS, inputs=(spec,), layers=(replace(INPUT, address="words", name="words"), DENSE))

    def score(batch, *_):
        scores = np.stack([batch["words"] @ [1, 0, 5], batch["words"] @ [0, 0, 0]], axis=1).astype(np.float32)
        return ScoreBatch("dense", scores, scores)

    network = SimpleNamespace(facts=facts, has_gradients=False, scores=score)
    ((item,),) = explain_batch(network, {"words": np.ones((1, 3), np.float32)}, ExplainPlan(check=True))
    assert (item.axes, item.values.tolist(), item.method) == (("step",), [1, 0, 5], "occlusion")


WORDS = TensorSpec("words", (None, 3), "float32", ("batch", "step"), limit=9)


def network_of_words(spec, seen):
    """Return a network whose score is the sum of the words, and that records them."""

    def score(batch, *_):
        seen.append(batch["words"])
        scores = batch["words"].astype(np.float32).sum(axis=1, keepdims=True)
        return ScoreBatch("dense", scores, scores)

    embedding = replace(DENSE, address="table", kind="Embedding")
    facts = replace(FACTS, inputs=(spec,), layers=(replace(INPUT, address="words", name="words"), embedding, DENSE))
    return SimpleNamespace(facts=facts, has_gradients=True, scores=score)


def test_rise_keeps_words_or_removes_them():
    seen = []
    network = network_of_words(WORDS, seen)
    explain_batch(network, {"words": np.array([[5, 3, 8]], np.float32)}, ExplainPlan(methods=("rise",)))
    assert set(np.concatenate(seen[1:]).ravel().tolist()) == {0, 3, 5, 8}


@pytest.mark.parametrize(
    ("spec", "method", "words"),
    [
        (WORDS, "saliency", 'input "words", which holds numbers of words; give a method at "table", such as gradcam, or occ'),
        (replace(WORDS, dtype="int32", limit=None), "smoothgrad", "which holds integers"),
        (replace(WORDS, dtype="string", limit=None), "occlusion", 'holds text; give a method at "table", such as gradcam.'),
    ],
)  # fmt: skip
def test_inputs_whose_values_cannot_be_changed(spec, method, words):
    with pytest.raises(UsageError, match=words):
        explain_batch(network_of_words(spec, []), {"words": np.ones((1, 3))}, ExplainPlan(methods=(method,)))


def test_texts_beside_the_input_stay_texts():
    seen = []

    class Captioned(Network):
        def scores(self, batch, *rest):
            seen.extend(batch["caption"].tolist())
            return super().scores(batch, *rest)

    batch = {"image": np.ones((1, 4, 4, 1), np.float32), "caption": np.array(["a seven"], object)}
    explain_batch(Captioned(), batch, ExplainPlan(check=True))
    assert set(seen) == {"a seven", ""}


def test_a_map_lies_over_the_input_that_its_layer_sees():
    other = replace(FACTS.inputs[0], name="other")
    layers = (
        INPUT,
        replace(INPUT, address="other", name="other"),
        replace(INPUT, address="conv#1", kind="Conv2D"),
        DENSE,
    )
    facts = replace(FACTS, inputs=(*FACTS.inputs, other), layers=layers)
    values = np.eye(4, dtype=np.float32).reshape(1, 4, 4, 1)
    activation = Activation(
        "conv#1", "Conv2D", values, AXES, geometry=Geometry("other", (4, 4), (0, 0), (1, 1), (1, 1))
    )

    def score(batch, *_):
        scores = batch["other"].sum(axis=(1, 2))
        return ScoreBatch("dense", scores, scores, activation=activation)

    network = SimpleNamespace(facts=facts, has_gradients=True, scores=score)
    batch = {"image": np.zeros((1, 4, 4, 1), np.float32), "other": np.ones((1, 4, 4, 1), np.float32)}
    ((item,),) = explain_batch(network, batch, ExplainPlan(methods=("scorecam",), layer="conv#1", check=True))
    assert item.input == "other"
    assert item.values.any()
    assert item.check.insertion[-1] == 16


def test_the_default_layer_is_the_last_with_places_before_the_target():
    conv, last = (replace(INPUT, address=name, kind="Conv2D") for name in ("conv", "last"))
    facts = replace(FACTS, layers=(INPUT, conv, last, DENSE))
    assert last_layer_with_places(facts).address == "last"
    assert last_layer_with_places(facts, "last").address == "conv"
    with pytest.raises(UsageError, match='no layer before "conv" has places'):
        last_layer_with_places(facts, "conv")
    wrapped = replace(FACTS, layers=(INPUT, conv, replace(last, address="tags/dense"), replace(last, address="tags")))
    assert last_layer_with_places(wrapped, "tags").address == "conv"


@pytest.mark.parametrize(("sizes", "most"), [((5000,), 196), ((224, 300), 14 * 14), ((30, 30, 30), 14 * 14)])
def test_occlusion_has_at_most_196_patches(sizes, most):
    assert np.prod([-(-size // side) for size, side in zip(sizes, patch_sides(sizes), strict=True)]) <= most


def test_a_network_that_mixes_inputs_is_refused():
    network = SimpleNamespace(
        facts=FACTS,
        has_gradients=False,
        scores=lambda *_: ScoreBatch("dense", np.zeros((1, 2), np.float32), np.zeros((1, 2), np.float32)),
    )
    with pytest.raises(UsageError, match='"dense" mixes the inputs of a batch'):
        explain_batch(network, {"image": np.ones((1, 4, 4, 1), np.float32)}, ExplainPlan())


def test_a_network_whose_values_depend_on_the_rest_of_a_batch_is_refused():
    network = Network()
    network.scores = lambda batch, *_: ScoreBatch(
        "dense", *[np.repeat(batch["image"].mean(keepdims=True)[0, :, :, 0], len(batch["image"]), axis=0)] * 2
    )
    with pytest.raises(UsageError, match='"dense" mixes the inputs of a batch'):
        explain_batch(network, {"image": np.ones((1, 4, 4, 1), np.float32)}, ExplainPlan())


def test_values_lie_on_the_input_by_geometry_or_are_stretched():
    geometry = Geometry("image", (6, 6), (2.0, 2.0), (1, 1), (3, 3))
    placed = values_on_input((2, 2), (6, 6), geometry)
    expected = np.full((6, 6), -1)
    expected[2:4, 2:4] = [[0, 1], [2, 3]]
    np.testing.assert_array_equal(placed, expected)
    stretched = values_on_input((2, 1), (4, 2), None)
    np.testing.assert_array_equal(stretched, [[0, 0], [0, 0], [1, 1], [1, 1]])
    np.testing.assert_array_equal(values_on_input((3,), (3,), None), [0, 1, 2])


def test_plans_of_a_command_line():
    request = SimpleNamespace(of="top2", layers=(), model="m.h5")
    plan = parse_plan(request, FACTS, (), "occlusion, saliency,occlusion", "0,1,2,3", check=True)
    assert plan == ExplainPlan(
        (Target(unit=-1), Target(unit=-2)), ("occlusion", "saliency"), "", (0, 1, 2, 3), check=True
    )
    assert parse_plan(request, FACTS, (), "").methods == ()


@pytest.mark.parametrize(
    ("of", "methods", "box", "words"),
    [
        ("sevn", "", "", 'no class "sevn"; did you mean seven?'),
        ("top", "gradcan", "", 'no method "gradcan"; did you mean gradcam?'),
        ("top", "", "1,2,3", "give TOP,LEFT,BOTTOM,RIGHT"),
        ("top", "", "0,0,-1,4", "give TOP,LEFT,BOTTOM,RIGHT"),
        ("nowhere:3", "", "", 'no layer "nowhere"'),
    ],
)
def test_plans_that_are_refused(of, methods, box, words):
    request = SimpleNamespace(of=of, layers=(), model="m.h5")
    with pytest.raises(UsageError, match=words):
        parse_plan(request, FACTS, ("six", "seven"), methods, box)

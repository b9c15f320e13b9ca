"""Which way is better, the best epoch, and what is claimed about overfitting."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actviz.errors import UsageError
from actviz.history import Curve, TrainingRun, diagnosis
from actviz.history.diagnosis import ValidationTrend, best, direction, metrics_of, validation_trend
from actviz.history.summary import distinct_numbers, facts_of, record_of

VALUES = st.lists(st.floats(), min_size=1, max_size=40)


def curve(values, name="val_loss"):
    return Curve(name, tuple(range(1, len(values) + 1)), tuple(map(float, values)))


def run(*curves):
    return TrainingRun("h.json", "", max((one.epochs for one in curves), key=len), curves)


@pytest.mark.parametrize(
    ("name", "way"),
    [
        ("loss", "min"), ("val_loss", "min"), ("output_a_loss", "min"), ("dice_loss", "min"), ("mae", "min"),
        ("mean_squared_error", "min"), ("rmse_2", "min"), ("binary_crossentropy", "min"), ("false_positives_1", "min"),
        ("accuracy", "max"), ("val_acc", "max"), ("auc_3", "max"), ("top_k_categorical_accuracy", "max"),
        ("f1_score[2]", "max"), ("MeanIoU", "max"), ("mean_io_u", "max"), ("log_cosh", "min"), ("cosine_similarity", "max"),
        ("sensitivity_at_specificity", "max"), ("true_negatives", "max"), ("r2", "max"), ("binaryAccuracy", "max"),
        ("lr", None), ("learning_rate", None), ("val_", None), ("", None), ("class_balance", None), ("error", "min"),
        ("accuracy_error", "min"), ("closs", None),
    ],
)  # fmt: skip
def test_the_name_tells_which_way_is_better(name, way):
    assert direction(name) == way


def test_best_decides_only_where_the_name_does_not():
    assert direction("balance", "max") == "max"
    assert direction("loss", "max") == "min"
    assert direction("lr", "max") is None


@given(VALUES, st.sampled_from(["min", "max"]))
def test_no_value_is_better_than_the_best(values, way):
    found = best(curve(values), way)
    finite = [value for value in values if math.isfinite(value)]
    if not finite:
        assert found is None
        return
    epoch, value = found
    assert values[epoch - 1] == value == (min if way == "min" else max)(finite)
    assert value not in values[: epoch - 1]


@given(VALUES, VALUES, st.sampled_from(["min", "max"]))
def test_the_mirror_image_has_the_same_trend(training, validation, way):
    other = {"min": "max", "max": "min"}[way]
    mirrored = [curve([-value for value in values]) for values in (training, validation)]
    assert validation_trend(curve(training), curve(validation), way) == validation_trend(*mirrored, other)


FALLING = [1 / (1 + epoch) for epoch in range(20)]


@pytest.mark.parametrize(
    ("training", "validation", "kind", "since"),
    [
        (FALLING, [*FALLING[:10], *[0.1 + 0.02 * step for step in range(10)]], "overfitting", 10),
        ([*FALLING[:10], *[0.5] * 10], [*FALLING[:10], *[0.1 + 0.02 * step for step in range(10)]], "worse", 10),
        (FALLING, FALLING, "improving", 20),
        (FALLING, [*FALLING[:10], *[0.105] * 10], "level", 10),
        (FALLING, [*FALLING[:18], 5, 6], "level", 18),
        (FALLING, [*FALLING[:16], 0.0625, 0.0625, 9, 0.0625], "level", 16),
        (FALLING[:3], [1, 2, 3], "unknown", None),
        (None, FALLING, "improving", 20),
        (FALLING, None, "unknown", None),
        (FALLING, [math.nan] * 20, "unknown", None),
    ],
)
def test_what_is_claimed(training, validation, kind, since):
    found = validation_trend(training and curve(training, "loss"), validation and curve(validation), "min")
    assert (found.kind, found.since) == (kind, since)


def test_one_low_spike_of_a_long_curve_decides_nothing():
    validation = [1 / (1 + epoch / 50) for epoch in range(1000)]
    validation[100] = 0.0
    found = validation_trend(curve(validation, "loss"), curve(validation), "min")
    assert found == ValidationTrend("improving", 991, approximate=True)
    rising = validation[:500] + [0.1 + epoch / 1000 for epoch in range(500)]
    found = validation_trend(curve([1 / (1 + epoch) for epoch in range(1000)], "loss"), curve(rising), "min")
    assert (found.kind, found.since, found.approximate) == ("overfitting", 491, True)


def test_the_order_of_panels():
    runs = [
        run(*(curve([1], name) for name in ("lr", "accuracy", "a_loss", "val_loss", "val_accuracy"))),
        run(curve([1], "mae")),
    ]
    assert metrics_of(runs) == ("loss", "a_loss", "accuracy", "mae", "lr")
    assert metrics_of(runs, ["val_loss"]) == ("loss",)
    assert metrics_of(runs, ["*loss", "lr"]) == ("loss", "a_loss", "lr")
    with pytest.raises(UsageError, match='no metric is called "auc"; there are: lr, accuracy, a_loss, loss, mae'):
        metrics_of(runs, ["auc"])


def test_the_words():
    over = run(curve(FALLING, "loss"), curve([*FALLING[:10], *[0.1 + 0.02 * step for step in range(10)]]))
    assert facts_of(over, ("loss",), None) == (
        "20 epochs",
        "val_loss best 0.1 at epoch 10, 0.28 at the end: overfitting since 10",
    )
    assert facts_of(run(curve([0.5], "loss")), ("loss",), None) == ("1 epoch", "loss 0.5 at epoch 1", "no validation")
    broken = run(curve([1, math.nan, math.inf], "loss"), curve([2, 1, math.nan]))
    assert facts_of(broken, ("loss",), None)[-1] == "3 values are NaN or infinite, first loss at epoch 2"
    assert facts_of(run(curve([math.nan], "loss")), ("loss",), None)[1] == "loss is never finite"
    assert facts_of(run(curve([1, 2], "thing")), ("thing",), None) == ("2 epochs",)


def test_two_numbers_are_told_apart():
    assert distinct_numbers(0.26308, 0.26309) == ("0.26308", "0.26309")
    assert distinct_numbers(0.25, 0.5) == ("0.25", "0.5")
    assert distinct_numbers(0.5, 0.5) == ("0.5", "0.5")


@given(VALUES, VALUES)
def test_the_record_is_strict_json(training, validation):
    import json

    one = run(curve(training, "loss"), curve(validation), curve(validation, "thing"))
    record = json.loads(json.dumps(record_of(one, metrics_of([one]), None), allow_nan=False))
    assert record["validation_diverges"] in {True, False, None}
    assert record["metrics"]["loss"]["validation"]["values"] == len(validation)
    assert diagnosis.count_nonfinite(one.curves) >= record["metrics"]["loss"]["training"]["nonfinite"]

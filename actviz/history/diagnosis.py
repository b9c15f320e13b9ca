"""What curves say: which way is better, the best epoch, and whether validation parts from training.

Each rule is a small function that states itself; numbers are the file's own, never smoothed.
"""

from __future__ import annotations

import fnmatch
import math
import re
from dataclasses import dataclass
from itertools import pairwise
from statistics import median
from typing import TYPE_CHECKING

from actviz.errors import UsageError, escape
from actviz.history.history_records import VALIDATION_PREFIX

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from actviz.history.history_records import Curve, TrainingRun

LOSS = "loss"
MINIMUM, MAXIMUM = "min", "max"
OVERFITTING, WORSE, IMPROVING, LEVEL, UNKNOWN = "overfitting", "worse", "improving", "level", "unknown"

_RATES = frozenset({"lr", "learning_rate", "learningrate", "momentum", "weight_decay", "beta_1", "beta_2"})
# Words of names. A name with words of both kinds (`dice_loss`) is better when smaller.
_SMALLER = frozenset(
    {
        "loss",
        "error",
        "errors",
        "mse",
        "mae",
        "mape",
        "msle",
        "rmse",
        "rmsle",
        "crossentropy",
        "entropy",
        "divergence",
        "kld",
        "logcosh",
        "hinge",
        "poisson",
        "perplexity",
        "ppl",
        "wer",
        "cer",
        "fid",
        "negatives",
        "positives",
        "cost",
        "penalty",
        "nll",
        "bce",
        "cce",
        "deviance",
    }
)
_LARGER = frozenset(
    {
        "accuracy",
        "acc",
        "auc",
        "auroc",
        "auprc",
        "precision",
        "recall",
        "f1",
        "f2",
        "fbeta",
        "iou",
        "jaccard",
        "dice",
        "r2",
        "specificity",
        "sensitivity",
        "psnr",
        "ssim",
        "bleu",
        "rouge",
        "kappa",
        "mcc",
        "ap",
        "map",
        "ndcg",
        "mrr",
        "likelihood",
        "score",
    }
)
_LONGER_NAMES = (
    ("false_positives", MINIMUM),
    ("false_negatives", MINIMUM),
    ("true_positives", MAXIMUM),
    ("true_negatives", MAXIMUM),
    ("cosine_similarity", MAXIMUM),
    ("log_likelihood", MAXIMUM),
    ("r_square", MAXIMUM),
    ("io_u", MAXIMUM),  # as Keras writes MeanIoU
    ("log_cosh", MINIMUM),
    ("distance", MINIMUM),
)
_FEWEST = 3
_RISE = 0.1
_LONG, _STRETCHES = 100, 50


def base_of(name: str) -> str:
    """Return the metric that a curve belongs to: ``val_loss`` -> ``loss``."""
    return name.removeprefix(VALIDATION_PREFIX) or name


def metrics_of(runs: Sequence[TrainingRun], patterns: Sequence[str] = ()) -> tuple[str, ...]:
    """Return the metrics of some runs in the order in which they are drawn.

    The loss comes first, then the other losses, then the rest in the order of the files,
    and learning rates last. `patterns` are names or globs; ``val_loss`` means ``loss``.

    Raises
    ------
    UsageError
        When a pattern fits none.
    """
    names = tuple(dict.fromkeys(base_of(curve.name) for run in runs for curve in run.curves))
    for pattern in patterns:
        if not any(_fits(name, pattern) for name in names):
            known = ", ".join(escape(name, 40) for name in names[:12]) + (" ..." if len(names) > 12 else "")  # noqa: PLR2004  (a dozen are named)
            message = f'no metric is called "{escape(pattern, 60)}"; there are: {known}.'
            raise UsageError(message)
    kept = [name for name in names if not patterns or any(_fits(name, pattern) for pattern in patterns)]
    return tuple(sorted(kept, key=_rank))


def _fits(name: str, pattern: str) -> bool:
    return name == base_of(pattern) or fnmatch.fnmatchcase(name, base_of(pattern))


def _rank(name: str) -> int:
    if name == LOSS:
        return 0
    if is_rate(name):
        return 3
    return 1 if name.lower().endswith(LOSS) else 2


def is_rate(name: str) -> bool:
    """Tell a setting of the optimizer, which is neither good nor bad."""
    return base_of(name).lower() in _RATES


def direction(name: str, otherwise: str | None = None) -> str | None:
    """Return ``min`` or ``max``, whichever is better for a metric; `otherwise` where its name does not tell.

    The rule: words of the name, told apart at anything but letters and digits, are looked
    up; losses and errors are better when smaller, accuracies and scores when larger; the
    numbers that Keras appends (``auc_1``) and a class's index (``f1[2]``) do not matter.
    A learning rate is never better.
    """
    if is_rate(name):
        return None
    plain = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", base_of(name)).lower()
    words = set(re.split(r"[^a-z0-9]+", plain))
    if LOSS in words:
        return MINIMUM
    for part, way in _LONGER_NAMES:
        if part in plain:
            return way
    if words & _SMALLER:
        return MINIMUM
    return MAXIMUM if words & _LARGER else otherwise


def best(curve: Curve, way: str | None) -> tuple[int, float] | None:
    """Return epoch and value of the best finite value, the earliest of equal ones."""
    if way is None:
        return None
    sign = 1 if way == MINIMUM else -1
    found = min(_finite(curve), key=lambda point: sign * point[1], default=None)
    return None if found is None else (found[0], found[1])


def last(curve: Curve) -> tuple[int, float]:
    """Return epoch and value at the end of a curve, finite or not."""
    return curve.epochs[-1], curve.values[-1]


def at(curve: Curve | None, epoch: int) -> float | None:
    """Return the value at an epoch, ``None`` where the curve has none there."""
    if curve is None or epoch not in curve.epochs:
        return None
    return curve.values[curve.epochs.index(epoch)]


def _finite(curve: Curve) -> list[tuple[int, float]]:
    return [(epoch, value) for epoch, value in zip(curve.epochs, curve.values, strict=True) if math.isfinite(value)]


@dataclass(frozen=True, slots=True)
class ValidationTrend:
    """How validation went: `kind` is one of the words above, `since` the best epoch.

    `about` says that a long curve was looked at in stretches, so that `since` is the
    middle of one.
    """

    kind: str
    since: int | None = None
    about: bool = False

    @property
    def diverges(self) -> bool | None:
        """Whether validation parted from training, ``None`` where that cannot be told."""
        return None if self.kind == UNKNOWN else self.kind == OVERFITTING


def course(training: Curve | None, validation: Curve | None, way: str | None) -> ValidationTrend:
    """Say how validation went after its best epoch.

    The rule: the end is the median of the last three values, so that one bad epoch decides
    nothing. Validation got worse when its end is worse than its best by more than a tenth
    of the best and by more than twice the usual step from epoch to epoch. If training
    improved meanwhile, that is overfitting. With less than three epochs after the best
    nothing is claimed. Of a hundred epochs and more, the medians of fifty stretches are
    looked at instead, or the lowest spike of a noisy curve would decide.
    """
    if validation is None or way is None:
        return ValidationTrend(UNKNOWN)
    sign = 1.0 if way == MINIMUM else -1.0
    points, about = _stretches([(epoch, sign * value) for epoch, value in _finite(validation)])
    if len(points) <= _FEWEST:
        return ValidationTrend(UNKNOWN)
    place = min(range(len(points)), key=lambda index: points[index][1])
    since, lowest = points[place]
    rest = [value for _, value in points[place + 1 :]]
    if not rest:
        return ValidationTrend(IMPROVING, since, about)
    usual = median(abs(after / 2 - before / 2) for (_, before), (_, after) in pairwise(points)) * 2
    rise = median(rest[-_FEWEST:]) / 2 - lowest / 2
    if len(rest) < _FEWEST or rise <= max(_RISE * abs(lowest), 2 * usual) / 2:
        return ValidationTrend(LEVEL, since, about)
    return ValidationTrend(OVERFITTING if _improved(training, since, sign) else WORSE, since, about)


def _stretches(points: list[tuple[int, float]]) -> tuple[list[tuple[int, float]], bool]:
    """Return the middle epoch and the median of fifty stretches of a long curve; a short one as it is."""
    if len(points) < _LONG:
        return points, False
    width = len(points) // _STRETCHES
    parts = [points[start : start + width] for start in range(0, len(points) - width + 1, width)]
    return [(part[width // 2][0], median(value for _, value in part)) for part in parts], True


def _improved(training: Curve | None, since: int, sign: float) -> bool:
    """Tell whether training ended better than it was at an epoch."""
    points = [] if training is None else [(epoch, sign * value) for epoch, value in _finite(training)]
    points, _ = _stretches(points)
    then = [value for epoch, value in points if epoch <= since]
    after = [value for epoch, value in points if epoch > since]
    return bool(then and after) and median(after[-_FEWEST:]) < then[-1]


def count_nonfinite(curves: Iterable[Curve]) -> int:
    """Count NaN and infinite values."""
    return sum(not math.isfinite(value) for curve in curves for value in curve.values)

"""Diagnosis of learning curves: the better direction of a metric, the best epoch, and overfitting.

Each rule is a small function whose docstring states it; it uses the file's values, never smoothed ones.
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
# Words in names of metrics. A name with words of both kinds (`dice_loss`) is better when smaller.
_SMALLER = re.compile(
    "loss|errors?|mse|mae|mape|msle|rmse|rmsle|crossentropy|entropy|divergence|kld|logcosh|hinge|poisson|perplexity"
    "|ppl|wer|cer|fid|negatives|positives|cost|penalty|nll|bce|cce|deviance"
)
_LARGER = re.compile(
    "accuracy|acc|auc|auroc|auprc|precision|recall|f1|f2|fbeta|iou|jaccard|dice|r2|specificity|sensitivity|psnr|ssim"
    "|bleu|rouge|kappa|mcc|ap|map|ndcg|mrr|likelihood|score"
)
_PHRASES = (
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
_FEWEST_EPOCHS = 3
_RELATIVE_RISE = 0.1
_LONG, _SEGMENTS = 100, 50


def base_of(name: str) -> str:
    """Return the metric of a curve, without the prefix of validation: ``val_loss`` -> ``loss``."""
    return name.removeprefix(VALIDATION_PREFIX) or name


def metrics_of(runs: Sequence[TrainingRun], patterns: Sequence[str] = ()) -> tuple[str, ...]:
    """Return the metrics of runs in the order in which they are drawn.

    The loss comes first, then the other losses, then the rest in the order of the files,
    and learning rates last. `patterns` are names or globs; ``val_loss`` means ``loss``.

    Raises
    ------
    UsageError
        If a pattern matches none.
    """
    names = tuple(dict.fromkeys(base_of(curve.name) for run in runs for curve in run.curves))
    for pattern in patterns:
        if not any(_matches(name, pattern) for name in names):
            known = ", ".join(escape(name, 40) for name in names[:12]) + (" ..." if len(names) > 12 else "")  # noqa: PLR2004  (a dozen are named)
            message = f'no metric is called "{escape(pattern, 60)}"; there are: {known}.'
            raise UsageError(message)
    kept = [name for name in names if not patterns or any(_matches(name, pattern) for pattern in patterns)]
    return tuple(sorted(kept, key=_rank))


def _matches(name: str, pattern: str) -> bool:
    return name == base_of(pattern) or fnmatch.fnmatchcase(name, base_of(pattern))


def _rank(name: str) -> int:
    if name == LOSS:
        return 0
    if is_rate(name):
        return 3
    return 1 if name.lower().endswith(LOSS) else 2


def is_rate(name: str) -> bool:
    """Return True for a setting of the optimizer, which has no better direction."""
    return base_of(name).lower() in _RATES


def direction(name: str, otherwise: str | None = None) -> str | None:
    """Return ``min`` or ``max``, whichever is better for a metric; `otherwise` if its name is unknown.

    The rule: the name is split into words at anything but letters and digits, and the words are
    looked up. Losses and errors are better when smaller, accuracies and scores when larger. The
    numbers that Keras appends (``auc_1``) and the index of a class (``f1[2]``) do not matter.
    A learning rate has no better direction.
    """
    if is_rate(name):
        return None
    plain = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", base_of(name)).lower()
    words = set(re.split(r"[^a-z0-9]+", plain))
    if LOSS in words:
        return MINIMUM
    for phrase, better in _PHRASES:
        if phrase in plain:
            return better
    if any(_SMALLER.fullmatch(word) for word in words):
        return MINIMUM
    return MAXIMUM if any(_LARGER.fullmatch(word) for word in words) else otherwise


def best(curve: Curve, better: str | None) -> tuple[int, float] | None:
    """Return epoch and value of the best finite value, the earliest of equal ones."""
    if better is None:
        return None
    sign = 1 if better == MINIMUM else -1
    return min(_finite(curve), key=lambda point: sign * point[1], default=None)


def last(curve: Curve) -> tuple[int, float]:
    """Return the last epoch and its value, finite or not."""
    return curve.epochs[-1], curve.values[-1]


def at(curve: Curve | None, epoch: int) -> float | None:
    """Return the value at an epoch, or ``None`` if the curve has none."""
    if curve is None or epoch not in curve.epochs:
        return None
    return curve.values[curve.epochs.index(epoch)]


def _finite(curve: Curve) -> list[tuple[int, float]]:
    return [(epoch, value) for epoch, value in zip(curve.epochs, curve.values, strict=True) if math.isfinite(value)]


@dataclass(frozen=True, slots=True)
class ValidationTrend:
    """Trend of the validation: `kind` is one of the constants above, `since` the best epoch.

    `approximate` means that the curve was divided into segments, and `since` is the middle of one.
    """

    kind: str
    since: int | None = None
    approximate: bool = False

    @property
    def diverges(self) -> bool | None:
        """Whether validation diverges from training, or ``None`` if unknown."""
        return None if self.kind == UNKNOWN else self.kind == OVERFITTING


def validation_trend(training: Curve | None, validation: Curve | None, better: str | None) -> ValidationTrend:
    """Return the trend of the validation after its best epoch.

    The rule: the end is the median of the last three values, so that a single outlier has no
    effect. Validation got worse if its end is worse than its best by more than a tenth of the
    best and by more than twice the median step from epoch to epoch. If training improved
    meanwhile, that is overfitting. With fewer than three epochs after the best, the trend is level.
    Of 100 epochs or more, the medians of 50 segments are used, because the lowest spike of
    a noisy curve is not its best epoch.
    """
    if validation is None or better is None:
        return ValidationTrend(UNKNOWN)
    sign = 1.0 if better == MINIMUM else -1.0
    points, approximate = _segment_medians([(epoch, sign * value) for epoch, value in _finite(validation)])
    if len(points) <= _FEWEST_EPOCHS:
        return ValidationTrend(UNKNOWN)
    best_index = min(range(len(points)), key=lambda index: points[index][1])
    since, lowest = points[best_index]
    rest = [value for _, value in points[best_index + 1 :]]
    if not rest:
        return ValidationTrend(IMPROVING, since, approximate)
    median_step = median(abs(after / 2 - before / 2) for (_, before), (_, after) in pairwise(points)) * 2
    rise = median(rest[-_FEWEST_EPOCHS:]) / 2 - lowest / 2
    if len(rest) < _FEWEST_EPOCHS or rise <= max(_RELATIVE_RISE * abs(lowest), 2 * median_step) / 2:
        return ValidationTrend(LEVEL, since, approximate)
    return ValidationTrend(OVERFITTING if _improved(training, since, sign) else WORSE, since, approximate)


def _segment_medians(points: list[tuple[int, float]]) -> tuple[list[tuple[int, float]], bool]:
    """Return the middle epoch and the median of 50 segments of a long curve, or a short one unchanged."""
    if len(points) < _LONG:
        return points, False
    width = len(points) // _SEGMENTS
    parts = [points[start : start + width] for start in range(0, len(points) - width + 1, width)]
    return [(part[width // 2][0], median(value for _, value in part)) for part in parts], True


def _improved(training: Curve | None, since: int, sign: float) -> bool:
    """Return True if training ended better than it was at an epoch."""
    points = [] if training is None else [(epoch, sign * value) for epoch, value in _finite(training)]
    points, _ = _segment_medians(points)
    then = [value for epoch, value in points if epoch <= since]
    after = [value for epoch, value in points if epoch > since]
    return bool(then and after) and median(after[-_FEWEST_EPOCHS:]) < then[-1]


def count_nonfinite(curves: Iterable[Curve]) -> int:
    """Count NaN and infinite values."""
    return sum(not math.isfinite(value) for curve in curves for value in curve.values)

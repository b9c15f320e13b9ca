"""Summary of runs as text and as numbers: for the header of a figure, stderr and ``--json``."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from actviz.errors import escape
from actviz.figures import text
from actviz.history import diagnosis
from actviz.history.history_records import VALIDATION_PREFIX

if TYPE_CHECKING:
    from collections.abc import Sequence

    from actviz.history.diagnosis import ValidationTrend
    from actviz.history.history_records import Curve, TrainingRun

_NAME = 60


def facts_of(run: TrainingRun, metrics: Sequence[str], otherwise: str | None) -> tuple[str, ...]:
    """Return the most important facts about one run as short phrases."""
    count = text.plural(len(run.epochs), "epoch")
    main = _main(run, metrics, otherwise)
    if main is None:
        return (count, *_nonfinite(run))
    better = diagnosis.direction(main, otherwise)
    training, validation = run.curve(main), run.curve(VALIDATION_PREFIX + main)
    curve = validation or training
    best = diagnosis.best(curve, better) if curve else None
    if curve is None or best is None:
        return (count, f"{_shown(main)} is never finite")
    epoch, value = best
    end, ending = diagnosis.last(curve)
    phrases = [count]
    if end == epoch:
        only = "" if len(curve.epochs) == 1 else ", the last and best"
        phrases.append(f"{_shown(curve.name)} {text.number(value)} at epoch {epoch}{only}")
    else:
        verdict = _verdict(diagnosis.validation_trend(training, validation, better))
        at_best, at_end = distinct_numbers(value, ending)
        phrases.append(f"{_shown(curve.name)} best {at_best} at epoch {epoch}, {at_end} at the end{verdict}")
    second = next((name for name in metrics if name != main and diagnosis.direction(name, otherwise)), None)
    if second is not None:
        second_curve = run.curve(VALIDATION_PREFIX + second) or run.curve(second)
        second_value = diagnosis.at(second_curve, epoch)
        if second_curve is not None and second_value is not None:
            phrases.append(f"{_shown(second_curve.name)} {text.number(second_value)} there")
    if validation is None:
        phrases.append("no validation")
    return (*phrases, *_nonfinite(run))


def comparison_of(
    runs: Sequence[TrainingRun], names: Sequence[str], metrics: Sequence[str], otherwise: str | None
) -> tuple[str, ...]:
    """Return the most important facts about several runs as short phrases."""
    shortest, longest = min(len(run.epochs) for run in runs), max(len(run.epochs) for run in runs)
    epochs = f"{longest:,}" if shortest == longest else f"{shortest:,} to {longest:,}"
    phrases = [f"{len(runs)} runs", f"{epochs} {'epoch' if longest == 1 else 'epochs'}"]
    for metric in metrics[:2]:
        better = diagnosis.direction(metric, otherwise)
        curves = [run.curve(VALIDATION_PREFIX + metric) for run in runs]
        if not any(curves):
            curves = [run.curve(metric) for run in runs]
        best_points = [
            (point, curve.name, name)
            for curve, name in zip(curves, names, strict=True)
            if curve and (point := diagnosis.best(curve, better))
        ]
        if best_points:
            (epoch, value), curve_name, name = (min if better == diagnosis.MINIMUM else max)(
                best_points, key=lambda item: item[0][1]
            )
            phrases.append(
                f"best {_shown(curve_name)} {text.number(value)} at epoch {epoch}: {text.shown(name, _NAME)}"
            )
    return tuple(phrases)


def _main(run: TrainingRun, metrics: Sequence[str], otherwise: str | None) -> str | None:
    """Return the metric that summarizes a run: the first that has a better direction and a value."""
    judged = (name for name in metrics if diagnosis.direction(name, otherwise))
    return next((name for name in judged if run.curve(name) or run.curve(VALIDATION_PREFIX + name)), None)


def _verdict(trend: ValidationTrend) -> str:
    since = f"about {trend.since}" if trend.approximate else str(trend.since)
    if trend.kind == diagnosis.OVERFITTING:
        return f": overfitting since {since}"
    if trend.kind == diagnosis.WORSE:
        return f": worse since {since}, and training did not improve either"
    return ""


def _nonfinite(run: TrainingRun) -> tuple[str, ...]:
    points = [
        (epoch, curve.name)
        for curve in run.curves
        for epoch, value in zip(curve.epochs, curve.values, strict=True)
        if not math.isfinite(value)
    ]
    if not points:
        return ()
    first, name = min(points, key=lambda point: point[0])
    are = "1 value is" if len(points) == 1 else f"{len(points):,} values are"
    return (f"{are} NaN or infinite, first {_shown(name)} at epoch {first}",)


def _shown(name: str) -> str:
    return text.shown(name, _NAME)


def distinct_numbers(first: float, second: float) -> tuple[str, str]:
    """Return two numbers with as many digits as make them differ, from 3 to 7."""
    for digits in range(3, 8):
        labels = text.number(first, digits), text.number(second, digits)
        if labels[0] != labels[1]:
            break
    return labels


def sentence(phrases: Sequence[str]) -> str:
    """Join phrases to one line for stderr."""
    return escape("; ".join(phrases), 1000)


def record_of(run: TrainingRun, metrics: Sequence[str], otherwise: str | None) -> dict[str, Any]:
    """Return the numbers of a run as values for JSON; those that are not finite become ``None``."""
    main = _main(run, metrics, otherwise)
    trend = _trend(run, main, otherwise) if main else diagnosis.ValidationTrend(diagnosis.UNKNOWN)
    return {
        "file": run.file,
        "sha256": run.digest,
        "epochs": len(run.epochs),
        "first_epoch": run.epochs[0],
        "last_epoch": run.epochs[-1],
        "fit_called_again_at": list(run.seams),
        "validation_diverges": trend.diverges,
        "metrics": {
            name: _metric(run, name, otherwise)
            for name in metrics
            if run.curve(name) or run.curve(VALIDATION_PREFIX + name)
        },
        "notes": list(run.notes),
    }


def _metric(run: TrainingRun, name: str, otherwise: str | None) -> dict[str, Any]:
    better = diagnosis.direction(name, otherwise)
    trend = _trend(run, name, otherwise)
    return {
        "better": better,
        "training": _curve(run.curve(name), better),
        "validation": _curve(run.curve(VALIDATION_PREFIX + name), better),
        "course": trend.kind,
        "diverges": trend.diverges,
    }


def _trend(run: TrainingRun, name: str, otherwise: str | None) -> ValidationTrend:
    return diagnosis.validation_trend(
        run.curve(name), run.curve(VALIDATION_PREFIX + name), diagnosis.direction(name, otherwise)
    )


def _curve(curve: Curve | None, better: str | None) -> dict[str, Any] | None:
    if curve is None:
        return None
    best = diagnosis.best(curve, better)
    end, value = diagnosis.last(curve)
    return {
        "best_epoch": best[0] if best else None,
        "best": best[1] if best else None,
        "last_epoch": end,
        "last": value if math.isfinite(value) else None,
        "values": len(curve.values),
        "nonfinite": diagnosis.count_nonfinite([curve]),
    }

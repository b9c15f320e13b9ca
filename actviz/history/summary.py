"""What runs say in words and in numbers: the lines of a figure, of stderr and of ``--json``."""

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
    """Return what is worth knowing of one run first, in short phrases."""
    count = f"{len(run.epochs):,} {'epoch' if len(run.epochs) == 1 else 'epochs'}"
    main = _main(run, metrics, otherwise)
    if main is None:
        return (count, *_nonfinite(run))
    way = diagnosis.direction(main, otherwise)
    training, validation = run.curve(main), run.curve(VALIDATION_PREFIX + main)
    curve = validation or training
    found = diagnosis.best(curve, way) if curve else None
    if curve is None or found is None:
        return (count, f"{_shown(main)} never is a finite number")
    epoch, value = found
    end, ending = diagnosis.last(curve)
    phrases = [count]
    if end == epoch:
        only = "" if len(curve.epochs) == 1 else ", the last and best"
        phrases.append(f"{_shown(curve.name)} {text.number(value)} at epoch {epoch}{only}")
    else:
        verdict = _verdict(diagnosis.course(training, validation, way))
        at_best, at_end = distinct_numbers(value, ending)
        phrases.append(f"{_shown(curve.name)} best {at_best} at epoch {epoch}, {at_end} at the end{verdict}")
    second = next((name for name in metrics if name != main and diagnosis.direction(name, otherwise)), None)
    if second is not None:
        other = run.curve(VALIDATION_PREFIX + second) or run.curve(second)
        there = diagnosis.at(other, epoch)
        if other is not None and there is not None:
            phrases.append(f"{_shown(other.name)} {text.number(there)} there")
    if validation is None:
        phrases.append("no validation")
    return (*phrases, *_nonfinite(run))


def comparison_of(
    runs: Sequence[TrainingRun], names: Sequence[str], metrics: Sequence[str], otherwise: str | None
) -> tuple[str, ...]:
    """Return what is worth knowing of several runs, in short phrases."""
    shortest, longest = min(len(run.epochs) for run in runs), max(len(run.epochs) for run in runs)
    epochs = f"{longest:,}" if shortest == longest else f"{shortest:,} to {longest:,}"
    phrases = [f"{len(runs)} runs", f"{epochs} {'epoch' if longest == 1 else 'epochs'}"]
    for metric in metrics[:2]:
        way = diagnosis.direction(metric, otherwise)
        curves = [run.curve(VALIDATION_PREFIX + metric) for run in runs]
        if not any(curves):
            curves = [run.curve(metric) for run in runs]
        found = [
            (point, curve.name, name)
            for curve, name in zip(curves, names, strict=True)
            if curve and (point := diagnosis.best(curve, way))
        ]
        if found:
            (epoch, value), curve_name, name = (min if way == diagnosis.MINIMUM else max)(
                found, key=lambda item: item[0][1]
            )
            phrases.append(
                f"best {_shown(curve_name)} {text.number(value)} at epoch {epoch}: {text.shown(name, _NAME)}"
            )
    return tuple(phrases)


def _main(run: TrainingRun, metrics: Sequence[str], otherwise: str | None) -> str | None:
    """Return the metric that a run is summed up by: the first that has a direction and a value."""
    return next(
        (
            name
            for name in metrics
            if diagnosis.direction(name, otherwise) and (run.curve(name) or run.curve(VALIDATION_PREFIX + name))
        ),
        None,
    )


def _verdict(course: ValidationTrend) -> str:
    since = f"about {course.since}" if course.about else str(course.since)
    if course.kind == diagnosis.OVERFITTING:
        return f": overfitting since {since}"
    if course.kind == diagnosis.WORSE:
        return f": worse since {since}, and training did not improve either"
    return ""


def _nonfinite(run: TrainingRun) -> tuple[str, ...]:
    count = diagnosis.count_nonfinite(run.curves)
    if not count:
        return ()
    found = [
        (epoch, curve.name)
        for curve in run.curves
        for epoch, value in zip(curve.epochs, curve.values, strict=True)
        if not math.isfinite(value)
    ]
    first, name = min(found, key=lambda point: point[0])
    are = "1 value is" if count == 1 else f"{count:,} values are"
    return (f"{are} NaN or infinite, first {_shown(name)} at epoch {first}",)


def _shown(name: str) -> str:
    return text.shown(name, _NAME)


def distinct_numbers(one: float, other: float) -> tuple[str, str]:
    """Return two numbers with as many digits as tell them apart, three at least."""
    for digits in range(3, 8):
        words = text.number(one, digits), text.number(other, digits)
        if words[0] != words[1]:
            break
    return words


def sentence(phrases: Sequence[str]) -> str:
    """Join phrases to the line for stderr."""
    return escape("; ".join(phrases), 1000)


def record_of(run: TrainingRun, metrics: Sequence[str], otherwise: str | None) -> dict[str, Any]:
    """Return the numbers of a run as JSON-ready values; what is not finite becomes ``None``."""
    main = _main(run, metrics, otherwise)
    course = _course(run, main, otherwise) if main else diagnosis.ValidationTrend(diagnosis.UNKNOWN)
    return {
        "file": run.file,
        "sha256": run.digest,
        "epochs": len(run.epochs),
        "first_epoch": run.epochs[0],
        "last_epoch": run.epochs[-1],
        "fit_called_again_at": list(run.seams),
        "validation_diverges": course.diverges,
        "metrics": {
            name: _metric(run, name, otherwise)
            for name in metrics
            if run.curve(name) or run.curve(VALIDATION_PREFIX + name)
        },
        "notes": list(run.notes),
    }


def _metric(run: TrainingRun, name: str, otherwise: str | None) -> dict[str, Any]:
    way = diagnosis.direction(name, otherwise)
    course = _course(run, name, otherwise)
    return {
        "better": way,
        "training": _curve(run.curve(name), way),
        "validation": _curve(run.curve(VALIDATION_PREFIX + name), way),
        "course": course.kind,
        "diverges": course.diverges,
    }


def _course(run: TrainingRun, name: str, otherwise: str | None) -> ValidationTrend:
    return diagnosis.course(run.curve(name), run.curve(VALIDATION_PREFIX + name), diagnosis.direction(name, otherwise))


def _curve(curve: Curve | None, way: str | None) -> dict[str, Any] | None:
    if curve is None:
        return None
    found = diagnosis.best(curve, way)
    end, value = diagnosis.last(curve)
    return {
        "best_epoch": found[0] if found else None,
        "best": found[1] if found else None,
        "last_epoch": end,
        "last": value if math.isfinite(value) else None,
        "values": len(curve.values),
        "nonfinite": diagnosis.count_nonfinite([curve]),
    }

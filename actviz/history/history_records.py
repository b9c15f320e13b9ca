"""What a record of training is, once read: runs of curves, whatever file they came from."""

from __future__ import annotations

from dataclasses import dataclass

VALIDATION_PREFIX = "val_"


@dataclass(frozen=True, slots=True)
class Curve:
    """One metric of one run.

    `epochs` grow strictly; `values` has one number for each of them, NaN and infinities
    included. An epoch without a value (a validation that was not run) is not there.
    """

    name: str
    epochs: tuple[int, ...]
    values: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class TrainingRun:
    """One training as its file tells it.

    `file` is the file's name, `digest` the SHA-256 of its bytes (hexadecimal). `epochs`
    are all epochs of the run. `seams` are the first epochs of a second and later call of
    ``fit`` in the same file. `notes` say what was left out or placed by a rule.
    """

    file: str
    digest: str
    epochs: tuple[int, ...]
    curves: tuple[Curve, ...]
    seams: tuple[int, ...] = ()
    notes: tuple[str, ...] = ()

    def curve(self, name: str) -> Curve | None:
        """Return the curve of that exact name, ``None`` where the run has none."""
        return next((curve for curve in self.curves if curve.name == name), None)


@dataclass(frozen=True, slots=True)
class RawColumns:
    """What a file holds before it is checked: plain Python values, nothing of the file's own.

    `metrics` are ``(name, value)`` in the order of the file; a value should be a list of
    numbers (of lists of numbers for a metric with one number a class), but may be
    anything. `epochs` is likewise what the file says about its epochs, ``None`` for
    nothing.
    """

    metrics: tuple[tuple[str, object], ...]
    epochs: object = None
    seams: tuple[int, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class CurveStyle:
    """How a figure looks: the options of the command line, parsed but not resolved.

    `metrics` are names or patterns (empty: all); `best` is ``min`` or ``max`` for metrics
    whose name does not tell; `log` forces or forbids a logarithmic axis (``None``: the
    range decides); `smooth` is the number of epochs that a mean covers (1: off); `size`
    is ``(width, height)`` of the figure in pixels (``None``: chosen) before `zoom`
    multiplies it.
    """

    metrics: tuple[str, ...] = ()
    best: str | None = None
    log: bool | None = None
    smooth: int = 1
    dark: bool = False
    size: tuple[int, int] | None = None
    columns: int | None = None
    zoom: int = 1

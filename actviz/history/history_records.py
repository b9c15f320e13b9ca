"""Data classes of training histories, independent of the file format."""

from __future__ import annotations

from dataclasses import dataclass

VALIDATION_PREFIX = "val_"


@dataclass(frozen=True, slots=True)
class Curve:
    """One metric of one run.

    `epochs` are strictly increasing; `values` has one number per epoch, including NaN and
    infinities. An epoch without a value (no validation was run) is missing from both.
    """

    name: str
    epochs: tuple[int, ...]
    values: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class TrainingRun:
    """One training run.

    `file` is the name of the file, `digest` the hexadecimal SHA-256 of its bytes. `epochs` are
    all epochs of the run. `seams` are the first epochs of the second and later calls of ``fit``
    in the same file. `notes` list what was left out or inferred.
    """

    file: str
    digest: str
    epochs: tuple[int, ...]
    curves: tuple[Curve, ...]
    seams: tuple[int, ...] = ()
    notes: tuple[str, ...] = ()

    def curve(self, name: str) -> Curve | None:
        """Return the curve of that exact name, or ``None``."""
        return next((curve for curve in self.curves if curve.name == name), None)


@dataclass(frozen=True, slots=True)
class RawColumns:
    """Content of a file before validation, as plain Python values.

    `metrics` are ``(name, value)`` in the order of the file; a value should be a list of
    numbers (of lists of numbers for a metric with one number per class), but may be
    anything. So may `epochs`; ``None`` if the file does not number its epochs.
    """

    metrics: tuple[tuple[str, object], ...]
    epochs: object = None
    seams: tuple[int, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class CurveStyle:
    """Options of a figure, as given on the command line.

    `metrics` are names or patterns (empty: all); `best` is ``min`` or ``max`` for metrics
    with unknown names; `log` forces or forbids a logarithmic axis (``None``: by range); `smooth` is
    the width of the moving average in epochs (1: off); `size` is ``(width, height)`` of the figure
    in pixels (``None``: automatic), multiplied by `zoom`.
    """

    metrics: tuple[str, ...] = ()
    best: str | None = None
    log: bool | None = None
    smooth: int = 1
    dark: bool = False
    size: tuple[int, int] | None = None
    columns: int | None = None
    zoom: int = 1

"""Validate the columns of a file and convert them to curves."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise

from actviz.errors import InputError, LimitError, escape
from actviz.history.history_records import VALIDATION_PREFIX, Curve, RawColumns, TrainingRun

MAXIMUM_CURVES = 400
MAXIMUM_EPOCH = 1 << 53  # larger integers are not exact in float64
LONGEST_VECTOR = 64

# A cell: a number, or None where the file has no value.
_Column = list[float | None]


def run_of(columns: RawColumns, file: str, digest: str, validation_freq: int | None = None) -> TrainingRun:
    """Return the run that the columns of a file describe.

    A metric with several numbers per epoch becomes one curve for each, ``f1[0]``,
    ``f1[1]``. Anything that is not a list of numbers, or has a length that no rule explains,
    is left out with a note.

    Raises
    ------
    InputError
        If nothing is left.
    LimitError
        If there are more than `MAXIMUM_CURVES` curves.
    """
    notes = list(columns.notes)
    known: dict[str, _Column] = {}
    for name, value in columns.metrics:
        named_columns = _columns_of(name, value)
        if not named_columns:
            notes.append(f"left out: {escape(name, 60)} (not a list of numbers)")
        known |= named_columns
        if len(known) > MAXIMUM_CURVES:
            message = f"{file}: more than {MAXIMUM_CURVES} curves; save fewer metrics."
            raise LimitError(message)
    count = max((len(column) for name, column in known.items() if not name.startswith(VALIDATION_PREFIX)), default=0)
    count = count or max((len(column) for column in known.values()), default=0)
    if not count:
        message = f"{file}: no history: no metric has a number; save it with json.dump(history.history, file)."
        raise InputError(message)
    epochs, note = _epoch_numbers(columns.epochs, count)
    notes += note
    epoch_columns = _EpochColumns(epochs, validation_freq, notes)
    curves = [curve for name, column in known.items() if (curve := epoch_columns.curve(name, column)) is not None]
    if not curves:
        message = f"{file}: no history: {'; '.join(notes) or 'no metric has a number'}."
        raise InputError(message)
    offset = epochs[0] - (columns.epochs[0] if isinstance(columns.epochs, list) and columns.seams else 0)
    seams = tuple(seam + offset for seam in columns.seams)
    return TrainingRun(file, digest, epochs, tuple(curves), seams, tuple(notes))


def _columns_of(name: str, value: object) -> dict[str, _Column]:
    """Return the columns in the list of one metric, by name; none if it is not a list of numbers."""
    if not isinstance(value, list):
        return {}
    width = max((len(item) for item in value if isinstance(item, list)), default=0)
    if width > LONGEST_VECTOR:
        return {}
    try:
        if not width:
            column = [_number(item) for item in value]
            return {name: column} if any(cell is not None for cell in column) else {}
        rows = [item if isinstance(item, list) else [item] * width for item in value]
        if any(len(row) != width for row in rows):
            return {}
        return {f"{name}[{index}]": [_number(row[index]) for row in rows] for index in range(width)}
    except (TypeError, ValueError, OverflowError):
        return {}


def _number(item: object) -> float | None:
    """Return a number as a float, or None; JSON files often contain numbers as text.

    Raises
    ------
    TypeError, ValueError, OverflowError
        If it is not a number.
    """
    if item is None:
        return None
    if isinstance(item, bool) or not isinstance(item, (int, float, str)):
        raise TypeError
    return float(item)


def _epoch_numbers(given: object, count: int) -> tuple[tuple[int, ...], list[str]]:
    """Return the numbers of the epochs, and notes about them.

    They are those of the file. If these start at 0, as Keras counts internally, each is
    incremented, as ``fit`` prints them and ModelCheckpoint writes them into file names.
    """
    counted = tuple(range(1, count + 1))
    if given is None:
        return counted, []
    numbers = given if isinstance(given, list) else []
    are_integers = all(type(number) is int and abs(number) < MAXIMUM_EPOCH for number in numbers)
    if len(numbers) != count or not are_integers or any(after <= before for before, after in pairwise(numbers)):
        return counted, ["the epoch numbers of the file are not increasing integers; counted from 1"]
    shift = 1 if numbers[0] == 0 else 0
    return tuple(number + shift for number in numbers), []


@dataclass(slots=True)
class _EpochColumns:
    """Assigns epochs to columns."""

    epochs: tuple[int, ...]
    validation_freq: int | None
    notes: list[str] = field(default_factory=list)

    def curve(self, name: str, column: _Column) -> Curve | None:
        """Return the curve of a column, or ``None`` and add a note if its length does not fit."""
        epochs = self._epochs_of(name, column)
        if epochs is None:
            return None
        points = [(epoch, value) for epoch, value in zip(epochs, column, strict=True) if value is not None]
        if not points:
            return None
        return Curve(name, tuple(epoch for epoch, _ in points), tuple(value for _, value in points))

    def _epochs_of(self, name: str, column: _Column) -> tuple[int, ...] | None:
        count, total = len(column), len(self.epochs)
        if count == total:
            return self.epochs
        shown = escape(name, 60)
        if not name.startswith(VALIDATION_PREFIX) or not count or count > total:
            self.notes.append(f"left out: {shown} ({count:,} values for {total:,} epochs)")
            return None
        intervals = [every for every in range(1, total + 1) if total // every == count]
        every = self.validation_freq if self.validation_freq in intervals else None
        if every is None and len(intervals) == 1:
            every = intervals[0]
        if every is None:
            fits = f"every {intervals[0]} to {intervals[-1]}" if intervals else "no constant interval"
            self.notes.append(
                f"left out: {shown} ({count:,} values for {total:,} epochs: {fits} fits; choose one with --validation-freq)"
            )
            return None
        note = f"validation every {every} epochs, inferred from its number of values"
        if note not in self.notes:
            self.notes.append(note)
        return self.epochs[every - 1 :: every]

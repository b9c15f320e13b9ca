"""Columns of any file, checked and turned into curves."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise

from actviz.errors import InputError, LimitError, escape
from actviz.history.history_records import VALIDATION_PREFIX, Curve, RawColumns, TrainingRun

MAXIMUM_CURVES = 400
MAXIMUM_EPOCH = 1 << 53
LONGEST_VECTOR = 64

# A cell: a number, or None where the file has no value.
_Column = list[float | None]


def run_of(columns: RawColumns, file: str, digest: str, validation_freq: int | None = None) -> TrainingRun:
    """Return the run that the columns of a file describe.

    A metric with several numbers an epoch becomes one curve for each, ``f1[0]``,
    ``f1[1]``. What is no list of numbers, or has a length that fits no rule, is left out
    and noted.

    Raises
    ------
    InputError
        When nothing is left, or the epochs make no sense.
    LimitError
        When there are more curves than are ever drawn.
    """
    notes = list(columns.notes)
    known: dict[str, _Column] = {}
    for name, value in columns.metrics:
        found = _columns_of(name, value)
        if not found:
            notes.append(f"left out: {escape(name, 60)} (no list of numbers)")
        known |= found
        if len(known) > MAXIMUM_CURVES:
            message = f"{file}: more than {MAXIMUM_CURVES} curves; save fewer metrics."
            raise LimitError(message)
    count = max((len(column) for name, column in known.items() if not name.startswith(VALIDATION_PREFIX)), default=0)
    count = count or max((len(column) for column in known.values()), default=0)
    if not count:
        message = f"{file}: no history: no metric has a number; save it with json.dump(history.history, file)."
        raise InputError(message)
    epochs, note = _numbered(columns.epochs, count)
    notes += note
    placing = _EpochColumns(epochs, validation_freq, notes)
    curves = [curve for name, column in known.items() if (curve := placing.curve(name, column)) is not None]
    if not curves:
        message = f"{file}: no history: {'; '.join(notes) or 'no metric has a number'}."
        raise InputError(message)
    offset = epochs[0] - (columns.epochs[0] if isinstance(columns.epochs, list) and columns.seams else 0)
    seams = tuple(seam + offset for seam in columns.seams)
    return TrainingRun(file, digest, epochs, tuple(curves), seams, tuple(notes))


def _columns_of(name: str, value: object) -> dict[str, _Column]:
    """Return the columns in the list of one metric, none where it is no list of numbers."""
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
        return {f"{name}[{place}]": [_number(row[place]) for row in rows] for place in range(width)}
    except (TypeError, ValueError, OverflowError):
        return {}


def _number(item: object) -> float | None:
    """Return a number as a float; people also write numbers as text, for JSON's sake.

    Raises
    ------
    TypeError, ValueError, OverflowError
        When it is none.
    """
    if item is None:
        return None
    if isinstance(item, bool) or not isinstance(item, (int, float, str)):
        raise TypeError
    return float(item)


def _numbered(given: object, count: int) -> tuple[tuple[int, ...], list[str]]:
    """Return the numbers of the epochs, and what is worth noting about them.

    They are the file's own. Where these begin at 0, as Keras counts inside, each is one
    more: so they are what ``fit`` prints and what ModelCheckpoint writes into file names.
    """
    counted = tuple(range(1, count + 1))
    if given is None:
        return counted, []
    numbers = given if isinstance(given, list) else []
    whole = all(type(number) is int and abs(number) < MAXIMUM_EPOCH for number in numbers)
    if len(numbers) != count or not whole or any(after <= before for before, after in pairwise(numbers)):
        return counted, ["the file's own numbers of epochs are no growing whole numbers; counted from 1"]
    shift = 1 if numbers[0] == 0 else 0
    return tuple(number + shift for number in numbers), []


@dataclass(slots=True)
class _EpochColumns:
    """Puts columns on the epochs of a run."""

    epochs: tuple[int, ...]
    validation_freq: int | None
    notes: list[str] = field(default_factory=list)

    def curve(self, name: str, column: _Column) -> Curve | None:
        """Return the curve of a column, ``None`` (with a note) where it fits nowhere."""
        places = self._places(name, column)
        if places is None:
            return None
        held = [(epoch, value) for epoch, value in zip(places, column, strict=True) if value is not None]
        if not held:
            return None
        return Curve(name, tuple(epoch for epoch, _ in held), tuple(value for _, value in held))

    def _places(self, name: str, column: _Column) -> tuple[int, ...] | None:
        count, total = len(column), len(self.epochs)
        if count == total:
            return self.epochs
        shown = escape(name, 60)
        if not name.startswith(VALIDATION_PREFIX) or not count or count > total:
            self.notes.append(f"left out: {shown} ({count:,} values for {total:,} epochs)")
            return None
        fitting = [every for every in range(1, total + 1) if total // every == count]
        every = self.validation_freq if self.validation_freq in fitting else None
        if every is None and len(fitting) == 1:
            every = fitting[0]
        if every is None:
            fits = f"every {fitting[0]} to {fitting[-1]}" if fitting else "no even distance"
            self.notes.append(
                f"left out: {shown} ({count:,} values for {total:,} epochs: {fits} fits; say which with --validation-freq)"
            )
            return None
        note = f"validation every {every} epochs, as its number of values tells"
        if note not in self.notes:
            self.notes.append(note)
        return self.epochs[every - 1 :: every]

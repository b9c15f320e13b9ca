"""Tables of CSVLogger: separators, repeated headers, missing cells, resumed runs."""

from __future__ import annotations

import csv
import io
import re
from dataclasses import dataclass, field

from actviz.errors import InputError, LimitError, escape
from actviz.history.history_records import RawColumns

MAXIMUM_CELLS = 3_000_000
MAXIMUM_COLUMNS = 1000
MAXIMUM_EPOCH = 1 << 53

EPOCH = "epoch"
_SEPARATORS = ",;\t|"
_MISSING = frozenset({"", "na", "n/a", "null", "none", "-"})
_DECIMAL_COMMA = re.compile(r"[+-]?\d+,\d+(?:[eE][+-]?\d+)?")
_VECTOR = re.compile(r'"*[\[(](.*)[\])]"*', re.DOTALL)


def read_table(text: str, name: str) -> RawColumns:
    """Return the metrics of a table whose first row names its columns.

    The separator is the most frequent one of comma, semicolon, tab and bar in the first row. The
    column ``epoch`` (or an unnamed first one, the index of a data frame) numbers the rows. A
    repeated header, as written by appending, is recognized. If the numbers start again, they
    continue after the last epoch; if they go back to the middle, as after resuming, the later rows
    replace the earlier ones.

    Raises
    ------
    InputError
        If it is not a table of numbers with a header.
    LimitError
        If it has more than `MAXIMUM_CELLS` or `MAXIMUM_COLUMNS`.
    """
    first = text.lstrip("\r\n").split("\n", 1)[0]
    separator = max(_SEPARATORS, key=first.count)
    table = _EpochTable(name, comma=separator != ",")
    try:
        for cells in csv.reader(io.StringIO(text, newline=""), delimiter=separator):
            table.add_row([cell.strip() for cell in cells])
    except csv.Error:
        message = f"{name}: malformed CSV (a cell that is too long, or a NUL byte); write it again with CSVLogger."
        raise InputError(message) from None
    return table.columns()


@dataclass(slots=True)
class _EpochTable:
    """The rows read so far, by epoch."""

    name: str
    comma: bool
    header: list[str] | None = None
    names: dict[str, None] = field(default_factory=dict)
    rows: dict[int, dict[str, object]] = field(default_factory=dict)
    shift: int = 0
    first: int = 0
    previous: int | None = None
    seams: list[int] = field(default_factory=list)
    replaced: set[int] = field(default_factory=set)
    ragged: int = 0
    cells: int = 0

    def add_row(self, cells: list[str]) -> None:
        """Add one row, given as its cells."""
        if not any(cells):
            return
        if self.header is None or self._is_header(cells):
            self._set_header(cells)
            return
        self.cells += len(cells)
        if self.cells > MAXIMUM_CELLS:
            message = f"{self.name}: more than {MAXIMUM_CELLS:,} cells; give a smaller table."
            raise LimitError(message)
        if len(cells) != len(self.header):
            self.ragged += 1
        row = {key: self._value(cell) for key, cell in zip(self.header, cells, strict=False)}
        row.pop("", None)
        written = cells[self.header.index(EPOCH)] if EPOCH in row else None
        row.pop(EPOCH, None)
        given = {key: value for key, value in row.items() if value is not None}
        epoch = self._epoch(written, given)
        earlier = self.rows.setdefault(epoch, {})
        if earlier.keys() & given.keys():
            self.replaced.add(epoch)
        earlier |= given

    def _is_header(self, cells: list[str]) -> bool:
        """Return True if a row repeats the header: its first cell does, and no cell is a number."""
        header = self.header or []
        same = cells[0].lower() == (header[0] if header else "") or cells[0].lower() == EPOCH
        return same and not any(_is_number(cell) for cell in cells)

    def _set_header(self, cells: list[str]) -> None:
        if len(cells) > MAXIMUM_COLUMNS:
            message = (
                f"{self.name}: {len(cells):,} columns, at most {MAXIMUM_COLUMNS:,} are read; give a smaller table."
            )
            raise LimitError(message)
        if any(_is_number(cell) for cell in cells) or not any(cells):
            message = f"{self.name}: no history: the first row of a table must name its columns, such as epoch,loss,val_loss; this one starts with {escape(cells[0], 40)!r}."
            raise InputError(message)
        names = [
            EPOCH if cell.lower() == EPOCH or (not index and not cell) else cell for index, cell in enumerate(cells)
        ]
        duplicate = next((cell for cell in names if cell and names.count(cell) > 1), None)
        if duplicate is not None:
            message = f'{self.name}: two columns are named "{escape(duplicate, 60)}"; give each a different name.'
            raise InputError(message)
        self.header = names
        self.names |= dict.fromkeys(cell for cell in names if cell and cell != EPOCH)

    def _epoch(self, written: str | None, given: dict[str, object]) -> int:
        """Return the epoch of a row, shifted by those of earlier calls of ``fit``."""
        if written is None:
            return len(self.rows)
        number = _integer(written)
        if number is None:
            message = f'{self.name}: the epoch "{escape(written, 40)}" is not an integer; write the table again with CSVLogger.'
            raise InputError(message)
        if self.previous is None:
            self.first = number
        elif number == self.first and self.rows[number + self.shift].keys() & given.keys():
            self.shift = max(self.rows) + 1 - number
            self.seams.append(number + self.shift)
        self.previous = number
        return number + self.shift

    def _value(self, cell: str) -> object:
        """Return the number or the list of numbers in a cell, ``None`` if it is missing, its text otherwise."""
        if cell.lower() in _MISSING:
            return None
        if self.comma and _DECIMAL_COMMA.fullmatch(cell):
            cell = cell.replace(",", ".")
        try:
            return float(cell)
        except ValueError:
            pass
        vector = _VECTOR.fullmatch(cell)
        if vector is None:
            return cell
        try:
            return [float(part) for part in vector[1].replace(",", " ").split()]
        except ValueError:
            return cell

    def columns(self) -> RawColumns:
        """Return one list per column, with ``None`` for missing cells."""
        if not self.rows:
            message = f"{self.name}: no history: the table has a header but no row; train for one epoch at least."
            raise InputError(message)
        epochs = sorted(self.rows)
        metrics = tuple((name, [self.rows[epoch].get(name) for epoch in epochs]) for name in self.names)
        notes = []
        if self.ragged:
            notes.append(f"{self.ragged:,} rows have more or fewer cells than the header")
        if self.replaced:
            notes.append(f"{len(self.replaced):,} epochs occur twice in the table (resumed); the later rows are drawn")
        numbered = epochs if self.previous is not None else None
        return RawColumns(metrics, numbered, tuple(self.seams), tuple(notes))


def _integer(cell: str) -> int | None:
    """Return an integer, also if it is written as ``12.0``, or None."""
    try:
        number = float(cell)
    except ValueError:
        return None
    return int(number) if number.is_integer() and abs(number) < MAXIMUM_EPOCH else None


def _is_number(cell: str) -> bool:
    try:
        float(cell.replace(",", "."))
    except ValueError:
        return False
    return True

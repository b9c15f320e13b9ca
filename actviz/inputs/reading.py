"""Read input files as samples; the type is detected from the content."""

from __future__ import annotations

import hashlib
import itertools
import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from actviz.errors import InputError, LimitError, escape
from actviz.gate import file_type, npy
from actviz.inputs import text_files
from actviz.inputs.array_checks import as_supported, check_finite, listed, to_batch
from actviz.inputs.arrays import read_archive
from actviz.inputs.audio import sample_of_wav
from actviz.inputs.image_resize import check_takes_images
from actviz.inputs.images import DECODERS, decode
from actviz.inputs.input_files import MODEL_FILES
from actviz.inputs.samples import sample_of_arrays, sample_of_image
from actviz.system import file_system

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from typing import Any, Protocol

    from numpy.typing import NDArray

    from actviz.inputs.input_function import InputFunction
    from actviz.inputs.input_options import InputOptions
    from actviz.inputs.preprocessing import Preprocessing
    from actviz.records import Sample, TensorSpec

    class _Rows(Protocol):
        """Samples by index, each with a batch axis of size 1."""

        def __len__(self) -> int: ...

        def __getitem__(self, number: int, /) -> NDArray[Any]: ...


MAX_IMAGE_BYTES = 1 << 30
# Larger arrays are read in parts of about this size.
CHUNK_BYTES = 16 << 20
LINES = "lines"
FUNCTION = "function"


def read_samples(
    path: str | Path, specs: tuple[TensorSpec, ...], preprocessing: Preprocessing, options: InputOptions
) -> list[Sample]:
    """Return the samples of a file.

    Raises
    ------
    ActvizError
        When the file cannot be read, is unsafe or too large, or does not fit the inputs.
    """
    return list(samples_in(open_input(path, specs, options.function), specs, preprocessing, options))


@dataclass(frozen=True, slots=True)
class OpenedInput:
    """An input file of a known type that is not decoded yet.

    `kind` is that of `file_type.kind_of`, ``lines``, or ``function`` if the function of the user reads it.
    `content` is empty then, and for an array that is too large for memory; `header` is set for that.
    """

    path: Path
    kind: str
    content: bytes
    header: npy.NpyHeader | None = None

    @property
    def is_image(self) -> bool:
        """Return True if the file is an image."""
        return self.kind in DECODERS

    @property
    def count(self) -> int:
        """The number of samples of an array with `header`, else 1."""
        return 1 if self.header is None else self.header.shape[0]

    def digest(self) -> str:
        """Return the SHA-256 of `content`."""
        return hashlib.sha256(self.content).hexdigest()


def open_input(path: str | Path, specs: tuple[TensorSpec, ...], function: InputFunction | None = None) -> OpenedInput:
    """Open an input file and read its content, except that of large arrays and of files that a function reads.

    Raises
    ------
    ActvizError
        When the file cannot be read, is no input or is too large.
    """
    path = Path(path)
    label = str(path)
    if file_system.is_folder(path):
        if any(file_system.exists(path / name) for name in MODEL_FILES):
            raise file_type.model_refusal(label)
        raise InputError(f"{label}: this is a folder; name the files in it, for instance {label}/*.png.")
    if function is not None:
        with file_system.reading(path):  # refuses what is no regular file as for all inputs
            return OpenedInput(path, FUNCTION, b"")
    return _load(path, label, specs)


def samples_in(
    opened: OpenedInput,
    specs: tuple[TensorSpec, ...],
    preprocessing: Preprocessing,
    options: InputOptions,
    window: tuple[int, int | None] = (0, None),
) -> Iterator[Sample]:
    """Yield the samples of an opened file lazily; see `read_samples`.

    `window` are the first of them and the one after the last (``None``: to the end).
    """
    path, kind, content = opened.path, opened.kind, opened.content
    label = str(path)
    first, end = window
    inputs: dict[str, _Rows]
    if kind == FUNCTION and options.function is not None:
        inputs = _rows_of_function(options.function, path, specs, options)
    elif kind == "zip":
        arrays = read_archive(content, tuple(spec.name for spec in specs), label)
        labels = [label if len(specs) == 1 else f"{label}[{spec.name}]" for spec in specs]
        inputs = {
            spec.name: _rows(arrays[spec.name], spec, of, options) for spec, of in zip(specs, labels, strict=True)
        }
    else:
        spec = _only(specs, label)
        if opened.is_image:
            yield _sample_of_image(opened, spec, preprocessing, options)
            return
        if kind == "WAV":
            yield sample_of_wav(content, spec, options, path)
            return
        if kind == LINES:
            inputs = {spec.name: text_files.parse_rows(content, spec, label)}
        elif opened.header is not None:
            inputs = {spec.name: _RowsOnDisk(path, opened.header, spec, options, window)}
        else:
            header = npy.read_header(content[: file_type.HEAD_BYTES], len(content), label)
            inputs = {spec.name: _rows(npy.array_of(content, header, label), spec, label, options)}
    count = None if end is None else end - first
    yield from itertools.islice(_samples(inputs, specs, preprocessing, options, path, first), count)


def _sample_of_image(
    opened: OpenedInput, spec: TensorSpec, preprocessing: Preprocessing, options: InputOptions
) -> Sample:
    label = str(opened.path)
    shape = check_takes_images(spec, label)
    if shape.frame_axis is not None and options.frame:
        raise InputError(f"{label}: --frame {options.frame} chooses one frame, but the input takes all; leave it out.")
    channels = None if shape.any_channels else shape.channels
    image = decode(opened.content, opened.kind, label, channels, options, frames=shape.frame_axis is not None)
    return sample_of_image(image, spec, preprocessing, options, opened.path)


def _rows(array: NDArray[Any], spec: TensorSpec, label: str, options: InputOptions) -> list[NDArray[Any]]:
    batch = to_batch(array, spec, label, options)
    return [batch[number : number + 1] for number in range(len(batch))]


def _rows_of_function(
    function: InputFunction, path: Path, specs: tuple[TensorSpec, ...], options: InputOptions
) -> dict[str, _Rows]:
    """Return the samples that a function of the user reads from a file; a single array is for a single input."""
    names = [spec.name for spec in specs]
    result = function.read(path)
    if isinstance(result, dict):
        arrays = {names[0]: next(iter(result.values()))} if len(result) == len(specs) == 1 else result
    elif len(specs) == 1:
        arrays = {names[0]: result}
    else:
        message = f"{path}: {function.name} returned one array, but the model takes {listed(names)}; return a dictionary of arrays by these names, or give a file for each (--input {escape(names[0], 40)}=FILE ...)."
        raise InputError(message)
    missing = [name for name in names if name not in arrays]
    if missing:
        message = f"{path}: {function.name} returned no array for the input {listed(missing)}; it returned {listed(list(arrays)) or 'none'}."
        raise InputError(message)
    rows: dict[str, _Rows] = {}
    for spec in specs:
        label = f"{path} as read by {function.name}" + (f"[{spec.name}]" if len(specs) > 1 else "")
        rows[spec.name] = _rows(as_supported(arrays[spec.name], spec, label), spec, label, options)
    return rows


class _RowsOnDisk:
    """The samples of a large `.npy` file, read in blocks; efficient if those of a `window` are accessed in order."""

    def __init__(
        self,
        path: Path,
        header: npy.NpyHeader,
        spec: TensorSpec,
        options: InputOptions,
        window: tuple[int, int | None],
    ) -> None:
        self._path, self._header, self._spec, self._options = path, header, spec, options
        self._row = math.prod(header.shape[1:]) * header.dtype.itemsize
        self._count = max(1, CHUNK_BYTES // max(1, self._row))
        first, end = window
        self._start, self._end = 0, len(self) if end is None else min(end, len(self))
        self._stamp: file_system.FileStamp | None = None
        self._batch = self._read(min(first, len(self) - 1))

    def __len__(self) -> int:
        return self._header.shape[0]

    def __getitem__(self, number: int) -> NDArray[Any]:
        if not self._start <= number < self._start + len(self._batch):
            self._batch = self._read(number)
        index = number - self._start
        return self._batch[index : index + 1]

    def _read(self, number: int) -> NDArray[Any]:
        """Read samples from `number` on; the file must not have changed since the first call."""
        label = str(self._path)
        count = max(1, min(self._count, self._end - number))
        with file_system.reading(self._path) as (file, _):
            stamp = file_system.stamp(file)
            if self._stamp not in {None, stamp}:
                raise InputError(f"{label}: changed while reading; wait until it is written and run again.")
            self._stamp = stamp
            file.seek(self._header.start + number * self._row)
            content = file.read(count * self._row)
        header = replace(self._header, shape=(count, *self._header.shape[1:]), start=0)
        self._start = number
        return to_batch(npy.array_of(content, header, label), self._spec, label, self._options)


def _stays_on_disk(header: npy.NpyHeader, spec: TensorSpec, size: int) -> bool:
    """Return True if the samples of an array are read in blocks: it is large and in C order."""
    ranks = {len(spec.shape)} if spec.shape else set(range(1, npy.MAX_RANK + 1))
    texts = spec.dtype == "string"
    return size > CHUNK_BYTES and len(header.shape) in ranks and header.shape[0] > 1 and not (header.fortran or texts)


def _load(path: Path, label: str, specs: tuple[TensorSpec, ...]) -> OpenedInput:
    """Detect the type of a file and read it, unless it is no input or too large."""
    with file_system.reading(path) as (file, size):
        head = file.read(file_type.HEAD_BYTES)
        kind = file_type.kind_of(head)
        if kind is None:
            kind = _lines_or_refused(head, size, label, specs)
        if kind == "npy":
            spec = _only(specs, label)
            header = npy.read_header(head, size, label, limit=max(size, npy.MAX_BYTES))
            if _stays_on_disk(header, spec, size):
                return OpenedInput(path, kind, b"", header)
            npy.read_header(head, size, label)
        limit = {LINES: text_files.MAX_BYTES}.get(
            kind, MAX_IMAGE_BYTES if kind in DECODERS else npy.MAX_BYTES + (1 << 20)
        )
        if size > limit:
            raise LimitError(f"{label}: {size:,} bytes, at most {limit:,} are read; give a smaller file.")
        content = head + file.read(max(0, size - len(head)))
    return OpenedInput(path, kind, content)


def _lines_or_refused(head: bytes, size: int, label: str, specs: tuple[TensorSpec, ...]) -> str:
    """Return `LINES` for a file of unknown type if the input takes lines of text, or refuse it."""
    takes = [text_files.takes_lines(spec) for spec in specs]
    text = all(spec.dtype == "string" for spec in specs)
    if any(takes) and file_type.is_lines(head, size, label, text=text):
        _only(specs, label)
        return LINES
    accepted = file_type.ACCEPTED_TEXT if text else file_type.ACCEPTED_NUMBERS
    raise file_type.refusal(head, size, label, accepted if all(takes) else file_type.ACCEPTED)


def _samples(  # noqa: PLR0913  (one more than allowed: the number of the first row)
    inputs: Mapping[str, _Rows],
    specs: tuple[TensorSpec, ...],
    preprocessing: Preprocessing,
    options: InputOptions,
    path: Path,
    first: int,
) -> Iterator[Sample]:
    """Yield one sample for each row of the inputs from the `first` on; a row has a batch axis of size 1."""
    counts = {len(rows) for rows in inputs.values()}
    if len(counts) != 1:
        message = f"{path}: the inputs hold different numbers of samples ({', '.join(str(count) for count in sorted(counts))}); the same number of each was expected."
        raise InputError(message)
    count = counts.pop()
    origin = "as given" if options.function is None else f"by {options.function.label}"
    for number in range(first, count):
        name = path.name if count == 1 else f"{path.name}[{number}]"
        label = str(path) if count == 1 else f"{path}[{number}]"
        values = {key: rows[number] for key, rows in inputs.items()}
        notes = _array_notes(values, specs, preprocessing, options, label) if not number else ()
        for value in values.values():
            notes += check_finite(value, label, options)
        yield sample_of_arrays(values, specs, name, notes, origin)


def _array_notes(
    values: dict[str, NDArray[Any]],
    specs: tuple[TensorSpec, ...],
    preprocessing: Preprocessing,
    options: InputOptions,
    label: str,
) -> tuple[str, ...]:
    """Return notes on options that do not apply to arrays, and on values that are probably wrong.

    Values 0..255 for a network that expects 0..1, and the reverse, cause no error, but the figures are
    meaningless.
    """
    notes = []
    if options.invert:
        notes.append(f"{label}: --invert is for images; the array is fed as it is.")
    values_of = values[specs[0].name]
    is_image = {"row", "column", "channel"} <= set(specs[0].axes)
    if len(specs) == 1 and is_image and values_of.dtype.kind in "iuf":
        high = preprocessing.ends[1]
        top = float(values_of.max())
        if top > max(4 * high, 4.0) or (high >= 100 and 0 < top <= 1):  # noqa: PLR2004  (caffe and 0..255 go beyond 100)
            notes.append(
                f"{label}: its largest value is {top:.4g}, but images are fed to this model as {preprocessing.description}; arrays are fed as they are."
            )
    return tuple(notes)


def _only(specs: tuple[TensorSpec, ...], label: str) -> TensorSpec:
    """Return the only input, for a file that has the samples of one.

    Raises
    ------
    InputError
        When the model has several.
    """
    if len(specs) == 1:
        return specs[0]
    names, first = listed([spec.name for spec in specs]), escape(specs[0].name, 40)
    message = f"{label}: one file for a model with {len(specs)} inputs ({names}); give a file for each (--input {first}=FILE ...), or an .npz with an array for each, by these names."
    raise InputError(message)

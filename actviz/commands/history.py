"""`history`: the learning curves of training histories in one figure."""

from __future__ import annotations

import itertools
import re
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from actviz.batch.events import FileWritten, Note
from actviz.errors import ActvizError, InputError, LimitError, PartialError, UsageError, worst
from actviz.history import CurveStyle, NotAHistoryError, TrainingRun, is_model_folder, read_run
from actviz.results import output_files
from actviz.system import file_system, folders
from actviz.version import VERSION

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

SUFFIXES = frozenset({".json", ".csv", ".tsv", ".npy", ".pkl", ".pickle"})
FORMATS = (".png", ".svg", ".pdf")
OTHER_FORMATS = frozenset({".jpg", ".jpeg", ".gif", ".webp", ".bmp", ".tif", ".tiff", ".eps", ".ps"})
MAXIMUM_RUNS = 40

_NAMED_METRICS = 100
_SHOWN = 80
_SHOWN_NOTES = 8


@dataclass(frozen=True, slots=True)
class HistoryRequest:
    """The arguments of the command."""

    files: tuple[Path, ...]
    output: str | None
    style: CurveStyle
    overwrite: bool = False
    validation_freq: int | None = None
    fail_fast: bool = False


def history(request: HistoryRequest) -> Iterator[Note | FileWritten]:
    """Draw the curves of every run into one figure; yield events.

    Raises
    ------
    ActvizError
        If nothing could be drawn; `PartialError` at the end if a file failed.
    """
    if request.output is not None and Path(request.output).suffix.lower() in OTHER_FORMATS:
        message = f"-o {request.output}: learning curves are written as PNG, SVG or PDF; give a name that ends in .png, .svg or .pdf."
        raise UsageError(message)
    runs, failures, skipped = _read(request)
    yield from map(Note, skipped)
    yield from (Note(failure.message, is_failure=True) for failure in failures)
    identity = _identity(request.files)
    from actviz.history import diagnosis

    metrics = diagnosis.metrics_of([run for run, _ in runs], request.style.metrics)
    target = _target(request, identity)
    names = distinct_names([path for _, path in runs])
    yield from _draw(request, _LoadedRuns([run for run, _ in runs], names, metrics, identity, target))
    if failures:
        count = len(runs) + len(failures)
        raise PartialError(f"{len(failures)} of {count} files failed, for the reasons above; the rest is drawn.")


_Read = list[tuple[TrainingRun, Path]]


def _read(request: HistoryRequest) -> tuple[_Read, list[ActvizError], list[str]]:
    """Read every file; return the runs, the failures, and notes about files in folders that are not histories."""
    runs: _Read = []
    failures: list[ActvizError] = []
    skipped: list[str] = []
    for path, listed in _files(request.files):
        try:
            runs.append((read_run(path, request.validation_freq), path))
        except ActvizError as failure:
            if listed and isinstance(failure, NotAHistoryError):
                skipped.append(f"skipped: {failure.message}")
            elif request.fail_fast:
                raise
            else:
                failures.append(failure)
        if len(runs) > MAXIMUM_RUNS:
            message = f"more than {MAXIMUM_RUNS} runs cannot be told apart in one figure; name those to compare."
            raise LimitError(message)
    if not runs:
        if failures:
            raise worst(failures)
        message = f"{request.files[0]}: no history in this folder ({', '.join(sorted(SUFFIXES))} are looked for); name the file."
        raise InputError(message)
    return runs, failures, skipped


def _files(paths: Sequence[Path]) -> Iterator[tuple[Path, bool]]:
    """Yield every file to read, and whether it comes from a folder instead of the command line."""
    for path in paths:
        if not file_system.is_folder(path):
            yield path, False
        elif is_model_folder(path):
            message = (
                f"{path}: this is the folder of a model, not a history of training; draw it with: actviz show {path}"
            )
            raise InputError(message)
        else:
            yield from ((file, True) for file in _in_folder(path))


def _in_folder(folder: Path) -> list[Path]:
    """Return the files of a folder that can be histories; if there are none, those one level below."""
    subfolders = [
        entry
        for entry in folders.list_folder(folder)
        if not entry.name.startswith(".") and file_system.is_folder(entry) and not file_system.is_link(entry)
    ]
    below = (_histories_in(subfolder) for subfolder in subfolders if not is_model_folder(subfolder))
    return _histories_in(folder) or list(itertools.chain.from_iterable(below))


def _histories_in(folder: Path) -> list[Path]:
    return [
        entry
        for entry in folders.list_folder(folder)
        if entry.suffix.lower() in SUFFIXES and not file_system.is_folder(entry) and not entry.name.startswith(".")
    ]


def distinct_names(paths: Sequence[Path]) -> tuple[str, ...]:
    """Return names for runs: file names, with as many parent folders as make them different."""
    parts = [path.parts for path in paths]
    for kept in range(1, max(map(len, parts)) + 1):
        names = ["/".join(part[-kept:]) for part in parts]
        if len(set(names)) == len(names):
            return tuple(names)
    return tuple(f"{number}: {path.name}" for number, path in enumerate(paths, start=1))


def stem_of(path: Path) -> str:
    """Return the stem of a figure's name: ``digits.history.json`` -> ``digits``."""
    name = path.name if file_system.is_folder(path) else path.stem
    return re.sub(r"[._-]?history$", "", name, flags=re.IGNORECASE)


def _identity(files: Sequence[Path]) -> dict[str, str]:
    """Return the provenance that a figure must have to be replaced: the names of its files, in order."""
    return {"history": ", ".join(path.resolve().name if path.name in {"", ".."} else path.name for path in files)}


def _target(request: HistoryRequest, identity: dict[str, str]) -> Path:
    """Return the path of the figure after checking that it may be written."""
    given = request.output or ""
    target = Path(given)
    if not given.lower().endswith(FORMATS):
        target /= default_name(request.files)
    output_files.check_output(target, identity, overwrite=request.overwrite)
    return target


def default_name(files: Sequence[Path]) -> str:
    """Return the file name of a figure: ``STEM_history.png``, with up to two stems in it."""
    stems = [stem_of(path if path.name not in {"", ".."} else path.resolve()) for path in files]
    more = [] if len(files) == 1 else ["vs", stems[1]] if len(files) == 2 else ["and", str(len(files) - 1), "more"]  # noqa: PLR2004  (two are both named)
    parts = [part for part in (stems[0], *more, "history") if part]
    return f"{output_files.slug('_'.join(parts))}.png"


@dataclass(frozen=True, slots=True)
class _LoadedRuns:
    """The runs, and the path of their figure."""

    runs: list[TrainingRun]
    names: tuple[str, ...]
    metrics: tuple[str, ...]
    identity: dict[str, str]
    target: Path


def _draw(request: HistoryRequest, work: _LoadedRuns) -> Iterator[Note | FileWritten]:
    from actviz.history import curves_figure, summary
    from actviz.history.figure_data import CurvesFigureData

    style, runs = request.style, work.runs
    if len(runs) == 1:
        facts = summary.facts_of(runs[0], work.metrics, style.best)
        title = work.names[0]
    else:
        facts = summary.comparison_of(runs, work.names, work.metrics, style.best)
        title = work.identity["history"] if len(request.files) == 1 else "Learning curves"
    notes = tuple(f"{run.file}: {note}" if len(runs) > 1 else note for run in runs for note in run.notes)
    smoothed = (f"smoothed: each point is the mean of {style.smooth} epochs around it",) if style.smooth > 1 else ()
    subject = CurvesFigureData(tuple(runs), work.names, work.metrics, style, title, facts, (*_few(notes), *smoothed))
    record = {
        "schema": 1,
        "actviz": VERSION,
        "file": str(work.target),
        "summary": summary.sentence(facts),
        "runs": [summary.record_of(run, work.metrics, style.best) for run in runs],
    }
    suffix = work.target.suffix.lower()
    if suffix == ".png":
        output_files.write_figure(work.target, curves_figure.draw_png(subject), _provenance(request, work))
    else:
        drawing = curves_figure.draw_vector(subject, suffix)
        output_files.write_drawing(work.target, drawing, _provenance(request, work))
    yield FileWritten(work.target, record)
    for note in notes:
        yield Note(note)
    yield Note(summary.sentence(facts))


def _few(notes: tuple[str, ...]) -> tuple[str, ...]:
    """Return the notes for the caption; all of them are printed on stderr."""
    rest = len(notes) - _SHOWN_NOTES
    return notes if rest <= 0 else (*notes[:_SHOWN_NOTES], f"{rest} more notes")


def _provenance(request: HistoryRequest, work: _LoadedRuns) -> dict[str, Any]:
    """Return the provenance of the figure, without date and folders."""
    import matplotlib as mpl  # after drawing, which imports it with its log messages suppressed

    return {
        "actviz": VERSION,
        "kind": "history",
        **work.identity,
        "runs": [{"file": run.file, "sha256": run.digest, "epochs": len(run.epochs)} for run in work.runs],
        "metrics": [name[:_SHOWN] for name in work.metrics[:_NAMED_METRICS]],
        "style": asdict(request.style),
        "versions": {"matplotlib": mpl.__version__},
    }

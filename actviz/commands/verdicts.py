"""What `check` and `diff` share: where their results go beside the terminal."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from actviz.batch.events import FileWritten, Note
from actviz.layer_catalogue import passes_on
from actviz.results import ci_reports as texts

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from actviz.records import LayerInfo, RuleResult

HEAD_BYTES = 400


@dataclass(frozen=True, slots=True)
class ReportTargets:
    """Where results go beside the terminal.

    `junit` is a file that was asked for; `github` says that the command runs in a GitHub
    workflow, `summary` is the file of the job's page there.
    """

    junit: Path | None = None
    github: bool = False
    summary: Path | None = None


@dataclass(frozen=True, slots=True)
class Verdict:
    """The result: a table for people, and everything in numbers for ``--json``."""

    table: str
    record: dict[str, Any]


def prepare(reports: ReportTargets, command: str, *, overwrite: bool) -> None:
    """Decide before any work whether the reports may be written.

    Raises
    ------
    OutputError
        When something else stands there, or the folder cannot be written to.
    """
    from actviz.results import output_files

    if reports.junit is not None:
        kind = output_files.ResultKind("report", _command_of)
        output_files.check_output(reports.junit, {"command": command}, kind, overwrite=overwrite)


def _command_of(path: Path) -> dict[str, str] | None:
    """Return which command wrote a JUnit file, ``None`` where it was none of actviz's."""
    from actviz.errors import OutputError
    from actviz.system import file_system

    with file_system.reading(path, OutputError) as (file, _):
        head = file.read(HEAD_BYTES)
    mark = b'<testsuites name="actviz '
    _, found, rest = head.partition(mark)
    return {"command": rest.partition(b'"')[0].decode("ascii", "replace")} if found else None


def publish(findings: texts.CheckResults, reports: ReportTargets) -> Iterator[Note | FileWritten]:
    """Write the reports; yield what is said where annotations are read, and the files."""
    from actviz.system import file_writing

    if reports.junit is not None:
        file_writing.write_file(reports.junit, texts.junit(findings))
        yield FileWritten(reports.junit)
    if reports.github:
        for line in texts.github_commands(findings):
            yield Note(line, plain=True)
        if reports.summary is not None:
            file_writing.append_file(reports.summary, texts.summary(findings).encode())


def own_layers(layers: Sequence[LayerInfo]) -> list[LayerInfo]:
    """Return the layers whose output is not simply their input; scores of attention cost a call more."""
    return [layer for layer in layers if passes_on(layer.kind) != "all" and not layer.address.endswith("@scores")]


def case_said(case: RuleResult) -> dict[str, Any]:
    """Return a case for JSON."""
    return {"layer": case.subject, "limit": case.rule, "kept": case.kept, "reason": case.reason}


def number(value: float, digits: int = 4) -> str:
    """Return a number for a table, ``-`` where there is none."""
    return "-" if math.isnan(value) else f"{value:.{digits}g}"


def finite(value: float) -> float | None:
    """Return a number for JSON, ``None`` for what JSON does not have."""
    return value if math.isfinite(value) else None

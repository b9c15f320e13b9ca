"""The end of `check` and `diff`: the verdict, reports for CI, and the exit code."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from actviz.batch.events import FileWritten, Note
from actviz.batch.requests import partial
from actviz.errors import OutputError, ToleranceError
from actviz.layer_catalogue import passes_on
from actviz.results import ci_reports, output_files
from actviz.system import file_system, file_writing

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from actviz.records import LayerInfo, RuleResult

HEAD_BYTES = 400


@dataclass(frozen=True, slots=True)
class ReportTargets:
    """Where results go in addition to the terminal.

    `junit` is the path of a JUnit file; `github` is True in a GitHub workflow, whose summary page is the file
    `summary`. With `exit_zero` a broken rule does not change the exit code.
    """

    junit: Path | None = None
    github: bool = False
    summary: Path | None = None
    exit_zero: bool = False


@dataclass(frozen=True, slots=True)
class Verdict:
    """The result: a table for the terminal, and all numbers for ``--json``."""

    table: str
    record: dict[str, Any]


def prepare(reports: ReportTargets, command: str, *, overwrite: bool) -> None:
    """Check before any work that the reports may be written.

    Raises
    ------
    OutputError
        If the path is taken by another file, or the folder is not writable.
    """
    if reports.junit is not None:
        kind = output_files.ResultKind("report", _command_of)
        output_files.check_output(reports.junit, {"command": command}, kind, overwrite=overwrite)


def _command_of(path: Path) -> dict[str, str] | None:
    """Return the command that wrote a JUnit file, ``None`` if it was not actviz."""
    with file_system.reading(path, OutputError) as (file, _):
        head = file.read(HEAD_BYTES)
    mark = b'<testsuites name="actviz '
    _, is_ours, rest = head.partition(mark)
    return {"command": rest.partition(b'"')[0].decode("ascii", "replace")} if is_ours else None


def publish(findings: ci_reports.CheckResults, reports: ReportTargets) -> Iterator[Note | FileWritten]:
    """Write the reports; yield the workflow commands of GitHub, and the files."""
    if reports.junit is not None:
        file_writing.write_file(reports.junit, ci_reports.junit(findings))
        yield FileWritten(reports.junit)
    if reports.github:
        for line in ci_reports.github_commands(findings):
            yield Note(line, plain=True)
        if reports.summary is not None:
            file_writing.append_file(reports.summary, ci_reports.summary(findings).encode())


def conclude(
    findings: ci_reports.CheckResults,
    record: dict[str, Any],
    reports: ReportTargets,
    reason: Callable[[ci_reports.CheckResults], str],
) -> Iterator[Note | FileWritten | Verdict]:
    """Write the reports and yield the verdict, then raise the error of the exit code.

    `record` holds the result for ``--json``; `reason` returns the message if a rule is broken.

    Raises
    ------
    ToleranceError
        If a rule is broken.
    PartialError
        If an input failed.
    """
    yield from publish(findings, reports)
    yield Verdict(ci_reports.table(findings), record)
    if findings.broken and not reports.exit_zero:
        raise ToleranceError(reason(findings))
    if findings.broken:
        yield Note(reason(findings))
    if findings.failures:
        raise partial(len(findings.failures), len(findings.failures) + record["inputs"])


def own_layers(layers: Sequence[LayerInfo]) -> list[LayerInfo]:
    """Return the layers that change their input, without attention scores, which need a second call of the layer."""
    return [layer for layer in layers if passes_on(layer.kind) != "all" and not layer.address.endswith("@scores")]


def case_record(case: RuleResult) -> dict[str, Any]:
    """Return the result of a rule as values for JSON."""
    return {"layer": case.subject, "limit": case.rule, "kept": case.kept, "reason": case.reason}


def number(value: float, digits: int = 4) -> str:
    """Return a number for a table, ``-`` for NaN."""
    return "-" if math.isnan(value) else f"{value:.{digits}g}"


def finite(value: float) -> float | None:
    """Return a number for JSON, ``None`` for NaN and infinities."""
    return value if math.isfinite(value) else None

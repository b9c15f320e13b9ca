"""Results of rules about layers in the formats of CI: text tables, JUnit, GitHub, Markdown.

Addresses, file names and reasons come from models and inputs, so each format escapes them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING
from xml.sax import saxutils

from actviz.errors import escape, escape_markdown
from actviz.results.text_table import text_table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from actviz.records import RuleResult

ANNOTATIONS = 10
LONGEST = 500


@dataclass(frozen=True, slots=True)
class CheckResults:
    """The result of a command that evaluates rules.

    `command` is its name, `subject` a short description of what it checked. `rows` are the table
    below `headings`, one per layer, in plain text; `right` the indices of right-aligned columns.
    `cases` are the results of the rules, `failures` the reasons why inputs could not be used.
    """

    command: str
    subject: str
    headings: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    right: frozenset[int]
    cases: tuple[RuleResult, ...]
    failures: tuple[str, ...] = ()

    @property
    def broken(self) -> list[RuleResult]:
        """The cases whose rule is broken, in order."""
        return [case for case in self.cases if not case.kept]

    def reason(self) -> str:
        """Return the reason for the exit code in one line."""
        first, *others = self.broken
        more = f" (and {len(others):,} more)" if others else ""
        return f"{escape(first.subject, 100)}: {first.reason}{more}."


def table(findings: CheckResults) -> str:
    """Return the table as text for a terminal, its columns aligned."""
    return text_table(
        [[escape(cell, 200) for cell in row] for row in (findings.headings, *findings.rows)], findings.right
    )


def junit(findings: CheckResults) -> bytes:
    """Return JUnit XML: a test case for each rule of each layer, an error for each failed input.

    It contains no times, so equal results give equal bytes.
    """
    name = f"actviz {findings.command}"
    failures, errors = len(findings.broken), len(findings.failures)
    counts = f'tests="{len(findings.cases) + errors}" failures="{failures}" errors="{errors}"'
    lines = [
        '<?xml version="1.0" encoding="UTF-8"?>',
        f'<testsuites name="{_xml(name)}" {counts}>',
        f'  <testsuite name="{_xml(f"{name} {findings.subject}")}" {counts} skipped="0">',
    ]
    for case in findings.cases:
        opening = f'    <testcase classname="{_xml(case.subject)}" name="{_xml(case.rule)}"'
        if case.kept:
            lines.append(f"{opening}/>")
        else:
            message = _xml(f"{case.subject}: {case.reason}")
            lines += [
                f"{opening}>",
                f'      <failure message="{message}" type="limit">{message}</failure>',
                "    </testcase>",
            ]
    for failure in findings.failures:
        file = failure.partition(": ")[0]  # reasons begin with the name of the input
        lines += [
            f'    <testcase classname="inputs" name="{_xml(file)}">',
            f'      <error message="{_xml(failure)}" type="input">{_xml(failure)}</error>',
            "    </testcase>",
        ]
    lines += ["  </testsuite>", "</testsuites>", ""]
    return "\n".join(lines).encode()


def _xml(text: str) -> str:
    return saxutils.escape(escape(text, LONGEST), {'"': "&quot;", "'": "&apos;"})


def github_commands(findings: CheckResults) -> list[str]:
    """Return GitHub workflow commands: an error for each broken case, at most ten.

    GitHub shows ten per step; the last one contains the number of further cases.
    """
    broken = findings.broken
    shown = broken if len(broken) <= ANNOTATIONS else broken[: ANNOTATIONS - 1]
    title = _property(f"actviz {findings.command}: {findings.subject}")
    lines = [f"::error title={title}::{_data(f'{case.subject}: {case.reason}')}" for case in shown]
    if len(shown) < len(broken):
        lines.append(f"::error title={title}::{len(broken) - len(shown)} more; see the summary of the job")
    lines += [f"::warning title={title}::{_data(failure)}" for failure in findings.failures[:ANNOTATIONS]]
    return lines


def _data(text: str) -> str:
    return escape(text, LONGEST).replace("%", "%25")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")


def summary(findings: CheckResults) -> str:
    """Return Markdown for the summary page of a CI job: the broken cases, then the table."""
    broken = findings.broken
    verdict = f"{len(broken)} of {len(findings.cases)} limits broken" if broken else "every limit is kept"
    lines = [f"### actviz {findings.command}: {_markdown(findings.subject)}", "", f"**{verdict}**", ""]
    lines += [f"- {_markdown(f'{case.subject}: {case.reason}')}" for case in broken]
    lines += [f"- not used: {_markdown(failure)}" for failure in findings.failures]
    lines += ["", _row(findings.headings), "|" + "|".join(_rules(findings)) + "|"]
    lines += [_row(row) for row in findings.rows]
    return "\n".join([*lines, "", ""])


def _row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(_markdown(cell) for cell in cells) + " |"


def _rules(findings: CheckResults) -> list[str]:
    return ["---:" if column in findings.right else "---" for column in range(len(findings.headings))]


def _markdown(text: str) -> str:
    return escape_markdown(text, LONGEST)

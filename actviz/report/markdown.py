"""The findings as Markdown, for the summary of a CI job, a pull request or a README file."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any

from actviz.errors import escape_markdown
from actviz.figures import text
from actviz.report.contents import PROBLEM, WARNING
from actviz.report.data import difference_text, shape_text
from actviz.report.findings import verdict
from actviz.report.html_page import change_summary
from actviz.report.report_figures import summary_of

if TYPE_CHECKING:
    from actviz.report.contents import ReportContents, ReportLayer

MAXIMUM_ITEMS, MAXIMUM_ROWS = 40, 400
OPENING, CLOSING = "<!-- actviz ", " -->"
_MARKS = {PROBLEM: "**problem**", WARNING: "warning"}


def render(contents: ReportContents, sheet: str | None, provenance: dict[str, Any]) -> str:
    """Return the verdict, the findings, the changes, a sheet and the table of layers.

    Parameters
    ----------
    contents
        The report.
    sheet
        The file name of a sheet in the same folder, ``None`` without one.
    provenance
        Written into a comment on the first line, by which `read_provenance` recognises the file.
    """
    # Without these characters nothing in the JSON can end the comment.
    record = json.dumps(provenance, sort_keys=True)
    for character in "-<>":
        record = record.replace(character, f"\\u{ord(character):04x}")
    lines = [
        f"{OPENING}{record}{CLOSING}",
        f"### actviz report: {escape_markdown(contents.model)}",
        "",
        f"**{escape_markdown(verdict(contents.findings, contents.count))}**",
        "",
    ]
    items = [
        f"- {_MARKS.get(finding.severity, finding.severity)}: {escape_markdown(finding.address)}: {escape_markdown(finding.text)}"
        for finding in contents.findings
    ]
    lines += _first(items, "finding")
    lines += _changes(contents)
    lines += [f"- not used: {escape_markdown(failure)}" for failure in contents.failures[:MAXIMUM_ITEMS]]
    lines += [
        f"- skipped: {text.plural(files['count'], files['type'] + ' file')} ({escape_markdown(files['reason'])})"
        for files in contents.skipped
    ]
    if sheet is not None:
        lines += ["", f"![The strongest channels of each layer]({sheet})"]
    lines += ["", "<details><summary>Layers</summary>", "", *_table(contents), "", "</details>", ""]
    facts = " · ".join(f"{escape_markdown(term)}: {escape_markdown(value)}" for term, value in contents.facts)
    return "\n".join([*lines, facts, ""])


def read_provenance(content: bytes) -> dict[str, Any] | None:
    """Return the provenance from the first line, ``None`` where actviz did not write the file."""
    line = content.partition(b"\n")[0].decode("utf-8", "replace")
    if not line.startswith(OPENING) or not line.endswith(CLOSING):
        return None
    try:
        record = json.loads(line[len(OPENING) : -len(CLOSING)])
    except (ValueError, RecursionError):
        return None
    return record if isinstance(record, dict) else None


def _first(items: list[str], noun: str) -> list[str]:
    """Return the first items, and a line that counts the others."""
    rest = len(items) - MAXIMUM_ITEMS
    return items[:MAXIMUM_ITEMS] + ([f"- {rest:,} more {noun}s in the report"] if rest > 0 else [])


def _changes(contents: ReportContents) -> list[str]:
    comparison = contents.comparison
    if comparison is None:
        return []
    summary = change_summary(comparison)
    if comparison.changed:
        summary += f" {escape_markdown(comparison.changed[0])}."
    items = [
        f"- {escape_markdown(address)}: {escape_markdown(difference_text(comparison.drifts[address]))}"
        for address in comparison.changed
    ]
    heading = f"Compared with {escape_markdown(comparison.name)}: {summary}"
    return ["", heading, "", *_first(items, "changed layer")]


def _table(contents: ReportContents) -> list[str]:
    lines = ["| layer | class | shape | smallest | largest | dead | zeros |", "|---|---|---|---:|---:|---:|---:|"]
    lines += [_row(layer) for layer in contents.layers[:MAXIMUM_ROWS]]
    rest = len(contents.layers) - MAXIMUM_ROWS
    return lines + ([f"| {rest:,} more layers in the report | | | | | | |"] if rest > 0 else [])


def _row(layer: ReportLayer) -> str:
    cells = [layer.info.address, layer.info.kind, shape_text(layer)]
    if layer.totals is None:
        cells += ["", "", "", ""]
    else:
        summary = summary_of(layer.totals)
        cells += ["none" if math.isnan(summary[key]) else text.number(summary[key]) for key in ("low", "high")]
        cells += [f"{summary['dead']:,} of {summary['channels']:,}" if summary["dead"] else "0"]
        cells += [f"{text.number(100 * summary['zeros'])}%"]
    return "| " + " | ".join(escape_markdown(cell) for cell in cells) + " |"

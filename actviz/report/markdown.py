"""The findings as Markdown, for the summary of a CI job, a pull request or a README file."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from actviz.errors import escape_markdown
from actviz.figures import text
from actviz.report.contents import PROBLEM, WARNING
from actviz.report.data import said_of_drift, shape_of
from actviz.report.findings import verdict
from actviz.report.html_page import error_text
from actviz.report.report_figures import summary_of

if TYPE_CHECKING:
    from actviz.report.contents import ReportContents, ReportLayer

MOST_ITEMS, MOST_ROWS = 40, 400
OPENING, CLOSING = "<!-- actviz ", " -->"
_MARKS = {PROBLEM: "**problem**", WARNING: "warning"}


def render(contents: ReportContents, sheet: str | None, provenance: dict[str, Any]) -> str:
    """Return the verdict, the findings, what changed, a sheet and the table of layers.

    Parameters
    ----------
    contents
        What the report says.
    sheet
        The name of the file of a sheet that lies beside the Markdown, ``None`` without one.
    provenance
        Goes into a comment on the first line, so that the file is known again.
    """
    said = (
        json.dumps(provenance, sort_keys=True).replace("-", "\\u002d").replace("<", "\\u003c").replace(">", "\\u003e")
    )
    lines = [
        f"{OPENING}{said}{CLOSING}",
        f"### actviz report: {escape_markdown(contents.model)}",
        "",
        f"**{escape_markdown(verdict(contents.findings, contents.count))}**",
        "",
    ]
    items = [
        f"- {_MARKS.get(one.severity, one.severity)}: {escape_markdown(one.address)}: {escape_markdown(one.text)}"
        for one in contents.findings
    ]
    lines += _cut(items, "finding")
    lines += _changes(contents)
    lines += [f"- not used: {escape_markdown(failure)}" for failure in contents.failures[:MOST_ITEMS]]
    if sheet is not None:
        lines += ["", f"![The strongest channels of each layer]({sheet})"]
    lines += ["", "<details><summary>Layers</summary>", "", *_table(contents), "", "</details>", ""]
    facts = " · ".join(f"{escape_markdown(word)}: {escape_markdown(value)}" for word, value in contents.facts)
    return "\n".join([*lines, facts, ""])


def read_provenance(content: bytes) -> dict[str, Any] | None:
    """Return what `render` wrote into the first line, ``None`` where the file is none of ours."""
    line = content.partition(b"\n")[0].decode("utf-8", "replace")
    if not line.startswith(OPENING) or not line.endswith(CLOSING):
        return None
    try:
        found = json.loads(line[len(OPENING) : -len(CLOSING)])
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def _cut(items: list[str], noun: str) -> list[str]:
    rest = len(items) - MOST_ITEMS
    return items[:MOST_ITEMS] + ([f"- {rest:,} more {noun}s in the report"] if rest > 0 else [])


def _changes(contents: ReportContents) -> list[str]:
    comparison = contents.comparison
    if comparison is None:
        return []
    lines = ["", f"Compared with {escape_markdown(comparison.name)}: {error_text(comparison, escape_markdown)}", ""]
    items = []
    for address in comparison.changed:
        drift = comparison.drifts[address]
        items.append(f"- {escape_markdown(address)}: {escape_markdown(said_of_drift(drift))}")
    return lines + _cut(items, "changed layer")


def _table(contents: ReportContents) -> list[str]:
    lines = ["| layer | class | shape | smallest | largest | dead | zeros |", "|---|---|---|---:|---:|---:|---:|"]
    lines += [_row(layer) for layer in contents.layers[:MOST_ROWS]]
    rest = len(contents.layers) - MOST_ROWS
    return lines + ([f"| {rest:,} more layers in the report | | | | | | |"] if rest > 0 else [])


def _row(layer: ReportLayer) -> str:
    cells = [layer.info.address, layer.info.kind, shape_of(layer)]
    if layer.totals is None:
        cells += ["", "", "", ""]
    else:
        summary = summary_of(layer.totals)
        cells += [text.number(summary[key]) if summary[key] is not None else "none" for key in ("low", "high")]
        cells += [f"{summary['dead']:,} of {summary['channels']:,}" if summary["dead"] else "0"]
        cells += [f"{text.number(100 * summary['zeros'])}%"]
    return "| " + " | ".join(escape_markdown(cell) for cell in cells) + " |"

"""The report as one HTML file that loads nothing else.

`page.html` is a Jinja template whose values are escaped without being asked for. What people read first (verdict,
findings, list of layers) is plain HTML; the script `page.js` adds the view of one layer, and filters and sorts the
list. The Content-Security-Policy allows this script and the style sheet, by their hashes, and pictures in ``data:``
URIs.
"""

from __future__ import annotations

import base64
import functools
import hashlib
import html
import json
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from actviz.errors import LimitError
from actviz.figures import text
from actviz.report import data
from actviz.report.contents import NOTE, PROBLEM, WARNING
from actviz.report.findings import verdict
from actviz.report.report_figures import summary_of
from actviz.system import file_system
from actviz.version import VERSION

if TYPE_CHECKING:
    from collections.abc import Sequence

    import jinja2
    from markupsafe import Markup

    from actviz.report.contents import Comparison, Finding, ReportContents, ReportLayer

FOLDER = Path(__file__).parent
FIRST_FINDINGS = 8
MAXIMUM_PART_BYTES = 1 << 20
DEAD_BAR_WIDTH = 60


def render(contents: ReportContents) -> bytes:
    """Return the page as UTF-8."""
    from markupsafe import Markup

    worst = contents.findings[0].severity if contents.findings else "fine"
    return render_template(
        "page.html",
        styles=("page.css",),
        scripts=("theme.js", "page.js"),
        contents=contents,
        verdict=verdict(contents.findings, contents.count),
        level=worst if worst in {PROBLEM, WARNING} else "fine",
        change_summary=change_summary(contents.comparison) if contents.comparison else "",
        first_findings=FIRST_FINDINGS,
        bar_width=DEAD_BAR_WIDTH,
        kinds=sorted({layer.info.kind for layer in contents.layers}),
        layer_tree=_layer_tree(contents),
        island=data.island(contents),
        # Markup is not escaped: base64 has no markup in it.
        blocks=map(Markup, data.blocks(contents)),
    )


def render_template(name: str, *, styles: Sequence[str], scripts: Sequence[str], **values: Any) -> bytes:
    """Return a template of this folder, with style sheets and scripts of it inside, as UTF-8."""
    from markupsafe import Markup

    # Markup is not escaped: these are files of this package.
    style, script = (Markup("\n".join(_read_part(part).strip() for part in parts)) for parts in (styles, scripts))  # noqa: S704
    template = _environment().get_template(name)
    return template.render(style=style, script=script, version=VERSION, **values).encode("utf-8", "replace")


@functools.cache
def _environment() -> jinja2.Environment:
    """Return the settings of the template; Jinja is imported here because only this page needs it."""
    import jinja2
    from markupsafe import Markup

    environment = jinja2.Environment(
        autoescape=True,
        finalize=_finalize,
        keep_trailing_newline=True,
        loader=jinja2.FunctionLoader(_read_part),
        lstrip_blocks=True,
        trim_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.policies["json.dumps_kwargs"] = {"separators": (",", ":"), "allow_nan": False}
    environment.globals["link_to"] = _escaped_link
    environment.globals["link_to_row"] = lambda key: Markup(f"#{quote(key, safe='')}")  # noqa: S704  (percent-encoded)
    environment.filters.update(
        difference=data.difference_text,
        plural=text.plural,
        png_uri=lambda content: Markup(data.png_uri(content)),  # noqa: S704  (base64 has no markup in it)
        sha256=_sha256,
        trusted_uri=Markup,  # of pictures in base64, which has no markup in it
        shape=data.shape_text,
        shortened=lambda names: data.shorten(names, 8),
        thousands="{:,}".format,
    )
    return environment


def _finalize(value: Any) -> Any:
    """Return what the template writes for a value: `Markup` as it is, other text on one line and not endless."""
    return value if hasattr(value, "__html__") else data.one_line(str(value))


def read_provenance(content: bytes) -> dict[str, Any] | None:
    """Return the provenance from the first bytes of a page, ``None`` where actviz did not write it."""
    _, start, rest = content.partition(b'<meta name="actviz" content="')
    attribute, end, _ = rest.partition(b'"')
    if not start or not end or not content.startswith(b"<!doctype html>"):
        return None
    try:
        record = json.loads(html.unescape(attribute.decode("utf-8")))
    except (ValueError, RecursionError):
        return None
    return record if isinstance(record, dict) else None


def _read_part(name: str) -> str:
    return file_system.read_bytes(FOLDER / name, MAXIMUM_PART_BYTES, LimitError).decode("utf-8")


def _sha256(content: str) -> str:
    return base64.b64encode(hashlib.sha256(content.encode("utf-8")).digest()).decode("ascii")


def link_to(address: str, channel: int | None = None, number: int | None = None) -> str:
    """Return the fragment of the page's URL that selects a layer, a channel and an input."""
    link = f"#layer={quote(data.key_of(address), safe='')}"
    link += f"&channel={channel}" if channel is not None else ""
    return link + (f"&input={number}" if number else "")


def _escaped_link(address: str, channel: int | None = None, number: int | None = None) -> Markup:
    """Return `link_to` escaped but whole: a link that is cut leads nowhere."""
    from markupsafe import escape

    return escape(link_to(address, channel, number))


def change_summary(comparison: Comparison) -> str:
    """Return in one sentence how many layers changed; where any did, the address of the first one completes it."""
    changed, total = len(comparison.changed), len(comparison.drifts)
    if not changed:
        return f"Nothing changed: {text.plural(total, 'layer')} {'give' if total > 1 else 'gives'} the same numbers."
    if changed < total:
        return f"{changed:,} of {total:,} layers changed; the first is"
    return f"All {total:,} layers compared have changed; the first is" if total > 1 else "It has changed: the first is"


@dataclass(slots=True)
class _LayerRow:
    """A layer in the list; texts are empty where the layer gives no numbers or no channel is dead."""

    number: int
    layer: ReportLayer
    flags: list[Finding]
    changed: bool
    value_range: str = ""
    dead_text: str = ""
    dead_width: int = 0
    dead: int = 0


@dataclass(slots=True)
class _LayerGroup:
    """A nested model in the list; `count` and `dead` are over all layers in it, and in the models nested in it."""

    path: str
    children: list[_LayerGroup | _LayerRow] = field(default_factory=list)
    count: int = 0
    dead: int = 0


def _layer_tree(contents: ReportContents) -> _LayerGroup:
    """Return the rows of all layers in the order of the model, grouped by the models that they are nested in."""
    findings = data.findings_by_address(contents)
    changed = frozenset(contents.comparison.changed if contents.comparison else ())
    root = _LayerGroup("")
    for number, layer in enumerate(contents.layers):
        address = layer.info.address
        flags = [finding for finding in findings.get(address, ()) if finding.severity != NOTE]
        row = _layer_row(_LayerRow(number, layer, flags, address in changed))
        for group in _groups_of(root, address.split("/")[:-1]):
            group.count += 1
            group.dead += row.dead > 0
        group.children.append(row)
    return root


def _groups_of(root: _LayerGroup, models: Sequence[str]) -> list[_LayerGroup]:
    """Return the groups that a layer is in, outermost first; one that was interrupted by other layers begins anew."""
    groups = [root]
    for depth in range(len(models)):
        path = "/".join(models[: depth + 1]) + "/"
        last = groups[-1].children[-1] if groups[-1].children else None
        if not isinstance(last, _LayerGroup) or last.path != path:
            last = _LayerGroup(path)
            groups[-1].children.append(last)
        groups.append(last)
    return groups


def _layer_row(row: _LayerRow) -> _LayerRow:
    """Fill in the numbers of a row."""
    if row.layer.totals is None:
        return row
    summary = summary_of(row.layer.totals)
    low, high, row.dead, channels = (summary[key] for key in ("low", "high", "dead", "channels"))
    row.value_range = f"{text.number(low)} to {text.number(high)}" if math.isfinite(low) else "no finite value"
    if row.dead:
        # Three digits where two would round 199 of 200 up to all of them.
        share = text.number(100 * row.dead / channels, 2 if row.dead * 200 < channels * 199 else 3)
        row.dead_text = f"{row.dead:,} of {channels:,} dead ({share}%)"
        row.dead_width = max(2, round(DEAD_BAR_WIDTH * row.dead / channels))
    return row

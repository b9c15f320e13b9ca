"""The page: one HTML file that holds everything it shows and may reach nothing else.

What people read first (the answer, the findings, the list of layers) is plain HTML; the
script beside it adds the view of one layer, and filters and sorts the list. Untrusted text
is escaped here or written by the script as text; the Content-Security-Policy names the one
script and the one style sheet by their hashes and allows nothing else.
"""

from __future__ import annotations

import base64
import hashlib
import html
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from actviz.errors import LimitError
from actviz.figures import text
from actviz.report import data
from actviz.report.contents import PROBLEM, WARNING
from actviz.report.findings import verdict
from actviz.report.report_figures import summary_of
from actviz.system import file_system
from actviz.version import VERSION

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from actviz.report.contents import Comparison, Finding, ReportContents, ReportLayer

FOLDER = Path(__file__).parent
FIRST_FINDINGS = 8
_LARGEST_PART = 1 << 20
_ONE, _DEAD_BAR = 1, 60


def render(contents: ReportContents) -> bytes:
    """Return the page as UTF-8."""
    style, script = (_part(name) for name in ("page.css", "page.js"))
    parts = [
        "<!doctype html>",
        '<html lang="en">',
        _head(contents, style, script),
        f"<style>{style}</style>",
        "</head>",
        "<body>",
        '<a class="skip" href="#layers">Skip to the layers</a>',
        _header(contents),
        "<main>",
        _findings(contents),
        _changes(contents),
        _inputs(contents),
        _layers(contents),
        "</main>",
        _footer(contents),
        f'<script type="application/json" id="data">{data.to_json(data.island(contents))}</script>',
        *(
            f'<script type="text/plain" id="block-{number}">{block}</script>'
            for number, block in enumerate(data.blocks(contents))
        ),
        f"<script>{script}</script>",
        "</body>",
        "</html>",
        "",
    ]
    return "\n".join(parts).encode("utf-8", "replace")


def read_provenance(content: bytes) -> dict[str, Any] | None:
    """Return what a page says that it is of, from its first bytes; ``None`` where it is none of ours."""
    _, found, rest = content.partition(b'<meta name="actviz" content="')
    said, closed, _ = rest.partition(b'"')
    if not found or not closed or not content.startswith(b"<!doctype html>"):
        return None
    try:
        record = json.loads(html.unescape(said.decode("utf-8")))
    except (ValueError, RecursionError):
        return None
    return record if isinstance(record, dict) else None


def _part(name: str) -> str:
    return file_system.read_bytes(FOLDER / name, _LARGEST_PART, LimitError).decode("utf-8").strip()


def _hash(content: str) -> str:
    return base64.b64encode(hashlib.sha256(content.encode("utf-8")).digest()).decode("ascii")


def _head(contents: ReportContents, style: str, script: str) -> str:
    policy = (
        f"default-src 'none'; script-src 'sha256-{_hash(script)}'; style-src 'sha256-{_hash(style)}'; img-src data:; "
        "base-uri 'none'; form-action 'none'"
    )
    # The provenance comes early, so that it is found without reading the whole page.
    lines = [
        "<head>",
        '<meta charset="utf-8">',
        f'<meta name="actviz" content="{_attribute(data.to_json(contents.provenance))}">',
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        '<meta name="color-scheme" content="light dark">',
        '<meta name="referrer" content="no-referrer">',
        f'<meta name="generator" content="actviz {VERSION}">',
        f"<title>{_text(contents.model)} {text.DOT} actviz report</title>",
    ]
    return "\n".join(lines)


def _text(words: str) -> str:
    """Return untrusted text as HTML text: escaped, on one line, not endless."""
    return html.escape(data.shown(words), quote=False)


def _name(words: str) -> str:
    """Return a name as HTML, apart from the writing direction of what is around it."""
    return f"<bdi>{_text(words)}</bdi>"


def _attribute(words: str) -> str:
    return html.escape(words, quote=True)


def link_to(address: str, channel: int | None = None, number: int | None = None) -> str:
    """Return the part of the page's address that leads to a layer, a channel and an input."""
    link = f"#layer={quote(data.key_of(address), safe='')}"
    link += f"&channel={channel}" if channel is not None else ""
    return link + (f"&input={number}" if number else "")


def _layer_link(address: str, channel: int | None = None, number: int | None = None) -> str:
    return f'<a href="{_attribute(link_to(address, channel, number))}">{_name(address)}</a>'


def _header(contents: ReportContents) -> str:
    worst = contents.findings[0].severity if contents.findings else "fine"
    level = worst if worst in {PROBLEM, WARNING} else "fine"
    lines = [
        "<header>",
        '<div class="brand"><span>actviz report</span><button type="button" id="theme" hidden>Dark</button></div>',
        f"<h1>{_name(contents.model)}</h1>",
        f'<p class="verdict {level}">{_text(verdict(contents.findings, contents.count))}</p>',
        '<dl class="facts">',
        *(f"<div><dt>{_text(word)}</dt><dd>{_name(said)}</dd></div>" for word, said in contents.facts),
        "</dl>",
        '<noscript><p class="note">Figures, filters and sorting need JavaScript, which is switched off.</p></noscript>',
        "</header>",
    ]
    return "\n".join(lines)


def _findings(contents: ReportContents) -> str:
    lines = ['<section aria-labelledby="findings-title">', '<h2 id="findings-title">Findings</h2>']
    items = [_finding(one) for one in contents.findings]
    if not items:
        lines.append(
            "<p>No NaN and no infinity; no channel dead or constant on every input; no layer saturated; none whose "
            "values are out of line with the others.</p>"
        )
    lines += _list_of(items, "findings", "finding")
    if contents.count == _ONE:
        lines.append(
            '<p class="note">Judged on one input: what is dead here may fire elsewhere. Give more inputs to be sure.</p>'
        )
    lines += [f'<p class="note">Not used: {_text(failure)}</p>' for failure in contents.failures]
    return "\n".join([*lines, "</section>"])


def _list_of(items: Sequence[str], kind: str, noun: str) -> list[str]:
    """Return a list whose first items are in sight and whose rest unfolds."""
    if not items:
        return []
    lines = [f'<ul class="{kind}">', *items[:FIRST_FINDINGS], "</ul>"]
    rest = items[FIRST_FINDINGS:]
    if rest:
        plural = "s" if len(rest) > 1 else ""
        lines += [
            f"<details><summary>{len(rest):,} more {noun}{plural}</summary>",
            f'<ul class="{kind}">',
            *rest,
            "</ul></details>",
        ]
    return lines


def _finding(one: Finding) -> str:
    return (
        f'<li class="{one.severity}"><span class="level">{one.severity}</span> '
        f'<span class="kind">{_text(one.kind)}</span> '
        f"<span>{_layer_link(one.address, one.channel, one.input)}: {_text(one.text)}</span></li>"
    )


def _changes(contents: ReportContents) -> str:
    comparison = contents.comparison
    if comparison is None:
        return ""
    lines = [
        '<section aria-labelledby="changes-title">',
        f'<h2 id="changes-title">Compared with {_name(comparison.name)}</h2>',
        f"<p>{error_text(comparison, _layer_link)}</p>",
    ]
    items = []
    for address in comparison.changed:
        drift = comparison.drifts[address]
        items.append(
            f'<li class="note"><span class="level">changed</span> <span>{_layer_link(address)}: '
            f"{_text(data.said_of_drift(drift))}</span></li>"
        )
    lines += _list_of(items, "findings", "layer")
    for words, names in (
        ("Only in this model", comparison.missing),
        ("Not compared: of another shape, or no numbers", comparison.unmatched),
    ):
        if names:
            lines.append(f'<p class="note">{words}: {_name(data.words_of(names, 8))}</p>')
    return "\n".join([*lines, "</section>"])


def error_text(comparison: Comparison, linked: Any = data.shown) -> str:
    """Return in one sentence what changed; `linked` writes an address."""
    changed, total = comparison.changed, len(comparison.drifts)
    if not changed:
        return f"Nothing changed: {total:,} layer{'s give' if total > 1 else ' gives'} the same numbers."
    first = f"the first is {linked(changed[0])}"
    if len(changed) == total:
        return f"All {total:,} layers compared have changed; {first}." if total > 1 else f"It has changed: {first}."
    return f"{len(changed):,} of {total:,} layers changed; {first}."


def _inputs(contents: ReportContents) -> str:
    if not contents.inputs:
        return ""
    count = len(contents.inputs)
    title = "Inputs" if count == contents.count else f"Inputs: {count:,} of {contents.count:,} shown"
    lines = [
        '<section aria-labelledby="inputs-title">',
        f'<h2 id="inputs-title">{title}</h2>',
        '<ul class="inputs">',
    ]
    for fed in contents.inputs:
        picture = (
            f'<img src="{data.picture_uri(fed.picture)}" alt="Picture of {_attribute(data.shown(fed.name))} as fed">'
            if fed.picture
            else ""
        )
        words = f'<span class="words">{_name(" ".join(fed.words))}</span>' if fed.words else ""
        lines.append(
            f'<li>{picture}<span class="name">{_name(fed.name)}</span> <span class="muted">{_name(fed.fed)}</span>{words}</li>'
        )
    return "\n".join([*lines, "</ul>", "</section>"])


def _layers(contents: ReportContents) -> str:
    kinds = sorted({layer.info.kind for layer in contents.layers})
    options = "".join(f'<option value="{_attribute(data.shown(kind))}">{_text(kind)}</option>' for kind in kinds)
    changed = '<option value="changed">changed</option>' if contents.comparison else ""
    by_change = '<option value="change">change</option>' if contents.comparison else ""
    head = f"""<section aria-labelledby="layers-title" id="layers">
<h2 id="layers-title" tabindex="-1">Layers</h2>
<form class="tools" id="tools" hidden>
<label>Filter <input type="search" id="filter" autocomplete="off" spellcheck="false" placeholder="name or class"></label>
<label>Class <select id="class"><option value="">all</option>{options}</select></label>
<label>Show <select id="show"><option value="">all</option><option value="findings">with findings</option><option value="dead">with dead channels</option><option value="NaN">with NaN</option>{changed}</select></label>
<label>Sort <select id="sort"><option value="">as in the model</option><option value="dead">dead share</option><option value="range">largest value</option><option value="zeros">share of zeros</option><option value="parameters">parameters</option>{by_change}</select></label>
<span class="buttons"><button type="button" id="fold" hidden>Fold all</button><button type="reset" id="reset">Reset</button></span>
<p id="matches" role="status"></p>
</form>
<div class="work">
<div id="list">"""
    return "\n".join([head, _tree(contents), "</div>", _DETAIL, "</div>", "</section>"])


_DETAIL = """<section id="detail" aria-labelledby="detail-title" hidden>
<h2 id="detail-title" tabindex="-1"></h2>
<p id="detail-facts"></p>
<ul id="detail-findings" class="findings"></ul>
<div class="controls" id="controls">
<label id="input-label">Input <select id="input"></select></label>
<label id="beside-label">Beside it <select id="beside"></select></label>
<label id="scale-label">Colours <select id="scale"><option value="own">each its own range</option><option value="layer">one range for all</option></select></label>
<label>Order <select id="order"><option value="number">by number</option><option value="mean">strongest by mean |value|</option><option value="high">largest |value|</option><option value="zeros">most zeros</option></select></label>
</div>
<p id="reason" class="note" hidden></p>
<div id="figure">
<figure id="large">
<div id="views"></div>
<figcaption><h3 id="channel-title"></h3><canvas id="colorbar" width="256" height="1" aria-hidden="true"></canvas><p id="colorbar-ends"><span></span><span></span><span></span></p><table id="channel-numbers"></table><p id="probe" class="muted"></p><div id="over" hidden><label><input type="checkbox" id="overlay"> Over the input</label> <label>Strength <input type="range" id="opacity" min="10" max="100" value="65"></label></div><p><a id="link" href="#">Link to this channel</a></p></figcaption>
</figure>
<p id="tiles-note" class="muted"></p>
<div id="tiles" role="listbox" tabindex="0" aria-label="Channels"></div>
<div id="distribution"><h3>Distribution</h3><div id="histograms"></div></div>
</div>
<p class="pager"><button type="button" id="previous">Previous layer</button><button type="button" id="next">Next layer</button><a href="#layers" id="back">Back to the list</a></p>
</section>"""


@dataclass(slots=True)
class _LayerGroup:
    """A nested model in the list: its layers and the models nested in it."""

    path: str
    items: list[_LayerGroup | int]


def _grouped(addresses: Sequence[str]) -> _LayerGroup:
    """Return the numbers of layers by the models that they are nested in, in order."""
    root = _LayerGroup("", [])
    for number, address in enumerate(addresses):
        at = root
        parts = address.split("/")
        for depth in range(1, len(parts)):
            path = "/".join(parts[:depth]) + "/"
            last = at.items[-1] if at.items else None
            if not isinstance(last, _LayerGroup) or last.path != path:
                last = _LayerGroup(path, [])
                at.items.append(last)
            at = last
        at.items.append(number)
    return root


def _tree(contents: ReportContents) -> str:
    return "\n".join(_rows(_grouped([one.info.address for one in contents.layers]), contents))


def _rows(group: _LayerGroup, contents: ReportContents) -> Iterable[str]:
    yield '<ol class="rows">'
    for item in group.items:
        if isinstance(item, int):
            yield _row(item, contents.layers[item], contents, len(group.path))
            continue
        inside = list(_numbers_in(item))
        dead = sum(bool(_dead(contents.layers[number])) for number in inside)
        said = f", {dead:,} with dead channels" if dead else ""
        plural = "s" if len(inside) > 1 else ""
        label = item.path[len(group.path) : -1]
        yield f'<li class="group"><details open><summary>{_name(label)} <span class="muted">{len(inside):,} layer{plural}{said}</span></summary>'
        yield from _rows(item, contents)
        yield "</details></li>"
    yield "</ol>"


def _numbers_in(group: _LayerGroup) -> Iterable[int]:
    for item in group.items:
        if isinstance(item, int):
            yield item
        else:
            yield from _numbers_in(item)


def _dead(layer: ReportLayer) -> int:
    return int(layer.totals.dead.sum()) if layer.totals is not None else 0


def _row(number: int, layer: ReportLayer, contents: ReportContents, inside: int) -> str:
    info = layer.info
    prefix = f'<span class="prefix">{_text(info.address[:inside])}</span>' if inside else ""
    thumbnail = f'<img src="{data.picture_uri(layer.thumbnail)}" alt="">' if layer.thumbnail else ""
    own = [one for one in contents.findings if one.address == info.address]
    flags = "".join(
        f'<span class="flag {one.severity}">{_text(one.kind)}</span>'
        for one in own
        if one.severity in {PROBLEM, WARNING}
    )
    comparison = contents.comparison
    if comparison and info.address in comparison.changed:
        flags += '<span class="flag changed">changed</span>'
    return (
        f'<li class="row" data-layer="{number}"><a href="{_attribute(link_to(info.address))}">'
        f'<span class="thumbnail">{thumbnail}</span>'
        f'<span class="address"><bdi>{prefix}{_text(info.address[inside:])}</bdi></span>'
        f'<span class="about">{_text(info.kind)} <span class="shape">{_text(data.shape_of(layer))}</span></span>'
        f'<span class="numbers">{_numbers(layer)}</span><span class="flags">{flags}</span></a></li>'
    )


def _numbers(layer: ReportLayer) -> str:
    if layer.totals is None:
        return ""
    summary = summary_of(layer.totals)
    ends = (
        f"{text.number(summary['low'])} to {text.number(summary['high'])}"
        if summary["low"] is not None
        else "no finite value"
    )
    dead, channels = summary["dead"], summary["channels"]
    if not dead:
        return f"<span>{ends}</span>"
    width = max(2, round(_DEAD_BAR * dead / channels))
    bar = (
        f'<svg class="bar" width="{_DEAD_BAR}" height="6" aria-hidden="true"><rect class="track" width="{_DEAD_BAR}" height="6"/>'
        f'<rect class="part" width="{width}" height="6"/></svg>'
    )
    share = text.number(100 * dead / channels, 2 if dead * 200 < channels * 199 else 3)
    return f"<span>{ends}</span> <span>{bar} {dead:,} of {channels:,} dead ({share}%)</span>"


def _footer(contents: ReportContents) -> str:
    lines = ["<footer>"]
    if contents.left_out:
        lines += ['<h2 id="left-out">What is not on this page</h2>', "<ul>"]
        lines += [f"<li>{_text(line)}</li>" for line in contents.left_out]
        lines.append("</ul>")
    lines += [
        "<details><summary>How to read this page</summary>",
        "<ul>",
        "<li>Numbers are over all inputs; figures are of one input each. Masked steps are in no number.</li>",
        "<li>Dead: 0 everywhere on every input. Constant: one other value, everywhere. Zero here: 0 everywhere on the input shown.</li>",
        "<li>Saturated: within 1% of a bound of the activation function; said from 20% of a layer's values.</li>",
        "<li>Out of line: the largest value is 100 times the middle one of the four layers before and after it, or a thousandth of it; or values fade or grow ten-thousandfold from the first layers to the last.</li>",
        "<li>Problem: NaN, infinity, half of a layer dead on several inputs. Warning: a tenth of it dead, a whole layer constant, saturated, out of line.</li>",
        "<li>Colours start at 0, or have 0 in their middle where values are negative; NaN and infinities have colours of their own.</li>",
        "</ul></details>",
        f'<p class="muted">actviz {VERSION}; {_text(str(contents.provenance.get("said", "")))}</p>',
        "</footer>",
    ]
    return "\n".join(lines)

"""Markdown of the guide as plain text for a terminal.

Only what the guide uses: headings, paragraphs, lists, tables, fenced code, links and
images. A Markdown library would be a dependency, and an import, for one command.
"""

from __future__ import annotations

import itertools
import re
import textwrap

_ITEM = re.compile(r"(- |\d+\. )")
_IMAGE = re.compile(r"!\[([^\]]*)\]\([^)]*\)")
_LINK = re.compile(r"\[([^\]]*)\]\(([^)]*)\)")
_PAGE = re.compile(r"([\w-]+)\.md(#.*)?")


def markdown_text(markdown: str, width: int) -> str:
    r"""Return Markdown as text of at most `width` columns; code is indented, not wrapped.

    >>> print(markdown_text("# Title\n\n- See **[inputs](inputs.md)**.", 40))
    Title
    =====
    <BLANKLINE>
    - See inputs (actviz help inputs).
    """
    lines: list[str] = []
    fenced = False
    for kind, group in itertools.groupby(markdown.splitlines(), key=lambda line: line.startswith("|")):
        if kind and not fenced:
            lines += _table(list(group), width)
            continue
        for line in group:
            if line.startswith("```"):
                fenced = not fenced
            elif fenced:
                lines.append(f"    {line}".rstrip())
            elif not line.startswith("<!--"):
                lines += _block(line, width)
    return "\n".join(lines)


def _block(line: str, width: int) -> list[str]:
    """Return a heading, a list item or a paragraph, each of which is one line of the source."""
    if line.startswith("#"):
        marks, _, title = line.partition(" ")
        return [title, ("=" if marks == "#" else "-") * len(title)]
    item = _ITEM.match(line)
    return _wrap(_inline(line), width, indent=" " * len(item[0]) if item else "") or [""]


def _wrap(text: str, width: int, indent: str = "") -> list[str]:
    return textwrap.wrap(text, width, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)


def _inline(text: str) -> str:
    """Return text without the marks of links, images and bold type."""
    text = _IMAGE.sub(lambda image: f"[picture: {image[1]}]", text)
    return _LINK.sub(_link, text).replace("**", "")


def _link(link: re.Match[str]) -> str:
    text, target = link[1], link[2]
    page = _PAGE.fullmatch(target)
    where = f"actviz help {page[1]}" if page else target
    return text if target.startswith("#") else f"{text} ({where})"


def _table(rows: list[str], width: int) -> list[str]:
    """Return a table with aligned columns, the widest ones wrapped to fit into `width`."""
    cells = [[_inline(cell.strip()) for cell in row.strip("|").split("|")] for row in rows]
    del cells[1]  # the dashes, drawn below as wide as the columns
    columns = list(zip(*cells, strict=True))
    widths = [max(map(len, column)) for column in columns]
    smallest = [max(len(word) for cell in column for word in (cell.split() or [""])) for column in columns]
    while sum(widths) + 2 * (len(widths) - 1) > width and widths != smallest:
        _, widest = max(
            (size - least, number) for number, (size, least) in enumerate(zip(widths, smallest, strict=True))
        )
        widths[widest] -= 1
    lines: list[str] = []
    for row in [cells[0], ["-" * size for size in widths], *cells[1:]]:
        wrapped = [_wrap(cell, size) for cell, size in zip(row, widths, strict=True)]
        rows_of_text = itertools.zip_longest(*wrapped, fillvalue="")
        lines += ["  ".join(map(str.ljust, parts, widths)).rstrip() for parts in rows_of_text]
    return lines

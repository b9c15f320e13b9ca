"""The layers of a network as a table: HTML for notebooks, and a DataFrame."""

from __future__ import annotations

from html import escape as escape_html
from typing import TYPE_CHECKING

from actviz.api.arguments import library_missing
from actviz.commands.layers import HEADINGS, drawn_as, layer_record, layer_row
from actviz.errors import escape

if TYPE_CHECKING:
    import pandas as pd

    from actviz.records import ModelFacts

MAXIMUM_ROWS = 60
"""Largest number of layers in a notebook; the rest is counted."""


def as_html(facts: ModelFacts) -> str:
    """Return the layers as an HTML table of at most `MAXIMUM_ROWS` rows; every text of the file is escaped."""
    layers = facts.every_layer
    rows = "".join(
        f"<tr>{''.join(f'<td>{escape_html(cell)}</td>' for cell in layer_row(layer, drawn))}</tr>"
        for layer, drawn in zip(layers[:MAXIMUM_ROWS], drawn_as(facts), strict=False)
    )
    head = "".join(f"<th>{heading}</th>" for heading in HEADINGS)
    more = len(layers) - MAXIMUM_ROWS
    rest = f"<p>and {more:,} more: <code>network.to_pandas()</code></p>" if more > 0 else ""
    title = f"{escape(facts.file)}: {escape(facts.writer)}, {len(layers):,} layers"
    return f"<p>{escape_html(title)}</p><table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>{rest}"


def as_frame(facts: ModelFacts) -> pd.DataFrame:
    """Return one row for each layer, with the fields of ``actviz layers --json``; sizes and axes are tuples.

    Raises
    ------
    ImportError
        When pandas is not installed.
    """
    try:
        import pandas as pd
    except ImportError as failure:
        raise library_missing("to_pandas", "pandas") from failure
    frame = pd.DataFrame(
        [layer_record(layer, drawn) for layer, drawn in zip(facts.every_layer, drawn_as(facts), strict=True)]
    )
    return frame.astype({"index": "Int64", "parameters": "Int64"})

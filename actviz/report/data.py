"""What the page's script reads: JSON and base64, in a form that no HTML can come out of."""

from __future__ import annotations

import base64
import json
import math
from typing import TYPE_CHECKING, Any

import numpy as np

from actviz.errors import escape
from actviz.figures import colors, text
from actviz.report.report_figures import single, summary_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from actviz.records import Geometry
    from actviz.report.contents import ReportContents, ReportFigure, ReportLayer
    from actviz.statistics.differences import LayerDifference

LONGEST = 300
DIGITS = 6
_FAR = 10


def to_json(value: Any) -> str:
    r"""Return JSON in ASCII without ``<``, ``>`` and ``&``, so that it cannot end or open an element.

    Examples
    --------
    >>> to_json("</script>")
    '"\\u003c/script\\u003e"'
    """
    plain = json.dumps(value, separators=(",", ":"), allow_nan=False)
    return plain.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def base64_of(content: bytes) -> str:
    """Return bytes as base64 text."""
    return base64.b64encode(content).decode("ascii")


def picture_uri(png: bytes) -> str:
    """Return a PNG as a ``data:`` address."""
    return f"data:image/png;base64,{base64_of(png)}"


def shown(words: str) -> str:
    """Return untrusted text for people: one line, nothing hidden, not endless."""
    return escape(words, LONGEST)


def key_of(address: str) -> str:
    """Return an address as links and the script know it: half a pair of surrogates has no place in a link."""
    return address.encode("utf-8", "replace").decode("utf-8")


def island(contents: ReportContents) -> dict[str, Any]:
    """Return everything but the figures' pictures; `figures` are numbers of `blocks`."""
    tables = sorted({figure.table for layer in contents.layers for figure in layer.figures})
    number = 0
    layers = []
    for layer in contents.layers:
        count = len(layer.figures)
        layers.append(_layer(layer, range(number, number + count), contents))
        number += count
    return {
        "model": shown(contents.model),
        "other": shown(contents.comparison.name) if contents.comparison else None,
        "count": contents.count,
        "inputs": [
            {
                "name": shown(fed.name),
                "fed": shown(fed.fed),
                "picture": picture_uri(fed.picture) if fed.picture else None,
                "words": [shown(word) for word in fed.words],
            }
            for fed in contents.inputs
        ],
        "tables": {name: base64_of(colors.table(name).colors.tobytes()) for name in tables},
        "layers": layers,
    }


def blocks(contents: ReportContents) -> list[str]:
    """Return the base64 of each figure: its PNG, ``,``, its numbers as `numbers_of` packs them."""
    return [
        f"{base64_of(figure.mosaic.png)},{base64_of(numbers_of(figure))}"
        for layer in contents.layers
        for figure in layer.figures
    ]


def numbers_of(figure: ReportFigure) -> bytes:
    """Pack float32 ``(7, tile)``, little-endian: both ends, the five of `Figure.numbers`; then the states."""
    packed: NDArray[Any] = np.concatenate([figure.ends, figure.numbers]).astype("<f4")
    return packed.tobytes() + figure.states.astype(np.uint8).tobytes()


def _layer(layer: ReportLayer, numbers: range, contents: ReportContents) -> dict[str, Any]:
    info = layer.info
    said: dict[str, Any] = {
        "address": key_of(info.address),
        "shown": shown(info.address),
        "kind": shown(info.kind),
        "shape": shape_of(layer),
        "activation": shown(info.activation) if info.activation else None,
        "parameters": info.parameters,
        "drawn": layer.kind,
        "reason": shown(layer.reason),
        "labels": [shown(label) for label in layer.labels],
        "place": _place(layer.geometry),
        "step_order": layer.step_order,
        "figures": [_figure(one, place) for one, place in zip(layer.figures, numbers, strict=True)],
        "findings": [
            {"severity": one.severity, "kind": one.kind, "text": one.text}
            for one in contents.findings
            if one.address == info.address
        ],
        "drift": _drift(info.address, contents),
        "overall": None,
    }
    totals = layer.totals
    if totals is not None:
        packed = single([totals.minimum, totals.maximum, totals.mean, totals.std]).astype("<f4")
        said["overall"] = {
            "numbers": base64_of(packed.tobytes()),
            "dead": np.flatnonzero(totals.dead).tolist(),
            "constant": np.flatnonzero(totals.constant).tolist(),
            "nonfinite": np.flatnonzero((totals.nan > 0) | (totals.infinite > 0)).tolist(),
            "channels": totals.channels,
            **{key: rounded(value) for key, value in summary_of(totals).items() if key in {"low", "high", "zeros"}},
        }
    return said


def shape_of(layer: ReportLayer) -> str:
    """Return a layer's output shape for one input, in words."""
    shape = layer.info.shape
    if shape is None:
        return ""
    return f" {text.TIMES} ".join("any" if size is None else str(size) for size in shape[1:]) or "one number"


def _figure(figure: ReportFigure, block: int) -> dict[str, Any]:
    whole = figure.channels == tuple(range(len(figure.channels)))
    return {
        "input": figure.input,
        "other": figure.other,
        "block": block,
        "tile": list(figure.mosaic.tile),
        "step": list(figure.mosaic.step),
        "columns": figure.mosaic.columns,
        "count": len(figure.channels),
        "channels": None if whole else list(figure.channels),
        "indices": [list(index) for index in figure.indices],
        "table": figure.table,
        "signed": figure.signed,
        "total": figure.total,
        "histogram": _rounded_all(figure.histogram),
    }


def _place(geometry: Geometry | None) -> dict[str, Any] | None:
    if geometry is None:
        return None
    return {
        "input": geometry.input,
        "size": list(geometry.size),
        "offset": list(geometry.offset),
        "stride": list(geometry.stride),
    }


def _drift(address: str, contents: ReportContents) -> dict[str, Any] | None:
    comparison = contents.comparison
    if comparison is None or address not in comparison.drifts:
        return None
    drift = comparison.drifts[address]
    return {
        "largest": rounded(drift.largest),
        "reach": rounded(drift.reach),
        "relative": rounded(drift.relative),
        "changed": address in comparison.changed,
        "text": said_of_drift(drift),
    }


def said_of_drift(drift: LayerDifference) -> str:
    """Return how far a layer drifted, in words."""
    if drift.apart:
        return f"{drift.apart:,} of {drift.count:,} values are NaN or infinite in one and not in the other."
    share = f" where values reach {text.number(drift.reach)}" if drift.reach else ""
    far = drift.relative > _FAR
    relative = "nothing alike" if far else f"relative error {text.number(100 * drift.relative, 2)}%"
    return f"values differ by up to {text.number(drift.largest)}{share}; {relative}, cosine {drift.cosine:.4f}."


def _rounded_all(record: dict[str, Any]) -> dict[str, Any]:
    def one(value: Any) -> Any:
        if isinstance(value, list):
            return [one(item) for item in value]
        return rounded(value) if isinstance(value, float) else value

    return {key: one(value) for key, value in record.items()}


def rounded(value: float | None) -> float | None:
    """Return a number with six digits, ``None`` for what JSON does not have."""
    if value is None or not math.isfinite(value):
        return None
    return float(f"{value:.{DIGITS}g}")


def words_of(items: Sequence[str], most: int) -> str:
    """Return a list of names that stays short, for a sentence."""
    listed = ", ".join(shown(item) for item in items[:most])
    return listed + (f" and {len(items) - most:,} more" if len(items) > most else "")

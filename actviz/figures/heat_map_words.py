"""What a figure of heat maps says in words, and what it records."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from actviz.explanations.occlusion import patch_sides
from actviz.figures import text
from actviz.figures.color_scale import ColorScale

if TYPE_CHECKING:
    from collections.abc import Sequence

    from actviz.figures.renderers.overlay_blend import Overlay
    from actviz.figures.renderers.prepared_maps import PreparedMaps
    from actviz.records import Faithfulness, HeatMap

TOP = 5
_FLAT, _UNCHANGED = 1e-6, 0.01
LIMITS = "this measures how faithful a map is to the network, not whether the network is right"

MEANINGS = {
    "gradcam": "channels weighted with their mean gradient, without what is negative",
    "gradcam++": "channels weighted with their positive gradients, without what is negative",
    "layercam": "channels weighted place by place with positive gradients",
    "saliency": "largest |gradient| of the input's channels",
    "smoothgrad": "largest |gradient| over 25 noisy copies",
    "integrated-gradients": "share of the difference of the score from that of zeros",
    "occlusion": "how much lower the score is where the input is 0",
    "rise": "mean score of 8,000 random parts of the input that have the place, colored from the lowest to the highest",
    "scorecam": "channels weighted with the score of what they cover",
    "eigencam": "first principal component of the channels, whatever is explained",
}
"""What the values of a map mean, by method."""


def scale_of(item: HeatMap, kind: str) -> ColorScale:
    """Return the color scale of a map: from its minimum to its maximum for `rise`, whose 0 means nothing, else `kind`."""
    values = item.values[np.isfinite(item.values)]
    if item.method != "rise" or not values.size or not np.ptp(values):
        return ColorScale(kind)
    return ColorScale("fixed", float(values.min()), float(values.max()))


def name_of(unit: int, units: int, labels: Sequence[str]) -> str:
    """Return a class with its name, if there is a name for each: ``7 (seven)``."""
    return f"{unit} ({text.shown(labels[unit], 40)})" if len(labels) == units else str(unit)


def heading(maps: Sequence[HeatMap], labels: Sequence[str]) -> tuple[str, str, str]:
    """Return the title, what the maps are and their sizes."""
    targets: dict[str, dict[str, None]] = {}
    for item in maps:
        targets.setdefault(text.shown(item.target, 60), {})[name_of(item.unit, item.units, labels)] = None
    methods: dict[str, dict[str, None]] = {}
    for item in maps:
        methods.setdefault(text.shown(item.layer, 60), {})[item.method] = None
    sizes = dict.fromkeys(text.shape(item.values.shape) for item in maps)
    title = ", ".join(f"{target}: {', '.join(names)}" for target, names in targets.items())
    return title, "; ".join(f"{', '.join(names)} at {layer}" for layer, names in methods.items()), ", ".join(sizes)


def panel(item: HeatMap, maps: Sequence[HeatMap], labels: Sequence[str]) -> tuple[str, list[str]]:
    """Return the title of one map, and the lines below it."""
    name = name_of(item.unit, item.units, labels)
    several = len({(other.target, other.unit) for other in maps}) > 1
    title = f"{name}: {item.method}" if several else item.method
    if several and len({other.method for other in maps}) == 1:
        title = name
    lines = [f"{_kind(item)} {text.number(item.output)}, rank {item.rank:,} of {item.units:,}"]
    if item.stripped:
        lines[0] += f", score {text.number(item.score)}"
    if item.difference is not None:
        lines.append(f"sum {text.number(float(np.sum(item.values)))}, residual {text.number(residual(item), 2)}")
    lines += warnings(item)
    if item.box:
        lines.append(f"{item.share:.0%} of the positive values in the box")
    if item.check is not None:
        lines += _checked(item.check)
    return title, lines


def residual(item: HeatMap) -> float:
    """Return the difference of the score from that of zeros that the values of a map do not sum to."""
    return (item.difference or 0.0) - float(np.sum(item.values, dtype=np.float64))


def warnings(item: HeatMap) -> list[str]:
    """Return what is unusual about a map: flat, all negative, or of a class that is not in the top 5."""
    values = np.asarray(item.values)[np.isfinite(item.values)]
    lines = []
    if item.rank > TOP:
        lines.append(f"not in the top {TOP}")
    if not values.size:
        lines.append("no finite value")
    elif not values.any():
        lines.append("flat map: 0 everywhere, nothing there speaks for it")
    elif np.ptp(values) <= _FLAT * np.abs(values).max():
        lines.append("flat map: the same value everywhere")
    elif values.max() <= 0:
        lines.append("all negative: everything there speaks against it")
    return lines


def _kind(item: HeatMap) -> str:
    return "probability" if item.stripped else "output"


def _checked(check: Faithfulness) -> list[str]:
    """Return the means of deletion and insertion beside those of the random map, and what they say."""
    deletion, random_deletion, insertion, random_insertion = means(check)
    outputs = np.concatenate([[check.whole], *_curves(check)])
    if np.ptp(outputs) <= _UNCHANGED * np.abs(outputs).max():
        return [f"the output stays within {_UNCHANGED:.0%}, whatever is deleted: this says nothing about the map"]
    better = (deletion < random_deletion) + (insertion > random_insertion)
    verdict = {
        2: "more faithful than a random map",
        1: "better than a random map in one of the two",
        0: "not more faithful than a random map",
    }[better]
    return [
        f"deletion {text.number(deletion, 2)} (random {text.number(random_deletion, 2)})",
        f"insertion {text.number(insertion, 2)} (random {text.number(random_insertion, 2)})",
        verdict,
    ]


def means(check: Faithfulness) -> tuple[float, float, float, float]:
    """Return the mean outputs of deletion, random deletion, insertion and random insertion."""
    deletion, random_deletion, insertion, random_insertion = (float(np.mean(curve)) for curve in _curves(check))
    return deletion, random_deletion, insertion, random_insertion


def _curves(check: Faithfulness) -> tuple[tuple[float, ...], ...]:
    return check.deletion, check.random_deletion, check.insertion, check.random_insertion


def caption(maps: Sequence[HeatMap], labels: Sequence[str], over: Overlay | None) -> tuple[str, ...]:
    """Return the parts of the caption; `over` is the overlay of the first map (``None``: not over a picture)."""
    parts = []
    for target in dict.fromkeys(item.target for item in maps):
        item = next(item for item in maps if item.target == target)
        highest = ", ".join(f"{name_of(unit, item.units, labels)}: {text.number(output)}" for unit, output in item.top)
        parts.append(
            f"highest {'probabilities' if item.stripped else 'outputs'} of {text.shown(target, 60)}: {highest}"
        )
        score = f"the value before the {item.stripped}" if item.stripped else "the output itself"
        parts.append(f"score: {score}")
    if over is not None and (maps[0].geometry is not None or not over.aligned):
        parts += over.notes((maps[0].values.shape[0], maps[0].values.shape[1]))
    parts += _meanings(maps)
    if over is not None:
        parts.append("upper half of each bar: over black, lower half: over white")
    if any(item.check is not None for item in maps):
        parts.append(
            "deletion, insertion: mean output while the input is set to 0, or restored, in ten steps, the strongest places first; random: those of a random map of the same size"
        )
        parts.append(LIMITS)
    return tuple(parts)


def _meanings(maps: Sequence[HeatMap]) -> list[str]:
    """Return what the values of each method mean."""
    found = {}
    for item in maps:
        meaning = MEANINGS[item.method]
        if item.method == "occlusion":
            meaning += f", patches of {text.shape(patch_sides(item.values.shape))}"
        found[item.method] = f"{item.method}: {meaning}"
    return list(found.values())


def record(maps: Sequence[HeatMap], prepared: Sequence[PreparedMaps]) -> dict[str, Any]:
    """Return the record of the figure in the manifest."""
    return {"maps": [_record(*pair) for pair in zip(maps, prepared, strict=True)]}


def _record(item: HeatMap, prepared: PreparedMaps) -> dict[str, Any]:
    values = np.asarray(item.values, np.float64)
    finite = values[np.isfinite(values)]
    known: dict[str, Any] = {
        "method": item.method,
        "layer": item.layer,
        "target": item.target,
        "unit": item.unit,
        "score": item.score,
        "output": item.output,
        "rank": item.rank,
        "top": [list(pair) for pair in item.top],
        "before": item.stripped,
        "shape": list(values.shape),
        "minimum": float(finite.min()) if finite.size else None,
        "maximum": float(finite.max()) if finite.size else None,
        "colormap": prepared.table.name,
        "low": float(prepared.low[0]),
        "high": float(prepared.high[0]),
        "center": list(item.center),
        "warnings": warnings(item),
    }
    if item.difference is not None:
        known |= {"difference": item.difference, "residual": residual(item)}
    if item.box:
        known |= {"box": list(item.box), "share": item.share}
    if item.check is not None:
        names = ("deletion", "random_deletion", "insertion", "random_insertion")
        known["faithfulness"] = dict(zip(names, means(item.check), strict=True))
    return known

"""The colours of a page of curves, and how each kind of line looks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

_MANY = 3000
_DASHES = (0, (4, 2))


@dataclass(frozen=True, slots=True)
class CurveTheme:
    """The colours of a page. `runs` tell runs apart, also for colour-blind readers."""

    page: str
    ink: str
    muted: str
    line: str
    grid: str
    alarm: str
    runs: tuple[str, ...]
    table: str
    ends: tuple[float, float]


# The colours of runs are those of Okabe and Ito, without those too near the page's own.
LIGHT = CurveTheme(
    page="#ffffff",
    ink="#222222",
    muted="#666666",
    line="#b4b4b4",
    grid="#ececec",
    alarm="#c00000",
    runs=("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#5c4a3d"),
    table="viridis",
    ends=(0.0, 0.88),
)
DARK = CurveTheme(
    page="#16181d",
    ink="#ececec",
    muted="#a4a8b0",
    line="#565b66",
    grid="#2a2e36",
    alarm="#ff6b6b",
    runs=("#56b4e9", "#e69f00", "#00b88a", "#cc79a7", "#f0e442", "#e8763a", "#d0d0d0"),
    table="viridis",
    ends=(0.28, 1.0),
)


def colors_of(count: int, theme: CurveTheme) -> list[str]:
    """Return one colour a run: named ones for a few, steps of a colormap for many."""
    if count <= len(theme.runs):
        return list(theme.runs[:count])
    from actviz.figures import colors

    table = colors.table(theme.table).colors
    low, high = theme.ends
    steps = [round((low + (high - low) * place / (count - 1)) * (len(table) - 1)) for place in range(count)]
    return ["#" + "".join(f"{int(part):02x}" for part in table[step]) for step in steps]


def look_of(kind: str, color: str, theme: CurveTheme, count: int) -> dict[str, Any]:
    """Return how a line of a kind is drawn; many points get a thinner one."""
    thin = 0.6 if count > _MANY else 1.0
    if kind == "dashed":
        return {"color": mixed(color, theme.page, 0.2), "linewidth": 1.4, "linestyle": _DASHES}
    if kind == "light":
        return {"color": mixed(color, theme.page, 0.5), "linewidth": 1.4 * thin}
    if kind == "faint":
        return {"color": mixed(color, theme.page, 0.6), "linewidth": 1.0 * thin}
    if kind in {"point", "hollow"}:
        inside = color if kind == "point" else theme.page
        return {"color": color, "marker": "o", "linestyle": "", "markersize": 6, "markerfacecolor": inside}
    return {"color": color, "linewidth": 1.8 * thin}


def look_of_best(color: str, theme: CurveTheme) -> dict[str, Any]:
    """Return how the mark of a best epoch is drawn."""
    return {"color": color, "markersize": 6.5, "markeredgecolor": theme.page, "markeredgewidth": 1.2}


def mixed(color: str, other: str, share: float) -> str:
    """Return a colour with a share 0..1 of another in it, as ``#rrggbb``."""
    pairs = ((int(color[at : at + 2], 16), int(other[at : at + 2], 16)) for at in (1, 3, 5))
    return "#" + "".join(f"{round(own * (1 - share) + of * share):02x}" for own, of in pairs)

"""Colors of a learning-curve figure, and the style of each kind of line."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

# Lines of more points are drawn thinner.
_MANY_POINTS = 3000


@dataclass(frozen=True, slots=True)
class CurveTheme:
    """Colors of a figure. `runs` are distinguishable for color-blind readers too.

    More runs than that get colors of viridis, from the fractions `colormap_range` of it.
    """

    page: str
    ink: str
    muted: str
    line: str
    grid: str
    alarm: str
    runs: tuple[str, ...]
    colormap_range: tuple[float, float]


# The run colors are those of Okabe and Ito, without the ones that are too close to the page's color.
LIGHT = CurveTheme(
    page="#ffffff",
    ink="#222222",
    muted="#666666",
    line="#b4b4b4",
    grid="#ececec",
    alarm="#c00000",
    runs=("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#5c4a3d"),
    colormap_range=(0.0, 0.88),
)
DARK = CurveTheme(
    page="#16181d",
    ink="#ececec",
    muted="#a4a8b0",
    line="#565b66",
    grid="#2a2e36",
    alarm="#ff6b6b",
    runs=("#56b4e9", "#e69f00", "#00b88a", "#cc79a7", "#f0e442", "#e8763a", "#d0d0d0"),
    colormap_range=(0.28, 1.0),
)


def run_colors(count: int, theme: CurveTheme) -> list[str]:
    """Return one color per run: the theme's for a few, equally spaced ones of viridis for many."""
    if count <= len(theme.runs):
        return list(theme.runs[:count])
    from actviz.figures import colors

    table = colors.table("viridis").colors
    low, high = theme.colormap_range
    indices = [round((low + (high - low) * run / (count - 1)) * (len(table) - 1)) for run in range(count)]
    return ["#" + "".join(f"{int(channel):02x}" for channel in table[index]) for index in indices]


def line_style(kind: str, color: str, theme: CurveTheme, points: int = 0) -> dict[str, Any]:
    """Return the properties of a matplotlib line for one kind of curve or mark of `points` points."""
    scale = 0.6 if points > _MANY_POINTS else 1.0
    dot = {"color": color, "linestyle": "", "marker": "o"}
    match kind:
        case "dashed":
            return {"color": mix(color, theme.page, 0.2), "linewidth": 1.4, "linestyle": (0, (4, 2))}
        case "light":
            return {"color": mix(color, theme.page, 0.5), "linewidth": 1.4 * scale}
        case "faint":
            return {"color": mix(color, theme.page, 0.6), "linewidth": 1.0 * scale}
        case "point":
            return dot | {"markersize": 6, "markerfacecolor": color}
        case "hollow":
            return dot | {"markersize": 6, "markerfacecolor": theme.page}
        case "best":
            return dot | {"markersize": 6.5, "markeredgecolor": theme.page, "markeredgewidth": 1.2}
        case "dotted":
            return {"color": color, "linewidth": 0.8, "linestyle": (0, (1, 2))}
        case "nonfinite":
            return {"color": color, "linewidth": 4, "solid_capstyle": "butt"}
    return {"color": color, "linewidth": 1.8 * scale}


def mix(color: str, background: str, fraction: float) -> str:
    """Return `color` blended with a fraction 0 to 1 of `background`, as ``#rrggbb``."""
    channels = ((int(color[at : at + 2], 16), int(background[at : at + 2], 16)) for at in (1, 3, 5))
    return "#" + "".join(f"{round(front * (1 - fraction) + back * fraction):02x}" for front, back in channels)

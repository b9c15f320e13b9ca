"""Time and space: a film strip for each channel, a frame for each step."""

from __future__ import annotations

from typing import TYPE_CHECKING

from actviz.figures.renderers import frames

if TYPE_CHECKING:
    from actviz.records import Activation, Axes, Context, Picture, Style

_ALONG = "step"


def accepts(axes: Axes) -> bool:
    """Tell whether the axes are step, row and column, with channels or without."""
    return axes[:1] == ("batch",) and sorted(axes[1:]) in (
        sorted((_ALONG, "row", "column")),
        sorted((_ALONG, "row", "column", "channel")),
    )


def draw(activation: Activation, index: int, context: Context, style: Style) -> Picture:
    """Draw every chosen channel, its steps side by side; see `Renderer`."""
    return frames.draw(activation, index, context, style, _ALONG)

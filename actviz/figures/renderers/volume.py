"""Volumes: the planes of each channel side by side, or their maximum as one map."""

from __future__ import annotations

from typing import TYPE_CHECKING

from actviz.figures.renderers import frames

if TYPE_CHECKING:
    from actviz.records import Activation, Axes, Context, Picture, Style

_ALONG = "plane"


def accepts(axes: Axes) -> bool:
    """Tell whether the axes are plane, row and column, with channels or without."""
    return axes[:1] == ("batch",) and sorted(axes[1:]) in (
        sorted((_ALONG, "row", "column")),
        sorted((_ALONG, "row", "column", "channel")),
    )


def draw(activation: Activation, index: int, context: Context, style: Style) -> Picture:
    """Draw every chosen channel, its planes side by side; see `Renderer`."""
    return frames.draw(activation, index, context, style, _ALONG)

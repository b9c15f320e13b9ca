"""What a renderer is. A new kind of axes is one module with these two functions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from actviz.records import Activation, Axes, Context, Picture, Style


class Renderer(Protocol):
    """A module that draws activations of one kind of axes."""

    def accepts(self, axes: Axes) -> bool:
        """Tell whether activations with these axes, batch first, are drawn here."""
        ...

    def draw(self, activation: Activation, index: int, context: Context, style: Style) -> Picture:
        """Draw one entry of the batch.

        Raises
        ------
        UsageError
            When the style asks for what this activation does not have.
        LimitError
            When the figure would be too large.
        """
        ...

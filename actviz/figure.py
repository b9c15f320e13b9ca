"""What surrounds the tiles of a figure: title, thumbnail, colour bar, caption.

A figure is laid out from top to bottom: header, body, colour bar, caption. The body is
drawn by a renderer into the same canvas.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from actviz.colors import Scale, brief, table
from actviz.errors import LimitError
from actviz.text import FAINT, INK, WARNING, fitted, line_height, put, width_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from actviz.records import Context, Label

MARGIN = 28
MINIMUM_WIDTH = 560
TITLE, SUBTITLE, SMALL = 22, 13, 11
THUMBNAIL = 84
GAP = 14
BAR_HEIGHT = 12
BAR_WIDTH = 300
TICKS = 5
MAXIMUM_SIDE = 65_500
MAXIMUM_PIXELS = 120_000_000


@dataclass(slots=True)
class Page:
    """A white canvas with a header on it, and the row at which the body starts.

    `canvas` is ``(row, column, RGB)``, uint8.
    """

    canvas: NDArray[np.uint8]
    top: int
    labels: list[Label] = field(default_factory=list)

    def write(  # noqa: PLR0913  (what a line of text looks like)
        self,
        text: str,
        row: int,
        column: int,
        size: int = SMALL,
        *,
        bold: bool = False,
        ink: tuple[int, int, int] = INK,
        paper: tuple[int, int, int] = (255, 255, 255),
    ) -> None:
        """Set a line and remember its box."""
        self.labels.append(
            put(self.canvas, text, (row, column), size, bold=bold, ink=ink, paper=paper)
        )


@dataclass(frozen=True, slots=True)
class Frame:
    """The words around the tiles.

    `shape` is the layer's output without the batch axis, for instance ``11 × 11 × 64``.
    """

    address: str
    kind: str
    shape: str
    context: Context
    caption: Sequence[str]
    warnings: Sequence[str] = ()
    noun: str = "filter"


def open_page(frame: Frame, body: tuple[int, int], scale: Scale | None) -> Page:
    """Make the canvas for a body of (height, width) pixels and draw everything around it.

    Raises
    ------
    LimitError
        When the figure would be larger than a PNG reader takes.
    """
    width = max(body[1] + 2 * MARGIN, MINIMUM_WIDTH)
    header = max(
        THUMBNAIL if frame.context.thumbnail is not None else 0,
        line_height(TITLE) + 2 * line_height(SUBTITLE),
    )
    lines = _wrapped(frame.caption, width - 2 * MARGIN)
    warnings = _wrapped(frame.warnings, width - 2 * MARGIN)
    bar = (BAR_HEIGHT + line_height(SMALL) + GAP) if scale is not None else 0
    footer = bar + (len(lines) + len(warnings)) * (line_height(SUBTITLE) + 2)
    height = MARGIN + header + GAP + body[0] + GAP + footer + MARGIN
    if max(width, height) > MAXIMUM_SIDE or width * height > MAXIMUM_PIXELS:
        message = f"{frame.address}: the figure would have {width:,} x {height:,} pixels; choose channels with --channels or --top, or a smaller --zoom."
        raise LimitError(message)
    page = Page(np.full((height, width, 3), 255, np.uint8), MARGIN + header + GAP)
    _header(page, frame, width)
    row = page.top + body[0] + GAP
    if scale is not None:
        _colour_bar(page, scale, row, width, frame.noun)
        row += bar
    for line in lines:
        page.write(line, row, MARGIN, SUBTITLE)
        row += line_height(SUBTITLE) + 2
    for line in warnings:
        page.write(line, row, MARGIN, SUBTITLE, ink=WARNING)
        row += line_height(SUBTITLE) + 2
    return page


def _header(page: Page, frame: Frame, width: int) -> None:
    column = MARGIN
    thumbnail = frame.context.thumbnail
    if thumbnail is not None:
        picture = fit_thumbnail(thumbnail, THUMBNAIL)
        page.canvas[
            MARGIN : MARGIN + picture.shape[0], MARGIN : MARGIN + picture.shape[1]
        ] = picture
        outline(page.canvas, MARGIN, MARGIN, picture.shape[:2])
        column += picture.shape[1] + GAP
    room = width - MARGIN - column
    right = fitted(f"{frame.kind}  {frame.shape}", SUBTITLE, room // 2)
    title = fitted(
        frame.address, TITLE, room - width_of(right, SUBTITLE) - GAP, bold=True
    )
    page.write(title, MARGIN, column, TITLE, bold=True)
    baseline = MARGIN + line_height(TITLE) - line_height(SUBTITLE) - 3
    page.write(
        right, baseline, width - MARGIN - width_of(right, SUBTITLE), SUBTITLE, ink=FAINT
    )
    row = MARGIN + line_height(TITLE) + 4
    page.write(fitted(frame.context.model, SUBTITLE, room), row, column, SUBTITLE)
    source = (
        f"{frame.context.input}  ({frame.context.fed})"
        if frame.context.fed
        else frame.context.input
    )
    page.write(
        fitted(source, SUBTITLE, room),
        row + line_height(SUBTITLE) + 2,
        column,
        SUBTITLE,
        ink=FAINT,
    )


def fit_thumbnail(picture: NDArray[np.uint8], side: int) -> NDArray[np.uint8]:
    """Fit ``(row, column, RGB)`` into `side` pixels: small by whole factors, large averaged."""
    height, width = picture.shape[:2]
    longest = max(height, width)
    if longest <= side:
        factor = max(1, side // longest)
        return np.repeat(np.repeat(picture, factor, axis=0), factor, axis=1)
    size = (
        max(1, round(width * side / longest)),
        max(1, round(height * side / longest)),
    )
    return np.asarray(Image.fromarray(picture).resize(size, Image.Resampling.LANCZOS))


def outline(
    canvas: NDArray[np.uint8], row: int, column: int, size: Sequence[int]
) -> None:
    """Draw a thin grey line around an area, just outside it."""
    height, width = size
    grey = (205, 208, 212)
    canvas[row - 1, column - 1 : column + width + 1] = grey
    canvas[row + height, column - 1 : column + width + 1] = grey
    canvas[row - 1 : row + height + 1, column - 1] = grey
    canvas[row - 1 : row + height + 1, column + width] = grey


def _colour_bar(page: Page, scale: Scale, row: int, width: int, noun: str) -> None:
    """Draw the colours from low to high with the values that they stand for."""
    length = min(BAR_WIDTH, (width - 2 * MARGIN) // 2)
    steps = np.rint(np.linspace(0, 255, length)).astype(np.int64)
    page.canvas[row : row + BAR_HEIGHT, MARGIN : MARGIN + length] = table(scale.cmap)[
        steps
    ]
    below = row + BAR_HEIGHT + 2
    ticks = _ticks(scale)
    free = MARGIN - 1
    for position, text in ticks:
        place = MARGIN + round(position * (length - 1))
        page.canvas[
            row + BAR_HEIGHT : row + BAR_HEIGHT + 3, min(place, MARGIN + length - 1)
        ] = INK
        wide = width_of(text, SMALL)
        column = min(max(place - wide // 2, MARGIN), max(width - MARGIN - wide, MARGIN))
        if column > free:
            page.write(text, below + 2, column, SMALL, ink=FAINT)
            free = column + wide + 6
    words = {
        "filter": "each filter has its own scale: the number under it is its end, the bar its strength",
        "layer": f"one scale for all {noun}s of the layer",
        "fixed": f"one given scale for all {noun}s",
    }[scale.mode]
    _beside(page, words, row - 2, MARGIN + length + GAP, width)


def _beside(page: Page, words: str, row: int, column: int, width: int) -> None:
    """Write a sentence in at most two lines to the right of the colour bar."""
    room = width - MARGIN - column
    line = ""
    lines = []
    for word in words.split():
        longer = f"{line} {word}".strip()
        if line and width_of(longer, SMALL) > room:
            lines.append(line)
            longer = word
        line = longer
    for number, text in enumerate([*lines, line][:2]):
        page.write(
            fitted(text, SMALL, room),
            row + number * line_height(SMALL),
            column,
            SMALL,
            ink=FAINT,
        )


def _ticks(scale: Scale) -> list[tuple[float, str]]:
    """Return positions (0..1 along the bar) and texts; each text is the value there."""
    if scale.mode == "filter":
        if scale.signed:
            return [(0.0, "−end"), (0.5, "0"), (1.0, "+end of its scale")]
        return [(0.0, "0"), (1.0, "maximum of each filter")]
    low, high = float(scale.low[0]), float(scale.high[0])
    return [
        (
            number / (TICKS - 1),
            brief(low + (high - low) * number / (TICKS - 1)).replace("-", "−"),
        )
        for number in range(TICKS)
    ]


def _wrapped(parts: Sequence[str], width: int) -> list[str]:
    """Join short statements with dots into lines no wider than `width` pixels."""
    lines: list[str] = []
    for part in parts:
        text = fitted(part, SUBTITLE, width)
        joined = f"{lines[-1]}  ·  {text}" if lines else text
        if lines and width_of(joined, SUBTITLE) <= width:
            lines[-1] = joined
        else:
            lines.append(text)
    return lines

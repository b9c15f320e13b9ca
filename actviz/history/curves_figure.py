"""Curves as a figure: one panel a metric, training and validation in it, by matplotlib.

matplotlib is used without pyplot, from its own defaults whatever matplotlibrc says, and
no text is read as a formula. Positions are pixels from the top left corner, before zoom.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from actviz.errors import LimitError
from actviz.figures import text
from actviz.history import layout
from actviz.history.matplotlib_page import DPI, MatplotlibPage, settings
from actviz.history.panel import Panel
from actviz.history.themes import look_of, look_of_best

if TYPE_CHECKING:
    import numpy as np
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

    from actviz.history.figure_data import CurvesFigureData

LARGEST_AREA = 100_000_000

_TITLE, _FACTS, _KEY, _SMALL = 20, 14, 13, 12
_LEADING = 6
_SAMPLE, _DOT, _BETWEEN = 34, 12, 24
_LONGEST_NAME = 300


@dataclass(frozen=True, slots=True)
class LegendEntry:
    """One entry of the key: a sample of a line and what it stands for."""

    sample: str
    color: str
    words: str


def draw_png(subject: CurvesFigureData) -> NDArray[np.uint8]:
    """Return the figure as ``(row, column, RGB)``, uint8.

    Raises
    ------
    UsageError, LimitError
        When its size is too small to be read or too large to be opened.
    """
    import numpy as np

    with settings(subject.theme):
        from matplotlib.backends.backend_agg import FigureCanvasAgg

        canvas: Any = FigureCanvasAgg(figure_of(subject))
        canvas.draw()
        pixels = np.asarray(canvas.buffer_rgba())
        return np.ascontiguousarray(pixels[:, :, :3])


def draw_svg(subject: CurvesFigureData) -> bytes:
    """Return the figure as SVG: text as outlines, no date, the same bytes each time.

    Raises
    ------
    UsageError, LimitError
        As `draw_png`.
    """
    with settings(subject.theme):
        from matplotlib.backends.backend_svg import FigureCanvasSVG

        stream = io.BytesIO()
        nothing = dict.fromkeys(("Date", "Creator", "Format", "Type"))
        canvas: Any = FigureCanvasSVG(figure_of(subject))
        canvas.print_svg(stream, metadata=nothing)
        return stream.getvalue()


def figure_of(subject: CurvesFigureData) -> Figure:
    """Return the whole figure; call it within the settings of a theme."""
    from matplotlib.figure import Figure

    panels = [Panel.of(subject, metric) for metric in subject.metrics]
    columns, rows, size = layout.shape_for(len(panels), subject.style.columns)
    gutters = [max(panel.gutter for panel in panels[column::columns]) for column in range(columns)]
    grid = layout.PanelGrid(columns, rows, size, tuple(gutters))
    wide = (subject.style.size[0] - 2 * layout.MARGIN) if subject.style.size else max(grid.size[0], 480)
    head = _FigureHead.of(subject, wide)
    caption = text.wrap(subject.caption, text.face(_SMALL), wide)
    foot = len(caption) * (text.face(_SMALL).height + _LEADING)
    around = 2 * layout.MARGIN + head.height + foot
    grid = layout.fit_size(grid, subject.style.size, around)
    width = subject.style.size[0] if subject.style.size else wide + 2 * layout.MARGIN
    height = subject.style.size[1] if subject.style.size else around + grid.size[1]
    _check_size(width, height, subject.style.zoom)
    figure = Figure(figsize=(width / DPI, height / DPI), dpi=DPI * subject.style.zoom)
    page = MatplotlibPage(figure, width, height, subject.theme)
    head.draw(page)
    for place, panel in enumerate(panels):
        left, top = grid.corner(place)
        panel.draw(page, (layout.MARGIN + left, layout.MARGIN + head.height + top), grid.panel)
    row = height - layout.MARGIN - foot + _LEADING
    for line in caption:
        page.write(line, (layout.MARGIN, row), _SMALL, subject.theme.muted)
        row += text.face(_SMALL).height + _LEADING
    return figure


def _check_size(width: int, height: int, zoom: int) -> None:
    across, down = width * zoom, height * zoom
    if max(across, down) > layout.LARGEST_SIDE or across * down > LARGEST_AREA:
        message = (
            f"the figure would be {across:,} x {down:,} pixels; at most {LARGEST_AREA // 1_000_000} megapixels and"
            f" {layout.LARGEST_SIDE:,} a side are drawn; choose fewer metrics with --metric, or a smaller --zoom."
        )
        raise LimitError(message)


@dataclass(frozen=True, slots=True)
class _FigureHead:
    """Title, facts and key, laid out for a width."""

    title: str
    facts: list[str]
    keys: list[tuple[LegendEntry, str, int, int]]
    height: int

    @classmethod
    def of(cls, subject: CurvesFigureData, width: int) -> _FigureHead:
        title = text.face(_TITLE, bold=True).fit(text.shown(subject.title), round(width * 0.97))
        facts = text.wrap(subject.facts, text.face(_FACTS), round(width * 0.97))
        face = text.face(_KEY)
        keys = keys_of(subject)
        words = [face.fit(key.words, min(_LONGEST_NAME, width - _SAMPLE - 8)) for key in keys]
        widths = [
            _sample_width(key) + 8 + round(face.width(word) * 1.02) for key, word in zip(keys, words, strict=True)
        ]
        # Runs stand on lines of their own.
        count = len(subject.runs) if len(subject.runs) > 1 else 0
        places = layout.flow(widths[:count], width, _BETWEEN)
        below = places[-1][0] + 1 if places else 0
        places += [(below + line, left) for line, left in layout.flow(widths[count:], width, _BETWEEN)]
        placed = [(key, word, line, left) for key, word, (line, left) in zip(keys, words, places, strict=True)]
        lines = places[-1][0] + 1 if places else 0
        height = text.face(_TITLE, bold=True).height + 4
        height += len(facts) * (text.face(_FACTS).height + _LEADING)
        height += lines * (face.height + _LEADING) + (8 if lines else 0) + 6
        return cls(title, facts, placed, height)

    def draw(self, page: MatplotlibPage) -> None:
        theme, left = page.theme, layout.MARGIN
        row = layout.MARGIN
        page.write(self.title, (left, row), _TITLE, theme.ink, bold=True)
        row += text.face(_TITLE, bold=True).height + 4
        for fact in self.facts:
            page.write(fact, (left, row), _FACTS, theme.muted)
            row += text.face(_FACTS).height + _LEADING
        row += 8
        face = text.face(_KEY)
        for key, words, line, indent in self.keys:
            top = row + line * (face.height + _LEADING)
            _draw_sample(page, key, (left + indent, top + face.height / 2))
            page.write(words, (left + indent + _sample_width(key) + 8, top), _KEY, theme.ink)


def keys_of(subject: CurvesFigureData) -> list[LegendEntry]:
    """Return the entries of the key: runs first, then what the kinds of lines stand for."""
    theme, runs = subject.theme, subject.runs
    several = len(runs) > 1
    keys = [
        LegendEntry("line", color, text.shown(name)) for name, color in zip(subject.names, subject.colors, strict=True)
    ]
    keys = keys if several else []
    color = theme.muted if several else subject.colors[0]
    pairs = [subject.curves(metric, run) for metric in subject.metrics for run in runs]
    if subject.validated:
        if any(training for training, _ in pairs):
            keys.append(LegendEntry(subject.training, color, "training"))
        keys.append(LegendEntry("line" if subject.long else "point", color, "validation"))
    if subject.long and any(subject.marked(metric, run) for metric in subject.metrics for run in runs):
        keys.append(LegendEntry("best", color, "best epoch"))
        if not several and len(subject.metrics) > 1 and subject.marked(subject.metrics[0], runs[0]):
            keys.append(LegendEntry("dotted", theme.muted, f"best epoch of {text.shown(subject.metrics[0], 40)}"))
    if subject.style.smooth > 1:
        keys.append(LegendEntry("faint", color, "before smoothing"))
    if any(run.seams for run in runs):
        keys.append(LegendEntry("seam", theme.line, "fit() called again"))
    if any(not layout.drawable(value) for pair in pairs for curve in pair if curve for value in curve.values):
        keys.append(
            LegendEntry("nonfinite", theme.alarm, f"NaN, infinite or beyond {layout.LARGEST:.0e}".replace("+", ""))
        )
    return keys


def _sample_width(key: LegendEntry) -> int:
    return _DOT if key.sample in {"best", "point", "hollow", "seam", "dotted"} else _SAMPLE


def _draw_sample(page: MatplotlibPage, key: LegendEntry, middle: tuple[float, float]) -> None:
    left, row = middle
    if key.sample == "best":
        page.line([left + _DOT / 2], [row], marker="o", **look_of_best(key.color, page.theme))
    elif key.sample in {"point", "hollow"}:
        page.line([left + _DOT / 2], [row], **look_of(key.sample, key.color, page.theme, 0))
    elif key.sample in {"seam", "dotted"}:
        style = "solid" if key.sample == "seam" else (0, (1, 2))
        page.line([left + _DOT / 2] * 2, [row - 7, row + 7], color=key.color, linewidth=1, linestyle=style)
    elif key.sample == "nonfinite":
        page.line([left, left + _SAMPLE], [row, row], color=key.color, linewidth=4, solid_capstyle="butt")
    else:
        page.line([left, left + _SAMPLE], [row, row], **look_of(key.sample, key.color, page.theme, 0))

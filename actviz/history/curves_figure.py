"""Learning curves as a figure: one panel per metric, drawn by matplotlib without pyplot.

Header and caption are measured and placed in pixels from the top left corner; the panels
between them get constrained layout.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from actviz.figures import text
from actviz.history import layout
from actviz.history.matplotlib_settings import DPI, POINT, save_vector, settings, text_style
from actviz.history.panel import draw_panel, label_panel
from actviz.history.themes import line_style

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D
    from matplotlib.transforms import Transform
    from numpy.typing import NDArray

    from actviz.history.figure_data import CurvesFigureData

_TITLE_SIZE, _FACTS_SIZE, _LEGEND_SIZE, _CAPTION_SIZE = 20, 14, 13, 12
_LINE_SPACING = 6
_HEADER_GAP = 14
_PANEL_PAD = 12
_HANDLE, _HANDLE_PAD, _COLUMN_SPACING = 34, 8, 24
_LONGEST_LABEL = 300
_SMALLEST_WIDTH = 480


def draw_png(data: CurvesFigureData) -> NDArray[np.uint8]:
    """Return the figure as RGB pixels, uint8 of shape ``(height, width, 3)``.

    Raises
    ------
    UsageError, LimitError
        If the size is too small to be read or too large to be opened.
    """
    import numpy as np

    with settings(data.theme):
        canvas: Any = figure_of(data).canvas
        canvas.draw()
        return np.ascontiguousarray(np.asarray(canvas.buffer_rgba())[:, :, :3])


def draw_vector(data: CurvesFigureData, suffix: str) -> bytes:
    """Return the figure as SVG or PDF with text as text and without a date: the same bytes on every run.

    Raises
    ------
    UsageError, LimitError
        As for `draw_png`.
    """
    with settings(data.theme):
        return save_vector(figure_of(data), suffix)


def figure_of(data: CurvesFigureData) -> Figure:
    """Return the whole figure with an Agg canvas; call it inside `settings`."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    columns, rows, panel = layout.panel_grid(len(data.metrics), data.style.columns)
    size, zoom = data.style.size, data.style.zoom
    width = size[0] if size else max(columns * panel[0], _SMALLEST_WIDTH) + 2 * layout.MARGIN
    figure = Figure(figsize=(width / DPI, width / DPI), dpi=DPI, layout="constrained")
    FigureCanvasAgg(figure)
    page = _PageWriter(figure, width - 2 * layout.MARGIN)
    page.write(
        [text.get_font(_TITLE_SIZE, bold=True).fit(text.shown(data.title), page.room)], _TITLE_SIZE, data.theme.ink
    )
    page.write(text.wrap(data.facts, text.get_font(_FACTS_SIZE), page.room), _FACTS_SIZE, data.theme.muted)
    for entries in legend_entries(data):
        page.add_legend(entries, data.theme.ink)
    caption = text.wrap(data.caption, text.get_font(_CAPTION_SIZE), page.room)
    foot = len(caption) * (text.get_font(_CAPTION_SIZE).height + _LINE_SPACING)
    top, bottom = page.row + _HEADER_GAP, layout.MARGIN + foot
    height = size[1] if size else round(top + bottom + rows * panel[1])
    layout.check_size((width, height), (columns, rows), round(top + bottom), zoom)
    figure.set_size_inches(width / DPI, height / DPI)
    figure.set_dpi(DPI * zoom)
    page.row = height - bottom + _LINE_SPACING
    page.write(caption, _CAPTION_SIZE, data.theme.muted)
    side = (layout.MARGIN - _PANEL_PAD) / width
    rect = (side, bottom / height, 1 - 2 * side, 1 - (top + bottom) / height)
    _draw_panels(figure, data, (rows, columns), rect)
    return figure


def _draw_panels(
    figure: Figure, data: CurvesFigureData, grid: tuple[int, int], rect: tuple[float, float, float, float]
) -> None:
    """Add one panel per metric within `rect`, ``(left, bottom, width, height)`` as fractions of the figure."""
    engine: Any = figure.get_layout_engine()
    engine.set(rect=rect, w_pad=_PANEL_PAD / DPI, h_pad=_PANEL_PAD / DPI / 2, wspace=0, hspace=0)
    all_axes = figure.subplots(*grid, squeeze=False).ravel()
    for axes in all_axes[len(data.metrics) :]:
        axes.remove()
    panels = list(zip(all_axes, data.metrics, strict=False))
    for axes, metric in panels:
        draw_panel(axes, data, metric)
    engine.execute(figure)
    figure.set_layout_engine("none")  # else each drawing would repeat it
    for axes, metric in panels:
        label_panel(axes, data, metric)


class _PageWriter:
    """Writes text and legends one below the other; `row` is the next free row in pixels from the top."""

    def __init__(self, figure: Figure, width: int) -> None:
        from matplotlib.transforms import Affine2D, ScaledTranslation

        self.figure = figure
        self.width = width
        self.room = round(width * 0.97)  # matplotlib's text may be 3% wider than measured
        self.row: float = layout.MARGIN
        figure_transform: Any = figure.transFigure
        corner = ScaledTranslation(0, 1, figure_transform)
        self.transform: Transform = Affine2D().scale(1 / DPI, -1 / DPI) + figure.dpi_scale_trans + corner

    def write(self, lines: Sequence[str], size: int, color: str) -> None:
        """Write lines of text; those of the title's size are bold."""
        bold = size == _TITLE_SIZE
        face = text.get_font(size, bold=bold)
        for line in lines:
            label = self.figure.text(layout.MARGIN, self.row + face.ascent, "", transform=self.transform)
            label.set(**text_style(line, size, color, bold=bold))
            self.row += face.height + _LINE_SPACING

    def add_legend(self, entries: Sequence[tuple[Line2D, str]], color: str) -> None:
        """Add a legend in one line, or in as many columns of equal width as fit."""
        if not entries:
            return
        face = text.get_font(_LEGEND_SIZE)
        longest = min(_LONGEST_LABEL, self.room - _HANDLE - _HANDLE_PAD)
        labels = [face.fit(label, longest) for _, label in entries]
        widths = [_HANDLE + _HANDLE_PAD + face.width(label) + _COLUMN_SPACING for label in labels]
        columns = len(labels) if sum(widths) <= self.room else max(1, self.room // max(widths))
        legend = self.figure.legend(
            [line for line, _ in entries],
            ["label"] * len(labels),  # the labels follow: matplotlib hides those that begin with "_"
            loc="upper left",
            bbox_to_anchor=(layout.MARGIN, self.row + _LINE_SPACING / 2),
            bbox_transform=self.transform,
            ncols=columns,
            frameon=False,
            fontsize=_LEGEND_SIZE * POINT,
            borderpad=0,
            borderaxespad=0,
            handlelength=_HANDLE / _LEGEND_SIZE,
            handletextpad=_HANDLE_PAD / _LEGEND_SIZE,
            columnspacing=_COLUMN_SPACING / _LEGEND_SIZE,
        )
        for label, shown in zip(legend.get_texts(), labels, strict=True):
            label.set(**text_style(shown, _LEGEND_SIZE, color))
        self.row += legend.get_window_extent().height / self.figure.dpi * DPI + _LINE_SPACING


def legend_entries(data: CurvesFigureData) -> tuple[list[tuple[Line2D, str]], list[tuple[Line2D, str]]]:
    """Return the entries of two legends: of the runs if there are several, and of the kinds of lines."""
    from matplotlib.lines import Line2D

    theme, runs = data.theme, data.runs

    def entry(kind: str, color: str, label: str) -> tuple[Line2D, str]:
        return Line2D([], [], **line_style(kind, color, theme)), label

    several = len(runs) > 1
    names = [entry("line", color, text.shown(name)) for name, color in zip(data.names, data.colors, strict=True)]
    color = theme.muted if several else data.colors[0]
    pairs = [data.curves(metric, run) for metric in data.metrics for run in runs]
    kinds = []
    if data.has_validation:
        if any(training for training, _ in pairs):
            kinds.append(entry(data.training_kind, color, "training"))
        kinds.append(entry("line" if data.has_lines else "point", color, "validation"))
    if data.has_lines and any(data.best(metric, run) for metric in data.metrics for run in runs):
        kinds.append(entry("best", color, "best epoch"))
        if not several and len(data.metrics) > 1 and data.best(data.metrics[0], runs[0]):
            kinds.append(entry("dotted", theme.muted, f"best epoch of {text.shown(data.metrics[0], 40)}"))
    if data.style.smooth > 1:
        kinds.append(entry("faint", color, "before smoothing"))
    if any(run.seams for run in runs):
        seam = Line2D([], [], color=theme.line, linestyle="", marker="|", markersize=10)
        kinds.append((seam, "fit() called again"))
    if any(not layout.drawable(value) for pair in pairs for curve in pair if curve for value in curve.values):
        label = f"NaN, infinite or beyond {layout.LARGEST_VALUE:.0e}".replace("+", "")
        kinds.append(entry("nonfinite", theme.alarm, label))
    return names if several else [], kinds

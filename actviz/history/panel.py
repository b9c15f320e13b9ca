"""One panel of a learning-curve figure: the axes of one metric."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from actviz.figures import text
from actviz.history import diagnosis, layout
from actviz.history.matplotlib_settings import DPI, POINT, text_style
from actviz.history.summary import distinct_numbers
from actviz.history.themes import line_style, mix

if TYPE_CHECKING:
    import numpy as np
    from matplotlib.axes import Axes
    from numpy.typing import NDArray

    from actviz.history.figure_data import CurvesFigureData
    from actviz.history.history_records import Curve, TrainingRun

TITLE_PAD, NOTE_PAD = 26, 7
_TITLE_SIZE, _SMALL_SIZE = 14, 12
_VALUE_TICKS = 5
_FEW_POINTS = 60


def draw_panel(axes: Axes, data: CurvesFigureData, metric: str) -> None:
    """Draw the curves of a metric, with placeholders for the texts that `label_panel` fits to the width."""
    theme, small = data.theme, _SMALL_SIZE * POINT
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(theme.line)
    axes.tick_params(color=theme.line, labelcolor=theme.muted, labelsize=small, length=3, pad=4)
    axes.grid(visible=True, axis="y", color=theme.grid, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.set_xlabel("epoch", color=theme.muted, size=small, labelpad=2)
    axes.set_title(" ", loc="left", y=1, pad=TITLE_PAD * POINT, size=_TITLE_SIZE * POINT)
    first, last = data.epochs
    margin = max(0.5, 0.02 * (last - first))
    axes.set_xlim(first - margin, last + margin)
    axes.set_xticks([first, last], [str(first), str(last)])
    if not _set_value_axis(axes, data, metric):
        axes.set_yticks([])
        axes.text(0.5, 0.5, "nothing to draw", transform=axes.transAxes, ha="center", color=theme.muted, size=small)
    else:
        _draw_vertical_lines(axes, data)
    for run, color in zip(data.runs, data.colors, strict=True):
        _draw_run(axes, data, metric, run, color)


def label_panel(axes: Axes, data: CurvesFigureData, metric: str) -> None:
    """Set epoch ticks, title and note, fitted to the width that the layout gave to the axes."""
    theme, width = data.theme, axes.bbox.width / axes.figure.dpi * DPI
    first, last = data.epochs
    small, bold = text.get_font(_SMALL_SIZE), text.get_font(_TITLE_SIZE, bold=True)
    label_width = small.width(str(max(abs(first), abs(last)))) + 14
    ticks = layout.epoch_ticks(first, last, max(2, min(10, int(width) // label_width - 1)))
    axes.set_xticks(ticks, [str(tick) for tick in ticks])
    room = round(width * 0.97)
    title = bold.fit(text.shown(metric), room)
    axes.set_title("", loc="left", y=1, pad=TITLE_PAD * POINT).set(
        **text_style(title, _TITLE_SIZE, theme.ink, bold=True)
    )
    note = next((note for note in _notes(data, metric, axes) if small.width(note) <= room), "")
    offset = (0, NOTE_PAD * POINT)
    annotation = axes.annotate("", (0, 1), offset, xycoords="axes fraction", textcoords="offset points")
    annotation.set(**text_style(note, _SMALL_SIZE, theme.muted))


def _set_value_axis(axes: Axes, data: CurvesFigureData, metric: str) -> bool:
    """Set scale, limits and ticks of the value axis; return False if there is no value to draw."""
    curves = [curve for run in data.runs for curve in data.curves(metric, run) if curve]
    values = [value for curve in curves for value in curve.values if layout.drawable(value)]
    if not values:
        return False
    log = data.style.log
    if log is None:
        log = layout.wants_log(values, data.direction(metric), rate=diagnosis.is_rate(metric))
    log = log and min(values) > 0
    if log:
        axes.set_yscale("log", nonpositive="mask")
        axes.minorticks_off()
    limits = layout.axis_limits(values, log=log)
    axes.set_ylim(*limits)
    ticks = layout.value_ticks(limits, _VALUE_TICKS, log=log)
    axes.set_yticks(ticks, layout.tick_labels(ticks))
    return True


def _draw_vertical_lines(axes: Axes, data: CurvesFigureData) -> None:
    """Mark the best epoch of the first metric, and the epochs where ``fit`` was called again."""
    theme, run = data.theme, data.runs[0]
    best = data.best(data.metrics[0], run)
    if len(data.runs) == 1 and len(data.metrics) > 1 and best and len(run.epochs) > 1:
        axes.axvline(best[0], zorder=1, **line_style("dotted", theme.muted, theme))
    for run in data.runs:
        for seam in run.seams:
            axes.axvline(seam - 0.5, color=theme.line, linewidth=1, zorder=1)


def _notes(data: CurvesFigureData, metric: str, axes: Axes) -> list[str]:
    """Return candidates for the text below the title, the longest first."""
    log = [f"{text.DOT} log scale"] if axes.get_yscale() == "log" else []
    points = [(data.best(metric, run), name) for run, name in zip(data.runs, data.names, strict=True)]
    best_points = [(point, name) for point, name in points if point]
    if not best_points:
        curves = [curve for run in data.runs for curve in data.curves(metric, run) if curve]
        ends = [text.number(diagnosis.last(curve)[1]) for curve in curves]
        end = f"{ends[0]} at the end" if len(data.runs) == 1 and ends else ""
        return [" ".join([end, *log]).removeprefix(f" {text.DOT} ").strip()]
    choose = min if data.direction(metric) == diagnosis.MINIMUM else max
    (epoch, value), name = choose(best_points, key=lambda pair: pair[0][1])
    best = f"best {text.number(value)} at epoch {epoch}" if data.has_lines else text.number(value)
    if len(data.runs) > 1:
        options = [[best, f"({text.get_font(_SMALL_SIZE).fit(text.shown(name), 200)})"], [best]]
    else:
        options = _single_run_notes(data, metric, best, (epoch, value))
    return [" ".join(option + more).replace(" ,", ",") for option in options for more in (log, [])]


def _single_run_notes(data: CurvesFigureData, metric: str, best: str, point: tuple[int, float]) -> list[list[str]]:
    training, validation = data.curves(metric, data.runs[0])
    curves = [curve for curve in (validation, training) if curve]
    ends = [text.number(diagnosis.last(curve)[1]) for curve in curves]
    if data.has_lines:
        at_best, ends[0] = distinct_numbers(point[1], diagnosis.last(curves[0])[1])
        best = f"best {at_best} at epoch {point[0]}"
    training_end = [f"(training {ends[1]})"] if len(ends) > 1 else []
    is_last = [", the last"] if data.has_lines else []
    end = [text.DOT, f"{ends[0]} at the end"] if curves[0].epochs[-1] != point[0] else is_last
    return [[best, *end, *training_end], [best, *end], [best], [best.replace("epoch ", "")]]


def _draw_run(axes: Axes, data: CurvesFigureData, metric: str, run: TrainingRun, color: str) -> None:
    theme = data.theme
    training, validation = data.curves(metric, run)
    full = "line" if data.has_lines else "point"
    kind = full if not data.has_validation or diagnosis.is_rate(metric) else data.training_kind
    for curve, curve_kind in ((training, kind), (validation, full)):
        if curve is not None:
            _draw_curve(axes, data, curve, line_style(curve_kind, color, theme, len(curve.epochs)))
            for first, last in nonfinite_ranges(curve):
                style = line_style("nonfinite", theme.alarm, theme)
                axes.plot([first - 0.5, last + 0.5], [0, 0], transform=axes.get_xaxis_transform(), zorder=4, **style)
    best = data.best(metric, run)
    if data.has_lines and best and (axes.get_yscale() == "linear" or best[1] > 0):
        style = line_style("best", color, theme)
        axes.plot([best[0]], [best[1]], zorder=5, clip_on=False, in_layout=False, **style)


def _draw_curve(axes: Axes, data: CurvesFigureData, curve: Curve, style: dict[str, Any]) -> None:
    import numpy as np

    values = _drawable_values(np.array(curve.values))
    if data.style.smooth > 1:
        raw_style = style | {"color": mix(style["color"], data.theme.page, 0.7), "linewidth": 0.9}
        axes.plot(curve.epochs, values, **raw_style)
        values = _drawable_values(smoothed(np.array(curve.values), data.style.smooth))
    axes.plot(curve.epochs, values, drawstyle="steps-mid" if diagnosis.is_rate(curve.name) else "default", **style)
    isolated = _isolated(curve, values)
    if isolated.any() and data.has_lines:
        axes.plot(np.array(curve.epochs)[isolated], values[isolated], ".", color=style["color"], markersize=6)


def _drawable_values(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return values with NaN in place of those that cannot be drawn."""
    import numpy as np

    with np.errstate(invalid="ignore"):
        return np.where(np.abs(values) <= layout.LARGEST_VALUE, values, np.nan)


def _isolated(curve: Curve, values: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Return a mask of points without a neighbor to draw a line to; all points of a short curve with skipped epochs."""
    import numpy as np

    finite = np.isfinite(values)
    if len(finite) < _FEW_POINTS and len(curve.epochs) > 1 and int(np.diff(curve.epochs).max()) > 1:
        return finite
    padded = np.pad(finite, 1)
    isolated: NDArray[np.bool_] = finite & ~padded[:-2] & ~padded[2:]
    return isolated


def nonfinite_ranges(curve: Curve) -> list[tuple[int, int]]:
    """Return first and last epoch of each range of values that cannot be drawn."""
    ranges: list[tuple[int, int]] = []
    extends = False
    for epoch, value in zip(curve.epochs, curve.values, strict=True):
        missing = not layout.drawable(value)
        if missing:
            ranges[-1:] = [(ranges[-1][0], epoch)] if extends else [*ranges[-1:], (epoch, epoch)]
        extends = missing
    return ranges


def smoothed(values: NDArray[np.float64], width: int) -> NDArray[np.float64]:
    """Return the centered moving average over `width` values; near the ends over those that exist.

    NaN and infinities stay as they are and do not contribute to their neighbors.
    """
    import numpy as np

    finite = np.isfinite(values)
    window = np.ones(min(width, 2 * len(values) - 1))
    with np.errstate(all="ignore"):
        total = np.convolve(np.where(finite, values, 0), window, "full")
        count = np.convolve(finite.astype(float), window, "full")
        start = (len(window) - 1) // 2
        mean = total[start : start + len(values)] / count[start : start + len(values)]
    return np.where(finite, mean, values)

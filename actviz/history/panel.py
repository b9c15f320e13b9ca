"""One metric: its axis, its curves, and what is said above them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from actviz.figures import text
from actviz.history import diagnosis, layout
from actviz.history.matplotlib_page import POINT
from actviz.history.summary import apart
from actviz.history.themes import look_of, look_of_best, mixed

if TYPE_CHECKING:
    import numpy as np
    from matplotlib.axes import Axes
    from numpy.typing import NDArray

    from actviz.history.figure_data import CurvesFigureData
    from actviz.history.history_records import Curve, TrainingRun
    from actviz.history.matplotlib_page import MatplotlibPage
    from actviz.history.themes import CurveTheme

_NAME, _SMALL = 14, 12
_FEW_POINTS = 60


@dataclass(frozen=True, slots=True)
class Panel:
    """One metric: its axis and its curves."""

    subject: CurvesFigureData
    metric: str
    axis: layout.VerticalAxis
    ticks: list[tuple[float, str]]
    empty: bool

    @classmethod
    def of(cls, subject: CurvesFigureData, metric: str) -> Panel:
        """Choose the axis of a metric by its values in all runs."""
        curves = [curve for run in subject.runs for curve in subject.curves(metric, run) if curve]
        values = [value for curve in curves for value in curve.values if layout.drawable(value)]
        log = subject.style.log
        if log is None:
            log = layout.wants_log(values, subject.way(metric), rate=diagnosis.is_rate(metric))
        axis = layout.axis_for(values, log=log and bool(values) and min(values) > 0)
        ticks = layout.axis_ticks(axis, 5) if values else []
        return cls(subject, metric, axis, ticks, not values)

    @property
    def gutter(self) -> int:
        """Room for the numbers on the left."""
        face = text.face(_SMALL)
        return max((round(face.width(words) * 1.03) for _, words in self.ticks), default=0) + 10

    def draw(self, page: MatplotlibPage, corner: tuple[int, int], size: tuple[int, int]) -> None:
        """Draw the panel with the top left corner of its axes at ``(column, row)``."""
        theme = page.theme
        left, top = corner
        title, small = text.face(_NAME, bold=True), text.face(_SMALL)
        room = round(size[0] * 0.97)
        words_top = top - layout.HEAD + 4
        page.write(title.fit(text.shown(self.metric), room), (left, words_top), _NAME, theme.ink, bold=True)
        note = next((note for note in self.notes() if small.width(note) <= room), "")
        page.write(note, (left, words_top + title.height + 1), _SMALL, theme.muted)
        axes = page.axes(corner, size)
        self._prepare(axes, theme, size)
        for run, color in zip(self.subject.runs, self.subject.colors, strict=True):
            self._draw_run(axes, run, color, theme)
        if self.empty:
            axes.text(
                0.5,
                0.5,
                "nothing to draw",
                transform=axes.transAxes,
                ha="center",
                color=theme.muted,
                size=_SMALL * POINT,
            )

    def notes(self) -> list[str]:
        """Return what is said under the name of the metric, the longest first."""
        runs, way = self.subject.runs, self.subject.way(self.metric)
        log = [f"{text.DOT} log scale"] if self.axis.log else []
        marked = [
            (self.subject.marked(self.metric, run), name) for run, name in zip(runs, self.subject.names, strict=True)
        ]
        found = [(point, name) for point, name in marked if point]
        if not found:
            ends = [
                text.number(diagnosis.last(curve)[1])
                for run in runs
                for curve in self.subject.curves(self.metric, run)
                if curve
            ]
            said = f"{ends[0]} at the end" if len(runs) == 1 and ends else ""
            return [" ".join([said, *log]).removeprefix(f" {text.DOT} ").strip()]
        (epoch, value), name = (min if way == diagnosis.MINIMUM else max)(found, key=lambda pair: pair[0][1])
        said = f"best {text.number(value)} at epoch {epoch}" if self.subject.long else text.number(value)
        if len(runs) > 1:
            face = text.face(_SMALL)
            options = [[said, f"({face.fit(text.shown(name), 200)})"], [said]]
        else:
            training, validation = self.subject.curves(self.metric, runs[0])
            ends = [text.number(diagnosis.last(curve)[1]) for curve in (validation, training) if curve]
            curve = validation or training
            if curve and self.subject.long:
                at_best, ends[0] = apart(value, diagnosis.last(curve)[1])
                said = f"best {at_best} at epoch {epoch}"
            of_training = [f"(training {ends[1]})"] if len(ends) > 1 else []
            late = [", the last"] if self.subject.long else []
            end = [text.DOT, f"{ends[0]} at the end"] if curve and curve.epochs[-1] != epoch else late
            options = [[said, *end, *of_training], [said, *end], [said], [said.replace("epoch ", "")]]
        return [" ".join(option + more).replace(" ,", ",") for option in options for more in (log, [])]

    def _prepare(self, axes: Axes, theme: CurveTheme, size: tuple[int, int]) -> None:
        """Give the axes their frame, grid, numbers and ranges."""
        first, final = self.subject.epochs
        room = max(0.5, 0.02 * (final - first)) if final > first else 0.5
        axes.set_xlim(first - room, final + room)
        axes.set_ylim(0, 1)
        for side in ("top", "right"):
            axes.spines[side].set_visible(False)
        for side in ("left", "bottom"):
            axes.spines[side].set_color(theme.line)
        widest = text.face(_SMALL).width(str(max(abs(first), abs(final)))) + 14
        ticks = layout.epoch_ticks(first, final, max(2, min(10, size[0] // widest - 1)))
        axes.set_xticks(ticks, [str(tick) for tick in ticks])
        axes.set_yticks([self.axis.share(value) for value, _ in self.ticks], [words for _, words in self.ticks])
        axes.tick_params(color=theme.line, labelcolor=theme.muted, labelsize=_SMALL * POINT, length=3, pad=4)
        axes.set_xlabel("epoch", color=theme.muted, size=_SMALL * POINT, labelpad=2)
        axes.grid(visible=True, axis="y", color=theme.grid, linewidth=0.8)
        axes.set_axisbelow(True)
        if self.empty:
            return
        if len(self.subject.runs) == 1 and len(self.subject.metrics) > 1:
            run = self.subject.runs[0]
            main = self.subject.marked(self.subject.metrics[0], run)
            if main and len(run.epochs) > 1:
                axes.axvline(main[0], color=theme.muted, linewidth=0.8, linestyle=(0, (1, 2)), zorder=1)
        for run in self.subject.runs:
            for seam in run.seams:
                axes.axvline(seam - 0.5, color=theme.line, linewidth=1, zorder=1)

    def _draw_run(self, axes: Axes, run: TrainingRun, color: str, theme: CurveTheme) -> None:
        training, validation = self.subject.curves(self.metric, run)
        plain = not self.subject.validated or diagnosis.is_rate(self.metric)
        full = "line" if self.subject.long else "point"
        kind = full if plain else self.subject.training
        for curve, look in ((training, kind), (validation, full)):
            if curve is not None:
                self._draw_curve(axes, curve, look_of(look, color, theme, len(curve.epochs)))
                self._draw_nonfinite(axes, curve, theme)
        found = self.subject.marked(self.metric, run)
        if self.subject.long and found and (not self.axis.log or found[1] > 0):
            axes.plot(
                [found[0]], [self.axis.share(found[1])], "o", zorder=5, clip_on=False, **look_of_best(color, theme)
            )

    def _draw_curve(self, axes: Axes, curve: Curve, look: dict[str, Any]) -> None:
        import numpy as np

        values = np.array(curve.values)
        rows = self._rows(values)
        smooth = self.subject.style.smooth
        if smooth > 1:
            axes.plot(
                curve.epochs,
                rows,
                **(look | {"color": mixed(look["color"], self.subject.theme.page, 0.7), "linewidth": 0.9}),
            )
            rows = self._rows(smoothed(values, smooth))
        steps = "steps-mid" if diagnosis.is_rate(curve.name) else "default"
        axes.plot(curve.epochs, rows, drawstyle=steps, **look)
        points = _lonely(curve, rows)
        if points.any() and self.subject.long:
            axes.plot(np.array(curve.epochs)[points], rows[points], ".", color=look["color"], markersize=6)

    def _rows(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        import numpy as np

        return np.array(
            [
                self.axis.share(value) if layout.drawable(value, log=self.axis.log) else np.nan
                for value in values.tolist()
            ]
        )

    def _draw_nonfinite(self, axes: Axes, curve: Curve, theme: CurveTheme) -> None:
        """Draw a bar along the bottom where a curve has no place on the axis."""
        for first, final in stretches(curve):
            axes.plot(
                [first - 0.5, final + 0.5],
                [0, 0],
                color=theme.alarm,
                linewidth=4,
                solid_capstyle="butt",
                zorder=4,
                clip_on=True,
            )


def _lonely(curve: Curve, rows: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Tell points that no line reaches, and all points of a curve that skips epochs."""
    import numpy as np

    there = np.isfinite(rows)
    if len(there) < _FEW_POINTS and len(curve.epochs) > 1 and int(np.diff(curve.epochs).max()) > 1:
        return there
    before = np.concatenate([[False], there[:-1]])
    after = np.concatenate([there[1:], [False]])
    alone: NDArray[np.bool_] = there & ~before & ~after
    return alone


def stretches(curve: Curve) -> list[tuple[int, int]]:
    """Return first and last epoch of each stretch without a drawable value."""
    found: list[tuple[int, int]] = []
    previous = False
    for epoch, value in zip(curve.epochs, curve.values, strict=True):
        missing = not layout.drawable(value)
        if missing:
            found[-1:] = [(found[-1][0], epoch)] if previous else [*found[-1:], (epoch, epoch)]
        previous = missing
    return found


def smoothed(values: NDArray[np.float64], width: int) -> NDArray[np.float64]:
    """Return the mean of `width` values around each, of those that are there near the ends.

    NaN and infinities stay what they are and do not count for their neighbours.
    """
    import numpy as np

    there = np.isfinite(values)
    window = np.ones(min(width, 2 * len(values) - 1))
    with np.errstate(all="ignore"):
        total = np.convolve(np.where(there, values, 0), window, "full")
        count = np.convolve(there.astype(float), window, "full")
        start = (len(window) - 1) // 2
        mean = total[start : start + len(values)] / count[start : start + len(values)]
    return np.where(there, mean, values)

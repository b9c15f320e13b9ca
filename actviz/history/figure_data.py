"""The content of a learning-curve figure: runs, metrics, options and texts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from actviz.history import diagnosis, layout
from actviz.history.history_records import VALIDATION_PREFIX
from actviz.history.themes import DARK, LIGHT, CurveTheme, run_colors

if TYPE_CHECKING:
    from actviz.history.history_records import Curve, CurveStyle, TrainingRun

_DASHED_EPOCHS = 250


@dataclass(frozen=True, slots=True)
class CurvesFigureData:
    """What to draw. `names` are the labels of the runs; `facts` and `caption` are lists of phrases."""

    runs: tuple[TrainingRun, ...]
    names: tuple[str, ...]
    metrics: tuple[str, ...]
    style: CurveStyle
    title: str
    facts: tuple[str, ...]
    caption: tuple[str, ...]

    @property
    def theme(self) -> CurveTheme:
        """Colors of the figure."""
        return DARK if self.style.dark else LIGHT

    @property
    def epochs(self) -> tuple[int, int]:
        """First and last epoch of all runs."""
        return min(run.epochs[0] for run in self.runs), max(run.epochs[-1] for run in self.runs)

    @property
    def has_validation(self) -> bool:
        """Whether any metric of the figure has validation values."""
        return any(self.curves(metric, run)[1] for metric in self.metrics for run in self.runs)

    def curves(self, metric: str, run: TrainingRun) -> tuple[Curve | None, Curve | None]:
        """Return the training and the validation curve of a metric."""
        return run.curve(metric), run.curve(VALIDATION_PREFIX + metric)

    def direction(self, metric: str) -> str | None:
        """Return ``min`` or ``max``, whichever is better for a metric, or ``None``."""
        return diagnosis.direction(metric, self.style.best)

    @property
    def colors(self) -> list[str]:
        """One color per run."""
        return run_colors(len(self.runs), self.theme)

    @property
    def has_lines(self) -> bool:
        """Whether there is more than one epoch, so that values are connected by lines."""
        return self.epochs[0] < self.epochs[1]

    @property
    def training_kind(self) -> str:
        """Kind of line for training where there is validation too.

        Dashed; but dashes are invisible on a long noisy curve, and those of many runs would
        hide the validation. A single epoch is a point.
        """
        if not self.has_lines:
            return "hollow"
        if len(self.runs) > len(self.theme.runs):
            return "faint"
        return "dashed" if max(len(run.epochs) for run in self.runs) <= _DASHED_EPOCHS else "light"

    def best(self, metric: str, run: TrainingRun) -> tuple[int, float] | None:
        """Return best epoch and value of the validation, or of the training if there is no validation."""
        training, validation = self.curves(metric, run)
        curve = validation or training
        best = diagnosis.best(curve, self.direction(metric)) if curve else None
        return best if best and layout.drawable(best[1]) else None

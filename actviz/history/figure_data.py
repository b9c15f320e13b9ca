"""What one figure is about: runs, metrics and words, before anything is drawn."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from actviz.history import diagnosis, layout
from actviz.history.history_records import TWIN
from actviz.history.themes import DARK, LIGHT, CurveTheme, colors_of

if TYPE_CHECKING:
    from actviz.history.history_records import Curve, CurveStyle, TrainingRun

_SPARSE = 250


@dataclass(frozen=True, slots=True)
class CurvesFigureData:
    """What is drawn: runs, their names in the key, metrics in order, the options and the words."""

    runs: tuple[TrainingRun, ...]
    names: tuple[str, ...]
    metrics: tuple[str, ...]
    style: CurveStyle
    title: str
    facts: tuple[str, ...]
    caption: tuple[str, ...]

    @property
    def theme(self) -> CurveTheme:
        """The colours of the page."""
        return DARK if self.style.dark else LIGHT

    @property
    def epochs(self) -> tuple[int, int]:
        """The first and the last epoch of any run."""
        return min(run.epochs[0] for run in self.runs), max(run.epochs[-1] for run in self.runs)

    @property
    def validated(self) -> bool:
        """Whether any metric that is drawn has a validation."""
        return any(self.curves(metric, run)[1] for metric in self.metrics for run in self.runs)

    def curves(self, metric: str, run: TrainingRun) -> tuple[Curve | None, Curve | None]:
        """Return training and validation of a metric."""
        return run.curve(metric), run.curve(TWIN + metric)

    def way(self, metric: str) -> str | None:
        """Return which way is better."""
        return diagnosis.direction(metric, self.style.best)

    @property
    def colors(self) -> list[str]:
        """One colour a run."""
        return colors_of(len(self.runs), self.theme)

    @property
    def long(self) -> bool:
        """Whether there is more than one epoch, so that there are lines."""
        return self.epochs[0] < self.epochs[1]

    @property
    def training(self) -> str:
        """How training is drawn beside validation.

        Dashed; but on a long noisy curve dashes cannot be seen, and of many runs they
        would cover what matters. A single epoch is a point.
        """
        if not self.long:
            return "hollow"
        if len(self.runs) > len(self.theme.runs):
            return "faint"
        return "dashed" if max(len(run.epochs) for run in self.runs) <= _SPARSE else "light"

    def marked(self, metric: str, run: TrainingRun) -> tuple[int, float] | None:
        """Return best epoch and value: of the validation, of the training where there is none."""
        training, validation = self.curves(metric, run)
        curve = validation or training
        found = diagnosis.best(curve, self.way(metric)) if curve else None
        return found if found and layout.drawable(found[1]) else None

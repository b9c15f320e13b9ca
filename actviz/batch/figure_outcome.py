"""The outcome of a run: counts of figures and inputs, their records in the manifest, and the summary at the end."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from actviz.batch.events import Event, FileFailed, FileWritten, Note
from actviz.batch.figure_writer import DrawnFigure, FailedFigure, failure_record
from actviz.errors import ActvizError, OutputError, PartialError, worst

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from actviz.results.manifest import Manifest


@dataclass(slots=True)
class FigureOutcome:
    """Inputs and figures so far.

    Each of `inputs` gets `figures_each`, pages not counted; `done` of them are read. Figures are written, up to date,
    failed or `lost`: moved or deleted during the run. `worst` is the failure that ends a run in which nothing is
    written; with `fail_fast` the first failure ends it. `manifest` records the outcome, if there is one.
    """

    figures_each: int
    inputs: int = 0
    fail_fast: bool = False
    manifest: Manifest | None = None
    done: int = 0
    written: int = 0
    up_to_date: int = 0
    failed_inputs: int = 0
    failed_figures: int = 0
    lost: int = 0
    worst: ActvizError | None = None

    def record(self, results: Iterable[DrawnFigure | FailedFigure]) -> Iterator[Event]:
        """Count and record results, and yield them as events."""
        for result in results:
            self._keep(result)
            if isinstance(result, DrawnFigure):
                yield FileWritten(result.path, result.record)
                continue
            if self.fail_fast:
                raise result.failure
            yield Note(f"no figure: {result.failure.message}", is_failure=True)
            yield FileFailed(failure_record(result.input, result.address, result.failure))

    def record_late(self, results: Iterable[DrawnFigure | FailedFigure]) -> list[Event]:
        """Count and record the figures that were in progress when the run ended; return the written ones."""
        kept: list[Event] = []
        for result in results:
            with contextlib.suppress(OutputError):  # no room for more records
                self._keep(result)
                if isinstance(result, DrawnFigure):
                    kept.append(FileWritten(result.path, result.record))
        return kept

    def record_failed_input(self, name: str, failure: ActvizError) -> Iterator[Event]:
        """Count and record the failure of a whole input."""
        self.failed_inputs += 1
        self._fail(name, None, failure)
        yield Note(failure.message, is_failure=True)
        yield FileFailed(failure_record(name, None, failure))

    def explain_loss(self, reason: str) -> str:
        """Return the numbers of figures that exist and that were expected, and the reason for the difference."""
        expected = self.figures_each * (self.inputs - self.failed_inputs) - self.up_to_date - self.failed_figures
        return f"{self.written - self.lost:,} of {max(self.written, expected):,} figures written: {reason}"

    def summary(self) -> str:
        """Return the numbers of figures written and up to date.

        Raises
        ------
        ActvizError
            If figures failed or were lost.
        """
        if self.lost:
            raise OutputError(
                self.explain_loss(f"{self.lost:,} were moved or deleted during the run; run again to make them.")
            )
        if self.worst is not None and not self.written and not self.up_to_date:
            raise self.worst
        done = f"{self.written:,} figure{'s' if self.written != 1 else ''} written"
        if self.up_to_date:
            done = f"{done}, {self.up_to_date:,} up to date"
        failed = ""
        if self.failed_inputs:
            failed = f"{self.failed_inputs:,} of {self.inputs:,} inputs failed"
        elif self.failed_figures:
            total = self.failed_figures + self.written + self.up_to_date
            failed = f"{self.failed_figures:,} of {total:,} figures could not be drawn"
        if failed:
            raise PartialError(f"{failed}, for the reasons above; the rest is written ({done}).")
        return done

    def _keep(self, result: DrawnFigure | FailedFigure) -> None:
        if isinstance(result, FailedFigure):
            self.failed_figures += 1
            self._fail(result.input, result.address, result.failure)
            return
        self.written += 1
        if self.manifest is not None:
            self.manifest.add(result.record)

    def _fail(self, name: str, address: str | None, failure: ActvizError) -> None:
        self.worst = failure if self.worst is None else worst([self.worst, failure])
        if self.manifest is not None:
            self.manifest.fail(failure_record(name, address, failure))

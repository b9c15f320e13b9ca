"""`explain`: heat maps of every input, for a class or a channel."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from actviz.batch.figure_writer import FigureJob
from actviz.batch.heat_map_computation import HeatMapComputation
from actviz.batch.output_paths import OutputOptions
from actviz.batch.up_to_date import RenderSettings
from actviz.commands.explain_plan import parse_plan
from actviz.commands.show import LayerSelection, draw_inputs
from actviz.commands.show_request import ShowRequest
from actviz.commands.show_run import ShowRun

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from actviz.batch.events import Event
    from actviz.batch.work_items import WorkItem
    from actviz.explanations.plan import ExplainPlan
    from actviz.records import LayerInfo, ModelFacts
    from actviz.worker import Worker


@dataclass(frozen=True, slots=True, kw_only=True)
class ExplainRequest(ShowRequest):
    """The arguments of the command.

    `of` are targets and `methods` the names of methods, with commas between them (``""``: the default of the format);
    `box` is ``TOP,LEFT,BOTTOM,RIGHT``. `check` says whether faithfulness is measured (``None``: for a single input).
    """

    of: str = "top"
    methods: str = ""
    box: str = ""
    check: bool | None = None

    def output_options(self, facts: ModelFacts, layers: Sequence[LayerInfo]) -> OutputOptions:
        """Return what determines the paths of the figures: one for each input."""
        del layers
        parts = ["explain", self.of if self.of != "top" else "", self.methods, *self.layers]
        key = "_".join(filter(None, parts))
        return OutputOptions([key], self.output, facts.file, facts.digest, self.has_inputs)


def explain(request: ExplainRequest) -> Iterator[Event]:
    """Draw heat maps of every input; yield events.

    Raises
    ------
    ActvizError
        If nothing could be drawn; `PartialError` at the end if some figures failed.
    """
    return draw_inputs(request, _AllLayers, _ExplainRun)


class _AllLayers(LayerSelection):
    """All layers: a target may depend on any input."""

    def layers(self) -> list[LayerInfo]:
        """Return the layers that are computed with the model."""
        return [layer for layer in self.facts.layers if not layer.inner]


class _ExplainRun(ShowRun):
    """A run that computes and draws heat maps instead of activations."""

    def _plan(self) -> ExplainPlan:
        """Return what the worker computes for each input.

        Raises
        ------
        UsageError
            If a target, a method or the layer does not exist.
        """
        assert isinstance(self.request, ExplainRequest)  # noqa: S101  (made by `explain`)
        check = self.single if self.request.check is None else self.request.check
        return parse_plan(
            self.request, self.facts, self.names.labels, self.request.methods, self.request.box, check=check
        )

    def _computation(self, worker: Worker) -> HeatMapComputation:
        return HeatMapComputation(worker, self._plan(), self.request.batch_size_for(self.facts))

    def _settings(self, addresses: Sequence[str]) -> RenderSettings:
        request = self.request
        return RenderSettings(request.style, request.reading, self.names, addresses, explain=asdict(self._plan()))

    def _job(self, piece: WorkItem, index: int, result: Any) -> FigureJob:
        return FigureJob(
            piece.sample, index, {}, piece.files, piece.fingerprints, piece.file_sha256, heat_maps=result[index]
        )

"""Heat maps of inputs, computed by a worker."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from actviz.batch.batch_sizes import BatchSizes
from actviz.batch.computations import stacked
from actviz.records import Activation

if TYPE_CHECKING:
    from collections.abc import Sequence

    from actviz.batch.computations import Activations, HasSample
    from actviz.explanations.plan import ExplainPlan
    from actviz.records import HeatMap
    from actviz.worker import Worker

HeatMaps = tuple[tuple["HeatMap", ...], ...]


class HeatMapComputation:
    """Heat maps of each input; `versions` are those of the libraries, known after the first batch."""

    def __init__(self, worker: Worker, plan: ExplainPlan, size: int | None) -> None:
        # One input by default: each takes many forward passes, and the worker must answer before its timeout.
        self.workers, self.sizes = [worker], BatchSizes([], size or 1)
        self._worker, self._plan = worker, plan
        self.versions: dict[str, str] = {}

    def ask(self, batch: Sequence[HasSample], size: int, state: str) -> None:
        """Start computing a batch."""
        del state
        self._worker.request_heat_maps(stacked(batch, size), self._plan)

    def take(self) -> HeatMaps:
        """Wait for the maps of each input."""
        maps = self._worker.receive_heat_maps()
        self.versions = self.versions or self._worker.versions()
        return maps


class HeatMapArrays(HeatMapComputation):
    """Heat maps of each input as activations: each map, and its unit, score and output, under the name of its target."""

    def take(self) -> Activations:  # type: ignore[override]  # the same maps, as arrays
        """Wait for the maps of one input."""
        (maps,) = super().take()
        found: Activations = {}
        for name, item in zip(self._plan.names(maps), maps, strict=True):
            found[name] = Activation(name, item.method, item.values[None], ("batch", *item.axes))
            for part in ("unit", "score", "output"):
                value = np.array([[getattr(item, part)]], np.int64 if part == "unit" else np.float32)
                found[f"{name}/{part}"] = Activation(f"{name}/{part}", item.method, value, ("batch", "unit"))
        return found

"""The request of `show`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from actviz.batch.output_paths import OutputOptions
from actviz.batch.requests import ModelRequest
from actviz.inputs.input_files import Shard

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from actviz.records import LayerInfo, ModelFacts, Style
    from actviz.worker import ModelOptions


@dataclass(frozen=True, slots=True, kw_only=True)
class ShowRequest(ModelRequest):
    """The arguments of the command.

    `batch_size` is the number of inputs in a batch (``None``: by layer sizes); `shard` the part of the inputs to
    process; with `force`, figures that are up to date are drawn again, with `changed` they are not printed; `sheet`
    is ``None`` if it depends on whether `layers` are given; with `contact`, one channel is drawn for all inputs; `checkpoints` are several models, or several weights of one, of
    which one layer is drawn.
    """

    style: Style
    labels: Path | None = None
    tokens: Path | None = None
    batch_size: int | None = None
    shard: Shard = field(default_factory=Shard)
    force: bool = False
    changed: bool = False
    dry_run: bool = False
    sheet: bool | None = None
    through_link: bool = False
    contact: bool = False
    checkpoints: tuple[ModelOptions, ...] = ()

    @property
    def is_single(self) -> bool:
        """Whether each layer gets a figure of its own, instead of a sheet of all of them."""
        return bool(self.layers) if self.sheet is None else not self.sheet

    def output_options(self, facts: ModelFacts, layers: Sequence[LayerInfo]) -> OutputOptions:
        """Return what determines the paths of the figures of these layers."""
        addresses = [layer.address for layer in layers] if self.is_single else []
        return OutputOptions(addresses, self.output, facts.file, facts.digest, self.has_inputs)

    def batch_size_for(self, facts: ModelFacts) -> int | None:
        """Return the batch size: 1 for models of fixed batch size and for streams, otherwise the requested one."""
        fixed = any(spec.shape and spec.shape[0] is not None for spec in facts.inputs)
        return 1 if fixed or self.reading.stateful else self.batch_size

"""What `show --dry-run` prints: how many figures, how large, and how long they are likely to take.

Reading, computing and drawing are timed on the first input, each the second time: the first
pays for what is loaded and compiled once, which made an estimate ten times the run.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from actviz.batch import figure_writer
from actviz.errors import ActvizError
from actviz.results import png
from actviz.system import resource_limits

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import NDArray

    from actviz.records import Activation, Picture, Sample, Style

    Compute = Callable[[Mapping[str, NDArray[Any]]], Mapping[str, Activation]]

Result = TypeVar("Result")

# So many samples are computed at once to see what one costs in a batch, unless one takes long.
TIMED_BATCH, LONG = 16, 2.0


@dataclass(frozen=True, slots=True)
class Costs:
    """What one input takes: seconds of reading, of computing in a batch and of drawing, bytes of PNG files.

    `found` are its activations, `drawn` its figures.
    """

    reading: float
    computing: float
    drawing: float
    png_bytes: int
    found: Mapping[str, Activation]
    drawn: Sequence[Picture]

    def seconds(self, inputs: int) -> float:
        """Return how long so many inputs are likely to take after everything was loaded.

        Reading and drawing share all cores. While the model is run they go on, but TensorFlow
        has threads of its own: of the shorter of the two, half is taken to be in addition.
        """
        beside = (self.reading + self.drawing) / resource_limits.core_count()
        return inputs * (max(self.computing, beside) + min(self.computing, beside) / 2)


def measure(
    sample: Sample,
    compute: Compute,
    draw: Callable[[Mapping[str, Activation]], list[Picture]],
    read: Callable[[], object],
    *,
    in_batches: bool = True,
) -> Costs:
    """Time one input.

    Parameters
    ----------
    sample
        The input.
    compute
        Runs the model on a batch: arrays by input name, batch axis first.
    draw
        Draws all figures of one input from its activations.
    read
        Reads the input once more.
    in_batches
        Whether several inputs are computed at once.
    """
    found = compute(sample.values)
    _, computing = _timed(lambda: compute(sample.values))
    if in_batches and computing < LONG:
        computing = min(computing, _in_a_batch(sample, compute))
    draw(found)
    (drawn, size), drawing = _timed(lambda: _packed(draw(found)))
    _, reading = _timed(read)
    return Costs(reading, computing, drawing, size, found, drawn)


def _in_a_batch(sample: Sample, compute: Compute) -> float:
    """Return the seconds for each of several inputs that are computed at once."""
    batch = {name: np.concatenate([values] * TIMED_BATCH) for name, values in sample.values.items()}
    try:
        compute(batch)
        _, seconds = _timed(lambda: compute(batch))
    except ActvizError:  # a model for single inputs
        return float("inf")
    return seconds / TIMED_BATCH


def _packed(drawn: list[Picture]) -> tuple[list[Picture], int]:
    return drawn, sum(len(png.encode_png(picture.drawn, {}, picture.palette)) for picture in drawn)


def _timed(work: Callable[[], Result]) -> tuple[Result, float]:
    started = time.perf_counter()
    result = work()
    return result, time.perf_counter() - started


def drawing_of(
    sample: Sample, keys: Sequence[str], style: Style, model: str
) -> Callable[[Mapping[str, Activation]], list[Picture]]:
    """Return what draws all figures of one input."""
    return lambda found: figure_writer.draw_all(figure_writer.FigureJob(sample, 0, found, {}), keys, style, model)

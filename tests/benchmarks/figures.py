"""Time of whole figures once the array is in memory: drawn, labelled, encoded as PNG.

Run ``python tests/benchmarks/figures.py`` (a minute). Medians of several runs; beside
them the same tiles as axes of matplotlib, of which a part is drawn and the rest estimated
from it (``--whole`` draws them all). CPU time is
of all threads, and says more than wall time on a busy machine.
"""

from __future__ import annotations

import argparse
import io
import statistics
import time
from typing import TYPE_CHECKING

import numpy as np

from actviz.figures import renderers
from actviz.records import Activation, Context, Style
from actviz.results import png

if TYPE_CHECKING:
    from collections.abc import Callable

AXES = ("batch", "row", "column", "channel")
CONTEXT = Context("model.h5", "cat.png", "224 x 224 x 3, 0..1", np.full((224, 224, 3), 90, np.uint8))
LAYERS = {"512 x 28 x 28": (28, 28, 512), "2048 x 7 x 7": (7, 7, 2048)}
PART = 48


def layer(shape: tuple[int, ...]) -> Activation:
    """Return smooth random maps after a ReLU, as a trained network gives them."""
    random = np.random.default_rng(0)
    coarse = random.normal(size=(1, *(max(2, -(-side // 3)) for side in shape[:2]), shape[2]))
    values = np.maximum(coarse.repeat(3, axis=1).repeat(3, axis=2)[:, : shape[0], : shape[1]], 0)
    noise = np.maximum(random.normal(scale=0.2, size=values.shape), 0)
    return Activation("conv", "Conv2D", (values + noise).astype(np.float32), AXES, signed=False)


def draw(activation: Activation, style: Style) -> bytes:
    """Return a complete figure as PNG."""
    picture = renderers.draw(activation, 0, CONTEXT, style)
    return png.encode_png(picture.pixels, {"numbers": picture.numbers})


def with_matplotlib(activation: Activation, count: int) -> bytes:
    """Return the first maps as axes of a matplotlib figure, as the usual recipe draws them."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    columns = int(np.ceil(np.sqrt(count)))
    page = Figure(figsize=(columns * 0.8, columns * 0.8))
    FigureCanvasAgg(page)
    places = page.subplots(-(-count // columns), columns, squeeze=False).ravel()
    for channel, place in enumerate(places):
        if channel < count:
            place.imshow(activation.values[0, :, :, channel], cmap="inferno")
            place.set_title(str(channel), fontsize=6)
        place.axis("off")
    file = io.BytesIO()
    page.savefig(file, format="png")
    return file.getvalue()


def seconds(work: Callable[[], object], runs: int) -> tuple[float, float]:
    """Return the medians of wall and CPU time of several runs, a first one left out."""
    found = []
    for _ in range(runs + 1):
        started, used = time.perf_counter(), time.process_time()
        work()
        found.append((time.perf_counter() - started, time.process_time() - used))
    wall, cpu = zip(*found[1:], strict=True)
    return statistics.median(wall), statistics.median(cpu)


def main() -> None:
    """Measure everything and print the table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--runs", type=int, default=15)
    parser.add_argument("--whole", action="store_true", help="Draw every tile with matplotlib.")
    options = parser.parse_args()
    print(
        "| figure | wall time | CPU time | drawing (CPU) | bytes | matplotlib axes (CPU) | ratio |\n|---|---|---|---|---|---|---|"
    )
    for name, shape in LAYERS.items():
        activation = layer(shape)
        wall, cpu = seconds(lambda one=activation: draw(one, Style()), options.runs)
        _, drawing = seconds(lambda one=activation: renderers.draw(one, 0, CONTEXT, Style()), options.runs)
        count = shape[2] if options.whole else PART
        _, beside = seconds(lambda one=activation, many=count: with_matplotlib(one, many), 1)
        beside *= shape[2] / count
        size = len(draw(activation, Style()))
        times = " | ".join(f"{1000 * one:.0f} ms" for one in (wall, cpu, drawing))
        print(f"| {name} | {times} | {size:,} | {beside:.1f} s | {beside / cpu:.0f} x |")


if __name__ == "__main__":
    main()

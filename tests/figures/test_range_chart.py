"""Range charts: the channels of layers as bars."""

from __future__ import annotations

import numpy as np
import pytest
from picture_helpers import assert_labels_apart

from actviz.figures import range_chart
from actviz.records import Activation, LayerInfo, Picture
from actviz.statistics.running_statistics import totals_of

AXES = ("batch", "row", "column", "channel")


def row(number: int, channels: int, values: np.ndarray | None = None) -> range_chart.RangeRow:
    """Return the statistics of random maps."""
    if values is None:
        values = np.random.default_rng(number).normal(size=(1, 3, 3, channels))
    address = f"block/layer_{number}"
    layer = LayerInfo(address, address, number, "Conv2D", (None, *values.shape[1:]), "float32", 0, AXES)
    totals = totals_of(Activation(address, "Conv2D", values.astype(np.float32), AXES))
    return range_chart.RangeRow(layer, totals, ())


def chart(*rows: range_chart.RangeRow) -> Picture:
    return range_chart.draw_chart(rows, range_chart.ChartHeading("model.keras", 1, len(rows), 0))


def words(picture: Picture) -> str:
    return " ".join(label.text for label in picture.labels)


@pytest.mark.parametrize(
    ("count", "channels", "note"), [(1, 3, ""), (9, 64, ""), (20, 48, ""), (157, 48, " of 157 layers"), (30, 5000, "")]
)
def test_a_chart_is_at_most_1600_pixels_high_and_wide(count: int, channels: int, note: str) -> None:
    picture = chart(*(row(number, channels) for number in range(count)))

    assert max(picture.pixels.shape[:2]) <= 1600
    drawn = sum(label.text.startswith("block/layer_") for label in picture.labels)
    assert drawn == count or f"{drawn} of {count} layers, the first" in words(picture)
    assert note in words(picture)
    assert_labels_apart(picture)


def test_the_caption_explains_what_is_on_the_page() -> None:
    values = np.zeros((1, 3, 3, 2))
    values[..., 1] = 4

    assert "hatched: dead" in words(chart(row(0, 2, values)))
    assert "tick alone: one value" in words(chart(row(0, 2, values)))
    assert "hatched: dead" not in words(chart(row(0, 2)))
    assert "tick alone" not in words(chart(row(0, 2)))

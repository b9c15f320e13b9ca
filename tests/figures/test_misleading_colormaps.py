"""Colormaps that mislead for the values they show."""

from __future__ import annotations

import numpy as np
import pytest
from picture_helpers import CONTEXT, spatial

from actviz.figures import colors, renderers, sheet
from actviz.records import Style


@pytest.mark.parametrize("name", ["gray", "viridis", "inferno", "magma", "cividis", "hot", "Greens", "gray_r"])
@pytest.mark.parametrize("signed", [True, False])
def test_sequential_colormaps_do_not_mislead(name: str, signed: bool) -> None:
    assert colors.misleading(name, signed=signed) == ""


@pytest.mark.parametrize("name", ["RdBu_r", "coolwarm", "seismic", "PiYG"])
def test_diverging_colormaps_mislead_on_values_of_one_sign(name: str) -> None:
    assert colors.misleading(name, signed=True) == ""
    assert "diverging" in colors.misleading(name, signed=False)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("jet", "lightness"),
        ("hsv", "lightness"),
        ("prism", "lightness"),
        ("tab10", "categories"),
        ("Set3", "categories"),
    ],
)
def test_others_mislead_always(name: str, reason: str) -> None:
    assert reason in colors.misleading(name, signed=True)
    assert reason in colors.misleading(name, signed=False)


@pytest.mark.parametrize("dark", [True, False])
def test_default_colormaps_do_not_mislead(dark: bool) -> None:
    for signed in (True, False):
        assert colors.misleading(colors.default_colormap(centred=signed, dark=dark), signed=signed) == ""


def test_figures_and_sheets_say_it_but_not_of_a_few_whole_numbers() -> None:
    values = np.linspace(0, 1, 75, dtype=np.float32).reshape(5, 5, 3)
    for picture in (
        renderers.draw(spatial(values), 0, CONTEXT, Style(cmap="jet")),
        sheet.draw_sheet([spatial(values)], 0, CONTEXT, Style(cmap="jet")),
    ):
        assert "colormap jet is not ordered in lightness" in " ".join(label.text for label in picture.labels)
    few = renderers.draw(spatial((values * 3).astype(np.int32)), 0, CONTEXT, Style(cmap="tab10"))
    assert "categories" not in " ".join(label.text for label in few.labels)

"""The table of renderers: each entry fits the protocol, and a new one needs no change elsewhere."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from picture_helpers import AXES, CONTEXT

from actviz.figures import renderers, sheet
from actviz.figures.renderers import grid
from actviz.figures.renderers.renderer_protocol import Renderer, SheetTiles
from actviz.records import Activation, Context, Picture, Style
from actviz.report import report_figures

SPECTRUM = ("batch", "frequency")


def activation_of(axes: tuple[str, ...]) -> Activation:
    """Return a batch of two with sizes 2, 3, 4, ... along the other axes."""
    shape = (2, *range(2, len(axes) + 1))
    return Activation("layer", "Kind", np.random.default_rng(1).normal(size=shape).astype(np.float32), axes)


def spectrum_maps(activation: Activation, index: int) -> np.ndarray:
    """Return one entry as ``(frequency band, row, column)``."""
    return np.ascontiguousarray(activation.values[index].reshape(2, 3, -1))


def draw_spectrum(activation: Activation, index: int, context: Context, style: Style) -> Picture:
    """Draw two bands."""
    tile_set = grid.TileSet(spectrum_maps(activation, index), "band", (("frequency",), None, None))
    return grid.draw(activation, tile_set, context, style)


SPECTRA = SimpleNamespace(
    accepts=lambda axes: axes == SPECTRUM,
    draw=draw_spectrum,
    channel_axes=lambda axes: axes[1:],
    sheet_tiles=lambda activation, index: SheetTiles(spectrum_maps(activation, index), "band", "two bands"),
)


def test_a_new_renderer_draws_figures_sheets_and_reports(monkeypatch: pytest.MonkeyPatch) -> None:
    # First, as `vector` would accept these axes too.
    monkeypatch.setattr(renderers, "RENDERERS", {"spectrum": SPECTRA, **renderers.RENDERERS})
    values = np.random.default_rng(1).normal(size=(1, 24)).astype(np.float32)
    activation = Activation("layer", "Kind", values, SPECTRUM)

    assert renderers.kind_of(SPECTRUM) == "spectrum"
    figure = renderers.draw(activation, 0, CONTEXT, Style())
    page = sheet.draw_sheet([activation], 0, CONTEXT, Style())

    assert [tile.channel for tile in figure.tiles] == [0, 1]
    assert sorted(tile.channel for tile in page.tiles) == [0, 1]
    assert any("2 of 2 bands, two bands" in label.text for label in page.labels)
    assert report_figures.channels_of(activation).shape == (24,)


def test_every_renderer_is_here() -> None:
    assert AXES.keys() == renderers.RENDERERS.keys()


@pytest.mark.parametrize("kind", AXES)
def test_every_renderer_fits_the_protocol(kind: str) -> None:
    renderer: Renderer = renderers.RENDERERS[kind]
    axes = AXES[kind]
    activation = activation_of(axes)

    assert renderer.accepts(axes)
    assert not renderer.accepts(axes[1:])
    assert set(renderer.channel_axes(axes)) < set(axes[1:]) or kind == "vector"
    figure = renderer.draw(activation, 1, CONTEXT, Style())
    tiles = renderer.sheet_tiles(activation, 1)
    page = sheet.draw_sheet([activation], 1, CONTEXT, Style(channels="all"))

    assert figure.tiles
    assert tiles.maps.ndim == 3
    assert tiles.maps.flags.c_contiguous
    assert tiles.tile_name
    count = int(np.prod([activation.values.shape[axes.index(name)] for name in renderer.channel_axes(axes)]))
    assert len({tile.channel for tile in figure.tiles}) == count
    # A sequence is one map on a sheet, with all its units.
    assert len(page.tiles) == (1 if kind == "sequence" else count)
    first = Activation("layer", "Kind", activation.values[1:], axes)
    assert len(report_figures.channels_of(first)) == count
    assert {tile.channel for tile in page.tiles} == set(range(len(page.tiles)))


@pytest.mark.parametrize("axes", [("batch", "step", "channel"), ("batch", "channel", "row")])
def test_a_sheet_reduces_channels_along_one_axis(axes: tuple[str, ...]) -> None:
    activation = activation_of(axes)

    page = sheet.draw_sheet([activation], 0, CONTEXT, Style(reduce="mean"))

    assert len(page.tiles) == activation.values.shape[1 if axes[1] != "channel" else 2]
    assert any("mean of " in label.text for label in page.labels)


def parts_of(activation: Activation) -> Any:
    """Return the steps and units of a sheet's map of a sequence."""
    return renderers.RENDERERS["sequence"].sheet_tiles(activation, 0)


@pytest.mark.parametrize(("steps", "units"), [(6, 3), (3, 6)])
def test_masked_steps_of_a_sequence_lie_along_their_axis(steps: int, units: int) -> None:
    mask = np.arange(steps) < steps - 1
    values = np.ones((1, steps, units), np.float32)

    tiles = parts_of(Activation("layer", "Kind", values, AXES["sequence"], mask=mask[None]))

    assert tiles.masked == (steps - 1,)
    assert tiles.masked_axis == 1
    assert tiles.maps.shape == (1, steps - 1, units)

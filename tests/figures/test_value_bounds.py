"""What tiles run to and what stands below them: bounds of activation functions, both ends, next to nothing."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from late_imports import keras
from picture_helpers import CONTEXT, SPATIAL, assert_read_back, decode, sheet_pages, spatial, step_of, vector

import actviz
from actviz.figures import renderers, sheet, text
from actviz.figures.renderers import captions
from actviz.formats.axes import over_steps
from actviz.records import Activation, Style
from actviz.system import serialization

if TYPE_CHECKING:
    from pathlib import Path

RAMP = np.linspace(0, 1, 36, dtype=np.float32).reshape(6, 6)


def texts(picture: Any) -> list[str]:
    return [label.text for label in picture.labels]


def said(picture: Any) -> str:
    return " ".join(texts(picture))


def bounded(maps: np.ndarray, low: float = 0.0, high: float = 1.0, axes: tuple[str, ...] = SPATIAL) -> Activation:
    return Activation("layer", "Kind", maps[None].astype(np.float32), axes, bounds=(low, high))


@pytest.mark.parametrize(
    ("axes", "shape"),
    [
        (SPATIAL, (6, 6, 3)),
        (("batch", "unit"), (10,)),
        (("batch", "step", "unit"), (6, 5)),
        (("batch", "step", "row", "column", "channel"), (3, 4, 4, 2)),
        (("batch", "head", "query", "key"), (2, 5, 5)),
    ],
)
@pytest.mark.parametrize("ends", [(0.0, 1.0), (-1.0, 1.0)])
def test_bounded_values_run_to_their_bounds(axes: tuple[str, ...], shape: tuple[int, ...], ends: Any) -> None:
    values = np.random.default_rng(0).uniform(ends[0] * 0.2, 0.22, shape)
    one = bounded(values, *ends, axes)

    picture = renderers.draw(one, 0, CONTEXT, Style())

    assert {(tile.low, tile.high) for tile in picture.tiles} == {ends}
    assert picture.numbers["scale"] == "bounds"
    assert picture.numbers["clipped"] == 0
    assert "the bounds of the activation function" in said(picture)
    assert_read_back(picture, one, Style())


def test_a_scale_that_is_asked_for_wins_over_bounds_and_values_beyond_them_too() -> None:
    one = bounded(RAMP[..., None] * 0.22)
    assert renderers.draw(one, 0, CONTEXT, Style(scale="filter")).tiles[0].high == np.float32(0.22)
    beyond = renderers.draw(bounded(RAMP[..., None] * 1.5), 0, CONTEXT, Style())
    assert (beyond.numbers["scale"], beyond.tiles[0].high) == ("filter", 1.5)


def test_bounds_travel_with_an_activation() -> None:
    one = bounded(RAMP[..., None])
    content, arrays = serialization.encode(one)
    assert serialization.decode(content, Activation, arrays).bounds == (0.0, 1.0)


def test_below_a_tile_stand_both_ends_and_what_hardly_changes_is_counted_apart() -> None:
    maps = np.stack([0.49 + 0.015 * RAMP, RAMP, np.full((6, 6), 0.5), 4e-34 * RAMP, 0.49999 + 1e-5 * RAMP], axis=-1)

    picture = renderers.draw(spatial(maps), 0, CONTEXT, Style())

    assert {"0.49..0.505", "0..1", "= 0.5", f"{text.ALMOST} 0: 4e{text.MINUS}34", "0.49999..0.5"} <= set(texts(picture))
    assert "1 constant (2)" in said(picture)
    assert "2 near-constant (0, 4): ends within 5% of the larger" in said(picture)
    assert "1 next to nothing (3): below 0.01% of the largest |value| of the layer" in said(picture)


def test_signed_layers_have_both_ends_below_every_tile_whatever_the_room() -> None:
    rng = np.random.default_rng(0)
    maps = rng.normal(size=(4, 4, 64)) * 1.234e-5
    shown = set(texts(renderers.draw(spatial(maps), 0, CONTEXT, Style())))
    for channel in range(64):
        low, high = maps[..., channel].min(), maps[..., channel].max()
        assert any(text.range_text(low, high, digits) in shown for digits in (1, 2, 3))


@pytest.mark.parametrize("side", [4, 60])
def test_a_sheet_marks_what_is_next_to_nothing(side: int) -> None:
    field = np.linspace(0, 1, side * side).reshape(side, side)
    one = spatial(np.stack([field, field * 4e-34, field * 0.5], axis=-1))

    picture = sheet.draw_sheet([one], 0, CONTEXT, Style())

    assert any(words.startswith(f"{text.ALMOST} 0") for words in texts(picture))
    assert f"{text.ALMOST} 0: next to nothing, below 0.01% of the largest |value| of its layer" in said(picture)
    plain = sheet.draw_sheet([spatial(np.stack([field, field * 0.5], axis=-1))], 0, CONTEXT, Style())
    assert text.ALMOST not in said(plain)


@pytest.mark.parametrize("style", [Style(), Style(scale="layer"), Style(scale="filter:p2:98"), Style(dark=True)])
@pytest.mark.parametrize("signed", [True, False])
def test_tiles_of_a_sheet_come_back_within_a_step(style: Style, signed: bool) -> None:
    """Where maps are not averaged to fit; what is beyond percentiles comes back as their ends."""
    rng = np.random.default_rng(1)
    maps = rng.normal(size=(7, 9, 8))
    frames = rng.normal(size=(4, 5, 6, 3))
    rows = rng.normal(size=(6, 11))
    units = rng.normal(size=20)
    if not signed:
        maps, frames, rows, units = (np.abs(one) for one in (maps, frames, rows, units))
    furthest = np.where(-frames.min(axis=0) > frames.max(axis=0), frames.min(axis=0), frames.max(axis=0))
    layers = [
        spatial(maps, address="maps"),
        Activation("frames", "K", frames[None], ("batch", "step", "row", "column", "channel")),
        Activation("rows", "K", rows[None], ("batch", "step", "unit")),
        vector(units, address="units"),
    ]
    expected = {"maps": np.moveaxis(maps, -1, 0), "frames": np.moveaxis(furthest, -1, 0), "rows": rows[None]}
    expected["units"] = units[:, None, None]

    picture = sheet.draw_sheet(layers, 0, CONTEXT, style)

    pixels = picture.pixels
    for tile in picture.tiles:
        map_ = expected[tile.address][tile.channel]
        colormap = picture.numbers["layers"][tile.address]["colormap"]
        found = decode(pixels, colormap, tile, map_.shape)
        assert (np.abs(found - np.clip(map_, tile.low, tile.high)) <= step_of(tile) * 0.51).all(), tile
    assert {tile.address for tile in picture.tiles} == set(expected)


def test_an_axis_of_steps_around_steps_has_a_name_of_its_own() -> None:
    once = over_steps(("batch", "unit"))
    twice, thrice = over_steps(once), over_steps(over_steps(once))
    assert once == ("batch", "step", "unit")
    assert twice == ("batch", "axis1", "step", "unit")
    assert len(set(thrice)) == 5


@pytest.fixture(scope="module")
def network() -> Any:
    """Return a network with every kind of bounded output, and some that only look like it."""
    layers = keras.layers
    given = keras.Input((8, 8, 2), name="given")
    gate = layers.Conv2D(3, 3, activation="sigmoid", name="gate")(given)
    pooled = layers.MaxPooling2D(name="pooled")(gate)
    signed = layers.Conv2D(3, 3, activation="tanh", name="signed")(given)
    both = layers.Concatenate(name="both")([gate, signed])
    summed = layers.Add(name="summed")([gate, signed])
    rows = layers.TimeDistributed(layers.TimeDistributed(layers.Dense(2, activation="hard_sigmoid")), name="rows")(
        given
    )
    steps = layers.Reshape((9, 3), name="steps")(pooled)
    cells = layers.LSTM(4, return_sequences=True, name="cells")(steps)
    heads = layers.MultiHeadAttention(2, 3, name="heads")(cells, cells)
    flat = layers.Flatten(name="flat")(pooled)
    scores = layers.Softmax(name="scores")(layers.Dense(4, name="logits")(flat))
    clipped = layers.ReLU(6, name="clipped")(summed)
    return keras.Model(given, [both, summed, rows, heads, scores, clipped])


EXPECTED = {
    "given": None, "gate": (0, 1), "pooled": (0, 1), "signed": (-1, 1), "both": None, "summed": None, "rows": (0, 1),
    "steps": (0, 1), "cells": None, "heads": None, "heads@scores": (0, 1), "flat": (0, 1), "logits": None,
    "scores": (0, 1), "clipped": None,
}  # fmt: skip


def bounds_in(path: Path) -> dict[str, Any]:
    with actviz.open(path) as opened:
        found = opened.activations({opened.facts.inputs[0].name: np.zeros((1, 8, 8, 2), np.float32)})
    return {address: one.bounds for address, one in found.items()}


@pytest.mark.tensorflow
@pytest.mark.parametrize("suffix", ["keras", "h5"])
def test_bounds_are_those_of_the_graph(network: Any, tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"m.{suffix}"
    network.save(path)
    with actviz.open(path) as opened:
        found = opened.activations(np.zeros((1, 8, 8, 2), np.float32), list(EXPECTED))
    assert {address: one.bounds for address, one in found.items()} == EXPECTED
    assert len(set(found["rows"].axes)) == 4


@pytest.mark.slow
@pytest.mark.tensorflow
def test_bounds_are_told_by_exports_and_conversions_too(network: Any, tmp_path: Path) -> None:
    import tensorflow as tf

    # Without the LSTM, which TFLite converts with operations of TensorFlow only.
    part = keras.Model(network.inputs, [network.get_layer(name).output for name in ("scores", "clipped")])
    part.export(tmp_path / "exported", verbose=False)
    converter = tf.lite.TFLiteConverter.from_saved_model(str(tmp_path / "exported"))
    (tmp_path / "m.tflite").write_bytes(converter.convert())
    exported, converted = bounds_in(tmp_path / "exported"), bounds_in(tmp_path / "m.tflite")
    same = ("gate", "pooled", "signed", "flat", "scores", "summed", "logits")
    assert {address: exported[address] for address in same} == {address: EXPECTED[address] for address in same}
    # A converter keeps some of the names only.
    ends = {"gate/Sigmoid": (0, 1), "pooled": (0, 1), "flat": (0, 1), "signed/Tanh": (-1, 1), "output_0": (0, 1)}
    assert {address: one for address, one in converted.items() if one} == ends


def narrow(columns: int = 6, channels: int = 20, low: float = 0.0) -> np.ndarray:
    """Return positive maps of 96 rows, some of which begin above zero: ``(row, column, channel)``."""
    maps = np.random.default_rng(2).uniform(low, 0.4, (96, columns, channels))
    maps[..., 1::2] += 0.0611
    return maps


@pytest.mark.parametrize("axes", [SPATIAL, ("batch", "step", "row", "column", "channel")])
@pytest.mark.parametrize("style", [Style(), Style(scale="filter:p2:98")])
def test_positive_tiles_have_both_ends_whatever_the_room(axes: tuple[str, ...], style: Style) -> None:
    maps = narrow()
    values = maps if axes == SPATIAL else maps.reshape(4, 24, 6, 20)

    shown = set(texts(renderers.draw(Activation("layer", "Kind", values[None], axes), 0, CONTEXT, style)))

    for channel in range(20):
        low, high = maps[..., channel].min(), maps[..., channel].max()
        if style.scale != "auto":
            low, high = np.percentile(maps[..., channel], (2, 98))
        assert any(text.range_text(low, high, digits) in shown for digits in (1, 2, 3))
    assert captions.SINGLE_LIMIT_NOTE not in " ".join(shown)


@pytest.mark.parametrize("low", [0.0, -0.4])
@pytest.mark.parametrize("scale", ["auto", "filter:p2:98"])
def test_a_figure_says_where_tiles_have_one_of_their_ends(low: float, scale: str) -> None:
    """On sheets, and in figures of more than 1,024 tiles, a cell is as wide as its tile."""
    maps = narrow(channels=1100, low=low)[:8]
    style = Style(scale=scale)

    assert captions.SINGLE_LIMIT_NOTE in said(renderers.draw(spatial(maps), 0, CONTEXT, style))
    assert captions.SINGLE_LIMIT_NOTE not in said(renderers.draw(spatial(maps[..., :9]), 0, CONTEXT, style))
    one = spatial(maps[..., :64] * 1e-5)
    small = replace(style, channels="0:64", megapixels=0.3)  # pages of tiles of 56 pixels
    assert captions.SINGLE_LIMIT_NOTE in said(next(sheet_pages([one], CONTEXT, small)))
    assert captions.SINGLE_LIMIT_NOTE not in said(sheet.draw_sheet([one], 0, CONTEXT, style))


def test_the_largest_tiles_of_a_sheet_hold_every_pair_of_ends() -> None:
    widest = text.range_text(-1.7976931348623157e308, -1.2e-308, 1)
    assert text.get_font(10).width(widest) <= 104

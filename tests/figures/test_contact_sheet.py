"""One channel over many inputs."""

from __future__ import annotations

import numpy as np
import pytest
from picture_helpers import assert_labels_apart, decode, spatial

from actviz.figures import contact_sheet
from actviz.figures.contact_sheet import ContactEntry
from actviz.records import Picture, Style

MAPS = np.random.default_rng(0).normal(size=(6, 5, 7)).astype(np.float32) * np.array([1, 4, 2, 0, 3, 5])[:, None, None]


def draw(style: Style, *, pictures: bool = True, maps: np.ndarray = MAPS) -> Picture:
    picture = np.full((20, 10, 3), (10, 200, 30), np.uint8) if pictures else None
    entries = [ContactEntry(f"input {number}.png", picture, values) for number, values in enumerate(maps)]
    return contact_sheet.draw(spatial(np.zeros((5, 7, 20), np.float32)), 17, entries, ("m.keras", 9), style)


@pytest.mark.parametrize("pictures", [True, False])
def test_maps_of_all_inputs_are_on_one_scale_with_the_strongest_first(pictures: bool) -> None:
    picture = draw(Style(), pictures=pictures)

    assert [tile.channel for tile in picture.tiles] == [5, 1, 4, 2, 0, 3]
    assert len({(tile.low, tile.high) for tile in picture.tiles}) == 1
    for tile in picture.tiles:
        values = decode(picture.pixels, picture.numbers["colormap"], tile, (5, 7))
        assert np.abs(values - MAPS[tile.channel]).max() <= (tile.high - tile.low) / 255 * 0.51
    assert_labels_apart(picture)
    texts = [label.text for label in picture.labels]
    assert "conv:17" in texts
    assert any("6 of 9 inputs, strongest by mean |value|" in words for words in texts)
    assert any("· 1 dead ·" in words for words in texts)  # inputs have names, not numbers
    assert picture.numbers["inputs"] == [f"input {number}.png" for number in (5, 1, 4, 2, 0, 3)]
    assert bool((picture.pixels == (10, 200, 30)).all(axis=2).any()) == pictures


def test_order_number_and_scale_are_those_of_the_style() -> None:
    assert [tile.channel for tile in draw(Style(sort="index")).tiles] == list(range(6))
    assert [tile.channel for tile in draw(Style(top=2)).tiles] == [5, 1]
    assert {(tile.low, tile.high) for tile in draw(Style(scale="-1:2")).tiles} == {(-1.0, 2.0)}
    assert len({tile.high for tile in draw(Style(scale="filter")).tiles}) == 6


def test_captions_list_no_numbers_as_inputs_have_names() -> None:
    maps = MAPS.copy()
    maps[1, 0, 0], maps[2] = np.nan, 0
    (caption,) = (label.text for label in draw(Style(), maps=maps).labels if "2 dead" in label.text)
    assert "2 dead ·" in caption
    assert "(" not in caption


def test_long_names_and_many_inputs_stay_apart() -> None:
    maps = np.random.default_rng(1).normal(size=(256, 4, 4)).astype(np.float32)
    assert_labels_apart(draw(Style(), maps=maps))

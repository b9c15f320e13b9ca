"""Channels and tiles."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from actviz.errors import UsageError
from actviz.figures import mosaic


@pytest.mark.parametrize(
    ("selection", "expected"),
    [
        (None, list(range(10))),
        ("3", [3]),
        ("-1", [9]),
        ("0:3,8,-1", [0, 1, 2, 8, 9]),
        ("5,1,5", [5, 1]),
        ("::4", [0, 4, 8]),
        ("8:", [8, 9]),
        (" 1 , 2 ", [1, 2]),
        ("3:0:-1", [3, 2, 1]),
    ],
)
def test_selections(selection: str | None, expected: list[int]) -> None:
    assert mosaic.parse_channels(selection, 10) == expected


@pytest.mark.parametrize("selection", ["", "a", "1,,2", "10", "-11", "0:11", "5:5", "1:2:0", "1:2:3:4", "1.5"])
def test_selections_that_mean_nothing(selection: str) -> None:
    with pytest.raises(UsageError) as caught:
        mosaic.parse_channels(selection, 10)

    assert "\n" not in caught.value.message


def test_top_keeps_the_first() -> None:
    assert mosaic.keep_top([5, 3, 1], 2) == [5, 3]
    assert mosaic.keep_top([5, 3, 1], None) == [5, 3, 1]
    with pytest.raises(UsageError):
        mosaic.keep_top([1], 0)


@pytest.mark.parametrize(
    ("count", "shape"),
    [
        (1, (1, 1)),
        (3, (1, 3)),
        (16, (4, 4)),
        (64, (8, 8)),
        (512, (16, 32)),
        (7, (2, 4)),
        (2048, (32, 64)),
    ],
)
def test_grids_that_are_found_by_counting(count: int, shape: tuple[int, int]) -> None:
    assert mosaic.grid_shape(count, 100, 80) == shape


@given(st.integers(1, 3000), st.integers(1, 600), st.integers(1, 600))
def test_every_cell_has_a_place_and_no_row_is_empty(count: int, height: int, width: int) -> None:
    rows, columns = mosaic.grid_shape(count, height, width)

    assert (rows - 1) * columns < count <= rows * columns


def test_columns_are_obeyed() -> None:
    assert mosaic.grid_shape(10, 5, 5, columns=4) == (3, 4)
    assert mosaic.grid_shape(3, 5, 5, columns=9) == (1, 3)
    with pytest.raises(UsageError):
        mosaic.grid_shape(3, 5, 5, columns=0)


def test_a_mosaic_by_hand() -> None:
    tiles = np.array([[[1, 2]], [[3, 4]], [[5, 6]]], dtype=np.uint32)

    found, grid = mosaic.assemble(tiles, 2, np.uint32(0))

    np.testing.assert_array_equal(found, [[1, 2, 0, 3, 4], [0, 0, 0, 0, 0], [5, 6, 0, 0, 0]])
    assert [grid.box(place) for place in range(3)] == [(0, 0, 1, 2), (0, 3, 1, 5), (2, 0, 3, 2)]


def test_zoom_repeats_values() -> None:
    tiles = np.array([[[1, 2]]], dtype=np.uint32)

    found, _ = mosaic.assemble(tiles, 1, np.uint32(0), zoom=2)

    np.testing.assert_array_equal(found, [[1, 1, 2, 2], [1, 1, 2, 2]])


def test_tiles_outside_the_canvas_are_a_bug() -> None:
    grid = mosaic.TileGrid(1, 2, 0, 0, 3, 3, 3, 3)

    with pytest.raises(ValueError, match="on a canvas"):
        mosaic.tile_views(np.zeros((3, 5), dtype=np.uint32), grid)


@given(st.integers(1, 20), st.integers(1, 4), st.integers(1, 4), st.integers(1, 6), st.integers(1, 3))
def test_each_tile_lies_where_its_box_says(count: int, height: int, width: int, columns: int, zoom: int) -> None:
    tiles = np.arange(1, count * height * width + 1, dtype=np.uint32).reshape(count, height, width)
    before = tiles.copy()

    found, grid = mosaic.assemble(tiles, columns, np.uint32(0), zoom)

    np.testing.assert_array_equal(tiles, before)
    for place, tile in enumerate(tiles):
        top, left, bottom, right = grid.box(place)
        np.testing.assert_array_equal(found[top:bottom:zoom, left:right:zoom], tile)
        np.testing.assert_array_equal(found[top:bottom, left:right], np.kron(tile, np.ones((zoom, zoom))))
    assert np.count_nonzero(found) == tiles.size * zoom * zoom


def test_frames_lie_outside_the_tiles() -> None:
    canvas = np.zeros((9, 9), dtype=np.uint32)
    grid = mosaic.TileGrid(2, 2, 1, 1, 5, 5, 2, 2)

    mosaic.draw_frames(canvas, grid, 3, np.uint32(7))

    assert (canvas[0:4, 0:4] == 7).sum() == 12
    assert (canvas[1:3, 1:3] == 0).all()
    assert (canvas[5:9, 5:9] == 0).all()

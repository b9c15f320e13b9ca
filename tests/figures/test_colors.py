"""Values to colours."""

from __future__ import annotations

import re
import subprocess
import sys

import numpy as np
import pytest
from conftest import ROOT
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from matplotlib import colormaps
from picture_helpers import steps_to_values

from actviz.errors import UsageError
from actviz.figures import color_scale, colors
from actviz.records import Picture

pytestmark = pytest.mark.filterwarnings("error")

COLORMAPS = ROOT / "tests" / "COLORMAPS.md"
FINITE = st.floats(allow_nan=False, allow_infinity=False)


@pytest.mark.parametrize("name", colors.shipped_colormaps())
def test_shipped_tables_are_those_of_matplotlib(name: str) -> None:
    expected = colormaps[name].resampled(256)(np.arange(256), bytes=True)[:, :3]

    np.testing.assert_array_equal(colors.table(name).colors, expected)
    assert colors.table(name).invertible


def test_defaults_need_no_matplotlib() -> None:
    program = (
        "import sys; from actviz.figures import colors;"
        f"colors.table({colors.SEQUENTIAL!r}); colors.table({colors.DIVERGING!r});"
        f"colors.table({colors.DIVERGING_DARK!r});"
        "assert 'matplotlib' not in sys.modules;"
        "colors.table('magma'); assert 'matplotlib' in sys.modules;"
        "assert 'matplotlib.pyplot' not in sys.modules"
    )

    subprocess.run([sys.executable, "-c", program], check=True)


def test_neutral_in_the_middle_of_the_diverging_table() -> None:
    light, dark = (colors.table(name).colors.astype(int) for name in (colors.DIVERGING, colors.DIVERGING_DARK))

    assert np.ptp(light[127:129]) <= 1
    assert light[128].sum() == light.sum(axis=1).max()
    assert dark[127:129].max() <= 25
    assert dark[128].sum() <= dark.sum(axis=1).min() + 3


def test_the_default_map_follows_page_and_range() -> None:
    assert colors.default_colormap(centred=False) == colors.default_colormap(centred=False, dark=True) == "inferno"
    assert colors.default_colormap(centred=True) == "RdBu_r"
    assert colors.default_colormap(centred=True, dark=True) == "berlin"
    assert colors.is_symmetric(-2, 2)
    assert not colors.is_symmetric(0, 0)
    assert not colors.is_symmetric(-2, 3)
    assert colors.symmetric_limits(-2, 3) == (-3, 3)
    assert colors.symmetric_limits(0, 3) == (0, 3)
    assert colors.symmetric_limits(-3, -1) == (-3, -1)


def test_which_maps_can_be_inverted_is_documented() -> None:
    rows = re.findall(
        r"^\| (\w+) \| (\d+) \| (yes|no) \| (yes|no) \|$", COLORMAPS.read_text(encoding="utf-8"), re.MULTILINE
    )
    known = [row for row in rows if row[0] in colormaps]  # a later matplotlib may have more, an earlier one fewer

    assert len(known) > 80
    for name, count, invertible, turned in known:
        assert len(np.unique(colors.table(name).colors, axis=0)) == int(count)
        assert (count == "256") == (invertible == "yes")
        assert colors.table(name).invertible == (invertible == "yes")
        assert colors.table(f"{name}_r").invertible == (turned == "yes")
    assert colors.table("magma").invertible
    assert not colors.table("viridis").invertible


@pytest.mark.parametrize(("wrong", "near"), [("virdis", "viridis"), ("rdbu", "RdBu"), ("?", "for instance")])
def test_unknown_colormaps_name_the_nearest(wrong: str, near: str) -> None:
    with pytest.raises(UsageError, match=near):
        colors.table(wrong)


@pytest.mark.parametrize("name", ["inferno", "RdBu_r", "viridis", "gray", "prism", "tab20"])
def test_marks_are_in_no_table(name: str) -> None:
    table = colors.table(name)

    assert len(set(table.nonfinite_colors)) == 3
    for mark in table.nonfinite_colors:
        assert not (table.colors == mark).all(axis=1).any()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "5",
        "a:b",
        "1:0",
        "0:0",
        "nan:1",
        "0:inf",
        "0:1:2",
        "p99:1",
        "p5:5",
        "p-1:99",
        "p1:101",
        "pnan:99",
        "p:",
        "1:p99",
        "from:",
        "from",
    ],
)
def test_scales_that_mean_nothing(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        color_scale.parse_scale(text)

    assert "\n" not in caught.value.message


def test_scales_that_mean_something() -> None:
    assert color_scale.parse_scale("filter") == color_scale.ColorScale("filter")
    assert color_scale.parse_scale("-1:2.5") == color_scale.ColorScale("fixed", -1, 2.5)
    assert color_scale.parse_scale("p0.5:p99") == color_scale.ColorScale("percentile", 0.5, 99)
    assert color_scale.parse_scale("from:a/b.json") == color_scale.ColorScale("from", source="a/b.json")
    for text in ("auto", "filter", "layer", "run", "-1:2.5", "0.1:0.30000000000000004", "p1:99"):
        assert str(color_scale.parse_scale(text)) == text
    assert str(color_scale.parse_scale("from:a/b.json")) == "from:b.json"


def test_a_scale_fits_what_a_tile_holds() -> None:
    auto, per_tile = color_scale.ColorScale("auto"), color_scale.ColorScale("filter")

    assert color_scale.resolve_scale(auto, per_tile=True, reason="no") == per_tile
    assert color_scale.resolve_scale(auto, per_tile=False, reason="no") == color_scale.ColorScale("layer")
    assert color_scale.resolve_scale(per_tile, per_tile=True, reason="no") == per_tile
    assert color_scale.resolve_scale(per_tile, per_tile=False, reason="no") == color_scale.ColorScale(
        "layer", reason="no"
    )
    assert color_scale.resolve_scale(
        color_scale.ColorScale("run"), per_tile=False, reason="no"
    ) == color_scale.ColorScale("run")


def test_zero_means_zero_for_every_tile() -> None:
    low, high = np.array([-1.0, 0.5, np.nan]), np.array([2.0, 3.0, np.nan])

    bottom, top = colors.color_limits(color_scale.ColorScale("filter"), low, high, signed=True)
    np.testing.assert_array_equal((bottom, top), ([-2, -3, 0], [2, 3, 0]))

    bottom, top = colors.color_limits(color_scale.ColorScale("layer"), low, high, signed=False)
    np.testing.assert_array_equal((bottom, top), ([0, 0, 0], [3, 3, 3]))


@pytest.mark.parametrize(
    ("known", "lowest", "signed"),
    [(None, 0, False), (None, -1, True), (True, 0, True), (False, 0, False), (False, -1, True)],
)
def test_the_sign_is_known_or_seen(known: bool | None, lowest: float, signed: bool) -> None:
    assert colors.is_signed(known, np.array([0.0, lowest, np.nan])) is signed


def test_halves_round_to_even_and_ends_hold() -> None:
    values = np.array([[0, 0.5, 1.5, 2.5, 255, 256, -1, np.nan, np.inf, -np.inf]])

    steps = colors.values_to_steps(values, np.array([0.0]), np.array([255.0]))

    assert steps.tolist() == [[0, 0, 2, 2, 255, 255, 0, 0, 255, 0]]


def test_zero_has_one_colour_in_every_signed_tile() -> None:
    largest = np.random.default_rng(0).exponential(size=500)

    steps = colors.values_to_steps(np.zeros((500, 1)), -largest, largest, signed=True)

    assert (steps == 128).all()


@given(
    arrays(np.float64, (3, 7), elements=FINITE),
    st.booleans(),
)
def test_values_come_back_within_one_step(values: np.ndarray, signed: bool) -> None:
    values = values if signed else np.abs(values)
    before = values.copy()
    low, high = colors.color_limits(
        color_scale.ColorScale("filter"), values.min(axis=1), values.max(axis=1), signed=signed
    )

    steps = colors.values_to_steps(values, low, high, signed=signed)
    back = steps_to_values(steps, low, high)

    np.testing.assert_array_equal(values, before)
    width = (high / 255 - low / 255)[:, None]
    assert (np.abs(back - values) <= width * 0.5001 + 1e-320).all()
    order = np.argsort(values, axis=1)
    assert (np.diff(np.take_along_axis(steps, order, axis=1).astype(int), axis=1) >= 0).all()


def test_packing_and_unpacking() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (130, 7, 3), dtype=np.uint8)

    np.testing.assert_array_equal(Picture(colors.pack_rgb(pixels), (), (), {}).pixels, pixels)


@given(FINITE, FINITE)
def test_ticks_are_ordered_and_end_at_the_ends(first: float, second: float) -> None:
    low, high = sorted((first, second))

    found = colors.tick_values(low, high)

    assert found == sorted(found)
    assert found[0] == low
    if high / 2 - low / 2 > 0:
        assert found[-1] == high
        assert 2 <= len(found) <= 14


def test_ticks_are_round() -> None:
    assert colors.tick_values(0, 10) == [0, 2, 4, 6, 8, 10]
    assert colors.tick_values(-1, 1) == [-1, -0.5, 0, 0.5, 1]


def test_clipped_values_are_counted() -> None:
    values = np.array([-1, 0, 0.5, 1, 2, np.nan, np.inf])

    assert colors.count_clipped(values, 0, 1) == (1, 1)
    assert colors.count_clipped(values, -1, 0.25) == (0, 3)
    assert colors.count_clipped(np.float32([0.1, 1e38]), 0.1, 1e300) == (0, 0)


@pytest.mark.parametrize(
    ("value", "low", "high", "fraction"),
    [
        (0.25, 0.0, 1.0, 0.25),
        (-3.0, -4.0, 0.0, 0.25),
        (5.0, 0.0, 1.0, 1.0),
        (-5.0, 0.0, 1.0, 0.0),
        (7.0, 7.0, 7.0, 0.5),  # an empty range
        (1.5, 1.0, 1.0, 0.5),
        (0.75e308, -1.5e308, 1.5e308, 0.75),  # the width itself would overflow
        (0.0, -1.5e308, 0.5e308, 0.75),
    ],
)
def test_the_fraction_of_a_range_is_clipped_to_it(value: float, low: float, high: float, fraction: float) -> None:
    assert colors.fraction_of_range(value, low, high) == pytest.approx(fraction)


@pytest.mark.parametrize(
    ("low", "high", "valid"),
    [
        (0, 1, True),
        (0, 0, True),
        (1, 1, False),
        (2, 1, False),
        (-np.inf, 1, False),
        (0, np.inf, False),
        (np.nan, 1, False),
        (0, np.nan, False),
    ],
)
def test_limits_are_finite_and_increase(low: float, high: float, valid: bool) -> None:
    assert colors.is_valid_range(low, high) is valid


def test_small_ranges_around_zero_are_symmetric() -> None:
    assert colors.is_symmetric(-0.5, 0.5)
    assert not colors.is_symmetric(0.0, 0.0)
    assert not colors.is_symmetric(-0.5, 0.25)


@pytest.mark.parametrize("signed", [False, True])
def test_an_empty_range_has_the_step_of_zero(signed: bool) -> None:
    steps = colors.values_to_steps(np.full((1, 2, 3), 5.0), np.array([5.0]), np.array([5.0]), signed=signed)
    assert np.unique(steps).tolist() == [128 if signed else 0]


def test_one_huge_limit_among_channels_overflows_nowhere() -> None:
    """The width of the first range is more than float64 holds; the second range is the usual one."""
    values = np.array([[-1.7e308, 0.0, 1.7e308], [0.0, 0.5, 1.0]])
    steps = colors.values_to_steps(values, np.array([-1.7e308, 0.0]), np.array([1.7e308, 1.0]))
    assert steps.tolist() == [[0, 128, 255], [0, 128, 255]]
    low = colors.values_to_steps(np.array([[-1.7e308, 0.0]]), np.array([-1.7e308]), np.array([9e299]))
    assert low.tolist() == [[0, 255]]


def test_values_are_the_same_whatever_block_they_are_in(monkeypatch: pytest.MonkeyPatch) -> None:
    values = np.random.default_rng(1).normal(size=(40, 37)).astype(np.float32)
    values[3, 5] = np.nan
    low, high = np.full(40, -1.0), np.full(40, 1.0)
    whole = colors.values_to_steps(values, low, high, signed=True)
    monkeypatch.setattr(colors, "_BLOCK", 64)
    assert (colors.values_to_steps(values, low, high, signed=True) == whole).all()


def test_the_page_takes_the_first_step_that_does_not_occur() -> None:
    table = colors.table("inferno")
    steps = np.delete(np.arange(256), 77).astype(np.uint8).reshape(3, 85)
    index, palette = colors.palette_with_background(steps, table, (1, 2, 3))
    assert index == 77
    assert palette[77].tolist() == [1, 2, 3]
    assert (np.delete(palette, 77, axis=0) == np.delete(table.colors, 77, axis=0)).all()


def test_the_page_takes_the_most_similar_color_where_all_steps_occur() -> None:
    table = colors.table("inferno")
    near = table.colors[200].astype(int) + np.array([0, 1, 0])
    index, palette = colors.palette_with_background(np.arange(256, dtype=np.uint8), table, tuple(near))
    assert index == 200
    assert palette is table.colors


@pytest.mark.parametrize(
    ("low", "high", "ticks"),
    [
        (0, 10, [0, 2, 4, 6, 8, 10]),
        (0, 1, [0, 0.2, 0.4, 0.6, 0.8, 1]),
        (0, 4.9, [0, 1, 2, 3, 4, 4.9]),
        (-1, 1, [-1, -0.5, 0, 0.5, 1]),
        (-45, 55, [-45, -20, 0, 20, 40, 55]),
        (3, 3, [3]),
    ],
)
def test_ticks_are_multiples_of_round_numbers(low: float, high: float, ticks: list[float]) -> None:
    assert colors.tick_values(low, high) == pytest.approx(ticks)


@pytest.mark.parametrize(
    ("name", "nan", "above", "below"),
    [
        ("inferno", (0, 255, 255), (0, 230, 0), (255, 0, 255)),
        ("viridis", (255, 0, 255), (255, 255, 255), (255, 0, 0)),
        ("RdBu_r", (0, 230, 0), (255, 0, 255), (255, 230, 0)),
        ("berlin", (255, 0, 255), (0, 230, 0), (255, 230, 0)),
    ],
)
def test_nonfinite_colors_are_the_farthest_from_the_table(name: str, nan: object, above: object, below: object) -> None:
    """A changed candidate would change the legend of every figure with NaN."""
    assert colors.table(name).nonfinite_colors == (nan, above, below)

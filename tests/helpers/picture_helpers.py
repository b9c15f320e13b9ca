"""What the tests of pictures share: activations, and a reader that undoes a figure."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from actviz.figures import colors, sheet
from actviz.records import Activation, Context

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from actviz.records import Label, Picture, Style, Tile

SPATIAL = ("batch", "row", "column", "channel")
VECTOR = ("batch", "unit")
# Axes of one activation for each renderer, by its name.
AXES = {
    "grid": ("batch", "row", "column", "channel"),
    "vector": ("batch", "unit"),
    "sequence": ("batch", "step", "unit"),
    "film": ("batch", "step", "row", "column", "channel"),
    "volume": ("batch", "plane", "row", "column", "channel"),
    "attention": ("batch", "head", "query", "key"),
    "montage": ("batch", "step", "plane", "row", "column", "channel"),
}
CONTEXT = Context("digits_cnn.h5", "seven.png", "28 x 28 x 1, 0..1")


def spatial(maps: NDArray[Any], *, address: str = "conv", signed: bool | None = None) -> Activation:
    """Return maps ``(row, column, channel)`` as an activation with a batch of one."""
    return Activation(address, "Conv2D", maps[None], SPATIAL, signed)


def vector(units: NDArray[Any], *, address: str = "dense", signed: bool | None = None) -> Activation:
    """Return units ``(unit,)`` as an activation with a batch of one."""
    return Activation(address, "Dense", units[None], VECTOR, signed)


def sheet_pages(activations: Sequence[Activation], context: Context, style: Style) -> Iterator[Picture]:
    """Draw entry 0 of every activation on the pages of a sheet."""
    return (make() for make in sheet.plan_pages(activations, 0, context, style))


def decode(
    pixels: NDArray[np.uint8],
    colormap: str,
    tile: Tile,
    shape: tuple[int, int],
    kept: NDArray[np.bool_] | None = None,
) -> NDArray[np.float64]:
    """Read the values ``(row, column)`` of a tile back from the pixels alone, where they are `kept`.

    The pixels ``(row, column, RGB)`` are those of the whole picture. `Picture.pixels` makes them
    anew each time: who reads many tiles takes them once.
    """
    top, left, bottom, right = tile.box
    if tile.state == "dead":
        return np.zeros(shape)
    down, across = (bottom - top) // shape[0], (right - left) // shape[1]
    block = pixels[top:bottom, left:right].astype(np.int64)
    wide = block.reshape(shape[0], down, shape[1], across, 3)
    kept = np.ones(shape, dtype=bool) if kept is None else kept
    assert (wide == wide[:, :1, :, :1]).all(axis=(1, 3, 4))[kept].all(), "a value is not one colour"
    colors_ = colors.table(colormap).colors.astype(np.int64)
    distance = ((wide[:, 0, :, 0, None] - colors_) ** 2).sum(axis=-1)
    assert (distance.min(axis=-1) == 0)[kept].all(), "a colour is not in the table"
    low, high = np.array([tile.low]), np.array([tile.high])
    return steps_to_values(distance.argmin(axis=-1)[None].astype(np.uint8), low, high)[0]


def steps_to_values(steps, low, high):
    """Return the value of each color step, float64, ``(channel, ...)``: the inverse of `colors.values_to_steps`."""
    ends = (-1,) + (1,) * (steps.ndim - 1)
    share = steps / (colors.STEPS - 1)
    # low + share * (high - low) would overflow for the widest ranges.
    return low.reshape(ends) * (1 - share) + high.reshape(ends) * share


def step_of(tile: Tile) -> float:
    """Return the width of one colour step."""
    return tile.high / 255 - tile.low / 255


def assert_labels_apart(picture: Picture, labels: tuple[Label, ...] | None = None) -> None:
    """Check that no label leaves the picture, and that none lies on another or on a tile."""
    height, width = picture.size
    taken = np.zeros((height, width), dtype=bool)
    for tile in picture.tiles:
        top, left, bottom, right = tile.box
        assert 0 <= top < bottom <= height
        assert 0 <= left < right <= width
        assert not taken[top:bottom, left:right].any(), tile
        taken[top:bottom, left:right] = True
    for label in labels or picture.labels:
        top, left, bottom, right = label.box
        assert 0 <= top < bottom <= height, label
        assert 0 <= left < right <= width, label
        assert not taken[top:bottom, left:right].any(), label
        taken[top:bottom, left:right] = True


def assert_read_back(picture: Picture, activation: Activation, style: Style, index: int = 0) -> None:
    """Check that every value of an activation comes back from the pixels within one step.

    What a tile shows is worked out from the record alone, as a reader of a manifest would.
    Masked steps are left out, values beyond the scale come back as its ends, and what is
    not finite as one of the marks.
    """
    axes = picture.numbers["axes"]
    tiles, down, across = axes["tiles"], axes["down"], axes["across"]
    values = np.asarray(activation.values[index], dtype=np.float64)
    single = [axis for axis, name in enumerate(activation.axes[1:]) if name not in {*tiles, down, across}]
    activation = replace(activation, axes=tuple(n for n in activation.axes if n in {"batch", *tiles, down, across}))
    values = values.squeeze(tuple(single))  # maps of one value are a vector
    order = [activation.axes.index(name) - 1 for name in (*tiles, down, across) if name is not None]
    values = values.transpose(order)
    values = np.expand_dims(values, [place for place, name in ((-1, across), (-2, down)) if name is None])
    seen = np.zeros(values.shape, dtype=bool)
    skipped = _masked(activation, index, [*tiles, down, across], values.shape)
    # Where a tile holds one value, percentiles of each tile are those of the layer.
    style = replace(style, scale=picture.numbers["scale"])
    low, high = ends_of(style, activation.address, values[~skipped])
    own = _own_ends(picture, activation, values, skipped)
    clipped = 0
    pixels, colormap = picture.pixels, picture.numbers["colormap"]
    for tile in picture.tiles:
        place = tile.indices or ((tile.channel,) if tiles else ())
        top, left, bottom, right = tile.part or (0, 0, *values.shape[-2:])
        part = (*place, slice(top, bottom), slice(left, right))
        assert not seen[part].any(), tile
        seen[part] = True
        # A hatch says that all is zero, also where the colours do not reach zero.
        low, high = own.get(tile.channel, (low, high))
        clipped += ((values[part] < low) | (values[part] > high))[~skipped[part] & np.isfinite(values[part])].sum()
        expected = values[part] if tile.state == "dead" else np.clip(values[part], low, high)
        kept = ~skipped[part]
        assert_marks(pixels, colormap, tile, np.where(kept, values[part], 0))
        kept &= np.isfinite(values[part])
        found = decode(pixels, colormap, tile, expected.shape, kept)
        assert (np.abs(found[kept] - expected[kept]) <= step_of(tile) * 0.51 + 1e-300).all(), tile
    assert picture.numbers["clipped"] == clipped
    channels = {tile.channel for tile in picture.tiles}
    assert len(channels) == picture.numbers["shown"]
    done = seen | skipped
    assert done.all() if len(channels) == picture.numbers["channels"] else done[sorted(channels)].all()


def _own_ends(
    picture: Picture, activation: Activation, values: NDArray[np.float64], skipped: NDArray[np.bool_]
) -> dict[int, tuple[float, float]]:
    """Return the values beyond which each channel is clipped, where each has percentiles of its own."""
    scale = picture.numbers["scale"]
    if not scale.startswith("filter:"):
        return {}
    seen = values[~skipped]
    signed = bool(activation.signed) or bool((seen[np.isfinite(seen)] < 0).any())
    groups: dict[int, list[NDArray[np.float64]]] = {}
    for place in {(tile.channel, tile.indices) for tile in picture.tiles}:
        part = place[1] or ((place[0],) if picture.numbers["axes"]["tiles"] else ())
        groups.setdefault(place[0], []).append(values[part][~skipped[part]])
    found = {}
    for channel, parts in groups.items():
        low, high = percentiles_of(np.concatenate(parts), scale.removeprefix("filter:"))
        if signed:
            low, high = -max(abs(low), abs(high)), max(abs(low), abs(high))
        found[channel] = (low, high) if low < high else (-np.inf, np.inf)
    return found


def ends_of(style: Style, address: str, values: NDArray[np.float64]) -> tuple[float, float]:
    """Return the values beyond which a style clips those of a layer, worked out by hand."""
    first, _, last = style.scale.partition(":")
    if address in style.ranges:
        return style.ranges[address]
    if style.scale.startswith("p"):
        low, high = percentiles_of(values, style.scale)
        if low == high:
            return -np.inf, np.inf
        return (-max(-low, high), max(-low, high)) if low < 0 < high else (low, high)
    return (float(first), float(last)) if last and first != "filter" else (-np.inf, np.inf)


def percentiles_of(values: NDArray[np.float64], scale: str) -> tuple[float, float]:
    """Return the two percentiles ``p1:99`` of the finite values, 0 and 0 where there is none."""
    shares = [float(share.removeprefix("p")) for share in scale.split(":")]
    finite = values[np.isfinite(values)].astype(np.float64)
    if not finite.size:
        return 0.0, 0.0
    with np.errstate(over="ignore", invalid="ignore"):
        low, high = np.percentile(finite, shares)
    if np.isfinite(low) and np.isfinite(high):
        return float(low), float(high)
    # numpy itself overflows where the ends are the widest apart.
    ordered = np.sort(finite)
    places = [share / 100 * (len(ordered) - 1) for share in shares]
    pairs = [(ordered[int(place)], ordered[min(int(place) + 1, len(ordered) - 1)], place % 1) for place in places]
    low, high = (first * (1 - weight) + second * weight for first, second, weight in pairs)
    return float(low), float(high)


def assert_marks(pixels: NDArray[np.uint8], colormap: str, tile: Tile, values: NDArray[np.float64]) -> None:
    """Check that NaN and infinities ``(row, column)`` have the colours that stand for them."""
    top, left, bottom, right = tile.box
    down, across = (bottom - top) // values.shape[0], (right - left) // values.shape[1]
    pixels = pixels[top:bottom:down, left:right:across]
    marks = colors.table(colormap).nonfinite_colors
    for mark, where in zip(marks, (np.isnan(values), np.isposinf(values), np.isneginf(values)), strict=True):
        assert (pixels[where] == mark).all(), tile


def _masked(activation: Activation, index: int, names: list[str], shape: tuple[int, ...]) -> NDArray[np.bool_]:
    """Return which values lie in masked steps, in the arrangement of `names`."""
    skipped = np.zeros(shape, dtype=bool)
    if activation.mask is not None and "step" in names:
        where = [1] * len(shape)
        where[names.index("step")] = -1
        skipped |= ~activation.mask[index].reshape(where)
    return skipped

"""What `top` found: for each channel of a layer its strongest inputs, as a record, a table and a page."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from actviz.commands import verdicts
from actviz.errors import escape
from actviz.figures import mosaic, strongest_page, text
from actviz.inputs.sources import OFFSET_BITS
from actviz.records import MIXED, REVERSED, Activation
from actviz.results import part_files
from actviz.results.text_table import text_table
from actviz.statistics.strength_options import HIGH, LOW
from actviz.statistics.strongest_inputs import place_axes

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from actviz.batch.strongest_runner import StrongestSoFar
    from actviz.commands.top_classes import Labels
    from actviz.records import Box, LayerInfo, Sample

MOST_ROWS = 64
"""Rows of a page for which no channels are chosen."""
_AROUND, _MOST_VALUES = 4, 24


@dataclass(frozen=True, slots=True)
class Winner:
    """One of the strongest inputs of a channel: `place` are the axes and indices, `box` the receptive field in pixels."""

    strength: float
    number: int
    name: str
    digest: str
    copies: int
    place: tuple[tuple[str, int], ...]
    box: Box | None
    label: str | None

    @property
    def place_text(self) -> str:
        """The place in words: ``(3, 14)`` for rows and columns, else the name of each axis; and the copies."""
        if [axis for axis, _ in self.place] == ["row", "column"]:
            place = f"({', '.join(str(index) for _, index in self.place)})"
        else:
            place = ", ".join(f"{axis} {index}" for axis, index in self.place)
        copies = f"{text.TIMES}{self.copies}" if self.copies > 1 else ""
        return f"{place} {copies}".strip()


@dataclass(frozen=True)
class LayerResult:
    """The strongest inputs of one layer; `channels` are those that are asked for."""

    layer: LayerInfo
    described: Activation
    tally: StrongestSoFar
    channels: Sequence[int]
    label_of: Labels

    @property
    def living(self) -> list[int]:
        """The channels that are not dead."""
        dead = self.numbers.dead
        return [channel for channel in self.channels if not dead[channel]]

    @property
    def numbers(self) -> Any:
        """The `StrongestInputs` of the layer."""
        return self.tally.reducer.layers[self.layer.address]

    def winners(self, extreme: int, channel: int) -> Iterator[Winner]:
        """Yield the strongest inputs of a channel; `extreme` is an index."""
        numbers, axes = self.numbers, place_axes(self.described.axes)
        sign = -1.0 if self.tally.options.extremes[extreme] == LOW else 1.0
        for rank, number in enumerate(numbers.numbers[extreme, :, channel].tolist()):
            if number < 0:
                return
            *place, top, left, bottom, right = numbers.places[extreme, rank, channel].tolist()
            digest, name = numbers.identities[number]
            yield Winner(
                sign * float(numbers.keys[extreme, rank, channel]) + 0.0,
                number,
                name,
                digest,
                int(numbers.copies[extreme, rank, channel]),
                tuple(zip(axes, place, strict=True)),
                (top, left, bottom, right) if bottom > top else None,
                self.label_of(name, number),
            )

    def share(self, extreme: int, channel: int) -> float:
        """Return the share of the inputs on which a channel fires."""
        return int(self.numbers.fires[extreme, channel]) / max(1, self.tally.inputs)

    def record(self) -> dict[str, Any]:
        """Return everything for ``--json``."""
        numbers = self.numbers
        return {
            **part_files.layer_record(self.layer, self.described),
            "channels": numbers.channels,
            "dead": [channel for channel in self.channels if numbers.dead[channel]],
            "strongest": [
                {
                    "channel": channel,
                    "nonfinite": int(numbers.nonfinite[channel]),
                    **{name: self._end_record(extreme, channel) for extreme, name in self._ends()},
                }
                for channel in self.living
            ],
        }

    def _ends(self) -> Iterator[tuple[int, str]]:
        return iter(enumerate(self.tally.options.extremes))

    def _end_record(self, extreme: int, channel: int) -> dict[str, Any]:
        winners = list(self.winners(extreme, channel))
        return {
            "fires": self.share(extreme, channel),
            "histogram": {
                str(index): count
                for index, count in enumerate(self.numbers.histogram[extreme, :, channel].tolist())
                if count
            },
            "classes": dict(class_counts(winners)),
            "inputs": [
                {
                    "value": winner.strength,
                    "input": winner.name,
                    "file": winner.number >> OFFSET_BITS,
                    "sample": winner.number % (1 << OFFSET_BITS),
                    "input_sha256": winner.digest,
                    "copies": winner.copies,
                    "place": dict(winner.place),
                    "box": winner.box,
                    "class": winner.label,
                }
                for winner in winners
            ],
        }

    def table(self) -> str:
        """Return a line for each channel and extreme, with its strongest input."""
        rows = [("channel", "end", "fires", "value", "place", "input")]
        for channel in self.living:
            for extreme, end in self._ends():
                share = f"{100 * self.share(extreme, channel):.3g}%"
                first = next(self.winners(extreme, channel), None)
                cells = ("-", "-", "-") if first is None else _cells(first)
                rows.append((str(channel), end, share, *cells))
        address = escape(self.layer.address, 80)
        dead = self.dead_text()
        lines = [
            f"{address}  {self.layer.kind}  {text.plural(self.tally.inputs, 'input')}",
            text_table(rows, {0, 2, 3}),
        ]
        return "\n".join([*lines, *([dead] if dead else [])])

    def dead_text(self) -> str:
        """Return which of the channels are dead, an empty string if none is."""
        dead = [channel for channel in self.channels if self.numbers.dead[channel]]
        return f"dead, 0 everywhere on every input: {text.listing(dead, 24)}" if dead else ""

    def drawn(self, *, chosen: bool) -> list[int]:
        """Return the channels to draw: those that are not dead, at most `MOST_ROWS` of them unless they are `chosen`."""
        return self.living if chosen else self.living[: max(1, MOST_ROWS // len(self.tally.options.extremes))]


def results_of(tally: StrongestSoFar, channels: str | None, label_of: Labels) -> list[LayerResult]:
    """Return the results of the layers that give numbers; `channels` is a selection."""
    return [
        LayerResult(
            layer,
            tally.described[layer.address],
            tally,
            mosaic.parse_channels(channels, tally.reducer.layers[layer.address].channels),
            label_of,
        )
        for layer in tally.layers
        if layer.address in tally.reducer.layers
    ]


def classes_of(results: Sequence[LayerResult]) -> dict[str, str]:
    """Return the classes of all inputs that are among the strongest, by name, as far as they are known."""
    named = {(name, number) for result in results for number, (_, name) in result.numbers.identities.items()}
    labels = ((name, results[0].label_of(name, number)) for name, number in sorted(named, reverse=True))
    return dict(sorted({name: label for name, label in labels if label is not None}.items()))


def verdict(results: Sequence[LayerResult], record: Mapping[str, Any]) -> verdicts.Verdict:
    """Return the table of all layers, and everything for ``--json``."""
    everything = {**record, "layers": [result.record() for result in results]}
    return verdicts.Verdict("\n\n".join(result.table() for result in results), everything)


def _cells(winner: Winner) -> tuple[str, str, str]:
    return f"{winner.strength:.4g}", winner.place_text or "-", escape(winner.name, 80)


def class_counts(winners: Sequence[Winner]) -> list[tuple[str, int]]:
    """Return the classes of inputs and how many have each, the most frequent first; nothing where none is known."""
    counts: dict[str, int] = {}
    for winner in winners:
        if winner.label is not None:
            counts[winner.label] = counts.get(winner.label, 0) + 1
    return sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))


def page_of(
    result: LayerResult,
    channels: Sequence[int],
    crops: Mapping[tuple[int, int, int], strongest_page.StrongestTile],
    model: str,
    *,
    missing: bool,
) -> strongest_page.StrongestPage:
    """Return the page of some channels of a layer.

    `crops` are tiles by extreme, channel and rank; `missing` says that those of some inputs are left out.
    """
    options, inputs = result.tally.options, result.tally.inputs
    rows = []
    for channel in channels:
        for extreme, end in enumerate(options.extremes):
            winners = list(result.winners(extreme, channel))
            tiles = tuple(
                crops.get((extreme, channel, rank)) or tile_of(winner, None, result.described)
                for rank, winner in enumerate(winners)
            )
            title = f"channel {channel}" + (f", {end}est" if options.extremes != (HIGH,) else "")
            fires = "fires" if end == HIGH else "is negative"
            notes = [f"{fires} on {100 * result.share(extreme, channel):.3g}%"]
            notes += [f"{count} of {len(winners)}: {label}" for label, count in class_counts(winners)[:2]]
            histogram = result.numbers.histogram[extreme, :, channel]
            rows.append(
                strongest_page.StrongestRow(
                    channel,
                    title,
                    result.share(extreme, channel),
                    tuple(notes),
                    histogram[::-1] if end == LOW else histogram,
                    tiles,
                )
            )
    what = "strongest value" if options.by == "max" else "mean value"
    caption = [
        f"strongest inputs by {what} of each channel",
        "the box shown is the receptive field of the strongest value",
    ]
    if not any(tile.picture is not None for row in rows for tile in row.tiles):
        caption.pop()
    elif all(winner.box is None for channel in channels for winner in result.winners(0, channel)):
        caption[1] = "the place in the input is not known: whole inputs are shown"
    caption.append("bars: inputs by that value, on a logarithmic axis")
    dead = result.dead_text()
    caption += [dead] if dead else []
    if len(channels) < len(result.living):
        caption.append(f"{len(channels)} of {len(result.living):,} channels that fire; choose others with --channels")
    if missing:
        caption.append("some inputs could not be read again: numbers and names only")
    head = strongest_page.heading(
        result.layer.address, result.layer.kind, result.layer.shape, model, text.plural(inputs, "input")
    )
    return strongest_page.StrongestPage(head, tuple(rows), tuple(caption), options.count)


def tile_of(
    winner: Winner, sample: Sample | None, described: Activation, wholes: dict[str, NDArray[np.uint8]] | None = None
) -> strongest_page.StrongestTile:
    """Return the tile of an input: the crop of its picture, its words around the strongest step, or its values.

    With `wholes`, the whole picture is added to them by the key of the tile.
    """
    tile = strongest_page.StrongestTile(winner.strength, winner.name, winner.place_text)
    if sample is None:
        return tile
    picture, frame, box = _picture_of(winner, sample, described)
    if picture is None:
        words, marked = _words_of(sample, dict(winner.place).get("step"), described)
        return replace(tile, words=words, marked=marked)
    crop = strongest_page.cut_out(picture, box)
    if wholes is None or box is None:
        return replace(tile, picture=crop)
    key = f"{winner.digest}:{frame}"
    wholes.setdefault(key, picture)
    return replace(tile, picture=crop, whole=key, box=box)


def _picture_of(
    winner: Winner, sample: Sample, described: Activation
) -> tuple[NDArray[np.uint8] | None, int, Box | None]:
    """Return the picture of an input, ``(row, column, RGB)``, the number of its frame, and the box of the crop."""
    geometry = described.geometry
    picture = sample.pictures.get(geometry.input) if geometry is not None else None
    box = winner.box
    if picture is None:
        only = len(sample.pictures) == 1
        picture, box = next(iter(sample.pictures.values())) if only else sample.thumbnail, None
    if picture is None or picture.ndim != 4:  # noqa: PLR2004  (frame, row, column, RGB)
        return picture, 0, box
    place = dict(winner.place)
    axis = next((axis for axis in ("plane", "step") if axis in place), None)
    # Pooling along the frames leaves fewer: the frame at the same share of the length.
    count = _size_along(described, axis) if axis else 0
    frame = (2 * place[axis] + 1) * len(picture) // (2 * count) if axis and count else 0
    return picture[frame], frame, box


def _size_along(described: Activation, axis: str) -> int:
    return int(described.values.shape[described.axes.index(axis)])


def _words_of(sample: Sample, step: int | None, described: Activation) -> tuple[tuple[str, ...], int]:
    """Return the words of a text, or the values of a vector, around a step, and the index of that step (-1: none)."""
    words, count = sample.words, 0 if step is None else _size_along(described, "step")
    if words is None:
        values = next(iter(sample.values.values()))[0]
        if step is not None and values.ndim > 1 and count == len(values):
            values = values[step]
        words = tuple(
            text.number(float(value)) if values.dtype.kind in "iufb" else str(value)
            for value in (values if values.ndim == 1 else values.flat[:_MOST_VALUES])
        )
    # Another number of steps than words means that a layer joined some, or that some are padding.
    if step is None or described.step_order == MIXED or count != len(words):
        return words[:_MOST_VALUES], -1
    if described.step_order == REVERSED:
        step = count - 1 - step
    first = max(0, step - _AROUND)
    return words[first : step + _AROUND + 1], step - first

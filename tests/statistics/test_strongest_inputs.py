"""The strongest inputs of a channel are those that a plain sort of all inputs finds."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from actviz.records import Activation, Geometry
from actviz.statistics.image_positions import receptive_boxes
from actviz.statistics.strength_options import HIGH, LOW, InputIdentity, StrengthOptions
from actviz.statistics.strongest_inputs import SIDE, StrongestReducer, bin_edges

MAPS = ("batch", "row", "column", "channel")
FEW = st.sampled_from([-2.0, -1.0, -0.0, 0.0, 1.0, 2.0, math.nan, math.inf])


def sorted_by_hand(values, identities, *, by, low, count):
    """Rank, for one channel of ``(input, position)``: strength, digest, names, place."""
    rows = {}
    for number, row in enumerate(values):
        finite = np.isfinite(row)
        if not finite.any():
            continue
        kept = np.where(finite, -row if low else row, -np.inf)
        key = kept.max() if by == "max" else (-row if low else row)[finite].astype(np.float64).mean()
        name, digest = identities[number].name, identities[number].digest
        rows.setdefault((-key, digest), []).append((name, number, int(kept.argmax())))
    return [
        (-key, digest, len(found), *min(found)) for (key, digest), found in sorted(rows.items(), key=lambda i: i[0])
    ][:count]


@given(st.data())
@settings(max_examples=80)
def test_ranks_are_those_of_a_plain_sort(data):
    count, by = data.draw(st.integers(1, 4)), data.draw(st.sampled_from(["max", "mean"]))
    total = data.draw(st.integers(1, 8))
    # Equal digests are equal inputs, which give equal values.
    kinds = data.draw(st.lists(st.integers(0, 4), min_size=total, max_size=total))
    different = data.draw(arrays(np.float32, (5, 2, 1, 3), elements=FEW))
    values = different[kinds]
    names = data.draw(st.lists(st.sampled_from(["a", "b", "c d"]), min_size=total, max_size=total))
    identities = {
        number: InputIdentity(name, f"{kind:064x}")
        for number, (name, kind) in enumerate(zip(names, kinds, strict=True))
    }
    cuts = sorted(data.draw(st.sets(st.integers(1, total))) | {0, total})
    parts = data.draw(st.permutations(list(itertools.pairwise(cuts))))
    reducer = StrongestReducer()
    for start, end in parts:
        part = StrongestReducer(StrengthOptions(count, by, (HIGH, LOW)), identities)
        part.update("a", [Activation("a", "Conv2D", values[start:end], MAPS)], range(start, end))
        reducer.merge(StrongestReducer.from_state(part.state()))
    found = reducer.layers["a"]
    assert found.inputs == total
    for (extreme, low), channel in itertools.product(enumerate((False, True)), range(3)):
        flat = values[..., channel].reshape(total, -1)
        expected = sorted_by_hand(flat, identities, by=by, low=low, count=count)
        ranks = [
            (
                found.keys[extreme, rank, channel],
                *found.identities[number][:1],
                found.copies[extreme, rank, channel],
                found.identities[number][1],
                number,
                np.ravel_multi_index(found.places[extreme, rank, channel, :2], (2, 1)),
            )
            for rank, number in enumerate(found.numbers[extreme, :, channel].tolist())
            if number >= 0
        ]
        assert ranks == expected
        finite = np.where(np.isfinite(flat), -flat if low else flat, -np.inf)
        assert found.fires[extreme, channel] == (finite.max(axis=1) > 0).sum()
        assert found.histogram[extreme, :, channel].sum() == (finite.max(axis=1) > -np.inf).sum()
        assert found.nonfinite[channel] == (~np.isfinite(flat)).any(axis=1).sum()


@given(st.floats(1e-9, 1e9))
def test_a_strength_is_counted_in_the_bin_between_two_edges(value):
    reducer = StrongestReducer(StrengthOptions(1))
    reducer.update("a", [Activation("a", "Dense", np.array([[value, -value, 0]]), ("batch", "unit"))], [0])
    positive, negative, zero = (int(column.argmax()) for column in reducer.layers["a"].histogram[0].T)
    edges = np.append(bin_edges(), np.inf)
    index = positive - SIDE - 1
    assert edges[index] <= value or index == 0
    assert value < edges[index + 1] or index == SIDE - 1
    assert (negative, zero) == (2 * SIDE - positive, SIDE)


def test_a_place_in_padding_never_counts():
    values = np.zeros((1, 6, 6, 1), np.float32)
    values[0, 0, 3], values[0, 5, 3], values[0, 2, 3] = 9, 8, 5
    geometry = Geometry("image", (6, 6), (0, 0), (1, 1), (3, 3))
    activation = Activation("a", "Conv2D", values, MAPS, geometry=geometry)
    padded = {0: InputIdentity("x", "0" * 64, {"image": (1, 0, 5, 6)})}
    reducer = StrongestReducer(StrengthOptions(1), padded)
    reducer.update("a", [activation], [0])
    assert (reducer.layers["a"].keys.item(), reducer.layers["a"].places.tolist()) == (5, [[[[2, 3, 1, 2, 4, 5]]]])
    # Nor does one outside of the input, in the zeros of a padding layer.
    outside = Geometry("image", (4, 6), (-1, 0), (1, 1), (1, 1))
    reducer = StrongestReducer(StrengthOptions(1))
    reducer.update("a", [Activation("a", "ZeroPadding2D", values, MAPS, geometry=outside)], [0])
    assert reducer.layers["a"].places.tolist() == [[[[2, 3, 1, 3, 2, 4]]]]


def test_masked_steps_never_count():
    values = np.array([[[1], [7], [3]]], np.float32)
    activation = Activation("a", "LSTM", values, ("batch", "step", "unit"), mask=np.array([[True, False, True]]))
    reducer = StrongestReducer(StrengthOptions(1))
    reducer.update("a", [activation], [0])
    assert (reducer.layers["a"].keys.item(), reducer.layers["a"].places.tolist()) == (3, [[[[2, 0, 0, 0, 0]]]])


@pytest.mark.parametrize(("place", "box"), [((0, 0), (-1, -1, 2, 2)), ((2, 1), (3, 1, 6, 4))])
def test_the_box_of_a_place_is_its_receptive_field(place, box):
    geometry = Geometry("image", (9, 9), (0, 0), (2, 2), (3, 3))
    assert receptive_boxes(geometry, *map(np.array, place)).tolist() == list(box)

"""Parts of a run give the bytes of one run: for any cut and order, in one step or several, and if some are given twice."""

import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from actviz.batch.statistics_runner import StatisticsSoFar
from actviz.batch.strongest_runner import StrongestSoFar
from actviz.errors import UsageError
from actviz.records import Activation, LayerInfo
from actviz.results import part_files
from actviz.statistics.running_statistics import StatisticsReducer
from actviz.statistics.strength_options import HIGH, LOW, InputIdentity, StrengthOptions
from actviz.statistics.strongest_inputs import StrongestReducer

MAPS = ("batch", "row", "column", "channel")
LAYERS = [LayerInfo(address, address, None, "Conv2D", (None, 2, 1, 3), "", None, MAPS) for address in ("a", "b c/d")]
OPTIONS = StrengthOptions(2, "max", (HIGH, LOW))
COMMON = {"command": "top", "options": {}, "machine": {}, "failures": []}
# Few values: many ties, and dead channels; every value beyond them.
VALUES = st.sampled_from([-1.0, -0.0, 0.0, 1.0, math.nan, math.inf]) | st.floats(-1e6, 1e6, width=32)


def empty(kind):
    return StrongestSoFar(LAYERS, OPTIONS, 4) if kind == "top" else StatisticsSoFar(LAYERS, 4)


def part_of(kind, path, values, identities, numbers, shards, of):
    """Return the part over some inputs, as it is read from its file."""
    tally = empty(kind)
    reducer = StrongestReducer(OPTIONS, identities) if kind == "top" else StatisticsReducer()
    for layer in LAYERS if numbers else []:
        reducer.update(layer.address, [Activation(layer.address, "Conv2D", values[numbers], MAPS)], numbers)
    if kind == "top":
        tally.reducer, tally.inputs = reducer, len(numbers)
        tally.described = {
            layer.address: Activation(layer.address, "Conv2D", values[:0], MAPS) for layer in LAYERS if numbers
        }
    elif numbers:
        tally.add({number: identities[number].name for number in numbers}, reducer, {})
    return written(tally, path, {"shards": shards, "of": of})


def written(tally, path, record):
    part_files.write_part(path, COMMON | tally.record() | record, tally.state())
    return part_files.read_part(path)


def joined(kind, parts, path):
    """Merge parts as the command does."""
    parts = part_files.distinct(parts)
    tally = empty(kind)
    for part in parts:
        tally.add_part(part.record, part.state)
    return written(tally, path, part_files.merged_record(parts) | tally.record())


@pytest.mark.parametrize("kind", ["top", "check"])
@given(st.data())
@settings(max_examples=60, deadline=None)
def test_merged_parts_have_the_bytes_of_one_run(tmp_path_factory, kind, data):
    folder = tmp_path_factory.mktemp("parts")
    total = data.draw(st.integers(1, 9))
    # Inputs of one kind are equal, so their digests and values are; names may be, too.
    kinds = data.draw(st.lists(st.integers(0, 3), min_size=total, max_size=total))
    values = data.draw(arrays(np.float32, (4, 2, 1, 3), elements=VALUES))[kinds]
    names = data.draw(st.lists(st.sampled_from(["x", "y z", "[1]"]), min_size=total, max_size=total))
    identities = {
        number: InputIdentity(name, f"{each:064x}")
        for number, (name, each) in enumerate(zip(names, kinds, strict=True))
    }
    of = data.draw(st.integers(1, 5))
    owners = data.draw(st.lists(st.integers(1, of), min_size=total, max_size=total))
    parts = []
    for shard in range(1, of + 1):
        numbers = [number for number, owner in enumerate(owners) if owner == shard]
        parts.append(part_of(kind, folder / f"{shard}.npz", values, identities, numbers, [shard], of))
    whole = part_of(kind, folder / "whole.npz", values, identities, list(range(total)), [1], 1)

    given_parts = data.draw(st.permutations([*parts, *data.draw(st.lists(st.sampled_from(parts), max_size=3))]))
    assert joined(kind, given_parts, folder / "all.npz").path.read_bytes() == whole.path.read_bytes()
    # In steps: some parts first, the result with the others, in any order.
    order = data.draw(st.permutations(parts))
    cut = data.draw(st.integers(1, of))
    first = joined(kind, order[:cut], folder / "some.npz")
    again = data.draw(st.permutations([first, *order[cut:], first]))
    assert joined(kind, again, folder / "all.npz").path.read_bytes() == whole.path.read_bytes()


def test_a_part_that_is_in_two_files_is_refused(tmp_path):
    values, identities = np.ones((3, 2, 1, 3), np.float32), {n: InputIdentity(str(n), f"{n:064x}") for n in range(3)}
    parts = [part_of("top", tmp_path / f"{n}.npz", values, identities, [n - 1], [n], 3) for n in (1, 2, 3)]
    pair = joined("top", parts[:2], tmp_path / "pair.npz")
    assert json.loads(json.dumps(pair.record))["shards"] == [1, 2]
    with pytest.raises(UsageError, match="part 2 of 3 is also in another"):
        part_files.distinct([pair, parts[1]])

"""Parts of a list of inputs: every sample is in one part, and parts depend on nothing but the list."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from actviz.inputs import Shard
from actviz.inputs.input_files import InputFile
from actviz.inputs.input_parts import hash_list, parts, samples_in_header
from actviz.inputs.sources import OFFSET_BITS


def samples_of(part, counts, shard):
    """Return the offsets of the samples of a part: files and samples of divided files in turn, as they are read."""
    found = []
    for index, (number, file) in enumerate(part.files):
        first, end = part.window(index)
        for sample in range(first, counts[number] if end is None else min(end, counts[number])):
            if file.path.suffix != ".npy" or shard.holds(number + sample):
                found.append((number << OFFSET_BITS) + sample)
    return found


@given(st.lists(st.tuples(st.booleans(), st.integers(1, 30)), max_size=20), st.integers(1, 4), st.integers(1, 7))
def test_every_sample_is_in_one_part_of_one_shard(files, shards, size):
    counts = [samples if is_array else 1 for is_array, samples in files]
    listed = [InputFile(Path(f"{n}{'.npy' if is_array else '.png'}"), str(n)) for n, (is_array, _) in enumerate(files)]
    offsets = []
    for number in range(1, shards + 1):
        shard = Shard(number, shards)
        cut = list(parts(listed, shard, lambda path: counts[int(path.stem)] if path.suffix == ".npy" else None, size))
        assert [part.number for part in cut] == list(range(1, len(cut) + 1))
        of_parts = [samples_of(part, counts, shard) for part in cut]
        assert all(len(part) == size for part in of_parts[:-1])
        assert all(0 < len(part) <= size for part in of_parts[-1:])
        offsets += [offset for part in of_parts for offset in part]
    assert sorted(offsets) == [
        (number << OFFSET_BITS) + sample for number, count in enumerate(counts) for sample in range(count)
    ]
    assert len(set(offsets)) == len(offsets)


def test_only_a_part_of_the_only_input_is_alone():
    files = [InputFile(Path(f"{number}.png"), "") for number in range(3)]
    assert [part.alone for part in parts(files, size=2)] == [False, False]
    assert [part.alone for part in parts(files[:1], size=2)] == [True]
    assert list(parts([])) == []


@pytest.mark.parametrize(
    ("name", "shape", "count"), [("a.npy", (5, 2), 5), ("a.npy", (5,), None), ("a.npz", (5, 2), None)]
)
def test_samples_are_counted_in_headers(tmp_path, name, shape, count):
    with (tmp_path / name).open("wb") as file:
        np.save(file, np.zeros(shape))
    assert samples_in_header(tmp_path / name) == count
    assert samples_in_header(tmp_path / "missing.npy") is None


def test_the_hash_of_a_list_depends_on_order_and_ends_of_names():
    lists = (["a", "bc"], ["ab", "c"], ["bc", "a"], [], [""])
    assert len({hash_list(names) for names in lists[:4]}) == 4
    assert hash_list(iter(lists[0])) == hash_list(lists[0])

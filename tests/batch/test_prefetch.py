"""Reading ahead keeps order, loses nothing, and holds little."""

import threading

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actviz.batch import prefetch
from actviz.batch.prefetch import Prefetcher


@settings(max_examples=30)
@given(counts=st.lists(st.integers(0, 80), max_size=40), weight=st.sampled_from([0, 1000, 1 << 22, 1 << 30]))
def test_every_item_comes_once_and_in_order(counts, weight):
    reader = Prefetcher(lambda source: ((source, item) for item in range(counts[source])), lambda _: weight)
    try:
        found = list(reader.items(range(len(counts))))
    finally:
        reader.end()
    assert found == [(source, item) for source, count in enumerate(counts) for item in range(count)]


@pytest.mark.parametrize(("weight", "most"), [(1000, prefetch.MOST + 1), (prefetch.BUDGET, prefetch.READERS + 1)])
def test_heavy_items_are_not_piled_up(weight, most):
    lock, alive, highest = threading.Lock(), [0], [0]

    def read(source):
        with lock:
            alive[0] += 1
            highest[0] = max(highest[0], alive[0])
        yield source

    reader = Prefetcher(read, lambda _: weight)
    for _ in reader.items(range(200)):
        with lock:
            alive[0] -= 1
    reader.end()
    assert 1 < highest[0] <= most


def test_what_reading_raises_comes_in_its_place():
    def read(source):
        if source == 2:
            raise ValueError(source)
        yield source

    reader = Prefetcher(read, lambda _: 0)
    items = reader.items(range(5))
    assert [next(items), next(items)] == [0, 1]
    with pytest.raises(ValueError, match="2"):
        next(items)
    reader.end()

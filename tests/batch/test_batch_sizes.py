"""How many samples make a batch: from declared shapes, and from what came back where a size is free."""

import numpy as np
import pytest

from actviz.batch.batch_sizes import BatchSizes
from actviz.records import Activation, LayerInfo

AXES = ("batch", "row", "column", "channel")


def sizes(*shape, **options):
    return BatchSizes([LayerInfo("a", "a", 0, "Conv2D", (None, *shape), "float32", 0, AXES)], **options)


def activations(samples, values_each):
    return [Activation("a", "Conv2D", np.zeros((samples, 1, 1, values_each), np.float32), AXES)]


def grown(of):
    """Return the size of a batch once the first small ones are done."""
    for _ in range(20):
        of.begun()
    return of.most()


def test_free_sizes_are_learned_from_what_came_back():
    of = sizes(None, None, 4, budget=10_000)
    assert grown(of) == 1
    of.learn(5, activations(5, 50))  # 200 bytes each
    assert of.most() == 50
    of.learn(1, activations(1, 500))
    assert of.most() == 5
    of.learn(1, activations(1, 1))  # one small sample says nothing of the next
    assert of.most() == 5


def test_what_comes_back_larger_than_declared_counts():
    of = sizes(1, 1, 50, budget=10_000)
    assert grown(of) == 50
    of.learn(2, activations(2, 25))
    assert of.most() == 50
    of.learn(2, activations(2, 100))
    assert of.most() == 25


@pytest.mark.parametrize("budget", [1, 100])
def test_a_batch_has_a_sample_however_large_it_is(budget):
    assert grown(sizes(1, 1, 50, budget=budget)) == 1


def test_what_was_asked_for_is_not_learned_away():
    of = sizes(None, None, 4, size=7, budget=10)
    of.learn(1, activations(1, 500))
    assert of.most() == 7


def test_the_first_batches_are_small():
    of = sizes(1, 1, 1)
    first = of.most()
    assert first < grown(of)

"""The contract of every reducer: merging is exact, however the inputs are cut and in whatever order parts are merged."""

from __future__ import annotations

import itertools
import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from actviz.records import Activation
from actviz.statistics.exact_sums import ExactSums
from actviz.statistics.reducer_table import REDUCERS

MAPS = ("batch", "row", "column", "channel")
VALUES = st.floats(-1e6, 1e6, width=32) | st.floats(width=32)
SHAPES = st.tuples(st.integers(1, 7), st.integers(1, 3), st.integers(1, 3), st.integers(1, 4))


def state_of(name, both, parts):
    """The state over parts of the inputs, each taken by a reducer of its own, as bytes."""
    reducers = []
    for start, end in parts:
        reducer = REDUCERS[name]()
        for address in ("a", "b c/d"):
            layers = [Activation(address, "Conv2D", values[start:end], MAPS) for values in both]
            reducer.update(address, layers, range(start, end))
        reducers.append(REDUCERS[name].from_state(reducer.state(canonical=False)))
    first, *rest = reducers
    for reducer in rest:
        first.merge(reducer)
    return {key: (values.dtype, values.shape, values.tobytes()) for key, values in first.state().items()}


@pytest.mark.parametrize("name", REDUCERS)
@given(st.data())
@settings(max_examples=60, deadline=None)
def test_cuts_and_orders_change_no_byte(name, data):
    shape = data.draw(SHAPES)
    both = [data.draw(arrays(np.float32, shape, elements=VALUES)) for _ in range(2)]
    cuts = sorted(data.draw(st.sets(st.integers(1, shape[0]))) | {0, shape[0]})
    parts = data.draw(st.permutations(list(itertools.pairwise(cuts))))

    assert state_of(name, both, parts) == state_of(name, both, [(0, shape[0])])


@pytest.mark.parametrize("name", REDUCERS)
@given(st.data())
@settings(max_examples=30, deadline=None)
def test_merging_is_associative(name, data):
    both = [data.draw(arrays(np.float32, (3, 2, 1, 2), elements=VALUES)) for _ in range(2)]

    def part(number):
        reducer = REDUCERS[name]()
        layers = [Activation("a", "Conv2D", values[number : number + 1], MAPS) for values in both]
        reducer.update("a", layers, [number])
        return reducer

    left, right, last = part(0), part(1), part(1)
    left.merge(part(1))
    left.merge(part(2))
    last.merge(part(2))
    right = part(0)
    right.merge(last)
    assert [values.tobytes() for values in left.state().values()] == [
        values.tobytes() for values in right.state().values()
    ]


@pytest.mark.parametrize("name", REDUCERS)
def test_copies_that_fill_a_batch_up_are_not_counted(name):
    generator = np.random.default_rng(0)
    both = [generator.normal(size=(2, 3, 3, 4)).astype(np.float32) for _ in range(2)]
    filled = [np.concatenate([values, 9 * values[-1:]]) for values in both]
    states = []
    for arrays_of_layer in (both, filled):
        reducer = REDUCERS[name]()
        reducer.update("a", [Activation("a", "Conv2D", values, MAPS) for values in arrays_of_layer], range(2))
        states.append([values.tobytes() for values in reducer.state().values()])
    assert states[0] == states[1]


@given(arrays(np.float64, st.tuples(st.integers(1, 20), st.just(2)), elements=st.floats(-1e300, 1e300)), st.data())
@settings(max_examples=200, deadline=None)
def test_sums_are_rounded_once(terms, data):
    cut = data.draw(st.integers(0, len(terms)))
    merged = ExactSums.of(terms[cut:]).merge(ExactSums.of(terms[:cut]))

    assert merged.rounded().tolist() == [math.fsum(channel) for channel in terms.T]
    assert merged.packed().tobytes() == ExactSums.of(terms).packed().tobytes()
    assert ExactSums.unpacked(merged.packed()).rounded().tolist() == merged.rounded().tolist()


EVERY_SIZE = st.floats(allow_nan=False, allow_infinity=False) | st.sampled_from(
    [5e-324, -5e-324, 1.7e308, -1.7e308, -0.0]
)


@given(arrays(np.float64, st.tuples(st.integers(1, 9), st.just(3)), elements=EVERY_SIZE), st.data())
@settings(max_examples=300, deadline=None)
def test_sums_of_numbers_of_every_size_are_exact(terms, data):
    cut = data.draw(st.integers(0, len(terms)))
    merged = ExactSums.of(terms[:cut]).merge(ExactSums.of(terms[cut:]))

    assert merged.packed().tobytes() == ExactSums.of(terms).packed().tobytes()
    unit = Fraction(2) ** merged.exponent
    assert [number * unit for number in merged.integers()] == [
        sum(map(Fraction, channel)) for channel in terms.T.tolist()
    ]


def test_sums_of_many_terms_and_channels_are_exact():
    terms = np.random.default_rng(0).normal(size=(3000, 40)) * 10.0 ** np.arange(-20, 20)
    assert ExactSums.of(terms).rounded().tolist() == [math.fsum(channel) for channel in terms.T]

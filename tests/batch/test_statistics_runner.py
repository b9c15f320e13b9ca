"""Statistics of many inputs: batches of one size, and the same bytes however the inputs are cut."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from actviz.batch import requests
from actviz.batch.batch_sizes import LARGEST_BATCH, fixed_batch_size
from actviz.batch.statistics_runner import StatisticsSoFar, count
from actviz.inputs.sources import SampleCount
from actviz.records import Sample
from actviz.worker import ModelOptions, Worker

CUTS = ([0, 200], [0, 67, 133, 200], [0, 1, 65, 66, 190, 200])


@pytest.mark.tensorflow
@pytest.mark.slow
def test_three_cuts_of_200_inputs_give_the_same_bytes(samples):
    values = np.random.default_rng(0).random((200, 1, 28, 28, 1)).astype(np.float32)
    with Worker(ModelOptions(samples / "digits_cnn.keras")) as worker:
        facts = worker.facts()
        (name,) = (spec.name for spec in facts.inputs)
        inputs = [Sample(str(number), {name: each}, None, "", "", offset=number) for number, each in enumerate(values)]
        assert fixed_batch_size(facts) == LARGEST_BATCH
        states = []
        for cuts in CUTS:
            whole = StatisticsSoFar(facts.layers)
            for start, end in reversed(list(itertools.pairwise(cuts))):
                part = StatisticsSoFar(facts.layers, fixed_batch_size(facts))
                assert (
                    list(
                        count(
                            worker,
                            requests.numbered(requests.Inputs(iter([inputs[start:end]]), SampleCount())),
                            part,
                            fail_fast=True,
                        )
                    )
                    == []
                )
                whole.add(dict.fromkeys(range(start, end), ""), part.reducer, part.left_out)
            assert whole.inputs == len(values)
            states.append({key: array.tobytes() for key, array in sorted(whole.reducer.state().items())})
    assert states[0]
    assert states[0] == states[1] == states[2]

"""What a report finds: each rule where it holds, and where it does not."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from report_helpers import layer

from actviz.records import Activation
from actviz.report.findings import find, verdict
from actviz.statistics.running_statistics import cuts_of, totals_of

GRID = ("batch", "row", "column", "channel")


def totals(values, cuts=None):
    return totals_of(Activation("a", "Conv2D", np.asarray(values, np.float32), GRID), cuts)


def found_in(named, inputs=3, kinds=None):
    """Return the findings of layers given by address as arrays or totals."""
    ready = {key: one if hasattr(one, "finite") else totals(one) for key, one in named.items()}
    layers = [layer(key, np.zeros((1, 2, 2, 2)), (kinds or {}).get(key, "Conv2D")) for key in named]
    return find(layers, ready, inputs, {})


def live(scale=1.0, channels=4):
    rng = np.random.default_rng(0)
    return rng.normal(size=(3, 4, 4, channels)) * scale


def with_dead(count, channels=10):
    values = live(channels=channels)
    values[..., :count] = 0
    return values


def test_nothing_is_said_of_layers_that_are_well():
    assert found_in({f"conv{number}": live(1 + number) for number in range(12)}) == ()


@pytest.mark.parametrize(("count", "severity"), [(1, "warning"), (4, "warning"), (5, "problem"), (10, "problem")])
def test_dead_channels_weigh_by_their_share(count, severity):
    (one,) = found_in({"conv": with_dead(count)})
    assert (one.kind, one.severity, one.channel) == ("dead", severity, 0)
    assert one.text.startswith("all 10" if count == 10 else f"{count} of 10")
    assert "3 inputs" in one.text


def test_few_dead_channels_are_a_note_and_one_input_is_no_proof():
    (note,) = found_in({"conv": with_dead(1, channels=20)})
    assert note.severity == "note"
    (one,) = found_in({"conv": with_dead(8)}, inputs=1)
    assert (one.severity, "on the one input" in one.text) == ("warning", True)


def test_a_channel_that_fires_on_one_input_is_not_dead():
    silent = with_dead(1)
    both = totals(silent).merge(totals(live(channels=10)))
    assert found_in({"conv": both}) == ()


def test_the_first_layer_with_nan_is_the_problem_and_those_after_it_are_said_shortly():
    broken = live()
    broken[0, 0, 0, 2] = np.nan
    found = found_in({"a": live(), "b": broken, "c": broken, "d": live()})
    assert [(one.address, one.severity) for one in found] == [("b", "problem"), ("c", "warning")]
    assert found[0].text == "1 NaN in 1 of 4 channels (2); the first of 2 layers that have any."
    assert found[0].channel == 2


def test_infinities_are_named_as_such():
    broken = live()
    broken[0, 0, 0, 1] = np.inf
    (one,) = found_in({"a": broken})
    assert "1 infinite values" in one.text
    assert "no other layer" in one.text


def test_saturation_needs_a_bound_and_a_fifth():
    values = np.full((1, 5, 5, 4), 0.5)
    values[:, :2] = 1.0
    values += np.random.default_rng(0).random(values.shape) * 1e-4
    cuts = cuts_of((0.0, 1.0))
    (one,) = [one for one in found_in({"gate": totals(values, cuts)}) if one.kind == "saturated"]
    assert "40%" in one.text
    values[:, 1] = 0.5
    values[:, 0, 2:] = 0.5
    assert not [one for one in found_in({"gate": totals(values, cuts)}) if one.kind == "saturated"]


def test_a_whole_constant_layer_is_a_warning_some_constant_channels_a_note():
    (whole,) = found_in({"a": np.full((2, 3, 3, 4), 0.25)})
    assert (whole.kind, whole.severity) == ("constant", "warning")
    values = live()
    values[..., 3] = 2
    (some,) = found_in({"a": values})
    assert (some.severity, some.channel) == ("note", 3)


@pytest.mark.parametrize(("scale", "said"), [(1000.0, "above"), (1e-5, "below"), (20.0, ""), (0.01, "")])
def test_a_layer_far_from_those_around_it_is_out_of_line(scale, said):
    named = {f"l{number}": live() for number in range(6)}
    named["l3"] = live(scale)
    found = found_in(named)
    assert [one.address for one in found] == (["l3"] if said else [])
    assert all(said in one.text for one in found)


def test_values_that_fade_evenly_are_said_once():
    named = {f"l{number}": live(10.0 ** (-number / 2)) for number in range(16)}
    (one,) = found_in(named)
    assert (one.address, one.kind) == ("l15", "range")
    assert "fade" in one.text


def test_layers_that_hand_on_repeat_nothing():
    found = found_in(
        {"conv": with_dead(5), "pool": with_dead(5), "flat": with_dead(5)},
        kinds={"pool": "MaxPooling2D", "flat": "Flatten"},
    )
    assert [one.address for one in found] == ["conv"]


@given(st.lists(st.sampled_from(["live", "dead", "nan", "constant", "huge"]), min_size=1, max_size=12))
def test_findings_come_worst_first_and_name_layers_that_exist(states):
    makers = {
        "live": live(),
        "dead": with_dead(9),
        "nan": np.where(live() > 1, np.nan, live()),
        "constant": np.full((2, 3, 3, 4), 1.0),
        "huge": live(1e6),
    }
    found = found_in({f"l{number}": makers[state] for number, state in enumerate(states)})
    order = [("problem", "warning", "note").index(one.severity) for one in found]
    assert order == sorted(order)
    assert {one.address for one in found} <= {f"l{number}" for number in range(len(states))}
    said = verdict(found, 3)
    assert said.startswith("Something is wrong" if 0 in order else "Nothing")

"""The order of the rows of `check`: causes first, what inherits them below, then the rest."""

import numpy as np
from report_helpers import layer

from actviz.commands import check_table
from actviz.records import Activation, RuleResult
from actviz.statistics.running_statistics import totals_of


def checked(address, broken=(), passed=(), dead=0):
    values = np.ones((2, 4, 4, 30), np.float32)
    values[..., :dead] = 0
    info = layer(address, values)
    totals = totals_of(Activation(address, "Conv2D", values, info.axes), None)
    results = [[RuleResult(address, rule, kept=False, reason="") for rule in rules] for rules in (broken, passed)]
    return check_table.CheckedLayer(info, totals, *results)


def table(*layers, grouped=True):
    return [(row[0], row[-2]) for row in check_table.rows(layers, grouped=grouped)]


def test_a_layer_that_inherits_stands_below_its_cause_before_the_rest():
    rows = table(
        checked("first"), checked("conv", ["dead"]), checked("between"), checked("pool", passed=["dead"]), checked("last")
    )  # fmt: skip
    assert rows == [
        ("conv", "BROKEN: dead"), ("  pool", "passed on: dead"), ("first", "ok"), ("between", "ok"), ("last", "ok"),
    ]  # fmt: skip


def test_nan_is_broken_once_and_each_cause_has_a_line():
    layers = [checked("a", ["no NaN", "dead"]), checked("b", ["no NaN"]), checked("c", ["no NaN", "zero"])]
    assert table(*layers) == [
        ("a", "BROKEN: no NaN"), ("", "BROKEN: dead"), ("  b", "after a: no NaN"),
        ("c", "BROKEN: zero"), ("", "after a: no NaN"),
    ]  # fmt: skip
    assert [row[1] for row in table(*layers, grouped=False)].count("BROKEN: no NaN") == 3


def test_what_a_layer_passes_on_from_no_listed_layer_is_with_the_rest():
    assert table(checked("pool", passed=["dead"]), checked("conv", ["zero"])) == [
        ("conv", "BROKEN: zero"),
        ("pool", "passed on: dead"),
    ]


def test_twenty_dead_channels_are_named():
    (row,) = check_table.rows([checked("conv", dead=22)], grouped=True)
    listed = ", ".join(map(str, range(20)))
    assert (row[check_table.HEADINGS.index("dead")], row[-1]) == ("22", f"{listed} and 2 more")

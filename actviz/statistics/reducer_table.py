"""All reducers: a new one is a module, and a line here; the contract tests go over this table."""

from __future__ import annotations

from typing import TYPE_CHECKING

from actviz.statistics.differences import DifferenceReducer
from actviz.statistics.running_statistics import StatisticsReducer
from actviz.statistics.strongest_inputs import StrongestReducer
from actviz.statistics.value_ranges import RangeReducer

if TYPE_CHECKING:
    from actviz.statistics.reducer import Reducer

REDUCERS: dict[str, type[Reducer]] = {
    "statistics": StatisticsReducer,
    "ranges": RangeReducer,
    "differences": DifferenceReducer,
    "strongest": StrongestReducer,
}

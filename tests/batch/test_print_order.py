"""The order in which figures are printed, whichever are made first."""

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from actviz.batch.events import FileWritten
from actviz.batch.print_order import PrintOrder


def written(name):
    return FileWritten(Path(name))


@given(st.permutations(range(8)), st.sets(st.integers(0, 7)))
def test_the_order_is_that_expected_whichever_is_complete_first(finished, kept):
    order = PrintOrder(lambda file: [FileWritten(file)])
    for number in range(8):
        order.expect(Path(str(number)))
    printed = []
    for number in finished:
        if number in kept:
            order.keep(Path(str(number)))
        else:
            order.add(Path(str(number)), [written(str(number))])
        printed += order.ready()
        assert printed == [written(str(number)) for number in range(len(printed))]
    assert (len(printed), order.rest()) == (8, [])


def test_a_figure_of_several_pages_is_complete_with_its_last():
    order = PrintOrder(lambda _: [])
    order.add("a", [written("a")], count=2)
    order.add("b", [written("b")])
    assert list(order.ready()) == []
    order.add("a", [written("a2")], count=2)
    assert list(order.ready()) == [written("a"), written("a2"), written("b")]


def test_what_is_held_back_when_a_run_ends_is_printed_in_order():
    order = PrintOrder(lambda file: [FileWritten(file)])
    for key in (Path("a"), Path("b"), Path("c")):
        order.expect(key)
    order.add(Path("c"), [written("c")])
    order.keep(Path("b"))
    assert list(order.ready()) == []
    assert order.rest() == [written("b"), written("c")]


def test_an_event_is_printed_once_though_the_run_ends_while_it_is_added():
    order = PrintOrder(lambda _: [])
    order.expect("first")
    for _ in range(2):
        order.add("a", [written("a")])
    assert order.rest() == [written("a")]

"""JSON and tables of trainings: what is read, what is left out and said, what is refused."""

import contextlib
import csv
import io
import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actviz.errors import InputError
from actviz.history import NotAHistoryError, read_run
from actviz.history.csv_logger import read_table
from actviz.history.curves import run_of
from actviz.history.history_records import RawColumns

FINITE = st.floats(allow_nan=False, width=64)
NAMES = st.text(min_size=1).filter(lambda name: name.strip() == name and not name[:1].isdigit())


@pytest.fixture
def written(tmp_path):
    def write(content, name="h.json"):
        path = tmp_path / name
        if isinstance(content, dict):
            content = json.dumps(content)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return write


def curves(run):
    return {curve.name: (curve.epochs, curve.values) for curve in run.curves}


def alike(found, wanted):
    return len(found) == len(wanted) and all(
        one == other or (math.isnan(one) and math.isnan(other)) for one, other in zip(found, wanted, strict=True)
    )


@given(
    st.integers(1, 6).flatmap(
        lambda count: st.dictionaries(st.text(), st.lists(st.floats(), min_size=count, max_size=count), min_size=1)
    ),
    st.booleans(),
)
def test_json_comes_back_as_it_was(tmp_path_factory, history, wrapped):
    path = tmp_path_factory.mktemp("h") / "h.json"
    count = len(next(iter(history.values())))
    whole = {"history": history, "epoch": list(range(count)), "params": {"epochs": 9}}
    path.write_text(json.dumps(whole if wrapped else history))
    run = read_run(path)
    assert run.epochs == tuple(range(1, count + 1))
    found = curves(run)
    assert list(found) == list(history)
    assert all(alike(values, history[name]) for name, (_, values) in found.items())


@given(
    st.lists(st.tuples(FINITE, st.none() | FINITE), min_size=1, max_size=8),
    st.sampled_from(",;\t"),
    st.sampled_from(["NA", "", "nan "]),
)
def test_tables_come_back_as_they_were(rows, separator, missing):
    stream = io.StringIO()
    writer = csv.writer(stream, delimiter=separator)
    writer.writerow(["epoch", "loss", "val_loss"])
    for epoch, (loss, val) in enumerate(rows):
        writer.writerow([epoch, repr(loss), missing if val is None else repr(val)])
    run = run_of(read_table(stream.getvalue(), "h.csv"), "h.csv", "")
    found = curves(run)
    assert found["loss"] == (tuple(range(1, len(rows) + 1)), tuple(loss for loss, _ in rows))
    if missing == "nan ":
        values = [math.nan if val is None else val for _, val in rows]
        assert alike(found["val_loss"][1], values)
    else:
        held = [(epoch, val) for epoch, (_, val) in enumerate(rows, start=1) if val is not None]
        assert found.get("val_loss", ((), ())) == (tuple(e for e, _ in held), tuple(v for _, v in held))


def table(text):
    return run_of(read_table(text, "h.csv"), "h.csv", "")


def test_an_appended_table_counts_on_and_remembers_the_seam():
    run = table("epoch,loss\n0,3\n1,2\nepoch,loss,lr\n0,1,0.1\n1,0.5,0.1\n")
    assert curves(run) == {"loss": ((1, 2, 3, 4), (3, 2, 1, 0.5)), "lr": ((3, 4), (0.1, 0.1))}
    assert run.seams == (3,)
    assert table("epoch,loss\n0,3\n0,2\n0,1\n").seams == (2, 3)


def test_a_resumed_table_keeps_the_later_rows():
    run = table("epoch,loss\n0,3\n1,2\n2,9\n1,1.5\n2,1\n3,0.5\n")
    assert curves(run)["loss"] == ((1, 2, 3, 4), (3, 1.5, 1, 0.5))
    assert run.notes == ("2 epochs occur twice in the table (resumed); the later rows are drawn",)


def test_rows_of_one_epoch_that_complete_each_other_are_one():
    run = table("epoch,loss,val_loss\n1,3,\n1,,4\n2,2,\n2,,3\n")
    assert curves(run) == {"loss": ((1, 2), (3, 2)), "val_loss": ((1, 2), (4, 3))}
    assert (run.seams, run.notes) == ((), ())


def test_cells_that_people_and_loggers_write():
    run = table(
        '"epoch";"loss";"f1";"when";"empty"\r\n0;0,5;"[0.1, 0.2]";"May 1";\r\n1;1e-3;"""[0.3, 0.4]""";"May 2";\r\n'
    )
    assert curves(run) == {
        "loss": ((1, 2), (0.5, 0.001)),
        "f1[0]": ((1, 2), (0.1, 0.3)),
        "f1[1]": ((1, 2), (0.2, 0.4)),
    }
    assert run.notes == ("left out: when (not a list of numbers)", "left out: empty (not a list of numbers)")


def test_an_index_without_a_name_and_no_index_at_all():
    assert table(",loss\n0,3\n1,2\n").epochs == (1, 2)
    assert table("loss\n3\n2\n").epochs == (1, 2)
    assert table("epoch,loss\n10,3\n11,2\n").epochs == (10, 11)


def test_text_in_other_encodings(written):
    content = "epoch,loss\n0,3\n1,2\n"
    for encoding in ("utf-8-sig", "utf-16"):
        assert curves(read_run(written(content.encode(encoding), "h.csv")))["loss"][1] == (3, 2)


def test_null_is_nan_and_text_that_is_a_number_is_one(written):
    run = read_run(written('{"loss": [1, null, NaN, Infinity], "lr": ["0.1", "0.1", "1e-2", "0"]}'))
    assert alike(curves(run)["loss"][1], (1, math.nan, math.nan, math.inf))
    assert curves(run)["lr"][1] == (0.1, 0.1, 0.01, 0)


def test_a_data_frame(written):
    assert curves(read_run(written({"loss": {"0": 3, "1": 2}})))["loss"] == ((1, 2), (3, 2))


@pytest.mark.parametrize(
    ("history", "freq", "places", "note"),
    [
        ({"loss": [0] * 10, "val_loss": [1, 2, 3]}, None, (3, 6, 9), "validation every 3 epochs, inferred from its number of values"),
        ({"loss": [0] * 10, "val_loss": [1, 2]}, None, None, "left out: val_loss (2 values for 10 epochs: every 4 to 5 fits; choose one with --validation-freq)"),
        ({"loss": [0] * 10, "val_loss": [1, 2]}, 5, (5, 10), "validation every 5 epochs, inferred from its number of values"),
        ({"loss": [0] * 10, "val_loss": [1, 2]}, 7, None, "left out: val_loss (2 values for 10 epochs: every 4 to 5 fits; choose one with --validation-freq)"),
        ({"loss": [0] * 10, "val_loss": [1] * 9}, None, None, "left out: val_loss (9 values for 10 epochs: no constant interval fits; choose one with --validation-freq)"),
        ({"loss": [0] * 10, "mae": [1] * 9}, None, None, "left out: mae (9 values for 10 epochs)"),
        ({"loss": [0], "model": "x", "time": 3.5, "flags": [True]}, None, None, "left out: model (not a list of numbers)"),
    ],
)  # fmt: skip
def test_what_has_another_length_is_placed_by_a_rule_or_left_out(written, history, freq, places, note):
    run = read_run(written(history), freq)
    assert note in run.notes
    found = curves(run).get("val_loss")
    assert found is None if places is None else found[0] == places


@pytest.mark.parametrize("epochs", [[3, 2, 1], [1, 1, 2], [0, 1], "abc", [0.5, 1, 2], [1, 2, 2**60]])
def test_epochs_that_make_no_sense_are_not_believed(written, epochs):
    run = read_run(written({"history": {"loss": [3, 2, 1]}, "epoch": epochs}))
    assert run.epochs == (1, 2, 3)
    assert run.notes == ("the epoch numbers of the file are not increasing integers; counted from 1",)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "the file is empty"),
        ("{", "not valid JSON"),
        ("{'loss': [1.0]}", "a Python dictionary as text, not JSON"),
        ('{"loss": [1], "loss": [2]}', "JSON that repeats a key"),
        ("[" * 100_000, "nested too deeply"),
        ("[1, 2]", "no history"),
        ("{}", "no history"),
        ('{"loss": 0.5}', "no history"),
        ('{"loss": []}', "no metric has a number"),
        ('{"loss": ["a"]}', "no metric has a number"),
        ('{"loss": [[[1]]]}', "no metric has a number"),
        ('{"loss": [[1, 2], [1]]}', "no metric has a number"),
        ('{"loss": [true]}', "no metric has a number"),
        ('{"loss": [1' + "0" * 400 + "]}", "no metric has a number"),
        ("epoch,loss\n", "a header but no row"),
        ("0,1\n2,3\n", "the first row of a table must name its columns"),
        ("epoch,loss\nx,1\n", 'the epoch "x" is not an integer'),
        ("epoch,loss\n0.5,1\n", 'the epoch "0.5" is not an integer'),
        ("loss,loss\n1,2\n", 'two columns are named "loss"'),
        ("once upon a time\nthere was\n", "no metric has a number"),
        (b"\x80\x99abc", "not a text in UTF-8"),
        (b"a\0b", "not a known file type"),
    ],
)
def test_what_is_malformed_says_so(written, content, said):
    with pytest.raises(InputError) as caught:
        read_run(written(content))
    assert said in caught.value.message
    assert caught.value.message.startswith(("h.json: ",))
    assert caught.value.exit_code == 3


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("m.h5", b"\x89HDF\r\n\x1a\n", "this is a model, not a history of training; draw it with: actviz show "),
        ("m.keras", b"PK\x03\x04config.json", "draw it with: actviz show "),
        ("m.npz", b"PK\x03\x04loss.npy", "this is an .npz archive of arrays"),
        ("m.tflite", b"\x1c\0\0\0TFL3", "draw it with: actviz show "),
        ("m.json", b'{"class_name": "Sequential", "config": {}}', "this is the architecture of a model"),
        ("events.out.tfevents.1", b"\x18\0\0\0", "this is an event file of TensorBoard, which is not read"),
        ("a.png", b"\x89PNG\r\n\x1a\n", "this is an image"),
        ("a.json", b"version https://git-lfs.github.com", "run git lfs pull"),
        ("a.html", b"<html>", "a web page"),
        ("a.gz", b"\x1f\x8b\x08", "a gzip archive"),
    ],
)
def test_what_is_something_else_says_what(written, name, content, said):
    with pytest.raises(NotAHistoryError) as caught:
        read_run(written(content, name))
    assert said in caught.value.message


def test_numbers_saved_with_numpy_have_no_names(tmp_path):
    import numpy as np

    np.save(tmp_path / "loss.npy", np.zeros(3))
    with pytest.raises(NotAHistoryError, match="an array of numbers without names of metrics"):
        read_run(tmp_path / "loss.npy")
    np.save(tmp_path / "h.npy", {"loss": [np.float32(0.5)]}, allow_pickle=True)
    assert curves(read_run(tmp_path / "h.npy"))["loss"] == ((1,), (0.5,))


@given(st.text(max_size=300))
def test_any_text_is_read_or_refused(content):
    with contextlib.suppress(InputError):
        assert table(content).curves


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(), lambda inner: st.lists(inner, max_size=4)
)


@given(st.lists(st.tuples(st.text(), ANYTHING), max_size=5), ANYTHING)
def test_any_values_are_read_or_refused(metrics, epochs):
    run = None
    with contextlib.suppress(InputError):
        run = run_of(RawColumns(tuple(metrics), epochs), "h", "")
    for curve in run.curves if run else ():
        assert len(curve.epochs) == len(curve.values) > 0
        assert set(curve.epochs) <= set(run.epochs)

"""Pickles are read without running anything in them; each control shows that the payload would run."""

import collections
import contextlib
import io
import math
import os
import pickle
import pickletools
import struct
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from conftest import ROOT
from hypothesis import given
from hypothesis import strategies as st

from actviz.errors import ActvizError, InputError, LimitError, UnsafeError
from actviz.history import pickles, read_run
from actviz.history.history_records import RawColumns
from actviz.history.pickled_history import columns_in
from actviz.history.pickles import load


def read(content):
    return columns_in(load(io.BytesIO(content), len(content), "h.pkl"), "h.pkl")


def outcome(content):
    """What reading gives: the columns, or the error."""
    try:
        return read(content)
    except ActvizError as failure:
        return failure


def is_refusal(found):
    return isinstance(found, ActvizError) and found.exit_code in {3, 5, 6} and found.message.startswith("h.pkl: ")


class History:
    """Pickled as Keras's own: an instance with a state."""

    def __init__(self, history):
        self.history = history
        self.epoch = list(range(len(next(iter(history.values())))))
        self.params = {"epochs": 3}
        self.model = None


NUMBERS = st.floats(width=64) | st.integers(-(2**62), 2**62)
HISTORIES = st.dictionaries(st.text(), st.lists(NUMBERS, min_size=1, max_size=5), min_size=1, max_size=4)


def same(found, wanted):
    return len(found) == len(wanted) and all(
        type(one) is type(other) and (one == other or (math.isnan(one) and math.isnan(other)))
        for one, other in zip(found, wanted, strict=True)
    )


@given(HISTORIES, st.integers(0, pickle.HIGHEST_PROTOCOL))
def test_histories_come_back_from_every_protocol(history, protocol):
    for content in (
        pickle.dumps(history, protocol),
        pickletools.optimize(pickle.dumps(collections.OrderedDict(history), protocol)),
        pickle.dumps(History(history), protocol),
    ):
        columns = read(content)
        assert [name for name, _ in columns.metrics] == list(history)
        assert all(same(values, history[name]) for name, values in columns.metrics)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("dtype", ["f2", "<f4", ">f4", "<f8", ">f8", "i1", "u2", ">i4", "i8", "u8", "b1"])
def test_numbers_of_numpy_are_worked_out_from_their_bytes(protocol, dtype):
    array = np.array([0, 1, 1, 0], dtype)
    history = {"loss": list(array), "array": array, "per_class": [array, array], "empty": array[:0]}
    found = dict(read(pickle.dumps(history, protocol)).metrics)
    assert found["loss"] == found["array"] == [0, 1, 1, 0]
    assert found["per_class"] == [[0, 1, 1, 0]] * 2
    assert found["empty"] == []


def test_a_history_in_an_array_of_one_object():
    held = pickle.dumps(np.array({"loss": [0.5]}))
    assert read(held).metrics == (("loss", [0.5]),)


# ------------------------------------------------------------------ payloads
def text(value):
    return b"X" + struct.pack("<I", len(value)) + value.encode()


def payloads(marker):
    """Pickles that make a file when Python reads them."""
    make = f"open({str(marker)!r}, 'w').close()"
    call = b"cbuiltins\nexec\n(" + text(make) + b"tR"
    metric = b"}" + text("loss") + b"]"
    return {
        "reduce": call + b".",
        "stack global": text("builtins") + text("exec") + b"\x93" + text(make) + b"\x85R.",
        "inst": b"(" + text(make) + b"ibuiltins\nexec\n.",
        "object": b"(cbuiltins\nexec\n" + text(make) + b"o.",
        "getattr": b"cbuiltins\ngetattr\ncbuiltins\n__import__\n" + text("os") + b"\x85R"
        + text("system") + b"\x86R" + text(f"touch {marker}") + b"\x85R.",
        "in a metric": metric + call + b"as.",
        "as a metric": b"}" + text("loss") + call + b"s.",
        "in a list of numbers": metric + b"K\x01a" + call + b"as.",
        "as a state": b"cbuiltins\nobject\n)\x81}" + text("history") + b"}" + text("loss") + call + b"ssb.",
        "before a history": call + b"0" + metric + b"K\x01as.",
        "as a key": b"}" + call + b"K\x01s" + text("loss") + b"]K\x01as.",
        "thrown away": metric + b"K\x01as" + call + b"0.",
        "as a dtype": metric + b"cnumpy._core.multiarray\nscalar\n" + call + text("x") + b"\x86Ras.",
        "as bytes": metric + b"c_codecs\nencode\n" + call + text("latin1") + b"\x86Ras.",
        "imported": f"c{marker.stem}_module\nname\n.".encode(),
    }  # fmt: skip


HARMLESS = {"before a history", "thrown away", "as a key"}


@pytest.mark.parametrize("name", payloads(Path("m")))
def test_payloads_never_run(monkeypatch, tmp_path, name):
    marker = tmp_path / "marker"
    (tmp_path / "marker_module.py").write_text(f"open({str(marker)!r}, 'w').close()\nname = {{}}\n")
    monkeypatch.syspath_prepend(tmp_path)
    content = payloads(marker)[name]
    (tmp_path / "h.pkl").write_bytes(b"\x80\x04" + content)
    if name in HARMLESS:
        assert read_run(tmp_path / "h.pkl").curves
    else:
        with pytest.raises(ActvizError) as raised:
            read_run(tmp_path / "h.pkl")
        assert raised.value.exit_code in {3, 5}
    assert not marker.exists()
    assert "marker_module" not in sys.modules
    # The control: Python's own reader runs it.
    with contextlib.suppress(Exception):  # what comes after the payload may fail
        pickle.loads(b"\x80\x04" + content)
    sys.modules.pop("marker_module", None)
    assert marker.exists()


@pytest.mark.parametrize("name", ["in a metric", "thrown away", "imported"])
def test_the_command_runs_no_payload(actviz, tmp_path, name):
    marker = tmp_path / "marker"
    (tmp_path / "marker_module.py").write_text(f"open({str(marker)!r}, 'w').close()\nname = {{}}\n")
    (tmp_path / "h.pkl").write_bytes(b"\x80\x04" + payloads(marker)[name])
    ran = actviz("history", "h.pkl", "-o", "h.png", env={"PYTHONPATH": f"{ROOT}{os.pathsep}{tmp_path}"})
    assert not marker.exists()
    assert ran.code in ({0} if name in HARMLESS else {3, 5}), ran.err
    assert (tmp_path / "h.png").exists() == (name in HARMLESS)
    assert "Traceback" not in ran.err


def test_what_would_be_called_is_named():
    with pytest.raises(UnsafeError, match=r"would call posix\.system; it was not called, and no option allows it"):
        read(b"\x80\x04cposix\nsystem\n" + text("true") + b"\x85R.")
    with pytest.raises(UnsafeError, match=r"would call posix\.system"):
        read(b"\x80\x04}" + text("loss") + b"]cposix\nsystem\n)Ras.")
    with pytest.raises(InputError, match=r"holds no history but a sklearn\.svm\.SVC, which was not created"):
        read(b"\x80\x04csklearn.svm\nSVC\n)\x81}" + text("C") + b"K\x01sb.")
    with pytest.raises(UnsafeError, match=r"a\\x1b\[31m\.b"):
        read(b"\x80\x04ca\x1b[31m\nb\n)R.")


def test_extension_codes_are_never_looked_up(tmp_path):
    import copyreg

    copyreg.add_extension("builtins", "exec", 0xF1)
    try:
        content = b"\x80\x04\x82\xf1" + text(f"open({str(tmp_path / 'marker')!r}, 'w').close()") + b"\x85R."
        with pytest.raises(UnsafeError):
            read(content)
        assert not (tmp_path / "marker").exists()
        pickle.loads(content)
        assert (tmp_path / "marker").exists()
    finally:
        copyreg.remove_extension("builtins", "exec", 0xF1)
        copyreg.clear_extension_cache()


def bombs():
    history = b"}" + text("loss") + b"]K\x01as."
    pair = b")" + b"2\x86" * 200  # ((), ()) of itself, 200 times: 2 ** 200 leaves
    vector = b"](" + b"K\x01" * 60 + b"eq\x01"
    return {
        "a far memory": b"Nr\xff\xff\xff\xff0" + history,
        "an unknown memory": b"h\x07.",
        "many bytes declared": b"\x8e" + struct.pack("<Q", 2**62) + b".",
        "much text declared": b"\x8d" + struct.pack("<Q", 2**40) + b".",
        "a long number": b"\x8b" + struct.pack("<I", 2**30) + b".",
        "a long written number": b"I" + b"9" * 10_000 + b"\n.",
        "a key that takes for ever to hash": b"}" + pair + b"K\x01s.",
        "a function that takes for ever to compare": pair + b")R.",
        "a value that takes for ever to print": b"}" + text("loss") + b"]" + pair + b"as.",
        "deep lists": b"]" * 100_000 + b"a" * 99_999 + b".",
        "deep tuples": b")" + b"\x85" * 200_000 + b".",
        "deep objects": b"cx\ny\n" + b")R" * 60_000 + b".",
        "a list in itself": b"}" + text("loss") + b"]q\x00h\x00as.",
        "a dictionary in itself": b"}q\x00" + text("history") + b"h\x00s.",
        "unhashable keys": b"}]K\x01s" + text("loss") + b"]K\x01as.",
        "many steps": b"N0" * 2_000_000 + b"N.",
        "one list in a million places": vector + b"0}" + text("loss") + b"](" + b"h\x01" * 100_000 + b"es.",
        "marks": b"(" * 200_000,
        "no end": b"}",
        "nothing to pop": b"a.",
        "half a pair": b"}(K\x01u.",
        "a frame and no more": b"\x95\xff\xff\xff\xff\xff\xff\xff\xff",
        "a buffer from elsewhere": b"\x97.",
        "persistent": b"Pname\n.",
        "persistent in a metric": b"}" + text("loss") + b"]K\x01Qas.",
        "state of a number": b"K\x01}b.",
        "a shape of many numbers": b"}" + text("loss") + b"cnumpy._core.multiarray\n_reconstruct\n)R(K\x01(J\xff\xff\xff\x7f"
        b"J\xff\xff\xff\x7ftcnumpy\ndtype\n(" + text("f8") + b"tR(K\x03" + text("<") + b"tb\x89C\x01xtbs.",
    }  # fmt: skip


@pytest.mark.parametrize("name", bombs())
def test_bombs_cost_little(name):
    content = b"\x80\x04" + bombs()[name]
    started = time.process_time()
    found = outcome(content)
    assert isinstance(found, RawColumns) or is_refusal(found)
    assert time.process_time() - started < 8


def test_limits_are_named():
    with pytest.raises(LimitError, match="more than 3,000,000 steps"):
        read(b"\x80\x04" + bombs()["many steps"])
    with pytest.raises(LimitError, match="more than 3,000,000 numbers"):
        read(b"\x80\x04" + bombs()["one list in a million places"])


def test_the_limit_of_text_counts_all_texts_and_lines(monkeypatch):
    monkeypatch.setattr(pickles, "MAXIMUM_TEXT", 1000)
    texts = [b"X\xe8\x03\x00\x00" + b"a" * 1000, b"S'" + b"a" * 1000 + b"'\n", (b"X\x64\x00\x00\x00" + b"a" * 100) * 10]
    for content in texts:
        with pytest.raises(LimitError, match=r"h\.pkl: a pickle with more than 1,000 bytes of text; save"):
            read(b"\x80\x04" + content + b".")
    monkeypatch.setattr(pickles, "MAXIMUM_TEXT", 1100)
    for content in texts:
        with pytest.raises(InputError, match="holds no history"):
            read(b"\x80\x04" + content + b".")


class SparseFile(io.BytesIO):
    """A file that is endless behind its content and records the largest read."""

    largest = 0

    def read(self, count=-1):
        self.largest = max(self.largest, count)
        return super().read(count).ljust(min(count, 10), b"N")

    def readline(self, count=-1):
        self.largest = max(self.largest, count)
        return super().readline(count)


@pytest.mark.parametrize("code", ["T", "X", "\x8d", "B", "\x8e", "\x96", "\x8b"])
def test_declared_sizes_are_never_read_at_once(monkeypatch, code):
    monkeypatch.setattr(pickles, "MAXIMUM_STEPS", 1000)
    width = 8 if code in "\x8d\x8e\x96" else 4
    file = SparseFile(code.encode("latin-1") + (2**30).to_bytes(width, "little"))
    with pytest.raises(LimitError, match="steps"):
        load(file, 2**31, "h.pkl")
    assert file.largest <= 1 << 20


@given(st.binary(max_size=200))
def test_any_bytes_are_refused_or_read(content):
    found = outcome(b"\x80\x04" + content)
    assert isinstance(found, RawColumns) or is_refusal(found)


@given(HISTORIES, st.data())
def test_damaged_pickles_are_refused_or_read(history, data):
    content = bytearray(pickle.dumps(History(history), data.draw(st.integers(0, 5))))
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    found = outcome(bytes(content[: data.draw(st.integers(1, len(content)))]))
    assert isinstance(found, RawColumns) or is_refusal(found)


def test_a_large_model_beside_the_history_is_stepped_over(tmp_path):
    blob = b"B" + struct.pack("<I", 80 << 20)
    head = b"\x80\x04ckeras\nHistory\n)\x81}" + text("model") + blob
    tail = b"s" + text("history") + b"}" + text("loss") + b"]K\x01assb."
    path = tmp_path / "h.pkl"
    with path.open("wb") as file:
        file.write(head)
        file.seek(80 << 20, os.SEEK_CUR)
        file.write(tail)
    with path.open("rb") as file:
        assert columns_in(load(file, path.stat().st_size, "h"), "h").metrics == (("loss", [1]),)


@pytest.mark.parametrize(("count", "refused"), [(63, False), (64, True)])
def test_many_texts_are_too_much_text(count, refused):
    content = b"\x80\x04" + (text("x" * (1 << 20)) + b"0") * count + b"}" + text("loss") + b"]K\x01as."
    if not refused:
        assert read(content).metrics == (("loss", [1]),)
        return
    with pytest.raises(LimitError, match="more than 67,108,864 bytes of text"):
        read(content)

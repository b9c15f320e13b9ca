"""The bar on a terminal: what a person sees, at any width, wherever standard output goes."""

import fcntl
import os
import pty
import re
import struct
import subprocess
import sys
import termios
import threading
import time

import faults
import numpy as np
import pytest
from conftest import HELPERS
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

import actviz as package
from actviz.batch.events import Progress
from actviz.cli import progress
from actviz.cli.progress import ProgressBar, rate, text

# A shell gives a command its terminal this way, so that Ctrl-C reaches it.
TAKE_TERMINAL = (
    "import fcntl, os, sys, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0); os.execv(sys.argv[1], sys.argv[1:])"
)


class Terminal:
    """A pseudo-terminal of some columns, and what would stand on its screen."""

    def __init__(self, columns):
        self.columns = columns
        self._ours, self.theirs = pty.openpty()
        fcntl.ioctl(self.theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
        self._written = bytearray()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self):
        while True:
            try:
                self._written += os.read(self._ours, 65536)
            except OSError:
                return  # nobody holds the other end any more

    def press(self, key):
        os.write(self._ours, key)

    def end(self):
        """Close the other end and wait for what was written there."""
        os.close(self.theirs)
        self._reader.join(10)
        os.close(self._ours)

    @property
    def written(self):
        return self._written.decode()

    def lines(self):
        """Return the rows of the screen, a long line broken into several."""
        rows, column, rest = [""], 0, self.written
        while rest:
            if rest.startswith("\x1b[K"):
                rows[-1], rest = rows[-1][:column], rest[3:]
                continue
            if color := re.match(r"\x1b\[[\d;]*m", rest):
                rest = rest[color.end() :]
                continue
            sign, rest = rest[0], rest[1:]
            assert sign.isprintable() or sign in "\r\n", f"a terminal would not know {sign!r}"
            if sign == "\r":
                column = 0
            elif sign == "\n":
                rows, column = [*rows, ""], 0
            else:
                if column == self.columns:
                    rows, column = [*rows, ""], 0
                rows[-1] = rows[-1][:column] + sign + rows[-1][column + 1 :]
                column += 1
        return rows


@pytest.fixture
def stderr(monkeypatch):
    """Return a function that makes stderr a terminal of some columns, and stdout the same or no terminal."""
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setattr(progress, "SECONDS", 0.0)
    monkeypatch.setattr(progress, "TICK", 1000.0)
    opened = []

    def open_one(columns, *, shared=True):
        terminal = Terminal(columns)
        for name, is_terminal in (("stderr", True), ("stdout", shared)):
            end = os.dup(terminal.theirs) if is_terminal else os.open(os.devnull, os.O_WRONLY)
            stream = os.fdopen(end, "w")
            opened.append(stream)
            monkeypatch.setattr(sys, name, stream)
        return terminal

    yield open_one
    for stream in opened:
        stream.close()


def ended(terminal):
    for stream in (sys.stdout, sys.stderr):
        stream.close()
    terminal.end()
    return terminal.lines()


@pytest.mark.parametrize("columns", [80, 40, 20])
def test_the_bar_stands_below_what_is_written(stderr, columns):
    terminal = stderr(columns)
    bar = ProgressBar(shown=True)
    bar.update(Progress(5, 200))
    for number in range(3):
        with bar.aside(output=True):
            print(f"out/{number}.png", flush=True)
    with bar.aside():
        print("actviz: said", file=sys.stderr, flush=True)
    bar.update(Progress(150, 200))
    *lines, last = ended(terminal)
    assert lines == ["out/0.png", "out/1.png", "out/2.png", "actviz: said"]
    assert "150/200 inputs" in last
    assert len(last) < columns


def test_nothing_of_the_bar_stays(stderr):
    terminal = stderr(30)
    bar = ProgressBar(shown=True)
    for done in range(1, 200):
        bar.update(Progress(done, 200))
    bar.clear()
    bar.clear()
    print("actviz: error: it ended.", file=sys.stderr)
    assert ended(terminal) == ["actviz: error: it ended.", ""]


def test_what_a_terminal_shows_of_ctrl_c_breaks_no_line(stderr):
    terminal = stderr(40)
    bar = ProgressBar(shown=True)
    bar.update(Progress(100, 200))
    sys.stderr.write("^C")  # as the terminal does by itself
    bar.clear()
    assert ended(terminal) == [""]


def test_the_width_is_that_of_stderr_where_stdout_is_a_pipe(stderr):
    terminal = stderr(40, shared=False)
    bar = ProgressBar(shown=True)
    bar.update(Progress(5, 200))
    with bar.aside(output=True):
        print("to the pipe", flush=True)
    bar.update(Progress(6, 200))
    assert terminal.columns == progress.width()
    assert ended(terminal) == [text(6, 200, None, 37)]
    assert terminal.written.count(progress.CLEAR) == 2  # a path that goes elsewhere does not disturb the bar


@pytest.mark.parametrize(("shown", "term", "total"), [(False, "xterm", 9), (True, "dumb", 9), (True, "xterm", 1)])
def test_silence_where_nobody_asked_for_a_bar(stderr, monkeypatch, shown, term, total):
    terminal = stderr(80)
    monkeypatch.setenv("TERM", term)
    bar = ProgressBar(shown=shown)
    bar.update(Progress(1, total))
    with bar.aside():
        pass
    bar.clear()
    assert ended(terminal) == [""]


@given(
    st.integers(0, 10**6),
    st.integers(1, 10**6),
    st.none() | st.floats(0.001, 1e6),
    st.integers(1, 200),
    st.floats(0, 1e6),
)
def test_the_line_has_room_at_any_width_and_begins_with_the_count(done, total, each_second, room, elapsed):
    line = text(min(done, total), total, each_second, room, elapsed=elapsed)
    assert len(line) <= room
    count = f"{min(done, total):,}/{total:,} inputs"
    assert count in line or f"{min(done, total)}/{total}" in line.split(", ")[0] or line == count[:room].rstrip()
    assert not line.endswith((",", " "))


@pytest.mark.parametrize(
    ("done", "total", "each_second", "elapsed", "expected"),
    [
        (150, 1000, 12.0, 16, "150/1000, 0:16, 12/s, 1:11 left"),
        (1500, 100_000, 12.3, 123, "1500/100000, 2:03, 12/s, 2:13:28 left"),
        (32, 300, None, 9, "32/300 inputs, 9 s, < 1 min 15 s left"),
        (9000, 20_000, 1234.5, 8, "9000/20000, 0:08, 1234/s, 0:09 left"),
        (50, 300, 10.0, 14, "50/300 inputs, 14 s, 10/s, 25 s left"),
    ],
)
def test_elapsed_rate_and_time_left_at_40_columns(done, total, each_second, elapsed, expected):
    line = text(done, total, each_second, 40 - progress.MARGIN, elapsed=elapsed)
    assert line == expected


def test_what_is_started_is_shown_with_the_elapsed_time_until_the_first_result(monkeypatch, stderr):
    terminal = stderr(40)
    now = 100.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    bar = ProgressBar(shown=True)
    bar.update(Progress(0, 0, "starting TensorFlow"))
    bar._draw(now)  # as its thread does
    assert terminal.written == ""
    now = 104.0
    bar._draw(now)
    with bar.aside():
        print("actviz: a note", file=sys.stderr, flush=True)
    now = 108.0
    bar.update(Progress(32, 300))
    *lines, last = ended(terminal)
    assert terminal.written.count("starting TensorFlow, 4 s") == 2
    assert (lines, last) == (["actviz: a note"], "32/300 inputs, 8 s, < 1 min 7 s left")


def test_a_stage_over_the_inputs_counts_them_and_one_after_the_last_is_named(monkeypatch, stderr):
    terminal = stderr(40)
    now = 100.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    bar = ProgressBar(shown=True)
    bar.update(Progress(0, 0, "starting TensorFlow"))
    now = 104.0
    bar.update(Progress(0, 300, "measuring colors"))
    now = 109.0
    bar.update(Progress(120, 300, "measuring colors"))
    bar.update(Progress(0, 300))
    now = 120.0
    bar.update(Progress(0, 0, "writing the page"))
    bar._draw(now)
    (last,) = ended(terminal)
    shown = re.split(r"\r\x1b\[K", terminal.written)
    assert shown == [
        "",
        "measuring colors, 0/300, 4 s",
        "measuring colors, 120/300, 9 s",
        "[.................] 0/300 inputs, 9 s",
        "",
        "writing the page, 20 s",
    ]
    assert last == "writing the page, 20 s"


def test_a_single_input_has_a_start_but_no_bar(monkeypatch, stderr):
    terminal = stderr(80)
    now = 100.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    bar = ProgressBar(shown=True)
    bar.update(Progress(0, 0, "starting TensorFlow"))
    now = 101.0
    bar._draw(now)
    bar.update(Progress(1, 1))
    bar._draw(now)
    assert ended(terminal) == [""]
    assert "starting TensorFlow, 1 s" in terminal.written


def test_the_elapsed_time_goes_on_while_nothing_happens(monkeypatch, stderr):
    terminal = stderr(80)
    monkeypatch.setattr(progress, "TICK", 0.01)
    monkeypatch.setattr(progress, "STAGE_DELAY", 0.0)
    bar = ProgressBar(shown=True)
    bar.update(Progress(0, 0, "starting TensorFlow"))
    patience = time.monotonic() + 30
    while "starting TensorFlow, 1 s" not in terminal.written and time.monotonic() < patience:
        time.sleep(0.01)
    bar.clear()
    time.sleep(0.05)
    assert ended(terminal) == [""]
    assert "starting TensorFlow, 1 s" in terminal.written
    assert terminal.written.endswith("s" + progress.CLEAR)  # and nothing after it


def test_without_a_thread_the_line_changes_with_events(monkeypatch, stderr):
    terminal = stderr(80)

    def fail(thread):
        raise RuntimeError

    monkeypatch.setattr(threading.Thread, "start", fail)
    bar = ProgressBar(shown=True)
    bar.update(Progress(5, 200))
    bar.clear()
    assert ended(terminal) == [""]
    assert "5/200 inputs" in terminal.written


def test_a_rate_is_told_once_it_is_known():
    assert rate([]) is None
    assert rate([(0.0, 1), (0.2, 80)]) is None
    assert rate([(0.0, 0), (0.2, 80), (2.0, 100)]) == 50


def test_loading_the_model_is_in_no_rate(monkeypatch, stderr):
    terminal = stderr(80)
    now = 0.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    bar = ProgressBar(shown=True)
    bar.update(Progress(1, 1000))
    for step in range(13):  # from 20 s on, 100 a second
        now = 20 + step / 10
        bar.update(Progress(1 + 10 * step, 1000))
    (line,) = ended(terminal)
    assert line.endswith("] 121/1,000 inputs, 100/s, 9 s left")


COMMANDS = {
    "show": ("show", "m.h5", "in", "-l", "conv", "-o", "out/", "--bare", "--batch-size", "1"),
    "show, ranges": ("show", "m.h5", "in", "-l", "conv", "-o", "out/", "--bare", "--scale", "run"),
    "show, contact": ("show", "m.h5", "in", "-l", "conv:0", "--contact", "-o", "x.png"),
    "extract": ("extract", "m.h5", "in", "-o", "x.npz"),
    "check": ("check", "m.h5", "in"),
    "diff": ("diff", "m.h5", "n.h5", "in"),
    "report": ("report", "m.h5", "in", "-o", "x.html"),
}
FILES = {
    "render": ("render", "x.npz", "-l", "**", "-o", "out/"),
    "render, ranges": ("render", "x.npz", "-l", "**", "-o", "out/", "--scale", "run"),
}


@pytest.mark.parametrize("command", [*COMMANDS, *FILES])
def test_every_command_that_runs_a_model_shows_its_progress(tmp_path, command):
    """In 40 columns; of the bar nothing is left at the end, and the table begins on a line of its own."""
    (tmp_path / "in").mkdir()
    for number in range(5):
        Image.fromarray(np.full((8, 8), 10 * number, np.uint8)).save(tmp_path / "in" / f"{number}.png")
    for name in ("m.h5", "n.h5"):
        faults.write_model(tmp_path / name)
    if command in FILES:
        values = np.arange(320, dtype=np.float32).reshape(5, 8, 8, 1)
        axes = ("batch", "row", "column", "channel")
        package.save(tmp_path / "x.npz", {"conv": package.Activation("conv", "Conv2D", values, axes)}, model="m")
    terminal = Terminal(40)
    program = [sys.executable, "-P", HELPERS / "small_command.py", "none", *(COMMANDS | FILES)[command]]
    running = subprocess.Popen(
        [str(word) for word in program], cwd=tmp_path, env={**os.environ, "TERM": "xterm"},
        stdin=terminal.theirs, stdout=terminal.theirs, stderr=terminal.theirs,
    )  # fmt: skip
    code = running.wait(60)
    terminal.end()
    assert code == 0, terminal.written
    assert re.search(r"\r\x1b\[K(\[[#.]+\] )?\d/5 inputs", terminal.written)
    assert not any("/5 inputs" in line or "starting" in line or "measuring" in line for line in terminal.lines())
    if command in {"check", "diff"}:
        assert "\r\x1b[Klayer " in terminal.written


@pytest.mark.slow
@pytest.mark.parametrize("stopped", [False, True])
def test_a_batch_on_a_real_terminal(samples, tmp_path, stopped):
    digits = np.asarray(Image.open(samples / "seven.png").convert("L"))
    (tmp_path / "in").mkdir()
    for number in range(400 if stopped else 80):
        Image.fromarray(np.roll(digits, number, 1)).save(tmp_path / "in" / f"{number:03}.png")
    (tmp_path / "in" / "007.png").write_text("no image")
    terminal = Terminal(40)
    command = [
        sys.executable,
        "-P",
        "-m",
        "actviz",
        "show",
        samples / "digits_cnn.h5",
        "in",
        "-l",
        "conv",
        "-o",
        "out/",
    ]
    running = subprocess.Popen(
        [sys.executable, "-c", TAKE_TERMINAL, *map(str, command)],
        cwd=tmp_path, stdin=terminal.theirs, stdout=terminal.theirs, stderr=terminal.theirs, start_new_session=True,
        env={**os.environ, "TERM": "xterm"},
    )  # fmt: skip
    patience = time.monotonic() + 60
    while stopped and "out/020" not in terminal.written and time.monotonic() < patience:
        time.sleep(0.02)
    if stopped:
        terminal.press(b"\x03")
    code = running.wait(60)
    terminal.end()
    lines = terminal.lines()
    # After 11 s, as on a busy machine, 40 columns have no room for the word "inputs".
    count = re.compile(r"\d/(80|400)\b")
    assert count.search(terminal.written.partition("out/000")[2])
    assert not any(line.startswith("[") or (count.search(line) and "error" not in line) for line in lines)
    assert "out/001/001_conv.png" in lines
    said = "".join(lines[[line.startswith("actviz: error") for line in lines].index(True) :])
    if stopped:
        assert (code, said) == (130, "actviz: error: interrupted; what was finished is kept.")
    else:
        assert (code, said) == (
            1, "actviz: error: 1 of 80 inputs failed, for the reasons above; the rest is written (79 figures written).",
        )  # fmt: skip

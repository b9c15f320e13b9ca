"""Colors on a terminal: of errors, broken limits and paths; none in pipes unless asked for."""

import io
import sys

import pytest
from click.testing import CliRunner

from actviz.batch.events import FileWritten, Note
from actviz.cli import colors
from actviz.cli.printer import print_events
from actviz.cli.program import program
from actviz.commands.verdicts import Verdict

RED, CYAN, END = "\x1b[1;31m", "\x1b[36m", "\x1b[0m"
MISSING = "there is no model.keras: no such model"
TABLE = "layer  result\nconv   BROKEN: dead at most 5%\nBROKEN  ok"


class Stream(io.StringIO):
    def __init__(self, *, terminal):
        super().__init__()
        self.terminal = terminal

    def isatty(self):
        return self.terminal


@pytest.fixture
def streams(monkeypatch):
    """Return a function that makes both streams a terminal or none, and return them."""
    monkeypatch.setitem(colors._chosen, "color", "auto")
    monkeypatch.setenv("TERM", "xterm")

    def begin(*, terminal):
        pair = Stream(terminal=terminal), Stream(terminal=terminal)
        monkeypatch.setattr(sys, "stdout", pair[0])
        monkeypatch.setattr(sys, "stderr", pair[1])
        return pair

    return begin


def printed(pair):
    events = [Note("a note"), Note(MISSING, is_failure=True), FileWritten("out/a.png"), Verdict(TABLE, {})]
    print_events(events, quiet=False)
    return tuple(stream.getvalue() for stream in pair)


PLAIN = (f"out/a.png\n{TABLE}\n", f"actviz: a note\nactviz: {MISSING}\n")
COLORED_TABLE = f"layer  result\nconv   {RED}BROKEN: dead at most 5%{END}\nBROKEN  ok\n"
COLORED_NOTES = f"actviz: a note\n{RED}actviz:{END} {MISSING}\n"
COLORED = (f"{CYAN}out/a.png{END}\n{COLORED_TABLE}", COLORED_NOTES)


def test_a_terminal_shows_failures_broken_limits_and_paths_in_color(streams):
    assert printed(streams(terminal=True)) == COLORED


def test_pipes_have_no_color(streams):
    assert printed(streams(terminal=False)) == PLAIN


def test_no_color_is_stronger_than_a_terminal_and_force_color(streams, monkeypatch):
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("FORCE_COLOR", "1")
    assert printed(streams(terminal=True)) == PLAIN


def test_force_color_colors_messages_but_no_path_that_a_script_reads(streams, monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")
    assert printed(streams(terminal=False)) == (f"out/a.png\n{COLORED_TABLE}", COLORED_NOTES)


def test_a_terminal_without_colors(streams, monkeypatch):
    monkeypatch.setenv("TERM", "dumb")
    assert printed(streams(terminal=True)) == PLAIN


@pytest.mark.parametrize(("choice", "expected"), [("always", COLORED), ("never", PLAIN)])
def test_the_option_is_stronger_than_the_environment(streams, monkeypatch, choice, expected):
    monkeypatch.setenv("NO_COLOR" if choice == "always" else "FORCE_COLOR", "1")
    monkeypatch.setitem(colors._chosen, "color", choice)
    assert printed(streams(terminal=choice == "never")) == expected


@pytest.mark.parametrize("words", [["--color", "always", "layers"], ["layers", "--color", "always"]])
def test_errors_in_color_wherever_the_option_is_given(actviz, words):
    ran = actviz(*words, "missing.keras", env={"NO_COLOR": "1"})
    error = f"{RED}actviz: error:{END} missing.keras: no such model; check the path.\n"
    assert (ran.code, ran.out, ran.err) == (4, "", error)


def test_the_option_of_a_command_is_forgotten_by_the_next():
    for words, expected in ((["help", "--help"], "auto"), (["layers", "--color", "never", "none.keras"], "never")):
        CliRunner().invoke(program, ["--no-config", *words])
        assert colors._chosen["color"] == expected
    CliRunner().invoke(program, ["--no-config", "help"])
    assert colors._chosen["color"] == "auto"


def test_a_configuration_file_may_choose(actviz, tmp_path):
    (tmp_path / "actviz.toml").write_text('color = "always"\n')
    assert actviz("layers", "missing.keras").err.startswith(RED)

"""A model that cannot be run on one input costs that input only, in every command that computes."""

import json
from xml.etree import ElementTree as ET

import faults
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matrices import matrix
from PIL import Image
from threats import threat

from actviz.batch import retries
from actviz.errors import InputError, LimitError, ModelError
from actviz.records import Sample
from actviz.worker import WorkerCrashedError

INPUTS = ("a.png", "b.png", "guilty.png", "y.png", "z.png")
SAID = {
    "dies": ("m.h5: the model parser crashed (SIGSEGV)", 6),
    "hangs": ("m.h5: timed out", 6),
    "too large": ("m.h5: too large.", 6),
    "bad": ("m.h5: not like this.", 3),
}
COMMANDS = {
    "show": ("show", "m.h5", *INPUTS, "-l", "conv", "-o", "out/", "--bare"),
    "extract": ("extract", "m.h5", *INPUTS, "-o", "x.npz"),
    "check": ("check", "m.h5", *INPUTS, "--json", "--junit", "x.xml"),
    "diff": ("diff", "m.h5", "other.h5", *INPUTS, "--json", "-o", "out/", "--atol", "9"),
    "diff, the other": ("diff", "other.h5", "m.h5", *INPUTS, "--json", "--atol", "9"),
    "report": ("report", "m.h5", *INPUTS, "-o", "x.html", "--pictures", "1"),
    "report, drawn": ("report", "m.h5", *INPUTS, "-o", "x.html"),
    "report, against": ("report", "other.h5", *INPUTS, "-o", "x.html", "--against", "m.h5"),
}

ONE_OF_EACH_RESULT = ("show", "check", "report")


@pytest.fixture
def place(tmp_path, monkeypatch, small_workers):
    """A folder with five inputs, on the third of which the model comes to harm."""
    monkeypatch.chdir(tmp_path)
    faults.use_small_models(monkeypatch, small_workers)
    for number, name in enumerate(INPUTS):
        values = np.arange(64, dtype=np.uint8).reshape(8, 8) + number
        Image.fromarray(np.full_like(values, 255) if name == "guilty.png" else values).save(name)
    faults.write_model(tmp_path / "other.h5", factor=1.5, notes=["other.h5: is noted."])
    return tmp_path


def counted(command, place, out):
    """Return how many inputs the result of a command holds."""
    if command == "show":
        return len(list((place / "out").rglob("*.png")))
    if command == "extract":
        with np.load(place / "x.npz") as file:
            names = [one["name"] for one in json.loads(str(file["actviz.json"]))["samples"]]
            assert len(file["conv"]) == len(names)
        return len(names)
    if command.startswith("report"):
        page = (place / "x.html").read_text()
        return next(count for count in range(9) if f"{count} inputs" in page or f"<dd>{count}</dd>" in page)
    return json.loads(out)["inputs"]


@pytest.mark.parametrize(
    ("command", "harm"),
    matrix(
        COMMANDS,
        ["dies", "too large", "bad"],
        fast=lambda command, harm: harm == "dies" or (command == "show" and harm == "too large"),
    ),
)
@threat(34, 1)
def test_one_input_costs_itself_and_is_named(place, monkeypatch, capfd, code, command, harm):
    faults.write_model(place / "m.h5", harm=harm, notes=["m.h5: is noted."])
    assert faults.run_here(monkeypatch, *COMMANDS[command]) == code
    said = capfd.readouterr()
    message, _ = SAID[harm]
    assert said.err.count(f"actviz: guilty.png: {message}") == 1, said.err
    assert "1 of 5 inputs failed" in said.err.splitlines()[-1]
    assert counted(command, place, said.out) == 4
    assert said.err.count("actviz: m.h5: is noted.") == 1, said.err


@pytest.mark.parametrize("command", COMMANDS)
def test_without_harm_all_is_there_and_notes_are_said_once(place, monkeypatch, capfd, command):
    faults.write_model(place / "m.h5", notes=["m.h5: is noted."])
    assert faults.run_here(monkeypatch, *COMMANDS[command]) == 0
    said = capfd.readouterr()
    assert counted(command, place, said.out) == 5
    assert said.err.count("actviz: m.h5: is noted.") == 1, said.err
    assert said.err.count("actviz: other.h5: is noted.") == ("other.h5" in COMMANDS[command]), said.err


@pytest.mark.slow
@pytest.mark.parametrize("command", COMMANDS)
@threat(35, 1)
def test_a_worker_that_hangs_costs_its_own_input_in_every_command(place, monkeypatch, capfd, code, command):
    faults.write_model(place / "m.h5", harm="hangs")
    assert faults.run_here(monkeypatch, *COMMANDS[command], "--timeout", "2") == code
    said = capfd.readouterr()
    assert "guilty.png: m.h5: timed out" in said.err
    assert counted(command, place, said.out) == 4


@pytest.mark.parametrize("command", COMMANDS)
@threat(34, 6)
def test_where_nothing_else_is_given_that_is_the_result(place, monkeypatch, capfd, code, command):
    faults.write_model(place / "m.h5", harm="dies")
    arguments = [item for item in COMMANDS[command] if item == "guilty.png" or item not in INPUTS]
    assert faults.run_here(monkeypatch, *arguments) == code
    last = capfd.readouterr().err.splitlines()[-1]
    assert last.startswith("actviz: error: guilty.png: m.h5: the model parser crashed (SIGSEGV)")
    assert not list(place.rglob("x.*"))


@pytest.mark.parametrize("command", matrix(COMMANDS, fast=ONE_OF_EACH_RESULT.__contains__))
def test_fail_fast_ends_with_the_input_named(place, monkeypatch, capfd, command):
    faults.write_model(place / "m.h5", harm="dies")
    assert faults.run_here(monkeypatch, *COMMANDS[command], "--fail-fast") == 6
    last = capfd.readouterr().err.splitlines()[-1]
    assert last.startswith("actviz: error: guilty.png: m.h5: the model parser crashed (SIGSEGV)")


@pytest.mark.parametrize("command", matrix(COMMANDS, fast=ONE_OF_EACH_RESULT.__contains__))
def test_a_model_that_kills_on_every_input_is_given_up(place, monkeypatch, capfd, command):
    faults.write_model(place / "m.h5", harm="dies")
    for name in INPUTS:
        Image.fromarray(np.full((8, 8), 255, np.uint8)).save(name)
    assert faults.run_here(monkeypatch, *COMMANDS[command]) == 6
    assert "the model parser crashed" in capfd.readouterr().err.splitlines()[-1]


def test_a_check_names_what_was_lost_in_its_reports(place, monkeypatch, capfd):
    faults.write_model(place / "m.h5", harm="dies")
    faults.run_here(monkeypatch, *COMMANDS["check"])
    record = json.loads(capfd.readouterr().out.splitlines()[-1])
    assert ["guilty.png" in line for line in record["failures"]] == [True]
    assert "guilty.png" in ET.tostring(ET.parse(place / "x.xml").getroot(), "unicode")


# ------------------------------------------------------------------ the rule itself
def sample(name):
    return Sample(name, {}, None, "", "")


@given(st.text(max_size=200), st.sampled_from([InputError, LimitError, WorkerCrashedError]))
def test_names_are_on_one_line_and_said_once(name, kind):
    once = retries.named(kind("m.h5: x."), sample(name))
    assert type(once) is kind
    assert once.message.isprintable()
    assert not once.message.startswith("::")
    assert retries.named(once, sample(name)).message == once.message


def test_other_failures_are_nobodys():
    failure = ModelError("m.h5: x.")
    assert retries.named(failure, sample("a")) is failure
    assert not retries.is_sample_error(failure)


@given(st.lists(st.booleans(), max_size=200))
def test_deaths_in_a_row_end_a_run(answers):
    deaths, row, any_answer = retries.CrashCounter(), 0, False
    for answered in answers:
        if answered:
            deaths.answered()
            row, any_answer = 0, True
            continue
        row += 1
        if row > (retries.MOST_IN_A_ROW if any_answer else retries.MOST_AT_ONCE):
            with pytest.raises(WorkerCrashedError):
                deaths.count(WorkerCrashedError("x"))
            return
        deaths.count(WorkerCrashedError("x"))
        deaths.count(InputError("not a death"))


def test_no_death_is_survived_after_the_end():
    deaths = retries.CrashCounter()
    deaths.end()
    with pytest.raises(WorkerCrashedError):
        deaths.count(WorkerCrashedError("x"))

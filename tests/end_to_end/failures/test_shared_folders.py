"""Folders that others use during a run: a second model, a folder that is moved, deleted or becomes a link."""

import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time

import faults
import numpy as np
import pytest
from conftest import HELPERS
from PIL import Image
from threats import threat

from actviz.batch import figure_writer
from actviz.errors import OutputError
from actviz.system import held_folder, run_lock
from actviz.system.run_lock import RunIdentity, RunLock

pytestmark = pytest.mark.slow  # each test starts the command several times

COUNT = 12
SHOW = ("show", "m.h5", "in", "-l", "conv", "--bare", "-q", "-o", "out/")
COMMANDS = {
    "show": SHOW,
    "show, sheets": ("show", "m.h5", "in", "-q", "-o", "out/"),
    "render": ("render", "x.npz", "-l", "conv", "--bare", "-q", "-o", "out/"),
}
SMALL = str(HELPERS / "small_command.py")


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A checkout in which the command runs, beside a folder of somebody's."""
    here = tmp_path / "checkout"
    (here / "in").mkdir(parents=True)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(here)
    faults.use_small_models(monkeypatch)
    for number in range(COUNT):
        Image.fromarray(np.arange(64, dtype=np.uint8).reshape(8, 8) + number).save(f"in/{number:02d}.png")
    faults.write_model(here / "m.h5")
    faults.write_model(here / "n.h5", factor=2)
    assert faults.run_here(monkeypatch, "extract", "m.h5", "in", "-q", "-o", "x.npz") == 0
    return here


def last_line(capfd):
    return capfd.readouterr().err.splitlines()[-1]


def locks(folder):
    return list(folder.glob(".actviz-*"))


def pictures(folder):
    return sorted(path.relative_to(folder) for path in folder.rglob("*.png"))


def contents(folder):
    return {str(name): (folder / name).read_bytes() for name in pictures(folder)}


def after_figures(monkeypatch, count, change):
    """Call `change` once, before the figure of that number is written."""
    write, lock, written = figure_writer.FigureWriter._write, threading.Lock(), []

    def change_then_write(painter, page, path):
        with lock:
            written.append(path)
            if len(written) == count + 1:
                change()
            return write(painter, page, path)

    monkeypatch.setattr(figure_writer.FigureWriter, "_write", change_then_write)


# ------------------------------------------------------------------ folders that change
CHANGES = {
    "becomes a link": lambda place: (
        (place / "out").rename(place / "moved"),
        (place / "out").symlink_to(place.parent / "elsewhere"),
    ),
    "becomes another": lambda place: ((place / "out").rename(place / "moved"), (place / "out").mkdir()),
    "is moved": lambda place: (place / "out").rename(place / "moved"),
    "is moved and linked": lambda place: (
        (place / "out").rename(place.parent / "elsewhere" / "out"),
        (place / "out").symlink_to(place.parent / "elsewhere" / "out"),
    ),
    "is deleted": lambda place: shutil.rmtree(place / "out"),
}


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("command", COMMANDS)
@threat(133, 7)
def test_a_folder_that_changes_during_a_run(place, monkeypatch, capfd, code, command, change):
    after_figures(monkeypatch, 5, lambda: CHANGES[change](place))
    capfd.readouterr()
    assert faults.run_here(monkeypatch, *COMMANDS[command]) == code
    said = last_line(capfd)
    there = 0 if change == "is deleted" else 5
    assert said.startswith(
        f"actviz: error: {there} of {COUNT} figures written: out: the folder was moved, deleted or replaced"
    )
    found = pictures(place.parent / "elsewhere")
    assert len(found) == (5 if change == "is moved and linked" else 0)
    assert not list(place.parent.rglob(".actviz-*"))
    if (place / "out").is_symlink():
        (place / "out").unlink()
    monkeypatch.undo()
    monkeypatch.chdir(place)
    faults.use_small_models(monkeypatch)
    assert faults.run_here(monkeypatch, *COMMANDS[command]) == 0
    assert len(pictures(place / "out")) == COUNT


@pytest.mark.parametrize("command", ["show", "render"])
@threat(133, 0)
def test_figures_go_elsewhere_where_no_guard_holds_the_folder(place, monkeypatch, code, command):
    monkeypatch.setattr(held_folder, "held_above", lambda _: None)
    after_figures(monkeypatch, 5, lambda: CHANGES["becomes a link"](place))
    faults.run_here(monkeypatch, *COMMANDS[command])
    assert len(pictures(place.parent / "elsewhere")) >= COUNT - 5
    assert code == 0


@pytest.mark.parametrize("command", COMMANDS)
@threat(133, 7)
def test_figures_that_are_deleted_meanwhile_are_counted(place, monkeypatch, capfd, code, command):
    def delete():
        for path in list((place / "out").rglob("*.png"))[:3]:
            path.unlink()
            if path.parent != place / "out":
                path.parent.rmdir()

    after_figures(monkeypatch, COUNT - 1, delete)
    capfd.readouterr()
    assert faults.run_here(monkeypatch, *COMMANDS[command]) == code
    assert last_line(capfd) == (
        f"actviz: error: {COUNT - 3} of {COUNT} figures written: 3 were moved or deleted during the run; run again to make them."
    )
    records = json.loads((place / "out" / "manifest.json").read_text())["figures"]
    assert {record["file"] for record in records} == {str(path) for path in pictures(place / "out")}


@pytest.mark.parametrize("command", COMMANDS)
@threat(133, 7)
def test_the_folder_of_an_input_that_becomes_a_link(place, monkeypatch, capfd, code, command):
    def swap():
        for number in range(COUNT):
            inner = place / "out" / f"{number:02d}"
            if not inner.exists():
                inner.symlink_to(place.parent / "elsewhere")

    after_figures(monkeypatch, 5, swap)
    assert faults.run_here(monkeypatch, *COMMANDS[command]) == code
    assert "a symbolic link stands" in last_line(capfd)
    assert not pictures(place.parent / "elsewhere")


@pytest.mark.parametrize(
    "arguments",
    [("extract", "m.h5", "in", "-o", "out/x.npz"), ("report", "m.h5", "in", "-o", "out/x.html"),
     ("check", "m.h5", "in", "-o", "out/x.png"), ("diff", "m.h5", "n.h5", "in", "-o", "out/")],
)  # fmt: skip
@threat(133, 7)
def test_folders_of_single_results_are_held_too(place, monkeypatch, code, arguments):
    from actviz.worker import Worker

    receive = Worker._receive

    def swap_then_receive(worker):
        if (place / "out").is_dir() and not (place / "out").is_symlink():
            CHANGES["becomes a link"](place)
        return receive(worker)

    (place / "out").mkdir()
    monkeypatch.setattr(Worker, "_receive", swap_then_receive if arguments[0] in {"report", "check"} else receive)
    if arguments[0] in {"extract", "diff"}:
        activations = Worker.receive_activations

        def swap_then_take(worker):
            if not (place / "out").is_symlink():
                CHANGES["becomes a link"](place)
            return activations(worker)

        monkeypatch.setattr(Worker, "receive_activations", swap_then_take)
    assert faults.run_here(monkeypatch, *arguments, "-q") == code
    assert not list((place.parent / "elsewhere").iterdir())


# ------------------------------------------------------------------ two models
def start(place, *arguments, **options):
    return subprocess.Popen(
        [sys.executable, SMALL, "none", *arguments],
        cwd=place,
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        **options,
    )


@pytest.fixture
def waiting(place):
    """A run of one model that writes to `out` and waits until `end` is called."""
    faults.write_model(place / "slow.h5", harm="waits")
    Image.fromarray(np.full((8, 8), 255, np.uint8)).save(place / "white.png")
    process = start(place, "show", "slow.h5", "white.png", "in", "-l", "conv", "--bare", "-o", "out/")
    patience = time.monotonic() + 60
    while not locks(place / "out") or not [
        path for path in locks(place / "out") if path.suffix == ".lock" and path.stat().st_size
    ]:
        assert time.monotonic() < patience
        time.sleep(0.02)
    yield process
    process.kill()
    process.wait()
    process.stderr.close()


@pytest.mark.parametrize("command", COMMANDS)
@threat(134, 7)
def test_a_second_model_is_refused_and_told_the_first(place, monkeypatch, capfd, code, waiting, command):
    capfd.readouterr()
    for flags in ((), ("--overwrite",)):
        assert faults.run_here(monkeypatch, *COMMANDS[command], *flags) == code
        said = last_line(capfd)
        assert f"out: a run of slow.h5 (process {waiting.pid} on {os.uname().nodename}) writes there" in said
    assert len(locks(place / "out")) == 1


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_no_lock_is_left_after_a_signal(place, waiting, number):
    waiting.send_signal(number)
    waiting.wait(30)
    assert not (place / "out").exists() or not locks(place / "out")


@threat(134, 0)
def test_a_run_that_was_killed_is_taken_over(place, monkeypatch, code, waiting):
    waiting.kill()
    waiting.wait()
    assert len(locks(place / "out")) == 1
    assert faults.run_here(monkeypatch, *SHOW) == code
    assert not locks(place / "out")


def test_other_options_are_refused_and_the_same_ones_shared(place, monkeypatch, capfd):
    with held_folder.hold_folder(place) as held:
        one = RunIdentity("m.h5", "a")
        with RunLock(held, one), RunLock(held, one), RunLock(held, RunIdentity("m.h5", "a", "x")):
            with pytest.raises(
                OutputError, match=r"a run of m\.h5 \(process \d+ on .*\), with other content or options, writes there"
            ):
                RunLock(held, RunIdentity("m.h5", "b"))
            with pytest.raises(OutputError, match="with other content or options"):
                RunLock(held, RunIdentity("m.h5", "a", "y"))
            assert len(locks(place)) == 3
        assert not locks(place)


def test_shards_share_a_folder(place, monkeypatch):
    first = start(place, *SHOW, "--shard", "1/2")
    second = start(place, *SHOW, "--shard", "2/2")
    said = [process.communicate(timeout=100)[1] for process in (first, second)]
    assert (first.returncode, second.returncode) == (0, 0), said
    assert len(pictures(place / "out")) == COUNT


@pytest.mark.slow
@pytest.mark.parametrize("other", ["n.h5", "again/m.h5"])
@threat(134, 7)
def test_of_two_models_started_at_once_one_is_refused(place, monkeypatch, code, other):
    (place / "again").mkdir()
    faults.write_model(place / "again" / "m.h5", factor=3)
    codes, alone = [], {}
    for number, model in enumerate(("m.h5", other)):
        assert faults.run_here(monkeypatch, "show", model, *SHOW[2:-1], f"alone{number}/") == 0
        alone[model] = contents(place / f"alone{number}")
    assert alone["m.h5"] != alone[other]
    for number in range(5):
        arguments = (*SHOW[2:-1], f"out{number}/")
        runs = [start(place, "show", model, *arguments) for model in ("m.h5", other)]
        said = [process.communicate(timeout=100)[1].decode() for process in runs]
        codes.append(sorted(process.returncode for process in runs))
        if codes[-1] != [0, code]:
            assert other == "again/m.h5", said  # of one name, and one after the other: the figures are made anew
            assert codes[-1] == [0, 0], said
        records = json.loads((place / f"out{number}" / "manifest.json").read_text())["figures"]
        assert len(records) == COUNT
        assert contents(place / f"out{number}") in alone.values()
        assert not locks(place / f"out{number}")
    assert [0, code] in codes


@pytest.mark.parametrize("age", [1000, 0])
@pytest.mark.parametrize("content", [b"", b"{", b'{"identity": 3}', None])
def test_locks_of_other_machines_count_while_they_are_touched(place, monkeypatch, content, age):
    if content is None:
        content = json.dumps(
            {"identity": {"model": "far.h5", "work": "w", "sheet": ""}, "token": "0", "pid": 7, "host": "far",
             "machine": "another boot", "locked": True}
        ).encode()  # fmt: skip
    path = place / ".actviz-0000.lock"
    path.write_bytes(content)
    os.utime(path, (time.time() - age,) * 2)
    with held_folder.hold_folder(place) as held:
        if age:
            with RunLock(held, RunIdentity("m.h5", "a")):
                assert not path.exists()
        else:
            with pytest.raises(OutputError, match="writes there"):
                RunLock(held, RunIdentity("m.h5", "a"))
            assert path.exists()
    path.unlink(missing_ok=True)


def test_file_systems_without_locks(place, monkeypatch):
    """Both runs see each other; at least one is refused, and a dead one is told by the time of its file."""

    def unknown(*_):
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(fcntl, "flock", unknown)
    monkeypatch.setattr(run_lock, "WITHDRAWAL_SECONDS", 0.1)
    with held_folder.hold_folder(place) as held:
        with RunLock(held, RunIdentity("m.h5", "a")):
            with pytest.raises(OutputError, match=r"m\.h5"):
                RunLock(held, RunIdentity("n.h5", "b"))
            os.utime(locks(place)[0], (time.time() - 1000,) * 2)
            other = RunLock(held, RunIdentity("n.h5", "b"))
            with pytest.raises(OutputError, match="another run has taken the folder over"):
                held.check()
            other.release()
        assert not locks(place)


def test_nothing_is_locked_to_look(place, monkeypatch, waiting):
    assert faults.run_here(monkeypatch, *SHOW, "--dry-run") == 0
    assert len(locks(place / "out")) == 1


@threat(134, 0)
def test_two_models_mix_their_figures_where_no_guard_locks_the_folder(place, monkeypatch, code, waiting):
    monkeypatch.setattr(RunLock, "_refuse_others", lambda *_, **__: None)
    assert faults.run_here(monkeypatch, *SHOW) == code

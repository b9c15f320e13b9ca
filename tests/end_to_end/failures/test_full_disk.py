"""Disks that are full and folders that cannot be written to: what was made before stays, and is recorded."""

import errno
import json
import os
import subprocess
import sys
from pathlib import Path

import faults
import numpy as np
import pytest
from conftest import HELPERS
from PIL import Image
from test_shortage import small
from threats import threat

from actviz.batch.events import FileWritten
from actviz.commands.show import ShowRequest
from actviz.commands.show import show as show_events
from actviz.inputs import InputArguments, InputOptions
from actviz.records import Style
from actviz.system import file_writing, folders, temporary_files
from actviz.worker import ModelOptions

pytestmark = pytest.mark.slow  # each test starts the command several times

SHOW = ("show", "m.h5", "in", "-l", "conv,last", "-o", "out/")
RENDER = ("render", "maps.npy", "--axes", "row,column,channel", "-o", "out/")
COMMANDS = {"show": SHOW, "render": RENDER}


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A folder with a model, twenty inputs and an array of twenty samples."""
    faults.write_model(tmp_path / "m.h5")
    (tmp_path / "in").mkdir()
    generator = np.random.default_rng(0)
    for number in range(20):
        Image.fromarray(generator.integers(0, 250, (8, 8), np.uint8)).save(tmp_path / "in" / f"{number:02d}.png")
    np.save(tmp_path / "maps.npy", generator.normal(size=(20, 64, 64, 16)).astype(np.float32))
    monkeypatch.chdir(tmp_path)
    faults.use_small_models(monkeypatch)
    return tmp_path


def figures_in(folder):
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*.png")}


def recorded_in(folder):
    return {record["file"] for record in json.loads((folder / "manifest.json").read_text())["figures"]}


def empty_folders(folder):
    return [path for path in folder.rglob("*") if path.is_dir() and not list(path.iterdir())]


@pytest.fixture
def small_disk(tmp_path):
    """A disk of 300 kB, where one can be mounted."""
    disk = tmp_path / "disk"
    disk.mkdir()
    options = ["mount", "-t", "tmpfs", "-o", "size=300k", "none", str(disk)]
    try:
        mounted = subprocess.run(options, capture_output=True, check=False).returncode == 0
    except OSError:
        mounted = False
    if not mounted:
        pytest.skip("no disk can be mounted here")
    yield disk
    subprocess.run(["umount", str(disk)], check=True)


@pytest.mark.parametrize("left", [0, 40_000, 150_000])
@pytest.mark.parametrize("command", COMMANDS)
@threat(94, 7)
def test_a_full_disk_keeps_the_records_of_what_was_written(place, small_disk, code, command, left):
    if left:
        (small_disk / "other").write_bytes(bytes(300 * 1024 - left))
    arguments = [f"{small_disk}/out/" if item == "out/" else item for item in COMMANDS[command]]
    ran = subprocess.run(small(*arguments), cwd=place, capture_output=True, text=True, timeout=120, check=False)
    assert ran.returncode == code, ran.stderr
    assert "No space left on device" in ran.stderr.splitlines()[-1]
    out = small_disk / "out"
    made = figures_in(out) if out.exists() else set()
    assert {f"{out}/{name}" for name in made} == set(ran.stdout.splitlines())
    assert bool(made) == out.exists()
    if made:
        assert recorded_in(out) == made
        assert not empty_folders(out)
    assert not list(small_disk.rglob(".actviz-*"))


class FullDisk:
    """A disk that has room for some figures, and then only for what is held in reserve."""

    def __init__(self, monkeypatch, room):
        self.left, self.full = room, False
        real, write, release = file_writing.replace_file, file_writing.write_file, temporary_files.Reserve.release

        def write_figure(path, content):
            if self.left == 0:
                self.full = True
            if self.full:
                folders.make_folder(path.parent)
                self.fail(path)
            self.left -= 1
            write(path, content)

        def replacing(path):
            if self.full and path.name == "manifest.json":
                self.fail(path)
            return real(path)

        def give_back(reserve):
            held = release(reserve)
            self.full = self.full and not held
            return held

        monkeypatch.setattr(file_writing, "write_file", write_figure)
        monkeypatch.setattr(file_writing, "replace_file", replacing)
        monkeypatch.setattr(temporary_files.Reserve, "release", give_back)

    @staticmethod
    def fail(path):
        raise file_writing.OutputError(f"{path}: cannot be written ({os.strerror(errno.ENOSPC)}).")


@pytest.mark.skipif(not hasattr(os, "posix_fallocate"), reason="this system cannot hold space")
@pytest.mark.parametrize("room", [0, 1, 7])
@pytest.mark.parametrize("command", COMMANDS)
@threat(94, 7)
def test_space_is_held_for_the_manifest(place, monkeypatch, capfd, code, command, room):
    FullDisk(monkeypatch, room)
    assert faults.run_here(monkeypatch, *COMMANDS[command]) == code
    out = place / "out"
    made = figures_in(out) if out.exists() else set()
    assert len(made) <= room
    assert {f"out/{name}" for name in made} == set(capfd.readouterr().out.splitlines())
    assert not made or recorded_in(out) == made
    assert not empty_folders(place)


# ------------------------------------------------------------------ folders that cannot be written to
def write_protect(monkeypatch):
    """Let nothing be written any more."""

    def fail(*_, **__):
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr(temporary_files.TemporaryFiles, "create", fail)
    for name in ("TemporaryFile", "NamedTemporaryFile"):
        monkeypatch.setattr(temporary_files.tempfile, name, fail)
    monkeypatch.setattr(os, "replace", fail)


@threat(95, 0)
def test_a_complete_folder_that_cannot_be_written_to_is_complete(place, monkeypatch, capfd, code):
    monkeypatch.setattr("actviz.results.manifest.manifest_writer.IN_MEMORY", 100)
    assert faults.run_here(monkeypatch, *SHOW) == 0
    before = {path: path.read_bytes() for path in (place / "out").rglob("*") if path.is_file()}
    capfd.readouterr()
    write_protect(monkeypatch)
    assert faults.run_here(monkeypatch, *SHOW) == code
    said = capfd.readouterr()
    assert (said.out.count("\n"), said.err) == (40, "actviz: 0 figures written, 40 up to date\n")
    assert {path: path.read_bytes() for path in (place / "out").rglob("*") if path.is_file()} == before


@threat(95, 7)
def test_what_is_missing_from_it_is_an_error(place, monkeypatch, capfd, code):
    assert faults.run_here(monkeypatch, *SHOW) == 0
    next((place / "out").rglob("*.png")).unlink()
    capfd.readouterr()
    write_protect(monkeypatch)
    assert faults.run_here(monkeypatch, *SHOW) == code
    assert "nothing can be written there" in capfd.readouterr().err.splitlines()[-1]


@pytest.mark.parametrize("arguments", [(*SHOW, "--force"), RENDER])
def test_what_makes_everything_again_is_refused_at_once(place, monkeypatch, capfd, arguments):
    assert faults.run_here(monkeypatch, *arguments) == 0
    write_protect(monkeypatch)
    assert faults.run_here(monkeypatch, *arguments) == 7


# ------------------------------------------------------------------ what is printed is what is recorded
@pytest.mark.parametrize("after", [0, 1, 5])
def test_a_signal_while_a_path_is_printed_loses_no_path(place, after):
    program = f"""
import sys; sys.path.append({str(HELPERS)!r})
import os, signal, faults
from actviz.cli import main, printer
from actviz.batch import figure_writer
from actviz.worker import client
client.PROGRAM = faults.BEGUN
figure_writer.warm_up = lambda: None
real, printed = printer._Printer.print, []
def print_and_end(self, event):
    real(self, event)
    if type(event).__name__ == "FileWritten":
        printed.append(event)
        if len(printed) == {after + 1}:
            os.kill(os.getpid(), signal.SIGTERM)
printer._Printer.print = print_and_end
main()
"""
    ran = subprocess.run(
        [sys.executable, "-P", "-c", program, *SHOW, "--batch-size", "20"],
        cwd=place, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert ran.returncode == 143, ran.stderr
    recorded = recorded_in(place / "out")
    assert {f"out/{name}" for name in recorded} == set(ran.stdout.splitlines())
    assert figures_in(place / "out") == recorded


def test_events_that_are_left_end_in_good_order(place):
    faults.write_model(place / "digits_cnn.h5")
    request = ShowRequest(
        opening=ModelOptions(place / "digits_cnn.h5"),
        inputs=InputArguments((Path("in"),)),
        layers=("conv",),
        output="x",
        style=Style(bare=True),
        reading=InputOptions(),
    )
    events = show_events(request)
    next(event for event in events if isinstance(event, FileWritten))
    events.close()
    assert recorded_in(Path("x")) == figures_in(Path("x"))

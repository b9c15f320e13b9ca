"""Every call on the disk or a process may fail: nothing is lost, half done or undocumented."""

import ast
import json
import os
import shutil
import time
from dataclasses import dataclass, replace
from importlib import resources
from pathlib import Path
from xml.etree import ElementTree as ET

import faults
import numpy as np
import pytest
from PIL import Image
from threats import threat

import actviz
from actviz.activations import writer
from actviz.batch import figure_writer
from actviz.system import resource_limits

pytestmark = pytest.mark.slow  # each test starts the command several times

SOURCES = Path(actviz.__file__).parent
DOCUMENTED = {0, 1, 3, 4, 6, 7}
STEPS = 6
BROKEN = 8


@dataclass(frozen=True)
class Golden:
    """A small run of a command.

    `code` is what it ends with when nothing fails; `first` are commands that make what it
    reads of the inputs of the day, as they stand there. With `helpers` other processes draw.
    """

    arguments: tuple[str, ...]
    code: int = 0
    first: tuple[tuple[str, ...], ...] = ()
    helpers: bool = False

    @property
    def documented(self):
        # Beside 0 and 8: what says whether a check was kept is not known where it could not be made.
        return DOCUMENTED | {self.code}


LAYERS = ("-l", "conv,last")
EXTRACTED = tuple(("extract", f"{name}.h5", "in", "-q", "--overwrite", "-o", f"{name}.npz") for name in "mn")
COMMANDS = {
    "show": Golden(("show", "m.h5", "in", *LAYERS, "-o", "out/", "--bare", "--timeout", "20")),
    "extract": Golden(("extract", "m.h5", "in", *LAYERS, "-o", "out/x.npz", "--timeout", "20")),
    "check": Golden(
        ("check", "m.h5", "in", "--no-nan", "--min-std", "9", "--json", "--junit", "out/x.xml", "-o", "out/x.png", "--timeout", "20"),
        BROKEN,
    ),
    "diff": Golden(
        ("diff", "m.h5", "n.h5", "in", "--json", "--junit", "out/x.xml", "-o", "out/", "--timeout", "20"), BROKEN
    ),
    "diff, saved": Golden(
        ("diff", "m.npz", "n.npz", "--json", "--junit", "out/x.xml", "-o", "out/"), BROKEN, EXTRACTED
    ),
    "report": Golden(("report", "m.h5", "in", "-o", "out/x.html", "--markdown", "out/x.md", "--timeout", "20")),
    "render": Golden(("render", "m.npz", *LAYERS, "-o", "out/", "--bare"), 0, EXTRACTED[:1]),
}  # fmt: skip
HELPED = replace(COMMANDS["show"], helpers=True)


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A folder with two models and three inputs."""
    faults.write_model(tmp_path / "m.h5")
    faults.write_model(tmp_path / "n.h5", factor=2)
    (tmp_path / "in").mkdir()
    monkeypatch.chdir(tmp_path)
    faults.use_small_models(monkeypatch)
    monkeypatch.setattr(writer, "IN_MEMORY", 1000)  # what is more lies on the disk meanwhile
    return tmp_path


def draw_inputs(place, golden, monkeypatch, step):
    """Make inputs, and what the command reads of them, that differ from step to step."""
    for number in range(3):
        values = (np.arange(64, dtype=np.uint8) * (number + step)).reshape(8, 8)
        Image.fromarray(values).save(place / "in" / f"{number}.png")
    for arguments in golden.first:
        assert faults.run_here(monkeypatch, *arguments) == 0


def contents(place):
    found = sorted((place / "out").rglob("*"))
    return {path.relative_to(place): path.read_bytes() for path in found if path.is_file() and path.suffix != ".json"}


def check_whole(path):
    """Read a result to its end."""
    if path.suffix == ".png":
        with Image.open(path) as picture:
            picture.load()
    elif path.suffix == ".npz":
        with np.load(path) as file:
            assert len({len(file[name]) for name in file.files if not name.startswith("actviz.")}) == 1
            assert len(json.loads(str(file["actviz.json"]))["samples"]) == len(file["conv"])
    elif path.suffix == ".xml":
        ET.parse(path)
    else:
        beginning, end = {".html": ("<!doctype html>", "</html>\n"), ".md": ("<!-- actviz ", "\n")}[path.suffix]
        text = path.read_text()
        assert text.startswith(beginning)
        assert text.endswith(end)


def check(place, old, new, *, partial):
    """Every result is the old or the new one, the manifest is valid, nothing else lies about.

    Where inputs were lost (`partial`) one file of all of them may be one of the others.
    """
    found = [path for path in (place / "out").rglob("*") if path.is_file()]
    assert {path.suffix for path in found} <= {path.suffix for path in new} | {".json"}, found
    assert not list(place.glob(".actviz-*"))
    for name, content in contents(place).items():
        assert partial or content in {old.get(name), new.get(name)}, name
        check_whole(place / name)
    manifest = place / "out" / "manifest.json"
    if manifest.exists():
        jsonschema = pytest.importorskip("jsonschema")
        schema = json.loads(resources.files("actviz.results.manifest").joinpath("schema.json").read_text())
        jsonschema.validate(json.loads(manifest.read_text()), schema)


def descriptors():
    return len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0


def soon_at_most(count):
    """Tell whether no more descriptors are left open; a thread may still read for a moment."""
    patience = time.monotonic() + 5
    while descriptors() > count and time.monotonic() < patience:
        time.sleep(0.02)
    return descriptors() <= count


def sweep(place, monkeypatch, capfd, golden, kinds):
    """Fail some calls, one a run, over results of an earlier run; return the codes by call.

    `kinds` says from the number of calls how each of some is to fail.
    """

    def run():
        return faults.run_here(monkeypatch, *golden.arguments)

    if golden.helpers:
        monkeypatch.setattr(figure_writer, "MIN_FIGURES_FOR_POOL", 0)
        monkeypatch.setattr(resource_limits, "core_count", lambda: 2)
    draw_inputs(place, golden, monkeypatch, 1)
    assert run() == golden.code
    old = contents(place)
    shutil.copytree(place / "out", place / "before")
    draw_inputs(place, golden, monkeypatch, 2)
    with faults.Faults().injected(monkeypatch) as counted:
        assert run() == golden.code
    new = contents(place)
    assert new
    assert any(old.get(name) != content for name, content in new.items())
    codes = {}
    for number, kind in kinds(len(counted.names)).items():
        shutil.rmtree(place / "out")
        shutil.copytree(place / "before", place / "out")
        before = descriptors()
        capfd.readouterr()
        with faults.Faults(number, kind).injected(monkeypatch) as fault:
            codes[number] = run()
        said = capfd.readouterr()
        told = f"call {number}, {fault.failed}: {kind}: exit {codes[number]}: {said.err}"
        assert codes[number] in golden.documented, told
        assert "Traceback" not in said.err, told
        assert "stdout" not in said.err, told
        assert soon_at_most(before), told
        lost = codes[number] == 1 or (codes[number] == BROKEN and '"failures": []' not in said.out)
        check(place, old, new, partial=lost)
        if codes[number] == golden.code and not lost:
            assert contents(place) == new, told
            continue
        assert run() == golden.code, told  # and the next run puts everything right
        assert contents(place) == new, told
    return codes


def in_turn(first, step):
    """Return what fails calls by their numbers, each in the next way."""
    return lambda count: {
        number: faults.KINDS[place % len(faults.KINDS)] for place, number in enumerate(range(first, count, step(count)))
    }


@pytest.mark.parametrize("command", COMMANDS)
@threat(94, 7)
def test_a_call_that_fails_loses_nothing(place, monkeypatch, capfd, command):
    turns = in_turn(list(COMMANDS).index(command), lambda count: max(1, count // STEPS))
    assert len(sweep(place, monkeypatch, capfd, COMMANDS[command], turns)) >= STEPS


@pytest.mark.slow
def test_no_call_that_fails_loses_anything_that_others_draw(place, monkeypatch, capfd):
    assert len(sweep(place, monkeypatch, capfd, HELPED, in_turn(0, lambda count: max(1, count // 40)))) >= 40


@pytest.mark.slow
@pytest.mark.parametrize("command", list(COMMANDS)[1:])
def test_no_call_that_fails_loses_anything_of_other_commands(place, monkeypatch, capfd, command):
    codes = sweep(place, monkeypatch, capfd, COMMANDS[command], in_turn(0, lambda count: max(1, count // 50)))
    assert len(codes) > 30
    assert set(codes.values()) & {6, 7}


@pytest.mark.slow
@pytest.mark.parametrize("kind", faults.KINDS)
def test_no_call_that_fails_loses_anything(place, monkeypatch, capfd, kind):
    # Each call fails once in one way or another; with ACTVIZ_EVERY=1 twice, which takes two minutes more on two cores.
    step = 3 if "ACTVIZ_EVERY" in os.environ else len(faults.KINDS)
    first = faults.KINDS.index(kind) % step
    codes = sweep(
        place, monkeypatch, capfd, COMMANDS["show"], lambda count: dict.fromkeys(range(first, count, step), kind)
    )
    assert len(codes) > 150 // step
    if kind in {"ENOSPC", "EIO"}:
        assert set(codes.values()) & {6, 7}


def test_the_calls_that_count_are_those_that_touch_files_and_processes(place, monkeypatch):
    draw_inputs(place, COMMANDS["show"], monkeypatch, 1)
    with faults.Faults().injected(monkeypatch) as counted:
        assert faults.run_here(monkeypatch, *COMMANDS["show"].arguments) == 0
    assert {"open", "close", "replace", "file.write", "file.read", "Popen", "pipe", "readv", "write"} <= set(
        counted.names
    )


def test_intermediate_results_count_too(place, monkeypatch):
    draw_inputs(place, COMMANDS["extract"], monkeypatch, 1)
    with faults.Faults().injected(monkeypatch) as counted:
        assert faults.run_here(monkeypatch, *COMMANDS["extract"].arguments) == 0
    assert {"scratch.write", "scratch.read"} <= set(counted.names)


# ------------------------------------------------------------------ nothing else does
FORBIDDEN = {
    "os": {
        "open", "close", "read", "write", "readv", "pipe", "fdopen", "fsync", "replace", "rename", "unlink", "remove",
        "mkdir", "makedirs", "rmdir", "listdir", "scandir", "walk", "stat", "lstat", "fstat", "link", "symlink",
        "chmod", "fchmod", "utime", "truncate", "kill", "system", "popen", "fork", "execv", "spawnv", "dup", "dup2",
    },
    "shutil": {"rmtree", "copy", "copyfile", "copytree", "move"},
    "subprocess": {"run", "Popen", "call", "check_output", "check_call"},
    "tempfile": None, "glob": None, "mmap": None, "socket": None, "fcntl": None,
}  # fmt: skip
METHODS = {
    "read_bytes", "read_text", "write_bytes", "write_text", "mkdir", "rmdir", "unlink", "iterdir", "rglob", "touch",
    "symlink_to", "hardlink_to", "is_file", "is_dir", "is_symlink", "lstat", "chmod",
}  # fmt: skip
EXCEPTIONS = {
    ("system/descriptors.py", None): "closes descriptors",
    ("system/file_system.py", None): "reads files",
    ("system/file_writing.py", None): "writes files",
    ("system/folders.py", None): "lists and makes folders",
    ("system/held_folder.py", None): "does so relative to an open folder",
    ("system/processes.py", None): "starts and ends processes",
    ("system/resource_limits.py", None): "reads /proc and runs ps",
    ("system/run_lock.py", None): "writes and reads lock files",
    ("system/processor.py", "read_text"): "reads /proc/cpuinfo, if it can be read",
    ("system/streams.py", None): "opens what standard streams lack",
    ("system/temporary_files.py", None): "makes and removes temporary files",
    ("system/channel.py", "fcntl"): "makes a pipe larger, which may fail: it is only faster",
    (
        "history/matplotlib_settings.py",
        "shutil.rmtree",
    ): "named, not called: matplotlib's own removal at exit is called off",
}


def touches(tree):
    """Yield what in a module touches files or processes by itself."""
    opens = {item.name for item in ast.walk(tree) if isinstance(item, ast.FunctionDef) and item.name == "open"}
    for item in ast.walk(tree):
        if isinstance(item, ast.Attribute) and isinstance(item.value, ast.Name) and item.value.id in FORBIDDEN:
            names = FORBIDDEN[item.value.id]
            if names is None or item.attr in names:
                yield f"{item.value.id}.{item.attr}"
        elif isinstance(item, ast.Import):
            yield from (name.name for name in item.names if FORBIDDEN.get(name.name, ()) is None)
        elif isinstance(item, ast.ImportFrom) and item.module in FORBIDDEN:
            yield from (f"{item.module}.{name.name}" for name in item.names)
        elif isinstance(item, ast.Call) and isinstance(item.func, ast.Name) and item.func.id == "open" and not opens:
            yield "open"
        elif isinstance(item, ast.Call) and isinstance(item.func, ast.Attribute) and item.func.attr in METHODS:
            inner = item.func.value
            if not (isinstance(inner, ast.Name) and inner.id == "file_system"):
                yield item.func.attr


def test_no_other_module_touches_files_or_processes():
    found = {}
    for path in sorted(SOURCES.rglob("*.py")):
        name = path.relative_to(SOURCES).as_posix()
        if (name, None) in EXCEPTIONS:
            continue
        found |= {(name, what): path for what in touches(ast.parse(path.read_text(encoding="utf-8")))}
    left = {
        (name, what) for name, what in found if not {(name, what), (name, what.partition(".")[0])} & set(EXCEPTIONS)
    }
    assert not left


@pytest.mark.parametrize(
    "text",
    ["open('x')", "import os\nos.unlink('x')", "import tempfile", "from subprocess import run", "path.write_text('x')",
     "import shutil\nshutil.rmtree('x')"],
)  # fmt: skip
def test_it_would_be_seen(text):
    assert list(touches(ast.parse(text)))

"""Every call on the disk or a process may fail: nothing is lost, half done or undocumented."""

import ast
import json
import os
import time
from importlib import resources
from pathlib import Path

import faults
import numpy as np
import pytest
from PIL import Image
from threats import threat

import actviz
from actviz import system
from actviz.cli import program
from actviz.worker import supervisor

SOURCES = Path(actviz.__file__).parent
DOCUMENTED = {0, 1, 3, 4, 6, 7}
STEP = 6  # of the calls of a run; the slow test takes every third


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A folder with a model, three inputs and the results of an earlier run, older than the inputs."""
    (tmp_path / "m.h5").write_bytes(b"a model")
    (tmp_path / "in").mkdir()
    monkeypatch.chdir(tmp_path)
    begun = f"import sys; sys.path.append({str(Path(__file__).parent)!r}); from fault_child import main; main()"
    monkeypatch.setattr(supervisor, "PROGRAM", begun)
    monkeypatch.setattr("actviz.jobs.show._warm_up", lambda: None)
    monkeypatch.setattr(system, "_TEMPORARY", system._Temporary())
    draw_inputs(tmp_path, 1)
    return tmp_path


def draw_inputs(place, step):
    for number in range(3):
        values = (np.arange(64, dtype=np.uint8) * (number + step)).reshape(8, 8)
        Image.fromarray(values).save(place / "in" / f"{number}.png")


def run(monkeypatch):
    """Run the golden batch in this process, as the command does, and return its exit code."""
    arguments = ["actviz", "show", "m.h5", "in", "-l", "conv,last", "-o", "out/", "--bare", "--timeout", "20"]
    monkeypatch.setattr("sys.argv", arguments)
    code = program._run()
    system.end_writing()  # what the command does last
    monkeypatch.setattr(system, "_TEMPORARY", system._Temporary())
    return code


def contents(place):
    return {path.relative_to(place): path.read_bytes() for path in sorted((place / "out").rglob("*.png"))}


def check(place, old, new):
    """Every picture is the old or the new one, the manifest is valid, nothing else lies about."""
    found = [path for path in (place / "out").rglob("*") if path.is_file()]
    assert {path.suffix for path in found} <= {".png", ".json"}, found
    for name, content in contents(place).items():
        assert content in {old.get(name), new[name]}, name
        with Image.open(place / name) as picture:
            picture.load()
    manifest = place / "out" / "manifest.json"
    if old or manifest.exists():
        jsonschema = pytest.importorskip("jsonschema")
        schema = json.loads(resources.files("actviz.manifest").joinpath("schema.json").read_text())
        jsonschema.validate(json.loads(manifest.read_text()), schema)


def descriptors():
    return len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0


def soon_at_most(count):
    """Tell whether no more descriptors are left open; a thread may still read for a moment."""
    patience = time.monotonic() + 5
    while descriptors() > count and time.monotonic() < patience:
        time.sleep(0.02)
    return descriptors() <= count


def sweep(place, monkeypatch, capfd, kind, calls):
    """Fail the calls of some numbers, one a run, over results of an earlier run; return the codes."""
    import shutil

    assert run(monkeypatch) == 0
    old = contents(place)
    shutil.copytree(place / "out", place / "before")
    draw_inputs(place, 2)
    with faults.Faults().injected(monkeypatch) as counted:
        assert run(monkeypatch) == 0
    new = contents(place)
    assert len(new) == 6
    assert not set(old.values()) & set(new.values())
    codes = {}
    for number in calls(len(counted.names)):
        shutil.rmtree(place / "out")
        shutil.copytree(place / "before", place / "out")
        before = descriptors()
        capfd.readouterr()
        with faults.Faults(number, kind).injected(monkeypatch) as fault:
            codes[number] = run(monkeypatch)
        said = capfd.readouterr().err
        told = f"call {number}, {fault.failed}: {kind}: exit {codes[number]}: {said}"
        assert codes[number] in DOCUMENTED, told
        assert "Traceback" not in said, told
        assert "stdout" not in said, told
        assert soon_at_most(before), told
        check(place, old, new)
        if codes[number] == 0:
            assert contents(place) == new, told
        assert run(monkeypatch) == 0, told  # and the next run puts everything right
        assert contents(place) == new, told
    return codes


@pytest.mark.parametrize("kind", faults.KINDS)
@threat(94, 7)
def test_a_call_that_fails_loses_nothing(place, monkeypatch, capfd, kind):
    first = faults.KINDS.index(kind)
    codes = sweep(place, monkeypatch, capfd, kind, lambda count: range(first, count, max(1, count // STEP)))
    assert len(codes) >= STEP
    if kind in {"ENOSPC", "EIO"}:
        assert set(codes.values()) & {6, 7}


@pytest.mark.slow
@pytest.mark.parametrize("kind", faults.KINDS)
def test_no_call_that_fails_loses_anything(place, monkeypatch, capfd, kind):
    first = faults.KINDS.index(kind) % 3  # each call fails at least twice in one way or another
    codes = sweep(place, monkeypatch, capfd, kind, lambda count: range(first, count, 3))
    assert len(codes) > 50


def test_the_calls_that_count_are_those_that_touch_files_and_processes(place, monkeypatch):
    with faults.Faults().injected(monkeypatch) as counted:
        assert run(monkeypatch) == 0
    assert {"open", "close", "replace", "file.write", "file.read", "Popen", "pipe", "readv", "write"} <= set(
        counted.names
    )


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
    ("system.py", None): "the module that does",
    ("processes.py", None): "the module that does",
    ("worker/channel.py", "fcntl"): "makes a pipe larger, which may fail: it is only faster",
    ("history/page.py", "shutil.rmtree"): "named, not called: matplotlib's own removal at exit is called off",
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
            if not (isinstance(inner, ast.Name) and inner.id == "system"):
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

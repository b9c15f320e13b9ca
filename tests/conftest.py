"""What tests share: paths, the command as a person runs it, small model files."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import pytest
import warm_workers
from hypothesis import settings

os.environ.update(
    TF_CPP_MIN_LOG_LEVEL="3",
    KERAS_BACKEND="tensorflow",
    CUDA_VISIBLE_DEVICES="-1",
    KERAS_HOME=os.devnull + "/keras",
    TF_ENABLE_ONEDNN_OPTS="1",  # as in the worker: the same kernels on every processor
)
for color in ("NO_COLOR", "FORCE_COLOR"):  # outputs are compared as a whole
    os.environ.pop(color, None)
# The same examples everywhere; ACTVIZ_RANDOM=1 looks for new ones.
# No deadline: on a busy machine an example takes many times as long.
settings.register_profile("fixed", deadline=None, derandomize="ACTVIZ_RANDOM" not in os.environ)
settings.load_profile("fixed")
# The tests start the command hundreds of times: its modules are compiled once, as they are for a person.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
# A background job of a shell ignores Ctrl-C, and so would every command that a test starts.
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGHUP, signal.SIG_DFL)  # likewise what nohup started
ROOT = Path(__file__).parents[1]
SAMPLES = ROOT / "sample_models"
DATA = ROOT / "tests" / "data"
HELPERS = ROOT / "tests" / "helpers"
IMPORTED_BEFORE = pytest.StashKey[bool]()
WITH_MODELS = {"docs": 2, "hostile": 3, "end_to_end": 4}
"""Folders whose tests start the command with real models, in the order in which they run after all other tests."""


@dataclass(frozen=True)
class Ran:
    code: int
    out: str
    err: str

    @property
    def error(self) -> str:
        """The last line of stderr, the only one an error may have beside notes."""
        return self.err.strip().splitlines()[-1]


def run_actviz(*arguments, cwd, env=None, program=("-m", "actviz"), **options):
    """Run the command in a folder and return what a shell sees."""
    command = [sys.executable, "-P", *program, *map(str, arguments)]
    done = subprocess.run(
        command,
        cwd=cwd,
        env={**os.environ, **(env or {})},
        capture_output=True,
        text=True,
        errors="surrogateescape",
        timeout=120,
        check=False,
        **options,
    )
    return Ran(done.returncode, done.stdout, done.stderr)


def wait_for_worker(process):
    """Wait until a command has started its worker, so that a signal finds it at work and not starting up."""
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    if not children.exists():  # not Linux
        time.sleep(1)
        return
    patience = time.monotonic() + 60
    while not children.read_text():
        assert process.poll() is None
        assert time.monotonic() < patience
        time.sleep(0.02)


def seconds_of_children():
    """Return the seconds that processes which this one started have computed; a busy machine changes them little."""
    times = os.times()
    return times.children_user + times.children_system


@pytest.fixture(scope="session")
def forking_process(tmp_path_factory):
    """Start the process from which `warm_worker` forks workers; return the address of its socket."""
    address = str(tmp_path_factory.mktemp("w") / "socket")
    process = warm_workers.start(address)
    yield address
    process.kill()
    process.wait()


@pytest.fixture
def warm_worker(forking_process, monkeypatch):
    """Fork workers that have imported TensorFlow, for `actviz` and for commands in this process."""
    monkeypatch.setattr("actviz.worker.client.PROGRAM", warm_workers.STUB.format(address=forking_process))
    return forking_process


@pytest.fixture(scope="session")
def small_workers(tmp_path_factory):
    """Start a process that forks workers of the models of `fault_child`; return the program that asks it for one."""
    address = str(tmp_path_factory.mktemp("s") / "socket")
    process = warm_workers.start(address, "small")
    yield warm_workers.STUB.format(address=address)
    process.kill()
    process.wait()


def folder_of(item):
    """Return the folder of a test under `tests`; empty for a test elsewhere."""
    return item.path.relative_to(HELPERS.parent).parts[0] if item.path.is_relative_to(HELPERS.parent) else ""


def pytest_collection_modifyitems(items):
    """Mark what forks workers, and all tests that start the command with real models; those come last."""
    for item in items:
        if folder_of(item) in WITH_MODELS or "forking_process" in getattr(item, "fixturenames", ()):
            item.add_marker("tensorflow")
    marked = {item: item.get_closest_marker("tensorflow") is not None for item in items}
    mixed = {item.path for item in items if marked[item]}
    # Files in one piece, since they share fixtures; the longest ones, those of whole pages of the guide, not at the end.
    items.sort(key=lambda item: (WITH_MODELS.get(folder_of(item), item.path in mixed), str(item.path), marked[item]))


def pytest_collection_finish(session):
    session.config.stash[IMPORTED_BEFORE] = "tensorflow" in sys.modules


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item, nextitem):
    """Let imports of TensorFlow and Keras fail in a test that is not marked so, whatever ran before in this process."""
    if item.get_closest_marker("tensorflow") is not None:
        return (yield)
    with pytest.MonkeyPatch.context() as patch:
        for name in ("tensorflow", "keras"):
            patch.setitem(sys.modules, name, None)
        return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    report = yield
    if call.excinfo is not None and "None in sys.modules" in str(call.excinfo.value):
        report.sections.append(("imports", "this test imports TensorFlow: mark it with pytest.mark.tensorflow"))
    return report


@pytest.fixture
def actviz(request, tmp_path):
    """Return a function that runs the command in an empty folder."""
    program = ("-m", "actviz")
    if "warm_worker" in request.fixturenames:
        program = (warm_workers.__file__, "run", request.getfixturevalue("warm_worker"))

    def run(*arguments, **options):
        return run_actviz(*arguments, cwd=options.pop("cwd", tmp_path), program=program, **options)

    return run


@pytest.fixture
def code(request):
    """Return the exit code that the test's row of the threat table says."""
    return request.node.get_closest_marker("threat").args[1]


@pytest.fixture(scope="session")
def samples():
    return SAMPLES

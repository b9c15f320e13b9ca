"""What a command does on a machine that is short of something, and when its terminal is closed."""

import contextlib
import fcntl
import json
import os
import pty
import resource
import signal
import subprocess
import sys
import termios
import time
from pathlib import Path

import faults
import numpy as np
import pytest
from conftest import HELPERS, ROOT
from matrices import matrix
from PIL import Image
from small_command import FAULTS
from threats import threat

from actviz.errors import RunLimitError
from actviz.system import folders, shortage
from actviz.worker import ModelOptions, Worker

pytestmark = pytest.mark.slow  # each test starts the command several times

INPUTS = ("a.png", "b.png", "guilty.png")
MODEL = ("m.h5", *INPUTS)
COMMANDS = {
    "show": ("show", *MODEL, "-l", "conv", "-o", "out/", "--bare", "--batch-size", "1"),
    "extract": ("extract", *MODEL, "-o", "out/x.npz"),
    "check": ("check", *MODEL, "--junit", "out/x.xml", "-o", "out/x.png"),
    "diff": ("diff", "m.h5", "other.h5", *INPUTS, "-o", "out/", "--atol", "9", "--junit", "out/x.xml"),
    "report": ("report", *MODEL, "-o", "out/x.html", "--markdown", "out/x.md"),
}
WITHOUT_MODEL = {
    "render": ("render", "maps.npy", "--axes", "row,column,channel", "-o", "out/"),
    "history": ("history", "h.json", "-o", "out/h.png"),
}
FIRST_FAULTS = ("no process", "threads 0", "threads 1")
OWN_WORDS = "this is a limit of the machine, not a fault of the file"
PROGRAM = str(HELPERS / "small_command.py")


@pytest.fixture
def place(tmp_path):
    """A folder with models and inputs; the last input is the one on which a model comes to harm."""
    for number, name in enumerate(INPUTS):
        values = np.arange(64, dtype=np.uint8).reshape(8, 8) + number
        Image.fromarray(np.full_like(values, 255) if name == "guilty.png" else values).save(tmp_path / name)
    faults.write_model(tmp_path / "m.h5", notes=["m.h5: is noted."])
    faults.write_model(tmp_path / "other.h5")
    np.save(tmp_path / "maps.npy", np.random.default_rng(0).normal(size=(3, 8, 8, 4)).astype(np.float32))
    (tmp_path / "h.json").write_text('{"loss": [3, 2, 1], "val_loss": [3, 2.5, 2]}')
    return tmp_path


def small(*arguments, fault="none"):
    return [sys.executable, "-P", PROGRAM, fault, *map(str, arguments)]


def run_small(*arguments, cwd, fault="none", **options):
    """Run the command with small models; return its code and what it printed."""
    done = subprocess.run(
        small(*arguments, fault=fault), cwd=cwd, capture_output=True, text=True, timeout=120, check=False, **options
    )
    return done.returncode, done.stdout, done.stderr


def written(place):
    """Return the files of results, apart from manifests, by name."""
    found = sorted((place / "out").rglob("*"))
    return {path.relative_to(place): path.read_bytes() for path in found if path.is_file() and path.suffix != ".json"}


def is_own_words(err):
    last = err.splitlines()[-1]
    # Where memory is too short even to ask for the limit, the line names what ran out alone.
    named = OWN_WORDS in last or last.startswith("actviz: error: memory ran out; ")
    return last.startswith("actviz: error: ") and named and "Traceback" not in err


# ------------------------------------------------------------------ threads, processes, memory, files
@pytest.mark.parametrize(
    ("command", "fault"),
    matrix(COMMANDS | WITHOUT_MODEL, FAULTS, fast=lambda command, fault: command == "show" or fault in FIRST_FAULTS),
)
@threat(109, 6)
def test_what_cannot_be_started_is_a_limit_of_the_machine(place, code, command, fault):
    arguments = (COMMANDS | WITHOUT_MODEL)[command]
    ended, _, err = run_small(*arguments, cwd=place, fault=fault)
    assert ended in {0, code}, err
    assert ended == 0 or is_own_words(err), err
    assert not list(place.rglob(".actviz-*"))
    if fault == "no process" and command in COMMANDS:
        assert ended == code


@pytest.mark.parametrize(
    ("command", "harm"),
    matrix(
        COMMANDS,
        ["no thread", "no native thread"],
        fast=lambda command, harm: command == "show" or harm == "no thread",
    ),
)
@threat(109, 6)
def test_a_worker_without_threads_is_not_tried_again(place, code, command, harm):
    faults.write_model(place / "m.h5", harm=harm)
    ended, _, err = run_small(*COMMANDS[command], cwd=place)
    assert ended == code, err
    assert is_own_words(err), err
    assert "no more threads or processes can be started" in err
    assert "damaged" not in err


@pytest.mark.parametrize("command", COMMANDS)
@threat(109, 1)
def test_an_input_that_needs_too_much_memory_costs_itself(place, code, command):
    faults.write_model(place / "m.h5", harm="no memory")
    ended, _, err = run_small(*COMMANDS[command], cwd=place)
    assert ended == code, err
    assert "guilty.png: m.h5: out of memory" in err


def under_limit(name, size):
    """Return what sets a limit of a process before it begins."""
    return lambda: resource.setrlimit(getattr(resource, name), (size, size))


def run_under(limit, *arguments, cwd, **options):
    command = [sys.executable, "-P", "-m", "actviz", *map(str, arguments)]
    return subprocess.run(
        command, cwd=cwd, capture_output=True, text=True, timeout=120, preexec_fn=limit, check=False,
        **options,
    )  # fmt: skip


def real_commands(samples, place):
    model, image = samples / "digits_cnn.h5", samples / "seven.png"
    return {
        "show": ("show", model, image, "-l", "conv", "-o", "x.png"),
        "layers": ("layers", model),
        "check": ("check", model, image),
        "render": ("render", "maps.npy", "--axes", "row,column,channel", "-o", "out/"),
        "history": ("history", "h.json", "-o", "x.png"),
    }


def check_limited(ran):
    assert ran.returncode in {0, 6}, ran.stderr
    assert ran.returncode == 0 or is_own_words(ran.stderr), ran.stderr
    return ran.returncode


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="other systems keep no limit of address space")
@threat(109, 6)
def test_address_space_that_ends_while_tensorflow_loads(samples, place, code):
    ran = run_under(under_limit("RLIMIT_AS", 1_000_000 << 10), *real_commands(samples, place)["show"], cwd=place)
    assert check_limited(ran) == code
    assert "address space is limited to 976 MiB, ulimit -v" in ran.stderr


SIZES = (20, 90, 150, 200, 240, 280, 400, 700, 1000, 1300, 2000)


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="other systems keep no limit of address space")
@pytest.mark.parametrize("command", ["show", "layers", "check", "render", "history"])
def test_any_limit_of_address_space(samples, place, command):
    arguments = real_commands(samples, place)[command]
    codes = [
        check_limited(run_under(under_limit("RLIMIT_AS", size * 1000 << 10), *arguments, cwd=place)) for size in SIZES
    ]
    # Where stacks and buffers lie is chosen anew in each run, so that a size in between may just fit or not.
    assert codes[0] == 6
    assert set(codes) <= {0, 6}, codes


@pytest.mark.slow
@pytest.mark.parametrize("command", ["show", "layers", "check", "render", "history"])
def test_any_limit_of_open_files(samples, place, command):
    arguments = real_commands(samples, place)[command]
    program = (
        "import resource, sys\nfrom actviz.cli import main\n"
        "count = int(sys.argv.pop(1))\nresource.setrlimit(resource.RLIMIT_NOFILE, (count, count))\nmain()\n"
    )
    for count in range(5, 17):
        ran = subprocess.run(
            [sys.executable, "-P", "-c", program, str(count), *map(str, arguments)],
            cwd=place, capture_output=True, text=True, timeout=120, check=False,
        )  # fmt: skip
        check_limited(ran)


def as_another_user():
    """Return what makes a process one of a user who has no other, but may still read everything; root only."""
    user = 100_000 + os.getpid()
    setpriv = ["setpriv", "--reuid", user, "--regid", user, "--clear-groups"]
    return [*map(str, setpriv), "--inh-caps=+dac_override", "--ambient-caps=+dac_override"]


@pytest.mark.slow
@pytest.mark.skipif(os.geteuid() != 0 or not os.path.exists("/usr/bin/setpriv"), reason="only root becomes another")
@pytest.mark.parametrize("command", ["show", "layers", "check", "render"])
def test_any_limit_of_processes(samples, place, command):
    arguments = real_commands(samples, place)[command]
    place.chmod(0o755)  # access(2) asks for the real user, whatever the capabilities of the process
    codes = []
    for count in (1, 2, 3, 4, 6, 8, 12):
        ran = subprocess.run(
            [*as_another_user(), "bash", "-c", f'ulimit -u {count}; exec "$@"', "bash",
             sys.executable, "-P", "-m", "actviz", *map(str, arguments)],
            cwd=place, capture_output=True, text=True, timeout=120, check=False,
            env=os.environ | {"PYTHONDONTWRITEBYTECODE": "1", "HOME": "/nonexistent"},
        )  # fmt: skip
        codes.append(check_limited(ran))
    assert command == "render" or codes[0] == 6


def test_folders_for_temporary_files_are_not_needed(place):
    nowhere = {**os.environ, "TMPDIR": "/nonexistent"}
    ended, _, err = run_small(*COMMANDS["show"], cwd=place, env=nowhere)
    assert ended == 0, err


@pytest.mark.parametrize(
    ("failure", "kind"),
    [
        (MemoryError(), shortage.MEMORY),
        (ImportError("libx.so.2: failed to map segment from shared object"), shortage.MEMORY),
        (ImportError("libx.so.2: cannot allocate memory in static TLS block"), None),
        (OSError(24, "Too many open files"), shortage.FILES),
        (OSError(28, "No space left on device"), None),
        (RuntimeError("can't start new thread"), shortage.THREADS),
        (RuntimeError("dictionary changed size"), None),
        (ValueError("out of memory"), None),
    ],
)
def test_what_an_exception_says_of_the_machine(failure, kind):
    assert shortage.shortage_of(failure) == kind
    wrapped = ValueError("x")
    wrapped.__cause__ = failure
    assert shortage.shortage_of(wrapped) == kind
    if kind is not None:
        assert "run again." in shortage.describe(kind)


# ------------------------------------------------------------------ opening has a limit of its own
def opened(path, **limits):
    with Worker(ModelOptions(path, **limits)) as worker:
        worker.facts()


@threat(35, 6)
def test_a_file_that_hangs_its_parser_ends_after_its_own_limit(place, monkeypatch, code):
    faults.use_small_models(monkeypatch)
    faults.write_model(place / "m.h5", opening="spins")
    with pytest.raises(RunLimitError, match=r"m\.h5: .*more than 0\.5 s of processor time.*--open-timeout") as raised:
        opened(place / "m.h5", open_timeout=0.5)
    assert raised.value.exit_code == code


@threat(35, 6)
def test_a_parser_that_waits_ends_too(place, monkeypatch, code):
    faults.use_small_models(monkeypatch)
    faults.write_model(place / "m.h5", opening="waits")
    with pytest.raises(Exception, match="timed out") as raised:
        opened(place / "m.h5", timeout=0.5)
    assert raised.value.exit_code == code


def test_computing_is_not_under_the_limit_of_opening(place):
    arguments = (*COMMANDS["show"], "--open-timeout", "0.02")
    program = f"""
import sys, time; sys.path.append({str(HELPERS)!r})
import fault_child
real = fault_child.Sums.activations
def slow(*arguments, **options):
    until = time.process_time() + 0.3
    while time.process_time() < until: pass
    return real(*arguments, **options)
fault_child.Sums.activations = slow
from actviz.worker import server
import actviz.statistics.running_statistics
fault_child.main()
"""
    code = (
        f"import sys; sys.path.append({str(HELPERS)!r})\n"
        f"from actviz.worker import client\nclient.PROGRAM = {program!r}\n"
        "from actviz.cli import main\nmain()\n"
    )
    ran = subprocess.run(
        [sys.executable, "-P", "-c", code, *arguments], cwd=place, capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stderr


SPIN = """
from actviz.system import resource_limits
resource_limits.set_parse_time_limit(0.3)
def spin(seconds):
    import time
    until = time.process_time() + seconds
    while time.process_time() < until: pass
"""


@pytest.mark.parametrize(
    ("work", "ends"),
    [
        ("with resource_limits.parse_time_limited(): spin(5)", True),
        (
            "with resource_limits.parse_time_limited():\n    spin(0.2)\n    with resource_limits.parse_time_limited(): spin(5)",
            True,
        ),
        (
            "with resource_limits.parse_time_limited():\n    with resource_limits.parse_time_limited(): spin(0.1)\n    spin(5)",
            True,
        ),
        (
            "with resource_limits.parse_time_limited(): spin(0.1)\nspin(0.6)\nwith resource_limits.parse_time_limited(): spin(0.1)",
            False,
        ),
        ("spin(0.6)", False),
    ],
)
def test_processor_time_of_parsing(work, ends):
    ran = subprocess.run([sys.executable, "-P", "-c", SPIN + work], cwd=ROOT, check=False)
    assert ran.returncode == (-signal.SIGPROF if ends else 0)


def test_weights_are_read_under_the_limit_too(samples):
    program = (
        "from actviz import gate\nfrom actviz.system import resource_limits\nresource_limits.set_parse_time_limit(0.3)\n"
        "class Hanging:\n    name = 'w'\n    def __getattr__(self, _):\n        while True: pass\n"
        "gate.read_dataset(Hanging(), 'm.h5')\n"
    )
    ran = subprocess.run([sys.executable, "-P", "-c", program], cwd=ROOT, check=False)
    assert ran.returncode == -signal.SIGPROF


# ------------------------------------------------------------------ SIGHUP
def children_of(process):
    return [int(one) for one in Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()]


def is_gone(number):
    """Tell whether a process has ended; one that nobody reaps counts as ended."""
    with contextlib.suppress(OSError):
        return Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    return True


def wait_until(condition, what):
    patience = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < patience, what
        time.sleep(0.02)


@contextlib.contextmanager
def hanging(place, command, *before, **options):
    """Start a command whose worker hangs on its last input; give it once its worker runs."""
    faults.write_model(place / "m.h5", harm="hangs")
    with subprocess.Popen([*before, *small(*COMMANDS[command])], cwd=place, **options) as process:
        try:
            wait_until(lambda: process.poll() is not None or children_of(process), "no worker")
            if command == "show":
                wait_until(lambda: len(list((place / "out").rglob("*.png"))) == 2, "no figures")
            yield process
        finally:
            process.kill()


def check_kept(place, command, out=None):
    """Every figure that is there has its record and was printed, and nothing half done is."""
    assert not list(place.rglob(".actviz-*"))
    if command == "show":
        manifest = json.loads((place / "out" / "manifest.json").read_text())
        assert manifest["interrupted"] is True
        recorded = {record["file"] for record in manifest["figures"]}
        assert recorded == {path.relative_to(place / "out").as_posix() for path in (place / "out").rglob("*.png")}
        assert len(recorded) == 2
        assert out is None or {f"out/{name}" for name in recorded} == set(out.splitlines())


@pytest.mark.skipif(not os.path.isdir("/proc/self/task"), reason="looks for the worker in /proc")
@pytest.mark.parametrize(
    ("command", "sent"),
    matrix(
        COMMANDS,
        [signal.SIGHUP, signal.SIGTERM],
        fast=lambda command, sent: command == "show" or sent == signal.SIGHUP,
    ),
)
@threat(97, 143)
def test_a_hangup_is_a_request_to_end(place, code, command, sent):
    with hanging(place, command, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        workers = children_of(process)
        process.send_signal(sent)
        out, err = process.communicate(timeout=60)
        assert process.returncode == code, err
        assert err.splitlines()[-1] == "actviz: error: terminated; what was finished is kept."
        wait_until(lambda: all(map(is_gone, workers)), "the worker is alive")
    check_kept(place, command, out)


@pytest.mark.skipif(not os.path.isdir("/proc/self/task"), reason="looks for the worker in /proc")
@threat(97, 143)
def test_a_terminal_that_is_closed(place, code):
    ours, theirs = pty.openpty()
    take = lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0)  # noqa: E731
    streams = {"stdin": theirs, "stdout": theirs, "stderr": theirs, "start_new_session": True, "preexec_fn": take}
    with hanging(place, "show", **streams) as process:
        workers = children_of(process)
        os.close(theirs)
        os.close(ours)
        assert process.wait(60) == code
        wait_until(lambda: all(map(is_gone, workers)), "the worker is alive")
    check_kept(place, "show")


@pytest.mark.skipif(not os.path.isdir("/proc/self/task"), reason="looks for the worker in /proc")
def test_what_nohup_started_goes_on(place):
    with hanging(place, "show", "nohup", stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        process.send_signal(signal.SIGHUP)
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(2)
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 143


# ------------------------------------------------------------------ notes that cannot be printed
@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="there is no /dev/full")
@pytest.mark.parametrize(
    "command", matrix(COMMANDS | WITHOUT_MODEL, fast=lambda command: command in {"show", "check", "history"})
)
@threat(110, 0)
def test_a_note_that_cannot_be_printed_costs_nothing(place, code, command):
    arguments = (COMMANDS | WITHOUT_MODEL)[command]
    (place / "actviz.toml").write_text(f"[{command}]\ndark = true\n" if command in {"show", "render"} else "")
    ended, out, err = run_small(*arguments, cwd=place)
    assert ended == code, err
    assert err
    files = written(place)
    assert files
    folders.remove_folder(place / "out")
    with open("/dev/full", "w") as full:
        ran = subprocess.run(
            small(*arguments), cwd=place, stdout=subprocess.PIPE, stderr=full, text=True, timeout=120, check=False
        )
    assert (ran.returncode, ran.stdout) == (code, out)
    assert written(place) == files


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="there is no /dev/full")
@threat(110, 2)
def test_an_error_that_cannot_be_printed_keeps_its_code(place, code):
    with open("/dev/full", "w") as full:
        ran = subprocess.run(small("show", "m.h5", "a.png", "-l", "none"), cwd=place, stderr=full, check=False)
    assert ran.returncode == code

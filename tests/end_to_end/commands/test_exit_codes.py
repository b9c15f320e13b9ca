"""Every documented exit code by the command itself, and the same bytes wherever it runs."""

import json
import os
import platform
import pty
import signal
import subprocess
import sys

import pytest
from conftest import run_actviz, wait_for_worker
from matrices import matrix
from PIL import Image
from threats import threat

from actviz.version import VERSION

MODEL = "digits_cnn.h5"


def code_of(ran):
    assert "Traceback" not in ran.err
    assert ran.code == 0 or ran.error.startswith("actviz: error: ")
    return ran.code


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["show", MODEL, "seven.png", "-l", "conv", "-o", "out.png"], 0),
        (["show", MODEL, "seven.png", "none.png", "-l", "conv", "-o", "out/"], 1),
        (["show", MODEL, "seven.png", "-l", "cnov"], 2),
        (["show", MODEL, "none.png", "-l", "conv"], 3),
        (["layers", "none.h5"], 4),
        (["show", MODEL, "objects.npy", "-l", "conv"], 5),
        (["show", MODEL, "seven.png", "-l", "conv", "--max-pixels", "100"], 6),
        (["show", MODEL, "seven.png", "-l", "conv", "-o", "mine.png"], 7),
        (["check", MODEL, "seven.png", "-l", "conv", "--max-dead", "0%"], 8),
    ],
)
@pytest.mark.usefixtures("warm_worker")
def test_codes(actviz, samples, tmp_path, arguments, code):
    (tmp_path / "mine.png").write_text("precious")
    import numpy as np

    np.save(tmp_path / "objects.npy", np.array([{}], object), allow_pickle=True)
    there = [str(samples / item) if item in {MODEL, "seven.png"} else item for item in arguments]
    assert code_of(actviz(*there)) == code


def test_a_bug_is_70_and_says_what_to_report(samples, tmp_path):
    broken = (
        "import actviz.commands.layers as jobs\ndef broken(*_, **__):\n    raise KeyError('\\x1b[31m\\n::error::')\n"
        "jobs.list_layers = broken\nfrom actviz.cli import main\nmain()\n"
    )
    command = [sys.executable, "-P", "-c", broken, "layers", str(samples / MODEL)]
    ran = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False)
    assert ran.returncode == 70
    last = ran.stderr.splitlines()[-1]
    assert last.startswith(f"actviz: error: this is a bug in actviz {VERSION} (Python {platform.python_version()}")
    assert "please report it" in last
    assert "Traceback" in ran.stderr
    assert "\x1b" not in ran.stderr
    assert not any(line.startswith("::") for line in ran.stderr.splitlines())


@pytest.mark.parametrize(("sent", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_codes_of_signals(samples, tmp_path, sent, code):
    command = [sys.executable, "-P", "-m", "actviz", "show", str(samples / MODEL), "-l", "conv"]
    with subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.DEVNULL) as process:
        wait_for_worker(process)
        process.send_signal(sent)
        assert process.wait(20) == code


def test_code_of_a_closed_pipe(samples, tmp_path):
    reader, writer = os.pipe()
    os.close(reader)
    command = [sys.executable, "-P", "-m", "actviz", "layers", str(samples / MODEL)]
    with os.fdopen(writer, "wb") as closed:
        assert subprocess.run(command, stdout=closed, cwd=tmp_path, check=False).returncode == 141


# ------------------------------------------------------------------ standard input
@pytest.mark.parametrize(
    ("given", "codes"),
    [
        pytest.param(b"", {3}, marks=threat(88, 3)),
        pytest.param(bytes(range(256)) * 4, {3}, marks=threat(88, 3)),
    ],
    ids=["empty", "binary"],
)
def test_lists_from_standard_input(samples, tmp_path, given, codes):
    command = [sys.executable, "-P", "-m", "actviz", "show", str(samples / MODEL), "--files-from", "-", "-l", "conv"]
    ran = subprocess.run(command, input=given, capture_output=True, cwd=tmp_path, timeout=60, check=False)
    assert ran.returncode in codes, ran.stderr
    assert b"Traceback" not in ran.stderr
    assert ran.stderr.splitlines()[-1].startswith(b"actviz: error: ")


@threat(88, 6)
def test_a_list_without_end(samples, tmp_path, code):
    command = [sys.executable, "-P", "-m", "actviz", "show", str(samples / MODEL), "--files-from", "-", "-l", "conv"]
    with open("/dev/zero", "rb") as endless:
        ran = subprocess.run(command, stdin=endless, capture_output=True, cwd=tmp_path, timeout=60, check=False)
    assert ran.returncode == code, ran.stderr
    assert b"bytes are read" in ran.stderr


@threat(88, 2)
def test_a_terminal_is_no_list(samples, tmp_path, code):
    main, terminal = pty.openpty()
    command = [sys.executable, "-P", "-m", "actviz", "show", str(samples / MODEL), "--files-from", "-", "-l", "conv"]
    try:
        ran = subprocess.run(command, stdin=terminal, capture_output=True, cwd=tmp_path, timeout=20, check=False)
    finally:
        os.close(main)
        os.close(terminal)
    assert ran.returncode == code, ran.stderr
    assert b"terminal" in ran.stderr


# ------------------------------------------------------------------ the same bytes
LYING = "raise SystemExit('h5py of the folder')\n"


@pytest.mark.slow
@threat(103, 0)
@threat(105, 0)
def test_the_same_bytes_wherever_it_runs(samples, tmp_path):
    plain, other = tmp_path / "plain", tmp_path / "other"
    for folder in (plain, other):
        folder.mkdir()
        for name in (MODEL, "seven.png"):
            (folder / name).write_bytes((samples / name).read_bytes())
    for name in ("h5py.py", "numpy.py", "sitecustomize_.py", "PIL.py"):
        (other / name).write_text(LYING)
    (other / "matplotlibrc").write_text("image.cmap: gray\nimage.lut: 16\nfont.size: 40\nsavefig.dpi: 7\n")
    strange = {
        "PYTHONPATH": os.environ.get("PYTHONPATH", str(samples.parent)) + os.pathsep,
        "MATPLOTLIBRC": str(other / "matplotlibrc"), "LC_ALL": "C", "LANG": "C", "TZ": "Asia/Kathmandu",
        "PYTHONHASHSEED": "7", "COLUMNS": "33", "HOME": "/nonexistent",
    }  # fmt: skip
    arguments = ("show", MODEL, "seven.png", "-l", "conv,scores", "--cmap", "jet", "-o", "out/", "-q")
    assert run_actviz(*arguments, cwd=plain).code == 0
    ran = run_actviz(*arguments, cwd=other, env=strange, umask=0o077)
    assert ran.code == 0, ran.err
    control = subprocess.run([sys.executable, "-c", "import h5py"], cwd=other, check=False, capture_output=True)
    assert b"h5py of the folder" in control.stderr
    made = {path.relative_to(plain): path.read_bytes() for path in (plain / "out").rglob("*") if path.is_file()}
    again = {path.relative_to(other): path.read_bytes() for path in (other / "out").rglob("*") if path.is_file()}
    assert len(made) == 3
    assert made == again
    assert json.loads(made[next(name for name in made if name.suffix == ".json")])["figures"]
    assert {path.stat().st_mode & 0o777 for path in (other / "out").rglob("*.png")} == {0o600}


# ------------------------------------------------------------------ what whoever starts the command left
STREAMS = {"stdin": 0, "stdout": 1, "stderr": 2}


def without_streams(arguments, closed, cwd):
    """Run the command as a program starts it that closed some standard streams; return its code and the rest said."""
    command = [sys.executable, "-P", "-m", "actviz", *map(str, arguments)]
    shut = " ".join(f"{STREAMS[name]}>&-" for name in closed)
    ran = subprocess.run(
        ["/bin/sh", "-c", f'exec "$@" {shut}', "sh", *command], capture_output=True, cwd=cwd, timeout=60, check=False
    )
    return ran.returncode, ran.stdout.decode(), ran.stderr.decode()


@pytest.mark.slow
@pytest.mark.parametrize(
    "closed", matrix([("stdin",), ("stderr",), ("stdin", "stderr")], fast=lambda closed: len(closed) == 2)
)
@threat(107, 0)
def test_closed_streams_harm_nothing(samples, tmp_path, code, closed):
    arguments = ("show", samples / MODEL, samples / "seven.png", "-l", "conv", "-v", "-o", "x.png")
    ended, said, errors = without_streams(arguments, closed, tmp_path)
    assert (ended, said) == (code, "x.png\n")
    assert ("stderr" in closed) == (not errors)
    with Image.open(tmp_path / "x.png") as picture:
        picture.load()
    assert [path.name for path in tmp_path.iterdir()] == ["x.png"]


@pytest.mark.parametrize("closed", [("stdout",), ("stdin", "stdout"), ("stdout", "stderr"), tuple(STREAMS)])
@threat(107, 7)
def test_a_closed_stdout_takes_no_results(samples, tmp_path, code, closed):
    ended, said, errors = without_streams(("layers", samples / MODEL), closed, tmp_path)
    assert (ended, said) == (code, "")
    assert errors == (
        "" if "stderr" in closed else "actviz: error: stdout: Bad file descriptor; send the output somewhere else.\n"
    )


def test_errors_keep_their_codes_without_streams(tmp_path):
    assert without_streams(("layers", "none.h5"), tuple(STREAMS), tmp_path) == (4, "", "")


@pytest.mark.slow
@threat(107, 0)
def test_a_working_folder_that_is_gone(samples, tmp_path, code):
    arguments = ("show", samples / MODEL, samples / "seven.png", "-l", "conv", "-q", "-o", tmp_path / "x.png")
    command = [sys.executable, "-P", "-m", "actviz", *map(str, arguments)]
    (tmp_path / "gone").mkdir()
    ran = subprocess.run(
        ["/bin/sh", "-c", 'rmdir ../gone && exec "$@"', "sh", *command],
        capture_output=True, text=True, cwd=tmp_path / "gone", timeout=60, check=False,
    )  # fmt: skip
    assert (ran.returncode, ran.stderr) == (code, "")
    assert (tmp_path / "x.png").exists()

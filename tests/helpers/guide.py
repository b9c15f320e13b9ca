"""Pages of the guide as code blocks and links, and the running of a block as a reader would run it."""

import os
import re
import shutil
import subprocess
import sys
import tomllib
from dataclasses import dataclass

import pytest
import warm_workers
from conftest import ROOT

from actviz.cli.help import FOLDER, PAGES

README = ROOT / "README.md"
FILES = {"README": README} | {page: FOLDER / f"{page}.md" for page in PAGES}
TEXTS = {name: path.read_text(encoding="utf-8") for name, path in FILES.items()}
NOT_RUN = {"try-it", "run-the-tests"}  # .ci/run runs them in a clone
_BLOCK = re.compile(
    r"(?:^<!-- (?:needs: )?(?P<mark>[\w-]+) -->\n)?^```(?P<language>\w*)\n(?P<code>.*?)^```$", re.MULTILINE | re.DOTALL
)


@dataclass(frozen=True)
class Block:
    """A fenced block of code: its page and line, its language, and what stands in a comment above it."""

    page: str
    line: int
    mark: str | None
    language: str
    code: str

    @property
    def where(self):
        return f"{FILES[self.page].name}:{self.line}"


def blocks(page):
    """Return the blocks of a page that are run; those that stand in the README too are run there."""
    text = TEXTS[page]
    found = [
        Block(page, text[: block.start("code")].count("\n") + 1, block["mark"], block["language"], block["code"])
        for block in _BLOCK.finditer(text)
    ]
    assert 2 * len(found) == len(re.findall(r"^```", text, re.MULTILINE))
    once = set() if page == "README" else {block.code for block in blocks("README")}
    return [
        block for block in found if block.mark not in NOT_RUN and block.language != "text" and block.code not in once
    ]


def make_workplace(folder, command="-P -m actviz"):
    """Fill a folder with the sample models, the command, and a model and images under the names of the recipes."""
    samples = folder / "sample_models"
    shutil.copytree(ROOT / "sample_models", samples)
    for name in ("bin", "images", "samples", "more"):
        (folder / name).mkdir()
    for name, arguments in (("actviz", command), ("python3", "")):  # a link would lose the virtual environment
        script = folder / "bin" / name
        script.write_text(f'#!/bin/sh\nexec {sys.executable} {arguments} "$@"\n')
        script.chmod(0o755)
    shutil.copy(samples / "digits_cnn.keras", folder / "model.keras")
    for target in ("image.png", "images/seven.png", "samples/seven.png", "more/seven_more.png"):
        shutil.copy(samples / "seven.png", folder / target)
    shutil.copy(samples / "three.png", folder / "images" / "three.png")
    (folder / "list.txt").write_text("sample_models/three.png\n")
    return folder


def in_shell(command, folder, program=("bash", "-e", "-o", "pipefail", "-c"), **variables):
    path = os.pathsep.join([str(folder / "bin"), os.environ["PATH"]])
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", **variables, "PATH": path}
    return subprocess.run(
        [*program, command], cwd=folder, env=environment, capture_output=True, text=True, timeout=300, check=False
    )


def run(block, folder):
    """Run a block in a workplace; fail where it fails, or prints something else than the page says."""
    runner = RUNNERS[block.language]
    if block.language in {"zsh", "fish"} and shutil.which(block.language) is None:
        return
    if block.mark not in {None, "slow"} and shutil.which(block.mark) is None:
        return
    runner(block, folder)


def _run_console(block, folder):
    steps = re.findall(r"^\$ (.+)\n((?:(?!\$ ).*\n)*)", block.code, re.MULTILINE)
    assert steps, block.where
    for command, output in steps:
        done = in_shell(f"{{ {command}; }} 2>&1", folder)
        assert (done.returncode, done.stdout) == (0, output), f"{block.where}: {command}"


def _run_shell(block, folder):
    program = ("bash", "-e", "-o", "pipefail", "-c") if block.language in {"sh", "bash"} else (block.language, "-c")
    _succeed(in_shell(block.code, folder, program, SLURM_ARRAY_TASK_ID="2"), block)


def _run_python(block, folder):
    _succeed(in_shell(block.code, folder, (sys.executable, "-c")), block)


def _run_session(block, folder):
    (folder / "session.txt").write_text(block.code)
    done = in_shell("session.txt", folder, (sys.executable, "-m", "doctest"))
    assert (done.returncode, done.stdout) == (0, ""), block.where


def _run_toml(block, folder):
    tomllib.loads(block.code)
    project = folder / "project"
    project.mkdir()
    (project / "actviz.toml").write_text(block.code)
    done = in_shell(f"cd project && {folder}/bin/actviz check --help", folder)
    _succeed(done, block)


def _run_workflow(block, folder):
    """Run the steps of a workflow, each in the same folder."""
    commands = re.findall(r"^\s*- run: (.+)$", block.code, re.MULTILINE)
    assert commands, block.where
    for command in commands:
        _succeed(
            in_shell(command, folder, GITHUB_ACTIONS="true", GITHUB_STEP_SUMMARY=str(folder / "summary.md")), block
        )


def _run_makefile(block, folder):
    (folder / "Makefile").write_text(block.code)
    first, second = in_shell("make", folder), in_shell("make", folder)
    _succeed(first, block)
    assert "up to date" in second.stdout


def _succeed(done, block):
    assert done.returncode == 0, f"{block.where}: {done.stdout}{done.stderr}"


RUNNERS = {
    "console": _run_console,
    "sh": _run_shell,
    "bash": _run_shell,
    "zsh": _run_shell,
    "fish": _run_shell,
    "python": _run_python,
    "pycon": _run_session,
    "toml": _run_toml,
    "yaml": _run_workflow,
    "make": _run_makefile,
}


def test_of(*pages):
    """Return a test that runs the blocks of each page in order in one folder; those marked as slow have a second test.

    The commands of the README are the installed one; those of other pages fork their workers, which takes a quarter
    of the time.
    """

    @pytest.mark.slow
    @pytest.mark.parametrize("page", pages)
    def test(page, tmp_path, forking_process):
        forking = f"-P {warm_workers.__file__} run {forking_process}"
        folder = make_workplace(tmp_path) if page == "README" else make_workplace(tmp_path, forking)
        for block in blocks(page):
            if block.mark != "slow":
                run(block, folder)

    return test


def slow_test_of(*pages):
    """Return a test of the blocks marked as slow."""

    @pytest.mark.slow
    @pytest.mark.parametrize("page", pages)
    def test(page, tmp_path):
        folder = make_workplace(tmp_path)
        slow = [block for block in blocks(page) if block.mark == "slow"]
        assert slow
        for block in slow:
            run(block, folder)

    return test

"""The action and the workflow of the repository: inputs are those of the commands, and become their options."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT, SAMPLES

ACTION = ROOT / ".github" / "actions" / "actviz"
sys.path[:0] = [str(ROOT / "tests" / "tools")]


def run(tmp_path, **given):
    return subprocess.run(
        [sys.executable, ACTION / "run.py"],
        cwd=tmp_path,
        env={**os.environ, "ACTVIZ_INPUTS": json.dumps(given)},
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )


def test_the_action_has_the_options_of_the_commands():
    import make_action

    assert (ACTION / "action.yml").read_text(encoding="utf-8") == make_action.action(), (
        "run: python tests/tools/make_action.py"
    )
    assert {"max-dead", "junit", "against", "markdown", "layer", "weights"} <= set(make_action.options())


def test_inputs_of_the_action_never_become_part_of_a_shell_command():
    for path in (ACTION / "action.yml", ROOT / ".github" / "workflows" / "build.yml"):
        text = path.read_text(encoding="utf-8")
        for line in text.splitlines():
            assert not re.match(r"\s*(- )?run:.*\$\{\{", line), line


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"command": "show", "model": "m"}, 'command: check or report was expected, not "show"'),
        ({"command": "report", "model": "m", "max-dead": "1%"}, "actviz report has no option --max-dead"),
        ({"command": "check", "model": "m.keras", "max-dead": "$(touch x)"}, "--max-dead $(touch x): a share such as"),
    ],
)
def test_wrong_inputs_are_refused(tmp_path, given, message):
    done = run(tmp_path, **given)
    assert done.returncode != 0
    assert message in done.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
@pytest.mark.tensorflow
def test_a_check_by_the_action(tmp_path):
    samples = Path(SAMPLES)
    done = run(
        tmp_path,
        **{
            "command": "check",
            "model": str(samples / "digits_cnn.h5"),
            "inputs": f"{samples / 'seven.png'}\n{samples / 'three.png'}\n",
            "layer": "conv\nconv_intermediate\n",
            "max-dead": "5%",
            "no-nan": "false",
            "quiet": "true",
            "junit": "check.xml",
        },
    )
    assert done.returncode == 8, done.stderr
    assert "conv_intermediate" in done.stdout
    assert (tmp_path / "check.xml").exists()

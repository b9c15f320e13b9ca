"""Random networks as a person would use them: no command ends in an error of actviz's own."""

import os
import subprocess
import sys

import pytest
import random_networks

FORMATS = ("keras", "h5", "exported", "tflite")
# `check` ends with 8 where it finds something; everything else is 0.
COMMANDS = {
    "show": (["show", "{model}", "-o", "sheet.png"], {0}),
    "figures": (["show", "{model}", "--no-sheet", "-l", "*", "-o", "figures"], {0}),
    "check": (["check", "{model}"], {0, 8}),
    "report": (["report", "{model}", "-o", "report.html"], {0}),
}


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(2001, 2007))
def test_commands_on_a_random_network(seed, tmp_path):
    """A sheet, a figure of every layer, the check and the report, on two formats by turns."""
    model, _ = random_networks.network(seed)
    files = random_networks.written(model, tmp_path, seed, {"keras", FORMATS[seed % len(FORMATS)]})
    path = files.get(FORMATS[seed % len(FORMATS)], files["keras"])
    for name, (arguments, codes) in COMMANDS.items():
        command = [sys.executable, "-P", "-m", "actviz", *(part.format(model=path.name) for part in arguments)]
        done = subprocess.run(
            command, cwd=tmp_path, capture_output=True, text=True, errors="replace", env=os.environ, check=False
        )
        assert done.returncode in codes, (name, done.stderr)
        assert "Traceback" not in done.stderr
    assert (tmp_path / "sheet.png").stat().st_size
    assert any((tmp_path / "figures").rglob("*.png"))
    assert (tmp_path / "report.html").stat().st_size

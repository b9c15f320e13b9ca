"""What TAB gives, through the protocol of click and of each shell."""

import os
import shutil
import subprocess
import sys

import pytest
from conftest import run_actviz

PROGRAM = """
import sys
sys.argv[0] = "actviz"
from actviz.cli import main
main()
"""


def complete(shell, words, cwd):
    """Ask as the shell's own script does: in the environment, one answer a line."""
    number = words[-1] if shell == "fish" else str(len(words) - 1)
    env = {**os.environ, "_ACTVIZ_COMPLETE": f"{shell}_complete", "COMP_WORDS": " ".join(words), "COMP_CWORD": number}
    done = subprocess.run(
        [sys.executable, "-P", "-c", PROGRAM], cwd=cwd, env=env, capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


@pytest.fixture
def folder(samples, tmp_path):
    for name in ("digits_cnn.h5", "digits_caption.keras", "seven.png", "dense.history.json"):
        shutil.copy(samples / name, tmp_path / name)
    (tmp_path / "deeper").mkdir()
    (tmp_path / "digits.png").write_bytes(b"")
    return tmp_path


def test_layers_complete_in_every_shell(folder):
    words = ["actviz", "show", "digits_cnn.h5", "seven.png", "-l", "conv"]
    assert complete("bash", words, folder) == "plain,conv\nplain,conv_intermediate\n"
    assert complete("fish", words, folder) == "plain,conv\tConv2D\nplain,conv_intermediate\tConv2D\n"
    assert complete("zsh", words, folder) == "plain\nconv\nConv2D\nplain\nconv_intermediate\nConv2D\n"


@pytest.mark.parametrize("command", ["show", "extract", "check"])
def test_layers_complete_for_every_command_of_a_model(folder, command):
    assert complete("bash", ["actviz", command, "digits_cnn.h5", "--layer", "sc"], folder) == "plain,scores\n"


def test_layers_complete_after_a_comma_and_after_other_options(folder):
    words = ["actviz", "show", "--cmap", "viridis", "digits_cnn.h5", "-l", "conv", "-l", "pool,conv_"]
    assert complete("bash", words, folder) == "plain,pool,conv_intermediate\n"
    assert complete("bash", [*words[:-1], "**,!conv_"], folder) == "plain,**,!conv_intermediate\n"
    assert complete("bash", [*words[:-1], "pool,conv@"], folder) == "plain,pool,conv@pre\n"


@pytest.mark.slow
@pytest.mark.tensorflow
def test_layers_of_saved_activations_complete(folder):
    assert (
        run_actviz("extract", "-q", "digits_cnn.h5", "seven.png", "-l", "@Conv2D", "-o", "a.npz", cwd=folder).code == 0
    )
    assert complete("bash", ["actviz", "render", "a.npz", "-l", ""], folder) == "plain,conv\nplain,conv_intermediate\n"
    assert complete("bash", ["actviz", "diff", "a.npz", "a.npz", "-l", "conv_"], folder) == "plain,conv_intermediate\n"


def test_models_complete_by_their_endings(folder):
    assert complete("bash", ["actviz", "show", "dig"], folder) == "plain,digits_caption.keras\nplain,digits_cnn.h5\n"
    # A folder fits as well, and the history of a training is no model: the shell's own completion shows all.
    assert complete("bash", ["actviz", "show", "de"], folder) == "file,de\n"
    assert complete("bash", ["actviz", "show", "./digits_cn"], folder) == "plain,./digits_cnn.h5\n"


@pytest.mark.parametrize("given", ["none.h5", "seven.png", "deeper", "dense.history.json", ""])
def test_what_does_not_open_completes_nothing_and_says_nothing(folder, given):
    assert complete("bash", ["actviz", "show", *([given] if given else []), "-l", "c"], folder).strip() == ""


def test_completing_runs_no_code_of_a_model(folder):
    (folder / "evil.py").write_text("open('ran', 'w')")
    complete("bash", ["actviz", "show", "digits_cnn.h5", "--custom-objects", "evil.py", "-l", "c"], folder)
    assert not (folder / "ran").exists()

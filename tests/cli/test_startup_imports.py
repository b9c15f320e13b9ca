"""What a command costs before it does anything: the modules that it loads."""

import json
import subprocess
import sys

import numpy as np
import pytest

import actviz
from actviz.records import Activation

PROBE = """
import json, sys
sys.argv = ["actviz", *json.loads(sys.argv[1])]
import os
real = os._exit
def leave(code):
    print(json.dumps(sorted(sys.modules)), file=sys.stderr)
    real(code)
os._exit = leave
import actviz.cli
actviz.cli.main()
"""
HEAVY = {"tensorflow", "keras", "matplotlib", "matplotlib.pyplot"}


def modules_after(*arguments, code=0):
    done = subprocess.run(
        [sys.executable, "-P", "-c", PROBE, json.dumps([str(argument) for argument in arguments])],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == code, done.stderr
    return set(json.loads(done.stderr.strip().splitlines()[-1]))


@pytest.mark.parametrize(
    "arguments",
    [
        ["--help"],
        ["--version"],
        *(
            [name, "--help"]
            for name in (
                "show",
                "layers",
                "extract",
                "render",
                "check",
                "top",
                "merge",
                "diff",
                "report",
                "filters",
                "explain",
                "history",
            )
        ),
    ],
)
def test_help_loads_click_and_little_else(arguments):
    loaded = modules_after(*arguments)
    assert not loaded & (HEAVY | {"numpy", "PIL", "h5py", "jinja2", "_hashlib", "secrets", "actviz.records"})


def test_the_command_never_loads_tensorflow_itself(samples):
    assert not modules_after("layers", samples / "digits_cnn.h5") & HEAVY


def test_weights_are_drawn_without_tensorflow_and_matplotlib(samples, tmp_path):
    loaded = modules_after("filters", samples / "digits_cnn.h5", "-o", tmp_path / "filters.png")
    assert not loaded & (HEAVY | {"h5py", "jinja2", "actviz.history", "numpy.ma"})


def test_a_worker_is_started_before_numpy_is_imported():
    program = "import sys, actviz.worker, actviz.commands.filters; sys.exit('numpy' in sys.modules)"
    subprocess.run([sys.executable, "-P", "-c", program], check=True, timeout=60)


def test_curves_need_matplotlib_without_pyplot_and_no_tensorflow(samples, tmp_path):
    loaded = modules_after("history", samples / "dense.history.json", "-o", tmp_path / "curves.png")
    assert "matplotlib.figure" in loaded
    assert not loaded & {"tensorflow", "keras", "h5py", "matplotlib.pyplot"}


def test_a_history_that_cannot_be_read_costs_little(samples, tmp_path):
    (tmp_path / "h.json").write_text("{")
    for path in (tmp_path / "h.json", tmp_path / "none.csv", samples / "dense.h5"):
        loaded = modules_after("history", path, code=3)
        assert not loaded & (HEAVY | {"numpy", "PIL", "h5py"})


def test_figures_from_a_file_need_no_model_and_no_inputs(tmp_path):
    values = np.random.default_rng(0).random((1, 3, 4, 2))
    activation = Activation("conv", "Conv2D", values, ("batch", "row", "column", "channel"))
    actviz.save(tmp_path / "out.npz", {"conv": activation}, model="m.h5")
    loaded = modules_after("render", tmp_path / "out.npz", "-l", "conv", "-o", tmp_path / "conv.png")
    assert (tmp_path / "conv.png").is_file()
    assert not loaded & (HEAVY | {"h5py", "actviz.inputs", "actviz.worker", "actviz.formats"})


def test_a_difference_of_files_needs_no_model_and_no_inputs(tmp_path):
    values = np.random.default_rng(0).random((2, 3, 4, 2))
    for name in ("a.npz", "b.npz"):
        activation = Activation("conv", "Conv2D", values, ("batch", "row", "column", "channel"))
        actviz.save(tmp_path / name, {"conv": activation}, model="m.h5")
    loaded = modules_after("diff", tmp_path / "a.npz", tmp_path / "b.npz")
    assert not loaded & (HEAVY | {"h5py", "actviz.formats.keras", "actviz.formats.savedmodel", "actviz.formats.tflite"})


def test_the_probe_can_fail():
    done = subprocess.run(
        [sys.executable, "-c", "import matplotlib, sys; print('matplotlib' in sys.modules)"],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert done.stdout.strip() == "True"


def test_the_worker_describes_a_model_without_tensorflow(samples):
    program = (
        "import sys; from pathlib import Path; from actviz.formats import open_network; "
        "open_network(Path(sys.argv[1])); print('tensorflow' in sys.modules, 'keras' in sys.modules)"
    )
    for name in ("digits_cnn.h5", "digits_cnn.keras", "photo_features.keras", "ner_bilstm.h5"):
        done = subprocess.run(
            [sys.executable, "-c", program, str(samples / name)], capture_output=True, text=True, timeout=60, check=True
        )
        assert done.stdout.strip() == "False False"

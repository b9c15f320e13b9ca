"""What libraries print when they start is hidden in the process of Python users; everything else is printed."""

import os
import subprocess
import sys

import pytest

from actviz.api.network import START_LINES
from actviz.system import streams

HIDDEN = """\
WARNING: All log messages before absl::InitializeLog() is called are written to STDERR
I0000 00:00:1795928643.116704   23051 cudart_stub.cc:31] Could not find cuda drivers on your machine, GPU will not be used.
2024-05-02 10:11:12.131415: I tensorflow/core/platform/cpu_feature_guard.cc:210] This TensorFlow binary is optimized to use available CPU instructions in performance-critical operations.
To enable the following instructions: AVX2 FMA, in other operations, rebuild TensorFlow with the appropriate compiler flags.
E0000 00:00:1795928649.338014   23051 cuda_platform.cc:52] failed call to cuInit: INTERNAL: CUDA error
INFO: Created TensorFlow Lite XNNPACK delegate for CPU.
"""
SHOWN = """\
2024-05-02 10:11:12.131415: W tensorflow/core/common_runtime/gpu/gpu_device.cc:2251] Cannot dlopen some GPU libraries.
E0000 00:00:1795928649.338014   23051 gpu.cc:52] out of memory
F0000 00:00:1795928649.338014   23051 cpu_feature_guard.cc:164] The TensorFlow library was compiled to use AVX512F instructions, but these aren't available on your machine.
my own layer says I0000
"""


def test_only_start_lines_are_hidden(capfd):
    with streams.without_lines(START_LINES):
        os.write(2, HIDDEN.encode() + SHOWN.encode() + b"no end of line \xff")
    os.write(2, b"I0000 after the block\n")
    assert capfd.readouterr().err == f"{SHOWN}no end of line \ufffd\nI0000 after the block\n"


def test_an_error_in_the_block_leaves_standard_error_as_it_was(capfd):
    def fail():
        with streams.without_lines("^hidden"):
            os.write(2, b"hidden\nshown\n")
            raise ValueError("wrong")

    with pytest.raises(ValueError, match="wrong"):
        fail()
    os.write(2, b"hidden no more\n")
    assert capfd.readouterr().err == "shown\nhidden no more\n"


def test_nothing_is_hidden_without_the_filter_and_within_another(capfd, monkeypatch):
    with streams.without_lines("^outer"), streams.without_lines("^inner"):
        os.write(2, b"outer\ninner\n")
    monkeypatch.setenv("PATH", "")
    with streams.without_lines("^hidden"):
        os.write(2, b"hidden\n")
    assert capfd.readouterr().err == "inner\nhidden\n"


def test_the_last_words_of_a_library_that_aborts_are_printed():
    program = (
        "import os; from actviz.system import streams\n"
        "with streams.without_lines('^I'):\n"
        "    os.write(2, b'I0000 hidden\\nF0000 Check failed\\n'); os.abort()"
    )
    done = subprocess.run([sys.executable, "-c", program], stderr=subprocess.PIPE, text=True, check=False, timeout=60)
    assert done.returncode < 0
    assert done.stderr == "F0000 Check failed\n"


def test_no_standard_error():
    program = (
        "import os; from actviz.system import streams\nos.close(2)\nwith streams.without_lines('^I'):\n    print('ran')"
    )
    done = subprocess.run([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True, check=False, timeout=60)
    assert (done.returncode, done.stdout) == (0, "ran\n")

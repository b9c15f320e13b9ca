"""A short seeded fuzz of every reader; the long one is `tests/tools/fuzz.py`."""

import random

import fuzzing
import pytest
from conftest import run_actviz

pytestmark = pytest.mark.slow  # hundreds of mutated files

MUTANTS = 400
COMPUTING = ("computing", "sums", "tflite", "graphs")
"""Targets that import TensorFlow or LiteRT and compute: no part of the short run."""


def report(result):
    return "\n".join(f"mutant({result.target!r}, {result.seed}, {n}): {what}" for n, what in result.escapes.items())


@pytest.mark.parametrize("name", [name for name in fuzzing.TARGETS if name not in COMPUTING])
def test_mutants_are_read_or_refused(name):
    result = fuzzing.fuzz(name, seed=20, count=MUTANTS)
    assert result.read == MUTANTS
    assert not result.escapes, report(result)
    assert not result.died or fuzzing.TARGETS[name].native, result.died


@pytest.mark.slow
@pytest.mark.parametrize("name", fuzzing.TARGETS)
def test_more_mutants_are_read_or_refused(name, tmp_path):
    result = fuzzing.fuzz(name, seed=21, count=10**9, seconds=30 if name in COMPUTING else 15)
    assert not result.escapes, report(result)
    assert not result.died or fuzzing.TARGETS[name].native, result.died
    for number in list(result.died)[:3]:
        path = tmp_path / f"mutant{fuzzing.TARGETS[name].suffix}"
        path.write_bytes(fuzzing.mutant(name, 21, number))
        ran = run_actviz("layers", path, "--timeout", 5, cwd=tmp_path)
        assert ran.code in {0, 4, 5, 6}, ran.err
        assert len(ran.err.splitlines()) <= 1


def test_the_fuzzer_sees_what_escapes(monkeypatch, tmp_path):
    """A reader that fails in its own way is an escape; one that dies is seen to die."""
    (tmp_path / "sitecustomize.py").write_text(
        "import os, signal, sys\n"
        "if sys.argv[1:2] == ['style'] or 'style' in sys.orig_argv:\n"
        "    import actviz.figures.color_scale as color_scale\n"
        "    def parse_scale(text):\n"
        "        if len(text) % 50 == 7:\n"
        "            os.kill(os.getpid(), signal.SIGSEGV)\n"
        "        raise KeyError(text)\n"
        "    color_scale.parse_scale = parse_scale\n"
    )
    import os

    monkeypatch.setattr(fuzzing, "HERE", fuzzing.HERE)
    real = fuzzing.subprocess.Popen

    def started(command, env, **options):
        return real(command, env=env | {"PYTHONPATH": os.pathsep.join([str(tmp_path), env["PYTHONPATH"]])}, **options)

    monkeypatch.setattr(fuzzing.subprocess, "Popen", started)
    result = fuzzing.fuzz("style", seed=1, count=120)
    assert len(result.escapes) > 60
    assert set(result.died.values()) == {"SIGSEGV"}


def test_mutants_are_made_again_from_their_number():
    assert fuzzing.mutant("hdf5", 3, 17) == fuzzing.mutant("hdf5", 3, 17)
    assert len({fuzzing.mutant("hdf5", 3, number) for number in range(20)}) > 15
    chance = random.Random(1)
    assert all(fuzzing.mutated_bytes(chance, b"") == b"" for _ in range(3))

"""Tests that import TensorFlow say so by a marker, so that the others run in seconds while one edits."""

import os
import subprocess
import sys

import pytest
from conftest import HELPERS, IMPORTED_BEFORE


def test_no_module_imports_tensorflow_when_tests_are_collected(request):
    assert not request.config.stash[IMPORTED_BEFORE], "import keras, layers, tf from tests/helpers/late_imports.py"


@pytest.mark.parametrize("mark", ["", "@pytest.mark.tensorflow"])
def test_a_test_that_imports_tensorflow_unmarked_fails(tmp_path, mark):
    (tmp_path / "tensorflow.py").touch()
    (tmp_path / "test_x.py").write_text(f"import pytest\n\n{mark}\ndef test():\n    import tensorflow\n")
    (tmp_path / "pytest.ini").write_text("[pytest]\nmarkers = tensorflow")
    path = os.pathsep.join(map(str, [tmp_path, HELPERS.parent, HELPERS]))
    ran = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "conftest", "-p", "no:cacheprovider", "test_x.py"],
        cwd=tmp_path, env=os.environ | {"PYTHONPATH": path}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert ran.returncode == (0 if mark else 1), ran.stdout + ran.stderr
    assert ("mark it with pytest.mark.tensorflow" in ran.stdout) == (not mark)

"""Benchmarks are not run by the suite; what they import from actviz, also in the programs they start, must exist."""

import ast
import importlib
from pathlib import Path

import pytest

BENCHMARKS = sorted((Path(__file__).parents[1] / "benchmarks").glob("*.py"))


def trees(source):
    """Yield the syntax trees of a file and of the programs in its strings."""
    tree = ast.parse(source)
    yield tree
    for node in ast.walk(tree):
        if (
            isinstance(node, ast.Constant)
            and isinstance(node.value, str)
            and "import actviz" in node.value.replace("from actviz", "import actviz")
        ):
            try:
                yield ast.parse(node.value)
            except SyntaxError:
                continue  # words about a program


def imports(source):
    """Yield the module, and the name or ``None``, of every import of actviz."""
    for tree in trees(source):
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "actviz":
                yield from ((node.module, alias.name) for alias in node.names)
            elif isinstance(node, ast.Import):
                yield from ((alias.name, None) for alias in node.names if alias.name.split(".")[0] == "actviz")


def is_there(module, name):
    try:
        found = importlib.import_module(module)
        return name is None or hasattr(found, name) or bool(importlib.import_module(f"{module}.{name}"))
    except ImportError:
        return False


@pytest.mark.parametrize("path", BENCHMARKS, ids=lambda path: path.stem)
def test_what_a_benchmark_imports_exists(path):
    missing = [pair for pair in imports(path.read_text()) if not is_there(*pair)]
    assert not missing


def test_imports_in_programs_are_seen():
    program = 'RUN = """\nfrom actviz import no_such\nimport actviz.neither\n"""'
    assert list(imports(program)) == [("actviz", "no_such"), ("actviz.neither", None)]
    assert not is_there("actviz", "no_such")

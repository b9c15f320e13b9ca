"""Write `tests/THREATS.md`: every row of the threat table, what actviz answers, and which tests show it.

Run ``python tests/tools/make_threats.py``; ``--check`` only says whether the page is up to
date. The rows come from the marks on the tests that pytest collects, so a row without a test
is an error. Each test asserts the exit code of its mark.
"""

from __future__ import annotations

import contextlib
import io
import sys
from collections import defaultdict
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]
sys.path.insert(0, str(TESTS / "helpers"))

import threats

HEAD = """# What hostile and broken files get

Made by `python tests/tools/make_threats.py` from the tests themselves: each asserts the exit code beside it (0 done,
2 usage, 3 input, 4 model, 5 refused as unsafe, 6 a limit or a parser that crashed, 7 output, 130, 141 and 143 ended by a
signal or a closed pipe; 1: the other inputs of the batch are written), or that error's class. "Control" are tests in which the same file does its harm: in Keras with its guard off, in h5py, or in
actviz when it is told to trust the file. A file with layers that need code is judged by its last layer: the others are
computed, and nothing of the file runs.
"""
TITLES = (
    (threats.CODE, "Code and disclosure"),
    (threats.RESOURCES, "Resources and malformed files"),
    (threats.GRAPHS, "SavedModel and TFLite"),
    (threats.INPUTS, "Inputs"),
    (threats.OUTPUTS, "Outputs, signals and environment"),
)
CONTROLS = (
    "where_keras",
    "where_it_is_allowed",
    "though_it",
    "keras_r",
    "from_anywhere",
    "escape_where",
    "once_it_is_named",
    "where_no_guard",
)


class Collector:
    """A pytest plug-in that keeps the marks of what is collected."""

    def __init__(self) -> None:
        self.found: list[tuple[int, int, str]] = []

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """Note row, exit code and test of every mark."""
        for item in items:
            name = item.nodeid.partition("[")[0].replace("tests/", "")
            self.found += [(*mark.args, name) for mark in item.iter_markers("threat")]


def page(found: list[tuple[int, int, str]]) -> str:
    """Return the page for the marks (row, exit code, test)."""
    tests: dict[int, dict[str, int]] = defaultdict(lambda: defaultdict(int))
    codes: dict[int, set[int]] = defaultdict(set)
    for row, code, name in found:
        tests[row][name] += 1
        if not _is_control(name):
            codes[row].add(code)
    lines = [HEAD]
    for rows, title in TITLES:
        lines += [f"## {title}", "", "| row | case | exit code | tests |", "|---|---|---|---|"]
        for row, case in rows.items():
            told = ", ".join(_told(name, count) for name, count in tests[row].items())
            lines.append(f"| {row} | {case} | {' or '.join(map(str, sorted(codes[row])))} | {told} |")
        lines.append("")
    lines += ["## What cannot be tried here", "", "| row | part | why |", "|---|---|---|"]
    lines += [f"| {row} | {part} | {why} |" for (row, part), why in threats.NOT_TRIED.items()]
    return "\n".join(lines) + "\n"


def _is_control(name: str) -> bool:
    return any(word in name for word in CONTROLS)


def _told(name: str, count: int) -> str:
    file, _, test = name.partition("::")
    kind = "control: " if _is_control(test) else ""
    return f"{kind}[{test}]({file})" + (f" ({count} cases)" if count > 1 else "")


def main() -> int:
    """Collect the tests and write or compare the page."""
    collector = Collector()
    files = [
        path for path in sorted(TESTS.rglob("test_*.py")) if "from threats import" in path.read_text(encoding="utf-8")
    ]
    options = ["--collect-only", "-qq", "-o", "addopts=", "-p", "no:cacheprovider"]
    with contextlib.redirect_stdout(io.StringIO()):
        pytest.main([*options, *map(str, files)], plugins=[collector])
    missing = [str(row) for row in threats.ROWS if row not in {row for row, _, _ in collector.found}]
    if missing:
        print(f"no test for row {', '.join(missing)}")
        return 1
    text, target = page(collector.found), TESTS / "THREATS.md"
    if "--check" not in sys.argv:
        target.write_text(text, encoding="utf-8")
    elif not target.exists() or target.read_text(encoding="utf-8") != text:
        print("tests/THREATS.md is out of date: run python tests/tools/make_threats.py")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())

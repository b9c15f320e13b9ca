"""Names of layers, models and inputs that would be paths, commands or markup elsewhere."""

import io
import json
import re
import unicodedata
from pathlib import Path
from urllib.parse import unquote
from xml.etree import ElementTree as ET

import hostile_files as files
import numpy as np
import pytest
from conftest import run_actviz
from hypothesis import given
from hypothesis import strategies as st
from threats import threat

from actviz.formats.keras.graph import quoted

PATHS = (
    "../../x", "/etc/abs", "..\\..\\x", "C:\\x", "a\0b", "n" * 300, "", "..", ".", "CON", "nul.png", "end.", "end ", "~root",
    "file:///etc/passwd", "-rf",
)  # fmt: skip
ALIKE = (
    "a/b",
    "a-b",
    "A-b",
    "a b",
    "a_b",
    "caf\u00e9",
    "cafe\u0301",
    "x#1",
    "x@2",
    "1:3",
    "7",
    "*",
    "%2e%2e%2f",
    "%s%n",
)
COMMANDS = (
    "line\n::error::pwned", "cr\r::warning::x", "::error::x", "\x1b[31mred\x1b[0m", "\x9b31m", "\u202egnp.exe",
    "\u2066x\u2069", "\u2028x", "\ud800", "$x_{bad$", "<script>alert(1)</script>", "</style><b>", "=cmd|' /C calc'!A0",
    "|cell|", "](http://evil)", "`code`", "]]>", "-->", "&amp;", "\U000e0041",
)  # fmt: skip
NAMES = (*PATHS, *ALIKE, *COMMANDS)
MODEL = "m\n::error::[x](http:..evil)<b>.keras"
INPUT = "i\r::warning::|x|<script>\x1b[2J.npy"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with a model of a layer for each name, one behind the other."""
    inner = tmp_path_factory.mktemp("names") / "inner"
    inner.mkdir()
    layers = [files.reading(name, "ReLU", given) for given, name in zip(("in", *NAMES), NAMES, strict=False)]
    files.keras(inner / MODEL, files.functional(*layers), {})
    np.save(inner / INPUT, np.arange(4, dtype=np.float32).reshape(1, 4))
    return inner


def check_streams(*texts):
    """No raw control, bidi or other unprintable character, no line that a CI log takes for a command."""
    for text in texts:
        assert all(mark.isprintable() for mark in text.replace("\n", "")), ascii(text)
        assert not any(line.lstrip().startswith("::") for line in text.splitlines()), text


def shown(folder, *arguments, **options):
    before = set(folder.parent.rglob("*"))
    ran = run_actviz(*arguments, cwd=folder, **options)
    assert ran.code == 0, ran.err
    return ran, set(folder.parent.rglob("*")) - before


@pytest.mark.slow
@threat(91, 0)
@threat(92, 0)
@threat(106, 0)
def test_every_layer_gets_a_file_of_its_own_inside_the_folder(folder, code):
    ran, made = shown(folder, "show", MODEL, INPUT, "-l", "@ReLU", "-o", "out/")
    assert ran.code == code
    figures = [path for path in made if path.suffix == ".png"]
    assert len(figures) == len(NAMES)
    assert {path.relative_to(folder).parts[0] for path in made} == {"out"}
    assert {len(path.relative_to(folder).parts) for path in figures} == {3}
    assert len({unicodedata.normalize("NFKC", path.name).casefold() for path in figures}) == len(NAMES)
    for path in made:
        assert re.fullmatch(r"[\w.+-]{1,120}", path.name)
        assert path.name.strip(".") == path.name
    manifest = json.loads((folder / "out" / "manifest.json").read_text())
    addresses = [record["address"] for record in manifest["figures"]]
    true = {"" if address == "%" else unquote(address, errors="surrogatepass") for address in addresses}
    assert true == set(NAMES)
    assert manifest["model"] == MODEL
    assert {record["input"] for record in manifest["figures"]} == {INPUT}
    check_streams(ran.out, ran.err)
    # The control: by their names as they are, some would have been written elsewhere, or over each other.
    naive = [(folder / "out" / "i" / f"{name}.png") for name in NAMES if "\0" not in name]
    assert any(not path.resolve().is_relative_to(folder) for path in naive)
    assert any("::" in line[:2] for name in NAMES for line in name.splitlines())


@pytest.mark.parametrize(
    "arguments", [("layers", MODEL), ("layers", MODEL, "--json"), ("layers", "none\n::error::x.h5")]
)
@threat(106, 0)
def test_lists_and_errors_are_printable(folder, arguments):
    ran = run_actviz(*arguments, cwd=folder)
    assert ran.code in {0, 4}
    check_streams(ran.out, ran.err)


GITHUB = {"GITHUB_ACTIONS": "true"}


def rows(text):
    """Return the cells of each row of the tables in Markdown, at bars that are not escaped."""
    return [re.split(r"(?<!\\)\|", line)[1:-1] for line in text.splitlines() if line.startswith("|")]


@pytest.mark.slow
@threat(106, 8)
def test_reports_for_machines_hold_names_as_text(folder, code, tmp_path):
    summary = tmp_path / "summary.md"
    summary.touch()
    limits = ("--max-dead", "0%", "--junit", str(tmp_path / "x.xml"))
    ran = run_actviz("check", MODEL, INPUT, *limits, cwd=folder, env=GITHUB | {"GITHUB_STEP_SUMMARY": str(summary)})
    assert ran.code == code
    commands = [line for line in ran.err.splitlines() if line.lstrip().startswith("::")]
    assert commands
    assert {line.partition(" ")[0] for line in commands} == {"::error"}
    check_streams(ran.out, "\n".join(line for line in ran.err.splitlines() if line not in commands))
    assert all(mark.isprintable() for mark in "".join(commands))
    cases = ET.parse(tmp_path / "x.xml").getroot().iter("testcase")
    assert len({case.get("classname", "") + case.get("name", "") for case in cases}) >= len(NAMES)
    text = summary.read_text()
    check_streams(text)
    assert "<script" not in text
    assert "<b>" not in text
    assert "](http" not in text.replace("\\]", "").replace("\\(", "")
    assert len({len(row) for row in rows(text)}) == 1


@pytest.mark.slow
@threat(106, 0)
def test_pages_hold_names_as_text(folder, tmp_path):
    markdown = tmp_path / "x.md"
    ran, _ = shown(folder, "report", MODEL, INPUT, "-o", tmp_path / "x.html", "--markdown", markdown)
    check_streams(ran.out, ran.err, markdown.read_text())
    page = (tmp_path / "x.html").read_text()
    assert "<script>alert" not in page
    assert "</style><b>" not in page
    assert "<b>.keras" not in page
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]", page)


@pytest.mark.slow
@threat(91, 0)
@threat(92, 0)
def test_saved_activations_come_back_by_their_names(folder, tmp_path):
    shown(folder, "extract", MODEL, INPUT, "-o", tmp_path / "x.npz")
    with np.load(io.BytesIO((tmp_path / "x.npz").read_bytes())) as file:
        said = json.loads(str(file["actviz.json"]))
        held = [name for name in file.files if not name.startswith("actviz.")]
    assert len(held) == len({name.casefold() for name in held}) == len(NAMES) + 1
    assert all(not name.startswith("/") and ".." not in Path(name).parts for name in held)
    assert said["model"] == MODEL
    ran, made = shown(tmp_path, "render", tmp_path / "x.npz", "-l", "@ReLU", "-o", "drawn/")
    assert len([path for path in made if path.suffix == ".png"]) == len(NAMES)
    check_streams(ran.out, ran.err)


@given(st.text(), st.text())
def test_printed_names_are_as_many_as_names(one, other):
    assert (quoted(one) == quoted(other)) == (one == other)


@given(st.text())
def test_no_terminal_changes_a_printed_name(name):
    printed = quoted(name)
    assert unicodedata.normalize("NFC", printed) == printed
    assert printed.isprintable()
    assert printed == "%" or unquote(printed, errors="surrogatepass") == name


def test_composed_and_decomposed_names_are_told_apart():
    assert quoted("caf\u00e9") == "caf\u00e9"
    assert quoted("cafe\u0301") == "cafe%CC%81"
    assert quoted("\u1112\u1161\u11ab") == "%E1%84%92%E1%85%A1%E1%86%AB"

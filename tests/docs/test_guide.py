"""The guide is complete: links, options, exit codes and names; and `actviz help` prints it."""

import doctest
import importlib
import os
import re
import subprocess
import sys

import click
import guide
import pytest
from click.testing import CliRunner
from conftest import ROOT, run_actviz

from actviz import errors
from actviz.cli.help import FOLDER, PAGES
from actviz.cli.markdown_text import markdown_text
from actviz.cli.program import COMMANDS, program

OF_MODELS = {"inputs", "batches", "addresses", "formats", "untrusted-models", "figures"}
PAGES_OF_COMMANDS = {
    "show": OF_MODELS,
    "layers": {"addresses", "formats", "untrusted-models"},
    "extract": OF_MODELS | {"activations", "explain"},
    "render": {"activations", "figures"},
    "check": OF_MODELS | {"check-and-diff"},
    "top": OF_MODELS | {"top"},
    "merge": {"top", "figures", "check-and-diff"},
    "diff": OF_MODELS | {"check-and-diff"},
    "report": OF_MODELS | {"report"},
    "explain": OF_MODELS | {"explain"},
    "filters": {"filters", "addresses", "formats", "untrusted-models"},
    "history": {"history"},
    "help": set(),
}
OF_OTHER_PROGRAMS = {"--seconds", "--version", "--wheel", "--spec", "--from"}
LINK = re.compile(r"\]\(([^)\s]+)\)")


def links(name):
    text = re.sub(r"```.*?```", "", guide.TEXTS[name], flags=re.DOTALL)
    return [link for link in LINK.findall(text) if not link.startswith("https://")]


def anchors(path):
    """Return the anchors that GitHub gives to the headings of a file."""
    text = re.sub(r"```.*?```", "", path.read_text(encoding="utf-8"), flags=re.DOTALL)
    titles = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("name", guide.FILES)
def test_links_lead_somewhere(name):
    for link in links(name):
        target, _, anchor = link.partition("#")
        path = (guide.FILES[name].parent / target).resolve() if target else guide.FILES[name]
        assert path.exists(), link
        assert not anchor or anchor in anchors(path), link


def test_every_page_is_listed_in_the_readme_and_by_help():
    assert {path.stem for path in FOLDER.iterdir()} == set(PAGES)
    listed = [link for link in links("README") if link.startswith("actviz/docs/")]
    assert listed == [f"actviz/docs/{page}.md" for page in PAGES]


def test_the_readme_is_short():
    assert len(guide.README.read_bytes()) <= 10_000


@pytest.mark.parametrize("name", COMMANDS)
def test_every_option_is_on_a_page_of_its_command(name):
    text = "".join(guide.TEXTS[page] for page in (*PAGES_OF_COMMANDS[name], "exit-codes"))
    command = program.get_command(click.Context(program), name)
    options = [
        option
        for param in command.params
        if isinstance(param, click.Option)
        for option in (*param.opts, *param.secondary_opts)
        if option.startswith("--")
    ]
    assert [option for option in options if not re.search(rf"`[^`\n]*{option}(?![\w-])[^`\n]*`", text)] == []


def test_options_on_the_pages_exist():
    known = "".join(CliRunner().invoke(program, [name, "--help"]).output for name in COMMANDS) + "--no-config"
    named = set(
        re.findall(r"(?<![\w-])(--[a-z][a-z-]+)", "".join(re.findall(r"`[^`\n]+`", "".join(guide.TEXTS.values()))))
    )
    assert [option for option in named - OF_OTHER_PROGRAMS if not re.search(rf"{option}(?![\w-])", known)] == []


def test_every_exit_code_is_documented():
    kinds = {
        kind.exit_code: name
        for name, kind in vars(errors).items()
        if isinstance(kind, type) and issubclass(kind, errors.ActvizError) and kind.__base__ is errors.ActvizError
    }
    others = {value for name, value in vars(errors).items() if name.startswith("EXIT_")}
    rows = re.findall(r"^\| (\d+) \| .*? \| (?:`(\w+)` )?\|$", guide.TEXTS["exit-codes"], re.MULTILINE)
    assert {int(code): name for code, name in rows} == kinds | dict.fromkeys({0, *others}, "")


def test_modules_and_classes_that_contributors_are_sent_to_exist():
    text = guide.TEXTS["contributing"]
    assert [path for path in re.findall(r"`((?:actviz|tests)/[\w./*]+)`", text) if not list(ROOT.glob(path))] == []
    source = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "actviz").rglob("*.py"))
    glossary = text.split("## Names")[1]
    names = set(re.findall(r"`([A-Z]\w+[a-z])`", glossary)) - {"Conv2D"}
    assert names
    assert [name for name in names if f"class {name}" not in source] == []


def modules_with_examples():
    files = sorted((ROOT / "actviz").rglob("*.py"))
    return [
        ".".join(path.relative_to(ROOT).with_suffix("").parts)
        for path in files
        if re.search(r"^\s*>>> ", path.read_text(encoding="utf-8"), re.MULTILINE)
    ]


@pytest.mark.parametrize("name", modules_with_examples())
def test_examples_in_docstrings(name):
    result = doctest.testmod(importlib.import_module(name))
    assert (result.failed, result.attempted > 0) == (0, True)


# ------------------------------------------------------------------ actviz help
def test_help_lists_the_pages(tmp_path):
    ran = run_actviz("help", cwd=tmp_path)
    assert (ran.code, ran.err) == (0, "")
    assert re.findall(r"^  ([\w-]+)  +\w", ran.out, re.MULTILINE) == list(PAGES)
    assert max(map(len, ran.out.splitlines()[:-1])) <= 80


def test_help_prints_a_page_as_plain_text_where_it_is_piped(tmp_path):
    ran = run_actviz("help", "figures", cwd=tmp_path)
    assert (ran.code, ran.err) == (0, "")
    assert ran.out.startswith("Figures: kinds")
    assert "actviz help inputs" in ran.out
    assert "\x1b" not in ran.out
    assert ".md" not in ran.out.replace("COLORMAPS.md", "")


def test_help_uses_a_pager_on_a_terminal(tmp_path):
    leader, follower = os.openpty()
    pager = tmp_path / "pager"
    pager.write_text("#!/bin/sh\necho PAGER\ncat\n")
    pager.chmod(0o755)
    environment = {**os.environ, "PAGER": str(pager), "TERM": "xterm"}
    command = [sys.executable, "-P", "-m", "actviz", "help", "exit-codes"]
    process = subprocess.Popen(command, cwd=tmp_path, env=environment, stdin=follower, stdout=follower)
    os.close(follower)
    output = b""
    try:
        while chunk := os.read(leader, 4096):
            output += chunk
    except OSError:  # Linux: the last process that held the terminal is gone
        pass
    os.close(leader)
    assert process.wait(60) == 0
    assert output.startswith(b"PAGER")
    assert b"ToleranceError" in output


def test_help_of_a_command_is_that_of_its_option(tmp_path):
    assert run_actviz("help", "show", cwd=tmp_path).out == run_actviz("show", "--help", cwd=tmp_path).out


@pytest.mark.parametrize(
    ("topic", "hint"), [("figurs", "did you mean figures?"), ("\x1b[2J", "actviz help lists the pages.")]
)
def test_unknown_topics_are_usage_errors(tmp_path, topic, hint):
    ran = run_actviz("help", topic, cwd=tmp_path)
    assert (ran.code, ran.out) == (2, "")
    assert ran.err.count("\n") == 1
    assert ran.err.rstrip().endswith(hint)
    assert "\x1b" not in ran.err


@pytest.mark.parametrize("page", PAGES)
def test_pages_fit_a_terminal(page):
    lines = markdown_text(guide.TEXTS[page], 80).splitlines()
    assert [line for line in lines if len(line) > 80 and " " in line.strip() and not line.startswith("    ")] == []

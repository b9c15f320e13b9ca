"""Results for machines: JUnit, GitHub and Markdown, with text from hostile models."""

from __future__ import annotations

import html
import re
import xml.etree.ElementTree as ET

from hypothesis import given
from hypothesis import strategies as st

from actviz.records import RuleResult
from actviz.results import ci_reports as texts

TEXT = st.text(st.characters(), max_size=30)


def findings(address="conv", reason="too much", failure="cat.png: broken"):
    cases = (
        RuleResult(address, "dead at most 10%", kept=False, reason=reason),
        RuleResult(address, "no NaN", kept=True, reason="none"),
    )
    rows = ((address, "64", "BROKEN"),)
    return texts.CheckResults("check", "m.h5", ("layer", "channels", "result"), rows, frozenset({1}), cases, (failure,))


def test_junit_holds_a_case_for_each_rule():
    root = ET.fromstring(texts.junit(findings()))
    suite = root.find("testsuite")
    assert root.tag == "testsuites"
    for one in (root, suite):
        assert (one.get("tests"), one.get("failures"), one.get("errors")) == ("3", "1", "1")
    cases = suite.findall("testcase")
    assert [(case.get("classname"), case.get("name")) for case in cases] == [
        ("conv", "dead at most 10%"),
        ("conv", "no NaN"),
        ("inputs", "cat.png"),
    ]
    assert cases[0].find("failure").get("message") == cases[0].find("failure").text == "conv: too much"
    assert cases[1].find("failure") is None
    assert cases[2].find("error").text == "cat.png: broken"


@given(TEXT, TEXT, TEXT)
def test_whatever_a_model_is_called_junit_parses_and_says_it(address, reason, failure):
    found = findings(address, reason, failure)
    suite = ET.fromstring(texts.junit(found)).find("testsuite")
    cases = suite.findall("testcase")
    assert len(cases) == 3
    assert cases[0].find("failure").text.startswith(texts.escape(address)[:5])


@given(TEXT, TEXT, TEXT)
def test_github_reads_one_command_a_line_and_no_other(address, reason, failure):
    lines = texts.github_commands(findings(address, reason, failure))
    assert len(lines) == 2
    for line, kind in zip(lines, ("error", "warning"), strict=True):
        assert line.startswith(f"::{kind} title=actviz check%3A m.h5::")
        assert line.isprintable()
        assert "%" not in re.sub(r"%(25|3A|2C)", "", line)


@given(TEXT, TEXT, TEXT)
def test_markdown_has_no_more_cells_links_and_tags_than_ours(address, reason, failure):
    page = texts.summary(findings(address, reason, failure))
    row = page.rstrip().splitlines()[-1]
    assert len(re.findall(r"(?<!\\)(?:\\\\)*\|", row)) == 4
    free = re.sub(r"\\.", "", page)
    assert not re.search(r"[<>\[\]@]", free)
    assert html.unescape(re.sub(r"\\(.)", r"\1", row)).startswith("| " + texts.escape(address)[:3])


def test_many_errors_are_ten_annotations():
    cases = tuple(RuleResult(f"layer{number}", "no NaN", kept=False, reason="1 NaN") for number in range(30))
    found = texts.CheckResults("check", "m.h5", ("layer",), (), frozenset(), cases)
    lines = texts.github_commands(found)
    assert len(lines) == 10
    assert lines[-1].endswith("::21 more; see the summary of the job")


def test_ten_errors_are_ten_annotations():
    cases = tuple(RuleResult(f"layer{number}", "no NaN", kept=False, reason="1 NaN") for number in range(10))
    lines = texts.github_commands(texts.CheckResults("check", "m.h5", ("layer",), (), frozenset(), cases))
    assert [line.rpartition("::")[2] for line in lines] == [f"layer{number}: 1 NaN" for number in range(10)]


def test_the_reason_is_the_first_and_how_many_there_are():
    assert findings().reason() == "conv: too much."
    two = texts.CheckResults(
        "check",
        "",
        (),
        (),
        frozenset(),
        (RuleResult("a", "r", kept=False, reason="x"), RuleResult("b", "r", kept=False, reason="y")),
    )
    assert two.reason() == "a: x (and 1 more)."


def test_a_table_for_terminals_is_aligned_and_escaped():
    lines = texts.table(findings("co\x1b[31mnv")).splitlines()
    assert lines == ["layer         channels  result", "co\\x1b[31mnv        64  BROKEN"]

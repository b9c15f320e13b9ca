"""The page and the Markdown as text: nothing that a file says becomes markup."""

import base64
import hashlib
import html.parser
import json
import re
from dataclasses import replace
from urllib.parse import unquote

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jinja2 import UndefinedError
from markupsafe import Markup
from report_helpers import contents, gathered, maps

from actviz.errors import escape_markdown
from actviz.report import Comparison, data, html_page, markdown
from actviz.statistics.differences import drift

HOSTILE = (
    "</script><script>alert(1)</script>",
    "</style><img src=x onerror=alert(1)>",
    "a\u202eb\u2066c\x00\n\r\x1b[31m",
    "<!--",
    "-->",
    "]]>",
    "&lt;b&gt;",
    "x" * 10_000,
    "'\"`${7*7}",
    "{{constructor}}",
    "{{ 7 * 7 }}{% if %}{#",
    "a/b/../c",
    "#layer=x&channel=1",
    "\ud800",
)
VOID = {"meta", "img", "input", "br", "rect"}


def example(names=("conv", "block/dense"), **options):
    rng = np.random.default_rng(0)
    inputs = [[maps(rng) for _ in names] for _ in range(2)]
    return contents(gathered(list(names), inputs), **options)


class Reader(html.parser.HTMLParser):
    """Collects the elements of a page, and checks that every one is closed where it was opened."""

    def __init__(self):
        super().__init__(convert_charrefs=True)
        self.found, self.open, self.texts = [], [], {}

    def handle_starttag(self, tag, attributes):
        self.found.append((tag, dict(attributes)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.found.append((tag, dict(attributes)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, text):
        if self.open:
            self.texts.setdefault(self.open[-1], []).append(text)


def read(content):
    reader = Reader()
    reader.feed(content.decode())
    reader.close()
    assert reader.open == []
    return reader


def elements(content):
    return [tag for tag, _ in read(content).found]


def test_the_policy_names_exactly_the_script_and_the_style_that_are_there():
    content = html_page.render(example())
    reader = read(content)
    policy = next(one["content"] for tag, one in reader.found if one.get("http-equiv") == "Content-Security-Policy")
    assert "unsafe" not in policy
    assert "default-src 'none'" in policy
    text = content.decode()
    for tag in ("script", "style"):
        (inside,) = re.findall(rf"<{tag}>(.*?)</{tag}>", text, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(inside.encode()).digest()).decode()
        assert f"{tag}-src 'sha256-{digest}'" in policy


def test_nothing_points_outside_and_no_attribute_is_code_or_style():
    for _, attributes in read(html_page.render(example())).found:
        for name, value in attributes.items():
            assert not name.startswith("on")
            assert name != "style"
            if name in {"src", "href"}:
                assert value.startswith(("data:image/png;base64,", "#"))
    script = (html_page.FOLDER / "page.js").read_text()
    for word in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "fetch(", "XMLHttpRequest"):
        assert word not in script


@pytest.mark.parametrize("name", HOSTILE, ids=lambda name: repr(name)[:20])
def test_hostile_names_change_no_markup(name):
    plain = elements(html_page.render(example(("conv", "dense"), model="model.keras")))
    hostile = example((name.replace("/", "|"), "dense"), model=name, labels=(name,) * 12, left_out=())
    assert elements(html_page.render(hostile)) == plain
    island = re.search(r'<script type="application/json" id="data">(.*?)</script>', html_page.render(hostile).decode())
    assert json.loads(island[1])["layers"][0]["address"] == name.replace("/", "|").replace("\ud800", "?")
    assert not re.search("[\x00-\x09\x0b-\x1f\u202a-\u202e\u2066-\u2069]", html_page.render(hostile).decode())


@settings(max_examples=50)
@given(st.text(max_size=40))
def test_any_text_comes_back_from_the_island_and_opens_nothing(words):
    text = html_page._environment().from_string("{{ value|tojson }}").render(value={"name": words})
    assert json.loads(text) == {"name": words}
    assert not set("<>&") & set(text)
    assert text.isascii()


def filled_with(words):
    """A report in which every text that a file, a model or a user can choose is `words`."""
    one = example(("conv", words.replace("/", "|")), model=words, labels=(words,) * 12, facts=((words, words),))
    name = one.layers[1].info.address
    return replace(
        one,
        findings=tuple(replace(finding, kind=words, address=name, text=words) for finding in one.findings),
        failures=(words,),
        left_out=(words,),
        inputs=tuple(replace(shown, name=words, fed=words, words=(words,)) for shown in one.inputs),
        layers=tuple(replace(one, info=replace(one.info, kind=words, activation=words)) for one in one.layers),
        comparison=replace(
            compared(),
            name=words,
            drifts=dict.fromkeys((name,), compared().drifts["block/dense"]),
            changed=(name,),
            missing=(words,),
            unmatched=(words,),
        ),
        provenance={"model": words, "versions": words, words: words},
    )


def page_of(words):
    """Return what a browser makes of a page full of `words`: elements, attributes and texts, by element."""
    reader = read(html_page.render(filled_with(words)))
    texts = {tag: found for tag, found in reader.texts.items() if tag not in {"script", "style"}}
    (provenance,) = [one.pop("content") for _, one in reader.found if one.get("name") == "actviz"]
    links = [unquote(one.pop("href")) for tag, one in reader.found if tag == "a"]
    return reader.found, texts, links, json.loads(provenance)


@pytest.mark.parametrize("words", HOSTILE, ids=lambda words: repr(words)[:20])
def test_hostile_text_is_escaped_in_every_place_of_the_page(words):
    plain_elements, plain_texts, plain_links, plain_provenance = page_of("pl/ain")
    found_elements, texts, links, provenance = page_of(words)

    def shown(text, limited=data.one_line):
        """Return the text of the plain page with the hostile one in its place."""
        for old, new in (("pl/ain", words), ("pl|ain", words.replace("/", "|"))):
            text = text.replace(old, limited(new).encode("utf-8", "replace").decode())
        return text

    assert found_elements == [
        (tag, {name: value and shown(value) for name, value in attributes.items()})
        for tag, attributes in plain_elements
    ]
    assert texts == {tag: [shown(text) for text in found] for tag, found in plain_texts.items()}
    assert sum("pl/ain" in text for found in plain_texts.values() for text in found) > 10
    assert links == [shown(link, str) for link in plain_links]
    assert provenance == {words if name == "pl/ain" else name: words for name in plain_provenance}


def test_values_are_escaped_cleaned_and_required_unless_they_are_markup():
    render = html_page._environment().from_string("{{ value }}|<a title='{{ value }}'>").render
    assert render(value="<'\"\n\u202e") == "&lt;&#39;&#34;\\x0a\\u202e|<a title='&lt;&#39;&#34;\\x0a\\u202e'>"
    assert render(value=Markup("<b>\n")) == "<b>\n|<a title='<b>\n'>"
    with pytest.raises(UndefinedError):
        render(valeu="")


def test_equal_contents_give_equal_bytes():
    assert html_page.render(example()) == html_page.render(example())


def test_a_page_is_known_again():
    content = html_page.render(example(model='a"b<c>&.keras'))
    assert html_page.read_provenance(content[:65536])["model"] == 'a"b<c>&.keras'
    for other in (b"", b"<!doctype html><p>", b'<meta name="actviz" content="{}">', content.replace(b"{", b"[", 1)):
        assert html_page.read_provenance(other) is None


def test_nested_models_are_folded_in_order():
    names = ["a", "net/b", "net/deep/c", "net/d", "e", "net/f"]
    text = html_page.render(example(names)).decode()
    rows = re.findall(r'<li class="row" data-layer="(\d)">', text)
    assert rows == list("012345")
    assert len(re.findall('<li class="group">', text)) == 3
    assert "3 layers" in text


def test_numbers_of_the_island_are_those_of_the_figures():
    one = example()
    for block, figure in zip(data.blocks(one), (f for layer in one.layers for f in layer.figures), strict=True):
        png, packed = (base64.b64decode(part) for part in block.split(","))
        assert png == figure.mosaic.png
        floats = np.frombuffer(packed[: 28 * len(figure.channels)], "<f4").reshape(7, -1)
        assert np.array_equal(floats[:2], figure.ends)
        assert np.array_equal(floats[2:], figure.numbers)


def compared():
    rng = np.random.default_rng(3)
    ours = rng.normal(size=(1, 3, 3, 4))
    axes = ("batch", "row", "column", "channel")
    drifts = {"conv": drift(ours, ours, axes), "block/dense": drift(ours, ours * 1.5, axes)}
    return Comparison("old.keras", drifts, ("block/dense",), ("odd",), ("new",))


def test_what_changed_is_said_on_the_page_and_in_markdown():
    one = example(comparison=compared())
    text = html_page.render(one).decode()
    assert "1 of 2 layers changed; the first is" in text
    assert "Compared with <bdi>old.keras</bdi>" in text
    assert '<option value="changed">' in text
    said = markdown.render(one, None, {})
    assert "Compared with old\\.keras: 1 of 2 layers changed; the first is block/dense" in said


def test_markdown_has_the_findings_the_sheet_and_every_layer():
    said = markdown.render(example(), "sheet.png", {"model": "m"})
    assert "1 of 12 channels never fires" in said
    assert "![The strongest channels of each layer](sheet.png)" in said
    assert said.count("\n| ") == 3
    assert markdown.read_provenance(said.encode()) == {"model": "m"}
    assert markdown.read_provenance(b"# mine\n") is None
    assert markdown.read_provenance(b"<!-- actviz [1] -->\n") is None


@settings(max_examples=80)
@given(st.text(max_size=60))
def test_markdown_of_any_name_is_one_line_without_markup(words):
    said = escape_markdown(words)
    assert "\n" not in said
    assert not set("<>") & set(said)
    assert not re.search(r"(?<!\\)(?:\\\\)*[`*\[\]|@#]", said)
    line = markdown.render(example(model=words), None, {"model": words}).splitlines()[0]
    assert line.count("-->") == 1
    assert markdown.read_provenance(line.encode() + b"\n") == {"model": words}

"""No message that Python users can meet speaks of options or commands."""

import ast
import inspect
import re
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest

import actviz
from actviz import records
from actviz.api.arguments import python_words
from actviz.errors import ActvizError

PACKAGE = Path(actviz.__file__).parent
MODULES = (
    *("formats", "gate", "inputs", "activations", "explanations", "statistics", "system", "addresses.py"),
    *("figures/renderers", "figures/canvas.py", "figures/colors.py", "figures/heat_map_figure.py", "batch/color_ranges.py"),
)  # fmt: skip
# Options that Python has no counterpart of, as only commands use what they are about.
OF_COMMANDS = re.compile(r"--(stateful|files-from|shard|axes|fail-on|box|through-link)\b")
COMMAND_WORDS = re.compile(
    r"(?<![\w/-])--[a-z]|(?<!\w)-[ol]\b|first argument|after the model|(?<!in a shell: )\bactviz [a-z]+ [A-Za-z<]"
)
KEYWORDS = re.compile(r"(?<![\w.(])([a-z_]+)=(?!=)")
NO_COMMAND = ("actviz differentiates", "actviz never does", "this actviz does")


def messages(file):
    """Yield the texts of a module that have words of the command line; values in them are VALUE."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    parts = {part for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for part in node.values}
    parts |= {node.value for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            text = "".join(part.value if isinstance(part, ast.Constant) else "VALUE" for part in node.values)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and node not in parts:
            text = node.value
        else:
            continue
        # A sentence; an option alone is the subject of one.
        if " " in text and COMMAND_WORDS.search(text) and not any(words in text for words in NO_COMMAND):
            yield text


def keywords():
    """Return the names of all keyword arguments of the public functions, and of the fields of `Style`."""
    functions = [thing for name in actviz.__all__ if inspect.isfunction(thing := getattr(actviz, name))]
    functions += [thing for _, thing in inspect.getmembers(actviz.Network, inspect.isfunction)]
    names = {name for function in functions for name in inspect.signature(function).parameters}
    return names | {field.name for field in fields(actviz.Style)}


@pytest.mark.parametrize("part", MODULES)
def test_messages_have_words_of_python_only(part):
    path = PACKAGE / part
    known = keywords()
    for file in [path] if path.is_file() else sorted(path.rglob("*.py")):
        for message in messages(file):
            if not OF_COMMANDS.search(message):
                words = python_words(message)
                assert not COMMAND_WORDS.search(words), message
                assert set(KEYWORDS.findall(words)) <= known, message


def test_the_search_finds_what_it_is_for(tmp_path):
    file = tmp_path / "module.py"
    file.write_text('"""Takes --option x."""\nerror = f"{1}: use --frames 3."\nother = "give one after the model"\n')
    assert list(messages(file)) == ["VALUE: use --frames 3.", "give one after the model"]
    assert set(KEYWORDS.findall(python_words("use --frames 3."))) == {"frames"}


def test_errors_of_open_and_load(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "cat.png").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(64))
    (tmp_path / "log.csv").write_text("epoch,loss\n0,1.0\n")
    np.save("array.npy", np.zeros(3))
    actviz.save("out.npz", {"conv": records.Activation("conv", "Conv2D", np.zeros((1, 2)), ("batch", "unit"))})
    for call, message in (
        (lambda: actviz.open("cat.png"), "cat.png: this is an image, not a model; read inputs with actviz.preprocess(files, network)."),
        (lambda: actviz.open("array.npy"), "array.npy: this is a NumPy array, not a model; read inputs with actviz.preprocess(files, network)."),
        (lambda: actviz.open("log.csv"), "log.csv: this is a table as CSVLogger writes it, the record of a training without its layers; draw its curves with, in a shell: actviz history log.csv; the model itself is saved with model.save(...)."),
        (lambda: actviz.open("cat.jpg"), "cat.jpg: no such model; did you mean cat.png?"),
        (lambda: actviz.load("cat.png"), "cat.png: this is a PNG image, not activations; compute them with network.activations(inputs)."),
        (lambda: actviz.load("array.npy"), "array.npy: no actviz.json in it says what its arrays are; open it with numpy.load."),
        (lambda: actviz.load("log.csv"), "log.csv: this is a text file; an .npz of actviz.save or actviz extract was expected."),
        (lambda: actviz.load("out.npy"), "out.npy: no such file; did you mean out.npz?"),
        (lambda: actviz.load("out.npz", "cnv"), 'no layer "cnv"; did you mean conv? Or list them with: list(actviz.load(path))'),
    ):  # fmt: skip
        with pytest.raises(ActvizError) as caught:
            call()
        assert caught.value.message == message

"""Suggestions: similar names, quoted as the shell needs them, and similar files beside a missing one."""

from pathlib import Path

import pytest
from click.testing import CliRunner

from actviz.cli.program import program
from actviz.errors import InputError, ModelError
from actviz.inputs.label_files import read_names
from actviz.suggestions import did_you_mean, near_names
from actviz.system import file_system

FILES = ("digits.png", "digits.h5", "my photo.jpg", "a.png", "labels.txt", "resnet_v1.keras")


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Return the current folder, which has files and a folder with one."""
    for name in FILES:
        (tmp_path / name).write_bytes(b"")
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "cat.png").write_bytes(b"")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("text", "expected"),
    [("conf", ["conv"]), ("SCALE_1", ["scale_1"]), ("scale", ["scale_2", "scale_1"]), ("x", []), ("", [])],
)
def test_similar_names(text, expected):
    assert near_names(text, ["conv", "scale_1", "scale_2"]) == expected


def test_suggestions_can_be_copied_into_a_shell():
    assert did_you_mean([]) == ""
    assert did_you_mean(["conv", "my scores", "a\nb"]) == r"did you mean conv, 'my scores', 'a\x0ab'?"


@pytest.mark.parametrize(
    ("missing", "expected"),
    [
        ("digit.png", "did you mean digits.png?"),
        ("digits.keras", "did you mean digits.h5?"),
        ("Digits.PNG", "did you mean digits.png?"),
        ("digits", "did you mean digits.h5?"),
        ("my foto.jpg", "did you mean 'my photo.jpg'?"),
        ("image/cat.png", "did you mean images/cat.png?"),
        ("images/cta.png", "did you mean images/cat.png?"),
        ("image/dog.png", "check the path."),
        ("b.png", "check the path."),
        ("nowhere/at/all.png", "check the path."),
    ],
)
def test_a_missing_file_is_compared_with_those_beside_it(folder, missing, expected):
    with pytest.raises(InputError) as caught:
        file_system.read_bytes(Path(missing), 10)
    assert caught.value.message == f"{missing}: no such file; {expected}"
    with pytest.raises(ModelError) as caught, file_system.reading(folder / missing, ModelError, "model"):
        pass
    quote = "'" * ("'" in expected)
    absolute = expected.replace(f"mean {quote}", f"mean {quote}{folder}/")
    assert caught.value.message == f"{folder / missing}: no such model; {absolute}"


def test_links_and_names_with_control_characters(folder):
    (folder / "link.png").symlink_to("gone.png")
    assert file_system.similar_path(folder / "link.png") == ""
    (folder / "a\x1b[2J.txt").write_bytes(b"")
    assert file_system.similar_path(Path("a\x1b[2K.txt")) == r"did you mean 'a\x1b[2J.txt'?"
    assert file_system.similar_path(Path("a\0b")) == ""


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["layers", "resnet_v2.keras"], "resnet_v2.keras: no such model; did you mean resnet_v1.keras?"),
        (["history", "label.txt"], "label.txt: no such history; did you mean labels.txt?"),
        (["render", "digits.npz"], "digits.npz: no such file; did you mean digits.png?"),
    ],
)
@pytest.mark.usefixtures("folder")
def test_commands_suggest_files(words, message):
    ran = CliRunner().invoke(program, words)
    assert (str(ran.exception), ran.output) == (message, "")


@pytest.mark.usefixtures("folder")
def test_files_of_labels_are_suggested():
    with pytest.raises(InputError, match=r"^lables\.txt: no such file; did you mean labels\.txt\?$"):
        read_names(Path("lables.txt"))

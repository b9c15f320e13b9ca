"""Options in a file: found, checked, and never what lowers safety."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from threats import threat

from actviz.cli import config
from actviz.cli.configured_command import options_of
from actviz.cli.program import COMMANDS, program
from actviz.errors import UsageError

pytestmark = pytest.mark.usefixtures("warm_worker")


def options():
    return {name: options_of(program.get_command(None, name)) for name in COMMANDS}


def defaults(tmp_path, text):
    (tmp_path / "actviz.toml").write_text(text)
    return config.defaults(config.read(tmp_path / "actviz.toml", COMMANDS), options())


def test_values_go_to_the_commands_that_know_them(tmp_path):
    found = defaults(tmp_path, 'cmap = "viridis"\nlayer = ["conv"]\n[check]\nmax-dead = "10%"\nno_nan = true\n')
    assert found["show"] == {"cmap": "viridis", "layers": ["conv"]}
    assert found["check"] == {"layers": ["conv"], "dead": "10%", "no_nan": True}
    assert found["layers"] == {}


def test_the_nearest_file_within_the_repository_counts(tmp_path):
    inner = tmp_path / "repository" / "deep" / "deeper"
    inner.mkdir(parents=True)
    (tmp_path / "actviz.toml").write_text("")
    assert config.find(inner) is None
    (tmp_path / "repository" / ".git").mkdir()
    assert config.find(inner) is None
    project = tmp_path / "repository" / "pyproject.toml"
    project.write_text("[tool.other]\nx = 1\n")
    assert config.find(inner) is None
    project.write_text("[tool.actviz]\ncolumns = 3\n")
    assert config.find(inner) == project
    (tmp_path / "repository" / "actviz.toml").write_text("")
    assert config.find(inner) == tmp_path / "repository" / "actviz.toml"
    (inner / "actviz.toml").write_text("")
    assert config.find(inner) == inner / "actviz.toml"


def test_a_broken_project_that_says_nothing_of_actviz_is_not_ours(tmp_path):
    (tmp_path / "pyproject.toml").write_text("not = [toml")
    assert config.find(tmp_path) is None
    (tmp_path / "pyproject.toml").write_text("[tool.actviz]\nnot = [toml")
    with pytest.raises(UsageError, match="not valid TOML"):
        config.find(tmp_path)


@pytest.mark.parametrize("name", sorted(config.REFUSED))
@pytest.mark.parametrize("where", ["", "[show]\n"])
def test_what_lowers_safety_is_refused(tmp_path, name, where):
    for spelled in (name, name.replace("-", "_")):
        with pytest.raises(UsageError, match="a file cannot set this option"):
            defaults(tmp_path, f"{where}{spelled} = true\n")


def test_every_option_that_lets_code_run_or_raises_a_limit_is_refused():
    dangerous = {
        name
        for known in options().values()
        for name in known
        if name.startswith(("allow-", "max-pix", "max-mem", "custom-", "timeout", "open-", "overwrite", "through-"))
    }
    assert (
        {
            "allow-code",
            "allow-nonfinite",
            "max-pixels",
            "custom-objects",
            "timeout",
            "open-timeout",
            "overwrite",
            "through-link",
        }
        <= dangerous
        <= config.REFUSED
    )


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("colums = 3", "no such option; did you mean columns"),
        ("[check]\nmax-ded = 1", r"\[check\] max-ded: no such option; did you mean max-dead"),
        ("[chek]\nmax-dead = 1", "chek: no such option"),
        ("cmap = true", "a string or a number was expected"),
        ("bare = 1", "true or false was expected"),
        ("layer = 3", "a list of strings was expected"),
        ("[show]\noutput = '/etc/x.png'", "a path in the folder of this file"),
        ("[show]\noutput = 'a/../../x.png'", "a path in the folder of this file"),
        ("[show]\noutput = '~/x.png'", "a path in the folder of this file"),
        ("[report]\nmarkdown = '/etc/x.md'", "a path in the folder of this file"),
        ("[report]\nagainst = '../x.h5'", "a path in the folder of this file"),
        ("[diff]\nweights = ['a.h5', '/etc/x.h5']", "a path in the folder of this file"),
        ("[show]\nweights = '../x.h5'", "a path in the folder of this file"),
        ("[show]\nweights = 3", "a list of strings was expected"),
        ("[check]\njunit = '/etc/x.xml'", "a path in the folder of this file"),
        ("[show]\nscale = 'from:/etc/passwd'", "a path in the folder of this file"),
        ("[check]\njunit = '.github/x.xml'", "begins with a dot"),
        ("[show]\noutput = '.git/'", "begins with a dot"),
        ("[show]\noutput = 'maps/.cache/x/'", "begins with a dot"),
        ("[show]\noutput = './.vscode/x.png'", "begins with a dot"),
        ("[history]\noutput = '.x.png'", "begins with a dot"),
        ("[report]\nmarkdown = 'linked/x.md'", "begins with a dot"),
        ("[extract]\noutput = 'linked/deep/x.npz'", "begins with a dot"),
        ("x = ", "not valid TOML"),
        (f"columns = {'1' * 5000}", "not valid TOML"),
    ],
)
def test_bad_files_are_one_line(tmp_path, text, said):
    (tmp_path / ".hidden").mkdir()
    (tmp_path / "linked").symlink_to(".hidden")
    with pytest.raises(UsageError, match=said) as failure:
        defaults(tmp_path, text)
    assert failure.value.message.isprintable()


@given(st.text(max_size=40))
def test_any_name_is_refused_in_one_line(name):
    configuration = config.OptionsFile(config.Path("actviz.toml"), {name: 1})
    with pytest.raises(UsageError) as failure:
        config.defaults(configuration, {"show": {}})
    assert failure.value.message.isprintable()


@pytest.mark.slow
def test_a_flag_wins_over_the_file(actviz, samples, tmp_path):
    (tmp_path / "actviz.toml").write_text('json = true\n[check]\nmax-dead = "0%"\nlayer = ["conv_intermediate"]\n')
    check = ("check", "-q", samples / "digits_cnn.h5", samples / "seven.png")
    ran = actviz(*check)
    assert (ran.code, [one["address"] for one in json.loads(ran.out)["layers"]]) == (8, ["conv_intermediate"])
    ran = actviz(*check, "--max-dead", "50%", "-l", "scores")
    assert (ran.code, [one["address"] for one in json.loads(ran.out)["layers"]]) == (0, ["scores"])
    assert actviz("--no-config", *check).out.startswith("layer ")


def test_places_are_beside_the_file(actviz, samples, tmp_path):
    (tmp_path / ".git").mkdir()
    (tmp_path / "actviz.toml").write_text('[show]\noutput = "maps/"\n')
    (tmp_path / "inner").mkdir()
    ran = actviz("show", "-q", samples / "digits_cnn.h5", samples / "seven.png", "-l", "conv", cwd=tmp_path / "inner")
    assert (ran.code, ran.out) == (0, "../maps/seven/001_conv.png\n")


@pytest.mark.slow
def test_what_a_file_adds_is_said_as_it_would_stand_on_the_command_line(actviz, samples, tmp_path):
    (tmp_path / ".git").mkdir()
    (tmp_path / "actviz.toml").write_text(
        'cmap = "viridis"\ndark = true\nhistogram = false\n[show]\nlayer = ["conv", "scores"]\nsheet = false\nlabels = "a\\u001b b.txt"\n'
    )
    (tmp_path / "a\x1b b.txt").write_text("\n".join("0123456789"))
    (tmp_path / "inner").mkdir()
    show = ("show", samples / "digits_cnn.h5", samples / "seven.png", "--dry-run", "--cmap", "gray")
    ran = actviz(*show, cwd=tmp_path / "inner")
    assert ran.code == 0, ran.err
    assert ran.err.splitlines()[0] == (
        "actviz: ../actviz.toml adds --layer conv --layer scores --no-sheet --dark --labels '../a\\x1b b.txt';"
        " actviz --no-config leaves it out"
    )
    for quiet in (["show", "-q", *show[1:]], ["--no-config", *show], ["layers", samples / "digits_cnn.h5"]):
        assert "adds" not in actviz(*quiet, cwd=tmp_path / "inner").err


def test_a_bad_file_is_code_2_and_names_itself(actviz, samples, tmp_path):
    (tmp_path / "actviz.toml").write_text("allow-code = true\n")
    ran = actviz("layers", samples / "digits_cnn.h5")
    assert (ran.code, len(ran.err.splitlines())) == (2, 1)
    assert "actviz.toml: allow-code: a file cannot set this option" in ran.err
    assert actviz("--no-config", "layers", samples / "digits_cnn.h5").code == 0


def test_every_option_that_names_a_file_is_known_to_be_read_or_written():
    paths = {name for known in options().values() for name, option in known.items() if option.kind in {"path", "paths"}}
    assert paths - config.WRITTEN == {"weights", "labels", "tokens", "against", "inputs"}
    assert paths >= config.WRITTEN


def test_hidden_files_may_be_read_and_the_folder_of_the_file_may_be_hidden(tmp_path):
    folder = tmp_path / ".config"
    folder.mkdir()
    found = defaults(folder, "[show]\nlabels = '.names.txt'\noutput = 'maps/'\n")["show"]
    assert found["labels"].endswith(".names.txt")
    assert found["output"].endswith("maps/")


NARROWING = (
    'quiet = true\nlayer = ["scores", "conv"]\n[check]\nmax-dead = "99%"\njunit = "x.xml"\n[report]\npictures = 1\n'
)


@pytest.mark.parametrize(
    ("command", "added"),
    [
        ("check", "--layer scores --layer conv --max-dead 99%"),
        ("diff", "--layer scores --layer conv"),
        ("report", "--layer scores --layer conv"),
        ("show", None),
    ],
)
@threat(111, 0)
def test_what_narrows_a_verdict_is_printed_with_quiet(actviz, samples, tmp_path, code, command, added):
    model, image = samples / "digits_cnn.h5", samples / "seven.png"
    arguments = (command, model, model, image) if command == "diff" else (command, model, image)
    (tmp_path / "actviz.toml").write_text(NARROWING)
    ran = actviz(*arguments)
    assert ran.code == code, ran.err
    expected = [] if added is None else [f"actviz: actviz.toml adds {added}; actviz --no-config leaves it out"]
    assert ran.err.splitlines() == expected


def test_a_long_option_hides_no_other(actviz, samples, tmp_path):
    layers = ", ".join(f'"{"x" * 200}{number}"' for number in range(1000))
    (tmp_path / "actviz.toml").write_text(f'layer = [{layers}]\n[check]\nmax-dead = "99%"\n')
    first = actviz("check", "-q", samples / "digits_cnn.h5").err.splitlines()[0]
    assert len(first) < 2000
    assert "--max-dead 99%" in first


@threat(111, 2)
def test_nothing_is_written_to_a_dot_folder(actviz, samples, tmp_path, code):
    (tmp_path / ".github").mkdir()
    (tmp_path / "actviz.toml").write_text('[check]\njunit = ".github/x.xml"\n')
    check = ("check", samples / "digits_cnn.h5", samples / "seven.png")
    ran = actviz(*check)
    assert (ran.code, len(ran.err.splitlines())) == (code, 1)
    assert not list((tmp_path / ".github").iterdir())


@threat(111, 0)
def test_a_dot_folder_is_written_to_once_it_is_named_on_the_command_line(actviz, samples, tmp_path):
    assert actviz("check", samples / "digits_cnn.h5", samples / "seven.png", "--junit", ".github/x.xml").code == 0
    assert (tmp_path / ".github" / "x.xml").exists()

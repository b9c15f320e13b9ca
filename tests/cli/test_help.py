"""Help: what `actviz` alone prints, options under headings, and examples that can be copied."""

import shlex

import click
import pytest
from conftest import run_actviz

from actviz.cli import help_sections
from actviz.cli.program import COMMANDS, program

ALONE = """\
Usage: actviz [OPTIONS] COMMAND [ARGS]...

  See what a saved neural network computes.

  Options that are always the same can stand in actviz.toml, or in
  [tool.actviz] of pyproject.toml; those of the command line win.

Commands:
  show     Draw the outputs of layers as labelled PNG figures.
  layers   List the layers of a model: addresses, classes, shapes, parameters.
  extract  Write the outputs of layers to an .npz file.
  render   Draw figures from saved activations or any array, without a model.
  check    Check statistics of layers over many inputs against limits.
  top      Find the inputs on which each channel is strongest.
  merge    Join the parts of a run with --shard.
  diff     Compare the layers of two models or of two files of activations.
  report   Write one HTML page with findings and the figures of every layer.
  filters  Draw the weights of layers, without running the model.
  explain  Draw heat maps: which part of an input a class depends on.
  history  Draw learning curves from the saved history of a training.
  help     Print a page of the guide, or the options of a command.

Options:
  -V, --version  Show the version and exit.
  --no-config    Read no actviz.toml and no pyproject.toml.

Messages:
  --color [auto|always|never]  Color errors, broken limits and paths.
                               [default: auto, on a terminal]
  -h, --help                   Show this message and exit.

Examples:
  What the layers of a model are:
    actviz layers model.keras
  What they compute, on one page:
    actviz show model.keras photo.jpg
  The guide, page by page:
    actviz help
"""
GROUPED = sorted(set(COMMANDS) - {"help"})


def command_of(name):
    return program.get_command(click.Context(program), name)


def test_the_command_alone_prints_its_help_and_fails_as_usage(tmp_path):
    ran = run_actviz(cwd=tmp_path)
    assert (ran.code, ran.out, ran.err) == (2, "", ALONE)


def test_help_of_the_program(tmp_path):
    ran = run_actviz("--help", cwd=tmp_path)
    assert (ran.code, ran.out, ran.err) == (0, ALONE, "")


def test_help_of_a_command_begins_with_common_options_and_ends_with_examples(tmp_path):
    ran = run_actviz("render", "-h", cwd=tmp_path)
    assert (ran.code, ran.err) == (0, "")
    headings = [line for line in ran.out.splitlines() if line and not line.startswith((" ", "Usage"))]
    assert headings == ["Common options:", "Figures:", "Output:", "Messages:", "Examples:"]
    assert ran.out.startswith("Usage: actviz render [OPTIONS] ACTIVATIONS\n\n  Draw figures from saved ACTIVATIONS")
    assert ran.out.index("Common options:\n  -l, --layer ADDRESS ") < ran.out.index("  -o, --output PATH ")
    assert ran.out.endswith(
        "Examples:\n"
        "  All layers of a file:\n"
        "    actviz render activations.npz\n"
        "  An array of your own:\n"
        "    actviz render maps.npy --axes row,column,channel -o maps.png\n"
    )


def test_the_version_has_a_short_option(tmp_path):
    ran = run_actviz("-V", cwd=tmp_path)
    assert (ran.code, ran.out) == (0, run_actviz("--version", cwd=tmp_path).out)


@pytest.mark.parametrize("name", GROUPED)
def test_every_option_is_under_one_heading(name):
    command = command_of(name)
    sections = help_sections.sections_of(command, click.Context(command))
    assert "Options" not in sections, "give the option a heading in actviz/cli/help_sections.py"
    listed = [param for params in sections.values() for param in params]
    options = [param for param in command.get_params(click.Context(command)) if isinstance(param, click.Option)]
    assert sorted(map(help_sections.long_name, listed)) == sorted(map(help_sections.long_name, options))


@pytest.mark.parametrize("name", sorted(help_sections.COMMON_OPTIONS))
def test_common_options_exist_and_are_at_most_ten(name):
    names = help_sections.COMMON_OPTIONS[name].split()
    known = {help_sections.long_name(param) for param in command_of(name).params}
    assert len(names) <= 10
    assert [option for option in names if option not in known] == []


@pytest.mark.parametrize("name", ["actviz", *GROUPED])
def test_examples_are_commands_that_parse_and_fit_on_a_line(name):
    assert name == "actviz" or f"actviz {name} " in help_sections.EXAMPLES[name][0][1]
    for what, line in help_sections.EXAMPLES[name]:
        assert max(len(what) + 2, len(line) + 4) <= 80
        program_name, command, *words = shlex.split(line)
        assert program_name == "actviz"
        command_of(command).make_context(command, words)

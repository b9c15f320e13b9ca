"""Write .github/actions/actviz/action.yml: its inputs are the options of `actviz check` and `actviz report`."""

from __future__ import annotations

import json
from pathlib import Path

import click

from actviz.cli.program import program

TARGET = Path(__file__).parents[2] / ".github" / "actions" / "actviz" / "action.yml"
COMMANDS = ("check", "report")
LEFT_OUT = frozenset({"help"})
HEAD = """\
# Made by tests/tools/make_action.py from the options of the commands.
name: actviz
description: Check a saved neural network against limits, or write a report of what it computes
inputs:
  command:
    description: check or report
    default: check
  model:
    description: The model file or folder
    required: true
  inputs:
    description: Files, folders or patterns of inputs, one a line
    default: ""
"""
TAIL = """\
runs:
  using: composite
  steps:
    - name: Install this version of actviz
      shell: bash
      env:
        ACTVIZ_SOURCE: ${{ github.action_path }}/../../..
      run: python -m pip install --quiet "$ACTVIZ_SOURCE"
    - name: Run actviz
      shell: bash
      # The inputs go through the environment: no text of theirs becomes part of a shell command.
      env:
        ACTVIZ_INPUTS: ${{ toJSON(inputs) }}
        ACTVIZ_ACTION: ${{ github.action_path }}
      run: python "$ACTVIZ_ACTION/run.py"
"""


def options() -> dict[str, str]:
    """Return the descriptions of the options by long name, in the order of the commands."""
    described: dict[str, str] = {}
    for name in COMMANDS:
        command = program.get_command(click.Context(program), name)
        for param in command.params:
            if not isinstance(param, click.Option):
                continue
            long = next(text for text in param.opts if text.startswith("--")).removeprefix("--")
            kind = " (true or false)" if param.is_flag else " One a line." if param.multiple else ""
            if long not in LEFT_OUT and long != "input":
                described.setdefault(long, f"{param.help}{kind}")
    return described | {"input": "Files for inputs of a model with several, NAME=FILE, one a line."}


def action() -> str:
    """Return the text of the action."""
    rows = "".join(
        f'  "{name}":\n    description: {json.dumps(text)}\n    default: ""\n' for name, text in options().items()
    )
    return HEAD + rows + TAIL


if __name__ == "__main__":
    TARGET.write_text(action(), encoding="utf-8")

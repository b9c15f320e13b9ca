"""The command line: parse, call one function, print."""

from actviz.cli.program import main

__all__ = ["main"]

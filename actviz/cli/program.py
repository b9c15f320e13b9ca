"""The command `actviz`: its subcommands, signals, error lines and exit codes."""

from __future__ import annotations

import contextlib
import importlib
import os
import signal
import sys
from typing import TYPE_CHECKING, NoReturn

import click

from actviz.cli import help_sections
from actviz.cli.colors import color_option, colored
from actviz.cli.notes import write_note
from actviz.errors import (
    EXIT_BUG,
    EXIT_INTERRUPTED,
    EXIT_PIPE_CLOSED,
    EXIT_TERMINATED,
    ActvizError,
    LimitError,
    OutputError,
    UsageError,
    escape,
)
from actviz.suggestions import did_you_mean, near_names
from actviz.system import shortage  # at module level: with no free file descriptor it could not be imported later
from actviz.version import VERSION

if TYPE_CHECKING:
    from types import FrameType

# Seconds after a signal in which a command may finish its files.
GRACE_SECONDS = 1.5
_signals: list[int] = []  # received so far
SETTINGS = {"help_option_names": ["-h", "--help"], "max_content_width": 100, "show_default": True}
SIGNAL_CODES = frozenset({EXIT_INTERRUPTED, EXIT_TERMINATED})
COMMANDS = {
    "show": "Draw the outputs of layers as labelled PNG figures.",
    "layers": "List the layers of a model: addresses, classes, shapes, parameters.",
    "extract": "Write the outputs of layers to an .npz file.",
    "render": "Draw figures from saved activations or any array, without a model.",
    "check": "Check statistics of layers over many inputs against limits.",
    "top": "Find the inputs on which each channel is strongest.",
    "merge": "Join the parts of a run with --shard.",
    "diff": "Compare the layers of two models or of two files of activations.",
    "report": "Write one HTML page with findings and the figures of every layer.",
    "filters": "Draw the weights of layers, without running the model.",
    "explain": "Draw heat maps: which part of an input a class depends on.",
    "history": "Draw learning curves from the saved history of a training.",
    "help": "Print a page of the guide, or the options of a command.",
}


class _LazyGroup(click.Group):
    """A group that imports the module of a command only when it is used."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        del ctx
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        del ctx
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = importlib.import_module(f"actviz.cli.{cmd_name}").command
        return command

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))
        help_sections.write_options(self, ctx, formatter)

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        del ctx
        help_sections.write_examples("actviz", formatter)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in COMMANDS and not args[0].startswith("-"):
            hint = did_you_mean(near_names(args[0], COMMANDS, 1))
            hint = f"{hint} The" if hint else "the"
            message = f'there is no command "{escape(args[0], 60)}"; {hint} commands are {", ".join(COMMANDS)}, for example: actviz show model.keras'
            raise click.UsageError(message, ctx)
        return super().resolve_command(ctx, args)


@click.group(
    cls=_LazyGroup,
    context_settings=SETTINGS,
    invoke_without_command=True,
    params=[color_option("auto")],
    subcommand_metavar="COMMAND [ARGS]...",
)
@click.version_option(VERSION, "-V", "--version", prog_name="actviz", message="%(prog)s %(version)s")
@click.option("--no-config", is_flag=True, help="Read no actviz.toml and no pyproject.toml.")
@click.pass_context
def program(ctx: click.Context, *, no_config: bool) -> None:
    """See what a saved neural network computes.

    Options that are always the same can stand in actviz.toml, or in [tool.actviz] of
    pyproject.toml; those of the command line win.
    """
    if ctx.invoked_subcommand is None:  # as ruff does it
        click.echo(ctx.get_help(), err=True)
        ctx.exit(UsageError.exit_code)
    if not no_config:
        from actviz.cli.configured_command import configured_defaults

        configured = configured_defaults(program, ctx)
        if configured is not None:
            ctx.obj, ctx.default_map = configured


def main() -> NoReturn:
    """Run the command line and end the process with the documented exit code."""
    _open_streams()
    _drop_working_directory()
    # No threads of OpenBLAS are needed here; where they cannot be started, it sends this process a SIGINT.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    signal.signal(signal.SIGTERM, _end)
    if signal.getsignal(signal.SIGHUP) is signal.SIG_DFL:  # nohup ignores it
        signal.signal(signal.SIGHUP, _end)
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _end)
    code = _run()
    if (
        _signals and code == OutputError.exit_code
    ):  # stdout of a closed terminal may fail before the signal ends the run
        code = _code_of(_signals[0])
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        code = EXIT_PIPE_CLOSED
    except OSError as failure:
        if code not in {
            OutputError.exit_code,
            *SIGNAL_CODES,
        }:  # otherwise it is reported already, or the terminal is gone
            _print_error(f"stdout: {failure.strerror}; send the output somewhere else.")
            code = OutputError.exit_code
    _exit(code)


def _run() -> int:
    try:
        return _run_program()
    except MemoryError:  # not even the message about the limit could be built
        _print_error("memory ran out; free some, or raise its limit (ulimit -v), and run again.")
        return LimitError.exit_code


def _run_program() -> int:
    try:
        code = program.main(prog_name="actviz", standalone_mode=False)
    except ActvizError as failure:
        kind = shortage.shortage_of(failure) if isinstance(failure, OutputError) else None
        if kind is not None:  # for example too many open files
            _print_error(shortage.describe(kind))
            return LimitError.exit_code
        _print_error(failure.message)
        return failure.exit_code
    except click.exceptions.Exit as ended:
        return int(ended.exit_code)
    except click.ClickException as failure:
        _print_error(_usage(failure))
        return 2
    except (KeyboardInterrupt, click.Abort):
        _print_error("interrupted; what was finished is kept.")
        return EXIT_INTERRUPTED
    except _TerminatedError:
        _print_error("terminated; what was finished is kept.")
        return EXIT_TERMINATED
    except SystemExit as ended:
        # click exits after printing completions, and when a pipe is closed.
        return EXIT_PIPE_CLOSED if ended.code else 0
    except BrokenPipeError:
        return EXIT_PIPE_CLOSED
    except Exception as failure:  # noqa: BLE001  (the last resort: a limit of the machine, or a bug)
        return _unexpected(failure)
    return code if isinstance(code, int) else 0  # that of ctx.exit, which click returns


def _unexpected(failure: Exception) -> int:
    """Report an exception that is not an `ActvizError`: a limit of the machine, a failure of stdout, or a bug."""
    import errno

    kind = shortage.shortage_of(failure)
    if kind is not None:
        _print_error(shortage.describe(kind))
        return LimitError.exit_code
    broken = {errno.ENOSPC, errno.EIO, errno.EDQUOT, errno.EBADF}
    if isinstance(failure, OSError) and failure.errno in broken and failure.filename is None:
        _print_error(f"stdout: {failure.strerror}; send the output somewhere else.")
        return OutputError.exit_code
    return _bug()


def _bug() -> int:
    import platform
    import traceback

    lines = traceback.format_exc().splitlines()
    write_note("\n".join(escape(line, 1000) for line in lines))
    _print_error(
        f"this is a bug in actviz {VERSION} (Python {platform.python_version()}, {platform.system()}); "
        "please report it with the lines above and, if you can, the model."
    )
    return EXIT_BUG


def _usage(failure: click.ClickException) -> str:
    text = " ".join(failure.format_message().split()).rstrip(".")
    context = getattr(failure, "ctx", None)
    hint = f" See: {context.command_path} --help" if context is not None else ""
    return f"{text}{'' if text.endswith('?') else '.'}{hint}"


def _print_error(text: str) -> None:
    write_note(f"{colored('actviz: error:', 'red', sys.stderr)} {escape(text, 2000)}")


class _TerminatedError(BaseException):
    """SIGTERM, or SIGHUP from a closed terminal, was received; cleanup is as for Ctrl-C."""


def _code_of(number: int) -> int:
    return EXIT_INTERRUPTED if number == signal.SIGINT else EXIT_TERMINATED


def _end(number: int, frame: FrameType | None) -> None:
    """Begin an orderly end at the first signal, and force it after `GRACE_SECONDS`; ignore further signals."""
    del frame
    for ignored in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(ignored, signal.SIG_IGN)
    _signals.append(number)
    import threading

    timer = threading.Timer(GRACE_SECONDS, _force_end, [_code_of(number)])
    timer.daemon = True
    with contextlib.suppress(RuntimeError):  # without a thread the end is not forced
        timer.start()
    raise KeyboardInterrupt if number == signal.SIGINT else _TerminatedError


def _force_end(code: int) -> NoReturn:
    """End at once, without half-written files."""
    from actviz.system import temporary_files

    temporary_files.end_writing()
    _kill_children()
    os._exit(code)


def _kill_children() -> None:
    """Kill the worker and the drawing processes: one that hangs would outlive this process."""
    processes = sys.modules.get("actviz.system.processes")
    if processes is not None:
        processes.kill_all()


def _open_streams() -> None:
    """Open standard streams that the parent process left closed: see `streams.replace_closed_streams`."""
    if None in {sys.stdin, sys.stdout, sys.stderr}:
        from actviz.system import streams

        streams.replace_closed_streams()


def _drop_working_directory() -> None:
    """Remove the current folder, which may be deleted, from the module search path."""
    try:
        here = os.getcwd()
    except OSError:
        here = ""
    sys.path[:] = [entry for entry in sys.path if entry not in ("", here) or _holds_actviz(entry or here)]


def _holds_actviz(entry: str) -> bool:
    """Return True if actviz itself was imported from a folder (a development checkout)."""
    import actviz

    return os.path.realpath(os.path.dirname(os.path.dirname(actviz.__file__))) == os.path.realpath(entry)


def _exit(code: int) -> NoReturn:
    """Exit without the interpreter's shutdown, which takes longer than all the work of `--help`."""
    temporary_files = sys.modules.get("actviz.system.temporary_files")
    if temporary_files is not None:
        temporary_files.end_writing()
    _kill_children()
    with contextlib.suppress(OSError):
        sys.stderr.flush()
    os._exit(code)

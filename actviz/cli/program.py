"""The command `actviz`: its subcommands, and what every ending looks like to a shell."""

from __future__ import annotations

import contextlib
import importlib
import os
import signal
import sys
from typing import TYPE_CHECKING, NoReturn

import click

from actviz.cli.notes import write_note
from actviz.errors import (
    EXIT_BUG,
    EXIT_INTERRUPTED,
    EXIT_PIPE_CLOSED,
    EXIT_TERMINATED,
    ActvizError,
    LimitError,
    OutputError,
    escape,
)
from actviz.system import shortage  # here, since a file that is needed to report an error may not open any more
from actviz.version import VERSION

if TYPE_CHECKING:
    from types import FrameType

# Seconds after a signal in which a command may put its results in order.
PATIENCE = 1.5
_signals: list[int] = []  # those that arrived
BY_SIGNAL = frozenset({EXIT_INTERRUPTED, EXIT_TERMINATED})
COMMANDS = {
    "show": "Draw what layers of a model compute, as labelled PNG figures.",
    "layers": "List the layers of a model: addresses, shapes, parameters.",
    "extract": "Write what layers of a model compute into an .npz file.",
    "render": "Draw figures from saved activations or any array, without a model.",
    "check": "Check numbers of layers over many inputs against limits.",
    "diff": "Compare the layers of two models or of two files of activations.",
    "report": "Write one HTML page of what a model sees and what is wrong with it.",
    "history": "Draw the learning curves of a training from its saved history.",
    "help": "Print a page of the guide, or the options of a command.",
}


class _LazyGroup(click.Group):
    """A group that imports a command's module when the command is used."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        del ctx
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        del ctx
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = importlib.import_module(f"actviz.cli.{cmd_name}").command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        del ctx
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in COMMANDS and not args[0].startswith("-"):
            known = ", ".join(COMMANDS)
            message = f'there is no command "{escape(args[0], 60)}"; the commands are {known}, for instance: actviz show model.keras'
            raise click.UsageError(message, ctx)
        return super().resolve_command(ctx, args)


@click.group(cls=_LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(VERSION, prog_name="actviz", message="%(prog)s %(version)s")
@click.option("--no-config", is_flag=True, help="Read no actviz.toml and no pyproject.toml.")
@click.pass_context
def program(ctx: click.Context, *, no_config: bool) -> None:
    """See what a saved neural network computes.

    Try: actviz show model.keras image.png --layer conv2d

    Options that are always the same can stand in actviz.toml, or in [tool.actviz] of
    pyproject.toml; those of the command line win.
    """
    if not no_config:
        from actviz.cli.defaults import defaults_here

        found = defaults_here(program, ctx)
        if found is not None:
            ctx.obj, ctx.default_map = found


def main() -> NoReturn:
    """Run the command line and end the process with the documented exit code."""
    _open_streams()
    _drop_working_directory()
    # NumPy's own threads are not used; where they cannot be started OpenBLAS sends this process a SIGINT.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    signal.signal(signal.SIGTERM, _end)
    if signal.getsignal(signal.SIGHUP) is signal.SIG_DFL:  # nohup has it ignored
        signal.signal(signal.SIGHUP, _end)
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _end)
    code = _run()
    if _signals and code == OutputError.exit_code:  # a terminal that was closed: its stdout fails before the end
        code = _code_of(_signals[0])
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        code = EXIT_PIPE_CLOSED
    except OSError as failure:
        if code not in {OutputError.exit_code, *BY_SIGNAL}:  # else it was said, or the terminal is gone
            _complain(f"stdout: {failure.strerror}; send the output somewhere else.")
            code = OutputError.exit_code
    _leave(code)


def _run() -> int:
    try:
        return _run_program()
    except MemoryError:  # not even the line that names the limit could be put together
        _complain("memory ran out; free some, or raise its limit (ulimit -v), and run again.")
        return LimitError.exit_code


def _run_program() -> int:
    try:
        program.main(standalone_mode=False)
    except ActvizError as failure:
        kind = shortage.shortage_of(failure) if isinstance(failure, OutputError) else None
        if kind is not None:  # a result that cannot be written since, say, too many files are open
            _complain(shortage.describe(kind))
            return LimitError.exit_code
        _complain(failure.message)
        return failure.exit_code
    except click.exceptions.Exit as ended:
        return int(ended.exit_code)
    except click.ClickException as failure:
        _complain(_usage(failure))
        return 2
    except (KeyboardInterrupt, click.Abort):
        _complain("interrupted; what was finished is kept.")
        return EXIT_INTERRUPTED
    except _TerminatedError:
        _complain("terminated; what was finished is kept.")
        return EXIT_TERMINATED
    except SystemExit as ended:
        # click ends the process when a shell has its completions, and when a pipe is closed.
        return EXIT_PIPE_CLOSED if ended.code else 0
    except BrokenPipeError:
        return EXIT_PIPE_CLOSED
    except Exception as failure:  # noqa: BLE001  (the last resort: a limit of the machine, else a bug of ours)
        return _unexpected(failure)
    return 0


def _unexpected(failure: Exception) -> int:
    """Report an exception that is no `ActvizError`: a limit of the machine, a failure of stdout, else a bug."""
    import errno

    kind = shortage.shortage_of(failure)
    if kind is not None:
        _complain(shortage.describe(kind))
        return LimitError.exit_code
    broken = {errno.ENOSPC, errno.EIO, errno.EDQUOT, errno.EBADF}
    if isinstance(failure, OSError) and failure.errno in broken and failure.filename is None:
        _complain(f"stdout: {failure.strerror}; send the output somewhere else.")
        return OutputError.exit_code
    return _bug()


def _bug() -> int:
    import platform
    import traceback

    lines = traceback.format_exc().splitlines()
    write_note("\n".join(escape(line, 1000) for line in lines))
    _complain(
        f"this is a bug in actviz {VERSION} (Python {platform.python_version()}, {platform.system()}); "
        "please report it with the lines above and, if you can, the model."
    )
    return EXIT_BUG


def _usage(failure: click.ClickException) -> str:
    text = " ".join(failure.format_message().split())
    context = getattr(failure, "ctx", None)
    hint = f" See: {context.command_path} --help" if context is not None else ""
    return f"{text.rstrip('.')}.{hint}"


def _complain(text: str) -> None:
    write_note(f"actviz: error: {escape(text, 2000)}")


class _TerminatedError(BaseException):
    """SIGTERM arrived, or SIGHUP from a terminal that was closed; cleaned up like Ctrl-C."""


def _code_of(number: int) -> int:
    return EXIT_INTERRUPTED if number == signal.SIGINT else EXIT_TERMINATED


def _end(number: int, frame: FrameType | None) -> None:
    """End in good order at the first signal; what takes longer than that allows is given up.

    Later signals change nothing: the end is near whatever they say.
    """
    del frame
    for each in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(each, signal.SIG_IGN)
    _signals.append(number)
    import threading

    timer = threading.Timer(PATIENCE, _give_up, [_code_of(number)])
    timer.daemon = True
    with contextlib.suppress(RuntimeError):  # where no thread can be started, nothing is given up early
        timer.start()
    raise KeyboardInterrupt if number == signal.SIGINT else _TerminatedError


def _give_up(code: int) -> NoReturn:
    """End at once, without half-written files."""
    from actviz.system import file_system

    file_system.end_writing()
    _kill_children()
    os._exit(code)


def _kill_children() -> None:
    """Kill what still computes or draws: a process that hangs would outlive this one."""
    processes = sys.modules.get("actviz.system.processes")
    if processes is not None:
        processes.kill_all()


def _open_streams() -> None:
    """Leave no standard stream closed, as some that start programs do: see `system.open_streams`."""
    if None in {sys.stdin, sys.stdout, sys.stderr}:
        from actviz.system import file_system

        file_system.open_streams()


def _drop_working_directory() -> None:
    """Import nothing from the folder that the command happens to be run in, which may be gone."""
    try:
        here = os.getcwd()
    except OSError:
        here = ""
    sys.path[:] = [entry for entry in sys.path if entry not in ("", here) or _holds_actviz(entry or here)]


def _holds_actviz(entry: str) -> bool:
    """Tell whether actviz itself was imported from there (a development checkout)."""
    import actviz

    return os.path.realpath(os.path.dirname(os.path.dirname(actviz.__file__))) == os.path.realpath(entry)


def _leave(code: int) -> NoReturn:
    """End without the interpreter's tear-down, which takes longer than the work of `--help`."""
    system = sys.modules.get("actviz.system.file_system")
    if system is not None:
        system.end_writing()
    _kill_children()
    with contextlib.suppress(OSError):
        sys.stderr.flush()
    os._exit(code)

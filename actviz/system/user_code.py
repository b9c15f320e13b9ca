"""Import code that the user named for this run.

The only place that imports code which is not part of actviz or installed, and only what was named on the
command line, or by the caller of the Python interface.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import sys
import traceback
from pathlib import Path
from typing import TYPE_CHECKING

from actviz.errors import UsageError, escape
from actviz.system.file_system import is_file, similar_path

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import ModuleType


def import_code(source: str, option: str, **names: object) -> ModuleType:
    """Import a Python file or a module; its own folder is searched last, and only meanwhile.

    `option` begins messages; a file finds `names` among its globals.

    Raises
    ------
    UsageError
        When it is missing or cannot be imported.
    """
    path = Path(source)
    try:
        if source.endswith(".py"):
            if not is_file(path):
                hint = similar_path(path)
                message = f"{option}: {escape(source, 120)}: there is no such file{f'; {hint}' if hint else '.'}"
                raise UsageError(message)
            return _from_file(path, option, names)
        with _searched_last(Path.cwd()):
            return importlib.import_module(source)
    except UsageError:
        raise
    except (Exception, SystemExit) as failure:
        message = f"{option}: {escape(source, 120)} cannot be imported: {describe_failure(failure)}"
        raise UsageError(message) from failure


def describe_failure(failure: BaseException) -> str:
    """Return class and message of an exception of the user's code, on one line."""
    name = type(failure).__name__
    try:
        text = escape(str(failure), 160)
    except Exception:  # noqa: BLE001  (a method of the user's class)
        text = ""
    return f"{name}: {text}" if text else name


def failing_line(failure: BaseException, file: str) -> int | None:
    """Return the line of a file in which an exception was raised, or that called what raised it."""
    lines = [number for frame, number in traceback.walk_tb(failure.__traceback__) if frame.f_code.co_filename == file]
    return lines[-1] if lines else None


def _from_file(path: Path, option: str, names: dict[str, object]) -> ModuleType:
    name = f"actviz_custom_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        message = f"{option}: {escape(str(path), 120)} is no Python file."
        raise UsageError(message)
    module = importlib.util.module_from_spec(spec)
    vars(module).update(names)
    sys.modules[name] = module
    with _searched_last(path.resolve().parent):
        spec.loader.exec_module(module)
    return module


@contextlib.contextmanager
def _searched_last(folder: Path) -> Iterator[None]:
    """Let imports fall back on a folder: what is installed always wins over what lies there."""
    entry = str(folder)
    sys.path.append(entry)
    try:
        yield
    finally:
        sys.path.remove(entry)

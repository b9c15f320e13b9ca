"""Shell completion: layers of the model on the command line, and files that a command takes.

Completion runs while the user types, so it prints nothing, never fails, and runs no code of
a model: a model that does not open has no completions.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import TYPE_CHECKING

from click.shell_completion import CompletionItem

if TYPE_CHECKING:
    from collections.abc import Sequence

    import click

MODELS = (".keras", ".h5", ".hdf5", ".tflite", ".pb", ".json")
ARRAYS = (".npz", ".npy")
HISTORY = ".history.json"
TIMEOUT = 5.0
MAX_ITEMS = 2000


def layers(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Complete addresses, after the last comma, from the model or the activations given before."""
    from actviz.records import PRE  # `--help` needs no records

    del param
    head, comma, _ = incomplete.rpartition(",")
    known: Sequence[tuple[str, str]] = ()
    with contextlib.suppress(Exception):
        path = _source(ctx)
        known = [] if path is None else _addresses(path)
    part = incomplete[len(head + comma) :]
    mark = "!" if part.startswith("!") else ""
    # With an @ only: otherwise almost every layer would have two completions.
    known = [(address, kind) for address, kind in known if "@" in part or not address.endswith(PRE)]
    items = [(head + comma + mark + address, kind) for address, kind in known]
    return [CompletionItem(text, help=kind) for text, kind in items if text.startswith(incomplete)][:MAX_ITEMS]


def _source(ctx: click.Context) -> Path | None:
    """Return the model or activations file on a command line that may end in the middle of an option.

    click leaves such a line unparsed: the first word that is an existing file with a known
    extension is taken, otherwise the first that exists.
    """
    from actviz.system import file_system

    parsed = [value for name in ("model", "file", "ours") if (value := ctx.params.get(name)) is not None]
    words = [Path(word).expanduser() for word in (*parsed, *ctx.args) if not str(word).startswith("-")]
    existing = [path for path in words if file_system.exists(path)]
    known = [path for path in existing if path.suffix.lower() in (*MODELS, *ARRAYS)]
    return next(iter(known or existing), None)


def _addresses(path: Path) -> list[tuple[str, str]]:
    """Return addresses and classes of a file of activations, or of a model, which a worker opens."""
    if path.suffix.lower() in ARRAYS:
        from actviz import activations
        from actviz.system import file_system

        with file_system.reading(path) as (file, _):
            saved = activations.open_saved(file, str(path))
            return (
                [] if saved is None else [(entry.address, entry.kind) for entry in saved.description.entries.values()]
            )
    from actviz.worker import ModelOptions, Worker

    with Worker(ModelOptions(path, timeout=TIMEOUT)) as worker:
        facts = worker.facts()
        return [(layer.address, layer.kind) for layer in (*facts.layers, *facts.pre_activations)]


def models(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Complete model files and folders."""
    del ctx, param
    return _files(incomplete, MODELS)


def arrays(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Complete files of activations and arrays."""
    del ctx, param
    return _files(incomplete, ARRAYS)


def either(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Complete models and files of activations."""
    del ctx, param
    return _files(incomplete, (*MODELS, ".npz"))


def _files(incomplete: str, suffixes: tuple[str, ...]) -> list[CompletionItem]:
    """Return the files with some extensions; if a folder matches too, or no file, the shell completes any path.

    Shells complete folders by themselves only if they are given no names.
    """
    from actviz.system import file_system, folders

    folder, _, start = incomplete.rpartition(os.sep)
    parent = Path(folder or (os.sep if incomplete.startswith(os.sep) else "."))
    names: list[Path] = []
    with contextlib.suppress(Exception):
        names = [path for path in folders.list_folder(parent.expanduser()) if path.name.startswith(start)]
    prefix = incomplete[: len(incomplete) - len(start)]
    files = [name for path in names if (name := path.name).lower().endswith(suffixes) and not name.endswith(HISTORY)]
    if not files or any(file_system.is_folder(path) for path in names):
        return [CompletionItem(incomplete, type="file")]
    return [CompletionItem(prefix + name) for name in files]
